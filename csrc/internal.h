/* What the parts of the library share with each other and with nobody else. */
#ifndef EW_INTERNAL_H
#define EW_INTERNAL_H

#include "execwire.h"

#include <stdbool.h>
#include <string.h>

#define EW_NO_SLOT UINT16_MAX
#define EW_MAX_SLOTS 256 /* keys that one event, or one row of it, may name */

/* EW_NO_SIMD leaves the portable code of the general parser, so that it can be tested anywhere. */
#if defined(__SSE2__) && !defined(EW_NO_SIMD)
#define EW_HAS_SSE2
#endif

static inline bool ew_in(unsigned bits, unsigned flag) { return (bits & flag) != 0; }

static inline ew_status ew_fail(ew_error *e, ew_status status, const char *message, size_t position)
{
    e->status = status;
    e->message = message;
    e->position = position;
    return status;
}

/*==== MARK: Bytes ====*/

/* Eight bytes as a number, the first one lowest. */
static inline uint64_t ew_load(const uint8_t *s)
{
    uint64_t v;
    memcpy(&v, s, 8);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    v = __builtin_bswap64(v);
#endif
    return v;
}

/* The first eight bytes of a text as a number, zero-padded: texts up to eight bytes are equal when these are. Reads
 * only below `end`. */
static inline uint64_t ew_head(const uint8_t *s, size_t n, const uint8_t *end)
{
    uint64_t v = 0;
    if (n >= 8)
        return ew_load(s);
    if (end - s >= 8)
        return n ? ew_load(s) << (64 - 8 * n) >> (64 - 8 * n) : 0;
    while (n)
        v = v << 8 | s[--n];
    return v;
}

/* The same, but reads what stands before the text, if need be, and is not before `begin`. */
static inline uint64_t ew_head_back(const uint8_t *s, size_t n, const uint8_t *begin)
{
    if (n >= 8)
        return ew_load(s);
    if (n == 0 || s + n - begin < 8)
        return ew_head(s, n, s + n);
    return ew_load(s + n - 8) >> (64 - 8 * n);
}

/* One bit of each byte that is no decimal digit; the lowest is exact. */
static inline uint64_t ew_no_digits(uint64_t v)
{
    v ^= UINT64_C(0x3030303030303030);
    return (v | (v + UINT64_C(0x7676767676767676))) & UINT64_C(0x8080808080808080);
}

typedef struct ew_word {
    const char *s;
    uint64_t head;
    uint32_t len;
    uint16_t name; /* of keys: their number among the dialect's ew_names */
} ew_word;

static inline bool ew_word_is(const ew_word *w, const uint8_t *s, size_t n, uint64_t head)
{
    return w->head == head && w->len == n && (n <= 8 || memcmp(w->s + 8, s + 8, n - 8) == 0);
}

/*==== MARK: Records (record.c) ====*/

/* Where in a record of a kind the sixteen bytes begin that hold all of its enums and bools. */
uint16_t ew_codes_at(unsigned kind);

/*==== MARK: Text (text.c) ====*/

/* Offset of the first byte that is not part of valid UTF-8, or n. */
size_t ew_utf8_check(const uint8_t *s, size_t n);
/* The longest prefix of whole characters, of at most `room` bytes, of valid UTF-8. */
size_t ew_utf8_prefix(const uint8_t *s, size_t n, size_t room);
/* The first `room` bytes of ew_unescape's result, cut at a whole character; *whole tells whether that was all. */
size_t ew_unescape_prefix(const uint8_t *s, size_t n, uint8_t *out, size_t room, bool *whole);

/*==== MARK: Numbers (number.c) ====*/

/* The id's number, if the text is a plain one (see ew_id). These three leave *out alone where they fail. */
bool ew_plain_u64(const uint8_t *s, size_t n, uint64_t *out);
/* An integer as JSON writes them (no exponent, no fraction) within int64; false otherwise. */
bool ew_int_parse(const uint8_t *s, size_t n, int64_t *out);
/* Nanoseconds from an epoch time whose unit its magnitude tells; false if it is no integer or does not fit. */
bool ew_time_parse(const uint8_t *s, size_t n, int64_t *out);

