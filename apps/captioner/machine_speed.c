/* How fast the machine is, and what share of that typical layers reach. Peak and layers are timed in turns, so that a machine
 * that slows down meanwhile slows both. */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "apps/captioner/looksay.h"
#include "apps/captioner/machine_rows.h"
#include "fusion/ops.h"
#include "fusion/roofline.h"

enum { WIDTH = 768, N_HEADS = 12, D_HEAD = 64, D_MLP = 3072, MAX_TOKENS = 577, N_LAYERS = 4, N_TURNS = 3 };

static const struct {
    int d_in, d_out;
    lks_activation activation;
} block[N_LAYERS] = {{WIDTH, 3 * WIDTH, LKS_ACT_NONE},
                     {WIDTH, WIDTH, LKS_ACT_NONE},
                     {WIDTH, D_MLP, LKS_ACT_GELU},
                     {D_MLP, WIDTH, LKS_ACT_NONE}};

typedef struct bench {
    lks_compute compute;
    lks_linear layers[N_LAYERS], int8_layers[N_LAYERS], bf16_layers[N_LAYERS];
    float *x, *y; /* [MAX_TOKENS, D_MLP]: also query, key and value */
} bench;

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Layer i in each precision, from w [d_out, d_in]. */
static void make_layers(bench *b, int i, lks_arena *arena, const lks_ops *ops, const float *w)
{
    int d_in = block[i].d_in, d_out = block[i].d_out;
    float *packed = lks_arena_take(arena, ops->linear_packed_count(d_in, d_out), sizeof(float));
    float *bias = lks_arena_take(arena, (size_t)d_out, sizeof(float));
    float *scales = lks_arena_take(arena, (size_t)d_out, sizeof(float));
    int32_t *sums = lks_arena_take(arena, (size_t)d_out, sizeof(int32_t));
    int8_t *panels = lks_arena_take(arena, lks_int8_panel_bytes(d_in, d_out), 1);
    uint16_t *pairs = lks_arena_take(arena, lks_bf16_panel_count(d_in, d_out), sizeof(uint16_t));
    memset(bias, 0, (size_t)d_out * sizeof(float));
    ops->linear_pack(packed, w, d_in, d_out, 0, d_out);
    lks_int8_pack(panels, scales, sums, w, d_in, 0, d_out);
    lks_bf16_pack(pairs, w, d_in, 0, d_out);
    b->layers[i] = (lks_linear){.d_in = d_in, .d_out = d_out, .packed = packed, .bias = bias};
    b->int8_layers[i] = (lks_linear){.d_in = d_in, .d_out = d_out, .bias = bias, .int8 = {panels, scales, sums}};
    b->bf16_layers[i] = (lks_linear){.d_in = d_in, .d_out = d_out, .bias = bias, .bf16 = {pairs}};
}

/* One arena for weights, activations and the ops' scratch. */
static lks_status prepare(bench *b, lks_arena *arena, const lks_ops *ops, lks_threads *threads, lks_error *err)
{
    int widest = D_MLP;
    size_t activations = (size_t)MAX_TOKENS * D_MLP, largest = (size_t)WIDTH * D_MLP;
    size_t scratch = lks_ops_scratch(lks_threads_count(threads), MAX_TOKENS, D_HEAD, widest);
    size_t bytes = 2 * lks_arena_cost(activations, sizeof(float)) + lks_arena_cost(largest, sizeof(float)) + scratch;
    for (int i = 0; i < N_LAYERS; i++)
        bytes += lks_arena_cost(ops->linear_packed_count(block[i].d_in, block[i].d_out), sizeof(float)) +
                 lks_arena_cost(lks_int8_panel_bytes(block[i].d_in, block[i].d_out), 1) +
                 lks_arena_cost(lks_bf16_panel_count(block[i].d_in, block[i].d_out), sizeof(uint16_t)) +
                 3 * lks_arena_cost((size_t)block[i].d_out, sizeof(float));
    lks_status st = lks_arena_init(arena, bytes, err);
    if (st != LKS_OK)
        return st;
    float *w = lks_arena_take(arena, largest, sizeof(float));
    b->x = lks_arena_take(arena, activations, sizeof(float));
    b->y = lks_arena_take(arena, activations, sizeof(float));
    for (size_t i = 0; i < activations; i++)
        b->x[i] = (float)(i % 17) * 0.1f - 0.8f;
    for (size_t i = 0; i < largest; i++)
        w[i] = (float)(i % 13) * 0.01f - 0.06f;
    for (int i = 0; i < N_LAYERS; i++)
        make_layers(b, i, arena, ops, w);
    b->compute = (lks_compute){.ops = ops, .threads = threads, .scratch = arena};
    return LKS_OK;
}

