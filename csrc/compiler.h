/* What compiles a table into a dialect: for the lines of records (dialect.c) and those of SBE layouts
 * (dialect_sbe.c). */
#ifndef EW_COMPILER_H
#define EW_COMPILER_H

#include "internal.h"

#include <stdlib.h>

#define MAX_GROUPS 4 /* of SBE, in each other */

/* The keys an event names, as a tree, before it is flattened into nodes and entries. */
typedef struct branch {
    ew_word key;
    uint32_t first, last, next; /* children, in order; sibling */
    uint16_t slot;
    uint8_t rows;
} branch;

typedef struct compiler {
    ew_dialect *d;
    ew_error *error;
    size_t line;
    branch *branches;
    uint32_t n_branches;
    ew_event *event;    /* the open event and emit; lists may move, so set anew after growing them */
    ew_emit *emit;
    ew_envelope *envelope;
    uint32_t event_root, row_root;
    uint32_t first_alternative; /* of the open event */
    struct ew_list frame_keys;  /* words that paths in the frame begin with */
    struct ew_list entry_keys;  /* of the dialect's entries */
    uint32_t groups[MAX_GROUPS]; /* SBE items: the open ones */
    unsigned n_groups;
    bool failed;
} compiler;

/* What reads a line that begins with a word. */
typedef struct ew_directive {
    const char *name;
    int least, most; /* words */
    void (*read)(compiler *c, char **w, int n);
} ew_directive;

/* Those of SBE layouts; behind the last one there is one without a name. */
extern const ew_directive ew_sbe_directives[];

static inline void fault(compiler *c, const char *message)
{
    if (!c->failed)
        ew_fail(c->error, EW_ERR_TABLE, message, c->line);
    c->failed = true;
}

/* One more zeroed item at the end of a list; null when memory or 16-bit numbers run out. */
static inline void *append(compiler *c, struct ew_list *list, size_t size)
{
    if (list->n == list->cap) {
        uint32_t cap = list->cap ? list->cap * 2 : 16;
        void *items = cap > UINT16_MAX + 1u ? NULL : realloc(list->items, cap * size);
        if (!items) {
            fault(c, "the dialect is too large");
            return NULL;
        }
        list->items = items;
        list->cap = cap;
    }
    void *item = (char *)list->items + list->n++ * size;
    memset(item, 0, size);
    return item;
}
#define APPEND(c, list, type) ((type *)append(c, &(c)->d->list, sizeof(type)))

static inline ew_word word(const char *s)
{
    size_t n = strlen(s);
    return (ew_word){s, ew_head((const uint8_t *)s, n, (const uint8_t *)s + n), (uint32_t)n, 0};
}

#endif
