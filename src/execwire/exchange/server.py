"""The local exchange: one port for every venue, an invented market behind it."""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from typing import TYPE_CHECKING, Any, Self

from aiohttp import web

from execwire.auth import Credentials
from execwire.exchange.base import ApiKey, Options
from execwire.exchange.bitget import Bitget
from execwire.exchange.connection import Connection, Window
from execwire.exchange.faults import Faults, Injector
from execwire.exchange.gzip_broker import GzipBroker
from execwire.exchange.listen_keys import ListenKeys
from execwire.exchange.openapi import OpenApi
from execwire.exchange.streams import Streams
from execwire.exchange.ws_api import WsApi

if TYPE_CHECKING:
    import ssl
    from collections.abc import Sequence

    from execwire.exchange.base import Protocol
    from execwire.exchange.market import Event, Market

__all__ = ["VENUES", "Exchange"]

VENUES: dict[str, type[Protocol]] = {
    venue: family for family in (WsApi, ListenKeys, Bitget, OpenApi, GzipBroker) for venue in family.venues
}
_WEIGHED = ("/api/", "/sapi/", "/fapi/", "/dapi/", "/papi/")  # where answers tell the weight used in a minute
_WEIGHT_HEADERS = ("X-MBX-USED-WEIGHT", "X-MBX-USED-WEIGHT-1M")
_WEIGHT_LIMIT = 6_000  # not enforced
_KEPT = 10_000  # closed connections and REST requests, unless logs are kept
_LETTERS = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"


