"""Raw frames with their times, in the format of `execwire decode --format hftbacktest`."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, BinaryIO, Protocol, Self

if TYPE_CHECKING:
    import os
    from types import TracebackType

__all__ = ["FileRecorder", "Recorder"]


class Recorder(Protocol):
    """Gets every frame that a session receives, before it is decoded, and the session's own notices."""

    def write(self, ts_ns: int, payload: bytes, binary: bool) -> None:
        """Keep a frame.

        Parameters
        ----------
        ts_ns : int
            When it was received, ns since 1970 UTC.
        payload : bytes
            Without the session's secrets.
        binary : bool
            Whether it came in a binary frame.
        """


class FileRecorder:
    """Appends frames to a file: ``<ns> <payload>`` a line.

    A binary frame, and a text of several lines, is written as ``{"execwire":"frame","b64":"..."}``. Every frame is
    handed to the system at once, so that a crash of the process loses none.

    Parameters
    ----------
    path : str or path-like
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._file: BinaryIO = open(path, "ab", buffering=0)  # noqa: SIM115, PTH123 - closed by close()

    def write(self, ts_ns: int, payload: bytes, binary: bool) -> None:
        """See `Recorder`."""
        if binary or b"\n" in payload or b"\r" in payload:
            payload = b'{"execwire":"frame","b64":"%b"}' % base64.b64encode(payload)
        self._file.write(b"%d %b\n" % (ts_ns, payload))

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self.close()
