"""A session's machine on a stage: no socket, and a clock of our own, so that hours take milliseconds."""

from __future__ import annotations

import json
from typing import Any

import execwire
from execwire import rules, venues
from execwire.auth import Credentials
from execwire.sessions import Key
from execwire.sessions.effects import CatchUp, Connect, Send, Tell
from execwire.sessions.machine import Machine, State

WALL = 1_790_000_000_000_000_000
API_KEY, SECRET, PASSPHRASE = "key-of-the-tests", "secret-of-the-tests", "pass-of-the-tests"
CREDENTIALS = Credentials(API_KEY, SECRET, PASSPHRASE)


def subscribed(number: int, subscription_id: int) -> dict[str, Any]:
    """The answer to a request of a spot session."""
    return {"id": number, "status": 200, "result": {"subscriptionId": subscription_id}}


def limits(count: int) -> list[dict[str, Any]]:
    """Rate limits as a spot session gets them, of which so much is used."""
    return [{"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": 6000, "count": count}]


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
        self.say(subscribed(self.sent()[0]["id"], 0))
        assert self.machine.state is State.LIVE
        self.take()

    def ready(self, link: int) -> None:
        """A link of a spot session is opened, and subscribed."""
        self.machine.opened(self.now, link)
        self.say(subscribed(0, 0), link)

    def gap(self) -> dict[str, Any]:
        """The only one that was told."""
        self.take()
        (found,) = [one.notice for one in self.seen if isinstance(one, Tell) and one.notice["execwire"] == "gap"]
        return found


def futures(**more: Any) -> Stage:
    """A futures session that has its listen key, and listens by it."""
    stage = Stage("binance-futures", accounts=[Key(API_KEY)], **more)
    stage.machine.start(stage.now)
    stage.machine.fetched(stage.now, ("create", 0), 200, b'{"listenKey":"LK-1"}', None)
    stage.machine.opened(stage.now, 1)
    stage.take()
    return stage
