"""A handler compiled by a user gets C structs, frame by frame, without a Python object in between."""

# ruff: noqa: SIM117

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from raw_server import RawServer, frame
from test_cimport import compiled
from test_session_live import CREDENTIALS, run

from execwire import Account, Session

if TYPE_CHECKING:
    from types import ModuleType

SOURCE = """
# cython: language_level=3
from libc.stdint cimport uint64_t
from execwire.core cimport Decoder
from execwire.delivery cimport Handler, own
from execwire.header cimport EW_NOTICE, EW_ORDER, EW_SIDE_BUY, ew_record


cdef class Engine(Handler):
    cdef readonly uint64_t ids
    cdef readonly int buys, notices, reads
    cdef readonly list kept
    cdef public int fail_at

    def __cinit__(self):
        self.kept = []

    cdef int on_struct(self, Decoder decoder, const ew_record *record, size_t index) except -1:
        if record.h.kind == EW_NOTICE:
            self.notices += 1
            self.kept.append(decoder.event_name(record).decode())
        elif record.h.kind == EW_ORDER:
            self.ids += record.order.order_id.number
            self.buys += record.order.side == EW_SIDE_BUY
            if record.order.order_id.number == self.fail_at:
                raise ValueError
            if record.order.order_id.number == 3:
                self.kept.append(own(decoder, record, index))
        return 0

    cdef int on_read_end(self) except -1:
        self.reads += 1
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
