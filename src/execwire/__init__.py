"""Private exchange streams (orders, fills, balances, positions), from bytes to exact records.

>>> import execwire
>>> decoder = execwire.Decoder("binance-spot")
>>> order, = decoder.decode(b'{"e":"executionReport","s":"ETHBTC","S":"BUY","p":"0.0500","i":7}')
>>> order.side, order.price, order.number("order_id")
('buy', Decimal('0.0500'), 7)
"""

from __future__ import annotations

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
    from execwire.delivery import Handler
    from execwire.sessions import Account, Key, Session, SessionError

__all__ = [
    "ABI",
    "KINDS",
    "Account",
    "AuthError",
    "Balance",
    "Credentials",
    "DecodeError",
    "Decoder",
    "Field",
    "Fill",
    "Finding",
    "Handler",
    "Key",
    "Notice",
    "Order",
    "Position",
    "Record",
    "Session",
    "SessionError",
    "Stats",
    "VenueError",
    "__version__",
    "dtype",
    "fields",
    "get_include",
    "venues",
    "vocabularies",
]

# Sessions need the network libraries, which take a while to import; decoding does not.
_LATER = {
    "Account": "execwire.sessions",
    "AuthError": "execwire.auth",
    "Credentials": "execwire.auth",
    "Handler": "execwire.delivery",
    "Key": "execwire.sessions",
    "Session": "execwire.sessions",
    "SessionError": "execwire.sessions",
}


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_LATER[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
