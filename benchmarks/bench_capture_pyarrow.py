"""A capture file into columns: pyarrow."""

from __future__ import annotations

from capture_contest import time_capture
from contest import in_turns


@in_turns
def test_capture_pyarrow(benchmark, turn):
    time_capture(benchmark, "pyarrow")
