"""Records as text: NDJSON and CSV, to a stream or, atomically, to a file; and tables for people."""

from __future__ import annotations

import contextlib
import csv
import io
import os
import sys
import tempfile
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, BinaryIO

import orjson

from execwire.core import Record, fields

__all__ = ["WRITERS", "csv_writer", "json_text", "ndjson_writer", "open_output", "table"]

Writer = Callable[[Record], object]

_PLAIN_DIGITS = 40  # decimals with more places than this are written with an exponent, as in records


def json_text(value: object, *, bare_decimals: bool = False) -> bytes:
    """JSON that loses nothing: integers of any size, and decimals as strings or, bare, as they were sent."""
    default = _bare_decimal if bare_decimals else _decimal
    try:
        return orjson.dumps(value, default=default)
    except TypeError:  # an integer beyond 64 bits
        return orjson.dumps(_any_integer(value), default=default)


def _decimal(value: object) -> str:
    if not isinstance(value, Decimal):
        raise TypeError(f"no JSON for {type(value).__name__}")
    return f"{value:f}" if abs(value.adjusted()) < _PLAIN_DIGITS else str(value)


def _bare_decimal(value: object) -> orjson.Fragment:
    return orjson.Fragment(_decimal(value))


def _any_integer(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _any_integer(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_any_integer(item) for item in value]
    if isinstance(value, int) and not -(1 << 63) <= value < 1 << 64:
        return orjson.Fragment(f"{Decimal(value):f}")  # str refuses more than 4,300 digits
    return value


def ndjson_writer(out: BinaryIO, _kinds: Sequence[str], extra: bool) -> Writer:
    """One JSON object a line; fields that the message did not have are left out."""

    def write(record: Record) -> None:
        out.write(json_text(record.to_dict(extra=extra)) + b"\n")

    return write


def csv_writer(out: BinaryIO, kinds: Sequence[str], extra: bool) -> Writer:
    """A header, then one line a record: the columns of all the kinds; what a record does not have is empty."""
    columns = ["kind", "venue", "event", *dict.fromkeys(field.name for kind in kinds for field in fields(kind))]
    if extra:
        columns.append("extra")
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\r\n")  # so that texts with either of them are quoted

    def line(cells: Sequence[object]) -> None:
        writer.writerow(cells)
        out.write(text.getvalue()[:-2].encode() + b"\n")
        text.seek(0)
        text.truncate()

    def write(record: Record) -> None:
        values = record.to_dict(extra=extra)
        line([_cell(values.get(column)) for column in columns])

    line(columns)
    return write


def _cell(value: object) -> object:
    if isinstance(value, bool):
        return "true" if value else "false"
    return json_text(value).decode() if isinstance(value, dict) else value


#: Writers by name. Each takes the stream, the kinds that will be written, and whether `extra` is wanted.
WRITERS: dict[str, Callable[[BinaryIO, Sequence[str], bool], Writer]] = {"ndjson": ndjson_writer, "csv": csv_writer}


@contextlib.contextmanager
def open_output(path: str | None, *, force: bool = False) -> Iterator[BinaryIO]:
    """Open an output.

    A file appears under its name only when it is complete: if the block raises, nothing is left behind.

    Parameters
    ----------
    path
        A file; None or `-` is standard output.
    force
        Replace a file that exists.

    Raises
    ------
    FileExistsError
        If the file exists and `force` is not set.
    """
    if path is None or path == "-":
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    target = Path(path)
    if target.exists() and not target.is_file():  # a device or a named pipe
        with target.open("wb") as out:
            yield out
        return
    if target.exists() and not force:
        raise FileExistsError(f"{path} exists; --force replaces it")
    try:
        descriptor, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".tmp", dir=target.parent)
    except OSError as error:
        error.filename = path  # which the user knows
        raise
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as out:
            yield out
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(target.stat().st_mode if target.exists() else 0o666 & ~umask)
        if force:
            temporary.replace(target)
        else:
            _place(temporary, target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _place(temporary: Path, target: Path) -> None:
    """Give a file its name, unless somebody else has taken it in the meantime."""
    try:
        os.link(temporary, target)
    except FileExistsError:
        raise FileExistsError(f"{target} exists by now; --force replaces it") from None
    except OSError:  # a file system without links
        temporary.replace(target)
    else:
        temporary.unlink()


def table(head: Sequence[str], rows: Sequence[Sequence[str]], *, indent: str = "  ") -> Iterator[str]:
    """Lines of columns. Numbers stand to the right."""
    lines = [tuple(head), *rows] if head and rows else list(rows)
    if not lines:
        return
    widths = [max(map(_width, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        cells = []
        for cell, width in zip(line, widths, strict=True):
            blanks = " " * (width - _width(cell))
            cells.append(blanks + cell if cell.isdigit() or cell == "-" else cell + blanks)
        yield (indent + "  ".join(cells)).rstrip()


def _width(text: str) -> int:
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)
