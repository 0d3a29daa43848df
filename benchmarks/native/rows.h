/* The keys of every event, for a contender's own kind of JSON value. Before it includes this, a contender defines VALUE
 * and
 *     static struct task_span raw_span(VALUE v);   a number, a literal, or a string whose escapes need not be resolved
 *     static struct task_span text_span(VALUE v);  the same, escapes resolved
 * Each function stores the value of one key; false if the field cannot hold it. Other keys are not looked at. */
#define STORE(kind, type, key, slot, span, bit) \
    case key: return store_##type(span(v), &kind->slot, &kind->h, bit);
#define ORDER_X(key, type, field) STORE(order, type, key, field, raw_span, TASK_BIT(ORDER, field))
#define ORDER_S(key, type, field) STORE(order, type, key, field, text_span, TASK_BIT(ORDER, field))
#define ORDER_H(key, type, field) STORE(order, type, key, h.field, raw_span, TASK_BIT(H, field))
#define BALANCE_X(key, type, field) STORE(balance, type, key, field, raw_span, TASK_BIT(BALANCE, field))
#define BALANCE_S(key, type, field) STORE(balance, type, key, field, text_span, TASK_BIT(BALANCE, field))
#define BALANCE_H(key, type, field) STORE(balance, type, key, h.field, raw_span, TASK_BIT(H, field))
#define POSITION_X(key, type, field) STORE(position, type, key, field, raw_span, TASK_BIT(POSITION, field))
#define POSITION_S(key, type, field) STORE(position, type, key, field, text_span, TASK_BIT(POSITION, field))
#define POSITION_H(key, type, field) STORE(position, type, key, h.field, raw_span, TASK_BIT(H, field))

#define PUT(name, list, kind, KIND, number)                                     \
    static inline bool name(ew_##kind *kind, const char *key, size_t n, VALUE v) \
    {                                                                           \
        switch (number(key, n)) {                                               \
            list(KIND##_X, KIND##_S, KIND##_H)                                  \
        default: return true;                                                   \
        }                                                                       \
    }

PUT(put_execution_report, EXECUTION_REPORT, order, ORDER, task_key)
PUT(put_order_trade_update, ORDER_TRADE_UPDATE, order, ORDER, task_key)
PUT(put_bitget_order, BITGET_ORDER, order, ORDER, bitget_key)
PUT(put_balance_update, BALANCE_UPDATE, balance, BALANCE, task_key)
PUT(put_account_position, ACCOUNT_POSITION_ROW, balance, BALANCE, task_key)
PUT(put_account_balance, ACCOUNT_UPDATE_BALANCE, balance, BALANCE, task_key)
PUT(put_account_position_row, ACCOUNT_UPDATE_POSITION, position, POSITION, task_key)
