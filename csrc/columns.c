/* Records to columns.
 *
 * What a batch costs is what it writes, so a row writes its values and one bit set, and nothing for fields that it
 * does not have. Bitmaps are made from the bit sets when a batch is full, 64 rows at a time; what the memory held
 * before, in rows without a value, is cleared then. */
#include "internal.h"

#include <math.h>
#include <stdlib.h>

__extension__ typedef unsigned __int128 u128;
__extension__ typedef __int128 i128;

#define FIRST_ROWS 256
#define FIRST_HEAP 8192
#define HEAP_MAX ((size_t)1 << 30) /* offsets of texts fit into int32, ids printed as text included */
#define FIELDS 64
#define SLOTS_ROOM 1024 /* more than the texts of any record in their slots */

_Static_assert(sizeof(ew_tail) == 8 && offsetof(ew_dec, hi) == 8, "a decimal is a low half and its tail");
_Static_assert(sizeof(ew_text32) == 32 && sizeof(ew_text16) == 16, "texts are compared in words");

static inline uint64_t bits_of(ew_tail t)
{
    uint64_t v;
    memcpy(&v, &t, 8);
    return v;
}

static inline ew_tail tail_of(uint64_t v)
{
    ew_tail t;
    memcpy(&t, &v, 8);
    return t;
}

/* The bits of a tail's `hi`, set if an int64 is negative. */
static inline uint64_t sign_of(uint64_t lo) { return (uint64_t)((int64_t)lo >> 63) & bits_of((ew_tail){-1, 0, 0, 0}); }

static inline unsigned lowest(uint64_t bits) { return (unsigned)__builtin_ctzll(bits); }

/*==== MARK: Dictionaries ====*/

/* A text is told by four words: one that fits into its field's slot by the slot, zeros behind that; a longer one of at
 * most 31 bytes by a slot of 32; of those beyond they hold the hash, and 255 in the last byte. */
typedef struct ew_image { uint64_t w[4]; } ew_image;

#define RECENT 32

typedef struct ew_dictionary {
    ew_image *images;
    uint64_t *cells; /* where the texts are: offset in the low, length in the high 32 bits */
    uint32_t *slots; /* numbers from 1; an open hash table */
    uint32_t recent[RECENT]; /* what stands there for texts that came lately */
    uint8_t *heap;
    size_t n, cap, mask, n_heap, cap_heap;
} ew_dictionary;

#define LONG_IMAGE 255

static inline bool same_image(const ew_image *a, const ew_image *b)
{
    return ((a->w[0] ^ b->w[0]) | (a->w[1] ^ b->w[1]) | (a->w[2] ^ b->w[2]) | (a->w[3] ^ b->w[3])) == 0;
}

static inline uint64_t hash_image(const ew_image *a)
{
    uint64_t h = (a->w[0] ^ (a->w[2] << 17 | a->w[2] >> 47)) * UINT64_C(0x9e3779b97f4a7c15);
    h ^= (a->w[1] ^ (a->w[3] << 29 | a->w[3] >> 35)) * UINT64_C(0xc2b2ae3d27d4eb4f);
    return (h ^ h >> 32) * UINT64_C(0xd6e8feb86659fd93) >> 20;
}

static inline ew_image image_of(const uint8_t *slot, size_t size)
{
    ew_image a = {{0}};
    memcpy(&a, slot, size);
    return a;
}

static bool dictionary_room(ew_dictionary *d, size_t n_text)
{
    if (d->n == d->cap) {
        size_t cap = d->cap ? 2 * d->cap : 16;
        void *images = realloc(d->images, cap * sizeof *d->images);
        if (!images)
            return false;
        d->images = images;
        void *cells = realloc(d->cells, cap * sizeof *d->cells);
        uint32_t *slots = calloc(2 * cap, sizeof *slots);
        if (cells)
            d->cells = cells;
        if (!cells || !slots) {
            free(slots);
            return false;
        }
        free(d->slots);
        d->slots = slots;
        d->mask = 2 * cap - 1;
        d->cap = cap;
        for (size_t i = 0; i < d->n; i++) {
            size_t at = hash_image(&d->images[i]) & d->mask;
            while (slots[at])
                at = (at + 1) & d->mask;
            slots[at] = (uint32_t)i + 1;
        }
    }
    if (d->cap_heap - d->n_heap < n_text) {
        size_t cap = 2 * d->cap_heap > d->n_heap + n_text + 256 ? 2 * d->cap_heap : d->n_heap + n_text + 256;
        uint8_t *heap = cap <= UINT32_MAX ? realloc(d->heap, cap) : NULL;
        if (!heap)
            return false;
        d->heap = heap;
        d->cap_heap = cap;
    }
    return true;
}

/* Enter a text that is not there; UINT32_MAX without memory. */
static __attribute__((noinline)) uint32_t enter(ew_dictionary *d, const ew_image *a, const uint8_t *text, size_t n)
{
    if (!dictionary_room(d, n) || d->n >= INT32_MAX)
        return UINT32_MAX;
    size_t at = hash_image(a) & d->mask;
    while (d->slots[at])
        at = (at + 1) & d->mask;
    d->images[d->n] = *a;
    d->cells[d->n] = d->n_heap | (uint64_t)n << 32;
    memcpy(d->heap + d->n_heap, text, n);
    d->n_heap += n;
    d->slots[at] = (uint32_t)++d->n;
    return (uint32_t)d->n - 1;
}

