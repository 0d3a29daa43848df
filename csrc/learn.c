/* Learning paths (paths.h) from messages that the general parser has decoded. Not hot, but bounded: a message costs
 * time in proportion to its values, and what does not fit into the limits is not learned. */
#include "paths.h"

#include <stdlib.h>

#define MAX_STEPS 768
#define MAX_NAMES 32768 /* bytes of key paths in one message */
#define MAX_ALTERNATIVES 62 /* of one field */

/* A value of the message, in document order. */
typedef struct step {
    uint32_t begin, end; /* without the quotes */
    uint32_t name, name_len, name_hash;
    uint32_t row_name_len; /* of the part of the name that is the row's */
    uint32_t new_keys; /* keys since the value before that the dialect does not know */
    uint32_t row;      /* number of the record, from 1, whose object it is in; 0 outside */
    uint16_t node;
    uint8_t emit;   /* of the row */
    uint8_t quoted, in_row;
    uint8_t pinned; /* it tells events apart: it must be part of a text */
    uint8_t named;  /* it is the event's name, which every record holds */
    uint8_t contested; /* a field that it gives has alternatives */
    uint8_t n_ops;
    ew_op ops[EW_OPS];
} step;

typedef struct learner {
    ew_paths *p;
    const ew_lesson *x;
    const ew_event *event;
    const ew_emit *emits;
    ew_graph *g;
    step *steps; /* 0 is the payload's beginning; one behind the last is its end */
    uint32_t n;
    uint8_t *names;
    uint32_t n_names;
    uint32_t new_keys;
    uint8_t own;
    uint64_t signature;
    /* Where the walk is: the keys on the way from the frame, and how many of them lie above the event and the row. */
    struct { uint32_t begin, end; uint32_t index; } way[EW_MAX_DEPTH + 1];
    uint32_t depth, frame_depth, event_depth, row_depth;
    uint64_t last_head; /* ew_head of the last key on the way; 0 if that is an element, or nothing */
    uint32_t row, in_event;
    bool failed;
} learner;

static uint64_t mix(uint64_t h, const void *data, size_t n)
{
    const uint8_t *s = data;
    for (size_t i = 0; i < n; i++)
        h = (h ^ s[i]) * UINT64_C(0x100000001b3);
    return h;
}

/*==== MARK: What a value is ====*/

/* Whether a path may end with the last key on the way. */
static inline bool may_spell(const learner *l, const ew_path *path)
{
    return !path->n || l->last_head == 0 ||
           EW_AT(l->p->dialect->segments, ew_word, path->first + path->n - 1)->head == l->last_head;
}

static inline bool is_index(const ew_word *w, uint32_t k)
{
    uint64_t v;
    if (w->len == 1)
        return *w->s - '0' == (int)k;
    return k > 9 && ew_plain_u64((const uint8_t *)w->s, w->len, &v) && v == k;
}

/* Whether the keys on the way from `from` up to `to` spell a path; -1 if they would, were it not for array indexes. */
static int spells(const learner *l, uint32_t from, uint32_t to, const ew_path *path)
{
    const uint8_t *text = l->x->payload;
    uint32_t at = from, skipped = 0;
    for (uint16_t i = 0; i < path->n; i++, at++) {
        const ew_word *w = EW_AT(l->p->dialect->segments, ew_word, path->first + i);
        for (;; at++, skipped++) {
            if (at >= to)
                return 0;
            uint32_t k = l->way[at].index;
            if (k == EW_NO_TOKEN) {
                uint32_t n = l->way[at].end - l->way[at].begin;
                if (n == w->len && memcmp(text + l->way[at].begin, w->s, n) == 0)
                    break;
                return 0;
            }
            if (is_index(w, k)) {
                skipped += k > 9; /* which only some paths know */
                break;
            }
        }
    }
    return at != to ? 0 : skipped ? -1 : 1;
}

/* The names of nodes are the ways to their values from the top of the payload: segments that begin with one of these.
 * No key has such a byte, because control characters are not allowed there. Equal ways mean equal containers around. */
enum { NAME_KEY = 1, NAME_ELEMENT, NAME_ROW, NAME_MARK };

static bool name(learner *l, step *s)
{
    s->name = l->n_names;
    for (uint32_t i = 0; i < l->depth; i++) {
        bool element = l->way[i].index != EW_NO_TOKEN, row = element && l->row && !l->own && i + 1 == l->row_depth;
        const void *data = element ? (const void *)&l->way[i].index : l->x->payload + l->way[i].begin;
        size_t n = row ? 0 : element ? sizeof l->way[i].index : l->way[i].end - l->way[i].begin;
        if (l->n_names + n + 1 > MAX_NAMES)
            return false;
        l->names[l->n_names++] = row ? NAME_ROW : element ? NAME_ELEMENT : NAME_KEY;
        memcpy(l->names + l->n_names, data, n);
        l->n_names += (uint32_t)n;
        if (i + 1 == l->row_depth)
            s->row_name_len = l->n_names - s->name;
    }
    s->name_len = l->n_names - s->name;
    s->name_hash = (uint32_t)mix(0, l->names + s->name, s->name_len);
    return true;
}

/* How many segments two names have in common from their beginnings. */
static uint32_t common(const uint8_t *a, uint32_t a_len, const uint8_t *b, uint32_t b_len)
{
    uint32_t n = 0, at = 0;
    while (at < a_len && at < b_len && a[at] == b[at]) {
        uint32_t end = at + 1;
        if (a[at] == NAME_ELEMENT)
            end += sizeof(uint32_t);
        else
            while (end < a_len && a[end] > NAME_MARK)
                end++;
        if (end > b_len || memcmp(a + at, b + at, end - at) != 0 ||
            (end < b_len && a[at] == NAME_KEY && b[end] > NAME_MARK))
            return n;
        n++;
        at = end;
    }
    return n;
}

