"""openapi brokers: signed listen key calls, a stream of arrays of events, and pings that the server sends."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import orjson
from aiohttp import web

from execwire.exchange import render_openapi as render
from execwire.exchange import rest
from execwire.exchange.base import Protocol, Refused

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Iterable

    from execwire.exchange.connection import Connection
    from execwire.exchange.market import Event, Kind, Market
    from execwire.exchange.server import Exchange

__all__ = ["OpenApi"]

_HEADERS = ("X-BH-APIKEY", "X-BB-APIKEY", "X-HK-APIKEY")
_FRAMES = "openapi"
_ACCOUNT_PATHS = ("/openapi/v1", "/api/v1", "/api/v1/spot")  # brokers differ
_INFO_PATHS = ("/openapi/v1/brokerInfo", "/openapi/v1/exchangeInfo", "/api/v1/exchangeInfo")
_KEY_PATHS = ("/openapi/v1/userDataStream", "/openapi/v1/userdata", "/api/v1/listenKey", "/api/v1/userDataStream")


@dataclass
class _Key:
    """A listen key and the connections that use it."""

    name: str
    api_key: str
    timer: asyncio.Handle | None = None
    connections: list[Connection] = field(default_factory=list)


class OpenApi(Protocol):
    """openapi brokers."""

    venues: ClassVar[tuple[str, ...]] = ("openapi-broker",)
    markets: ClassVar[dict[str, Kind]] = {"linear": "linear", "spot": "spot"}

    def __init__(self, exchange: Exchange) -> None:
        super().__init__(exchange)
        self._keys: dict[str, _Key] = {}
        header = exchange.options.openapi_header
        self._headers = (header,) if header else _HEADERS

    def routes(self) -> Iterable[web.RouteDef]:
        """Paths and their handlers."""
        for path in _KEY_PATHS:
            yield web.post(path, rest.reply(self._create))
            yield web.put(path, rest.reply(self._renew))
            yield web.delete(path, rest.reply(self._remove))
        yield web.get("/openapi/ws/{key}", self._stream)
        yield web.get("/api/v1/ws/{key}", self._stream)
        yield web.get("/openapi/v1/ping", rest.reply(_empty))
        yield web.get("/openapi/v1/time", rest.reply(self._time))
        yield web.get("/api/v1/time", rest.reply(self._time))
        for path in _ACCOUNT_PATHS:
            yield web.get(f"{path}/account", rest.reply(self._account))
            yield web.get(f"{path}/openOrders", rest.reply(self._open_orders))
            yield web.get(f"{path}/myTrades", rest.reply(self._trades))
        for path in _INFO_PATHS:
            yield web.get(path, rest.reply(self._info))

    # ---- Listen keys ----

    def _extend(self, key: _Key) -> None:
        if key.timer is not None:
            key.timer.cancel()
        life = self.exchange.faults.key_life or self.exchange.options.listen_key_life
        key.timer = self.exchange.loop.call_later(life, lambda: self._end(key))

    def _end(self, key: _Key) -> None:
        self._keys.pop(key.name, None)
        if key.timer is not None:
            key.timer.cancel()
        for connection in list(key.connections):
            connection.close(1000, "the listen key has ended")

    async def _create(self, request: web.Request) -> Any:
        await self._check(request)
        name = rest.api_key(self.exchange, request, *self._headers).name
        key = next((one for one in self._keys.values() if one.api_key == name), None)
        if key is None:
            key = _Key(self.exchange.token(), name)
            self._keys[key.name] = key
        self._extend(key)
        return {"listenKey": key.name}

    async def _named(self, request: web.Request) -> _Key:
        params = await self._check(request)
        name = params.get("listenKey", "")
        if not name:
            raise Refused(-1102, "Mandatory parameter 'listenKey' was not sent, was empty/null, or malformed.")
        if name not in self._keys:
            raise Refused(-1125, "This listenKey does not exist.")
        return self._keys[name]

    async def _renew(self, request: web.Request) -> Any:
        self._extend(await self._named(request))
        return {}

    async def _remove(self, request: web.Request) -> Any:
        self._end(await self._named(request))
        return {}

    async def _check(self, request: web.Request) -> dict[str, str]:
        return await rest.signed(self.exchange, request, *self._headers)

    # ---- The stream ----

    def publish(self, market: Market, event: Event) -> None:
        """Send an event to every connection."""
        for key in list(self._keys.values()):  # a fault may end one
            for connection in key.connections:
                if _FRAMES not in event.rendered:
                    event.rendered[_FRAMES] = render.frames(event, market)
                for frame in event.rendered[_FRAMES]:
                    connection.event(frame)

    def inject(self, venue: str, payload: bytes) -> None:
        """Send a frame to every connection."""
        for key in list(self._keys.values()):
            for connection in key.connections:
                connection.event(payload)

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        exchange, options = self.exchange, self.exchange.options
        key = self._keys.get(request.match_info["key"])
        if key is None:
            raise web.HTTPUnauthorized(text="the listen key does not exist")
        connection = exchange.accept(request, "openapi-broker")
        heard = exchange.loop.time()

        def ping() -> None:
            if exchange.loop.time() - heard > options.openapi_pong:
                connection.close(1008, "no pong")
            else:
                connection.answer(b'{"ping":%d}' % exchange.now())

        connection.every(options.openapi_ping, ping)
        connection.on_close.append(lambda: key.connections.remove(connection))
        connection.on_terminate = lambda: self._end(key)
        key.connections.append(connection)
        for flow in self.flows.values():
            flow.start()
        async for _, payload in connection.run():
            try:
                message = orjson.loads(payload)
            except orjson.JSONDecodeError:
                continue  # the venue documents no answer
            if isinstance(message, dict):
                if "pong" in message:
                    heard = exchange.loop.time()
                elif "ping" in message:
                    connection.answer(orjson.dumps({"pong": message["ping"]}))
        return connection.response

    # ---- REST ----

    async def _time(self, request: web.Request) -> Any:
        return {"serverTime": self.exchange.now()}

    async def _info(self, request: web.Request) -> Any:
        return render.exchange_info(self.flows["spot"].market, self.flows["linear"].market, self.exchange.now())

    async def _account(self, request: web.Request) -> Any:
        await self._check(request)
        return render.account(self.flows["spot"].market, self.exchange.now())

    async def _open_orders(self, request: web.Request) -> Any:
        await self._check(request)
        return [render.order_row(one) for one in self.flows["spot"].market.orders.values()]

    async def _trades(self, request: web.Request) -> Any:
        await self._check(request)
        return [render.trade_row(one) for one in self.flows["spot"].market.history if one.trade]


async def _empty(request: web.Request) -> Any:
    return {}