/* The number of a text, which is entered if it is new; UINT32_MAX without memory. */
static __attribute__((noinline)) uint32_t look_up(ew_dictionary *d, const ew_image *a, const uint8_t *text, size_t n)
{
    if (d->n == 0)
        return enter(d, a, text, n);
    for (size_t at = hash_image(a) & d->mask; d->slots[at]; at = (at + 1) & d->mask) {
        uint32_t i = d->slots[at] - 1;
        if (same_image(&d->images[i], a) &&
            (n < sizeof *a || (d->cells[i] >> 32 == n && memcmp(d->heap + (uint32_t)d->cells[i], text, n) == 0)))
            return i;
    }
    return enter(d, a, text, n);
}

/* The same for a text in a slot. Few texts are most of what comes. */
static inline uint32_t number_of(ew_dictionary *d, const uint8_t *slot, size_t size)
{
    const ew_image a = image_of(slot, size);
    uint32_t *recent = &d->recent[a.w[0] * UINT64_C(0x9e3779b97f4a7c15) >> 59];
    if (__builtin_expect(*recent < d->n && same_image(&d->images[*recent], &a), 1))
        return *recent;
    const uint32_t i = look_up(d, &a, slot, slot[size - 1]);
    return i == UINT32_MAX ? i : (*recent = i);
}

static ew_image image_of_text(const uint8_t *text, size_t n, size_t size)
{
    ew_image a = {{0}};
    if (n < sizeof a) {
        memcpy(&a, text, n);
        ((uint8_t *)&a)[n < size ? size - 1 : sizeof a - 1] = (uint8_t)n;
        return a;
    }
    uint64_t h = n;
    for (size_t i = 0; i < n; i++)
        h = (h ^ text[i]) * UINT64_C(0x100000001b3);
    a.w[0] = h;
    ((uint8_t *)&a)[31] = LONG_IMAGE;
    return a;
}

/*==== MARK: Batches ====*/

/* Memory, with anything in it. Slabs are as large as all columns of `rows` rows will probably need: what is not written
 * to takes address space, but no memory. */
static void *take(ew_pool *p, ew_batch *b, size_t size, size_t rows)
{
    ew_slab *slabs = b->memory;
    void *at = ew_slab_take(p, &slabs, size, rows * 256);
    b->memory = slabs;
    return at;
}

void ew_batch_free(ew_batch *b)
{
    if (!b)
        return;
    ew_slabs_free(b->memory);
    free(b);
}

/* What a row writes to, by field. */
typedef struct lane {
    void *values;
    ew_tail *tails;  /* of decimals, null while they have... */
    uint64_t tail;   /* ...this in common, but for the sign */
    uint32_t offset; /* in the record */
    uint8_t size;    /* of a text's slot */
    uint8_t numeric; /* of an id: the bit that tells numbers */
    uint8_t field;
} lane;

/* The lanes of a set of fields, by what is to be done. Messages have few different sets. */
enum { DECIMALS, TIMES, CODES, U16S, IDS, TEXTS, LONG_TEXTS, WORKS };
typedef struct plan {
    uint64_t present;
    uint8_t end[WORKS];
    lane *lanes[FIELDS];
} plan;
#define PLANS 8

#define CODE_ROWS 16 /* go from rows to columns at once */

/* A batch while it is filled. */
typedef struct filling {
    ew_batch *batch;
    ew_pool *pool;
    size_t cap, cap_heap, usual, usual_heap; /* usual: of the batch before, and a little more */
    uint64_t have; /* fields whose columns are there */
    uint64_t *bits; /* per row: the fields with a value, and behind them the ids that are numbers */
    lane lanes[FIELDS];
    plan plans[PLANS];
    uint16_t codes_at; /* where in a record all its codes are */
    uint8_t codes[CODE_ROWS][16]; /* of the last rows */
} filling;

/* What does not change about a kind. */
typedef struct layout {
    const ew_field *fields;
    size_t n_fields;
    uint64_t works[WORKS]; /* sets of fields */
} layout;

struct ew_columns {
    size_t rows;
    ew_pool *pool;
    layout kinds[EW_KINDS];
    filling filling[EW_KINDS];
    ew_dictionary *dictionaries[EW_KINDS]; /* by field */
    ew_batch **full;
    size_t n_full, cap_full;
    uint64_t *shapes; /* an open hash table; 0 is free */
    size_t n_shapes, mask_shapes;
    ew_stats stats;
    uint64_t n_rows[EW_KINDS]; /* of batches that were finished */
};

static size_t width(const layout *k, unsigned f)
{
    uint64_t bit = UINT64_C(1) << f;
    return k->works[CODES] & bit ? 1 : k->works[U16S] & bit ? 2 : k->works[TEXTS] & bit ? 4 : 8;
}

ew_columns *ew_columns_new(size_t rows)
{
    ew_columns *c = calloc(1, sizeof *c);
    if (!c)
        return NULL;
    if (!(c->pool = ew_pool_new())) {
        free(c);
        return NULL;
    }
    c->rows = rows ? (rows < (size_t)1 << 24 ? rows : (size_t)1 << 24) : 1;
    for (unsigned i = EW_ORDER; i < EW_KINDS; i++) {
        layout *k = &c->kinds[i];
        size_t n_ids = 0;
        k->fields = ew_fields(i, &k->n_fields);
        c->filling[i].pool = c->pool;
        c->filling[i].usual = FIRST_ROWS;
        c->filling[i].codes_at = ew_codes_at(i);
        for (unsigned f = 0; f < k->n_fields; f++) {
            const ew_field *field = &k->fields[f];
            uint64_t bit = UINT64_C(1) << f;
            lane *l = &c->filling[i].lanes[f];
            *l = (lane){.offset = field->offset, .size = (uint8_t)field->size, .field = (uint8_t)f};
            switch ((ew_type)field->type) {
            case EW_TYPE_DEC: k->works[DECIMALS] |= bit; break;
            case EW_TYPE_TIME: k->works[TIMES] |= bit; break;
            case EW_TYPE_U16: k->works[U16S] |= bit; break;
            case EW_TYPE_BOOL:
            case EW_TYPE_ENUM: k->works[CODES] |= bit; break;
            case EW_TYPE_ID:
                k->works[IDS] |= bit;
                l->numeric = (uint8_t)(k->n_fields + n_ids++);
                break;
            case EW_TYPE_TEXT: k->works[field->size == sizeof(ew_text128) ? LONG_TEXTS : TEXTS] |= bit; break;
            }
        }
        c->dictionaries[i] = calloc(k->n_fields, sizeof *c->dictionaries[i]);
        if (!c->dictionaries[i]) {
            ew_columns_free(c);
            return NULL;
        }
    }
    return c;
}

