/* Payloads of a small venue of our own, and the records they give, written out as text. Every payload is decoded from
 * a copy without a byte to spare, by a new decoder, by one that has seen it before, and by one that has seen
 * everything before; they must agree. */
#include "check.h"
#include "compare.h"
#include "decoder.h"

#include <inttypes.h>

static const char table[] =
    "execwire\t1\n"
    "name\ttest\n"
    "envelope\tdata\tstream\n"
    "wrapper\tsub\n"
    "wrapper\tmeta.at\n"
    "envelope\tbody\n"
    "prompt\tpong\tpong\n"
    "prompt\twelcome\thello, there\n"
    "enum\tside\tBUY\tbuy\n"
    "enum\tside\tsell\tsell\n"
    "enum\tside\t2\tsell\n"
    "enum\tside\ttrue\tbuy\n"
    "enum\tstatus\tNEW\tnew\n"
    "enum\tstatus\tPARTIALLY_FILLED\tpartially_filled\n"
    "enum\tstatus\tPART_FILLED_BUT_CANCELED\tcanceled\n"
    "enum\tstp_mode\t\tnone\n"
    "enum\tbool\tT\ttrue\n"
    "enum\tbool\t0\tfalse\n"
    "common\tts_event\t/E\n"
    "common\tsubscription_id\t//sub\n"

    "event\ttrade\n"
    "when\te\ttrade\n"
    "when\tx.kind\tfill\n"
    "emit\tfill\tx\n"
    "field\tprice\tp\t/p\t//p\n"
    "field\tts_event\t/E\n"
    "known\tkind\n"

    "event\torder\n"
    "when\te\torder\tORDER\n"
    "known\tM\n"
    "known\tn.o\n"
    "emit\torder\n"
    "field\tts_event\t/E\n"
    "field\tts_transact\tT\n"
    "field\tsubscription_id\t//sub\n"
    "field\tsymbol\ts\n"
    "field\torder_id\ti\n"
    "field\tclient_order_id\tc\n"
    "field\ttrade_id\tt\n"
    "field\tside\tS\n"
    "field\tstatus\tX\n"
    "field\tprice\tp\tpx\tn.p\n"
    "field\torig_qty\tq\n"
    "field\tfee_asset\tN\n"
    "field\tis_maker\tm\n"
    "field\treject_reason\tr\n"
    "field\tstp_mode\tV\n"
    "field\tts_created\tC\n"
    "const\tposition_side\tboth\n"
    "const\treduce_only\tfalse\n"

    "event\tbalances\n"
    "when\te\tbalances\n"
    "emit\tbalance\ta.B\n"
    "field\tasset\tc\n"
    "field\tfree\tf\n"
    "field\treason\t/a.m\n"
    "field\tts_event\t/E\n"
    "known\tz\n"
    "emit\tposition\ta.P\n"
    "field\tsymbol\ts\n"
    "field\tqty\tq\n"

    "event\taccount\n"
    "when\targ.topic\taccount\n"
    "emit\tbalance\tL.coin\n"
    "field\tasset\tc\n"
    "field\tfree\tf\n"
    "emit\tnotice\tL\n"
    "field\tmessage\tm\n"
    "const\tcode\taccount_summary\n"

    "event\tfees\n"
    "when\te\tfees\n"
    "emit\torder\n"
    "field\tfee\td.0.fee\n"
    "field\tprice\td.2.p\n"
    "field\tstop_price\tg.h\n"

    "event\tanswer\n"
    "when\tresult\t<null>\t<array>\n"
    "when\tid\t<number>\t<string>\n"
    "emit\tnotice\n"
    "field\trequest_id\tid\n"
    "field\tmessage\tmsg\n"
    "const\tcode\tresponse\n"

    "event\terror\n"
    "when\terror\n"
    "emit\tnotice\n"
    "field\terror_code\terror.code\n"
    "field\tmessage\terror.msg\n"
    "const\tcode\terror\n";

/*==== MARK: Records as text ====*/

#define ROOM 16384

static size_t put_value(char *out, const ew_field *f, const ew_record *r, bool present)
{
    const char *at = (const char *)r + f->offset;
    uint8_t code = (uint8_t)*at;
    char plain[EW_DEC_TEXT];
    ew_dec d;
    int64_t time;
    switch ((ew_type)f->type) {
    case EW_TYPE_DEC:
        memcpy(&d, at, sizeof d);
        if (present && d.state == EW_DEC_UNREPRESENTABLE)
            return (size_t)sprintf(out, "?");
        if (!present)
            return (size_t)sprintf(out, d.state == EW_DEC_NULL ? "null" : d.state == EW_DEC_EMPTY ? "''" : "wrong state");
        return (size_t)sprintf(out, "%.*s", (int)ew_dec_text(d, plain), plain);
    case EW_TYPE_TIME:
        memcpy(&time, at, sizeof time);
        if (!present)
            return (size_t)sprintf(out, time == EW_TIME_NULL ? "null" : time == EW_TIME_EMPTY ? "''" : "wrong time");
        return (size_t)sprintf(out, "%" PRId64, time);
    case EW_TYPE_U16:
        return (size_t)sprintf(out, present ? "%u" : "null", r->h.subscription_id);
    case EW_TYPE_BOOL:
    case EW_TYPE_ENUM:
        if (!present)
            return (size_t)sprintf(out, code == EW_CODE_NULL ? "null" : code == EW_CODE_EMPTY ? "''" : "wrong code");
        return (size_t)sprintf(out, "%s", code < f->n_words ? f->words[code] : "wrong code");
    case EW_TYPE_ID: {
        const ew_id *id = (const ew_id *)(const void *)at;
        if (!present)
            return (size_t)sprintf(out, "null");
        if (id->is_number) /* marked, so that it shows */
            return (size_t)sprintf(out, "#%" PRIu64 "%s", id->number,
                                   (size_t)snprintf(plain, sizeof plain, "%" PRIu64, id->number) == id->len &&
                                           memcmp(plain, id->s, id->len) == 0 ? "" : " differs");
        return (size_t)sprintf(out, "'%.*s'%s", id->len, id->s, id->number ? " number without a number" : "");
    }
    case EW_TYPE_TEXT:
        return (size_t)(present ? sprintf(out, "'%.*s'", (uint8_t)at[f->size - 1], at) : sprintf(out, "null"));
    }
    return 0;
}

/* "kind event flags field=value ...", one line for each record. */
static void put_records(char *out, const ew_decoder *k, const ew_dialect *d, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const ew_record *r = ew_get(k, i);
        size_t n_fields;
        const ew_field *f = ew_fields(r->h.kind, &n_fields);
        out += sprintf(out, "%s%s %s ", i ? "\n" : "", ew_kind_name(r->h.kind), ew_event_name(d, r->h.event));
        for (unsigned b = 0; b < 4; b++)
            if (r->h.flags >> b & 1)
                *out++ = "XLU?"[b]; /* extra, long text, unknown word, unrepresentable */
        *out++ = '-';
        for (size_t b = 0; b < n_fields; b++) {
            bool present = r->h.present >> b & 1;
            if (!present && !(r->h.missing >> b & 1))
                continue;
            out += sprintf(out, " %s=", f[b].name);
            out += put_value(out, &f[b], r, present);
        }
    }
    *out = 0;
}

/*==== MARK: Decoding in every way ====*/

static ew_dialect *dialect;
static ew_decoder *veteran; /* has seen everything */

static void agree(const char *different, const char *who, const void *payload, size_t n)
{
    if (!CHECK(!different))
        fprintf(stderr, "    %s: %s\n    %.*s\n", who, different, (int)n, (const char *)payload);
}

/* Decode with the parser and with a decoder that has learned: they must agree. */
static void agree_on(ew_decoder *plain, ew_decoder *learned, const char *who, const char *payload, size_t n)
{
    uint8_t *s = check_copy(payload, n);
    size_t n_plain, n_learned, n_tokens;
    const ew_token *tokens;
    ew_explain(plain, s, n, &n_plain, &tokens, &n_tokens);
    ew_decode(learned, s, n, 0, &n_learned);
    agree(compare_decoders(plain, learned, n_plain, n_learned), who, s, n);
    free(s);
}

/* Decode, with all agreeing; the new decoder, for the caller to free. */
static ew_decoder *decode(const void *payload, size_t n, int64_t ts_recv, size_t *n_records)
{
    ew_decoder *k = ew_decoder_new(dialect), *again = ew_decoder_new(dialect);
    if (!k || !again)
        abort();
    static const ew_stats none;
    const ew_token *tokens;
    size_t count, n_tokens;
    uint8_t *s = check_copy(payload, n);
    *n_records = 99;
    ew_status status = ew_decode(k, s, n, ts_recv, n_records);
    CHECK(status == ew_last_error(k)->status);
    CHECK(status == EW_OK || *n_records == 0);
    CHECK(status == EW_OK || (ew_last_error(k)->message[0] && ew_last_error(k)->position <= n));
    agree(compare_spans(k, *n_records), "span", payload, n);
    for (int i = 0; i < 4; i++) {
        if (i) {
            ew_train(again, s, n);
            ew_train(veteran, s, n);
        }
        ew_stats before = *ew_decoder_stats(again);
        ew_decode(again, s, n, ts_recv, &count);
        agree(compare_decoders(k, again, *n_records, count), "again", payload, n);
        agree(compare_stats(&none, ew_decoder_stats(k), &before, ew_decoder_stats(again)), "again", payload, n);
        before = *ew_decoder_stats(veteran);
        ew_decode(veteran, s, n, ts_recv, &count);
        agree(compare_decoders(k, veteran, *n_records, count), "veteran", payload, n);
        agree(compare_stats(&none, ew_decoder_stats(k), &before, ew_decoder_stats(veteran)), "veteran", payload, n);
    }
    if (ts_recv == 0) {
        ew_explain(again, s, n, &count, &tokens, &n_tokens);
        agree(compare_decoders(k, again, *n_records, count), "explained", payload, n);
    }
    ew_decoder_free(again);
    free(s);
    return k;
}

