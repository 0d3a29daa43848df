"""Bitget at the local exchange: logins of both readings, channels of every form, codes, limits, REST."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import time

import pytest
from exchanges import KEY, PASSPHRASE, SECRET, START, is_async, now, serving

from execwire.auth import Credentials, Verifier
from execwire.exchange import ApiKey, Options

V2, UTA, SPOT_V1, MIX_V1 = "/v2/ws/private", "/v3/ws/private", "/spot/v1/stream", "/mix/v1/stream"
VENUES = {V2: "bitget", UTA: "bitget", SPOT_V1: "bitget-v1", MIX_V1: "bitget-v1"}


def login(form: str = "base64", unit: int = 1, at: float | None = None, as_number: bool = False, **changes: object):
    timestamp = str(int((time.time() if at is None else at) * unit))
    digest = hmac.new(SECRET.encode(), f"{timestamp}GET/user/verify".encode(), hashlib.sha256).digest()
    sign = base64.b64encode(digest).decode() if form == "base64" else digest.hex()
    arg = {"apiKey": KEY, "passphrase": PASSPHRASE, "timestamp": timestamp, "sign": sign}
    if as_number:
        arg["timestamp"] = int(timestamp)
    return {"op": "login", "args": [arg | changes]}


def subscribe(*args: dict[str, str], op: str = "subscribe") -> dict[str, object]:
    return {"op": op, "args": list(args)}


def classic(channel: str, kind: str = "SPOT", **where: str) -> dict[str, str]:
    return {"instType": kind, "channel": channel} | (
        where or ({"coin": "default"} if channel.startswith("account") else {"instId": "default"})
    )


async def logged_in(client, path: str = V2):
    socket = await client.ws(VENUES[path], path)
    assert (await socket.ask(login()))["code"] == 0
    return socket


# ---- Login ----


@pytest.mark.parametrize("path", VENUES)
@pytest.mark.parametrize("form", ["base64", "hex"])
@pytest.mark.parametrize("unit", [1, 1000])
@is_async
async def test_login(path, form, unit):
    async with serving(VENUES[path]) as (_, client):
        socket = await client.ws(VENUES[path], path)
        answer = await socket.ask(login(form, unit))
        assert (answer["event"], answer["code"]) == ("login", 0)
        assert ("connId" in answer) is (VENUES[path] == "bitget")
        assert (await socket.ask(login(form, unit, as_number=True)))["code"] == 0
        await socket.close()


@pytest.mark.parametrize("path", [V2, UTA, MIX_V1])
@is_async
async def test_refused_logins(path):
    async with serving(VENUES[path]) as (exchange, client):
        socket = await client.ws(VENUES[path], path)
        old, early = time.time() - 31, time.time() + 40
        for message, code in [
            (login(apiKey="x"), 30011),
            (login(passphrase="x"), 30012),
            (login(timestamp="x"), 30013),
            (login(at=old), 30014),
            (login(at=early), 30014),
            (login(unit=1000, at=old), 30014),
            (login(sign="x"), 30015),
            (login(sign=login()["args"][0]["sign"][:-2]), 30015),
            (login(sign=login()["args"][0]["sign"].lower()), 30015),
            ({"op": "login", "args": []}, 30016),
            (subscribe(classic("orders")), 30004),
        ]:
            answer = await socket.ask(message)
            assert answer["event"] == "error"
            assert answer["code"] == (str(code) if path == UTA else code)
            await asyncio.sleep(0.11)  # no more than ten a second
        assert exchange.open_connections()  # a failed login does not close the connection
        await socket.close()


@is_async
async def test_rsa_login():
    pytest.importorskip("cryptography")
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    formats = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    pem = private.private_bytes(serialization.Encoding.PEM, *formats)
    public = private.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    async with serving("bitget", keys=[ApiKey("r", Verifier(public_key=public), "pp")]) as (_, client):
        socket = await client.ws("bitget", V2)
        at = str(int(time.time()))
        sign = Credentials("r", private_key=pem).sign(f"{at}GET/user/verify")
        assert (await socket.ask(login(apiKey="r", timestamp=at, sign=sign)))["code"] == 0
        assert (await socket.ask(login(apiKey="r", timestamp=at, sign="x")))["code"] == 30015
        await socket.close()


# ---- Channels ----


@is_async
async def test_classic_channels():
    async with serving("bitget", start=START) as (exchange, client):
        socket = await logged_in(client)
        args = [classic(one) for one in ("orders", "fill", "account")]
        args += [classic(one, "USDT-FUTURES") for one in ("orders", "fill", "account", "positions")]
        args += [classic("equity", "USDT-FUTURES"), classic("orders-algo"), classic("orders", "USDC-FUTURES")]
        await socket.send(subscribe(*args))
        first = await socket.take(len(args) + 3)
        assert [one["arg"] for one in first if one.get("event") == "subscribe"] == args
        snapshots = [(one["arg"]["instType"], one["arg"]["channel"]) for one in first if "data" in one]
        assert snapshots == [("SPOT", "account"), ("USDT-FUTURES", "account"), ("USDT-FUTURES", "positions")]
        assert [one["data"] for one in first if "data" in one][-1] == []  # flat
        exchange.step("bitget", 60, "spot")
        exchange.step("bitget", 60, "linear")
        pushes = await socket.take(len(exchange.connections[0].log) - 3)
        seen = {(one["arg"]["instType"], one["arg"]["channel"]) for one in pushes}
        assert seen == {(one["instType"], one["channel"]) for one in args[:7]}
        actions = {(one["arg"]["instType"], one["arg"]["channel"], one["action"]) for one in pushes}
        assert ("SPOT", "account", "update") in actions
        assert {one[2] for one in actions if one[0] != "SPOT" or one[1] != "account"} == {"snapshot"}
        spot = [one["data"][0] for one in pushes if one["arg"] == args[0]]
        futures = [one["data"][0] for one in pushes if one["arg"] == args[3]]
        assert "cancelled" in {one["status"] for one in spot} | {"cancelled"}
        assert not {one["status"] for one in spot} & {"canceled"}
        assert not {one["status"] for one in futures} & {"cancelled"}
        assert {one["tradeScope"] for one in spot if "tradeScope" in one} <= {"T", "M"}
        assert all(float(one["fillFee"]) <= 0 for one in spot + futures if "fillFee" in one)
        fills = [one["data"][0] for one in pushes if one["arg"] == args[1]]
        assert [one["tradeId"] for one in fills] == [one["tradeId"] for one in spot if "tradeId" in one]
        await socket.close()


@is_async
async def test_one_pair():
    async with serving("bitget") as (exchange, client):
        socket = await logged_in(client)
        await socket.ask(subscribe(classic("orders", instId="ETHUSDT")))
        exchange.step("bitget", 100, "spot")
        pushes = await socket.take(len(exchange.connections[0].log))
        assert {row["instId"] for one in pushes for row in one["data"]} == {"ETHUSDT"}
        await socket.close()


@is_async
async def test_coin_futures():
    async with serving("bitget") as (exchange, client):
        socket = await logged_in(client)
        await socket.ask(subscribe(classic("orders", "COIN-FUTURES")))
        exchange.step("bitget", 3, "inverse")
        assert (await socket.next())["data"][0]["marginCoin"] in ("BTC", "ETH", "SOL")
        await socket.close()


@is_async
async def test_unified_account():
    async with serving("bitget") as (exchange, client):
        socket = await logged_in(client, UTA)
        topics = ["order", "fill", "fast-fill", "position", "account"]
        await socket.send(subscribe(*({"instType": "UTA", "topic": one} for one in topics)))
        first = await socket.take(7)
        assert all("connId" in one for one in first if "event" in one)
        assert [one["action"] for one in first if "data" in one] == ["snapshot", "snapshot"]
        exchange.step("bitget", 60, "linear")
        pushes = await socket.take(len(exchange.connections[0].log) - 2)
        actions = {(one["arg"]["topic"], one["action"]) for one in pushes}
        assert actions == {
            ("order", "snapshot"),
            ("fill", "snapshot"),
            ("fast-fill", "snapshot"),
            ("account", "update"),
            ("position", "update"),
        }
        assert all(isinstance(one["data"], dict) == (one["arg"]["topic"] == "fast-fill") for one in pushes)
        assert next(iter(pushes[0])) == "data"  # keys in another order than the classic account's
        assert {one["data"][0]["category"] for one in pushes if one["arg"]["topic"] == "order"} == {"usdt-futures"}
        assert {one["data"][0]["category"] for one in pushes if one["arg"]["topic"] == "fill"} == {"USDT-FUTURES"}
        for arg in ({"instType": "uta", "topic": "order"}, {"instType": "UTA", "topic": "orders"}):
            assert (await socket.ask(subscribe(arg)))["code"] == "30001"
        await socket.close()


@is_async
async def test_v1():
    async with serving("bitget-v1") as (exchange, client):
        spot, mix = await logged_in(client, SPOT_V1), await logged_in(client, MIX_V1)
        assert (await spot.ask(login())).keys() == {"event", "code"}
        args = [
            {"instType": "SPBL", "channel": "account", "instId": "default"},
            {"instType": "spbl", "channel": "orders", "instId": "BTCUSDT_SPBL"},
        ]
        await spot.send(subscribe(*args))
        assert [one.get("event") for one in await spot.take(3)] == ["subscribe", None, "subscribe"]
        exchange.step("bitget-v1", 60, "spot")
        pushes = await spot.take(len(exchange.connections[0].log) - 1)
        orders = [row for one in pushes if one["arg"]["channel"] == "orders" for row in one["data"]]
        assert {row["instId"] for row in orders} == {"BTCUSDT_SPBL"}
        assert {type(row["cTime"]) for row in orders} == {int}
        futures = [
            {"instType": "UMCBL", "channel": one, "instId": "default"} for one in ("orders", "account", "positions")
        ]
        await mix.send(subscribe(*futures))
        await mix.take(5)
        exchange.step("bitget-v1", 60, "linear")
        pushes = await mix.take(len(exchange.connections[1].log) - 2)
        assert {one["action"] for one in pushes} == {"snapshot"}
        rows = {one["arg"]["channel"]: one["data"][-1] for one in pushes if one["data"]}
        assert rows["orders"]["instId"].endswith("_UMCBL")
        assert (type(rows["positions"]["leverage"]), type(rows["positions"]["cTime"])) == (int, str)
        for arg in (
            {"instType": "umcbl", "channel": "orders"},
            {"instType": "umcbl", "channel": "orders", "instId": "BTCUSDT_UMCBL"},
            {"instType": "umcbl", "channel": "trades", "instId": "default"},
            {"instType": "nothing", "channel": "orders", "instId": "default"},
            {"instType": "spbl", "channel": "positions", "instId": "default"},
        ):
            assert (await mix.ask(subscribe(arg)))["code"] == 30001
        for socket in (spot, mix):
            await socket.close()


@is_async
async def test_v1_with_the_other_names():
    async with serving("bitget-v1") as (exchange, client):
        socket = await logged_in(client, SPOT_V1)
        kinds = [("account", "SPOT"), ("orders", "SPOT"), ("trades", "SPOT"), ("positions", "MARGIN")]
        await socket.send(subscribe(*({"channel": name, "instType": kind} for name, kind in kinds)))
        await socket.take(6)
        exchange.step("bitget-v1", 60, "spot")
        exchange.step("bitget-v1", 60, "linear")
        pushes = await socket.take(len(exchange.connections[0].log) - 2)
        rows = {one["arg"]["channel"]: (one["action"], one["data"][0]) for one in pushes}
        assert rows["account"][0] == rows["positions"][0] == "snapshot"
        assert rows["orders"][0] == rows["trades"][0] == "update"
        assert rows["orders"][1].keys() >= {"orderId", "symbol", "quantity", "remainingQuantity", "timestamp"}
        assert rows["positions"][1].keys() >= {"positionAmt", "unRealizedProfit", "marginType"}
        assert rows["trades"][1].keys() >= {"feeCurrency", "quantity"}
        assert not rows["account"][1]["coinId"].isdigit()  # the asset's name
        assert (await socket.ask(subscribe({"channel": "fills", "instType": "SPOT"})))["code"] == 30001
        await socket.close()


@is_async
async def test_unsubscribe():
    async with serving("bitget") as (exchange, client):
        socket = await logged_in(client)
        arg = classic("orders")
        await socket.ask(subscribe(arg))
        assert await socket.ask(subscribe(arg, op="unsubscribe")) == {"event": "unsubscribe", "arg": arg}
        exchange.step("bitget", 5, "spot")
        await socket.quiet()


# ---- Wrong requests, and limits ----


@is_async
async def test_wrong_requests():
    async with serving("bitget", options=Options(bitget_messages=1_000)) as (_, client):
        socket = await logged_in(client)
        for message, code in [
            ("no json", 30002),
            ("[]", 30002),
            ({"op": "jump"}, 30003),
            ({"op": 7}, 30003),
            ({}, 30003),
            ({"op": "subscribe"}, 30016),
            ({"op": "subscribe", "args": [7]}, 30016),
            (subscribe({"instType": "SPOT", "channel": "orders"}), 30001),
            (subscribe(classic("trades")), 30001),
            (subscribe(classic("orders", "spot")), 30001),
            (subscribe(classic("account", instId="default")), 30001),
            (subscribe(classic("positions", "USDT-FUTURES", instId="BTCUSDT")), 30001),
            (subscribe(*(classic("orders", instId=f"PAIR{n}") for n in range(100))), 30016),
        ]:
            answer = await socket.ask(message)
            assert (answer["event"], answer["code"]) == ("error", code)
        await socket.close()


@is_async
async def test_too_many_messages():
    assert (Options().bitget_messages, Options().bitget_subscribes, Options().bitget_channels) == (10, 240, 1_000)
    async with serving("bitget") as (_, client):
        socket = await logged_in(client)
        for _ in range(10):
            await socket.send("ping")
        messages = await socket.until(lambda message: message != "pong")
        assert messages[-1]["code"] == 30007
        assert await socket.code() == 1008


@is_async
async def test_too_many_subscribe_requests():
    options = Options(bitget_messages=1_000, bitget_subscribes=3, bitget_channels=2)
    async with serving("bitget", options=options) as (_, client):
        socket = await logged_in(client)
        for pair in ("A", "B"):
            assert (await socket.ask(subscribe(classic("orders", instId=pair))))["event"] == "subscribe"
        assert (await socket.ask(subscribe(classic("orders", instId="C"))))["code"] == 30016
        assert (await socket.ask(subscribe(classic("orders", instId="A"))))["code"] == 30006
        await socket.close()


# ---- Heartbeat ----


@is_async
async def test_heartbeat():
    assert Options().bitget_silence == 120
    async with serving("bitget", "bitget-v1", options=Options(bitget_silence=3)) as (_, client):
        sockets = [await client.ws(VENUES[path], path) for path in (V2, V2, MIX_V1)]
        closed = asyncio.create_task(sockets[1].code())
        for n in range(6):
            await asyncio.sleep(0.6)
            assert await sockets[0].ask("ping") == "pong"
            assert await sockets[2].ask({"op": "ping"}) == "pong"  # the other reading
            if n < 3:
                await sockets[1].socket.ping()  # ping frames do not count
        assert await closed == 1000
        for socket in sockets:
            await socket.close()


@is_async
async def test_json_ping_as_documented():
    async with serving("bitget", options=Options(bitget_json_ping="error")) as (_, client):
        socket = await client.ws("bitget", V2)
        assert (await socket.ask({"op": "ping"}))["code"] == 30003
        await socket.close()


# ---- REST ----


async def rest(client, path: str, **changes: str):
    headers = {"ACCESS-KEY": KEY, "ACCESS-PASSPHRASE": PASSPHRASE, "ACCESS-TIMESTAMP": str(now())} | changes
    text = f"{headers['ACCESS-TIMESTAMP']}GET{path}"
    digest = hmac.new(SECRET.encode(), text.encode(), hashlib.sha256).digest()
    return await client.rest("GET", path, headers={"ACCESS-SIGN": base64.b64encode(digest).decode()} | headers)


@is_async
async def test_rest_agrees_with_the_stream():
    async with serving("bitget") as (exchange, client):
        socket = await logged_in(client)
        await socket.send(subscribe(classic("orders"), classic("account"), classic("positions", "USDT-FUTURES")))
        await socket.take(5)
        exchange.step("bitget", 150, "spot")
        exchange.step("bitget", 150, "linear")
        pushes = [json.loads(one) for one in exchange.connections[0].log]
        status, answer = await rest(client, "/api/v2/spot/account/assets")
        assert (status, answer["code"]) == (200, "00000")
        told = {row["coin"]: row["available"] for one in pushes if one["arg"]["channel"] == "account"
                for row in one["data"]}  # fmt: skip
        assert told == {row["coin"]: row["available"] for row in answer["data"]}
        rows = [row for one in pushes if one["arg"]["channel"] == "orders" for row in one["data"]]
        last = {row["orderId"]: row["status"] for row in rows}
        _, answer = await rest(client, "/api/v2/spot/trade/unfilled-orders")
        assert {row["orderId"] for row in answer["data"]} == {
            number for number, state in last.items() if state in ("live", "partially_filled")
        }
        _, answer = await rest(client, "/api/v2/spot/trade/fills?symbol=BTCUSDT")
        assert [row["tradeId"] for row in answer["data"]] == [
            row["tradeId"] for row in rows if "tradeId" in row and row["instId"] == "BTCUSDT"
        ]
        positions = [one for one in pushes if one["arg"]["channel"] == "positions"][-1]["data"]
        _, answer = await rest(client, "/api/v2/mix/position/all-position?productType=USDT-FUTURES")
        assert {row["posId"]: row["total"] for row in answer["data"]} == {
            row["posId"]: row["total"] for row in positions
        }
        _, answer = await rest(client, "/api/v2/mix/order/orders-pending?productType=USDT-FUTURES")
        assert len(answer["data"]["entrustedList"]) == len(exchange.market("bitget", "linear").orders)
        _, answer = await rest(client, "/api/v2/mix/order/fills?productType=USDT-FUTURES")
        assert answer["data"]["fillList"]
        _, answer = await rest(client, "/api/v2/mix/account/accounts?productType=USDT-FUTURES")
        assert [row["marginCoin"] for row in answer["data"]] == ["USDT"]
        assert (await rest(client, "/api/v2/mix/account/accounts?productType=SPOT"))[1]["code"] == "40020"
        for path in ("spot/public/coins", "spot/public/symbols", "mix/market/contracts"):
            assert (await client.rest("GET", f"/api/v2/{path}"))[1]["data"]
        await socket.close()


@is_async
async def test_unified_account_over_rest():
    async with serving("bitget") as (exchange, client):
        for category, kind in (("SPOT", "spot"), ("USDT-FUTURES", "linear"), ("COIN-FUTURES", "inverse")):
            status, answer = await client.rest("GET", f"/api/v3/market/instruments?category={category}")
            assert (status, answer["code"]) == (200, "00000")
            wanted = {one.name: one for one in exchange.market("bitget", kind).instruments}
            assert {one["symbol"] for one in answer["data"]} == set(wanted)
            for one in answer["data"]:
                assert one["category"] == category
                assert one["pricePrecision"] == str(wanted[one["symbol"]].price_digits)
        for path in ("/api/v3/market/instruments?category=USDC-FUTURES",
                     "/api/v2/mix/market/contracts?productType=USDC-FUTURES"):  # fmt: skip
            assert (await client.rest("GET", path))[1]["data"] == []
        assert (await client.rest("GET", "/api/v3/market/instruments?category=X"))[1]["code"] == "40020"
        assert (await rest(client, "/api/v3/account/settings"))[1]["data"]["accountMode"] == "unified"
        assert (await rest(client, "/api/v3/account/settings", **{"ACCESS-SIGN": "x"}))[1]["code"] == "40009"


@is_async
async def test_rest_of_the_unified_account_agrees_with_the_stream():
    async with serving("bitget") as (exchange, client):
        socket = await logged_in(client, "/v3/ws/private")
        topics = ("order", "fill", "account", "position")
        await socket.send(subscribe(*({"instType": "UTA", "topic": topic} for topic in topics)))
        await socket.take(6)
        for market in ("spot", "linear"):
            exchange.step("bitget", 150, market)
        pushes = [json.loads(one) for one in exchange.connections[0].log]

        def told(topic: str, key: str) -> dict[str, dict[str, str]]:
            return {row[key]: row for one in pushes if one["arg"].get("topic") == topic for row in one["data"]}

        _, answer = await rest(client, "/api/v3/account/assets")
        held = {row["coin"]: row["available"] for row in answer["data"]["assets"]}
        coins = {row["coin"]: row["available"] for one in pushes if one["arg"].get("topic") == "account"
                 for account in one["data"] for row in account["coin"]}  # fmt: skip
        assert held == coins  # each of them once, whichever market changed it last
        assert len(held) == len(answer["data"]["assets"])
        _, answer = await rest(client, "/api/v3/trade/unfilled-orders")
        still = {n: row for n, row in told("order", "orderId").items()
                 if row["orderStatus"] in ("new", "live", "partially_filled")}  # fmt: skip
        rows = {row["orderId"]: row for row in answer["data"]["list"]}
        assert rows.keys() == still.keys()
        for number, row in rows.items():
            same = ("symbol", "price", "qty", "cumExecQty", "cumExecValue", "avgPrice", "side", "clientOid")
            assert [row[name] for name in same] == [still[number][name] for name in same]
        _, answer = await rest(client, "/api/v3/trade/fills?category=USDT-FUTURES")
        fills = {n for n, row in told("fill", "execId").items() if row["category"] == "USDT-FUTURES"}
        assert {row["execId"] for row in answer["data"]["list"]} == fills
        _, answer = await rest(client, "/api/v3/position/current-position?category=USDT-FUTURES")
        places = {row["symbol"]: row for row in answer["data"]["list"]}
        for name, row in told("position", "symbol").items():
            if row["positionStatus"] == "opening":
                assert (places[name]["total"], places[name]["posSide"]) == (row["size"], row["posSide"])
        one = next(iter(places))
        _, answer = await rest(client, f"/api/v3/position/current-position?category=USDT-FUTURES&symbol={one}")
        assert [row["symbol"] for row in answer["data"]["list"]] == [one]
        assert (await rest(client, "/api/v3/trade/fills?category=X"))[1]["code"] == "40020"
        assert (await rest(client, "/api/v3/trade/fills?category=USDC-FUTURES"))[1]["data"]["list"] == []
        assert (await rest(client, "/api/v3/account/assets", **{"ACCESS-SIGN": "x"}))[1]["code"] == "40009"
        await socket.close()


@pytest.mark.parametrize(
    ("venue", "path", "kind"), [("bitget-v1", "/spot/v1/stream", "spbl"), ("bitget", "/v2/ws/private", "SPOT")]
)
@is_async
async def test_names_with_underscores(venue, path, kind):
    """As clients in Python send them."""
    async with serving(venue) as (exchange, client):
        socket = await client.ws(venue, path)
        request = login()
        request["args"] = [{"api_key": arg.pop("apiKey"), **arg} for arg in request["args"]]
        assert (await socket.ask(request))["code"] == 0
        arg = {"inst_type": kind, "channel": "orders", "inst_id": "default"}
        answer = await socket.ask(subscribe(arg))
        assert answer == {"event": "subscribe", "arg": {"instType": kind, "channel": "orders", "instId": "default"}}
        exchange.step(venue, 20, "spot")
        assert (await socket.next())["arg"] == answer["arg"]
        await socket.close()


@is_async
async def test_rest_refuses():
    async with serving("bitget") as (_, client):
        for change, code in [
            ({"ACCESS-KEY": "x"}, "40006"),
            ({"ACCESS-PASSPHRASE": "x"}, "40012"),
            ({"ACCESS-TIMESTAMP": "x"}, "40005"),
            ({"ACCESS-TIMESTAMP": str(now() - 40_000)}, "40008"),
            ({"ACCESS-SIGN": "x"}, "40009"),
        ]:
            status, answer = await rest(client, "/api/v2/spot/account/assets", **change)
            assert (status, answer["code"]) == (400, code)


# ---- v1 over REST ----


@is_async
async def test_products_and_contracts_of_v1():
    async with serving("bitget-v1") as (exchange, client):
        _, answer = await client.rest("GET", "/api/spot/v1/public/products")
        spot = {one["symbolName"]: one for one in answer["data"]}
        wanted = {one.name: one for one in exchange.market("bitget-v1", "spot").instruments}
        assert spot.keys() == wanted.keys()
        for name, one in spot.items():
            assert (one["symbol"], one["priceScale"]) == (f"{name}_SPBL", str(wanted[name].price_digits))
        _, answer = await client.rest("GET", "/api/spot/v1/public/product?symbol=ETHUSDT_SPBL")
        assert answer["data"] == spot["ETHUSDT"]
        assert (await client.rest("GET", "/api/spot/v1/public/product?symbol=x"))[1]["code"] == "40034"
        assert (await client.rest("GET", "/api/spot/v1/public/time"))[1]["data"].isdigit()
        _, answer = await client.rest("GET", "/api/spot/v1/public/currencies")
        assert {one["coinName"] for one in answer["data"]} == exchange.market("bitget-v1", "spot").free.keys()
        for kind, symbol, coin in (("umcbl", "BTCUSDT_UMCBL", "USDT"), ("DMCBL", "BTCUSD_DMCBL", "BTC")):
            _, answer = await client.rest("GET", f"/api/mix/v1/market/contracts?productType={kind}")
            rows = {one["symbol"]: one for one in answer["data"]}
            assert (rows[symbol]["baseCoin"], rows[symbol]["supportMarginCoins"]) == ("BTC", [coin])
            assert not any("symbolName" in one for one in answer["data"])  # which clients tell spot by
        assert (await client.rest("GET", "/api/mix/v1/market/contracts?productType=cmcbl"))[1]["data"] == []
        for kind in ("", "spbl", "x"):
            _, answer = await client.rest("GET", f"/api/mix/v1/market/contracts?productType={kind}")
            assert answer["code"] == "40020"


@is_async
async def test_v1_over_rest_agrees_with_the_stream():
    async with serving("bitget-v1") as (exchange, client):
        spot, mix = await logged_in(client, SPOT_V1), await logged_in(client, MIX_V1)
        await spot.send(subscribe({"instType": "spbl", "channel": "account", "instId": "default"}))
        await spot.take(2)
        names = ("account", "positions", "orders")
        await mix.send(subscribe(*({"instType": "umcbl", "channel": one, "instId": "default"} for one in names)))
        await mix.take(5)
        exchange.step("bitget-v1", 200, "spot")
        exchange.step("bitget-v1", 200, "linear")
        pushes = [json.loads(one) for connection in exchange.connections for one in connection.log]
        told = {row["coinName"]: row for one in pushes for row in one["data"] if "coinName" in row}
        _, answer = await rest(client, "/api/spot/v1/account/assets")
        rows = {row["coinName"]: row for row in answer["data"]}
        assert rows.keys() == told.keys()
        for coin, row in rows.items():
            assert float(row["available"]) == float(told[coin]["available"])
            assert (row["frozen"], row["coinId"]) == (told[coin]["frozen"], told[coin]["coinId"])
        _, answer = await rest(client, "/api/spot/v1/account/assets?coin=BTC")
        assert [row["coinName"] for row in answer["data"]] == ["BTC"]
        last = {one["arg"]["channel"]: one["data"] for one in pushes if one["arg"]["instType"] == "umcbl"}
        _, answer = await rest(client, "/api/mix/v1/account/accounts?productType=umcbl")
        (row,) = answer["data"]
        assert [row[name] for name in ("marginCoin", "locked", "available")] == [
            last["account"][0][name] for name in ("marginCoin", "locked", "available")
        ]
        _, answer = await rest(client, "/api/mix/v1/position/allPosition?productType=umcbl&marginCoin=USDT")
        assert [(one["symbol"], one["holdSide"], one["total"], one["averageOpenPrice"]) for one in answer["data"]] == [
            (one["instId"], one["holdSide"], one["total"], one["averageOpenPrice"]) for one in last["positions"]
        ]
        orders = {row["ordId"]: row for one in pushes if one["arg"]["channel"] == "orders" for row in one["data"]}
        alive = {n: row["accFillSz"] for n, row in orders.items() if row["status"] in ("new", "partial-fill")}
        _, answer = await rest(client, "/api/mix/v1/order/marginCoinCurrent?productType=umcbl&marginCoin=USDT")
        assert {one["orderId"]: one["filledQty"] for one in answer["data"]} == alive
        symbol = answer["data"][0]["symbol"]
        _, answer = await rest(client, f"/api/mix/v1/order/current?symbol={symbol}")
        assert {one["symbol"] for one in answer["data"]} == {symbol}
        assert (await rest(client, "/api/mix/v1/order/current?symbol=x"))[1]["code"] == "40020"
        assert (await rest(client, "/api/spot/v1/account/assets", **{"ACCESS-SIGN": "x"}))[1]["code"] == "40009"
        for socket in (spot, mix):
            await socket.close()


@is_async
async def test_open_orders_of_v1():
    """They are asked for by POST, and the body is signed."""
    async with serving("bitget-v1") as (exchange, client):
        exchange.step("bitget-v1", 100, "spot")

        async def ask(body: str, signed: str) -> dict:
            at = str(now())
            text = f"{at}POST/api/spot/v1/trade/open-orders{signed}"
            sign = base64.b64encode(hmac.new(SECRET.encode(), text.encode(), hashlib.sha256).digest()).decode()
            headers = {"ACCESS-KEY": KEY, "ACCESS-PASSPHRASE": PASSPHRASE, "ACCESS-TIMESTAMP": at, "ACCESS-SIGN": sign}
            return (await client.rest("POST", "/api/spot/v1/trade/open-orders", headers=headers, data=body))[1]

        every = (await ask("{}", "{}"))["data"]
        assert len(every) == len(exchange.market("bitget-v1", "spot").orders)
        body = json.dumps({"symbol": every[0]["symbol"]})
        some = (await ask(body, body))["data"]
        assert some == [one for one in every if one["symbol"] == every[0]["symbol"]]
        assert (await ask(body, "{}"))["code"] == "40009"
        assert (await ask("[]", "[]"))["code"] == (await ask("x", "x"))["code"] == "40017"


@is_async
async def test_pairs_and_cases_of_v1():
    """Whatever the case in which a type is asked for, answers have it in lower case."""
    async with serving("bitget-v1") as (exchange, client):
        socket = await logged_in(client, MIX_V1)
        args = [{"instType": "UMCBL", "channel": "positions", "instId": "ETHUSDT_UMCBL"},
                {"instType": "UMCBL", "channel": "account", "instId": "ETHUSDT_UMCBL"},
                {"instType": "DMCBL", "channel": "positions", "instId": "BTCUSD_DMCBL"}]  # fmt: skip
        await socket.send(subscribe(*args))
        first = await socket.take(6)
        echoed = [arg | {"instType": arg["instType"].lower()} for arg in args]
        assert [one["arg"] for one in first if "event" in one] == echoed
        assert [one["arg"] for one in first if "data" in one] == echoed
        exchange.step("bitget-v1", 300, "linear")
        exchange.step("bitget-v1", 300, "inverse")
        pushes = [json.loads(one) for one in exchange.connections[0].log[3:]]
        ids = {one["arg"]["instId"] + one["arg"]["channel"]: set() for one in pushes}
        for one in pushes:
            ids[one["arg"]["instId"] + one["arg"]["channel"]] |= {row.get("instId") for row in one["data"]}
        assert ids["ETHUSDT_UMCBLpositions"] == {"ETHUSDT_UMCBL"}
        assert ids["BTCUSD_DMCBLpositions"] == {"BTCUSD_DMCBL"}
        spot = await logged_in(client, SPOT_V1)  # spot's account is of coins, and of no pair
        assert (await spot.ask(subscribe({"instType": "SPBL", "channel": "account", "instId": "ETHUSDT_SPBL"})))[
            "event"
        ]
        exchange.step("bitget-v1", 20, "spot")
        await spot.quiet()
        await socket.send(subscribe(args[0], op="unsubscribe"))
        assert (await socket.until(lambda one: "event" in one))[-1]["arg"] == echoed[0]
        await socket.close()
