"""The slow decoder, value by value: every expectation here is worked out by hand from the payload beside it."""

import gzip
import json
from decimal import Decimal

import pytest

from execwire import reference, venues

VENUE = """
name = "acme"

[[envelope]]
enter = "data"
when = ["stream"]
fields = { subscription_id = "sub" }

[[prompt]]
text = "connect ok"
code = "welcome"

[common]
ts_event = "/E"
request_id = "/id"

[enums.side]
BUY = "buy"
S = "sell"
1 = "buy"
true = "sell"

[enums.status]
NEW = "new"
Partially_Filled = "partially_filled"
"" = "expired"

[enums.bool]
T = true
true = true
0 = false

[[event]]
name = "order"
when = { e = "order" }
kind = "order"
fields.symbol = "s"
fields.order_id = "i"
fields.side = "S"
fields.status = "X"
fields.price = ["p", "px"]
fields.orig_qty = "q"
fields.fee = "fees.0.fee"
fields.fee_asset = "fees.0.asset"
fields.is_maker = "m"
fields.ts_transact = "T"

[[event]]
name = "account"
when = { e = ["account", "acct"] }
[[event.emit]]
kind = "balance"
rows = "a.B"
fields = { asset = "a", total = "wb", reason = "/a.m" }
[[event.emit]]
kind = "position"
rows = "a.P"
fields = { symbol = "s", qty = "pa" }
const = { side = "both" }

[[event]]
name = "deep"
when = { e = "deep" }
kind = "balance"
rows = "x.y"
fields = { asset = "a" }

[[event]]
name = "fills"
when = { "arg.channel" = "fills", op = "<any>" }
kind = "fill"
rows = "data"
fields = { symbol = "s", ts_event = "//ts" }
const = { is_maker = true }

[[event]]
name = "other"
when = { "arg.channel" = "<string>" }
kind = "notice"
code = "response"
fields = { about = "arg.channel" }
"""


@pytest.fixture(scope="module")
def venue(tmp_path_factory):
    path = tmp_path_factory.mktemp("venue") / "acme.toml"
    path.write_text(VENUE, encoding="utf-8")
    return venues.load(path)


@pytest.fixture
def decode(venue):
    """Decode a payload given as text or as what json can write."""

    def decode(payload, **options):
        if not isinstance(payload, (str, bytes)):
            payload = json.dumps(payload)
        return reference.decode(venue, payload.encode() if isinstance(payload, str) else payload, **options)

    return decode


@pytest.fixture
def order(decode):
    """Decode one order of the members given, to its fields, extra and flags only."""

    def order(members):
        (record,) = decode(f'{{"e":"order",{members}}}', flags=True)
        head = [record.pop(key) for key in ("kind", "venue", "event")]
        assert head == ["order", "acme", "order"]
        return record

    return order


def shown(**fields):
    """What `order` gives: fields, nothing left and no flag unless they say so."""
    return {"flags": [], **fields}


# ---- MARK: Records ----


def test_an_order(decode):
    payload = (
        '{"e":"order","E":1700000000123,"s":"ABCUSD","i":8389766145050669870,"S":"BUY","X":"NEW","p":"1.50","q":2,'
        '"m":false,"T":1700000000122}'
    )
    assert decode(payload, ts_recv=5) == [
        {
            "kind": "order",
            "venue": "acme",
            "event": "order",
            "ts_event": 1700000000123000000,
            "ts_transact": 1700000000122000000,
            "ts_recv": 5,
            "symbol": "ABCUSD",
            "order_id": "8389766145050669870",
            "side": "buy",
            "status": "new",
            "price": "1.50",
            "orig_qty": "2",
            "is_maker": False,
        }
    ]


def test_fields_come_in_struct_order(decode):
    (record,) = decode('{"q":"2","p":"1","s":"X","E":1,"e":"order"}')
    assert list(record) == ["kind", "venue", "event", "ts_event", "symbol", "price", "orig_qty"]


