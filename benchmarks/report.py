"""Run the benchmarks and show the tables; ``--readme`` also writes them into the README.

What else is on the command line goes to pytest: ``--turns 3 -k "native and executionReport"``.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections import defaultdict
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, NamedTuple

from execwire.bench import cpu
from execwire.workload import EVENTS, VARIANTS

if TYPE_CHECKING:
    from collections.abc import Iterable

ROOT = Path(__file__).resolve().parent.parent
RESULT = ROOT / "build" / "bench" / "result.json"
BEGIN, END = "<!-- benchmarks: begin -->", "<!-- benchmarks: end -->"
PEERS = {  # by mode, so that a report can tell who is missing
    "native": ("yyjson", "simdjson On-Demand", "simdjson DOM"),
    "python": (
        "orjson.loads",
        "orjson and Decimal",
        "json.loads",
        "msgspec, typed, float",
        "msgspec, typed, Decimal",
        "pydantic, Decimal",
        "pysimdjson",
        "ccxt parse_ws_order",
    ),
    "capture": ("polars", "duckdb", "pyarrow"),
}
OURS = {"native": "execwire", "cold": "execwire", "first": "execwire", "python": "execwire decode_into"}


class Row(NamedTuple):
    """The median of a contender's turns."""

    ns: float
    memory: float
    bytes: float
    turns: int
    wall: float = 0  # of a capture, s
    cpu: float = 0
    size: float = 0


class Result:
    """Everything of one run."""

    def __init__(self, path: Path) -> None:
        content = json.loads(path.read_text(encoding="utf-8"))
        turns: dict[tuple[str, str, str], list[dict[str, Any]]] = defaultdict(list)
        self.versions: set[str] = set()
        for one in content["benchmarks"]:
            info = one["extra_info"]
            if "ns" in info:
                turns[info["mode"], info["event"], info["contender"]].append(info)
                self.versions.add(info["version"])
        self.rows = {
            key: Row(
                median(one["ns"] for one in infos),
                infos[0]["memory"],
                infos[0]["bytes"],
                len(infos),
                *(median(one.get(what, 0) for one in infos) for what in ("wall", "cpu", "size")),
            )
            for key, infos in turns.items()
        }
        self.turns = max((row.turns for row in self.rows.values()), default=0)
        self.when = datetime.fromisoformat(content["datetime"]).astimezone(UTC)
        self.commit = str(content["commit_info"].get("id") or "")[:10]
        if self.commit and content["commit_info"].get("dirty"):
            self.commit += " and changes"

    def events(self, mode: str) -> list[str]:
        """Of a mode, in the usual order."""
        there = {event for one_mode, event, _ in self.rows if one_mode == mode}
        return [event for event in (*EVENTS, *VARIANTS) if event in there and event != "gzip-frames"]

    def contenders(self, mode: str) -> list[str]:
        """Of a mode, ours first, then by their time."""
        there = {name for one, event, name in self.rows if one == mode and event != "gzip-frames"}
        first = self.events(mode)[0]
        return sorted(there, key=lambda name: (name != OURS[mode], self.ns(mode, first, name)))

    def ns(self, mode: str, event: str, contender: str) -> float:
        """Of one cell; infinity where there is none."""
        row = self.rows.get((mode, event, contender))
        return row.ns if row else float("inf")


def _size(size: float) -> str:
    if size < 10_000:
        return f"{size:.0f} B"
    return f"{size / 1024:.0f} KiB" if size < 1 << 20 else f"{size / 2**20:.1f} MiB"


def _cell(result: Result, mode: str, event: str, name: str) -> str:
    row, ours = result.rows.get((mode, event, name)), result.rows.get((mode, event, OURS[mode]))
    if row is None:
        return ""
    return f"{row.ns:.0f}" if ours in (None, row) else f"{row.ns:.0f} ({row.ns / ours.ns:.1f}x)"


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _table(result: Result, mode: str, corner: str) -> list[str]:
    """A row for each event, a column for each contender: ns, and how many times ours that is."""
    events, contenders = result.events(mode), result.contenders(mode)
    lines = [_line([corner, "bytes", *contenders]), _line(["---"] * (2 + len(contenders)))]
    for event in events:
        size = max(row.bytes for key, row in result.rows.items() if key[:2] == (mode, event))
        lines.append(_line([event, f"{size:.0f}", *(_cell(result, mode, event, name) for name in contenders)]))
    return lines


