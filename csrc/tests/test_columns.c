/* Records to columns and back: what the columns hold is what the records held, cell by cell. */
#include "check.h"
#include "files.h"

#include <dirent.h>
#include <math.h>

__extension__ typedef __int128 i128;

static const uint8_t *cell_text(const ew_batch *b, const ew_column *col, size_t row, size_t *n)
{
    uint64_t cell = ((const uint64_t *)col->values)[row];
    *n = cell >> 32;
    return b->heap + (uint32_t)cell;
}

static bool has_value(const ew_column *col, size_t row)
{
    return col->values && (!col->valid || (col->valid[row / 64] >> row % 64 & 1));
}

/* Texts that were cut are only compared as far as the slots go; test_long_texts knows the rest. */
static bool same_text(const uint8_t *s, size_t n, const char *slot, size_t len, bool cut)
{
    return (cut ? n >= len : n == len) && memcmp(s, slot, len) == 0;
}

/* Null, or the field that differs. */
static const char *compare_row(const ew_columns *c, const ew_batch *b, size_t row, const ew_record *r)
{
    size_t n_fields;
    const ew_field *fields = ew_fields(r->h.kind, &n_fields);
    if (b->kind != r->h.kind || b->flags[row] != r->h.flags ||
        b->events[row] != ((uint32_t)r->h.venue << 16 | r->h.event))
        return "header";
    for (size_t f = 0; f < n_fields; f++) {
        const ew_column *col = &b->columns[f];
        const char *at = (const char *)r + fields[f].offset;
        const bool present = r->h.present >> f & 1, cut = (r->h.flags & EW_LONG_TEXT) != 0;
        bool same = present == has_value(col, row);
        size_t n = 0;
        const uint8_t *s;
        ew_dec d;
        ew_id id;
        switch ((ew_type)fields[f].type) {
        case EW_TYPE_DEC:
            memcpy(&d, at, sizeof d);
            if (present && d.state != EW_DEC_VALUE) {
                same = !has_value(col, row);
            } else if (present && same) {
                uint64_t lo = ((const uint64_t *)col->values)[row];
                ew_tail t = col->tails ? col->tails[row] : col->tail;
                if (!col->tails)
                    t.hi = (int64_t)lo < 0 ? -1 : 0;
                same = lo == d.lo && t.hi == d.hi && t.exponent == d.exponent && t.flags == d.flags;
            }
            break;
        case EW_TYPE_TIME: same = same && (!present || memcmp((char *)col->values + 8 * row, at, 8) == 0); break;
        case EW_TYPE_U16: same = same && (!present || memcmp((char *)col->values + 2 * row, at, 2) == 0); break;
        case EW_TYPE_BOOL:
        case EW_TYPE_ENUM: same = same && (!present || ((char *)col->values)[row] == *at); break;
        case EW_TYPE_ID:
            memcpy(&id, at, sizeof id);
            if (present && id.len == 0) {
                same = !has_value(col, row);
            } else if (present && same) {
                bool number = col->numeric && (col->numeric[row / 64] >> row % 64 & 1);
                s = cell_text(b, col, row, &n);
                same = number == id.is_number && (number ? ((uint64_t *)col->values)[row] == id.number
                                                         : same_text(s, n, id.s, id.len, cut));
            }
            break;
        case EW_TYPE_TEXT:
            if (present && at[fields[f].size - 1] == 0) {
                same = !has_value(col, row);
            } else if (present && same) {
                if (fields[f].size == sizeof(ew_text128))
                    s = cell_text(b, col, row, &n);
                else
                    s = (const uint8_t *)ew_columns_text(c, r->h.kind, (unsigned)f, ((uint32_t *)col->values)[row], &n);
                same = s && same_text(s, n, at, (uint8_t)at[fields[f].size - 1], cut);
            }
            break;
        }
        if (!same)
            return fields[f].name;
    }
    return NULL;
}

