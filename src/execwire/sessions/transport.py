"""Sockets: picows on the running loop, and HTTP for keys. The only part of a session that does I/O."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import importlib
import logging
import socket
import ssl
import warnings
from dataclasses import dataclass, replace
from importlib import resources
from typing import TYPE_CHECKING, Any

import picows

from execwire import venues
from execwire.core import Decoder
from execwire.delivery import Pulse

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import aiohttp

    from execwire.delivery import Pump
    from execwire.venues import Venue

__all__ = ["PROFILES", "Hub", "Profile", "connect", "hub", "listener_class"]

CONNECTS_AT_ONCE = 64
HTTP_SECONDS = 10.0
LONGEST_BAN = 3 * 86_400.0  # s: Binance bans addresses for so long at most
MOST_BODY = 1 << 20  # bytes of an answer over HTTP


@dataclass(frozen=True)
class Profile:
    """How much memory a connection may take for speed.

    Attributes
    ----------
    read_buffer : int
        Bytes to begin with; it doubles when reads fill it, and never shrinks.
    receive_buffer : int
        Of the socket, bytes; 0: the system's. Bounds what one read brings, and with it the read buffer.
    tls_buffer : int
        Bytes of a TLS connection's, each way; 0: the library's.
    own_transport : bool
        Plain TCP on the loop's own transport, which is smaller; else on aiofastnet's.
    """

    read_buffer: int
    receive_buffer: int
    tls_buffer: int
    own_transport: bool


#: ``hot``: few connections, as fast as can be. ``fleet``: thousands of them that are mostly idle.
PROFILES = {
    "hot": Profile(read_buffer=262_144, receive_buffer=0, tls_buffer=0, own_transport=False),
    "fleet": Profile(read_buffer=2_048, receive_buffer=65_536, tls_buffer=17_000, own_transport=True),
}


# ---- MARK: The listener ----


@functools.cache
def listener_class() -> Any:
    """The compiled listener, or with a warning the plain one where it does not fit the installed picows."""
    try:
        with warnings.catch_warnings():
            # Cython only warns if a class has grown since it was compiled for it.
            warnings.filterwarnings("error", message=".*size changed", category=RuntimeWarning)
            return importlib.import_module("execwire.stream").Listener
    except (ImportError, RuntimeWarning, ValueError, AttributeError, TypeError) as error:  # Cython raises any of them
        warnings.warn(
            f"the compiled listener cannot be used, the plain one is slower: {error}", RuntimeWarning, stacklevel=2
        )
        return importlib.import_module("execwire.plain_stream").Listener


class _Quiet(logging.LoggerAdapter[logging.Logger]):
    """What picows logs to: nothing. Its lines would hold listen keys, and a child logger for every connection."""

    def isEnabledFor(self, level: int) -> bool:  # noqa: N802, ARG002
        return False

    def log(self, level: int, msg: object, *args: object, **kwargs: Any) -> None:
        """Drop it."""


_QUIET = _Quiet(logging.getLogger("execwire.picows"), {})


# ---- MARK: What the sessions of a loop share ----


class Hub:
    """Decoders, the heartbeat timer, and HTTP: one of each for all sessions of a loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.pulse = Pulse(loop, picows.WSMsgType.TEXT)
        self.connecting = asyncio.Semaphore(CONNECTS_AT_ONCE)
        self._decoders: dict[str, tuple[Decoder, Decoder]] = {}
        self._http: dict[str, aiohttp.ClientSession] = {}  # by the SOCKS proxy, if there is one
        self._users = 0

    def decoders(self, venue: Venue) -> tuple[Decoder, Decoder]:
        """The venue's decoder, and that of a session's own notices."""
        # A decoder takes megabytes, and messages of a loop come one at a time.
        key = venue.table()
        if key not in self._decoders:
            path = resources.files("execwire.sessions") / "notices.toml"
            with resources.as_file(path) as file:
                notices = replace(venues.load(file), name=venue.name)
            self._decoders[key] = Decoder(venue), Decoder(notices)
        return self._decoders[key]

    def enter(self) -> None:
        """A session uses the hub."""
        self._users += 1

    async def leave(self) -> None:
        """It does not any more."""
        self._users -= 1
        if self._users:
            return
        _HUBS.pop(self.loop, None)  # with its decoders, megabytes
        while self._http:
            await self._http.popitem()[1].close()

    async def fetch(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        tls: ssl.SSLContext | None = None,
        proxy: str | None = None,
    ) -> tuple[int, bytes, str | None, float]:
        """A request over HTTP: status, body, what went wrong if there was no answer, and Retry-After in s."""
        socks = proxy if proxy is not None and proxy.startswith("socks") else ""
        more: dict[str, Any] = {"ssl": tls} if tls is not None else {}
        if proxy is not None and not socks:
            more["proxy"] = proxy
        try:
            http = self._http.get(socks) or self._client(socks)
            # A redirect would take the key to another place.
            async with http.request(method, url, headers=headers, allow_redirects=False, **more) as response:
                body = b""
                while len(body) < MOST_BODY and (part := await response.content.read(MOST_BODY - len(body))):
                    body += part  # `read` gives what has come so far
                return response.status, body, None, _retry_after(response.headers)
        except TimeoutError:
            return 0, b"", f"no answer within {HTTP_SECONDS:g} s", 0.0
        except Exception as error:  # a proxy has errors of its own. Their texts may hold the URL
            return 0, b"", _cause(error), 0.0

    def _client(self, socks: str) -> aiohttp.ClientSession:
        import aiohttp  # takes a quarter of a second, and many sessions never need it

        connector = None
        if socks:
            import aiohttp_socks

            connector = aiohttp_socks.ProxyConnector.from_url(socks)
        self._http[socks] = aiohttp.ClientSession(
            connector=connector, timeout=aiohttp.ClientTimeout(total=HTTP_SECONDS), cookie_jar=aiohttp.DummyCookieJar()
        )
        return self._http[socks]


