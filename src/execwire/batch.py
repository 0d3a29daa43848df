"""Captures to tables: whole, in batches of bounded memory, and file by file with a report of each.

Captures of lines go block by block into the C core, which decodes them into columns; no Python object is made per line.
Lines about which the core cannot decide come back: the recorder's own, those that fail, and with ``venue="auto"`` those
of a shape that has not been seen before.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import glob
import os
import re
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, TypeAlias

from execwire.captures import (
    FORMATS,
    Capture,
    CaptureError,
    Message,
    MissingLibraryError,
    Part,
    Position,
    cut,
    reason,
)
from execwire.columns import Batch, Columns, Lines
from execwire.core import DecodeError, Decoder
from execwire.detection import Detector
from execwire.output import json_text
from execwire.tables import EventTable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from execwire.venues import Venue

__all__ = ["Failure", "FileReport", "expand", "merge", "read_capture", "scan_capture"]

Source: TypeAlias = "str | os.PathLike[str] | BinaryIO"
_Line: TypeAlias = tuple[int, int, int, bytes, bool, bool]  # as `Lines.take` gives it

ROWS = 1 << 16  # of a batch
SCANNED_ROWS = 1 << 14  # a batch in the making then stays in a cache
MOST_ROWS = 1 << 24
TOLD = 1000  # failures of a file that are kept; all are counted
PART = 16 << 20  # bytes of a file that are worth a thread


@dataclass(frozen=True)
class Failure:
    """A message that could not be decoded."""

    where: str  #: ``file:line (byte N)``
    message: str
    line: int
    offset: int  #: byte of the unpacked capture; of a binary frame, where it begins


@dataclass
class FileReport:
    """What became of one input."""

    name: str
    format: str | None = None
    compression: str | None = None
    messages: int = 0
    records: dict[str, int] = field(default_factory=dict)  #: by kind
    failed: int = 0
    failures: list[Failure] = field(default_factory=list)  #: the first ones
    damage: str | None = None  #: why the input could not be read to its end
    may_pass: bool = False  #: that was a failure of the disk, or a library that is missing: not of the input
    control_lines: int = 0
    blank_lines: int = 0
    unclosed: int = 0  #: recordings in it that were killed, or still go on; see `Capture.unclosed`
    unknown_events: int = 0
    unknown_keys: int = 0
    unknown_enums: int = 0
    unrepresentable: int = 0

    @property
    def is_whole(self) -> bool:
        """Whether everything was read and decoded."""
        return not self.failed and self.damage is None


def merge(reports: Iterable[FileReport], name: str) -> FileReport:
    """One report for many inputs: sums, all failures that the reports have, and what is damaged, with names."""
    total, damages = FileReport(name), list[str]()
    for one in reports:
        for kind, n in one.records.items():
            total.records[kind] = total.records.get(kind, 0) + n
        for count in ("messages", "failed", "control_lines", "blank_lines", "unclosed", "unknown_events",
                      "unknown_keys", "unknown_enums", "unrepresentable"):  # fmt: skip
            setattr(total, count, getattr(total, count) + getattr(one, count))
        total.failures += one.failures
        if one.damage is not None:
            damages.append(f"{one.name}: {one.damage}")
        total.may_pass |= one.may_pass
    total.damage = "; ".join(damages) or None
    return total


class _Reader:
    """Decodes one capture into columns."""

    def __init__(self, capture: Capture, venue: Decoder | Detector, columns: Columns, extra: bool) -> None:
        self.capture = capture
        self.venue = venue
        self.decoder = venue if isinstance(venue, Decoder) else venue.decoder
        self.columns = columns
        self.extra = json_text if extra else None
        self.report = FileReport(capture.name)
        self._before = columns.stats, columns.rows

    def run(self) -> Iterator[None]:
        """Decode; yields now and then, so that full batches can be taken."""
        try:
            if self.capture.is_lines and self.extra is None:
                yield from self._blocks()
            else:
                for count, message in enumerate(self.capture):
                    self._decode(message)
                    if count % 1024 == 0 or self.columns.is_crowded:
                        yield
        except (OSError, CaptureError) as error:
            several = self.capture.damages if len(self.capture.damages) > 1 else [error]
            self.report.damage = "; ".join(map(reason, several[:TOLD]))
            self.report.may_pass = isinstance(error, OSError | MissingLibraryError)
        self._finish()

    def _blocks(self) -> Iterator[None]:
        how = FORMATS[self.capture.format or ""]
        lines = Lines(how.stamped, how.comments)
        for _ in self.capture.fill(lines):
            while self.decoder is None and (line := lines.next()) is not None:  # until the first venue is known
                if how.comments and not line[5]:
                    self.capture.comment(*line[:2], line[3])
                else:
                    self._other(line)
            if self.decoder is not None:
                self._drain(self.decoder, lines, how.comments)
            yield
        for message in self.capture.rest(lines):
            self._decode(message)

    def _drain(self, decoder: Decoder, lines: Lines, comments: bool) -> None:
        while (stop := self.columns.feed(decoder, lines)) is not None:
            _, line, error = stop
            if comments and not line[5]:
                self.capture.comment(*line[:2], line[3])
            elif error is not None:
                self._fail(Message(Position(*line[:2]), *line[2:4]), error)
            else:
                self._other(line)
                decoder = self.decoder or decoder

    def _other(self, line: _Line) -> None:
        message = self.capture.message(*line[:4])
        if message is not None:
            self._decode(message)

    def _decode(self, message: Message) -> None:
        try:
            is_auto = isinstance(self.venue, Detector)
            if isinstance(self.venue, Detector):
                self.decoder = self.venue.choose(message.payload)
            assert self.decoder is not None
            self.columns.decode(self.decoder, message.payload, message.ts_recv, accept=is_auto, extra=self.extra)
        except DecodeError as error:
            self._fail(message, error)

    def _fail(self, message: Message, error: DecodeError) -> None:
        self.report.failed += 1
        if len(self.report.failures) < TOLD:
            line, offset, framed, _ = message.position
            where = self.capture.locate(message, error.offset)
            self.report.failures.append(
                Failure(where, error.message, line, offset if framed else offset + error.offset)
            )

    def _finish(self) -> None:
        report, capture, now, rows = self.report, self.capture, self.columns.stats, self.columns.rows
        before, rows_before = self._before
        report.format, report.compression = capture.format, capture.compression
        report.control_lines, report.blank_lines = capture.control_lines, capture.blank_lines
        report.unclosed = capture.unclosed
        report.records = {kind: n - rows_before[kind] for kind, n in rows.items() if n > rows_before[kind]}
        decoded = now.messages - now.errors - before.messages + before.errors
        report.messages = decoded + report.failed
        report.unknown_events = now.unknown_events - before.unknown_events
        report.unknown_keys = now.unknown_keys - before.unknown_keys
        report.unknown_enums = now.unknown_enums - before.unknown_enums
        report.unrepresentable = now.unrepresentable - before.unrepresentable


def _moved(failure: Failure, lines: int, begin: int) -> Failure:
    """The failure as one of the whole file, if it is one of a part that begins behind so many lines."""
    found = re.fullmatch(r"(.*):(\d+) \(byte (\d+)(.*)", failure.where, re.DOTALL)
    assert found is not None
    name, line, byte, rest = found.groups()
    where = f"{name}:{int(line) + lines} (byte {int(byte) + begin}{rest}"
    return Failure(where, failure.message, failure.line + lines, failure.offset + begin)


def expand(source: Source | Iterable[Source]) -> list[Source]:
    """One or many: a pattern stands for the files that match it, in order of their names."""
    if isinstance(source, str | os.PathLike) or hasattr(source, "read"):
        source = [source]  # type: ignore[list-item]
    found: list[Source] = []
    for one in source:
        if isinstance(one, str) and glob.has_magic(one) and not os.path.exists(one):  # noqa: PTH110  (Path's raises)
            matches = sorted(glob.glob(one, recursive=True))  # noqa: PTH207  (Path's are relative to something)
            if not matches:
                raise FileNotFoundError(f"no file matches {one}")
            found += [match for match in matches if not os.path.isdir(match)]  # noqa: PTH112  (Path's raises)
        elif isinstance(one, str | os.PathLike) or hasattr(one, "read"):
            found.append(one)
        else:
            raise TypeError(f"captures are paths or files, not {type(one).__name__}")
    return found


def _venue(venue: str | os.PathLike[str] | Venue) -> Decoder | Detector:
    return Detector() if venue == "auto" else Decoder(venue)


class _Job:
    """Captures on their way into columns, with one report for each."""

    def __init__(
        self,
        source: Source | Iterable[Source],
        venue: str | os.PathLike[str] | Venue,
        format: str,
        ts_key: str | None,
        payload_key: str | None,
        extra: bool,
        rows: int,
    ) -> None:
        self.sources = expand(source)
        self.venue = Detector() if venue == "auto" else Decoder(venue)
        self.given_venue = venue
        self.options = {"format": format, "ts_key": ts_key, "payload_key": payload_key}
        self.extra = extra
        self.columns = Columns(rows)
        self.reports: list[FileReport] = []

    def run(self, progress: Callable[[int], object] | None = None) -> Iterator[None]:
        for source in self.sources:
            yield from self._read_source(source, progress)

    def _read_source(self, source: Source, progress: Callable[[int], object] | None = None) -> Iterator[None]:
        with Capture(source, **self.options) as capture:  # type: ignore[arg-type]
            reader = _Reader(capture, self.venue, self.columns, self.extra)
            self.reports.append(reader.report)
            for _ in reader.run():
                if progress is not None:
                    progress(capture.bytes_read)
                yield

    def read(self, threads: int) -> EventTable:
        """Everything in one table; large files by several threads."""
        batches: list[Batch] = []
        for source in self.sources:
            known, places = self._cut(source, threads)
            if places:
                batches += self.columns.batches(all=True)  # of the sources before it
                batches += self._read_parts(source, known, places)  # type: ignore[arg-type]
            else:
                for _ in self._read_source(source):
                    batches += self.columns.batches()
        return self.table([*batches, *self.columns.batches(all=True)])

    def _cut(self, source: Source, threads: int) -> tuple[str | None, list[int]]:
        """Of a file that several threads may read: its format, and where their parts meet."""
        one = None, list[int]()
        if threads < 2 or self.extra or isinstance(self.venue, Detector):  # which learns from what it has seen
            return one
        if not isinstance(source, str | os.PathLike) or os.fspath(source) == "-" or not Path(source).is_file():
            return one
        parts = min(threads, Path(source).stat().st_size // PART)
        if parts < 2:
            return one
        with Capture(source, **self.options) as capture:  # type: ignore[arg-type]
            try:
                is_plain = capture.is_lines and capture.compression is None
            except CaptureError:  # which whoever reads it tells
                return one
        return (capture.format, cut(source, parts)) if is_plain else one

    def _read_parts(self, path: str | os.PathLike[str], format: str | None, places: list[int]) -> list[Batch]:
        """A file's batches, in order, read by a thread for each part; and its report."""
        begins, stop = [0, *places], threading.Event()

        def read(begin: int, end: int | None) -> tuple[list[Batch], FileReport]:
            columns, batches = Columns(ROWS), list[Batch]()
            try:
                with contextlib.closing(Part(path, begin, end)) as part:
                    capture = Capture(part, **(self.options | {"format": format}))  # type: ignore[arg-type]
                    reader = _Reader(capture, Decoder(self.given_venue), columns, extra=False)
                    for _ in reader.run():
                        if stop.is_set():
                            break
                        batches += columns.batches()
            except BaseException:
                stop.set()  # nobody gets what the others read
                raise
            return [*batches, *columns.batches(all=True)], reader.report

        with concurrent.futures.ThreadPoolExecutor(len(begins), "execwire-reader") as pool:
            try:
                parts = list(pool.map(read, begins, [*places, None]))
            finally:
                stop.set()  # where this one is interrupted
        reports, line = [report for _, report in parts], 0
        for report, begin in zip(reports, begins, strict=True):
            report.failures = [_moved(failure, line, begin) for failure in report.failures]
            line += report.messages + report.control_lines + report.blank_lines
        whole = merge(reports, reports[0].name)
        whole.format, whole.failures = format, whole.failures[:TOLD]
        whole.damage = next((report.damage for report in reports if report.damage is not None), None)
        self.reports.append(whole)
        return [batch for batches, _ in parts for batch in batches]

    def table(self, batches: Iterable[Batch]) -> EventTable:
        return EventTable(batches, self.reports, extra=self.extra)


