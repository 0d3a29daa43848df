/* yyjson: the message is copied and parsed in place, into memory from a pool; then every object is walked once.
 * Numbers are taken as they are written, so that none loses a digit. */
#include "task.h"

#include <stdlib.h>
#include <yyjson.h>

typedef yyjson_val *VALUE;

static inline struct task_span raw_span(yyjson_val *v)
{
    struct task_span span = {yyjson_get_raw(v), yyjson_get_len(v), TASK_OTHER};
    switch (yyjson_get_tag(v)) {
    case YYJSON_TYPE_STR | YYJSON_SUBTYPE_NONE:
#ifdef YYJSON_SUBTYPE_NOESC
    case YYJSON_TYPE_STR | YYJSON_SUBTYPE_NOESC:
#endif
        span.s = unsafe_yyjson_get_str(v);
        span.type = TASK_STRING;
        break;
    case YYJSON_TYPE_RAW | YYJSON_SUBTYPE_NONE: span.type = TASK_NUMBER; break;
    case YYJSON_TYPE_BOOL | YYJSON_SUBTYPE_TRUE: span.type = TASK_TRUE; break;
    case YYJSON_TYPE_BOOL | YYJSON_SUBTYPE_FALSE: span.type = TASK_FALSE; break;
    case YYJSON_TYPE_NULL | YYJSON_SUBTYPE_NONE: span.type = TASK_NULL; break;
    default: break;
    }
    return span;
}

#define text_span raw_span
#include "rows.h"

struct decoder {
    uint8_t *copy, *pool;
    size_t room, pool_room;
    bool is_bitget;
    ew_record records[TASK_RECORDS];
};

static const char *version(void)
{
    static char text[16];
    uint32_t v = yyjson_version();
    size_t n = 0;
    for (int part = 16; part >= 0; part -= 8) {
        unsigned x = v >> part & 255;
        if (x > 9)
            text[n++] = (char)('0' + x / 10);
        text[n++] = (char)('0' + x % 10);
        text[n++] = part ? '.' : 0;
    }
    return text;
}

static void *prepare(const char *venue, const char *table, size_t n)
{
    static const bool no = false, yes = true;
    (void)table, (void)n;
    return (void *)(strcmp(venue, "bitget") == 0 ? &yes : &no);
}

static void *open_decoder(void *prepared)
{
    struct decoder *d = calloc(1, sizeof *d);
    if (d)
        d->is_bitget = *(const bool *)prepared;
    return d;
}

static void close_decoder(void *decoder)
{
    struct decoder *d = decoder;
    free(d->copy);
    free(d->pool);
    free(d);
}

#define EACH(object, key, value, body)                                                                                 \
    do {                                                                                                               \
        yyjson_obj_iter iterator;                                                                                      \
        if (!yyjson_obj_iter_init(object, &iterator))                                                                  \
            return TASK_FAILED;                                                                                        \
        for (yyjson_val *k; (k = yyjson_obj_iter_next(&iterator));) {                                                  \
            yyjson_val *value = yyjson_obj_iter_get_val(k);                                                            \
            const char *key = unsafe_yyjson_get_str(k);                                                                \
            const size_t key##_n = unsafe_yyjson_get_len(k);                                                           \
            body                                                                                                       \
        }                                                                                                              \
    } while (0)

#define ROWS(array, row, body)                                                                                         \
    do {                                                                                                               \
        yyjson_arr_iter rows;                                                                                          \
        if (!yyjson_arr_iter_init(array, &rows))                                                                       \
            return TASK_FAILED;                                                                                        \
        for (yyjson_val *row; (row = yyjson_arr_iter_next(&rows));) {                                                  \
            if (n == TASK_RECORDS)                                                                                     \
                return TASK_FAILED;                                                                                    \
            body                                                                                                       \
            n++;                                                                                                       \
        }                                                                                                              \
    } while (0)

static bool common_time(yyjson_val *value, int64_t *slot, struct task_common *common, uint64_t bit)
{
    common->present |= bit;
    return task_time(unsafe_yyjson_get_raw(value), yyjson_get_len(value), slot);
}

