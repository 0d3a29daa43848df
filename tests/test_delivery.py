"""Pumps and pulses without a socket: what waits, what is heard of, and when a connection counts as dead."""

from __future__ import annotations

import asyncio
import json
import logging
import time

import pytest
from test_stream import VENUE, Batches, Owner, Transport, event, pumps_of, run, session_decoder

import execwire
from execwire.delivery import Calls, Handler, Inbox, Overlap, Pulse, Pump, is_delivering

MS = 1_000_000
EPOCH = 1_790_000_000_000 * MS  # the time of event 0, ns


def pump_to(handler: Handler) -> Pump:
    return Pump(execwire.Decoder(VENUE), session_decoder(), handler, Owner())


class Below:
    """What a socket can do to be read from or not."""

    def pause_reading(self):
        pass

    resume_reading = pause_reading


def with_socket(pump: Pump) -> Pump:
    pump.transport = Transport()
    pump.transport.underlying_transport = Below()
    return pump


# ---- MARK: What waits ----


def test_reading_goes_on_when_half_of_what_may_wait_is_gone():
    async def main():
        told = []
        inbox = Inbox(asyncio.get_running_loop(), 4, told.append)
        pump = pump_to(inbox)
        for n in range(6):
            pump.feed(event(n))
        pump.flush()
        left = {}
        while inbox.take() is not None:
            left[len(inbox)] = told[-1]
        assert left == {5: True, 4: True, 3: True, 2: False, 1: False, 0: False}

    run(main())


def test_to_hold_twice_is_to_hold_once():
    async def main():
        seen = []
        pump = pump_to(Calls(seen.append))
        pump.hold()
        pump.feed(event(1))
        pump.hold()
        pump.feed(event(2))
        pump.release()
        assert [one.number("order_id") for one in seen] == [1, 2]

    run(main())


def test_what_was_held_back_comes_as_one_batch():
    async def main():
        handler = Batches()
        pump = pump_to(handler)
        pump.hold()
        for n in (1, 2):
            pump.feed(event(n))
            pump.flush()
        assert handler.batches == []
        pump.release()
        assert handler.batches == [[1, 2]]

    run(main())


def test_what_was_held_back_comes_when_the_connection_is_gone():
    async def main():
        handler = Batches()
        pump = pump_to(handler)
        pump.hold()
        pump.feed(event(1))
        pump.flush()
        pump.drain()
        assert handler.batches == [[1]]
        assert pump.waiting == 0

    run(main())


def test_a_message_that_is_late_but_not_too_late_comes_at_once():
    """Its time is over, but nothing newer has been delivered."""

    async def main():
        seen = []
        pump = pump_to(Calls(seen.append))
        pump.order_by_event_time(10 * MS, 100)
        for n in (100, 115, 103):
            pump.feed(event(n))
        assert [one.number("order_id") for one in seen] == [100, 103]
        assert pump.counts["out_of_order"] == 0

    run(main())


def test_what_comes_late_after_all_has_been_delivered_comes_at_once():
    async def main():
        seen = []
        pump = pump_to(Calls(seen.append))
        pump.order_by_event_time(100 * MS, 100)
        pump.feed(event(50))
        pump.drain()
        pump.feed(event(10))
        assert [one.number("order_id") for one in seen] == [50, 10]
        assert pump.counts["out_of_order"] == 1

    run(main())


def test_a_log_that_fails_costs_no_record(monkeypatch):
    async def main():
        def fail(*_args, **_options):
            raise ZeroDivisionError

        seen = []

        def take(record):
            seen.append(record)
            raise ValueError

        decoder = execwire.Decoder("bitget")
        pump = Pump(decoder, session_decoder(), Calls(take), Owner())
        monkeypatch.setattr(logging.getLogger("execwire"), "error", fail)
        monkeypatch.setattr(logging.getLogger("execwire.delivery"), "error", fail)
        row = {"instId": "BTCUSDT", "orderId": "1", "size": "1", "price": "2", "status": "live"}
        arg = {"instType": "SPOT", "channel": "orders", "instId": "default"}
        pump.feed(json.dumps({"action": "snapshot", "arg": arg, "data": [row] * 3}).encode())
        assert len(seen) == 3
        assert pump.counts["handler_errors"] == 3
        assert not is_delivering(decoder, decoder)

    run(main())


# ---- MARK: Who gets what ----


def test_notices_of_two_connections_are_not_the_same():
    """They are about the connection that brings them."""

    async def main():
        seen, overlap = [], Overlap()
        pumps = [pump_to(Calls(seen.append)) for _ in range(2)]
        for pump in pumps:
            pump.share(overlap)
            pump.feed(b'{"id":"3","status":200,"result":{"subscriptionId":5}}')
        assert [one.code for one in seen] == ["subscribed"] * 2
        assert [pump.counts["duplicates"] for pump in pumps] == [0, 0]

    run(main())


def test_a_route_that_was_taken_back():
    async def main():
        common, own = [], []
        pump = pump_to(Calls(common.append))
        pump.route(3, Calls(own.append))
        pump.feed(event(1, 3))
        pump.route(3, None)
        pump.feed(event(2, 3))
        pump.tell({"execwire": "gap", "message": "of 3 s"})
        assert [one.event for one in own] == ["executionReport"]
        assert [one.event for one in common] == ["executionReport", "gap"]

    run(main())


