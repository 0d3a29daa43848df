"""The transport: frames to records, with everything that picows and the network can do to them."""

from __future__ import annotations

import asyncio
import base64
import dataclasses
import gzip
import importlib
import logging
import sys
import time
import warnings
from pathlib import Path

import picows
import pytest
import raw_server
import uvloop
from raw_server import BINARY, CLOSE, CONTINUATION, PING, PONG, RawServer, frame

import execwire
from execwire import picows_layout, plain_stream
from execwire.delivery import Calls, Handler, Inbox, Overlap, Pulse, Pump
from execwire.sessions import transport

try:
    from execwire import stream
except (ImportError, ValueError):  # built for another picows: one job of the CI does that on purpose
    stream = None

VENUE = "binance-spot"
FASTEST = stream.Listener if stream is not None else plain_stream.Listener
LISTENERS = pytest.mark.parametrize(
    "listener", dict.fromkeys([FASTEST, plain_stream.Listener]), ids=lambda one: one.__module__.rpartition(".")[2]
)
needs_the_compiled_one = pytest.mark.skipif(stream is None, reason="the installed picows is not the one built for")


def event(n: int, subscription: int | None = None) -> bytes:
    text = b'{"e":"executionReport","E":17900000%05d,"s":"SOLEUR","S":"BUY","i":%d,"p":"131.2500"}' % (n, n)
    return text if subscription is None else b'{"subscriptionId":%d,"event":%b}' % (subscription, text)


class Owner:
    """What a session is to a pump."""

    def __init__(self) -> None:
        self.opened = asyncio.Event()
        self.closed: asyncio.Future[tuple[int, str]] = asyncio.get_running_loop().create_future()
        self.control: list[tuple[bytes, list[str]]] = []
        self.undecodable: list[str] = []
        self.stopped: list[BaseException] = []
        self.refused: list[str] = []
        self.silent: list[str] = []
        self.waiting = self.echoes = 0

    def on_echo(self) -> None:
        self.echoes += 1

    def on_open(self, _transport: object) -> None:
        self.opened.set()

    def on_close(self, code: int, reason: str) -> None:
        self.closed.set_result((code, reason))

    def on_refused(self, reason: str) -> None:
        self.refused.append(reason)

    def on_control(self, text: bytes, notices: list[execwire.Notice]) -> None:
        self.control.append((text, [one.code for one in notices]))

    def on_undecodable(self, message: str) -> None:
        self.undecodable.append(message)

    def on_handler_stop(self, error: BaseException) -> None:
        self.stopped.append(error)

    def on_silent(self, why: str) -> None:
        self.silent.append(why)

    def on_waiting(self) -> None:
        self.waiting += 1


class Batches(Handler):
    def __init__(self) -> None:
        self.batches: list[list[int]] = []

    def on_batch(self, records: list[execwire.Record]) -> None:
        self.batches.append([one.number("order_id") for one in records])


def session_decoder() -> execwire.Decoder:
    path = Path(execwire.__file__).parent / "sessions" / "notices.toml"
    return execwire.Decoder(path)


class Client:
    """A listener of either sort on a connection to a raw server."""

    def __init__(self, listener: type, handler: Handler | None = None, venue: str = VENUE, max_message: int = 1 << 20):
        self.records: list[execwire.Record] = []
        self.owner = Owner()
        self.decoder = execwire.Decoder(venue)
        self.pump = Pump(self.decoder, session_decoder(), handler or Calls(self.records.append), self.owner)
        self.listener, self.max_message = listener, max_message

    async def connect(self, url: str, **more) -> None:
        profile = more.pop("profile", "hot")
        transport.listener_class.cache_clear()
        original = transport.listener_class
        try:
            transport.listener_class = lambda: self.listener
            await transport.connect(
                self.pump, url, {}, transport.PROFILES[profile], max_message=self.max_message, timeout=5, **more
            )
        finally:
            transport.listener_class = original

    @property
    def ids(self) -> list[int]:
        return [one.number("order_id") for one in self.records]


def run(main) -> None:
    async def bounded() -> None:
        await asyncio.wait_for(main, 20)

    uvloop.run(bounded())


async def exchange_frames(listener: type, *frames: bytes, handler=None, venue=VENUE, profile="hot", **more) -> Client:
    """What a client makes of frames that come with one write; the server closes afterwards."""
    client = None

    async def serve(peer: raw_server.Peer) -> None:
        peer.send(*frames)
        try:
            await asyncio.wait_for(peer.receive_until(CLOSE), 0.2)
        except TimeoutError:
            peer.send(frame(b"\x03\xe8", CLOSE))
            await peer.receive_until(CLOSE)

    async with RawServer(serve) as server:
        client = Client(listener, handler, venue, **more)
        await client.connect(server.url, profile=profile)
        await client.owner.closed
    return client


