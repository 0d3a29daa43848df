/* SBE frames, written as the JSON of the same message, which the decoder then reads like any other.
 *
 * Layouts come with the dialect (see dialect.c). How long a block is, is told by the frame and never by the layout:
 * fields beyond its end are left out, and bytes that the layout does not know, at the end of a block or of a message,
 * are kept as hexadecimal text. A message whose template has no layout is kept like that as a whole, so nothing that
 * a newer schema adds is lost.
 */
#include "internal.h"

#include <stdlib.h>

#define HEADER 8      /* block length, template, schema, version */
#define MAX_NESTING 8 /* messages in messages; each can hold groups in groups, and JSON may not be too deep */

typedef struct renderer {
    const ew_dialect *d;
    const uint8_t *frame;
    const uint8_t *at, *end; /* what is left of the message */
    ew_buffer *out;
    ew_error *error;
    unsigned nesting;
} renderer;

static void message(renderer *r);

static void fault(renderer *r, ew_status status, const char *what, const uint8_t *at)
{
    if (!r->error->status)
        ew_fail(r->error, status, what, (size_t)(at - r->frame));
}

/*==== MARK: Reading ====*/

static uint64_t little(const uint8_t *s, unsigned size)
{
    uint64_t v = 0;
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    switch (size) { /* a copy of known size is one load */
    case 8: memcpy(&v, s, 8); return v;
    case 4: memcpy(&v, s, 4); return v;
    case 2: memcpy(&v, s, 2); return v;
    default: return *s;
    }
#else
    while (size--)
        v = v << 8 | s[size];
    return v;
#endif
}

/* The next n bytes; null if there are not so many. */
static const uint8_t *take(renderer *r, size_t n, const char *what)
{
    const uint8_t *s = r->at;
    if (r->error->status)
        return NULL;
    if ((size_t)(r->end - s) < n) {
        fault(r, EW_ERR_SBE, what, r->end);
        return NULL;
    }
    r->at += n;
    return s;
}

/*==== MARK: Writing ====*/

/* Room for n more bytes; null if there is none. */
static uint8_t *grow(renderer *r, size_t n)
{
    ew_buffer *out = r->out;
    size_t cap = out->cap ? out->cap : 4096;
    while (cap - out->n < n)
        cap *= 2;
    if (out->n + n > EW_MAX_PAYLOAD) {
        fault(r, EW_ERR_LIMIT, "an SBE frame that is too long as JSON", r->at);
        return NULL;
    }
    uint8_t *bytes = realloc(out->bytes, cap);
    if (!bytes) {
        fault(r, EW_ERR_MEMORY, "out of memory", r->at);
        return NULL;
    }
    out->bytes = bytes;
    out->cap = cap;
    return bytes + out->n;
}

static inline uint8_t *room(renderer *r, size_t n)
{
    if (r->error->status)
        return NULL;
    return r->out->cap - r->out->n >= n ? r->out->bytes + r->out->n : grow(r, n);
}

static void put(renderer *r, const char *s, size_t n)
{
    uint8_t *out = room(r, n);
    if (!out)
        return;
    memcpy(out, s, n);
    r->out->n += n;
}
#define PUT(r, literal) put(r, literal, sizeof(literal) - 1)

/* What write_... take at most: they do not ask for room. */
#define KEY_ROOM (1 + EW_SBE_KEY + 3 + 16)
#define VALUE_ROOM (128 + 64)

/* A comma, unless a container has just been opened. Something always has been, so there is a byte before. */
static uint8_t *write_comma(uint8_t *out)
{
    uint8_t last = out[-1];
    *out = ',';
    return out + (last != '{' && last != '[');
}

static uint8_t *write_key(uint8_t *out, const ew_word *key)
{
    out = write_comma(out);
    *out++ = '"';
    memcpy(out, key->s, key->len);
    memcpy(out + key->len, "\":", 2);
    return out + key->len + 2;
}

static void put_key(renderer *r, const ew_word *key)
{
    uint8_t *out = room(r, KEY_ROOM);
    if (out)
        r->out->n += (size_t)(write_key(out, key) - out);
}

