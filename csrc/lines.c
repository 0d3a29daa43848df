/* Blocks of a capture to lines, and lines to payloads. */
#include "internal.h"

#include <stdlib.h>

#define PAYLOAD_MAX (EW_MAX_PAYLOAD + 1)
#define LINE_MAX (PAYLOAD_MAX + 64) /* with a stamp */

struct ew_lines {
    uint8_t *bytes;
    size_t cap;
    size_t at, end;  /* what was filled and not yet taken */
    size_t seen;     /* no line feed in [at, seen) */
    uint64_t line;   /* number of the line at `at` */
    uint64_t offset; /* its place in the capture */
    uint64_t blank;
    bool stamped, strict, last;
    bool cut; /* what follows up to the next line feed belongs to a line that was given already */
};

ew_lines *ew_lines_new(int stamped)
{
    ew_lines *l = calloc(1, sizeof *l);
    if (l) {
        l->line = 1;
        l->stamped = stamped != 0;
        l->strict = stamped > 1;
    }
    return l;
}

void ew_lines_free(ew_lines *l)
{
    if (l)
        free(l->bytes);
    free(l);
}

uint64_t ew_lines_blank(const ew_lines *l) { return l->blank; }

uint8_t *ew_lines_room(ew_lines *l, size_t n)
{
    size_t left = l->end - l->at;
    if (l->at) {
        memmove(l->bytes, l->bytes + l->at, left);
        l->seen -= l->at;
        l->at = 0;
        l->end = left;
    }
    if (n >= l->cap - left) { /* never null, even for nothing */
        size_t most = LINE_MAX + n, cap = 2 * l->cap < most ? 2 * l->cap : most;
        cap = cap <= left + n ? left + n + 1 : cap;
        uint8_t *bytes = realloc(l->bytes, cap + EW_PADDING);
        if (!bytes)
            return NULL;
        l->bytes = bytes;
        l->cap = cap;
    }
    return l->bytes + left;
}

void ew_lines_filled(ew_lines *l, size_t n, int last)
{
    l->end += n;
    l->last = last != 0;
}

/*==== MARK: Stamps ====*/

/* Digits from s on, at most 19; returns how many, the value in *v. */
static inline size_t run_of_digits(const uint8_t *s, size_t n, uint64_t *v)
{
    uint64_t value = 0;
    size_t i = 0;
    n = n < 20 ? n : 20;
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    for (uint64_t w; i + 8 <= n && i < 16; i += 8) {
        memcpy(&w, s + i, 8);
        uint64_t d = w ^ UINT64_C(0x3030303030303030);
        if (((d | (d + UINT64_C(0x0606060606060606))) & UINT64_C(0xf0f0f0f0f0f0f0f0)) != 0)
            break;
        d = d * 10 + (d >> 8); /* pairs, then fours, then eight */
        d = ((d & UINT64_C(0x000000ff000000ff)) * UINT64_C(0x000f424000000064) +
             ((d >> 16) & UINT64_C(0x000000ff000000ff)) * UINT64_C(0x0000271000000001)) >> 32;
        value = value * 100000000 + d;
    }
#endif
    for (; i < n && (uint8_t)(s[i] - '0') < 10; i++)
        if (i < 19)
            value = value * 10 + (uint64_t)(s[i] - '0');
    *v = value;
    return i;
}

static int64_t days_from_civil(int64_t y, int64_t m, int64_t d)
{
    y -= m <= 2;
    int64_t era = (y >= 0 ? y : y - 399) / 400, yoe = y - era * 400;
    int64_t doy = (153 * (m + (m > 2 ? -3 : 9)) + 2) / 5 + d - 1;
    return era * 146097 + yoe * 365 + yoe / 4 - yoe / 100 + doy - 719468;
}

/* Nanoseconds of a fraction's digits; what is finer is dropped. Returns how many digits there are. */
static size_t fraction(const uint8_t *s, size_t n, int64_t unit, int64_t *ns)
{
    size_t i = 0;
    for (*ns = 0; i < n && (uint8_t)(s[i] - '0') < 10; i++) {
        unit /= 10;
        *ns += unit * (s[i] - '0');
    }
    return i;
}

static int two(const uint8_t *s)
{
    uint8_t a = (uint8_t)(s[0] - '0'), b = (uint8_t)(s[1] - '0');
    return a < 10 && b < 10 ? a * 10 + b : -1;
}

