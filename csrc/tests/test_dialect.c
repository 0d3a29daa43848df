/* Dialect tables: one that compiles, what is wrong with others and on which line, and damaged ones. */
#include "check.h"
#include "files.h"
#include "internal.h"

static ew_dialect *parse(const char *table, size_t n, ew_error *error)
{
    char *s = (char *)check_copy(table, n);
    ew_dialect *d = ew_dialect_parse(s, n, 7, error);
    free(s); /* the dialect keeps its own copy */
    CHECK((d == NULL) == (error->status != EW_OK));
    CHECK(error->message != NULL);
    return d;
}

#define HEAD "execwire\t1\nname\tt\n"
#define EVENT HEAD "event\te\nwhen\tE\tx\n"

static void test_good(void)
{
    static const char table[] =
        "execwire\t1\n"
        "name\tacme-spot\n"
        "envelope\tdata\tstream\tid\n"
        "wrapper\tsubscriptionId\n"
        "wrapper\tmeta.time\n"
        "prompt\tpong\tpong of the day\n"
        "enum\tside\tBUY\tbuy\n"
        "enum\tside\tBUY\tsell\n" /* the last one counts */
        "enum\tside\tS\tsell\n"
        "enum\tside\t\tunknown\n"
        "enum\tstatus\tFILLED\tfilled\n"
        "enum\tbool\tT\ttrue\n"
        "common\tts_event\t/E\n"
        "common\tprice\tp\n" /* no field of notices: for the emits, into which it is written already */
        "\n"
        "event\torder\n"
        "when\te\torder\ttrade\n"
        "when\ta.b\t<object>\t<array>\n"
        "known\tM\n"
        "emit\torder\n"
        "field\tprice\tp\tx.y\t/z\t//w\n"
        "field\tside\tS\n"
        "const\tposition_side\tboth\n"
        "known\tk\n"
        "known\t/l\n"
        "known\t//m\n"
        "emit\tfill\tf.0.g\n"
        "field\tprice\tp\n"
        "event\tbalance\n"
        "when\te\tbalance\n"
        "emit\tbalance\tB\n"
        "field\tfree\tf\n"
        "event\torder\n" /* the name again */
        "when\tv\n"
        "emit\tnotice\t\n"
        "const\tcode\tresponse\n";
    ew_error error;
    ew_dialect *d = parse(table, strlen(table), &error);
    if (!CHECK(d != NULL)) {
        fprintf(stderr, "    line %zu: %s\n", error.position, error.message);
        return;
    }
    CHECK(strcmp(ew_dialect_name(d), "acme-spot") == 0);
    CHECK(strcmp(ew_event_name(d, 0), "") == 0);
    CHECK(strcmp(ew_event_name(d, 1), "order") == 0);
    CHECK(strcmp(ew_event_name(d, 2), "balance") == 0);
    CHECK(strcmp(ew_event_name(d, 3), "order") == 0);
    CHECK(strcmp(ew_event_name(d, 4), "") == 0);
    CHECK(strcmp(ew_event_name(d, 65535), "") == 0);
    ew_dialect_free(d);

    d = parse(HEAD, strlen(HEAD), &error); /* knows nothing, but is a dialect */
    CHECK(d != NULL);
    ew_dialect_free(d);
    d = parse("execwire\t1\nname\tt", strlen("execwire\t1\nname\tt"), &error); /* no line feed at the end */
    CHECK(d != NULL && strcmp(ew_dialect_name(d), "t") == 0);
    ew_dialect_free(d);
    ew_dialect_free(NULL);
}