/* Number of a field with alternatives among those of the graph. */
static uint8_t pending_number(learner *l, uint16_t rule)
{
    ew_graph *g = l->g;
    uint8_t i = 0;
    while (i < g->n_pending && g->pending_rule[i] != rule)
        i++;
    if (i == EW_PENDING) {
        l->failed = true;
        return 0;
    }
    g->pending_rule[i] = rule;
    if (i == g->n_pending)
        g->n_pending++;
    return i;
}

/* The fields that take the value at the end of the way, if it is there alone or behind other alternatives. */
static void find_ops(learner *l, step *s, bool container)
{
    const ew_dialect *d = l->p->dialect;
    for (uint16_t m = 0; m < l->event->n_emits && !l->failed; m++) {
        const ew_emit *e = &l->emits[m];
        for (uint16_t i = 0; i < e->n_rules; i++) {
            const ew_rule *r = EW_AT(d->rules, ew_rule, e->first_rule + i);
            for (uint8_t n = 0; n < r->n; n++) {
                const ew_alternative *a = EW_AT(d->alternatives, ew_alternative, r->first + n);
                bool here = a->scope == EW_SCOPE_ROW     ? l->row && s->emit == m
                            : a->scope == EW_SCOPE_EVENT ? l->in_event && !(l->row && !l->own)
                                                         : !(l->row && !l->own);
                uint32_t from = a->scope == EW_SCOPE_ROW     ? l->row_depth
                                : a->scope == EW_SCOPE_EVENT ? l->event_depth
                                                             : l->frame_depth;
                int fits = here && may_spell(l, &a->path) ? spells(l, from, l->depth, &a->path) : 0;
                if (fits == 0)
                    continue;
                unsigned row_alternatives = 0, rows_before = 0, turns = 0;
                bool row = false;
                for (uint8_t k = 0; k < r->n; k++) {
                    const bool before = row;
                    row = EW_AT(d->alternatives, ew_alternative, r->first + k)->scope == EW_SCOPE_ROW;
                    turns += k && row != before;
                    row_alternatives += row;
                    rows_before += row && k <= n;
                }
                /* A container that a field would have to take, and a field that would come from just any element. From
                 * the frame into the event it is not the record's own value. */
                if (fits < 0 || container || s->n_ops == EW_OPS ||
                    (l->own && l->in_event && a->scope == EW_SCOPE_FRAME && l->x->frame != l->x->event) || turns > 1 ||
                    r->n > MAX_ALTERNATIVES) {
                    l->failed = true;
                    return;
                }
                bool shared = a->scope != EW_SCOPE_ROW && !l->own;
                unsigned rivals = shared ? r->n - row_alternatives : l->own ? r->n : row_alternatives;
                if (shared && row_alternatives && rows_before == 0 && r->type <= EW_TYPE_TIME) {
                    l->g->strong[m] |= UINT64_C(1) << r->bit; /* the event's value goes before the row's own */
                } else if (shared && rows_before < row_alternatives) {
                    l->failed = true;
                    return;
                }
                ew_op *op = &s->ops[s->n_ops++];
                *op = (ew_op){*r, shared ? (uint8_t)(m + 1) : 0, EW_NOBODY, (uint8_t)(2 * (n + 1) + s->in_row)};
                s->contested |= r->n > 1;
                if (rivals > 1)
                    op->pending = pending_number(l, (uint16_t)(2 * (e->first_rule + i) + shared));
            }
        }
    }
}

/* Whether the end of the way is where an emit has its rows. */
static __attribute__((noinline)) bool is_rows(const learner *l)
{
    for (uint16_t i = 0; l->in_event && i < l->event->n_emits; i++)
        if (l->emits[i].rows.n && spells(l, l->event_depth, l->depth, &l->emits[i].rows))
            return true;
    return false;
}

/* Whether a path goes on below the first keys of the way. */
static bool leads_below(const learner *l, uint32_t from, uint32_t to, const ew_path *path)
{
    ew_path head = *path;
    for (head.n = 1; head.n < path->n; head.n++)
        if (spells(l, from, to, &head))
            return true;
    return false;
}

/* Whether a path from elsewhere leads into the rows of which the way ends in one: all elements are one to a graph, and
 * what it knows of one would be taken for true of another. */
static bool is_looked_into(const learner *l)
{
    const ew_dialect *d = l->p->dialect;
    const bool element = l->way[l->depth - 1].index != EW_NO_TOKEN;
    const uint32_t to = l->depth - element;
    for (uint32_t i = 0; element && i < d->conditions.n; i++)
        if (leads_below(l, l->event_depth, to, &EW_AT(d->conditions, ew_condition, i)->path))
            return true;
    for (uint16_t m = 0; m < l->event->n_emits; m++)
        for (uint16_t i = 0; i < l->emits[m].n_rules; i++) {
            const ew_rule *r = EW_AT(d->rules, ew_rule, l->emits[m].first_rule + i);
            for (uint8_t n = 0; n < r->n; n++) {
                const ew_alternative *a = EW_AT(d->alternatives, ew_alternative, r->first + n);
                const uint32_t from = a->scope == EW_SCOPE_FRAME ? l->frame_depth : l->event_depth;
                if (a->scope != EW_SCOPE_ROW && leads_below(l, from, to, &a->path))
                    return true;
            }
        }
    return false;
}

/* Whether a value tells events apart, beyond being there, or would be an envelope if it were an object. */
static bool pins(const learner *l)
{
    const ew_dialect *d = l->p->dialect;
    if (is_rows(l))
        return true;
    for (uint32_t i = 0; l->depth == l->frame_depth + 1 && i < d->envelopes.n; i++) {
        const ew_word *w = &EW_AT(d->envelopes, ew_envelope, i)->enter;
        uint32_t n = l->way[l->frame_depth].end - l->way[l->frame_depth].begin;
        if (l->way[l->frame_depth].index == EW_NO_TOKEN && n == w->len &&
            memcmp(l->x->payload + l->way[l->frame_depth].begin, w->s, n) == 0)
            return true;
    }
    for (uint32_t i = 0; l->in_event && i < d->conditions.n; i++) {
        const ew_condition *c = EW_AT(d->conditions, ew_condition, i);
        if ((l->last_head == c->last_head || l->last_head == 0) && (c->n || !ew_in(c->types, EW_ANY)) &&
            spells(l, l->event_depth, l->depth, &c->path))
            return true;
    }
    return false;
}

