/* Following a payload along the learned paths (paths.h): the hot path.
 *
 * Compiled once for every instruction set worth having: follow_*.c include this file and say which it is. All of them
 * give the same records. Nothing here looks whether it is near the payload's end: where no padding follows, the last
 * EW_AHEAD bytes are read from a copy with zeros behind it, which no text and no value goes on with; and what has gone
 * on into the padding has not ended where the payload does.
 */
#include "paths.h"
#include "wide.h"

/*==== MARK: Plain values ====*/
/* The common shapes, at full speed. Each returns the place behind the value (of strings: the closing quote), or null
 * for a value that is not so plain: ew_convert decides about those. What ends a number is not looked at, because the
 * text of an edge must come next, and such a text begins behind a whole value (of strings: with the closing quote). */

static inline const uint8_t *pass(bool quoted, const uint8_t *s)
{
    uint64_t digits;
    unsigned fraction;
    if (quoted) {
        const unsigned n = short_string(s);
        return n < 32 ? s + n : NULL;
    }
    unsigned n = count_digits(s);
    if (n - 1 >= 15 || s[n] == '.' || (*s == '0' && n > 1)) /* it is more than a few digits */
        n = short_decimal(s, &digits, &fraction);
    return n && (s[n] | 0x20) != 'e' ? s + n : NULL;
}

/* Decimals with a sign, or of other lengths. */
static __attribute__((noinline)) const uint8_t *put_other_decimal(bool quoted, const uint8_t *s, ew_dec *out)
{
    uint64_t m;
    unsigned fraction;
    const bool negative = *s == '-';
    s += negative;
    const unsigned n = short_decimal(s, &m, &fraction);
    if (n == 0 || (!quoted && (s[n] | 0x20) == 'e'))
        return NULL;
    *out = (ew_dec){m, 0, (int16_t)-(int)fraction, EW_DEC_VALUE, 0};
    if (negative) {
        out->flags = m ? 0 : EW_DEC_NEGATIVE_ZERO;
        out->lo = 0 - m;
        out->hi = m ? -1 : 0;
    }
    return s + n;
}

static inline const uint8_t *put_decimal(bool quoted, const uint8_t *s, ew_dec *out)
{
    const uint8_t *after = quick_decimal(s, out);
    return after && (quoted || (*after | 0x20) != 'e') ? after : put_other_decimal(quoted, s, out);
}

/* For decimals that may have a sign. */
static inline const uint8_t *put_signed(bool quoted, const uint8_t *s, ew_dec *out)
{
    const bool negative = *s == '-';
    const uint8_t *after = quick_decimal(s + negative, out);
    if (!after || (negative & (out->lo == 0)) || (!quoted && (*after | 0x20) == 'e'))
        return put_other_decimal(quoted, s, out);
    const uint64_t minus = negative;
    out->lo = (out->lo ^ (0 - minus)) + minus;
    out->hi = -(int32_t)minus;
    return after;
}

/* Milliseconds, which nearly all are; from 9 * 10^12 on they might not fit. */
static inline const uint8_t *put_time(const uint8_t *s, int64_t *out)
{
    uint64_t ms;
    if (!number_13(s, &ms))
        return NULL;
    *out = (int64_t)(ms * 1000000);
    return s + 13;
}

static inline const uint8_t *put_text(const uint8_t *s, char *out, size_t size)
{
    const unsigned n = short_string(s);
    if (n >= size)
        return NULL;
    if (size == sizeof(ew_text32))
        copy_32(out, s, n);
    else
        copy_16(out, s, n);
    out[size - 1] = (char)n;
    return s + n;
}

/* The number that n digits write, of which there are at most 19. */
static inline uint64_t long_number(const uint8_t *s, unsigned n)
{
    return n <= 16 ? short_number(s, n) : short_number(s, 16) * powers[n - 16] + number_of_8(load8(s + 16), n - 16);
}

