/* Exact numbers: decimals, integers, times. Nothing here goes through a double on its way to a record. */
#include "digits.h"

#include <math.h>
#include <stdlib.h>

__extension__ typedef unsigned __int128 u128;
__extension__ typedef __int128 i128;

#define MANTISSA_MAX (((u128)1 << 95) - 1)

static inline bool digit(uint8_t c) { return (uint8_t)(c - '0') < 10; }

/* Digits from s up to the first other byte, appended to *m. False in *fits if the value outgrew the mantissa: *m is
 * then meaningless, but the digits were still all walked over. */
static const uint8_t *wide_digits(const uint8_t *s, const uint8_t *end, u128 *m, bool *fits)
{
    for (; s < end && digit(*s); s++) {
        *fits = *fits && *m <= MANTISSA_MAX / 10;
        *m = *m * 10 + (uint64_t)(*s - '0');
    }
    *fits = *fits && *m <= MANTISSA_MAX;
    return s;
}

static inline const uint8_t *digits(const uint8_t *s, const uint8_t *end, uint64_t *m)
{
    uint64_t v = *m;
    for (; s < end && digit(*s); s++)
        v = v * 10 + (uint64_t)(*s - '0');
    *m = v;
    return s;
}

/* Any decimal, digit by digit. */
static ew_dec any_decimal(const uint8_t *s, size_t n)
{
    const ew_dec no = {0, 0, 0, EW_DEC_UNREPRESENTABLE, 0};
    const uint8_t *const end = s + n, *const first = s + (n && *s == '-'), *at, *point = NULL;
    const bool negative = first != s;
    bool fits = true;
    uint64_t small = 0;
    int64_t exponent = 0;

    at = digits(first, end, &small);
    if (at == first || (*first == '0' && at != first + 1))
        return no;
    if (at < end && *at == '.') {
        point = ++at;
        at = digits(at, end, &small);
        if (at == point)
            return no;
        exponent = point - at;
    }
    u128 m = small;
    if (at - first > 19) { /* more digits than the 64 bits surely held: once more */
        m = 0;
        wide_digits(first, end, &m, &fits);
        if (point)
            wide_digits(point, end, &m, &fits);
    }
    if (at < end && (*at | 0x20) == 'e') {
        bool down = ++at < end && *at == '-';
        int64_t e = 0;
        at += at < end && (*at == '-' || *at == '+');
        s = at;
        /* What saturates is more than the digits of any payload could make up for. */
        for (; at < end && digit(*at); at++)
            e = e < INT64_C(1000000000000) ? e * 10 + (*at - '0') : e;
        if (at == s)
            return no;
        exponent += down ? -e : e;
    }
    if (at != end || !fits || exponent > EW_DEC_MAX_EXPONENT || exponent < -EW_DEC_MAX_EXPONENT)
        return no;
    i128 v = negative ? -(i128)m : (i128)m;
    return (ew_dec){(uint64_t)v, (int32_t)(v >> 64), (int16_t)exponent, EW_DEC_VALUE,
                    negative && m == 0 ? EW_DEC_NEGATIVE_ZERO : 0};
}

bool ew_dec_read_any(const uint8_t *s, size_t n, const uint8_t *begin, ew_dec *out)
{
    if (n > 1 && *s == '-' && ew_dec_short(s + 1, n - 1, begin, out)) {
        *out = (ew_dec){0 - out->lo, out->lo ? -1 : 0, out->exponent, EW_DEC_VALUE,
                        out->lo ? 0 : EW_DEC_NEGATIVE_ZERO};
        return true;
    }
    *out = any_decimal(s, n);
    return out->state == EW_DEC_VALUE;
}

ew_dec ew_dec_parse(const uint8_t *s, size_t n) { return any_decimal(s, n); }

/*==== MARK: What decimals are ====*/

static inline i128 mantissa(ew_dec d) { return (i128)(((u128)(uint64_t)(int64_t)d.hi << 64) | d.lo); }

/* Decimal digits of m, without leading zeros ("" for 0), right-aligned in the 40 bytes of out. */
static size_t print_digits(u128 m, char out[40])
{
    size_t n = 0;
    for (; m > UINT64_MAX; m /= 10)
        out[39 - n++] = (char)('0' + (int)(m % 10));
    for (uint64_t low = (uint64_t)m; low; low /= 10) /* nearly always all of it */
        out[39 - n++] = (char)('0' + (int)(low % 10));
    return n;
}

