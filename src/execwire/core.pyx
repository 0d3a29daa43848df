# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# cython: embedsignature=True, binding=False
"""Decoders: from a payload to records.

What a record is, records.pyx tells; its names are here too.
"""
cimport cython
from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_CheckExact, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.list cimport PyList_New, PyList_SET_ITEM
from cpython.object cimport PyObject
from cpython.ref cimport Py_INCREF, Py_XDECREF
from libc.stdint cimport UINT32_MAX, int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport realloc
from libc.string cimport memcpy
from posix.dlfcn cimport RTLD_LOCAL, RTLD_NOW, dlopen, dlsym

from execwire.gunzip cimport *
from execwire.header cimport *
from execwire.records cimport (
    BORROWED, KEPT, OWNED, Arena, Dialect, Explainer, Record, State, dialect_of, error_of, keep, owned, rendering_of,
    source_of, view,
)

import os

from zlib_ng import zlib_ng

from execwire.basics import DecodeError, Field, Finding, InflateError, Stats, get_include, inflate as inflate_slowly
from execwire.records import (
    ABI, EXTRA, KINDS, LONG_TEXT, UNKNOWN_ENUM, UNREPRESENTABLE, Balance, Fill, Notice, Order, Position, dtype, fields,
    venue_name, vocabularies,
)


cdef extern from "Python.h":
    Py_ssize_t PyNumber_AsSsize_t(object o, PyObject *error) except? -1
    PyObject *new_bytes "PyBytes_FromStringAndSize" (const char *text, Py_ssize_t n) except NULL
    char *text_of "PyBytes_AS_STRING" (PyObject *o) noexcept
    int _PyBytes_Resize(PyObject **o, Py_ssize_t n) except -1


cdef extern from *:
    """
    #ifndef EXECWIRE_VERSION
    #define EXECWIRE_VERSION "unknown"
    #endif
    """
    const char *EXECWIRE_VERSION


__version__ = EXECWIRE_VERSION.decode()

globals()["Record"] = Record  # a cimported class is no name of this module by itself


cdef inline ew_status fail(ew_error *error, ew_status status, const char *message, size_t position) noexcept nogil:
    error.status = status
    error.message = message
    error.position = position
    return status


# ---- MARK: gzip ----

ctypedef const char *(*version_function)() noexcept
ctypedef int32_t (*copy_function)(ew_zstream *to, ew_zstream *stream) noexcept nogil

cdef ew_inflater INFLATER
cdef copy_function COPY_INFLATER
cdef bint HAVE_INFLATER = False

cdef enum:  # zlib's and zlib-ng's numbers
    SYNC_FLUSH = 2
    GZIP_ONLY = 15 + 16
    STREAM_END = 1
    MEM_ERROR = -4
    BUF_ERROR = -5
    FLUSHED = 1 << 16  # bytes at a time


