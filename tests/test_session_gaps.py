"""Sessions without a socket: gaps, and the handovers that avoid them."""

from __future__ import annotations

import json

from stage import Stage, subscribed

from execwire.sessions.effects import (
    Beat,
    CatchUp,
    Close,
    Connect,
    Hold,
    Recover,
    Release,
    Route,
    Send,
    Share,
    Tell,
)  # fmt: skip
from execwire.sessions.machine import DRAIN, State

# ---- MARK: Gaps ----


def test_a_gap_shows_from_beginning_to_end():
    stage = Stage("binance-spot")
    stage.live()
    lost = stage.wall()  # when the last frame came; that the connection is dead shows later
    stage.wait(5)
    stage.machine.closed(stage.now, 1, 1006, "")
    assert stage.machine.state is State.WAITING
    stage.wait(0.5)
    stage.ready(2)
    assert [what for what, _ in stage.told()] == ["connected", "disconnected", "gap", "reconnected"]
    gap = stage.gap()
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
    stage.ready(4)
    assert [what for what, _ in stage.told()] == [
        "connected", "disconnected", "error", "error", "gap", "reconnected",
    ]  # fmt: skip
    gap = stage.gap()
    assert gap["from"] == lost


def test_a_second_gap_begins_where_it_begins():
    stage = Stage("binance-spot")
    stage.live()
    for link in (1, 2):
        stage.wait(100)
        stage.say({"subscriptionId": 0, "event": {"e": "balanceUpdate", "E": 1}}, link)
        lost = stage.wall()
        stage.seen.clear()
        stage.machine.closed(stage.now, link, 1006, "")
        stage.wait(stage.machine.next_deadline() - stage.now)
        stage.ready(link + 1)
        assert stage.gap()["from"] == lost


def test_records_wait_while_a_gap_is_filled():
    stage = Stage("binance-spot", recover=True)
    stage.live()
    stage.machine.closed(stage.now, 1, 1006, "")
    stage.wait(0.5)
    stage.take()
    stage.ready(2)
    assert stage.machine.state is State.RECOVERING
    effects = stage.take()
    assert [type(one) for one in effects] == [Beat, Hold, Send, Route, Tell, Recover]
    stage.machine.recovered(stage.now, 2, effects[-1].number)
    assert [type(one) for one in stage.take()] == [Tell, Release]
    assert stage.machine.state is State.LIVE


def test_a_recovery_that_takes_too_long_does_not_stop_the_stream():
    stage = Stage("binance-spot", recover=True, recover_timeout=3)
    stage.live()
    stage.machine.closed(stage.now, 1, 1006, "")
    stage.wait(0.5)
    stage.ready(2)
    stage.wait(4)
    assert stage.machine.state is State.LIVE
    assert ("error", "recovery failed: it took longer than 3 s") in stage.told()


def test_a_connection_lost_while_a_gap_is_filled_is_the_next_gap():
    stage = Stage("binance-spot", recover=True)
    stage.live()
    for link in (1, 2):
        stage.machine.closed(stage.now, link, 1006, "")
        stage.wait(1)
        stage.ready(link + 1)
    assert [what for what, _ in stage.told()] == ["connected", "disconnected", "gap", "disconnected", "gap"]
    assert stage.machine.state is State.RECOVERING


def test_what_was_held_back_stands_before_the_end_of_its_connection():
    stage = Stage("binance-spot", recover=True)
    stage.live()
    stage.machine.closed(stage.now, 1, 1006, "")
    stage.wait(1)
    stage.ready(2)
    stage.take()
    stage.machine.silent(stage.now, 2, "nothing received for 90 s")
    kinds = [type(one) for one in stage.take()]
    assert kinds.index(Release) < min(kinds.index(Close), kinds.index(Tell))


def test_silence_is_a_failure():
    stage = Stage("binance-spot")
    stage.live()
    stage.machine.silent(stage.now, 1, "nothing received for 90 s")
    assert stage.told()[-1] == ("disconnected", "nothing received for 90 s")
    assert stage.machine.state is State.WAITING


def test_a_terminated_subscription_comes_back_on_the_same_connection():
    stage = Stage("binance-spot")
    stage.live()
    ended = stage.wall()
    stage.say({"subscriptionId": 0, "event": {"e": "eventStreamTerminated", "E": 1}})
    assert stage.told()[-1][0] == "disconnected"
    stage.now += 0.5
    frame = json.loads([one for one in stage.seen if isinstance(one, Send)][-1].payload)
    assert frame["method"] == "userDataStream.subscribe.signature"
    stage.say({"id": frame["id"], "status": 200, "result": {"subscriptionId": 1}})
    assert [what for what, _ in stage.told()[-2:]] == ["gap", "reconnected"]
    assert (stage.gap()["from"], stage.gap()["to"]) == (ended, stage.wall())
    assert stage.machine.gaps == 1
    routes = [(one.subscription_id, one.account) for one in stage.seen if isinstance(one, Route)]
    assert routes == [(0, 0), (1, 0)]  # what it brought before may wait, and is the account's


# ---- MARK: Before it ends ----


def handed_over(stage: Stage) -> None:
    """The second connection gets ready."""
    done = stage.take()
    assert [one.link for one in done if isinstance(one, Connect)] == [2]
    assert [(one.first, one.second) for one in done if isinstance(one, Share)] == [(1, 2)]
    assert stage.machine.state is State.LIVE
    stage.machine.opened(stage.now, 2)
    stage.say(subscribed(0, 0), 2)
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
    stage.ready(2)
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


def test_a_life_that_is_shorter_than_the_time_before_its_end(tmp_path):
    """Then half of it has to do."""
    path = tmp_path / "acme.toml"
    path.write_text('name = "acme"\ninherits = "binance-spot"\n[session]\nlifetime = 300\n')
    stage = Stage(str(path))
    stage.live()
    stage.wait(149)
    assert not stage.take(Connect)
    stage.wait(2)
    handed_over(stage)


def test_a_connection_that_is_due_before_it_is_live():
    """It moves on as soon as it is the one that counts."""
    stage = Stage("binance-spot", recover=True, recover_timeout=100_000)
    stage.live()
    stage.machine.closed(stage.now, 1, 1006, "")
    stage.wait(1)
    stage.ready(2)
    (asked,) = stage.take(Recover)
    stage.wait(90_000)
    assert stage.machine.state is State.RECOVERING
    assert not stage.take(Connect)
    stage.machine.recovered(stage.now, 2, asked.number)
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
    stage.ready(2)
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
