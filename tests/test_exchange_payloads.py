"""Whatever the local exchange sends is decoded without a rest, and the same by both decoders."""

from __future__ import annotations

import itertools
import struct
from collections import Counter
from decimal import Decimal

import orjson
import pytest
from exchanges import START

from execwire import Decoder, reference
from execwire.exchange import (
    gzip_broker,
    render_bitget,
    render_futures,
    render_gzip,
    render_openapi,
    render_spot,
    sbe_frames,
)
from execwire.exchange.market import Market

EVENTS = 300  # of each market; some thousand messages of every venue
PRODUCTS = {"spot": "SPOT", "linear": render_bitget.USDT_M, "inverse": render_bitget.COIN_M}


def binance_spot(event, market, known):
    if market.kind == "spot":
        for text in render_spot.messages(event):
            yield text
            yield b'{"subscriptionId":3,"event":%b}' % text
        for text in render_spot.messages(event, 1000):
            yield text
            yield sbe_frames.event(orjson.loads(text), 3)


def binance_futures(event, market, known):
    if market.kind != "spot":
        yield from (text for _, text in render_futures.messages(event))
        yield from (text for _, text in render_futures.messages(event, portfolio_margin=True))


def bitget(event, market, known):
    product = PRODUCTS[market.kind]
    for channel in ("orders", "orders-algo", "fill", "account", "positions"):
        yield from pushed(render_bitget.rows(event, channel, product, market), event, product, channel=channel)
    for topic in ("order", "fill", "fast-fill", "account", "position"):
        rows = render_bitget.rows_uta(event, topic, product, market)
        yield from pushed(rows, event, "UTA", topic=topic)
    yield from pushed(render_bitget.snapshot_uta("position", [market], 1), event, "UTA", topic="position")


def bitget_v1(event, market, known):
    product = PRODUCTS[market.kind]
    for channel in ("orders", "ordersAlgo", "account", "positions"):
        yield from pushed(render_bitget.rows_v1(event, channel, product, market), event, "x", channel=channel)
    for channel in ("orders", "account", "positions", "trades"):
        yield from pushed(render_bitget.rows_v1_other(event, channel, product, market), event, "x", channel=channel)


def pushed(rows, event, product, **arg):
    if rows is not None:
        data = rows[0] if "fast-fill" in arg.values() else rows
        yield orjson.dumps({"action": "snapshot", "arg": {"instType": product, **arg}, "data": data, "ts": event.at})


def openapi(event, market, known):
    if market.kind != "inverse":
        yield from render_openapi.frames(event, market)


def gzip(event, market, known):
    if market.kind == "spot":
        yield from map(gzip_broker.packed, render_gzip.spot(event))
    elif market.kind == "linear":
        yield from map(gzip_broker.packed, render_gzip.futures(event, known, market.leverage))
        text = render_gzip.adl_price(market)
        if text is not None:
            yield gzip_broker.packed(text)


VENUES = {
    "binance-spot": binance_spot,
    "binance-futures": binance_futures,
    "bitget": bitget,
    "bitget-v1": bitget_v1,
    "openapi-broker": openapi,
    "gzip-broker": gzip,
}
PLANS = {  # the event of conditional orders
    "binance-spot": "executionReport",
    "binance-futures": "ALGO_UPDATE",
    "bitget": "orders-algo",
    "bitget-v1": "ordersAlgo",
    "openapi-broker": "planExecutionReport",
    "gzip-broker": "trigOrder",
}
KINDS = {  # what must have come at all
    "binance-spot": {"order", "balance"},
    "binance-futures": {"order", "balance", "position", "fill"},
    "bitget": {"order", "balance", "position", "fill", "notice"},
    "bitget-v1": {"order", "balance", "position", "fill"},
    "openapi-broker": {"order", "balance", "position", "fill"},
    "gzip-broker": {"order", "balance", "position"},
}


@pytest.mark.parametrize("venue", VENUES)
def test_decodes_without_a_rest(venue):
    decoder = Decoder(venue)
    clock = itertools.count(START)
    findings: Counter[tuple[str, str, str]] = Counter()
    kinds: Counter[str] = Counter()
    events = set()
    for kind in PRODUCTS:
        market, known = Market("7", kind, clock.__next__), set()
        for _ in range(EVENTS):
            for payload in VENUES[venue](market.step(), market, known):
                records, found = decoder.explain(payload)
                findings.update((records[0].event if records else "", one.path, one.what) for one in found)
                kinds.update(record.kind for record in records)
                events.update(record.event for record in records)
                assert [one.to_dict(extra=True) for one in records] == reference.decode(venue, payload)
    assert not findings
    assert PLANS[venue] in events
    assert KINDS[venue] <= set(kinds)
    assert decoder.stats.errors == decoder.stats.unknown_events == decoder.stats.unknown_keys == 0
    assert decoder.stats.unknown_enums == decoder.stats.unrepresentable == 0