def read_capture(
    source: Source | Iterable[Source],
    *,
    venue: str | os.PathLike[str] | Venue = "auto",
    format: str = "auto",
    ts_key: str | None = None,
    payload_key: str | None = None,
    extra: bool = False,
    threads: int | None = None,
) -> EventTable:
    """Decode captures into tables.

    Parameters
    ----------
    source : path, file object, or several
        What `Capture` takes: ``-`` is standard input. A string with ``*``, ``?`` or ``[`` is all files that match.
    venue : str, path-like or Venue
        The venue of all messages; or `auto`, found for each.
    format, ts_key, payload_key
        As for `Capture`.
    extra : bool
        Add a column ``extra``: the JSON of what no field took. Reads message by message, so it takes its time.
    threads : int or None
        How many may read a large file, if it is not packed and its venue is given; None: one for each processor. What
        comes of it is the same.

    Returns
    -------
    EventTable
        With a report of each input in ``reports``. Damage and messages that cannot be decoded are told there, with
        their positions; everything else is in the tables.

    Raises
    ------
    OSError
        If an input cannot be opened.
    VenueError
        If there is no such venue.

    Examples
    --------
    >>> table = execwire.read_capture("user-data/*.gz", venue="binance-spot")  # doctest: +SKIP
    >>> table.fills().to_polars()  # doctest: +SKIP
    """
    if threads is None:
        threads = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return _Job(source, venue, format, ts_key, payload_key, extra, ROWS).read(threads)


