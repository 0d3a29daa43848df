"""Captures to Parquet or Arrow files: in bounded memory, by several processes, in shards, resumable.

One input gives one file per kind, venue and day (or what `partition` says), in folders as Hive has them:
``OUT/kind=order/venue=binance-spot/day=2026-11-21/NAME-HASH.parquet``. Files appear under their names when the input
has been read to its end. The report of an input, in ``OUT/_reports``, is written last: where it is, the input is done,
and running again with `resume` passes over it unless the input has changed.

Every engine that maps a function over paths (Slurm arrays, Kubernetes jobs, Dask, Ray, Spark) can call `convert_file`.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import functools
import hashlib
import json
import multiprocessing
import multiprocessing.resource_tracker
import os
import re
import signal
import threading
from collections import deque
from concurrent.futures.process import BrokenProcessPool
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from execwire import __version__, venues
from execwire.batch import ROWS, Failure, FileReport, expand, merge, scan_capture
from execwire.captures import shown
from execwire.core import KINDS
from execwire.tables import Table, rows_of

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
    from multiprocessing.connection import Connection

    import numpy.typing as npt

    from execwire.batch import Source
    from execwire.tables import Decimals, Part

__all__ = [
    "FORMATS",
    "PARTITIONS",
    "Plan",
    "convert",
    "convert_file",
    "in_shard",
    "merge",
    "parse_shard",
    "save",
    "sweep",
]

FORMATS = ("parquet", "arrow")
PARTITIONS = ("kind", "venue", "day")
SCALE = 18  # places of decimals, if nothing else is said: the same in all files
_NS_PER_DAY = 86_400_000_000_000
_OPEN = 64  # files at a time
_WAITING = 2  # tables that wait to be written
_TEMPORARY = re.compile(r"\.(.+-[0-9a-f]{10})(?:-[0-9]+)?\.[a-z]+\.[0-9]+\.tmp")
_TRIES = 3  # for an input whose worker died


@dataclasses.dataclass(frozen=True)
class Plan:
    """What to make of captures.

    Parameters
    ----------
    folder : str
        Where the files go.
    to : {"parquet", "arrow"}
    venue, format, ts_key, payload_key
        As for `read_capture`.
    kinds : tuple of str
        The kinds of records to keep.
    partition : tuple of str
        Of kind, venue and day: what has folders of its own. Records of several kinds never share a file.
    decimals, scale
        As for `Table.using`. The scale is fixed, so that all files have one schema.
    extra : bool
        As for `read_capture`.
    rows : int
        How many rows are held in memory, about.
    """

    folder: str
    to: str = "parquet"
    venue: str = "auto"
    format: str = "auto"
    ts_key: str | None = None
    payload_key: str | None = None
    kinds: tuple[str, ...] = KINDS
    partition: tuple[str, ...] = PARTITIONS
    decimals: Decimals = "decimal128"
    scale: int = SCALE
    extra: bool = False
    rows: int = ROWS

    def __post_init__(self) -> None:
        if self.to not in FORMATS:
            raise ValueError(f"unknown output format {self.to!r}; known: {', '.join(FORMATS)}")
        for name, known in (("kinds", KINDS), ("partition", PARTITIONS)):
            if unknown := sorted(set(getattr(self, name)).difference(known)):
                raise ValueError(f"{name}: {unknown[0]!r} is not one of {', '.join(known)}")


# ---- MARK: Partitions ----


def _groups(table: Table, partition: Sequence[str]) -> Iterator[tuple[str, Table]]:
    """The table's rows by the folder they go to."""
    for part in table._parts:
        keys: list[list[str]] = []
        codes = np.zeros(part.n, "i8")
        for name in partition:
            names, numbers = _names(name, table.kind, part)
            codes = codes * len(names) + numbers
            keys.append(names)
        for code in np.unique(codes):
            rest, folder = int(code), ""
            for name, names in zip(reversed(partition), reversed(keys), strict=True):
                rest, number = divmod(rest, len(names))
                folder = os.path.join(f"{name}={names[number]}", folder)  # noqa: PTH118
            rows = np.flatnonzero(codes == code)
            chosen = part if len(rows) == part.n else rows_of(part, rows)
            yield folder, Table(table.kind, [chosen], options=table._options, extra=table._extra)