static void expect_from(const void *payload, size_t n, const char *expected, int line)
{
    static char text[ROOM];
    size_t count;
    ew_decoder *k = decode(payload, n, 0, &count);
    const ew_error *e = ew_last_error(k);
    if (e->status)
        snprintf(text, sizeof text, "error %d at %zu", e->status, e->position);
    else
        put_records(text, k, dialect, count);
    check_text(text, strlen(text), expected, __FILE__, line, "records");
    ew_decoder_free(k);
}
#define EXPECT(payload, expected) expect_from(payload, sizeof(payload) - 1, expected, __LINE__)

/*==== MARK: Tests ====*/

#define BOTH " position_side=both"
#define NOT_REDUCE " reduce_only=false"

static void test_routing(void)
{
    EXPECT("{\"e\":\"order\"}", "order order - position_side=both reduce_only=false");
    EXPECT("{\"e\":\"ORDER\"}", "order order X- position_side=both reduce_only=false"); /* not the event's own name */
    EXPECT("{\"e\":\"order\",\"s\":\"A\",\"p\":\"1.50\",\"E\":1700000000123}",
           "order order - ts_event=1700000000123000000 symbol='A' position_side=both price=1.50 reduce_only=false");
    EXPECT(" \n{\"s\":\"A\",\"e\":\"order\"}\t", "order order - symbol='A' position_side=both reduce_only=false");
    EXPECT("\xef\xbb\xbf{\"e\":\"order\"}//x", "order order - position_side=both reduce_only=false");
    EXPECT("{//e\n\"e\"//x\n://y\n\"order\"//z\n}", "order order - position_side=both reduce_only=false");

    /* the first event whose conditions all hold */
    EXPECT("{\"e\":\"trade\",\"x\":{\"kind\":\"fill\",\"p\":\"2\"}}", "fill trade X- price=2");
    EXPECT("{\"e\":\"trade\",\"x\":{\"kind\":\"other\",\"p\":\"2\"}}", "notice  X- code=unknown_event message='trade'");
    EXPECT("{\"e\":\"trade\"}", "notice  - code=unknown_event message='trade'");
    EXPECT("{\"result\":null,\"id\":7}", "notice answer X- code=response request_id=#7");
    EXPECT("{\"result\":[],\"id\":\"a7\"}", "notice answer X- code=response request_id='a7'");
    EXPECT("{\"result\":[1],\"id\":\"007\",\"msg\":\"ok\"}", "notice answer X- code=response message='ok' request_id='007'");
    EXPECT("{\"result\":{},\"id\":7}", "notice  X- code=unknown_event");
    EXPECT("{\"result\":null,\"id\":null}", "notice  X- code=unknown_event");
    EXPECT("{\"result\":null}", "notice  X- code=unknown_event");
    EXPECT("{\"error\":{\"code\":-1021,\"msg\":\"late\"}}", "notice error - code=error message='late' error_code='-1021'");
    EXPECT("{\"error\":1}", "notice error X- code=error");
    EXPECT("{\"error\":null}", "notice error X- code=error");
    /* an event of one discriminator goes before one of another that the file names later */
    EXPECT("{\"error\":{},\"e\":\"order\"}", "order order X- position_side=both reduce_only=false");
    EXPECT("{\"error\":{\"code\":5},\"e\":\"nobody\"}", "notice error X- code=error error_code=#5");

    /* nobody's */
    EXPECT("{}", "notice  - code=unknown_event");
    EXPECT("{\"q\":1}", "notice  X- code=unknown_event");
    EXPECT("{\"e\":\"listStatus\",\"E\":5,\"sub\":3}",
           "notice  - ts_event=5000000000 subscription_id=3 code=unknown_event message='listStatus'");
    EXPECT("{\"e\":12}", "notice  - code=unknown_event message='12'");
    EXPECT("{\"e\":null}", "notice  X- code=unknown_event");
    EXPECT("{\"e\":{}}", "notice  X- code=unknown_event");
    EXPECT("{\"e\":\"\"}", "notice  - code=unknown_event message=''");
    EXPECT("{\"arg\":{\"topic\":\"tickers\"}}", "notice  - code=unknown_event message='tickers'");
    EXPECT("{\"arg\":{\"topic\":\"tickers\"},\"e\":\"q\"}", "notice  X- code=unknown_event message='q'");
    EXPECT("{\"E\":null,\"e\":\"q\"}", "notice  - ts_event=null code=unknown_event message='q'");
    EXPECT("{\"E\":\"\",\"e\":\"q\"}", "notice  - ts_event='' code=unknown_event message='q'");
    EXPECT("{\"E\":true,\"e\":\"q\"}", "notice  X?- code=unknown_event message='q'");
    EXPECT("{\"e\":\"Order\"}", "notice  - code=unknown_event message='Order'");
    EXPECT("{\"E\":\"order\"}", "notice  X?- code=unknown_event");
}

static void test_envelopes(void)
{
    EXPECT("{\"stream\":\"k\",\"data\":{\"e\":\"order\",\"s\":\"A\"}}",
           "order order - symbol='A' position_side=both reduce_only=false");
    EXPECT("{\"data\":{\"e\":\"order\",\"s\":\"A\"},\"sub\":9,\"stream\":1,\"new\":[]}",
           "order order - subscription_id=9 symbol='A' position_side=both reduce_only=false");
    EXPECT("{\"sub\":\"65535\",\"body\":{\"e\":\"order\"}}",
           "order order - subscription_id=65535 position_side=both reduce_only=false");
    EXPECT("{\"sub\":65536,\"body\":{\"e\":\"order\"}}", "order order ?- position_side=both reduce_only=false");
    EXPECT("{\"sub\":null,\"body\":{\"e\":\"order\"}}",
           "order order - subscription_id=null position_side=both reduce_only=false");
    EXPECT("{\"sub\":\"\",\"body\":{\"e\":\"order\"}}", "order order ?- position_side=both reduce_only=false");
    EXPECT("{\"sub\":1.0,\"body\":{\"e\":\"order\"}}", "order order ?- position_side=both reduce_only=false");
    /* data without stream is no envelope, and none that holds neither an object nor an array */
    EXPECT("{\"data\":{\"e\":\"order\"}}", "notice  X- code=unknown_event");
    EXPECT("{\"stream\":\"k\",\"data\":\"x\",\"e\":\"order\"}", "order order X- position_side=both reduce_only=false");
    EXPECT("{\"stream\":\"k\",\"data\":1,\"body\":{\"e\":\"order\"}}", "order order - position_side=both reduce_only=false");
    EXPECT("{\"e\":\"order\",\"body\":{\"e\":\"fees\"}}", "order fees -");
    /* one level only */
    EXPECT("{\"body\":{\"body\":{\"e\":\"order\"}}}", "notice  X- code=unknown_event");
    EXPECT("{\"body\":{}}", "notice  - code=unknown_event");
    EXPECT("{\"body\":[]}", "");
    EXPECT("{\"stream\":null,\"data\":[{\"e\":\"order\",\"s\":\"A\"},{\"e\":\"q\"}],\"sub\":2}",
           "order order - subscription_id=2 symbol='A' position_side=both reduce_only=false\n"
           "notice  - subscription_id=2 code=unknown_event message='q'");
    EXPECT("{\"body\":[{\"e\":\"order\"},1]}", "error 2 at 23");
    EXPECT("{\"body\":[[]]}", "error 2 at 9");
    /* the frame of a bare event is the event */
    EXPECT("{\"e\":\"order\",\"sub\":4}", "order order - subscription_id=4 position_side=both reduce_only=false");

    EXPECT("[]", "");
    EXPECT("[{}]", "notice  - code=unknown_event");
    EXPECT("[{\"e\":\"order\",\"s\":\"A\"},{\"body\":[{\"e\":\"order\",\"s\":\"B\"},{\"e\":\"order\",\"s\":\"C\"}]}]",
           "order order - symbol='A' position_side=both reduce_only=false\n"
           "order order - symbol='B' position_side=both reduce_only=false\n"
           "order order - symbol='C' position_side=both reduce_only=false");
    EXPECT("[{},1]", "error 2 at 4");
    EXPECT("[[]]", "error 2 at 1");
    EXPECT("[null]", "error 2 at 1");
    EXPECT("1", "error 2 at 0");
    EXPECT(" \"pong\"", "error 2 at 2");
    EXPECT("null", "error 2 at 0");
    EXPECT("", "error 1 at 0");
}

