"""Connections that begin or end at a bad moment, and answers that come in pieces."""

# ruff: noqa: SIM117 - first the exchange, then what talks to it

from __future__ import annotations

import asyncio
import gc
import os
import struct
import threading
import time
import weakref
from collections import Counter

import pytest
import uvloop
from raw_server import CLOSE, CONTINUATION, SILENCE, SUBSCRIBED, RawServer, frame, order, server_of
from sessions import API_KEY, CREDENTIALS, after, events, exchange, fast, is_data, run, session, until
from test_session_live import HANDOVERS, Orders, handed_over, orders_of

from execwire.exchange import Faults
from execwire.sessions import Key, Session, State, transport
from execwire.sessions import session as session_module
from execwire.sessions.transport import CONNECTS_AT_ONCE

# ---- MARK: Beginnings ----


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


def test_nothing_waits_for_a_handshake_that_was_given_up():
    async def main():
        async with RawServer(None, status=SILENCE) as server:
            stream = Session("binance-spot", CREDENTIALS, url=server.url)
            before = asyncio.all_tasks()
            await stream.start()
            (connecting,) = asyncio.all_tasks() - before
            while not server.peers:
                await asyncio.sleep(0.01)
            await stream.close()
            await asyncio.wait([connecting])

    run(main(), 5)


def test_a_handshake_that_is_answered_as_it_is_given_up():
    async def main():
        answers, gone, seen = asyncio.Event(), asyncio.Event(), []

        async def serve(peer):
            peer.send(order(1))
            await peer.reader.read()
            gone.set()

        async with RawServer(serve, answers=answers) as server:
            stream = Session("binance-spot", CREDENTIALS, url=server.url, handler=seen.append)
            await stream.start()
            while not server.peers:
                await asyncio.sleep(0.01)
            answers.set()
            await stream.close()
            await gone.wait()
        assert seen == []

    run(main(), 10)


# ---- MARK: Ends ----


def test_what_waits_for_its_turn_is_delivered_before_the_end():
    async def main():
        async def serve(peer):
            await peer.receive()
            peer.send(SUBSCRIBED, order(2), order(1), order(3), frame(b"\x03\xe9", CLOSE))
            await peer.receive_until(CLOSE)

        async with RawServer(serve) as server:
            async with Session("binance-spot", CREDENTIALS, url=server.url, reorder=30.0) as stream:
                records = await until(stream, after(disconnected=1))
        assert [one.number("order_id") for one in records if is_data(one)] == [1, 2, 3]

    run(main(), 10)


def test_a_connection_that_ended_is_not_watched_any_more():
    """Of two that fall silent, the first has ended before somebody noticed."""

    async def main():
        async def serve(peer):
            await peer.receive()
            peer.send(SUBSCRIBED)
            if len(server.peers) == 1:
                peer.send(frame(b"\x03\xe9", CLOSE))
            await peer.receive_until(CLOSE)

        async with RawServer(serve) as server:
            async with Session(fast("binance-spot", silence=0.5), CREDENTIALS, url=server.url) as stream:
                records = await until(stream, after(disconnected=2))
                assert stream.stats()["silences"] == 1
        ends = [one.message for one in records if one.event == "disconnected"]
        assert ends == ["closed with code 1001", "nothing received for 0.5 s"]

    run(main(), 10)


def test_a_gap_begins_with_the_last_frame_before_a_break():
    async def main():
        async def serve(peer):
            await peer.receive()
            peer.send(SUBSCRIBED, order(1))
            await peer.receive_until(CLOSE)

        async with RawServer(serve) as server:
            async with Session(fast("binance-spot"), CREDENTIALS, url=server.url) as stream:
                *_, last = await until(stream, after(data=1))
                server.peers[0].abort()
                records = await until(stream, after(reconnected=1))
        (gap,) = [one for one in records if one.event == "gap"]
        assert gap.ts_transact == last.ts_recv

    run(main(), 10)


def test_why_a_connection_was_given_up_is_told():
    async def main():
        async def serve(peer):
            await peer.receive()
            peer.send(SUBSCRIBED, frame(b"out of sequence", CONTINUATION))
            await peer.receive_until(CLOSE)

        async with RawServer(serve) as server:
            async with Session("binance-spot", CREDENTIALS, url=server.url) as stream:
                records = await until(stream, after(disconnected=1))
        assert records[-1].message.endswith(": a fragment out of sequence")

    run(main(), 10)