def test_sbe_and_json_say_the_same():
    market = Market("7", "spot", itertools.count(START).__next__)
    decoder = Decoder("binance-spot")
    for _ in range(EVENTS):
        for text in render_spot.messages(market.step(), 1000):
            event = orjson.loads(text)
            from_sbe = [one.to_dict() for one in decoder.decode(sbe_frames.event(event))]
            from_json = [one.to_dict() for one in decoder.decode(text)]
            for ours, theirs in zip(from_sbe, from_json, strict=True):
                differing = {name for name in {*ours, *theirs} if ours.get(name) != theirs.get(name)}
                # SBE has eight decimals for a fee of nothing, and knows no subscription from null
                assert all(ours[name] == "0.00000000" and theirs[name] == "0" for name in differing)


def test_deterministic():
    """The same seed gives the same bytes."""

    def payloads(seed):
        clock = itertools.count(START)
        for kind in PRODUCTS:
            market, known = Market(seed, kind, clock.__next__), set()
            for _ in range(50):
                event = market.step()
                for render in VENUES.values():
                    yield from render(event, market, known)

    assert list(payloads("3")) == list(payloads("3"))
    assert list(payloads("3")) != list(payloads("4"))


@pytest.mark.parametrize(
    ("event", "template", "block", "where"),
    [  # block lengths and the offset of the subscription's id, by the published schema 3:5
        ({"e": "executionReport"}, 603, 282, 268),
        ({"e": "balanceUpdate"}, 601, 27, 25),
        ({"e": "externalLockUpdate"}, 604, 27, 25),
        ({"e": "outboundAccountPosition"}, 607, 18, 16),
        ({"e": "listStatus"}, 606, 29, 27),
        ({"e": "eventStreamTerminated"}, 602, 10, 8),
        ({"e": "serverShutdown"}, 610, 8, None),
    ],
)
def test_sbe_layout(event, template, block, where):
    frame = sbe_frames.event({**event, "E": 0x0102030405060708}, 0xBEEF)
    assert struct.unpack_from("<HHHH", frame) == (block, template, 3, 5)
    assert struct.unpack_from("<q", frame, 8) == (0x0102030405060708,)
    if where is not None:
        assert struct.unpack_from("<H", frame, 8 + where) == (0xBEEF,)


def test_sbe_execution_report():
    """A report byte by byte, by the published offsets."""
    clock = itertools.count(START)
    market = Market("7", "spot", clock.__next__)
    while (event := market.step()).execution != "TRADE":
        pass
    text = orjson.loads(render_spot.messages(event, 1000)[0])
    frame = sbe_frames.event(text, 0)[8:]
    whole = {"T": 8, "O": 19, "i": 35, "t": 96, "I": 104}
    assert {key: struct.unpack_from("<q", frame, at)[0] for key, at in whole.items()} == {
        key: text[key] for key in whole
    }
    decimals = {"q": (51, 17), "p": (59, 16), "z": (112, 17), "Z": (120, 16), "l": (128, 17), "L": (136, 16),
                "Y": (144, 16), "n": (152, 18)}  # fmt: skip
    for key, (at, exponent) in decimals.items():
        mantissa, power = *struct.unpack_from("<q", frame, at), *struct.unpack_from("<b", frame, exponent)
        assert Decimal(mantissa).scaleb(power) == Decimal(text[key])
    codes = {"S": 92, "x": 94, "m": 161}
    expected = {"S": {"BUY": 0, "SELL": 1}[text["S"]], "x": 4, "m": int(text["m"])}
    assert {key: frame[at] for key, at in codes.items()} == expected
    assert struct.unpack_from("<q", frame, 43) == (-(2**63),)  # no order list
    rest = frame[282:]
    for key in ("s", "c", "C", "N"):
        size = rest[0]
        assert rest[1 : 1 + size].decode() == (text[key] or "")
        rest = rest[1 + size :]
