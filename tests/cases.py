"""What several tests share: the payloads of tests/payloads, JSON that can be written in many ways, and comparing."""

from __future__ import annotations

import dataclasses
import functools
import gzip
import json
import random
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import execwire
from execwire import core, reference

if TYPE_CHECKING:
    from collections.abc import Iterable

FOLDER = Path(__file__).resolve().parent / "payloads"
VENUES = sorted(folder.name for folder in FOLDER.iterdir())

# ---- MARK: Payloads ----


@dataclass(frozen=True)
class Case:
    """One payload."""

    venue: str
    path: Path

    @property
    def payload(self) -> bytes:
        """Its bytes, as they come from the wire."""
        return self.path.read_bytes()

    @property
    def records(self) -> list[dict[str, Any]]:
        """What it must give, decimals as texts."""
        expected: list[dict[str, Any]] = json.loads(self.path.with_name(f"{self.path.stem}.records.json").read_text())
        return expected

    def __str__(self) -> str:
        return f"{self.venue}/{self.path.name}"


@functools.cache
def cases(venue: str | None = None) -> tuple[Case, ...]:
    """All payloads, or those of one venue."""
    if venue is None:
        return tuple(case for name in VENUES for case in cases(name))
    return tuple(
        Case(venue, path) for path in sorted((FOLDER / venue).iterdir()) if not path.name.endswith(".records.json")
    )


# ---- MARK: JSON as it is written ----


class Number(str):
    """A number, as the payload writes it."""

    __slots__ = ()


class Object(list[tuple[str, Any]]):
    """An object with its members in order, repeated ones too."""

    __slots__ = ()


def read(payload: bytes) -> Any:
    """JSON with numbers and members as they are written; no value at all if the payload is none."""
    if payload.startswith(b"\x1f\x8b"):
        payload = gzip.decompress(payload)
    text = payload.decode().removeprefix("\ufeff")
    text = re.sub(r'("(?:[^"\\]|\\.)*")|//[^\n]*', lambda match: match[1] or "", text)
    try:
        return json.loads(text, object_pairs_hook=Object, parse_int=Number, parse_float=Number)
    except json.JSONDecodeError:
        return ...


class Style:
    """A way to write JSON down: which white space and comments between tokens, which characters as escapes."""

    SPACES = ("", " ", "\n", "  ", "\t", "\r\n", "// x\n", '\n//{"a":[\n ')

    def __init__(self, space: str = "none", escape: str = "none", seed: int = 0) -> None:
        self.space = space  # none, usual, indent, comments, random
        self.escape = escape  # none, all, random
        self.random = random.Random(seed)

    def write(self, value: Any) -> bytes:
        """The text of a value."""
        return (self.gap() + self.value(value, 0) + self.gap()).encode()

    def gap(self) -> str:
        return self.random.choice(self.SPACES) if self.space == "random" else ""

    def line(self, depth: int) -> str:
        ends = {"indent": "\n", "comments": ' // "old": [{\n'}
        return ends[self.space] + "    " * depth if self.space in ends else self.gap()

    def value(self, value: Any, depth: int) -> str:
        if isinstance(value, Object):
            colon = ": " if self.space in ("usual", "indent", "comments") else ":"
            inner = [
                self.string(key) + self.gap() + colon + self.gap() + self.value(member, depth + 1)
                for key, member in value
            ]
            return "{" + self.items(inner, depth) + "}"
        if isinstance(value, list):
            return "[" + self.items([self.value(item, depth + 1) for item in value], depth) + "]"
        if isinstance(value, Number):
            return str(value)
        if isinstance(value, str):
            return self.string(value)
        return {None: "null", True: "true", False: "false"}[value]

    def items(self, items: list[str], depth: int) -> str:
        comma = ", " if self.space == "usual" else ","
        lines = [self.line(depth + 1) + item + self.gap() for item in items]
        return comma.join(lines) + (self.line(depth) if items else self.gap())

    def string(self, text: str) -> str:
        return '"' + "".join(self.character(c) for c in text) + '"'

    def character(self, character: str) -> str:
        escaped = self.escape == "all" or (self.escape == "random" and self.random.random() < 0.2)
        if not escaped and character not in '"\\' and character >= " ":
            return character
        if character in '"\\/' and self.random.random() < 0.5:
            return "\\" + character
        units = character.encode("utf-16-be", "surrogatepass").hex()
        if self.random.random() < 0.5:
            units = units.upper()
        return "".join(f"\\u{units[i : i + 4]}" for i in range(0, len(units), 4))


def reordered(value: Any, rng: random.Random | None) -> Any:
    """The value with the members of every object shuffled, or reversed if there is no generator."""
    if isinstance(value, Object):
        members = [(key, reordered(member, rng)) for key, member in value]
        if rng is None:
            members.reverse()
        else:
            rng.shuffle(members)
        return Object(members)
    return [reordered(item, rng) for item in value] if isinstance(value, list) else value


def has_repeated_keys(value: Any) -> bool:
    """Whether an object in the value has a key twice."""
    if isinstance(value, Object):
        return len(dict(value)) < len(value) or any(has_repeated_keys(member) for _, member in value)
    return isinstance(value, list) and any(has_repeated_keys(item) for item in value)


# ---- MARK: What decoders say ----

FLAGS = {
    "extra": core.EXTRA,
    "long_text": core.LONG_TEXT,
    "unknown_enum": core.UNKNOWN_ENUM,
    "unrepresentable": core.UNREPRESENTABLE,
}  # in order of the reference's


def told(records: Iterable[execwire.Record]) -> list[dict[str, Any]]:
    """Records as dicts with everything in them, the names of their flags too."""
    return [
        {**record.to_dict(extra=True), "flags": [name for name, bit in FLAGS.items() if record.flags & bit]}
        for record in records
    ]


def spans(records: Iterable[execwire.Record]) -> list[tuple[int, int]]:
    """Where the records' own objects stand."""
    return [record.span for record in records]


@functools.cache
def _dialect(venue: str) -> execwire.venues.Venue:
    return execwire.venues.load(venue)


@functools.cache
def _without_samples(venue: str) -> execwire.venues.Venue:
    return dataclasses.replace(_dialect(venue), samples=())


def fresh(venue: str) -> execwire.Decoder:
    """A decoder that has seen nothing yet, not even samples."""
    return execwire.Decoder(_without_samples(venue))


def outcome(decoder: execwire.Decoder, payload: bytes) -> list[dict[str, Any]] | None:
    """What a decoder tells of a payload; None if it refuses it."""
    try:
        return told(decoder.decode(payload))
    except execwire.DecodeError:
        assert len(decoder.records) == 0
        return None


def expected_outcome(venue: str, payload: bytes) -> list[dict[str, Any]] | None:
    """What the reference tells of it."""
    try:
        return reference.decode(_dialect(venue), payload, flags=True)
    except reference.ReferenceError:
        return None


def parametrized(items: Iterable[Any]) -> pytest.MarkDecorator:
    """Run a test for every one of them, as its argument `case`."""
    return pytest.mark.parametrize("case", items, ids=str)
