/* UTF-8 and escapes, against a definition that is slow and plain. */
#include "check.h"
#include "internal.h"

/*==== MARK: UTF-8 ====*/

/* The code point of a well-formed sequence and its length; 0 if there is none at s. */
static size_t slow_character(const uint8_t *s, size_t n, uint32_t *code)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t len = s[0] < 0x80 ? 1 : s[0] >> 5 == 6 ? 2 : s[0] >> 4 == 14 ? 3 : s[0] >> 3 == 30 ? 4 : 0;
    if (len == 0 || len > n)
        return 0;
    *code = len == 1 ? s[0] : s[0] & (0x7fu >> len);
    for (size_t i = 1; i < len; i++) {
        if (s[i] >> 6 != 2)
            return 0;
        *code = *code << 6 | (s[i] & 0x3f);
    }
    return *code < least[len] || *code > 0x10ffff || (*code >= 0xd800 && *code <= 0xdfff) ? 0 : len;
}

static size_t slow_check(const uint8_t *s, size_t n)
{
    size_t i = 0, len = 1;
    uint32_t code;
    while (i < n && (len = slow_character(s + i, n - i, &code)) > 0)
        i += len;
    return i;
}

static size_t encode(uint32_t c, uint8_t *out)
{
    if (c < 0x80)
        return out[0] = (uint8_t)c, 1;
    size_t len = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    for (size_t i = len - 1; i > 0; i--, c >>= 6)
        out[i] = (uint8_t)(0x80 | (c & 0x3f));
    out[0] = (uint8_t)((0xf00 >> len & 0xff) | c);
    return len;
}

static void test_utf8_exhaustively(void)
{
    uint8_t s[4];
    unsigned long wrong = 0;
    for (uint32_t v = 0; v < 1u << 24; v++) {
        s[0] = (uint8_t)(v >> 16);
        s[1] = (uint8_t)(v >> 8);
        s[2] = (uint8_t)v;
        wrong += ew_utf8_check(s, 3) != slow_check(s, 3);
        if (s[2] == 0)
            wrong += ew_utf8_check(s, 2) != slow_check(s, 2);
        if ((v & 0xffff) == 0)
            wrong += ew_utf8_check(s, 1) != slow_check(s, 1);
    }
    CHECK_INT(wrong, 0);

    /* Four bytes: every lead byte with the bytes around all limits. */
    static const uint8_t edges[] = {0x00, 0x22, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0, 0xc2, 0xe0, 0xf0, 0xf4, 0xff};
    const size_t k = sizeof edges;
    for (unsigned lead = 0; lead < 256; lead++)
        for (size_t i = 0; i < k * k * k; i++) {
            s[0] = (uint8_t)lead;
            s[1] = edges[i / k / k];
            s[2] = edges[i / k % k];
            s[3] = edges[i % k];
            wrong += ew_utf8_check(s, 4) != slow_check(s, 4);
        }
    CHECK_INT(wrong, 0);

    for (uint32_t c = 0; c <= 0x110000; c++) { /* every code point */
        size_t n = encode(c, s);
        bool valid = c < 0x110000 && !(c >= 0xd800 && c < 0xe000);
        wrong += ew_utf8_check(s, n) != (valid ? n : 0);
        wrong += n > 1 && ew_utf8_check(s, n - 1) != 0;
    }
    CHECK_INT(wrong, 0);
}

/* Bytes at every place of texts of every length around the widths that are checked at once. */
static void test_utf8_places(void)
{
    uint64_t state = 7;
    unsigned long wrong = 0;
    CHECK_INT(ew_utf8_check((const uint8_t *)"", 0), 0);
    for (size_t n = 0; n <= 80; n++) {
        uint8_t *s = malloc(n ? n : 1);
        if (!s)
            abort();
        for (size_t at = 0; at < n; at++) {
            static const char *const parts[] = {"\x80", "\xff", "\xc3\xa9", "\xe5\xb8\x81", "\xf0\x9f\x98\x80", "\xed\xa0\x80"};
            for (size_t p = 0; p < sizeof parts / sizeof *parts; p++) {
                memset(s, 'a', n);
                size_t len = strlen(parts[p]);
                memcpy(s + at, parts[p], len < n - at ? len : n - at);
                wrong += ew_utf8_check(s, n) != slow_check(s, n);
            }
        }
        for (int round = 0; round < 2000; round++) { /* mixtures of characters, now and then damaged */
            size_t i = 0;
            while (i < n) {
                uint8_t c[4];
                uint32_t v = (uint32_t)check_random(&state);
                size_t len = encode(v % 3 ? v % 0x80 : v % 0x11 ? (v >> 8) % 0xd800 : 0xe000 + (v >> 8) % 0x102000, c);
                memcpy(s + i, c, len < n - i ? len : n - i);
                i += len;
            }
            if (n && round % 2)
                s[check_random(&state) % n] = (uint8_t)check_random(&state);
            wrong += ew_utf8_check(s, n) != slow_check(s, n);
        }
        free(s);
    }
    CHECK_INT(wrong, 0);
}

