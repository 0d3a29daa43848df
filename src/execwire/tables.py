"""Records of many messages as tables, one for each kind, for numpy, polars, pandas, pyarrow, DuckDB.

A table keeps the columns in the compact form that the core writes; `execwire.columns` knows it. What another library
needs is made when it asks for it. Schemas are derived from `execwire.fields`, and so from the C header.
"""

from __future__ import annotations

import functools
import itertools
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

import numpy as np

from execwire.arrow import Node, check_signals, schema_capsule, stream_capsule
from execwire.basics import Field, Lazily, needed
from execwire.columns import Column, bitmap
from execwire.core import KINDS, fields

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    import numpy.typing as npt

    from execwire.columns import Batch

__all__ = ["Decimals", "EventTable", "Fills", "Table"]

Decimals: TypeAlias = Literal["decimal128", "float64", "raw"]

PRECISION = 38  # digits of an Arrow decimal128
_VENUE = Field("venue", "name", "", "", (), 0, 4, -1)
_EVENT = Field("event", "name", "", "", (), 0, 4, -1)
_FLAGS = Field("flags", "flags", "", "", (), 0, 1, -1)
_EXTRA = Field("extra", "json", "", "", (), 0, 0, -1)
_LONG = 128  # texts with slots of this size differ mostly

#: What fields of a fill are called in the order that reports it.
FILL_IN_ORDER = {"price": "last_price", "qty": "last_qty", "quote_qty": "last_quote"}
_FILL_TYPES = ("trade", "calculated")
_NO_TYPES = ("status",)  # of venues whose every order event is a report of the state
_FILL_STATES = ("partially_filled", "filled")


class Options(NamedTuple):
    """How values leave a table."""

    decimals: Decimals = "decimal128"
    scale: int | None = None
    id_numbers: bool = False


class Part(NamedTuple):
    """Some rows of a table."""

    n: int
    columns: Mapping[str, Column]


# ---- MARK: Parts ----


def _part(batch: Batch, extra: bool) -> Part:
    """The columns of a batch, those of its header too."""
    names = ["venue", "event", *batch.columns, "flags", *(["extra"] if extra else [])]
    return Part(batch.n, Lazily(names, functools.partial(_column, batch)))


def _column(batch: Batch, name: str) -> Column:
    if name in ("venue", "event"):
        codes, rows = batch.distinct_events()
        names = map(batch.names, codes)
        if name == "venue":
            return _named(_VENUE, [venue for venue, _ in names], rows)
        return _named(_EVENT, [event for _, event in names], rows)
    if name == "flags":
        return Column(_FLAGS, batch.n, batch.flags)
    if name == "extra":
        return _text_column(_EXTRA, batch.extra or [None] * batch.n)
    return batch.columns[name]


def _named(field: Field, names: list[str], rows: npt.NDArray[np.uint32]) -> Column:
    words = sorted({name for name in names if name})
    codes = np.array([words.index(name) if name else 0 for name in names], "u4")
    known = np.array([bool(name) for name in names])
    valid = None if known.all() else bitmap(known[rows])
    return Column(field, len(rows), codes[rows], valid=valid, words=words)


def _text_column(field: Field, texts: Sequence[bytes | None]) -> Column:
    lengths = np.array([len(text or b"") for text in texts], "u8")
    offsets = np.concatenate(([0], np.cumsum(lengths)[:-1])).astype("u8") if len(texts) else lengths
    heap = np.frombuffer(b"".join(text or b"" for text in texts) or b"\0", "u1")
    valid = bitmap(np.array([text is not None for text in texts], bool))
    return Column(field, len(texts), offsets | lengths << np.uint64(32), valid=valid, heap=heap)


def _is_dictionary(field: Field) -> bool:
    """Whether the texts of a field are kept once each."""
    return field.type == "name" or (field.type == "text" and field.size < _LONG)


def _unified(columns: Sequence[Column]) -> tuple[list[str], list[npt.NDArray[Any] | None]]:
    """One list of words for all of them, and their codes in it."""
    lists = [column.words or () for column in columns]
    if all(words is lists[0] for words in lists):
        return list(lists[0]) if lists else [], [column.values for column in columns]
    numbers: dict[str, int] = {}
    codes: list[npt.NDArray[Any] | None] = []
    for column, words in zip(columns, lists, strict=True):
        place = np.array([numbers.setdefault(word, len(numbers)) for word in words] or [0], "u4")
        codes.append(None if column.values is None else place[column.values])
    return list(numbers), codes


