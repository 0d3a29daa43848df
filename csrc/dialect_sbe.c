/* The lines of a dialect's table that lay out SBE messages (dialect.c says what they are). */
#include "compiler.h"

#include <stdio.h>

static bool read_number(compiler *c, const char *text, uint64_t most, uint16_t *out)
{
    uint64_t v = 0;
    if (!ew_plain_u64((const uint8_t *)text, strlen(text), &v) || v > most)
        fault(c, "not a number, or too large");
    *out = (uint16_t)v;
    return !c->failed;
}

/* A key or text that JSON writes as it is. */
static ew_word plain(compiler *c, const char *text)
{
    for (const char *s = text; *s; s++)
        if (*s == '"' || *s == '\\' || (unsigned char)*s < ' ')
            fault(c, "a text that JSON would have to escape");
    return word(text);
}

static ew_word json(compiler *c, const char *text)
{
    ew_tape tape = {0};
    ew_error error;
    if (*text && ew_scan((const uint8_t *)text, strlen(text), &tape, &error))
        fault(c, "a word that is not JSON");
    ew_tape_free(&tape);
    return word(text);
}

static ew_sbe_item *new_item(compiler *c, ew_sbe_type type, const char *key)
{
    if (!c->d->sbe_messages.n) {
        fault(c, "outside an sbe-message");
        return NULL;
    }
    ew_sbe_item *item = APPEND(c, sbe_items, ew_sbe_item);
    if (!item)
        return NULL;
    *item = (ew_sbe_item){.type = (uint8_t)type, .key = plain(c, key)};
    if (item->key.len > EW_SBE_KEY)
        fault(c, "a key that is too long");
    snprintf(item->member, sizeof item->member, "\"%s\":", key);
    ew_sbe_message *m = EW_AT(c->d->sbe_messages, ew_sbe_message, c->d->sbe_messages.n - 1);
    const ew_sbe_item *first = EW_AT(c->d->sbe_items, ew_sbe_item, m->first);
    if (m->n++ && !c->n_groups && ((type == EW_SBE_GROUP && !*key) || (first->type == EW_SBE_GROUP && !first->key.len)))
        fault(c, "a group without a key that is not all of its message");
    for (unsigned i = 0; i < c->n_groups; i++)
        EW_AT(c->d->sbe_items, ew_sbe_item, c->groups[i])->detail++;
    return item;
}

static void read_sbe_schema(compiler *c, char **w, int n)
{
    (void)n;
    uint16_t *id = APPEND(c, sbe_schemas, uint16_t);
    if (id)
        read_number(c, w[1], UINT8_MAX, id);
}

static void read_sbe_name(compiler *c, char **w, int n)
{
    (void)n;
    c->d->sbe_name = plain(c, w[1]);
}

static void read_sbe_enum(compiler *c, char **w, int n)
{
    (void)n;
    ew_sbe_vocabulary *v = APPEND(c, sbe_vocabularies, ew_sbe_vocabulary);
    if (v)
        *v = (ew_sbe_vocabulary){w[1], c->d->sbe_texts.n, 0};
}

static void read_sbe_text(compiler *c, char **w, int n)
{
    (void)n;
    uint16_t value;
    if (!c->d->sbe_vocabularies.n) {
        fault(c, "sbe-text outside an sbe-enum");
        return;
    }
    ew_sbe_text *t = read_number(c, w[1], UINT8_MAX, &value) ? APPEND(c, sbe_texts, ew_sbe_text) : NULL;
    if (!t)
        return;
    *t = (ew_sbe_text){plain(c, w[2]), (uint8_t)value};
    EW_AT(c->d->sbe_vocabularies, ew_sbe_vocabulary, c->d->sbe_vocabularies.n - 1)->n++;
}

static void read_sbe_message(compiler *c, char **w, int n)
{
    if (c->n_groups)
        fault(c, "the group above has no sbe-end");
    ew_sbe_message *m = APPEND(c, sbe_messages, ew_sbe_message);
    if (!m)
        return;
    m->first = c->d->sbe_items.n;
    if (n == 3)
        m->under = plain(c, w[2]);
    read_number(c, w[1], UINT16_MAX, &m->template);
}

static void read_sbe_enter(compiler *c, char **w, int n)
{
    (void)n;
    if (c->d->sbe_messages.n)
        EW_AT(c->d->sbe_messages, ew_sbe_message, c->d->sbe_messages.n - 1)->enter = plain(c, w[1]);
    else
        fault(c, "outside an sbe-message");
}

static void read_sbe_const(compiler *c, char **w, int n)
{
    (void)n;
    ew_sbe_item *item = new_item(c, EW_SBE_CONSTANT, w[1]);
    if (item)
        item->absent = json(c, w[2]);
}

