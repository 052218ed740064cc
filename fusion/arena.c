/* Arena: see arena.h. */
#include "fusion/arena.h"

#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>

#define HUGE_BYTES ((size_t)4 << 20) /* from here on huge pages pay: fewer faults, fewer TLB misses */

bool lks_size_mul(size_t *product, size_t a, size_t b)
{
    if (b != 0 && a > SIZE_MAX / b)
        return false;
    *product = a * b;
    return true;
}

bool lks_size_add(size_t *sum, size_t a, size_t b)
{
    if (a > SIZE_MAX - b)
        return false;
    *sum = a + b;
    return true;
}

size_t lks_arena_cost(size_t n, size_t element_size)
{
    size_t bytes;
    if (!lks_size_mul(&bytes, n, element_size) || bytes > SIZE_MAX - LKS_ALIGNMENT)
        return SIZE_MAX;
    return (bytes + LKS_ALIGNMENT - 1) / LKS_ALIGNMENT * LKS_ALIGNMENT;
}

/* Best effort: only the whole pages inside the block, and only where the system has huge pages. */
static void advise_huge(unsigned char *base, size_t size)
{
#ifdef MADV_HUGEPAGE
    const uintptr_t page = 4096;
    uintptr_t begin = ((uintptr_t)base + page - 1) / page * page, end = ((uintptr_t)base + size) / page * page;
    if (size >= HUGE_BYTES)
        (void)madvise((void *)begin, end - begin, MADV_HUGEPAGE);
#else
    (void)base;
    (void)size;
#endif
}

lks_status lks_arena_init(lks_arena *arena, size_t size, lks_error *err)
{
    size_t cost = lks_arena_cost(size ? size : 1, 1);
    unsigned char *base = cost == SIZE_MAX ? NULL : aligned_alloc(LKS_ALIGNMENT, cost);
    if (!base)
        return lks_error_set(err, LKS_ERR_NOMEM, "out of memory: %zu bytes for activations", size);
    advise_huge(base, cost);
    *arena = (lks_arena){.base = base, .size = cost};
    return LKS_OK;
}

void lks_arena_release(lks_arena *arena)
{
    free(arena->base);
    *arena = (lks_arena){0};
}

void *lks_arena_take(lks_arena *arena, size_t n, size_t element_size)
{
    size_t cost = lks_arena_cost(n, element_size);
    if (cost > arena->size - arena->used)
        return NULL;
    void *block = arena->base + arena->used;
    arena->used += cost;
    if (arena->used > arena->peak)
        arena->peak = arena->used;
    return block;
}

size_t lks_arena_mark(const lks_arena *arena)
{
    return arena->used;
}

void lks_arena_reset(lks_arena *arena, size_t mark)
{
    arena->used = mark;
}