# ---- MARK: Arrow ----


def _validity(column: Column) -> npt.NDArray[Any] | None:
    if column.values is None:
        return np.zeros((column.n + 7) // 8, "u1")
    return column.valid


def _text_node(name: str, texts: Iterable[str]) -> Node:
    encoded = [text.encode() for text in texts]
    offsets = np.array([0, *itertools.accumulate(map(len, encoded))], "i4")
    return Node(name, "u", len(encoded), (None, offsets, np.frombuffer(b"".join(encoded) or b"\0", "u1")))


class _Exporter:
    """Makes the arrays of one column, part by part."""

    def __init__(self, name: str, columns: Sequence[Column], field: Field, options: Options) -> None:
        self.name = name
        self.columns = columns
        self.field = field
        self.options = options
        self.format, self.values = _ARROW[field.type]
        self.dictionary: Node | None = None
        if field.words and field.type == "enum":
            self.dictionary = _text_node("", field.words)
        elif _is_dictionary(field):
            self.format, self.values = "i", _codes
            words, self.codes = _unified(columns)
            self.dictionary = _text_node("", words)
        elif field.type == "decimal":
            if options.decimals == "decimal128":
                self.scale = options.scale if options.scale is not None else _scale(columns)
                self.format = f"d:{PRECISION},{self.scale}"
            else:
                self.format, self.values = {"float64": ("g", _doubles), "raw": ("+s", _raw)}[options.decimals]

    def node(self, i: int) -> Node:
        """The array of part i."""
        column = self.columns[i]
        made = self.values(self, i, column)
        buffers, children = made if isinstance(made, tuple) and made and isinstance(made[0], list) else (made, ())
        return Node(
            self.name,
            self.format,
            column.n,
            (_validity(column), *buffers),
            null_count=column.null_count,
            children=children,
            dictionary=self.dictionary,
        )

    def schema(self) -> Node:
        """Its type."""
        children = _raw_children(0, *(np.zeros(0, code) for code in ("u8", "i4", "i2"))) if self.format == "+s" else ()
        return Node(self.name, self.format, 0, (), children=children, dictionary=self.dictionary)


def _plain(exporter: _Exporter, _i: int, column: Column) -> Any:
    size = {"l": 8, "t": 8, "L": 8, "S": 2, "c": 1, "C": 1, "i": 4}[exporter.format[0]]
    return (np.zeros(column.n * size, "u1") if column.values is None else column.values,)


def _codes(exporter: _Exporter, i: int, column: Column) -> Any:
    codes = exporter.codes[i]
    return (np.zeros(column.n, "u4") if codes is None else np.ascontiguousarray(codes, "u4"),)


def _bits(_exporter: _Exporter, _i: int, column: Column) -> Any:
    values = np.zeros(column.n, "u1") if column.values is None else column.values
    return (np.packbits(values, bitorder="little"),)


def _decimals(exporter: _Exporter, _i: int, column: Column) -> Any:
    return (column.int128(exporter.scale),)


def _doubles(_exporter: _Exporter, _i: int, column: Column) -> Any:
    return (column.float64(),)


def _raw_children(
    n: int, low: npt.NDArray[Any], high: npt.NDArray[Any], exponent: npt.NDArray[Any]
) -> tuple[Node, ...]:
    named = (("lo", "L", low), ("hi", "i", high), ("exponent", "s", exponent))
    return tuple(Node(name, code, n, (None, plane)) for name, code, plane in named)


def _raw(_exporter: _Exporter, _i: int, column: Column) -> Any:
    tails = column.all_tails()
    low = np.zeros(column.n, "u8") if column.values is None else column.values
    high, exponent = (np.ascontiguousarray(tails[name]) for name in ("hi", "exponent"))
    return [], _raw_children(column.n, low, high, exponent)


def _texts(_exporter: _Exporter, _i: int, column: Column) -> Any:
    offsets, text = column.text()
    return offsets, text if len(text) else np.zeros(1, "u1")


_ARROW: dict[str, tuple[str, Callable[[_Exporter, int, Column], Any]]] = {
    "decimal": ("d", _decimals),
    "time": ("tsn:UTC", _plain),
    "u16": ("S", _plain),
    "bool": ("b", _bits),
    "enum": ("c", _plain),
    "id": ("u", _texts),
    "number": ("L", _plain),
    "text": ("u", _texts),
    "json": ("u", _texts),
    "name": ("i", _codes),
    "flags": ("C", _plain),
}


def _scale(columns: Sequence[Column]) -> int:
    """Places enough to round no value: those that were sent or, if that is too many, those that are needed."""
    scale = max((column.scale() for column in columns), default=0)
    if all(column.tails is None and scale + column.tail[1] <= PRECISION - 19 for column in columns):
        return scale  # mantissas of 64 bits have at most 19 digits
    try:
        for column in columns:
            column.int128(scale)
    except OverflowError:
        return max((column.scale(least=True) for column in columns), default=0)
    return scale


def _number_column(name: str, column: Column) -> Column:
    """The numbers among ids."""
    field = Field(name, "number", "", "", (), 0, 8, -1)
    if column.values is None or column.numeric is None:
        return Column(field, column.n, None)
    valid = column.numeric if column.valid is None else column.numeric & column.valid
    values = np.where(column.is_number() & column.mask(), column.values, 0).astype("u8")
    return Column(field, column.n, values, valid=valid)


# ---- MARK: Tables ----


class Table:
    """The records of one kind, by columns.

    Anything that understands Arrow's PyCapsule interface takes a table as it is: ``polars.DataFrame(table)``,
    ``pyarrow.table(table)``, ``duckdb.sql("select ... from table")``. No Arrow library is needed for that.

    =========================  ============================================================================
    field                      Arrow type
    =========================  ============================================================================
    decimals                   decimal128(38, scale), with as many places as the values have; or see `using`
    times                      timestamp[ns, UTC]
    enums, symbols, assets...  dictionary of utf8
    ids, messages              utf8
    bools; subscription_id     bool; uint16
    flags                      uint8, bits of `core.EXTRA` and so on
    =========================  ============================================================================

    What a message did not have, what it had as null or "", and decimals that no record can hold are all null.
    """

    def __init__(
        self, kind: str, parts: Sequence[Part], *, options: Options | None = None, extra: bool = False
    ) -> None:
        self.kind = kind
        self._parts = [part for part in parts if part.n]
        self._options = options or Options()
        self._extra = extra

    def __len__(self) -> int:
        return sum(part.n for part in self._parts)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.kind}: {len(self)} rows>"

    def _fields(self) -> list[Field]:
        return [_VENUE, _EVENT, *fields(self.kind), _FLAGS, *([_EXTRA] if self._extra else [])]

    @property
    def columns(self) -> list[str]:
        """The names of the columns."""
        names = []
        for field in self._fields():
            names.append(field.name)
            if field.type == "id" and self._options.id_numbers:
                names.append(f"{field.name}_number")
        return names

    def using(
        self, *, decimals: Decimals | None = None, scale: int | None = None, id_numbers: bool | None = None
    ) -> Table:
        """The same table, with another choice of how its values leave it.

        Parameters
        ----------
        decimals : {"decimal128", "float64", "raw"}
            Exact; or the nearest doubles; or what the core holds: ``lo``, ``hi`` (value = (hi * 2**64 + lo) *
            10**exponent) and ``exponent``, which tells "1.5" from "1.50".
        scale : int
            Places behind the point of all decimal128 columns, instead of as many as each column needs. Nothing is
            rounded: a value that has more is an error of whoever takes the column (pyarrow's is an `OSError`).
        id_numbers : bool
            Beside each id also its number as uint64, null where it is none.
        """
        if decimals is not None and decimals not in ("decimal128", "float64", "raw"):
            raise ValueError(f"decimals must be decimal128, float64 or raw, not {decimals!r}")
        if scale is not None and not 0 <= scale <= PRECISION:
            raise ValueError(f"scale must be from 0 to {PRECISION}")
        before = self._options
        options = Options(
            before.decimals if decimals is None else decimals,
            before.scale if scale is None else scale,
            before.id_numbers if id_numbers is None else id_numbers,
        )
        return self._with(options)

    def _with(self, options: Options) -> Table:
        return Table(self.kind, self._parts, options=options, extra=self._extra)

    def _named_columns(self) -> Iterator[tuple[str, Field, list[Column]]]:
        for field in self._fields():
            columns = [part.columns[field.name] for part in self._parts]
            yield field.name, field, columns
            if field.type == "id" and self._options.id_numbers:
                name = f"{field.name}_number"
                yield name, Field(name, "number", "", "", (), 0, 8, -1), [_number_column(name, one) for one in columns]

    def _exporters(self) -> list[_Exporter]:
        return [_Exporter(name, columns, field, self._options) for name, field, columns in self._named_columns()]

    # For Arrow.

    def __arrow_c_schema__(self) -> object:
        return schema_capsule(Node("", "+s", 0, (), children=[one.schema() for one in self._exporters()]))

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        exporters = self._exporters()
        schema = Node("", "+s", 0, (), children=[one.schema() for one in exporters])
        parts = (
            Node("", "+s", part.n, (None,), children=[one.node(i) for one in exporters])
            for i, part in enumerate(self._parts)
        )
        return stream_capsule(schema, parts)

    def to_arrow(self) -> Any:
        """A ``pyarrow.Table``."""
        pyarrow = needed("pyarrow", "execwire[parquet]")
        try:
            return pyarrow.RecordBatchReader.from_stream(self).read_all()  # `table` would import pandas first
        except OSError:
            check_signals()  # an interrupt comes as an error of the stream
            raise

    def to_polars(self) -> Any:
        """A ``polars.DataFrame``. Needs no pyarrow."""
        return needed("polars", "polars").DataFrame(self)

    def to_parquet(self, path: str | os.PathLike[str], **options: Any) -> None:
        """Write a Parquet file; `options` go to ``pyarrow.parquet.write_table``."""
        needed("pyarrow.parquet", "execwire[parquet]").write_table(self.to_arrow(), path, **options)

    # Without Arrow.

    def to_numpy(self) -> dict[str, npt.NDArray[Any]]:
        """Arrays by name.

        Returns
        -------
        dict of str to numpy.ndarray
            Times are ``datetime64[ns]`` with NaT. Decimals are `decimal.Decimal` objects or None, doubles with NaN, or
            (raw) records with the members lo, hi, exponent, state and flags, of which ``state`` 0 is null. Texts, ids
            and enums are str or None. Bools and integers are plain arrays, or masked ones if something is null.
        """
        return {name: self._numpy(field, columns) for name, field, columns in self._named_columns()}

    def __getitem__(self, name: str) -> npt.NDArray[Any]:
        for one, field, columns in self._named_columns():
            if one == name:
                return self._numpy(field, columns)
        raise KeyError(name)

    def _numpy(self, field: Field, columns: list[Column]) -> npt.NDArray[Any]:
        mask = np.concatenate([column.mask() for column in columns]) if columns else np.zeros(0, bool)
        if field.type == "decimal":
            made = [_NUMPY_DECIMALS[self._options.decimals](column) for column in columns]
            return np.concatenate(made) if made else _NUMPY_DECIMALS[self._options.decimals](Column(field, 0, None))
        if field.type == "enum" or _is_dictionary(field):
            words, codes = _unified(columns)
            return _taken(np.array([*words, None], object), _joined(codes, columns, "u4"), mask)
        if field.type in ("id", "text", "json"):
            return np.concatenate([_objects(column) for column in columns]) if columns else np.zeros(0, object)
        dtype = {"time": "i8", "u16": "u2", "bool": "u1", "flags": "u1", "number": "u8"}[field.type]
        values = _joined([column.values for column in columns], columns, dtype)
        if field.type == "time":
            return np.where(mask, values, np.iinfo("i8").min).view("M8[ns]")
        if field.type == "bool":
            values = values.view(bool)
        return values if mask.all() else np.ma.MaskedArray(values, ~mask)

    def to_pandas(self) -> Any:
        """A ``pandas.DataFrame``: categories for enums and symbols, times in UTC, Decimal objects or doubles."""
        pandas = needed("pandas", "pandas")
        return pandas.DataFrame(
            {name: self._pandas(pandas, field, columns) for name, field, columns in self._named_columns()}
        )

    def _pandas(self, pandas: Any, field: Field, columns: list[Column]) -> Any:
        if field.type == "enum" or _is_dictionary(field):
            words, codes = _unified(columns)
            mask = np.concatenate([column.mask() for column in columns]) if columns else np.zeros(0, bool)
            joined = np.where(mask, _joined(codes, columns, "i4"), -1)
            return pandas.Categorical.from_codes(joined, list(field.words) if field.words else words)
        values = self._numpy(field, columns)
        if field.type == "time":
            return pandas.Series(values).dt.tz_localize("UTC")
        if isinstance(values, np.ma.MaskedArray):
            array = pandas.arrays.BooleanArray if field.type == "bool" else pandas.arrays.IntegerArray
            return array(values.data, np.ma.getmaskarray(values))
        if field.type == "decimal" and self._options.decimals == "raw":
            return pandas.Series(list(values), dtype=object)
        return values


