"""Recordings: what they hold, what a crash leaves of them, and what disks do to them."""

from __future__ import annotations

import asyncio
import base64
import errno
import gzip
import itertools
import json
import os
import random
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import uvloop
from processes import started
from sessions import CREDENTIALS, exchange, until
from sessions import session as live_session

import execwire
from execwire.captures import Capture
from execwire.delivery import Secrets, Tape
from execwire.exchange import Every, Faults
from execwire.recording import FileRecorder
from execwire.sessions import Key, Replay, Session, replay

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

VENUES = execwire.venues.names()
KILLS = 100


def numbered(first: int, n: int) -> bytes:
    return b"".join(b'%d {"n":%d,"text":"%d"}\n' % (10**18 + i, i, i * i) for i in range(first, first + n))


def payloads(path: Path) -> list[bytes]:
    with Capture(path) as capture:
        return [one.payload for one in capture]


def numbers(path: Path) -> list[int]:
    return [int(one.split(b",")[0][5:]) for one in payloads(path)]


def run(main: Any, seconds: float = 30) -> Any:
    return uvloop.run(asyncio.wait_for(main, seconds))


def wait_for(what: Any) -> None:
    for _ in range(1000):
        if what():
            return
        time.sleep(0.01)
    raise AssertionError("nothing happened")


# ---- MARK: What was live ----


async def lived(venue: str, path: Path, *, faults: Faults | None = None, end: str = "", **more: Any) -> list[Any]:
    """What the handler of a recorded session saw."""
    credentials = Key(CREDENTIALS.api_key) if venue == "gzip-broker" else CREDENTIALS
    seen: list[Any] = []
    async with exchange(venue, rate=2000.0, **({"faults": faults} if faults else {})) as server:
        stream = live_session(server, venue, credentials, record=path, handler=seen.append, **more)
        async with stream:
            while len(seen) < 1000 or end not in {one.event for one in seen if one.kind == "notice"} | {""}:
                await asyncio.sleep(0.01)
    return [one.to_dict(extra=True) for one in seen]


@pytest.mark.parametrize("venue", VENUES)
def test_a_recording_decodes_to_what_the_live_handler_saw(venue, tmp_path):
    path = tmp_path / "live.gz"
    saw = run(lived(venue, path))
    assert sum(one["kind"] != "notice" for one in saw) > 900
    again: list[Any] = []
    counts = replay(path, handler=again.append)
    assert [one.to_dict(extra=True) for one in again] == saw
    assert counts["records"] == len(saw)
    # As a file that anybody decodes: everything but the notices of the session itself.
    decoder = execwire.Decoder(venue)
    with Capture(path) as capture:
        read = [one.to_dict(extra=True) for m in capture for one in decoder.decode(m.payload, m.ts_recv)]
    own = {"connected", "disconnected", "gap", "reconnected", "error", "listen_key"}
    assert [one for one in read if one["kind"] != "notice"] == [one for one in saw if one["kind"] != "notice"]
    assert len(read) == len(saw) - sum(one["kind"] == "notice" and one["event"] in own for one in saw)
    assert execwire.read_capture(path, venue=venue).reports[0].is_whole


def test_sbe_frames(tmp_path):
    saw = run(lived("binance-spot", tmp_path / "live.gz", variant="sbe"))
    again: list[Any] = []
    replay(tmp_path / "live.gz", handler=again.append)
    assert [one.to_dict(extra=True) for one in again] == saw
    with Capture(tmp_path / "live.gz") as capture:
        assert any(one.position.binary for one in capture)


@pytest.mark.parametrize("venue", VENUES)
def test_malformed_frames_are_recorded_like_others(venue, tmp_path):
    saw = run(lived(venue, tmp_path / "live.gz", faults=Faults(malformed=Every(50))))
    assert sum(one["kind"] == "notice" and one["event"] == "undecodable" for one in saw) > 10
    assert not [one for one in saw if "record" in one.get("message", "")]
    again: list[Any] = []
    replay(tmp_path / "live.gz", handler=again.append)
    assert [one.to_dict(extra=True) for one in again] == saw