double ew_dec_double(ew_dec d)
{
    static const double powers[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                                    1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
    if (d.state != EW_DEC_VALUE)
        return NAN;
    i128 v = mantissa(d);
    if (v == 0)
        return ew_in(d.flags, EW_DEC_NEGATIVE_ZERO) ? -0.0 : 0.0;
    u128 m = v < 0 ? -(u128)v : (u128)v;
    /* Both operands exact: one rounding, hence the correct one. */
    if (m <= (UINT64_C(1) << 53) && d.exponent >= -22 && d.exponent <= 22) {
        double x = (double)(uint64_t)m;
        x = d.exponent < 0 ? x / powers[-d.exponent] : x * powers[d.exponent];
        return v < 0 ? -x : x;
    }
    char digits[40], text[64];
    size_t k = print_digits(m, digits), i = 0;
    text[i++] = v < 0 ? '-' : '+';
    memcpy(text + i, digits + 40 - k, k);
    i += k;
    text[i++] = 'e';
    int e = d.exponent;
    text[i++] = e < 0 ? '-' : '+';
    e = e < 0 ? -e : e;
    for (int p = 1000; p; p /= 10)
        text[i++] = (char)('0' + e / p % 10);
    text[i] = 0;
    return strtod(text, NULL); /* no point in the text, so the locale does not matter */
}

int ew_dec_scaled(ew_dec d, int scale, int64_t *out)
{
    if (d.state != EW_DEC_VALUE || scale > 10000 || scale < -10000)
        return -1;
    i128 v = mantissa(d);
    int e = d.exponent + scale;
    for (; e > 0 && v; e--) {
        if (v > INT64_MAX || v < INT64_MIN)
            return -1;
        v *= 10;
    }
    for (; e < 0 && v; e++) {
        if (v % 10)
            return -1;
        v /= 10;
    }
    if (v > INT64_MAX || v < INT64_MIN)
        return -1;
    *out = (int64_t)v;
    return 0;
}

size_t ew_dec_text(ew_dec d, char *out)
{
    if (d.state != EW_DEC_VALUE)
        return 0;
    i128 v = mantissa(d);
    u128 m = v < 0 ? -(u128)v : (u128)v;
    char digits[40];
    int k = (int)print_digits(m, digits), e = d.exponent;
    size_t i = 0;

    if (v < 0 || ew_in(d.flags, EW_DEC_NEGATIVE_ZERO))
        out[i++] = '-';
    if (k == 0)
        digits[39] = '0', k = 1;
    if (e > 0 || -e > 39) { /* "12E+3": as many significant digits as the venue wrote */
        memcpy(out + i, digits + 40 - k, (size_t)k);
        i += (size_t)k;
        out[i++] = 'E';
        out[i++] = e < 0 ? '-' : '+';
        e = e < 0 ? -e : e;
        for (int p = e >= 100 ? 100 : e >= 10 ? 10 : 1; p; p /= 10)
            out[i++] = (char)('0' + e / p % 10);
        return i;
    }
    int whole = k + e; /* digits before the point */
    if (whole > 0) {
        memcpy(out + i, digits + 40 - k, (size_t)whole);
        i += (size_t)whole;
    } else {
        out[i++] = '0';
    }
    if (e < 0) {
        out[i++] = '.';
        for (int z = whole; z < 0; z++)
            out[i++] = '0';
        int fraction = whole > 0 ? -e : k;
        memcpy(out + i, digits + 40 - fraction, (size_t)fraction);
        i += (size_t)fraction;
    }
    return i;
}

bool ew_u64_read_any(const uint8_t *s, size_t n, const uint8_t *begin, uint64_t *out)
{
    uint64_t v = 0, low;
    if (n == 0 || n > 20 || (*s == '0' && n > 1))
        return false;
    if (n > EW_DIGITS && n < 20 && s + n - EW_DIGITS - begin >= EW_DIGITS_READ) {
        if (!ew_whole(s + n - EW_DIGITS, n - EW_DIGITS, &v) || !ew_whole(s + n, EW_DIGITS, &low))
            return false;
        *out = v * UINT64_C(10000000000000000) + low;
        return true;
    }
    const uint8_t *end = digits(s, s + (n < 20 ? n : 19), &v);
    if (n == 20) { /* the twentieth digit may be one too many */
        if (end != s + 19 || !digit(*end) || __builtin_mul_overflow(v, 10, &v) ||
            __builtin_add_overflow(v, (uint64_t)(*end - '0'), &v))
            return false;
        end++;
    }
    if (end != s + n)
        return false;
    *out = v;
    return true;
}

/*==== MARK: For the rest of the library ====*/

bool ew_plain_u64(const uint8_t *s, size_t n, uint64_t *out) { return ew_u64_read_any(s, n, s, out); }
bool ew_int_parse(const uint8_t *s, size_t n, int64_t *out) { return ew_int_read(s, n, s, out); }
bool ew_time_parse(const uint8_t *s, size_t n, int64_t *out) { return ew_time_read(s, n, s, out); }
