/* Foreseeing which text comes next: the forecasts of nodes (paths.h), made now and then from what came there. */
#include "paths.h"

#define SURE 2000 /* messages that show what comes always */
#define SEEN 64   /* messages that show what comes now and then */
#define RARE 1024 /* what comes in fewer of so many messages would only be in the way */

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

/* Whether an edge runs over the number that a shorter one leads to. */
static bool runs_over_number(const ew_edge *e, const ew_edge *shorter)
{
    return begins_like(e, shorter) && strchr("-0123456789", e->text[shorter->len]);
}

/* How often it was a number that edges run over. */
static uint64_t uses_beyond(const ew_edge *shorter, const candidates *c)
{
    uint64_t n = 0;
    for (unsigned i = 0; i < c->n; i++)
        n += runs_over_number(c->of[i], shorter) && !c->of[i]->unsteady ? c->of[i]->uses : 0;
    return n;
}

/* Leave out edges that are rare or would be taken where they must not; and runs over one more number than another edge
 * where nobody knows whether it will be that constant: it is cheaper to read it than to be wrong. If enough was seen,
 * these are not asked about again, because how often they would come is not seen any more. */
static void keep_useful(candidates *c)
{
    const candidates all = *c;
    bool useless[EW_RUNS + EW_STEPS] = {false};
    for (unsigned i = 0; i < all.n; i++) {
        const ew_edge *const e = all.of[i];
        const uint64_t beyond = uses_beyond(e, &all);
        useless[i] |= e->unsteady || e->uses < all.uses / RARE || is_overruled(e, &all);
        if (beyond <= e->uses / 8 || e->uses <= beyond / 8 || !e->target || e->target->shape > EW_SHAPE_SIGNED_BARE)
            continue;
        const bool seen = e->uses + beyond >= SEEN;
        for (unsigned k = 0; k < all.n; k++)
            if (runs_over_number(all.of[k], e) && all.of[k]->n_stores <= e->n_stores + 1) {
                useless[k] = true;
                all.of[k]->unsteady |= seen;
            }
    }
    c->n = 0;
    c->uses = 0;
    for (unsigned i = 0; i < all.n; i++)
        if (!useless[i]) {
            c->uses += all.of[i]->uses;
            c->of[c->n++] = all.of[i];
        }
}

/* Whether a forecast looks at a difference between an edge's text and a shorter one's. What comes behind that is random
 * at its beginning; further on it may be as behind the other. */
static bool tells(const ew_windows *w, const ew_edge *e, const ew_edge *shorter)
{
    for (unsigned i = 0; i < 2; i++) {
        const unsigned at = w->at[i], n = w->factors[i] ? 8 - (unsigned)__builtin_ctzll(w->factors[i]) / 8 : 0;
        if (n && (at + n > shorter->len ? at <= shorter->len
                                        : (ew_load(e->text + at) ^ ew_load(shorter->text + at)) * w->factors[i] != 0))
            return true;
    }
    return false;
}

/* How often, of all uses, a forecast would have been right that puts the more used of two edges where both belong, and
 * the first that is too short to say anything (`reach`) wherever nothing else is; no more than `least` if that is not
 * exceeded. */
static uint64_t rightness(const ew_windows *w, unsigned reach, const candidates *c, uint64_t least)
{
    uint64_t right = 0, taken = 0;
    const ew_edge *other = NULL;
    bool told = true;
    for (unsigned i = 0; i < c->n; i++) {
        const ew_edge *const e = c->of[i];
        const uint64_t here = e->len < reach ? 0 : UINT64_C(1) << ew_number(w, e->text);
        if (!here)
            other = other ? other : e;
        else if (!(taken & here))
            right += e->uses + 1;
        taken |= here;
    }
    if (!other || right + other->uses <= least)
        return right;
    for (unsigned i = 0; i < c->n; i++)
        told &= c->of[i]->len < reach || tells(w, c->of[i], other);
    return right + (told ? other->uses * (EW_FORECASTS - (uint64_t)__builtin_popcountll(taken)) / EW_FORECASTS
                         : other->uses / 2);
}

