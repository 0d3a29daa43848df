"""SBE frames: each must give what the JSON of the same message gives. Frames are put together here byte by byte,
without a look at the layouts in the dialect."""

import json
import random
import struct
from pathlib import Path

import pytest
from click.testing import CliRunner

import execwire
from execwire import reference, sbe, venues
from execwire.cli import cli

VENUE = "binance-spot"
NULL64, NULL32, NULL16, NULL8 = -(2**63), -(2**31), 65535, 255
RECORDED = sorted((Path(__file__).resolve().parents[2] / "shared" / "sbe").glob("*/*.sbe"))


def header(block_length, template, schema=3, version=5):
    return struct.pack("<HHHH", block_length, template, schema, version)


def frame(template, block, rest=b"", **header_):
    return header(len(block), template, **header_) + block + rest


def text8(*texts):
    return b"".join(bytes([len(text.encode())]) + text.encode() for text in texts)


def text16(text):
    return struct.pack("<H", len(text.encode())) + text.encode()


def nested(message):
    return struct.pack("<I", len(message)) + message


def response(result, request_id="r-7", status=200, deprecated=0, limits=()):
    block = struct.pack("<BH", deprecated, status)
    group = struct.pack("<HH", 19, len(limits)) + b"".join(struct.pack("<BBBqq", *limit) for limit in limits)
    return frame(50, block, group + text8(request_id) + nested(result))


def decode(payload, *, ts_recv=0):
    """The records of a payload, on which both decoders agree."""
    records = [record.to_dict(extra=True) for record in execwire.Decoder(VENUE).decode(payload, ts_recv)]
    assert records == reference.decode(VENUE, payload, ts_recv)
    return records


def decode_json(value):
    return decode(json.dumps(value).encode())


# ---- MARK: Events ----

ORDER = {
    "E": 1795031512004117, "T": 1795031512003984, "priceExp": -8, "qtyExp": -8, "feeExp": -8,
    "O": 1795031511950001, "W": 1795031511950001, "i": 48211903377, "g": NULL64, "q": 25000000, "p": 9125010000000,
    "Q": 0, "F": 0, "P": 0, "o": 1, "S": 0, "f": 0, "x": 4, "X": 1, "t": 5519023771, "I": 90417792136,
    "z": 12500000, "Z": 1140626250000, "l": 12500000, "L": 9125010000000, "Y": 1140626250000, "n": 9375,
    "w": 1, "m": 1, "M": 0, "b": 1, "V": 3, "y": 1, "k": 1, "uS": 0, "a": NULL64, "d": 2**64 - 1, "D": NULL64,
    "u": NULL64, "A": 0, "B": NULL64, "v": NULL64, "pl": NULL64, "pL": NULL64, "pY": NULL64, "J": NULL32, "j": NULL64,
    "U": NULL64, "subscriptionId": 3, "gP": NULL8, "gOT": NULL8, "gOV": NULL8, "gp": NULL64, "eR": NULL8,
}  # fmt: skip
ORDER_BLOCK = struct.Struct("<qqbbb" + "qqqq" + "qqqqq" + "BBBBB" + "qq" + "qqqqqq" + "BBBBBBBB" + "qQqq" + "qqqqqq"
                            + "iqq" + "H" + "BBBq" + "B")  # fmt: skip
ORDER_TEXTS = ["BTCUSDT", "desk7-1", "", "BNB", "", ""]
ORDER_JSON = {
    "e": "executionReport", "E": 1795031512004117, "T": 1795031512003984, "O": 1795031511950001,
    "W": 1795031511950001, "i": 48211903377, "g": -1, "q": "0.25000000", "p": "91250.10000000", "Q": "0.00000000",
    "F": "0.00000000", "P": "0.00000000", "o": "LIMIT", "S": "BUY", "f": "GTC", "x": "TRADE", "X": "PARTIALLY_FILLED",
    "t": 5519023771, "I": 90417792136, "z": "0.12500000", "Z": "11406.26250000", "l": "0.12500000",
    "L": "91250.10000000", "Y": "11406.26250000", "n": "0.00009375", "w": True, "m": True, "M": False,
    "b": "AUTO_MATCH", "V": "EXPIRE_MAKER", "y": "PRINCIPAL", "k": "EXCHANGE", "uS": False, "A": "0.00000000",
    "s": "BTCUSDT", "c": "desk7-1", "C": "", "N": "BNB", "r": "NONE",
}  # fmt: skip


