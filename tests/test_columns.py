"""Tables against the reference decoder, cell by cell, through everything that reads them."""

from __future__ import annotations

import functools
import gc
import importlib.util
import math
import random
import signal
import subprocess
import sys
from collections import defaultdict
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from cases import VENUES, cases

from execwire import Decoder, core, reference, workload
from execwire.arrow import Node, stream_capsule
from execwire.columns import Columns, Lines
from execwire.tables import FILL_IN_ORDER, EventTable, Table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

Rows = dict[str, list[dict[str, Any]]]
HEADER = ("venue", "event", "flags")
FLAG_BITS = {"extra": 1, "long_text": 2, "unknown_enum": 4, "unrepresentable": 8}


def expected(venue: str, payloads: Iterable[bytes], first_ts: int = 1) -> Rows:
    """What must be in the tables: `None` for whatever is null, Decimals for decimals."""
    return defaultdict(list, _expected(venue, tuple(payloads), first_ts))


@functools.lru_cache(64)  # the reference is slow, and many tests ask for the same
def _expected(venue: str, payloads: tuple[bytes, ...], first_ts: int) -> Rows:
    rows: Rows = defaultdict(list)
    for ts, payload in enumerate(payloads, first_ts):
        for record in reference.decode(venue, payload, ts, flags=True):
            row = {field.name: cell(record.get(field.name), field.type) for field in core.fields(record["kind"])}
            row |= {"venue": record["venue"], "event": record["event"] or None}
            row["flags"] = sum(FLAG_BITS[flag] for flag in record["flags"])
            rows[record["kind"]].append(row)
    return rows


def cell(value: Any, type: str) -> Any:
    if value is None or value == "":
        return None
    return Decimal(value) if type == "decimal" else value


def collected(venue: str, payloads: Iterable[bytes], rows: int = 100, first_ts: int = 1) -> EventTable:
    columns, decoder = Columns(rows), Decoder(venue)
    for ts, payload in enumerate(payloads, first_ts):
        columns.decode(decoder, payload, ts)
    return EventTable(columns.batches(all=True))


@functools.cache
def good_payloads(venue: str) -> tuple[bytes, ...]:
    payloads = []
    for case in cases(venue):
        try:
            reference.decode(venue, case.payload)
        except reference.ReferenceError:
            continue
        payloads.append(case.payload)
    return tuple(payloads)


# ---- MARK: What a table says, as rows ----


def by_numpy(table: Table) -> list[dict[str, Any]]:
    columns = table.to_numpy()
    assert list(columns) == table.columns
    return rows_of({name: [plain(value) for value in values] for name, values in columns.items()})


def by_polars(table: Table) -> list[dict[str, Any]]:
    frame = table.to_polars()
    times = [field.name for field in core.fields(table.kind) if field.type == "time"]
    rows: list[dict[str, Any]] = frame.with_columns(*(frame[name].dt.epoch("ns") for name in times)).to_dicts()
    return rows


def by_arrow(table: Table) -> list[dict[str, Any]]:
    import pyarrow as pa

    made = table.to_arrow()
    made.validate(full=True)
    columns = {}
    for name in made.column_names:
        column = made[name]
        columns[name] = (column.cast(pa.int64()) if pa.types.is_timestamp(column.type) else column).to_pylist()
    return rows_of(columns)


def by_duckdb(table: Table) -> list[dict[str, Any]]:
    import duckdb

    records = table.to_arrow()  # the name that the query uses
    times = {field.name for field in core.fields(table.kind) if field.type == "time"}
    named = ", ".join(f'epoch_ns("{name}")' if name in times else f'"{name}"' for name in table.columns)
    found = duckdb.sql(f"select {named} from records").fetchall()
    assert len(records) == len(found)
    return [dict(zip(table.columns, row, strict=True)) for row in found]


def by_pandas(table: Table) -> list[dict[str, Any]]:
    frame = table.to_pandas()
    columns = {}
    for name in frame.columns:
        column = frame[name]
        nulls = column.isna().tolist()
        if str(column.dtype).startswith("datetime64"):
            assert str(column.dtype) == "datetime64[ns, UTC]"
            column = column.astype("int64")
        columns[name] = [None if null else plain(value) for null, value in zip(nulls, column.tolist(), strict=True)]
    return rows_of(columns)


