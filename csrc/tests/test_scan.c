/* The grammar: what is accepted as which tokens, what is refused with which status and where. */
#include "check.h"
#include "internal.h"

static ew_status scan(const void *text, size_t n, ew_tape *tape, ew_error *error)
{
    uint8_t *s = check_copy(text, n);
    *error = (ew_error){EW_OK, "", 0};
    ew_status status = ew_scan(s, n, tape, error);
    CHECK(status == error->status);
    CHECK(error->message != NULL);
    CHECK(error->position <= n);
    free(s);
    return status;
}

/*==== MARK: Accepted ====*/

static const char *const good[] = {
    "{}", "[]", "0", "-0", "1", "-1", "10", "0.5", "-0.5", "1e5", "1E5", "1e+5", "1e-5", "0e0", "1.25E-10", "true",
    "false", "null", "\"\"", "\"a\"", " {} ", "\t\r\n[ ]\n", "[1,2,3]", "[ 1 , 2 ]", "[[],[[]],{}]", "{\"a\":1}",
    "{ \"a\" : 1 , \"b\" : [ ] }", "{\"\":\"\"}", "{\"a\":1,\"a\":2}", "{\"a\":{\"b\":{\"c\":[{\"d\":null}]}}}",
    "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u0041\"", "\"\\ud83d\\ude00\"", "\"\\uD83D\\uDE00\"", "\"\\uDBFF\\uDFFF\"",
    "\"\\ud7ff\\ue000\"", "\"\x7f\"", "\"\xc3\xa9\xe5\xb8\x81\xf0\x9f\x98\x80\"",
    "123456789012345678901234567890123456789012345678901234567890.0001e999999",
    /* byte order mark and comments */
    "\xef\xbb\xbf{}", "\xef\xbb\xbf [1]", "//\n{}", "// {\n{}", "{}//", "{} // the end", "{}//\n", "//a\n//b\n[]//c\n//d",
    "{//\n}", "{\"a\"//k\n://v\n1//w\n,//x\n\"b\":2//y\n}", "[//\n1//\n,//\n2//\n]", "[1,//]\n2]", "\"//\"", "[\"//\",1]",
    "{\"a\":\"http://x\"}", "//\xc3\xa9\n1", "// \t\"{[\r\n1", "[1//\n\n //\n,2]", "//\x01\x02\n1",
    "{\"a\":\"0123456789abcdef0123456789abcdef\\n0123456789abcdef\"}",
};

/*==== MARK: Refused ====*/

#define TRUNCATED EW_ERR_TRUNCATED
#define SYNTAX EW_ERR_SYNTAX
#define UTF8 EW_ERR_UTF8

