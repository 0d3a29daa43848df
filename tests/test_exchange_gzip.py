"""gzip brokers at the local exchange: credentials, prompts, frames, heartbeat, the end of the system."""

from __future__ import annotations

import asyncio
import gzip
import json

import pytest
from exchanges import KEY, START, is_async, now, serving

from execwire.exchange import Options

VENUE = "gzip-broker"
SPOT, FUTURES = "/spotws_user/userData/ws", "/position_order/ws"


async def subscribed(client, path: str = SPOT):
    socket = await client.ws(VENUE, path, headers={"token": KEY})
    assert await socket.next() == "connect success"
    assert await socket.ask({"event": "sub", "token": KEY}) == "sub success"
    return socket


@pytest.mark.parametrize("path", [SPOT, FUTURES])
@pytest.mark.parametrize("header", ["token", "api-key"])
@pytest.mark.parametrize("field", ["token", "apiKey"])
@is_async
async def test_subscribe(path, header, field):
    async with serving(VENUE) as (exchange, client):
        assert await client.refused(path) == 401
        assert await client.refused(path, headers={header: "x"}) == 401
        socket = await client.ws(VENUE, path, headers={header: KEY})
        assert await socket.raw() == b"connect success"
        market = "spot" if path == SPOT else "linear"
        exchange.step(VENUE, 5, market)
        assert not exchange.connections[0].counts["events"]
        assert await socket.ask({"event": "sub", field: KEY, "broker": 1003}) == "sub success"
        exchange.step(VENUE, 5, market)
        assert (await socket.raw())[:2] == b"\x1f\x8b"
        await socket.send({"event": "unsub", "token": KEY})
        await socket.until(lambda message: message == "unsub success")
        exchange.step(VENUE, 5, market)
        await socket.quiet()


@is_async
async def test_wrong_token():
    async with serving(VENUE) as (_, client):
        socket = await client.ws(VENUE, SPOT, headers={"token": KEY})
        await socket.send({"event": "sub", "token": "x"})
        assert await socket.code() == 1008


@is_async
async def test_spot_events():
    async with serving(VENUE, start=START) as (exchange, client):
        socket = await subscribed(client)
        exchange.step(VENUE, 150)
        log = exchange.connections[0].log
        messages = await socket.take(len(log))
        assert messages == [json.loads(gzip.decompress(one)) for one in log]
        reports = [one for one in messages if one["e"] == "executionReport"]
        assert {one["X"] for one in reports} == {"FILLED", "PART_FILLED", "CANCELED"}
        assert {one["o"] for one in reports} == {"LIMIT"}  # market orders have no report
        assert all(list(one) == sorted(one) for one in reports)
        assert len(messages) > len(reports)
        await socket.close()


@is_async
async def test_futures_events():
    async with serving(VENUE, start=START) as (exchange, client):
        socket = await subscribed(client, FUTURES)
        exchange.step(VENUE, 900, "linear")
        messages = await socket.take(len(exchange.connections[0].log))
        assert {one["channel"] for one in messages} == {"ACCOUNT_UPDATE", "order", "trigOrder"}
        updates = [one["d"] for one in messages if one["channel"] == "ACCOUNT_UPDATE"]
        assert {one["et"] for one in updates} >= {"CREATE", "UPDATE", "DEFAULT"}
        alive = set()
        for one in updates:  # a position is created, changes, and may be deleted, in this order
            number = one["p"].get("id")
            if one["et"] == "CREATE":
                assert number not in alive
                assert one["p"].keys() >= {"cn", "l", "pt", "mr", "oa", "cid", "con"}
                alive.add(number)
            elif one["et"] == "UPDATE":
                assert number in alive
                assert "cn" not in one["p"]
            elif one["et"] == "DELETE":
                alive.remove(number)
                assert one["p"] == {"id": number}
        assert {one["order"]["orderAction"] for one in messages if one["channel"] == "order"} == {"1", "2", "3"}
        prices = await socket.until(lambda message: message["channel"] == "ADL_PRICE")  # every second
        assert {row["id"] for row in prices[-1]["l"]} == alive
        await socket.close()


@is_async
async def test_heartbeat():
    assert Options().gzip_silence == 40
    async with serving(VENUE, options=Options(gzip_silence=3)) as (_, client):
        pinging, silent = [await subscribed(client) for _ in range(2)]
        closed = asyncio.create_task(silent.code())
        for _ in range(6):
            await asyncio.sleep(0.6)
            answer = await pinging.ask({"ping": now()})
            assert abs(answer["pong"] - now()) < 60_000
        assert await closed == 1000
        await pinging.send("no json")
        await pinging.send("[]")
        await pinging.quiet()


@is_async
async def test_system_close():
    async with serving(VENUE) as (exchange, client):
        socket = await subscribed(client)
        exchange.connections[0].terminate()
        assert await socket.next() == {"uid": 24005174, "channel": "SYSTEM", "et": "close"}
        assert await socket.code() == 1000