/*==== MARK: Steps ====*/

/* Whether a string of the event is its name, or might be the next time, even where any text will do. */
static __attribute__((noinline)) void look_for_name(const learner *l, step *s)
{
    const ew_condition *c = EW_AT(l->p->dialect->conditions, ew_condition, l->event->first_condition);
    if (!may_spell(l, &c->path) || spells(l, l->event_depth, l->depth, &c->path) != 1)
        return;
    s->pinned = true;
    s->named = s->end - s->begin == l->event->name.len &&
               memcmp(l->x->payload + s->begin, l->event->name.s, l->event->name.len) == 0;
}

static void add_step(learner *l, uint32_t token)
{
    const ew_token *t = &l->x->tokens[token];
    if (l->n + 2 >= MAX_STEPS) {
        l->failed = true;
        return;
    }
    step *s = &l->steps[++l->n];
    *s = (step){.begin = t->begin, .end = t->end, .new_keys = l->new_keys};
    l->new_keys = 0;
    s->quoted = t->type == EW_TOK_STRING;
    s->row = l->row;
    s->emit = l->row ? l->x->rows[l->row - 1].emit : 0;
    s->in_row = l->row && (!l->own || l->in_event);
    if (ew_in(t->flags, EW_TOK_ESCAPED) || !name(l, s))
        l->failed = true;
    find_ops(l, s, false);
    if (s->in_row && s->contested && s->n_ops > 1)
        l->failed = true; /* one field may lose it and another keep it */
    s->pinned = pins(l);
    if (l->own && l->in_event && s->quoted)
        look_for_name(l, s);
}

static void walk(learner *l, uint32_t token);

static void walk_child(learner *l, uint32_t token, uint32_t key, uint32_t index)
{
    const ew_token *t = l->x->tokens;
    if (l->failed || l->depth == EW_MAX_DEPTH) {
        l->failed = true;
        return;
    }
    l->way[l->depth].index = index;
    l->last_head = 0;
    if (index == EW_NO_TOKEN) {
        if (ew_in(t[key].flags, EW_TOK_ESCAPED))
            l->failed = true;
        l->new_keys += ew_in(t[key].flags, EW_TOK_NEW_KEY);
        l->way[l->depth].begin = t[key].begin;
        l->way[l->depth].end = t[key].end;
        l->last_head = ew_head(l->x->payload + t[key].begin, t[key].end - t[key].begin, l->x->payload + l->x->n);
    }
    l->depth++;
    walk(l, token);
    l->depth--;
}

static void walk(learner *l, uint32_t token)
{
    const ew_token *t = l->x->tokens;
    const uint32_t row = l->row, row_depth = l->row_depth, in_event = l->in_event;
    bool container = t[token].type == EW_TOK_OBJECT || t[token].type == EW_TOK_ARRAY;

    if (token == l->x->frame)
        l->frame_depth = l->depth;
    if (token == l->x->event) {
        l->in_event = 1;
        l->event_depth = l->depth;
    }
    for (uint32_t i = 0; !l->own && i < l->x->n_rows; i++) {
        if (l->x->rows[i].token == token) {
            if (row || t[token].next == token + 1)
                l->failed = true; /* rows in rows, and rows without a value */
            l->row = i + 1;
            l->row_depth = l->depth;
            if (l->way[l->depth - 1].index == 0 || l->way[l->depth - 1].index == EW_NO_TOKEN)
                l->failed |= is_looked_into(l);
        }
    }
    if (!container || t[token].next == token + 1) {
        add_step(l, token);
    } else {
        step nobody = {.emit = l->row ? l->x->rows[l->row - 1].emit : 0};
        find_ops(l, &nobody, true);
        const bool rows = t[token].type == EW_TOK_ARRAY && is_rows(l);
        uint32_t index = 0;
        for (uint32_t i = token + 1; i < t[token].next && !l->failed; i = t[i].next) {
            if (t[token].type == EW_TOK_OBJECT) {
                for (uint32_t k = token + 1; k < i; k = t[k + 1].next) /* a repeated key: the last of them counts */
                    if (t[k].end - t[k].begin == t[i].end - t[i].begin &&
                        memcmp(l->x->payload + t[k].begin, l->x->payload + t[i].begin, t[i].end - t[i].begin) == 0)
                        l->failed = true;
                walk_child(l, i + 1, i, EW_NO_TOKEN);
                i++;
            } else {
                l->failed |= rows && t[i].type != EW_TOK_OBJECT; /* where another one might be a row */
                walk_child(l, i, 0, index++);
            }
        }
    }
    l->row = row;
    l->row_depth = row_depth;
    l->in_event = in_event;
}

/* The token at a path from another one, or EW_NO_TOKEN. The message has no escaped and no repeated keys. */
static uint32_t look_up(const learner *l, uint32_t token, const ew_word *words, uint32_t n)
{
    const ew_token *t = l->x->tokens;
    for (; n && token != EW_NO_TOKEN; n--, words++) {
        uint32_t found = EW_NO_TOKEN, index = 0;
        bool array = t[token].type == EW_TOK_ARRAY;
        for (uint32_t m = token + 1; (array || t[token].type == EW_TOK_OBJECT) && m < t[token].next;
             m = t[m + !array].next, index++)
            if (array ? is_index(words, index)
                      : t[m].end - t[m].begin == words->len &&
                            memcmp(l->x->payload + t[m].begin, words->s, words->len) == 0)
                found = m + !array;
        token = found;
    }
    return token;
}

