"""Which venue a message comes from, where several could have sent it."""

from __future__ import annotations

import gzip
from importlib import resources

import pytest
from cases import Case, cases

from execwire import DecodeError
from execwire.captures import Capture
from execwire.detection import Detector

SPOT = (
    b'{"e":"executionReport","E":1795000000120,"s":"BTCUSDT","c":"d-1","S":"BUY","o":"LIMIT","f":"GTC","q":"0.2",'
    b'"p":"91250.1","P":"0","F":"0","g":-1,"C":"","x":"NEW","X":"NEW","r":"NONE","i":48211903377,"l":"0","z":"0",'
    b'"L":"0","n":"0","N":null,"T":1795000000119,"t":-1,"I":102938475600,"w":true,"m":false,"M":false,'
    b'"O":1795000000119,"Z":"0","Y":"0","Q":"0","W":1795000000119,"V":"NONE"}'
)
OPENAPI = (
    b'[{"e":"executionReport","E":"1795000000120","s":"BTCUSDT","c":"d-2","S":"BUY","o":"LIMIT","f":"GTC","q":"0.4",'
    b'"p":"91200.5","X":"NEW","i":"2063211148850213120","l":"0","z":"0","L":"0","n":"0","N":"","u":true,"w":true,'
    b'"m":false,"O":"1795000000116","Z":"0"}]'
)
GZIP = (
    b'{"E":1795000000120,"L":"91320.0","O":1795000000001,"P":"0","Q":"0","S":"SELL","T":1795000000090,'
    b'"X":"PART_FILLED","Y":"9132.0","Z":"9132.0","e":"executionReport","i":"2690993551870428160","l":"0.1",'
    b'"n":"5.4792","o":"LIMIT","p":"91320.0","q":"0.3","s":"BTCUSDT","x":"STATUS","z":"0.1"}'
)
FUTURES = (
    b'{"e":"ORDER_TRADE_UPDATE","T":1795000000118,"E":1795000000120,"o":{"s":"BTCUSDT","c":"d-4","S":"BUY",'
    b'"o":"LIMIT","f":"GTX","q":"0.5","p":"91260.4","X":"NEW"}}'
)
POSITION = b'{"e":"outboundAccountPosition","E":1795000000121,"u":1795000000120,"B":[{"a":"BTC","f":"1.2","l":"0.1"}]}'
ACCOUNT = b'{"e":"outboundAccountInfo","E":%s,%s"T":true,"W":true,"D":true,"B":[{"a":"BTC","f":"1","l":"0"}]}'
RATES = ACCOUNT % (b"1795000000120", b'"m":0,"t":0,"b":0,"s":0,"u":1795000000119,')
BITGET = (
    b'{"action":"snapshot","arg":{"instType":"SPOT","channel":"orders","instId":"default"},"data":[{"instId":"BTCUSDT",'
    b'"orderId":"1372204519847264257","clientOid":"d-5","size":"0.05","price":"91244.5","orderType":"limit",'
    b'"force":"gtc","side":"buy","status":"live","accBaseVolume":"0","priceAvg":"0.00","feeDetail":[],'
    b'"enterPointSource":"API","cTime":"1795000000119","uTime":"1795000000119"}],"ts":1795000000120}'
)
BITGET_V1 = (
    b'{"action":"snapshot","arg":{"instType":"spbl","channel":"orders","instId":"BTCUSDT_SPBL"},"data":[{'
    b'"instId":"BTCUSDT_SPBL","ordId":"10194988771200331776","clOrdId":"d-6","px":"91180.00","sz":"0.02",'
    b'"notional":"1823.6","ordType":"limit","force":"normal","side":"sell","accFillSz":"0","avgPx":"0.00",'
    b'"status":"new","cTime":1795000000119,"uTime":1795000000119,"orderFee":[],"eps":"API"}],"ts":1795000000120}'
)
ALIKE = ("ping", "ping_text", "pong", "listenKey", "unknown_event", "unknown_empty_object", "empty_array")  # of openapi
ONE_OF_EACH = [
    (SPOT, "binance-spot"),
    (b'{"subscriptionId":3,"event":' + SPOT + b"}", "binance-spot"),
    (FUTURES, "binance-futures"),
    (OPENAPI, "openapi-broker"),
    (OPENAPI[1:-1], "openapi-broker"),
    (GZIP, "gzip-broker"),
    (gzip.compress(GZIP, mtime=0), "gzip-broker"),
    (BITGET, "bitget"),
    (BITGET_V1, "bitget-v1"),
]


@pytest.mark.parametrize(("payload", "venue"), ONE_OF_EACH)
def test_alone(payload: bytes, venue: str) -> None:
    detector = Detector()
    (record,) = detector.decode(payload, 7)
    assert (record.venue, record.kind, record.ts_recv, detector.venue) == (venue, "order", 7, venue)


