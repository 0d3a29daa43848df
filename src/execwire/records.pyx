# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# cython: embedsignature=True, binding=False
"""Records: what their fields are, how they read as Python objects, and what they leave of a payload.

Everything about the fields is read from the core's own tables when this module is imported, so that a field is
written down once, in ``csrc/record.c``.
"""
cimport cython
from cpython.buffer cimport PyBuffer_FillInfo
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.object cimport PyObject
from cpython.ref cimport Py_INCREF, Py_XDECREF
from cpython.unicode cimport PyUnicode_DecodeUTF8
from libc.stdint cimport int16_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcpy, memset

from execwire.gunzip cimport ew_gunzip, ew_gunzip_free
from execwire.header cimport *

from decimal import Decimal, InvalidOperation
from sys import intern

from execwire.basics import DecodeError, Field, Finding, struct_dtype


cdef extern from "Python.h":
    ctypedef struct PyTypeObject:
        PyObject *tp_dict
        Py_ssize_t tp_basicsize
        object (*tp_new)(PyTypeObject *type, object args, PyObject *named)
        PyObject *(*tp_alloc)(PyTypeObject *type, Py_ssize_t n) noexcept
        void (*tp_free)(void *) noexcept
    void PyType_Modified(PyTypeObject *type)
    PyTypeObject *Py_TYPE(object o)
    PyTypeObject *type_at "Py_TYPE" (void *o)
    PyObject *PyObject_Init(PyObject *o, PyTypeObject *type)
    void *PyObject_Malloc(size_t n)
    void PyObject_Free(void *p)
    PyObject *PyErr_NoMemory()


#: Changes whenever the layout of a record does.
ABI = EW_ABI

#: Bits of `Record.flags`.
EXTRA = EW_EXTRA
LONG_TEXT = EW_LONG_TEXT
UNKNOWN_ENUM = EW_UNKNOWN_ENUM
UNREPRESENTABLE = EW_UNREPRESENTABLE

#: The kinds of records.
KINDS = tuple([intern(ew_kind_name(k).decode()) for k in range(<int>EW_ORDER, <int>EW_KINDS)])


# ---- MARK: Errors ----

cdef tuple STATUS_WORDS = ("ok", "truncated", "syntax", "utf8", "depth", "limit", "gzip", "sbe", "table", "memory")


cdef object error_of(const ew_error *error):
    if error.status == EW_ERR_MEMORY:
        return MemoryError(error.message.decode())
    return DecodeError(error.message.decode(), error.position, STATUS_WORDS[<int>error.status])


# ---- MARK: Dialects ----

# A venue's number is the same in all decoders of the process.
cdef dict VENUE_NUMBERS = {}
cdef object DIALECTS = None  # table -> Dialect, as long as somebody uses it


@cython.final
cdef class Dialect:
    """A compiled dialect, shared by all decoders and records of a venue."""

    def __cinit__(self, str table):
        cdef ew_error error
        cdef bytes text = table.encode()
        name = "?"
        for line in table.split("\n"):
            if line.startswith("name\t"):
                name = line[5:]
        cdef uint16_t number = VENUE_NUMBERS.get(name, len(VENUE_NUMBERS) + 1)
        self.c = ew_dialect_parse(text, len(text), number, &error)
        if self.c == NULL:
            if error.status == EW_ERR_MEMORY:
                raise MemoryError
            raise ValueError(f"{name}: line {error.position} of the table: {error.message.decode()}")
        VENUE_NUMBERS[name] = number
        self.name = intern(name)
        self.events = {}
        self.idle = []

    def __dealloc__(self):
        ew_dialect_free(self.c)

    cdef str event(self, unsigned number):
        name = self.events.get(number)
        if name is None:
            name = self.events[number] = intern(ew_event_name(self.c, number).decode())
        return name

    cdef Explainer explain(self, bytes source):
        """An explainer of this payload that nobody else uses; give it back."""
        cdef Explainer explainer
        try:
            explainer = self.idle.pop()
        except IndexError:
            explainer = Explainer.__new__(Explainer)
            explainer.decoder = ew_decoder_new(self.c)
            if explainer.decoder == NULL:
                raise MemoryError
        if explainer.source is not source:
            explainer.run(source)
        return explainer

    cdef int give_back(self, Explainer explainer) except -1:
        # Asking a record for several things is the rule, so the last payload stays; a large one is not worth it.
        if len(explainer.source) > 1 << 16:
            explainer.source = None
        if len(self.idle) < 4:
            self.idle.append(explainer)
        return 0