@pytest.mark.parametrize("venue", ["openapi-broker", "binance-spot"])
def test_what_was_put_in_order_comes_in_that_order(venue, tmp_path):
    """Whether its turn came with a newer message or with the end of the connection."""
    faults = Faults(reorder=Every(7), delay=Every(31), delay_seconds=0.1, close_after=600)
    saw = run(lived(venue, tmp_path / "live.gz", faults=faults, reorder=0.03, end="reconnected"))
    with Capture(tmp_path / "live.gz", control=True) as capture:
        marks = {json.loads(one.payload)["execwire"] for one in capture if one.payload.startswith(b'{"execwire"')}
    assert {"order", "drain"} <= marks
    again: list[Any] = []
    replay(tmp_path / "live.gz", handler=again.append)
    assert [one.to_dict(extra=True) for one in again] == saw


@pytest.mark.parametrize("damage", ["cut", "corrupt", "trailing"])
def test_secrets_in_gzip_frames_that_are_damaged(damage, tmp_path):
    from execwire.sessions.taping import scrubbed

    secret, text = b"a-very-secret-key", b'{"e":"%s","k":"a-very-secret-key"}' % bytes(range(65, 91)) + os.urandom(200)
    frame = gzip.compress(text)
    frame = {"cut": frame[:-40], "corrupt": frame[:-8] + b"12345678", "trailing": frame + b"more"}[damage]
    hide = Secrets()
    line = b'1795000000 {"execwire":"frame","b64":"%b"}' % base64.b64encode(frame)
    assert scrubbed(line, hide) == line  # byte for byte, where there is nothing to hide
    hide.add(secret)
    kept = base64.b64decode(json.loads(scrubbed(line, hide).partition(b" ")[2])["b64"])
    assert kept.startswith(text[:30])
    assert b"*" * len(secret) in kept


@pytest.mark.parametrize("venue", VENUES)
def test_connections_that_are_lost_and_recoveries(venue, tmp_path):
    """Frames that were held back come when they came, and so does every notice."""

    async def recover(gap):
        await asyncio.sleep(0.02)  # much shorter than the connection lives, which some venues fill quickly

    faults = Faults(close_after=2000)
    saw = run(lived(venue, tmp_path / "live.gz", faults=faults, end="reconnected", recover=recover))
    assert {"connected", "disconnected", "gap", "reconnected"} <= {x["event"] for x in saw}
    again: list[Any] = []
    replay(tmp_path / "live.gz", handler=again.append)
    assert [one.to_dict(extra=True) for one in again] == saw


def test_what_was_put_in_order_and_then_was_overdue(tmp_path):
    from test_stream import event, session_decoder

    from execwire.delivery import Calls, Pump

    class Owner:
        def on_waiting(self):
            pass

    class Keeps:
        def write(self, lines):
            kept.append(lines)

    kept: list[bytes] = []
    seen: list[Any] = []
    pump = Pump(execwire.Decoder("binance-spot"), session_decoder(), Calls(seen.append), Owner())
    pump.recorder = Keeps()
    pump.order_by_event_time(20_000_000, 100)
    for n in (103, 101, 102):
        pump.feed(event(n))
        pump.flush()
    assert seen == []
    while pump.overdue():
        time.sleep(0.002)
    pump.feed(event(50))  # too late for its turn
    pump.flush()
    assert [one.number("order_id") for one in seen] == [101, 102, 103, 50]
    assert b'{"execwire":"overdue"}' in b"".join(kept)
    (tmp_path / "c.txt").write_bytes(b"".join(kept))
    again: list[Any] = []
    replay(tmp_path / "c.txt", "binance-spot", handler=again.append)
    assert [one.to_dict() for one in again] == [one.to_dict() for one in seen]