/* How many digits s begins with, of up to 24. */
static inline unsigned count_many_digits(const uint8_t *s)
{
    const unsigned n = count_digits(s);
    return n < 16 ? n : 16 + digits_of_8(load8(s + 16));
}

static inline void set_id(ew_id *id, const uint8_t *s, unsigned n, bool is_number)
{
    copy_32(id->s, s, n);
    memset(id->s + 32, 0, sizeof id->s - 32);
    id->len = (uint8_t)n;
    id->is_number = is_number;
}

/* An id of more than 31 characters. */
static __attribute__((noinline)) const uint8_t *put_long_id(const uint8_t *s, ew_id *id)
{
    if (!is_plain_32(s))
        return NULL;
    const unsigned n = short_string(s + 32);
    if (n > sizeof id->s - 32)
        return NULL;
    id->number = 0;
    set_id(id, s, 32, false); /* so many digits would not fit */
    memcpy(id->s + 32, s + 32, n);
    id->len = (uint8_t)(32 + n);
    return s + 32 + n;
}

static inline const uint8_t *put_id(const uint8_t *s, ew_id *id)
{
    const unsigned n = short_string(s);
    bool is_number = false;
    if (n == 32)
        return put_long_id(s, id);
    id->number = 0;
    if (is_digit(*s) && n <= 20) {
        is_number = count_many_digits(s) >= n && (*s != '0' || n == 1);
        if (is_number && n == 20)
            return NULL; /* it may be too large */
        if (is_number)
            id->number = long_number(s, n);
    }
    set_id(id, s, n, is_number);
    return s + n;
}

static inline const uint8_t *put_bare_id(const uint8_t *s, ew_id *id)
{
    const unsigned n = count_many_digits(s);
    if (n == 0 || n > 19 || (*s == '0' && n > 1))
        return NULL;
    id->number = long_number(s, n);
    set_id(id, s, n, true);
    return s + n;
}

static inline const uint8_t *put_bare_u16(const uint8_t *s, uint16_t *out)
{
    const unsigned n = count_digits(s);
    const uint64_t v = short_number(s, n);
    if (n == 0 || v > UINT16_MAX || (*s == '0' && n > 1))
        return NULL;
    *out = (uint16_t)v;
    return s + n;
}

/*==== MARK: On the way ====*/

/* The record being made. What edges and values give it is collected here until it is complete. */
typedef struct making {
    ew_record *rec;
    bytes16 given, codes; /* as an edge has them */
} making;

/* What ways that lead nowhere may cost: some of a payload's length each, and what beginning them takes. */
#define DETOUR 64
#define MAX_DETOURS(n) (2 * (n) + 1024)

/* A payload on its way, but for where the way is at. */
typedef struct trip {
    ew_paths *p;
    const ew_graph *g;
    ew_sink *sink;
    const uint8_t *payload, *end;
    const uint8_t *limit; /* behind it there are fewer than EW_AHEAD bytes to read */
    uintptr_t zero;       /* the address that the payload's first byte has, or would have in front of the tail */
    const uint64_t *received; /* what the time of receipt gives to every record, as an edge has it */
    size_t wasted;        /* bytes, on ways that led nowhere */
    making m;             /* while the rare is done */
    uint8_t chosen[2][EW_PENDING]; /* of fields with alternatives, in records and stages: which choice, and maybe */
    uint8_t emit_of[EW_FOLLOWED];
} trip;

#define NOT_PLAIN 0x80
_Static_assert(EW_EXTRA == 1, "the lowest bit of a choice");

static inline size_t offset(const trip *t, const uint8_t *s) { return (size_t)((uintptr_t)s - t->zero); }

/* From here on in the copy of the payload's last bytes. */
static __attribute__((noinline)) const uint8_t *near_end(trip *t, const uint8_t *s)
{
    const size_t left = (size_t)(t->end - s), n = (size_t)(t->end - t->payload);
    uint8_t *const last = t->p->tail + EW_AHEAD; /* zeros from here on */
    if (n >= EW_AHEAD)
        memcpy(t->p->tail, t->end - EW_AHEAD, EW_AHEAD);
    else
        memcpy(last - left, s, left);
    t->zero = (uintptr_t)last - n;
    t->limit = last;
    return last - left;
}