static void test_prompts(void)
{
    EXPECT("pong", "notice  - code=pong");
    EXPECT(" \r\n\tpong \n", "notice  - code=pong");
    EXPECT("hello, there", "notice  - code=welcome");
    EXPECT("Pong", "error 2 at 0");
    EXPECT("pongs", "error 2 at 0");
    EXPECT("pon", "error 2 at 0");
    EXPECT("pong pong", "error 2 at 0");
    EXPECT("pong//", "error 2 at 0");
    EXPECT("\xef\xbb\xbfpong", "error 2 at 3");
    size_t n;
    ew_decoder *k = decode("  pong ", 7, 0, &n);
    CHECK_INT(n, 1);
    CHECK_INT(ew_get(k, 0)->h.begin, 0);
    CHECK_INT(ew_get(k, 0)->h.end, 7);
    ew_decoder_free(k);
}

static void test_rows(void)
{
    EXPECT("{\"e\":\"balances\",\"a\":{\"m\":\"ORDER\",\"B\":[{\"c\":\"X\",\"f\":\"1\"},{\"c\":\"Y\",\"f\":\"2\"}]},\"E\":3}",
           "balance balances - ts_event=3000000000 asset='X' free=1 reason='ORDER'\n"
           "balance balances - ts_event=3000000000 asset='Y' free=2 reason='ORDER'");
    /* ordered by emit, not by place */
    EXPECT("{\"a\":{\"P\":[{\"s\":\"p\",\"q\":-1}],\"B\":[{\"c\":\"X\"}]},\"e\":\"balances\"}",
           "balance balances - asset='X'\nposition balances - symbol='p' qty=-1");
    EXPECT("{\"e\":\"balances\",\"a\":{\"B\":{\"c\":\"X\",\"f\":\"1\"}}}", "balance balances - asset='X' free=1");
    EXPECT("{\"e\":\"balances\",\"a\":[{\"B\":[{\"c\":\"X\"}]},{\"B\":{\"c\":\"Y\"}},7,{\"B\":[]},{}]}",
           "balance balances - asset='X'\nbalance balances - asset='Y'");
    EXPECT("{\"e\":\"balances\",\"a\":{\"B\":[1,{\"c\":\"X\"},null,[{\"c\":\"Y\"}],\"\",{}]}}",
           "balance balances - asset='X'\nbalance balances -");
    /* no row at all */
    EXPECT("{\"e\":\"balances\"}", "notice balances - code=empty");
    EXPECT("{\"e\":\"balances\",\"a\":{\"B\":[]},\"E\":3}", "notice balances X- ts_event=3000000000 code=empty");
    EXPECT("{\"e\":\"balances\",\"a\":{\"B\":[1,[]]}}", "notice balances X- code=empty");
    EXPECT("{\"e\":\"balances\",\"a\":{\"B\":null}}", "notice balances X- code=empty");
    EXPECT("{\"e\":\"balances\",\"a\":[]}", "notice balances X- code=empty");
    EXPECT("{\"e\":\"balances\",\"a\":{}}", "notice balances X- code=empty");
    /* rows in rows: the outer ones are records too */
    EXPECT("{\"arg\":{\"topic\":\"account\"},\"L\":[{\"m\":\"one\",\"coin\":[{\"c\":\"X\"},{\"c\":\"Y\"}]},"
           "{\"coin\":[{\"c\":\"Z\",\"f\":\"0\"}],\"m\":\"two\"}]}",
           "balance account - asset='X'\nbalance account - asset='Y'\nbalance account - asset='Z' free=0\n"
           "notice account - code=account_summary message='one'\nnotice account - code=account_summary message='two'");
    EXPECT("{\"arg\":{\"topic\":\"account\"},\"L\":{\"coin\":{\"c\":\"X\"}}}",
           "balance account - asset='X'\nnotice account - code=account_summary");
    EXPECT("{\"arg\":{\"topic\":\"account\"},\"L\":[]}", "notice account X- code=empty");
    /* a key that only other rows know is a key of its own here */
    EXPECT("{\"e\":\"balances\",\"a\":{\"B\":[{\"c\":\"X\",\"z\":1},{\"c\":\"Y\",\"new\":1},{\"c\":\"Z\"}]}}",
           "balance balances X- asset='X'\nbalance balances X- asset='Y'\nbalance balances - asset='Z'");
}

static void test_paths(void)
{
    /* alternatives: the first that is there */
    EXPECT("{\"e\":\"order\",\"p\":\"1\"}", "order order - position_side=both price=1 reduce_only=false");
    EXPECT("{\"e\":\"order\",\"px\":\"2\"}", "order order - position_side=both price=2 reduce_only=false");
    EXPECT("{\"e\":\"order\",\"n\":{\"p\":\"3\"}}", "order order - position_side=both price=3 reduce_only=false");
    EXPECT("{\"e\":\"order\",\"px\":\"2\",\"p\":\"1\"}", "order order X- position_side=both price=1 reduce_only=false");
    EXPECT("{\"e\":\"order\",\"n\":{\"p\":\"3\"},\"px\":\"2\"}", "order order X- position_side=both price=2 reduce_only=false");
    EXPECT("{\"e\":\"order\",\"px\":\"2\",\"p\":null}", "order order X- position_side=both price=null reduce_only=false");
    EXPECT("{\"e\":\"order\",\"px\":\"2\",\"p\":[]}", "order order X?- position_side=both reduce_only=false");
    EXPECT("{\"e\":\"order\",\"px\":\"2\",\"p\":\"x\"}", "order order X?- position_side=both price=? reduce_only=false");
    EXPECT("{\"e\":\"order\",\"n\":[{\"p\":\"3\"}]}", "order order X- position_side=both reduce_only=false");
    EXPECT("{\"e\":\"order\",\"n\":{}}", "order order X- position_side=both reduce_only=false");
    EXPECT("{\"e\":\"order\",\"n\":[{}]}", "order order X- position_side=both reduce_only=false");
    EXPECT("{\"e\":\"order\",\"n\":[[]]}", "order order X- position_side=both reduce_only=false");
    /* row, event, frame */
    EXPECT("{\"e\":\"trade\",\"x\":{\"kind\":\"fill\"},\"p\":\"2\"}", "fill trade X- price=2");
    EXPECT("{\"body\":{\"e\":\"trade\",\"x\":{\"kind\":\"fill\"}},\"p\":\"3\"}", "fill trade X- price=3");
    EXPECT("{\"body\":{\"e\":\"trade\",\"x\":{\"kind\":\"fill\"},\"p\":\"2\"},\"p\":\"3\"}", "fill trade X- price=2");
    EXPECT("{\"body\":{\"e\":\"trade\",\"x\":{\"kind\":\"fill\",\"p\":\"1\"},\"p\":\"2\"},\"p\":\"3\"}",
           "fill trade X- price=1");
    /* elements of arrays, by index */
    EXPECT("{\"e\":\"fees\",\"d\":[{\"fee\":\"1\"}]}", "order fees - fee=1");
    EXPECT("{\"e\":\"fees\",\"d\":[{\"fee\":\"1\"},{\"fee\":\"2\"}]}", "order fees X- fee=1");
    EXPECT("{\"e\":\"fees\",\"d\":[{\"fee\":\"1\"},{},{\"p\":\"5\"}]}", "order fees X- price=5 fee=1");
    EXPECT("{\"e\":\"fees\",\"d\":[{\"fee\":\"1\"},{},{\"p\":\"5\"},{\"p\":\"6\",\"fee\":\"7\"},[],3]}",
           "order fees X- price=5 fee=1");
    EXPECT("{\"e\":\"fees\",\"d\":[1,2,{\"p\":\"5\"}]}", "order fees X- price=5");
    EXPECT("{\"e\":\"fees\",\"d\":[]}", "order fees X-");
    EXPECT("{\"e\":\"fees\",\"d\":{\"0\":{\"fee\":\"1\"}}}", "order fees - fee=1");
    EXPECT("{\"e\":\"fees\",\"d\":{\"fee\":\"1\"}}", "order fees X-");
    /* no field steps through an array by itself */
    EXPECT("{\"e\":\"fees\",\"g\":{\"h\":\"1\"}}", "order fees - stop_price=1");
    EXPECT("{\"e\":\"fees\",\"g\":[{\"h\":\"1\"}]}", "order fees X-");
}

