"""Sessions without a socket, against a venue where anything may fail at any moment, until it is calm again.

What must hold: no step raises, nobody waits for ever, records that are held back are released, and every moment in
which the venue would not have sent an account's (or a channel's) events lies within a gap that was told.
"""

from __future__ import annotations

import heapq
import json
import random
from collections import defaultdict
from typing import Any

import pytest
from stage import Stage

from execwire.auth import Credentials
from execwire.sessions.effects import (
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
    Tell,
)  # fmt: skip
from execwire.sessions.machine import State

CHAOS, CALM = 3_000.0, 4_000.0  # s
SECOND = 1_000_000_000
SEEDS = 40
ERRORS = {"spot": [-1001, -1003, -1021, -1000], "bitget": [30004, 30006, 30014, 99999]}


class Socket:
    """The venue's side of a link."""

    def __init__(self) -> None:
        self.is_open = True
        self.is_silent = False
        self.serves: dict[int, Any] = {}  # subscription -> account or channel
        self.ids = 0
        self.asked_at = self.sent_at = 0.0  # frames arrive in order


class Chaos:
    """A machine, and what happens to it."""

    def __init__(self, seed: int, venue: str, variant: tuple[str, ...], *, recover: bool) -> None:
        self.random = random.Random(seed)
        self.kind = "bitget" if venue == "bitget" else "futures" if venue == "binance-futures" else "spot"
        n = 1 if self.kind in ("futures", "bitget") else self.random.randint(1, 4)
        accounts = [Credentials(f"key-{i}-", "secret", "phrase") for i in range(n)]
        channels = ["orders", "fill", "account"] if self.kind == "bitget" else []
        asked = [{"instType": "SPOT", "channel": name, "instId": "default"} for name in channels]
        more: dict[str, Any] = {"channels": asked} if asked else {}
        self.stage = Stage(venue, variant, accounts, recover=recover, random=self.random.random, **more)
        self.begin = self.stage.now
        self.wanted: set[Any] = set(channels) or set(range(n))
        self.sockets: dict[int, Socket] = {}
        self.queue: list[tuple[float, int, Any]] = []
        self.count = 0
        self.is_calm = self.is_over = False
        self.held: set[int] = set()
        self.asked: set[int] = set()  # requests of the user without an answer
        self.gaps: list[tuple[int | None, int, int]] = []
        self.served: dict[Any, list[tuple[int, bool]]] = defaultdict(list)  # when it began, and when it ended
        self.removed: dict[Any, int] = {}
        self.live_at = 0
        self.routed: dict[Any, int] = {}

    # ---- The venue ----

    def later(self, seconds: float, what: Any) -> None:
        self.count += 1
        heapq.heappush(self.queue, (self.stage.now + seconds, self.count, what))

    def chance(self, share: float) -> bool:
        return not self.is_calm and self.random.random() < share

    def note(self) -> None:
        """Who is served from now on."""
        for unit in list(self.wanted) + list(self.removed):
            is_served = any(unit in one.serves.values() for one in self.listening())
            if not self.served[unit] or self.served[unit][-1][1] != is_served:
                self.served[unit].append((self.stage.wall(), is_served))

    def listening(self) -> list[Socket]:
        return [one for one in self.sockets.values() if one.is_open and not one.is_silent]

    def shut(self, link: int) -> None:
        if link in self.sockets:
            self.sockets[link].is_open = False
            self.stage.last_frames.setdefault(link, self.stage.wall())

    def do(self) -> None:
        """What the machine wants."""
        machine = self.stage.machine
        while machine.out:
            effect = machine.out.pop(0)
            match effect:
                case Connect():
                    self.connect(effect.link)
                case Send() if effect.link in self.sockets and self.sockets[effect.link].is_open:
                    socket = self.sockets[effect.link]
                    late = 20 if self.chance(0.05) else 1  # an answer may come when nobody waits for it any more
                    socket.asked_at = max(socket.asked_at, self.stage.now + self.random.random() * late)
                    self.later(
                        socket.asked_at - self.stage.now,
                        lambda effect=effect: self.receive(effect.link, effect.payload),
                    )
                case Close():
                    self.shut(effect.link)
                case Fetch():
                    self.later(self.random.random() * 2, lambda effect=effect: self.answer_call(effect))
                case Hold():
                    assert effect.link not in self.held
                    self.held.add(effect.link)
                case Release():
                    self.held.remove(effect.link)
                case Recover():
                    assert effect.link in self.held
                    seconds = 1.0 if self.is_calm else self.random.choice([0.0, 1.0, 30.0])
                    error = "OSError" if self.chance(0.2) else None
                    self.later(
                        seconds,
                        lambda effect=effect, error=error: machine.recovered(
                            self.stage.now, effect.link, effect.number, error
                        ),
                    )
                case CatchUp():
                    self.later(0.1, lambda effect=effect: self.caught_up(effect.link))
                case Reply():
                    self.asked.remove(effect.request)
                case Tell() if effect.notice["execwire"] == "gap":
                    assert effect.notice["from"] <= effect.notice["to"] <= self.stage.wall()
                    self.gaps.append((effect.account, effect.notice["from"], effect.notice["to"]))
                case Route() if effect.account is not None and effect.account not in self.routed:
                    self.routed[effect.account] = self.stage.wall()
                    self.served[effect.account].append((self.stage.wall(), True))
                case Tell() if effect.notice["execwire"] == "connected":
                    self.live_at = self.stage.wall()
                    for changes in self.served.values():
                        changes.append((self.live_at, changes[-1][1]))
                case Finish():
                    self.is_over = True

    def connect(self, link: int) -> None:
        def happen() -> None:
            if self.chance(0.3):
                status = self.random.choice([0, 0, 429, 503])
                self.stage.machine.failed(self.stage.now, link, "refused", status, b"", 3.0 if status else 0.0)
                return
            socket = self.sockets[link] = Socket()
            if self.kind == "futures":
                socket.serves[0] = 0
            self.stage.machine.opened(self.stage.now, link)

        self.later(self.random.random() * 2, happen)

    def caught_up(self, link: int) -> None:
        socket = self.sockets.get(link)
        is_there = socket is not None and socket.is_open and not socket.is_silent
        self.stage.machine.caught_up(self.stage.now, link, is_sure=is_there)

    def send(self, link: int, what: Any) -> None:
        socket = self.sockets[link]
        socket.sent_at = max(socket.sent_at, self.stage.now + self.random.random())
        self.later(socket.sent_at - self.stage.now, lambda: self.arrive(link, what))

    def arrive(self, link: int, what: Any) -> None:
        if self.sockets[link].is_open and not self.sockets[link].is_silent:
            if "eventStreamTerminated" in str(what):
                self.sockets[link].serves.pop(what["subscriptionId"], None)
                self.note()
            self.stage.last_frames.pop(link, None)
            last = dict(self.stage.last_frames)
            self.stage.say(what, link)
            self.stage.last_frames = last  # frames come all the time, as long as there is a connection

    def receive(self, link: int, payload: bytes) -> None:
        """A request arrives."""
        socket = self.sockets[link]
        frame = json.loads(payload) if payload[:1] == b"{" else {}
        goes_off = "unsubscribe" in frame.get("method", "")  # if that fails, the user is told, and it stays
        if not socket.is_open or socket.is_silent or (self.chance(0.1) and not goes_off):
            return
        answers, before = [], dict(socket.serves)
        if self.kind == "bitget" and frame.get("op") == "login":
            answers = [{"event": "login", "code": 0}]
        elif self.kind == "bitget" and frame.get("op") == "subscribe":
            for arg in frame["args"]:
                socket.ids += 1
                socket.serves[socket.ids] = arg["channel"]
                answers.append({"event": "subscribe", "arg": arg})
        elif "subscribe." in frame.get("method", ""):
            text = frame["params"].get("apiKey") or frame["params"]["listenToken"]
            account = int(text.split("-")[1])
            result = {"subscriptionId": socket.ids}
            if account in socket.serves.values():
                error = {"code": -2035, "msg": "subscription already active"}
                answers = [{"id": frame["id"], "status": 400, "error": error}]
            elif not self.chance(0.15):
                socket.serves[socket.ids] = account
                socket.ids += 1
                answers = [{"id": frame["id"], "status": 200, "result": result}]
        elif goes_off:
            socket.serves.pop(frame["params"]["subscriptionId"], None)
            answers = [{"id": frame["id"], "status": 200, "result": {}}]
        elif "id" in frame:
            answers = [{"id": frame["id"], "status": 200, "result": {}}]
        if (self.chance(0.15) and not goes_off) or (not answers and frame):
            socket.serves = before
            code = self.random.choice(ERRORS["bitget" if self.kind == "bitget" else "spot"])
            error = {"code": code, "msg": "not now"}
            answers = [{"event": "error", **error} if self.kind == "bitget" else
                       {"id": frame.get("id"), "status": 400, "error": error}]  # fmt: skip
        self.note()
        for one in answers:
            self.send(link, one)

    def answer_call(self, effect: Fetch) -> None:
        what, account = effect.tag
        machine, now = self.stage.machine, self.stage.now
        if self.chance(0.3):
            status = self.random.choice([0, 400, 429, 500])
            machine.fetched(now, effect.tag, status, b"", None if status else "no answer", 2.0)
        elif what == "clock":
            machine.fetched(now, effect.tag, 200, b'{"serverTime":%d}' % (self.stage.wall() // 1_000_000), None)
        else:
            token = b'"token":"token-%d-","expirationTime":%d' % (
                account, self.stage.wall() // 1_000_000 + self.random.choice([700, 1_500, 86_400]) * 1000,
            )  # fmt: skip
            machine.fetched(now, effect.tag, 200, b'{"listenKey":"LK-%d",%b}' % (self.count, token), None)

    # ---- What happens to it ----

    def happen(self) -> None:
        machine, now = self.stage.machine, self.stage.now
        links = [link for link, one in self.sockets.items() if one.is_open and not one.is_silent]
        link = self.random.choice(links) if links else 0
        match self.random.randint(0, 11):
            case 0 | 1 if link:
                self.shut(link)
                machine.closed(now, link, self.random.choice([0, 1001, 1006, 1008]), "")
            case 2 if link:  # it is dead, which shows later
                self.sockets[link].is_silent = True
                self.stage.last_frames[link] = self.stage.wall()
                self.later(self.random.random() * 90, lambda: machine.silent(self.stage.now, link, "nothing received"))
            case 3 | 4 if link and self.kind == "spot" and self.sockets[link].serves:
                number = self.random.choice(list(self.sockets[link].serves))
                self.send(link, {"subscriptionId": number, "event": {"e": "eventStreamTerminated", "E": 1}})
            case 5 if link and self.kind == "spot":
                self.send(link, {"event": {"e": "serverShutdown", "E": 1}})
            case 6 if link and self.kind == "futures":
                self.sockets[link].serves.clear()
                self.stage.last_frames[link] = self.stage.wall()
                self.sockets[link].is_open = True
                self.stage.say({"e": "listenKeyExpired", "E": 1, "listenKey": "LK"}, link)
            case 7 if link:
                for _ in range(self.random.randint(1, 3)):
                    machine.malformed(now, link, "bad JSON at byte 3")
            case 8 if self.kind == "spot" and len(machine.accounts) < 12:
                number = machine.add_account(now, Credentials(f"key-{len(machine.accounts)}-", "secret"))
                self.wanted.add(number)
            case 9 if self.kind == "spot" and len(self.wanted) > 1:
                number = self.random.choice(sorted(self.wanted))
                self.wanted.remove(number)
                self.removed[number] = self.stage.wall()
                machine.remove_account(now, number)
            case 10 if machine.state is State.LIVE and self.kind == "spot":
                self.asked.add(machine.request(now, "status"))
            case 11 if machine.state is State.LIVE:
                machine.handover(now)

    def run(self) -> None:
        machine = self.stage.machine
        machine.start(self.stage.now)
        self.do()
        end = self.begin + CHAOS
        self.later(self.random.random() * 100, None)
        while not self.is_over:
            when = min(self.queue[0][0] if self.queue else float("inf"), machine.next_deadline())
            if when > end:
                if self.is_calm and len(self.listening()) == 1:
                    break
                self.is_calm, end = True, end + (1.0 if self.is_calm else CALM)
                continue
            assert when < float("inf") or machine.state is State.LIVE, f"nobody waits for anything: {machine.state}"
            self.stage.now = max(self.stage.now, when)
            if self.queue and self.queue[0][0] <= self.stage.now:
                _, _, what = heapq.heappop(self.queue)
                if what is not None:
                    what()
                elif not self.is_calm:
                    self.happen()
                    self.later(self.random.choice([0.1, 2.0, 30.0, 200.0]) * self.random.random() * 2, None)
            else:
                machine.tick(self.stage.now)
            self.do()
            self.note()

    # ---- What must hold in the end ----

    def check(self) -> None:
        machine = self.stage.machine
        assert machine.state is State.LIVE
        assert not self.held
        assert not self.asked
        (socket,) = self.listening()
        assert set(socket.serves.values()) >= self.wanted
        assert not set(socket.serves.values()) - self.wanted
        for unit in self.wanted:
            for begin, until in self.unserved(unit):
                told = [(a, b) for who, a, b in self.gaps if self.kind != "spot" or who in (None, unit)]
                at = begin
                for a, b in sorted(told):
                    if a <= at:
                        at = max(at, b)
                assert at >= until, f"{unit} heard nothing from {at} to {until}, and nobody was told"

    def unserved(self, unit: Any) -> list[tuple[int, int]]:
        """When nobody served it, from the time on that the session has said that somebody does."""
        changes, since = self.served[unit], max(self.live_at, self.routed.get(unit, 0))
        spans = []
        first = next((i for i, (at, served) in enumerate(changes) if served and at >= since), len(changes))
        for (at, served), (until, _) in zip(changes[first:], changes[first + 1 :], strict=False):
            if not served and until > at:
                spans.append((at, until))
        return spans


@pytest.mark.parametrize("recover", [False, True])
@pytest.mark.parametrize(
    ("venue", "variant"),
    [("binance-spot", ()), ("binance-spot", ("listen_token",)), ("binance-futures", ()), ("bitget", ())],
)
def test_chaos(venue, variant, recover):
    for seed in range(SEEDS):
        chaos = Chaos(seed, venue, variant, recover=recover)
        try:
            chaos.run()
            if not chaos.is_over:
                chaos.check()
        except BaseException as error:
            error.add_note(f"seed {seed}")
            raise
        assert not chaos.is_over
