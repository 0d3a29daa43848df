"""Sessions without a socket: hours of them in milliseconds, by a clock of our own."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

import execwire
from execwire import rules, venues
from execwire.auth import Credentials, login_text, pairs
from execwire.sessions import Key
from execwire.sessions.effects import (
    Beat,
    CatchUp,
    Close,
    Connect,
    Fetch,
    Finish,
    Hold,
    Recover,
    Release,
    Reply,
    Route,
    Send,
    Share,
    Tell,
)  # fmt: skip
from execwire.sessions.machine import DRAIN, Machine, State

WALL = 1_790_000_000_000_000_000
API_KEY, SECRET, PASSPHRASE = "key-of-the-tests", "secret-of-the-tests", "pass-of-the-tests"
CREDENTIALS = Credentials(API_KEY, SECRET, PASSPHRASE)


class Stage:
    """A machine, the clock, and the other side."""

    def __init__(self, venue: str, variant: tuple[str, ...] = (), accounts=None, **more: Any) -> None:
        self.rules = rules.parse(venues.load(venue).session, variant)
        self.decoder = execwire.Decoder(venue)
        self.now = 1000.0
        more.setdefault("random", lambda: 0.0)
        self.machine = Machine(self.rules, accounts or [CREDENTIALS], wall=self.wall, heard=self.heard, **more)
        self.last_frames: dict[int, int] = {}
        self.seen: list[Any] = []
        self.is_behind = False  # what lies in the sockets is not read

    def wall(self) -> int:
        return WALL + int((self.now - 1000.0) * 1e9)

    def heard(self, link: int) -> int:
        return self.last_frames.get(link, self.wall())

    def take(self, kind: type | None = None) -> list[Any]:
        """The effects since the last call."""
        found, self.machine.out = self.machine.out, []
        self.seen += found
        return [one for one in found if kind is None or isinstance(one, kind)]

    def one(self, kind: type) -> Any:
        (found,) = self.take(kind)
        return found

    def say(self, text: bytes | dict | list, link: int = 1) -> None:
        """A frame of the venue."""
        payload = text if isinstance(text, bytes) else json.dumps(text).encode()
        notices = [one for one in self.decoder.decode(payload) if one.kind == "notice"]
        self.last_frames[link] = self.wall()
        self.machine.received(self.now, link, payload, notices)

    def wait(self, seconds: float) -> None:
        """Time passes, as a loop would let it."""
        end = self.now + seconds
        while (when := self.machine.next_deadline()) <= end:
            self.now = max(when, self.now)
            self.machine.tick(self.now)
            for effect in self.machine.out[:]:
                if isinstance(effect, CatchUp) and not self.is_behind:
                    self.machine.out.remove(effect)
                    self.machine.caught_up(self.now, effect.link)
        self.now = end

    def start(self) -> Connect:
        self.machine.start(self.now)
        return self.one(Connect)

    def sent(self) -> list[Any]:
        texts = [one.payload for one in self.take(Send)]
        return [json.loads(text) if text[:1] in b"{[" else text for text in texts]

    def told(self) -> list[tuple[str, str]]:
        """What the session has said so far."""
        self.take()
        return [(one.notice["execwire"], one.notice["message"]) for one in self.seen if isinstance(one, Tell)]

    def live(self) -> None:
        """Get a spot session live."""
        self.start()
        self.machine.opened(self.now, 1)
        self.say({"id": self.sent()[0]["id"], "status": 200, "result": {"subscriptionId": 0}})
        assert self.machine.state is State.LIVE
        self.take()


# ---- MARK: Every venue's way to a live stream ----


def test_spot_with_a_signature():
    stage = Stage("binance-spot")
    connect = stage.start()
    assert connect.url == "wss://ws-api.binance.com:443/ws-api/v3"
    assert stage.machine.state is State.CONNECTING
    stage.machine.opened(stage.now, 1)
    assert stage.machine.state is State.SUBSCRIBING
    beat, send = stage.take()
    assert isinstance(beat, Beat)
    frame = json.loads(send.payload)
    assert frame["method"] == "userDataStream.subscribe.signature"
    assert frame["id"] == 0
    params = frame["params"]
    assert params["timestamp"] == WALL // 1_000_000
    signature = params.pop("signature")
    assert signature == CREDENTIALS.sign(pairs(params, order=True))
    stage.say({"id": 0, "status": 200, "result": {"subscriptionId": 5}, "rateLimits": []})
    route, told = stage.take()
    assert (route.subscription_id, route.account) == (5, 0)
    assert told.notice["execwire"] == "connected"
    assert stage.machine.state is State.LIVE


def test_spot_with_the_first_answer_of_its_history():
    """The result was {} before it had an id."""
    stage = Stage("binance-spot")
    stage.start()
    stage.machine.opened(stage.now, 1)
    stage.say({"id": 0, "status": 200, "result": {}})
    assert stage.machine.state is State.LIVE
    assert not stage.take(Route)


def test_spot_with_a_logon():
    stage = Stage("binance-spot", ("logon",))
    stage.start()
    stage.machine.opened(stage.now, 1)
    (logon,) = stage.sent()
    assert logon["method"] == "session.logon"
    assert stage.machine.state is State.AUTHENTICATING
    stage.say({"id": 0, "status": 200, "result": {"apiKey": API_KEY, "authorizedSince": 1, "serverTime": 2}})
    (subscribe,) = stage.sent()
    assert subscribe == {"id": 1, "method": "userDataStream.subscribe"}
    stage.say({"id": 1, "status": 200, "result": {"subscriptionId": 0}})
    assert stage.machine.state is State.LIVE


def test_spot_with_a_listen_token():
    stage = Stage("binance-spot", ("listen_token",), rest_url="http://rest")
    stage.machine.start(stage.now)
    fetch = stage.one(Fetch)
    assert (fetch.method, fetch.url, fetch.headers) == (
        "POST", "http://rest/sapi/v1/userListenToken", {"X-MBX-APIKEY": API_KEY},
    )  # fmt: skip
    expires = stage.wall() // 1_000_000 + 86_400_000
    body = json.dumps({"token": "T-1", "expirationTime": expires}).encode()
    stage.machine.fetched(stage.now, fetch.tag, 200, body, None)
    stage.one(Connect)
    stage.machine.opened(stage.now, 1)
    (frame,) = stage.sent()
    assert frame["params"] == {"listenToken": "T-1"}
    stage.say({"id": 0, "status": 200, "result": {"subscriptionId": 0, "expirationTime": expires}})
    assert stage.machine.state is State.LIVE
    stage.take()
    stage.wait(86_400 - 601)  # the next token is fetched, and the next connection opened, before this one is over
    assert not stage.take(Fetch)
    stage.wait(2)
    assert stage.take(Fetch)


EVENTS = (
    "ORDER_TRADE_UPDATE/ACCOUNT_UPDATE/MARGIN_CALL/TRADE_LITE/ACCOUNT_CONFIG_UPDATE/STRATEGY_UPDATE/GRID_UPDATE"
    "/ALGO_ORDER_UPDATE/CONDITIONAL_ORDER_TRIGGER_REJECT/listenKeyExpired"
)


@pytest.mark.parametrize(
    ("variant", "path"),
    [
        ((), f"wss://fstream.binance.com/private/ws?listenKey=LK&events={EVENTS}"),
        (("private_all",), "wss://fstream.binance.com/private/ws?listenKey=LK"),
        (("private_path",), "wss://fstream.binance.com/private/ws/LK"),
        (("ws",), "wss://fstream.binance.com/ws/LK"),
        (("stream",), "wss://fstream.binance.com/stream?streams=LK"),
        (("coinm",), "wss://dstream.binance.com/ws/LK"),
        (("coinm", "stream"), "wss://dstream.binance.com/stream?streams=LK"),
        (("coinm", "coinm_auth"), "wss://dstream-auth.binance.com/ws/LK?listenKey=LK"),
        (("pm",), "wss://fstream.binance.com/pm/ws/LK"),
        (("testnet",), "wss://stream.binancefuture.com/ws/LK"),
    ],
)  # fmt: skip
def test_futures_with_every_form_of_the_url(variant, path):
    stage = Stage("binance-futures", variant, [Key(API_KEY)])
    stage.machine.start(stage.now)
    fetch = stage.one(Fetch)
    kind = {"coinm": "/dapi/v1/listenKey", "pm": "/papi/v1/listenKey"}.get((*variant, "")[0], "/fapi/v1/listenKey")
    assert fetch.url.endswith(kind)
    stage.machine.fetched(stage.now, fetch.tag, 200, b'{"listenKey":"LK"}', None)
    assert stage.one(Connect).url == path
    stage.machine.opened(stage.now, 1)
    assert stage.machine.state is State.LIVE


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("ws://h:1", "ws://h:1/ws/LK"),
        ("ws://h:1/", "ws://h:1/ws/LK"),
        ("ws://h:1/own/", "ws://h:1/own/LK"),
        ("ws://h:1/own?key={listen_key}", "ws://h:1/own?key=LK"),
    ],
)
def test_urls_of_ones_own(url, expected):
    stage = Stage("binance-futures", ("ws",), [Key(API_KEY)], url=url)
    stage.machine.start(stage.now)
    stage.machine.fetched(stage.now, ("create", 0), 200, b'{"listenKey":"LK"}', None)
    assert stage.one(Connect).url == expected


def test_query_of_a_url():
    stage = Stage("binance-spot", ("sbe", "microseconds"), query={"returnRateLimits": "false"})
    assert stage.start().url.endswith(
        "/ws-api/v3?responseFormat=sbe&sbeSchemaId=3&sbeSchemaVersion=5&timeUnit=MICROSECOND&returnRateLimits=false"
    )


@pytest.mark.parametrize(
    ("venue", "variant", "unit", "encoding"),
    [
        ("bitget", (), "s", "base64"), ("bitget", ("millis",), "ms", "base64"), ("bitget", ("hex",), "ms", "hex"),
        ("bitget-v1", (), "s", "base64"), ("bitget-v1", ("hex",), "ms", "hex"),
    ],
)  # fmt: skip
def test_bitget(venue, variant, unit, encoding):
    stage = Stage(venue, variant, channels=[{"instType": "SPOT", "channel": "orders", "instId": "default"}])
    stage.start()
    stage.machine.opened(stage.now, 1)
    (login,) = stage.sent()
    time = str(WALL // (1_000_000 if unit == "ms" else 1_000_000_000))
    assert login == {
        "op": "login",
        "args": [{"apiKey": API_KEY, "passphrase": PASSPHRASE, "timestamp": time,
                  "sign": CREDENTIALS.sign(login_text(time), encoding)}],
    }  # fmt: skip
    stage.say({"event": "login", "code": 0})
    (subscribe,) = stage.sent()
    assert subscribe == {"op": "subscribe", "args": [{"instType": "SPOT", "channel": "orders", "instId": "default"}]}
    stage.say({"event": "subscribe", "arg": subscribe["args"][0]})
    assert stage.machine.state is State.LIVE


def test_channels_as_texts():
    form = rules.parse(venues.load("bitget").session).channels
    assert form.read("SPOT/orders") == {"instType": "SPOT", "channel": "orders", "instId": "default"}
    assert form.read("MARGIN/orders-crossed/BTCUSDT")["instId"] == "BTCUSDT"
    assert form.read("SPOT/account") == {"instType": "SPOT", "channel": "account", "coin": "default"}
    assert form.read("USDT-FUTURES/equity") == {"instType": "USDT-FUTURES", "channel": "equity"}
    uta = rules.parse(venues.load("bitget").session, ("uta",)).channels
    assert uta.read("UTA/order") == {"instType": "UTA", "topic": "order"}
    v1 = rules.parse(venues.load("bitget-v1").session).channels
    assert v1.read("spbl/account") == {"instType": "spbl", "channel": "account", "instId": "default"}
    for wrong in ("SPOT", "SPOT/orders/BTCUSDT/more", "SPOT//x"):
        with pytest.raises(ValueError, match="not of the form"):
            form.read(wrong)


@pytest.mark.parametrize("header", ["X-BH-APIKEY", "X-BB-APIKEY", "X-HK-APIKEY"])
def test_openapi_brokers_sign_what_they_send(header):
    stage = Stage("openapi-broker", options={"key_header": header}, rest_url="http://rest")
    stage.machine.start(stage.now)
    fetch = stage.one(Fetch)
    assert fetch.headers == {header: API_KEY}
    query, _, signature = fetch.url.partition("?")[2].partition("&signature=")
    assert query == f"recvWindow=5000&timestamp={WALL // 1_000_000}"
    assert signature == CREDENTIALS.sign(query)
    stage.machine.fetched(stage.now, fetch.tag, 200, b'{"listenKey":"LK"}', None)
    assert stage.one(Connect).url == "wss://wsapi.hbtc.com/openapi/ws/LK"
    stage.machine.opened(stage.now, 1)
    assert stage.machine.state is State.LIVE
    stage.take()
    stage.say({"ping": 1790000000123})
    assert stage.sent() == [{"pong": 1790000000123}]
    stage.wait(1801)
    renew = stage.one(Fetch)
    assert renew.method == "PUT"
    assert "listenKey=LK&recvWindow=5000&timestamp=" in renew.url


@pytest.mark.parametrize(
    ("variant", "headers", "path", "frame"),
    [
        ((), {"api-key": API_KEY}, "/spotws_user/userData/ws", {"event": "sub", "token": API_KEY}),
        (("token",), {"token": API_KEY}, "/spotws_user/userData/ws", {"event": "sub", "token": API_KEY}),
        (("futures",), {"api-key": API_KEY}, "/position_order/ws", {"event": "sub", "apiKey": API_KEY, "broker": 1003}),
        (("futures_token",), {"token": API_KEY}, "/position_order/ws",
         {"event": "sub", "token": API_KEY, "broker": 1003}),
    ],
)  # fmt: skip
def test_gzip_brokers(variant, headers, path, frame):
    stage = Stage("gzip-broker", variant, [Key(API_KEY)], url="wss://h")
    connect = stage.start()
    assert (connect.url, connect.headers.get(next(iter(headers)))) == ("wss://h" + path, API_KEY)
    stage.machine.opened(stage.now, 1)
    assert stage.sent() == []  # the server speaks first
    assert stage.machine.state is State.AUTHENTICATING
    stage.say(b"connect success")
    assert stage.sent() == [frame]
    stage.say(b"sub success")
    assert stage.machine.state is State.LIVE


# ---- MARK: What goes wrong on the way ----


def test_nobody_answers():
    stage = Stage("binance-spot")
    stage.start()
    stage.machine.opened(stage.now, 1)
    stage.take()
    stage.wait(11)
    assert ("error", "no answer within 10 s while subscribing") in stage.told()
    assert [one.link for one in stage.seen if isinstance(one, Close)] == [1]
    assert [one.link for one in stage.seen if isinstance(one, Connect)] == [1, 2]


@pytest.mark.parametrize(("code", "text"), [(-2015, "Invalid API-key"), (-1022, "Signature"), (-2014, "format")])
def test_wrong_keys_are_the_end(code, text):
    stage = Stage("binance-spot")
    stage.start()
    stage.machine.opened(stage.now, 1)
    stage.take()
    stage.say({"id": 0, "status": 400, "error": {"code": code, "msg": text}})
    close, tell, finish = stage.take()
    assert isinstance(close, Close)
    assert (tell.notice["code"], tell.notice["message"]) == (str(code), text)
    assert (finish.code, finish.message) == (str(code), text)
    assert stage.machine.state is State.CLOSED
    assert stage.machine.next_deadline() == float("inf")


def test_an_error_without_an_id_is_that_of_the_request():
    stage = Stage("binance-spot")
    stage.start()
    stage.machine.opened(stage.now, 1)
    stage.say({"id": None, "status": 400, "error": {"code": -1102, "msg": "malformed"}})
    assert stage.take(Finish)[0].code == "-1102"


def test_backoff_grows_to_its_longest_and_begins_anew():
    stage = Stage("binance-spot")
    stage.machine.start(stage.now)
    delays = []
    for link in range(1, 12):
        stage.machine.failed(stage.now, link, "refused")
        delays.append(stage.machine.next_deadline() - stage.now)
        stage.wait(delays[-1])
    assert delays == [0.5, 1, 2, 4, 8, 16, 32, 60, 60, 60, 60]
    stage.machine.opened(stage.now, 12)
    stage.say({"id": 0, "status": 200, "result": {"subscriptionId": 0}}, 12)
    stage.wait(61)
    stage.machine.closed(stage.now, 12, 1001, "")
    assert stage.machine.next_deadline() - stage.now == 0.5


def test_backoff_has_jitter():
    stage = Stage("binance-spot", random=lambda: 1.0)
    stage.machine.start(stage.now)
    stage.machine.failed(stage.now, 1, "refused")
    assert stage.machine.next_deadline() - stage.now == 0.25


def test_a_stream_that_lives_for_a_moment_does_not_reset_the_backoff():
    stage = Stage("binance-spot")
    stage.live()
    delays = []
    for link in (1, 2, 3):
        stage.machine.closed(stage.now, link, 1006, "")
        delays.append(stage.machine.next_deadline() - stage.now)
        stage.wait(delays[-1])
        stage.machine.opened(stage.now, link + 1)
        stage.say({"id": 0, "status": 200, "result": {"subscriptionId": 0}}, link + 1)
    assert delays == [0.5, 1, 2]


@pytest.mark.parametrize(
    ("frame", "least"),
    [
        ({"id": 0, "status": 429, "error": {"code": -1003, "msg": "slow",
                                            "data": {"retryAfter": WALL // 1_000_000 + 45_000}}}, 45),
        ({"id": 0, "status": 418, "error": {"code": -1003, "msg": "banned", "data": {"retryAfter": 1}}}, 30),
        ({"id": 0, "status": 418, "error": {"code": -1003, "msg": "banned"}}, 30),
        ({"id": 0, "status": 400, "error": {"code": -1034, "msg": "too many connections"}}, 30),
    ],
)  # fmt: skip
def test_rate_limits_are_waited_for(frame, least):
    stage = Stage("binance-spot")
    stage.start()
    stage.machine.opened(stage.now, 1)
    stage.say(frame)
    assert stage.machine.next_deadline() - stage.now == pytest.approx(least)


def test_a_rate_limit_in_sbe():
    """There the time is in µs, and stands somewhere else."""
    stage = Stage("binance-spot", ("sbe",))
    stage.start()
    stage.machine.opened(stage.now, 1)
    error = {"code": -1003, "msg": "slow", "serverTime": WALL // 1000, "retryAfter": WALL // 1000 + 45_000_000}
    stage.say({"id": 0, "status": 429, "error": error})
    assert stage.machine.next_deadline() - stage.now == pytest.approx(45)


def test_http_statuses():
    stage = Stage("binance-spot")
    stage.start()
    stage.machine.failed(stage.now, 1, "HTTP status 429", 429, b"", 90.0)
    assert stage.machine.next_deadline() - stage.now == 90
    stage.wait(90)
    stage.machine.failed(stage.now, 2, "HTTP status 410", 410)
    assert stage.take(Finish)[0].code == "410"


def test_clock_skew_is_measured_once_and_gone_by():
    stage = Stage("binance-spot", rest_url="http://rest")
    stage.start()
    stage.machine.opened(stage.now, 1)
    stage.take()
    stage.say({"id": 0, "status": 400, "error": {"code": -1021, "msg": "outside of the recvWindow"}})
    fetch = stage.one(Fetch)
    assert fetch.url == "http://rest/api/v3/time"
    body = json.dumps({"serverTime": stage.wall() // 1_000_000 + 7000}).encode()
    stage.machine.fetched(stage.now, fetch.tag, 200, body, None)
    stage.machine.opened(stage.now, 2)
    (frame,) = stage.sent()
    assert frame["params"]["timestamp"] == WALL // 1_000_000 + 7000
    stage.say({"id": 0, "status": 400, "error": {"code": -1021, "msg": "again"}}, 2)
    assert not stage.take(Fetch)
    assert stage.machine.state is State.WAITING


def test_malformed_answers_are_no_reason_to_hang():
    stage = Stage("binance-spot")
    stage.start()
    stage.machine.opened(stage.now, 1)
    for _ in range(3):
        stage.machine.malformed(stage.now, 1, "unexpected byte at byte 3")
    assert stage.machine.state is State.WAITING
    assert ("error", "malformed answers: unexpected byte at byte 3") in stage.told()


def test_a_listen_key_that_is_no_listen_key():
    for body in (b"", b"[]", b'{"listenKey":""}', b'{"listenKey":5}', b"<html>"):
        stage = Stage("binance-futures", accounts=[Key(API_KEY)])
        stage.machine.start(stage.now)
        stage.machine.fetched(stage.now, ("create", 0), 200, body, None)
        assert stage.machine.state is State.WAITING
        assert ("error", "no listen key: the answer holds no listen key") in stage.told()


@pytest.mark.parametrize(("status", "code", "state"), [(401, -2015, State.CLOSED), (503, None, State.WAITING)])
def test_a_listen_key_that_is_refused(status, code, state):
    stage = Stage("binance-futures", accounts=[Key(API_KEY)])
    stage.machine.start(stage.now)
    body = b"" if code is None else json.dumps({"code": code, "msg": "no"}).encode()
    stage.machine.fetched(stage.now, ("create", 0), status, body, None)
    assert stage.machine.state is state


def test_a_channel_that_does_not_exist_is_left_out():
    channels = [{"instType": "SPOT", "channel": name, "instId": "default"} for name in ("orders", "nonsense", "fill")]
    stage = Stage("bitget", channels=channels)
    stage.start()
    stage.machine.opened(stage.now, 1)
    stage.say({"event": "login", "code": 0})
    stage.say({"event": "subscribe", "arg": channels[0]})
    stage.say({"event": "error", "code": 30001, "msg": "does not exist", "arg": channels[1]})
    assert stage.machine.state is State.SUBSCRIBING
    stage.say({"event": "subscribe", "arg": channels[2]})
    assert stage.machine.state is State.LIVE


def test_a_failed_login_of_bitget_names_code_and_text():
    stage = Stage("bitget")
    stage.start()
    stage.machine.opened(stage.now, 1)
    stage.say({"event": "error", "code": 30015, "msg": "Invalid sign"})
    finish = stage.take(Finish)[0]
    assert (finish.code, finish.message) == ("30015", "Invalid sign")


def test_a_signer_that_fails_is_told():
    def signer(payload: bytes) -> bytes:
        raise OSError("the device is gone")

    stage = Stage("binance-spot", accounts=[Credentials("k", signer=signer)])
    stage.start()
    stage.machine.opened(stage.now, 1)
    assert stage.take(Finish)[0].message == "cannot sign: OSError: the device is gone"


def test_a_missing_passphrase_is_told():
    stage = Stage("bitget", accounts=[Credentials("k", "s")])
    stage.start()
    stage.machine.opened(stage.now, 1)
    assert "needs a passphrase" in stage.take(Finish)[0].message


# ---- MARK: Gaps ----


def test_a_gap_shows_from_beginning_to_end():
    stage = Stage("binance-spot")
    stage.live()
    lost = stage.wall()  # when the last frame came; that the connection is dead shows later
    stage.wait(5)
    stage.machine.closed(stage.now, 1, 1006, "")
    assert stage.machine.state is State.WAITING
    stage.wait(0.5)
    stage.machine.opened(stage.now, 2)
    stage.say({"id": 0, "status": 200, "result": {"subscriptionId": 0}}, 2)
    assert [what for what, _ in stage.told()] == ["connected", "disconnected", "gap", "reconnected"]
    (gap,) = [one.notice for one in stage.seen if isinstance(one, Tell) and one.notice["execwire"] == "gap"]
    assert (gap["from"], gap["to"]) == (lost, stage.wall())
    assert stage.machine.gaps == stage.machine.reconnects == 1


def test_a_gap_that_several_attempts_take_is_one():
    stage = Stage("binance-spot")
    stage.live()
    lost = stage.wall()
    stage.machine.closed(stage.now, 1, 1001, "restart")
    for link in (2, 3):
        stage.wait(stage.machine.next_deadline() - stage.now)
        stage.machine.failed(stage.now, link, "refused")
    stage.wait(stage.machine.next_deadline() - stage.now)
    stage.machine.opened(stage.now, 4)
    stage.say({"id": 0, "status": 200, "result": {"subscriptionId": 0}}, 4)
    assert [what for what, _ in stage.told()] == [
        "connected", "disconnected", "error", "error", "gap", "reconnected",
    ]  # fmt: skip
    (gap,) = [one.notice for one in stage.seen if isinstance(one, Tell) and one.notice["execwire"] == "gap"]
    assert gap["from"] == lost


def test_records_wait_while_a_gap_is_filled():
    stage = Stage("binance-spot", recover=True)
    stage.live()
    stage.machine.closed(stage.now, 1, 1006, "")
    stage.wait(0.5)
    stage.machine.opened(stage.now, 2)
    stage.say({"id": 0, "status": 200, "result": {"subscriptionId": 0}}, 2)
    assert stage.machine.state is State.RECOVERING
    kinds = [type(one) for one in stage.take()]
    assert kinds[-3:] == [Tell, Hold, Recover]
    stage.machine.recovered(stage.now, 2)
    assert [type(one) for one in stage.take()] == [Tell, Release]
    assert stage.machine.state is State.LIVE


def test_a_recovery_that_takes_too_long_does_not_stop_the_stream():
    stage = Stage("binance-spot", recover=True, recover_timeout=3)
    stage.live()
    stage.machine.closed(stage.now, 1, 1006, "")
    stage.wait(0.5)
    stage.machine.opened(stage.now, 2)
    stage.say({"id": 0, "status": 200, "result": {"subscriptionId": 0}}, 2)
    stage.wait(4)
    assert stage.machine.state is State.LIVE
    assert ("error", "recovery failed: it took longer than 3 s") in stage.told()


def test_a_connection_lost_while_a_gap_is_filled_is_the_next_gap():
    stage = Stage("binance-spot", recover=True)
    stage.live()
    for link in (1, 2):
        stage.machine.closed(stage.now, link, 1006, "")
        stage.wait(1)
        stage.machine.opened(stage.now, link + 1)
        stage.say({"id": 0, "status": 200, "result": {"subscriptionId": 0}}, link + 1)
    assert [what for what, _ in stage.told()] == ["connected", "disconnected", "gap", "disconnected", "gap"]
    assert stage.machine.state is State.RECOVERING


def test_silence_is_a_failure():
    stage = Stage("binance-spot")
    stage.live()
    stage.machine.silent(stage.now, 1, "nothing received for 90 s")
    assert stage.told()[-1] == ("disconnected", "nothing received for 90 s")
    assert stage.machine.state is State.WAITING


def test_a_terminated_subscription_comes_back_on_the_same_connection():
    stage = Stage("binance-spot")
    stage.live()
    stage.say({"subscriptionId": 0, "event": {"e": "eventStreamTerminated", "E": 1}})
    assert stage.told()[-1][0] == "gap"
    frame = json.loads([one for one in stage.seen if isinstance(one, Send)][-1].payload)
    assert frame["method"] == "userDataStream.subscribe.signature"
    stage.say({"id": frame["id"], "status": 200, "result": {"subscriptionId": 1}})
    assert stage.told()[-1][0] == "reconnected"
    assert [(one.subscription_id, one.account) for one in stage.seen if isinstance(one, Route)] == [
        (0, 0), (0, None), (1, 0),
    ]  # fmt: skip


# ---- MARK: Before it ends ----


def handed_over(stage: Stage) -> None:
    """The second connection gets ready."""
    connect = stage.take(Connect)
    assert [one.link for one in connect] == [2]
    assert stage.machine.state is State.LIVE
    stage.machine.opened(stage.now, 2)
    assert [(one.first, one.second) for one in stage.take(Share)] == [(1, 2)]
    stage.say({"id": 0, "status": 200, "result": {"subscriptionId": 0}}, 2)
    assert not stage.take(Close)
    stage.wait(DRAIN)
    assert [one.link for one in stage.take(Close)] == [1]
    stage.wait(DRAIN)
    assert [(one.first, one.second) for one in stage.take(Share)] == [(2, None)]
    assert stage.told()[-1] == ("reconnected", "moved to a new connection without a gap")
    assert stage.machine.handovers == 1
    assert stage.machine.gaps == 0


def test_an_old_connection_stays_until_it_has_been_read():
    """And what the two bring is compared until the new one has been read, too."""
    stage = Stage("binance-spot")
    stage.live()
    stage.machine.handover(stage.now)
    stage.machine.opened(stage.now, 2)
    stage.say({"id": 0, "status": 200, "result": {"subscriptionId": 0}}, 2)
    stage.take()
    stage.is_behind = True
    for link, ends in ((1, lambda: [one.link for one in stage.take(Close)] == [1]),
                       (2, lambda: [(one.first, one.second) for one in stage.take(Share)] == [(2, None)])):  # fmt: skip
        stage.wait(3 * DRAIN)
        seen = stage.take()
        assert {one.link for one in seen if isinstance(one, CatchUp)} == {link}
        assert not [one for one in seen if isinstance(one, Close | Share)]
        stage.machine.handover(stage.now)
        assert not stage.take(Connect)
        stage.machine.caught_up(stage.now, link)
        assert ends()
    stage.machine.caught_up(stage.now, 1)  # which is gone
    stage.machine.caught_up(stage.now, 2)  # where nothing waits for it
    assert not stage.take()


def test_a_day_ends_without_a_gap():
    stage = Stage("binance-spot")
    stage.live()
    stage.wait(86_400 - 601)
    assert not stage.take(Connect)
    stage.wait(2)
    handed_over(stage)


def test_a_connection_that_is_due_before_it_is_live():
    """It moves on as soon as it is the one that counts."""
    stage = Stage("binance-spot", recover=True, recover_timeout=100_000)
    stage.live()
    stage.machine.closed(stage.now, 1, 1006, "")
    stage.wait(1)
    stage.machine.opened(stage.now, 2)
    stage.say({"id": 0, "status": 200, "result": {"subscriptionId": 0}}, 2)
    stage.take()
    stage.wait(90_000)
    assert stage.machine.state is State.RECOVERING
    assert not stage.take(Connect)
    stage.machine.recovered(stage.now, 2)
    stage.wait(0)
    assert [one.link for one in stage.take(Connect)] == [3]


def test_a_shutdown_that_is_announced_is_no_gap():
    stage = Stage("binance-spot")
    stage.live()
    stage.say({"event": {"e": "serverShutdown", "E": 1790000000000}})
    handed_over(stage)


def test_the_server_may_close_first():
    stage = Stage("binance-spot")
    stage.live()
    stage.say({"event": {"e": "serverShutdown", "E": 1790000000000}})
    stage.take()
    stage.machine.closed(stage.now, 1, 1001, "shutdown")  # before the next connection is ready
    assert stage.told()[-1][0] == "disconnected"
    stage.machine.opened(stage.now, 2)
    stage.say({"id": 0, "status": 200, "result": {"subscriptionId": 0}}, 2)
    assert [what for what, _ in stage.told()] == ["connected", "disconnected", "gap", "reconnected"]
    assert not stage.take(Connect)


def test_a_handover_that_fails_is_tried_again_while_the_stream_goes_on():
    stage = Stage("binance-spot")
    stage.live()
    stage.wait(86_400 - 600)
    stage.take()
    stage.machine.failed(stage.now, 2, "refused")
    assert stage.machine.state is State.LIVE
    assert stage.told()[-1] == ("error", "the next connection failed: cannot connect: refused")
    stage.wait(1)
    assert [one.link for one in stage.take(Connect)] == [3]


# ---- MARK: Listen keys ----


def futures(**more: Any) -> Stage:
    stage = Stage("binance-futures", accounts=[Key(API_KEY)], **more)
    stage.machine.start(stage.now)
    stage.machine.fetched(stage.now, ("create", 0), 200, b'{"listenKey":"LK-1"}', None)
    stage.machine.opened(stage.now, 1)
    stage.take()
    return stage


def test_a_listen_key_is_renewed_every_half_hour():
    stage = futures()
    for _ in range(5):
        stage.wait(1799)
        assert not stage.take(Fetch)
        stage.wait(1)
        assert [one.method for one in stage.take(Fetch)] == ["PUT"]
        stage.machine.fetched(stage.now, ("renew", 0), 200, b'{"listenKey":"LK-1"}', None)


def test_a_renewal_that_fails_is_told_and_tried_again():
    stage = futures()
    stage.wait(1800)
    stage.take()
    for _ in range(3):
        stage.machine.fetched(stage.now, ("renew", 0), 0, b"", "no answer within 10 s")
        assert stage.told()[-1] == ("error", "the listen key could not be renewed: no answer within 10 s")
        stage.wait(60)
        assert [one.tag for one in stage.seen if isinstance(one, Fetch)][-1] == ("renew", 0)
    assert stage.machine.state is State.LIVE


def test_a_key_that_is_never_renewed_is_replaced():
    stage = futures()
    stage.wait(3601)
    assert [one.tag[0] for one in stage.take(Fetch)][-1] == "create"
    assert stage.machine.state is State.LIVE  # until the new connection is there


@pytest.mark.parametrize("how", ["event", "renewal"])
def test_an_expired_key_means_a_new_one_a_new_connection_and_a_gap(how):
    stage = futures()
    if how == "event":
        # With blanks, and the time as a text, as it comes.
        stage.say(b'{"e": "listenKeyExpired","E": "1795716647064","listenKey": "LK-1"}')
    else:
        stage.wait(1800)
        stage.take()
        error = b'{"code":-1125,"msg":"This listenKey does not exist."}'
        stage.machine.fetched(stage.now, ("renew", 0), 400, error, None)
    assert "disconnected" in [what for what, _ in stage.told()]
    stage.wait(1)
    assert [one.tag for one in stage.take(Fetch)] == [("create", 0)]
    stage.machine.fetched(stage.now, ("create", 0), 200, b'{"listenKey":"LK-2"}', None)
    assert "LK-2" in stage.take(Connect)[-1].url
    stage.machine.opened(stage.now, 2)
    assert [what for what, _ in stage.told()][-2:] == ["gap", "reconnected"]


@pytest.mark.parametrize(("how", "current"), [("event", True), ("renewal", True), ("renewal", False)])
def test_what_gets_ready_by_a_dead_key_is_given_up(how, current):
    """It would open, and never deliver anything."""
    stage = futures()
    stage.wait(1800)
    if current:
        stage.machine.handover(stage.now)
    else:
        stage.machine.closed(stage.now, 1, 1006, "")
        stage.wait(1)
        stage.machine.fetched(stage.now, ("create", 0), 200, b'{"listenKey":"LK-1"}', None)
    assert [one.link for one in stage.take(Connect)] == [2]
    if how == "event":
        stage.say({"e": "listenKeyExpired", "E": 1, "listenKey": "LK-1"})
    else:
        error = b'{"code":-1125,"msg":"This listenKey does not exist."}'
        stage.machine.fetched(stage.now, ("renew", 0), 400, error, None)
    assert 2 in [one.link for one in stage.take(Close)]
    stage.wait(5)
    assert [one.tag for one in stage.take(Fetch)] == [("create", 0)]


def test_a_connection_that_comes_back_asks_for_its_key_again():
    """It may have ended meanwhile, and nobody was there to be told."""
    stage = futures()
    stage.machine.closed(stage.now, 1, 1006, "")
    stage.wait(1)
    assert [type(one) for one in stage.machine.out if isinstance(one, Fetch | Connect)] == [Fetch]
    stage.machine.fetched(stage.now, ("create", 0), 200, b'{"listenKey":"LK-2"}', None)
    assert "LK-2" in stage.one(Connect).url
    stage.machine.opened(stage.now, 2)
    assert stage.machine.state is State.LIVE
    stage.take()
    stage.wait(1800)
    assert [one.tag for one in stage.take(Fetch)] == [("renew", 0)]


@pytest.mark.parametrize(
    ("status", "body"), [(0, b""), (503, b""), (429, b'{"code":-1003,"msg":"too many"}'), (None, b"")]
)
def test_a_key_that_cannot_be_asked_for_again_is_better_than_none(status, body):
    stage = futures()
    stage.machine.closed(stage.now, 1, 1006, "")
    stage.wait(1)
    stage.take()
    if status is None:
        stage.wait(11)  # no answer at all
    else:
        stage.machine.fetched(stage.now, ("create", 0), status, body, None)
    assert "LK-1" in stage.one(Connect).url


def test_a_key_that_is_refused_when_it_is_asked_for_again_is_the_end():
    stage = futures()
    stage.machine.closed(stage.now, 1, 1006, "")
    stage.wait(1)
    stage.machine.fetched(stage.now, ("create", 0), 401, b'{"code":-2015,"msg":"Invalid API-key"}', None)
    assert stage.machine.state is State.CLOSED


def test_a_new_key_outlives_the_old_one():
    """The old one's end is told when the new one is there already, and on its way to a connection."""
    stage = futures()
    stage.wait(3600)
    stage.machine.fetched(stage.now, ("create", 0), 200, b'{"listenKey":"LK-2"}', None)
    assert stage.machine.scrub("from LK-1 to LK-2") == "from *** to ***"
    stage.say({"e": "listenKeyExpired", "E": 1, "listenKey": "LK-1"})
    assert "LK-2" in stage.take(Connect)[-1].url
    stage.machine.opened(stage.now, 2)
    assert stage.machine.state is State.LIVE
    stage.take()
    stage.wait(1800)
    assert [one.tag for one in stage.take(Fetch)] == [("renew", 0)]


