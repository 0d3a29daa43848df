"""A capture file into columns: execwire."""

from __future__ import annotations

from capture_contest import time_capture
from contest import in_turns


@in_turns
def test_capture_execwire(benchmark, turn):
    time_capture(benchmark, "execwire")


@in_turns
def test_capture_execwire_one_thread(benchmark, turn):
    time_capture(benchmark, "execwire, one thread")


@in_turns
def test_capture_execwire_table_by_table(benchmark, turn):
    time_capture(benchmark, "execwire, table by table")


@in_turns
def test_capture_execwire_to_polars(benchmark, turn):
    time_capture(benchmark, "execwire, then polars")