/* "2026-11-22T01:02:03", a fraction or none, "Z" or "+00:00" or nothing. */
static size_t iso_stamp(const uint8_t *s, size_t n, int64_t *ts)
{
    static const char shape[] = "dddd-dd-ddTdd:dd:dd";
    if (n < sizeof shape - 1)
        return 0;
    for (size_t i = 0; i < sizeof shape - 1; i++)
        if (shape[i] == 'd' ? (uint8_t)(s[i] - '0') >= 10 : s[i] != shape[i])
            return 0;
    int year = two(s) * 100 + two(s + 2), month = two(s + 5), day = two(s + 8);
    int hour = two(s + 11), minute = two(s + 14), second = two(s + 17);
    static const uint8_t days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    /* Years whose nanoseconds surely fit; a leap second is the next minute's first. */
    if (year < 1970 || year > 2261 || month < 1 || month > 12 || day < 1 ||
        day > days[month - 1] + (month == 2 && leap) || hour > 23 || minute > 59 || second > 60)
        return 0;
    int64_t ns = 0;
    size_t i = sizeof shape - 1;
    if (i < n && s[i] == '.') {
        size_t k = fraction(s + i + 1, n - i - 1, 1000000000, &ns);
        if (k == 0)
            return 0;
        i += 1 + k;
    }
    if (i < n && s[i] == 'Z')
        i++;
    else if (n - i >= 6 && memcmp(s + i, "+00:00", 6) == 0)
        i += 6;
    int64_t seconds = ((days_from_civil(year, month, day) * 24 + hour) * 60 + minute) * 60 + second;
    *ts = seconds * 1000000000 + ns;
    return i;
}

static size_t epoch_stamp(const uint8_t *s, size_t n, int64_t *ts)
{
    uint64_t v;
    int64_t ns = 0, unit;
    size_t i = run_of_digits(s, n, &v), k = 0;
    switch (i) {
    case 10: unit = 1000000000; break;
    case 13: unit = 1000000; break;
    case 16: unit = 1000; break;
    case 19: unit = 1; break;
    default:
        if (i == 0 || i > 9)
            return 0;
        unit = 0; /* seconds since something else began */
    }
    if (i < n && s[i] == '.') {
        k = fraction(s + i + 1, n - i - 1, unit, &ns);
        if (k == 0)
            return 0;
        i += 1 + k;
    }
    if (unit == 0) {
        *ts = 0;
        return k ? i : 0;
    }
    if (v > (uint64_t)(INT64_MAX / unit) - 1)
        return 0;
    *ts = (int64_t)v * unit + ns;
    return i;
}

size_t ew_stamp(const uint8_t *s, size_t n, int64_t *ts)
{
    *ts = 0;
    if (n == 0 || (uint8_t)(*s - '0') >= 10)
        return 0;
    size_t i = n > 4 && s[4] == '-' ? iso_stamp(s, n, ts) : epoch_stamp(s, n, ts);
    if (i == 0)
        return 0;
    if (i < n && s[i] == ':')
        i++;
    if (i < n && s[i] == ' ')
        return i + 1;
    *ts = 0;
    return 0;
}

/*==== MARK: Lines ====*/

static inline bool blank(const uint8_t *s, const uint8_t *end)
{
    while (s < end && (*s == ' ' || (*s >= '\t' && *s <= '\r')))
        s++;
    return s == end;
}

/* Any line. */
static __attribute__((noinline)) int next_line(ew_lines *l, ew_span *span)
{
    while (l->at < l->end) {
        const uint8_t *s = l->bytes + l->at, *const end = l->bytes + l->end;
        const uint8_t *stop = l->seen < l->end ? memchr(l->bytes + l->seen, '\n', l->end - l->seen) : NULL;
        const bool ended = stop != NULL;
        const uint64_t line = l->line, offset = l->offset;
        bool cut = false;
        if (!ended) {
            l->seen = l->end;
            stop = end;
            cut = !l->cut && (size_t)(end - s) >= LINE_MAX;
            if (!(cut || l->cut || l->last))
                return 0;
        }
        const bool given = l->cut;
        l->offset += (uint64_t)(stop - s) + ended;
        l->line += ended;
        l->at = l->seen = (size_t)(stop - l->bytes) + ended;
        l->cut = cut || (l->cut && !ended);
        if (given)
            continue;

        const uint8_t *first = s;
        if (line == 1 && stop - s >= 3 && memcmp(s, "\xef\xbb\xbf", 3) == 0)
            s += 3;
        if (!cut && stop > s && stop[-1] == '\r')
            stop--;
        if (s == stop || (*s <= ' ' && blank(s, stop))) {
            l->blank++;
            continue;
        }
        span->ts_recv = 0;
        size_t stamp = l->stamped ? ew_stamp(s, (size_t)(stop - s), &span->ts_recv) : 0;
        s += stamp;
        span->payload = s;
        span->n = (size_t)(stop - s) > PAYLOAD_MAX ? PAYLOAD_MAX : (size_t)(stop - s);
        span->line = line;
        span->offset = offset + (uint64_t)(s - first);
        span->stamped = stamp != 0;
        span->foreign = l->strict && stamp == 0;
        span->ended = ended;
        return 1;
    }
    return 0;
}

