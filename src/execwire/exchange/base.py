"""What every protocol family of the local exchange is made of."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from execwire.exchange.market import Market

if TYPE_CHECKING:
    from collections.abc import Iterable

    from aiohttp import web

    from execwire.auth import Verifier
    from execwire.exchange.market import Event, Kind
    from execwire.exchange.server import Exchange

__all__ = ["ApiKey", "Flow", "Options", "Protocol", "Refused"]

_TICK = 0.002  # seconds between two rounds of the order flow
_MOST = 2_000  # events of one round
_BACKLOG = 8 * 1024 * 1024  # bytes


@dataclass(frozen=True, kw_only=True)
class Options:
    """Durations (seconds) and limits; the defaults are the venues' own.

    Attributes
    ----------
    connection_life
        After this a connection is closed.
    listen_key_life, listen_token_life
        Of keys that are not renewed, and of tokens, which nothing renews.
    ws_api_ping, ws_api_pong
        Interval of the ping frames of Binance's WebSocket API, and how long a pong may take.
    futures_ping, futures_pong
        The same, of Binance's futures streams.
    stream_messages
        What a client may send to a Binance stream in a second.
    weight
        What requests to Binance's WebSocket API may weigh in a minute.
    connections
        Attempts to connect, in five minutes.
    subscriptions, lifetime_subscriptions
        Of one connection to Binance's WebSocket API: active ones, and all that there ever were.
    bitget_silence
        Without a ping for so long Bitget closes the connection.
    bitget_login
        A login's time stamp may be so far off.
    bitget_messages, bitget_subscribes, bitget_channels, bitget_args
        Messages a second, subscribe requests an hour, channels, and bytes of one request's args.
    openapi_ping, openapi_pong
        An openapi broker's interval of pings, and how long a pong may take.
    bitget_json_ping
        What the JSON form of a ping is answered with: ``pong``, as a circulating description has it, or ``error``.
    openapi_header
        The only header that an openapi broker takes the API key from, and so whose names contracts have; empty: any
        that one of them has, and exchangeInfo lists contracts by the names of all.
    spot_listen_keys
        1: Binance Spot still has listen keys. 0: they are gone (410), as they are since February 2026.
    gzip_silence
        Without a ping for so long a gzip broker closes the connection.
    recv_window
        ms that a signed request may be old, where it does not say.
    """

    connection_life: float = 86_400.0
    listen_key_life: float = 3_600.0
    listen_token_life: float = 86_400.0
    ws_api_ping: float = 20.0
    ws_api_pong: float = 60.0
    futures_ping: float = 180.0
    futures_pong: float = 600.0
    stream_messages: int = 10
    weight: int = 6_000
    connections: int = 300
    subscriptions: int = 1_000
    lifetime_subscriptions: int = 65_535
    bitget_silence: float = 120.0
    bitget_login: float = 30.0
    bitget_messages: int = 10
    bitget_subscribes: int = 240
    bitget_channels: int = 1_000
    bitget_args: int = 4_096
    openapi_ping: float = 30.0
    openapi_pong: float = 180.0
    openapi_header: str = ""
    gzip_silence: float = 40.0
    recv_window: int = 5_000
    bitget_json_ping: str = "pong"
    spot_listen_keys: int = 0


@dataclass(frozen=True)
class ApiKey:
    """A key that the exchange knows. All keys are of the same account.

    Parameters
    ----------
    name : str
        The API key itself.
    verifier : Verifier
        Checks what is signed with it.
    passphrase : str
        Where a venue has one.
    """

    name: str
    verifier: Verifier = field(repr=False)
    passphrase: str = field(default="", repr=False)


class Refused(Exception):  # noqa: N818  # it is an answer
    """A request that is not granted: HTTP status or protocol status, code, text."""

    def __init__(self, code: int, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status


class Flow:
    """Lets a market go on, from the first subscriber on."""

    def __init__(self, exchange: Exchange, protocol: Protocol, market: Market) -> None:
        self.exchange = exchange
        self.protocol = protocol
        self.market = market
        self.task: asyncio.Task[None] | None = None
        self._events: list[Event] = []  # that are repeated
        self._next = 0

    def start(self) -> None:
        """Start, if it has not."""
        if self.task is None and self.exchange.rate > 0:
            self.task = self.exchange.loop.create_task(self._run())
            self.task.add_done_callback(self._failed)

    def _failed(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled():  # it never ends by itself: this is an error of ours, and must not pass as silence
            context = {"message": "the order flow broke off", "exception": task.exception(), "task": task}
            self.exchange.loop.call_exception_handler(context)

    async def stop(self) -> None:
        """Stop, for good.

        Raises
        ------
        Exception
            With which it has broken off, if it has.
        """
        if self.task is not None:
            self.task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self.task

    def step(self) -> Event:
        """One event."""
        if self._next < len(self._events) == self.exchange.repeat:
            event = self._events[self._next]
            self._next = (self._next + 1) % self.exchange.repeat
        else:
            event = self.market.step()
            if self.exchange.repeat:
                self._events.append(event)
        self.protocol.publish(self.market, event)
        return event

    async def _run(self) -> None:
        loop, rate = self.exchange.loop, self.exchange.rate
        started, done = loop.time(), 0
        while True:
            while self.exchange.repeat and self.exchange.backlog > _BACKLOG:  # load is what the readers can take
                await asyncio.sleep(_TICK)
            due = int((loop.time() - started) * rate) + 1 - done
            for _ in range(min(due, _MOST)):
                self.step()
            if due > _MOST:  # more than the machine can do: the rate is what it can
                started, done = loop.time(), 0
            else:
                done += due
            await asyncio.sleep(max(_TICK, min(1 / rate, started + done / rate - loop.time())))


class Protocol:
    """What one family of venues says and understands.

    Parameters
    ----------
    exchange : Exchange
        Whose part it is.
    """

    venues: ClassVar[tuple[str, ...]] = ()
    markets: ClassVar[dict[str, Kind]] = {}

    def __init__(self, exchange: Exchange) -> None:
        self.exchange = exchange
        self.flows = {
            name: Flow(exchange, self, Market(f"{exchange.seed}:{self.venues[0]}", kind, exchange.event_time))
            for name, kind in self.markets.items()
        }

    def routes(self) -> Iterable[web.RouteDef]:
        """Paths and their handlers."""
        raise NotImplementedError

    def publish(self, market: Market, event: Event) -> None:
        """Send an event to whom it concerns."""
        raise NotImplementedError

    def inject(self, venue: str, payload: bytes) -> None:
        """Send an event message of somebody else's making to every subscriber of a venue."""
        raise NotImplementedError
