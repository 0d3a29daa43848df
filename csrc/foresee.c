/* Foreseeing which text comes next: the forecasts of nodes (paths.h), made now and then from what came there. */
#include "paths.h"

#define SURE 2000 /* messages that show what comes always */

typedef struct candidates {
    ew_edge *of[EW_RUNS + EW_STEPS]; /* of one node, the most used first */
    unsigned n;
    uint64_t uses; /* all together */
} candidates;

static void add(candidates *c, ew_edge *e)
{
    unsigned at = c->n++;
    c->uses += e->uses;
    for (; at && c->of[at - 1]->uses < e->uses; at--)
        c->of[at] = c->of[at - 1];
    c->of[at] = e;
}

static void add_tree(candidates *c, const ew_branch *b)
{
    for (; b; b = b->next) {
        if (b->edge)
            add(c, b->edge);
        add_tree(c, b->first);
    }
}

static bool begins_like(const ew_edge *e, const ew_edge *shorter)
{
    return e->len > shorter->len && memcmp(e->text, shorter->text, shorter->len) == 0;
}

/* Whether an edge must not be taken where a longer one fits: it leads to a number or a literal, or to the payload's end,
 * and what comes is a string or a container, or not the end. */
static bool is_overruled(const ew_edge *e, const candidates *c)
{
    for (unsigned k = 0; k < c->n; k++)
        if (begins_like(c->of[k], e) && e->text[e->len - 1] != '"' &&
            (!e->target || !strchr("-0123456789tfn", c->of[k]->text[e->len])))
            return true;
    return false;
}

/* How often what came went on beyond an edge's text as a longer edge does. */
static uint64_t uses_beyond(const ew_edge *e, const candidates *c)
{
    uint64_t n = 0;
    for (unsigned i = 0; i < c->n; i++)
        n += begins_like(c->of[i], e) ? c->of[i]->uses : 0;
    return n;
}

/* Leave out edges that would be taken where they must not, and runs over one more decimal than another edge where
 * nobody knows whether it will be that constant: it is cheaper to read it than to be wrong. */
static void keep_useful(candidates *c)
{
    const candidates all = *c;
    bool useless[EW_RUNS + EW_STEPS] = {false};
    for (unsigned i = 0; i < all.n; i++) {
        const ew_edge *const e = all.of[i];
        const uint64_t beyond = uses_beyond(e, &all);
        useless[i] |= is_overruled(e, &all);
        if (beyond <= e->uses / 8 || e->uses <= beyond / 8 || !e->target || e->target->shape < EW_SHAPE_DEC ||
            e->target->shape > EW_SHAPE_SIGNED_BARE)
            continue;
        for (unsigned k = 0; k < all.n; k++)
            useless[k] |= begins_like(all.of[k], e) && all.of[k]->n_stores <= e->n_stores + 1;
    }
    c->n = 0;
    for (unsigned i = 0; i < all.n; i++)
        if (!useless[i])
            c->of[c->n++] = all.of[i];
}

/* Put edges where their texts say, those used more first. What is too short to say anything goes wherever nothing else
 * is. Returns how often, of all uses, that would have been right. */
static uint64_t fill(const ew_forecast *f, unsigned reach, const candidates *c, ew_edge **edges)
{
    uint64_t right = 0;
    ew_edge *other = NULL;
    unsigned filled = 0;
    memset(edges, 0, EW_FORECASTS * sizeof *edges);
    for (unsigned i = 0; i < c->n; i++) {
        ew_edge *const e = c->of[i];
        if (e->len < reach) {
            other = other ? other : e;
            continue;
        }
        ew_edge **const to = &edges[ew_number(f, ew_load(e->text + f->at[0]), ew_load(e->text + f->at[1]))];
        if (*to)
            continue;
        *to = e;
        filled++;
        right += e->uses + 1;
    }
    if (other)
        right += (uint64_t)other->uses * (EW_FORECASTS - filled) / EW_FORECASTS;
    for (unsigned i = 0; i < EW_FORECASTS; i++)
        if (!edges[i])
            edges[i] = other ? other : c->of[0];
    return right;
}

/* Try, as a forecast's window, the bytes from where any two edges differ; keep what is right most often. */
static uint64_t improve(ew_forecast *f, unsigned window, unsigned *reach, const candidates *c, uint64_t right)
{
    const ew_forecast before = *f;
    const unsigned reach_before = *reach;
    bool tried[EW_REACH] = {false};
    ew_edge *edges[EW_FORECASTS];
    for (unsigned i = 1; i < c->n; i++)
        for (unsigned k = 0; k < i; k++) {
            const ew_edge *const a = c->of[i], *const b = c->of[k];
            unsigned at = 0;
            while (at < a->len && at < b->len && a->text[at] == b->text[at])
                at++;
            for (unsigned n = tried[at] ? 0 : 8; n; n /= 2) {
                ew_forecast x = before;
                const unsigned x_reach = at + n > reach_before ? at + n : reach_before;
                x.at[window] = (uint8_t)at;
                x.masks[window] = UINT64_MAX >> (64 - 8 * n);
                const uint64_t x_right = fill(&x, x_reach, c, edges);
                if (x_right > right) {
                    right = x_right;
                    *f = x;
                    *reach = x_reach;
                }
            }
            tried[at] = true;
        }
    return right;
}

/* Whether it does not matter for what follows which of the edges it is. */
static bool lead_to_one(const candidates *c)
{
    uint64_t alike = 0, all = 0;
    for (unsigned i = 0; i < c->n; i++) {
        all += c->of[i]->uses;
        if (c->of[i]->target == c->of[0]->target && c->of[i]->n_stores == c->of[0]->n_stores)
            alike += c->of[i]->uses;
    }
    return alike >= all - all / 8;
}

void ew_expect(ew_path_node *node, ew_edge *edge)
{
    node->likely = edge;
    if (node->forecast) { /* it stays, because pieces cannot be given back */
        memset(node->forecast->masks, 0, sizeof node->forecast->masks);
        node->forecast->edges[0] = edge;
    }
}

/* Whether the first is nearly always right. A longer edge that fits too would never be seen again: that must be rare
 * indeed. */
static bool is_clear(const candidates *c)
{
    const uint64_t others = c->uses - c->of[0]->uses;
    bool is_part = false;
    for (unsigned i = 1; i < c->n; i++)
        is_part |= begins_like(c->of[i], c->of[0]);
    return is_part ? others <= c->uses / 128 && c->uses > SURE : others <= c->uses / 8;
}

void ew_foresee(ew_paths *p, ew_path_node *node)
{
    candidates c = {.n = 0};
    unsigned reach = 0;
    add_tree(&c, node->runs);
    add_tree(&c, node->steps);
    keep_useful(&c);
    const bool clear = c.n && is_clear(&c);
    ew_expect(node, clear ? c.of[0] : NULL);
    if (!clear && c.n && lead_to_one(&c)) {
        ew_forecast f = {.at = {0}}, *x = node->forecast;
        improve(&f, 1, &reach, &c, improve(&f, 0, &reach, &c, 0));
        if (x || (x = ew_piece(p, sizeof *x))) {
            *x = f;
            fill(x, reach, &c, x->edges);
            node->forecast = x;
        }
    }
    for (unsigned i = 0; i < c.n; i++)
        c.of[i]->uses = (c.of[i]->uses + 3) / 4; /* what comes from now on counts more */
}