void ew_columns_free(ew_columns *c)
{
    if (!c)
        return;
    for (unsigned i = 0; i < EW_KINDS; i++) {
        ew_batch_free(c->filling[i].batch);
        free(c->filling[i].bits);
        for (unsigned f = 0; c->dictionaries[i] && f < c->kinds[i].n_fields; f++) {
            ew_dictionary *d = &c->dictionaries[i][f];
            free(d->images);
            free(d->cells);
            free(d->slots);
            free(d->heap);
        }
        free(c->dictionaries[i]);
    }
    for (size_t i = 0; i < c->n_full; i++)
        ew_batch_free(c->full[i]);
    free(c->full);
    ew_pool_close(c->pool);
    free(c->shapes);
    free(c);
}

const char *ew_columns_text(const ew_columns *c, unsigned kind, unsigned field, size_t i, size_t *n)
{
    if (kind >= EW_KINDS || !c->dictionaries[kind] || field >= c->kinds[kind].n_fields)
        return NULL;
    const ew_dictionary *d = &c->dictionaries[kind][field];
    if (i >= d->n)
        return NULL;
    *n = (size_t)(d->cells[i] >> 32);
    return (const char *)d->heap + (uint32_t)d->cells[i];
}

/* Move a plane of n items of `size` bytes to memory for `rows` of them. */
static bool move(ew_pool *p, ew_batch *to, void *plane, size_t size, size_t n, size_t rows)
{
    void *at, *moved = take(p, to, rows * size, rows);
    if (!moved)
        return false;
    memcpy(&at, plane, sizeof at);
    if (at)
        memcpy(moved, at, n * size);
    memcpy(plane, &moved, sizeof moved);
    return true;
}

/* The codes of the rows since the last multiple of CODE_ROWS. */
static void put_codes(filling *g, const layout *k, size_t end)
{
    const size_t begin = (end - 1) / CODE_ROWS * CODE_ROWS;
    for (uint64_t m = end ? g->have & k->works[CODES] : 0; m; m &= m - 1) {
        const lane *l = &g->lanes[lowest(m)];
        const uint8_t *from = g->codes[0] + (l->offset - g->codes_at);
        uint8_t *to = (uint8_t *)l->values + begin;
        if (end - begin == CODE_ROWS)
            for (size_t i = 0; i < CODE_ROWS; i++)
                to[i] = from[16 * i];
        else
            for (size_t i = 0; i < end - begin; i++)
                to[i] = from[16 * i];
    }
}

/* Give the batch memory for so many rows. */
static bool resize(filling *g, const layout *k, size_t rows)
{
    ew_batch *b = g->batch;
    ew_slab *before = b->memory;
    uint64_t *bits = realloc(g->bits, rows * sizeof *bits);
    if (!bits)
        return false;
    g->bits = bits;
    put_codes(g, k, b->n);
    b->memory = NULL;
    bool ok = move(g->pool, b, &b->flags, 1, b->n, rows) && move(g->pool, b, &b->events, 4, b->n, rows);
    if (ok && b->heap) {
        /* A batch that is finished needs no room for more. */
        g->cap_heap = rows > b->n ? g->cap_heap : b->n_heap;
        void *heap = take(g->pool, b, g->cap_heap + 1, rows);
        if ((ok = heap != NULL))
            b->heap = memcpy(heap, b->heap, b->n_heap);
    }
    for (uint64_t m = g->have; ok && m; m &= m - 1) {
        ew_column *col = &b->columns[lowest(m)];
        ok = move(g->pool, b, &col->values, width(k, lowest(m)), b->n, rows) &&
             (!col->tails || move(g->pool, b, &col->tails, sizeof *col->tails, b->n, rows));
        g->lanes[lowest(m)].values = col->values;
        g->lanes[lowest(m)].tails = col->tails;
    }
    g->cap = rows;
    ew_slabs_free(before);
    return ok;
}

static bool start(ew_columns *c, unsigned i)
{
    filling *g = &c->filling[i];
    g->batch = calloc(1, sizeof *g->batch);
    if (!g->batch)
        return false;
    g->batch->kind = (uint8_t)i;
    g->have = 0;
    for (unsigned f = 0; f < FIELDS; f++) {
        g->lanes[f].tail = 0;
        g->lanes[f].tails = NULL;
    }
    return resize(g, &c->kinds[i], g->usual < c->rows ? g->usual : c->rows);
}

/* A step of the next function, in which pairs of words exchange j bits. */
static inline __attribute__((always_inline)) void exchange(uint64_t a[64], const unsigned j, const uint64_t mask)
{
    for (unsigned k = 0; k < 64; k += 2 * j)
        for (unsigned i = k; i < k + j; i++) {
            uint64_t t = (a[i] >> j ^ a[i + j]) & mask;
            a[i] ^= t << j;
            a[i + j] ^= t;
        }
}

