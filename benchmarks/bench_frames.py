"""gzip frames to records: inflaters, each followed by the same decoder, and decode_into, which inflates by itself."""

from __future__ import annotations

import os
import zlib
from typing import TYPE_CHECKING

import pytest
import zlib_ng.zlib_ng

from contest import in_turns, time_native, time_python
from execwire.bench import CONTENDERS, Contender, Runner

if TYPE_CHECKING:
    from collections.abc import Callable

    from execwire.workload import Workload

EVENT = "gzip-frames"
os.environ["BENCH_ZNG"] = zlib_ng.zlib_ng.__file__


def _with(inflate: Callable[[bytes], bytes]) -> Callable[[Workload], Runner]:
    def prepare(messages: Workload) -> Runner:
        runner = CONTENDERS[0].prepare(messages)
        decode_into = runner.decode
        return runner._replace(decode=lambda frame: decode_into(inflate(frame)))

    return prepare


def _isal(messages: Workload) -> Runner:
    from isal import isal_zlib

    return _with(lambda frame: isal_zlib.decompress(frame, 31))(messages)


@pytest.mark.parametrize(
    "contender",
    [
        CONTENDERS[0],
        Contender("zlib_ng, then decode_into", "zlib-ng", _with(lambda frame: zlib_ng.zlib_ng.decompress(frame, 31))),
        Contender("isal, then decode_into", "isal", _isal),
        Contender("zlib, then decode_into", "", _with(lambda frame: zlib.decompress(frame, 31))),
    ],
    ids=lambda contender: contender.name,
)
@in_turns
def test_python(benchmark, contender, turn):
    time_python(benchmark, contender, EVENT)


@pytest.mark.parametrize(
    ("name", "title"), [("frames", "execwire"), ("frames_bare", "zlib-ng alone, then execwire")], ids=str
)
@in_turns
def test_native(benchmark, name, title, turn):
    time_native(benchmark, name, title, EVENT)
