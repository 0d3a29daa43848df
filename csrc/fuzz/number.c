/* Numbers against slow definitions: a grammar walked one character at a time, and digits in an array. */
#include "internal.h"

#include <math.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define DEMAND(condition) \
    if (!(condition))     \
    abort()

typedef struct slow {
    bool ok, negative;
    const uint8_t *digits[2]; /* before the point, and behind it */
    size_t n[2];
    bool exponent_negative;
    const uint8_t *exponent;
    size_t n_exponent;
} slow;

static bool is_digit(uint8_t c) { return c >= '0' && c <= '9'; }

static size_t run(const uint8_t *s, size_t n, size_t at)
{
    size_t len = 0;
    while (at + len < n && is_digit(s[at + len]))
        len++;
    return len;
}

/* -?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)? */
static slow slow_parse(const uint8_t *s, size_t n)
{
    slow v = {0};
    size_t at = 0;
    if (at < n && s[at] == '-') {
        v.negative = true;
        at++;
    }
    v.digits[0] = s + at;
    v.n[0] = run(s, n, at);
    if (v.n[0] == 0 || (v.n[0] > 1 && s[at] == '0'))
        return v;
    at += v.n[0];
    if (at < n && s[at] == '.') {
        at++;
        v.digits[1] = s + at;
        v.n[1] = run(s, n, at);
        if (v.n[1] == 0)
            return v;
        at += v.n[1];
    }
    if (at < n && (s[at] == 'e' || s[at] == 'E')) {
        at++;
        if (at < n && (s[at] == '+' || s[at] == '-'))
            v.exponent_negative = s[at++] == '-';
        v.exponent = s + at;
        v.n_exponent = run(s, n, at);
        if (v.n_exponent == 0)
            return v;
        at += v.n_exponent;
    }
    v.ok = at == n;
    return v;
}

/* A number of 128 decimal digits at most, least significant first; enough for every mantissa. */
typedef struct decimal {
    uint8_t digits[128];
    size_t n;
    bool too_long;
} decimal;

static decimal slow_mantissa(const slow *v)
{
    decimal d = {0};
    uint8_t high[128];
    for (int part = 0; part < 2; part++)
        for (size_t i = 0; i < v->n[part]; i++) {
            if (d.n == 0 && v->digits[part][i] == '0')
                continue;
            if (d.n == sizeof high) {
                d.too_long = true;
                return d;
            }
            high[d.n++] = (uint8_t)(v->digits[part][i] - '0');
        }
    for (size_t i = 0; i < d.n; i++)
        d.digits[i] = high[d.n - 1 - i];
    return d;
}

/* The digits of hi * 2^64 + lo, by doubling. */
static decimal of_bits(uint32_t hi, uint64_t lo)
{
    decimal d = {0};
    for (int bit = 95; bit >= 0; bit--) {
        unsigned carry = bit >= 64 ? hi >> (bit - 64) & 1 : (unsigned)(lo >> bit & 1);
        for (size_t i = 0; i < d.n || carry; i++) {
            unsigned x = (i < d.n ? d.digits[i] : 0) * 2u + carry;
            d.digits[i] = (uint8_t)(x % 10);
            carry = x / 10;
            d.n = i < d.n ? d.n : i + 1;
        }
    }
    return d;
}

/* 2^95 - 1, 2^64 - 1, 2^63 - 1 and 2^63 */
static const decimal *limit(int which)
{
    static decimal limits[4];
    if (limits[0].n == 0) {
        limits[0] = of_bits(INT32_MAX, UINT64_MAX);
        limits[1] = of_bits(0, UINT64_MAX);
        limits[2] = of_bits(0, INT64_MAX);
        limits[3] = of_bits(0, (uint64_t)INT64_MAX + 1);
    }
    return &limits[which];
}

static int order(const decimal *a, const decimal *b)
{
    if (a->n != b->n)
        return a->n < b->n ? -1 : 1;
    for (size_t i = a->n; i-- > 0;)
        if (a->digits[i] != b->digits[i])
            return a->digits[i] < b->digits[i] ? -1 : 1;
    return 0;
}

/* The exponent, or 99999 with its sign if it is that or more. */
static long slow_exponent(const slow *v)
{
    long e = 0;
    for (size_t i = 0; i < v->n_exponent; i++)
        if ((e = e * 10 + (v->exponent[i] - '0')) > 99999)
            e = 99999;
    return v->exponent_negative ? -e : e;
}

