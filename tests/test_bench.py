"""`execwire bench` and what it measures with. No test looks at a time."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from execwire import Decoder, bench, cli, reference, workload

if TYPE_CHECKING:
    from collections.abc import Iterator

ALL = (*workload.EVENTS, *workload.VARIANTS)
ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Few messages, short turns."""
    measure = bench.measure

    def short(events: tuple[str, ...], *, turns: int, progress: object = iter) -> bench.Report:
        return measure(events, turns=turns, seconds=0.0001, count=200)

    monkeypatch.setattr(bench, "measure", short)
    return


@pytest.mark.parametrize("name", ALL)
def test_messages_are_distinct_and_always_the_same(name: str) -> None:
    first = workload.workload(name, 300)
    assert len(set(first.messages)) == 300
    assert workload.workload(name, 200).messages == first.messages[:200]


@pytest.mark.parametrize("name", ALL)
def test_messages_are_known_and_decoded_as_by_the_reference(name: str) -> None:
    messages = workload.workload(name, 60)
    decoder = Decoder(messages.venue)
    for message in messages.messages:
        records = [record.to_dict(extra=True) for record in decoder.decode(message)]
        assert records == reference.decode(messages.venue, message)
        assert all(record["kind"] != "notice" for record in records)
    stats = decoder.stats
    assert (stats.errors, stats.unknown_events, stats.unknown_enums, stats.unrepresentable) == (0, 0, 0, 0)
    assert bool(stats.unknown_keys) == (name in ("unknown-keys", "nesting"))


def test_orders_live_and_end() -> None:
    decoder = Decoder("binance-spot")
    lives: dict[str, list[str]] = {}
    for message in workload.workload("executionReport", 2000).messages:
        (order,) = decoder.decode(message)
        lives.setdefault(order.order_id, []).append(order.status)
    assert {life[0] for life in lives.values()} == {"new"}
    assert {"filled", "canceled", "expired"} <= {life[-1] for life in lives.values()}
    assert {status for life in lives.values() for status in life[1:-1]} == {"partially_filled"}


@pytest.mark.parametrize("shape", ["deep", "objects", "flat", "backslashes", "keys"])
def test_hostile_payloads_have_the_size_asked_for(shape: str) -> None:
    for variant in (0, 1, 59):
        payload = workload.nested(10_000, shape, variant)
        assert 9_000 < len(payload) < 11_500
        (record,) = Decoder("binance-spot").decode(payload)
        assert [record.to_dict(extra=True)] == reference.decode("binance-spot", payload)


@pytest.mark.parametrize("contender", bench.CONTENDERS, ids=lambda one: one.name)
@pytest.mark.parametrize("name", workload.EVENTS)
def test_contenders_are_right(contender: bench.Contender, name: str) -> None:
    if not contender.version:
        pytest.skip(f"no {contender.package}")
    messages = workload.workload(name, 100)
    bench.check(messages, contender.prepare(messages), 20)


def test_a_wrong_contender_is_not_timed() -> None:
    messages = workload.workload("executionReport", 20)
    right = bench.CONTENDERS[0].prepare(messages)
    wrong = right._replace(told=lambda n: [record | {"price": "1"} for record in right.told(n)])
    with pytest.raises(bench.WrongAnswerError, match="executionReport, message 0"):
        bench.check(messages, wrong, 20)
    with pytest.raises(bench.WrongAnswerError):
        bench.check(messages, right._replace(told=lambda _n: []), 20)


