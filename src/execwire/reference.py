"""The slow, obvious decoder: stdlib json and Decimal, from the same venue files as the C core.

It is what the C core is tested against, so it does one thing at a time and nothing cleverly. Where the description of
the dialects leaves something open, this is what holds (SBE frames it does not read; of the C core's limits it has those
of depth and inflation):

JSON
    * A comment ends at a line feed or with the payload; what it says is free, but must be UTF-8.
    * 128 containers may be nested. A byte order mark stands before JSON only, not before a prompt.
    * Of repeated keys only the last exists: the others are neither matched nor part of `extra`.
    * Concatenated gzip members are one payload, zero bytes may follow them; the limit is on their sum.
Paths
    * A field's alternative is there if its key is, whatever the value, null too.
    * An index is one of arrays; on an object it is a key. Fields and conditions do not step through arrays otherwise.
      `rows` steps through one level of arrays at every key and passes over elements that are no objects.
    * An array in an envelope is like one at the root: of objects only, and without any there is no record.
Conditions
    * Strings and numbers compare by their text, other values by their type only.
Values
    * Decimals are shown plain, but as "12E+3" where the exponent is positive or plain would need more than 40 digits.
    * Numbers that an integer field takes are plain: no leading zero, fraction or exponent, also as strings.
    * A text of `enums.bool` stays in `extra`, even "true". null leaves a bool missing.
    * Case is ASCII case where words and texts are compared.
    * A notice for an unknown event takes the leaf that its message shows, and no other message. Its `event` is "", as
      is that of a prompt, which has nothing but its code.
    * `extra` leaves out what any record of the payload took. Flag `extra` tells that the record itself did not take all
      of its row object, other rows in it not counted; the rest of the frame does not matter.
    * Should the row object have a member "envelope" left, then the frame's remainder is called "_envelope" (and so on).
    * In `extra`, -0 is the int 0, and a number with an exponent beyond Decimal is its text.
"""

from __future__ import annotations

import json
import re
import zlib
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn, TypeAlias

from execwire import sbe_reference
from execwire.venues import Condition, Emit, Envelope, Event, Field, Path, Venue, _schema, load

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable, Mapping

__all__ = ["ReferenceError", "decode"]

MAX_DEPTH = 128
MAX_INFLATED = 16 << 20
GZIP_MAGIC = b"\x1f\x8b"

EXTRA, LONG_TEXT, UNKNOWN_ENUM, UNREPRESENTABLE = "extra", "long_text", "unknown_enum", "unrepresentable"


class ReferenceError(ValueError):  # noqa: A001  (nobody needs the one of weak references here)
    """A payload that cannot be decoded. `offset` is the byte where that shows, if it is known."""

    def __init__(self, message: str, offset: int | None = None) -> None:
        super().__init__(message if offset is None else f"{message} (byte {offset})")
        self.message = message
        self.offset = offset


# ---- MARK: JSON ----


@dataclass(frozen=True)
class Number:
    """A number as the payload writes it."""

    text: str


Json: TypeAlias = "dict[str, Any] | list[Any] | str | Number | bool | None"


class _Members(list[tuple[str, Any]]):
    """An object before its repeated keys are dropped, so that what they hide is checked as well."""


def _inflate(payload: bytes, limit: int) -> bytes:
    if not payload.startswith(GZIP_MAGIC):
        return payload
    inflated, rest = b"", payload
    while rest.strip(b"\0"):
        if not rest.startswith(GZIP_MAGIC):
            raise ReferenceError("bytes after the last gzip member", len(payload) - len(rest))
        member = zlib.decompressobj(wbits=31)
        try:
            inflated += member.decompress(rest, limit + 1 - len(inflated))
        except zlib.error as error:
            raise ReferenceError(f"corrupt gzip frame: {error}") from None
        if len(inflated) > limit:
            raise ReferenceError("gzip frame inflates beyond the limit")
        if not member.eof:
            raise ReferenceError("truncated gzip frame", len(payload))
        rest = member.unused_data
    return inflated


