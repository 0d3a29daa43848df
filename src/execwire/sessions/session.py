"""`Session`: a private stream, from the user's side."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import importlib.util
import logging
import os
import random
import time
from typing import TYPE_CHECKING, Any, NoReturn, Self
from urllib.parse import urlsplit

import orjson

from execwire import rules, venues
from execwire.auth import AuthError, Credentials
from execwire.delivery import Calls, Handler, Inbox, Overlap, Pump, is_delivering
from execwire.recording import FileRecorder
from execwire.sessions import effects
from execwire.sessions.machine import Machine, State
from execwire.sessions.taping import Tap, Taping
from execwire.sessions.transport import PROFILES, ConnectError, connect, hub

if TYPE_CHECKING:
    import ssl
    from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
    from types import TracebackType

    from execwire.core import Notice, Record
    from execwire.recording import Recorder
    from execwire.sessions.frames import Identity
    from execwire.sessions.transport import Hub
    from execwire.venues import Venue

__all__ = ["Account", "Gap", "Key", "Session", "SessionError"]

logger = logging.getLogger("execwire")

MAX_MESSAGE = 16 << 20
CLOSING = 1.0  # s that sockets may take to close
ENDING = 2.0  # s that requests under way may take, and a recovery
GIVING_BACK = 5.0  # s that they may take where listen keys are deleted
SAVING = 10.0  # s that the recorder may take to write the rest
NORMAL = 1000  # the code of an end as it should be
LOOK = 1.0  # s until the next look for the answer to a ping that is late
OF_MACHINES = ("reconnects", "handovers", "gaps")  # what they count
ZERO = dict.fromkeys((
    "messages", "bytes", "records", "notices", "batches", "decode_errors", "handler_errors", "duplicates",
    "undelivered", "out_of_order", "late", "heartbeats",
), 0)  # fmt: skip


class SessionError(Exception):
    """A session cannot go on.

    Attributes
    ----------
    code : str or None
        The venue's own number, if it gave one.
    message : str
        The venue's text, or ours.
    """

    def __init__(self, message: str, code: str | None = None) -> None:
        super().__init__(f"{message} (code {code})" if code else message)
        self.code = code
        self.message = message


class Key:
    """An API key or a login token where nothing is signed. Shows itself to nobody.

    Parameters
    ----------
    api_key : str
    """

    __slots__ = ("api_key",)

    def __init__(self, api_key: str) -> None:
        if not api_key:
            raise AuthError("the key is empty")
        self.api_key = api_key

    @property
    def passphrase(self) -> str:
        """There is none."""
        raise AuthError("this venue needs a passphrase, and a bare key has none")

    def sign(self, payload: str | bytes, encoding: Any = None) -> str:  # noqa: ARG002
        """There is nothing to sign with."""
        raise AuthError("this venue needs a signature: give Credentials instead of a bare key")

    def __repr__(self) -> str:
        return "Key(...)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("keys are not pickled")


class Account:
    """One of several accounts of a session, with a handler of its own.

    Parameters
    ----------
    credentials : Credentials or Key
    handler : Handler or callable or None
        Gets the account's records; None: they go where the session's go.
    name : str
        Yours.

    Attributes
    ----------
    subscription_id : int or None
        What the account's records carry, as long as the present connection lives.
    """

    __slots__ = ("credentials", "handler", "name", "subscription_id")

    def __init__(
        self, credentials: Identity, handler: Handler | Callable[[Record], object] | None = None, name: str = ""
    ) -> None:
        if isinstance(credentials, str):
            raise TypeError("credentials are Credentials or a Key, not str")
        self.credentials = credentials
        self.handler = _as_handler(handler)
        self.name = name
        self.subscription_id: int | None = None

    def __repr__(self) -> str:
        return f"Account({self.name!r}, subscription_id={self.subscription_id})"


class Gap:
    """A time without a stream, for the one who fills it.

    Attributes
    ----------
    begin, end : int
        ns since 1970 UTC, by the clock of this machine: when the last frame came, and when the stream was live again.
        What was on its way at `begin` is lost as well: ask the venue from a little earlier on.
    """

    __slots__ = ("begin", "end")

    def __init__(self, begin: int, end: int) -> None:
        self.begin = begin
        self.end = end

    def __repr__(self) -> str:
        return f"Gap({(self.end - self.begin) / 1e9:.3f} s)"


def _nothing(now: float) -> None:
    """For `_Line.happened`: there is something to carry out."""


def _as_handler(handler: Any) -> Handler | None:
    return handler if handler is None or isinstance(handler, Handler) else Calls(handler)


def _checked(name: str, url: str | None, schemes: tuple[str, str]) -> str | None:
    """The URL, which no attempt to connect could use otherwise. The error does not show it: it may hold a key."""
    if url and (urlsplit(url).scheme not in schemes or not urlsplit(url).netloc):
        raise ValueError(f"{name} must begin with {schemes[0]}:// or {schemes[1]}://, and name a host")
    return url


class _Link:
    """The socket of a machine's link."""

    __slots__ = ("connecting", "line", "number", "pump", "refused")

    def __init__(self, line: _Line, number: int, pump_handler: Handler) -> None:
        self.line = line
        self.number = number
        session = line.session
        self.pump = Pump(session._decoders[0], session._decoders[1], pump_handler, self)
        self.pump.recorder = session._tap()
        if session._reorder:
            self.pump.order_by_event_time(int(session._reorder * 1e9), 65_536)
        self.refused = ""
        self.connecting: asyncio.Task[None] | None = None

    # What the pump and the listener tell.

    def on_open(self, transport: Any) -> None:
        if self.line.links.get(self.number) is not self:  # given up while it was being opened
            self.pump.shut = True
            transport.disconnect()
            return
        self.line.session._sockets.append(self)
        self.line.happened(self.line.machine.opened, self.number)

    def on_close(self, code: int, reason: str) -> None:
        self.pump.drain()
        session = self.line.session
        session._hub.pulse.discard(self.pump)
        if self in session._sockets:
            session._sockets.remove(self)
            session._add_up(self.pump.counts)  # only now: what was late came after it had been given up
        if session._last_closed is not None and not session._sockets:
            session._last_closed.set()
        self.line.links.pop(self.number, None)
        self.pump.share(None)
        self.line.gone = self
        self.line.happened(self.line.machine.closed, self.number, code, self.refused or reason)
        self.line.gone = None

    def on_refused(self, reason: str) -> None:
        self.refused = reason

    def on_control(self, text: bytes, notices: list[Notice]) -> None:
        self.line.happened(self.line.machine.received, self.number, text, notices)

    def on_waiting(self) -> None:
        self.line.session._order_soon(self)

    def on_undecodable(self, message: str) -> None:
        self.line.happened(self.line.machine.malformed, self.number, message)

    def on_handler_stop(self, error: BaseException) -> None:
        self.line.session._stop_with(error)

    def on_echo(self) -> None:
        self.line.happened(self.line.machine.caught_up, self.number)

    def on_silent(self, why: str) -> None:
        self.line.session._silences += 1
        self.line.happened(self.line.machine.silent, self.number, why)


