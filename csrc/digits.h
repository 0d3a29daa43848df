/* Numbers from text, sixteen digits at a time: what is common, in line, and number.c for the rest.
 *
 * Digits are read right-aligned: bytes before the text are looked at, but none before `begin`, and none behind the
 * text. What these functions fail on they leave alone. */
#ifndef EW_DIGITS_H
#define EW_DIGITS_H

#include "internal.h"

#if defined(EW_HAS_SSE2)
#include <emmintrin.h>
#endif

#define EW_DIGITS 16      /* at a time, and */
#define EW_DIGITS_READ 24 /* bytes before the end of their text that are looked at */

/* ew_whole: the value of the text of n bytes that ends at `end`, 1 <= n <= EW_DIGITS, which are digits. ew_digits: with
 * a point between them perhaps, behind which *fraction of them stand. False if the text is anything else. */
#if defined(EW_HAS_SSE2)
static inline __m128i ew_load16(const uint8_t *s) { return _mm_loadu_si128((const __m128i *)(const void *)s); }

/* Ones in the last n of 16 bytes. */
static inline __m128i ew_last(size_t n)
{
    static const uint8_t ramp[32] = {0,   0,   0,   0,   0,   0,   0,   0,   0,   0,   0,   0,   0,   0,   0,   0,
                                     255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255};
    return ew_load16(ramp + n);
}

/* The value of the last n characters, all of them digits. */
static inline bool ew_value(__m128i x, size_t n, uint64_t *out)
{
    x = _mm_and_si128(_mm_sub_epi8(x, _mm_set1_epi8('0')), ew_last(n));
    if (_mm_movemask_epi8(_mm_cmpeq_epi8(_mm_min_epu8(x, _mm_set1_epi8(9)), x)) != 0xffff)
        return false;
    const __m128i two = _mm_srli_epi16(_mm_mullo_epi16(x, _mm_set1_epi16(10 << 8 | 1)), 8);
    const __m128i four = _mm_madd_epi16(two, _mm_set1_epi32(1 << 16 | 100));
    const __m128i eight = _mm_madd_epi16(_mm_packs_epi32(four, four), _mm_set1_epi32(1 << 16 | 10000));
    uint64_t v;
    _mm_storel_epi64((__m128i *)(void *)&v, eight);
    *out = (v & UINT32_MAX) * 100000000 + (v >> 32);
    return true;
}

static inline bool ew_whole(const uint8_t *end, size_t n, uint64_t *out)
{
    return ew_value(ew_load16(end - 16), n, out);
}

static inline bool ew_digits(const uint8_t *end, size_t n, size_t *fraction, uint64_t *out)
{
    __m128i x = ew_load16(end - 16);
    const int points = _mm_movemask_epi8(_mm_cmpeq_epi8(x, _mm_set1_epi8('.'))) & (int)(0xffffu << (16 - n));
    *fraction = 0;
    if (points) { /* what stands before it moves up to what stands behind it */
        *fraction = 15 - (size_t)__builtin_ctz((unsigned)points);
        const __m128i behind = ew_last(*fraction);
        x = _mm_or_si128(_mm_and_si128(behind, x), _mm_andnot_si128(behind, ew_load16(end - 17)));
        if (*fraction == 0 || *fraction == --n)
            return false;
    }
    return ew_value(x, n, out);
}
#else
/* Of n <= 8 digits; what is none shows in *bad. */
static inline uint64_t ew_eight(const uint8_t *end, size_t n, uint64_t *bad)
{
    if (n == 0)
        return 0;
    const unsigned others = 64 - 8 * (unsigned)n;
    uint64_t v = (ew_load(end - 8) ^ UINT64_C(0x3030303030303030)) >> others << others;
    *bad |= (v | (v + UINT64_C(0x7676767676767676))) & UINT64_C(0x8080808080808080);
    v = v * (10 << 8 | 1) >> 8;
    v = (v & UINT64_C(0x00ff00ff00ff00ff)) * (100 << 16 | 1) >> 16;
    return (v & UINT64_C(0x0000ffff0000ffff)) * (UINT64_C(10000) << 32 | 1) >> 32;
}

