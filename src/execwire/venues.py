"""Venues: what the package knows about an exchange, read from one TOML file.

A file is checked whole when it is loaded, so that a typo is told with the file, the event and the key instead of
showing up as a missing field. What comes out is a tree of plain values that :mod:`execwire.reference` decodes with,
and :meth:`Venue.table` writes it as the text that the C core compiles.

Notes
-----
Inheritance and ``like`` are resolved here, in this order:

* A file is read on top of the file it ``inherits``: top-level values override, ``[common]``, ``[enums.*]``,
  ``[session]`` (unless it says ``inherits = false``) and ``[sbe]`` merge key by key, envelopes, prompts and events of
  the child come first. They replace the parent's envelope of the same ``enter`` and ``when``, its prompt of the same
  text, its event of the same name and ``when``.
* ``like`` names another event of the file, else one of what it inherits, also one that the file replaces. Of several
  events of that name, one without a ``like`` of its own is meant. ``known`` adds up; emits merge key by key where both
  sides have exactly one, else the child's emits, if it has any, stand alone.
* An emit that names a field itself does not get it from ``[common]``; an empty list (``price = []``) names it without
  a path. Fields of envelopes come last, after the emit's own paths.
"""

from __future__ import annotations

import dataclasses
import datetime
import difflib
import functools
import json
import os
import re
import tomllib
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path as FilePath
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from execwire import rules
from execwire.sbe import LayoutError
from execwire.sbe import Schema as SbeSchema
from execwire.sbe import parse as parse_sbe

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

__all__ = [
    "VALUE_TYPES",
    "Condition",
    "Emit",
    "Envelope",
    "Event",
    "Path",
    "Prompt",
    "Venue",
    "VenueError",
    "load",
    "names",
]

#: The texts of a condition that mean a type of value instead of the text itself.
VALUE_TYPES = ("<any>", "<object>", "<array>", "<string>", "<number>", "<bool>", "<null>")

MAX_INDEX = 9  # of an array, in a path: the C core looks no further
MAX_SAMPLES = 256  # every decoder learns from all of them when it is made

T = TypeVar("T")


class VenueError(ValueError):
    """A venue that does not exist, or a file that does not describe one. The message is one line."""


# ---- MARK: What the header says about records ----


@dataclass(frozen=True)
class Field:
    """A field of a kind of record, as csrc/execwire.h has it."""

    name: str
    type: str  # decimal, time, u16, bool, enum, id or text
    vocabulary: str
    words: tuple[str, ...]
    room: int  # bytes of text that fit its slot, 0 if it holds none


@dataclass(frozen=True)
class Schema:
    """Kinds and their fields, in struct order, and the vocabularies that venues map their texts onto."""

    kinds: Mapping[str, Mapping[str, Field]]
    vocabularies: Mapping[str, tuple[str, ...]]

    @property
    def names(self) -> set[str]:
        """The fields of all kinds."""
        return {name for fields in self.kinds.values() for name in fields}


@functools.cache
def _schema() -> Schema:
    # Not at the top: core itself loads venues with this module.
    from execwire import core

    room = {"text": 1, "id": 10}  # what a slot holds besides the text: its length, its number
    kinds = {
        kind: {
            f.name: Field(f.name, f.type, f.vocabulary, tuple(f.words), f.size - room[f.type] if f.type in room else 0)
            for f in core.fields(kind)
        }
        for kind in core.KINDS
    }
    return Schema(kinds, {name: tuple(words) for name, words in core.vocabularies().items()})


# ---- MARK: The tree ----


@dataclass(frozen=True)
class Path:
    """Where a value stands: ``a.b`` in the row object, ``/a.b`` in the event object, ``//a.b`` in the frame."""

    scope: str
    steps: tuple[str | int, ...]

    def __str__(self) -> str:
        return self.scope + ".".join(map(str, self.steps))


@dataclass(frozen=True)
class Condition:
    """A path from the event object and the texts, or types of value (see `VALUE_TYPES`), one of which it must have."""

    path: Path
    texts: tuple[str, ...]