/* The edge with the longest text of a tree that s begins with, or null. */
static inline __attribute__((always_inline)) ew_edge *choose(const ew_branch *b, const uint8_t *s)
{
    ew_edge *edge = NULL;
    while (b) {
        const uint32_t equal = equal_32(s, b->text);
        if ((~equal & b->wanted) == 0) {
            s += b->len;
            if (b->edge) {
                __asm__ volatile(""); /* a jump, not a move that waits for what is compared */
                edge = b->edge;
            }
            b = b->first;
        } else if (equal & 1) {
            break; /* no other stretch begins like this one */
        } else {
            b = b->next;
        }
    }
    return edge;
}

/* Whether s goes on with the text of an edge, of which somebody knows the length already. */
static inline __attribute__((always_inline)) bool fits(const ew_edge *e, const uint8_t *s, size_t len)
{
    if (~equal_32(s, e->text) & e->wanted)
        return false;
    if (len <= 32)
        return true;
    const size_t last = len - 32;
    for (size_t at = 32; at < last; at += 32)
        if (~equal_32(s + at, e->text + at))
            return false;
    return !~equal_32(s + last, e->text + last);
}

/* The edge that leads on from a node at *s, which moves behind its text, as *node moves to its target; or null. What
 * comes next waits for the target and the text's length: they are taken from where they are found first. */
static inline __attribute__((always_inline)) ew_edge *onward(ew_path_node **node, const uint8_t **s)
{
    ew_path_node *const from = *node;
    ew_edge *e = from->likely;
    if (e) {
        const size_t len = from->len;
        if (fits(e, *s, len)) {
            *s += len;
            *node = from->ahead;
            return e;
        }
        if ((e = from->second) && fits(e, *s, e->len)) {
            *s += e->len;
            *node = e->target;
            return e;
        }
    } else if (from->forecast) {
        const ew_forecast *const f = from->forecast;
        const size_t i = ew_number(&f->windows, *s), len = f->lens[i];
        e = f->edges[i];
        if (fits(e, *s, len)) {
            *s += len;
            *node = f->targets[i];
            return e;
        }
    }
    e = choose(from->runs, *s);
    if (!e && !(e = choose(from->steps, *s)))
        return NULL;
    *s += e->len;
    *node = e->target;
    return e;
}

/* Bits of the header's fields, the same in every kind. */
enum { TS_EVENT = 1, TS_TRANSACT = 2, TS_RECV = 4 };

/* Begin to make a record. */
static inline __attribute__((always_inline)) void start(trip *t, making *m, const ew_start *x)
{
    ew_record *const rec = &t->sink->records[t->sink->n];
    m->rec = rec;
    m->given = either(load(x->given), load(t->received));
    m->codes = load(x->codes);
    save(&rec->h.present, no_bytes()); /* and what is missing */
    save(&rec->h.ts_event, no_bytes()); /* and of the transaction: not to show what an earlier message left */
    save((char *)rec + x->codes_at, no_bytes());
    rec->h.ts_recv = t->sink->ts_recv;
    memcpy(&rec->h.event, &x->header.event, sizeof x->header - offsetof(ew_header, event));
    if (t->g->n_pending)
        memset(t->chosen[0], 0, sizeof t->chosen[0]);
}

/* The record being made is complete. */
static inline __attribute__((always_inline)) void finish(const making *m, const ew_start *x)
{
    ew_header *const h = &m->rec->h;
    char *const codes = (char *)m->rec + x->codes_at;
    save(codes, either(load(codes), m->codes));
    save(&h->present, either(load(&h->present), m->given));
    if (h->missing >> EW_FLAGS_AT) {
        h->flags |= (uint8_t)(h->missing >> EW_FLAGS_AT);
        h->missing &= ~(UINT64_MAX << EW_FLAGS_AT);
    }
}