/*==== MARK: Names (scan.c) ====*/
/* Every key that a dialect names anywhere has a number, its name, and from the scan on keys are only that. */

#define EW_MAX_NAME 255 /* bytes */
#define EW_CONTAINER UINT16_MAX /* no key's name: the mark of objects and arrays */

typedef struct ew_names {
    const ew_word *words; /* by name; 0 is none */
    const uint16_t *cells; /* names, where their hashes lead */
    uint32_t n, mask;
} ew_names;

static inline uint32_t ew_hash(uint64_t head, size_t n)
{
    return (uint32_t)((head + n) * UINT64_C(0x9e3779b97f4a7c15) >> 40);
}

/* The name of a text, or 0. */
unsigned ew_name_find(const ew_names *names, const uint8_t *s, size_t n, const uint8_t *end);

/*==== MARK: Scan (scan.c) ====*/

/* What the scan knows about a name, from its text and from the keys before, in this payload and others. */
typedef struct ew_sight {
    uint64_t head, middle, tail; /* of the text and its quote the first, second and last eight bytes, if it is plain */
    uint32_t last;       /* token that had it last. Only true if it still has it */
    uint16_t next;       /* the name that came after it last time, to be tried first */
    uint8_t len;
    uint8_t shift; /* leaves of the head what lies within a short text and its quote */
} ew_sight;

void ew_sights_set(ew_sight *sights, const ew_names *names);

typedef struct ew_tape {
    ew_token *tokens;
    uint16_t *names; /* per token: of keys their name, 0 for those without; of values EW_CONTAINER or 0 */
    uint32_t n, cap;
    const ew_names *known;
    ew_sight *sights; /* per name */
} ew_tape;

/* Check that the payload is one JSON value, write down its tokens and name its keys, if the tape has names that are
 * known. The tape grows when it has to. */
ew_status ew_scan(const uint8_t *p, size_t n, ew_tape *tape, ew_error *error);
void ew_tape_free(ew_tape *tape); /* but not what the names came with */

/*==== MARK: Dialect (dialect.c) ====*/

typedef struct ew_path {
    uint16_t first, n; /* segments */
    uint8_t scope;     /* ew_scope */
} ew_path;

typedef enum ew_scope { EW_SCOPE_ROW, EW_SCOPE_EVENT, EW_SCOPE_FRAME } ew_scope;

/* A key of an object the dialect knows something about. Slots number the keys of a whole tree of nodes in depth-first
 * order, so that everything below a key has the slots (slot, slot_end). Below a key without a child all is known. */
typedef struct ew_entry {
    uint16_t name;
    uint16_t slot, slot_end;
    uint16_t child;  /* node for the value's own keys, 0 if none */
    uint8_t rows;    /* number of the event's emit, from 1, whose rows stand here; of another, below an outer row */
} ew_entry;

#define EW_OTHER_ROWS UINT8_MAX

typedef struct ew_node {
    uint32_t first; /* entries */
    uint16_t n;
    uint16_t mask;   /* of the lookup table, by name */
    uint32_t lookup; /* first cell; cells hold entry numbers from 1 within the node */
} ew_node;

typedef struct ew_alternative {
    ew_path path;
    uint16_t slot; /* of the path's key, where it is looked up with its whole object; else EW_NO_SLOT */
    uint8_t scope;
} ew_alternative;

/* How one field gets its value. */
typedef struct ew_rule {
    uint16_t offset, size;
    uint8_t type, bit, vocabulary;
    uint8_t n;      /* alternatives */
    uint16_t first;
    uint16_t slot;  /* of the first alternative, and */
    uint8_t scope;  /* ew_scope */
} ew_rule;

/* null or "" into a field's slot, where the slot tells the two apart, and where it must not show an earlier value: in
 * the header. */
