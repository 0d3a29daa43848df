"""Credentials and signatures: published vectors, every sort of key, and that no secret shows."""

from __future__ import annotations

import base64
import copy
import hashlib
import hmac
import pickle
import subprocess
import sys
import traceback

import pytest

from execwire.auth import AuthError, Credentials, Verifier, hmac_sha256, login_text, pairs

# Published with Binance's documentation; they open nothing.
BINANCE_SECRET = "NhqPtmdSJYdKjVHjA7PZj4Mge3R5YNiP1e3UZjInClVN65XAbvqqM6A7H5fATj0j"
BINANCE_KEY = "vmPUZE6mv9SD5VNHk4HlWFsOr6aKE2zvsw0MuIgwCIPy6utIco14y7Ju91duEh8A"

BINANCE = [
    (
        {"timestamp": 1649729878532, "apiKey": BINANCE_KEY},
        "1cf54395b336b0a9727ef27d5d98987962bc47aca6e13fe978612d0adee066ed",
    ),
    (
        {
            "symbol": "BTCUSDT",
            "side": "SELL",
            "type": "LIMIT",
            "timeInForce": "GTC",
            "quantity": "0.01000000",
            "price": "52000.00",
            "recvWindow": 100,
            "timestamp": 1645423376532,
            "apiKey": BINANCE_KEY,
        },
        "aa1b5712c094bc4e57c05a1a5c1fd8d88dcd628338ea863fec7b88e59fe2db24",
    ),
    (
        {
            "symbol": "\uff11\uff12\uff13\uff14\uff15\uff16",  # full-width digits
            "side": "BUY",
            "type": "LIMIT",
            "timeInForce": "GTC",
            "quantity": "1.00000000",
            "price": "0.10000000",
            "recvWindow": 5000,
            "timestamp": 1645423376532,
            "apiKey": BINANCE_KEY,
        },
        "b33892ae8e687c939f4468c6268ddd4c40ac1af18ad19a064864c47bae0752cd",
    ),
]

BITGET = [
    ("testsecret", "1659927630000", "base64", "ReLoBF0dP2l8UDnVe5VABcut6c7GGb+QFkEZ/KeNw8k="),
    ("testsecret", "1659927630", "base64", "dLdo96Qwc1HWdVtltjO5ucu5w7Zt4hx2+OI8SeX87e8="),
    ("22582BD0CFF14C41EDBF1AB98506286D", "1538054050", "base64", "/4S0C3L8mGdm8894ulf8wfnQ6dqMXO8Iw95zlvMN8Zw="),
    (
        "22582BD0CFF14C41EDBF1AB98506286D",
        "1621441751927",
        "hex",
        "96f7cd4e3871a65d460bbe57655ea1f90cfbe00eb62910b61779aa590fb7736c",
    ),
]


@pytest.mark.parametrize(("params", "signature"), BINANCE)
def test_sorted_parameters(params, signature):
    credentials = Credentials(BINANCE_KEY, BINANCE_SECRET)
    text = pairs(params, order=True)
    assert credentials.sign(text) == signature
    assert credentials.verifier().verify(text, signature)
    assert credentials.verifier().verify(text, signature.upper())  # hexadecimal has no case
    assert not credentials.verifier().verify(text + "0", signature)


@pytest.mark.parametrize(("secret", "timestamp", "encoding", "signature"), BITGET)
def test_login(secret, timestamp, encoding, signature):
    credentials = Credentials("k", secret, "p")
    text = login_text(timestamp)
    assert text == f"{timestamp}GET/user/verify"
    assert credentials.sign(text, encoding) == signature
    verifier = credentials.verifier()
    assert verifier.verify(text, signature, encoding)
    assert verifier.verify(text, signature.swapcase(), encoding) is (encoding == "hex")
    assert not verifier.verify(login_text(int(timestamp) + 1), signature, encoding)