def _names(partition: str, kind: str, part: Part) -> tuple[list[str], npt.NDArray[Any]]:
    """What a partition calls its folders, and the number of each row's."""
    if partition == "kind":
        return [kind], np.zeros(part.n, "i8")
    if partition == "venue":
        venue = part.columns["venue"]
        return list(venue.words or ()), np.asarray(venue.values, "i8")
    days = np.full(part.n, np.iinfo("i8").min)
    for name in ("ts_event", "ts_recv"):  # the time of receipt, where there is one
        column = part.columns[name]
        if column.values is not None:
            days = np.where(column.mask(), column.values // _NS_PER_DAY, days)
    unique, numbers = np.unique(days, return_inverse=True)
    return [_day(int(day)) for day in unique], numbers


def _day(day: int) -> str:
    if day == np.iinfo("i8").min:
        return "unknown"
    try:
        return f"{datetime.fromtimestamp(day * 86_400, UTC):%Y-%m-%d}"
    except (OverflowError, ValueError, OSError):
        return str(day)


# ---- MARK: Outputs ----


class _Outputs:
    """The files that an input becomes. They get their names when all are complete; else nothing is left of them.

    A thread of its own encodes and writes, while the next table is decoded.
    """

    def __init__(self, plan: Plan, stem: str) -> None:
        self.plan = plan
        self.stem = stem
        self.files: dict[Path, Path] = {}  # by name: what it is called until then
        self._writers: dict[str, Any] = {}
        self._parts: dict[str, int] = {}
        self._thread = concurrent.futures.ThreadPoolExecutor(1, "execwire-writer")
        self._waiting: deque[concurrent.futures.Future[None]] = deque()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, failed: object, *_: object) -> None:
        self._thread.shutdown(cancel_futures=failed is not None)
        try:
            if failed is None:
                self._settle(0)
                while self._writers:
                    self._writers.popitem()[1].close()
                for name, temporary in self.files.items():
                    temporary.replace(name)
        finally:  # what has no name yet is left of a failure
            while self._writers:
                with contextlib.suppress(Exception):  # on a full disk its last bytes fail, too
                    self._writers.popitem()[1].close()
            for temporary in self.files.values():
                temporary.unlink(missing_ok=True)

    def write(self, folder: str, table: Table) -> None:
        """Append to the file in a folder, soon."""
        made = table.to_arrow() if self.plan.to == "parquet" else _flat(table.to_arrow())
        self._settle(_WAITING - 1)
        self._waiting.append(self._thread.submit(self._write, folder, made))

    def _settle(self, most: int) -> None:
        """Wait until that many tables wait at most; raise what went wrong with the others."""
        while len(self._waiting) > most:
            self._waiting.popleft().result()

    def _write(self, folder: str, made: Any) -> None:
        writer = self._writers.pop(folder, None) or self._open(folder, made.schema)
        self._writers[folder] = writer  # the last one used is the last one
        writer.write_table(made)

    def _open(self, folder: str, schema: Any) -> Any:
        import pyarrow.ipc

        if len(self._writers) >= _OPEN:
            self._writers.pop(next(iter(self._writers))).close()
        part = self._parts[folder] = self._parts.get(folder, 0) + 1
        target = Path(self.plan.folder, folder)
        target.mkdir(parents=True, exist_ok=True)
        name = f"{self.stem}{f'-{part}' if part > 1 else ''}.{self.plan.to}"
        temporary = target / f".{name}.{_nonce()}.tmp"
        self.files[target / name] = temporary
        path = temporary.absolute()  # pyarrow would make a home folder of a ~ at its beginning
        if self.plan.to == "arrow":
            return pyarrow.ipc.new_file(path, schema)
        return _parquet_writer(path, schema)


