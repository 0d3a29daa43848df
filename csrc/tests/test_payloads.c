/* The payloads of the Python tests, damaged: cut at every byte, and with bytes replaced. A decoder that was trained on
 * the payloads must say the same about each as one that explains, which never takes a learned path.
 *
 * Usually some bytes are put in every place; with EXHAUSTIVE=1 in the environment all 256 are, which takes long. */
#include "check.h"
#include "compare.h"
#include "decoder.h"
#include "files.h"

#include <dirent.h>

#define PAYLOADS "../tests/payloads"
#define SETS 8

typedef struct venue {
    unsigned number;
    ew_dialect *dialect;
    ew_decoder *plain, *trained[SETS]; /* one for each instruction set */
    unsigned n_sets;
    file files[512];
    size_t n;
} venue;

static void read_payloads(venue *v)
{
    char path[1024];
    struct dirent *entry;
    snprintf(path, sizeof path, PAYLOADS "/%s", venue_names[v->number]);
    DIR *folder = opendir(path);
    while (folder && (entry = readdir(folder)) && v->n < sizeof v->files / sizeof *v->files) {
        if (entry->d_name[0] == '.' || strstr(entry->d_name, ".records."))
            continue;
        snprintf(path, sizeof path, PAYLOADS "/%s/%s", venue_names[v->number], entry->d_name);
        v->files[v->n] = file_read(path);
        v->n += v->files[v->n].s != NULL;
    }
    if (folder)
        closedir(folder);
}

/* A copy with padding behind it that goes on where the payload was cut, or as if there were more of it. */
static uint8_t *padded(const file *f, const uint8_t *s, size_t n)
{
    uint8_t *copy = malloc(n + EW_PADDING);
    if (!copy)
        abort();
    memcpy(copy, s, n);
    for (size_t i = 0; i < EW_PADDING; i++)
        copy[n + i] = n < f->n && n + i < f->n ? f->s[n + i] : i < 8 ? '0' : f->s[i % f->n];
    return copy;
}

/* The same of what a trained decoder says, without and with padding. */
static void agree(const venue *v, const file *f, unsigned set, const uint8_t *s, size_t n)
{
    ew_decoder *trained = v->trained[set];
    const ew_stats before = *ew_decoder_stats(v->plain), before_trained = *ew_decoder_stats(trained);
    const ew_token *tokens;
    size_t count, count_trained, n_tokens;
    ew_explain(v->plain, s, n, &count, &tokens, &n_tokens);
    ew_decode(trained, s, n, 0, &count_trained);
    const char *different = compare_decoders(v->plain, trained, count, count_trained);
    if (!different)
        different =
            compare_stats(&before, ew_decoder_stats(v->plain), &before_trained, ew_decoder_stats(trained));
    if (!different)
        different = compare_spans(v->plain, count);
    uint8_t *copy = padded(f, s, n);
    ew_decode_padded(trained, copy, n, 0, &count_trained);
    if (!different)
        different = compare_decoders(v->plain, trained, count, count_trained);
    free(copy);
    if (!CHECK(!different) && check_failures <= 50)
        fprintf(stderr, "    %s: %s\n    %.*s\n", venue_names[v->number], different, (int)n, (const char *)s);
}

/* Decoders that have learned from all payloads. */
static void train(venue *v)
{
    const char *name;
    for (v->n_sets = 0; v->n_sets < SETS && (name = ew_instruction_set(v->n_sets)); v->n_sets++) {
        ew_decoder *k = ew_decoder_new(v->dialect);
        ew_decoder_free(v->trained[v->n_sets]);
        if (!k || ew_decoder_use(k, name) != EW_OK)
            abort();
        v->trained[v->n_sets] = k;
        ew_rehearse(k);
        for (int round = 0; round < 2; round++)
            for (size_t i = 0; i < v->n; i++)
                ew_train(k, v->files[i].s, v->files[i].n);
        for (int round = 0; round < 8; round++) /* forecasts come later */
            for (size_t i = 0; i < v->n; i++)
                ew_decode(k, v->files[i].s, v->files[i].n, 0, &(size_t){0});
    }
}