/* All payloads of all venues, several times, through batches of `rows` rows. */
static void test_payloads(size_t rows)
{
    enum { MOST = 1 << 16 };
    ew_columns *c = ew_columns_new(rows);
    ew_record *kept = malloc(MOST * sizeof *kept);
    size_t n_kept = 0, n_rows = 0;
    ew_dialect *dialects[VENUES];
    for (unsigned v = 0; v < VENUES; v++) {
        char path[1024];
        dialects[v] = venue_dialect(v);
        ew_decoder *k = ew_decoder_new(dialects[v]), *closer = ew_decoder_new(dialects[v]);
        for (int round = 0; round < 5; round++) {
            struct dirent *entry;
            snprintf(path, sizeof path, "../tests/payloads/%s", venue_names[v]);
            DIR *folder = opendir(path);
            while (folder && (entry = readdir(folder))) {
                if (entry->d_name[0] == '.' || strstr(entry->d_name, ".records."))
                    continue;
                snprintf(path, sizeof path, "../tests/payloads/%s/%s", venue_names[v], entry->d_name);
                file f = file_read(path);
                size_t n = 0;
                if (ew_decode(k, f.s, f.n, round, &n) == EW_OK && n_kept + n <= MOST) {
                    for (size_t i = 0; i < n; i++) {
                        memset(&kept[n_kept], 0, sizeof *kept);
                        memcpy(&kept[n_kept++], ew_get(k, i), ew_kind_size(ew_get(k, i)->h.kind));
                    }
                    CHECK(ew_columns_append(c, k, n, closer, f.s, f.n) == EW_OK);
                }
                free(f.s);
            }
            if (folder)
                closedir(folder);
        }
        ew_decoder_free(k);
        ew_decoder_free(closer);
    }
    size_t next[EW_KINDS] = {0}; /* the record that a kind's next row must hold */
    for (ew_batch *b; (b = ew_columns_take(c, 1)); ew_batch_free(b)) {
        CHECK(b->n && b->n <= rows);
        for (size_t row = 0; row < b->n; row++, n_rows++) {
            size_t *i = &next[b->kind];
            while (*i < n_kept && kept[*i].h.kind != b->kind)
                ++*i;
            if (!CHECK(*i < n_kept))
                break;
            const char *different = compare_row(c, b, row, &kept[(*i)++]);
            if (!CHECK(!different) && check_failures < 50)
                fprintf(stderr, "    %s, row %zu of a batch of kind %u\n", different, row, b->kind);
        }
    }
    CHECK(n_kept > 500);
    CHECK_INT(n_rows, n_kept);
    for (unsigned v = 0; v < VENUES; v++)
        ew_dialect_free(dialects[v]);
    free(kept);
    ew_columns_free(c);
}

#define SPOT 1

typedef struct rig {
    ew_dialect *d;
    ew_decoder *k, *closer;
    ew_columns *c;
    ew_lines *l;
} rig;

static rig set_up(size_t rows, int stamped)
{
    rig x = {.d = venue_dialect(SPOT)};
    x.k = ew_decoder_new(x.d);
    x.closer = ew_decoder_new(x.d);
    x.c = ew_columns_new(rows);
    x.l = ew_lines_new(stamped);
    return x;
}

static void tear_down(rig *x)
{
    ew_lines_free(x->l);
    ew_columns_free(x->c);
    ew_decoder_free(x->k);
    ew_decoder_free(x->closer);
    ew_dialect_free(x->d);
}

static void put(rig *x, const char *text)
{
    size_t n = strlen(text);
    memcpy(ew_lines_room(x->l, n), text, n);
    ew_lines_filled(x->l, n, 1);
}

static unsigned bit_of(unsigned kind, const char *name)
{
    size_t n;
    return (unsigned)(ew_find_field(kind, name, strlen(name)) - ew_fields(kind, &n));
}