/* Store what the values on an edge, of which there are some, give. */
static inline __attribute__((always_inline)) void store(const making *m, const ew_edge *e)
{
    const ew_store *x = ew_stores(e), *const end = x + e->n_stores;
    do
        memcpy((char *)m->rec + x->offset, x->value, 16);
    while (++x < end);
}

/* An edge on which records begin or end, at s. */
static inline __attribute__((always_inline)) bool turn(trip *t, making *m, const ew_edge *e, const uint8_t *s)
{
    const uint32_t at = (uint32_t)offset(t, s);
    ew_sink *sink = t->sink;
    sink->new_keys += e->new_keys;
    if (e->marks & 2)
        m->rec->h.end = at + e->end_at;
    if (e->closes) {
        finish(m, &t->g->starts[t->emit_of[sink->n]]);
        sink->n++;
        m->rec = &t->p->nobody;
    }
    if (e->opens) {
        if (sink->n == sink->cap || sink->n == EW_FOLLOWED)
            return false;
        t->emit_of[sink->n] = (uint8_t)(e->opens - 1);
        start(t, m, &t->g->starts[e->opens - 1]);
    }
    if (e->marks & 1)
        m->rec->h.begin = at + e->begin_at;
    return true;
}

/* A time of an event, for all of its records. */
static inline const uint8_t *share_time(ew_paths *p, const ew_facts *node, const uint8_t *s)
{
    int64_t time;
    const uint8_t *after = put_time(s, &time);
    for (unsigned i = 0; after && i < node->n_ops; i++) {
        ew_record *const to = &p->stages[node->ops[i].stage - 1];
        memcpy((char *)to + node->ops[i].rule.offset, &time, sizeof time);
        to->h.present |= UINT64_C(1) << node->ops[i].rule.bit;
    }
    return after;
}

/* A text of an event, for all of its records of one kind. */
static inline const uint8_t *share_text(ew_paths *p, const ew_facts *node, const uint8_t *s)
{
    ew_record *const to = &p->stages[node->ops[0].stage - 1];
    const uint8_t *after = put_text(s, (char *)to + node->ops[0].rule.offset, sizeof(ew_text32));
    if (after)
        to->h.present |= UINT64_C(1) << node->ops[0].rule.bit;
    return after;
}

/* A time of a record that its message may give in several ways: see convert. Null also where that must decide. */
static inline const uint8_t *rival_time(trip *t, ew_record *rec, const ew_facts *node, const uint8_t *s)
{
    const ew_op *const op = node->ops;
    uint8_t *const chosen = &t->chosen[0][op->pending];
    int64_t time;
    const uint8_t *after = put_time(s, &time);
    if (!after || (*chosen & NOT_PLAIN))
        return NULL;
    if (*chosen) {
        rec->h.flags |= (*chosen < op->choice ? op->choice : *chosen) & EW_EXTRA;
        if (*chosen < op->choice)
            return after;
    }
    *chosen = op->choice;
    memcpy((char *)rec + op->rule.offset, &time, sizeof time);
    rec->h.present |= UINT64_C(1) << op->rule.bit;
    return after;
}

/*==== MARK: The rare ====*/

/* A plain value to a field, as far as the shapes above know it; else null. */
static inline const uint8_t *put_plain(const ew_rule *r, bool quoted, const uint8_t *s, ew_record *rec)
{
    char *const out = (char *)rec + r->offset;
    const uint8_t *after = NULL;
    switch ((ew_type)r->type) {
    case EW_TYPE_DEC: after = put_decimal(quoted, s, (ew_dec *)(void *)out); break;
    case EW_TYPE_TIME: after = put_time(s, (int64_t *)(void *)out); break;
    case EW_TYPE_ID: after = quoted ? put_id(s, (ew_id *)(void *)out) : put_bare_id(s, (ew_id *)(void *)out); break;
    case EW_TYPE_TEXT: after = quoted && r->size <= sizeof(ew_text32) ? put_text(s, out, r->size) : NULL; break;
    case EW_TYPE_U16: after = quoted ? NULL : put_bare_u16(s, (uint16_t *)(void *)out); break;
    default: break;
    }
    if (after)
        rec->h.present |= UINT64_C(1) << r->bit;
    return after;
}