def order(texts=(), length=282, schema=3, version=5, **changes):
    block = ORDER_BLOCK.pack(*{**ORDER, **changes}.values())
    texts = [*texts, *ORDER_TEXTS[len(texts) :]]
    return frame(603, block[:length], text8(*texts), schema=schema, version=version)


def order_json(subscription=3, without=(), **changes):
    event = {key: value for key, value in {**ORDER_JSON, **changes}.items() if key not in without}
    return {"event": event} if subscription is None else {"subscriptionId": subscription, "event": event}


def test_order_block_is_as_long_as_the_schema_says():
    assert ORDER_BLOCK.size == 282


ORDERS = {
    "partial fill": (order(), order_json()),
    "new": (
        order(x=0, X=0, t=NULL64, l=0, L=0, Y=0, n=0, feeExp=0, texts=["BTCUSDT", "desk7-1", "", ""]),
        order_json(x="NEW", X="NEW", t=-1, l="0.00000000", L="0.00000000", Y="0.00000000", n="0", N=None),
    ),
    "canceled, market sell in a list": (
        order(x=1, X=3, S=1, o=0, g=771, texts=["BTCUSDT", "cancel-1", "desk7-1"]),
        order_json(x="CANCELED", X="CANCELED", S="SELL", o="MARKET", g=771, c="cancel-1", C="desk7-1"),
    ),
    "rejected": (
        order(x=3, X=5, texts=["BTCUSDT", "desk7-1", "", "", "INSUFFICIENT_BALANCES"]),
        order_json(x="REJECTED", X="REJECTED", N=None, r="INSUFFICIENT_BALANCES"),
    ),
    "everything optional": (
        order(a=17, d=250, D=1795031511000000, u=3, B=1, v=4, pl=2, pL=3, pY=4, J=-1000000, j=-9, U=48211903378,
              gP=1, gOT=1, gOV=5, gp=9125020000000, eR=8, texts=["BTCUSDT", "c", "C", "BNB", "", "BTCUSDC"]),
        order_json(a=17, d=250, D=1795031511000000, u=3, B="0.00000001", v=4, pl="0.00000002", pL="0.00000003",
                   pY="0.00000004", J=-1000000, j=-9, U=48211903378, gP="PRIMARY_PEG", gOT="PRICE_LEVEL", gOV=5,
                   gp="91250.20000000", eR="EXECUTION_RULE_PRICE_RANGE_EXCEEDED", c="c", C="C", Cs="BTCUSDC"),
    ),
    "other enums": (
        order(o=6, f=1, x=8, X=9, b=2, V=6, y=2, k=3, uS=1, gP=2, eR=1),
        order_json(o="LIMIT_MAKER", f="IOC", x="TRADE_PREVENTION", X="EXPIRED_IN_MATCH", b="ONE_PARTY_TRADE_REPORT",
                   V="TRANSFER", y="AGENCY", k="SOR", uS=True, gP="MARKET_PEG", eR="REJECTED"),
    ),
    "enums of a newer schema": (
        order(S=254, x=253, X=253, V=254, o=77, f=200),
        order_json(S="NON_REPRESENTABLE", x="UNKNOWN", X="UNKNOWN", V="NON_REPRESENTABLE", o=77, f=200),
    ),
    "no value": (
        order(O=NULL64, W=NULL64, q=NULL64, S=NULL8, m=NULL8, E=NULL64, n=NULL64),
        order_json(without=("O", "W", "q", "S", "m", "E", "n")),
    ),
    "no bool": (order(m=7), order_json(m=7)),
    "texts to escape": (
        order(texts=["\uff22\uff34\uff23", 'a"b\\c/\x01\x7f\té', "\0"]),
        order_json(s="\uff22\uff34\uff23", c='a"b\\c/\x01\x7f\té', C="\0"),
    ),
    "negative and large": (
        order(q=-1, p=2**63 - 1, z=-(2**63) + 1, n=-9375, i=-1, priceExp=-3, I=2**63 - 1, d=2**64 - 2),
        order_json(q="-0.00000001", p="9223372036854775.807", z="-92233720368.54775807", n="-0.00009375", i=-1,
                   Q="0.000", P="0.000", Z="1140626250.000", L="9125010000.000", Y="1140626250.000",
                   I=2**63 - 1, d=2**64 - 2),
    ),
    "exponents": (
        order(priceExp=-128, qtyExp=3, feeExp=-1, n=5, p=12, q=7),
        order_json(p="0." + "12".rjust(128, "0"), q="7E3", n="0.5", z="12500000E3", l="12500000E3", F="0E3", A="0E3",
                   Q="0." + 128 * "0", P="0." + 128 * "0",
                   Z="0." + "1140626250000".rjust(128, "0"), L="0." + "9125010000000".rjust(128, "0"),
                   Y="0." + "1140626250000".rjust(128, "0")),
    ),
    "no exponent": (
        order(priceExp=0, qtyExp=0, feeExp=0, p=5, q=6, n=7, Z=0, L=0, Y=0, z=0, l=0),
        order_json(p="5", q="6", n="7", Z="0", L="0", Y="0", z="0", l="0", Q="0", P="0", F="0", A="0"),
    ),
    "without a subscription": (order(subscriptionId=NULL16), order_json(None)),
    "3:1": (order(length=281, version=1), order_json()),
    "2:1": (order(length=268, schema=2, version=1), order_json(None)),
    "block that ends inside a field": (order(length=271 - 2), order_json(None)),
    "block of nothing": (
        order(length=0),
        {"event": {"e": "executionReport", "s": "BTCUSDT", "c": "desk7-1", "C": "", "N": "BNB", "r": "NONE"}},
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", ORDERS)
def test_order(case):
    payload, same = ORDERS[case]
    assert decode(payload) == decode_json(same)


def balances(*rows, length=17):
    entries = b"".join(
        struct.pack("<bqq", exponent, free, locked).ljust(length, b"\xaa") + text8(asset)
        for asset, exponent, free, locked in rows
    )
    return struct.pack("<HI", length, len(rows)) + entries


ACCOUNT = struct.pack("<qqH", 1795031512004117, 1795031512003984, 0)
ACCOUNT_JSON = {"e": "outboundAccountPosition", "E": 1795031512004117, "u": 1795031512003984}
LIST = struct.pack("<qqqBBBH", 1795031512004117, 1795031512003984, 771, 1, 1, 1, 2)
LIST_ORDERS = struct.pack("<HH", 8, 2) + struct.pack("<q", 5) + text8("BTCUSDT", "leg-1")
LIST_ORDERS += struct.pack("<q", 6) + text8("BTCUSDT", "leg-2")
LIST_JSON = {
    "e": "listStatus", "E": 1795031512004117, "T": 1795031512003984, "g": 771, "c": "OCO", "l": "EXEC_STARTED",
    "L": "EXECUTING", "O": [{"i": 5, "s": "BTCUSDT", "c": "leg-1"}, {"i": 6, "s": "BTCUSDT", "c": "leg-2"}],
    "s": "BTCUSDT", "C": "list-1", "r": "NONE",
}  # fmt: skip
DELTA = struct.pack("<qqbqH", 1795031512004117, 1795031512003984, -8, -250000000, 1)
DELTA_JSON = {"E": 1795031512004117, "T": 1795031512003984, "d": "-2.50000000", "a": "USDT"}
ALLOCATION = struct.pack("<qqbbbBBBBBqqqqqqqqqqqqH", 1795031512004117, 1795031512003984, -8, -8, -8, 1, 1, 1, 1, 1,
                         70044, 48211909450, 812, 60178, 48211909449, NULL64, 731912111, NULL64, 18733000000,
                         1250000000, 234162500000, 156107, 4)  # fmt: skip
ALLOCATION_JSON = {
    "e": "allocationReport", "E": 1795031512004117, "T": 1795031512003984, "x": "NEW", "r": "ACCEPT", "X": "ACCEPTED",
    "S": "SELL", "P": "CLIENT", "h": 70044, "I": 48211909450, "R": 812, "a": 60178, "i": 48211909449, "g": -1,
    "t": 731912111, "p": "187.33000000", "q": "12.50000000", "Q": "2341.62500000", "n": "0.00156107", "s": "SOLUSDT",
    "N": "BNB", "Ss": "SOLUSDC",
}  # fmt: skip
ENDED = struct.pack("<qH", 1795031512004117, 3)

EVENTS = {
    "account position": (
        frame(607, ACCOUNT, balances(("BTC", -8, 100000000, 0), ("USDT", -8, 5000000000000, 28), ("X", 0, 3, 4))),
        {"subscriptionId": 0, "event": {**ACCOUNT_JSON, "B": [
            {"a": "BTC", "f": "1.00000000", "l": "0.00000000"},
            {"a": "USDT", "f": "50000.00000000", "l": "0.00000028"},
            {"a": "X", "f": "3", "l": "4"},
        ]}},
    ),
    "account position of nothing": (
        frame(607, ACCOUNT, balances()),
        {"subscriptionId": 0, "event": {**ACCOUNT_JSON, "B": []}},
    ),
    "account position, 2:1": (
        frame(607, ACCOUNT[:16], balances(("BTC", -8, 1, 2)), schema=2, version=1),
        {"event": {**ACCOUNT_JSON, "B": [{"a": "BTC", "f": "0.00000001", "l": "0.00000002"}]}},
    ),
    "account position with short entries": (
        frame(607, ACCOUNT, struct.pack("<HI", 9, 2) + 2 * (struct.pack("<bq", -8, 1) + text8("BTC"))),
        {"subscriptionId": 0, "event": {**ACCOUNT_JSON, "B": 2 * [{"a": "BTC", "f": "0.00000001"}]}},
    ),
    "balance": (
        frame(601, DELTA, text8("USDT")),
        {"subscriptionId": 1, "event": {"e": "balanceUpdate", **DELTA_JSON}},
    ),
    "balance, 2:1": (
        frame(601, DELTA[:25], text8("USDT"), schema=2, version=1),
        {"event": {"e": "balanceUpdate", **DELTA_JSON}},
    ),
    "balance without a clear time": (
        frame(601, DELTA[:8] + struct.pack("<q", NULL64) + DELTA[16:], text8("USDT")),
        {"subscriptionId": 1, "event": {"e": "balanceUpdate", **{k: v for k, v in DELTA_JSON.items() if k != "T"}}},
    ),
    "external lock": (
        frame(604, DELTA, text8("USDT")),
        {"subscriptionId": 1, "event": {"e": "externalLockUpdate", **DELTA_JSON}},
    ),
    "external lock, 2:1": (
        frame(604, DELTA[:25], text8("USDT"), schema=2, version=1),
        {"event": {"e": "externalLockUpdate", **DELTA_JSON}},
    ),
    "list": (
        frame(606, LIST, LIST_ORDERS + text8("BTCUSDT", "list-1", "")),
        {"subscriptionId": 2, "event": LIST_JSON},
    ),
    "list, 2:1": (
        frame(606, LIST[:27], LIST_ORDERS + text8("BTCUSDT", "list-1", "OCO_BAD_PRICES"), schema=2, version=1),
        {"event": {**LIST_JSON, "r": "OCO_BAD_PRICES"}},
    ),
    "allocation": (
        frame(600, ALLOCATION, text8("SOLUSDT", "BNB", "SOLUSDC")),
        {"subscriptionId": 4, "event": ALLOCATION_JSON},
    ),
    "allocation without assets": (
        frame(600, ALLOCATION[:120], text8("SOLUSDT", "", "")),
        {"event": {**{k: v for k, v in ALLOCATION_JSON.items() if k != "Ss"}, "N": None}},
    ),
    "terminated": (
        frame(602, ENDED),
        {"subscriptionId": 3, "event": {"e": "eventStreamTerminated", "E": 1795031512004117}},
    ),
    "terminated, 2:1": (
        frame(602, ENDED[:8], schema=2, version=1),
        {"event": {"e": "eventStreamTerminated", "E": 1795031512004117}},
    ),
    "shutdown": (frame(610, ENDED[:8]), {"event": {"e": "serverShutdown", "E": 1795031512004117}}),
    "not representable": (frame(999, b""), {"e": "NonRepresentableMessage"}),
}  # fmt: skip


@pytest.mark.parametrize("case", EVENTS)
def test_event(case):
    payload, same = EVENTS[case]
    assert decode(payload) == decode_json(same)


def test_a_block_whose_length_is_a_blank_or_a_brace():
    assert EVENTS["terminated"][0].startswith(b"\n")
    longer = frame(600, ALLOCATION + b"\x01", text8("SOLUSDT", "BNB", "SOLUSDC"))
    assert longer.startswith(b"{")
    assert decode(longer)[0]["kind"] == "fill"


# ---- MARK: Responses ----

SESSION = struct.pack("<qqBqB", 1795031000000000, 1795030000000000, 1, 1795031512004117, 0)
NO_SESSION = struct.pack("<q", NULL64) + SESSION[8:-1] + b"\xff"
SESSION_JSON = {
    "authorizedSince": 1795031000000000, "connectedSince": 1795030000000000, "returnRateLimits": True,
    "serverTime": 1795031512004117, "userDataStream": False,
}  # fmt: skip
NO_SESSION_JSON = {
    "authorizedSince": None, "connectedSince": 1795030000000000, "returnRateLimits": True,
    "serverTime": 1795031512004117,
}  # fmt: skip
ERROR = struct.pack("<hqq", -1021, 1795031512004117, NULL64)

RESPONSES = {
    "logon": (frame(51, SESSION, text16("key-1")), "result", {**SESSION_JSON, "apiKey": "key-1"}),
    "logon, 2:0": (
        frame(51, SESSION[:25], text16("key-1"), schema=2, version=0),
        "result",
        {**{k: v for k, v in SESSION_JSON.items() if k != "userDataStream"}, "apiKey": "key-1"},
    ),
    "status": (frame(52, SESSION, text16("key-1")), "result", {**SESSION_JSON, "apiKey": "key-1"}),
    "status without a session": (frame(52, NO_SESSION, text16("")), "result", {**NO_SESSION_JSON, "apiKey": None}),
    "logout": (frame(53, NO_SESSION, text16("")), "result", {**NO_SESSION_JSON, "apiKey": None}),
    "subscriptions": (
        frame(54, b"", struct.pack("<HIHqHq", 10, 2, 0, NULL64, 7, 1795108400000000)),
        "result",
        [{"subscriptionId": 0}, {"subscriptionId": 7, "expirationTime": 1795108400000000}],
    ),
    "no subscriptions": (frame(54, b"", struct.pack("<HI", 10, 0)), "result", []),
    "start": (frame(500, b"", text8("listen-1")), "result", {"listenKey": "listen-1"}),
    "ping": (frame(501, b""), "result", {}),
    "stop": (frame(502, b""), "result", {}),
    "subscribe": (frame(503, struct.pack("<H", 9)), "result", {"subscriptionId": 9}),
    "subscribe, 2:1": (frame(503, b"", schema=2, version=1), "result", {}),
    "subscribe without an id": (frame(503, struct.pack("<H", NULL16)), "result", {}),
    "unsubscribe": (frame(504, b""), "result", {}),
    "subscribe by token": (
        frame(505, struct.pack("<Hq", 1, 1795108400000000)),
        "result",
        {"subscriptionId": 1, "expirationTime": 1795108400000000},
    ),
    "error": (
        frame(100, ERROR, text16("Timestamp is outside of the recvWindow.") + nested(b"")),
        "error",
        {"code": -1021, "msg": "Timestamp is outside of the recvWindow.", "serverTime": 1795031512004117},
    ),
    "error with data": (
        frame(100, ERROR, text16("no") + nested(frame(100, ERROR[:2], text16("why") + nested(b"")))),
        "error",
        {"code": -1021, "msg": "no", "serverTime": 1795031512004117, "error": {"code": -1021, "msg": "why"}},
    ),
    "not representable": (frame(999, b""), "result", {"e": "NonRepresentableMessage"}),
}
LIMITS = [(2, 1, 1, 6000, 14), (0, 1, 5, 61000, 3), (254, 3, 9, 0, -1)]
LIMITS_JSON = [
    {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": 6000, "count": 14},
    {"rateLimitType": "RAW_REQUESTS", "interval": "MINUTE", "intervalNum": 5, "limit": 61000, "count": 3},
    {"rateLimitType": "NON_REPRESENTABLE", "interval": "DAY", "intervalNum": 9, "limit": 0, "count": -1},
]


@pytest.mark.parametrize("case", RESPONSES)
def test_response(case):
    result, key, same = RESPONSES[case]
    around = {"sbeSchemaIdVersionDeprecated": False, "status": 200, "rateLimits": [], "id": "r-7"}
    assert decode(response(result)) == decode_json({**around, key: same})


def test_response_around():
    payload = response(frame(501, b""), request_id="", status=400, deprecated=1, limits=LIMITS)
    same = {"sbeSchemaIdVersionDeprecated": True, "status": 400, "rateLimits": LIMITS_JSON, "id": None, "result": {}}
    assert decode(payload) == decode_json(same)


def test_response_codes():
    codes = {case: decode(response(result))[0]["code"] for case, (result, _, _) in RESPONSES.items()}
    assert codes["logon"] == "login_ok"
    assert codes["subscribe"] == codes["subscribe by token"] == "subscribed"
    assert codes["start"] == "listen_key"
    assert codes["error"] == "error"
    assert codes["no subscriptions"] == "empty"


def test_error_alone():
    records = decode(frame(100, ERROR, text16("no") + nested(b"")))
    assert [(r["code"], r["error_code"], r["message"]) for r in records] == [("error", "-1021", "no")]


# ---- MARK: What the layouts do not have ----


def test_unknown_template_is_delivered_whole():
    payload = frame(742, b"\x01\x02", b"\x03")
    (record,) = decode(payload)
    assert record["code"] == "unknown_event"
    assert record["message"] == "template 742"
    assert bytes.fromhex(record["extra"]["sbe"]) == payload


def test_unknown_template_in_a_response_is_delivered_whole():
    result = frame(302, b"\x01\x02", b"\x03")
    (record,) = decode(response(result))
    assert record["code"] == "response"
    assert record["request_id"] == "r-7"
    assert record["extra"]["result"] == {"e": "template 302", "sbe": result.hex()}


def test_message_of_another_schema_in_a_response():
    result = frame(503, struct.pack("<H", 9), schema=4)
    assert decode(response(result))[0]["extra"]["result"]["sbe"] == result.hex()


def test_longer_block():
    payload = frame(603, ORDER_BLOCK.pack(*ORDER.values()) + b"\x07\xff", text8(*ORDER_TEXTS), version=6)
    (record,) = decode(payload)
    assert record["extra"].pop("sbeBlock") == "07ff"
    assert [record] == decode(order())


def test_longer_entry():
    (record,) = decode(frame(607, ACCOUNT, balances(("BTC", -8, 1, 2), length=19)))
    assert record["free"] == "0.00000001"
    assert record["extra"] == {"sbeBlock": "aaaa"}


def test_bytes_after_the_message():
    (record,) = decode(order() + b"0!")
    assert record["extra"].pop("sbeTail") == "3021"
    assert [record] == decode(order())


def test_new_bytes_are_counted_as_new_keys():
    decoder = execwire.Decoder(VENUE)
    _, findings = decoder.explain(order() + b"0")
    assert [(f.path, f.what) for f in findings] == [("event.sbeTail", "new_key")]


# ---- MARK: Damage ----

FRAMES = {
    **{f"order, {case}": payload for case, (payload, _) in ORDERS.items()},
    **{case: payload for case, (payload, _) in EVENTS.items()},
    **{f"response, {case}": response(result, limits=LIMITS) for case, (result, _, _) in RESPONSES.items()},
}


def outcome(decoder, payload):
    try:
        return [record.to_dict(extra=True) for record in decoder.decode(payload)]
    except execwire.DecodeError as error:
        return error


def reference_outcome(payload):
    try:
        return reference.decode(VENUE, payload)
    except reference.ReferenceError as error:
        return error


def assert_same_outcome(decoder, payload):
    ours, theirs = outcome(decoder, payload), reference_outcome(payload)
    if isinstance(ours, execwire.DecodeError) or isinstance(theirs, reference.ReferenceError):
        assert isinstance(ours, execwire.DecodeError), theirs
        assert isinstance(theirs, reference.ReferenceError), ours
        if ours.status == "sbe":
            assert ours.offset == theirs.offset
    else:
        assert ours == theirs
    return ours


@pytest.mark.parametrize("case", FRAMES)
def test_truncated(case):
    decoder = execwire.Decoder(VENUE)
    whole = FRAMES[case]
    for n in range(len(whole)):
        error = assert_same_outcome(decoder, whole[:n])
        assert isinstance(error, execwire.DecodeError), n
        assert error.offset is not None
        assert error.offset <= n
        if n >= 6:
            assert error.status == "sbe"
            assert error.offset == n
    assert outcome(decoder, whole) == decode(whole)


@pytest.mark.parametrize("case", ["order, partial fill", "account position", "list", "response, error with data"])
def test_replaced_bytes(case):
    decoder = execwire.Decoder(VENUE)
    whole, rng = FRAMES[case], random.Random(case)
    for at in range(len(whole)):
        for value in (0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)):
            assert_same_outcome(decoder, whole[:at] + bytes([value]) + whole[at + 1 :])


@pytest.mark.parametrize(
    ("payload", "message", "offset"),
    [
        (frame(603, b"", schema=4), "schema", 4),
        (order(texts=["BTCUSDT"])[:-1], "length of data", None),
        (frame(603, b"", b"\x02\xc3("), "UTF-8", 9),
        (frame(54, b"", struct.pack("<HI", 0, 2**32 - 1)), "entries without a byte", 14),
    ],
)
def test_errors(payload, message, offset):
    with pytest.raises(execwire.DecodeError, match=message) as caught:
        execwire.Decoder(VENUE).decode(payload)
    assert caught.value.status == "sbe"
    assert caught.value.offset == (len(payload) if offset is None else offset)


def test_messages_in_messages():
    payload = frame(999, b"")
    for _ in range(7):
        payload = response(payload)
    assert decode(payload)[0]["code"] == "response"
    with pytest.raises(execwire.DecodeError, match="nested too deeply"):
        execwire.Decoder(VENUE).decode(response(payload))


def test_other_venues_take_frames_for_text():
    with pytest.raises(execwire.DecodeError) as caught:
        execwire.Decoder("bitget").decode(order())
    assert caught.value.status == "syntax"


# ---- MARK: Records ----


def test_payload_is_the_json_that_spans_point_into():
    (record,) = execwire.Decoder(VENUE).decode(order())
    begin, end = record.span
    assert json.loads(record.payload)["subscriptionId"] == 3
    assert json.loads(record.payload[begin:end]) == ORDER_JSON
    assert record.raw("price") == b"91250.10000000"


def test_decoder_can_alternate_between_sbe_and_json():
    decoder = execwire.Decoder(VENUE)
    text = json.dumps(order_json()).encode()
    for payload in (order(), text, order(length=268), b"\xff", text, order()):
        assert_same_outcome(decoder, payload)


def test_command(tmp_path):
    path = tmp_path / "order.sbe"
    path.write_bytes(order())
    for form in ("message", "auto"):
        result = CliRunner().invoke(cli, ["decode", "--extra", "--format", form, str(path)])
        assert result.exit_code == 0, result.output
        assert [json.loads(result.stdout)] == decode(order())


def test_ts_recv():
    assert decode(order(), ts_recv=5)[0]["ts_recv"] == 5


# ---- MARK: The section of the file ----


def section(**changes):
    message = {"template": 1, "name": "m", "fields": ["a i8"], **changes.pop("message", {})}
    return {"schemas": [3], "name_key": "e", "enums": {"side": {"BUY": 0}}, "message": [message], **changes}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"schemas": []}, "schemas: must be a list of ids below 256"),
        ({"schemas": [256]}, "schemas: must be a list of ids below 256"),
        ({"name_key": 'a"b'}, "name_key: must be a text that JSON need not escape"),
        ({"schema": [3]}, "unknown key 'schema'"),
        ({"enums": {"side": {"BUY": 0, "B": 0}}}, "two texts have the same value"),
        ({"enums": {"side": {"BUY": 255}}}, "numbers up to 254"),
        ({"message": {"template": 70000}}, "needs template"),
        ({"message": {"feilds": []}}, "template 1: unknown key 'feilds'"),
        ({"message": {"fields": ["a"]}}, r"'a' is not KEY TYPE \[OF\]"),
        ({"message": {"fields": ["a i24"]}}, "no such type of field"),
        ({"message": {"fields": ["a enum sode"]}}, "no enum 'sode'"),
        ({"message": {"fields": ["p dec price", "price exp"]}}, "no exponent 'price' before it"),
        ({"message": {"fields": ["a i64 = nul"]}}, "'nul' is not JSON"),
        ({"message": {"fields": ["a i64 b"]}}, "only dec and enum are of something"),
        ({"message": {"data": ["a text9"]}}, "data is text8"),
        ({"message": {"data": ["a message32?"]}}, "always leaves its key out"),
        ({"message": {"groups": [{"key": "B"}]}}, "needs count"),
        ({"message": {"groups": [{"count": 16}]}}, "all there is in the message"),
        ({"message": {"groups": [{"key": "B", "count": 16, "fields": ["//a i8"]}]}}, "inside a group"),
    ],
)
def test_wrong_sections(changes, message):
    with pytest.raises(sbe.LayoutError, match=message):
        sbe.parse(section(**changes))