@dataclass(frozen=True)
class Emit:
    """Records of one kind that an event gives: one for every row object."""

    kind: str
    rows: Path
    fields: Mapping[str, tuple[Path, ...]]
    consts: Mapping[str, str]
    known: tuple[Path, ...] = ()


@dataclass(frozen=True)
class Event:
    """One event of a venue. Its first condition is the discriminator."""

    name: str
    when: tuple[Condition, ...]
    emits: tuple[Emit, ...]
    known: tuple[Path, ...] = ()

    @property
    def discriminator(self) -> Path:
        """The path whose value tells the event."""
        return self.when[0].path


@dataclass(frozen=True)
class Envelope:
    """An object around the event objects."""

    enter: str
    when: tuple[str, ...] = ()
    fields: Mapping[str, tuple[Path, ...]] = dataclasses.field(default_factory=dict)
    known: tuple[Path, ...] = ()


@dataclass(frozen=True)
class Prompt:
    """A frame of plain text."""

    text: str
    code: str


@dataclass(frozen=True)
class Venue:
    """An exchange's dialect, checked, with everything inherited or common written out.

    Attributes
    ----------
    enums : mapping
        Vocabulary -> the venue's text -> our word.
    common : mapping
        The fields of the notices that stand for unknown and for empty events. Those of emits are in the emits.
    session, sbe : dict
        The sections of that name, as they stand in the file.
    sbe_schema : execwire.sbe.Schema or None
        The layouts that ``[sbe]`` describes.
    samples : tuple of str
        Payloads as they come, which decoders learn from before the first message.
    source : str
        The file, as error messages name it.
    """

    name: str
    title: str = ""
    checked: datetime.date | None = None
    docs: tuple[str, ...] = ()
    envelopes: tuple[Envelope, ...] = ()
    prompts: tuple[Prompt, ...] = ()
    common: Mapping[str, tuple[Path, ...]] = dataclasses.field(default_factory=dict)
    enums: Mapping[str, Mapping[str, str]] = dataclasses.field(default_factory=dict)
    events: tuple[Event, ...] = ()
    session: dict[str, Any] = dataclasses.field(default_factory=dict)
    sbe: dict[str, Any] = dataclasses.field(default_factory=dict)
    source: str = ""
    sbe_schema: SbeSchema | None = None
    samples: tuple[str, ...] = ()

    @property
    def discriminators(self) -> tuple[Path, ...]:
        """The paths that tell events apart, in the order in which they are tried."""
        return tuple(dict.fromkeys(event.discriminator for event in self.events))

    def table(self) -> str:
        """The venue as the C core reads it: lines of words with tabs between them (csrc/dialect.c describes them)."""
        return self._table

    @functools.cached_property
    def _table(self) -> str:  # for decoders, each of which asks for it
        return "".join("\t".join(map(str, words)) + "\n" for words in self._lines())

    def _lines(self) -> Iterator[Sequence[object]]:
        yield "execwire", 1
        yield "name", self.name
        for envelope in self.envelopes:
            yield "envelope", envelope.enter, *envelope.when
            wrapper = [Path("", p.steps) for paths in envelope.fields.values() for p in paths]
            for path in dict.fromkeys([*wrapper, *envelope.known]):
                yield "wrapper", path
        for prompt in self.prompts:
            yield "prompt", prompt.code, prompt.text
        for vocabulary, words in self.enums.items():
            for text, word in words.items():
                yield "enum", vocabulary, text, word
        for name, paths in self.common.items():
            yield "common", name, *paths
        for event in self.events:
            yield "event", event.name
            for condition in event.when:
                yield "when", condition.path, *condition.texts
            for path in event.known:
                yield "known", path
            for emit in event.emits:
                yield "emit", emit.kind, emit.rows
                for name, paths in emit.fields.items():
                    yield "field", name, *paths
                for name, word in emit.consts.items():
                    yield "const", name, word
                for path in emit.known:
                    yield "known", path
        if self.sbe_schema is not None:
            yield from self.sbe_schema.lines()
        for sample in self.samples:
            yield "sample", sample