def scan_capture(
    source: Source | Iterable[Source],
    *,
    rows: int = SCANNED_ROWS,
    venue: str | os.PathLike[str] | Venue = "auto",
    format: str = "auto",
    ts_key: str | None = None,
    payload_key: str | None = None,
    extra: bool = False,
    progress: Callable[[int], object] | None = None,
) -> Iterator[EventTable]:
    """Decode captures into tables of about `rows` rows, one after the other, in bounded memory.

    Parameters
    ----------
    source, venue, format, ts_key, payload_key, extra
        As for `read_capture`.
    rows : int
        A table is delivered once it has so many rows, of all kinds together.
    progress : callable
        Is told now and then how many bytes of the present input have been read, before unpacking.

    Yields
    ------
    EventTable
        Its ``reports`` are those of the inputs so far; the last one is complete.
    """
    if rows < 1:
        raise ValueError(f"rows is at least 1, not {rows}")
    # A block of lines adds some rows more, which should not begin a batch of their own.
    job = _Job(source, venue, format, ts_key, payload_key, extra, min(rows + rows // 8 + 1024, MOST_ROWS))
    delivered = 0
    for _ in job.run(progress):
        added = sum(job.columns.rows.values())
        if added - delivered >= rows or job.columns.is_crowded:
            delivered = added
            yield job.table(job.columns.batches(all=True))
    yield job.table(job.columns.batches(all=True))