def test_connections_that_overlap(tmp_path):
    """What two connections brought at once comes once from the recording, too."""
    from test_stream import event, session_decoder

    from execwire.delivery import Calls, Overlap, Pump

    class Owner:
        def on_handler_stop(self, error):
            raise error

    class Keeps:
        def __init__(self, number):
            self.number = number

        def write(self, lines):
            mark = b'%b {"execwire":"connection","number":%d}\n' % (lines.split(b" ")[0], self.number)
            kept.append(mark + lines)

    kept: list[bytes] = []
    seen: list[Any] = []
    pumps = [Pump(execwire.Decoder("binance-spot"), session_decoder(), Calls(seen.append), Owner()) for _ in range(2)]
    overlap = Overlap()
    for number, pump in enumerate(pumps):
        pump.recorder = Keeps(number)
        pump.share(overlap)
    for i in range(50):
        for pump in pumps:
            pump.feed(event(i))
            pump.flush()
    for pump in pumps:
        pump.share(None)
    pumps[0].feed(event(0))
    pumps[0].flush()
    assert len(seen) == 51
    (tmp_path / "c.txt").write_bytes(b"".join(kept))
    again: list[Any] = []
    counts = replay(tmp_path / "c.txt", "binance-spot", handler=again.append)
    assert [one.to_dict() for one in again] == [one.to_dict() for one in seen]
    assert counts["duplicates"] == 50


def test_every_payload_comes_back_as_it_was(tmp_path):
    chosen = random.Random(3)
    frames = [
        b"", b" ", b"pong", b"b'x'", b'b"', b"{}\n", b"\r", b"a\rb", b'{"execwire":"gap"}', b'{"execwire"', b"\x1f\x8b",
        b"[1]", b"\x00", b"9 x", "\N{SNOWMAN}".encode(), *(chosen.randbytes(n) for n in range(70)),
    ]  # fmt: skip
    tape = Tape()
    for i, one in enumerate(frames):
        tape.add(10**18 + i, one, binary=False)
        tape.add(10**18 + i, one, binary=True)
    with FileRecorder(tmp_path / "c.gz") as recorder:
        recorder.write(tape.take())
    with Capture(tmp_path / "c.gz", "hftbacktest") as capture:
        read = list(capture)
    assert [one.payload for one in read] == [one for one in frames for _ in range(2)]
    assert [one.position.binary for one in read] == [False, True] * len(frames)
    assert [one.ts_recv for one in read[::2]] == [10**18 + i for i in range(len(frames))]


# ---- MARK: Crashes ----

# A process for each line of input; forked, which saves 100 times the imports.
RECORDS = """
    import os, sys, time
    from execwire.recording import FileRecorder

    def record(path, flush, i):
        recorder = FileRecorder(path, flush=float(flush))
        while True:
            recorder.write(b"".join(b'%d {"n":%d,"text":"%d"}\\n' % (10**18 + n, n, n * n) for n in range(i, i + 20)))
            i += 20
            os.write(1, b"%d %d\\n" % (time.monotonic_ns(), i))
            time.sleep(0.0005)

    for line in sys.stdin:
        path, flush, first = line.rstrip().split("|")
        if not (child := os.fork()):
            os.write(1, b"%d\\n" % os.getpid())
            record(path, flush, int(first))
        os.waitpid(child, 0)
        os.write(1, b"killed\\n")
"""