# ---- MARK: Frames ----


@LISTENERS
@pytest.mark.parametrize("profile", ["hot", "fleet"])
def test_text_and_binary_frames(listener, profile):
    async def main():
        client = await exchange_frames(listener, frame(event(1)), frame(event(2), BINARY), profile=profile)
        assert client.ids == [1, 2]
        assert [str(one.price) for one in client.records] == ["131.2500", "131.2500"]
        assert client.owner.closed.result()[0] == 1000

    run(main())


@LISTENERS
def test_all_frames_of_a_read_in_order_and_one_batch(listener):
    async def main():
        handler = Batches()
        client = await exchange_frames(listener, *(frame(event(n)) for n in range(50)), handler=handler)
        assert [n for batch in handler.batches for n in batch] == list(range(50))
        assert len(handler.batches) < 10  # reads, not frames
        assert client.pump.counts["messages"] == 50
        assert client.pump.counts["batches"] == len(handler.batches)

    run(main())


@needs_the_compiled_one
def test_what_messages_teach_waits_for_the_end_of_a_read():
    """Handlers of the read that brings the lesson are not kept waiting for it."""
    venue = dataclasses.replace(execwire.venues.load(VENUE), samples=())

    async def main():
        async def serve(peer: raw_server.Peer) -> None:
            for n in range(0, 100, 10):
                peer.send(*(frame(event(one)) for one in range(n, n + 10)))
                await asyncio.sleep(0.01)
            peer.send(frame(b"\x03\xe8", CLOSE))
            await peer.receive_until(CLOSE)

        async with RawServer(serve) as server:
            client = Client(stream.Listener, None, venue)
            await client.connect(server.url)
            await client.owner.closed
        assert client.ids == list(range(100))
        assert client.decoder.study() is False  # done
        for n in range(20):
            client.decoder.decode_into(b'{"e":"balanceUpdate","E":17900000%05d,"a":"SOL","d":"%d.5"}' % (n, n))
        assert client.decoder.study() is True  # it waits for us now

    run(main())


@LISTENERS
def test_a_ping_at_the_end_of_a_read_does_not_keep_the_batch(listener):
    """With picows' own pong the last frame of a read is never shown, and neither is the end of the read."""

    async def main():
        got = asyncio.Event()

        class Noticing(Batches):
            def on_batch(self, records):
                super().on_batch(records)
                got.set()

        async def serve(peer):
            peer.send(frame(event(1)), frame(b"are you there", PING))
            assert await peer.receive_until(PONG) == b"are you there"
            await asyncio.wait_for(got.wait(), 5)
            peer.send(frame(b"\x03\xe8", CLOSE))
            await peer.receive_until(CLOSE)

        handler = Noticing()
        async with RawServer(serve) as server:
            client = Client(listener, handler)
            await client.connect(server.url)
            await client.owner.closed
        assert handler.batches == [[1]]

    run(main())


@LISTENERS
def test_ts_recv_is_the_time_of_the_read(listener):
    import time

    async def main():
        before = time.time_ns()
        client = await exchange_frames(listener, frame(event(1)), frame(event(2)))
        first, second = client.records
        assert before <= first.ts_recv <= time.time_ns()
        assert first.ts_recv <= second.ts_recv

    run(main())


@LISTENERS
def test_fragments_with_a_ping_between(listener):
    async def main():
        text = event(7)
        client = await exchange_frames(
            listener,
            frame(text[:10], fin=False),
            frame(b"x", PING),
            frame(text[10:20], CONTINUATION, fin=False),
            frame(b"", CONTINUATION, fin=False),
            frame(text[20:], CONTINUATION),
            frame(event(8)),
        )
        assert client.ids == [7, 8]

    run(main())


@LISTENERS
def test_fragments_of_a_large_message(listener):
    async def main():
        big = b"[" + b",".join(event(n) for n in range(3000)) + b"]"
        pieces = [big[i : i + 20_000] for i in range(0, len(big), 20_000)]
        frames = [frame(pieces[0], BINARY, fin=False)]
        frames += [frame(one, CONTINUATION, fin=False) for one in pieces[1:]] + [frame(b"", CONTINUATION)]
        client = await exchange_frames(listener, *frames, frame(event(1), fin=False), frame(b"", CONTINUATION))
        assert client.ids == [*range(3000), 1]

    run(main())


@LISTENERS
def test_fragments_are_bounded(listener):
    async def main():
        parts = [frame(b"[" * 600, fin=False), frame(b"[" * 600, CONTINUATION, fin=False), frame(event(1))]
        client = await exchange_frames(listener, *parts, max_message=1000)
        assert client.ids == []
        assert client.owner.refused == ["a fragmented message is too long"]
        assert client.owner.closed.result()[0] == 1009
        assert client.listener
        assert client.pump.counts["messages"] == 0

    run(main())


