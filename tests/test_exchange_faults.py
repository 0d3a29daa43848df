"""Faults: each does what it says, the same way every time, and by order too."""

from __future__ import annotations

import asyncio
import json

import aiohttp
import pytest
from exchanges import KEY, START, is_async, serving
from test_exchange_spot import PATH, SIGNED, VENUE, request, signed

from execwire.exchange import Every, Exchange, Faults
from execwire.exchange.faults import Injector

MESSAGES = [b"%04d" % n for n in range(2_000)]


def injected(faults: Faults, seed: str = "1") -> list[tuple[str, bytes]]:
    injector = Injector(seed)
    return [(what, one) for message in MESSAGES for what, one, _ in injector.messages(faults, message, False)]


def test_without_faults():
    assert injected(Faults()) == [("sent", one) for one in MESSAGES]


def test_drop():
    assert [one for what, one in injected(Faults(drop=Every(100))) if what == "dropped"] == MESSAGES[99::100]
    dropped = [one for what, one in injected(Faults(drop=0.1)) if what == "dropped"]
    assert 120 < len(dropped) < 280
    assert injected(Faults(drop=0.1)) == injected(Faults(drop=0.1))
    assert injected(Faults(drop=0.1)) != injected(Faults(drop=0.1), "2")


def test_duplicate():
    sent = [one for _, one in injected(Faults(duplicate=Every(500)))]
    assert len(sent) == 2_004
    assert sent[499] == sent[500] == MESSAGES[499]


def test_reorder():
    sent = [one for _, one in injected(Faults(reorder=Every(1_000)))]
    assert sent[999:1001] == [MESSAGES[1000], MESSAGES[999]]
    assert sorted(sent) == MESSAGES[:-1]  # the last one waits for its successor


def test_malformed():
    sent = injected(Faults(malformed=Every(1_000)))
    assert [one for what, one in sent if what == "malformed"] == [b"09", b"19"]
    assert len(sent) == 2_000


@pytest.mark.parametrize(
    ("faults", "message"),
    [
        ({"drop": 1.5}, "drop: 1.5 is no probability"),
        ({"reorder": -0.1}, "reorder: -0.1 is no probability"),
        ({"delay": Every(0)}, "delay: every 0th message"),
        ({"close_after": -1}, "close_after: -1 is negative"),
        ({"close_code": 99_999}, "close_code: 99999 is no code"),
    ],
)
def test_wrong_faults(faults, message):
    with pytest.raises(ValueError, match=message):
        Faults(**faults)


# ---- On the wire ----


async def connected(client):
    socket = await client.ws(VENUE, PATH)
    assert (await socket.ask(signed(SIGNED)))["status"] == 200
    return socket


@is_async
async def test_counted_and_logged():
    """What was sent is what the counts say."""
    faults = Faults(drop=Every(10), duplicate=Every(7), reorder=Every(9))
    async with serving(VENUE, faults=faults) as (exchange, client):
        socket = await connected(client)
        exchange.step(VENUE, 60)
        connection = exchange.connections[0]
        counts = connection.counts
        messages = await socket.take(len(connection.log))
        assert messages == [json.loads(one) for one in connection.log]
        assert counts["dropped"] == counts["events"] // 10
        assert counts["frames"] == len(connection.log) == counts["sent"] + counts["duplicated"] + counts["reordered"]
        held = counts["events"] - counts["dropped"] - counts["sent"] - counts["reordered"]
        assert held in (0, 1)
        assert len({json.dumps(one) for one in messages}) == counts["sent"] + counts["reordered"]
        await socket.close()


@is_async
async def test_malformed_answers_are_no_json():
    async with serving(VENUE, faults=Faults(malformed=Every(2))) as (exchange, client):
        socket = await connected(client)
        exchange.step(VENUE)
        await socket.next()
        message = await socket.socket.receive(timeout=10)
        with pytest.raises(json.JSONDecodeError):
            json.loads(message.data)
        await socket.close()


@is_async
async def test_delay():
    async with serving(VENUE, faults=Faults(delay=Every(1), delay_seconds=0.3)) as (exchange, client):
        socket = await connected(client)
        exchange.step(VENUE)
        assert not exchange.connections[0].log
        await socket.next()
        assert exchange.connections[0].counts["delayed"] == exchange.connections[0].counts["events"]
        await socket.close()


@pytest.mark.parametrize("code", [1000, 1001, 1011, 4000])
@is_async
async def test_close_after_messages(code):
    async with serving(VENUE, faults=Faults(close_after=5, close_code=code)) as (exchange, client):
        socket = await connected(client)
        exchange.step(VENUE, 10)
        await socket.take(5)
        assert await socket.code() == code
        assert exchange.connections[0].counts["frames"] == 5


@is_async
async def test_cut_off():
    async with serving(VENUE, faults=Faults(close_after=5, close_code=1006)) as (exchange, client):
        socket = await connected(client)
        exchange.step(VENUE, 10)
        assert await socket.code() == 1006
        assert exchange.connections[0].close_code == 1006


@is_async
async def test_close_after_seconds():
    async with serving(VENUE, faults=Faults(close_after_seconds=0.1, close_code=1012)) as (_, client):
        socket = await client.ws(VENUE, PATH)
        assert await socket.code() == 1012


