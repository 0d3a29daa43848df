"""A capture instead of a socket: the same handlers get the same records again, with the times of then."""

from __future__ import annotations

import asyncio
import functools
import os
import time
from collections import deque
from dataclasses import replace as changed
from importlib import resources
from typing import TYPE_CHECKING, Any, Self

import orjson

from execwire import venues
from execwire.captures import Capture, CaptureError
from execwire.core import Decoder
from execwire.delivery import Calls, Handler, Overlap, Pump

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence
    from types import TracebackType
    from typing import TypeAlias

    from execwire.captures import Message
    from execwire.core import Record
    from execwire.venues import Venue

    Source: TypeAlias = str | os.PathLike[str]

__all__ = ["Pace", "Replay", "is_control", "replay"]

LONGEST_SLEEP = 3600.0  # s at once
TURNS = 256  # messages after which others of the event loop have a turn


def is_control(message: Message) -> bool:
    """Whether a message of a capture is a line of the recorder's own."""
    return message.payload.startswith(b'{"execwire"') and not message.position.framed


class Pace:
    """When messages of a capture are due.

    Parameters
    ----------
    speed : float or None
        1: with the distances in time that they had; 10: ten times as fast; None: at once.
    """

    def __init__(self, speed: float | None) -> None:
        if speed is not None and not speed > 0:
            raise ValueError("a speed is greater than 0")
        self._speed = speed
        self._first: int | None = None
        self._began = 0.0

    def delay(self, ts_recv: int) -> float:
        """Seconds until it is time for what was received at `ts_recv` (ns; 0: unknown, so it is time)."""
        if self._speed is None or not ts_recv:
            return 0.0
        if self._first is None:
            self._first, self._began = ts_recv, time.monotonic()
        return max(0.0, (ts_recv - self._first) / 1e9 / self._speed - (time.monotonic() - self._began))

    async def wait(self, ts_recv: int) -> bool:
        """Wait until then; whether there was anything to wait for."""
        is_early = False
        while delay := self.delay(ts_recv):  # timers of a loop may come a millisecond early
            is_early = True
            await asyncio.sleep(min(delay, LONGEST_SLEEP))
        return is_early


