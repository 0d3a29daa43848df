"""Captures of a stream: files of recorded payloads, read in bounded memory.

A capture is opened, unpacked (by its magic bytes), told by its first bytes (`auto`) and split into messages. Formats
are entries of `FORMATS`, compressions entries of `_UNPACKERS`; both are told from content, never from a file's name.

Formats of lines come as blocks too, for those who do not want an object per message (`Capture.fill`).
"""

from __future__ import annotations

import ast
import binascii
import importlib
import itertools
import os
import queue
import re
import stat
import sys
import threading
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple, Self

import orjson
from zlib_ng import zlib_ng

from execwire.basics import DecodeError, inflate_bytewise
from execwire.columns import Lines, Unwrapper, stamp
from execwire.core import gzip_member

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

__all__ = [
    "CLOSED",
    "FORMATS",
    "OPENED",
    "Capture",
    "CaptureError",
    "Format",
    "Message",
    "Part",
    "Position",
    "cut",
    "printable",
    "reason",
    "shown",
]

MAX_PAYLOAD = 256 << 20  # what the decoder takes; longer lines are cut one byte above that, so that it refuses them
_BLOCK = 256 << 10
_INFLATED_BLOCK = 1 << 20  # fewer take longer to hand over, more of them leave the processor's caches
_BLOCKS_AHEAD = 4
_FRAME = b"\x28\xb5\x2f\xfd"  # how a zstd frame begins
_SKIPPABLE = tuple(bytes((first,)) + b"\x2a\x4d\x18" for first in range(0x50, 0x60))  # one that holds no text
_MEMBER = b"\x1f\x8b\x08"  # how a gzip member begins
_EMPTY = b"\3\0" + bytes(8)  # what a member without content has behind its header
#: Members that a recorder writes before and behind what it records. They inflate to nothing, so nobody else sees them.
OPENED, CLOSED = (
    _MEMBER + b"\x10" + bytes(5) + b"\xff" + b"execwire: recording %b\0" % what + _EMPTY
    for what in (b"opened", b"closed")
)
_SURE = 512  # bytes of it that must inflate to something, where it stands behind damage
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
    binary
        It came in a binary frame.
    """

    line: int
    offset: int
    framed: bool = False
    binary: bool = False


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
    name
        Of the file, where somebody iterated over its capture.
    """

    name: str | None = None

    def __init__(self, message: str, offset: int | None = None) -> None:
        super().__init__(message if offset is None else f"{message} (byte {offset})")
        self.message = message
        self.offset = offset


def printable(text: str) -> str:
    """Text that can be shown anywhere: what a terminal would obey instead of showing it is escaped."""
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)


def shown(path: str | os.PathLike[str]) -> str:
    """A path as text that can be written anywhere: control characters, and bytes that are no UTF-8, are escaped."""
    return printable(os.fsencode(path).decode(errors="backslashreplace"))


def reason(error: OSError | CaptureError) -> str:
    """Why a capture could not be read, in words."""
    return error.strerror if isinstance(error, OSError) and error.strerror else str(error)


class MissingLibraryError(CaptureError):
    """A capture that cannot be read here, for want of a library."""


@dataclass(frozen=True)
class Format:
    """A capture format: its name, what it looks like, and the function that splits blocks of bytes into messages."""

    name: str
    title: str
    split: Callable[[Capture, Iterator[bytes]], Iterator[Message]] | None = None  #: None: a line is a payload
    stamped: bool = False  #: lines begin with the time of receipt
    comments: bool = False  #: lines without a stamp are the recorder's own


