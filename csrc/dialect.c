/* A venue's dialect, compiled from a table of text.
 *
 * The table is lines of words separated by tabs; the first word says what the line is:
 *
 *   execwire 1                     the format's version; must be the first line
 *   name     NAME
 *   prompt   CODE TEXT             a whole payload of plain text, and the notice it gives
 *   enum     VOCABULARY TEXT WORD  a venue's text and our word for it; VOCABULARY as in ew_field
 *   envelope ENTER [KEY...]        frames that hold the event under ENTER and have the other keys too
 *   wrapper  PATH                  another known key of the frames of the envelope above
 *   common   FIELD PATH...         a field of the notices that stand for unknown events and for events without a row
 *   event    NAME
 *   when     PATH [TEXT...]        what PATH must hold; <any>, <object>, <array>, <string>, <number>, <bool> and <null>
 *                                  stand for types. All lines of an event must hold; the first tells events apart
 *   emit     KIND [ROWS]           records of KIND, one for each object at ROWS, or one for the event itself
 *   field    FIELD PATH...         where the record's field comes from: the first path that is there
 *   const    FIELD WORD            a field that always holds the same word
 *   known    PATH                  a documented key that no field takes
 *   sample   PAYLOAD               a payload as it comes, for decoders to learn from (ew_rehearse)
 *
 * Paths are keys joined by dots; a number takes an element of an array. They begin at the row; with "/" at the event's
 * object, with "//" at the frame. `known` before the first emit of an event begins at the event's object.
 *
 * Layouts of SBE messages, which sbe.c writes as JSON under the keys given here:
 *
 *   sbe-schema  ID                 a schema that the layouts are for; may come again. Below 256
 *   sbe-name    KEY                the key for the name of a message without a layout
 *   sbe-enum    NAME
 *   sbe-text    VALUE TEXT         of the enum above
 *   sbe-message TEMPLATE [KEY]     KEY: what it stands under where another message holds it
 *   sbe-enter   KEY                the message above has its content in an object of its own
 *   sbe-const   KEY JSON
 *   sbe-field   KEY OFFSET TYPE [OF [JSON]]
 *                                  of the block. TYPE: i8 ... i64, u8 ... u64, bool, enum (OF is its name), dec (OF is
 *                                  the offset of its exponent), exp (no value of its own). JSON for null, without it
 *                                  the key is left out. With "//" the key stands in the frame, not in the object of
 *                                  sbe-enter
 *   sbe-group   KEY BYTES          fields, groups and data up to sbe-end are those of an entry; BYTES of the count. A
 *                                  message may be one group without a KEY: the array is all of it
 *   sbe-end
 *   sbe-data    KEY BYTES [JSON]   a text; BYTES of its length. JSON for the empty one, "" leaves the key out
 *   sbe-nested  KEY BYTES          a message; none at all leaves the key out
 */
#include "compiler.h"

/*==== MARK: Building blocks ====*/

#define MAX_BRANCHES 4096

/* A power of two, at least twice n. */
static uint32_t table_size(uint32_t n)
{
    uint32_t size = 4;
    while (size < 2 * n)
        size *= 2;
    return size;
}

/*==== MARK: Paths ====*/

static ew_path path(compiler *c, char *text)
{
    ew_path p = {(uint16_t)c->d->segments.n, 0, EW_SCOPE_ROW};
    while (*text == '/' && p.scope < EW_SCOPE_FRAME) {
        text++;
        p.scope++;
    }
    for (char *dot; text; text = dot ? dot + 1 : NULL) {
        if ((dot = strchr(text, '.')))
            *dot = 0;
        ew_word *w = APPEND(c, segments, ew_word);
        if (!w)
            return p;
        if (!*text)
            fault(c, "a path with an empty key");
        *w = word(text);
        ew_word *key = p.scope == EW_SCOPE_FRAME && !p.n ? append(c, &c->frame_keys, sizeof *key) : NULL;
        if (key)
            *key = *w;
        p.n++;
    }
    return p;
}

/* The branch of a key below another, made where it is not there yet; 0 on failure. */
static uint32_t sprout(compiler *c, uint32_t at, const ew_word *w)
{
    uint32_t b = c->branches[at].first;
    while (b && !ew_word_is(&c->branches[b].key, (const uint8_t *)w->s, w->len, w->head))
        b = c->branches[b].next;
    if (b)
        return b;
    if (c->n_branches == MAX_BRANCHES) {
        fault(c, "an event with too many keys");
        return 0;
    }
    b = c->n_branches++;
    c->branches[b] = (branch){.key = *w};
    if (c->branches[at].first)
        c->branches[c->branches[at].last].next = b;
    else
        c->branches[at].first = b;
    c->branches[at].last = b;
    return b;
}

