/* Learned paths: what let most messages pass without being parsed.
 *
 * A venue sends the keys of an event in the same order, so the text between two values is nearly always text that was
 * there before. A graph holds what was seen: a node for each value, an edge for the text that leads from one value to
 * another. An edge may run over values that hardly change ("f":"GTC","m":false,"P":"0.00000000"); it then carries what
 * they store. Following a payload along a graph is a few wide compares and the conversion of the values between them.
 *
 * Learning (learn.c) takes messages that the general parser (decode.c) has decoded; following (follow.c) either gives
 * exactly what the general parser would give or gives up, and then the general parser decodes the message. What makes
 * that hold:
 *   - texts on edges were checked as part of a whole message, and open and close the same containers wherever the edge
 *     is taken, because a node stands for one key of one object;
 *   - within an object edges lead only from lower to higher ranks, so no key can come twice;
 *   - values that tell events and envelopes apart are never converted: they are part of the edges' texts;
 *   - the text of an edge begins where a whole value has ended, so that what a value is followed by is always looked at;
 *   - a value that is anything but plain (escapes, unknown words, numbers that do not fit) makes following give up.
 * Memory is bounded by the limits below; what does not fit is not learned.
 */
#ifndef EW_PATHS_H
#define EW_PATHS_H

#include "internal.h"

#define EW_GRAPHS 32     /* of one decoder */
#define EW_NODES 256     /* of one graph */
#define EW_RUNS 64       /* edges of one node that run over values */
#define EW_STEPS 8       /* edges of one node to the very next value */
#define EW_ARENA (1u << 20) /* bytes for all that is followed, of one decoder */
#define EW_TEXT (1u << 17)  /* bytes of nodes' names */
#define EW_REACH 192        /* bytes of an edge's text */
#define EW_AHEAD EW_PADDING /* that following reads, from behind a value, without a look at the payload's end */
_Static_assert(EW_REACH + 64 <= EW_AHEAD, "a text, and a value behind it");
#define EW_OPS 2           /* fields that one value gives */
#define EW_PENDING 16      /* fields with alternatives */
#define EW_STAGES 4        /* emits of one event */
#define EW_FOLLOWED 1024   /* records of one message; those with more are for the general parser */
#define EW_NOBODY UINT8_MAX

/* A field that a value gives. */
typedef struct ew_op {
    ew_rule rule;
    uint8_t stage;       /* 0: the record being made; else the emit, from 1, whose records get it in the end */
    uint8_t pending;     /* number among the fields with alternatives, or EW_NOBODY */
    uint8_t choice;      /* twice the number of the alternative, from 1, and one more if it shows when it is not taken */
} ew_op;

/* How a node's value is converted: for one field of the record being made, in strings and (+1) bare, or step by step. */
typedef enum ew_shape {
    EW_SHAPE_PASS, EW_SHAPE_PASS_BARE, /* nobody takes it */
    EW_SHAPE_DEC, EW_SHAPE_DEC_BARE,
    EW_SHAPE_SIGNED, EW_SHAPE_SIGNED_BARE, /* decimals that were negative before */
    EW_SHAPE_TIME, /* either */
    EW_SHAPE_ID, EW_SHAPE_ID_BARE,
    EW_SHAPE_TEXT_16, EW_SHAPE_TEXT_32,
    EW_SHAPE_U16, /* bare */
    EW_SHAPE_RIVAL_TIME,  /* either; a field with alternatives */
    EW_SHAPE_SHARED_TIME, /* either, of all ops, which are for stages */
    EW_SHAPE_SHARED_TEXT_32, /* in a string, for one stage */
    EW_SHAPE_ANY
} ew_shape;

/* What is followed lies close together, in the order in which it was learned: most messages find it in the nearest
 * cache, and a cold one does not touch much. */
#define EW_FLAGS_AT 56 /* words of `missing` bits also hold the record's flags, from this bit on */

typedef struct ew_path_node {
    struct ew_edge *likely; /* what comes next: mostly this, */
    struct ew_path_node *ahead; /* its target, which then need not be looked up, */
    struct ew_edge *second; /* or this (or null). Where likely is null, because there are too many forms, */
    struct ew_forecast *forecast; /* this tells which of them it is; or null */
    struct ew_branch *runs;  /* the texts that lead on from here as far as they may, a radix tree */
    struct ew_branch *steps; /* those to the very next value, for when no run fits */
    struct ew_facts *facts;
    uint16_t offset;   /* of the field, for values of a common shape */
    uint8_t shape;     /* ew_shape */
    uint8_t len;       /* bytes of likely's text */
    uint8_t usual;     /* bytes of the last value, where these hardly change */
} ew_path_node;

