"""The rules for captures: which file, how a result is checked, and how a turn is measured."""

from __future__ import annotations

import functools
import importlib.metadata
import json
import os
import subprocess
import sys
import tempfile
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import capture_readers
import execwire
from execwire import reference, workload

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_benchmark.fixture import BenchmarkFixture

MEGABYTES = float(os.environ.get("BENCH_CAPTURE_MB", "500"))
FOLDER = Path(os.environ.get("BENCH_CAPTURE_DIR", Path(tempfile.gettempdir()) / "execwire-benchmarks"))
CHECKED = 500


@functools.cache
def capture(megabytes: float) -> tuple[Path, int]:
    """A capture of that size, all messages different, and how many there are. Made once, then kept."""
    path = FOLDER / f"{capture_readers.EVENT}-{execwire.__version__}-{megabytes:g}MB.ndjson"
    if not path.exists():
        FOLDER.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(f".{os.getpid()}.tmp")
        size = 0
        with unfinished.open("wb") as file:
            for message in workload.EVENTS[capture_readers.EVENT].generate(capture_readers.EVENT):
                size += file.write(message + b"\n")
                if size >= megabytes * 1e6:
                    break
        unfinished.replace(path)
    count = 0
    with path.open("rb") as file:  # and it is in the page cache then
        while block := file.read(1 << 20):
            count += block.count(b"\n")
    return path, count


@functools.cache
def check(name: str) -> None:
    """Compare the first rows with the reference decoder's."""
    path, _ = capture(1)
    reader = capture_readers.READERS[name]
    compare(name, lambda names: reader.rows(reader.read(str(path)), names, CHECKED))


def compare(name: str, look: Callable[[list[str]], list[tuple[Any, ...]]]) -> None:
    """Compare first rows with the reference decoder's, in every column but enums, which are raw texts elsewhere."""
    path, _ = capture(1)
    names = [one.name for one in capture_readers.keys(str(path)) if one.type != "enum"]
    rows = look(names)
    assert len(rows) == CHECKED
    types = {field.name: field.type for field in execwire.fields("order")}
    with path.open("rb") as file:
        for i, (row, message) in enumerate(zip(rows, file, strict=False)):
            (record,) = reference.decode(capture_readers.VENUE, message)
            want = [_plain(record.get(one), types[one]) for one in names]
            got = [_plain(value, types[one]) for one, value in zip(names, row, strict=True)]
            assert got == want, f"not timed: {name} is wrong about message {i}"


def _plain(value: Any, type: str) -> Any:
    if value is None or value == "":
        return None
    return Decimal(value) if type == "decimal" else str(value) if type == "id" else value


def time_capture(benchmark: BenchmarkFixture, name: str) -> None:
    """Check, then measure one turn, in a process of its own."""
    package = capture_readers.READERS[name].package
    try:
        version = importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        pytest.skip(f"no {package}")
    check(name)
    path, count = capture(MEGABYTES)
    took: dict[str, float] = {}

    def turn() -> None:
        program = [sys.executable, capture_readers.__file__, name, str(path)]
        done = subprocess.run(program, stdout=subprocess.PIPE, check=True, timeout=600)
        took.update(json.loads(done.stdout))

    benchmark.pedantic(turn, rounds=1)
    assert took["rows"] == count, "not counted: rows are missing"
    benchmark.group = "capture"
    benchmark.extra_info.update(
        contender=name,
        event=capture_readers.EVENT,
        mode="capture",
        bytes=path.stat().st_size / count,
        version=f"{package} {version}",
        memory=took["peak"],
        ns=took["wall"] / count * 1e9,
        cpu=took["cpu"],
        wall=took["wall"],
        size=path.stat().st_size,
    )
