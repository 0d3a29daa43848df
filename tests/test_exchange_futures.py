"""Binance futures at the local exchange: listen keys, every form of the URLs, commands, limits, REST."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
from decimal import Decimal

import pytest
from exchanges import KEY, SECRET, START, is_async, now, serving

from execwire.exchange import Options

VENUE = "binance-futures"
HEADERS = {"X-MBX-APIKEY": KEY}


async def listen_key(client, product: str = "fapi") -> str:
    status, answer = await client.rest("POST", f"/{product}/v1/listenKey", headers=HEADERS)
    assert status == 200
    assert len(answer["listenKey"]) == 64
    return answer["listenKey"]


# ---- Keys ----


@is_async
async def test_keys():
    async with serving(VENUE) as (_, client):
        path = "/fapi/v1/listenKey"
        for method in ("POST", "PUT", "DELETE"):
            assert (await client.rest(method, path))[1]["code"] == -2014
            status, answer = await client.rest(method, path, headers={"X-MBX-APIKEY": "x"})
            assert (status, answer["code"]) == (401, -2015)
        status, answer = await client.rest("PUT", path, headers=HEADERS)
        assert (status, answer["code"]) == (400, -1125)
        key = await listen_key(client)
        assert await listen_key(client) == key  # one that lives is given again
        assert await listen_key(client, "dapi") != key
        assert await client.rest("PUT", path, headers=HEADERS) == (200, {"listenKey": key})
        assert await client.rest("DELETE", path, headers=HEADERS) == (200, {})
        assert (await client.rest("PUT", path, headers=HEADERS))[1]["code"] == -1125
        assert await listen_key(client) != key


@is_async
async def test_keys_over_the_websocket_api():
    async with serving(VENUE) as (_, client):
        for product in ("fapi", "dapi"):
            socket = await client.ws(VENUE, f"/ws-{product}/v1")

            async def ask(name, socket=socket, api_key=KEY):
                return await socket.ask({"id": "1", "method": f"userDataStream.{name}", "params": {"apiKey": api_key}})

            assert (await ask("ping"))["error"]["code"] == -1125
            assert (await ask("start", api_key="x"))["status"] == 401
            key = (await ask("start"))["result"]["listenKey"]
            assert (await ask("ping"))["result"] == {"listenKey": key}
            assert await listen_key(client, product) == key
            limit = {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": 2400}
            assert (await ask("ping"))["rateLimits"] == [limit | {"count": 5}]
            silent = await client.ws(VENUE, f"/ws-{product}/v1?returnRateLimits=false")
            assert "rateLimits" not in await silent.ask({"id": "1", "method": "ping"})
            assert (await ask("stop"))["result"] == {}
            assert (await ask("restart"))["error"]["code"] == -1020
            assert (await socket.ask("no json"))["id"] is None
            assert (await socket.ask({"id": 3, "method": "ping"}))["result"] == {}
            assert (await socket.ask({"id": 3, "method": "time"}))["result"]["serverTime"] > START - 10**12
            await socket.close()


# ---- Streams ----

PLAIN = [
    "/ws/{key}",
    "/ws/{key}?listenKey={key}",
    "/private/ws?listenKey={key}",
    "/private/ws/{key}",
    "/private/ws?listenKey={key}&events=ORDER_TRADE_UPDATE/ACCOUNT_UPDATE/TRADE_LITE",
    "/pm/ws/{key}",
]
COMBINED = ["/stream?streams={key}", "/private/stream?listenKey={key}", "/private/stream?streams={key}"]


@pytest.mark.parametrize("form", PLAIN)
@is_async
async def test_plain_forms(form):
    async with serving(VENUE, start=START) as (exchange, client):
        key = await listen_key(client)
        socket = await client.ws(VENUE, form.format(key=key))
        exchange.step(VENUE, 60)
        log = exchange.connections[0].log
        messages = await socket.take(len(log))
        assert messages == [json.loads(one) for one in log]
        assert {one["e"] for one in messages} - {"ALGO_UPDATE"} == {
            "ORDER_TRADE_UPDATE",
            "ACCOUNT_UPDATE",
            "TRADE_LITE",
        }
        assert "events=" not in form or "ALGO_UPDATE" not in {one["e"] for one in messages}
        await socket.close()


@pytest.mark.parametrize("form", COMBINED)
@is_async
async def test_combined_forms(form):
    async with serving(VENUE, start=START) as (exchange, client):
        key = await listen_key(client)
        socket = await client.ws(VENUE, form.format(key=key))
        exchange.step(VENUE, 20)
        messages = await socket.take(len(exchange.connections[0].log))
        assert {one["stream"] for one in messages} == {key}
        assert all("e" in one["data"] for one in messages)
        await socket.close()


@is_async
async def test_chosen_events():
    async with serving(VENUE) as (exchange, client):
        key = await listen_key(client)
        orders = await client.ws(VENUE, f"/private/ws?listenKey={key}&events=ORDER_TRADE_UPDATE")
        expiry = await client.ws(VENUE, f"/private/ws?listenKey={key}&events=listenKeyExpired/ALGO_ORDER_UPDATE")
        exchange.step(VENUE, 300)
        messages = await orders.take(len(exchange.connections[0].log))
        assert {one["e"] for one in messages} == {"ORDER_TRADE_UPDATE"}
        exchange.streams.expire(key)
        messages = await expiry.until(lambda message: message["e"] == "listenKeyExpired")
        assert {one["e"] for one in messages[:-1]} == {"ALGO_UPDATE"}  # which the list names differently
        await orders.quiet()
        await orders.close()


@is_async
async def test_order_of_messages():
    """The account's update, the light trade, then the order: and the trade is told twice, with the same id."""
    async with serving(VENUE) as (exchange, client):
        key = await listen_key(client)
        socket = await client.ws(VENUE, f"/ws/{key}")
        exchange.step(VENUE, 100)
        messages = await socket.take(len(exchange.connections[0].log))
        lites = [n for n, one in enumerate(messages) if one["e"] == "TRADE_LITE"]
        assert lites
        for n in lites:
            assert messages[n - 1]["e"] == "ACCOUNT_UPDATE"
            assert messages[n + 1]["o"]["t"] == messages[n]["t"]
            assert messages[n + 1]["o"]["i"] == messages[n]["i"] > 2**53
        times = [one["T"] for one in messages if one["e"] == "ORDER_TRADE_UPDATE"]
        assert times == sorted(times)
        await socket.close()