def _transposed(result: Result, mode: str, corner: str) -> list[str]:
    """A row for each contender, a column for each event."""
    events = result.events(mode)
    lines = [_line([corner, *events, "memory"]), _line(["---"] * (2 + len(events)))]
    for name in result.contenders(mode):
        cells = [_cell(result, mode, event, name) for event in events]
        lines.append(_line([name, *cells, _memory(result, mode, name)]))
    return lines


def _memory(result: Result, mode: str, name: str) -> str:
    """The most that was seen."""
    return _size(max(row.memory for (one, event, who), row in result.rows.items() if (one, who) == (mode, name)))


def _losses(result: Result) -> list[str]:
    """Where somebody is faster than we are."""
    lost: dict[str, list[tuple[float, str]]] = defaultdict(list)
    for (mode, event, name), row in result.rows.items():
        if mode not in OURS or name.startswith("execwire") or event == "gzip-frames":
            continue
        ours = result.ns(mode, event, OURS[mode])
        if row.ns < ours < float("inf"):
            what = {"cold": f"{event}, cold", "first": f"the first ten messages of {event}"}.get(mode, event)
            lost[what].append((row.ns / ours, name))
    worst = sorted(lost.items(), key=lambda item: min(item[1]))
    return [f"{what} ({', '.join(f'{name} {ratio:.2f}x' for ratio, name in sorted(who))})" for what, who in worst]


def _growth(result: Result) -> list[str]:
    shapes = sorted({name for mode, _, name in result.rows if mode == "growth"})
    sizes = sorted({int(event) for mode, event, _ in result.rows if mode == "growth"})
    lines = [f"| ns per byte | {' | '.join(f'{size:,} bytes' for size in sizes)} |", f"| --- |{' --- |' * len(sizes)}"]
    for shape in shapes:
        rows = [result.rows["growth", str(size), shape] for size in sizes]
        lines.append(f"| {shape} | {' | '.join(f'{row.ns / row.bytes:.2f}' for row in rows)} |")
    return lines


def _captures(result: Result) -> list[str]:
    rows = {name: row for (mode, _, name), row in result.rows.items() if mode == "capture"}
    ours = rows.get("execwire")
    lines = ["| a capture to columns | wall s | CPU s | GB/s | peak memory |", "| --- | --- | --- | --- | --- |"]
    for name, row in sorted(rows.items(), key=lambda item: item[1].wall):

        def times(value: float, base: float, is_ours: bool = row is ours) -> str:
            return "" if is_ours or not base else f" ({value / base:.1f}x)"

        wall, cpu, memory = (
            times(getattr(row, what), getattr(ours, what) if ours else 0) for what in ("wall", "cpu", "memory")
        )
        rate = row.size / row.wall / 1e9
        lines.append(
            f"| {name} | {row.wall:.2f}{wall} | {row.cpu:.2f}{cpu} | {rate:.2f} | {_size(row.memory)}{memory} |"
        )
    return lines


def _frames(result: Result) -> list[str]:
    lines = ["| gzip frame to record | ns | times execwire's |", "| --- | --- | --- |"]
    for mode in ("native", "python"):
        rows = {key[2]: row.ns for key, row in result.rows.items() if key[:2] == (mode, "gzip-frames")}
        base = next((ns for name, ns in rows.items() if name.startswith("execwire")), None)
        for name, ns in sorted(rows.items(), key=lambda item: item[1]):
            ratio = f"{ns / base:.2f}x" if base else ""
            lines.append(f"| {'C' if mode == 'native' else 'Python'}: {name} | {ns:.0f} | {ratio} |")
    return lines


