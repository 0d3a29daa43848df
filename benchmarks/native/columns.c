/* A capture of the messages, one a line, decoded into columns PASSES times, block by block: for callgrind. */
#include "execwire.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCK = 256 << 10, PIECE = 1024, ROWS = 8192 }; /* the growth of a first batch is soon over */

static char *read_file(const char *path, size_t *n)
{
    FILE *file = fopen(path, "rb");
    if (!file)
        return NULL;
    fseek(file, 0, SEEK_END);
    *n = (size_t)ftell(file);
    rewind(file);
    char *text = malloc(*n + 1);
    if (!text || fread(text, 1, *n, file) != *n)
        exit(2);
    fclose(file);
    return text;
}

/* Messages with their lengths before them become lines, in place: a length takes more than a line feed. */
static size_t to_lines(char *text, size_t n)
{
    size_t to = 0;
    for (size_t at = 0; at + 4 <= n;) {
        uint32_t size;
        memcpy(&size, text + at, 4);
        memmove(text + to, text + at + 4, size);
        to += size;
        text[to++] = '\n';
        at += 4 + size;
    }
    return to;
}

int main(int argc, char **argv)
{
    size_t n = 0, n_table = 0;
    ew_error error;
    ew_span span;
    if (argc != 5) {
        fprintf(stderr, "usage: %s MESSAGES VENUE TABLE PASSES\n", argv[0]);
        return 2;
    }
    char *text = read_file(argv[1], &n), *table = read_file(argv[3], &n_table);
    ew_dialect *d = table ? ew_dialect_parse(table, n_table, 1, &error) : NULL;
    if (!text || !d)
        return 2;
    n = to_lines(text, n);
    ew_decoder *k = ew_decoder_new(d), *closer = ew_decoder_new(d);
    ew_rehearse(k);
    ew_columns *c = ew_columns_new(ROWS);
    ew_lines *lines = ew_lines_new(0);
    for (int pass = 0; pass < atoi(argv[4]); pass++)
        for (size_t at = 0; at < n; at += BLOCK) {
            size_t part = n - at < BLOCK ? n - at : BLOCK;
            /* In pieces: libc copies large blocks with one instruction that is counted once a byte. */
            uint8_t *to = ew_lines_room(lines, part);
            for (size_t i = 0; i < part; i += PIECE)
                memcpy(to + i, text + at + i, part - i < PIECE ? part - i : PIECE);
            ew_lines_filled(lines, part, 0);
            if (ew_columns_feed(c, k, closer, lines, &span) != EW_FED_ALL)
                return 1;
            for (ew_batch *b; (b = ew_columns_take(c, 0));)
                ew_batch_free(b);
        }
    ew_lines_free(lines);
    ew_columns_free(c);
    ew_decoder_free(k);
    ew_decoder_free(closer);
    ew_dialect_free(d);
    free(text);
    free(table);
    return 0;
}
