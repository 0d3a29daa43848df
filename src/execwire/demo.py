"""The demonstration: a local exchange, a live session for every venue, a recording, columns, and a summary.

The exchange runs in a process of its own. What the sessions' handlers saw is compared, field by field, with what
their recordings decode to.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import itertools
import multiprocessing
import signal
import tempfile
import time
from array import array
from datetime import UTC, datetime
from pathlib import Path
from statistics import median, quantiles
from typing import TYPE_CHECKING, Any, NamedTuple

import uvloop
from tqdm import tqdm

from execwire import rules, venues
from execwire.auth import Credentials
from execwire.batch import read_capture
from execwire.captures import Capture
from execwire.core import DecodeError, Decoder
from execwire.delivery import Handler
from execwire.exchange import ApiKey, Exchange, Options
from execwire.output import table
from execwire.sessions import Account, Session

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from multiprocessing.connection import Connection

    from execwire.core import Record

__all__ = ["CheckError", "run"]

SUBSCRIPTIONS = 1_000
SECRET, PASSPHRASE = "made-up-secret", "made-up-phrase"
PROBE = "sent_ns"  # of a message that no venue sends: when the exchange sent it
PATIENCE = 30.0  # s within which everything is live
SAMPLE = 2_000  # messages that are timed
ROUNDS = 5


class _Stream(NamedTuple):
    name: str
    venue: str
    variant: str | tuple[str, ...] = ()
    accounts: int = 1


STREAMS = (
    _Stream("binance-spot", "binance-spot", accounts=SUBSCRIPTIONS),
    _Stream("binance-usd-m", "binance-futures"),
    _Stream("binance-coin-m", "binance-futures", "coinm"),
    _Stream("bitget", "bitget"),
    _Stream("bitget-v1", "bitget-v1"),
    _Stream("openapi-broker", "openapi-broker"),
    _Stream("gzip-broker", "gzip-broker"),
)
CUT = "bitget"  # whose connection the exchange closes in the middle


class CheckError(Exception):
    """Something is not as it has to be: a recording differs, or a stream did not come."""


# ---- MARK: The exchange's process ----

_RATES = {  # what is served together: events a second in each market, probes a second
    ("binance-spot",): (5.0, 2.0),  # each of them goes to every subscription
    tuple(dict.fromkeys(one.venue for one in STREAMS if one.venue != "binance-spot")): (200.0, 50.0),
}


def _names() -> list[str]:
    return [f"demo-{number:04d}" for number in range(SUBSCRIPTIONS)]


def _serve(pipe: Connection) -> None:
    """Serve until the other end of the pipe is closed; a venue's name from there closes its connections."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches both processes, and the other one ends this one
    verifier = Credentials("demo", SECRET).verifier()
    keys = [ApiKey(name, verifier, PASSPHRASE) for name in _names()]
    often = Options(ws_api_ping=1.0, futures_ping=1.0, openapi_ping=1.0)  # s: few demonstrations last for minutes

    async def main() -> None:
        loop, done = asyncio.get_running_loop(), asyncio.Event()
        async with contextlib.AsyncExitStack() as stack:
            exchanges: dict[str, Exchange] = {}
            for served, (rate, probes) in _RATES.items():
                one = await stack.enter_async_context(Exchange(served, keys=keys, rate=rate, options=often))
                exchanges |= dict.fromkeys(served, one)
                for venue in served:
                    task = loop.create_task(_probe(one, venue, 1 / probes))
                    stack.callback(task.cancel)

            def command() -> None:
                try:
                    venue = pipe.recv()
                except EOFError:
                    loop.remove_reader(pipe.fileno())
                    done.set()
                    return
                for connection in exchanges[venue].open_connections(venue):
                    connection.close(1001, "maintenance")

            loop.add_reader(pipe.fileno(), command)
            pipe.send({venue: one.origin for venue, one in exchanges.items()})
            await done.wait()

    uvloop.run(main())


async def _probe(exchange: Exchange, venue: str, period: float) -> None:
    while True:
        await asyncio.sleep(period)
        exchange.inject(venue, b'{"%b":%d}' % (PROBE.encode(), time.time_ns()))


# ---- MARK: Live ----


class _Seen(Handler):
    """Keeps what a stream brought, and how long the probes took to come here."""

    def __init__(self) -> None:
        self.records: list[Record] = []  # as the venue sent them
        self.states: list[Record] = []  # what happened to the stream
        self.latencies = array("q")  # ns

    def on_record(self, record: Record) -> None:
        if record.kind == "notice":
            if record.code == "unknown_event" and (sent := record.extra.get(PROBE)):  # type: ignore[attr-defined]
                self.latencies.append(time.time_ns() - sent)
            elif record.payload.startswith(b'{"execwire"'):
                self.states.append(record)
                return
        self.records.append(record)


