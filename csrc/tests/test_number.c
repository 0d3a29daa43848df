/* Numbers: expectations are literals; doubles are checked against strtod. */
#include "check.h"
#include "internal.h"

#include <math.h>

__extension__ typedef __int128 i128;

static ew_dec dec(const char *text)
{
    size_t n = strlen(text);
    uint8_t *s = check_copy(text, n);
    ew_dec d = ew_dec_parse(s, n);
    free(s);
    return d;
}

/*==== MARK: Decimals ====*/

#define VALUE EW_DEC_VALUE
#define NEGATIVE_ZERO EW_DEC_NEGATIVE_ZERO

static const struct {
    const char *text;
    int32_t hi;
    uint64_t lo;
    int exponent, flags;
    const char *plain;
} decimals[] = {
    {"0", 0, 0, 0, 0, "0"},
    {"-0", 0, 0, 0, NEGATIVE_ZERO, "-0"},
    {"0.0", 0, 0, -1, 0, "0.0"},
    {"0.00000000", 0, 0, -8, 0, "0.00000000"},
    {"-0.00000000", 0, 0, -8, NEGATIVE_ZERO, "-0.00000000"},
    {"-0e5", 0, 0, 5, NEGATIVE_ZERO, "-0E+5"},
    {"0E-8", 0, 0, -8, 0, "0.00000000"},
    {"1", 0, 1, 0, 0, "1"},
    {"-1", -1, UINT64_MAX, 0, 0, "-1"},
    {"10", 0, 10, 0, 0, "10"},
    {"1.50", 0, 150, -2, 0, "1.50"},
    {"-1.50", -1, UINT64_MAX - 149, -2, 0, "-1.50"},
    {"0.1", 0, 1, -1, 0, "0.1"},
    {"0.007", 0, 7, -3, 0, "0.007"},
    {"100.00", 0, 10000, -2, 0, "100.00"},
    {"1E-8", 0, 1, -8, 0, "0.00000001"},
    {"1e-8", 0, 1, -8, 0, "0.00000001"},
    {"1e+5", 0, 1, 5, 0, "1E+5"},
    {"1e5", 0, 1, 5, 0, "1E+5"},
    {"1e0", 0, 1, 0, 0, "1"},
    {"1e-0", 0, 1, 0, 0, "1"},
    {"1e+00005", 0, 1, 5, 0, "1E+5"},
    {"1.25e1", 0, 125, -1, 0, "12.5"},
    {"1.25E2", 0, 125, 0, 0, "125"},
    {"1.25E3", 0, 125, 1, 0, "125E+1"},
    {"12.5e-3", 0, 125, -4, 0, "0.0125"},
    {"67123.45", 0, 6712345, -2, 0, "67123.45"},
    {"9223372036854775807", 0, UINT64_C(9223372036854775807), 0, 0, "9223372036854775807"},
    {"9999999999999999999", 0, UINT64_C(9999999999999999999), 0, 0, "9999999999999999999"},
    {"10000000000000000000", 0, UINT64_C(10000000000000000000), 0, 0, "10000000000000000000"},
    {"18446744073709551615", 0, UINT64_MAX, 0, 0, "18446744073709551615"},
    {"18446744073709551616", 1, 0, 0, 0, "18446744073709551616"},
    {"-18446744073709551615", -1, 1, 0, 0, "-18446744073709551615"},
    {"-18446744073709551616", -1, 0, 0, 0, "-18446744073709551616"},
    {"-18446744073709551617", -2, UINT64_MAX, 0, 0, "-18446744073709551617"},
    /* 23 digits: 12345678901234567890123 = 669 * 2^64 + 4807115922877859019 */
    {"12345.678901234567890123", 669, UINT64_C(4807115922877859019), -18, 0, "12345.678901234567890123"},
    /* 28 digits: 1234567890123456789012345678 = 66926059 * 2^64 + 7888470988696384334 */
    {"12345678901234567890.12345678", 66926059, UINT64_C(7888470988696384334), -8, 0,
     "12345678901234567890.12345678"},
    {"9999999999999999999999999999", 542101086, UINT64_C(4477988020393345023), 0, 0, "9999999999999999999999999999"},
    /* 2^95 - 1, the largest mantissa, and its negative */
    {"39614081257132168796771975167", INT32_MAX, UINT64_MAX, 0, 0, "39614081257132168796771975167"},
    {"-39614081257132168796771975167", INT32_MIN, 1, 0, 0, "-39614081257132168796771975167"},
    {"3961408125713216879677197.5167", INT32_MAX, UINT64_MAX, -4, 0, "3961408125713216879677197.5167"},
    {"0.39614081257132168796771975167", INT32_MAX, UINT64_MAX, -29, 0, "0.39614081257132168796771975167"},
    {"0.00000000000000000000000000000000000001", 0, 1, -38, 0, "0.00000000000000000000000000000000000001"},
    {"0.000000000000000000000000000000000000001", 0, 1, -39, 0, "0.000000000000000000000000000000000000001"},
    {"0.0000000000000000000000000000000000000001", 0, 1, -40, 0, "1E-40"},
    {"0.0000000000000000000000000000000000000000", 0, 0, -40, 0, "0E-40"},
    {"-0.0000000000000000000000000000000000000000", 0, 0, -40, NEGATIVE_ZERO, "-0E-40"},
    {"1e999", 0, 1, 999, 0, "1E+999"},
    {"1e-999", 0, 1, -999, 0, "1E-999"},
    {"1.0e1000", 0, 10, 999, 0, "10E+999"},
    {"0.1e-998", 0, 1, -999, 0, "1E-999"},
    {"-1E99", -1, UINT64_MAX, 99, 0, "-1E+99"},
    {"1E+100", 0, 1, 100, 0, "1E+100"},
    {"1E+10", 0, 1, 10, 0, "1E+10"},
    {"0e0000000000000000000000000000000000000000000000000000000000000000000000001", 0, 0, 1, 0, "0E+1"},
};

