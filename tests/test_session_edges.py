"""Sessions without a socket, where two things happen at once: a wrong clock, a break or a refusal in a handover."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from stage import API_KEY, Stage, futures, limits, subscribed

from execwire.auth import Credentials
from execwire.sessions import Key
from execwire.sessions.effects import Close, Connect, Fetch, Finish, Recover, Reply, Route, Send, Share, Tell
from execwire.sessions.machine import DRAIN, State

CLOCK = {"code": -1021, "msg": "Timestamp for this request is outside of the recvWindow."}


def moving(opened: bool = True, **more: Any) -> Stage:
    """A live spot session whose next connection is being opened, or subscribing."""
    stage = Stage("binance-spot", rest_url="http://rest", **more)
    stage.live()
    stage.machine.handover(stage.now)
    if opened:
        stage.machine.opened(stage.now, 2)
    stage.take()
    return stage


# ---- MARK: The clock ----


def test_a_clock_that_went_wrong_is_set_before_the_next_connection():
    stage = moving()
    stage.say({"id": 0, "status": 400, "error": CLOCK}, 2)
    fetch = stage.one(Fetch)
    assert fetch.url == "http://rest/api/v3/time"
    body = json.dumps({"serverTime": stage.wall() // 1_000_000 + 7000}).encode()
    stage.machine.fetched(stage.now, fetch.tag, 200, body, None)
    assert not stage.take(Connect)
    stage.wait(3 * DRAIN)
    stage.machine.opened(stage.now, 3)
    (frame,) = stage.sent()
    assert frame["params"]["timestamp"] == stage.wall() // 1_000_000 + 7000
    stage.say(subscribed(0, 0), 3)
    assert stage.machine.handovers == 1
    assert stage.machine.gaps == 0


def test_a_clock_that_went_wrong_is_set_before_the_next_renewal():
    stage = Stage("openapi-broker", rest_url="http://rest")
    stage.machine.start(stage.now)
    stage.machine.fetched(stage.now, ("create", 0), 200, b'{"listenKey":"LK"}', None)
    stage.machine.opened(stage.now, 1)
    stage.take()
    stage.wait(1800)
    stage.take()
    stage.machine.fetched(stage.now, ("renew", 0), 400, json.dumps(CLOCK).encode(), None)
    fetch = stage.one(Fetch)
    assert fetch.tag == ("clock", 0)
    body = json.dumps({"serverTime": stage.wall() // 1_000_000 + 7000}).encode()
    stage.machine.fetched(stage.now, fetch.tag, 200, body, None)
    stage.wait(60)
    assert f"timestamp={stage.wall() // 1_000_000 + 7000}" in stage.one(Fetch).url
    assert stage.machine.state is State.LIVE


def test_a_clock_that_is_told_late_opens_no_second_connection():
    stage = Stage("binance-spot", rest_url="http://rest")
    stage.start()
    stage.machine.opened(stage.now, 1)
    stage.say({"id": 0, "status": 400, "error": CLOCK})
    stage.wait(stage.rules.timeout + 1)
    assert [one.link for one in stage.take(Connect)] == [2]
    stage.machine.fetched(stage.now, ("clock", 0), 200, b'{"serverTime":1790000000000}', None)
    assert not stage.take(Connect)


def test_a_clock_that_is_told_in_time_opens_one_connection():
    stage = Stage("binance-spot", rest_url="http://rest")
    stage.start()
    stage.machine.opened(stage.now, 1)
    stage.say({"id": 0, "status": 400, "error": CLOCK})
    stage.take()
    stage.machine.fetched(stage.now, ("clock", 0), 200, b'{"serverTime":1790000000000}', None)
    stage.ready(2)
    stage.wait(60)
    assert [one.link for one in stage.take(Connect)] == [2]


def test_a_clock_that_goes_wrong_again_is_set_again():
    """However long the stream has lived by it, and on whatever connection."""
    stage = Stage("binance-spot", rest_url="http://rest")
    stage.start()
    stage.machine.opened(stage.now, 1)
    for link in (1, 3, 5):
        stage.say({"id": 0, "status": 400, "error": CLOCK}, link)
        assert stage.one(Fetch).tag == ("clock", 0)
        body = json.dumps({"serverTime": stage.wall() // 1_000_000 + link * 1000}).encode()
        stage.machine.fetched(stage.now, ("clock", 0), 200, body, None)
        stage.wait(5)
        stage.ready(link + 1)
        assert stage.machine.state is State.LIVE
        stage.wait(5)
        stage.machine.handover(stage.now)
        stage.machine.opened(stage.now, link + 2)
        stage.take()
    assert stage.machine.handovers == 2
    assert stage.machine.clock_offset == 5000


@pytest.mark.parametrize("waits", [False, True], ids=["for the clock", "for its turn"])
def test_a_session_that_was_closed_while_it_waits_stays_closed(waits):
    stage = Stage("binance-spot", rest_url="http://rest")
    stage.start()
    stage.machine.opened(stage.now, 1)
    error = {"code": -1003, "msg": "Too many requests"} if waits else CLOCK
    stage.say({"id": 0, "status": 400, "error": error})
    assert stage.machine.state is State.WAITING
    stage.machine.stop(stage.now)
    stage.take()
    stage.machine.fetched(stage.now, ("clock", 0), 200, b'{"serverTime":1790000000000}', None)
    stage.wait(600)
    assert not stage.take()
    assert stage.machine.state is State.CLOSED


# ---- MARK: Two connections ----


def test_a_handover_that_is_refused_for_too_many_requests_waits():
    stage = moving(opened=False)
    stage.machine.failed(stage.now, 2, "HTTP status 429", 429)
    stage.wait(29)
    assert not stage.take(Connect)
    stage.wait(2)
    assert stage.take(Connect)


def test_a_handover_that_fails_ends_the_comparing():
    stage = moving()
    stage.machine.silent(stage.now, 2, "nothing received for 90 s")
    assert not stage.take(Share)  # the other still brings what this one was quicker to
    stage.wait(DRAIN)
    assert [(one.first, one.second) for one in stage.take(Share)] == [(1, None)]


def test_a_handover_that_fails_before_it_is_open_ends_the_comparing_at_once():
    stage = moving(opened=False)
    stage.machine.failed(stage.now, 2, "refused")
    assert [(one.first, one.second) for one in stage.take(Share)] == [(1, None)]


def test_comparing_goes_on_while_records_are_held_back():
    """They are compared when they are delivered."""
    stage = moving(recover=True)
    stage.say(subscribed(0, 0), 2)
    stage.wait(DRAIN)
    stage.say({"subscriptionId": 0, "event": {"e": "eventStreamTerminated", "E": 1}}, 2)
    stage.say(subscribed(stage.sent()[-1]["id"], 1), 2)
    asked = stage.take(Recover)[0]
    stage.wait(4 * DRAIN)
    assert not [one for one in stage.seen if isinstance(one, Share) and one.second is None]
    stage.machine.recovered(stage.now, 2, asked.number)
    stage.wait(2 * DRAIN)
    assert [(one.first, one.second) for one in stage.take(Share)] == [(2, None)]


def test_a_shutdown_that_the_old_one_of_two_connections_announces():
    """It is about to be closed anyway."""
    stage = moving()
    stage.say(subscribed(0, 0), 2)
    stage.take()
    stage.say({"event": {"e": "serverShutdown", "E": 1790000000000}}, 1)
    stage.wait(10)
    assert not stage.take(Connect)


def test_an_end_that_comes_between_two_connections_closes_both():
    stage = futures()
    stage.machine.handover(stage.now)
    stage.machine.opened(stage.now, 2)
    stage.take()
    stage.machine.fetched(stage.now, ("renew", 0), 401, b'{"code":-2015,"msg":"Invalid API-key"}', None)
    assert stage.machine.state is State.CLOSED
    assert sorted(one.link for one in stage.take(Close)) == [1, 2]


def test_the_first_of_two_connections_breaks():
    """Then the second one's records are no more compared with what the first one brought."""
    stage = moving()
    stage.machine.closed(stage.now, 1, 1006, "")
    assert stage.machine.state is State.SUBSCRIBING
    stage.say(subscribed(0, 0), 2)
    assert stage.machine.state is State.LIVE
    assert not stage.take(Share)
    stage.wait(DRAIN)
    assert [(one.first, one.second) for one in stage.take(Share)] == [(2, None)]


