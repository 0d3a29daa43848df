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

/* Constants for registers, and tables; a structure of its own (wide.c), because compilers that know them make
 * registers full of one number anew each time, in three instructions. */
extern __attribute__((visibility("hidden"))) const struct ew_wide {
    _Alignas(32) uint8_t zero_digits[32], beyond_9[32], points[32], quotes[32], backslashes[32], before_32[32];
    uint8_t time_zeros[16], beyond_time[16]; /* zero_digits and beyond_9, but 1 to 8 in front */
    uint8_t weights_1[16]; /* 10 1 10 1 ... */
    int16_t weights_2[8], weights_4[8];
    uint8_t ones[64];   /* from 32 - n on: n bytes of all ones, then zeros */
    int8_t places[48];  /* from n on: those that move n bytes to the right end of 16 */
} ew_wide;

/* Decimals of at most 15 bytes, by these and by how many of them are digits before the point. */
extern __attribute__((visibility("hidden"))) const struct ew_form {
    _Alignas(32) int8_t places[16]; /* those that move the digits to the right end of 16 bytes, without the point */
    int32_t hi;        /* the rest of the ew_dec behind its lowest word */
    int16_t exponent;
    uint8_t state, flags;
    uint8_t below; /* the first byte must be more: '0' where it must be no zero, 255 where there is no such decimal */
} ew_forms[16 * 17 + 1];

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

#define EW_CONSTANT(name) (*(const __m128i *)(const void *)ew_wide.name)
#define EW_CONSTANT_32(name) (*(const __m256i *)(const void *)ew_wide.name)

static inline bytes16 load(const void *s) { return _mm_loadu_si128(s); }
static inline void save(void *out, bytes16 x) { _mm_storeu_si128(out, x); }
static inline bytes16 no_bytes(void) { return _mm_setzero_si128(); }
static inline bytes16 either(bytes16 x, bytes16 y) { return _mm_or_si128(x, y); }
static inline bytes16 both(bytes16 x, bytes16 y) { return _mm_and_si128(x, y); }
static inline bytes16 but_not(bytes16 x, bytes16 y) { return _mm_andnot_si128(y, x); }
static inline bytes16 minus_0(bytes16 x) { return _mm_sub_epi8(x, EW_CONSTANT(zero_digits)); }
/* Of bytes minus '0': those that are no digits. What is more than 9 gets its highest bit from the addition. */
static inline uint32_t others(bytes16 t)
{
    return (uint32_t)_mm_movemask_epi8(_mm_adds_epu8(t, EW_CONSTANT(beyond_9)));
}
static inline uint32_t points(bytes16 t) { return (uint32_t)_mm_movemask_epi8(_mm_cmpeq_epi8(t, EW_CONSTANT(points))); }
static inline uint32_t quotes(bytes16 x) { return (uint32_t)_mm_movemask_epi8(_mm_cmpeq_epi8(x, EW_CONSTANT(quotes))); }
/* Those that need a closer look in a string: backslashes, control characters, and what is not ASCII. */
static inline uint32_t specials(bytes16 x)
{
    const __m128i control = _mm_subs_epu8(EW_CONSTANT(before_32), x); /* its highest bit, as in `others` */
    const __m128i odd = _mm_or_si128(_mm_cmpeq_epi8(x, EW_CONSTANT(backslashes)), control);
    return (uint32_t)_mm_movemask_epi8(_mm_or_si128(odd, x));
}
static inline uint32_t equals(bytes16 x, bytes16 y) { return (uint32_t)_mm_movemask_epi8(_mm_cmpeq_epi8(x, y)); }
/* Bytes picked by their places; for places below 0, zeros. */
static inline bytes16 pick(bytes16 x, bytes16 places) { return _mm_shuffle_epi8(x, places); }
/* The number that sixteen digits, as bytes of 0 to 9, write; and `more` times 10^8. */
static inline uint64_t number_and(bytes16 digits, uint32_t more)
{
    const __m128i pairs = _mm_maddubs_epi16(digits, EW_CONSTANT(weights_1));
    const __m128i fours = _mm_madd_epi16(pairs, EW_CONSTANT(weights_2));
    const __m128i eights = _mm_madd_epi16(_mm_packus_epi32(fours, fours), EW_CONSTANT(weights_4));
    const uint64_t v = (uint64_t)_mm_cvtsi128_si64(eights);
    return (uint64_t)((uint32_t)v + more) * 100000000 + (v >> 32);
}
static inline uint64_t number(bytes16 digits) { return number_and(digits, 0); }
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
static inline bytes16 but_not(bytes16 x, bytes16 y) { return (bytes16){x.a & ~y.a, x.b & ~y.b}; }

#endif

/*==== MARK: Strings ====*/

