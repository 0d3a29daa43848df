"""What is in a capture: venues, events, and everything the dialects do not know.

The first look when an exchange changed something. Values that could be secrets are never shown.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from execwire.captures import Capture, CaptureError, Message, reason, shown
from execwire.core import DecodeError, Decoder, Notice
from execwire.detection import Detector, is_unknown
from execwire.output import json_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

__all__ = ["Failure", "Finding", "Inspection", "VenueInspection", "inspect"]

MAX_FAILURES = 100  # described; all are counted
MAX_FINDINGS = 1000  # of each sort, told apart: keys may be data
_EXAMPLE = 60
_HIDDEN = "<hidden>"
_SECRET_KEY = re.compile(r"key|sign|pass|secret|token|auth|cookie|credential|^stream$", re.IGNORECASE)
_SECRET_VALUE = re.compile(r"[A-Za-z0-9+/_=-]{32,}|.*\b[Bb]earer\b.*")


@dataclass
class Finding:
    """Something that a dialect does not know.

    Attributes
    ----------
    path
        Where in the message.
    example
        The first value seen, shortened; hidden if it could be a secret.
    first
        Where it was first seen, as `file:line`.
    count
        How often.
    """

    path: str
    example: str
    first: str
    count: int = 0


@dataclass
class Failure:
    """A message that could not be decoded, or a file that could not be read to its end."""

    where: str
    message: str


@dataclass
class VenueInspection:
    """What was seen of one venue."""

    messages: int = 0
    events: Counter[str] = field(default_factory=Counter)  #: messages by event
    kinds: Counter[str] = field(default_factory=Counter)  #: records by kind
    # By path, and for words and values by the value too.
    unknown_events: dict[tuple[str, str], Finding] = field(default_factory=dict)
    new_keys: dict[tuple[str, str], Finding] = field(default_factory=dict)
    unknown_enums: dict[tuple[str, str], Finding] = field(default_factory=dict)
    unrepresentable: dict[tuple[str, str], Finding] = field(default_factory=dict)


@dataclass
class Inspection:
    """What was seen in all captures. Times are ns since 1970 UTC: first and last, or None."""

    files: dict[str, str] = field(default_factory=dict)  #: the format of each file
    messages: int = 0
    records: int = 0
    control_lines: int = 0
    unclosed: dict[str, int] = field(default_factory=dict)  #: by file: recordings that were killed, or still go on
    failed: int = 0
    failures: list[Failure] = field(default_factory=list)  #: the first of them
    damaged: list[Failure] = field(default_factory=list)  #: files that could not be read to their end
    received: tuple[int, int] | None = None
    events: tuple[int, int] | None = None
    venues: dict[str, VenueInspection] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """The same as plain values, for JSON."""
        return {
            "files": self.files,
            "messages": self.messages,
            "records": self.records,
            "control_lines": self.control_lines,
            "unclosed": self.unclosed,
            "failed": self.failed,
            "failures": [vars(one) for one in self.failures],
            "damaged": [vars(one) for one in self.damaged],
            "received": self.received,
            "events": self.events,
            "venues": {
                name: {
                    "messages": one.messages,
                    "events": dict(one.events.most_common()),
                    "kinds": dict(one.kinds.most_common()),
                    **{what: [vars(finding) for finding in getattr(one, what).values()] for what in _FINDINGS.values()},
                }
                for name, one in sorted(self.venues.items())
            },
        }


_FINDINGS = {
    "unknown_event": "unknown_events",
    "new_key": "new_keys",
    "unknown_enum": "unknown_enums",
    "unrepresentable": "unrepresentable",
}


def inspect(
    paths: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
    decoder: Decoder | Detector | None = None,
    format: str = "auto",
    progress: Callable[[Message], object] | None = None,
    *,
    ts_key: str | None = None,
    payload_key: str | None = None,
) -> Inspection:
    """Look through captures.

    Parameters
    ----------
    paths
        A file or several; `-` is standard input.
    decoder
        A decoder of the venue; by default the venue is found for every message.
    format
        The captures' format, or `auto`.
    progress
        Called with every message.
    ts_key, payload_key
        As for `Capture`.
    """
    report = Inspection()
    decoder = Detector() if decoder is None else decoder
    for path in [paths] if isinstance(paths, str | os.PathLike) else paths:
        name = shown(path)
        damages: Sequence[OSError | CaptureError] = ()
        try:
            with Capture(path, format, ts_key=ts_key, payload_key=payload_key) as capture:
                name, damages = capture.name, capture.damages
                try:
                    for message in capture:
                        if progress is not None:
                            progress(message)
                        _look(report, decoder, capture, message)
                finally:
                    report.control_lines += capture.control_lines
                    if capture.unclosed:
                        report.unclosed[name] = capture.unclosed
                    if capture.format is not None:
                        packed = f" ({capture.compression})" if capture.compression else ""
                        report.files[name] = capture.format + packed
        except (OSError, CaptureError) as error:
            report.damaged += [Failure(name, reason(one)) for one in damages[:MAX_FAILURES] or [error]]
    return report


def _look(report: Inspection, decoder: Decoder | Detector, capture: Capture, message: Message) -> None:
    report.messages += 1
    if message.ts_recv:
        report.received = _widen(report.received, message.ts_recv)
    try:
        if isinstance(decoder, Detector):
            decoder = decoder.choose(message.payload)
        records, findings = decoder.explain(message.payload)
    except DecodeError as error:
        report.failed += 1
        if len(report.failures) < MAX_FAILURES:
            report.failures.append(Failure(capture.locate(message, error.offset), error.message))
        return
    venue = report.venues.setdefault(decoder.venue, VenueInspection())
    report.records += len(records)
    venue.messages += 1
    venue.kinds.update(record.kind for record in records)
    where = capture.locate(message)
    events = set()
    for record in records:
        if record.ts_event:
            report.events = _widen(report.events, record.ts_event)
        if isinstance(record, Notice) and is_unknown(record):
            keys = "keys: " + ", ".join(key for key in record.extra if key != "envelope")
            _count(venue.unknown_events, record.message or "(no name)", "", _shorten(keys), where)
        else:
            events.add(record.event or "(text frame)")
    venue.events.update(events)
    if not events:
        return  # all keys of an unknown event would be new
    for path, what, value in findings:
        shown = example(path, value)
        _count(getattr(venue, _FINDINGS[what]), path, "" if what == "new_key" else shown, shown, where)


def _count(findings: dict[tuple[str, str], Finding], path: str, value: str, shown: str, where: str) -> None:
    key = path, value
    if key not in findings and len(findings) >= MAX_FINDINGS:
        key = path, shown = "(others)", ""
    findings.setdefault(key, Finding(path, shown, where)).count += 1


def _widen(times: tuple[int, int] | None, ts: int) -> tuple[int, int]:
    return (ts, ts) if times is None else (min(times[0], ts), max(times[1], ts))


def example(path: str, value: object) -> str:
    """A value as it may be shown: JSON, short, and hidden if it could be a secret."""
    if any(map(_SECRET_KEY.search, path.split("."))):
        return _HIDDEN
    return _shorten(json_text(_without_secrets(value), bare_decimals=True).decode())


def _without_secrets(value: object) -> object:
    if isinstance(value, dict):
        return {key: _HIDDEN if _SECRET_KEY.search(key) else _without_secrets(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_secrets(item) for item in value]
    if isinstance(value, str) and _SECRET_VALUE.search(value):
        return _HIDDEN
    return value


def _shorten(text: str) -> str:
    text = "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text)
    return text if len(text) <= _EXAMPLE else text[: _EXAMPLE - 3] + "..."
