"""Binance Spot at the local exchange: WebSocket API, subscriptions, JSON and SBE, REST."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json

import pytest
from exchanges import KEY, SECRET, START, is_async, now, serving

import execwire
from execwire.auth import Credentials, Verifier
from execwire.exchange import ApiKey, Faults, Options

VENUE = "binance-spot"
PATH = "/ws-api/v3"
SUBSCRIBE = "userDataStream.subscribe"
SIGNED = "userDataStream.subscribe.signature"


def request(method: str, number: object = 1, **params: object) -> dict[str, object]:
    return {"id": number, "method": method} | ({"params": params} if params else {})


def signed(
    method: str, number: object = 1, key: str = KEY, secret: str = SECRET, **params: object
) -> dict[str, object]:
    """By hand: sorted names, joined, HMAC-SHA256 in hexadecimal."""
    params = {"apiKey": key, "timestamp": now(), **params}
    text = "&".join(f"{name}={params[name]}" for name in sorted(params))
    signature = hmac.new(secret.encode(), text.encode(), hashlib.sha256).hexdigest()
    return request(method, number, **params, signature=signature)


async def subscribed(client, query: str = "", **params: object):
    socket = await client.ws(VENUE, PATH + query)
    answer = await socket.ask(signed(SIGNED, **params))
    assert answer["status"] == 200
    return socket


# ---- Events ----


@is_async
async def test_events():
    async with serving(VENUE, start=START) as (exchange, client):
        socket = await client.ws(VENUE, PATH)
        answer = await socket.ask(signed(SIGNED))
        limits = answer.pop("rateLimits")
        assert answer == {"id": 1, "status": 200, "result": {"subscriptionId": 0}}
        assert limits == [
            {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": 6000, "count": 4}
        ]
        exchange.step(VENUE, 50)
        connection = exchange.connections[0]
        assert connection.counts["sent"] == connection.counts["frames"] == len(connection.log) >= 50
        messages = await socket.take(len(connection.log))
        assert [json.loads(one) for one in connection.log] == messages
        assert {one["subscriptionId"] for one in messages} == {0}
        assert {one["event"]["e"] for one in messages} >= {"executionReport", "outboundAccountPosition"}
        keys = {key for one in messages for key in one["event"] if one["event"]["e"] == "executionReport"}
        assert keys >= set("eEscSofqpPFgCxXrilzLnNTtIwmMOZYQVW")
        await socket.close()


@is_async
async def test_microseconds():
    async with serving(VENUE, start=START) as (exchange, client):
        socket = await subscribed(client, "?timeUnit=MICROSECOND&returnRateLimits=false")
        exchange.step(VENUE)
        assert (await socket.next())["event"]["E"] // 1000 == exchange.market(VENUE).history[0].at
        await socket.send(request("session.status"))
        status = (await socket.until(lambda message: "status" in message))[-1]
        assert status["result"]["serverTime"] > 10**15
        assert "rateLimits" not in status
        await socket.close()


@is_async
async def test_flow_goes_by_itself():
    async with serving(VENUE, rate=500) as (exchange, client):
        socket = await subscribed(client)
        await socket.take(100)
        await socket.close()
        assert exchange.market(VENUE).count >= 25


# ---- Who may ----


@is_async
async def test_refused_signatures():
    async with serving(VENUE) as (_, client):
        socket = await client.ws(VENUE, PATH)
        good = signed(SIGNED)["params"]
        old, early = now() - 5_500, now() + 60_000
        for params, status, code in [
            ({name: value for name, value in good.items() if name != "signature"}, 400, -1102),
            ({name: value for name, value in good.items() if name != "timestamp"}, 400, -1102),
            ({name: value for name, value in good.items() if name != "apiKey"}, 400, -1102),
            (good | {"signature": "0" * 64}, 400, -1022),
            (good | {"signature": "no hexadecimal \u00e4"}, 400, -1022),
            (good | {"timestamp": good["timestamp"] + 1}, 400, -1022),
            (good | {"apiKey": "somebody else"}, 401, -2015),
            (good | {"timestamp": "yesterday"}, 400, -1102),
            (signed(SIGNED, timestamp=old)["params"], 400, -1021),
            (signed(SIGNED, timestamp=early)["params"], 400, -1021),
            (signed(SIGNED, recvWindow=60_001)["params"], 400, -1131),
            (signed(SIGNED, secret="sce")["params"], 400, -1022),
        ]:
            answer = await socket.ask(request(SIGNED, "x", **params))
            assert (answer["id"], answer["status"], answer["error"]["code"]) == ("x", status, code)
            assert SECRET not in answer["error"]["msg"].split()
        for allowed in ({"timestamp": old, "recvWindow": 60_000}, {"recvWindow": 5000.5}):
            answer = await socket.ask(signed(SIGNED, **allowed))
            assert answer["status"] == 200
            await socket.send(request("userDataStream.unsubscribe"))
            assert [one["status"] for one in await socket.take(2) if "status" in one] == [200]
        upper = signed(SIGNED)
        upper["params"]["signature"] = upper["params"]["signature"].upper()
        assert (await socket.ask(upper))["status"] == 200
        await socket.close()


@pytest.fixture(scope="module", params=["ed25519", "rsa"])
def key_pair(request):
    pytest.importorskip("cryptography")
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ed25519, rsa

    private = (
        ed25519.Ed25519PrivateKey.generate()
        if request.param == "ed25519"
        else rsa.generate_private_key(public_exponent=65537, key_size=2048)
    )
    formats = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    pem = private.private_bytes(serialization.Encoding.PEM, *formats)
    public = private.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return Credentials("asymmetric", private_key=pem), Verifier(public_key=public)


def with_key(credentials: Credentials, method: str) -> dict[str, object]:
    params = {"apiKey": credentials.api_key, "timestamp": now()}
    signature = credentials.sign(f"apiKey={params['apiKey']}&timestamp={params['timestamp']}")
    return request(method, **params, signature=signature)


@is_async
async def test_logon_needs_ed25519(key_pair):
    credentials, verifier = key_pair
    keys = [ApiKey("asymmetric", verifier), ApiKey(KEY, Verifier(secret=SECRET))]
    async with serving(VENUE, keys=keys) as (exchange, client):
        socket = await client.ws(VENUE, PATH)
        refused = await socket.ask(request(SUBSCRIBE))
        assert (refused["status"], refused["error"]["code"]) == (401, -2015)
        assert (await socket.ask(signed("session.logon")))["error"]["code"] == -4056
        answer = await socket.ask(with_key(credentials, "session.logon"))
        if verifier.algorithm == "rsa":
            assert answer["error"]["code"] == -4056
            assert (await socket.ask(with_key(credentials, SIGNED)))["result"] == {"subscriptionId": 0}
            await socket.close()
            return
        result = answer["result"]
        assert result["apiKey"] == "asymmetric"
        assert result["userDataStream"] is False
        assert result["authorizedSince"] >= result["connectedSince"]
        assert (await socket.ask(request(SUBSCRIBE)))["result"] == {"subscriptionId": 0}
        assert (await socket.ask(signed(SIGNED)))["result"] == {"subscriptionId": 1}
        assert (await socket.ask(request(SUBSCRIBE)))["error"]["code"] == -2035
        assert (await socket.ask(request("session.status")))["result"]["userDataStream"] is True
        exchange.step(VENUE)
        assert {one["subscriptionId"] for one in await socket.take(2)} <= {0, 1}
        await asyncio.sleep(0)
        await socket.send(request("session.logout", "out"))
        while (message := await socket.next()).get("id") != "out":  # only what was opened by logon ends
            if message["event"]["e"] == "eventStreamTerminated":
                assert message["subscriptionId"] == 0
        assert message["result"]["apiKey"] is None
        assert (await socket.ask(request("session.subscriptions")))["result"] == [{"subscriptionId": 1}]
        await socket.close()


# ---- Subscriptions ----


@is_async
async def test_unsubscribe():
    async with serving(VENUE) as (exchange, client):
        socket = await subscribed(client)
        assert (await socket.ask(signed(SIGNED)))["error"]["code"] == -2035
        wrong = await socket.ask(request("userDataStream.unsubscribe", subscriptionId=7))
        assert wrong["error"]["code"] == -2036
        await socket.send(request("userDataStream.unsubscribe", 2, subscriptionId=0))
        ended, answer = await socket.take(2)
        assert (ended["subscriptionId"], ended["event"]["e"]) == (0, "eventStreamTerminated")
        assert (answer["id"], answer["result"]) == (2, {})
        assert (await socket.ask(request("userDataStream.unsubscribe")))["error"]["code"] == -2036
        exchange.step(VENUE, 5)
        await socket.quiet()
        assert (await socket.ask(signed(SIGNED)))["result"] == {"subscriptionId": 1}  # ids are not used again
        assert (await socket.ask(request("session.subscriptions")))["result"] == [{"subscriptionId": 1}]
        await socket.close()


@is_async
async def test_many_accounts():
    """A thousand subscriptions at once, 65,535 in a connection's life; here fewer."""
    keys = [ApiKey(f"k{n}", Verifier(secret="s")) for n in range(4)]
    options = Options(subscriptions=3, lifetime_subscriptions=5)
    async with serving(VENUE, keys=keys, options=options) as (exchange, client):
        socket = await client.ws(VENUE, PATH)
        for n in range(3):
            assert (await socket.ask(signed(SIGNED, key=f"k{n}", secret="s")))["result"]["subscriptionId"] == n
        assert (await socket.ask(signed(SIGNED, key="k3", secret="s")))["error"]["code"] == -1034
        exchange.step(VENUE)
        event = exchange.connections[0].counts["events"]
        assert {one["subscriptionId"] for one in await socket.take(event)} == {0, 1, 2}
        await socket.send(request("userDataStream.unsubscribe", "all"))
        messages = await socket.take(4)
        assert [one["event"]["e"] for one in messages[:3]] == ["eventStreamTerminated"] * 3
        for n in range(2):
            assert (await socket.ask(signed(SIGNED, key=f"k{n}", secret="s")))["result"]["subscriptionId"] == 3 + n
        assert (await socket.ask(signed(SIGNED, key="k3", secret="s")))["error"]["code"] == -2042
        await socket.close()


