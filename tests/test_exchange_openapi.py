"""openapi brokers at the local exchange: signed listen keys, the stream, pings of the server, REST."""

from __future__ import annotations

import asyncio
import json
from decimal import Decimal

import pytest
from exchanges import KEY, START, is_async, now, serving

from execwire.exchange import Options

VENUE = "openapi-broker"
KEYS = "/openapi/v1/userDataStream"
HEADER = "X-BH-APIKEY"


async def listen_key(client, path: str = KEYS, header: str = HEADER) -> str:
    status, answer = await client.signed("POST", path, header=header)
    assert status == 200
    return answer["listenKey"]


@pytest.mark.parametrize("header", ["X-BH-APIKEY", "X-BB-APIKEY", "X-HK-APIKEY"])
@pytest.mark.parametrize("path", [KEYS, "/openapi/v1/userdata", "/api/v1/listenKey", "/api/v1/userDataStream"])
@is_async
async def test_keys(path, header):
    async with serving(VENUE) as (_, client):
        key = await listen_key(client, path, header)
        assert await listen_key(client, path, header) == key
        assert await client.signed("PUT", path, header=header, listenKey=key, recvWindow=5000) == (200, {})
        assert (await client.signed("PUT", path, header=header))[1]["code"] == -1102
        assert (await client.signed("PUT", path, header=header, listenKey="x"))[1]["code"] == -1125
        assert await client.signed("DELETE", path, header=header, listenKey=key) == (200, {})
        assert (await client.signed("PUT", path, header=header, listenKey=key))[1]["code"] == -1125


@is_async
async def test_refused():
    async with serving(VENUE, options=Options(openapi_header="X-BB-APIKEY")) as (_, client):
        for options, status, code in [
            ({"header": HEADER}, 401, -2014),  # another broker's
            ({"key": "x"}, 401, -2015),
            ({"secret": "x"}, 400, -1022),
            ({"timestamp": now() - 6_000}, 400, -1021),
            ({"timestamp": now() + 6_000}, 400, -1021),
        ]:
            got, answer = await client.signed("POST", KEYS, **{"header": "X-BB-APIKEY", **options})
            assert (got, answer["code"]) == (status, code)
        allowed = await client.signed("POST", KEYS, header="X-BB-APIKEY", timestamp=now() - 6_000, recvWindow=9_000)
        assert allowed[0] == 200


@is_async
async def test_query_followed_by_body():
    """What is signed is the query, then the body, both as they were sent."""
    import hashlib
    import hmac

    async with serving(VENUE) as (_, client):
        query, body = f"recvWindow=5000&timestamp={now()}", "listenKey=abc&b=1"
        signature = hmac.new(b"sec", (query + body).encode(), hashlib.sha256).hexdigest()
        _, answer = await client.rest(
            "PUT",
            f"{KEYS}?{query}&signature={signature}",
            headers={HEADER: KEY, "Content-Type": "application/x-www-form-urlencoded"},
            data=body,
        )
        assert answer["code"] == -1125  # the signature was right, and the key was read from the body


@pytest.mark.parametrize("path", ["/openapi/ws/", "/api/v1/ws/"])
@is_async
async def test_events(path):
    async with serving(VENUE, start=START) as (exchange, client):
        assert await client.refused(path + "nobody") == 401
        socket = await client.ws(VENUE, path + await listen_key(client))
        exchange.step(VENUE, 60, "spot")
        exchange.step(VENUE, 60, "linear")
        log = exchange.connections[0].log
        messages = await socket.take(len(log))
        assert messages == [json.loads(one) for one in log]
        assert all(isinstance(one, list) and len(one) == 1 for one in messages)
        events = [one[0] for one in messages]
        plans = [one for one in events if "eventType" in one]
        assert {one["eventType"] for one in plans} <= {"planExecutionReport"}
        events = [one for one in events if "e" in one]
        assert {one["e"] for one in events} == {
            "executionReport",
            "outboundAccountInfo",
            "ticketInfo",
            "contractExecutionReport",
            "outboundContractAccountInfo",
            "outboundContractPositionInfo",
        }
        assert {type(one["E"]) for one in events} == {str}
        fills = [one for one in events if one["e"] == "ticketInfo"]
        assert {one["T"] for one in fills} == {one["d"] for one in events if "d" in one}
        await socket.close()


@is_async
async def test_heartbeat():
    """The server asks, and a client that does not answer is cut off."""
    async with serving(VENUE, options=Options(openapi_ping=0.5, openapi_pong=3)) as (_, client):
        key = await listen_key(client)
        answering, silent = [await client.ws(VENUE, f"/openapi/ws/{key}") for _ in range(2)]
        closed = asyncio.create_task(silent.code())
        for _ in range(7):
            await answering.send({"pong": (await answering.next())["ping"]})
        assert await closed == 1008
        await answering.send({"ping": 7})
        assert (await answering.until(lambda message: "pong" in message))[-1] == {"pong": 7}
        await answering.send("no json")
        assert "ping" in await answering.next()
        await answering.close()


