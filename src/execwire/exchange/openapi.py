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
    from execwire.exchange.market import Event, Kind, Market, Order
    from execwire.exchange.server import Exchange

__all__ = ["OpenApi"]

# Of the API key, and how the broker that has this header names contracts.
_HEADERS = {"X-BH-APIKEY": render.SWAP, "X-BB-APIKEY": render.SWAP, "X-HK-APIKEY": render.PERPETUAL}
_ACCOUNT_PATHS = ("/openapi/v1", "/api/v1", "/api/v1/spot")  # brokers differ
_INFO_PATHS = ("/openapi/v1/brokerInfo", "/openapi/v1/exchangeInfo", "/api/v1/exchangeInfo")
_FUTURES_PATH = "/api/v1/futures"
_KEY_PATHS = ("/openapi/v1/userDataStream", "/openapi/v1/userdata", "/api/v1/listenKey", "/api/v1/userDataStream")


@dataclass
class _Key:
    """A listen key and the connections that use it."""

    name: str
    api_key: str
    contracts: str  # how its broker names them
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
        self._headers = {header: _HEADERS.get(header, render.SWAP)} if header else _HEADERS

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
        yield web.get("/api/v1/account/trades", rest.reply(self._trades))
        yield web.get(f"{_FUTURES_PATH}/balance", rest.reply(self._balances))
        yield web.get(f"{_FUTURES_PATH}/positions", rest.reply(self._positions))
        yield web.get(f"{_FUTURES_PATH}/openOrders", rest.reply(self._open_contract_orders))
        yield web.get(f"{_FUTURES_PATH}/userTrades", rest.reply(self._contract_trades))
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
        name, contracts = rest.api_key(self.exchange, request, *self._headers).name, self._contracts(request)
        found = (one for one in self._keys.values() if (one.api_key, one.contracts) == (name, contracts))
        key = next(found, None)
        if key is None:
            key = _Key(self.exchange.token(), name, contracts)
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

    def _contracts(self, request: web.Request) -> str:
        """How the broker that is asked names contracts."""
        return next(form for header, form in self._headers.items() if header in request.headers)

    # ---- The stream ----

    def publish(self, market: Market, event: Event) -> None:
        """Send an event to every connection."""
        for key in list(self._keys.values()):  # a fault may end one
            for connection in key.connections:
                if key.contracts not in event.rendered:
                    event.rendered[key.contracts] = render.frames(event, market, key.contracts)
                for frame in event.rendered[key.contracts]:
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
        forms = tuple(dict.fromkeys(self._headers.values()))  # nothing tells whose client asks, unless there is a key
        if any(header in request.headers for header in self._headers):
            forms = (self._contracts(request),)
        return render.exchange_info(self.flows["spot"].market, self.flows["linear"].market, self.exchange.now(), forms)

    async def _account(self, request: web.Request) -> Any:
        await self._check(request)
        return render.account(self.flows["spot"].market, self.exchange.now())

    async def _open_orders(self, request: web.Request) -> Any:
        return self._of_symbol(await self._check(request), render.order_row, self._orders("spot"), render.SPOT)

    async def _trades(self, request: web.Request) -> Any:
        return self._of_symbol(await self._check(request), render.trade_row, self._fills("spot"), render.SPOT)

    async def _balances(self, request: web.Request) -> Any:
        await self._check(request)
        return render.balances(self.flows["linear"].market)

    async def _positions(self, request: web.Request) -> Any:
        params = await self._check(request)
        rows = render.positions(self.flows["linear"].market, self._contracts(request))
        return [one for one in rows if params.get("symbol") in (None, one["symbol"])]

    async def _open_contract_orders(self, request: web.Request) -> Any:
        params = await self._check(request)
        found = [] if params.get("type") == "STOP" else self._orders("linear")
        return self._of_symbol(params, render.order_row, found, self._contracts(request))

    async def _contract_trades(self, request: web.Request) -> Any:
        params = await self._check(request)
        return self._of_symbol(params, render.trade_row, self._fills("linear"), self._contracts(request))

    def _orders(self, market: str) -> Iterable[Order]:
        return self.flows[market].market.orders.values()

    def _fills(self, market: str) -> Iterable[Event]:
        return (one for one in self.flows[market].market.history if one.trade)

    @staticmethod
    def _of_symbol(params: dict[str, str], row: Any, found: Iterable[Any], form: str) -> list[Any]:
        """Rows of what is asked for."""
        rows = (row(one, form) for one in found)
        return [one for one in rows if params.get("symbol") in (None, one["symbol"])]


async def _empty(request: web.Request) -> Any:
    return {}
