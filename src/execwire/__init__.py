"""Private exchange streams (orders, fills, balances, positions), from bytes to exact records.

>>> import execwire
>>> decoder = execwire.Decoder("binance-spot")
>>> order, = decoder.decode(b'{"e":"executionReport","s":"ETHBTC","S":"BUY","p":"0.0500","i":7}')
>>> order.side, order.price, order.number("order_id")
('buy', Decimal('0.0500'), 7)
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

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
    from execwire.auth import AuthError, Credentials
    from execwire.batch import FileReport, read_capture, scan_capture
    from execwire.delivery import Handler
    from execwire.recording import FileRecorder
    from execwire.sessions import Account, Key, Replay, Session, SessionError, replay
    from execwire.tables import EventTable, Table

__all__ = [
    "ABI",
    "KINDS",
    "Account",
    "AuthError",
    "Balance",
    "Credentials",
    "DecodeError",
    "Decoder",
    "EventTable",
    "Field",
    "FileRecorder",
    "FileReport",
    "Fill",
    "Finding",
    "Handler",
    "Key",
    "Notice",
    "Order",
    "Position",
    "Record",
    "Replay",
    "Session",
    "SessionError",
    "Stats",
    "Table",
    "VenueError",
    "__version__",
    "dtype",
    "fields",
    "get_include",
    "read_capture",
    "replay",
    "scan_capture",
    "venues",
    "vocabularies",
]

# Imported when they are asked for: an engine that decodes needs neither numpy nor the network libraries.
_LATER = {
    **dict.fromkeys(("AuthError", "Credentials"), "execwire.auth"),
    **dict.fromkeys(("FileReport", "read_capture", "scan_capture"), "execwire.batch"),
    "FileRecorder": "execwire.recording",
    "Handler": "execwire.delivery",
    **dict.fromkeys(("Account", "Key", "Replay", "Session", "SessionError", "replay"), "execwire.sessions"),
    **dict.fromkeys(("EventTable", "Table"), "execwire.tables"),
}


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_LATER[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
