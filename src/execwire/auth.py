"""Credentials, and the signatures that private streams ask for: sessions sign with them, the local exchange checks.

The schemes differ in four things, and only in these:

* which text is signed: parameters as ``name=value`` pairs (`pairs`), or a time stamp and a path (`login_text`),
* whether the parameters are sorted by name or taken in the order given, and percent-encoded or not,
* the algorithm: HMAC-SHA256 with a shared secret, Ed25519, or RSA (PKCS#1 v1.5 with SHA-256),
* how the signature is written: hexadecimal (case does not matter) or base64 (it does).

Nothing here shows a secret: not repr, not pickle, no exception.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import importlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NoReturn
from urllib.parse import quote

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

__all__ = ["AuthError", "Credentials", "Verifier", "hmac_sha256", "login_text", "pairs"]

Algorithm = Literal["hmac", "ed25519", "rsa"]
Encoding = Literal["hex", "base64"]


class AuthError(Exception):
    """Credentials that are missing, unusable, or not of the sort that is asked for. Never holds one of their values."""


# ==== What is signed ====


def pairs(
    params: Mapping[str, object] | Iterable[tuple[str, object]], *, order: bool = False, encode: bool = False
) -> str:
    """Parameters as ``name=value`` pairs joined by ``&``.

    Parameters
    ----------
    params : mapping or iterable of pairs
        Names and values. A bool is written ``true`` or ``false``, everything else as `str` writes it.
    order : bool
        Sort by name, as WebSocket APIs want it. Otherwise the order is the one given, as REST wants it: "as sent".
    encode : bool
        Percent-encode values (UTF-8), as Binance's REST wants it since January 2026; its WebSocket API signs plain
        text.
    """
    items = list(params.items() if hasattr(params, "items") else params)
    if order:
        items.sort(key=lambda item: item[0])
    texts = ((name, str(value).lower() if isinstance(value, bool) else str(value)) for name, value in items)
    return "&".join(f"{name}={quote(text, safe='') if encode else text}" for name, text in texts)


def login_text(timestamp: str | int, method: str = "GET", path: str = "/user/verify") -> str:
    """The text that a login over the socket signs: time stamp, method and path, with nothing between them."""
    return f"{timestamp}{method}{path}"


def hmac_sha256(secret: str | bytes, payload: str | bytes) -> bytes:
    """HMAC-SHA256: 32 bytes."""
    return hmac.digest(_bytes(secret), _bytes(payload), hashlib.sha256)


def _bytes(text: str | bytes) -> bytes:
    return text.encode() if isinstance(text, str) else text


def _written(signature: bytes, encoding: str) -> str:
    return signature.hex() if encoding == "hex" else base64.b64encode(signature).decode()


# ==== Signing ====


class Credentials:
    """An API key and what proves it: a secret, a private key, or a signer of yours.

    Parameters
    ----------
    api_key : str
        Sent in the clear; still shown in part only.
    secret : str or None
        For HMAC-SHA256.
    passphrase : str or None
        Where the venue has one beside the secret.
    private_key : str, bytes or None
        PEM, PKCS#8: Ed25519 or RSA. Needs the extra ``ed25519`` (the package cryptography).
    signer : callable or None
        ``signer(payload: bytes) -> bytes``, for keys that are held elsewhere. Gives the raw signature.
    algorithm : {"hmac", "ed25519", "rsa"} or None
        What `signer` computes; needed beside it only, and ``ed25519`` if left out.

    Raises
    ------
    AuthError
        If there is not exactly one of secret, private key and signer, or the key cannot be used.
    """

    __slots__ = ("_passphrase", "_secret", "_signer", "algorithm", "api_key")

    algorithm: Algorithm
    api_key: str

    def __init__(
        self,
        api_key: str,
        secret: str | None = None,
        passphrase: str | None = None,
        *,
        private_key: str | bytes | None = None,
        signer: Callable[[bytes], bytes] | None = None,
        algorithm: Algorithm | None = None,
    ) -> None:
        if not api_key:
            raise AuthError("the API key is empty")
        if sum(one is not None for one in (secret, private_key, signer)) != 1:
            raise AuthError("credentials need exactly one of: secret, private key, signer")
        if algorithm is not None and signer is None:
            raise AuthError("the algorithm is told for a signer only: a secret or a private key has its own")
        self.api_key = api_key
        self._passphrase = passphrase
        self._secret = secret
        self._signer: Callable[[bytes], bytes]
        if signer is not None:
            self._signer, self.algorithm = signer, algorithm or "ed25519"
        elif private_key is not None:
            self._signer, self.algorithm = _private_key(_bytes(private_key))
        elif not secret:
            raise AuthError("the secret is empty")
        else:
            key = secret.encode()
            self._signer, self.algorithm = lambda payload: hmac_sha256(key, payload), "hmac"

    @classmethod
    def from_env(cls, prefix: str, environ: Mapping[str, str] | None = None) -> Credentials:
        """Take them from the environment.

        Parameters
        ----------
        prefix : str
            Of the variables: ``<prefix>_API_KEY`` and one of ``_SECRET``, ``_PRIVATE_KEY`` (PEM) and
            ``_PRIVATE_KEY_FILE`` (its path); ``_PASSPHRASE`` where the venue has one.
        environ : mapping or None
            Instead of ``os.environ``.

        Raises
        ------
        AuthError
            If a variable is missing, or the key file cannot be read. Names the variables, never their values.
        """
        environ = os.environ if environ is None else environ
        api_key = environ.get(f"{prefix}_API_KEY")
        secret = environ.get(f"{prefix}_SECRET")
        pem: str | bytes | None = environ.get(f"{prefix}_PRIVATE_KEY")
        path = environ.get(f"{prefix}_PRIVATE_KEY_FILE")
        if not api_key:
            raise AuthError(f"the environment variable {prefix}_API_KEY is not set")
        if not (secret or pem or path):
            raise AuthError(
                f"none of the environment variables {prefix}_SECRET, {prefix}_PRIVATE_KEY and"
                f" {prefix}_PRIVATE_KEY_FILE is set"
            )
        if path and not pem:
            try:
                pem = Path(path).read_bytes()
            except OSError as error:
                raise AuthError(f"the file that {prefix}_PRIVATE_KEY_FILE names: {error.strerror}") from None
        return cls(api_key, secret or None, environ.get(f"{prefix}_PASSPHRASE") or None, private_key=pem or None)

    @property
    def passphrase(self) -> str:
        """The passphrase.

        Raises
        ------
        AuthError
            If there is none.
        """
        if self._passphrase is None:
            raise AuthError("this venue needs a passphrase, and the credentials have none")
        return self._passphrase

    def sign(self, payload: str | bytes, encoding: Encoding | None = None) -> str:
        """Sign a text.

        Parameters
        ----------
        payload : str or bytes
            What is signed; a str as UTF-8.
        encoding : {"hex", "base64"} or None
            How the signature is written; None: hexadecimal for HMAC, base64 for the others.

        Raises
        ------
        AuthError
            If a signer gives something other than bytes.
        """
        signature = self._signer(_bytes(payload))
        if not isinstance(signature, bytes):
            raise AuthError("the signer has to return bytes: the raw signature")
        return _written(signature, encoding or ("hex" if self.algorithm == "hmac" else "base64"))

    def verifier(self) -> Verifier:
        """What checks these credentials' signatures.

        Raises
        ------
        AuthError
            If they are not a shared secret: what checks a private key is made of its public key.
        """
        if self._secret is None:
            raise AuthError("only a shared secret checks what it signs")
        return Verifier(secret=self._secret)

    def __repr__(self) -> str:
        shown = f"{self.api_key[:4]}..." if len(self.api_key) > 8 else "..."
        return f"Credentials(api_key={shown!r}, algorithm={self.algorithm!r})"

    def __copy__(self) -> Credentials:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Credentials:
        return self

    def __reduce__(self) -> NoReturn:
        raise TypeError("credentials are not pickled: they hold a secret")


def _private_key(pem: bytes) -> tuple[Callable[[bytes], bytes], Algorithm]:
    serialization = _cryptography("hazmat.primitives.serialization")
    try:
        key = serialization.load_pem_private_key(pem, password=None)
    except (ValueError, TypeError):  # whose texts may quote the key
        key = None
    if key is None:
        raise AuthError("the private key cannot be read: a PEM without a password is needed")
    kind = _kind(key, "PrivateKey")
    if kind == "ed25519":
        return key.sign, "ed25519"
    padding, sha256 = (
        _cryptography("hazmat.primitives.asymmetric.padding").PKCS1v15(),
        _cryptography("hazmat.primitives.hashes").SHA256(),
    )
    return lambda payload: bytes(key.sign(payload, padding, sha256)), "rsa"


def _kind(key: Any, suffix: str) -> Algorithm:
    if isinstance(key, getattr(_cryptography("hazmat.primitives.asymmetric.ed25519"), f"Ed25519{suffix}")):
        return "ed25519"
    if isinstance(key, getattr(_cryptography("hazmat.primitives.asymmetric.rsa"), f"RSA{suffix}")):
        return "rsa"
    raise AuthError("the key is neither an Ed25519 nor an RSA key")


def _cryptography(name: str) -> Any:
    try:
        return importlib.import_module(f"cryptography.{name}")
    except ImportError:
        raise AuthError("Ed25519 and RSA keys need the package cryptography: pip install 'execwire[ed25519]'") from None


# ==== Checking ====


class Verifier:
    """Checks signatures: with the shared secret, or with a public key.

    Parameters
    ----------
    secret : str or None
        Of an HMAC-SHA256 key.
    public_key : str, bytes or None
        PEM of an Ed25519 or RSA public key. Needs the extra ``ed25519``.

    Raises
    ------
    AuthError
        If there is not exactly one of them, or the key cannot be used.
    """

    __slots__ = ("_check", "_secret", "algorithm")

    algorithm: Algorithm

    def __init__(self, *, secret: str | None = None, public_key: str | bytes | None = None) -> None:
        if (secret is None) == (public_key is None):
            raise AuthError("a verifier needs a secret or a public key")
        if secret == "":
            raise AuthError("the secret is empty")
        self._secret = b"" if secret is None else secret.encode()
        if public_key is None:
            self.algorithm = "hmac"
        else:
            self._check, self.algorithm = _public_key(_bytes(public_key))

    def verify(self, payload: str | bytes, signature: str, encoding: Encoding | None = None) -> bool:
        """Whether a signature is right; takes the same time wherever it is wrong.

        Parameters
        ----------
        payload : str or bytes
            What was signed; a str as UTF-8.
        signature : str
            As it was sent.
        encoding : {"hex", "base64"} or None
            How it is written; None: hexadecimal for HMAC, base64 for the others.
        """
        encoding = encoding or ("hex" if self.algorithm == "hmac" else "base64")
        if self.algorithm == "hmac":
            expected = _written(hmac_sha256(self._secret, payload), encoding)
            given = signature.lower() if encoding == "hex" else signature
            return hmac.compare_digest(expected.encode(), given.encode(errors="replace"))
        try:
            raw = bytes.fromhex(signature) if encoding == "hex" else base64.b64decode(signature, validate=True)
        except (binascii.Error, ValueError):
            return False
        return self._check(_bytes(payload), raw)

    def __repr__(self) -> str:
        return f"Verifier(algorithm={self.algorithm!r})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("verifiers are not pickled: they may hold a secret")


def _public_key(pem: bytes) -> tuple[Callable[[bytes, bytes], bool], Algorithm]:
    try:
        key = _cryptography("hazmat.primitives.serialization").load_pem_public_key(pem)
    except (ValueError, TypeError):
        raise AuthError("the public key cannot be read: a PEM is needed") from None
    kind = _kind(key, "PublicKey")
    invalid = _cryptography("exceptions").InvalidSignature
    extra: tuple[Any, ...] = ()
    if kind == "rsa":
        extra = (
            _cryptography("hazmat.primitives.asymmetric.padding").PKCS1v15(),
            _cryptography("hazmat.primitives.hashes").SHA256(),
        )

    def check(payload: bytes, signature: bytes) -> bool:
        try:
            key.verify(signature, payload, *extra)
        except invalid:
            return False
        return True

    return check, kind
