"""Connections that begin or end at a bad moment, and answers that come in pieces."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter

from sessions import API_KEY, CREDENTIALS, exchange, fast, run, session, until
from test_session_live import Orders, orders_of

from execwire.sessions import Key, Session


@contextlib.asynccontextmanager
async def server_of(handle):
    """A server on 127.0.0.1; its port."""
    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


def test_a_connection_that_opens_as_its_time_is_up():
    """The handler of `connected` takes longer than connecting may: one connection all the same, and no record twice."""
    seen, late = [], []

    def handler(record):
        if record.kind == "order":
            seen.append(record.payload)
        if record.event == "connected" and not late:
            late.append(record)
            time.sleep(0.6)

    async def main():
        async with exchange("binance-futures", rate=100.0) as server:
            stream = session(server, "binance-futures", handler=handler, changes={"timeout": 0.4})
            await stream.start()
            await asyncio.sleep(1.5)
            assert len(server.open_connections()) == 1
            await stream.close()
            assert not server.open_connections()

    run(main(), 20)
    assert late
    assert len(seen) == len(set(seen)) > 20


def test_an_answer_in_two_segments():
    async def answer(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        body = b'{"listenKey":"%b"}' % (b"k" * 64)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body))
        writer.write(body[:20])
        await writer.drain()
        await asyncio.sleep(0.05)
        writer.write(body[20:])
        await writer.drain()
        writer.close()

    async def main():
        async with exchange("binance-futures") as server, server_of(answer) as port:
            url = f"http://127.0.0.1:{port}"
            async with session(server, "binance-futures", Key(API_KEY), rest_url=url) as stream:
                seen = await until(stream, lambda one, seen: one.event == "connected")
            assert [one.event for one in seen] == ["connected"]

    run(main(), 20)


def test_a_server_that_closes_during_the_handshake():
    async def close(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.close()

    async def main():
        async with server_of(close) as port:
            url = f"ws://127.0.0.1:{port}"
            async with Session(fast("binance-spot", timeout=15.0), CREDENTIALS, url=url) as stream:
                async for record in stream:
                    assert "closed before it was answered" in record.message
                    break

    began = asyncio.run(timed(main))
    assert began < 10  # not the time that an answer may take


async def timed(main):
    begin = asyncio.get_running_loop().time()
    await main()
    return asyncio.get_running_loop().time() - begin


def test_a_hand_over_of_messages_that_wait_for_their_turn():
    async def main():
        handler = Orders()
        async with (
            exchange("binance-spot", rate=300.0, keep_logs=True) as server,
            session(
                server, "binance-spot", handler=handler, reorder=3.0, changes={"lifetime": 3.0, "lead": 1.5}
            ) as stream,
        ):
            while stream.stats()["handovers"] < 1:
                await asyncio.sleep(0.05)
            for protocol in server.protocols.values():
                for flow in protocol.flows.values():
                    await flow.stop()
            await asyncio.sleep(10)
            counts = Counter(handler.seen)
            assert orders_of(server) == set(counts)
            assert set(counts.values()) == {1}

    run(main(), 60)
