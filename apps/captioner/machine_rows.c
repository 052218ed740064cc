/* Weights read by few rows: see machine_rows.h. Precisions take turns, so that each finds its weights in memory, not in a cache. */
#include "apps/captioner/machine_rows.h"

#include <stdlib.h>
#include <time.h>

enum { D_IN = 768, D_OUT = 32768, PANEL = 64, MAX_ROWS = 8, N_PRECISIONS = 4 };

struct lks_row_bench {
    lks_arena arena;
    lks_compute compute;
    lks_linear layers[N_PRECISIONS]; /* f32, bf16, int8, int4 */
    float *x, *y;
};

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* The same 64 rows of weights over and over: speed does not depend on values. */
static void make_layers(lks_row_bench *b, const lks_ops *ops)
{
    lks_arena *a = &b->arena;
    size_t groups = lks_int4_panel_groups(D_IN, D_OUT);
    float *packed = lks_arena_take(a, ops->linear_packed_count(D_IN, D_OUT), sizeof *packed);
    float *scales = lks_arena_take(a, D_OUT, sizeof *scales);
    int32_t *sums = lks_arena_take(a, D_OUT, sizeof *sums);
    int8_t *bytes = lks_arena_take(a, lks_int8_panel_bytes(D_IN, D_OUT), 1);
    uint16_t *pairs = lks_arena_take(a, lks_bf16_panel_count(D_IN, D_OUT), sizeof *pairs);
    uint8_t *nibbles = lks_arena_take(a, groups, LKS_INT4_GROUP_BYTES);
    uint16_t *group_scales = lks_arena_take(a, groups * LKS_INT4_COLUMNS, sizeof *group_scales);
    float *w = lks_arena_take(a, (size_t)PANEL * D_IN, sizeof *w);
    for (int i = 0; i < PANEL * D_IN; i++)
        w[i] = (float)(i % 13) * 0.01f - 0.06f;
    for (int o = 0; o < D_OUT; o += PANEL) {
        ops->linear_pack(packed, w, D_IN, D_OUT, o, o + PANEL);
        lks_bf16_pack(pairs, w, D_IN, o, o + PANEL);
        lks_int8_pack(bytes, scales, sums, w, D_IN, o, o + PANEL);
        lks_int4_pack(nibbles, group_scales, w, D_IN, o, o + PANEL);
    }
    for (int i = 0; i < N_PRECISIONS; i++)
        b->layers[i] = (lks_linear){.d_in = D_IN, .d_out = D_OUT};
    b->layers[0].packed = packed;
    b->layers[1].bf16.panels = pairs;
    b->layers[2].int8 = (lks_int8_weights){bytes, scales, sums};
    b->layers[3].int4 = (lks_int4_weights){nibbles, group_scales};
}

lks_status lks_row_bench_open(lks_row_bench **out, const lks_ops *ops, lks_threads *threads, lks_error *err)
{
    lks_row_bench *b = calloc(1, sizeof *b);
    if (!b)
        return lks_error_set(err, LKS_ERR_NOMEM, "out of memory");
    size_t groups = lks_int4_panel_groups(D_IN, D_OUT);
    size_t bytes = lks_arena_cost(ops->linear_packed_count(D_IN, D_OUT), sizeof(float)) +
                   2 * lks_arena_cost(D_OUT, sizeof(float)) + lks_arena_cost(lks_int8_panel_bytes(D_IN, D_OUT), 1) +
                   lks_arena_cost(lks_bf16_panel_count(D_IN, D_OUT), sizeof(uint16_t)) +
                   lks_arena_cost(groups, LKS_INT4_GROUP_BYTES) +
                   lks_arena_cost(groups * LKS_INT4_COLUMNS, sizeof(uint16_t)) +
                   lks_arena_cost((size_t)PANEL * D_IN, sizeof(float)) +
                   lks_arena_cost((size_t)MAX_ROWS * (D_IN + D_OUT), sizeof(float)) + LKS_ALIGNMENT +
                   lks_ops_scratch(lks_threads_count(threads), 1, 1, D_IN);
    lks_status st = lks_arena_init(&b->arena, bytes, err);
    if (st != LKS_OK) {
        free(b);
        return st;
    }
    make_layers(b, ops);
    b->x = lks_arena_take(&b->arena, MAX_ROWS * D_IN, sizeof *b->x);
    b->y = lks_arena_take(&b->arena, MAX_ROWS * D_OUT, sizeof *b->y);
    for (int i = 0; i < MAX_ROWS * D_IN; i++)
        b->x[i] = (float)(i % 17) * 0.1f - 0.8f;
    b->compute = (lks_compute){.ops = ops, .threads = threads, .scratch = &b->arena};
    *out = b;
    return LKS_OK;
}

void lks_row_bench_close(lks_row_bench *b)
{
    if (!b)
        return;
    lks_arena_release(&b->arena);
    free(b);
}

void lks_row_bench_run(lks_row_bench *b, lks_machine_speed *speed)
{
    static const int counts[] = {1, 3, MAX_ROWS};
    for (int i = 0; i < 3; i++) {
        double *const best[N_PRECISIONS] = {&speed->rows[i].f32_gbps, &speed->rows[i].bf16_gbps,
                                            &speed->rows[i].int8_gbps, &speed->rows[i].int4_gbps};
        speed->rows[i].n_rows = counts[i];
        for (int p = 0; p < N_PRECISIONS; p++) {
            double began = now();
            lks_linear_dense(&b->compute, &b->layers[p], b->y, b->x, counts[i], LKS_ACT_NONE, NULL);
            double bytes = lks_linear_bytes(lks_linear_precision(&b->layers[p]), (double)D_IN * D_OUT);
            double rate = bytes / (now() - began) * 1e-9;
            *best[p] = rate > *best[p] ? rate : *best[p];
        }
    }
}
