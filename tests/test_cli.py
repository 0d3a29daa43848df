"""The command, as users run it: output, exit codes, and what stands on which stream."""

from __future__ import annotations

import asyncio
import csv
import errno
import gzip
import io
import json
import os
import signal
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING

import aiohttp
import pytest
from processes import interrupt, started

from execwire.captures import OPENED
from execwire.venues import load

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

COMMAND = str(Path(sysconfig.get_path("scripts")) / "execwire")
ORDER = (
    b'{"subscriptionId":2,"event":{"e":"executionReport","E":1795000000120,"s":"BTCUSDT","S":"BUY","o":"LIMIT",'
    b'"X":"NEW","x":"NEW","p":"91250.10","i":48211903377,"w":true,"N":null}}\n'
)
BALANCE = b'{"e":"balanceUpdate","E":1795000004383,"a":"BTC","d":"-0.75000000","T":1795000004382}\n'
BAD = b'{"e":"balanceUpdate","E":}\n'


def run(*args: str | Path, stdin: bytes = b"", code: int = 0) -> subprocess.CompletedProcess[bytes]:
    done = subprocess.run([COMMAND, *map(str, args)], input=stdin, capture_output=True, timeout=120, check=False)
    assert done.returncode == code, done.stderr.decode()
    assert b"Traceback" not in done.stderr
    return done


def start(*args: str | Path) -> AbstractContextManager[subprocess.Popen[bytes]]:
    return started(COMMAND, *args, stdin=subprocess.PIPE)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "capture.ndjson"
    path.write_bytes(ORDER + BALANCE)
    return path


# ==== decode ====


def test_decode(path: Path) -> None:
    done = run("decode", path)
    first, second = done.stdout.splitlines()
    assert first == (
        b'{"kind":"order","venue":"binance-spot","event":"executionReport","ts_event":1795000000120000000,'
        b'"subscription_id":2,"symbol":"BTCUSDT","order_id":"48211903377","side":"buy","order_type":"limit",'
        b'"status":"new","exec_type":"new","price":"91250.10","fee_asset":null,"is_working":true}'
    )
    assert json.loads(second) == {
        "kind": "balance",
        "venue": "binance-spot",
        "event": "balanceUpdate",
        "ts_event": 1795000004383000000,
        "ts_transact": 1795000004382000000,
        "delta": "-0.75000000",
        "asset": "BTC",
    }
    assert done.stderr.decode() == f"{path}: format ndjson\n"


def test_standard_input() -> None:
    assert run("decode", "-", stdin=BALANCE, code=0).stdout.count(b"\n") == 1
    assert run("decode", "-", stdin=gzip.compress(BALANCE)).stderr == b"<stdin>: format ndjson in gzip\n"
    assert run("decode", "-").stdout == b""


def test_several_files_and_ts_recv(path: Path, tmp_path: Path) -> None:
    stamped = tmp_path / "stamped.gz"
    stamped.write_bytes(gzip.compress(b"1795000000123456789 " + BALANCE))
    records = [json.loads(line) for line in run("decode", path, stamped).stdout.splitlines()]
    assert [record.get("ts_recv") for record in records] == [None, None, 1795000000123456789]


def test_kinds(path: Path) -> None:
    (line,) = run("decode", path, "--kind", "balance").stdout.splitlines()
    assert json.loads(line)["kind"] == "balance"
    assert len(run("decode", path, "--kind", "order, balance").stdout.splitlines()) == 2
    assert run("decode", path, "--kind", "fill").stdout == b""
    told = run("decode", path, "--kind", "trade", code=2).stderr
    assert b"'trade' is not one of order, fill, balance, position, notice" in told


def test_extra_is_exact() -> None:
    line = BALANCE[:-2] + b',"zz":{"n":123456789012345678901234567890,"d":1.50,"e":1e-60,"t":[true,null]}}\n'
    done = run("decode", "-", "--extra", stdin=line)
    extra = b'"extra":{"zz":{"n":123456789012345678901234567890,"d":"1.50","e":"1E-60","t":[true,null]}}}\n'
    assert done.stdout.endswith(extra)
    assert b"zz" not in run("decode", "-", stdin=line).stdout


