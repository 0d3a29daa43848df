"""Several accounts in a session: what happens to one of them does not happen to the others."""

# ruff: noqa: SIM117 - first the exchange, then what talks to it

from __future__ import annotations

import asyncio
import hashlib
import hmac

import pytest
from sessions import CREDENTIALS, SECRET, events, exchange, is_data, run, session
from stage import Stage, subscribed
from test_session_handlers import Mine, many

from execwire.auth import Credentials
from execwire.sessions import Account, Key, SessionError
from execwire.sessions.effects import Close, Connect, Fetch, Finish, Hold, Recover, Release, Send
from execwire.sessions.machine import State

WRONG = {"error": {"code": -2015, "msg": "Invalid API-key, IP, or permissions for action."}, "status": 401}
BUSY = {"error": {"code": -1001, "msg": "Internal error; unable to process your request."}, "status": 500}
MANY = {"error": {"code": -1003, "msg": "Too many requests."}, "status": 429}


def three(**more) -> Stage:
    """A spot session of three accounts, about to subscribe them."""
    stage = Stage("binance-spot", accounts=[Credentials(f"key-{n}", "secret-of-tests") for n in range(3)], **more)
    stage.start()
    stage.machine.opened(stage.now, 1)
    return stage


def live(**more) -> Stage:
    stage = three(**more)
    answer(stage, {})
    assert stage.machine.state is State.LIVE
    stage.seen.clear()
    return stage


def answer(stage: Stage, errors: dict[int, dict], link: int = 1) -> list[int]:
    """Answer what was asked for on a link: an error for some accounts. Whose requests these were."""
    accounts = []
    for effect in stage.take(Send):
        (n,) = [n for n in range(3) if b'"key-%d"' % n in effect.payload]
        number = int(effect.payload.partition(b'"id":')[2].partition(b",")[0].strip(b'"'))
        accounts.append(n)
        stage.say({"id": number, **errors[n]} if n in errors else subscribed(number, 10 * link + n), link)
    stage.take()
    return accounts


def again(stage: Stage, link: int = 2) -> None:
    """The connection breaks, and the next one is opened."""
    stage.machine.closed(stage.now, link - 1, 1006, "")
    stage.wait(stage.machine.next_deadline() - stage.now)
    stage.machine.opened(stage.now, link)


# ---- MARK: Refused ----


def test_who_begins_with_a_wrong_key_gets_an_error():
    stage = three()
    answer(stage, {1: WRONG})
    assert [one.code for one in stage.seen if isinstance(one, Finish)] == ["-2015"]


def test_a_key_that_is_withdrawn_ends_its_own_stream():
    stage = live()
    again(stage)
    assert answer(stage, {1: WRONG}, 2) == [0, 1, 2]
    assert stage.machine.state is State.LIVE
    assert [(what, text[:7]) for what, text in stage.told()] == [
        ("disconnected", "closed "), ("error", "Invalid"), ("gap", "no stre"), ("reconnected", "the str"),
    ]  # fmt: skip
    again(stage, 3)
    assert answer(stage, {}, 3) == [0, 2]
    assert stage.machine.state is State.LIVE


def test_the_last_account_that_is_refused_ends_the_session():
    stage = live()
    for link, gone in (2, 0), (3, 1):
        again(stage, link)
        answer(stage, {gone: WRONG}, link)
        assert stage.machine.state is State.LIVE
    again(stage, 4)
    assert answer(stage, {2: WRONG}, 4) == [2]
    assert [one.code for one in stage.seen if isinstance(one, Finish)] == ["-2015"]


