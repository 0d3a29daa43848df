# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False
# cython: embedsignature=True, binding=False
"""Arrays for other libraries, through the Arrow C data interface: no Arrow library is needed on this side.

The interface is three C structs (https://arrow.apache.org/docs/format/CDataInterface.html and CStreamInterface.html)
and small enough to write out; nanoarrow would be a compiler's worth of code around what `schema_to` and `array_to` do.
"""
cimport cython
from cpython.exc cimport PyErr_CheckSignals, PyErr_SetInterrupt
from cpython.object cimport PyObject
from cpython.pycapsule cimport PyCapsule_GetPointer, PyCapsule_New
from cpython.ref cimport Py_DECREF, Py_INCREF
from libc.errno cimport EIO
from libc.stdint cimport int64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memset


cdef extern from *:
    """
    #include <stdint.h>
    #ifndef ARROW_C_DATA_INTERFACE
    #define ARROW_C_DATA_INTERFACE
    struct ArrowSchema {
      const char *format, *name, *metadata;
      int64_t flags, n_children;
      struct ArrowSchema **children, *dictionary;
      void (*release)(struct ArrowSchema *);
      void *private_data;
    };
    struct ArrowArray {
      int64_t length, null_count, offset, n_buffers, n_children;
      const void **buffers;
      struct ArrowArray **children, *dictionary;
      void (*release)(struct ArrowArray *);
      void *private_data;
    };
    #endif
    #ifndef ARROW_C_STREAM_INTERFACE
    #define ARROW_C_STREAM_INTERFACE
    struct ArrowArrayStream {
      int (*get_schema)(struct ArrowArrayStream *, struct ArrowSchema *);
      int (*get_next)(struct ArrowArrayStream *, struct ArrowArray *);
      const char *(*get_last_error)(struct ArrowArrayStream *);
      void (*release)(struct ArrowArrayStream *);
      void *private_data;
    };
    #endif
    """
    struct ArrowSchema:
        const char *format
        const char *name
        const char *metadata
        int64_t flags
        int64_t n_children
        ArrowSchema **children
        ArrowSchema *dictionary
        void (*release)(ArrowSchema *) noexcept
        void *private_data
    struct ArrowArray:
        int64_t length
        int64_t null_count
        int64_t offset
        int64_t n_buffers
        int64_t n_children
        const void **buffers
        ArrowArray **children
        ArrowArray *dictionary
        void (*release)(ArrowArray *) noexcept
        void *private_data
    struct ArrowArrayStream:
        int (*get_schema)(ArrowArrayStream *, ArrowSchema *) noexcept
        int (*get_next)(ArrowArrayStream *, ArrowArray *) noexcept
        const char *(*get_last_error)(ArrowArrayStream *) noexcept
        void (*release)(ArrowArrayStream *) noexcept
        void *private_data

cdef enum:
    NULLABLE = 2


@cython.final
cdef class Node:
    """An array, and what it is called.

    Parameters
    ----------
    name : str
    format : str
        Arrow's notation of the type.
    n : int
        Its length.
    buffers : sequence of numpy.ndarray or None
        In the order that the type has them; contiguous. They must not change any more.
    null_count : int
    children : sequence of Node
    dictionary : Node or None
    """

    cdef readonly str name, format
    cdef readonly int64_t n, null_count
    cdef readonly tuple buffers, children
    cdef readonly Node dictionary
    cdef bytes name_bytes, format_bytes

    def __init__(self, str name, str format, n, buffers, *, null_count=0, children=(), Node dictionary=None):
        self.name = name
        self.format = format
        self.n = n
        self.buffers = tuple(buffers)
        self.null_count = null_count
        self.children = tuple(children)
        self.dictionary = dictionary
        self.name_bytes = name.encode()
        self.format_bytes = format.encode()


# ---- MARK: Schemas ----

cdef void schema_release(ArrowSchema *s) noexcept with gil:
    cdef int64_t i
    for i in range(s.n_children):
        if s.children[i].release != NULL:
            s.children[i].release(s.children[i])
        free(s.children[i])
    free(s.children)
    if s.dictionary != NULL:
        if s.dictionary.release != NULL:
            s.dictionary.release(s.dictionary)
        free(s.dictionary)
    Py_DECREF(<object>s.private_data)
    s.release = NULL


cdef int schema_to(Node node, ArrowSchema *s) except -1:
    """Fill in a schema. It keeps the node, whose strings it shows. On an exception it has released itself."""
    memset(s, 0, sizeof(s[0]))
    s.format = node.format_bytes
    s.name = node.name_bytes
    s.flags = NULLABLE
    s.private_data = <void *>node
    Py_INCREF(node)
    s.release = schema_release
    try:
        if node.children:
            s.children = <ArrowSchema **>calloc(len(node.children), sizeof(ArrowSchema *))
            if s.children == NULL:
                raise MemoryError
            for child in node.children:
                s.children[s.n_children] = <ArrowSchema *>calloc(1, sizeof(ArrowSchema))
                if s.children[s.n_children] == NULL:
                    raise MemoryError
                s.n_children += 1
                schema_to(child, s.children[s.n_children - 1])
        if node.dictionary is not None:
            s.dictionary = <ArrowSchema *>calloc(1, sizeof(ArrowSchema))
            if s.dictionary == NULL:
                raise MemoryError
            schema_to(node.dictionary, s.dictionary)
    except BaseException:
        s.release(s)
        raise
    return 0


