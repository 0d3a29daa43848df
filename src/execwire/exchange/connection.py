"""One WebSocket connection: frames out, messages in, heartbeats, limits, faults, and a count of all of it."""

from __future__ import annotations

import struct
from collections import Counter, deque
from typing import TYPE_CHECKING

from aiohttp import WSMsgType, web

from execwire.exchange.faults import Injector

if TYPE_CHECKING:
    import asyncio
    from collections.abc import AsyncIterator, Callable

    from execwire.exchange.server import Exchange

__all__ = ["Connection", "Window"]

_TEXT, _BINARY, _CLOSE, _PING, _PONG = 1, 2, 8, 9, 10
_LAST = (WSMsgType.CLOSE, WSMsgType.CLOSING, WSMsgType.CLOSED, WSMsgType.ERROR)
_CLOSE_SECONDS = 5.0  # that a client has to answer a close
_MOST_BUFFERED = 64 * 1024 * 1024  # of a reader that is too slow
_ABNORMAL = 1006


class Window:
    """Counts what happened in the last seconds.

    Parameters
    ----------
    limit : int
        How much may happen ...
    seconds : float
        ... in that time.
    """

    __slots__ = ("_times", "limit", "seconds")

    def __init__(self, limit: int, seconds: float) -> None:
        self.limit = limit
        self.seconds = seconds
        self._times: deque[float] = deque()

    def __len__(self) -> int:
        return len(self._times)

    def add(self, now: float, weight: int = 1) -> bool:
        """Count; returns whether that is within the limit."""
        while self._times and self._times[0] <= now - self.seconds:
            self._times.popleft()
        self._times.extend([now] * weight)
        return len(self._times) <= self.limit


def _frame(opcode: int, payload: bytes) -> bytes:
    size = len(payload)
    if size < 126:
        return bytes((0x80 | opcode, size)) + payload
    if size < 65536:
        return struct.pack(">BBH", 0x80 | opcode, 126, size) + payload
    return struct.pack(">BBQ", 0x80 | opcode, 127, size) + payload