static uint64_t mix_type(const learner *l, uint64_t h, uint32_t token)
{
    uint8_t type = token == EW_NO_TOKEN ? UINT8_MAX : l->x->tokens[token].type;
    return mix(h, &type, 1);
}

/* What conditions and envelopes see in this message: messages of one graph must all look the same to them, so that
 * no path through the graph can make a message that would be another event. */
static uint64_t signature(const learner *l)
{
    const ew_dialect *d = l->p->dialect;
    const ew_token *t = l->x->tokens;
    uint64_t h = mix(UINT64_C(0xcbf29ce484222325), &l->x->number, sizeof l->x->number);
    h = mix_type(l, h, 0);
    for (uint32_t i = 0; i < d->envelopes.n; i++) {
        const ew_envelope *e = EW_AT(d->envelopes, ew_envelope, i);
        uint32_t inner = look_up(l, l->x->frame, &e->enter, 1);
        h = mix_type(l, h, inner);
        h = mix(h, &(uint8_t){inner == l->x->event}, 1);
        for (uint16_t k = 0; k < e->n; k++)
            h = mix_type(l, h, look_up(l, l->x->frame, EW_AT(d->words, ew_word, e->first + k), 1));
    }
    for (uint32_t i = 0; i < d->conditions.n; i++) {
        const ew_condition *c = EW_AT(d->conditions, ew_condition, i);
        uint32_t token = look_up(l, l->x->event, EW_AT(d->segments, ew_word, c->path.first), c->path.n);
        h = mix_type(l, h, token);
        if (token != EW_NO_TOKEN && c->n && t[token].type <= EW_TOK_NUMBER)
            h = mix(h, l->x->payload + t[token].begin, t[token].end - t[token].begin);
    }
    return h;
}

/*==== MARK: Nodes ====*/

/* What following compares of a text's first 32 bytes: a bit for each that the text has. */
static uint32_t wanted(uint32_t len) { return len < 32 ? (UINT32_C(1) << len) - 1 : UINT32_MAX; }

#define LINE 64 /* bytes of a cache line, and bytes behind a piece that can be read */

/* Where several pieces are needed there is a look at the room first; some of it may be lost between them. */
static bool has_room(const ew_paths *p, size_t n) { return p->n_arena + n + 16 * LINE <= EW_ARENA; }

void *ew_piece(ew_paths *p, size_t n)
{
    const size_t align = n < LINE ? 8 : LINE;
    const size_t at = p->n_arena + (-(uintptr_t)(p->arena + p->n_arena) & (align - 1));
    if (at + n + LINE > EW_ARENA)
        return NULL;
    p->n_arena = (uint32_t)(at + n);
    return p->arena + at;
}

static uint16_t find_node(const learner *l, const ew_graph *g, const step *s)
{
    for (uint16_t i = EW_BEGIN + 1; i < g->n_nodes; i++) {
        const ew_facts *n = &g->facts[i];
        if (n->name_hash == s->name_hash && n->name_len == s->name_len && n->quoted == s->quoted &&
            memcmp(l->p->text + n->name, l->names + s->name, s->name_len) == 0)
            return i;
    }
    return EW_END;
}

static bool keep_text(ew_paths *p, const void *data, uint32_t n, uint32_t *at)
{
    if (p->n_text + n > EW_TEXT)
        return false;
    *at = p->n_text;
    memcpy(p->text + p->n_text, data, n);
    p->n_text += n;
    return true;
}

/* Whether of a field's alternatives this graph has but one, so that there is nothing to wait for. */
static bool is_alone(const ew_graph *g, const ew_op *op)
{
    for (uint16_t i = EW_BEGIN + 1; op->pending != EW_NOBODY && i < g->n_nodes; i++)
        for (uint8_t k = 0; k < g->facts[i].n_ops; k++)
            if (g->facts[i].ops[k].pending == op->pending && g->facts[i].ops[k].choice >> 1 != op->choice >> 1)
                return false;
    return true;
}

static ew_shape shape_of(const ew_graph *g, const ew_facts *n)
{
    const ew_op *op = &n->ops[0];
    if (n->n_ops == 0)
        return n->quoted ? EW_SHAPE_PASS : EW_SHAPE_PASS_BARE;
    bool shared_times = true;
    if (n->n_ops == 1 && op->stage == 0 && op->rule.type == EW_TYPE_TIME && !is_alone(g, op))
        return EW_SHAPE_RIVAL_TIME;
    for (uint8_t i = 0; i < n->n_ops; i++) {
        shared_times &= n->ops[i].stage && n->ops[i].rule.type == EW_TYPE_TIME;
        if (!is_alone(g, &n->ops[i]))
            return EW_SHAPE_ANY;
    }
    if (shared_times)
        return EW_SHAPE_SHARED_TIME;
    if (n->n_ops == 1 && op->stage && n->quoted && op->rule.type == EW_TYPE_TEXT && op->rule.size == sizeof(ew_text32))
        return EW_SHAPE_SHARED_TEXT_32;
    if (n->n_ops > 1 || op->stage)
        return EW_SHAPE_ANY;
    switch ((ew_type)op->rule.type) {
    case EW_TYPE_DEC: return (n->negative ? EW_SHAPE_SIGNED : EW_SHAPE_DEC) + !n->quoted;
    case EW_TYPE_TIME: return EW_SHAPE_TIME;
    case EW_TYPE_ID: return EW_SHAPE_ID + !n->quoted;
    case EW_TYPE_U16: return n->quoted ? EW_SHAPE_ANY : EW_SHAPE_U16;
    case EW_TYPE_TEXT:
        if (n->quoted && op->rule.size == sizeof(ew_text16))
            return EW_SHAPE_TEXT_16;
        if (n->quoted && op->rule.size == sizeof(ew_text32))
            return EW_SHAPE_TEXT_32;
        return EW_SHAPE_ANY;
    default: return EW_SHAPE_ANY;
    }
}

