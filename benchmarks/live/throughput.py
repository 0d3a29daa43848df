"""CPU per message of a stream that comes as fast as it is read: ours beside picows, aiohttp and websockets.

A server in another process sends executionReport frames, 64 a write, over TCP of this machine. Contenders take turns,
each in a fresh process; what counts is the CPU time of the client's process, by message. Clocks of a busy machine lie,
CPU times less; compare the ratios of one run. Ours decode every message to a struct and check that none is missing;
the others only count frames.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import platform
import statistics
import subprocess
import sys
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

from client import CONTENDERS

HERE = Path(__file__).resolve().parent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--messages", type=int, default=400_000)
    parser.add_argument("--only", help="contenders whose name contains this")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    names = [name for name in CONTENDERS if not options.only or options.only in name]
    for package in sorted({CONTENDERS[name][1] for name in names}):
        if importlib.util.find_spec(package) is None:
            print(f"{package} is not installed: left out", file=sys.stderr)
            names = [name for name in names if CONTENDERS[name][1] != package]
    server = subprocess.Popen([sys.executable, str(HERE / "server.py")], stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    port = server.stdout.readline().strip()
    found: dict[str, list[float]] = {name: [] for name in names}
    try:
        for _ in range(options.turns):
            for name in names:
                messages = options.messages if CONTENDERS[name][1] in ("execwire", "picows") else options.messages // 8
                run = subprocess.run(
                    [sys.executable, str(HERE / "client.py"), name, port, str(messages // 64 * 64)],
                    check=True, capture_output=True, text=True, cwd=HERE,
                )  # fmt: skip
                turn = json.loads(run.stdout)
                found[name].append(turn["cpu"] / turn["messages"] * 1e6)
    finally:
        server.terminate()
        server.wait()
    median = {name: statistics.median(times) for name, times in found.items()}
    if options.json:
        print(json.dumps({"median_us": median, "all_us": found}, indent=2))
        return
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in ("execwire", "picows", "uvloop"))
    print(f"{datetime.now(UTC):%Y-%m-%d}, Python {platform.python_version()}, {platform.machine()}, "
          f"{os.cpu_count()} cores; {versions}")  # fmt: skip
    base = median.get("execwire, struct handler") or min(median.values())
    print(f"{'CPU us per message, median of ' + str(options.turns):36}{'best':>8}{'median':>8}{'worst':>8}{'ratio':>8}")
    for name in names:
        times = found[name]
        print(f"{name:36}{min(times):8.2f}{median[name]:8.2f}{max(times):8.2f}{median[name] / base:8.1f}")


if __name__ == "__main__":
    main()