@is_async
async def test_coin_m():
    async with serving(VENUE) as (exchange, client):
        key = await listen_key(client, "dapi")
        usd = await client.ws(VENUE, f"/ws/{await listen_key(client)}")
        coin = await client.ws(VENUE, f"/ws/{key}")
        exchange.step(VENUE, 60, "inverse")
        messages = await coin.take(len(exchange.connections[1].log))
        assert {one["e"] for one in messages} - {"ALGO_UPDATE"} == {"ORDER_TRADE_UPDATE", "ACCOUNT_UPDATE"}
        assert len({one["i"] for one in messages}) == 1  # the account's alias
        assert all(one["o"]["s"].endswith("_PERP") and one["o"]["ma"] for one in messages if one["e"][0] == "O")
        await usd.quiet()
        await coin.close()
        await usd.close()


@is_async
async def test_portfolio_margin():
    async with serving(VENUE) as (exchange, client):
        socket = await client.ws(VENUE, f"/pm/ws/{await listen_key(client, 'papi')}")
        exchange.step(VENUE, 60)
        messages = await socket.take(len(exchange.connections[0].log))
        assert {one["fs"] for one in messages} == {"UM"}
        orders = [one["o"] for one in messages if one["e"] == "ORDER_TRADE_UPDATE"]
        assert {one["V"] for one in orders} == {"EXPIRE_NONE"}
        assert not any({"wt", "ot", "cp", "pP", "si", "ss"}.intersection(one) for one in orders)
        exchange.step(VENUE, 60, "inverse")  # the same key
        messages = await socket.take(len(exchange.connections[0].log) - len(messages))
        assert {one["fs"] for one in messages} == {"CM"}
        exchange.inject(VENUE, b"{}")
        assert await socket.next() == {}  # once, though the key is of two markets
        await socket.quiet()
        await socket.close()


