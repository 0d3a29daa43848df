"""Sessions without a socket: every venue's way to a live stream, and what goes wrong on it."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from stage import API_KEY, CREDENTIALS, PASSPHRASE, WALL, Stage, limits

import execwire
from execwire import rules, venues
from execwire.auth import Credentials, login_text, pairs
from execwire.sessions import Key
from execwire.sessions.effects import (
    Beat,
    Close,
    Connect,
    Fetch,
    Finish,
    Route,
)  # fmt: skip
from execwire.sessions.machine import State

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
    stage.ready(12)
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
        stage.ready(link + 1)
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
        raise OSError("the device is gone; it was asked with token=hidden")

    stage = Stage("binance-spot", accounts=[Credentials("k", signer=signer)])
    stage.start()
    stage.machine.opened(stage.now, 1)
    assert stage.take(Finish)[0].message == "cannot sign: OSError"
    stage = Stage("openapi-broker", accounts=[Credentials("k", signer=signer)])
    stage.machine.start(stage.now)
    assert stage.take(Finish)[0].message == "no listen key: cannot sign: OSError"


def test_a_missing_passphrase_is_told():
    stage = Stage("bitget", accounts=[Credentials("k", "s")])
    stage.start()
    stage.machine.opened(stage.now, 1)
    assert "needs a passphrase" in stage.take(Finish)[0].message


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
    used = limits(5999)
    stage.machine.request(stage.now, "status")
    (frame,) = stage.sent()
    stage.say({"id": frame["id"], "status": 200, "result": {"x": 1}, "rateLimits": used})
    stage.machine.add_account(stage.now, accounts[1])
    stage.machine.add_account(stage.now, accounts[2])
    assert stage.sent() == []
    stage.wait(60 - stage.wall() / 1e9 % 60)  # the minute is over, and a second more
    assert stage.sent() == []
    stage.wait(2)
    (frame,) = stage.sent()  # one finds out what there is room for
    used = limits(10)
    stage.say({"id": frame["id"], "status": 200, "result": {"subscriptionId": 1}} | {"rateLimits": used})
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
