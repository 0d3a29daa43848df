/* Memory of batches: slabs of huge pages, which go to the next batch when one is freed. Getting zeroed pages from the
 * system is most of what fresh ones cost. */
#define _DEFAULT_SOURCE /* mmap's flags */
#include "internal.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>

struct ew_slab {
    ew_slab *next;
    ew_pool *pool; /* null: it is malloc's */
    size_t used, size;
};

#define SPARES 8

struct ew_pool {
    _Atomic(ew_slab *) spares[SPARES];
    atomic_size_t users; /* the owner, and the slabs that are in use */
    atomic_bool closed;
};

#define HUGE_PAGE ((size_t)2 << 20)
#define ALIGNMENT 64

static void drain(ew_pool *p)
{
    for (unsigned i = 0; i < SPARES; i++) {
        ew_slab *s = atomic_exchange(&p->spares[i], NULL);
        if (s)
            munmap(s, s->size);
    }
}

static void leave(ew_pool *p)
{
    if (atomic_fetch_sub(&p->users, 1) == 1) {
        drain(p);
        free(p);
    }
}

/* A spare slab of about that size, or null. */
static ew_slab *spare(ew_pool *p, size_t size)
{
    for (unsigned i = 0; i < SPARES; i++) {
        ew_slab *s = atomic_exchange(&p->spares[i], NULL), *none = NULL;
        if (s && s->size >= size && s->size / 2 <= size)
            return s;
        if (s && !atomic_compare_exchange_strong(&p->spares[i], &none, s))
            munmap(s, s->size);
    }
    return NULL;
}

static ew_slab *mapped_slab(size_t size)
{
    char *at = mmap(NULL, size + HUGE_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (at == MAP_FAILED)
        return NULL;
    size_t before = (HUGE_PAGE - (uintptr_t)at % HUGE_PAGE) % HUGE_PAGE;
    if (before)
        munmap(at, before);
    munmap(at + before + size, HUGE_PAGE - before);
    at += before;
#ifdef MADV_HUGEPAGE
    madvise(at, size, MADV_HUGEPAGE);
#endif
    ew_slab *s = (ew_slab *)(void *)at;
    s->size = size;
    return s;
}

static ew_slab *new_slab(ew_pool *p, size_t size)
{
    ew_slab *s;
    if (size <= HUGE_PAGE / 4) {
        if ((s = malloc(size)))
            *s = (ew_slab){.size = size};
        return s;
    }
    size = (size + HUGE_PAGE - 1) & ~(HUGE_PAGE - 1);
    if (!(s = spare(p, size)) && !(s = mapped_slab(size)))
        return NULL;
    atomic_fetch_add(&p->users, 1);
    s->pool = p;
    return s;
}

void ew_slabs_free(ew_slab *s)
{
    while (s) {
        ew_slab *next = s->next, *none = NULL;
        ew_pool *p = s->pool;
        if (!p) {
            free(s);
        } else {
            bool kept = false;
            for (unsigned i = 0; i < SPARES && !kept && !atomic_load(&p->closed); i++, none = NULL)
                kept = atomic_compare_exchange_strong(&p->spares[i], &none, s);
            if (!kept)
                munmap(s, s->size);
            leave(p);
        }
        s = next;
    }
}

void *ew_slab_take(ew_pool *p, ew_slab **slabs, size_t size, size_t usual)
{
    ew_slab *s = *slabs;
    /* A row writes to all planes at the same place: a distance of 2^n would put them into one set of the cache. */
    size = ((size + ALIGNMENT - 1) & ~(size_t)(ALIGNMENT - 1)) + (size < 4096 ? 0 : 5 * ALIGNMENT);
    if (!s || s->size - s->used < size) {
        const size_t least = size + ALIGNMENT;
        if (!(s = new_slab(p, least > usual ? least : usual)))
            return NULL;
        s->used = ALIGNMENT;
        s->next = *slabs;
        *slabs = s;
    }
    void *at = (char *)s + s->used;
    s->used += size;
    return at;
}

ew_pool *ew_pool_new(void)
{
    ew_pool *p = calloc(1, sizeof *p);
    if (p)
        atomic_init(&p->users, 1);
    return p;
}

void ew_pool_close(ew_pool *p)
{
    atomic_store(&p->closed, true);
    drain(p);
    leave(p);
}