@pytest.mark.parametrize("how", ["silent", "error"])
def test_the_old_one_of_two_connections_fails(how):
    """It is about to be closed anyway."""
    stage = moving()
    stage.say(subscribed(0, 0), 2)
    stage.take()
    told = stage.told()
    if how == "silent":
        stage.machine.silent(stage.now, 1, "nothing received for 90 s")
    else:
        stage.say({"id": None, "status": 400, "error": {"code": -1035, "msg": "logged out"}}, 1)
    stage.wait(10)
    assert not stage.take(Connect)
    assert stage.told() == told


@pytest.mark.parametrize("recover", [False, True])
@pytest.mark.parametrize("how", ["broke", "silent", "no answer", "closed", "read"])
def test_what_the_old_one_of_two_connections_may_not_have_brought(how, recover):
    """It was last heard of before the other one was live. Only a ping's answer comes behind what was sent since."""
    stage = moving(recover=recover)
    heard = stage.last_frames[1]
    stage.wait(3)
    stage.say(subscribed(0, 0), 2)
    live = stage.wall()
    stage.wait(0.5)
    before = len(stage.told())
    match how:
        case "broke":
            stage.machine.closed(stage.now, 1, 0, "")
        case "silent":
            stage.machine.silent(stage.now, 1, "nothing received for 90 s")
        case "no answer":
            stage.machine.caught_up(stage.now, 1, is_sure=False)
        case "closed":
            stage.machine.closed(stage.now, 1, 1001, "")
        case "read":
            stage.machine.caught_up(stage.now, 1)
    told = [what for what, _ in stage.told()[before:]]
    if how == "read":
        assert told == []
        assert stage.machine.gaps == 0
        return
    assert told == ["disconnected", "gap"] + ["reconnected"] * (not recover)
    gap = stage.gap()
    assert (gap["from"], gap["to"]) == (heard, live)
    if recover:
        asked = next(one for one in stage.seen if isinstance(one, Recover))
        assert (asked.link, asked.begin, asked.end) == (2, heard, live)
        assert stage.machine.state is State.RECOVERING
        stage.machine.recovered(stage.now, 2, asked.number)
    assert stage.machine.state is State.LIVE
    stage.take()
    stage.wait(3 * DRAIN)
    assert [(one.first, one.second) for one in stage.take(Share)] == [(2, None)]


