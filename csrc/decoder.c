/* Decoders: along a learned path if one leads through the payload, else by the parser, and what is learned from that. */
#include "decoder.h"

#include <stdlib.h>

/*==== MARK: Learning ====*/

/* A lesson costs as much as a few dozen messages without one, so it has to be earned: a message that no path leads
 * through earns 8, one whose path could have been shorter 1. The first lesson waits until it is likely that more of the
 * same will come. The price falls when something new was learned and rises when not, so that a stream that cannot be
 * learned (or has been) costs next to nothing. */
#define PRICE_FIRST 128
#define PRICE_MIN 32
#define PRICE_MAX 65536
#define EARNED 8

/* Learn from the message just decoded, if it held one event, whole and plain; true if it taught anything. */
static bool learn(ew_decoder *k)
{
    struct ew_lesson_row rows[EW_FOLLOWED];
    uint32_t n = 0;
    if (k->n_events != 1 || !k->known || k->sink.n > EW_FOLLOWED)
        return false;
    const ew_event *e = k->known;
    for (uint16_t i = 0; i < e->n_emits; i++) {
        if (EW_AT(k->dialect->emits, ew_emit, e->first_emit + i)->own)
            rows[n++] = (struct ew_lesson_row){k->last.event, (uint8_t)i};
        for (size_t r = 0; r < k->n_rows; r++)
            if (k->rows[r].emit == i + 1)
                rows[n++] = (struct ew_lesson_row){k->rows[r].token, (uint8_t)i};
    }
    const uint16_t number = (uint16_t)(e - EW_AT(k->dialect->events, ew_event, 0));
    return ew_learn(k->paths, &(ew_lesson){k->payload, k->n_payload, k->tape.tokens, k->tape.n, k->last.frame,
                                           k->last.event, number, rows, n});
}

#define MAX_HOMEWORK 16384 /* bytes of a payload; longer ones take their time anyway */

/* Whether what the payload teaches can wait for ew_study. */
static inline bool can_wait(const ew_decoder *k) { return k->homework && k->n_payload <= MAX_HOMEWORK; }

/* Let it wait, in place of a payload that still does. */
static void put_off(ew_decoder *k)
{
    memcpy(k->homework, k->payload, k->n_payload);
    k->n_homework = k->n_payload;
    k->credit = 0;
}

/* Decode with the general parser, and learn if that is worth it. */
static __attribute__((noinline)) void decode_anew(ew_decoder *k, bool worth)
{
    k->sink.n = k->n_events = 0;
    k->counts = (ew_stats){0};
    ew_parse(k);
    if (k->error.status) {
        k->sink.n = 0;
        k->stats.errors++;
        return;
    }
    k->stats.unknown_events += k->counts.unknown_events;
    k->stats.unknown_keys += k->counts.unknown_keys;
    k->stats.unknown_enums += k->counts.unknown_enums;
    k->stats.unrepresentable += k->counts.unrepresentable;
    if (!worth)
        return;
    k->credit = 0;
    k->price = learn(k) ? (k->price > 2 * PRICE_MIN ? k->price / 2 : PRICE_MIN)
                        : (k->price < PRICE_MAX / 2 ? k->price * 2 : PRICE_MAX);
}

/*==== MARK: Payloads ====*/

/* Decode along a learned path; false if none leads through the payload. */
static inline bool decode_along(ew_decoder *k)
{
    if (!k->along(k->paths, k->payload, k->n_payload, &k->sink))
        return false;
    const bool worth = k->sink.slow && ++k->credit >= k->price;
    if (worth && !can_wait(k)) {
        decode_anew(k, true);
        return true;
    }
    if (worth)
        put_off(k);
    k->stats.unknown_keys += k->sink.new_keys;
    return true;
}

/* Render a payload if it is an SBE frame: from then on it is the JSON of the same message. */
static bool render(ew_decoder *k)
{
    if (!ew_sbe_is(k->dialect, k->payload, k->n_payload))
        return false;
    if (ew_sbe_render(k->dialect, k->payload, k->n_payload, &k->rendering, &k->error)) {
        k->stats.errors++;
    } else {
        k->payload = k->rendering.bytes;
        k->n_payload = k->rendering.n;
        k->sink.padded = false;
    }
    return true;
}

/* Decode what no learned path leads through: as it is, or as the JSON that an SBE frame is rendered to. */
static __attribute__((noinline)) void decode_otherwise(ew_decoder *k)
{
    k->sink.n = 0;
    if (render(k) && (k->error.status || decode_along(k)))
        return;
    k->credit += EARNED;
    const bool worth = k->credit >= k->price, waits = worth && can_wait(k);
    decode_anew(k, worth && !waits);
    if (waits && !k->error.status)
        put_off(k);
}

static inline void take(ew_decoder *k, const uint8_t *payload, size_t n, int64_t ts_recv, bool padded)
{
    k->payload = payload;
    k->n_payload = n;
    k->sink.ts_recv = ts_recv;
    k->sink.padded = padded;
    k->stats.messages++;
    if (k->error.status)
        k->error = (ew_error){EW_OK, "", 0};
}

static inline ew_status give(ew_decoder *k, size_t *n_records)
{
    k->stats.records += *n_records = k->sink.n;
    return k->error.status;
}

