/* One payload to its records: the only parser.
 *
 * The payload is scanned into tokens, and its keys into names (scan.c): from there on no key is looked at as text. Some
 * names tell which event it is; then every object the event knows is walked once, each name noting its value in a slot;
 * last, the rules of each record convert the values in the slots (digits.h). Key order cannot matter, and of a repeated
 * key the last value stays. Messages like earlier ones are decoded without all that, along learned paths (paths.h), to
 * the same records.
 */
#include "decoder.h"
#include "digits.h"

#include <stdlib.h>

#define NONE EW_NO_TOKEN
#define MAX_REPEATED 128 /* keys among which one that comes again is looked for */

/*==== MARK: Memory ====*/

static ew_status fail(ew_decoder *k, ew_status status, const char *message, size_t position)
{
    return ew_fail(&k->error, status, message, position);
}

void *ew_room(ew_decoder *k, void *items, size_t n, size_t *cap, size_t size)
{
    if (n < *cap)
        return items;
    size_t more = *cap ? *cap * 2 : 16;
    char *moved = NULL;
    if (n >= EW_MAX_RECORDS)
        fail(k, EW_ERR_LIMIT, "too many records in one payload", 0);
    else if (!(moved = realloc(items, more * size)))
        fail(k, EW_ERR_MEMORY, "out of memory", 0);
    else {
        memset(moved + *cap * size, 0, (more - *cap) * size); /* records must not show what memory held before */
        *cap = more;
    }
    return moved;
}

/* A string's text with its escapes resolved; null only if memory runs out. */
static const uint8_t *resolved(ew_decoder *k, const ew_token *t, size_t *n)
{
    const uint8_t *s = k->payload + t->begin;
    *n = t->end - t->begin;
    if (!ew_in(t->flags, EW_TOK_ESCAPED))
        return s;
    if (*n > k->cap_scratch) {
        uint8_t *scratch = realloc(k->scratch, *n);
        if (!scratch) {
            fail(k, EW_ERR_MEMORY, "out of memory", t->begin);
            return NULL;
        }
        k->scratch = scratch;
        k->cap_scratch = *n;
    }
    *n = ew_unescape(s, *n, k->scratch);
    return k->scratch;
}

/*==== MARK: Finding ====*/

static inline bool is_text(ew_decoder *k, uint32_t token, const ew_word *w)
{
    const ew_token *t = &k->tape.tokens[token];
    size_t n = t->end - t->begin;
    if (!ew_in(t->flags, EW_TOK_ESCAPED))
        return n == w->len &&
               (n == 0 || (k->payload[t->begin] == (uint8_t)*w->s && memcmp(k->payload + t->begin, w->s, n) == 0));
    const uint8_t *s = resolved(k, t, &n);
    return s && n == w->len && memcmp(s, w->s, n) == 0;
}

/* The value of a key; of a repeated one, the last. */
static uint32_t member(const ew_decoder *k, uint32_t object, uint16_t name)
{
    const ew_token *t = k->tape.tokens;
    const uint16_t *names = k->tape.names;
    const uint32_t last = k->tape.sights[name].last;
    uint32_t found = NONE;
    if (last >= k->tape.n || names[last] != name || last < object || t[object].type != EW_TOK_OBJECT)
        return NONE;
    if (last < t[object].next && t[last].depth == t[object].depth + 1)
        return last + 1;
    /* It is deeper inside or behind the object; there may be one before. */
    for (uint32_t i = object + 1; i < t[object].next; i = t[i + 1].next)
        if (names[i] == name)
            found = i + 1;
    return found;
}

static uint32_t element(const ew_decoder *k, uint32_t array, const ew_word *index)
{
    const ew_token *t = k->tape.tokens;
    uint64_t left;
    if (!ew_plain_u64((const uint8_t *)index->s, index->len, &left))
        return NONE;
    uint32_t i = array + 1;
    for (; i < t[array].next && left; left--)
        i = t[i].next;
    return i < t[array].next ? i : NONE;
}

static uint32_t find(const ew_decoder *k, uint32_t token, const ew_path *path)
{
    for (uint16_t i = 0; i < path->n && token != NONE; i++) {
        const ew_word *w = EW_AT(k->dialect->segments, ew_word, path->first + i);
        token = k->tape.tokens[token].type == EW_TOK_ARRAY ? element(k, token, w) : member(k, token, w->name);
    }
    return token;
}

/*==== MARK: Walking ====*/

static bool walk(ew_decoder *k, uint16_t node, uint32_t object, slots *out);

static void clear(slots *out, uint16_t first, uint16_t end)
{
    for (uint16_t s = first; s < end; s++)
        out->token[s] = NONE;
}

static inline bool is_container(const ew_token *t) { return t->type == EW_TOK_OBJECT || t->type == EW_TOK_ARRAY; }

/* A value that is all there is under its key: no container, an empty one, or one the dialect does not look into. */
static bool is_leaf(const ew_decoder *k, const ew_entry *e, uint32_t value)
{
    const ew_token *v = &k->tape.tokens[value];
    if (!is_container(v))
        return true;
    if (e->rows)
        return v->type == EW_TOK_ARRAY && v->next == value + 1;
    return v->next == value + 1 || !e->child;
}