/* Bit i of word j becomes bit j of word i. */
static void transpose(uint64_t a[64])
{
    exchange(a, 32, UINT64_C(0x00000000ffffffff));
    exchange(a, 16, UINT64_C(0x0000ffff0000ffff));
    exchange(a, 8, UINT64_C(0x00ff00ff00ff00ff));
    exchange(a, 4, UINT64_C(0x0f0f0f0f0f0f0f0f));
    exchange(a, 2, UINT64_C(0x3333333333333333));
    exchange(a, 1, UINT64_C(0x5555555555555555));
}

/* The rows' bit sets as bitmaps of the columns. */
static bool bitmaps(filling *g, const layout *k)
{
    ew_batch *b = g->batch;
    const size_t n_words = (b->n + 63) / 64;
    for (uint64_t m = g->have; m; m &= m - 1) {
        ew_column *col = &b->columns[lowest(m)];
        if (!(col->valid = take(g->pool, b, n_words * 8, b->n)) ||
            (k->works[IDS] & m & -m && !(col->numeric = take(g->pool, b, n_words * 8, b->n))))
            return false;
    }
    for (size_t i = 0; i < n_words; i++) {
        uint64_t square[64] = {0};
        size_t n = b->n - 64 * i;
        memcpy(square, g->bits + 64 * i, 8 * (n < 64 ? n : 64));
        transpose(square);
        for (uint64_t m = g->have; m; m &= m - 1)
            b->columns[lowest(m)].valid[i] = square[lowest(m)];
        for (uint64_t m = g->have & k->works[IDS]; m; m &= m - 1)
            b->columns[lowest(m)].numeric[i] = square[g->lanes[lowest(m)].numeric];
    }
    return true;
}

static size_t count_bits(const uint64_t *words, size_t rows)
{
    size_t n = 0;
    for (size_t i = 0; words && i < (rows + 63) / 64; i++)
        n += (size_t)__builtin_popcountll(words[i]);
    return n;
}

/* Zeros where there is no value. */
static void clear_nulls(void *plane, size_t size, const uint64_t *valid, size_t n)
{
    for (size_t begin = 0; begin < n; begin += 64) {
        const uint64_t word = valid[begin / 64];
        const size_t end = n - begin < 64 ? n - begin : 64;
        uint8_t *at = (uint8_t *)plane + begin * size;
        if (word == 0)
            memset(at, 0, end * size);
        for (size_t i = 0; word && word != UINT64_MAX && i < end; i++) {
            const uint64_t keep = 0 - (word >> i & 1);
            if (size == 8)
                ((uint64_t *)(void *)at)[i] &= keep;
            else if (size == 4)
                ((uint32_t *)(void *)at)[i] &= (uint32_t)keep;
            else if (size == 2)
                ((uint16_t *)(void *)at)[i] &= (uint16_t)keep;
            else
                at[i] &= (uint8_t)keep;
        }
    }
}

/* Make the bitmaps, clear what is not used, and give it back if it is much. */
static bool finish(ew_columns *c, unsigned i)
{
    filling *g = &c->filling[i];
    const layout *k = &c->kinds[i];
    ew_batch *b = g->batch;
    if (b->n < g->cap / 2) {
        if (!resize(g, k, b->n))
            return false;
    } else {
        put_codes(g, k, b->n);
    }
    if (!bitmaps(g, k))
        return false;
    for (uint64_t m = g->have; m; m &= m - 1) {
        const unsigned f = lowest(m);
        ew_column *col = &b->columns[f];
        col->tail = tail_of(g->lanes[f].tail);
        col->n_valid = count_bits(col->valid, b->n);
        if (count_bits(col->numeric, b->n) == 0)
            col->numeric = NULL;
        if (col->n_valid == 0) { /* "" in all rows, for instance */
            *col = (ew_column){0};
        } else if (col->n_valid == b->n) {
            col->valid = NULL;
        } else {
            clear_nulls(col->values, width(k, f), col->valid, b->n);
            if (col->tails)
                clear_nulls(col->tails, sizeof *col->tails, col->valid, b->n);
        }
    }
    g->usual = b->n + b->n / 8 > FIRST_ROWS ? b->n + b->n / 8 : FIRST_ROWS;
    g->usual_heap = b->n_heap + b->n_heap / 8 + SLOTS_ROOM;
    g->cap_heap = 0;
    g->batch = NULL;
    return true;
}

static bool put_away(ew_columns *c, unsigned i)
{
    if (c->n_full == c->cap_full) {
        size_t cap = c->cap_full ? 2 * c->cap_full : 8;
        ew_batch **full = realloc(c->full, cap * sizeof *full);
        if (!full)
            return false;
        c->full = full;
        c->cap_full = cap;
    }
    ew_batch *b = c->filling[i].batch;
    if (!finish(c, i))
        return false;
    c->full[c->n_full++] = b;
    c->n_rows[i] += b->n;
    return true;
}

ew_batch *ew_columns_take(ew_columns *c, int all)
{
    if (c->n_full == 0 && all)
        for (unsigned i = EW_ORDER; i < EW_KINDS; i++)
            if (c->filling[i].batch && c->filling[i].batch->n && !put_away(c, i))
                return NULL;
    if (c->n_full == 0)
        return NULL;
    ew_batch *b = c->full[0];
    memmove(c->full, c->full + 1, --c->n_full * sizeof *c->full);
    return b;
}

/*==== MARK: Rows ====*/

/* Columns for fields that the batch sees for the first time. */
static __attribute__((noinline)) bool open_columns(filling *g, const layout *k, uint64_t fields)
{
    for (uint64_t m = fields & ~g->have; m; m &= m - 1) {
        unsigned f = lowest(m);
        void *values = take(g->pool, g->batch, g->cap * width(k, f), g->cap);
        if (!values)
            return false;
        g->batch->columns[f].values = g->lanes[f].values = values;
        g->have |= UINT64_C(1) << f;
    }
    return true;
}