static const struct {
    const char *text;
    ew_status status;
    size_t position;
} bad[] = {
    {"", TRUNCATED, 0},
    {" ", TRUNCATED, 1},
    {"\xef\xbb\xbf", TRUNCATED, 3},
    {"//", TRUNCATED, 2},
    {"/", TRUNCATED, 1},
    {"{}/", TRUNCATED, 3},
    {"[1/", TRUNCATED, 3},
    {"[1//]", TRUNCATED, 5},
    {"{", TRUNCATED, 1},
    {"[", TRUNCATED, 1},
    {"[1", TRUNCATED, 2},
    {"[1,", TRUNCATED, 3},
    {"{\"a\"", TRUNCATED, 4},
    {"{\"a\":", TRUNCATED, 5},
    {"{\"a\":1", TRUNCATED, 6},
    {"{\"a\":1,", TRUNCATED, 7},
    {"{\"a", TRUNCATED, 3},
    {"\"", TRUNCATED, 1},
    {"\"\\", TRUNCATED, 2},
    {"\"\\u00", TRUNCATED, 5},
    {"\"\\ud83d", TRUNCATED, 7},
    {"\"\\ud83d\\ude", TRUNCATED, 11},
    {"t", TRUNCATED, 1},
    {"fals", TRUNCATED, 4},
    {"nul", TRUNCATED, 3},
    {"-", TRUNCATED, 1},
    {"1.", TRUNCATED, 2},
    {"1e", TRUNCATED, 2},
    {"1e+", TRUNCATED, 3},

    {"}", SYNTAX, 0},
    {"]", SYNTAX, 0},
    {",", SYNTAX, 0},
    {"pong", SYNTAX, 0},
    {"'a'", SYNTAX, 0},
    {"+1", SYNTAX, 0},
    {".5", SYNTAX, 0},
    {"NaN", SYNTAX, 0},
    {"Infinity", SYNTAX, 0},
    {"-Infinity", SYNTAX, 1},
    {"True", SYNTAX, 0},
    {"trUe", SYNTAX, 2},
    {"nulL", SYNTAX, 3},
    {"falsE ", SYNTAX, 4},
    {"truex", SYNTAX, 4},
    {"01", SYNTAX, 1},
    {"-01", SYNTAX, 2},
    {"00", SYNTAX, 1},
    {"--1", SYNTAX, 1},
    {"1.e5", SYNTAX, 2},
    {"1.x", SYNTAX, 2},
    {"1ex", SYNTAX, 2},
    {"1e+x", SYNTAX, 3},
    {"1e+-1", SYNTAX, 3},
    {"1.2.3", SYNTAX, 3},
    {"0x10", SYNTAX, 1},
    {"1 2", SYNTAX, 2},
    {"{}{}", SYNTAX, 2},
    {"{} x", SYNTAX, 3},
    {"[] ]", SYNTAX, 3},
    {"[1 2]", SYNTAX, 3},
    {"[1,]", SYNTAX, 3},
    {"[,1]", SYNTAX, 1},
    {"[1,,2]", SYNTAX, 3},
    {"[1}", SYNTAX, 2},
    {"[}", SYNTAX, 1},
    {"{]", SYNTAX, 1},
    {"{1:2}", SYNTAX, 1},
    {"{a:2}", SYNTAX, 1},
    {"{'a':2}", SYNTAX, 1},
    {"{\"a\" 1}", SYNTAX, 5},
    {"{\"a\":1,}", SYNTAX, 7},
    {"{,}", SYNTAX, 1},
    {"{\"a\":}", SYNTAX, 5},
    {"{\"a\"}", SYNTAX, 4},
    {"{\"a\":1 \"b\":2}", SYNTAX, 7},
    {"{\"a\":1]", SYNTAX, 6},
    {"{\"a\"::1}", SYNTAX, 5},
    {"{\"a\":1:2}", SYNTAX, 6},
    {"[1:2]", SYNTAX, 2},
    {"{null:1}", SYNTAX, 1},
    {"[1]]", SYNTAX, 3},
    {"/* */1", SYNTAX, 0},
    {"/x", SYNTAX, 0},
    {"[1 / 2]", SYNTAX, 3},
    {"#1", SYNTAX, 0},
    {"\"a\nb\"", SYNTAX, 2},
    {"\"a\tb\"", SYNTAX, 2},
    {"\"a\x1f\"", SYNTAX, 2},
    {"{\"\x01\":1}", SYNTAX, 2},
    {"\"0123456789abcdef\x02\"", SYNTAX, 17},
    {"\"\\x41\"", SYNTAX, 1},
    {"\"\\a\"", SYNTAX, 1},
    {"\"\\'\"", SYNTAX, 1},
    {"\"\\U0041\"", SYNTAX, 1},
    {"\"\\u004g\"", SYNTAX, 1},
    {"\"\\u 041\"", SYNTAX, 1},
    {"\"\\u+041\"", SYNTAX, 1},
    {"\"ab\\u00:0\"", SYNTAX, 3},
    {"\"ab\\u00@0\"", SYNTAX, 3},
    {"\f1", SYNTAX, 0},
    {"\v1", SYNTAX, 0},
    {"\xef\xbb\xbf\xef\xbb\xbf{}", SYNTAX, 3},
    {"[\xef\xbb\xbf]", SYNTAX, 1},
    {"{\"a\":\xc2\xa0" "1}", SYNTAX, 5},

    {"\"\\ud83d\"     ", UTF8, 1},
    {"\"\\ud83dabcdef\"", UTF8, 1},
    {"\"\\ud83d\\n12345\"", UTF8, 1},
    {"\"\\ud83d\\u0041\"", UTF8, 1},
    {"\"\\ud83d\\ud83d\"", UTF8, 1},
    {"\"\\ud83d\\ue000\"", UTF8, 1},
    {"\"a\\udc00\"", UTF8, 2},
    {"\"a\\uDFFF\\ud800\"", UTF8, 2},
    {"\"\\ude00\\ud83d\"", UTF8, 1},
    {"{\"\\udc00\":1}", UTF8, 2},
    {"\"\xff\"", UTF8, 1},
    {"\"\x80\"", UTF8, 1},
    {"\"\xc3\"", UTF8, 1},
    {"\"\xc0\x80\"", UTF8, 1},
    {"\"\xed\xa0\x80\"", UTF8, 1},
    {"\"\xf4\x90\x80\x80\"", UTF8, 1},
    {"{\"a\\\"\xf4\x90\"", UTF8, 5}, /* a key with an escape, and the beginning of a character at its end */
    {"\"\xe5\xb8\"", UTF8, 1},
    {"{\"a\":\"\xe9\"}", UTF8, 6},
    {"\xff", UTF8, 0},
    {"{}\xff", UTF8, 2},
    {"//\xff\n1", UTF8, 2},
    {"1 //\xff", UTF8, 4},
    {"\xef\xbb\x7f{}", UTF8, 0},
    /* of two faults the first is told */
    {"{]\"\xff\"", SYNTAX, 1},
    {"\"\xff\" x", UTF8, 1},
    {"\"\\q\xff\"", SYNTAX, 1},
    {"\"abc\xc3", UTF8, 4},
    {"[1,\"\xff", UTF8, 4},
};

