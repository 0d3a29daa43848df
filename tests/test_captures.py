"""Captures: formats, compression, and everything that goes wrong with files."""

from __future__ import annotations

import base64
import collections
import gzip
import io
import json
import os
import random
import sys
import threading
import tracemalloc
import zlib
from typing import TYPE_CHECKING

import pytest
from zlib_ng import zlib_ng

from execwire import core
from execwire.captures import Capture, CaptureError, Message, Position, sniff

if TYPE_CHECKING:
    from pathlib import Path

LINE = b'1795000000123456789 {"e":"balanceUpdate","d":"1"}\n'


def read(path: Path, data: bytes, format: str = "auto") -> list[Message]:
    path.write_bytes(data)
    with Capture(path, format) as capture:
        return list(capture)


def read_damaged(path: Path, data: bytes, format: str = "auto") -> tuple[list[Message], CaptureError]:
    path.write_bytes(data)
    messages: list[Message] = []
    with Capture(path, format) as capture, pytest.raises(CaptureError) as caught:
        collections.deque(map(messages.append, capture), maxlen=0)
    return messages, caught.value


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "capture"


# ==== Formats ====


def test_hftbacktest_lines(path: Path) -> None:
    data = b'1795000000123456789 {"a":1}\n1795000000123456790 pong\n'
    assert read(path, data) == [
        Message(Position(1, 20), 1795000000123456789, b'{"a":1}'),
        Message(Position(2, 48), 1795000000123456790, b"pong"),
    ]


@pytest.mark.parametrize(
    ("stamp", "ns"),
    [
        (b"1795000000", 1795000000_000000000),
        (b"1795000000123", 1795000000_123000000),
        (b"1795000000123456", 1795000000_123456000),
        (b"1795000000123456789", 1795000000_123456789),
    ],
)
def test_unit_of_a_stamp(path: Path, stamp: bytes, ns: int) -> None:
    (message,) = read(path, stamp + b' {"a":1}\n')
    assert (message.ts_recv, message.payload) == (ns, b'{"a":1}')


def test_units_may_change_between_lines(path: Path) -> None:
    messages = read(path, b"1795000000 pong\n1795000000123 pong\n")
    assert [message.ts_recv for message in messages] == [1795000000_000000000, 1795000000_123000000]


@pytest.mark.parametrize("line", [b'{"a":2}', b"12345 pong", b'9999999999999999999 {"a":1}', b'half":1}'])
def test_line_without_a_stamp_is_delivered_whole(path: Path, line: bytes) -> None:
    assert read(path, LINE + line + b"\n", "hftbacktest")[1] == Message(Position(2, len(LINE)), 0, line)


def test_clocks_may_go_back(path: Path) -> None:
    assert [m.ts_recv for m in read(path, b"1795000001 a\n1795000000 b\n")] == [1795000001 * 10**9, 1795000000 * 10**9]


def test_ndjson(path: Path) -> None:
    assert read(path, b'{"a":1}\n[{"b":2}]\npong') == [
        Message(Position(1, 0), 0, b'{"a":1}'),
        Message(Position(2, 8), 0, b'[{"b":2}]'),
        Message(Position(3, 18), 0, b"pong"),
    ]


def test_message(path: Path) -> None:
    document = b'{\n  "a": 1\n}\n'
    assert read(path, document) == [Message(Position(1, 0), 0, document)]
    assert read(path, b'{"a":1}\n{"a":2}\n', "message")[0].payload == b'{"a":1}\n{"a":2}\n'


