/* Following a payload along the learned paths (paths.h): the hot path.
 *
 * Compiled once for every instruction set worth having: follow_*.c include this file and say which it is. All of them
 * give the same records.
 */
#include "paths.h"

#ifndef EW_SET
#define EW_SET base /* what the compiler was told the machine has */
#define EW_SET_BASE
#endif
#if defined(__SSE2__) && !defined(EW_SET_SCALAR)
#define EW_SSE2
#include <emmintrin.h>
#endif
#ifdef EW_SET_AVX2
#include <immintrin.h>
#endif

/*==== MARK: Eight bytes at a time ====*/

static inline bool digit(uint8_t c) { return (uint8_t)(c - '0') < 10; }

static inline uint64_t load8(const uint8_t *s)
{
    uint64_t v;
    memcpy(&v, s, 8);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    v = __builtin_bswap64(v);
#endif
    return v; /* the first byte is the lowest */
}

/* How many of eight bytes are digits before the first that is none. */
static inline unsigned count_digits(uint64_t v)
{
    const uint64_t t = v ^ UINT64_C(0x3030303030303030);
    const uint64_t no = ((t + UINT64_C(0x7676767676767676)) | t) & UINT64_C(0x8080808080808080);
    return no ? (unsigned)__builtin_ctzll(no) / 8 : 8;
}

/* The number that the first n of eight bytes write, n digits; 0 for none. */
static inline uint64_t first_digits(uint64_t v, unsigned n)
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

#ifdef EW_SET_AVX2
/* Sixteen bytes minus '0', and a bit for each of them that is no digit. */
static inline __m128i sixteen(const uint8_t *s, unsigned *others)
{
    const __m128i x = _mm_loadu_si128((const __m128i *)(const void *)s);
    const __m128i t = _mm_sub_epi8(x, _mm_set1_epi8('0'));
    *others = (unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(_mm_max_epu8(t, _mm_set1_epi8(10)), t));
    return t;
}

