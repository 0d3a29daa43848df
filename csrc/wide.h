/* Many bytes at a time, in the instructions of the set that a file is compiled for (EW_SET_*): the same functions for
 * each of them, with the same results. They read at most 64 bytes from s on, whatever these are. */
#ifndef EW_WIDE_H
#define EW_WIDE_H

#include "internal.h"

#if defined(EW_SET_AVX2) || defined(EW_SET_SSE4)
#include <immintrin.h>
#elif defined(EW_SET_NEON)
#include <arm_neon.h>
#endif

static inline uint64_t load8(const uint8_t *s)
{
    uint64_t v;
    memcpy(&v, s, 8);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    v = __builtin_bswap64(v);
#endif
    return v; /* the first byte is the lowest */
}

static inline bool is_digit(uint8_t c) { return (uint8_t)(c - '0') < 10; }

/* How many of eight bytes are digits before the first that is none. */
static inline unsigned digits_of_8(uint64_t v)
{
    const uint64_t t = v ^ UINT64_C(0x3030303030303030);
    const uint64_t no = ((t + UINT64_C(0x7676767676767676)) | t) & UINT64_C(0x8080808080808080);
    return no ? (unsigned)__builtin_ctzll(no) / 8 : 8;
}

/* The number that the first n of eight bytes write, n digits; 0 for none. */
static inline uint64_t number_of_8(uint64_t v, unsigned n)
{
    v = n ? v << (64 - 8 * n) : 0;
    v = (v & UINT64_C(0x0f0f0f0f0f0f0f0f)) * 2561 >> 8;
    v = (v & UINT64_C(0x00ff00ff00ff00ff)) * 6553601 >> 16;
    return (v & UINT64_C(0x0000ffff0000ffff)) * UINT64_C(42949672960001) >> 32;
}

static const uint64_t powers[] = {
    1, 10, 100, 1000, 10000, 100000, 1000000, 10000000, 100000000, 1000000000, 10000000000, 100000000000,
    1000000000000, 10000000000000, 100000000000000, 1000000000000000, 10000000000000000,
};

/*==== MARK: Sixteen bytes ====*/
/* `bytes16` is a register of sixteen bytes; masks have a bit for each byte, the first byte's the lowest. */

#if defined(EW_SET_AVX2) || defined(EW_SET_SSE4)

typedef __m128i bytes16;

/* Registers full of one number, from memory: compilers know better and make each anew, in three instructions. */
#define ROW(x) {x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x}
enum { ZERO_DIGIT, TEN, POINT, QUOTE, BACKSLASH, LAST_CONTROL };
static const uint8_t rows[][32] = {
    [ZERO_DIGIT] = ROW('0'), [TEN] = ROW(10), [POINT] = ROW((uint8_t)('.' - '0')),
    [QUOTE] = ROW('"'), [BACKSLASH] = ROW('\\'), [LAST_CONTROL] = ROW(0x1f),
};
static inline const void *row(int i)
{
    const uint8_t *p = rows[0];
    __asm__("" : "+r"(p));
    return p + 32 * i;
}
static inline __m128i all_16(int i) { return _mm_loadu_si128(row(i)); }
#ifdef EW_SET_AVX2
static inline __m256i all_32(int i) { return _mm256_loadu_si256(row(i)); }
#endif

