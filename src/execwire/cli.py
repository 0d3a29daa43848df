"""The command line. Data goes to standard output, everything else to standard error."""

from __future__ import annotations

import contextlib
import functools
import importlib
import importlib.util
import math
import os
import signal
import sys
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import click
import orjson
from tqdm import tqdm

from execwire import __version__, bench, convert, rules, venues, workload
from execwire.auth import AuthError, Verifier
from execwire.batch import expand
from execwire.captures import FORMATS, Capture, CaptureError, printable, reason, shown
from execwire.core import KINDS, DecodeError, Decoder
from execwire.detection import Detector, is_unknown
from execwire.inspection import Failure, Finding, Inspection, inspect
from execwire.output import WRITERS, open_output, table
from execwire.venues import VenueError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from execwire.captures import Message
    from execwire.core import Record
    from execwire.venues import Venue

__all__ = ["main"]

OK, SOME_FAILED, UNREADABLE, UNWRITABLE, INTERRUPTED = 0, 1, 3, 3, 130  # 2 is wrong usage, which click tells
_TOLD = 20  # failures described one by one

_venue_option = click.option(
    "--venue",
    default="auto",
    metavar="auto|NAME|FILE.toml",
    show_default=True,
    help="The venue the messages come from: a built-in name, your own file, or found for each message.",
)
_format_option = click.option(
    "--format",
    "format_",
    type=click.Choice(["auto", *FORMATS]),
    default="auto",
    show_default=True,
    help="The captures' format. " + "; ".join(f"{one.name}: {one.title}" for one in FORMATS.values()) + ".",
)


def _keys_options(command: Any) -> Any:
    """Options of the format `envelope`."""
    for name, what in (("payload", "payload"), ("ts", "time of receipt")):
        text = f"Of envelopes: the key of the {what}.  [default: by the first line]"
        command = click.option(f"--{name}-key", metavar="KEY", help=text)(command)
    return command


_paths_argument = click.argument("paths", metavar="PATH...", nargs=-1, required=True)


@click.group(
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog="Exit codes: 0 everything was decoded, 1 some messages failed, 2 wrong usage, 3 an input could not be read"
    " (to its end) or an output not be written, 130 interrupted.",
)
@click.version_option(__version__, prog_name="execwire")
def cli() -> None:
    """Decode the private streams of crypto exchanges into exact records."""


# ==== decode ====