def _joined(arrays: Sequence[npt.NDArray[Any] | None], columns: Sequence[Column], dtype: str) -> npt.NDArray[Any]:
    """All parts in one array; zeros where a part has nothing."""
    parts = [np.zeros(column.n, dtype) if one is None else one for one, column in zip(arrays, columns, strict=True)]
    return np.concatenate(parts).astype(dtype, copy=False) if parts else np.zeros(0, dtype)


def _taken(words: npt.NDArray[Any], codes: npt.NDArray[Any], mask: npt.NDArray[Any]) -> npt.NDArray[Any]:
    taken: npt.NDArray[Any] = words[np.where(mask, codes, len(words) - 1)]
    return taken


def _objects(column: Column) -> npt.NDArray[Any]:
    offsets, text = column.text()
    data, ends = text.tobytes(), offsets.tolist()
    made = [data[begin:end].decode() for begin, end in itertools.pairwise(ends)]
    out = np.empty(column.n, object)
    out[:] = made
    out[~column.mask()] = None
    return out


def _decimal_objects(column: Column) -> npt.NDArray[Any]:
    out = np.full(column.n, None, object)
    for row in np.flatnonzero(column.mask()).tolist():
        out[row] = Decimal(column.exact(row))
    return out


def _raw_records(column: Column) -> npt.NDArray[Any]:
    tails = column.all_tails()
    names = tails.dtype.names or ()
    members = [("lo", "u8"), *((name, tails.dtype[name]) for name in names)]
    out = np.zeros(column.n, members)
    mask = column.mask()
    out["lo"][mask] = 0 if column.values is None else column.values[mask]
    for name in names:
        out[name][mask] = tails[name][mask]
    return out


