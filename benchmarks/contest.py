"""The rules: what is decoded, how a contender is checked, and how a turn is timed."""

from __future__ import annotations

import functools
import os
from typing import TYPE_CHECKING, Any

import pytest

import native_build
from execwire import bench, workload

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_benchmark.fixture import BenchmarkFixture

TURNS = int(os.environ.get("BENCH_TURNS", "5"))
MESSAGES = int(os.environ.get("BENCH_MESSAGES", str(workload.DISTINCT)))
SECONDS = float(os.environ.get("BENCH_SECONDS", "0.04"))  # of one contender's turn

EVENTS = tuple(workload.EVENTS)
HARD = ("shuffled", "unknown-keys", "nesting")
MAIN = ("executionReport", "ORDER_TRADE_UPDATE")

in_turns = pytest.mark.parametrize("turn", range(TURNS))


def over(events: tuple[str, ...]) -> pytest.MarkDecorator:
    """Run over these workloads."""
    return pytest.mark.parametrize("event", events)


@functools.cache
def messages_of(event: str) -> workload.Workload:
    """The messages, made once."""
    return workload.workload(event, MESSAGES)


def note(benchmark: BenchmarkFixture, contender: str, event: str, mode: str, **values: Any) -> None:
    """What report.py reads."""
    benchmark.group = f"{mode} {event}"
    benchmark.extra_info.update(
        contender=contender, event=event, mode=mode, bytes=messages_of(event).bytes_per_message, **values
    )


def timed(benchmark: BenchmarkFixture, function: Callable[..., None], *args: Any, count: int, rounds: int = 2) -> None:
    """One turn: a pass that is not timed, then some that are, of which the fastest counts."""
    benchmark.pedantic(function, args=args, rounds=rounds, iterations=1, warmup_rounds=1)
    if benchmark.stats is not None:  # None with --benchmark-disable
        benchmark.extra_info["ns"] = benchmark.stats.stats.min / count * 1e9


# ---- MARK: Python ----


@functools.cache
def _runner(contender: bench.Contender, event: str) -> tuple[bench.Runner, tuple[bytes, ...], float]:
    messages = messages_of(event)
    runner = contender.prepare(messages)
    bench.check(messages, runner)
    some = bench.affordable(runner, messages, SECONDS)
    return runner, some, bench.kept_bytes(runner.decode, some[:500])


def time_python(benchmark: BenchmarkFixture, contender: bench.Contender, event: str) -> None:
    """Check, then time one turn."""
    if not contender.version:
        pytest.skip(f"no {contender.package}")
    try:
        runner, some, kept = _runner(contender, event)
    except bench.WrongAnswerError as error:
        pytest.fail(f"not timed: {error}")
    name = contender.package or "Python"
    note(benchmark, contender.name, event, "python", version=f"{name} {contender.version}", memory=kept)
    timed(benchmark, bench.one_pass, runner.decode, some, count=len(some))


def python_test(contender: bench.Contender | str, events: tuple[str, ...] = EVENTS) -> Callable[..., None]:
    """The test of a contender, or of the one that execwire.bench has under a name."""
    (one,) = (one for one in bench.CONTENDERS if one.name == contender) if isinstance(contender, str) else (contender,)

    @over(events)
    @in_turns
    def test_python(benchmark: BenchmarkFixture, event: str, turn: int) -> None:
        time_python(benchmark, one, event)

    return test_python


# ---- MARK: Native ----


@functools.cache
def _native(name: str, event: str, exact: bool) -> native_build.Native:
    native = native_build.Native(name, messages_of(event))
    bench.compare(native.messages, native.told(bench.CHECKED), exact=exact)
    if event != "gzip-frames" and name != "execwire":  # and all of them with what execwire makes of them
        told = _native("execwire", event, True).told(MESSAGES)
        if exact and native.told(MESSAGES) != told:
            raise bench.WrongAnswerError(f"{name} and execwire disagree on {event}")
    return native


def time_native(
    benchmark: BenchmarkFixture, name: str, title: str, event: str, mode: str = "native", *, exact: bool = True
) -> None:
    """Check, then time one turn. Modes: native (hot), cold, first (messages of a fresh decoder)."""
    try:
        native = _native(name, event, exact)
    except native_build.MissingError as missing:
        pytest.skip(str(missing))
    except (bench.WrongAnswerError, RuntimeError) as error:
        pytest.fail(f"not timed: {error}")
    library = "zlib-ng" if event == "gzip-frames" else title.split()[0]
    version = f"{library} {native.version or bench.CONTENDERS[0].version}"
    if os.environ.get(name.partition("_")[0].upper()):  # YYJSON or SIMDJSON: somebody's copy, which may be changed
        version += " (sources from a folder, not a package)"
    note(benchmark, title, event, mode, version=version, memory=native.memory())
    if mode == "native":
        timed(benchmark, native.decode, MESSAGES, count=MESSAGES, rounds=5)
        return
    # The harness takes the time itself: most of the turn is spent on making things cold.
    ns: list[float] = []
    if mode == "cold":
        benchmark.pedantic(lambda: ns.append(native.cold(min(500, MESSAGES))), rounds=1)
    else:
        benchmark.pedantic(lambda: ns.append(native.fresh(10, 200)), rounds=1)
    benchmark.extra_info["ns"] = ns[-1]


def native_tests(name: str, title: str, *, exact: bool = True) -> tuple[Callable[..., None], ...]:
    """The tests of a contender: hot, cold, and the first messages of a fresh decoder."""

    @over((*EVENTS, *HARD))
    @in_turns
    def test_native(benchmark: BenchmarkFixture, event: str, turn: int) -> None:
        time_native(benchmark, name, title, event, exact=exact)

    @over(MAIN)
    @in_turns
    def test_cold(benchmark: BenchmarkFixture, event: str, turn: int) -> None:
        time_native(benchmark, name, title, event, "cold", exact=exact)

    @over((*MAIN, "ACCOUNT_UPDATE", "outboundAccountPosition", "bitget-orders"))
    @in_turns
    def test_first(benchmark: BenchmarkFixture, event: str, turn: int) -> None:
        time_native(benchmark, name, title, event, "first", exact=exact)

    return test_native, test_cold, test_first