static const char *const no_decimals[] = {
    "", ".", "-", "+", "1.", ".5", "-.5", "+1", "-+1", "--1", "00", "01", "-01", "-00", "00.1", "1..2", "1.2.3", "1e",
    "1e+", "1e-", "1E", "e5", "1e5.0", "1e 5", "1e+-5", "1.e5", " 1", "1 ", "1,000", "0x10", "1_000", "NaN", "nan", "inf",
    "Infinity", "-Infinity", "1f", "1/3", "abc", "1\n", "\xef\xbc\x91", "1:", "1;", "-e", "1.2e", "- 1",
    /* too wide: 2^95 and more */
    "39614081257132168796771975168", "-39614081257132168796771975168", "39614081257132168796771975170",
    "79228162514264337593543950335", "79228162514264337593543950336", "99999999999999999999999999999",
    "340282366920938463463374607431768211455", "340282366920938463463374607431768211456",
    "340282366920938463463374607431768211457", "1000000000000000000000000000000", "0.39614081257132168796771975168",
    "1.00000000000000000000000000000", "3402823669209384634633746074317682114560000000000000000001",
    /* exponents beyond the limits */
    "1e1000", "1e-1000", "0.1e-999", "1.0e-999", "0e1000", "1e99999999999999999999", "1e-99999999999999999999",
    "1e4294967296", "1e18446744073709551616", "0e65536",
};

static void test_parse(void)
{
    for (size_t i = 0; i < sizeof decimals / sizeof *decimals; i++) {
        ew_dec d = dec(decimals[i].text), again;
        char plain[EW_DEC_TEXT];
        CHECK_CASE(d.state == VALUE, decimals[i].text);
        CHECK_CASE(d.hi == decimals[i].hi && d.lo == decimals[i].lo, decimals[i].text);
        CHECK_CASE(d.exponent == decimals[i].exponent, decimals[i].text);
        CHECK_CASE(d.flags == decimals[i].flags, decimals[i].text);
        size_t n = ew_dec_text(d, plain);
        CHECK_TEXT(plain, n, decimals[i].plain);
        again = ew_dec_parse((const uint8_t *)plain, n);
        CHECK_CASE(memcmp(&d, &again, sizeof d) == 0, decimals[i].text);
    }
    for (size_t i = 0; i < sizeof no_decimals / sizeof *no_decimals; i++) {
        ew_dec d = dec(no_decimals[i]);
        char plain[EW_DEC_TEXT];
        int64_t v;
        CHECK_CASE(d.state == EW_DEC_UNREPRESENTABLE && d.hi == 0 && d.lo == 0 && d.exponent == 0 && d.flags == 0,
                   no_decimals[i]);
        CHECK_CASE(ew_dec_text(d, plain) == 0, no_decimals[i]);
        CHECK_CASE(isnan(ew_dec_double(d)), no_decimals[i]);
        CHECK_CASE(ew_dec_scaled(d, 0, &v) == -1, no_decimals[i]);
    }
    CHECK_INT(ew_dec_parse((const uint8_t *)"1\0", 2).state, EW_DEC_UNREPRESENTABLE);
    for (unsigned c = 0; c < 256; c++) { /* each byte alone, and after a digit */
        uint8_t s[2] = {'7', (uint8_t)c};
        bool is_digit = c >= '0' && c <= '9';
        CHECK_INT(ew_dec_parse(s + 1, 1).state, is_digit ? EW_DEC_VALUE : EW_DEC_UNREPRESENTABLE);
        CHECK_INT(ew_dec_parse(s, 2).state, is_digit ? EW_DEC_VALUE : EW_DEC_UNREPRESENTABLE);
    }
}