class _Live:
    """A stream that runs, and what there is to say about it."""

    def __init__(self, stream: _Stream, origin: str, folder: Path) -> None:
        self.stream = stream
        self.path = folder / f"{stream.name}.txt"
        self.seen = _Seen()
        self.loaded = 0  # messages of the load
        venue = venues.load(stream.venue)
        often: dict[str, Any] = {"backoff": {"first": 0.2}}  # s, for the same reason as in the exchange
        if "heartbeat" in venue.session:
            often["heartbeat"] = {"every": 1}
        self.session = Session(
            dataclasses.replace(venue, session=rules.merge(often, venue.session)),
            accounts=[Account(Credentials(name, SECRET, PASSPHRASE)) for name in _names()[: stream.accounts]],
            variant=stream.variant, handler=self.seen, url=f"ws://{origin}", rest_url=f"http://{origin}",
            record=self.path,
        )  # fmt: skip

    def count(self, name: str) -> int:
        """One of the session's counts."""
        value: int = self.session.stats()[name]
        return value

    @property
    def is_ready(self) -> bool:
        """Whether it is live with all its subscriptions."""
        return self.session.state == "live" and (
            self.stream.accounts == 1 or self.count("subscriptions") == self.stream.accounts
        )


async def _until(condition: Callable[[], bool], what: str) -> None:
    try:
        async with asyncio.timeout(PATIENCE):
            while not condition():
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise CheckError(f"{what} within {PATIENCE:g} s") from None


async def _listen(
    origins: dict[str, str], pipe: Connection, folder: Path, seconds: float, progress: bool
) -> tuple[list[_Live], float]:
    """Every stream for some seconds, with a reconnect in the middle; and how long it really was."""
    async with contextlib.AsyncExitStack() as stack:
        lives = [_Live(stream, origins[stream.venue], folder) for stream in STREAMS]
        for live in lives:
            await stack.enter_async_context(live.session)
        await _until(lambda: all(live.is_ready for live in lives), "not every stream was live")
        began, before = time.perf_counter(), [live.count("messages") for live in lives]
        bar = stack.enter_context(tqdm(unit=" messages", unit_scale=True, leave=False, disable=not progress))
        bar.set_description(f"{len(lives)} live sessions, {seconds:g} s")
        is_cut = False
        while (elapsed := time.perf_counter() - began) < seconds or not is_cut:  # also where this process stood still
            if elapsed > seconds / 3 and not is_cut:
                pipe.send(CUT)
                is_cut = True
            await asyncio.sleep(0.05)
            bar.update(sum(live.count("messages") for live in lives) - sum(before) - bar.n)
        for live, count in zip(lives, before, strict=True):
            live.loaded = live.count("messages") - count
        cut = [live for live in lives if live.stream.venue == CUT]
        await _until(
            lambda: all(live.is_ready and live.count("reconnects") for live in cut), f"{CUT} was not live again"
        )
    return lives, elapsed


# ---- MARK: Afterwards ----


def _compare(live: _Live) -> int:
    """Messages of a recording, whose records have to be what the handler saw.

    Raises
    ------
    CheckError
        If they are not.
    """
    decoder, messages = Decoder(live.stream.venue), 0
    where = f"{live.stream.name}: the recording"

    def recorded() -> Iterator[Record]:
        nonlocal messages
        for message in capture:
            messages += 1
            try:
                yield from decoder.decode(message.payload, message.ts_recv)
            except DecodeError as error:
                raise CheckError(f"{where} cannot be decoded in message {messages}: {error}") from None

    with Capture(live.path) as capture:
        for number, (one, other) in enumerate(itertools.zip_longest(live.seen.records, recorded()), 1):
            if one is None or other is None:
                raise CheckError(f"{where} has {'more' if one is None else 'fewer'} records than were seen live")
            if not _same(one, other):
                raise CheckError(f"{where} differs from what was seen live in record {number} ({other.kind})")
    return messages


def _same(one: Record, other: Record) -> bool:
    if one.payload == other.payload and bytes(one) == bytes(other):  # the same struct: no need to look at its fields
        return True
    return one.to_dict(extra=True) == other.to_dict(extra=True)