/* What a node gives is said once, for edges repeat it: if its field gets alternatives later, what promises too much is
 * taken back when it is followed (convert). */
static void set_shape(const learner *l, ew_facts *n)
{
    ew_path_node *node = n->node;
    node->shape = (uint8_t)shape_of(l->g, n);
    if (node->shape <= EW_SHAPE_PASS_BARE) {
        n->given[1] = n->in_row ? (uint64_t)EW_EXTRA << EW_FLAGS_AT : 0;
    } else if (node->shape < EW_SHAPE_RIVAL_TIME) {
        n->given[0] = UINT64_C(1) << n->ops[0].rule.bit;
        node->offset = n->ops[0].rule.offset;
    }
}

static uint32_t common_with(const learner *l, const step *s, uint16_t rank)
{
    const ew_facts *n = &l->g->facts[l->g->order[rank]];
    return common(l->names + s->name, s->name_len, l->p->text + n->name, n->name_len);
}

/* The first rank above `after` that a new node can have. All that lies under one key must stay together, whatever
 * its value is: then no way through the graph can come to a key twice. 0 if there is no such rank. */
static uint16_t find_rank(const learner *l, const step *s, uint16_t after)
{
    const ew_graph *g = l->g;
    const uint16_t n = g->n_nodes - 1; /* ranks: all nodes but the end's have one */
    uint32_t most = 0;
    for (uint16_t r = 0; r < n; r++) {
        uint32_t c = common_with(l, s, r);
        most = c > most ? c : most;
    }
    for (uint16_t r = after + 1; r <= n; r++) {
        const uint32_t left = common_with(l, s, r - 1), right = r < n ? common_with(l, s, r) : 0;
        const ew_facts *a = &g->facts[g->order[r - 1]], *b = r < n ? &g->facts[g->order[r]] : a;
        const uint32_t around =
            r < n ? common(l->p->text + a->name, a->name_len, l->p->text + b->name, b->name_len) : 0;
        if (around <= left && (left == most || right == most))
            return r;
    }
    return 0;
}

/* A new node, in the order of keys behind rank `after`; EW_END if it has no place there. */
static uint16_t add_node(learner *l, const step *s, uint16_t after)
{
    ew_graph *g = l->g;
    uint32_t text;
    uint16_t rank = find_rank(l, s, after);
    if (!rank || g->n_nodes == EW_NODES || !keep_text(l->p, l->names + s->name, s->name_len, &text))
        return EW_END;
    ew_path_node *const node = ew_piece(l->p, sizeof *node);
    if (!node)
        return EW_END;
    uint16_t i = g->n_nodes++;
    node->facts = &g->facts[i];
    g->facts[i] = (ew_facts){.node = node, .quoted = s->quoted, .in_row = s->in_row, .n_ops = s->n_ops, .name = text,
                             .name_len = s->name_len, .name_hash = s->name_hash};
    memcpy(g->facts[i].ops, s->ops, sizeof s->ops);
    for (uint16_t k = EW_BEGIN + 1; k <= i; k++) /* another alternative may have come */
        if (k == i || s->contested)
            set_shape(l, &g->facts[k]);
    memmove(&g->order[rank + 1], &g->order[rank], (size_t)(i - 1 - rank) * sizeof *g->order);
    g->order[rank] = i;
    for (uint16_t r = rank; r < i; r++)
        g->facts[g->order[r]].rank = r;
    return i;
}

/* The node of a step that must come behind *rank, which moves there; made if `grow` and it is not there. False if the
 * graph has it before that, or there is no place for it. */
static bool place_step(learner *l, step *s, uint16_t *rank, bool grow)
{
    uint16_t n = find_node(l, l->g, s);
    for (uint8_t i = 0; i < s->n_ops && n == EW_END; i++)
        if (s->ops[i].pending != EW_NOBODY && l->g->fixed_pending >> s->ops[i].pending & 1 && !is_alone(l->g, &s->ops[i]))
            return false;
    if (n == EW_END && !grow)
        return true;
    if (n == EW_END && (n = add_node(l, s, *rank)) == EW_END)
        return false;
    if (l->g->facts[n].rank <= *rank)
        return false;
    s->node = n;
    *rank = l->g->facts[n].rank;
    if (grow && l->x->payload[s->begin] == '-' && !l->g->facts[n].negative) {
        l->g->facts[n].negative = 1;
        set_shape(l, &l->g->facts[n]);
    }
    return true;
}

/* Give every step its node. False if the keys come in another order than this graph's, or there is no more room;
 * with `grow` unset nothing is added and only the order is looked at. */
static bool place(learner *l, bool grow)
{
    uint16_t rank = 0, row_rank = 0;
    for (uint32_t i = 1; i <= l->n; i++) {
        step *s = &l->steps[i];
        if (s->row && !l->own && s->row != s[-1].row) {
            /* Rows begin where their place is in the order of keys, and the next of the same begins there again. */
            step mark = {.name = l->n_names, .name_len = s->row_name_len + 1};
            memcpy(l->names + mark.name, l->names + s->name, s->row_name_len);
            l->names[mark.name + s->row_name_len] = NAME_MARK;
            mark.name_hash = (uint32_t)mix(0, l->names + mark.name, mark.name_len);
            const step *before = &s[-1];
            if (before->row && before->row_name_len == s->row_name_len &&
                memcmp(l->names + before->name, l->names + s->name, s->row_name_len) == 0)
                rank = row_rank;
            else if (!place_step(l, &mark, &rank, grow))
                return false;
            row_rank = rank;
        }
        if (!place_step(l, s, &rank, grow))
            return false;
    }
    return true;
}

/*==== MARK: Edges ====*/