/* The branch of a path below a root; 0 on failure. */
static uint32_t plant(compiler *c, uint32_t at, ew_path p)
{
    for (uint16_t i = 0; i < p.n && !c->failed; i++)
        at = sprout(c, at, EW_AT(c->d->segments, ew_word, p.first + i));
    return c->failed ? 0 : at;
}

static bool is_index(const branch *b) { return b->key.len == 1 && *b->key.s >= '0' && *b->key.s <= '9'; }

/* What is known below one branch becomes known below another. */
static void graft(compiler *c, uint32_t into, uint32_t from, bool indices)
{
    for (uint32_t b = c->branches[from].first; b && !c->failed; b = c->branches[b].next) {
        if (c->branches[b].rows)
            fault(c, "rows beside a path with an index");
        else if (indices || !is_index(&c->branches[b]))
            graft(c, sprout(c, into, &c->branches[b].key), b, true);
    }
}

/* Paths step through arrays without naming an index: they go for the elements that other paths name by theirs too. */
static void graft_indices(compiler *c, uint32_t root)
{
    for (uint32_t b = c->branches[root].first; b && !c->failed; b = c->branches[b].next) {
        if (is_index(&c->branches[b]))
            graft(c, b, root, false);
        graft_indices(c, b);
    }
}

static bool same_path(const ew_dialect *d, ew_path a, ew_path b)
{
    for (uint16_t i = 0; i < a.n && a.n == b.n; i++)
        if (strcmp(EW_AT(d->segments, ew_word, a.first + i)->s, EW_AT(d->segments, ew_word, b.first + i)->s) != 0)
            return false;
    return a.n == b.n;
}

static uint32_t new_root(compiler *c)
{
    if (c->n_branches == MAX_BRANCHES) {
        fault(c, "an event with too many keys");
        return 0;
    }
    c->branches[c->n_branches] = (branch){0};
    return c->n_branches++;
}

/* Flatten a branch's children into a node; slots count up from *slots. Returns the node's number. */
static uint16_t flatten(compiler *c, uint32_t root, uint16_t *slots)
{
    ew_dialect *d = c->d;
    uint32_t first = d->entries.n, number = d->nodes.n, n = 0;

    if (!APPEND(c, nodes, ew_node))
        return 0;
    for (uint32_t b = c->branches[root].first; b; b = c->branches[b].next, n++)
        if (!APPEND(c, entries, ew_entry) || !append(c, &c->entry_keys, sizeof(ew_word)))
            return 0;
    if (n > UINT8_MAX) {
        fault(c, "an object with too many keys");
        return 0;
    }
    uint32_t size = table_size(n), lookup = d->cells.n, i = 0;
    for (uint32_t k = 0; k < size; k++)
        if (!APPEND(c, cells, uint8_t))
            return 0;
    for (uint32_t b = c->branches[root].first; b; b = c->branches[b].next, i++) {
        branch *branch_ = &c->branches[b];
        if (*slots == EW_MAX_SLOTS) {
            fault(c, "an event with too many keys");
            return 0;
        }
        branch_->slot = (*slots)++;
        uint16_t child = branch_->first ? flatten(c, b, slots) : 0;
        if (c->failed)
            return 0;
        *EW_AT(d->entries, ew_entry, first + i) = (ew_entry){0, branch_->slot, *slots, child, branch_->rows};
        *EW_AT(c->entry_keys, ew_word, first + i) = branch_->key;
    }
    *EW_AT(d->nodes, ew_node, number) = (ew_node){first, (uint16_t)n, (uint16_t)(size - 1), lookup};
    return (uint16_t)number;
}

/*==== MARK: Vocabularies ====*/

/* The words of a vocabulary, from the first field that uses it. */
static const ew_field *vocabulary_field(const char *name)
{
    for (unsigned kind = EW_NONE + 1; kind < EW_KINDS; kind++) {
        size_t n;
        const ew_field *f = ew_fields(kind, &n);
        for (size_t i = 0; i < n; i++)
            if (*f[i].vocabulary && strcmp(f[i].vocabulary, name) == 0)
                return &f[i];
    }
    return NULL;
}

static int code_of(const ew_field *f, const char *text)
{
    for (int i = 0; i < f->n_words; i++)
        if (strcmp(f->words[i], text) == 0)
            return i;
    return -1;
}

/* Number of a vocabulary within the dialect. */
static int vocabulary(compiler *c, const char *name)
{
    ew_dialect *d = c->d;
    int i = 0;
    while (i < d->n_vocabularies && strcmp(d->vocabularies[i].name, name) != 0)
        i++;
    if (i == EW_VOCABULARIES) {
        fault(c, "too many vocabularies");
        return 0;
    }
    if (i == d->n_vocabularies)
        d->vocabularies[d->n_vocabularies++].name = name;
    return i;
}

