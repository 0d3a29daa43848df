/* Times one native contender over the messages of a file: hot, cold, or with fresh decoders. Built into a library with
 * it, or, with BENCH_MAIN, into a program that only decodes, for callgrind.
 *
 * A file of messages is a row of 32-bit little-endian lengths, each followed by that many bytes.
 */
#define _GNU_SOURCE
#include "task.h"

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

struct bench {
    uint8_t *bytes;
    const uint8_t **messages;
    size_t *lengths;
    size_t n;
    void *prepared, *decoder;
    uint64_t records; /* so that nothing can be left out */
};

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static uint8_t *slurp(const char *path, size_t *n)
{
    FILE *file = fopen(path, "rb");
    if (!file)
        return NULL;
    fseek(file, 0, SEEK_END);
    *n = (size_t)ftell(file);
    rewind(file);
    uint8_t *bytes = malloc(*n + TASK_PADDING);
    if (bytes && fread(bytes, 1, *n, file) != *n) {
        free(bytes);
        bytes = NULL;
    }
    fclose(file);
    return bytes;
}

/* Messages stand one after the other, as in the buffer of a socket, with the padding that some parsers want. */
static int read_messages(struct bench *b, const char *path)
{
    size_t size, at, n = 0;
    uint32_t length;
    uint8_t *file = slurp(path, &size);
    if (!file)
        return -1;
    for (at = 0; at + 4 <= size; at += 4 + length, n++)
        memcpy(&length, file + at, 4);
    b->bytes = calloc(1, size + n * 64 + TASK_PADDING);
    b->messages = malloc(n * sizeof *b->messages);
    b->lengths = malloc(n * sizeof *b->lengths);
    if (!b->bytes || !b->messages || !b->lengths)
        return -1;
    uint8_t *to = b->bytes;
    for (at = 0, b->n = 0; b->n < n; at += 4 + length) {
        memcpy(&length, file + at, 4);
        memcpy(to, file + at + 4, length);
        b->messages[b->n] = to;
        b->lengths[b->n++] = length;
        to += length + 64;
    }
    free(file);
    return 0;
}

void *bench_open(const char *messages, const char *venue, const char *table)
{
    struct bench *b = calloc(1, sizeof *b);
    size_t n;
    uint8_t *text = slurp(table, &n);
    if (!b || !text || read_messages(b, messages))
        return NULL;
    b->prepared = contender.prepare(venue, (const char *)text, n);
    free(text);
    b->decoder = contender.open(b->prepared);
    return b->decoder ? b : NULL;
}

const char *bench_version(void) { return contender.version(); }

size_t bench_count(const struct bench *b) { return b->n; }

/* Decode the first n messages; returns how many failed. The caller takes the time. */
size_t bench_pass(struct bench *b, size_t n)
{
    size_t failed = 0;
    for (size_t i = 0; i < n; i++) {
        size_t records = contender.decode(b->decoder, b->messages[i], b->lengths[i]);
        failed += records == TASK_FAILED;
        b->records += records;
    }
    return failed;
}

/* The memory that decoders hold after they have seen all messages, in bytes. */
size_t bench_memory(struct bench *b)
{
    struct mallinfo2 before = mallinfo2();
    void *decoder = contender.open(b->prepared);
    for (size_t i = 0; i < b->n; i++)
        contender.decode(decoder, b->messages[i], b->lengths[i]);
    struct mallinfo2 after = mallinfo2();
    contender.close(decoder);
    return after.uordblks + after.hblkhd - before.uordblks - before.hblkhd;
}

/* ns per message for the first `first` messages of a decoder; the mean over `decoders`. Making it is not counted. */
double bench_fresh(struct bench *b, size_t first, size_t decoders)
{
    double sum = 0;
    for (size_t d = 0; d < decoders; d++) {
        void *decoder = contender.open(b->prepared);
        size_t from = d * first % (b->n - first);
        double start = now();
        for (size_t i = from; i < from + first; i++)
            b->records += contender.decode(decoder, b->messages[i], b->lengths[i]);
        sum += now() - start;
        contender.close(decoder);
    }
    return sum / (double)(first * decoders);
}

