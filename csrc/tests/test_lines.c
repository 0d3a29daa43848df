/* Blocks to lines: every way to cut a capture into blocks gives the same lines; stamps; what is no stamp. */
#include "check.h"
#include "execwire.h"

typedef struct line {
    const char *payload;
    int64_t ts;
    uint64_t number, offset;
} line;

/* Feed the text in blocks of `size` bytes, each a copy without a byte to spare, and compare. */
static void feed(const char *text, size_t n, size_t size, int stamped, const line *want, size_t n_want, uint64_t blank)
{
    ew_lines *l = ew_lines_new(stamped);
    ew_span span;
    size_t k = 0;
    for (size_t at = 0; at < n || at == 0;) {
        size_t part = n - at < size ? n - at : size;
        uint8_t *block = check_copy(text + at, part);
        memcpy(ew_lines_room(l, part), block, part); /* also room for nothing is somewhere */
        free(block);
        at += part;
        ew_lines_filled(l, part, at == n);
        while (ew_lines_next(l, &span)) {
            if (!CHECK(k < n_want))
                break;
            CHECK_TEXT(span.payload, span.n, want[k].payload);
            CHECK_INT(span.ts_recv, want[k].ts);
            CHECK_INT(span.line, want[k].number);
            CHECK_INT(span.offset, want[k].offset);
            CHECK_INT(span.ended, strchr(text + span.offset, '\n') != NULL);
            CHECK_INT(span.foreign, stamped > 1 && want[k].ts == 0);
            k++;
        }
        if (n == 0)
            break;
    }
    CHECK_INT(k, n_want);
    CHECK_INT(ew_lines_blank(l), blank);
    ew_lines_free(l);
}

static void feed_all(const char *text, int stamped, const line *want, size_t n_want, uint64_t blank)
{
    for (size_t size = 1; size <= strlen(text) + 1; size++)
        feed(text, strlen(text), size, stamped, want, n_want, blank);
}

static void test_lines(void)
{
    feed_all("\xef\xbb\xbf{\"a\":1}\n{\"b\":2}\r\n\n \t\r\nx\n y \n", 0,
             (line[]){{"{\"a\":1}", 0, 1, 3}, {"{\"b\":2}", 0, 2, 11}, {"x", 0, 5, 25}, {" y ", 0, 6, 27}}, 4, 2);
    feed_all("{\"a\":1}\n{\"b\":2}", 0, (line[]){{"{\"a\":1}", 0, 1, 0}, {"{\"b\":2}", 0, 2, 8}}, 2, 0);
    feed_all("last\r", 0, (line[]){{"last", 0, 1, 0}}, 1, 0);
    feed_all("", 0, NULL, 0, 0);
    feed_all("\n\n", 0, NULL, 0, 2);
    feed_all("\xef\xbb", 0, (line[]){{"\xef\xbb", 0, 1, 0}}, 1, 0);
}

static void test_stamped_lines(void)
{
    feed_all("1795000000123456789 {\"a\":1}\n\n1795000000 pong\r\n{\"b\":2}\n12 x\n", 1,
             (line[]){{"{\"a\":1}", INT64_C(1795000000123456789), 1, 20},
                      {"pong", INT64_C(1795000000000000000), 3, 40},
                      {"{\"b\":2}", 0, 4, 46},
                      {"12 x", 0, 5, 54}},
             4, 1);
    feed_all("1795000000 x\n{\"b\":2}\r\n1795000001 y", 2,
             (line[]){{"x", INT64_C(1795000000000000000), 1, 11}, {"{\"b\":2}", 0, 2, 13},
                      {"y", INT64_C(1795000001000000000), 3, 33}},
             3, 0);
    /* Without stamps they are part of the payload. */
    feed_all("1795000000 x\n", 0, (line[]){{"1795000000 x", 0, 1, 0}}, 1, 0);
}