@pytest.mark.parametrize(
    ("head", "format"),
    [
        (b'{"a":1}\n{"a":2}\n', "ndjson"),
        (b'{"a":1}', "ndjson"),
        (b"[]\n", "ndjson"),
        (b"connect success\n", "ndjson"),
        (b"", "ndjson"),
        (b'\n\r\n\xef\xbb\xbf{"a":1}', "ndjson"),
        (b'{"a":\n{"a":2}\n', "ndjson"),  # its first line is damaged
        (b"{\n", "message"),
        (b'[\n{"a":1}\n]\n', "message"),
        (b'{"a": 1,\n "b": {"c": 2}\n}\n', "message"),
        (b'{ // a comment\n "a": 1 }\n', "message"),
        (b"\x1a\x01\x5b\x02\x03\x00\x05\x00", "message"),
        (b"\x1f\x8b\x08\x00", "message"),
        (b"1795000000 pong\n", "hftbacktest"),
        (b"\xef\xbb\xbf1795000000123456789 {}\n", "hftbacktest"),
        (b"\r\n\n1795000000123 {}\r\n", "hftbacktest"),
        (b"179500000012 {}\n", "ndjson"),
    ],
)
def test_sniff(head: bytes, format: str) -> None:
    assert sniff(head) == format


def test_says_what_it_detected(path: Path) -> None:
    path.write_bytes(gzip.compress(LINE))
    with Capture(path) as capture:
        assert capture.format is None
        list(capture)
        assert (capture.format, capture.compression) == ("hftbacktest", "gzip")


def test_a_given_format_is_kept(path: Path) -> None:
    assert read(path, LINE, "ndjson")[0].payload == LINE[:-1]
    with pytest.raises(ValueError, match="unknown capture format 'csv'; known: auto, message, ndjson, hftbacktest"):
        Capture(path, "csv")


# ==== Lines ====


def test_line_ends_and_empty_lines(path: Path) -> None:
    assert read(path, b'\xef\xbb\xbf{"a":1}\r\n\r\n\n   \n{"a":2}\r') == [
        Message(Position(1, 3), 0, b'{"a":1}'),
        Message(Position(5, 19), 0, b'{"a":2}'),
    ]


def test_bom_before_a_stamp(path: Path) -> None:
    assert read(path, b"\xef\xbb\xbf1795000000 pong") == [Message(Position(1, 14), 1795000000 * 10**9, b"pong")]


def test_nul_bytes_stay_in_their_line(path: Path) -> None:
    messages = read(path, b'{"a":1}\n' + b"\0" * 5000 + b'\n{"a":\0}\n{"a":2}\n')
    assert [m.payload for m in messages] == [b'{"a":1}', b"\0" * 5000, b'{"a":\0}', b'{"a":2}']


@pytest.mark.parametrize("size", [255 << 10, (256 << 10) - 8, 256 << 10, 3_000_000])
def test_long_lines(path: Path, size: int) -> None:
    long = b'{"a":"' + b"x" * size + b'"}'
    messages = read(path, b'{"b":1}\n' + long + b'\r\n{"c":1}\n')
    assert [m.payload for m in messages] == [b'{"b":1}', long, b'{"c":1}']
    assert messages[2].position == Position(3, 8 + len(long) + 2)


def test_first_line_longer_than_what_is_looked_at(path: Path) -> None:
    long = b'{"a":"' + b"x" * 2_000_000 + b'"}'
    assert [m.payload for m in read(path, long + b"\n{}\n")] == [long, b"{}"]


def test_a_line_beyond_every_limit_is_cut_and_the_next_one_comes(path: Path) -> None:
    with path.open("wb") as file:
        file.write(b'{"a":1}\n')
        file.seek(300 << 20)  # a hole of NUL bytes
        file.write(b'\n{"a":2}\n')
    with Capture(path) as capture:
        first, hole, last = capture
    assert (first.payload, last) == (b'{"a":1}', Message(Position(3, (300 << 20) + 1), 0, b'{"a":2}'))
    assert len(hole.payload) == (256 << 20) + 1  # one more than a decoder takes


def test_memory_is_bounded_by_the_line(path: Path) -> None:
    with gzip.open(path, "wb", 1) as file:
        for _ in range(50):
            file.write((LINE[:-1] + b" " * 100_000 + b"\n") * 20)
    tracemalloc.start()
    with Capture(path) as capture:
        assert sum(1 for _ in capture) == 1000
    assert tracemalloc.get_traced_memory()[1] < 8 << 20  # of 100 MB
    tracemalloc.stop()


# ==== Recorder lines ====


