"""What sessions send over HTTP and through proxies, sockets that could not be opened, and what sessions share."""

# ruff: noqa: SIM117 - first the server, then what talks to it

from __future__ import annotations

import asyncio
import contextlib
import gc
import socket
from pathlib import Path

import pytest
from raw_server import SUBSCRIBED, Answers, RawServer, http
from sessions import API_KEY, CREDENTIALS, fast, run, until

from execwire.sessions import Key, Session, SessionError, transport

NOWHERE = "127.0.0.1:9"  # for those who must not get there by themselves


def first_error(one, seen):
    return one.event == "error"


# ---- MARK: Answers ----


@pytest.mark.parametrize(("venue", "credentials"), [("binance-spot", CREDENTIALS), ("binance-futures", Key(API_KEY))])
def test_a_venue_says_how_long_to_wait(venue, credentials):
    """Over the WebSocket's handshake, and over REST. If it did not say, that would be half a minute."""

    async def main():
        async with Answers(http("429 Too Many Requests", Retry_After=1)) as server:
            urls = {"url": f"ws://{server.origin}", "rest_url": f"http://{server.origin}"}
            async with Session(fast(venue), credentials, **urls):
                while len(server.requests) < 2:
                    await asyncio.sleep(0.05)

    run(main(), 10)


def test_a_refused_handshake_is_told_in_the_venues_own_words():
    async def main():
        body = b'{"code":-2015,"msg":"Invalid API-key, IP, or permissions for action."}'
        async with Answers(http("400 Bad Request", body)) as server:
            async with Session(fast("binance-spot"), CREDENTIALS, url=f"ws://{server.origin}") as stream:
                with pytest.raises(SessionError, match="Invalid API-key") as caught:
                    await stream.run()
        assert caught.value.code == "-2015"

    run(main(), 10)


def test_a_request_without_an_answer(monkeypatch):
    monkeypatch.setattr("execwire.sessions.transport.HTTP_SECONDS", 0.2)

    async def main():
        async with Answers() as server:
            rest = f"http://{server.origin}"
            async with Session(fast("binance-futures"), Key(API_KEY), url=f"ws://{NOWHERE}", rest_url=rest) as stream:
                (record,) = await until(stream, first_error)
        assert record.message == "no listen key: no answer within 0.2 s"

    run(main(), 10)


def test_a_request_that_nobody_takes():
    async def main():
        async with RawServer(None) as server:
            nobody = server.url.removeprefix("ws://").removesuffix("/x")
        rest = f"http://{nobody}"
        async with Session(fast("binance-futures"), Key(API_KEY), url=f"ws://{nobody}", rest_url=rest) as stream:
            records = await until(stream, lambda one, seen: len(seen) == 2)
        assert {one.event for one in records} == {"error"}
        assert all(one.message.startswith("no listen key: Connect call failed") for one in records)

    run(main(), 10)


def test_a_url_that_cannot_be_used_is_not_told():
    """It may hold a password, a key or a signature."""

    async def main():
        rest = "http://user:hidden@nowhere:99999"
        async with Session(fast("openapi-broker"), CREDENTIALS, url=f"ws://{NOWHERE}", rest_url=rest) as stream:
            (record,) = await until(stream, first_error)
        assert record.message == "no listen key: InvalidUrlClientError"

    run(main(), 10)


def test_a_redirect_takes_no_key_to_another_place():
    async def main():
        async with Answers(http("200 OK")) as other:
            async with Answers(http("307 Moved", Location=f"http://{other.origin}/")) as server:
                urls = {"url": f"ws://{NOWHERE}", "rest_url": f"http://{server.origin}"}
                async with Session(fast("binance-futures"), Key(API_KEY), **urls) as stream:
                    (record,) = await until(stream, first_error)
            assert (record.error_code, other.requests) == ("307", [])

    run(main(), 10)


# ---- MARK: Proxies ----


def test_both_ways_go_through_the_proxy():
    async def main():
        async with Answers(http("200 OK", b'{"listenKey":"LK"}')) as proxy:
            urls = {"url": f"ws://{NOWHERE}", "rest_url": f"http://{NOWHERE}", "proxy": f"http://{proxy.origin}"}
            async with Session(fast("binance-futures"), Key(API_KEY), **urls):
                while len(proxy.requests) < 2:
                    await asyncio.sleep(0.02)
        assert [one.split(b"\r\n")[0] for one in proxy.requests[:2]] == [
            b"POST http://127.0.0.1:9/fapi/v1/listenKey HTTP/1.1",
            b"CONNECT 127.0.0.1:9 HTTP/1.1",
        ]

    run(main(), 10)