_NUMPY_DECIMALS: dict[str, Callable[[Column], npt.NDArray[Any]]] = {
    "decimal128": _decimal_objects,
    "float64": lambda column: np.asarray(column.float64()),
    "raw": _raw_records,
}


class Fills(Table):
    """The fill records; called, the fills of all venues in one shape.

    Some venues send fills as messages of their own, others within the order event that they cause. ``table.fills`` are
    the former, ``table.fills()`` is both: an order event reports a fill if it has a last quantity above zero and its
    execution type is `trade` or `calculated`, or, where the venue sends none or only ever `status`, its status is
    `partially_filled` or `filled`. What both tell, or what is told again after a reconnection, would count twice: see
    `distinct` there.
    """

    _orders: Table | None = None

    def _with(self, options: Options) -> Fills:
        made = Fills(self.kind, self._parts, options=options, extra=self._extra)
        made._orders = self._orders
        return made

    def __call__(self, *, distinct: bool = True) -> Table:
        """All fills: those of orders first, as they tell more.

        Parameters
        ----------
        distinct : bool
            Only the first of those with the same venue, symbol, order id and trade id. Those without a trade id stay.
        """
        parts = [] if self._orders is None else [_fills_of(part) for part in self._orders._parts]
        table = Table(self.kind, [*parts, *self._parts], options=self._options, extra=self._extra)
        if not distinct:
            return table
        seen: set[tuple[object, ...]] = set()
        made = []
        for part in table._parts:
            one = Table(self.kind, [part])
            keys = zip(one["venue"], one["symbol"], one["order_id"], one["trade_id"], strict=True)
            fresh = np.zeros(part.n, bool)
            for row, key in enumerate(keys):
                fresh[row] = key[3] is None or key not in seen
                seen.add(key)
            made.append(part if fresh.all() else rows_of(part, np.flatnonzero(fresh)))
        return Table(self.kind, made, options=self._options, extra=self._extra)


