"""Bitget: login, subscriptions and pushes of v2, the unified account and v1, and the REST calls beside them."""

from __future__ import annotations

import functools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import orjson
from aiohttp import web

from execwire.auth import login_text
from execwire.exchange import render_bitget as render
from execwire.exchange import render_bitget_v1 as render_v1
from execwire.exchange import rest
from execwire.exchange.base import Protocol, Refused
from execwire.exchange.connection import Window
from execwire.exchange.ws_api import trades

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from execwire.exchange.connection import Connection
    from execwire.exchange.market import Event, Kind, Market
    from execwire.exchange.server import Exchange

__all__ = ["Bitget"]

_MS = 100_000_000_000  # a time stamp above this is in ms

# What says which instrument or asset a channel is about; "": nothing does.
_CLASSIC = {
    "orders": "instId",
    "fill": "instId",
    "orders-algo": "instId",
    "ordersAlgo": "instId",
    "positions": "instId",
    "positions-history": "instId",
    "account": "coin",
    "equity": "",
    "adl-noti": "instId",
    "orders-crossed": "instId",
    "orders-isolated": "instId",
    "account-crossed": "coin",
    "account-isolated": "coin",
}
_DEFAULT_ONLY = ("positions", "positions-history")
_TOPICS = ("order", "fill", "fast-fill", "position", "account", "strategy-order", "adl-notification")
_V1_CHANNELS = {
    "spbl": ("account", "orders"),
    "futures": ("account", "positions", "orders", "ordersAlgo"),
    "mabl": ("cross_account", "isolate_account", "cross_orders", "isolate_orders"),
    "other": ("account", "orders", "trades", "positions"),
}
_PRODUCTS = {"SPOT": "spot", render.USDT_M: "linear", render.COIN_M: "inverse"}
_SILENT = ("USDC-FUTURES", "MARGIN", "SUSDT-FUTURES", "SCOIN-FUTURES", "SUSDC-FUTURES")
_NAMES = {name.lower(): name for name in ("apiKey", "instType", "instId")}
_V1_TYPES = {
    "SPBL": "SPOT",
    "UMCBL": render.USDT_M,
    "DMCBL": render.COIN_M,
    "CMCBL": "",
    "SUMCBL": "",
    "SDMCBL": "",
    "SCMCBL": "",
    "MABL": "",
}


@dataclass
class _Channel:
    """Something that is subscribed."""

    name: str
    product: str  # SPOT, USDT-FUTURES, COIN-FUTURES; "": nothing ever happens there
    arg: dict[str, Any]
    symbol: str  # "": all

    @property
    def key(self) -> tuple[str, ...]:
        """What makes it the same."""
        return tuple(sorted(f"{name}={value}".lower() for name, value in self.arg.items()))


@dataclass
class _Session:
    """What a connection has agreed with the server."""

    connection: Connection
    form: str  # v2, uta, v1
    logged_in: bool = False
    channels: dict[tuple[str, ...], _Channel] = field(default_factory=dict)


