"""How fast the decoder is on this machine, beside other ways to read the same messages in Python.

Every contender's results are compared with those of the reference decoder before it is timed; one that differs is not
timed. Contenders take turns, so that a busy neighbour slows all of them down, and the median of the turns counts.
"""

from __future__ import annotations

import enum
import functools
import gc
import importlib.metadata
import json
import os
import platform
import time
import tracemalloc
from collections import deque
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from itertools import islice
from pathlib import Path as FilePath
from statistics import median
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson

from execwire import reference, venues
from execwire.core import Decoder
from execwire.output import table
from execwire.reference import _route, _unwrap
from execwire.venues import _schema
from execwire.workload import DISTINCT, workload

if TYPE_CHECKING:
    import os as _os
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from execwire.venues import Path
    from execwire.workload import Workload

__all__ = [
    "CONTENDERS",
    "Contender",
    "Measurement",
    "Report",
    "Runner",
    "WrongAnswerError",
    "check",
    "kept_bytes",
    "measure",
    "one_pass",
    "plot",
]

EVENTS = ("executionReport", "ORDER_TRADE_UPDATE", "ACCOUNT_UPDATE", "bitget-orders-10", "spot-mix")  # of the command
CHECKED = 300  # messages whose results are compared

_Told = list[dict[str, Any]]


class WrongAnswerError(Exception):
    """A contender's result is not that of the reference decoder."""


# ---- MARK: What is right ----


class Runner(NamedTuple):
    """A contender, ready for the messages of one workload."""

    decode: Callable[[bytes], object]  # what is timed
    told: Callable[[Any], _Told]  # its result as records, as `reference.decode` has them
    exact: bool = True  # else decimals are compared as floats


@dataclass(frozen=True)
class Contender:
    """One way to decode."""

    name: str
    package: str  # the distribution it comes from, "" for Python itself
    prepare: Callable[[Workload], Runner] = field(repr=False)

    @property
    def version(self) -> str:
        """Of the package, or of Python; "" if it is not installed."""
        if not self.package:
            return platform.python_version()
        try:
            return importlib.metadata.version(self.package)
        except importlib.metadata.PackageNotFoundError:
            return ""


_ABOUT = ("venue", "event", "extra")  # only execwire says this


def _bare(records: Iterable[dict[str, Any]], exact: bool, decimals: Mapping[str, set[str]]) -> _Told:
    """Records without what other decoders do not tell, and without what is null."""
    return [
        {
            name: float(value) if not exact and name in decimals[record["kind"]] and value != "" else value
            for name, value in record.items()
            if name not in _ABOUT and value is not None
        }
        for record in records
    ]


@functools.cache
def _decimals() -> Mapping[str, set[str]]:
    kinds = _schema().kinds.items()
    return {kind: {name for name, one in fields.items() if one.type == "decimal"} for kind, fields in kinds}


@functools.lru_cache(maxsize=64)
def expected(messages: Workload, count: int) -> tuple[_Told, ...]:
    """What the reference decoder makes of the first messages."""
    venue = venues.load(messages.venue)
    return tuple(reference.decode(venue, message) for message in messages.messages[:count])


def compare(messages: Workload, told: Iterable[_Told], *, exact: bool = True, count: int = CHECKED) -> None:
    """Compare what a contender told of the first messages with what is right.

    Raises
    ------
    WrongAnswerError
        If they differ. The message shows the first difference; messages of workloads are no secrets.
    """
    right = expected(messages, count)
    for number, (records, reference_records) in enumerate(zip(told, right, strict=True)):
        got = _bare(records, exact, _decimals())
        wanted = _bare(reference_records, exact, _decimals())
        if got != wanted:
            raise WrongAnswerError(f"{messages.name}, message {number}: {got} instead of {wanted}")


def check(messages: Workload, runner: Runner, count: int = CHECKED) -> None:
    """Compare the results of a runner with those of the reference decoder; raises WrongAnswerError."""
    told = (runner.told(runner.decode(message)) for message in messages.messages[:count])
    compare(messages, told, exact=runner.exact, count=count)


# ---- MARK: Timing ----


def one_pass(decode: Callable[[bytes], object], messages: Iterable[bytes]) -> None:
    """Decode all, keep nothing. The loop is C's, so that it costs next to nothing."""
    deque(map(decode, messages), maxlen=0)


def kept_bytes(decode: Callable[[bytes], object], messages: Sequence[bytes]) -> float:
    """How much memory the results take if they are kept, per message, in bytes."""
    one_pass(decode, messages)
    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        results = [decode(message) for message in messages]
        after = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    size = results.__sizeof__()
    return max(0.0, after - before - size) / len(messages)