cdef bint find_inflater() except -1:
    """Take zlib-ng's functions from the extension module of its wheel, which exports them.

    The functions are not part of what that package promises. So they are tried before they are trusted, and without
    them its Python API does the work, with one more object per frame.
    """
    cdef bytes file = os.fsencode(zlib_ng.__file__)
    cdef void *library = dlopen(file, RTLD_NOW | RTLD_LOCAL)  # loaded already: never closed
    cdef const char *version
    if library == NULL:
        return False
    cdef version_function get_version = <version_function>dlsym(library, b"zlibng_version")
    INFLATER.init2 = <ew_zcall_with>dlsym(library, b"zng_inflateInit2")
    INFLATER.reset = <ew_zcall>dlsym(library, b"zng_inflateReset")
    INFLATER.inflate = <ew_zcall_with>dlsym(library, b"zng_inflate")
    INFLATER.end = <ew_zcall>dlsym(library, b"zng_inflateEnd")
    global COPY_INFLATER
    COPY_INFLATER = <copy_function>dlsym(library, b"zng_inflateCopy")
    if (get_version == NULL or INFLATER.init2 == NULL or INFLATER.reset == NULL or INFLATER.inflate == NULL
            or INFLATER.end == NULL or COPY_INFLATER == NULL):
        return False
    version = get_version()
    if version[0] != c"2" or version[1] != c".":  # the layout of the stream is that of zlib-ng 2
        return False

    cdef bytes text = b"".join([b'{"n":%d,"e":"probe"}' % i for i in range(3000)])
    cdef bytes frame = zlib_ng.compress(text, wbits=31)
    cdef ew_gunzip *gunzip = ew_gunzip_new(&INFLATER, 2 * len(text))
    cdef const uint8_t *out
    cdef size_t n
    cdef ew_error error
    if gunzip == NULL:
        raise MemoryError
    try:
        for _ in range(2):
            if ew_gunzip_frame(gunzip, <const uint8_t *>PyBytes_AS_STRING(frame), len(frame), &out, &n, &error):
                return False
            if PyBytes_FromStringAndSize(<const char *>out, n) != text:
                return False
            if ew_gunzip_frame(gunzip, <const uint8_t *>PyBytes_AS_STRING(frame), len(frame) - 1, &out, &n,
                               &error) != EW_ERR_GZIP:
                return False
    finally:
        ew_gunzip_free(gunzip)
    return True


def _inflate_in_c(on=None):
    """Whether zlib-ng's functions inflate gzip. False switches to its Python API, for tests."""
    global HAVE_INFLATER
    if on is not None:
        HAVE_INFLATER = on and find_inflater()
    return HAVE_INFLATER


@cython.final
@cython.no_gc
cdef class GzipMember:
    """A member of a gzip file, inflated piece by piece, as by ``zlib_ng.decompressobj(31)``.

    That one collects a piece in a buffer that it enlarges again and again, which takes an eighth of the time.
    """

    cdef ew_zstream stream
    cdef bint ready
    cdef readonly bint eof
    cdef readonly bytes unused_data, unconsumed_tail

    def __cinit__(self):
        self.unused_data = self.unconsumed_tail = b""

    def __dealloc__(self):
        if self.ready:
            INFLATER.end(&self.stream)

    cdef bytes piece(self, uint32_t most):
        """What the stream's input gives, at most so many bytes."""
        cdef PyObject *out = new_bytes(NULL, most)
        cdef int32_t status
        self.stream.next_out = <uint8_t *>text_of(out)
        self.stream.avail_out = most
        with nogil:
            status = INFLATER.inflate(&self.stream, SYNC_FLUSH)
        _PyBytes_Resize(&out, most - self.stream.avail_out)
        given = <bytes>out
        Py_XDECREF(out)
        if status < 0 and status != BUF_ERROR:  # which says that there was nothing to do
            self.stream.avail_in = 0
            raise MemoryError if status == MEM_ERROR else zlib_ng.error("corrupt gzip data")
        self.eof = status == STREAM_END
        return given

    def decompress(self, bytes data not None, uint32_t max_length=0):
        """What the data gives, at most so many bytes unless that is 0.

        What is left of it is in `unconsumed_tail` then, what follows the member in `unused_data`.
        """
        cdef size_t n = len(data)
        if self.eof:
            self.unused_data += data
            return b""
        if not self.ready:
            if INFLATER.init2(&self.stream, GZIP_ONLY):
                raise MemoryError
            self.ready = True
        self.stream.next_in = <const uint8_t *>PyBytes_AS_STRING(data)
        self.stream.avail_in = <uint32_t>min(n, UINT32_MAX)
        out = self.piece(max_length) if max_length else self.flush()
        rest = data[self.stream.next_in - <const uint8_t *>PyBytes_AS_STRING(data):]
        self.stream.avail_in = 0
        self.unused_data, self.unconsumed_tail = (rest, b"") if self.eof else (b"", rest)
        return out

    def flush(self):
        """What has been inflated and did not fit into what was returned."""
        out = []
        while self.ready and not self.eof:
            out.append(self.piece(FLUSHED))
            if self.stream.avail_out:
                break
        return b"".join(out)

    def copy(self):
        """Another one in the same state."""
        cdef GzipMember other = GzipMember.__new__(GzipMember)
        if self.ready:
            if COPY_INFLATER(&other.stream, &self.stream):
                raise MemoryError
            other.ready = True
        other.eof = self.eof
        other.unused_data = self.unused_data
        other.unconsumed_tail = self.unconsumed_tail
        return other

    def __reduce__(self):
        raise TypeError("a stream cannot be pickled")