int ew_lines_next(ew_lines *l, ew_span *span)
{
    const uint8_t *s = l->bytes + l->at, *stop;
    /* libc has this in every instruction set, and picks the machine's. */
    if (l->seen != l->at || l->cut || l->line == 1 || !(stop = memchr(s, '\n', l->end - l->at)) || stop == s ||
        *s <= ' ' || stop[-1] == '\r' || (size_t)(stop - s) > PAYLOAD_MAX)
        return next_line(l, span);
    size_t stamp = 0;
    span->ts_recv = 0;
    if (l->stamped)
        stamp = ew_stamp(s, (size_t)(stop - s), &span->ts_recv);
    span->payload = s + stamp;
    span->n = (size_t)(stop - s) - stamp;
    span->line = l->line++;
    span->offset = l->offset + stamp;
    span->stamped = stamp != 0;
    span->foreign = l->strict && stamp == 0;
    span->ended = 1;
    l->offset += (uint64_t)(stop - s) + 1;
    l->at = l->seen = l->at + (size_t)(stop - s) + 1;
    return 1;
}

/*==== MARK: Envelopes ====*/

struct ew_unwrapper {
    ew_tape tape;
    uint8_t *text;
    size_t cap;
    ew_error error;
};

ew_unwrapper *ew_unwrapper_new(void) { return calloc(1, sizeof(ew_unwrapper)); }

void ew_unwrapper_free(ew_unwrapper *u)
{
    if (u) {
        ew_tape_free(&u->tape);
        free(u->text);
    }
    free(u);
}

const ew_error *ew_unwrapper_error(const ew_unwrapper *u) { return &u->error; }

static bool is_key(const ew_token *t, const uint8_t *s, const char *key)
{
    size_t n = strlen(key);
    return !(t->flags & EW_TOK_ESCAPED) && t->end - t->begin == n && memcmp(s + t->begin, key, n) == 0;
}

ew_status ew_unwrap(ew_unwrapper *u, const char *ts_key, const char *payload_key, ew_span *span)
{
    const uint8_t *s = span->payload;
    ew_status status = ew_scan(s, span->n, &u->tape, &u->error);
    if (status != EW_OK)
        return status;
    const ew_token *tokens = u->tape.tokens, *ts = NULL, *payload = NULL;
    for (uint32_t i = 1; tokens->type == EW_TOK_OBJECT && i < tokens->next; i = tokens[i + 1].next) {
        if (is_key(&tokens[i], s, ts_key))
            ts = &tokens[i + 1];
        if (is_key(&tokens[i], s, payload_key))
            payload = &tokens[i + 1];
    }
    if (!payload)
        return ew_fail(&u->error, EW_ERR_SYNTAX, "no payload under its key", 0);
    if (ts && (ts->type == EW_TOK_STRING || ts->type == EW_TOK_NUMBER)) {
        const uint8_t *at = s + ts->begin;
        size_t n = ts->end - ts->begin;
        int64_t time;
        if (n > 0 && (n > 4 && at[4] == '-' ? iso_stamp(at, n, &time) : epoch_stamp(at, n, &time)) == n) {
            span->ts_recv = time;
            span->stamped = 1;
        }
    }
    span->payload = s + payload->begin;
    span->n = payload->end - payload->begin;
    span->offset += payload->begin;
    if (payload->flags & EW_TOK_ESCAPED) {
        if (u->cap < span->n) {
            uint8_t *text = realloc(u->text, span->n);
            if (!text)
                return ew_fail(&u->error, EW_ERR_MEMORY, "out of memory", 0);
            u->text = text;
            u->cap = span->n;
        }
        span->n = ew_unescape(span->payload, span->n, u->text);
        span->payload = u->text;
    }
    return EW_OK;
}
