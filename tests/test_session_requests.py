"""Sessions without a socket: what users ask for while they run."""

from __future__ import annotations

import json

import pytest
from stage import API_KEY, Stage, futures, limits, subscribed

from execwire.auth import Credentials
from execwire.sessions.effects import (
    Close,
    Connect,
    Fetch,
    Finish,
    Reply,
    Route,
    Send,
    Tell,
)  # fmt: skip
from execwire.sessions.machine import State


def test_a_pause_for_a_rate_limit_is_none_of_the_time_that_an_answer_may_take(tmp_path):
    path = tmp_path / "acme.toml"
    path.write_text('name = "acme"\ninherits = "binance-spot"\n[session]\nmessages_per_second = 2\n')
    stage = Stage(str(path), accounts=[Credentials(f"key-{n}", "s") for n in range(2)])
    stage.start()
    stage.machine.opened(stage.now, 1)
    (frame,) = stage.sent()
    stage.wait(9.5)
    stage.say(subscribed(frame["id"], 0))
    stage.wait(9.5)
    (frame,) = stage.sent()
    stage.say(subscribed(frame["id"], 1))
    assert stage.machine.state is State.LIVE


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


def test_what_the_user_ends_is_not_subscribed_again():
    """But what is subscribed after that is, and everything after a reconnect."""
    stage = Stage("binance-spot")
    stage.live()
    ended = {"e": "eventStreamTerminated", "E": 1}
    stage.machine.request(stage.now, "unsubscribe_all")
    (frame,) = stage.sent()
    stage.say({"subscriptionId": 0, "event": ended})
    stage.say({"id": frame["id"], "status": 200, "result": {}})
    assert stage.sent() == []
    assert stage.told()[-1] == ("disconnected", "the subscription has ended, as was asked for")
    stage.machine.add_account(stage.now, Credentials("another-key", "s"))
    (frame,) = stage.sent()
    stage.say(subscribed(frame["id"], 1))
    stage.say({"subscriptionId": 1, "event": ended})
    (frame,) = stage.sent()
    assert frame["params"]["apiKey"] == "another-key"
    stage.machine.closed(stage.now, 1, 1006, "")
    stage.wait(1)
    stage.machine.opened(stage.now, 2)
    assert [one["params"]["apiKey"] for one in stage.sent()] == [API_KEY, "another-key"]


@pytest.mark.parametrize("name", ["unsubscribe_all", "logout"])
def test_what_the_user_could_not_end_is_subscribed_again(name):
    stage = Stage("binance-spot")
    stage.live()
    stage.machine.request(stage.now, name)
    (frame,) = stage.sent()
    stage.say({"id": frame["id"], "status": 400, "error": {"code": -1001, "msg": "not now"}})
    stage.say({"subscriptionId": 0, "event": {"e": "eventStreamTerminated", "E": 1}})
    assert len(stage.sent()) == 1


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


def test_accounts_that_are_gone_leave_room_for_others(tmp_path):
    path = tmp_path / "acme.toml"
    path.write_text('name = "acme"\ninherits = "binance-spot"\n[session]\nsubscriptions = 2\n')
    stage = Stage(str(path))
    stage.live()
    for _ in range(3):
        assert stage.machine.room == 1
        number = stage.machine.add_account(stage.now, Credentials("another-key", "s"))
        assert stage.machine.room == 0
        stage.machine.remove_account(stage.now, number)


def test_subscribing_may_take_longer_than_one_answer(tmp_path):
    """Each request has the time that an answer may take."""
    path = tmp_path / "acme.toml"
    path.write_text('name = "acme"\ninherits = "binance-spot"\n[session]\nmessages_per_second = 2\n')
    stage = Stage(str(path), accounts=[Credentials(f"key-{n}", "s") for n in range(20)])
    stage.start()
    stage.machine.opened(stage.now, 1)
    for n in range(20):
        (frame,) = stage.sent()
        stage.wait(stage.rules.timeout / 2)
        stage.say(subscribed(frame["id"], n))
        stage.wait(1.5)
    assert stage.machine.state is State.LIVE


def test_an_id_that_no_stream_can_have():
    stage = Stage("binance-spot")
    stage.start()
    stage.machine.opened(stage.now, 1)
    stage.say(subscribed(0, 1 << 16))
    assert stage.machine.state is State.LIVE
    assert not stage.take(Route)


def test_requests_that_wait_for_their_turn_end_with_their_connection(tmp_path):
    path = tmp_path / "acme.toml"
    path.write_text('name = "acme"\ninherits = "binance-spot"\n[session]\nmessages_per_second = 2\n')
    stage = Stage(str(path))
    stage.live()
    stage.wait(2)
    numbers = [stage.machine.request(stage.now, "status") for _ in range(3)]
    assert len(stage.sent()) == 1
    stage.machine.closed(stage.now, 1, 1006, "")
    assert [one.request for one in stage.take(Reply)] == numbers