def test_what_fails_inside_a_session_ends_it():
    """Better than a stream that nobody looks after."""

    class Vault:
        passphrase = ""
        asked = 0

        @property
        def api_key(self):
            self.asked += 1
            if self.asked == 1:
                raise OSError("the vault is locked")
            return API_KEY

        def sign(self, payload, encoding=None):
            return CREDENTIALS.sign(payload, encoding)

    async def main():
        async with exchange("binance-spot") as server:
            stream = session(server, "binance-spot", Vault())
            with pytest.raises(OSError, match="the vault is locked"):
                await stream.run()
            await stream.close()
            assert stream.state is State.CLOSED

    run(main(), 10)


def test_close_ends_with_the_last_socket(monkeypatch):
    """However long it might wait for one."""
    monkeypatch.setattr("execwire.sessions.session.CLOSING", 60)

    async def main():
        async with exchange("binance-spot") as server:
            stream = session(server, "binance-spot")
            await until(stream, after(connected=1))
            await stream.close()
            assert server.open_connections() == []

    run(main(), 10)


def test_the_other_side_is_told_of_the_end():
    async def main():
        told = asyncio.Event()

        async def serve(peer):
            await peer.receive()
            peer.send(SUBSCRIBED)
            codes.append(await peer.receive_until(CLOSE))
            told.set()

        async with RawServer(serve) as server:
            async with Session("binance-spot", CREDENTIALS, url=server.url) as stream:
                await until(stream, after(connected=1))
            await told.wait()

    codes: list[bytes] = []
    run(main(), 10)
    assert codes == [struct.pack(">H", 1000)]


@pytest.mark.parametrize("profile", ["hot", "fleet"])
def test_closing_during_a_handshake(profile):
    """The other side is told at once, not when the handshake's time is up."""

    async def main():
        async with RawServer(None, status=SILENCE) as server:
            stream = Session(fast("binance-spot", timeout=3600.0), CREDENTIALS, url=server.url, profile=profile)
            await stream.start()
            while not server.peers:
                await asyncio.sleep(0.01)
            await stream.close()
            assert await server.peers[0].reader.read() == b""

    run(main(), 10)


def test_a_loop_that_waits_is_told_of_the_end():
    async def main():
        async with exchange("binance-spot", rate=0) as server:
            stream = session(server, "binance-spot")
            await until(stream, after(connected=1))
            while stream.waiting:
                await anext(stream)
            rest = asyncio.ensure_future(until(stream, lambda one, seen: False))
            await asyncio.sleep(0)
            await stream.close()
            assert events(await rest) == []

    run(main(), 10)


def test_a_recovery_ends_with_the_session():
    async def main():
        ended = asyncio.Event()

        async def recover(gap):
            try:
                await asyncio.sleep(3600)
            finally:
                ended.set()

        async with exchange("binance-spot", faults=Faults(close_after=30)) as server:
            stream = session(server, "binance-spot", recover=recover)
            await until(stream, after(gap=1))
            await stream.close()
            await ended.wait()

    run(main(), 10)


@pytest.mark.parametrize("spin", [False, True], ids=["sleeps", "spins"])
def test_a_session_that_ended_is_let_go(spin):
    """Another one of the loop goes on: what both use is still there, but holds nothing of it."""

    async def main():
        async with exchange("binance-spot") as server, session(server, "binance-spot") as other:
            await until(other, after(connected=1))
            stream = session(server, "binance-spot", spin=spin)
            await until(stream, after(connected=1, data=1))
            await stream.close()
            gone = weakref.ref(stream)
            del stream
            while gone() is not None:
                await asyncio.sleep(0.05)
                gc.collect()
            await until(other, after(data=1))

    run(main(), 10)


# ---- MARK: Handovers ----


def test_a_handover_waits_for_as_long_as_the_user_does():
    """That the old connection gives no answer means nothing while none is read."""

    async def main():
        async with exchange("binance-spot", rate=500.0, keep_logs=True) as server:
            orders = Orders()
            changes = {**HANDOVERS, "timeout": 0.3}
            async with session(server, "binance-spot", limit=100, changes=changes) as stream:
                await until(stream, after(connected=1))
                while not stream.stats()["handovers"]:
                    await asyncio.sleep(0.05)
                await asyncio.sleep(2.8)  # longer than an answer may take, and the look after that

                async def read():
                    async for record in stream:
                        orders.on_record(record)

                reading = asyncio.create_task(read())
                await handed_over(server, stream, orders.seen)
                reading.cancel()

    run(main(), 40)


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