@pytest.mark.parametrize(("payload", "venue"), ONE_OF_EACH)
@pytest.mark.parametrize("before", [payload for payload, _ in ONE_OF_EACH])
def test_after_any_other(before: bytes, payload: bytes, venue: str) -> None:
    detector = Detector()
    for _ in range(100):
        detector.decode(before)
    assert [detector.decode(payload)[0].venue for _ in range(2)] == [venue, venue]


def test_what_two_venues_write_alike_goes_to_the_venue_before() -> None:
    detector = Detector()
    found = []
    for payload in (POSITION, GZIP, POSITION, SPOT, POSITION):
        detector.decode(payload)
        found.append(detector.venue)
    assert found == ["binance-spot", "gzip-broker", "gzip-broker", "binance-spot", "binance-spot"]


def test_balances_without_fee_rates_are_not_those_of_binance() -> None:
    for time in (b"1795000000120", b'"1795000000120"'):
        for payload in (ACCOUNT % (time, b""), b"[" + ACCOUNT % (time, b"") + b"]"):
            detector = Detector()
            assert detector.decode(payload)[0].venue == "openapi-broker"
            detector.decode(RATES)
            assert detector.venue == "openapi-broker"  # which may send rates too
            detector.decode(SPOT)
            assert [detector.decode(one)[0].venue for one in (RATES, payload)] == ["binance-spot", "openapi-broker"]
    assert Detector().decode(RATES)[0].venue == "binance-spot"


def test_inherited_events_belong_to_the_venue_they_come_from() -> None:
    detector = Detector()
    detector.decode(FUTURES)
    detector.decode(b'{"e":"balanceUpdate","E":1795000000120,"a":"BTC","d":"0.1","T":1795000000119}')
    assert detector.venue == "binance-spot"


def test_inherited_notices_stay_with_the_stream() -> None:
    detector = Detector()
    detector.decode(FUTURES)
    (notice,) = detector.decode(b'{"id":1,"status":200,"result":{}}')
    assert (notice.venue, notice.code) == ("binance-futures", "response")


def test_text_frames_stay_with_the_stream() -> None:
    detector = Detector()
    detector.decode(BITGET_V1)
    assert detector.decode(b"pong")[0].venue == "bitget-v1"
    detector.decode(BITGET)
    assert detector.decode(b"pong")[0].venue == "bitget"
    assert detector.decode(b"connect success")[0].venue == "gzip-broker"


def test_a_new_key_and_a_new_word_change_nothing() -> None:
    detector = Detector()
    for _ in range(3):
        detector.decode(SPOT)
        for payload in (SPOT.replace(b'"V":"NONE"', b'"V":"SOMETHING","zz":1'), SPOT.replace(b"LIMIT", b"ICEBERG")):
            assert detector.decode(payload)[0].venue == "binance-spot"


def test_an_unknown_event_is_delivered() -> None:
    detector = Detector()
    detector.decode(FUTURES)
    (notice,) = detector.decode(b'{"e":"brandNew","E":1795000000120}')
    assert (notice.code, notice.message) == ("unknown_event", "brandNew")


def test_what_nobody_can_decode() -> None:
    detector = Detector()
    with pytest.raises(DecodeError):
        detector.decode(b'{"e":')
    assert detector.venue is None
    detector.decode(SPOT)
    with pytest.raises(DecodeError):
        detector.decode(b"hello")
    assert detector.decode(SPOT)[0].venue == "binance-spot"


def test_fewer_venues() -> None:
    detector = Detector(["bitget", "openapi-broker"])
    assert detector.decode(SPOT)[0].venue == "openapi-broker"


@pytest.mark.parametrize("case", cases("openapi-broker"), ids=str)
def test_messages_of_openapi_brokers(case: Case) -> None:
    detector = Detector()
    detector.decode(OPENAPI)
    detector.decode(case.payload)
    assert detector.venue == "openapi-broker"
    alone = Detector()
    alone.decode(case.payload)
    assert (alone.venue != "openapi-broker") == (case.path.stem in ALIKE)


def test_bundled_capture() -> None:
    detector = Detector()
    venues = []
    with (
        resources.as_file(resources.files("execwire") / "data" / "demo.txt") as path,
        Capture(path) as capture,
    ):
        for message in capture:
            detector.decode(message.payload, message.ts_recv)
            venues.append(detector.venue)
    runs = [venue for i, venue in enumerate(venues) if i == 0 or venues[i - 1] != venue]
    assert runs == ["binance-spot", "binance-futures", "bitget", "bitget-v1", "openapi-broker", "gzip-broker"]