static inline uint64_t ew_sixteen(const uint8_t *end, size_t n, uint64_t *bad)
{
    return n <= 8 ? ew_eight(end, n, bad) : ew_eight(end - 8, n - 8, bad) * 100000000 + ew_eight(end, 8, bad);
}

static inline bool ew_whole(const uint8_t *end, size_t n, uint64_t *out)
{
    uint64_t bad = 0;
    *out = ew_sixteen(end, n, &bad);
    return !bad;
}

static inline bool ew_digits(const uint8_t *end, size_t n, size_t *fraction, uint64_t *out)
{
    static const uint64_t powers[] = {
        1, 10, 100, 1000, 10000, 100000, 1000000, 10000000, 100000000, 1000000000, 10000000000, 100000000000,
        1000000000000, 10000000000000, 100000000000000, 1000000000000000,
    };
    const uint8_t *const s = end - n;
    uint64_t bad = 0;
    size_t whole = 0;
    while (whole < n && s[whole] != '.')
        whole++;
    *fraction = whole < n ? n - whole - 1 : 0;
    *out = ew_sixteen(s + whole, whole, &bad);
    if (whole < n)
        *out = *out * powers[*fraction] + ew_sixteen(end, *fraction, &bad);
    return whole > 0 && whole != n - 1 && !bad;
}
#endif

bool ew_dec_read_any(const uint8_t *s, size_t n, const uint8_t *begin, ew_dec *out);
bool ew_u64_read_any(const uint8_t *s, size_t n, const uint8_t *begin, uint64_t *out);

/* A short decimal without sign and exponent; false if it is anything else. n > 0. */
static inline bool ew_dec_short(const uint8_t *s, size_t n, const uint8_t *begin, ew_dec *out)
{
    size_t fraction;
    uint64_t m;
    if (n > EW_DIGITS || s + n - begin < EW_DIGITS_READ || (*s == '0' && n > 1 && s[1] != '.') ||
        !ew_digits(s + n, n, &fraction, &m))
        return false;
    *out = (ew_dec){m, 0, (int16_t)-(int)fraction, EW_DEC_VALUE, 0};
    return true;
}

/* See ew_dec_parse; true if it is a value. n > 0. */
static inline bool ew_dec_read(const uint8_t *s, size_t n, const uint8_t *begin, ew_dec *out)
{
    return ew_dec_short(s, n, begin, out) || ew_dec_read_any(s, n, begin, out);
}

/* The id's number, if the text is a plain one (see ew_id). */
static inline bool ew_u64_read(const uint8_t *s, size_t n, const uint8_t *begin, uint64_t *out)
{
    uint64_t v;
    if (n - 1 >= EW_DIGITS || s + n - begin < EW_DIGITS_READ)
        return ew_u64_read_any(s, n, begin, out);
    if ((*s == '0' && n > 1) || !ew_whole(s + n, n, &v))
        return false;
    *out = v;
    return true;
}

/* An integer as JSON writes them (no exponent, no fraction) within int64; false otherwise. */
static inline bool ew_int_read(const uint8_t *s, size_t n, const uint8_t *begin, int64_t *out)
{
    const bool negative = n && *s == '-';
    uint64_t v;
    if (!ew_u64_read(s + negative, n - negative, begin, &v) || v > (uint64_t)INT64_MAX + negative)
        return false;
    *out = negative ? (int64_t)(0 - v) : (int64_t)v;
    return true;
}

/* Nanoseconds from an epoch time whose unit its magnitude tells; false if it is no integer or does not fit. */
static inline bool ew_time_read(const uint8_t *s, size_t n, const uint8_t *begin, int64_t *out)
{
    int64_t v, ns;
    if (!ew_int_read(s, n, begin, &v))
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