/* 10^9 operations per second of the block's linear layers on n tokens. */
static double time_linear(const bench *b, const lks_linear *layers, int n)
{
    double flops = 0.0, began = now();
    for (int i = 0; i < N_LAYERS; i++) {
        const lks_linear *layer = &layers[i];
        lks_linear_args args = {.n = n,
                                .x = b->x,
                                .x_stride = layer->d_in,
                                .y = b->y,
                                .y_stride = layer->d_out,
                                .activation = block[i].activation};
        lks_linear_run(&b->compute, layer, &args);
        flops += 2.0 * n * layer->d_in * layer->d_out;
    }
    return flops / (now() - began) * 1e-9;
}

/* The same of self-attention; 0 where int8 has none of its own. */
static double time_attention(const bench *b, int n, bool int8)
{
    const lks_ops *ops = b->compute.ops;
    double began = now();
    lks_attention a = lks_attention_of_qkv(1, n, N_HEADS, D_HEAD, WIDTH);
    a.query = b->x;
    a.key = b->x + WIDTH;
    a.value = b->x + 2 * WIDTH;
    a.out = b->y;
    if (!int8)
        ops->attention(&b->compute, &a);
    else if (!ops->attention_int8 || !ops->attention_int8(&b->compute, &a))
        return 0.0;
    return 4.0 * n * n * WIDTH / (now() - began) * 1e-9;
}

static void keep_larger(double *best, double value)
{
    if (value > *best)
        *best = value;
}

lks_status lks_machine_measure(lks_machine_speed *speed, const char *isa_name, int n_threads, double seconds,
                               lks_error *err)
{
    static const int n_tokens[3] = {197, 257, MAX_TOKENS};
    lks_isa isa = LKS_ISA_AUTO;
    if (isa_name && !lks_isa_parse(&isa, isa_name))
        return lks_error_set(err, LKS_ERR_ARGUMENT, "unknown instruction set '%s'", isa_name);
    const lks_ops *ops = lks_ops_get(isa);
    if (!ops)
        return lks_error_set(err, LKS_ERR_UNSUPPORTED, "the instruction set '%s' is not available here", isa_name);
    lks_threads *threads;
    lks_status st = lks_threads_open(&threads, n_threads, err);
    if (st != LKS_OK)
        return st;
    bench b;
    lks_arena arena = {0};
    lks_row_bench *rows = NULL;
    st = prepare(&b, &arena, ops, threads, err);
    if (st == LKS_OK)
        st = lks_row_bench_open(&rows, ops, threads, err);
    lks_machine_speed result = {.isa = ops->name, .n_threads = lks_threads_count(threads)};
    for (int turn = 0; turn < N_TURNS && st == LKS_OK; turn++) {
        lks_roofline roof;
        st = lks_roofline_measure(&roof, ops->isa, threads, seconds / (2 * N_TURNS), err);
        if (st != LKS_OK)
            break;
        keep_larger(&result.f32_gflops, roof.f32_gflops);
        keep_larger(&result.int8_gops, roof.int8_gops);
        keep_larger(&result.bf16_gflops, roof.bf16_gflops);
        keep_larger(&result.dram_gbps, roof.dram_gbps);
        double began = now();
        do {
            lks_row_bench_run(rows, &result);
            for (int i = 0; i < 3; i++) {
                result.layers[i].n_tokens = n_tokens[i];
                keep_larger(&result.layers[i].linear_gflops, time_linear(&b, b.layers, n_tokens[i]));
                keep_larger(&result.layers[i].int8_gops, time_linear(&b, b.int8_layers, n_tokens[i]));
                keep_larger(&result.layers[i].bf16_gflops, time_linear(&b, b.bf16_layers, n_tokens[i]));
                keep_larger(&result.layers[i].attention_gflops, time_attention(&b, n_tokens[i], false));
                keep_larger(&result.layers[i].int8_attention_gops, time_attention(&b, n_tokens[i], true));
            }
        } while (now() - began < seconds / (2 * N_TURNS));
    }
    lks_row_bench_close(rows);
    lks_arena_release(&arena);
    lks_threads_close(threads);
    if (st == LKS_OK)
        *speed = result;
    return st;
}