# ---- MARK: What is heard of ----


def test_where_reading_was_stopped_the_venues_time_counts():
    """What came then may be old."""

    async def main():
        pump = with_socket(pump_to(Handler()))
        pump.feed(event(1), ts_recv=EPOCH + 50 * MS)
        pump.flush()
        assert pump.heard == EPOCH + 50 * MS
        pump.pause(True)
        pump.pause(False)
        pump.feed(event(2), ts_recv=EPOCH + 9000 * MS)
        pump.flush()
        assert pump.heard == EPOCH + 2 * MS
        pump.feed(b'{"e":"executionReport","s":"SOLEUR"}', ts_recv=EPOCH + 9001 * MS)  # which has no time
        pump.flush()
        assert pump.heard == EPOCH + 2 * MS

    run(main())


def test_heartbeats_go_on():
    async def main():
        pulse = Pulse(asyncio.get_running_loop(), None, 1.0)
        (pump,) = pumps_of(None)
        pump.heartbeat(period=10, reply=4, now=0)
        pulse.add(pump)
        for now in range(1, 36):
            pump.saw_frame(True)
            pulse.beat(float(now))
        assert pump.transport.sent == ["ping"] * 3
        assert pump.owner.silent == []

    run(main())


def test_another_heartbeat_does_not_put_off_the_answer_to_the_last():
    async def main():
        pulse = Pulse(asyncio.get_running_loop(), None, 1.0)
        (pump,) = pumps_of(None)
        start = asyncio.get_running_loop().time()
        pump.heartbeat(period=3, reply=4, now=start)
        pulse.add(pump)
        for n in range(1, 7):
            pulse.beat(start + n)
        assert pump.owner.silent == []
        pulse.beat(start + 7)
        assert pump.owner.silent == ["no answer to a heartbeat"]

    run(main())


def test_no_watch_counts_the_time_in_which_the_loop_stood_still():
    async def main():
        pulse = Pulse(asyncio.get_running_loop(), None, 1.0)
        pumps = pumps_of(None, 4)
        start = asyncio.get_running_loop().time()
        for pump, what in zip(pumps, ({"silence": 5}, {"data_silence": 5}, {"period": 1, "reply": 5}, {}), strict=True):
            pump.heartbeat(now=start, **what)
            pulse.add(pump)
        pumps[3].expect(start + 6)
        for n in (1, 2, 50, 51):
            pulse.beat(start + n)
        assert [pump.owner.silent for pump in pumps] == [[]] * 4
        assert pulse.worst_delay > 40
        for n in range(52, 60):
            pulse.beat(start + n)
        assert all(pump.owner.silent for pump in pumps)
        assert pulse.worst_delay > 40

    run(main())


def test_what_came_before_is_not_the_event_that_is_expected():
    async def main():
        pulse = Pulse(asyncio.get_running_loop(), None, 1.0)
        (pump,) = pumps_of(None)
        start = asyncio.get_running_loop().time()
        pump.heartbeat(now=start)
        pulse.add(pump)
        pump.feed(event(1))
        pump.expect(start + 2)
        for n in range(1, 4):
            pulse.beat(start + n)
        assert pump.owner.silent == ["no event came where one was expected"]

    run(main())


# ---- MARK: Until when there was a stream ----


@pytest.mark.parametrize("order", ["timer first", "socket first"])
def test_what_is_read_after_the_loop_stood_still_may_be_old(order):
    async def main():
        pump = pump_to(Calls(lambda record: None))
        pulse = Pulse(asyncio.get_running_loop(), None, tick=0.05)
        pulse.add(pump)
        await asyncio.sleep(0.2)
        pump.feed(event(1))
        pump.flush()
        assert time.time_ns() - pump.heard < 0.15e9
        stood_at = time.time_ns()
        time.sleep(0.5)
        if order == "timer first":
            pulse.beat(asyncio.get_running_loop().time())
        pump.saw_frame(True)
        assert abs(pump.heard - stood_at) < 0.15e9
        await asyncio.sleep(1.5)
        pump.saw_frame(True)
        assert time.time_ns() - pump.heard < 0.15e9
        pulse.discard(pump)

    run(main())


def test_what_is_held_back_is_no_silence():
    async def main():
        pump = with_socket(pump_to(Calls(lambda record: None)))
        pulse = Pulse(asyncio.get_running_loop(), None)
        start = asyncio.get_running_loop().time()
        pump.heartbeat(data_silence=2, now=start)
        pulse.add(pump)
        pump.hold()
        pump.expect(start + 1)
        pulse.beat(start)
        for tenth in range(1, 60):
            pump.feed(event(tenth))
            pulse.beat(start + tenth / 10)
        assert not pump.owner.silent
        pump.release()
        for tenth in range(60, 90):
            pulse.beat(start + tenth / 10)
        assert len(pump.owner.silent) == 1
        pulse.discard(pump)

    run(main())
