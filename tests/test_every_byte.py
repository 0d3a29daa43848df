"""Payloads damaged in every place: an error or records, all of them or none, and the decoder goes on.

The C tests put all 256 values in every place, under sanitizers; here it is what Python sees.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest
from cases import VENUES, Case, cases, expected_outcome, fresh, outcome, parametrized, told

import execwire

if TYPE_CHECKING:
    from collections.abc import Iterator

VALUES = b'"\\}],0\x00\x80'


def some(venue: str, number: int) -> list[Case]:
    """Payloads of several shapes, of moderate size: not two of an event."""
    found: dict[str, Case] = {}
    rng = random.Random(venue)
    for case in rng.sample(cases(venue), len(cases(venue))):
        if 20 < len(case.payload) < 700:
            found.setdefault(case.path.name.partition("_")[0], case)
    return list(found.values())[:number]


def replaced(payload: bytes) -> Iterator[bytes]:
    for at in range(len(payload)):
        for value in VALUES:
            yield payload[:at] + bytes([value]) + payload[at + 1 :]


def check(decoder: execwire.Decoder, payload: bytes, errors: int) -> int:
    """Decode it into views, and owned; returns how many errors there were in all."""
    try:
        count = decoder.decode_into(payload)
    except execwire.DecodeError:
        error = decoder.error
        assert isinstance(error, execwire.DecodeError)
        assert 0 <= error.offset <= len(payload)
        assert len(decoder.records) == 0
        assert [decoder.order, decoder.fill, decoder.balance, decoder.position, decoder.notice] == [None] * 5
        assert decoder.stats.errors == errors + 1
        with pytest.raises(execwire.DecodeError):
            decoder.decode(payload)
        return errors + 2
    assert count == len(decoder.records)
    views = told(decoder.records)
    assert told(decoder.decode(payload)) == views
    assert decoder.stats.errors == errors
    return errors


@parametrized([case for venue in VENUES for case in some(venue, 4)])
def test_cut_anywhere(case: Case) -> None:
    payload = case.payload
    expected = told(fresh(case.venue).decode(payload))
    decoder, errors = fresh(case.venue), 0
    for at in range(len(payload)):
        errors = check(decoder, payload[:at], errors)
        assert outcome(fresh(case.venue) if at % 16 == 0 else decoder, payload[:at]) == expected_outcome(
            case.venue, payload[:at]
        )
        errors = decoder.stats.errors
        assert told(decoder.decode(payload)) == expected


@parametrized([case for venue in VENUES for case in some(venue, 2)])
def test_any_byte_replaced(case: Case) -> None:
    payload = case.payload
    expected = told(fresh(case.venue).decode(payload))
    decoder, errors = fresh(case.venue), 0
    for number, other in enumerate(replaced(payload)):
        errors = check(decoder, other, errors)
        if number % 5 == 0:
            assert outcome(decoder, other) == expected_outcome(case.venue, other)
            errors = decoder.stats.errors
        if number % len(VALUES) == 0:
            assert told(decoder.decode(payload)) == expected


@pytest.mark.parametrize("venue", VENUES)
def test_a_gzip_frame_cut_or_changed_anywhere(venue: str) -> None:
    frames = [case for case in cases("gzip-broker") if case.path.suffix == ".gz"]
    frame = min((case.payload for case in frames), key=len)
    decoder, errors = fresh(venue), 0
    expected = told(decoder.decode(frame))
    for at in range(len(frame)):
        errors = check(decoder, frame[:at], errors)
        for value in (0, 255, frame[at] ^ 1):
            other = frame[:at] + bytes([value]) + frame[at + 1 :]
            errors = check(decoder, other, errors)
            assert outcome(decoder, other) == expected_outcome(venue, other)
            errors = decoder.stats.errors
        assert told(decoder.decode(frame)) == expected
