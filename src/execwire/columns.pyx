# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# cython: embedsignature=True, binding=False
"""From blocks of a capture to columns: the binding over ``csrc/lines.c`` and ``csrc/columns.c``.

`Lines` cuts blocks into lines, `Columns` decodes them into batches, and a batch is a `Column` for each field. Nothing
here makes a Python object per line, unless somebody asks for the lines themselves (`Lines.take`).
"""
cimport cython
from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

from execwire.core cimport Decoder
from execwire.header cimport *
from execwire.records cimport Dialect, State, error_of

import numpy as np

from execwire.basics import Lazily, Stats
from execwire.core import KINDS, fields
from execwire.records import venue_name


cdef extern from "Python.h":
    enum:
        PyBUF_WRITE
    object PyMemoryView_FromMemory(char *at, Py_ssize_t n, int flags)


cdef extern from "execwire.h" nogil:
    ctypedef struct ew_lines:
        pass
    ctypedef struct ew_span:
        const uint8_t *payload
        size_t n
        int64_t ts_recv
        uint64_t line
        uint64_t offset
        uint8_t stamped
        uint8_t ended
        uint8_t foreign
    ew_lines *ew_lines_new(int stamped)
    void ew_lines_free(ew_lines *lines)
    uint8_t *ew_lines_room(ew_lines *lines, size_t n)
    void ew_lines_filled(ew_lines *lines, size_t n, int last)
    int ew_lines_next(ew_lines *lines, ew_span *span)
    uint64_t ew_lines_blank(const ew_lines *lines)
    size_t ew_stamp(const uint8_t *s, size_t n, int64_t *ts_recv)
    ctypedef struct ew_unwrapper:
        pass
    ew_unwrapper *ew_unwrapper_new()
    void ew_unwrapper_free(ew_unwrapper *unwrapper)
    ew_status ew_unwrap(ew_unwrapper *unwrapper, const char *ts_key, const char *payload_key, ew_span *span)
    const ew_error *ew_unwrapper_error(const ew_unwrapper *unwrapper)

    ctypedef struct ew_tail:
        int32_t hi
        short exponent
        uint8_t state
        uint8_t flags
    ctypedef struct ew_column:
        void *values
        ew_tail *tails
        ew_tail tail
        uint64_t *valid
        uint64_t *numeric
        size_t n_valid
    ctypedef struct ew_batch:
        size_t n
        uint8_t kind
        uint8_t *flags
        uint32_t *events
        uint8_t *heap
        size_t n_heap
        ew_column columns[64]
    void ew_batch_free(ew_batch *batch)
    ctypedef struct ew_columns:
        pass
    ew_columns *ew_columns_new(size_t rows)
    void ew_columns_free(ew_columns *columns)
    ew_status ew_columns_append(ew_columns *columns, const ew_decoder *decoder, size_t n_records, ew_decoder *closer,
                                const uint8_t *payload, size_t n)
    ctypedef enum ew_fed:
        EW_FED_ALL
        EW_FED_ERROR
        EW_FED_OTHER
        EW_FED_UNSURE
        EW_FED_MEMORY
    ew_fed ew_columns_feed(ew_columns *columns, ew_decoder *decoder, ew_decoder *closer, ew_lines *lines, ew_span *span)
    uint64_t ew_columns_shape(const ew_decoder *decoder, size_t n_records, const ew_stats *before)
    int ew_columns_accept(ew_columns *columns, uint64_t shape)
    const ew_stats *ew_columns_stats(const ew_columns *columns)
    void ew_columns_count(ew_columns *columns, const ew_decoder *decoder, const ew_stats *before)
    uint64_t ew_columns_rows(const ew_columns *columns, unsigned kind)
    ew_batch *ew_columns_take(ew_columns *columns, int all)
    const char *ew_columns_text(const ew_columns *columns, unsigned kind, unsigned field, size_t i, size_t *n)
    int ew_column_scale(const ew_column *column, size_t n, int least)
    size_t ew_column_int128(const ew_column *column, size_t n, int scale, uint64_t *out)
    void ew_column_double(const ew_column *column, size_t n, double *out)
    size_t ew_column_text_room(const ew_column *column, size_t n)
    void ew_column_text(const ew_column *column, const uint8_t *heap, size_t n, int32_t *offsets, uint8_t *out)