def test_rows_by_emit_then_by_place(decode):
    payload = {
        "e": "account",
        "a": {
            "m": "ORDER",
            "P": [{"s": "ABCUSD", "pa": "-1"}],
            "B": [{"a": "USD", "wb": "5"}, 7, {"a": "EUR", "wb": "6", "bc": 0}],
        },
    }
    around = {"envelope": {"a": {"B": [7]}}}
    balance = {"kind": "balance", "venue": "acme", "event": "account", "reason": "ORDER"}
    assert decode(payload, flags=True) == [
        {**balance, "asset": "USD", "total": "5", "extra": around, "flags": []},
        {**balance, "asset": "EUR", "total": "6", "extra": {"bc": 0, **around}, "flags": ["extra"]},
        {
            "kind": "position",
            "venue": "acme",
            "event": "account",
            "symbol": "ABCUSD",
            "side": "both",
            "qty": "-1",
            "extra": around,
            "flags": [],
        },
    ]


@pytest.mark.parametrize(
    ("x", "assets"),
    [
        ({"y": {"a": "1"}}, ["1"]),
        ([{"y": [{"a": "1"}, {"a": "2"}]}, {"y": {"a": "3"}}, {"z": 0}, 5], ["1", "2", "3"]),
        ({"y": [[{"a": "1"}], {"a": "2"}]}, ["2"]),
        ([[{"y": {"a": "1"}}], {"y": {"a": "2"}}], ["2"]),
    ],
)
def test_rows_step_through_one_level_of_arrays(decode, x, assets):
    records = decode({"e": "deep", "x": x})
    assert [(record["kind"], record.get("asset")) for record in records] == [("balance", asset) for asset in assets]


@pytest.mark.parametrize("a", [None, 1, {}, {"B": []}, {"B": None, "P": [1]}])
def test_an_event_without_rows_is_an_empty_notice(decode, a):
    (record,) = decode({"e": "account", "E": 2, "id": 7, "a": a})
    assert record == {
        "kind": "notice",
        "venue": "acme",
        "event": "account",
        "ts_event": 2000000000,
        "code": "empty",
        "request_id": "7",
        "extra": {"a": a},
    }


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        ('{"e":"news","E":3}', "news"),
        ('{"e":12.50,"E":3}', "12.50"),
        ('{"E":3,"arg":{"channel":9},"e":{}}', "9"),
        ('{"E":3}', None),
        ('{"E":3,"e":null}', None),
    ],
)
def test_an_unknown_event(decode, payload, message):
    (record,) = decode(payload)
    expected = {"kind": "notice", "venue": "acme", "event": "", "ts_event": 3000000000, "code": "unknown_event"}
    if message is not None:
        expected["message"] = message
    record.pop("extra", None)
    assert record == expected


def test_the_message_of_an_unknown_event_is_taken(decode):
    (record,) = decode('{"e":"news","arg":{"channel":1},"x":[]}', flags=True)
    assert record["extra"] == {"arg": {"channel": 1}, "x": []}
    assert record["flags"] == ["extra"]


def test_conditions(decode):
    def events(*payloads):
        return [(r["event"], r.get("code")) for payload in payloads for r in decode(payload)]

    assert events(
        '{"e":"acct"}', '{"arg":{"channel":"fills"},"op":null}', '{"arg":{"channel":"fills"}}', '{"arg":{"channel":1}}'
    ) == [("account", "empty"), ("fills", "empty"), ("other", "response"), ("", "unknown_event")]


def test_an_earlier_path_goes_first(decode):
    # The file has the events of "e" before those of "arg.channel".
    assert [r["event"] for r in decode('{"arg":{"channel":"fills"},"op":1,"data":{"s":"A"},"e":"order"}')] == ["order"]


def test_the_name_of_the_event_is_taken_only_where_it_says_the_same(decode):
    assert decode('{"e":"acct","a":{"B":{"a":"USD"}}}') == [
        {"kind": "balance", "venue": "acme", "event": "account", "asset": "USD", "extra": {"envelope": {"e": "acct"}}}
    ]


# ---- MARK: Frames ----


def test_an_envelope(decode):
    assert decode('{"stream":"abc","sub":3,"data":{"e":"order","s":"A"}}') == [
        {
            "kind": "order",
            "venue": "acme",
            "event": "order",
            "subscription_id": 3,
            "symbol": "A",
            "extra": {"envelope": {"stream": "abc"}},
        }
    ]


def test_an_envelope_around_several_events(decode):
    payload = '{"stream":"abc","data":[{"e":"order","s":"A","z":1},{"e":"order","s":"B"}]}'
    around = {"envelope": {"stream": "abc"}}
    assert [(r["symbol"], r["extra"]) for r in decode(payload)] == [("A", {"z": 1, **around}), ("B", around)]


