"""Listen keys, and the streams that they open: of Binance futures, and of Spot as it was."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import orjson

from execwire.exchange.base import Refused
from execwire.exchange.connection import Window

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterable

    from aiohttp import web

    from execwire.exchange.base import Flow
    from execwire.exchange.connection import Connection
    from execwire.exchange.market import Event
    from execwire.exchange.server import Exchange

__all__ = ["Streams"]

_EVENTS = {"ALGO_ORDER_UPDATE": "ALGO_UPDATE"}  # names of `events=` that are not the event's own
_MOST_STREAMS = 1_024
_EXPIRED = "listenKeyExpired"


@dataclass
class _Key:
    """A listen key: whose, of which product, and its end."""

    name: str
    api_key: str
    product: str
    flows: tuple[Flow, ...]
    timer: asyncio.Handle | None = None


@dataclass
class _Stream:
    """What a connection listens to: listen keys, each with the event names that it wants (None: all)."""

    connection: Connection
    combined: bool
    keys: dict[str, frozenset[str] | None] = field(default_factory=dict)
    others: dict[str, None] = field(default_factory=dict)  # streams that are no listen key, and stay silent


class Streams:
    """All listen keys of an exchange, and the connections that use them.

    A connection that names an unknown key is accepted, and stays silent: so are a key's connections when it expires.
    """

    def __init__(self, exchange: Exchange) -> None:
        self.exchange = exchange
        self._keys: dict[str, _Key] = {}
        self._streams: list[_Stream] = []

    # ---- Keys ----

    def create(self, api_key: str, product: str, *flows: Flow) -> dict[str, str]:
        """A new key; or the one that there is, with a new life."""
        key = self._find(api_key, product)
        if key is None:
            key = _Key(self.exchange.token(), api_key, product, flows)
            self._keys[key.name] = key
        return self._extend(key)

    def renew(self, api_key: str, product: str) -> dict[str, str]:
        """Give a key a new life.

        Raises
        ------
        Refused
            -1125 if there is none.
        """
        key = self._find(api_key, product)
        if key is None:
            raise Refused(-1125, "This listenKey does not exist.")
        return self._extend(key)

    def remove(self, api_key: str, product: str) -> dict[str, str]:
        """Close a key; its connections become silent."""
        key = self._find(api_key, product)
        if key is not None:
            self._forget(key)
        return {}

    def expire(self, name: str | None = None) -> None:
        """Let a key expire, or all: connections are told so, and stay open and silent."""
        for key in [one for one in self._keys.values() if name in (None, one.name)]:
            self._forget(key)
            # With blanks after colons, and E as a text on USD-M: as it is on the wire.
            at = f'"{self.exchange.now()}"' if key.product == "fapi" else str(self.exchange.now())
            message = f'{{"e": "{_EXPIRED}", "E": {at}, "listenKey": "{key.name}"}}'.encode()
            for stream in self._streams:
                wanted = stream.keys.get(key.name, frozenset())
                if wanted is None or _EXPIRED in wanted:
                    stream.connection.notify(_wrapped(key.name, message) if stream.combined else message)

    def _find(self, api_key: str, product: str) -> _Key | None:
        return next((one for one in self._keys.values() if (one.api_key, one.product) == (api_key, product)), None)

    def _extend(self, key: _Key) -> dict[str, str]:
        if key.timer is not None:
            key.timer.cancel()
        life = self.exchange.faults.key_life or self.exchange.options.listen_key_life
        key.timer = self.exchange.loop.call_later(life, lambda: self.expire(key.name))
        return {"listenKey": key.name}

    def _forget(self, key: _Key) -> None:
        if key.timer is not None:
            key.timer.cancel()
        del self._keys[key.name]

    # ---- Events ----

    def publish(self, flow: Flow, event: Event, render: Callable[[str], Iterable[tuple[str, bytes]]]) -> None:
        """Send an event to every connection with a key of a market.

        Parameters
        ----------
        render : callable
            Gives (event name, message) pairs for a product; called once for each product that somebody listens to.
        """
        for stream in self._streams:
            for name, wanted in stream.keys.items():
                key = self._keys.get(name)
                if key is None or flow not in key.flows:
                    continue
                if key.product not in event.rendered:
                    event.rendered[key.product] = list(render(key.product))
                for what, message in event.rendered[key.product]:
                    if wanted is None or what in wanted:
                        stream.connection.event(_wrapped(name, message) if stream.combined else message)

    def inject(self, flows: Iterable[Flow], payload: bytes) -> None:
        """Send a message to every connection with a key of these markets."""
        wanted = list(flows)
        for stream in self._streams:
            for name in stream.keys:
                if name in self._keys and any(flow in wanted for flow in self._keys[name].flows):
                    stream.connection.event(_wrapped(name, payload) if stream.combined else payload)

    # ---- Connections ----

    def handler(self, venue: str, *, combined: bool) -> Callable[[web.Request], Any]:
        """What serves a path."""

        async def handler(request: web.Request) -> web.StreamResponse:
            connection = self.exchange.accept(request, venue)
            stream = _Stream(connection, combined)
            options = self.exchange.options
            window = Window(options.stream_messages, 1.0)
            connection.heartbeat(options.futures_ping, options.futures_pong)
            connection.on_close.append(lambda: self._streams.remove(stream))
            connection.on_terminate = lambda: self._expire(stream)
            names = [request.match_info.get("key", ""), request.query.get("listenKey", "")]
            names += request.query.get("streams", "").split("/")
            events = request.query.get("events")
            self._listen(stream, names, None if events is None else events.split("/"))
            self._streams.append(stream)
            async for _, payload in connection.run():
                if window.add(self.exchange.loop.time()):
                    self._command(stream, payload)
                else:
                    connection.close(1008, "Too many requests")
            return connection.response

        return handler

    def _expire(self, stream: _Stream) -> None:
        for name in stream.keys:
            self.expire(name)

    def _listen(self, stream: _Stream, names: list[str], events: list[str] | None) -> None:
        wanted = None if events is None else frozenset(_EVENTS.get(one, one) for one in events)
        for name in filter(None, names):
            if name in self._keys:
                stream.keys[name] = wanted
                for flow in self._keys[name].flows:
                    flow.start()
            else:
                stream.others[name] = None

    def _command(self, stream: _Stream, payload: bytes) -> None:
        number: Any = None
        try:
            request = _parse(payload)
            number = request.get("id")
            answer: dict[str, Any] = {"result": self._run(stream, request)}
        except Refused as error:
            answer = {"error": {"code": error.code, "msg": error.message}}
        stream.connection.answer(orjson.dumps({**answer, "id": number}))

    def _run(self, stream: _Stream, request: dict[str, Any]) -> list[str] | None:
        params = request.get("params", [])
        if not isinstance(params, list) or not all(isinstance(one, str) for one in params):
            raise Refused(2, "Invalid request: params must be an array of strings")
        match request.get("method"):
            case "SUBSCRIBE":
                if len({*stream.keys, *stream.others, *params}) > _MOST_STREAMS:
                    raise Refused(2, "Invalid request: too many streams")
                self._listen(stream, params, None)
            case "UNSUBSCRIBE":
                for name in params:
                    stream.keys.pop(name, None)
                    stream.others.pop(name, None)
            case "LIST_SUBSCRIPTIONS":
                return [*stream.keys, *stream.others]
            case _:
                raise Refused(2, "Invalid request: unknown method")
        return None


def _parse(payload: bytes) -> dict[str, Any]:
    try:
        request = orjson.loads(payload)
    except orjson.JSONDecodeError:
        raise Refused(3, "Invalid JSON: expected value") from None
    if not isinstance(request, dict):
        raise Refused(2, "Invalid request: request must be an object")
    return request


def _wrapped(name: str, message: bytes) -> bytes:
    return b'{"stream":"%b","data":%b}' % (name.encode(), message)