static void test_values(void)
{
#define ORDER(member, flags, before, after)           \
    EXPECT("{\"e\":\"order\"," member "}", "order order " flags "-" before BOTH after)
    /* decimals */
    ORDER("\"p\":\"-0.00000000\"", "", "", " price=-0.00000000" NOT_REDUCE);
    ORDER("\"p\":-0.0", "", "", " price=-0.0" NOT_REDUCE);
    ORDER("\"p\":1E-8", "", "", " price=0.00000001" NOT_REDUCE);
    ORDER("\"p\":\"39614081257132168796771975167\"", "", "", " price=39614081257132168796771975167" NOT_REDUCE);
    ORDER("\"p\":39614081257132168796771975168", "X?", "", " price=?" NOT_REDUCE);
    ORDER("\"p\":\"1e1000\"", "X?", "", " price=?" NOT_REDUCE);
    ORDER("\"p\":\"+1\"", "X?", "", " price=?" NOT_REDUCE);
    ORDER("\"p\":\" 1\"", "X?", "", " price=?" NOT_REDUCE);
    ORDER("\"p\":\"\"", "", "", " price=''" NOT_REDUCE);
    ORDER("\"p\":null", "", "", " price=null" NOT_REDUCE);
    ORDER("\"p\":true", "X?", "", NOT_REDUCE);
    ORDER("\"p\":{}", "X?", "", NOT_REDUCE);
    ORDER("\"p\":{\"a\":1}", "X?", "", NOT_REDUCE);
    ORDER("\"p\":\"1\\u002e5\"", "", "", " price=1.5" NOT_REDUCE);
    ORDER("\"p\":\"1\",\"q\":\"x\"", "X?", "", " price=1 orig_qty=?" NOT_REDUCE);
    /* times */
    ORDER("\"T\":\"1700000000123\"", "", " ts_transact=1700000000123000000", NOT_REDUCE);
    ORDER("\"T\":1700000000123456", "", " ts_transact=1700000000123456000", NOT_REDUCE);
    ORDER("\"T\":0", "", " ts_transact=0", NOT_REDUCE);
    ORDER("\"T\":-1", "", " ts_transact=-1000000000", NOT_REDUCE);
    ORDER("\"T\":\"\"", "", " ts_transact=''", NOT_REDUCE);
    ORDER("\"T\":null", "", " ts_transact=null", NOT_REDUCE);
    ORDER("\"T\":1.5", "X?", "", NOT_REDUCE);
    ORDER("\"T\":1e12", "X?", "", NOT_REDUCE);
    ORDER("\"T\":99999999999", "X?", "", NOT_REDUCE);
    ORDER("\"T\":\"soon\"", "X?", "", NOT_REDUCE);
    ORDER("\"T\":[1]", "X?", "", NOT_REDUCE);
    ORDER("\"C\":1700000000", "", "", NOT_REDUCE " ts_created=1700000000000000000");
    /* ids */
    ORDER("\"i\":18446744073709551615", "", " order_id=#18446744073709551615", NOT_REDUCE);
    ORDER("\"i\":\"18446744073709551616\"", "", " order_id='18446744073709551616'", NOT_REDUCE);
    ORDER("\"i\":-1", "", " order_id='-1'", NOT_REDUCE);
    ORDER("\"i\":1.0", "", " order_id='1.0'", NOT_REDUCE);
    ORDER("\"i\":1e3", "", " order_id='1e3'", NOT_REDUCE);
    ORDER("\"i\":\"12a\"", "", " order_id='12a'", NOT_REDUCE);
    ORDER("\"i\":\"\"", "", " order_id=''", NOT_REDUCE);
    ORDER("\"i\":null", "", " order_id=null", NOT_REDUCE);
    ORDER("\"i\":false", "X?", "", NOT_REDUCE);
    ORDER("\"i\":\"\\u0031\\u0032\"", "", " order_id=#12", NOT_REDUCE);
    ORDER("\"c\":\"12345678901234567890123456789012345678\"", "",
          " client_order_id='12345678901234567890123456789012345678'", NOT_REDUCE);
    ORDER("\"c\":\"a2345678901234567890123456789012345678b\"", "L",
          " client_order_id='a2345678901234567890123456789012345678'", NOT_REDUCE);
    ORDER("\"c\":\"a234567890123456789012345678901234567\xc3\xa9\"", "L",
          " client_order_id='a234567890123456789012345678901234567'", NOT_REDUCE);
    ORDER("\"c\":\"a234567890123456789012345678901234\\ud83d\\ude00\"", "",
          " client_order_id='a234567890123456789012345678901234\xf0\x9f\x98\x80'", NOT_REDUCE);
    ORDER("\"c\":\"a2345678901234567890123456789012345\\ud83d\\ude00\"", "L",
          " client_order_id='a2345678901234567890123456789012345'", NOT_REDUCE);
    /* texts */
    ORDER("\"s\":\"\"", "", " symbol=''", NOT_REDUCE);
    ORDER("\"s\":null", "", " symbol=null", NOT_REDUCE);
    ORDER("\"s\":5", "", " symbol='5'", NOT_REDUCE);
    ORDER("\"s\":true", "X?", "", NOT_REDUCE);
    ORDER("\"s\":\"\xe5\xb8\x81\\u5b89\\n\\\"\"", "", " symbol='\xe5\xb8\x81\xe5\xae\x89\n\"'", NOT_REDUCE);
    ORDER("\"s\":\"1234567890123456789012345678901\"", "", " symbol='1234567890123456789012345678901'", NOT_REDUCE);
    ORDER("\"s\":\"12345678901234567890123456789012\"", "L", " symbol='1234567890123456789012345678901'", NOT_REDUCE);
    ORDER("\"s\":\"\xe5\xb8\x81\xe5\xb8\x81\xe5\xb8\x81\xe5\xb8\x81\xe5\xb8\x81\xe5\xb8\x81\xe5\xb8\x81\xe5\xb8\x81\xe5\xb8\x81"
          "\xe5\xb8\x81\xe5\xb8\x81\"", "L",
          " symbol='\xe5\xb8\x81\xe5\xb8\x81\xe5\xb8\x81\xe5\xb8\x81\xe5\xb8\x81\xe5\xb8\x81\xe5\xb8\x81\xe5\xb8\x81\xe5\xb8\x81"
          "\xe5\xb8\x81'", NOT_REDUCE);
    ORDER("\"N\":\"123456789012345\"", "", "", " fee_asset='123456789012345'" NOT_REDUCE);
    ORDER("\"N\":\"1234567890123456\"", "L", "", " fee_asset='123456789012345'" NOT_REDUCE);
    /* enums */
    EXPECT("{\"e\":\"order\",\"S\":\"BUY\"}", "order order - side=buy position_side=both reduce_only=false");
    EXPECT("{\"e\":\"order\",\"S\":\"sell\"}", "order order - side=sell position_side=both reduce_only=false");
    EXPECT("{\"e\":\"order\",\"S\":\"\\u0042UY\"}", "order order - side=buy position_side=both reduce_only=false");
    EXPECT("{\"e\":\"order\",\"S\":2}", "order order X- side=sell position_side=both reduce_only=false");
    EXPECT("{\"e\":\"order\",\"S\":\"2\"}", "order order X- side=sell position_side=both reduce_only=false");
    EXPECT("{\"e\":\"order\",\"S\":true}", "order order X- side=buy position_side=both reduce_only=false");
    EXPECT("{\"e\":\"order\",\"S\":false}", "order order XU- side=unknown position_side=both reduce_only=false");
    EXPECT("{\"e\":\"order\",\"S\":\"buy\"}", "order order XU- side=unknown position_side=both reduce_only=false");
    EXPECT("{\"e\":\"order\",\"S\":\"\"}", "order order - side='' position_side=both reduce_only=false");
    EXPECT("{\"e\":\"order\",\"S\":null}", "order order - side=null position_side=both reduce_only=false");
    EXPECT("{\"e\":\"order\",\"S\":[]}", "order order X?- position_side=both reduce_only=false");
    ORDER("\"X\":\"PARTIALLY_FILLED\"", "", "", " status=partially_filled" NOT_REDUCE);
    ORDER("\"X\":\"PART_FILLED_BUT_CANCELED\"", "X", "", " status=canceled" NOT_REDUCE);
    ORDER("\"X\":\"PART_FILLED_BUT_CANCELEd\"", "XU", "", " status=unknown" NOT_REDUCE);
    ORDER("\"X\":\"PARTIALL\"", "XU", "", " status=unknown" NOT_REDUCE);
    ORDER("\"V\":\"\"", "X", "", NOT_REDUCE " stp_mode=none"); /* a mapped "" is a value */
    ORDER("\"V\":null", "", "", NOT_REDUCE " stp_mode=null");
    /* bools */
    ORDER("\"m\":true", "", "", " is_maker=true" NOT_REDUCE);
    ORDER("\"m\":false", "", "", " is_maker=false" NOT_REDUCE);
    ORDER("\"m\":\"T\"", "X", "", " is_maker=true" NOT_REDUCE);
    ORDER("\"m\":0", "X", "", " is_maker=false" NOT_REDUCE);
    ORDER("\"m\":1", "X?", "", NOT_REDUCE);
    ORDER("\"m\":\"true\"", "X?", "", NOT_REDUCE);
    ORDER("\"m\":\"\"", "", "", " is_maker=''" NOT_REDUCE);
    ORDER("\"m\":null", "", "", " is_maker=null" NOT_REDUCE);
    /* keys nobody takes */
    ORDER("\"M\":1", "X", "", NOT_REDUCE);
    ORDER("\"new\":{}", "X", "", NOT_REDUCE);
    ORDER("\"n\":{\"o\":1,\"p\":\"1\"}", "X", "", " price=1" NOT_REDUCE);
    ORDER("\"r\":\"a reason that is longer than the slot\"", "L", "",
          NOT_REDUCE " reject_reason='a reason that is longer than th'");
#undef ORDER
}

