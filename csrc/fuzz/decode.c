/* Payloads: the first byte picks a venue, the rest is the payload. Decoders that differ only in what they have seen
 * before must agree about it: one that explains, which never takes a learned path; one that was trained on the
 * venue's real events; one that lives long and has seen every input; and one that learns this very payload and then
 * gets variants of it, which is how payloads come in life. */
#define _DEFAULT_SOURCE /* scandir */
#include "../tests/compare.h"
#include "../tests/files.h"

#include <dirent.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define LIFE 4096     /* inputs until the decoders of a venue are made anew */
#define LEARNERS 4096 /* payloads longer than this are not learned and varied: that would only be slow */

typedef struct venue {
    ew_dialect *dialect;
    ew_decoder *plain, *trained, *old;
    file *seeds;
    size_t n_seeds;
    unsigned inputs;
} venue;

static venue venues[VENUES];

static void demand(const char *different, const char *who, unsigned number, const uint8_t *payload, size_t n)
{
    if (!different)
        return;
    fprintf(stderr, "%s: %s: %s\n%.*s\n", venue_names[number], who, different, (int)n, (const char *)payload);
    abort();
}

/*==== MARK: Agreement ====*/

/* The records of a payload without learned paths, with what explains them. */
static size_t explain(venue *v, unsigned number, const uint8_t *payload, size_t n)
{
    size_t n_records, n_tokens;
    const ew_token *tokens;
    ew_explain(v->plain, payload, n, &n_records, &tokens, &n_tokens);
    demand(compare_spans(v->plain, n_records), "explained", number, payload, n);
    for (size_t i = 0; i < n_records; i++) {
        const ew_origin *o = ew_get_origin(v->plain, i);
        const ew_header *h = &ew_get(v->plain, i)->h;
        for (unsigned f = 0; f < 64; f++)
            if (o->field[f] != EW_NO_TOKEN && (o->field[f] >= n_tokens || !((h->present | h->missing) >> f & 1)))
                demand("origin of a field", "explained", number, payload, n);
        if (o->row != EW_NO_TOKEN && (o->row >= n_tokens || tokens[o->row].begin != h->begin ||
                                      tokens[o->row].end != h->end || o->event >= n_tokens || o->frame >= n_tokens))
            demand("origin of a record", "explained", number, payload, n);
    }
    return n_records;
}

static void agree(unsigned number, ew_decoder *k, const char *who, const uint8_t *payload, size_t n)
{
    venue *v = &venues[number];
    const ew_stats before = *ew_decoder_stats(v->plain), before_k = *ew_decoder_stats(k);
    const size_t count = explain(v, number, payload, n);
    size_t count_k;
    if (n % 2) {
        ew_decode(k, payload, n, 0, &count_k);
    } else { /* with padding that goes on like the payload */
        uint8_t *copy = malloc(n + EW_PADDING);
        if (!copy)
            abort();
        memcpy(copy, payload, n);
        for (size_t i = 0; i < EW_PADDING; i++)
            copy[n + i] = n ? payload[(n - n / 3 + i) % n] : (uint8_t)'0';
        ew_decode_padded(k, copy, n, 0, &count_k);
        free(copy);
    }
    demand(compare_decoders(v->plain, k, count, count_k), who, number, payload, n);
    demand(compare_stats(&before, ew_decoder_stats(v->plain), &before_k, ew_decoder_stats(k)), who, number, payload, n);
}

/*==== MARK: Training ====*/

static void read_seeds(venue *v, unsigned number)
{
    char path[1024];
    struct dirent **entries;
    snprintf(path, sizeof path, "../tests/payloads/%s", venue_names[number]);
    int n = scandir(path, &entries, NULL, alphasort);
    for (int i = 0; i < n; i++) {
        if (entries[i]->d_name[0] != '.' && !strstr(entries[i]->d_name, ".records.")) {
            v->seeds = realloc(v->seeds, (v->n_seeds + 1) * sizeof *v->seeds);
            snprintf(path, sizeof path, "../tests/payloads/%s/%s", venue_names[number], entries[i]->d_name);
            if (!v->seeds)
                abort();
            v->seeds[v->n_seeds++] = file_read(path);
        }
        free(entries[i]);
    }
    if (n >= 0)
        free(entries);
}

/* A decoder, each with the next of the machine's instruction sets. */
static ew_decoder *new_decoder(const ew_dialect *d)
{
    static size_t next;
    ew_decoder *k = ew_decoder_new(d);
    const char *set = ew_instruction_set(next++);
    if (!set)
        set = ew_instruction_set(next = 0);
    if (!k || ew_decoder_use(k, set) != EW_OK)
        abort();
    return k;
}

