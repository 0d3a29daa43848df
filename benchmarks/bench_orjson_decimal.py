"""orjson, then what a careful client does by hand: Decimal for decimals, words for enums, ns for times.

The code for an event is written out from the venue's description, so that it is the straight line that a programmer
would write: no loop over a table, one dict a record.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

import orjson

from contest import python_test
from execwire import reference, venues
from execwire.bench import Contender, Runner, shapes
from execwire.venues import _schema

if TYPE_CHECKING:
    from execwire.venues import Emit, Event, Path, Venue
    from execwire.workload import Workload

LEAVES = {
    "decimal": "Decimal({0} if type({0}) is str else repr({0}))",  # Decimal of a float would not be what was sent
    "time": "int({0}) * 1000000",
    "u16": "{0}",
    "id": "{0} if type({0}) is str else str({0})",
    "text": "{0}",
    "bool": "{0} if type({0}) is bool else words_bool[{0}]",
    "enum": "words_{1}[{0}]",
}


def _value(path: Path) -> str:
    holder = {"": "row", "/": "event", "//": "frame"}[path.scope]
    *before, last = path.steps
    return f"{holder}{''.join(f'[{step!r}]' for step in before)}.get({last!r})"


def _record(emit: Emit, seen: set[str]) -> str:
    parts = [f"'kind': '{emit.kind}'"]
    for name, paths in emit.fields.items():
        one = _schema().kinds[emit.kind][name]
        # Keys that these messages never have are left out: nobody would look for them.
        kept = [path for path in paths if path.steps and str(path.steps[-1]) in seen]
        if not kept:
            continue
        value = _value(kept[0])
        for other in kept[1:]:
            value = f"{value[:-1]}, {_value(other)})"
        shown = LEAVES[one.type].format("x", one.vocabulary)
        parts.append(f"{name!r}: None if (x := {value}) is None else {shown}")
    return "{" + ", ".join(parts) + "}"


def _function(event: Event, sample: dict[str, Any], seen: set[str], number: int) -> str:
    lines = [f"def event_{number}(event, frame):", "    records = []"]
    for emit in event.emits:
        rows, value = "event", sample
        for step in emit.rows.steps:
            rows, value = f"{rows}[{step!r}]", value[step]
        rows = rows if isinstance(value, list) else f"({rows},)"
        lines.append(f"    records += [{_record(emit, seen)} for row in {rows}]")
    return "\n".join([*lines, "    return records"])


def _seen(value: Any) -> set[str]:
    if isinstance(value, dict):
        return set(value).union(*map(_seen, value.values()))
    return set().union(*map(_seen, value)) if isinstance(value, list) else set()


def _prepare(messages: Workload) -> Runner:
    venue: Venue = venues.load(messages.venue)
    frames = [orjson.loads(message) for message in messages.messages[:300]]
    seen = _seen(frames)
    enter = next((envelope.enter for envelope in venue.envelopes if envelope.enter in frames[0]), None)
    names: dict[str, Any] = {"Decimal": Decimal, "loads": orjson.loads}
    names.update({f"words_{name}": spellings for name, spellings in venue.enums.items()})
    names["words_bool"] = {text: word == "true" for text, word in venue.enums.get("bool", {}).items()}
    source, wanted = [], set(shapes(messages))
    for frame in frames:
        inner = frame[enter] if enter else frame
        event = reference._route(venue, reference._parse(orjson.dumps(inner).decode()))
        if event is not None and event.name in wanted:
            wanted.discard(event.name)
            number = len(source)
            source.append(_function(event, inner, seen, number))
            names.setdefault("of", {})[event.name] = number
    exec("\n".join(source), names)
    names["of"] = {name: names[f"event_{number}"] for name, number in names["of"].items()}
    if len(names["of"]) > 1:
        body = "frame = loads(payload)\n    return of[frame['e']](frame, frame)"
    else:
        body = f"frame = loads(payload)\n    return event_0(frame{f'[{enter!r}]' if enter else ''}, frame)"
    exec(f"def decode(payload):\n    {body}", names)

    def told(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [
            {name: format(value, "f") if isinstance(value, Decimal) else value for name, value in record.items()}
            for record in records
        ]

    return Runner(names["decode"], told)


test_python = python_test(Contender("orjson and Decimal", "orjson", _prepare))