/* The digits of v with zeros before them, and how many there are without those: at least one. */
#define WIDTH 24
static unsigned digits(uint64_t v, char text[WIDTH])
{
    static const char pairs[] = "00010203040506070809101112131415161718192021222324252627282930313233343536373839"
                                "40414243444546474849505152535455565758596061626364656667686970717273747576777879"
                                "8081828384858687888990919293949596979899";
    unsigned first = v < 100000000 ? 16 : v < UINT64_C(10000000000000000) ? 8 : 0;
    memset(text, '0', WIDTH);
    for (unsigned end = WIDTH; v; v /= 100, end -= 2)
        memcpy(text + end - 2, pairs + 2 * (v % 100), 2);
    while (first < WIDTH - 1 && text[first] == '0')
        first++;
    return WIDTH - first;
}

/* At most WIDTH characters: a copy of known size is two moves, where others are a call. There must be something that
 * can be read behind s. */
static uint8_t *write_short(uint8_t *out, const char *s, unsigned n)
{
    memcpy(out, s, WIDTH);
    return out + n;
}

static uint8_t *write_number(uint8_t *out, bool negative, uint64_t size)
{
    char text[2 * WIDTH];
    unsigned n = digits(size, text);
    *out = '-';
    return write_short(out + negative, text + WIDTH - n, n);
}

/* "-0.00000028": all of the places the exponent gives, as the JSON of the venues writes them. */
static uint8_t *write_decimal(uint8_t *out, int64_t mantissa, int exponent)
{
    char text[128 + 1 + 2 * WIDTH], *s = text + 128 + 1;
    unsigned n = digits(mantissa < 0 ? 0 - (uint64_t)mantissa : (uint64_t)mantissa, s);
    unsigned places = exponent < 0 ? (unsigned)-exponent : 0;
    const char *end = s + WIDTH;
    if (places >= WIDTH)
        memset(text, '0', 128 + 1); /* before the digits */
    if (n <= places)
        n = places + 1;
    *out++ = '"';
    *out = '-';
    out += mantissa < 0;
    out = write_short(out, end - n, n - places);
    if (places) {
        *out++ = '.';
        memcpy(out, end - places, WIDTH);
        if (places > WIDTH)
            memcpy(out, end - places, places);
        out += places;
    }
    if (exponent > 0) {
        *out++ = 'E';
        out = write_number(out, false, (uint64_t)exponent);
    }
    *out++ = '"';
    return out;
}

static const char hex[] = "0123456789abcdef";

static void put_text(renderer *r, const uint8_t *s, size_t n)
{
    uint8_t *start = room(r, 6 * n + 2), *out = start;
    bool plain = true;
    if (!out)
        return;
    *out++ = '"';
    for (size_t i = 0; i < n; i++) {
        out[i] = s[i];
        plain &= (s[i] >= ' ') & (s[i] < 0x80) & (s[i] != '"') & (s[i] != '\\');
    }
    if (plain) {
        out[n] = '"';
        r->out->n += n + 2;
        return;
    }
    size_t valid = ew_utf8_check(s, n);
    if (valid < n) {
        fault(r, EW_ERR_SBE, "a text that is not UTF-8", s + valid);
        return;
    }
    for (size_t i = 0; i < n; i++) {
        if (s[i] < ' ') {
            memcpy(out, "\\u00", 4);
            out[4] = (uint8_t)hex[s[i] >> 4];
            out[5] = (uint8_t)hex[s[i] & 15];
            out += 6;
            continue;
        }
        if (s[i] == '"' || s[i] == '\\')
            *out++ = '\\';
        *out++ = s[i];
    }
    *out++ = '"';
    r->out->n += (size_t)(out - start);
}

/* Bytes nobody can read, under a key of their own. */
static void put_bytes(renderer *r, const char *key, const uint8_t *s, size_t n)
{
    const ew_word word = {key, 0, (uint32_t)strlen(key), 0};
    put_key(r, &word);
    uint8_t *out = room(r, 2 * n + 2);
    if (!out)
        return;
    *out++ = '"';
    for (size_t i = 0; i < n; i++) {
        *out++ = (uint8_t)hex[s[i] >> 4];
        *out++ = (uint8_t)hex[s[i] & 15];
    }
    *out = '"';
    r->out->n += 2 * n + 2;
}

/*==== MARK: Items ====*/

static void put_absent(renderer *r, const ew_sbe_item *item)
{
    if (!item->absent.len)
        return;
    put_key(r, &item->key);
    put(r, item->absent.s, item->absent.len);
}