static void fill(ew_forecast *f, unsigned reach, const candidates *c)
{
    ew_edge *other = NULL;
    memset(f->edges, 0, sizeof f->edges);
    for (unsigned i = 0; i < c->n; i++) {
        ew_edge *const e = c->of[i], **const to = e->len < reach ? &other : &f->edges[ew_number(&f->windows, e->text)];
        if (!*to)
            *to = e;
    }
    for (unsigned i = 0; i < EW_FORECASTS; i++) {
        if (!f->edges[i])
            f->edges[i] = other ? other : c->of[0];
        f->targets[i] = f->edges[i]->target;
        f->lens[i] = f->edges[i]->len;
    }
}

/* How many bytes the texts of two edges have in common. */
static unsigned equal_bytes(const ew_edge *a, const ew_edge *b)
{
    const unsigned most = a->len < b->len ? a->len : b->len;
    for (unsigned at = 0; at < most; at += 8) {
        const uint64_t x = ew_load(a->text + at) ^ ew_load(b->text + at);
        if (x)
            return at + (unsigned)__builtin_ctzll(x) / 8 < most ? at + (unsigned)__builtin_ctzll(x) / 8 : most;
    }
    return most;
}

/* Try, as a forecast's window, the bytes from where any two edges differ; keep what is right most often. */
static uint64_t improve(ew_windows *w, unsigned window, unsigned *reach, const candidates *c, uint64_t right)
{
    const ew_windows before = *w;
    const unsigned reach_before = *reach;
    bool tried[EW_REACH] = {false};
    for (unsigned i = 1; i < c->n; i++)
        for (unsigned k = 0; k < i; k++) {
            const unsigned at = equal_bytes(c->of[i], c->of[k]);
            for (unsigned n = tried[at] ? 0 : 8; n; n /= 2) {
                ew_windows x = before;
                const unsigned x_reach = at + n > reach_before ? at + n : reach_before;
                x.at[window] = (uint8_t)at;
                x.factors[window] = ew_factor(window, n);
                const uint64_t x_right = rightness(&x, x_reach, c, right);
                if (x_right > right) {
                    right = x_right;
                    *w = x;
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
    uint64_t alike = 0;
    for (unsigned i = 0; i < c->n; i++)
        if (c->of[i]->target == c->of[0]->target && c->of[i]->n_stores == c->of[0]->n_stores)
            alike += c->of[i]->uses;
    return alike >= c->uses - c->uses / 8;
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

/* Expect behind a node what came there until now. */
static void foresee(ew_paths *p, ew_facts *facts)
{
    ew_path_node *const node = facts->node;
    candidates c = {.n = 0};
    unsigned reach = 0;
    add_tree(&c, node->runs);
    add_tree(&c, node->steps);
    keep_useful(&c);
    const bool clear = c.n && is_clear(&c);
    ew_expect(node, NULL);
    if (clear || (c.n == 2 && !lead_to_one(&c))) { /* two that go separate ways: a jump is as good as a forecast */
        const bool swap = !clear && begins_like(c.of[1], c.of[0]);
        ew_expect(node, c.of[swap]);
        node->second = c.n > 1 ? c.of[!swap] : NULL;
    } else if (c.n > 1) {
        ew_windows w = {.at = {0}};
        improve(&w, 1, &reach, &c, improve(&w, 0, &reach, &c, 0));
        if (facts->forecast || (facts->forecast = ew_piece(p, sizeof *facts->forecast))) {
            facts->forecast->windows = w;
            fill(facts->forecast, reach, &c);
            node->forecast = facts->forecast;
        }
    }
    for (unsigned i = 0; i < c.n; i++)
        c.of[i]->uses = (c.of[i]->uses + 3) / 4; /* what comes from now on counts more */
}

bool ew_foresee(ew_paths *p, ew_graph *g)
{
    foresee(p, &g->facts[g->foreseen++]);
    g->due = 1;
    if (g->foreseen < g->n_nodes)
        return true;
    g->foreseen = EW_BEGIN;
    g->pause *= g->pause < UINT32_MAX / 8 ? 4 : 1;
    g->due = g->pause;
    return false;
}