cdef Dialect dialect_of(object venue):
    from execwire import venues  # needs this module's fields itself
    cdef str table = (venue if hasattr(venue, "table") else venues.load(venue)).table()
    dialect = DIALECTS.get(table)
    if dialect is None:
        try:
            dialect = Dialect.__new__(Dialect, table)
        except ValueError as error:
            raise venues.VenueError(str(error)) from None
        DIALECTS[table] = dialect
    return dialect


def venue_name(number):
    """The name of the venue with a number that a record's header has.

    Parameters
    ----------
    number : int
        Numbers are given as dialects are loaded, and hold within the process.

    Returns
    -------
    str
    """
    for name, its_number in VENUE_NUMBERS.items():
        if its_number == number:
            return name
    raise KeyError(number)


# ---- MARK: Looking closer ----

cdef object NOTHING = object()


@cython.final
@cython.no_gc
cdef class Explainer:
    """The tokens of one payload. What builds Python objects from them may set off anything, so never share one."""

    def __dealloc__(self):
        ew_decoder_free(self.decoder)

    cdef int run(self, bytes source) except -1:
        self.source = None
        if ew_explain(self.decoder, <const uint8_t *>PyBytes_AS_STRING(source), PyBytes_GET_SIZE(source), &self.n,
                      &self.tokens, &self.n_tokens) != EW_OK:
            raise error_of(ew_last_error(self.decoder))
        self.text = ew_payload(self.decoder, &self.n_text)
        self.source = source
        return 0

    cdef uint32_t token_of(self, size_t record, unsigned bit) noexcept:
        return ew_get_origin(self.decoder, record).field[bit] if self.n_tokens else EW_NO_TOKEN

    cdef bytes raw(self, uint32_t t):
        return PyBytes_FromStringAndSize(<const char *>self.text + self.tokens[t].begin,
                                         self.tokens[t].end - self.tokens[t].begin)

    cdef str string(self, uint32_t t):
        cdef const uint8_t *s = self.text + self.tokens[t].begin
        cdef size_t n = self.tokens[t].end - self.tokens[t].begin
        cdef uint8_t *out
        if not self.tokens[t].flags & EW_TOK_ESCAPED:
            return PyUnicode_DecodeUTF8(<const char *>s, n, NULL)
        out = <uint8_t *>malloc(n)
        if out == NULL:
            raise MemoryError
        try:
            return PyUnicode_DecodeUTF8(<const char *>out, ew_unescape(s, n, out), NULL)
        finally:
            free(out)

    cdef object leaf(self, uint32_t t):
        cdef int type = self.tokens[t].type
        if type == EW_TOK_STRING:
            return self.string(t)
        if type == EW_TOK_NUMBER:
            return number(self.raw(t).decode())
        return None if type == EW_TOK_NULL else type == EW_TOK_TRUE

    cdef object rest(self, uint32_t t, uint32_t own, bint whole):
        """The value without what records hold: taken leaves, rows but this one, and what that empties.

        NOTHING if that leaves nothing. With `whole`, the whole value.
        """
        cdef const ew_token *token = &self.tokens[t]
        cdef uint32_t i = t + 1
        cdef dict members
        cdef list items
        if not whole and ((token.flags & EW_TOK_ROW and t != own) or token.flags & EW_TOK_TAKEN):
            return NOTHING
        if token.type == EW_TOK_OBJECT:
            members = {}
            while i < token.next:
                key = self.string(i)
                value = self.rest(i + 1, own, whole)
                if value is not NOTHING:
                    members[key] = value
                else:
                    members.pop(key, None)  # of a repeated key, the last one counts
                i = self.tokens[i + 1].next
            return members if members or token.next == t + 1 else NOTHING
        if token.type == EW_TOK_ARRAY:
            items = []
            while i < token.next:
                value = self.rest(i, own, whole)
                if value is not NOTHING:
                    items.append(value)
                i = self.tokens[i].next
            return items if items or token.next == t + 1 else NOTHING
        return self.leaf(t)

    cdef dict extra(self, size_t record):
        cdef const ew_origin *origin
        cdef dict extra
        if not self.n_tokens:
            return {}
        origin = ew_get_origin(self.decoder, record)
        value = self.rest(origin.row, origin.row, False)
        extra = value if value is not NOTHING else {}
        if origin.frame != origin.row:
            value = self.rest(origin.frame, EW_NO_TOKEN, False)
            if value is not NOTHING:
                name = "envelope"
                while name in extra:
                    name = "_" + name
                extra[name] = value
        return extra

    cdef list findings(self):
        found = []
        enums = set()
        cdef size_t record, n_fields
        cdef unsigned bit
        cdef const ew_field *fields
        cdef const ew_origin *origin
        if not self.n_tokens:
            return found
        for record in range(self.n):
            fields = ew_fields(ew_get(self.decoder, record).h.kind, &n_fields)
            origin = ew_get_origin(self.decoder, record)
            for bit in range(n_fields):
                if fields[bit].type == EW_TYPE_ENUM:
                    enums.add(origin.field[bit])
        self.find(0, "", enums, found)
        return found

    cdef int find(self, uint32_t t, str path, set enums, list found) except -1:
        cdef const ew_token *token = &self.tokens[t]
        cdef uint32_t i = t + 1
        if token.flags & EW_TOK_ODD:
            found.append(Finding(path, "unknown_enum" if t in enums else "unrepresentable", self.rest(t, t, True)))
        if token.type == EW_TOK_OBJECT:
            while i < token.next:
                key = self.string(i)
                inner = f"{path}.{key}" if path else key
                if (self.tokens[i].flags | self.tokens[i + 1].flags) & EW_TOK_NEW_KEY:
                    found.append(Finding(inner, "new_key", self.rest(i + 1, i + 1, True)))
                else:
                    self.find(i + 1, inner, enums, found)
                i = self.tokens[i + 1].next
        elif token.type == EW_TOK_ARRAY:
            while i < token.next:
                self.find(i, path, enums, found)
                i = self.tokens[i].next
        return 0


