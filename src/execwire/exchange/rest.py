"""What the REST sides of several venues have in common: signed requests, and errors as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson
from aiohttp import web

from execwire.exchange.base import Refused

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from execwire.exchange.base import ApiKey
    from execwire.exchange.server import Exchange

__all__ = ["api_key", "check_time", "document", "number", "parameters", "reply", "signed"]

_MOST_AHEAD = 1_000  # ms that a time stamp may be in the future
_MOST_WINDOW = 60_000


def document(value: Any, status: int = 200) -> web.Response:
    """A JSON answer."""
    return web.Response(body=orjson.dumps(value), status=status, content_type="application/json")


def reply(handler: Callable[[web.Request], Awaitable[Any]]) -> Callable[[web.Request], Awaitable[web.Response]]:
    """Make a handler answer with what it returns, or with the error that it raises."""

    async def answer(request: web.Request) -> web.Response:
        try:
            return document(await handler(request))
        except Refused as error:
            return document({"code": error.code, "msg": error.message}, error.status)

    return answer


async def parameters(request: web.Request) -> tuple[dict[str, str], str]:
    """The parameters of query and form, and the text that is signed: the query, then the body, as they were sent."""
    body = (await request.read()).decode(errors="replace")
    form = {str(name): str(value) for name, value in (await request.post()).items()} if body else {}
    texts = (request.raw_path.partition("?")[2], body)  # not as a URL that has been parsed
    signed = "".join("&".join(one for one in text.split("&") if not one.startswith("signature=")) for text in texts)
    return {**dict(request.query), **form}, signed


def api_key(exchange: Exchange, request: web.Request, *headers: str) -> ApiKey:
    """Who asks.

    Raises
    ------
    Refused
        -2014 without a key, -2015 with one that is not known.
    """
    name = next((request.headers[header] for header in headers if header in request.headers), "")
    if not name:
        raise Refused(-2014, "API-key format invalid.", 401)
    if name not in exchange.keys:
        raise Refused(-2015, "Invalid API-key, IP, or permissions for action.", 401)
    return exchange.keys[name]


def number(params: Mapping[str, Any], name: str, default: int) -> int:
    """A parameter that is a whole number.

    Raises
    ------
    Refused
        -1102 if it is none.
    """
    try:
        return int(params.get(name, default))
    except (TypeError, ValueError):
        raise Refused(-1102, f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed.") from None


def check_time(exchange: Exchange, timestamp: object, recv_window: object) -> None:
    """Check a time stamp.

    Raises
    ------
    Refused
        -1102 if it is no number, -1131 for a window that is too wide, -1021 outside of the window.
    """
    try:
        at = int(str(timestamp))
        window = exchange.options.recv_window if recv_window is None else float(str(recv_window))
    except ValueError:
        raise Refused(-1102, "Mandatory parameter 'timestamp' was not sent, was empty/null, or malformed.") from None
    if at > 10**14:  # µs
        at //= 1000
    if not 0 < window <= _MOST_WINDOW:
        raise Refused(-1131, "recvWindow must be less than 60000.")
    now = exchange.now()
    if at > now + _MOST_AHEAD:
        raise Refused(-1021, "Timestamp for this request was 1000ms ahead of the server's time.")
    if at < now - window:
        raise Refused(-1021, "Timestamp for this request is outside of the recvWindow.")


async def signed(exchange: Exchange, request: web.Request, *headers: str) -> dict[str, str]:
    """The parameters of a signed request.

    Raises
    ------
    Refused
        As `api_key` and `check_time` do; -1102 without a signature, -1022 with a wrong one.
    """
    key = api_key(exchange, request, *headers)
    params, text = await parameters(request)
    signature = params.pop("signature", "")
    if not signature:
        raise Refused(-1102, "Mandatory parameter 'signature' was not sent, was empty/null, or malformed.")
    check_time(exchange, params.get("timestamp"), params.get("recvWindow"))
    if not key.verifier.verify(text, signature):
        raise Refused(-1022, "Signature for this request is not valid.")
    return params
