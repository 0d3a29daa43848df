"""One capture of orders into typed columns, by execwire and by the libraries that read JSON into tables.

Run as a program it does so once, in a process of its own: ``python capture_readers.py polars FILE`` prints seconds of
wall and CPU time and peak memory. Everybody gets told the columns and their types: nobody has to guess, decimals are
decimals, times are times. Reading starts with the library imported and the file in the page cache.
"""

from __future__ import annotations

import json
import re
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

VENUE, EVENT = "binance-spot", "executionReport"


class Key(NamedTuple):
    """A member of the messages."""

    key: str
    name: str  #: of our column
    type: str  #: of our field
    json: str  #: what it is in the messages: str, int or bool


def keys(path: str) -> list[Key]:
    """The members that become columns, as the venue's description has them, typed by the first message."""
    from execwire import core, venues

    with Path(path).open("rb") as file:
        message = json.loads(file.readline())
    types = {field.name: field.type for field in core.fields("order")}
    (event,) = (one for one in venues.load(VENUE).events if one.name == EVENT)
    (emit,) = event.emits
    found = []
    for name, paths in emit.fields.items():
        key = next((str(one.steps[-1]) for one in paths if one.steps and str(one.steps[-1]) in message), None)
        if key is not None:
            value = message[key]
            kind = "bool" if isinstance(value, bool) else "int" if isinstance(value, int) else "str"
            found.append(Key(key, name, types[name], kind))
    return found


def by_execwire(path: str) -> Any:
    import execwire

    return execwire.read_capture(path, venue=VENUE).orders


def by_execwire_alone(path: str) -> Any:
    import execwire

    return execwire.read_capture(path, venue=VENUE, threads=1).orders


def by_execwire_polars(path: str) -> Any:
    return by_execwire(path).to_polars()


class Scanned(NamedTuple):
    """What is left of a capture of which no more than a table was kept."""

    first: Any
    rows: int


def by_execwire_scanned(path: str) -> Scanned:
    import execwire

    tables = execwire.scan_capture(path, venue=VENUE)
    first = next(tables).orders
    return Scanned(first, len(first) + sum(len(table.orders) for table in tables))


def by_polars(path: str) -> Any:
    import polars as pl

    kinds = {"str": pl.String, "int": pl.Int64, "bool": pl.Boolean}
    known = keys(path)
    frame = pl.scan_ndjson(path, schema={one.key: kinds[one.json]() for one in known})
    columns = []
    for one in known:
        column = pl.col(one.key)
        if one.type == "decimal":
            column = column.cast(pl.Decimal(38, 8))
        elif one.type == "time":
            column = (column * 1_000_000).cast(pl.Datetime("ns", "UTC"))
        columns.append(column.alias(one.name))
    return frame.select(columns).collect()


def by_duckdb(path: str) -> Any:
    """Takes the values out of JSON objects: as columns of `read_json`, keys that differ by case alone are one."""
    import duckdb

    kinds = {"decimal": "DECIMAL(38, 8)", "bool": "BOOLEAN", "time": "BIGINT"}
    known = keys(path)
    columns = []
    for i, one in enumerate(known, 1):
        column = f"CAST(x[{i}] AS {kinds.get(one.type, 'VARCHAR')})"
        columns.append(f"{f'make_timestamp_ns({column} * 1000000)' if one.type == 'time' else column} AS {one.name}")
    connection = duckdb.connect()
    connection.execute("PRAGMA disable_progress_bar")
    wanted = ", ".join(f"'$.{one.key}'" for one in known)
    source = f"SELECT json_extract_string(json, [{wanted}]) AS x FROM read_ndjson_objects('{path}')"
    connection.execute(f"CREATE TABLE orders AS SELECT {', '.join(columns)} FROM ({source})")
    return connection