def test_documented_limits():
    assert (Options().subscriptions, Options().lifetime_subscriptions) == (1_000, 65_535)
    assert (Options().ws_api_ping, Options().ws_api_pong, Options().connection_life) == (20, 60, 86_400)


@is_async
async def test_listen_token():
    async with serving(VENUE, faults=Faults(key_life=2)) as (exchange, client):
        status, error = await client.rest("POST", "/sapi/v1/userListenToken")
        assert (status, error["code"]) == (401, -2014)
        status, error = await client.rest("POST", "/sapi/v1/userListenToken", headers={"X-MBX-APIKEY": "x"})
        assert (status, error["code"]) == (401, -2015)
        _, answer = await client.rest("POST", "/sapi/v1/userListenToken", headers={"X-MBX-APIKEY": KEY})
        socket = await client.ws(VENUE, PATH)
        method = "userDataStream.subscribe.listenToken"
        assert (await socket.ask(request(method, listenToken="x")))["error"]["code"] == -1209
        accepted = await socket.ask(request(method, listenToken=answer["token"]))
        assert accepted["result"] == {"subscriptionId": 0, "expirationTime": answer["expirationTime"]}
        listed = await socket.ask(request("session.subscriptions"))
        assert listed["result"] == [{"subscriptionId": 0, "expirationTime": answer["expirationTime"]}]
        ended = await socket.next()  # no request renews a token
        assert (ended["subscriptionId"], ended["event"]["e"]) == (0, "eventStreamTerminated")
        assert (await socket.ask(request(method, listenToken=answer["token"])))["error"]["code"] == -1209
        exchange.step(VENUE)
        await socket.quiet()
        await socket.close()