class Capture:
    """An iterator over the messages of a capture.

    Memory stays bounded by the longest line, or by the file for the format `message`.

    Parameters
    ----------
    path
        A file, `-` for standard input, or a file object that reads bytes.
    format
        A name of `FORMATS`, or `auto`.
    ts_key, payload_key
        Of the format `envelope`: the keys of the time of receipt and of the payload; told from the first line if they
        are not given. Given, they make `auto` mean `envelope`.
    control
        Deliver the recorder's own lines too, as messages whose payload begins with ``{"execwire"``.

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

    def __init__(
        self,
        path: str | os.PathLike[str] | BinaryIO,
        format: str = "auto",
        *,
        ts_key: str | None = None,
        payload_key: str | None = None,
        control: bool = False,
    ) -> None:
        if format != "auto" and format not in FORMATS:
            raise ValueError(f"unknown capture format {format!r}; known: auto, {', '.join(FORMATS)}")
        if format == "auto" and (ts_key or payload_key):
            self.format: str | None = "envelope"  #: the format, once it is known
        else:
            self.format = None if format == "auto" else format
        self.compression: str | None = None  #: what the file was packed with
        self.control_lines = 0  #: the recorder's own lines that were skipped
        self.blank_lines = 0  #: in which some recorders say that they were disconnected
        self._misfit: CaptureError | None = None  # the first line that is nothing its format knows
        self._fits = True  # whether something was, as far as that is known
        self.ts_key, self.payload_key = ts_key, payload_key
        self._control = control
        self.damages: list[CaptureError] = []  #: so far; the first one is raised in the end
        self._last_mark = b""  # `OPENED` or `CLOSED`
        self._unclosed = 0
        self._own_file = False
        if not isinstance(path, str | os.PathLike):
            self.name = printable(str(getattr(path, "name", "<file>")))
            self._file: BinaryIO = path
        elif os.fspath(path) == "-":
            self.name, self._file = "<stdin>", sys.stdin.buffer
        else:
            self.name, self._file = shown(path), Path(path).open("rb")  # noqa: SIM115
            self._own_file = True
        self._unread: Iterator[bytes] | None = None
        self._ahead: _Ahead | None = None
        self._messages: Generator[Message, None, None] = self._read()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Message:
        try:
            return next(self._messages)
        except CaptureError as error:
            error.name = self.name
            raise

    def locate(self, message: Message, offset: int | None = None) -> str:
        """Where a message stands, or a byte of its payload: `file:line (byte N)`."""
        line, begin, framed, _ = message.position
        if offset is None or framed or message.payload.startswith(b"\x1f\x8b"):
            within = "" if offset is None else f", byte {offset} of the frame"
            return f"{self.name}:{line} (byte {begin}{within})"
        return f"{self.name}:{line + message.payload.count(10, 0, offset)} (byte {begin + offset})"

    def close(self) -> None:
        """Close the file (not standard input)."""
        if self._ahead is not None:
            self._ahead.close()
        self._messages.close()
        if self._own_file:
            self._file.close()

    @property
    def bytes_read(self) -> int:
        """How much of the file has been read, as it is packed; 0 if that cannot be told."""
        try:
            return self._file.tell()
        except (OSError, ValueError):
            return 0

    @property
    def unclosed(self) -> int:
        """Recordings in what was read of the file that were not closed, by a kill or because they still go on.

        Each may lack its end: what came since the last time that the recorder wrote. Only `FileRecorder` tells, and
        only in packed files.
        """
        return self._unclosed + (self._last_mark == OPENED)

    def _mark(self, mark: bytes) -> None:
        self._unclosed += mark == OPENED == self._last_mark
        self._last_mark = mark

    @property
    def is_lines(self) -> bool:
        """Whether a line is a payload, so that `fill` can be used. Reads the beginning to know."""
        self._open()
        return FORMATS[self.format or ""].split is None and self._fits

    def _open(self) -> Iterator[bytes]:
        """Know the format and the compression; the unpacked blocks, from the beginning."""
        if self._unread is None:
            blocks = self._unpacked()
            head, ended = _head(blocks)
            file: object = self._file
            is_middle = isinstance(file, Part) and file.begin  # which tells nothing about the file
            if not is_middle and (encoding := _wide(head)):
                raise CaptureError(f"this is {encoding} text; convert it to UTF-8 first", 0)
            if self.format is None:
                self.format = sniff(head, ended=ended)
            if self.format == "envelope":
                ts_key, payload_key = envelope_keys(head) or ("ts", "payload")
                self.ts_key, self.payload_key = self.ts_key or ts_key, self.payload_key or payload_key
            if FORMATS[self.format].comments and not is_middle:
                lines = head.removeprefix(_BOM).split(b"\n")
                self._fits = any(stamp(line[:64])[1] or _CRYPTOFEED.match(line) for line in lines)
            self._unread = _chain(head, blocks)
        return self._unread

    def fill(self, lines: Lines) -> Iterator[None]:
        """Read block after block into `lines`, which must be taken after each.

        Ends before the last line, if its end is missing: it may have been cut off. `rest` gives that.
        """
        blocks = self._open()
        if self.compression is None and (read := getattr(self._file, "readinto1", None)):
            lines.feed(next(blocks, b""))
            yield  # the head; the rest goes from the file to its place
            while lines.read(read, _BLOCK):
                yield
            return
        if self.compression is not None and _is_on_disk(self._file):
            self._ahead = _Ahead(blocks)
            blocks = iter(self._ahead)
        for block in blocks:
            lines.feed(block)
            yield

    def rest(self, lines: Lines) -> Iterator[Message]:
        """After `fill`: the last line, if its end is missing, unless it was cut off by damage; which is raised then."""
        lines.feed(b"", True)
        comments = FORMATS[self.format or ""].comments
        for number, offset, ts_recv, text, _, stamped in lines.take():
            if self.damages and not _is_whole(text):
                continue
            if comments and not stamped:
                self.comment(number, offset, text)
            elif (message := self.message(number, offset, ts_recv, text)) is not None:
                yield message
        self.blank_lines = lines.blank
        if self.damages:
            raise self.damages[0]

    def _read(self) -> Generator[Message, None, None]:
        blocks = self._open()
        how = FORMATS[self.format or ""]
        if how.split is None:
            yield from self._read_lines(how)
            return
        yield from how.split(self, blocks)
        if self.damages:
            raise self.damages[0]

    def _read_lines(self, how: Format) -> Iterator[Message]:
        lines = Lines(how.stamped)
        for _ in self.fill(lines):
            for number, offset, ts_recv, text, _, stamped in lines.take():
                if how.comments and not stamped:
                    self.comment(number, offset, text)
                elif (message := self.message(number, offset, ts_recv, text)) is not None:
                    self._fits = True
                    yield message
        for message in self.rest(lines):
            self._fits = True
            yield message
        if self._misfit is not None and not self._fits:
            raise self._misfit

    def comment(self, line: int, offset: int, text: bytes) -> None:
        """Count a line of the recorder's own, in a format that has such."""
        self.control_lines += 1
        if self._fits or _CRYPTOFEED.match(text):
            self._fits = True
        elif self._misfit is None:
            self._misfit = CaptureError(f"no line of it is of the format {self.format}, from line {line} on", offset)

    def _unpacked(self) -> Iterator[bytes]:
        blocks = _file_blocks(self._file)
        file: object = self._file
        if isinstance(file, Part) and file.begin:  # the middle of a file, which tells nothing about it
            yield from blocks
            return
        head = b""
        while len(head) < 4:  # a pipe may deliver single bytes
            block = next(blocks, None)
            if block is None:
                break
            head += block
        for magic, name in _OTHERS.items():
            if head.startswith(magic):
                raise CaptureError(f"this is {name} data; unpack it first", 0)
        blocks = _chain(head, blocks)
        for name, (magics, unpack) in _UNPACKERS.items():
            if head.startswith(magics):
                self.compression = name
                blocks = unpack(self, blocks)
                break
        yield from blocks

    def message(self, line: int, offset: int, ts_recv: int, payload: bytes) -> Message | None:
        """A message from the payload of a line; recorders' own lines give a binary frame, or nothing."""
        if payload.startswith((b"b'", b'b"')):  # as Python shows bytes, which is how some recorders write frames
            try:
                frame = ast.literal_eval(payload.decode("ascii"))
            except (ValueError, SyntaxError, MemoryError, RecursionError):
                frame = None
            if isinstance(frame, bytes):
                return Message(Position(line, offset, framed=True, binary=True), ts_recv, frame)
        if not payload.startswith(b'{"execwire"'):
            return Message(Position(line, offset), ts_recv, payload)
        try:
            control = orjson.loads(payload)
            is_frame = control["execwire"] == "frame"
            frame = binascii.a2b_base64(control["b64"], strict_mode=True) if is_frame else b""
        except (ValueError, LookupError, TypeError):  # damaged: the decoder says so
            return Message(Position(line, offset), ts_recv, payload)
        if is_frame:
            binary = control.get("type") != "text"
            return Message(Position(line, offset, framed=True, binary=binary), ts_recv, frame)
        self.control_lines += 1
        return Message(Position(line, offset), ts_recv, payload) if self._control else None


