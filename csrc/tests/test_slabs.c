/* Memory of batches, taken on one thread and given back on others, before and after its pool is closed. Whether that
 * is a race only the thread sanitizer can tell (make check SANITIZE=thread); what is checked everywhere is that memory
 * that somebody has is nobody else's. */
#define _DEFAULT_SOURCE /* mmap's flags */
#include "check.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/mman.h>

/* What is mapped and never unmapped no sanitizer tells. */
static atomic_size_t mapped;

static void *counted_mmap(void *at, size_t n, int protection, int flags, int file, off_t offset)
{
    mapped += n;
    return mmap(at, n, protection, flags, file, offset);
}

static int counted_munmap(void *at, size_t n)
{
    mapped -= n;
    return munmap(at, n);
}

#undef _DEFAULT_SOURCE
#define mmap counted_mmap
#define munmap counted_munmap
#undef MADV_HUGEPAGE /* to clear them would take most of the time */
#include "../slabs.c"

#define OWNERS 3      /* each with a pool, from which only it takes */
#define POOLS 60      /* of an owner, one after the other */
#define TAKES 16      /* of a pool */
#define RECEIVERS 3
#define QUEUE 16      /* batches that wait to be given back */
#define PIECES 3
#define MARKS 64      /* words of a piece that are written */
#define BIG ((size_t)1 << 20) /* more than malloc is asked for */

typedef struct load {
    ew_slab *slabs;
    uint64_t *piece[PIECES];
    size_t words[PIECES];
    uint64_t mark;
} load;

static struct {
    pthread_mutex_t lock;
    pthread_cond_t moved;
    load items[QUEUE];
    unsigned n, owners;
} queue = {.lock = PTHREAD_MUTEX_INITIALIZER, .moved = PTHREAD_COND_INITIALIZER};

static atomic_ulong wrong, failed, again;

static uint64_t *at(const load *x, unsigned piece, size_t i) { return &x->piece[piece][i * (x->words[piece] / MARKS)]; }

static load fill(ew_pool *pool, uint64_t mark, uint64_t *random)
{
    load x = {.mark = mark};
    for (unsigned i = 0; i < PIECES; i++) {
        const uint64_t r = check_random(random);
        const size_t size = r % 4 == 0 ? 100 + r % 1000 * 8 : BIG + (r >> 8) % 4 * BIG;
        x.words[i] = size / sizeof(uint64_t) < MARKS ? MARKS : size / sizeof(uint64_t);
        x.piece[i] = ew_slab_take(pool, &x.slabs, x.words[i] * sizeof(uint64_t), r % 8 == 1 ? 3 * BIG : 0);
        if (!x.piece[i]) {
            failed++;
            x.words[i] = 0;
            continue;
        }
        again += r % 4 && *at(&x, i, 1) != 0; /* of the system it would be zeros */
        for (size_t k = 0; k < MARKS; k++)
            *at(&x, i, k) = mark + i;
    }
    return x;
}

static void give_back(load *x)
{
    for (unsigned i = 0; i < PIECES; i++)
        for (size_t k = 0; x->words[i] && k < MARKS; k++)
            wrong += *at(x, i, k) != x->mark + i;
    ew_slabs_free(x->slabs);
}

static void *own_pools(void *argument)
{
    const uint64_t number = (uint64_t)(uintptr_t)argument;
    uint64_t random = 2 * number + 1;
    for (unsigned p = 0; p < POOLS; p++) {
        ew_pool *pool = ew_pool_new();
        if (!pool)
            abort();
        for (unsigned i = 0; i < TAKES; i++) {
            load x = fill(pool, (number * POOLS + p) * TAKES * PIECES + i * PIECES + 1, &random);
            if (i % 4 == 0) {
                give_back(&x);
                continue;
            }
            pthread_mutex_lock(&queue.lock);
            while (queue.n == QUEUE)
                pthread_cond_wait(&queue.moved, &queue.lock);
            queue.items[queue.n++] = x;
            pthread_cond_broadcast(&queue.moved);
            pthread_mutex_unlock(&queue.lock);
        }
        ew_pool_close(pool); /* while slabs wait in the queue, and others go back this moment */
    }
    pthread_mutex_lock(&queue.lock);
    queue.owners--;
    pthread_cond_broadcast(&queue.moved);
    pthread_mutex_unlock(&queue.lock);
    return NULL;
}

static void *receive(void *argument)
{
    (void)argument;
    for (;;) {
        pthread_mutex_lock(&queue.lock);
        while (queue.n == 0 && queue.owners)
            pthread_cond_wait(&queue.moved, &queue.lock);
        if (queue.n == 0) {
            pthread_mutex_unlock(&queue.lock);
            return NULL;
        }
        load x = queue.items[--queue.n];
        pthread_cond_broadcast(&queue.moved);
        pthread_mutex_unlock(&queue.lock);
        give_back(&x);
    }
}

int main(void)
{
    pthread_t threads[OWNERS + RECEIVERS];
    queue.owners = OWNERS;
    for (uintptr_t i = 0; i < OWNERS + RECEIVERS; i++)
        if (pthread_create(&threads[i], NULL, i < OWNERS ? own_pools : receive, (void *)i))
            abort();
    for (unsigned i = 0; i < OWNERS + RECEIVERS; i++)
        pthread_join(threads[i], NULL);
    CHECK_INT(wrong, 0);
    CHECK_INT(failed, 0);
    CHECK_INT(mapped, 0);
    CHECK(again > 0); /* slabs did come back */
    return check_result();
}