class Exchange:
    """A server that speaks the venues' protocols, on one port of this machine.

    Parameters
    ----------
    venues : sequence of str or None
        Which; None: all.
    host, port
        Where it listens; port 0 takes a free one.
    keys : sequence of ApiKey or None
        Who may log in; None: the key ``key`` with the secret ``sec`` and the passphrase ``pp``.
    rate : float
        Events a second in each market, from its first subscriber on. An event is one to four messages. 0: only what
        `step` makes.
    seed : int or str
        The same seed, the same events and the same faults.
    start : int or None
        ms since 1970: time stamps of events begin here and go on by a millisecond an event, so that they are the same
        every time. None: the clock's.
    repeat : int
        For load: after so many events of a market they are sent again, from memory, and as fast as the slowest client
        takes them if that is less than `rate`. 0: never.
    faults : Faults
        What goes wrong; may be replaced while it runs.
    options : Options
        Durations and limits.
    keep_logs : bool
        Keep what was sent, in `Connection.log`.
    tls : ssl.SSLContext or None
        With a certificate: for clients that take nothing but ``wss`` and ``https``.

    Examples
    --------
    >>> async def main():
    ...     async with Exchange(["binance-spot"], rate=100) as exchange:
    ...         print(exchange.url("binance-spot"))
    """

    def __init__(
        self,
        venues: Sequence[str] | None = None,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        keys: Sequence[ApiKey] | None = None,
        rate: float = 10.0,
        seed: int | str = 1,
        start: int | None = None,
        repeat: int = 0,
        faults: Faults | None = None,
        options: Options | None = None,
        keep_logs: bool = False,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        if unknown := sorted(set(venues or ()).difference(VENUES)):
            raise ValueError(f"the local exchange has no venue {unknown[0]!r}; it has {', '.join(VENUES)}")
        if keys is None:
            keys = [ApiKey("key", Credentials("key", "sec").verifier(), "pp")]
        self.host = host
        self.port = port
        self.keys = {key.name: key for key in keys}
        self.rate = rate
        self.seed = str(seed)
        self.repeat = repeat
        self.faults = faults or Faults()
        self.options = options or Options()
        self.keep_logs = keep_logs
        self.tls = tls
        self.venues = tuple(venues or VENUES)
        self.connections: list[Connection] = []
        self.requests: list[tuple[str, str]] = []  # method and path of every REST request
        self.random = random.Random(f"{self.seed}:keys")
        self.streams = Streams(self)
        self._start = start
        self._ticks = 0
        self._numbers = itertools.count()
        self._refused = self._refused_rest = 0
        self._injector = Injector(f"{self.seed}:rest")
        self._attempts: dict[str, Window] = {}
        self._weight = Window(_WEIGHT_LIMIT, 60.0)
        self._runner: web.AppRunner | None = None
        families = dict.fromkeys(VENUES[venue] for venue in self.venues)
        self.protocols = {family: family(self) for family in families}
        self._by_venue = {venue: self.protocols[VENUES[venue]] for venue in self.venues}

    # ---- Its life ----

    async def __aenter__(self) -> Self:
        self.loop = asyncio.get_running_loop()
        application = web.Application(client_max_size=1 << 20, middlewares=[self._count])
        for protocol in self.protocols.values():
            application.router.add_routes(list(protocol.routes()))
        if {"binance-spot", "binance-futures"}.intersection(self.venues):  # the same paths on different hosts
            venue = "binance-futures" if "binance-futures" in self.venues else "binance-spot"
            for path in ("/ws", "/ws/{key}", "/stream"):
                handler = self.streams.handler(venue, combined=path == "/stream")
                application.router.add_get(path, handler)
        application.router.add_route("*", "/{path:.*}", self._anything)
        self._runner = web.AppRunner(application, access_log=None, handle_signals=False, shutdown_timeout=1.0)
        await self._runner.setup()
        site = web.TCPSite(self._runner, self.host, self.port, reuse_address=True, ssl_context=self.tls)
        await site.start()
        self.port = self._runner.addresses[0][1]
        return self

    async def __aexit__(self, *_: object) -> None:
        try:
            for protocol in self.protocols.values():
                for flow in protocol.flows.values():
                    await flow.stop()
        finally:
            for connection in self.connections:
                connection.close(1001, "the server ends")
            if self._runner is not None:
                await self._runner.cleanup()

    @property
    def origin(self) -> str:
        """``host:port``."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def url(self, venue: str) -> str:
        """Where the venue's streams are: the part before the path."""
        return self._url("ws", venue)

    def rest_url(self, venue: str) -> str:
        """Where the venue's REST API is: the part before the path."""
        return self._url("http", venue)

    def _url(self, scheme: str, venue: str) -> str:
        if venue not in self._by_venue:
            raise ValueError(f"this exchange does not serve {venue!r}; it serves {', '.join(self.venues)}")
        return f"{scheme}{'s' if self.tls else ''}://{self.origin}"

    # ---- Time and chance ----

    def now(self) -> int:
        """The exchange's clock, ms since 1970."""
        return time.time_ns() // 1_000_000 + int(self.faults.clock_skew * 1000)

    def event_time(self) -> int:
        """The time stamp of an event, ms since 1970."""
        if self._start is None:
            return self.now()
        self._ticks += 1
        return self._start + self._ticks

    def token(self, length: int = 64) -> str:
        """A text that nobody can guess who does not know the seed."""
        return "".join(self.random.choices(_LETTERS, k=length))

    # ---- For tests ----

    def step(self, venue: str, count: int = 1, market: str | None = None) -> list[Event]:
        """Let something happen, now.

        Parameters
        ----------
        venue : str
            Where.
        count : int
            How many events.
        market : str or None
            A key of the protocol's markets; None: its first one.
        """
        flows = self._by_venue[venue].flows
        flow = flows[market] if market is not None else next(iter(flows.values()))
        return [flow.step() for _ in range(count)]

    def inject(self, venue: str, payload: bytes) -> None:
        """Send an event message of yours, such as one that the market never makes, to every subscriber.

        Parameters
        ----------
        venue : str
            Where.
        payload : bytes
            JSON, as the venue would send it; what its streams put around it, gzip and SBE are done here.
        """
        self._by_venue[venue].inject(venue, payload)

    def market(self, venue: str, market: str | None = None) -> Market:
        """A venue's market."""
        flows = self._by_venue[venue].flows
        return (flows[market] if market is not None else next(iter(flows.values()))).market

    @property
    def backlog(self) -> int:
        """Bytes that the slowest client has not taken yet."""
        return max((one.backlog for one in self.connections if one.is_open), default=0)

    def open_connections(self, venue: str | None = None) -> list[Connection]:
        """Those that are not closed."""
        return [one for one in self.connections if one.is_open and venue in (None, one.venue)]

    # ---- HTTP ----

    @web.middleware
    async def _count(self, request: web.Request, handler: Any) -> web.StreamResponse:
        if "Upgrade" not in request.headers:
            if len(self.requests) >= _KEPT and not self.keep_logs:
                self.requests.clear()
            self.requests.append((request.method, request.path))
            if self._refused_rest < self.faults.refuse_rest:
                self._refused_rest += 1
                raise _status(self.faults.refuse_status)
        response: web.StreamResponse = await handler(request)
        if request.path.startswith(_WEIGHED):
            self._weight.add(self.loop.time())
            for name in _WEIGHT_HEADERS:
                response.headers[name] = str(len(self._weight))
        if isinstance(response, web.Response) and isinstance(response.body, bytes):
            response.body = self._injector.answer(self.faults, response.body)
        return response

    async def _anything(self, request: web.Request) -> web.Response:
        """Whatever clients ask for at start-up."""
        if request.headers.get("Upgrade", "").lower() == "websocket":
            raise web.HTTPNotFound(text="no stream here")
        return web.json_response({})

    def accept(self, request: web.Request, venue: str) -> Connection:
        """A new connection, before its handshake.

        Raises
        ------
        aiohttp.web.HTTPException
            If there are too many, or the handshake is to be refused.
        """
        if request.headers.get("Upgrade", "").lower() != "websocket":
            raise web.HTTPUpgradeRequired(text="a WebSocket handshake is needed")
        window = self._attempts.setdefault(request.remote or "", Window(self.options.connections, 300.0))
        if not window.add(self.loop.time()):
            raise web.HTTPTooManyRequests(text="too many connection attempts")
        if self._refused < self.faults.refuse:
            self._refused += 1
            raise _status(self.faults.refuse_status)
        connection = Connection(self, request, venue, next(self._numbers))
        if len(self.connections) >= _KEPT and not self.keep_logs:
            self.connections[:] = [one for one in self.connections if one.close_code is None]
        self.connections.append(connection)
        return connection


def _status(status: int) -> web.HTTPException:
    refused = type("Refused", (web.HTTPException,), {"status_code": status})
    return refused(text="refused")  # type: ignore[no-any-return]