/* Of repeated keys the last one wins, at every level. */
static void test_repeats(void)
{
    EXPECT("{\"e\":\"q\",\"e\":\"order\"}", "order order - position_side=both reduce_only=false");
    EXPECT("{\"e\":\"order\",\"k\":1,\"e\":\"q\"}", "notice  X- code=unknown_event message='q'");
    EXPECT("{\"e\":\"order\",\"p\":\"1\",\"p\":\"2\"}", "order order - position_side=both price=2 reduce_only=false");
    EXPECT("{\"e\":\"order\",\"p\":\"1\",\"p\":null}", "order order - position_side=both price=null reduce_only=false");
    EXPECT("{\"e\":\"order\",\"p\":\"1\",\"\\u0070\":\"2\"}", "order order - position_side=both price=2 reduce_only=false");
    EXPECT("{\"e\":\"order\",\"S\":\"q\",\"S\":\"BUY\"}", "order order - side=buy position_side=both reduce_only=false");
    EXPECT("{\"e\":\"order\",\"p\":\"x\",\"p\":\"2\"}", "order order - position_side=both price=2 reduce_only=false");
    EXPECT("{\"e\":\"order\",\"n\":{\"p\":\"1\",\"k\":1,\"j\":2},\"n\":{\"p\":\"2\"}}",
           "order order - position_side=both price=2 reduce_only=false");
    EXPECT("{\"e\":\"order\",\"n\":{\"p\":\"2\"},\"n\":{\"p\":\"2\"}}",
           "order order - position_side=both price=2 reduce_only=false");
    EXPECT("{\"e\":\"fees\",\"d\":[{\"fee\":\"1\"}],\"d\":[{\"fee\":\"2\"}]}", "order fees - fee=2");
    EXPECT("{\"e\":\"fees\",\"d\":[{\"fee\":\"1\",\"x\":1},7],\"d\":[{\"fee\":\"2\"}]}", "order fees - fee=2");
    EXPECT("{\"e\":\"fees\",\"d\":[{\"fee\":\"1\"}],\"d\":[]}", "order fees X-");
    EXPECT("{\"e\":\"order\",\"n\":{\"p\":\"1\"},\"n\":5}", "order order X- position_side=both reduce_only=false");
    EXPECT("{\"e\":\"order\",\"n\":5,\"n\":{\"p\":\"1\"}}", "order order - position_side=both price=1 reduce_only=false");
    EXPECT("{\"body\":{\"e\":\"q\"},\"body\":{\"e\":\"order\"}}", "order order - position_side=both reduce_only=false");
    EXPECT("{\"body\":{\"e\":\"q\"},\"body\":1,\"e\":\"order\"}", "order order X- position_side=both reduce_only=false");
    EXPECT("{\"body\":{\"e\":\"order\"},\"sub\":1,\"sub\":2}",
           "order order - subscription_id=2 position_side=both reduce_only=false");
    EXPECT("{\"e\":\"balances\",\"a\":{\"B\":[{\"c\":\"X\"}]},\"a\":{\"B\":[{\"c\":\"Y\"}]}}", "balance balances - asset='Y'");
    EXPECT("{\"e\":\"balances\",\"a\":{\"B\":[{\"c\":\"X\"}],\"B\":[{\"c\":\"Y\"}]}}", "balance balances - asset='Y'");
    EXPECT("{\"e\":\"balances\",\"a\":{\"B\":[{\"c\":\"X\"}],\"B\":null}}", "notice balances X- code=empty");
    EXPECT("{\"e\":\"balances\",\"a\":{\"B\":[{\"c\":\"X\"}]},\"a\":1}", "notice balances X- code=empty");
    EXPECT("{\"e\":\"balances\",\"a\":{\"B\":[{\"c\":\"X\",\"c\":\"Y\",\"f\":\"1\"}]}}", "balance balances - asset='Y' free=1");
    EXPECT("{\"e\":\"balances\",\"a\":[{\"B\":[{\"c\":\"X\"}]},{\"B\":[{\"c\":\"Y\"}],\"B\":[{\"c\":\"Z\"}]}]}",
           "balance balances - asset='X'\nbalance balances - asset='Z'");
    EXPECT("{\"e\":\"balances\",\"a\":{\"B\":[{\"c\":\"X\"}],\"P\":[{\"s\":\"p\"}],\"B\":[]}}",
           "position balances - symbol='p'");
    EXPECT("{\"arg\":{\"topic\":\"account\"},\"L\":[{\"coin\":[{\"c\":\"X\"}]},{\"coin\":[{\"c\":\"Y\"}],\"coin\":[{\"c\":\"Z\"}]}]}",
           "balance account - asset='X'\nbalance account - asset='Z'\n"
           "notice account - code=account_summary\nnotice account - code=account_summary");
    EXPECT("{\"arg\":{\"topic\":\"account\"},\"L\":{\"coin\":{\"c\":\"X\"}},\"L\":{\"m\":\"one\"}}",
           "notice account - code=account_summary message='one'");
    EXPECT("{\"arg\":{\"topic\":\"q\"},\"arg\":{\"topic\":\"account\"},\"L\":{\"m\":\"one\"}}",
           "notice account - code=account_summary message='one'");
}

static void test_escapes(void)
{
    EXPECT("{\"\\u0065\":\"\\u006frder\",\"\\u0073\":\"A\"}", "order order - symbol='A' position_side=both reduce_only=false");
    EXPECT("{\"stre\\u0061m\":1,\"d\\u0061ta\":{\"e\":\"order\"},\"s\\u0075b\":1}",
           "order order - subscription_id=1 position_side=both reduce_only=false");
    EXPECT("{\"e\":\"balances\",\"\\u0061\":{\"\\u0042\":[{\"\\u0063\":\"\\u0058\"}]}}", "balance balances - asset='X'");
    EXPECT("{\"e\":\"order\",\"s\\u0000\":\"A\"}", "order order X- position_side=both reduce_only=false");
    EXPECT("{\"e\":\"order\\u0001\"}", "notice  - code=unknown_event message='order\x01'");
    EXPECT("{\"\\u0065\":\"tr\\u0061de\",\"x\":{\"k\\u0069nd\":\"f\\u0069ll\",\"p\":\"1\"}}", "fill trade X- price=1");
    EXPECT("{\"e\":\"tr\\u0061de\",\"x\":{\"kind\":\"f\\u0069l\"}}", "notice  X- code=unknown_event message='trade'");
    EXPECT("{\"e\":\"order\",\"s\":\"\\ud83d\"}       ", "error 3 at 18");
    EXPECT("{\"e\":\"order\",\"s\":\"\xff\"}", "error 3 at 18");
    EXPECT("{\"e\":\"order\",\"\xc3\x28\":1}", "error 3 at 14");
}

/* The same members in any order give the same record. */
static void test_permutations(void)
{
    static const char *const members[] = {
        "\"e\":\"order\"", "\"s\":\"A\"", "\"n\":{\"p\":\"3\",\"o\":1}", "\"i\":7", "\"px\":\"2.0\"", "\"E\":1700000000123",
    };
    enum { N = sizeof members / sizeof *members };
    unsigned order[N] = {0}, done = 0;
    for (unsigned i = 0; i < N; i++)
        order[i] = i;
    for (;;) {
        char text[256] = "{";
        for (unsigned i = 0; i < N; i++) {
            strcat(text, i ? "," : "");
            strcat(text, members[order[i]]);
        }
        strcat(text, "}");
        expect_from(text, strlen(text),
                    "order order X- ts_event=1700000000123000000 symbol='A' order_id=#7 position_side=both price=2.0 "
                    "reduce_only=false", __LINE__);
        done++;
        unsigned i = N - 1; /* the next permutation */
        while (i && order[i - 1] > order[i])
            i--;
        if (!i)
            break;
        unsigned j = N - 1;
        while (order[j] < order[i - 1])
            j--;
        unsigned t = order[j];
        order[j] = order[i - 1];
        order[i - 1] = t;
        for (j = N - 1; i < j; i++, j--) {
            t = order[i];
            order[i] = order[j];
            order[j] = t;
        }
    }
    CHECK_INT(done, 720);
}

static void test_header(void)
{
    static const char text[] = " {\"body\":[{\"e\":\"balances\",\"a\":{\"B\":[ {\"c\":\"X\"} ,{\"c\":\"Y\"}]}},{\"e\":\"q\"}]}";
    size_t n;
    ew_decoder *k = decode(text, sizeof text - 1, 1700000000000000001, &n);
    CHECK_INT(n, 3);
    for (size_t i = 0; i < n; i++) {
        const ew_header *h = &ew_get(k, i)->h;
        static const char *const own[] = {"{\"c\":\"X\"}", "{\"c\":\"Y\"}", "{\"e\":\"q\"}"};
        CHECK_TEXT(text + h->begin, h->end - h->begin, own[i]);
        CHECK_INT(h->ts_recv, 1700000000000000001);
        CHECK_INT(h->present >> 2 & 1, 1);
        CHECK_INT(h->venue, 3);
        CHECK_INT(h->kind, i < 2 ? EW_BALANCE : EW_NOTICE);
        CHECK(strcmp(ew_event_name(dialect, h->event), i < 2 ? "balances" : "") == 0);
    }
    ew_decoder_free(k);
    k = decode("pong", 4, 5, &n);
    CHECK_INT(ew_get(k, 0)->h.ts_recv, 5);
    ew_decoder_free(k);
}