static void test_texts(void)
{
    ew_tape tape = {0};
    ew_error error;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        CHECK_CASE(scan(good[i], strlen(good[i]), &tape, &error) == EW_OK, good[i]);
        CHECK_CASE(tape.n > 0 && tape.tokens[0].next == tape.n, good[i]);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        CHECK_CASE(scan(bad[i].text, strlen(bad[i].text), &tape, &error) == bad[i].status, bad[i].text);
        CHECK_CASE(error.position == bad[i].position, bad[i].text);
        if (error.status != bad[i].status || error.position != bad[i].position)
            fprintf(stderr, "    got status %d at %zu: %s\n", error.status, error.position, error.message);
    }
    CHECK_INT(scan("1\0", 2, &tape, &error), EW_ERR_SYNTAX);
    CHECK_INT(error.position, 1);
    CHECK_INT(scan("\0", 1, &tape, &error), EW_ERR_SYNTAX);
    CHECK_INT(scan("\"\0\"", 3, &tape, &error), EW_ERR_SYNTAX);
    CHECK_INT(scan("\"\\\0\"", 4, &tape, &error), EW_ERR_SYNTAX);
    CHECK_INT(error.position, 1);
    ew_tape_free(&tape);
}

/*==== MARK: Tokens ====*/

static void test_tokens(void)
{
    static const char text[] = "\xef\xbb\xbf {\"a\":[1,-2.5e3,true],//x\n \"\\u0062\":{\"c\":null},\"d\":\"x\\n\",\"e\":[],\"f\":false}";
    static const struct {
        const char *text;
        unsigned type, flags, depth, next;
    } expected[] = {
        {NULL, EW_TOK_OBJECT, 0, 0, 18},
        {"a", EW_TOK_STRING, 0, 1, 2},
        {"[1,-2.5e3,true]", EW_TOK_ARRAY, 0, 1, 6},
        {"1", EW_TOK_NUMBER, 0, 2, 4},
        {"-2.5e3", EW_TOK_NUMBER, 0, 2, 5},
        {"true", EW_TOK_TRUE, 0, 2, 6},
        {"\\u0062", EW_TOK_STRING, EW_TOK_ESCAPED, 1, 7},
        {"{\"c\":null}", EW_TOK_OBJECT, 0, 1, 10},
        {"c", EW_TOK_STRING, 0, 2, 9},
        {"null", EW_TOK_NULL, 0, 2, 10},
        {"d", EW_TOK_STRING, 0, 1, 11},
        {"x\\n", EW_TOK_STRING, EW_TOK_ESCAPED, 1, 12},
        {"e", EW_TOK_STRING, 0, 1, 13},
        {"[]", EW_TOK_ARRAY, 0, 1, 14},
        {"f", EW_TOK_STRING, 0, 1, 15},
        {"false", EW_TOK_FALSE, 0, 1, 16},
    };
    const size_t count = sizeof expected / sizeof *expected;
    ew_tape tape = {0};
    ew_error error;
    CHECK_INT(scan(text, sizeof text - 1, &tape, &error), EW_OK);
    CHECK_INT(tape.n, count);
    for (size_t i = 0; i < count && i < tape.n; i++) {
        const ew_token *t = &tape.tokens[i];
        if (expected[i].text)
            CHECK_TEXT(text + t->begin, t->end - t->begin, expected[i].text);
        CHECK_INT(t->type, expected[i].type);
        CHECK_INT(t->flags, expected[i].flags);
        CHECK_INT(t->depth, expected[i].depth);
        CHECK_INT(t->next, i ? expected[i].next : count);
    }
    CHECK_INT(tape.tokens[0].begin, 4);
    CHECK_INT(tape.tokens[0].end, sizeof text - 1);
    ew_tape_free(&tape);
}