# ---- MARK: Checking ----

TOP_KEYS = (
    "name", "title", "inherits", "checked", "docs", "samples", "envelope", "prompt", "common", "enums", "event",
    "session", "sbe",
)  # fmt: skip
EMIT_KEYS = ("kind", "rows", "fields", "const", "code", "known")
EVENT_KEYS = ("name", "when", "like", "emit", *EMIT_KEYS)


@dataclass(frozen=True)
class _Place:
    """Where in which file something stands, for errors."""

    file: str
    at: str = ""

    def inside(self, name: str) -> _Place:
        return _Place(self.file, f"{self.at}.{name}" if self.at else name)

    def fail(self, message: str) -> NoReturn:
        raise VenueError(f"{self.file}: {self.at}: {message}" if self.at else f"{self.file}: {message}")

    def one_of(self, what: str, word: str, words: Iterable[str]) -> None:
        """Fail unless the word is one of the words."""
        words = tuple(words)
        if word not in words:
            self.fail(f"unknown {what} {word!r}{_did_you_mean(word, words)}")


def _did_you_mean(word: str, words: Iterable[str]) -> str:
    near = difflib.get_close_matches(word, words, 1) or [w for w in words if w.lower() == word.lower()]
    return f", did you mean {near[0]!r}?" if near else ""


def _text(value: object, place: _Place, *, empty: bool = False) -> str:
    if not isinstance(value, str):
        place.fail(f"must be a text, not {value!r}")
    if not value and not empty:
        place.fail("must not be empty")
    if re.search(r"[\x00-\x1f\x7f]", value):
        place.fail("must not hold control characters")  # they would break the lines of the table
    return value


def _texts(value: object, place: _Place) -> tuple[str, ...]:
    if not isinstance(value, list):
        place.fail(f"must be a list of texts, not {value!r}")
    return tuple(_text(item, place) for item in value)


def _table(value: object, place: _Place, keys: Iterable[str] | None = None) -> dict[str, Any]:
    if not isinstance(value, dict):
        place.fail(f"must be a table, not {value!r}")
    for key in value if keys is not None else ():
        place.one_of("key", key, keys or ())
    return value


def _tables(value: object, place: _Place, keys: Iterable[str] | None = None) -> list[dict[str, Any]]:
    if not isinstance(value, list):
        place.fail(f"must be an array of tables: [[{place.at.rpartition('.')[2]}]]")
    return [_table(item, place, keys) for item in value]


def _path(value: object, place: _Place, scopes: Sequence[str] = ("", "/", "//"), *, index: bool = True) -> Path:
    text = _text(value, place)
    keys = text.lstrip("/")
    scope = text[: len(text) - len(keys)]
    if scope not in scopes:
        place.fail(f"bad path {text!r}: " + ("at most two slashes" if len(scope) > 2 else "no slash may lead it here"))
    if "" in (steps := keys.split(".")):
        place.fail(f"bad path {text!r}: a key is empty")
    if steps[0].isdigit():
        place.fail(f"bad path {text!r}: begins with an index, but an object stands there")
    return Path(scope, tuple(_step(step, text, place, index) for step in steps))


def _step(step: str, text: str, place: _Place, index: bool) -> str | int:
    if not re.fullmatch(r"[0-9]+", step):
        return step
    if not index:
        place.fail(f"bad path {text!r}: no index may stand here")
    if str(int(step)) != step or int(step) > MAX_INDEX:
        place.fail(f"bad path {text!r}: an index must be a plain number up to {MAX_INDEX}")
    return int(step)


def _paths(value: object, place: _Place, scopes: Sequence[str] = ("", "/", "//")) -> tuple[Path, ...]:
    """The alternatives of a field; none at all is allowed."""
    items = value if isinstance(value, list) else [value]
    return tuple(_path(item, place, scopes) for item in items)


