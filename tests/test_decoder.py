"""What the decoder and its records do as Python objects. What they decode is tested against the reference."""

from __future__ import annotations

import array
import copy
import gc
import mmap
import pickle
import threading
import tracemalloc
import zlib
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest
from cases import VENUES, cases, fresh
from test_sbe import order as sbe_frame

import execwire
from execwire import DecodeError, Decoder, core
from execwire.venues import load

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

VENUE = """
name = "testing"
[[envelope]]
enter = "data"
when = ["stream"]
fields = { subscription_id = "sub" }
[[prompt]]
text = "pong"
code = "pong"
[common]
ts_event = "/E"
[enums.side]
BUY = "buy"
SELL = "sell"
B = "buy"
[enums.bool]
T = true
[[event]]
name = "order"
when = { e = "order" }
kind = "order"
fields = { symbol = "s", order_id = "i", client_order_id = "c", side = "S", price = "p", orig_qty = "q", fee = "n", \
is_maker = "m", ts_created = "O", reject_reason = "r", fee_asset = "N" }
known = ["X"]
[[event]]
name = "account"
when = { e = "account" }
[[event.emit]]
kind = "balance"
rows = "a.B"
fields = { asset = "a", free = "f", locked = "l" }
[[event.emit]]
kind = "position"
rows = "a.P"
fields = { symbol = "s", qty = "q" }
[[event]]
name = "login"
when = { op = "login" }
kind = "notice"
code = "request"
fields = { message = "key", about = "op", request_id = "id" }
"""

ORDER = b'{"e":"order","E":1790000000001,"s":"SOLEUR","i":8801,"c":"a-1","S":"SELL","p":"131.2500","q":3,"n":"-0.00"}'
ACCOUNT = (
    b'{"stream":"k3y","sub":4,"data":{"e":"account","E":1790000000002,"a":{"m":"DEPOSIT","B":[{"a":"SOL","f":"1","l":"0"},'
    b'{"a":"EUR","f":"2","l":"0.5","z":[]}],"P":[{"s":"SOLEUR","q":-7}]}}}'
)