def _decode_ns(live: _Live) -> float:
    """Time to decode a message of the recording from memory, ns."""
    with Capture(live.path) as capture:
        payloads = [message.payload for message in itertools.islice(capture, SAMPLE)]
    decode, times = Decoder(live.stream.venue).decode_into, []
    for _ in range(ROUNDS):
        start = time.perf_counter_ns()
        for payload in payloads:
            decode(payload)
        times.append((time.perf_counter_ns() - start) / len(payloads))
    return median(times)


def _states(lives: list[_Live]) -> Iterator[str]:
    """What happened to the streams, in order."""
    told = [(state.ts_recv or 0, live.stream.name, state) for live in lives for state in live.seen.states]
    rows = [
        (_clock(ns), name, state.event, str(state.to_dict().get("message", "")))
        for ns, name, state in sorted(told, key=lambda one: one[0])
    ]
    yield from table(("received", "stream", "notice", "message"), rows, indent="")


def _columns(lives: list[_Live]) -> Iterator[str]:
    """How many rows the recordings' tables have, and the last fill of each."""
    kinds = ("orders", "balances", "positions")
    names = ("symbol", "side", "qty", "price", "fee", "fee_asset")
    rows = []
    for live in lives:
        columns = read_capture(live.path, venue=live.stream.venue)
        fills = columns.fills()
        last = [fills[name][-1] for name in names] if len(fills) else [None] * len(names)
        counts = [len(getattr(columns, kind)) for kind in kinds]
        values = [live.stream.name, *counts, len(fills), *last]
        rows.append(tuple("-" if value is None else str(value) for value in values))
    yield "execwire.read_capture: rows, and the last fill"
    yield from table(("stream", *kinds, "fills", *names), rows, indent="")


def _summary(lives: list[_Live], seconds: float) -> Iterator[str]:
    head = ("stream", "subscriptions", "messages", "records", "messages/s", "decode ns", "latency us p50", "p99",
            "heartbeats", "reconnects")  # fmt: skip
    rows = []
    for live in lives:
        p = quantiles(live.seen.latencies, n=100) if len(live.seen.latencies) > 1 else None
        latency = ("-", "-") if p is None else (f"{p[49] / 1e3:.0f}", f"{p[98] / 1e3:.0f}")
        rows.append((
            live.stream.name, str(live.stream.accounts), str(live.count("messages")), str(len(live.seen.records)),
            f"{live.loaded / seconds:.0f}", f"{_decode_ns(live):.0f}", *latency, str(live.count("heartbeats")),
            str(live.count("reconnects")),
        ))  # fmt: skip
    yield from table(head, rows, indent="")


def _clock(ns: int) -> str:
    return f"{datetime.fromtimestamp(ns // 1_000_000_000, UTC):%H:%M:%S}.{ns // 1_000_000 % 1000:03d}"


def run(seconds: float = 3.0, *, progress: bool = False) -> Iterator[str]:
    """Run it; yields lines of text.

    Parameters
    ----------
    seconds : float
        How long the streams run under load.
    progress : bool
        Show on standard error how far it is.

    Raises
    ------
    CheckError
        If a recording does not decode to what the live handlers saw, or a stream did not come.
    """
    context = multiprocessing.get_context("spawn")
    pipe, theirs = context.Pipe()
    server = context.Process(target=_serve, args=(theirs,), daemon=True)
    server.start()
    theirs.close()
    with tempfile.TemporaryDirectory(prefix="execwire-demo-") as folder:
        try:
            origins = pipe.recv()
            yield f"A local exchange runs in process {server.pid}; {len(STREAMS)} sessions connect to it and record."
            lives, elapsed = uvloop.run(_listen(origins, pipe, Path(folder), seconds, progress))
        except EOFError:
            raise CheckError("the local exchange did not start") from None
        finally:
            pipe.close()
            server.join()
        yield from _states(lives)
        yield ""
        messages = sum(map(_compare, lives))
        size = sum(live.path.stat().st_size for live in lives) / 1e6
        records = sum(len(live.seen.records) for live in lives)
        yield f"{messages} messages were recorded ({size:.1f} MB) and decoded again:"
        yield f"all {records} records equal those that the live handlers saw, field by field."
        yield ""
        yield from _columns(lives)
        yield ""
        yield from _summary(lives, elapsed)
    yield "(decode: decode_into of recorded messages, from memory. latency: from the exchange's clock to the handler's,"
    yield f" in two Python processes on this machine; binance-spot writes a message {SUBSCRIPTIONS} times at once.)"