static void test_feed(void)
{
    rig x = set_up(1000, 1);
    ew_span span;
    put(&x, "1795000000 {\"e\":\"balanceUpdate\",\"a\":\"BTC\",\"d\":\"1.5\"}\n"
            "oops\n"
            "1795000001 {\"execwire\":\"connected\"}\n"
            "{\"e\":\"balanceUpdate\",\"a\":\"\",\"d\":\"-2.25\"}\n"
            "b'\\x1f\\x8b'\n"
            "1795000002 {\"e\":\"balanceUpdate\",\"a\":\"BTC\",\"d\":null}");
    CHECK_INT(ew_columns_feed(x.c, x.k, x.closer, x.l, &span), EW_FED_ERROR);
    CHECK_INT(span.line, 2);
    CHECK(ew_last_error(x.k)->status == EW_ERR_SYNTAX);
    CHECK_INT(ew_columns_feed(x.c, x.k, x.closer, x.l, &span), EW_FED_OTHER);
    CHECK_INT(span.line, 3);
    CHECK_INT(ew_columns_feed(x.c, x.k, x.closer, x.l, &span), EW_FED_OTHER);
    CHECK_INT(span.line, 5);
    CHECK_INT(ew_columns_feed(x.c, x.k, x.closer, x.l, &span), EW_FED_ALL);
    CHECK(!ew_columns_take(x.c, 0));
    ew_batch *b = ew_columns_take(x.c, 1);
    if (CHECK(b != NULL)) {
        CHECK_INT(b->n, 3);
        const ew_column *delta = &b->columns[bit_of(EW_BALANCE, "delta")];
        const ew_column *asset = &b->columns[bit_of(EW_BALANCE, "asset")];
        const ew_column *ts = &b->columns[bit_of(EW_BALANCE, "ts_recv")];
        double values[3];
        uint64_t wide[6];
        CHECK_INT(delta->n_valid, 2);
        CHECK_INT(asset->n_valid, 2);
        CHECK_INT(ts->valid[0], 5);
        CHECK_INT(((int64_t *)ts->values)[2], INT64_C(1795000002000000000));
        CHECK_INT(ew_column_scale(delta, 3, 0), 2);
        ew_column_double(delta, 3, values);
        CHECK(values[0] == 1.5 && values[1] == -2.25 && isnan(values[2]));
        CHECK_INT(ew_column_int128(delta, 3, 4, wide), 3);
        CHECK(wide[0] == 15000 && wide[1] == 0 && (int64_t)wide[2] == -22500 && wide[3] == UINT64_MAX && wide[4] == 0);
        CHECK_INT(ew_column_int128(delta, 3, 1, wide), 1); /* -2.25 does not fit */
        CHECK(!b->columns[bit_of(EW_BALANCE, "free")].values);
    }
    ew_batch_free(b);
    CHECK(!ew_columns_take(x.c, 1));
    tear_down(&x);
}