# ---- MARK: Lines ----

@cython.final
cdef class Lines:
    """Cuts the blocks of a capture into lines.

    Parameters
    ----------
    stamped : bool
        Lines may begin with the time of receipt; see ``ew_lines_new`` in ``execwire.h`` for its forms.
    strict : bool
        And those that do not are no messages: `Columns.feed` gives them back as ``other``.
    """

    cdef ew_lines *c

    def __cinit__(self, bint stamped=False, bint strict=False):
        self.c = ew_lines_new(2 if strict else stamped)
        if self.c == NULL:
            raise MemoryError

    def __dealloc__(self):
        ew_lines_free(self.c)

    cdef uint8_t *room(self, size_t n) except NULL:
        cdef uint8_t *at = ew_lines_room(self.c, n)
        if at == NULL:
            raise MemoryError
        return at

    def feed(self, block, bint last=False):
        """Append a block; with `last`, the capture ends with it."""
        cdef Py_buffer view
        cdef uint8_t *at
        PyObject_GetBuffer(block, &view, PyBUF_SIMPLE)
        try:
            at = self.room(view.len)
            with nogil:
                memcpy(at, view.buf, view.len)
            ew_lines_filled(self.c, view.len, last)
        finally:
            PyBuffer_Release(&view)

    def read(self, file, size_t n):
        """Append the next block of a file, of at most n bytes; how many there were, 0 at its end."""
        cdef uint8_t *at = self.room(n)
        view = PyMemoryView_FromMemory(<char *>at, n, PyBUF_WRITE)
        try:
            n = file(view) or 0
        finally:
            view.release()
        ew_lines_filled(self.c, n, False)
        return n

    def take(self):
        """The whole lines that are left of the block.

        Returns
        -------
        list of tuple
            (number, offset of the payload in the capture, ts_recv or 0, payload, whether the line end was there, whether
            the line had a stamp)
        """
        cdef ew_span span
        out = []
        while ew_lines_next(self.c, &span):
            out.append(line_of(&span))
        return out

    def next(self):
        """The next whole line of the block, as in `take`; None if there is none."""
        cdef ew_span span
        return line_of(&span) if ew_lines_next(self.c, &span) else None

    @property
    def blank(self):
        """How many blank lines there were."""
        return ew_lines_blank(self.c)

    def __reduce__(self):
        raise TypeError("lines cannot be pickled")


@cython.final
cdef class Unwrapper:
    """Takes payloads out of lines that are JSON objects with the payload under one key and its time under another."""

    cdef ew_unwrapper *c
    cdef bytes ts_key, payload_key

    def __cinit__(self, str ts_key not None, str payload_key not None):
        self.c = ew_unwrapper_new()
        if self.c == NULL:
            raise MemoryError
        self.ts_key = ts_key.encode()
        self.payload_key = payload_key.encode()

    def __dealloc__(self):
        ew_unwrapper_free(self.c)

    def unwrap(self, bytes line not None):
        """The time (ns, 0 if there is none), the payload, and where in the line it begins.

        Raises
        ------
        DecodeError
            If the line is no such object.
        """
        cdef ew_span span
        memset(&span, 0, sizeof(span))
        span.payload = <const uint8_t *>PyBytes_AS_STRING(line)
        span.n = len(line)
        if ew_unwrap(self.c, self.ts_key, self.payload_key, &span) != EW_OK:
            raise error_of(ew_unwrapper_error(self.c))
        return span.ts_recv, PyBytes_FromStringAndSize(<const char *>span.payload, span.n), span.offset

    def __reduce__(self):
        raise TypeError("unwrappers cannot be pickled")


cdef tuple line_of(const ew_span *span):
    payload = PyBytes_FromStringAndSize(<const char *>span.payload, span.n)
    return span.line, span.offset, span.ts_recv, payload, bool(span.ended), bool(span.stamped)