def affordable(runner: Runner, messages: Workload, seconds: float) -> tuple[bytes, ...]:
    """As many of the messages as can be decoded in that time."""
    sample = messages.messages[: min(50, len(messages.messages))]
    one_pass(runner.decode, sample)
    start = time.perf_counter()
    one_pass(runner.decode, sample)
    each = (time.perf_counter() - start) / len(sample)
    return messages.messages[: max(len(sample), int(seconds / each))]


def cpu() -> str:
    """The CPU's name and how many there are."""
    try:
        with FilePath("/proc/cpuinfo").open(encoding="utf-8") as lines:
            name = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    except OSError:
        name = ""
    return f"{name or platform.machine()} ({os.cpu_count()} cores)"


# ---- MARK: Execwire ----


def _decode_into(messages: Workload) -> Runner:
    decoder = Decoder(messages.venue)

    def told(n: int) -> _Told:
        return [decoder.records[i].to_dict() for i in range(n)]

    return Runner(decoder.decode_into, told)


def _decode(messages: Workload) -> Runner:
    return Runner(Decoder(messages.venue).decode, lambda records: [record.to_dict() for record in records])


def _reference(messages: Workload) -> Runner:
    return Runner(functools.partial(reference.decode, venues.load(messages.venue)), list)


# ---- MARK: Parsers that know nothing of the messages ----


def _as_json(messages: Workload, dumps: Callable[[Any], bytes]) -> Callable[[Any], _Told]:
    """Records from a result that is JSON again, so that nothing got lost on the way."""
    venue = venues.load(messages.venue)
    return lambda result: reference.decode(venue, dumps(result))


def parsed(loads: Callable[[bytes], object]) -> Callable[[Workload], Runner]:
    """Of a function that makes dicts and lists of a message, and converts nothing."""
    return lambda messages: Runner(loads, _as_json(messages, orjson.dumps))


# ---- MARK: Typed ----


@dataclass
class Shape:
    """A JSON object as the decoder's venue describes it: what a client would write down as a class."""

    name: str
    leaves: dict[str, str] = field(default_factory=dict)  # decimal, time, u16, id, text, bool, or a vocabulary
    objects: dict[str, Shape] = field(default_factory=dict)
    arrays: dict[str, Shape] = field(default_factory=dict)  # of such objects
    integers: set[str] = field(default_factory=set)  # leaves that are bare integers


def shapes(messages: Workload) -> dict[str, Shape]:
    """The shapes of frames, by the name of their event."""
    venue = venues.load(messages.venue)
    found: dict[str, Shape] = {}
    for message in messages.messages[:200]:
        frame = json.loads(message)
        (event,) = _unwrap(venue.envelopes, reference._parse(message.decode()))  # type: ignore[arg-type]
        description = _route(venue, event)
        if description is None:
            raise ValueError(f"{messages.name}: unknown event")
        shape = found.setdefault(description.name, Shape(description.name.replace("-", "_")))
        enters = [envelope.enter for envelope in venue.envelopes if envelope.enter in frame]
        for emit in description.emits:
            for name, paths in emit.fields.items():
                for path in paths:
                    _plant(shape, frame, _whole(path, enters, emit.rows.steps), _leaf(emit.kind, name))
        _plant(shape, frame, _whole(description.discriminator, enters, ()), "text")
    return found


def _leaf(kind: str, name: str) -> str:
    one = _schema().kinds[kind][name]
    return one.vocabulary or one.type


def _whole(path: Path, enters: Sequence[str], rows: Sequence[str | int]) -> list[str]:
    """The path from the frame."""
    before = {"": [*enters, *map(str, rows)], "/": enters, "//": []}[path.scope]
    return [*before, *map(str, path.steps)]


def _plant(shape: Shape, value: Any, steps: Sequence[str], leaf: str) -> None:
    """Note a leaf, if the value has it."""
    first, *rest = steps
    if not isinstance(value, dict) or first not in value:
        return
    inner = value[first]
    if not rest:
        shape.leaves.setdefault(first, leaf)
        if isinstance(inner, int) and not isinstance(inner, bool):
            shape.integers.add(first)
    elif isinstance(inner, list):
        below = shape.arrays.setdefault(first, Shape(f"{shape.name}_{first}"))
        for item in inner:
            _plant(below, item, rest, leaf)
    else:
        _plant(shape.objects.setdefault(first, Shape(f"{shape.name}_{first}")), inner, rest, leaf)