class Bitget(Protocol):
    """Bitget."""

    venues: ClassVar[tuple[str, ...]] = ("bitget", "bitget-v1")
    markets: ClassVar[dict[str, Kind]] = {"linear": "linear", "spot": "spot", "inverse": "inverse"}

    def __init__(self, exchange: Exchange) -> None:
        super().__init__(exchange)
        self._sessions: list[_Session] = []
        markets = [flow.market for flow in self.flows.values()]
        self._rows = _ROWS | {"uta": functools.partial(render.rows_uta, markets=markets)}
        self._kinds = {id(flow.market): name for name, flow in self.flows.items()}

    def routes(self) -> Iterable[web.RouteDef]:
        """Paths and their handlers."""
        yield web.get("/v2/ws/private", self._stream("bitget", "v2"))
        yield web.get("/v3/ws/private", self._stream("bitget", "uta"))
        yield web.get("/spot/v1/stream", self._stream("bitget-v1", "v1"))
        yield web.get("/mix/v1/stream", self._stream("bitget-v1", "v1"))
        yield from self._routes_v1()
        yield web.get("/api/v2/public/time", _reply(lambda request: {"serverTime": str(self.exchange.now())}))
        yield web.get("/api/v2/spot/public/coins", _reply(self._coins))
        yield web.get("/api/v2/spot/public/symbols", _reply(self._symbols))
        yield web.get("/api/v2/margin/currencies", _reply(lambda request: []))
        yield web.get("/api/v2/mix/market/contracts", _reply(self._contracts))
        yield web.get("/api/v2/spot/account/assets", _reply(self._signed(self._assets)))
        yield web.get("/api/v2/spot/trade/unfilled-orders", _reply(self._signed(self._open_orders)))
        yield web.get("/api/v2/spot/trade/fills", _reply(self._signed(self._fills)))
        yield web.get("/api/v2/mix/account/accounts", _reply(self._signed(self._accounts)))
        yield web.get("/api/v2/mix/position/all-position", _reply(self._signed(self._positions)))
        yield web.get("/api/v2/mix/order/orders-pending", _reply(self._signed(self._mix_open_orders)))
        yield web.get("/api/v2/mix/order/fills", _reply(self._signed(self._mix_fills)))
        yield web.get("/api/v3/market/instruments", _reply(self._instruments))
        yield web.get("/api/v3/account/settings", _reply(self._signed(self._settings)))
        yield web.get("/api/v3/account/assets", _reply(self._signed(self._uta_assets)))
        yield web.get("/api/v3/trade/unfilled-orders", _reply(self._signed(self._uta_open_orders)))
        yield web.get("/api/v3/trade/fills", _reply(self._signed(self._uta_fills)))
        yield web.get("/api/v3/position/current-position", _reply(self._signed(self._uta_positions)))

    def _routes_v1(self) -> Iterable[web.RouteDef]:
        spot = self.flows["spot"].market
        yield web.get("/api/spot/v1/public/time", _reply(lambda request: str(self.exchange.now())))
        yield web.get("/api/spot/v1/public/currencies", _reply(lambda request: render_v1.currencies(spot)))
        yield web.get("/api/spot/v1/public/products", _reply(lambda request: render_v1.products(spot)))
        yield web.get("/api/spot/v1/public/product", _reply(self._product_v1))
        yield web.get("/api/margin/v1/public/currencies", _reply(lambda request: []))
        yield web.get("/api/mix/v1/market/contracts", _reply(self._contracts_v1))
        for path in ("assets", "assets-lite"):
            yield web.get(f"/api/spot/v1/account/{path}", _reply(self._signed(self._assets_v1)))
        yield web.post("/api/spot/v1/trade/open-orders", _reply(self._open_orders_v1))
        yield web.get("/api/mix/v1/account/accounts", _reply(self._signed(self._accounts_v1)))
        for path in ("allPosition", "allPosition-v2"):
            yield web.get(f"/api/mix/v1/position/{path}", _reply(self._signed(self._positions_v1)))
        for path in ("current", "marginCoinCurrent"):
            yield web.get(f"/api/mix/v1/order/{path}", _reply(self._signed(self._futures_orders_v1)))

    # ---- Events ----

    def publish(self, market: Market, event: Event) -> None:
        """Send an event to every channel that it is about."""
        kind = self._kinds[id(market)]
        product = next(name for name, its in _PRODUCTS.items() if its == kind)
        about = [one.instrument.name for one in (event.order, event.plan, *event.positions) if one is not None]
        symbol = about[0] if about else ""
        for session in self._sessions:
            for channel in session.channels.values():
                if session.form != "uta" and channel.product != product:
                    continue
                if channel.symbol and channel.symbol != _plain(symbol, session):
                    continue
                shape = ("other" if _is_other(channel, session) else session.form, channel.name, channel.symbol)
                if shape not in event.rendered:
                    found = _of_channel(channel, self._rows[shape[0]](event, channel.name, product, market))
                    event.rendered[shape] = [] if found is None else [_dump(channel.name, found)]
                for data in event.rendered[shape]:
                    session.connection.event(_push(session, channel, data, event.at, first=False))

    def inject(self, venue: str, payload: bytes) -> None:
        """Send a push, with its `arg`, to everybody who is logged in."""
        for session in self._sessions:
            if session.logged_in and session.connection.venue == venue:
                session.connection.event(payload)

    # ---- The socket ----

    def _stream(self, venue: str, form: str) -> Any:
        async def handler(request: web.Request) -> web.StreamResponse:
            exchange, options = self.exchange, self.exchange.options
            connection = exchange.accept(request, venue)
            session = _Session(connection, form)
            messages, subscribes = Window(options.bitget_messages, 1.0), Window(options.bitget_subscribes, 3600.0)
            pinged = exchange.loop.time()

            def check() -> None:
                if exchange.loop.time() - pinged >= options.bitget_silence:
                    connection.close(1006 if form == "v1" else 1000, "no ping")

            connection.every(options.bitget_silence / 8, check)
            connection.on_close.append(lambda: self._sessions.remove(session))
            connection.on_terminate = lambda: connection.close(1000, "terminated")
            self._sessions.append(session)
            async for _, payload in connection.run():
                if not messages.add(exchange.loop.time()):
                    self._fail(session, Refused(30007, "request over limit, connection close"))
                    connection.close(1008, "too many messages")
                elif payload == b"ping" or (options.bitget_json_ping == "pong" and _is_json_ping(payload)):
                    pinged = exchange.loop.time()
                    connection.answer(b"pong")
                else:
                    self._request(session, payload, subscribes)
            return connection.response

        return handler

    def _fail(self, session: _Session, error: Refused, **more: Any) -> None:
        code = str(error.code) if session.form == "uta" else error.code
        session.connection.answer(orjson.dumps({"event": "error", **more, "code": code, "msg": error.message}))

    def _request(self, session: _Session, payload: bytes, subscribes: Window) -> None:
        try:
            request = orjson.loads(payload)
        except orjson.JSONDecodeError:
            request = None
        if not isinstance(request, dict):
            self._fail(session, Refused(30002, "illegal request"))
            return
        name, args = request.get("op"), request.get("args")
        if isinstance(args, list):
            args = [_spelled(one) if isinstance(one, dict) else one for one in args]
        try:
            self._run(session, name, args, subscribes)
        except Refused as error:
            self._fail(session, error, op=name if isinstance(name, str) else "")

    def _run(self, session: _Session, name: Any, args: Any, subscribes: Window) -> None:
        if name not in ("login", "subscribe", "unsubscribe"):
            raise Refused(30003, "INVALID op")
        if not isinstance(args, list) or not args or not all(isinstance(one, dict) for one in args):
            raise Refused(30016, "Param error")
        if len(orjson.dumps(args)) > self.exchange.options.bitget_args:
            raise Refused(30016, "Param error: args are too long")
        if name == "login":
            self._login(session, args[0])
            return
        if not session.logged_in:
            raise Refused(30004, "User needs to log in")
        if name == "subscribe" and not subscribes.add(self.exchange.loop.time()):
            raise Refused(30006, "too many requests")
        for arg in args:
            try:
                channel = self._channel(session, arg)
                if name == "subscribe":
                    self._subscribe(session, channel)
                else:
                    session.channels.pop(channel.key, None)
                    self._ack(session, name, channel.arg)
            except Refused as error:
                self._fail(session, error, arg=arg)

    def _ack(self, session: _Session, name: str, arg: dict[str, Any]) -> None:
        ack: dict[str, Any] = {"event": name, "arg": arg}
        if session.form == "uta":
            ack["connId"] = f"c{session.connection.number:08d}"
        session.connection.answer(orjson.dumps(ack))

    def _login(self, session: _Session, arg: dict[str, Any]) -> None:
        key = self.exchange.keys.get(str(arg.get("apiKey", "")))
        if key is None:
            raise Refused(30011, "invalid ACCESS_KEY")
        if str(arg.get("passphrase", "")) != key.passphrase:
            raise Refused(30012, "invalid ACCESS_PASSPHRASE")
        text = str(arg.get("timestamp", ""))
        if not text.isdigit():
            raise Refused(30013, "invalid ACCESS_TIMESTAMP")
        at = int(text) if int(text) > _MS else int(text) * 1000
        if abs(self.exchange.now() - at) > self.exchange.options.bitget_login * 1000:
            raise Refused(30014, "Request timestamp expired")
        sign = str(arg.get("sign", ""))
        encodings: tuple[Any, ...] = ("base64", "hex") if key.verifier.algorithm == "hmac" else ("base64",)
        if not any(key.verifier.verify(login_text(text), sign, encoding) for encoding in encodings):
            raise Refused(30015, "Invalid sign")
        session.logged_in = True
        answer: dict[str, Any] = {"event": "login", "code": 0}
        if session.form != "v1":
            answer |= {"msg": "", "connId": f"c{session.connection.number:08d}"}
        session.connection.answer(orjson.dumps(answer))

    def _channel(self, session: _Session, arg: dict[str, Any]) -> _Channel:
        kind = str(arg.get("instType", ""))
        if session.form == "uta":
            if kind != "UTA" or arg.get("topic") not in _TOPICS:
                raise Refused(30001, f"topic or instType does not exist: {arg.get('topic')}")
            return _Channel(arg["topic"], "", arg, "")
        name = str(arg.get("channel", ""))
        missing = Refused(30001, f"instType:{kind},channel:{name},instId:{arg.get('instId')} doesn't exist")
        instrument = str(arg.get("instId") or "")
        if session.form == "v1":
            upper = kind.upper()
            if upper in ("SPOT", "MARGIN"):
                if name not in _V1_CHANNELS["other"]:
                    raise missing
                return _Channel(name, "SPOT" if upper == "SPOT" else render.USDT_M, arg, instrument)
            if upper not in _V1_TYPES:
                raise missing
            group = kind.lower() if upper in ("SPBL", "MABL") else "futures"
            if name not in _V1_CHANNELS[group] or not instrument:
                raise missing
            symbol = "" if instrument == "default" else instrument.partition("_")[0]
            arg = arg | {"instType": kind.lower()}  # however it was written
            if not symbol or (name.endswith("orders") and group in ("spbl", "mabl")):
                return _Channel(name, _V1_TYPES[upper], arg, symbol)
            if name == "positions":
                return _Channel(name, _V1_TYPES[upper], arg, symbol)
            if name == "account":  # is of coins: of futures a pair means all of them, of spot none
                return _Channel(name, _V1_TYPES[upper] if group == "futures" else "", arg, "")
            raise missing
        if kind not in (*_PRODUCTS, *_SILENT) or name not in _CLASSIC:
            raise missing
        wanted = _CLASSIC[name]
        value = str(arg.get(wanted) or "") if wanted else "default"
        if not value or (name in _DEFAULT_ONLY and value != "default"):
            raise missing
        symbol = value if wanted == "instId" and value != "default" else ""
        return _Channel(name, kind if kind in _PRODUCTS else "", arg, symbol)

    def _subscribe(self, session: _Session, channel: _Channel) -> None:
        if channel.key not in session.channels and len(session.channels) >= self.exchange.options.bitget_channels:
            raise Refused(30016, "Param error: too many channels")
        session.channels[channel.key] = channel
        self._ack(session, "subscribe", channel.arg)
        now = self.exchange.event_time()
        if session.form == "uta":
            markets = [self.flows[name].market for name in ("spot", "linear")]
            found = render.snapshot_uta(channel.name, markets, now)
            names = ["spot", "linear", "inverse"]
        elif not channel.product:
            return
        else:
            names = [_PRODUCTS[channel.product]]
            market = self.flows[names[0]].market
            if _is_other(channel, session):
                found = render.snapshot_v1_other(channel.name, market, now)
            elif session.form == "v1":
                found = _of_channel(channel, render.snapshot_v1(channel.name, channel.product, market, now))
            else:
                found = render.snapshot(channel.name, channel.product, market, now)
        if found is not None:
            session.connection.event(_push(session, channel, orjson.dumps(found), now, first=True))
        for name in names:
            self.flows[name].start()

    # ---- REST ----

    def _signed(self, call: Any) -> Any:
        async def handler(request: web.Request) -> Any:
            await self._check(request)
            return call(request)

        return handler

    async def _check(self, request: web.Request) -> None:
        headers = request.headers
        key = self.exchange.keys.get(headers.get("ACCESS-KEY", ""))
        if key is None:
            raise Refused(40006, "Invalid ACCESS_KEY")
        if headers.get("ACCESS-PASSPHRASE", "") != key.passphrase:
            raise Refused(40012, "apikey/password is incorrect")
        timestamp = headers.get("ACCESS-TIMESTAMP", "")
        if not timestamp.isdigit():
            raise Refused(40005, "Invalid ACCESS_TIMESTAMP")
        if abs(self.exchange.now() - int(timestamp)) > self.exchange.options.bitget_login * 1000:
            raise Refused(40008, "Request timestamp expired")
        text = timestamp + request.method + request.raw_path + (await request.text())
        if not key.verifier.verify(text, headers.get("ACCESS-SIGN", ""), "base64"):
            raise Refused(40009, "sign signature error")

    def _coins(self, request: web.Request) -> Any:
        return [
            {
                "coinId": str(n),
                "coin": asset,
                "transfer": "true",
                "chains": [
                    {
                        "chain": asset,
                        "needTag": "false",
                        "withdrawable": "true",
                        "rechargeable": "true",
                        "withdrawFee": "0.0001",
                        "extraWithdrawFee": "0",
                        "depositConfirm": "1",
                        "withdrawConfirm": "1",
                        "minDepositAmount": "0.0001",
                        "minWithdrawAmount": "0.001",
                        "browserUrl": "",
                        "contractAddress": None,
                        "withdrawStep": "0",
                        "withdrawMinScale": "8",
                        "congestion": "normal",
                    }
                ],
            }
            for n, asset in enumerate(self.flows["spot"].market.free, 1)
        ]

    def _symbols(self, request: web.Request) -> Any:
        return [
            {
                "symbol": one.name,
                "baseCoin": one.base,
                "quoteCoin": one.quote,
                "minTradeAmount": "0",
                "maxTradeAmount": "900000000000000000000",
                "takerFeeRate": "0.001",
                "makerFeeRate": "0.001",
                "pricePrecision": str(one.price_digits),
                "quantityPrecision": str(one.qty_digits),
                "quotePrecision": "8",
                "status": "online",
                "minTradeUSDT": "1",
                "buyLimitPriceRatio": "0.05",
                "sellLimitPriceRatio": "0.05",
            }
            for one in self.flows["spot"].market.instruments
        ]

    def _market(self, request: web.Request) -> tuple[str, Market]:
        product = request.query.get("productType", render.USDT_M).upper()
        if product not in _PRODUCTS or product == "SPOT":
            raise Refused(40020, "Parameter productType error")
        return product, self.flows[_PRODUCTS[product]].market

    def _contracts(self, request: web.Request) -> Any:
        if request.query.get("productType", "").upper() in _SILENT:
            return []
        return [
            {
                "symbol": one.name,
                "baseCoin": one.base,
                "quoteCoin": one.quote,
                "buyLimitPriceRatio": "0.05",
                "sellLimitPriceRatio": "0.05",
                "makerFeeRate": "0.0002",
                "takerFeeRate": "0.0006",
                "openCostUpRatio": "0.01",
                "supportMarginCoins": [one.settled_in],
                "minTradeNum": "0.001",
                "priceEndStep": "1",
                "volumePlace": str(one.qty_digits),
                "pricePlace": str(one.price_digits),
                "sizeMultiplier": "0.001",
                "symbolType": "perpetual",
                "minTradeUSDT": "5",
                "symbolStatus": "normal",
                "maxLever": "125",
                "minLever": "1",
            }
            for one in self._market(request)[1].instruments
        ]

    def _instruments(self, request: web.Request) -> Any:
        category = request.query.get("category", "").upper()
        if category in _SILENT:
            return []
        if category not in _PRODUCTS:
            raise Refused(40020, "Parameter category error")
        return [
            {
                "symbol": one.name,
                "category": category,
                "baseCoin": one.base,
                "quoteCoin": one.quote,
                "buyLimitPriceRatio": "0.05",
                "sellLimitPriceRatio": "0.05",
                "minOrderQty": f"{10.0**-one.qty_digits:.{one.qty_digits}f}",
                "maxOrderQty": "0",
                "minOrderAmount": "1" if category == "SPOT" else "5",
                "pricePrecision": str(one.price_digits),
                "quantityPrecision": str(one.qty_digits),
                "quotePrecision": "8",
                "status": "online",
                **(
                    {}
                    if category == "SPOT"
                    else {
                        "type": "perpetual",
                        "makerFeeRate": "0.0002",
                        "takerFeeRate": "0.0006",
                        "priceMultiplier": f"{10.0**-one.price_digits:.{one.price_digits}f}",
                        "quantityMultiplier": f"{10.0**-one.qty_digits:.{one.qty_digits}f}",
                        "minLeverage": "1",
                        "maxLeverage": "125",
                        "fundInterval": "8",
                    }
                ),
            }
            for one in self.flows[_PRODUCTS[category]].market.instruments
        ]

    def _settings(self, request: web.Request) -> Any:
        return {
            "uid": "1",
            "accountMode": "unified",
            "assetMode": "union",
            "holdMode": "one_way_mode",
            "stpMode": "none",
        }

    def _assets(self, request: web.Request) -> Any:
        market = self.flows["spot"].market
        return render.snapshot("account", "SPOT", market, self.exchange.now())

    def _accounts(self, request: web.Request) -> Any:
        product, market = self._market(request)
        return render.snapshot("account", product, market, self.exchange.now())

    def _positions(self, request: web.Request) -> Any:
        _, market = self._market(request)
        return render.positions(market, self.exchange.now())

    def _open_orders(self, request: web.Request) -> Any:
        symbol = request.query.get("symbol")
        orders = self.flows["spot"].market.orders.values()
        return [render.rest_order(one, "SPOT") for one in orders if symbol in (None, one.instrument.name)]

    def _mix_open_orders(self, request: web.Request) -> Any:
        product, market = self._market(request)
        return {"entrustedList": [render.rest_order(one, product) for one in market.orders.values()], "endId": None}

    def _fills(self, request: web.Request) -> Any:
        market = self.flows["spot"].market
        found = trades(market, request.query.get("symbol"), dict(request.query))
        return [row for one in found for row in render.rows(one, "fill", "SPOT", market) or ()]

    def _mix_fills(self, request: web.Request) -> Any:
        product, market = self._market(request)
        found = trades(market, request.query.get("symbol"), dict(request.query))
        return {
            "fillList": [row for one in found for row in render.rows(one, "fill", product, market) or ()],
            "endId": None,
        }

    def _product_v1(self, request: web.Request) -> Any:
        wanted = request.query.get("symbol", "").upper()
        found = [one for one in render_v1.products(self.flows["spot"].market) if one["symbol"] == wanted]
        if not found:
            raise Refused(40034, "Parameter symbol does not exist")
        return found[0]

    def _product_type(self, request: web.Request) -> str:
        """What is asked for, by its name of today; "" for what has no contracts here."""
        symbol = request.query.get("symbol", "")
        kind = (symbol.rpartition("_")[2] or request.query.get("productType", "")).upper()
        if kind not in _V1_TYPES or kind in ("SPBL", "MABL"):
            raise Refused(40020, "Parameter productType error")
        return _V1_TYPES[kind]

    def _futures_v1(self, request: web.Request, call: Callable[[Market, str], list[Any]]) -> list[Any]:
        """Rows about the contracts that are asked for."""
        product = self._product_type(request)
        rows = call(self.flows[_PRODUCTS[product]].market, product) if product else []
        wanted = {"symbol": request.query.get("symbol"), "marginCoin": request.query.get("marginCoin")}
        return [one for one in rows if all(its in (None, "", one.get(name, its)) for name, its in wanted.items())]

    def _contracts_v1(self, request: web.Request) -> Any:
        return self._futures_v1(request, render_v1.contracts)

    def _accounts_v1(self, request: web.Request) -> Any:
        return self._futures_v1(request, lambda market, product: render_v1.accounts(market))

    def _positions_v1(self, request: web.Request) -> Any:
        return self._futures_v1(request, render_v1.positions)

    def _futures_orders_v1(self, request: web.Request) -> Any:
        def rows(market: Market, product: str) -> list[Any]:
            return [render_v1.futures_order(one, product, market.leverage) for one in market.orders.values()]

        return self._futures_v1(request, rows)

    def _assets_v1(self, request: web.Request) -> Any:
        coin = request.query.get("coin")
        rows = render_v1.assets(self.flows["spot"].market, self.exchange.now())
        return [one for one in rows if coin in (None, "", one["coinName"])]

    async def _open_orders_v1(self, request: web.Request) -> Any:
        await self._check(request)
        try:
            body = orjson.loads(await request.read() or b"{}")
        except orjson.JSONDecodeError:
            body = None
        if not isinstance(body, dict):
            raise Refused(40017, "Parameter verification failed")
        rows = [render_v1.spot_order(one) for one in self.flows["spot"].market.orders.values()]
        return [one for one in rows if body.get("symbol") in (None, "", one["symbol"])]

    def _uta_assets(self, request: web.Request) -> Any:
        return render.rest_assets_uta(flow.market for flow in self.flows.values())

    def _category(self, request: web.Request) -> dict[str, Market]:
        """The markets that are asked for, by category."""
        asked = request.query.get("category", "").upper()
        if asked in _SILENT:
            return {}
        if asked and asked not in _PRODUCTS:
            raise Refused(40020, "Parameter category error")
        return {name: self.flows[kind].market for name, kind in _PRODUCTS.items() if asked in ("", name)}

    def _uta_open_orders(self, request: web.Request) -> Any:
        symbol = request.query.get("symbol")
        found = [(one, name) for name, market in self._category(request).items() for one in market.orders.values()]
        rows = [render.rest_order_uta(one, name) for one, name in found if symbol in (None, one.instrument.name)]
        return {"list": rows, "cursor": None}

    def _uta_fills(self, request: web.Request) -> Any:
        query = dict(request.query)
        found = [
            (one, name)
            for name, market in self._category(request).items()
            for one in trades(market, query.get("symbol"), query)
        ]
        return {"list": [render.rest_fill_uta(one, name) for one, name in found], "cursor": None}

    def _uta_positions(self, request: web.Request) -> Any:
        symbol = request.query.get("symbol")
        rows = [
            row
            for name, market in self._category(request).items()
            for row in render.rest_positions_uta(market, name, self.exchange.now())
            if symbol in (None, row["symbol"])
        ]
        return {"list": rows}