def test_control_lines_are_skipped_and_counted(path: Path) -> None:
    path.write_bytes(b'1795000000 {"execwire":"connected","dialect":"bitget"}\n1795000001 pong\n')
    with Capture(path) as capture:
        assert list(capture) == [Message(Position(2, 66), 1795000001 * 10**9, b"pong")]
        assert capture.control_lines == 1


def test_binary_frames(path: Path) -> None:
    frame = b"\x1f\x8b\x08\x00binary\n\x00"
    line = b'1795000000 {"execwire":"frame","b64":"' + base64.b64encode(frame) + b'"}\n'
    (message,) = read(path, line)
    assert message == Message(Position(1, 11, framed=True, binary=True), 1795000000 * 10**9, frame)


@pytest.mark.parametrize("line", [b'{"execwire":"frame","b64":"H4s"}', b'{"execwire":"frame"}', b'{"execwire":'])
def test_damaged_recorder_lines_are_delivered_for_the_decoder_to_refuse(path: Path, line: bytes) -> None:
    assert [m.payload for m in read(path, LINE + b"1795000000 " + line, "hftbacktest")][1] == line


# ==== More formats ====

ISO = b"2026-11-18T10:26:40.0000001Z "


@pytest.mark.parametrize(
    ("line", "format", "ns"),
    [
        (ISO + b'{"a":1}', "tardis", 1794997600_000000100),
        (b'1795000000.25 {"a":1}', "websocat", 1795000000_250000000),
        (b'12.5 {"a":1}', "websocat", 0),  # seconds since the recorder began
        (b'1795000000.123457: {"a":1}', "cryptofeed", 1795000000_123457000),
        (b'{"ts":1795000000123,"msg":{"a":1}}', "envelope", 1795000000_123000000),
        (b'{"data":"{\\"a\\":1}","time":"2026-11-18T10:26:40Z","n":7}', "envelope", 1794997600_000000000),
    ],
)
def test_formats_of_lines(path: Path, line: bytes, format: str, ns: int) -> None:
    path.write_bytes(line + b"\n\r\n" + line)
    with Capture(path) as capture:
        messages = list(capture)
        assert (capture.format, capture.blank_lines) == (format, 1)
    assert [(m.ts_recv, m.payload, m.position.line) for m in messages] == [(ns, b'{"a":1}', 1), (ns, b'{"a":1}', 3)]


def test_tardis_blank_lines_are_disconnections(path: Path) -> None:
    path.write_bytes(ISO + b"{}\n\n" + ISO + b"{}\n\n")
    with Capture(path) as capture:
        assert len(list(capture)) == 2
        assert capture.blank_lines == 2


def test_cryptofeed_comments_and_frames(path: Path) -> None:
    path.write_bytes(
        b'configuration: {"a": 1}\nwss://stream.example/ws <-> 1795000000.1\n1795000000.2: {"a":1}\n'
        b"wss://stream.example/ws <- 1795000000.3: {}\n1795000000.4: b'\\x1f\\x8b\\n'\n1795000000.5: b'\n"
    )
    with Capture(path) as capture:
        messages = list(capture)
        assert (capture.format, capture.control_lines) == ("cryptofeed", 3)
    assert [m.payload for m in messages] == [b'{"a":1}', b"\x1f\x8b\n", b"b'"]
    assert [m.position.framed for m in messages] == [False, True, False]


def test_a_capture_without_a_line_of_cryptofeed_is_none(path: Path) -> None:
    messages, damage = read_damaged(path, b'\n{"a":1}\n{"a":2}', "cryptofeed")
    assert (messages, str(damage)) == ([], "no line of it is of the format cryptofeed, from line 2 on (byte 1)")
    assert read(path, b"wss://stream.example/ws <-> 1795000000.1", "cryptofeed") == read(path, b"", "cryptofeed") == []
    # Behind as much as is looked at in the beginning.
    late = read(path, b'{"a":1}\n' * 100_000 + b'1795000000.2: {"a":2}\n', "cryptofeed")
    assert [message.payload for message in late] == [b'{"a":2}']


