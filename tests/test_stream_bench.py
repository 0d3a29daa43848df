"""The live benchmarks run, and find what they count to be right; how fast is nobody's business here."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from test_cimport import compiler

LIVE = Path(__file__).resolve().parent.parent / "benchmarks" / "live"

pytestmark = pytest.mark.skipif(not LIVE.exists(), reason="not a source tree")


def run(script: str, *arguments: str) -> dict:
    done = subprocess.run(
        [sys.executable, str(LIVE / script), "--json", *arguments], capture_output=True, text=True, timeout=120,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("contender", ["Python handler", "1,000 subscriptions", "TLS: picows", "Decimal"])
def test_throughput(contender):
    if ":" in contender:
        pytest.importorskip("trustme")
    if contender not in ("Python handler", "Decimal"):
        pytest.importorskip("Cython")
        if compiler() is None:
            pytest.skip("no C compiler")
    found = run("throughput.py", "--turns", "1", "--messages", "6400", "--only", contender)
    assert all(us > 0 for us in found["median_us"].values())


@pytest.mark.parametrize("more", [[], ["--burst", "100", "--tls"]], ids=["TCP", "TLS, after a burst"])
def test_fleet(more):
    if not Path("/proc/self/smaps_rollup").exists():
        pytest.skip("no /proc/self/smaps_rollup")
    if more:
        pytest.importorskip("trustme")
    found = run("fleet.py", "--connections", "50", "--every", "1", "--seconds", "1.5", *more)
    assert found["connections"] == 50
    assert found["heartbeats_per_second"] > 0