static bool same_but_for_case(const char *a, const char *b)
{
    for (; *a && *b; a++, b++)
        if ((*a >= 'A' && *a <= 'Z' ? *a | 0x20 : *a) != (*b >= 'A' && *b <= 'Z' ? *b | 0x20 : *b))
            return false;
    return *a == *b;
}

/* Spellings arrive in any order: sort them by vocabulary, the last one of a text counting, and index each. */
static void index_spellings(compiler *c, const uint8_t *vocabulary_of)
{
    ew_dialect *d = c->d;
    struct ew_list all = d->spellings;
    d->spellings = (struct ew_list){0};
    for (int v = 0; v < d->n_vocabularies && !c->failed; v++) {
        ew_vocabulary *voc = &d->vocabularies[v];
        voc->first = (uint16_t)d->spellings.n;
        for (uint32_t i = 0; i < all.n && !c->failed; i++) {
            const ew_spelling *s = EW_AT(all, ew_spelling, i);
            if (vocabulary_of[i] != v)
                continue;
            bool again = false;
            for (uint32_t k = 0; k < voc->n && !again; k++) {
                ew_spelling *old = EW_AT(d->spellings, ew_spelling, voc->first + k);
                if ((again = ew_word_is(&old->text, (const uint8_t *)s->text.s, s->text.len, s->text.head)))
                    *old = *s;
            }
            ew_spelling *copy = again ? NULL : APPEND(c, spellings, ew_spelling);
            if (copy) {
                *copy = *s;
                voc->n++;
            }
        }
        uint32_t size = table_size(voc->n);
        voc->mask = (uint16_t)(size - 1);
        voc->lookup = d->cells.n;
        for (uint32_t k = 0; k < size && !c->failed; k++)
            APPEND(c, cells, uint8_t);
        if (voc->n > UINT8_MAX)
            fault(c, "too many texts in one vocabulary");
        for (uint32_t k = 0; k < voc->n && !c->failed; k++) {
            const ew_spelling *s = EW_AT(d->spellings, ew_spelling, voc->first + k);
            uint8_t *cells = EW_AT(d->cells, uint8_t, voc->lookup);
            uint32_t h = ew_hash(s->text.head, s->text.len);
            while (cells[h & voc->mask])
                h++;
            cells[h & voc->mask] = (uint8_t)(k + 1);
        }
    }
    free(all.items);
}

/*==== MARK: Lines ====*/

static uint8_t type_of(const char *text)
{
    static const struct { const char *text; uint8_t types; } names[] = {
        {"<any>", EW_ANY},
        {"<object>", 1 << EW_TOK_OBJECT},
        {"<array>", 1 << EW_TOK_ARRAY},
        {"<string>", 1 << EW_TOK_STRING},
        {"<number>", 1 << EW_TOK_NUMBER},
        {"<bool>", 1 << EW_TOK_TRUE | 1 << EW_TOK_FALSE},
        {"<null>", 1 << EW_TOK_NULL},
    };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(text, names[i].text) == 0)
            return names[i].types;
    return 0;
}

/* Where the rows of one emit lie inside the rows of another, the outer row has to know the key that leads to them. */
static void nest_rows(compiler *c)
{
    const ew_event *e = c->event;
    for (uint16_t i = 0; i < e->n_emits; i++) {
        for (uint16_t k = 0; k < e->n_emits; k++) {
            const ew_emit *outer = EW_AT(c->d->emits, ew_emit, e->first_emit + i);
            const ew_emit *inner = EW_AT(c->d->emits, ew_emit, e->first_emit + k);
            ew_path a = outer->rows, b = inner->rows;
            if (i == k || outer->own || inner->own || a.n >= b.n)
                continue;
            ew_path head = {b.first, a.n, 0}, rest = {(uint16_t)(b.first + a.n), (uint16_t)(b.n - a.n), 0};
            uint32_t branch_ = same_path(c->d, a, head) ? plant(c, outer->node, rest) : 0;
            if (branch_)
                c->branches[branch_].rows = EW_OTHER_ROWS;
        }
    }
}

/* Whether a rule just takes a field from a slot: it is the field's only one and has one path, not in the frame. */
static bool is_simple(const ew_rule *r, const ew_rule *rules, uint16_t n)
{
    bool simple = r->n == 1 && r->scope != EW_SCOPE_FRAME;
    for (uint16_t i = 0; i < n; i++)
        simple = simple && (&rules[i] == r || rules[i].bit != r->bit);
    return simple;
}