cdef object number(str text):
    """A JSON number, exactly: an int, or a Decimal if it has a fraction or an exponent."""
    if not ("." in text or "e" in text or "E" in text):
        return int(text) if len(text) < 600 else int(Decimal(text))  # int(str) has a limit of digits
    try:
        return Decimal(text)
    except InvalidOperation:  # beyond any exponent
        return text


# ---- MARK: State of a decoder ----

@cython.final
@cython.no_gc
cdef class Arena:
    """Owns the state of a decoder, which its views need as long as they live."""

    def __cinit__(self, Dialect dialect):
        self.dialect = dialect
        self.s = <State *>calloc(1, sizeof(State))
        if self.s == NULL:
            raise MemoryError
        self.s.error.message = b""
        self.s.decoder = ew_decoder_new(dialect.c)
        if self.s.decoder == NULL:
            raise MemoryError
        ew_rehearse(self.s.decoder)

    def __dealloc__(self):
        if self.s != NULL:
            ew_decoder_free(self.s.decoder)
            ew_gunzip_free(<ew_gunzip *>self.s.gunzip)
            free(self.s.scratch)
            Py_XDECREF(self.s.kept)
            free(self.s)


cdef bytes source_of(State *s):
    """What the last message was decoded from, for looking closer."""
    if s.payload == NULL:
        raise ReferenceError("the payload of this record is gone: copy() keeps it in time")
    if s.source != KEPT:
        keep(s, PyBytes_FromStringAndSize(<const char *>s.payload, s.n_payload))
    return <bytes>s.kept


cdef bytes rendering_of(State *s):
    """The text that spans point into, if the decoder made it from an SBE frame; else None."""
    cdef size_t n
    cdef const uint8_t *text = ew_payload(s.decoder, &n)
    return None if text == s.payload else PyBytes_FromStringAndSize(<const char *>text, n)


# ---- MARK: Values ----

cdef struct Cached:
    ew_dec d
    PyObject *value

cdef enum:
    CACHE_BITS = 10
    CACHE_SIZE = 1 << 10

cdef Cached[CACHE_SIZE] DECIMALS  # an order's numbers come again with its next report; Decimals are immutable


cdef object decimal_of(ew_dec d):
    cdef char[EW_DEC_TEXT] text
    cdef uint64_t h = (d.lo ^ (<uint64_t><uint32_t>d.hi << 32) ^ <uint64_t>(<uint16_t>d.exponent)) * 0x9E3779B97F4A7C15u
    cdef Cached *cell = &DECIMALS[h >> (64 - CACHE_BITS)]
    cdef PyObject *old
    if (cell.value != NULL and cell.d.lo == d.lo and cell.d.hi == d.hi and cell.d.exponent == d.exponent
            and cell.d.flags == d.flags):
        return <object>cell.value
    value = Decimal(PyUnicode_DecodeUTF8(text, ew_dec_text(d, text), NULL))
    old = cell.value
    Py_INCREF(value)
    cell.value = <PyObject *>value
    cell.d = d
    Py_XDECREF(old)
    return value


cdef str plain_of(ew_dec d):
    cdef char[EW_DEC_TEXT] text
    return PyUnicode_DecodeUTF8(text, ew_dec_text(d, text), NULL)


cdef object mantissa_of(ew_dec d):
    cdef int64_t low = <int64_t>d.lo
    if d.hi == (0 if low >= 0 else -1):
        return low
    return (<object>d.hi << 64) | d.lo