def _known(table: dict[str, Any], place: _Place, scopes: Sequence[str] = ("", "/", "//")) -> tuple[Path, ...]:
    place = place.inside("known")
    value = table.get("known", [])
    if not isinstance(value, list):
        place.fail(f"must be a list of paths, not {value!r}")
    return _paths(value, place, scopes)


# ---- MARK: Reading a file ----


@dataclass(frozen=True)
class _Emit:
    """An emit as written, with nothing filled in. One in the event's own table has its `known` relative to the row."""

    kind: str | None
    rows: Path | None
    fields: dict[str, tuple[Path, ...]]
    consts: dict[str, str]
    known: tuple[Path, ...]
    place: _Place

    @property
    def is_only_known(self) -> bool:
        return self.kind is None and self.rows is None and not self.fields and not self.consts


@dataclass(frozen=True)
class _Event:
    """An event as written."""

    name: str
    when: tuple[Condition, ...]
    like: str | None
    known: tuple[Path, ...]
    emits: tuple[_Emit, ...]
    place: _Place


def _read_common(table: object, place: _Place, scopes: Sequence[str] = ("", "/", "//")) -> dict[str, tuple[Path, ...]]:
    """Fields that no single kind owns."""
    fields = {}
    for name, value in _table(table, place).items():
        place.one_of("field", name, sorted(_schema().names))
        if name in ("ts_recv", "code"):
            place.fail(f"{name!r} is no field of a payload")
        fields[name] = _paths(value, place.inside(name), scopes)
    return fields


def _read_envelope(table: dict[str, Any], place: _Place) -> Envelope:
    if "enter" not in table:
        place.fail("needs enter = the key that holds the event")
    return Envelope(
        enter=_text(table["enter"], place.inside("enter")),
        when=_texts(table.get("when", []), place.inside("when")),
        fields={
            name: tuple(Path("//", path.steps) for path in paths)
            for name, paths in _read_common(table.get("fields", {}), place.inside("fields"), ("", "//")).items()
        },
        known=_known(table, place, ("",)),
    )


def _read_prompt(table: dict[str, Any], place: _Place) -> Prompt:
    for key in ("text", "code"):
        if key not in table:
            place.fail(f"needs {key}")
    text = _text(table["text"], place.inside("text"))
    if text != text.strip() or text.startswith(("{", "[")):
        place.inside("text").fail("must neither begin nor end with white space, nor begin like JSON")
    return Prompt(text, _code(table["code"], place.inside("code")))


def _code(value: object, place: _Place) -> str:
    code = _text(value, place)
    place.one_of("notice code", code, _schema().kinds["notice"]["code"].words[1:])
    return code


def _read_enums(table: object, place: _Place) -> dict[str, dict[str, str]]:
    schema = _schema()
    fields = [field for fields in schema.kinds.values() for field in fields.values()]
    vocabularies = {field.vocabulary for field in fields if field.vocabulary and field.name != "code"}
    enums = {}
    for vocabulary, spellings in _table(table, place).items():
        place.one_of("vocabulary", vocabulary, sorted(vocabularies))
        here = place.inside(vocabulary)
        enums[vocabulary] = {
            _text(text, here, empty=True): _word(word, vocabulary, schema.vocabularies[vocabulary], here.inside(text))
            for text, word in _table(spellings, here).items()
        }
    return enums


def _word(value: object, vocabulary: str, words: Sequence[str], place: _Place) -> str:
    if vocabulary == "bool" and isinstance(value, bool):
        return words[value]
    word = _text(value, place)
    # What no text maps onto is unknown already.
    place.one_of(f"word of {vocabulary}", word, [w for w in words if w != "unknown"])
    return word


def _read_when(table: object, place: _Place) -> tuple[Condition, ...]:
    conditions = []
    for key, value in _table(table, place).items():
        here = place.inside(key)
        texts = value if isinstance(value, list) else [value]
        if not texts:
            here.fail("needs a text")
        conditions.append(Condition(_path(key, here, ("",), index=False), tuple(_condition(t, here) for t in texts)))
    if not conditions:
        place.fail("needs a condition")
    return tuple(conditions)


