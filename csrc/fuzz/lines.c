/* Captures of lines: a byte for the venue and the format, one for the size of blocks, then the capture. However it is
 * cut into blocks, the lines are the same, and every record that they give is in the columns. */
#include "../tests/files.h"
#include "execwire.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef struct sum {
    uint64_t lines, offsets, payload;
    int64_t ts;
} sum;

static sum read_lines(const uint8_t *s, size_t n, size_t block, int stamped)
{
    sum x = {0, 0, 0, 0};
    ew_lines *l = ew_lines_new(stamped);
    ew_span span;
    for (size_t at = 0; at < n;) {
        size_t part = n - at < block ? n - at : block;
        memcpy(ew_lines_room(l, part), s + at, part);
        at += part;
        ew_lines_filled(l, part, at == n);
        while (ew_lines_next(l, &span)) {
            if (span.offset + span.n > n || memcmp(s + span.offset, span.payload, span.n) != 0 || span.line == 0)
                abort();
            x.lines = x.lines * 31 + span.line;
            x.offsets = x.offsets * 31 + span.offset;
            x.payload = x.payload * 31 + span.n;
            x.ts = (int64_t)((uint64_t)x.ts * 31 + (uint64_t)span.ts_recv);
        }
    }
    ew_lines_free(l);
    return x;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static ew_dialect *dialects[VENUES];
    if (size < 2)
        return 0;
    const unsigned venue = data[0] / 3 % VENUES;
    const int stamped = data[0] % 3;
    const size_t block = (size_t)data[1] + 1, n = size - 2;
    uint8_t *s = malloc(n ? n : 1);
    memcpy(s, data + 2, n);
    sum a = read_lines(s, n, block, stamped), b = read_lines(s, n, n + 1, stamped);
    if (memcmp(&a, &b, sizeof a) != 0)
        abort();

    if (!dialects[venue])
        dialects[venue] = venue_dialect(venue);
    ew_decoder *k = ew_decoder_new(dialects[venue]), *closer = ew_decoder_new(dialects[venue]);
    ew_columns *c = ew_columns_new(1 + data[1] % 70);
    ew_lines *l = ew_lines_new(stamped);
    ew_span span;
    size_t rows = 0;
    memcpy(ew_lines_room(l, n), s, n);
    ew_lines_filled(l, n, 1);
    for (ew_fed fed; (fed = ew_columns_feed(c, k, closer, l, &span)) != EW_FED_ALL;)
        if (fed == EW_FED_MEMORY || fed == EW_FED_UNSURE || (fed == EW_FED_ERROR && !ew_last_error(k)->status))
            abort();
    for (ew_batch *batch; (batch = ew_columns_take(c, 1)); ew_batch_free(batch)) {
        rows += batch->n;
        size_t n_fields;
        const ew_field *fields = ew_fields(batch->kind, &n_fields);
        for (size_t f = 0; f < n_fields; f++) {
            const ew_column *col = &batch->columns[f];
            int32_t *offsets = malloc((batch->n + 1) * sizeof *offsets);
            uint64_t *wide = malloc(16 * batch->n);
            double *doubles = malloc(8 * batch->n);
            if (fields[f].type == EW_TYPE_ID || fields[f].size == sizeof(ew_text128)) {
                uint8_t *text = malloc(ew_column_text_room(col, batch->n));
                ew_column_text(col, batch->heap, batch->n, offsets, text);
                free(text);
            } else if (fields[f].type == EW_TYPE_DEC) {
                int scale = ew_column_scale(col, batch->n, data[1] & 1);
                ew_column_int128(col, batch->n, scale, wide);
                ew_column_double(col, batch->n, doubles);
            }
            free(offsets);
            free(wide);
            free(doubles);
        }
    }
    if (rows != ew_decoder_stats(k)->records)
        abort();
    ew_lines_free(l);
    ew_columns_free(c);
    ew_decoder_free(k);
    ew_decoder_free(closer);
    free(s);
    return 0;
}