cdef dict WORDS = {}  # vocabulary -> words by code
cdef tuple TYPE_WORDS = ("decimal", "time", "u16", "bool", "enum", "id", "text")
cdef tuple STATE_WORDS = ("absent", "null", "empty", "value", "unrepresentable")


@cython.final
@cython.no_gc
cdef class FieldAttribute:
    """A field as an attribute of its kind of record: one descriptor type for all of them."""

    cdef readonly str name
    cdef readonly object field  # Field
    cdef tuple words
    cdef PyTypeObject *owner  # null: all kinds have the field
    cdef uint64_t mask
    cdef uint16_t offset
    cdef uint16_t size
    cdef uint8_t type
    cdef uint8_t bit

    def __repr__(self):
        return f"<field {self.name!r} of execwire records>"

    @property
    def __name__(self):
        return self.name

    @property
    def __doc__(self):
        return f"{self.field.type}{', ' if self.field.unit else ''}{self.field.unit}"

    def __get__(self, instance, owner):
        if instance is None:
            return self
        if Py_TYPE(instance) != self.owner and (self.owner != NULL or not isinstance(instance, Record)):
            raise TypeError(f"descriptor {self.name!r} is for another kind of record")
        return self.value(<Record>instance, live(<Record>instance))

    def __set__(self, instance, value):
        raise AttributeError(f"records are read-only: {self.name!r}")

    cdef int state(self, const ew_record *r) noexcept:
        """ew_dec_state for any field."""
        cdef const char *at = <const char *>r + self.offset
        cdef int64_t time
        cdef uint8_t n
        if r.h.present & self.mask:
            if self.type == EW_TYPE_DEC:
                return (<const ew_dec *>at).state
            if self.type == EW_TYPE_ID:
                return EW_DEC_VALUE if (<const ew_id *>at).len else EW_DEC_EMPTY
            if self.type == EW_TYPE_TEXT:
                n = at[self.size - 1]
                return EW_DEC_VALUE if n else EW_DEC_EMPTY
            return EW_DEC_VALUE
        if not r.h.missing & self.mask:
            return EW_DEC_ABSENT
        if self.type == EW_TYPE_DEC:
            return (<const ew_dec *>at).state
        if self.type == EW_TYPE_TIME:
            memcpy(&time, at, sizeof(time))
            return EW_DEC_EMPTY if time == EW_TIME_EMPTY else EW_DEC_NULL
        if self.type == EW_TYPE_ENUM or self.type == EW_TYPE_BOOL:
            return EW_DEC_EMPTY if <uint8_t>at[0] == EW_CODE_EMPTY else EW_DEC_NULL
        return EW_DEC_NULL

    cdef object value(self, Record rec, const ew_record *r):
        cdef const char *at = <const char *>r + self.offset
        cdef int type = self.type
        if not r.h.present & self.mask:
            return None
        if type == EW_TYPE_DEC:
            return decimal_of((<const ew_dec *>at)[0]) if (<const ew_dec *>at).state == EW_DEC_VALUE else None
        if type == EW_TYPE_ENUM:
            return self.words[<uint8_t>at[0]]
        if type == EW_TYPE_TIME:
            return (<const int64_t *>at)[0]
        if type == EW_TYPE_BOOL:
            return at[0] != 0
        if type == EW_TYPE_U16:
            return (<const uint16_t *>at)[0]
        return self.text(rec, r) or None

    cdef str text(self, Record rec, const ew_record *r):
        """The whole text of a text or an id."""
        cdef const char *at = <const char *>r + self.offset
        cdef size_t n, room
        cdef Explainer explainer
        cdef uint32_t token
        if self.type == EW_TYPE_ID:
            n = (<const ew_id *>at).len
            at = <const char *>(<const ew_id *>at).s
            room = sizeof((<ew_id *>NULL).s)
        else:
            room = self.size - 1
            n = <uint8_t>at[room]
        if not r.h.flags & EW_LONG_TEXT or n + 4 <= room:  # a cut leaves less than a character of room
            return PyUnicode_DecodeUTF8(at, n, NULL)
        short = PyUnicode_DecodeUTF8(at, n, NULL)
        explainer = rec.look()
        try:
            token = explainer.token_of(rec.index, self.bit)
            if token == EW_NO_TOKEN:
                return short
            return explainer.string(token) if explainer.tokens[token].type == EW_TOK_STRING \
                else explainer.raw(token).decode()
        finally:
            rec.dialect.give_back(explainer)


# ---- MARK: Records ----