def plain(value: Any) -> Any:
    if value is np.ma.masked:
        return None
    if isinstance(value, np.datetime64):
        return None if np.isnat(value) else int(value.astype("i8"))
    return value.item() if isinstance(value, np.generic) else value


def rows_of(columns: dict[str, list[Any]]) -> list[dict[str, Any]]:
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


READERS: dict[str, Callable[[Table], list[dict[str, Any]]]] = {
    "numpy": by_numpy,
    "polars": by_polars,
    "pyarrow": by_arrow,
    "duckdb": by_duckdb,
    "pandas": by_pandas,
}
NEEDS = {"duckdb": ("duckdb", "pyarrow")}


@pytest.fixture(params=READERS)
def reader(request: pytest.FixtureRequest) -> Callable[[Table], list[dict[str, Any]]]:
    for module in NEEDS.get(request.param, (request.param,)):
        if importlib.util.find_spec(module) is None:
            pytest.skip(f"no {module}")
    return READERS[request.param]


def compare(got: list[dict[str, Any]], want: list[dict[str, Any]]) -> None:
    assert len(got) == len(want)
    for i, (a, b) in enumerate(zip(got, want, strict=True)):
        different = {name: (a.get(name, "nothing"), b[name]) for name in b if a.get(name, "nothing") != b[name]}
        assert not different, f"row {i}"
        assert a.keys() == b.keys()


# ---- MARK: Cells ----


@pytest.mark.parametrize("event", ["executionReport", "futures-mix", "spot-mix", "bitget-orders-10"])
def test_tables_are_what_the_reference_says(event: str, reader: Callable[[Table], list[dict[str, Any]]]) -> None:
    messages = workload.workload(event, 300)
    want = expected(messages.venue, messages.messages)
    table = collected(messages.venue, messages.messages)
    assert {kind for kind in core.KINDS if len(table[kind])} == want.keys()
    for kind, rows in want.items():
        compare(reader(table[kind]), rows)


@pytest.mark.parametrize("venue", VENUES)
@pytest.mark.parametrize("rows", [1, 7, 100])
def test_payloads_of_the_tests(venue: str, rows: int) -> None:
    payloads = good_payloads(venue) * 3
    want = expected(venue, payloads)
    table = collected(venue, payloads, rows)
    for kind in core.KINDS:
        compare(by_numpy(table[kind]), want[kind])


@pytest.mark.parametrize("venue", VENUES)
def test_payloads_of_the_tests_in_other_libraries(venue: str, reader: Callable[[Table], list[dict[str, Any]]]) -> None:
    want = expected(venue, good_payloads(venue))
    table = collected(venue, good_payloads(venue))
    for kind in core.KINDS:
        if not want[kind]:
            continue
        if reader in (by_numpy, by_pandas) or fits(want[kind]):
            compare(reader(table[kind]), want[kind])
        else:  # nobody may round them
            with pytest.raises(Exception, match="is no decimal of 38 digits"):
                reader(table[kind])


def fits(rows: list[dict[str, Any]]) -> bool:
    """Whether every column has a scale at which all its decimals have at most 38 digits."""
    for name in rows[0]:
        values = [row[name] for row in rows if isinstance(row[name], Decimal) and row[name]]
        places = [max(0, -int(value.normalize().as_tuple().exponent)) for value in values]
        if values and max(value.adjusted() for value in values) + 1 + max(places) > 38:
            return False
    return True


def test_capture_lines_give_the_same_as_messages() -> None:
    messages = workload.workload("spot-mix", 500)
    columns, lines, decoder = Columns(64), Lines(True), Decoder(messages.venue)
    text = b"".join(b"%d %s\n" % (1795000000_000000001 + i, one) for i, one in enumerate(messages.messages))
    batches = []
    for begin in range(0, len(text), 1000):
        lines.feed(text[begin : begin + 1000])
        assert columns.feed(decoder, lines) is None
        batches += columns.batches()
    table = EventTable([*batches, *columns.batches(all=True)])
    want = expected(messages.venue, messages.messages, 1795000000_000000001)
    for kind, rows in want.items():
        compare(by_numpy(table[kind]), rows)
    assert columns.stats.messages == 500
    assert columns.rows == {kind: len(want[kind]) for kind in core.KINDS}