def words(messages: Workload, vocabulary: str) -> type[enum.Enum]:
    """The texts of a vocabulary, as the venue spells them, as an enum."""
    spellings = venues.load(messages.venue).enums[vocabulary]
    return enum.Enum(vocabulary, {f"W{i}": text for i, text in enumerate(spellings)})  # type: ignore[return-value]


def leaf_types(messages: Workload, decimal: type) -> Callable[[Shape, str], Any]:
    """The Python type for a leaf of a shape."""
    enums = functools.cache(functools.partial(words, messages))

    def type_of(shape: Shape, key: str) -> Any:
        kind = shape.leaves[key]
        if kind == "decimal":
            return decimal
        if kind in ("time", "u16") or key in shape.integers:
            return int
        if kind == "bool" and messages.venue != "bitget":
            return bool
        return str if kind in ("id", "text") else enums(kind)

    return type_of


def _typed(decimal: type) -> Callable[[Workload], Runner]:
    def prepare(messages: Workload) -> Runner:
        import msgspec

        type_of = leaf_types(messages, decimal)

        def struct(shape: Shape, **options: Any) -> Any:
            members: list[tuple[str, Any, Any]] = [
                (key, type_of(shape, key) | None, None) for key in shape.leaves if key != options.get("tag_field")
            ]
            members += [(key, struct(inner), msgspec.NODEFAULT) for key, inner in shape.objects.items()]
            members += [(key, list[struct(inner)], msgspec.NODEFAULT) for key, inner in shape.arrays.items()]  # type: ignore[misc]
            members.sort(key=lambda member: member[2] is None)
            return msgspec.defstruct(shape.name, members, kw_only=True, omit_defaults=True, **options)

        found = shapes(messages)
        if len(found) == 1:
            (shape,) = found.values()
            wanted = struct(shape)
        else:
            wanted = _union([struct(shape, tag_field="e", tag=name) for name, shape in found.items()])
        strict = decimal is Decimal and messages.venue != "bitget"  # numbers in strings: of Bitget, times too
        decoder = msgspec.json.Decoder(wanted, strict=strict)
        return Runner(decoder.decode, _as_json(messages, msgspec.json.encode), exact=decimal is Decimal)

    return prepare


def _union(types: Sequence[Any]) -> Any:
    return functools.reduce(lambda a, b: a | b, types)


CONTENDERS = (
    Contender("execwire decode_into", "execwire", _decode_into),
    Contender("execwire decode", "execwire", _decode),
    Contender("orjson.loads", "orjson", parsed(orjson.loads)),
    Contender("json.loads", "", parsed(json.loads)),
    Contender("msgspec, typed, float", "msgspec", _typed(float)),
    Contender("msgspec, typed, Decimal", "msgspec", _typed(Decimal)),
    Contender("execwire's reference decoder", "execwire", _reference),
)


# ---- MARK: The short version ----


class Measurement(NamedTuple):
    """One contender over the messages of one workload."""

    contender: str
    event: str
    ns: float  # per message
    kept: float  # bytes per kept result
    messages: int  # of a turn


@dataclass
class Report:
    """What came out, on which machine."""

    events: dict[str, float]  # bytes per message
    versions: dict[str, str]
    skipped: list[str]
    measurements: list[Measurement] = field(default_factory=list)
    turns: int = 0
    when: datetime = field(default_factory=lambda: datetime.now(UTC))

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        base = {one.event: one.ns for one in self.measurements if one.contender == CONTENDERS[0].name}
        return {
            "date": f"{self.when:%Y-%m-%dT%H:%M:%SZ}",
            "cpu": cpu(),
            "python": platform.python_version(),
            "versions": self.versions,
            "turns": self.turns,
            "skipped": self.skipped,
            "bytes_per_message": {event: round(size, 1) for event, size in self.events.items()},
            "results": [
                {
                    "contender": one.contender,
                    "event": one.event,
                    "ns_per_message": round(one.ns, 1),
                    "ratio": round(one.ns / base[one.event], 2),
                    "bytes_kept_per_message": round(one.kept),
                    "messages": one.messages,
                }
                for one in self.measurements
            ],
        }

    def lines(self) -> Iterator[str]:
        """As text."""
        for event, size in self.events.items():
            rows = [one for one in self.measurements if one.event == event]
            base = rows[0].ns
            yield f"{event}, {size:.0f} bytes"
            yield from table(
                ("", "ns/message", "times decode_into", "bytes kept"),
                [
                    (one.contender, f"{one.ns:.0f}", f"{one.ns / base:.1f}", f"{one.kept:.0f}")
                    for one in sorted(rows, key=lambda one: one.ns)
                ],
            )
            yield ""
        versions = ", ".join(f"{name} {version}" for name, version in self.versions.items())
        yield f"{versions}, Python {platform.python_version()}, {cpu()}, {self.when:%Y-%m-%d}."
        yield f"Medians of {self.turns} turns; every contender's results were compared with the reference decoder's."
        yield "loads converts nothing; decode_into makes no object. bytes kept: of a result, if it is kept."
        if self.skipped:
            yield f"Not installed: {', '.join(self.skipped)}."