# ==== Blocks and compressions ====


def _file_blocks(file: BinaryIO) -> Iterator[bytes]:
    read = getattr(file, "read1", file.read)  # what a pipe has, at once
    while block := read(_BLOCK):
        yield block


class Part:
    """Some of the bytes of a file, as a file that `Capture` reads. They begin with a line.

    Parameters
    ----------
    path : str or path-like
    begin, end : int
        Which bytes; an `end` of None is the file's.
    """

    def __init__(self, path: str | os.PathLike[str], begin: int, end: int | None) -> None:
        self.name = shown(path)
        self.begin = begin
        self._left = sys.maxsize if end is None else end - begin
        self._file = Path(path).open("rb", buffering=0)  # noqa: SIM115
        self._file.seek(begin)

    def read(self, n: int) -> bytes:
        """The next bytes, at most n."""
        block = self._file.read(min(n, self._left))
        self._left -= len(block)
        return block

    def readinto1(self, room: memoryview) -> int:
        """The next bytes, as many as there is room for; how many there were."""
        n = self._file.readinto(room[: self._left]) or 0
        self._left -= n
        return n

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def cut(path: str | os.PathLike[str], parts: int) -> list[int]:
    """Where in a file lines begin that cut it into so many parts of about one size, or fewer."""
    places = set[int]()
    with Path(path).open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        for i in range(1, parts):
            at = file.seek(size * i // parts)
            while block := file.read(_SNIFF):
                if (n := block.find(b"\n")) >= 0:
                    places.add(at + n + 1)
                    break
                at += len(block)
    return sorted(places - {size})


def _chain(head: bytes, blocks: Iterator[bytes]) -> Iterator[bytes]:
    if head:
        yield head
    yield from blocks


def _is_on_disk(file: BinaryIO) -> bool:
    try:
        return stat.S_ISREG(os.fstat(file.fileno()).st_mode)
    except (OSError, ValueError, AttributeError):
        return False


class _Ahead:
    """The same blocks, made by a thread that is a little ahead: one core inflates while another decodes.

    For files only: nobody can stop a thread that waits for a pipe.
    """

    def __init__(self, blocks: Iterator[bytes]) -> None:
        self._blocks = blocks
        self._made: queue.SimpleQueue[bytes | BaseException | None] = queue.SimpleQueue()
        self._room: queue.SimpleQueue[None] = queue.SimpleQueue()
        for _ in range(_BLOCKS_AHEAD):
            self._room.put(None)
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="execwire-inflater", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        last: BaseException | None = None
        try:
            for block in self._blocks:
                self._room.get()
                if self._closed:
                    return
                self._made.put(block)
        except BaseException as error:  # whoever takes the blocks gets it
            last = error
        self._made.put(last)

    def __iter__(self) -> Iterator[bytes]:
        while not self._closed and (block := self._made.get()) is not None:
            if isinstance(block, BaseException):
                raise block
            yield block
            self._room.put(None)

    def close(self) -> None:
        """End the thread."""
        self._closed = True
        self._room.put(None)
        self._thread.join()


def _gunzip(capture: Capture, blocks: Iterator[bytes], at: int = 0) -> Iterator[bytes]:
    """Inflate all members. Around damage every byte is delivered: those before it, and the members that follow."""
    member: Any = None
    member_at = at  # file offset of the member; `at`, of `data`
    fed, fed_at, held = b"", at, b""  # what the member got last, and gave for it
    lost, kept = False, b""  # between damage and the next member; bytes to look at again
    for block in itertools.chain(blocks, (b"",)):
        data, kept = kept + block, b""
        while data:
            if lost:
                skipped, lost = _next_member(data, last=not block)
                data, at = data[skipped:], at + skipped
                if lost:
                    kept = data
                    break
                yield b"\n"  # ends the line that the damage cut off
            if member is None:
                if at:  # padding between or behind members, as gzip(1) tolerates it
                    padding = len(data) - len(data.lstrip(b"\0"))
                    data, at = data[padding:], at + padding
                    if not data:
                        break
                    if not b"\x1f\x8b".startswith(data[:2]):
                        capture.damages.append(CaptureError("garbage after the end of the gzip data", at))
                        lost = True
                        continue
                if block and len(data) < len(OPENED) and (OPENED.startswith(data) or CLOSED.startswith(data)):
                    kept = data  # what it is takes more bytes
                    break
                for mark in (OPENED, CLOSED):
                    if data.startswith(mark):
                        capture._mark(mark)
                member, member_at = gzip_member(), at
            if held:  # it was no garbage, as the member goes on
                yield held
            before, fed, fed_at, held = member.copy(), data, at, b""
            try:
                held = member.decompress(data, _INFLATED_BLOCK)
            except _ZlibError:
                # What is damaged may show late: where another member begins, this one has ended.
                own = at == member_at
                until = own + _next_member(data[own:], last=False)[0]
                text, good = inflate_bytewise(before, data[:until])
                yield text
                capture.damages.append(CaptureError("corrupt gzip data", at + good))
                good = max(good, own)
                data, at, member, lost = data[good:], at + good, None, True
                continue
            rest = member.unused_data if member.eof else member.unconsumed_tail
            at += len(data) - len(rest)
            data = rest
            if member.eof:
                yield held
                member, held = None, b""
    if member is None:
        return
    held += member.flush()  # output that did not fit into the last block
    if member.eof:
        yield held
        return
    what = f"truncated gzip data: the member that begins at byte {member_at} does not end"
    own = fed_at == member_at
    until = own + _next_member(fed[own:], last=True)[0]
    capture.damages.append(CaptureError(what, min(at, fed_at + until)))
    if until == len(fed):
        yield held
        return
    # Members behind it were taken for the rest of this one.
    yield inflate_bytewise(before, fed[:until])[0]
    yield b"\n"
    yield from _gunzip(capture, iter((fed[until:],)), fed_at + until)


def _next_member(data: bytes, *, last: bool) -> tuple[int, bool]:
    """How many bytes of garbage stand before a gzip member, and whether it takes more bytes to be sure of it."""
    begin = 0
    while (begin := data.find(_MEMBER, begin)) >= 0:
        if len(data) - begin < _SURE and not last:
            return begin, True
        try:
            if zlib_ng.decompressobj(31).decompress(data[begin : begin + _SURE]):
                return begin, False
        except _ZlibError:
            pass
        begin += 1
    return (len(data) if last else max(0, len(data) - len(_MEMBER) + 1)), True


def _unzstd(capture: Capture, blocks: Iterator[bytes], at: int = 0) -> Iterator[bytes]:
    """Inflate all frames. Around damage everything is delivered: what comes before it, and the frames that follow."""
    try:
        zstandard = importlib.import_module("zstandard")
    except ImportError:
        raise MissingLibraryError("reading .zst needs zstandard: pip install 'execwire[zstd]'") from None
    frame: Any = None
    frame_at = at  # file offset of the frame; `at`, of `data`
    lost, kept = False, b""  # between damage and the next frame; bytes to look at again
    # What the frame got since it last gave something: where it is cut off, a block of it swallows what follows.
    fed, fed_at = bytearray(), at
    # Small pieces, so that damage costs little of what is before it, and a piece never inflates to much.
    pieces = (block[i : i + _ZSTD_PIECE] for block in blocks for i in range(0, len(block), _ZSTD_PIECE))
    for piece in pieces:
        data, kept = kept + piece, b""
        while data:
            if lost:
                skipped = data.find(_FRAME)
                lost = skipped < 0
                skipped = max(0, len(data) - len(_FRAME) + 1) if lost else skipped
                data, at = data[skipped:], at + skipped
                if lost:
                    kept = data
                    break
                yield b"\n"  # ends the line that the damage cut off
            if frame is None:
                decompressor = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW)
                frame, frame_at = decompressor.decompressobj(write_size=_BLOCK), at
                fed, fed_at = bytearray(), at
            try:
                inflated = frame.decompress(data)
            except zstandard.ZstdError:
                what = "garbage after the end of the zstd data" if frame_at == at and at else "corrupt zstd data"
                capture.damages.append(CaptureError(what, at))
                own = frame_at == fed_at
                data, at, frame, lost = bytes(fed + data)[own:], fed_at + own, None, True
                continue
            rest = frame.unused_data if frame.eof else b""
            if inflated:
                yield inflated
                fed, fed_at = bytearray(), at
            fed += data[: len(data) - len(rest)]
            at += len(data) - len(rest)
            if len(fed) > _ZSTD_SKIPPED:  # no block is as long: it is a frame that is skipped
                fed, fed_at = bytearray(), at
            data = rest
            if frame.eof:
                frame = None
    if frame is not None:
        what = f"truncated zstd data: the frame that begins at byte {frame_at} does not end"
        found = fed.find(_FRAME, frame_at == fed_at)
        capture.damages.append(CaptureError(what, at if found < 0 else fed_at + found))
        if found >= 0:
            yield b"\n"
            yield from _unzstd(capture, iter((bytes(fed[found:]),)), fed_at + found)