class _Line:
    """A machine and its sockets."""

    __slots__ = (
        "_broken", "_busy", "_deadline", "_timer", "accounts", "came_later", "gone", "links", "machine", "session",
    )  # fmt: skip

    def __init__(self, session: Session, accounts: Sequence[Account], channels: Sequence[dict[str, str]]) -> None:
        self.session = session
        self.accounts = list(accounts)
        self.links: dict[int, _Link] = {}
        self.gone: _Link | None = None  # that is being closed by the other side
        self._timer: asyncio.Handle | None = None
        self._deadline = float("inf")  # that it was set for
        self._busy = self._broken = False
        self.came_later = False  # than the session's first ones
        self.machine = Machine(
            session._rules, [one.credentials for one in accounts], wall=time.time_ns, heard=self.heard,
            channels=channels, url=session._url, rest_url=session._rest_url, query=session._query,
            options=session._options, recover=session._recover is not None, recover_timeout=session._recover_timeout,
            delete_keys=session._delete_keys, random=random.random,
        )  # fmt: skip

    @property
    def handler(self) -> Handler:
        """What gets the records that no route takes: where a connection has one account, that account's own."""
        own = None if self.session._rules.multiplexed else self.accounts[0].handler
        return own or self.session._handler

    def heard(self, number: int) -> int:
        """When the last frame of a link came, ns since 1970."""
        link = self.links.get(number, self.gone)
        return (link.pump.heard if link is not None and link.number == number else 0) or time.time_ns()

    def happened(self, what: Callable[..., Any], *args: Any) -> Any:
        """Tell the machine, then do what it wants."""
        try:
            result = what(self.session._loop.time(), *args)
            self.carry_out()
        except Exception as error:
            # A mistake of ours, or of a class that users may replace: better the end than a stream nobody looks after.
            if self._broken:
                raise
            self._broken = True
            self.session._stop_with(error)
            return None
        return result

    def carry_out(self) -> None:
        """Do what the machine wants. What that causes is done after it, in order.

        Not below a handler, which is being given records: what is held back would come between them.
        """
        if self._busy:
            return
        if is_delivering(*self.session._decoders) and not self.session._is_stopped():
            self.session._loop.call_soon(self.happened, _nothing)
            return
        self._busy = True
        try:
            while self.machine.out:
                effect = self.machine.out.pop(0)
                DOING[type(effect)](self, effect)
        finally:
            self._busy = False
        self._set_timer()

    def _set_timer(self) -> None:
        when = self.machine.next_deadline()
        if when == self._deadline:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._deadline = when
        loop = self.session._loop
        # Not at once: it would be called again and again until the time has come.
        self._timer = None if when == float("inf") else loop.call_at(max(when, loop.time() + 0.001), self._on_timer)

    def _on_timer(self) -> None:
        self._timer, self._deadline = None, float("inf")
        self.happened(self.machine.tick)

    def on_handler_stop(self, error: BaseException) -> None:
        """A handler ended the session while it was told something."""
        self.session._stop_with(error)

    # ---- Effects ----

    def connect(self, effect: effects.Connect) -> None:
        link = self.links[effect.link] = _Link(self, effect.link, self.handler)
        if self.handler is not self.session._handler:
            link.pump.tell_also([self.session._handler])
        link.connecting = self.session._loop.create_task(self._connect(link, effect))

    async def _connect(self, link: _Link, effect: effects.Connect) -> None:
        session = self.session
        try:
            async with session._hub.connecting:
                await connect(
                    link.pump, effect.url, effect.headers, session._profile, max_message=session._max_message,
                    timeout=session._rules.timeout, tls=session._tls, proxy=session._proxy,
                )  # fmt: skip
        except ConnectError as error:
            if link in session._sockets or self.links.get(link.number) is not link:
                return  # it was opened in the very moment, and lives
            self.links.pop(link.number, None)
            self.happened(self.machine.failed, link.number, str(error), error.status, error.body, error.retry_after)
        except Exception as error:
            self.links.pop(link.number, None)
            self.happened(self.machine.failed, link.number, type(error).__name__)
        finally:
            link.connecting = None

    def send(self, effect: effects.Send) -> None:
        link = self.links.get(effect.link)
        if link is not None and link.pump.transport is not None:
            link.pump.transport.send(self.session._text, effect.payload)

    def close(self, effect: effects.Close) -> None:
        link = self.links.pop(effect.link, None)
        if link is None:
            return
        self.session._hub.pulse.discard(link.pump)
        if link.connecting is not None:
            link.connecting.cancel()
        link.pump.drain()
        link.pump.shut = True
        if link not in self.session._sockets:
            self.session._add_up(link.pump.counts)
        if (transport := link.pump.transport) is not None:
            link.pump.pause(False)
            transport.send_close(NORMAL)
            transport.disconnect()

    def fetch(self, effect: effects.Fetch) -> None:
        async def run() -> None:
            status, body, error, retry_after = await self.session._hub.fetch(
                effect.method, effect.url, effect.headers, self.session._tls, self.session._proxy
            )
            self.happened(self.machine.fetched, effect.tag, status, body, error, retry_after)

        self.session._task(run())

    def tell(self, effect: effects.Tell) -> None:
        self.session._tell(self, effect)

    def route(self, effect: effects.Route) -> None:
        link = self.links.get(effect.link)
        account = self.accounts[effect.account] if effect.account is not None else None
        if account is not None:
            account.subscription_id = effect.subscription_id
        if link is not None and (account is None or account.handler is not None):
            link.pump.route(effect.subscription_id, account.handler if account is not None else None)

    def beat(self, effect: effects.Beat) -> None:
        link = self.links.get(effect.link)
        beat = self.session._rules.heartbeat
        if link is None:
            return
        prefix = suffix = None
        if beat is not None and beat.send is not None:
            text = beat.send.encode() if isinstance(beat.send, str) else orjson.dumps(beat.send)
            prefix, _, rest = text.partition(b'"{ms}"')
            suffix = rest if rest else None
        link.pump.heartbeat(
            period=beat.every if beat else 0.0, prefix=prefix, suffix=suffix, reply=beat.within if beat else 0.0,
            silence=self.session._rules.silence, data_silence=self.session._event_silence,
            now=self.session._loop.time(),
        )  # fmt: skip
        self.session._hub.pulse.add(link.pump)

    def hold(self, effect: effects.Hold) -> None:
        if (link := self.links.get(effect.link)) is not None:
            link.pump.hold()

    def release(self, effect: effects.Release) -> None:
        if (link := self.links.get(effect.link)) is not None:
            link.pump.release()

    def catch_up(self, effect: effects.CatchUp) -> None:
        """Send a ping: its answer comes behind everything that was sent before, wherever that is held up."""
        link = self.links.get(effect.link)
        if link is None or link.pump.echo is not None:
            return
        link.pump.echo = b"%d" % time.time_ns()
        if link.pump.transport is not None:
            link.pump.transport.send_ping(link.pump.echo)
        self.session._loop.call_later(self.session._rules.timeout, self._no_echo, link, link.pump.echo, False)

    def _no_echo(self, link: _Link, echo: bytes, is_sure: bool) -> None:
        """There are servers that answer no pings: do without, unless a loop that stood still has yet to read it."""
        if self.links.get(link.number) is not link or link.pump.echo != echo:
            return
        if is_sure and not link.pump.paused:
            link.pump.echo = None
            self.happened(functools.partial(self.machine.caught_up, is_sure=False), link.number)
        else:
            self.session._loop.call_later(LOOK, self._no_echo, link, echo, True)

    def share(self, effect: effects.Share) -> None:
        overlap = Overlap() if effect.second is not None else None
        for number in (effect.first, effect.second):
            if number is not None and (link := self.links.get(number)) is not None:
                if overlap is None:
                    link.pump.drain()  # what waits for its turn has been compared with what the other one brought
                link.pump.share(overlap)

    def recover(self, effect: effects.Recover) -> None:
        async def run() -> None:
            error = None
            try:
                await self.session._recover(Gap(effect.begin, max(effect.begin, effect.end)))  # type: ignore[misc]
            except Exception as problem:
                error = type(problem).__name__
                logger.error("the recovery failed: %s", error)  # noqa: TRY400  (its words may hold a URL with a key)
                logger.debug("where it failed", exc_info=True)
            self.happened(self.machine.recovered, effect.link, effect.number, error)

        self.session._task(run())

    def reply(self, effect: effects.Reply) -> None:
        future = (self.session._replies or {}).pop((id(self), effect.request), None)
        if future is None or future.done():
            return
        if effect.payload:
            try:
                future.set_result(orjson.loads(effect.payload) if effect.payload[:1] in b"{[" else {})
            except orjson.JSONDecodeError:  # such as 1e999, which is JSON, and no float
                future.set_exception(SessionError("the venue's answer cannot be read"))
        else:
            future.set_exception(SessionError(effect.message, effect.code or None))

    def finish(self, effect: effects.Finish) -> None:
        self.session._line_ended(self, effect)