/* Room for the texts of a row in their slots, the longest of which may be copied whole. */
static __attribute__((noinline)) bool heap_room(filling *g, size_t n)
{
    ew_batch *b = g->batch;
    size_t cap = b->heap ? 2 * g->cap_heap : g->usual_heap ? g->usual_heap : FIRST_HEAP;
    while (cap < b->n_heap + n)
        cap *= 2;
    uint8_t *heap = take(g->pool, b, cap, g->cap);
    if (!heap)
        return false;
    if (b->n_heap)
        memcpy(heap, b->heap, b->n_heap);
    b->heap = heap;
    g->cap_heap = cap;
    return true;
}

#define NO_TAIL UINT64_MAX /* decimals that have nothing in common */

/* The first decimal, or the first that differs from those before it in more than its sign: from then on each has a tail
 * of its own. Returns whether there is memory. */
static __attribute__((noinline)) bool odd_decimal(filling *g, unsigned f, uint64_t lo, uint64_t tail)
{
    lane *l = &g->lanes[f];
    ew_column *col = &g->batch->columns[f];
    const uint64_t plain = tail ^ sign_of(lo), *values = l->values;
    if (l->tail == 0 && tail_of(plain).hi == 0) {
        l->tail = plain;
        return true;
    }
    l->tails = col->tails = take(g->pool, g->batch, g->cap * sizeof *col->tails, g->cap);
    if (!l->tails)
        return false;
    for (size_t i = 0; i < g->batch->n && l->tail; i++)
        l->tails[i] = tail_of(l->tail ^ sign_of(values[i]));
    l->tail = NO_TAIL;
    l->tails[g->batch->n] = tail_of(tail);
    return true;
}

/* Texts of a record some of which were longer than their slots. */
static bool whole_texts(ew_columns *c, filling *g, const layout *k, const ew_record *r, uint64_t *valid,
                        ew_decoder *closer, const ew_token *tokens, const ew_origin *origin)
{
    ew_batch *b = g->batch;
    size_t n_payload;
    const uint8_t *payload = origin ? ew_payload(closer, &n_payload) : NULL;
    for (uint64_t m = r->h.present & (k->works[IDS] | k->works[TEXTS] | k->works[LONG_TEXTS]); m; m &= m - 1) {
        unsigned f = lowest(m);
        const uint8_t *text = (const uint8_t *)r + g->lanes[f].offset;
        size_t n = k->fields[f].type == EW_TYPE_ID ? ((const ew_id *)(const void *)text)->len : text[g->lanes[f].size - 1];
        size_t room = k->fields[f].type == EW_TYPE_ID ? sizeof((ew_id *)0)->s : (size_t)g->lanes[f].size - 1;
        if (k->fields[f].type == EW_TYPE_ID)
            text = (const uint8_t *)((const ew_id *)(const void *)text)->s;
        uint8_t *unescaped = NULL;
        uint32_t t = origin ? origin->field[f] : EW_NO_TOKEN;
        if (n + 4 > room && t != EW_NO_TOKEN) { /* a cut leaves less than a character of room */
            text = payload + tokens[t].begin;
            n = tokens[t].end - tokens[t].begin;
            if (tokens[t].flags & EW_TOK_ESCAPED) {
                if (!(unescaped = malloc(n)))
                    return false;
                n = ew_unescape(text, n, unescaped);
                text = unescaped;
            }
        } else if (k->works[IDS] & UINT64_C(1) << f) {
            continue; /* it is there */
        }
        bool ok = true;
        if (n == 0) {
            *valid &= ~(UINT64_C(1) << f);
        } else if (k->works[TEXTS] & UINT64_C(1) << f) {
            ew_image a = image_of_text(text, n, g->lanes[f].size);
            uint32_t number = look_up(&c->dictionaries[b->kind][f], &a, text, n);
            ((uint32_t *)b->columns[f].values)[b->n] = number;
            ok = number != UINT32_MAX;
        } else {
            ok = n < HEAP_MAX && (g->cap_heap - b->n_heap >= n || heap_room(g, n));
            if (ok) {
                memcpy(b->heap + b->n_heap, text, n);
                ((uint64_t *)b->columns[f].values)[b->n] = b->n_heap | (uint64_t)n << 32;
                b->n_heap += n;
            }
        }
        free(unescaped);
        if (!ok)
            return false;
    }
    return true;
}

static __attribute__((noinline)) void make_plan(filling *g, const layout *k, uint64_t present)
{
    plan *p = &g->plans[present * UINT64_C(0x9e3779b97f4a7c15) >> 61];
    unsigned n = 0;
    p->present = present;
    for (unsigned w = 0; w < WORKS; w++) {
        for (uint64_t m = present & k->works[w]; m; m &= m - 1)
            p->lanes[n++] = &g->lanes[lowest(m)];
        p->end[w] = (uint8_t)n;
    }
}

/* A row is written to many places at once, more than the hardware foresees: what the next rows need is called for here.
 * Of a batch that no cache holds, a quarter of the time went into waiting for that. */
static inline void put32(void *plane, size_t row, uint32_t v)
{
    uint32_t *at = (uint32_t *)plane + row;
    *at = v;
    __builtin_prefetch(at + 32, 1);
}

static inline void put64(void *plane, size_t row, uint64_t v)
{
    uint64_t *at = (uint64_t *)plane + row;
    *at = v;
    __builtin_prefetch(at + 16, 1);
}