cdef list CLASSES = [None] * <int>EW_KINDS  # by kind
cdef list ATTRIBUTES = [()] * <int>EW_KINDS  # FieldAttributes in order of their bits, by kind
cdef list BY_NAME = [{} for _ in range(<int>EW_KINDS)]  # the same by name
# What these notices say may be a key or a token.
cdef frozenset DISCREET = frozenset(("request", "response", "listen_key", "listen_key_expired", "unknown"))


cdef inline const ew_record *live(Record self) except NULL:
    """The record's struct, if it is still there."""
    if self.arena is not None and self.generation != self.arena.s.generation:
        raise ReferenceError("the decoder has moved on to another message: copy() keeps a record")
    if self.r == NULL:
        raise ReferenceError("no record: records come from a Decoder")
    return self.r


cdef FieldAttribute attribute(const ew_record *r, name):
    found = (<dict>BY_NAME[r.h.kind]).get(name)
    if found is None:
        raise AttributeError(f"{KINDS[r.h.kind - 1]} records have no field {name!r}")
    return found


cdef const ew_dec *decimal_field(const ew_record *r, name) except? NULL:
    """Null if it has no value."""
    cdef FieldAttribute a = attribute(r, name)
    cdef const ew_dec *d = <const ew_dec *>(<const char *>r + a.offset)
    if a.type != EW_TYPE_DEC:
        raise TypeError(f"field {name!r} is no decimal")
    return d if r.h.present & a.mask and d.state == EW_DEC_VALUE else NULL


