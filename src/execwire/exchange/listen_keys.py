"""Binance USD-M and COIN-M futures: listen keys and accounts by REST and WebSocket API, and their streams' URLs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import orjson
from aiohttp import web

from execwire.exchange import render_futures as render
from execwire.exchange import rest
from execwire.exchange.base import Protocol, Refused
from execwire.exchange.connection import Window
from execwire.exchange.ws_api import all_orders, check, filters, trades

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from execwire.exchange.market import Event, Kind, Market, Position
    from execwire.exchange.server import Exchange

__all__ = ["ListenKeys"]

_HEADER = "X-MBX-APIKEY"
# USD-M, COIN-M, Portfolio Margin: their markets
_PRODUCTS: dict[str, tuple[Kind, ...]] = {"fapi": ("linear",), "dapi": ("inverse",), "papi": ("linear", "inverse")}
_WEIGHT_LIMIT = 2_400  # of requests, a minute

_ACCOUNT_WEIGHT = 5
_KEY_METHODS = {"userDataStream.start": "create", "userDataStream.ping": "renew", "userDataStream.stop": "remove"}


class _Account:
    """What an account has and does in a market: answers to questions, however they are asked."""

    def __init__(self, market: Market) -> None:
        self.market = market

    def account(self, params: Mapping[str, Any]) -> Any:
        """Assets, and the positions in all contracts."""
        return render.account(self.market, self.market.positions.values())

    def busy_account(self, params: Mapping[str, Any]) -> Any:
        """Assets, and the positions in contracts that are held or have open orders."""
        return render.account(self.market, self._busy())

    def balances(self, params: Mapping[str, Any]) -> Any:
        """Assets."""
        assets: Any = render.account(self.market, ())["assets"]
        return [{"accountAlias": render.ALIAS, "balance": one["walletBalance"], **one} for one in assets]

    def positions(self, params: Mapping[str, Any]) -> Any:
        """In all contracts."""
        return self._rows(self.market.positions.values(), params)

    def busy_positions(self, params: Mapping[str, Any]) -> Any:
        """In contracts that are held or have open orders."""
        return self._rows(self._busy(), params)

    def _rows(self, positions: Iterable[Position], params: Mapping[str, Any]) -> Any:
        symbol = params.get("symbol")
        found = [one for one in positions if symbol in (None, one.instrument.name)]
        return [render.position_row(one, self.market.leverage) for one in found]

    def _busy(self) -> list[Position]:
        ordered = {one.instrument.name for one in self.market.orders.values()}
        return [one for name, one in self.market.positions.items() if one.qty or name in ordered]

    def order(self, params: Mapping[str, Any]) -> Any:
        """One order, by the venue's id or the client's."""
        symbol = params.get("symbol")
        if not symbol:
            raise Refused(-1102, "Mandatory parameter 'symbol' was not sent, was empty/null, or malformed.")
        number, name = rest.number(params, "orderId", 0), params.get("origClientOrderId")
        if not (number or name):
            raise Refused(-1102, "Param 'origClientOrderId' or 'orderId' must be sent, but both were empty/null!")
        for one in all_orders(self.market, symbol):
            if render.order_id(one) == number if number else one.client_id == name:
                return render.order_row(one)
        raise Refused(-2013, "Order does not exist.")

    def open_orders(self, params: Mapping[str, Any]) -> Any:
        """Open orders."""
        symbol = params.get("symbol")
        return [render.order_row(one) for one in self.market.orders.values() if symbol in (None, one.instrument.name)]

    def orders(self, params: Mapping[str, Any]) -> Any:
        """Orders of late."""
        return [render.order_row(one) for one in all_orders(self.market, params.get("symbol"))]

    def fills(self, params: Mapping[str, Any]) -> Any:
        """Fills of late."""
        return [render.trade_row(one) for one in trades(self.market, params.get("symbol"), dict(params))]

    def settings(self, params: Mapping[str, Any]) -> Any:
        """Of every contract."""
        return [
            {
                "symbol": one.name,
                "marginType": "CROSSED",
                "isAutoAddMargin": False,
                "leverage": self.market.leverage,
                "maxNotionalValue": "1000000000",
            }
            for one in self.market.instruments
            if params.get("symbol") in (None, one.name)
        ]


class ListenKeys(Protocol):
    """Binance futures."""

    venues: ClassVar[tuple[str, ...]] = ("binance-futures",)
    markets: ClassVar[dict[str, Kind]] = {"linear": "linear", "inverse": "inverse"}

    def __init__(self, exchange: Exchange) -> None:
        super().__init__(exchange)
        self.streams = exchange.streams
        self._accounts = {name: _Account(flow.market) for name, flow in self.flows.items()}
        self._methods = {product: self._account_methods(product) for product in ("fapi", "dapi")}
        self._weights = {product: Window(_WEIGHT_LIMIT, 60.0) for product in _PRODUCTS}

    def routes(self) -> Iterable[web.RouteDef]:
        """Paths and their handlers."""
        for product in _PRODUCTS:
            yield from self._rest_routes(product)
        for path, market in (("papi/v1/um", "linear"), ("papi/v2/um", "linear"), ("papi/v1/cm", "inverse")):
            yield from self._account_routes(path, self._accounts[market])
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

    # ---- WebSocket API ----

    def _api(self, product: str) -> Any:
        async def handler(request: web.Request) -> web.StreamResponse:
            connection = self.exchange.accept(request, "binance-futures")
            connection.heartbeat(self.exchange.options.futures_ping, self.exchange.options.futures_pong)
            weight = self._weights[product]
            limits = request.query.get("returnRateLimits") != "false"
            async for _, payload in connection.run():
                answer, weighs = self._api_answer(payload, product)
                weight.add(self.exchange.loop.time(), weighs)
                connection.answer(orjson.dumps(answer | {"rateLimits": [_limit(weight)]} if limits else answer))
            return connection.response

        return handler

    def _account_methods(self, product: str) -> dict[str, tuple[int, Callable[[Mapping[str, Any]], Any]]]:
        """Signed questions: their weight, and who answers them."""
        account = self._accounts[_PRODUCTS[product][0]]
        methods: dict[str, tuple[int, Callable[[Mapping[str, Any]], Any]]] = {
            "account.status": (_ACCOUNT_WEIGHT, account.account),
            "account.balance": (_ACCOUNT_WEIGHT, account.balances),
            "account.position": (_ACCOUNT_WEIGHT, account.positions),
            "order.status": (1, account.order),
        }
        if product == "fapi":
            methods |= {
                "v2/account.status": (_ACCOUNT_WEIGHT, account.busy_account),
                "v2/account.balance": (_ACCOUNT_WEIGHT, account.balances),
                "v2/account.position": (_ACCOUNT_WEIGHT, account.busy_positions),
            }
        return methods

    def _api_answer(self, payload: bytes, product: str) -> tuple[dict[str, Any], int]:
        """An answer, and what the request weighs."""
        try:
            request = orjson.loads(payload)
        except orjson.JSONDecodeError:
            request = None
        if not isinstance(request, dict):
            return {"id": None, "status": 400, "error": {"code": -1135, "msg": "Invalid JSON Request"}}, 1
        method, params = request.get("method"), request.get("params") or {}
        try:
            result = self._run(method, params, product)
        except Refused as error:
            answer = {"status": error.status, "error": {"code": error.code, "msg": error.message}}
        else:
            answer = {"status": 200, "result": result}
        return {"id": request.get("id"), **answer}, self._methods[product].get(str(method), (1, None))[0]

    def _run(self, method: object, params: Any, product: str) -> Any:
        if method == "ping":
            return {}
        if method == "time":
            return {"serverTime": self.exchange.now()}
        params = params if isinstance(params, dict) else {}
        if str(method) in self._methods[product]:
            check(self.exchange, params)
            return self._methods[product][str(method)][1](params)
        if str(method) not in _KEY_METHODS:
            raise Refused(-1020, "This operation is not supported.")
        api_key = str(params.get("apiKey"))
        if api_key not in self.exchange.keys:
            raise Refused(-2015, "Invalid API-key, IP, or permissions for action.", 401)
        return self._call(_KEY_METHODS[str(method)], api_key, product)

    # ---- REST ----

    def _rest_routes(self, prefix: str) -> Iterable[web.RouteDef]:
        account = self._accounts[_PRODUCTS[prefix][0]]

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
        yield web.get(f"/{prefix}/v1/exchangeInfo", plain(lambda: self._exchange_info(account.market)))
        for version in ("v1", "v2", "v3"):
            yield from self._account_routes(f"{prefix}/{version}", account)

    def _account_routes(self, path: str, account: _Account) -> Iterable[web.RouteDef]:
        """What an account has and does in a market."""

        def signed(call: Callable[[dict[str, str]], Any]) -> Any:
            async def handler(request: web.Request) -> Any:
                return call(await rest.signed(self.exchange, request, _HEADER))

            return rest.reply(handler)

        yield web.get(f"/{path}/positionSide/dual", signed(lambda params: {"dualSidePosition": False}))
        yield web.get(f"/{path}/symbolConfig", signed(account.settings))
        yield web.get(f"/{path}/order", signed(account.order))
        yield web.get(f"/{path}/openOrders", signed(account.open_orders))
        yield web.get(f"/{path}/allOrders", signed(account.orders))
        yield web.get(f"/{path}/userTrades", signed(account.fills))
        portfolio = path == "papi/v1"
        yield web.get(f"/{path}/account", signed(self._portfolio_account if portfolio else account.account))
        yield web.get(f"/{path}/balance", signed(self._portfolio if portfolio else account.balances))
        yield web.get(f"/{path}/positionRisk", signed(account.positions))

    def _portfolio_account(self, params: dict[str, str]) -> Any:
        return render.portfolio(self.flows["linear"].market, self.flows["inverse"].market)

    def _portfolio(self, params: dict[str, str]) -> Any:
        """Balances of Portfolio Margin: of one asset if one is named."""
        rows = render.portfolio_rows(self.flows["linear"].market, self.flows["inverse"].market)
        if "asset" not in params:
            return rows
        found = next((one for one in rows if one["asset"] == params["asset"]), None)
        if found is None:
            raise Refused(-1102, "Mandatory parameter 'asset' was not sent, was empty/null, or malformed.")
        return found

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