def _text_of(payload: bytes) -> str:
    try:
        return payload.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ReferenceError("not UTF-8", error.start) from None


def _without_sbe(venue: Venue, payload: bytes) -> bytes:
    """The payload; of an SBE frame, the JSON of the same message."""
    if venue.sbe_schema is None or not sbe_reference.is_frame(payload):
        return payload
    try:
        return json.dumps(sbe_reference.render(venue.sbe_schema, payload)).encode()
    except sbe_reference.FrameError as error:
        raise ReferenceError(error.message, error.offset) from None


def _blank_comments(text: str) -> str:
    """Spaces instead of comments, so that positions stay."""
    string_or_comment = r'"[^"\\]*(?:\\.[^"\\]*)*(?:"|\\?\Z)|//[^\n]*'

    def blank(match: re.Match[str]) -> str:
        return match[0] if match[0].startswith('"') else " " * len(match[0])

    return re.sub(string_or_comment, blank, text, flags=re.DOTALL)


def _no_constant(word: str) -> NoReturn:
    raise ReferenceError(f"{word} is no JSON")


def _parse(text: str) -> Json:
    bom = "\ufeff" if text.startswith("\ufeff") else ""
    try:
        value = json.loads(
            _blank_comments(text.removeprefix(bom)),
            object_pairs_hook=_Members,
            parse_int=Number,
            parse_float=Number,
            parse_constant=_no_constant,
        )
    except json.JSONDecodeError as error:
        raise ReferenceError(error.msg, len(text[: len(bom) + error.pos].encode())) from None
    except RecursionError:
        raise ReferenceError("nested too deeply") from None
    return _tidy(value, 0)


def _tidy(value: Any, depth: int) -> Json:
    """Check what json does not, and make dicts of objects."""
    if isinstance(value, list) and depth == MAX_DEPTH:
        raise ReferenceError("nested too deeply")
    if isinstance(value, _Members):
        # Of repeated keys the last wins, and all are checked.
        return {_whole(key): _tidy(member, depth + 1) for key, member in value}
    if isinstance(value, list):
        return [_tidy(item, depth + 1) for item in value]
    return _whole(value) if isinstance(value, str) else value


def _whole(text: str) -> str:
    if re.search("[\ud800-\udfff]", text):
        raise ReferenceError("half a surrogate pair")
    return text