def test_csv_of_all_kinds(path: Path) -> None:
    rows = list(csv.DictReader(io.StringIO(run("decode", path, "--to", "csv").stdout.decode())))
    assert list(rows[0])[:7] == ["kind", "venue", "event", "ts_event", "ts_transact", "ts_recv", "subscription_id"]
    assert {"orig_client_order_id", "quote_qty", "delta", "liquidation_price", "error_code"} < set(rows[0])
    columns = ("kind", "price", "is_working", "fee_asset", "delta")
    assert [rows[0][column] for column in columns] == ["order", "91250.10", "true", "", ""]
    assert [rows[1][column] for column in columns] == ["balance", "", "", "", "-0.75000000"]


def test_csv_of_one_kind() -> None:
    lines = BALANCE[:-2] + b',"zz":"a,\\"b"}\n' + ORDER
    done = run("decode", "-", "--to", "csv", "--kind", "balance", "--extra", stdin=lines)
    assert done.stdout.decode() == (
        "kind,venue,event,ts_event,ts_transact,ts_recv,subscription_id,"
        "asset,free,locked,total,cross_wallet,delta,reason,extra\n"
        "balance,binance-spot,balanceUpdate,1795000004383000000,1795000004382000000,,,"
        'BTC,,,,,-0.75000000,,"{""zz"":""a,\\""b""}"\n'
    )


def test_csv_quotes_what_readers_take_for_the_end_of_a_line() -> None:
    lines = b"".join(b'{"e":"executionReport","c":"a%sb"}\n' % end for end in (rb"\r", rb"\n", rb"\r\n"))
    done = run("decode", "-", "--venue", "binance-spot", "--to", "csv", "--kind", "order", stdin=lines)
    rows = list(csv.DictReader(io.StringIO(done.stdout.decode(), newline="")))
    assert [row["client_order_id"] for row in rows] == ["a\rb", "a\nb", "a\r\nb"]
    assert done.stdout.count(b"\r\n") == 1


def test_integers_of_any_length() -> None:
    line = b'{"e":"balanceUpdate","zz":%s}\n' % (b"7" * 5000)
    done = run("decode", "-", "--venue", "binance-spot", "--extra", stdin=line)
    assert b'"zz":%s}' % (b"7" * 5000) in done.stdout
    assert b"7777" in run("inspect", "-", "--venue", "binance-spot", stdin=line).stdout


def test_own_venue_file(tmp_path: Path) -> None:
    toml = tmp_path / "mine.toml"
    toml.write_text('name = "mine"\ninherits = "binance-spot"\n')
    (line,) = run("decode", "-", "--venue", toml, stdin=BALANCE).stdout.splitlines()
    assert json.loads(line)["venue"] == "mine"
    toml.write_text('name = "mine"\nnonsense = 1\n')
    assert b"mine.toml: unknown key 'nonsense'" in run("decode", "-", "--venue", toml, code=2).stderr


# ==== Failures ====


def test_failed_messages_are_skipped_and_told(path: Path) -> None:
    path.write_bytes(ORDER + BAD + BALANCE + b"what\n")
    done = run("decode", path, code=1)
    assert done.stdout.count(b"\n") == 2
    told = done.stderr.decode().splitlines()
    assert told[0] == f"{path}: format ndjson"
    assert told[1].startswith(f"{path}:2 (byte {len(ORDER) + 25}): ")
    assert told[2].startswith(f"{path}:4 (byte {len(ORDER + BAD + BALANCE)}): ")
    assert told[3:] == ["2 of 4 messages failed"]


def test_stop_at_the_first_failure(path: Path) -> None:
    path.write_bytes(ORDER + BAD + BALANCE)
    done = run("decode", path, path, "--errors", "stop", code=1)
    assert done.stdout.count(b"\n") == 1
    assert done.stderr.decode().splitlines()[-1] == "1 of 2 messages failed"


def test_many_failures_are_counted_not_listed() -> None:
    done = run("decode", "-", "--venue", "bitget", "--format", "ndjson", stdin=b"what\n" * 1000, code=1)
    assert len(done.stderr.splitlines()) == 22
    assert done.stderr.endswith(b"1000 of 1000 messages failed\n")


def test_unreadable_input(path: Path, tmp_path: Path) -> None:
    done = run("decode", tmp_path / "missing", tmp_path, path, code=3)
    assert done.stdout.count(b"\n") == 2  # the file that can be read is decoded
    assert done.stderr.decode().splitlines() == [
        f"{tmp_path}/missing: No such file or directory",
        f"{tmp_path}: Is a directory",
        f"{path}: format ndjson",
    ]