/* The simple rules of an emit come first, by type; the others stay in order. */
static void order_rules(compiler *c, ew_emit *e)
{
    ew_rule *const rules = EW_AT(c->d->rules, ew_rule, e->first_rule);
    ew_rule ordered[64];
    uint16_t n = 0;
    if (e->n_rules > 64) {
        fault(c, "a record with too many fields");
        return;
    }
    for (uint16_t i = 0; i < e->n_rules; i++) {
        const ew_alternative *first = EW_AT(c->d->alternatives, ew_alternative, rules[i].first);
        rules[i].slot = first->slot;
        rules[i].scope = first->scope;
    }
    for (unsigned type = 0; type <= EW_TYPE_TEXT; type++)
        for (uint16_t i = 0; i < e->n_rules; i++)
            if (rules[i].type == type && is_simple(&rules[i], rules, e->n_rules)) {
                ordered[n++] = rules[i];
                e->n_simple[type]++;
            }
    for (uint16_t i = 0; i < e->n_rules; i++)
        if (!is_simple(&rules[i], rules, e->n_rules))
            ordered[n++] = rules[i];
    if (n)
        memcpy(rules, ordered, n * sizeof *rules);
}

/* The slots are known only when the whole event is: until then alternatives hold the number of their branch. */
static void close_event(compiler *c)
{
    ew_dialect *d = c->d;
    if (!c->event || c->failed)
        return;
    nest_rows(c);
    graft_indices(c, c->event_root);
    for (uint16_t i = 0; i < c->event->n_emits && !c->failed; i++) {
        const ew_emit *emit = EW_AT(d->emits, ew_emit, c->event->first_emit + i);
        if (!emit->own)
            graft_indices(c, emit->node);
    }
    uint16_t slots = 0;
    uint16_t node = c->failed ? 0 : flatten(c, c->event_root, &slots);
    c->event->node = node;
    c->event->n_slots = slots;
    uint32_t root = c->event_root;
    for (uint16_t i = 0; i < c->event->n_emits && !c->failed; i++) {
        ew_emit *emit = EW_AT(d->emits, ew_emit, c->event->first_emit + i);
        if (emit->own) {
            emit->node = node;
            emit->n_slots = slots;
            continue;
        }
        root = emit->node; /* the row's root branch, until now */
        slots = 0;
        uint16_t row = flatten(c, root, &slots);
        emit = EW_AT(d->emits, ew_emit, c->event->first_emit + i);
        emit->node = row;
        emit->n_slots = slots;
    }
    for (uint32_t i = c->first_alternative; i < d->alternatives.n && !c->failed; i++) {
        ew_alternative *a = EW_AT(d->alternatives, ew_alternative, i);
        a->slot = c->branches[a->slot].slot;
    }
    for (uint16_t i = 0; i < c->event->n_emits && !c->failed; i++)
        order_rules(c, EW_AT(d->emits, ew_emit, c->event->first_emit + i));
    for (uint16_t i = 0; i < c->event->n_conditions && !c->failed; i++) {
        ew_condition *k = EW_AT(d->conditions, ew_condition, c->event->first_condition + i);
        k->slot = c->branches[k->slot].slot;
    }
    if (!c->failed && c->event->n_emits == 0)
        fault(c, "the event above has no emit");
    if (!c->failed && c->event->n_conditions == 0)
        fault(c, "the event above has no when");
    c->event = NULL;
    c->emit = NULL;
}

static void read_event(compiler *c, char **w, int n)
{
    (void)n;
    close_event(c);
    c->n_branches = 1; /* 0 is no branch */
    c->event_root = new_root(c);
    ew_event *e = APPEND(c, events, ew_event);
    if (!e)
        return;
    e->name = word(w[1]);
    e->first_condition = (uint16_t)c->d->conditions.n;
    e->first_emit = (uint16_t)c->d->emits.n;
    c->event = e;
    c->first_alternative = c->d->alternatives.n;
}

static void read_when(compiler *c, char **w, int n)
{
    if (!c->event) {
        fault(c, "when outside an event");
        return;
    }
    ew_condition *k = APPEND(c, conditions, ew_condition);
    if (!k)
        return;
    c->event->n_conditions++;
    k->path = path(c, w[1]);
    k->last_head = k->path.n ? EW_AT(c->d->segments, ew_word, k->path.first + k->path.n - 1)->head : 0;
    k->first = (uint16_t)c->d->words.n;
    k->slot = (uint16_t)plant(c, c->event_root, k->path);
    if (n == 2)
        k->types = EW_ANY;
    for (int i = 2; i < n; i++) {
        uint8_t types = type_of(w[i]);
        ew_word *text = types ? NULL : APPEND(c, words, ew_word);
        k->types |= types;
        if (text) {
            *text = word(w[i]);
            k->n++;
        }
    }
}