static void test_long_texts(void)
{
    rig x = set_up(8, 0);
    ew_span span;
    char line[4096], id[1000] = "", want[1000] = "";
    for (int i = 0; i < 100; i++) {
        strcat(id, "\\u20acx\\\"");
        strcat(want, "\xe2\x82\xacx\"");
    }
    snprintf(line, sizeof line, "{\"e\":\"executionReport\",\"i\":7,\"s\":\"AVERYVERYLONGSYMBOLTHATHASNOPLACEINITSSLOT\",\"c\":\"%s\","
             "\"r\":\"%s\"}\n", id, id);
    for (int i = 0; i < 3; i++) {
        put(&x, line);
        CHECK_INT(ew_columns_feed(x.c, x.k, x.closer, x.l, &span), EW_FED_ALL);
    }
    put(&x, "{\"e\":\"executionReport\",\"s\":\"A\",\"c\":\"short\"}\n");
    CHECK_INT(ew_columns_feed(x.c, x.k, x.closer, x.l, &span), EW_FED_ALL);
    ew_batch *b = ew_columns_take(x.c, 1);
    if (CHECK(b && b->n == 4)) {
        const ew_column *client = &b->columns[bit_of(EW_ORDER, "client_order_id")];
        const ew_column *order = &b->columns[bit_of(EW_ORDER, "order_id")];
        const unsigned symbol = bit_of(EW_ORDER, "symbol"), reason = bit_of(EW_ORDER, "reject_reason");
        const uint32_t *codes = b->columns[symbol].values;
        int32_t offsets[5];
        size_t n;
        const char *s;
        uint8_t *out = malloc(ew_column_text_room(client, 4));
        ew_column_text(client, b->heap, 4, offsets, out);
        for (int i = 0; i < 3; i++)
            CHECK_TEXT(out + offsets[i], (size_t)(offsets[i + 1] - offsets[i]), want);
        CHECK_TEXT(out + offsets[3], (size_t)(offsets[4] - offsets[3]), "short");
        free(out);
        s = ew_columns_text(x.c, EW_ORDER, symbol, codes[2], &n);
        CHECK(s);
        CHECK_TEXT(s, n, "AVERYVERYLONGSYMBOLTHATHASNOPLACEINITSSLOT");
        CHECK(codes[0] == codes[2] && codes[0] != codes[3]);
        s = ew_columns_text(x.c, EW_ORDER, reason, ((uint32_t *)b->columns[reason].values)[1], &n);
        CHECK(s);
        CHECK_TEXT(s, n, want);
        CHECK(!ew_columns_text(x.c, EW_ORDER, symbol, 2, &n));
        CHECK(order->numeric && order->numeric[0] == 7);
        out = malloc(ew_column_text_room(order, 4));
        ew_column_text(order, b->heap, 4, offsets, out);
        CHECK_TEXT(out, (size_t)offsets[4], "777");
        free(out);
    }
    ew_batch_free(b);
    tear_down(&x);
}

/* Decimals that change their shape within a batch. */
static void test_decimals(void)
{
    static const char *const texts[] = {"1.50", "-2.25", "0", "-0.00", "39614081257132168796771975167", "1e-20", "-7E+3",
                                        "0.000000000000000000000000001", "18446744073709551615", "9223372036854775808"};
    enum { N = sizeof texts / sizeof *texts };
    rig x = set_up(64, 0);
    ew_span span;
    char line[200];
    for (size_t first = 0; first < N; first++) { /* whatever comes first is what the others are compared with */
        for (size_t i = 0; i < N; i++) {
            snprintf(line, sizeof line, "{\"e\":\"balanceUpdate\",\"a\":\"X\",\"d\":\"%s\"}\n", texts[(first + i) % N]);
            put(&x, line);
            CHECK_INT(ew_columns_feed(x.c, x.k, x.closer, x.l, &span), EW_FED_ALL);
        }
        ew_batch *b = ew_columns_take(x.c, 1);
        if (!CHECK(b && b->n == N))
            break;
        const ew_column *delta = &b->columns[bit_of(EW_BALANCE, "delta")];
        double values[N];
        uint64_t wide[2 * N];
        ew_column_double(delta, N, values);
        for (size_t i = 0; i < N; i++) {
            double want = strtod(texts[(first + i) % N], NULL);
            CHECK_CASE(values[i] == want && !signbit(values[i]) == !signbit(want), texts[(first + i) % N]);
        }
        CHECK_INT(ew_column_scale(delta, N, 0), 27);
        CHECK(ew_column_int128(delta, N, 27, wide) < N); /* 29 digits and 27 places are too many */
        ew_batch_free(b);
    }
    tear_down(&x);
}