/* Fields that an edge has promised, and that are not there. */
static inline void take_back(making *m, uint64_t fields)
{
    const uint64_t given[2] = {fields, 0};
    m->given = but_not(m->given, load(given));
}

/* The value of a node at s into its fields; behind it, or null if following must give up. Of alternatives the first
 * in the dialect's order is kept, whatever order they come in. What the edge has promised of a plain value does not
 * hold, but for flags, which would be set here, too. */
static __attribute__((noinline)) const uint8_t *convert(trip *t, const ew_facts *node, const uint8_t *s)
{
    const uint8_t *const at = t->payload + offset(t, s);
    const uint8_t *after = NULL;
    const uint8_t *ends[EW_OPS] = {NULL};
    bool held = false, lost = false; /* this value; another one of the record's object */
    take_back(&t->m, node->given[0]);
    for (unsigned i = 0; i < node->n_ops; i++) {
        const ew_op *op = &node->ops[i];
        ew_record *const to = op->stage ? &t->p->stages[op->stage - 1] : t->m.rec;
        bool exact = true, plain = true;
        uint8_t *chosen = NULL;
        if (op->pending != EW_NOBODY) {
            chosen = &t->chosen[op->stage != 0][op->pending];
            if (*chosen && (*chosen & ~NOT_PLAIN) < op->choice)
                continue;
            lost |= *chosen & EW_EXTRA;
            if (*chosen & NOT_PLAIN)
                return NULL; /* it may have left more than its value */
            to->h.present &= ~(UINT64_C(1) << op->rule.bit);
            if (!op->stage)
                take_back(&t->m, UINT64_C(1) << op->rule.bit);
        }
        if (!(after = put_plain(&op->rule, node->quoted, s, to))) {
            const uint8_t *e = ew_convert(t->p->dialect, &op->rule, node->quoted, at, t->end, to, &exact);
            if (!e)
                return NULL;
            after = s + (e - at);
            plain = false;
        }
        ends[i] = after;
        if (chosen)
            *chosen = op->choice | (plain ? 0 : NOT_PLAIN);
        held |= exact;
        t->sink->slow += op->rule.type == EW_TYPE_ENUM || op->rule.type == EW_TYPE_BOOL;
    }
    if (node->n_ops > 1 && ends[0] && ends[1] && ends[0] != ends[1])
        return NULL; /* one of them took a part for the whole */
    if ((!held && node->in_row) || lost)
        t->m.rec->h.flags |= EW_EXTRA;
    if (!after && !(after = pass(node->quoted, s))) {
        const uint8_t *e = ew_pass(node->quoted, at, t->end);
        after = e ? s + (e - at) : NULL;
    }
    return after;
}

/* Copy fields that a stage has, given by their bits. */
static inline void copy_fields(ew_record *r, const ew_record *stage, uint64_t bits)
{
    size_t n;
    if (bits & TS_EVENT)
        r->h.ts_event = stage->h.ts_event;
    if (bits & TS_TRANSACT)
        r->h.ts_transact = stage->h.ts_transact;
    bits &= ~(uint64_t)(TS_EVENT | TS_TRANSACT);
    if (!bits)
        return;
    for (const ew_field *f = ew_fields(r->h.kind, &n); bits; bits &= bits - 1) {
        const ew_field *x = &f[__builtin_ctzll(bits)];
        if (x->size == sizeof(ew_text32))
            memcpy((char *)r + x->offset, (const char *)stage + x->offset, sizeof(ew_text32));
        else
            memcpy((char *)r + x->offset, (const char *)stage + x->offset, x->size);
    }
}

