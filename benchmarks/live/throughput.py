"""CPU per message of a stream that comes as fast as it is read: ours beside picows, aiohttp and websockets.

A server in another process sends executionReport frames, 64 a write, over TCP of this machine, or TLS with a
certificate made for the occasion. Contenders take turns, each in a fresh process; what counts is the CPU time of the
client's process, by message. Clocks of a busy machine lie, CPU times less; compare the ratios of one run. Ours decode
every message to an exact struct and check that none is missing. Of the others each comes bare, only counting frames,
and with the whole job as a careful client does it by hand: orjson, and Decimal for the dozen decimals of a report;
websockets also with the standard library's json, as most clients have it. ``busy`` is the share of the time that the
client's process worked: far below 100 %, it waited for the server or for its neighbours.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from client import CONTENDERS
from server import write_certificate

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).resolve().parent


def _is_secure(name: str) -> bool:
    return name.startswith("TLS")


@contextlib.contextmanager
def _serving(*arguments: str) -> Iterator[str]:
    """The port of a server that runs meanwhile."""
    with subprocess.Popen(
        [sys.executable, str(HERE / "server.py"), *arguments], stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout is not None
        try:
            yield server.stdout.readline().strip()
        finally:
            server.terminate()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--messages", type=int, default=400_000)
    parser.add_argument("--only", help="contenders whose name contains this")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    names = [name for name in CONTENDERS if not options.only or options.only in name]
    if not names:
        parser.error(f"no contender's name contains {options.only!r}; there are: {', '.join(CONTENDERS)}")
    for package in sorted({CONTENDERS[name][1] for name in names}):
        if importlib.util.find_spec(package) is None:
            print(f"{package} is not installed: left out", file=sys.stderr)
            names = [name for name in names if CONTENDERS[name][1] != package]
    if importlib.util.find_spec("trustme") is None:
        print("trustme is not installed: no TLS", file=sys.stderr)
        names = [name for name in names if not _is_secure(name)]
    found: dict[str, list[float]] = {name: [] for name in names}
    busy: dict[str, list[float]] = {name: [] for name in names}
    with contextlib.ExitStack() as stack:
        certificate = Path(stack.enter_context(tempfile.TemporaryDirectory()), "certificate.pem")
        ports = {False: stack.enter_context(_serving())}
        if any(map(_is_secure, names)):
            write_certificate(str(certificate))
            ports[True] = stack.enter_context(_serving(str(certificate)))
        for _ in range(options.turns):
            for name in names:
                messages = options.messages if CONTENDERS[name][1] in ("execwire", "picows") else options.messages // 8
                command = [name, ports[_is_secure(name)], str(messages // 64 * 64)]
                run = subprocess.run(
                    [sys.executable, str(HERE / "client.py"), *command, *([certificate] if _is_secure(name) else [])],
                    check=True, capture_output=True, text=True, cwd=HERE,
                )  # fmt: skip
                turn = json.loads(run.stdout)
                found[name].append(turn["cpu"] / turn["messages"] * 1e6)
                busy[name].append(turn["cpu"] / turn["wall"] * 100)
    median = {name: statistics.median(times) for name, times in found.items()}
    if options.json:
        print(json.dumps({"median_us": median, "all_us": found}, indent=2))
        return
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in ("execwire", "picows", "uvloop"))
    print(f"{datetime.now(UTC):%Y-%m-%d}, Python {platform.python_version()}, {platform.machine()}, "
          f"{os.cpu_count()} cores; {versions}")  # fmt: skip
    base = median.get("execwire, struct handler") or min(median.values())
    title = f"CPU us per message, median of {options.turns}"
    print(f"{title:36}{'best':>8}{'median':>8}{'worst':>8}{'ratio':>8}{'busy':>8}")
    for name in names:
        times = found[name]
        print(
            f"{name:36}{min(times):8.2f}{median[name]:8.2f}{max(times):8.2f}"
            f"{median[name] / base:8.1f}{statistics.median(busy[name]):7.0f}%"
        )


if __name__ == "__main__":
    main()
