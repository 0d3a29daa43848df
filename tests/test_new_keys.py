"""Which keys are new: those that nothing in the dialect names, where they stand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import execwire

VENUE = """
name = "acme"

[[envelope]]
enter = "data"
when = ["stream"]
known = ["meta.node"]

[common]
ts_event = "//E"

[[event]]
name = "fill"
when = { e = "fill" }
known = ["//seq"]
[[event.emit]]
kind = "fill"
rows = "rows"
known = [
    "/source.id", "fees.kind", "fees.rebate.asset", "list", "deep.x.y", "pairs.1.a", "pairs.b", "plain.a",
]
[event.emit.fields]
price = "p"
fee = "fees.0.amount"
fee_asset = ["fees.0.asset", "fees.asset"]

[[event]]
name = "order"
when = { e = "order" }
kind = "order"
fields = { price = "p", order_list_id = "//list.id" }
"""


@pytest.fixture(scope="module")
def decoder(tmp_path_factory: pytest.TempPathFactory) -> execwire.Decoder:
    file = tmp_path_factory.mktemp("venue") / "acme.toml"
    file.write_text(VENUE)
    return execwire.Decoder(Path(file))


def new_keys(decoder: execwire.Decoder, value: Any) -> list[str]:
    before = decoder.stats.unknown_keys
    _, findings = decoder.explain(json.dumps(value).encode())
    found = [finding.path for finding in findings if finding.what == "new_key"]
    assert decoder.stats.unknown_keys - before == len(found)
    return found


FEE = {"amount": "1", "asset": "BTC", "kind": "maker", "rebate": {"asset": "BTC"}}


@pytest.mark.parametrize(
    ("row", "new"),
    [
        ({"p": "1", "fees": [FEE]}, []),
        ({"p": "1", "fees": [FEE, FEE, FEE]}, []),
        ({"p": "1", "fees": FEE}, ["amount"]),  # of elements only
        ({"fees": [{**FEE, "x": 1}, {"y": 2, **FEE}]}, ["x", "y"]),
        ({"fees": [{"rebate": {"asset": "BTC", "x": 1}}, {"rebate": [{"x": 1}]}]}, ["rebate.x", "rebate.x"]),
        ({"list": [{"a": {"b": 1}}, {"c": [2]}], "p": "1"}, []),  # nothing below it is named: all of it is known
        ({"list": {"a": {"b": 1}}, "q": "1"}, ["q"]),
    ],
)
def test_elements_of_arrays(decoder: execwire.Decoder, row: dict[str, Any], new: list[str]) -> None:
    place = "rows." if "q" in row else "rows.fees."
    assert new_keys(decoder, {"e": "fill", "rows": [row]}) == [place + key for key in new]
    assert new_keys(decoder, {"e": "fill", "rows": row}) == [place + key for key in new]


def test_paths_without_an_index_go_for_every_element(decoder: execwire.Decoder) -> None:
    pairs = [{"b": 1, "a": 1}, {"a": 1, "b": 1, "c": 1}, {"b": 1, "c": 1}]
    assert new_keys(decoder, {"e": "fill", "rows": [{"pairs": pairs}]}) == [
        "rows.pairs.a", "rows.pairs.c", "rows.pairs.c",
    ]  # fmt: skip


def test_deeper_paths_name_the_keys_on_the_way(decoder: execwire.Decoder) -> None:
    row = {"deep": {"x": {"y": 1, "z": 1}, "w": 1}, "plain": [{"a": {"b": 1}}, {"c": 1}]}
    expected = ["rows.deep.x.z", "rows.deep.w", "rows.plain.c"]
    assert new_keys(decoder, {"e": "fill", "source": {"id": 1}, "rows": [row]}) == expected
    assert new_keys(decoder, {"e": "fill", "source": {"no": 1}, "rows": [row]}) == ["source.no", *expected]


@pytest.mark.parametrize(
    ("wrapper", "new"),
    [
        ({}, []),
        ({"E": 1795031512004}, []),  # a field takes it
        ({"seq": 7}, []),  # known of the frame
        ({"list": {"id": 7}}, []),
        ({"meta": {"node": 1, "other": 2}}, []),  # keys of wrappers are known whole
        ({"new": 1, "Seq": {"a": 1}}, ["new", "Seq"]),
    ],
)
@pytest.mark.parametrize("event", [{"e": "order", "p": "1"}, {"e": "fill", "rows": [{"p": "1"}]}, {"e": "no such"}])
def test_wrappers(decoder: execwire.Decoder, wrapper: dict[str, Any], new: list[str], event: dict[str, Any]) -> None:
    assert new_keys(decoder, {"stream": "s", **wrapper, "data": event}) == new
    assert new_keys(decoder, {"data": [event], **wrapper, "stream": "s"}) == new


def test_paths_of_the_frame_are_those_of_a_bare_event(decoder: execwire.Decoder) -> None:
    assert new_keys(decoder, {"e": "order", "E": 1795031512004, "list": {"id": 1, "x": 2}, "seq": 1}) == [
        "list.x",
        "seq",
    ]


def test_of_what_is_unknown_nothing_is_new(decoder: execwire.Decoder) -> None:
    assert new_keys(decoder, {"e": "no such", "x": {"y": 1}}) == []


def test_rows_beside_an_index_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "acme.toml"
    file.write_text(VENUE.replace('"/source.id"', '"/rows.0.x"').replace('rows = "rows"', 'rows = "rows.all"'))
    with pytest.raises(execwire.venues.VenueError, match="rows beside a path with an index"):
        execwire.Decoder(file)
