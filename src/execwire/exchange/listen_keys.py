"""Binance USD-M and COIN-M futures: listen keys over REST and WebSocket API, and every form of their streams' URLs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import orjson
from aiohttp import web

from execwire.exchange import render_futures as render
from execwire.exchange import rest
from execwire.exchange.base import Protocol, Refused
from execwire.exchange.connection import Window
from execwire.exchange.ws_api import all_orders, filters, trades

if TYPE_CHECKING:
    from collections.abc import Iterable

    from execwire.exchange.market import Event, Kind, Market
    from execwire.exchange.server import Exchange

__all__ = ["ListenKeys"]

_HEADER = "X-MBX-APIKEY"
# USD-M, COIN-M, Portfolio Margin: their markets
_PRODUCTS: dict[str, tuple[Kind, ...]] = {"fapi": ("linear",), "dapi": ("inverse",), "papi": ("linear", "inverse")}
_WEIGHT_LIMIT = 2_400  # of requests, a minute

_METHODS = {"userDataStream.start": "create", "userDataStream.ping": "renew", "userDataStream.stop": "remove"}


class ListenKeys(Protocol):
    """Binance futures."""

    venues: ClassVar[tuple[str, ...]] = ("binance-futures",)
    markets: ClassVar[dict[str, Kind]] = {"linear": "linear", "inverse": "inverse"}

    def __init__(self, exchange: Exchange) -> None:
        super().__init__(exchange)
        self.streams = exchange.streams
        self._weights = {product: Window(_WEIGHT_LIMIT, 60.0) for product in _PRODUCTS}

    def routes(self) -> Iterable[web.RouteDef]:
        """Paths and their handlers."""
        for product in _PRODUCTS:
            yield from self._rest_routes(product)
        for path, market in (("papi/v1/um", "linear"), ("papi/v1/cm", "inverse")):
            yield from self._account_routes(path, self.flows[market].market)
        for product in ("fapi", "dapi"):
            yield web.get(f"/ws-{product}/v1", self._api(product))
        for path in ("/private/ws", "/public/ws", "/market/ws", "/pm/ws"):
            yield web.get(path, self.streams.handler("binance-futures", combined=False))
            yield web.get(f"{path}/{{key}}", self.streams.handler("binance-futures", combined=False))
        for path in ("/private/stream", "/public/stream", "/market/stream", "/pm/stream"):
            yield web.get(path, self.streams.handler("binance-futures", combined=True))

    # ---- Listen keys ----

    def _call(self, name: str, api_key: str, product: str) -> dict[str, str]:
        if name == "create":
            return self.streams.create(api_key, product, *(self.flows[one] for one in _PRODUCTS[product]))
        return self.streams.renew(api_key, product) if name == "renew" else self.streams.remove(api_key, product)

    def publish(self, market: Market, event: Event) -> None:
        """Send an event to every connection with a listen key of the market."""
        flow = next(one for one in self.flows.values() if one.market is market)
        self.streams.publish(flow, event, lambda product: render.messages(event, portfolio_margin=product == "papi"))

    def inject(self, venue: str, payload: bytes) -> None:
        """Send an event message to every connection with a listen key."""
        self.streams.inject(self.flows.values(), payload)

    # ---- WebSocket API: listen keys only ----

    def _api(self, product: str) -> Any:
        async def handler(request: web.Request) -> web.StreamResponse:
            connection = self.exchange.accept(request, "binance-futures")
            connection.heartbeat(self.exchange.options.futures_ping, self.exchange.options.futures_pong)
            weight = self._weights[product]
            limits = request.query.get("returnRateLimits") != "false"
            async for _, payload in connection.run():
                weight.add(self.exchange.loop.time())
                answer = self._api_answer(payload, product)
                connection.answer(orjson.dumps(answer | {"rateLimits": [_limit(weight)]} if limits else answer))
            return connection.response

        return handler

    def _api_answer(self, payload: bytes, product: str) -> dict[str, Any]:
        try:
            request = orjson.loads(payload)
        except orjson.JSONDecodeError:
            request = None
        if not isinstance(request, dict):
            return {"id": None, "status": 400, "error": {"code": -1135, "msg": "Invalid JSON Request"}}
        try:
            result = self._run(request.get("method"), request.get("params") or {}, product)
        except Refused as error:
            answer = {"status": error.status, "error": {"code": error.code, "msg": error.message}}
        else:
            answer = {"status": 200, "result": result}
        return {"id": request.get("id"), **answer}

    def _run(self, method: object, params: Any, product: str) -> Any:
        if method == "ping":
            return {}
        if method == "time":
            return {"serverTime": self.exchange.now()}
        if str(method) not in _METHODS:
            raise Refused(-1020, "This operation is not supported.")
        api_key = str(params.get("apiKey")) if isinstance(params, dict) else ""
        if api_key not in self.exchange.keys:
            raise Refused(-2015, "Invalid API-key, IP, or permissions for action.", 401)
        return self._call(_METHODS[str(method)], api_key, product)

    # ---- REST ----

    def _rest_routes(self, prefix: str) -> Iterable[web.RouteDef]:
        market = self.flows[_PRODUCTS[prefix][0]].market

        def keyed(name: str) -> Any:
            async def handler(request: web.Request) -> Any:
                return self._call(name, rest.api_key(self.exchange, request, _HEADER).name, prefix)

            return rest.reply(handler)

        def plain(call: Any) -> Any:
            async def handler(request: web.Request) -> Any:
                return call()

            return rest.reply(handler)

        for method, call in (("POST", "create"), ("PUT", "renew"), ("DELETE", "remove")):
            yield web.route(method, f"/{prefix}/v1/listenKey", keyed(call))
        yield web.get(f"/{prefix}/v1/ping", plain(dict))
        yield web.get(f"/{prefix}/v1/time", plain(lambda: {"serverTime": self.exchange.now()}))
        yield web.get(f"/{prefix}/v1/exchangeInfo", plain(lambda: self._exchange_info(market)))
        for version in ("v1", "v2", "v3"):
            yield from self._account_routes(f"{prefix}/{version}", market)

    def _account_routes(self, path: str, market: Market) -> Iterable[web.RouteDef]:
        """What an account has and does in a market."""

        def signed(call: Any) -> Any:
            async def handler(request: web.Request) -> Any:
                return call(await rest.signed(self.exchange, request, _HEADER))

            return rest.reply(handler)

        def open_orders(params: dict[str, str]) -> Any:
            symbol = params.get("symbol")
            return [render.order_row(one) for one in market.orders.values() if symbol in (None, one.instrument.name)]

        def orders(params: dict[str, str]) -> Any:
            return [render.order_row(one) for one in all_orders(market, params.get("symbol"))]

        def fills(params: dict[str, str]) -> Any:
            return [render.trade_row(one) for one in trades(market, params.get("symbol"), params)]

        def positions(params: dict[str, str]) -> Any:
            symbol = params.get("symbol")
            found = [one for one in market.positions.values() if symbol in (None, one.instrument.name)]
            return [render.position_row(one, market.leverage) for one in found]

        def balances(params: dict[str, str]) -> Any:
            assets: Any = render.account(market)["assets"]
            return [{"accountAlias": render.ALIAS, "balance": one["walletBalance"], **one} for one in assets]

        def settings(params: dict[str, str]) -> Any:
            return [
                {
                    "symbol": one.name,
                    "marginType": "CROSSED",
                    "isAutoAddMargin": False,
                    "leverage": market.leverage,
                    "maxNotionalValue": "1000000000",
                }
                for one in market.instruments
                if params.get("symbol") in (None, one.name)
            ]

        yield web.get(f"/{path}/positionSide/dual", signed(lambda params: {"dualSidePosition": False}))
        yield web.get(f"/{path}/symbolConfig", signed(settings))
        yield web.get(f"/{path}/openOrders", signed(open_orders))
        yield web.get(f"/{path}/allOrders", signed(orders))
        yield web.get(f"/{path}/userTrades", signed(fills))
        yield web.get(f"/{path}/account", signed(lambda params: render.account(market)))
        yield web.get(f"/{path}/balance", signed(balances))
        yield web.get(f"/{path}/positionRisk", signed(positions))

    def _exchange_info(self, market: Market) -> dict[str, Any]:
        return {
            "timezone": "UTC",
            "serverTime": self.exchange.now(),
            "rateLimits": [{"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": 2400}],
            "exchangeFilters": [],
            "assets": [{"asset": asset, "marginAvailable": True, "autoAssetExchange": "0"} for asset in market.free],
            "symbols": [
                {
                    "symbol": one.name,
                    "pair": f"{one.base}{one.quote}",
                    "contractType": "PERPETUAL",
                    "deliveryDate": 4_133_404_800_000,
                    "onboardDate": 1_569_398_400_000,
                    ("contractStatus" if one.contract else "status"): "TRADING",
                    "baseAsset": one.base,
                    "quoteAsset": one.quote,
                    "marginAsset": one.settled_in,
                    "maintMarginPercent": "2.5000",
                    "requiredMarginPercent": "5.0000",
                    "pricePrecision": one.price_digits,
                    "quantityPrecision": one.qty_digits,
                    "baseAssetPrecision": 8,
                    "quotePrecision": 8,
                    "contractSize": one.contract // 10**8 if one.contract else 1,
                    "underlyingType": "COIN",
                    "underlyingSubType": [],
                    "settlePlan": 0,
                    "triggerProtect": "0.0500",
                    "liquidationFee": "0.012500",
                    "marketTakeBound": "0.05",
                    "filters": filters(one.price_digits, one.qty_digits),
                    "orderTypes": ["LIMIT", "MARKET", "STOP", "STOP_MARKET", "TAKE_PROFIT", "TAKE_PROFIT_MARKET"],
                    "timeInForce": ["GTC", "IOC", "FOK", "GTX", "GTD"],
                }
                for one in market.instruments
            ],
        }


def _limit(weight: Window) -> dict[str, Any]:
    limit = {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1}
    return limit | {"limit": weight.limit, "count": len(weight)}