@LISTENERS
@pytest.mark.parametrize(
    "frames",
    [
        [frame(b"{}", CONTINUATION)],
        [frame(b"{", fin=False), frame(event(1))],
        [frame(b"{", fin=False), frame(b"{", BINARY, fin=False)],
    ],
    ids=["continuation of nothing", "message within fragments", "fragments within fragments"],
)
def test_fragments_out_of_sequence(listener, frames):
    async def main():
        client = await exchange_frames(listener, *frames)
        assert client.records == []
        assert client.owner.refused == ["a fragment out of sequence"]
        assert client.owner.closed.result()[0] == 1002

    run(main())


@LISTENERS
def test_a_frame_that_is_too_long(listener):
    async def main():
        client = await exchange_frames(listener, frame(event(1)), frame(b"[" * 5000), max_message=4000)
        assert client.owner.closed.result()[0] == 1009

    run(main())


@LISTENERS
def test_close_is_answered_and_nothing_after_it_is_delivered(listener):
    async def main():
        answer = asyncio.get_running_loop().create_future()

        async def serve(peer):
            peer.send(frame(event(1)), frame(b"\x03\xe9going away", CLOSE), frame(event(2)))
            answer.set_result(await peer.receive_until(CLOSE))

        async with RawServer(serve) as server:
            client = Client(listener)
            await client.connect(server.url)
            assert await client.owner.closed == (1001, "going away")
            assert (await answer)[:2] == b"\x03\xe9"
        assert client.ids == [1]

    run(main())


@LISTENERS
def test_an_empty_close_is_answered(listener):
    async def main():
        async def serve(peer):
            peer.send(frame(b"", CLOSE))
            assert await peer.receive_until(CLOSE) == b"\x03\xe8"

        async with RawServer(serve) as server:
            client = Client(listener)
            await client.connect(server.url)
            assert (await client.owner.closed)[0] == 0

    run(main())


@LISTENERS
def test_a_connection_that_breaks_has_no_code(listener):
    async def main():
        async def serve(peer):
            peer.send(frame(event(1)))
            await peer.writer.drain()
            await asyncio.sleep(0.05)
            peer.abort()

        async with RawServer(serve) as server:
            client = Client(listener)
            await client.connect(server.url)
            assert await client.owner.closed == (0, "")
            assert client.ids == [1]

    run(main())


@LISTENERS
def test_frames_after_disconnect_are_not_delivered(listener):
    """picows goes on with the frames of a read after disconnect(), abort included."""

    async def main():
        client = None

        class Leaves(Handler):
            def __init__(self):
                self.ids = []

            def on_record(self, record):
                self.ids.append(record.number("order_id"))
                client.pump.shut = True
                client.pump.transport.disconnect(False)

        async def serve(peer):
            peer.send(*(frame(event(n)) for n in range(5)))
            await peer.receive_until(CLOSE)

        handler = Leaves()
        async with RawServer(serve) as server:
            client = Client(listener, handler)
            await client.connect(server.url)
            await client.owner.closed
        assert handler.ids == [0]
        assert client.pump.counts["late"] + client.pump.counts["messages"] == 5

    run(main())


@LISTENERS
def test_a_compressed_frame_is_refused(listener):
    async def main():
        client = await exchange_frames(listener, frame(event(1)), frame(b"\xaa\x56", rsv=4), frame(event(2)))
        assert client.ids == [1]
        assert client.owner.refused == ["a compressed frame, but no extension was agreed on"]

    run(main())


@LISTENERS
def test_an_extension_that_was_not_offered_is_refused(listener):
    async def main():
        async def serve(peer):
            assert b"sec-websocket-extensions" not in peer.request.lower()
            await peer.receive_until(CLOSE)

        async with RawServer(serve, extra=b"Sec-WebSocket-Extensions: permessage-deflate\r\n") as server:
            client = Client(listener)
            with pytest.raises(transport.ConnectError, match="extension"):
                await client.connect(server.url)

    run(main())


@LISTENERS
def test_gzip_frames(listener):
    async def main():
        text = b'{"E":1790000000123,"S":"BUY","X":"FILLED","e":"executionReport","i":"7","p":"1.50","s":"SOLUSDT"}'
        client = await exchange_frames(listener, frame(gzip.compress(text), BINARY), venue="gzip-broker")
        (record,) = client.records
        assert (record.kind, str(record.price), record.symbol) == ("order", "1.50", "SOLUSDT")

    run(main())


@LISTENERS
def test_sbe_frames(listener):
    from test_sbe import EVENTS

    payload = EVENTS["account position"][0]
    expected = [one.to_dict() for one in execwire.Decoder(VENUE).decode(payload)]

    async def main():
        client = await exchange_frames(listener, frame(payload, BINARY))
        found = [one.to_dict() for one in client.records]
        for one in found:
            one.pop("ts_recv")
        assert found == expected

    run(main())


