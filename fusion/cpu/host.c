/* The host's memory as the tables of a CPU see it, and the moving of rows in it. */
#include <string.h>

#include "fusion/cpu/kernels.h"

lks_status lks_host_arena_open(const lks_compute *compute, lks_arena *arena, size_t size, lks_error *err)
{
    (void)compute;
    return lks_arena_init(arena, size, err);
}

void lks_host_arena_close(const lks_compute *compute, lks_arena *arena)
{
    (void)compute;
    lks_arena_release(arena);
}

void lks_host_transfer(const lks_compute *compute, void *to, const void *from, size_t n_bytes)
{
    (void)compute;
    memcpy(to, from, n_bytes);
}

lks_status lks_host_sync(const lks_compute *compute, lks_error *err)
{
    (void)compute;
    (void)err;
    return LKS_OK;
}

bool lks_host_record(const lks_compute *compute, const int64_t key[4])
{
    (void)compute;
    (void)key;
    return false;
}

void lks_host_recorded(const lks_compute *compute)
{
    (void)compute;
}

void lks_host_copy(const lks_compute *compute, const lks_copy *c)
{
    (void)compute;
    for (int i = 0; i < c->n_outer; i++)
        for (int j = 0; j < c->n_inner; j++)
            memcpy(c->to + (c->to_index ? c->to_index[i] : i) * c->to_outer + j * c->to_inner,
                   c->from + i * c->from_outer + j * c->from_inner, (size_t)c->d * sizeof *c->to);
}