@pytest.mark.parametrize("payload", ['{"data":{"e":"order"}}', '{"stream":1,"data":null}', '{"stream":1}'])
def test_an_envelope_must_be_whole(decode, payload):
    (record,) = decode(payload)
    assert record["code"] == "unknown_event"


def test_frame_paths_of_a_bare_event_start_at_the_event(decode):
    (record,) = decode('{"arg":{"channel":"fills"},"op":"x","ts":4,"data":[{"s":"A"}],"sub":9}')
    assert record == {
        "kind": "fill",
        "venue": "acme",
        "event": "fills",
        "ts_event": 4000000000,
        "subscription_id": 9,
        "symbol": "A",
        "is_maker": True,
        "extra": {"envelope": {"op": "x"}},
    }


def test_an_array_of_frames(decode):
    payload = '[{"e":"order","s":"A"},{"stream":1,"data":{"e":"order","s":"B"}}]'
    assert [(r["symbol"], r.get("extra")) for r in decode(payload)] == [("A", None), ("B", {"envelope": {"stream": 1}})]


@pytest.mark.parametrize("payload", ["[]", ' [ ] // "', '{"stream":1,"data":[]}'])
def test_no_record_but_no_error(decode, payload):
    assert decode(payload) == []


@pytest.mark.parametrize("payload", ["connect ok", "\r\n connect ok\t"])
def test_a_prompt(decode, payload):
    assert decode(payload, flags=True) == [
        {"kind": "notice", "venue": "acme", "event": "", "code": "welcome", "flags": []}
    ]


def test_gzip(decode):
    one, two = gzip.compress(b'[{"e":"order",'), gzip.compress(b'"s":"A"}]')
    assert [r["symbol"] for r in decode(one + two + b"\0\0")] == ["A"]
    assert decode(gzip.compress(b"connect ok"))[0]["code"] == "welcome"


@pytest.mark.parametrize(
    "frame",
    [
        gzip.compress(b"[]", mtime=0)[:-1],
        gzip.compress(b"[]", mtime=0)[:-8] + bytes(8),
        gzip.compress(b"[]", mtime=0) + b"x",
        gzip.compress(b"[]", mtime=0) + b"\0" + gzip.compress(b" ", mtime=0),
        b"\x1f\x8b",
        b"\x1f\x8b[]",
        gzip.compress(b" " * 99 + b"[]", mtime=0),
    ],
)
def test_a_corrupt_or_too_large_gzip_frame(decode, frame):
    with pytest.raises(reference.ReferenceError):
        decode(frame, max_inflated=100)
    assert decode(gzip.compress(b" " * 98 + b"[]"), max_inflated=100) == []


# ---- MARK: JSON ----


@pytest.mark.parametrize(
    "payload",
    [
        '\ufeff{"e":"order","s":"A"}',
        '// "one" {\n{// "\n"e"//\r\n:// "\\"\n"order",\t"s"\r:"A" //}\n}//',
        '{"s":"B","\\u0065":"order","s":"\\u0041"}',
        '{"s":{"s":[1,{}]},"e":"order","s":"A"}',
        '{"e":"other","e":"order","s":"A"}',
        '{"e":"order","s":"A"}\n//\x00\x01 anything, \u20ac',
    ],
)
def test_json_as_it_may_come(decode, payload):
    assert decode(payload) == [{"kind": "order", "venue": "acme", "event": "order", "symbol": "A"}]


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b" ",
        b"// nothing",
        b"null",
        b"1",
        b'"connect ok"',
        b"connect",
        b"\xef\xbb\xbfconnect ok",
        b"connect ok // not",
        b"{",
        b"[{}",
        b"{}{}",
        b"[{},]",
        b'{"a":1,}',
        b"{'a':1}",
        b"{a:1}",
        b"[1]",
        b"[{},[]]",
        b"[{}] /",
        b"[{}] /* */",
        b'{"stream":1,"data":[{},1]}',
        b'{"a":NaN}',
        b'{"a":-Infinity}',
        b'{"a":01}',
        b'{"a":1.}',
        b'{"a":.5}',
        b'{"a":+1}',
        b'{"a":1e}',
        b'{"a":0x1}',
        b'{"a":tru}',
        b'{"a":True}',
        b'{"a":1/ /2}',
        b'{"a":1//\n2}',
        b'{"a":"\x1f"}',
        b'{"a":"\n"}',
        b'{"a":"\\x"}',
        b'{"a":"\\u00g0"}',
        b'{"a":"\\ud800"}',
        b'{"a":"\\udc00\\ud800"}',
        b'{"\\udfff":1}',
        b'{"a":"\\ud800","a":1}',
        b'{"a":"\xff"}',
        b'{"a":"\xed\xa0\x80"}',
        b'{"a":"\xc0\x80"}',
        b"{}//\xff",
        b"{}\x00",
        b"\xef\xbb\xbf\xef\xbb\xbf{}",
        b"[" * 129 + b"]" * 129,
        b'[{"a":' + b"[" * 127 + b"]" * 127 + b"}]",
        b"[" * 100_000,
        b'{"a":"' + b'\\"' * 50_000,
    ],
)
def test_what_is_no_payload(decode, payload):
    with pytest.raises(reference.ReferenceError):
        decode(payload)


