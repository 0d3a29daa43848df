# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# cython: embedsignature=True, binding=False
"""From the payload of a frame to the code that wants its records, without a socket.

A `Pump` belongs to one connection. It decodes a payload where it lies, finds the handler of each record by its
subscription id, and counts everything that goes wrong; what a transport has to do is to call it. Whatever a handler
raises stays here: the next record is delivered all the same.
"""
cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.object cimport PyObject
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdio cimport snprintf
from libc.stdlib cimport calloc, free, realloc
from libc.string cimport memchr, memcmp, memcpy, strlen
from posix.time cimport CLOCK_REALTIME, clock_gettime, timespec

from execwire.core cimport Decoder
from execwire.header cimport *
from execwire.records cimport Dialect, Record, owned, rendering_of, source_of

import heapq
import itertools
import logging
from collections import deque

from execwire.core import fields, vocabularies

cdef object logger = logging.getLogger("execwire")
cdef object OVERLAPS = itertools.count(1)


cdef inline int64_t wall_clock() noexcept nogil:
    """Nanoseconds since 1970 UTC."""
    cdef timespec t
    clock_gettime(CLOCK_REALTIME, &t)
    return <int64_t>t.tv_sec * 1_000_000_000 + t.tv_nsec


cdef uint64_t SUBSCRIPTION_ID = 0
SUBSCRIPTION_ID = sum([1 << field.bit for field in fields("order") if field.name == "subscription_id"])

# The notices that a session has to know of; the others are the user's alone.
cdef uint64_t CONTROL = 0, HEARTBEAT = 0
_CODES = {word: 1 << code for code, word in enumerate(vocabularies()["code"])}
HEARTBEAT = _CODES["ping"] | _CODES["pong"]
CONTROL = HEARTBEAT | sum([
    _CODES[word]
    for word in ("empty", "welcome", "login_ok", "subscribed", "unsubscribed", "response", "error", "listen_key",
                 "listen_key_expired", "stream_terminated", "server_shutdown", "system_close")
])


cdef Record own(Decoder decoder, const ew_record *record, size_t index):
    return owned(<Dialect>decoder.dialect, record, <unsigned>index, source_of(decoder.state),
                 rendering_of(decoder.state))


# ---- MARK: Handlers ----

cdef class Handler:
    """What gets the records of a stream. Subclass it and override what you need.

    A Python subclass overrides `on_record` (called with every record), `on_batch` (called with the records of one
    read from the socket), or both. A Cython subclass may override ``on_struct`` and ``on_read_end`` instead
    (delivery.pxd), and then no Python object is made for a record.

    Notes
    -----
    A handler runs in the event loop, so what it does holds up everything else: heartbeats, too. If it raises, the
    exception is counted (``handler_errors``) and logged, and the next record is delivered. If it raises something
    that is no `Exception` (KeyboardInterrupt, `asyncio.CancelledError`), the session ends with that, and the records
    that were not delivered are counted (``undelivered``).
    """

    def __cinit__(self, *args, **kwargs):
        cls = type(self)
        self.wants_records = cls.on_record is not Handler.on_record
        self.wants_batches = cls.on_batch is not Handler.on_batch

    cdef int on_struct(self, Decoder decoder, const ew_record *record, size_t index) except -1:
        if not (self.wants_records or self.wants_batches):
            return 0
        rec = own(decoder, record, index)
        if self.wants_batches:
            if self.batch is None:
                self.batch = []
            self.batch.append(rec)
        if self.wants_records:
            self.on_record(rec)
        return 0

    cdef int on_read_end(self) except -1:
        if self.wants_batches and self.batch:
            batch, self.batch = self.batch, None
            self.on_batch(batch)
        return 0

    def on_record(self, record):
        """Take a record.

        Parameters
        ----------
        record : execwire.Record
            Its own master: may be kept.
        """

    def on_batch(self, records):
        """Take the records that came with one read from the socket.

        Parameters
        ----------
        records : list of execwire.Record
        """


@cython.final
cdef class Calls(Handler):
    """Calls a function with every record.

    Parameters
    ----------
    function : callable
    """

    cdef object function

    def __init__(self, function):
        if not callable(function):
            raise TypeError(f"a handler is a Handler or a function, not {type(function).__name__}")
        self.function = function

    cdef int on_struct(self, Decoder decoder, const ew_record *record, size_t index) except -1:
        self.function(own(decoder, record, index))
        return 0


