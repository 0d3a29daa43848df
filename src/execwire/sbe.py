"""SBE layouts: how the bytes of a venue's binary messages become the JSON of the same messages.

The ``[sbe]`` section of a venue's file names the schemas and describes every message: the fields of its block in the
order of their bytes, then its groups, then its data. The keys are those of the JSON, so that the rest of the file
decodes both. csrc/sbe.c renders with the lines written here, :mod:`execwire.sbe_reference` with the tree.

Notes
-----
::

    [sbe]
    schemas = [3]             # ids, below 256; the version does not matter: block lengths tell what a frame has
    name_key = "e"            # key for the name of a message

    [sbe.enums]
    side = { BUY = 0, SELL = 1 }

    [[sbe.message]]
    template = 603
    name = "executionReport"  # optional: the value of name_key
    enter = "event"           # optional: all but the keys with // stand in an object under this key
    under = "error"           # optional: the key for it in a message around it, whatever key that one has for it
    fields = ["E i64", "price exp", "p dec price", "S enum side", "g i64 = -1", "//subscriptionId u16"]
    data = ["s text8", "N text8 = null", "Cs text8?", "result message32"]
    [[sbe.message.groups]]
    key = "B"                 # left out: the message is this group alone, and its JSON the array
    count = 32                # bits of the number of entries
    fields = ["f i64"]
    data = ["a text8"]

A field is ``KEY TYPE``, the type one of i8 to i64, u8 to u64, bool, ``enum NAME``, ``dec NAME`` (a mantissa of 64
bits) and exp (the exponent that a ``dec`` names; not in the JSON). ``= JSON`` is what null becomes; without it the key
is left out. Data is ``KEY TYPE`` too, the number in the type being the bits of its length. An empty text is "", with
``?`` it is left out, with ``= JSON`` it is that.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

__all__ = ["Data", "Field", "Group", "LayoutError", "Message", "Schema", "parse"]

#: Types of fields and their bytes.
SIZES = {
    "i8": 1, "i16": 2, "i32": 4, "i64": 8, "u8": 1, "u16": 2, "u32": 4, "u64": 8,
    "bool": 1, "enum": 1, "exp": 1, "dec": 8,
}  # fmt: skip

_ITEM = re.compile(r"(?P<outside>//)?(?P<key>[^\s/][^\s]*) (?P<type>[a-z]+[0-9]*)(?P<optional>\?)?"
                   r"(?: (?P<of>[A-Za-z][A-Za-z0-9_]*))?(?: = (?P<absent>.+))?")  # fmt: skip


class LayoutError(ValueError):
    """A layout that is wrong: where in the section, and why."""

    def __init__(self, at: str, message: str) -> None:
        super().__init__(f"{at}: {message}" if at else message)
        self.at = at
        self.message = message


@dataclass(frozen=True)
class Field:
    """A field of a block, at a fixed offset. `absent` is the JSON for null, "" where null leaves the key out."""

    key: str
    type: str
    offset: int
    of: str = ""  # the enum, or the field with the exponent
    absent: str = ""
    outside: bool = False

    @property
    def end(self) -> int:
        """The byte after it."""
        return self.offset + SIZES[self.type]


@dataclass(frozen=True)
class Data:
    """Text or message of variable length. `absent` is the JSON for the empty one, "" where it leaves the key out."""

    key: str
    type: str  # text or message
    bits: int  # of the length
    absent: str = '""'


@dataclass(frozen=True)
class Group:
    """A group that repeats. Of the whole message, `key` is ""."""

    key: str
    count: int  # bits of the number of entries
    fields: tuple[Field, ...]
    groups: tuple[Group, ...]
    data: tuple[Data, ...]


@dataclass(frozen=True)
class Message:
    """The layout of one template."""

    template: int
    name: str
    enter: str
    under: str
    fields: tuple[Field, ...]
    groups: tuple[Group, ...]
    data: tuple[Data, ...]


@dataclass(frozen=True)
class Schema:
    """All that is known about a venue's SBE."""

    ids: tuple[int, ...]
    name_key: str
    enums: Mapping[str, Mapping[int, str]]
    messages: Mapping[int, Message]

    def lines(self) -> Iterator[Sequence[object]]:
        """The lines of the venue's table."""
        for number in self.ids:
            yield "sbe-schema", number
        yield "sbe-name", self.name_key
        for name, texts in self.enums.items():
            yield "sbe-enum", name
            for value, text in texts.items():
                yield "sbe-text", value, text
        for message in self.messages.values():
            yield "sbe-message", message.template, *([message.under] if message.under else [])
            if message.enter:
                yield "sbe-enter", message.enter
            if message.name:
                yield "sbe-const", self.name_key, json.dumps(message.name)
            yield from _lines(message)


