# cython: language_level=3
"""The way of a frame to the code that wants it, for Cython: subclass `Handler` and get records as C structs.

.. DANGER::
    A record that `on_struct` gets is good until it returns.
"""
from cpython.object cimport PyObject
from libc.stdint cimport int64_t, uint8_t, uint64_t

from execwire.core cimport Decoder
from execwire.header cimport *
from execwire.records cimport Record


cdef class Handler:
    cdef object __weakref__
    cdef Handler next_touched
    cdef bint touched
    cdef bint wants_records
    cdef bint wants_batches
    cdef list batch

    # A record of `decoder`'s message, the one at `index`. Raising is counted; the next record comes nevertheless.
    cdef int on_struct(self, Decoder decoder, const ew_record *record, size_t index) except -1
    # The records that came with one read from the socket are through.
    cdef int on_read_end(self) except -1


# The record as a Python object of its own.
cdef Record own(Decoder decoder, const ew_record *record, size_t index)


cdef struct Counts:
    uint64_t messages, bytes, records, notices, batches
    uint64_t decode_errors, handler_errors, duplicates, undelivered, out_of_order, late, heartbeats


cdef class Tape:
    cdef uint8_t *p
    cdef size_t n, size

    cdef uint8_t *room(self, size_t n) except NULL
    cdef int line(self, int64_t ts, const uint8_t *p, size_t n) except -1
    cdef int frame(self, int64_t ts, const uint8_t *p, size_t n, bint binary) except -1


cdef class Pump:
    cdef object __weakref__
    cdef Decoder decoder
    cdef Decoder session_decoder
    cdef Handler handler
    cdef readonly object owner
    cdef public object transport
    cdef public object recorder
    cdef Counts c

    cdef PyObject **routes  # by subscription id; null until the first
    cdef dict routed  # keeps the handlers of routes alive

    cdef Handler touched
    cdef int64_t now  # when the current read was received, ns; 0 between reads
    cdef int64_t last_read  # when the last one was
    cdef int64_t last_event  # the venue's time of the last record
    cdef uint64_t rx  # frames of any sort
    cdef readonly bint stopped  # a handler asked for the end
    cdef bint telling
    cdef readonly bint paused
    cdef bint was_paused  # what comes may be old
    cdef public bytes echo  # payload of a ping whose answer the owner waits for
    cdef public bint shut  # given up: what still comes is counted and dropped
    cdef list untold
    cdef list held
    cdef object pulse  # that looks after it
    cdef object overlap
    cdef object reorder
    cdef Tape tape  # what the recorder gets at the end of the read
    cdef bint recording
    cdef public bint untimed  # frames have the time that `feed` is told, if any

    # Looked after by Pulse. Times are seconds of the loop's clock, 0 is never.
    cdef double beat_period, beat_due, reply_within, reply_due, silence, last_rx, data_silence, last_data, expected
    cdef uint64_t rx_seen, data_seen
    cdef bytes beat_prefix, beat_suffix

    # `padded`: EW_PADDING bytes behind the payload can be read, whatever they hold.
    # Neither raises: what a handler raises is counted, and everything else is told to the owner (`on_handler_stop`).
    cdef void message(self, const uint8_t *p, size_t n, bint binary, bint padded) noexcept
    cdef void end_of_read(self) noexcept
    cdef void unusual(self, const uint8_t *p, size_t n, bint binary) noexcept
    cdef void answered(self, ew_status status, size_t n_records) noexcept
    cdef int end_touched(self) except -1
    cdef int decode(self, const uint8_t *p, size_t n, int64_t ts_recv, bint deliver, bint control) except -1
    cdef int control(self, size_t n) except -1
    cdef void deliver(self, Decoder decoder, size_t n) noexcept
    cdef int hand_over(self, Decoder decoder, size_t n, size_t *i) except -1
    cdef void failed(self, error) noexcept
    cdef int undecodable(self, int64_t ts_recv, bint deliver, bint control) except -1
    cdef int store(self, const uint8_t *p, size_t n) except -1
    cdef int record(self) except -1
    cdef int note(self, bytes line, int64_t ts) except -1
    cdef int put_in_order(self, bytes payload, int64_t ts_recv, bint control) except -1