static void put_enum(renderer *r, const ew_sbe_item *item, uint64_t value)
{
    const ew_sbe_vocabulary *v = EW_AT(r->d->sbe_vocabularies, ew_sbe_vocabulary, item->detail);
    const ew_sbe_text *t = NULL;
    for (uint32_t i = 0; i < v->n && !t; i++)
        if (EW_AT(r->d->sbe_texts, ew_sbe_text, v->first + i)->value == value)
            t = EW_AT(r->d->sbe_texts, ew_sbe_text, v->first + i);
    uint8_t *out = room(r, t ? t->text.len + 2 : VALUE_ROOM), *start = out;
    if (!out)
        return;
    if (t) {
        *out++ = '"';
        memcpy(out, t->text.s, t->text.len);
        out += t->text.len;
        *out++ = '"';
    } else {
        out = write_number(out, false, value);
    }
    r->out->n += (size_t)(out - start);
}

static void field(renderer *r, const ew_sbe_item *item, const uint8_t *block, size_t n)
{
    if ((size_t)item->offset + item->size > n || (item->type == EW_SBE_DECIMAL && item->detail >= n))
        return;
    const unsigned bits = 8u * item->size;
    const bool has_sign = item->type == EW_SBE_INT || item->type == EW_SBE_DECIMAL;
    uint64_t v = little(block + item->offset, item->size), sign = UINT64_C(1) << (bits - 1);
    if (v == (has_sign ? sign : sign | (sign - 1))) {
        put_absent(r, item);
        return;
    }
    const bool negative = has_sign && v >= sign;
    if (negative)
        v |= ~(sign | (sign - 1));
    uint8_t *start = room(r, KEY_ROOM + VALUE_ROOM), *out = start;
    if (!out)
        return;
    if (item->key.len + 3 < sizeof item->member) {
        out = write_comma(out);
        memcpy(out, item->member, sizeof item->member);
        out += item->key.len + 3;
    } else {
        out = write_key(out, &item->key);
    }
    if (item->type == EW_SBE_DECIMAL) {
        out = write_decimal(out, (int64_t)v, (int8_t)block[item->detail]);
    } else if (item->type == EW_SBE_BOOL && v < 2) {
        memcpy(out, v ? "true\0" : "false", 5);
        out += v ? 4 : 5;
    } else if (item->type != EW_SBE_ENUM) {
        out = write_number(out, negative, negative ? 0 - v : v);
    }
    r->out->n += (size_t)(out - start);
    if (item->type == EW_SBE_ENUM)
        put_enum(r, item, v);
}

static void data(renderer *r, const ew_sbe_item *item)
{
    const uint8_t *s = take(r, item->size, "the frame ends before the length of data");
    size_t n = s ? little(s, item->size) : 0;
    if (!(s = s ? take(r, n, "the frame ends inside data") : NULL))
        return;
    if (n == 0 && item->type == EW_SBE_MESSAGE) {
        put_absent(r, item);
    } else if (item->type == EW_SBE_MESSAGE) {
        renderer inner = *r;
        inner.at = s;
        inner.end = s + n;
        inner.nesting++;
        const ew_word *key = &item->key;
        for (uint32_t i = 0; i < r->d->sbe_messages.n && n >= HEADER; i++) {
            const ew_sbe_message *m = EW_AT(r->d->sbe_messages, ew_sbe_message, i);
            if (m->template == little(s + 2, 2) && m->under.len)
                key = &m->under;
        }
        put_key(r, key);
        message(&inner);
    } else if (n == 0 && item->absent.s) {
        put_absent(r, item);
    } else {
        put_key(r, &item->key);
        put_text(r, s, n);
    }
}

static void items(renderer *r, uint32_t first, uint32_t n, const uint8_t *block, size_t n_block);

static void group(renderer *r, uint32_t number)
{
    const ew_sbe_item *item = EW_AT(r->d->sbe_items, ew_sbe_item, number);
    const uint8_t *s = take(r, 2u + item->size, "the frame ends inside the size of a group");
    if (!s)
        return;
    const size_t n_block = little(s, 2);
    uint64_t left = little(s + 2, item->size);
    if (item->key.len)
        put_key(r, &item->key);
    PUT(r, "[");
    for (; left && !r->error->status; left--) {
        const uint8_t *block = take(r, n_block, "the frame ends inside a group");
        if (!block)
            return;
        if (r->out->bytes[r->out->n - 1] != '[')
            PUT(r, ",");
        PUT(r, "{");
        items(r, number + 1, item->detail, block, n_block);
        if (n_block > item->block)
            put_bytes(r, "sbeBlock", block + item->block, n_block - item->block);
        PUT(r, "}");
        if (r->at == block) /* or a count of billions would keep us busy */
            fault(r, EW_ERR_SBE, "a group of entries without a byte", block);
    }
    PUT(r, "]");
}