class Replay:
    """A recorded stream, to be used like a `Session`: iterate over it for records, or give it a handler.

    Handlers get what they got when it was recorded: records and notices of the session in the same order, with the same
    ``ts_recv``, together what one read from the socket had brought; what was held back during a recovery, or came from
    two connections at once, is treated as it was then.

    Parameters
    ----------
    source : path or sequence of paths
        Captures of any format, one after the other.
    venue : str, path-like, Venue or None
        None: what the capture says, if a `Session` has recorded it.
    handler : Handler or callable or None
        As for `Session`.
    speed : float or None
        1: in the time that it took; 10: ten times as fast; None: as fast as possible.
    format, ts_key, payload_key
        As for `Capture`.

    Raises
    ------
    VenueError
        If there is no such venue, or none is given and the capture says none; as soon as a frame needs it.
    OSError
        While it runs, if a capture cannot be read.
    CaptureError
        After everything that could be read of all captures, if one is damaged.

    Notes
    -----
    What accounts with handlers of their own got comes to the one handler.

    Examples
    --------
    >>> async def main():
    ...     async for record in execwire.Replay("spot.gz", speed=10):
    ...         print(record)
    """

    def __init__(
        self,
        source: Source | Sequence[Source],
        venue: str | os.PathLike[str] | Venue | None = None,
        *,
        handler: Handler | Callable[[Record], object] | None = None,
        speed: float | None = None,
        format: str = "auto",
        ts_key: str | None = None,
        payload_key: str | None = None,
    ) -> None:
        self._sources = [source] if isinstance(source, str | os.PathLike) else list(source)
        self._venue = venue
        self._open = functools.partial(Capture, format=format, control=True, ts_key=ts_key, payload_key=payload_key)
        self._pace = Pace(speed)
        self._records: deque[Record] = deque()
        self._is_iterated = handler is None
        if handler is None:
            handler = self._records.append
        self._handler = handler if isinstance(handler, Handler) else Calls(handler)
        self._decoders: tuple[Decoder, Decoder] | None = None
        self._pumps: dict[int, Pump] = {}
        self._now = (0, 0)  # connection and time of the present read
        self._overlaps: dict[int, Overlap] = {}
        self._error: BaseException | None = None
        self._counts: dict[str, int] = {}
        self._play = self._messages()

    # ---- MARK: For the user ----

    async def run(self) -> None:
        """Replay everything, in the event loop."""
        if self._is_iterated:
            raise TypeError("without a handler, iterate over it instead")
        while await self._step():
            pass

    def run_here(self) -> None:
        """Replay everything, without an event loop."""
        for ts_recv in self._play:
            while delay := self._pace.delay(ts_recv):
                time.sleep(min(delay, LONGEST_SLEEP))

    async def close(self) -> None:
        """End it."""
        self._play.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        await self.close()

    def __aiter__(self) -> Self:
        if not self._is_iterated:
            raise TypeError("the replay has a handler, which gets the records: await run() instead")
        return self

    async def __anext__(self) -> Record:
        while not self._records:
            if not await self._step() and not self._records:
                raise StopAsyncIteration
        return self._records.popleft()

    @property
    def waiting(self) -> int:
        """How many records wait to be iterated over."""
        return len(self._records)

    def stats(self) -> dict[str, int]:
        """What was counted, as in `Session.stats`: messages, records, notices, decode_errors and so on."""
        counts = dict(self._counts)
        for pump in self._pumps.values():
            for name, n in pump.counts.items():
                counts[name] = counts.get(name, 0) + n
        return counts

    # ---- MARK: The capture ----

    async def _step(self) -> bool:
        """Wait until the next messages are due, and deliver them; False at the end."""
        for _ in range(TURNS):
            ts_recv = next(self._play, None)
            if ts_recv is None:
                return False
            if await self._pace.wait(ts_recv) or self._records:
                return True
        await asyncio.sleep(0)
        return True

    def _messages(self) -> Generator[int, None, None]:
        """The time of each message, before it is delivered."""
        damage: CaptureError | None = None
        for source in self._sources:
            with self._open(source) as capture:
                try:
                    for message in capture:
                        yield message.ts_recv
                        self._deliver(message)
                        if self._error is not None:
                            raise self._error
                except CaptureError as error:  # the next one may go on where this one was torn
                    damage = damage or error
        self._begin_anew()
        if end := self._error or damage:
            raise end

    def _deliver(self, message: Message) -> None:
        number, ts_recv = self._now
        if is_control(message):
            try:
                line = orjson.loads(message.payload)
            except orjson.JSONDecodeError:
                line = {"execwire": None}
            for name in ("number", "window", "limit"):  # which only somebody else writes otherwise
                value = line.get(name, 0)
                ends = value is None and line["execwire"] == "overlap"
                if not ends and (not isinstance(value, int) or not 0 <= value < 1 << 62):
                    line["execwire"] = None
            what = line["execwire"]
            if what is not None:
                self._control(what, line, message)
                return
        if ts_recv != message.ts_recv:
            self._end_read()
            self._now = number, message.ts_recv
        self._pump(number).feed(message.payload, message.position.binary, message.ts_recv)
        if not message.ts_recv:
            self._end_read()

    def _control(self, what: str, line: dict[str, Any], message: Message) -> None:
        number, ts_recv = self._now
        if what == "session":
            self._begin_anew()
            if self._venue is None:
                self._venue = line.get("venue")
        elif what == "connection":
            self._end_read()
            self._now = int(line.get("number", 0)), 0
        elif what in ("hold", "release", "overlap", "order", "overdue", "drain"):
            if ts_recv != message.ts_recv:
                self._end_read()
            pump = self._pump(number)
            if what in ("hold", "release", "drain"):
                {"hold": pump.hold, "release": pump.release, "drain": pump.drain}[what]()
            elif what == "order":
                pump.order_by_event_time(int(line.get("window", 0)), int(line.get("limit", 0)))
            elif what == "overdue":
                pump.let_go(message.ts_recv)
            elif (one := line.get("number")) is None:
                pump.share(None)
            else:
                pump.share(self._overlaps.setdefault(one, Overlap()))
        elif what != "undecodable":  # which the frame itself gives again
            if ts_recv != message.ts_recv:
                self._end_read()
            self._pump(number).retell(message.payload, message.ts_recv, line.get("subscription"))

    def _end_read(self) -> None:
        number, _ = self._now
        if number in self._pumps:
            self._pumps[number].flush()
        self._now = number, 0

    def _begin_anew(self) -> None:
        """Another session begins, or the capture has ended."""
        self._end_read()
        for pump in self._pumps.values():
            pump.drain()
        self._counts = self.stats()
        self._pumps, self._overlaps, self._now = {}, {}, (0, 0)

    def _pump(self, number: int) -> Pump:
        if number not in self._pumps:
            if self._decoders is None:
                self._decoders = self._make_decoders()
            pump = self._pumps[number] = Pump(*self._decoders, self._handler, self)
            pump.untimed = True
        return self._pumps[number]

    def _make_decoders(self) -> tuple[Decoder, Decoder]:
        if self._venue is None:
            raise venues.VenueError("the capture does not say of which venue it is: give the venue")
        venue = self._venue if isinstance(self._venue, venues.Venue) else venues.load(self._venue)
        with resources.as_file(resources.files("execwire.sessions") / "notices.toml") as file:
            return Decoder(venue), Decoder(changed(venues.load(file), name=venue.name))

    # ---- MARK: What pumps tell ----

    def on_control(self, text: bytes, notices: object) -> None:
        """Nobody is there to react."""

    def on_undecodable(self, message: str) -> None:
        """It is counted, and a notice."""

    def on_waiting(self) -> None:
        """The capture says until when."""

    def on_handler_stop(self, error: BaseException) -> None:
        """The handler wants to end it."""
        self._error = error


def replay(
    source: Source | Sequence[Source],
    venue: str | os.PathLike[str] | Venue | None = None,
    *,
    handler: Handler | Callable[[Record], object],
    speed: float | None = None,
    format: str = "auto",
    ts_key: str | None = None,
    payload_key: str | None = None,
) -> dict[str, int]:
    """Send captures through the handlers of a live session, without an event loop; see `Replay`.

    Parameters
    ----------
    source, venue, handler, speed, format, ts_key, payload_key
        As for `Replay`.

    Returns
    -------
    dict
        What was counted: messages, records, notices, decode_errors, handler_errors and so on.

    Examples
    --------
    >>> execwire.replay("spot.gz", handler=strategy)  # doctest: +SKIP
    """
    one = Replay(
        source, venue, handler=handler, speed=speed, format=format, ts_key=ts_key, payload_key=payload_key
    )  # fmt: skip
    one.run_here()
    return one.stats()
