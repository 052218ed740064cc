/* Arena: one block of memory from which activations are taken in stack order; nothing is freed one by one. */
#ifndef LKS_ARENA_H
#define LKS_ARENA_H

#include <stdbool.h>
#include <stddef.h>

#include "fusion/status.h"

#define LKS_ALIGNMENT 64 /* bytes: one cache line, one AVX-512 register */

typedef struct lks_arena {
    unsigned char *base;
    size_t size, used, peak;
} lks_arena;

/* Takes `size` bytes from the system, aligned to LKS_ALIGNMENT, untouched pages cost nothing. */
lks_status lks_arena_init(lks_arena *arena, size_t size, lks_error *err);
void lks_arena_release(lks_arena *arena);

/* `n` elements of `element_size` bytes, aligned to LKS_ALIGNMENT, contents undefined; NULL when the arena is full or
 * the product overflows. */
void *lks_arena_take(lks_arena *arena, size_t n, size_t element_size);

/* A mark restores the arena to an earlier fill level: everything taken since is gone. */
size_t lks_arena_mark(const lks_arena *arena);
void lks_arena_reset(lks_arena *arena, size_t mark);

/* Bytes that lks_arena_take(n, element_size) uses, alignment included: for sizing an arena. Saturates at SIZE_MAX. */
size_t lks_arena_cost(size_t n, size_t element_size);

/* *product = a * b; false on overflow. */
bool lks_size_mul(size_t *product, size_t a, size_t b);
bool lks_size_add(size_t *sum, size_t a, size_t b);

#endif
