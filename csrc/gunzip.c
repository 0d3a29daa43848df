/* Inflate gzip frames with an inflater handed over at run time. */
#include "gunzip.h"

#include "internal.h"

#include <stdlib.h>

/* zlib's and zlib-ng's numbers */
enum { FLUSH_FINISH = 4, Z_RC_OK = 0, Z_RC_STREAM_END = 1, Z_RC_MEM_ERROR = -4, Z_RC_BUF_ERROR = -5 };
enum { WINDOW_GZIP_ONLY = 15 + 16 };
enum { FIRST_CAPACITY = 1 << 14 };

struct ew_gunzip {
    ew_inflater f;
    ew_zstream stream;
    uint8_t *out;
    size_t capacity;
    size_t max_out;
    bool ready;
};

ew_gunzip *ew_gunzip_new(const ew_inflater *inflater, size_t max_out)
{
    ew_gunzip *g = calloc(1, sizeof *g);
    if (!g)
        return NULL;
    g->f = *inflater;
    g->max_out = max_out < EW_MAX_PAYLOAD ? max_out : EW_MAX_PAYLOAD;
    return g;
}

void ew_gunzip_free(ew_gunzip *g)
{
    if (!g)
        return;
    if (g->ready)
        g->f.end(&g->stream);
    free(g->out);
    free(g);
}

/* Room for at least one more byte. One byte more than the limit may be had: it shows that the limit was passed. */
static bool grow(ew_gunzip *g, size_t used)
{
    size_t most = g->max_out + 1, capacity;
    uint8_t *out;
    if (used < g->capacity)
        return true;
    capacity = g->capacity ? 2 * g->capacity : FIRST_CAPACITY;
    if (capacity > most)
        capacity = most;
    out = realloc(g->out, capacity);
    if (!out)
        return false;
    g->out = out;
    g->capacity = capacity;
    return true;
}

ew_status ew_gunzip_frame(ew_gunzip *g, const uint8_t *frame, size_t n, const uint8_t **out, size_t *n_out,
                          ew_error *error)
{
    ew_zstream *s = &g->stream;
    const uint8_t *p = frame, *end = frame + n;
    size_t used = 0;

    *out = NULL;
    *n_out = 0;
    if (!ew_is_gzip(frame, n))
        return ew_fail(error, EW_ERR_GZIP, "not a gzip frame", 0);
    if (!g->ready) {
        if (g->f.init2(s, WINDOW_GZIP_ONLY) != Z_RC_OK)
            return ew_fail(error, EW_ERR_MEMORY, "out of memory", 0);
        g->ready = true;
    }
    while (p < end) {
        const uint8_t *rest = p;
        int32_t rc;

        if (p != frame) { /* after a member: another one, or padding */
            while (rest < end && *rest == 0)
                rest++;
            if (rest == end)
                break;
            if (!ew_is_gzip(p, (size_t)(end - p)))
                return ew_fail(error, EW_ERR_GZIP, "bytes after the last gzip member", (size_t)(rest - frame));
        }
        g->f.reset(s);
        do {
            size_t in = (size_t)(end - p), room;
            if (!grow(g, used))
                return ew_fail(error, EW_ERR_MEMORY, "out of memory", (size_t)(p - frame));
            room = g->capacity - used; /* at most EW_MAX_PAYLOAD + 1 */
            s->next_in = p;
            s->avail_in = in < UINT32_MAX ? (uint32_t)in : UINT32_MAX;
            s->next_out = g->out + used;
            s->avail_out = (uint32_t)room;
            /* FINISH spares the copy of the window when the frame fits, and only asks for room when it does not. */
            rc = g->f.inflate(s, FLUSH_FINISH);
            if (s->next_in == p && s->avail_out == room && rc == Z_RC_BUF_ERROR)
                return ew_fail(error, EW_ERR_GZIP, "truncated gzip frame", n);
            p = s->next_in;
            used = g->capacity - s->avail_out;
            if (used > g->max_out)
                return ew_fail(error, EW_ERR_LIMIT, "gzip frame inflates beyond the limit", (size_t)(p - frame));
            if (rc == Z_RC_MEM_ERROR)
                return ew_fail(error, EW_ERR_MEMORY, "out of memory", (size_t)(p - frame));
            if (rc < 0 && rc != Z_RC_BUF_ERROR)
                return ew_fail(error, EW_ERR_GZIP, s->msg ? s->msg : "corrupt gzip frame", (size_t)(p - frame));
        } while (rc != Z_RC_STREAM_END);
    }
    *out = g->out;
    *n_out = used;
    return ew_fail(error, EW_OK, "", 0);
}