static void damage(venue *v, const file *f, bool exhaustive, uint64_t *random)
{
    train(v);
    for (size_t cut = 0; cut < f->n; cut++) {
        uint8_t *s = check_copy(f->s, cut);
        for (unsigned set = 0; set < v->n_sets; set++)
            agree(v, f, set, s, cut);
        free(s);
    }
    /* Two neighbours that fit the grammar in most places, one that fits in few, one at random. */
    static const uint8_t likely[] = "\"\\{}[],:.-eE01 9/tnf";
    uint8_t *s = check_copy(f->s, f->n);
    for (size_t at = 0; at < f->n; at++) {
        for (unsigned i = 0; i < (exhaustive ? 256 : 4); i++) {
            uint64_t r = check_random(random);
            s[at] = exhaustive ? (uint8_t)i
                    : i == 0   ? f->s[at] ^ 1
                    : i == 1   ? f->s[at] ^ 0x20
                    : i == 2   ? likely[r % (sizeof likely - 1)]
                               : (uint8_t)r;
            if (exhaustive)
                for (unsigned set = 0; set < v->n_sets; set++)
                    agree(v, f, set, s, f->n);
            else
                agree(v, f, (unsigned)(at + i) % v->n_sets, s, f->n);
        }
        s[at] = f->s[at];
        /* What was learned of the damaged ones shall not crowd out the payload itself. */
        for (unsigned set = 0; at % 16 == 0 && set < v->n_sets; set++)
            ew_train(v->trained[set], f->s, f->n);
        if (at % 256 == 255)
            train(v);
    }
    free(s);
}

/* A new decoder has learned its dialect's samples, all of them, and shows nothing of that. */
static void rehearse(const ew_dialect *d)
{
    ew_decoder *k = ew_decoder_new(d);
    if (!k)
        abort();
    ew_rehearse(k);
    const ew_stats *stats = ew_decoder_stats(k);
    size_t n;
    CHECK(stats->messages == 0 && stats->records == 0 && stats->errors == 0);
    CHECK(ew_last_error(k)->status == EW_OK && ew_payload(k, &n) == NULL && n == 0);
    CHECK(ew_get(k, 0)->h.kind == 0 && ew_get(k, 0)->h.event == 0);
    CHECK(d->samples.n > 0);
    for (uint32_t i = 0; i < d->samples.n; i++) {
        const ew_word *x = EW_AT(d->samples, ew_word, i);
        if (!CHECK(k->along(k->paths, (const uint8_t *)x->s, x->len, &k->sink)))
            fprintf(stderr, "    %s: %s\n", ew_dialect_name(d), x->s);
    }
    ew_decoder_free(k);
}

int main(void)
{
    const char *exhaustive = getenv("EXHAUSTIVE");
    uint64_t random = 5;
    size_t payloads = 0;
    for (unsigned i = 0; i < VENUES; i++) {
        venue *v = calloc(1, sizeof *v);
        if (!v)
            abort();
        v->number = i;
        v->dialect = venue_dialect(i);
        rehearse(v->dialect);
        v->plain = ew_decoder_new(v->dialect);
        if (!v->plain)
            abort();
        read_payloads(v);
        for (size_t k = 0; k < v->n; k++)
            damage(v, &v->files[k], exhaustive && *exhaustive == '1', &random);
        payloads += v->n;
        while (v->n)
            free(v->files[--v->n].s);
        ew_decoder_free(v->plain);
        for (unsigned set = 0; set < v->n_sets; set++)
            ew_decoder_free(v->trained[set]);
        ew_dialect_free(v->dialect);
        free(v);
    }
    if (!payloads)
        fprintf(stderr, "no payloads in " PAYLOADS ": nothing damaged\n"); /* an installed copy of csrc/ alone */
    return check_result();
}
