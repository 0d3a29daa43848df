# cython: language_level=3
from libc.stdint cimport uint8_t
from picows.picows cimport WSCloseCode, WSFrame, WSListener, WSTransport

from execwire.delivery cimport Pump


cdef class Listener(WSListener):
    cdef readonly Pump pump
    cdef readonly bint closed
    cdef readonly unsigned long long late
    cdef uint8_t *parts
    cdef size_t n_parts, room, max_message
    cdef bint in_parts, parts_binary

    cpdef on_ws_connected(self, WSTransport transport)
    cpdef on_ws_frame(self, WSTransport transport, WSFrame frame)
    cpdef on_ws_disconnected(self, WSTransport transport)
    cdef int other(self, WSTransport transport, WSFrame frame) except -1
    cdef int part(self, WSTransport transport, WSFrame frame) except -1
    cdef int refuse(self, WSTransport transport, WSCloseCode code, str reason) except -1
