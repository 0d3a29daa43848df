/* Numbers from text, eight digits at a time: what is common, in line, and number.c for the rest.
 *
 * All look at no byte from `end` on, and are quick where eight bytes or more lie between the text and it. What they
 * fail on they leave alone. */
#ifndef EW_DIGITS_H
#define EW_DIGITS_H

#include "internal.h"

static const uint64_t ew_powers[] = {1, 10, 100, 1000, 10000, 100000, 1000000, 10000000, 100000000};

/* The value of the first n of eight bytes that ew_load has read, 1 <= n <= 8; what is no digit shows in *bad. */
static inline uint64_t ew_eight(uint64_t v, size_t n, uint64_t *bad)
{
    const unsigned others = 64 - 8 * (unsigned)n;
    *bad |= ew_no_digits(v) << others;
    v = (v ^ UINT64_C(0x3030303030303030)) << others; /* the last digit in the highest byte */
    v = v * (10 << 8 | 1) >> 8;
    v = (v & UINT64_C(0x00ff00ff00ff00ff)) * (100 << 16 | 1) >> 16;
    return (v & UINT64_C(0x0000ffff0000ffff)) * (UINT64_C(10000) << 32 | 1) >> 32;
}

bool ew_dec_read_any(const uint8_t *s, size_t n, ew_dec *out);
bool ew_u64_read_any(const uint8_t *s, size_t n, uint64_t *out);

/* See ew_dec_parse; true if it is a value. */
static inline bool ew_dec_read(const uint8_t *s, size_t n, const uint8_t *end, ew_dec *out)
{
    if (end - s < (ptrdiff_t)n + 8)
        return ew_dec_read_any(s, n, out);
    /* Up to eight digits, and up to eight behind a point. */
    const size_t sign = *s == '-';
    const uint8_t *const first = s + sign;
    const uint64_t head = ew_load(first), stop = ew_no_digits(head);
    const size_t all = n - sign, whole = stop ? (size_t)__builtin_ctzll(stop) / 8 : 8;
    size_t fraction = 0;
    uint64_t bad = 0, m;
    if (n == 0 || (*first == '0' && whole != 1 && all != 1))
        return ew_dec_read_any(s, n, out);
    if (whole < all) {
        fraction = all - whole - 1;
        if (whole == 0 || first[whole] != '.' || fraction - 1 >= 8)
            return ew_dec_read_any(s, n, out);
        m = ew_eight(head, whole, &bad) * ew_powers[fraction] + ew_eight(ew_load(first + whole + 1), fraction, &bad);
    } else {
        if (all == 0)
            return ew_dec_read_any(s, n, out);
        m = ew_eight(head, all, &bad);
    }
    if (bad)
        return ew_dec_read_any(s, n, out);
    const uint64_t minus = 0 - (uint64_t)sign;
    out->lo = (m ^ minus) - minus;
    out->hi = m ? (int32_t)minus : 0;
    out->exponent = (int16_t)-(int)fraction;
    out->state = EW_DEC_VALUE;
    out->flags = m ? 0 : (uint8_t)(sign * EW_DEC_NEGATIVE_ZERO);
    return true;
}

/* The id's number, if the text is a plain one (see ew_id). */
static inline bool ew_u64_read(const uint8_t *s, size_t n, const uint8_t *end, uint64_t *out)
{
    if (n - 1 >= 19 || end - s < (ptrdiff_t)n + 8)
        return ew_u64_read_any(s, n, out);
    if (*s == '0' && n > 1)
        return false;
    uint64_t v = 0, bad = 0;
    for (; n > 8; n -= 8, s += 8)
        v = v * ew_powers[8] + ew_eight(ew_load(s), 8, &bad);
    v = v * ew_powers[n] + ew_eight(ew_load(s), n, &bad);
    if (bad)
        return false;
    *out = v;
    return true;
}

/* An integer as JSON writes them (no exponent, no fraction) within int64; false otherwise. */
static inline bool ew_int_read(const uint8_t *s, size_t n, const uint8_t *end, int64_t *out)
{
    const bool negative = n && *s == '-';
    uint64_t v;
    if (!ew_u64_read(s + negative, n - negative, end, &v) || v > (uint64_t)INT64_MAX + negative)
        return false;
    *out = negative ? (int64_t)(0 - v) : (int64_t)v;
    return true;
}

/* Nanoseconds from an epoch time whose unit its magnitude tells; false if it is no integer or does not fit. */
static inline bool ew_time_read(const uint8_t *s, size_t n, const uint8_t *end, int64_t *out)
{
    int64_t v, ns;
    if (!ew_int_read(s, n, end, &v))
        return false;
    const uint64_t size = v < 0 ? 0 - (uint64_t)v : (uint64_t)v;
    const int64_t unit = size < UINT64_C(100000000000)         ? 1000000000 /* s until the year 5138 */
                         : size < UINT64_C(100000000000000)    ? 1000000    /* ms from March 1973 on */
                         : size < UINT64_C(100000000000000000) ? 1000       /* us */
                                                               : 1;
    if (__builtin_mul_overflow(v, unit, &ns))
        return false;
    *out = ns;
    return true;
}

#endif
