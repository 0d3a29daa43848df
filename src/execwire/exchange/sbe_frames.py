"""SBE frames out of what the JSON API would have sent, by the layouts in the venue's file."""

from __future__ import annotations

import json
from functools import cache
from typing import TYPE_CHECKING, Any

from execwire import venues
from execwire.sbe import SIZES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from execwire.sbe import Data, Group, Message, Schema

__all__ = ["EVENTS", "NEWEST", "OLDER", "RETIRED", "event", "message", "response"]

NEWEST = (3, 5)
OLDER = ((3, 2), (3, 3), (3, 4))  # deprecated: answered in the newest, and with a flag
RETIRED = ((2, 0), (2, 1), (3, 0), (3, 1))

EVENTS = {
    "executionReport": 603,
    "outboundAccountPosition": 607,
    "balanceUpdate": 601,
    "externalLockUpdate": 604,
    "listStatus": 606,
    "eventStreamTerminated": 602,
    "serverShutdown": 610,
}
_EXPONENT = -8


@cache
def _schema() -> Schema:
    schema = venues.load("binance-spot").sbe_schema
    assert schema is not None
    return schema


@cache
def _codes() -> dict[str, dict[str, int]]:
    return {name: {text: code for code, text in texts.items()} for name, texts in _schema().enums.items()}


def event(content: Mapping[str, Any], subscription_id: int | None = None) -> bytes:
    """The frame of an event message, whose times are µs."""
    return message(EVENTS[content["e"]], {**content, "subscriptionId": subscription_id})


def message(template: int, content: Mapping[str, Any]) -> bytes:
    """A message of a template; what `content` does not have is null."""
    layout = _schema().messages[template]
    if layout.groups and not layout.groups[0].key:
        block, rest = b"", _group(layout.groups[0], content[""])
    else:
        block, rest = _content(layout, content)
    header = (len(block), template, *NEWEST)
    return b"".join(one.to_bytes(2, "little") for one in header) + block + rest


def response(id: object, status: int, result: bytes, rate_limits: list[dict[str, Any]], deprecated: bool) -> bytes:
    """A WebSocketResponse around a message."""
    content = {
        "sbeSchemaIdVersionDeprecated": deprecated,
        "status": status,
        "rateLimits": rate_limits,
        "id": None if id is None else str(id),
        "result": result,
    }
    return message(50, content)


def _content(layout: Message | Group, content: Mapping[str, Any]) -> tuple[bytes, bytes]:
    block = bytearray()
    for field in layout.fields:
        size = SIZES[field.type]
        value = content.get(field.key)
        signed = field.type in ("dec", "exp") or field.type.startswith("i")
        if field.type == "exp":
            number = _EXPONENT
        elif value is None or (field.absent and value == json.loads(field.absent)):
            block += (b"\0" * (size - 1) + b"\x80") if signed else b"\xff" * size
            continue
        elif field.type == "dec":
            whole, _, fraction = value.partition(".")
            number = int(whole + fraction.ljust(-_EXPONENT, "0"))
        elif field.type == "enum":
            number = _codes()[field.of][value]
        else:
            number = int(value)
        block += number.to_bytes(size, "little", signed=signed)
    groups = b"".join(_group(group, content.get(group.key) or []) for group in layout.groups)
    return bytes(block), groups + b"".join(_data(one, content.get(one.key)) for one in layout.data)


def _group(group: Group, entries: list[dict[str, Any]]) -> bytes:
    written = [_content(group, entry) for entry in entries]
    size = max((field.end for field in group.fields), default=0)
    head = size.to_bytes(2, "little") + len(entries).to_bytes(group.count // 8, "little")
    return head + b"".join(block + rest for block, rest in written)


def _data(data: Data, value: Any) -> bytes:
    if value is None or (data.absent and data.absent != '""' and value == json.loads(data.absent)):
        value = b""
    raw = value.encode() if isinstance(value, str) else value
    return len(raw).to_bytes(data.bits // 8, "little") + raw
