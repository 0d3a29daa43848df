"""Connections that begin or end at a bad moment, and answers that come in pieces."""

# ruff: noqa: SIM117 - first the exchange, then what talks to it

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
import time
from collections import Counter

import pytest
import uvloop
from raw_server import SILENCE, RawServer
from sessions import API_KEY, CREDENTIALS, after, exchange, fast, is_data, run, session, until
from test_session_live import Orders, orders_of

from execwire.exchange import Faults
from execwire.sessions import Key, Session, transport
from execwire.sessions import session as session_module
from execwire.sessions.transport import CONNECTS_AT_ONCE


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


# ---- MARK: Closing ----


def recorders() -> list[str]:
    return [one.name for one in threading.enumerate() if one.name == "execwire-recorder"]


def test_closing_that_is_cancelled_goes_on(tmp_path):
    async def main():
        async with exchange("binance-futures") as server:
            stream = session(server, "binance-futures", record=tmp_path / "a.gz", delete_keys=True)
            await until(stream, after(connected=1, data=5))
            closing = asyncio.ensure_future(stream.close())
            await asyncio.sleep(0)
            closing.cancel()
            with pytest.raises(asyncio.CancelledError):
                await closing
            await stream.close()
            assert not server.open_connections()
            assert "DELETE" in [one[0] for one in server.requests]
            assert not recorders()

    run(main(), 20)


def test_closing_while_a_gap_is_filled(tmp_path):
    """By the very code that fills it."""
    closed = []

    async def main():
        async with exchange("binance-futures", faults=Faults(close_after=40)) as server:

            async def recover(gap):
                await stream.close()
                closed.append(gap)

            stream = session(server, "binance-futures", record=tmp_path / "a.gz", recover=recover)
            assert [one async for one in stream]
            await stream.close()
            assert not server.open_connections()
            assert not recorders()

    run(main(), 20)
    assert len(closed) == 1


def test_closing_with_a_disk_that_does_not_answer(tmp_path, monkeypatch, caplog):
    stuck, real = threading.Event(), os.pwrite

    def pwrite(fd, data, at):
        stuck.wait()
        return real(fd, data, at)

    async def main():
        async with exchange("binance-spot") as server:
            stream = session(server, "binance-spot", record=tmp_path / "a.txt")
            await until(stream, after(connected=1, data=5))
            monkeypatch.setattr(os, "pwrite", pwrite)
            await stream.close()

    monkeypatch.setattr(session_module, "SAVING", 0.2)
    run(main(), 20)
    assert "a.txt: the disk has not taken everything within 0.2 s" in caplog.text
    stuck.set()
    while recorders():
        time.sleep(0.01)
    assert (tmp_path / "a.txt").read_bytes().count(b"\n") > 5


# ---- MARK: Before the first record ----


def test_connections_that_wait_for_others_to_be_opened():
    """However long that takes, they have all the time that the venue gives."""

    async def main():
        async with RawServer(None, status=SILENCE) as silent, exchange("binance-spot") as server:
            slow = fast("binance-spot", timeout=1.0)
            others = [Session(slow, CREDENTIALS, url=silent.url) for _ in range(CONNECTS_AT_ONCE)]
            for one in others:
                await one.start()
            while len(silent.peers) < CONNECTS_AT_ONCE:
                await asyncio.sleep(0.01)
            async with session(server, "binance-spot", changes={"timeout": 0.3}) as stream:
                seen = await until(stream, lambda one, seen: one.event in ("connected", "error"))
            assert seen[-1].event == "connected"
            await asyncio.gather(*(one.close() for one in others))

    run(main(), 30)


@pytest.mark.parametrize("venue", ["bitget", "binance-spot"])
def test_no_record_before_the_gap_is_filled(venue):
    """Also where some channels are subscribed before others."""
    order = []

    async def recover(gap):
        order.append("recover")
        await asyncio.sleep(0.2)
        order.append("recovered")

    def handler(record):
        if is_data(record):
            order.append("data")
        elif record.event in ("disconnected", "gap", "reconnected"):
            order.append(record.event)

    async def main():
        async with exchange(venue, faults=Faults(close_after=100), rate=500.0) as server:
            async with session(server, venue, handler=handler, recover=recover):
                while "reconnected" not in order:
                    await asyncio.sleep(0.01)
                    if "disconnected" in order:
                        server.faults = Faults()
                n = len(order)
                while len(order) < n + 20:
                    await asyncio.sleep(0.01)

    run(main(), 20)
    at = order.index("disconnected")
    assert order[at : at + 6] == ["disconnected", "gap", "recover", "recovered", "reconnected", "data"]


def test_something_is_expected_of_a_session_that_has_not_begun():
    with pytest.raises(ConnectionError, match="not live"):
        Session("binance-spot", CREDENTIALS).expect_event(1.0)


def test_loops_that_are_over_leave_no_decoders_behind():
    """Though nobody has closed their sessions."""

    async def main():
        async with exchange("binance-spot") as server:
            stream = session(server, "binance-spot")
            await until(stream, after(connected=1))

    for _ in range(3):
        uvloop.run(main())
    assert len(transport._HUBS) == 1