def rows_of(part: Part, rows: npt.NDArray[np.intp]) -> Part:
    """Some rows of a part."""
    return Part(len(rows), {name: column.take(rows) for name, column in part.columns.items()})


def _is_any(column: Column, words: Sequence[str]) -> npt.NDArray[Any]:
    if column.values is None:
        return np.zeros(column.n, bool)
    return np.isin(column.values, [column.field.words.index(word) for word in words]) & column.mask()


def _fills_of(part: Part) -> Part:
    """The fills that order events report."""
    orders = part.columns
    qty = orders["last_qty"]
    if qty.values is None:
        return Part(0, {})
    nonzero = (qty.values != 0) | (qty.all_tails()["hi"] != 0)
    by_type = _is_any(orders["exec_type"], _FILL_TYPES)
    is_untold = ~orders["exec_type"].mask() | _is_any(orders["exec_type"], _NO_TYPES)
    by_state = is_untold & _is_any(orders["status"], _FILL_STATES)
    rows = np.flatnonzero(qty.mask() & nonzero & (by_type | by_state))
    columns = {name: orders[name].take(rows) for name in ("venue", "event")}
    for field in fields("fill"):
        source = orders[FILL_IN_ORDER.get(field.name, field.name)]
        is_own = field.name == "ts_created"  # of the order, not of the fill
        columns[field.name] = (
            Column(field, len(rows), None, words=source.words) if is_own else source.take(rows).renamed(field)
        )
    columns |= {name: orders[name].take(rows) for name in ("flags", "extra") if name in orders}
    return Part(len(rows), columns)