@pytest.mark.parametrize("suffix", [".gz", ".txt"])
def test_a_killed_recorder_loses_only_what_was_not_flushed(tmp_path, suffix):
    """100 times, at random moments: all files are readable to their end, and appended to by the next process."""
    flush, chosen = 0.02, random.Random(suffix)
    paths: list[Path] = []
    command = [sys.executable, "-S", "-c", PATHS + textwrap.dedent(RECORDS)]
    with started(*command, seconds=280, stdin=subprocess.PIPE, stderr=None) as processes:
        assert processes.stdin is not None
        assert processes.stdout is not None
        out = processes.stdout
        for number in range(KILLS // (1 if suffix == ".gz" else 10)):
            if number % 4 == 0:  # another file: all of a file is read after every kill
                paths.append(tmp_path / f"killed-{number}{suffix}")
            path, first = paths[-1], 1_000_000 * number  # the number this process begins with
            processes.stdin.write(f"{path}|{flush}|{first}\n".encode())
            processes.stdin.flush()
            process = int(out.readline())
            lines = [out.readline()]
            time.sleep(1.3 if number % 40 == 5 else chosen.uniform(0.0, 0.1))
            os.kill(process, signal.SIGKILL)
            lines += itertools.takewhile(lambda line: line != b"killed\n", out)
            written = [tuple(map(int, one.split())) for one in lines]
            report = execwire.read_capture(path, venue="binance-spot").reports[0]
            if report.damage is not None:  # killed in the middle of a write: what a file's next user mends
                assert "does not end" in report.damage
                FileRecorder(path).close()
                report = execwire.read_capture(path, venue="binance-spot").reports[0]
            assert report.damage is None
            got = numbers(path) if suffix == ".gz" or report.failed == 0 else []
            if suffix == ".gz":
                assert report.failed == 0
                assert report.messages == len(got)
                got = [one for one in got if one >= first]
                assert got == list(range(first, first + len(got)))  # a beginning, without a hole
            # Whatever was given a second before the end is there, even on a busy machine where threads wait.
            if written[-1][0] - written[0][0] > 50 * flush * 1e9:
                early = max(i for at, i in written if at < written[-1][0] - 50 * flush * 1e9)
                assert first + len(got) >= early
    assert processes.returncode == 0
    assert sum(len(payloads(path)) for path in paths) > KILLS


PATHS = f"import sys; sys.path[:] = {sys.path!r}\n"


def test_a_torn_member_is_mended_at_every_byte(tmp_path):
    path = tmp_path / "torn.gz"
    with FileRecorder(path) as recorder:
        recorder.write(numbered(0, 50))
    first = path.stat().st_size
    with FileRecorder(path) as recorder:
        recorder.write(numbered(50, 10))
    whole = path.read_bytes()
    readable = 0
    for end in range(len(whole) + 1):
        path.write_bytes(whole[:end])
        with FileRecorder(path) as recorder:
            recorder.write(numbered(60, 5))
        report = execwire.read_capture(path, venue="binance-spot").reports[0]
        assert (report.damage, report.failed) == (None, 0)
        got = numbers(path)
        kept = [one for one in got if one < 60]
        assert kept == list(range(len(kept)))
        assert len(kept) >= (50 if end >= first else 0)
        assert len(kept) == 60 or end < len(whole)
        assert got[len(kept) :] == [60, 61, 62, 63, 64]
        readable += 0 < len(kept) < 50 or 50 < len(kept) < 60
    assert readable  # something of torn members was kept


def test_damage_of_other_kinds_and_other_programs_files_are_left_alone(tmp_path):
    path = tmp_path / "other.gz"
    for head in (gzip.compress(numbered(0, 50)), gzip.compress(numbered(0, 50))[:-20]):
        path.write_bytes(head)
        with FileRecorder(path) as recorder:
            recorder.write(numbered(50, 5))
        assert path.read_bytes().startswith(head)


def test_nothing_is_appended_to_what_could_not_be_read_then(tmp_path):
    zstd = b"\x28\xb5\x2f\xfd" + bytes(9)
    for name, head in [
        ("a.gz", numbered(0, 5)),
        ("a.txt", gzip.compress(numbered(0, 5))),
        ("b.txt", zstd),
        ("b.gz", zstd),
    ]:
        path = tmp_path / name
        path.write_bytes(head)
        with pytest.raises(FileExistsError, match="packed in another way") as raised:
            FileRecorder(path)
        assert raised.value.filename == str(path)
        assert path.read_bytes() == head


def test_limits_are_numbers(tmp_path):
    for wrong in ({"max_seconds": "3600"}, {"max_bytes": "x"}, {"max_seconds": 0.5}, {"flush": None}):
        with pytest.raises(TypeError):
            FileRecorder(tmp_path / "c.gz", **wrong)
    assert not list(tmp_path.iterdir())


def test_a_text_that_was_torn_ends_its_line(tmp_path):
    path = tmp_path / "torn.txt"
    path.write_bytes(numbered(0, 3)[:-5])
    with FileRecorder(path) as recorder:
        recorder.write(numbered(3, 2))
    assert [one[:6] for one in payloads(path)] == [b'{"n":%d' % i for i in range(5)]


def test_what_was_not_closed_is_written_when_python_ends(tmp_path):
    code = "from execwire.recording import FileRecorder; FileRecorder('c.gz', flush=60).write(b'1795000000 {}\\n')"
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, timeout=30)
    assert payloads(tmp_path / "c.gz") == [b"{}"]


# ---- MARK: Rotation ----