/* Whether an edge can hold what a field gets: it must go to the record being made, in steps of sixteen bytes. */
static bool is_storable(const ew_graph *g, const ew_op *op)
{
    return is_alone(g, op) && op->stage == 0 && op->rule.type != EW_TYPE_U16 &&
           op->rule.type != EW_TYPE_TIME;
}

/* Whether a value is of the kind that runs cover: one of few, or nothing. */
static bool is_constant(learner *l, const step *s)
{
    const uint8_t *v = l->x->payload + s->begin;
    const uint32_t n = s->end - s->begin;
    ew_facts *node = &l->g->facts[s->node];
    if (s->pinned)
        return true;
    for (uint8_t i = 0; i < s->n_ops; i++)
        if (!is_storable(l->g, &s->ops[i]))
            return false;
    if (n == 0 || (!s->quoted && (*v == 't' || *v == 'f' || *v == 'n')))
        return true;
    ew_type type = s->n_ops ? (ew_type)s->ops[0].rule.type : EW_TYPE_TEXT;
    if (type == EW_TYPE_ENUM || type == EW_TYPE_BOOL)
        return true;
    if (type == EW_TYPE_DEC) {
        ew_dec x = ew_dec_parse(v, n);
        return x.state == EW_DEC_VALUE && x.lo == 0 && x.hi == 0;
    }
    if (!s->quoted || type == EW_TYPE_ID)
        return (n == 1 && *v == '0') || (n == 2 && memcmp(v, "-1", 2) == 0) || *v == '[' || *v == '{';
    if (type != EW_TYPE_TEXT || n > (s->n_ops ? 4 : 24) || node->varied)
        return false;
    uint32_t h = (uint32_t)mix(1, v, n) | 1;
    for (int i = 0; i < 4; i++) {
        if (node->values[i] == h)
            return true;
        if (node->values[i] == 0) {
            node->values[i] = h;
            return true;
        }
    }
    node->varied = 1;
    return false;
}

#define MAX_STORES 64 /* of one edge */

static bool add_store(ew_edge *e, const ew_record *r, size_t offset)
{
    if (e->n_stores == MAX_STORES)
        return false;
    ew_store *x = &ew_stores(e)[e->n_stores++];
    x->offset = (uint32_t)offset;
    memcpy(x->value, (const char *)r + offset, sizeof x->value);
    return true;
}

/* Put what a value gives on the edge that runs over it. */
static bool absorb(learner *l, ew_edge *e, const step *s)
{
    ew_paths *p = l->p;
    const uint8_t *v = l->x->payload + s->begin, *end = l->x->payload + l->x->n;
    ew_record r;
    bool held = s->named;

    for (uint8_t i = 0; i < s->n_ops; i++) {
        const ew_rule *rule = &s->ops[i].rule;
        bool exact;
        if (!is_storable(l->g, &s->ops[i]))
            return false;
        if (s->ops[i].pending != EW_NOBODY)
            l->g->fixed_pending |= (uint16_t)(1u << s->ops[i].pending);
        memset(&r, 0, sizeof r);
        if (!ew_convert(p->dialect, rule, s->quoted, v, end, &r, &exact))
            return false;
        held |= exact;
        e->given[0] |= r.h.present;
        e->given[1] |= r.h.missing | (uint64_t)r.h.flags << EW_FLAGS_AT;
        if (rule->type == EW_TYPE_ENUM || rule->type == EW_TYPE_BOOL) {
            e->codes[rule->offset - ew_codes_at(l->emits[s->emit].kind)] = ((uint8_t *)&r)[rule->offset];
            continue;
        }
        if (r.h.missing && rule->type != EW_TYPE_DEC)
            continue;
        for (size_t w = 0; w + 16 <= rule->size; w += 16)
            if (!add_store(e, &r, rule->offset + w))
                return false;
    }
    if (s->in_row && !held)
        e->given[1] |= (uint64_t)EW_EXTRA << EW_FLAGS_AT;
    return true;
}

static bool in_text(uint32_t at, const step *a, const step *b) { return at >= a->end && at < b->begin; }

/* The edge from step i to step j; everything between is absorbed. */
static bool make_edge(learner *l, uint32_t i, uint32_t j, ew_edge *e)
{
    const step *a = &l->steps[i], *b = &l->steps[j];
    const ew_token *event = &l->x->tokens[l->x->event];
    const uint32_t len = b->begin - a->end;
    *e = (ew_edge){.len = (uint8_t)len, .stores_at = (uint16_t)(offsetof(ew_edge, text) + ((len + 31) & ~31u))};
    for (uint32_t k = i + 1; k <= j; k++) {
        const step *s = &l->steps[k];
        if (e->new_keys + s->new_keys > UINT8_MAX)
            return false;
        e->new_keys += (uint8_t)s->new_keys;
    }
    if (l->own) {
        if (in_text(event->begin, a, b)) {
            e->marks |= 1;
            e->begin_at = (uint8_t)(event->begin - a->end);
        }
        if (in_text(event->end - 1, a, b)) {
            e->marks |= 2;
            e->end_at = (uint8_t)(event->end - a->end);
        }
        for (uint32_t k = i + 1; k < j; k++)
            if (!absorb(l, e, &l->steps[k]))
                return false;
        return true;
    }
    uint32_t record = a->row; /* whose values can be stored now */
    for (uint32_t k = i + 1; k <= j; k++) {
        const step *s = &l->steps[k];
        if (s->row != s[-1].row) {
            if (s[-1].row) { /* the record ends, but it was being made only if it began before this edge */
                if (s[-1].row != record || e->closes)
                    return false;
                const ew_token *row = &l->x->tokens[l->x->rows[s[-1].row - 1].token];
                e->closes = 1;
                e->marks |= 2;
                e->end_at = (uint8_t)(row->end - a->end);
            }
            if (s->row) {
                if (k != j || e->opens)
                    return false;
                const ew_token *row = &l->x->tokens[l->x->rows[s->row - 1].token];
                e->opens = s->emit + 1;
                e->marks |= 1;
                e->begin_at = (uint8_t)(row->begin - a->end);
            }
            record = 0;
        }
        if (k == j)
            break;
        if (s->row ? s->row != record : s->n_ops != 0)
            return false;
        if (!absorb(l, e, s))
            return false;
    }
    return true;
}