static void check_decimal(const uint8_t *s, size_t n)
{
    const ew_dec d = ew_dec_parse(s, n);
    const slow v = slow_parse(s, n);
    const decimal want = v.ok ? slow_mantissa(&v) : (decimal){0};
    const long exponent = slow_exponent(&v) - (long)v.n[1]; /* texts are far shorter than 99999 - 999 */
    const bool ok = v.ok && !want.too_long && order(&want, limit(0)) <= 0 && exponent >= -999 && exponent <= 999;

    DEMAND(d.state == (ok ? EW_DEC_VALUE : EW_DEC_UNREPRESENTABLE));
    if (!ok) {
        DEMAND(d.lo == 0 && d.hi == 0 && d.exponent == 0 && d.flags == 0 && isnan(ew_dec_double(d)));
        return;
    }
    const bool zero = want.n == 0;
    DEMAND((d.hi < 0) == (v.negative && !zero));
    DEMAND(d.flags == (v.negative && zero ? EW_DEC_NEGATIVE_ZERO : 0));
    DEMAND(d.exponent == exponent);
    uint32_t hi = (uint32_t)d.hi;
    uint64_t lo = d.lo;
    if (d.hi < 0) {
        lo = 0 - lo;
        hi = ~hi + (lo == 0);
    }
    const decimal got = of_bits(hi, lo);
    DEMAND(order(&got, &want) == 0);

    /* The same number again from its text, and what strtod makes of it. */
    char text[EW_DEC_TEXT + 1];
    size_t len = ew_dec_text(d, text);
    DEMAND(len > 0 && len <= EW_DEC_TEXT);
    const ew_dec again = ew_dec_parse((const uint8_t *)text, len);
    DEMAND(memcmp(&again, &d, sizeof d) == 0);
    char *whole = malloc(n + 1);
    if (!whole)
        abort();
    memcpy(whole, s, n);
    whole[n] = 0;
    double x = ew_dec_double(d), y = strtod(whole, NULL);
    DEMAND(memcmp(&x, &y, sizeof x) == 0);
    free(whole);

    /* Scaled to where its last digit stands, it is the mantissa. */
    int64_t scaled;
    const bool fits = hi == 0 && (lo <= INT64_MAX || (v.negative && lo == (uint64_t)INT64_MAX + 1));
    const int result = ew_dec_scaled(d, -d.exponent, &scaled);
    DEMAND(result == (fits ? 0 : -1));
    DEMAND(!fits || scaled == (v.negative ? (int64_t)(0 - lo) : (int64_t)lo));
}

static void check_integers(const uint8_t *s, size_t n)
{
    const slow v = slow_parse(s, n);
    const bool integer = v.ok && !v.n[1] && !v.exponent;
    const decimal m = integer ? slow_mantissa(&v) : (decimal){0};
    uint64_t plain = 0;
    int64_t signed_ = 0, time = 0;
    DEMAND(ew_plain_u64(s, n, &plain) == (integer && !v.negative && !m.too_long && order(&m, limit(1)) <= 0));
    const bool fits = integer && !m.too_long && order(&m, limit(v.negative ? 3 : 2)) <= 0;
    DEMAND(ew_int_parse(s, n, &signed_) == fits);
    if (plain) {
        const decimal got = of_bits(0, plain);
        DEMAND(order(&got, &m) == 0);
    }
    if (fits) {
        const decimal got = of_bits(0, signed_ < 0 ? 0 - (uint64_t)signed_ : (uint64_t)signed_);
        DEMAND(order(&got, &m) == 0 && (signed_ < 0) == (v.negative && m.n > 0));
    }
    const bool has_time = ew_time_parse(s, n, &time);
    DEMAND(!has_time || fits);
    if (has_time) {
        /* Between the limits of a unit it is a matter of digits: up to 11 are seconds, 14 ms, 17 us. */
        const int64_t unit = m.n <= 11 ? 1000000000 : m.n <= 14 ? 1000000 : m.n <= 17 ? 1000 : 1;
        DEMAND(time % unit == 0 && time / unit == signed_);
    } else if (fits) {
        const int64_t unit = m.n <= 11 ? 1000000000 : m.n <= 14 ? 1000000 : m.n <= 17 ? 1000 : 1;
        DEMAND(signed_ > INT64_MAX / unit || signed_ < INT64_MIN / unit);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size > 4096)
        return 0;
    /* The whole input, and the first number-like runs in it, so that payloads will do as seeds. */
    for (size_t at = 0, end, runs = 0; at <= size && runs < 12; at = end + 1) {
        end = at;
        while (end < size && (is_digit(data[end]) || strchr("+-.eE", data[end] ? data[end] : 'x')))
            end++;
        if (end == at && size > 0)
            continue;
        runs++;
        uint8_t *s = malloc(end > at ? end - at : 1);
        if (!s)
            abort();
        memcpy(s, data + at, end - at);
        check_decimal(s, end - at);
        check_integers(s, end - at);
        free(s);
    }
    check_decimal(data, size);
    check_integers(data, size);
    return 0;
}