static void read_emit(compiler *c, char **w, int n)
{
    if (!c->event) {
        fault(c, "emit outside an event");
        return;
    }
    if (c->event->n_emits == EW_OTHER_ROWS - 1) {
        fault(c, "an event with too many emits");
        return;
    }
    ew_emit *e = APPEND(c, emits, ew_emit);
    if (!e)
        return;
    unsigned kind = EW_NONE + 1;
    while (kind < EW_KINDS && strcmp(ew_kind_name(kind), w[1]) != 0)
        kind++;
    if (kind == EW_KINDS) {
        fault(c, "no such kind of record");
        return;
    }
    e->kind = (uint8_t)kind;
    e->own = n < 3 || !*w[2];
    e->first_rule = (uint16_t)c->d->rules.n;
    e->first_constant = (uint16_t)c->d->constants.n;
    c->event->n_emits++;
    c->emit = e;
    if (e->own) {
        c->row_root = c->event_root;
        return;
    }
    ew_path p = e->rows = path(c, w[2]);
    uint32_t b = plant(c, c->event_root, p);
    if (b && c->branches[b].rows)
        fault(c, "two emits of one event with the same rows");
    if (b)
        c->branches[b].rows = (uint8_t)c->event->n_emits;
    c->row_root = new_root(c);
    e->node = (uint16_t)c->row_root;
}

/* A rule and its alternatives; `roots` are the branches its scopes begin at, 0 where only paths are wanted. */
static void rule(compiler *c, unsigned kind, char **w, int n, uint32_t row_root, uint32_t event_root)
{
    const ew_field *f = ew_find_field(kind, w[1], strlen(w[1]));
    size_t count;
    if (!f) {
        fault(c, "the kind has no such field");
        return;
    }
    ew_rule *r = APPEND(c, rules, ew_rule);
    if (!r)
        return;
    *r = (ew_rule){f->offset, f->size, f->type, (uint8_t)(f - ew_fields(kind, &count)), 0, (uint8_t)(n - 2),
                   (uint16_t)c->d->alternatives.n, EW_NO_SLOT, 0};
    if (*f->vocabulary)
        r->vocabulary = (uint8_t)vocabulary(c, f->vocabulary);
    for (int i = 2; i < n; i++) {
        ew_alternative *a = APPEND(c, alternatives, ew_alternative);
        if (!a)
            return;
        ew_path p = path(c, w[i]);
        uint32_t root = p.scope == EW_SCOPE_ROW ? row_root : event_root; /* without a wrapper the event is the frame */
        *a = (ew_alternative){p, root ? (uint16_t)plant(c, root, p) : EW_NO_SLOT, p.scope};
        if (p.scope == EW_SCOPE_ROW && root == event_root)
            a->scope = EW_SCOPE_EVENT;
    }
}

static void read_field(compiler *c, char **w, int n)
{
    if (!c->emit) {
        fault(c, "field outside an emit");
        return;
    }
    rule(c, c->emit->kind, w, n, c->row_root, c->event_root);
    c->emit->n_rules++;
}

static void read_common(compiler *c, char **w, int n)
{
    if (c->d->events.n) {
        fault(c, "common after the first event");
        return;
    }
    if (!ew_find_field(EW_NOTICE, w[1], strlen(w[1])))
        return;
    if (!c->d->n_common)
        c->d->first_common = (uint16_t)c->d->rules.n;
    rule(c, EW_NOTICE, w, n, 0, 0);
    c->d->n_common++;
}

static void read_const(compiler *c, char **w, int n)
{
    (void)n;
    if (!c->emit) {
        fault(c, "const outside an emit");
        return;
    }
    const ew_field *f = ew_find_field(c->emit->kind, w[1], strlen(w[1]));
    int code = f && f->words ? code_of(f, w[2]) : -1;
    size_t count;
    if (code < 0) {
        fault(c, "no such field or word");
        return;
    }
    ew_constant *k = APPEND(c, constants, ew_constant);
    if (!k)
        return;
    *k = (ew_constant){f->offset, (uint8_t)(f - ew_fields(c->emit->kind, &count)), (uint8_t)code};
    c->emit->n_constants++;
}

static void read_known(compiler *c, char **w, int n)
{
    (void)n;
    if (!c->event) {
        fault(c, "known outside an event");
        return;
    }
    ew_path p = path(c, w[1]);
    uint32_t root = p.scope == EW_SCOPE_ROW && c->emit ? c->row_root : c->event_root;
    plant(c, root, p);
}

