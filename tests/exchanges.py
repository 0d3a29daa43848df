"""Local exchanges for tests, and aiohttp as a client that shares no code with them."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gzip
import hashlib
import hmac
import inspect
import json
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import aiohttp
import pytest

import execwire
from execwire.exchange import Exchange

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

KEY, SECRET, PASSPHRASE = "key", "sec", "pp"
START = 1_795_000_000_000
SECONDS = 60  # after which a test hangs


def is_async(test: Callable[..., Any]) -> Callable[..., Any]:
    """A test that is a coroutine."""

    @functools.wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        async def limited() -> None:
            async with asyncio.timeout(SECONDS):
                await test(*args, **kwargs)

        asyncio.run(limited())

    run.__signature__ = inspect.signature(test)  # type: ignore[attr-defined]
    return run


@contextlib.asynccontextmanager
async def serving(*venues: str, rate: float = 0, **options: Any) -> AsyncIterator[tuple[Exchange, Client]]:
    """An exchange that does nothing until it is told to, and a client."""
    async with (
        Exchange(venues or None, rate=rate, keep_logs=True, **options) as exchange,
        aiohttp.ClientSession() as http,
    ):
        client = Client(exchange, http)
        yield exchange, client
        for one in client.sockets:
            await one.close()


class Client:
    """Plain requests, signed by hand."""

    def __init__(self, exchange: Exchange, http: aiohttp.ClientSession) -> None:
        self.http = http
        self.ws_origin = f"ws://127.0.0.1:{exchange.port}"
        self.origin = f"http://127.0.0.1:{exchange.port}"
        self.sockets: list[Socket] = []

    async def ws(self, venue: str, path: str, **options: Any) -> Socket:
        """A connection."""
        timeout = aiohttp.ClientWSTimeout(ws_close=0.2)  # some exchanges are told not to answer any more
        socket = Socket(await self.http.ws_connect(self.ws_origin + path, timeout=timeout, **options), venue)
        self.sockets.append(socket)
        return socket

    async def refused(self, path: str, **options: Any) -> int:
        """The status of a handshake that is refused."""
        with pytest.raises(aiohttp.WSServerHandshakeError) as raised:
            await self.http.ws_connect(self.ws_origin + path, **options)
        return raised.value.status

    async def rest(self, method: str, path: str, **options: Any) -> tuple[int, Any]:
        """Status and JSON of an answer."""
        async with self.http.request(method, self.origin + path, **options) as response:
            return response.status, await response.json()

    async def signed(
        self,
        method: str,
        path: str,
        *,
        header: str = "X-MBX-APIKEY",
        key: str = KEY,
        secret: str = SECRET,
        **params: Any,
    ) -> tuple[int, Any]:
        """A request that is signed as Binance wants it, and openapi brokers: the query as it is sent."""
        query = urlencode({**params, "timestamp": params.get("timestamp", now())})
        signature = hmac.new(secret.encode(), query.encode(), hashlib.sha256).hexdigest()
        return await self.rest(method, f"{path}?{query}&signature={signature}", headers={header: key})


def now() -> int:
    """ms since 1970."""
    return time.time_ns() // 1_000_000


class Socket:
    """A connection. Everything that comes is decoded too, and nothing of it may be unknown to the dialect."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse, venue: str) -> None:
        self.socket = socket
        self.venue = venue
        self.decoder = execwire.Decoder(venue)
        self.payloads: list[bytes] = []  # of events

    async def send(self, message: object) -> None:
        """Send JSON, or a text."""
        await self.socket.send_str(message if isinstance(message, str) else json.dumps(message))

    async def raw(self) -> bytes:
        """The next frame."""
        message = await self.socket.receive(timeout=30)
        assert message.type in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY), (message, self.socket.close_code)
        payload = message.data.encode() if message.type is aiohttp.WSMsgType.TEXT else message.data
        _, findings = self.decoder.explain(payload)
        assert not findings, payload
        return payload

    async def next(self) -> Any:
        """The next message: JSON, unpacked where it is gzip; else the text."""
        payload = await self.raw()
        if payload[:2] == b"\x1f\x8b":
            payload = gzip.decompress(payload)
        try:
            return json.loads(payload)
        except ValueError:
            return payload.decode()

    async def take(self, count: int) -> list[Any]:
        """The next messages."""
        return [await self.next() for _ in range(count)]

    async def ask(self, message: object) -> Any:
        """Send a message; the next one is its answer."""
        await self.send(message)
        return await self.next()

    async def until(self, wanted: Callable[[Any], bool]) -> list[Any]:
        """The next messages, up to one that is wanted."""
        messages = [await self.next()]
        while not wanted(messages[-1]):
            messages.append(await self.next())
        return messages

    async def quiet(self) -> None:
        """Check that nothing comes."""
        with pytest.raises(TimeoutError):
            await self.socket.receive(timeout=0.15)

    async def close(self) -> None:
        """Close it."""
        await self.socket.close()

    async def code(self) -> int | None:
        """Read until the connection is closed; its code."""
        while True:
            message = await self.socket.receive(timeout=30)
            if message.type not in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY, aiohttp.WSMsgType.PING):
                return self.socket.close_code