@is_async
async def test_expired():
    """The connection is told, and then stays open and silent."""
    async with serving(VENUE, options=Options(listen_key_life=2)) as (exchange, client):
        key, coin = await listen_key(client), await listen_key(client, "dapi")
        bare = await client.ws(VENUE, f"/ws/{key}")
        combined = await client.ws(VENUE, f"/private/stream?listenKey={coin}")
        raw = await bare.raw()
        assert raw.startswith(b'{"e": "listenKeyExpired", ')  # with blanks, as on the wire
        event = json.loads(raw)
        assert (event["listenKey"], type(event["E"])) == (key, str)
        event = await combined.next()
        assert event["stream"] == coin
        assert (event["data"]["e"], type(event["data"]["E"])) == ("listenKeyExpired", int)
        exchange.step(VENUE, 5)
        await bare.quiet()
        assert (await client.rest("PUT", "/fapi/v1/listenKey", headers=HEADERS))[1]["code"] == -1125
        assert not exchange.connections[0].close_code
        await combined.close()


@is_async
async def test_renewed_keys_live_on():
    async with serving(VENUE, options=Options(listen_key_life=4)) as (_, client):
        key = await listen_key(client)
        for _ in range(4):
            await asyncio.sleep(1.2)
            assert (await client.rest("PUT", "/fapi/v1/listenKey", headers=HEADERS))[1] == {"listenKey": key}


@is_async
async def test_unknown_keys_are_silent():
    async with serving(VENUE) as (exchange, client):
        await listen_key(client)
        socket = await client.ws(VENUE, "/ws/nobody")
        exchange.step(VENUE, 5)
        await socket.quiet()


# ---- Commands ----


@is_async
async def test_commands():
    async with serving(VENUE, options=Options(stream_messages=100)) as (exchange, client):
        key = await listen_key(client)
        socket = await client.ws(VENUE, "/private/stream")
        for message, code in [
            ("no json", 3),
            ([1], 2),
            ({"id": 1, "method": "SUBSCRIBE", "params": key}, 2),
            ({"id": 1, "method": "SUBSCRIBE", "params": [1]}, 2),
            ({"id": 1, "method": "STOP"}, 2),
            ({"id": 1, "method": "SUBSCRIBE", "params": [f"s{n}" for n in range(1025)]}, 2),
        ]:
            assert (await socket.ask(message))["error"]["code"] == code
        subscribe = {"id": 9, "method": "SUBSCRIBE", "params": [key, "btcusdt@trade"]}
        assert await socket.ask(subscribe) == {"result": None, "id": 9}
        listed = await socket.ask({"id": "x", "method": "LIST_SUBSCRIPTIONS"})
        assert listed == {"result": [key, "btcusdt@trade"], "id": "x"}
        exchange.step(VENUE)
        assert (await socket.next())["stream"] == key
        await socket.send({"id": 1, "method": "UNSUBSCRIBE", "params": [key]})
        await socket.until(lambda message: message.get("id") == 1)
        exchange.step(VENUE)
        await socket.quiet()


@is_async
async def test_too_many_messages():
    assert Options().stream_messages == 10
    async with serving(VENUE) as (_, client):
        socket = await client.ws(VENUE, "/ws")
        for n in range(11):
            await socket.send({"id": n, "method": "LIST_SUBSCRIPTIONS"})
        assert await socket.code() == 1008