/* As much of a text as goes on one branch. The caller knows that there is room. */
static ew_branch *new_branch(ew_paths *p, const uint8_t *text, uint32_t len)
{
    const uint8_t n = (uint8_t)(len < EW_STRETCH ? len : EW_STRETCH);
    ew_branch *b = ew_piece(p, sizeof *b + n);
    b->len = n;
    b->wanted = wanted(n);
    memcpy(b->text, text, n);
    return b;
}

/* Of the branches that begin with different bytes, the one that begins like a text, made if it is not there. What is
 * used more goes before what is used less. */
static ew_branch *find_branch(ew_paths *p, ew_branch **link, const uint8_t *text, uint32_t len)
{
    ew_branch **before = NULL, *b;
    for (; *link && *(*link)->text != *text; link = &(*link)->next)
        before = link;
    if (!*link)
        *link = new_branch(p, text, len);
    b = *link;
    b->uses += b->uses < UINT16_MAX;
    if (before && (*before)->uses < b->uses) {
        ew_branch *other = *before;
        other->next = b->next;
        b->next = other;
        *before = b;
    }
    return b;
}

/* The branch of a tree at which a text ends, made if it is not there. */
static ew_branch *grow_tree(ew_paths *p, ew_branch **tree, const uint8_t *text, uint32_t len)
{
    for (;;) {
        ew_branch *b = find_branch(p, tree, text, len);
        uint32_t n = 1;
        while (n < b->len && n < len && b->text[n] == text[n])
            n++;
        if (n < b->len) { /* split: what is behind the common part becomes a branch of its own */
            ew_branch *rest = new_branch(p, b->text + n, b->len - n);
            rest->edge = b->edge;
            rest->first = b->first;
            rest->uses = b->uses;
            b->len = (uint8_t)n;
            b->wanted = wanted(n);
            b->edge = NULL;
            b->first = rest;
        }
        text += n;
        len -= n;
        if (len == 0)
            return b;
        tree = &b->first;
    }
}

/* Whether an edge has exactly this text. */
static bool is_there(const ew_branch *b, const uint8_t *text, uint32_t len)
{
    while (b) {
        if (len < b->len || memcmp(b->text, text, b->len) != 0) {
            b = b->next;
            continue;
        }
        text += b->len;
        len -= b->len;
        if (len == 0)
            return b->edge;
        b = b->first;
    }
    return false;
}

/* Add an edge from step i to step j if the node has none of that text: as the way to go, or as the way out for when
 * none of those fits. */
static void connect(learner *l, uint32_t i, uint32_t j, bool run)
{
    ew_paths *p = l->p;
    ew_facts *facts = &l->g->facts[i ? l->steps[i].node : EW_BEGIN];
    ew_path_node *const node = facts->node;
    const uint8_t *s = l->x->payload + l->steps[i].end;
    const uint32_t len = l->steps[j].begin - l->steps[i].end;
    uint8_t *count = run ? &facts->n_runs : &facts->n_steps;
    _Alignas(ew_edge) char room[sizeof(ew_edge) + EW_REACH + MAX_STORES * sizeof(ew_store)];
    ew_edge *e = (ew_edge *)(void *)room;

    if (len == 0 || len > EW_REACH)
        return;
    if (run && is_there(node->runs, s, len)) {
        grow_tree(p, &node->runs, s, len); /* not at all, but it counts */
        return;
    }
    if (is_there(node->runs, s, len) || is_there(node->steps, s, len) || *count == (run ? EW_RUNS : EW_STEPS) ||
        !make_edge(l, i, j, e))
        return;
    const size_t size = (size_t)((char *)(ew_stores(e) + e->n_stores) - room);
    if (!has_room(p, size + (len / EW_STRETCH + 3) * (sizeof(ew_branch) + EW_STRETCH + 8)))
        return;
    if (j <= l->n)
        e->target = l->g->facts[l->steps[j].node].node;
    e->turns = e->opens || e->closes || e->marks || e->new_keys || !e->target;
    e->plain = !e->n_stores && !e->turns;
    for (int w = 0; w < 2 && !e->turns; w++)
        e->given[w] |= e->target->facts->given[w];
    memcpy(memset(e->text, 0, (len + 31u) & ~31u), s, len);
    e->wanted = wanted(len);
    ew_branch *b = grow_tree(p, run ? &node->runs : &node->steps, s, len);
    b->edge = ew_piece(p, size);
    memcpy(b->edge, e, size);
    ew_expect(node, *count == 0 && run ? b->edge : NULL); /* what was expected may be a part of this text */
    p->n_edges++;
    ++*count;
}

/* Edges from every step: to the next value, and over all the constants that follow. */
static void connect_all(learner *l)
{
    for (uint32_t i = 0; i <= l->n; i++) {
        if (i && l->steps[i].pinned)
            continue;
        uint32_t next = i + 1, far;
        while (next <= l->n && l->steps[next].pinned)
            next++;
        /* Of rows, only the one that the edge begins in can be stored to. */
        for (far = next; far <= l->n && is_constant(l, &l->steps[far]) &&
                         l->steps[far + 1].begin - l->steps[i].end <= EW_REACH; far++)
            if (!l->own && (l->steps[far].row ? l->steps[far].row != l->steps[i].row : l->steps[far].n_ops != 0))
                break;
        while (far > next && far <= l->n && l->steps[far].pinned) /* nothing leads on from there */
            far--;
        connect(l, i, far, true);
        if (far > next)
            connect(l, i, next, false);
    }
}