/* Undo what an earlier value of a repeated key has noted. */
static void forget(ew_decoder *k, const ew_entry *e, slots *out)
{
    const uint32_t old = out->token[e->slot];
    size_t kept = 0;
    out->leaves -= is_container(&k->tape.tokens[old]) ? out->counted[e->slot] : 1;
    clear(out, e->slot, e->slot_end);
    if (out != &k->event_slots)
        return;
    for (size_t i = 0; i < k->n_rows; i++)
        if (k->rows[i].token < old || k->rows[i].token >= k->tape.tokens[old].next)
            k->rows[kept++] = k->rows[i];
    k->n_rows = kept;
}

static void add_rows(ew_decoder *k, const ew_entry *e, uint32_t value);

/* What the dialect names below the rows of an event: the rows themselves are walked when their turn comes. */
static void look_below(ew_decoder *k, const ew_entry *e, uint32_t object, bool fields)
{
    const ew_node *node = EW_AT(k->dialect->nodes, ew_node, e->child);
    for (uint16_t i = 0; e->child && i < node->n; i++) {
        const ew_entry *inner = EW_AT(k->dialect->entries, ew_entry, node->first + i);
        uint32_t found = member(k, object, inner->name);
        if (found == NONE)
            continue;
        if (inner->rows)
            add_rows(k, inner, found);
        else if (fields)
            k->event_slots.token[inner->slot] = found;
        if (!inner->rows && k->tape.tokens[found].type == EW_TOK_OBJECT)
            look_below(k, inner, found, fields);
    }
}

static void add_rows(ew_decoder *k, const ew_entry *e, uint32_t value)
{
    const ew_token *t = k->tape.tokens;
    bool array = t[value].type == EW_TOK_ARRAY;
    for (uint32_t i = array ? value + 1 : value; i < t[value].next; i = t[i].next) {
        row *rows;
        if (t[i].type != EW_TOK_OBJECT) {
            k->event_slots.leaves += array;
            continue;
        }
        if (!(rows = ew_room(k, k->rows, k->n_rows, &k->cap_rows, sizeof *rows)))
            return;
        k->rows = rows;
        rows[k->n_rows++] = (row){i, e->rows};
        look_below(k, e, i, !array);
    }
}

/* The entry of an array's element, if the dialect names it; paths name the first ten at most. */
static const ew_entry *indexed(const ew_dialect *d, const ew_node *node, uint32_t number)
{
    return number < 10 ? ew_entry_of(d, node, d->digits[number]) : NULL;
}

static void note(ew_decoder *k, const ew_entry *e, uint32_t value, slots *out);

/* Look into an element that the dialect does not name: no field comes from just any element, but what others gave
 * stays. */
static __attribute__((noinline)) void walk_element(ew_decoder *k, const ew_entry *e, uint32_t object, slots *out)
{
    uint32_t before[EW_MAX_SLOTS];
    const size_t size = (e->slot_end - (e->slot + 1u)) * sizeof *before;
    if (out) {
        memcpy(before, out->token + e->slot + 1, size);
        clear(out, e->slot + 1, e->slot_end);
    }
    walk(k, e->child, object, out);
    if (out) {
        out->leaves += k->tape.tokens[object].next == object + 1;
        memcpy(out->token + e->slot + 1, before, size);
    }
}

/* Note what the dialect names below a value. */
static void note_below(ew_decoder *k, const ew_entry *e, uint32_t value, slots *out)
{
    const ew_token *t = k->tape.tokens, *v = &t[value];

    if (!is_container(v))
        return;
    if (e->rows) {
        if (out == &k->event_slots)
            add_rows(k, e, value);
        return;
    }
    if (!e->child)
        return;
    if (v->type == EW_TOK_OBJECT) {
        walk(k, e->child, value, out);
        return;
    }
    const ew_node *node = EW_AT(k->dialect->nodes, ew_node, e->child);
    const ew_entry *first = indexed(k->dialect, node, 0);
    uint32_t number = 0;
    for (uint32_t i = value + 1; i < v->next; i = t[i].next, number++) {
        const ew_entry *here = indexed(k->dialect, node, number);
        if (here) {
            note(k, here, i, out);
        } else if (t[i].type == EW_TOK_OBJECT && first) {
            if (out)
                out->leaves++;
            if (first->child)
                walk(k, first->child, i, NULL); /* shaped like the first, but nobody takes it */
        } else if (t[i].type == EW_TOK_OBJECT) {
            walk_element(k, e, i, out);
        } else if (out) {
            out->leaves++;
        }
    }
}

static void note(ew_decoder *k, const ew_entry *e, uint32_t value, slots *out)
{
    if (!out) {
        note_below(k, e, value, NULL);
        return;
    }
    if (out->token[e->slot] != NONE)
        forget(k, e, out);
    const uint32_t before = out->leaves;
    out->leaves += is_leaf(k, e, value);
    out->token[e->slot] = value;
    note_below(k, e, value, out);
    out->counted[e->slot] = out->leaves - before;
}