def test_rotation_by_size(tmp_path):
    with FileRecorder(tmp_path / "c.gz", flush=0.001, max_bytes=2000) as recorder:
        for i in range(20):
            recorder.write(numbered(i * 50, 50))
            wait_for(lambda want=i: recorder.written >= len(numbered(0, (want + 1) * 50)) - 1)
    files = sorted(tmp_path.iterdir())
    assert len(files) > 3
    assert all(one.stat().st_size <= 2000 for one in files)
    assert [n for one in files for n in numbers(one)] == list(range(1000))
    assert not (tmp_path / "c.gz").exists()
    assert all(one.stat().st_mode & 0o777 == 0o600 for one in files)


def test_rotation_by_time_and_restarts(tmp_path):
    for i in range(3):
        with FileRecorder(tmp_path / "c.gz", flush=0.001, max_seconds=1) as recorder:
            recorder.write(numbered(i * 2, 1))
            wait_for(lambda: recorder.written)
            before = recorder.path
            time.sleep(1.0)
            recorder.write(numbered(i * 2 + 1, 1))
        assert recorder.path != before
    files = sorted(tmp_path.iterdir())
    assert [n for one in files for n in numbers(one)] == list(range(6))
    again: list[Any] = []
    replay(files, "binance-spot", handler=again.append)  # one after the other


def test_a_file_that_is_taken_away(tmp_path):
    with FileRecorder(tmp_path / "c.gz", flush=0.001) as recorder:
        recorder.write(numbered(0, 1))
        wait_for(lambda: recorder.written)
        (tmp_path / "c.gz").rename(tmp_path / "old.gz")
        (tmp_path / "old.gz").unlink()
        recorder.write(numbered(1, 1))
    assert numbers(tmp_path / "c.gz") == [1]


def test_two_recorders_of_one_file(tmp_path):
    with FileRecorder(tmp_path / "c.gz"), pytest.raises(OSError, match="another recorder writes to it"):
        FileRecorder(tmp_path / "c.gz")


# ---- MARK: Disks ----

LIMITED = """
    import asyncio, resource, signal, sys
    from execwire.recording import FileRecorder
    from sessions import CREDENTIALS, exchange, session

    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # a write beyond the limit fails, as one on a full disk does

    async def main():
        recorder = FileRecorder(sys.argv[1], flush=0.02)
        events = []
        async with exchange("binance-spot", rate=1000.0) as server:
            async with session(server, "binance-spot", recorder=recorder) as stream:
                async for record in stream:
                    events.append(record.kind == "notice" and record.about == "recorder" and record.message)
                    if len(events) == 200:
                        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))
                    if any(events) and len(events) > 3000 and recorder.errors > 2:
                        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
                    if sum(map(bool, events)) == 2:
                        break
            stats = stream.stats()
        recorder.close()
        print(*filter(None, events), stats["gaps"], stats["handler_errors"], recorder.lost, sep="|")

    asyncio.run(asyncio.wait_for(main(), 60))
"""


def test_a_full_disk_is_a_notice_and_the_stream_goes_on(tmp_path):
    path = tmp_path / "full.gz"
    code = PATHS + f"sys.path.insert(0, {str(Path(__file__).parent)!r})\n" + textwrap.dedent(LIMITED)
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, timeout=90, check=False
    )
    assert done.returncode == 0, done.stderr
    first, second, *rest = done.stdout.strip().split("|")
    assert first == f"recording fails, and is tried again: {path}: {os.strerror(errno.EFBIG)}"
    assert second == f"recording goes on: {path}"
    assert rest == ["0", "0", "0"]
    again: list[Any] = []
    replay(path, handler=again.append)  # nothing is missing, and nothing is damaged
    assert len(again) > 3000
    assert execwire.read_capture(path, venue="binance-spot").reports[0].is_whole


