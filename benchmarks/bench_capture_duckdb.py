"""A capture file into columns: duckdb."""

from __future__ import annotations

from capture_contest import time_capture
from contest import in_turns


@in_turns
def test_capture_duckdb(benchmark, turn):
    time_capture(benchmark, "duckdb")