static inline bytes16 load(const void *s) { return _mm_loadu_si128(s); }
static inline void save(void *out, bytes16 x) { _mm_storeu_si128(out, x); }
static inline bytes16 no_bytes(void) { return _mm_setzero_si128(); }
static inline bytes16 either(bytes16 x, bytes16 y) { return _mm_or_si128(x, y); }
static inline bytes16 both(bytes16 x, bytes16 y) { return _mm_and_si128(x, y); }
static inline bytes16 but_not(bytes16 x, bytes16 y) { return _mm_andnot_si128(y, x); }
static inline bytes16 minus_0(bytes16 x) { return _mm_sub_epi8(x, all_16(ZERO_DIGIT)); }
/* Of bytes minus '0': those that are no digits. */
static inline uint32_t others(bytes16 t)
{
    return (uint32_t)_mm_movemask_epi8(_mm_cmpeq_epi8(_mm_max_epu8(t, all_16(TEN)), t));
}
static inline uint32_t points(bytes16 t) { return (uint32_t)_mm_movemask_epi8(_mm_cmpeq_epi8(t, all_16(POINT))); }
static inline uint32_t quotes(bytes16 x) { return (uint32_t)_mm_movemask_epi8(_mm_cmpeq_epi8(x, all_16(QUOTE))); }
/* Those that need a closer look in a string: backslashes, control characters, and what is not ASCII. */
static inline uint32_t specials(bytes16 x)
{
    const __m128i control = _mm_cmpeq_epi8(_mm_min_epu8(x, all_16(LAST_CONTROL)), x);
    return (uint32_t)_mm_movemask_epi8(_mm_or_si128(_mm_or_si128(_mm_cmpeq_epi8(x, all_16(BACKSLASH)), control), x));
}
static inline uint32_t equals(bytes16 x, bytes16 y) { return (uint32_t)_mm_movemask_epi8(_mm_cmpeq_epi8(x, y)); }
/* Bytes picked by their places; for places below 0, zeros. */
static inline bytes16 pick(bytes16 x, bytes16 places) { return _mm_shuffle_epi8(x, places); }
static const _Alignas(16) uint16_t weight_rows[3][8] = {
    {0x010a, 0x010a, 0x010a, 0x010a, 0x010a, 0x010a, 0x010a, 0x010a}, /* bytes: 10 1 10 1 */
    {100, 1, 100, 1, 100, 1, 100, 1},
    {10000, 1, 10000, 1, 10000, 1, 10000, 1},
};
static inline const void *weights(int i)
{
    const uint16_t *p = weight_rows[0];
    __asm__("" : "+r"(p));
    return p + 8 * i;
}
/* The number that sixteen digits, as bytes of 0 to 9, write. */
static inline uint64_t number(bytes16 digits)
{
    const __m128i pairs = _mm_maddubs_epi16(digits, *(const __m128i *)weights(0));
    const __m128i fours = _mm_madd_epi16(pairs, *(const __m128i *)weights(1));
    const __m128i eights = _mm_madd_epi16(_mm_packus_epi32(fours, fours), *(const __m128i *)weights(2));
    const uint64_t v = (uint64_t)_mm_cvtsi128_si64(eights);
    return (v & UINT32_MAX) * 100000000 + (v >> 32);
}
#define EW_BLOCKS

#elif defined(EW_SET_NEON)

typedef uint8x16_t bytes16;
static inline bytes16 load(const void *s) { return vld1q_u8(s); }
static inline void save(void *out, bytes16 x) { vst1q_u8(out, x); }
static inline bytes16 no_bytes(void) { return vdupq_n_u8(0); }
static inline bytes16 either(bytes16 x, bytes16 y) { return vorrq_u8(x, y); }
static inline bytes16 both(bytes16 x, bytes16 y) { return vandq_u8(x, y); }
static inline bytes16 but_not(bytes16 x, bytes16 y) { return vbicq_u8(x, y); }
static inline bytes16 minus_0(bytes16 x) { return vsubq_u8(x, vdupq_n_u8('0')); }
static inline uint32_t bits(bytes16 yes)
{
    const bytes16 weights = {1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128};
    bytes16 x = vandq_u8(yes, weights);
    x = vpaddq_u8(x, x);
    x = vpaddq_u8(x, x);
    x = vpaddq_u8(x, x);
    return vgetq_lane_u16(vreinterpretq_u16_u8(x), 0);
}
static inline uint32_t others(bytes16 t) { return bits(vcgeq_u8(t, vdupq_n_u8(10))); }
static inline uint32_t points(bytes16 t) { return bits(vceqq_u8(t, vdupq_n_u8((uint8_t)('.' - '0')))); }
static inline uint32_t quotes(bytes16 x) { return bits(vceqq_u8(x, vdupq_n_u8('"'))); }
static inline uint32_t specials(bytes16 x)
{
    const bytes16 odd = vorrq_u8(vcltq_u8(x, vdupq_n_u8(0x20)), vcgeq_u8(x, vdupq_n_u8(0x80)));
    return bits(vorrq_u8(odd, vceqq_u8(x, vdupq_n_u8('\\'))));
}
static inline uint32_t equals(bytes16 x, bytes16 y) { return bits(vceqq_u8(x, y)); }
static inline bytes16 pick(bytes16 x, bytes16 places) { return vqtbl1q_u8(x, places); }
static inline uint64_t number(bytes16 digits)
{
    const uint8x16_t tens = {10, 1, 10, 1, 10, 1, 10, 1, 10, 1, 10, 1, 10, 1, 10, 1};
    const uint16x8_t hundreds = {100, 1, 100, 1, 100, 1, 100, 1};
    const uint32x4_t ten_thousands = {10000, 1, 10000, 1};
    const uint16x8_t pairs = vpaddlq_u8(vmulq_u8(digits, tens)); /* at most 9 * 10 in a byte */
    const uint32x4_t fours = vpaddlq_u16(vmulq_u16(pairs, hundreds));
    const uint64x2_t eights = vpaddlq_u32(vmulq_u32(fours, ten_thousands));
    return vgetq_lane_u64(eights, 0) * 100000000 + vgetq_lane_u64(eights, 1);
}
#define EW_BLOCKS