def test_envelope_keys_can_be_given(path: Path) -> None:
    path.write_bytes(b'{"at":1795000000,"what":{"a":[1.50,2]},"more":{"b":1}}\n{"what":"pong"}\n{"oops":1}\n')
    with Capture(path, ts_key="at", payload_key="what") as capture:
        first, second, third = capture
        assert capture.format == "envelope"
    assert first == Message(Position(1, 24), 1795000000 * 10**9, b'{"a":[1.50,2]}')  # not a byte is changed
    assert (second.ts_recv, second.payload) == (0, b"pong")
    assert third.payload == b'{"oops":1}'  # for the decoder to refuse or to know


@pytest.mark.parametrize("time", [b"1.790000000123456e+18", b"179500000012", b"-1", b'"soon"', b"{}"])
def test_a_time_that_is_none_costs_no_payload(path: Path, time: bytes) -> None:
    line = b'{"ts":1795000000,"msg":{"a":1}}\n{"ts":%s,"msg":{"a":2}}\n' % time
    assert [(m.ts_recv, m.payload) for m in read(path, line)] == [
        (1795000000 * 10**9, b'{"a":1}'),
        (0, b'{"a":2}'),
    ]


@pytest.mark.parametrize(
    "line",
    [
        b'{"stream":"k","data":{"e":"x"}}',
        b'{"action":"snapshot","arg":{"channel":"orders"},"data":[{}],"ts":1795000000000}',
        b'{"ts":1795000000000,"data":{"a":1}}',
        b'{"event":"error","code":"1","msg":"no","ts":1}',
    ],
)
def test_what_exchanges_send_is_no_envelope(path: Path, line: bytes) -> None:
    assert [m.payload for m in read(path, line + b"\n")] == [line]


def test_har(path: Path) -> None:
    frames = [
        {"type": "send", "time": 1795000000.1, "opcode": 1, "data": "{}"},
        {"type": "receive", "time": 1795000000.25, "opcode": 1, "data": '{"a":"€"}'},
        {"type": "receive", "time": 1795000001, "opcode": 2, "data": base64.b64encode(b"\x1f\x8b").decode()},
    ]
    document = json.dumps({"log": {"entries": [{"request": {}}, {"_webSocketMessages": frames}]}}, indent=1).encode()
    path.write_bytes(document)
    with Capture(path) as capture:
        messages = list(capture)
        assert (capture.format, capture.control_lines) == ("har", 1)
    assert [(m.ts_recv, m.payload) for m in messages] == [
        (1795000000_250000000, '{"a":"€"}'.encode()),
        (1795000001_000000000, b"\x1f\x8b"),
    ]
    _, damage = read_damaged(path, document[:-20], "har")
    assert str(damage).startswith("not a HAR archive: unexpected end of data: line ")
    broken = json.dumps({"log": {"entries": [{"_webSocketMessages": [frames[1], {"type": "receive"}]}]}}).encode()
    messages, damage = read_damaged(path, broken)
    assert (len(messages), str(damage)) == (1, "message 2 of the archive is damaged")


def test_odd_entries_of_a_har_cost_nothing_else(path: Path) -> None:
    frame = {"type": "receive", "time": 1795000000.25, "opcode": 1, "data": "{}"}
    frames = [
        *(frame | {"time": time} for time in (1e30, 1795000000250, -1, "soon", None, "NaN", "Infinity", "1e999990")),
        *({}, None, frame | {"data": None}, frame | {"opcode": 2, "data": "***"}),
        frame,
    ]
    entries = [None, {"_webSocketMessages": None}, {"_webSocketMessages": {}}, {"_webSocketMessages": frames}]
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps({"log": {"entries": entries}}).encode())
    with Capture(path) as capture, pytest.raises(CaptureError):
        collections.deque(capture, maxlen=0)
    assert [str(one) for one in capture.damages] == [
        f"message {number} of the archive is damaged" for number in (9, 10, 11, 12)
    ]
    messages, _ = read_damaged(path, path.read_bytes())
    assert [(m.ts_recv, m.payload) for m in messages] == [(0, b"{}")] * 8 + [(1795000000_250000000, b"{}")]