@cli.command("decode", short_help="Decode captures into records: NDJSON, CSV, Parquet or Arrow.")
@_paths_argument
@_venue_option
@_format_option
@click.option(
    "--to",
    type=click.Choice([*WRITERS, *convert.FORMATS]),
    help="Output format.  [default: by OUT's ending, else ndjson]",
)
@click.option(
    "-o",
    "--output",
    "out",
    metavar="OUT",
    help="Write to a file, which appears when it is complete; Parquet and Arrow: to files below this folder.",
)
@click.option("--force", is_flag=True, help="Replace OUT if it exists.")
@_keys_options
@click.option("--kind", "kinds", metavar="KIND,...", help=f"Only records of these kinds: {', '.join(KINDS)}.")
@click.option("--extra", is_flag=True, help="Add what no field took.")
@click.option(
    "--errors",
    type=click.Choice(["stop", "skip"]),
    default="skip",
    show_default=True,
    help="At a message that cannot be decoded: stop (what came before is delivered), or tell and go on.",
)
@click.option(
    "--jobs",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="Parquet, Arrow: processes. Each keeps about one and a half processors busy.",
)
@click.option("--shard", metavar="I/N", help="Parquet, Arrow: only the I-th of N parts of the captures.")
@click.option("--resume", is_flag=True, help="Parquet, Arrow: pass over captures that are done and unchanged.")
@click.option(
    "--partition",
    default=",".join(convert.PARTITIONS),
    show_default=True,
    help="Parquet, Arrow: what has folders of its own.",
)
@click.option(
    "--scale",
    type=click.IntRange(0, 38),
    default=convert.SCALE,
    show_default=True,
    help="Parquet, Arrow: decimal places. Nothing is rounded: a value that has more is an error.",
)
def decode_command(
    paths: Sequence[str],
    venue: str,
    format_: str,
    to: str | None,
    out: str | None,
    force: bool,
    kinds: str | None,
    extra: bool,
    errors: str,
    ts_key: str | None,
    payload_key: str | None,
    **batch: Any,  # what is for Parquet and Arrow alone
) -> int:
    """Decode captures into records: one JSON object a line, or CSV; or into Parquet or Arrow files.

    PATH is a file, packed or not, or a quoted pattern such as 'captures/*.gz'; - is standard input. Decimals are
    strings, times are ns since 1970 UTC, and what a message did not have is left out. Parquet and Arrow have decimals
    and times as such.
    """
    chosen = _kinds(kinds)
    decoder = _decoder(venue)
    keys = {"ts_key": ts_key, "payload_key": payload_key}
    if to is None:
        ends = (name for name in (*WRITERS, *convert.FORMATS) if (out or "").lower().endswith(f".{name}"))
        to = next(ends, "ndjson")
    if to in convert.FORMATS:
        if errors == "stop":
            raise click.UsageError(f"--errors stop is not for --to {to}.")
        plan = {"to": to, "kinds": chosen, "venue": venue, "format": format_, "extra": extra, **keys}
        return _convert(paths, out, plan, **batch)
    if given := [name for name, value in batch.items() if value != _BATCH_DEFAULTS[name]]:
        raise click.UsageError(f"--{given[0]} is for --to parquet or arrow.")
    source = _Source(format_, keys)
    paths, unmatched = _expand(paths)
    source.unreadable = bool(unmatched)
    if out is not None and any(map(functools.partial(_is_same, out), paths)):
        raise click.UsageError(f"{out} is the input as well.")
    try:
        with open_output(out, force=force) as stream:
            write = WRITERS[to](stream, chosen, extra)
            for capture, message in source.messages(paths, bar=stream is not sys.stdout.buffer or not stream.isatty()):
                try:
                    records = decoder.decode(message.payload, message.ts_recv)
                except DecodeError as error:
                    source.tell_failure(f"{capture.locate(message, error.offset)}: {error.message}")
                    if errors == "stop":
                        break
                    continue
                for record in records:
                    source.unknown += is_unknown(record)
                    if record.kind in chosen:
                        write(record)
    except FileExistsError as error:
        raise click.UsageError(str(error)) from None
    return source.finish()


def _expand(paths: Iterable[str]) -> tuple[list[str], list[str]]:
    """The files that paths and patterns stand for; and the patterns, which are told, that no file matches."""
    found: list[str] = []
    unmatched: list[str] = []
    for path in paths:
        try:
            found += map(str, expand(path))
        except FileNotFoundError as error:
            unmatched.append(path)
            _tell(str(error))
    return found, unmatched


def _is_same(one: str, other: str) -> bool:
    try:
        return os.path.samefile(one, other)  # noqa: PTH121  (Path's raises, too)
    except (OSError, ValueError):
        return False


class _Finite(click.FloatRange):
    """Neither infinite nor a NaN, which click lets through."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Read it."""
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value!r} is not a number that can be counted to.", param, ctx)
        return number


_BATCH_DEFAULTS = {
    "jobs": 1,
    "shard": None,
    "resume": False,
    "partition": ",".join(convert.PARTITIONS),
    "scale": convert.SCALE,
}