static void test_depth(void)
{
    ew_tape tape = {0};
    ew_error error;
    char text[1024];
    for (size_t depth = 1; depth <= 140; depth++) {
        size_t n = 0;
        for (size_t i = 0; i < depth; i++)
            text[n++] = '[';
        for (size_t i = 0; i < depth; i++)
            text[n++] = ']';
        CHECK_INT(scan(text, n, &tape, &error), depth <= EW_MAX_DEPTH ? EW_OK : EW_ERR_DEPTH);
        if (depth > EW_MAX_DEPTH)
            CHECK_INT(error.position, EW_MAX_DEPTH);
        else
            CHECK_INT(tape.tokens[depth - 1].depth, depth - 1);
        n = 0;
        for (size_t i = 0; i < depth; i++, n += 5)
            memcpy(text + n, "{\"\":[", 5);
        CHECK_INT(scan(text, n, &tape, &error), 2 * depth <= EW_MAX_DEPTH ? EW_ERR_TRUNCATED : EW_ERR_DEPTH);
    }
    /* A number may stand in the innermost array. */
    size_t n = 0;
    for (size_t i = 0; i < EW_MAX_DEPTH; i++)
        text[n++] = '[';
    text[n++] = '1';
    for (size_t i = 0; i < EW_MAX_DEPTH; i++)
        text[n++] = ']';
    CHECK_INT(scan(text, n, &tape, &error), EW_OK);
    ew_tape_free(&tape);
}

static void test_limits(void)
{
    ew_tape tape = {0};
    ew_error error;
    const size_t most = EW_MAX_VALUES;
    char *s = malloc(2 * most + 16); /* an array of `values` values, itself one */
    if (!s)
        abort();
    for (size_t values = most - 1; values <= most; values++) {
        size_t n = 0;
        s[n++] = '[';
        for (size_t i = 0; i < values; i++) {
            s[n++] = '1';
            s[n++] = ',';
        }
        s[n - 1] = ']';
        CHECK_INT(scan(s, n, &tape, &error), values < most ? EW_OK : EW_ERR_LIMIT);
        CHECK_INT(tape.n, values < most ? most : 0);
    }
    free(s);
    ew_tape_free(&tape);
    tape = (ew_tape){0};
    /* Refused before a byte is read: there is no payload of that size here. */
    CHECK_INT(ew_scan((const uint8_t *)"{}", EW_MAX_PAYLOAD + 1, &tape, &error), EW_ERR_LIMIT);
    ew_tape_free(&tape);
}