def getting_ready(when: str) -> Stage:
    """A spot session that is subscribing, filling a gap, moving to another connection, or has just moved there."""
    stage = Stage("binance-spot", recover=True)
    if when == "subscribing":
        stage.start()
        stage.machine.opened(stage.now, 1)
    else:
        stage.live()
        if when in ("handover", "draining"):
            stage.machine.handover(stage.now)
        else:
            stage.machine.closed(stage.now, 1, 1006, "")
            stage.wait(1)
        stage.machine.opened(stage.now, 2)
        if when == "recovering":
            stage.say(subscribed(0, 0), 2)
            assert stage.machine.state is State.RECOVERING
        elif when == "draining":
            stage.say(subscribed(0, 0), 2)
            assert stage.machine.handovers == 1
    stage.take()
    return stage


@pytest.mark.parametrize(
    ("when", "links", "times"),
    [("subscribing", [1], 0), ("recovering", [2], 0), ("handover", [1, 2], 1), ("draining", [2], 1)],
)
def test_an_account_that_comes_while_a_connection_gets_ready(when, links, times):
    """It is told that it is there if the others were told before."""
    stage = getting_ready(when)
    number = stage.machine.add_account(stage.now, Credentials("another-key", "s"))
    frames = {one.link: json.loads(one.payload) for one in stage.take(Send)}
    assert sorted(frames) == links
    for link, frame in frames.items():
        assert frame["params"]["apiKey"] == "another-key"
        stage.say(subscribed(frame["id"], 7), link)
    effects = stage.take()
    assert [(one.link, one.account) for one in effects if isinstance(one, Route)] == [(link, number) for link in links]
    told = [one.notice["execwire"] for one in effects if isinstance(one, Tell) and one.account == number]
    assert told == ["reconnected"] * times


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


def test_a_channel_that_is_gone_stays_away():
    """On the next connection, too."""
    channels = [{"instType": "SPOT", "channel": name, "instId": "default"} for name in ("orders", "fill")]
    stage = Stage("bitget", channels=channels)
    stage.start()
    for link in (1, 2):
        stage.machine.opened(stage.now, link)
        stage.take()
        stage.say({"event": "login", "code": 0}, link)
        (frame,) = stage.sent()
        assert frame["args"] == channels[link - 1 :]
        for channel in frame["args"]:
            stage.say({"event": "subscribe", "arg": channel}, link)
        assert stage.machine.state is State.LIVE
        stage.machine.remove_channels(stage.now, channels[:1])
        stage.machine.closed(stage.now, link, 1006, "")
        stage.wait(1)


def test_an_account_with_a_connection_of_its_own_takes_it_along():
    stage = futures()
    stage.machine.remove_account(stage.now, 0)
    assert [type(one) for one in stage.take()] == [Close, Finish]


# ---- MARK: Refusals ----


def test_a_channel_that_a_venue_does_not_have_is_told_and_costs_nothing_else():
    stage = Stage("bitget", channels=[{"instType": "SPOT", "channel": "no-such", "instId": "default"}])
    stage.start()
    stage.machine.opened(stage.now, 1)
    stage.say({"event": "login", "code": 0})
    stage.say({"event": "error", "code": 30001, "msg": "Channel does not exist"})
    assert [one[0] for one in stage.told()] == ["error", "connected"]
    assert "Channel does not exist" in stage.told()[0][1]
    assert stage.machine.state is State.LIVE


@pytest.mark.parametrize("last", [{"event": "subscribe"}, {"event": "error", "code": 30001, "msg": "no"}])
def test_a_session_is_live_when_all_channels_have_their_answer(last):
    channels = [{"instType": "SPOT", "channel": name, "instId": "default"} for name in ("orders", "fill", "account")]
    stage = Stage("bitget", channels=channels)
    stage.start()
    stage.machine.opened(stage.now, 1)
    stage.say({"event": "login", "code": 0})
    for channel in channels[:2]:
        stage.say({"event": "subscribe", "arg": channel})
        assert not stage.told()
    stage.say(last | {"arg": channels[2]})
    assert stage.machine.state is State.LIVE


def test_channels_that_nobody_subscribed_to_are_not_asked_to_end():
    stage = Stage("bitget", channels=[{"instType": "SPOT", "channel": "orders", "instId": "default"}])
    stage.start()
    stage.machine.opened(stage.now, 1)
    stage.say({"event": "login", "code": 0})
    stage.take()
    stage.machine.remove_channels(stage.now, [{"instType": "SPOT", "channel": "fill", "instId": "default"}])
    assert not stage.take(Send)