def _condition(value: object, place: _Place) -> str:
    if isinstance(value, bool):
        place.fail("only strings and numbers are compared; <bool> stands for both true and false")
    text = str(value) if isinstance(value, int) else _text(value, place, empty=True)
    if text.startswith("<") and text.endswith(">"):
        place.one_of("type of value", text, VALUE_TYPES)
    return text


def _read_emit(table: dict[str, Any], place: _Place) -> _Emit:
    kind = table.get("kind")
    if kind is not None:
        place.inside("kind").one_of("kind", _text(kind, place.inside("kind")), _schema().kinds)
    rows = None
    if "rows" in table:
        here = place.inside("rows")
        rows = _path(table["rows"], here, ("",), index=False) if table["rows"] != "" else Path("", ())
    fields = {
        name: _paths(value, place.inside("fields").inside(name))
        for name, value in _table(table.get("fields", {}), place.inside("fields")).items()
    }
    consts = dict(_table(table.get("const", {}), place.inside("const")))
    for name in consts.keys() & fields.keys():
        place.inside("const").fail(f"{name!r} is in fields already")
    if "code" in consts:
        place.inside("const").fail("a notice's code is given by code = ...")
    if "code" in table:
        consts["code"] = _code(table["code"], place.inside("code"))
    return _Emit(kind, rows, fields, consts, _known(table, place), place)


def _read_event(table: dict[str, Any], file: _Place) -> _Event:
    if "name" not in table:
        file.inside("event").fail("needs a name")
    name = _text(table["name"], file.inside("event.name"))
    place = file.inside(f"event {name!r}")
    _table(table, place, EVENT_KEYS)
    if "when" not in table:
        place.fail("needs when = { ... }")
    like = table.get("like")
    inline = {key: value for key, value in table.items() if key in EMIT_KEYS}
    known: tuple[Path, ...] = ()
    if "emit" in table:
        known = _known(inline, place)
        for key in inline.keys() - {"known"}:
            place.fail(f"{key} must stand in one of its [[event.emit]]")
        emits = [
            _read_emit(emit, place.inside(f"emit {number}"))
            for number, emit in enumerate(_tables(table["emit"], place.inside("emit"), EMIT_KEYS), 1)
        ]
    elif inline:
        emits = [_read_emit(inline, place)]
    elif like is None:
        place.fail("needs a kind, an [[event.emit]] or like = ...")
    else:
        emits = []
    return _Event(
        name=name,
        when=_read_when(table["when"], place.inside("when")),
        like=None if like is None else _text(like, place.inside("like")),
        known=known,
        emits=tuple(emits),
        place=place,
    )


# ---- MARK: like ----


def _finish(emit: _Emit, base: Emit | None) -> Emit:
    """Check an emit against its kind, on top of the one it is like."""
    place = emit.place
    kind = emit.kind or (base.kind if base else None)
    if kind is None:
        place.fail("needs a kind")
    fields = {**{k: v for k, v in (base.fields if base else {}).items() if k not in emit.consts}, **emit.fields}
    consts = {**{k: v for k, v in (base.consts if base else {}).items() if k not in emit.fields}, **emit.consts}
    allowed = _schema().kinds[kind]
    for name in fields:
        place.inside("fields").one_of(f"field of {kind}", name, allowed)
        if name == "ts_recv":
            place.inside("fields").fail("'ts_recv' is no field of a payload")
        if name == "code":
            place.inside("fields").fail("a notice's code is given by code = ...")
    for name, value in consts.items():
        here = place.inside("const").inside(name)
        if name == "code" and kind != "notice":
            place.fail("code is for notices only")
        place.inside("const").one_of(f"field of {kind}", name, allowed)
        if allowed[name].type not in ("enum", "bool"):
            here.fail("only fields that hold a word can be constant")
        consts[name] = _word(value, allowed[name].vocabulary, allowed[name].words, here)
    if kind == "notice" and "code" not in consts:
        place.fail("a notice needs a code")
    rows = emit.rows if emit.rows is not None else base.rows if base else Path("", ())
    known = tuple(dict.fromkeys([*emit.known, *(base.known if base else ())]))
    return Emit(kind, rows, fields, consts, known)