def _parquet_writer(path: Path, schema: Any) -> Any:
    """A writer that does what pays for such columns.

    Few names and many rows: dictionaries. Times that follow each other: differences. Amounts and ids, which hardly
    repeat: neither. Statistics for what is searched by. That a column was a dictionary is no type in the file.
    """
    import pyarrow as pa
    import pyarrow.parquet

    names = [one.name for one in schema if pa.types.is_dictionary(one.type)]
    times = [one.name for one in schema if pa.types.is_timestamp(one.type)]
    texts = [one.name for one in schema if pa.types.is_dictionary(one.type) and one.type.index_type == pa.int32()]
    return pyarrow.parquet.ParquetWriter(
        path,
        schema,
        compression="zstd",
        use_dictionary=names,
        column_encoding=dict.fromkeys(times, "DELTA_BINARY_PACKED"),
        write_statistics=[*times, *texts],
        store_schema=False,
    )


def _flat(table: Any) -> Any:
    """Without dictionaries, which would differ from file to file."""
    import pyarrow as pa

    fields = [
        pa.field(one.name, one.type.value_type) if pa.types.is_dictionary(one.type) else one for one in table.schema
    ]
    return table.cast(pa.schema(fields))


# ---- MARK: One input ----


def _stem(path: str) -> str:
    """What an input's files are called: its name, and a hash of its path, as names alone may repeat."""
    name = shown(Path(path).name).partition(".")[0] or "capture"
    return f"{name}-{hashlib.blake2s(os.fsencode(os.path.abspath(path)), digest_size=5).hexdigest()}"  # noqa: PTH100


def _identity(path: str, plan: Plan) -> dict[str, Any]:
    """What must be the same for an input to be done."""
    found = Path(path).stat()
    options = dataclasses.asdict(dataclasses.replace(plan, folder=""))
    return {
        "path": os.path.abspath(path),  # noqa: PTH100
        "size": found.st_size,
        "mtime_ns": found.st_mtime_ns,
        "plan": json.loads(json.dumps(options)),
        "execwire": __version__,  # and with it the built-in venues
        "dialect": _dialect(plan.venue),
    }


def _dialect(venue: str) -> str | None:
    """What stands for the content of a venue's file, which somebody may mend between two runs."""
    if venue == "auto" or venue in venues.names():
        return None
    return hashlib.blake2s(venues.load(venue).table().encode(), digest_size=16).hexdigest()


def _report_path(path: str, plan: Plan) -> Path:
    return Path(plan.folder, "_reports", f"{_stem(path)}.json")


def done_report(path: str, plan: Plan) -> FileReport | None:
    """The report of an input that is done: unchanged since then, with its files in their places."""
    try:
        saved = json.loads(_report_path(path, plan).read_bytes())
        if saved["input"] != _identity(path, plan) or saved["report"].get("may_pass"):
            return None
        if not all(Path(plan.folder, one).exists() for one in saved["files"]):
            return None
        failures = [Failure(**one) for one in saved["report"].pop("failures")]
        return FileReport(**saved["report"], failures=failures)
    except (OSError, ValueError, LookupError, TypeError):
        return None


