"""A local exchange: a real server that speaks the venues' protocols, for tests, demonstrations and offline work."""

from __future__ import annotations

from execwire.exchange.base import ApiKey, Options
from execwire.exchange.connection import Connection
from execwire.exchange.faults import Every, Faults
from execwire.exchange.server import VENUES, Exchange

__all__ = ["VENUES", "ApiKey", "Connection", "Every", "Exchange", "Faults", "Options"]
