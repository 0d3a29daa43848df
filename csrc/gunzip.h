/* gzip frames: one WebSocket frame, inflated into a buffer that the next frame reuses.
 *
 * The library links no inflater. Whoever wants gzip frames hands one over at run time: four functions of zlib-ng's
 * native interface. zlib's own differ only in inflateInit2, which is a macro there and needs a one-line wrapper.
 */
#ifndef EXECWIRE_GUNZIP_H
#define EXECWIRE_GUNZIP_H

#include "execwire.h"

#ifdef __cplusplus
extern "C" {
#endif

/* zng_stream. The tail is longer than theirs, because zlib's z_stream has a wider checksum there. */
typedef struct ew_zstream {
    const uint8_t *next_in;
    uint32_t avail_in;
    size_t total_in;
    uint8_t *next_out;
    uint32_t avail_out;
    size_t total_out;
    const char *msg; /* constant texts of the inflater, or null */
    void *state;
    void *zalloc, *zfree, *opaque; /* null: malloc and free */
    int data_type;
    uint32_t adler;
    uint64_t reserved[2];
} ew_zstream;

typedef int32_t (*ew_zcall)(ew_zstream *stream);
typedef int32_t (*ew_zcall_with)(ew_zstream *stream, int32_t argument);

typedef struct ew_inflater {
    ew_zcall_with init2; /* window bits */
    ew_zcall reset;
    ew_zcall_with inflate; /* flush */
    ew_zcall end;
} ew_inflater;

typedef struct ew_gunzip ew_gunzip;

/* Null if there is no memory. `max_out` bounds what one frame may inflate to. */
ew_gunzip *ew_gunzip_new(const ew_inflater *inflater, size_t max_out);
void ew_gunzip_free(ew_gunzip *gunzip);

/* Inflate one frame: one or more gzip members, then nothing but zeros. `*out` is valid until the next call.
 * On EW_ERR_GZIP and EW_ERR_LIMIT, error->position counts the bytes of the frame that were consumed. */
ew_status ew_gunzip_frame(ew_gunzip *gunzip, const uint8_t *frame, size_t n, const uint8_t **out, size_t *n_out,
                          ew_error *error);

static inline int ew_is_gzip(const uint8_t *p, size_t n)
{
    return n >= 2 && p[0] == 0x1f && p[1] == 0x8b;
}

#ifdef __cplusplus
}
#endif
#endif