def test_query_as_sent():
    secret = "lH3ELTNiFxCQTmi9pPcWWikhsjO04Yoqw3euoHUuOLC3GYBW64ZqzQsiOEHXQS76"
    params = [
        ("symbol", "ETHBTC"),
        ("side", "BUY"),
        ("type", "LIMIT"),
        ("timeInForce", "GTC"),
        ("quantity", 1),
        ("price", "0.1"),
        ("recvWindow", 5000),
        ("timestamp", 1538323200000),
    ]
    signature = "5f2750ad7589d1d40757a55342e621a44037dad23b5128cc70e18ec1d1c3f4c6"
    assert Credentials("k", secret).sign(pairs(params)) == signature
    assert Credentials("k", secret).sign(pairs(params, order=True)) != signature  # the order as sent, not another one


def test_pairs():
    assert pairs({"b": 1, "a": "x y", "c": True}) == "b=1&a=x y&c=true"
    assert pairs({"b": 1, "a": "x y/ä", "c": False}, order=True, encode=True) == "a=x%20y%2F%C3%A4&b=1&c=false"
    assert pairs([]) == ""


def test_hmac_is_the_standard_librarys():
    assert hmac_sha256("s", "p") == hmac.new(b"s", b"p", hashlib.sha256).digest()
    assert hmac_sha256(b"s", b"p") == hmac_sha256("s", "p")


# ---- Private keys ----


@pytest.fixture(scope="module", params=["ed25519", "rsa"])
def key_pair(request):
    pytest.importorskip("cryptography")
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ed25519, rsa

    private = (
        ed25519.Ed25519PrivateKey.generate()
        if request.param == "ed25519"
        else rsa.generate_private_key(public_exponent=65537, key_size=2048)
    )
    pem = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public = private.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return request.param, private, pem, public


def test_private_keys(key_pair):
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import padding

    name, private, pem, public = key_pair
    credentials = Credentials("k", private_key=pem)
    assert credentials.algorithm == name
    assert Credentials("k", private_key=pem.decode()).algorithm == name
    text = pairs({"timestamp": 1, "apiKey": "k"}, order=True)
    signature = credentials.sign(text)
    raw = base64.b64decode(signature, validate=True)
    if name == "ed25519":
        assert raw == private.sign(text.encode())
    else:
        private.public_key().verify(raw, text.encode(), padding.PKCS1v15(), hashes.SHA256())  # raises
    verifier = Verifier(public_key=public)
    assert verifier.algorithm == name
    assert verifier.verify(text, signature)
    assert verifier.verify(text, raw.hex(), "hex")
    assert not verifier.verify(text + "0", signature)
    assert not verifier.verify(text, "not base64")
    assert not verifier.verify(text, signature[:-4])
    with pytest.raises(AuthError, match="only a shared secret"):
        credentials.verifier()


def test_ed25519_vector():
    """RFC 8032, section 7.1, test 2: its key is 32 bytes, which PKCS#8 puts behind a fixed prefix."""
    pytest.importorskip("cryptography")
    seed = bytes.fromhex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb")
    der = bytes.fromhex("302e020100300506032b657004220420") + seed
    pem = f"-----BEGIN PRIVATE KEY-----\n{base64.b64encode(der).decode()}\n-----END PRIVATE KEY-----\n"
    expected = (
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
        "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
    )
    assert Credentials("k", private_key=pem).sign(b"\x72", "hex") == expected


def test_signer():
    credentials = Credentials("k", signer=lambda payload: b"<" + payload + b">")
    assert credentials.algorithm == "ed25519"
    assert credentials.sign("text") == base64.b64encode(b"<text>").decode()
    assert Credentials("k", signer=bytes, algorithm="hmac").sign("text") == b"text".hex()
    with pytest.raises(AuthError, match="bytes"):
        Credentials("k", signer=lambda _payload: "text").sign("x")  # type: ignore[arg-type,return-value]


def test_unusable_keys():
    pytest.importorskip("cryptography")
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    pem = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    with pytest.raises(AuthError, match="neither an Ed25519 nor an RSA key"):
        Credentials("k", private_key=pem)
    with pytest.raises(AuthError, match="cannot be read") as raised:
        Credentials("k", private_key="-----BEGIN PRIVATE KEY-----\nhunter2hunter2\n-----END PRIVATE KEY-----\n")
    assert "hunter2" not in str(raised.value)
    with pytest.raises(AuthError, match="cannot be read"):
        Verifier(public_key="hunter2")