static void test_stats(void)
{
    ew_decoder *k = ew_decoder_new(dialect);
    const ew_stats *s = ew_decoder_stats(k);
    size_t n;
    if (!k)
        abort();
#define DECODE(text) ew_decode(k, (const uint8_t *)text, sizeof(text) - 1, 0, &n)
    CHECK_INT(DECODE("{\"e\":\"order\",\"p\":\"x\",\"S\":\"q\",\"T\":[],\"M\":1,\"new\":1,\"n\":{\"newer\":2}}"), EW_OK);
    CHECK_INT(s->messages, 1);
    CHECK_INT(s->records, 1);
    CHECK_INT(s->errors, 0);
    CHECK_INT(s->unknown_events, 0);
    CHECK_INT(s->unknown_keys, 2);
    CHECK_INT(s->unknown_enums, 1);
    CHECK_INT(s->unrepresentable, 2);
    CHECK_INT(DECODE("{\"meta\":{\"x\":1},\"newest\":2,\"sub\":1,\"stream\":0,\"data\":[{\"e\":\"q\",\"k\":1},{\"e\":\"r\"}]}"), EW_OK);
    CHECK_INT(s->messages, 2);
    CHECK_INT(s->records, 3);
    CHECK_INT(s->unknown_events, 2);
    CHECK_INT(s->unknown_keys, 3);
    /* what fails counts as an error and as nothing else */
    CHECK_INT(DECODE("[{\"e\":\"q\"},{\"e\":\"order\",\"S\":\"q\",\"new\":1,\"p\":\"x\"},1]"), EW_ERR_SYNTAX);
    CHECK_INT(n, 0);
    CHECK_INT(s->messages, 3);
    CHECK_INT(s->errors, 1);
    CHECK_INT(s->records, 3);
    CHECK_INT(s->unknown_events, 2);
    CHECK_INT(s->unknown_keys, 3);
    CHECK_INT(s->unknown_enums, 1);
    CHECK_INT(s->unrepresentable, 2);
    /* and leaves the decoder as it was */
    CHECK_INT(DECODE("{\"e\":\"order\",\"s\":\"A\"}"), EW_OK);
    CHECK_INT(n, 1);
    CHECK_INT(ew_last_error(k)->status, EW_OK);
    CHECK(ew_last_error(k)->message != NULL);
    CHECK_TEXT(ew_get(k, 0)->order.symbol.s, ew_get(k, 0)->order.symbol.len, "A");
#undef DECODE
    ew_decoder_free(k);
    ew_decoder_free(NULL);
}

static void test_explain(void)
{
    static const char text[] =
        "{\"body\":{\"e\":\"order\",\"s\":\"A\",\"S\":\"q\",\"p\":\"x\",\"X\":\"PART_FILLED_BUT_CANCELED\",\"M\":1,\"k\":2},\"w\":0}";
    ew_decoder *k = ew_decoder_new(dialect);
    const ew_token *t;
    size_t n, n_tokens;
    if (!k)
        abort();
    CHECK_INT(ew_explain(k, (const uint8_t *)text, sizeof text - 1, &n, &t, &n_tokens), EW_OK);
    CHECK_INT(n, 1);
    static const struct {
        const char *text;
        unsigned flags;
    } expected[] = {
        {NULL, 0}, {"body", 0}, {NULL, EW_TOK_ROW},
        {"e", 0}, {"order", EW_TOK_TAKEN},
        {"s", 0}, {"A", EW_TOK_TAKEN},
        {"S", 0}, {"q", EW_TOK_ODD},
        {"p", 0}, {"x", EW_TOK_ODD},
        {"X", 0}, {"PART_FILLED_BUT_CANCELED", 0},
        {"M", 0}, {"1", 0},
        {"k", EW_TOK_NEW_KEY}, {"2", 0},
        {"w", EW_TOK_NEW_KEY}, {"0", 0},
    };
    CHECK_INT(n_tokens, sizeof expected / sizeof *expected);
    for (size_t i = 0; i < n_tokens && i < sizeof expected / sizeof *expected; i++) {
        if (expected[i].text)
            CHECK_TEXT(text + t[i].begin, t[i].end - t[i].begin, expected[i].text);
        CHECK_INT(t[i].flags, expected[i].flags);
    }
    const ew_origin *o = ew_get_origin(k, 0);
    CHECK_INT(o->row, 2);
    CHECK_INT(o->event, 2);
    CHECK_INT(o->frame, 0);
    size_t n_fields;
    const ew_field *f = ew_fields(EW_ORDER, &n_fields);
    for (size_t b = 0; b < 64; b++) {
        const char *name = b < n_fields ? f[b].name : "";
        uint32_t from = strcmp(name, "symbol") == 0 ? 6 : strcmp(name, "side") == 0 ? 8 : strcmp(name, "price") == 0 ? 10
                        : strcmp(name, "status") == 0 ? 12 : EW_NO_TOKEN;
        CHECK_INT(o->field[b], from);
    }
    CHECK_INT(ew_explain(k, (const uint8_t *)"pong", 4, &n, &t, &n_tokens), EW_OK);
    CHECK_INT(n, 1);
    CHECK_INT(n_tokens, 0);
    CHECK_INT(ew_get_origin(k, 0)->row, EW_NO_TOKEN);
    CHECK_INT(ew_explain(k, (const uint8_t *)"[1", 2, &n, &t, &n_tokens), EW_ERR_TRUNCATED);
    CHECK_INT(n, 0);
    CHECK_INT(n_tokens, 0);
    ew_decoder_free(k);
}