def convert_file(
    path: str, plan: Plan, *, resume: bool = False, progress: Callable[[int], object] | None = None
) -> FileReport:
    """Convert one capture.

    Parameters
    ----------
    path : str
    plan : Plan
    resume : bool
        Do nothing if the input is done.
    progress : callable
        Is told how many bytes of the input have been read so far.

    Returns
    -------
    FileReport
        Its ``damage`` tells why an input could not be read to its end; everything before that is in the files. If the
        output failed (a decimal with more places than the plan's scale, say), no file is left, and ``damage`` says so.
    """
    if resume and (report := done_report(path, plan)) is not None:
        return report
    stem, reports = _stem(path), list[FileReport]()
    try:
        identity = _identity(path, plan)
        with _Outputs(plan, stem) as outputs:
            options = {"rows": plan.rows, "venue": plan.venue, "format": plan.format, "extra": plan.extra}
            options |= {"ts_key": plan.ts_key, "payload_key": plan.payload_key, "progress": progress}
            for tables in scan_capture(path, **options):  # type: ignore[arg-type]
                reports = tables.reports
                for kind in plan.kinds:
                    table = tables[kind].using(decimals=plan.decimals, scale=plan.scale)
                    for folder, rows in _groups(table, plan.partition):
                        outputs.write(folder if "kind" in plan.partition else os.path.join(folder, kind), rows)  # noqa: PTH118
    except (OSError, ValueError, OverflowError) as error:  # pyarrow's errors are among them
        report = reports[0] if reports else FileReport(shown(path))
        report.damage = str(error)
        return report
    report = reports[0]
    files = [os.fspath(file.relative_to(plan.folder)) for file in outputs.files]
    for old in set(_files(_report_path(path, plan))).difference(files):  # the input, or the plan, was another one
        if _would_make(plan, old):
            Path(plan.folder, old).unlink(missing_ok=True)
        elif Path(plan.folder, old).exists():
            files.append(old)
    save(_report_path(path, plan), {"input": identity, "files": files, "report": dataclasses.asdict(report)})
    return report


def _would_make(plan: Plan, file: str) -> bool:
    """Whether a file of an earlier run is of the sort that this plan makes: of its format, of one of its kinds."""
    path = Path(file)
    kind = next((one.removeprefix("kind=") for one in path.parts if one.startswith("kind=")), path.parent.name)
    return path.suffix == f".{plan.to}" and kind in plan.kinds


def _nonce() -> int:
    """What tells temporary files apart: threads and machines may make the same file at the same time."""
    return int.from_bytes(os.urandom(6))


def _files(report: Path) -> list[str]:
    """The files that an earlier run has made of an input."""
    try:
        return list(map(str, json.loads(report.read_bytes())["files"]))
    except (OSError, ValueError, LookupError, TypeError):
        return []


def sweep(paths: Iterable[str], plan: Plan) -> None:
    """Remove what a run that was killed has left of these inputs."""
    stems = set(map(_stem, paths))
    for left in Path(plan.folder).glob("**/.*.tmp"):
        if (match := _TEMPORARY.match(left.name)) and match[1] in stems:
            left.unlink(missing_ok=True)