static inline bool append(ew_columns *c, const ew_record *r, ew_decoder *closer, const ew_token *tokens,
                          const ew_origin *origin)
{
    const layout *k = &c->kinds[r->h.kind];
    filling *g = &c->filling[r->h.kind];
    if (!g->batch && !start(c, r->h.kind))
        return false;
    ew_batch *b = g->batch;
    if (b->n == g->cap && !resize(g, k, 4 * g->cap < c->rows ? 4 * g->cap : c->rows))
        return false;
    const size_t row = b->n;
    const uint64_t present = r->h.present;
    const char *const bytes = (const char *)r;
    if ((present & ~g->have) && !open_columns(g, k, present))
        return false;
    uint64_t valid = present;
    const plan *p = &g->plans[present * UINT64_C(0x9e3779b97f4a7c15) >> 61];
    if (__builtin_expect(p->present != present, 0))
        make_plan(g, k, present);
    lane *const *const lanes = p->lanes, *const *at = lanes, *const *end;

    for (end = lanes + p->end[DECIMALS]; at < end; at++) {
        const lane *l = *at;
        uint64_t d[2];
        memcpy(d, bytes + l->offset, sizeof d);
        if (__builtin_expect((d[1] ^ sign_of(d[0])) != l->tail, 0)) {
            if (tail_of(d[1]).state != EW_DEC_VALUE) {
                valid &= ~(UINT64_C(1) << l->field);
                continue;
            }
            if (l->tails)
                l->tails[row] = tail_of(d[1]);
            else if (!odd_decimal(g, l->field, d[0], d[1]))
                return false;
        }
        put64(l->values, row, d[0]);
    }
    for (end = lanes + p->end[TIMES]; at < end; at++) {
        uint64_t t;
        memcpy(&t, bytes + (*at)->offset, sizeof t);
        put64((*at)->values, row, t);
    }
    memcpy(g->codes[row % CODE_ROWS], bytes + g->codes_at, sizeof *g->codes);
    for (at = lanes + p->end[CODES], end = lanes + p->end[U16S]; at < end; at++)
        memcpy((uint16_t *)(*at)->values + row, bytes + (*at)->offset, 2);

    if (g->cap_heap - b->n_heap < SLOTS_ROOM && !heap_room(g, SLOTS_ROOM))
        return false;
    uint8_t *heap = b->heap + b->n_heap;
    __builtin_prefetch(heap + 256, 1);
    for (end = lanes + p->end[IDS]; at < end; at++) {
        const lane *l = *at;
        const ew_id *id = (const ew_id *)(const void *)(bytes + l->offset);
        uint64_t cell = id->number;
        if (id->is_number) {
            valid |= UINT64_C(1) << l->numeric;
        } else {
            memcpy(heap, id->s, sizeof id->s);
            cell = (uint64_t)(heap - b->heap) | (uint64_t)id->len << 32;
            heap += id->len;
            valid &= ~((uint64_t)!id->len << l->field);
        }
        put64(l->values, row, cell);
    }
    b->n_heap = (size_t)(heap - b->heap);
    if (__builtin_expect(r->h.flags & EW_LONG_TEXT, 0)) {
        if (!whole_texts(c, g, k, r, &valid, closer, tokens, origin))
            return false;
    } else {
        for (end = lanes + p->end[TEXTS]; at < end; at++) {
            const lane *l = *at;
            const uint8_t *slot = (const uint8_t *)bytes + l->offset;
            const size_t n = slot[l->size - 1];
            if (n == 0) {
                valid &= ~(UINT64_C(1) << l->field);
                continue;
            }
            ew_dictionary *d = &c->dictionaries[r->h.kind][l->field];
            const uint32_t i = l->size == 32 ? number_of(d, slot, 32) : number_of(d, slot, 16);
            if (i == UINT32_MAX)
                return false;
            put32(l->values, row, i);
        }
        for (end = lanes + p->end[LONG_TEXTS]; at < end; at++) {
            const lane *l = *at;
            const uint8_t *slot = (const uint8_t *)bytes + l->offset;
            const size_t n = slot[l->size - 1];
            memcpy(b->heap + b->n_heap, slot, n);
            put64(l->values, row, b->n_heap | (uint64_t)n << 32);
            b->n_heap += n;
            valid &= ~((uint64_t)!n << l->field);
        }
    }
    b->flags[row] = r->h.flags;
    put32(b->events, row, (uint32_t)r->h.venue << 16 | r->h.event);
    put64(g->bits, row, valid);
    b->n++;
    if (b->n % CODE_ROWS == 0)
        put_codes(g, k, b->n);
    return !(b->n == c->rows || b->n_heap >= HEAP_MAX) || put_away(c, r->h.kind);
}

static __attribute__((noinline)) ew_status append_long(ew_columns *c, const ew_decoder *decoder, size_t n_records,
                                                       ew_decoder *closer, const uint8_t *payload, size_t n)
{
    size_t again = 0, n_tokens = 0;
    const ew_token *tokens = NULL;
    if (closer && ew_explain(closer, payload, n, &again, &tokens, &n_tokens) != EW_OK)
        again = 0;
    for (size_t i = 0; i < n_records; i++) {
        const ew_origin *origin = again == n_records && n_tokens ? ew_get_origin(closer, i) : NULL;
        if (!append(c, ew_get(decoder, i), closer, tokens, origin))
            return EW_ERR_MEMORY;
    }
    return EW_OK;
}

static inline ew_status append_all(ew_columns *c, const ew_decoder *decoder, size_t n_records, ew_decoder *closer,
                                   const uint8_t *payload, size_t n)
{
    const ew_record *r = ew_get(decoder, 0);
    unsigned flags = 0;
    for (size_t i = 0; i < n_records; i++)
        flags |= r[i].h.flags;
    if (__builtin_expect(flags & EW_LONG_TEXT, 0))
        return append_long(c, decoder, n_records, closer, payload, n);
    for (size_t i = 0; i < n_records; i++)
        if (!append(c, &r[i], NULL, NULL, NULL))
            return EW_ERR_MEMORY;
    return EW_OK;
}

