/* simdjson On-Demand: objects are walked once, and of every value only what the field needs is looked at. Numbers and
 * words are read from the message as they stand; only texts are copied, for their escapes. */
#include "task.h"

#include <simdjson.h>

using namespace simdjson;

typedef ondemand::value &VALUE;
typedef ondemand::parser PARSER;

static inline task_span raw_span(ondemand::value &v)
{
    std::string_view token = v.raw_json_token();
    size_t n = token.size();
    const char *s = token.data();
    while (n && (uint8_t)s[n - 1] <= ' ')
        n--;
    if (*s == '"')
        return n >= 2 && s[n - 1] == '"' ? task_span{s + 1, n - 2, TASK_STRING} : task_span{s, n, TASK_OTHER};
    if (TASK_IS(s, n, "true"))
        return {s, n, TASK_TRUE};
    if (TASK_IS(s, n, "false"))
        return {s, n, TASK_FALSE};
    if (TASK_IS(s, n, "null"))
        return {s, n, TASK_NULL};
    return {s, n, *s == '{' || *s == '[' ? TASK_OTHER : TASK_NUMBER};
}

static inline task_span text_span(ondemand::value &v)
{
    std::string_view text;
    if (*v.raw_json_token().data() != '"')
        return raw_span(v);
    if (v.get_string().get(text))
        return {nullptr, 0, TASK_OTHER};
    return {text.data(), text.size(), TASK_STRING};
}

#include "simdjson_task.h"