# ---- MARK: Arrays ----

cdef void array_release(ArrowArray *a) noexcept with gil:
    cdef int64_t i
    for i in range(a.n_children):
        if a.children[i].release != NULL:  # else somebody has moved it away
            a.children[i].release(a.children[i])
        free(a.children[i])
    free(a.children)
    if a.dictionary != NULL:
        if a.dictionary.release != NULL:
            a.dictionary.release(a.dictionary)
        free(a.dictionary)
    free(a.buffers)
    Py_DECREF(<object>a.private_data)
    a.release = NULL


cdef int array_to(Node node, ArrowArray *a) except -1:
    """Fill in an array. It keeps the node, whose buffers it shows. On an exception it has released itself."""
    memset(a, 0, sizeof(a[0]))
    a.length = node.n
    a.null_count = node.null_count
    a.private_data = <void *>node
    Py_INCREF(node)
    a.release = array_release
    try:
        a.buffers = <const void **>calloc(len(node.buffers) + 1, sizeof(void *))
        if a.buffers == NULL:
            raise MemoryError
        for buffer in node.buffers:
            if buffer is not None:
                if not buffer.flags.c_contiguous:
                    raise ValueError(f"{node.name}: a buffer is not contiguous")
                a.buffers[a.n_buffers] = <const void *><size_t>buffer.ctypes.data
            a.n_buffers += 1
        if node.children:
            a.children = <ArrowArray **>calloc(len(node.children), sizeof(ArrowArray *))
            if a.children == NULL:
                raise MemoryError
            for child in node.children:
                a.children[a.n_children] = <ArrowArray *>calloc(1, sizeof(ArrowArray))
                if a.children[a.n_children] == NULL:
                    raise MemoryError
                a.n_children += 1
                array_to(child, a.children[a.n_children - 1])
        if node.dictionary is not None:
            a.dictionary = <ArrowArray *>calloc(1, sizeof(ArrowArray))
            if a.dictionary == NULL:
                raise MemoryError
            array_to(node.dictionary, a.dictionary)
    except BaseException:
        a.release(a)
        raise
    return 0


# ---- MARK: Streams ----

cdef class Stream:
    """What a stream reads from."""

    cdef Node schema
    cdef object batches
    cdef bytes error


cdef int stream_schema(ArrowArrayStream *stream, ArrowSchema *out) noexcept with gil:
    cdef Stream self = <Stream>stream.private_data
    try:
        schema_to(self.schema, out)
    except BaseException as error:
        self.error = str(error).encode()
        return EIO
    return 0


cdef int stream_next(ArrowArrayStream *stream, ArrowArray *out) noexcept with gil:
    cdef Stream self = <Stream>stream.private_data
    try:
        batch = next(self.batches, None)
        if batch is None:
            memset(out, 0, sizeof(out[0]))
        else:
            array_to(batch, out)
    except KeyboardInterrupt:
        PyErr_SetInterrupt()  # which no error of a stream can tell: it is raised as soon as the reader has returned
        self.error = b"interrupted"
        return EIO
    except BaseException as error:
        self.error = f"{type(error).__name__}: {error}".encode()
        return EIO
    return 0


cdef const char *stream_error(ArrowArrayStream *stream) noexcept with gil:
    cdef Stream self = <Stream>stream.private_data
    return NULL if self.error is None else <const char *>self.error


cdef void stream_release(ArrowArrayStream *stream) noexcept with gil:
    Py_DECREF(<object>stream.private_data)
    stream.release = NULL


# ---- MARK: Capsules ----

cdef void drop_schema(object capsule) noexcept:
    cdef ArrowSchema *s = <ArrowSchema *>PyCapsule_GetPointer(capsule, b"arrow_schema")
    if s.release != NULL:
        s.release(s)
    free(s)


cdef void drop_stream(object capsule) noexcept:
    cdef ArrowArrayStream *s = <ArrowArrayStream *>PyCapsule_GetPointer(capsule, b"arrow_array_stream")
    if s.release != NULL:
        s.release(s)
    free(s)


def schema_capsule(Node schema not None):
    """What ``__arrow_c_schema__`` returns."""
    cdef ArrowSchema *s = <ArrowSchema *>calloc(1, sizeof(ArrowSchema))
    if s == NULL:
        raise MemoryError
    capsule = PyCapsule_New(s, b"arrow_schema", drop_schema)
    schema_to(schema, s)
    return capsule


def check_signals():
    """Raise what a signal has left to be raised, instead of some time later."""
    PyErr_CheckSignals()


def stream_capsule(Node schema not None, batches):
    """What ``__arrow_c_stream__`` returns.

    Parameters
    ----------
    schema : Node
        A struct; its arrays are not looked at.
    batches : iterable of Node
        Structs like it. They are made when the reader asks for them.
    """
    cdef ArrowArrayStream *s
    cdef Stream stream = Stream.__new__(Stream)
    stream.schema = schema
    stream.batches = iter(batches)
    s = <ArrowArrayStream *>calloc(1, sizeof(ArrowArrayStream))
    if s == NULL:
        raise MemoryError
    s.get_schema = stream_schema
    s.get_next = stream_next
    s.get_last_error = stream_error
    s.release = stream_release
    s.private_data = <void *>stream
    Py_INCREF(stream)
    return PyCapsule_New(s, b"arrow_array_stream", drop_stream)
