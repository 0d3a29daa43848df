"""Nothing of a payload is lost: every scalar in it is in a field or in `extra` of some record, exactly.

And how it is written does not matter: order of keys, white space, comments, escapes. The payloads are those of
tests/payloads and, where it is at hand, the corpus beside the repository.
"""

from __future__ import annotations

import functools
import gzip
import json
import random
import re
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from cases import FOLDER, Case, Style, cases, fresh, has_repeated_keys, parametrized, read, reordered, told

from execwire import core, reference

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CORPUS = FOLDER.parents[2] / "shared" / "corpus"
CORPUS_VENUES = {
    "binance_spot": "binance-spot",
    "binance_wsapi": "binance-spot",
    "binance_futures": "binance-futures",
    "bitget_v1": "bitget-v1",
    "bitget_v2": "bitget",
    "openapi_broker": "openapi-broker",
    "gzip_broker": "gzip-broker",
}
FRAMES = CORPUS / "gzip_broker" / "frames"


def corpus() -> list[Case]:
    return [Case(CORPUS_VENUES[path.parent.name], path) for path in sorted(CORPUS.glob("*/*.json"))]


needs_corpus = pytest.mark.skipif(not CORPUS.is_dir(), reason="no corpus beside the repository: ../shared/corpus")
documents = parametrized([case for case in [*cases(), *corpus()] if read(case.payload) is not ...])


# ---- MARK: Leaves ----


@dataclass(frozen=True)
class Slot:
    """A value that a record holds."""

    place: str  # name of the field, or "extra"
    type: str  # of the field, or "" in extra
    value: Any


@functools.cache
def types(kind: str) -> dict[str, str]:
    return {field.name: field.type for field in core.fields(kind)}


