"""Writing captures: raw frames with their times, as `Capture` reads them and hftbacktest does.

A line is ``<ns> <payload>``. Binary frames, and texts that are no line, are ``{"execwire":"frame","b64":"..."}``, and
what a session itself had to say is an object with the key ``execwire``, too.
"""

from __future__ import annotations

import atexit
import contextlib
import errno
import fcntl
import logging
import operator
import os
import threading
import time
from collections import deque
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, Self

from zlib_ng import zlib_ng

from execwire.captures import CLOSED, OPENED, shown

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["FileRecorder", "Recorder"]

logger = logging.getLogger("execwire")

LEVEL = 3
MEMBER = 8 << 20  # bytes that a gzip member holds at most, about
WAITING = 256 << 20  # bytes that wait for a disk at most
_Error: type[Exception] = zlib_ng.error  # type: ignore[assignment]  # which its stubs make an instance


class Recorder(Protocol):
    """Gets every frame that a session receives, before it is decoded, and the session's own notices."""

    def write(self, lines: bytes) -> str | None:
        """Keep what one read from the socket brought.

        Parameters
        ----------
        lines : bytes
            Lines of a capture, without the session's secrets.

        Returns
        -------
        str or None
            What has gone wrong since the last call. It becomes a notice of the stream, which goes on.
        """


