"""A server for throughput and fleets, in a process of its own: prints its port, then serves until it is killed.

``/blast?messages=N&subscriptions=K``: N executionReport frames as fast as the client reads them, 64 a write; with
K > 0 wrapped as the WebSocket API wraps them, with K subscription ids. ``/burst?messages=N``: the same, and the
connection stays. ``/idle``: nothing; answers pings. ``server.py CERTIFICATE``: all of it over TLS.
"""

from __future__ import annotations

import asyncio
import base64
import functools
import hashlib
import ssl
import struct
import sys
from urllib.parse import parse_qs, urlsplit

import orjson

from execwire import workload

MAGIC = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
DISTINCT = 4096
PER_WRITE = 64


def write_certificate(path: str) -> None:
    """Write a key, a certificate for 127.0.0.1 and what clients trust to a file, for a server of this run (PEM)."""
    import trustme

    authority = trustme.CA()
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(path)
    authority.cert_pem.write_to_path(path, append=True)


def _frame(payload: bytes, opcode: int = 1) -> bytes:
    size = len(payload)
    head = bytes((0x80 | opcode, size)) if size < 126 else struct.pack(">BBH", 0x80 | opcode, 126, size)
    return head + payload


def _full(message: bytes, n: int) -> bytes:
    """A report of about 700 bytes: with a strategy, smart order routing, a match type and a peg, as documented."""
    more = {
        "j": 1000 + n % 7, "J": 1_000_000 + n % 3, "b": "ONE_PARTY_TRADE_REPORT", "a": 1234 + n, "k": "SOR", "uS": True,
        "gP": "PRIMARY_PEG", "gOT": "PRICE_LEVEL", "gOV": n % 5, "gp": f"{91250 + n % 100}.10000000",
    }  # fmt: skip
    return orjson.dumps({**orjson.loads(message), **more})


@functools.cache
def payloads(subscriptions: int) -> list[bytes]:
    """The messages, all of them distinct."""
    found = [_full(message, n) for n, message in enumerate(workload.workload("executionReport", DISTINCT).messages)]
    if subscriptions:
        found = [b'{"subscriptionId":%d,"event":%b}' % (n % subscriptions, one) for n, one in enumerate(found)]
    return found


def _blocks(subscriptions: int) -> list[bytes]:
    frames = [_frame(one) for one in payloads(subscriptions)]
    return [b"".join(frames[i : i + PER_WRITE]) for i in range(0, len(frames), PER_WRITE)]


class Server:
    def __init__(self) -> None:
        self._made: dict[int, list[bytes]] = {}

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            request = await reader.readuntil(b"\r\n\r\n")
            lines = request.split(b"\r\n")
            key = next(one.split(b":", 1)[1].strip() for one in lines if one.lower().startswith(b"sec-websocket-key"))
            accept = base64.b64encode(hashlib.sha1(key + MAGIC).digest())
            writer.write(
                b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
            )
            url = urlsplit(lines[0].split()[1].decode())
            query = {name: int(values[0]) for name, values in parse_qs(url.query).items()}
            if url.path in ("/blast", "/burst"):
                await self._blast(writer, query["messages"], query.get("subscriptions", 0))
            if url.path == "/blast":
                writer.write(_frame(b"\x03\xe8", 8))
            await self._idle(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def _blast(self, writer: asyncio.StreamWriter, messages: int, subscriptions: int) -> None:
        if subscriptions not in self._made:
            self._made[subscriptions] = _blocks(subscriptions)
        blocks = self._made[subscriptions]
        for n in range(messages // PER_WRITE):
            writer.write(blocks[n % len(blocks)])
            await writer.drain()
        writer.write(b"".join(map(_frame, payloads(subscriptions)[: messages % PER_WRITE])))

    async def _idle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head, size = await reader.readexactly(2)
            mask = await reader.readexactly(4)
            data = await reader.readexactly(size & 0x7F)
            payload = bytes(byte ^ mask[i % 4] for i, byte in enumerate(data))
            if head & 15 == 9:
                writer.write(_frame(payload, 10))
            elif head & 15 == 8:
                return


async def main(certificate: str | None = None) -> None:
    tls = None
    if certificate is not None:
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(certificate)
    server = await asyncio.start_server(Server().serve, "127.0.0.1", 0, limit=1 << 14, backlog=8192, ssl=tls)
    print(server.sockets[0].getsockname()[1], flush=True)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    try:
        import uvloop

        uvloop.run(main(*sys.argv[1:2]))
    except KeyboardInterrupt:
        pass