ew_status ew_columns_append(ew_columns *c, const ew_decoder *decoder, size_t n_records, ew_decoder *closer,
                            const uint8_t *payload, size_t n)
{
    return append_all(c, decoder, n_records, closer, payload, n);
}

/*==== MARK: Feeding ====*/

/* Lines that are not for a venue's decoder: {"execwire... of recorders, gzip frames, and b'...', which is how some
 * recorders write binary frames. */
static inline bool is_other(const uint8_t *s, size_t n)
{
    static const char own[] = "{\"execwire\"";
    if (n < 2)
        return false;
    return (n >= sizeof own - 1 && memcmp(s, own, sizeof own - 1) == 0) || (s[0] == 0x1f && s[1] == 0x8b) ||
           (s[0] == 'b' && (s[1] == '\'' || s[1] == '"'));
}

static inline uint64_t mix(uint64_t h, uint64_t v)
{
    h = (h ^ v) * UINT64_C(0x9e3779b97f4a7c15);
    return h ^ h >> 29;
}

uint64_t ew_columns_shape(const ew_decoder *decoder, size_t n_records, const ew_stats *before)
{
    const ew_stats *now = ew_decoder_stats(decoder);
    const ew_header *last = NULL;
    uint64_t h = 1;
    for (size_t i = 0; i < n_records; i++) {
        const ew_header *r = &ew_get(decoder, i)->h;
        /* Rows of one event mostly look alike, and how many there are says nothing. */
        if (last && r->present == last->present && r->missing == last->missing && r->kind == last->kind &&
            r->event == last->event)
            continue;
        h = mix(mix(mix(h, r->present), r->missing), (uint64_t)r->kind << 32 | (uint64_t)r->venue << 16 | r->event);
        last = r;
    }
    h = mix(h, now->unknown_events - before->unknown_events);
    h = mix(h, now->unknown_keys - before->unknown_keys);
    h = mix(h, now->unknown_enums - before->unknown_enums);
    h = mix(h, now->unrepresentable - before->unrepresentable);
    return h ? h : 1;
}

static bool accepted(const ew_columns *c, uint64_t shape)
{
    for (size_t at = shape & c->mask_shapes; c->shapes[at]; at = (at + 1) & c->mask_shapes)
        if (c->shapes[at] == shape)
            return true;
    return false;
}

int ew_columns_accept(ew_columns *c, uint64_t shape)
{
    if (c->shapes && accepted(c, shape))
        return 0;
    if (!c->shapes || 2 * (c->n_shapes + 1) > c->mask_shapes + 1) {
        size_t old = c->shapes ? c->mask_shapes + 1 : 0, size = old ? 2 * old : 64;
        uint64_t *shapes = calloc(size, sizeof *shapes), *before = c->shapes;
        if (!shapes)
            return -1;
        c->shapes = shapes;
        c->mask_shapes = size - 1;
        c->n_shapes = 0;
        for (size_t i = 0; i < old; i++)
            if (before[i])
                ew_columns_accept(c, before[i]);
        free(before);
    }
    size_t at = shape & c->mask_shapes;
    while (c->shapes[at])
        at = (at + 1) & c->mask_shapes;
    c->shapes[at] = shape;
    c->n_shapes++;
    return 0;
}

void ew_columns_count(ew_columns *c, const ew_decoder *decoder, const ew_stats *before)
{
    const ew_stats *now = ew_decoder_stats(decoder);
    c->stats.messages += now->messages - before->messages;
    c->stats.records += now->records - before->records;
    c->stats.errors += now->errors - before->errors;
    c->stats.unknown_events += now->unknown_events - before->unknown_events;
    c->stats.unknown_keys += now->unknown_keys - before->unknown_keys;
    c->stats.unknown_enums += now->unknown_enums - before->unknown_enums;
    c->stats.unrepresentable += now->unrepresentable - before->unrepresentable;
}

uint64_t ew_columns_rows(const ew_columns *c, unsigned kind)
{
    if (kind >= EW_KINDS)
        return 0;
    return c->n_rows[kind] + (c->filling[kind].batch ? c->filling[kind].batch->n : 0);
}

const ew_stats *ew_columns_stats(const ew_columns *c) { return &c->stats; }

/* What a message of an unknown shape counted is not counted: whoever decides about it decodes it again. */
static ew_fed feed_shapes(ew_columns *c, ew_decoder *decoder, ew_decoder *closer, ew_lines *lines, ew_span *span)
{
    size_t n_records;
    while (ew_lines_next(lines, span)) {
        if (span->foreign || is_other(span->payload, span->n))
            return EW_FED_OTHER;
        const ew_stats before = *ew_decoder_stats(decoder);
        if (ew_decode_padded(decoder, span->payload, span->n, span->ts_recv, &n_records) != EW_OK ||
            !accepted(c, ew_columns_shape(decoder, n_records, &before)))
            return EW_FED_UNSURE;
        ew_columns_count(c, decoder, &before);
        if (append_all(c, decoder, n_records, closer, span->payload, span->n) != EW_OK)
            return EW_FED_MEMORY;
    }
    return EW_FED_ALL;
}

static ew_fed feed_all(ew_columns *c, ew_decoder *decoder, ew_decoder *closer, ew_lines *lines, ew_span *span)
{
    size_t n_records;
    while (ew_lines_next(lines, span)) {
        if (__builtin_expect(span->foreign || is_other(span->payload, span->n), 0))
            return EW_FED_OTHER;
        if (__builtin_expect(
                ew_decode_padded(decoder, span->payload, span->n, span->ts_recv, &n_records) != EW_OK, 0))
            return EW_FED_ERROR;
        if (append_all(c, decoder, n_records, closer, span->payload, span->n) != EW_OK)
            return EW_FED_MEMORY;
    }
    return EW_FED_ALL;
}