/*==== MARK: Graphs ====*/

static ew_graph *new_graph(ew_paths *p, const learner *l)
{
    if (p->n_graphs == EW_GRAPHS)
        return NULL;
    ew_graph *g = &p->all_graphs[p->n_graphs];
    ew_path_node *const begin = ew_piece(p, sizeof *begin);
    if (!begin)
        return NULL;
    g->event = l->x->number;
    g->own = l->own;
    g->n_stages = l->own ? 0 : (uint8_t)l->event->n_emits;
    g->signature = l->signature;
    g->n_nodes = 2;
    g->due = g->pause = EW_FORESEE;
    g->foreseen = EW_BEGIN;
    g->order[0] = EW_BEGIN;
    g->facts[EW_BEGIN] = (ew_facts){.node = begin};
    begin->facts = &g->facts[EW_BEGIN];
    for (uint16_t i = 0; i < l->event->n_emits; i++) {
        const ew_emit *m = &l->emits[i];
        ew_start *s = &g->starts[i];
        s->codes_at = ew_codes_at(m->kind);
        s->header = (ew_header){.event = (uint16_t)(g->event + 1), .venue = p->dialect->venue, .kind = m->kind};
        for (uint16_t c = 0; c < m->n_constants; c++) {
            const ew_constant *x = EW_AT(p->dialect->constants, ew_constant, m->first_constant + c);
            s->codes[x->offset - s->codes_at] = x->code;
            s->given[0] |= UINT64_C(1) << x->bit;
        }
    }
    p->graphs[p->n_graphs++] = g;
    return g;
}

/* Whether two rules or constants of an emit give the same field, or one of them the time of receipt. */
static bool is_ambiguous(const ew_dialect *d, const ew_emit *e)
{
    uint64_t given = UINT64_C(1) << 2, twice = 0;
    for (uint32_t i = 0; i < (uint32_t)e->n_rules + e->n_constants; i++) {
        const uint8_t bit = i < e->n_rules ? EW_AT(d->rules, ew_rule, e->first_rule + i)->bit
                                           : EW_AT(d->constants, ew_constant, e->first_constant + i - e->n_rules)->bit;
        twice |= given & UINT64_C(1) << bit;
        given |= UINT64_C(1) << bit;
    }
    return twice;
}

/* What learning needs for the time of a message. */
typedef struct desk {
    step steps[MAX_STEPS];
    uint8_t names[2 * MAX_NAMES + 1]; /* the second half is for the place of a row */
} desk;

bool ew_learn(ew_paths *p, const ew_lesson *x)
{
    const uint32_t n_edges = p->n_edges;
    learner l = {.p = p, .x = x, .event = EW_AT(p->dialect->events, ew_event, x->number)};
    l.emits = EW_AT(p->dialect->emits, ew_emit, l.event->first_emit);
    l.own = l.emits[0].own;
    if (x->n_rows == 0 || (l.own && l.event->n_emits > 1) || l.event->n_emits > EW_STAGES)
        return false;
    for (uint16_t i = 1; i < l.event->n_emits; i++)
        if (l.emits[i].own)
            return false;
    /* Frames without an event might have one the next time. */
    if (x->tokens[x->frame].next != x->tokens[0].next || x->frame > 1)
        return false;
    for (uint16_t i = 0; i < l.event->n_emits; i++)
        if (is_ambiguous(p->dialect, &l.emits[i]))
            return false;
    for (uint32_t i = 1; i < x->n_rows; i++) /* records come in the order of emits, and so must their objects */
        if (x->rows[i].token < x->rows[i - 1].token)
            return false;
    l.steps = ((desk *)p->desk)->steps;
    l.names = ((desk *)p->desk)->names;
    l.signature = signature(&l);
    unsigned alike = 0;
    for (uint32_t i = 0; i <= p->n_graphs && alike < 4; i++) {
        if (i < p->n_graphs && p->graphs[i]->signature != l.signature)
            continue;
        alike++;
        if (!(l.g = i < p->n_graphs ? p->graphs[i] : new_graph(p, &l)))
            break;
        l.n = l.n_names = l.new_keys = l.depth = l.in_event = 0;
        l.row = l.own;
        l.row_depth = 0;
        l.failed = false;
        l.steps[0] = (step){.row = l.own};
        walk(&l, 0);
        if (l.failed)
            break;
        l.steps[l.n + 1] = (step){.begin = (uint32_t)x->n, .row = l.own, .new_keys = l.new_keys};
        if (!place(&l, false))
            continue;
        if (place(&l, true))
            connect_all(&l);
        break;
    }
    return p->n_edges > n_edges;
}

ew_paths *ew_paths_new(const ew_dialect *d)
{
    ew_paths *p = calloc(1, sizeof *p);
    if (!p)
        return NULL;
    p->dialect = d;
    p->desk = malloc(sizeof(desk));
    p->all_graphs = calloc(EW_GRAPHS, sizeof *p->all_graphs);
    p->facts = malloc((size_t)EW_GRAPHS * EW_NODES * sizeof *p->facts);
    p->arena = calloc(1, EW_ARENA);
    p->text = malloc(EW_TEXT);
    if (!p->desk || !p->all_graphs || !p->facts || !p->arena || !p->text) {
        ew_paths_free(p);
        return NULL;
    }
    for (uint32_t i = 0; i < EW_GRAPHS; i++)
        p->all_graphs[i].facts = p->facts + (size_t)i * EW_NODES;
    p->n_text = 1; /* 0 stands for no text, */
    p->n_arena = 64; /* and here for nothing */
    return p;
}

void ew_paths_free(ew_paths *p)
{
    if (!p)
        return;
    free(p->desk);
    free(p->all_graphs);
    free(p->facts);
    free(p->arena);
    free(p->text);
    free(p);
}