static const struct {
    const char *table;
    size_t line;
    const char *message;
} bad[] = {
    {"", 1, "not a dialect table of version 1"},
    {"\n" HEAD, 1, "not a dialect table of version 1"},
    {"execwire\t2\nname\tt\n", 1, "not a dialect table of version 1"},
    {"execwire 1\nname\tt\n", 1, "not a dialect table of version 1"},
    {"execwire\t1\t\nname\tt\n", 1, "not a dialect table of version 1"},
    {"execwire\t1\r\nname\tt\r\n", 1, "not a dialect table of version 1"},
    {"execwire\t1\n", 2, "the dialect has no name"},
    {"execwire\t1\nname\t\n", 3, "the dialect has no name"},
    {"execwire\t1\nname\n", 2, "wrong number of words"},
    {"execwire\t1\nname\ta\tb\n", 2, "wrong number of words"},
    {HEAD "nonsense\tx\n", 3, "no such directive"},
    {HEAD " \n", 3, "no such directive"},
    {HEAD "\tname\tx\n", 3, "no such directive"},
    {HEAD "execwire\t1\n", 3, "no such directive"},
    {HEAD "prompt\tpong\n", 3, "wrong number of words"},
    {HEAD "prompt\tpang\tpong\n", 3, "no such notice code"},
    {HEAD "enum\tside\tBUY\n", 3, "enum takes three words"},
    {HEAD "enum\tside\tBUY\tbuy\tx\n", 3, "enum takes three words"},
    {HEAD "enum\tsize\tBUY\tbuy\n", 3, "no such vocabulary or word"},
    {HEAD "enum\tside\tBUY\tBUY\n", 3, "no such vocabulary or word"},
    {HEAD "enum\tbool\tT\tyes\n", 3, "no such vocabulary or word"},
    {HEAD "enum\t\tT\ttrue\n", 3, "no such vocabulary or word"},
    {HEAD "envelope\n", 3, "wrong number of words"},
    {HEAD "wrapper\tx\n", 3, "wrapper not after its envelope"},
    {HEAD "common\tts_event\n", 3, "wrong number of words"},
    {HEAD "common\tts_event\ta..b\n", 3, "a path with an empty key"},
    {HEAD "when\te\tx\n", 3, "when outside an event"},
    {HEAD "emit\torder\n", 3, "emit outside an event"},
    {HEAD "field\tprice\tp\n", 3, "field outside an emit"},
    {HEAD "const\tside\tbuy\n", 3, "const outside an emit"},
    {HEAD "known\tx\n", 3, "known outside an event"},
    {HEAD "event\n", 3, "wrong number of words"},
    {HEAD "event\ta\nwhen\n", 4, "wrong number of words"},
    {HEAD "event\ta\nevent\tb\n", 4, "the event above has no emit"},
    {HEAD "event\ta\n", 4, "the event above has no emit"},
    {HEAD "event\ta\nemit\torder\n", 5, "the event above has no when"},
    {EVENT, 5, "the event above has no emit"},
    {EVENT "field\tprice\tp\n", 5, "field outside an emit"},
    {EVENT "emit\n", 5, "wrong number of words"},
    {EVENT "emit\torders\n", 5, "no such kind of record"},
    {EVENT "emit\tnone\n", 5, "no such kind of record"},
    {EVENT "emit\torder\ta..b\n", 5, "a path with an empty key"},
    {EVENT "emit\torder\ta\nemit\tfill\ta\n", 6, "two emits of one event with the same rows"},
    {EVENT "emit\torder\ta.b\nknown\t/a.0.c\n", 7, "rows beside a path with an index"},
    {EVENT "emit\torder\n\n\nfield\tprise\tp\n", 8, "the kind has no such field"},
    {EVENT "emit\tfill\nfield\tstop_price\tp\n", 6, "the kind has no such field"},
    {EVENT "emit\torder\nfield\tprice\n", 6, "wrong number of words"},
    {EVENT "emit\torder\nfield\tprice\t\n", 6, "a path with an empty key"},
    {EVENT "emit\torder\nfield\tprice\t//\n", 6, "a path with an empty key"},
    {EVENT "emit\torder\nfield\tprice\tp.\n", 6, "a path with an empty key"},
    {EVENT "emit\torder\nfield\tprice\t.p\n", 6, "a path with an empty key"},
    {EVENT "emit\torder\nconst\tside\n", 6, "wrong number of words"},
    {EVENT "emit\torder\nconst\tside\tBUY\n", 6, "no such field or word"},
    {EVENT "emit\torder\nconst\tprice\tbuy\n", 6, "no such field or word"},
    {EVENT "emit\torder\nconst\tsize\tbuy\n", 6, "no such field or word"},
    {EVENT "emit\torder\nknown\n", 6, "wrong number of words"},
    {EVENT "emit\torder\ncommon\tts_event\tE\n", 6, "common after the first event"},
};

static void test_bad(void)
{
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        ew_error error;
        ew_dialect *d = parse(bad[i].table, strlen(bad[i].table), &error);
        CHECK_CASE(d == NULL, bad[i].table);
        CHECK_CASE(error.status == EW_ERR_TABLE, bad[i].table);
        CHECK_CASE(error.position == bad[i].line && strcmp(error.message, bad[i].message) == 0, bad[i].table);
        if (!d && (error.position != bad[i].line || strcmp(error.message, bad[i].message) != 0))
            fprintf(stderr, "    got line %zu: %s\n", error.position, error.message);
        ew_dialect_free(d);
    }
    ew_error error;
    CHECK(parse(HEAD "prompt\tpong\tp\0ng\n", sizeof HEAD "prompt\tpong\tp\0ng\n" - 1, &error) == NULL);
}