def test_both_of_two_connections_break():
    """The gap begins where the first was last heard of."""
    stage = moving()
    heard = stage.last_frames[1]
    stage.wait(3)
    stage.say(subscribed(0, 0), 2)
    stage.machine.closed(stage.now, 2, 1001, "")
    stage.machine.closed(stage.now, 1, 0, "")
    stage.wait(1)
    stage.ready(3)
    gap = stage.gap()
    assert (gap["from"], gap["to"]) == (heard, stage.wall())


# ---- MARK: Requests and answers ----


def test_a_request_that_cannot_be_sent_is_its_own_failure():
    stage = Stage("binance-spot")
    stage.live()
    number = stage.machine.request(stage.now, "status", {"limit": Decimal(1)})
    reply = stage.one(Reply)
    assert (reply.request, reply.message) == (number, "cannot be sent: TypeError")
    assert stage.machine.state is State.LIVE


def test_an_answer_with_an_id_that_nobody_gave():
    """Bitget's unified account answers with ids of its own."""
    channels = [{"instType": "UTA", "topic": "nonsense"}, {"instType": "UTA", "topic": "order"}]
    stage = Stage("bitget", ("uta",), channels=channels)
    stage.start()
    stage.machine.opened(stage.now, 1)
    stage.say({"event": "login", "code": 0})
    stage.say({"event": "error", "id": 1666268894074, "code": "30001", "msg": "no such channel", "arg": channels[0]})
    stage.say({"event": "subscribe", "arg": channels[1]})
    assert stage.machine.state is State.LIVE


def test_an_answer_that_comes_too_late_is_nobody_elses():
    stage = Stage("binance-spot")
    stage.live()
    stage.machine.request(stage.now, "status")
    stage.wait(11)
    stage.machine.request(stage.now, "status")
    assert len(stage.take(Send)) == 2
    stage.take()
    stage.say({"id": 1, "status": 400, "error": {"code": -1000, "msg": "late"}})
    assert not stage.take(Reply)


# ---- MARK: Secrets ----


def test_a_signature_that_a_venue_repeats_is_not_told():
    stage = Stage("binance-spot")
    stage.start()
    stage.machine.opened(stage.now, 1)
    (frame,) = stage.sent()
    message = f"Illegal characters found in {frame['params']['signature']}"
    stage.say({"id": 0, "status": 400, "error": {"code": -9999, "msg": message}})
    assert stage.told() == [("error", "Illegal characters found in ***")]


def test_the_end_does_not_tell_the_key():
    stage = Stage("binance-futures", accounts=[Key(API_KEY)])
    stage.machine.start(stage.now)
    stage.machine.fetched(stage.now, ("create", 0), 200, b'{"listenKey":"LISTENKEY-1"}', None)
    stage.machine.failed(stage.now, 1, "400", 400, b'{"code":-1102,"msg":"LISTENKEY-1 is malformed"}')
    assert stage.take(Finish)[0].message == "cannot connect: *** is malformed"


