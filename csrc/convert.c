/* One plain value to one field: what edges of learned paths hold, and what following them meets that is not of the
 * common shapes. Simple and careful; the general parser does the same with values of all kinds. */
#include "paths.h"

static bool is_digit(uint8_t c) { return (uint8_t)(c - '0') < 10; }

/* The end of a string without escapes, its text being valid; null otherwise. */
static const uint8_t *string(const uint8_t *s, const uint8_t *end)
{
    const uint8_t *q = s;
    bool ascii = true;
    for (; q < end && *q != '"'; q++) {
        if (*q == '\\' || *q < 0x20)
            return NULL;
        ascii &= *q < 0x80;
    }
    return q < end && (ascii || ew_utf8_check(s, (size_t)(q - s)) == (size_t)(q - s)) ? q : NULL;
}

/* The end of a number as far as the decimal parser takes it, with its value; null otherwise: other numbers may still be
 * JSON, and are for the general parser. */
static const uint8_t *decimal(bool quoted, const uint8_t *s, const uint8_t *end, ew_dec *out)
{
    const uint8_t *e = s;
    while (e < end && (is_digit(*e) || *e == '.' || *e == '-' || *e == '+' || (*e | 0x20) == 'e'))
        e++;
    if (quoted && (e == end || *e != '"'))
        return NULL;
    *out = ew_dec_parse(s, (size_t)(e - s));
    return out->state == EW_DEC_VALUE ? e : NULL;
}

static const uint8_t *word(const uint8_t *s, const uint8_t *end)
{
    if (end - s >= 4 && (memcmp(s, "true", 4) == 0 || memcmp(s, "null", 4) == 0))
        return s + 4;
    return end - s >= 5 && memcmp(s, "false", 5) == 0 ? s + 5 : NULL;
}

const uint8_t *ew_pass(bool quoted, const uint8_t *s, const uint8_t *end)
{
    ew_dec number;
    if (quoted)
        return string(s, end);
    if (s < end && (is_digit(*s) || *s == '-'))
        return decimal(false, s, end, &number);
    if (end - s >= 2 && (memcmp(s, "[]", 2) == 0 || memcmp(s, "{}", 2) == 0))
        return s + 2;
    return word(s, end);
}

/* The end of a string or number whose text is the value. */
static const uint8_t *text_end(bool quoted, const uint8_t *s, const uint8_t *end)
{
    ew_dec number;
    return quoted ? string(s, end) : decimal(false, s, end, &number);
}

static const uint8_t *put_text(bool quoted, const uint8_t *s, const uint8_t *end, char *out, size_t room, uint8_t *len,
                               uint8_t *flags)
{
    const uint8_t *e = text_end(quoted, s, end);
    if (!e)
        return NULL;
    const size_t n = ew_utf8_prefix(s, (size_t)(e - s), room);
    if (n != (size_t)(e - s))
        *flags |= EW_LONG_TEXT;
    memcpy(out, s, n);
    memset(out + n, 0, room - n);
    *len = (uint8_t)n;
    return e;
}

static const uint8_t *put_id(bool quoted, const uint8_t *s, const uint8_t *end, ew_id *id, uint8_t *flags)
{
    const uint8_t *e = put_text(quoted, s, end, id->s, sizeof id->s, &id->len, flags);
    id->number = 0;
    id->is_number = e && ew_plain_u64((const uint8_t *)id->s, id->len, &id->number);
    return e;
}

static const uint8_t *put_time(bool quoted, const uint8_t *s, const uint8_t *end, int64_t *out)
{
    const uint8_t *e = text_end(quoted, s, end);
    return e && ew_time_parse(s, (size_t)(e - s), out) ? e : NULL;
}

static const uint8_t *put_code(const ew_dialect *d, const ew_rule *r, bool quoted, const uint8_t *s,
                               const uint8_t *end, uint8_t *out, bool *exact)
{
    const uint8_t *e = quoted || is_digit(*s) || *s == '-' ? text_end(quoted, s, end) : word(s, end);
    if (!e)
        return NULL;
    if (!quoted && r->type == EW_TYPE_BOOL && (*s == 't' || *s == 'f')) {
        *out = *s == 't';
        return e;
    }
    const ew_spelling *w = ew_spell(d, r->vocabulary, s, (size_t)(e - s));
    if (!w)
        return NULL;
    *out = w->code;
    *exact = w->same;
    return e;
}

/* Note that a field's key is there without a value. */
static void put_missing(const ew_rule *r, ew_record *rec, bool null)
{
    ew_put_missing(r, (char *)rec + r->offset, null);
    rec->h.missing |= UINT64_C(1) << r->bit;
}

const uint8_t *ew_convert(const ew_dialect *d, const ew_rule *r, bool quoted, const uint8_t *s, const uint8_t *end,
                          ew_record *rec, bool *exact)
{
    char *out = (char *)rec + r->offset;
    const uint8_t *e = NULL;
    ew_id id;
    uint8_t flags = 0;

    *exact = true;
    if (s == end)
        return NULL;
    if (!quoted && end - s >= 4 && memcmp(s, "null", 4) == 0) {
        put_missing(r, rec, true);
        return s + 4;
    }
    if (quoted && *s == '"' && (r->type == EW_TYPE_DEC || r->type == EW_TYPE_TIME)) {
        put_missing(r, rec, false);
        return s;
    }
    switch ((ew_type)r->type) {
    case EW_TYPE_DEC: e = decimal(quoted, s, end, (ew_dec *)(void *)out); break;
    case EW_TYPE_ID: e = put_id(quoted, s, end, (ew_id *)(void *)out, &rec->h.flags); break;
    case EW_TYPE_TIME: e = put_time(quoted, s, end, (int64_t *)(void *)out); break;
    case EW_TYPE_TEXT:
        e = put_text(quoted, s, end, out, r->size - 1u, (uint8_t *)out + r->size - 1, &rec->h.flags);
        break;
    case EW_TYPE_BOOL:
    case EW_TYPE_ENUM: e = put_code(d, r, quoted, s, end, (uint8_t *)out, exact); break;
    case EW_TYPE_U16:
        e = put_id(quoted, s, end, &id, &flags);
        if (!e || !id.is_number || id.number > UINT16_MAX)
            return NULL;
        *(uint16_t *)(void *)out = (uint16_t)id.number;
        break;
    }
    if (e)
        rec->h.present |= UINT64_C(1) << r->bit;
    return e;
}