# ---- MARK: Decimals ----

AMOUNTS = ["1.50", "-2.25", "0", "-0.00", "123456789012345678901234567", "0.00000001", "7E+3", "-1e-5"]


def amounts(texts: Iterable[str]) -> list[bytes]:
    return [b'{"e":"balanceUpdate","a":"X","d":"%s"}' % text.encode() for text in texts]


def deltas(texts: Iterable[str], **options: Any) -> Table:
    return collected("binance-spot", amounts(texts), 3).balances.using(**options)


def test_doubles_are_the_nearest() -> None:
    rng = random.Random(7)
    texts = AMOUNTS + [f"{rng.randrange(10**24)}e{rng.randrange(-60, 30)}" for _ in range(500)]
    values = deltas(texts, decimals="float64")["delta"]
    assert values.dtype == np.float64
    assert values.tolist() == [float(text) for text in texts]
    assert math.copysign(1, values[3]) == -1


def test_raw_keeps_every_place() -> None:
    raw = deltas(AMOUNTS, decimals="raw")["delta"]
    exact = [Decimal((int(x["hi"]) << 64) + int(x["lo"])).scaleb(int(x["exponent"])) for x in raw]
    assert [str(value).replace("E+", "E+") for value in exact if value] == [
        str(Decimal(text)) for text in AMOUNTS if Decimal(text)
    ]
    assert raw["flags"].tolist() == [0, 0, 0, 1, 0, 0, 0, 0]  # -0.00


def test_raw_through_arrow() -> None:
    pytest.importorskip("pyarrow")
    column = deltas(AMOUNTS, decimals="raw").to_arrow()["delta"].to_pylist()
    assert [Decimal((x["hi"] << 64) + x["lo"]).scaleb(x["exponent"]) for x in column] == list(map(Decimal, AMOUNTS))


def test_scale_is_as_large_as_the_values_need() -> None:
    pa = pytest.importorskip("pyarrow")
    assert deltas(["1.5", "2.25"]).to_arrow().schema.field("delta").type == pa.decimal128(38, 2)
    assert deltas(["1", "2"]).to_arrow().schema.field("delta").type == pa.decimal128(38, 0)
    # Zeros behind 29 digits need not be kept where there is no room for them.
    crowded = deltas(["12345678901234567890123456", "1.00000000000000000000"]).to_arrow()["delta"]
    assert crowded.type == pa.decimal128(38, 0)
    assert crowded.to_pylist() == [Decimal("12345678901234567890123456"), 1]


def test_a_fixed_scale_rounds_nothing() -> None:
    pa = pytest.importorskip("pyarrow")
    table = deltas(["1.5", "2.25", "1.000"], scale=4).to_arrow()
    assert table.schema.field("delta").type == table.schema.field("free").type == pa.decimal128(38, 4)
    assert table["delta"].to_pylist() == [Decimal("1.5"), Decimal("2.25"), Decimal(1)]
    assert deltas(["12", "3.0"], scale=0).to_arrow()["delta"].to_pylist() == [Decimal(12), Decimal(3)]
    with pytest.raises(Exception, match=r"delta: 2\.25 is no decimal of 38 digits, 1 of them behind the point"):
        deltas(["1.5", "2.25"], scale=1).to_arrow()


def test_what_no_decimal128_holds_is_an_error_and_there_is_a_way_around() -> None:
    pytest.importorskip("pyarrow")
    table = deltas(["1e30", "1e-30"])
    with pytest.raises(Exception, match="is no decimal of 38 digits"):
        table.to_arrow()
    assert table.using(decimals="float64").to_arrow()["delta"].to_pylist() == [1e30, 1e-30]
    assert table["delta"].tolist() == [Decimal("1E+30"), Decimal("1E-30")]


def test_unrepresentable_is_null_and_flagged() -> None:
    table = deltas(["1", "1" * 30, "1.5"])
    assert table["delta"].tolist() == [1, None, Decimal("1.5")]
    assert table["flags"].tolist() == [0, 8 | 1, 0] or table["flags"].tolist() == [0, 8, 0]


