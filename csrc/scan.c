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

/* Make room on the tape; its tokens, which may have moved, or null. */
static ew_token *grow(const scanner *c, const uint8_t *at)
{
    ew_tape *t = c->tape;
    ew_token *tokens = NULL;
    uint32_t cap = t->cap ? t->cap * 2 : 256;
    if (t->cap >= EW_MAX_VALUES)
        fail(c, EW_ERR_LIMIT, "too many values in one payload", at);
    else if (!(tokens = realloc(t->tokens, cap * sizeof *tokens)))
        fail(c, EW_ERR_MEMORY, "out of memory", at);
    if (!tokens)
        return NULL;
    t->tokens = tokens;
    t->cap = cap;
    return tokens;
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

#define SKIP(s)                                                                             \
    if ((s) < end && (*(s) <= ' ' || *(s) == '/') && !((s) = blank(c, (s))))                \
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
    /* U+D800 to U+DBFF is the first half of a pair, whose second must follow; U+DC00 to U+DFFF is a second half. */
    if ((s[3] | 0x20) < 'c' && c->end - s < 12)
        return ends(c, "the payload ends inside an escape");
    if ((s[3] | 0x20) >= 'c' || s[6] != '\\' || s[7] != 'u' || !hex(s + 8) || (s[8] | 0x20) != 'd' ||
        (s[9] | 0x20) < 'c')
        return fail(c, EW_ERR_UTF8, "half a surrogate pair", s);
    return s + 12;
}

/* The end of the string that goes on at s: its closing quote. */
static __attribute__((noinline)) const uint8_t *any_string(const scanner *c, const uint8_t *s, uint8_t *flags)
{
    for (;;) {
        while (s < c->end && *s != '"' && *s != '\\' && *s >= 0x20)
            s++;
        if (s == c->end)
            return ends(c, "the payload ends inside a string");
        if (*s == '"')
            return s;
        if (*s != '\\')
            return fail(c, EW_ERR_SYNTAX, "control character in a string", s);
        *flags |= EW_TOK_ESCAPED;
        if (!(s = escape(c, s)))
            return NULL;
    }
}

static inline const uint8_t *string(const scanner *c, const uint8_t *s, const uint8_t *end, uint8_t *flags)
{
#if defined(__SSE2__)
    for (; end - s >= 16; s += 16) {
        const __m128i x = _mm_loadu_si128((const __m128i *)(const void *)s);
        const __m128i stop = _mm_or_si128(_mm_or_si128(_mm_cmpeq_epi8(x, _mm_set1_epi8('"')),
                                                       _mm_cmpeq_epi8(x, _mm_set1_epi8('\\'))),
                                          _mm_cmpeq_epi8(_mm_min_epu8(x, _mm_set1_epi8(0x1f)), x));
        const unsigned mask = (unsigned)_mm_movemask_epi8(stop);
        if (!mask)
            continue;
        s += __builtin_ctz(mask);
        if (*s == '"')
            return s;
        break;
    }
#endif
    return any_string(c, s, flags);
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
    const uint8_t *const start = c->start, *const end = c->end;
    ew_token *tokens = c->tape->tokens;
    uint32_t n = 0, cap = c->tape->cap;
    uint32_t open[EW_MAX_DEPTH]; /* tokens of the containers around */
    unsigned depth = 0;
    bool object = false; /* the innermost container */
    const uint8_t *first;
    uint8_t flags;

#define ADD(kind, from, to)                                                                                      \
    if (n == cap) {                                                                                              \
        if (!(tokens = grow(c, from)))                                                                           \
            return NULL;                                                                                         \
        cap = c->tape->cap;                                                                                      \
    }                                                                                                            \
    tokens[n] = (ew_token){(uint32_t)((from) - start), (uint32_t)((to) - start), n + 1, kind, flags, (uint16_t)depth}; \
    n++
#define STRING()                                  \
    first = ++s;                                  \
    flags = 0;                                    \
    if (!(s = string(c, s, end, &flags)))              \
        return NULL;                              \
    ADD(EW_TOK_STRING, first, s);                 \
    s++
#define SCALAR(kind, function)                    \
    first = s;                                    \
    flags = 0;                                    \
    if (!(s = function))                          \
        return NULL;                              \
    ADD(kind, first, s);                          \
    break

value:
    SKIP(s);
    if (s == end)
        return ends(c, depth ? "the payload ends before a value" : "the payload is empty");
    switch (*s) {
    case '"':
        STRING();
        break;
    case '{':
    case '[':
        object = *s == '{';
        flags = 0;
        if (depth == EW_MAX_DEPTH)
            return fail(c, EW_ERR_DEPTH, "nested too deeply", s);
        ADD(object ? EW_TOK_OBJECT : EW_TOK_ARRAY, s, s);
        open[depth++] = n - 1;
        s++;
        SKIP(s);
        if (s < end && *s == (object ? '}' : ']'))
            goto close;
        if (object)
            goto key;
        goto value;
    case 't': SCALAR(EW_TOK_TRUE, literal(c, s, "true", 4));
    case 'f': SCALAR(EW_TOK_FALSE, literal(c, s, "false", 5));
    case 'n': SCALAR(EW_TOK_NULL, literal(c, s, "null", 4));
    case '-': case '0': case '1': case '2': case '3': case '4': case '5': case '6': case '7': case '8': case '9':
        SCALAR(EW_TOK_NUMBER, number(c, s));
    default:
        return fail(c, EW_ERR_SYNTAX, "unexpected character", s);
    }

after:
    if (depth == 0) {
        c->tape->n = n;
        return s;
    }
    SKIP(s);
    if (s == end)
        return ends(c, object ? "the payload ends inside an object" : "the payload ends inside an array");
    if (*s == ',') {
        s++;
        if (object)
            goto key;
        goto value;
    }
    if (*s != (object ? '}' : ']'))
        return fail(c, EW_ERR_SYNTAX, object ? "expected , or }" : "expected , or ]", s);

close:
    s++;
    depth--;
    tokens[open[depth]].end = (uint32_t)(s - start);
    tokens[open[depth]].next = n;
    object = depth && tokens[open[depth - 1]].type == EW_TOK_OBJECT;
    goto after;

key:
    SKIP(s);
    if (s == end)
        return ends(c, "the payload ends before a key");
    if (*s != '"')
        return fail(c, EW_ERR_SYNTAX, "expected a key", s);
    STRING();
    SKIP(s);
    if (s == end)
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