@LISTENERS
def test_what_cannot_be_decoded_shows_in_its_place(listener):
    async def main():
        client = await exchange_frames(listener, frame(event(1)), frame(event(2)[:-3]), frame(event(3)))
        first, bad, third = client.records
        assert (first.number("order_id"), third.number("order_id")) == (1, 3)
        assert (bad.kind, bad.event, bad.code) == ("notice", "undecodable", "error")
        assert "at byte" in bad.message
        assert client.owner.undecodable == [bad.message]
        assert client.pump.counts["decode_errors"] == 1

    run(main())


@LISTENERS
def test_control_frames_reach_the_session(listener):
    async def main():
        answer = b'{"id":"3","status":200,"result":{"subscriptionId":5}}'
        client = await exchange_frames(listener, frame(event(1)), frame(answer), frame(event(2)))
        assert client.owner.control == [(answer, ["subscribed"])]
        assert [one.kind for one in client.records] == ["order", "notice", "order"]

    run(main())


# ---- MARK: The HTTP before ----


@pytest.mark.parametrize(("status", "text"), [(403, "WAF"), (429, "slow down"), (503, "")])
def test_an_upgrade_that_is_refused(status, text):
    async def main():
        answer = (
            f"HTTP/1.1 {status} No\r\nRetry-After: 7\r\nContent-Length: {len(text)}\r\nConnection: close\r\n\r\n{text}"
        )
        async with RawServer(None, status=answer.encode()) as server:
            client = Client(FASTEST)
            with pytest.raises(transport.ConnectError) as caught:
                await client.connect(server.url)
            assert (caught.value.status, caught.value.retry_after) == (status, 7.0)

    run(main())


def test_a_redirect_is_not_followed():
    """It would take the key to another host."""

    async def main():
        async def serve(peer):
            raise AssertionError("was followed")

        async with RawServer(serve) as other:
            answer = f"HTTP/1.1 302 Found\r\nLocation: {other.url}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            async with RawServer(None, status=answer.encode()) as server:
                client = Client(FASTEST)
                with pytest.raises(transport.ConnectError) as caught:
                    await client.connect(server.url)
                assert caught.value.status == 302

    run(main())


def test_nobody_there():
    async def main():
        async with RawServer(None) as server:
            url = server.url
        client = Client(FASTEST)
        with pytest.raises(transport.ConnectError) as caught:
            await client.connect(url + "?listenKey=SECRETSECRET")
        assert "SECRET" not in str(caught.value)

    run(main())


def test_nothing_is_logged_about_connections(caplog):
    """picows logs a line for every connection, its handshake included at its own lowest level."""

    async def main():
        await exchange_frames(FASTEST, frame(event(1)))

    with caplog.at_level(1):
        run(main())
    assert [one for one in caplog.records if "picows" in one.name] == []


# ---- MARK: Handlers ----


@LISTENERS
def test_a_handler_that_raises_loses_nothing(listener, caplog):
    async def main():
        seen = []

        class Raises(Handler):
            def on_record(self, record):
                seen.append(record.number("order_id"))
                if len(seen) % 2:
                    raise ValueError("secret text")

        client = await exchange_frames(listener, *(frame(event(n)) for n in range(6)), handler=Raises())
        assert seen == list(range(6))
        assert client.pump.counts["handler_errors"] == 3
        assert client.pump.counts["records"] == 6

    with caplog.at_level(logging.ERROR):
        run(main())
    assert "ValueError" in caplog.text
    assert "secret text" not in caplog.text


@LISTENERS
def test_a_batch_handler_that_raises(listener):
    async def main():
        seen = []

        class Raises(Handler):
            def on_batch(self, records):
                seen.extend(records)
                raise ValueError

        client = await exchange_frames(listener, *(frame(event(n)) for n in range(6)), handler=Raises())
        assert len(seen) == 6
        assert client.pump.counts["handler_errors"] == client.pump.counts["batches"]

    run(main())


@LISTENERS
@pytest.mark.parametrize("error", [asyncio.CancelledError, KeyboardInterrupt, SystemExit])
def test_a_handler_that_cancels_ends_it_and_the_rest_is_counted(listener, error):
    async def main():
        seen = []

        class Cancels(Handler):
            def on_record(self, record):
                seen.append(record)
                if len(seen) == 2:
                    raise error

        array = b"[" + b",".join(event(n) for n in range(5)) + b"]"
        client = await exchange_frames(listener, frame(array), frame(event(9)), handler=Cancels())
        assert len(seen) == 2
        assert [type(one) for one in client.owner.stopped] == [error]
        assert client.pump.counts["undelivered"] == 3 + 1

    run(main())