static void items(renderer *r, uint32_t first, uint32_t n, const uint8_t *block, size_t n_block)
{
    for (uint32_t i = first; i < first + n && !r->error->status; i++) {
        const ew_sbe_item *item = EW_AT(r->d->sbe_items, ew_sbe_item, i);
        if (item->type == EW_SBE_GROUP) {
            group(r, i);
            i += item->detail;
        } else if (item->type == EW_SBE_TEXT || item->type == EW_SBE_MESSAGE) {
            data(r, item);
        } else if (item->type == EW_SBE_CONSTANT) {
            put_absent(r, item);
        } else if (!item->outside) {
            field(r, item, block, n_block);
        }
    }
}

/*==== MARK: Messages ====*/

static bool knows_schema(const ew_dialect *d, uint64_t schema)
{
    for (uint32_t i = 0; i < d->sbe_schemas.n; i++)
        if (*EW_AT(d->sbe_schemas, uint16_t, i) == schema)
            return true;
    return false;
}

static const ew_sbe_message *layout(const ew_dialect *d, const uint8_t *header)
{
    if (knows_schema(d, little(header + 4, 2)))
        for (uint32_t i = 0; i < d->sbe_messages.n; i++)
            if (EW_AT(d->sbe_messages, ew_sbe_message, i)->template == little(header + 2, 2))
                return EW_AT(d->sbe_messages, ew_sbe_message, i);
    return NULL;
}

/* A message that only a newer schema describes. */
static void unknown(renderer *r, const uint8_t *start)
{
    PUT(r, "{");
    put_key(r, &r->d->sbe_name);
    PUT(r, "\"template ");
    uint8_t *out = room(r, VALUE_ROOM);
    if (out)
        r->out->n += (size_t)(write_number(out, false, little(start + 2, 2)) - out);
    PUT(r, "\"");
    put_bytes(r, "sbe", start, (size_t)(r->end - start));
    PUT(r, "}");
}

static void message(renderer *r)
{
    const uint8_t *start = take(r, HEADER, "the frame ends inside a message header");
    if (!start)
        return;
    if (r->nesting == MAX_NESTING) {
        fault(r, EW_ERR_SBE, "messages nested too deeply", start);
        return;
    }
    const ew_sbe_message *m = layout(r->d, start);
    if (!m) {
        unknown(r, start);
        return;
    }
    const size_t n = little(start, 2);
    const uint8_t *block = take(r, n, "the frame ends inside a block");
    if (!block)
        return;
    const ew_sbe_item *first = m->n ? EW_AT(r->d->sbe_items, ew_sbe_item, m->first) : NULL;
    if (first && first->type == EW_SBE_GROUP && !first->key.len) {
        group(r, m->first);
        return;
    }
    PUT(r, "{");
    for (uint32_t i = m->first; i < m->first + m->n; i++)
        if (EW_AT(r->d->sbe_items, ew_sbe_item, i)->outside)
            field(r, EW_AT(r->d->sbe_items, ew_sbe_item, i), block, n);
    if (m->enter.len) {
        put_key(r, &m->enter);
        PUT(r, "{");
    }
    items(r, m->first, m->n, block, n);
    if (n > m->block)
        put_bytes(r, "sbeBlock", block + m->block, n - m->block);
    if (r->at < r->end)
        put_bytes(r, "sbeTail", r->at, (size_t)(r->end - r->at));
    if (m->enter.len)
        PUT(r, "}");
    PUT(r, "}");
}

/* No text holds a NUL byte, and in SBE the sixth is one: the high byte of the schema's id, known ones being small. */
bool ew_sbe_is(const ew_dialect *d, const uint8_t *payload, size_t n)
{
    return d->sbe_schemas.n && n >= 6 && payload[5] == 0;
}

ew_status ew_sbe_render(const ew_dialect *d, const uint8_t *frame, size_t n, ew_buffer *out, ew_error *error)
{
    renderer r = {.d = d, .frame = frame, .at = frame, .end = frame + n, .out = out, .error = error};
    out->n = 0;
    *error = (ew_error){EW_OK, "", 0};
    if (n >= HEADER && !knows_schema(d, little(frame + 4, 2)))
        fault(&r, EW_ERR_SBE, "an SBE frame of a schema that the dialect does not know", frame + 4);
    else if (n > EW_MAX_PAYLOAD)
        fault(&r, EW_ERR_LIMIT, "the payload is too long", frame);
    message(&r);
    return error->status;
}