static inline void ew_put_missing(const ew_rule *r, void *out, bool null)
{
    if (r->type == EW_TYPE_DEC)
        *(ew_dec *)out = (ew_dec){0, 0, 0, null ? EW_DEC_NULL : EW_DEC_EMPTY, 0};
    else if (r->type == EW_TYPE_TIME)
        *(int64_t *)out = null ? EW_TIME_NULL : EW_TIME_EMPTY;
    else if (r->type == EW_TYPE_ENUM || r->type == EW_TYPE_BOOL)
        *(uint8_t *)out = null ? EW_CODE_NULL : EW_CODE_EMPTY;
    else if (r->type == EW_TYPE_U16)
        *(uint16_t *)out = 0;
}

typedef struct ew_constant {
    uint16_t offset;
    uint8_t bit, code;
} ew_constant;

typedef struct ew_emit {
    ew_path rows; /* from the event; empty where it is its own row */
    uint8_t kind;
    uint8_t own; /* the event object is the row */
    uint16_t node;
    uint16_t n_slots;
    uint16_t first_rule, n_rules;
    uint16_t n_simple[EW_TYPE_TEXT + 1]; /* the first rules: those of one alternative, by type; then come the others */
    uint16_t first_constant, n_constants;
} ew_emit;

#define EW_ANY 0x80 /* in ew_condition.types: bit per ew_token_type, or any value */
typedef struct ew_condition {
    ew_path path;
    uint64_t last_head; /* of the path's last key */
    uint16_t slot;
    uint16_t first, n; /* texts */
    uint8_t types;
} ew_condition;

typedef struct ew_event {
    ew_word name;
    uint16_t node;
    uint16_t n_slots;
    uint16_t first_condition, n_conditions;
    uint16_t first_emit, n_emits;
} ew_event;

/* The events that one path tells apart, in order of the file: a text or, where `types` is set, a type of value. */
typedef struct ew_candidate {
    ew_word text;
    uint16_t event;
    uint8_t types;
} ew_candidate;

typedef struct ew_discriminator {
    ew_path path;
    uint16_t first, n; /* candidates */
} ew_discriminator;

typedef struct ew_envelope {
    ew_word enter;
    uint16_t first, n;             /* keys that must be there */
    uint16_t first_known, n_known; /* other keys of the wrapper */
} ew_envelope;

typedef struct ew_prompt {
    ew_word text;
    uint8_t code;
} ew_prompt;

typedef struct ew_spelling {
    ew_word text;
    uint8_t code;
    uint8_t same; /* the word is the text but for case: the field holds it exactly */
} ew_spelling;

#define EW_VOCABULARIES 16
typedef struct ew_vocabulary {
    const char *name;
    uint16_t first, n; /* spellings */
    uint16_t mask;
    uint32_t lookup;
} ew_vocabulary;

/* What a message of the SBE schema is made of, in the order of its bytes: fields of the block, groups, data. */
typedef enum ew_sbe_type {
    EW_SBE_CONSTANT, /* takes no bytes: the JSON in `absent` */
    EW_SBE_INT,
    EW_SBE_UINT,
    EW_SBE_BOOL,
    EW_SBE_ENUM,
    EW_SBE_DECIMAL, /* a mantissa of 64 bits; the exponent stands elsewhere in the block */
    EW_SBE_GROUP,
    EW_SBE_TEXT,
    EW_SBE_MESSAGE /* another message, with a header of its own */
} ew_sbe_type;

#define EW_SBE_KEY 64 /* bytes */
typedef struct ew_sbe_item {
    ew_word key;
    char member[16]; /* "key": for keys that fit */
    ew_word absent;  /* JSON in place of no value; nothing: the key is left out */
    uint16_t offset; /* of fields: in the block */
    uint16_t detail; /* decimal: offset of the exponent; enum: its number; group: how many next items are in it */
    uint16_t block;  /* group: bytes of an entry's block that are known */
    uint8_t type;    /* ew_sbe_type */
    uint8_t size;    /* of the field, of the count of entries, of the length of data */
    uint8_t outside; /* stands in the frame, not in the object that `enter` names */
} ew_sbe_item;

typedef struct ew_sbe_message {
    ew_word under; /* the key for it in a message around it; nothing: the key of the item that holds it */
    ew_word enter; /* the key of its content, where that is an object of its own */
    uint32_t first, n; /* items */
    uint16_t template;
    uint16_t block; /* bytes of the block that are known */
} ew_sbe_message;