def test_a_late_answer_with_another_key_changes_nothing():
    stage = Stage("openapi-broker", rest_url="http://rest")
    stage.machine.start(stage.now)
    stage.wait(11)
    assert [one.tag for one in stage.take(Fetch)] == [("create", 0)] * 2
    for key in (b"LK-1", b"LK-2"):
        stage.machine.fetched(stage.now, ("create", 0), 200, b'{"listenKey":"%b"}' % key, None)
    assert [one.url[-4:] for one in stage.take(Connect)] == ["LK-1"]
    stage.machine.opened(stage.now, 2)
    stage.wait(1800)
    assert "listenKey=LK-1&" in stage.one(Fetch).url


def with_tokens(variant: tuple[str, ...] = (), count: int = 1, *, ahead: int = 0, unit: int = 1) -> Stage:
    """A live session with tokens for a day, which end one after the other by the venue's clock (`ahead`, s)."""
    accounts = [Credentials(f"key-{n}", "s") for n in range(count)]
    stage = Stage("binance-spot", ("listen_token", *variant), accounts, rest_url="http://rest")
    stage.machine.start(stage.now)
    ends = [stage.wall() // 1_000_000 + (86_400 + ahead) * 1000 + 500 * n for n in range(count)]
    for n, end in enumerate(ends):
        body = json.dumps({"token": f"T-{n}", "expirationTime": end}).encode()
        stage.machine.fetched(stage.now, ("create", n), 200, body, None)
    stage.machine.opened(stage.now, 1)
    for n, (frame, end) in enumerate(zip(stage.sent(), ends, strict=True)):
        stage.say({"id": frame["id"], "status": 200, "result": {"subscriptionId": n, "expirationTime": end * unit}})
    assert stage.machine.state is State.LIVE
    stage.take()
    return stage


def test_tokens_that_end_one_after_the_other_are_replaced_together():
    stage = with_tokens(count=3)
    stage.wait(86_400 - 599)
    assert [one.tag for one in stage.take(Fetch)] == [("create", n) for n in range(3)]
    for n in range(3):
        stage.machine.fetched(stage.now, ("create", n), 200, b'{"token":"T-%d-again"}' % n, None)
    stage.machine.opened(stage.now, 2)
    assert [one["params"]["listenToken"] for one in stage.sent()] == [f"T-{n}-again" for n in range(3)]


@pytest.mark.parametrize(
    ("variant", "ahead", "unit"),
    [(("sbe",), 0, 1000), (("microseconds",), 0, 1000), ((), 1200, 1), ((), -90_000, 1)],
    ids=["sbe", "microseconds", "a clock that is slow", "a clock that is fast"],
)
def test_a_token_is_replaced_before_its_end_whatever_the_clock_says(variant, ahead, unit):
    stage = with_tokens(variant, ahead=ahead, unit=unit)
    stage.wait(86_400 - 601)
    assert not stage.take(Fetch)
    stage.wait(2)
    assert [one.tag for one in stage.take(Fetch)] == [("create", 0)]


def test_the_end_leaves_the_key_to_others_who_use_it():
    stage = futures()
    stage.machine.stop(stage.now)
    assert [type(one) for one in stage.take()] == [Close, Finish]


def test_the_end_deletes_the_key_if_asked_to():
    stage = futures(delete_keys=True)
    stage.machine.stop(stage.now)
    effects = stage.take()
    assert [type(one) for one in effects] == [Close, Fetch, Finish]
    assert effects[1].method == "DELETE"
    assert effects[2].code is None


# ---- MARK: Limits ----


def test_no_more_messages_a_second_than_allowed():
    """However long one of them was on its way: it counts until its answer is a second old."""
    channels = [{"instType": "SPOT", "channel": "orders", "instId": f"{'X' * 60}{n:04d}"} for n in range(800)]
    stage = Stage("bitget", channels=channels)
    stage.start()
    stage.machine.opened(stage.now, 1)
    stage.take()
    stage.say({"event": "login", "code": 0})

    def answer(frame):
        for arg in frame["args"]:
            stage.say({"event": "subscribe", "arg": arg})

    frames = stage.sent()
    assert len(frames) == 8  # and the login, and room for a heartbeat
    assert all(len(json.dumps(one["args"], separators=(",", ":"))) <= 4096 for one in frames)
    stage.wait(2)
    (ninth,) = stage.sent()  # the login is over
    stage.wait(2)
    assert stage.sent() == []  # the others may be about to arrive, all at once
    for one in (frames[0], frames[1]):
        answer(one)
        stage.wait(0.5)
    assert stage.sent() == []
    everything = [*frames, ninth]
    stage.wait(0.1)
    more = stage.sent()
    assert len(more) == 1
    for one in [*frames[2:], ninth, *more]:
        answer(one)
    for _ in range(5):
        everything += more
        stage.wait(1.1)
        more = stage.sent()
        assert len(more) <= 9
        for one in more:
            answer(one)
    assert stage.machine.state is State.LIVE
    assert sorted(arg["instId"] for one in everything for arg in one["args"]) == sorted(
        one["instId"] for one in channels
    )


def test_used_up_rate_limits_are_waited_for():
    accounts = [Credentials(f"key-{n}", "s") for n in range(3)]
    stage = Stage("binance-spot", accounts=accounts[:1])
    stage.live()
    limits = [{"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": 6000, "count": 5999}]
    stage.machine.request(stage.now, "status")
    (frame,) = stage.sent()
    stage.say({"id": frame["id"], "status": 200, "result": {"x": 1}, "rateLimits": limits})
    stage.machine.add_account(stage.now, accounts[1])
    assert stage.sent() == []
    stage.wait(1)
    assert len(stage.sent()) == 1


def test_a_thousand_accounts_on_a_connection():
    accounts = [Credentials(f"key-{n}", "s") for n in range(1000)]
    stage = Stage("binance-spot", accounts=accounts)
    stage.start()
    stage.machine.opened(stage.now, 1)
    frames = stage.sent()
    assert [one["params"]["apiKey"] for one in frames] == [one.api_key for one in accounts]
    assert stage.machine.room == 0
    for n, frame in enumerate(frames):
        assert stage.machine.state is State.SUBSCRIBING
        stage.say({"id": frame["id"], "status": 200, "result": {"subscriptionId": n}})
    assert stage.machine.state is State.LIVE
    assert [one.account for one in stage.take(Route)] == list(range(1000))


def test_ids_that_are_about_to_be_used_up_mean_a_new_connection():
    stage = Stage("binance-spot")
    stage.live()
    link = stage.machine._links[1]
    link.total = 65_534  # the next would be the last one
    stage.say({"subscriptionId": 0, "event": {"e": "eventStreamTerminated", "E": 1}})
    assert [one.link for one in stage.take(Connect)] == [2]


# ---- MARK: Users' requests ----


def test_requests_and_their_answers():
    stage = Stage("binance-spot")
    stage.live()
    numbers = [stage.machine.request(stage.now, name) for name in ("status", "subscriptions", "logout")]
    frames = stage.sent()
    assert [one["method"] for one in frames] == ["session.status", "session.subscriptions", "session.logout"]
    stage.say({"id": frames[1]["id"], "status": 200, "result": [{"subscriptionId": 0}, {"subscriptionId": 1}]})
    stage.say({"id": frames[0]["id"], "status": 400, "error": {"code": -1000, "msg": "no"}})
    stage.wait(11)
    replies = {one.request: one for one in stage.take(Reply)}
    assert json.loads(replies[numbers[1]].payload)["result"] == [{"subscriptionId": 0}, {"subscriptionId": 1}]
    assert (replies[numbers[0]].code, replies[numbers[0]].message) == ("-1000", "no")
    assert replies[numbers[2]].message == "no answer in time"
    with pytest.raises(KeyError):
        stage.machine.request(stage.now, "nonsense")


def test_requests_end_with_their_connection():
    stage = Stage("binance-spot")
    stage.live()
    stage.machine.request(stage.now, "status")
    stage.machine.closed(stage.now, 1, 1006, "")
    assert [one.message for one in stage.take(Reply)] == ["closed with code 1006"]
    with pytest.raises(ConnectionError):
        stage.machine.request(stage.now, "status")


def test_accounts_come_and_go():
    stage = Stage("binance-spot")
    stage.live()
    number = stage.machine.add_account(stage.now, Credentials("another-key", "s"))
    (frame,) = stage.sent()
    assert frame["params"]["apiKey"] == "another-key"
    stage.say({"id": frame["id"], "status": 200, "result": {"subscriptionId": 1}})
    stage.machine.remove_account(stage.now, number)
    (frame,) = stage.sent()
    assert (frame["method"], frame["params"]) == ("userDataStream.unsubscribe", {"subscriptionId": 1})
    stage.say({"subscriptionId": 1, "event": {"e": "eventStreamTerminated", "E": 1}})
    stage.say({"id": frame["id"], "status": 200, "result": {}})
    assert stage.machine.state is State.LIVE
    assert stage.machine.gaps == 0


def test_one_bad_account_of_many_does_not_end_the_others():
    stage = Stage("binance-spot")
    stage.live()
    stage.machine.add_account(stage.now, Credentials("another-key", "s"))
    (frame,) = stage.sent()
    stage.say({"id": frame["id"], "status": 401, "error": {"code": -2015, "msg": "Invalid API-key"}})
    assert stage.machine.state is State.LIVE
    tell = stage.take(Tell)[-1]
    assert (tell.account, tell.notice["code"]) == (1, "-2015")


def subscribed(number: int, subscription_id: int) -> dict[str, Any]:
    return {"id": number, "status": 200, "result": {"subscriptionId": subscription_id}}


def getting_ready(when: str) -> Stage:
    """A spot session that is subscribing, filling a gap, or moving to another connection."""
    stage = Stage("binance-spot", recover=True)
    if when == "subscribing":
        stage.start()
        stage.machine.opened(stage.now, 1)
    else:
        stage.live()
        if when == "handover":
            stage.machine.handover(stage.now)
        else:
            stage.machine.closed(stage.now, 1, 1006, "")
            stage.wait(1)
        stage.machine.opened(stage.now, 2)
        if when == "recovering":
            stage.say(subscribed(0, 0), 2)
            assert stage.machine.state is State.RECOVERING
    stage.take()
    return stage


@pytest.mark.parametrize(("when", "links"), [("subscribing", [1]), ("recovering", [2]), ("handover", [1, 2])])
def test_an_account_that_comes_while_a_connection_gets_ready(when, links):
    stage = getting_ready(when)
    number = stage.machine.add_account(stage.now, Credentials("another-key", "s"))
    frames = {one.link: json.loads(one.payload) for one in stage.take(Send)}
    assert sorted(frames) == links
    for link, frame in frames.items():
        assert frame["params"]["apiKey"] == "another-key"
        stage.say(subscribed(frame["id"], 7), link)
    assert [(one.link, one.account) for one in stage.take(Route)] == [(link, number) for link in links]


@pytest.mark.parametrize("when", ["subscribing", "recovering", "handover"])
def test_an_account_that_goes_before_it_is_subscribed(when):
    stage = getting_ready(when)
    number = stage.machine.add_account(stage.now, Credentials("another-key", "s"))
    frames = [(one.link, json.loads(one.payload)["id"]) for one in stage.take(Send)]
    assert frames
    stage.machine.remove_account(stage.now, number)
    for link, request in frames:
        stage.say(subscribed(request, 7), link)
        (send,) = stage.take(Send)
        assert (send.link, json.loads(send.payload)["params"]) == (link, {"subscriptionId": 7})
    assert not stage.take(Route)


def test_an_account_that_goes_before_it_is_asked_for(tmp_path):
    path = tmp_path / "acme.toml"
    path.write_text('name = "acme"\ninherits = "binance-spot"\n[session]\nmessages_per_second = 2\n')
    stage = Stage(str(path), accounts=[Credentials(f"key-{n}", "s") for n in range(3)])
    stage.start()
    stage.machine.opened(stage.now, 1)
    stage.machine.remove_account(stage.now, 2)
    for n in range(2):
        (frame,) = stage.sent()
        assert frame["params"]["apiKey"] == f"key-{n}"
        stage.say(subscribed(frame["id"], n))
        stage.wait(1.5)
    assert stage.machine.state is State.LIVE
    assert not stage.sent()


def test_an_account_that_comes_where_each_needs_a_token():
    """Its token is fetched, and then it is subscribed on the connection that is there."""
    stage = Stage("binance-spot", ("listen_token",), rest_url="http://rest")
    stage.machine.start(stage.now)
    stage.machine.add_account(stage.now, Credentials("another-key", "s"))
    assert [one.tag for one in stage.take(Fetch)] == [("create", 0), ("create", 1)]
    stage.machine.fetched(stage.now, ("create", 0), 200, b'{"token":"T-0"}', None)
    stage.machine.opened(stage.now, 1)
    assert [one["params"] for one in stage.sent()] == [{"listenToken": "T-0"}]
    stage.machine.fetched(stage.now, ("create", 1), 200, b'{"token":"T-1"}', None)
    assert [one["params"] for one in stage.sent()] == [{"listenToken": "T-1"}]
    for n in range(2):
        stage.say(subscribed(n, n))
    stage.machine.add_account(stage.now, Credentials("a-third-key", "s"))
    stage.machine.fetched(stage.now, ("create", 2), 401, b'{"code":-2015,"msg":"Invalid API-key"}', None)
    tell = stage.take(Tell)[-1]
    assert (tell.account, tell.notice["code"]) == (2, "-2015")


def test_a_channel_that_comes_while_the_others_are_subscribed():
    channels = [{"instType": "SPOT", "channel": name, "instId": "default"} for name in ("orders", "fill")]
    stage = Stage("bitget", channels=channels[:1])
    stage.start()
    stage.machine.opened(stage.now, 1)
    stage.say({"event": "login", "code": 0})
    stage.take()
    stage.machine.add_channels(stage.now, channels[1:])
    assert [one["args"] for one in stage.sent()] == [channels[1:]]
    stage.machine.remove_channels(stage.now, channels[:1])
    assert [(one["op"], one["args"]) for one in stage.sent()] == [("unsubscribe", channels[:1])]


def test_an_account_with_a_connection_of_its_own_takes_it_along():
    stage = futures()
    stage.machine.remove_account(stage.now, 0)
    assert [type(one) for one in stage.take()] == [Close, Finish]


# ---- MARK: Secrets ----


def test_no_secret_is_told():
    stage = Stage("binance-futures", accounts=[Key(API_KEY)])
    stage.machine.start(stage.now)
    stage.machine.fetched(stage.now, ("create", 0), 200, b'{"listenKey":"LISTENKEY-1"}', None)
    connect = stage.take(Connect)[0]
    stage.machine.failed(stage.now, 1, "no LISTENKEY-1 here, " + API_KEY)
    told = str(stage.told()) + repr(stage.seen) + repr(connect) + repr(stage.machine.accounts)
    assert "***" in told
    assert "LISTENKEY-1" not in told
    assert API_KEY not in told


# ---- MARK: Rules ----


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"ur": "wss://x"}, "unknown key 'ur'"),
        ({"url": "x"}, "url: must be a URL"),
        ({"timeout": -1}, "timeout: must be a number of seconds"),
        ({"timeout": True}, "timeout: must be a number of seconds"),
        ({"overlap": 1}, "overlap: must be true or false"),
        ({"subscriptions": 1.5}, "subscriptions: must be a count"),
        ({"errors": {"-1": "explode"}}, "errors.-1: must be one of fatal, retry"),
        ({"step": {}}, "step: must be an array of tables"),
        ({"step": [{"state": "live", "expect": "response"}]}, "step 1.state: must be one of"),
        ({"step": [{"state": "subscribing"}]}, "step 1: needs expect"),
        ({"step": [{"state": "subscribing", "expect": "response", "each": "channels", "send": "x"}]}, "go together"),
        ({"heartbeat": {"every": 0}}, "heartbeat: every must be above 0"),
        ({"heartbeat": {"send": "ping"}}, "heartbeat: needs every"),
        ({"key": {"create": {"method": "PATCH", "path": "/x"}}}, "key.create.method: must be one of"),
        ({"path": "/ws/{listen_key}"}, "there is no key to fetch"),
        ({"path": "/ws/{listenkey}"}, "unknown name {listenkey}"),
        ({"backoff": {"factor": 0.5}}, "backoff: factor must be at least 1"),
        ({"channels": {"keys": ["a", "b"], "all": ["x"]}}, "channels.all: channel 'x' is not of the form a/b"),
        ({"variant": {"v": {"tiemout": 1}}}, "variant.v: unknown key 'tiemout'"),
        ({"credentials": "password"}, "credentials: must be one of"),
    ],
)
def test_what_is_wrong_with_a_section(section, message):
    with pytest.raises(rules.RulesError) as caught:
        rules.check(section)
    assert message in str(caught.value)


