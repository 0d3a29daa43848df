"""One turn of one contender: ``client.py NAME PORT MESSAGES``; prints JSON with CPU seconds and messages."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import Any

import uvloop

import execwire
from execwire.delivery import Handler, Pump
from execwire.sessions import transport


class _Owner:
    def __init__(self) -> None:
        self.done = asyncio.get_running_loop().create_future()

    def on_open(self, _transport: object) -> None: ...
    def on_control(self, *_: object) -> None: ...

    def on_close(self, *_: object) -> None:
        self.done.set_result(None)


async def _pumped(url: str, handler: Handler, routes: int = 0, plain: bool = False) -> dict[str, int]:
    owner = _Owner()
    pump = Pump(execwire.Decoder("binance-spot"), execwire.Decoder("binance-spot"), handler, owner)
    handlers = [type(handler)() for _ in range(routes)]
    for number, one in enumerate(handlers):
        pump.route(number, one)
    if plain:
        from execwire import plain_stream

        transport.listener_class = lambda: plain_stream.Listener  # type: ignore[assignment]
    await transport.connect(pump, url, {}, transport.PROFILES["hot"], max_message=1 << 20, timeout=10)
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
    await picows.ws_connect(lambda: listener, url, read_buffer_init_size=262_144)
    await listener.done
    return int(listener.frames)


async def websockets_bare(url: str) -> int:
    import websockets

    n = 0
    async with websockets.connect(url) as socket:
        async for _ in socket:
            n += 1
    return n


async def aiohttp_bare(url: str) -> int:
    import aiohttp

    n = 0
    async with aiohttp.ClientSession() as http, http.ws_connect(url) as socket:
        async for _ in socket:
            n += 1
    return n


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
    "websockets, no decoding": (websockets_bare, "websockets"),
}


def main() -> None:
    name, port, messages = sys.argv[1:4]
    run, _ = CONTENDERS[name]
    url = f"ws://127.0.0.1:{port}/blast?messages={messages}"
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