_ROWS: dict[str, Any] = {
    "v2": render.rows,
    "uta": render.rows_uta,
    "v1": render.rows_v1,
    "other": render.rows_v1_other,
}


def _plain(symbol: str, session: _Session) -> str:
    """A symbol as channels of this connection name it, without what v1 puts behind it."""
    return symbol.removesuffix("_PERP") if session.form == "v1" else symbol


def _of_channel(channel: _Channel, rows: list[Any] | None) -> list[Any] | None:
    """The positions that a channel is about; of other channels all rows are."""
    if rows is None or not channel.symbol or channel.name != "positions":
        return rows
    return [one for one in rows if one.get("instId", one.get("symbol")).partition("_")[0] == channel.symbol]


def _is_other(channel: _Channel, session: _Session) -> bool:
    return session.form == "v1" and str(channel.arg.get("instType")).upper() in ("SPOT", "MARGIN")


def _spelled(arg: dict[str, Any]) -> dict[str, Any]:
    """An argument with names as they are documented: clients in Python send them with underscores, too."""
    return {_NAMES.get(name.replace("_", "").lower(), name): value for name, value in arg.items()}


def _is_json_ping(payload: bytes) -> bool:
    return len(payload) < 64 and b'"ping"' in payload and b'"op"' in payload


def _dump(channel: str, rows: list[Any]) -> bytes:
    return orjson.dumps(rows[0] if channel == "fast-fill" else rows)


