# cython: language_level=3
"""The public side of execwire for Cython: read records as C structs, without a Python object in between.

``cimport execwire.core`` needs the header at compile time (``execwire.get_include()``) and nothing at link time: what
can be called from here goes through this module. Compare ``EW_ABI`` with ``execwire.core.ABI`` at import if the
module may meet another build of execwire than it was compiled with.

.. DANGER::
    Records belong to the decoder. ``get`` gives a pointer that is valid until the next call that decodes.
"""
from libc.stdint cimport int64_t, uint8_t

from execwire.header cimport *
from execwire.records cimport State


# Exported by this module: callable from others that cimport it.
cdef double dec_double(ew_dec d) noexcept nogil
cdef int dec_scaled(ew_dec d, int scale, int64_t *out) noexcept nogil
cdef size_t dec_text(ew_dec d, char *out) noexcept nogil


cdef class Decoder:
    cdef State *state
    cdef object arena
    cdef object dialect
    cdef object views
    cdef int delivering  # handlers are being given its records: nothing else may be fed to it

    # Decode one payload; *n_records records can then be read with get. The payload must stay where it is for as long
    # as extra, raw, payload or long texts of the records' views are read from Python, or until `forget`.
    cdef ew_status feed(self, const uint8_t *p, size_t n, int64_t ts_recv, size_t *n_records) noexcept nogil
    # The same where another EW_PADDING bytes can be read behind the payload, whatever they hold: a little faster.
    cdef ew_status feed_padded(self, const uint8_t *p, size_t n, int64_t ts_recv, size_t *n_records) noexcept nogil
    cdef const ew_record *get(self, size_t i) noexcept nogil
    # Why the last feed failed.
    cdef const ew_error *failure(self) noexcept nogil
    # The payload that was fed is about to go: what is read from it afterwards raises instead.
    cdef void forget(self) noexcept nogil
    cdef const char *event_name(self, const ew_record *record) noexcept nogil
    # What messages teach waits for `study`.
    cpdef void defer(self) noexcept
    cpdef bint study(self) noexcept
