# cython: language_level=3, boundscheck=False, wraparound=False
"""What an engine would compile for itself: a handler that gets structs, and picows alone, to compare with."""
from libc.stdint cimport uint8_t, uint64_t
from picows.picows cimport WSFrame, WSListener, WSMsgType, WSTransport

cimport cython
from execwire.core cimport Decoder
from execwire.delivery cimport Handler, Pump
from execwire.header cimport EW_OK, EW_ORDER, ew_record


@cython.final
cdef class Orders(Handler):
    """Counts orders and adds up their ids."""

    cdef readonly uint64_t orders, ids

    cdef int on_struct(self, Decoder decoder, const ew_record *record, size_t index) except -1:
        if record.h.kind == EW_ORDER:
            self.orders += 1
            self.ids += record.order.order_id.number
        return 0


@cython.final
cdef class Bare(WSListener):
    """Counts frames and bytes, and decodes nothing."""

    cdef readonly uint64_t frames, bytes
    cdef public object done

    cpdef on_ws_connected(self, WSTransport transport):
        pass

    cpdef on_ws_frame(self, WSTransport transport, WSFrame frame):
        if frame.msg_type == WSMsgType.CLOSE:
            transport.send_close()
            transport.disconnect()
            return
        self.frames += 1
        self.bytes += frame.payload_size

    cpdef on_ws_disconnected(self, WSTransport transport):
        self.done.set_result(None)


def decode_alone(Decoder decoder, list payloads, int passes):
    """The decoder by itself, over payloads in memory."""
    cdef bytes payload
    cdef size_t n, total = 0
    cdef const ew_record *record
    cdef int i
    for i in range(passes):
        for payload in payloads:
            if decoder.feed(<const uint8_t *><const char *>payload, len(payload), 1, &n) != EW_OK:
                raise ValueError
            record = decoder.get(0)
            total += record.order.order_id.number & 1
            decoder.forget()
    return total


def pump_alone(Pump pump, list payloads, int passes):
    """The pump and its handler, over payloads in memory."""
    cdef bytes payload
    cdef int i
    cdef size_t k
    for i in range(passes):
        k = 0
        for payload in payloads:
            pump.message(<const uint8_t *><const char *>payload, len(payload), False, False)
            k += 1
            if k % 64 == 0:
                pump.end_of_read()