static void test_stamps(void)
{
    static const struct { const char *text; size_t n; int64_t ns; } cases[] = {
        {"1795000000 {", 11, INT64_C(1795000000000000000)},
        {"1795000000123 {", 14, INT64_C(1795000000123000000)},
        {"1795000000123456 {", 17, INT64_C(1795000000123456000)},
        {"1795000000123456789 {", 20, INT64_C(1795000000123456789)},
        {"1795000000.5 {", 13, INT64_C(1795000000500000000)},
        {"1795000000.1234567891 {", 22, INT64_C(1795000000123456789)},
        {"1795000000.123456: {", 19, INT64_C(1795000000123456000)},
        {"1795000000123.25 {", 17, INT64_C(1795000000123250000)},
        {"2026-11-18T10:26:40.0000001Z {", 29, INT64_C(1794997600000000100)},
        {"2026-11-18T10:26:40Z {", 21, INT64_C(1794997600000000000)},
        {"2026-11-18T10:26:40.123+00:00 {", 30, INT64_C(1794997600123000000)},
        {"1970-01-01T00:00:00 {", 20, 0},
        {"2024-02-29T23:59:59Z {", 21, INT64_C(1709251199000000000)},
        {"12.345 {", 7, 0}, /* some other clock */
        {"12 {", 0, 0},
        {"1795000000", 0, 0},
        {"1795000000{", 0, 0},
        {"17950000001 {", 0, 0},
        {"1795000000. {", 0, 0},
        {"1795000000.x {", 0, 0},
        {"9999999999999999999 {", 0, 0},
        {"17950000001234567890 {", 0, 0},
        {"2026-13-18T10:26:40Z {", 0, 0},
        {"2025-02-29T10:26:40Z {", 0, 0},
        {"2026-11-18T25:26:40Z {", 0, 0},
        {"2026-11-18T10:26:40.Z {", 0, 0},
        {"2026-11-18 10:26:40Z {", 0, 0},
        {"-1795000000 {", 0, 0},
        {"", 0, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int64_t ts = -1;
        size_t n = strlen(cases[i].text);
        uint8_t *s = check_copy(cases[i].text, n);
        CHECK_CASE(ew_stamp(s, n, &ts) == cases[i].n, cases[i].text);
        CHECK_CASE(ts == cases[i].ns, cases[i].text);
        for (size_t cut = 0; cut < cases[i].n; cut++) { /* never beyond the end */
            uint8_t *part = check_copy(s, cut);
            CHECK_CASE(ew_stamp(part, cut, &ts) == 0 && ts == 0, cases[i].text);
            free(part);
        }
        free(s);
    }
}

static void test_envelopes(void)
{
    static const struct { const char *line, *payload; int64_t ns; uint64_t offset; } cases[] = {
        {"{\"ts\":1795000000123,\"msg\":{\"a\":[1,2]}}", "{\"a\":[1,2]}", INT64_C(1795000000123000000), 36},
        {"{\"msg\" : \"{\\\"a\\\":\\u0031}\", \"ts\": 1795000000.25}", "{\"a\":1}", INT64_C(1795000000250000000), 20},
        {"{\"ts\":\"2026-11-18T10:26:40Z\",\"msg\":\"pong\"}", "pong", INT64_C(1794997600000000000), 46},
        {"{\"msg\":{}}", "{}", 0, 17},
        {"{\"ts\":null,\"msg\":{}}", "{}", 0, 27},
        {"{\"ts\":\"soon\",\"msg\":{}}", "{}", 0, 29},
        {"{\"ts\":\"\",\"msg\":{}}", "{}", 0, 25},
        {"{\"ts\":1.79e+18,\"msg\":{}}", "{}", 0, 31},
        {"{\"ts\":\"2026-11-18T10:26:40+08:00\",\"msg\":{}}", "{}", 0, 50},
        {"{\"ts\":1795000000}", NULL, 0, 0},
        {"{\"ts\":1795000000,\"msg\":", NULL, 0, 0},
        {"[1]", NULL, 0, 0},
        {"7", NULL, 0, 0},
    };
    ew_unwrapper *u = ew_unwrapper_new();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        size_t n = strlen(cases[i].line);
        uint8_t *s = check_copy(cases[i].line, n);
        ew_span span = {.payload = s, .n = n, .offset = 10};
        ew_status status = ew_unwrap(u, "ts", "msg", &span);
        CHECK_CASE((status == EW_OK) == (cases[i].payload != NULL), cases[i].line);
        if (status == EW_OK && cases[i].payload) {
            CHECK_TEXT(span.payload, span.n, cases[i].payload);
            CHECK_CASE(span.ts_recv == cases[i].ns, cases[i].line);
            CHECK_CASE(span.offset == cases[i].offset, cases[i].line);
        } else {
            CHECK_CASE(ew_unwrapper_error(u)->status == status && *ew_unwrapper_error(u)->message, cases[i].line);
        }
        free(s);
    }
    ew_unwrapper_free(u);
}

/* A line that no decoder takes is cut, and the ones behind it are there. */
static void test_long_line(void)
{
    const size_t block = (size_t)16 << 20;
    ew_lines *l = ew_lines_new(1);
    ew_span span;
    size_t fed = 0, cut = 0;
    for (; fed < EW_MAX_PAYLOAD + 3 * block; fed += block) {
        uint8_t *at = ew_lines_room(l, block);
        if (!CHECK(at))
            break;
        memset(at, 'x', block);
        ew_lines_filled(l, block, 0);
        while (ew_lines_next(l, &span)) {
            cut++;
            CHECK_INT(span.n, EW_MAX_PAYLOAD + 1);
            CHECK_INT(span.ended, 0);
        }
    }
    CHECK_INT(cut, 1);
    memcpy(ew_lines_room(l, 6), "z\nab\n\n", 6);
    ew_lines_filled(l, 6, 1);
    CHECK(ew_lines_next(l, &span));
    CHECK_TEXT(span.payload, span.n, "ab");
    CHECK_INT(span.line, 2);
    CHECK_INT(span.offset, fed + 2);
    CHECK(!ew_lines_next(l, &span));
    ew_lines_free(l);
}

int main(void)
{
    test_lines();
    test_stamped_lines();
    test_stamps();
    test_envelopes();
    test_long_line();
    return check_result();
}