def test_depth_of_128(decode):
    (record,) = decode('[{"e":"order","a":' + "[" * 126 + "]" * 126 + "}]")
    depth, value = 0, record["extra"]["a"]
    while value:
        depth, (value,) = depth + 1, value
    assert depth == 125


@pytest.mark.parametrize(
    ("payload", "offset"),
    [
        (b'{"a":x}', 5),
        ('{"\u20ac":x}'.encode(), 7),
        ('\ufeff{"\u20ac":x}'.encode(), 10),
        (b"{//abc\n x}", 8),
        (b'{"a":"\xff"}', 6),
    ],
)
def test_offset_of_an_error(decode, payload, offset):
    with pytest.raises(reference.ReferenceError) as caught:
        decode(payload)
    assert caught.value.offset == offset


# ---- MARK: Values ----


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ('"0.00700000"', "0.00700000"),
        ("0.00700000", "0.00700000"),
        ('"-0.00"', "-0.00"),
        ("-0", "-0"),
        ("12.5e-1", "1.25"),
        ("12.5E+1", "125"),
        ("1e3", "1E+3"),
        ("1.50e5", "150E+3"),
        ("0e5", "0E+5"),
        ("100", "100"),
        ("39614081257132168796771975167", "39614081257132168796771975167"),
        ("-39614081257132168796771975167", "-39614081257132168796771975167"),
        ("0.000000000000000000000000000000000000001", "0.000000000000000000000000000000000000001"),
        ("10e-40", "10E-40"),
        ("1e-39", "0." + "0" * 38 + "1"),
        ("39614081257132168796771975167e-39", "0.000000000039614081257132168796771975167"),
        ("1e999", "1E+999"),
        ("1e-0999", "1E-999"),
        ("0.5e-998", "5E-999"),
        ("0." + "0" * 999, "0E-999"),
    ],
)
def test_a_decimal(order, value, text):
    assert order(f'"p":{value}') == shown(price=text)


BEYOND_DECIMAL = ("0e99999999999999999999", "1e" + "9" * 5000)


@pytest.mark.parametrize(
    "value",
    [
        '"abc"',
        '" 1"',
        '"1 "',
        '"+1"',
        '"01"',
        '"1."',
        '".1"',
        '"NaN"',
        '"1e"',
        '"\\u0661"',
        '"1_0"',
        "39614081257132168796771975168",
        "1e1000",
        "1e-1000",
        "0.1e-999",
        "9" * 5000,
        *BEYOND_DECIMAL,
    ],
)
def test_a_decimal_that_does_not_fit(order, value):
    record = order(f'"p":{value},"px":"5"')
    if value.startswith('"'):
        left = json.loads(value)
    elif value in BEYOND_DECIMAL:
        left = value
    else:
        left = Decimal(value)
    assert record == {"extra": {"p": left, "px": "5"}, "flags": ["extra", "unrepresentable"]}


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ('"p":null', {"price": None}),
        ('"p":""', {"price": ""}),
        ('"S":null', {"side": None}),
        ('"S":""', {"side": ""}),
        ('"T":null', {"ts_transact": None}),
        ('"T":""', {"ts_transact": ""}),
        ('"m":null', {"is_maker": None}),
        ('"m":""', {"is_maker": ""}),
        ('"s":null', {"symbol": None}),
        ('"s":""', {"symbol": ""}),
        ('"i":null', {"order_id": None}),
        ('"i":""', {"order_id": ""}),
        ('"sub":null', {"subscription_id": None}),
    ],
)
def test_null_and_empty_are_held(order, members, expected):
    assert order(members) == shown(**expected)