def _convert(
    paths: Sequence[str],
    out: str | None,
    plan: dict[str, Any],
    *,
    jobs: int,
    shard: str | None,
    resume: bool,
    partition: str,
    scale: int,
) -> int:
    """Convert captures to files below a folder; tell what became of each."""
    if out is None:
        raise click.UsageError(f"--to {plan['to']} needs -o FOLDER.")
    if importlib.util.find_spec("pyarrow") is None:
        raise click.UsageError(f"--to {plan['to']} needs pyarrow: pip install 'execwire[parquet]'.")
    if "-" in paths:
        raise click.UsageError(f"--to {plan['to']} reads files, not standard input.")
    try:
        part = convert.parse_shard(shard or "1/1")
        made = convert.Plan(out, partition=tuple(filter(None, partition.split(","))), scale=scale, **plan)
    except ValueError as error:
        raise click.UsageError(f"{error}.") from None
    if os.path.exists(out) and not os.path.isdir(out):  # noqa: PTH110, PTH112  (Path's raise)
        raise click.UsageError(f"{out} is no folder.")
    read: dict[str, int] = {}
    failed = messages = unknown = 0
    found, unmatched = _expand(paths)
    unreadable = len(unmatched)
    mine = (path for path in found if convert.in_shard(path, part))
    size = sum(Path(path).stat().st_size for path in mine if os.path.exists(path))  # noqa: PTH110
    bar = tqdm(total=size, unit="B", unit_scale=True, leave=False, disable=None)

    def progress(path: str, n: int) -> None:
        bar.update(n - read.get(path, 0))
        read[path] = n

    run = convert.convert(found, made, jobs=jobs, shard=part, resume=resume, progress=progress)
    with bar, contextlib.closing(run) as reports:  # workers end before anybody tells of an interrupt
        for report in reports:
            messages += report.messages
            failed += report.failed
            unreadable += report.damage is not None
            unknown += report.unknown_events
            packed = f" in {report.compression}" if report.compression else ""
            counts = ", ".join(f"{n} {kind}" for kind, n in report.records.items()) or "no records"
            _tell(f"{report.name}: {report.format or 'unknown format'}{packed}, {report.messages} messages: {counts}")
            for failure in report.failures[:_TOLD]:
                _tell(f"{failure.where}: {failure.message}")
            if report.failed > _TOLD:
                _tell("more messages failed; they are counted below")
            if report.damage is not None:
                _tell(f"{report.name}: {report.damage}")
            if report.unclosed:
                _tell_unclosed(report.name, report.unclosed)
    _tell_unknown(unknown)
    if failed:
        _tell(f"{failed} of {messages} messages failed")
    return UNREADABLE if unreadable else SOME_FAILED if failed else OK


def _tell_unclosed(name: str, count: int) -> None:
    what = "a recording in it was" if count == 1 else f"{count} recordings in it were"
    _tell(f"{name}: {what} not closed: it may lack what came in its last second, or still go on")


def _tell_unknown(count: int) -> None:
    if count:
        _tell(f"{count} events are unknown to their venue, and notices; execwire inspect shows them")


def _kinds(text: str | None) -> tuple[str, ...]:
    if text is None:
        return KINDS
    wanted = {kind.strip() for kind in text.split(",")}
    if unknown := sorted(wanted.difference(KINDS)):
        raise click.BadParameter(f"{unknown[0]!r} is not one of {', '.join(KINDS)}.", param_hint="'--kind'")
    return tuple(kind for kind in KINDS if kind in wanted)


def _decoder(venue: str) -> Decoder | Detector:
    try:
        return Detector() if venue == "auto" else Decoder(venue)
    except VenueError as error:
        raise click.BadParameter(f"{error}.", param_hint="'--venue'") from None


class _Source:
    """The messages of captures, and on standard error what became of them."""

    def __init__(self, format: str, keys: dict[str, str | None]) -> None:
        self.format = format
        self.keys = keys
        self.messages_read = self.failed = self.control_lines = self.unknown = 0
        self.unreadable = False

    def messages(self, paths: Iterable[str], *, bar: bool) -> Iterator[tuple[Capture, Message]]:
        """All messages of all captures; a capture that cannot be read is told, and the next one follows."""
        with _progress(bar) as progress:
            for path in paths:
                damages: Sequence[OSError | CaptureError] = ()
                try:
                    with Capture(path, self.format, **self.keys) as capture:  # type: ignore[arg-type]
                        damages = capture.damages
                        told = self.format != "auto"
                        try:
                            for message in capture:
                                if not told:
                                    packed = f" in {capture.compression}" if capture.compression else ""
                                    _tell(f"{capture.name}: format {capture.format}{packed}")
                                    told = True
                                self.messages_read += 1
                                progress.update()
                                yield capture, message
                        finally:
                            self.control_lines += capture.control_lines
                        if capture.unclosed:
                            _tell_unclosed(capture.name, capture.unclosed)
                except (OSError, CaptureError) as error:
                    if isinstance(error, BrokenPipeError):
                        raise
                    self.unreadable = True
                    for one in damages[:_TOLD] or [error]:
                        _tell(f"{'<stdin>' if path == '-' else shown(path)}: {reason(one)}")

    def tell_failure(self, line: str) -> None:
        """Count a message that failed, and tell the first ones."""
        self.failed += 1
        if self.failed <= _TOLD:
            _tell(line)
        elif self.failed == _TOLD + 1:
            _tell("more messages failed; they are counted below")

    def finish(self) -> int:
        """Tell the sums; return the exit code."""
        if self.control_lines:
            _tell(f"{self.control_lines} control lines skipped")
        _tell_unknown(self.unknown)
        if self.failed:
            _tell(f"{self.failed} of {self.messages_read} messages failed")
        return UNREADABLE if self.unreadable else SOME_FAILED if self.failed else OK