@pytest.mark.parametrize("is_first", [True, False])
def test_an_account_that_the_venue_cannot_serve_now_is_asked_for_again(is_first):
    """The others go on; what it misses, and only that, is a gap of its own."""
    stage = three(recover=True) if is_first else live(recover=True)
    link = 1
    lost = stage.wall()
    if not is_first:
        again(stage, link := 2)
    answer(stage, {1: BUSY}, link)
    if not is_first:
        (asked,) = [one for one in stage.seen if isinstance(one, Recover)]
        stage.machine.recovered(stage.now, link, asked.number)
    assert stage.machine.state is State.LIVE
    for _ in range(3):
        assert stage.take(Send) == []
        stage.wait(stage.machine.next_deadline() - stage.now)
        assert answer(stage, {1: BUSY}, link) == [1]
    stage.wait(stage.machine.next_deadline() - stage.now)
    stage.seen.clear()
    assert answer(stage, {}, link) == [1]
    what = [what for what, _ in stage.told()]
    if is_first:
        assert what == ["reconnected"]  # it had no stream before
        return
    assert what == ["gap", "reconnected"]
    assert (stage.gap()["from"], stage.gap()["to"]) == (lost, stage.wall())
    kinds = [type(one) for one in stage.seen if isinstance(one, Hold | Recover | Release)]
    assert kinds == [Hold, Recover]
    number = next(one.number for one in stage.seen if isinstance(one, Recover))
    stage.machine.recovered(stage.now, link, number)
    assert [type(one) for one in stage.take()] == [Release]
    assert stage.machine.state is State.LIVE


def test_a_venue_that_serves_nobody_is_no_stream():
    stage = three()
    answer(stage, dict.fromkeys(range(3), BUSY))
    assert stage.machine.state is State.WAITING
    assert not stage.machine.was_live


def test_a_venue_that_has_had_enough_is_not_asked_for_the_others():
    stage = live()
    again(stage)
    stage.machine.rate_limits = ()
    answer(stage, {0: MANY}, 2)
    assert stage.machine.state is State.WAITING
    assert not stage.take(Connect)
    stage.wait(29)
    assert not stage.take(Connect)


def test_a_new_connection_that_one_account_cannot_have_is_not_moved_to():
    stage = live()
    stage.machine.handover(stage.now)
    stage.machine.opened(stage.now, 2)
    answer(stage, {1: BUSY}, 2)
    assert [one.link for one in stage.seen if isinstance(one, Close)] == [2]
    assert stage.told()[-1][0] == "error"
    assert stage.machine.handovers == 0
    assert stage.machine.state is State.LIVE
    stage.wait(3)
    assert [one.link for one in stage.take(Connect)] == [3]


# ---- MARK: Ended by the venue ----


def terminated(subscription_id: int) -> dict:
    return {"subscriptionId": subscription_id, "event": {"e": "eventStreamTerminated", "E": 1}}


def test_what_the_others_bring_waits_while_the_gap_of_one_is_filled():
    stage = live(recover=True)
    stage.say(terminated(11))
    stage.now += 2
    assert answer(stage, {}) == [1]
    (asked,) = [one for one in stage.seen if isinstance(one, Recover)]
    assert asked.end - asked.begin == 2_000_000_000
    stage.say(terminated(12))
    stage.now += 1
    assert answer(stage, {}) == [2]
    other = [one for one in stage.seen if isinstance(one, Recover)][-1]
    assert stage.machine.state is State.LIVE
    stage.machine.recovered(stage.now, 1, asked.number)
    assert not stage.take(Release)
    stage.machine.recovered(stage.now, 1, asked.number)  # twice is once
    assert not stage.take(Release)
    stage.machine.recovered(stage.now, 1, other.number)
    assert len(stage.take(Release)) == 1


def test_a_gap_of_one_that_takes_too_long_to_fill():
    stage = live(recover=True, recover_timeout=3)
    stage.say(terminated(11))
    answer(stage, {})
    stage.wait(3)
    assert [type(one) for one in stage.take() if isinstance(one, Release)] == [Release]
    assert stage.told()[-1] == ("error", "recovery failed: it took longer than 3 s")
    assert stage.machine.state is State.LIVE


def test_a_subscription_that_ends_before_the_stream_is_live():
    stage = live()
    again(stage)
    sent = stage.take(Send)
    for n, effect in enumerate(sent[:2]):
        assert b'"key-%d"' % n in effect.payload
        stage.say(subscribed(n, 20 + n), 2)
    stage.say(terminated(20), 2)
    (effect,) = stage.take(Send)
    assert b'"key-0"' in effect.payload
    stage.say(subscribed(2, 22), 2)
    assert stage.machine.state is State.LIVE
    stage.say(subscribed(3, 23), 2)
    assert [what for what, _ in stage.told()] == [
        "disconnected", "disconnected", "gap", "reconnected", "gap", "reconnected",
    ]  # fmt: skip


