"""A handler compiled by a user gets C structs, frame by frame, without a Python object in between."""

# ruff: noqa: SIM117

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from raw_server import RawServer, frame
from sessions import CREDENTIALS, run
from test_cimport import compiled

from execwire import Account, Session

if TYPE_CHECKING:
    from types import ModuleType

SOURCE = """
# cython: language_level=3
from libc.stdint cimport uint64_t
from posix.unistd cimport sleep
from execwire.core cimport Decoder
from execwire.delivery cimport Handler, own
from execwire.header cimport EW_NOTICE, EW_ORDER, EW_SIDE_BUY, ew_record


cdef class Engine(Handler):
    cdef readonly uint64_t ids
    cdef readonly int buys, notices, reads
    cdef readonly list kept
    cdef public int fail_at, block_at, fail_reads
    cdef public object error

    def __cinit__(self):
        self.kept = []
        self.error = ValueError

    cdef int on_struct(self, Decoder decoder, const ew_record *record, size_t index) except -1:
        if record.h.kind == EW_NOTICE:
            self.notices += 1
            self.kept.append(decoder.event_name(record).decode())
        elif record.h.kind == EW_ORDER:
            self.ids += record.order.order_id.number
            self.buys += record.order.side == EW_SIDE_BUY
            if record.order.order_id.number == self.fail_at:
                raise self.error
            if record.order.order_id.number == self.block_at:
                sleep(1)
            if record.order.order_id.number == 3:
                self.kept.append(own(decoder, record, index))
        return 0

    cdef int on_read_end(self) except -1:
        self.reads += 1
        if self.fail_reads:
            raise self.error
        return 0
"""


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> ModuleType:
    return compiled("handler_engine", SOURCE, tmp_path_factory.mktemp("handler"))


def report(n: int, subscription: int) -> bytes:
    inner = b'{"e":"executionReport","s":"SOLEUR","S":"%b","i":%d,"zz":[%d]}' % (b"BUY" if n % 2 else b"SELL", n, n)
    return b'{"subscriptionId":%d,"event":%b}' % (subscription, inner)


@pytest.mark.parametrize("fail_at", [0, 5])
def test_structs(engine, fail_at):
    async def main():
        async def serve(peer):
            await peer.receive()
            await peer.receive()
            for n in range(2):
                peer.send(frame(b'{"id":%d,"status":200,"result":{"subscriptionId":%d}}' % (n, n)))
            peer.send(*(frame(report(n, n % 2)) for n in range(1, 11)))
            await peer.receive()

        handlers = [engine.Engine(), engine.Engine()]
        handlers[1].fail_at = fail_at
        accounts = [Account(CREDENTIALS, handlers[0]), Account(CREDENTIALS, handlers[1])]
        async with RawServer(serve) as server:
            async with Session("binance-spot", accounts=accounts, url=server.url, handler=engine.Engine()) as session:
                while handlers[0].ids < 30:
                    await asyncio.sleep(0.01)
                stats = session.stats()
        even, odd = handlers
        assert (even.ids, even.buys, odd.ids, odd.buys) == (30, 0, 25, 5)
        assert even.kept == ["connected"]
        kept = [one for one in odd.kept if not isinstance(one, str)]
        assert [(one.number("order_id"), one.extra["zz"]) for one in kept] == [(3, [3])]
        assert 1 <= even.reads <= 6
        assert stats["handler_errors"] == (1 if fail_at else 0)

    run(main())


async def orders(peer) -> None:
    """A subscription and a hundred reports at once, then ten more."""
    await peer.receive()
    peer.send(
        frame(b'{"id":0,"status":200,"result":{"subscriptionId":0}}'), *(frame(report(n, 0)) for n in range(1, 101))
    )
    await asyncio.sleep(0.2)
    peer.send(*(frame(report(n, 0)) for n in range(101, 111)))
    await peer.receive()


def test_an_end_of_reads_that_raises_is_counted(engine):
    async def main():
        handler = engine.Engine()
        handler.fail_reads = 1
        async with RawServer(orders) as server:
            async with Session("binance-spot", CREDENTIALS, url=server.url, handler=handler) as session:
                while handler.ids < sum(range(1, 111)):
                    await asyncio.sleep(0.01)
                stats = session.stats()
                assert session.state == "live"
        assert stats["handler_errors"] == handler.reads >= 2
        assert stats["undelivered"] == 0

    run(main())


def test_a_struct_handler_that_blocks_for_a_second_loses_nothing(engine):
    async def main():
        handler = engine.Engine()
        handler.block_at = 50
        async with RawServer(orders) as server:
            async with Session("binance-spot", CREDENTIALS, url=server.url, handler=handler) as session:
                while handler.ids < sum(range(1, 111)):
                    await asyncio.sleep(0.01)
                await asyncio.sleep(0.5)  # the watchdogs look twice
                stats = session.stats()
        assert handler.ids == sum(range(1, 111))
        assert stats["loop_delay"] > 0.5
        assert stats["handler_errors"] == stats["gaps"] == stats["silences"] == 0

    run(main())


@pytest.mark.parametrize("error", [KeyboardInterrupt, asyncio.CancelledError])
def test_a_struct_handler_that_cancels_ends_the_session_and_the_rest_is_counted(engine, error):
    async def main():
        handler = engine.Engine()
        handler.fail_at, handler.error = 50, error
        async with RawServer(orders) as server:
            session = Session("binance-spot", CREDENTIALS, url=server.url, handler=handler)
            with pytest.raises(error):
                await session.run()
            stats = session.stats()
            await session.close()
        assert handler.ids == sum(range(1, 51))
        assert stats["handler_errors"] == 1
        assert stats["records"] - stats["notices"] == 50
        assert stats["late"] == 50  # of the read whose record it was
        assert session.state == "closed"

    run(main())
