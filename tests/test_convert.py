"""Captures to Parquet and Arrow files: what is in them, and that nothing is lost or half-written."""

from __future__ import annotations

import contextlib
import errno
import gzip
import json
import os
import signal
import subprocess
import sys
import time
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from processes import interrupt, peak_of, started
from test_columns import by_arrow, compare, expected

import execwire
from execwire import core, workload
from execwire.convert import FORMATS, Plan, convert, convert_file, in_shard, parse_shard

if TYPE_CHECKING:
    from collections.abc import Iterable

pa = pytest.importorskip("pyarrow")

COMMAND = Path(sys.executable).parent / "execwire"
FIRST = 1795000000_000000001
DEMO = Path(execwire.__file__).parent / "data" / "demo.txt"


def lines(event: str, count: int) -> list[bytes]:
    return list(workload.workload(event, count).messages)


def write(path: Path, messages: Iterable[bytes], first: int = FIRST) -> Path:
    path.write_bytes(b"".join(b"%d %s\n" % (first + i, message) for i, message in enumerate(messages)))
    return path


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def read(paths: Iterable[Path]) -> Any:
    import pyarrow.parquet

    return pa.concat_tables(
        [
            pyarrow.ipc.open_file(path).read_all()
            if path.suffix == ".arrow"
            else pyarrow.parquet.ParquetFile(path).read()
            for path in sorted(paths)
        ]
    )


def rows_of(table: Any) -> list[dict[str, Any]]:
    columns = {}
    for name in table.column_names:
        column = table[name]
        columns[name] = (column.cast(pa.int64()) if pa.types.is_timestamp(column.type) else column).to_pylist()
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


@pytest.mark.parametrize("to", ["parquet", "arrow"])
@pytest.mark.parametrize("rows", [37, 65536])
def test_files_hold_what_the_reference_says(tmp_path: Path, to: str, rows: int) -> None:
    messages = lines("spot-mix", 300)
    capture = write(tmp_path / "day.txt", messages)
    out = tmp_path / "out"
    report = convert_file(str(capture), Plan(str(out), to=to, venue="binance-spot", rows=rows))
    want = expected("binance-spot", messages, FIRST)
    assert report.records == {kind: len(rows) for kind, rows in want.items()}
    for kind, kind_rows in want.items():
        (path,) = (out / f"kind={kind}/venue=binance-spot/day=2026-11-18").glob(f"*.{to}")
        compare(rows_of(read([path])), kind_rows)
    schema = read(out.glob(f"kind=order/*/*/*.{to}")).schema
    assert schema.field("price").type == schema.field("avg_price").type == pa.decimal128(38, 18)


def test_partitions(tmp_path: Path) -> None:
    capture = tmp_path / "days.txt"
    messages = lines("executionReport", 30)
    day = 86_400 * 10**9
    capture.write_bytes(b"".join(b"%d %s\n" % (FIRST + i % 3 * day, m) for i, m in enumerate(messages)))
    list(convert([capture, DEMO], Plan(str(tmp_path / "all"), kinds=("order", "fill"))))
    folders = {str(path.parent.relative_to(tmp_path / "all")) for path in (tmp_path / "all").rglob("*.parquet")}
    assert {f"kind=order/venue=binance-spot/day=2026-11-{day}" for day in (18, 19, 20)} <= folders
    assert {folder.split("/")[0] for folder in folders} == {"kind=order", "kind=fill"}
    for i in range(3):
        path = next((tmp_path / "all" / f"kind=order/venue=binance-spot/day=2026-11-{18 + i}").glob("days-*.parquet"))
        ids = [row["order_id"] for row in expected("binance-spot", messages[i::3])["order"]]
        assert read([path])["order_id"].to_pylist() == ids
    convert_file(str(DEMO), Plan(str(tmp_path / "venues"), partition=("venue",)))
    assert any("venue=bitget/order/demo-" in name for name in files(tmp_path / "venues"))
    convert_file(str(DEMO), Plan(str(tmp_path / "flat"), partition=()))
    assert {name.split("/")[0] for name in files(tmp_path / "flat")} == {"_reports", *core.KINDS}


def test_partitions_together_are_the_table(tmp_path: Path) -> None:
    convert_file(str(DEMO), Plan(str(tmp_path)))
    whole = execwire.read_capture(DEMO)
    for kind in core.KINDS:
        parts = read(tmp_path.glob(f"kind={kind}/**/*.parquet"))
        want = by_arrow(whole[kind].using(scale=18))
        assert sorted(map(str, rows_of(parts))) == sorted(map(str, want))


