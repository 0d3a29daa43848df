"""The demonstration: decode the capture that comes with the package, check every record, and measure."""

from __future__ import annotations

import os
import platform
import time
from collections import Counter
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from tqdm import tqdm

from execwire import __version__, reference
from execwire.captures import Capture
from execwire.core import KINDS, Decoder, Record
from execwire.detection import Detector
from execwire.output import table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["CheckError", "run"]

_ROUNDS = 5
_ROUND_SECONDS = 0.05

_Sample = tuple[bytes, int]  # payload, ts_recv


class CheckError(Exception):
    """The decoder and the reference decoder disagree."""


def run(progress: bool = False) -> Iterator[str]:
    """Run it; yields lines of text.

    Raises
    ------
    CheckError
        If a record differs from what the reference decoder makes of the payload.
    """
    samples: dict[str, list[_Sample]] = {}
    counts: Counter[tuple[str, str]] = Counter()
    rows = []
    detector = Detector()
    with (
        resources.as_file(resources.files("execwire") / "data" / "demo.txt") as path,
        Capture(path) as capture,
    ):
        for message in capture:
            records = detector.decode(message.payload, message.ts_recv)
            venue = records[0].venue
            samples.setdefault(venue, []).append((message.payload, message.ts_recv))
            for record in records:
                counts[venue, record.kind] += 1
                rows.append((_clock(message.ts_recv), venue, record.kind, *_summary(record)))
    yield from table(("received", "venue", "kind", "about", "what"), rows, indent="")

    yield ""
    kinds = [kind for kind in KINDS if any(counts[venue, kind] for venue in samples)]
    per_venue = [
        (venue, str(len(some)), *(str(counts[venue, kind] or "-") for kind in kinds)) for venue, some in samples.items()
    ]
    yield from table(("venue", "messages", *kinds), per_venue, indent="")

    yield ""
    for venue, some in samples.items():
        _check(venue, some)
    yield f"All {counts.total()} records equal those of the reference decoder, field by field."
    yield ""
    versions = f"execwire {__version__}, Python {platform.python_version()}"
    yield f"Decode rate ({versions}, {_cpu()}, {datetime.now(UTC):%Y-%m-%d}):"
    bar = tqdm(samples.items(), unit=" venues", leave=False, disable=not progress)
    yield from table(
        ("venue", "bytes/message", "ns/message", "messages/s", "reference ns/message"),
        [_rate(venue, some) for venue, some in bar],
        indent="",
    )
    yield f"(decode_into, one thread, median of {_ROUNDS} rounds over this capture's messages, all in cache;"
    yield " the reference decoder is pure Python and made to be obvious, not fast)"


def _check(venue: str, samples: list[_Sample]) -> None:
    decoder = Decoder(venue)
    for payload, ts_recv in samples:
        records = [record.to_dict(extra=True) for record in decoder.decode(payload, ts_recv)]
        if records != reference.decode(venue, payload, ts_recv):
            raise CheckError(f"{venue}: the decoders disagree on a message received at {ts_recv}")


def _rate(venue: str, samples: list[_Sample]) -> tuple[str, ...]:
    payloads = [payload for payload, _ in samples]
    decoder = Decoder(venue)
    ns = _ns_per_call(decoder.decode_into, payloads)
    slow = _ns_per_call(lambda payload: reference.decode(venue, payload), payloads)
    size = sum(map(len, payloads)) / len(payloads)
    return venue, f"{size:.0f}", f"{ns:.0f}", f"{1e9 / ns:.0f}", f"{slow:.0f}"


def _ns_per_call(decode: Callable[[bytes], object], payloads: list[bytes]) -> float:
    times = []
    for _ in range(_ROUNDS):
        calls, start = 0, time.perf_counter_ns()
        while (taken := time.perf_counter_ns() - start) < _ROUND_SECONDS * 1e9:
            for payload in payloads:
                decode(payload)
            calls += len(payloads)
        times.append(taken / calls)
    return median(times)


def _cpu() -> str:
    try:
        with Path("/proc/cpuinfo").open(encoding="utf-8") as lines:
            name = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    except OSError:
        name = ""
    return f"{name or platform.machine()} ({os.cpu_count()} cores)"


def _clock(ns: int) -> str:
    return f"{datetime.fromtimestamp(ns // 1_000_000_000, UTC):%H:%M:%S}.{ns // 1_000_000 % 1000:03d}"


def _summary(record: Record) -> tuple[str, str]:
    """What a record is about, and what it says, in a few words."""
    values = {name: _plain(value) for name, value in record.to_dict().items() if value is not None and value != ""}

    def get(name: str, before: str = "", after: str = "") -> str:
        return f"{before}{values[name]}{after}" if name in values else ""

    match record.kind:
        case "order":
            about = get("symbol")
            words = [get("side"), get("order_type"), get("orig_qty"), get("price", "@ "), get("status", "-> ")]
            if values.get("last_qty", "0") != "0":
                words += [get("last_qty", "last "), get("last_price", "@ "), get("fee", "fee "), get("fee_asset")]
            words.append(get("reject_reason", "(", ")") if values.get("status") == "rejected" else "")
        case "fill":
            about = get("symbol")
            words = [get("side"), get("qty"), get("price", "@ "), get("fee", "fee "), get("fee_asset")]
        case "balance":
            about = get("asset")
            words = [get("free", "free "), get("locked", "locked "), get("total", "total "), get("delta", "change ")]
        case "position":
            about = get("symbol")
            words = [get("side"), get("qty"), get("entry_price", "@ "), get("unrealized_pnl", "unrealized ")]
        case _:
            about = get("about")
            words = [get("code"), get("error_code"), get("message")]
    return about, " ".join(word for word in words if word)


def _plain(value: object) -> str:
    """Without trailing zeros."""
    text = str(value)
    return text.rstrip("0").rstrip(".") if isinstance(value, str) and _is_fraction(text) else text


def _is_fraction(text: str) -> bool:
    whole, dot, fraction = text.removeprefix("-").partition(".")
    return bool(dot) and whole.isdigit() and fraction.isdigit()
