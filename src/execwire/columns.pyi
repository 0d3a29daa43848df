from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Literal, Self, TypeAlias, final

import numpy
import numpy.typing
from typing_extensions import Buffer

from execwire.basics import Field, Stats
from execwire.core import DecodeError, Decoder

_Line: TypeAlias = tuple[int, int, int, bytes, bool, bool]
_Plane: TypeAlias = numpy.typing.NDArray[Any]

KINDS: Final[tuple[str, ...]]
TAIL: Final[numpy.dtype[numpy.void]]
VALUES: Final[dict[str, str]]

@final
class Lines:
    def __new__(cls, stamped: bool = False, strict: bool = False) -> Self: ...
    def feed(self, block: Buffer, last: bool = False) -> None: ...
    def read(self, file: Callable[[memoryview], int | None], n: int) -> int: ...
    def take(self) -> list[_Line]: ...
    def next(self) -> _Line | None: ...
    @property
    def blank(self) -> int: ...

@final
class Unwrapper:
    def __new__(cls, ts_key: str, payload_key: str) -> Self: ...
    def unwrap(self, line: bytes) -> tuple[int, bytes, int]: ...

def stamp(text: bytes) -> tuple[int, int]: ...
def bitmap(flags: _Plane) -> _Plane: ...

class Interface:
    __array_interface__: dict[str, Any]
    owner: object
    def __init__(self, owner: object, interface: dict[str, Any]) -> None: ...

@final
class Memory:
    def column(self, name: str) -> Column: ...

@final
class Closer:
    def __new__(cls, dialect: Any) -> Self: ...

@final
class Column:
    field: Field
    n: int
    values: _Plane | None
    tails: _Plane | None
    tail: tuple[int, int, int, int]
    valid: _Plane | None
    numeric: _Plane | None
    heap: _Plane | None
    words: Sequence[str] | None
    def __init__(
        self,
        field: Field,
        n: int,
        values: _Plane | None,
        *,
        tails: _Plane | None = None,
        tail: tuple[int, int, int, int] = (0, 0, 0, 0),
        valid: _Plane | None = None,
        numeric: _Plane | None = None,
        heap: _Plane | None = None,
        words: Sequence[str] | None = None,
    ) -> None: ...
    @property
    def null_count(self) -> int: ...
    def mask(self) -> numpy.typing.NDArray[numpy.bool_]: ...
    def is_number(self) -> numpy.typing.NDArray[numpy.bool_]: ...
    def scale(self, least: bool = False) -> int: ...
    def int128(self, scale: int) -> numpy.typing.NDArray[numpy.uint64]: ...
    def exact(self, i: int) -> str: ...
    def float64(self) -> numpy.typing.NDArray[numpy.float64]: ...
    def all_tails(self) -> _Plane: ...
    def text(self) -> tuple[numpy.typing.NDArray[numpy.int32], numpy.typing.NDArray[numpy.uint8]]: ...
    def take(self, rows: _Plane) -> Column: ...
    def renamed(self, field: Field) -> Column: ...

@final
class Batch:
    kind: str
    n: int
    columns: Mapping[str, Column]
    events: numpy.typing.NDArray[numpy.uint32]
    flags: numpy.typing.NDArray[numpy.uint8]
    extra: list[bytes | None] | None
    def names(self, code: int) -> tuple[str, str]: ...
    def distinct_events(self) -> tuple[list[int], numpy.typing.NDArray[numpy.uint32]]: ...

MOST_EXTRA: int

@final
class Columns:
    def __new__(cls, rows: int = 65536) -> Self: ...
    def feed(
        self, decoder: Decoder, lines: Lines
    ) -> tuple[Literal["error", "other", "unsure"], _Line, DecodeError | None] | None: ...
    def decode(
        self,
        decoder: Decoder,
        payload: Buffer,
        ts_recv: int = 0,
        *,
        accept: bool = False,
        extra: Callable[[dict[str, Any]], bytes] | None = None,
    ) -> None: ...
    @property
    def stats(self) -> Stats: ...
    @property
    def rows(self) -> dict[str, int]: ...
    @property
    def is_crowded(self) -> bool: ...
    def batches(self, all: bool = False) -> list[Batch]: ...

__test__: Final[dict[str, str]]