def test_a_folder_that_may_not_be_written(tmp_path):
    """Permission is denied when the next file is opened; the recorder goes on when it may again."""
    code = """
        import os, sys, time
        from pathlib import Path
        from execwire.recording import FileRecorder
        folder = Path(sys.argv[1])
        if os.getuid() == 0:
            os.chown(folder, 65534, 65534)
            os.setuid(65534)
        recorder = FileRecorder(folder / "c.gz", flush=0.005, max_bytes=1)
        def told(text):
            for i in range(1000):
                if (got := recorder.write(b"1795000000 {}\\n")):
                    assert text in got, got
                    return
                time.sleep(0.005)
            raise AssertionError(text)
        time.sleep(0.1)
        folder.chmod(0o500)
        told("Permission denied")
        folder.chmod(0o700)
        told("recording goes on")
        recorder.close()
        print(recorder.written, recorder.lost)
    """
    tmp_path.chmod(0o755)
    for one in tmp_path.parents[:3]:
        one.chmod(one.stat().st_mode | 0o011) if one.stat().st_uid == os.getuid() and len(one.parts) > 2 else None
    folder = tmp_path / "folder"
    folder.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", PATHS + textwrap.dedent(code), str(folder)],
        capture_output=True, text=True, timeout=60, check=False, cwd="/",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    written, lost = map(int, done.stdout.split())
    assert lost == 0
    assert sum(len(payloads(one)) for one in folder.iterdir()) * len(b"1795000000 {}\n") == written


def test_a_path_that_cannot_be_opened_is_told_at_once(tmp_path):
    with pytest.raises(FileNotFoundError):
        FileRecorder(tmp_path / "nowhere" / "c.gz")

    async def main():
        stream = Session("binance-spot", CREDENTIALS, url="ws://127.0.0.1:1", record=tmp_path / "nowhere" / "c.gz")
        with pytest.raises(FileNotFoundError):
            await stream.start()
        await stream.close()

    run(main())
    assert not [one for one in threading.enumerate() if one.name == "execwire-recorder"]


def test_what_a_stuck_disk_cannot_take_is_counted(tmp_path, monkeypatch):
    monkeypatch.setattr("execwire.recording.WAITING", 1000)
    with FileRecorder(tmp_path / "c.gz", flush=60) as recorder:
        told = [recorder.write(numbered(i * 10, 10)) for i in range(100)]
        (text,) = filter(None, told)
        assert "lines are lost" in text
    assert recorder.lost > 0
    kept = numbers(tmp_path / "c.gz")
    assert kept == list(range(len(kept)))
    assert recorder.lost + recorder.written == sum(len(numbered(i * 10, 10)) for i in range(100))


# ---- MARK: Replay ----


@pytest.mark.parametrize(
    "line",
    [
        '"connection","number":"abc"', '"connection","number":[1]', '"connection","number":-1',
        '"connection","number":null', '"order","limit":null', '"order","window":"x"', '"order","window":1e30',
        '"overlap","number":[]', f'"order","limit":{10**40}', '"hold","number":{}',
    ],
)  # fmt: skip
def test_lines_that_only_look_like_the_recorders_own(tmp_path, line):
    path = tmp_path / "c.txt"
    event = b'1795000001 {"e":"balanceUpdate","a":"BTC","d":"1"}\n'
    path.write_bytes(event + b'1795000000 {"execwire":%b}\n' % line.encode() + event)
    seen = []
    replay(path, "binance-spot", handler=lambda one: seen.append(one.kind))
    assert seen.count("balance") == 2


def test_a_speed_that_takes_ages(tmp_path):
    path = tmp_path / "c.txt"
    event = b'%d {"e":"balanceUpdate","a":"BTC","d":"1"}\n'
    path.write_bytes(event % 1795000000 + event % 1795000001)
    with command("replay", str(path), "--venue", "binance-spot", "--speed", "1e-10") as process:
        assert process.stdout is not None
        assert process.stdout.readline()
        time.sleep(0.3)  # it waits for the second one
        assert process.poll() is None
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130


def test_replay_is_served_over_ip_version_6(tmp_path):
    import aiohttp

    try:
        with socket.socket(socket.AF_INET6) as one:
            one.bind(("::1", 0))
    except OSError:
        pytest.skip("no IPv6")
    path = tmp_path / "c.txt"
    path.write_bytes(b'1795000000 {"a":1}\n')

    async def served(url: str) -> list[str]:
        async with aiohttp.ClientSession() as http, http.ws_connect(url) as peer:
            return [message.data async for message in peer]

    with command("replay", str(path), "--serve", "[::1]:0") as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        assert url.startswith("ws://[::1]:")
        assert asyncio.run(served(url)) == ['{"a":1}']
        process.send_signal(signal.SIGINT)
        process.wait(30)