@LISTENERS
def test_a_batch_handler_that_cancels_ends_it(listener):
    async def main():
        batches = []

        class Cancels(Handler):
            def on_batch(self, records):
                batches.append(len(records))
                raise asyncio.CancelledError

        client = await exchange_frames(listener, *(frame(event(n)) for n in range(6)), handler=Cancels())
        counts = client.pump.counts
        assert [type(one) for one in client.owner.stopped] == [asyncio.CancelledError]
        assert counts["handler_errors"] == len(batches) == 1
        assert batches[0] + counts["undelivered"] == 6

    run(main())


@LISTENERS
def test_routes_by_subscription_id(listener):
    async def main():
        by_id: dict[int, list[int]] = {0: [], 7: [], 65535: []}
        other = []
        client = None

        async def serve(peer):
            for n, number in enumerate([0, 7, 65535, 3, 7, None]):
                peer.send(frame(event(n, number)))
            await asyncio.sleep(0.05)
            client.pump.route(7, None)
            peer.send(frame(event(6, 7)), frame(b"\x03\xe8", CLOSE))
            await peer.receive_until(CLOSE)

        async with RawServer(serve) as server:
            client = Client(listener, Calls(lambda one: other.append(one.number("order_id"))))
            for number, seen in by_id.items():
                client.pump.route(number, Calls(lambda one, seen=seen: seen.append(one.number("order_id"))))
            await client.connect(server.url)
            await client.owner.closed
        assert by_id == {0: [0], 7: [1, 4], 65535: [2]}
        assert other == [3, 5, 6]

    run(main())


def test_records_of_a_python_handler_are_their_own_masters():
    async def main():
        client = await exchange_frames(FASTEST, frame(event(1)), frame(b'{"e":"executionReport","zz":[1]}'))
        first, second = client.records
        assert (first.payload, second.extra) == (event(1), {"zz": [1]})

    run(main())


# ---- MARK: Pumps without a socket ----


def test_the_inbox_stops_reading_instead_of_dropping():
    async def main():
        told = []
        inbox = Inbox(asyncio.get_running_loop(), 4, told.append)
        pump = Pump(execwire.Decoder(VENUE), session_decoder(), inbox, Owner())
        for n in range(8):
            pump.feed(event(n))
        pump.flush()
        assert told == [True] * 4  # for every one: it may have come from a socket that is new
        assert [inbox.take().number("order_id") for _ in range(8)] == list(range(8))
        assert told[4:] == [False]
        assert inbox.take() is None
        assert inbox.high_water == 8

    run(main())


def test_only_the_answer_to_the_own_ping_counts():
    async def main():
        owner = Owner()
        pump = Pump(execwire.Decoder(VENUE), session_decoder(), execwire.Handler(), owner)
        pump.saw_pong(b"")  # nobody asked
        pump.echo = b"17"
        for payload in (b"", b"16"):
            pump.saw_pong(payload)
        assert owner.echoes == 0
        pump.saw_pong(b"17")
        pump.saw_pong(b"17")
        assert owner.echoes == 1

    run(main())


def test_when_a_connection_was_last_heard_of():
    async def main():
        pump = Pump(execwire.Decoder(VENUE), session_decoder(), execwire.Handler(), Owner())
        assert pump.heard == 0
        pump.feed(event(1), ts_recv=17)
        assert pump.heard == 17
        pump.flush()
        assert pump.heard == 17
        before = time.time_ns()
        pump.saw_frame(True)
        assert before <= pump.heard <= time.time_ns()

    run(main())


def test_the_inbox_wakes_who_waits():
    async def main():
        inbox = Inbox(asyncio.get_running_loop(), 4, lambda full: None)
        pump = Pump(execwire.Decoder(VENUE), session_decoder(), inbox, Owner())
        waiting = inbox.wait()
        pump.feed(event(1))
        assert not waiting.done()  # within a read
        pump.flush()
        await asyncio.wait_for(waiting, 1)
        assert inbox.wait().done()  # there still is something

    run(main())


def test_one_who_waits_may_give_up_and_the_others_go_on():
    async def main():
        inbox = Inbox(asyncio.get_running_loop(), 10, lambda full: None)
        pump = Pump(execwire.Decoder("binance-spot"), execwire.Decoder("binance-spot"), inbox, Owner())

        async def wait():
            await inbox.wait()
            return inbox.take()

        first, second = asyncio.ensure_future(wait()), asyncio.ensure_future(wait())
        await asyncio.sleep(0)
        first.cancel()
        await asyncio.sleep(0)
        pump.feed(event(7))
        pump.flush()
        assert (await second).number("order_id") == 7
        assert first.cancelled()

    run(main())