def _lines(layout: Message | Group) -> Iterator[Sequence[object]]:
    offsets = {field.key: field.offset for field in layout.fields if field.type == "exp"}
    for field in layout.fields:
        key = "//" + field.key if field.outside else field.key
        of: tuple[object, ...] = (offsets.get(field.of, field.of),) if field.of or field.absent else ()
        absent = (field.absent,) if field.absent else ()
        yield "sbe-field", key, field.offset, field.type, *of, *absent
    for group in layout.groups:
        yield "sbe-group", group.key, group.count // 8
        yield from _lines(group)
        yield ("sbe-end",)
    for data in layout.data:
        if data.type == "message":
            yield "sbe-nested", data.key, data.bits // 8
        elif data.absent == '""':
            yield "sbe-data", data.key, data.bits // 8
        else:
            yield "sbe-data", data.key, data.bits // 8, data.absent


# ---- MARK: Reading ----


def parse(section: Mapping[str, Any]) -> Schema:
    """Check an ``[sbe]`` section.

    Raises
    ------
    LayoutError
        If anything about it is wrong.
    """
    _only(section, ("schemas", "name_key", "enums", "message"), "")
    ids = section.get("schemas")
    if not isinstance(ids, list) or not ids or not all(type(i) is int and 0 <= i <= 255 for i in ids):
        raise LayoutError("schemas", "must be a list of ids below 256")
    name_key = _key(section.get("name_key"), "name_key")
    enums = {}
    for name, texts in _table(section.get("enums", {}), "enums").items():
        values = _table(texts, f"enums.{name}")
        if not all(type(value) is int and 0 <= value <= 254 for value in values.values()):
            raise LayoutError(f"enums.{name}", "the values must be numbers up to 254")
        if len(set(values.values())) < len(values):
            raise LayoutError(f"enums.{name}", "two texts have the same value")
        enums[name] = {value: _key(text, f"enums.{name}") for text, value in values.items()}
    messages: dict[int, Message] = {}
    for number, table in enumerate(_tables(section.get("message", []), "message"), 1):
        message = _message(table, f"message {number}", enums)
        if message.template in messages:
            raise LayoutError(f"message {number}", f"template {message.template} has a layout already")
        messages[message.template] = message
    return Schema(tuple(ids), name_key, enums, messages)


def _message(table: dict[str, Any], at: str, enums: Mapping[str, Any]) -> Message:
    template = table.get("template")
    if type(template) is not int or not 0 <= template <= 65535:
        raise LayoutError(at, "needs template = a number below 65536")
    at = f"template {template}"
    _only(table, ("template", "name", "enter", "under", "fields", "groups", "data"), at)
    texts = {key: _key(table[key], f"{at}.{key}") if key in table else "" for key in ("name", "enter", "under")}
    fields, groups, data = _layout(table, at, enums, 1)
    if any(not group.key for group in groups) and (len(groups) > 1 or fields or data or any(texts.values())):
        raise LayoutError(at, "a group without a key must be all there is in the message")
    return Message(template, texts["name"], texts["enter"], texts["under"], fields, groups, data)