def test_replay_as_a_session_and_in_its_own_time(tmp_path):
    path = tmp_path / "c.txt"
    payload = b'{"e":"balanceUpdate","E":1795000004383,"a":"BTC","d":"1","T":1795000004382}'
    path.write_bytes(b"".join(b"%d %b\n" % (1795000000_000000000 + i * 20_000_000, payload) for i in range(11)))

    async def main():
        began = time.monotonic()
        async with Replay(path, "binance-spot", speed=2) as stream:
            records = [(time.monotonic() - began, record) async for record in stream]
        assert stream.stats()["records"] == 11
        # Never before its time: that is what a speed promises; later is the machine's affair.
        assert all(at >= (one.ts_recv - 1795000000_000000000) / 2e9 for at, one in records)
        with pytest.raises(TypeError, match="await run"):
            aiter(Replay(path, "binance-spot", handler=print))
        with pytest.raises(TypeError, match="iterate"):
            await Replay(path, "binance-spot").run()
        batches = []

        class Batches(execwire.Handler):
            def on_batch(self, records):
                batches.append(len(records))

        await Replay([path, path], "binance-spot", handler=Batches()).run()
        assert batches == [1] * 22

    run(main())
    with pytest.raises(execwire.VenueError, match="of which venue"):
        replay(path, handler=print)
    with pytest.raises(ValueError, match="greater than 0"):
        replay(path, handler=print, speed=0)


def test_replay_of_damage_and_of_handlers_that_stop(tmp_path):
    path = tmp_path / "c.txt"
    path.write_bytes(b'1795000000 {"e":\n1795000001 {"e":"balanceUpdate","a":"BTC","d":"1"}\n')
    seen: list[Any] = []
    counts = replay(path, "binance-spot", handler=seen.append)
    assert [one.event for one in seen] == ["undecodable", "balanceUpdate"]
    assert counts["decode_errors"] == 1
    assert seen[0].ts_recv == 1795000000 * 10**9

    def stop(record):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        replay(path, "binance-spot", handler=stop)
    unstamped = tmp_path / "c.ndjson"
    unstamped.write_bytes(b'{"e":"balanceUpdate","a":"BTC","d":"1"}\n' * 3)
    seen.clear()
    replay(unstamped, "binance-spot", handler=seen.append, speed=1)
    assert [one.ts_recv for one in seen] == [None] * 3


def as_bytes(data: str | bytes) -> bytes:
    return data.encode() if isinstance(data, str) else data


def command(*arguments: str) -> AbstractContextManager[subprocess.Popen[str]]:
    return started(sys.executable, "-m", "execwire.cli", *arguments, text=True)


def test_the_command_prints_serves_and_sends(tmp_path):
    """A recording goes over a WebSocket to a session's own listener, and into an aiohttp server, unchanged."""
    import aiohttp
    from aiohttp import web

    path = tmp_path / "live.gz"
    saw = run(lived("gzip-broker", path))
    with command("replay", str(path)) as process:
        lines = process.communicate(timeout=30)[0].splitlines()
        assert process.returncode == 0
        assert [(one["kind"], one["event"]) for one in map(json.loads, lines)] == [(x["kind"], x["event"]) for x in saw]
    with Capture(path) as capture:
        want = [one.payload for one in capture]

    async def served() -> list[bytes]:
        with command("replay", str(path), "--serve", "127.0.0.1:0") as process:
            assert process.stdout is not None
            url = process.stdout.readline().strip()
            async with aiohttp.ClientSession() as http, http.ws_connect(url + "/any/path") as socket:
                got = [as_bytes(message.data) async for message in socket]
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=30)
            assert process.returncode == 0
        return got

    async def sent() -> list[bytes]:
        got = []

        async def handle(request):
            socket = web.WebSocketResponse()
            await socket.prepare(request)
            got.extend([as_bytes(message.data) async for message in socket])
            return socket

        app = web.Application()
        app.router.add_get("/", handle)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        url = f"ws://127.0.0.1:{runner.addresses[0][1]}/"
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "execwire.cli", "replay", str(path), "--to", url, "--speed", "1000"
        )
        assert await process.wait() == 0
        await runner.cleanup()
        return got

    assert asyncio.run(asyncio.wait_for(served(), 30)) == want
    assert asyncio.run(asyncio.wait_for(sent(), 30)) == want


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (["{}", "--to", "ws://x", "--serve", ":1"], 2, "either --to or --serve"),
        (["{}", "--to", "ws://127.0.0.1:1"], 3, "ws://127.0.0.1:1"),
        (["{}", "--serve", "nonsense"], 2, "HOST:PORT"),
        (["{}", "--serve", ":0", "--venue", "bitget"], 2, "for neither"),
        (["{}", "--to", "foo"], 2, "begins with ws:// or wss://"),
        (["nowhere.gz", "--serve", ":0"], 3, "nowhere.gz: No such file"),
        (["{}"], 2, "of which venue"),
        (["nowhere.gz", "--venue", "bitget"], 3, "nowhere.gz: No such file"),
        (["{}", "--venue", "bitget", "--speed", "nan"], 2, "a speed is greater than 0"),
    ],
)
def test_wrong_usage(tmp_path, arguments, code, text):
    (tmp_path / "c.txt").write_bytes(numbered(0, 1))
    with command("replay", *(one.replace("{}", str(tmp_path / "c.txt")) for one in arguments)) as process:
        _, errors = process.communicate(timeout=30)
    assert process.returncode == code, errors
    assert text in errors


