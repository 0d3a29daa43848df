"""Captures of a stream: files of recorded payloads, read in bounded memory.

A capture is opened, unpacked (by its magic bytes), told by its first bytes (`auto`) and split into messages. Formats
are entries of `FORMATS`, compressions entries of `_UNPACKERS`; both are told from content, never from a file's name.
"""

from __future__ import annotations

import binascii
import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple, Self

import orjson
from zlib_ng import zlib_ng

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

__all__ = ["FORMATS", "Capture", "CaptureError", "Format", "Message", "Position", "reason"]

MAX_PAYLOAD = 256 << 20  # what the decoder takes; longer lines are cut one byte above that, so that it refuses them
_BLOCK = 256 << 10
_INFLATED_BLOCK = 1 << 20
_SNIFF = 64 << 10  # bytes looked at to tell a format; more only while the first line has not ended
_SNIFF_LINE = 1 << 20
_ZlibError: type[Exception] = zlib_ng.error  # type: ignore[assignment]  # which its stubs make an instance
_BOM = b"\xef\xbb\xbf"


class Position(NamedTuple):
    """Where a message stands in a capture.

    Attributes
    ----------
    line
        Its line, from 1.
    offset
        The byte at which its payload begins, after unpacking.
    framed
        The payload was base64 in the capture, so that offsets into it are no offsets into the capture.
    """

    line: int
    offset: int
    framed: bool = False


class Message(NamedTuple):
    """One payload of a capture, and when it was received (ns since 1970 UTC, 0 if the capture does not say)."""

    position: Position
    ts_recv: int
    payload: bytes


class CaptureError(Exception):
    """A capture that cannot be read, or that ends in damage.

    Raised after everything readable has been delivered.

    Attributes
    ----------
    message
        What is wrong.
    offset
        Byte of the file at which the damage begins, or None.
    """

    def __init__(self, message: str, offset: int | None = None) -> None:
        super().__init__(message if offset is None else f"{message} (byte {offset})")
        self.message = message
        self.offset = offset


def reason(error: OSError | CaptureError) -> str:
    """Why a capture could not be read, in words."""
    return error.strerror if isinstance(error, OSError) and error.strerror else str(error)


@dataclass(frozen=True)
class Format:
    """A capture format: its name, what it looks like, and the function that splits blocks of bytes into messages."""

    name: str
    title: str
    split: Callable[[Capture, Iterator[bytes]], Iterator[Message]]


class Capture:
    """An iterator over the messages of a capture.

    Memory stays bounded by the longest line, or by the file for the format `message`.

    Parameters
    ----------
    path
        A file, or `-` for standard input.
    format
        A name of `FORMATS`, or `auto`.

    Raises
    ------
    OSError
        If the file cannot be opened or read.
    CaptureError
        While iterating, after the last readable message, if the rest is damaged.

    Examples
    --------
    >>> with Capture("user-data.gz") as capture:  # doctest: +SKIP
    ...     for position, ts_recv, payload in capture:
    ...         print(position.line, ts_recv, len(payload))
    """

    def __init__(self, path: str | os.PathLike[str], format: str = "auto") -> None:
        if format != "auto" and format not in FORMATS:
            raise ValueError(f"unknown capture format {format!r}; known: auto, {', '.join(FORMATS)}")
        self.name = "<stdin>" if os.fspath(path) == "-" else os.fspath(path)
        self.format: str | None = None if format == "auto" else format  #: the format, once it is known
        self.compression: str | None = None  #: what the file was packed with
        self.control_lines = 0  #: the recorder's own lines that were skipped
        self._damage: CaptureError | None = None
        self._file: BinaryIO = sys.stdin.buffer if os.fspath(path) == "-" else Path(path).open("rb")  # noqa: SIM115
        self._messages: Generator[Message, None, None] = self._read()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Message:
        return next(self._messages)

    def locate(self, message: Message, offset: int | None = None) -> str:
        """Where a message stands, or a byte of its payload: `file:line (byte N)`."""
        line, begin, framed = message.position
        if offset is None or framed or message.payload.startswith(b"\x1f\x8b"):
            within = "" if offset is None else f", byte {offset} of the frame"
            return f"{self.name}:{line} (byte {begin}{within})"
        return f"{self.name}:{line + message.payload.count(10, 0, offset)} (byte {begin + offset})"

    def close(self) -> None:
        """Close the file (not standard input)."""
        self._messages.close()
        if self._file is not sys.stdin.buffer:
            self._file.close()

    def _read(self) -> Generator[Message, None, None]:
        blocks = self._unpacked()
        if self.format is None:
            head, ended = _head(blocks)
            self.format = sniff(head, ended=ended)
            blocks = _chain(head, blocks)
        yield from FORMATS[self.format].split(self, blocks)
        if self._damage is not None:
            raise self._damage

    def _unpacked(self) -> Iterator[bytes]:
        blocks = _file_blocks(self._file)
        head = b""
        while len(head) < 4:  # a pipe may deliver single bytes
            block = next(blocks, None)
            if block is None:
                break
            head += block
        if head.startswith((b"\xff\xfe", b"\xfe\xff")):
            raise CaptureError("this is UTF-16 text; convert it to UTF-8 first", 0)
        blocks = _chain(head, blocks)
        for name, (magic, unpack) in _UNPACKERS.items():
            if head.startswith(magic):
                self.compression = name
                blocks = unpack(self, blocks)
                break
        yield from blocks

    def _message(self, line: int, offset: int, ts_recv: int, payload: bytes) -> Message | None:
        """A message from a payload of a line; recorders' own lines give a binary frame, or nothing."""
        if not payload.startswith(b'{"execwire"'):
            return Message(Position(line, offset), ts_recv, payload)
        try:
            control = orjson.loads(payload)
            is_frame = control["execwire"] == "frame"
            frame = binascii.a2b_base64(control["b64"], strict_mode=True) if is_frame else b""
        except (ValueError, LookupError, TypeError):  # damaged: the decoder says so
            return Message(Position(line, offset), ts_recv, payload)
        if is_frame:
            return Message(Position(line, offset, framed=True), ts_recv, frame)
        self.control_lines += 1
        return None