def by_pyarrow(path: str) -> Any:
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.json

    kinds = {"str": pa.string(), "int": pa.int64(), "bool": pa.bool_()}
    known = keys(path)
    options = pyarrow.json.ParseOptions(
        explicit_schema=pa.schema([(one.key, kinds[one.json]) for one in known]), unexpected_field_behavior="ignore"
    )
    read = pyarrow.json.ReadOptions(block_size=4 << 20)
    table = pyarrow.json.read_json(path, read_options=read, parse_options=options)
    columns = {}
    for one in known:
        column = table[one.key]
        if one.type == "decimal":
            column = pc.cast(column, pa.decimal128(38, 8))
        elif one.type == "time":
            column = pc.multiply(column, 1_000_000).cast(pa.timestamp("ns", "UTC"))
        columns[one.name] = column
    return pa.table(columns)


def _polars_rows(frame: Any, names: list[str], limit: int) -> list[tuple[Any, ...]]:
    import polars as pl

    times = [name for name in names if frame.schema[name] == pl.Datetime("ns", "UTC")]
    rows: list[tuple[Any, ...]] = (
        frame.head(limit).with_columns(pl.col(name).dt.epoch("ns") for name in times).select(names).rows()
    )
    return rows


def _execwire_rows(table: Any, names: list[str], limit: int) -> list[tuple[Any, ...]]:
    return _polars_rows(table.to_polars(), names, limit)


def _scanned_rows(scanned: Scanned, names: list[str], limit: int) -> list[tuple[Any, ...]]:
    return _execwire_rows(scanned.first, names, limit)


def _duckdb_rows(connection: Any, names: list[str], limit: int) -> list[tuple[Any, ...]]:
    columns = ", ".join(f"epoch_ns({name})" if name.startswith("ts_") else name for name in names)
    rows: list[tuple[Any, ...]] = connection.execute(f"SELECT {columns} FROM orders LIMIT {limit}").fetchall()
    return rows


def _pyarrow_rows(table: Any, names: list[str], limit: int) -> list[tuple[Any, ...]]:
    import pyarrow as pa

    columns = []
    for name in names:
        column = table[name].slice(0, limit)
        columns.append((column.cast(pa.int64()) if pa.types.is_timestamp(column.type) else column).to_pylist())
    return list(zip(*columns, strict=True))


def _duckdb_count(connection: Any) -> int:
    return int(connection.execute("SELECT count(*) FROM orders").fetchone()[0])


class Reader(NamedTuple):
    """How one library does it, and how to look at what came out."""

    package: str
    read: Callable[[str], Any]
    rows: Callable[[Any, list[str], int], list[tuple[Any, ...]]]
    count: Callable[[Any], int] = len


READERS = {
    "execwire": Reader("execwire", by_execwire, _execwire_rows),
    "execwire, one thread": Reader("execwire", by_execwire_alone, _execwire_rows),
    "execwire, table by table": Reader("execwire", by_execwire_scanned, _scanned_rows, lambda made: made.rows),
    "execwire, then polars": Reader("polars", by_execwire_polars, _polars_rows),
    "polars": Reader("polars", by_polars, _polars_rows),
    "duckdb": Reader("duckdb", by_duckdb, _duckdb_rows, _duckdb_count),
    "pyarrow": Reader("pyarrow", by_pyarrow, _pyarrow_rows),
}


def peak() -> int:
    """The most memory that this process has had, in bytes (what getrusage tells begins with what its parent had)."""
    found = re.search(r"VmHWM:\s*([0-9]+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1]) * 1024


def main() -> None:
    """Read once, tell what it took."""
    name, path = sys.argv[1:]
    reader = READERS[name]
    __import__(reader.package)
    if name.startswith("execwire"):
        __import__("execwire.batch")  # which it loads on first use, as others do when they are imported
    keys(path)
    cpu, wall = time.process_time(), time.perf_counter()
    made = reader.read(path)
    took = {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu, "rows": reader.count(made)}
    took["peak"] = peak()
    print(json.dumps(took))


if __name__ == "__main__":
    main()