def test_a_wrong_section_is_told_with_the_file(tmp_path):
    file = tmp_path / "acme.toml"
    file.write_text('name = "acme"\ninherits = "bitget"\n[session]\nheartbeat = { evry = 3 }\n', "utf-8")
    with pytest.raises(execwire.VenueError, match=r"acme.toml: session.heartbeat: unknown key 'evry'"):
        venues.load(file)


def test_a_white_label_writes_down_what_differs(tmp_path):
    file = tmp_path / "acme.toml"
    file.write_text(
        'name = "acme"\ninherits = "openapi-broker"\n[session]\nurl = "wss://ws.acme.example"\n'
        'rest_url = "https://api.acme.example"\noptions.key_header = "X-ACME-APIKEY"\n', "utf-8",
    )  # fmt: skip
    found = rules.parse(venues.load(file).session)
    assert (found.url, found.path) == ("wss://ws.acme.example", "/openapi/ws/{listen_key}")
    assert found.options["key_header"] == "X-ACME-APIKEY"
    assert found.key.every == 1800


def test_inherits_false(tmp_path):
    file = tmp_path / "acme.toml"
    file.write_text('name = "acme"\ninherits = "bitget"\n[session]\ninherits = false\nurl = "wss://a"\n', "utf-8")
    assert venues.load(file).session == {"url": "wss://a"}


@pytest.mark.parametrize("venue", venues.names())
def test_every_venue_has_a_session_and_every_variant_is_right(venue):
    section = venues.load(venue).session
    base = rules.parse(section)
    for name in base.variants:
        assert rules.parse(section, (name,)).path
    with pytest.raises(rules.RulesError, match="there is no 'nonsense'"):
        rules.parse(section, ("nonsense",))


def test_decoding_alone_imports_no_network_library():
    code = (
        "import sys, execwire; execwire.Decoder('binance-spot');"
        "print(sorted({'picows', 'aiohttp', 'uvloop', 'cryptography'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