def test_a_shutdown_that_is_announced_while_the_old_one_of_two_connections_is_read_to_its_end():
    """Also where the present one came by a handover itself."""
    stage = Stage("binance-spot")
    stage.live()
    for link in (2, 3):
        stage.machine.handover(stage.now)
        stage.ready(link)
        if link == 2:
            stage.wait(5)
    stage.take()
    stage.say({"event": {"e": "serverShutdown", "E": 1}}, 3)
    stage.wait(5)
    assert [one.link for one in stage.take(Connect)] == [4]


@pytest.mark.parametrize("recover", [False, True])
def test_both_go_where_the_new_one_of_two_connections_breaks(recover):
    """The next one is compared with neither, and one gap tells of all that they may not have brought."""
    stage = moving(recover=recover)
    heard = stage.last_frames[1]
    stage.wait(5)
    stage.say(subscribed(0, 0), 2)
    stage.wait(0.5)
    stage.take()
    stage.machine.closed(stage.now, 2, 1006, "")
    assert [one.link for one in stage.take(Close)] == [1]
    stage.wait(1)
    stage.ready(3)
    gap = stage.gap()
    assert (gap["from"], gap["to"]) == (heard, stage.wall())
    assert stage.machine.gaps == 1


def test_limits_that_are_used_up_give_no_answer_more_time():
    stage = Stage("binance-spot", accounts=[Credentials(f"key-{n}", "s") for n in range(3)])
    stage.start()
    stage.machine.rate_limits = limits(5999)
    stage.machine.opened(stage.now, 1)
    stage.wait(62)
    assert len(stage.sent()) == 1
    assert stage.told()[-1] == ("error", "no answer within 10 s while subscribing")


def test_a_shutdown_that_is_announced_while_a_gap_is_filled():
    stage = Stage("binance-spot", recover=True)
    stage.live()
    stage.machine.closed(stage.now, 1, 0, "")
    stage.wait(1)
    stage.ready(2)
    (asked,) = stage.take(Recover)
    stage.say({"event": {"e": "serverShutdown", "E": 1}}, 2)
    stage.wait(5)
    assert not stage.take(Connect)
    stage.machine.recovered(stage.now, 2, asked.number)
    stage.wait(2)
    assert [one.link for one in stage.take(Connect)] == [3]


def test_an_account_without_a_subscription_shares_the_gap_of_the_others():
    """The old one of two connections is cut short while the account is subscribed anew on the new one."""
    stage = two_accounts()
    stage.is_behind = True
    heard = stage.last_frames[1]
    stage.wait(5)
    stage.machine.handover(stage.now)
    stage.machine.opened(stage.now, 2)
    for n, frame in enumerate(stage.sent()):
        stage.say(subscribed(frame["id"], n), 2)
    stage.say({"subscriptionId": 1, "event": {"e": "eventStreamTerminated", "E": 1}}, 2)
    (request,) = stage.sent()
    stage.machine.closed(stage.now, 1, 1006, "")
    stage.say(subscribed(request["id"], 2), 2)
    stage.take()
    (own,) = (
        one.notice for one in stage.seen if isinstance(one, Tell) and one.notice["execwire"] == "gap" and one.account
    )
    assert (own["from"], own["to"]) == (heard, stage.wall())


def test_an_account_that_has_gone_is_told_nothing_by_its_old_subscriptions():
    stage = two_accounts()
    stage.say({"subscriptionId": 1, "event": {"e": "eventStreamTerminated", "E": 1}})
    (request,) = stage.sent()
    stage.say(subscribed(request["id"], 2))
    assert None not in [one.account for one in stage.take(Route)]
    stage.machine.remove_account(stage.now, 1)
    assert [(one.subscription_id, one.account) for one in stage.take(Route)] == [(1, None), (2, None)]


def test_a_handover_is_put_off_while_the_gap_of_one_account_is_filled():
    """The next connection would bring what comes later."""
    stage = two_accounts(recover=True)
    stage.say({"subscriptionId": 1, "event": {"e": "eventStreamTerminated", "E": 1}})
    (request,) = stage.sent()
    stage.machine.handover(stage.now)
    stage.machine.opened(stage.now, 2)
    stage.take()
    stage.say(subscribed(request["id"], 2))
    done = stage.take()
    (asked,) = (one for one in done if isinstance(one, Recover))
    assert [one.link for one in done if isinstance(one, Close)] == [2]
    stage.wait(5)
    assert not stage.take(Connect)
    stage.machine.recovered(stage.now, 1, asked.number)
    stage.wait(5)
    assert [one.link for one in stage.take(Connect)] == [3]


