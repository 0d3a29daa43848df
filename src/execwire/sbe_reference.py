"""SBE frames the slow, obvious way: one message to a dict, from the same layouts as csrc/sbe.c.

What the layouts leave open:

* A payload with a NUL as its sixth byte is an SBE frame, if the venue has any: no text holds that byte, and the high
  byte of a schema's id is one.
* A field that is not whole within the block is not there. Neither is a decimal whose exponent is not.
* What follows the known part of a block is hexadecimal text under "sbeBlock", what follows the last data of a message
  is under "sbeTail". A message without a layout, or of another schema, is whole under "sbe". A group that is all of its
  message has no place for these, so they are dropped there.
* A number that an enum does not name stays a number, a bool that is neither 0 nor 1 too.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from execwire.sbe import Data, Field, Group, Message, Schema

__all__ = ["FrameError", "is_frame", "render"]

HEADER = 8
MAX_NESTING = 8


class FrameError(ValueError):
    """A frame that is not whole, or of no known schema. `offset` is the byte where that shows."""

    def __init__(self, message: str, offset: int) -> None:
        super().__init__(f"{message} (byte {offset})")
        self.message = message
        self.offset = offset


def is_frame(payload: bytes) -> bool:
    """Whether a payload is an SBE frame, where the venue has SBE."""
    return payload[5:6] == b"\0"


def render(schema: Schema, frame: bytes) -> Any:
    """The JSON value of a frame.

    Raises
    ------
    FrameError
        If there is none.
    """
    if len(frame) >= HEADER and int.from_bytes(frame[4:6], "little") not in schema.ids:
        raise FrameError("an SBE frame of a schema that the dialect does not know", 4)
    return _Reader(schema, frame, 0, 0).message()


class _Reader:
    """One message, from the first of its bytes that has not been read."""

    def __init__(self, schema: Schema, message: bytes, start: int, nesting: int) -> None:
        self.schema = schema
        self.bytes = message
        self.start = start  # of the message in the frame
        self.at = 0
        self.nesting = nesting

    def take(self, size: int) -> bytes:
        if self.at + size > len(self.bytes):
            raise FrameError("the frame ends too early", self.start + len(self.bytes))
        self.at += size
        return self.bytes[self.at - size : self.at]

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "little")

    def message(self) -> Any:
        block_length, template, schema, _version = (self.number(2) for _ in range(4))
        if self.nesting == MAX_NESTING:
            raise FrameError("messages nested too deeply", self.start)
        layout = self.schema.messages.get(template)
        if layout is None or schema not in self.schema.ids:
            return {self.schema.name_key: f"template {template}", "sbe": self.bytes.hex()}
        block = self.take(block_length)
        if layout.groups and not layout.groups[0].key:
            return self.group(layout.groups[0])
        outside = {key: value for field in layout.fields if field.outside for key, value in self.field(field, block)}
        inside = {self.schema.name_key: layout.name} if layout.name else {}
        inside.update(self.content(layout, block))
        if self.at < len(self.bytes):
            inside["sbeTail"] = self.bytes[self.at :].hex()
        return {**outside, layout.enter: inside} if layout.enter else {**outside, **inside}

    def content(self, layout: Message | Group, block: bytes) -> dict[str, Any]:
        content: dict[str, Any] = {}
        exponents = {field.key: block[field.offset : field.end] for field in layout.fields if field.type == "exp"}
        for field in layout.fields:
            if not field.outside:
                content.update(self.field(field, block, exponents))
        for group in layout.groups:
            content[group.key] = self.group(group)
        for data in layout.data:
            content.update(self.data(data))
        known = max((field.end for field in layout.fields), default=0)
        if len(block) > known:
            content["sbeBlock"] = block[known:].hex()
        return content

    def field(self, field: Field, block: bytes, exponents: dict[str, bytes] | None = None) -> list[tuple[str, Any]]:
        """The key and its value, or nothing."""
        raw = block[field.offset : field.end]
        exponent = (exponents or {}).get(field.of, b"")
        if field.end > len(block) or field.type == "exp" or (field.type == "dec" and not exponent):
            return []
        signed = field.type == "dec" or field.type.startswith("i")
        if raw == (b"\0" * (len(raw) - 1) + b"\x80" if signed else b"\xff" * len(raw)):
            return [(field.key, json.loads(field.absent))] if field.absent else []
        number = int.from_bytes(raw, "little", signed=signed)
        if field.type == "dec":
            return [(field.key, _decimal(number, int.from_bytes(exponent, "little", signed=True)))]
        if field.type == "enum":
            return [(field.key, self.schema.enums[field.of].get(number, number))]
        if field.type == "bool" and number < 2:
            return [(field.key, number == 1)]
        return [(field.key, number)]

    def group(self, group: Group) -> list[dict[str, Any]]:
        block_length, left = self.number(2), self.number(group.count // 8)
        entries = []
        for _ in range(left):
            before = self.at
            entries.append(self.content(group, self.take(block_length)))
            if self.at == before:
                raise FrameError("a group of entries without a byte", self.start + before)
        return entries

    def data(self, data: Data) -> dict[str, Any]:
        size = self.number(data.bits // 8)
        start = self.at
        raw = self.take(size)
        if not raw:
            return {data.key: json.loads(data.absent)} if data.absent else {}
        if data.type == "message":
            inner = self.schema.messages.get(int.from_bytes(raw[2:4], "little"))
            key = inner.under if inner and inner.under and len(raw) >= HEADER else data.key
            return {key: _Reader(self.schema, raw, self.start + start, self.nesting + 1).message()}
        try:
            return {data.key: raw.decode("utf-8")}
        except UnicodeDecodeError as error:
            raise FrameError("a text that is not UTF-8", self.start + start + error.start) from None


def _decimal(mantissa: int, exponent: int) -> str:
    if exponent > 0:
        return f"{mantissa}E{exponent}"
    digits = str(abs(mantissa)).rjust(1 - exponent, "0")
    whole, fraction = digits[: len(digits) + exponent], digits[len(digits) + exponent :]
    return ("-" if mantissa < 0 else "") + whole + ("." + fraction if fraction else "")
