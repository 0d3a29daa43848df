/* Assertions for the C tests: a failed one is told and counted, and the test goes on. */
#ifndef EW_CHECK_H
#define EW_CHECK_H

#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static unsigned long check_count, check_failures;

static inline bool check_that(bool ok, const char *file, int line, const char *what)
{
    check_count++;
    if (!ok && ++check_failures <= 50) /* the first ones tell enough */
        fprintf(stderr, "%s:%d: %s\n", file, line, what);
    return ok;
}

static inline bool check_int(int64_t got, int64_t want, const char *file, int line, const char *what)
{
    bool ok = check_that(got == want, file, line, what);
    if (!ok && check_failures <= 50)
        fprintf(stderr, "    got %" PRId64 ", expected %" PRId64 "\n", got, want);
    return ok;
}

static inline bool check_text(const char *got, size_t n, const char *want, const char *file, int line, const char *what)
{
    bool ok = check_that(n == strlen(want) && memcmp(got, want, n) == 0, file, line, what);
    if (!ok && check_failures <= 50)
        fprintf(stderr, "    got \"%.*s\", expected \"%s\"\n", (int)n, got, want);
    return ok;
}

#define CHECK(condition) check_that(condition, __FILE__, __LINE__, #condition)
#define CHECK_INT(got, want) check_int((int64_t)(got), (int64_t)(want), __FILE__, __LINE__, #got)
#define CHECK_TEXT(got, n, want) check_text((const char *)(got), n, want, __FILE__, __LINE__, #got)
/* In loops over a table: `about` names the case. */
#define CHECK_CASE(condition, about)                                        \
    ((void)(CHECK(condition) || (check_failures <= 50 && fprintf(stderr, "    case: %s\n", about))))

static inline int check_result(void)
{
    if (check_failures)
        fprintf(stderr, "%lu of %lu checks failed\n", check_failures, check_count);
    else
        printf("%lu checks, ", check_count);
    return check_failures != 0;
}

/* Random numbers that are the same on every machine (xorshift64*). */
static inline uint64_t check_random(uint64_t *state)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * UINT64_C(0x2545f4914f6cdd1d);
}

/* A copy without a byte to spare, so that AddressSanitizer sees every read beyond it. */
static inline uint8_t *check_copy(const void *s, size_t n)
{
    uint8_t *copy = malloc(n ? n : 1);
    if (!copy)
        abort();
    memcpy(copy, s, n);
    return copy;
}

#endif