@cython.no_gc
cdef class Record:
    """One record: an order, fill, balance, position or notice. The base class of `Order` and so on.

    Every field of the kind is an attribute, converted when it is read: decimals as `decimal.Decimal`, times as int
    (ns since 1970 UTC), enums as words, ids and texts as str. A field that the message did not give, gave as null or
    as ``""`` is None; `state` tells these apart.

    `Decoder.decode` gives records that stand on their own. `Decoder.decode_into` gives views.

    .. DANGER::
        A view reads the decoder's own memory. It is good until that decoder decodes again: then reading it raises
        ReferenceError, until the decoder hands the same object out again for another message. `copy` keeps a record.
    """

    def __init__(self):
        raise TypeError("records come from a Decoder")

    cdef Explainer look(self):
        return self.dialect.explain(self.source if self.arena is None else source_of(self.arena.s))

    @property
    def kind(self):
        """``order``, ``fill``, ``balance``, ``position`` or ``notice``."""
        return KINDS[live(self).h.kind - 1]

    @property
    def venue(self):
        """The name of the dialect."""
        live(self)
        return self.dialect.name

    @property
    def event(self):
        """The exchange's own name of the event, ``""`` if the dialect does not know it."""
        return self.dialect.event(live(self).h.event)

    @property
    def flags(self):
        """Bits: `core.EXTRA`, `core.LONG_TEXT`, `core.UNKNOWN_ENUM`, `core.UNREPRESENTABLE`."""
        return live(self).h.flags

    @property
    def span(self):
        """Where the record's own object stands in `payload`: (begin, end)."""
        cdef const ew_record *r = live(self)
        return r.h.begin, r.h.end

    @property
    def payload(self):
        """The whole payload: inflated if it was a gzip frame, as JSON if it was an SBE frame."""
        live(self)
        if self.arena is None:
            return self.source if self.rendering is None else self.rendering
        source = source_of(self.arena.s)
        rendering = rendering_of(self.arena.s)
        return source if rendering is None else rendering

    @property
    def extra(self):
        """What no field holds exactly, nested as on the wire.

        The members of the record's own object that are left over. If something is left outside of it too, that is
        under ``envelope``. Numbers are int or Decimal. A new dict every time.
        """
        live(self)
        cdef Explainer explainer = self.look()
        try:
            return explainer.extra(self.index)
        finally:
            self.dialect.give_back(explainer)

    def float(self, name):
        """A decimal as the nearest float.

        Parameters
        ----------
        name : str
            A decimal field.

        Returns
        -------
        float or None
        """
        cdef const ew_dec *d = decimal_field(live(self), name)
        return None if d == NULL else ew_dec_double(d[0])

    def scaled(self, name, int scale):
        """A decimal times ten to the power of `scale`, as an int.

        Parameters
        ----------
        name : str
            A decimal field.
        scale : int
            8 gives units of 1e-8.

        Returns
        -------
        int or None

        Raises
        ------
        ValueError
            If that is not a whole number.
        """
        cdef const ew_dec *d = decimal_field(live(self), name)
        cdef int64_t out
        if not -1000 <= scale <= 1000:
            raise ValueError(f"scale {scale} is not within -1000 and 1000")
        if d == NULL:
            return None
        if ew_dec_scaled(d[0], scale, &out) == 0:
            return out
        mantissa, exponent = mantissa_of(d[0]), d.exponent + scale
        if exponent >= 0:
            return mantissa * 10 ** exponent
        whole, rest = divmod(mantissa, 10 ** -exponent)
        if rest:
            raise ValueError(f"{name} {plain_of(d[0])} is no whole number of 1e{-scale}")
        return whole

    def unscaled(self, name):
        """A decimal as (mantissa, exponent): mantissa * 10 ** exponent.

        Parameters
        ----------
        name : str
            A decimal field.

        Returns
        -------
        tuple of int, or None
        """
        cdef const ew_dec *d = decimal_field(live(self), name)
        return None if d == NULL else (mantissa_of(d[0]), d.exponent)

    def number(self, name):
        """An id as an int, where its text is a plain one below 2**64.

        Parameters
        ----------
        name : str
            An id field.

        Returns
        -------
        int or None
        """
        cdef const ew_record *r = live(self)
        cdef FieldAttribute a = attribute(r, name)
        cdef const ew_id *id = <const ew_id *>(<const char *>r + a.offset)
        if a.type != EW_TYPE_ID:
            raise TypeError(f"field {name!r} is no id")
        return id.number if r.h.present & a.mask and id.is_number else None

    def state(self, name):
        """What the message said about a field.

        Parameters
        ----------
        name : str

        Returns
        -------
        str
            ``absent``, ``null``, ``empty`` (``""``), ``value``, or ``unrepresentable``: no number, or one that does
            not fit.
        """
        cdef const ew_record *r = live(self)
        return STATE_WORDS[attribute(r, name).state(r)]

    def is_null(self, name):
        """Whether the message gave a field as null.

        Parameters
        ----------
        name : str

        Returns
        -------
        bool
        """
        cdef const ew_record *r = live(self)
        return attribute(r, name).state(r) == EW_DEC_NULL

    def raw(self, name):
        """The bytes of `payload` that a field was read from: a string's without the quotes, escapes as they are.

        Parameters
        ----------
        name : str

        Returns
        -------
        bytes or None
            None if the field does not come from the payload.
        """
        cdef FieldAttribute a = attribute(live(self), name)
        cdef Explainer explainer = self.look()
        try:
            token = explainer.token_of(self.index, a.bit)
            return None if token == EW_NO_TOKEN else explainer.raw(token)
        finally:
            self.dialect.give_back(explainer)

    def to_dict(self, extra=False):
        """The record as a dict that is fit for JSON, and exact.

        Parameters
        ----------
        extra : bool
            Whether `extra`, if there is any, goes in as its last item.

        Returns
        -------
        dict
            ``kind``, ``venue``, ``event``, then the fields that the message gave: decimals as str in plain notation,
            times as int (ns), null as None. Decimals that cannot be represented are in `extra` only.
        """
        cdef const ew_record *r = live(self)
        cdef FieldAttribute a
        cdef int state
        cdef dict out = {"kind": self.kind, "venue": self.dialect.name, "event": self.dialect.event(r.h.event)}
        for a in <tuple>ATTRIBUTES[r.h.kind]:
            r = live(self)  # building objects may run anything
            state = a.state(r)
            if state == EW_DEC_VALUE:
                if a.type == EW_TYPE_DEC:
                    out[a.name] = plain_of((<const ew_dec *>(<const char *>r + a.offset))[0])
                else:
                    out[a.name] = a.value(self, r)
            elif state == EW_DEC_NULL:
                out[a.name] = None
            elif state == EW_DEC_EMPTY:
                out[a.name] = ""
        if extra:
            more = self.extra
            if more:
                out["extra"] = more
        return out

    def copy(self):
        """A record that stands on its own: a view's copy, an owned record itself.

        Returns
        -------
        Record
            Of the same class.
        """
        cdef const ew_record *r = live(self)
        if self.arena is None:
            return self
        source = source_of(self.arena.s)
        return owned(self.dialect, r, self.index, source, rendering_of(self.arena.s))

    def __copy__(self):
        return self.copy()

    def __deepcopy__(self, memo):
        return self.copy()

    def __reduce__(self):
        raise TypeError("records cannot be pickled: use to_dict(), or the payload")

    def __eq__(self, other):
        if not isinstance(other, Record):
            return NotImplemented
        return self is other or self.to_dict() == other.to_dict()

    def __repr__(self):
        cdef const ew_record *r
        cdef FieldAttribute a
        name = type(self).__name__
        try:
            r = live(self)
        except ReferenceError:
            return f"<{name}: gone>"
        cdef bint discreet = r.h.kind == EW_NOTICE and self.code in DISCREET
        parts = [f"venue={self.venue!r}", f"event={self.event!r}"]
        for a in <tuple>ATTRIBUTES[r.h.kind]:
            r = live(self)
            if a.state(r) != EW_DEC_VALUE or a.name == "request_id" or (discreet and a.name in ("message", "about")):
                continue
            if a.type == EW_TYPE_DEC:
                parts.append(f"{a.name}={plain_of((<const ew_dec *>(<const char *>r + a.offset))[0])}")
            else:
                parts.append(f"{a.name}={a.value(self, r)!r}")
        return f"{name}({', '.join(parts)})"

    def __buffer__(self, int flags):
        return memoryview(self)

    def __getbuffer__(self, Py_buffer *buffer, int flags):
        # A view's memory changes under whoever holds the buffer, and may move: they get a copy of it.
        cdef const ew_record *r = live(self)
        cdef size_t n = ew_kind_size(r.h.kind)
        cdef void *copy = NULL
        if self.arena is not None:
            copy = malloc(n)
            if copy == NULL:
                raise MemoryError
            memcpy(copy, r, n)
        try:
            PyBuffer_FillInfo(buffer, self, copy if copy != NULL else <void *>r, n, True, flags)
        except BufferError:
            free(copy)
            raise
        buffer.internal = copy

    def __releasebuffer__(self, Py_buffer *buffer):
        free(buffer.internal)