def test_file_objects(path: Path) -> None:
    for file in (io.BytesIO(LINE * 2), io.BytesIO(gzip.compress(LINE * 2))):
        with Capture(file) as capture:
            assert len(list(capture)) == 2
        assert not file.closed
    path.write_bytes(LINE)
    with path.open("rb", buffering=0) as raw, Capture(raw) as capture:
        assert (capture.name, len(list(capture))) == (str(path), 1)


@pytest.mark.parametrize("line", [b"b''" + b"-" * 20_000 + b"1", b"b''" + b"+1" * 20_000, b'b"a" b"b"', b"b'\\xff"])
def test_what_begins_like_bytes_of_python(path: Path, line: bytes) -> None:
    """It is what the line says, unless it is one such literal; adjacent ones are one."""
    messages = read(path, line + b'\n{"a":1}\n', "ndjson")
    assert [m.payload for m in messages] == [b"ab" if b" " in line else line, b'{"a":1}']


# ==== zstd ====


def test_zstd(path: Path) -> None:
    zstandard = pytest.importorskip("zstandard")
    pack = zstandard.ZstdCompressor().compress
    noise = b"".join(b'1795000000 {"a":"%s"}\n' % base64.b64encode(os.urandom(30)) for _ in range(3000))
    path.write_bytes(pack(LINE) + pack(LINE[:17]) + pack(LINE[17:] + noise))
    with Capture(path) as capture:
        assert len(list(capture)) == 3002
        assert (capture.format, capture.compression) == ("hftbacktest", "zstd")

    whole = pack(noise)
    messages, damage = read_damaged(path, pack(LINE) + whole[: len(whole) // 2])
    lines = noise.splitlines()
    assert [m.payload for m in messages[1:]] == [line[11:] for line in lines[: len(messages) - 1]]
    assert damage.message == f"truncated zstd data: the frame that begins at byte {len(pack(LINE))} does not end"
    messages, damage = read_damaged(path, pack(LINE * 2) + b"garbage")
    assert (len(messages), damage.message) == (2, "garbage after the end of the zstd data")
    assert damage.offset == len(pack(LINE * 2))


def test_zstd_frames_without_text(path: Path) -> None:
    """Tools that pack in parallel, or so that one can seek, put them before, between and behind the others."""
    zstandard = pytest.importorskip("zstandard")
    frame = zstandard.ZstdCompressor().compress(LINE * 3)
    skippable = b"\x50\x2a\x4d\x18\x04\0\0\0abcd"
    whole = skippable + frame + skippable + b"\x5e\x2a\x4d\x18\0\0\0\0" + frame + skippable
    path.write_bytes(whole)
    with Capture(path) as capture:
        assert [m.payload for m in capture] == [LINE[20:-1]] * 6
        assert capture.compression == "zstd"
    cut = len(skippable) + len(frame) // 2
    messages, damage = read_damaged(path, whole[:cut] + whole[len(skippable) + len(frame) :])
    assert len(messages) == 3
    assert damage.offset is not None


@pytest.mark.parametrize(
    ("head", "name"),
    [(b"\xfd7zXZ\0", "xz"), (b"BZh91AY", "bzip2"), (b"PK\3\4\x14", "zip"), (b"\x04\x22\x4d\x18d", "lz4")],
)
def test_packings_that_are_not_read_are_named(path: Path, head: bytes, name: str) -> None:
    messages, damage = read_damaged(path, head + bytes(100))
    assert not messages
    assert str(damage) == f"this is {name} data; unpack it first (byte 0)"


def test_zstd_frames_behind_damage_are_found(path: Path) -> None:
    zstandard = pytest.importorskip("zstandard")
    pack = zstandard.ZstdCompressor(write_checksum=True).compress
    first, last = noise(3000), noise(50)
    whole = pack(first)
    for damaged in (whole[: len(whole) // 2], whole + b"garbage"):
        messages, _ = read_damaged(path, pack(LINE) + damaged + pack(last) + pack(LINE), "hftbacktest")
        payloads = [m.payload for m in messages]
        assert payloads[0] == payloads[-1] == LINE[20:-1]
        assert payloads[-51:-1] == [line[11:] for line in last.splitlines()]


def test_zstd_frames_that_are_skipped_are_not_kept(path: Path) -> None:
    """Tables of contents are such frames, and may be large."""
    zstandard = pytest.importorskip("zstandard")
    frame = zstandard.ZstdCompressor().compress(LINE)
    skipped = b"\x50\x2a\x4d\x18" + (12 << 20).to_bytes(4, "little") + bytes(12 << 20)
    path.write_bytes(frame + skipped + frame + skipped[: 8 << 20])
    tracemalloc.start()
    with Capture(path) as capture, pytest.raises(CaptureError, match="truncated zstd data"):
        for _ in capture:
            pass
    assert tracemalloc.get_traced_memory()[1] < 6 << 20
    tracemalloc.stop()
    assert len(read_damaged(path, path.read_bytes())[0]) == 2


def test_zstd_with_a_long_window(path: Path) -> None:
    zstandard = pytest.importorskip("zstandard")
    long = zstandard.ZstdCompressionParameters(window_log=28, enable_ldm=True)
    packer = zstandard.ZstdCompressor(compression_params=long).compressobj()
    assert len(read(path, packer.compress(LINE * 3) + packer.flush())) == 3


def test_zstd_needs_its_library(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "zstandard", None)
    _, damage = read_damaged(path, b"\x28\xb5\x2f\xfd" + bytes(20))
    assert str(damage) == "reading .zst needs zstandard: pip install 'execwire[zstd]'"


# ==== gzip ====

both_inflaters = pytest.mark.usefixtures("inflater")


@both_inflaters
def test_gzip_of_many_members(path: Path) -> None:
    data = b"".join(gzip.compress(LINE.replace(b"789", b"%03d" % i)) for i in range(300))
    messages = read(path, data + b"\0" * 700)  # and padding
    assert [m.ts_recv for m in messages] == [1795000000123456000 + i for i in range(300)]
    assert messages[-1].position == Position(300, 299 * len(LINE) + 20)


@both_inflaters
def test_line_over_two_members(path: Path) -> None:
    assert len(read(path, gzip.compress(LINE + LINE[:17]) + gzip.compress(LINE[17:]))) == 2


@both_inflaters
def test_truncated_gzip_delivers_what_is_there(path: Path) -> None:
    first, second = gzip.compress(LINE * 3), gzip.compress(LINE * 2)
    for cut in (1, 5, 8):  # within the trailer: no line is lost
        messages, damage = read_damaged(path, (first + second)[:-cut])
        assert len(messages) == 5
        assert damage.message == f"truncated gzip data: the member that begins at byte {len(first)} does not end"
        assert damage.offset == len(first) + len(second) - cut
    messages, _ = read_damaged(path, first + second[:12])
    assert len(messages) == 3


@both_inflaters
def test_line_cut_by_truncation_is_not_delivered(path: Path) -> None:
    noise = b"".join(b'1795000000 {"a":"%s"}\n' % base64.b64encode(os.urandom(30)) for _ in range(3000))
    data = gzip.compress(noise)
    messages, damage = read_damaged(path, data[: len(data) // 2])
    lines = noise.splitlines()
    assert 1000 < len(messages) < 2000
    assert [m.payload for m in messages] == [line[11:] for line in lines[: len(messages)]]
    assert damage.offset == len(data) // 2


@both_inflaters
def test_last_line_without_its_end_is_delivered_if_it_is_whole(path: Path) -> None:
    data = gzip.compress(LINE + LINE[:-1])
    messages, _ = read_damaged(path, data[:-4])
    assert len(messages) == 2


@both_inflaters
def test_garbage_after_the_end(path: Path) -> None:
    good = gzip.compress(LINE * 2)
    messages, damage = read_damaged(path, good + b"\0\0garbage")
    assert len(messages) == 2
    assert (damage.message, damage.offset) == ("garbage after the end of the gzip data", len(good) + 2)


@both_inflaters
def test_corrupt_gzip_delivers_every_line_before_the_damage(path: Path) -> None:
    member = zlib.compressobj(wbits=31)
    good = gzip.compress(LINE * 2) + member.compress(LINE * 1000) + member.flush(zlib.Z_FULL_FLUSH)
    messages, damage = read_damaged(path, good + b"\x07" * 1000)  # no such type of block
    assert [m.payload for m in messages] == [LINE[20:-1]] * 1002
    assert (damage.message, damage.offset) == ("corrupt gzip data", len(good))


def noise(count: int) -> bytes:
    return b"".join(b'1795000000 {"a":"%s"}\n' % base64.b64encode(os.urandom(30)) for _ in range(count))


@both_inflaters
@pytest.mark.parametrize("size", [1, 3, 40, 5000])
@pytest.mark.parametrize("cut", [3, 12, 500, 20_000])
def test_members_behind_a_truncated_one_are_found(path: Path, size: int, cut: int) -> None:
    first, second = noise(3000), noise(size)
    packed = gzip.compress(first)
    messages, damage = read_damaged(path, packed[:cut] + gzip.compress(second) + gzip.compress(LINE), "hftbacktest")
    payloads = [m.payload for m in messages]
    behind = [line[11:] for line in second.splitlines()] + [LINE[20:-1]]
    assert payloads[-len(behind) :] == behind
    before = [line[11:] for line in first.splitlines()]
    # All of the first member up to the cut; behind it the line that the cut has spoilt, and what garbage looks like.
    kept = payloads[: -len(behind)]
    same = sum(1 for got, want in zip(kept, before, strict=False) if got == want)
    assert len(kept) - same <= 5
    assert same > (cut - 200) / 70
    assert damage.offset is not None
    assert damage.offset <= cut


@both_inflaters
def test_members_behind_garbage_are_found(path: Path) -> None:
    good = gzip.compress(LINE * 2)
    garbage = os.urandom(300_000).replace(b"\x1f\x8b\x08", b"")
    path.write_bytes(good + b"x" + garbage + good + b"\x1f\x8b\x08 is not always a member" + good)
    messages: list[Message] = []
    with Capture(path) as capture, pytest.raises(CaptureError):
        collections.deque(map(messages.append, capture), maxlen=0)
    assert [m.payload for m in messages] == [LINE[20:-1]] * 6
    second = len(good) + 1 + len(garbage) + len(good)
    assert [one.offset for one in capture.damages] == [len(good), second + 3]


@both_inflaters
def test_a_flipped_byte_costs_one_member(path: Path) -> None:
    parts = [noise(200) for _ in range(20)]
    members = [bytearray(gzip.compress(part)) for part in parts]
    members[7][len(members[7]) // 2] ^= 0xFF
    messages, damage = read_damaged(path, b"".join(members))
    payloads = {m.payload for m in messages}
    whole = [line[11:] for i, part in enumerate(parts) if i != 7 for line in part.splitlines()]
    assert payloads.issuperset(whole)
    assert sum(map(len, members[:7])) < (damage.offset or 0) <= sum(map(len, members[:8]))


@both_inflaters
def test_wrong_checksum_is_damage(path: Path) -> None:
    data = bytearray(gzip.compress(LINE))
    data[-6] ^= 1
    messages, damage = read_damaged(path, bytes(data))
    assert (len(messages), damage.message) == (1, "corrupt gzip data")


def test_both_inflaters_do_the_same() -> None:
    chance = random.Random("inflaters")
    text = noise(2000) + bytes(300_000) + LINE * 2000
    packed = gzip.compress(text) + b"what follows"
    for damaged in (False, False, True, True):
        data = bytearray(packed)
        if damaged:
            data[chance.randrange(2000, len(data) // 2)] ^= 0x10
        members = [core.gzip_member(), zlib_ng.decompressobj(31)]
        assert type(members[0]) is not type(members[1])
        given, left, failed = b"", b"", False
        while (data or left) and not (failed or members[0].eof):
            n, most = chance.choice([1, 7, 300, 40_000]), chance.choice([0, 1, 5000, 1 << 19])
            piece = left + bytes(data[:n])
            del data[:n]
            if chance.random() < 0.2:
                members = [member.copy() for member in members]
            outs: list[bytes | None] = []
            for member in members:
                try:
                    outs.append(member.decompress(piece, most))
                except zlib_ng.error:  # type: ignore[misc]  # its stubs make it an instance
                    outs.append(None)
            ours, theirs = members
            assert outs[0] == outs[1]
            failed = outs[0] is None
            given += outs[0] or b""
            if not failed:
                assert (ours.eof, ours.unused_data) == (theirs.eof, theirs.unused_data)
                left = ours.unconsumed_tail
                assert ours.eof or left == theirs.unconsumed_tail  # which keeps what has become unused data
        if not failed:
            given += members[0].flush()
            assert members[0].unused_data + bytes(data) == b"what follows"
            assert given == text
        assert failed == damaged


def test_a_gzip_frame_is_a_message(path: Path) -> None:
    frame = gzip.compress(b'{\n"channel": "SYSTEM"\n}')
    (message,) = read(path, frame, "message")
    assert message.payload == b'{\n"channel": "SYSTEM"\n}'
    (message,) = read(path, gzip.compress(frame))  # packed once more: the decoder takes the frame
    assert message.payload == frame


def test_a_cut_document_is_not_delivered(path: Path) -> None:
    messages, damage = read_damaged(path, gzip.compress(b'{\n"a": [1, 2, 3]\n}')[:-12], "message")
    assert messages == []
    assert damage.message == "truncated gzip data: the member that begins at byte 0 does not end"


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be"])
@pytest.mark.parametrize("text", ['{"a":1}\n', "{}", '\r\n{\n"a": "\N{EURO SIGN}"}', "1795000000123 pong\n"])
def test_wide_text_is_refused(path: Path, encoding: str, text: str) -> None:
    told = f"this is {encoding[:6].upper()} text; convert it to UTF-8 first (byte 0)"
    for data in (text.encode(encoding), gzip.compress(text.encode(encoding))):
        for given in ("auto", "ndjson"):
            messages, damage = read_damaged(path, data, given)
            assert (messages, str(damage)) == ([], told)


@pytest.mark.parametrize("frame", [b"\x1a\0\x32\0\3\0\0\0BTC", b"\x7e\0\x30\0\1\0\2\0" + bytes(9), b"{\0", b"\0\0"])
def test_what_is_no_wide_text(path: Path, frame: bytes) -> None:
    assert [message.payload for message in read(path, frame)] == [frame]


# ==== Streams and positions ====


def test_missing_file(path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Capture(path)


def test_empty_file(path: Path) -> None:
    assert read(path, b"") == []


def test_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(gzip.compress(LINE))))
    with Capture("-") as capture:
        assert capture.name == "<stdin>"
        assert len(list(capture)) == 1
    assert not sys.stdin.closed


def test_a_pipe_delivers_lines_as_they_come(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    seen = threading.Event()

    def feed() -> None:
        with pipe.open("wb", buffering=0) as file:
            file.write(b'{"a":1}\n{"a":2}\n{"a"')
            assert seen.wait(30)  # the reader has both lines while the pipe is still open
            file.write(b":3}\n")

    writer = threading.Thread(target=feed)
    writer.start()
    with Capture(pipe) as capture:
        assert [next(capture).payload, next(capture).payload] == [b'{"a":1}', b'{"a":2}']
        seen.set()
        assert [m.payload for m in capture] == [b'{"a":3}']
    writer.join()


def test_locate(path: Path) -> None:
    path.write_bytes(b'1795000000 {"a":1}\n')
    with Capture(path) as capture:
        (message,) = capture
        assert capture.locate(message) == f"{path}:1 (byte 11)"
        assert capture.locate(message, 5) == f"{path}:1 (byte 16)"
        document = Message(Position(1, 0), 0, b'{\n"a":\nx}')
        assert capture.locate(document, 7) == f"{path}:3 (byte 7)"
        frame = Message(Position(4, 90, framed=True, binary=True), 0, b"\x1f\x8b\n\n")
        assert capture.locate(frame, 3) == f"{path}:4 (byte 90, byte 3 of the frame)"
