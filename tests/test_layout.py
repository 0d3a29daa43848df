"""The C header, what the core says about its structs, numpy's dtypes and the records' attributes agree."""

from __future__ import annotations

import re
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest

import execwire
from execwire import Decoder, core

HEADER = Path(execwire.get_include(), "execwire.h").read_text("utf-8")
MEMBERS = ("present", "missing", "begin", "end", "event", "venue", "kind", "flags")  # of the header, but no fields

C_TYPES = {
    "ew_dec": "decimal",
    "int64_t": "time",
    "uint16_t": "u16",
    "uint8_t": ("enum", "bool"),
    "ew_id": "id",
    "ew_text16": "text",
    "ew_text32": "text",
    "ew_text128": "text",
}
SIZES = {"ew_text16": 16, "ew_text32": 32, "ew_text128": 128, "ew_dec": 16, "ew_id": 48}


def struct(name: str) -> dict[str, str]:
    """Member -> C type, in the order of the header."""
    text = re.sub(r"/\*.*?\*/", "", HEADER, flags=re.DOTALL)
    match = re.search(rf"typedef struct {name} \{{(.*?)\}} {name};", text, re.DOTALL)
    assert match is not None
    members = {}
    for line in match[1].split(";"):
        if line.strip():
            c_type, names = line.split(None, 1)
            members.update(dict.fromkeys((n.strip() for n in names.split(",")), c_type))
    return members


@pytest.mark.parametrize("kind", core.KINDS)
def test_fields_are_those_of_the_header(kind: str) -> None:
    declared = {**struct("ew_header"), **struct(f"ew_{kind}")}
    declared = {n: t for n, t in declared.items() if n not in {*MEMBERS, "h"} and not n.startswith("reserved")}
    fields = core.fields(kind)
    assert {field.name for field in fields} == declared.keys()
    for bit, field in enumerate(fields):
        assert field.bit == bit
        assert field.type in C_TYPES[declared[field.name]]
        assert field.size == SIZES.get(declared[field.name], field.size)
        assert bool(field.words) == bool(field.vocabulary) == (field.type in ("enum", "bool"))
        assert field.words == core.vocabularies().get(field.vocabulary, ())
        assert field.unit == "ns" if field.type == "time" else field.unit != "ns"
        attribute = getattr(getattr(execwire, kind.capitalize()), field.name)
        assert attribute.__name__ == field.name
        assert attribute.field is field
        assert attribute.__doc__.startswith(field.type)
    assert [field.name for field in fields[:4]] == ["ts_event", "ts_transact", "ts_recv", "subscription_id"]


def test_vocabularies_are_those_of_the_header() -> None:
    words = core.vocabularies()
    for vocabulary, enum in {"status": "order_status", "code": "notice_code"}.items() | {
        (name, name) for name in words if name not in ("status", "code", "bool")
    }:
        text = re.sub(r"/\*.*?\*/", "", HEADER, flags=re.DOTALL)
        match = re.search(rf"typedef enum ew_{enum} \{{(.*?)\}}", text, re.DOTALL)
        assert match is not None, vocabulary
        names = re.findall(r"EW_\w+", match[1])
        prefix = names[0].removesuffix("UNKNOWN")
        assert tuple(name.removeprefix(prefix).lower() for name in names) == words[vocabulary]
    assert words["bool"] == ("false", "true")
    words.clear()
    assert core.vocabularies()


@pytest.mark.parametrize("kind", core.KINDS)
def test_dtypes_have_the_layout_of_c(kind: str) -> None:
    dtype = core.dtype(kind)
    assert dtype is core.dtype(kind)
    assert dtype.isalignedstruct
    assert dtype.fields is not None
    for field in core.fields(kind):
        member, offset, *_ = dtype.fields[field.name]
        assert (offset, member.itemsize) == (field.offset, field.size)
        assert offset % member.alignment == 0
    # As C lays them out: in order, each at the next place that suits it, the reserved bytes where the header has them.
    reserved = re.findall(rf"typedef struct ew_{kind} \{{.*?\}} ew_{kind};", HEADER, re.DOTALL)[0]
    padding = sum(map(int, re.findall(r"reserved\[(\d+)\]", reserved)))
    used = sum(member.itemsize for member, *_ in dtype.fields.values())
    assert dtype.itemsize - 8 < used + padding <= dtype.itemsize
    assert dtype.itemsize % 8 == 0
    assert set(dtype.names or ()) == {*MEMBERS, *(field.name for field in core.fields(kind))}