def leaves(value: Any) -> Iterator[Any]:
    """The scalars of a value."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from leaves(item)
    else:
        yield value


def slots(record: dict[str, Any]) -> Iterator[Slot]:
    """Everything a record holds."""
    for name, value in record.items():
        if name == "extra":
            for leaf in leaves(value):
                yield Slot("extra", "", leaf)
        elif name not in ("kind", "venue") and (name, value) != ("event", ""):
            yield Slot(name, types(record["kind"]).get(name, "name"), value)


def nanoseconds(number: int) -> int:
    """A time whose unit its magnitude tells."""
    size = abs(number)
    return number * (10**9 if size < 10**11 else 10**6 if size < 10**14 else 10**3 if size < 10**17 else 1)


def same(a: Any, b: Any) -> bool:
    """Equal, of one type, to the last zero."""
    if isinstance(a, Decimal) and isinstance(b, Decimal):
        return a.as_tuple() == b.as_tuple()
    return type(a) is type(b) and bool(a == b)


def integer(text: str) -> int | None:
    return int(text) if text.removeprefix("-").isascii() and text.removeprefix("-").isdigit() else None


def is_decimal(text: str, shown: str) -> bool:
    """Whether a decimal as it is shown is exactly what the text says."""
    if text == shown or not re.fullmatch(r"-?[0-9]+(\.[0-9]+)?[eE][-+]?[0-9]+", text):
        return text == shown
    return Decimal(text).as_tuple() == Decimal(shown).as_tuple()


def holds(slot: Slot, leaf: Any) -> bool:
    """Whether it holds a leaf of the payload exactly."""
    if slot.type == "" or leaf is None:
        return same(slot.value, leaf)
    if slot.value is None or isinstance(leaf, bool) or isinstance(slot.value, bool):
        return slot.value is leaf or (slot.type == "enum" and slot.value == str(leaf).lower())
    text = str(leaf)
    if text == "":
        return bool(slot.value == "")
    if slot.type == "decimal":
        return is_decimal(text, slot.value)
    if slot.type == "time":
        number = integer(text)
        return number is not None and bool(slot.value == nanoseconds(number))
    if slot.type == "u16":
        return bool(slot.value == integer(text))
    if slot.type == "enum":
        return bool(slot.value == text.lower())
    return bool(slot.value == text)  # ids, texts and the name of the event, as they are written


def lost(payload: bytes, records: list[dict[str, Any]]) -> list[Any]:
    """The leaves without a slot of their own: one slot does not stand for two of them."""
    found = list(leaves(json.loads(payload, parse_float=Decimal)))
    there = [slot for record in records for slot in slots(record)]
    fitting = [[i for i, slot in enumerate(there) if holds(slot, leaf)] for leaf in found]
    owner: dict[int, int] = {}

    def settle(number: int, tried: set[int]) -> bool:
        for i in fitting[number]:
            if i not in tried:
                tried.add(i)
                if i not in owner or settle(owner[i], tried):
                    owner[i] = number
                    return True
        return False

    return [leaf for number, leaf in enumerate(found) if not settle(number, set())]


def test_the_check_finds_what_is_lost() -> None:
    record: dict[str, Any] = {
        "kind": "order", "venue": "x", "event": "o", "ts_event": 1795000000000000000, "price": "1.50", "side": "buy",
        "order_id": "17", "is_maker": True, "fee": None, "extra": {"q": Decimal("2.0"), "T": "x"},
    }  # fmt: skip
    whole = b'{"e":"o","E":1795000000000,"p":1.50,"S":"BUY","i":17,"m":true,"n":null,"q":2.0,"T":"x"}'
    assert lost(whole, [record]) == []
    for old, new in {
        b"1.50": b"1.5", b'"p":1.50': b'"p":"1.500"', b"000,": b"001,", b"BUY": b"SELL", b'"i":17': b'"i":"017"',
        b"2.0": b'"2.0"', b"true": b"false", b"null": b'""', b'"x"': b'"X"', b'"o"': b'"O"', b'"T"': b'"t":"BUY","T"',
    }.items():  # fmt: skip
        assert len(lost(whole.replace(old, new), [record])) == 1, new


@documents
def test_every_leaf_is_somewhere(case: Case) -> None:
    records = [record.to_dict(extra=True) for record in fresh(case.venue).decode(case.payload)]
    payload = Style().write(read(case.payload))  # without comments and frames
    assert lost(payload, records) == []


# ---- MARK: The corpus ----


@needs_corpus
def test_all_of_the_corpus_is_there() -> None:
    assert {path.parent.name for path in CORPUS.glob("*/*.json")} == set(CORPUS_VENUES)
    assert len(corpus()) > 150


@needs_corpus
@parametrized(corpus())
def test_corpus(case: Case) -> None:
    decoder = fresh(case.venue)
    records = decoder.decode(case.payload)
    assert records
    assert told(records) == reference.decode(case.venue, case.payload, flags=True)
    assert decoder.stats.unknown_events == decoder.stats.unrepresentable == 0


@needs_corpus
@pytest.mark.parametrize("path", sorted(FRAMES.glob("*.gz")), ids=lambda path: path.name)
def test_corpus_frame(path: Path) -> None:
    """As it comes from the socket."""
    frame, decoder = path.read_bytes(), fresh("gzip-broker")
    records = decoder.decode(frame)
    assert told(records) == reference.decode("gzip-broker", frame, flags=True)
    assert told(records) == told(fresh("gzip-broker").decode(gzip.decompress(frame)))
    assert lost(Style().write(read(frame)), [record.to_dict(extra=True) for record in records]) == []
    assert decoder.stats.unknown_events == 0


@needs_corpus
def test_corpus_text_frames() -> None:
    lines = (CORPUS / "TEXT_FRAMES.tsv").read_text().splitlines()[1:]
    assert lines
    for line in lines:
        folder, _, opcode, text, _ = line.split("\t")
        if opcode == "text":
            decoder = fresh(CORPUS_VENUES[folder])
            (record,) = decoder.decode(text.encode())
            assert record.kind == "notice"
            assert decoder.stats.unknown_events == 0


# ---- MARK: However it is written ----


def rewritten(value: Any) -> Iterator[bytes]:
    if not has_repeated_keys(value):
        yield Style().write(reordered(value, None))
        for seed in range(2):
            yield Style().write(reordered(value, random.Random(seed)))
            yield Style("random", "random", seed).write(reordered(value, random.Random(seed)))
    for space in ("none", "usual", "indent", "comments"):
        yield Style(space).write(value)
    for escape in ("all", "random"):
        yield Style("usual", escape).write(value)
    for seed in range(2):
        yield Style("random", "random", seed).write(value)
    yield b"\xef\xbb\xbf" + Style("indent").write(value)


@documents
def test_writing_does_not_matter(case: Case) -> None:
    expected = told(fresh(case.venue).decode(case.payload))
    decoder = fresh(case.venue)
    for payload in rewritten(read(case.payload)):
        for _ in range(2):  # along no learned path, and perhaps along one
            assert told(decoder.decode(payload)) == expected, payload