@cython.final
@cython.no_gc
cdef class Order(Record):
    """An order, as a report of a change or of its state shows it."""

    cdef ew_order own


@cython.final
@cython.no_gc
cdef class Fill(Record):
    """A trade of an order of ours, reported on its own."""

    cdef ew_fill own


@cython.final
@cython.no_gc
cdef class Balance(Record):
    """The balance of an asset, or a change of it."""

    cdef ew_balance own


@cython.final
@cython.no_gc
cdef class Position(Record):
    """A position in a derivative."""

    cdef ew_position own


@cython.final
@cython.no_gc
cdef class Notice(Record):
    """Anything else: answers, errors, heartbeats, and events that the dialect does not know."""

    cdef ew_notice own


# Cython's freelists are not for classes with a base. This one, besides, clears only what is not written over anyway.
cdef enum:
    POOLED = 32

cdef struct Pool:
    PyTypeObject *type
    size_t own  # where its objects have their struct
    size_t size  # of the struct
    int n
    void *free[POOLED]

cdef Pool[8] POOLS  # by kind


cdef Pool *pool_of(PyTypeObject *type) noexcept:
    cdef Pool *pool = &POOLS[<int>EW_ORDER]
    while pool.type != type:
        pool += 1
    return pool


cdef PyObject *pool_alloc(PyTypeObject *type, Py_ssize_t n) noexcept:
    cdef Pool *pool = pool_of(type)
    cdef void *p
    if pool.n:
        pool.n -= 1
        p = pool.free[pool.n]
    else:
        p = PyObject_Malloc(type.tp_basicsize)
        if p == NULL:
            return PyErr_NoMemory()
    memset(p, 0, (<PyTypeObject *>Record).tp_basicsize)
    return PyObject_Init(<PyObject *>p, type)


cdef void pool_free(void *p) noexcept:
    cdef Pool *pool = pool_of(type_at(p))
    if pool.n < POOLED:
        pool.free[pool.n] = p
        pool.n += 1
    else:
        PyObject_Free(p)


cdef Record owned(Dialect dialect, const ew_record *r, uint32_t index, bytes source, bytes rendering):
    """A record with a struct of its own."""
    cdef Pool *pool = &POOLS[r.h.kind]
    cdef Record rec = <Record>pool.type.tp_new(pool.type, (), NULL)
    # By memcpy, which does not know the size: for a struct compilers write string instructions, slower than the rest.
    rec.r = <const ew_record *>memcpy(<char *><void *>rec + pool.own, r, pool.size)
    rec.dialect = dialect
    rec.source = source
    if rendering is not None:
        rec.rendering = rendering
    rec.index = index
    return rec


cdef Record view(Arena arena, unsigned kind):
    cls = CLASSES[kind]
    cdef Record rec = cls.__new__(cls)
    rec.arena = arena
    rec.dialect = arena.dialect
    return rec


# ---- MARK: Layout ----

cdef dict FIELDS = {}
cdef dict DTYPES = {}


def fields(kind):
    """The fields of a kind of record, in the order of their bits.

    Parameters
    ----------
    kind : str
        ``order``, ``fill``, ``balance``, ``position`` or ``notice``.

    Returns
    -------
    tuple of Field
    """
    try:
        return FIELDS[kind]
    except KeyError:
        raise ValueError(f"no kind {kind!r}: one of {', '.join(KINDS)}") from None