/* Long runs of zeros do not count as digits of the mantissa, and exponents are summed without overflow. */
static void test_long(void)
{
    const size_t zeros = 10000000;
    uint8_t *s = malloc(zeros + 32);
    if (!s)
        abort();
    memset(s, '0', zeros + 32);
    memcpy(s, "0.", 2);
    memcpy(s + 2 + zeros, "15e10000000", 11);
    ew_dec d = ew_dec_parse(s, zeros + 13);
    CHECK_INT(d.state, EW_DEC_VALUE);
    CHECK_INT(d.lo, 15);
    CHECK_INT(d.exponent, -2);
    d = ew_dec_parse(s, 2 + 990);
    CHECK_INT(d.state, EW_DEC_VALUE);
    CHECK_INT(d.exponent, -990);
    /* 10^1000001 * 10^-1000000 must not pass for 10^1 by way of a saturated exponent. */
    memcpy(s + 2 + 1000000, "1e100000000", 11);
    CHECK_INT(ew_dec_parse(s, 2 + 1000000 + 11).state, EW_DEC_UNREPRESENTABLE);
    memcpy(s + 2 + 1000000, "1e10000000", 10);
    CHECK_INT(ew_dec_parse(s, 2 + 1000000 + 10).state, EW_DEC_UNREPRESENTABLE);
    free(s);
}

/* A random JSON number of at most `digits` digits. */
static size_t random_decimal(uint64_t *state, char *out, unsigned digits)
{
    unsigned n = 1 + (unsigned)(check_random(state) % digits), point = (unsigned)(check_random(state) % (n + 1));
    size_t i = 0;
    if (check_random(state) % 2)
        out[i++] = '-';
    for (unsigned k = 0; k < n; k++) {
        if (k == point && k)
            out[i++] = '.';
        /* Runs of nines and zeros make the hard cases of rounding. */
        unsigned kind = (unsigned)(check_random(state) % 8);
        unsigned digit = kind == 0 ? 9 : kind == 1 ? 0 : (unsigned)(check_random(state) % 10);
        if (k == 0 && digit == 0 && !(point == 1 || n == 1))
            digit = 1;
        out[i++] = (char)('0' + digit);
    }
    if (check_random(state) % 4 == 0)
        i += (size_t)snprintf(out + i, 16, "e%d", (int)(check_random(state) % 700) - 350);
    out[i] = 0;
    return i;
}

static bool same_double(double a, double b)
{
    uint64_t x, y;
    memcpy(&x, &a, 8);
    memcpy(&y, &b, 8);
    return x == y;
}