@is_async
async def test_pongs():
    assert (Options().futures_ping, Options().futures_pong) == (180, 600)
    async with serving(VENUE, options=Options(futures_ping=0.05, futures_pong=0.1)) as (exchange, client):
        silent = await client.ws(VENUE, "/ws", autoping=False)
        assert await silent.code() == 1008
        assert exchange.connections[0].counts["pings"] > 0


# ---- REST ----


@pytest.mark.parametrize(("product", "market"), [("fapi", "linear"), ("dapi", "inverse")])
@is_async
async def test_rest_agrees_with_the_stream(product, market):
    async with serving(VENUE) as (exchange, client):
        socket = await client.ws(VENUE, f"/ws/{await listen_key(client, product)}")
        exchange.step(VENUE, 200, market)
        events = [json.loads(one) for one in exchange.connections[0].log]
        orders = [one["o"] for one in events if one["e"] == "ORDER_TRADE_UPDATE"]
        last = {one["i"]: one for one in orders}
        alive = {number for number, one in last.items() if one["X"] in ("NEW", "PARTIALLY_FILLED")}
        _, found = await client.signed("GET", f"/{product}/v1/openOrders")
        assert {one["orderId"] for one in found} == alive
        symbol = exchange.market(VENUE, market).instruments[0].name
        _, trades = await client.signed("GET", f"/{product}/v1/userTrades", symbol=symbol)
        fills = [one for one in orders if one["x"] == "TRADE" and one["s"] == symbol]
        assert [(one["id"], one["commission"]) for one in trades] == [(one["t"], one["n"]) for one in fills]
        _, every = await client.signed("GET", f"/{product}/v1/allOrders", symbol=symbol)
        assert {one["orderId"] for one in every} == {one["i"] for one in orders if one["s"] == symbol}
        told = {row["a"]: row["wb"] for one in events if one["e"] == "ACCOUNT_UPDATE" for row in one["a"]["B"]}
        _, account = await client.signed("GET", f"/{product}/v1/account")
        assert told.items() <= {one["asset"]: one["walletBalance"] for one in account["assets"]}.items()
        _, balances = await client.signed("GET", f"/{product}/v2/balance")
        assert told.items() <= {one["asset"]: one["balance"] for one in balances}.items()
        held = {row["s"]: row["pa"] for one in events if one["e"] == "ACCOUNT_UPDATE" for row in one["a"]["P"]}
        _, positions = await client.signed("GET", f"/{product}/v2/positionRisk")
        assert held.items() <= {one["symbol"]: one["positionAmt"] for one in positions}.items()
        info = (await client.rest("GET", f"/{product}/v1/exchangeInfo"))[1]
        assert {one["symbol"] for one in info["symbols"]} >= held.keys()
        assert (await client.rest("GET", f"/{product}/v1/time"))[1]["serverTime"] > 0
        assert (await client.signed("GET", f"/{product}/v1/openOrders", secret="x"))[1]["code"] == -1022
        await socket.close()


@is_async
@pytest.mark.parametrize(("path", "market"), [("um", "linear"), ("cm", "inverse")])
async def test_rest_of_portfolio_margin(path, market):
    async with serving("binance-futures") as (exchange, client):
        exchange.step("binance-futures", 200, market)
        product = {"um": "fapi", "cm": "dapi"}[path]
        for what in ("positionRisk", "openOrders", "allOrders", "userTrades", "account"):
            status, answer = await client.signed("GET", f"/papi/v1/{path}/{what}")
            assert status == 200
            assert answer
            assert answer == (await client.signed("GET", f"/{product}/v1/{what}"))[1]
        assert (await client.signed("GET", f"/papi/v1/{path}/account", secret="x"))[1]["code"] == -1022


