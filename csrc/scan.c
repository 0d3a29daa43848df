/* The structure of a JSON text: one pass that checks the whole grammar, writes down where every value is, and gives the
 * keys that the dialect knows their names. */
#include "internal.h"

#include <stdlib.h>

#if defined(EW_HAS_SSE2)
#include <emmintrin.h>
#endif

/* Members as they usually are have a lane of their own, which reads them without a look at the payload's end: a key of
 * less than KEY bytes, the colon, and what tells of the value. */
#define KEY 24
#define LANE 64

/*==== MARK: Names ====*/

#define NEVER (~UINT64_C(0)) /* head of what is in no text */

void ew_sights_set(ew_sight *sights, const ew_names *names)
{
    sights[0] = (ew_sight){.head = NEVER};
    for (uint32_t i = 1; i < names->n; i++) {
        const ew_word *w = &names->words[i];
        uint8_t text[KEY + 8] = {0}, n = (uint8_t)w->len;
        bool plain = w->len < KEY; /* ASCII without escapes */
        for (uint8_t k = 0; plain && k < n; k++)
            plain = w->s[k] >= 0x20 && w->s[k] < 0x7f && w->s[k] != '"' && w->s[k] != '\\';
        sights[i] = (ew_sight){.head = NEVER};
        if (!plain)
            continue;
        memcpy(text, w->s, n);
        text[n] = '"';
        sights[i] = (ew_sight){ew_load(text), ew_load(text + 8), n < 8 ? 0 : ew_load(text + n - 7), 0, 0, n,
                               n < 8 ? (uint8_t)(56 - 8 * n) : 0};
    }
}

unsigned ew_name_find(const ew_names *names, const uint8_t *s, size_t n, const uint8_t *end)
{
    for (uint32_t h = ew_hash(ew_head(s, n, end), n);; h++) {
        const unsigned name = names->cells[h & names->mask];
        if (!name || (names->words[name].len == n && memcmp(names->words[name].s, s, n) == 0))
            return name;
    }
}

/* The same for less than KEY bytes of plain ASCII, KEY of which can be read: looks at no more than has to be known. */
static inline unsigned find_plain(const ew_names *names, const ew_sight *sights, const uint8_t *s, size_t n)
{
    uint64_t head = ew_head(s, n, s + 8);
    uint32_t h = ew_hash(head, n);
    if (n < 8)
        head |= (uint64_t)'"' << 8 * n;
    for (;; h++) {
        const unsigned name = names->cells[h & names->mask];
        const ew_sight *w = &sights[name];
        if (!name || (w->head == head && w->len == n && (n < 8 || ew_load(s + n - 7) == w->tail) &&
                      (n < 16 || ew_load(s + 8) == w->middle)))
            return name;
    }
}

/* The name of a key with escapes. */
static unsigned find_escaped(const ew_names *names, const uint8_t *s, size_t n)
{
    uint8_t text[EW_MAX_NAME];
    bool whole;
    if (ew_utf8_check(s, n) != n)
        return 0; /* the payload will be refused for it; only valid text can be looked into */
    n = ew_unescape_prefix(s, n, text, sizeof text, &whole);
    return whole ? ew_name_find(names, text, n, text + sizeof text) : 0;
}

/*==== MARK: Values ====*/

typedef struct scanner {
    const uint8_t *start, *end;
    ew_tape *tape;
    const ew_names *known;
    ew_sight *sights, *before; /* before: of the last key that had a name */
    ew_error *error;
    bool wide; /* there may be bytes that are not ASCII */
    /* The containers around: their tokens, and whether they are objects. [0] is around the whole. */
    unsigned depth;
    uint32_t open[EW_MAX_DEPTH + 1];
    bool object[EW_MAX_DEPTH + 1];
    const uint8_t *edge; /* from here to the end the payload stands in a copy, too, with as many zeros behind it */
    uint8_t copy[2 * LANE];
} scanner;

static const uint8_t *fail(const scanner *c, ew_status status, const char *message, const uint8_t *at)
{
    ew_fail(c->error, status, message, (size_t)(at - c->start));
    return NULL;
}

static const uint8_t *ends(const scanner *c, const char *message) { return fail(c, EW_ERR_TRUNCATED, message, c->end); }

