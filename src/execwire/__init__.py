"""Private exchange streams (orders, fills, balances, positions), from bytes to exact records.

>>> import execwire
>>> decoder = execwire.Decoder("binance-spot")
>>> order, = decoder.decode(b'{"e":"executionReport","s":"ETHBTC","S":"BUY","p":"0.0500","i":7}')
>>> order.side, order.price, order.number("order_id")
('buy', Decimal('0.0500'), 7)
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from execwire import venues
from execwire.core import (
    ABI,
    KINDS,
    Balance,
    DecodeError,
    Decoder,
    Field,
    Fill,
    Finding,
    Notice,
    Order,
    Position,
    Record,
    Stats,
    __version__,
    dtype,
    fields,
    get_include,
    vocabularies,
)
from execwire.venues import VenueError

if TYPE_CHECKING:
    from execwire.batch import FileReport, read_capture, scan_capture
    from execwire.tables import EventTable, Table

__all__ = [
    "ABI",
    "KINDS",
    "Balance",
    "DecodeError",
    "Decoder",
    "EventTable",
    "Field",
    "FileReport",
    "Fill",
    "Finding",
    "Notice",
    "Order",
    "Position",
    "Record",
    "Stats",
    "Table",
    "VenueError",
    "__version__",
    "dtype",
    "fields",
    "get_include",
    "read_capture",
    "scan_capture",
    "venues",
    "vocabularies",
]

_TABLES = {  # imported when they are asked for: engines that decode need no numpy
    **dict.fromkeys(("FileReport", "read_capture", "scan_capture"), "execwire.batch"),
    **dict.fromkeys(("EventTable", "Table"), "execwire.tables"),
}


def __getattr__(name: str) -> object:
    if name not in _TABLES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_TABLES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
