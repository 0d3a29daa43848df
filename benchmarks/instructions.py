"""Instructions per message, counted by valgrind's callgrind: a figure without noise, so that a regression shows.

The count depends on the compiler and on the instruction sets that valgrind offers, so a record from elsewhere is no
more than a hint: then the comparison is printed, but does not fail. ``--record`` writes it.
"""

from __future__ import annotations

import argparse
import json
import platform
import re
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import native_build
from execwire import __version__, workload

if TYPE_CHECKING:
    from collections.abc import Callable

RECORD = Path(__file__).with_name("instructions.json")
MESSAGES = 2_000
TOLERANCE = 0.03
NAMES = (*workload.EVENTS, "shuffled", "unknown-keys", "nesting")


def collected(passes: int, messages: workload.Workload, program: Callable[[], Path] = native_build.program) -> int:
    """All instructions of a run."""
    command: list[object] = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", program()]
    command += [native_build.message_file(messages), messages.venue, native_build.table_file(messages.venue)]
    done = subprocess.run([*map(str, command), str(passes)], capture_output=True, text=True, check=False)
    found = re.search(r"Collected : (\d+)", done.stderr)
    if done.returncode or found is None:
        raise SystemExit(f"callgrind failed on {messages.name}:\n{done.stderr}")
    return int(found[1])


def count(name: str) -> dict[str, float]:
    """Per message: of a decoder that has seen all of them twice, and of one that sees them for the first time.

    `columns` is from lines of a capture to columns: what splitting and columns cost is what it has more than `trained`.
    """
    messages = workload.workload(name, MESSAGES // 10 if name.endswith("-10") else MESSAGES)
    n = len(messages.messages)
    # A name of its own, so that a benchmark's messages are not overwritten.
    messages = workload.Workload(f"{name}-{n}", messages.venue, messages.title, messages.messages)
    none, one, two, four = (collected(passes, messages) for passes in (0, 1, 2, 4))
    counts = {"trained": round((four - two) / (2 * n), 1), "first_pass": round((one - none) / n, 1)}
    if name in workload.EVENTS:
        few, many = (collected(passes, messages, native_build.columns_program) for passes in (9, 17))
        counts["columns"] = round((many - few) / (8 * n), 1)
    return counts


def compiler() -> str:
    """Its first line."""
    return native_build.run(native_build.CC, "--version").splitlines()[0]


def main() -> int:
    """Count."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--record", action="store_true", help="write instructions.json")
    parser.add_argument("--tolerance", type=float, default=TOLERANCE, metavar="SHARE")
    parser.add_argument("names", nargs="*", metavar="EVENT", help=f"of {', '.join(NAMES)}")
    options = parser.parse_args()
    if shutil.which("valgrind") is None:
        print("skipped: no valgrind")
        return 0
    try:
        native_build.library()
    except native_build.MissingError as missing:
        print(f"skipped: {missing}")
        return 0
    recorded = json.loads(RECORD.read_text(encoding="utf-8")) if RECORD.exists() else {}
    same = recorded.get("compiler") == compiler() and recorded.get("machine") == platform.machine()
    before = recorded.get("instructions_per_message", {})
    counts: dict[str, dict[str, float]] = {}
    worse = []
    for name in options.names or NAMES:
        counts[name] = count(name)
        words = []
        for what, n in counts[name].items():
            old = before.get(name, {}).get(what)
            words.append(f"{what} {n:.0f}" + (f" ({n / old - 1:+.1%})" if old else ""))
            if old and n > old * (1 + options.tolerance):
                worse.append(f"{name}, {what}: {n:.0f} instead of {old:.0f}")
        print(f"{name:24} {', '.join(words)}", flush=True)
    if options.record:
        content = {
            "about": "instructions per message, by `make bench-instructions RECORD=1`",
            "date": f"{datetime.now(UTC):%Y-%m-%d}",
            "execwire": __version__,
            "compiler": compiler(),
            "machine": platform.machine(),
            "messages": MESSAGES,
            "instructions_per_message": {**before, **counts},
        }
        RECORD.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
        return 0
    for line in worse:
        print(f"{'worse' if same else 'more, but recorded with another compiler'}: {line}", file=sys.stderr)
    return 1 if worse and same else 0


if __name__ == "__main__":
    sys.exit(main())