def _push(session: _Session, channel: _Channel, data: bytes, at: int, *, first: bool) -> bytes:
    arg = orjson.dumps(channel.arg)
    action = b"snapshot"
    other = _is_other(channel, session)
    if other:
        action = b"update" if channel.name in ("orders", "trades") else action
    elif session.form == "uta":
        action = b"update" if not first and channel.name in ("account", "position") else b"snapshot"
    elif not first and channel.name == "account" and channel.product == "SPOT":
        action = b"update"
    if other:
        return b'{"action":"%b","arg":%b,"data":%b}' % (action, arg, data)
    if session.form == "uta":
        return b'{"data":%b,"arg":%b,"action":"%b","ts":%d}' % (data, arg, action, at)
    return b'{"action":"%b","arg":%b,"data":%b,"ts":%d}' % (action, arg, data, at)


def _reply(call: Any) -> Any:
    async def handler(request: web.Request) -> web.Response:
        status = 200
        answer: dict[str, Any] = {"code": "00000", "msg": "success"}
        try:
            result = call(request)
            answer["data"] = await result if hasattr(result, "__await__") else result
        except Refused as error:
            status, answer = error.status, {"code": str(error.code), "msg": error.message, "data": None}
        return rest.document({**answer, "requestTime": 0}, status)

    return handler