/*==== MARK: Cut and changed ====*/

static const char *const whole[] = {
    "{\"e\":\"order\",\"p\":\"0.00100000\",\"q\":-12.5e-3,\"a\":[true,false,null,{\"k\":\"\\u00e9\\ud83d\\ude00\\n\"}],\"z\":{}}",
    "\xef\xbb\xbf{ \"a\" : [ ] , // note\n \"\xe5\xb8\x81\" : \"\xf0\x9f\x98\x80 0123456789 0123456789\" }",
    "[[[{\"a\":[[{}]]}]]]",
};

/* Only a cut behind the last bracket leaves a whole text; every other one is an error, mostly the telling one. */
static void test_cut(void)
{
    ew_tape tape = {0};
    ew_error error;
    for (size_t i = 0; i < sizeof whole / sizeof *whole; i++) {
        size_t n = strlen(whole[i]);
        CHECK_INT(scan(whole[i], n, &tape, &error), EW_OK);
        for (size_t cut = 0; cut < n; cut++) {
            ew_status status = scan(whole[i], cut, &tape, &error);
            bool inside = cut > 0 && cut < n && ((uint8_t)whole[i][cut] & 0xc0) == 0x80; /* a character of UTF-8 */
            CHECK_INT(status, inside ? EW_ERR_UTF8 : EW_ERR_TRUNCATED);
        }
    }
    ew_tape_free(&tape);
}

/* Whatever byte stands wherever: a verdict, and tokens that lie inside each other. */
static void test_changed(void)
{
    ew_tape tape = {0};
    ew_error error;
    unsigned long wrong = 0;
    for (size_t i = 0; i < sizeof whole / sizeof *whole; i++) {
        size_t n = strlen(whole[i]);
        uint8_t *s = check_copy(whole[i], n);
        for (size_t at = 0; at < n; at++) {
            for (unsigned c = 0; c < 256; c++) {
                s[at] = (uint8_t)c;
                if (ew_scan(s, n, &tape, &error) != EW_OK) {
                    wrong += error.position > n || error.status == EW_OK;
                    continue;
                }
                wrong += ew_utf8_check(s, n) != n;
                for (uint32_t t = 0; t < tape.n; t++)
                    wrong += tape.tokens[t].begin > tape.tokens[t].end || tape.tokens[t].end > n ||
                             tape.tokens[t].next <= t || tape.tokens[t].next > tape.n;
            }
            s[at] = (uint8_t)whole[i][at];
        }
        free(s);
    }
    CHECK_INT(wrong, 0);
    ew_tape_free(&tape);
}

/*==== MARK: Names ====*/

static const char *const known[] = {
    "a", "b", "ab", "abcdef", "abcdefg", "abcdefgh", "abcdefghi", "abcdefgx", "abcdefghijklmno", "abcdefghijklmnop",
    "abcdefghijklmnopq", "abcdefgh_jklmnopq", "abcdefghijklmnopqrstuvw", "abcdefghijklmnopqrstuvwx",
    "abcdefghijklmnopqrstuvwxyz0123456789", "abcdefghijklmnopqrstuvwxyz012345678x", "\xc3\xa9", "a blank!", "a\"b", "a\\",
};
static const char *const values[] = {
    "1", "\"x\"", "null", "true", "false", "{}", "[]", "-12.5", "\"\"", " 7 ", "\"0123456789abcdef0123456789\"", "\"\\n\"",
    "12345678901234567890123456789", "{\"a\":{\"abcdefgh\":1},\"b\":[{\"ab\":2}]}", "\"\xc3\xa9 !\"",
};
#define ANY(of) of[check_random(random) % (sizeof of / sizeof *of)]

