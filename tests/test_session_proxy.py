"""Sessions through a proxy: nothing goes around it."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import struct

import pytest
from sessions import CREDENTIALS, after, exchange, run, session, until

from execwire.sessions import Key, Session


@contextlib.asynccontextmanager
async def socks5():
    """A SOCKS5 server on 127.0.0.1 without a password: its URL, and the ports that were asked for."""
    ports: list[int] = []

    async def carry(reader, writer):
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65536):
                writer.write(data)
        writer.close()

    async def serve(reader, writer):
        _, n_methods = await reader.readexactly(2)
        await reader.readexactly(n_methods)
        writer.write(b"\x05\x00")
        _, _, _, kind = await reader.readexactly(4)
        host = await reader.readexactly(4 if kind == 1 else (await reader.readexactly(1))[0])
        (port,) = struct.unpack(">H", await reader.readexactly(2))
        ports.append(port)
        there, back = await asyncio.open_connection(".".join(map(str, host)) if kind == 1 else host.decode(), port)
        writer.write(b"\x05\x00\x00\x01" + bytes(6))
        await asyncio.gather(carry(reader, back), carry(there, writer))

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"socks5://127.0.0.1:{server.sockets[0].getsockname()[1]}", ports
    finally:
        server.close()


def test_a_socks_proxy_carries_calls_and_the_socket():
    pytest.importorskip("aiohttp_socks")

    async def main():
        async with exchange("binance-futures") as server, socks5() as (proxy, ports):
            async with session(server, "binance-futures", proxy=proxy) as stream:
                await until(stream, after(connected=1, data=5))
            assert ports == [server.port] * 2  # the listen key's call, then the socket
            assert len(server.requests) == 1

    run(main(), 20)


def test_a_socks_proxy_that_is_not_there():
    """The call with the key does not go another way."""
    pytest.importorskip("aiohttp_socks")

    async def main():
        async with exchange("binance-futures") as server:
            async with session(server, "binance-futures", proxy="socks5://user:hidden@127.0.0.1:9") as stream:
                seen = await until(stream, lambda one, seen: one.event == "error")
            assert "no listen key" in seen[-1].message
            assert "hidden" not in repr(seen)
            assert not server.requests

    run(main(), 20)


def test_a_socks_proxy_for_a_venue_with_calls_needs_a_library(monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "aiohttp_socks" else found(name))
    with pytest.raises(ValueError, match=r"execwire\[socks\]"):
        Session("binance-futures", CREDENTIALS, proxy="socks5://127.0.0.1:9")
    Session("gzip-broker", Key("k"), url="ws://127.0.0.1:9", proxy="socks5://127.0.0.1:9")  # which has none


@pytest.mark.parametrize("proxy", ["127.0.0.1:9", "ftp://127.0.0.1:9", "socks5://", "socks5h://127.0.0.1"])
def test_what_is_no_proxy(proxy):
    with pytest.raises(ValueError, match="proxy must begin with") as caught:
        Session("bitget", CREDENTIALS, proxy=proxy)
    assert "127" not in str(caught.value)