@is_async
async def test_combined_stream_of_portfolio_margin():
    async with serving("binance-futures") as (exchange, client):
        _, answer = await client.rest("POST", "/papi/v1/listenKey", headers={"X-MBX-APIKEY": KEY})
        socket = await client.ws("binance-futures", "/pm/stream")
        assert (await socket.ask({"method": "SUBSCRIBE", "params": [answer["listenKey"]], "id": 1}))["result"] is None
        exchange.step("binance-futures")
        message = await socket.next()
        assert message["stream"] == answer["listenKey"]
        assert message["data"]["fs"] == "UM"
        await socket.close()


@pytest.mark.parametrize(("product", "market"), [("fapi", "linear"), ("dapi", "inverse")])
@is_async
async def test_the_account_adds_up(product, market):
    async with serving(VENUE) as (exchange, client):
        exchange.step(VENUE, 300, market)
        _, account = await client.signed("GET", f"/{product}/v1/account")

        def of(asset: dict, *names: str) -> Decimal:
            return sum(Decimal(asset[name]) for name in names)

        for one in account["assets"]:
            assert of(one, "walletBalance") == of(one, "availableBalance", "initialMargin")
            assert of(one, "initialMargin") == of(one, "positionInitialMargin", "openOrderInitialMargin")
            assert of(one, "marginBalance") == of(one, "walletBalance", "unrealizedProfit")
            assert min(of(one, "positionInitialMargin"), of(one, "openOrderInitialMargin")) >= 0
        held = sum(Decimal(one["unRealizedProfit"]) for one in account["positions"] if Decimal(one["positionAmt"]))
        assert sum(of(one, "unrealizedProfit") for one in account["assets"]) == held
        assert ("totalWalletBalance" in account) == (product == "fapi")
        _, settings = await client.signed("GET", f"/{product}/v1/symbolConfig")
        assert {one["symbol"] for one in settings} == {one.name for one in exchange.market(VENUE, market).instruments}
        _, dual = await client.signed("GET", f"/{product}/v1/positionSide/dual")
        assert dual == {"dualSidePosition": False}


# ---- Questions over the WebSocket API ----


def asking(method: str, secret: str = SECRET, **params: object) -> dict[str, object]:
    """A request that is signed as the WebSocket API wants it: parameters in alphabetical order."""
    params = {"apiKey": KEY, "timestamp": now(), **params}
    text = "&".join(f"{name}={value}" for name, value in sorted(params.items()))
    signature = hmac.new(secret.encode(), text.encode(), hashlib.sha256).hexdigest()
    return {"id": 1, "method": method, "params": params | {"signature": signature}}


class Plain:
    """A connection whose answers are of no stream: none of the dialect's."""

    def __init__(self, socket):
        self.socket = socket

    @classmethod
    async def open(cls, client, path: str) -> Plain:
        return cls(await client.http.ws_connect(client.ws_origin + path))

    async def ask(self, message: dict[str, object]) -> dict:
        await self.socket.send_json(message)
        return await self.socket.receive_json(timeout=10)

    async def close(self) -> None:
        await self.socket.close()