_ZSTD_PIECE = 4096
_ZSTD_SKIPPED = 1 << 20
_ZSTD_WINDOW = 1 << 31  # the longest (`zstd --long=31`); less memory is taken where less is needed
_UNPACKERS: dict[str, tuple[tuple[bytes, ...], Callable[[Capture, Iterator[bytes]], Iterator[bytes]]]] = {
    "gzip": ((b"\x1f\x8b",), _gunzip),
    "zstd": ((_FRAME, *_SKIPPABLE), _unzstd),
}
_OTHERS = {b"BZh": "bzip2", b"\xfd7zX": "xz", b"PK\3\4": "zip", b"\x04\x22\x4d\x18": "lz4"}  # known, but not read

# ==== Telling formats apart ====

_CRYPTOFEED = re.compile(rb"configuration: |[a-z]+://\S+ (<->|<-|->) ")
_HAR = re.compile(rb'\{\s*"log"\s*:\s*\{')
_TS_KEYS = ("ts", "t", "time", "timestamp", "ts_recv", "recv_ts", "received", "received_at", "local_timestamp")
_PAYLOAD_KEYS = ("payload", "msg", "message", "raw", "data")


def _head(blocks: Iterator[bytes]) -> tuple[bytes, bool]:
    """Enough of the beginning to tell the format, and whether that is everything."""
    head = bytearray()
    for block in blocks:
        head += block
        if len(head) >= _SNIFF_LINE:
            return bytes(head), False
        first, newline, rest = bytes(head).removeprefix(_BOM).lstrip().partition(b"\n")
        if newline and (len(head) >= _SNIFF or rest.count(b"\n") or _is_whole(first) or stamp(first[:64])[1]):
            return bytes(head), False
    return bytes(head), True