def _plain(value: Json) -> Any:
    """A value as `extra` shows it."""
    if isinstance(value, dict):
        return {key: _plain(member) for key, member in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return _plain_number(value.text) if isinstance(value, Number) else value


def _plain_number(text: str) -> int | Decimal | str:
    try:
        # int(str) has a limit of digits, int(Decimal) has none.
        return int(Decimal(text)) if re.fullmatch(r"-?[0-9]+", text) else Decimal(text)
    except InvalidOperation:
        return text


# ---- MARK: Paths ----


Identity: TypeAlias = tuple[int, str | int]  # of a leaf: of what holds it, and key or index


class Leaf(NamedTuple):
    """Where a value stands."""

    holder: Any  # a dict, and its key, or a list, and its index
    key: str | int

    @property
    def value(self) -> Json:
        value: Json = self.holder[self.key]
        return value

    @property
    def identity(self) -> Identity:
        return id(self.holder), self.key


def _step(value: Json, step: str | int) -> Leaf | None:
    if isinstance(value, list):
        return Leaf(value, step) if isinstance(step, int) and step < len(value) else None
    return Leaf(value, str(step)) if isinstance(value, dict) and str(step) in value else None


def _follow(value: Json, path: Path) -> Leaf | None:
    leaf = None
    for step in path.steps:
        leaf = _step(value, step)
        if leaf is None:
            return None
        value = leaf.value
    return leaf


def _text_at(value: Json, path: Path) -> str | None:
    leaf = _follow(value, path)
    return _word_of(leaf.value) if leaf else None


def _rows(event: dict[str, Any], path: Path) -> list[dict[str, Any]]:
    rows = [event]
    for step in path.steps:
        values = [row[step] for row in rows if step in row]
        rows = [row for value in values for row in _objects(value)]
    return rows


def _objects(value: Json) -> list[dict[str, Any]]:
    """The object, or those in the array."""
    return [item for item in (value if isinstance(value, list) else [value]) if isinstance(item, dict)]


# ---- MARK: Values ----


class Held(NamedTuple):
    """What a field makes of a value."""

    shown: Any  # as to_dict shows it, or NOTHING
    exact: bool = True  # the value is taken: it need not be in extra
    flag: str = ""


NOTHING = object()
MISFIT = Held(NOTHING, False, UNREPRESENTABLE)
NULL = Held(None)
EMPTY = Held("")

JSON_NUMBER = re.compile(r"(-?)(0|[1-9][0-9]*)(?:\.([0-9]+))?(?:[eE]([-+]?[0-9]+))?")
JSON_INTEGER = re.compile(r"-?(?:0|[1-9][0-9]*)")


def _word_of(value: Json) -> str | None:
    """The text of a string or number."""
    return value.text if isinstance(value, Number) else value if isinstance(value, str) else None


def _convert(value: Json, field: Field, venue: Venue) -> Held:
    """What a field makes of a value that is there."""
    if value is None:
        return NULL
    spellings = venue.enums.get(field.vocabulary, {})
    if field.type == "bool":
        return Held(value) if isinstance(value, bool) else _bool(_word_of(value), spellings)
    if field.type == "enum":
        return _enum(("false", "true")[value] if isinstance(value, bool) else _word_of(value), spellings)
    text = _word_of(value)
    if text is None:
        return MISFIT
    return _name(text, field.room) if field.type in ("id", "text") else NUMERIC[field.type](text)


def _name(text: str, room: int) -> Held:
    """Ids and texts."""
    return Held(text, True, LONG_TEXT if len(text.encode()) > room else "")


def _enum(text: str | None, spellings: Mapping[str, str]) -> Held:
    if text is None:
        return MISFIT
    if text in spellings:
        return Held(spellings[text], _lower(text) == spellings[text])
    return EMPTY if text == "" else Held("unknown", False, UNKNOWN_ENUM)


def _lower(text: str) -> str:
    return text.lower() if text.isascii() else text


def _bool(text: str | None, spellings: Mapping[str, str]) -> Held:
    if text is not None and text in spellings:
        return Held(spellings[text] == "true", False)
    return EMPTY if text == "" else MISFIT


def _decimal(text: str) -> Held:
    if text == "":
        return EMPTY
    shown = _decimal_text(text)
    return MISFIT if shown is None else Held(shown)


def _decimal_text(text: str) -> str | None:
    """The canonical text of a decimal, None if it is none or does not fit."""
    match = JSON_NUMBER.fullmatch(text)
    if match is None:
        return None
    sign, whole, fraction, power = match[1], match[2], match[3] or "", match[4] or "0"
    digits = (whole + fraction).lstrip("0") or "0"
    # int() refuses thousands of digits, and none of these lengths fits anyway.
    if len(digits) > 40 or len(power.lstrip("+-0")) > 9 or int(digits) > 2**95 - 1:
        return None
    exponent = int(power) - len(fraction)
    if abs(exponent) > 999:
        return None
    if exponent > 0 or exponent < -39:
        return f"{sign}{digits}E{exponent:+d}"
    if exponent == 0:
        return sign + digits
    digits = digits.rjust(1 - exponent, "0")
    return f"{sign}{digits[:exponent]}.{digits[exponent:]}"


def _time(text: str) -> Held:
    if text == "":
        return EMPTY
    if not JSON_INTEGER.fullmatch(text) or len(text) > 20:
        return MISFIT
    time = int(text)
    size = abs(time)
    ns = time * (10**9 if size < 10**11 else 10**6 if size < 10**14 else 10**3 if size < 10**17 else 1)
    return Held(ns) if -(2**63) <= ns < 2**63 else MISFIT


def _u16(text: str) -> Held:
    return Held(int(text)) if re.fullmatch(r"0|[1-9][0-9]{0,4}", text) and int(text) <= 65535 else MISFIT


NUMERIC: Mapping[str, Callable[[str], Held]] = {"decimal": _decimal, "time": _time, "u16": _u16}


# ---- MARK: Records ----


@dataclass
class Record:
    """One record, before it is known what the others take."""

    kind: str
    event: str
    row: dict[str, Any]
    frame: dict[str, Any]
    shown: dict[str, Any] = field(default_factory=dict)
    flags: set[str] = field(default_factory=set)
    taken: set[Identity] = field(default_factory=set)


class _Decoding:
    """The records of one payload."""

    def __init__(self, venue: Venue) -> None:
        self.venue = venue
        self.records: list[Record] = []

    def frame(self, frame: dict[str, Any]) -> None:
        for event in _unwrap(self.venue.envelopes, frame):
            self.event(event, frame)

    def event(self, value: dict[str, Any], frame: dict[str, Any]) -> None:
        event = _route(self.venue, value)
        if event is None:
            self.unknown(value, frame)
            return
        # The event's own name says nothing that the record does not say.
        leaf = _follow(value, event.discriminator)
        name = {leaf.identity} if leaf and leaf.value == event.name else set[Identity]()
        before = len(self.records)
        for emit in event.emits:
            for row in _rows(value, emit.rows):
                self.record(emit, event.name, row, value, frame)
        if len(self.records) == before:
            self.record(self.generated("empty"), event.name, value, value, frame)
        for record in self.records[before:]:
            record.taken |= name

    def unknown(self, value: dict[str, Any], frame: dict[str, Any]) -> None:
        name = [path for path in self.venue.discriminators if _text_at(value, path) is not None]
        self.record(self.generated("unknown_event", name[:1]), "", value, value, frame)

    def generated(self, code: str, message: Iterable[Path] = ()) -> Emit:
        """The notice for an event that gives no other record."""
        own = {"message": tuple(message)} if message else {}
        return Emit("notice", Path("", ()), {**self.venue.common, **own}, {"code": code})

    def record(self, emit: Emit, named: str, row: dict[str, Any], event: dict[str, Any], frame: dict[str, Any]) -> None:
        record = Record(emit.kind, named, row, frame)
        places = {"": row, "/": event, "//": frame}
        for name, paths in emit.fields.items():
            leaves = (_follow(places[path.scope], path) for path in paths)
            leaf = next((leaf for leaf in leaves if leaf), None)
            if leaf is not None:
                self.field(record, _schema().kinds[emit.kind][name], leaf)
        for name, word in emit.consts.items():
            is_bool = _schema().kinds[emit.kind][name].type == "bool"
            record.shown[name] = word == "true" if is_bool else word
        self.records.append(record)

    def field(self, record: Record, field: Field, leaf: Leaf) -> None:
        held = _convert(leaf.value, field, self.venue)
        if held.shown is not NOTHING:
            record.shown[field.name] = held.shown
        if held.exact:
            record.taken.add(leaf.identity)
        if held.flag:
            record.flags.add(held.flag)


def _unwrap(envelopes: Iterable[Envelope], frame: dict[str, Any]) -> list[dict[str, Any]]:
    """The event objects of a frame."""
    for envelope in envelopes:
        inner = frame.get(envelope.enter)
        if isinstance(inner, (dict, list)) and all(key in frame for key in envelope.when):
            return _elements(inner)
    return [frame]


def _elements(value: Json) -> list[dict[str, Any]]:
    """The object, or all there is in the array."""
    objects = _objects(value)
    if isinstance(value, list) and len(objects) < len(value):
        raise ReferenceError("array element is not an object")
    return objects


def _route(venue: Venue, value: dict[str, Any]) -> Event | None:
    for path in venue.discriminators:
        for event in venue.events:
            if event.discriminator == path and all(_holds(condition, value) for condition in event.when):
                return event
    return None


def _holds(condition: Condition, event: dict[str, Any]) -> bool:
    leaf = _follow(event, condition.path)
    return leaf is not None and any(_is(leaf.value, text) for text in condition.texts)


def _is(value: Json, text: str) -> bool:
    types = {"<object>": dict, "<array>": list, "<string>": str, "<number>": Number, "<bool>": bool}
    if text in types:
        return isinstance(value, types[text])
    if text == "<any>":
        return True
    if text == "<null>":
        return value is None
    return text == _word_of(value)


# ---- MARK: What is left ----


def _left(holder: Any, taken: set[Identity], rows: set[int]) -> Any:
    """An object or array without the leaves taken and the objects that are rows; itself empty if nothing is left."""
    kept: list[tuple[Any, Any]] = []
    for key, value in holder.items() if isinstance(holder, dict) else enumerate(holder):
        if (id(holder), key) in taken or id(value) in rows:
            continue
        if not isinstance(value, (dict, list)) or not value:
            kept.append((key, _plain(value)))
        elif left := _left(value, taken, rows):
            kept.append((key, left))
    return dict(kept) if isinstance(holder, dict) else [value for _, value in kept]


def _extra(record: Record, taken: set[Identity], rows: set[int]) -> dict[str, Any]:
    extra: dict[str, Any] = _left(record.row, taken, rows)
    around = {} if id(record.frame) in rows else _left(record.frame, taken, rows)
    if around:
        name = "envelope"
        while name in extra:
            name = "_" + name
        extra[name] = around
    return extra


# ---- MARK: Decoding ----


def decode(
    venue: Venue | str | os.PathLike[str],
    payload: bytes | bytearray | memoryview,
    ts_recv: int = 0,
    *,
    flags: bool = False,
    max_inflated: int = MAX_INFLATED,
) -> list[dict[str, Any]]:
    """Decode one payload: JSON, an SBE frame, a text prompt, or a gzip frame of one of them.

    Parameters
    ----------
    venue : Venue, str or path-like
        A venue, or what `execwire.venues.load` takes.
    payload : bytes-like
        The payload, whole.
    ts_recv : int
        When it was received, in ns; 0 if not known.
    flags : bool
        Give every record "flags" too: a sorted list of "extra", "long_text", "unknown_enum", "unrepresentable".
    max_inflated : int
        The most bytes that a gzip frame may inflate to.

    Returns
    -------
    list of dict
        What ``to_dict(extra=True)`` of the records gives.

    Raises
    ------
    ReferenceError
        If any part of the payload cannot be decoded.
    """
    if not isinstance(venue, Venue):
        venue = load(venue)
    text = _text_of(_without_sbe(venue, _inflate(bytes(payload), max_inflated)))
    for prompt in venue.prompts:
        if text.strip(" \t\r\n") == prompt.text:
            return [_shown(venue, Record("notice", "", {}, {}, {"code": prompt.code}), ts_recv, {}, flags)]
    root = _parse(text)
    if not isinstance(root, (dict, list)):
        raise ReferenceError("neither an object nor an array nor a known prompt")
    decoding = _Decoding(venue)
    for frame in _elements(root):
        decoding.frame(frame)
    records = decoding.records
    rows = {id(record.row) for record in records}
    for record in records:
        if _left(record.row, record.taken, rows):
            record.flags.add(EXTRA)
    taken = set().union(*(record.taken for record in records))
    return [_shown(venue, record, ts_recv, _extra(record, taken, rows), flags) for record in records]


def _shown(venue: Venue, record: Record, ts_recv: int, extra: dict[str, Any], flags: bool) -> dict[str, Any]:
    """A record as a dict, its fields in struct order."""
    values = {**record.shown, "ts_recv": ts_recv} if ts_recv else record.shown
    shown: dict[str, Any] = {"kind": record.kind, "venue": venue.name, "event": record.event}
    shown.update((name, values[name]) for name in _schema().kinds[record.kind] if name in values)
    if extra:
        shown["extra"] = extra
    if flags:
        shown["flags"] = sorted(record.flags)
    return shown