@is_async
async def test_a_new_listen_token_prolongs_what_an_older_one_opened():
    async with serving(VENUE) as (exchange, client):

        async def subscribe(**params):
            path, headers = "/sapi/v1/userListenToken", {"X-MBX-APIKEY": KEY}
            _, answer = await client.rest("POST", path, headers=headers, params=params)
            accepted = await socket.ask(request("userDataStream.subscribe.listenToken", listenToken=answer["token"]))
            assert accepted["result"]["expirationTime"] == answer["expirationTime"]
            return accepted["result"]

        socket = await client.ws(VENUE, PATH)
        first = await subscribe(validity=1_500)
        second = await subscribe(validity=60_000)
        assert first["subscriptionId"] == second["subscriptionId"] == 0
        # Isolated margin is an account of its own, and so is Spot.
        isolated = await subscribe(symbol="BTCUSDT", isIsolated="true")
        assert isolated["subscriptionId"] == 1
        assert (await socket.ask(signed(SIGNED)))["result"] == {"subscriptionId": 2}
        assert (await socket.ask(signed(SIGNED)))["error"]["code"] == -2035
        listed = (await socket.ask(request("session.subscriptions")))["result"]
        assert [one.get("expirationTime") for one in listed] == [
            second["expirationTime"], isolated["expirationTime"], None,
        ]  # fmt: skip
        await asyncio.sleep(2)  # longer than the first token's life
        await socket.quiet()
        exchange.step(VENUE)
        assert (await socket.next())["subscriptionId"] == 0
        await socket.close()