def _layout(
    table: dict[str, Any], at: str, enums: Mapping[str, Any], depth: int
) -> tuple[tuple[Field, ...], tuple[Group, ...], tuple[Data, ...]]:
    fields = _fields(table.get("fields", []), f"{at}.fields", enums)
    groups = tuple(_group(group, f"{at}.groups", enums, depth) for group in _tables(table.get("groups", []), at))
    data = tuple(_data(text, f"{at}.data") for text in _list(table.get("data", []), f"{at}.data"))
    if depth > 1 and any(field.outside for field in fields):
        raise LayoutError(at, "a key with // inside a group")
    return fields, groups, data


def _fields(value: object, at: str, enums: Mapping[str, Any]) -> tuple[Field, ...]:
    fields: list[Field] = []
    for text in _list(value, at):
        match = _match(text, at)
        type_, of = match["type"], match["of"] or ""
        if type_ not in SIZES or match["optional"]:
            raise LayoutError(at, f"{text!r}: no such type of field")
        if type_ == "enum" and of not in enums:
            raise LayoutError(at, f"{text!r}: no enum {of!r}")
        if type_ == "dec" and not any(field.type == "exp" and field.key == of for field in fields):
            raise LayoutError(at, f"{text!r}: no exponent {of!r} before it")
        if of and type_ not in ("enum", "dec"):
            raise LayoutError(at, f"{text!r}: only dec and enum are of something")
        offset = fields[-1].end if fields else 0
        fields.append(Field(match["key"], type_, offset, of, _json(match["absent"], at), bool(match["outside"])))
    return tuple(fields)


def _group(table: dict[str, Any], at: str, enums: Mapping[str, Any], depth: int) -> Group:
    _only(table, ("key", "count", "fields", "groups", "data"), at)
    key = _key(table["key"], f"{at}.key") if "key" in table else ""
    if table.get("count") not in (8, 16, 32):
        raise LayoutError(at, "needs count = 8, 16 or 32, the bits of the number of entries")
    if not key and depth > 1:
        raise LayoutError(at, "a group inside a group needs a key")
    if depth > 4:
        raise LayoutError(at, "groups nested too deeply")
    return Group(key, table["count"], *_layout(table, f"{at}.{key}" if key else at, enums, depth + 1))


def _data(text: object, at: str) -> Data:
    match = _match(text, at)
    kind = re.fullmatch(r"(text|message)(8|16|32)", match["type"])
    if kind is None or match["of"] or match["outside"]:
        raise LayoutError(at, f"{text!r}: data is text8, text16, text32, message8, message16 or message32")
    if kind[1] == "message" and (match["optional"] or match["absent"]):
        raise LayoutError(at, f"{text!r}: a message that is not there always leaves its key out")
    absent = '""' if not match["optional"] and match["absent"] is None else _json(match["absent"], at)
    return Data(match["key"], kind[1], int(kind[2]), "" if kind[1] == "message" else absent)


def _match(text: object, at: str) -> re.Match[str]:
    match = _ITEM.fullmatch(text) if isinstance(text, str) else None
    if match is None or (match["optional"] and match["absent"]):
        raise LayoutError(at, f"{text!r} is not KEY TYPE [OF] [= JSON]")
    _key(match["key"], at)
    return match


def _json(text: str | None, at: str) -> str:
    if text is None:
        return ""
    try:
        return json.dumps(json.loads(text))
    except json.JSONDecodeError:
        raise LayoutError(at, f"{text!r} is not JSON") from None


def _key(value: object, at: str) -> str:
    if not isinstance(value, str) or not value or re.search(r'[\x00-\x1f\x7f"\\]', value):
        raise LayoutError(at, f"must be a text that JSON need not escape, not {value!r}")
    return value


def _only(table: Mapping[str, Any], keys: Sequence[str], at: str) -> None:
    for key in table:
        if key not in keys:
            raise LayoutError(at, f"unknown key {key!r}")


def _table(value: object, at: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise LayoutError(at, f"must be a table, not {value!r}")
    return value


def _tables(value: object, at: str) -> list[dict[str, Any]]:
    return [_table(item, at) for item in _list(value, at)]


def _list(value: object, at: str) -> list[Any]:
    if not isinstance(value, list):
        raise LayoutError(at, f"must be a list, not {value!r}")
    return value
