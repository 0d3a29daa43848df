/* Text: UTF-8 and JSON escapes. */
#include "internal.h"

#define HIGH_BITS UINT64_C(0x8080808080808080)

size_t ew_utf8_check(const uint8_t *s, size_t n)
{
    size_t i = 0;
    for (;;) {
        /* Payloads are ASCII nearly always: many bytes at a time. */
        uint64_t w[4];
        while (n - i >= 32 && (memcpy(w, s + i, 32), ((w[0] | w[1] | w[2] | w[3]) & HIGH_BITS) == 0))
            i += 32;
        while (n - i >= 8 && (memcpy(w, s + i, 8), (w[0] & HIGH_BITS) == 0))
            i += 8;
        if (i == n)
            return n;
        uint8_t c = s[i];
        if (c < 0x80) {
            i++;
            continue;
        }
        size_t more = c >= 0xc2 && c <= 0xdf ? 1 : (c & 0xf0) == 0xe0 ? 2 : c >= 0xf0 && c <= 0xf4 ? 3 : 0;
        if (more == 0 || n - i <= more)
            return i;
        uint8_t d = s[i + 1];
        /* The second byte rules out overlong forms, surrogates and what lies beyond U+10FFFF. */
        uint8_t low = c == 0xe0 ? 0xa0 : c == 0xf0 ? 0x90 : 0x80;
        uint8_t high = c == 0xed ? 0x9f : c == 0xf4 ? 0x8f : 0xbf;
        if (d < low || d > high)
            return i;
        for (size_t k = 2; k <= more; k++)
            if ((s[i + k] & 0xc0) != 0x80)
                return i;
        i += more + 1;
    }
}

size_t ew_utf8_prefix(const uint8_t *s, size_t n, size_t room)
{
    if (n <= room)
        return n;
    while (room && (s[room] & 0xc0) == 0x80)
        room--;
    return room;
}

static unsigned hex4(const uint8_t *s)
{
    unsigned v = 0;
    for (int i = 0; i < 4; i++)
        v = v * 16 + (s[i] <= '9' ? s[i] - 0x30u : (s[i] | 0x20) - 0x57u);
    return v;
}

/* One character of a string whose escapes the scan has checked: its bytes into out, their number; *s moves behind. */
static size_t character(const uint8_t **s, uint8_t out[4])
{
    const uint8_t *p = *s;
    if (*p != '\\') {
        size_t k = *p < 0x80 ? 1 : *p < 0xe0 ? 2 : *p < 0xf0 ? 3 : 4;
        memcpy(out, p, k);
        *s = p + k;
        return k;
    }
    uint8_t c = p[1];
    *s = p + 2;
    if (c != 'u') {
        out[0] = c == 'b' ? '\b' : c == 'f' ? '\f' : c == 'n' ? '\n' : c == 'r' ? '\r' : c == 't' ? '\t' : c;
        return 1;
    }
    unsigned v = hex4(p + 2);
    *s = p + 6;
    if (v >= 0xd800 && v < 0xdc00) {
        v = 0x10000 + ((v - 0xd800) << 10) + (hex4(p + 8) - 0xdc00);
        *s = p + 12;
    }
    if (v < 0x80) {
        out[0] = (uint8_t)v;
        return 1;
    }
    size_t k = v < 0x800 ? 2 : v < 0x10000 ? 3 : 4;
    for (size_t i = k - 1; i > 0; i--, v >>= 6)
        out[i] = (uint8_t)(0x80 | (v & 0x3f));
    out[0] = (uint8_t)((0xf00u >> k) | v);
    return k;
}

size_t ew_unescape_prefix(const uint8_t *s, size_t n, uint8_t *out, size_t room, bool *whole)
{
    const uint8_t *end = s + n;
    size_t len = 0;
    while (s < end) {
        uint8_t c[4];
        size_t k = character(&s, c);
        if (len + k > room) {
            *whole = false;
            return len;
        }
        memcpy(out + len, c, k);
        len += k;
    }
    *whole = true;
    return len;
}

size_t ew_unescape(const uint8_t *s, size_t n, uint8_t *out)
{
    bool whole;
    return ew_unescape_prefix(s, n, out, n, &whole);
}
