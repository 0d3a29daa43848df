/* What both ways to use simdjson share: an error, and a decoder's life. Before it includes this, a contender defines what
 * rows.h needs, and PARSER. */
#include "rows.h"

namespace {

struct decoder {
    PARSER parser;
    bool is_bitget;
    ew_record records[TASK_RECORDS];
};

/* The message is not what it should be: simdjson's own errors end here too. */
struct bad {};

inline void need(bool good)
{
    if (simdjson_unlikely(!good))
        throw bad();
}

inline void common_time(VALUE value, int64_t *slot, task_common *common, uint64_t bit)
{
    const task_span span = raw_span(value);
    need(task_time(span.s, span.n, slot));
    common->present |= bit;
}

void *prepare(const char *venue, const char *, size_t)
{
    static bool no = false, yes = true;
    return strcmp(venue, "bitget") == 0 ? &yes : &no;
}

void *open_decoder(void *prepared)
{
    decoder *d = new decoder;
    d->is_bitget = *(const bool *)prepared;
    return d;
}

const ew_record *get(void *state, size_t i) { return &((decoder *)state)->records[i]; }

void close_decoder(void *state) { delete (decoder *)state; }

} // namespace
