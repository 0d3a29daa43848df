from collections.abc import Iterable, Sequence
from typing import Any, Final, final

import numpy.typing
from typing_extensions import disjoint_base

@final
class Node:
    name: str
    format: str
    n: int
    null_count: int
    buffers: tuple[numpy.typing.NDArray[Any] | None, ...]
    children: tuple[Node, ...]
    dictionary: Node | None
    def __init__(
        self,
        name: str,
        format: str,
        n: int,
        buffers: Sequence[numpy.typing.NDArray[Any] | None],
        *,
        null_count: int = 0,
        children: Sequence[Node] = (),
        dictionary: Node | None = None,
    ) -> None: ...

@disjoint_base
class Stream: ...

def schema_capsule(schema: Node) -> object: ...
def check_signals() -> None: ...
def stream_capsule(schema: Node, batches: Iterable[Node]) -> object: ...

__test__: Final[dict[str, str]]
