# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# cython: embedsignature=True, binding=False
"""The listener on picows: a frame's payload goes to the decoder where it lies, and nothing is made in between.

picows promises no stable layout of its classes, and reading a frame through another layout than the one compiled for
reads foreign memory. So importing this module fails unless the installed picows declares its classes as the one it
was built with did and frames read right; `execwire.sessions.transport` then takes `execwire.plain_stream`.
"""
cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.stdint cimport uint8_t
from libc.stdlib cimport free, realloc
from libc.string cimport memcmp, memcpy
from picows.picows cimport WSCloseCode, WSFrame, WSListener, WSMsgType, WSTransport

from execwire.delivery cimport Pump
from execwire.header cimport EW_PADDING

from execwire.picows_layout import installed_layout

from picows.picows import _make_test_ws_frame


cdef extern from *:
    """
    #ifndef EXECWIRE_PICOWS_LAYOUT
    #define EXECWIRE_PICOWS_LAYOUT ""
    #endif
    """
    const char *EXECWIRE_PICOWS_LAYOUT

#: Hash of the declarations of picows' classes that this module was built with.
LAYOUT = EXECWIRE_PICOWS_LAYOUT.decode()

cdef enum:
    KEPT_PARTS = 1 << 16  # bytes of a fragment buffer that stays for the next message


@cython.final
cdef class Listener(WSListener):
    """Gives the messages of one connection to a `Pump`.

    Parameters
    ----------
    pump : execwire.delivery.Pump
        Its owner is also told ``on_open(transport)`` and ``on_close(code, reason)``; code 0: without a close frame.
    max_message : int
        Bytes that the fragments of one message may have together.
    """

    def __init__(self, Pump pump, size_t max_message):
        self.pump = pump
        self.max_message = max_message
        pump.decoder.defer()

    def __dealloc__(self):
        free(self.parts)

    cpdef on_ws_connected(self, WSTransport transport):
        transport.request = transport.response = None  # kilobytes that nobody asks for again
        self.pump.transport = transport
        self.pump.owner.on_open(transport)

    cpdef on_ws_frame(self, WSTransport transport, WSFrame frame):
        # Nothing may be raised into picows: the remaining frames of the read come all the same.
        if self.closed:
            self.late += 1  # picows goes on with what it has read, also after disconnect()
            return
        if frame.fin and not frame.rsv1 and not self.in_parts and (
                frame.msg_type == WSMsgType.TEXT or frame.msg_type == WSMsgType.BINARY):
            # What follows in the buffer is padding enough for the decoder, where there is enough of it.
            self.pump.message(<const uint8_t *>frame.payload_ptr, <size_t>frame.payload_size,
                              frame.msg_type == WSMsgType.BINARY, frame.tail_size >= EW_PADDING)
        else:
            try:
                self.other(transport, frame)
            except BaseException as error:
                self.closed = True
                self.pump.owner.on_handler_stop(error)
        if frame.last_in_buffer or self.closed:
            self.pump.end_of_read()
            self.pump.decoder.study()

    cpdef on_ws_disconnected(self, WSTransport transport):
        handshake = transport.close_handshake
        received = handshake.recv if handshake is not None else None
        sent = handshake.sent if handshake is not None else None
        self.closed = True
        try:
            self.pump.end_of_read()  # a protocol error in a later frame of a read keeps its end from us
        finally:
            self.pump.transport = None
            if received is not None:
                self.pump.owner.on_close(int(received.code), received.reason or "")
            elif sent is not None:
                self.pump.owner.on_close(int(sent.code), sent.reason or "closed by us")
            else:
                self.pump.owner.on_close(0, "")

    cpdef pause_writing(self):
        pass

    cpdef resume_writing(self):
        pass

    cdef int other(self, WSTransport transport, WSFrame frame) except -1:
        """Everything but a whole, plain message."""
        cdef WSMsgType kind = frame.msg_type
        if kind != WSMsgType.CLOSE:  # which tells when it was read, not until when there was a stream
            self.pump.saw_frame(kind == WSMsgType.PING or kind == WSMsgType.PONG)
        if kind == WSMsgType.PING:
            # picows could answer by itself, but would not show us the frame, which may be the last of a read.
            transport.send_pong(frame.get_payload_as_bytes())
        elif kind == WSMsgType.PONG:
            self.pump.saw_pong(frame.get_payload_as_bytes())
        elif kind == WSMsgType.CLOSE:
            # picows leaves the answer to us, and the connection open.
            self.closed = True
            code = frame.get_close_code()
            transport.send_close(code if code else WSCloseCode.OK, None)  # picows would send its 0, which is none
            transport.disconnect()
        elif frame.rsv1 or frame.rsv2 or frame.rsv3:
            self.refuse(transport, WSCloseCode.PROTOCOL_ERROR, "a compressed frame, but no extension was agreed on")
        else:
            self.part(transport, frame)
        return 0

    cdef int part(self, WSTransport transport, WSFrame frame) except -1:
        """A fragment."""
        cdef size_t n = <size_t>frame.payload_size
        cdef uint8_t *parts
        if (frame.msg_type == WSMsgType.CONTINUATION) != self.in_parts:
            return self.refuse(transport, WSCloseCode.PROTOCOL_ERROR, "a fragment out of sequence")
        if not self.in_parts:
            self.in_parts = True
            self.parts_binary = frame.msg_type == WSMsgType.BINARY
            self.n_parts = 0
        if self.n_parts + n > self.max_message:
            return self.refuse(transport, WSCloseCode.MESSAGE_TOO_BIG, "a fragmented message is too long")
        if self.n_parts + n > self.room:
            parts = <uint8_t *>realloc(self.parts, 2 * (self.n_parts + n))
            if parts == NULL:
                raise MemoryError
            self.parts = parts
            self.room = 2 * (self.n_parts + n)
        memcpy(self.parts + self.n_parts, frame.payload_ptr, n)
        self.n_parts += n
        if frame.fin:
            self.in_parts = False
            self.pump.message(self.parts, self.n_parts, self.parts_binary, False)
            if self.room > KEPT_PARTS:
                free(self.parts)
                self.parts = NULL
                self.room = 0
        return 0

    cdef int refuse(self, WSTransport transport, WSCloseCode code, str reason) except -1:
        self.closed = True
        self.pump.owner.on_refused(reason)
        transport.send_close(code, reason.encode())
        transport.disconnect()
        return 0


