"""The parts of `execwire.core` that need no C: its error, its small tuples, and what numpy makes of a record."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from zlib_ng import zlib_ng

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    import numpy

__all__ = ["DecodeError", "Field", "Finding", "Lazily", "Stats", "get_include", "inflate_bytewise", "needed"]

T = TypeVar("T")


class Lazily(Mapping[str, T]):
    """Values by name, each made when it is asked for first."""

    def __init__(self, names: Iterable[str], make: Callable[[str], T]) -> None:
        self._made: dict[str, T | None] = dict.fromkeys(names)
        self._make = make

    def __getitem__(self, name: str) -> T:
        made = self._made[name]
        if made is None:
            made = self._made[name] = self._make(name)
        return made

    def __iter__(self) -> Iterator[str]:
        return iter(self._made)

    def __len__(self) -> int:
        return len(self._made)


class DecodeError(ValueError):
    """A payload that cannot be decoded. It gives no record at all.

    Attributes
    ----------
    message : str
        What is wrong. Never holds anything of the payload.
    offset : int
        Where, as a byte offset: into the frame where inflating it or reading SBE fails, else into the text.
    status : str
        ``truncated``, ``syntax``, ``utf8``, ``depth``, ``limit``, ``gzip`` or ``sbe``.
    """

    def __init__(self, message: str, offset: int, status: str = "syntax") -> None:
        super().__init__(message, offset, status)
        self.message = message
        self.offset = offset
        self.status = status

    def __str__(self) -> str:
        return f"{self.message} (byte {self.offset})"


class Stats(NamedTuple):
    """What a decoder has counted since it was made."""

    messages: int
    records: int
    errors: int
    unknown_events: int
    unknown_keys: int
    unknown_enums: int
    unrepresentable: int


class Finding(NamedTuple):
    """Something in a payload that the dialect does not expect; see `execwire.core.Decoder.explain`."""

    path: str
    what: str  #: ``new_key``, ``unknown_enum`` or ``unrepresentable``
    value: object


class Field(NamedTuple):
    """A field of a kind of record; see `execwire.core.fields`."""

    name: str
    type: str  #: ``decimal``, ``time``, ``u16``, ``bool``, ``enum``, ``id`` or ``text``
    unit: str  #: ``ns``, ``base``, ``quote per base``, ... or ``""``
    vocabulary: str  #: of an enum or a bool: the name under which dialects map their texts, else ``""``
    words: tuple[str, ...]  #: of an enum or a bool: its words by code
    offset: int  #: bytes within the struct
    size: int
    bit: int  #: in the header's ``present`` and ``missing``


_ZlibError: type[Exception] = zlib_ng.error  # type: ignore[assignment]  # which its stubs make an instance


class InflateError(Exception):
    """A gzip frame that does not inflate: what is wrong, the bytes of it that were consumed, and what they gave."""

    def __init__(
        self, position: int, plain: bytes, *, limit: bool = False, truncated: bool = False, trailing: bool = False
    ) -> None:
        super().__init__(position)
        self.position = position
        self.plain = plain
        self.limit = limit
        self.truncated = truncated
        self.trailing = trailing


def inflate(frame: bytes, most: int) -> bytes:
    """Inflate a gzip frame as ``ew_gunzip_frame`` does, for where its inflater cannot be had."""
    parts: list[bytes] = []
    room = most
    rest = frame
    while True:
        member = zlib_ng.decompressobj(wbits=31)
        try:
            part = member.decompress(rest, room + 1)
        except _ZlibError:
            parts.append(inflate_bytewise(zlib_ng.decompressobj(wbits=31), rest, room)[0])
            raise InflateError(len(frame) - len(rest), b"".join(parts)) from None
        room -= len(part)
        parts.append(part)
        if room < 0:
            raise InflateError(len(frame) - len(member.unconsumed_tail), b"".join(parts), limit=True)
        if not member.eof:
            raise InflateError(len(frame), b"".join(parts), truncated=True)
        rest = member.unused_data
        if not rest.strip(b"\0"):
            return b"".join(parts)
        if not rest.startswith(b"\x1f\x8b"):
            raise InflateError(len(frame) - len(rest.lstrip(b"\0")), b"".join(parts), trailing=True)


def inflate_bytewise(inflater: Any, data: bytes, most: int = sys.maxsize) -> tuple[bytes, int]:
    """What inflates of damaged data, as long as that is at most `most` bytes, and how many bytes of it were good.

    The output of a failing call is lost, so the bytes are given one by one.
    """
    plain, good = bytearray(), 0
    try:
        while good < len(data) and len(plain) <= most:
            plain += inflater.decompress(data[good : good + 1])
            good += 1
    except _ZlibError:
        pass
    return bytes(plain), good


def struct_dtype(header: Mapping[str, tuple[str, int]], fields: Iterable[Field], size: int) -> numpy.dtype[numpy.void]:
    """The structured dtype of a kind's struct. `header`: format and offset of the members that are no fields."""
    import numpy as np  # not everybody who decodes needs it

    decimal = np.dtype([("lo", "u8"), ("hi", "i4"), ("exponent", "i2"), ("state", "u1"), ("flags", "u1")], align=True)
    id_ = np.dtype([("number", "u8"), ("s", "S38"), ("len", "u1"), ("is_number", "u1")], align=True)
    formats: dict[str, object] = {"time": "i8", "u16": "u2", "bool": "u1", "enum": "u1", "decimal": decimal, "id": id_}
    members: list[tuple[int, str, object]] = [(offset, name, code) for name, (code, offset) in header.items()]
    for field in fields:
        text = [("s", f"S{field.size - 1}"), ("len", "u1")]
        members.append((field.offset, field.name, formats.get(field.type) or np.dtype(text)))
    members.sort(key=lambda member: member[0])
    return np.dtype(
        {
            "names": [name for _, name, _ in members],
            "formats": [code for _, _, code in members],
            "offsets": [offset for offset, _, _ in members],
            "itemsize": size,
        },
        align=True,
    )


def get_include() -> str:
    """The directory of ``execwire.h``, to compile C or Cython that reads records.

    Returns
    -------
    str
    """
    here = Path(__file__).resolve().parent
    # Installed, the header is in the package; in the source tree, beside the C sources.
    for directory in (here / "include", here.parent.parent / "csrc"):
        if (directory / "execwire.h").is_file():
            return os.fspath(directory)
    raise FileNotFoundError("execwire.h is not installed")


def needed(module: str, package: str) -> Any:
    """A module that not every installation has; where it is missing, the error says what to install."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name != module.partition(".")[0]:  # it is there, and misses something itself
            raise
        raise ModuleNotFoundError(f"this needs {error.name}: pip install '{package}'", name=error.name) from None
