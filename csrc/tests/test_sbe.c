/* SBE frames: what they are rendered as, and that no damage does any harm. */
#include "check.h"
#include "compare.h"
#include "internal.h"

#define HEAD "execwire\t1\nname\tacme\n"
#define SBE "sbe-schema\t3\nsbe-schema\t7\nsbe-name\te\n"

static const char table[] = HEAD
    "enum\tside\tBUY\tbuy\n"
    "event\torder\n"
    "when\te\torder\n"
    "emit\torder\n"
    "field\tprice\tp\n"
    "field\torder_id\ti\n"
    "field\tside\tS\n"
    "field\tsymbol\ts\n"
    SBE
    "sbe-enum\tflag\n"
    "sbe-text\t1\tUP\n"
    "sbe-enum\tside\n"
    "sbe-text\t0\tBUY\n"
    "sbe-text\t254\tOTHER\n"
    "sbe-message\t1\n" /* everything there is */
    "sbe-enter\tdata\n"
    "sbe-const\te\t\"order\"\n"
    "sbe-field\tprice\t0\texp\n"
    "sbe-field\tp\t1\tdec\t0\n"
    "sbe-field\ti\t9\ti64\t\t-1\n"
    "sbe-field\tS\t17\tenum\tside\n"
    "sbe-field\tw\t18\tbool\n"
    "sbe-field\t//sub\t19\tu16\n"
    "sbe-field\ta\t21\ti8\n"
    "sbe-field\tb\t22\ti16\n"
    "sbe-field\tc\t24\ti32\n"
    "sbe-field\td\t28\tu8\n"
    "sbe-field\tf\t29\tu32\n"
    "sbe-field\tg\t33\tu64\t\tnull\n"
    "sbe-group\tR\t2\n"
    "sbe-field\tn\t0\tu8\n"
    "sbe-group\tQ\t1\n"
    "sbe-data\tt\t1\n"
    "sbe-end\n"
    "sbe-data\tu\t1\t\n"
    "sbe-end\n"
    "sbe-data\ts\t1\n"
    "sbe-data\tv\t2\t\"NONE\"\n"
    "sbe-nested\tm\t4\n"
    "sbe-message\t2\terror\n"
    "sbe-field\tcode\t0\ti16\n"
    "sbe-message\t3\n"
    "sbe-group\t\t4\n"
    "sbe-field\tx\t0\tu8\n"
    "sbe-end\n"
    "sbe-message\t4\n";

/*==== MARK: Frames ====*/

typedef struct writer {
    uint8_t s[1024];
    size_t n;
} writer;

static void number(writer *w, uint64_t v, unsigned size)
{
    for (; size; size--, v >>= 8)
        w->s[w->n++] = (uint8_t)v;
}

static void header(writer *w, unsigned block, unsigned template, unsigned schema)
{
    number(w, block, 2);
    number(w, template, 2);
    number(w, schema, 2);
    number(w, 5, 2);
}

static void text(writer *w, const char *s, unsigned size)
{
    number(w, strlen(s), size);
    while (*s)
        w->s[w->n++] = (uint8_t)*s++;
}

static writer whole(void)
{
    writer w = {.n = 0};
    header(&w, 41, 1, 3);
    number(&w, (uint8_t)-4, 1);
    number(&w, 123456, 8);
    number(&w, 77, 8);
    number(&w, 0, 1);
    number(&w, 1, 1);
    number(&w, 9, 2);
    number(&w, (uint64_t)-1, 1);
    number(&w, (uint64_t)-32767, 2);
    number(&w, INT32_MAX, 4);
    number(&w, 254, 1);
    number(&w, UINT32_MAX - 1, 4);
    number(&w, UINT64_MAX - 1, 8);
    number(&w, 1, 2); /* R */
    number(&w, 2, 2);
    number(&w, 5, 1);
    number(&w, 0, 2); /* Q */
    number(&w, 2, 1);
    text(&w, "", 1);
    text(&w, "q\"\\\x1f", 1);
    text(&w, "", 1);
    number(&w, 6, 1);
    number(&w, 0, 2);
    number(&w, 0, 1);
    text(&w, "u", 1);
    text(&w, "BTC\xc2\xa2", 1);
    text(&w, "", 2);
    number(&w, 10, 4);
    header(&w, 2, 2, 3);
    number(&w, (uint64_t)-7, 2);
    return w;
}