@pytest.mark.parametrize(("product", "market"), [("fapi", "linear"), ("dapi", "inverse")])
@is_async
async def test_account_over_the_websocket_api(product, market):
    async with serving(VENUE) as (exchange, client):
        stream = await client.ws(VENUE, f"/ws/{await listen_key(client, product)}")
        exchange.step(VENUE, 200, market)
        events = await stream.take(len(exchange.connections[0].log))
        socket = await Plain.open(client, f"/ws-{product}/v1")

        async def ask(method: str, **params: object) -> object:
            answer = await socket.ask(asking(method, **params))
            assert (answer["id"], answer["status"]) == (1, 200)
            return answer["result"]

        updates = [one["a"] for one in events if one["e"] == "ACCOUNT_UPDATE"]
        told = {row["a"]: row["wb"] for one in updates for row in one["B"]}
        held = {row["s"]: (row["pa"], row["ep"]) for one in updates for row in one["P"]}
        account = await ask("account.status")
        assert told.items() <= {one["asset"]: one["walletBalance"] for one in account["assets"]}.items()
        assert account == (await client.signed("GET", f"/{product}/v1/account"))[1]
        balances = await ask("account.balance")
        assert told.items() <= {one["asset"]: one["balance"] for one in balances}.items()
        positions = await ask("account.position")
        places = {one["symbol"]: (one["positionAmt"], one["entryPrice"]) for one in positions}
        assert held.items() <= places.items()
        assert places.keys() == {one.name for one in exchange.market(VENUE, market).instruments}
        (one,) = await ask("account.position", symbol=positions[0]["symbol"])
        assert one == positions[0]

        last = {one["o"]["i"]: one["o"] for one in events if one["e"] == "ORDER_TRADE_UPDATE"}
        for number, order in list(last.items())[-20:]:
            found = await ask("order.status", symbol=order["s"], orderId=number)
            assert (found["orderId"], found["status"], found["executedQty"]) == (number, order["X"], order["z"])
            by_name = await ask("order.status", symbol=order["s"], origClientOrderId=found["clientOrderId"])
            assert by_name == found
            assert (await client.signed("GET", f"/{product}/v1/order", symbol=order["s"], orderId=number))[1] == found
        await socket.close()
        await stream.close()


@is_async
async def test_newer_answers_of_the_websocket_api():
    """They leave out contracts in which there is nothing."""
    async with serving(VENUE) as (exchange, client):
        socket = await Plain.open(client, "/ws-fapi/v1")
        exchange.step(VENUE, 8)
        market = exchange.market(VENUE)
        busy = {one.instrument.name for one in market.orders.values()}
        busy |= {name for name, one in market.positions.items() if one.qty}
        assert 0 < len(busy) < len(market.instruments)
        answer = await socket.ask(asking("v2/account.position"))
        assert {one["symbol"] for one in answer["result"]} == busy
        account = (await socket.ask(asking("v2/account.status")))["result"]
        assert {one["symbol"] for one in account["positions"]} == busy
        older = (await socket.ask(asking("account.status")))["result"]
        assert account["assets"] == older["assets"]
        balances = [(await socket.ask(asking(f"{form}account.balance")))["result"] for form in ("", "v2/")]
        assert balances[0] == balances[1]
        coin = await Plain.open(client, "/ws-dapi/v1")  # has none of them
        assert (await coin.ask(asking("v2/account.status")))["error"]["code"] == -1020
        for one in (socket, coin):
            await one.close()


@is_async
async def test_wrong_questions_over_the_websocket_api():
    async with serving(VENUE) as (exchange, client):
        exchange.step(VENUE, 50)
        socket = await Plain.open(client, "/ws-fapi/v1")
        unsigned = asking("account.status")
        del unsigned["params"]["signature"]
        for request, status, code in [
            ({"id": 1, "method": "account.status"}, 400, -1102),
            ({"id": 1, "method": "account.status", "params": [1]}, 400, -1102),
            (unsigned, 400, -1102),
            (asking("account.status", secret="x"), 400, -1022),
            (asking("account.status", apiKey="x"), 401, -2015),
            (asking("account.status", timestamp=now() - 6_000), 400, -1021),
            (asking("account.status", timestamp="x"), 400, -1102),
            (asking("order.status", orderId=1), 400, -1102),
            (asking("order.status", symbol="BTCUSDT"), 400, -1102),
            (asking("order.status", symbol="BTCUSDT", orderId="x"), 400, -1102),
            (asking("order.status", symbol="BTCUSDT", orderId=1), 400, -2013),
            (asking("order.status", symbol="BTCUSDT", origClientOrderId="x"), 400, -2013),
        ]:
            answer = await socket.ask(request)
            assert (answer["status"], answer["error"]["code"]) == (status, code)
        before = (await socket.ask({"id": 1, "method": "ping"}))["rateLimits"][0]["count"]
        assert (await socket.ask(asking("account.balance")))["rateLimits"][0]["count"] == before + 5
        await socket.close()