/*==== MARK: Cold ====*/

#define BRANCH(i) if (dice[(at + i) & 4095] & 1) __asm__ volatile("addq $1, %0" : "+r"(x)); \
                  else __asm__ volatile("xorq $3, %0" : "+r"(x));
#define BRANCHES4(i) BRANCH(i) BRANCH(i + 1) BRANCH(i + 2) BRANCH(i + 3)
#define BRANCHES16(i) BRANCHES4(i) BRANCHES4(i + 4) BRANCHES4(i + 8) BRANCHES4(i + 12)
#define BRANCHES64(i) BRANCHES16(i) BRANCHES16(i + 16) BRANCHES16(i + 32) BRANCHES16(i + 48)
#define BRANCHES256(i) BRANCHES64(i) BRANCHES64(i + 64) BRANCHES64(i + 128) BRANCHES64(i + 192)
#define BRANCHES1024(i) BRANCHES256(i) BRANCHES256(i + 256) BRANCHES256(i + 512) BRANCHES256(i + 768)

/* 4,096 branches, each taken at random: more code than the instruction cache holds, more than predictors remember. */
__attribute__((noinline)) static uint64_t thrash_code(const uint8_t *dice, size_t at)
{
    uint64_t x = at;
#if defined __x86_64__
    BRANCHES1024(0) BRANCHES1024(1024) BRANCHES1024(2048) BRANCHES1024(3072)
#else
    for (size_t i = 0; i < 4096; i++)
        x = dice[(at + i) & 4095] & 1 ? x + i : x ^ 3;
#endif
    return x;
}

struct thrash {
    uint8_t dice[4096];
    volatile uint8_t *memory;
    size_t size;
    uint64_t random;
};