static size_t binance(struct decoder *d, yyjson_val *root)
{
    struct task_common common = {0, 0, 0, 0};
    ew_record *records = d->records;
    size_t n = 0;
    bool good = true;
    yyjson_val *name = yyjson_obj_get(root, "e");
    if (!name) {
        yyjson_val *id = yyjson_obj_get(root, "subscriptionId");
        root = yyjson_obj_get(root, "event");
        name = yyjson_obj_get(root, "e");
        uint64_t number = 0;
        if (!name || !id || !task_u64(yyjson_get_raw(id), yyjson_get_len(id), &number) || number > UINT16_MAX)
            return TASK_FAILED;
        common.subscription_id = (uint16_t)number;
        common.present |= TASK_BIT(H, subscription_id);
    }
    const char *e = yyjson_get_str(name);
    const size_t e_n = yyjson_get_len(name);
    if (!e)
        return TASK_FAILED;
    if (TASK_IS(e, e_n, "executionReport")) {
        task_clear(&records[n], EW_ORDER);
        EACH(root, key, value, good &= put_execution_report(&records[n].order, key, key_n, value););
        n = 1;
    } else if (TASK_IS(e, e_n, "balanceUpdate")) {
        task_clear(&records[n], EW_BALANCE);
        EACH(root, key, value, good &= put_balance_update(&records[n].balance, key, key_n, value););
        n = 1;
    } else if (TASK_IS(e, e_n, "outboundAccountPosition")) {
        EACH(root, key, value,
            if (key_n == 1 && *key == 'E')
                good &= common_time(value, &common.event, &common, TASK_BIT(H, ts_event));
            else if (key_n == 1 && *key == 'u')
                good &= common_time(value, &common.transact, &common, TASK_BIT(H, ts_transact));
            else if (key_n == 1 && *key == 'B')
                ROWS(value, row, {
                    task_clear(&records[n], EW_BALANCE);
                    EACH(row, field, of, good &= put_account_position(&records[n].balance, field, field_n, of););
                });
        );
    } else if (TASK_IS(e, e_n, "ORDER_TRADE_UPDATE")) {
        EACH(root, key, value,
            if (key_n == 1 && *key == 'E')
                good &= common_time(value, &common.event, &common, TASK_BIT(H, ts_event));
            else if (key_n == 1 && *key == 'T')
                good &= common_time(value, &common.transact, &common, TASK_BIT(H, ts_transact));
            else if (key_n == 1 && *key == 'o') {
                task_clear(&records[0], EW_ORDER);
                EACH(value, field, of, good &= put_order_trade_update(&records[0].order, field, field_n, of););
                n = 1;
            }
        );
    } else if (TASK_IS(e, e_n, "ACCOUNT_UPDATE")) {
        yyjson_val *reason = NULL;
        EACH(root, key, value,
            if (key_n == 1 && *key == 'E')
                good &= common_time(value, &common.event, &common, TASK_BIT(H, ts_event));
            else if (key_n == 1 && *key == 'T')
                good &= common_time(value, &common.transact, &common, TASK_BIT(H, ts_transact));
            else if (key_n == 1 && *key == 'a')
                EACH(value, part, of,
                    if (part_n == 1 && *part == 'B')
                        ROWS(of, row, {
                            task_clear(&records[n], EW_BALANCE);
                            EACH(row, field, it, good &= put_account_balance(&records[n].balance, field, field_n, it););
                        });
                    else if (part_n == 1 && *part == 'P')
                        ROWS(of, row, {
                            task_clear(&records[n], EW_POSITION);
                            EACH(row, field, it,
                                 good &= put_account_position_row(&records[n].position, field, field_n, it););
                        });
                    else if (part_n == 1 && *part == 'm')
                        reason = of;
                );
        );
        for (size_t i = 0; reason && i < n; i++)
            if (records[i].h.kind == EW_BALANCE)
                good &= store_TEXT(text_span(reason), &records[i].balance.reason, &records[i].h,
                                   TASK_BIT(BALANCE, reason));
    } else {
        return TASK_FAILED;
    }
    task_finish(records, n, &common);
    return good ? n : TASK_FAILED;
}

static size_t bitget(struct decoder *d, yyjson_val *root)
{
    struct task_common common = {0, 0, 0, 0};
    size_t n = 0;
    bool good = true;
    yyjson_val *channel = yyjson_obj_get(yyjson_obj_get(root, "arg"), "channel"), *ts = yyjson_obj_get(root, "ts");
    if (!channel || !yyjson_equals_str(channel, "orders"))
        return TASK_FAILED;
    if (ts)
        good &= common_time(ts, &common.event, &common, TASK_BIT(H, ts_event));
    ROWS(yyjson_obj_get(root, "data"), row, {
        task_clear(&d->records[n], EW_ORDER);
        EACH(row, key, value, good &= put_bitget_order(&d->records[n].order, key, key_n, value););
    });
    task_finish(d->records, n, &common);
    return good ? n : TASK_FAILED;
}

static size_t decode(void *decoder, const uint8_t *message, size_t n)
{
    struct decoder *d = decoder;
    const yyjson_read_flag flags = YYJSON_READ_INSITU | YYJSON_READ_NUMBER_AS_RAW;
    if (n + TASK_PADDING > d->room) {
        free(d->copy);
        free(d->pool);
        d->room = 2 * n + TASK_PADDING;
        d->pool_room = yyjson_read_max_memory_usage(d->room, flags) + TASK_PADDING;
        d->copy = malloc(d->room);
        d->pool = malloc(d->pool_room);
        if (!d->copy || !d->pool)
            return TASK_FAILED;
    }
    yyjson_alc pool;
    yyjson_alc_pool_init(&pool, d->pool, d->pool_room);
    memcpy(d->copy, message, n);
    memset(d->copy + n, 0, YYJSON_PADDING_SIZE);
    yyjson_read_err error;
    yyjson_doc *doc = yyjson_read_opts((char *)d->copy, n, flags, &pool, &error);
    yyjson_val *root = yyjson_doc_get_root(doc);
    if (!root)
        return TASK_FAILED;
    return d->is_bitget ? bitget(d, root) : binance(d, root);
}

static const ew_record *get(void *decoder, size_t i) { return &((struct decoder *)decoder)->records[i]; }

const struct task_contender contender = {version, prepare, open_decoder, decode, get, close_decoder};