def _wide(head: bytes) -> str | None:
    """The encoding of text that has more than one byte for every character, with or without a mark that says so."""
    if head.startswith((b"\xff\xfe", b"\xfe\xff", b"\0\0\xfe\xff")):
        return "UTF-32" if b"\0\0" in head[:4] else "UTF-16"
    for encoding, width in _WIDE.items():
        begin = head[: min(len(head) // width, 8) * width]
        try:
            text = "".join(begin.decode(encoding).split())
        except UnicodeDecodeError:
            continue
        # Messages begin with ASCII; in no frame of SBE do all numbers of its header look like that.
        if len(text) > 1 and text.isascii() and text.isprintable():
            return encoding[:6].upper()
    return None


_WIDE = {"utf-16-le": 2, "utf-16-be": 2, "utf-32-le": 4, "utf-32-be": 4}


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
        By the first line that is not empty: `tardis`, `cryptofeed`, `websocat` or `hftbacktest` if it begins with a
        time in their way (ISO 8601; seconds and a colon; seconds with a fraction; an epoch without one); `har` and
        `envelope` if it looks like one; `message` if it is binary, or the beginning of a JSON document of several
        lines; else `ndjson`.
    """
    text = head.removeprefix(_BOM).lstrip()
    first, newline, rest = text.partition(b"\n")
    if length := stamp(first[:64])[1]:
        if first[4:5] == b"-":
            return "tardis"
        if first[length - 2 : length - 1] == b":":
            return "cryptofeed"
        return "websocat" if b"." in first[:length] else "hftbacktest"
    if _CRYPTOFEED.match(first):
        return "cryptofeed"
    if re.search(rb"[\x00-\x08\x0e-\x1f]", first) and first[:1] not in (b"{", b"["):
        return "message"
    if _HAR.match(text):
        return "har"
    if first[:1] in (b"{", b"[") and newline and not _is_whole(first):
        # A line alone that is no JSON: the head of a document over several lines, unless whole messages follow.
        if first.rstrip() in (b"{", b"["):
            return "message"
        lines = rest.split(b"\n") if ended else rest.split(b"\n")[:-1]
        if not any(map(_is_whole, lines)):
            return "message"
    return "envelope" if envelope_keys(head) else "ndjson"


def envelope_keys(head: bytes) -> tuple[str, str] | None:
    """The keys of time and payload, if the first line is an envelope of a recorder's making.

    Exchanges wrap their messages too, so nothing but a time and a payload may be in it (and what is no object or array,
    of which two at most), and `data` is a payload only as a string.
    """
    first = head.removeprefix(_BOM).lstrip().partition(b"\n")[0]
    try:
        line = orjson.loads(first)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(line, dict) or len(line) > 4:
        return None
    ts_key = next((key for key in _TS_KEYS if isinstance(line.get(key), int | float | str)), None)
    for key in _PAYLOAD_KEYS:
        value = line.get(key)
        others = any(isinstance(other, dict | list) for name, other in line.items() if name != key)
        if ts_key is None or others or value is None:
            continue
        if isinstance(value, str) and _is_whole(value.encode()):
            return ts_key, key
        if isinstance(value, dict) and key != "data":
            return ts_key, key
    return None


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


def _split_envelope(capture: Capture, blocks: Iterator[bytes]) -> Iterator[Message]:
    unwrapper = Unwrapper(capture.ts_key or "ts", capture.payload_key or "payload")
    lines = Lines()
    for block in itertools.chain(blocks, (None,)):
        lines.feed(block or b"", block is None)
        for number, offset, _, text, ended, _ in lines.take():
            if not ended and capture.damages and not _is_whole(text):
                return
            try:
                ts_recv, payload, within = unwrapper.unwrap(text)
            except DecodeError:  # delivered whole: the decoder knows what to say about it
                ts_recv, payload, within = 0, text, 0
            if (message := capture.message(number, offset + within, ts_recv, payload)) is not None:
                yield message
    capture.blank_lines = lines.blank


def _split_har(capture: Capture, blocks: Iterator[bytes]) -> Iterator[Message]:
    """WebSocket messages of a browser's or proxy's archive. It is read whole, and may hold cookies and keys."""
    document = b"".join(blocks).removeprefix(_BOM)
    try:
        entries = list(orjson.loads(document)["log"]["entries"])
    except (ValueError, LookupError, TypeError) as error:
        if not capture.damages:
            why = f": {error}" if isinstance(error, ValueError) else ""
            raise CaptureError(f"not a HAR archive{why}") from None
        return
    lists = (entry.get("_webSocketMessages") for entry in entries if isinstance(entry, dict))
    found = itertools.chain.from_iterable(frames for frames in lists if isinstance(frames, list))
    for number, frame in enumerate(found, 1):
        try:
            if frame["type"] != "receive":
                capture.control_lines += 1
                continue
            text = frame["data"]
            binary = frame.get("opcode") == 2
            payload = binascii.a2b_base64(text, strict_mode=True) if binary else text.encode()
        except (ValueError, LookupError, TypeError, AttributeError):
            capture.damages.append(CaptureError(f"message {number} of the archive is damaged"))
            continue
        yield Message(Position(number, 0, framed=True, binary=binary), _har_time(frame.get("time")), payload)


def _har_time(seconds: object) -> int:
    """As ns; 0 if it is no time, which costs no message."""
    try:
        value = Decimal(str(seconds))
        return int(value * 10**9) if value.is_finite() and 0 < value < (1 << 63) // 10**9 else 0
    except ArithmeticError:
        return 0


def _split_message(capture: Capture, blocks: Iterator[bytes]) -> Iterator[Message]:
    pieces, size = [], 0
    for block in blocks:
        pieces.append(block[: MAX_PAYLOAD + 1 - size])
        size += len(pieces[-1])
        if size > MAX_PAYLOAD:
            break
    payload = b"".join(pieces)
    if payload and (not capture.damages or _is_whole(payload)):
        yield Message(Position(1, 0), 0, payload)


#: Formats by name. To add one, write its splitter, and teach `sniff` to tell it.
FORMATS: dict[str, Format] = {
    one.name: one
    for one in (
        Format("message", "the whole file is one payload, text or binary", _split_message),
        Format("ndjson", "one payload a line"),
        Format(
            "hftbacktest",
            "'<epoch> <payload>' lines; seconds, ms, us or ns by the number of digits (10, 13, 16, 19)",
            stamped=True,
        ),
        Format("tardis", "'<ISO 8601 time> <payload>' lines; empty lines tell disconnections", stamped=True),
        Format("websocat", "'<seconds with a fraction> <payload>' lines", stamped=True),
        Format("cryptofeed", "'<seconds>: <payload>' lines of a raw data collection", stamped=True, comments=True),
        Format(
            "envelope",
            "a JSON object a line, with the payload under one key and its time under another",
            _split_envelope,
        ),
        Format("har", "the WebSocket messages of an HTTP archive", _split_har),
    )
}
