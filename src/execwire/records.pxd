# cython: language_level=3
"""What core.pyx uses of records.pyx. Not public: core.pxd is."""
from cpython.object cimport PyObject
from cpython.ref cimport Py_INCREF, Py_XDECREF
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from execwire.header cimport *


cdef enum Source:
    KEPT  # the bytes object in `kept`
    OWNED  # memory of the decoder, until the next message
    BORROWED  # somebody else's memory


cdef struct State:
    ew_decoder *decoder
    size_t n
    uint64_t generation  # of the records: counts messages
    Source source
    const uint8_t *payload  # as ew_decode got it; null once forgotten
    size_t n_payload
    PyObject *kept
    uint8_t *scratch  # payloads that are no bytes are copied: their owner may change them under a view
    size_t n_scratch
    void *gunzip  # an ew_gunzip
    size_t max_inflated
    uint64_t bad_frames  # gzip frames that never came to the decoder
    ew_error error


cdef inline void keep(State *s, object payload) noexcept:
    cdef PyObject *old = s.kept
    Py_INCREF(payload)
    s.kept = <PyObject *>payload
    s.source = KEPT
    Py_XDECREF(old)


cdef class Explainer:
    cdef ew_decoder *decoder
    cdef bytes source
    cdef const uint8_t *text
    cdef size_t n_text
    cdef const ew_token *tokens
    cdef size_t n_tokens
    cdef size_t n

    cdef int run(self, bytes source) except -1
    cdef uint32_t token_of(self, size_t record, unsigned bit) noexcept
    cdef bytes raw(self, uint32_t t)
    cdef str string(self, uint32_t t)
    cdef object leaf(self, uint32_t t)
    cdef object rest(self, uint32_t t, uint32_t own, bint whole)
    cdef dict extra(self, size_t record)
    cdef list findings(self)
    cdef int find(self, uint32_t t, str path, set enums, list found) except -1


cdef class Dialect:
    cdef object __weakref__
    cdef ew_dialect *c
    cdef str name
    cdef dict events
    cdef list idle  # Explainers

    cdef str event(self, unsigned number)
    cdef Explainer explain(self, bytes source)
    cdef int give_back(self, Explainer explainer) except -1


cdef class Arena:
    cdef State *s
    cdef Dialect dialect


cdef class Record:
    cdef const ew_record *r
    cdef Arena arena  # of a view, else None
    cdef Dialect dialect
    cdef bytes source  # of an owned record: what it was decoded from
    cdef bytes rendering  # of an owned record from an SBE frame: the text that its span points into
    cdef uint64_t generation
    cdef uint32_t index

    cdef Explainer look(self)


cdef object error_of(const ew_error *error)
cdef Dialect dialect_of(object venue)
cdef bytes source_of(State *s)
cdef bytes rendering_of(State *s)
cdef Record owned(Dialect dialect, const ew_record *r, uint32_t index, bytes source, bytes rendering)
cdef Record view(Arena arena, unsigned kind)