@is_async
async def test_keys_end():
    async with serving(VENUE, options=Options(listen_key_life=3)) as (_, client):
        key = await listen_key(client)
        socket = await client.ws(VENUE, f"/openapi/ws/{key}")
        for _ in range(3):
            await asyncio.sleep(1.2)
            assert (await client.signed("PUT", KEYS, header=HEADER, listenKey=key))[0] == 200
        assert await socket.code() == 1000
        assert await client.refused(f"/openapi/ws/{key}") == 401
        key = await listen_key(client)
        socket = await client.ws(VENUE, f"/openapi/ws/{key}")
        await client.signed("DELETE", KEYS, header=HEADER, listenKey=key)
        assert await socket.code() == 1000


@pytest.mark.parametrize("path", ["/openapi/v1", "/api/v1", "/api/v1/spot"])
@is_async
async def test_rest_agrees_with_the_stream(path):
    async with serving(VENUE) as (exchange, client):
        socket = await client.ws(VENUE, f"/openapi/ws/{await listen_key(client)}")
        exchange.step(VENUE, 150, "spot")
        events = [json.loads(one)[0] for one in exchange.connections[0].log]
        _, account = await client.signed("GET", f"{path}/account", header=HEADER)
        told = {row["a"]: row["f"] for one in events if "B" in one for row in one["B"]}
        assert told.items() <= {row["asset"]: row["free"] for row in account["balances"]}.items()
        last = {one["i"]: one["X"] for one in events if one["e"] == "executionReport"}
        _, orders = await client.signed("GET", f"{path}/openOrders", header=HEADER)
        assert {one["orderId"] for one in orders} == {
            number for number, state in last.items() if state in ("NEW", "PARTIALLY_FILLED")
        }
        _, trades = await client.signed("GET", f"{path}/myTrades", header=HEADER)
        assert [one["id"] for one in trades] == [one["T"] for one in events if one["e"] == "ticketInfo"]
        assert (await client.rest("GET", "/openapi/v1/time"))[1]["serverTime"] > START - 10**12
        await socket.close()


@pytest.mark.parametrize("path", ["/openapi/v1/brokerInfo", "/openapi/v1/exchangeInfo", "/api/v1/exchangeInfo"])
@is_async
async def test_instruments(path):
    async with serving(VENUE) as (exchange, client):
        await client.ws(VENUE, f"/openapi/ws/{await listen_key(client)}")
        exchange.step(VENUE, 150, "spot")
        exchange.step(VENUE, 150, "linear")
        sent = [row for frame in exchange.connections[0].log for row in json.loads(frame)]
        _, info = await client.rest("GET", path)
        for kind, event in (("symbols", "executionReport"), ("contracts", "contractExecutionReport")):
            rows = {one["symbol"]: one for one in info[kind]}
            traded = {one["s"] for one in sent if one.get("e") == event}
            assert traded
            assert traded <= rows.keys()
            for name in traded:
                limits = {one["filterType"]: one for one in rows[name]["filters"]}
                assert Decimal(rows[name]["baseAssetPrecision"]) == Decimal(limits["LOT_SIZE"]["stepSize"])
                assert Decimal(rows[name]["quotePrecision"]) == Decimal(limits["PRICE_FILTER"]["tickSize"])
                prices = [Decimal(one["p"]) for one in sent if one.get("e") == event and one["s"] == name]
                assert not any(price % Decimal(rows[name]["quotePrecision"]) for price in prices)


HASHKEY, TOOBIT = "X-HK-APIKEY", "X-BB-APIKEY"


@pytest.mark.parametrize("chosen", [False, True])
@pytest.mark.parametrize(("header", "name"), [(HASHKEY, "BTCUSDT-PERPETUAL"), (TOOBIT, "BTC-SWAP-USDT")])
@is_async
async def test_contracts_are_named_as_the_broker_does(header, name, chosen):
    options = Options(openapi_header=header) if chosen else Options()
    async with serving(VENUE, options=options) as (exchange, client):
        _, info = await client.rest("GET", "/api/v1/exchangeInfo")
        contracts = {one["symbol"]: one for one in info["contracts"]}
        assert len(contracts) == len(info["contracts"])
        assert ({"BTCUSDT-PERPETUAL", "BTC-SWAP-USDT"} & contracts.keys() == {name}) is chosen
        one = contracts[name]
        assert (one["underlying"], one["quoteAsset"], one["marginToken"]) == ("BTC", "USDT", "USDT")
        assert one["baseAsset"] == name  # or clients that know other names take it for BTC itself
        assert [Decimal(limit["initialMargin"]) for limit in one["riskLimits"]] == [Decimal("0.05")]
        _, asked = await client.rest("GET", "/api/v1/exchangeInfo", headers={header: KEY})
        assert [row["symbol"] for row in asked["contracts"]].count(name) == 1
        assert len(asked["contracts"]) == len(asked["symbols"])

        socket = await client.ws(VENUE, "/api/v1/ws/" + await listen_key(client, "/api/v1/userDataStream", header))
        exchange.step(VENUE, 600, "linear")
        events = [one[0] for one in await socket.take(len(exchange.connections[0].log))]
        named = {one.get("s") or one["symbolId"] for one in events if "s" in one or "symbolId" in one}
        assert name in named
        assert named <= contracts.keys()
        assert {one["S"] for one in events if one.get("e") == "contractExecutionReport"} <= {
            "BUY_OPEN", "BUY_CLOSE", "SELL_OPEN", "SELL_CLOSE"
        }  # fmt: skip
        assert {one["S"] for one in events if one.get("e") == "ticketInfo"} == {"BUY", "SELL"}
        await socket.close()


