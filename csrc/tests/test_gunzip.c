/* gzip frames, inflated with zlib where the machine has it: on 64-bit machines its streams are laid out alike. */
#include "check.h"
#include "gunzip.h"

#include <dlfcn.h>

static int (*inflate_init2)(ew_zstream *, int, const char *, int);
static int (*deflate_init2)(ew_zstream *, int, int, int, int, int, const char *, int);
static int (*deflate)(ew_zstream *, int);
static int (*deflate_end)(ew_zstream *);
static ew_inflater inflater;

/* The size that zlib asks for is that of its own z_stream. */
static int32_t init2(ew_zstream *stream, int32_t window_bits)
{
    return inflate_init2(stream, window_bits, "1.2.11", 112);
}

static bool find_zlib(void)
{
    void *zlib = dlopen("libz.so.1", RTLD_NOW | RTLD_LOCAL);
    if (!zlib || sizeof(size_t) != 8 || sizeof(ew_zstream) < 112)
        return false;
    *(void **)&inflate_init2 = dlsym(zlib, "inflateInit2_");
    *(void **)&deflate_init2 = dlsym(zlib, "deflateInit2_");
    *(void **)&deflate = dlsym(zlib, "deflate");
    *(void **)&deflate_end = dlsym(zlib, "deflateEnd");
    inflater.init2 = init2;
    *(void **)&inflater.reset = dlsym(zlib, "inflateReset");
    *(void **)&inflater.inflate = dlsym(zlib, "inflate");
    *(void **)&inflater.end = dlsym(zlib, "inflateEnd");
    return inflate_init2 && deflate_init2 && deflate && deflate_end && inflater.reset && inflater.inflate &&
           inflater.end;
}

typedef struct bytes {
    uint8_t *p;
    size_t n;
} bytes;

static bytes gzip(const void *text, size_t n)
{
    ew_zstream s = {0};
    bytes b = {malloc(n + n / 100 + 256), 0};
    deflate_init2(&s, 6, 8, 15 + 16, 8, 0, "1.2.11", 112);
    s.next_in = text;
    s.avail_in = (uint32_t)n;
    s.next_out = b.p;
    s.avail_out = (uint32_t)(n + n / 100 + 256);
    CHECK_INT(deflate(&s, 4), 1);
    b.n = s.total_out;
    deflate_end(&s);
    return b;
}

/* An exact copy of the frame on the heap, so that a sanitizer sees any byte read beyond it. */
static ew_status inflate_copy(ew_gunzip *g, const uint8_t *p, size_t n, const uint8_t **out, size_t *n_out, ew_error *e)
{
    uint8_t *copy = malloc(n ? n : 1);
    if (n)
        memcpy(copy, p, n);
    ew_status status = ew_gunzip_frame(g, copy, n, out, n_out, e);
    free(copy);
    return status;
}

static void test_sizes(void)
{
    uint64_t seed = 7;
    ew_gunzip *g = ew_gunzip_new(&inflater, 4 << 20);
    for (size_t n = 0; n < 3 << 20; n = n * 3 + 1) {
        for (int noise = 0; noise < 2; noise++) {
            uint8_t *text = malloc(n + 1);
            for (size_t i = 0; i < n; i++)
                text[i] = noise ? (uint8_t)check_random(&seed) : (uint8_t)"{\"p\":\"1.50\"}"[i % 12];
            bytes b = gzip(text, n);
            const uint8_t *out;
            size_t n_out;
            ew_error e;
            CHECK_INT(inflate_copy(g, b.p, b.n, &out, &n_out, &e), EW_OK);
            CHECK(n_out == n && memcmp(out, text, n) == 0);
            free(text);
            free(b.p);
        }
    }
    ew_gunzip_free(g);
}

