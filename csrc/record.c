/* The kinds of records, field by field: everything that must know a struct's layout asks here. */
#include "internal.h"

/*==== MARK: Vocabulary ====*/

static const char *const side_words[] = {"unknown", "buy", "sell"};
static const char *const position_side_words[] = {"unknown", "both", "long", "short"};
static const char *const order_type_words[] = {
    "unknown", "market", "limit", "limit_maker", "stop_market", "stop_limit",
    "take_profit_market", "take_profit_limit", "trailing_stop_market", "liquidation",
};
static const char *const time_in_force_words[] = {"unknown", "gtc", "ioc", "fok", "post_only", "gtd", "gte_gtc", "rpi"};
static const char *const status_words[] = {
    "unknown", "pending_new", "new", "partially_filled", "filled", "pending_cancel", "canceled", "rejected",
    "expired", "expired_in_match", "triggering", "triggered", "finished", "new_insurance", "new_adl",
};
static const char *const exec_type_words[] = {
    "unknown", "new", "canceled", "replaced", "rejected",
    "trade", "expired", "trade_prevention", "calculated", "status",
};
static const char *const stp_mode_words[] = {
    "unknown", "none", "expire_taker", "expire_maker", "expire_both", "decrement", "transfer",
};
static const char *const margin_mode_words[] = {"unknown", "cross", "isolated"};
static const char *const code_words[] = {
    "unknown", "unknown_event", "empty", "welcome", "login_ok", "subscribed", "unsubscribed", "response", "request",
    "error", "ping", "pong", "listen_key", "listen_key_expired", "stream_terminated", "server_shutdown",
    "system_close", "order_list", "conditional_reject", "margin_call", "risk_level", "liability", "account_config",
    "account_summary", "strategy", "adl", "connected", "disconnected", "reconnected", "gap",
};
static const char *const bool_words[] = {"false", "true"};

_Static_assert(sizeof side_words / sizeof *side_words == EW_SIDE_SELL + 1, "words");
_Static_assert(sizeof position_side_words / sizeof *position_side_words == EW_POSITION_SIDE_SHORT + 1, "words");
_Static_assert(sizeof order_type_words / sizeof *order_type_words == EW_ORDER_TYPE_LIQUIDATION + 1, "words");
_Static_assert(sizeof time_in_force_words / sizeof *time_in_force_words == EW_TIME_IN_FORCE_RPI + 1, "words");
_Static_assert(sizeof status_words / sizeof *status_words == EW_STATUS_NEW_ADL + 1, "words");
_Static_assert(sizeof exec_type_words / sizeof *exec_type_words == EW_EXEC_TYPE_STATUS + 1, "words");
_Static_assert(sizeof stp_mode_words / sizeof *stp_mode_words == EW_STP_MODE_TRANSFER + 1, "words");
_Static_assert(sizeof margin_mode_words / sizeof *margin_mode_words == EW_MARGIN_MODE_ISOLATED + 1, "words");
_Static_assert(sizeof code_words / sizeof *code_words == EW_NOTICE_GAP + 1, "words");

/*==== MARK: Fields ====*/