def gzip_member():
    """What inflates a member of a gzip file: has the methods and attributes of what ``zlib_ng.decompressobj`` returns."""
    return GzipMember.__new__(GzipMember) if HAVE_INFLATER else zlib_ng.decompressobj(GZIP_ONLY)


cdef int inflate_with_gil(State *s, const uint8_t **p, size_t *n) noexcept with gil:
    try:
        text = inflate_slowly(PyBytes_FromStringAndSize(<const char *>p[0], n[0]), s.max_inflated)
        keep(s, text)
        p[0] = <const uint8_t *>PyBytes_AS_STRING(text)
        n[0] = PyBytes_GET_SIZE(text)
        return EW_OK
    except InflateError as error:
        if error.limit:
            return fail(&s.error, EW_ERR_LIMIT, "gzip frame inflates beyond the limit", error.position)
        return fail(&s.error, EW_ERR_GZIP, "bytes after the last gzip member" if error.trailing else
                    "truncated gzip frame" if error.truncated else "corrupt gzip frame", error.position)
    except MemoryError:
        return fail(&s.error, EW_ERR_MEMORY, "out of memory", 0)


cdef ew_status inflate(State *s, const uint8_t **p, size_t *n) noexcept nogil:
    if not HAVE_INFLATER:
        return <ew_status>inflate_with_gil(s, p, n)
    if s.gunzip == NULL:
        s.gunzip = ew_gunzip_new(&INFLATER, s.max_inflated)
        if s.gunzip == NULL:
            return fail(&s.error, EW_ERR_MEMORY, "out of memory", 0)
    s.source = OWNED
    return ew_gunzip_frame(<ew_gunzip *>s.gunzip, p[0], n[0], p, n, &s.error)


cdef inline ew_status run(State *s, const uint8_t *p, size_t n, int64_t ts_recv, bint padded) noexcept nogil:
    """Decode. Where the payload comes from has been written down before."""
    cdef ew_status status
    s.generation += 1
    s.n = 0
    s.payload = NULL
    if ew_is_gzip(p, n):
        padded = False
        status = inflate(s, &p, &n)
        if status != EW_OK:
            s.bad_frames += 1
            return status
    if padded:
        status = ew_decode_padded(s.decoder, p, n, ts_recv, &s.n)
    else:
        status = ew_decode(s.decoder, p, n, ts_recv, &s.n)
    if status != EW_OK:
        s.n = 0
        s.error = ew_last_error(s.decoder)[0]
        return status
    s.error.status = EW_OK
    s.payload = p
    s.n_payload = n
    return EW_OK


cdef ew_status run_buffer(State *s, object payload, int64_t ts_recv) except? EW_ERR_MEMORY:
    """Decode anything that has a buffer, from a copy."""
    cdef Py_buffer view
    cdef uint8_t *scratch
    cdef size_t n
    PyObject_GetBuffer(payload, &view, PyBUF_SIMPLE)
    n = view.len
    try:
        if n > EW_MAX_PAYLOAD:
            s.generation += 1
            s.n = 0
            s.payload = NULL
            return fail(&s.error, EW_ERR_LIMIT, "the payload is too long", EW_MAX_PAYLOAD)
        if n > s.n_scratch or s.scratch == NULL:
            scratch = <uint8_t *>realloc(s.scratch, n + 512 + EW_PADDING)
            if scratch == NULL:
                raise MemoryError
            s.scratch = scratch
            s.n_scratch = n + 512
        memcpy(s.scratch, view.buf, n)
    finally:
        PyBuffer_Release(&view)
    s.source = OWNED
    return run(s, s.scratch, n, ts_recv, True)