static void test_broken(void)
{
    char text[400];
    for (size_t i = 0; i < sizeof text; i++)
        text[i] = (char)('a' + i * i % 23);
    bytes b = gzip(text, sizeof text);
    ew_gunzip *g = ew_gunzip_new(&inflater, 1 << 20);
    const uint8_t *out;
    size_t n_out;
    ew_error e;

    for (size_t n = 0; n < b.n; n++) { /* every truncation */
        CHECK_INT(inflate_copy(g, b.p, n, &out, &n_out, &e), EW_ERR_GZIP);
        CHECK(e.position <= n && e.message && *e.message && n_out == 0);
    }
    for (size_t i = 0; i < b.n; i++) { /* every byte flipped; a few of the header's say nothing about the data */
        b.p[i] ^= 0x55;
        ew_status status = inflate_copy(g, b.p, b.n, &out, &n_out, &e);
        if (status == EW_OK)
            CHECK(i >= 4 && i < 10 && n_out == sizeof text && memcmp(out, text, n_out) == 0);
        else
            CHECK(e.position <= b.n);
        b.p[i] ^= 0x55;
    }
    /* After all of that, it works. */
    CHECK_INT(inflate_copy(g, b.p, b.n, &out, &n_out, &e), EW_OK);
    CHECK_TEXT(out, n_out < 3 ? n_out : 3, "abe");
    free(b.p);
    ew_gunzip_free(g);
}

static void test_members(void)
{
    bytes a = gzip("{\"a\":", 5), b = gzip("1}", 2), none = gzip("", 0);
    uint8_t frame[512] = {0};
    size_t n = 0, n_out;
    const uint8_t *out;
    ew_error e;
    ew_gunzip *g = ew_gunzip_new(&inflater, 7);

    memcpy(frame, a.p, a.n);
    n = a.n;
    memcpy(frame + n, none.p, none.n);
    n += none.n;
    memcpy(frame + n, b.p, b.n);
    n += b.n;
    CHECK_INT(inflate_copy(g, frame, n, &out, &n_out, &e), EW_OK);
    CHECK_TEXT(out, n_out, "{\"a\":1}");
    CHECK_INT(inflate_copy(g, frame, n + 9, &out, &n_out, &e), EW_OK); /* padding */
    CHECK_TEXT(out, n_out, "{\"a\":1}");
    frame[n + 3] = 'x';
    CHECK_INT(inflate_copy(g, frame, n + 9, &out, &n_out, &e), EW_ERR_GZIP);
    CHECK_INT(e.position, n + 3);
    frame[n] = 0x1f;
    CHECK_INT(inflate_copy(g, frame, n + 1, &out, &n_out, &e), EW_ERR_GZIP);
    CHECK_INT(e.position, n);
    frame[n + 1] = 0x8b;
    CHECK_INT(inflate_copy(g, frame, n + 2, &out, &n_out, &e), EW_ERR_GZIP);
    CHECK_INT(inflate_copy(g, none.p, none.n, &out, &n_out, &e), EW_OK);
    CHECK_INT(n_out, 0);
    ew_gunzip_free(g);

    g = ew_gunzip_new(&inflater, 6); /* one byte too few */
    CHECK_INT(inflate_copy(g, frame, n, &out, &n_out, &e), EW_ERR_LIMIT);
    CHECK(e.position > 0 && e.position <= n && n_out == 0);
    CHECK_INT(inflate_copy(g, a.p, a.n, &out, &n_out, &e), EW_OK);
    ew_gunzip_free(g);
    free(a.p);
    free(b.p);
    free(none.p);
}

static void test_limit(void)
{
    size_t n = 8 << 20, n_out;
    uint8_t *zeros = calloc(1, n);
    bytes b = gzip(zeros, n);
    const uint8_t *out;
    ew_error e;
    static const size_t limits[] = {1, 1000, (1 << 14) - 1, 1 << 14, (1 << 14) + 1, (8 << 20) - 1};

    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
        ew_gunzip *g = ew_gunzip_new(&inflater, limits[i]);
        CHECK_INT(inflate_copy(g, b.p, b.n, &out, &n_out, &e), EW_ERR_LIMIT);
        ew_gunzip_free(g);
    }
    ew_gunzip *g = ew_gunzip_new(&inflater, n);
    CHECK_INT(inflate_copy(g, b.p, b.n, &out, &n_out, &e), EW_OK);
    CHECK_INT(n_out, n);
    CHECK_INT(inflate_copy(g, (const uint8_t *)"{}", 2, &out, &n_out, &e), EW_ERR_GZIP);
    CHECK_INT(inflate_copy(g, NULL, 0, &out, &n_out, &e), EW_ERR_GZIP);
    ew_gunzip_free(g);
    ew_gunzip_free(NULL);
    free(b.p);
    free(zeros);
}

int main(void)
{
    if (!find_zlib()) {
        printf("no libz.so.1, skipped, ");
        return 0;
    }
    test_sizes();
    test_broken();
    test_members();
    test_limit();
    return check_result();
}