# ---- MARK: Late answers ----

ACTIVE = {"code": -2035, "msg": "User Data Stream subscription already active."}


def two_accounts(**more: Any) -> Stage:
    stage = Stage("binance-spot", accounts=[Credentials(f"key-{n}", "s") for n in range(2)], **more)
    stage.start()
    stage.machine.opened(stage.now, 1)
    for n, frame in enumerate(stage.sent()):
        stage.say(subscribed(frame["id"], n))
    assert stage.machine.state is State.LIVE
    stage.take()
    return stage


def again_and_late() -> tuple[Stage, int, list[dict[str, Any]]]:
    """A subscription that the venue has ended is asked for twice, as the first request was not answered in time."""
    stage = two_accounts()
    begin = stage.wall()
    stage.say({"subscriptionId": 1, "event": {"e": "eventStreamTerminated", "E": 1}})
    requests = stage.sent()
    stage.wait(11)
    requests += stage.sent()
    assert len(requests) == 2
    return stage, begin, requests


def test_an_answer_that_comes_late_counts():
    stage, begin, (first, second) = again_and_late()
    stage.say(subscribed(first["id"], 2))
    route = stage.one(Route)
    assert (route.subscription_id, route.account) == (2, 1)
    gap = stage.gap()
    assert (gap["from"], gap["to"]) == (begin, stage.wall())
    stage.say({"id": second["id"], "status": 400, "error": ACTIVE})
    stage.wait(100)
    assert not stage.take(Connect)


def test_an_answer_that_comes_before_the_next_attempt_makes_that_needless():
    stage = two_accounts()
    stage.say({"subscriptionId": 1, "event": {"e": "eventStreamTerminated", "E": 1}})
    (first,) = stage.sent()
    stage.wait(10)
    stage.say(subscribed(first["id"], 2))
    stage.wait(100)
    assert stage.sent() == []


def test_an_answer_that_comes_late_on_the_old_one_of_two_connections():
    """The account is asked for on the new one nevertheless."""
    stage = two_accounts()
    stage.say({"subscriptionId": 1, "event": {"e": "eventStreamTerminated", "E": 1}})
    (late,) = stage.sent()
    stage.machine.handover(stage.now)
    stage.machine.opened(stage.now, 2)
    first, second = stage.sent()
    stage.say(subscribed(first["id"], 0), 2)
    stage.say({"id": second["id"], "status": 400, "error": {"code": -1000, "msg": "not now"}}, 2)
    assert stage.machine.handovers == 1
    stage.say(subscribed(late["id"], 2))
    stage.wait(5)
    (again,) = stage.sent()
    stage.say(subscribed(again["id"], 1), 2)
    assert stage.take(Route)[-1].account == 1


def test_an_answer_that_comes_late_for_an_account_that_has_gone():
    stage, _, (first, _) = again_and_late()
    stage.machine.remove_account(stage.now, 1)
    stage.say(subscribed(first["id"], 2))
    assert [one["params"] for one in stage.sent()] == [{"subscriptionId": 2}]


def test_a_subscription_whose_number_nobody_knows_is_left_for_one_on_another_connection():
    """The first answer was lost, and the venue has what is asked for."""
    stage, begin, (_, second) = again_and_late()
    stage.say({"id": second["id"], "status": 400, "error": ACTIVE})
    assert [one.link for one in stage.take(Connect)] == [2]
    stage.machine.opened(stage.now, 2)
    for n, frame in enumerate(stage.sent()):
        stage.say(subscribed(frame["id"], n), 2)
    assert stage.machine.handovers == 1
    gap = stage.gap()
    assert (gap["from"], gap["to"]) == (begin, stage.wall())


def test_an_account_that_goes_and_comes_before_the_venue_has_answered():
    stage = Stage("binance-spot")
    stage.live()
    one = Credentials("key-1", "s")
    stage.machine.remove_account(stage.now, stage.machine.add_account(stage.now, one))
    stage.machine.add_account(stage.now, one)
    first, second = stage.sent()
    stage.say(subscribed(first["id"], 1))
    stage.say({"id": second["id"], "status": 400, "error": ACTIVE})
    assert [one.link for one in stage.take(Connect)] == [2]
    stage.machine.opened(stage.now, 2)
    assert len(stage.sent()) == 2
