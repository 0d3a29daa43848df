/* The structure of a JSON text: one pass that checks the whole grammar and writes down where every value is. */
#include "internal.h"

#include <stdlib.h>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

typedef struct scanner {
    const uint8_t *start, *end;
    ew_tape *tape;
    ew_error *error;
} scanner;

static const uint8_t *fail(const scanner *c, ew_status status, const char *message, const uint8_t *at)
{
    ew_fail(c->error, status, message, (size_t)(at - c->start));
    return NULL;
}

static const uint8_t *ends(const scanner *c, const char *message) { return fail(c, EW_ERR_TRUNCATED, message, c->end); }

static bool grow(const scanner *c, const uint8_t *at)
{
    ew_tape *t = c->tape;
    if (t->cap >= EW_MAX_VALUES)
        return fail(c, EW_ERR_LIMIT, "too many values in one payload", at) != NULL;
    uint32_t cap = t->cap ? t->cap * 2 : 256;
    ew_token *tokens = realloc(t->tokens, cap * sizeof *tokens);
    if (!tokens)
        return fail(c, EW_ERR_MEMORY, "out of memory", at) != NULL;
    t->tokens = tokens;
    t->cap = cap;
    return true;
}

/* Past white space and comments; null if a slash begins no comment. */
static const uint8_t *blank(const scanner *c, const uint8_t *s)
{
    for (; s < c->end; s++) {
        if (*s == ' ' || *s == '\t' || *s == '\n' || *s == '\r')
            continue;
        if (*s != '/')
            return s;
        if (s + 1 == c->end)
            return ends(c, "the payload ends inside a comment");
        if (s[1] != '/')
            return fail(c, EW_ERR_SYNTAX, "unexpected character", s);
        const uint8_t *line = memchr(s, '\n', (size_t)(c->end - s));
        if (!line)
            return c->end;
        s = line;
    }
    return s;
}

#define SKIP(s)                                                \
    if ((s) < c->end && (*(s) <= ' ' || *(s) == '/') &&        \
        !((s) = blank(c, (s))))                                \
        return NULL

static bool hex(const uint8_t *s)
{
    for (int i = 0; i < 4; i++)
        if (!((s[i] >= '0' && s[i] <= '9') || ((s[i] | 0x20) >= 'a' && (s[i] | 0x20) <= 'f')))
            return false;
    return true;
}

/* The escape at s, which is a backslash; past it. */
static const uint8_t *escape(const scanner *c, const uint8_t *s)
{
    if (c->end - s < 2)
        return ends(c, "the payload ends inside a string");
    if (s[1] != 'u')
        return memchr("\"\\/bfnrt", s[1], 8) ? s + 2 : fail(c, EW_ERR_SYNTAX, "unknown escape", s);
    if (c->end - s < 6)
        return ends(c, "the payload ends inside an escape");
    if (!hex(s + 2))
        return fail(c, EW_ERR_SYNTAX, "an escape needs four hexadecimal digits", s);
    if ((s[2] | 0x20) != 'd' || s[3] < '8')
        return s + 6;
    /* U+D800 to U+DBFF is the first half of a pair, and its second half must follow; U+DC00 to U+DFFF is a second half. */
    if ((s[3] | 0x20) < 'c' && c->end - s < 12)
        return ends(c, "the payload ends inside an escape");
    if ((s[3] | 0x20) >= 'c' || s[6] != '\\' || s[7] != 'u' || !hex(s + 8) || (s[8] | 0x20) != 'd' ||
        (s[9] | 0x20) < 'c')
        return fail(c, EW_ERR_UTF8, "half a surrogate pair", s);
    return s + 12;
}

/* The end of the string whose first byte is s: its closing quote. */
static inline const uint8_t *string(const scanner *c, const uint8_t *s, uint8_t *flags)
{
    for (;;) {
#if defined(__SSE2__)
        while (c->end - s >= 16) {
            __m128i x = _mm_loadu_si128((const __m128i *)(const void *)s);
            __m128i stop = _mm_or_si128(_mm_or_si128(_mm_cmpeq_epi8(x, _mm_set1_epi8('"')),
                                                     _mm_cmpeq_epi8(x, _mm_set1_epi8('\\'))),
                                        _mm_cmpeq_epi8(_mm_min_epu8(x, _mm_set1_epi8(0x1f)), x));
            unsigned mask = (unsigned)_mm_movemask_epi8(stop);
            if (mask) {
                s += __builtin_ctz(mask);
                goto stop;
            }
            s += 16;
        }
#endif
        while (s < c->end && *s != '"' && *s != '\\' && *s >= 0x20)
            s++;
        if (s == c->end)
            return ends(c, "the payload ends inside a string");
#if defined(__SSE2__)
    stop:
#endif
        if (*s == '"')
            return s;
        if (*s != '\\')
            return fail(c, EW_ERR_SYNTAX, "control character in a string", s);
        *flags |= EW_TOK_ESCAPED;
        if (!(s = escape(c, s)))
            return NULL;
    }
}

/* The number that begins at s; past it. */
static const uint8_t *number(const scanner *c, const uint8_t *s)
{
    const uint8_t *end = c->end;
    static const char needs[] = "a number needs a digit here";
#define DIGITS                                                                        \
    if (s == end)                                                                     \
        return ends(c, "the payload ends inside a number");                           \
    if (*s < '0' || *s > '9')                                                         \
        return fail(c, EW_ERR_SYNTAX, needs, s);                                      \
    while (s < end && *s >= '0' && *s <= '9')                                         \
        s++

    if (*s == '-')
        s++;
    if (s < end && *s == '0') {
        s++;
        if (s < end && *s >= '0' && *s <= '9')
            return fail(c, EW_ERR_SYNTAX, "a number with a leading zero", s);
    } else {
        DIGITS;
    }
    if (s < end && *s == '.') {
        s++;
        DIGITS;
    }
    if (s < end && (*s | 0x20) == 'e') {
        s++;
        if (s < end && (*s == '+' || *s == '-'))
            s++;
        DIGITS;
    }
    return s;
#undef DIGITS
}