static void read_envelope(compiler *c, char **w, int n)
{
    ew_envelope *e = APPEND(c, envelopes, ew_envelope);
    if (!e)
        return;
    *e = (ew_envelope){word(w[1]), (uint16_t)c->d->words.n, (uint16_t)(n - 2), 0, 0};
    for (int i = 2; i < n; i++) {
        ew_word *k = APPEND(c, words, ew_word);
        if (k)
            *k = word(w[i]);
    }
    e->first_known = (uint16_t)c->d->words.n;
    c->envelope = e;
}

static void read_wrapper(compiler *c, char **w, int n)
{
    (void)n;
    if (!c->envelope || c->envelope->first_known + c->envelope->n_known != c->d->words.n) {
        fault(c, "wrapper not after its envelope");
        return;
    }
    char *dot = strchr(w[1], '.');
    if (dot)
        *dot = 0; /* everything below the key is known too */
    ew_word *k = APPEND(c, words, ew_word);
    if (k) {
        *k = word(w[1]);
        c->envelope->n_known++;
    }
}

static void read_prompt(compiler *c, char **w, int n)
{
    (void)n;
    const ew_field *f = vocabulary_field("code");
    int code = code_of(f, w[1]);
    if (code < 0) {
        fault(c, "no such notice code");
        return;
    }
    ew_prompt *p = APPEND(c, prompts, ew_prompt);
    if (p)
        *p = (ew_prompt){word(w[2]), (uint8_t)code};
}

static void read_name(compiler *c, char **w, int n)
{
    (void)n;
    c->d->name = w[1];
}

static void read_sample(compiler *c, char **w, int n)
{
    (void)n;
    ew_word *sample = APPEND(c, samples, ew_word);
    if (sample)
        *sample = word(w[1]);
}

/*==== MARK: All lines ====*/

static const ew_directive directives[] = {
    {"name", 2, 2, read_name},         {"prompt", 3, 3, read_prompt},   {"envelope", 2, 64, read_envelope},
    {"wrapper", 2, 2, read_wrapper},   {"common", 3, 64, read_common},  {"event", 2, 2, read_event},
    {"when", 2, 255, read_when},       {"emit", 2, 3, read_emit},       {"field", 3, 64, read_field},
    {"const", 3, 3, read_const},       {"known", 2, 2, read_known},
    {"sample", 2, 2, read_sample},
    {NULL, 0, 0, NULL},
};

static const ew_directive *directive(const ew_directive *of, const char *name)
{
    while (of->name && strcmp(of->name, name) != 0)
        of++;
    return of->name ? of : NULL;
}

/* `enum` needs a side list, so it is read here and not from the table above. */
static void read_enum(compiler *c, char **w, struct ew_list *vocabulary_of)
{
    const ew_field *f = vocabulary_field(w[1]);
    int code = f ? code_of(f, w[3]) : -1;
    if (code < 0) {
        fault(c, "no such vocabulary or word");
        return;
    }
    uint8_t *v = append(c, vocabulary_of, 1);
    ew_spelling *s = v ? APPEND(c, spellings, ew_spelling) : NULL;
    if (!s)
        return;
    *v = (uint8_t)vocabulary(c, f->vocabulary);
    *s = (ew_spelling){word(w[2]), (uint8_t)code, f->type == EW_TYPE_ENUM && same_but_for_case(w[2], w[3])};
}

static void read_line(compiler *c, char *line, struct ew_list *vocabulary_of)
{
    char *w[256] = {line};
    int n = 0;
    for (char *tab; line; line = tab ? tab + 1 : NULL) {
        if (n == 256) {
            fault(c, "too many words");
            return;
        }
        if ((tab = strchr(line, '\t')))
            *tab = 0;
        w[n++] = line;
    }
    if (c->line == 1) {
        if (n != 2 || strcmp(w[0], "execwire") != 0 || strcmp(w[1], "1") != 0)
            fault(c, "not a dialect table of version 1");
        return;
    }
    if (n == 1 && !*w[0])
        return;
    if (strcmp(w[0], "enum") == 0) {
        if (n == 4)
            read_enum(c, w, vocabulary_of);
        else
            fault(c, "enum takes three words");
        return;
    }
    const ew_directive *k = directive(directives, w[0]);
    if (!k && !(k = directive(ew_sbe_directives, w[0])))
        fault(c, "no such directive");
    else if (n < k->least || n > k->most)
        fault(c, "wrong number of words");
    else
        k->read(c, w, n);
}

/*==== MARK: Envelopes ====*/

