"""Every payload of tests/payloads gives its records: from the C core whatever it has seen before, and the reference."""

from __future__ import annotations

import json
import random
from typing import TYPE_CHECKING

import pytest
from cases import FOLDER, VENUES, Case, cases, expected_outcome, fresh, parametrized, spans, told

import execwire
from execwire import reference

if TYPE_CHECKING:
    from collections.abc import Iterator


def test_every_venue_has_payloads_and_every_payload_its_records() -> None:
    assert list(execwire.venues.names()) == VENUES
    expected = set(FOLDER.rglob("*.records.json"))
    assert expected == {case.path.with_name(f"{case.path.stem}.records.json") for case in cases()}
    assert len({case.path.stem for case in cases()}) > 100


@parametrized(cases())
def test_records(case: Case) -> None:
    records = execwire.Decoder(case.venue).decode(case.payload)
    dicts = [record.to_dict(extra=True) for record in records]
    assert json.loads(json.dumps(dicts, default=str)) == case.records
    assert dicts == reference.decode(case.venue, case.payload)
    assert told(records) == expected_outcome(case.venue, case.payload)


@parametrized(cases())
def test_fields_come_in_order(case: Case) -> None:
    """Dicts are equal in any order, but output and people see one."""
    records = execwire.Decoder(case.venue).decode(case.payload)
    for record, expected in zip(records, reference.decode(case.venue, case.payload), strict=True):
        assert list(record.to_dict(extra=True)) == list(expected)


@parametrized(cases())
def test_views_say_the_same(case: Case) -> None:
    owner, decoder = fresh(case.venue), fresh(case.venue)
    records = owner.decode(case.payload, ts_recv=17)
    for payload in (case.payload, case.payload, bytearray(case.payload), memoryview(case.payload)):
        assert decoder.decode_into(payload, ts_recv=17) == len(records)
        assert list(decoder.records) == records
        assert told(decoder.records) == told(records)
        assert spans(decoder.records) == spans(records)
        for kind in ("order", "fill", "balance", "position", "notice"):
            assert getattr(decoder, kind) == next((record for record in records if record.kind == kind), None)


@parametrized(cases())
def test_again_and_again(case: Case) -> None:
    """From the first time to when it takes a learned path."""
    decoder = fresh(case.venue)
    first = decoder.decode(case.payload)
    before, expected = decoder.stats, told(first)
    for number in range(2, 40):
        again = decoder.decode(case.payload)
        assert again == first
        assert told(again) == expected
        assert spans(again) == spans(first)
        assert tuple(decoder.stats) == tuple(number * count for count in before)


def orders(venue: str) -> Iterator[list[bytes]]:
    """Ways to have seen all payloads of a venue."""
    payloads = [case.payload for case in cases(venue)]
    yield payloads * 6
    yield payloads[::-1] * 6
    yield [payload for payload in payloads for _ in range(20)]
    for seed in range(5):
        mixed = payloads * 8
        random.Random(seed).shuffle(mixed)
        yield mixed


@pytest.mark.parametrize("venue", VENUES)
def test_after_all_others(venue: str) -> None:
    expected = {}
    for case in cases(venue):
        decoder = fresh(venue)
        records = decoder.decode(case.payload)
        expected[case.payload] = records, spans(records), told(records), decoder.stats
    for order in orders(venue):
        decoder = fresh(venue)
        for payload in order:
            decoder.decode_into(payload)
        for payload, (records, spans_, dicts, stats) in expected.items():
            before = decoder.stats
            again = decoder.decode(payload)
            assert again == records
            assert spans(again) == spans_
            assert told(again) == dicts
            assert tuple(now - then for now, then in zip(decoder.stats, before, strict=True)) == tuple(stats)


@pytest.mark.parametrize("venue", VENUES)
def test_of_other_venues(venue: str) -> None:
    """What a venue does not know comes as the reference says too, mostly as an unknown event."""
    decoder = fresh(venue)
    for case in cases():
        if case.venue != venue:
            expected = expected_outcome(venue, case.payload)
            try:
                assert told(decoder.decode(case.payload)) == expected
            except execwire.DecodeError:
                assert expected is None