def stamp(bytes text not None):
    """The time at the beginning of a text, ns, and the length of the stamp with what separates it; (0, 0) if none."""
    cdef int64_t ts
    cdef size_t n = ew_stamp(<const uint8_t *>PyBytes_AS_STRING(text), len(text), &ts)
    return ts, n


# ---- MARK: Batches ----

cdef object plane(object owner, const void *at, size_t n, str dtype):
    """An array over memory of the owner, read-only."""
    if at == NULL:
        return None
    interface = {"data": (<size_t>at, True), "shape": (n,), "typestr": np.dtype(dtype).str, "version": 3}
    return np.asarray(Interface(owner, interface))


class Interface:
    """What numpy needs for an array over somebody's memory."""

    def __init__(self, owner, interface):
        self.owner = owner
        self.__array_interface__ = interface


@cython.final
cdef class Memory:
    """Owns a batch of C, until nothing is left that was made of it. Then its memory is used again."""

    cdef ew_batch *c
    cdef str kind
    cdef dict words

    def __dealloc__(self):
        ew_batch_free(self.c)

    def column(self, name):
        """A `Column` over this memory."""
        field = next(one for one in fields(self.kind) if one.name == name)
        cdef ew_column *col = &self.c.columns[<int>field.bit]
        cdef size_t n = self.c.n
        is_long = field.type == "text" and field.size == sizeof(ew_text128)
        return Column(
            field, n, plane(self, col.values, n, "u8" if is_long else VALUES[field.type]),
            tails=None if col.tails == NULL else plane(self, col.tails, n, "u8").view(TAIL),
            tail=(col.tail.hi, col.tail.exponent, col.tail.state, col.tail.flags),
            valid=plane(self, col.valid, (n + 63) // 64, "u8"),
            numeric=plane(self, col.numeric, (n + 63) // 64, "u8"),
            heap=plane(self, self.c.heap, self.c.n_heap, "u1"),
            words=field.words if field.type == "enum" else self.words.get((self.kind, name)),
        )


VALUES = {"decimal": "u8", "time": "i8", "u16": "u2", "bool": "u1", "enum": "u1", "id": "u8", "text": "u4"}
TAIL = np.dtype([("hi", "i4"), ("exponent", "i2"), ("state", "u1"), ("flags", "u1")])


cdef inline const void *address(object array):
    return <const void *><size_t>array.ctypes.data if array is not None else NULL


@cython.final
cdef class Column:
    """One field of some rows, in the form that ``ew_column`` in ``execwire.h`` describes.

    Attributes
    ----------
    field : Field
    n : int
        Rows.
    values, tails, valid, numeric, heap : numpy.ndarray or None
        The planes. `values` None: all rows are null. `valid` None: no row is. `tails` None: `tail` holds for all rows,
        with the sign of `values` as int64.
    tail : tuple of (int, int, int, int)
    words : sequence of str or None
        What the codes in `values` stand for, if they are codes.
    """

    cdef readonly object field, values, tails, valid, numeric, heap, words
    cdef readonly tuple tail
    cdef readonly Py_ssize_t n

    def __init__(self, field, n, values, *, tails=None, tail=(0, 0, 0, 0), valid=None, numeric=None, heap=None,
                 words=None):
        self.field = field
        self.n = n
        self.values = values
        self.tails = tails
        self.tail = tail
        self.valid = valid
        self.numeric = numeric
        self.heap = heap
        self.words = words

    cdef ew_column c(self):
        cdef ew_column c
        memset(&c, 0, sizeof(c))
        c.values = <void *>address(self.values)
        c.tails = <ew_tail *>address(self.tails)
        c.tail.hi, c.tail.exponent, c.tail.state, c.tail.flags = self.tail
        c.valid = <uint64_t *>address(self.valid)
        c.numeric = <uint64_t *>address(self.numeric)
        return c

    @property
    def null_count(self):
        """Rows without a value."""
        if self.values is None:
            return self.n
        return 0 if self.valid is None else self.n - int(np.count_nonzero(self.mask()))

    def mask(self):
        """Which rows have a value, as bools."""
        if self.values is None:
            return np.zeros(self.n, bool)
        if self.valid is None:
            return np.ones(self.n, bool)
        return np.unpackbits(self.valid.view("u1"), count=self.n, bitorder="little").view(bool)

    def is_number(self):
        """Of ids: which rows are numbers, as bools; the numbers are the `values`."""
        if self.values is None or self.numeric is None:
            return np.zeros(self.n, bool)
        return np.unpackbits(self.numeric.view("u1"), count=self.n, bitorder="little").view(bool)

    def scale(self, bint least=False):
        """Of decimals: the most places behind the point; with `least`, without trailing zeros."""
        cdef ew_column c = self.c()
        return ew_column_scale(&c, self.n, least)

    def int128(self, int scale):
        """Of decimals: ``value * 10**scale``, in two u64 words a row, low first; nulls are 0.

        Raises
        ------
        OverflowError
            If a value is no such number of at most 38 digits.
        """
        cdef ew_column c = self.c()
        out = np.empty((self.n, 2), "u8")
        cdef uint64_t *at = <uint64_t *>address(out)
        cdef size_t n = self.n, fit
        with nogil:
            fit = ew_column_int128(&c, n, scale, at)
        if fit < n:
            raise OverflowError(
                f"{self.field.name}: {self.exact(fit)} is no decimal of 38 digits, {scale} of them behind the point"
            )
        return out

    def exact(self, Py_ssize_t i):
        """Of decimals: the text of row i's value."""
        cdef char text[EW_DEC_TEXT]
        cdef ew_dec d
        d.lo = self.values[i]
        if self.tails is not None:
            d.hi, d.exponent, d.state, d.flags = self.tails[i].item()
        else:
            _, d.exponent, d.state, d.flags = self.tail
            d.hi = -1 if <int64_t>d.lo < 0 else 0
        return text[:ew_dec_text(d, text)].decode()

    def float64(self):
        """Of decimals: the nearest doubles; nulls are NaN."""
        cdef ew_column c = self.c()
        out = np.empty(self.n, "f8")
        cdef double *at = <double *>address(out)
        cdef size_t n = self.n
        with nogil:
            ew_column_double(&c, n, at)
        return out

    def all_tails(self):
        """Of decimals: the tails of all rows."""
        if self.tails is not None:
            return self.tails
        out = np.empty(self.n, TAIL)
        out[:] = self.tail
        if self.values is not None:
            out["hi"] = -(self.values >> 63).astype("i4")
        return out

    def text(self):
        """Of ids and texts that have no code: offsets (int32, one more than rows) and bytes; nulls are empty."""
        cdef ew_column c = self.c()
        cdef size_t n = self.n
        offsets = np.empty(n + 1, "i4")
        out = np.empty(ew_column_text_room(&c, n), "u1")
        cdef int32_t *at = <int32_t *>address(offsets)
        cdef uint8_t *bytes_at = <uint8_t *>address(out)
        cdef const uint8_t *heap = <const uint8_t *>address(self.heap)
        with nogil:
            ew_column_text(&c, heap, n, at, bytes_at)
        return offsets, out[:at[n]]

    def take(self, rows):
        """A column of these rows, by their numbers or as a mask."""
        def picked(bits):
            if bits is None:
                return None
            chosen = np.unpackbits(bits.view("u1"), count=self.n, bitorder="little")[rows]
            return bitmap(chosen)

        n = int(np.count_nonzero(rows)) if rows.dtype == bool else len(rows)
        if self.values is None:
            return Column(self.field, n, None, words=self.words)
        return Column(
            self.field, n, self.values[rows], tails=None if self.tails is None else self.tails[rows], tail=self.tail,
            valid=picked(self.valid), numeric=picked(self.numeric), heap=self.heap, words=self.words,
        )

    def renamed(self, field):
        """The same as another field."""
        return Column(field, self.n, self.values, tails=self.tails, tail=self.tail, valid=self.valid,
                      numeric=self.numeric, heap=self.heap, words=self.words)

    def __reduce__(self):
        raise TypeError("columns cannot be pickled; Arrow tables can")


def bitmap(flags):
    """Bools as words of 64 bits, the first in the lowest."""
    packed = np.packbits(flags, bitorder="little")
    words = np.zeros((len(flags) + 63) // 64, "u8")
    words.view("u1")[: len(packed)] = packed
    return words


@cython.final
cdef class Batch:
    """Some rows of one kind.

    Attributes
    ----------
    kind : str
    n : int
    columns : mapping of str to Column
        By field. Each is made when it is asked for.
    events : numpy.ndarray
        Per row, ``venue << 16 | event``; `names` tells what that is.
    flags : numpy.ndarray
        Per row: bits of `core.EXTRA` and so on.
    extra : list or None
        Per row, the JSON of what no field took, or None.
    """

    cdef readonly str kind
    cdef readonly Py_ssize_t n
    cdef readonly object columns, events, flags, extra
    cdef dict dialects

    def names(self, unsigned code):
        """The names of venue and event."""
        cdef Dialect dialect = self.dialects[venue_name(code >> 16)]
        return dialect.name, dialect.event(code & 0xffff)

    def distinct_events(self):
        """The different values in `events`, as a list, and per row (u4) the place in it."""
        cdef uint32_t *events = <uint32_t *>address(self.events)
        cdef size_t i, n = self.n
        cdef uint32_t last = 0, place = 0
        rows = np.empty(n, "u4")
        cdef uint32_t *out = <uint32_t *>address(rows)
        places = {}
        for i in range(n):
            if i == 0 or events[i] != last:
                last = events[i]
                place = places.setdefault(last, len(places))
            out[i] = place
        return list(places), rows

    def __reduce__(self):
        raise TypeError("batches cannot be pickled; Arrow tables can")


cdef Batch batch_of(ew_batch *c, dict dialects, dict words):
    cdef Memory memory = Memory.__new__(Memory)
    cdef Batch batch = Batch.__new__(Batch)
    memory.c = c
    memory.kind = batch.kind = KINDS[c.kind - 1]
    memory.words = words
    batch.n = c.n
    batch.dialects = dialects
    batch.columns = Lazily([field.name for field in fields(batch.kind)], memory.column)
    batch.flags = plane(memory, c.flags, c.n, "u1")
    batch.events = plane(memory, c.events, c.n, "u4")
    return batch


# ---- MARK: Decoding ----

@cython.final
cdef class Closer:
    """A decoder that looks again, for texts that are longer than their slots."""

    cdef ew_decoder *c
    cdef Dialect dialect

    def __cinit__(self, Dialect dialect not None):
        self.dialect = dialect
        self.c = ew_decoder_new(dialect.c)
        if self.c == NULL:
            raise MemoryError

    def __dealloc__(self):
        ew_decoder_free(self.c)


MOST_EXTRA = 1 << 30  # bytes of a batch


@cython.final
cdef class Columns:
    """Collects the records of many messages in batches of columns. For one thread at a time.

    Parameters
    ----------
    rows : int
        The most rows of a batch.
    """

    cdef ew_columns *c
    cdef dict dialects, words, closers, extras
    cdef Py_ssize_t extra_bytes  # that were added since the last batches

    def __cinit__(self, size_t rows=65536):
        if not 0 < rows <= 1 << 24:
            raise ValueError("rows must be above 0 and at most 2**24")
        self.c = ew_columns_new(rows)
        if self.c == NULL:
            raise MemoryError
        self.dialects = {}
        self.closers = {}
        self.words = {
            (kind, field.name): [] for kind in KINDS for field in fields(kind)
            if field.type == "text" and field.size < sizeof(ew_text128)
        }
        self.extras = {kind: [] for kind in KINDS}

    def __dealloc__(self):
        ew_columns_free(self.c)

    cdef State *state_of(self, Decoder decoder) except NULL:
        """The decoder's state, its views ended; the dialect's names are known from here on."""
        cdef Dialect dialect = decoder.dialect
        if decoder not in self.closers:
            self.closers[decoder] = Closer.__new__(Closer, dialect)
            self.dialects[dialect.name] = dialect
        return decoder.state

    def feed(self, Decoder decoder not None, Lines lines not None):
        """Decode the lines of a block, up to one about which somebody else must decide. Without the GIL.

        Returns
        -------
        None or tuple
            None at the block's end. Else what it is (``error``, ``other``, ``unsure``), the line as in `Lines.take`, and
            the `DecodeError` of an ``error``.
        """
        cdef State *s = self.state_of(decoder)
        cdef ew_decoder *closer = (<Closer>self.closers[decoder]).c
        cdef ew_span span
        cdef ew_fed fed
        s.generation += 1
        s.n = 0
        s.payload = NULL
        with nogil:
            fed = ew_columns_feed(self.c, s.decoder, closer, lines.c, &span)
        if fed == EW_FED_ALL:
            return None
        if fed == EW_FED_MEMORY:
            raise MemoryError
        if fed == EW_FED_ERROR:
            s.error = ew_last_error(s.decoder)[0]
            return "error", line_of(&span), decoder.error
        return ("other" if fed == EW_FED_OTHER else "unsure"), line_of(&span), None

    def decode(self, Decoder decoder not None, payload, int64_t ts_recv=0, *, bint accept=False, extra=None):
        """Decode one payload, anything that `Decoder.decode_into` takes, and add its records.

        Parameters
        ----------
        accept : bool
            Let `feed` add messages of this shape (and only of accepted ones) from now on.
        extra : callable
            Makes a text of a record's `extra`.

        Raises
        ------
        DecodeError
        """
        cdef State *s = self.state_of(decoder)
        cdef ew_decoder *closer = (<Closer>self.closers[decoder]).c
        cdef ew_stats before = ew_decoder_stats(s.decoder)[0]
        try:
            decoder.decode_into(payload, ts_recv)
        finally:
            ew_columns_count(self.c, s.decoder, &before)
        if accept and ew_columns_accept(self.c, ew_columns_shape(s.decoder, s.n, &before)):
            raise MemoryError
        if extra is not None:
            for record in decoder.records:
                rest = record.extra
                text = extra(rest) if rest else None
                self.extras[record.kind].append(text)
                self.extra_bytes += len(text) if text is not None else 0
        if ew_columns_append(self.c, s.decoder, s.n, closer, s.payload, s.n_payload) != EW_OK:
            raise MemoryError

    @property
    def stats(self):
        """What was counted for all messages: a `Stats`."""
        cdef const ew_stats *c = ew_columns_stats(self.c)
        return Stats(c.messages, c.records, c.errors, c.unknown_events, c.unknown_keys, c.unknown_enums,
                     c.unrepresentable)

    @property
    def rows(self):
        """How many rows were ever added, by kind."""
        return {kind: ew_columns_rows(self.c, i + 1) for i, kind in enumerate(KINDS)}

    @property
    def is_crowded(self):
        """Whether there is so much `extra` that `batches` takes everything: a column of texts holds 2 GiB at most."""
        return self.extra_bytes >= MOST_EXTRA

    def batches(self, bint all=False):
        """The batches that are full; with `all`, or where they are crowded, what there is."""
        cdef ew_batch *c
        cdef const char *text
        cdef size_t i, n
        cdef Batch batch
        cdef unsigned kind
        out = []
        all = all or self.is_crowded
        if all:
            self.extra_bytes = 0
        while True:
            c = ew_columns_take(self.c, all)
            if c == NULL:
                break
            kind = c.kind
            for field in fields(KINDS[kind - 1]):
                known = self.words.get((KINDS[kind - 1], field.name))
                if known is None:
                    continue
                i = len(known)
                while True:
                    text = ew_columns_text(self.c, kind, field.bit, i, &n)
                    if text == NULL:
                        break
                    known.append(text[:n].decode())
                    i += 1
            batch = batch_of(c, self.dialects, self.words)
            extras = self.extras[batch.kind]
            if extras:
                batch.extra = extras[:batch.n]
                del extras[:batch.n]
            out.append(batch)
        return out

    def __reduce__(self):
        raise TypeError("columns cannot be pickled")