@cython.final
cdef class Inbox(Handler):
    """Keeps records until somebody takes them.

    Parameters
    ----------
    limit : int
        How many may wait. Beyond it `full` is called, which stops reading from the sockets: nothing is dropped. What
        was read already still comes in.
    full : callable
        Called with True for each record that is too many, with False when half of them are gone.
    """

    cdef object items
    cdef list waiters
    cdef object loop
    cdef object on_full
    cdef Py_ssize_t limit
    cdef bint full
    cdef readonly Py_ssize_t high_water

    def __init__(self, loop, Py_ssize_t limit, full):
        self.loop = loop
        self.limit = limit
        self.on_full = full
        self.waiters = []

    def __len__(self):
        return len(self.items) if self.items is not None else 0

    cdef int on_struct(self, Decoder decoder, const ew_record *record, size_t index) except -1:
        cdef Py_ssize_t n
        rec = own(decoder, record, index)
        if self.items is None:
            self.items = deque()
        self.items.append(rec)
        n = len(self.items)
        if n > self.high_water:
            self.high_water = n
        if n > self.limit:  # told again and again: sockets may be new
            self.full = True
            self.on_full(True)
        return 0

    cdef int on_read_end(self) except -1:
        self.wake()
        return 0

    def wake(self):
        """Let whoever waits look again."""
        if self.waiters:
            waiters, self.waiters = self.waiters, []
            for waiter in waiters:
                if not waiter.done():
                    waiter.set_result(None)

    def take(self):
        """The oldest record, or None."""
        if not self.items:
            return None
        rec = self.items.popleft()
        if self.full and len(self.items) <= self.limit // 2:
            self.full = False
            self.on_full(False)
        return rec

    def wait(self):
        """A future that is done when there is something to look at.

        Returns
        -------
        asyncio.Future
            Of the caller alone, who may cancel it.
        """
        waiter = self.loop.create_future()
        if self.items:
            waiter.set_result(None)
        else:
            self.waiters = [one for one in self.waiters if not one.done()]
            self.waiters.append(waiter)
        return waiter


# ---- MARK: Overlap ----

@cython.final
cdef class Overlap:
    """Two connections carry the same stream for a while: lets through once what comes from both.

    Events are told by their bytes. The second connection's copy of one is dropped, an event that one connection
    brings twice is not: each connection's copies are counted.
    """

    cdef dict counts  # connection -> object's bytes -> how many
    cdef dict delivered
    cdef readonly object number  # which tells it from others of the process

    def __init__(self):
        self.number = next(OVERLAPS)
        self.counts = {}
        self.delivered = {}

    def is_first(self, connection, key):
        """Whether an event has not come from the other connection yet."""
        mine = self.counts.setdefault(connection, {})
        n = mine[key] = mine.get(key, 0) + 1
        if n <= self.delivered.get(key, 0):
            return False
        self.delivered[key] = n
        return True


# ---- MARK: Tape ----

cdef const char *BASE64 = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
cdef enum:
    STAMP = 24  # bytes of a time, a space and a line's end, at most
    TAPED = 1 << 20  # bytes that a read collects before the recorder gets them


cdef inline uint8_t *append(uint8_t *to, const char *text) noexcept nogil:
    cdef size_t n = strlen(text)
    memcpy(to, text, n)
    return to + n