def test_options_are_checked() -> None:
    with pytest.raises(ValueError, match="decimals must be"):
        deltas(["1"], decimals="double")
    with pytest.raises(ValueError, match="scale must be"):
        deltas(["1"], scale=39)


# ---- MARK: Texts, ids, nulls ----


def test_long_texts_are_whole() -> None:
    long = "€" * 100
    payloads = [
        b'{"e":"executionReport","s":"%s","c":"%s","r":"%s","i":1}' % (text.encode(), text.encode(), text.encode())
        for text in (long, "short", long + "x", '\\"' * 60)
    ]
    table = collected("binance-spot", payloads * 5, 4).orders
    want = [long, "short", long + "x", '"' * 60] * 5
    assert [table[name].tolist() for name in ("symbol", "client_order_id", "reject_reason")] == [want] * 3


def test_ids_are_texts_with_numbers_beside_them() -> None:
    payloads = [
        b'{"e":"executionReport","i":%s}' % text for text in (b"7", b'"007"', b"-1", b"18446744073709551615", b'""')
    ]
    table = collected("binance-spot", payloads, 3).orders.using(id_numbers=True)
    assert table["order_id"].tolist() == ["7", "007", "-1", "18446744073709551615", None]
    numbers = table["order_id_number"]
    assert np.ma.getmaskarray(numbers).tolist() == [False, True, True, False, True]
    assert numbers[0] == 7
    assert numbers[3] == 2**64 - 1
    assert "order_id_number" in table.columns


def test_null_empty_and_absent_are_null() -> None:
    payloads = [
        b'{"e":"balanceUpdate","d":%s,"T":%s}' % pair
        for pair in ((b"null", b"null"), (b'""', b'""'), (b"1", b"1795000000000"))
    ]
    payloads.append(b'{"e":"balanceUpdate"}')
    table = collected("binance-spot", payloads).balances
    assert table["delta"].tolist() == [None, None, 1, None]
    assert np.isnat(table["ts_transact"]).tolist() == [True, True, False, True]


def test_words_of_several_readings_meet() -> None:
    first = collected("binance-spot", amounts(["1"]))
    columns, decoder = Columns(10), Decoder("binance-spot")
    for asset in (b"Y", b"X", b"Z"):
        columns.decode(decoder, b'{"e":"balanceUpdate","a":"%s","d":"1"}' % asset)
    second = EventTable(columns.batches(all=True))
    both = Table("balance", [*first.balances._parts, *second.balances._parts])
    assert both["asset"].tolist() == ["X", "Y", "X", "Z"]
    pytest.importorskip("polars")
    assert both.to_polars()["asset"].to_list() == ["X", "Y", "X", "Z"]


# ---- MARK: Fills ----


def test_fills_have_one_shape() -> None:
    messages = workload.workload("executionReport", 400)
    table = collected(messages.venue, messages.messages, 64)
    orders = [row for row in expected(messages.venue, messages.messages)["order"] if row["exec_type"] == "trade"]
    want = []
    for order in orders:
        fill = {field.name: order.get(FILL_IN_ORDER.get(field.name, field.name)) for field in core.fields("fill")}
        want.append(fill | {name: order[name] for name in HEADER} | {"ts_created": None})
    assert len(want) > 50
    assert len(table.fills) == 0
    compare(by_numpy(table.fills()), want)


def test_fills_of_messages_of_their_own() -> None:
    payloads = [
        payload
        for payload in good_payloads("bitget")
        if any(record["kind"] == "fill" for record in reference.decode("bitget", payload))
    ]
    want = expected("bitget", payloads)["fill"]
    table = collected("bitget", payloads)
    assert want
    compare(by_numpy(table.fills), want)
    compare(by_numpy(table.fills(distinct=False))[-len(want) :], want)