def test_a_session_of_a_test_that_ends(tmp_path):
    """`until` is what the other tests use; a recording is complete when the session is closed."""

    async def main():
        async with (
            exchange("bitget") as server,
            live_session(server, "bitget", CREDENTIALS, record=str(tmp_path / "c.gz")) as stream,
        ):
            return [one.to_dict() for one in await until(stream, lambda one, seen: len(seen) >= 100)]

    saw = run(main())

    async def again():
        async with Replay(tmp_path / "c.gz") as stream:
            return [one.to_dict() async for one in stream]

    assert run(again())[:100] == saw


# ---- MARK: Ends ----


def unclosed(path: Path) -> int:
    return execwire.read_capture(path, venue="binance-spot").reports[0].unclosed


def test_a_recording_that_was_killed_says_so(tmp_path):
    path = tmp_path / "c.gz"
    code = """
        import sys, time
        from execwire.recording import FileRecorder
        recorder = FileRecorder(sys.argv[1], flush=0.001)
        recorder.write(b'1795000000 {"e":"a"}\\n')
        while not recorder.written:
            time.sleep(0.001)
        print("written", flush=True)
        time.sleep(60)
    """
    for kills in (1, 2):
        program = [sys.executable, "-c", textwrap.dedent(code), str(path)]
        with started(*program) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"written\n"
            assert unclosed(path) == kills  # it still goes on
            process.send_signal(signal.SIGKILL)
        assert unclosed(path) == kills
        with FileRecorder(path) as recorder:
            recorder.write(b'1795000000 {"e":"b"}\n')
        assert unclosed(path) == kills
    assert payloads(path) == [b'{"e":"a"}', b'{"e":"b"}'] * 2
    program = [sys.executable, "-m", "execwire.cli", "inspect", str(path)]
    done = subprocess.run(program, capture_output=True, text=True, timeout=60, check=False)
    assert f"{path}: 2 recordings in it were not closed" in done.stderr
    assert done.returncode == 0


def test_a_recording_that_was_closed_shows_nothing_to_others(tmp_path):
    path = tmp_path / "c.gz"
    lines = b""
    for i in range(3):
        with FileRecorder(path) as recorder:
            recorder.write(numbered(i, 1))
        lines += numbered(i, 1)
        assert unclosed(path) == 0
    assert gzip.decompress(path.read_bytes()) == lines
    with FileRecorder(tmp_path / "nothing.gz"):
        pass
    assert (tmp_path / "nothing.gz").read_bytes() == b""
    # Told whatever pieces the file comes in.
    whole = path.read_bytes()

    class Pieces:
        def __init__(self, size):
            self.left, self.size = whole[:-1], size

        def read(self, _):
            piece, self.left = self.left[: self.size], self.left[self.size :]
            return piece

    for size in (1, 7, 45, 46, 1000):
        report = execwire.read_capture(Pieces(size), venue="binance-spot").reports[0]
        assert report.unclosed == 1, size  # its last byte is missing
        assert report.damage is not None
