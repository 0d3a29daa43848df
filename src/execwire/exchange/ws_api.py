"""Binance Spot: the WebSocket API with its user data subscriptions, JSON and SBE, and the REST calls beside it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import orjson
from aiohttp import web

from execwire.auth import pairs
from execwire.exchange import render_spot as render
from execwire.exchange import rest, sbe_frames
from execwire.exchange.base import Protocol, Refused
from execwire.exchange.connection import Window

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterable

    from execwire.exchange.base import ApiKey
    from execwire.exchange.connection import Connection
    from execwire.exchange.market import Event, Kind, Market
    from execwire.exchange.server import Exchange

__all__ = ["WsApi", "all_orders", "check", "filters", "trades"]

_HEADER = "X-MBX-APIKEY"
_WEIGHT = 2  # of every request about sessions and subscriptions
_LONGEST_ID = 36
_PING_WEIGHT = 1
_EXCHANGE_INFO_WEIGHT = _ACCOUNT_WEIGHT = 20
_OPEN_ORDERS_WEIGHT = 6
_OLD_ANSWERS = (501, 502)  # these said `response` where all others say `result`
_PRODUCT = "spot"
_TRADE_PARAMS = (("startTime", 0), ("fromId", 0), ("limit", 500))
_BAN = 1.1  # of the limit: who goes on at it is banned
_TOO_MUCH = "Too much request weight used; {}."
_GONE = "This operation is not supported: subscribe over the WebSocket API instead."


@dataclass
class _Subscription:
    """Of one account, on one connection."""

    number: int
    key: str
    source: str  # logon, signature, token
    account: str  # of the key: "" is Spot; margin, or the symbol of an isolated one
    expires: int | None = None  # ms since 1970
    timer: asyncio.Handle | None = None


@dataclass
class _Session:
    """What a connection has agreed with the server."""

    connection: Connection
    unit: int  # 1: ms, 1000: µs
    sbe: bool
    deprecated: bool  # an old schema was asked for
    rate_limits: bool
    since: int
    key: ApiKey | None = None
    authorized: int | None = None
    subscriptions: dict[int, _Subscription] = field(default_factory=dict)
    ever: int = 0


class WsApi(Protocol):
    """Binance Spot."""

    venues: ClassVar[tuple[str, ...]] = ("binance-spot",)
    markets: ClassVar[dict[str, Kind]] = {"spot": "spot"}

    def __init__(self, exchange: Exchange) -> None:
        super().__init__(exchange)
        self._sessions: list[_Session] = []
        self._weight = Window(exchange.options.weight, 60.0)
        self._tokens: dict[str, tuple[str, str, int]] = {}  # listen token: API key, account, when it expires
        self._methods: dict[str, tuple[int, Callable[[_Session, dict[str, Any]], tuple[Any, int]]]] = {
            "ping": (_PING_WEIGHT, lambda session, params: ({}, 0)),
            "time": (_PING_WEIGHT, lambda session, params: ({"serverTime": self.exchange.now()}, 0)),
            "exchangeInfo": (_EXCHANGE_INFO_WEIGHT, lambda session, params: (self.exchange_info(), 0)),
            "account.status": (_ACCOUNT_WEIGHT, self._of_account(self._account)),
            "openOrders.status": (_OPEN_ORDERS_WEIGHT, self._of_account(self._open_orders)),
            "allOrders": (_ACCOUNT_WEIGHT, self._of_account(self._all_orders)),
            "myTrades": (_ACCOUNT_WEIGHT, self._of_account(self._my_trades)),
            "session.logon": (_WEIGHT, self._logon),
            "session.status": (_WEIGHT, lambda session, params: (self._status(session), 52)),
            "session.logout": (_WEIGHT, self._logout),
            "session.subscriptions": (_WEIGHT, self._list),
            "userDataStream.subscribe": (_WEIGHT, self._subscribe),
            "userDataStream.subscribe.signature": (_WEIGHT, self._subscribe_signature),
            "userDataStream.subscribe.listenToken": (_WEIGHT, self._subscribe_token),
            "userDataStream.unsubscribe": (_WEIGHT, self._unsubscribe),
            "userDataStream.start": (_WEIGHT, self._start_key),
            "userDataStream.ping": (_WEIGHT, self._ping_key),
            "userDataStream.stop": (_WEIGHT, self._stop_key),
        }

    def routes(self) -> Iterable[web.RouteDef]:
        """Paths and their handlers."""
        yield web.get("/ws-api/v3", self._stream)
        yield web.get("/api/v3/ping", rest.reply(_empty))
        yield web.get("/api/v1/ping", rest.reply(_empty))
        yield web.get("/api/v3/time", rest.reply(self._rest_time))
        yield web.get("/api/v3/exchangeInfo", rest.reply(self._rest_info))
        yield web.get("/api/v3/account", self._signed(self._account))
        yield web.get("/api/v3/openOrders", self._signed(self._open_orders))
        yield web.get("/api/v3/allOrders", self._signed(self._all_orders))
        yield web.get("/api/v3/myTrades", self._signed(self._my_trades))
        yield web.get("/sapi/v1/asset/tradeFee", self._signed(self._fees))
        yield web.post("/sapi/v1/userListenToken", rest.reply(self._rest_token))
        for method in ("POST", "PUT", "DELETE"):
            for path in ("/api/v3/userDataStream", "/sapi/v1/userDataStream"):  # Spot's, and Margin's
                yield web.route(method, path, rest.reply(self._rest_key))

    # ---- Events ----

    def publish(self, market: Market, event: Event) -> None:
        """Send an event to every subscription."""
        self.exchange.streams.publish(
            self.flows["spot"], event, lambda _: [("", message) for message in render.messages(event)]
        )
        for session in self._sessions:
            if not session.subscriptions:
                continue
            shape = (1000 if session.sbe else session.unit, session.sbe)
            if shape not in event.rendered:
                texts = render.messages(event, shape[0])
                event.rendered[shape] = [orjson.loads(text) for text in texts] if session.sbe else texts
            for number in list(session.subscriptions):  # a fault may end one
                for message in event.rendered[shape]:
                    self._send_event(session, message, number)

    def inject(self, venue: str, payload: bytes) -> None:
        """Send an event message to every subscription."""
        self.exchange.streams.inject(self.flows.values(), payload)
        for session in self._sessions:
            for number in list(session.subscriptions):
                self._send_event(session, orjson.loads(payload) if session.sbe else payload, number)

    @staticmethod
    def _send_event(session: _Session, message: Any, number: int | None, last: bool = False) -> None:
        send = session.connection.notify if last else session.connection.event
        if session.sbe:
            send(sbe_frames.event(message, number), binary=True)
        elif number is None:
            send(b'{"event":%b}' % message)
        else:
            send(b'{"subscriptionId":%d,"event":%b}' % (number, message))

    def _announce(self, session: _Session, name: str, number: int | None) -> None:
        event = {"e": name, "E": self.exchange.now() * (1000 if session.sbe else session.unit)}
        self._send_event(session, event if session.sbe else orjson.dumps(event), number, last=True)

    def _end_all(self, session: _Session) -> None:
        for number in list(session.subscriptions):
            self._end(session, number)

    def _end(self, session: _Session, number: int) -> None:
        subscription = session.subscriptions.pop(number, None)
        if subscription is not None:
            if subscription.timer is not None:
                subscription.timer.cancel()
            self._announce(session, "eventStreamTerminated", number)

    # ---- The socket ----

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        query = request.query
        sbe = query.get("responseFormat") == "sbe"
        version = None
        if sbe:
            try:
                version = (int(query["sbeSchemaId"]), int(query["sbeSchemaVersion"]))
            except (KeyError, ValueError):
                raise web.HTTPBadRequest(text="sbeSchemaId and sbeSchemaVersion are needed") from None
            if version not in (sbe_frames.NEWEST, *sbe_frames.OLDER):
                raise web.HTTPBadRequest(text="the SBE schema is unknown or retired")
        elif query.get("responseFormat", "json") != "json":
            raise web.HTTPBadRequest(text="responseFormat is json or sbe")
        connection = self.exchange.accept(request, "binance-spot")
        self._weight.add(self.exchange.loop.time(), _WEIGHT)
        options = self.exchange.options
        session = _Session(
            connection,
            1000 if query.get("timeUnit", "").upper() == "MICROSECOND" else 1,
            sbe,
            version in sbe_frames.OLDER,
            query.get("returnRateLimits", "true") != "false",
            self.exchange.now(),
        )
        connection.heartbeat(options.ws_api_ping, options.ws_api_pong)
        connection.on_close.append(lambda: self._sessions.remove(session))
        connection.on_terminate = lambda: self._end_all(session)
        connection.on_shutdown = lambda: self._announce(session, "serverShutdown", None)
        self._sessions.append(session)
        async for _, payload in connection.run():
            self._request(session, payload)
        return connection.response

    def _request(self, session: _Session, payload: bytes) -> None:
        number: Any = None
        try:
            request = _parse(payload)
            number = request.get("id")
            result, template = self._run(session, request.get("method"), request.get("params") or {})
        except Refused as error:
            self._fail(session, number, error)
            return
        self._answer(session, number, result, template)
        if session.subscriptions:
            self.flows["spot"].start()

    def _run(self, session: _Session, method: Any, params: Any) -> tuple[Any, int]:
        """Call a method; returns its result, and the template of that in SBE."""
        for name, value, kind in (("method", method, str), ("params", params, dict)):
            if not isinstance(value, kind):
                raise Refused(-1102, f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed.")
        if method not in self._methods:
            raise Refused(-1020, "This operation is not supported.")
        weight, handler = self._methods[method]
        if not self._weight.add(self.exchange.loop.time(), weight):
            ban = len(self._weight) > self._weight.limit * _BAN
            raise Refused(-1003, _TOO_MUCH.format("IP banned" if ban else "please wait"), 418 if ban else 429)
        return handler(session, params)

    def _limits(self, session: _Session) -> list[dict[str, Any]]:
        if not session.rate_limits:
            return []
        return [
            {
                "rateLimitType": "REQUEST_WEIGHT",
                "interval": "MINUTE",
                "intervalNum": 1,
                "limit": self._weight.limit,
                "count": len(self._weight),
            }
        ]

    def _answer(self, session: _Session, number: Any, result: Any, template: int) -> None:
        limits = self._limits(session)
        if session.sbe:
            inner = (
                sbe_frames.message(template, {"": result} if isinstance(result, list) else result) if template else b""
            )
            frame = sbe_frames.response(number, 200, inner, limits, session.deprecated)
            session.connection.answer(frame, binary=True)
            return
        answer = {"id": number, "status": 200, "response" if template in _OLD_ANSWERS else "result": result}
        session.connection.answer(orjson.dumps(answer | ({"rateLimits": limits} if limits else {})))

    def _fail(self, session: _Session, number: Any, error: Refused) -> None:
        limits = self._limits(session)
        content: dict[str, Any] = {"code": error.code, "msg": error.message}
        now = self.exchange.now()
        if error.status in (418, 429):
            content["data"] = {"serverTime": now, "retryAfter": now + 60_000}
        if session.sbe:
            inner = sbe_frames.message(100, {**content.pop("data", {}), **content})
            frame = sbe_frames.response(number, error.status, inner, limits, session.deprecated)
            session.connection.answer(frame, binary=True)
            return
        answer = {"id": number, "status": error.status, "error": content}
        session.connection.answer(orjson.dumps(answer | ({"rateLimits": limits} if limits else {})))

    # ---- Who ----

    def _logon(self, session: _Session, params: dict[str, Any]) -> tuple[Any, int]:
        key = check(self.exchange, params)
        if key.verifier.algorithm != "ed25519":
            raise Refused(-4056, "HMAC_SHA256 API key is not supported.")
        session.key, session.authorized = key, self.exchange.now()
        return self._status(session), 51

    def _logout(self, session: _Session, params: dict[str, Any]) -> tuple[Any, int]:
        session.key = session.authorized = None
        for subscription in list(session.subscriptions.values()):
            if subscription.source == "logon":
                self._end(session, subscription.number)
        return self._status(session), 53

    def _status(self, session: _Session) -> dict[str, Any]:
        unit = 1000 if session.sbe else session.unit
        return {
            "apiKey": session.key.name if session.key else None,
            "authorizedSince": session.authorized * unit if session.authorized else None,
            "connectedSince": session.since * unit,
            "returnRateLimits": session.rate_limits,
            "serverTime": self.exchange.now() * unit,
            "userDataStream": bool(session.subscriptions),
        }

    # ---- Subscriptions ----

    def _subscribe(self, session: _Session, params: dict[str, Any]) -> tuple[Any, int]:
        if session.key is None:
            raise Refused(-2015, "Invalid API-key, IP, or permissions for action.", 401)
        return {"subscriptionId": self._open(session, session.key.name, "logon").number}, 503

    def _subscribe_signature(self, session: _Session, params: dict[str, Any]) -> tuple[Any, int]:
        return {"subscriptionId": self._open(session, check(self.exchange, params).name, "signature").number}, 503

    def _subscribe_token(self, session: _Session, params: dict[str, Any]) -> tuple[Any, int]:
        key, account, expires = self._tokens.get(str(params.get("listenToken", "")), ("", "", 0))
        now = self.exchange.now()
        if expires <= now:
            raise Refused(-1209, "Invalid listenToken.")
        same = (one for one in session.subscriptions.values() if (one.key, one.account) == (key, account))
        if (held := next(same, None)) and held.timer is not None:  # a new token prolongs what an older one opened
            held.timer.cancel()
        subscription = held or self._open(session, key, "token", account)
        subscription.expires = expires
        subscription.timer = session.connection.later(
            (expires - now) / 1000, lambda: self._end(session, subscription.number)
        )
        unit = 1000 if session.sbe else session.unit
        return {"subscriptionId": subscription.number, "expirationTime": expires * unit}, 505

    def _open(self, session: _Session, key: str, source: str, account: str = "") -> _Subscription:
        if any((one.key, one.account) == (key, account) for one in session.subscriptions.values()):
            raise Refused(-2035, "User Data Stream subscription is already active.")
        if session.ever >= self.exchange.options.lifetime_subscriptions:
            raise Refused(-2042, "The subscription ids of this connection are used up.")
        if len(session.subscriptions) >= self.exchange.options.subscriptions:
            raise Refused(-1034, "Too many active subscriptions on this connection.")
        subscription = session.subscriptions[session.ever] = _Subscription(session.ever, key, source, account)
        session.ever += 1
        return subscription

    def _unsubscribe(self, session: _Session, params: dict[str, Any]) -> tuple[Any, int]:
        number = params.get("subscriptionId")
        if number is None:
            if not session.subscriptions:
                raise Refused(-2036, "User Data Stream subscription is not active.")
            self._end_all(session)
        elif not isinstance(number, int) or number not in session.subscriptions:
            raise Refused(-2036, "User Data Stream subscription is not active.")
        else:
            self._end(session, number)
        return {}, 504

    def _list(self, session: _Session, params: dict[str, Any]) -> tuple[Any, int]:
        unit = 1000 if session.sbe else session.unit
        rows = [
            {"subscriptionId": one.number} | ({"expirationTime": one.expires * unit} if one.expires else {})
            for one in session.subscriptions.values()
        ]
        return rows, 54

    # ---- Listen keys: gone, but for exchanges that are set to be older ----

    def _key_call(self, call: str, name: str) -> dict[str, str]:
        if not self.exchange.options.spot_listen_keys:
            raise Refused(-1020, _GONE, 410)
        if name not in self.exchange.keys:
            raise Refused(-2015, "Invalid API-key, IP, or permissions for action.", 401)
        streams = self.exchange.streams
        if call == "create":
            return streams.create(name, _PRODUCT, self.flows["spot"])
        return streams.renew(name, _PRODUCT) if call == "renew" else streams.remove(name, _PRODUCT)

    def _start_key(self, session: _Session, params: dict[str, Any]) -> tuple[Any, int]:
        return self._key_call("create", str(params.get("apiKey"))), 500

    def _ping_key(self, session: _Session, params: dict[str, Any]) -> tuple[Any, int]:
        self._key_call("renew", str(params.get("apiKey")))
        return {}, 501

    def _stop_key(self, session: _Session, params: dict[str, Any]) -> tuple[Any, int]:
        self._key_call("remove", str(params.get("apiKey")))
        return {}, 502

    async def _rest_key(self, request: web.Request) -> Any:
        call = {"POST": "create", "PUT": "renew", "DELETE": "remove"}[request.method]
        answer = self._key_call(call, request.headers.get(_HEADER, ""))
        return answer if call == "create" else {}

    # ---- REST ----

    def exchange_info(self) -> dict[str, Any]:
        """Symbols, as GET exchangeInfo lists them."""
        return {
            "timezone": "UTC",
            "serverTime": self.exchange.now(),
            "rateLimits": [
                {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": self._weight.limit}
            ],
            "exchangeFilters": [],
            "symbols": [
                {
                    "symbol": one.name,
                    "status": "TRADING",
                    "baseAsset": one.base,
                    "baseAssetPrecision": 8,
                    "quoteAsset": one.quote,
                    "quotePrecision": 8,
                    "quoteAssetPrecision": 8,
                    "orderTypes": ["LIMIT", "LIMIT_MAKER", "MARKET", "STOP_LOSS_LIMIT", "TAKE_PROFIT_LIMIT"],
                    "icebergAllowed": True,
                    "ocoAllowed": True,
                    "quoteOrderQtyMarketAllowed": True,
                    "allowTrailingStop": False,
                    "isSpotTradingAllowed": True,
                    "isMarginTradingAllowed": False,
                    "filters": filters(one.price_digits, one.qty_digits),
                    "permissions": [],
                    "permissionSets": [["SPOT"]],
                    "defaultSelfTradePreventionMode": render.STP,
                    "allowedSelfTradePreventionModes": ["EXPIRE_TAKER", "EXPIRE_MAKER", "EXPIRE_BOTH"],
                }
                for one in self.flows["spot"].market.instruments
            ],
        }

    async def _rest_time(self, request: web.Request) -> Any:
        return {"serverTime": self.exchange.now()}

    async def _rest_info(self, request: web.Request) -> Any:
        return self.exchange_info()

    def _account(self, params: dict[str, Any]) -> Any:
        return render.account(self.flows["spot"].market, self.exchange.now())

    def _open_orders(self, params: dict[str, Any]) -> Any:
        symbol = params.get("symbol")
        orders = self.flows["spot"].market.orders.values()
        return [render.order_row(one) for one in orders if symbol in (None, one.instrument.name)]

    def _fees(self, params: dict[str, Any]) -> Any:
        fee = {"makerCommission": "0.001", "takerCommission": "0.001"}
        names = (one.name for one in self.flows["spot"].market.instruments)
        return [{"symbol": name, **fee} for name in names if params.get("symbol") in (None, name)]

    def _all_orders(self, params: dict[str, Any]) -> Any:
        return [render.order_row(one) for one in all_orders(self.flows["spot"].market, _symbol(params))]

    def _my_trades(self, params: dict[str, Any]) -> Any:
        return [render.trade_row(one) for one in trades(self.flows["spot"].market, _symbol(params), params)]

    def _signed(self, call: Callable[[dict[str, Any]], Any]) -> Any:
        """A question about the account, over REST."""

        async def handler(request: web.Request) -> Any:
            return call(await rest.signed(self.exchange, request, _HEADER))

        return rest.reply(handler)

    def _of_account(self, call: Callable[[dict[str, Any]], Any]) -> Callable[[_Session, dict[str, Any]], Any]:
        """The same over the WebSocket API: signed, or after a logon."""

        def method(session: _Session, params: dict[str, Any]) -> tuple[Any, int]:
            if session.key is None or "signature" in params:
                check(self.exchange, params)
            if session.sbe:
                raise Refused(-1020, "This operation is not supported.")
            return call(params), 0

        return method

    async def _rest_token(self, request: web.Request) -> Any:
        key = rest.api_key(self.exchange, request, _HEADER)
        params, _ = await rest.parameters(request)
        life = self.exchange.faults.key_life or self.exchange.options.listen_token_life
        if "validity" in params:
            life = min(life, rest.number(params, "validity", 0) / 1000)
        token, expires = self.exchange.token(48), self.exchange.now() + int(life * 1000)
        self._tokens[token] = key.name, params.get("symbol") or "margin", expires
        return {"token": token, "expirationTime": expires}


async def _empty(request: web.Request) -> Any:
    return {}


def _parse(payload: bytes) -> dict[str, Any]:
    try:
        request = orjson.loads(payload)
    except orjson.JSONDecodeError:
        request = None
    if not isinstance(request, dict):
        raise Refused(-1135, "Invalid JSON Request")
    number = request.get("id")
    if not (number is None or isinstance(number, int | str)) or (isinstance(number, str) and len(number) > _LONGEST_ID):
        raise Refused(-1100, "Illegal characters found in parameter 'id'.")
    return request


def check(exchange: Exchange, params: dict[str, Any]) -> ApiKey:
    """Who has signed a request of a WebSocket API.

    Raises
    ------
    Refused
        -1102 without key, time or signature, -2015, -1021 or -1022 if one of them is not right.
    """
    for name in ("apiKey", "timestamp", "signature"):
        if params.get(name) in (None, ""):
            raise Refused(-1102, f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed.")
    key = exchange.keys.get(str(params["apiKey"]))
    if key is None:
        raise Refused(-2015, "Invalid API-key, IP, or permissions for action.", 401)
    rest.check_time(exchange, params["timestamp"], params.get("recvWindow"))
    text = pairs({name: value for name, value in params.items() if name != "signature"}, order=True)
    if not key.verifier.verify(text, str(params["signature"])):
        raise Refused(-1022, "Signature for this request is not valid.")
    return key


def _symbol(params: dict[str, str]) -> str:
    if not params.get("symbol"):
        raise Refused(-1102, "Mandatory parameter 'symbol' was not sent, was empty/null, or malformed.")
    return params["symbol"]


def filters(price_digits: int, qty_digits: int) -> list[dict[str, Any]]:
    """What restricts prices and quantities of a symbol."""
    tick, lot = (f"{10.0**-digits:.8f}" for digits in (price_digits, qty_digits))
    return [
        {"filterType": "PRICE_FILTER", "minPrice": tick, "maxPrice": "1000000.00000000", "tickSize": tick},
        {"filterType": "LOT_SIZE", "minQty": lot, "maxQty": "90000000.00000000", "stepSize": lot},
        {"filterType": "MARKET_LOT_SIZE", "minQty": lot, "maxQty": "90000000.00000000", "stepSize": lot},
        {"filterType": "MIN_NOTIONAL", "notional": "5"},
        {"filterType": "NOTIONAL", "minNotional": "5.00000000", "maxNotional": "9000000.00000000"},
    ]


def all_orders(market: Market, symbol: str | None) -> list[Any]:
    """Orders that are open or ended lately, as they are now, oldest first."""
    found = {one.order.number: one.order for one in market.history if one.order is not None}
    found.update(market.orders)
    return [found[number] for number in sorted(found) if symbol in (None, found[number].instrument.name)]


def trades(market: Market, symbol: str | None, params: dict[str, str]) -> list[Event]:
    """Fills of late, oldest first."""
    after, first, most = (rest.number(params, name, default) for name, default in _TRADE_PARAMS)
    found = [
        one
        for one in market.history
        if one.trade
        and one.order is not None
        and symbol in (None, one.order.instrument.name)
        and one.at >= after
        and one.trade >= first
    ]
    return found[:most] if first or after else found[-most:]