class FileRecorder:
    """Appends to a file, in a thread of its own, so that no session waits for a disk.

    Parameters
    ----------
    path : str or path-like
        With the ending ``.gz`` it is packed, in gzip members that are each whole: a process that is killed loses what
        came after the last one (`FileReport.unclosed` tells that it was), and a machine that crashes also what was not
        on the disk yet, as nothing is synced. A torn end is mended when the file is opened again.
    flush : float
        Seconds between two members (or, without ``.gz``, writes), and so what a process that is killed can lose.
    max_bytes : int
        Of a file, as it is written; then the next one begins. 0: no limit.
    max_seconds : int
        A file ends at every multiple of so many seconds since 1970 UTC: 3600 gives one an hour. 0: no limit.

    Raises
    ------
    OSError
        If the file cannot be opened. What goes wrong later becomes a notice of the session.

    Attributes
    ----------
    path : str
        The file that is being written.
    written, lost : int
        Bytes of lines, before packing. What cannot be written waits, up to 256 MiB; then what comes is lost, until
        there is room again.
    errors : int
        Attempts to write that failed. They are repeated.

    Notes
    -----
    With one of the limits, files are called NAME-20261122T031500.000Z.gz, after the UTC time at which they begin: their
    names sort as they follow each other. A recorder belongs to one session, and a file to one recorder.

    Examples
    --------
    >>> recorder = FileRecorder("captures/spot.gz", max_seconds=3600)  # doctest: +SKIP
    >>> session = execwire.Session("binance-spot", recorder=recorder)  # doctest: +SKIP
    """

    def __init__(
        self, path: str | os.PathLike[str], *, flush: float = 1.0, max_bytes: int = 0, max_seconds: int = 0
    ) -> None:
        self._base = Path(path)
        self._flush = float(flush)
        self._max_bytes, self._max_seconds = operator.index(max_bytes), operator.index(max_seconds)
        self.written = self.lost = self.errors = 0
        self._chunks: deque[bytes] = deque()
        self._given = self._taken = 0  # bytes; the one is counted by those who write, the other by the thread
        self._waiting = b""  # packed, or not: what is next for the file
        self._size = 0  # of what `_waiting` holds, before packing
        self._fd = -1
        self._end = 0  # of the file, as far as it is whole
        self._is_marked = False  # the file says that a recording has begun
        self._began_at = 0.0
        self._told_lost = self._told_error = ""
        self._trouble: str | None = None
        self._work, self._closing = threading.Event(), threading.Event()
        self.path = ""
        self._open()
        self._thread = threading.Thread(target=self._run, name="execwire-recorder", daemon=True)
        self._thread.start()
        atexit.register(self.close)

    def write(self, lines: bytes) -> str | None:
        """See `Recorder`."""
        if self._given - self._taken + len(lines) > WAITING or self._closing.is_set():
            self.lost += len(lines)
            if not self._told_lost:
                self._told_lost = f"{self.path}: lines are lost, as the file cannot be written"
                return self._told_lost
        else:
            self._given += len(lines)
            self._chunks.append(lines)
            self._told_lost = ""
        if not self._work.is_set():
            self._work.set()
        if self._trouble is None:
            return None
        trouble, self._trouble = self._trouble, None
        return trouble

    def close(self, timeout: float | None = None) -> None:
        """Write what waits, and close the file. What cannot be written now is lost, and logged.

        Parameters
        ----------
        timeout : float or None
            Seconds to wait for a disk that does not answer. The rest is written if it comes back while the process
            lives.
        """
        if self._closing.is_set():
            return
        atexit.unregister(self.close)
        self._closing.set()
        self._work.set()
        self._thread.join(timeout)
        if self._thread.is_alive():
            logger.error("%s: the disk has not taken everything within %g s", self.path, timeout)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self.close()

    # ---- MARK: The thread ----

    def _run(self) -> None:
        while not self._closing.is_set():
            self._work.wait()
            self._closing.wait(self._flush)
            self._work.clear()
            if not self._save():
                self._work.set()  # again in a while
        self._save()
        if left := self._given - self._taken:
            self.lost += left
            logger.error("%s: %d bytes could not be recorded", shown(self.path), left)
        self._close_file(whole=not left)

    def _save(self) -> bool:
        """Write everything that waits; False if that fails."""
        try:
            while self._waiting or self._chunks:
                if not self._waiting:
                    self._pack()
                self._rotate()
                self._put()
        except Exception as error:  # whatever it is, neither the stream ends nor this thread
            self.errors += 1
            text = f"{self.path or self._base}: {getattr(error, 'strerror', None) or error or type(error).__name__}"
            if text != self._told_error:
                self._told_error = text
                self._trouble = f"recording fails, and is tried again: {text}"
            return False
        if self._told_error:
            self._told_error = ""
            self._trouble = f"recording goes on: {self.path}"
        return True

    def _pack(self) -> None:
        lines = []
        size = 0
        while self._chunks and size < MEMBER:
            lines.append(self._chunks.popleft())
            size += len(lines[-1])
        self._size = size
        text = b"".join(lines)
        self._waiting = _member(text) if self._is_packed else text

    def _put(self) -> None:
        self._append(self._opening + self._waiting)
        self._is_marked = self._is_packed
        self._waiting = b""
        self.written += self._size
        self._taken += self._size

    def _append(self, data: bytes) -> None:
        try:
            _write(self._fd, data, self._end)
        except OSError:
            # A part of a member behind which others follow would be damage. Giving space back works on a full disk.
            os.ftruncate(self._fd, self._end)
            raise
        self._end += len(data)

    # ---- MARK: Files ----

    @property
    def _is_packed(self) -> bool:
        return self._base.suffix == ".gz"

    @property
    def _opening(self) -> bytes:
        """What goes before the first member that is written to a file."""
        return OPENED if self._is_packed and not self._is_marked else b""

    def _rotate(self) -> None:
        if self._fd >= 0:
            marks = len(self._opening) + (len(CLOSED) if self._is_packed else 0)
            too_long = 0 < self._max_bytes < self._end + len(self._waiting) + marks and self._end > 0
            period = self._max_seconds
            is_over = period and time.time() // period != self._began_at // period
            if not (too_long or is_over or os.fstat(self._fd).st_nlink == 0):  # or somebody has removed it
                return
            self._close_file()
        self._open()

    def _open(self) -> None:
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
        now = time.time()
        if self._max_bytes or self._max_seconds:
            now = max(now, self._began_at + 0.001)  # names follow each other, whatever the clock does
            while True:
                stamp = f"{datetime.fromtimestamp(now, UTC):%Y%m%dT%H%M%S.%f}"[:-3]
                self.path = str(self._base.with_name(f"{self._base.stem}-{stamp}Z{self._base.suffix}"))
                try:
                    self._fd = os.open(self.path, flags | os.O_EXCL, 0o600)
                    break
                except FileExistsError:
                    now += 0.001
        else:
            self.path = str(self._base)
            self._fd = os.open(self.path, flags, 0o600)
        self._began_at = now
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._end = _mended(self._fd, self._is_packed)
        except OSError as error:
            self._close_file()
            if isinstance(error, BlockingIOError):
                raise OSError(error.errno, "another recorder writes to it", self.path) from None
            if error.filename is None:
                raise OSError(error.errno, error.strerror, self.path) from None
            raise

    def _close_file(self, *, whole: bool = True) -> None:
        if self._fd >= 0:
            if whole and self._is_marked:
                with contextlib.suppress(OSError):  # then the file says that it was not closed
                    self._append(CLOSED)
            self._is_marked = False
            fd, self._fd = self._fd, -1
            os.close(fd)


