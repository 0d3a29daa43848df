/* execwire itself: a dialect from its table, one decoder. With BLANK, decoders have not even seen the dialect's samples. */
#include "task.h"

static const char *version(void) { return ""; /* the package's */ }

static void *prepare(const char *venue, const char *table, size_t n)
{
    ew_error error;
    (void)venue;
    return ew_dialect_parse(table, n, 1, &error);
}

static void *open_decoder(void *dialect)
{
    ew_decoder *k = dialect ? ew_decoder_new((const ew_dialect *)dialect) : NULL;
#ifndef BLANK
    if (k)
        ew_rehearse(k); /* as the Python package makes them */
#endif
    return k;
}

static size_t decode(void *decoder, const uint8_t *message, size_t n)
{
    size_t records;
    return ew_decode_padded((ew_decoder *)decoder, message, n, 0, &records) == EW_OK ? records : TASK_FAILED;
}

static const ew_record *get(void *decoder, size_t i) { return ew_get((const ew_decoder *)decoder, i); }

static void close_decoder(void *decoder) { ew_decoder_free((ew_decoder *)decoder); }

const struct task_contender contender = {version, prepare, open_decoder, decode, get, close_decoder};