/* A node's table. */
typedef struct table {
    const uint8_t *cells;
    const ew_entry *before;
    uint32_t mask;
} table;

/* Note the members of an object from key i on that hold scalars and do not repeat another; where that ends. Nearly all
 * do, so this is a loop that calls nothing. */
static __attribute__((noinline)) uint32_t note_scalars(ew_token *t, const uint16_t *names, uint32_t i, uint32_t end,
                                                       table in, uint32_t *token, uint32_t *unknown)
{
    uint32_t n = 0;
    for (; i < end && names[i + 1] != EW_CONTAINER; i += 2) {
        const ew_entry *const e = ew_lookup(in.cells, in.mask, in.before, names[i]);
        if (!e) {
            t[i].flags |= EW_TOK_NEW_KEY;
            n++;
        } else if (token[e->slot] == NONE) {
            token[e->slot] = i + 1;
        } else {
            break;
        }
    }
    *unknown += n;
    return i;
}

/* True if the object was flat. `out` is null where only the count of unknown keys is wanted. */
static bool walk(ew_decoder *k, uint16_t number, uint32_t object, slots *out)
{
    const ew_dialect *d = k->dialect;
    const ew_node *node = EW_AT(d->nodes, ew_node, number);
    const table in = {EW_AT(d->cells, uint8_t, node->lookup), EW_AT(d->entries, ew_entry, node->first) - 1, node->mask};
    ew_token *const t = k->tape.tokens;
    const uint32_t end = t[object].next;
    uint32_t unknown = 0;
    bool flat = true;
    for (uint32_t i = object + 1; i < end; flat = false) {
        if (out) {
            const uint32_t from = i;
            i = note_scalars(t, k->tape.names, i, end, in, out->token, &unknown);
            out->leaves += (i - from) / 2;
            if (i >= end)
                break;
        }
        const ew_entry *const e = ew_lookup(in.cells, in.mask, in.before, k->tape.names[i]);
        if (!e) {
            t[i].flags |= EW_TOK_NEW_KEY;
            unknown++;
            if (out)
                out->leaves++;
        } else {
            note(k, e, i + 1, out);
        }
        i = t[i + 1].next;
    }
    k->counts.unknown_keys += unknown;
    return flat && !unknown;
}

static void gather(ew_decoder *k, uint16_t node, uint16_t n_slots, uint32_t object, slots *out)
{
    const uint16_t *const names = k->tape.names + object + 1;
    const uint32_t n = k->tape.tokens[object].next - (object + 1), moved = object - out->object;
    const bool same = node == out->node && n == out->n_names && memcmp(names, out->names, n * sizeof *names) == 0;
    out->object = object;
    if (same) {
        for (uint16_t s = 0; moved && s < n_slots; s++)
            out->token[s] += out->token[s] == NONE ? 0 : moved;
        return;
    }
    memset(out->token, 0xff, n_slots * sizeof *out->token);
    out->leaves = 0;
    out->node = 0;
    if (!walk(k, node, object, out))
        return;
    out->node = node;
    out->n_names = n;
    memcpy(out->names, names, n * sizeof *names);
}

/*==== MARK: Fields ====*/

typedef enum outcome { TAKEN, INEXACT, ODD, MISFIT, MISSING } outcome;

/* The functions below may look at bytes before a text, but at none before `from`. */

/* Texts are short, so that a call would cost more than the copying. n <= size. */
static inline void copy(char *to, size_t size, const uint8_t *from, size_t n)
{
    if (size >= 16 && n >= 16) {
        for (size_t i = 0; i + 16 < n; i += 16)
            memcpy(to + i, from + i, 16);
        memcpy(to + n - 16, from + n - 16, 16);
    } else if (n >= 8) {
        memcpy(to, from, 8);
        memcpy(to + n - 8, from + n - 8, 8);
    } else if (n >= 4) {
        memcpy(to, from, 4);
        memcpy(to + n - 4, from + n - 4, 4);
    } else {
        for (size_t i = 0; i < n; i++)
            to[i] = (char)from[i];
    }
}

/* A text into its slot, zeros behind it; false if that could not hold all of it. */
static inline bool put_bytes(const uint8_t *s, size_t n, bool escaped, char *out, size_t size, uint8_t *len)
{
    bool whole = n <= size;
    memset(out, 0, size);
    if (escaped) {
        n = ew_unescape_prefix(s, n, (uint8_t *)out, size, &whole);
    } else {
        n = whole ? n : ew_utf8_prefix(s, n, size);
        copy(out, size, s, n);
    }
    *len = (uint8_t)n;
    return whole;
}

