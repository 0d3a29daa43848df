# cython: language_level=3
"""csrc/gunzip.h as Cython sees it. Apart from header.pxd, because the header is not installed."""
from libc.stdint cimport int32_t, uint8_t, uint32_t

from execwire.header cimport ew_error, ew_status


cdef extern from "gunzip.h" nogil:
    ctypedef struct ew_zstream:
        const uint8_t *next_in
        uint32_t avail_in
        uint8_t *next_out
        uint32_t avail_out
    ctypedef int32_t (*ew_zcall)(ew_zstream *stream) noexcept nogil
    ctypedef int32_t (*ew_zcall_with)(ew_zstream *stream, int32_t argument) noexcept nogil
    ctypedef struct ew_inflater:
        ew_zcall_with init2
        ew_zcall reset
        ew_zcall_with inflate
        ew_zcall end
    ctypedef struct ew_gunzip:
        pass
    ew_gunzip *ew_gunzip_new(const ew_inflater *inflater, size_t max_out)
    void ew_gunzip_free(ew_gunzip *gunzip)
    ew_status ew_gunzip_frame(ew_gunzip *gunzip, const uint8_t *frame, size_t n, const uint8_t **out, size_t *n_out,
                              ew_error *error)
    int ew_is_gzip(const uint8_t *p, size_t n)