static ew_dialect *parse(const char *s, size_t n, ew_error *error)
{
    char *copy = (char *)check_copy(s, n);
    ew_dialect *d = ew_dialect_parse(copy, n, 0, error);
    free(copy);
    return d;
}

static ew_status render(const ew_dialect *d, const uint8_t *s, size_t n, ew_buffer *out, ew_error *error)
{
    uint8_t *copy = check_copy(s, n);
    ew_status status = ew_sbe_render(d, copy, n, out, error);
    free(copy);
    CHECK(status == error->status);
    CHECK(status == EW_OK || error->position <= n);
    return status;
}

static void check_render(const ew_dialect *d, const writer *w, const char *want)
{
    ew_buffer out = {0};
    ew_error error;
    CHECK_INT(render(d, w->s, w->n, &out, &error), EW_OK);
    CHECK_TEXT(out.bytes, out.n, want);
    free(out.bytes);
}

static void check_error(const ew_dialect *d, const writer *w, ew_status status, size_t position)
{
    ew_buffer out = {0};
    ew_error error;
    CHECK_INT(render(d, w->s, w->n, &out, &error), status);
    CHECK_INT(error.position, position);
    free(out.bytes);
}

/*==== MARK: Rendering ====*/

#define REST                                                                                                    \
    "\"a\":-1,\"b\":-32767,\"c\":2147483647,\"d\":254,\"f\":4294967294,\"g\":18446744073709551614,"                  \
    "\"R\":[{\"n\":5,\"Q\":[{\"t\":\"\"},{\"t\":\"q\\\"\\\\\\u001f\"}]},{\"n\":6,\"Q\":[],\"u\":\"u\"}],"         \
    "\"s\":\"BTC\xc2\xa2\",\"v\":\"NONE\",\"error\":{\"code\":-7}"

static void test_whole(const ew_dialect *d)
{
    writer w = whole();
    check_render(d, &w, "{\"sub\":9,\"data\":{\"e\":\"order\",\"p\":\"12.3456\",\"i\":77,\"S\":\"BUY\","
                        "\"w\":true," REST "}}");
    w.s[4] = 7; /* the other schema */
    w.s[8] = 2;
    w.s[9 + 8] = 0x80; /* any exponent, a null, an enum and a bool without a text */
    memset(w.s + 17, 0, 7);
    w.s[24] = 0x80;
    w.s[25] = 3;
    w.s[26] = 2;
    check_render(d, &w, "{\"sub\":9,\"data\":{\"e\":\"order\",\"p\":\"123456E2\",\"i\":-1,\"S\":3,\"w\":2," REST "}}");
}

static void test_whole_again(const ew_dialect *d)
{
    writer w = whole();
    ew_buffer out = {0};
    ew_error error;
    render(d, w.s, w.n, &out, &error);
    const uint8_t *bytes = out.bytes;
    const size_t n = out.n;
    render(d, w.s, w.n, &out, &error);
    CHECK(out.bytes == bytes && out.n == n); /* nothing grows that is large enough */
    free(out.bytes);
}

static void test_block_lengths(const ew_dialect *d)
{
    ew_buffer out = {0};
    ew_error error;
    for (unsigned block = 0; block <= 60; block++) {
        writer w = {.n = 0};
        header(&w, block, 1, 3);
        for (unsigned i = 0; i < block; i++)
            number(&w, 1, 1);
        for (unsigned i = 0; i < 4 + 1 + 2 + 4; i++)
            number(&w, 0, 1);
        if (!CHECK_INT(render(d, w.s, w.n, &out, &error), EW_OK))
            continue;
        char *json = calloc(out.n + 1, 1);
        memcpy(json, out.bytes, out.n);
        CHECK((strstr(json, "\"p\":") != NULL) == (block >= 9));
        CHECK((strstr(json, "\"i\":") != NULL) == (block >= 17));
        CHECK((strstr(json, "\"sub\":") != NULL) == (block >= 21));
        CHECK((strstr(json, "\"g\":") != NULL) == (block >= 41));
        CHECK((strstr(json, "\"sbeBlock\":\"01") != NULL) == (block >= 42));
        CHECK(strstr(json, "\"sbeTail\":") == NULL);
        free(json);
    }
    free(out.bytes);
}