def test_fills_of_venues_that_only_report_states() -> None:
    """A fill without execution type is one by the order's state; cancels repeat the last quantity and are none."""
    order = (
        b'{"e":"executionReport","E":2,"i":"7","s":"X","S":"SELL","x":"STATUS","X":"%s","l":"%s","L":"5","n":"0.1",'
        b'"T":1,"O":1}'
    )
    states = [(b"NEW", b"0"), (b"PART_FILLED", b"0.25"), (b"PENDING_CANCEL", b"0.25"), (b"FILLED", b"0.75"),
              (b"FILLED", b"0"), (b"CANCELED", b"0.25"), (b"PART_FILLED", b"")]  # fmt: skip
    fills = collected("gzip-broker", [order % one for one in states]).fills()
    got = [fills[name].tolist() for name in ("order_id", "side", "qty", "price", "fee")]
    assert got == [["7"] * 2, ["sell"] * 2, [Decimal("0.25"), Decimal("0.75")], [5, 5], [Decimal("0.1")] * 2]


def test_fills_that_are_told_twice_are_there_once() -> None:
    messages = workload.workload("executionReport", 400).messages
    once, twice = (collected("binance-spot", messages * n, 64).fills for n in (1, 2))
    assert len(twice(distinct=False)) == 2 * len(once())
    compare(by_numpy(twice()), by_numpy(once()))
    order = (
        b'{"e":"ORDER_TRADE_UPDATE","E":1,"o":{"s":"X","i":7,"t":9,"S":"BUY","x":"TRADE","X":"FILLED","l":"2","L":"5",'
        b'"n":"1"}}'
    )
    lite = b'{"e":"TRADE_LITE","E":1,"s":"X","i":7,"t":%d,"S":"BUY","l":"2","L":"5","q":"2","p":"5","m":false}'
    table = collected("binance-futures", [lite % 9, order, lite % 10])
    assert (len(table.fills), len(table.fills(distinct=False)), len(table.fills())) == (2, 3, 2)
    assert table.fills()["trade_id"].tolist() == ["9", "10"]
    assert table.fills.using(decimals="float64")()["qty"].tolist() == [2.0, 2.0]
    assert table.using(decimals="float64").fills()["qty"].tolist() == [2.0, 2.0]
    assert table.fills()["fee"].tolist() == [1, None]


# ---- MARK: Schemas and protocol ----


@pytest.mark.parametrize("kind", core.KINDS)
def test_schemas_follow_the_header(kind: str) -> None:
    pa = pytest.importorskip("pyarrow")
    schema = pa.schema(EventTable([])[kind])
    names = [field.name for field in core.fields(kind)]
    assert schema.names == ["venue", "event", *names, "flags"]
    types = {
        "decimal": pa.decimal128(38, 0),
        "time": pa.timestamp("ns", "UTC"),
        "u16": pa.uint16(),
        "bool": pa.bool_(),
        "enum": pa.dictionary(pa.int8(), pa.string()),
        "id": pa.string(),
    }
    for field in core.fields(kind):
        text = pa.string() if field.size == 128 else pa.dictionary(pa.int32(), pa.string())
        assert schema.field(field.name).type == types.get(field.type, text), field.name
        assert schema.field(field.name).nullable
    assert schema.field("flags").type == pa.uint8()


@pytest.mark.parametrize("kind", core.KINDS)
def test_empty_tables(kind: str) -> None:
    table = EventTable([])[kind]
    assert len(table) == 0
    assert {len(column) for column in table.to_numpy().values()} == {0}
    for module, read in (("polars", table.to_polars), ("pandas", table.to_pandas), ("pyarrow", table.to_arrow)):
        if importlib.util.find_spec(module):
            assert read().shape == (0, len(table.columns))


def test_columns_outlive_what_made_them() -> None:
    pa = pytest.importorskip("pyarrow")
    made = pa.table(collected("binance-spot", amounts(AMOUNTS[:3])).balances)
    array = collected("binance-spot", amounts(AMOUNTS[:3])).balances._parts[0].columns["delta"].values
    gc.collect()
    assert made["delta"].to_pylist() == [Decimal("1.50"), Decimal("-2.25"), 0]
    assert array.tolist()[0] == 150
    assert not array.flags.writeable


def test_a_stream_that_is_not_read_is_released() -> None:
    table = collected("binance-spot", amounts(AMOUNTS[:3])).balances
    for _ in range(100):
        assert table.__arrow_c_stream__() is not None
        assert table.__arrow_c_schema__() is not None
    gc.collect()