namespace {

/* Up to the quote; a key with escapes is none that anybody looks for. */
inline size_t key_size(const char *key)
{
#ifdef __SSE2__
    for (size_t n = 0;; n += 16) {
        const __m128i text = _mm_loadu_si128((const __m128i *)(const void *)(key + n));
        const int quotes = _mm_movemask_epi8(_mm_cmpeq_epi8(text, _mm_set1_epi8('"')));
        if (quotes)
            return n + (size_t)__builtin_ctz((unsigned)quotes);
    }
#else
    return (size_t)((const char *)rawmemchr(key, '"') - key);
#endif
}

template <typename Body> inline void each(ondemand::object object, Body body)
{
    for (auto member : object) {
        ondemand::field field;
        need(!std::move(member).get(field));
        const char *key = field.key().raw();
        ondemand::value value = field.value();
        body(key, key_size(key), value);
    }
}

template <typename Body> inline size_t rows(ondemand::value &array, size_t n, Body body)
{
    for (auto element : array.get_array()) {
        need(n < TASK_RECORDS);
        body(n++, element.get_object().value());
    }
    return n;
}

enum name { EXECUTION_REPORT_EVENT, BALANCE_EVENT, POSITION_EVENT, ORDER_EVENT, ACCOUNT_EVENT };

name name_of(ondemand::value &value)
{
    const task_span e = raw_span(value);
    if (TASK_IS(e.s, e.n, "executionReport"))
        return EXECUTION_REPORT_EVENT;
    if (TASK_IS(e.s, e.n, "ORDER_TRADE_UPDATE"))
        return ORDER_EVENT;
    if (TASK_IS(e.s, e.n, "ACCOUNT_UPDATE"))
        return ACCOUNT_EVENT;
    if (TASK_IS(e.s, e.n, "outboundAccountPosition"))
        return POSITION_EVENT;
    need(TASK_IS(e.s, e.n, "balanceUpdate"));
    return BALANCE_EVENT;
}

size_t account_update(decoder *d, ondemand::object object)
{
    size_t n = 0;
    ew_balance reason;
    task_clear((ew_record *)&reason, EW_BALANCE);
    each(object, [&](const char *part, size_t part_n, ondemand::value &of) {
        if (part_n != 1)
            return;
        if (*part == 'B')
            n = rows(of, n, [&](size_t i, ondemand::object row) {
                task_clear(&d->records[i], EW_BALANCE);
                each(row, [&](const char *key, size_t key_n, ondemand::value &value) {
                    need(put_account_balance(&d->records[i].balance, key, key_n, value));
                });
            });
        else if (*part == 'P')
            n = rows(of, n, [&](size_t i, ondemand::object row) {
                task_clear(&d->records[i], EW_POSITION);
                each(row, [&](const char *key, size_t key_n, ondemand::value &value) {
                    need(put_account_position_row(&d->records[i].position, key, key_n, value));
                });
            });
        else if (*part == 'm')
            need(store_TEXT(text_span(of), &reason.reason, &reason.h, TASK_BIT(BALANCE, reason)));
    });
    for (size_t i = 0; i < n; i++)
        if (d->records[i].h.kind == EW_BALANCE) {
            d->records[i].balance.reason = reason.reason;
            d->records[i].h.present |= reason.h.present;
        }
    return n;
}

/* The members of an event whose name is known. */
size_t event(decoder *d, ondemand::object object, name name, task_common *common)
{
    size_t n = 0;
    switch (name) {
    case EXECUTION_REPORT_EVENT:
        task_clear(&d->records[0], EW_ORDER);
        each(object, [&](const char *key, size_t key_n, ondemand::value &value) {
            need(put_execution_report(&d->records[0].order, key, key_n, value));
        });
        return 1;
    case BALANCE_EVENT:
        task_clear(&d->records[0], EW_BALANCE);
        each(object, [&](const char *key, size_t key_n, ondemand::value &value) {
            need(put_balance_update(&d->records[0].balance, key, key_n, value));
        });
        return 1;
    default: break;
    }
    each(object, [&](const char *key, size_t key_n, ondemand::value &value) {
        if (key_n != 1)
            return;
        switch (*key) {
        case 'E': common_time(value, &common->event, common, TASK_BIT(H, ts_event)); break;
        case 'T':
        case 'u':
            if ((*key == 'u') == (name == POSITION_EVENT))
                common_time(value, &common->transact, common, TASK_BIT(H, ts_transact));
            break;
        case 'B':
            if (name == POSITION_EVENT)
                n = rows(value, n, [&](size_t i, ondemand::object row) {
                    task_clear(&d->records[i], EW_BALANCE);
                    each(row, [&](const char *field, size_t field_n, ondemand::value &of) {
                        need(put_account_position(&d->records[i].balance, field, field_n, of));
                    });
                });
            break;
        case 'a':
            if (name == ACCOUNT_EVENT)
                n = account_update(d, value.get_object());
            break;
        case 'o':
            if (name == ORDER_EVENT) {
                task_clear(&d->records[0], EW_ORDER);
                each(value.get_object(), [&](const char *field, size_t field_n, ondemand::value &of) {
                    need(put_order_trade_update(&d->records[0].order, field, field_n, of));
                });
                n = 1;
            }
            break;
        default: break;
        }
    });
    return n;
}

/* Finds the name, which comes first as a rule, then begins again. */
size_t named(decoder *d, ondemand::object object, task_common *common)
{
    ondemand::value value = object.find_field_unordered("e");
    const name name = name_of(value);
    object.reset();
    return event(d, object, name, common);
}

size_t binance(decoder *d, ondemand::object root)
{
    task_common common = {};
    size_t n = 0;
    bool wrapped = false;
    for (auto member : root) {
        ondemand::field field;
        need(!std::move(member).get(field));
        const char *key = field.key().raw();
        const size_t key_n = key_size(key);
        if (TASK_IS(key, key_n, "subscriptionId")) {
            uint64_t id = 0;
            const task_span span = raw_span(field.value());
            need(task_u64(span.s, span.n, &id) && id <= UINT16_MAX);
            common.subscription_id = (uint16_t)id;
            common.present |= TASK_BIT(H, subscription_id);
            wrapped = true;
        } else if (TASK_IS(key, key_n, "event")) {
            n = named(d, field.value().get_object(), &common);
            wrapped = true;
        } else if (!wrapped) {
            break;
        }
    }
    if (!wrapped) {
        root.reset();
        n = named(d, root, &common);
    }
    task_finish(d->records, n, &common);
    return n;
}

size_t bitget(decoder *d, ondemand::object root)
{
    task_common common = {};
    size_t n = 0;
    bool orders = false;
    each(root, [&](const char *key, size_t key_n, ondemand::value &value) {
        if (TASK_IS(key, key_n, "arg"))
            each(value.get_object(), [&](const char *word, size_t word_n, ondemand::value &of) {
                if (TASK_IS(word, word_n, "channel")) {
                    const task_span channel = raw_span(of);
                    orders = TASK_IS(channel.s, channel.n, "orders");
                }
            });
        else if (TASK_IS(key, key_n, "ts"))
            common_time(value, &common.event, &common, TASK_BIT(H, ts_event));
        else if (TASK_IS(key, key_n, "data"))
            n = rows(value, n, [&](size_t i, ondemand::object row) {
                task_clear(&d->records[i], EW_ORDER);
                each(row, [&](const char *field, size_t field_n, ondemand::value &of) {
                    need(put_bitget_order(&d->records[i].order, field, field_n, of));
                });
            });
    });
    need(orders);
    task_finish(d->records, n, &common);
    return n;
}

const char *version()
{
    static const std::string text =
        std::string(SIMDJSON_STRINGIFY(SIMDJSON_VERSION)) + " (" + SIMDJSON_STRINGIFY(SIMDJSON_BUILTIN_IMPLEMENTATION) + ")";
    return text.c_str();
}

size_t decode(void *state, const uint8_t *message, size_t n)
{
    decoder *d = (decoder *)state;
    try {
        ondemand::document document = d->parser.iterate((const char *)message, n, n + SIMDJSON_PADDING);
        ondemand::object root = document.get_object();
        return d->is_bitget ? bitget(d, root) : binance(d, root);
    } catch (const simdjson_error &) {
    } catch (const bad &) {
    }
    return TASK_FAILED;
}

} // namespace

extern "C" const task_contender contender = {version, prepare, open_decoder, decode, get, close_decoder};
