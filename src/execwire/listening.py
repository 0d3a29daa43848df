"""What `execwire listen` does: a session whose records are written as they come."""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import queue
import select
import signal
import stat
import sys
import threading
from collections import deque
from typing import TYPE_CHECKING, TextIO

import uvloop

from execwire.output import WRITERS
from execwire.sessions import Session, SessionError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from execwire.core import Record
    from execwire.recording import FileRecorder

__all__ = ["listen", "table_writer"]

OK, SOME_FAILED, UNREADABLE, INTERRUPTED = 0, 1, 3, 130
ROOM = 64 << 10  # bytes of lines that wait for a slow reader, beside those that are being written; then records wait
LAST = 1.0  # s that a reader has after an interrupt

# Of each kind, what fits a line: (field, width); right-aligned if the width is negative.
_COLUMNS: dict[str, tuple[tuple[str, int], ...]] = {
    "order": (("symbol", 14), ("side", 4), ("status", 16), ("price", -16), ("orig_qty", -16), ("cum_qty", -16),
              ("last_price", -16), ("last_qty", -14), ("order_id", 20)),
    "fill": (("symbol", 14), ("side", 4), ("price", -16), ("qty", -16), ("fee", -14), ("fee_asset", 6),
             ("trade_id", 20)),
    "balance": (("asset", 10), ("free", -20), ("locked", -20), ("total", -20), ("delta", -20)),
    "position": (("symbol", 14), ("side", 5), ("qty", -16), ("entry_price", -16), ("unrealized_pnl", -18)),
    "notice": (("code", 16), ("about", 16), ("error_code", 8), ("message", 60)),
}  # fmt: skip


