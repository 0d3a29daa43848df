"""What `execwire replay` does: the frames of captures over a WebSocket, to a server or to all clients that connect."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from typing import TYPE_CHECKING, TypedDict, Unpack

from aiohttp import ClientError, ClientSession, web

from execwire.captures import Capture, CaptureError
from execwire.sessions.replaying import Pace, is_control

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from aiohttp import ClientWebSocketResponse

__all__ = ["send", "serve"]


class _Options(TypedDict, total=False):
    """Of `Capture`."""

    format: str
    ts_key: str | None
    payload_key: str | None


TURN = 256  # frames after which others of the event loop have a turn


async def _send(
    socket: ClientWebSocketResponse | web.WebSocketResponse, paths: Sequence[str], speed: float | None, how: _Options
) -> int:
    """Send all frames that were received, as texts or binary as they were, in their time."""
    pace, sent = Pace(speed), 0
    damage: CaptureError | None = None
    for path in paths:
        with Capture(path, control=True, **how) as capture:
            try:
                for message in capture:
                    if is_control(message):
                        continue
                    if not await pace.wait(message.ts_recv) and sent % TURN == 0:
                        await asyncio.sleep(0)
                    if socket.closed:
                        raise ConnectionError("the other side has closed the connection")
                    # A payload without the recorder's mark may be packed or SBE all the same, in captures of others.
                    binary = message.position.binary or message.payload[:2] == b"\x1f\x8b"
                    if binary:
                        await socket.send_bytes(message.payload)
                    else:
                        await socket.send_str(message.payload.decode("utf-8", "replace"))
                    sent += 1
            except CaptureError as error:  # the next one may go on where this one was torn
                damage = damage or error
    if damage is not None:
        raise damage
    return sent


async def _drain(socket: ClientWebSocketResponse | web.WebSocketResponse) -> None:
    """Read what the other side says, and pings with it; nothing answers but the capture."""
    async for _ in socket:
        pass


async def _replay(
    socket: ClientWebSocketResponse | web.WebSocketResponse, paths: Sequence[str], speed: float | None, how: _Options
) -> int:
    reading = asyncio.create_task(_drain(socket))
    try:
        return await _send(socket, paths, speed, how)
    finally:
        await socket.close()
        reading.cancel()
        with contextlib.suppress(asyncio.CancelledError, ClientError):
            await reading


async def send(paths: Sequence[str], url: str, *, speed: float | None = None, **how: Unpack[_Options]) -> int:
    """Connect to a WebSocket server, and send it the frames of captures.

    Parameters
    ----------
    paths : sequence of str
    url : str
        ``ws://...`` or ``wss://...``.
    speed : float or None
        1: in the time that it took; 10: ten times as fast; None: as fast as the server reads.
    **how
        ``format``, ``ts_key`` and ``payload_key``, as for `Capture`.

    Returns
    -------
    int
        How many frames.

    Raises
    ------
    ConnectionError
        If the server cannot be reached, or goes away.
    OSError
        If a capture cannot be read.
    CaptureError
        After everything that could be read of all captures, if one is damaged.
    """
    async with ClientSession() as http:
        try:
            socket = await http.ws_connect(url, max_msg_size=0)
        except (ClientError, ValueError) as error:
            raise ConnectionError(f"{url}: {error}") from None
        return await _replay(socket, paths, speed, how)


async def serve(
    paths: Sequence[str],
    host: str,
    port: int,
    *,
    speed: float | None = None,
    tell: Callable[[str], object],
    **how: Unpack[_Options],
) -> None:
    """Send every WebSocket client that connects, on any path, the frames of captures from the beginning.

    Parameters
    ----------
    paths, speed, **how
        As for `send`.
    host, port
        Where; port 0 takes a free one.
    tell : callable
        Is told the address, and what became of each client.
    """

    async def handle(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(max_msg_size=0)
        await socket.prepare(request)
        try:
            tell(f"{await _replay(socket, paths, speed, how)} frames sent")
        except ConnectionError as error:
            tell(str(error))
        except Exception as error:  # of the capture; the next client may want to hear it, too
            tell(f"{type(error).__name__}: {error}")
        return socket

    app = web.Application()
    app.router.add_route("GET", "/{path:.*}", handle)
    runner = web.AppRunner(app, handler_cancellation=True, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port)
        await site.start()
        stop = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        tell(f"ws://{f'[{host}]' if ':' in host else host}:{runner.addresses[0][1]}")
        await stop.wait()
    finally:
        await runner.cleanup()