@pytest.mark.usefixtures("quick")
def test_command_prints_tables(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["bench", "--event", "executionReport", "--event", "bitget-orders-10", "--turns", "1"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    for word in (
        "executionReport, ",
        "bitget-orders-10, ",
        "execwire decode_into",
        "orjson.loads",
        "Medians of 1 turns",
    ):
        assert word in out


@pytest.mark.usefixtures("quick")
def test_command_prints_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["bench", "--event", "spot-mix", "--turns", "2", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    results = {one["contender"]: one for one in report["results"]}
    assert results["execwire decode_into"]["ratio"] == 1
    assert {"execwire decode", "orjson.loads", "json.loads", "execwire's reference decoder"} <= set(results)
    assert all(one["ns_per_message"] > 0 and one["event"] == "spot-mix" for one in report["results"])
    assert report["turns"] == 2
    assert {"date", "cpu", "python", "versions"} <= set(report)


@pytest.mark.usefixtures("quick")
def test_command_draws(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
    path = tmp_path / "bench.png"
    assert cli.main(["bench", "--event", "executionReport", "--turns", "1", "--plot", str(path)]) == 0
    assert path.read_bytes().startswith(b"\x89PNG")
    assert "executionReport" in capsys.readouterr().out


@pytest.mark.usefixtures("quick")
def test_a_picture_of_an_unknown_sort_costs_no_measurement(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
    args = ["bench", "--event", "executionReport", "--turns", "1", "--plot", str(tmp_path / "bench.foo")]
    assert cli.main(args) == 2
    out, err = capsys.readouterr()
    assert "execwire decode_into" in out
    assert "--plot" in err


@pytest.mark.usefixtures("quick")
def test_drawing_without_matplotlib_is_wrong_usage(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "matplotlib" else find(name))
    assert cli.main(["bench", "--plot", "x.png"]) == 2
    assert "execwire[plot]" in capsys.readouterr().err


def test_a_wrong_result_is_told_and_fails(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def wrong(*_args: object, **_options: object) -> bench.Report:
        raise bench.WrongAnswerError("executionReport, message 0: 1 instead of 2")

    monkeypatch.setattr(bench, "measure", wrong)
    assert cli.main(["bench"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert "message 0" in err


# ---- benchmarks/: what can be tested without timing anything ----


@pytest.mark.skipif(not (ROOT / "benchmarks").exists(), reason="not a source tree")
def test_report_writes_what_was_measured(tmp_path: Path) -> None:
    def one(mode: str, event: str, contender: str, ns: float) -> dict[str, object]:
        info = {"mode": mode, "event": event, "contender": contender, "version": f"{contender} 1", "memory": 10}
        return {"extra_info": info | {"bytes": 500.0, "ns": ns}}

    measured = [
        one("native", "executionReport", "execwire", 100.0),
        one("native", "executionReport", "execwire", 300.0),
        one("native", "executionReport", "execwire", 110.0),
        one("native", "executionReport", "yyjson", 440.0),
        one("native", "shuffled", "execwire", 200.0),
        one("native", "shuffled", "yyjson", 150.0),
    ]
    content = {"benchmarks": measured, "datetime": "2026-11-22T10:00:00+00:00", "commit_info": {"id": None}}
    path = tmp_path / "result.json"
    path.write_text(json.dumps(content))
    command = [sys.executable, str(ROOT / "benchmarks" / "report.py"), "--from", str(path)]
    out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert "| executionReport | 500 | 110 | 440 (4.0x) |" in out
    assert "Where we lose, times our time: shuffled (yyjson 0.75x). Not in this run: simdjson On-Demand, " in out
    assert "2026-11-22" in out
    assert "medians of 3 turns" in out


@pytest.mark.skipif(not (ROOT / "benchmarks").exists(), reason="not a source tree")
def test_conversion_reads_and_writes_all(tmp_path: Path) -> None:
    pytest.importorskip("polars")
    pytest.importorskip("pyarrow")
    script = ROOT / "benchmarks" / "conversion.py"
    command = [sys.executable, str(script), "--json", "--turns", "1", "--megabytes", "1"]
    where = {**os.environ, "BENCH_CAPTURE_DIR": str(tmp_path)}
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300, env=where)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["messages"] > 1000
    assert len(found["seconds"]) == 7
    assert all(min(times["wall"] + times["cpu"]) > 0 for times in found["seconds"].values())