def test_a_proxy_that_refuses_is_told_and_tried_again():
    async def main():
        async with Answers(http("407 Proxy Authentication Required")) as proxy:
            more = {"url": f"ws://{NOWHERE}", "proxy": f"http://{proxy.origin}"}
            async with Session(fast("binance-spot"), CREDENTIALS, **more) as stream:
                records = await until(stream, lambda one, seen: len(seen) == 2)
            assert len(proxy.requests) == 2
        assert {one.event for one in records} == {"error"}

    run(main(), 10)


def test_a_proxy_that_never_answers():
    async def main():
        async with Answers() as proxy:
            more = {"url": f"ws://{NOWHERE}", "proxy": f"http://{proxy.origin}"}
            async with Session(fast("binance-spot", timeout=0.2), CREDENTIALS, **more) as stream:
                records = await until(stream, lambda one, seen: len(seen) == 2)
                while len(proxy.open) > 1:
                    await asyncio.sleep(0.02)
        assert all("no answer within 0.2 s" in one.message for one in records)

    run(main(), 10)


# ---- MARK: Sockets ----


def sockets() -> set[str]:
    """The process's own that are open."""
    found = set()
    for one in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            found.add(str(one.readlink()))
    return {one for one in found if one.startswith("socket:")}


@pytest.mark.parametrize("how", ["refused", "given up"])
def test_a_socket_that_was_not_opened_is_closed(how):
    """The profile for thousands of connections makes its own."""

    async def main():
        full = socket.create_server(("127.0.0.1", 0), backlog=0)
        port = full.getsockname()[1]
        first = []
        if how == "refused":
            full.close()
        else:  # those that come now wait to be taken, and nobody takes them
            for _ in range(2):
                first.append(socket.socket())
                first[-1].setblocking(False)
                first[-1].connect_ex(("127.0.0.1", port))
        before = sockets()
        try:
            changes = {"timeout": 0.2}
            stream = Session(
                fast("binance-spot", **changes), CREDENTIALS, url=f"ws://127.0.0.1:{port}", profile="fleet"
            )
            gc.disable()
            records = await until(stream, lambda one, seen: len(seen) == 3)
            await stream.close()
            assert {one.event for one in records} == {"error"}
            assert sockets() == before
        finally:
            gc.enable()
            for one in (full, *first):
                one.close()

    run(main(), 10)


# ---- MARK: What sessions share ----


def test_the_last_session_of_a_loop_gives_back_what_all_of_them_used():
    async def main():
        async with Answers(http("503 No", b"")) as server:
            shared = transport.hub()
            urls = {"url": f"ws://{NOWHERE}", "rest_url": f"http://{server.origin}"}
            first, second = (Session(fast("binance-futures"), Key(API_KEY), **urls) for _ in range(2))
            for one in (first, second):
                await until(one, first_error)
            await first.close()
            assert transport.hub() is shared
            asked = len(server.requests)
            while len(server.requests) < asked + 2:
                await asyncio.sleep(0.02)
            await second.close()
            while server.open:
                await asyncio.sleep(0.02)
            assert transport.hub() is not shared

    run(main(), 10)


# ---- MARK: Addresses ----


def test_an_address_that_swallows_packets_leaves_time_for_the_next(monkeypatch):
    async def main():
        async def serve(peer):
            await peer.receive()
            peer.send(SUBSCRIBED)
            await asyncio.sleep(50)

        async with RawServer(serve) as server:
            port = int(server.url.rpartition(":")[2].partition("/")[0])
            with contextlib.ExitStack() as stack:
                dead = stack.enter_context(socket.socket())
                dead.bind(("127.0.0.2", port))
                dead.listen(0)
                for _ in range(3):  # its queue is full
                    one = stack.enter_context(socket.socket())
                    one.setblocking(False)
                    one.connect_ex(("127.0.0.2", port))

                async def both(*_args, **_options):
                    return [
                        (socket.AF_INET, socket.SOCK_STREAM, 6, "", (to, port)) for to in ("127.0.0.2", "127.0.0.1")
                    ]

                monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", both)
                seen = []
                venue = fast("binance-spot", timeout=2)
                async with Session(venue, CREDENTIALS, url=server.url, handler=lambda one: seen.append(one.event)):
                    while "connected" not in seen:
                        await asyncio.sleep(0.05)
        assert "error" not in seen

    asyncio.run(asyncio.wait_for(main(), 10))


@pytest.mark.parametrize(
    ("header", "seconds"), [("30", 30), ("9" * 400, 3 * 86_400), ("\N{SUPERSCRIPT TWO}", 0), ("soon", 0), ("", 0)]
)
def test_how_long_a_server_wants_to_be_left_alone(header, seconds):
    assert transport._retry_after({"Retry-After": header}) == seconds
