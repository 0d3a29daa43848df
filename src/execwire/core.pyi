import os
from collections.abc import Iterator
from typing import Any, Final, final, overload

from typing_extensions import Buffer, disjoint_base

from execwire.basics import DecodeError as DecodeError
from execwire.basics import Field as Field
from execwire.basics import Finding as Finding
from execwire.basics import Stats as Stats
from execwire.basics import get_include as get_include
from execwire.records import ABI as ABI
from execwire.records import EXTRA as EXTRA
from execwire.records import KINDS as KINDS
from execwire.records import LONG_TEXT as LONG_TEXT
from execwire.records import UNKNOWN_ENUM as UNKNOWN_ENUM
from execwire.records import UNREPRESENTABLE as UNREPRESENTABLE
from execwire.records import Balance as Balance
from execwire.records import Fill as Fill
from execwire.records import Notice as Notice
from execwire.records import Order as Order
from execwire.records import Position as Position
from execwire.records import Record as Record
from execwire.records import dtype as dtype
from execwire.records import fields as fields
from execwire.records import venue_name as venue_name
from execwire.records import vocabularies as vocabularies
from execwire.venues import Venue

__version__: Final[str]

@final
class Records:
    def __len__(self) -> int: ...
    @overload
    def __getitem__(self, index: int, /) -> Record: ...
    @overload
    def __getitem__(self, index: slice, /) -> list[Record]: ...
    def __iter__(self) -> Iterator[Record]: ...

@disjoint_base
class Decoder:
    def __init__(self, venue: str | os.PathLike[str] | Venue, *, max_inflated: int = 16777216) -> None: ...
    def decode_into(self, payload: Buffer, ts_recv: int = 0) -> int: ...
    def decode(self, payload: Buffer, ts_recv: int = 0) -> list[Record]: ...
    def train(self, payload: Buffer) -> None: ...
    def defer(self) -> None: ...
    def study(self) -> bool: ...
    def explain(self, payload: Buffer) -> tuple[list[Record], list[Finding]]: ...
    @property
    def records(self) -> Records: ...
    @property
    def order(self) -> Order | None: ...
    @property
    def fill(self) -> Fill | None: ...
    @property
    def balance(self) -> Balance | None: ...
    @property
    def position(self) -> Position | None: ...
    @property
    def notice(self) -> Notice | None: ...
    @property
    def venue(self) -> str: ...
    @property
    def stats(self) -> Stats: ...
    @property
    def error(self) -> DecodeError | MemoryError | None: ...

@final
class GzipMember:
    eof: bool
    unused_data: bytes
    unconsumed_tail: bytes
    def decompress(self, data: bytes, max_length: int = 0) -> bytes: ...
    def flush(self) -> bytes: ...
    def copy(self) -> GzipMember: ...

def gzip_member() -> Any: ...

__pyx_capi__: Final[dict[str, Any]]
__test__: Final[dict[str, str]]
