"""A session as a state machine: a clock and what happened go in, what is to be done comes out.

One machine keeps one stream alive, over as many connections (links) as that takes one after the other: usually one is
live, and for a moment a second one when the first is about to end. It opens no socket, starts no timer and reads no
clock, so a day of it can be tested in a millisecond. Of a venue it knows its `Rules` and the notices that the
decoder makes of the venue's control frames.

CONNECTING -> AUTHENTICATING -> SUBSCRIBING -> RECOVERING -> LIVE -> (WAITING) -> CONNECTING
"""

from __future__ import annotations

import contextlib
import logging
from typing import TYPE_CHECKING, Any

import orjson

from execwire.auth import AuthError
from execwire.sessions.effects import (
    Beat,
    CatchUp,
    Close,
    Connect,
    Effect,
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
from execwire.sessions.frames import Frames, at, filled, parsed
from execwire.sessions.links import NEVER, Link, ListenKey, Pending, State, until_room

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from execwire.core import Notice
    from execwire.rules import Call, Rules, Step
    from execwire.sessions.frames import Identity

__all__ = ["Machine", "State"]

logger = logging.getLogger("execwire")

DRAIN = 1.0  # s that the old of two connections stays after the new one is live: for what is still on its way
STABLE = 60.0  # s after which a connection counts as a success, and the backoff begins anew
WAIT = 30.0  # s to wait where the venue says "too many" and not for how long
SECOND = 1.05  # s after its answer that a message no longer counts: the venue has had it for longer
RENEW_AGAIN = 60.0  # s after a renewal that failed
SUCCESS = ("", "200")  # codes of answers over HTTP that are no errors, without leading zeros


class Machine:
    """Keeps one stream alive.

    Parameters
    ----------
    rules : execwire.rules.Rules
    accounts : sequence of Identity
        Several where the venue has several on one connection.
    wall : callable
        The time as ns since 1970, for time stamps.
    heard : callable
        When the last frame of a link came, as ns since 1970: from then on something may be lost.
    channels : sequence of dict
        What is subscribed to, where the venue has channels.
    url, rest_url : str
        Instead of the venue's. A `url` without a path gets the venue's; one that ends with a slash, the listen key.
    query : mapping
        More of the URL's query.
    options : mapping
        Instead of those of ``[session.options]``.
    recover : bool
        Whether somebody fills gaps: then records are held back after one until `recovered` is called.
    recover_timeout : float
        For how many seconds at most.
    delete_keys : bool
        Delete listen keys in the end, whoever else uses them.
    random : callable
        Gives numbers from 0 to 1, for the backoff.

    Attributes
    ----------
    out : list of Effect
        What is to be done, in this order. Whoever does it empties it.
    state : State
    was_live : bool
        Whether the stream has ever been.
    """

    __slots__ = (
        "_again", "_asked", "_awaits_clock", "_clock_tried", "_current", "_delete_keys", "_frames",
        "_gap_since", "_handover_retry_at", "_heard", "_keys", "_limited_until", "_links", "_live_at", "_n_links",
        "_n_secrets", "_n_users", "_random", "_recover", "_recover_timeout", "_retry_at", "_unheard", "_unshare_at",
        "_wall", "accounts", "attempts", "channels", "gaps", "handovers", "out", "rate_limits", "reconnects", "rules",
        "state", "was_live",
    )  # fmt: skip

    def __init__(
        self,
        rules: Rules,
        accounts: Sequence[Identity],
        *,
        wall: Callable[[], int],
        heard: Callable[[int], int],
        channels: Sequence[dict[str, str]] = (),
        url: str | None = None,
        rest_url: str | None = None,
        query: Mapping[str, str] | None = None,
        options: Mapping[str, Any] | None = None,
        recover: bool = False,
        recover_timeout: float = 10.0,
        delete_keys: bool = False,
        random: Callable[[], float],
    ) -> None:
        self.rules = rules
        self.accounts: list[Identity | None] = list(accounts)
        self.channels = tuple(channels)
        self.out: list[Effect] = []
        self.state = State.CLOSED
        self.reconnects = self.handovers = self.gaps = self.attempts = 0
        self.rate_limits: Sequence[dict[str, Any]] = ()
        self._frames = Frames(rules, url, rest_url, query, options, wall)
        self._wall = wall
        self._heard = heard
        self._random = random
        self._recover = recover
        self._recover_timeout = recover_timeout
        self._delete_keys = delete_keys
        self._links: dict[int, Link] = {}
        self._n_links = 0
        self._current: Link | None = None
        self._keys: dict[int, ListenKey] = {}
        self._gap_since = 0  # ns since 1970; 0: there is none
        self._unheard: dict[int, int] = {}  # accounts without a subscription of their own, and since when
        self._asked = 0  # accounts that have ever asked for one: a bit for each, as a set takes more memory than a link
        self._again: dict[int, float] = {}  # accounts that are to be subscribed again, and when
        self.was_live = False
        self._live_at = 0.0
        self._retry_at = NEVER
        self._handover_retry_at = NEVER
        self._unshare_at = NEVER
        self._clock_tried = self._awaits_clock = False
        self._limited_until = 0.0  # then one request asks for the rate limits anew; 0: nothing has to
        self._n_users = 0
        self._n_secrets = 1  # beside those of `_frames`

    @property
    def clock_offset(self) -> int:
        """Ms that the venue's clock is ahead."""
        return self._frames.clock_offset

    @property
    def secrets_seen(self) -> int:
        """Grows when `secrets` has new ones."""
        return self._n_secrets + self._frames.n_used

    @property
    def current(self) -> int:
        """The link that brings the stream; 0: none does."""
        return self._current.id if self._current is not None else 0

    # ---- MARK: What happens ----

    def start(self, now: float) -> None:
        """Begin."""
        self._new_link(now, "start")

    def stop(self, now: float) -> None:
        """End: close what is open."""
        if self.state is State.CLOSED and not self._links:
            return
        for link in list(self._links.values()):
            self._drop(link, "the session was closed")
        key = self.rules.key
        if self._delete_keys and key is not None and key.delete is not None:
            for account in self._keys:
                self._fetch(now, ("delete", account), key.delete)
        self._finish(None, "closed")

    def opened(self, now: float, link_id: int) -> None:
        """The socket of a link is open."""
        link = self._links.get(link_id)
        if link is None:
            self.out.append(Close(link_id))
            return
        link.opened_at = now
        if self.rules.lifetime:
            link.handover_at = now + max(self.rules.lifetime - self.rules.lead, self.rules.lifetime / 2)
        self.out.append(Beat(link.id))
        if self._gap_since:
            self._hold(link)  # some accounts or channels are subscribed before others
        self._next_step(now, link)

    def failed(
        self, now: float, link_id: int, message: str, status: int = 0, body: bytes = b"", retry_after: float = 0.0
    ) -> None:
        """The socket of a link could not be opened; `status` of HTTP if there was an answer."""
        link = self._links.get(link_id)
        if link is not None:
            code, text = self._error_in(body)
            action = self._action(code, status)
            if self._frames.names_key and status in (400, 401, 404) and action == "retry":
                action = "new_key"  # which is what a venue that does not know the key any more answers
            self._fail(now, link, f"cannot connect: {text or message}", code or (str(status) if status else None),
                       action, retry_after, closed=True)  # fmt: skip

    def closed(self, now: float, link_id: int, code: int, reason: str) -> None:
        """The other side closed the socket of a link, or it broke (code 0)."""
        link = self._links.get(link_id)
        if link is None:
            return
        how = f"closed with code {code}" if code else "the connection broke"
        self._fail(now, link, f"{how}: {reason}" if reason else how, str(code) if code else None, closed=True)

    def silent(self, now: float, link_id: int, why: str) -> None:
        """The watch over silence has had enough."""
        if (link := self._links.get(link_id)) is not None:
            self._fail(now, link, why)

    def malformed(self, now: float, link_id: int, message: str) -> None:
        """A frame could not be decoded. While a link gets ready, three are enough."""
        link = self._links.get(link_id)
        if link is not None and link.state not in (State.LIVE, State.DRAINING):
            link.malformed += 1
            if link.malformed >= 3:
                self._fail(now, link, f"malformed answers: {message}")

    def caught_up(self, now: float, link_id: int, *, is_sure: bool = True) -> None:
        """What a link brought until `CatchUp` has been read, however long that was held up on its way.

        Not `is_sure`: nobody can tell, and it is no use to wait any longer.
        """
        link = self._links.get(link_id)
        if link is None:
            return
        if link.state is State.DRAINING:
            if is_sure:
                self._drained(now, link)
            else:
                self._cut_short(now, link)
        elif link is self._current and self._unshare_at != NEVER and not link.is_held:  # else it is asked again
            self._unshare_at = NEVER
            self.out.append(Share(link.id, None))

    def recovered(self, now: float, link_id: int, number: int, error: str | None = None) -> None:
        """A gap is filled, or could not be."""
        link = self._links.get(link_id)
        if link is None or number not in link.recovering:
            return
        link.recovering = tuple(one for one in link.recovering if one != number)
        if error is not None:
            self._tell("error", f"recovery failed: {error}", about="recovering")
        if link.recovering:
            return
        link.deadline = NEVER
        if link.state is State.RECOVERING:
            self._live(now, link)
        else:
            self._release(link)

    def received(self, now: float, link_id: int, text: bytes, notices: Sequence[Notice]) -> None:
        """A frame came (`text`, JSON or plain) with notices that concern the session, as the decoder gave them."""
        link = self._links.get(link_id)
        if link is None:
            return
        try:
            frame = orjson.loads(text)
        except ValueError:
            frame = None
        frame = frame if isinstance(frame, dict) else {}
        if self.rules.rate_limits and isinstance(limits := at(frame, self.rules.rate_limits), list):
            self.rate_limits, self._limited_until = limits, 0.0
        for notice in notices:
            if link_id not in self._links:
                return
            self._notice(now, link, notice, frame, text)

    def fetched(
        self, now: float, tag: tuple[str, int], status: int, body: bytes, error: str | None, retry_after: float = 0.0
    ) -> None:
        """A request over HTTP has been answered, or failed with `error`."""
        what, account = tag
        if self.state is State.CLOSED:
            return
        code, text = self._error_in(body)
        is_error = error is not None or not 200 <= status < 300 or code.lstrip("0") not in SUCCESS
        message = text or error or f"HTTP status {status}"
        if what == "create" and is_error:
            self._no_key(now, account, message, code or str(status or ""), self._action(code, status), retry_after)
        elif what == "create":
            self._key_created(now, account, body)
        elif what == "renew" and is_error:
            self._not_renewed(now, account, message, code or str(status or ""), self._action(code, status))
        elif what == "renew":
            self._key_renewed(now, account)
        elif what == "clock":
            value = None
            if not is_error and self.rules.clock is not None:
                value = at(parsed(body), self.rules.clock.value)
            if isinstance(value, int | str) and str(value).isdigit():
                self._frames.clock_offset = int(value) - self._wall() // 1_000_000
                self._tell("error", f"the venue's clock is {self._frames.clock_offset} ms ahead of ours; going by it",
                           about="clock")  # fmt: skip
            if self._awaits_clock:
                self._new_link(now, "reconnect" if self.was_live else "start")

    def tick(self, now: float) -> None:
        """Do what is due."""
        if now >= self._retry_at:
            self._retry_at = NEVER
            self._new_link(now, "reconnect" if self.was_live else "start")
        if now >= self._handover_retry_at:
            self._handover_retry_at = NEVER
            self.handover(now)
        if now >= self._unshare_at:
            self._unshare_at = NEVER
            if self._current is not None:
                self._unshare_at = now + DRAIN  # asks again, until it is answered
                self.out.append(CatchUp(self._current.id))
        for account, key in list(self._keys.items()):
            if now >= key.renew_at and self.rules.key is not None and self.rules.key.renew is not None:
                key.renew_at = now + RENEW_AGAIN
                self._fetch(now, ("renew", account), self.rules.key.renew)
            elif now >= key.expires_at and account in self._keys:
                if any(one is not self._current and one.state is not State.DRAINING for one in self._links.values()):
                    key.expires_at = now + DRAIN  # the connection that gets ready goes by it
                    continue
                if self.rules.key is not None and self.rules.key.renew is not None:
                    self._tell("error", "the listen key has not been renewed in time; a new one is fetched")
                # One connection for all that end soon: the tokens of many accounts do so one after the other.
                soon = now + self.rules.lead
                self._keys = {n: one for n, one in self._keys.items() if one.expires_at > soon}
                self.handover(now)
        for account in [one for one, when in self._again.items() if now >= when]:
            del self._again[account]
            if self.accounts[account] is not None:
                self._subscribe(now, account)
        for link in list(self._links.values()):
            if link is self._current and now >= link.handover_at:
                link.handover_at = NEVER
                self.handover(now)
            if now >= link.resume_at:
                self._flush(now, link)
            if now >= link.deadline:
                self._late(now, link)
            elif link.state is State.LIVE:
                for pending in [one for one in link.waiting if now >= one.deadline]:
                    self._taken(now, link, pending)
                    link.overdue += (pending,) * (pending.kind == "account")
                    self._refused(now, link, pending, "", "no answer in time", "retry")

    def next_deadline(self) -> float:
        """When `tick` has something to do; infinity if never."""
        times = [self._retry_at, self._handover_retry_at, self._unshare_at, *self._again.values()]
        times += [min(key.renew_at, key.expires_at) for key in self._keys.values()]
        for link in self._links.values():
            times += [link.handover_at if link is self._current else NEVER, link.resume_at, link.deadline]
            if link.state is State.LIVE:
                times += [pending.deadline for pending in link.waiting]
        return min(times)

    # ---- MARK: What users ask for ----

    @property
    def room(self) -> float:
        """How many more accounts or channels a connection takes."""
        if not self.rules.subscriptions:
            return NEVER
        used = sum(one is not None for one in self.accounts) if self.rules.multiplexed else len(self.channels)
        return self.rules.subscriptions - used

    def add_account(self, now: float, account: Identity) -> int:
        """Subscribe another account on this connection; returns its number."""
        self.accounts.append(account)
        self._n_secrets += 1
        number = len(self.accounts) - 1
        self._subscribe(now, number)
        return number

    def remove_account(self, now: float, account: int) -> None:
        """Unsubscribe an account; where the connection is its own, that is the end."""
        if not self.rules.multiplexed:
            self.stop(now)
            return
        self._forget(account)
        for link in list(self._links.values()):
            self.out += [Route(link.id, number, None) for number, owner in link.ended if owner == account]
            for subscription_id in [one for one, owner in link.subscriptions.items() if owner == account]:
                del link.subscriptions[subscription_id]
                self.out.append(Route(link.id, subscription_id, None))
                self._unsubscribe(now, link, subscription_id)

    def _unsubscribe(self, now: float, link: Link, subscription_id: int) -> None:
        if self.rules.unsubscribe is not None and link.state is not State.DRAINING:
            link.outbox.append(Pending(self.rules.unsubscribe, "unsubscribe", 0, subscription_id=subscription_id))
            self._flush(now, link)

    def add_channels(self, now: float, channels: Sequence[dict[str, str]]) -> None:
        """Subscribe to more channels."""
        new = [channel for channel in channels if channel not in self.channels]
        self.channels += tuple(new)
        for link, step in self._subscribers("channels"):
            for batch in self._batches(new):
                link.outbox.append(Pending(step, "channels", channels=batch, remaining=len(batch)))
            self._flush(now, link)

    def remove_channels(self, now: float, channels: Sequence[dict[str, str]]) -> None:
        """Unsubscribe from channels."""
        old = [channel for channel in channels if channel in self.channels]
        self.channels = tuple(channel for channel in self.channels if channel not in old)
        request = self.rules.unsubscribe
        if not old or request is None:
            return
        for link, _ in self._subscribers("channels"):
            link.outbox.append(Pending(request, "unsubscribe", channels=old, remaining=len(old)))
            self._flush(now, link)

    def request(self, now: float, name: str, params: Mapping[str, Any] | None = None, account: int = 0) -> int:
        """Send one of the venue's requests; the answer comes as a `Reply` with the number that is returned.

        Raises
        ------
        KeyError
            If the venue has no such request.
        ConnectionError
            If the stream is not live.
        """
        request = self.rules.requests[name]
        if self._current is None:
            raise ConnectionError("the session is not live")
        self._n_users += 1
        self._current.is_left |= request.ends
        self._current.outbox.append(Pending(request, "user", account, params=params, user=self._n_users))
        self._flush(now, self._current)
        return self._n_users

    def handover(self, now: float) -> None:
        """Open the next connection before this one ends."""
        if self._current is None:
            if any(link.state is State.RECOVERING for link in self._links.values()):
                self._handover_retry_at = now + DRAIN
            return
        if any(link.why == "handover" and link is not self._current and link.state is not State.DRAINING
               for link in self._links.values()):  # fmt: skip
            return
        drains = any(link.state is State.DRAINING for link in self._links.values())
        if drains or self._unshare_at != NEVER or self._current.recovering:
            self._handover_retry_at = now + DRAIN  # two at a time are enough, and one thing after the other
            return
        if not self.rules.overlap:
            self._fail(now, self._current, "the connection is due for a new one")
            return
        self._new_link(now, "handover")

    def secrets(self) -> Iterator[str]:
        """What must not be shown: keys and tokens as they go over the wire."""
        for account in self.accounts:
            if account is not None:
                yield account.api_key
                with contextlib.suppress(AuthError):  # it has none
                    yield account.passphrase
        for key in self._keys.values():
            yield key.value
        for link in self._links.values():  # it may go by a key that has been replaced
            yield from link.keys.values()
        yield from self._frames.used

    def scrub(self, text: str) -> str:
        """A text without secrets."""
        for secret in self.secrets():
            if len(secret) >= 3:
                text = text.replace(secret, "***")
        return text

    # ---- MARK: Links ----

    def _new_link(self, now: float, why: str) -> None:
        self._n_links += 1
        self._retry_at = NEVER
        self._awaits_clock = False
        if why != "handover":
            self._again.clear()  # all are asked for
        link = self._links[self._n_links] = Link(self._n_links, why, deadline=now + self.rules.timeout)
        if why != "handover":
            self.state = State.CONNECTING
        if self.rules.key is not None:
            good = {n for n, one in self._keys.items() if not one.doubted}
            link.keys_missing = {n for n, one in enumerate(self.accounts) if one is not None and n not in good}
            for account in link.keys_missing:
                self._fetch(now, ("create", account), self.rules.key.create)
        if not link.keys_missing and link.id in self._links:
            self._connect(link)

    def _connect(self, link: Link) -> None:
        link.deadline = NEVER  # whoever opens the socket looks after that, and sockets may have to wait for each other
        link.keys = {account: key.value for account, key in self._keys.items()}
        self.out.append(Connect(link.id, *self._frames.address(self._values(0))))
        if link.why == "handover" and self._current is not None:  # some venues serve it before they say that it is open
            self.out.append(Share(self._current.id, link.id))
            self._unshare_at = NEVER

    def _late(self, now: float, link: Link) -> None:
        """A deadline of a link has passed."""
        if link.state is State.DRAINING:
            link.deadline = now + DRAIN
            self.out.append(CatchUp(link.id))
        elif link.recovering:
            number = link.recovering[-1]
            link.recovering = (number,)
            self.recovered(now, link.id, number, f"it took longer than {self._recover_timeout:g} s")
        elif link.state is State.LIVE:
            link.deadline = NEVER
        elif link.keys_missing and set(link.keys_missing) <= self._keys.keys():
            for account in link.keys_missing:  # whether they are good could not be found out
                self._key_found(link, account)
        else:
            doing = "fetching a listen key" if link.keys_missing else link.state.value
            self._fail(now, link, f"no answer within {self.rules.timeout:g} s while {doing}")

    def _drop(self, link: Link, why: str, *, is_closed: bool = False) -> None:
        """Forget a link."""
        self._release(link)  # what it brought stands before its end
        self._links.pop(link.id, None)
        if not is_closed:
            self.out.append(Close(link.id))
        for pending in [*link.waiting, *link.outbox]:
            if pending.user:
                self.out.append(Reply(pending.user, b"", "", self.scrub(why)))
        if self._current is link:
            self._current = None

    def _drained(self, now: float, link: Link, *, is_closed: bool = False) -> None:
        self._drop(link, "moved to a new connection", is_closed=is_closed)
        self._unshare_at = now + DRAIN  # what the old one was quicker to bring is still on its way on the new one

    def _cut_short(self, now: float, link: Link, *, is_closed: bool = False) -> None:
        """The old of two connections ends, and may not have brought all that the new one came too late for."""
        begin, end = self._heard(link.id), link.left_at
        self._drained(now, link, is_closed=is_closed)
        if begin >= end:  # it lived on beside the new one
            return
        current, self._current = self._current, None
        if current is None:  # the new one has gone, too
            self._gap_since = min(self._gap_since or begin, begin)
        else:
            self._unheard = {account: min(since, begin) for account, since in self._unheard.items()}
            self._tell("disconnected", "the connection that was left brought nothing more before the new one was live")
            self._after_gap(now, current, begin, end)

    def _fail(
        self,
        now: float,
        link: Link,
        message: str,
        code: str | None = None,
        action: str = "retry",
        retry_after: float = 0.0,
        *,
        closed: bool = False,
    ) -> None:
        """A link is of no more use."""
        if link.state is State.DRAINING:
            self._cut_short(now, link, is_closed=closed)
            return
        was_current = link is self._current or link.state is State.RECOVERING
        self._drop(link, message, is_closed=closed)
        if was_current:
            self._gap_since = min((self._gap_since or self._heard(link.id), *self._unheard.values()))
            self._unheard.clear()
            for other in list(self._links.values()):
                if other.state is State.DRAINING:  # the next one is not compared with it
                    self._cut_short(now, other)
            self._tell("disconnected", message, code)
            for other in self._links.values():
                if other.state is not State.DRAINING:
                    self._hold(other)
            for key in self._keys.values():
                key.doubted = self.rules.key is not None and self.rules.key.renew is not None
            if now - self._live_at >= STABLE:
                self.attempts = 0
        elif link.why == "handover" and self._current is not None:
            self._leave(link, self._current, self._heard(link.id))
            self._tell("error", f"the next connection failed: {message}", code, about=link.state.value)
        else:
            self._tell("error", message, code, about=link.state.value)
        if action == "new_key":
            self._forget_keys(link, message)
        asks_clock = action == "clock" and self.rules.clock is not None and not self._clock_tried
        if asks_clock:
            self._clock_tried = True
            self._ask_clock(now)
        if action == "wait":
            retry_after = retry_after or WAIT
        if self._current is not None:  # a handover failed, and the old connection still lives
            if link.opened_at:
                self._unshare_at = now + DRAIN  # what it was quicker to bring is still on its way
            else:
                self.out.append(Share(self._current.id, None))
            self._handover_retry_at = now + max(self._delay(), retry_after)
            return
        if action == "fatal":
            self._finish(code, message)
            return
        for other in self._links.values():
            if other.state is not State.DRAINING:  # the next connection is on its way already
                self.state = other.state
                return
        self.state = State.WAITING
        self._awaits_clock = asks_clock
        self._retry_at = now + (self.rules.timeout + self._delay() if asks_clock else max(self._delay(), retry_after))

    def _ask_clock(self, now: float) -> None:
        if self.rules.clock is not None:
            self._fetch(now, ("clock", 0), self.rules.clock.call)

    def _forget_keys(self, link: Link, why: str) -> None:
        """The keys of a link are dead, and with them what gets ready by the same ones: it would stay silent."""
        for account, value in link.keys.items():
            if account in self._keys and self._keys[account].value == value:
                del self._keys[account]
        for other in list(self._links.values()):
            is_old = other is self._current or other.state is State.DRAINING
            if not is_old and other.keys.items() & link.keys.items():
                self._drop(other, why)

    def _delay(self) -> float:
        backoff = self.rules.backoff
        delay = min(backoff.first * backoff.factor ** min(self.attempts, 64), backoff.longest)
        self.attempts += 1
        return delay * (1 - backoff.jitter * self._random())

    def _finish(self, code: str | None, message: str) -> None:
        for link in list(self._links.values()):
            self._drop(link, message)
        self._retry_at = self._handover_retry_at = self._unshare_at = NEVER
        self._again.clear()
        self.state = State.CLOSED
        self.out.append(Finish(code, self.scrub(message)))
        self._keys.clear()

    # ---- MARK: Getting ready ----

    def _next_step(self, now: float, link: Link) -> None:
        link.step += 1
        if link.step >= len(self.rules.steps):
            self._ready(now, link)
            return
        step = self.rules.steps[link.step]
        self._enter(link, State(step.state))
        link.deadline = now + self.rules.timeout
        if step.each == "account":
            wanted = [number for number, account in enumerate(self.accounts) if account is not None]
            ready = [number for number in wanted if self.rules.key is None or number in self._keys]
            if wanted and not ready:
                self._fail(now, link, "the listen key is gone")
                return
            link.outbox += [Pending(step, "step", number) for number in ready]
            if self.rules.key is not None:
                for number in sorted({*wanted} - {*ready} - {*self._again}):  # gone since the link was wanted
                    self._fetch(now, ("create", number), self.rules.key.create)
                if link.id not in self._links:
                    return
        elif step.each == "channels":
            for batch in self._batches(self.channels):
                link.outbox.append(Pending(step, "step", channels=batch, remaining=len(batch)))
        elif step.send is not None:
            link.outbox.append(Pending(step, "step"))
        else:
            link.waiting.append(Pending(step, "step"))
        if link.outbox:
            self._flush(now, link)
        elif not link.waiting:
            self._next_step(now, link)

    def _enter(self, link: Link, state: State) -> None:
        link.state = state
        if link.why != "handover" or self._current is None:
            self.state = state

    def _batches(self, channels: Sequence[dict[str, str]]) -> Iterator[list[dict[str, str]]]:
        """Channels in as few frames as the venue's limit allows."""
        limit = self.rules.frame_bytes or 1 << 20
        batch: list[dict[str, str]] = []
        for channel in channels:
            if batch and len(orjson.dumps([*batch, channel])) > limit:
                yield batch
                batch = []
            batch.append(channel)
        if batch:
            yield batch

    def _flush(self, now: float, link: Link) -> None:
        """Send what waits to be sent, as fast as the venue allows.

        It counts arrivals, and what left over seconds may arrive as one: after a pause of the network, or of ours.
        So a message counts until its answer is a second old: none can have arrived later than that says.
        """
        link.resume_at = NEVER
        limited = self.rules.messages_per_second > 0
        per_second = max(self.rules.messages_per_second - 1, 1)  # one is for a heartbeat
        while link.outbox:
            if limited:
                while link.answered and link.answered[0] <= now - SECOND:
                    link.answered.pop(0)
                if len(link.waiting) + len(link.answered) >= per_second:
                    self._pause(link, link.answered[0] + SECOND if link.answered else NEVER)
                    return
            if self.rate_limits:
                at_venue = self._wall() / 1e9 + self.clock_offset / 1e3
                if (wait := until_room(self.rate_limits, len(link.waiting), at_venue)) > 0:
                    self.rate_limits, self._limited_until = (), now + wait  # they will be over then
            if now < self._limited_until:
                self._pause(link, self._limited_until)
                return
            if self._limited_until and link.waiting:  # one request finds out what there is room for; its time goes on
                link.resume_at = now + SECOND
                return
            pending = link.outbox.pop(0)
            if getattr(pending.what, "each", "") == "account" and self.accounts[pending.account] is None:
                self._go_on(now, link, pending)  # taken off again before its turn
                continue
            limit = self.rules.lifetime_subscriptions
            if limit and pending.kind == "account" and link.total + 1 >= limit:
                self.handover(now)  # subscribes every account on a connection whose ids begin at 0
                continue
            try:
                payload = self._frame(link, pending)
            except Exception as error:
                cannot = f"cannot be sent: {type(error).__name__}", "retry"  # what the user gave
                self._refused(now, link, pending, "", *(cannot if pending.user else self._unsigned(error)))
                if link.id not in self._links:
                    return
                continue
            pending.deadline = now + self.rules.timeout
            link.waiting.append(pending)
            if getattr(pending.what, "each", "") == "account":
                self._asked |= 1 << pending.account  # its events may come before the answer
            if link.state in (State.AUTHENTICATING, State.SUBSCRIBING):
                link.deadline = pending.deadline
            self.out.append(Send(link.id, payload))

    def _pause(self, link: Link, until: float) -> None:
        """Send nothing more until then, which is none of the time that an answer may take."""
        link.resume_at = until
        if until != NEVER and link.state in (State.AUTHENTICATING, State.SUBSCRIBING):
            link.deadline = max(link.deadline, until + self.rules.timeout)

    def _taken(self, now: float, link: Link, pending: Pending) -> None:
        """A request is answered, or will not be."""
        link.waiting.remove(pending)
        if self.rules.messages_per_second:
            link.answered.append(now)
            if link.outbox and link.resume_at == NEVER:
                self._pause(link, link.answered[0] + SECOND)

    def _ready(self, now: float, link: Link) -> None:
        """Everything is subscribed."""
        link.deadline = NEVER
        if self._current is not None:
            old, self._current = self._current, link
            old.recovering = ()
            self._release(old)
            self._enter(old, State.DRAINING)
            old.deadline = now + DRAIN
            old.left_at = self._wall()
            self._leave(old, link, old.left_at)
            old.handover_at = NEVER
            link.state = self.state = State.LIVE
            self.handovers += 1
            self._live_at = now
            self._clock_tried = False
            self._tell("reconnected", "moved to a new connection without a gap")
            self._release(link)
            self._fill_own(now, link)
            return
        served = set(link.subscriptions.values())
        for account in self._unheard.keys() & served:
            del self._unheard[account]  # the gap of all is its own
        if self._gap_since:
            for account in range(len(self.accounts)):
                if self._asked >> account & 1 and account not in served:
                    self._unheard.setdefault(account, self._gap_since)
        if self._gap_since:
            begin, end = self._gap_since, self._wall()
            self._gap_since = 0
            self._after_gap(now, link, begin, end)
        else:
            self._live(now, link)

    def _after_gap(self, now: float, link: Link, begin: int, end: int) -> None:
        self._fill(now, link, begin, end)
        if link.recovering:
            self._enter(link, State.RECOVERING)
        else:
            self._live(now, link)

    def _fill(self, now: float, link: Link, begin: int, end: int, account: int | None = None) -> None:
        """Tell of a gap. If somebody fills it, what the link brings meanwhile waits."""
        self.gaps += 1
        self._tell("gap", f"no stream for {(end - begin) / 1e9:.3f} s", account=account, begin=begin, end=end,
                   link=link.id)  # fmt: skip
        if self._recover:
            for other in list(self._links.values()):
                if link is self._current is not other and other.state is not State.DRAINING:
                    self._fail(now, other, "it is put off until the gap is filled")  # it would bring what comes later
            link.recovering += (self.gaps,)
            link.deadline = now + self._recover_timeout
            self._hold(link)
            self.out.append(Recover(link.id, self.gaps, begin, end))

    def _fill_own(self, now: float, link: Link) -> None:
        """The same for accounts that were without a subscription while others had theirs, and have it now."""
        for account in self._unheard.keys() & set(link.subscriptions.values()):
            self._fill(now, link, self._unheard.pop(account), self._wall(), account)

    def _leave(self, link: Link, other: Link, since: int) -> None:
        """What accounts had on a link only, which came while there were two, they will miss."""
        asked = {one.account for one in link.waiting if getattr(one.what, "each", "") == "account"}
        for account in asked.union(link.subscriptions.values()).difference(other.subscriptions.values()):
            self._unheard.setdefault(account, since)

    def _hold(self, link: Link) -> None:
        if self._recover and not link.is_held:
            link.is_held = True
            self.out.append(Hold(link.id))

    def _release(self, link: Link) -> None:
        if link.is_held:
            link.is_held = False
            self.out.append(Release(link.id))

    def _live(self, now: float, link: Link) -> None:
        link.deadline = NEVER
        self._current = link
        link.state = self.state = State.LIVE
        self._live_at = now
        self._clock_tried = False
        if link.why == "handover":  # whose predecessor broke while both brought the stream
            self._unshare_at = now + DRAIN
        if self.was_live:
            self.reconnects += 1
        self._tell("reconnected" if self.was_live else "connected", "the stream is live")
        self.was_live = True
        self._release(link)

    # ---- MARK: Notices of the venue ----

    def _notice(self, now: float, link: Link, notice: Notice, frame: dict[str, Any], text: bytes) -> None:
        code = notice.code
        if code == "ping":
            if self.rules.answer is not None:
                values = {**self._values(0), **{name: value for name, value in frame.items() if name == "ping"}}
                self.out.append(Send(link.id, orjson.dumps(filled(self.rules.answer, values))))
        elif code == "listen_key_expired":
            if link.state is not State.DRAINING:
                self._fail(now, link, "the listen key expired", action="new_key")
        elif code in ("server_shutdown", "system_close"):
            if link is self._current or link.state is State.RECOVERING:
                self.handover(now)
        elif code == "stream_terminated":
            self._terminated(now, link, notice)
        elif (pending := self._match(link, notice)) is not None:
            if pending in link.overdue:
                link.overdue = tuple(one for one in link.overdue if one is not pending)
                if code in pending.what.expect:
                    self._subscribed(now, link, pending, frame)
            elif code == "error":
                self._error(now, link, pending, notice, frame)
            elif code in pending.what.expect or code == "empty":
                self._answered(now, link, pending, frame, text)
            elif notice.request_id is not None:
                self._taken(now, link, pending)
                self._refused(now, link, pending, "", f"an unexpected answer: {code}", "retry")
        elif code == "error":
            self._error(now, link, None, notice, frame)

    def _match(self, link: Link, notice: Notice) -> Pending | None:
        """Which request a notice answers: that with its id, or else the first that it may be meant for."""
        number, code = notice.request_id, notice.code
        for one in (*link.waiting, *link.overdue):
            if number is not None and one.id == number:
                return one
        for one in link.waiting:
            # Some venues put an id of their own into answers to requests that have none.
            if (one.id is None and code in (*one.what.expect, "error")) or (number is None and code == "error"):
                return one
        return None

    def _answered(self, now: float, link: Link, pending: Pending, frame: dict[str, Any], text: bytes) -> None:
        what = pending.what
        self._subscribed(now, link, pending, frame)
        if getattr(what, "each", "") == "account":
            link.total += 1
        if getattr(what, "expires", ""):
            self._key_ends(now, pending.account, at(frame, getattr(what, "expires", "")))
        pending.remaining -= 1
        if pending.remaining > 0:
            return
        self._taken(now, link, pending)
        if pending.user:
            if (path := getattr(what, "secret", "")) and isinstance(secret := at(frame, path), str):
                self._frames.use(secret)
            self.out.append(Reply(pending.user, text, "", ""))
        self._go_on(now, link, pending)

    def _subscribed(self, now: float, link: Link, pending: Pending, frame: dict[str, Any]) -> None:
        """An account has a subscription, if the answer says so."""
        id_path = getattr(pending.what, "id_path", "")
        if id_path and isinstance(subscription_id := at(frame, id_path), int) and 0 <= subscription_id < 1 << 16:
            if self.accounts[pending.account] is None:  # taken off before the answer was there
                self._unsubscribe(now, link, subscription_id)
            else:
                link.subscriptions[subscription_id] = pending.account
                if list(self._links.values()) == [link]:  # else it may have to be asked for on another one
                    self._again.pop(pending.account, None)
                self.out.append(Route(link.id, subscription_id, pending.account))
                if pending.kind == "account" and link.state in (State.RECOVERING, State.LIVE):
                    self._fill_own(now, link)
                    if link.state is State.LIVE:  # else all are told once it is
                        self._tell("reconnected", "subscribed", account=pending.account, link=link.id)

    def _go_on(self, now: float, link: Link, pending: Pending) -> None:
        if pending.kind == "step" and not any(one.kind == "step" for one in (*link.waiting, *link.outbox)):
            self._next_step(now, link)

    def _error(self, now: float, link: Link, pending: Pending | None, notice: Notice, frame: dict[str, Any]) -> None:
        code = notice.error_code or ""
        message = notice.message or "the venue gave no reason"
        status = at(frame, self.rules.status_path) if self.rules.status_path else 0
        action = self._action(code, status if isinstance(status, int) else 0)
        delay = self._frames.until(at(frame, self.rules.retry_after)) if self.rules.retry_after else 0.0
        if pending is not None:
            if pending.remaining > 1 and action == "skip":
                pending.remaining -= 1
                return
            self._taken(now, link, pending)
            self._refused(now, link, pending, code, message, action, delay)
        elif code in self.rules.errors and action != "skip":  # out of the blue
            self._fail(now, link, message, code, action, delay)

    def _refused(
        self, now: float, link: Link, pending: Pending, code: str, message: str, action: str, delay: float = 0.0
    ) -> None:
        """A request got an error, or no answer."""
        if pending.user:
            link.is_left &= not getattr(pending.what, "ends", False)
            self.out.append(Reply(pending.user, b"", code, self.scrub(message)))
        elif pending.kind == "unsubscribe" or action == "skip":
            self._tell("error", message, code or None, about=pending.kind)
            self._go_on(now, link, pending)
            if pending.kind == "account" and pending.account not in link.subscriptions.values():
                self.handover(now)  # it has a subscription whose number we do not know: the next connection's are known
        elif pending.kind == "channels" and code and (action == "fatal" or code not in self.rules.errors):
            self._tell("error", message, code, about="subscribing")
            self.channels = tuple(one for one in self.channels if one not in (pending.channels or ()))
        elif getattr(pending.what, "each", "") == "account" and self._can_do_without(link, pending.account, action):
            self._set_back(now, pending.account, message, code, action, delay)
            self._go_on(now, link, pending)
        else:
            self._fail(now, link, message, code or None, action, delay)

    def _can_do_without(self, link: Link, account: int, action: str) -> bool:
        """Whether a link is of use without one of its accounts: the stream of the others goes on then."""
        others = {n for n, one in enumerate(self.accounts) if one is not None} - {account}
        if link.state in (State.RECOVERING, State.LIVE):
            return bool(others)
        if action == "wait" or (action == "fatal" and not self.was_live):
            return False  # the others would be sent away, too; who has just begun wants to know
        if self._current is not None and account in self._current.subscriptions.values():
            return False  # the old link serves it
        asked = {one.account for one in (*link.waiting, *link.outbox) if one.kind == "step"}
        return bool(others & {*link.subscriptions.values(), *asked, *link.keys_missing, *self._keys})

    def _set_back(self, now: float, account: int, message: str, code: str, action: str, delay: float = 0.0) -> None:
        """An account is refused: for good, or it is tried again later. The others go on."""
        self._tell("error", message, code or None, about="subscribing", account=account)
        if action == "fatal":
            self._forget(account)
            return
        if action == "new_key":
            self._keys.pop(account, None)
        elif action == "clock":
            self._ask_clock(now)
        self._again[account] = now + max(self._delay(), delay or (WAIT if action == "wait" else 0.0))

    def _forget(self, account: int) -> None:
        self.accounts[account] = None
        self._asked &= ~(1 << account)
        for of_account in (self._keys, self._unheard, self._again):
            of_account.pop(account, None)
        for link in self._awaiting(account):
            self._needs_no_key(link, account)

    def _action(self, code: str, status: int) -> str:
        return self.rules.errors.get(code) or self.rules.statuses.get(str(status)) or "retry"

    def _terminated(self, now: float, link: Link, notice: Notice) -> None:
        """The venue ended a subscription."""
        number = notice.subscription_id
        if number is None or number not in link.subscriptions:
            # Of an account that unsubscribed or logged out there is none left; else nobody knows which one it was.
            if link is self._current and (link.subscriptions or not self.rules.multiplexed) and number is None:
                self._fail(now, link, "the venue ended the stream")
            return
        account = link.subscriptions.pop(number)
        link.ended += ((number, account),)
        if link.state is State.DRAINING or self.accounts[account] is None:
            return
        if link.is_left:
            self._tell("disconnected", "the subscription has ended, as was asked for", account=account, link=link.id)
            return
        self._unheard.setdefault(account, self._gap_since or self._wall())
        self._tell("disconnected", "the venue ended a subscription; subscribing again", account=account, link=link.id)
        self._keys.pop(account, None)
        self._subscribe(now, account)

    def _subscribe(self, now: float, account: int) -> None:
        """Subscribe an account wherever the others are, or are about to be."""
        if self.rules.key is not None and account not in self._keys:
            self._fetch(now, ("create", account), self.rules.key.create)  # it goes on once the key is there
            return
        for link, step in self._subscribers("account"):
            asked = [one.account for one in (*link.waiting, *link.outbox) if one.what is step]
            if account not in (*link.subscriptions.values(), *asked):
                link.outbox.append(Pending(step, "account", account))
                link.is_left = False
                self._flush(now, link)

    def _subscribers(self, each: str) -> list[tuple[Link, Step]]:
        """Links that have begun to subscribe, so that what is new has to be asked for, and the step that does it."""
        for n, step in enumerate(self.rules.steps):
            if step.each == each:
                links = self._links.values()
                return [(link, step) for link in links if link.step >= n and link.state is not State.DRAINING]
        return []

    # ---- MARK: Keys ----

    def _key_created(self, now: float, account: int, body: bytes) -> None:
        if self.accounts[account] is None:
            return  # it has been taken off meanwhile
        key, answer = self.rules.key, parsed(body)
        value = at(answer, key.value) if key is not None else None
        if key is None or not isinstance(value, str) or not value:
            self._no_key(now, account, "the answer holds no listen key", "", "retry")
            return
        if account in self._keys and not self._keys[account].doubted:
            return  # a late answer to an attempt that was given up: somebody goes by the key that is there
        renews = key.renew is not None and key.every > 0
        lives = key.lifetime if renews else max(key.lifetime - self.rules.lead, key.lifetime / 2)
        self._keys[account] = ListenKey(value, now + key.every if renews else NEVER, now + lives)
        self._n_secrets += 1
        if key.expires:
            self._key_ends(now, account, at(answer, key.expires))
        for link in self._awaiting(account):
            self._key_found(link, account)
        self._subscribe(now, account)

    def _no_key(
        self, now: float, account: int, message: str, code: str, action: str, retry_after: float = 0.0
    ) -> None:  # fmt: skip
        """A listen key could not be fetched."""
        if self.accounts[account] is None:
            return
        links = self._awaiting(account)
        message = f"no listen key: {message}"
        if not links and account not in self._keys:  # it came later
            links = [one for one in self._links.values() if one.step >= 0 and one.state is not State.DRAINING][:1]
        for link in links:
            if account in self._keys and action != "fatal":
                self._key_found(link, account)  # the old one, which may be good
            elif self._can_do_without(link, account, action):
                self._set_back(now, account, message, code, action, retry_after)
                self._needs_no_key(link, account)
            else:
                self._fail(now, link, message, code or None, action, retry_after)

    def _awaiting(self, account: int) -> list[Link]:
        """Links that are opened once the account has a key."""
        return [link for link in self._links.values() if account in link.keys_missing]

    def _key_found(self, link: Link, account: int) -> None:
        self._keys[account].doubted = False
        self._needs_no_key(link, account)

    def _needs_no_key(self, link: Link, account: int) -> None:
        if account in link.keys_missing:
            link.keys_missing = set(link.keys_missing) - {account}
            if not link.keys_missing:
                self._connect(link)

    def _key_ends(self, now: float, account: int, when: Any) -> None:
        """A token ends at a time: the next connection, with a new one, is opened before.

        By a clock that is wrong it might end too late, or be over: then what the rules say about its life holds.
        """
        key, left = self._keys.get(account), self._frames.until(when)
        if key is not None and left > 0:
            key.expires_at = min(key.expires_at, now + max(left - self.rules.lead, left / 2, 1.0))

    def _key_renewed(self, now: float, account: int) -> None:
        key, rule = self._keys.get(account), self.rules.key
        if key is not None and rule is not None:
            key.renew_at, key.expires_at = now + rule.every, now + rule.lifetime

    def _not_renewed(self, now: float, account: int, message: str, code: str, action: str) -> None:
        key = self._keys.get(account)
        if key is None:
            return
        self._tell("error", f"the listen key could not be renewed: {message}", code or None, about="listen key")
        if action == "new_key":
            self._keys.pop(account, None)
            for link in [one for one in self._links.values() if one.keys.get(account) == key.value]:
                if link.id in self._links and link.state is not State.DRAINING:
                    self._fail(now, link, "the listen key is gone", code or None, action)
        elif action == "fatal" and self._current is not None:
            self._fail(now, self._current, message, code or None, action)
        elif action == "clock":
            self._ask_clock(now)  # the next attempt goes by it

    # ---- MARK: What is sent ----

    def _values(self, account: int, **more: Any) -> dict[str, Any]:
        identity = self.accounts[account] if account < len(self.accounts) else None
        key = self._keys.get(account)
        return self._frames.values(identity, key.value if key is not None else None, **more)

    def _frame(self, link: Link, pending: Pending) -> bytes:
        """The frame of a request."""
        values = self._values(
            pending.account, id=link.next_id, channels=pending.channels, subscription_id=pending.subscription_id
        )
        if "{id}" in str(pending.what.send):
            pending.id = str(link.next_id)
            link.next_id += 1
        if "listen_key" in values:
            link.keys[pending.account] = values["listen_key"]
        return self._frames.frame(pending.what, values, pending.params)

    def _fetch(self, now: float, tag: tuple[str, int], call: Call) -> None:
        what, account = tag
        try:
            url, headers = self._frames.call(call, self._values(account))
        except Exception as error:
            message, action = self._unsigned(error)
            if what == "create":
                self._no_key(now, account, message, "", action)
            elif what == "renew":
                self._not_renewed(now, account, message, "", action)
            return
        self.out.append(Fetch(tag, call.method, url, headers))

    def _unsigned(self, error: Exception) -> tuple[str, str]:
        """What to say if something could not be signed, and what to do: a signer may be a device that is busy."""
        logger.debug("where signing failed", exc_info=error)
        text = f": {error}" if isinstance(error, AuthError) else ""  # others' words may hold anything
        is_final = isinstance(error, AuthError) or not self.was_live
        return f"cannot sign: {type(error).__name__}{text}", "fatal" if is_final else "retry"

    def _error_in(self, body: bytes) -> tuple[str, str]:
        """The venue's code and text in the answer to a request over HTTP."""
        answer = parsed(body)
        code, text = at(answer, "code"), at(answer, "msg")
        return (str(code), str(text)) if code is not None and text is not None else ("", "")

    # ---- MARK: Telling ----

    def _tell(
        self,
        what: str,
        message: str,
        code: str | None = None,
        *,
        about: str | None = None,
        account: int | None = None,
        begin: int = 0,
        end: int = 0,
        link: int | None = None,
    ) -> None:
        notice: dict[str, Any] = {"execwire": what, "message": self.scrub(message)}
        if about:
            notice["about"] = about
        if code:
            notice["code"] = code
        if begin:
            notice.update({"from": begin, "to": end})
        self.out.append(Tell(notice, account, link))