static inline outcome put_text(const uint8_t *s, size_t n, bool escaped, size_t size, void *out, uint8_t *flags)
{
    ew_text16 *small = out;
    ew_text32 *medium = out;
    ew_text128 *large = out;
    if (!(size == sizeof *small    ? put_bytes(s, n, escaped, small->s, sizeof small->s, &small->len)
          : size == sizeof *medium ? put_bytes(s, n, escaped, medium->s, sizeof medium->s, &medium->len)
                                   : put_bytes(s, n, escaped, large->s, sizeof large->s, &large->len)))
        *flags |= EW_LONG_TEXT;
    return TAKEN;
}

static inline outcome put_id(const uint8_t *s, size_t n, bool escaped, const uint8_t *from, ew_id *out, uint8_t *flags)
{
    if (!put_bytes(s, n, escaped, out->s, sizeof out->s, &out->len))
        *flags |= EW_LONG_TEXT;
    out->number = 0;
    out->is_number = escaped ? ew_plain_u64((const uint8_t *)out->s, out->len, &out->number)
                             : ew_u64_read(s, n, from, &out->number);
    return TAKEN;
}

static inline outcome put_decimal(const uint8_t *s, size_t n, const uint8_t *from, ew_dec *out)
{
    if (n == 0) {
        *out = (ew_dec){0, 0, 0, EW_DEC_EMPTY, 0};
        return MISSING;
    }
    return ew_dec_read(s, n, from, out) ? TAKEN : ODD;
}

static inline outcome put_time(const uint8_t *s, size_t n, const uint8_t *from, int64_t *out)
{
    int64_t v;
    if (n == 0) {
        *out = EW_TIME_EMPTY;
        return MISSING;
    }
    if (!ew_time_read(s, n, from, &v))
        return MISFIT;
    *out = v;
    return TAKEN;
}

static inline outcome put_u16(const uint8_t *s, size_t n, const uint8_t *from, uint16_t *out)
{
    uint64_t v;
    if (!ew_u64_read(s, n, from, &v) || v > UINT16_MAX)
        return MISFIT;
    *out = (uint16_t)v;
    return TAKEN;
}

static inline outcome put_code(const ew_decoder *k, const ew_rule *r, const uint8_t *s, size_t n, const uint8_t *from,
                               uint8_t *out)
{
    const ew_spelling *w = ew_spelling_of(k->dialect, r->vocabulary, s, n, ew_head_back(s, n, from));
    if (w) {
        *out = w->code;
        return w->same ? TAKEN : INEXACT;
    }
    if (n == 0) {
        *out = EW_CODE_EMPTY;
        return MISSING;
    }
    if (r->type == EW_TYPE_BOOL)
        return MISFIT;
    *out = 0;
    return ODD;
}

/* The n bytes at s into a field of a type: a string's or a number's, or a literal's that may be a word. */
static inline __attribute__((always_inline)) outcome put_plain(const ew_decoder *k, const ew_rule *r, ew_type type,
                                                               const uint8_t *s, size_t n, const uint8_t *from,
                                                               ew_record *rec)
{
    void *const out = (char *)rec + r->offset;
    switch (type) {
    case EW_TYPE_DEC: return put_decimal(s, n, from, out);
    case EW_TYPE_TIME: return put_time(s, n, from, out);
    case EW_TYPE_U16: return put_u16(s, n, from, out);
    case EW_TYPE_BOOL:
    case EW_TYPE_ENUM: return put_code(k, r, s, n, from, out);
    case EW_TYPE_ID: return put_id(s, n, false, from, out, &rec->h.flags);
    case EW_TYPE_TEXT: return put_text(s, n, false, r->size, out, &rec->h.flags);
    }
    return MISFIT;
}

/* What is no number, and no string or one with escapes. */
static __attribute__((noinline)) outcome put_other(ew_decoder *k, const ew_rule *r, const ew_token *t, ew_record *rec)
{
    void *const out = (char *)rec + r->offset;
    const uint8_t *s = k->payload + t->begin;
    size_t n = t->end - t->begin;
    switch ((ew_token_type)t->type) {
    case EW_TOK_STRING:
        if (r->type == EW_TYPE_ID)
            return put_id(s, n, true, s, out, &rec->h.flags);
        if (r->type == EW_TYPE_TEXT)
            return put_text(s, n, true, r->size, out, &rec->h.flags);
        s = resolved(k, t, &n);
        return s ? put_plain(k, r, (ew_type)r->type, s, n, s, rec) : MISFIT;
    case EW_TOK_TRUE:
    case EW_TOK_FALSE: return r->type == EW_TYPE_ENUM ? put_code(k, r, s, n, s, out) : MISFIT;
    case EW_TOK_NULL:
        ew_put_missing(r, out, true);
        return MISSING;
    case EW_TOK_NUMBER:
    case EW_TOK_OBJECT:
    case EW_TOK_ARRAY: break;
    }
    return MISFIT;
}