class Connection:
    """A WebSocket connection of a client.

    Attributes
    ----------
    number : int
        0 for the exchange's first.
    venue, path : str
        Whose protocol is spoken, and the path of the upgrade request (without the query, which may hold keys).
    counts : Counter
        Frames: ``events`` (as the market made them), ``sent``, ``dropped``, ``duplicated``, ``delayed``,
        ``reordered``, ``malformed``, ``silenced`` (what became of these), ``answers``, ``pings``, ``pongs``,
        ``received``.
    log : list of bytes
        Payloads of the event messages as they were sent, in order, if the exchange keeps logs.
    close_code : int or None
        Of a connection that is closed.
    """

    def __init__(self, exchange: Exchange, request: web.Request, venue: str, number: int) -> None:
        self.exchange = exchange
        self.number = number
        self.venue = venue
        self.path = request.path if len(request.match_info) == 0 else str(request.match_info.route.resource.canonical)  # type: ignore[union-attr]
        self.counts: Counter[str] = Counter()
        self.log: list[bytes] = []
        self.close_code: int | None = None
        self.opened = exchange.loop.time()
        self.heard = self.opened  # when the client last sent anything
        self.last_pong = self.opened
        self._request = request
        self._socket = web.WebSocketResponse(autoping=False, autoclose=False, compress=False, max_msg_size=1 << 20)
        self._injector = Injector(f"{exchange.seed}:{number}")
        self._buffer: list[bytes] = []
        self._timers: set[asyncio.Handle] = set()
        self._silent = self._mute = False
        self._closing: int | None = None  # the code that we close it with
        self.on_close: list[Callable[[], None]] = []
        self.on_terminate: Callable[[], None] | None = None
        self.on_shutdown: Callable[[], None] | None = None

    # ---- Its life ----

    async def run(self) -> AsyncIterator[tuple[bool, bytes]]:
        """Accept the connection; yields (binary, payload) of every message until it is closed."""
        faults, options = self.exchange.faults, self.exchange.options
        self.later(options.connection_life, lambda: self.close(1001, "24 h are over"))
        if faults.close_after_seconds is not None:
            self.later(faults.close_after_seconds, lambda: self.close(faults.close_code))
        message = None
        try:
            try:
                await self._socket.prepare(self._request)
            except ConnectionError:
                raise web.HTTPBadRequest(text="gone") from None  # which nobody will read, and is no error of ours
            while True:
                message = await self._socket.receive()
                if message.type in _LAST:
                    break
                self.heard = self.exchange.loop.time()
                if message.type is WSMsgType.PING:
                    self.counts["pings received"] += 1
                    self._write(_PONG, message.data)
                elif message.type is WSMsgType.PONG:
                    self.last_pong = self.heard
                    self.counts["pongs received"] += 1
                elif message.type in (WSMsgType.TEXT, WSMsgType.BINARY):
                    self.counts["received"] += 1
                    binary = message.type is WSMsgType.BINARY
                    yield binary, message.data if binary else message.data.encode()
        finally:
            if message is None or message.type is not WSMsgType.CLOSE:
                self.close_code = _ABNORMAL
            elif self._closing is None:
                self._write(_CLOSE, struct.pack(">H", message.data or 1000))
                self._flush()
                self.close_code = message.data
            else:
                self.close_code = self._closing
            if self._request.transport is not None:
                self._request.transport.close()
            for timer in self._timers:
                timer.cancel()
            for callback in self.on_close:
                callback()

    @property
    def response(self) -> web.WebSocketResponse:
        """What the HTTP handler returns."""
        return self._socket

    @property
    def backlog(self) -> int:
        """Bytes that the client has not taken yet."""
        transport = self._request.transport
        return 0 if transport is None else transport.get_write_buffer_size()

    @property
    def is_open(self) -> bool:
        """Whether something can be sent."""
        return self.close_code is None and self._closing is None

    def later(self, seconds: float, call: Callable[[], None]) -> asyncio.Handle:
        """Call something later, unless the connection is closed by then."""

        def now() -> None:
            self._timers.discard(timer)
            call()

        timer: asyncio.Handle = self.exchange.loop.call_later(seconds, now)
        self._timers.add(timer)
        return timer

    def every(self, seconds: float, call: Callable[[], None]) -> None:
        """Call something again and again while the connection is open."""

        def again() -> None:
            call()
            if self.is_open:
                self.later(seconds, again)

        self.later(seconds, again)

    def heartbeat(self, interval: float, timeout: float) -> None:
        """Ping every `interval`; close the connection if a ping is not answered for `timeout` (both in seconds)."""

        def check(sent: float) -> None:
            if self.last_pong < sent:
                self.close(1008, "Pong timeout")

        def ping() -> None:
            sent = self.exchange.loop.time()
            self.counts["pings"] += 1
            self._write(_PING, str(self.exchange.now()).encode())
            self.later(timeout, lambda: check(sent))

        self.every(interval, ping)

    def close(self, code: int, reason: str = "") -> None:
        """Close it with a code, after all that was sent; 1006 cuts it off."""
        if not self.is_open:
            return
        if code == _ABNORMAL:
            self._flush()
            self._closing = code
            self._abort()
            return
        self._mute = False
        self._write(_CLOSE, struct.pack(">H", code) + reason.encode())
        self._flush()
        self._closing = code
        self.later(_CLOSE_SECONDS, self._abort)

    def _abort(self) -> None:
        if self._request.transport is not None:
            self._request.transport.abort()

    # ---- Out ----

    def answer(self, payload: bytes, *, binary: bool = False) -> None:
        """Send an answer, a prompt, or part of a heartbeat."""
        self.counts["answers"] += 1
        self._write(_BINARY if binary else _TEXT, self._injector.answer(self.exchange.faults, payload))

    def event(self, payload: bytes, *, binary: bool = False) -> None:
        """Send an event message, unless something goes wrong with it."""
        faults = self.exchange.faults
        self.counts["events"] += 1
        number = self.counts["events"]
        if self._silent or self._mute:
            self.counts["silenced"] += 1
            return
        if faults.harmless:
            self.counts["sent"] += 1
            self._event(payload, binary)
            return
        for what, one, is_binary in self._injector.messages(faults, payload, binary):
            self.counts[what] += 1
            if what == "delayed":
                self.later(faults.delay_seconds, lambda one=one, is_binary=is_binary: self._event(one, is_binary))  # type: ignore[misc]
            elif what != "dropped":
                self._event(one, is_binary)
        if number == faults.silent_after:
            self._silent = True
        if number == faults.terminate_after:
            self.terminate()
        if number == faults.shutdown_after:
            self.shutdown(faults.shutdown_seconds)
        if number == faults.close_after:
            self.close(faults.close_code)
        if number == faults.mute_after:
            self.mute()

    def notify(self, payload: bytes, *, binary: bool = False) -> None:
        """Send an event message that no fault touches: the exchange's own last words."""
        if not self._silent:
            self._event(payload, binary)

    def silence(self) -> None:
        """Send no more events; answers and heartbeats go on."""
        self._silent = True

    def mute(self) -> None:
        """Send nothing at all from now on."""
        self._flush()
        self._mute = True

    def terminate(self) -> None:
        """End the stream by the venue's own message: subscription terminated, listen key expired, system close."""
        if self.on_terminate is not None:
            self.on_terminate()

    def shutdown(self, seconds: float) -> None:
        """Announce a shutdown, where the venue has a message for it, and close the connection later."""
        if self.on_shutdown is not None:
            self.on_shutdown()
        self.later(seconds, lambda: self.close(1001, "shutdown"))

    def _event(self, payload: bytes, binary: bool) -> None:
        if not self.is_open:
            return
        self.counts["frames"] += 1
        if self.exchange.keep_logs:
            self.log.append(payload)
        self._write(_BINARY if binary else _TEXT, payload)

    def _write(self, opcode: int, payload: bytes) -> None:
        if self._mute or not self.is_open:
            return
        if not self._buffer:
            self.exchange.loop.call_soon(self._flush)
        self._buffer.append(_frame(opcode, payload))

    def _flush(self) -> None:
        """Write what has gathered, at once: aiohttp writes a frame at a time."""
        if not self._buffer:
            return
        data, transport = b"".join(self._buffer), self._request.transport
        self._buffer.clear()
        if transport is None or transport.is_closing() or not self.is_open:
            return
        transport.write(data)
        if self.backlog > _MOST_BUFFERED:
            self.counts["too slow"] += 1
            transport.abort()