@is_async
async def test_two_brokers_at_once():
    """Each key's stream has its own broker's names."""
    async with serving(VENUE) as (exchange, client):
        keys = [await listen_key(client, "/api/v1/userDataStream", header) for header in (HASHKEY, TOOBIT)]
        assert keys[0] != keys[1]
        sockets = [await client.ws(VENUE, f"/api/v1/ws/{key}") for key in keys]
        exchange.step(VENUE, 30, "linear")
        for socket, connection, form in zip(sockets, exchange.connections, ("-PERPETUAL", "-SWAP-USDT"), strict=True):
            events = [one[0] for one in await socket.take(len(connection.log))]
            assert all(one["s"].endswith(form) for one in events if "s" in one)
            await socket.close()


@pytest.mark.parametrize("header", [HASHKEY, TOOBIT])
@is_async
async def test_contracts_over_rest_agree_with_the_stream(header):
    async with serving(VENUE) as (exchange, client):
        socket = await client.ws(VENUE, f"/api/v1/ws/{await listen_key(client, '/api/v1/userDataStream', header)}")
        exchange.step(VENUE, 300, "linear")
        events = [one[0] for one in await socket.take(len(exchange.connections[0].log))]

        async def ask(name, **params):
            return (await client.signed("GET", f"/api/v1/futures/{name}", header=header, **params))[1]

        (balance,) = await ask("balance")
        told = next(
            row for one in reversed(events) if one.get("e") == "outboundContractAccountInfo" for row in one["B"]
        )
        assert Decimal(balance["availableBalance"]) == Decimal(told["f"])
        margins = Decimal(balance["positionMargin"]) + Decimal(balance["orderMargin"])
        assert margins == Decimal(told["l"])
        assert Decimal(balance["balance"]) == Decimal(told["f"]) + Decimal(told["l"])
        places = {(one["s"], one["S"]): one for one in events if one.get("e") == "outboundContractPositionInfo"}
        held = {at: (one["P"], one["p"], one["r"]) for at, one in places.items() if Decimal(one["P"])}
        rows = await ask("positions")
        assert held == {
            (one["symbol"], one["side"]): (one["position"], one["avgPrice"], one["realizedPnL"]) for one in rows
        }
        profits = sum(Decimal(one["unrealizedPnL"]) for one in rows)
        assert Decimal(balance["crossUnRealizedPnl"]) == profits
        last = {one["i"]: one for one in events if one.get("e") == "contractExecutionReport"}
        alive = {n: (one["s"], one["S"], one["z"]) for n, one in last.items() if one["w"]}
        orders = await ask("openOrders")
        assert {one["orderId"]: (one["symbol"], one["side"], one["executedQty"]) for one in orders} == alive
        assert await ask("openOrders", type="STOP") == []
        name = rows[0]["symbol"]
        assert {one["symbol"] for one in await ask("positions", symbol=name)} == {name}
        fills = [(one["T"], one["q"]) for one in events if one.get("e") == "ticketInfo" and one["s"] == name]
        number, qty = ("tradeId", "quantity") if header == HASHKEY else ("id", "qty")
        assert [(one[number], one[qty]) for one in await ask("userTrades", symbol=name)] == fills
        assert (await client.signed("GET", "/api/v1/futures/balance", header=header, secret="x"))[1]["code"] == -1022
        await socket.close()


@is_async
async def test_orders_and_trades_of_one_symbol():
    async with serving(VENUE) as (exchange, client):
        exchange.step(VENUE, 200, "spot")
        for path in ("/api/v1/spot/openOrders", "/api/v1/account/trades"):
            _, every = await client.signed("GET", path, header=HEADER)
            symbol = every[0]["symbol"]
            assert len({one["symbol"] for one in every}) > 1
            _, some = await client.signed("GET", path, header=HEADER, symbol=symbol)
            assert some == [one for one in every if one["symbol"] == symbol]