# ==== Blocks and compressions ====


def _file_blocks(file: BinaryIO) -> Iterator[bytes]:
    read = getattr(file, "read1", file.read)  # what a pipe has, at once
    while block := read(_BLOCK):
        yield block


def _chain(head: bytes, blocks: Iterator[bytes]) -> Iterator[bytes]:
    if head:
        yield head
    yield from blocks


def _gunzip(capture: Capture, blocks: Iterator[bytes]) -> Iterator[bytes]:
    """Inflate all members; stop at the first damage, having delivered every byte before it."""
    member: Any = None
    member_at = at = 0  # file offsets of the member, and of `data`
    for block in blocks:
        data = block
        while data:
            if member is None:
                if at:  # padding between or behind members, as gzip(1) tolerates it
                    padding = len(data) - len(data.lstrip(b"\0"))
                    data, at = data[padding:], at + padding
                    if not data:
                        break
                    if not b"\x1f\x8b".startswith(data[:2]):
                        capture._damage = CaptureError("garbage after the end of the gzip data", at)
                        return
                member, member_at = zlib_ng.decompressobj(31), at
            before = member.copy()
            try:
                inflated = member.decompress(data, _INFLATED_BLOCK)
            except _ZlibError:
                # The output of a failing call is lost, so give a copy the same bytes in steps of one.
                good = yield from _inflate_bytewise(before, data)
                capture._damage = CaptureError("corrupt gzip data", at + good)
                return
            if inflated:
                yield inflated
            rest = member.unused_data if member.eof else member.unconsumed_tail
            at += len(data) - len(rest)
            data = rest
            if member.eof:
                member = None
    if member is not None:
        if inflated := member.flush():  # output that did not fit into the last block
            yield inflated
        if not member.eof:
            what = f"truncated gzip data: the member that begins at byte {member_at} does not end"
            capture._damage = CaptureError(what, at)


def _inflate_bytewise(member: Any, data: bytes) -> Generator[bytes, None, int]:
    """Deliver what inflates; return how many bytes of the input were good."""
    out, good = bytearray(), 0
    try:
        for good in range(len(data)):
            out += member.decompress(data[good : good + 1])
    except _ZlibError:
        pass
    yield bytes(out)
    return good


_UNPACKERS: dict[str, tuple[bytes, Callable[[Capture, Iterator[bytes]], Iterator[bytes]]]] = {
    "gzip": (b"\x1f\x8b", _gunzip),
}

# ==== Telling formats apart ====

_NS_PER_UNIT = {10: 1_000_000_000, 13: 1_000_000, 16: 1_000, 19: 1}  # by the digits of a stamp
_STAMP = re.compile(rb"([0-9]{10}|[0-9]{13}|[0-9]{16}|[0-9]{19}) ")


def _head(blocks: Iterator[bytes]) -> tuple[bytes, bool]:
    """Enough of the beginning to tell the format, and whether that is everything."""
    head = bytearray()
    for block in blocks:
        head += block
        if len(head) >= _SNIFF_LINE:
            return bytes(head), False
        first, newline, rest = bytes(head).removeprefix(_BOM).lstrip().partition(b"\n")
        if newline and (len(head) >= _SNIFF or rest.count(b"\n") or _is_whole(first) or _STAMP.match(first)):
            return bytes(head), False
    return bytes(head), True


