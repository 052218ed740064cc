/* The host's memory as the tables of a CPU see it, and the moving of rows in it. */
#include <string.h>

#include "fusion/bf16.h"
#include "fusion/cpu/kernels.h"

enum { LINE_FLOATS = 16 }; /* of a cache line */

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

/* A share is some columns of every row: there may be few rows. */
static void copy_part(void *argument, int thread, int n_threads)
{
    const lks_copy *c = argument;
    long begin, end;
    lks_threads_share(c->d, LINE_FLOATS, thread, n_threads, &begin, &end);
    for (int i = 0; i < c->n_outer && begin < end; i++)
        for (int j = 0; j < c->n_inner; j++)
            memcpy(c->to + (c->to_index ? c->to_index[i] : i) * c->to_outer + j * c->to_inner + begin,
                   c->from + i * c->from_outer + j * c->from_inner + begin, (size_t)(end - begin) * sizeof *c->to);
}

void lks_host_copy(const lks_compute *compute, const lks_copy *c)
{
    lks_copy copy = *c;
    lks_parallel(compute, (double)c->n_outer * c->n_inner * c->d / LINE_FLOATS, copy_part, &copy);
}

typedef struct rounding {
    uint16_t *y;
    const float *x;
    size_t n;
} rounding;

static void round_part(void *argument, int thread, int n_threads)
{
    const rounding *r = argument;
    long begin, end;
    lks_threads_share((long)r->n, 2 * LINE_FLOATS, thread, n_threads, &begin, &end);
    lks_bf16_round(r->y + begin, r->x + begin, (size_t)(end - begin));
}

void lks_host_round_bf16(const lks_compute *compute, uint16_t *y, const float *x, size_t n)
{
    enum { NUMBERS_A_VECTOR = 4 };
    rounding r = {y, x, n};
    lks_parallel(compute, (double)n / NUMBERS_A_VECTOR, round_part, &r);
}