static void read_sbe_field(compiler *c, char **w, int n)
{
    static const struct { const char *name; uint8_t type, size; } types[] = {
        {"i8", EW_SBE_INT, 1},   {"i16", EW_SBE_INT, 2},   {"i32", EW_SBE_INT, 4},      {"i64", EW_SBE_INT, 8},
        {"u8", EW_SBE_UINT, 1},  {"u16", EW_SBE_UINT, 2},  {"u32", EW_SBE_UINT, 4},     {"u64", EW_SBE_UINT, 8},
        {"bool", EW_SBE_BOOL, 1}, {"enum", EW_SBE_ENUM, 1}, {"dec", EW_SBE_DECIMAL, 8}, {"exp", EW_SBE_CONSTANT, 1},
    };
    size_t i = 0;
    while (i < sizeof types / sizeof *types && strcmp(w[3], types[i].name) != 0)
        i++;
    if (i == sizeof types / sizeof *types) {
        fault(c, "no such type of an SBE field");
        return;
    }
    const bool outside = strncmp(w[1], "//", 2) == 0;
    ew_sbe_item *item = new_item(c, types[i].type, w[1] + (outside ? 2 : 0));
    if (!item || !read_number(c, w[2], UINT16_MAX - 8, &item->offset))
        return;
    item->size = types[i].size;
    item->outside = outside;
    uint16_t end = (uint16_t)(item->offset + item->size);
    uint16_t *block = c->n_groups
                          ? &EW_AT(c->d->sbe_items, ew_sbe_item, c->groups[c->n_groups - 1])->block
                          : &EW_AT(c->d->sbe_messages, ew_sbe_message, c->d->sbe_messages.n - 1)->block;
    *block = end > *block ? end : *block;
    if (outside && c->n_groups)
        fault(c, "a field of the frame inside a group");
    if (item->type == EW_SBE_CONSTANT)
        return;
    if (n == 6)
        item->absent = json(c, w[5]);
    if (item->type == EW_SBE_DECIMAL && n > 4)
        read_number(c, w[4], UINT16_MAX, &item->detail);
    uint32_t v = 0;
    while (item->type == EW_SBE_ENUM && n > 4 && v < c->d->sbe_vocabularies.n &&
           strcmp(EW_AT(c->d->sbe_vocabularies, ew_sbe_vocabulary, v)->name, w[4]) != 0)
        v++;
    if (item->type == EW_SBE_ENUM)
        item->detail = (uint16_t)v;
    if ((item->type == EW_SBE_ENUM && v == c->d->sbe_vocabularies.n) || (item->type == EW_SBE_DECIMAL && n == 4))
        fault(c, "no such sbe-enum, or no exponent");
}

/* The bytes of a count or length. */
static void read_size(compiler *c, ew_sbe_item *item, const char *text)
{
    if (strcmp(text, "1") != 0 && strcmp(text, "2") != 0 && strcmp(text, "4") != 0)
        fault(c, "sizes are 1, 2 or 4 bytes long");
    item->size = (uint8_t)(*text - '0');
}

static void read_sbe_group(compiler *c, char **w, int n)
{
    (void)n;
    ew_sbe_item *item = c->n_groups < MAX_GROUPS ? new_item(c, EW_SBE_GROUP, w[1]) : NULL;
    if (!item) {
        fault(c, "groups nested too deeply");
        return;
    }
    if (!*w[1] && c->n_groups)
        fault(c, "a group without a key inside a group");
    read_size(c, item, w[2]);
    c->groups[c->n_groups++] = c->d->sbe_items.n - 1;
}

static void read_sbe_end(compiler *c, char **w, int n)
{
    (void)w;
    (void)n;
    if (c->n_groups)
        c->n_groups--;
    else
        fault(c, "sbe-end without an sbe-group");
}

static void read_sbe_data(compiler *c, char **w, int n)
{
    ew_sbe_item *item = new_item(c, strcmp(w[0], "sbe-data") == 0 ? EW_SBE_TEXT : EW_SBE_MESSAGE, w[1]);
    if (!item)
        return;
    read_size(c, item, w[2]);
    if (n == 4)
        item->absent = json(c, w[3]);
}

const ew_directive ew_sbe_directives[] = {
    {"sbe-schema", 2, 2, read_sbe_schema}, {"sbe-name", 2, 2, read_sbe_name}, {"sbe-enum", 2, 2, read_sbe_enum},
    {"sbe-text", 3, 3, read_sbe_text}, {"sbe-message", 2, 3, read_sbe_message}, {"sbe-enter", 2, 2, read_sbe_enter},
    {"sbe-const", 3, 3, read_sbe_const}, {"sbe-field", 4, 6, read_sbe_field}, {"sbe-group", 3, 3, read_sbe_group},
    {"sbe-end", 1, 1, read_sbe_end},   {"sbe-data", 3, 4, read_sbe_data}, {"sbe-nested", 3, 3, read_sbe_data},
    {NULL, 0, 0, NULL},
};