ew_fed ew_columns_feed(ew_columns *c, ew_decoder *decoder, ew_decoder *closer, ew_lines *lines, ew_span *span)
{
    if (c->shapes)
        return feed_shapes(c, decoder, closer, lines, span);
    const ew_stats before = *ew_decoder_stats(decoder);
    ew_fed fed = feed_all(c, decoder, closer, lines, span);
    ew_columns_count(c, decoder, &before);
    return fed;
}

/*==== MARK: Elsewhere ====*/

static inline bool valid_at(const ew_column *col, size_t i)
{
    return col->values && (!col->valid || (col->valid[i / 64] >> i % 64 & 1));
}

static inline ew_dec decimal_at(const ew_column *col, size_t i)
{
    uint64_t lo = ((const uint64_t *)col->values)[i];
    ew_tail t = col->tails ? col->tails[i] : tail_of(bits_of(col->tail) ^ sign_of(lo));
    return (ew_dec){lo, t.hi, t.exponent, t.state, t.flags};
}

static inline i128 mantissa(ew_dec d) { return (i128)(((u128)(uint64_t)(int64_t)d.hi << 64) | d.lo); }

int ew_column_scale(const ew_column *col, size_t n, int least)
{
    int scale = 0;
    if (col->values && !col->tails && !least)
        return col->tail.exponent < 0 ? -col->tail.exponent : 0;
    for (size_t i = 0; i < n; i++) {
        if (!valid_at(col, i))
            continue;
        ew_dec d = decimal_at(col, i);
        int places = -d.exponent;
        if (places <= scale)
            continue;
        i128 m = mantissa(d);
        if (m == 0)
            places = least ? 0 : places;
        for (; least && places > scale && m % 10 == 0; places--)
            m /= 10;
        scale = places > scale ? places : scale;
    }
    return scale;
}

static const uint64_t tens[] = {
    1, 10, 100, 1000, 10000, 100000, 1000000, 10000000, 100000000, 1000000000, 10000000000, 100000000000, 1000000000000,
    10000000000000, 100000000000000, 1000000000000000, 10000000000000000, 100000000000000000, 1000000000000000000,
};
#define TENS ((int)(sizeof tens / sizeof *tens))

static bool scaled(ew_dec d, int scale, i128 *out)
{
    const i128 most = (i128)tens[18] * (i128)(10 * tens[18]) * 10; /* 10^38 */
    i128 m = mantissa(d);
    int up = m ? d.exponent + scale : 0;
    for (int step; up > 0; up -= step) {
        step = up < TENS ? up : TENS - 1;
        if (__builtin_mul_overflow(m, (i128)tens[step], &m))
            return false;
    }
    for (; up < 0; up++) {
        if (m % 10)
            return false;
        m /= 10;
    }
    *out = m;
    return m < most && m > -most;
}

size_t ew_column_int128(const ew_column *col, size_t n, int scale, uint64_t *out)
{
    const int64_t *values = col->values;
    if (!values) {
        memset(out, 0, 16 * n);
        return n;
    }
    for (size_t i = 0; i < n; i++) {
        const int up = (col->tails ? col->tails[i].exponent : col->tail.exponent) + scale;
        i128 v;
        /* A product of 19 and 18 digits fits, and rows without a value are zeros. */
        if (up >= 0 && up < TENS && (!col->tails || col->tails[i].hi == (int32_t)(values[i] >> 63)))
            v = (i128)values[i] * (i128)tens[up];
        else if (!valid_at(col, i))
            v = 0;
        else if (!scaled(decimal_at(col, i), scale, &v))
            return i;
        out[2 * i] = (uint64_t)v;
        out[2 * i + 1] = (uint64_t)(v >> 64);
    }
    return n;
}

void ew_column_double(const ew_column *col, size_t n, double *out)
{
    for (size_t i = 0; i < n; i++)
        out[i] = valid_at(col, i) ? ew_dec_double(decimal_at(col, i)) : NAN;
}

#define U64_DIGITS 20

size_t ew_column_text_room(const ew_column *col, size_t n)
{
    size_t room = U64_DIGITS;
    for (size_t i = 0; i < n && col->values; i++) {
        bool number = col->numeric && (col->numeric[i / 64] >> i % 64 & 1);
        if (valid_at(col, i))
            room += number ? U64_DIGITS : ((const uint64_t *)col->values)[i] >> 32;
    }
    return room;
}

static size_t print(uint64_t v, uint8_t *out)
{
    static const char pairs[] = "00010203040506070809101112131415161718192021222324252627282930313233343536373839"
                                "40414243444546474849505152535455565758596061626364656667686970717273747576777879"
                                "8081828384858687888990919293949596979899";
    uint8_t digits[U64_DIGITS], *at = digits + U64_DIGITS;
    for (; v >= 100; v /= 100)
        memcpy(at -= 2, pairs + 2 * (v % 100), 2);
    if (v >= 10)
        memcpy(at -= 2, pairs + 2 * v, 2);
    else
        *--at = (uint8_t)('0' + v);
    size_t n = (size_t)(digits + U64_DIGITS - at);
    memcpy(out, at, n);
    return n;
}

void ew_column_text(const ew_column *col, const uint8_t *heap, size_t n, int32_t *offsets, uint8_t *out)
{
    size_t at = 0;
    for (size_t i = 0; i < n; i++) {
        offsets[i] = (int32_t)at;
        if (!valid_at(col, i))
            continue;
        uint64_t cell = ((const uint64_t *)col->values)[i];
        if (col->numeric && (col->numeric[i / 64] >> i % 64 & 1)) {
            at += print(cell, out + at);
        } else {
            memcpy(out + at, heap + (uint32_t)cell, cell >> 32);
            at += cell >> 32;
        }
    }
    offsets[n] = (int32_t)at;
}