static void start(venue *v, unsigned number)
{
    if (!v->dialect) {
        v->dialect = venue_dialect(number);
        read_seeds(v, number);
    }
    ew_decoder_free(v->plain);
    ew_decoder_free(v->trained);
    ew_decoder_free(v->old);
    v->plain = new_decoder(v->dialect);
    v->trained = new_decoder(v->dialect);
    v->old = new_decoder(v->dialect);
    for (size_t i = 0; i < 2 * v->n_seeds; i++)
        ew_train(v->trained, v->seeds[i % v->n_seeds].s, v->seeds[i % v->n_seeds].n);
    for (size_t i = 0; i < 8 * v->n_seeds; i++) /* forecasts come later */
        ew_decode(v->trained, v->seeds[i % v->n_seeds].s, v->seeds[i % v->n_seeds].n, 0, &(size_t){0});
}

/*==== MARK: Variants ====*/

static uint64_t random_(uint64_t *state)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * UINT64_C(0x2545f4914f6cdd1d);
}

/* Change a payload a little, at one place, keeping most of its structure; the room is n + 16. */
static size_t vary(uint8_t *s, size_t n, uint64_t *state)
{
    static const char *const words[] = {"", "0", "1", "-1", "true", "false", "null", "\"\"", "{}", "[]", "9", "12345678901234567890",
                                        "0.00000000", "e5", "\\u0041", "\xc3\xa9", "x", ",", " ", "\"a\":1,"};
    size_t at = (size_t)(random_(state) % n), end = at;
    const char *word = words[random_(state) % (sizeof words / sizeof *words)];
    switch (random_(state) % 4) {
    case 0: /* other digits */
        for (size_t i = at; i < n && i < at + 24; i++)
            if (s[i] >= '0' && s[i] <= '9')
                s[i] = (uint8_t)('0' + random_(state) % 10);
        return n;
    case 1: /* another byte */
        s[at] = (uint8_t)random_(state);
        return n;
    case 2: /* something in between */
        break;
    default: /* another value: up to the next quote, comma or bracket */
        while (at > 0 && !strchr("\",:{}[]", s[at - 1] ? s[at - 1] : 'x'))
            at--;
        for (end = at; end < n && !strchr("\",:{}[]", s[end] ? s[end] : 'x');)
            end++;
    }
    size_t len = strlen(word);
    if (n - (end - at) + len > n + 16 || len > 16 + (end - at))
        return n;
    memmove(s + at + len, s + end, n - end);
    memcpy(s + at, word, len);
    return n - (end - at) + len;
}

static void learn(unsigned number, const uint8_t *payload, size_t n)
{
    ew_decoder *k = new_decoder(venues[number].dialect);
    uint64_t state = 0xcbf29ce484222325u; /* FNV-1a: the same input always gets the same variants */
    uint8_t *room = malloc(n + 16);
    if (!room)
        abort();
    for (size_t i = 0; i < n; i++)
        state = (state ^ payload[i]) * 0x100000001b3u;
    state |= 1;
    for (int i = 0; i < 2; i++) {
        ew_train(k, payload, n);
        agree(number, k, "learned", payload, n);
    }
    if (ew_last_error(k)->status == EW_OK && n > 0) {
        for (int i = 0; i < 8; i++)
            ew_decode(k, payload, n, 0, &(size_t){0});
        for (int i = 0; i < 8; i++) {
            memcpy(room, payload, n);
            size_t m = vary(room, n, &state);
            uint8_t *exact = malloc(m ? m : 1);
            if (!exact)
                abort();
            memcpy(exact, room, m);
            agree(number, k, "variant", exact, m);
            if (i % 2) { /* and what the variant has left behind */
                ew_train(k, exact, m);
                agree(number, k, "variant again", exact, m);
            }
            free(exact);
        }
        agree(number, k, "after variants", payload, n);
    }
    free(room);
    ew_decoder_free(k);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    const unsigned number = data[0] % VENUES;
    venue *v = &venues[number];
    if (v->inputs++ % LIFE == 0)
        start(v, number);
    size--;
    uint8_t *payload = malloc(size ? size : 1); /* of its own, so that AddressSanitizer sees reads before it, too */
    if (!payload)
        abort();
    memcpy(payload, data + 1, size);
    agree(number, v->trained, "trained", payload, size);
    agree(number, v->old, "old", payload, size);
    if (v->inputs % 4 == 0)
        ew_train(v->old, payload, size);
    /* Making a decoder costs more than all else, so not for every input. */
    if (size <= LEARNERS && v->inputs % 8 == 1)
        learn(number, payload, size);
    free(payload);
    return 0;
}