/* What a field's value leaves behind, apart from the field. */
static __attribute__((noinline)) void settle(ew_decoder *k, const ew_rule *r, ew_token *t, ew_header *h, outcome o)
{
    const uint64_t bit = UINT64_C(1) << r->bit;
    if (o == TAKEN || o == MISSING)
        t->flags |= EW_TOK_TAKEN;
    if (o == MISSING)
        h->missing |= bit;
    else if (o != MISFIT)
        h->present |= bit;
    if (o == ODD && r->type == EW_TYPE_ENUM) {
        h->flags |= EW_UNKNOWN_ENUM;
        k->counts.unknown_enums++;
        t->flags |= EW_TOK_ODD;
    } else if (o == ODD || o == MISFIT) {
        h->flags |= EW_UNREPRESENTABLE;
        k->counts.unrepresentable++;
        t->flags |= EW_TOK_ODD;
    }
}

/* Give a field of a type the value of a token: TAKEN, and the field has its value, or what settle() has to know. */
static inline __attribute__((always_inline)) outcome convert(ew_decoder *k, const ew_rule *r, ew_type type,
                                                             const ew_token *t, ew_record *rec)
{
    if (t->type <= EW_TOK_NUMBER && !ew_in(t->flags, EW_TOK_ESCAPED))
        return put_plain(k, r, type, k->payload + t->begin, t->end - t->begin, k->payload, rec);
    if (type == EW_TYPE_BOOL && (t->type == EW_TOK_TRUE || t->type == EW_TOK_FALSE)) {
        ((uint8_t *)rec)[r->offset] = t->type == EW_TOK_TRUE;
        return TAKEN;
    }
    return put_other(k, r, t, rec);
}

/* The same, and all that belongs to it; true if the field then holds the value exactly. */
static bool put(ew_decoder *k, const ew_rule *r, uint32_t token, ew_record *rec)
{
    ew_token *t = &k->tape.tokens[token];
    const outcome o = convert(k, r, (ew_type)r->type, t, rec);
    settle(k, r, t, &rec->h, o);
    if (k->explaining && o != MISFIT)
        k->origins[k->sink.n].field[r->bit] = token;
    return o == TAKEN || o == MISSING;
}

/*==== MARK: Records ====*/

/* The next record, its header set and no field; null if memory runs out. */
static ew_record *begin(ew_decoder *k, unsigned kind, unsigned event, const place *at)
{
    ew_record *records = ew_room(k, k->sink.records, k->sink.n, &k->sink.cap, sizeof *records);
    if (!records)
        return NULL;
    k->sink.records = records;
    const ew_token *t = at->row == NONE ? NULL : &k->tape.tokens[at->row];
    ew_header *h = &k->sink.records[k->sink.n].h;
    *h = (ew_header){
        .present = k->sink.ts_recv ? UINT64_C(1) << 2 : 0,
        .ts_recv = k->sink.ts_recv,
        .begin = t ? t->begin : 0,
        .end = t ? t->end : (uint32_t)k->n_payload,
        .event = (uint16_t)event,
        .venue = k->dialect->venue,
        .kind = (uint8_t)kind,
    };
    if (k->explaining) {
        ew_origin *origins = realloc(k->origins, (k->sink.n + 1) * sizeof *origins);
        if (!origins) {
            fail(k, EW_ERR_MEMORY, "out of memory", 0);
            return NULL;
        }
        k->origins = origins;
        origins += k->sink.n;
        memset(origins, 0xff, sizeof *origins);
        origins->row = at->row;
        origins->event = at->event;
        origins->frame = at->frame;
        if (at->row != NONE)
            k->tape.tokens[at->row].flags |= EW_TOK_ROW;
    }
    return &k->sink.records[k->sink.n];
}

static void set_code(ew_record *r, ew_notice_code code)
{
    r->notice.code = (uint8_t)code;
    r->h.present |= UINT64_C(1) << 4; /* the first field after the header's */
}

/* The leaf that names the event is held by the record's `event`: its slot, or EW_NO_SLOT. */
static uint16_t take_name(ew_decoder *k, const ew_event *e, uint32_t token)
{
    const ew_condition *c = EW_AT(k->dialect->conditions, ew_condition, e->first_condition);
    if (token == NONE || k->tape.tokens[token].type != EW_TOK_STRING || !is_text(k, token, &e->name))
        return EW_NO_SLOT;
    k->tape.tokens[token].flags |= EW_TOK_TAKEN;
    return c->slot;
}

/* Where the values of a scope are by slot (null: they have to be found), and where is noted which of them a field
 * holds. That counts for leaves of the row only. */
typedef struct source {
    const uint32_t *token;
    uint8_t *taken;
} source;

typedef struct making {
    const place *at;
    ew_record *rec;
    source sources[EW_SCOPE_FRAME + 1];
    uint8_t taken[EW_MAX_SLOTS], elsewhere[EW_MAX_SLOTS];
} making;

/* Any rule: the first alternative that is there. */
static void follow_rule(ew_decoder *k, const ew_rule *r, making *m)
{
    const ew_alternative *a = EW_AT(k->dialect->alternatives, ew_alternative, r->first);
    for (const ew_alternative *last = a + r->n; a < last; a++) {
        const source *from = &m->sources[a->scope];
        const uint32_t token = from->token ? from->token[a->slot] : find(k, m->at->frame, &a->path);
        if (token == NONE)
            continue;
        if (put(k, r, token, m->rec))
            from->taken[a->slot] = 1;
        return;
    }
}