@cython.binding(True)  # since 3.13, inspect gives functions without arguments a self otherwise
def vocabularies():
    """The words that enums and bools of records can have.

    Returns
    -------
    dict
        Vocabulary -> tuple of words by code.
    """
    return dict(WORDS)


def dtype(kind):
    """The layout of a kind's struct, for ``numpy.frombuffer(record, dtype(record.kind))``.

    Parameters
    ----------
    kind : str
        ``order``, ``fill``, ``balance``, ``position`` or ``notice``.

    Returns
    -------
    numpy.dtype
        Structured, with the members and padding of the C struct. Decimals are structs of ``lo``, ``hi``,
        ``exponent``, ``state`` and ``flags``; texts of ``s`` and ``len``; ids of ``number``, ``s``, ``len`` and
        ``is_number``. Which of the fields mean anything is in ``present`` and ``missing``, and of ``s`` the first
        ``len`` bytes do.
    """
    cdef ew_header h
    cdef char *base = <char *>&h
    if kind not in DTYPES:
        members = {
            "present": ("u8", <char *>&h.present - base),
            "missing": ("u8", <char *>&h.missing - base),
            "begin": ("u4", <char *>&h.begin - base),
            "end": ("u4", <char *>&h.end - base),
            "event": ("u2", <char *>&h.event - base),
            "venue": ("u2", <char *>&h.venue - base),
            "kind": ("u1", <char *>&h.kind - base),
            "flags": ("u1", <char *>&h.flags - base),
        }
        DTYPES[kind] = struct_dtype(members, fields(kind), ew_kind_size(<int>KINDS.index(kind) + 1))
    return DTYPES[kind]


cdef FieldAttribute field_attribute(const ew_field *f, unsigned bit):
    cdef FieldAttribute a = FieldAttribute.__new__(FieldAttribute)
    a.name = intern(f.name.decode())
    vocabulary = intern(f.vocabulary.decode())
    if vocabulary and vocabulary not in WORDS:
        WORDS[vocabulary] = tuple([intern(f.words[w].decode()) for w in range(f.n_words)])
    a.words = WORDS.get(vocabulary, ())
    a.field = Field(a.name, TYPE_WORDS[f.type], f.unit.decode(), vocabulary, a.words, f.offset, f.size, bit)
    a.mask = <uint64_t>1 << bit
    a.offset = f.offset
    a.size = f.size
    a.type = f.type
    a.bit = <uint8_t>bit
    return a


cdef int build_kind(unsigned kind, cls, size_t size) except -1:
    """Put the kind's fields into its class as attributes, those of the header into the base class."""
    cdef size_t n
    cdef unsigned i
    cdef const ew_field *f = ew_fields(kind, &n)
    cdef FieldAttribute a
    if size != ew_kind_size(kind):
        raise ImportError(f"execwire: {ew_kind_name(kind).decode()} has two sizes: rebuild the package")
    CLASSES[kind] = cls
    attributes = []
    for i in range(n):
        home = Record if f[i].offset < sizeof(ew_header) else cls
        namespace = <dict>(<PyTypeObject *>home).tp_dict
        a = namespace.get(f[i].name.decode())
        if a is None:
            a = field_attribute(&f[i], i)
            if hasattr(home, a.name):
                raise ImportError(f"execwire: {home.__name__}.{a.name} is taken")
            namespace[a.name] = a
            if home is cls:
                a.owner = <PyTypeObject *>cls
        BY_NAME[kind][a.name] = a
        attributes.append(a)
    ATTRIBUTES[kind] = tuple(attributes)
    FIELDS[KINDS[kind - 1]] = tuple([one.field for one in attributes])
    PyType_Modified(<PyTypeObject *>Record)  # and its subclasses
    PyType_Modified(<PyTypeObject *>cls)
    POOLS[kind].type = <PyTypeObject *>cls
    POOLS[kind].own = (<PyTypeObject *>cls).tp_basicsize - size  # the last that an object has
    POOLS[kind].size = size
    (<PyTypeObject *>cls).tp_alloc = pool_alloc
    (<PyTypeObject *>cls).tp_free = pool_free
    return 0


cdef int start() except -1:
    global DIALECTS
    from weakref import WeakValueDictionary
    DIALECTS = WeakValueDictionary()
    build_kind(EW_ORDER, Order, sizeof(ew_order))
    build_kind(EW_FILL, Fill, sizeof(ew_fill))
    build_kind(EW_BALANCE, Balance, sizeof(ew_balance))
    build_kind(EW_POSITION, Position, sizeof(ew_position))
    build_kind(EW_NOTICE, Notice, sizeof(ew_notice))
    return 0


start()
