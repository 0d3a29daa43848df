/* Files and tables for the tests and fuzzers, which run in csrc/. */
#ifndef EW_FILES_H
#define EW_FILES_H

#include "execwire.h"

#include <stdio.h>
#include <stdlib.h>

typedef struct file {
    uint8_t *s;
    size_t n;
} file;

/* The whole file; s is null if there is none. */
static inline file file_read(const char *path)
{
    file f = {NULL, 0};
    size_t cap = 1 << 16, got = 0;
    FILE *from = fopen(path, "rb");
    if (!from)
        return f;
    f.s = malloc(cap);
    while (f.s && (got = fread(f.s + f.n, 1, cap - f.n, from)) > 0) {
        f.n += got;
        if (f.n == cap)
            f.s = realloc(f.s, cap *= 2);
    }
    fclose(from);
    if (!f.s)
        abort();
    return f;
}

/* The built-in venues; their tables are generated (see the Makefile's `tables`). */
static const char *const venue_names[] = {
    "binance-futures", "binance-spot", "bitget", "bitget-v1", "gzip-broker", "openapi-broker",
};
#define VENUES (sizeof venue_names / sizeof *venue_names)

static inline ew_dialect *venue_dialect(unsigned venue)
{
    char path[256];
    ew_error error;
    snprintf(path, sizeof path, "tests/tables/%s.tab", venue_names[venue]);
    file table = file_read(path);
    if (!table.s) {
        fprintf(stderr, "%s: cannot read it; run in csrc/\n", path);
        exit(2);
    }
    ew_dialect *d = ew_dialect_parse((const char *)table.s, table.n, (uint16_t)venue, &error);
    free(table.s);
    if (!d) {
        fprintf(stderr, "%s:%zu: %s\n", path, error.position, error.message);
        exit(2);
    }
    return d;
}

#endif