_HUBS: dict[asyncio.AbstractEventLoop, Hub] = {}


def hub() -> Hub:
    """The running loop's."""
    loop = asyncio.get_running_loop()
    if loop not in _HUBS:
        for over in [one for one in list(_HUBS) if one.is_closed()]:  # whose sessions nobody has closed
            _HUBS.pop(over, None)
        _HUBS[loop] = Hub(loop)
    return _HUBS[loop]


def _cause(error: BaseException) -> str:
    """What went wrong, without the URL that it went wrong with."""
    inner = getattr(error, "os_error", None) or (error if isinstance(error, OSError) else None)
    if inner is not None and inner.strerror:
        return str(inner.strerror)
    return type(error).__name__


def _retry_after(headers: Mapping[str, str]) -> float:
    """Seconds that a server wants to be left alone."""
    after = headers.get("Retry-After", "")
    return min(float(after), LONGEST_BAN) if after.isascii() and after.isdigit() else 0.0


# ---- MARK: Connecting ----


class ConnectError(Exception):
    """The socket could not be opened.

    Attributes
    ----------
    status : int
        Of the answer to the upgrade request, 0 without one.
    body : bytes
    retry_after : float
        Seconds.
    """

    def __init__(self, message: str, status: int = 0, body: bytes = b"", retry_after: float = 0.0) -> None:
        super().__init__(message)
        self.status = status
        self.body = body
        self.retry_after = retry_after


@functools.cache
def _tls() -> ssl.SSLContext:
    return ssl.create_default_context()  # picows would make one for every connection, which is slow


async def connect(
    pump: Pump,
    url: str,
    headers: Mapping[str, str],
    profile: Profile,
    *,
    max_message: int,
    timeout: float,
    tls: ssl.SSLContext | None = None,
    proxy: str | None = None,
) -> None:
    """Open a WebSocket whose messages go to a pump.

    Parameters
    ----------
    pump : execwire.delivery.Pump
    url : str
    headers : mapping
        Of the upgrade request.
    profile : Profile
    max_message : int
        Longest frame and longest message, bytes.
    timeout : float
        Seconds for all of it.
    tls : ssl.SSLContext or None
        Instead of the system's trust.
    proxy : str or None
        ``http://``, ``socks5://`` and so on.

    Raises
    ------
    ConnectError
    """
    listener = listener_class()

    def factory(_request: Any, response: Any) -> Any:
        if "Sec-WebSocket-Extensions" in response.headers:
            raise ConnectError("the server uses an extension that was not offered")
        return listener(pump, max_message)

    options: dict[str, Any] = {}
    secure = url.startswith("wss://")
    if profile.tls_buffer and secure:
        options |= {"ssl_incoming_bio_size": profile.tls_buffer, "ssl_outgoing_bio_size": profile.tls_buffer}
    if profile.own_transport and not secure:
        options["use_aiofastnet"] = False
    opened: list[socket.socket] = []
    if profile.receive_buffer or proxy is None:
        options["socket_factory"] = _sockets(profile.receive_buffer, timeout, opened)
    try:
        async with asyncio.timeout(timeout):
            _, listening = await picows.ws_connect(
                factory, url, ssl_context=(tls or _tls()) if secure else None, disconnect_on_exception=False,
                websocket_handshake_timeout=timeout, logger_name=_QUIET, enable_auto_ping=False,
                enable_auto_pong=False, max_frame_size=max_message, extra_headers=dict(headers), max_redirects=0,
                proxy=proxy, read_buffer_init_size=profile.read_buffer, **options,
            )  # fmt: skip
    except ConnectError:
        raise
    except asyncio.CancelledError:
        _shut(opened)
        raise
    except TimeoutError:
        _shut(opened)
        raise ConnectError(f"no answer within {timeout:g} s") from None
    except picows.WSHandshakeError as error:
        response = error.response
        if response is None:
            raise ConnectError(_first_line(error)) from None
        raise ConnectError(
            f"HTTP status {int(response.status)}", int(response.status), error.raw_body or b"",
            _retry_after(response.headers),
        ) from None  # fmt: skip
    except (OSError, picows.WSError) as error:
        raise ConnectError(_cause(error) if isinstance(error, OSError) else _first_line(error)) from None
    except ValueError:
        raise ConnectError("the URL cannot be used") from None
    if listening is None:  # which picows does not call a failure
        raise ConnectError("the connection was closed before it was answered")


def _shut(opened: list[socket.socket]) -> None:
    """Close what picows leaves open until the handshake's time is up."""
    for sock in opened:
        with contextlib.suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)


def _first_line(error: BaseException) -> str:
    text = str(error.args[0]) if error.args else type(error).__name__
    return text.splitlines()[0][:200] if text else type(error).__name__


def _sockets(size: int, timeout: float, opened: list[socket.socket]) -> Callable[[Any], Any]:
    async def make(url: Any) -> socket.socket:
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(url.host, url.port, type=socket.SOCK_STREAM)
        error: OSError | None = None
        for i, (family, kind, protocol, _, address) in enumerate(found, 1):
            sock = socket.socket(family, kind, protocol)
            try:
                sock.setblocking(False)
                if size:
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, size)
                # One that swallows packets leaves time for the others.
                async with asyncio.timeout(timeout / len(found) if i < len(found) else None):
                    await loop.sock_connect(sock, address)
            except OSError as one:  # time-outs are among them
                sock.close()
                error = one
            except BaseException:
                sock.close()
                raise
            else:
                opened.append(sock)
                return sock
        raise error or OSError("the host has no address")

    return make