@is_async
async def test_balance_of_portfolio_margin():
    async with serving(VENUE) as (exchange, client):
        stream = await client.ws(VENUE, f"/pm/ws/{await listen_key(client, 'papi')}")
        for market in ("linear", "inverse"):
            exchange.step(VENUE, 200, market)
        events = await stream.take(len(exchange.connections[0].log))
        updates = [(one["fs"].lower(), one["a"]) for one in events if one["e"] == "ACCOUNT_UPDATE"]
        wallets = {(fs, row["a"]): row["wb"] for fs, one in updates for row in one["B"]}
        assert {fs for fs, _ in wallets} == {"um", "cm"}
        _, rows = await client.signed("GET", "/papi/v1/balance")
        found = {(fs, one["asset"]): one[f"{fs}WalletBalance"] for one in rows for fs in ("um", "cm")}
        assert wallets.items() <= found.items()
        for fs in ("um", "cm"):
            _, positions = await client.signed("GET", f"/papi/v1/{fs}/positionRisk")
            for one in rows:
                profits = [Decimal(its["unRealizedProfit"]) for its in positions if its["marginAsset"] == one["asset"]]
                assert Decimal(one[f"{fs}UnrealizedPNL"]) == sum(profits)
        for one in rows:
            parts = ("crossMarginAsset", "umWalletBalance", "cmWalletBalance")
            assert Decimal(one["totalWalletBalance"]) == sum(Decimal(one[name]) for name in parts)
            assert one.keys() == {
                "asset", "totalWalletBalance", "crossMarginAsset", "crossMarginBorrowed", "crossMarginFree",
                "crossMarginInterest", "crossMarginLocked", "umWalletBalance", "umUnrealizedPNL", "cmWalletBalance",
                "cmUnrealizedPNL", "updateTime", "negativeBalance",
            }  # fmt: skip
        assert {one["updateTime"] for one in rows} == {max(one["T"] for one in events)}
        for one in rows:
            assert await client.signed("GET", "/papi/v1/balance", asset=one["asset"]) == (200, one)
        assert (await client.signed("GET", "/papi/v1/balance", asset="x"))[1]["code"] == -1102
        assert (await client.signed("GET", "/papi/v1/balance", secret="x"))[1]["code"] == -1022
        await stream.close()


@is_async
async def test_account_of_portfolio_margin():
    """All of it in USD."""
    async with serving(VENUE) as (exchange, client):
        for market in ("linear", "inverse"):
            exchange.step(VENUE, 200, market)
        _, account = await client.signed("GET", "/papi/v1/account")
        _, rows = await client.signed("GET", "/papi/v1/balance")
        prices = exchange.market(VENUE, "linear").prices

        def in_usd(asset: str, *amounts: str) -> Decimal:
            return sum(map(Decimal, amounts)) * Decimal(prices.get(f"{asset}USDT", 10**8)) / 10**8

        names = ("totalWalletBalance", "umUnrealizedPNL", "cmUnrealizedPNL")
        equity = sum(in_usd(one["asset"], *(one[name] for name in names)) for one in rows)
        assert abs(Decimal(account["accountEquity"]) - equity) < Decimal("0.0001")
        locked = free = Decimal(0)
        for form in ("um", "cm"):
            for one in (await client.signed("GET", f"/papi/v1/{form}/account"))[1]["assets"]:
                locked += in_usd(one["asset"], one["initialMargin"])
                free += in_usd(one["asset"], one["availableBalance"])
        assert abs(Decimal(account["accountInitialMargin"]) - locked) < Decimal("0.0001")
        assert abs(Decimal(account["totalAvailableBalance"]) - free) < Decimal("0.0001")
        assert Decimal(account["uniMMR"]) > 1
        assert account["updateTime"] == rows[0]["updateTime"]
        one, other = [(await client.signed("GET", f"/papi/{form}/um/account"))[1] for form in ("v1", "v2")]
        assert one == other