def test_an_error_that_nobody_asked_for_ends_the_connection_if_it_means_that():
    stage = Stage("bitget")
    stage.start()
    stage.machine.opened(stage.now, 1)
    stage.say({"event": "login", "code": 0})
    for frame in stage.sent():
        for arg in frame["args"]:
            stage.say({"event": "subscribe", "arg": arg})
    assert stage.machine.state is State.LIVE
    stage.say({"event": "error", "code": 30001, "msg": "Channel does not exist"})  # of no consequence
    assert stage.machine.state is State.LIVE
    stage.say({"event": "error", "code": 30004, "msg": "User needs to log in"})
    assert stage.told()[-1] == ("disconnected", "User needs to log in")
    stage.wait(1)
    assert len(stage.take(Connect)) == 1


def test_an_unsubscription_that_is_refused_leaves_the_session_alone():
    stage = Stage("binance-spot")
    stage.live()
    number = stage.machine.add_account(stage.now, Credentials("another-key", "s"))
    (frame,) = stage.sent()
    stage.say(subscribed(frame["id"], 2))
    stage.machine.remove_account(stage.now, number)
    (frame,) = stage.sent()
    stage.say({"id": frame["id"], "status": 400, "error": {"code": -1100, "msg": "Illegal characters"}})
    notice = stage.take(Tell)[-1].notice
    assert (notice["execwire"], notice["message"], notice["code"]) == ("error", "Illegal characters", "-1100")
    assert stage.machine.state is State.LIVE


@pytest.mark.parametrize(("status", "ends"), [(410, True), (400, False)])
def test_the_status_of_an_answer_counts_where_its_code_says_nothing(status, ends):
    stage = Stage("binance-spot")
    stage.start()
    stage.machine.opened(stage.now, 1)
    (frame,) = stage.sent()
    stage.say({"id": frame["id"], "status": status, "error": {"code": -9999, "msg": "Gone"}})
    assert (stage.machine.state is State.CLOSED) == ends
    assert any(isinstance(one, Finish) for one in stage.take()) == ends


def test_a_stream_that_the_venue_ends_is_a_gap_but_not_where_nothing_is_subscribed():
    ended = {"event": {"e": "eventStreamTerminated", "E": 1}}
    stage = Stage("binance-spot")
    stage.live()
    stage.machine.remove_account(stage.now, 0)
    stage.say({"subscriptionId": 0, "event": {"e": "eventStreamTerminated", "E": 1}})
    stage.say(ended)
    assert stage.machine.state is State.LIVE
    stage = Stage("binance-spot")
    stage.live()
    stage.say(ended)
    assert stage.told()[-1] == ("disconnected", "the venue ended the stream")


def test_a_logout_that_cannot_be_sent_ends_nothing():
    stage = Stage("binance-spot")
    stage.live()
    stage.machine.request(stage.now, "logout", {"x": object()})
    assert stage.one(Reply).message == "cannot be sent: TypeError"
    stage.say({"subscriptionId": 0, "event": {"e": "eventStreamTerminated", "E": 1}})
    assert len(stage.sent()) == 1


@pytest.mark.parametrize("code", [40014, 40009], ids=["unknown", "fatal"])
def test_a_channel_that_is_refused_is_left_out(code):
    right, wrong = ({"instType": "SPOT", "channel": name, "instId": "default"} for name in ("orders", "ordres"))
    stage = Stage("bitget", channels=[right])
    stage.start()

    def opened(link: int) -> None:
        stage.machine.opened(stage.now, link)
        stage.say({"event": "login", "code": 0}, link)
        assert stage.sent()[-1]["args"] == [right]
        stage.say({"event": "subscribe", "arg": right}, link)
        assert stage.machine.state is State.LIVE

    opened(1)
    stage.machine.add_channels(stage.now, [wrong])
    stage.take()
    stage.say({"event": "error", "code": code, "msg": "not for you"})
    assert stage.machine.state is State.LIVE
    assert stage.told()[-1] == ("error", "not for you")
    stage.machine.closed(stage.now, 1, 1006, "")
    stage.wait(10)
    opened(2)


def test_what_is_on_its_way_takes_room_of_a_rate_limit():
    stage = Stage("binance-spot", accounts=[Credentials(f"key-{n}", "s") for n in range(300)])
    stage.start()
    stage.machine.rate_limits = limits(5900)
    stage.machine.opened(stage.now, 1)
    assert len(stage.sent()) == 49