/* Which edge comes next, told by bytes of the text behind a value: no jump depends on what it says, so that a stream
 * whose words (sides, statuses, types) nobody can predict does not stop the processor for each of them. It may be
 * wrong: the edge's whole text is compared. */
#define EW_FORECASTS 64
#define EW_FORESEE 7 /* first after so many messages, and then each time after four times as many */
typedef struct ew_windows {
    uint64_t factors[2]; /* for eight bytes, of which the lowest count (see ew_factor), that are */
    uint8_t at[2];       /* here */
} ew_windows;

typedef struct ew_forecast {
    ew_windows windows;
    struct ew_edge *edges[EW_FORECASTS]; /* for each number that the windows may show */
    ew_path_node *targets[EW_FORECASTS]; /* theirs */
    uint8_t lens[EW_FORECASTS];          /* of their texts */
} ew_forecast;

/* By which n bytes of a window count; those above them go beyond the product's end. */
static inline uint64_t ew_factor(unsigned window, unsigned n)
{
    return (window ? UINT64_C(0xc2b2ae3d27d4eb4f) : UINT64_C(0x9e3779b97f4a7c15)) << (64 - 8 * n);
}

static inline size_t ew_number(const ew_windows *w, const uint8_t *s)
{
    return (ew_load(s + w->at[0]) * w->factors[0] + ew_load(s + w->at[1]) * w->factors[1]) >> 58;
}

/* Sixteen bytes of a record: a decimal, or two words of a text or an id. */
typedef struct ew_store {
    uint8_t value[16];
    uint32_t offset;
} ew_store;

/* What following does behind a text. */
typedef struct ew_edge {
    uint64_t given[2]; /* present, missing (and flags), that its values give the record being made; and, without turns,
                          what the value behind it will (see ew_facts) */
    uint8_t codes[16]; /* enums and bools (ew_codes_at) */
    ew_path_node *target; /* null: the payload's end */
    uint32_t wanted;  /* a bit for each of the text's first 32 bytes */
    uint32_t uses;    /* seen, or supposed */
    uint8_t len;      /* of the text */
    uint8_t n_stores;
    uint8_t turns;    /* one of these is set, or there is no target: */
    uint8_t new_keys; /* keys in the text that the dialect does not know */
    uint8_t opens;    /* emit, from 1, of the record that is begun behind this text */
    uint8_t closes;   /* the record being made is complete */
    uint8_t marks;    /* the text holds the first (1), the last (2) byte of the record's object, at these places: */
    uint8_t begin_at, end_at;
    uint16_t stores_at; /* bytes from the edge's beginning */
    bool plain;       /* neither stores nor turns */
    bool unsteady;    /* runs over a value that is constant now and then: not foreseen */
    _Alignas(8) uint8_t text[]; /* and zeros, to a multiple of 32 bytes; then the stores */
} ew_edge;

static inline ew_store *ew_stores(const ew_edge *e)
{
    return (ew_store *)((uintptr_t)e + e->stores_at);
}

/* A stretch of text that several edges of a node may share, and what may follow it. */
#define EW_STRETCH 32 /* bytes of it at most, and bytes that can be read */
typedef struct ew_branch {
    struct ew_branch *first; /* what may follow, or null */
    struct ew_branch *next;  /* instead of this, beginning with another byte; or null */
    ew_edge *edge;           /* whose text ends here, or null */
    uint32_t wanted;         /* a bit for each byte of the text */
    uint16_t uses;           /* by messages that were learned from */
    uint8_t len;     /* bytes of the text */
    uint8_t text[];
} ew_branch;

/* What learning knows about a node. */
typedef struct ew_facts {
    uint64_t given[2]; /* present, missing (and flags), that a plain value gives; edges that lead here say so already */
    ew_path_node *node;
    ew_forecast *forecast; /* made once, for whenever the node has one; or null */
    uint8_t quoted;  /* the value is a string */
    uint8_t in_row;  /* a value of a record's own object */
    uint8_t n_ops;
    uint8_t negative; /* decimals were */
    ew_op ops[EW_OPS];
    uint8_t n_runs, n_steps;   /* edges from here */
    uint16_t rank;             /* place in the order of keys */
    uint32_t name, name_len, name_hash; /* the key's path, in the text */
    uint32_t values[4];        /* hashes of texts seen here, 0 where none */
    uint8_t varied;            /* too many to take them for constants */
} ew_facts;

/* What every record of an emit begins with. */
typedef struct ew_start {
    _Alignas(16) uint64_t given[2]; /* as edges have it */
    uint8_t codes[16];
    ew_header header;
    uint16_t codes_at; /* ew_codes_at its kind */
} ew_start;

