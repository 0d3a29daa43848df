"""`execwire serve`: settings from texts, and a server until a signal ends it."""

from __future__ import annotations

import asyncio
import inspect
import math
import signal
import ssl
from dataclasses import MISSING, fields
from typing import TYPE_CHECKING, Any, TypeVar

import uvloop

from execwire.exchange.base import ApiKey, Options
from execwire.exchange.faults import Every, Faults
from execwire.exchange.server import Exchange

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

__all__ = ["ApiKey", "Exchange", "Faults", "Options", "certificate", "parse", "run", "settings"]

_Settings = TypeVar("_Settings", Faults, Options)


def parse(kind: type[_Settings], texts: Iterable[str]) -> _Settings:
    """Faults or options from texts such as ``drop=0.01``, ``drop=1/100``, ``close_after=500``.

    Raises
    ------
    ValueError
        If there is no such name, or the value is not one.
    """
    known = {one.name: str(one.type) for one in fields(kind)}
    values: dict[str, Any] = {}
    for text in texts:
        name, _, value = text.partition("=")
        if name not in known:
            raise ValueError(f"there is no {name!r}; there are {', '.join(known)}")
        try:
            values[name] = _value(known[name], value)
        except ValueError:
            raise ValueError(f"{name}: {value!r} is not what it can be") from None
    return kind(**values)


def _value(kind: str, text: str) -> Any:
    if kind == "str":
        return text
    if kind == "Chance":
        return Every(int(text.removeprefix("1/"))) if text.startswith("1/") else float(text)
    if kind.startswith("int"):
        return int(text)
    if not math.isfinite(number := float(text)):
        raise ValueError(text)
    return number


def settings(kind: type[Faults | Options]) -> Iterator[str]:
    """The names and defaults of faults or options, and what they mean."""
    for one in fields(kind):
        default = "" if one.default in (None, MISSING) else f"={one.default}"
        yield f"{one.name}{default}"
    yield ""
    yield inspect.cleandoc(kind.__doc__ or "")


def certificate(path: str) -> ssl.SSLContext:
    """A server's context from a file that holds a private key and its certificate (PEM).

    Raises
    ------
    ValueError
        If the file does not.
    """
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(path, password=lambda: "")  # never ask a terminal
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} does not hold a private key and its certificate") from error
    return context


def run(exchange: Exchange, tell: Callable[[str], object]) -> None:
    """Run an exchange until SIGINT or SIGTERM.

    Parameters
    ----------
    tell : callable
        Gets one line when the server is ready: its address.

    Raises
    ------
    OSError
        If the address cannot be listened on.
    """

    async def main() -> None:
        done = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            exchange_loop.add_signal_handler(number, done.set)
        async with exchange:
            tell(f"{exchange.rest_url(exchange.venues[0])} {' '.join(exchange.venues)}")
            await done.wait()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        exchange_loop = runner.get_loop()
        runner.run(main())
