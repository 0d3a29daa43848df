/* gzip frames to records: ew_gunzip_frame, then ew_decode. With BARE, what cannot be avoided instead: zlib-ng's inflate,
 * its state reused, then ew_decode. Both take zlib-ng from the library that the environment's BENCH_ZNG names. */
#include "gunzip.h"
#include "task.h"

#include <dlfcn.h>
#include <stdlib.h>

struct decoder {
    ew_decoder *decoder;
    ew_inflater zng;
    ew_gunzip *gunzip;
    ew_zstream stream;
    uint8_t out[1 << 16];
};

static const char *version(void)
{
    void *library = dlopen(getenv("BENCH_ZNG"), RTLD_NOW | RTLD_LOCAL);
    const char *(*get)(void) = library ? (const char *(*)(void))dlsym(library, "zlibng_version") : NULL;
    return get ? get() : "";
}

static void *prepare(const char *venue, const char *table, size_t n)
{
    ew_error error;
    (void)venue;
    return ew_dialect_parse(table, n, 1, &error);
}

static void *open_decoder(void *dialect)
{
    struct decoder *d = calloc(1, sizeof *d);
    void *library = dlopen(getenv("BENCH_ZNG"), RTLD_NOW | RTLD_LOCAL);
    if (!d || !library || !dialect)
        return NULL;
    d->zng.init2 = (ew_zcall_with)dlsym(library, "zng_inflateInit2");
    d->zng.reset = (ew_zcall)dlsym(library, "zng_inflateReset");
    d->zng.inflate = (ew_zcall_with)dlsym(library, "zng_inflate");
    d->zng.end = (ew_zcall)dlsym(library, "zng_inflateEnd");
    if (!d->zng.init2 || !d->zng.reset || !d->zng.inflate || !d->zng.end || d->zng.init2(&d->stream, 31))
        return NULL;
    d->gunzip = ew_gunzip_new(&d->zng, 1 << 20);
    d->decoder = ew_decoder_new(dialect);
    return d->gunzip && d->decoder ? d : NULL;
}

static size_t decode(void *decoder, const uint8_t *frame, size_t n)
{
    struct decoder *d = decoder;
    const uint8_t *payload;
    size_t size, records;
#ifdef BARE
    enum { FINISH = 4, STREAM_END = 1 };
    d->zng.reset(&d->stream);
    d->stream.next_in = frame;
    d->stream.avail_in = (uint32_t)n;
    d->stream.next_out = d->out;
    d->stream.avail_out = sizeof d->out;
    if (d->zng.inflate(&d->stream, FINISH) != STREAM_END)
        return TASK_FAILED;
    payload = d->out;
    size = sizeof d->out - d->stream.avail_out;
#else
    ew_error error;
    if (ew_gunzip_frame(d->gunzip, frame, n, &payload, &size, &error) != EW_OK)
        return TASK_FAILED;
#endif
    return ew_decode(d->decoder, payload, size, 0, &records) == EW_OK ? records : TASK_FAILED;
}

static const ew_record *get(void *decoder, size_t i) { return ew_get(((struct decoder *)decoder)->decoder, i); }

static void close_decoder(void *decoder)
{
    struct decoder *d = decoder;
    d->zng.end(&d->stream);
    ew_gunzip_free(d->gunzip);
    ew_decoder_free(d->decoder);
    free(d);
}

const struct task_contender contender = {version, prepare, open_decoder, decode, get, close_decoder};
