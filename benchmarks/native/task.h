/* The task that every native contender does: the same messages into the same structs (those of execwire.h).
 *
 * Every field of the lists below is delivered: decimals exact as mantissa and exponent, ids as text and number, enums
 * as codes, times in ns, and which fields were there or null. Keys are told apart by a switch. What contenders need
 * besides their parser (decimals with SIMD, ids, words) is here, so that the parser makes the difference. They need
 * not do what only execwire does: tell what no field took, take any dialect, keep where a record stands in its message.
 */
#ifndef TASK_H
#define TASK_H

#include "execwire.h"

#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#ifdef __SSE4_1__
#include <immintrin.h>
#endif

#ifdef __cplusplus
extern "C" {
#endif

/*==== MARK: Contenders ====*/

#define TASK_PADDING 256 /* bytes that may be read behind a message */
#define TASK_RECORDS 64  /* that a contender has room for */
#define TASK_FAILED SIZE_MAX

struct task_contender {
    const char *(*version)(void);
    /* Once, for a venue; its dialect's table is for execwire only. */
    void *(*prepare)(const char *venue, const char *table, size_t n);
    void *(*open)(void *prepared); /* a decoder that has seen nothing */
    size_t (*decode)(void *decoder, const uint8_t *message, size_t n); /* how many records, or TASK_FAILED */
    const ew_record *(*get)(void *decoder, size_t i);
    void (*close)(void *decoder);
};

extern const struct task_contender contender;

/*==== MARK: Fields ====*/
/* Numbers of fields, as in ew_fields(); the comparison with the reference decoder proves them. */

enum {
    H_ts_event, H_ts_transact, H_ts_recv, H_subscription_id,
    ORDER_symbol, ORDER_order_id, ORDER_client_order_id, ORDER_orig_client_order_id, ORDER_order_list_id,
    ORDER_side, ORDER_position_side, ORDER_order_type, ORDER_time_in_force, ORDER_status, ORDER_exec_type,
    ORDER_price, ORDER_stop_price, ORDER_avg_price, ORDER_orig_qty, ORDER_orig_quote_qty, ORDER_iceberg_qty,
    ORDER_last_price, ORDER_last_qty, ORDER_last_quote, ORDER_cum_qty, ORDER_cum_quote, ORDER_remaining_qty,
    ORDER_fee, ORDER_fee_asset, ORDER_trade_id, ORDER_is_maker, ORDER_is_working, ORDER_reduce_only,
    ORDER_realized_pnl, ORDER_reject_reason, ORDER_stp_mode, ORDER_ts_created, ORDER_ts_working
};
enum {
    BALANCE_asset = 4, BALANCE_free, BALANCE_locked, BALANCE_total, BALANCE_cross_wallet, BALANCE_delta, BALANCE_reason
};
enum {
    POSITION_symbol = 4, POSITION_asset, POSITION_side, POSITION_qty, POSITION_available, POSITION_entry_price,
    POSITION_break_even_price, POSITION_mark_price, POSITION_liquidation_price, POSITION_leverage, POSITION_margin,
    POSITION_margin_mode, POSITION_unrealized_pnl, POSITION_realized_pnl, POSITION_ts_created
};

/* Binance's keys are short enough to be the number that a switch looks at. */
#define K1(a) (unsigned)(a)
#define K2(a, b) ((unsigned)(a) | (unsigned)(b) << 8)
#define K3(a, b, c) ((unsigned)(a) | (unsigned)(b) << 8 | (unsigned)(c) << 16)

static inline unsigned task_key(const char *s, size_t n)
{
    const uint8_t *p = (const uint8_t *)s;
    return n == 1 ? p[0] : n == 2 ? K2(p[0], p[1]) : n == 3 ? K3(p[0], p[1], p[2]) : 0;
}

/* X(key, type, field): DEC, TIME (ms), BOOL, or the vocabulary of an enum. S: ID and TEXT, whose escapes have to be
 * resolved. H: fields of the header. */
#define EXECUTION_REPORT(X, S, H)                                                                                      \
    H(K1('E'), TIME, ts_event) S(K1('s'), TEXT, symbol) S(K1('c'), ID, client_order_id) X(K1('S'), SIDE, side)         \
    X(K1('o'), SPOT_TYPE, order_type) X(K1('f'), FORCE, time_in_force) X(K1('q'), DEC, orig_qty)                       \
    X(K1('p'), DEC, price) X(K1('P'), DEC, stop_price) X(K1('F'), DEC, iceberg_qty) S(K1('g'), ID, order_list_id)      \
    S(K1('C'), ID, orig_client_order_id) X(K1('x'), EXECUTION, exec_type) X(K1('X'), STATUS, status)                   \
    S(K1('r'), TEXT, reject_reason) S(K1('i'), ID, order_id) X(K1('l'), DEC, last_qty) X(K1('z'), DEC, cum_qty)        \
    X(K1('L'), DEC, last_price) X(K1('n'), DEC, fee) S(K1('N'), TEXT, fee_asset) H(K1('T'), TIME, ts_transact)         \
    S(K1('t'), ID, trade_id) X(K1('w'), BOOL, is_working) X(K1('m'), BOOL, is_maker) X(K1('O'), TIME, ts_created)      \
    X(K1('Z'), DEC, cum_quote) X(K1('Y'), DEC, last_quote) X(K1('Q'), DEC, orig_quote_qty)                             \
    X(K1('W'), TIME, ts_working) X(K1('V'), STP, stp_mode)

#define BALANCE_UPDATE(X, S, H) H(K1('E'), TIME, ts_event) S(K1('a'), TEXT, asset) X(K1('d'), DEC, delta)              \
    H(K1('T'), TIME, ts_transact)

/* outboundAccountPosition: E and u of the event, then of every row of B: */
#define ACCOUNT_POSITION_ROW(X, S, H) S(K1('a'), TEXT, asset) X(K1('f'), DEC, free) X(K1('l'), DEC, locked)

/* ORDER_TRADE_UPDATE: E and T of the event, then of o (whose own T stands in only where the event has none): */
#define ORDER_TRADE_UPDATE(X, S, H)                                                                                    \
    S(K1('s'), TEXT, symbol) S(K1('c'), ID, client_order_id) X(K1('S'), SIDE, side)                                    \
    X(K1('o'), FUTURES_TYPE, order_type) X(K1('f'), FORCE, time_in_force) X(K1('q'), DEC, orig_qty)                    \
    X(K1('p'), DEC, price) X(K2('a', 'p'), DEC, avg_price) X(K2('s', 'p'), DEC, stop_price)                            \
    X(K1('x'), EXECUTION, exec_type) X(K1('X'), STATUS, status) S(K1('i'), ID, order_id) X(K1('l'), DEC, last_qty)     \
    X(K1('z'), DEC, cum_qty) X(K1('L'), DEC, last_price) S(K1('N'), TEXT, fee_asset) X(K1('n'), DEC, fee)              \
    S(K1('t'), ID, trade_id) X(K1('m'), BOOL, is_maker) X(K1('R'), BOOL, reduce_only)                                  \
    X(K2('p', 's'), POSITION_SIDE, position_side) X(K2('r', 'p'), DEC, realized_pnl) X(K1('V'), STP, stp_mode)         \
    X(K1('W'), TIME, ts_working) H(K1('T'), TIME_ELSE, ts_transact)

/* ACCOUNT_UPDATE: E and T of the event, m (the reason) of a, and of the rows of a.B and a.P: */
#define ACCOUNT_UPDATE_BALANCE(X, S, H)                                                                                \
    S(K1('a'), TEXT, asset) X(K2('w', 'b'), DEC, total) X(K2('c', 'w'), DEC, cross_wallet) X(K2('b', 'c'), DEC, delta)
#define ACCOUNT_UPDATE_POSITION(X, S, H)                                                                               \
    S(K1('s'), TEXT, symbol) S(K2('m', 'a'), TEXT, asset) X(K2('p', 's'), POSITION_SIDE, side)                         \
    X(K2('m', 't'), MARGIN_MODE, margin_mode) X(K2('p', 'a'), DEC, qty) X(K2('e', 'p'), DEC, entry_price)              \
    X(K3('b', 'e', 'p'), DEC, break_even_price) X(K2('i', 'w'), DEC, margin) X(K2('u', 'p'), DEC, unrealized_pnl)      \
    X(K2('c', 'r'), DEC, realized_pnl)

/* Bitget orders: ts of the frame, and of every row of data: */
#define BITGET_ORDER(X, S, H)                                                                                          \
    S(BG_instId, TEXT, symbol) S(BG_orderId, ID, order_id) S(BG_clientOid, ID, client_order_id)                        \
    X(BG_side, BITGET_SIDE, side) X(BG_posSide, BITGET_POSITION, position_side)                                        \
    X(BG_orderType, BITGET_TYPE, order_type) X(BG_force, BITGET_FORCE, time_in_force)                                  \
    X(BG_status, BITGET_STATUS, status) X(BG_price, DEC, price) X(BG_size, DEC, orig_qty)                              \
    X(BG_notional, DEC, orig_quote_qty) X(BG_fillPrice, DEC, last_price) X(BG_baseVolume, DEC, last_qty)               \
    X(BG_accBaseVolume, DEC, cum_qty) X(BG_priceAvg, DEC, avg_price) X(BG_fillFee, DEC, fee)                           \
    S(BG_fillFeeCoin, TEXT, fee_asset) X(BG_pnl, DEC, realized_pnl) S(BG_tradeId, ID, trade_id)                        \
    X(BG_tradeScope, BITGET_BOOL, is_maker) X(BG_reduceOnly, BITGET_BOOL, reduce_only)                                 \
    X(BG_stpMode, BITGET_STP, stp_mode) H(BG_fillTime, TIME, ts_transact) H(BG_uTime, TIME_ELSE, ts_transact)          \
    X(BG_cTime, TIME, ts_created)

enum bitget_key {
    BG_other, BG_instId, BG_orderId, BG_clientOid, BG_side, BG_posSide, BG_orderType, BG_force, BG_status, BG_price,
    BG_size, BG_notional, BG_fillPrice, BG_baseVolume, BG_accBaseVolume, BG_priceAvg, BG_fillFee, BG_fillFeeCoin,
    BG_pnl, BG_tradeId, BG_tradeScope, BG_reduceOnly, BG_stpMode, BG_fillTime, BG_uTime, BG_cTime
};

#define TASK_IS(s, n, word) ((n) == sizeof(word) - 1 && memcmp(s, word, sizeof(word) - 1) == 0)
#define BITGET_KEY(key) if (memcmp(s, #key, sizeof #key - 1) == 0) return BG_##key

static inline enum bitget_key bitget_key(const char *s, size_t n)
{
    switch (n) {
    case 3: BITGET_KEY(pnl); break;
    case 4: BITGET_KEY(side); BITGET_KEY(size); break;
    case 5: BITGET_KEY(force); BITGET_KEY(price); BITGET_KEY(uTime); BITGET_KEY(cTime); break;
    case 6: BITGET_KEY(instId); BITGET_KEY(status); break;
    case 7: BITGET_KEY(orderId); BITGET_KEY(posSide); BITGET_KEY(fillFee); BITGET_KEY(tradeId);
        BITGET_KEY(stpMode); break;
    case 8: BITGET_KEY(priceAvg); BITGET_KEY(fillTime); BITGET_KEY(notional); break;
    case 9: BITGET_KEY(clientOid); BITGET_KEY(orderType); BITGET_KEY(fillPrice); break;
    case 10: BITGET_KEY(baseVolume); BITGET_KEY(tradeScope); BITGET_KEY(reduceOnly); break;
    case 11: BITGET_KEY(fillFeeCoin); break;
    case 13: BITGET_KEY(accBaseVolume); break;
    default: break;
    }
    return BG_other;
}

/*==== MARK: Values ====*/
/* All of these may read TASK_PADDING bytes behind what they are given. */

#ifdef __SSE4_1__
/* Up to 16 bytes, digits and at most one point, as a number. `*point` is where the point is, or n. False if there is
 * anything else. */
static inline bool task_digits16(const char *s, size_t n, uint64_t *out, size_t *point)
{
    const __m128i text = _mm_loadu_si128((const __m128i *)(const void *)s);
    const unsigned within = (1u << n) - 1;
    const unsigned points = (unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(text, _mm_set1_epi8('.'))) & within;
    const size_t at = points ? (size_t)__builtin_ctz(points) : n;
    const int digits = (int)n - (points != 0);
    /* Byte t of the shuffled text is digit t - (16 - digits), which stands one further on behind the point. */
    const __m128i iota = _mm_setr_epi8(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    __m128i from = _mm_add_epi8(iota, _mm_set1_epi8((char)(digits - 16)));
    from = _mm_sub_epi8(from, _mm_cmpgt_epi8(from, _mm_set1_epi8((char)((int)at - 1))));
    const __m128i value = _mm_shuffle_epi8(_mm_sub_epi8(text, _mm_set1_epi8('0')), from);
    const __m128i nine = _mm_set1_epi8(9);
    if (_mm_movemask_epi8(_mm_cmpeq_epi8(_mm_max_epu8(value, nine), nine)) != 0xffff)
        return false;
    const __m128i tens = _mm_maddubs_epi16(value, _mm_set1_epi16(10 | 1 << 8));
    const __m128i fours = _mm_madd_epi16(tens, _mm_setr_epi16(100, 1, 100, 1, 100, 1, 100, 1));
    const __m128i eights = _mm_madd_epi16(_mm_packus_epi32(fours, fours),
                                          _mm_setr_epi16(10000, 1, 10000, 1, 10000, 1, 10000, 1));
    const uint64_t both = (uint64_t)_mm_cvtsi128_si64(eights);
    *out = (both & 0xffffffff) * 100000000 + (both >> 32);
    *point = at;
    return true;
}
#endif

static inline ew_dec task_dec(const char *s, size_t n)
{
#ifdef __SSE4_1__
    const bool negative = *s == '-';
    const char *first = s + negative;
    size_t digits = n - negative, point;
    uint64_t m;
    if (n && digits - 1 < 16 && task_digits16(first, digits, &m, &point) && point && point + 1 != digits &&
        (*first != '0' || point == 1)) {
        int64_t v = negative ? -(int64_t)m : (int64_t)m;
        ew_dec d;
        d.lo = (uint64_t)v;
        d.hi = (int32_t)(v >> 63);
        d.exponent = (int16_t)(point < digits ? (int)point + 1 - (int)digits : 0);
        d.state = EW_DEC_VALUE;
        d.flags = negative && m == 0 ? EW_DEC_NEGATIVE_ZERO : 0;
        return d;
    }
#endif
    return ew_dec_parse((const uint8_t *)s, n);
}

static inline bool task_u64(const char *s, size_t n, uint64_t *out)
{
    if (n == 0 || n > 20 || (*s == '0' && n > 1))
        return false;
    uint64_t v = 0;
    size_t i = 0;
#ifdef __SSE4_1__
    size_t point, m = n < 16 ? n : 16;
    if (!task_digits16(s, m, &v, &point) || point < m)
        return false;
    i = m;
#endif
    for (; i < n; i++) {
        unsigned digit = (unsigned)(uint8_t)s[i] - '0';
        if (digit > 9 || __builtin_mul_overflow(v, 10, &v) || __builtin_add_overflow(v, digit, &v))
            return false;
    }
    *out = v;
    return true;
}

static inline bool task_time(const char *s, size_t n, int64_t *out)
{
    uint64_t ms;
    if (n != 13 || !task_u64(s, n, &ms))
        return false;
    *out = (int64_t)ms * 1000000;
    return true;
}

static inline bool task_id(const char *s, size_t n, ew_id *out)
{
    if (n > sizeof out->s)
        return false;
    memcpy(out->s, s, sizeof out->s);
    out->len = (uint8_t)n;
    out->is_number = task_u64(s, n, &out->number);
    return true;
}

/* A text slot is `size` bytes, the last of which is the length. */
static inline bool task_text(const char *s, size_t n, void *slot, size_t size)
{
    if (n >= size)
        return false;
    memcpy(slot, s, size - 1);
    ((uint8_t *)slot)[size - 1] = (uint8_t)n;
    return true;
}

/*==== MARK: Words ====*/
/* Each gives the code of a text; TASK_NO_WORD, if the text is none, makes the message fail. */

#define TASK_NO_WORD 255
#define WORD(word, code) if (TASK_IS(s, n, word)) return code

static inline uint8_t word_SIDE(const char *s, size_t n)
{
    WORD("BUY", EW_SIDE_BUY);
    WORD("SELL", EW_SIDE_SELL);
    return TASK_NO_WORD;
}

static inline uint8_t word_SPOT_TYPE(const char *s, size_t n)
{
    WORD("LIMIT", EW_ORDER_TYPE_LIMIT);
    WORD("LIMIT_MAKER", EW_ORDER_TYPE_LIMIT_MAKER);
    WORD("MARKET", EW_ORDER_TYPE_MARKET);
    WORD("STOP_LOSS", EW_ORDER_TYPE_STOP_MARKET);
    WORD("STOP_LOSS_LIMIT", EW_ORDER_TYPE_STOP_LIMIT);
    WORD("TAKE_PROFIT", EW_ORDER_TYPE_TAKE_PROFIT_MARKET);
    WORD("TAKE_PROFIT_LIMIT", EW_ORDER_TYPE_TAKE_PROFIT_LIMIT);
    return TASK_NO_WORD;
}

static inline uint8_t word_FUTURES_TYPE(const char *s, size_t n)
{
    WORD("LIMIT", EW_ORDER_TYPE_LIMIT);
    WORD("MARKET", EW_ORDER_TYPE_MARKET);
    WORD("STOP", EW_ORDER_TYPE_STOP_LIMIT);
    WORD("STOP_MARKET", EW_ORDER_TYPE_STOP_MARKET);
    WORD("TAKE_PROFIT", EW_ORDER_TYPE_TAKE_PROFIT_LIMIT);
    WORD("TAKE_PROFIT_MARKET", EW_ORDER_TYPE_TAKE_PROFIT_MARKET);
    WORD("TRAILING_STOP_MARKET", EW_ORDER_TYPE_TRAILING_STOP_MARKET);
    WORD("LIQUIDATION", EW_ORDER_TYPE_LIQUIDATION);
    return TASK_NO_WORD;
}

static inline uint8_t word_FORCE(const char *s, size_t n)
{
    WORD("GTC", EW_TIME_IN_FORCE_GTC);
    WORD("IOC", EW_TIME_IN_FORCE_IOC);
    WORD("FOK", EW_TIME_IN_FORCE_FOK);
    WORD("GTX", EW_TIME_IN_FORCE_POST_ONLY);
    WORD("GTD", EW_TIME_IN_FORCE_GTD);
    return TASK_NO_WORD;
}

static inline uint8_t word_EXECUTION(const char *s, size_t n)
{
    WORD("NEW", EW_EXEC_TYPE_NEW);
    WORD("TRADE", EW_EXEC_TYPE_TRADE);
    WORD("CANCELED", EW_EXEC_TYPE_CANCELED);
    WORD("EXPIRED", EW_EXEC_TYPE_EXPIRED);
    WORD("REPLACED", EW_EXEC_TYPE_REPLACED);
    WORD("REJECTED", EW_EXEC_TYPE_REJECTED);
    WORD("TRADE_PREVENTION", EW_EXEC_TYPE_TRADE_PREVENTION);
    WORD("CALCULATED", EW_EXEC_TYPE_CALCULATED);
    WORD("AMENDMENT", EW_EXEC_TYPE_REPLACED);
    return TASK_NO_WORD;
}

static inline uint8_t word_STATUS(const char *s, size_t n)
{
    WORD("NEW", EW_STATUS_NEW);
    WORD("PARTIALLY_FILLED", EW_STATUS_PARTIALLY_FILLED);
    WORD("FILLED", EW_STATUS_FILLED);
    WORD("CANCELED", EW_STATUS_CANCELED);
    WORD("EXPIRED", EW_STATUS_EXPIRED);
    WORD("REJECTED", EW_STATUS_REJECTED);
    WORD("PENDING_NEW", EW_STATUS_PENDING_NEW);
    WORD("PENDING_CANCEL", EW_STATUS_PENDING_CANCEL);
    WORD("EXPIRED_IN_MATCH", EW_STATUS_EXPIRED_IN_MATCH);
    return TASK_NO_WORD;
}

static inline uint8_t word_STP(const char *s, size_t n)
{
    WORD("EXPIRE_MAKER", EW_STP_MODE_EXPIRE_MAKER);
    WORD("NONE", EW_STP_MODE_NONE);
    WORD("EXPIRE_TAKER", EW_STP_MODE_EXPIRE_TAKER);
    WORD("EXPIRE_BOTH", EW_STP_MODE_EXPIRE_BOTH);
    WORD("DECREMENT", EW_STP_MODE_DECREMENT);
    WORD("TRANSFER", EW_STP_MODE_TRANSFER);
    return TASK_NO_WORD;
}

static inline uint8_t word_POSITION_SIDE(const char *s, size_t n)
{
    WORD("BOTH", EW_POSITION_SIDE_BOTH);
    WORD("LONG", EW_POSITION_SIDE_LONG);
    WORD("SHORT", EW_POSITION_SIDE_SHORT);
    return TASK_NO_WORD;
}

static inline uint8_t word_MARGIN_MODE(const char *s, size_t n)
{
    WORD("cross", EW_MARGIN_MODE_CROSS);
    WORD("isolated", EW_MARGIN_MODE_ISOLATED);
    return TASK_NO_WORD;
}

static inline uint8_t word_BITGET_SIDE(const char *s, size_t n)
{
    WORD("buy", EW_SIDE_BUY);
    WORD("sell", EW_SIDE_SELL);
    return TASK_NO_WORD;
}

static inline uint8_t word_BITGET_POSITION(const char *s, size_t n)
{
    WORD("long", EW_POSITION_SIDE_LONG);
    WORD("short", EW_POSITION_SIDE_SHORT);
    WORD("net", EW_POSITION_SIDE_BOTH);
    return TASK_NO_WORD;
}

static inline uint8_t word_BITGET_TYPE(const char *s, size_t n)
{
    WORD("limit", EW_ORDER_TYPE_LIMIT);
    WORD("market", EW_ORDER_TYPE_MARKET);
    return TASK_NO_WORD;
}

static inline uint8_t word_BITGET_FORCE(const char *s, size_t n)
{
    WORD("gtc", EW_TIME_IN_FORCE_GTC);
    WORD("ioc", EW_TIME_IN_FORCE_IOC);
    WORD("fok", EW_TIME_IN_FORCE_FOK);
    WORD("post_only", EW_TIME_IN_FORCE_POST_ONLY);
    return TASK_NO_WORD;
}

static inline uint8_t word_BITGET_STATUS(const char *s, size_t n)
{
    WORD("live", EW_STATUS_NEW);
    WORD("partially_filled", EW_STATUS_PARTIALLY_FILLED);
    WORD("filled", EW_STATUS_FILLED);
    WORD("canceled", EW_STATUS_CANCELED);
    WORD("cancelled", EW_STATUS_CANCELED);
    return TASK_NO_WORD;
}

static inline uint8_t word_BITGET_STP(const char *s, size_t n)
{
    WORD("none", EW_STP_MODE_NONE);
    WORD("cancel_taker", EW_STP_MODE_EXPIRE_TAKER);
    WORD("cancel_maker", EW_STP_MODE_EXPIRE_MAKER);
    WORD("cancel_both", EW_STP_MODE_EXPIRE_BOTH);
    return TASK_NO_WORD;
}

static inline uint8_t word_BITGET_BOOL(const char *s, size_t n)
{
    WORD("T", 0);
    WORD("M", 1);
    WORD("no", 0);
    WORD("yes", 1);
    return TASK_NO_WORD;
}

/*==== MARK: Storing ====*/
enum task_type { TASK_STRING, TASK_NUMBER, TASK_TRUE, TASK_FALSE, TASK_NULL, TASK_OTHER };

struct task_span {
    const char *s;
    size_t n;
    enum task_type type;
};

#define TASK_BIT(kind, field) (UINT64_C(1) << (kind##_##field))

static inline bool store_DEC(struct task_span v, ew_dec *slot, ew_header *h, uint64_t bit)
{
    if (v.type > TASK_NUMBER || (v.type == TASK_STRING && v.n == 0)) {
        slot->state = v.type == TASK_NULL ? EW_DEC_NULL : EW_DEC_EMPTY;
        h->missing |= bit;
        return v.type == TASK_NULL || v.type == TASK_STRING;
    }
    *slot = task_dec(v.s, v.n);
    h->present |= bit;
    return slot->state == EW_DEC_VALUE;
}

static inline bool store_TIME(struct task_span v, int64_t *slot, ew_header *h, uint64_t bit)
{
    if (v.type > TASK_NUMBER || (v.type == TASK_STRING && v.n == 0)) {
        *slot = v.type == TASK_NULL ? EW_TIME_NULL : EW_TIME_EMPTY;
        h->missing |= bit;
        return v.type == TASK_NULL || v.type == TASK_STRING;
    }
    h->present |= bit;
    return task_time(v.s, v.n, slot);
}

static inline bool store_TIME_ELSE(struct task_span v, int64_t *slot, ew_header *h, uint64_t bit)
{
    return (h->present & bit) || store_TIME(v, slot, h, bit);
}

static inline bool store_ID(struct task_span v, ew_id *slot, ew_header *h, uint64_t bit)
{
    if (v.type > TASK_NUMBER) {
        h->missing |= bit;
        return v.type == TASK_NULL;
    }
    h->present |= bit;
    return task_id(v.s, v.n, slot);
}

static inline bool store_text(struct task_span v, void *slot, size_t size, ew_header *h, uint64_t bit)
{
    if (v.type > TASK_NUMBER) {
        h->missing |= bit;
        return v.type == TASK_NULL;
    }
    h->present |= bit;
    return task_text(v.s, v.n, slot, size);
}
#define store_TEXT(v, slot, h, bit) store_text(v, slot, sizeof *(slot), h, bit)

static inline bool store_BOOL(struct task_span v, uint8_t *slot, ew_header *h, uint64_t bit)
{
    *slot = v.type == TASK_TRUE;
    h->present |= bit;
    return v.type == TASK_TRUE || v.type == TASK_FALSE;
}

#define STORE_WORD(vocabulary)                                                                                         \
    static inline bool store_##vocabulary(struct task_span v, uint8_t *slot, ew_header *h, uint64_t bit)               \
    {                                                                                                                  \
        h->present |= bit;                                                                                             \
        return v.type == TASK_STRING && (*slot = word_##vocabulary(v.s, v.n)) != TASK_NO_WORD;                         \
    }
STORE_WORD(SIDE) STORE_WORD(SPOT_TYPE) STORE_WORD(FUTURES_TYPE) STORE_WORD(FORCE) STORE_WORD(EXECUTION)
STORE_WORD(STATUS) STORE_WORD(STP) STORE_WORD(POSITION_SIDE) STORE_WORD(MARGIN_MODE)
STORE_WORD(BITGET_SIDE) STORE_WORD(BITGET_POSITION) STORE_WORD(BITGET_TYPE) STORE_WORD(BITGET_FORCE)
STORE_WORD(BITGET_STATUS) STORE_WORD(BITGET_STP) STORE_WORD(BITGET_BOOL)

static inline void task_clear(ew_record *r, ew_kind kind)
{
    memset(&r->h, 0, sizeof r->h);
    r->h.kind = (uint8_t)kind;
}

/* What an event says for all of its records, at its end. */
struct task_common {
    int64_t event, transact;
    uint64_t present; /* of the header's bits */
    uint16_t subscription_id;
};

static inline void task_finish(ew_record *records, size_t n, const struct task_common *common)
{
    for (size_t i = 0; i < n; i++) {
        ew_header *h = &records[i].h;
        if (common->present & TASK_BIT(H, ts_event))
            h->ts_event = common->event;
        if (common->present & TASK_BIT(H, ts_transact))
            h->ts_transact = common->transact;
        h->subscription_id = common->subscription_id;
        h->present |= common->present;
    }
}

#ifdef __cplusplus
}
#endif
#endif