#else

typedef struct bytes16 { uint64_t a, b; } bytes16;
static inline bytes16 load(const void *s)
{
    bytes16 x;
    memcpy(&x, s, 16);
    return x;
}
static inline void save(void *out, bytes16 x) { memcpy(out, &x, 16); }
static inline bytes16 no_bytes(void) { return (bytes16){0, 0}; }
static inline bytes16 either(bytes16 x, bytes16 y) { return (bytes16){x.a | y.a, x.b | y.b}; }

#endif

#if defined(EW_BLOCKS)
/* From ones + 32 - n on: n bytes of all ones, then zeros. */
static const uint8_t ones[64] = {255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255,
                                 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255};
#endif

/*==== MARK: Strings ====*/

/* Bytes before the closing quote, if it is among the next 32 and all before it is plain ASCII; otherwise 32. */
static inline unsigned short_string(const uint8_t *s)
{
#if defined(EW_SET_AVX2)
    const __m256i x = _mm256_loadu_si256((const __m256i *)(const void *)s);
    const __m256i control = _mm256_cmpeq_epi8(_mm256_min_epu8(x, all_32(LAST_CONTROL)), x);
    const __m256i odd = _mm256_or_si256(_mm256_cmpeq_epi8(x, all_32(BACKSLASH)), control);
    const uint32_t special = (uint32_t)_mm256_movemask_epi8(_mm256_or_si256(odd, x));
    const uint32_t quote = (uint32_t)_mm256_movemask_epi8(_mm256_cmpeq_epi8(x, all_32(QUOTE)));
#elif defined(EW_BLOCKS)
    const bytes16 x = load(s), y = load(s + 16);
    const uint32_t special = specials(x) | specials(y) << 16, quote = quotes(x) | quotes(y) << 16;
#else
    unsigned n = 0;
    while (n < 32 && s[n] != '"' && s[n] != '\\' && s[n] >= 0x20 && s[n] < 0x80)
        n++;
    return n < 32 && s[n] == '"' ? n : 32;
#endif
#if defined(EW_BLOCKS)
    return quote && !(special & (quote ^ (quote - 1))) ? (unsigned)__builtin_ctz(quote) : 32;
#endif
}

/* Whether 32 bytes are plain ASCII, without a quote among them. */
static inline bool is_plain_32(const uint8_t *s)
{
#if defined(EW_BLOCKS)
    const bytes16 x = load(s), y = load(s + 16);
    return !(specials(x) | specials(y) | quotes(x) | quotes(y));
#else
    unsigned n = 0;
    while (n < 32 && s[n] != '"' && s[n] != '\\' && s[n] >= 0x20 && s[n] < 0x80)
        n++;
    return n == 32;
#endif
}

/* A text of n <= 32 bytes, and zeros behind it, into a slot of 32 bytes. */
static inline void copy_32(void *out, const uint8_t *s, unsigned n)
{
#if defined(EW_SET_AVX2)
    const __m256i mask = _mm256_loadu_si256((const __m256i *)(const void *)(ones + 32 - n));
    const __m256i x = _mm256_loadu_si256((const __m256i *)(const void *)s);
    _mm256_storeu_si256(out, _mm256_and_si256(x, mask));
#elif defined(EW_BLOCKS)
    save(out, both(load(s), load(ones + 32 - n)));
    save((char *)out + 16, both(load(s + 16), load(ones + 48 - n)));
#else
    memcpy(out, s, n);
    memset((char *)out + n, 0, 32 - n);
#endif
}