def save(path: Path, value: object) -> None:
    """Write JSON to a file that appears when it is complete."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{_nonce()}.tmp")
    temporary.write_text(json.dumps(value, indent=1), encoding="utf-8")
    temporary.replace(path)


# ---- MARK: Many inputs ----


def named(source: Source | Iterable[Source]) -> list[str]:
    """The paths of captures, with what patterns match.

    Raises
    ------
    TypeError
        If one is a file object: nobody else could read it again.
    """
    found = list(expand(source))
    for one in found:
        if not isinstance(one, str | os.PathLike):
            raise TypeError(f"captures are converted by their paths, not from a {type(one).__name__}")
    return [os.fspath(one) for one in found if isinstance(one, str | os.PathLike)]


def in_shard(path: str, shard: tuple[int, int]) -> bool:
    """Whether an input belongs to shard i of n, counted from 1: the same on every machine that calls it the same."""
    number, count = shard
    if not 1 <= number <= count:
        raise ValueError(f"a shard is (i, n), counted from 1, not {shard!r}")
    return int.from_bytes(hashlib.blake2s(os.fsencode(path)).digest()[:8]) % count == number - 1


def parse_shard(text: str) -> tuple[int, int]:
    """`3/64` as numbers.

    Raises
    ------
    ValueError
    """
    match = re.fullmatch(r"([0-9]{1,9})/([0-9]{1,9})", text)
    if match is None or not 1 <= int(match[1]) <= int(match[2]):
        raise ValueError(f"a shard is i/n, counted from 1, not {text!r}")
    return int(match[1]), int(match[2])


def convert(
    source: Source | Iterable[Source],
    plan: Plan,
    *,
    jobs: int = 1,
    shard: tuple[int, int] = (1, 1),
    resume: bool = False,
    progress: Callable[[str, int], object] | None = None,
) -> Generator[FileReport, None, None]:
    """Convert captures, one after the other or several at a time.

    Parameters
    ----------
    source : path or several
        As for `read_capture`, but no file objects.
    plan : Plan
    jobs : int
        Processes, each of which reads, decodes and writes in threads of its own, one and a half processors' work: on
        two processors a second one gains next to nothing. They are spawned: in a script, call this below
        ``if __name__ == "__main__":``.
    shard : (int, int)
        Only the inputs of shard i of n.
    resume : bool
        Pass over inputs that are done.
    progress : callable
        Is told a path and how many of its bytes have been read; with several processes, when it is done.

    Yields
    ------
    FileReport
        In the order of completion.
    """
    paths = named(source)
    mine = [path for path in paths if in_shard(path, shard)]
    sweep(mine, plan)
    if jobs <= 1:
        for path in mine:
            told = None if progress is None else functools.partial(progress, path)
            yield convert_file(path, plan, resume=resume, progress=told)
        return
    tries = dict.fromkeys(mine, 0)
    try:
        while tries:
            suspects = {path: n for path, n in tries.items() if n}
            rest = {path: n for path, n in tries.items() if suspects and not n}
            tries = (yield from _round(suspects or tries, plan, jobs, resume, progress)) | rest
    except BaseException:
        sweep(mine, plan)
        raise


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    """Put interrupts off. Processes that are started here are never interrupted, not even while they import us."""
    multiprocessing.resource_tracker.ensure_running()  # else it starts with the first process, and undoes the next line
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _end_with(parent: Connection) -> None:
    """In a worker: leave interrupts to the parent, and end when that says so, or has ended itself."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def wait() -> None:
        with contextlib.suppress(EOFError, OSError):
            parent.recv_bytes()
        os._exit(1)

    threading.Thread(target=wait, name="execwire-parent", daemon=True).start()


def _round(
    tries: dict[str, int], plan: Plan, jobs: int, resume: bool, progress: Callable[[str, int], object] | None
) -> Any:
    """Give all inputs to a pool; returns those that were lost because a worker died, with how often it was theirs."""
    lost: dict[str, int] = {}
    waiting: dict[concurrent.futures.Future[FileReport], str] = {}
    todo = deque(tries)
    context = multiprocessing.get_context("spawn")
    # After a death, one input at a time: so that it is clear whose fault it is.
    workers, most = (1, 1) if any(tries.values()) else (min(jobs, len(tries)), 2 * jobs)
    theirs, ours = context.Pipe(duplex=False)
    pool = concurrent.futures.ProcessPoolExecutor(workers, context, initializer=_end_with, initargs=(theirs,))
    try:
        while todo or waiting:
            while todo and len(waiting) < most:
                path = todo.popleft()
                try:
                    with _undisturbed():
                        waiting[pool.submit(convert_file, path, plan, resume=resume)] = path
                except BrokenProcessPool:  # by another one
                    lost[path] = tries[path]
            for future in concurrent.futures.wait(waiting, return_when=concurrent.futures.FIRST_COMPLETED).done:
                path = waiting.pop(future)
                try:
                    report = future.result()
                except BrokenProcessPool:
                    if tries[path] + 1 < _TRIES:
                        lost[path] = tries[path] + 1
                        continue
                    report = FileReport(shown(path), damage="the process that read it died")
                if progress is not None and os.path.exists(path):  # noqa: PTH110  (Path's raises)
                    progress(path, Path(path).stat().st_size)
                yield report
    except BaseException:
        ours.close()  # nobody waits for what the workers are at
        raise
    finally:
        pool.shutdown()
        ours.close()
        theirs.close()
    return lost
