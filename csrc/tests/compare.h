/* Whether two decoders say the same about a payload. Only what the contract gives a meaning is compared: a field
 * without a bit in `present` or `missing` may hold anything. */
#ifndef EW_COMPARE_H
#define EW_COMPARE_H

#include "execwire.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

/* Null, or what differs. */
static inline const char *compare_field(const ew_field *f, const ew_record *a, const ew_record *b, bool present)
{
    const char *x = (const char *)a + f->offset, *y = (const char *)b + f->offset;
    switch ((ew_type)f->type) {
    case EW_TYPE_DEC: {
        ew_dec p, q;
        memcpy(&p, x, sizeof p);
        memcpy(&q, y, sizeof q);
        if (p.state != q.state || (present != (p.state == EW_DEC_VALUE || p.state == EW_DEC_UNREPRESENTABLE)))
            return f->name;
        return p.lo == q.lo && p.hi == q.hi && p.exponent == q.exponent && p.flags == q.flags ? NULL : f->name;
    }
    case EW_TYPE_ID: {
        const ew_id *p = (const ew_id *)(const void *)x, *q = (const ew_id *)(const void *)y;
        if (!present)
            return NULL;
        if (p->len != q->len || p->len > sizeof p->s || memcmp(p->s, q->s, p->len) != 0)
            return f->name;
        return p->is_number == q->is_number && p->number == q->number ? NULL : f->name;
    }
    case EW_TYPE_TEXT: {
        uint8_t n = (uint8_t)x[f->size - 1];
        if (!present)
            return NULL;
        return n < f->size && n == (uint8_t)y[f->size - 1] && memcmp(x, y, n) == 0 ? NULL : f->name;
    }
    case EW_TYPE_U16:
        if (!present)
            return NULL;
        break;
    case EW_TYPE_TIME:
    case EW_TYPE_BOOL:
    case EW_TYPE_ENUM: break;
    }
    return memcmp(x, y, f->size) == 0 ? NULL : f->name;
}

static inline const char *compare_record(const ew_record *a, const ew_record *b)
{
    const ew_header *p = &a->h, *q = &b->h;
    size_t n;
    if (p->kind != q->kind)
        return "kind";
    if (p->present != q->present)
        return "present";
    if (p->missing != q->missing || (p->present & p->missing))
        return "missing";
    if (p->begin != q->begin || p->end != q->end)
        return "span";
    if (p->event != q->event || p->venue != q->venue)
        return "event";
    if (p->flags != q->flags)
        return "flags";
    /* Whether they are there or not: nothing of an earlier message may show in a header. */
    if (p->ts_event != q->ts_event || p->ts_transact != q->ts_transact || p->subscription_id != q->subscription_id)
        return "header";
    const ew_field *f = ew_fields(p->kind, &n);
    for (size_t i = 0; i < n; i++) {
        bool present = p->present >> i & 1;
        const char *different = present || (p->missing >> i & 1) ? compare_field(&f[i], a, b, present) : NULL;
        if (different)
            return different;
    }
    return n < 64 && (p->present | p->missing) >> n ? "a bit without a field" : NULL;
}

static inline const char *compare_decoders(const ew_decoder *a, const ew_decoder *b, size_t n_a, size_t n_b)
{
    const ew_error *p = ew_last_error(a), *q = ew_last_error(b);
    if (p->status != q->status)
        return "status";
    if (p->status && (p->position != q->position || strcmp(p->message, q->message) != 0))
        return "error";
    if (n_a != n_b || (p->status && n_a))
        return "number of records";
    for (size_t i = 0; i < n_a; i++) {
        const char *different = compare_record(ew_get(a, i), ew_get(b, i));
        if (different)
            return different;
    }
    return NULL;
}

/* What the last message added to the counters must agree as well. */
static inline const char *compare_stats(const ew_stats *a0, const ew_stats *a1, const ew_stats *b0, const ew_stats *b1)
{
#define COMPARE(what)                               \
    if (a1->what - a0->what != b1->what - b0->what) \
    return "stats." #what
    COMPARE(messages);
    COMPARE(records);
    COMPARE(errors);
    COMPARE(unknown_events);
    COMPARE(unknown_keys);
    COMPARE(unknown_enums);
    COMPARE(unrepresentable);
#undef COMPARE
    return NULL;
}

/* What holds for the records of every payload. */
static inline const char *compare_spans(const ew_decoder *k, size_t n_records)
{
    size_t n;
    const uint8_t *payload = ew_payload(k, &n);
    for (size_t i = 0; i < n_records; i++) {
        const ew_header *h = &ew_get(k, i)->h;
        if (h->begin > h->end || h->end > n || h->kind == EW_NONE || h->kind >= EW_KINDS)
            return "span outside the payload";
        /* Only a prompt's record has no object of its own. */
        bool object = h->end - h->begin >= 2 && payload[h->begin] == '{' && payload[h->end - 1] == '}';
        if (!object && (n_records != 1 || h->event || h->begin || h->end != n))
            return "span is no object";
    }
    return NULL;
}

#endif