/* Make room on the tape. */
static bool grow(const scanner *c, const uint8_t *at)
{
    ew_tape *t = c->tape;
    const uint32_t cap = t->cap ? t->cap * 2 : 256;
    if (t->cap >= EW_MAX_VALUES) {
        fail(c, EW_ERR_LIMIT, "too many values in one payload", at);
        return false;
    }
    ew_token *tokens = realloc(t->tokens, cap * sizeof *tokens);
    if (tokens)
        t->tokens = tokens;
    uint16_t *names = realloc(t->names, cap * sizeof *names);
    if (names)
        t->names = names;
    if (!tokens || !names) {
        fail(c, EW_ERR_MEMORY, "out of memory", at);
        return false;
    }
    t->cap = cap;
    return true;
}

void ew_tape_free(ew_tape *tape)
{
    free(tape->tokens);
    free(tape->names);
}

/* Past white space and comments; null if a slash begins no comment. */
static const uint8_t *blank(scanner *c, const uint8_t *s)
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
        c->wide = true;
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
static const uint8_t *any_string(scanner *c, const uint8_t *s, uint8_t *flags)
{
    c->wide = true; /* or not: it is rare */
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

/* The closing quote of the string that goes on at s, if there is nothing but plain ASCII before it, else null. */
static inline const uint8_t *plain_string(const uint8_t *s, const uint8_t *end)
{
#if defined(EW_HAS_SSE2)
    while (end - s >= 16) {
        const __m128i x = _mm_loadu_si128((const __m128i *)(const void *)s);
        /* As signed numbers: all that is not ASCII, control characters, and of the others blanks, ! and ". */
        const __m128i low = _mm_cmpgt_epi8(_mm_set1_epi8('"' + 1), x);
        const unsigned stop = (unsigned)_mm_movemask_epi8(_mm_or_si128(low, _mm_cmpeq_epi8(x, _mm_set1_epi8('\\'))));
        if (!stop) {
            s += 16;
            continue;
        }
        s += (unsigned)__builtin_ctz(stop);
        if (*s == '"')
            return s;
        if (*s != ' ' && *s != '!')
            return NULL;
        s++;
    }
#else
    const uint64_t ones = UINT64_C(0x0101010101010101);
    for (; end - s >= 8; s += 8) {
        const uint64_t x = ew_load(s), quote = x ^ '"' * ones, slash = x ^ '\\' * ones;
        /* The lowest bit is exact: what is borrowed comes from below. */
        const uint64_t stop =
            (((quote - ones) & ~quote) | ((slash - ones) & ~slash) | ((x - ' ' * ones) & ~x) | x) & 0x80 * ones;
        if (!stop)
            continue;
        s += __builtin_ctzll(stop) / 8;
        return *s == '"' ? s : NULL;
    }
#endif
    while (s < end && *s != '"' && *s != '\\' && *s >= 0x20 && *s < 0x80)
        s++;
    return s < end && *s == '"' ? s : NULL;
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

/* The number that begins at s, if it is a plain integer; past it, else null. Reads 25 bytes. */
static inline const uint8_t *plain_integer(const uint8_t *s)
{
    const uint8_t *const first = s += *s == '-';
    uint64_t stop = ew_no_digits(ew_load(s));
    for (int i = 0; i < 2 && !stop; i++)
        stop = ew_no_digits(ew_load(s += 8));
    if (!stop)
        return NULL;
    s += __builtin_ctzll(stop) / 8;
    return s == first || (*first == '0' && s != first + 1) || *s == '.' || (*s | 0x20) == 'e' ? NULL : s;
}

/*==== MARK: Structure ====*/

/* What comes next in an object. */
typedef enum part { MEMBER, VALUE, AFTER } part;

/* Read members as they usually are, as many as follow one another: "key":"text", "key":-1, "key":true, without blanks
 * and escapes. *at is behind { or a comma, and then where they end: there the long way goes on, with what is told.
 * Nearly all of a payload is read here, so it is all about few instructions. */
static __attribute__((noinline)) part members(scanner *c, const uint8_t **at)
{
    ew_sight *const sights = c->sights, *before = c->before;
    uint16_t *const names = c->tape->names;
    size_t n = c->tape->n;
    ew_token *t = c->tape->tokens + n;
    const size_t full = c->tape->cap - 2, edge = (size_t)(c->edge - c->start);
    const ew_token one = {.next = 1};
    const ew_token text = {.next = (uint32_t)n + 1, .type = EW_TOK_STRING, .depth = (uint16_t)c->depth};
    uint64_t rest, more; /* of a text's token all but its place, at once, and what the next one has more */
    /* Places are offsets: into the payload as long as they are below `last`, then into the copy. */
    const uint8_t *p = c->start, *end = c->end;
    size_t i = (size_t)(*at - p), last = edge;
    part next = MEMBER;

    _Static_assert(offsetof(ew_token, next) == 8 && sizeof(ew_token) == 16, "next, type, flags and depth");
    memcpy(&rest, (const char *)&text + 8, 8);
    memcpy(&more, (const char *)&one + 8, 8);
#define TOKEN(from, to)                \
    t->begin = (uint32_t)(from);       \
    t->end = (uint32_t)(to);           \
    memcpy((char *)t + 8, &rest, 8);   \
    rest += more
#define TO_COPY()                      \
    p = c->copy - edge;                \
    end = c->copy + sizeof c->copy;    \
    last = edge + LANE

    if (i >= last) {
        TO_COPY();
    }
    if (p[i] != '"')
        goto out;
    while (n <= full) {
        const size_t key = i + 1;
        unsigned name = before->next; /* mostly it is the key that came next the last time, too */
        ew_sight *w = &sights[name];
        size_t past = key + w->len;
        if ((ew_load(p + key) ^ w->head) << w->shift || (w->len >= 8 && ew_load(p + past - 7) != w->tail) ||
            (w->len >= 16 && ew_load(p + key + 8) != w->middle)) {
            const uint8_t *const quote = plain_string(p + key, p + key + KEY);
            if (!quote || quote[1] != ':')
                break;
            past = (size_t)(quote - p);
            name = find_plain(c->known, sights, p + key, past - key);
            w = &sights[name];
            if (name) {
                before->next = (uint16_t)name;
                before = w;
            }
        } else {
            if (p[past + 1] != ':')
                break;
            before = w;
        }
        w->last = (uint32_t)n;
        names[n] = (uint16_t)name;
        names[n + 1] = 0; /* the value's */
        TOKEN(key, past);
        n++;
        t++;

        next = VALUE;
        i = past + 2;
        if (p[i] == '"') {
            const uint8_t *const quote = plain_string(p + i + 1, end);
            if (!quote)
                break;
            past = (size_t)(quote - p);
            TOKEN(i + 1, past);
            i = past + 1;
        } else {
            const uint8_t *const value = p + i, *behind = plain_integer(value);
            ew_token_type type = EW_TOK_NUMBER;
            if (!behind) {
                if (memcmp(value, "false", 5) == 0) {
                    type = EW_TOK_FALSE;
                    behind = value + 5;
                } else if (memcmp(value, "true", 4) == 0) {
                    type = EW_TOK_TRUE;
                    behind = value + 4;
                } else if (memcmp(value, "null", 4) == 0) {
                    type = EW_TOK_NULL;
                    behind = value + 4;
                } else {
                    break;
                }
            }
            past = (size_t)(behind - p);
            TOKEN(i, past);
            t->type = (uint8_t)type;
            i = past;
        }
        n++;
        t++;
        next = AFTER;
        if (i >= last) {
            if (last != edge)
                break;
            TO_COPY();
        }
        if (memcmp(p + i, ",\"", 2) != 0)
            break;
        i++;
        next = MEMBER;
    }
out:
    c->before = before;
    c->tape->n = (uint32_t)n;
    *at = c->start + i;
    return next;
#undef TOKEN
#undef TO_COPY
}

static const uint8_t *scan(scanner *c, const uint8_t *s)
{
    const uint8_t *const start = c->start, *const end = c->end;
    ew_tape *const tape = c->tape;
    const uint8_t *first, *past;
    unsigned name;
    uint8_t flags;
    part next;

#define ADD(kind, flags_, from, to, name_)                                                                          \
    if (tape->n == tape->cap && !grow(c, from))                                                                     \
        return NULL;                                                                                                \
    tape->names[tape->n] = (uint16_t)(name_);                                                                       \
    tape->tokens[tape->n] = (ew_token){(uint32_t)((from) - start), (uint32_t)((to) - start), tape->n + 1,            \
                                       kind, flags_, (uint16_t)c->depth};                                           \
    tape->n++
#define STRING()                                                                   \
    first = ++s;                                                                   \
    flags = 0;                                                                     \
    if (!(s = plain_string(first, end)) && !(s = any_string(c, first, &flags)))    \
        return NULL;
#define SCALAR(kind, function)                    \
    first = s;                                    \
    if (!(s = function))                          \
        return NULL;                              \
    ADD(kind, 0, first, s, 0);                    \
    break
#define IN_OBJECT c->object[c->depth]

value:
    if (s == end)
        return ends(c, c->depth ? "the payload ends before a value" : "the payload is empty");
    switch (*s) {
    case '"':
        STRING();
        ADD(EW_TOK_STRING, flags, first, s, 0);
        s++;
        break;
    case '{':
    case '[':
        if (c->depth == EW_MAX_DEPTH)
            return fail(c, EW_ERR_DEPTH, "nested too deeply", s);
        ADD(*s == '{' ? EW_TOK_OBJECT : EW_TOK_ARRAY, 0, s, s, EW_CONTAINER);
        c->open[++c->depth] = tape->n - 1;
        IN_OBJECT = *s == '{';
        s++;
        SKIP(s);
        if (s < end && *s == (IN_OBJECT ? '}' : ']'))
            goto close;
        if (IN_OBJECT)
            goto member;
        goto value;
    case 't': SCALAR(EW_TOK_TRUE, literal(c, s, "true", 4));
    case 'f': SCALAR(EW_TOK_FALSE, literal(c, s, "false", 5));
    case 'n': SCALAR(EW_TOK_NULL, literal(c, s, "null", 4));
    case '-': case '0': case '1': case '2': case '3': case '4': case '5': case '6': case '7': case '8': case '9':
        past = end - s >= 25 ? plain_integer(s) : NULL;
        SCALAR(EW_TOK_NUMBER, past ? past : number(c, s));
    case ' ': case '\t': case '\n': case '\r': case '/':
        if (!(s = blank(c, s)))
            return NULL;
        goto value;
    default:
        return fail(c, EW_ERR_SYNTAX, "unexpected character", s);
    }

after:
    if (c->depth == 0)
        return s;
    SKIP(s);
    if (s == end)
        return ends(c, IN_OBJECT ? "the payload ends inside an object" : "the payload ends inside an array");
    if (*s == ',') {
        s++;
        if (IN_OBJECT)
            goto member;
        goto value;
    }
    if (*s != (IN_OBJECT ? '}' : ']'))
        return fail(c, EW_ERR_SYNTAX, IN_OBJECT ? "expected , or }" : "expected , or ]", s);

close:
    s++;
    tape->tokens[c->open[c->depth]].end = (uint32_t)(s - start);
    tape->tokens[c->open[c->depth]].next = tape->n;
    c->depth--;
    goto after;

member:
    next = members(c, &s);
    if (next == AFTER)
        goto after;
    if (next == VALUE)
        goto value;
    SKIP(s);
    if (s == end)
        return ends(c, "the payload ends before a key");
    if (*s != '"')
        return fail(c, EW_ERR_SYNTAX, "expected a key", s);
    STRING();
    name = ew_in(flags, EW_TOK_ESCAPED) ? find_escaped(c->known, first, (size_t)(s - first))
                                        : ew_name_find(c->known, first, (size_t)(s - first), end);
    c->sights[name].last = tape->n;
    if (name) {
        if (c->sights[name].head != NEVER)
            c->before->next = (uint16_t)name;
        c->before = &c->sights[name];
    }
    ADD(EW_TOK_STRING, flags, first, s, name);
    s++;
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
    static const ew_word none = {"", 0, 0, 0};
    static const uint16_t cell = 0;
    static const ew_names nothing = {&none, &cell, 1, 0};
    ew_sight sight = {.head = NEVER};
    ew_sight *sights = tape->known ? tape->sights : &sight;
    scanner scanner_, *c = &scanner_;
    tape->n = 0;
    if (n > EW_MAX_PAYLOAD)
        return ew_fail(error, EW_ERR_LIMIT, "the payload is too large", EW_MAX_PAYLOAD);
    c->start = p;
    c->end = p + n;
    c->tape = tape;
    c->known = tape->known ? tape->known : &nothing;
    c->sights = c->before = sights;
    c->error = error;
    c->wide = false;
    c->depth = 0;
    c->object[0] = false;
    c->edge = n > LANE ? c->end - LANE : p;
    memset(c->copy, 0, sizeof c->copy);
    if (n >= LANE)
        memcpy(c->copy, c->edge, LANE);
    else
        memcpy(c->copy, p, n);

    const uint8_t *s = p + (n >= 3 && memcmp(p, "\xef\xbb\xbf", 3) == 0 ? 3 : 0);
    ew_status status = EW_OK;
    if (!(s = scan(c, s)) || !(s = blank(c, s)))
        status = error->status;
    else if (s < c->end)
        status = ew_fail(error, EW_ERR_SYNTAX, "more text after the value", (size_t)(s - p));
    size_t valid = status || c->wide ? ew_utf8_check(p, n) : n;
    /* Which of two faults is told does not depend on how they were found: the first in the payload. */
    if (valid < n && (status == EW_OK || error->position >= valid))
        status = ew_fail(error, EW_ERR_UTF8, "not UTF-8", valid);
    if (status)
        tape->n = 0;
    return status;
}