def _resolve(drafts: Sequence[_Event], inherited: Sequence[Event]) -> tuple[Event, ...]:
    """The events of one file, with `like` followed."""
    done: dict[int, Event] = {}
    path: list[int] = []

    def base(index: int) -> Event:
        draft = drafts[index]
        others = [i for i, d in enumerate(drafts) if i != index and d.name == draft.like]
        others.sort(key=lambda i: drafts[i].like is not None)
        parents = [event for event in inherited if event.name == draft.like]
        # Variants of one name lean on the one that stands alone, be it inherited.
        if others and (drafts[others[0]].like is None or draft.like != draft.name or not parents):
            return event(others[0])
        if not parents:
            near = {d.name for i, d in enumerate(drafts) if i != index} | {e.name for e in inherited}
            draft.place.inside("like").fail(f"no other event {draft.like!r}{_did_you_mean(draft.like or '', near)}")
        return parents[0]

    def event(index: int) -> Event:
        if index in done:
            return done[index]
        draft = drafts[index]
        if index in path:
            draft.place.inside("like").fail("goes round in a circle")
        path.append(index)
        parent = base(index) if draft.like is not None else Event("", (), ())
        path.pop()
        own = list(draft.emits)
        known = draft.known
        if len(parent.emits) > 1 and len(own) == 1 and own[0].is_only_known:
            known, own = own[0].known, []  # of the event: there is no one row that it could be about
        if len(own) == 1 and len(parent.emits) == 1:
            emits: tuple[Emit, ...] = (_finish(own[0], parent.emits[0]),)
        else:
            emits = tuple(_finish(emit, None) for emit in own) or parent.emits
        rows = [emit.rows for emit in emits if emit.rows.steps]
        if len(set(rows)) < len(rows):
            draft.place.fail("has two emits with the same rows")  # the C core gives an object to one emit
        done[index] = Event(draft.name, draft.when, emits, tuple(dict.fromkeys([*known, *parent.known])))
        return done[index]

    return tuple(event(i) for i in range(len(drafts)))


# ---- MARK: inherits ----


