"""One turn of a contender: ``client.py NAME PORT MESSAGES [CERTIFICATE]``; prints JSON: CPU seconds and messages."""

from __future__ import annotations

import asyncio
import functools
import json
import ssl
import sys
import time
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import orjson
import uvloop

import execwire
from execwire.delivery import Handler, Pump
from execwire.sessions import transport

if TYPE_CHECKING:
    from collections.abc import Callable


class _Owner:
    def __init__(self) -> None:
        self.done = asyncio.get_running_loop().create_future()

    def on_open(self, _transport: object) -> None: ...
    def on_control(self, *_: object) -> None: ...

    def on_close(self, *_: object) -> None:
        self.done.set_result(None)


@functools.cache
def _trust() -> ssl.SSLContext | None:
    """What trusts the certificate of the command line, if there is one."""
    return ssl.create_default_context(cafile=sys.argv[4]) if len(sys.argv) > 4 else None


async def _pumped(url: str, handler: Handler, routes: int = 0, plain: bool = False) -> dict[str, int]:
    owner = _Owner()
    pump = Pump(execwire.Decoder("binance-spot"), execwire.Decoder("binance-spot"), handler, owner)
    handlers = [type(handler)() for _ in range(routes)]
    for number, one in enumerate(handlers):
        pump.route(number, one)
    if plain:
        from execwire import plain_stream

        transport.listener_class = lambda: plain_stream.Listener  # type: ignore[assignment]
    await transport.connect(pump, url, {}, transport.PROFILES["hot"], max_message=1 << 20, timeout=10, tls=_trust())
    await owner.done
    counts: dict[str, int] = pump.counts
    assert counts["decode_errors"] == 0
    assert counts["records"] == counts["messages"]
    return counts


async def struct_handler(url: str) -> int:
    from build import build

    handler = build().Orders()
    counts = await _pumped(url, handler)
    assert handler.orders == counts["records"]
    return counts["messages"]


async def routed(url: str) -> int:
    """Every subscription has its own handler."""
    from build import build

    counts = await _pumped(url, build().Orders(), int(url.rpartition("=")[2]))
    return counts["messages"]


class _Records(Handler):
    def __init__(self) -> None:
        self.total = 0

    def on_record(self, record: Any) -> None:
        self.total += record.number("order_id")


class _Batches(Handler):
    def __init__(self) -> None:
        self.total = 0

    def on_batch(self, records: list[Any]) -> None:
        for record in records:
            self.total += record.number("order_id")


async def python_handler(url: str) -> int:
    return (await _pumped(url, _Records()))["messages"]


async def python_batches(url: str) -> int:
    return (await _pumped(url, _Batches()))["messages"]


async def plain_listener(url: str) -> int:
    from build import build

    return (await _pumped(url, build().Orders(), plain=True))["messages"]


async def decoder_alone(url: str) -> int:
    """No socket: the same messages, from memory."""
    from server import payloads

    from build import build

    module, decoder, messages = build(), execwire.Decoder("binance-spot"), payloads(0)
    passes = max(int(url.rpartition("=")[2]) // len(messages), 1)
    module.decode_alone(decoder, messages, passes)
    return passes * len(messages)


async def picows_bare(url: str) -> int:
    import picows

    from build import build

    listener = build().Bare()
    listener.done = asyncio.get_running_loop().create_future()
    await picows.ws_connect(lambda: listener, url, ssl_context=_trust(), read_buffer_init_size=262_144)
    await listener.done
    return int(listener.frames)


async def _over_websockets(url: str, take: Callable[[Any], object]) -> int:
    import websockets

    n = 0
    async with websockets.connect(url, ssl=_trust()) as socket:
        async for message in socket:
            take(message)
            n += 1
    return n


async def _over_aiohttp(url: str, take: Callable[[Any], object]) -> int:
    import aiohttp

    n = 0
    async with aiohttp.ClientSession() as http, http.ws_connect(url, ssl=_trust() or True) as socket:
        async for message in socket:
            take(message.data)
            n += 1
    return n


DECIMALS = ("q", "p", "P", "F", "l", "z", "L", "n", "Z", "Y", "Q", "gp")


def _exact(text: str) -> dict[str, Any]:
    """What a careful client does by hand."""
    order: dict[str, Any] = orjson.loads(text)
    for key in DECIMALS:
        order[key] = Decimal(order[key])
    return order


def _ignore(text: str) -> None:
    pass


async def websockets_bare(url: str) -> int:
    return await _over_websockets(url, _ignore)


async def websockets_json(url: str) -> int:
    return await _over_websockets(url, json.loads)


async def websockets_exact(url: str) -> int:
    return await _over_websockets(url, _exact)


async def aiohttp_bare(url: str) -> int:
    return await _over_aiohttp(url, _ignore)


async def aiohttp_exact(url: str) -> int:
    return await _over_aiohttp(url, _exact)


CONTENDERS = {
    "execwire, struct handler": (struct_handler, "execwire"),
    "execwire, decoder alone": (decoder_alone, "execwire"),
    "execwire, 1 subscription": (routed, "execwire"),
    "execwire, 1,000 subscriptions": (routed, "execwire"),
    "execwire, Python handler": (python_handler, "execwire"),
    "execwire, Python batches": (python_batches, "execwire"),
    "execwire, plain listener": (plain_listener, "execwire"),
    "picows, no decoding": (picows_bare, "picows"),
    "aiohttp, no decoding": (aiohttp_bare, "aiohttp"),
    "aiohttp, orjson and Decimal": (aiohttp_exact, "aiohttp"),
    "websockets, no decoding": (websockets_bare, "websockets"),
    "websockets, json": (websockets_json, "websockets"),
    "websockets, orjson and Decimal": (websockets_exact, "websockets"),
    "TLS: execwire, struct handler": (struct_handler, "execwire"),
    "TLS: picows, no decoding": (picows_bare, "picows"),
    "TLS: aiohttp, orjson and Decimal": (aiohttp_exact, "aiohttp"),
    "TLS: websockets, orjson and Decimal": (websockets_exact, "websockets"),
}


def main() -> None:
    name, port, messages = sys.argv[1:4]
    run, _ = CONTENDERS[name]
    url = f"{'wss' if _trust() else 'ws'}://127.0.0.1:{port}/blast?messages={messages}"
    if "subscription" in name:
        url += f"&subscriptions={1000 if '1,000' in name else 1}"

    async def measured() -> dict[str, float]:
        await run(url.replace(f"messages={messages}", "messages=6400"))  # imports, first messages
        cpu, wall = time.process_time(), time.perf_counter()
        n = await run(url)
        return {"messages": n, "cpu": time.process_time() - cpu, "wall": time.perf_counter() - wall}

    print(json.dumps(uvloop.run(measured())))


if __name__ == "__main__":
    main()
