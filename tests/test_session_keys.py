"""Sessions without a socket: listen keys and tokens, from the first call to the last."""

from __future__ import annotations

import json

import pytest
from stage import Stage, futures

from execwire.auth import Credentials
from execwire.sessions import Key
from execwire.sessions.effects import (
    Close,
    Connect,
    Fetch,
    Finish,
)  # fmt: skip
from execwire.sessions.machine import State


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


def test_a_renewal_that_is_refused_without_a_word_has_failed():
    stage = futures()
    stage.wait(1800)
    stage.take()
    stage.machine.fetched(stage.now, ("renew", 0), 400, b"", None)
    assert stage.told()[-1] == ("error", "the listen key could not be renewed: HTTP status 400")
    stage.wait(60)
    assert [one.tag for one in stage.take(Fetch)] == [("renew", 0)]


@pytest.mark.parametrize(("status", "new"), [(401, True), (404, True), (502, False)])
def test_a_key_that_a_venue_does_not_connect_is_replaced(status, new):
    stage = Stage("binance-futures", accounts=[Key("key")])
    stage.machine.start(stage.now)
    stage.machine.fetched(stage.now, ("create", 0), 200, b'{"listenKey":"LK-1"}', None)
    stage.machine.failed(stage.now, 1, "the handshake was refused", status)
    stage.take()
    stage.wait(1)
    assert [one.tag for one in stage.take(Fetch)] == [("create", 0)] * new


def test_a_key_that_is_never_renewed_is_replaced():
    stage = futures()
    stage.wait(3601)
    assert [one.tag[0] for one in stage.take(Fetch)][-1] == "create"
    assert stage.told()[-1] == ("error", "the listen key has not been renewed in time; a new one is fetched")
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


def test_a_token_that_ends_soon_is_replaced_soon():
    stage = Stage("binance-spot", ("listen_token",), rest_url="http://rest")
    stage.machine.start(stage.now)
    end = stage.wall() // 1_000_000 + 7_200_000
    stage.machine.fetched(stage.now, ("create", 0), 200, b'{"token":"T-1","expirationTime":%d}' % end, None)
    stage.machine.opened(stage.now, 1)
    stage.say({"id": stage.sent()[0]["id"], "status": 200, "result": {"subscriptionId": 0}})  # which does not say
    stage.wait(7_200 - 601)
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


def test_an_error_with_a_status_that_says_success():
    stage = Stage("binance-futures", accounts=[Key("another-key")])
    stage.machine.start(stage.now)
    stage.take()
    stage.machine.fetched(stage.now, ("create", 0), 200, b'{"code":-2015,"msg":"Invalid API-key"}', None)
    finish = stage.one(Finish)
    assert (finish.code, finish.message) == ("-2015", "no listen key: Invalid API-key")


def test_the_token_of_an_account_that_is_gone_ends_unnoticed():
    stage = with_tokens()
    number = stage.machine.add_account(stage.now, Credentials("another-key", "s"))
    end = stage.wall() // 1_000_000 + 7_200_000
    stage.machine.fetched(stage.now, ("create", number), 200, b'{"token":"T-9","expirationTime":%d}' % end, None)
    (frame,) = stage.sent()
    stage.say({"id": frame["id"], "status": 200, "result": {"subscriptionId": 9}})
    stage.machine.remove_account(stage.now, number)
    stage.take()
    stage.wait(7_200)
    assert not stage.take(Fetch | Connect)


def test_nobody_renews_a_key_after_the_end():
    stage = futures()
    stage.machine.stop(stage.now)
    stage.take()
    stage.wait(4000)
    assert not stage.take()