/* The same for n <= 16 bytes, into a slot of 16. */
static inline void copy_16(void *out, const uint8_t *s, unsigned n)
{
#if defined(EW_BLOCKS)
    save(out, both(load(s), load(ones + 32 - n)));
#else
    memcpy(out, s, n);
    memset((char *)out + n, 0, 16 - n);
#endif
}

/* Bytes at which 32 of s and of a text are equal: a bit for each, of which the scalar set tells only those before the
 * first difference. */
static inline uint32_t equal_32(const uint8_t *s, const uint8_t *text)
{
#if defined(EW_SET_AVX2)
    const __m256i x = _mm256_loadu_si256((const __m256i *)(const void *)s);
    return (uint32_t)_mm256_movemask_epi8(_mm256_cmpeq_epi8(x, _mm256_loadu_si256((const __m256i *)(const void *)text)));
#elif defined(EW_BLOCKS)
    return equals(load(s), load(text)) | equals(load(s + 16), load(text + 16)) << 16;
#else
    for (unsigned i = 0; i < 32; i += 8) {
        const uint64_t x = load8(s + i) ^ load8(text + i);
        if (x)
            return (uint32_t)((UINT64_C(1) << (i + (unsigned)__builtin_ctzll(x) / 8)) - 1);
    }
    return UINT32_MAX;
#endif
}

/* The same for the first 32 and for 32 from `last` on: bytes that are equal in both stretches. */
static inline uint32_t equal_twice(const uint8_t *s, const uint8_t *text, unsigned last)
{
#if defined(EW_SET_AVX2)
    const __m256i x = _mm256_loadu_si256((const __m256i *)(const void *)s);
    const __m256i y = _mm256_loadu_si256((const __m256i *)(const void *)(s + last));
    const __m256i same_x = _mm256_cmpeq_epi8(x, _mm256_loadu_si256((const __m256i *)(const void *)text));
    const __m256i same_y = _mm256_cmpeq_epi8(y, _mm256_loadu_si256((const __m256i *)(const void *)(text + last)));
    return (uint32_t)_mm256_movemask_epi8(_mm256_and_si256(same_x, same_y));
#else
    const uint32_t first = equal_32(s, text);
    return last ? first & equal_32(s + last, text + last) : first;
#endif
}

/*==== MARK: Numbers ====*/