/* A key as JSON, mostly a known one, else one that differs a little. */
static size_t put_key(char *out, uint64_t *random)
{
    char key[64];
    size_t n = 0;
    strcpy(key, ANY(known));
    const size_t len = strlen(key);
    switch (check_random(random) % 12) {
    case 0: key[check_random(random) % len] = '~'; break;
    case 1: strcpy(key + len, "y"); break;
    case 2: key[len - 1] = 0; break;
    }
    const bool escape = check_random(random) % 12 == 0;
    for (const char *c = key; *c; c++)
        n += (size_t)sprintf(out + n, escape && *c > 0 ? "\\u%04x" : *c == '"' || *c == '\\' ? "\\%c" : "%c", *c);
    return n;
}

/* Every key has its name, no value has one, and containers have their mark; the last key of each name can be told. */
static void check_names(const ew_tape *tape, const char *text)
{
    const ew_names *names = tape->known;
    uint32_t last[64] = {0};
    size_t n_keys = 0, n_named = 0;
    for (uint32_t object = 0; object < tape->n; object++) {
        for (uint32_t i = object + 1; tape->tokens[object].type == EW_TOK_OBJECT && i < tape->tokens[object].next;
             i = tape->tokens[i + 1].next, n_keys++) {
            uint8_t key[256];
            const ew_token *t = &tape->tokens[i];
            const size_t n = ew_unescape((const uint8_t *)text + t->begin, t->end - t->begin, key);
            unsigned name = 0;
            for (uint32_t k = 1; k < names->n; k++)
                if (names->words[k].len == n && memcmp(names->words[k].s, key, n) == 0)
                    name = k;
            CHECK_INT(tape->names[i], name);
            last[name] = i > last[name] ? i : last[name];
            n_named += name != 0;
        }
    }
    for (uint32_t i = 0; i < tape->n; i++)
        n_named -= tape->names[i] != 0 && tape->names[i] != EW_CONTAINER;
    CHECK_INT(n_named, 0);
    for (uint32_t i = 0; i < tape->n; i++)
        CHECK_INT(tape->names[i] == EW_CONTAINER,
                  tape->tokens[i].type == EW_TOK_OBJECT || tape->tokens[i].type == EW_TOK_ARRAY);
    for (uint32_t k = 1; k < names->n; k++)
        if (last[k])
            CHECK_INT(tape->sights[k].last, last[k]);
}

/* In any order, so whatever was predicted, and at any distance from the payload's end. */
static void test_names(void)
{
    char table[4096], text[16384];
    uint64_t state = 11, *random = &state;
    ew_tape tape = {0};
    ew_error error;
    int n = sprintf(table, "execwire\t1\nname\tnames\nevent\tx\nwhen\te\tx\nemit\torder\n");
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        n += sprintf(table + n, "known\t%s\n", known[i]);
    ew_dialect *d = ew_dialect_parse(table, (size_t)n, 1, &error);
    if (!CHECK(d != NULL))
        return;
    tape.known = &d->known;
    if (!(tape.sights = calloc(d->known.n, sizeof *tape.sights)))
        abort();
    ew_sights_set(tape.sights, tape.known);
    for (unsigned round = 0; round < 20000; round++) {
        size_t m = 0;
        for (uint64_t left = check_random(random) % 24 + 1; left; left--) {
            m += (size_t)sprintf(text + m, m ? ",\"" : "{\"");
            m += put_key(text + m, random);
            m += (size_t)sprintf(text + m, check_random(random) % 16 ? "\":%s" : "\" :%s", ANY(values));
        }
        text[m++] = '}';
        if (ew_utf8_check((const uint8_t *)text, m) < m) /* a key was cut inside a character */
            continue;
        CHECK_INT(scan(text, m, &tape, &error), EW_OK);
        check_names(&tape, text);
    }
    free(tape.sights);
    ew_tape_free(&tape);
    ew_dialect_free(d);
}

int main(void)
{
    test_texts();
    test_tokens();
    test_depth();
    test_limits();
    test_cut();
    test_changed();
    test_names();
    return check_result();
}