def test_a_connection_that_breaks_before_a_subscription_is_back():
    """One gap, from when the first of them had nothing."""
    stage = live()
    lost = stage.wall()
    stage.say(terminated(11))
    stage.wait(2)
    again(stage)
    answer(stage, {}, 2)
    assert (stage.gap()["from"], stage.gap()["to"]) == (lost, stage.wall())


# ---- MARK: Tokens ----


def margin(count: int = 2, **more) -> Stage:
    accounts = [Key(f"key-{n}") for n in range(count)]
    stage = Stage("binance-spot", ("listen_token",), accounts=accounts, **more)
    stage.machine.start(stage.now)
    for n in range(count):
        token(stage, n)
    (connect,) = stage.take(Connect)
    stage.machine.opened(stage.now, connect.link)
    for n, effect in enumerate(stage.take(Send)):
        assert b'"token-%d"' % n in effect.payload
        stage.say(subscribed(n, n))
    assert stage.machine.state is State.LIVE
    stage.take()
    stage.seen.clear()
    return stage


def token(stage: Stage, account: int) -> None:
    body = b'{"token":"token-%d","expirationTime":%d}' % (account, stage.wall() // 1_000_000 + 86_400_000)
    stage.machine.fetched(stage.now, ("create", account), 200, body, None)


def test_the_token_of_an_account_that_came_later_is_asked_for_until_it_is_there():
    stage = margin()
    stage.machine.add_account(stage.now, Key("key-2"))
    for _ in range(3):
        assert [one.tag for one in stage.take(Fetch)] == [("create", 2)]
        stage.machine.fetched(stage.now, ("create", 2), 0, b"", "no answer within 10 s")
        assert stage.told()[-1] == ("error", "no listen key: no answer within 10 s")
        assert not stage.take(Fetch)
        stage.wait(stage.machine.next_deadline() - stage.now)
    token(stage, 2)
    assert b'"token-2"' in stage.one(Send).payload
    assert stage.machine.state is State.LIVE


def test_a_token_that_is_refused_is_not_asked_for_again():
    stage = margin()
    stage.machine.add_account(stage.now, Key("key-2"))
    stage.machine.fetched(stage.now, ("create", 2), 401, b'{"code":-2015,"msg":"Invalid API-key"}', None)
    assert stage.told()[-1] == ("error", "no listen key: Invalid API-key")
    stage.take()
    stage.wait(3600)
    assert not stage.take(Fetch)
    assert stage.machine.state is State.LIVE


def test_an_account_whose_subscription_ended_gets_a_new_token():
    stage = margin()
    stage.say(terminated(1))
    assert [one.tag for one in stage.take(Fetch)] == [("create", 1)]
    assert not [one for one in stage.seen if isinstance(one, Close)]
    token(stage, 1)
    assert b'"token-1"' in stage.one(Send).payload


@pytest.mark.parametrize("answer", [(401, b'{"code":-2015,"msg":"Invalid"}'), (200, b'{"token":"token-1"}'), None])
def test_an_account_that_goes_while_its_token_is_fetched(answer):
    """Whatever the answer is, and whether there is one, it is nobody's."""
    stage = Stage("binance-spot", ("listen_token",), accounts=[Key("key-0"), Key("key-1")])
    stage.machine.start(stage.now)
    stage.machine.remove_account(stage.now, 1)
    if answer is not None:
        stage.machine.fetched(stage.now, ("create", 1), *answer, None)
    token(stage, 0)
    stage.machine.opened(stage.now, stage.one(Connect).link)
    assert b'"token-0"' in stage.one(Send).payload
    stage.say(subscribed(0, 0))
    assert stage.told() == [("connected", "the stream is live")]


def test_the_only_account_that_gets_no_token_any_more():
    stage = margin(1)
    stage.say(terminated(0))
    stage.machine.fetched(stage.now, ("create", 0), 0, b"", "no answer within 10 s")
    assert stage.machine.state is State.WAITING
    assert [one.tag for one in stage.take(Fetch)] == [("create", 0)]
    stage.wait(stage.machine.next_deadline() - stage.now)
    assert [one.tag for one in stage.take(Fetch)] == [("create", 0)]


# ---- MARK: Signers ----


def test_a_signer_that_is_busy_for_a_moment():
    """At a hand-over, where the old connection goes on, and when the connection breaks."""
    calls, fails = [], set()

    def signer(payload: bytes) -> bytes:
        calls.append(payload)
        if len(calls) in fails:
            raise OSError("the device does not answer; token=hidden")
        return hmac.digest(SECRET.encode(), payload, hashlib.sha256)

    stage = Stage("binance-spot", accounts=[Credentials("k", signer=signer, algorithm="hmac")])
    stage.live()
    fails.add(2)
    stage.machine.handover(stage.now)
    stage.machine.opened(stage.now, 2)
    assert stage.machine.state is State.LIVE
    assert stage.told()[-1] == ("error", "the next connection failed: cannot sign: OSError")
    stage.machine.closed(stage.now, 1, 1006, "")
    fails.add(3)
    stage.wait(1)
    stage.machine.opened(stage.now, 3)
    assert stage.told()[-1] == ("error", "cannot sign: OSError")
    stage.wait(stage.machine.next_deadline() - stage.now)
    stage.ready(4)
    assert stage.machine.state is State.LIVE
    assert "hidden" not in repr(stage.seen)


def test_an_account_that_cannot_sign_is_left_out():
    stage = live()
    stage.machine.add_account(stage.now, Key("key-of-nobody"))
    assert stage.told()[-1][0] == "error"
    assert "a signature" in stage.told()[-1][1]
    stage.take()
    stage.wait(3600)
    assert not stage.take(Send)
    assert stage.machine.state is State.LIVE


# ---- MARK: Connections of their own ----


@pytest.mark.parametrize("venue", ["binance-futures", "bitget"])
def test_an_account_that_came_later_and_is_refused(venue):
    async def main():
        mine, others = Mine(), Mine()
        async with exchange(venue) as server:
            async with session(server, venue, handler=mine) as stream:
                while not any(map(is_data, mine.records)):
                    await asyncio.sleep(0.02)
                stream.subscribe(Account(Credentials("nobody", SECRET, "no phrase"), others))
                while not any(one.about == "account" for one in others.records if one.event == "error"):
                    await asyncio.sleep(0.02)
                assert any(one.about == "account" for one in mine.records if one.event == "error")
                n = len(mine.records)
                while len(mine.records) < n + 20:
                    await asyncio.sleep(0.02)
                assert not events(mine.records, "disconnected")
                assert stream.stats()["connections"] == 1

    run(main(), 20)


def test_one_of_the_first_accounts_that_is_refused_ends_the_session():
    async def main():
        async with exchange("binance-futures") as server:
            accounts = [Account(CREDENTIALS), Account(Credentials("nobody", SECRET))]
            async with session(server, "binance-futures", None, accounts=accounts) as stream:
                with pytest.raises(SessionError) as caught:
                    async for _ in stream:
                        pass
                assert caught.value.code == "-2015"

    run(main(), 20)


def test_accounts_that_come_and_go_leave_nothing_behind():
    async def main():
        keys, credentials = many(4)
        accounts = [Account(one, Mine()) for one in credentials]
        async with exchange("binance-futures", keys=keys) as server:
            async with session(server, "binance-futures", None, accounts=accounts) as stream:
                for _ in range(3):
                    while stream.stats()["connections"] < 4:
                        await asyncio.sleep(0.02)
                    for one in accounts[1:]:
                        stream.unsubscribe(one)
                    while len(server.open_connections()) > 1:
                        await asyncio.sleep(0.02)
                    for one in accounts[1:]:
                        stream.subscribe(one)
                assert len(stream._lines) == 4
                stream.unsubscribe(accounts[0])  # requests and everything else go on with those that are there
                while not all(any(map(is_data, one.handler.records)) for one in accounts):
                    await asyncio.sleep(0.02)

    run(main(), 20)


def test_a_request_goes_over_a_connection_that_is_live():
    """Channels of Bitget need several connections; the first one is gone."""

    async def main():
        keys, credentials = many(2)
        async with exchange("binance-spot", keys=keys) as server:
            accounts = [Account(one) for one in credentials]
            changes = {"subscriptions": 1}
            async with session(server, "binance-spot", None, accounts=accounts, changes=changes) as stream:
                while stream.stats()["subscriptions"] < 2:
                    await asyncio.sleep(0.02)
                assert len(server.open_connections()) == 2
                first = stream._lines[0]
                stream._lines[0].happened(first.machine.stop)
                assert (await stream.request("status"))["status"] == 200

    run(main(), 20)
