/* Exact numbers: decimals, integers, times. Nothing here goes through a double on its way to a record. */
#include "internal.h"

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

/*==== MARK: Eight digits at a time ====*/

static const uint64_t powers[] = {1, 10, 100, 1000, 10000, 100000, 1000000, 10000000, 100000000};

/* Digits as text that ew_load has read, the last of them in the highest byte. */
static inline uint64_t eight(uint64_t v)
{
    v = v * (10 << 8 | 1) >> 8;
    v = (v & UINT64_C(0x00ff00ff00ff00ff)) * (100 << 16 | 1) >> 16;
    return (v & UINT64_C(0x0000ffff0000ffff)) * (UINT64_C(10000) << 32 | 1) >> 32;
}

/* The value of the first n of eight bytes, 1 <= n <= 8; what is no digit shows in *bad. */
static inline uint64_t up_to_eight(uint64_t v, size_t n, uint64_t *bad)
{
    const unsigned others = 64 - 8 * (unsigned)n;
    *bad |= ew_no_digits(v) << others;
    return eight((v ^ UINT64_C(0x3030303030303030)) << others);
}

static __attribute__((noinline)) bool read_any(const uint8_t *s, size_t n, ew_dec *out)
{
    *out = any_decimal(s, n);
    return out->state == EW_DEC_VALUE;
}

bool ew_dec_read(const uint8_t *s, size_t n, const uint8_t *end, ew_dec *out)
{
    if (end - s < (ptrdiff_t)n + 8)
        return read_any(s, n, out);
    /* Up to eight digits, and up to eight behind a point. */
    const size_t sign = *s == '-';
    const uint8_t *const first = s + sign;
    const uint64_t head = ew_load(first), stop = ew_no_digits(head);
    const size_t all = n - sign, whole = stop ? (size_t)__builtin_ctzll(stop) / 8 : 8;
    size_t fraction = 0;
    uint64_t bad = 0, m;
    if (n == 0 || (*first == '0' && whole != 1 && all != 1))
        return read_any(s, n, out);
    if (whole < all) {
        fraction = all - whole - 1;
        if (whole == 0 || first[whole] != '.' || fraction - 1 >= 8)
            return read_any(s, n, out);
        m = up_to_eight(head, whole, &bad) * powers[fraction] + up_to_eight(ew_load(first + whole + 1), fraction, &bad);
    } else {
        if (all == 0)
            return read_any(s, n, out);
        m = up_to_eight(head, all, &bad);
    }
    if (bad)
        return read_any(s, n, out);
    const uint64_t minus = 0 - (uint64_t)sign;
    out->lo = (m ^ minus) - minus;
    out->hi = m ? (int32_t)minus : 0;
    out->exponent = (int16_t)-(int)fraction;
    out->state = EW_DEC_VALUE;
    out->flags = m ? 0 : (uint8_t)(sign * EW_DEC_NEGATIVE_ZERO);
    return true;
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
    static const double exact[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
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
        x = d.exponent < 0 ? x / exact[-d.exponent] : x * exact[d.exponent];
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

static bool any_u64(const uint8_t *s, size_t n, uint64_t *out)
{
    uint64_t v = 0;
    if (n == 0 || n > 20)
        return false;
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

bool ew_u64_read(const uint8_t *s, size_t n, const uint8_t *end, uint64_t *out)
{
    if (n == 0 || (*s == '0' && n > 1))
        return false;
    if (n > 19 || end - s < (ptrdiff_t)n + 8)
        return any_u64(s, n, out);
    uint64_t v = 0, bad = 0;
    for (; n > 8; n -= 8, s += 8)
        v = v * powers[8] + up_to_eight(ew_load(s), 8, &bad);
    v = v * powers[n] + up_to_eight(ew_load(s), n, &bad);
    if (bad)
        return false;
    *out = v;
    return true;
}

bool ew_int_read(const uint8_t *s, size_t n, const uint8_t *end, int64_t *out)
{
    bool negative = n && *s == '-';
    uint64_t v;
    if (!ew_u64_read(s + negative, n - negative, end, &v) || v > (uint64_t)INT64_MAX + negative)
        return false;
    *out = negative ? (int64_t)(0 - v) : (int64_t)v;
    return true;
}

bool ew_time_read(const uint8_t *s, size_t n, const uint8_t *end, int64_t *out)
{
    int64_t v;
    if (!ew_int_read(s, n, end, &v))
        return false;
    uint64_t size = v < 0 ? 0 - (uint64_t)v : (uint64_t)v;
    int64_t unit = size < UINT64_C(100000000000)         ? 1000000000 /* s until the year 5138 */
                   : size < UINT64_C(100000000000000)    ? 1000000    /* ms from March 1973 on */
                   : size < UINT64_C(100000000000000000) ? 1000       /* us */
                                                         : 1;
    return !__builtin_mul_overflow(v, unit, out);
}