def test_unknown_kinds() -> None:
    for function in (core.fields, core.dtype):
        for kind in ("none", "Order", "", "orders"):
            with pytest.raises(ValueError, match="one of order, fill, balance, position, notice"):
                function(kind)


SPOT = [
    (
        b'{"e":"executionReport","E":1790000000123,"s":"SOLEUR","c":"web-77","S":"SELL","o":"LIMIT","f":"GTC","q":"12.50",'
        b'"p":"131.2500","P":"0","F":"","g":-1,"C":"","x":"TRADE","X":"PARTIALLY_FILLED","r":"NONE","i":18446744073709551615,'
        b'"l":"0.1","z":"0.1","L":"131.25","n":"-0.0000131","N":"SOL","T":1790000000122,"t":5,"w":true,"m":false}'
    ),
    (
        b'{"e":"outboundAccountPosition","E":1790000000124,"u":1790000000123,"B":[{"a":"SOL","f":"1e-8","l":"0"},'
        b'{"a":"\xe2\x82\xac","f":"79228162514264337593","l":null}]}'
    ),
    b'{"e":"balanceUpdate","E":1790000000125,"a":"EUR","d":"-100.00000000","T":1790000000124}',
    b'{"e":"no such event","E":"1790000000126"}',
]


def seen_by_numpy(record: execwire.Record) -> dict[str, object]:
    """The fields of a record as its struct has them, read through the dtype alone."""
    (row,) = np.frombuffer(record, core.dtype(record.kind))  # type: ignore[call-overload]
    assert (row["begin"], row["end"]) == record.span
    assert row["flags"] == record.flags
    assert core.venue_name(int(row["venue"])) == record.venue
    assert core.KINDS[row["kind"] - 1] == record.kind
    values: dict[str, object] = {}
    for field in core.fields(record.kind):
        value = row[field.name]
        if not int(row["present"]) >> field.bit & 1:
            values[field.name] = None
        elif field.type == "decimal":
            mantissa = int(value["hi"]) << 64 | int(value["lo"])
            values[field.name] = Decimal(f"{mantissa}e{value['exponent']}") if value["state"] == 3 else None
        elif field.type == "enum":
            values[field.name] = field.words[value]
        elif field.type == "bool":
            values[field.name] = bool(value)
        elif field.type in ("id", "text"):
            values[field.name] = bytes(value["s"])[: value["len"]].decode() or None
        else:
            values[field.name] = int(value)
    return values


def test_structs_and_attributes_agree() -> None:
    decoder = Decoder("binance-spot")
    kinds = set()
    for payload in SPOT:
        decoder.decode_into(payload, 1790000000999_000000)
        for record in [*decoder.records, *(record.copy() for record in decoder.records)]:
            kinds.add(record.kind)
            values = seen_by_numpy(record)
            assert values == {name: getattr(record, name) for name in values}
            assert any(value is not None for value in values.values())
    assert kinds == {"order", "balance", "notice"}


def test_what_is_not_there_is_not_in_present() -> None:
    (record,) = Decoder("binance-spot").decode(SPOT[0])
    assert isinstance(record, execwire.Order)
    row = np.frombuffer(record, core.dtype("order"))[0]  # type: ignore[call-overload]
    states = {field.name: record.state(field.name) for field in core.fields("order")}
    for field in core.fields("order"):
        present, missing = (int(row[name]) >> field.bit & 1 for name in ("present", "missing"))
        assert not (present and missing)
        if not present and not missing:
            assert states[field.name] == "absent"
    assert states["iceberg_qty"] == "empty"
    assert states["avg_price"] == "absent"
    assert record.number("order_id") == row["order_id"]["number"] == 2**64 - 1
    assert row["order_id"]["is_number"] == 1


def test_many_records_in_one_array() -> None:
    decoder = Decoder("binance-spot")
    records = decoder.decode(b"[" + b",".join([SPOT[0]] * 50) + b"]")
    orders = np.frombuffer(b"".join(map(bytes, map(memoryview, records))), core.dtype("order"))
    assert orders.shape == (50,)
    assert set(orders["last_qty"]["lo"]) == {1}
    assert {bytes(text["s"])[: text["len"]] for text in orders["symbol"]} == {b"SOLEUR"}