def test_an_interrupt_while_arrow_asks_is_raised() -> None:
    pytest.importorskip("pyarrow")

    def parts() -> Any:
        signal.raise_signal(signal.SIGINT)
        yield

    class Interrupted(Table):
        def __arrow_c_stream__(self, requested_schema: object = None) -> object:
            return stream_capsule(Node("", "+s", 0, ()), parts())

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            Interrupted("order", []).to_arrow()
    finally:
        signal.signal(signal.SIGINT, before)


def test_views_end_when_the_decoder_feeds_columns() -> None:
    decoder = Decoder("binance-spot")
    decoder.decode_into(amounts(["1"])[0])
    view = decoder.records[0]
    lines = Lines()
    lines.feed(amounts(["2"])[0] + b"\n")
    Columns().feed(decoder, lines)
    assert len(decoder.records) == 0
    with pytest.raises(ReferenceError, match="has moved on"):
        _ = view.venue


def test_errors_come_back_with_their_line() -> None:
    columns, lines, decoder = Columns(), Lines(True), Decoder("binance-spot")
    lines.feed(b'1795000000 {"e":"balanceUpdate"}\n1795000001 {"e":}\n{"execwire":1}\n', True)
    stop = columns.feed(decoder, lines)
    assert stop is not None
    what, line, error = stop
    assert (what, line) == ("error", (2, 44, 1795000001 * 10**9, b'{"e":}', True, True))
    assert error is not None
    assert error.offset == 5
    stop = columns.feed(decoder, lines)
    assert stop is not None
    assert (stop[0], stop[1][3], stop[1][5]) == ("other", b'{"execwire":1}', False)
    assert columns.feed(decoder, lines) is None
    assert columns.stats.errors == 1
    assert len(EventTable(columns.batches(all=True)).balances) == 1


def test_bad_arguments() -> None:
    with pytest.raises(ValueError, match="rows must be"):
        Columns(0)
    with pytest.raises(TypeError):
        Columns().feed(None, Lines())  # type: ignore[arg-type]


WITHOUT_PYARROW = """
import sys
sys.modules["pyarrow"] = None
import polars
from execwire import Decoder
from execwire.columns import Columns
from execwire.tables import EventTable
columns = Columns()
columns.decode(Decoder("binance-spot"), b'{"e":"balanceUpdate","a":"BTC","d":"-1.50","T":1795000000000}')
table = EventTable(columns.batches(all=True)).balances
print(polars.DataFrame(table).select("asset", "delta").rows(), table.to_polars()["ts_transact"].dt.year().to_list())
"""


def test_arrow_tables_do_not_wait_for_pandas() -> None:
    """Importing it takes longer than a small capture; ``pyarrow.table`` does where it is installed."""
    pytest.importorskip("pandas")
    program = (
        "import sys; from execwire.tables import Table; "
        "print(Table('order', []).to_arrow().num_rows, 'pyarrow' in sys.modules, 'pandas' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "0 True False\n"


def test_polars_needs_no_pyarrow() -> None:
    pytest.importorskip("polars")
    done = subprocess.run([sys.executable, "-c", WITHOUT_PYARROW], capture_output=True, text=True, check=True)
    assert done.stdout == "[('BTC', Decimal('-1.50'))] [2026]\n"


@pytest.mark.parametrize("library", ["pyarrow", "polars", "pandas"])
def test_a_library_that_is_missing_is_named_with_its_remedy(monkeypatch, library: str) -> None:
    monkeypatch.setitem(sys.modules, library, None)  # as if it were not installed
    to = getattr(Table("order", []), "to_arrow" if library == "pyarrow" else f"to_{library}")
    with pytest.raises(ModuleNotFoundError, match=rf"{library}: pip install '\S+'") as caught:
        to()
    assert caught.value.name == library


def test_decoding_needs_no_numpy() -> None:
    program = (
        "import sys; sys.modules['numpy'] = None; import execwire; "
        "print(execwire.Decoder('binance-spot').decode_into(b'{}'), 'read_capture' in dir(execwire))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.stdout in ("1 True\n", "0 True\n"), done.stderr
