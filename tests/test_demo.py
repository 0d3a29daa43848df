"""The demonstration from end to end: an exchange in its process, live sessions, recordings that are really compared."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from execwire import demo
from execwire.cli import main

if TYPE_CHECKING:
    from collections.abc import Callable


def test_everything_is_live_recorded_and_compared() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "execwire.cli", "demo", "--seconds", "1.5"], capture_output=True, text=True, timeout=120,
        check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert re.search(r"^all [1-9]\d+ records equal those that the live handlers saw", done.stdout, re.MULTILINE)
    summary = re.split(r"^stream +subscriptions .*\n", done.stdout, flags=re.MULTILINE)[1].splitlines()
    rows = {line.split()[0]: line.split()[1:] for line in summary[:-2]}
    assert set(rows) == {stream.name for stream in demo.STREAMS}
    for name, (subscriptions, messages, records, rate, decode, p50, p99, _, reconnects) in rows.items():
        assert subscriptions == ("1000" if name == "binance-spot" else "1")
        assert min(map(int, (messages, records, rate, decode, p50, p99))) > 0
        assert int(reconnects) == (name == demo.CUT)
    told = [line.split()[1:3] for line in done.stdout.splitlines() if re.match(r"\d\d:\d\d:\d\d\.\d{3} ", line)]
    assert [event for name, event in told if name == demo.CUT] == ["connected", "disconnected", "gap", "reconnected"]
    assert all([name, "connected"] in told for name in rows)
    fills = done.stdout.partition("and the last fill\n")[2].partition("\n\n")[0].splitlines()[1:]
    assert [line.split()[0] for line in fills] == list(rows)
    for line in fills:
        assert re.search(r" [1-9]\d* +[\w-]+ +(buy|sell) +[\d.]+ +[\d.]+ ", line), line


def another_digit(text: bytes) -> bytes:
    """Another last digit in a value of an event."""
    return re.sub(rb'(\d)(","[^\n]*\n)', lambda match: bytes([match[1][0] ^ 1]) + match[2], text, count=1)


def a_line_less(text: bytes) -> bytes:
    return b"".join(text.splitlines(keepends=True)[:-1])


def half_a_line(text: bytes) -> bytes:
    lines = text.splitlines(keepends=True)
    return b"".join([*lines[:-2], lines[-2][: len(lines[-2]) // 2], b"\n", lines[-1]])


@pytest.mark.parametrize("damage", [another_digit, a_line_less, half_a_line])
def test_a_damaged_recording_is_found(
    damage: Callable[[bytes], bytes], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    listen = demo._listen

    async def damaged(*args: Any) -> Any:
        lives, elapsed = await listen(*args)
        path = next(live.path for live in lives if live.stream.name == "openapi-broker")
        text = path.read_bytes()
        assert damage(text) != text
        path.write_bytes(damage(text))
        return lives, elapsed

    monkeypatch.setattr(demo, "_listen", damaged)
    assert main(["demo", "--seconds", "0.5"]) == 1
    assert capsys.readouterr().err.startswith("openapi-broker: the recording ")