# ---- Requests ----


@is_async
async def test_requests():
    async with serving(VENUE) as (_, client):
        socket = await client.ws(VENUE, PATH)
        for message, number, code in [
            ("no json", None, -1135),
            ("[1]", None, -1135),
            ({"id": 1.5, "method": "ping"}, None, -1100),
            ({"id": "x" * 37, "method": "ping"}, None, -1100),
            ({"id": "x" * 36}, "x" * 36, -1102),
            ({"id": 1, "method": "ping", "params": [1]}, 1, -1102),
            ({"id": 1, "method": "order.place"}, 1, -1020),
            ({"id": 1, "method": "userdataStream.subscribe"}, 1, -1020),  # as some documentation spells it
        ]:
            answer = await socket.ask(message)
            assert (answer["status"], answer["error"]["code"]) == (400, code)
            assert answer["id"] == number or code == -1100
        assert (await socket.ask(request("ping", None)))["result"] == {}
        assert abs((await socket.ask(request("time")))["result"]["serverTime"] - now()) < 60_000
        assert len((await socket.ask(request("exchangeInfo")))["result"]["symbols"]) == 8
        status = (await socket.ask(request("session.status")))["result"]
        assert (status["apiKey"], status["authorizedSince"], status["userDataStream"]) == (None, None, False)
        await socket.close()


@is_async
async def test_weight():
    async with serving(VENUE, options=Options(weight=22)) as (_, client):
        socket = await client.ws(VENUE, PATH)
        statuses = [(await socket.ask(request("session.status")))["status"] for _ in range(13)]
        assert statuses == [200] * 10 + [429] + [418] * 2
        error = (await socket.ask(request("ping")))["error"]
        assert error["code"] == -1003
        assert error["data"]["retryAfter"] > error["data"]["serverTime"]
        await socket.close()


@is_async
async def test_connection_attempts():
    async with serving(VENUE, options=Options(connections=2)) as (_, client):
        sockets = [await client.ws(VENUE, PATH) for _ in range(2)]
        assert await client.refused(PATH) == 429
        for socket in sockets:
            await socket.close()


@is_async
async def test_no_deflate():
    async with serving(VENUE) as (exchange, client):
        socket = await client.ws(VENUE, PATH, compress=15)
        assert socket.socket.compress == 0
        assert (await socket.ask(request("ping")))["status"] == 200
        await socket.close()
        assert await client.refused("/nowhere") == 404
        assert (await client.rest("GET", "/api/v3/nobody/knows"))[1] == {}
        assert exchange.requests == [("GET", "/api/v3/nobody/knows")]


@is_async
async def test_listen_keys_are_gone():
    async with serving(VENUE) as (_, client):
        socket = await client.ws(VENUE, PATH)
        for name in ("start", "ping", "stop"):
            answer = await socket.ask(request(f"userDataStream.{name}", apiKey=KEY))
            assert (answer["status"], answer["error"]["code"]) == (410, -1020)
        assert (await client.rest("POST", "/api/v3/userDataStream", headers={"X-MBX-APIKEY": KEY}))[0] == 410
        await socket.close()


@is_async
async def test_listen_keys_of_an_older_exchange():
    async with serving(VENUE, options=Options(spot_listen_keys=1)) as (exchange, client):
        socket = await client.ws(VENUE, PATH)
        refused = await socket.ask(request("userDataStream.start", apiKey="x"))
        assert (refused["status"], refused["error"]["code"]) == (401, -2015)
        assert (await socket.ask(request("userDataStream.ping", apiKey=KEY)))["error"]["code"] == -1125
        key = (await socket.ask(request("userDataStream.start", apiKey=KEY)))["result"]["listenKey"]
        for name in ("ping", "stop"):
            answer = await socket.ask(request(f"userDataStream.{name}", apiKey=KEY, listenKey=key))
            assert answer["response"] == {}  # where all others say `result`
        _, answer = await client.rest("POST", "/api/v3/userDataStream", headers={"X-MBX-APIKEY": KEY})
        bare = await client.ws(VENUE, f"/ws/{answer['listenKey']}")
        combined = await client.ws(VENUE, f"/stream?streams={answer['listenKey']}")
        exchange.step(VENUE)
        event = await bare.next()
        assert await combined.next() == {"stream": answer["listenKey"], "data": event}
        exchange.streams.expire()
        while event["e"] != "listenKeyExpired":
            event = await bare.next()
        assert isinstance(event["E"], int)
        for one in (socket, bare, combined):
            await one.close()