@pytest.mark.parametrize(
    ("key", "values"),
    [
        ("p", ["true", "{}", "[]", '{"x":1}', "[[1]]"]),
        ("S", ["{}", "[]"]),
        ("m", ["{}", "1", '"F"', '"True"', "0.0"]),
        ("s", ["true", "false", "{}", "[]"]),
        ("i", ["true", "[]"]),
        ("T", ["true", "[]", "1.5", "1e3", '"01"', '" 1"', '"2024-01-01"', "10000000000", "9223372036855", "9" * 5000]),
        ("sub", ["true", "-1", "65536", '"01"', '""', "1.0", "[]", '"1e1"']),
    ],
)
def test_a_value_of_a_wrong_type_is_left(order, key, values):
    for value in values:
        record = order(f'"{key}":{value}')
        assert set(record) == {"extra", "flags"}
        assert record["flags"] == ["extra", "unrepresentable"]
        assert record["extra"] == {key: json.loads(value) if len(value) < 99 else Decimal(value)}


@pytest.mark.parametrize(
    ("value", "ns"),
    [
        ("0", 0),
        ('"-0"', 0),
        ("1", 1_000_000_000),
        ("-1", -1_000_000_000),
        ("9223372036", 9223372036_000_000_000),
        ("100000000000", 100000000000_000_000),
        ('"1700000000123"', 1700000000123_000_000),
        ("9223372036854", 9223372036854_000_000),
        ("100000000000000", 100000000000000_000),
        ("9223372036854775", 9223372036854775_000),
        ("100000000000000000", 100000000000000000),
        ("9223372036854775807", 9223372036854775807),
        ("-9223372036854775808", -9223372036854775808),
    ],
)
def test_a_time(order, value, ns):
    assert order(f'"T":{value}') == shown(ts_transact=ns)


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ('"S":"BUY"', {"side": "buy"}),
        ('"X":"Partially_Filled"', {"status": "partially_filled"}),
        # The word is another than the text: the text stays.
        ('"S":"S"', {"side": "sell", "extra": {"S": "S"}, "flags": ["extra"]}),
        ('"S":1', {"side": "buy", "extra": {"S": 1}, "flags": ["extra"]}),
        ('"S":"1"', {"side": "buy", "extra": {"S": "1"}, "flags": ["extra"]}),
        ('"S":true', {"side": "sell", "extra": {"S": True}, "flags": ["extra"]}),
        ('"X":""', {"status": "expired", "extra": {"X": ""}, "flags": ["extra"]}),
        # No mapping: exact text only.
        ('"S":"buy"', {"side": "unknown", "extra": {"S": "buy"}, "flags": ["extra", "unknown_enum"]}),
        ('"S":1.0', {"side": "unknown", "extra": {"S": Decimal("1.0")}, "flags": ["extra", "unknown_enum"]}),
        ('"S":false', {"side": "unknown", "extra": {"S": False}, "flags": ["extra", "unknown_enum"]}),
        ('"X":"\\u212a"', {"status": "unknown", "extra": {"X": "\u212a"}, "flags": ["extra", "unknown_enum"]}),
        ('"m":true', {"is_maker": True}),
        ('"m":false', {"is_maker": False}),
        ('"m":"T"', {"is_maker": True, "extra": {"m": "T"}, "flags": ["extra"]}),
        ('"m":"true"', {"is_maker": True, "extra": {"m": "true"}, "flags": ["extra"]}),
        ('"m":0', {"is_maker": False, "extra": {"m": 0}, "flags": ["extra"]}),
        ('"sub":65535', {"subscription_id": 65535}),
        ('"sub":"0"', {"subscription_id": 0}),
        ('"i":-1', {"order_id": "-1"}),
        ('"i":1.50e3', {"order_id": "1.50e3"}),
        ('"s":"\\u5e01\\ud83d\\ude00"', {"symbol": "\u5e01\U0001f600"}),
        ('"s":"' + "x" * 31 + '"', {"symbol": "x" * 31}),
        ('"s":"' + "x" * 32 + '"', {"symbol": "x" * 32, "flags": ["long_text"]}),
        ('"s":"' + "\u5e01" * 11 + '"', {"symbol": "\u5e01" * 11, "flags": ["long_text"]}),
        ('"i":"' + "x" * 38 + '"', {"order_id": "x" * 38}),
        ('"i":"' + "x" * 39 + '"', {"order_id": "x" * 39, "flags": ["long_text"]}),
        ('"fees":[{"asset":"' + "x" * 15 + '"}]', {"fee_asset": "x" * 15}),
        ('"fees":[{"asset":"' + "x" * 16 + '"}]', {"fee_asset": "x" * 16, "flags": ["long_text"]}),
    ],
)
def test_words_and_texts(order, members, expected):
    assert order(members) == shown(**expected)


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ('"px":"2"', {"price": "2"}),
        ('"px":"2","p":"1"', {"price": "1", "extra": {"px": "2"}, "flags": ["extra"]}),
        # There, though without a value.
        ('"px":"2","p":null', {"price": None, "extra": {"px": "2"}, "flags": ["extra"]}),
        ('"fees":[{"fee":"1"},{"fee":"2"}]', {"fee": "1", "extra": {"fees": [{"fee": "2"}]}, "flags": ["extra"]}),
        ('"fees":{"0":{"fee":"1"}}', {"fee": "1"}),
        ('"fees":{"fee":"1"}', {"extra": {"fees": {"fee": "1"}}, "flags": ["extra"]}),
        ('"fees":[]', {"extra": {"fees": []}, "flags": ["extra"]}),
        ('"fees":[null]', {"extra": {"fees": [None]}, "flags": ["extra"]}),
    ],
)
def test_paths(order, members, expected):
    assert order(members) == shown(**expected)