cdef object own_all(State *s, Dialect dialect, bytes source, bytes rendering):
    """All records of the last message, owned."""
    cdef uint64_t generation = s.generation
    cdef size_t i, n = s.n
    cdef list out = PyList_New(n)
    if s.generation != generation:  # the collector ran, and somebody's finalizer decoded with us
        raise RuntimeError("the decoder was used while it decoded")
    for i in range(n):
        rec = owned(dialect, ew_get(s.decoder, i), <uint32_t>i, source, rendering)
        Py_INCREF(rec)
        PyList_SET_ITEM(out, i, rec)
    return out


cdef enum:
    VIEWS_KEPT = 64


@cython.final
@cython.no_gc
cdef class Records:
    """The records of a decoder's last message, as a sequence of views that are used again and again.

    .. DANGER::
        ``records[i]`` is good until the decoder decodes again; see `Record`.
    """

    cdef Arena arena
    cdef list by_kind  # views by kind, then by index
    cdef list firsts  # the view of the first of a kind, by kind

    def __cinit__(self, Arena arena):
        self.arena = arena
        self.by_kind = [[None] * VIEWS_KEPT for _ in range(<int>EW_KINDS)]
        self.firsts = [view(arena, kind) if kind else None for kind in range(<int>EW_KINDS)]

    cdef Record at(self, size_t i):
        cdef State *s = self.arena.s
        cdef const ew_record *r = ew_get(s.decoder, i)
        cdef list views = self.by_kind[r.h.kind]
        cdef Record rec = views[i] if i < VIEWS_KEPT else None
        if rec is None:
            rec = view(self.arena, r.h.kind)
            if i < VIEWS_KEPT:
                views[i] = rec
        rec.r = r
        rec.generation = s.generation
        rec.index = <uint32_t>i
        return rec

    cdef Record first(self, unsigned kind):
        cdef State *s = self.arena.s
        cdef const ew_record *r
        cdef Record rec
        cdef size_t i
        for i in range(s.n):
            r = ew_get(s.decoder, i)
            if r.h.kind == kind:
                rec = <Record>self.firsts[kind]
                rec.r = r
                rec.generation = s.generation
                rec.index = <uint32_t>i
                return rec
        return None

    def __len__(self):
        return self.arena.s.n

    def __getitem__(self, index):
        cdef Py_ssize_t n = self.arena.s.n, i
        if isinstance(index, slice):
            return [self.at(k) for k in range(*index.indices(n))]
        i = PyNumber_AsSsize_t(index, <PyObject *>IndexError)
        if i < 0:
            i += n
        if not 0 <= i < n:
            raise IndexError("record index out of range")
        return self.at(i)

    def __iter__(self):
        return iter([self.at(i) for i in range(self.arena.s.n)])

    def __repr__(self):
        return f"<{self.arena.s.n} records>"

    def __reduce__(self):
        raise TypeError("views cannot be pickled")


# ---- MARK: Decoder ----