# ---- Heartbeat ----


@is_async
async def test_pings_and_pongs():
    async with serving(VENUE, options=Options(ws_api_ping=0.2, ws_api_pong=2)) as (exchange, client):
        answering = await client.ws(VENUE, PATH)
        silent = await client.ws(VENUE, PATH, autoping=False)
        task = asyncio.create_task(answering.code())
        assert await silent.code() == 1008
        assert not task.done()
        assert exchange.connections[0].counts["pongs received"] > 1
        assert exchange.connections[1].counts["pongs received"] == 0
        await asyncio.sleep(0.2)
        assert not task.done()
        await answering.close()
        await task


@is_async
async def test_a_day_is_over():
    async with serving(VENUE, options=Options(connection_life=0.1)) as (_, client):
        socket = await client.ws(VENUE, PATH)
        assert await socket.code() == 1001


# ---- SBE ----


@is_async
async def test_sbe():
    query = "?responseFormat=sbe&sbeSchemaId=3&sbeSchemaVersion=5"
    async with serving(VENUE, start=START) as (exchange, client):
        socket = await client.ws(VENUE, PATH + query)
        decoder = execwire.Decoder(VENUE)

        async def notice(message):
            await socket.send(message)
            (record,) = decoder.decode(await socket.raw())
            return record

        assert (await notice(request("session.status"))).code == "response"
        record = await notice(signed(SIGNED, "abc"))
        assert (record.code, record.subscription_id, record.request_id) == ("subscribed", 0, "abc")
        assert (await notice(request("session.subscriptions"))).subscription_id == 0
        assert (await notice(request("nothing"))).error_code == "-1020"
        assert (await notice("no json")).error_code == "-1135"
        exchange.step(VENUE, 30)
        log = exchange.connections[0].log
        for expected in log:
            assert await socket.raw() == expected
        records = [record for frame in log for record in decoder.decode(frame)]
        assert {one.event for one in records} >= {"executionReport", "outboundAccountPosition"}
        assert {one.subscription_id for one in records} == {0}
        assert records[0].ts_event // 10**6 == exchange.market(VENUE).history[0].at
        await socket.send(request("userDataStream.unsubscribe"))
        assert decoder.decode(await socket.raw())[0].code == "stream_terminated"
        await socket.close()


@is_async
async def test_sbe_versions():
    async with serving(VENUE) as (_, client):
        for query, status in [
            ("sbeSchemaId=3&sbeSchemaVersion=0", 400),  # retired
            ("sbeSchemaId=2&sbeSchemaVersion=1", 400),
            ("sbeSchemaId=3&sbeSchemaVersion=6", 400),
            ("sbeSchemaId=three&sbeSchemaVersion=5", 400),
            ("sbeSchemaId=3", 400),
        ]:
            assert await client.refused(f"{PATH}?responseFormat=sbe&{query}") == status
        assert await client.refused(f"{PATH}?responseFormat=xml") == 400
        for version, deprecated in ((2, True), (4, True), (5, False)):
            socket = await client.ws(VENUE, f"{PATH}?responseFormat=sbe&sbeSchemaId=3&sbeSchemaVersion={version}")
            await socket.send(request("ping"))
            frame = await socket.raw()
            assert frame[4:8] == bytes((3, 0, 5, 0))  # the newest, whatever was asked for
            assert bool(frame[8]) is deprecated
            await socket.close()


# ---- REST ----


