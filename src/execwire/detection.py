"""Telling which venue a message comes from.

Venues share names: three of them call an order event `executionReport`. So every dialect reads the message, and the
one that leaves least unexplained wins; where several explain it equally well, the one whose event knows fewest keys
that the message does not have. Messages that two venues write alike go to the venue of the message before; but what a
venue inherits from another one is the other one's, unless it is a notice.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import orjson

from execwire import venues
from execwire.core import DecodeError, Decoder, Notice

if TYPE_CHECKING:
    from collections.abc import Iterable

    from execwire.core import Record
    from execwire.venues import Event, Venue

__all__ = ["Detector", "is_unknown"]

_FEW = 3  # keys more or less that a message does not have: too few to tell two venues apart
_MAX_SHAPES = 4096

_Shape = tuple[str, frozenset[tuple[Any, ...]], tuple[int, ...]]


class Detector:
    """A decoder that finds the venue of each message by itself. A capture may mix venues.

    Parameters
    ----------
    names
        The venues to choose from, in order of preference where nothing else decides; all built-in ones by default.

    Attributes
    ----------
    decoder
        The decoder of the last message's venue; None before the first message.
    """

    def __init__(self, names: Iterable[str] | None = None) -> None:
        self._decoders = {name: Decoder(name) for name in (venues.names() if names is None else names)}
        self._events = {name: _events(venues.load(name)) for name in self._decoders}
        self._shapes: set[_Shape] = set()  # of messages that were found to be of the venue that read them
        self.decoder: Decoder | None = None

    @property
    def venue(self) -> str | None:
        """The last message's venue."""
        return None if self.decoder is None else self.decoder.venue

    def decode(self, payload: bytes, ts_recv: int = 0) -> list[Record]:
        """Decode a payload of any of the venues.

        Raises
        ------
        DecodeError
            If no venue can decode it.
        """
        return self.choose(payload).decode(payload, ts_recv)

    def choose(self, payload: bytes) -> Decoder:
        """Find the decoder for a payload; it is `decoder` from then on.

        Raises
        ------
        DecodeError
            If no venue can decode it.
        """
        if self.decoder is None or _shape(self.decoder, payload) not in self._shapes:
            self.decoder = self._choose(payload)
            shape = _shape(self.decoder, payload)
            if shape is not None and len(self._shapes) < _MAX_SHAPES:
                self._shapes.add(shape)
        return self.decoder

    def _choose(self, payload: bytes) -> Decoder:
        best: tuple[int, int] | None = None
        alike: list[tuple[Decoder, list[Record]]] = []
        errors: dict[str, DecodeError] = {}
        for name, decoder in self._decoders.items():
            try:
                records, findings = decoder.explain(payload)
            except DecodeError as error:
                errors[name] = error
                continue
            rank = (sum(map(is_unknown, records)), len(findings))
            if best is None or rank < best:
                best, alike = rank, []
            if rank == best:
                alike.append((decoder, records))
        if not alike:
            raise errors.get(self.venue or "") or next(iter(errors.values()))
        if len(alike) > 1:
            keys = _message_keys(alike[0][1], payload)
            lacking = [self._lacking(keys, *one) for one in alike]
            alike = [one for one, n in zip(alike, lacking, strict=True) if n <= min(lacking) + _FEW]
        return self._prefer(alike)

    def _lacking(self, keys: frozenset[str], decoder: Decoder, records: list[Record]) -> int:
        events = self._events[decoder.venue]
        known = [known for name in {record.event for record in records} for _, known in events.get(name, ())]
        return min((len(one - keys) for one in known), default=0)

    def _prefer(self, alike: list[tuple[Decoder, list[Record]]]) -> Decoder:
        decoders = [decoder for decoder, _ in alike]
        own = [one for one, records in alike if not any(self._inherits(one, other, records) for other in decoders)]
        is_notice = all(record.kind == "notice" for record in alike[0][1])
        if self.decoder is not None and self.decoder in (decoders if is_notice else own):
            return self.decoder
        return own[0]

    def _inherits(self, decoder: Decoder, other: Decoder, records: list[Record]) -> bool:
        """Whether a venue is the other one with more events, and these records' events are the other one's."""
        events, others = self._events[decoder.venue], self._events[other.venue]
        return events.keys() > others.keys() and all(
            event in events[record.event] for record in records for event in others.get(record.event, ())
        )


def is_unknown(record: Record) -> bool:
    """Whether a record stands for an event that its venue does not know."""
    return isinstance(record, Notice) and record.code == "unknown_event"


def _shape(decoder: Decoder, payload: bytes) -> _Shape | None:
    """What a message looks like to a venue: the fields it sets and how much of it the venue does not know.

    Messages of one event look alike, so that all but the first few need no comparison of venues. Messages that the
    venue cannot decode or name always do.
    """
    before = decoder.stats
    try:
        decoder.decode_into(payload)
    except DecodeError:
        return None
    after = decoder.stats
    if after.unknown_events != before.unknown_events:
        return None
    unknown = (
        after.unknown_keys - before.unknown_keys,
        after.unknown_enums - before.unknown_enums,
        after.unrepresentable - before.unrepresentable,
    )
    # A record begins with two bit sets: which fields the message set, and which it left without a value.
    # (Type checkers know it as a buffer from Python 3.12 on.)
    fields = frozenset((one.kind, one.event, bytes(memoryview(cast("bytes", one))[:16])) for one in decoder.records)
    return decoder.venue, fields, unknown


def _message_keys(records: list[Record], payload: bytes) -> frozenset[str]:
    """The keys of a message at all depths."""
    keys: set[str] = set()
    try:
        todo = [orjson.loads(records[0].payload if records else payload)]
    except orjson.JSONDecodeError:  # a prompt, or JSON with comments
        todo = []
    while todo:
        value = todo.pop()
        if isinstance(value, dict):
            keys.update(value)
            todo.extend(value.values())
        elif isinstance(value, list):
            todo.extend(value)
    return frozenset(keys)


def _events(venue: Venue) -> dict[str, list[tuple[Event, frozenset[str]]]]:
    """A venue's events by name (variants share one), each with the keys that it knows."""
    events: dict[str, list[tuple[Event, frozenset[str]]]] = {}
    for event in venue.events:
        events.setdefault(event.name, []).append((event, _known_keys(event)))
    return events


def _known_keys(event: Event) -> frozenset[str]:
    """The keys that an event knows, at all depths."""
    paths = [*event.known, *(condition.path for condition in event.when)]
    for emit in event.emits:
        paths += [emit.rows, *emit.known]
        paths += [path for alternatives in emit.fields.values() for path in alternatives]
    return frozenset(step for path in paths for step in path.steps if isinstance(step, str))