static void test_prefix(void)
{
    static const char text[] = "a\xc3\xa9\xe5\xb8\x81\xf0\x9f\x98\x80z"; /* lengths 1 2 3 4 1 */
    static const size_t expected[] = {0, 1, 1, 3, 3, 3, 6, 6, 6, 6, 10, 11, 11};
    uint8_t *s = check_copy(text, 11);
    for (size_t room = 0; room < sizeof expected / sizeof *expected; room++)
        CHECK_INT(ew_utf8_prefix(s, 11, room), expected[room]);
    CHECK_INT(ew_utf8_prefix(s, 0, 5), 0);
    CHECK_INT(ew_utf8_prefix(s, 0, 0), 0);
    free(s);
}

/*==== MARK: Escapes ====*/

static const struct {
    const char *raw, *text;
    size_t n;
} escapes[] = {
    {"", "", 0},
    {"abc", "abc", 3},
    {"\\\"\\\\\\/\\b\\f\\n\\r\\t", "\"\\/\b\f\n\r\t", 8},
    {"\\u0041", "A", 1},
    {"\\u0000", "\0", 1},
    {"\\u007f\\u0080", "\x7f\xc2\x80", 3},
    {"\\u00e9\\u00E9", "\xc3\xa9\xc3\xa9", 4},
    {"\\u07ff\\u0800", "\xdf\xbf\xe0\xa0\x80", 5},
    {"\\ud7ff\\ue000\\uffff\\uFFFF", "\xed\x9f\xbf\xee\x80\x80\xef\xbf\xbf\xef\xbf\xbf", 12},
    {"\\ud800\\udc00", "\xf0\x90\x80\x80", 4},
    {"\\uD83D\\uDE00", "\xf0\x9f\x98\x80", 4},
    {"\\ud83d\\ude00x", "\xf0\x9f\x98\x80x", 5},
    {"\\udbff\\udfff", "\xf4\x8f\xbf\xbf", 4},
    {"\\u5e01\xe5\xb8\x81\\u5E01", "\xe5\xb8\x81\xe5\xb8\x81\xe5\xb8\x81", 9},
    {"x\\u0065\\u0045", "xeE", 3},
    {"\\\\u0041", "\\u0041", 6},
    {"\\\\\\\\", "\\\\", 2},
    {"\xf0\x9f\x98\x80\\n\xc3\xa9", "\xf0\x9f\x98\x80\n\xc3\xa9", 7},
};

static void test_unescape(void)
{
    for (size_t i = 0; i < sizeof escapes / sizeof *escapes; i++) {
        size_t n = strlen(escapes[i].raw), want = escapes[i].n;
        uint8_t *s = check_copy(escapes[i].raw, n), *out = check_copy(escapes[i].raw, n);
        CHECK_CASE(ew_unescape(s, n, out) == want, escapes[i].raw);
        CHECK_CASE(memcmp(out, escapes[i].text, want) == 0, escapes[i].raw);
        free(out);
        for (size_t room = 0; room <= want + 1; room++) {
            bool whole;
            out = malloc(room ? room : 1);
            if (!out)
                abort();
            size_t len = ew_unescape_prefix(s, n, out, room, &whole);
            CHECK_CASE(len == ew_utf8_prefix((const uint8_t *)escapes[i].text, want, room), escapes[i].raw);
            CHECK_CASE(whole == (room >= want), escapes[i].raw);
            CHECK_CASE(memcmp(out, escapes[i].text, len) == 0, escapes[i].raw);
            free(out);
        }
        free(s);
    }
    unsigned long wrong = 0;
    for (uint32_t c = 0; c < 0x110000; c++) { /* every character, written as an escape */
        char raw[16];
        uint8_t out[12], want[4];
        if (c >= 0xd800 && c < 0xe000)
            continue;
        if (c < 0x10000)
            snprintf(raw, sizeof raw, c % 2 ? "\\u%04x" : "\\u%04X", (unsigned)c);
        else
            snprintf(raw, sizeof raw, "\\u%04x\\u%04X", (unsigned)(0xd800 + ((c - 0x10000) >> 10)),
                     (unsigned)(0xdc00 + (c & 0x3ff)));
        size_t n = encode(c, want);
        wrong += ew_unescape((const uint8_t *)raw, strlen(raw), out) != n || memcmp(out, want, n) != 0;
    }
    CHECK_INT(wrong, 0);
}

int main(void)
{
    test_utf8_exhaustively();
    test_utf8_places();
    test_prefix();
    test_unescape();
    return check_result();
}