CONVERT = """
import sys
from execwire.convert import Plan, convert_file
report = convert_file(sys.argv[1], Plan(sys.argv[2], venue="binance-spot", rows=20_000))
assert report.is_whole and report.records["order"] == int(sys.argv[3]), report
"""


def test_converting_takes_bounded_memory(tmp_path: Path) -> None:
    block, peaks = b"\n".join(lines("executionReport", 1000)) + b"\n", []
    for blocks in (100, 350):
        path = tmp_path / str(blocks)
        path.write_bytes(block * blocks)
        peaks.append(peak_of(CONVERT, path, tmp_path / "out", str(blocks * 1000)))
    assert peaks[1] - peaks[0] < 60_000  # of 130 MB more


def test_damage_is_reported_and_the_rest_is_there(tmp_path: Path) -> None:
    messages = lines("executionReport", 2000)
    packed = gzip.compress(write(tmp_path / "whole", messages).read_bytes())
    capture = tmp_path / "cut.gz"
    capture.write_bytes(packed[: len(packed) // 2])
    report = convert_file(str(capture), Plan(str(tmp_path / "out")))
    assert report.damage is not None
    assert "truncated" in report.damage
    assert read((tmp_path / "out").glob("kind=order/**/*.parquet")).num_rows == report.records["order"] > 800


def test_a_value_that_does_not_fit_leaves_no_file(tmp_path: Path) -> None:
    capture = write(tmp_path / "a", [b'{"e":"balanceUpdate","a":"X","d":"1"}', b'{"e":"balanceUpdate","d":"1e-19"}'])
    out = tmp_path / "out"
    report = convert_file(str(capture), Plan(str(out), rows=1, venue="binance-spot"))
    assert "delta: 1E-19 is no decimal" in str(report.damage) or "0.0000000000000000001 is no decimal" in str(
        report.damage
    )
    assert files(out) == []
    assert convert_file(str(capture), Plan(str(out), scale=20, venue="binance-spot")).damage is None
    missing = convert_file(str(tmp_path / "none"), Plan(str(out)))
    assert "No such file" in str(missing.damage)


def test_resume_passes_over_what_is_done(tmp_path: Path) -> None:
    capture = write(tmp_path / "a.txt", lines("executionReport", 20))
    plan = Plan(str(tmp_path / "out"), venue="binance-spot")
    first = convert_file(str(capture), plan, resume=True)
    (made,) = (tmp_path / "out").glob("kind=order/**/*.parquet")
    before = made.stat().st_mtime_ns
    assert convert_file(str(capture), plan, resume=True) == first
    assert made.stat().st_mtime_ns == before
    convert_file(str(capture), Plan(plan.folder, venue="binance-spot", scale=12), resume=True)  # another plan
    assert made.stat().st_mtime_ns != before
    write(capture, lines("executionReport", 30), FIRST + 2 * 86_400 * 10**9)  # another input, of another day
    assert convert_file(str(capture), plan, resume=True).messages == 30
    assert not made.exists()  # what the old input gave is gone
    (made,) = (tmp_path / "out").glob("kind=order/**/*.parquet")
    made.unlink()
    assert convert_file(str(capture), plan, resume=True).messages == 30
    assert made.exists()


def test_what_may_pass_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    zstandard = pytest.importorskip("zstandard")
    capture = tmp_path / "a.zst"
    capture.write_bytes(
        zstandard.ZstdCompressor().compress(b"".join(one + b"\n" for one in lines("executionReport", 20)))
    )
    plan = Plan(str(tmp_path / "out"), venue="binance-spot")
    with monkeypatch.context() as changed:
        changed.setitem(sys.modules, "zstandard", None)
        report = convert_file(str(capture), plan, resume=True)
        assert report.may_pass
        assert "needs zstandard" in str(report.damage)
    assert convert_file(str(capture), plan, resume=True).messages == 20


def test_kinds_and_formats_may_be_made_one_after_the_other(tmp_path: Path) -> None:
    out = tmp_path / "out"
    (together,) = convert(DEMO, Plan(str(tmp_path / "all"), kinds=("order", "fill")))
    for partition in (("kind", "venue", "day"), ("venue",)):
        for kind in ("order", "fill"):
            list(convert(DEMO, Plan(str(out), kinds=(kind,), partition=partition)))
        list(convert(DEMO, Plan(str(out), to="arrow", kinds=("fill",), partition=partition)))
        for kind in ("order", "fill"):
            made = [path for path in out.rglob("*.parquet") if kind in str(path.relative_to(out))]
            assert read(made).num_rows == together.records[kind]  # no file of the other partition is left
        assert list(out.rglob("*.arrow"))


def test_a_venue_that_was_mended_is_not_what_it_was(tmp_path: Path) -> None:
    capture = write(tmp_path / "a.txt", [b'{"e":"ORDER","s":"BTCUSDT","p":"1.5","px":"2"}'])
    venue = tmp_path / "mine.toml"
    for key, price in (("p", "1.5"), ("px", "2")):
        what = f'when = {{ e = "ORDER" }}\nkind = "order"\nfields = {{ symbol = "s", price = "{key}" }}\n'
        venue.write_text(f'name = "mine"\n[[event]]\nname = "ORDER"\n{what}')
        plan = Plan(str(tmp_path / "out"), venue=str(venue))
        for _ in range(2):
            (report,) = convert(capture, plan, resume=True)
            assert report.damage is None
        rows = rows_of(read((tmp_path / "out").rglob("*.parquet")))
        assert [row["price"] for row in rows] == [Decimal(price)]


def test_a_folder_may_be_called_by_a_tilde(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    capture = write(tmp_path / "a.txt", lines("executionReport", 20))
    monkeypatch.chdir(tmp_path)
    for to in FORMATS:
        (report,) = convert(capture, Plan(f"~/{to}", to=to, venue="binance-spot"))
        assert report.damage is None
        assert list((tmp_path / "~" / to).rglob(f"*.{to}"))


def test_what_cannot_be_converted_is_not_passed_over(tmp_path: Path) -> None:
    plan = Plan(str(tmp_path / "out"), venue="binance-spot")
    with (tmp_path / "a.txt").open("w+b") as file, pytest.raises(TypeError, match="by their paths"):
        list(convert([file], plan))  # type: ignore[list-item]
    for shard in ((0, 4), (5, 2)):
        with pytest.raises(ValueError, match="counted from 1"):
            list(convert(tmp_path / "a.txt", plan, shard=shard))


def test_shards_are_disjoint_and_complete() -> None:
    paths = [f"captures/{i}.gz" for i in range(500)]
    shards = [{path for path in paths if in_shard(path, (i, 7))} for i in range(1, 8)]
    assert set().union(*shards) == set(paths)
    assert sum(map(len, shards)) == 500
    assert all(len(shard) > 30 for shard in shards)
    assert parse_shard("3/64") == (3, 64)
    for wrong in ("0/3", "4/3", "3", "a/b", "1/0"):
        with pytest.raises(ValueError, match="a shard is i/n"):
            parse_shard(wrong)


def test_plans_are_checked() -> None:
    with pytest.raises(ValueError, match="unknown output format 'csv'"):
        Plan("x", to="csv")
    with pytest.raises(ValueError, match="partition: 'hour' is not one of"):
        Plan("x", partition=("hour",))


def test_several_processes(tmp_path: Path) -> None:
    captures = [write(tmp_path / f"{i}.txt", lines("executionReport", 10 + i)) for i in range(5)]
    reports = list(convert(captures, Plan(str(tmp_path / "out"), venue="binance-spot"), jobs=2))
    assert sorted(report.messages for report in reports) == [10, 11, 12, 13, 14]
    assert read((tmp_path / "out").glob("kind=order/**/*.parquet")).num_rows == 60


KILLS_ITS_WORKER = """
import multiprocessing, pathlib, sys, threading, time
import execwire.convert as c
if __name__ == "__main__":
    out, *captures = sys.argv[1:]
    killed = []
    def kill():
        while not list(pathlib.Path(out).rglob("*.tmp")):
            time.sleep(0.005)
        child = multiprocessing.active_children()[0]
        child.kill()
        killed.append(child)
    threading.Thread(target=kill, daemon=True).start()
    reports = list(c.convert(captures, c.Plan(out, venue="binance-spot", rows=1000), jobs=2))
    print(len(killed), sorted(report.messages for report in reports), [report.damage for report in reports])
"""


def test_inputs_of_a_worker_that_died_are_read_again(tmp_path: Path) -> None:
    block = lines("executionReport", 2000)
    captures = [write(tmp_path / f"{i}.txt", block * 10) for i in range(4)]
    program = tmp_path / "kills.py"
    program.write_text(KILLS_ITS_WORKER)
    out = tmp_path / "out"
    done = subprocess.run(
        [sys.executable, program, out, *captures], capture_output=True, text=True, timeout=300, check=True
    )
    assert done.stdout == "1 [20000, 20000, 20000, 20000] [None, None, None, None]\n"
    assert read(out.glob("kind=order/**/*.parquet")).num_rows == 80_000
    list(convert(captures, Plan(str(out), venue="binance-spot", rows=1000), resume=True))
    assert not list(out.rglob("*.tmp"))


def test_a_killed_run_leaves_no_half_file_and_the_next_one_cleans_up(tmp_path: Path) -> None:
    capture = write(tmp_path / "a.txt", lines("executionReport", 2000) * 50)
    out = tmp_path / "out"
    with started(COMMAND, "decode", capture, "--to", "parquet", "-o", out, "--venue", "binance-spot") as running:
        deadline = time.monotonic() + 60
        while not list(out.rglob(".*.tmp")) and running.poll() is None and time.monotonic() < deadline:
            time.sleep(0.005)
        running.send_signal(signal.SIGKILL)
    assert [name for name in files(out) if not name.endswith(".tmp")] == []
    (report,) = convert([capture], Plan(str(out), venue="binance-spot"), resume=True)
    assert report.messages == 100_000
    assert not list(out.rglob("*.tmp"))
    assert read(out.glob("kind=order/**/*.parquet")).num_rows == 100_000


KILLS_THOSE_WHO_READ_A_PIPE = """
import multiprocessing, sys, threading
import execwire.convert as c
if __name__ == "__main__":
    out, pipe, *captures = sys.argv[1:]
    def kill():
        while True:
            with open(pipe, "wb"):
                for child in multiprocessing.active_children():
                    child.kill()
                    child.join()
    threading.Thread(target=kill, daemon=True).start()
    reports = c.convert([captures[0], pipe, *captures[1:]], c.Plan(out, venue="binance-spot"), jobs=2)
    print(sorted((report.messages, report.damage) for report in reports))
"""


def test_an_input_that_kills_its_workers_costs_no_other(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    captures = [write(tmp_path / f"{i}.txt", lines("executionReport", i)) for i in range(1, 13)]
    program = tmp_path / "kills.py"
    program.write_text(KILLS_THOSE_WHO_READ_A_PIPE)
    done = subprocess.run(
        [sys.executable, program, tmp_path / "out", tmp_path / "pipe", *captures],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    died = [(0, "the process that read it died")]
    assert done.stdout == f"{died + [(i, None) for i in range(1, 13)]}\n"


def test_a_full_disk_leaves_nothing_behind(tmp_path: Path) -> None:
    captures = [
        write(tmp_path / "big", lines("executionReport", 2000) * 5),
        write(tmp_path / "small", lines("executionReport", 10)),
    ]

    # A write beyond the limit fails, as one on a full disk does.
    limited = ["sh", "-c", 'trap "" XFSZ; ulimit -f 200; exec "$@"', "sh"]
    for to in FORMATS:
        out = tmp_path / to
        done = subprocess.run(
            [*limited, COMMAND, "decode", *captures, "--to", to, "-o", out, "--venue", "binance-spot"],
            capture_output=True, timeout=120, check=False,
        )  # fmt: skip
        assert done.returncode == 3
        assert os.strerror(errno.EFBIG) in done.stderr.decode()
        assert [Path(name).name.partition("-")[0] for name in files(out)] == ["small", "small"]


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_run_that_is_ended_ends_its_workers(tmp_path: Path, stop: signal.Signals) -> None:
    pipe = tmp_path / "pipe"  # a worker that opens it waits
    os.mkfifo(pipe)
    capture = write(tmp_path / "a", lines("executionReport", 2000) * 5)
    out = tmp_path / "out"
    command = [COMMAND, "decode", pipe, capture, tmp_path / "more", "--to", "parquet", "-o", out, "--jobs", "2"]
    with started(*command) as running, pipe.open("wb") as feed:
        feed.write(b"".join(b"1795000000 %s\n" % line for line in lines("executionReport", 2000) * 10))
        feed.flush()
        assert running.stderr is not None
        running.stderr.readline()  # the other one has been told
        interrupt(running, stop)
        told = running.stderr.read()  # until nobody holds it any more
        if stop != signal.SIGKILL:
            assert (running.wait(60), told.splitlines()[-1]) == (130, b"interrupted")
            assert not list(out.rglob("*.tmp"))


def workers_that_import(group: int) -> bool:
    """Whether a worker in a process group is on its way: it has begun to import, and does not work yet."""
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            command = (process / "cmdline").read_bytes()
            if b"spawn_main" in command and os.getpgid(int(process.name)) == group:
                return "execwire" in (process / "maps").read_text()
    return False


def test_an_interrupt_while_workers_start(tmp_path: Path) -> None:
    captures = [write(tmp_path / f"{i}", lines("executionReport", 5000)) for i in range(4)]
    out = tmp_path / "out"
    with started(COMMAND, "decode", *captures, "--to", "parquet", "-o", out, "--jobs", "2") as running:
        while running.poll() is None and not workers_that_import(running.pid):
            time.sleep(0.001)
        os.killpg(running.pid, signal.SIGINT)  # as a terminal does
        _, told = running.communicate(timeout=60)
        assert (running.returncode, told.decode()) == (130, "interrupted\n")


# ---- MARK: The command ----


def run(*args: str | Path, code: int = 0) -> str:
    done = subprocess.run([COMMAND, *map(str, args)], capture_output=True, timeout=120, check=False)
    assert done.returncode == code, done.stderr.decode()
    assert done.stdout == b""
    return done.stderr.decode()


def test_command(tmp_path: Path) -> None:
    out = tmp_path / "out"
    told = run("decode", DEMO, "--to", "parquet", "-o", out, "--kind", "order,fill", "--partition", "kind")
    assert told == f"{DEMO}: hftbacktest, 79 messages: 33 order, 4 fill, 28 balance, 7 position, 22 notice\n"
    assert [name.split("/")[0] for name in files(out)] == ["_reports", "kind=fill", "kind=order"]
    report = json.loads(next(out.glob("_reports/*.json")).read_text())
    assert report["report"]["messages"] == 79
    assert report["input"]["size"] == DEMO.stat().st_size
    run("decode", DEMO, "--to", "arrow", "-o", tmp_path / "two", "--jobs", "2", "--shard", "1/1", "--resume")
    assert any(name.endswith(".arrow") for name in files(tmp_path / "two"))
    run("decode", DEMO, "-o", tmp_path / "three.parquet")  # told by its ending
    assert any(name.endswith(".parquet") for name in files(tmp_path / "three.parquet"))


def test_command_tells_what_failed(tmp_path: Path) -> None:
    bad = tmp_path / "bad"
    bad.write_bytes(b'1795000000 {"e":"balanceUpdate","a":"X","d":"1"}\n1795000000 {"e":}\n')
    told = run("decode", bad, "--to", "parquet", "-o", tmp_path / "out", "--venue", "binance-spot", code=1)
    assert f"{bad}:2 (byte 65): " in told
    assert told.endswith("1 of 2 messages failed\n")
    missing = [tmp_path / "no*", tmp_path / ("n" * 300)]  # which cost the others nothing
    told = run("decode", *missing, bad, "--to", "parquet", "-o", tmp_path / "out", code=3)
    assert f"no file matches {missing[0]}" in told
    assert os.strerror(errno.ENAMETOOLONG) in told
    assert "2 messages: 1 balance" in told
    told = run("decode", tmp_path / "none", "--to", "parquet", "-o", tmp_path / "out", code=3)
    assert "No such file" in told


def test_comments_of_cryptofeed_are_no_messages(tmp_path: Path) -> None:
    capture = tmp_path / "capture"
    begin = b'configuration: {"a": 1}\nwss://stream.example/ws <-> 1795000000.1\n'
    capture.write_bytes(begin + b'1795000000.2: {"e":"balanceUpdate","a":"X","d":"1"}\n')
    for venue in ("auto", "binance-spot"):
        told = run("decode", capture, "--to", "parquet", "-o", tmp_path / venue, "--venue", venue)
        assert told == f"{capture}: cryptofeed, 1 messages: 1 balance\n"


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--to", "parquet"], "needs -o FOLDER"),
        (["--to", "parquet", "-o", "x", "--shard", "3/2"], "a shard is i/n"),
        (["--to", "parquet", "-o", "x", "--partition", "hour"], "partition: 'hour'"),
        (["--to", "arrow", "-o", "x", "--errors", "stop"], "--errors stop is not for"),
        (["--to", "parquet", "-o", str(DEMO)], "is no folder"),
        (["--jobs", "2"], "--jobs is for --to parquet or arrow"),
    ],
)
def test_usage(args: list[str], message: str) -> None:
    assert message in run("decode", DEMO, *args, code=2)