def _merge_tables(child: Mapping[str, Any], parent: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(parent)
    for key, value in child.items():
        old = merged.get(key)
        merged[key] = _merge_tables(value, old) if isinstance(value, dict) and isinstance(old, dict) else value
    return merged


def _first_of(items: Iterable[T], key: Callable[[T], object]) -> tuple[T, ...]:
    first: dict[object, T] = {}
    for item in items:
        first.setdefault(key(item), item)
    return tuple(first.values())


def _same(when: Iterable[Condition]) -> object:
    """Conditions as a value that their order does not change."""
    return frozenset((condition.path, frozenset(condition.texts)) for condition in when)


def _merge_sessions(child: dict[str, Any], parent: dict[str, Any]) -> dict[str, Any]:
    """Key by key, unless the child says ``inherits = false``."""
    if child.get("inherits", True) is not False:
        return _merge_tables(child, parent)
    return {key: value for key, value in child.items() if key != "inherits"}


def _merge(child: Venue, parent: Venue) -> Venue:
    return replace(
        child,
        title=child.title or parent.title,
        checked=child.checked or parent.checked,
        docs=child.docs or parent.docs,
        envelopes=_first_of([*child.envelopes, *parent.envelopes], lambda e: (e.enter, frozenset(e.when))),
        prompts=_first_of([*child.prompts, *parent.prompts], lambda p: p.text),
        common={**parent.common, **child.common},
        enums=_merge_tables(child.enums, parent.enums),
        events=_first_of([*child.events, *parent.events], lambda e: (e.name, _same(e.when))),
        session=_merge_sessions(child.session, parent.session),
        sbe=_merge_tables(child.sbe, parent.sbe),
        samples=child.samples or parent.samples,
    )


def _expand(venue: Venue) -> Venue:
    """Write `[common]` and the fields of envelopes out, into every emit."""
    wrapper: dict[str, tuple[Path, ...]] = {}
    for envelope in venue.envelopes:
        for name, paths in envelope.fields.items():
            wrapper[name] = wrapper.get(name, ()) + paths

    def fill(own: Mapping[str, tuple[Path, ...]], kind: str, consts: Iterable[str] = ()) -> dict[str, tuple[Path, ...]]:
        allowed = _schema().kinds[kind].keys() - set(consts)
        fields = {**{name: paths for name, paths in venue.common.items() if name in allowed}, **own}
        for name, paths in wrapper.items():
            if name in allowed:
                fields[name] = fields.get(name, ()) + paths
        return {name: tuple(dict.fromkeys(paths)) for name, paths in fields.items() if paths}

    events = tuple(
        replace(event, emits=tuple(replace(e, fields=fill(e.fields, e.kind, e.consts)) for e in event.emits))
        for event in venue.events
    )
    try:
        rules.check(venue.session)
    except rules.RulesError as error:
        _Place(venue.source, f"session.{error.at}" if error.at else "session").fail(error.message)
    return replace(venue, common=fill({}, "notice"), events=events, sbe_schema=_read_sbe(venue))


def _read_sbe(venue: Venue) -> SbeSchema | None:
    try:
        return parse_sbe(venue.sbe) if venue.sbe else None
    except LayoutError as error:
        _Place(venue.source, f"sbe.{error.at}" if error.at else "sbe").fail(error.message)


# ---- MARK: Files ----


@dataclass(frozen=True)
class _Source:
    """A file to read. `identity` tells whether two are the same."""

    file: str
    identity: str
    folder: FilePath | None  # what it inherits by path is relative to this; None for a built-in
    read: Callable[[], bytes]


def _builtin(name: str) -> _Source:
    file = resources.files("execwire") / "dialects" / f"{name}.toml"
    return _Source(f"{name}.toml", f"built-in {name}", None, file.read_bytes)


def _file(path: FilePath) -> _Source:
    return _Source(str(path), str(path.resolve()), path.parent, path.read_bytes)


def _find(reference: str | os.PathLike[str], folder: FilePath | None) -> _Source:
    """A built-in name, or a path: anything with a slash or the ending .toml, or that is no str."""
    if not isinstance(reference, str | os.PathLike):
        raise TypeError(f"a venue is a name or the path of a file, not {type(reference).__name__}")
    if not isinstance(reference, str) or reference.endswith(".toml") or os.sep in reference:
        return _file((folder or FilePath()) / reference)
    if reference in names():
        return _builtin(reference)
    raise VenueError(
        f"no venue {reference!r}{_did_you_mean(reference, names())} (built in: {', '.join(names()) or 'none'};"
        " the path of a file ends in .toml)"
    )


def _parse(source: _Source) -> dict[str, Any]:
    try:
        return tomllib.loads(source.read().decode("utf-8"))
    except OSError as error:
        raise VenueError(f"{source.file}: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        raise VenueError(f"{source.file}: not UTF-8 at byte {error.start}") from None
    except tomllib.TOMLDecodeError as error:
        raise VenueError(f"{source.file}: {error}") from None


def _read(source: _Source, above: tuple[str, ...]) -> Venue:
    """A file on top of what it inherits, common fields not yet written out."""
    place = _Place(source.file)
    if source.identity in above:
        place.inside("inherits").fail("goes round in a circle")
    toml = _table(_parse(source), place, TOP_KEYS)
    if "name" not in toml:
        place.fail("needs a name")
    name = _text(toml["name"], place.inside("name"))
    if not re.fullmatch(r"[A-Za-z0-9._-]+", name):
        place.inside("name").fail(f"{name!r} may hold letters, digits and . _ - only")
    parent = Venue("")
    if "inherits" in toml:
        here = place.inside("inherits")
        try:
            base = _find(_text(toml["inherits"], here), source.folder)
        except VenueError as error:
            here.fail(str(error))
        parent = _read(base, (*above, source.identity))
    drafts = [_read_event(table, place) for table in _tables(toml.get("event", []), place.inside("event"))]
    _refuse_twins(drafts)
    checked = toml.get("checked")
    if checked is not None and not isinstance(checked, datetime.date):
        place.inside("checked").fail("must be a date")
    child = Venue(
        name=name,
        title=_text(toml.get("title", ""), place.inside("title"), empty=True),
        checked=checked,
        docs=_texts(toml.get("docs", []), place.inside("docs")),
        envelopes=tuple(
            _read_envelope(table, place.inside(f"envelope {number}"))
            for number, table in enumerate(
                _tables(toml.get("envelope", []), place.inside("envelope"), ("enter", "when", "fields", "known")), 1
            )
        ),
        prompts=tuple(
            _read_prompt(table, place.inside(f"prompt {number}"))
            for number, table in enumerate(_tables(toml.get("prompt", []), place.inside("prompt"), ("text", "code")), 1)
        ),
        common=_read_common(toml.get("common", {}), place.inside("common")),
        enums=_read_enums(toml.get("enums", {}), place.inside("enums")),
        events=_resolve(drafts, parent.events),
        session=_table(toml.get("session", {}), place.inside("session")),
        sbe=_table(toml.get("sbe", {}), place.inside("sbe")),
        source=source.file,
        samples=_read_samples(toml["samples"], source, place.inside("samples")) if "samples" in toml else (),
    )
    return _merge(child, parent)


def _read_samples(value: object, source: _Source, place: _Place) -> tuple[str, ...]:
    """The lines of an NDJSON file beside the venue's."""
    name = _text(value, place)
    folder = source.folder or resources.files("execwire") / "dialects"
    try:
        lines = folder.joinpath(name).read_bytes().decode("utf-8").split("\n")
    except OSError as error:
        place.fail(f"{name}: {error.strerror or error}")
    except UnicodeDecodeError as error:
        place.fail(f"{name}: not UTF-8 at byte {error.start}")
    samples = {number: line.strip() for number, line in enumerate(lines, 1) if line.strip()}
    for number, sample in samples.items():
        here = replace(place, at=f"{place.at}: {name}: line {number}")
        try:
            json.loads(_text(sample, here), parse_int=str)  # of which an int would limit the digits
        except json.JSONDecodeError as error:
            here.fail(f"{error.msg} at character {error.pos + 1}")
        except RecursionError:
            here.fail("nested too deeply")
    if len(samples) > MAX_SAMPLES:
        place.fail(f"{name}: {len(samples)} payloads, but a few of each event do; at most {MAX_SAMPLES}")
    return tuple(samples.values())


def _refuse_twins(drafts: Sequence[_Event]) -> None:
    seen: dict[object, _Event] = {}
    for draft in drafts:
        twin = seen.setdefault(_same(draft.when), draft)
        if twin is not draft:
            draft.place.fail(f"has the same when as event {twin.name!r}, so that it would never match")


@functools.cache
def names() -> tuple[str, ...]:
    """The built-in venues, sorted."""
    folder = resources.files("execwire") / "dialects"
    return tuple(sorted(file.name.removesuffix(".toml") for file in folder.iterdir() if file.name.endswith(".toml")))


@functools.cache
def _load_builtin(name: str) -> Venue:
    return _expand(_read(_builtin(name), ()))


def load(name_or_path: str | os.PathLike[str]) -> Venue:
    """Read a venue.

    Parameters
    ----------
    name_or_path : str or path-like
        The name of a built-in venue (see `names`), or a path to a TOML file: a str with a slash or ending in
        ``.toml``, or any path object.

    Returns
    -------
    Venue
        Built-in venues are read once.

    Raises
    ------
    VenueError
        If there is no such venue or the file is wrong; the message is one line and names the file, the event and
        the key.
    """
    if isinstance(name_or_path, str) and name_or_path in names():
        return _load_builtin(name_or_path)
    return _expand(_read(_find(name_or_path, None), ()))