/* The next n rules, simple ones of one type: a loop for each type, because this is where the time goes. */
static inline __attribute__((always_inline)) void follow_simple(ew_decoder *k, ew_type type, const ew_rule *r,
                                                                uint16_t n, making *m)
{
    ew_token *const tokens = k->tape.tokens;
    ew_record *const rec = m->rec;
    uint64_t present = 0;
    for (const ew_rule *const end = r + n; r < end; r++) {
        const source *const from = &m->sources[r->scope];
        const uint32_t token = from->token[r->slot];
        if (token == NONE)
            continue;
        ew_token *const t = &tokens[token];
        const outcome o = convert(k, r, type, t, rec);
        if (o == TAKEN) { /* which the token's flags tell only while explaining */
            from->taken[r->slot] = 1;
            present |= UINT64_C(1) << r->bit;
        } else {
            settle(k, r, t, &rec->h, o);
            if (o == MISSING)
                from->taken[r->slot] = 1;
        }
    }
    rec->h.present |= present;
}

#define FOLLOW(name, type)                                                                                           \
    static __attribute__((noinline)) void name(ew_decoder *k, const ew_rule *r, uint16_t n, making *m)               \
    {                                                                                                                \
        follow_simple(k, type, r, n, m);                                                                             \
    }
FOLLOW(decimals, EW_TYPE_DEC)
FOLLOW(times, EW_TYPE_TIME)
FOLLOW(small, EW_TYPE_U16)
FOLLOW(bools, EW_TYPE_BOOL)
FOLLOW(enums, EW_TYPE_ENUM)
FOLLOW(ids, EW_TYPE_ID)
FOLLOW(texts, EW_TYPE_TEXT)

static void emit(ew_decoder *k, unsigned event, const ew_emit *e, const place *at, uint16_t name_slot)
{
    static void (*const follow[])(ew_decoder *, const ew_rule *, uint16_t, making *) = {
        [EW_TYPE_DEC] = decimals, [EW_TYPE_TIME] = times, [EW_TYPE_U16] = small, [EW_TYPE_BOOL] = bools,
        [EW_TYPE_ENUM] = enums,   [EW_TYPE_ID] = ids,     [EW_TYPE_TEXT] = texts,
    };
    const ew_dialect *d = k->dialect;
    const bool bare = at->frame == at->event; /* without a wrapper the event is the frame */
    making m;
    uint32_t n_taken = 0;

    m.at = at;
    m.rec = begin(k, e->kind, event, at);
    m.sources[EW_SCOPE_ROW] = (source){at->row_slots->token, m.taken};
    m.sources[EW_SCOPE_EVENT] = (source){at->event_slots->token, e->own ? m.taken : m.elsewhere};
    m.sources[EW_SCOPE_FRAME] =
        (source){bare ? at->event_slots->token : NULL, bare && e->own ? m.taken : m.elsewhere};
    memset(m.taken, 0, e->n_slots);
    if (!m.rec)
        return;
    if (e->own && name_slot != EW_NO_SLOT)
        m.taken[name_slot] = 1;
    const ew_rule *r = EW_AT(d->rules, ew_rule, e->first_rule), *const end = r + e->n_rules;
    for (unsigned type = 0; type <= EW_TYPE_TEXT && !k->explaining; type++) {
        if (e->n_simple[type])
            follow[type](k, r, e->n_simple[type], &m);
        r += e->n_simple[type];
    }
    for (; r < end; r++)
        follow_rule(k, r, &m);
    for (uint16_t i = 0; i < e->n_constants; i++) {
        const ew_constant *c = EW_AT(d->constants, ew_constant, e->first_constant + i);
        ((uint8_t *)m.rec)[c->offset] = c->code;
        m.rec->h.present |= UINT64_C(1) << c->bit;
    }
    for (uint16_t i = 0; i < e->n_slots; i++)
        n_taken += m.taken[i];
    if (n_taken < at->row_slots->leaves)
        m.rec->h.flags |= EW_EXTRA;
    k->sink.n++;
}

/* Whether a key of an object comes again behind; not looked for where that would cost: among many keys or long ones. */
static bool is_repeated(ew_decoder *k, uint32_t object, uint32_t key)
{
    const ew_token *t = k->tape.tokens;
    uint8_t text[256];
    size_t n;
    const uint8_t *s = resolved(k, &t[key], &n);
    if (!s || n > sizeof text)
        return false;
    memcpy(text, s, n);
    const ew_word word = {(const char *)text, ew_head(text, n, text + n), (uint32_t)n, 0};
    uint32_t left = MAX_REPEATED;
    for (uint32_t i = t[key + 1].next; i < t[object].next && left; i = t[i + 1].next, left--)
        if (is_text(k, i, &word))
            return true;
    return false;
}