def test_held_records_come_after_release_and_control_frames_do_not_wait():
    async def main():
        seen, owner = [], Owner()
        pump = Pump(execwire.Decoder(VENUE), session_decoder(), Calls(seen.append), owner)
        pump.feed(event(1))
        pump.hold()
        pump.feed(event(2))
        pump.feed(b'{"id":"3","status":200,"result":{"subscriptionId":5}}')
        assert len(seen) == 1
        assert len(owner.control) == 1
        assert pump.waiting == 2
        pump.release()
        pump.feed(event(3))
        assert [one.kind for one in seen] == ["order", "order", "notice", "order"]
        assert len(owner.control) == 1
        assert pump.waiting == 0

    run(main())


def test_messages_in_the_order_of_their_event_times():
    async def main():
        seen, owner = [], Owner()
        pump = Pump(execwire.Decoder(VENUE), session_decoder(), Calls(seen.append), owner)
        pump.order_by_event_time(10_000_000, 100)  # 10 ms
        for n in (100, 103, 101, 102):
            pump.feed(event(n))
        assert seen == []
        assert owner.waiting == 1
        pump.feed(event(112))  # what is 10 ms older is due
        assert [one.number("order_id") for one in seen] == [100, 101, 102]
        pump.feed(event(99))  # too late
        assert seen[-1].number("order_id") == 99
        assert pump.counts["out_of_order"] == 1
        await asyncio.sleep(0.02)
        assert pump.overdue() is False
        assert [one.number("order_id") for one in seen[4:]] == [103, 112]

    run(main())


def test_order_is_bounded_and_drained():
    async def main():
        seen = []
        pump = Pump(execwire.Decoder(VENUE), session_decoder(), Calls(seen.append), Owner())
        pump.order_by_event_time(10**12, 3)
        for n in range(10, 0, -1):
            pump.feed(event(n))
        assert len(seen) == 7
        pump.drain()
        assert len(seen) == 10

    run(main())


def test_order_when_the_clock_is_set_back():
    """Nothing waits until the clock is where it was."""

    async def main():
        seen = []
        pump = Pump(execwire.Decoder(VENUE), session_decoder(), Calls(seen.append), Owner())
        pump.order_by_event_time(10_000_000, 100)
        hour = 3_600_000_000_000
        for n in (101, 100):
            pump.feed(event(n), ts_recv=time.time_ns() + hour)
        pump.flush()
        assert seen == []
        assert pump.overdue() is False
        assert [one.number("order_id") for one in seen] == [100, 101]

    run(main())


def test_what_was_held_back_is_put_in_order():
    async def main():
        seen, owner = [], Owner()
        pump = Pump(execwire.Decoder(VENUE), session_decoder(), Calls(seen.append), owner)
        pump.order_by_event_time(10_000_000, 100)
        pump.hold()
        for n in (103, 101, 102, 120):
            pump.feed(event(n))
        pump.feed(b'{"id":1,"status":200,"result":{}}')
        assert len(owner.control) == 1
        pump.release()
        assert [one.number("order_id") for one in seen if one.kind == "order"] == [101, 102, 103]
        pump.drain()
        assert [one.number("order_id") for one in seen if one.kind == "order"] == [101, 102, 103, 120]
        assert len(owner.control) == 1

    run(main())


def test_what_two_connections_bring_comes_once():
    async def main():
        seen, overlap = [], Overlap()
        pumps = [Pump(execwire.Decoder(VENUE), session_decoder(), Calls(seen.append), Owner()) for _ in range(2)]
        for pump in pumps:
            pump.share(overlap)
        pumps[0].feed(event(1, 0))
        pumps[1].feed(event(1, 4))  # the same event under another id
        pumps[1].feed(event(2, 4))
        pumps[0].feed(event(2, 0))
        pumps[0].feed(event(2, 0))  # the venue itself repeats it
        assert [one.number("order_id") for one in seen] == [1, 2, 2]
        assert sum(pump.counts["duplicates"] for pump in pumps) == 2

    run(main())


def test_notices_of_the_session_stand_between_the_records():
    async def main():
        seen, own = [], []
        pump = Pump(execwire.Decoder(VENUE), session_decoder(), Calls(seen.append), Owner())
        pump.route(3, Calls(own.append))
        pump.feed(event(1))
        pump.tell({"execwire": "gap", "message": "of 3 s", "from": 1790000000000000005, "to": 1790000000000000006})
        pump.feed(event(2))
        pump.retell(b'{"execwire":"error","message":"no","code":"-2015","subscription":3,"ts":1}', 1, 3)
        assert [one.event for one in seen] == ["executionReport", "gap", "executionReport"]
        assert (seen[1].code, seen[1].message, seen[1].ts_transact) == ("gap", "of 3 s", 1790000000000000005)
        assert [(one.event, one.subscription_id) for one in own] == [("gap", None), ("error", 3)]
        assert own[1].error_code == "-2015"

    run(main())