static void test_small_messages(const ew_dialect *d)
{
    writer w = {.n = 0};
    header(&w, 0, 4, 3);
    check_render(d, &w, "{}");
    number(&w, 0xf00f, 2);
    check_render(d, &w, "{\"sbeTail\":\"0ff0\"}");
    w.n = 0;
    header(&w, 1, 4, 3);
    check_error(d, &w, EW_ERR_SBE, 8);
    w.n = 0;
    header(&w, 0, 3, 3);
    number(&w, 1, 2);
    number(&w, 2, 4);
    number(&w, 0xff08, 2);
    check_render(d, &w, "[{\"x\":8},{}]");
    w.n = 0;
    header(&w, 0, 99, 3);
    check_render(d, &w, "{\"e\":\"template 99\",\"sbe\":\"0000630003000500\"}");
    w.n = 0;
    header(&w, 0, 1, 4);
    check_error(d, &w, EW_ERR_SBE, 4);
    w.n = 0;
    header(&w, 0, 3, 3);
    number(&w, 0, 2);
    number(&w, UINT32_MAX, 4);
    check_error(d, &w, EW_ERR_SBE, 14); /* and soon */
}

static void test_nesting(const ew_dialect *d)
{
    for (unsigned depth = 1; depth <= 10; depth++) {
        writer w = {.n = 0};
        for (unsigned i = depth; i; i--) {
            header(&w, 0, 1, 3);
            number(&w, 0, 4); /* R */
            text(&w, "", 1);
            text(&w, "", 2);
            number(&w, (i - 1) * (8 + 4 + 1 + 2 + 4), 4);
        }
        ew_buffer out = {0};
        ew_error error;
        CHECK_INT(render(d, w.s, w.n, &out, &error), depth <= 8 ? EW_OK : EW_ERR_SBE);
        free(out.bytes);
    }
}

static void test_detection(const ew_dialect *d)
{
    static const uint8_t frame[] = {10, 0, 1, 0, 3, 0}, text_[] = "{\"e\":1}";
    CHECK(ew_sbe_is(d, frame, 6));
    CHECK(!ew_sbe_is(d, frame, 5));
    CHECK(!ew_sbe_is(d, text_, 7));
}

/*==== MARK: Decoding ====*/

static void test_decode(const ew_dialect *d)
{
    writer w = whole();
    ew_decoder *k = ew_decoder_new(d);
    size_t n, n_payload;
    w.s[8 + 17] = 254;
    CHECK_INT(ew_decode(k, w.s, w.n, 0, &n), EW_OK);
    CHECK_INT(n, 1);
    CHECK_INT(ew_get(k, 0)->h.kind, EW_NOTICE); /* the table has no envelope */
    CHECK(ew_payload(k, &n_payload) != w.s);
    CHECK(compare_spans(k, n) == NULL);
    CHECK_INT(ew_decode(k, w.s, w.n - 1, 0, &n), EW_ERR_SBE);
    CHECK_INT(n, 0);
    CHECK_INT(ew_last_error(k)->position, w.n - 1);
    CHECK(ew_payload(k, &n_payload) == w.s);
    ew_decoder_free(k);
}

static void test_enveloped(void)
{
    ew_error error;
    const size_t head = strlen(HEAD);
    char enveloped[sizeof table + 64];
    int n_table = snprintf(enveloped, sizeof enveloped, "%senvelope\tdata\nwrapper\tsub\n%s", HEAD, table + head);
    ew_dialect *d = parse(enveloped, (size_t)n_table, &error);
    writer w = whole();
    ew_decoder *k = ew_decoder_new(d);
    size_t n;
    for (int i = 0; i < 4; i++) {
        CHECK_INT(ew_decode(k, w.s, w.n, 0, &n), EW_OK);
        CHECK_INT(n, 1);
        const ew_order *o = &ew_get(k, 0)->order;
        CHECK_INT(o->h.kind, EW_ORDER);
        CHECK_INT(o->price.lo, 123456);
        CHECK_INT(o->price.exponent, -4);
        CHECK_INT(o->order_id.number, 77);
        CHECK_INT(o->side, EW_SIDE_BUY);
        CHECK_TEXT(o->symbol.s, o->symbol.len, "BTC\xc2\xa2");
        CHECK(compare_spans(k, n) == NULL);
    }
    ew_decoder_free(k);
    ew_dialect_free(d);
}

/*==== MARK: Damage ====*/

static void test_truncation(const ew_dialect *d)
{
    writer w = whole();
    ew_buffer out = {0};
    ew_error error;
    for (size_t n = 0; n < w.n; n++) {
        CHECK_INT(render(d, w.s, n, &out, &error), EW_ERR_SBE);
        CHECK_INT(error.position, n);
    }
    free(out.bytes);
}