/* Bytes before the closing quote, if it is among the next 32 and all before it is plain ASCII; otherwise 32. */
static inline unsigned short_string(const uint8_t *s)
{
#if defined(EW_SET_AVX2)
    const __m256i x = _mm256_loadu_si256((const __m256i *)(const void *)s);
    const __m256i control = _mm256_subs_epu8(EW_CONSTANT_32(before_32), x);
    const __m256i odd = _mm256_or_si256(_mm256_cmpeq_epi8(x, EW_CONSTANT_32(backslashes)), control);
    const uint32_t special = (uint32_t)_mm256_movemask_epi8(_mm256_or_si256(odd, x));
    const uint32_t quote = (uint32_t)_mm256_movemask_epi8(_mm256_cmpeq_epi8(x, EW_CONSTANT_32(quotes)));
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
    const __m256i mask = _mm256_loadu_si256((const __m256i *)(const void *)(ew_wide.ones + 32 - n));
    const __m256i x = _mm256_loadu_si256((const __m256i *)(const void *)s);
    _mm256_storeu_si256(out, _mm256_and_si256(x, mask));
#elif defined(EW_BLOCKS)
    save(out, both(load(s), load(ew_wide.ones + 32 - n)));
    save((char *)out + 16, both(load(s + 16), load(ew_wide.ones + 48 - n)));
#else
    memcpy(out, s, n);
    memset((char *)out + n, 0, 32 - n);
#endif
}

/* The same for n <= 16 bytes, into a slot of 16. */
static inline void copy_16(void *out, const uint8_t *s, unsigned n)
{
#if defined(EW_BLOCKS)
    save(out, both(load(s), load(ew_wide.ones + 32 - n)));
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

/*==== MARK: Numbers ====*/

#if defined(EW_BLOCKS)
/* Places that move the first n <= 16 bytes to the right end, zeros before them; for other n below 32 any places. */
static inline bytes16 right_end(unsigned n) { return load(ew_wide.places + n); }
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

/* The number that exactly 13 digits write, as a time in milliseconds has them, the first from 1 to 8; false if they are
 * more or less or others. */
static inline bool number_13(const uint8_t *s, uint64_t *out)
{
#if defined(EW_SET_AVX2) || defined(EW_SET_SSE4)
    const bytes16 t = _mm_sub_epi8(load(s), EW_CONSTANT(time_zeros));
    if ((_mm_movemask_epi8(_mm_adds_epu8(t, EW_CONSTANT(beyond_time))) & 0x3fff) != 0x2000)
        return false;
    *out = number_and(pick(t, right_end(13)), 10000); /* the 10^12 that the first digit lacks */
    return true;
#elif defined(EW_BLOCKS)
    const bytes16 t = minus_0(load(s));
    *out = number(pick(t, right_end(13)));
    return (others(t) & 0x3fff) == 0x2000 && (uint8_t)(*s - '1') < 8;
#else
    const uint64_t x = load8(s), y = load8(s + 8);
    *out = number_of_8(x, 8) * 100000 + number_of_8(y, 5);
    return digits_of_8(x) == 8 && digits_of_8(y) == 5 && (uint8_t)(*s - '1') < 8;
#endif
}

/* A decimal of at most 16 digits, with a point among them or none: how many bytes that is, or 0 for anything else. */
static inline unsigned short_decimal(const uint8_t *s, uint64_t *digits, unsigned *fraction)
{
#if defined(EW_BLOCKS)
#if defined(EW_SET_AVX2)
    const __m256i s32 = _mm256_loadu_si256((const __m256i *)(const void *)s);
    const __m256i t32 = _mm256_sub_epi8(s32, EW_CONSTANT_32(zero_digits));
    const uint32_t no = (uint32_t)_mm256_movemask_epi8(_mm256_adds_epu8(t32, EW_CONSTANT_32(beyond_9)));
    const uint32_t dots = (uint32_t)_mm256_movemask_epi8(_mm256_cmpeq_epi8(t32, EW_CONSTANT_32(points)));
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
    const bytes16 before = load(ew_wide.ones + 32 - n);
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
static inline __attribute__((always_inline)) const uint8_t *quick_decimal(const uint8_t *s, ew_dec *out)
{
    const bytes16 t = minus_0(load(s));
    const uint64_t no = others(t) | 0x10000, dots = points(t), after = no & ~dots;
    const size_t end = (size_t)__builtin_ctzll(after), whole = (size_t)__builtin_ctzll(no);
    const struct ew_form *form = &ew_forms[16 * end + whole];
    __asm__("" : "+r"(form)); /* one address, not one for every use */
    if (__builtin_expect(*s <= form->below || (dots & (dots - 1) & (after ^ (after - 1))), 0))
        return NULL; /* there is none; or a second point before the end */
    out->lo = number(pick(t, load(form->places)));
    memcpy(&out->hi, &form->hi, sizeof *out - offsetof(ew_dec, hi));
    return s + end;
}
#else
static inline const uint8_t *quick_decimal(const uint8_t *s, ew_dec *out)
{
    uint64_t digits;
    unsigned fraction;
    const unsigned n = short_decimal(s, &digits, &fraction);
    if (n == 0)
        return NULL;
    *out = (ew_dec){digits, 0, (int16_t)-(int)fraction, EW_DEC_VALUE, 0};
    return s + n;
}
#endif

#endif
