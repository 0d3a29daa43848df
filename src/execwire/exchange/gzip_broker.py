"""gzip brokers: text prompts, gzip frames, and a heartbeat that the client keeps up."""

from __future__ import annotations

import gzip
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import orjson
from aiohttp import web

from execwire.exchange import render_gzip as render
from execwire.exchange.base import Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable

    from execwire.exchange.connection import Connection
    from execwire.exchange.market import Event, Kind, Market
    from execwire.exchange.server import Exchange

__all__ = ["GzipBroker", "packed"]

_FRAMES = "gzip"
_LEVEL = 1
_ADL_SECONDS = 1.0


@dataclass
class _Session:
    """What a connection has subscribed."""

    connection: Connection
    market: str
    subscribed: bool = False
    known: set[int] = field(default_factory=set)  # positions that the client has been told of


class GzipBroker(Protocol):
    """gzip brokers."""

    venues: ClassVar[tuple[str, ...]] = ("gzip-broker",)
    markets: ClassVar[dict[str, Kind]] = {"spot": "spot", "linear": "linear"}

    def __init__(self, exchange: Exchange) -> None:
        super().__init__(exchange)
        self._sessions: list[_Session] = []

    def routes(self) -> Iterable[web.RouteDef]:
        """Paths and their handlers."""
        yield web.get("/spotws_user/userData/ws", self._stream("spot"))
        yield web.get("/position_order/ws", self._stream("linear"))

    def publish(self, market: Market, event: Event) -> None:
        """Send an event to every subscriber."""
        for session in self._sessions:
            if not session.subscribed or self.flows[session.market].market is not market:
                continue
            if market.kind == "spot":
                if _FRAMES not in event.rendered:
                    event.rendered[_FRAMES] = [packed(text) for text in render.spot(event)]
                out = event.rendered[_FRAMES]
            else:
                out = [packed(text) for text in render.futures(event, session.known, market.leverage)]
            for frame in out:
                session.connection.event(frame, binary=True)

    def inject(self, venue: str, payload: bytes) -> None:
        """Send a message, packed, to every subscriber."""
        for session in self._sessions:
            if session.subscribed:
                session.connection.event(packed(payload.decode()), binary=True)

    def _stream(self, name: str) -> Any:
        async def handler(request: web.Request) -> web.StreamResponse:
            exchange, options = self.exchange, self.exchange.options
            credential = request.headers.get("token") or request.headers.get("api-key") or ""
            if credential not in exchange.keys:
                raise web.HTTPUnauthorized(text="a known token or api-key is needed")
            connection = exchange.accept(request, "gzip-broker")
            session = _Session(connection, name)
            pinged = exchange.loop.time()

            def check() -> None:
                if exchange.loop.time() - pinged >= options.gzip_silence:
                    connection.close(1000, "no ping")

            def system_close() -> None:
                connection.notify(packed(render.SYSTEM_CLOSE), binary=True)
                connection.close(1000, "system close")

            def adl() -> None:
                market = self.flows[name].market
                text = render.adl_price(market)
                if session.subscribed and text is not None:
                    connection.event(packed(text), binary=True)

            connection.every(options.gzip_silence / 8, check)
            if name == "linear":
                connection.every(_ADL_SECONDS, adl)
            connection.on_close.append(lambda: self._sessions.remove(session))
            connection.on_terminate = system_close
            connection.on_shutdown = system_close
            self._sessions.append(session)
            exchange.loop.call_soon(connection.answer, b"connect success")
            async for _, payload in connection.run():
                try:
                    message = orjson.loads(payload)
                except orjson.JSONDecodeError:
                    continue  # the venue documents no answer
                if not isinstance(message, dict):
                    continue
                if "ping" in message:
                    pinged = exchange.loop.time()
                    connection.answer(b'{"pong":%d}' % exchange.now())
                elif message.get("event") == "sub":
                    if str(message.get("token") or message.get("apiKey")) not in exchange.keys:
                        connection.close(1008, "the token is not known")
                        continue
                    session.subscribed = True
                    connection.answer(b"sub success")
                    self.flows[name].start()
                elif message.get("event") == "unsub":
                    session.subscribed = False
                    connection.answer(b"unsub success")
            return connection.response

        return handler


def packed(text: str) -> bytes:
    """A frame."""
    return gzip.compress(text.encode(), _LEVEL, mtime=0)
