"""`execwire listen`, as a process, against `execwire serve`, as another."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest
from processes import started

import execwire
from execwire.captures import Capture

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

COMMAND = [sys.executable, "-m", "execwire.cli"]
KEY, SECRET, PASSPHRASE = "listen-key-0123456", "listen-secret-0123456", "listen-phrase-0123456"
BARE = {name: value for name, value in os.environ.items() if not name.endswith(("_API_KEY", "_SECRET"))}
VENUES = {
    "binance-spot": "BINANCE",
    "binance-futures": "BINANCE",
    "bitget": "BITGET",
    "bitget-v1": "BITGET",
    "openapi-broker": "OPENAPI_BROKER",
    "gzip-broker": "GZIP_BROKER",
}


@contextlib.contextmanager
def serving(*more: str) -> Iterator[str]:
    """host:port of a local exchange."""
    command = [*COMMAND, "serve", "--key", KEY, "--secret", SECRET, "--passphrase", PASSPHRASE, "--rate", "200", *more]
    with started(*command, seconds=600, text=True) as server:
        try:
            assert server.stdout is not None
            while (line := server.stdout.readline()) and not (found := re.search(r"127\.0\.0\.1:\d+", line)):
                pass
            assert found is not None
            yield found[0]
        finally:
            server.send_signal(signal.SIGINT)
            server.communicate(timeout=20)


def environment(venue: str, **other: str) -> dict[str, str]:
    prefix = VENUES[venue]
    keys = {f"{prefix}_API_KEY": KEY, f"{prefix}_SECRET": SECRET, f"{prefix}_PASSPHRASE": PASSPHRASE}
    return {**BARE, **keys, **other}


def listen(venue: str, origin: str, *more: str, **env: str) -> subprocess.CompletedProcess[str]:
    command = [*COMMAND, "listen", venue, "--url", f"ws://{origin}", "--rest-url", f"http://{origin}", *more]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=60, env=environment(venue, **env), check=False
    )


@pytest.fixture(scope="module")
def origin() -> Iterator[str]:
    with serving() as found:
        yield found


@pytest.mark.parametrize("venue", VENUES)
def test_live_records_as_ndjson(origin, venue, tmp_path):
    capture = tmp_path / "capture.txt"
    done = listen(venue, origin, "--count", "60", "--record", str(capture))
    assert (done.returncode, done.stderr) == (0, "")
    records = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(records) == 60
    assert {one["venue"] for one in records} == {venue}
    assert "connected" in [one["event"] for one in records]
    assert KEY not in done.stdout
    assert KEY not in capture.read_text()
    with Capture(str(capture), "hftbacktest") as read:
        assert sum(1 for _ in read) + read.control_lines >= 30


def test_a_table_of_some_kinds(origin):
    done = listen("binance-spot", origin, "--count", "10", "--to", "table", "--kind", "order,notice")
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    assert len(lines) == 10
    assert all(re.match(r"\d\d:\d\d:\d\d\.\d{3} (order|notice) ", line) for line in lines)
    assert any("connected" in line for line in lines)


def test_channels_and_variants(origin):
    done = listen("bitget", origin, "--subscribe", "SPOT/account", "--kind", "balance", "--count", "5",
                  "--variant", "hex")  # fmt: skip
    assert done.returncode == 0
    assert {json.loads(line)["event"] for line in done.stdout.splitlines()} == {"account"}


def test_a_wrong_secret_names_code_and_text(origin):
    done = listen("binance-spot", origin, BINANCE_SECRET="another")
    assert done.returncode == 3
    assert "-1022" in done.stderr
    assert "Signature for this request is not valid." in done.stderr
    assert KEY not in done.stderr + done.stdout


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["nonsense"], "no venue 'nonsense'"),
        (["binance-spot", "--variant", "nonsense"], "no 'nonsense'"),
        (["bitget", "--subscribe", "nonsense"], "not of the form"),
        (["gzip-broker"], "session.url"),
        (["binance-spot", "--kind", "nonsense"], "'nonsense' is not one of"),
    ],
)
def test_wrong_usage(arguments, text):
    env = {**BARE, **{k: v for venue in VENUES for k, v in environment(venue).items()}}
    done = subprocess.run([*COMMAND, "listen", *arguments], capture_output=True, text=True, env=env, check=False)
    assert done.returncode == 2
    assert text in done.stderr


def test_keys_come_from_the_environment_only():
    done = subprocess.run([*COMMAND, "listen", "binance-spot"], capture_output=True, text=True, env=BARE, check=False)
    assert done.returncode == 2
    assert "BINANCE_API_KEY" in done.stderr
    most = BARE | {"BITGET_API_KEY": KEY, "BITGET_SECRET": SECRET}
    done = subprocess.run([*COMMAND, "listen", "bitget"], capture_output=True, text=True, env=most, check=False)
    assert (done.returncode, "BITGET_PASSPHRASE is not set" in done.stderr) == (2, True)
    page = subprocess.run([*COMMAND, "listen", "--help"], capture_output=True, text=True, check=True).stdout
    assert not re.search(r"--(api-)?(key|secret|token|passphrase)\b", page)


def test_an_interrupt_ends_it_cleanly(origin):
    command = [*COMMAND, "listen", "binance-futures", "--url", f"ws://{origin}", "--rest-url", f"http://{origin}"]
    with started(*command, text=True, env=environment("binance-futures")) as process:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["event"] == "connected"
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=20)
    assert (process.returncode, errors) == (130, "")


def listening_to(origin: str, *more: str | Path, **how: Any) -> contextlib.AbstractContextManager[Any]:
    command = [*COMMAND, "listen", "binance-spot", "--url", f"ws://{origin}", *more]
    return started(*command, env=environment("binance-spot"), **how)


def wait_until_recorded(capture: Path, size: int, process: subprocess.Popen[Any]) -> None:
    """Wait until so many bytes more have been received, which takes a session that is alive."""
    end = size + (capture.stat().st_size if capture.exists() else 0)
    while not capture.exists() or capture.stat().st_size < end:
        assert process.poll() is None
        time.sleep(0.05)


def records_of(capture: Path) -> list[dict[str, Any]]:
    done = subprocess.run([*COMMAND, "replay", capture], capture_output=True, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_ends_it_while_nobody_reads(origin, tmp_path, stop):
    capture = tmp_path / "capture.gz"
    with listening_to(origin, "--record", capture) as process:
        wait_until_recorded(capture, 50_000, process)  # much more than a pipe takes, as it is packed
        process.send_signal(stop)
        assert process.wait(60) == 130
        written, errors = process.communicate()
    assert errors == b""
    assert written.endswith(b"}\n")  # whole lines
    written = [json.loads(line) for line in written.splitlines()]
    recorded = records_of(capture)
    assert 0 < len(written) < len(recorded)
    assert written == recorded[: len(written)]
    with Capture(capture) as read:
        assert list(read)
        assert read.unclosed == 0


def test_a_slow_reader_gets_everything(origin, tmp_path):
    capture = tmp_path / "capture"
    with listening_to(origin, "--record", capture, "--count", "1500") as process:
        wait_until_recorded(capture, 1_000_000, process)  # much more than a pipe takes
        written, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (0, b"")
    written = [json.loads(line) for line in written.splitlines()]
    assert len(written) == 1500
    assert "disconnected" not in {one["event"] for one in written}
    assert written == records_of(capture)[:1500]


def test_nobody_reads_a_terminal(origin, tmp_path):
    capture = tmp_path / "capture"
    ours, theirs = os.openpty()
    try:
        with listening_to(origin, "--record", capture, stdout=theirs) as process:
            wait_until_recorded(capture, 500_000, process)
            process.send_signal(signal.SIGINT)
            assert process.wait(60) == 130
            assert re.match(rb"\d\d:\d\d:\d\d\.\d{3} notice ", os.read(ours, 1000))
    finally:
        os.close(ours)
        os.close(theirs)


@pytest.mark.parametrize("out", ["/dev/full", "/dev/null", "file"])
def test_outputs_that_are_no_pipe(origin, tmp_path, out):
    with (tmp_path / out).open("wb") as file, listening_to(origin, "--count", "100", stdout=file) as process:
        _, errors = process.communicate(timeout=60)
    if out == "/dev/full":
        assert (process.returncode, errors.decode()) == (3, f"output: {os.strerror(errno.ENOSPC)}\n")
        return
    assert (process.returncode, errors) == (0, b"")
    if out == "file":
        assert len(list(map(json.loads, (tmp_path / out).read_bytes().splitlines()))) == 100


def test_a_closed_pipe_is_no_error(origin):
    command = [*COMMAND, "listen", "binance-spot", "--url", f"ws://{origin}"]
    with started(*command, text=True, env=environment("binance-spot")) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.wait(timeout=20) == 0
        assert process.stderr.read() == ""


def test_venues_name_their_variants():
    page = subprocess.run([*COMMAND, "venues", "bitget"], capture_output=True, text=True, check=True).stdout
    assert "session variants: millis, hex" in page
    assert execwire.venues.load("bitget").session["variant"]