/* Give a record what its event gave to all of its kind: where it has no value of its own, or a `strong` field. */
static inline bool share(const ew_record *stage, ew_record *r, uint64_t strong)
{
    const uint64_t all = stage->h.present | stage->h.missing, both_have = all & (r->h.present | r->h.missing);
    uint64_t bits = all;
    if (both_have) {
        bits &= ~both_have | strong;
        if (both_have & strong) {
            r->h.flags |= EW_EXTRA;
            r->h.present &= ~(both_have & strong);
            r->h.missing &= ~(both_have & strong);
        }
    }
    copy_fields(r, stage, bits);
    r->h.present |= stage->h.present & bits;
    r->h.missing |= stage->h.missing & bits;
    r->h.flags |= stage->h.flags;
    return bits == all || !stage->h.flags; /* else it is not known whose the flags are */
}

/*==== MARK: Following ====*/

/* Where a number ends that nearly always has as many digits as the last one here: a jump that says so lets what comes
 * next begin before they are counted. */
static inline __attribute__((always_inline)) const uint8_t *steady(ew_path_node *node, const uint8_t *s,
                                                                   const uint8_t *after)
{
    const uint8_t *usual = s + node->usual;
    if (after == usual) {
        __asm__ volatile("" : "+r"(usual)); /* else it would be the same as what is waited for */
        return usual;
    }
    if (after)
        node->usual = (uint8_t)(after - s);
    return after;
}

/* A graph does not lead on at s. */
static bool give_up(trip *t, const uint8_t *s)
{
    t->wasted += DETOUR + offset(t, s);
    return false;
}

/* From behind the text of a graph's first edge, which leads to a node, to the payload's end. */
static bool follow(trip *t, ew_edge *e, ew_path_node *node, const uint8_t *s)
{
    ew_paths *const p = t->p;
    const ew_graph *const g = t->g;
    ew_sink *const sink = t->sink;
    making m = {&p->nobody, no_bytes(), no_bytes()};

    sink->n = 0;
    sink->new_keys = 0;
    sink->slow = 0;
    for (unsigned i = 0; i < g->n_stages; i++)
        p->stages[i].h.missing = p->stages[i].h.flags = p->stages[i].h.present = 0;
    if (g->n_pending)
        memset(t->chosen[1], 0, sizeof t->chosen[1]);
    if (g->own)
        start(t, &m, g->starts);
    const uint8_t *limit = t->limit;
    for (;;) {
        e->uses++;
        m.given = either(m.given, load(e->given));
        m.codes = either(m.codes, load(e->codes));
        if (!e->plain) {
            if (e->n_stores)
                store(&m, e);
            if (e->turns) {
                if (!turn(t, &m, e, s - e->len))
                    return give_up(t, s);
                if (!node)
                    break;
                m.given = either(m.given, load(node->facts->given));
            }
        }
        char *const out = (char *)m.rec + node->offset;
        const uint8_t *after;
        switch ((ew_shape)node->shape) {
        case EW_SHAPE_PASS: after = pass(true, s); break;
        case EW_SHAPE_PASS_BARE: after = steady(node, s, pass(false, s)); break;
        case EW_SHAPE_DEC: after = put_decimal(true, s, (ew_dec *)(void *)out); break;
        case EW_SHAPE_DEC_BARE: after = put_decimal(false, s, (ew_dec *)(void *)out); break;
        case EW_SHAPE_SIGNED: after = put_signed(true, s, (ew_dec *)(void *)out); break;
        case EW_SHAPE_SIGNED_BARE: after = put_signed(false, s, (ew_dec *)(void *)out); break;
        case EW_SHAPE_U16: after = put_bare_u16(s, (uint16_t *)(void *)out); break;
        case EW_SHAPE_RIVAL_TIME: after = rival_time(t, m.rec, node->facts, s); break;
        case EW_SHAPE_TIME: after = put_time(s, (int64_t *)(void *)out); break;
        case EW_SHAPE_ID: after = put_id(s, (ew_id *)(void *)out); break;
        case EW_SHAPE_ID_BARE: after = steady(node, s, put_bare_id(s, (ew_id *)(void *)out)); break;
        case EW_SHAPE_TEXT_16: after = put_text(s, out, sizeof(ew_text16)); break;
        case EW_SHAPE_TEXT_32: after = put_text(s, out, sizeof(ew_text32)); break;
        case EW_SHAPE_SHARED_TIME: after = share_time(p, node->facts, s); break;
        case EW_SHAPE_SHARED_TEXT_32: after = share_text(p, node->facts, s); break;
        case EW_SHAPE_ANY: after = NULL; break;
        default: __builtin_unreachable();
        }
        if (__builtin_expect(!after, 0)) {
            t->m = m;
            if (!(after = convert(t, node->facts, s)))
                return give_up(t, s);
            m.given = t->m.given;
        }
        if (__builtin_expect(after > limit, 0)) {
            if (after > t->end && limit == t->end)
                return give_up(t, after); /* in the padding */
            after = near_end(t, after);
            limit = t->limit;
        }
        s = after;
        if (!(e = onward(&node, &s)))
            return give_up(t, s);
    }
    if (offset(t, s) != (size_t)(t->end - t->payload))
        return give_up(t, s);
    if (g->own) {
        finish(&m, g->starts);
        sink->n = 1;
        return true;
    }
    if (m.rec != &p->nobody || sink->n == 0)
        return give_up(t, s);
    for (size_t i = 0; i < sink->n; i++)
        if (!share(&p->stages[t->emit_of[i]], &sink->records[i], g->strong[t->emit_of[i]]))
            return give_up(t, s);
    return true;
}