def test_truncated_gzip(path: Path) -> None:
    path.write_bytes(gzip.compress(ORDER) + gzip.compress(BALANCE)[:-6])
    done = run("decode", path, code=3)
    assert done.stdout.count(b"\n") == 2
    begin = len(gzip.compress(ORDER))
    assert f"{path}: truncated gzip data: the member that begins at byte {begin} does not end" in done.stderr.decode()


def test_unreadable_outweighs_failed(path: Path) -> None:
    path.write_bytes(gzip.compress(ORDER + BAD) + b"garbage")
    assert b"1 of 2 messages failed" in run("decode", path, code=3).stderr


@pytest.mark.parametrize(
    "args",
    [
        ["decode"],
        ["decode", "-", "--to", "xml"],
        ["decode", "-", "--errors", "ignore"],
        ["decode", "-", "--venue", "nowhere"],
        ["decode", "-", "--venue", "missing.toml"],
        ["decode", "-", "--format", "xml"],
        ["decode", "-", "--nonsense"],
        ["nonsense"],
        ["venues", "nowhere"],
        ["venues", "--table"],
    ],
)
def test_usage(args: list[str]) -> None:
    done = run(*args, code=2)
    assert done.stdout == b""
    assert done.stderr.startswith(b"Usage: execwire")


# ==== Output files ====


