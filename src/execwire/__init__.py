"""Private exchange streams (orders, fills, balances, positions), from bytes to exact records.

>>> import execwire
>>> decoder = execwire.Decoder("binance-spot")
>>> order, = decoder.decode(b'{"e":"executionReport","s":"ETHBTC","S":"BUY","p":"0.0500","i":7}')
>>> order.side, order.price, order.number("order_id")
('buy', Decimal('0.0500'), 7)
"""

from __future__ import annotations

from execwire import venues
from execwire.batch import FileReport, read_capture, scan_capture
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
from execwire.tables import EventTable, Table
from execwire.venues import VenueError

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