@cython.final
cdef class Tape:
    """Lines of a capture (``<ns> <payload>``) on their way to a recorder.

    A binary frame, and a text that no line could hold as it is, becomes base64 in an object that `Capture` knows.
    """

    def __dealloc__(self):
        free(self.p)

    cdef uint8_t *room(self, size_t n) except NULL:
        cdef uint8_t *p
        if self.n + n > self.size:
            p = <uint8_t *>realloc(self.p, 2 * (self.n + n))
            if p == NULL:
                raise MemoryError
            self.p = p
            self.size = 2 * (self.n + n)
        return self.p + self.n

    cdef int line(self, int64_t ts, const uint8_t *p, size_t n) except -1:
        """A payload as it is."""
        cdef uint8_t *to = self.room(STAMP + n)
        to += snprintf(<char *>to, STAMP, b"%lld ", <long long>ts)
        memcpy(to, p, n)
        to[n] = 10
        self.n = to + n + 1 - self.p
        return 0

    cdef int frame(self, int64_t ts, const uint8_t *p, size_t n, bint binary) except -1:
        """A frame that was received."""
        cdef uint8_t *to
        cdef size_t i = 0
        cdef uint32_t three
        if not (binary or n == 0 or p[0] <= 32 or p[n - 1] <= 32 or memchr(p, 10, n) or memchr(p, 13, n)
                or (n >= 2 and p[0] == 98) or (n >= 11 and memcmp(p, b'{"execwire"', 11) == 0)):
            return self.line(ts, p, n)
        to = self.room(STAMP + 64 + n // 3 * 4 + 4)
        to += snprintf(<char *>to, STAMP, b"%lld ", <long long>ts)
        to = append(to, b'{"execwire":"frame","b64":"' if binary else b'{"execwire":"frame","type":"text","b64":"')
        while i < n:
            three = <uint32_t>p[i] << 16
            if i + 1 < n:
                three |= <uint32_t>p[i + 1] << 8
            if i + 2 < n:
                three |= p[i + 2]
            to[0] = BASE64[three >> 18]
            to[1] = BASE64[three >> 12 & 63]
            to[2] = BASE64[three >> 6 & 63] if i + 1 < n else 61
            to[3] = BASE64[three & 63] if i + 2 < n else 61
            to += 4
            i += 3
        to = append(to, b'"}\n')
        self.n = to - self.p
        return 0

    def add(self, int64_t ts_ns, bytes payload, bint binary=False):
        """A frame, for those who record a stream of their own.

        Parameters
        ----------
        ts_ns : int
            When it was received, ns since 1970 UTC.
        payload : bytes
        binary : bool
            Whether it came in a binary frame.
        """
        self.frame(ts_ns, <const uint8_t *>PyBytes_AS_STRING(payload), PyBytes_GET_SIZE(payload), binary)

    def take(self):
        """The lines so far, which begin anew.

        Returns
        -------
        bytes
        """
        lines = PyBytes_FromStringAndSize(<const char *>self.p, self.n)
        self.n = 0
        if self.size > 2 * TAPED:
            free(self.p)
            self.p = NULL
            self.size = 0
        return lines


# ---- MARK: Secrets ----

cdef enum:
    SHORTEST = 3  # bytes; a shorter text is no secret


cdef inline uint32_t start_of(const uint8_t *p) noexcept nogil:
    """16 bits of a text's first bytes."""
    return ((p[0] | <uint32_t>p[1] << 8 | <uint32_t>p[2] << 16) * <uint32_t>2654435769) >> 16


@cython.final
cdef class Secrets:
    """Texts that must not be written down, found in one pass, however many there are."""

    cdef uint8_t starts[8192]  # a bit for each that a secret may begin with
    cdef dict by_start

    def __init__(self):
        self.by_start = {}

    def add(self, bytes secret):
        """Hide a text from now on.

        Parameters
        ----------
        secret : bytes
            Ignored if it is shorter than three bytes.
        """
        cdef uint32_t start
        if len(secret) < SHORTEST:
            return
        secrets = self.by_start.setdefault(secret[:SHORTEST], [])
        if secret not in secrets:
            secrets.append(secret)
            start = start_of(<const uint8_t *>PyBytes_AS_STRING(secret))
            self.starts[start >> 3] |= 1 << (start & 7)

    def hide(self, bytes text):
        """A text with stars instead of secrets.

        Parameters
        ----------
        text : bytes

        Returns
        -------
        bytes
            As long as `text`; `text` itself if there is no secret in it.
        """
        cdef const uint8_t *p = <const uint8_t *>PyBytes_AS_STRING(text)
        cdef Py_ssize_t i
        cdef uint32_t start
        hidden = None
        for i in range(PyBytes_GET_SIZE(text) - SHORTEST + 1):
            start = start_of(p + i)
            if self.starts[start >> 3] >> (start & 7) & 1:
                for secret in self.by_start.get(text[i:i + SHORTEST], ()):
                    if text.startswith(secret, i):
                        hidden = bytearray(text) if hidden is None else hidden
                        hidden[i:i + len(secret)] = b"*" * len(secret)
        return text if hidden is None else bytes(hidden)

    def __repr__(self):
        return "Secrets(...)"

    def __reduce__(self):
        raise TypeError("secrets are not pickled")


# ---- MARK: Pump ----

cdef inline uint64_t data_of(Pump pump) noexcept:
    """Records that came, also those that another connection was quicker to bring."""
    return pump.c.records - pump.c.notices + pump.c.duplicates


cdef class Pump:
    """Payloads of one connection to handlers.

    Parameters
    ----------
    decoder : execwire.Decoder
        Of the venue. Several pumps of one thread may share it.
    session_decoder : execwire.Decoder
        Of the session's own notices.
    handler : Handler
        Gets what no route takes.
    owner : object
        Is told what a session has to know: ``on_control(text, notices)`` (a payload and the notices in it),
        ``on_undecodable(message)``, ``on_handler_stop(error)``, ``on_silent(why)``, ``on_echo()`` (the ping of
        `echo` is answered), ``on_waiting()`` (a message waits for its turn: call `overdue` later).
    """

    def __init__(self, Decoder decoder, Decoder session_decoder, Handler handler, owner):
        self.decoder = decoder
        self.session_decoder = session_decoder
        self.handler = handler
        self.owner = owner

    def __dealloc__(self):
        free(self.routes)

    # For Cython: transports.

    cdef void message(self, const uint8_t *p, size_t n, bint binary, bint padded) noexcept:
        """One whole payload."""
        cdef size_t n_records = 0
        cdef uint64_t notices = self.c.notices
        cdef ew_status status
        self.rx += 1
        if self.recorder is not None or self.held is not None or self.reorder is not None or self.shut:
            self.unusual(p, n, binary)
            return
        # From here to the handler of a record nothing can raise, and no Python object is made.
        self.c.messages += 1
        self.c.bytes += n
        if self.now == 0 and not self.untimed:
            self.now = wall_clock()
        if padded:
            status = self.decoder.feed_padded(p, n, self.now, &n_records)
        else:
            status = self.decoder.feed(p, n, self.now, &n_records)
        if status == EW_OK:
            self.deliver(self.decoder, n_records)
            if self.c.notices == notices:
                self.decoder.forget()
                return
        self.answered(status, n_records)

    cdef void answered(self, ew_status status, size_t n_records) noexcept:
        """What the owner may have to know: notices, or why a message could not be decoded."""
        try:
            if status == EW_OK:
                self.control(n_records)
            else:
                self.undecodable(self.now, True, True)
        except BaseException as error:
            self.owner.on_handler_stop(error)

    cdef void unusual(self, const uint8_t *p, size_t n, bint binary) noexcept:
        """A payload that is recorded, kept for later, or late."""
        if self.shut:
            self.c.late += 1
            return
        self.c.messages += 1
        self.c.bytes += n
        if self.now == 0 and not self.untimed:
            self.now = wall_clock()
        try:
            if self.recorder is not None:
                if self.tape is None:
                    self.tape = Tape()
                self.tape.frame(self.now, p, n, binary)
            if self.held is not None or self.reorder is not None:
                self.store(p, n)
            else:
                self.decode(p, n, self.now, True, True)
            if self.tape is not None and self.tape.n > TAPED:
                self.record()  # now that the secrets in it are known
        except BaseException as error:
            self.owner.on_handler_stop(error)

    cdef void end_of_read(self) noexcept:
        """The socket has nothing more right now."""
        try:
            if self.tape is not None:
                self.hand_in()
            if self.now:
                self.last_read = self.now
            self.now = 0
            if self.touched is None:
                return
            self.c.batches += 1
            while self.touched is not None:
                try:
                    self.end_touched()
                except BaseException as error:
                    self.failed(error)
        except BaseException as error:
            self.owner.on_handler_stop(error)

    cdef int end_touched(self) except -1:
        cdef Handler handler
        while self.touched is not None:
            handler = self.touched
            self.touched = handler.next_touched
            handler.next_touched = None
            handler.touched = False
            self.decoder.delivering += 1
            try:
                handler.on_read_end()
            finally:
                self.decoder.delivering -= 1
        return 0

    cdef int decode(self, const uint8_t *p, size_t n, int64_t ts_recv, bint deliver, bint control) except -1:
        cdef size_t n_records = 0
        if self.decoder.feed(p, n, ts_recv, &n_records) != EW_OK:
            return self.undecodable(ts_recv, deliver, control)
        if deliver:
            self.deliver(self.decoder, n_records)
        if control:
            return self.control(n_records)
        self.decoder.forget()
        return 0

    cdef int control(self, size_t n) except -1:
        """Tell the owner of the notices that a session has to know of."""
        cdef const ew_record *r
        cdef size_t i
        cdef bint told = False
        if self.stopped:  # what that has led to may have used the decoder
            n = 0
        for i in range(n):
            r = self.decoder.get(i)
            if r.h.kind == EW_NOTICE and CONTROL >> r.notice.code & 1:
                told = True
        if not told:
            self.decoder.forget()
            return 0
        notices = []
        for i in range(n):
            r = self.decoder.get(i)
            if r.h.kind == EW_NOTICE:
                notices.append(own(self.decoder, r, i))
                self.c.heartbeats += HEARTBEAT >> r.notice.code & 1
        text = rendering_of(self.decoder.state) or source_of(self.decoder.state)
        self.decoder.forget()
        self.owner.on_control(text, notices)
        return 0

    cdef void deliver(self, Decoder decoder, size_t n) noexcept:
        """Give the records of the decoder's message to their handlers."""
        cdef size_t i = 0
        decoder.delivering += 1
        while i < n and not self.stopped:
            try:
                self.hand_over(decoder, n, &i)
            except BaseException as error:
                i += 1
                self.failed(error)
        self.c.undelivered += n - i
        decoder.delivering -= 1

    cdef int hand_over(self, Decoder decoder, size_t n, size_t *i) except -1:
        cdef const ew_record *r
        cdef Handler handler
        cdef PyObject *routed
        while i[0] < n:
            r = decoder.get(i[0])
            if r == NULL:  # somebody has fed the decoder meanwhile
                raise AssertionError("a record is gone")
            routed = NULL
            if self.routes != NULL and r.h.present & SUBSCRIPTION_ID:
                routed = self.routes[r.h.subscription_id]
            handler = <Handler>routed if routed != NULL else self.handler
            if self.overlap is not None and r.h.kind != EW_NOTICE:
                rec = own(decoder, r, i[0])
                begin, end = rec.span
                text = rec.rendering or rec.source
                if not self.overlap.is_first(self, (r.h.kind, text[begin:end])):
                    self.c.duplicates += 1
                    i[0] += 1
                    continue
            self.c.records += 1
            if r.h.kind == EW_NOTICE:
                self.c.notices += 1
            elif r.h.present & 1:
                self.last_event = r.h.ts_event
            if not handler.touched:
                handler.touched = True
                handler.next_touched = self.touched
                self.touched = handler
            handler.on_struct(decoder, r, i[0])
            i[0] += 1
        return 0

    cdef void failed(self, error) noexcept:
        """A handler raised."""
        self.c.handler_errors += 1
        if isinstance(error, Exception):
            try:  # Of the exception, its type: its text may quote a record.
                logger.error("a handler raised %s; the record was delivered, the next ones follow",
                             type(error).__name__, exc_info=logger.isEnabledFor(logging.DEBUG) and error)
            except BaseException as other:  # somebody's logging, or an interrupt
                error = other
        if not isinstance(error, Exception):
            self.stopped = True
            self.owner.on_handler_stop(error)

    cdef int undecodable(self, int64_t ts_recv, bint deliver, bint control) except -1:
        cdef const ew_error *error = self.decoder.failure()
        message = f"{error.message.decode()} at byte {error.position}"
        self.decoder.forget()
        if control:
            self.c.decode_errors += 1
        if deliver:
            self.tell({"execwire": "undecodable", "message": message}, None, ts_recv)
        if control:
            self.owner.on_undecodable(message)
        return 0

    cdef int record(self) except -1:
        """Give the recorder what was taped. What it has to say comes as a notice."""
        self.recording = True
        try:
            lines = self.tape.take()
            if self.recorder is None:
                return 0
            try:
                trouble = self.recorder.write(lines)
            except Exception as error:
                logger.error("recording failed: %s", type(error).__name__)
                self.recorder = None
                trouble = "recording failed and has ended"
            if trouble:
                self.tell({"execwire": "error", "about": "recorder", "message": trouble})
        finally:
            self.recording = False
        return 0

    cdef int note(self, bytes line, int64_t ts) except -1:
        """Tape a line of the session's own."""
        if self.recorder is None:
            return 0
        if self.tape is None:
            self.tape = Tape()
        return self.tape.line(ts, <const uint8_t *>PyBytes_AS_STRING(line), PyBytes_GET_SIZE(line))

    def _mark(self, dict what, int64_t ts=0):
        """Tape what decides about the order or the delivery of frames, for those who replay it."""
        from orjson import dumps
        if self.recorder is not None:
            self.note(dumps(what), ts or self.now or wall_clock())
            if self.now == 0 and not self.recording:
                self.record()

    cdef int store(self, const uint8_t *p, size_t n) except -1:
        """The way with bytes objects: holding back, putting in order."""
        payload = PyBytes_FromStringAndSize(<const char *>p, n)
        if self.held is not None:
            self.held.append((self.now, payload))
            return self.decode(<const uint8_t *>PyBytes_AS_STRING(payload), n, self.now, False, True)
        if self.reorder is not None:
            return self.put_in_order(payload, self.now, True)
        return self.decode(<const uint8_t *>PyBytes_AS_STRING(payload), n, self.now, True, True)

    # For Python.

    def feed(self, bytes payload, bint binary=False, int64_t ts_recv=0):
        """One payload, for transports without pointers; `flush` ends a read.

        Parameters
        ----------
        payload : bytes
        binary : bool
        ts_recv : int
            When it was received, ns since 1970 UTC; 0: now.
        """
        if ts_recv:
            self.now = ts_recv
        self.message(<const uint8_t *>PyBytes_AS_STRING(payload), PyBytes_GET_SIZE(payload), binary, False)

    def flush(self):
        """End of a read: handlers get their batches."""
        self.end_of_read()

    def hand_in(self):
        """Give the recorder what was taped so far: before somebody else gives it what came later."""
        if self.tape is not None and self.tape.n and not self.recording:
            self.record()

    def saw_frame(self, bint heartbeat):
        """A frame without a payload for us (a ping or a pong, or another), and not the last one: the connection lives."""
        self.rx += 1
        self.last_read = self.now or wall_clock()
        self.c.heartbeats += heartbeat

    def saw_pong(self, bytes payload):
        """A pong; tells the owner (`on_echo`) if it answers the ping that `echo` says was sent."""
        if self.echo is not None and payload == self.echo:
            self.echo = None
            self.owner.on_echo()

    def tell(self, dict notice, handler=None, int64_t ts=0):
        """Deliver a notice of the session's own, in its place between the records of the stream.

        Parameters
        ----------
        notice : dict
            ``execwire`` (what happened), and ``message``, ``about``, ``code`` where there is something to say.
        handler : Handler or None
            Who gets it; None: all of them.
        ts : int
            When it happened, ns since 1970 UTC; 0: now.
        """
        from orjson import dumps
        if self.untold is None:
            self.untold = []
        self.untold.append((notice, handler, ts))
        if self.telling:  # a handler is being told, and caused this
            return
        self.telling = True
        try:
            while self.untold:
                notice, handler, ts = self.untold.pop(0)
                now = ts or self.now or wall_clock()  # in a read everything has the time of the read
                payload = dumps({**notice, "ts": now})
                self.note(payload, now)
                self.retell(payload, now, None, handler)
        finally:
            self.untold = None
            self.telling = False

    def retell(self, bytes payload, int64_t now, subscription_id=None, handler=None):
        """Deliver a notice of a session as it was written down.

        Parameters
        ----------
        payload : bytes
            JSON.
        now : int
            When it was told, ns since 1970 UTC.
        subscription_id : int or None
            Whose handler gets it; None: all of them.
        handler : Handler or None
            Who gets it instead.
        """
        cdef size_t n
        cdef Decoder decoder = self.session_decoder
        handlers = [self.handler]
        if handler is not None:
            handlers = [handler]
        elif subscription_id is not None:
            handlers = [(self.routed or {}).get(subscription_id, self.handler)]
        elif self.routed:
            handlers = list(dict.fromkeys([self.handler, *self.routed.values()]))
        own_handler, own_touched, own_routes = self.handler, self.touched, self.routes
        for handler in handlers:
            if decoder.feed(<const uint8_t *>PyBytes_AS_STRING(payload), PyBytes_GET_SIZE(payload), now, &n) != EW_OK:
                raise AssertionError(f"a notice of the session's own is malformed: {decoder.error}")
            overlap, self.overlap = self.overlap, None
            self.handler = handler
            self.routes = NULL
            try:
                self.deliver(decoder, n)
            finally:
                self.handler = own_handler
                self.routes = own_routes
                self.overlap = overlap
        decoder.forget()
        if self.now == 0:  # outside of a read, whose end would tell
            self.end_of_read()

    def route(self, uint16_t subscription_id, Handler handler):
        """Send the records of a subscription to a handler of its own; None: to the common one again."""
        if self.routes == NULL:
            self.routes = <PyObject **>calloc(65536, sizeof(PyObject *))
            if self.routes == NULL:
                raise MemoryError
            self.routed = {}
        if handler is None:
            self.routes[subscription_id] = NULL
            self.routed.pop(subscription_id, None)
        else:
            self.routes[subscription_id] = NULL
            self.routed[subscription_id] = handler
            self.routes[subscription_id] = <PyObject *>handler

    def tell_also(self, handlers):
        """Handlers that get the session's notices without a route of their own."""
        self.routed = dict(enumerate(handlers))

    def hold(self):
        """Keep records back from now on; what a session needs to know it still is told."""
        if self.held is None:
            self._mark({"execwire": "hold"})
            self.held = []

    def release(self):
        """Deliver what was kept back, in order, and go on as usual."""
        if self.held is not None:
            self._mark({"execwire": "release"})
        held, self.held = self.held, None
        if held:
            for ts_recv, payload in held:
                if self.reorder is not None:
                    self.put_in_order(payload, ts_recv, False)
                else:
                    self._replay(payload, ts_recv)
            if self.now == 0:
                self.end_of_read()

    def _replay(self, bytes payload, int64_t ts_recv):
        self.decode(<const uint8_t *>PyBytes_AS_STRING(payload), PyBytes_GET_SIZE(payload), ts_recv, True, False)

    def order_by_event_time(self, int64_t window, Py_ssize_t limit):
        """Put messages in the order of their event times, as far as a window allows.

        Parameters
        ----------
        window : int
            ns. A message waits until one comes that is this much newer, or until `overdue` is called.
        limit : int
            How many messages wait at most.
        """
        self._mark({"execwire": "order", "window": window, "limit": limit})
        self.reorder = Reorder(window, limit)

    cdef int put_in_order(self, bytes payload, int64_t ts_recv, bint control) except -1:
        """A message waits for its turn, if it has a time and is no notice."""
        cdef Reorder reorder = self.reorder
        cdef const uint8_t *p = <const uint8_t *>PyBytes_AS_STRING(payload)
        cdef size_t n_records = 0
        cdef const ew_record *r
        cdef int64_t ts
        if self.decoder.feed(p, PyBytes_GET_SIZE(payload), ts_recv, &n_records) != EW_OK:
            return self.undecodable(ts_recv, True, control)
        r = self.decoder.get(0)
        ts = r.h.ts_event if r != NULL and r.h.kind != EW_NOTICE and r.h.present & 1 else 0
        if ts == 0 or ts < reorder.delivered:
            self.c.out_of_order += ts != 0
            self.deliver(self.decoder, n_records)
            if control:
                return self.control(n_records)
            self.decoder.forget()
            return 0
        if control:
            self.control(n_records)
        reorder.push(ts, ts_recv, payload)
        self._let_go(reorder, ts_recv)
        if len(reorder.heap) == 1:
            self.owner.on_waiting()
        return 0

    def _let_go(self, Reorder reorder, int64_t now):
        while reorder.is_due(now):
            ts, _, ts_recv, payload = reorder.pop()
            self._replay(payload, ts_recv)

    def overdue(self):
        """Deliver what has waited for longer than the window.

        Returns
        -------
        bool
            Whether messages still wait.
        """
        cdef Reorder reorder = self.reorder
        cdef int64_t now = wall_clock()
        if reorder is None:
            return False
        if reorder.is_due(now):
            self._mark({"execwire": "overdue"}, now)
            self.let_go(now)
        return len(reorder.heap) > 0

    def let_go(self, int64_t now):
        """Deliver what has waited for longer than the window at a time (ns since 1970 UTC)."""
        if self.reorder is not None:
            self._let_go(self.reorder, now)
            if self.now == 0:
                self.end_of_read()

    def drain(self):
        """Deliver whatever waits: the connection is gone."""
        if self.held is not None:
            self.release()
        if self.reorder is not None:
            heap = (<Reorder>self.reorder).heap
            if heap:
                self._mark({"execwire": "drain"})
            while heap:
                _, _, ts_recv, payload = (<Reorder>self.reorder).pop()
                self._replay(payload, ts_recv)
        self.end_of_read()

    @property
    def waiting(self):
        """How many messages wait, held back or for their turn."""
        n = len(self.held) if self.held is not None else 0
        return n + (len((<Reorder>self.reorder).heap) if self.reorder is not None else 0)

    def share(self, overlap):
        """Begin (an `Overlap`) or end (None) to drop what another connection brings as well."""
        if overlap is not self.overlap:
            self._mark({"execwire": "overlap", "number": overlap.number if overlap is not None else None})
        self.overlap = overlap

    def pause(self, bint on):
        """Stop or resume reading from the socket."""
        if on == self.paused or self.transport is None:
            return
        self.paused = on
        self.was_paused = True
        below = self.transport.underlying_transport
        try:
            if on:
                below.pause_reading()
            else:
                below.resume_reading()
        except (RuntimeError, AttributeError):  # closing already
            pass

    def heartbeat(self, *, double period=0, prefix=None, suffix=None, double reply=0, double silence=0,
                  double data_silence=0, double now=0):
        """What `Pulse` does for this connection.

        Parameters
        ----------
        period : float
            Seconds between heartbeats; 0: none.
        prefix, suffix : bytes or None
            The heartbeat's text, around the time in ms if there is a suffix. Without a prefix it is a ping frame.
        reply : float
            Seconds within which something has to come back; 0: no matter.
        silence : float
            Seconds without any frame that are too many; 0: no matter.
        data_silence : float
            Seconds without a record; 0: no matter.
        now : float
            The loop's time.
        """
        self.beat_period = period
        self.beat_due = now + period if period else 0
        self.beat_prefix = prefix
        self.beat_suffix = suffix
        self.reply_within = reply
        self.reply_due = 0
        self.silence = silence
        self.data_silence = data_silence
        self.last_rx = self.last_data = now
        self.rx_seen = self.rx
        self.data_seen = data_of(self)

    def expect(self, double by):
        """A record has to come until then (loop's time), or the connection counts as dead."""
        self.expected = by
        self.data_seen = data_of(self)

    @property
    def counts(self):
        """What was counted, as a dict."""
        cdef Counts c = self.c
        return {"messages": c.messages, "bytes": c.bytes, "records": c.records, "notices": c.notices,
                "batches": c.batches, "decode_errors": c.decode_errors, "handler_errors": c.handler_errors,
                "duplicates": c.duplicates, "undelivered": c.undelivered, "out_of_order": c.out_of_order,
                "late": c.late, "heartbeats": c.heartbeats}

    @property
    def frames(self):
        """Frames of any sort that came, pongs as well."""
        return self.rx

    @property
    def heard(self):
        """Until when all has been read that was sent, ns since 1970 UTC; 0: nothing was.

        That is when the last frame came. What comes may be old where reading has been stopped: then it is when the
        venue sent the last record, by its clock; and where the loop or the process stood still: when they began to.
        """
        last = self.now or self.last_read
        if self.was_paused and self.last_event:
            last = min(last, self.last_event)
        if self.pulse is not None and (since := (<Pulse>self.pulse).stood_since()):
            last = min(last, since)
        return last

    def age(self, double now):
        """Seconds since the last frame, as exactly as `Pulse` looks."""
        return now - self.last_rx if self.last_rx and self.rx == self.rx_seen else 0.0


@cython.final
cdef class Reorder:
    """Messages that wait for older ones."""

    cdef list heap
    cdef int64_t window, newest, delivered
    cdef Py_ssize_t limit
    cdef uint64_t n

    def __init__(self, int64_t window, Py_ssize_t limit):
        self.heap = []
        self.window = window
        self.limit = limit

    cdef int push(self, int64_t ts, int64_t ts_recv, bytes payload) except -1:
        self.n += 1
        if ts > self.newest:
            self.newest = ts
        heapq.heappush(self.heap, (ts, self.n, ts_recv, payload))
        return 0

    cdef bint is_due(self, int64_t now) except -1:
        if not self.heap:
            return False
        ts, _, ts_recv, _ = self.heap[0]
        if ts_recv > now:  # the clock has been set back
            return True
        return len(self.heap) > self.limit or ts + self.window <= self.newest or ts_recv + self.window <= now

    cdef tuple pop(self):
        item = heapq.heappop(self.heap)
        if item[0] > self.delivered:
            self.delivered = item[0]
        return item


# ---- MARK: Pulse ----

cdef double READ_UP = 5  # s in which a connection that may send brings what was held back, or there is nothing
cdef double LATE = 0.1  # s that a timer may be late without anybody having held up the loop
cdef double STOOD = 1  # s after which what came while the loop stood still has been read


def is_delivering(Decoder one not None, Decoder other not None):
    """Whether handlers are being given records of one of them: whoever is called by them must not feed it."""
    return one.delivering > 0 or other.delivering > 0


@cython.final
cdef class Pulse:
    """One timer for the heartbeats and the watchdogs of all connections of a loop.

    Parameters
    ----------
    loop : asyncio.AbstractEventLoop
    text : object
        What the transport takes as the type of a text frame.
    tick : float
        Seconds between two looks; everything is as exact as that.
    """

    cdef object loop
    cdef object text
    cdef object handle
    cdef list pumps
    cdef double tick, last
    cdef int64_t beat_at, patience  # when it last looked, ns, and after how long it is late
    cdef int64_t stood_at  # the same before the loop stood still; 0: it has not lately
    cdef double stood_until  # seconds of the loop's clock
    cdef readonly double worst_delay  # seconds by which the loop was late

    def __init__(self, loop, text, double tick=0.25):
        self.loop = loop
        self.text = text
        self.tick = tick
        self.patience = <int64_t>((tick + LATE) * 1e9)
        self.pumps = []

    def add(self, Pump pump):
        """Look after a connection."""
        self.pumps.append(pump)
        pump.pulse = self
        if self.handle is None:
            self.last = self.loop.time()
            self.beat_at, self.stood_at = wall_clock(), 0
            self.handle = self.loop.call_later(self.tick, self._on_timer)

    def discard(self, Pump pump):
        """Leave it alone again."""
        if pump in self.pumps:
            self.pumps.remove(pump)

    cdef int64_t stood_since(self) noexcept:
        """When the loop last went on, ns since 1970, if it stands or has stood still after that; or 0."""
        if self.stood_at:
            return self.stood_at
        return self.beat_at if wall_clock() - self.beat_at > self.patience else 0

    def _on_timer(self):
        self.handle = None
        self.beat(self.loop.time())
        if self.pumps and self.handle is None:
            self.handle = self.loop.call_later(self.tick, self._on_timer)

    def beat(self, double now):
        """Do what is due at a time of the loop's clock."""
        cdef Pump pump
        cdef double elapsed = now - self.last, late = elapsed - self.tick, shift, data_shift
        cdef Py_ssize_t i
        cdef bytes text
        self.last = now
        if late > self.worst_delay:
            self.worst_delay = late
        cdef int64_t wall = wall_clock()  # which goes on while the machine sleeps
        if late > LATE or wall - self.beat_at > self.patience:
            if self.stood_at == 0 or self.beat_at - self.stood_at > <int64_t>(STOOD * 1e9):
                self.stood_at = self.beat_at
            self.stood_until = now + STOOD
        elif now >= self.stood_until:
            self.stood_at = 0
        self.beat_at = wall
        # Somebody held up the loop: what came meanwhile is still in the sockets, so nobody is judged by that time.
        cdef double grace = elapsed if late > self.tick else 0
        due = []
        for i in range(len(self.pumps)):
            pump = <Pump>self.pumps[i]
            if pump.rx != pump.rx_seen:
                pump.rx_seen = pump.rx
                pump.last_rx = now
                pump.reply_due = 0
            if data_of(pump) != pump.data_seen:
                pump.data_seen = data_of(pump)
                pump.last_data = now
                pump.expected = 0
            shift = elapsed if pump.paused else grace
            data_shift = elapsed if pump.held is not None else shift  # what is held back is no silence
            if pump.was_paused and not pump.paused and now - pump.last_rx >= READ_UP:
                pump.was_paused = False
            if data_shift:
                pump.last_data += data_shift
                if pump.expected:
                    pump.expected += data_shift
            if shift:
                pump.last_rx += shift
                if pump.reply_due:
                    pump.reply_due += shift
            if ((pump.beat_due and now >= pump.beat_due) or (pump.reply_due and now >= pump.reply_due)
                    or (pump.silence and now - pump.last_rx >= pump.silence)
                    or (pump.data_silence and now - pump.last_data >= pump.data_silence)
                    or (pump.expected and now >= pump.expected)):
                due.append(pump)
        for pump in due:  # whose owners may add and discard
            if pump.reply_due and now >= pump.reply_due:
                pump.reply_due = 0
                pump.owner.on_silent("no answer to a heartbeat")
            elif pump.silence and now - pump.last_rx >= pump.silence:
                pump.last_rx = now
                pump.owner.on_silent(f"nothing received for {pump.silence:g} s")
            elif pump.expected and now >= pump.expected:
                pump.expected = 0
                pump.owner.on_silent("no event came where one was expected")
            elif pump.data_silence and now - pump.last_data >= pump.data_silence:
                pump.last_data = now
                pump.owner.on_silent(f"no event for {pump.data_silence:g} s")
            elif pump.beat_due and now >= pump.beat_due:
                pump.beat_due = now + pump.beat_period
                if pump.reply_within and not pump.reply_due:
                    pump.reply_due = now + pump.reply_within
                try:
                    if pump.beat_prefix is None:
                        pump.transport.send_ping(None)
                    elif pump.beat_suffix is None:
                        pump.transport.send(self.text, pump.beat_prefix)
                    else:
                        text = b"%b%d%b" % (pump.beat_prefix, wall_clock() // 1_000_000, pump.beat_suffix)
                        pump.transport.send(self.text, text)
                except Exception as error:
                    pump.owner.on_silent(f"a heartbeat could not be sent: {type(error).__name__}")