ew_status ew_decode_padded(ew_decoder *k, const uint8_t *payload, size_t n, int64_t ts_recv, size_t *n_records)
{
    take(k, payload, n, ts_recv, true);
    if (!decode_along(k))
        decode_otherwise(k);
    return give(k, n_records);
}

ew_status ew_decode(ew_decoder *k, const uint8_t *payload, size_t n, int64_t ts_recv, size_t *n_records)
{
    take(k, payload, n, ts_recv, false);
    if (!decode_along(k))
        decode_otherwise(k);
    return give(k, n_records);
}

/* Decode with the general parser, whatever was learned. */
static ew_status decode_fully(ew_decoder *k, const uint8_t *payload, size_t n, bool worth, size_t *n_records)
{
    take(k, payload, n, 0, false);
    k->sink.n = 0;
    if (!render(k) || !k->error.status)
        decode_anew(k, worth);
    return give(k, n_records);
}

ew_status ew_train(ew_decoder *k, const uint8_t *payload, size_t n)
{
    size_t n_records;
    const uint32_t price = k->price;
    const ew_status status = decode_fully(k, payload, n, true, &n_records);
    k->price = price;
    return status;
}

void ew_defer(ew_decoder *k)
{
    if (!k->homework)
        k->homework = malloc(MAX_HOMEWORK); /* without, nothing waits */
}

int ew_study(ew_decoder *k)
{
    if (!k->n_homework)
        return 0;
    const ew_stats before = k->stats;
    k->payload = k->homework;
    k->n_payload = k->n_homework;
    k->n_homework = 0;
    decode_anew(k, true); /* it could be decoded before */
    k->stats = before;
    k->payload = NULL;
    k->n_payload = 0;
    k->sink.n = 0;
    return 1;
}

void ew_rehearse(ew_decoder *k)
{
    const struct ew_list *const samples = &k->dialect->samples;
    const ew_stats before = k->stats;
    size_t n_records;
    for (uint32_t i = 0; i < 2 * samples->n; i++) { /* what the first turn teaches, the second uses */
        const ew_word *x = EW_AT(*samples, ew_word, i % samples->n);
        const uint8_t *const s = (const uint8_t *)x->s;
        if (i < samples->n)
            ew_train(k, s, x->len);
        else
            ew_decode(k, s, x->len, 0, &n_records);
    }
    for (uint32_t i = 0; i < k->paths->n_graphs; i++)
        while (ew_foresee(k->paths, k->paths->graphs[i]))
            ;
    k->error = (ew_error){EW_OK, "", 0};
    k->stats = before;
    k->credit = 0;
    k->payload = NULL;
    k->n_payload = 0;
    k->sink.n = 0;
    memset(k->sink.records, 0, k->sink.cap * sizeof *k->sink.records);
}

ew_status ew_explain(ew_decoder *k, const uint8_t *payload, size_t n, size_t *n_records, const ew_token **tokens,
                     size_t *n_tokens)
{
    k->explaining = true;
    const ew_status status = decode_fully(k, payload, n, false, n_records);
    k->explaining = false;
    *tokens = k->tape.tokens;
    *n_tokens = status ? 0 : k->tape.n;
    return status;
}

/*==== MARK: Decoders ====*/

ew_decoder *ew_decoder_new(const ew_dialect *d)
{
    ew_decoder *k = calloc(1, sizeof *k);
    if (!k || !(k->tape.sights = calloc(d->names.n, sizeof *k->tape.sights)) || !(k->paths = ew_paths_new(d))) {
        ew_decoder_free(k);
        return NULL;
    }
    k->dialect = d;
    ew_sights_set(k->tape.sights, &d->known);
    k->tape.known = &d->known;
    k->price = PRICE_FIRST;
    k->along = ew_follow_for(NULL);
    k->error.message = "";
    /* The first message shall find what it needs; ew_room and the scan tell it if there is no memory. */
    k->sink.records = ew_room(k, NULL, 0, &k->sink.cap, sizeof *k->sink.records);
    k->rows = ew_room(k, NULL, 0, &k->cap_rows, sizeof *k->rows);
    ew_scan((const uint8_t *)"{}", 2, &k->tape, &k->error);
    return k;
}

void ew_decoder_free(ew_decoder *k)
{
    if (!k)
        return;
    ew_tape_free(&k->tape);
    free(k->tape.sights);
    free(k->sink.records);
    free(k->rows);
    free(k->scratch);
    free(k->rendering.bytes);
    free(k->homework);
    free(k->origins);
    ew_paths_free(k->paths);
    free(k);
}

ew_status ew_decoder_use(ew_decoder *k, const char *set)
{
    ew_follow *along = ew_follow_for(set);
    if (!along)
        return EW_ERR_LIMIT;
    k->along = along;
    return EW_OK;
}

const ew_stats *ew_decoder_stats(const ew_decoder *k) { return &k->stats; }
const ew_error *ew_last_error(const ew_decoder *k) { return &k->error; }
const ew_record *ew_get(const ew_decoder *k, size_t i) { return &k->sink.records[i]; }
const ew_origin *ew_get_origin(const ew_decoder *k, size_t i) { return &k->origins[i]; }

const uint8_t *ew_payload(const ew_decoder *k, size_t *n)
{
    *n = k->n_payload;
    return k->payload;
}
