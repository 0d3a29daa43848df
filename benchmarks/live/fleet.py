"""Thousands of idle sessions in one process: memory of each, and what their heartbeats cost.

A server in another process accepts connections and answers pings. Memory is what the process has to itself (USS), after
a collection, against what it had before the first connection; the server's is not in it, nor is the kernel's. With
``--burst N`` every connection first brings N messages of 700 bytes at once: what counts is how much of the memory that
they took stays.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import platform
import resource
import ssl
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import uvloop
from server import write_certificate

import execwire
from execwire.sessions import Key, Session

HERE = Path(__file__).resolve().parent
VENUE = """
name = "idle"
inherits = "binance-spot"
[session]
inherits = false
path = "{path}"
env = "IDLE"
credentials = "api_key"
silence = 60
heartbeat = {{ every = {every}, within = 4 }}
"""


def private_bytes() -> int:
    """What the process has to itself."""
    gc.collect()
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_")) * 1024


async def sessions(url: str, venue: str, certificate: str, options: argparse.Namespace) -> dict[str, Any]:
    """That many sessions; their memory, and the CPU time of their heartbeats."""
    loaded = execwire.venues.load(venue)

    tls = ssl.create_default_context(cafile=certificate) if certificate else None
    handler = execwire.Handler()

    async def some(number: int) -> list[Session]:
        made = [Session(loaded, key, url=url, profile=options.profile, handler=handler, tls=tls) for _ in range(number)]
        for one in made:
            await one.start()
        while not all(one.state == "live" and one.stats()["messages"] >= options.burst for one in made):
            await asyncio.sleep(0.2)
        return made

    key = Key("idle")
    first = await some(10)  # what all of them share
    await asyncio.sleep(0.5)
    before = private_bytes()
    began = time.process_time()
    fleet = await some(options.connections)
    setup = time.process_time() - began
    await asyncio.sleep(options.every + 1)  # the first heartbeats, too
    after = private_bytes()
    idle, wall, frames = time.process_time(), time.perf_counter(), pongs(fleet)
    await asyncio.sleep(options.seconds)
    while pongs(fleet) == frames:  # on a machine that stood still
        await asyncio.sleep(0.2)
    wall = time.perf_counter() - wall
    load = (time.process_time() - idle) / wall
    beats = (pongs(fleet) - frames) / wall
    gaps = sum(one.stats()["gaps"] for one in fleet)
    assert gaps == 0
    del first
    return {
        "connections": options.connections,
        "bytes_per_connection": (after - before) / options.connections,
        "setup_ms": setup / options.connections * 1e3,
        "heartbeats_per_second": beats,
        "cpu_percent": load * 100,
    }


def pongs(fleet: list[Session]) -> int:
    return sum(link.pump.frames for one in fleet for line in one._lines for link in line.links.values())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--connections", type=int, default=5000)
    parser.add_argument("--profile", choices=("fleet", "hot"), default="fleet")
    parser.add_argument("--every", type=float, default=5, help="seconds between heartbeats")
    parser.add_argument("--seconds", type=float, default=20, help="of measuring their cost")
    parser.add_argument("--burst", type=int, default=0, metavar="N", help="messages to every connection at first")
    parser.add_argument("--tls", action="store_true")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if hard < options.connections + 100:
        sys.exit(f"only {hard} files may be open (ulimit -Hn): try --connections {hard - 100}")
    with tempfile.TemporaryDirectory() as folder:
        certificate = ""
        if options.tls:
            certificate = f"{folder}/certificate.pem"
            write_certificate(certificate)
        server = subprocess.Popen(
            [sys.executable, str(HERE / "server.py"), *([certificate] if certificate else [])],
            stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert server.stdout is not None
        port = server.stdout.readline().strip()
        path = Path(folder) / "idle.toml"
        what = f"/burst?messages={options.burst}" if options.burst else "/idle"
        path.write_text(VENUE.format(every=options.every, path=what), "utf-8")
        url = f"{'wss' if certificate else 'ws'}://127.0.0.1:{port}"
        try:
            found = uvloop.run(sessions(url, str(path), certificate, options))
        finally:
            server.terminate()
            server.wait()
    if options.json:
        print(json.dumps(found))
        return
    print(f"{datetime.now(UTC):%Y-%m-%d}, Python {platform.python_version()}, {platform.machine()}; "
          f"execwire {metadata.version('execwire')}, picows {metadata.version('picows')}")  # fmt: skip
    burst = f", after {options.burst} messages to each" if options.burst else ""
    print(f"{found['connections']} sessions over {'TLS' if options.tls else 'TCP'}, profile {options.profile}{burst}")
    print(f"  memory of each    {found['bytes_per_connection'] / 1024:8.1f} KB")
    print(f"  CPU to set up     {found['setup_ms']:8.2f} ms each")
    print(f"  heartbeats        {found['heartbeats_per_second']:8.0f} a second, answered")
    print(f"  CPU               {found['cpu_percent']:8.2f} % of a core")


if __name__ == "__main__":
    main()