@is_async
async def test_rest_agrees_with_the_stream():
    async with serving(VENUE, start=START) as (exchange, client):
        socket = await subscribed(client)
        exchange.step(VENUE, 200)
        events = [json.loads(one)["event"] for one in exchange.connections[0].log]
        reports = [one for one in events if one["e"] == "executionReport"]
        _, account = await client.signed("GET", "/api/v3/account")
        balances = {one["asset"]: (one["free"], one["locked"]) for one in account["balances"]}
        told = {row["a"]: (row["f"], row["l"]) for one in events if "B" in one for row in one["B"]}
        assert told.items() <= balances.items()
        last = {one["i"]: one for one in reports}
        alive = {number for number, one in last.items() if one["X"] in ("NEW", "PARTIALLY_FILLED")}
        _, orders = await client.signed("GET", "/api/v3/openOrders")
        assert {one["orderId"] for one in orders} == alive
        assert all(one["executedQty"] == last[one["orderId"]]["z"] for one in orders)
        _, trades = await client.signed("GET", "/api/v3/myTrades", symbol="BTCUSDT")
        fills = [one for one in reports if one["x"] == "TRADE" and one["s"] == "BTCUSDT"]
        assert [(one["id"], one["qty"]) for one in trades] == [(one["t"], one["l"]) for one in fills]
        _, later = await client.signed("GET", "/api/v3/myTrades", symbol="BTCUSDT", fromId=fills[3]["t"], limit=2)
        assert [one["id"] for one in later] == [one["t"] for one in fills[3:5]]
        _, every = await client.signed("GET", "/api/v3/allOrders", symbol="BTCUSDT")
        assert {one["orderId"]: one["status"] for one in every} == {
            number: one["X"] for number, one in last.items() if one["s"] == "BTCUSDT"
        }
        assert (await client.rest("GET", "/api/v3/exchangeInfo"))[1]["symbols"][0]["symbol"] == "BTCUSDT"
        assert abs((await client.rest("GET", "/api/v3/time"))[1]["serverTime"] - now()) < 60_000
        await socket.close()


@is_async
async def test_rest_refuses():
    async with serving(VENUE) as (_, client):
        for options, status, code in [
            ({"key": "x"}, 401, -2015),
            ({"secret": "x"}, 400, -1022),
            ({"timestamp": now() - 10_000}, 400, -1021),
            ({"timestamp": "x"}, 400, -1102),
        ]:
            got, answer = await client.signed("GET", "/api/v3/account", **options)
            assert (got, answer["code"]) == (status, code)
        assert (await client.rest("GET", "/api/v3/account"))[1]["code"] == -2014
        unsigned = await client.rest("GET", "/api/v3/account?timestamp=1", headers={"X-MBX-APIKEY": KEY})
        assert unsigned[1]["code"] == -1102
        assert (await client.signed("GET", "/api/v3/myTrades"))[1]["code"] == -1102


@is_async
async def test_the_account_over_the_websocket_api():
    """The same answers as over REST; signed, or after a logon."""
    async with serving(VENUE, start=START) as (exchange, client):
        exchange.step(VENUE, 300)
        socket = await client.http.ws_connect(client.ws_origin + PATH)  # answers of no stream: none of the dialect's

        async def ask(message):
            await socket.send_json(message)
            return await socket.receive_json(timeout=10)

        for method, path, params in (
            ("account.status", "account", {}),
            ("openOrders.status", "openOrders", {}),
            ("openOrders.status", "openOrders", {"symbol": "BTCUSDT"}),
            ("allOrders", "allOrders", {"symbol": "BTCUSDT"}),
            ("myTrades", "myTrades", {"symbol": "BTCUSDT", "limit": 5}),
        ):
            answer = await ask(signed(method, **params))
            status, wanted = await client.signed("GET", f"/api/v3/{path}", **params)
            assert answer["status"] == status == 200
            if path == "account":
                answer["result"].pop("updateTime", None)
                wanted.pop("updateTime", None)
            assert answer["result"] == wanted
            assert wanted
        for message, code in (
            (request("account.status"), -1102),
            (signed("account.status", secret="x"), -1022),
            (signed("allOrders"), -1102),
            (signed("myTrades", symbol="BTCUSDT", limit="x"), -1102),
        ):
            assert (await ask(message))["error"]["code"] == code
        await socket.close()


@is_async
async def test_fees():
    async with serving(VENUE) as (exchange, client):
        _, fees = await client.signed("GET", "/sapi/v1/asset/tradeFee")
        assert {one["symbol"] for one in fees} == {one.name for one in exchange.market(VENUE).instruments}
        _, fees = await client.signed("GET", "/sapi/v1/asset/tradeFee", symbol="BTCUSDT")
        assert [one["symbol"] for one in fees] == ["BTCUSDT"]


@is_async
async def test_listen_keys_of_margin_are_gone():
    async with serving(VENUE) as (_, client):
        status, answer = await client.rest("POST", "/sapi/v1/userDataStream", headers={"X-MBX-APIKEY": KEY})
        assert (status, answer["code"]) == (410, -1020)


@is_async
async def test_used_weight():
    async with serving(VENUE) as (_, client):
        for count in (1, 2):
            async with client.http.get(f"{client.origin}/api/v3/ping") as answer:
                assert answer.headers["X-MBX-USED-WEIGHT"] == answer.headers["X-MBX-USED-WEIGHT-1M"] == str(count)