@pytest.fixture(scope="module")
def venue(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("venues") / "testing.toml"
    path.write_text(VENUE, "utf-8")
    return path


@pytest.fixture
def decoder(venue: Path) -> Decoder:
    return Decoder(venue)


def gzipped(data: bytes) -> bytes:
    compressor = zlib.compressobj(wbits=31)
    return compressor.compress(data) + compressor.flush()


# ---- MARK: Making one ----


def test_venues_are_found_by_name_by_path_and_as_loaded(venue: Path) -> None:
    assert Decoder("binance-spot").venue == "binance-spot"
    assert Decoder(str(venue)).venue == Decoder(venue).venue == "testing"
    assert Decoder(execwire.venues.load(venue)).venue == "testing"
    assert repr(Decoder(venue)) == "<execwire.core.Decoder 'testing'>"


def test_unknown_venue() -> None:
    with pytest.raises(execwire.VenueError, match="no-such-venue"):
        Decoder("no-such-venue")


@pytest.mark.parametrize("venue", [None, 1, b"binance-spot", ["binance-spot"]])
def test_what_is_no_venue(venue: object) -> None:
    with pytest.raises(TypeError, match=f"not {type(venue).__name__}"):
        Decoder(venue)  # type: ignore[arg-type]


def test_a_table_that_does_not_compile_tells_its_line() -> None:
    class Broken:
        def table(self) -> str:
            return "execwire\t1\nname\tbroken\nnonsense\tx\n"

    with pytest.raises(execwire.VenueError, match=r"broken: line 3 of the table: \w+"):
        Decoder(Broken())  # type: ignore[arg-type]


@pytest.mark.parametrize("limit", [0, -1, 1 << 40])
def test_limits_that_make_no_sense(venue: Path, limit: int) -> None:
    with pytest.raises(ValueError, match="max_inflated"):
        Decoder(venue, max_inflated=limit)


def test_venue_numbers_are_names(decoder: Decoder) -> None:
    numpy = pytest.importorskip("numpy")
    (order,) = decoder.decode(ORDER)
    number = int(numpy.frombuffer(order, core.dtype("order"))["venue"][0])
    assert core.venue_name(number) == "testing"
    with pytest.raises(KeyError):
        core.venue_name(65535)


# ---- MARK: Records ----


def test_fields_of_every_type(decoder: Decoder) -> None:
    (order,) = decoder.decode(ORDER, 1790000000003_000000)
    assert isinstance(order, execwire.Order)
    assert (order.kind, order.venue, order.event) == ("order", "testing", "order")
    assert (order.symbol, order.side, order.order_id, order.is_maker) == ("SOLEUR", "sell", "8801", None)
    assert (order.ts_event, order.ts_recv, order.ts_transact) == (1790000000001_000000, 1790000000003_000000, None)
    assert order.price == Decimal("131.25")
    assert str(order.price) == "131.2500"
    assert str(order.fee) == "-0.00"
    assert order.payload is ORDER
    assert order.span == (0, len(ORDER))
    assert order.flags == 0
    assert order.extra == {}


def test_numbers_for_engines(decoder: Decoder) -> None:
    (order,) = decoder.decode(ORDER)
    assert order.float("price") == 131.25
    assert str(order.float("fee")) == "-0.0"
    assert order.float("stop_price") is None
    assert order.unscaled("price") == (1312500, -4)
    assert order.unscaled("stop_price") is None
    assert order.scaled("price", 2) == 13125
    assert order.scaled("price", 30) == 13125 * 10**28
    assert order.scaled("orig_qty", 0) == 3
    assert order.scaled("stop_price", 2) is None
    assert order.number("order_id") == 8801
    assert order.number("client_order_id") is None
    with pytest.raises(ValueError, match=r"131\.2500 is no whole number"):
        order.scaled("price", 1)
    with pytest.raises(ValueError, match="scale"):
        order.scaled("price", 10**6)


def test_the_wrong_field_is_an_error(decoder: Decoder) -> None:
    (order,) = decoder.decode(ORDER)
    with pytest.raises(TypeError, match="no decimal"):
        order.float("side")
    with pytest.raises(TypeError, match="no id"):
        order.number("price")
    for method in (order.float, order.unscaled, order.number, order.state, order.is_null, order.raw):
        with pytest.raises(AttributeError, match="no field 'prize'"):
            method("prize")
    with pytest.raises(AttributeError):
        order.prize  # type: ignore[attr-defined]  # noqa: B018
    with pytest.raises(AttributeError, match="read-only"):
        order.ts_event = 1  # type: ignore[misc]
    (balance, *_) = decoder.decode(ACCOUNT)
    with pytest.raises(TypeError, match="another kind"):
        execwire.Order.__dict__["price"].__get__(balance)


@pytest.mark.parametrize(
    ("key", "field", "states"),
    [
        ("p", "price", {'"1"': "value", '""': "empty", "null": "null", '"x"': "unrepresentable", "{}": "absent"}),
        ("i", "order_id", {"1": "value", '""': "empty", "null": "null", "[]": "absent"}),
        ("s", "symbol", {'"A"': "value", '""': "empty", "null": "null", "true": "absent"}),
        ("S", "side", {'"BUY"': "value", '""': "empty", "null": "null", '"UP"': "value"}),
        ("m", "is_maker", {"true": "value", '"T"': "value", '""': "empty", "null": "null", '"x"': "absent"}),
        ("O", "ts_created", {"1790000000": "value", '""': "empty", "null": "null", '"x"': "absent"}),
    ],
)
def test_absent_null_and_empty_differ(decoder: Decoder, key: str, field: str, states: dict[str, str]) -> None:
    for text, state in states.items():
        (order,) = decoder.decode(f'{{"e":"order","{key}":{text}}}'.encode())
        assert order.state(field) == state
        assert order.is_null(field) == (state == "null")
        assert (getattr(order, field) is None) == (state != "value")
        shown = order.to_dict()
        if state == "null":
            assert shown[field] is None
        elif state == "empty":
            assert shown[field] == ""
        else:
            assert (field in shown) == (state == "value")
    (order,) = decoder.decode(b'{"e":"order"}')
    assert order.state(field) == "absent"
    assert getattr(order, field) is None


@pytest.mark.parametrize(
    "text",
    ["0", "1", "-1", "0.00000001", "1.50", "-0.0", "79228162514264337593543950335e-28", "1e5",
     "-39614081257132168796771975167", "18446744073709551616", "9223372036854775808", "-9223372036854775809",
     "12e-999", "0.000e-30"],
)  # fmt: skip
def test_decimals_are_exact(decoder: Decoder, text: str) -> None:
    (order,) = decoder.decode(f'{{"e":"order","p":{text}}}'.encode())
    assert isinstance(order, execwire.Order)
    if order.state("price") == "unrepresentable":  # 2**96 does not fit
        assert text.startswith("792")
        assert order.extra == {"p": Decimal(text)}
        return
    for _ in range(2):  # the second time from memory
        assert order.price is not None
        assert order.price.as_tuple() == Decimal(text).as_tuple()
    mantissa, exponent = order.unscaled("price") or (0, 0)
    assert Decimal(f"{mantissa}e{exponent}") == Decimal(text)
    assert order.float("price") == float(text)


def test_raw_gives_the_bytes_of_the_payload(decoder: Decoder) -> None:
    (order,) = decoder.decode(rb'{"e":"order","c":"\u0061-1","p":1.50,"S":null,"s":""}')
    assert isinstance(order, execwire.Order)
    assert order.client_order_id == "a-1"
    assert order.raw("client_order_id") == rb"\u0061-1"
    assert order.raw("price") == b"1.50"
    assert order.raw("side") == b"null"
    assert order.raw("symbol") == b""
    assert order.raw("fee") is None


def test_long_texts_are_whole(decoder: Decoder) -> None:
    long_id, symbol, reason = "x" * 300, "\U0001f600" * 9, 'say "no" \\ ' * 9
    text = reason.replace("\\", "\\\\").replace('"', '\\"')
    payload = f'{{"e":"order","c":"{long_id}","s":"{symbol}","r":"{text}","N":"{"y" * 15}"}}'.encode()
    for order in (decoder.decode(payload)[0], decoder.records[0] if decoder.decode_into(payload) else None):
        assert isinstance(order, execwire.Order)
        assert order.flags & core.LONG_TEXT
        assert (order.client_order_id, order.symbol, order.reject_reason, order.fee_asset) == (
            long_id, symbol, reason, "y" * 15,
        )  # fmt: skip
        assert order.to_dict()["client_order_id"] == long_id
    (order,) = decoder.decode(b'{"e":"order","i":' + b"9" * 50 + b"}")
    assert isinstance(order, execwire.Order)
    assert order.order_id == "9" * 50
    assert order.number("order_id") is None


def test_extra_is_what_no_field_holds(decoder: Decoder) -> None:
    first, second, position = decoder.decode(ACCOUNT)
    around = {"stream": "k3y", "data": {"a": {"m": "DEPOSIT"}}}
    assert first.extra == position.extra == {"envelope": around}
    assert second.extra == {"z": [], "envelope": around}
    assert [first.subscription_id, first.ts_event] == [4, 1790000000002_000000]
    assert first.span == (ACCOUNT.index(b'{"a":"SOL"'), ACCOUNT.index(b',{"a":"EUR"'))

    (order,) = decoder.decode(b'{"e":"order","S":"B","m":"T","p":"x","zz":{"a":[1,2.50,{"b":null}],"c":{}},"X":-0}')
    assert order.flags == core.EXTRA | core.UNREPRESENTABLE
    extra = order.extra
    assert extra == {"S": "B", "m": "T", "p": "x", "zz": {"a": [1, Decimal("2.50"), {"b": None}], "c": {}}, "X": 0}
    assert isinstance(extra["zz"]["a"][1], Decimal)
    extra.clear()
    assert order.extra


def test_extra_and_repeated_keys(decoder: Decoder) -> None:
    assert decoder.decode(b'{"e":"order","s":"A","zz":1,"zz":2,"s":"B"}')[0].to_dict(extra=True) == {
        "kind": "order", "venue": "testing", "event": "order", "symbol": "B", "extra": {"zz": 2},
    }  # fmt: skip
    (order,) = decoder.decode(b'{"e":"order","S":"UP","S":"BUY"}')
    assert order.extra == {}


def test_numbers_in_extra_are_never_rounded(decoder: Decoder) -> None:
    digits = "7" * 5000
    (order,) = decoder.decode(f'{{"e":"order","a":{digits},"b":1e999999999999999999999,"d":0.1}}'.encode())
    extra = order.extra
    assert extra["a"] == 7 * (10**5000 - 1) // 9
    assert extra["b"] == "1e999999999999999999999"
    assert extra["d"] == Decimal("0.1")


def test_to_dict(decoder: Decoder) -> None:
    (order,) = decoder.decode(ORDER, 7)
    assert list(order.to_dict(extra=True).items()) == [
        ("kind", "order"), ("venue", "testing"), ("event", "order"), ("ts_event", 1790000000001_000000), ("ts_recv", 7),
        ("symbol", "SOLEUR"), ("order_id", "8801"), ("client_order_id", "a-1"), ("side", "sell"), ("price", "131.2500"),
        ("orig_qty", "3"), ("fee", "-0.00"),
    ]  # fmt: skip


def test_prompts_and_unknown_events(decoder: Decoder) -> None:
    (pong,) = decoder.decode(b" pong\n")
    assert pong.to_dict(extra=True) == {"kind": "notice", "venue": "testing", "event": "", "code": "pong"}
    assert pong.raw("code") is None
    (unknown,) = decoder.decode(b'{"e":"surprise","E":1790000000000,"n":[1]}')
    assert isinstance(unknown, execwire.Notice)
    assert (unknown.code, unknown.message, unknown.event) == ("unknown_event", "surprise", "")
    assert unknown.extra == {"n": [1]}
    assert decoder.decode(b"[]") == []


def test_equality_is_of_what_records_say(decoder: Decoder) -> None:
    (one,), (two,) = decoder.decode(ORDER), decoder.decode(bytearray(ORDER + b" "))
    assert one == two
    assert one != decoder.decode(ORDER.replace(b"131.2500", b"131.25"))[0]
    assert one != "order"
    assert one != decoder.decode(b"pong")[0]
    with pytest.raises(TypeError, match="unhashable"):
        hash(one)


def test_records_are_made_by_decoders_only(decoder: Decoder) -> None:
    with pytest.raises(TypeError, match="Decoder"):
        execwire.Order()
    with pytest.raises(TypeError):
        type("Mine", (execwire.Order,), {})
    bare = execwire.Order.__new__(execwire.Order)
    assert repr(bare) == "<Order: gone>"
    for name in ("price", "kind", "venue", "event", "extra", "payload", "span", "flags"):
        with pytest.raises(ReferenceError):
            getattr(bare, name)
    with pytest.raises(ReferenceError):
        bare.to_dict()
    with pytest.raises(ReferenceError):
        bare.copy()
    with pytest.raises((ReferenceError, BufferError)):
        memoryview(bare)
    for thing in (decoder, decoder.records, decoder.decode(ORDER)[0]):
        with pytest.raises(TypeError, match="cannot be pickled"):
            pickle.dumps(thing)


# ---- MARK: Views ----


def test_views_are_reused_and_follow_the_decoder(decoder: Decoder) -> None:
    assert (decoder.order, len(decoder.records)) == (None, 0)
    assert decoder.decode_into(ORDER) == 1
    view = decoder.order
    assert view is not None
    assert view.symbol == "SOLEUR"
    assert decoder.decode_into(ORDER.replace(b"SOLEUR", b"BTCEUR"), ts_recv=5) == 1
    with pytest.raises(ReferenceError, match="copy"):
        view.symbol  # noqa: B018
    assert repr(view) == "<Order: gone>"
    assert decoder.order is view
    assert (view.symbol, view.ts_recv) == ("BTCEUR", 5)
    assert decoder.decode_into(ACCOUNT) == 3
    assert decoder.order is None
    assert [decoder.balance, decoder.position] == [decoder.records[0], decoder.records[2]]
    assert decoder.records[1] is decoder.records[1]
    assert decoder.fill is None
    assert decoder.notice is None


def test_records_are_a_sequence(decoder: Decoder) -> None:
    decoder.decode_into(ACCOUNT)
    records = decoder.records
    assert records is decoder.records
    assert len(records) == 3
    assert [r.kind for r in records] == ["balance", "balance", "position"]
    assert records[-1] is records[2]
    assert [r.kind for r in records[1:]] == ["balance", "position"]
    for index in (3, -4, 10**30):
        with pytest.raises(IndexError):
            records[index]
    with pytest.raises(TypeError):
        records["0"]  # type: ignore[call-overload]
    assert repr(records) == "<3 records>"


def test_views_equal_owned_records(decoder: Decoder, venue: Path) -> None:
    for payload in (ORDER, ACCOUNT, b"pong", gzipped(ACCOUNT), b'[{"e":"order"},{"e":"x"}]'):
        owned = Decoder(venue).decode(payload, 9)
        assert decoder.decode_into(payload, 9) == len(owned)
        assert list(decoder.records) == owned
        assert [r.extra for r in decoder.records] == [r.extra for r in owned]
        assert [r.payload for r in decoder.records] == [r.payload for r in owned]


def test_a_copy_outlives_everything(venue: Path) -> None:
    decoder = Decoder(venue)
    payload = bytearray(ACCOUNT)
    decoder.decode_into(payload)
    payload[:] = b"x" * len(payload)  # the decoder has its own copy
    balance, view = decoder.records[1].copy(), decoder.records[1]
    assert type(balance) is execwire.Balance
    assert copy.copy(balance) is balance is copy.deepcopy(balance)
    assert balance == view
    expected = view.to_dict(extra=True)
    decoder.decode_into(b"[]")
    del decoder
    gc.collect()
    assert balance.to_dict(extra=True) == expected
    assert balance.payload == ACCOUNT
    with pytest.raises(ReferenceError):
        view.asset  # type: ignore[attr-defined]  # noqa: B018


def test_views_keep_the_memory_they_read(venue: Path) -> None:
    decoder = Decoder(venue)
    decoder.decode_into(ORDER)
    view = decoder.order
    del decoder
    gc.collect()
    assert view is not None
    assert view.to_dict()["price"] == "131.2500"


@pytest.mark.parametrize("kind", [bytes, bytearray])
def test_views_of_sbe_frames(kind: type[bytes]) -> None:
    frame = kind(sbe_frame())
    decoder = Decoder("binance-spot")
    (owned,) = Decoder("binance-spot").decode(frame)
    assert decoder.decode_into(frame) == 1
    view = decoder.records[0]
    copied = view.copy()
    for record in (view, copied, owned):
        begin, end = record.span
        assert record.payload[begin:end].startswith(b"{")
        assert record.payload == owned.payload != frame
        assert record.raw("symbol") == b"BTCUSDT"
        assert record.to_dict(extra=True) == owned.to_dict(extra=True)
    decoder.decode_into(b"[]")
    assert copied.to_dict(extra=True) == owned.to_dict(extra=True)


def test_many_records(decoder: Decoder) -> None:
    rows = b",".join(b'{"a":"A%d","f":"%d"}' % (i, i) for i in range(3000))
    payload = b'{"e":"account","a":{"B":[' + rows + b"]}}"
    assert decoder.decode_into(payload) == 3000
    assert [r.free for r in decoder.records if isinstance(r, execwire.Balance)] == list(range(3000))
    owned = decoder.decode(payload)
    assert [r.raw("asset") for r in owned[::1000]] == [b"A0", b"A1000", b"A2000"]
    assert owned[2999].extra == {}


def test_the_buffer_of_a_view_is_a_snapshot(decoder: Decoder) -> None:
    decoder.decode_into(ORDER)
    assert decoder.order is not None
    buffer = memoryview(decoder.order)
    before = bytes(buffer)
    decoder.decode_into(b"[" + b",".join([ORDER.replace(b"131", b"777")] * 500) + b"]")
    assert bytes(buffer) == before
    assert buffer.readonly
    owned = decoder.decode(ORDER)[0]
    assert len(memoryview(owned)) == len(before) == core.dtype("order").itemsize
    with pytest.raises(TypeError, match="read-only"):
        memoryview(owned)[0] = 0


def test_nothing_leaks(decoder: Decoder, venue: Path) -> None:
    other = Decoder(venue)

    def round_() -> None:
        for payload in (ORDER, ACCOUNT, bytearray(ORDER), gzipped(ORDER), b"{", b"pong"):
            try:
                decoder.decode_into(payload)
            except DecodeError:
                continue
            for record in [*other.decode(payload), *decoder.records]:
                record.to_dict(extra=True)
                record.copy()
                memoryview(record).release()
            decoder.explain(payload)

    for _ in range(20):
        round_()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(200):
            round_()
        gc.collect()
        after = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert after - before < 20_000


# ---- MARK: Payloads ----


def buffers() -> Iterator[object]:
    yield bytearray(ORDER)
    yield memoryview(ORDER)
    yield memoryview(b"xx" + ORDER)[2:]
    yield array.array("B", ORDER)
    yield type("Bytes", (bytes,), {})(ORDER)
    with mmap.mmap(-1, len(ORDER)) as mapped:
        mapped[:] = ORDER
        yield mapped


def test_anything_with_a_buffer_is_a_payload(decoder: Decoder) -> None:
    expected = decoder.decode(ORDER)
    for buffer in buffers():
        assert decoder.decode(buffer) == expected  # type: ignore[arg-type]
        assert decoder.decode_into(buffer) == 1  # type: ignore[arg-type]
        assert list(decoder.records) == expected
        assert decoder.records[0].payload == ORDER


@pytest.mark.parametrize("payload", ["{}", None, 1, [b"{}"], memoryview(b"{}  ")[::2]])
def test_what_is_no_payload(decoder: Decoder, payload: object) -> None:
    for method in (decoder.decode, decoder.decode_into, decoder.explain):
        with pytest.raises((TypeError, BufferError)):
            method(payload)  # type: ignore[arg-type]


@pytest.mark.parametrize("seconds", [1795000000.5, None, "1795000000"])
def test_a_time_of_receipt_is_an_integer(decoder: Decoder, seconds: object) -> None:
    for method in (decoder.decode, decoder.decode_into):
        with pytest.raises(TypeError):
            method(ORDER, seconds)  # type: ignore[arg-type]


def test_the_owner_may_resize_a_buffer_afterwards(decoder: Decoder) -> None:
    payload = bytearray(ORDER)
    decoder.decode_into(payload)
    payload.extend(b" " * 1000)
    assert decoder.records[0].payload == ORDER


@pytest.mark.parametrize("kind", [bytes, bytearray])
@pytest.mark.parametrize(
    ("payload", "offset", "status"),
    [
        (b"", 0, "truncated"),
        (b'{"a":1', 6, "truncated"),
        (b'{"a":1}}', 7, "syntax"),
        (b"hello", 0, "syntax"),
        (b"[1]", 1, "syntax"),
        (b'{"a":"\xff"}', 6, "utf8"),
        (b"[" * 200, 128, "depth"),
    ],
)
def test_errors_tell_where(decoder: Decoder, kind: type[bytes], payload: bytes, offset: int, status: str) -> None:
    decoder.decode_into(ORDER)
    assert decoder.error is None
    for method in (decoder.decode, decoder.decode_into, decoder.explain):
        with pytest.raises(DecodeError) as caught:
            method(kind(payload))
        error = caught.value
        assert (error.offset, error.status) == (offset, status)
        assert error.message
        assert str(error) == f"{error.message} (byte {offset})"
        assert isinstance(decoder.error, DecodeError)
        assert decoder.error.args == error.args
        assert pickle.loads(pickle.dumps(error)).args == error.args
        assert (len(decoder.records), decoder.order) == (0, None)
    assert decoder.decode_into(ORDER) == 1
    assert decoder.error is None


def test_stats(decoder: Decoder) -> None:
    decoder.decode(ORDER)
    decoder.decode_into(ACCOUNT)
    decoder.decode(b'{"e":"order","S":"UP","p":"x","zz":{"q":1}}')
    decoder.decode(b'{"e":"?"}')
    for broken in (b"{", b"\x1f\x8b\x08"):
        with pytest.raises(DecodeError):
            decoder.decode_into(broken)
    assert decoder.stats == core.Stats(
        messages=6, records=6, errors=2, unknown_events=1, unknown_keys=3, unknown_enums=1, unrepresentable=1
    )


def test_explain(decoder: Decoder) -> None:
    payload = (
        b'{"stream":"x","more":1,"data":{"e":"account","a":{"B":[{"a":"A","f":"?"},{"a":"B","new":{"k":[1.0]}}]}}}'
    )
    records, findings = decoder.explain(payload)
    assert [r.kind for r in records] == ["balance", "balance"]
    assert findings == [
        ("more", "new_key", 1),
        ("data.a.B.f", "unrepresentable", "?"),
        ("data.a.B.new", "new_key", {"k": [Decimal("1.0")]}),
    ]
    _, findings = decoder.explain(b'{"e":"order","S":"UP","p":{"a":1},"c":null}')
    assert findings == [("S", "unknown_enum", "UP"), ("p", "unrepresentable", {"a": 1})]
    assert decoder.explain(ORDER)[1] == decoder.explain(b"pong")[1] == decoder.explain(b"[]")[1] == []


# ---- MARK: gzip ----


def test_zlib_ng_is_found() -> None:
    assert core._inflate_in_c()  # type: ignore[attr-defined]


@pytest.mark.usefixtures("inflater")
@pytest.mark.parametrize("kind", [bytes, bytearray])
def test_gzip_frames(decoder: Decoder, kind: type[bytes]) -> None:
    half = len(ACCOUNT) // 2
    for frame in (gzipped(ACCOUNT), gzipped(ACCOUNT[:half]) + gzipped(ACCOUNT[half:]), gzipped(ACCOUNT) + bytes(9)):
        expected = decoder.decode(ACCOUNT)
        got = decoder.decode(kind(frame))
        assert got == expected
        assert got[1].payload == ACCOUNT
        assert got[1].extra == expected[1].extra
        assert decoder.decode_into(kind(frame)) == 3
        view = decoder.records[1]
        assert (view.payload, view.raw("locked"), view.extra) == (ACCOUNT, b"0.5", expected[1].extra)
        assert view.copy().payload == ACCOUNT
        assert decoder.explain(kind(frame))[1] == decoder.explain(ACCOUNT)[1]


@pytest.mark.usefixtures("inflater")
def test_broken_gzip_frames(decoder: Decoder) -> None:
    frame = gzipped(ORDER)
    broken = {
        "truncated": (frame[:-1], len(frame) - 1),
        "cut short": (frame[:20], 20),
        "checksum": (frame[:-8] + bytes(8), None),
        "garbage": (frame + b"\0\0x", len(frame) + 2),
        "second member": (frame + frame[:5], None),
        "reserved flags": (frame[:3] + b"\xff" + frame[4:], None),
        "magic only": (b"\x1f\x8b", 2),
    }
    for name, (payload, offset) in broken.items():
        with pytest.raises(DecodeError) as caught:
            decoder.decode_into(payload)
        assert caught.value.status == "gzip", name
        assert 0 <= caught.value.offset <= len(payload), name
        assert offset in (None, caught.value.offset), name
    with pytest.raises(DecodeError) as caught:
        decoder.decode(gzipped(b'{"a":'))
    assert (caught.value.offset, caught.value.status) == (5, "truncated")
    assert decoder.decode(frame)


@pytest.mark.usefixtures("inflater")
def test_the_cap_on_inflation(venue: Path) -> None:
    decoder = Decoder(venue, max_inflated=len(ORDER))
    assert decoder.decode_into(gzipped(ORDER)) == 1
    for frame in (gzipped(ORDER + b" "), gzipped(ORDER) + gzipped(b" "), gzipped(b" " * 50_000_000)):
        with pytest.raises(DecodeError) as caught:
            decoder.decode(frame)
        assert caught.value.status == "limit"
    assert decoder.decode_into(ORDER + b" ") == 1  # is for gzip frames only


# ---- MARK: Secrets ----


def test_repr_shows_fields_and_nothing_else(decoder: Decoder) -> None:
    (order,) = decoder.decode(b'{"e":"order","s":"SOLEUR","p":"1.50","S":"BUY","m":true,"secret":"hunter2"}')
    assert repr(order) == (
        "Order(venue='testing', event='order', symbol='SOLEUR', side='buy', price=1.50, is_maker=True)"
    )
    payload = b'{"op":"login","key":"hunter2","id":"hunter2"}'
    (login,) = decoder.decode(payload)
    assert isinstance(login, execwire.Notice)
    assert login.message == "hunter2"
    decoder.decode_into(payload)
    shown = [login, decoder, decoder.records, decoder.notice, login.copy()]
    assert "hunter2" not in repr(shown)
    with pytest.raises(DecodeError) as caught:
        decoder.decode(b'{"key":"hunter2",}')
    assert "hunter2" not in repr(caught.value) + str(caught.value) + repr(decoder.error)


# ---- MARK: Threads ----


def test_one_decoder_for_each_thread(venue: Path) -> None:
    failures: list[BaseException] = []
    shared = Decoder(venue).decode(ACCOUNT)[1]
    extra = shared.extra

    def work(number: int) -> None:
        try:
            decoder = Decoder(venue)
            payload = ORDER.replace(b"8801", str(number).encode())
            for _ in range(400):
                assert decoder.decode_into(payload) == 1
                assert decoder.records[0].number("order_id") == number
                assert decoder.decode(gzipped(payload))[0].raw("order_id") == str(number).encode()
                assert shared.extra == extra
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(1, 7)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


@pytest.mark.parametrize("venue", VENUES)
def test_training_changes_no_result(venue: str) -> None:
    trained = Decoder(venue)
    for case in cases(venue):
        trained.train(case.payload)
        assert len(trained.records) == 0
    for case in cases(venue):
        want = [record.to_dict(extra=True) for record in fresh(venue).decode(case.payload)]
        assert [record.to_dict(extra=True) for record in Decoder(venue).decode(case.payload)] == want
        assert [record.to_dict(extra=True) for record in trained.decode(case.payload)] == want


@pytest.mark.parametrize("venue", VENUES)
def test_samples_are_what_the_dialect_knows(venue: str) -> None:
    decoder, blank = Decoder(venue), fresh(venue)
    samples = load(venue).samples
    assert samples
    assert decoder.stats == blank.stats
    assert len(decoder.records) == 0
    for sample in samples:
        assert [record.to_dict(extra=True) for record in decoder.decode(sample.encode())] == [
            record.to_dict(extra=True) for record in blank.decode(sample.encode())
        ]
    assert decoder.stats == blank.stats
    assert decoder.stats.messages == len(samples)
    assert not any(decoder.stats[3:])  # nothing unknown


def test_samples_that_do_not_decode_teach_nothing(tmp_path: Path) -> None:
    """Decoders are made all the same."""
    (tmp_path / "odd.ndjson").write_text('[1]\n{"e":"executionReport","E":1795000000000,"s":"BTCUSDT"}\n""\n{}\n')
    (tmp_path / "odd.toml").write_text('name = "odd"\ninherits = "binance-spot"\nsamples = "odd.ndjson"\n')
    decoder = Decoder(tmp_path / "odd.toml")
    assert decoder.stats == (0,) * 7
    (record,) = decoder.decode(b'{"e":"executionReport","E":1795000000001,"s":"ETHUSDT"}')
    assert (record.symbol, record.ts_event) == ("ETHUSDT", 1795000000001000000)
    with pytest.raises(DecodeError):
        decoder.decode(b"[1]")


def test_what_messages_teach_can_wait() -> None:
    decoder, plain = fresh("binance-spot"), fresh("binance-spot")
    decoder.defer()
    assert decoder.study() is False
    studied = []
    for n in range(300):
        payload = b'{"e":"executionReport","E":%d,"s":"SOLEUR","S":"BUY","i":%d,"p":"1.%d"}' % (1795000000000 + n, n, n)
        assert decoder.decode_into(payload) == 1
        assert list(decoder.records) == plain.decode(payload)
        if decoder.study():
            studied.append(n)
            assert len(decoder.records) == 0
            assert decoder.order is None
            assert decoder.study() is False
    assert studied
    assert decoder.stats == plain.stats


def test_training_on_what_is_malformed() -> None:
    decoder = Decoder("binance-spot")
    with pytest.raises(DecodeError, match="ends"):
        decoder.train(b'{"e":"executionReport"')
    decoder.train(b'{"e":"executionReport","E":1795000000000}')
    assert decoder.stats.messages == 3
