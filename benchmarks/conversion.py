"""Captures from file to file: packed ones read, Parquet written, by one job and by two; beside zlib-ng and polars.

Two captures, each half of --megabytes, all messages different, lie in the page cache, plain and packed (one gzip
member, level 6). Contenders take turns, each in a fresh process that has imported what it uses; our workers start
within the time that counts. Results are compared with the reference decoder's before anything is timed. zlib-ng alone
inflates and throws away what comes out: who inflates by it cannot be faster. polars writes no other columns than those
of the keys that the messages have. CPU time is that of all threads and processes: where it is far above the wall time,
one job keeps more than one processor busy, and two cannot take half as long.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import capture_contest
import capture_readers

if TYPE_CHECKING:
    from collections.abc import Callable

BLOCK = 1 << 18
TURN = "--turn"  # the first argument of a contender's process


def inflate(paths: list[str], out: Path) -> int:
    """The package's quickest way, into one buffer that stays in the processor's caches; how many bytes come out."""
    from zlib_ng import gzip_ng

    block, total = bytearray(BLOCK), 0
    for path in paths:
        with gzip_ng.open(path, "rb") as file:
            while size := file.readinto(block):
                total += size
    return total


def scan(paths: list[str], out: Path) -> int:
    return sum(capture_readers.by_execwire_scanned(path).rows for path in paths)


def by_jobs(jobs: int) -> Callable[[list[str], Path], int]:
    def write(paths: list[str], out: Path) -> int:
        from execwire import convert

        plan = convert.Plan(str(out), venue=capture_readers.VENUE, partition=())
        return sum(report.records["order"] for report in convert.convert(paths, plan, jobs=jobs))

    return write


def by_polars(paths: list[str], out: Path) -> int:
    rows = 0
    for i, path in enumerate(paths):
        frame = capture_readers.by_polars(path)
        frame.write_parquet(out / f"{i}.parquet")
        rows += len(frame)
    return rows


class Contender(NamedTuple):
    modules: tuple[str, ...]
    packed: bool
    run: Callable[[list[str], Path], int]
    against: str = ""  #: whose wall time its own is compared with


INFLATE, POLARS = "gzip: zlib-ng alone", "Parquet: polars"
OURS, OURS_PACKED = "Parquet: execwire", "Parquet from gzip: execwire"
_WRITING = ("execwire.convert", "pyarrow.parquet")
CONTENDERS = {
    INFLATE: Contender(("zlib_ng.gzip_ng",), True, inflate),
    "gzip: execwire, to tables": Contender(("execwire.batch",), True, scan, INFLATE),
    POLARS: Contender(("polars",), False, by_polars),
    OURS: Contender(_WRITING, False, by_jobs(1), POLARS),
    f"{OURS}, 2 jobs": Contender(_WRITING, False, by_jobs(2), OURS),
    OURS_PACKED: Contender(_WRITING, True, by_jobs(1), INFLATE),
    f"{OURS_PACKED}, 2 jobs": Contender(_WRITING, True, by_jobs(2), OURS_PACKED),
}


def captures(folder: str, *, packed: bool) -> list[str]:
    return sorted(map(str, Path(folder).glob("*.ndjson.gz" if packed else "*.ndjson")))


def turn(name: str, folder: str) -> None:
    """In a process of its own: do it once, tell what it took."""
    one = CONTENDERS[name]
    for module in one.modules:
        importlib.import_module(module)
    paths = captures(folder, packed=one.packed)
    with tempfile.TemporaryDirectory(dir=folder) as out:
        before, wall = _cpu(), time.perf_counter()
        count = one.run(paths, Path(out))
        took = {"wall": time.perf_counter() - wall, "cpu": _cpu() - before, "count": count}
    print(json.dumps(took))


def _cpu() -> float:
    both = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in both)


def prepare(folder: Path, megabytes: float) -> tuple[int, int]:
    """Make the captures; how many messages they have, and bytes."""
    from zlib_ng import gzip_ng

    whole, messages = capture_contest.capture(megabytes)
    content = whole.read_bytes()
    middle = content.index(b"\n", len(content) // 2) + 1
    for i, half in enumerate((content[:middle], content[middle:]), 1):
        (folder / f"{i}.ndjson").write_bytes(half)
        (folder / f"{i}.ndjson.gz").write_bytes(gzip_ng.compress(half, 6))
    return messages, len(content)


def check(name: str) -> None:
    """Let a contender do it with a small capture, and look at the rows."""
    one = CONTENDERS[name]
    if one.run is inflate:  # nothing but the bytes, and those are counted
        return

    def look(names: list[str]) -> list[tuple[Any, ...]]:
        with tempfile.TemporaryDirectory() as folder:
            prepare(Path(folder), 1)
            if one.run is scan:
                reader = capture_readers.READERS["execwire, table by table"]
                return reader.rows(reader.read(f"{folder}/1.ndjson.gz"), names, capture_contest.CHECKED)
            one.run(captures(folder, packed=one.packed), Path(folder))
            return parquet_rows(min(Path(folder).glob("**/*.parquet")), names)

    capture_contest.compare(name, look)


def parquet_rows(path: Path, names: list[str]) -> list[tuple[Any, ...]]:
    import polars as pl

    reader = capture_readers.READERS["polars"]
    return reader.rows(pl.read_parquet(path), names, capture_contest.CHECKED)


def measure(names: list[str], megabytes: float, turns: int) -> dict[str, Any]:
    """Every turn of every contender, in seconds, and what they read."""
    found: dict[str, dict[str, list[float]]] = {name: {"wall": [], "cpu": []} for name in names}
    with tempfile.TemporaryDirectory() as folder:
        messages, size = prepare(Path(folder), megabytes)
        for name in names * turns:
            run = subprocess.run([sys.executable, __file__, TURN, name, folder], check=True, stdout=subprocess.PIPE)
            took = json.loads(run.stdout)
            count = size if CONTENDERS[name].run is inflate else messages
            assert took["count"] == count, f"{name}: {took['count']} of {count}"
            for what, times in found[name].items():
                times.append(took[what])
    return {"messages": messages, "bytes": size, "seconds": found}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--megabytes", type=float, default=500)
    parser.add_argument(
        "--only", default="", help="contenders whose name contains this, and what they are compared with"
    )
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    for package in ("polars", "pyarrow"):
        if importlib.util.find_spec(package) is None:
            parser.error(f"{package} is not installed; `make bench` installs all that is compared")
    chosen = {name for name in CONTENDERS if options.only in name}
    if not chosen:
        parser.error(f"no contender's name contains {options.only!r}; there are: {', '.join(CONTENDERS)}")
    chosen |= {CONTENDERS[name].against for name in chosen}
    names = [name for name in CONTENDERS if name in chosen]
    for name in names:
        check(name)
    found = measure(names, options.megabytes, options.turns)
    if options.json:
        print(json.dumps(found, indent=2))
        return
    versions = ", ".join(f"{one} {metadata.version(one)}" for one in ("execwire", "zlib-ng", "polars", "pyarrow"))
    print(f"{datetime.now(UTC):%Y-%m-%d}, Python {platform.python_version()}, {platform.machine()}, "
          f"{os.cpu_count()} cores; {versions}")  # fmt: skip
    print(f"{found['bytes'] / 1e6:.0f} MB, {found['messages']} messages, medians of {options.turns}")
    print(f"{'':36}{'wall s':>8}{'CPU s':>8}{'GB/s':>8}  times as fast as")
    wall = {name: statistics.median(times["wall"]) for name, times in found["seconds"].items()}
    for name, took in wall.items():
        cpu, against = statistics.median(found["seconds"][name]["cpu"]), CONTENDERS[name].against
        ratio = f"  {wall[against] / took:.2f} {against}" if against in wall else ""
        print(f"{name:36}{took:8.2f}{cpu:8.2f}{found['bytes'] / took / 1e9:8.2f}{ratio}")


if __name__ == "__main__":
    if sys.argv[1:2] == [TURN]:
        turn(*sys.argv[2:])
    else:
        main()