def test_wrong_section_names_file_and_place(tmp_path):
    file = tmp_path / "acme.toml"
    file.write_text('name = "acme"\ninherits = "binance-spot"\n[sbe]\nschemas = [300]\n')
    with pytest.raises(venues.VenueError, match=r"acme\.toml: sbe\.schemas: must be a list"):
        venues.load(file)


def test_a_white_label_has_it_too(tmp_path):
    file = tmp_path / "acme.toml"
    file.write_text('name = "acme"\ninherits = "binance-spot"\n[sbe]\nschemas = [9]\n')
    decoder = execwire.Decoder(file)
    assert decoder.decode(order(schema=9))[0].venue == "acme"
    with pytest.raises(execwire.DecodeError):
        decoder.decode(order(schema=3))


# ---- MARK: Recorded frames, where they are at hand ----

NAMES = {
    "eventTime": "E", "transactTime": "T", "orderCreationTime": "O", "workingTime": "W", "orderId": "i",
    "executionId": "I", "symbol": "s", "clientOrderId": "c", "updateTime": "u",
}  # fmt: skip


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.stem)
def test_recorded_frame(path):
    payload = path.read_bytes()
    decoded = json.loads(path.with_suffix(".decoded.json").read_text())
    records = decode(payload)
    if decoded["_name"] == "OutboundAccountPositionEvent":
        assert [(r["asset"], r["free"], r["locked"]) for r in records] == [
            (b["asset"], f"{b['free'] / 10**8:.8f}", f"{b['locked'] / 10**8:.8f}") for b in decoded["balances"]
        ]
    elif decoded["_name"] == "ExecutionReportEvent":
        event = json.loads(execwire.Decoder(VENUE).decode(payload)[0].payload)["event"]
        assert {key: event[NAMES[key]] for key in NAMES if key in decoded} == {
            key: decoded[key] for key in NAMES if key in decoded
        }
        assert (records[0]["price"], records[0]["side"], records[0]["status"]) == ("60000.00000000", "buy", "new")
        assert (records[0]["order_list_id"], records[0]["trade_id"]) == ("-1", "-1")
    else:
        assert records[0]["request_id"] == decoded["id"]
        assert records[0]["code"] == "response"
        limits = records[0]["extra"]["rateLimits"]
        assert [limit["limit"] for limit in limits] == [limit["rateLimit"] for limit in decoded["rateLimits"]]