static void thrash(struct thrash *t)
{
    uint64_t x = t->random;
    for (int turn = 0; turn < 4; turn++) {
        for (size_t i = 0; i < sizeof t->dice; i += 8) {
            x ^= x << 13, x ^= x >> 7, x ^= x << 17;
            memcpy(t->dice + i, &x, 8);
        }
        x += thrash_code(t->dice, (size_t)x & 4095);
    }
    t->random = x | 1;
    for (size_t i = 0; i < t->size; i += 64)
        t->memory[i]++;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

__attribute__((noinline)) static size_t nothing(void *decoder, const uint8_t *message, size_t n)
{
    __asm__ volatile("" : : "r"(decoder), "r"(message), "r"(n) : "memory");
    return 0;
}

static double cold(struct bench *b, struct thrash *t, double *times, size_t n,
                   size_t (*decode)(void *, const uint8_t *, size_t))
{
    for (size_t i = 0; i < n; i++) {
        size_t m = i * 7 % b->n;
        thrash(t);
        double start = now();
        b->records += decode(b->decoder, b->messages[m], b->lengths[m]);
        times[i] = now() - start;
    }
    qsort(times, n, sizeof *times, by_value);
    return times[n / 2];
}

/* The median over n messages, before each of which caches (of level 1 and 2, at least) and predictors are filled with
 * something else; less what the measuring itself takes when cold. The decoder has seen all messages before. */
double bench_cold(struct bench *b, size_t n)
{
    struct thrash t = {.random = 88172645463325252u};
    long l2 = sysconf(_SC_LEVEL2_CACHE_SIZE);
    t.size = l2 > (2 << 20) ? 2 * (size_t)l2 : (size_t)4 << 20;
    t.memory = calloc(1, t.size);
    double *times = malloc(n * sizeof *times);
    if (!t.memory || !times)
        return -1;
    bench_pass(b, b->n);
    double empty = cold(b, &t, times, n, nothing);
    double full = cold(b, &t, times, n, contender.decode);
    free((void *)t.memory);
    free(times);
    return full - empty;
}

/*==== MARK: What came out ====*/

static void write_text(FILE *out, const char *s, size_t n)
{
    putc('"', out);
    for (size_t i = 0; i < n; i++)
        if ((uint8_t)s[i] < ' ' || s[i] == '"' || s[i] == '\\')
            fprintf(out, "\\u%04x", (unsigned)(uint8_t)s[i]);
        else
            putc(s[i], out);
    putc('"', out);
}

static void write_field(FILE *out, const ew_field *f, const char *slot, bool missing)
{
    char text[EW_DEC_TEXT];
    switch (f->type) {
    case EW_TYPE_DEC: {
        ew_dec d;
        memcpy(&d, slot, sizeof d);
        if (missing)
            fputs(d.state == EW_DEC_NULL ? "null" : "\"\"", out);
        else
            write_text(out, text, ew_dec_text(d, text));
        break;
    }
    case EW_TYPE_TIME: {
        int64_t t;
        memcpy(&t, slot, sizeof t);
        if (missing)
            fputs(t == EW_TIME_NULL ? "null" : "\"\"", out);
        else
            fprintf(out, "%lld", (long long)t);
        break;
    }
    case EW_TYPE_U16: {
        uint16_t u;
        memcpy(&u, slot, sizeof u);
        fprintf(out, "%u", u);
        break;
    }
    case EW_TYPE_BOOL:
        fputs(missing ? "null" : f->words[(uint8_t)*slot], out);
        break;
    case EW_TYPE_ENUM:
        if (missing)
            fputs("null", out);
        else
            write_text(out, f->words[(uint8_t)*slot], strlen(f->words[(uint8_t)*slot]));
        break;
    case EW_TYPE_ID: {
        ew_id id;
        memcpy(&id, slot, sizeof id);
        /* Text and number, so that both are compared. */
        if (missing)
            fputs("null", out);
        else {
            putc('[', out);
            write_text(out, id.s, id.len);
            fprintf(out, ",%d,%llu]", id.is_number, id.is_number ? (unsigned long long)id.number : 0);
        }
        break;
    }
    default:
        if (missing)
            fputs("null", out);
        else
            write_text(out, slot, (uint8_t)slot[f->size - 1]);
    }
}

static void write_record(FILE *out, const ew_record *r)
{
    size_t n;
    const ew_field *fields = ew_fields(r->h.kind, &n);
    fprintf(out, "{\"kind\":\"%s\"", ew_kind_name(r->h.kind));
    for (size_t i = 0; i < n; i++) {
        bool missing = r->h.missing >> i & 1;
        if (!missing && !(r->h.present >> i & 1))
            continue;
        fprintf(out, ",\"%s\":", fields[i].name);
        write_field(out, &fields[i], (const char *)r + fields[i].offset, missing);
    }
    putc('}', out);
}

/* All records of the first n messages as JSON, a line a message; 0 if all went well. */
int bench_dump(struct bench *b, const char *path, size_t n)
{
    FILE *out = fopen(path, "w");
    if (!out)
        return -1;
    for (size_t i = 0; i < n && i < b->n; i++) {
        size_t records = contender.decode(b->decoder, b->messages[i], b->lengths[i]);
        putc('[', out);
        for (size_t k = 0; records != TASK_FAILED && k < records; k++) {
            if (k)
                putc(',', out);
            write_record(out, contender.get(b->decoder, k));
        }
        fputs(records == TASK_FAILED ? "null]\n" : "]\n", out);
    }
    return fclose(out);
}

#ifdef BENCH_MAIN
int main(int argc, char **argv)
{
    if (argc != 5) {
        fprintf(stderr, "usage: %s MESSAGES VENUE TABLE PASSES\n", argv[0]);
        return 2;
    }
    struct bench *b = bench_open(argv[1], argv[2], argv[3]);
    if (!b)
        return 1;
    size_t failed = 0;
    for (int i = 0; i < atoi(argv[4]); i++)
        failed += bench_pass(b, b->n);
    return failed ? 1 : 0;
}
#endif