def test_a_notice_for_one_handler():
    async def main():
        seen, own = [], []
        pump = Pump(execwire.Decoder(VENUE), session_decoder(), Calls(seen.append), Owner())
        pump.tell({"execwire": "error", "message": "no"}, handler=Calls(own.append))
        assert not seen
        assert [one.message for one in own] == ["no"]

    run(main())


def test_a_handler_may_cause_a_notice():
    async def main():
        seen = []

        def handler(record):
            seen.append(record.event)
            if record.event == "executionReport":
                pump.tell({"execwire": "disconnected", "message": "by the handler"})
            if record.event == "disconnected":
                pump.tell({"execwire": "gap", "message": "and so on"})

        pump = Pump(execwire.Decoder(VENUE), session_decoder(), Calls(handler), Owner())
        pump.feed(event(1))
        assert seen == ["executionReport", "disconnected", "gap"]

    run(main())


def test_a_recorder_gets_the_frames_and_the_notices():
    class Recorder:
        def __init__(self):
            self.lines = []

        def write(self, lines):
            self.lines += lines.splitlines()
            if event(3) in lines:
                return "the disk is full"
            if event(4) in lines:
                raise OSError("no such disk")
            return None

    async def main():
        seen, recorder = [], Recorder()
        pump = Pump(execwire.Decoder(VENUE), session_decoder(), Calls(seen.append), Owner())
        pump.recorder = recorder
        pump.feed(event(1))
        pump.feed(event(2), True)
        assert recorder.lines == []  # what a read brings comes at its end
        pump.flush()
        pump.tell({"execwire": "gap", "message": "x"})
        first, second, third = recorder.lines
        assert first == b"%d %b" % (seen[0].ts_recv, event(1))
        assert second == b'%d {"execwire":"frame","b64":"%b"}' % (seen[1].ts_recv, base64.b64encode(event(2)))
        assert third.startswith(b'%d {"execwire":"gap"' % seen[2].ts_recv)
        pump.feed(event(3))  # the stream goes on, and says what the recorder said
        pump.flush()
        assert [(one.event, one.message) for one in seen[3:] if one.kind == "notice"] == [("error", "the disk is full")]
        pump.feed(event(4))
        pump.flush()
        assert [one.event for one in seen[5:]] == ["executionReport", "error"]
        assert b'"message":"the disk is full"' in recorder.lines[4]
        assert pump.recorder is None

    run(main())


# ---- MARK: Pulse ----


class Transport:
    """Counts what a pulse sends."""

    def __init__(self):
        self.sent = []

    def send_ping(self, message):
        self.sent.append("ping")

    def send(self, kind, message):
        self.sent.append(bytes(message))


def pumps_of(loop, n=1):
    pumps = []
    for _ in range(n):
        pump = Pump(execwire.Decoder(VENUE), session_decoder(), Handler(), Owner())
        pump.transport = Transport()
        pumps.append(pump)
    return pumps


def test_pulse_sends_heartbeats_and_misses_answers():
    async def main():
        pulse = Pulse(asyncio.get_running_loop(), None, 1.0)
        ping, text, ms = pumps_of(None, 3)
        ping.heartbeat(period=10, reply=4, now=0)
        text.heartbeat(period=10, prefix=b"ping", reply=4, now=0)
        ms.heartbeat(period=10, prefix=b'{"ping":', suffix=b"}", now=0)
        for pump in (ping, text, ms):
            pulse.add(pump)
        for now in range(1, 10):
            pulse.beat(float(now))
        assert not ping.transport.sent
        pulse.beat(10.0)
        assert ping.transport.sent == ["ping"]
        assert text.transport.sent == [b"ping"]
        assert ms.transport.sent[0].startswith(b'{"ping":1')
        assert ms.transport.sent[0].endswith(b"}")
        ping.saw_frame(True)
        for now in range(11, 15):
            pulse.beat(float(now))
        assert ping.owner.silent == []
        assert text.owner.silent == ["no answer to a heartbeat"]
        assert ms.owner.silent == []  # nothing is expected

    run(main())


def test_pulse_finds_silence_and_forgives_a_loop_that_was_held_up():
    async def main():
        pulse = Pulse(asyncio.get_running_loop(), None, 1.0)
        (pump,) = pumps_of(None)
        start = asyncio.get_running_loop().time()
        pulse.add(pump)
        pump.heartbeat(silence=5, now=start)
        for n in range(1, 5):
            pulse.beat(start + n)
        pulse.beat(start + 50)  # 45 s in which nobody could read
        assert pump.owner.silent == []
        assert pulse.worst_delay >= 44
        pulse.beat(start + 51)
        assert pump.owner.silent == ["nothing received for 5 s"]

    run(main())


