"""The Dask adapter on a local cluster: a worker dies, the driver dies, and every row is there once."""

from __future__ import annotations

import functools
import json
import os
import signal
import sys
import textwrap
import time
from typing import TYPE_CHECKING

import pytest
from processes import started

from execwire import workload
from execwire.convert import Plan, convert

if TYPE_CHECKING:
    import subprocess
    from contextlib import AbstractContextManager
    from pathlib import Path

pytest.importorskip("distributed")
pytest.importorskip("pyarrow")

FILES, ROWS = 24, 3000
FIRST = 1795000000_000000000

HEAD = f"""
    import sys
    sys.path[:] = {sys.path!r}
    import json, os, signal, threading, time
    from pathlib import Path
    from distributed import Client, LocalCluster
    from execwire.adapters.dask import convert

    def main():
        captures, out = sys.argv[1:3]
        cluster = LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=":0", local_directory=sys.argv[3],
        )
        with cluster, Client(cluster) as client:
            work(client, captures, out)
"""

KILLS_A_WORKER = """
    def work(client, captures, out):
        victim = next(iter(client.run(os.getpid).values()))
        done = []

        def progress(report):
            done.append(report.name)
            if len(done) == 3:
                os.kill(victim, signal.SIGKILL)

        total = convert(client, captures + "/*.txt", out, venue="binance-spot", rows=500, progress=progress)
        alive = client.run(os.getpid).values()
        print(json.dumps([total.messages, total.records, total.damage, len(done), victim in alive]))
"""

IS_KILLED = """
    def work(client, captures, out):
        def progress(report):
            print(report.name, flush=True)

        convert(client, captures + "/*.txt", out, venue="binance-spot", rows=500, progress=progress)
        print("end", flush=True)
"""


def script(body: str) -> str:
    return textwrap.dedent(HEAD) + textwrap.dedent(body) + '\nif __name__ == "__main__":\n    main()\n'


@functools.cache
def files() -> list[bytes]:
    messages = list(workload.workload("executionReport", FILES * ROWS).messages)
    lines = [b"%d %b\n" % (FIRST + n, one) for n, one in enumerate(messages)]
    return [b"".join(lines[i * ROWS : (i + 1) * ROWS]) for i in range(FILES)]


@pytest.fixture
def captures(tmp_path: Path) -> Path:
    folder = tmp_path / "captures"
    folder.mkdir()
    for i, content in enumerate(files()):
        (folder / f"{i:02d}.txt").write_bytes(content)
    return folder


def times_of(out: Path) -> list[int]:
    """The times of receipt of all rows, which are all different."""
    import pyarrow.parquet

    found: list[int] = []
    for path in out.glob("kind=order/**/*.parquet"):
        found += pyarrow.parquet.ParquetFile(path).read(["ts_recv"])["ts_recv"].cast("int64").to_pylist()
    return sorted(found)


def check(out: Path) -> None:
    assert times_of(out) == list(range(FIRST, FIRST + FILES * ROWS))
    assert not list(out.rglob("*.tmp"))
    total = json.loads((out / "_report.json").read_text())
    assert (total["messages"], total["records"], total["damage"]) == (FILES * ROWS, {"order": FILES * ROWS}, None)
    assert len(list((out / "_reports").iterdir())) == FILES


def run(body: str, folder: Path, captures: Path, out: Path) -> AbstractContextManager[subprocess.Popen[str]]:
    path = folder / "driver.py"
    path.write_text(script(body))
    return started(sys.executable, path, captures, out, folder / "scratch", text=True, cwd=folder)


def test_a_worker_dies(tmp_path: Path, captures: Path) -> None:
    out = tmp_path / "out"
    with run(KILLS_A_WORKER, tmp_path, captures, out) as process:
        text, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    messages, records, damage, done, is_alive = json.loads(text.splitlines()[-1])
    assert (messages, records, damage, done) == (FILES * ROWS, {"order": FILES * ROWS}, None, FILES)
    assert not is_alive
    check(out)


def test_the_driver_dies_and_only_what_is_missing_is_decoded(tmp_path: Path, captures: Path) -> None:
    out = tmp_path / "out"
    with run(IS_KILLED, tmp_path, captures, out) as process:
        assert process.stdout is not None
        for _ in range(4):
            assert process.stdout.readline()
        os.killpg(process.pid, signal.SIGKILL)  # the driver, and with it the scheduler and the workers
        process.communicate(timeout=60)
    for _ in range(500):  # nobody writes any more
        before = sorted(out.rglob("*"))
        time.sleep(0.02)
        if before == sorted(out.rglob("*")):
            break
    done = {path: path.stat().st_mtime_ns for path in (out / "_reports").glob("*.json")}
    assert 4 <= len(done) < FILES
    with run(IS_KILLED, tmp_path, captures, out) as process:
        text, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert text.splitlines()[-1] == "end"
    assert {path: path.stat().st_mtime_ns for path in done} == done  # these were not made again
    check(out)


def test_what_fails_is_in_the_report(tmp_path: Path, captures: Path) -> None:
    """The same files as without a cluster, and damage by name."""
    from distributed import Client, LocalCluster

    from execwire.adapters import dask

    (captures / "00.txt").write_bytes(b'1795000000 {"e":\n')
    damaged = captures / "01.txt"
    damaged.write_bytes(b"\x1f\x8b\x08\x00 no gzip")
    few = [captures / "00.txt", damaged, captures / "02.txt"]
    with (
        LocalCluster(n_workers=1, threads_per_worker=2, processes=False, dashboard_address=":0") as cluster,
        Client(cluster) as client,
    ):
        total = dask.convert(client, few, tmp_path / "out", venue="binance-spot")
    assert total.failed == 1
    assert total.failures[0].where.startswith(str(captures / "00.txt"))
    assert str(damaged) in str(total.damage)
    assert total.records == {"order": ROWS}
    list(convert(few, Plan(str(tmp_path / "alone"), venue="binance-spot")))
    assert times_of(tmp_path / "out") == times_of(tmp_path / "alone")