/* The number that the first n digits write, where the byte at `point` does not count. */
static inline uint64_t number_of(__m128i t, unsigned n, unsigned point)
{
    static const int8_t places[32] = {-16, -15, -14, -13, -12, -11, -10, -9, -8, -7, -6, -5, -4, -3, -2, -1,
                                      0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    /* To the right end: the digit at place p comes from byte p, or p + 1 behind the point; none, from no byte. */
    const __m128i p = _mm_loadu_si128((const __m128i *)(const void *)(places + n));
    const __m128i behind = _mm_cmpgt_epi8(p, _mm_set1_epi8((char)(point - 1)));
    const __m128i d = _mm_shuffle_epi8(t, _mm_sub_epi8(p, behind));
    const __m128i pairs = _mm_maddubs_epi16(d, _mm_set1_epi16(0x010a));
    const __m128i fours = _mm_madd_epi16(pairs, _mm_set1_epi32(0x00010064));
    const __m128i eights = _mm_madd_epi16(_mm_packus_epi32(fours, fours), _mm_set1_epi32(0x00012710));
    const uint64_t v = (uint64_t)_mm_cvtsi128_si64(eights);
    return (v & UINT32_MAX) * 100000000 + (v >> 32);
}
#endif

/* The number that n digits write, of which there are at most 19; false if they are no digits. There must be 24 bytes,
 * for it reads many at a time. */
static inline bool all_digits(const uint8_t *s, size_t n, uint64_t *out)
{
    uint64_t v = 0;
#ifdef EW_SET_AVX2
    unsigned others;
    if (n < 16) {
        const __m128i t = sixteen(s, &others);
        *out = number_of(t, (unsigned)n, (unsigned)n);
        return (others & ((1u << n) - 1)) == 0;
    }
#endif
    for (; n >= 8; s += 8, n -= 8) {
        const uint64_t x = load8(s);
        if (count_digits(x) != 8)
            return false;
        v = v * 100000000 + first_digits(x, 8);
    }
    const uint64_t x = load8(s);
    *out = v * powers[n] + first_digits(x, (unsigned)n);
    return count_digits(x) >= n;
}

/*==== MARK: Plain values ====*/

/* The closing quote of a string without escapes and control characters; null for any other. *ascii turns false if
 * there are other bytes than ASCII before it. */
static inline const uint8_t *quote(const uint8_t *s, const uint8_t *end, bool *ascii)
{
#ifdef EW_SSE2
    while (end - s >= 16) {
        __m128i x = _mm_loadu_si128((const __m128i *)(const void *)s);
        __m128i stop = _mm_or_si128(_mm_or_si128(_mm_cmpeq_epi8(x, _mm_set1_epi8('"')),
                                                 _mm_cmpeq_epi8(x, _mm_set1_epi8('\\'))),
                                    _mm_cmpeq_epi8(_mm_min_epu8(x, _mm_set1_epi8(0x1f)), x));
        unsigned mask = (unsigned)_mm_movemask_epi8(stop), high = (unsigned)_mm_movemask_epi8(x);
        if (mask) {
            unsigned at = (unsigned)__builtin_ctz(mask);
            if (high & ((1u << at) - 1))
                *ascii = false;
            return s[at] == '"' ? s + at : NULL;
        }
        if (high)
            *ascii = false;
        s += 16;
    }
#endif
    for (; s < end && *s != '"'; s++) {
        if (*s == '\\' || *s < 0x20)
            return NULL;
        if (*s >= 0x80)
            *ascii = false;
    }
    return s < end ? s : NULL;
}

/* A string's end, its text being valid; null otherwise. */
static inline const uint8_t *string(const uint8_t *s, const uint8_t *end)
{
    bool ascii = true;
    const uint8_t *q = quote(s, end, &ascii);
    return q && (ascii || ew_utf8_check(s, (size_t)(q - s)) == (size_t)(q - s)) ? q : NULL;
}

/* Past true, false or null. */
static inline const uint8_t *literal(const uint8_t *s, const uint8_t *end)
{
    if (end - s >= 4 && (memcmp(s, "true", 4) == 0 || memcmp(s, "null", 4) == 0))
        return s + 4;
    return end - s >= 5 && memcmp(s, "false", 5) == 0 ? s + 5 : NULL;
}

/* Past the characters that numbers are made of. */
static inline const uint8_t *number_end(const uint8_t *s, const uint8_t *end)
{
    while (s < end && (digit(*s) || *s == '.' || *s == '-' || *s == '+' || (*s | 0x20) == 'e'))
        s++;
    return s;
}

static inline bool ends_number(uint8_t c) { return c != '.' && (c | 0x20) != 'e' && !digit(c); }

/* Past a number that is not empty, has no leading zero, no fraction and no exponent; null for any other. */
static inline const uint8_t *integer_end(const uint8_t *s, const uint8_t *end)
{
    s += s < end && *s == '-';
    const uint8_t *const first = s;
    unsigned n = 8;
    while (n == 8 && end - s >= 8)
        s += n = count_digits(load8(s));
    while (n == 8 && s < end && digit(*s))
        s++;
    return s > first && s < end && (*first != '0' || s - first == 1) && ends_number(*s) ? s : NULL;
}

/* Past a plain value that nobody takes. */
static const uint8_t *pass(bool quoted, const uint8_t *s, const uint8_t *end)
{
    if (quoted)
        return string(s, end);
    if (s < end && (digit(*s) || *s == '-')) {
        const uint8_t *e = integer_end(s, end);
        if (e)
            return e;
        /* Numbers that the decimal parser does not take may still be JSON: they are for the general parser. */
        e = number_end(s, end);
        return ew_dec_parse(s, (size_t)(e - s)).state == EW_DEC_VALUE ? e : NULL;
    }
    if (end - s >= 2 && (memcmp(s, "[]", 2) == 0 || memcmp(s, "{}", 2) == 0))
        return s + 2;
    return literal(s, end);
}

static const uint8_t *put_any_decimal(bool quoted, const uint8_t *s, const uint8_t *end, ew_dec *out)
{
    bool ascii = true;
    const uint8_t *e = quoted ? quote(s, end, &ascii) : number_end(s, end);
    if (!e || e == s)
        return NULL;
    *out = ew_dec_parse(s, (size_t)(e - s));
    return out->state == EW_DEC_VALUE ? e : NULL;
}

#ifdef EW_SET_AVX2
/* Up to 15 digits and a point: nearly all there are. */
static inline const uint8_t *put_decimal(bool quoted, const uint8_t *const begin, const uint8_t *end, ew_dec *out)
{
    const uint8_t *s = begin;
    if (end - s < 32)
        return put_any_decimal(quoted, begin, end, out);
    const bool negative = *s == '-';
    s += negative;
    unsigned others;
    const __m128i t = sixteen(s, &others);
    const unsigned n = (unsigned)__builtin_ctz(others | 0x10000); /* digits before the first other byte */
    const bool point = s[n] == '.';
    others &= others - point;
    const unsigned stop = (unsigned)__builtin_ctz(others | 0x10000), fraction = point ? stop - n - 1 : 0;
    if (n == 0 || stop == 16 || (*s == '0' && n > 1) || (point && fraction == 0) ||
        (quoted ? s[stop] != '"' : !ends_number(s[stop])))
        return put_any_decimal(quoted, begin, end, out);
    const uint64_t m = number_of(t, stop - point, n);
    *out = (ew_dec){negative ? 0 - m : m, negative && m ? -1 : 0, (int16_t)-(int)fraction, EW_DEC_VALUE,
                    negative && m == 0 ? EW_DEC_NEGATIVE_ZERO : 0};
    return s + stop;
}
#else
/* Up to 7 digits, a point, up to 16 more: nearly all there are. */
static inline const uint8_t *put_decimal(bool quoted, const uint8_t *const begin, const uint8_t *end, ew_dec *out)
{
    const uint8_t *s = begin;
    if (end - s < 40)
        return put_any_decimal(quoted, begin, end, out);
    const bool negative = *s == '-';
    s += negative;
    const uint64_t whole = load8(s);
    const unsigned n = count_digits(whole);
    uint64_t m = first_digits(whole, n);
    int exponent = 0;
    if (n - 1 > 6 || (*s == '0' && n > 1)) /* none, too many, a leading zero */
        return put_any_decimal(quoted, begin, end, out);
    s += n;
    if (*s == '.') {
        const uint64_t part = load8(++s);
        unsigned k = count_digits(part);
        m = m * powers[k] + first_digits(part, k);
        if (k == 0)
            return put_any_decimal(quoted, begin, end, out);
        s += k;
        if (k == 8 && digit(*s)) {
            const uint64_t more = load8(s);
            const unsigned k2 = count_digits(more);
            if (n + k + k2 > 19)
                return put_any_decimal(quoted, begin, end, out);
            m = m * powers[k2] + first_digits(more, k2);
            s += k2;
            k += k2;
        }
        exponent = -(int)k;
    }
    if (quoted ? *s != '"' : !ends_number(*s))
        return put_any_decimal(quoted, begin, end, out);
    *out = (ew_dec){negative ? 0 - m : m, negative && m ? -1 : 0, (int16_t)exponent, EW_DEC_VALUE,
                    negative && m == 0 ? EW_DEC_NEGATIVE_ZERO : 0};
    return s;
}
#endif

/* Sixteen bytes of a text of which n are left (they may be fewer than none), and zeros behind them. */
static inline void copy16(char *out, const uint8_t *s, ptrdiff_t n)
{
#ifdef EW_SSE2
    static const uint8_t ones[48] = {255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255,
                                     255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255};
    const __m128i mask = _mm_loadu_si128((const __m128i *)(const void *)(ones + 32 - (n < 0 ? 0 : n > 16 ? 16 : n)));
    _mm_storeu_si128((__m128i *)(void *)out,
                     _mm_and_si128(_mm_loadu_si128((const __m128i *)(const void *)s), mask));
#else
    size_t k = n < 0 ? 0 : n > 16 ? 16 : (size_t)n;
    memcpy(out, s, k);
    memset(out + k, 0, 16 - k);
#endif
}

/* A text of n <= room bytes into a slot of 15, 31 or 38 bytes, with zeros behind it. */
static inline void copy(char *out, size_t room, const uint8_t *s, size_t n, const uint8_t *end)
{
    if ((size_t)(end - s) < 48) { /* wide loads would read too far */
        memcpy(out, s, n);
        memset(out + n, 0, room - n);
        return;
    }
    for (size_t i = 0; i + 16 <= room; i += 16)
        copy16(out + i, s + i, (ptrdiff_t)n - (ptrdiff_t)i);
    if (room == 15) { /* the byte behind the slot is the length, which is written last */
        copy16(out, s, (ptrdiff_t)n);
    } else if (room % 16) {
        copy16(out + room - 16, s + room - 16, (ptrdiff_t)n - (ptrdiff_t)room + 16);
    }
}

static inline const uint8_t *put_id(bool quoted, const uint8_t *s, const uint8_t *end, ew_id *id, uint8_t *flags)
{
    const uint8_t *e = quoted ? string(s, end) : integer_end(s, end);
    if (!e)
        return NULL;
    size_t n = (size_t)(e - s);
    if (n > sizeof id->s) {
        n = ew_utf8_prefix(s, n, sizeof id->s);
        *flags |= EW_LONG_TEXT;
    }
    copy(id->s, sizeof id->s, s, n, end);
    id->len = (uint8_t)n;
    id->number = 0;
    if (n == 0 || n > 20 || !digit(*s))
        id->is_number = 0;
    else if (n <= 19 && end - s >= 24 && *s != '0')
        id->is_number = all_digits(s, n, &id->number);
    else
        id->is_number = ew_plain_u64(s, n, &id->number);
    if (!id->is_number)
        id->number = 0;
    return e;
}

static inline const uint8_t *put_text(bool quoted, const uint8_t *s, const uint8_t *end, char *out, size_t size,
                                      uint8_t *flags)
{
    const uint8_t *e = quoted ? string(s, end) : NULL;
    if (!e)
        return NULL;
    size_t n = (size_t)(e - s);
    if (n >= size) {
        n = ew_utf8_prefix(s, n, size - 1);
        *flags |= EW_LONG_TEXT;
    }
    if (size == sizeof(ew_text32))
        copy(out, sizeof(ew_text32) - 1, s, n, end);
    else if (size == sizeof(ew_text16))
        copy(out, sizeof(ew_text16) - 1, s, n, end);
    else {
        memcpy(out, s, n);
        memset(out + n, 0, size - 1 - n);
    }
    out[size - 1] = (char)n;
    return e;
}

static inline const uint8_t *put_time(bool quoted, const uint8_t *s, const uint8_t *end, int64_t *out)
{
    const uint8_t *e;
    /* Milliseconds, which nearly all are, before the general rule; from 9 * 10^12 on they might not fit. */
    if (end - s >= 24 && *s > '0' && *s < '9') {
        uint64_t ms;
        if (all_digits(s, 13, &ms) && (quoted ? s[13] == '"' : ends_number(s[13]))) {
            *out = (int64_t)(ms * 1000000);
            return s + 13;
        }
    }
    bool ascii = true;
    e = quoted ? quote(s, end, &ascii) : integer_end(s, end);
    return e && ew_time_parse(s, (size_t)(e - s), out) ? e : NULL;
}

static inline const uint8_t *put_code(const ew_dialect *d, const ew_rule *r, bool quoted, const uint8_t *s,
                                      const uint8_t *end, uint8_t *out, bool *exact)
{
    const uint8_t *e = quoted ? string(s, end) : number_end(s, end);
    if (!quoted && e == s) {
        if (!(e = literal(s, end)) || *s == 'n')
            return NULL;
        if (r->type == EW_TYPE_BOOL) {
            *out = *s == 't';
            return e;
        }
    }
    if (!e)
        return NULL;
    const ew_spelling *w = ew_spell(d, r->vocabulary, s, (size_t)(e - s));
    if (!w || (!quoted && *s != 't' && *s != 'f' && ew_dec_parse(s, (size_t)(e - s)).state != EW_DEC_VALUE))
        return NULL;
    *out = w->code;
    *exact = w->same;
    return e;
}

/* See ew_convert. */
static const uint8_t *convert_one(const ew_dialect *d, const ew_rule *r, bool quoted, const uint8_t *s,
                                  const uint8_t *end, ew_record *rec, bool *exact)
{
    char *out = (char *)rec + r->offset;
    const uint64_t bit = UINT64_C(1) << r->bit;
    const uint8_t *e = NULL;

    *exact = true;
    if (!quoted && end - s >= 4 && memcmp(s, "null", 4) == 0) {
        if (r->type == EW_TYPE_DEC)
            *(ew_dec *)(void *)out = (ew_dec){0, 0, 0, EW_DEC_NULL, 0};
        else if (r->type == EW_TYPE_TIME)
            *(int64_t *)(void *)out = EW_TIME_NULL;
        else if (r->type == EW_TYPE_ENUM || r->type == EW_TYPE_BOOL)
            *(uint8_t *)out = EW_CODE_NULL;
        rec->h.missing |= bit;
        return s + 4;
    }
    if (quoted && s < end && *s == '"' && (r->type == EW_TYPE_DEC || r->type == EW_TYPE_TIME)) {
        if (r->type == EW_TYPE_DEC)
            *(ew_dec *)(void *)out = (ew_dec){0, 0, 0, EW_DEC_EMPTY, 0};
        else
            *(int64_t *)(void *)out = EW_TIME_EMPTY;
        rec->h.missing |= bit;
        return s;
    }
    switch ((ew_type)r->type) {
    case EW_TYPE_DEC: e = put_decimal(quoted, s, end, (ew_dec *)(void *)out); break;
    case EW_TYPE_ID: e = put_id(quoted, s, end, (ew_id *)(void *)out, &rec->h.flags); break;
    case EW_TYPE_TIME: e = put_time(quoted, s, end, (int64_t *)(void *)out); break;
    case EW_TYPE_TEXT: e = put_text(quoted, s, end, out, r->size, &rec->h.flags); break;
    case EW_TYPE_BOOL:
    case EW_TYPE_ENUM: e = put_code(d, r, quoted, s, end, (uint8_t *)out, exact); break;
    case EW_TYPE_U16: {
        ew_id id;
        uint8_t flags = 0;
        e = put_id(quoted, s, end, &id, &flags);
        if (!e || !id.is_number || id.number > UINT16_MAX)
            return NULL;
        *(uint16_t *)(void *)out = (uint16_t)id.number;
        break;
    }
    }
    if (e)
        rec->h.present |= bit;
    return e;
}

/*==== MARK: Following ====*/

/* The longest text of a tree that s begins with: its edge. */
static inline const ew_edge *choose(const ew_branch *b, const uint8_t *s, const uint8_t *end)
{
    const ew_edge *found = NULL;
    while (b) {
        uint32_t equal; /* a bit for each byte of the stretch */
        if (end - s < EW_STRETCH) {
            if (s == end)
                break;
            bool all = (size_t)(end - s) >= b->len && memcmp(s, b->text, b->len) == 0;
            equal = all ? b->wanted : *s == *b->text;
        } else {
#if defined(EW_SET_AVX2)
            const __m256i x = _mm256_loadu_si256((const __m256i *)(const void *)s);
            const __m256i y = _mm256_loadu_si256((const __m256i *)(const void *)b->text);
            equal = (uint32_t)_mm256_movemask_epi8(_mm256_cmpeq_epi8(x, y));
#elif defined(EW_SSE2)
            const __m128i *const x = (const __m128i *)(const void *)s;
            const __m128i *const y = (const __m128i *)(const void *)b->text;
            equal = (uint32_t)_mm_movemask_epi8(_mm_cmpeq_epi8(_mm_loadu_si128(x), _mm_loadu_si128(y)));
            equal |= (uint32_t)_mm_movemask_epi8(_mm_cmpeq_epi8(_mm_loadu_si128(x + 1), _mm_loadu_si128(y + 1))) << 16;
#else
            equal = memcmp(s, b->text, b->len) == 0 ? b->wanted : *s == *b->text;
#endif
        }
        if ((equal & b->wanted) == b->wanted) {
            s += b->len;
            if (b->edge)
                found = b->edge;
            b = b->first;
        } else if (equal & 1) {
            break; /* no other stretch begins like this one */
        } else {
            b = b->next;
        }
    }
    return found;
}

typedef struct pending {
    const uint8_t *at;
    const ew_op *op;
    bool quoted, in_row;
} pending;

/* A payload on its way, but for where the way is at. */
typedef struct trip {
    ew_paths *p;
    const ew_graph *g;
    const ew_emit *emits;
    const uint8_t *payload, *end;
    ew_sink *sink;
    ew_record *rec; /* the record being made; p->nobody between records */
    unsigned waits; /* a bit for each of: */
    pending waiting[EW_PENDING];
    uint8_t emit_of[EW_FOLLOWED];
} trip;

/* Convert the values that waited for a better alternative. */
static bool settle(trip *t, unsigned which)
{
    for (unsigned left = t->waits & which; left; left &= left - 1) {
        const pending *w = &t->waiting[__builtin_ctz(left)];
        bool exact;
        ew_record *to = w->op->stage == EW_NOBODY ? t->rec : &t->p->stages[w->op->stage];
        if (!convert_one(t->p->dialect, &w->op->rule, w->quoted, w->at, t->end, to, &exact))
            return false;
        if (!exact && w->in_row)
            to->h.flags |= EW_EXTRA;
    }
    t->waits &= ~which;
    return true;
}

static inline void start(const ew_dialect *d, const ew_graph *g, const ew_emit *m, ew_sink *sink)
{
    ew_record *r = &sink->records[sink->n];
    r->h.present = sink->ts_recv ? UINT64_C(1) << 2 : 0;
    r->h.missing = 0;
    r->h.ts_event = r->h.ts_transact = 0;
    r->h.ts_recv = sink->ts_recv;
    r->h.event = (uint16_t)(g->event + 1);
    r->h.venue = d->venue;
    r->h.subscription_id = 0;
    r->h.kind = m->kind;
    r->h.flags = 0;
    for (uint16_t i = 0; i < m->n_constants; i++) {
        const ew_constant *c = EW_AT(d->constants, ew_constant, m->first_constant + i);
        ((uint8_t *)r)[c->offset] = c->code;
        r->h.present |= UINT64_C(1) << c->bit;
    }
}

/* Give a record what its event gave to all of its kind: where it has no value of its own, or a `strong` field. */
static inline bool share(const ew_record *stage, ew_record *r, uint64_t strong)
{
    const uint64_t all = stage->h.present | stage->h.missing, both = all & (r->h.present | r->h.missing);
    const uint64_t bits = all & (~both | strong);
    size_t n;
    if (both & strong) {
        r->h.flags |= EW_EXTRA;
        r->h.present &= ~strong;
        r->h.missing &= ~strong;
    }
    const ew_field *f = ew_fields(r->h.kind, &n);
    for (uint64_t left = bits; left; left &= left - 1) {
        const ew_field *x = &f[__builtin_ctzll(left)];
        memcpy((char *)r + x->offset, (const char *)stage + x->offset, x->size);
    }
    r->h.present |= stage->h.present & bits;
    r->h.missing |= stage->h.missing & bits;
    r->h.flags |= stage->h.flags;
    return bits == all || !stage->h.flags; /* else it is not known whose the flags are */
}

/* Store what the values on an edge hold. */
static inline void store(const ew_edge *e, ew_record *rec)
{
    for (const ew_store *x = e->stores, *last = x + e->n_stores; x < last; x++)
        memcpy((char *)rec + x->offset, x->value, 16);
    if (e->has_codes) {
        uint64_t block[2], mask[2], codes[2];
        memcpy(block, (char *)rec + e->block, 16);
        memcpy(mask, e->mask, 16);
        memcpy(codes, e->codes, 16);
        block[0] = (block[0] & ~mask[0]) | codes[0];
        block[1] = (block[1] & ~mask[1]) | codes[1];
        memcpy((char *)rec + e->block, block, 16);
    }
    rec->h.present |= e->present;
    rec->h.missing |= e->missing;
    rec->h.flags |= e->flags;
}

/* Convert the value of a node at s into its fields; behind it, or null. */
static __attribute__((noinline)) const uint8_t *convert(trip *t, const ew_path_node *node, const uint8_t *s)
{
    const uint8_t *after = node->n_ops ? NULL : pass(node->quoted, s, t->end);
    bool held = false;
    for (unsigned i = 0; i < node->n_ops; i++) {
        const ew_op *op = &node->ops[i];
        bool exact = true;
        if (op->pending != EW_NOBODY) {
            pending *w = &t->waiting[op->pending];
            const bool second = t->waits >> op->pending & 1;
            if (second && node->in_row)
                t->rec->h.flags |= EW_EXTRA; /* one of the alternatives is left over */
            if (!second || w->op->alternative > op->alternative)
                *w = (pending){s, op, node->quoted, node->in_row};
            t->waits |= 1u << op->pending;
            held = true;
            if (!after && !(after = pass(node->quoted, s, t->end)))
                return NULL;
            continue;
        }
        ew_record *to = op->stage == EW_NOBODY ? t->rec : &t->p->stages[op->stage];
        if (!(after = convert_one(t->p->dialect, &op->rule, node->quoted, s, t->end, to, &exact)))
            return NULL;
        held |= exact;
        t->sink->slow += op->rule.type == EW_TYPE_ENUM || op->rule.type == EW_TYPE_BOOL;
    }
    if (!held && node->in_row)
        t->rec->h.flags |= EW_EXTRA;
    return after;
}

/* The same for the common shapes, at full speed; null also for values that only the other knows. */
static inline const uint8_t *convert_shape(const ew_path_node *node, const uint8_t *s, const uint8_t *end,
                                           ew_record *to)
{
    char *out = (char *)to + node->offset;
    switch ((ew_shape)node->shape) {
    case EW_SHAPE_PASS:
    case EW_SHAPE_PASS_BARE:
        to->h.flags |= node->in_row ? EW_EXTRA : 0;
        return pass(node->shape == EW_SHAPE_PASS, s, end);
    case EW_SHAPE_DEC: s = put_decimal(true, s, end, (ew_dec *)(void *)out); break;
    case EW_SHAPE_DEC_BARE: s = put_decimal(false, s, end, (ew_dec *)(void *)out); break;
    case EW_SHAPE_TIME: s = put_time(true, s, end, (int64_t *)(void *)out); break;
    case EW_SHAPE_TIME_BARE: s = put_time(false, s, end, (int64_t *)(void *)out); break;
    case EW_SHAPE_ID: s = put_id(true, s, end, (ew_id *)(void *)out, &to->h.flags); break;
    case EW_SHAPE_ID_BARE: s = put_id(false, s, end, (ew_id *)(void *)out, &to->h.flags); break;
    case EW_SHAPE_TEXT: s = put_text(true, s, end, out, node->size, &to->h.flags); break;
    default: return NULL;
    }
    if (s)
        to->h.present |= node->bit;
    return s;
}

/* An edge at s on which records begin or end. */
static __attribute__((noinline)) bool turn(trip *t, const ew_edge *e, const uint8_t *s)
{
    const uint32_t at = (uint32_t)(s - t->payload);
    ew_sink *sink = t->sink;
    sink->new_keys += e->new_keys;
    if (e->marks & 2)
        t->rec->h.end = at + e->end_at;
    if (e->marks & 1 && !e->opens)
        t->rec->h.begin = at + e->begin_at;
    if (e->closes) {
        if (t->waits && !settle(t, ~(unsigned)t->g->shared_pending))
            return false;
        sink->n++;
        t->rec = &t->p->nobody;
    }
    if (e->opens) {
        if (sink->n == EW_FOLLOWED || (sink->n == sink->cap && !sink->grow(sink, sink->owner)))
            return false;
        t->emit_of[sink->n] = (uint8_t)(e->opens - 1);
        t->rec = &sink->records[sink->n];
        start(t->p->dialect, t->g, &t->emits[e->opens - 1], sink);
        if (e->marks & 1)
            t->rec->h.begin = at + e->begin_at;
        if (t->g->own)
            store(e, t->rec);
    }
    return true;
}

static bool follow(ew_paths *p, const ew_graph *g, const uint8_t *payload, const uint8_t *end, ew_sink *sink)
{
    const ew_event *event = EW_AT(p->dialect->events, ew_event, g->event);
    const ew_path_node *node = &g->nodes[EW_BEGIN];
    const uint8_t *s = payload;
    ew_record *rec = &p->nobody;
    trip t;

    t.p = p;
    t.g = g;
    t.emits = EW_AT(p->dialect->emits, ew_emit, event->first_emit);
    t.payload = payload;
    t.end = end;
    t.sink = sink;
    t.rec = rec;
    t.waits = 0;
    sink->n = 0;
    sink->new_keys = 0;
    sink->slow = 0;
    for (unsigned i = 0; !g->own && i < event->n_emits; i++)
        p->stages[i].h.present = p->stages[i].h.missing = p->stages[i].h.flags = 0;
    for (;;) {
        const ew_edge *e = choose(node->root, s, end);
        if (!e)
            return false;
        if (e->does & EW_GIVES)
            store(e, rec);
        if (e->does & EW_TURNS) {
            if (!turn(&t, e, s))
                return false;
            rec = t.rec;
        }
        s += e->len;
        if (!(node = e->target))
            break;
        const uint8_t *after = convert_shape(node, s, end, node->stage == EW_NOBODY ? rec : &p->stages[node->stage]);
        if (!after && !(after = convert(&t, node, s)))
            return false;
        s = after;
    }
    if (s != end || rec != &p->nobody || sink->n == 0 || !settle(&t, ~0u))
        return false;
    for (size_t i = 0; !g->own && i < sink->n; i++)
        if (!share(&p->stages[t.emit_of[i]], &sink->records[i], g->strong[t.emit_of[i]]))
            return false;
    return true;
}

#define JOIN_(a, b) a##_##b
#define JOIN(a, b) JOIN_(a, b)

bool JOIN(ew_follow, EW_SET)(ew_paths *p, const uint8_t *payload, size_t n, ew_sink *sink)
{
    const uint8_t *end = payload + n;
    unsigned tries = 0;
    for (uint32_t i = 0; i < p->n_graphs && tries < 4; i++) {
        ew_graph *g = p->graphs[i];
        if (!choose(g->nodes[EW_BEGIN].root, payload, end))
            continue;
        tries++;
        if (!follow(p, g, payload, end, sink))
            continue;
        g->hits++;
        if (i && g->hits > p->graphs[i - 1]->hits) {
            p->graphs[i] = p->graphs[i - 1];
            p->graphs[i - 1] = g;
        }
        return true;
    }
    return false;
}

#ifdef EW_SET_BASE
const ew_edge *ew_choose(const ew_path_node *n, const uint8_t *s, const uint8_t *end)
{
    return choose(n->root, s, end);
}

const uint8_t *ew_convert(const ew_dialect *d, const ew_rule *r, bool quoted, const uint8_t *s, const uint8_t *end,
                          ew_record *rec, bool *exact)
{
    return convert_one(d, r, quoted, s, end, rec, exact);
}
#endif