# ---- MARK: Members ----


def _member(text: bytes) -> bytes:
    packer = zlib_ng.compressobj(LEVEL, zlib_ng.DEFLATED, 31)
    return packer.compress(text) + packer.flush()


_HEADER = _member(b"")[:10]  # of every member, so that the last one can be found
_ZSTD = b"\x28\xb5\x2f\xfd"
_BEGINNINGS = (_HEADER, OPENED, CLOSED)


def _mended(fd: int, packed: bool) -> int:
    """Make the end of a file one that can be appended to, if a crash has torn it; where it is.

    What can be read stays: a torn member is replaced by a whole one of its whole lines.
    """
    end = os.fstat(fd).st_size
    if not end:
        return 0
    begins = os.pread(fd, 4, 0)
    if packed != _HEADER.startswith(begins[:2]) or begins == _ZSTD:
        raise OSError(errno.EEXIST, "it is no recording, or one that is packed in another way: not appended to")
    if not packed:
        if os.pread(fd, 1, end - 1) != b"\n":
            _write(fd, b"\n", end)
            end += 1
        return end
    begin = max(0, end - 2 * MEMBER)
    tail = _read(fd, begin, end)
    at = max(map(tail.rfind, _BEGINNINGS))
    if at < 0:
        if begin == 0 and any(one.startswith(tail) for one in _BEGINNINGS):  # the first bytes of a first member
            os.ftruncate(fd, 0)
            return 0
        return end  # another program's
    tail, begin = tail[at:], begin + at
    for torn in _BEGINNINGS:
        for i in range(len(torn) - 1, 0, -1):
            if tail.endswith(torn[:i]) and _is_whole(tail[:-i]):  # the first bytes of another member
                os.ftruncate(fd, end - i)
                return end - i
    member = zlib_ng.decompressobj(31)
    try:
        text = member.decompress(tail)
    except _Error:
        return end  # damaged in another way; `Capture` reads around it
    if member.eof:
        return end
    whole = text[: text.rfind(b"\n") + 1]
    # First over the torn one, then cut: whenever that is interrupted, what was readable is.
    mended = _member(whole) if whole else b""
    _write(fd, mended, begin)
    os.ftruncate(fd, begin + len(mended))
    return begin + len(mended)


def _is_whole(data: bytes) -> bool:
    member = zlib_ng.decompressobj(31)
    try:
        member.decompress(data)
    except _Error:
        return False
    return bool(member.eof)


def _write(fd: int, data: bytes, at: int) -> None:
    rest = memoryview(data)
    while rest:
        n = os.pwrite(fd, rest, at)
        rest, at = rest[n:], at + n


def _read(fd: int, begin: int, end: int) -> bytes:
    parts = []
    while begin < end and (part := os.pread(fd, end - begin, begin)):
        parts.append(part)
        begin += len(part)
    return b"".join(parts)