def measure(
    events: Iterable[str] = EVENTS,
    *,
    turns: int = 5,
    seconds: float = 0.03,
    count: int = DISTINCT,
    progress: Callable[[Iterable[Any]], Iterable[Any]] = iter,
) -> Report:
    """Check every contender, then time them in turns.

    Parameters
    ----------
    events : iterable of str
        Names of workloads.
    turns : int
        How often every contender gets its turn.
    seconds : float
        How long a turn takes, about.
    count : int
        How many distinct messages there are of each workload (of those with ten orders each, a tenth). Slow contenders
        do not get through all of them in a turn.
    progress : callable
        Wraps the list of turns, as tqdm does.

    Raises
    ------
    WrongAnswerError
        If results differ from those of the reference decoder.
    """
    present = [one for one in CONTENDERS if one.version]
    workloads = [workload(name, count // 10 if name.endswith("-10") else count) for name in events]
    report = Report(
        {one.name: one.bytes_per_message for one in workloads},
        {one.package: one.version for one in present if one.package},
        sorted({one.package for one in CONTENDERS} - {one.package for one in present}),
        turns=turns,
    )
    plan = [(messages, turn) for messages in workloads for turn in range(turns)]
    times: dict[tuple[str, str], list[float]] = {}
    ready: dict[str, list[tuple[str, Runner, tuple[bytes, ...]]]] = {}
    for messages, turn in progress(plan):
        if turn == 0:
            ready = {messages.name: [_ready(one, messages, seconds) for one in present]}
        for name, runner, some in ready[messages.name]:
            times.setdefault((messages.name, name), []).append(_ns(runner, some))
            if turn == turns - 1:
                kept = kept_bytes(runner.decode, some[:200])
                ns = median(times[messages.name, name])
                report.measurements.append(Measurement(name, messages.name, ns, kept, len(some)))
    return report


def _ready(one: Contender, messages: Workload, seconds: float) -> tuple[str, Runner, tuple[bytes, ...]]:
    runner = one.prepare(messages)
    check(messages, runner, min(100, len(messages.messages)))
    return one.name, runner, affordable(runner, messages, seconds)


def _ns(runner: Runner, messages: tuple[bytes, ...]) -> float:
    one_pass(runner.decode, islice(messages, 200))
    enabled = gc.isenabled()
    gc.disable()
    try:
        start = time.perf_counter_ns()
        one_pass(runner.decode, messages)
        return (time.perf_counter_ns() - start) / len(messages)
    finally:
        if enabled:
            gc.enable()


def plot(report: Report, path: str | _os.PathLike[str]) -> None:
    """Draw the measurements, one panel for each event. Needs matplotlib.

    Raises
    ------
    ModuleNotFoundError
        If matplotlib is not installed.
    """
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(
        len(report.events), 1, figsize=(9, 0.6 + 2.2 * len(report.events)), squeeze=False, layout="constrained"
    )
    for (event, size), ax in zip(report.events.items(), axes[:, 0], strict=True):
        rows = sorted((one for one in report.measurements if one.event == event), key=lambda one: -one.ns)
        base = min(one.ns for one in rows if one.contender == CONTENDERS[0].name)
        colors = ["tab:orange" if one.contender.startswith("execwire decode") else "tab:gray" for one in rows]
        bars = ax.barh([one.contender for one in rows], [one.ns for one in rows], color=colors)
        ax.bar_label(bars, [f"{one.ns:,.0f} ns, {one.ns / base:.1f}x" for one in rows], padding=4, fontsize=8)
        ax.set_xscale("log")
        ax.set_xlim(right=8 * rows[0].ns)
        ax.set_title(f"{event}, {size:.0f} bytes: ns per message", fontsize=10, loc="left")
        ax.tick_params(labelsize=8)
        ax.spines[["top", "right"]].set_visible(False)
    versions = ", ".join(f"{name} {version}" for name, version in report.versions.items())
    figure.supxlabel(f"{cpu()}, {report.when:%Y-%m-%d}\n{versions}", fontsize=7)
    figure.savefig(path, dpi=150)
    pyplot.close(figure)
