"""Servers made of raw frames and raw answers, for what a well-behaved one would never send."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import struct
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Awaitable, Callable

TEXT, BINARY, CONTINUATION, CLOSE, PING, PONG = 1, 2, 0, 8, 9, 10
SILENCE = b"never"  # as a status: the handshake is not answered
_MAGIC = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def frame(payload: bytes, opcode: int = TEXT, *, fin: bool = True, rsv: int = 0) -> bytes:
    """A server's frame."""
    head = (0x80 if fin else 0) | rsv << 4 | opcode
    size = len(payload)
    if size < 126:
        return bytes((head, size)) + payload
    if size < 65536:
        return struct.pack(">BBH", head, 126, size) + payload
    return struct.pack(">BBQ", head, 127, size) + payload


SUBSCRIBED = frame(b'{"id":0,"status":200,"result":{"subscriptionId":0}}')  # the first answer of binance-spot


def order(n: int) -> bytes:
    """An event of binance-spot, n ms after the first; n is the order's id as well."""
    event = b'{"e":"executionReport","E":%d,"s":"SOLEUR","i":%d}' % (1_795_000_000_000 + n, n)
    return frame(b'{"subscriptionId":0,"event":%b}' % event)


class Peer:
    """The server's side of one connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.request = b""

    def send(self, *frames: bytes) -> None:
        """All of it with one write."""
        self.writer.write(b"".join(frames))

    async def receive(self) -> tuple[int, bytes]:
        """The client's next frame: opcode and payload."""
        head, size = await self.reader.readexactly(2)
        size &= 0x7F
        if size == 126:
            (size,) = struct.unpack(">H", await self.reader.readexactly(2))
        mask = await self.reader.readexactly(4)
        data = await self.reader.readexactly(size)
        return head & 15, bytes(byte ^ mask[i % 4] for i, byte in enumerate(data))

    async def receive_until(self, opcode: int) -> bytes:
        """The payload of the client's next frame of a sort."""
        while True:
            found, payload = await self.receive()
            if found == opcode:
                return payload

    def abort(self) -> None:
        """Cut the connection off."""
        self.writer.transport.abort()


class RawServer:
    """Runs `serve(peer)` for every connection, once `answers` is set if it is given."""

    def __init__(
        self,
        serve: Callable[[Peer], Awaitable[None]] | None,
        *,
        extra: bytes = b"",
        status: bytes = b"",
        tls: ssl.SSLContext | None = None,
        answers: asyncio.Event | None = None,
    ) -> None:
        self.serve, self.extra, self.status, self.tls, self.answers = serve, extra, status, tls, answers
        self.peers: list[Peer] = []
        self.errors: list[BaseException] = []
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self.server = await asyncio.start_server(self._connected, "127.0.0.1", 0, ssl=self.tls)
        self.url = f"{'ws' if self.tls is None else 'wss'}://127.0.0.1:{self.server.sockets[0].getsockname()[1]}/x"
        return self

    async def __aexit__(self, *_: object) -> None:
        self.server.close()
        for task in self._tasks:
            task.cancel()
        for peer in self.peers:
            peer.abort()
        if self._tasks:
            await asyncio.wait(self._tasks)
        await self.server.wait_closed()
        if self.errors:
            raise self.errors[0]

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        peer = Peer(reader, writer)
        try:
            peer.request = await reader.readuntil(b"\r\n\r\n")
            self.peers.append(peer)
            if self.answers is not None:
                await self.answers.wait()
            if self.status == SILENCE:
                await asyncio.sleep(3600)
            if self.status:
                writer.write(self.status)
                await writer.drain()
                return
            lines = peer.request.split(b"\r\n")
            key = next(
                line.split(b":", 1)[1].strip() for line in lines if line.lower().startswith(b"sec-websocket-key")
            )
            accept = base64.b64encode(hashlib.sha1(key + _MAGIC).digest())
            writer.write(
                b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n"
                b"Sec-WebSocket-Accept: " + accept + b"\r\n" + self.extra + b"\r\n"
            )
            await self.serve(peer)
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        except BaseException as error:
            self.errors.append(error)
        finally:
            writer.close()


@contextlib.asynccontextmanager
async def server_of(
    handle: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
) -> AsyncIterator[int]:
    """A server on 127.0.0.1; its port."""
    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


class Answers:
    """An HTTP server that gives every request the same answer; without one it never answers."""

    def __init__(self, answer: bytes = b"") -> None:
        self.answer = answer
        self.requests: list[bytes] = []
        self.open: set[asyncio.StreamWriter] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.origin = f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for writer in self.open:
            writer.transport.abort()
        while self.open:
            await asyncio.sleep(0)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open.add(writer)
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                self.requests.append(await reader.readuntil(b"\r\n\r\n"))
                writer.write(self.answer)
        self.open.discard(writer)
        writer.close()


def http(status: str, body: bytes = b"", **headers: object) -> bytes:
    """An answer over HTTP."""
    more = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {status}\r\n{more}Content-Length: {len(body)}\r\n\r\n".encode() + body