/* What paths in the frame name is known in every wrapper. */
static void index_envelopes(compiler *c)
{
    ew_dialect *d = c->d;
    for (uint32_t i = 0; i < d->envelopes.n && c->frame_keys.n && !c->failed; i++) {
        ew_envelope *e = EW_AT(d->envelopes, ew_envelope, i);
        const uint32_t own = e->first_known, n = e->n_known;
        e->first_known = (uint16_t)d->words.n;
        e->n_known = 0;
        for (uint32_t k = 0; k < n + c->frame_keys.n && !c->failed; k++) {
            const ew_word w = k < n ? *EW_AT(d->words, ew_word, own + k) : *EW_AT(c->frame_keys, ew_word, k - n);
            bool again = false;
            for (uint16_t m = 0; m < e->n_known && !again; m++)
                again = strcmp(EW_AT(d->words, ew_word, e->first_known + m)->s, w.s) == 0;
            ew_word *key = again ? NULL : APPEND(c, words, ew_word);
            if (key) {
                *key = w;
                e->n_known++;
            }
        }
    }
}

/*==== MARK: Discriminators ====*/

/* Group the events by the path of their first condition, in order of the file. */
static void index_events(compiler *c)
{
    ew_dialect *d = c->d;
    for (uint32_t i = 0; i < d->events.n && !c->failed; i++) {
        const ew_condition *k =
            EW_AT(d->conditions, ew_condition, EW_AT(d->events, ew_event, i)->first_condition);
        uint32_t m = 0;
        while (m < d->discriminators.n &&
               !same_path(d, EW_AT(d->discriminators, ew_discriminator, m)->path, k->path))
            m++;
        ew_discriminator *x = m < d->discriminators.n ? NULL : APPEND(c, discriminators, ew_discriminator);
        if (x)
            x->path = k->path;
    }
    for (uint32_t m = 0; m < d->discriminators.n && !c->failed; m++) {
        ew_discriminator *x = EW_AT(d->discriminators, ew_discriminator, m);
        x->first = (uint16_t)d->candidates.n;
        for (uint32_t i = 0; i < d->events.n; i++) {
            const ew_condition *k =
                EW_AT(d->conditions, ew_condition, EW_AT(d->events, ew_event, i)->first_condition);
            if (!same_path(d, x->path, k->path))
                continue;
            for (uint16_t t = 0; t < k->n + (k->types != 0); t++) {
                ew_candidate *y = APPEND(c, candidates, ew_candidate);
                if (!y)
                    return;
                *y = (ew_candidate){{0}, (uint16_t)i, t < k->n ? 0 : k->types};
                if (t < k->n)
                    y->text = *EW_AT(d->words, ew_word, k->first + t);
                x->n++;
            }
        }
    }
}

/*==== MARK: Names ====*/

/* A table for at least so many names, with those that there are. */
static void index_names(compiler *c, uint32_t n)
{
    ew_dialect *d = c->d;
    const uint32_t size = table_size(n);
    d->name_cells.n = 0;
    for (uint32_t i = 0; i < size && !c->failed; i++)
        APPEND(c, name_cells, uint16_t);
    uint16_t *cells = d->name_cells.items;
    for (uint32_t i = 1; i < d->names.n && !c->failed; i++) {
        const ew_word *w = EW_AT(d->names, ew_word, i);
        uint32_t h = ew_hash(w->head, w->len);
        while (cells[h & (size - 1)])
            h++;
        cells[h & (size - 1)] = (uint16_t)i;
    }
    d->known = (ew_names){d->names.items, cells, d->names.n, size - 1};
}

/* Give a key its name. */
static void name(compiler *c, ew_word *key)
{
    uint16_t *cells = c->d->name_cells.items;
    uint32_t h = ew_hash(key->head, key->len);
    for (; cells[h & c->d->known.mask]; h++) {
        const ew_word *w = EW_AT(c->d->names, ew_word, cells[h & c->d->known.mask]);
        if (ew_word_is(w, (const uint8_t *)key->s, key->len, key->head))
            break;
    }
    if (key->len > EW_MAX_NAME)
        fault(c, "a key that is too long");
    if (!cells[h & c->d->known.mask]) {
        ew_word *w = c->d->names.n < EW_CONTAINER ? APPEND(c, names, ew_word) : NULL;
        if (!w) {
            fault(c, "too many keys");
            return;
        }
        *w = *key;
        cells[h & c->d->known.mask] = (uint16_t)(c->d->names.n - 1);
    }
    key->name = cells[h & c->d->known.mask];
}

static void name_words(compiler *c, uint32_t first, uint32_t n)
{
    for (uint32_t i = 0; i < n && !c->failed; i++)
        name(c, EW_AT(c->d->words, ew_word, first + i));
}