#if defined(EW_BLOCKS)
/* Places that move the first n <= 16 bytes to the right end, zeros before them; for other n below 32 any places. */
static inline bytes16 right_end(unsigned n)
{
    static const int8_t places[48] = {-16, -15, -14, -13, -12, -11, -10, -9, -8, -7, -6, -5, -4, -3, -2, -1,
                                      0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    return load(places + n);
}
#endif

/* How many digits s begins with, of up to 16. */
static inline unsigned count_digits(const uint8_t *s)
{
#if defined(EW_BLOCKS)
    return (unsigned)__builtin_ctz(others(minus_0(load(s))) | 0x10000);
#else
    const unsigned n = digits_of_8(load8(s));
    return n < 8 ? n : 8 + digits_of_8(load8(s + 8));
#endif
}

/* The number that n <= 16 digits write. */
static inline uint64_t short_number(const uint8_t *s, unsigned n)
{
#if defined(EW_BLOCKS)
    return number(pick(minus_0(load(s)), right_end(n)));
#else
    return n <= 8 ? number_of_8(load8(s), n)
                  : number_of_8(load8(s), 8) * powers[n - 8] + number_of_8(load8(s + 8), n - 8);
#endif
}

/* The number that exactly 13 digits write, as a time in milliseconds has them; false if there are more or less. */
static inline bool number_13(const uint8_t *s, uint64_t *out)
{
#if defined(EW_BLOCKS)
    const bytes16 t = minus_0(load(s));
    *out = number(pick(t, right_end(13)));
    return (others(t) & 0x3fff) == 0x2000;
#else
    const uint64_t x = load8(s), y = load8(s + 8);
    *out = number_of_8(x, 8) * 100000 + number_of_8(y, 5);
    return digits_of_8(x) == 8 && digits_of_8(y) == 5;
#endif
}

/* A decimal of at most 16 digits, with a point among them or none: how many bytes that is, or 0 for anything else. */
static inline unsigned short_decimal(const uint8_t *s, uint64_t *digits, unsigned *fraction)
{
#if defined(EW_BLOCKS)
#if defined(EW_SET_AVX2)
    const __m256i t32 = _mm256_sub_epi8(_mm256_loadu_si256((const __m256i *)(const void *)s), all_32(ZERO_DIGIT));
    const uint32_t no = (uint32_t)_mm256_movemask_epi8(_mm256_cmpeq_epi8(_mm256_max_epu8(t32, all_32(TEN)), t32));
    const uint32_t dots = (uint32_t)_mm256_movemask_epi8(_mm256_cmpeq_epi8(t32, all_32(POINT)));
    const bytes16 t = _mm256_castsi256_si128(t32);
#else
    const bytes16 t = minus_0(load(s)), t2 = minus_0(load(s + 16));
    const uint32_t no = others(t) | others(t2) << 16, dots = points(t) | points(t2) << 16;
#endif
    const uint32_t first = no & -no; /* what ends the whole digits */
    const unsigned n = (unsigned)__builtin_ctz(no | 0x80000000);
    const unsigned end = (unsigned)__builtin_ctz((no & ~(first & dots)) | 0x80000000);
    const unsigned part = end - n, point = part != 0; /* the point and what stands behind it */
    /* What stands behind the point is taken from one byte further. */
    const bytes16 before = load(ones + 32 - n);
    const bytes16 x = either(both(t, before), but_not(minus_0(load(s + 1)), before));
    *digits = number(pick(x, right_end(end - point)));
    *fraction = part - point;
    /* None; too many; none behind the point; a leading zero. One branch, for it is nearly never taken. */
    const bool bad = (n == 0) | (end - point > 16) | (part == 1) | ((*s == '0') & (n > 1));
    return bad ? 0 : end;
#else
    const unsigned n = digits_of_8(load8(s));
    const uint64_t whole = number_of_8(load8(s), n);
    if (n == 0 || n == 8 || (*s == '0' && n > 1))
        return 0;
    *digits = whole;
    *fraction = 0;
    if (s[n] != '.')
        return n;
    const unsigned k = count_digits(s + n + 1);
    if (k == 0 || n + k > 16)
        return 0;
    *digits = whole * powers[k] + short_number(s + n + 1, k);
    *fraction = k;
    return n + 1 + k;
#endif
}

#if defined(EW_SET_AVX2) || defined(EW_SET_SSE4)
/* The commonest kind of decimal: at most 15 bytes, with a point among them or without; the place behind it, null for
 * others. */
static inline __attribute__((always_inline)) const uint8_t *quick_decimal(const uint8_t *s, uint64_t *digits, unsigned *fraction)
{
    const bytes16 t = minus_0(load(s));
    const uint32_t no = others(t), first = no & -no;
    const unsigned n = (unsigned)__builtin_ctz(no | 0x10000);
    const unsigned end = (unsigned)__builtin_ctz((no & ~(first & points(t))) | 0x10000);
    const unsigned part = end - n, point = part != 0;
    const __m128i places = right_end(end - point);
    const __m128i behind = _mm_cmpgt_epi8(places, _mm_set1_epi8((char)(n - 1)));
    *digits = number(pick(t, _mm_sub_epi8(places, behind)));
    *fraction = part - point;
    /* None; none behind the point; too many; a leading zero. One jump, for it is nearly never taken. */
    if (__builtin_expect((n == 0) | (part == 1) | (end == 16) | ((*s == '0') & (n > 1)), 0))
        return NULL;
    return s + end;
}
#else
static inline const uint8_t *quick_decimal(const uint8_t *s, uint64_t *digits, unsigned *fraction)
{
    const unsigned n = short_decimal(s, digits, fraction);
    return n ? s + n : NULL;
}
#endif

#endif