class EventTable:
    """What captures held: a `Table` for each kind of record.

    Attributes
    ----------
    reports : list of FileReport
        What became of each input: messages, records, errors with their positions.
    """

    def __init__(self, batches: Iterable[Batch], reports: Sequence[Any] = (), *, extra: bool = False) -> None:
        by_kind: dict[str, list[Part]] = {kind: [] for kind in KINDS}
        for batch in batches:
            by_kind[batch.kind].append(_part(batch, extra))
        self._tables = {
            kind: (Fills if kind == "fill" else Table)(kind, parts, extra=extra) for kind, parts in by_kind.items()
        }
        self.reports = list(reports)
        self.fills._orders = self.orders

    def __len__(self) -> int:
        return sum(map(len, self._tables.values()))

    def __getitem__(self, kind: str) -> Table:
        return self._tables[kind]

    def __iter__(self) -> Iterator[str]:
        return iter(self._tables)

    def __repr__(self) -> str:
        return f"<EventTable: {', '.join(f'{len(table)} {kind}' for kind, table in self._tables.items())}>"

    @property
    def orders(self) -> Table:
        """The order records."""
        return self._tables["order"]

    @property
    def fills(self) -> Fills:
        """The fill records; ``fills()`` is all fills, also those that orders report."""
        fills = self._tables["fill"]
        assert isinstance(fills, Fills)
        return fills

    @property
    def balances(self) -> Table:
        """The balance records."""
        return self._tables["balance"]

    @property
    def positions(self) -> Table:
        """The position records."""
        return self._tables["position"]

    @property
    def notices(self) -> Table:
        """The notice records."""
        return self._tables["notice"]

    def using(
        self, *, decimals: Decimals | None = None, scale: int | None = None, id_numbers: bool | None = None
    ) -> EventTable:
        """The same, with `Table.using` of every table."""
        made = EventTable([], self.reports)
        made._tables = {
            kind: table.using(decimals=decimals, scale=scale, id_numbers=id_numbers)
            for kind, table in self._tables.items()
        }
        made.fills._orders = made.orders
        return made

    def to_numpy(self) -> dict[str, dict[str, npt.NDArray[Any]]]:
        """`Table.to_numpy` of every table that has rows, by kind."""
        return {kind: table.to_numpy() for kind, table in self._tables.items() if len(table)}

    def to_polars(self) -> dict[str, Any]:
        """`Table.to_polars` of every table that has rows, by kind."""
        return {kind: table.to_polars() for kind, table in self._tables.items() if len(table)}

    def to_pandas(self) -> dict[str, Any]:
        """`Table.to_pandas` of every table that has rows, by kind."""
        return {kind: table.to_pandas() for kind, table in self._tables.items() if len(table)}

    def to_arrow(self) -> dict[str, Any]:
        """`Table.to_arrow` of every table that has rows, by kind."""
        return {kind: table.to_arrow() for kind, table in self._tables.items() if len(table)}
