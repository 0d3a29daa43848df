"""What `execwire listen` does: a session whose records are written as they come."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from typing import TYPE_CHECKING, TextIO

import uvloop

from execwire.sessions import Session, SessionError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from execwire.core import Record
    from execwire.recording import FileRecorder

__all__ = ["listen", "table_writer"]

OK, SOME_FAILED, UNREADABLE, INTERRUPTED = 0, 1, 3, 130

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


def listen(
    venue: str,
    *,
    url: str | None,
    rest_url: str | None,
    variants: Sequence[str],
    channels: Sequence[str] | None,
    recorder: FileRecorder | None,
    write: Callable[[Record], object],
    kinds: Sequence[str],
    count: int | None,
    tell: Callable[[str], object],
    flush: Callable[[], object],
) -> int:
    """Write the records of a session until it ends, is interrupted, or there were `count`.

    Parameters
    ----------
    venue, url, rest_url, variants, channels
        As `Session` has them; credentials come from the environment.
    recorder : FileRecorder or None
        Keeps frames; it is closed in the end.
    write : callable
        Takes a record.
    kinds : sequence of str
        Which kinds it takes.
    count : int or None
    tell, flush : callable
        Standard error; end of a batch of records.

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

            def stop() -> None:
                nonlocal interrupted
                interrupted = True
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
                        if not session.waiting or written == count:
                            flush()
                        if written == count:
                            break
            except SessionError as error:
                flush()
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