# ---- MARK: Guard ----

cdef bint reads_right() except -1:
    """Whether frames that picows itself makes read through our declaration of them as they are."""
    cdef WSFrame frame
    cdef bytes payload
    cdef WSMsgType kind
    for kind, payload, fin, rsv1 in (
        (WSMsgType.TEXT, b'{"e":"probe","n":1}', True, False),
        (WSMsgType.BINARY, bytes(range(256)) * 3, False, True),
        (WSMsgType.PONG, b"", True, False),
    ):
        frame = _make_test_ws_frame(kind, payload, fin, rsv1)
        if (frame.payload_size != PyBytes_GET_SIZE(payload) or frame.msg_type != kind or frame.fin != fin
                or frame.rsv1 != rsv1 or not frame.last_in_buffer):
            return False
        if frame.payload_size and memcmp(frame.payload_ptr, PyBytes_AS_STRING(payload), frame.payload_size) != 0:
            return False
    return True


def check_layout(found):
    """Raise ImportError unless picows' classes are declared as they were when this module was built.

    Parameters
    ----------
    found : str
        Hash of the installed declarations; see `execwire.picows_layout`.
    """
    if found != LAYOUT:
        raise ImportError(f"the installed picows has another layout ({found}) than execwire was built for ({LAYOUT})")


check_layout(installed_layout())
if not reads_right():
    raise ImportError("frames of the installed picows do not read as declared")
