/* The constants of wide.h. */
#include "wide.h"

#define ROW(x) {x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x}

const struct ew_wide ew_wide = {
    .zero_digits = ROW('0'),
    .beyond_9 = ROW(0x80 - 10),
    .points = ROW((uint8_t)('.' - '0')),
    .quotes = ROW('"'),
    .backslashes = ROW('\\'),
    .before_32 = ROW(0x80 + 0x1f),
    .time_zeros = {'1', '0', '0', '0', '0', '0', '0', '0', '0', '0', '0', '0', '0', '0', '0', '0'},
    .beyond_time = {0x80 - 8,  0x80 - 10, 0x80 - 10, 0x80 - 10, 0x80 - 10, 0x80 - 10, 0x80 - 10, 0x80 - 10,
                    0x80 - 10, 0x80 - 10, 0x80 - 10, 0x80 - 10, 0x80 - 10, 0x80 - 10, 0x80 - 10, 0x80 - 10},
    .weights_1 = {10, 1, 10, 1, 10, 1, 10, 1, 10, 1, 10, 1, 10, 1, 10, 1},
    .weights_2 = {100, 1, 100, 1, 100, 1, 100, 1},
    .weights_4 = {10000, 1, 10000, 1, 10000, 1, 10000, 1},
    .ones = {255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255,
             255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255},
    .places = {-16, -15, -14, -13, -12, -11, -10, -9, -8, -7, -6, -5, -4, -3, -2, -1,
               0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15},
};

/* Decimals of n whole digits and e bytes. */
#define FRACTION(n, e) ((e) > (n) ? (e) - (n) - 1 : 0)
#define DIGITS(n, e) ((n) + FRACTION(n, e))
#define PLACE(n, e, i) ((i) < 16 - DIGITS(n, e) ? -16 : (i) - 16 + DIGITS(n, e) + ((i) >= 16 - FRACTION(n, e)))
#define PLACES(n, e)                                                                                                   \
    {PLACE(n, e, 0), PLACE(n, e, 1), PLACE(n, e, 2), PLACE(n, e, 3), PLACE(n, e, 4), PLACE(n, e, 5),                   \
     PLACE(n, e, 6), PLACE(n, e, 7), PLACE(n, e, 8), PLACE(n, e, 9), PLACE(n, e, 10),                                  \
     PLACE(n, e, 11), PLACE(n, e, 12), PLACE(n, e, 13), PLACE(n, e, 14), PLACE(n, e, 15)}
#define IS_DECIMAL(n, e) ((n) > 0 && (e) < 16 && ((e) == (n) || (e) > (n) + 1))
#define BELOW(n, e) (IS_DECIMAL(n, e) ? ((n) > 1 ? '0' : '0' - 1) : 255)
#define FORM(n, e) {PLACES(n, e), 0, -FRACTION(n, e), EW_DEC_VALUE, 0, BELOW(n, e)}
#define FORMS(e)                                                                                                       \
    FORM(0, e), FORM(1, e), FORM(2, e), FORM(3, e), FORM(4, e), FORM(5, e), FORM(6, e), FORM(7, e), FORM(8, e),        \
    FORM(9, e), FORM(10, e), FORM(11, e), FORM(12, e), FORM(13, e), FORM(14, e), FORM(15, e)

const struct ew_form ew_forms[16 * 17 + 1] = {
    FORMS(0), FORMS(1), FORMS(2), FORMS(3), FORMS(4), FORMS(5), FORMS(6), FORMS(7), FORMS(8), FORMS(9), FORMS(10),
    FORMS(11), FORMS(12), FORMS(13), FORMS(14), FORMS(15), FORMS(16), FORM(16, 16),
};