@is_async
async def test_silent():
    """No events any more; answers still come."""
    async with serving(VENUE, faults=Faults(silent_after=3)) as (exchange, client):
        socket = await connected(client)
        exchange.step(VENUE, 10)
        await socket.take(3)
        assert (await socket.ask(request("ping", "still")))["id"] == "still"
        assert exchange.connections[0].counts["silenced"] == exchange.connections[0].counts["events"] - 3
        await socket.close()


@is_async
async def test_mute():
    """Nothing comes any more, not even an answer."""
    async with serving(VENUE, faults=Faults(mute_after=3)) as (exchange, client):
        socket = await connected(client)
        exchange.step(VENUE, 10)
        await socket.take(3)
        await socket.send(request("ping"))
        await socket.quiet()


@is_async
async def test_refused_handshakes():
    async with serving(faults=Faults(refuse=2, refuse_status=418)) as (_, client):
        assert await client.refused(PATH) == 418
        assert await client.refused("/v2/ws/private") == 418
        socket = await client.ws(VENUE, PATH)
        await socket.close()


@is_async
async def test_refused_requests():
    async with serving(faults=Faults(refuse_rest=2)) as (exchange, client):
        for status in (503, 503, 200):
            async with client.http.get(client.origin + "/api/v3/time") as response:
                assert response.status == status
        assert exchange.requests == [("GET", "/api/v3/time")] * 3


@is_async
async def test_malformed_answers():
    async with serving(VENUE, faults=Faults(malformed_answers=Every(2))) as (_, client):
        socket = await client.ws(VENUE, PATH)
        for broken in (False, True, False, True):
            await socket.send(request("ping"))
            message = await socket.socket.receive(timeout=10)
            try:
                json.loads(message.data)
            except json.JSONDecodeError:
                assert broken
            else:
                assert not broken
        await socket.close()


@is_async
async def test_shutdown():
    async with serving(VENUE, faults=Faults(shutdown_after=2, shutdown_seconds=0.2)) as (exchange, client):
        socket = await connected(client)
        exchange.step(VENUE, 3)
        messages = await socket.until(lambda message: message["event"]["e"] == "serverShutdown")
        assert messages[-1].keys() == {"event"}  # without a subscription's id
        assert await socket.code() == 1001


@is_async
async def test_terminated():
    async with serving(VENUE, faults=Faults(terminate_after=2)) as (exchange, client):
        socket = await connected(client)
        exchange.step(VENUE, 3)
        messages = await socket.until(lambda message: message["event"]["e"] == "eventStreamTerminated")
        assert messages[-1]["subscriptionId"] == 0
        await socket.quiet()


@is_async
async def test_keys_expire():
    async with serving("binance-futures", faults=Faults(key_life=2)) as (_, client):
        _, answer = await client.rest("POST", "/fapi/v1/listenKey", headers={"X-MBX-APIKEY": KEY})
        socket = await client.ws("binance-futures", f"/ws/{answer['listenKey']}")
        assert (await socket.next())["e"] == "listenKeyExpired"
        await socket.close()


@is_async
async def test_clock_skew():
    async with serving(VENUE, faults=Faults(clock_skew=30)) as (_, client):
        socket = await client.ws(VENUE, PATH)
        assert (await socket.ask(signed(SIGNED)))["error"]["code"] == -1021
        await socket.close()


@is_async
async def test_at_run_time():
    """By order, and with faults that are put in place later."""
    async with serving(start=START) as (exchange, client):
        socket = await connected(client)
        first = exchange.connections[0]
        exchange.step(VENUE)
        exchange.faults = exchange.faults.but(drop=1.0)
        before = first.counts["frames"]
        exchange.step(VENUE, 5)
        assert first.counts["frames"] == before
        exchange.faults = Faults()
        exchange.step(VENUE)
        first.silence()
        exchange.step(VENUE)
        await socket.take(len(first.log))
        first.close(4001, "by order")
        assert await socket.code() == 4001
        assert exchange.open_connections() == []
        again = await connected(client)
        exchange.open_connections(VENUE)[0].shutdown(0.05)
        assert (await again.next())["event"]["e"] == "serverShutdown"
        assert await again.code() == 1001
        futures = await client.rest("POST", "/fapi/v1/listenKey", headers={"X-MBX-APIKEY": KEY})
        stream = await client.ws("binance-futures", f"/ws/{futures[1]['listenKey']}")
        exchange.streams.expire()
        assert (await stream.next())["e"] == "listenKeyExpired"
        await stream.close()


@is_async
async def test_the_exchange_ends():
    """Its clients are told, and it does not wait for those who do not listen."""
    exchange = Exchange([VENUE], rate=100)
    async with aiohttp.ClientSession() as http:
        async with exchange:
            socket = await http.ws_connect(f"{exchange.url(VENUE)}{PATH}")
            other = await http.ws_connect(f"{exchange.url(VENUE)}{PATH}", autoclose=False)
        message = await socket.receive(timeout=10)
        assert (message.type, message.data) == (aiohttp.WSMsgType.CLOSE, 1001)
        await other.close()
    await asyncio.sleep(0)
    assert not exchange.open_connections()
