"""The local exchange as a whole: every venue at once, the Python API, `execwire serve`."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import signal
import struct
import subprocess
import sys
import urllib.request
from importlib import import_module
from pathlib import Path
from socket import SO_LINGER, SOL_SOCKET, create_connection

import aiohttp
import pytest
import uvloop
from exchanges import KEY, SECONDS, START, Socket, is_async, serving
from processes import started
from test_exchange_bitget import classic, login, subscribe
from test_exchange_gzip import SPOT as GZIP_SPOT
from test_exchange_spot import PATH, SIGNED, signed

import execwire
from execwire.auth import Credentials
from execwire.cli import main
from execwire.exchange import VENUES, Every, Exchange, Faults, Options
from execwire.exchange import serving as command

ALL = ["binance-spot", "binance-futures", "bitget", "bitget-v1", "openapi-broker", "gzip-broker"]


async def everywhere(client):
    """A connection to every venue that gets events."""
    spot = await client.ws("binance-spot", PATH)
    await spot.ask(signed(SIGNED))
    _, answer = await client.rest("POST", "/fapi/v1/listenKey", headers={"X-MBX-APIKEY": KEY})
    futures = await client.ws("binance-futures", f"/private/ws?listenKey={answer['listenKey']}")
    bitget = await client.ws("bitget", "/v2/ws/private")
    await bitget.ask(login())
    await bitget.ask(subscribe(classic("orders", "USDT-FUTURES")))
    old = await client.ws("bitget-v1", "/mix/v1/stream")
    await old.ask(login())
    await old.ask(subscribe({"instType": "umcbl", "channel": "orders", "instId": "default"}))
    _, answer = await client.signed("POST", "/openapi/v1/userDataStream", header="X-BH-APIKEY")
    openapi = await client.ws("openapi-broker", f"/openapi/ws/{answer['listenKey']}")
    gzip = await client.ws("gzip-broker", GZIP_SPOT, headers={"api-key": KEY})
    await gzip.next()
    await gzip.ask({"event": "sub", "token": KEY})
    return [spot, futures, bitget, old, openapi, gzip]


@is_async
async def test_every_venue_at_once():
    async with serving(rate=200) as (exchange, client):
        sockets = await everywhere(client)
        assert [one.venue for one in sockets] == list(VENUES) == ALL
        for socket in sockets:
            await socket.take(30)
            await socket.close()
        assert [one.venue for one in exchange.connections] == ALL


def wire(seed: object) -> str:
    """The hash of everything that two hundred events say on every venue, with faults."""

    async def run() -> str:
        faults = Faults(drop=0.05, duplicate=0.05, reorder=Every(7), malformed=0.02)
        digest = hashlib.sha256()
        async with serving(start=START, seed=seed, faults=faults) as (exchange, client):
            sockets = await everywhere(client)
            for venue in ALL:
                exchange.step(venue, 200)
            for connection in exchange.connections:
                digest.update(b"".join(connection.log))
                assert connection.counts["dropped"]
            for socket in sockets:
                await socket.close()
        return digest.hexdigest()

    return asyncio.run(asyncio.wait_for(run(), SECONDS))


def test_deterministic():
    assert wire(5) == wire(5)
    assert wire(5) != wire(6)


@is_async
async def test_python_api():
    with pytest.raises(ValueError, match="no venue 'nowhere'; it has binance-spot"):
        Exchange(["nowhere"])
    async with Exchange(["bitget"], host="127.0.0.1", rate=0) as exchange:
        assert exchange.url("bitget") == f"ws://127.0.0.1:{exchange.port}"
        assert exchange.rest_url("bitget") == f"http://127.0.0.1:{exchange.port}"
        with pytest.raises(ValueError, match="does not serve 'binance-spot'; it serves bitget"):
            exchange.url("binance-spot")
        assert exchange.step("bitget", 3)[-1].number == 3
        assert exchange.step("bitget", 1, "spot")[0].number == 1
        assert exchange.market("bitget", "spot").count == 1
        # Only what was asked for is served.
        async with aiohttp.ClientSession() as http:
            with pytest.raises(aiohttp.WSServerHandshakeError):
                await http.ws_connect(exchange.url("bitget") + PATH)
            async with http.get(f"{exchange.rest_url('bitget')}/v2/ws/private") as response:
                assert response.status == 426
        assert "sec" not in repr(exchange.keys)


@is_async
async def test_flow_goes_on_without_listeners():
    """From the first subscriber on, whoever is away misses something."""
    async with serving("binance-spot", rate=500) as (exchange, client):
        market = exchange.market("binance-spot")
        await asyncio.sleep(0.05)
        assert market.count == 0
        socket = await client.ws("binance-spot", PATH)
        await socket.ask(signed(SIGNED))
        await socket.take(5)
        await socket.close()
        before = market.count
        while market.count < before + 20:
            await asyncio.sleep(0.01)


@is_async
async def test_slow_reader_is_cut_off(monkeypatch):
    monkeypatch.setattr(import_module("execwire.exchange.connection"), "_MOST_BUFFERED", 100_000)
    async with serving("binance-spot") as (exchange, client):
        socket = await client.ws("binance-spot", PATH)
        await socket.ask(signed(SIGNED))
        for _ in range(200):
            exchange.step("binance-spot", 100)
            await asyncio.sleep(0)
            if exchange.connections[0].counts["too slow"]:
                break
        assert exchange.connections[0].counts["too slow"] == 1
        await socket.close()


# ---- The command ----


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_serve(number):
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    arguments = ["serve", "--key", "k", "--secret", "s", "--rate", "50", "--start", str(START), "binance-spot"]
    program = [sys.executable, "-c", "from execwire.cli import main; raise SystemExit(main())"]
    with started(*program, *arguments, text=True, env=environ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        line = process.stdout.readline()  # as soon as it is ready, into a pipe as well
        address, *served = line.split()
        assert served == ["binance-spot"]

        async def use() -> None:
            async with aiohttp.ClientSession() as http:
                ws = await http.ws_connect(address.replace("http", "ws") + PATH)
                socket = Socket(ws, "binance-spot")
                answer = await socket.ask(signed(SIGNED, key="k", secret="s"))
                assert answer["result"] == {"subscriptionId": 0}
                first = await socket.next()
                assert START < first["event"]["E"] < START + 100
                process.send_signal(number)
                assert (await socket.code()) == 1001

        asyncio.run(asyncio.wait_for(use(), SECONDS))
        assert process.wait(10) == 0
        assert process.stdout.read() == ""
        assert process.stderr.read() == ""


def test_serve_over_tls(tls):
    command = [sys.executable, "-m", "execwire.cli", "serve", "--tls", str(tls.pem), "binance-spot"]
    with started(*command, text=True) as process:
        assert process.stdout is not None
        address, venue = process.stdout.readline().split()
        assert address.startswith("https://127.0.0.1:")
        with urllib.request.urlopen(f"{address}/api/v3/time", context=tls.client, timeout=SECONDS) as response:
            assert json.load(response)["serverTime"]

        async def use() -> None:
            url = address.replace("http", "ws")
            async with execwire.Session(venue, Credentials("key", "sec"), url=url, tls=tls.client) as stream:
                async for record in stream:
                    if record.kind == "order":
                        break

        uvloop.run(asyncio.wait_for(use(), SECONDS))
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "no venue 'nowhere'"),
        (["--fault", "gravity=1"], "there is no 'gravity'"),
        (["--fault", "drop=often"], "drop: 'often' is not what it can be"),
        (["--fault", "drop=7"], "drop: 7.0 is no probability"),
        (["--fault", "delay_seconds=nan"], "delay_seconds: 'nan' is not what it can be"),
        (["--set", "listen_key_life=inf"], "listen_key_life: 'inf' is not what it can be"),
        (["--rate", "nan"], "'nan' is not a number that can be counted to"),
        (["--set", "weight=1.5"], "weight: '1.5' is not what it can be"),
        (["--secret", ""], "the secret is empty"),
        (["--tls", __file__], "does not hold a private key and its certificate"),
    ],
)
def test_wrong_usage(arguments, message, capsys):
    assert main(["serve", *arguments]) == 2
    assert message in capsys.readouterr().err


def test_port_in_use():
    done = subprocess.run([sys.executable, "-c", _PORT_IN_USE], capture_output=True, text=True, check=False, timeout=30)
    assert done.returncode == 2
    assert "in use" in done.stderr


_PORT_IN_USE = """
import socket, sys
import execwire
from execwire.cli import main
taken = socket.create_server(("127.0.0.1", 0))
sys.exit(main(["serve", "--port", str(taken.getsockname()[1])]))
"""


def test_help(capsys):
    assert main(["serve", "--fault", "help"]) == 0
    assert "close_code=1001" in capsys.readouterr().out
    assert main(["serve", "--set", "help"]) == 0
    assert "listen_key_life=3600.0" in capsys.readouterr().out


def test_settings():
    assert command.parse(Faults, ["drop=1/100", "delay=0.5", "close_after=3", "key_life=2", "refuse=1"]) == Faults(
        drop=Every(100), delay=0.5, close_after=3, key_life=2.0, refuse=1
    )
    options = command.parse(Options, ["weight=7", "openapi_header=X-BB-APIKEY", "bitget_silence=1"])
    assert options == Options(weight=7, openapi_header="X-BB-APIKEY", bitget_silence=1.0)


def test_layers():
    """The exchange knows nothing of sessions, and nothing of the exchange is needed to decode."""
    code = (
        "import sys, execwire.exchange; print(sorted(one for one in sys.modules if one.startswith('execwire.sess')));"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
    code = "import sys, execwire; print('execwire.exchange' in sys.modules, 'aiohttp' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False False\n"


@is_async
async def test_repeated_events():
    """For load: the same messages again, from memory."""
    async with serving(repeat=40) as (exchange, client):
        sockets = await everywhere(client)
        for venue in ALL:
            exchange.step(venue, 80)
        for connection, socket in zip(exchange.connections, sockets, strict=True):
            log = connection.log
            assert len(log) > 40 or connection.venue == "gzip-broker"
            if connection.venue != "gzip-broker":
                assert log[: len(log) // 2] == log[len(log) // 2 :]
            await socket.close()
        assert exchange.market("binance-spot").count == 40


NASTY = [
    "",
    "null",
    "7",
    '"x"',
    "[[[]]]",
    "{}",
    "[" * 10_000,
    '{"id":' + "9" * 400 + "}",
    '{"id":[],"method":[],"params":[]}',
    '{"id":{},"method":{},"params":{}}',
    '{"id":1,"method":"userDataStream.unsubscribe","params":{"subscriptionId":[]}}',
    '{"id":1,"method":"userDataStream.unsubscribe","params":{"subscriptionId":true}}',
    '{"id":1,"method":"userDataStream.subscribe.listenToken","params":{"listenToken":[]}}',
    '{"id":1,"method":"userDataStream.subscribe.signature","params":{"apiKey":[],"timestamp":{},"signature":[]}}',
    '{"id":1,"method":"userDataStream.start","params":{"apiKey":[]}}',
    '{"id":1,"method":"userDataStream.start","params":[1]}',
    '{"id":1,"method":"SUBSCRIBE","params":[[]]}',
    '{"id":1,"method":"UNSUBSCRIBE","params":null}',
    '{"op":[],"args":{}}',
    '{"op":{},"args":[{}]}',
    '{"op":"login","args":[{}]}',
    '{"op":"login","args":[{"apiKey":[],"passphrase":{},"timestamp":[],"sign":7}]}',
    '{"op":"login","args":[{"apiKey":"key","passphrase":"pp","timestamp":"\u0661","sign":7}]}',
    '{"op":"subscribe","args":[{"instType":[],"channel":{},"instId":[],"coin":{}}]}',
    '{"op":"subscribe","args":[{"instType":"UTA","topic":[]}]}',
    '{"ping":[]}',
    '{"ping":{}}',
    '{"pong":[]}',
    '{"event":"sub2","token":[]}',
    '{"event":[],"token":[]}',
]


@is_async
async def test_nasty_messages(caplog):
    """Whatever clients send is answered or ignored; nothing breaks, and nobody else notices."""
    options = Options(stream_messages=10_000, bitget_messages=10_000, weight=10**6)
    async with serving(options=options) as (exchange, client):
        _, answer = await client.signed("POST", "/openapi/v1/userDataStream", header="X-BH-APIKEY")
        for path in (PATH, "/private/stream", "/ws-fapi/v1", "/v2/ws/private", "/v3/ws/private", "/mix/v1/stream",
                     f"/openapi/ws/{answer['listenKey']}", GZIP_SPOT):  # fmt: skip
            socket = await client.http.ws_connect(client.ws_origin + path, headers={"token": KEY})
            if "v1/stream" in path or "/ws/private" in path:
                await socket.send_json(login())
            for message in NASTY:
                await socket.send_str(message)
            await socket.send_bytes(b"\x00\xff")
            assert await client.rest("GET", "/api/v3/ping") == (200, {})
            await asyncio.sleep(0.05)
            assert exchange.connections[-1].is_open, path
            await socket.close()
        for path in ("/api/v3/myTrades", "/fapi/v1/userTrades"):
            refused = await client.signed("GET", path, symbol="BTCUSDT", limit="many")
            assert refused[1]["code"] == -1102
    assert not [one for one in caplog.records if one.levelname in ("ERROR", "CRITICAL")]


@is_async
async def test_nothing_keeps_a_secret():
    """Neither what connections are called nor what requests are counted as holds a key."""
    async with serving() as (exchange, client):
        await everywhere(client)
        await client.http.ws_connect(f"{client.ws_origin}/ws/listen-key-in-the-path?token=hunter2")
        told = [one.path for one in exchange.connections] + [str(exchange.requests), repr(exchange.keys)]
        assert exchange.connections[-1].path == "/ws/{key}"
        assert not any("hunter2" in one or "listen-key" in one or "signature" in one or "'sec'" in one for one in told)


@is_async
async def test_injected_messages():
    """Events that the market never makes, through the venue's own frames."""
    payloads = Path(__file__).resolve().parent / "payloads"
    async with serving() as (exchange, client):
        sockets = await everywhere(client)
        for socket, name in zip(
            sockets,
            ["listStatus_all_done", "MARGIN_CALL_crossed", "adl-noti", "ordersAlgo", "ticketInfo", "SYSTEM"],
            strict=True,
        ):
            path = min((payloads / socket.venue).glob(f"{name}*.json"))
            payload = path.read_bytes().strip()
            exchange.inject(socket.venue, payload)
            message = await socket.next()
            inside = message.get("event", message) if socket.venue == "binance-spot" else message
            assert inside == json.loads(payload)
            await socket.close()
        sbe = await client.ws("binance-spot", PATH + "?responseFormat=sbe&sbeSchemaId=3&sbeSchemaVersion=5")
        await sbe.send(signed(SIGNED))
        await sbe.raw()
        exchange.inject("binance-spot", b'{"e":"externalLockUpdate","E":1,"a":"BTC","d":"-0.50000000","T":1}')
        (record,) = execwire.Decoder("binance-spot").decode(await sbe.raw())
        assert (record.event, str(record.delta)) == ("externalLockUpdate", "-0.50000000")
        await sbe.close()


@is_async
async def test_clients_that_are_gone_before_their_handshake(caplog):
    request = (
        "GET /openapi/ws/%s HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    )
    async with serving("openapi-broker") as (exchange, client):
        _, answer = await client.signed("POST", "/openapi/v1/userDataStream", header="X-BH-APIKEY")
        for _ in range(20):
            with create_connection((exchange.host, exchange.port)) as one:
                one.setsockopt(SOL_SOCKET, SO_LINGER, struct.pack("ii", 1, 0))  # closes with a reset
                one.sendall((request % answer["listenKey"]).encode())
            await asyncio.sleep(0.005)
        while exchange.open_connections():
            await asyncio.sleep(0.01)
    assert not caplog.records