#define SIZE(kind, f) sizeof(((ew_##kind *)0)->f)
#define FIELD(kind, f, t, u) {#f, u, "", NULL, offsetof(ew_##kind, f), SIZE(kind, f), t, 0}
#define DEC(kind, f, u) FIELD(kind, f, EW_TYPE_DEC, u)
#define ID(kind, f) FIELD(kind, f, EW_TYPE_ID, "")
#define TEXT(kind, f) FIELD(kind, f, EW_TYPE_TEXT, "")
#define TIME(kind, f) FIELD(kind, f, EW_TYPE_TIME, "ns")
#define CODED(kind, f, type, vocabulary, words) \
    {#f, "", vocabulary, words, offsetof(ew_##kind, f), 1, type, sizeof words / sizeof *words}
#define ENUM(kind, f, v) CODED(kind, f, EW_TYPE_ENUM, #v, v##_words)
#define BOOL(kind, f) CODED(kind, f, EW_TYPE_BOOL, "bool", bool_words)
#define HEADER                                                                                                         \
    {"ts_event", "ns", "", NULL, offsetof(ew_header, ts_event), 8, EW_TYPE_TIME, 0},                                \
    {"ts_transact", "ns", "", NULL, offsetof(ew_header, ts_transact), 8, EW_TYPE_TIME, 0},                          \
    {"ts_recv", "ns", "", NULL, offsetof(ew_header, ts_recv), 8, EW_TYPE_TIME, 0},                                  \
    {"subscription_id", "", "", NULL, offsetof(ew_header, subscription_id), 2, EW_TYPE_U16, 0}
/* A field's bit is its place in its list. */

#define BASE "base"
#define QUOTE "quote"
#define PRICE "quote per base"

static const ew_field order_fields[] = {
    HEADER,
    TEXT(order, symbol),
    ID(order, order_id), ID(order, client_order_id), ID(order, orig_client_order_id), ID(order, order_list_id),
    ENUM(order, side, side), ENUM(order, position_side, position_side), ENUM(order, order_type, order_type),
    ENUM(order, time_in_force, time_in_force), ENUM(order, status, status), ENUM(order, exec_type, exec_type),
    DEC(order, price, PRICE), DEC(order, stop_price, PRICE), DEC(order, avg_price, PRICE),
    DEC(order, orig_qty, BASE), DEC(order, orig_quote_qty, QUOTE), DEC(order, iceberg_qty, BASE),
    DEC(order, last_price, PRICE), DEC(order, last_qty, BASE), DEC(order, last_quote, QUOTE),
    DEC(order, cum_qty, BASE), DEC(order, cum_quote, QUOTE), DEC(order, remaining_qty, BASE),
    DEC(order, fee, "fee_asset"), TEXT(order, fee_asset), ID(order, trade_id),
    BOOL(order, is_maker), BOOL(order, is_working), BOOL(order, reduce_only),
    DEC(order, realized_pnl, QUOTE), TEXT(order, reject_reason), ENUM(order, stp_mode, stp_mode),
    TIME(order, ts_created), TIME(order, ts_working),
};

static const ew_field fill_fields[] = {
    HEADER,
    TEXT(fill, symbol), ID(fill, trade_id), ID(fill, order_id), ID(fill, client_order_id),
    ENUM(fill, side, side), ENUM(fill, position_side, position_side),
    DEC(fill, price, PRICE), DEC(fill, qty, BASE), DEC(fill, quote_qty, QUOTE),
    DEC(fill, fee, "fee_asset"), TEXT(fill, fee_asset), BOOL(fill, is_maker), DEC(fill, realized_pnl, QUOTE),
    TIME(fill, ts_created),
};

static const ew_field balance_fields[] = {
    HEADER,
    TEXT(balance, asset), DEC(balance, free, "asset"), DEC(balance, locked, "asset"), DEC(balance, total, "asset"),
    DEC(balance, cross_wallet, "asset"), DEC(balance, delta, "asset"), TEXT(balance, reason),
};

static const ew_field position_fields[] = {
    HEADER,
    TEXT(position, symbol), TEXT(position, asset), ENUM(position, side, position_side),
    DEC(position, qty, BASE), DEC(position, available, BASE),
    DEC(position, entry_price, PRICE), DEC(position, break_even_price, PRICE), DEC(position, mark_price, PRICE),
    DEC(position, liquidation_price, PRICE), DEC(position, leverage, ""), DEC(position, margin, "asset"),
    ENUM(position, margin_mode, margin_mode), DEC(position, unrealized_pnl, "asset"),
    DEC(position, realized_pnl, "asset"), TIME(position, ts_created),
};

static const ew_field notice_fields[] = {
    HEADER,
    ENUM(notice, code, code), TEXT(notice, message), TEXT(notice, about), ID(notice, error_code),
    ID(notice, request_id),
};

#define COUNT(a) (sizeof(a) / sizeof *(a))
_Static_assert(COUNT(order_fields) <= 64, "one bit a field");

static const struct kind {
    const char *name;
    const ew_field *fields;
    size_t n, size;
} kinds[EW_KINDS] = {
    [EW_NONE] = {"none", NULL, 0, 0},
    [EW_ORDER] = {"order", order_fields, COUNT(order_fields), sizeof(ew_order)},
    [EW_FILL] = {"fill", fill_fields, COUNT(fill_fields), sizeof(ew_fill)},
    [EW_BALANCE] = {"balance", balance_fields, COUNT(balance_fields), sizeof(ew_balance)},
    [EW_POSITION] = {"position", position_fields, COUNT(position_fields), sizeof(ew_position)},
    [EW_NOTICE] = {"notice", notice_fields, COUNT(notice_fields), sizeof(ew_notice)},
};

const char *ew_kind_name(unsigned kind) { return kind < EW_KINDS ? kinds[kind].name : NULL; }

size_t ew_kind_size(unsigned kind) { return kind < EW_KINDS ? kinds[kind].size : 0; }

const ew_field *ew_fields(unsigned kind, size_t *n)
{
    *n = kind < EW_KINDS ? kinds[kind].n : 0;
    return *n ? kinds[kind].fields : NULL;
}

uint16_t ew_codes_at(unsigned kind)
{
    switch ((ew_kind)kind) {
    case EW_ORDER: return offsetof(ew_order, side);
    case EW_FILL: return offsetof(ew_fill, side);
    case EW_POSITION: return offsetof(ew_position, side);
    case EW_NOTICE: return offsetof(ew_notice, code);
    default: return offsetof(ew_balance, asset); /* where nothing is changed by adding no codes */
    }
}

const ew_field *ew_find_field(unsigned kind, const char *name, size_t len)
{
    size_t n;
    const ew_field *f = ew_fields(kind, &n);
    for (size_t i = 0; i < n; i++)
        if (strlen(f[i].name) == len && memcmp(f[i].name, name, len) == 0)
            return &f[i];
    return NULL;
}