static void test_shapes(void)
{
    rig x = set_up(64, 0);
    ew_span span;
    size_t n;
    const char *a = "{\"e\":\"balanceUpdate\",\"a\":\"X\",\"d\":\"1\"}\n", *b = "{\"e\":\"balanceUpdate\",\"a\":\"X\"}\n";
    ew_stats before = *ew_decoder_stats(x.k);
    CHECK(ew_decode(x.k, (const uint8_t *)a, strlen(a), 0, &n) == EW_OK);
    CHECK(ew_columns_accept(x.c, ew_columns_shape(x.k, n, &before)) == 0);
    for (uint64_t i = 1; i < 500; i++)
        CHECK(ew_columns_accept(x.c, i * UINT64_C(0x9e3779b97f4a7c15)) == 0);
    put(&x, a);
    CHECK_INT(ew_columns_feed(x.c, x.k, x.closer, x.l, &span), EW_FED_ALL);
    put(&x, b);
    CHECK_INT(ew_columns_feed(x.c, x.k, x.closer, x.l, &span), EW_FED_UNSURE);
    CHECK_INT(span.line, 2);
    ew_batch *batch = ew_columns_take(x.c, 1);
    CHECK(batch && batch->n == 1);
    ew_batch_free(batch);
    tear_down(&x);
}

/* The first price of a batch, how many of its rows have none, and whether those are zeros. */
static uint64_t look_at(const ew_batch *b, size_t *nulls, bool *zeros)
{
    const ew_column *col = &b->columns[bit_of(EW_BALANCE, "delta")];
    const uint64_t *values = col->values;
    uint64_t first = 0;
    *nulls = 0;
    *zeros = true;
    for (size_t i = 0; i < b->n; i++) {
        if (has_value(col, i)) {
            first = first ? first : values[i];
            continue;
        }
        ++*nulls;
        *zeros = *zeros && (!values || values[i] == 0);
    }
    return first;
}

/* Batches take the memory of those that were freed, never of those that were not; also after the columns are gone. */
static void test_memory(void)
{
    enum { ROWS = 20000, ROUNDS = 12 };
    rig x = set_up(ROWS, 0);
    ew_batch *held[ROUNDS] = {0};
    const void *places[ROUNDS];
    size_t again = 0;
    ew_span span;
    for (int round = 0; round < ROUNDS; round++) {
        for (int i = 0; i < ROWS; i++) {
            char text[128];
            /* Other rows lack the value each time. */
            snprintf(text, sizeof text, i % (round + 2) ? "{\"e\":\"balanceUpdate\",\"a\":\"A%d\",\"d\":\"%d\"}\n"
                                                        : "{\"e\":\"balanceUpdate\",\"a\":\"A%d\"}\n", i % 40, round + 1);
            put(&x, text);
            if (ew_columns_feed(x.c, x.k, x.closer, x.l, &span) != EW_FED_ALL)
                CHECK(!"a line was not taken");
        }
        held[round] = ew_columns_take(x.c, 1);
        if (!CHECK(held[round] && held[round]->n == ROWS))
            break;
        places[round] = held[round]->columns[bit_of(EW_BALANCE, "delta")].values;
        for (int i = 0; i < round; i++)
            again += places[i] == places[round];
        for (int i = 0; i <= round; i++) {
            size_t nulls;
            bool zeros;
            if (!held[i])
                continue;
            CHECK_INT(look_at(held[i], &nulls, &zeros), i + 1);
            CHECK_INT(nulls, (ROWS + i + 1) / (i + 2));
            CHECK(zeros);
        }
        if (round % 3 == 1) { /* every third is kept to the end */
            ew_batch_free(held[round]);
            ew_batch_free(held[round - 1]);
            held[round] = held[round - 1] = NULL;
        }
    }
    CHECK(again > 2);
    tear_down(&x);
    for (int round = 0; round < ROUNDS; round++) {
        size_t nulls;
        bool zeros;
        if (held[round])
            CHECK_INT(look_at(held[round], &nulls, &zeros), round + 1);
        ew_batch_free(held[round]);
    }
}

int main(void)
{
    test_payloads(1);
    test_payloads(63);
    test_payloads(100000);
    test_feed();
    test_long_texts();
    test_decimals();
    test_shapes();
    test_memory();
    return check_result();
}