/* Whether a value holds a leaf that no field took. */
static bool is_left(ew_decoder *k, uint32_t token)
{
    const ew_token *t = k->tape.tokens;
    bool object = t[token].type == EW_TOK_OBJECT;
    if ((!object && t[token].type != EW_TOK_ARRAY) || t[token].next == token + 1)
        return !ew_in(t[token].flags, EW_TOK_TAKEN);
    for (uint32_t i = token + 1 + object; i < t[token].next; i = t[i].next + object)
        if (is_left(k, i) && !(object && is_repeated(k, token, i - 1)))
            return true;
    return false;
}

/* The notice that stands for an event nobody knows, or one without a row. */
static void notice(ew_decoder *k, ew_notice_code code, unsigned event, uint32_t message, const place *at)
{
    const ew_dialect *d = k->dialect;
    ew_record *rec = begin(k, EW_NOTICE, event, at);
    if (!rec)
        return;
    const ew_field *f = ew_find_field(EW_NOTICE, "message", 7);
    size_t n_fields;
    const ew_rule told = {.offset = f->offset, .size = f->size, .type = f->type,
                          .bit = (uint8_t)(f - ew_fields(EW_NOTICE, &n_fields))};
    set_code(rec, code);
    if (message != NONE)
        put(k, &told, message, rec);
    for (uint16_t i = 0; i < d->n_common; i++) {
        const ew_rule *r = EW_AT(d->rules, ew_rule, d->first_common + i);
        for (uint8_t n = 0; n < r->n && (message == NONE || r->bit != told.bit); n++) {
            const ew_alternative *a = EW_AT(d->alternatives, ew_alternative, r->first + n);
            uint32_t token = find(k, a->scope == EW_SCOPE_FRAME ? at->frame : at->event, &a->path);
            if (token != NONE) {
                put(k, r, token, rec);
                break;
            }
        }
    }
    if (k->tape.tokens[at->row].next != at->row + 1 && is_left(k, at->row)) /* the row itself is no leaf */
        rec->h.flags |= EW_EXTRA;
    k->sink.n++;
}

/*==== MARK: Events ====*/

static bool holds(ew_decoder *k, uint32_t event, const ew_condition *c)
{
    uint32_t token = find(k, event, &c->path);
    if (token == NONE)
        return false;
    const ew_token *t = &k->tape.tokens[token];
    if (ew_in(c->types, EW_ANY) || ew_in(c->types, 1u << t->type))
        return true;
    for (uint16_t i = 0; i < c->n; i++)
        if ((t->type == EW_TOK_STRING || t->type == EW_TOK_NUMBER) &&
            is_text(k, token, EW_AT(k->dialect->words, ew_word, c->first + i)))
            return true;
    return false;
}

/* Number of the event that an object is, or -1; *name is the value that told, or should have told, or NONE. */
static int32_t recognise(ew_decoder *k, uint32_t event, uint32_t *name)
{
    const ew_dialect *d = k->dialect;
    *name = NONE;
    for (uint32_t i = 0; i < d->discriminators.n; i++) {
        const ew_discriminator *x = EW_AT(d->discriminators, ew_discriminator, i);
        uint32_t token = find(k, event, &x->path);
        if (token == NONE)
            continue;
        const ew_token *t = &k->tape.tokens[token];
        bool textual = t->type == EW_TOK_STRING || t->type == EW_TOK_NUMBER;
        size_t n = 0;
        const uint8_t *s = textual ? resolved(k, t, &n) : NULL;
        uint64_t head = s ? ew_head(s, n, s + n) : 0;
        if (s && *name == NONE)
            *name = token;
        for (uint16_t c = 0; c < x->n; c++) {
            const ew_candidate *y = EW_AT(d->candidates, ew_candidate, x->first + c);
            if (y->types ? !(ew_in(y->types, EW_ANY) || ew_in(y->types, 1u << t->type))
                         : !s || !ew_word_is(&y->text, s, n, head))
                continue;
            const ew_event *e = EW_AT(d->events, ew_event, y->event);
            bool all = true;
            for (uint16_t m = 1; m < e->n_conditions && all; m++)
                all = holds(k, event, EW_AT(d->conditions, ew_condition, e->first_condition + m));
            if (all) {
                *name = token;
                return y->event;
            }
            /* holds() may have used the scratch */
            if (s && ew_in(t->flags, EW_TOK_ESCAPED))
                s = resolved(k, t, &n);
        }
    }
    return -1;
}