DOING: dict[type[effects.Effect], Callable[[_Line, Any], None]] = {
    effects.Connect: _Line.connect, effects.Send: _Line.send, effects.Close: _Line.close, effects.Fetch: _Line.fetch,
    effects.Tell: _Line.tell, effects.Route: _Line.route, effects.Beat: _Line.beat, effects.Hold: _Line.hold,
    effects.Release: _Line.release, effects.CatchUp: _Line.catch_up, effects.Share: _Line.share,
    effects.Recover: _Line.recover, effects.Reply: _Line.reply, effects.Finish: _Line.finish,
}  # fmt: skip


class Session:
    """A private stream that stays: connects, logs in, subscribes, keeps alive, and comes back by itself.

    Iterate over it for records, or give it a handler and await `run`. Whatever happens to the stream comes as notices
    between its records: ``connected``, ``disconnected``, ``gap`` (from when to when nothing could be heard),
    ``reconnected``, and ``error`` with the venue's code and text.

    Parameters
    ----------
    venue : str or path-like or Venue
        A built-in name, a TOML file, or what `venues.load` returned.
    credentials : Credentials or Key or None
        None: from the environment (see `credentials_from_env`), unless there are `accounts`.
    accounts : iterable of Account
        Several, where the venue carries several on one connection; elsewhere each gets a connection.
    variant : str or iterable of str
        Variants of the venue's file: ``"logon"``, ``("coinm", "stream")`` ...; later ones on top.
    channels : iterable of str or dict
        Where the venue has channels: ``"SPOT/orders"``, or the table that goes over the wire. None: those of the file.
    handler : Handler or callable or None
        Gets the records, in the event loop. None: they wait to be iterated over.
    url, rest_url : str or None
        Instead of the venue's. A URL without a path gets the venue's path; one that ends with a slash, the listen key.
    query, options : mapping
        More of the URL's query; values for ``[session.options]``.
    recover : coroutine function or None
        Called with a `Gap` before the first record after it is delivered: the place to fetch a snapshot. Only what an
        attempt to come back had brought before it failed is delivered earlier.
    recover_timeout : float
        Seconds that this may take; then the stream goes on without it.
    record : str or path-like or None
        A file to which everything received is appended, as it came; see `FileRecorder`.
    recorder : Recorder or None
        Gets what is received instead: a `FileRecorder` with options, or one of your own.
    profile : {"hot", "fleet"}
        Speed or memory; see `PROFILES`.
    spin : bool
        Poll instead of sleeping: lower latency for one whole core.
    limit : int
        How many records may wait to be iterated over, before reading from the socket stops. Nothing is dropped.
    reorder : float
        Seconds that messages wait to be put in the order of their event times; 0: as they come. For venues that
        promise no order. What comes too late is delivered at once and counted (``out_of_order``).
    event_silence : float
        Seconds without any record after which a connection counts as dead; 0: quiet accounts are no failure.
    delete_keys : bool
        Delete listen keys in the end. Binance gives an account one at a time, whoever asks: others who listen by it,
        in whatever process, lose their stream then. Otherwise keys expire by themselves.
    max_message : int
        Longest message, bytes.
    tls : ssl.SSLContext or None
        Instead of the system's trust.
    proxy : str or None
        ``http://``, ``https://``, ``socks4://`` or ``socks5://``; for sockets and calls over HTTP. Where a venue has
        such calls, SOCKS needs the extra ``execwire[socks]``.

    Raises
    ------
    VenueError
        If there is no such venue, or it has no session.
    AuthError
        If there are no usable credentials.

    Examples
    --------
    >>> async def main():
    ...     async with execwire.Session("binance-spot") as session:
    ...         async for record in session:
    ...             print(record)
    """

    __slots__ = (
        "__weakref__",
        "_channels",
        "_closed",
        "_closing",
        "_counts",
        "_decoders",
        "_delete_keys",
        "_ended",
        "_error",
        "_event_silence",
        "_given_handler",
        "_handler",
        "_hub",
        "_inbox",
        "_last_closed",
        "_limit",
        "_lines",
        "_loop",
        "_max_message",
        "_options",
        "_past",
        "_profile",
        "_proxy",
        "_query",
        "_record",
        "_recorder",
        "_recording",
        "_recover",
        "_recover_timeout",
        "_reorder",
        "_replies",
        "_rest_url",
        "_rules",
        "_silences",
        "_sockets",
        "_spin",
        "_spinning",
        "_started",
        "_tasks",
        "_text",
        "_tls",
        "_url",
        "_venue",
        "accounts",
    )  # fmt: skip

    def __init__(
        self,
        venue: str | os.PathLike[str] | Venue,
        credentials: Identity | None = None,
        *,
        accounts: Iterable[Account] = (),
        variant: str | Iterable[str] = (),
        channels: Iterable[str | dict[str, str]] | None = None,
        handler: Handler | Callable[[Record], object] | None = None,
        url: str | None = None,
        rest_url: str | None = None,
        query: Mapping[str, str] | None = None,
        options: Mapping[str, Any] | None = None,
        recover: Callable[[Gap], Awaitable[object]] | None = None,
        recover_timeout: float = 10.0,
        record: str | os.PathLike[str] | None = None,
        recorder: Recorder | None = None,
        profile: str = "hot",
        spin: bool = False,
        limit: int = 65_536,
        reorder: float = 0.0,
        event_silence: float = 0.0,
        delete_keys: bool = False,
        max_message: int = MAX_MESSAGE,
        tls: ssl.SSLContext | None = None,
        proxy: str | None = None,
    ) -> None:
        self._venue = venue if isinstance(venue, venues.Venue) else venues.load(venue)
        self._rules = read_rules(self._venue, variant)
        if not (url or self._rules.url):
            raise venues.VenueError(f"{self._venue.name}: the venue's file gives no session.url, so one is needed")
        if profile not in PROFILES:
            raise ValueError(f"no profile {profile!r}: one of {', '.join(PROFILES)}")
        for name, value, least in (
            ("recover_timeout", recover_timeout, 0), ("limit", limit, 1), ("reorder", reorder, 0),
            ("event_silence", event_silence, 0), ("max_message", max_message, 1),
        ):  # fmt: skip
            if not value >= least:
                raise ValueError(f"{name} is at least {least}, not {value}")
        self.accounts = list(accounts)
        if credentials is not None or not self.accounts:
            if credentials is None:
                credentials = credentials_from_env(self._rules)
            self.accounts.insert(0, Account(credentials))
        self._channels = self._read_channels(channels)
        self._url = _checked("url", url, ("ws", "wss"))
        rest_url = _checked("rest_url", rest_url, ("http", "https"))
        self._rest_url = rest_url.rstrip("/") if rest_url else None
        self._query, self._options = query, options
        self._recover, self._recover_timeout = recover, recover_timeout
        if record is not None and recorder is not None:
            raise ValueError("either record or recorder")
        self._record, self._recorder = record, recorder
        self._recording: Taping | None = None
        self._profile, self._spin, self._limit = PROFILES[profile], spin, limit
        self._reorder, self._event_silence, self._max_message = reorder, event_silence, max_message
        self._delete_keys = delete_keys
        self._tls, self._proxy = tls, self._checked_proxy(proxy)
        self._given_handler = _as_handler(handler)
        self._lines: list[_Line] = []
        self._tasks: set[asyncio.Task[Any]] | None = None
        self._replies: dict[tuple[int, int], asyncio.Future[Any]] | None = None
        self._counts: dict[str, int] | None = None
        self._silences = 0
        self._sockets: list[_Link] = []
        self._last_closed: asyncio.Event | None = None
        self._past: dict[str, int] | None = None  # what lines that have ended counted
        self._started = self._closed = self._spinning = False
        self._closing: asyncio.Task[None] | None = None
        self._error: BaseException | None = None
        self._ended: asyncio.Future[None] | None = None
        self._inbox: Inbox | None = None

    def _checked_proxy(self, proxy: str | None) -> str | None:
        if not proxy:
            return None
        scheme = urlsplit(proxy).scheme
        if scheme not in ("http", "https", "socks4", "socks5") or not urlsplit(proxy).netloc:
            raise ValueError("proxy must begin with http://, https://, socks4:// or socks5://, and name a host")
        needs_http = self._rules.key is not None or self._rules.clock is not None
        if scheme.startswith("socks") and needs_http and importlib.util.find_spec("aiohttp_socks") is None:
            raise ValueError(
                f"{self._venue.name} has calls over HTTP, and for those a SOCKS proxy needs aiohttp-socks: "
                "pip install 'execwire[socks]'"
            )
        return proxy

    def _read_channels(self, channels: Iterable[str | dict[str, str]] | None) -> list[dict[str, str]]:
        form = self._rules.channels
        if form is None:
            if channels:
                raise ValueError(f"{self._venue.name} has no channels to choose from")
            return []
        return [form.read(one) if isinstance(one, str) else one for one in (form.all if channels is None else channels)]

    # ---- MARK: Its life ----

    async def start(self) -> None:
        """Begin to connect; returns at once."""
        if self._closed:
            raise RuntimeError("the session has been closed: make another one")
        if self._started:
            return
        if self._record is not None:
            self._recorder = FileRecorder(self._record)
        if self._recorder is not None:
            self._recording = Taping(self._recorder, self._venue.name, self._sockets, self._lines)
        self._started = True
        self._loop = asyncio.get_running_loop()
        self._hub: Hub = hub()
        self._hub.enter()
        from picows import WSMsgType

        self._text = WSMsgType.TEXT
        self._decoders = self._hub.decoders(self._venue)
        self._ended = self._loop.create_future()
        if self._given_handler is None:
            self._inbox = Inbox(self._loop, self._limit, self._on_full)
        self._handler: Handler = self._given_handler or self._inbox  # type: ignore[assignment]
        size = (self._rules.subscriptions or len(self.accounts)) if self._rules.multiplexed else 1
        groups = [self.accounts[i : i + size] for i in range(0, len(self.accounts), size)]
        for group in groups:
            if not self._ended.done():  # one that cannot begin ends all
                self._begin(group, self._channels)
        if self._spin and not self._ended.done():
            self._spinning = True
            self._loop.call_soon(self._turn)

    def _begin(
        self, accounts: Sequence[Account], channels: Sequence[dict[str, str]], *, came_later: bool = False
    ) -> None:
        """Connections for accounts, as many as their channels need."""
        most = self._rules.subscriptions or 1 << 30
        lines = [_Line(self, accounts, channels[i : i + most]) for i in range(0, max(len(channels), 1), most)]
        self._lines += lines
        for line in lines:
            line.came_later = came_later
            line.happened(line.machine.start)

    def _turn(self) -> None:
        if self._spinning:
            self._loop.call_soon(self._turn)

    async def run(self) -> None:
        """Wait until it is over.

        Raises
        ------
        SessionError
            If it cannot go on: wrong keys, no permission, a retired endpoint.
        """
        if not self._started:
            await self.start()
        assert self._ended is not None
        await asyncio.shield(self._ended)
        self._raise()

    async def close(self) -> None:
        """Close the connections, and give listen keys back. Whoever is cancelled here leaves that going on."""
        if self._closing is None:
            if not self._started:
                self._closed = True
            if self._closed:
                return
            self._closed = True
            self._closing = self._loop.create_task(self._close(asyncio.current_task()))
        await asyncio.shield(self._closing)

    async def _close(self, caller: asyncio.Task[Any] | None) -> None:
        try:
            self._stop()
            if tasks := (self._tasks or set()) - {caller}:  # a recovery may have called
                await asyncio.wait(tasks, timeout=GIVING_BACK if self._delete_keys else ENDING)
            for task in tasks:
                task.cancel()
            if self._sockets:
                self._last_closed = asyncio.Event()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._last_closed.wait(), CLOSING)
                for link in list(self._sockets):  # whose other side says nothing any more
                    link.pump.transport.underlying_transport.abort()
            if self._record is not None and isinstance(self._recorder, FileRecorder):
                await self._loop.run_in_executor(None, self._recorder.close, SAVING)
        finally:
            await self._hub.leave()

    def _stop(self) -> None:
        for line in list(self._lines):
            line.happened(line.machine.stop)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        await self.close()

    def __aiter__(self) -> Self:
        if self._given_handler is not None:
            raise TypeError("the session has a handler, which gets the records: await run() instead")
        return self

    async def __anext__(self) -> Record:
        if not self._started:
            await self.start()
        inbox = self._inbox
        assert inbox is not None
        while (record := inbox.take()) is None:
            if self._ended is not None and self._ended.done():
                self._raise()
                raise StopAsyncIteration
            await inbox.wait()
        return record

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error

    # ---- MARK: For the user ----

    @property
    def state(self) -> State:
        """Where it is; of several connections, the one that is least ready."""
        if not self._lines:
            return State.CLOSED
        order = list(State)
        waiting = [line.machine.state for line in self._lines]
        if State.WAITING in waiting:
            return State.WAITING
        return min((one for one in waiting if one is not State.CLOSED), key=order.index, default=State.CLOSED)

    def stats(self) -> dict[str, Any]:
        """What happened so far, in numbers.

        Returns
        -------
        dict
            ``messages``, ``bytes``, ``records``, ``notices``, ``batches`` (reads), ``decode_errors``,
            ``handler_errors``, ``undelivered`` (records after a handler had ended the session), ``duplicates``
            (dropped while two connections overlapped), ``out_of_order`` (too late for `reorder`), ``late`` (messages
            of a connection that was given up), ``heartbeats`` (pings and pongs received); ``waiting`` and
            ``most_waiting`` (records to be iterated over), ``delayed`` (messages that wait for their turn);
            ``reconnects``, ``handovers``, ``gaps``, ``silences``; ``state``, ``connections``, ``subscriptions``,
            ``last_frame_age`` (s since anything came, of the oldest connection), ``loop_delay`` (s by which something
            held the loop up at worst), ``clock_offset`` (ms that the venue's clock is ahead), ``rate_limits``.
        """
        links = [link for line in self._lines for link in line.links.values()]
        counts = {**ZERO, **(self._counts or {})}
        for link in {*links, *self._sockets}:  # those that are closing, too
            for name, value in link.pump.counts.items():
                counts[name] = counts.get(name, 0) + value
        machines, past = [line.machine for line in self._lines], self._past or {}
        now = self._loop.time() if self._lines else 0.0
        return {
            **counts,
            "waiting": self.waiting,
            "most_waiting": self._inbox.high_water if self._inbox is not None else 0,
            "delayed": sum(link.pump.waiting for link in links),
            **{name: past.get(name, 0) + sum(getattr(one, name) for one in machines) for name in OF_MACHINES},
            "silences": self._silences,
            "state": str(self.state),
            "connections": sum(link.pump.transport is not None for link in links),
            "subscriptions": sum(account.subscription_id is not None for account in self.accounts),
            "last_frame_age": max((link.pump.age(now) for link in links), default=0.0),
            "loop_delay": self._hub.pulse.worst_delay if self._lines else 0.0,
            "clock_offset": max((one.clock_offset for one in machines), key=abs, default=0),
            "rate_limits": next((one.rate_limits for one in machines if one.rate_limits), []),
        }

    @property
    def waiting(self) -> int:
        """How many records wait to be iterated over."""
        return len(self._inbox) if self._inbox is not None else 0

    def account_of(self, subscription_id: int) -> Account | None:
        """Whose records carry a subscription id on the present connection."""
        return next((one for one in self.accounts if one.subscription_id == subscription_id), None)

    async def request(self, name: str, params: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Send one of the requests that the venue's file names, such as ``status`` or ``subscriptions``.

        Subscriptions that it ends (``logout``) are not asked for again until the next connection.

        Parameters
        ----------
        name : str
        params : mapping or None
            On top of those of the file.

        Returns
        -------
        dict
            The venue's answer.

        Raises
        ------
        KeyError
            If the file names no such request.
        ConnectionError
            If the stream is not live.
        SessionError
            If the venue answers with an error, or not in time.
        """
        line = next((one for one in self._lines if one.machine.state is State.LIVE), None)
        if line is None:
            raise ConnectionError("the session is not live")
        future: asyncio.Future[dict[str, Any]] = self._loop.create_future()
        number = line.machine.request(self._loop.time(), name, params)
        if self._replies is None:
            self._replies = {}
        self._replies[id(line), number] = future
        line.carry_out()
        return await future

    def subscribe(self, what: Account | str | dict[str, str]) -> None:
        """Subscribe another account, or another channel for all accounts. The venue's answer comes as a notice.

        On a connection whose room is used up, a new one is opened for it. An account that the venue refuses is left
        out (an ``error`` notice says so), and the others go on.
        """
        runs = self._ended is not None and not self._ended.done()
        if runs:  # without those that the venue has refused meanwhile
            wanted = [one for line in self._lines for one in line.machine.channels]
            self._channels = [one for one in self._channels if one in wanted]
        lines = [one for one in self._lines if one.machine.state is not State.CLOSED and one.machine.room > 0]
        if isinstance(what, Account):
            self.accounts.append(what)
            line = next(iter(lines), None) if self._rules.multiplexed else None
            if not runs:
                return
            if line is None:
                self._begin([what], self._channels, came_later=True)
            else:
                line.accounts.append(what)
                line.happened(line.machine.add_account, what.credentials)
            return
        channel = [one for one in self._read_channels([what]) if one not in self._channels]
        self._channels += channel
        if not runs or not channel:
            return
        for account in self.accounts:
            line = next((one for one in lines if account in one.accounts), None)
            if line is None:
                self._begin([account], channel, came_later=True)
            else:
                line.happened(line.machine.add_channels, channel)

    def unsubscribe(self, what: Account | str | dict[str, str]) -> None:
        """Take an account or a channel off the stream.

        An account that has its connection for itself takes that along; with the last one the session ends.
        """
        if isinstance(what, Account):
            self.accounts.remove(what)
            what.subscription_id = None
            for line in self._lines:
                for number in [n for n, one in enumerate(line.accounts) if one is what]:
                    line.happened(line.machine.remove_account, number)
            return
        channel = self._read_channels([what])
        self._channels = [one for one in self._channels if one not in channel]
        for line in self._lines:
            line.happened(line.machine.remove_channels, channel)

    def expect_event(self, within: float) -> None:
        """Something is about to happen to the account: if no record comes in so many seconds, the connection is dead.

        For after an order was placed: some endpoints open, stay open and deliver nothing.

        Raises
        ------
        ConnectionError
            If the session has not been started.
        """
        if not self._started:
            raise ConnectionError("the session is not live")
        by = self._loop.time() + within
        for line in self._lines:
            if (link := line.links.get(line.machine.current)) is not None:  # what gets ready has nothing yet
                link.pump.expect(by)

    def __repr__(self) -> str:
        return f"<Session {self._venue.name} {self.state}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("sessions cannot be pickled")

    # ---- MARK: What lines tell ----

    def _tell(self, line: _Line, effect: effects.Tell) -> None:
        account = line.accounts[effect.account] if effect.account is not None else None
        link = line.links.get(line.machine.current if effect.link is None else effect.link)
        if link is None and account is not None:
            link = next(iter(line.links.values()), None)
        if link is None:  # there is no connection, or one that gets ready; its handlers still want to know
            pump = Pump(self._decoders[0], self._decoders[1], line.handler, line)
            pump.recorder = self._tap(0)
            pump.tell_also([self._handler, *(one.handler for one in line.accounts if one.handler is not None)])
            pump.tell(effect.notice)
            self._add_up(pump.counts)
            return
        number = account.subscription_id if account is not None else None
        notice = {**effect.notice, **({"subscription": number} if number is not None else {})}
        link.pump.tell(notice, handler=(account.handler or line.handler) if account is not None else None)

    def _line_ended(self, line: _Line, effect: effects.Finish) -> None:
        others = [one for one in self._lines if one is not line and one.machine.state is not State.CLOSED]
        if effect.code is not None or effect.message != "closed":
            if others and (line.came_later or line.machine.was_live):  # of many accounts one: the others go on
                message = f"one of the streams has ended: {effect.message}"
                notice = {"execwire": "error", "message": message, "about": "account"}
                self._tell(line, effects.Tell(notice | ({"code": effect.code} if effect.code else {})))
            else:
                self._error = self._error or SessionError(effect.message, effect.code)
                for other in others:
                    other.happened(other.machine.stop)
        if all(one.machine.state is State.CLOSED for one in self._lines):
            self._spinning = False
            if self._ended is not None and not self._ended.done():
                self._ended.set_result(None)
            if self._inbox is not None:
                self._inbox.wake()
        else:
            self._lines.remove(line)
            past = self._past or {}
            self._past = {name: past.get(name, 0) + getattr(line.machine, name) for name in OF_MACHINES}
            if self._recording is not None:
                self._recording.forget(line.machine)

    def _is_stopped(self) -> bool:
        """Whether a handler has ended it: then what is being delivered ends with the present record."""
        return self._error is not None and any(
            link.pump.stopped for line in self._lines for link in line.links.values()
        )

    def _stop_with(self, error: BaseException) -> None:
        self._error = self._error or error
        self._stop()

    def _tap(self, number: int | None = None) -> Tap | None:
        return self._recording.tap(number) if self._recording is not None else None

    def _add_up(self, counts: Mapping[str, int]) -> None:
        old = self._counts or ZERO
        self._counts = {name: old[name] + counts[name] for name in ZERO}

    def _on_full(self, full: bool) -> None:
        for line in self._lines:
            for link in line.links.values():
                link.pump.pause(full)

    def _order_soon(self, link: _Link) -> None:
        def look() -> None:
            # Of two connections the old one may have what is older.
            waits = [one for one in list(link.line.links.values()) if one.pump.overdue()]
            if link in waits:
                self._loop.call_later(self._reorder / 2, look)

        self._loop.call_later(self._reorder, look)

    def _task(self, coroutine: Any) -> None:
        task = self._loop.create_task(coroutine)
        if self._tasks is None:
            self._tasks = set()
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


_RULES: dict[tuple[int, tuple[str, ...]], tuple[dict[str, Any], rules.Rules]] = {}
_RULES_KEPT = 64


def read_rules(venue: Venue, variant: str | Iterable[str] = ()) -> rules.Rules:
    """A venue's session rules with variants.

    Raises
    ------
    VenueError
        If there is no such variant, or no session at all.
    """
    if not venue.session:
        raise venues.VenueError(f"{venue.name}: the venue's file has no [session]")
    key = id(venue.session), (variant,) if isinstance(variant, str) else tuple(variant)
    if key in _RULES:  # thousands of sessions share one
        return _RULES[key][1]
    try:
        found = rules.parse(venue.session, key[1])
    except rules.RulesError as error:
        raise venues.VenueError(f"{venue.name}: session.{error.at}: {error.message}") from None
    if len(_RULES) >= _RULES_KEPT:
        _RULES.clear()
    _RULES[key] = venue.session, found  # the section is kept, so that nothing else gets its id
    return found


def credentials_from_env(rules: rules.Rules, environ: Mapping[str, str] | None = None) -> Identity:
    """The credentials that a venue needs, from the environment.

    Parameters
    ----------
    rules : Rules
        ``env`` is the prefix of the variables: ``BINANCE_API_KEY``, and for what signs ``BINANCE_SECRET``,
        ``BINANCE_PRIVATE_KEY`` or ``BINANCE_PRIVATE_KEY_FILE``, ``..._PASSPHRASE`` beside it. Where nothing is signed,
        ``..._TOKEN`` or ``..._API_KEY`` is enough.
    environ : mapping or None
        Instead of ``os.environ``.

    Raises
    ------
    AuthError
        If a variable is missing. Names it.
    """
    environ = os.environ if environ is None else environ
    if rules.credentials == "api_key":
        value = environ.get(f"{rules.env}_TOKEN") or environ.get(f"{rules.env}_API_KEY")
        if not value:
            raise AuthError(f"the environment variable {rules.env}_API_KEY is not set")
        return Key(value)
    if "{passphrase}" in repr(rules) and not environ.get(f"{rules.env}_PASSPHRASE"):
        raise AuthError(f"the environment variable {rules.env}_PASSPHRASE is not set")
    return Credentials.from_env(rules.env, environ)