static void test_replaced_bytes(const ew_dialect *d)
{
    const writer w = whole();
    ew_decoder *k = ew_decoder_new(d), *fresh;
    uint64_t random = 1;
    size_t n, again;
    for (size_t at = 0; at < w.n; at++) {
        for (unsigned value = 0; value < 256; value++) {
            writer copy = w;
            copy.s[at] = (uint8_t)value;
            if (value % 16 == 15) /* and one more */
                copy.s[check_random(&random) % w.n] = (uint8_t)check_random(&random);
            uint8_t *payload = check_copy(copy.s, copy.n);
            ew_decode(k, payload, copy.n, 0, &n);
            CHECK(compare_spans(k, n) == NULL);
            if (value % 64 == 0) {
                fresh = ew_decoder_new(d);
                ew_decode(fresh, payload, copy.n, 0, &again);
                CHECK(compare_decoders(k, fresh, n, again) == NULL);
                ew_decoder_free(fresh);
            }
            free(payload);
        }
    }
    ew_decoder_free(k);
}

/*==== MARK: Tables ====*/

static void test_bad_tables(void)
{
    static const struct { const char *lines; size_t line; } bad[] = {
        {"sbe-schema\t256\n", 3},
        {"sbe-schema\tx\n", 3},
        {"sbe-schema\t3\n", 4}, /* no sbe-name */
        {"sbe-text\t1\tUP\n", 3},
        {"sbe-enum\tf\nsbe-text\t256\tUP\n", 4},
        {"sbe-field\ta\t0\ti8\n", 3},
        {"sbe-end\n", 3},
        {"sbe-enter\tdata\n", 3},
        {"sbe-message\t65536\n", 3},
        {"sbe-message\t1\nsbe-field\ta\"\t0\ti8\n", 4},
        {"sbe-message\t1\nsbe-field\ta\t0\ti24\n", 4},
        {"sbe-message\t1\nsbe-field\ta\t65535\ti64\n", 4},
        {"sbe-message\t1\nsbe-field\ta\t0\tdec\n", 4},
        {"sbe-message\t1\nsbe-field\ta\t0\tenum\tf\n", 4},
        {"sbe-message\t1\nsbe-field\ta\t0\ti64\t\tnul\n", 4},
        {"sbe-message\t1\nsbe-const\ta\t{\n", 4},
        {"sbe-message\t1\nsbe-data\ta\t3\n", 4},
        {"sbe-message\t1\nsbe-group\tg\t2\nsbe-field\t//a\t0\ti8\n", 5},
        {"sbe-message\t1\nsbe-group\tg\t2\nsbe-message\t2\n", 5},
        {"sbe-message\t1\nsbe-group\tg\t2\n", 5},
        {"sbe-message\t1\nsbe-group\tg\t2\nsbe-group\t\t2\n", 5},
        {"sbe-message\t1\nsbe-group\t\t2\nsbe-end\nsbe-data\ta\t1\n", 6},
        {"sbe-message\t1\nsbe-data\ta\t1\nsbe-group\t\t2\n", 5},
        {"sbe-message\t1\nsbe-group\ta\t1\nsbe-group\tb\t1\nsbe-group\tc\t1\nsbe-group\td\t1\nsbe-group\te\t1\n", 8},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char lines[512];
        ew_error error;
        int n = snprintf(lines, sizeof lines, "%s%s", HEAD, bad[i].lines);
        ew_dialect *d = parse(lines, (size_t)n, &error);
        CHECK_CASE(!d && error.status == EW_ERR_TABLE, bad[i].lines);
        CHECK_INT(error.position, bad[i].line);
        ew_dialect_free(d);
    }
}

int main(void)
{
    ew_error error;
    ew_dialect *d = parse(table, strlen(table), &error);
    if (!CHECK(d != NULL)) {
        fprintf(stderr, "    line %zu: %s\n", error.position, error.message);
        return check_result();
    }
    test_whole(d);
    test_whole_again(d);
    test_block_lengths(d);
    test_small_messages(d);
    test_nesting(d);
    test_detection(d);
    test_decode(d);
    test_enveloped();
    test_truncation(d);
    test_replaced_bytes(d);
    test_bad_tables();
    ew_dialect_free(d);
    return check_result();
}