static void decode_event(ew_decoder *k, uint32_t frame, uint32_t event)
{
    const ew_dialect *d = k->dialect;
    place at = {event, event, frame, &k->event_slots, &k->event_slots};
    uint32_t name;
    int32_t number = recognise(k, event, &name);
    k->n_events++;
    k->known = NULL;
    k->last = at;
    if (number < 0) {
        k->counts.unknown_events++;
        notice(k, EW_NOTICE_UNKNOWN_EVENT, 0, name, &at);
        return;
    }
    const ew_event *e = EW_AT(d->events, ew_event, number);
    size_t before = k->sink.n;
    k->n_rows = 0;
    gather(k, e->node, e->n_slots, event, &k->event_slots);
    uint16_t name_slot = take_name(k, e, name);
    for (uint16_t i = 0; i < e->n_emits; i++) {
        const ew_emit *m = EW_AT(d->emits, ew_emit, e->first_emit + i);
        if (m->own) {
            at.row = event;
            at.row_slots = &k->event_slots;
            emit(k, (unsigned)number + 1, m, &at, name_slot);
        }
        for (size_t r = 0; !m->own && r < k->n_rows && !k->error.status; r++) {
            if (k->rows[r].emit != i + 1)
                continue;
            at.row = k->rows[r].token;
            at.row_slots = &k->row_slots;
            gather(k, m->node, m->n_slots, at.row, &k->row_slots);
            emit(k, (unsigned)number + 1, m, &at, name_slot);
        }
    }
    if (k->sink.n > before)
        k->known = e;
    else if (!k->error.status) {
        at.row = event;
        notice(k, EW_NOTICE_EMPTY, (unsigned)number + 1, NONE, &at);
    }
}

/* The objects of an array, or the one object, as events of a frame. */
static void each_event(ew_decoder *k, uint32_t frame, uint32_t token)
{
    const ew_token *t = k->tape.tokens;
    if (t[token].type == EW_TOK_OBJECT) {
        decode_event(k, frame, token);
        return;
    }
    for (uint32_t i = token + 1; i < t[token].next && !k->error.status; i = t[i].next) {
        if (t[i].type == EW_TOK_OBJECT)
            decode_event(k, frame, i);
        else
            fail(k, EW_ERR_SYNTAX, "array element is not an object", t[i].begin);
    }
}

static void decode_frame(ew_decoder *k, uint32_t frame)
{
    const ew_dialect *d = k->dialect;
    ew_token *t = k->tape.tokens;
    for (uint32_t i = 0; i < d->envelopes.n; i++) {
        const ew_envelope *v = EW_AT(d->envelopes, ew_envelope, i);
        uint32_t inner = member(k, frame, v->enter.name);
        bool all = inner != NONE && (t[inner].type == EW_TOK_OBJECT || t[inner].type == EW_TOK_ARRAY);
        for (uint16_t w = 0; w < v->n && all; w++)
            all = member(k, frame, EW_AT(d->words, ew_word, v->first + w)->name) != NONE;
        if (!all)
            continue;
        for (uint32_t m = frame + 1; m < t[frame].next; m = t[m + 1].next) {
            const uint16_t name = k->tape.names[m];
            bool known = name == v->enter.name;
            for (uint16_t w = 0; w < v->n && !known; w++)
                known = name == EW_AT(d->words, ew_word, v->first + w)->name;
            for (uint16_t w = 0; w < v->n_known && !known; w++)
                known = name == EW_AT(d->words, ew_word, v->first_known + w)->name;
            if (!known) {
                t[m].flags |= EW_TOK_NEW_KEY;
                k->counts.unknown_keys++;
            }
        }
        each_event(k, frame, inner);
        return;
    }
    decode_event(k, frame, frame);
}

/*==== MARK: Payloads ====*/

/* A text prompt, if the payload is one. */
static const ew_prompt *prompt(const ew_decoder *k)
{
    const uint8_t *s = k->payload, *end = s + k->n_payload;
    while (s < end && (*s == ' ' || *s == '\n' || *s == '\r' || *s == '\t'))
        s++;
    while (s < end && (end[-1] == ' ' || end[-1] == '\n' || end[-1] == '\r' || end[-1] == '\t'))
        end--;
    for (uint32_t i = 0; i < k->dialect->prompts.n; i++) {
        const ew_prompt *p = EW_AT(k->dialect->prompts, ew_prompt, i);
        if ((size_t)(end - s) == p->text.len && memcmp(s, p->text.s, p->text.len) == 0)
            return p;
    }
    return NULL;
}

void ew_parse(ew_decoder *k)
{
    const ew_prompt *p;
    ew_record *rec;
    if (k->n_payload && *k->payload != '{' && *k->payload != '[' && (p = prompt(k))) {
        const place whole = {NONE, NONE, NONE, NULL, NULL};
        k->tape.n = 0;
        if ((rec = begin(k, EW_NOTICE, 0, &whole))) {
            set_code(rec, p->code);
            k->sink.n++;
        }
        return;
    }
    if (ew_scan(k->payload, k->n_payload, &k->tape, &k->error))
        return;
    if (k->tape.tokens[0].type == EW_TOK_OBJECT)
        decode_frame(k, 0);
    else if (k->tape.tokens[0].type != EW_TOK_ARRAY)
        fail(k, EW_ERR_SYNTAX, "neither an object nor an array nor a known text", k->tape.tokens[0].begin);
    for (uint32_t i = 1; k->tape.tokens[0].type == EW_TOK_ARRAY && i < k->tape.n && !k->error.status;
         i = k->tape.tokens[i].next) {
        if (k->tape.tokens[i].type == EW_TOK_OBJECT)
            decode_frame(k, i);
        else
            fail(k, EW_ERR_SYNTAX, "array element is not an object", k->tape.tokens[i].begin);
    }
}