/* Repeats of a line until something is full. */
static void test_large(void)
{
    static const struct {
        const char *head, *format;
        unsigned fits, too_many; /* how often */
    } cases[] = {
        {EVENT "emit\torder\n", "known\tk%u\n", 200, 300},             /* keys of an object */
        {EVENT "emit\torder\n", "known\ta.b%u.c\n", 100, 300},         /* keys of an event */
        {EVENT, "emit\torder\tr%u\n", 200, 300},                       /* emits */
        {HEAD, "enum\tstatus\tT%u\tfilled\n", 255, 256},               /* texts of a vocabulary */
        {HEAD, "event\te%u\nwhen\tE\tx\nemit\torder\n", 5000, 70000},  /* events */
        {HEAD, "prompt\tpong\tp%u\n", 5000, 70000},
        {HEAD, "envelope\tdata%u\ta\tb\n", 5000, 70000},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        for (int full = 0; full < 2; full++) {
            unsigned times = full ? cases[i].too_many : cases[i].fits;
            size_t n = strlen(cases[i].head);
            char *table = malloc(n + times * (strlen(cases[i].format) + 16));
            ew_error error;
            if (!table)
                abort();
            memcpy(table, cases[i].head, n);
            for (unsigned k = 0; k < times; k++)
                n += (size_t)sprintf(table + n, cases[i].format, k);
            ew_dialect *d = parse(table, n, &error);
            CHECK_CASE((d != NULL) == !full, cases[i].format);
            if (!d && !full)
                fprintf(stderr, "    line %zu: %s\n", error.position, error.message);
            ew_dialect_free(d);
            free(table);
        }
    }
}

/* A table cut anywhere, with any byte replaced, or with lines shuffled: a dialect or an error, and nothing else. */
static void test_damaged(void)
{
    uint64_t state = 3;
    size_t ok = 0, refused = 0;
    for (unsigned v = 0; v < VENUES; v++) {
        char path[256];
        ew_error error;
        snprintf(path, sizeof path, "tests/tables/%s.tab", venue_names[v]);
        file table = file_read(path);
        if (!CHECK(table.s != NULL))
            continue;
        const size_t n = table.n;
        ew_dialect *d = parse((const char *)table.s, n, &error);
        CHECK_CASE(d != NULL && strcmp(ew_dialect_name(d), venue_names[v]) == 0, venue_names[v]);
        ew_dialect_free(d);
        for (int round = 0; round < 400; round++) {
            uint8_t *s = malloc(2 * n);
            size_t m = n;
            if (!s)
                abort();
            memcpy(s, table.s, n);
            for (uint64_t changes = check_random(&state) % 4; changes; changes--) {
                size_t at = (size_t)(check_random(&state) % m);
                switch (check_random(&state) % 5) {
                case 0: s[at] = (uint8_t)check_random(&state); break;
                case 1: s[at] = (uint8_t)"\t\n./<0e"[check_random(&state) % 7]; break;
                case 2: m = at + 1; break;
                case 3: { /* a line is repeated, or lost */
                    uint8_t *begin = s + at, *end;
                    while (begin > s && begin[-1] != '\n')
                        begin--;
                    end = memchr(begin, '\n', (size_t)(s + m - begin));
                    size_t len = end ? (size_t)(end + 1 - begin) : 0;
                    if (len && m + len <= 2 * n && check_random(&state) % 2) {
                        memmove(begin + len, begin, (size_t)(s + m - begin));
                        m += len;
                    } else if (len && len < m) {
                        memmove(begin, begin + len, (size_t)(s + m - begin) - len);
                        m -= len;
                    }
                    break;
                }
                default: { /* a tab or line feed is lost */
                    uint8_t *tab = memchr(s + at, check_random(&state) % 2 ? '\t' : '\n', m - at);
                    if (tab && m > 1) {
                        memmove(tab, tab + 1, (size_t)(s + m - tab) - 1);
                        m--;
                    }
                }
                }
            }
            d = parse((const char *)s, m, &error);
            ok += d != NULL;
            refused += d == NULL;
            CHECK(d || (error.position >= 1 && error.position <= m + 2));
            if (d) { /* what compiles must also decode */
                ew_decoder *k = ew_decoder_new(d);
                size_t records;
                static const char payload[] = "{\"e\":\"executionReport\",\"E\":1,\"data\":[{\"a\":1}],\"arg\":{\"channel\":\"orders\"}}";
                CHECK(k != NULL);
                CHECK_INT(ew_decode(k, (const uint8_t *)payload, sizeof payload - 1, 0, &records), EW_OK);
                ew_decoder_free(k);
            }
            ew_dialect_free(d);
            free(s);
        }
        free(table.s);
    }
    CHECK(ok > 100 && refused > 100);
}

int main(void)
{
    test_good();
    test_bad();
    test_large();
    test_damaged();
    return check_result();
}