/* Name all keys, those of an object in a row, and make the tables of the nodes. */
static void name_keys(compiler *c)
{
    ew_dialect *d = c->d;
    APPEND(c, names, ew_word); /* 0 is no name */
    index_names(c, d->entries.n + d->segments.n + d->words.n + d->envelopes.n);
    for (uint32_t i = 1; i < d->entries.n && !c->failed; i++) {
        name(c, EW_AT(c->entry_keys, ew_word, i));
        EW_AT(d->entries, ew_entry, i)->name = EW_AT(c->entry_keys, ew_word, i)->name;
    }
    for (uint32_t i = 0; i < d->segments.n && !c->failed; i++)
        name(c, EW_AT(d->segments, ew_word, i));
    for (uint32_t i = 0; i < d->envelopes.n && !c->failed; i++) {
        ew_envelope *e = EW_AT(d->envelopes, ew_envelope, i);
        name(c, &e->enter);
        name_words(c, e->first, e->n);
        name_words(c, e->first_known, e->n_known);
    }
    index_names(c, d->names.n);
    for (uint32_t i = 1; i < d->nodes.n && !c->failed; i++) {
        const ew_node *node = EW_AT(d->nodes, ew_node, i);
        uint8_t *cells = EW_AT(d->cells, uint8_t, node->lookup);
        for (uint32_t k = 0; k < node->n; k++) {
            uint32_t h = EW_AT(d->entries, ew_entry, node->first + k)->name;
            while (cells[h & node->mask])
                h++;
            cells[h & node->mask] = (uint8_t)(k + 1);
        }
    }
    for (uint8_t i = 0; i < 10 && !c->failed; i++) {
        const uint8_t text = (uint8_t)('0' + i);
        d->digits[i] = (uint16_t)ew_name_find(&d->known, &text, 1, &text + 1);
    }
}

/*==== MARK: Public ====*/

ew_dialect *ew_dialect_parse(const char *table, size_t n, uint16_t venue, ew_error *error)
{
    compiler compiler_ = {.error = error}, *c = &compiler_;
    struct ew_list vocabulary_of = {0};
    ew_dialect *d = calloc(1, sizeof *d);
    c->d = d;
    c->branches = malloc(MAX_BRANCHES * sizeof *c->branches);
    *error = (ew_error){EW_OK, "", 0};
    if (!d || !c->branches || !(d->text = malloc(n + 1))) {
        free(c->branches);
        free(d);
        ew_fail(error, EW_ERR_MEMORY, "out of memory", 0);
        return NULL;
    }
    memcpy(d->text, table, n);
    d->text[n] = 0;
    d->venue = venue;
    d->name = "";
    APPEND(c, nodes, ew_node); /* 0 stands for no node, and entry 0 is no key's */
    APPEND(c, entries, ew_entry);
    append(c, &c->entry_keys, sizeof(ew_word));
    if (memchr(table, 0, n))
        fault(c, "a NUL byte in the table");

    for (char *line = d->text, *feed; line && !c->failed; line = feed ? feed + 1 : NULL) {
        c->line++;
        if ((feed = strchr(line, '\n')))
            *feed = 0;
        read_line(c, line, &vocabulary_of);
    }
    close_event(c);
    if (!c->failed && !*d->name)
        fault(c, "the dialect has no name");
    if (!c->failed && c->n_groups)
        fault(c, "the group above has no sbe-end");
    if (!c->failed && d->sbe_schemas.n && !d->sbe_name.len)
        fault(c, "no sbe-name");
    if (!c->failed)
        index_spellings(c, vocabulary_of.items);
    if (!c->failed)
        index_events(c);
    if (!c->failed)
        index_envelopes(c);
    if (!c->failed)
        name_keys(c);
    free(c->frame_keys.items);
    free(c->entry_keys.items);
    free(vocabulary_of.items);
    free(c->branches);
    if (c->failed) {
        ew_dialect_free(d);
        return NULL;
    }
    return d;
}

void ew_dialect_free(ew_dialect *d)
{
    if (!d)
        return;
    struct ew_list *lists[] = {&d->words, &d->segments, &d->envelopes, &d->prompts, &d->spellings, &d->events,
                               &d->conditions, &d->emits, &d->rules, &d->alternatives, &d->constants, &d->nodes,
                               &d->entries, &d->cells, &d->discriminators, &d->candidates, &d->names,
                               &d->name_cells, &d->sbe_schemas, &d->sbe_vocabularies, &d->sbe_texts,
                               &d->sbe_messages, &d->sbe_items, &d->samples};
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++)
        free(lists[i]->items);
    free(d->text);
    free(d);
}

const char *ew_dialect_name(const ew_dialect *d) { return d->name; }

const char *ew_event_name(const ew_dialect *d, unsigned event)
{
    return event && event <= d->events.n ? EW_AT(d->events, ew_event, event - 1)->name.s : "";
}

const ew_spelling *ew_spell(const ew_dialect *d, unsigned vocabulary_, const uint8_t *s, size_t n)
{
    return ew_spelling_of(d, vocabulary_, s, n, ew_head(s, n, s + n));
}