def sniff(head: bytes, *, ended: bool = True) -> str:
    """Tell a capture's format from its first bytes.

    Parameters
    ----------
    head
        The first bytes, unpacked.
    ended
        Whether that is the whole file.

    Returns
    -------
    str
        `hftbacktest` if the first line that is not empty begins with an epoch of 10, 13, 16 or 19 digits and a space;
        `message` if it is binary, or the beginning of a JSON document of several lines; else `ndjson`.
    """
    text = head.removeprefix(_BOM).lstrip()
    first, newline, rest = text.partition(b"\n")
    if _STAMP.match(first):
        return "hftbacktest"
    if re.search(rb"[\x00-\x08\x0e-\x1f]", first) and first[:1] not in (b"{", b"["):
        return "message"
    if first[:1] in (b"{", b"[") and newline and not _is_whole(first):
        # A line alone that is no JSON: the head of a document over several lines, unless whole messages follow.
        if first.rstrip() in (b"{", b"["):
            return "message"
        lines = rest.split(b"\n") if ended else rest.split(b"\n")[:-1]
        if not any(map(_is_whole, lines)):
            return "message"
    return "ndjson"


def _is_whole(text: bytes) -> bool:
    """Whether that is a whole JSON object or array."""
    if not text.startswith((b"{", b"[")):
        return False
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError:
        return False
    else:
        return True


# ==== Formats ====


def _lines(blocks: Iterator[bytes]) -> Iterator[tuple[int, int, bytes, bool]]:
    """Lines that are not empty: (number, offset, bytes without line end and BOM, whether the line end was there)."""
    number, offset, size = 1, 0, 0
    pieces: list[bytes] = []  # of a line that began in an earlier block
    for block in blocks:
        *lines, tail = block.split(b"\n")
        for line in lines:
            if pieces:
                pieces.append(line[: max(0, MAX_PAYLOAD + 1 - size)])
                size += len(line)
                line = b"".join(pieces)
                pieces = []
            else:
                size = len(line)
            if number == 1 and line.startswith(_BOM):
                line = line[3:]
                offset, size = 3, size - 3
            if text := line.removesuffix(b"\r"):
                yield number, offset, text, True
            number += 1
            offset += size + 1
            size = 0
        if tail:
            if size <= MAX_PAYLOAD:
                pieces.append(tail[: MAX_PAYLOAD + 1 - size])
            size += len(tail)
    line = b"".join(pieces).removesuffix(b"\r")
    if number == 1 and line.startswith(_BOM):
        line, offset = line[3:], 3
    if line:
        yield number, offset, line, False


def _split_lines(capture: Capture, blocks: Iterator[bytes], stamped: bool) -> Iterator[Message]:
    for number, offset, text, ended in _lines(blocks):
        ts_recv = 0
        # A line without a stamp is delivered whole: the decoder knows what to say about it.
        if stamped and (match := _STAMP.match(text)):
            ts = int(match[1]) * _NS_PER_UNIT[len(match[1])]
            if ts < 1 << 63:
                ts_recv = ts
                text, offset = text[match.end() :], offset + match.end()
        if not ended and capture._damage is not None and not _is_whole(text):
            return  # cut off by the damage, which is reported next
        if not text.isspace() and (message := capture._message(number, offset, ts_recv, text)) is not None:
            yield message


def _split_ndjson(capture: Capture, blocks: Iterator[bytes]) -> Iterator[Message]:
    return _split_lines(capture, blocks, stamped=False)


def _split_hftbacktest(capture: Capture, blocks: Iterator[bytes]) -> Iterator[Message]:
    return _split_lines(capture, blocks, stamped=True)


def _split_message(capture: Capture, blocks: Iterator[bytes]) -> Iterator[Message]:
    pieces, size = [], 0
    for block in blocks:
        pieces.append(block[: MAX_PAYLOAD + 1 - size])
        size += len(pieces[-1])
        if size > MAX_PAYLOAD:
            break
    payload = b"".join(pieces)
    if payload and (capture._damage is None or _is_whole(payload)):
        yield Message(Position(1, 0), 0, payload)


#: Formats by name. To add one, write its splitter, and teach `sniff` to tell it.
FORMATS: dict[str, Format] = {
    one.name: one
    for one in (
        Format("message", "the whole file is one payload, text or binary", _split_message),
        Format("ndjson", "one payload a line", _split_ndjson),
        Format(
            "hftbacktest",
            "'<epoch> <payload>' lines; seconds, ms, us or ns by the number of digits (10, 13, 16, 19)",
            _split_hftbacktest,
        ),
    )
}