def test_pulse_knows_expected_events_and_quiet_streams():
    async def main():
        pulse = Pulse(asyncio.get_running_loop(), None, 1.0)
        expecting, quiet = pumps_of(None, 2)
        start = asyncio.get_running_loop().time()
        expecting.heartbeat(now=start)
        quiet.heartbeat(data_silence=3, now=start)
        pulse.add(expecting)
        pulse.add(quiet)
        expecting.expect(start + 2)
        for n in range(1, 4):
            for pump in (expecting, quiet):
                pump.feed(b'{"id":"1","status":200,"result":{}}')  # answers are no events
            pulse.beat(start + n)
        assert expecting.owner.silent == ["no event came where one was expected"]
        assert quiet.owner.silent == ["no event for 3 s"]
        expecting.expect(start + 9)
        expecting.feed(event(1))
        for n in range(4, 12):
            pulse.beat(start + n)
        assert len(expecting.owner.silent) == 1

    run(main())


def test_what_another_connection_brought_first_is_an_event_too():
    async def main():
        pulse = Pulse(asyncio.get_running_loop(), None, 1.0)
        first, second = pumps_of(None, 2)
        overlap = Overlap()
        start = asyncio.get_running_loop().time()
        for pump in (first, second):
            pump.share(overlap)
            pump.heartbeat(data_silence=3, now=start)
            pulse.add(pump)
            pump.expect(start + 2)
        for n in range(1, 6):
            for pump in (first, second):
                pump.feed(event(n))
            pulse.beat(start + n)
        assert second.counts["duplicates"] == 5
        assert second.owner.silent == first.owner.silent == []

    run(main())


def test_pulse_leaves_a_paused_connection_alone():
    async def main():
        pulse = Pulse(asyncio.get_running_loop(), None, 1.0)
        (pump,) = pumps_of(None)
        below = type("Below", (), {"pause_reading": lambda self: None, "resume_reading": lambda self: None})()
        pump.transport.underlying_transport = below
        start = asyncio.get_running_loop().time()
        pulse.add(pump)
        pump.heartbeat(silence=2, now=start)
        pump.pause(True)
        for n in range(1, 6):
            pulse.beat(start + n)
        assert pump.owner.silent == []
        pump.pause(False)
        for n in range(6, 9):
            pulse.beat(start + n)
        assert pump.owner.silent == ["nothing received for 2 s"]

    run(main())


# ---- MARK: The guard ----


@needs_the_compiled_one
def test_the_layout_of_the_installed_picows_is_the_one_built_for():
    assert picows_layout.installed_layout() == stream.LAYOUT
    stream.check_layout(stream.LAYOUT)
    with pytest.raises(ImportError, match="another layout"):
        stream.check_layout("0123456789abcdef")


def test_the_hash_covers_the_classes_and_nothing_else():
    text = picows_layout.declarations()
    same = picows_layout.layout(text)
    assert picows_layout.layout(text.replace("cdef class WSCloseInfo:", "# a comment\ncdef class WSCloseInfo:")) == same
    assert picows_layout.layout(text.replace("readonly Py_ssize_t tail_size", "readonly  Py_ssize_t tail_size")) == same
    for old, new in (
        ("readonly Py_ssize_t tail_size", "readonly int tail_size"),
        ("cpdef on_ws_frame(self", "cpdef on_frame(self"),
        ("object _loop\n", "object _loop\n        int more\n"),
    ):
        assert old in text
        assert picows_layout.layout(text.replace(old, new)) != same
    with pytest.raises(ImportError, match="WSTransport"):
        picows_layout.layout(text.replace("cdef class WSTransport", "cdef class Other"))


@needs_the_compiled_one
@pytest.mark.parametrize("problem", ["layout", "size"])
def test_another_picows_gives_the_plain_listener_and_a_warning(monkeypatch, problem):
    transport.listener_class.cache_clear()
    real = importlib.import_module

    def import_module(name):
        if name == "execwire.stream":
            if problem == "layout":
                stream.check_layout("0123456789abcdef")
            warnings.warn("picows.WSFrame size changed, may indicate binary incompatibility", RuntimeWarning, 1)
        return real(name)

    monkeypatch.setattr(transport.importlib, "import_module", import_module)
    with pytest.warns(RuntimeWarning, match="the plain one is slower"):
        assert transport.listener_class() is plain_stream.Listener
    transport.listener_class.cache_clear()


@needs_the_compiled_one
def test_the_compiled_listener_is_used():
    transport.listener_class.cache_clear()
    assert transport.listener_class() is stream.Listener


@needs_the_compiled_one
def test_picows_is_the_pinned_one():
    assert picows.__version__.startswith("2.3.")
    assert "execwire.stream" in sys.modules
