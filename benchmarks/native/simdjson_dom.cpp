/* simdjson DOM: the whole message is parsed, then every object is walked once. It has converted bare numbers by then:
 * integers are exact, of others the digits are lost, so their shortest text stands in (which is checked like the rest). */
#include "task.h"

#include <charconv>
#include <simdjson.h>

using namespace simdjson;

typedef const dom::element &VALUE;
typedef dom::parser PARSER;

static inline task_span text_span(const dom::element &v)
{
    thread_local char number[TASK_PADDING];
    switch (v.type()) {
    case dom::element_type::STRING: {
        std::string_view text = v.get_string().value_unsafe();
        return {text.data(), text.size(), TASK_STRING};
    }
    case dom::element_type::INT64: {
        const auto end = std::to_chars(number, number + 32, v.get_int64().value_unsafe());
        return {number, (size_t)(end.ptr - number), TASK_NUMBER};
    }
    case dom::element_type::UINT64: {
        const auto end = std::to_chars(number, number + 32, v.get_uint64().value_unsafe());
        return {number, (size_t)(end.ptr - number), TASK_NUMBER};
    }
    case dom::element_type::DOUBLE: {
        const auto end = std::to_chars(number, number + 32, v.get_double().value_unsafe());
        return {number, (size_t)(end.ptr - number), TASK_NUMBER};
    }
    case dom::element_type::BOOL: return {nullptr, 0, v.get_bool().value_unsafe() ? TASK_TRUE : TASK_FALSE};
    case dom::element_type::NULL_VALUE: return {nullptr, 0, TASK_NULL};
    default: return {nullptr, 0, TASK_OTHER};
    }
}

#define raw_span text_span
#include "simdjson_task.h"

namespace {

template <typename Body> inline void each(dom::object object, Body body)
{
    for (dom::key_value_pair member : object)
        body(member.key.data(), member.key.size(), member.value);
}

template <typename Body> inline size_t rows(dom::element array, size_t n, Body body)
{
    for (dom::element element : array.get_array()) {
        need(n < TASK_RECORDS);
        body(n++, element.get_object().value());
    }
    return n;
}

size_t binance(decoder *d, dom::object root)
{
    task_common common = {};
    size_t n = 0;
    dom::element name;
    if (root["e"].get(name)) {
        const task_span id = text_span(root["subscriptionId"]);
        uint64_t number = 0;
        need(task_u64(id.s, id.n, &number) && number <= UINT16_MAX);
        common.subscription_id = (uint16_t)number;
        common.present |= TASK_BIT(H, subscription_id);
        root = root["event"].get_object();
        name = root["e"];
    }
    const task_span e = text_span(name);
    if (TASK_IS(e.s, e.n, "executionReport")) {
        task_clear(&d->records[0], EW_ORDER);
        each(root, [&](const char *key, size_t key_n, dom::element value) {
            need(put_execution_report(&d->records[0].order, key, key_n, value));
        });
        n = 1;
    } else if (TASK_IS(e.s, e.n, "balanceUpdate")) {
        task_clear(&d->records[0], EW_BALANCE);
        each(root, [&](const char *key, size_t key_n, dom::element value) {
            need(put_balance_update(&d->records[0].balance, key, key_n, value));
        });
        n = 1;
    } else {
        const bool position = TASK_IS(e.s, e.n, "outboundAccountPosition");
        const bool order = TASK_IS(e.s, e.n, "ORDER_TRADE_UPDATE");
        const bool account = TASK_IS(e.s, e.n, "ACCOUNT_UPDATE");
        need(position || order || account);
        dom::element reason = name;
        bool has_reason = false;
        each(root, [&](const char *key, size_t key_n, dom::element value) {
            if (key_n != 1)
                return;
            if (*key == 'E') {
                common_time(value, &common.event, &common, TASK_BIT(H, ts_event));
            } else if (*key == (position ? 'u' : 'T')) {
                common_time(value, &common.transact, &common, TASK_BIT(H, ts_transact));
            } else if (*key == 'B' && position) {
                n = rows(value, n, [&](size_t i, dom::object row) {
                    task_clear(&d->records[i], EW_BALANCE);
                    each(row, [&](const char *field, size_t field_n, dom::element of) {
                        need(put_account_position(&d->records[i].balance, field, field_n, of));
                    });
                });
            } else if (*key == 'o' && order) {
                task_clear(&d->records[0], EW_ORDER);
                each(value.get_object(), [&](const char *field, size_t field_n, dom::element of) {
                    need(put_order_trade_update(&d->records[0].order, field, field_n, of));
                });
                n = 1;
            } else if (*key == 'a' && account) {
                each(value.get_object(), [&](const char *part, size_t part_n, dom::element of) {
                    if (part_n == 1 && *part == 'B') {
                        n = rows(of, n, [&](size_t i, dom::object row) {
                            task_clear(&d->records[i], EW_BALANCE);
                            each(row, [&](const char *field, size_t field_n, dom::element it) {
                                need(put_account_balance(&d->records[i].balance, field, field_n, it));
                            });
                        });
                    } else if (part_n == 1 && *part == 'P') {
                        n = rows(of, n, [&](size_t i, dom::object row) {
                            task_clear(&d->records[i], EW_POSITION);
                            each(row, [&](const char *field, size_t field_n, dom::element it) {
                                need(put_account_position_row(&d->records[i].position, field, field_n, it));
                            });
                        });
                    } else if (part_n == 1 && *part == 'm') {
                        reason = of;
                        has_reason = true;
                    }
                });
            }
        });
        for (size_t i = 0; has_reason && i < n; i++)
            if (d->records[i].h.kind == EW_BALANCE)
                need(store_TEXT(text_span(reason), &d->records[i].balance.reason, &d->records[i].h,
                                TASK_BIT(BALANCE, reason)));
    }
    task_finish(d->records, n, &common);
    return n;
}

size_t bitget(decoder *d, dom::object root)
{
    task_common common = {};
    const task_span channel = text_span(root["arg"]["channel"]);
    need(TASK_IS(channel.s, channel.n, "orders"));
    dom::element ts;
    if (!root["ts"].get(ts))
        common_time(ts, &common.event, &common, TASK_BIT(H, ts_event));
    const size_t n = rows(root["data"], 0, [&](size_t i, dom::object row) {
        task_clear(&d->records[i], EW_ORDER);
        each(row, [&](const char *field, size_t field_n, dom::element of) {
            need(put_bitget_order(&d->records[i].order, field, field_n, of));
        });
    });
    task_finish(d->records, n, &common);
    return n;
}

const char *version()
{
    static const std::string text = std::string(SIMDJSON_STRINGIFY(SIMDJSON_VERSION)) + " (" +
                                    get_active_implementation()->name() + ")";
    return text.c_str();
}

size_t decode(void *state, const uint8_t *message, size_t n)
{
    decoder *d = (decoder *)state;
    try {
        dom::object root = d->parser.parse((const char *)message, n, false).get_object();
        return d->is_bitget ? bitget(d, root) : binance(d, root);
    } catch (const simdjson_error &) {
    } catch (const bad &) {
    }
    return TASK_FAILED;
}

} // namespace

extern "C" const task_contender contender = {version, prepare, open_decoder, decode, get, close_decoder};