def test_output_file(path: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    done = run("decode", path, "-o", out)
    assert done.stdout == b""
    assert out.read_text().startswith("kind,venue,event,")
    assert sorted(tmp_path.iterdir()) == [path, out]
    umask = os.umask(0)
    os.umask(umask)
    assert out.stat().st_mode & 0o777 == 0o666 & ~umask


def test_output_is_not_overwritten_without_force(path: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.ndjson"
    out.write_text("precious")
    done = run("decode", path, "-o", out, code=2)
    assert b"out.ndjson exists; --force replaces it" in done.stderr
    assert out.read_text() == "precious"
    run("decode", path, "-o", out, "--force")
    assert out.read_bytes() == run("decode", path).stdout
    before = path.read_bytes()
    done = run("decode", path, "-o", path, "--force", code=2)  # but not the input
    assert f"{path} is the input as well" in done.stderr.decode()
    assert path.read_bytes() == before


def test_output_that_cannot_be_written(path: Path, tmp_path: Path) -> None:
    done = run("decode", path, "-o", tmp_path / "no" / "out", code=3)
    assert f"{tmp_path}/no/out: No such file or directory" in done.stderr.decode()
    done = run("decode", path, "-o", path / "out", "--to", "parquet", code=3)
    assert os.strerror(errno.ENOTDIR) in done.stderr.decode()
    assert "3 an input could not be read (to its end) or an output not be written" in " ".join(
        run("-h").stdout.decode().split()
    )
    assert run("decode", path, "-o", os.devnull).stdout == b""


def test_an_output_that_appears_meanwhile_is_kept(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with start("decode", "-", "-o", out) as child:
        child.stdin.write(BALANCE)
        child.stdin.flush()
        child.stderr.readline()
        out.write_bytes(b"another one")
        _, told = child.communicate(timeout=60)
        assert (child.returncode, told.decode().splitlines()[-1]) == (
            2, f"Error: {out} exists by now; --force replaces it",
        )  # fmt: skip
    assert (out.read_bytes(), len(list(tmp_path.iterdir()))) == (b"another one", 1)


def test_everything_that_is_damaged_is_told(tmp_path: Path) -> None:
    member, junk = gzip.compress(b'{"execwire":"x"}\n' + BALANCE), b"junk"
    path = tmp_path / "a.gz"
    path.write_bytes(member + junk + member + junk)
    told = [
        f"{path}: garbage after the end of the gzip data (byte {at})"
        for at in (len(member), 2 * len(member) + len(junk))
    ]
    for command in ("decode", "inspect"):
        assert [one for one in run(command, path, code=3).stderr.decode().splitlines() if "garbage" in one] == told
    assert b"2 control lines skipped" in run("decode", path, code=3).stderr
    assert run("replay", path, "--venue", "binance-spot", code=3).stderr.decode() == told[0] + "\n"


def test_events_that_a_venue_does_not_know_are_told(path: Path, tmp_path: Path) -> None:
    for more in ((), ("--to", "parquet", "-o", tmp_path / "out")):
        told = run("decode", path, "--venue", "bitget", *more).stderr.decode().splitlines()[-1]
        assert told == "2 events are unknown to their venue, and notices; execwire inspect shows them"


def test_a_recording_that_was_not_closed_is_told(tmp_path: Path) -> None:
    path = tmp_path / "a.gz"
    path.write_bytes(OPENED + gzip.compress(BALANCE))
    assert f"{path}: a recording in it was not closed" in run("decode", path).stderr.decode()


def test_names_that_are_no_text(tmp_path: Path) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/a\xff.ndjson"))
    path.write_bytes(BALANCE)
    assert json.loads(run("inspect", "--json", path).stdout)["files"] == {f"{tmp_path}/a\\xff.ndjson": "ndjson"}
    run("decode", path, "--to", "parquet", "-o", tmp_path / "out")
    assert len(list(tmp_path.rglob("*.parquet"))) == 1


def test_patterns(path: Path, tmp_path: Path) -> None:
    (tmp_path / "other.ndjson").write_bytes(BALANCE)
    both = [f"{tmp_path}/other.ndjson", str(path)]
    pattern, nothing = tmp_path / "[co]*.ndjson", tmp_path / "no*"
    venue = ("--venue", "binance-spot")
    records = run("decode", path, *venue).stdout + run("decode", both[0], *venue).stdout
    assert run("decode", pattern, *venue).stdout == records
    assert run("replay", pattern, *venue).stdout == records
    assert json.loads(run("inspect", "--json", pattern).stdout)["files"] == dict.fromkeys(both, "ndjson")
    assert f"{path} is the input as well" in run("decode", pattern, "-o", path, "--force", code=2).stderr.decode()
    told = f"no file matches {nothing}"
    for args in (["decode"], ["inspect"], ["replay"], ["decode", "--to", "parquet", "-o", tmp_path / "out"]):
        done = run(*args, nothing, path, *venue, code=3)
        assert told in done.stderr.decode().splitlines()
    assert run("decode", nothing, path, *venue, code=3).stdout == run("decode", path, *venue).stdout
    report = json.loads(run("inspect", "--json", nothing, code=3).stdout)
    assert report["damaged"] == [{"where": str(nothing), "message": "no file matches it"}]


def test_names_that_a_terminal_would_obey(tmp_path: Path) -> None:
    path, torn = tmp_path / "a\x1b[31m\r\n\u202e.ndjson", tmp_path / "b\x07.gz"
    path.write_bytes(ORDER + BAD + BALANCE[:-2] + b',"z\\u001bz":1}\n')
    torn.write_bytes(gzip.compress(BALANCE)[:-6])
    missing, toml = tmp_path / "c\x1b[2J", tmp_path / "d\x1b[2J.toml"
    toml.write_text("nonsense = 1")
    paths = [path, torn, missing, tmp_path / "e\x1b*"]
    for args, code in (
        (["decode", *paths], 3),
        (["inspect", *paths], 3),
        (["replay", torn, "--venue", "binance-spot"], 3),
        (["decode", *paths, "--to", "parquet", "-o", tmp_path / "out"], 3),
        (["decode", path, "-o", torn], 2),
        (["decode", path, "-o", missing / "out"], 3),
        (["decode", path, "--venue", toml], 2),
        (["replay", missing], 3),
    ):
        done = run(*args, code=code)
        for text in (done.stdout.decode(), done.stderr.decode()):
            assert all(one.isprintable() for one in text.split("\n")), text
    told = run("decode", path, code=1).stderr.decode()
    assert told.startswith(f"{tmp_path}/a\\x1b[31m\\r\\n\\u202e.ndjson: format ndjson\n")


def test_a_format_that_is_another_one(path: Path, tmp_path: Path) -> None:
    told = f"{path}: no line of it is of the format cryptofeed, from line 1 on (byte 0)"
    out = ("--to", "parquet", "-o", tmp_path / "out")
    for args in (["decode"], ["inspect"], ["replay"], ["decode", *out], ["decode", "--extra", *out]):
        done = run(*args, path, "--format", "cryptofeed", "--venue", "binance-spot", code=3)
        assert told in done.stderr.decode().splitlines()
    assert f"{path}: not a HAR archive" in run("decode", path, "--format", "har", code=3).stderr.decode()


def test_keys_of_envelopes(tmp_path: Path) -> None:
    path = tmp_path / "capture"
    path.write_bytes(b'{"at":1795000000,"what":{"e":"balanceUpdate","a":"X","d":"1"}}\n')
    options = ["--ts-key", "at", "--payload-key", "what", "--venue", "binance-spot"]
    for command in ("decode", "replay"):
        record = json.loads(run(command, path, *options).stdout)
        assert (record["ts_recv"], record["delta"]) == (1795000000 * 10**9, "1")
    report = json.loads(run("inspect", "--json", path, *options).stdout)
    assert (report["files"], report["records"]) == ({str(path): "envelope"}, 1)
    with start("replay", path, *options[:4], "--serve", "127.0.0.1:0") as server:
        url = server.stdout.readline().decode().strip()

        async def received() -> list[str]:
            async with aiohttp.ClientSession() as http, http.ws_connect(url) as socket:
                return [message.data async for message in socket]

        assert asyncio.run(asyncio.wait_for(received(), 30)) == ['{"e":"balanceUpdate","a":"X","d":"1"}']
        server.send_signal(signal.SIGINT)


# ==== Pipes and signals ====


def test_closed_pipe_is_no_error(tmp_path: Path) -> None:
    path = tmp_path / "long"
    path.write_bytes(BALANCE * 20_000)
    with start("decode", path) as child:
        child.stdout.readline()
        child.stdout.close()
        assert (child.stderr.read(), child.wait(60)) == (f"{path}: format ndjson\n".encode(), 0)


def test_pipe_closed_before_the_last_flush() -> None:
    # One short line stays in the buffer until the end.
    with start("decode", "-") as child:
        child.stdout.close()
        child.stdin.write(BALANCE)
        child.stdin.close()
        assert (child.stderr.read(), child.wait(60)) == (b"<stdin>: format ndjson\n", 0)
    for args in (["--help"], ["venues"]):
        with start(*args) as child:
            child.stdout.close()
            assert (child.stderr.read(), child.wait(60)) == (b"", 0)


def test_interrupt(tmp_path: Path) -> None:
    with start("decode", "-", "-o", tmp_path / "out") as child:
        child.stdin.write(BALANCE)
        child.stdin.flush()
        assert child.stderr.readline() == b"<stdin>: format ndjson\n"  # it waits for more
        assert len(list(tmp_path.iterdir())) == 1
        interrupt(child, signal.SIGINT)
        assert (child.stderr.read(), child.wait(60)) == (b"interrupted\n", 130)
    assert list(tmp_path.iterdir()) == []


def test_termination_is_an_interrupt(tmp_path: Path) -> None:
    with start("decode", "-", "-o", tmp_path / "out") as child:
        child.stdin.write(BALANCE)
        child.stdin.flush()
        child.stderr.readline()
        interrupt(child, signal.SIGTERM)
        assert (child.stderr.read(), child.wait(60)) == (b"interrupted\n", 130)
    assert list(tmp_path.iterdir()) == []


def test_nobody_listens_to_what_is_told(tmp_path: Path) -> None:
    path, out = tmp_path / "capture", tmp_path / "out"
    path.write_bytes(BAD * 30 + BALANCE)
    with start("decode", "--format", "ndjson", path, "-o", out) as child:
        child.stderr.close()
        assert (child.stdout.read(), child.wait(60)) == (b"", 1)
    assert out.read_bytes().count(b"\n") == 1


def test_a_full_disk_below_what_is_told(tmp_path: Path) -> None:
    path, out = tmp_path / "capture", tmp_path / "out"
    path.write_bytes(BAD * 30 + BALANCE)
    with Path("/dev/full").open("wb") as full:
        args = [COMMAND, "decode", "--format", "ndjson", path, "-o", out]
        done = subprocess.run(args, stdout=subprocess.PIPE, stderr=full, timeout=60, check=False)
    assert (done.stdout, done.returncode) == (b"", 1)
    assert out.read_bytes().count(b"\n") == 1


@pytest.mark.parametrize("command", ["decode", "replay"])
def test_a_full_disk_is_told(path: Path, command: str) -> None:
    with Path("/dev/full").open("wb") as full:
        args = [COMMAND, command, path, "--venue", "binance-spot"]
        done = subprocess.run(args, stdout=full, stderr=subprocess.PIPE, timeout=60, check=False)
    assert done.returncode == 3
    assert done.stderr.decode().splitlines()[-1] == f"output: {os.strerror(errno.ENOSPC)}"


def test_replay_goes_on_behind_a_capture_that_is_torn(path: Path, tmp_path: Path) -> None:
    torn = tmp_path / "torn.gz"
    torn.write_bytes(gzip.compress(b"".join(b'{"e":"balanceUpdate","d":"%d"}\n' % i for i in range(999)))[:-900])
    done = run("replay", torn, path, "--venue", "binance-spot", code=3)
    assert len(done.stdout.splitlines()) > 2
    assert done.stdout.splitlines()[-2:] == run("decode", path).stdout.splitlines()
    assert done.stderr.decode().startswith(f"{torn}: truncated gzip data")


def test_replay_into_a_closed_pipe(tmp_path: Path) -> None:
    path = tmp_path / "long"
    path.write_bytes(BALANCE * 5_000)
    with start("replay", path, "--venue", "binance-spot") as child:
        child.stdout.readline()
        child.stdout.close()
        assert (child.stderr.read(), child.wait(60)) == (b"", 0)


def test_streams_that_are_closed(path: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"

    def shell(line: str) -> tuple[int, str]:
        script = line.format(command=COMMAND, path=path, out=out)
        done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, timeout=60, check=False)
        return done.returncode, done.stderr

    why = os.strerror(errno.EBADF)
    assert shell("{command} decode - <&-") == (3, f"<stdin>: {why}\n")
    assert shell("{command} decode {path} >&-") == (3, f"{path}: format ndjson\noutput: {why}\n")
    assert shell("{command} decode {path} -o {out} <&- >&- 2>&-") == (0, "")
    assert out.read_bytes().count(b"\n") == 2


# ==== The other commands ====


def test_venues() -> None:
    names = [line.split()[0] for line in run("venues").stdout.decode().splitlines()]
    assert names == ["venue", "binance-futures", "binance-spot", "bitget", "bitget-v1", "gzip-broker", "openapi-broker"]


def test_one_venue() -> None:
    text = run("venues", "binance-spot").stdout.decode()
    assert f"samples that decoders learn from: {len(load('binance-spot').samples)}\n" in text
    assert "executionReport  (e = executionReport)\n  order\n" in text
    assert "  balance for each of B\n" in text
    table = run("venues", "binance-spot", "--table").stdout.decode()
    assert table.startswith("execwire\t1\nname\tbinance-spot\n")
    assert table[-1] == "\n" != table[-2]


def test_inspect(path: Path) -> None:
    path.write_bytes(ORDER + BALANCE[:-2] + b',"zz":1}\n' + BAD)
    done = run("inspect", path, code=1)
    text = done.stdout.decode()
    assert "3 messages, 2 records, 1 failed" in text
    assert "events from 2026-11-18 11:06:40.120 UTC to 2026-11-18 11:06:44.383 UTC" in text
    assert "binance-spot: 2 messages; records: 1 order, 1 balance" in text
    assert f"{path}:2 (byte {len(ORDER)})" in text
    assert done.stderr.decode().splitlines()[-1] == "1 of 3 messages failed"
    report = json.loads(run("inspect", "--json", path, code=1).stdout)
    assert report["venues"]["binance-spot"]["new_keys"] == [
        {"path": "zz", "example": "1", "first": f"{path}:2 (byte {len(ORDER)})", "count": 1}
    ]
    assert run("inspect", path.parent / "missing", code=3).stdout == b"0 messages, 0 records, 0 failed\n"


def test_help_and_version() -> None:
    for args in (["-h"], ["decode", "-h"], ["inspect", "-h"], ["venues", "-h"], ["demo", "--help"]):
        assert run(*args).stdout.startswith(b"Usage: execwire")
    assert run("--version").stdout.startswith(b"execwire, version ")
    done = subprocess.run([sys.executable, "-m", "execwire.cli", "venues"], capture_output=True, check=False)
    assert done.returncode == 0