/* The graphs that most messages take shall come first. What is passed by is gradually forgotten, so that a venue may
 * change what it writes. */
static inline void move_up(ew_paths *p, uint32_t i)
{
    ew_graph *const g = p->graphs[i], *const before = p->graphs[i - 1];
    if (g->hits > before->hits) {
        p->graphs[i] = before;
        p->graphs[i - 1] = g;
    } else {
        before->hits -= before->hits / 64;
    }
}

#define JOIN_(a, b) a##_##b
#define JOIN(a, b) JOIN_(a, b)

bool JOIN(ew_follow, EW_SET)(ew_paths *p, const uint8_t *payload, size_t n, ew_sink *sink)
{
    static const uint64_t received[2][2] = {{0, 0}, {TS_RECV, 0}};
    trip t;
    t.p = p;
    t.sink = sink;
    t.received = received[sink->ts_recv != 0];
    t.wasted = 0;
    if (sink->cap == 0)
        return false;
    t.payload = payload;
    t.end = payload + n;
    /* What nobody has padded, nobody may have read lately: bytes objects of a list, say. Far ones come side by side so,
     * but more of them at a time than this hold each other up. */
    if (!sink->padded)
        for (size_t i = 0; i < n && i < 1024; i += 64)
            __builtin_prefetch(payload + i);
    const uint8_t *const limit = sink->padded ? t.end : n > EW_AHEAD ? t.end - EW_AHEAD : NULL;
    for (uint32_t i = 0; i < p->n_graphs && t.wasted < MAX_DETOURS(n); i++) {
        ew_graph *g = p->graphs[i];
        t.zero = (uintptr_t)payload;
        t.limit = limit;
        t.g = g;
        const uint8_t *s = limit ? payload : near_end(&t, payload);
        ew_path_node *node = g->facts[EW_BEGIN].node;
        ew_edge *const e = onward(&node, &s);
        if (!e)
            continue;
        if (!follow(&t, e, node, s))
            continue;
        g->hits++;
        if (!--g->due)
            ew_foresee(p, g);
        if (i)
            move_up(p, i);
        return true;
    }
    return false;
}
