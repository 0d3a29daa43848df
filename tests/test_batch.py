"""Captures to tables: every format, every sort of damage, one venue or several, whole or in parts."""

from __future__ import annotations

import base64
import gzip
import io
import json
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from processes import peak_of
from test_columns import by_numpy, compare, expected

import execwire
from execwire import Decoder, batch, core, workload
from execwire.captures import Capture, Part, cut
from execwire.detection import Detector

if TYPE_CHECKING:
    from collections.abc import Callable

DEMO = Path(execwire.__file__).parent / "data" / "demo.txt"
FIRST = 1795000000_000000001


def lines(event: str, count: int = 200) -> list[bytes]:
    return list(workload.workload(event, count).messages)


def stamped(messages: list[bytes]) -> bytes:
    return b"".join(b"%d %s\n" % (FIRST + i, message) for i, message in enumerate(messages))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "capture"


def check(table: execwire.EventTable, venue: str, messages: list[bytes], first: int = FIRST) -> None:
    want = expected(venue, messages, first)
    for kind in core.KINDS:
        compare(by_numpy(table[kind]), want[kind])


# ---- MARK: Formats ----

WRITERS: dict[str, Callable[[int, bytes], bytes]] = {
    "hftbacktest": lambda ts, message: b"%d %s\n" % (ts, message),
    "tardis": lambda ts, message: b"2026-11-18T11:06:40.%09dZ %s\n" % (ts % 10**9, message),
    "websocat": lambda ts, message: b"%d.%09d %s\n" % (ts // 10**9, ts % 10**9, message),
    "cryptofeed": lambda ts, message: b"%d.%09d: %s\n" % (ts // 10**9, ts % 10**9, message),
    "envelope": lambda ts, message: b'{"ts":%d,"msg":%s}\r\n' % (ts, message),
    "envelope, strings": lambda ts, message: json.dumps({"ts": str(ts), "raw": message.decode()}).encode() + b"\n",
}


@pytest.mark.parametrize("venue", ["binance-spot", "auto"])
@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
@pytest.mark.parametrize("format", WRITERS)
def test_every_format(path: Path, format: str, pack: Callable[[bytes], bytes], venue: str) -> None:
    messages = lines("spot-mix")
    path.write_bytes(pack(b"".join(WRITERS[format](FIRST + i, message) for i, message in enumerate(messages))))
    table = execwire.read_capture(path, venue=venue)
    check(table, "binance-spot", messages)
    (report,) = table.reports
    assert (report.format, report.messages, report.is_whole) == (format.partition(",")[0], 200, True)
    assert report.compression == (None if pack is bytes else "gzip")
    assert report.records == {kind: len(table[kind]) for kind in core.KINDS if len(table[kind])}


@pytest.mark.parametrize("venue", ["binance-futures", "auto"])
def test_ndjson_has_no_time_of_receipt(path: Path, venue: str) -> None:
    messages = lines("futures-mix")
    path.write_bytes(b"\xef\xbb\xbf" + b"\r\n".join(messages))
    table = execwire.read_capture(path, venue=venue)
    for kind in ("order", "balance", "position"):
        want = [row | {"ts_recv": None} for row in expected("binance-futures", messages)[kind]]
        compare(by_numpy(table[kind]), want)


def test_one_message(path: Path) -> None:
    path.write_bytes(b'{\n "e": "balanceUpdate", "a": "BTC", "d": "1.5"\n}\n')
    table = execwire.read_capture(path, venue="binance-spot")
    assert table.balances["delta"].tolist() == [execwire.Decoder("binance-spot").decode(path.read_bytes())[0].delta]
    assert table.reports[0].format == "message"


def test_recorder_lines_and_binary_frames(path: Path) -> None:
    (frame,) = lines("gzip-frames", 1)
    path.write_bytes(
        b'1795000000 {"execwire":"connected"}\n1795000001 {"execwire":"frame","b64":"%s"}\n' % base64.b64encode(frame)
    )
    table = execwire.read_capture(path, venue="gzip-broker")
    assert (len(table.orders), table.reports[0].control_lines, table.reports[0].messages) == (1, 1, 1)


# ---- MARK: Venues ----


def test_mixed_venues_are_told_apart_as_the_detector_does() -> None:
    detector, counts = Detector(), dict.fromkeys(core.KINDS, 0)
    venues: dict[str, list[str]] = {kind: [] for kind in core.KINDS}
    with Capture(DEMO) as capture:
        for message in capture:
            for record in detector.decode(message.payload, message.ts_recv):
                counts[record.kind] += 1
                venues[record.kind].append(record.venue)
    table = execwire.read_capture(DEMO)
    assert {kind: len(table[kind]) for kind in core.KINDS} == counts
    for kind in core.KINDS:
        assert table[kind]["venue"].tolist() == venues[kind]
    assert len({venue for names in venues.values() for venue in names}) > 3


def test_venues_that_alternate(path: Path) -> None:
    spot, futures = lines("spot-mix"), lines("futures-mix")
    mixed = [message for pair in zip(spot, futures, strict=True) for message in pair]
    path.write_bytes(b"\n".join(mixed))
    table = execwire.read_capture(path)
    orders = table.orders["venue"].tolist()
    assert orders.count("binance-spot") == len(expected("binance-spot", spot)["order"])
    assert orders.count("binance-futures") == len(expected("binance-futures", futures)["order"])
    assert table.reports[0].messages == 400


def test_unknown_things_are_counted(path: Path) -> None:
    path.write_bytes(
        b'{"e":"balanceUpdate","a":"X","d":"1","zz":1}\n{"e":"noSuchEvent"}\n{"e":"executionReport","S":"HOLD","p":"1e9999"}'
    )
    decoder = Decoder("binance-spot")
    for line in path.read_bytes().splitlines():
        decoder.decode(line)
    report = execwire.read_capture(path, venue="binance-spot").reports[0]
    stats = decoder.stats
    assert (report.unknown_events, report.unknown_keys) == (stats.unknown_events, stats.unknown_keys) == (1, 1)
    assert (report.unknown_enums, report.unrepresentable) == (stats.unknown_enums, stats.unrepresentable) == (1, 1)


# ---- MARK: Errors and damage ----


@pytest.mark.parametrize("venue", ["binance-spot", "auto"])
def test_lines_that_fail_are_told_and_the_others_are_there(path: Path, venue: str) -> None:
    messages = lines("spot-mix", 50)
    text = stamped(messages).splitlines(keepends=True)
    bad = b'1795000000 {"e":"executionReport","i":}\r\n'
    nul = b"oops" + b"\0" * 300 + b"\n"
    path.write_bytes(b"".join([*text[:10], bad, b"\r\n", *text[10:30], nul, *text[30:]]))
    table = execwire.read_capture(path, venue=venue)
    kept = expected("binance-spot", messages, FIRST)
    for kind in core.KINDS:
        compare(by_numpy(table[kind]), kept[kind])
    (report,) = table.reports
    before = sum(map(len, text[:10]))
    assert (report.messages, report.failed, report.is_whole) == (52, 2, False)
    first, second = report.failures
    assert (first.line, first.offset) == (11, before + 38)
    assert first.where == f"{path}:11 (byte {before + 38})"
    begin = before + len(bad) + 2 + sum(map(len, text[10:30]))
    assert second.line == 33
    assert begin <= second.offset < begin + len(nul)


def test_failures_are_kept_up_to_a_number(path: Path) -> None:
    path.write_bytes(b'{"e":}\n' * 2500)
    (report,) = execwire.read_capture(path, venue="binance-spot", format="ndjson").reports
    assert (report.failed, len(report.failures), report.messages) == (2500, 1000, 2500)


@pytest.mark.parametrize("venue", ["binance-spot", "auto"])
def test_truncated_gzip(path: Path, venue: str) -> None:
    messages = lines("executionReport", 2000)
    packed = gzip.compress(stamped(messages))
    path.write_bytes(packed[: len(packed) // 2])
    table = execwire.read_capture(path, venue=venue)
    (report,) = table.reports
    assert (
        report.damage == f"truncated gzip data: the member that begins at byte 0 does not end (byte {len(packed) // 2})"
    )
    assert report.failed == 0
    assert 800 < len(table.orders) < 1200
    compare(by_numpy(table.orders), expected("binance-spot", messages[: len(table.orders)], FIRST)["order"])


def test_garbage_after_gzip_and_many_members(path: Path) -> None:
    messages = lines("executionReport", 60)
    text = stamped(messages)
    cuts = range(0, len(text), 1000)
    path.write_bytes(b"".join(gzip.compress(text[cut : cut + 1000]) for cut in cuts) + b"garbage")
    table = execwire.read_capture(path, venue="binance-spot")
    check(table, "binance-spot", messages)
    assert "garbage after the end of the gzip data" in str(table.reports[0].damage)


def test_a_recorder_that_crashed_and_went_on(path: Path) -> None:
    messages = lines("executionReport", 900)
    parts = [gzip.compress(stamped(messages[i : i + 300])) for i in (0, 300, 600)]
    path.write_bytes(parts[0][: len(parts[0]) // 2] + parts[1][: len(parts[1]) // 2] + parts[2])
    table = execwire.read_capture(path, venue="binance-spot")
    ids = table.orders["client_order_id"].tolist()
    want = [row["client_order_id"] for row in expected("binance-spot", messages)["order"]]
    assert ids[-300:] == want[600:]
    assert ids[:100] == want[:100]
    assert 500 < len(ids) < 700
    (report,) = table.reports
    assert str(report.damage).count(" (byte ") == 2
    assert report.failed <= 10  # lines that the crashes have cut off


def test_long_lines_and_clocks_that_go_back(path: Path) -> None:
    messages = lines("executionReport", 3)
    long = messages[1][:-1] + b',"zz":"' + b"x" * 3_000_000 + b'"}'
    path.write_bytes(b"1795000002 %s\n1795000001 %s\n1795000000 %s\n" % (messages[0], long, messages[2]))
    table = execwire.read_capture(path, venue="binance-spot")
    assert [int(ts.astype("i8")) // 10**9 for ts in table.orders["ts_recv"]] == [1795000002, 1795000001, 1795000000]
    assert table.orders["order_id"].tolist() == [row["order_id"] for row in expected("binance-spot", messages)["order"]]


def test_last_line_without_its_end(path: Path) -> None:
    messages = lines("executionReport", 5)
    path.write_bytes(stamped(messages)[:-1])
    check(execwire.read_capture(path, venue="binance-spot"), "binance-spot", messages)


# ---- MARK: Inputs ----


def test_folders_match_no_pattern(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_bytes(stamped(lines("executionReport", 5)))
    assert len(execwire.read_capture(f"{tmp_path}/f*", venue="binance-spot").orders) == 5


def test_patterns_lists_and_file_objects(tmp_path: Path) -> None:
    messages = lines("executionReport", 90)
    for i in range(3):
        (tmp_path / f"part-{i}").write_bytes(stamped(messages[30 * i : 30 * i + 30]))
    ids = [row["order_id"] for row in expected("binance-spot", messages)["order"]]
    files = [tmp_path / f"part-{i}" for i in range(3)]
    for source in (str(tmp_path / "part-*"), files, [io.BytesIO(file.read_bytes()) for file in files]):
        table = execwire.read_capture(source, venue="binance-spot")
        assert table.orders["order_id"].tolist() == ids
        assert [report.messages for report in table.reports] == [30, 30, 30]
    with pytest.raises(FileNotFoundError, match="no file matches"):
        execwire.read_capture(str(tmp_path / "none-*"))
    with pytest.raises(FileNotFoundError):
        execwire.read_capture(tmp_path / "none")
    with pytest.raises(execwire.VenueError):
        execwire.read_capture(files[0], venue="no-such-venue")
    for source in (b"part-0", [None]):
        with pytest.raises(TypeError, match="captures are paths or files"):
            execwire.read_capture(source)  # type: ignore[arg-type]


def test_empty_file(path: Path) -> None:
    path.touch()
    table = execwire.read_capture(path)
    assert len(table) == 0
    assert table.reports[0].messages == 0


def test_lines_without_a_stamp_are_the_recorders_own_where_all_messages_have_one(path: Path) -> None:
    messages = lines("spot-mix", 3)
    text = [b"1795000000.%d: %s\n" % (i, message) for i, message in enumerate(messages)]
    path.write_bytes(text[0] + messages[1] + b"\n" + text[1] + b"configuration: {}\n" + text[2])
    for venue, extra in (("binance-spot", False), ("binance-spot", True), ("auto", False)):
        for size in (40, 1 << 20):
            file = io.BufferedReader(Pieces(path.read_bytes(), size))  # type: ignore[arg-type]
            (report,) = execwire.read_capture(file, venue=venue, extra=extra, format="cryptofeed").reports
            assert (report.messages, report.control_lines) == (3, 2)


class Pieces(io.RawIOBase):
    """A file that comes in pieces."""

    def __init__(self, content: bytes, size: int) -> None:
        self.file, self.size = io.BytesIO(content), size

    def readable(self) -> bool:
        return True

    def readinto(self, room: Any) -> int:
        return self.file.readinto(room[: self.size])


def test_an_envelope_without_a_time(path: Path) -> None:
    path.write_bytes(
        b"".join(b'{"ts":%s,"msg":{"e":"balanceUpdate"}}\n' % ts for ts in (b'""', b'"x"', b"null", b"{}"))
    )
    table = execwire.read_capture(path, venue="binance-spot", format="envelope", ts_key="ts", payload_key="msg")
    assert table.balances["ts_recv"].astype("M8[ns]").astype(object).tolist() == [None] * 4


@pytest.mark.parametrize("scan", [False, True])
def test_so_much_extra_is_not_put_into_one_batch(path: Path, monkeypatch: pytest.MonkeyPatch, scan: bool) -> None:
    from execwire import columns

    monkeypatch.setattr(columns, "MOST_EXTRA", 1_000)
    texts = [json.dumps({"zz": "x" * i}, separators=(",", ":")) for i in range(100)]
    path.write_bytes(b"".join(b'{"e":"balanceUpdate",%s\n' % text[1:].encode() for text in texts))
    if scan:
        tables = list(execwire.scan_capture(path, venue="binance-spot", extra=True))
        assert len(tables) > 1
    else:
        tables = [execwire.read_capture(path, venue="binance-spot", extra=True)]
        assert len(tables[0].balances._parts) > 1
    assert [text for table in tables for text in table.balances["extra"].tolist()] == texts


def test_fills_have_extra_too(path: Path) -> None:
    path.write_bytes(
        b'{"e":"executionReport","x":"TRADE","X":"FILLED","l":"1","L":"2","zz":1}\n'
        b'{"e":"executionReport","x":"NEW","X":"NEW","zz":2}\n'
    )
    table = execwire.read_capture(path, venue="binance-spot", extra=True)
    assert table.fills()["extra"].tolist() == ['{"zz":1}']
    assert table.fills(distinct=False)["extra"].tolist() == ['{"zz":1}']


def test_extra_is_a_column_on_demand(path: Path) -> None:
    messages = lines("spot-mix", 100)
    path.write_bytes(stamped(messages))
    table = execwire.read_capture(path, venue="binance-spot", extra=True)
    decoder = Decoder("binance-spot")
    want: dict[str, list[Any]] = {kind: [] for kind in core.KINDS}
    for message in messages:
        for record in decoder.decode(message):
            want[record.kind].append(record.extra)
    for kind in ("order", "balance"):
        texts = table[kind]["extra"].tolist()
        assert [json.loads(text) if text else {} for text in texts] == want[kind]
    assert any(want["order"])
    assert "extra" not in execwire.read_capture(path, venue="binance-spot").orders.columns


@pytest.mark.parametrize("venue", ["binance-spot", "auto"])
def test_scanning_gives_the_same_in_parts(path: Path, venue: str) -> None:
    messages = lines("spot-mix", 3000)
    path.write_bytes(stamped(messages))
    tables = list(execwire.scan_capture(path, rows=500, venue=venue))
    assert len(tables) > 3
    want = expected("binance-spot", messages, FIRST)
    for kind in core.KINDS:
        compare([row for table in tables for row in by_numpy(table[kind])], want[kind])
    assert tables[-1].reports[0].messages == 3000


SCAN = """
import sys, execwire
rows = sum(len(table) for table in execwire.scan_capture(sys.argv[1], venue="binance-spot"))
assert rows == int(sys.argv[2]), rows
"""


def test_scanning_takes_bounded_memory(tmp_path: Path) -> None:
    block, peaks = b"\n".join(lines("executionReport", 1000)) + b"\n", []
    for blocks in (50, 300):
        path = tmp_path / str(blocks)
        path.write_bytes(block * blocks)
        peaks.append(peak_of(SCAN, path, str(blocks * 1000)))
    assert peaks[1] - peaks[0] < 30_000  # of 130 MB more


# ---- MARK: Threads ----


def odd_lines() -> list[bytes]:
    """Lines of every sort: good, bad, blank, the recorder's own, frames, texts longer than their fields."""
    frame = base64.b64encode(gzip.compress(lines("executionReport", 1)[0]))
    odd = [
        b'{"e":"executionReport","x":"NEW",',
        b"",
        b'{"execwire":"connected","message":"' + b"x" * 150 + b'"}',
        b'1795000000 {"execwire":"frame","b64":"%b"}' % frame,
        b'1795000000 {"execwire":"frame","b64":"%b"}' % base64.b64encode(b"\x1f\x8b no gzip"),
        b'1795000000 {"e":"executionReport","s":"%b","r":"%b"}' % (b"S" * 40, b"R" * 200),
        b"1795000000 {",
        b"\xfd7zXZ\0",  # not at the beginning, where it would name the packing
    ]
    found = []
    for i, message in enumerate(lines("spot-mix", 120)):
        found += [b"%d %b" % (FIRST + i, message), *odd[i % 16 : i % 16 + 1]]
    return found


def everything(table: execwire.EventTable) -> list[list[dict[str, Any]]]:
    return [by_numpy(table[kind]) for kind in core.KINDS]


@pytest.mark.parametrize("end", [b"\n", b"", b'\n1795000000 {"e":"balanceUpdate","a":"X","d":"1"}', b'\n{"e":'])
@pytest.mark.parametrize("format", ["hftbacktest", "ndjson"])
def test_several_threads_give_what_one_gives(path, monkeypatch, format, end):
    found = odd_lines()
    if format == "ndjson":
        found = [line.partition(b" ")[2] if line[:3] == b"179" else line for line in found]
    path.write_bytes(b"\n".join(found) + end)
    how = {"venue": "binance-spot", "format": format}
    want = execwire.read_capture(path, **how, threads=1)
    assert want.reports[0].failed > 20
    assert want.reports[0].control_lines > 5
    monkeypatch.setattr(batch, "PART", 1000)
    for threads in (2, 3, 16):
        table = execwire.read_capture(path, **how, threads=threads)
        assert table.reports == want.reports
        assert everything(table) == everything(want)


def test_threads_may_part_at_every_line(path, monkeypatch):
    found = odd_lines()[:40]
    path.write_bytes(b"\n".join(found) + b"\n")
    want = execwire.read_capture([path, path], venue="binance-spot", threads=1)
    monkeypatch.setattr(batch, "PART", 1)
    place = 0
    for line in found[:-1]:
        place += len(line) + 1
        monkeypatch.setattr(batch, "cut", lambda *_, place=place: [place])
        table = execwire.read_capture([path, path], venue="binance-spot", threads=2)
        assert table.reports == want.reports
        assert everything(table) == everything(want)


def test_where_files_are_cut(path):
    for text, parts, places in (
        (b"", 3, []), (b"abc", 3, []), (b"abc\n", 2, []), (b"abc\nd", 2, [4]), (b"a\nb\nc\nd\n", 4, [4, 6]),
        (b"a" * 200_000 + b"\nb\n", 3, [200_001]),
    ):  # fmt: skip
        path.write_bytes(text)
        assert cut(path, parts) == places


def test_a_thread_that_fails_ends_the_others(path, monkeypatch):
    path.write_bytes(stamped(lines("executionReport", 2000)))
    monkeypatch.setattr(batch, "PART", 1 << 17)

    class Endless(Part):
        def readinto1(self, room: memoryview) -> int:
            if not self._left:
                self._left = self._file.tell()
                self._file.seek(0)
            return super().readinto1(room)

    def opened(path: Path, begin: int, end: int | None) -> Part:
        if begin:
            raise OSError(24, "too many open files")
        return Endless(path, begin, end)

    monkeypatch.setattr(batch, "Part", opened)
    with pytest.raises(OSError, match="too many open files"):
        execwire.read_capture(path, venue="binance-spot", threads=4)
    assert not any(one.name.startswith("execwire-reader") for one in threading.enumerate())


# ---- MARK: Memory ----


def test_what_somebody_holds_is_not_used_again(path):
    """Batches take the memory of others that are gone, whatever form those left in that are not."""
    pl, pa = pytest.importorskip("polars"), pytest.importorskip("pyarrow")
    path.write_bytes(b"\n".join(lines("spot-mix", 10000) * 5) + b"\n")
    whole = execwire.read_capture(path, venue="binance-spot")
    want = {kind: pl.DataFrame(whole[kind].using(scale=18)) for kind in core.KINDS}
    seen = dict.fromkeys(core.KINDS, 0)
    places = set[int]()
    again = 0
    held: list[tuple[str, int, Any]] = []
    for number, tables in enumerate(execwire.scan_capture(path, venue="binance-spot", rows=10000)):
        for kind in core.KINDS:
            table = tables[kind].using(scale=18)
            column = next((part.columns["ts_event"].values for part in table._parts), None)
            if column is not None:
                again += column.ctypes.data >> 21 in places  # memory comes in pieces of 2 MiB
                places.add(column.ctypes.data >> 21)
            if len(table) and number % 3 != 2:
                made = pa.table(table) if number % 3 else pl.DataFrame(table)
                held.append((kind, seen[kind], made))
                held.append((kind, seen[kind], table["ts_event"]))
            seen[kind] += len(table)
        del tables, table, column
    assert again
    assert seen == {kind: len(frame) for kind, frame in want.items()}
    assert sum(seen.values()) > 10000
    for kind, begin, made in held:
        if isinstance(made, pl.DataFrame | pa.Table):
            frame = made if isinstance(made, pl.DataFrame) else pl.DataFrame(made)
            assert frame.cast(want[kind].schema).equals(want[kind][begin : begin + len(frame)])
        else:
            assert (made == want[kind]["ts_event"][begin : begin + len(made)].to_numpy()).all()


def test_tables_have_rows(tmp_path):
    for rows in (0, -1):
        with pytest.raises(ValueError, match="rows is at least 1"):
            next(execwire.scan_capture(tmp_path / "none", rows=rows))


def test_a_scan_that_is_given_up_leaves_no_thread(tmp_path):
    path = tmp_path / "capture.gz"
    path.write_bytes(gzip.compress(b"\n".join(lines("executionReport", 9000) * 2)))
    scan = execwire.scan_capture(path, venue="binance-spot", rows=100)
    next(scan)
    assert any(one.name == "execwire-inflater" for one in threading.enumerate())
    scan.close()
    assert not any(one.name == "execwire-inflater" for one in threading.enumerate())