# ---- MARK: Extra ----


def test_extra_is_exact(order):
    members = (
        '"a":18446744073709551616,"b":0.1000,"c":[1,{"d":null}],"f":{},"g":-0,"h":1E400,"k":1e99999999999999999999'
    )
    extra = order(members)["extra"]
    assert extra == {
        "a": 2**64,
        "b": Decimal("0.1000"),
        "c": [1, {"d": None}],
        "f": {},
        "g": 0,
        "h": Decimal("1E+400"),
        "k": "1e99999999999999999999",
    }
    assert str(extra["b"]) == "0.1000"
    assert [type(extra[key]) for key in "abgh"] == [int, Decimal, int, Decimal]


def test_an_int_of_any_length(order):
    assert order('"a":' + "7" * 9999)["extra"]["a"] % 10**6 == 777777


def test_a_leaf_taken_by_one_record_is_left_by_none(venue):
    # The balance takes the reason; of an account without balances nobody does.
    payload = b'{"e":"account","a":{"m":"ORDER","B":[{"a":"USD"}],"P":[{"s":"X"}]}}'
    assert ["extra" in record for record in reference.decode(venue, payload)] == [False, False]
    payload = b'{"e":"account","a":{"m":"ORDER","B":[],"P":[{"s":"X"}]}}'
    assert [record["extra"] for record in reference.decode(venue, payload)] == [
        {"envelope": {"a": {"m": "ORDER", "B": []}}}
    ]


def test_an_empty_row_is_a_row(decode):
    assert decode('{"e":"deep","x":{"y":{}}}', flags=True) == [
        {"kind": "balance", "venue": "acme", "event": "deep", "flags": []}
    ]


def test_a_member_called_envelope(decode):
    (record,) = decode('{"stream":1,"data":{"e":"order","envelope":2}}')
    assert record["extra"] == {"envelope": 2, "_envelope": {"stream": 1}}


def test_a_venue_may_be_given_by_name_or_path(tmp_path):
    path = tmp_path / "acme.toml"
    path.write_text(VENUE, encoding="utf-8")
    for given in (path, str(path), venues.load(path)):
        assert reference.decode(given, bytearray(b'{"e":"order"}')) == [
            {"kind": "order", "venue": "acme", "event": "order"}
        ]
    assert reference.decode("binance-spot", memoryview(b"[]")) == []