static void test_double(void)
{
    uint64_t state = 1;
    char text[128], plain[EW_DEC_TEXT];
    unsigned values = 0;
    for (unsigned i = 0; i < 400000; i++) {
        size_t n = random_decimal(&state, text, i % 2 ? 18 : 28);
        ew_dec d = ew_dec_parse((const uint8_t *)text, n);
        CHECK_CASE(d.state == EW_DEC_VALUE, text);
        values += d.state == EW_DEC_VALUE;
        CHECK_CASE(same_double(ew_dec_double(d), strtod(text, NULL)), text);
        size_t k = ew_dec_text(d, plain);
        CHECK_CASE(k > 0 && k <= EW_DEC_TEXT, text);
        ew_dec again = ew_dec_parse((const uint8_t *)plain, k);
        CHECK_CASE(memcmp(&d, &again, sizeof d) == 0, text);
    }
    CHECK_INT(values, 400000);

    static const char *const hard[] = {
        "0.1", "0.3", "123456789012345678", "9007199254740993", "9007199254740992", "9007199254740991", "9007199254740995e22",
        "9007199254740993e-22", "1e22", "1e23", "1e-22", "1e-23", "8.5e22", "2.2250738585072011e-308",
        "2.2250738585072014e-308", "4.9406564584124654e-324", "2.4703282292062327e-324", "2.4703282292062328e-324",
        "1.7976931348623157e308", "1.7976931348623158e308", "1.7976931348623159e308", "1e309", "-1e309", "1e-400",
        "-1e-400", "1e999", "1e-999", "0e999", "-0e-999", "39614081257132168796771975167", "5e-324", "-0.0",
    };
    for (size_t i = 0; i < sizeof hard / sizeof *hard; i++)
        CHECK_CASE(same_double(ew_dec_double(dec(hard[i])), strtod(hard[i], NULL)), hard[i]);
    CHECK(signbit(ew_dec_double(dec("-0.00"))));
    CHECK(isnan(ew_dec_double((ew_dec){0})));
    CHECK(isnan(ew_dec_double((ew_dec){.state = EW_DEC_NULL})));
    CHECK(isnan(ew_dec_double((ew_dec){.state = EW_DEC_EMPTY})));
}