def text(result: Result) -> str:
    """All tables, as the README has them."""
    parts: list[str] = []
    if result.events("native"):
        held = ", ".join(f"{name} {_memory(result, 'native', name)}" for name in result.contenders("native"))
        parts.append("In C, ns per message, and times execwire's:")
        parts.append("\n".join(_table(result, "native", "C, hot")))
        parts.append(f"Memory that a decoder holds in the end, at most: {held}.")
    if result.events("cold"):
        parts.append("Before every message, caches and predictors are filled with something else:")
        parts.append("\n".join(_table(result, "cold", "C, cold")))
    if result.events("first"):
        parts.append(
            "The first ten messages of a new decoder, the making of which is not counted: execwire's learns from its"
            " dialect's samples then."
        )
        parts.append("\n".join(_table(result, "first", "C, fresh")))
    if result.events("python"):
        parts.append("From Python, ns per message, and times decode_into's; memory: of a result that is kept, at most:")
        parts.append("\n".join(_transposed(result, "python", "Python")))
    if any(event == "gzip-frames" for _, event, _ in result.rows):
        parts.extend(("gzip frames, each ratio within its language:", "\n".join(_frames(result))))
    if captures := [row for (mode, _, _), row in result.rows.items() if mode == "capture"]:
        what = f"{captures[0].size / 1e6:.0f} MB of NDJSON (executionReport), in the page cache, to typed columns"
        parts.extend(
            (
                f"{what}; with as many threads as they like, unless it says one; table by table it is one, too:",
                "\n".join(_captures(result)),
            )
        )
    if any(mode == "growth" for mode, _, _ in result.rows):
        parts.extend(("Hostile payloads, decode_into:", "\n".join(_growth(result))))
    there = {name for mode, _, name in result.rows}
    absent = [name for names in PEERS.values() for name in names if name not in there]
    losses = "; ".join(_losses(result)) or "nowhere in this run"
    parts.append(f"Where we lose, times our time: {losses}. Not in this run: {', '.join(absent) or 'nobody'}.")
    parts.append(
        f"Measured {result.when:%Y-%m-%d}, {cpu()}, {', '.join(sorted(result.versions))}"
        f"{f', commit {result.commit}' if result.commit else ''}, by `make bench`:"
        f" medians of {result.turns} turns, in which contenders alternate; of a turn the fastest pass counts. Results"
        " were compared with the reference decoder's first. Peers in C and C++ fill the same structs, and are compiled"
        " for this very machine; execwire's C library by its Makefile, for any."
    )
    return "\n\n".join(parts)


def write(path: Path, tables: str) -> None:
    """Put the tables between the two marks."""
    before, begin, rest = path.read_text(encoding="utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise SystemExit(f"{path.name} has no lines {BEGIN} and {END}")
    path.write_text(f"{before}{BEGIN}\n{tables}\n{END}{after}", encoding="utf-8")


def main() -> int:
    """Run, and show."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=int(os.environ.get("BENCH_TURNS", "5")))
    parser.add_argument("--from", dest="earlier", type=Path, metavar="FILE.json")
    parser.add_argument("--readme", action="store_true", help="write the tables into README.md too")
    options, rest = parser.parse_known_args()
    path: Path = options.earlier or RESULT
    if options.earlier is None:
        RESULT.parent.mkdir(parents=True, exist_ok=True)
        RESULT.unlink(missing_ok=True)
        command = [sys.executable, "-m", "pytest", "benchmarks", "-q", "-o", "python_files=bench_*.py"]
        command += ["--benchmark-disable-gc", "--benchmark-quiet", f"--benchmark-json={RESULT}", *rest]
        done = subprocess.run(command, cwd=ROOT, env=os.environ | {"BENCH_TURNS": str(options.turns)}, check=False)
        if done.returncode or not RESULT.exists():
            print("report: not every contender could be timed; see above", file=sys.stderr)
            if not RESULT.exists():
                return 1
    result = Result(path)
    print(text(result))
    if options.readme:
        write(ROOT / "README.md", text(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