def test_without_cryptography():
    """Where the extra is not installed the message says how to install it; HMAC needs nothing."""
    code = (
        "import sys; sys.modules['cryptography'] = None\n"
        "from execwire.auth import AuthError, Credentials\n"
        "print(len(Credentials('k', 's').sign('x')))\n"
        "try: Credentials('k', private_key='hunter2')\n"
        "except AuthError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [
        "64",
        "Ed25519 and RSA keys need the package cryptography: pip install 'execwire[ed25519]'",
    ]


# ---- Which credentials ----


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"api_key": "", "secret": "s"}, "API key is empty"),
        ({"api_key": "k"}, "exactly one of"),
        ({"api_key": "k", "secret": "s", "signer": bytes}, "exactly one of"),
        ({"api_key": "k", "secret": ""}, "secret is empty"),
        ({"api_key": "k", "secret": "s", "algorithm": "rsa"}, "for a signer only"),
    ],
)
def test_wrong_arguments(arguments, message):
    with pytest.raises(AuthError, match=message):
        Credentials(**arguments)


def test_verifier_needs_one_key():
    with pytest.raises(AuthError, match="a secret or a public key"):
        Verifier()
    with pytest.raises(AuthError, match="a secret or a public key"):
        Verifier(secret="s", public_key="p")


def test_passphrase():
    assert Credentials("k", "s", "p").passphrase == "p"
    with pytest.raises(AuthError, match="needs a passphrase"):
        _ = Credentials("k", "s").passphrase


def test_from_environment(tmp_path, monkeypatch):
    found = Credentials.from_env("EX", {"EX_API_KEY": "k", "EX_SECRET": "s", "EX_PASSPHRASE": "p"})
    assert (found.api_key, found.passphrase, found.sign("x")) == ("k", "p", Credentials("k", "s").sign("x"))
    monkeypatch.setenv("EX_API_KEY", "k2")
    monkeypatch.setenv("EX_SECRET", "s2")
    assert Credentials.from_env("EX").sign("x") == Credentials("k2", "s2").sign("x")
    with pytest.raises(AuthError, match="EX_API_KEY is not set"):
        Credentials.from_env("EX", {"EX_SECRET": "hunter2"})
    with pytest.raises(AuthError, match="EX_SECRET, EX_PRIVATE_KEY and EX_PRIVATE_KEY_FILE"):
        Credentials.from_env("EX", {"EX_API_KEY": "k"})
    missing = str(tmp_path / "hunter2.pem")
    with pytest.raises(AuthError, match="EX_PRIVATE_KEY_FILE names: No such file") as raised:
        Credentials.from_env("EX", {"EX_API_KEY": "k", "EX_PRIVATE_KEY_FILE": missing})
    assert "hunter2" not in str(raised.value)


def test_private_key_from_environment(key_pair, tmp_path):
    name, _, pem, public = key_pair
    file = tmp_path / "key.pem"
    file.write_bytes(pem)
    for environ in ({"EX_PRIVATE_KEY_FILE": str(file)}, {"EX_PRIVATE_KEY": pem.decode()}):
        credentials = Credentials.from_env("EX", {"EX_API_KEY": "k", **environ})
        assert credentials.algorithm == name
        assert Verifier(public_key=public).verify("x", credentials.sign("x"))


def test_of_an_api_key_its_beginning_is_shown_if_that_tells_little():
    assert "12" not in repr(Credentials("12345678", "s"))
    assert "'1234...'" in repr(Credentials("123456789", "s"))


def test_nothing_shows_a_secret():
    credentials = Credentials("api-key-in-the-clear", "hunter2", "correct horse")
    verifier = credentials.verifier()
    for shown in (repr(credentials), str(credentials), f"{credentials}", repr(verifier), str(verifier)):
        assert "hunter2" not in shown
        assert "horse" not in shown
        assert "in-the-clear" not in shown
    for thing in (credentials, verifier):
        with pytest.raises(TypeError, match="not pickled") as raised:
            pickle.dumps(thing)
        assert "hunter2" not in "".join(traceback.format_exception(raised.value))
        assert not hasattr(thing, "__dict__")
    assert copy.copy(credentials) is credentials
    assert copy.deepcopy([credentials])[0] is credentials