static void test_scaled(void)
{
    static const struct {
        const char *text;
        int scale, result;
        int64_t value;
    } cases[] = {
        {"1.50", 2, 0, 150},
        {"1.50", 1, 0, 15},
        {"1.50", 0, -1, 0},
        {"1.50", 8, 0, 150000000},
        {"-1.50", 1, 0, -15},
        {"-0.07", 2, 0, -7},
        {"-0.07", 1, -1, 0},
        {"0.00000000", 0, 0, 0},
        {"-0.00000000", 0, 0, 0},
        {"0", 10000, 0, 0},
        {"0e999", 10000, 0, 0},
        {"0e-999", -10000, 0, 0},
        {"0", 10001, -1, 0},
        {"0", -10001, -1, 0},
        {"1", 18, 0, INT64_C(1000000000000000000)},
        {"1", 19, -1, 0},
        {"9.223372036854775807", 18, 0, INT64_MAX},
        {"9.223372036854775808", 18, -1, 0},
        {"-9.223372036854775808", 18, 0, INT64_MIN},
        {"-9.223372036854775809", 18, -1, 0},
        {"922337203685477580.7", 1, 0, INT64_MAX},
        {"1200", -2, 0, 12},
        {"1200", -3, -1, 0},
        {"1e5", -5, 0, 1},
        {"1e999", -999, 0, 1},
        {"1e-999", 999, 0, 1},
        {"39614081257132168796771975167", 0, -1, 0},
        {"39000000000000000000000000000", -20, 0, 390000000},
        {"18446744073709551616", 0, -1, 0},
        {"-18446744073709551616", 0, -1, 0},
        {"1e-30", 10, -1, 0},
        {"1", INT32_MAX, -1, 0},
        {"1", INT32_MIN, -1, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int64_t v = 0;
        int result = ew_dec_scaled(dec(cases[i].text), cases[i].scale, &v);
        CHECK_CASE(result == cases[i].result, cases[i].text);
        if (result == 0)
            CHECK_INT(v, cases[i].value);
    }
    int64_t v;
    CHECK_INT(ew_dec_scaled((ew_dec){0}, 0, &v), -1);
    CHECK_INT(ew_dec_scaled((ew_dec){.state = EW_DEC_NULL}, 0, &v), -1);
    CHECK_INT(ew_dec_text((ew_dec){.state = EW_DEC_EMPTY}, (char[EW_DEC_TEXT]){0}), 0);
}

/*==== MARK: Integers ====*/

static void test_integers(void)
{
    static const struct {
        const char *text;
        bool is_plain, is_int;
        uint64_t plain;
        int64_t integer;
    } cases[] = {
        {"0", true, true, 0, 0},
        {"7", true, true, 7, 7},
        {"10", true, true, 10, 10},
        {"28457113", true, true, 28457113, 28457113},
        {"9223372036854775807", true, true, INT64_MAX, INT64_MAX},
        {"9223372036854775808", true, false, UINT64_C(9223372036854775808), 0},
        {"9999999999999999999", true, false, UINT64_C(9999999999999999999), 0},
        {"10000000000000000000", true, false, UINT64_C(10000000000000000000), 0},
        {"18446744073709551615", true, false, UINT64_MAX, 0},
        {"18446744073709551616", false, false, 0, 0},
        {"18446744073709551620", false, false, 0, 0},
        {"28446744073709551615", false, false, 0, 0},
        {"99999999999999999999", false, false, 0, 0},
        {"100000000000000000000", false, false, 0, 0},
        {"-1", false, true, 0, -1},
        {"-0", false, true, 0, 0},
        {"-9223372036854775808", false, true, 0, INT64_MIN},
        {"-9223372036854775809", false, false, 0, 0},
        {"", false, false, 0, 0},
        {"-", false, false, 0, 0},
        {"--1", false, false, 0, 0},
        {"+1", false, false, 0, 0},
        {"00", false, false, 0, 0},
        {"01", false, false, 0, 0},
        {"-01", false, false, 0, 0},
        {"1.0", false, false, 0, 0},
        {"1e3", false, false, 0, 0},
        {"1 ", false, false, 0, 0},
        {" 1", false, false, 0, 0},
        {"t-1", false, false, 0, 0},
        {"1234567890123456789x", false, false, 0, 0},
        {"x2345678901234567890", false, false, 0, 0},
        {"123456789012345678x0", false, false, 0, 0},
        {"0123456789012345678", false, false, 0, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        size_t n = strlen(cases[i].text);
        uint8_t *s = check_copy(cases[i].text, n);
        uint64_t plain = 42;
        int64_t integer = 42;
        CHECK_CASE(ew_plain_u64(s, n, &plain) == cases[i].is_plain, cases[i].text);
        CHECK_CASE(plain == (cases[i].is_plain ? cases[i].plain : 42), cases[i].text);
        CHECK_CASE(ew_int_parse(s, n, &integer) == cases[i].is_int, cases[i].text);
        CHECK_CASE(integer == (cases[i].is_int ? cases[i].integer : 42), cases[i].text);
        free(s);
    }
}

static void test_times(void)
{
    static const struct {
        const char *text;
        bool ok;
        int64_t ns;
    } cases[] = {
        {"0", true, 0},
        {"-0", true, 0},
        {"1", true, INT64_C(1000000000)},
        {"-1", true, INT64_C(-1000000000)},
        {"1700000000", true, INT64_C(1700000000000000000)},
        {"1700000000123", true, INT64_C(1700000000123000000)},
        {"1700000000123456", true, INT64_C(1700000000123456000)},
        {"1700000000123456789", true, INT64_C(1700000000123456789)},
        {"-1700000000123", true, INT64_C(-1700000000123000000)},
        {"9223372036", true, INT64_C(9223372036000000000)},
        {"9223372037", false, 0}, /* seconds that do not fit */
        {"-9223372036", true, INT64_C(-9223372036000000000)},
        {"-9223372037", false, 0},
        {"99999999999", false, 0},
        {"100000000000", true, INT64_C(100000000000000000)},
        {"9223372036854", true, INT64_C(9223372036854000000)},
        {"9223372036855", false, 0},
        {"99999999999999", false, 0},
        {"100000000000000", true, INT64_C(100000000000000000)},
        {"9223372036854775", true, INT64_C(9223372036854775000)},
        {"9223372036854776", false, 0},
        {"99999999999999999", false, 0},
        {"100000000000000000", true, INT64_C(100000000000000000)},
        {"9223372036854775807", true, INT64_MAX},
        {"9223372036854775808", false, 0},
        {"-9223372036854775808", true, INT64_MIN},
        {"-9223372036854775809", false, 0},
        {"", false, 0},
        {"1700000000.5", false, 0},
        {"1.7e12", false, 0},
        {"01700000000", false, 0},
        {"+1700000000", false, 0},
        {"2026-11-21", false, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        size_t n = strlen(cases[i].text);
        uint8_t *s = check_copy(cases[i].text, n);
        int64_t ns = 0;
        bool ok = ew_time_parse(s, n, &ns);
        CHECK_CASE(ok == cases[i].ok, cases[i].text);
        if (ok)
            CHECK_CASE(ns == cases[i].ns, cases[i].text);
        free(s);
    }
}

int main(void)
{
    test_parse();
    test_long();
    test_double();
    test_scaled();
    test_integers();
    test_times();
    return check_result();
}