def _progress(wanted: bool, **options: Any) -> tqdm[Any]:
    # disable=None: only on a terminal.
    return tqdm(unit=" messages", leave=False, disable=None if wanted else True, **options)


def _tell(line: str) -> None:
    try:
        # At once, not in two pieces that an interrupt can part.
        tqdm.write(f"{printable(line)}\n", file=sys.stderr, end="")
    except OSError:  # nobody listens, or its disk is full, which costs no data
        _drop(sys.stderr)


def _drop(stream: TextIO) -> None:
    """What is left in a stream that cannot be written goes nowhere, instead of failing again when Python exits."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


# ==== inspect ====


@cli.command("inspect", short_help="Show what is in captures, and what no dialect knows.")
@_paths_argument
@_venue_option
@_format_option
@_keys_options
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead of tables.")
def inspect_command(
    paths: Sequence[str], venue: str, format_: str, ts_key: str | None, payload_key: str | None, as_json: bool
) -> int:
    """Show what is in captures: venues, events, and whatever the dialects do not know.

    The first thing to run when an exchange changed something: unknown events, new keys, unknown words and values that
    do not fit, with an example and where they were first seen. Values that could be secrets are not shown.
    """
    decoder = _decoder(venue)
    found, unmatched = _expand(paths)
    with _progress(True) as progress:
        report = inspect(
            found, decoder, format_, lambda _message: progress.update(), ts_key=ts_key, payload_key=payload_key
        )
    told = [*report.failures[:_TOLD], *report.damaged]
    report.damaged += [Failure(shown(path), "no file matches it") for path in unmatched]
    if as_json:
        sys.stdout.buffer.write(orjson.dumps(report.to_dict(), option=orjson.OPT_INDENT_2) + b"\n")
    else:
        click.echo("\n".join(map(printable, _inspection_lines(report))))
    for failure in told:
        _tell(f"{failure.where}: {failure.message}")
    for name, count in report.unclosed.items():
        _tell_unclosed(name, count)
    if report.failed:
        _tell(f"{report.failed} of {report.messages} messages failed")
    return UNREADABLE if report.damaged else SOME_FAILED if report.failed else OK


def _inspection_lines(report: Inspection) -> Iterator[str]:
    for name, format_ in report.files.items():
        yield f"{name}: {format_}"
    control = f", {report.control_lines} control lines" if report.control_lines else ""
    yield f"{report.messages} messages, {report.records} records, {report.failed} failed{control}"
    for what, times in (("received", report.received), ("events", report.events)):
        if times is not None:
            yield f"{what} from {_time(times[0])} to {_time(times[1])}"
    for name, venue in sorted(report.venues.items()):
        yield ""
        kinds = ", ".join(f"{count} {kind}" for kind, count in venue.kinds.most_common())
        yield f"{name}: {venue.messages} messages; records: {kinds or 'none'}"
        yield from table(("event", "messages"), [(event, str(n)) for event, n in venue.events.most_common()])
        yield from _finding_lines("unknown events", "name", venue.unknown_events)
        yield from _finding_lines("new keys", "path", venue.new_keys)
        yield from _finding_lines("unknown words", "path", venue.unknown_enums)
        yield from _finding_lines("values that do not fit", "path", venue.unrepresentable)


def _finding_lines(title: str, what: str, findings: dict[tuple[str, str], Finding]) -> Iterator[str]:
    if findings:
        yield f"  {title}:"
        rows = [(one.path, str(one.count), one.example, one.first) for one in findings.values()]
        yield from table((what, "count", "example", "first seen"), rows, indent="    ")


def _time(ns: int) -> str:
    seconds, rest = divmod(ns, 1_000_000_000)
    try:
        return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S}.{rest // 1_000_000:03d} UTC"
    except (OverflowError, ValueError, OSError):
        return f"{ns} ns"


# ==== venues ====


@cli.command("venues", short_help="List the venues, or show the events and fields of one.")
@click.argument("name", metavar="[NAME|FILE.toml]", required=False)
@click.option("--table", "as_table", is_flag=True, help="Print the venue as the table text that the C core compiles.")
def venues_command(name: str | None, as_table: bool) -> int:
    """List the venues, or show the events and fields of one."""
    if name is None:
        if as_table:
            raise click.UsageError("--table needs the name of a venue.")
        rows = [_venue_row(venues.load(one)) for one in venues.names()]
        click.echo("\n".join(table(("venue", "events", "checked", "title", "documentation"), rows, indent="")))
        return OK
    try:
        venue = venues.load(name)
    except VenueError as error:
        raise click.BadParameter(f"{error}.", param_hint="NAME") from None
    click.echo(venue.table() if as_table else "\n".join(_venue_lines(venue)), nl=not as_table)
    return OK


def _venue_row(venue: Venue) -> tuple[str, ...]:
    events = len({event.name for event in venue.events})
    return venue.name, str(events), str(venue.checked or ""), venue.title, venue.docs[0] if venue.docs else ""


def _venue_lines(venue: Venue) -> Iterator[str]:
    yield f"{venue.name}: {venue.title}"
    if venue.checked:
        yield f"checked {venue.checked} against"
    yield from (f"  {page}" for page in venue.docs)
    if variants := rules.parse(venue.session).variants:
        yield f"session variants: {', '.join(variants)}"
    if venue.samples:
        yield f"samples that decoders learn from: {len(venue.samples)}"
    if venue.prompts:
        yield ""
        yield "text frames"
        yield from table((), [(repr(prompt.text), prompt.code) for prompt in venue.prompts])
    for event in venue.events:
        yield ""
        conditions = (f"{one.path} = {' | '.join(one.texts)}" for one in event.when)
        yield f"{event.name}  ({', '.join(conditions)})"
        for emit in event.emits:
            rows = f" for each of {emit.rows}" if str(emit.rows) else ""
            code = f" {emit.consts['code']}" if "code" in emit.consts else ""
            yield f"  {emit.kind}{code}{rows}"
            fields = [(name, " or ".join(map(str, paths))) for name, paths in emit.fields.items() if paths]
            fields += [(name, f"always {word}") for name, word in emit.consts.items() if name != "code"]
            yield from table((), fields, indent="    ")


# ==== listen ====


@cli.command("listen", short_help="Follow a private stream live: NDJSON, or a table.")
@click.argument("venue", metavar="NAME|FILE.toml")
@click.option("--url", metavar="URL", help="Instead of the venue's: its own path is added if URL has none.")
@click.option("--rest-url", metavar="URL", help="Where listen keys are fetched, instead of the venue's.")
@click.option(
    "--variant",
    "variants",
    metavar="NAME",
    multiple=True,
    help="A variant of the venue's session (product, form of URL, way to log in); may be repeated. "
    "`execwire venues NAME` lists them.",
)
@click.option(
    "--subscribe",
    "channels",
    metavar="CHANNEL",
    multiple=True,
    help="Where the venue has channels, which: SPOT/orders; may be repeated.  [default: those of the venue's file]",
)
@click.option(
    "--record",
    "record_path",
    metavar="FILE",
    help="Append what is received, with times, for `decode` and `replay`; packed if FILE ends with .gz.",
)
@click.option(
    "--rotate-bytes",
    type=click.IntRange(0),
    default=0,
    metavar="N",
    help="Of a recording: a new file after N bytes. Files are called FILE-20261122T031500.000Z.gz then.",
)
@click.option(
    "--rotate-seconds",
    type=click.IntRange(0),
    default=0,
    metavar="N",
    help="Of a recording: a new file at every multiple of N seconds, UTC; 3600 is hourly.",
)
@click.option("--to", type=click.Choice(["ndjson", "table"]), help="[default: table on a terminal, else ndjson]")
@click.option("--kind", "kinds", metavar="KIND,...", help=f"Only records of these kinds: {', '.join(KINDS)}.")
@click.option("--extra", is_flag=True, help="Add what no field took.")
@click.option("--count", type=click.IntRange(1), metavar="N", help="End after so many records.")
def listen_command(
    venue: str,
    url: str | None,
    rest_url: str | None,
    variants: Sequence[str],
    channels: Sequence[str],
    record_path: str | None,
    rotate_bytes: int,
    rotate_seconds: int,
    to: str | None,
    kinds: str | None,
    extra: bool,
    count: int | None,
) -> int:
    """Follow a private stream live, until interrupted: connects, logs in, and comes back by itself.

    Keys come from the environment and from nowhere else: <PREFIX>_API_KEY with <PREFIX>_SECRET, <PREFIX>_PRIVATE_KEY or
    <PREFIX>_PRIVATE_KEY_FILE, and <PREFIX>_PASSPHRASE or <PREFIX>_TOKEN where the venue has one. The prefix is in the
    venue's file (env = ...): BINANCE, BITGET and so on.

    What happens to the connection comes between the records, as notices: connected, disconnected, gap, reconnected.
    """
    from execwire import listening  # needs the network libraries, which the other commands do without
    from execwire.recording import FileRecorder

    if (rotate_bytes or rotate_seconds) and record_path is None:
        raise click.UsageError("--rotate-bytes and --rotate-seconds are for --record.")
    chosen = _kinds(kinds)
    recorder = None
    if record_path is not None:
        recorder = FileRecorder(record_path, max_bytes=rotate_bytes, max_seconds=rotate_seconds)
    try:
        return listening.listen(
            venue, url=url, rest_url=rest_url, variants=variants, channels=channels or None, recorder=recorder,
            out=sys.stdout, table=to == "table" or (to is None and sys.stdout.isatty()), kinds=chosen, extra=extra,
            count=count, tell=_tell,
        )  # fmt: skip
    except (VenueError, AuthError, ValueError) as error:
        raise click.UsageError(f"{error}.") from None


# ==== replay ====


class _OutputError(BaseException):
    """What a handler raises to end a replay, as its other errors are only counted."""

    def __init__(self, error: OSError) -> None:
        super().__init__(error)
        self.error = error


@cli.command("replay", short_help="Send captures again: to handlers, or over a WebSocket.")
@_paths_argument
@click.option("--to", "url", metavar="ws://...", help="Connect to a WebSocket server, and send it the frames.")
@click.option("--serve", metavar="HOST:PORT", help="Be a server: every client that connects gets the frames.")
@click.option(
    "--speed", type=click.FloatRange(0, min_open=True), metavar="X", help="1: in their own time; 10: ten times as fast."
    "  [default: as fast as possible]",
)  # fmt: skip
@click.option("--venue", metavar="NAME|FILE.toml", help="Without --to and --serve.  [default: what the capture says]")
@_format_option
@_keys_options
@click.option("--kind", "kinds", metavar="KIND,...", help=f"Only records of these kinds: {', '.join(KINDS)}.")
def replay_command(
    paths: Sequence[str],
    url: str | None,
    serve: str | None,
    speed: float | None,
    venue: str | None,
    format_: str,
    ts_key: str | None,
    payload_key: str | None,
    kinds: str | None,
) -> int:
    """Send captures again, in their own time or faster.

    With --to or --serve, frames go over a WebSocket as they were received: texts and binary ones, without the
    recorder's own lines. Else they go through the handlers of a live session, and the records are printed as NDJSON,
    with the notices of the session that was recorded, as `execwire listen` printed them then.
    """
    import asyncio

    resending = importlib.import_module("execwire.resending")  # needs the network libraries
    replaying = importlib.import_module("execwire.sessions.replaying")
    if url is not None and serve is not None:
        raise click.UsageError("either --to or --serve.")
    if speed is not None and not speed > 0:
        raise click.UsageError("a speed is greater than 0.")
    if (url or serve) and (venue or kinds):
        raise click.UsageError("--venue and --kind are for neither --to nor --serve.")
    how = {"format": format_, "speed": speed, "ts_key": ts_key, "payload_key": payload_key}
    paths, unmatched = _expand(paths)
    if unmatched:  # what is replayed in part is another stream
        return UNREADABLE
    try:
        if url is not None:
            if not url.startswith(("ws://", "wss://")):
                raise click.UsageError("--to needs a URL that begins with ws:// or wss://.")
            sent = asyncio.run(resending.send(paths, url, **how))
            _tell(f"{sent} frames sent")
            return OK
        if serve is not None:
            for path in paths:
                Path(path).open("rb").close()  # what is not there is told now, and not to a client
            host, _, port = serve.rpartition(":")
            host = host.removeprefix("[").removesuffix("]")
            if not port.isdecimal() or int(port) > 65535:
                raise click.UsageError("--serve needs HOST:PORT, or :PORT.")
            asyncio.run(
                resending.serve(
                    paths, host or "127.0.0.1", int(port), tell=functools.partial(click.echo, err=False), **how
                )
            )  # fmt: skip
            return OK
        chosen = _kinds(kinds)
        write = WRITERS["ndjson"](sys.stdout.buffer, chosen, False)

        def show(record: Record) -> None:
            if record.kind in chosen:
                try:
                    write(record)
                    if speed is not None:
                        sys.stdout.flush()
                except OSError as error:
                    raise _OutputError(error) from None

        replay = replaying.Replay(paths, venue, handler=show, **how)
        try:
            replay.run_here()
        finally:
            failed = replay.stats().get("decode_errors", 0)
    except _OutputError as stop:
        raise stop.error from None
    except VenueError as error:
        raise click.UsageError(f"{error}.") from None
    except (OSError, CaptureError) as error:
        if isinstance(error, BrokenPipeError):
            raise
        name = error.filename if isinstance(error, OSError) else error.name
        _tell(f"{name}: {reason(error)}" if name else reason(error))
        return UNREADABLE
    if failed:
        _tell(f"{failed} messages could not be decoded")
    return SOME_FAILED if failed else OK


# ==== serve ====


@cli.command("serve", short_help="Run a local exchange: every venue's protocol on one port of this machine.")
@click.argument("served", metavar="[VENUE...]", nargs=-1)
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="0 takes a free port.", show_default=True)
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option("--key", default="key", show_default=True, help="The API key that may log in; a made-up one.")
@click.option("--secret", default="sec", show_default=True, help="Its secret, made up as well.")
@click.option("--passphrase", default="pp", show_default=True, help="Its passphrase, made up as well.")
@click.option(
    "--public-key",
    "public_key_path",
    metavar="FILE.pem",
    type=click.Path(exists=True, dir_okay=False),
    help="An Ed25519 or RSA public key instead of the secret.",
)
@click.option(
    "--tls",
    "certificate",
    metavar="FILE.pem",
    type=click.Path(exists=True, dir_okay=False),
    help="A private key and its certificate, for clients that insist on wss and https.",
)
@click.option("--rate", type=_Finite(0), default=10.0, show_default=True, help="Events a second and market.")
@click.option("--seed", default="1", show_default=True, help="The same seed, the same events and faults.")
@click.option("--start", type=int, metavar="MS", help="Time stamps begin here, and are the same every time.")
@click.option(
    "--repeat", type=click.IntRange(0), default=0, metavar="N", help="For load: send a market's first N events again."
)
@click.option(
    "--fault",
    "faults",
    metavar="NAME=VALUE",
    multiple=True,
    help="Something that goes wrong, such as drop=0.01, drop=1/100 (every hundredth), close_after=500; may be repeated."
    " --fault help lists them.",
)
@click.option(
    "--set",
    "options",
    metavar="NAME=VALUE",
    multiple=True,
    help="A duration (seconds) or limit, such as listen_key_life=60; may be repeated. --set help lists them.",
)
def serve_command(
    served: Sequence[str],
    port: int,
    host: str,
    key: str,
    secret: str,
    passphrase: str,
    public_key_path: str | None,
    certificate: str | None,
    rate: float,
    seed: str,
    start: int | None,
    repeat: int,
    faults: Sequence[str],
    options: Sequence[str],
) -> int:
    """Run a local exchange until it is interrupted: VENUEs, or all of them, on one port.

    It speaks the venues' protocols, checks signatures, keeps their limits, and invents an account's orders and fills.
    It prints its address when it is ready.
    """
    serving = importlib.import_module("execwire.exchange.serving")
    if "help" in (*faults, *options):
        click.echo("\n".join(serving.settings(serving.Faults if "help" in faults else serving.Options)))
        return OK
    try:
        verifier = (
            Verifier(public_key=Path(public_key_path).read_bytes()) if public_key_path else Verifier(secret=secret)
        )
        exchange = serving.Exchange(
            served or None,
            host=host,
            port=port,
            keys=[serving.ApiKey(key, verifier, passphrase)],
            rate=rate,
            seed=seed,
            start=start,
            repeat=repeat,
            faults=serving.parse(serving.Faults, faults),
            options=serving.parse(serving.Options, options),
            tls=serving.certificate(certificate) if certificate else None,
        )
    except (AuthError, ValueError) as error:
        raise click.UsageError(f"{error}.") from None
    try:
        serving.run(exchange, click.echo)
    except OSError as error:
        raise click.UsageError(f"{host}:{port}: {error.strerror or error}.") from None
    return OK


# ==== demo ====


@cli.command("demo", short_help="Live sessions with every venue of a local exchange, recorded and checked.")
@click.option("--seconds", type=_Finite(0.5), default=3.0, show_default=True, help="How long under load.")
def demo_command(seconds: float) -> int:
    """Run everything at once, offline: a local exchange, and live sessions with every venue, under load.

    One of them carries 1,000 subscriptions, another one loses its connection and comes back. What they receive is
    recorded, decoded again and compared with what the live handlers saw; then come its fills as columns, and a summary.
    """
    demo = importlib.import_module("execwire.demo")  # needs the network libraries
    try:
        for line in demo.run(seconds, progress=sys.stderr.isatty()):
            click.echo(line)
    except demo.CheckError as error:
        _tell(str(error))
        return SOME_FAILED
    return OK


# ==== bench ====


@cli.command("bench", short_help="Measure the decoder beside other parsers, on this machine.")
@click.option(
    "--event",
    "events",
    type=click.Choice(list(workload.EVENTS)),
    multiple=True,
    help=f"What to decode; may be repeated.  [default: {', '.join(bench.EVENTS)}]",
)
@click.option("--turns", type=click.IntRange(1), default=5, show_default=True, help="How often everyone has a turn.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead of tables.")
@click.option("--plot", "plot_path", metavar="FILE.png", help="Draw the result too (needs matplotlib).")
def bench_command(events: Sequence[str], turns: int, as_json: bool, plot_path: str | None) -> int:
    """Measure the decoder beside other parsers, on this machine.

    Everyone decodes the same messages: full-size, all distinct, made up for the purpose. Results are compared with the
    reference decoder's before anything is timed. msgspec takes part if it is installed.
    """
    if plot_path is not None and importlib.util.find_spec("matplotlib") is None:
        raise click.UsageError("--plot needs matplotlib: pip install 'execwire[plot]'.")
    try:
        bar = functools.partial(tqdm, unit=" turns", leave=False, disable=None)
        report = bench.measure(events or bench.EVENTS, turns=turns, progress=bar)
    except bench.WrongAnswerError as error:
        _tell(f"not measured, because a result is wrong: {error}")
        return SOME_FAILED
    if as_json:
        sys.stdout.buffer.write(orjson.dumps(report.to_dict(), option=orjson.OPT_INDENT_2) + b"\n")
    else:
        click.echo("\n".join(report.lines()))
    if plot_path is not None:
        sys.stdout.flush()
        try:
            bench.plot(report, plot_path)
        except ValueError as error:  # of matplotlib, which does not know the ending
            raise click.UsageError(f"--plot: {error}.") from None
    return OK


# ==== main ====


def main(args: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    for name, mode, flag in (("stdin", "r", os.O_WRONLY), ("stdout", "w", os.O_RDONLY), ("stderr", "w", os.O_WRONLY)):
        if getattr(sys, name) is None:  # it was closed before us: reading and writing fail, but for what is told
            setattr(sys, name, os.fdopen(os.open(os.devnull, flag), mode))
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that nothing half-written stays behind
    try:
        # Not cli.main(): it makes an error of a closed pipe.
        with cli.make_context("execwire", list(sys.argv[1:] if args is None else args)) as context:
            code = cli.invoke(context)
        sys.stdout.flush()
    except click.exceptions.Exit as done:
        return done.exit_code
    except click.ClickException as error:
        error.message = "\n".join(map(printable, error.message.split("\n")))  # type: ignore[misc]
        error.show()
        return error.exit_code
    except KeyboardInterrupt:
        _tell("interrupted")
        return INTERRUPTED
    except BrokenPipeError:
        _drop(sys.stdout)  # the reader has gone, which is its right
        return OK
    except OSError as error:  # the output: inputs are handled where they are read
        _tell(f"{error.filename or 'output'}: {error.strerror or error}")
        _drop(sys.stdout)
        return UNWRITABLE
    return int(code)


if __name__ == "__main__":
    sys.exit(main())