typedef struct ew_sbe_vocabulary {
    const char *name;
    uint32_t first, n; /* texts */
} ew_sbe_vocabulary;

typedef struct ew_sbe_text {
    ew_word text;
    uint8_t value;
} ew_sbe_text;

struct ew_dialect {
    char *text; /* the table, cut into words in place: every ew_word points into it */
    const char *name;
    uint16_t venue;
    uint16_t n_vocabularies;
    ew_vocabulary vocabularies[EW_VOCABULARIES];
    struct ew_list {
        void *items;
        uint32_t n, cap;
    } words, segments, envelopes, prompts, spellings, events, conditions, emits, rules, alternatives, constants, nodes,
        entries, cells, discriminators, candidates, names, name_cells,
        sbe_schemas, sbe_vocabularies, sbe_texts, sbe_messages, sbe_items, samples;
    ew_names known;
    uint16_t digits[10]; /* names of "0" to "9" */
    ew_word sbe_name; /* the key that an SBE message's name goes under */
    uint16_t first_common, n_common;        /* rules of a notice for events without a record */
};

#define EW_AT(list, type, i) (((type *)(list).items) + (i))

/* The entry of a name in a node's table, or null. `before` is the entry before the node's first. */
static inline const ew_entry *ew_lookup(const uint8_t *cells, uint32_t mask, const ew_entry *before, unsigned name)
{
    for (uint32_t h = name;; h++) {
        const uint8_t cell = cells[h & mask];
        if (!cell)
            return NULL;
        if (before[cell].name == name)
            return &before[cell];
    }
}

static inline const ew_entry *ew_entry_of(const ew_dialect *d, const ew_node *node, unsigned name)
{
    return ew_lookup(EW_AT(d->cells, uint8_t, node->lookup), node->mask, EW_AT(d->entries, ew_entry, node->first) - 1,
                     name);
}

/* The spelling of a text whose head (ew_head) is known, or null. */
static inline const ew_spelling *ew_spelling_of(const ew_dialect *d, unsigned vocabulary, const uint8_t *s, size_t n,
                                                uint64_t head)
{
    const ew_vocabulary *v = &d->vocabularies[vocabulary];
    const uint8_t *cells = EW_AT(d->cells, uint8_t, v->lookup);
    for (uint32_t h = ew_hash(head, n);; h++) {
        const uint8_t cell = cells[h & v->mask];
        if (!cell)
            return NULL; /* always so where there are no spellings at all */
        const ew_spelling *const x = EW_AT(d->spellings, ew_spelling, v->first + cell - 1);
        if (ew_word_is(&x->text, s, n, head))
            return x;
    }
}

const ew_spelling *ew_spell(const ew_dialect *d, unsigned vocabulary, const uint8_t *s, size_t n);

/*==== MARK: Memory of batches (slabs.c) ====*/

typedef struct ew_slab ew_slab;
typedef struct ew_pool ew_pool;

/* Keeps slabs that nobody uses for those who need one. */
ew_pool *ew_pool_new(void);
/* No more is taken from it. It goes with the last slab that came from it. */
void ew_pool_close(ew_pool *pool);
/* Memory with anything in it, from the last slab or a new one, of at least `usual` bytes; null if there is none. */
void *ew_slab_take(ew_pool *pool, ew_slab **slabs, size_t size, size_t usual);
/* Give all of them back, on any thread. */
void ew_slabs_free(ew_slab *slabs);

/*==== MARK: SBE (sbe.c) ====*/

typedef struct ew_buffer {
    uint8_t *bytes;
    size_t n, cap;
} ew_buffer;

/* Whether a payload is an SBE frame, as far as this dialect goes. */
bool ew_sbe_is(const ew_dialect *d, const uint8_t *payload, size_t n);
/* Write an SBE frame as the JSON of the same message. The buffer grows when it has to. */
ew_status ew_sbe_render(const ew_dialect *d, const uint8_t *frame, size_t n, ew_buffer *out, ew_error *error);

#endif