def table_writer(out: TextIO) -> Callable[[Record], object]:
    """A compact line for people: time of day (UTC), kind, event, and what matters most of the kind.

    Parameters
    ----------
    out : text stream
    """

    def write(record: Record) -> None:
        ns = record.ts_recv or record.ts_event or 0
        seconds, rest = divmod(ns // 1_000_000, 1000)
        clock = f"{seconds // 3600 % 24:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}.{rest:03d}"
        values = record.to_dict()
        cells = []
        for name, width in _COLUMNS[record.kind]:
            value = values.get(name)
            text = "" if value is None else str(value)
            # Control characters of a venue's text must not reach the terminal.
            text = "".join(one if one.isprintable() else "?" for one in text)
            cells.append(text.rjust(-width) if width < 0 else text.ljust(width))
        out.write(f"{clock} {record.kind:8} {record.event:24.24} {' '.join(cells)}".rstrip() + "\n")

    return write


class Output:
    """Lines for a file descriptor whose reader may be slow, or read nothing: the event loop never waits for it.

    What surely goes through at once is written at once, the rest by a thread.

    Parameters
    ----------
    fd : int

    Attributes
    ----------
    lines : BytesIO
        Takes lines, for the next `flush`.
    given_up : bool
        Whether lines were dropped, because nobody read them when it was time to end.
    """

    def __init__(self, fd: int) -> None:
        self.lines = io.BytesIO()
        self.given_up = False
        self._fd = fd
        mode = os.fstat(fd).st_mode
        # What one write takes without waiting, if poll says that it takes something. A pipe takes as much whole, too.
        waits = stat.S_ISSOCK(mode) or os.isatty(fd)
        self._most = select.PIPE_BUF if stat.S_ISFIFO(mode) else 0 if waits else sys.maxsize
        self._poll = select.poll()
        self._poll.register(fd, select.POLLOUT)
        self._loop = asyncio.get_running_loop()
        self._work: queue.SimpleQueue[deque[bytes]] | None = None  # for the thread
        self._waiter: asyncio.Future[None] | None = None
        self._is_busy = False  # the thread
        self._error: OSError | None = None

    async def flush(self, room: int = ROOM) -> None:
        """Write what there is; wait only while more than `room` bytes wait for the thread.

        Raises
        ------
        OSError
            If it cannot be written, now or before.
        """
        self._write()
        while self._is_busy and not self.given_up and self.lines.tell() > room:
            await self._wait()
        if self._error is not None:
            raise self._error

    async def finish(self) -> None:
        """Write what there is, and wait until everything has been written or given up; raises as `flush`."""
        await self.flush()
        while self._is_busy and not self.given_up:
            await self._wait()
        await self.flush()

    def give_up(self) -> None:
        """From now on, nobody waits for a reader that does not read."""
        if self._is_busy:
            self.given_up = True
            self._wake()
        else:
            self._loop.call_later(LAST / 10, self.give_up)

    def _write(self) -> None:
        if self._is_busy or self._error is not None or not self.lines.tell():
            return
        pieces = deque(_pieces(self.lines.getvalue(), self._most or ROOM))
        self.lines.seek(0)
        self.lines.truncate()
        try:
            while pieces and len(pieces[0]) <= self._most and self._poll.poll(0):
                self._put(pieces.popleft())
        except OSError as error:
            self._error = error
            return
        if not pieces:
            return
        if self._work is None:
            self._work = queue.SimpleQueue()
            # Nobody joins it: if its last write waits for ever, it ends with the process.
            threading.Thread(target=self._run, args=(self._work,), name="execwire-output", daemon=True).start()
        self._is_busy = True
        self._work.put(pieces)

    def _put(self, piece: bytes) -> None:
        while piece:
            try:
                piece = piece[os.write(self._fd, piece) :]
            except BlockingIOError:  # somebody made it so
                self._poll.poll()

    async def _wait(self) -> None:
        self._waiter = self._loop.create_future()
        await self._waiter

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # ---- The thread ----

    def _run(self, work: queue.SimpleQueue[deque[bytes]]) -> None:
        while True:
            pieces, failed = work.get(), None
            try:
                while pieces and not self.given_up:
                    self._put(pieces.popleft())
            except OSError as error:
                failed = error
            try:
                self._loop.call_soon_threadsafe(self._on_written, failed)
            except RuntimeError:  # the loop has ended meanwhile
                return

    def _on_written(self, failed: OSError | None) -> None:
        self._is_busy = False
        self._error = failed
        self._write()
        self._wake()


def _pieces(lines: bytes, most: int) -> Iterator[bytes]:
    """Whole lines together, as far as there are not more bytes than that of them."""
    begin = 0
    while begin < len(lines):
        end = lines.rfind(b"\n", begin, begin + most) + 1 or lines.find(b"\n", begin) + 1 or len(lines)
        yield lines[begin:end]
        begin = end


def listen(
    venue: str,
    *,
    url: str | None,
    rest_url: str | None,
    variants: Sequence[str],
    channels: Sequence[str] | None,
    recorder: FileRecorder | None,
    out: TextIO,
    table: bool,
    kinds: Sequence[str],
    extra: bool,
    count: int | None,
    tell: Callable[[str], object],
) -> int:
    """Write the records of a session until it ends, is interrupted, or there were `count`.

    Parameters
    ----------
    venue, url, rest_url, variants, channels
        As `Session` has them; credentials come from the environment.
    recorder : FileRecorder or None
        Keeps frames; it is closed in the end.
    out : text stream
        Of a file descriptor. If nobody reads it the session goes on: records wait, and none is dropped until the end.
    table : bool
        Lines for people, instead of NDJSON.
    kinds : sequence of str
        Which kinds are written.
    extra : bool
        NDJSON has what no field took, too.
    count : int or None
    tell : callable
        Standard error.

    Returns
    -------
    int
        Exit code: 0, 1 if frames could not be decoded, 3 if the session could not go on, 130 if interrupted.
    """

    async def main() -> int:
        with contextlib.ExitStack() as stack:
            if recorder is not None:
                stack.enter_context(recorder)
            session = Session(
                venue, variant=variants, channels=channels, url=url, rest_url=rest_url, recorder=recorder
            )  # fmt: skip
            interrupted = False
            output = Output(out.fileno())
            if table:
                lines = io.TextIOWrapper(output.lines, encoding=out.encoding, errors=out.errors, write_through=True)
                write = table_writer(lines)
            else:
                write = WRITERS["ndjson"](output.lines, kinds, extra)

            def stop() -> None:
                nonlocal interrupted
                if interrupted:
                    output.give_up()
                    return
                interrupted = True
                loop.call_later(LAST, output.give_up)
                closing.append(loop.create_task(session.close()))

            closing: list[asyncio.Task[None]] = []
            loop = asyncio.get_running_loop()
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.add_signal_handler(number, stop)
            written = 0
            try:
                async with session:
                    async for record in session:
                        if record.kind in kinds:
                            write(record)
                            written += 1
                        if not session.waiting or written == count or output.lines.tell() > ROOM:
                            await output.flush()
                        if written == count or output.given_up:
                            break
                await output.finish()
            except SessionError as error:
                await output.finish()
                tell(f"{venue}: {error}")
                return UNREADABLE
            finally:
                for number in (signal.SIGINT, signal.SIGTERM):
                    loop.remove_signal_handler(number)
                if closing:
                    await asyncio.wait(closing)
            if interrupted:
                return INTERRUPTED
            failed = session.stats()["decode_errors"]
            if failed:
                tell(f"{failed} messages could not be decoded")
            return SOME_FAILED if failed else OK

    code = uvloop.run(main())
    if recorder is not None and recorder.lost:
        tell(f"{recorder.path}: {recorder.lost} bytes could not be recorded")
        return code or SOME_FAILED
    return code