cdef class Decoder:
    """Decodes the payloads of one venue. For one thread at a time: make one for each.

    Parameters
    ----------
    venue : str or path-like or Venue
        The name of a built-in venue, the path of a TOML file, or what `venues.load` returned.
    max_inflated : int
        How many bytes a gzip frame may inflate to.
    """

    def __cinit__(self, venue, *, max_inflated=16 << 20):
        if not 0 < max_inflated <= EW_MAX_PAYLOAD:
            raise ValueError(f"max_inflated must be above 0 and at most {EW_MAX_PAYLOAD}")
        self.dialect = dialect_of(venue)
        arena = Arena.__new__(Arena, self.dialect)
        self.state = (<Arena>arena).s
        self.state.max_inflated = max_inflated
        self.arena = arena
        self.views = Records.__new__(Records, arena)

    def __init__(self, venue, *, max_inflated=16 << 20):
        pass

    # For Cython; see core.pxd.

    cdef ew_status feed(self, const uint8_t *p, size_t n, int64_t ts_recv, size_t *n_records) noexcept nogil:
        cdef ew_status status
        self.state.source = BORROWED
        status = run(self.state, p, n, ts_recv, False)
        n_records[0] = self.state.n
        return status

    cdef ew_status feed_padded(self, const uint8_t *p, size_t n, int64_t ts_recv, size_t *n_records) noexcept nogil:
        cdef ew_status status
        self.state.source = BORROWED
        status = run(self.state, p, n, ts_recv, True)
        n_records[0] = self.state.n
        return status

    cdef const ew_record *get(self, size_t i) noexcept nogil:
        return ew_get(self.state.decoder, i) if i < self.state.n else NULL

    cdef const ew_error *failure(self) noexcept nogil:
        return &self.state.error

    cdef void forget(self) noexcept nogil:
        if self.state.source == BORROWED:
            self.state.payload = NULL

    cdef const char *event_name(self, const ew_record *record) noexcept nogil:
        return ew_event_name((<Arena>self.arena).dialect.c, record.h.event)

    # For Python.

    # Py_ssize_t is as wide here, and takes no float: a time in seconds would be cut to an integer without a word.

    def decode_into(self, payload, Py_ssize_t ts_recv=0):
        """Decode a payload into the decoder's own memory, to be read through `records`, `order`, `fill` and so on.

        The hot path: no Python object is made.

        Parameters
        ----------
        payload : bytes-like
            One message: JSON, a text prompt, a gzip or an SBE frame.
        ts_recv : int
            When it was received, ns since 1970 UTC; 0 if not known.

        Returns
        -------
        int
            The number of records.

        Raises
        ------
        DecodeError
            If the payload is malformed. The decoder stays usable, and has no records.

        .. DANGER::
            The next payload replaces the records. See `Record`.
        """
        cdef State *s = self.state
        cdef ew_status status
        cdef PyObject *old
        if PyBytes_CheckExact(payload):
            old = s.kept
            Py_INCREF(payload)
            s.kept = <PyObject *>payload
            s.source = KEPT
            Py_XDECREF(old)
            status = run(s, <const uint8_t *>PyBytes_AS_STRING(payload), PyBytes_GET_SIZE(payload), ts_recv, False)
        else:
            status = run_buffer(s, payload, ts_recv)
        if status != EW_OK:
            raise error_of(&s.error)
        return s.n

    def decode(self, payload, Py_ssize_t ts_recv=0):
        """Decode a payload into records of their own.

        Parameters
        ----------
        payload : bytes-like
            One message: JSON, a text prompt, a gzip or an SBE frame. Anything but bytes is copied.
        ts_recv : int
            When it was received, ns since 1970 UTC; 0 if not known.

        Returns
        -------
        list of Record

        Raises
        ------
        DecodeError
            If the payload is malformed.
        """
        cdef State *s = self.state
        if not PyBytes_CheckExact(payload):
            payload = copied(payload)
        keep(s, payload)
        if run(s, <const uint8_t *>PyBytes_AS_STRING(payload), PyBytes_GET_SIZE(payload), ts_recv, False) != EW_OK:
            raise error_of(&s.error)
        return own_all(s, <Dialect>self.dialect, source_of(s), rendering_of(s))

    def train(self, payload):
        """Learn from a payload at once, as if many like it had been decoded already.

        Decoders learn by themselves from what they decode. One that was trained on some messages of every kind, of a
        capture for example, is at its best from the first live one on. No result depends on it. Ends the decoder's
        views; counts in `stats`.

        Parameters
        ----------
        payload : bytes-like

        Raises
        ------
        DecodeError
        """
        cdef State *s = self.state
        self.decode_into(payload)
        if s.payload != NULL and ew_train(s.decoder, s.payload, s.n_payload) != EW_OK:
            raise error_of(ew_last_error(s.decoder))
        s.n = 0

    cpdef void defer(self) noexcept:
        """Let what messages teach wait for `study` from now on.

        A message that teaches something takes 20 to 60 us, where others take less than one. Live sessions put that off
        until a read's messages are with their handlers.
        """
        ew_defer(self.state.decoder)

    cpdef bint study(self) noexcept:
        """Learn what was put off; tells whether there was anything. Call it where no message waits.

        Ends the decoder's views.
        """
        if not ew_study(self.state.decoder):
            return False
        self.state.n = 0
        return True

    def explain(self, payload):
        """Decode a payload slowly, and tell what in it the dialect does not expect. Ends the decoder's views.

        Parameters
        ----------
        payload : bytes-like

        Returns
        -------
        records : list of Record
        findings : list of Finding
            ``path`` from the frame, dotted, through arrays without an index; ``what`` is ``new_key``,
            ``unknown_enum`` or ``unrepresentable``; ``value`` as in `Record.extra`.

        Raises
        ------
        DecodeError
        """
        cdef Dialect dialect = self.dialect
        cdef Explainer explainer
        records = self.decode(payload)
        if not records:
            return records, []
        explainer = dialect.explain((<Record>records[0]).source)
        try:
            return records, explainer.findings()
        finally:
            dialect.give_back(explainer)

    @property
    def records(self):
        """The records of the last message, as a sequence of views. See `Record` for how long they are good."""
        return self.views

    @property
    def order(self):
        """A view of the last message's first order, or None."""
        return (<Records>self.views).first(EW_ORDER)

    @property
    def fill(self):
        """A view of the last message's first fill, or None."""
        return (<Records>self.views).first(EW_FILL)

    @property
    def balance(self):
        """A view of the last message's first balance, or None."""
        return (<Records>self.views).first(EW_BALANCE)

    @property
    def position(self):
        """A view of the last message's first position, or None."""
        return (<Records>self.views).first(EW_POSITION)

    @property
    def notice(self):
        """A view of the last message's first notice, or None."""
        return (<Records>self.views).first(EW_NOTICE)

    @property
    def venue(self):
        """The name of the dialect."""
        return (<Dialect>self.dialect).name

    @property
    def stats(self):
        """What was counted since the decoder was made: a `Stats`."""
        cdef const ew_stats *c = ew_decoder_stats(self.state.decoder)
        cdef uint64_t bad = self.state.bad_frames
        return Stats(c.messages + bad, c.records, c.errors + bad, c.unknown_events, c.unknown_keys, c.unknown_enums,
                     c.unrepresentable)

    @property
    def error(self):
        """Why the last payload could not be decoded, as an exception; None if it could."""
        return error_of(&self.state.error) if self.state.error.status != EW_OK else None

    def __repr__(self):
        return f"<{type(self).__module__}.{type(self).__qualname__} {self.venue!r}>"

    def __reduce__(self):
        raise TypeError("decoders cannot be pickled: make one where it is needed")


cdef bytes copied(object payload):
    cdef Py_buffer view
    PyObject_GetBuffer(payload, &view, PyBUF_SIMPLE)
    try:
        return PyBytes_FromStringAndSize(<const char *>view.buf, view.len)
    finally:
        PyBuffer_Release(&view)


cdef double dec_double(ew_dec d) noexcept nogil:
    return ew_dec_double(d)


cdef int dec_scaled(ew_dec d, int scale, int64_t *out) noexcept nogil:
    return ew_dec_scaled(d, scale, out)


cdef size_t dec_text(ew_dec d, char *out) noexcept nogil:
    return ew_dec_text(d, out)


HAVE_INFLATER = find_inflater()