#define EW_END 0 /* node 0 of a graph stands for the payload's end; node 1 for its beginning */
#define EW_BEGIN 1

typedef struct ew_graph {
    uint16_t event; /* from 0 */
    uint16_t n_nodes;
    uint8_t own;       /* the event's one record is the event object; else */
    uint8_t n_stages;  /* of so many kinds, with fields that the event gives */
    uint8_t n_pending; /* fields with alternatives */
    uint16_t fixed_pending;  /* those of them that edges hold: no other alternative can come to this graph */
    uint16_t pending_rule[EW_PENDING];
    uint64_t strong[EW_STAGES];     /* fields whose value from the event goes before the row's own */
    ew_start starts[EW_STAGES];
    uint64_t signature;
    uint32_t hits;     /* messages; old ones count less */
    uint16_t foreseen; /* the node whose forecast is made anew */
    uint32_t due, pause; /* after so many messages; and behind the last node */
    ew_facts *facts;          /* EW_NODES of them */
    uint16_t order[EW_NODES]; /* nodes by rank */
} ew_graph;

typedef struct ew_paths {
    const ew_dialect *dialect;
    ew_graph *graphs[EW_GRAPHS]; /* the most useful first */
    uint32_t n_graphs;
    ew_graph *all_graphs; /* EW_GRAPHS of them, and */
    ew_facts *facts;      /* their nodes' */
    void *desk;           /* room for learning */
    uint32_t n_edges;     /* learned so far */
    uint8_t *arena;
    uint32_t n_arena;
    uint8_t *text;
    uint32_t n_text;
    ew_record stages[EW_STAGES];
    ew_record nobody; /* what is stored between records */
    uint8_t tail[2 * EW_AHEAD]; /* a payload's last bytes, and zeros */
} ew_paths;

/* Where records go, and what decoding them depends on but the payload. */
typedef struct ew_sink {
    ew_record *records;
    size_t n, cap; /* following gives up where there is no room for more */
    uint64_t new_keys;
    uint32_t slow; /* values that a run might have covered */
    bool padded;   /* EW_PADDING bytes can be read behind the payload */
    int64_t ts_recv;
} ew_sink;

/* Decode a payload along what was learned. False: nothing is known about it, and what is in the sink means nothing. */
typedef bool ew_follow(ew_paths *paths, const uint8_t *payload, size_t n, ew_sink *sink);
ew_follow ew_follow_scalar, ew_follow_sse4, ew_follow_avx2, ew_follow_neon;
/* The one for an instruction set, null if this machine does not have it; for a null name the best. */
ew_follow *ew_follow_for(const char *name);

/* A message as the general parser has understood it: one frame that held one event. */
typedef struct ew_lesson {
    const uint8_t *payload;
    size_t n;
    const ew_token *tokens;
    uint32_t n_tokens;
    uint32_t frame, event;
    uint16_t number; /* of the event, from 0 */
    const struct ew_lesson_row {
        uint32_t token;
        uint8_t emit; /* from 0 */
    } *rows;          /* in the order of the records */
    uint32_t n_rows;
} ew_lesson;

ew_paths *ew_paths_new(const ew_dialect *dialect);
void ew_paths_free(ew_paths *paths);
/* A piece of the arena, cleared, or null. Nodes and edges begin with a cache line: less is touched for a message. */
void *ew_piece(ew_paths *paths, size_t n);
/* True if that taught anything. */
bool ew_learn(ew_paths *paths, const ew_lesson *lesson);
/* Expect nothing behind a node but this edge (or null). */
static inline void ew_expect(ew_path_node *node, ew_edge *e)
{
    node->likely = e;
    node->ahead = e ? e->target : NULL;
    node->len = e ? e->len : 0;
    node->second = NULL;
    node->forecast = NULL;
}
/* Expect behind one more node of a graph what came there until now; false if that was the last. A message waits for one
 * of them, not for all. */
bool ew_foresee(ew_paths *paths, ew_graph *graph);

/* The conversion of one plain value: `quoted` strings without escapes (s behind the opening quote), else a number or
 * literal. Returns the byte behind the value (for strings: the closing quote), null if it is not plain; *exact tells
 * whether the field then holds the value exactly. */
const uint8_t *ew_convert(const ew_dialect *dialect, const ew_rule *rule, bool quoted, const uint8_t *s,
                          const uint8_t *end, ew_record *record, bool *exact);
/* The end of a value that nobody takes, null if it is not plain. */
const uint8_t *ew_pass(bool quoted, const uint8_t *s, const uint8_t *end);

#endif