/* What is learned from some payloads must not mislead with another that consists of the same pieces. */
static void test_mixtures(void)
{
    static const struct {
        const char *before[4], *payload;
    } cases[] = {
        /* a key that comes as a string and as something else, twice */
        {{"{\"e\":\"order\",\"p\":\"1\",\"p\":null}"}, "{\"e\":\"order\",\"p\":\"2\",\"p\":null}"},
        {{"{\"e\":\"order\",\"i\":7,\"i\":\"a\"}"}, "{\"e\":\"order\",\"i\":8,\"i\":\"b\"}"},
        {{"{\"e\":\"order\",\"i\":7,\"p\":\"1\"}", "{\"e\":\"order\",\"p\":\"1\",\"i\":\"x\"}"},
         "{\"e\":\"order\",\"i\":7,\"p\":\"1\",\"i\":\"x\"}"},
        {{"{\"e\":\"order\",\"p\":\"1\",\"i\":7}", "{\"e\":\"order\",\"i\":7,\"p\":2.5}"},
         "{\"e\":\"order\",\"p\":\"1\",\"i\":7,\"p\":2.5}"},
        {{"{\"e\":\"order\",\"n\":{\"p\":\"1\"},\"i\":7}", "{\"e\":\"order\",\"i\":7,\"n\":5}"},
         "{\"e\":\"order\",\"n\":{\"p\":\"1\"},\"i\":7,\"n\":5}"},
        {{"{\"e\":\"order\",\"n\":{\"p\":\"1\"},\"i\":7}", "{\"e\":\"order\",\"i\":7,\"n\":[]}"},
         "{\"e\":\"order\",\"n\":{\"p\":\"1\"},\"i\":7,\"n\":[]}"},
        /* an object that comes twice, with other keys */
        {{"{\"e\":\"order\",\"n\":{\"p\":\"1\"},\"n\":{\"o\":12}}"}, "{\"e\":\"order\",\"n\":{\"p\":\"2\"},\"n\":{\"o\":13}}"},
        {{"{\"e\":\"order\",\"n\":{\"p\":\"1\"},\"i\":7}", "{\"e\":\"order\",\"i\":7,\"n\":{\"o\":12}}"},
         "{\"e\":\"order\",\"n\":{\"p\":\"1\"},\"i\":7,\"n\":{\"o\":12}}"},
        {{"{\"e\":\"order\",\"n\":{\"p\":\"1\",\"q\":\"x\"},\"i\":7}", "{\"e\":\"order\",\"n\":{\"o\":12,\"q\":\"x\"},\"i\":7}",
          "{\"e\":\"order\",\"i\":7,\"n\":{\"o\":12}}"},
         "{\"e\":\"order\",\"n\":{\"p\":\"1\"},\"i\":7,\"n\":{\"o\":12}}"},
        {{"{\"e\":\"balances\",\"a\":{\"m\":\"x\",\"B\":[{\"c\":\"X\",\"f\":\"1\"}]}}",
          "{\"e\":\"balances\",\"a\":{\"B\":[{\"c\":\"X\",\"f\":\"1\"}],\"m\":\"x\"}}"},
         "{\"e\":\"balances\",\"a\":{\"m\":\"x\",\"B\":[{\"c\":\"X\",\"f\":\"1\"}],\"m\":\"x\"}}"},
        {{"{\"e\":\"balances\",\"a\":{\"B\":[{\"c\":\"X\",\"f\":\"1\"}],\"P\":[{\"s\":\"p\",\"q\":\"1\"}]}}",
          "{\"e\":\"balances\",\"a\":{\"B\":[{\"c\":\"X\",\"f\":\"1\"}]}}"},
         "{\"e\":\"balances\",\"a\":{\"B\":[{\"c\":\"X\",\"f\":\"1\"}],\"P\":[{\"s\":\"p\",\"q\":\"1\"}],\"B\":[{\"c\":\"X\",\"f\":\"1\"}]}}"},
        {{"{\"e\":\"balances\",\"a\":{\"B\":[{\"c\":\"X\",\"f\":\"1\"},{\"c\":\"Y\",\"f\":\"1\"}]}}",
          "{\"e\":\"balances\",\"a\":[{\"B\":[{\"c\":\"X\",\"f\":\"1\"}]},{\"B\":[{\"c\":\"Y\",\"f\":\"1\"}]}]}"},
         "{\"e\":\"balances\",\"a\":{\"B\":[{\"c\":\"X\",\"f\":\"1\"}]},{\"B\":[{\"c\":\"Y\",\"f\":\"1\"}]}]}"},
        /* envelopes and discriminators that come twice, or late */
        {{"{\"body\":{\"e\":\"order\",\"i\":7},\"sub\":3}", "{\"sub\":3,\"body\":{\"e\":\"order\",\"i\":7}}"},
         "{\"sub\":3,\"body\":{\"e\":\"order\",\"i\":7},\"sub\":4}"},
        {{"{\"e\":\"order\",\"i\":7}", "{\"i\":7,\"e\":\"order\"}"}, "{\"e\":\"order\",\"i\":7,\"e\":\"order\"}"},
        {{"{\"e\":\"order\",\"i\":7}", "{\"i\":7,\"e\":\"q\"}"}, "{\"e\":\"order\",\"i\":7,\"e\":\"q\"}"},
        {{"{\"e\":\"order\",\"i\":7,\"x\":1}", "{\"e\":\"order\",\"i\":7,\"x\":{\"kind\":\"fill\"}}"},
         "{\"e\":\"trade\",\"i\":7,\"x\":{\"kind\":\"fill\"}}"},
        {{"{\"e\":\"order\",\"i\":7,\"body\":1}", "{\"e\":\"order\",\"i\":7}"}, "{\"e\":\"order\",\"i\":7,\"body\":{}}"},
        {{"{\"e\":\"order\",\"i\":7,\"body\":\"x\"}", "{\"e\":\"order\",\"i\":7,\"w\":[]}"}, "{\"e\":\"order\",\"i\":7,\"body\":[]}"},
        {{"{\"e\":\"order\",\"i\":7,\"w\":\"1\"}", "{\"e\":\"order\",\"i\":7,\"w\":1}"}, "{\"e\":\"order\",\"i\":7,\"w\":01}"},
        /* times that an earlier message had */
        {{"{\"e\":\"order\",\"i\":7}", "{\"e\":\"order\",\"E\":1700000000123,\"i\":7}"}, "{\"e\":\"order\",\"i\":8}"},
        /* values next to what was seen */
        {{"{\"e\":\"order\",\"E\":1700000000123,\"i\":7}"}, "{\"e\":\"order\",\"E\":9700000000123,\"i\":7}"},
        {{"{\"e\":\"order\",\"E\":\"1700000000123\",\"i\":7}"}, "{\"e\":\"order\",\"E\":\"9223372036855\",\"i\":7,\"s\":\"xxxxxxxxxxxx\"}"},
        {{"{\"e\":\"order\",\"E\":1700000000123,\"i\":7,\"s\":\"xxxxxxxxxxxx\"}"},
         "{\"e\":\"order\",\"E\":9223372036855,\"i\":7,\"s\":\"xxxxxxxxxxxx\"}"},
        {{"{\"e\":\"order\",\"p\":\"0.00\",\"i\":7}"}, "{\"e\":\"order\",\"p\":\"-0.00\",\"i\":7}"},
        {{"{\"e\":\"order\",\"p\":\"1.00\",\"i\":7}"}, "{\"e\":\"order\",\"p\":\"123456789012345678901234567890\",\"i\":7}"},
        {{"{\"e\":\"order\",\"p\":1.00,\"i\":7}"}, "{\"e\":\"order\",\"p\":1.,\"i\":7}"},
        {{"{\"e\":\"order\",\"i\":7}"}, "{\"e\":\"order\",\"i\":07}"},
        {{"{\"e\":\"order\",\"i\":7}"}, "{\"e\":\"order\",\"i\":-}"},
        {{"{\"e\":\"order\",\"i\":7}"}, "{\"e\":\"order\",\"i\":7}x"},
        {{"{\"e\":\"order\",\"i\":7}"}, "{\"e\":\"order\",\"i\":7} "},
        {{"{\"e\":\"order\",\"i\":7}"}, "{\"e\":\"order\",\"i\":7//\n}"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const size_t n = strlen(cases[i].payload);
        size_t n_learned;
        ew_decoder *plain = ew_decoder_new(dialect), *learned = ew_decoder_new(dialect);
        if (!plain || !learned)
            abort();
        for (int round = 0; round < 16; round++) /* learning has to be earned */
            for (size_t k = 0; k < 4 && cases[i].before[k]; k++)
                ew_train(learned, (const uint8_t *)cases[i].before[k], strlen(cases[i].before[k]));
        for (int round = 0; round < 16; round++) /* and so have forecasts */
            for (size_t k = 0; k < 4 && cases[i].before[k]; k++)
                ew_decode(learned, (const uint8_t *)cases[i].before[k], strlen(cases[i].before[k]), 0, &n_learned);
        for (int again = 0; again < 2; again++)
            agree_on(plain, learned, "mixture", cases[i].payload, n);
        ew_decoder_free(plain);
        ew_decoder_free(learned);
    }
}

/* One of the alternatives "a|b|c", at random; '#' in it becomes a digit. */
static size_t put_one_of(char *out, const char *alternatives, uint64_t *random)
{
    size_t n = 1, len = 0;
    for (const char *c = alternatives; *c; c++)
        n += *c == '|';
    const char *s = alternatives;
    for (size_t skip = (size_t)(check_random(random) % n); skip; s++)
        skip -= *s == '|';
    for (; *s && *s != '|'; s++)
        out[len++] = *s == '#' ? (char)('1' + check_random(random) % 9) : *s;
    return len;
}

/* Long streams in which nobody can say which word comes next, so that forecasts are made, and are wrong: of each set. */
static void test_forecasts(void)
{
    static const char *const streams[][12] = {
        {"{\"e\":\"order\",\"E\":1700000000###,\"s\":\"", "BTCUSDT|ETHBTC|1000PEPEUSDT", "\",\"c\":\"", "|x|web_####|####################|x-##################################",
         "\",\"S\":\"BUY\",\"X\":\"NEW|\",\"S\":\"sell\",\"X\":\"NEW|\",\"S\":\"BUY\",\"X\":\"PARTIALLY_FILLED|\",\"S\":\"sell\",\"X\":\"?",
         "\",\"q\":\"0.00000000\"|\",\"q\":\"#.##\"|\",\"q\":\"##\"|\",\"q\":\"-#.#\"|\",\"q\":\"\"|\",\"q\":#.#|\",\"q\":null",
         ",\"N\":null|,\"N\":\"BNB\"|,\"N\":\"USDT\"|,\"N\":\"####\"", ",\"w\":[]|,\"w\":[#]|,\"w\":{\"a\":#}|,\"w\":#|,\"w\":\"#\"|",
         ",\"m\":true|,\"m\":false|,\"m\":\"T\"", ",\"i\":####|,\"i\":\"####\"|,\"i\":##################", ",\"p\":\"0.00000000\"|,\"p\":\"##.#\"|,\"px\":##|", "}|,\"t\":##}"},
        {"{\"e\":\"balances\",\"a\":{\"B\":[{\"c\":\"", "BTC|USDT", "\",\"f\":\"", "0|0.00000000|##.##", "\"}|\"},{\"c\":\"X\",\"f\":\"0\"}|\"},{\"c\":\"Y\",\"f\":\"#\"}",
         "|,{\"c\":\"Z\",\"f\":\"#.#\"}", "]}}|],\"m\":\"x\"}}"},
    };
    uint64_t random = 88172645463325252u;
    const char *name;
    for (unsigned set = 0; (name = ew_instruction_set(set)); set++)
        for (size_t i = 0; i < sizeof streams / sizeof *streams; i++) {
            ew_decoder *plain = ew_decoder_new(dialect), *learned = ew_decoder_new(dialect);
            if (!plain || !learned || ew_decoder_use(learned, name) != EW_OK)
                abort();
            for (int message = 0; message < 3000; message++) {
                char text[512];
                size_t n = 0;
                for (size_t k = 0; k < 12 && streams[i][k]; k++)
                    n += put_one_of(text + n, streams[i][k], &random);
                if (message % 8 == 7) /* damaged */
                    text[check_random(&random) % n] = "\"\\{}[],:.-e0 9n"[check_random(&random) % 15];
                agree_on(plain, learned, "forecast", text, n);
            }
            ew_decoder_free(plain);
            ew_decoder_free(learned);
        }
}

/* A decimal of so many whole digits, points and digits behind them, the first digit as told. */
static size_t put_decimal(char *out, bool negative, unsigned whole, unsigned points, unsigned fraction, char first)
{
    char *at = out;
    if (negative)
        *at++ = '-';
    for (unsigned i = 0; i < whole; i++)
        *at++ = i ? (char)('0' + (i * 7 + 3) % 10) : first;
    for (unsigned i = 0; i < points; i++)
        *at++ = '.';
    for (unsigned i = 0; i < fraction; i++)
        *at++ = (char)('0' + (i * 3 + 8) % 10);
    if (points && fraction > 2) /* one more, and an exponent, in some */
        at[-1] = whole == 3 ? '.' : whole == 4 ? 'e' : at[-1];
    return (size_t)(at - out);
}

#define MOST 20 /* digits before and behind a point */

/* Every length of what stands before and behind a point, along the path of a decimal that was seen. */
static void check_decimal_shapes(const char *set, const char *quote, const char *seen)
{
    ew_decoder *plain = ew_decoder_new(dialect), *learned = ew_decoder_new(dialect);
    char text[128];
    if (!plain || !learned || ew_decoder_use(learned, set) != EW_OK)
        abort();
    size_t n = (size_t)sprintf(text, "{\"e\":\"order\",\"p\":%s%s%s,\"i\":7}", quote, seen, quote);
    for (int round = 0; round < 4; round++)
        ew_train(learned, (const uint8_t *)text, n);
    for (unsigned i = 0; i < MOST * MOST * 3 * 3 * 2; i++) {
        const unsigned whole = i % MOST, fraction = i / MOST % MOST, more = i / (MOST * MOST);
        n = (size_t)sprintf(text, "{\"e\":\"order\",\"p\":%s", quote);
        n += put_decimal(text + n, more / 9, whole, more % 3, fraction, (char)('0' + more / 3 % 3));
        n += (size_t)sprintf(text + n, "%s,\"i\":7}", quote);
        agree_on(plain, learned, "decimal", text, n);
    }
    ew_decoder_free(plain);
    ew_decoder_free(learned);
}

/* What messages teach can wait: until then they are parsed, and afterwards followed, to the same records. */
static void test_deferring(void)
{
    ew_decoder *plain = ew_decoder_new(dialect), *later = ew_decoder_new(dialect);
    size_t n, n_plain, n_later;
    char text[128];
    if (!plain || !later)
        abort();
    ew_defer(later);
    CHECK_INT(ew_study(later), 0);
    bool taught = false;
    for (unsigned i = 0; i < 400; i++) {
        n = (size_t)snprintf(text, sizeof text, "{\"e\":\"order\",\"s\":\"A%u\",\"p\":\"%u.5\",\"new\":%u,\"S\":\"%s\"}", i, i, i,
                             i % 3 ? "BUY" : "sell");
        CHECK(taught || !later->along(later->paths, (const uint8_t *)text, n, &later->sink));
        ew_decode(plain, (const uint8_t *)text, n, 0, &n_plain);
        ew_decode(later, (const uint8_t *)text, n, 0, &n_later);
        CHECK(!compare_decoders(plain, later, n_plain, n_later));
        if (i < 100 || !ew_study(later))
            continue;
        taught = true;
        CHECK_INT(ew_study(later), 0);
        CHECK(later->along(later->paths, (const uint8_t *)text, n, &later->sink));
    }
    CHECK(taught);
    /* but what is to be learned at once is */
    static const char at_once[] = "{\"e\":\"order\",\"i\":1,\"p\":\"2\"}";
    CHECK(!later->along(later->paths, (const uint8_t *)at_once, sizeof at_once - 1, &later->sink));
    CHECK_INT(ew_train(later, (const uint8_t *)at_once, sizeof at_once - 1), EW_OK);
    CHECK(later->along(later->paths, (const uint8_t *)at_once, sizeof at_once - 1, &later->sink));
    CHECK_INT(ew_train(plain, (const uint8_t *)at_once, sizeof at_once - 1), EW_OK);
    /* and long messages, which take their time anyway */
    static char large[1 << 15];
    n = (size_t)snprintf(large, sizeof large, "{\"e\":\"order\",\"new\":\"%020000u\",\"i\":1}", 1);
    for (unsigned i = 0; i < 100; i++) {
        ew_decode(plain, (const uint8_t *)large, n, 0, &n_plain);
        ew_decode(later, (const uint8_t *)large, n, 0, &n_later);
        CHECK_INT(ew_study(later), 0);
    }
    CHECK(later->along(later->paths, (const uint8_t *)large, n, &later->sink));
    const ew_stats *a = ew_decoder_stats(plain), *b = ew_decoder_stats(later);
    CHECK(memcmp(a, b, sizeof *a) == 0);
    ew_decoder_free(plain);
    ew_decoder_free(later);
}

static void test_decimal_shapes(void)
{
    const char *name;
    for (unsigned set = 0; (name = ew_instruction_set(set)); set++)
        for (int quoted = 0; quoted < 2; quoted++) {
            check_decimal_shapes(name, quoted ? "\"" : "", "1.5");
            check_decimal_shapes(name, quoted ? "\"" : "", "-1.5");
        }
}

/* Many records at once, and more than there may be. */
static void test_many(void)
{
    static const char element[] = "{\"e\":\"order\",\"i\":12345},";
    const size_t most = 3000;
    char *s = malloc(most * sizeof element + 2);
    size_t n = 0, count;
    if (!s)
        abort();
    s[n++] = '[';
    for (size_t i = 0; i < most; i++, n += sizeof element - 1) {
        memcpy(s + n, element, sizeof element - 1);
        for (size_t at = n + 22, v = i; at > n + 17; at--, v /= 10)
            s[at - 1] = (char)('0' + v % 10);
        s[n + 17] = '1'; /* no leading zero */
    }
    s[n - 1] = ']';
    ew_decoder *k = decode(s, n, 0, &count);
    CHECK_INT(count, most);
    for (size_t i = 0; i < count; i++)
        CHECK_INT(ew_get(k, i)->order.order_id.number, 10000 + i);
    ew_decoder_free(k);
    free(s);
}

/*==== MARK: Cut and changed ====*/

static const char *const whole[] = {
    "{\"e\":\"order\",\"E\":1700000000123,\"s\":\"ABC\",\"i\":28457113,\"c\":\"my-1\",\"S\":\"BUY\",\"X\":\"NEW\",\"p\":\"1.50\",\"q\":2,\"m\":false,\"r\":null}",
    "{\"stream\":\"k\",\"data\":{\"e\":\"balances\",\"a\":{\"m\":\"\\u004f\",\"B\":[{\"c\":\"X\",\"f\":\"1.00\"},{\"c\":\"Y\",\"f\":\"\"}],\"P\":[]}},\"sub\":3}",
    "{\"arg\":{\"topic\":\"account\"},\"L\":[{\"m\":\"\xe5\xb8\x81\",\"coin\":[{\"c\":\"X\",\"f\":\"0\"}]}]}",
};

static void test_damage(void)
{
    const size_t n_whole = sizeof whole / sizeof *whole;
    static const ew_stats none;
    for (size_t i = 0; i < n_whole; i++) {
        const size_t n = strlen(whole[i]);
        size_t count, n_records, n_trained;
        ew_decoder *trained = ew_decoder_new(dialect);
        if (!trained)
            abort();
        for (size_t cut = 0; cut < n; cut++) {
            ew_decoder *k = decode(whole[i], cut, 0, &n_records);
            CHECK(ew_last_error(k)->status != EW_OK);
            ew_decoder_free(k);
        }
        uint8_t *s = check_copy(whole[i], n);
        for (size_t at = 0; at < n; at++) {
            for (unsigned c = 0; c < 256; c++) {
                /* What it was is decoded again and again, so that whatever was learned is about that. */
                if (c == 0)
                    ew_train(trained, (const uint8_t *)whole[i], n);
                ew_decode(trained, (const uint8_t *)whole[i], n, 0, &count);
                s[at] = (uint8_t)c;
                ew_decoder *k = ew_decoder_new(dialect);
                if (!k)
                    abort();
                ew_decode(k, s, n, 0, &n_records);
                ew_stats before = *ew_decoder_stats(trained);
                ew_decode(trained, s, n, 0, &n_trained);
                agree(compare_decoders(k, trained, n_records, n_trained), "changed", s, n);
                agree(compare_stats(&none, ew_decoder_stats(k), &before, ew_decoder_stats(trained)), "changed", s, n);
                agree(compare_spans(k, n_records), "span", s, n);
                ew_decoder_free(k);
            }
            s[at] = (uint8_t)whole[i][at];
        }
        free(s);
        ew_decoder_free(trained);
    }
}

int main(void)
{
    ew_error error;
    dialect = ew_dialect_parse(table, sizeof table - 1, 3, &error);
    if (!dialect) {
        fprintf(stderr, "line %zu: %s\n", error.position, error.message);
        return 1;
    }
    veteran = ew_decoder_new(dialect);
    test_routing();
    test_envelopes();
    test_prompts();
    test_rows();
    test_paths();
    test_values();
    test_repeats();
    test_escapes();
    test_permutations();
    test_header();
    test_stats();
    test_explain();
    test_mixtures();
    test_forecasts();
    test_deferring();
    test_decimal_shapes();
    test_many();
    test_damage();
    ew_decoder_free(veteran);
    ew_dialect_free(dialect);
    return check_result();
}