static const uint8_t *literal(const scanner *c, const uint8_t *s, const char *word, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (s + i == c->end)
            return ends(c, "the payload ends inside a literal");
        if (s[i] != (uint8_t)word[i])
            return fail(c, EW_ERR_SYNTAX, "unexpected character", s + i);
    }
    return s + n;
}

static const uint8_t *scan(const scanner *c, const uint8_t *s)
{
    ew_tape *t = c->tape;
    uint32_t open[EW_MAX_DEPTH]; /* tokens of the containers around */
    unsigned depth = 0;
    bool object = false; /* the innermost container */

#define OFFSET(at) ((uint32_t)((at) - c->start))
#define PUSH(kind)                                                                     \
    if (t->n == t->cap && !grow(c, s))                                                 \
        return NULL;                                                                   \
    ew_token *k = &t->tokens[t->n++];                                                  \
    *k = (ew_token){OFFSET(s), 0, t->n, kind, 0, (uint16_t)depth}

value:
    SKIP(s);
    if (s == c->end)
        return ends(c, depth ? "the payload ends before a value" : "the payload is empty");
    switch (*s) {
    case '"': {
        s++;
        PUSH(EW_TOK_STRING);
        if (!(s = string(c, s, &k->flags)))
            return NULL;
        k->end = OFFSET(s);
        s++;
        break;
    }
    case '{':
    case '[': {
        bool is_object = *s == '{';
        if (depth == EW_MAX_DEPTH)
            return fail(c, EW_ERR_DEPTH, "nested too deeply", s);
        PUSH(is_object ? EW_TOK_OBJECT : EW_TOK_ARRAY);
        (void)k;
        open[depth++] = t->n - 1;
        object = is_object;
        s++;
        SKIP(s);
        if (s < c->end && *s == (object ? '}' : ']'))
            goto close;
        if (!object)
            goto value;
        goto key;
    }
    case 't': {
        PUSH(EW_TOK_TRUE);
        if (!(s = literal(c, s, "true", 4)))
            return NULL;
        k->end = OFFSET(s);
        break;
    }
    case 'f': {
        PUSH(EW_TOK_FALSE);
        if (!(s = literal(c, s, "false", 5)))
            return NULL;
        k->end = OFFSET(s);
        break;
    }
    case 'n': {
        PUSH(EW_TOK_NULL);
        if (!(s = literal(c, s, "null", 4)))
            return NULL;
        k->end = OFFSET(s);
        break;
    }
    case '-': case '0': case '1': case '2': case '3': case '4': case '5': case '6': case '7': case '8': case '9': {
        PUSH(EW_TOK_NUMBER);
        if (!(s = number(c, s)))
            return NULL;
        k->end = OFFSET(s);
        break;
    }
    default:
        return fail(c, EW_ERR_SYNTAX, "unexpected character", s);
    }

after:
    if (depth == 0)
        return s;
    SKIP(s);
    if (s == c->end)
        return ends(c, object ? "the payload ends inside an object" : "the payload ends inside an array");
    if (*s == ',') {
        s++;
        if (!object)
            goto value;
        goto key;
    }
    if (*s != (object ? '}' : ']'))
        return fail(c, EW_ERR_SYNTAX, object ? "expected , or }" : "expected , or ]", s);

close: {
    ew_token *k = &t->tokens[open[--depth]];
    s++;
    k->end = OFFSET(s);
    k->next = t->n;
    object = depth && t->tokens[open[depth - 1]].type == EW_TOK_OBJECT;
    goto after;
}

key:
    SKIP(s);
    if (s == c->end)
        return ends(c, "the payload ends before a key");
    if (*s != '"')
        return fail(c, EW_ERR_SYNTAX, "expected a key", s);
    s++;
    {
        PUSH(EW_TOK_STRING);
        if (!(s = string(c, s, &k->flags)))
            return NULL;
        k->end = OFFSET(s);
    }
    s++;
    SKIP(s);
    if (s == c->end)
        return ends(c, "the payload ends after a key");
    if (*s != ':')
        return fail(c, EW_ERR_SYNTAX, "expected :", s);
    s++;
    goto value;
}

ew_status ew_scan(const uint8_t *p, size_t n, ew_tape *tape, ew_error *error)
{
    const scanner scanner_ = {p, p + n, tape, error}, *c = &scanner_;
    tape->n = 0;
    if (n > EW_MAX_PAYLOAD)
        return ew_fail(error, EW_ERR_LIMIT, "the payload is too large", EW_MAX_PAYLOAD);
    size_t valid = ew_utf8_check(p, n);
    const uint8_t *s = p + (n >= 3 && memcmp(p, "\xef\xbb\xbf", 3) == 0 ? 3 : 0);
    ew_status status = EW_OK;
    if (!(s = scan(c, s)) || !(s = blank(c, s)))
        status = error->status;
    else if (s < c->end)
        status = ew_fail(error, EW_ERR_SYNTAX, "more text after the value", (size_t)(s - p));
    /* Which of two faults is told does not depend on how they were found: the first in the payload. */
    if (valid < n && (status == EW_OK || error->position >= valid))
        status = ew_fail(error, EW_ERR_UTF8, "not UTF-8", valid);
    return status;
}
