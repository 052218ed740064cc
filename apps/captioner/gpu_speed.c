/* How fast a GPU is, and what share of that typical layers reach. Many photos at once fill it; on a slow one fewer are timed, so that
 * measuring ends soon. */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "apps/captioner/looksay.h"
#include "fusion/device.h"

enum {
    WIDTH = 768,
    N_HEADS = 12,
    D_HEAD = 64,
    D_MLP = 3072,
    N_LAYERS = 4,
    N_LENGTHS = 3,
    MAX_PHOTOS = 64,
    N_TURNS = 5
};
enum { F32, BF16, INT8, N_PRECISIONS };
#define LONG_ENOUGH 5e-3 /* seconds of a run: more photos would say the same */
#define N_RANDOM ((size_t)1 << 18)

static const int lengths[N_LENGTHS] = {577, 257, 197};

static const struct {
    int d_in, d_out;
    lks_activation activation;
    bool residual;
} shapes[N_LAYERS] = {{WIDTH, 3 * WIDTH, LKS_ACT_NONE, false},
                      {WIDTH, WIDTH, LKS_ACT_NONE, true},
                      {WIDTH, D_MLP, LKS_ACT_GELU, false},
                      {D_MLP, WIDTH, LKS_ACT_NONE, true}};

typedef struct bench {
    lks_device *device;
    lks_queue *queue;
    lks_arena weights, room; /* of the host, mirrored; of the device */
    lks_compute compute;
    lks_linear layers[N_PRECISIONS][N_LAYERS];
    lks_block block; /* of the bf16 ones */
    float *x, *y;    /* [n_floats] of the device: x holds random numbers in its first n_filled */
    float *random;   /* [N_RANDOM] */
    size_t n_floats; /* MAX_PHOTOS of the longest, or as many as there is memory for */
    size_t n_filled;
    bool bf16; /* it computes with them */
} bench;

/* What is timed: a linear layer on rows, attention of heads, N_HEADS a photo, or parts of a whole block on photos. */
typedef struct work {
    enum { LINEAR, ATTENTION, BLOCK } kind;
    const lks_linear *layer; /* LINEAR */
    int i;                   /* of shapes */
    int n_tokens;            /* of attention and block */
    bool rounds;             /* of attention, see lks_compute */
    unsigned parts;          /* of the block */
} work;

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void fill_random(float *x, size_t n)
{
    uint32_t state = 1;
    for (size_t i = 0; i < n; i++) {
        state = state * 1664525u + 1013904223u;
        x[i] = (float)(state >> 8) * 0x1p-23f - 1.0f;
    }
}

/* ---- weights ---- */

static size_t weight_bytes(const lks_ops *ops)
{
    size_t bytes = LKS_ALIGNMENT + lks_arena_cost(2 * WIDTH, sizeof(float));
    for (int i = 0; i < N_LAYERS; i++) {
        int d_in = shapes[i].d_in, d_out = shapes[i].d_out;
        bytes += lks_arena_cost(ops->linear_packed_count(d_in, d_out), sizeof(float)) +
                 lks_arena_cost(lks_int8_panel_bytes(d_in, d_out), 1) +
                 lks_arena_cost(lks_bf16_panel_count(d_in, d_out), sizeof(uint16_t)) +
                 3 * lks_arena_cost((size_t)d_out, sizeof(float));
    }
    return bytes;
}

/* Layer i in each precision, from w [d_out, d_in]. */
static void make_layers(bench *b, int i, const lks_ops *ops, const float *w)
{
    int d_in = shapes[i].d_in, d_out = shapes[i].d_out;
    float *packed = lks_arena_take(&b->weights, ops->linear_packed_count(d_in, d_out), sizeof(float));
    float *bias = lks_arena_take(&b->weights, (size_t)d_out, sizeof(float));
    float *scales = lks_arena_take(&b->weights, (size_t)d_out, sizeof(float));
    int32_t *sums = lks_arena_take(&b->weights, (size_t)d_out, sizeof(int32_t));
    int8_t *panels = lks_arena_take(&b->weights, lks_int8_panel_bytes(d_in, d_out), 1);
    uint16_t *pairs = lks_arena_take(&b->weights, lks_bf16_panel_count(d_in, d_out), sizeof(uint16_t));
    memset(bias, 0, (size_t)d_out * sizeof(float));
    ops->linear_pack(packed, w, d_in, d_out, 0, d_out);
    lks_int8_pack(panels, scales, sums, w, d_in, 0, d_out);
    lks_bf16_pack(pairs, w, d_in, 0, d_out);
    b->layers[F32][i] = (lks_linear){.d_in = d_in, .d_out = d_out, .packed = packed, .bias = bias};
    b->layers[INT8][i] = (lks_linear){.d_in = d_in, .d_out = d_out, .bias = bias, .int8 = {panels, scales, sums}};
    b->layers[BF16][i] = (lks_linear){.d_in = d_in, .d_out = d_out, .bias = bias, .bf16 = {pairs}};
}

/* The block of the bf16 layers. */
static void make_block(bench *b)
{
    float *norm = lks_arena_take(&b->weights, 2 * WIDTH, sizeof *norm);
    for (int i = 0; i < 2 * WIDTH; i++)
        norm[i] = i < WIDTH ? 1.0f : 0.0f;
    const lks_linear *layers = b->layers[BF16];
    b->block = (lks_block){.norm1 = {norm, norm + WIDTH},
                           .norm2 = {norm, norm + WIDTH},
                           .qkv = layers[0],
                           .proj = layers[1],
                           .fc1 = layers[2],
                           .fc2 = layers[3],
                           .n_heads = N_HEADS,
                           .activation = shapes[2].activation,
                           .eps = 1e-6f};
}

static lks_status prepare_weights(bench *b, lks_error *err)
{
    const lks_ops *ops = lks_device_ops(b->device);
    float *w = malloc((size_t)WIDTH * D_MLP * sizeof *w); /* the largest */
    if (!w)
        return lks_error_set(err, LKS_ERR_NOMEM, "out of memory");
    for (size_t i = 0; i < (size_t)WIDTH * D_MLP; i++)
        w[i] = 0.05f * b->random[i % N_RANDOM];
    lks_status st = lks_arena_init(&b->weights, weight_bytes(ops), err);
    for (int i = 0; st == LKS_OK && i < N_LAYERS; i++)
        make_layers(b, i, ops, w);
    if (st == LKS_OK)
        make_block(b);
    free(w);
    for (int i = 0; i < N_LAYERS * N_PRECISIONS && st == LKS_OK; i++)
        if (i / N_LAYERS == INT8 || (i / N_LAYERS == BF16 && b->bf16))
            st = lks_device_expect(b->device, &b->layers[i / N_LAYERS][i % N_LAYERS], err);
    return st == LKS_OK ? lks_device_mirror(b->device, &b->weights, err) : st;
}

/* ---- activations ---- */

static lks_status prepare_room(bench *b, const lks_device_info *info, lks_error *err)
{
    size_t of_photo = (size_t)lengths[0] * D_MLP, most = (size_t)MAX_PHOTOS * of_photo;
    size_t fits = (size_t)(info->memory_bytes / 4 / (2 * sizeof(float)));
    b->n_floats = fits < most ? fits : most;
    if (b->n_floats < of_photo)
        return lks_error_set(err, LKS_ERR_NOMEM, "the GPU has too little memory to measure with");
    const lks_ops *ops = b->compute.ops;
    lks_status st = ops->arena_open(&b->compute, &b->room, 2 * lks_arena_cost(b->n_floats, sizeof(float)), err);
    if (st != LKS_OK)
        return st;
    b->x = lks_arena_take(&b->room, b->n_floats, sizeof *b->x);
    b->y = lks_arena_take(&b->room, b->n_floats, sizeof *b->y);
    b->compute.scratch = &b->room;
    return LKS_OK;
}

/* x and y hold random numbers in their first n. */
static void fill_to(bench *b, size_t n)
{
    for (; b->n_filled < n; b->n_filled += N_RANDOM) {
        size_t left = b->n_floats - b->n_filled, part = (left < N_RANDOM ? left : N_RANDOM) * sizeof(float);
        b->compute.ops->upload(&b->compute, b->x + b->n_filled, b->random, part);
        b->compute.ops->upload(&b->compute, b->y + b->n_filled, b->random, part);
    }
}

static void close_bench(bench *b)
{
    if (b->room.base)
        b->compute.ops->arena_close(&b->compute, &b->room);
    lks_queue_close(b->queue);
    lks_device_close(b->device);
    lks_arena_release(&b->weights);
    free(b->random);
}

static lks_status open_bench(bench *b, const lks_device_info *info, lks_error *err)
{
    *b = (bench){.random = malloc(N_RANDOM * sizeof(float)), .bf16 = info->major >= 8};
    if (!b->random)
        return lks_error_set(err, LKS_ERR_NOMEM, "out of memory");
    fill_random(b->random, N_RANDOM);
    lks_status st = lks_device_open(&b->device, err);
    if (st == LKS_OK)
        st = prepare_weights(b, err);
    if (st == LKS_OK)
        st = lks_queue_open(&b->queue, b->device, err);
    if (st == LKS_OK) {
        b->compute = (lks_compute){.ops = lks_device_ops(b->device), .queue = b->queue};
        st = prepare_room(b, info, err);
    }
    return st;
}

/* ---- timing ---- */

static double floating_operations(const work *w, int n)
{
    double of_linear = 0.0, of_attention = 4.0 * w->n_tokens * w->n_tokens;
    switch (w->kind) {
    case LINEAR:
        return 2.0 * n * w->layer->d_in * w->layer->d_out;
    case ATTENTION:
        return n * of_attention * D_HEAD;
    case BLOCK:
        for (int i = 0; i < N_LAYERS; i++)
            of_linear += 2.0 * w->n_tokens * shapes[i].d_in * shapes[i].d_out;
        return n * ((w->parts & LKS_BLOCK_LINEAR ? of_linear : 0.0) +
                    (w->parts & LKS_BLOCK_ATTENTION ? of_attention * WIDTH : 0.0));
    }
    return 0.0;
}

static size_t floats_needed(const work *w, int n)
{
    switch (w->kind) {
    case LINEAR:
        return (size_t)n * (size_t)(w->layer->d_in > w->layer->d_out ? w->layer->d_in : w->layer->d_out);
    case ATTENTION:
        return (size_t)((n + N_HEADS - 1) / N_HEADS) * (size_t)w->n_tokens * 3 * WIDTH;
    case BLOCK:
        return (size_t)n * (size_t)w->n_tokens * WIDTH;
    }
    return 0;
}

static void queue_linear(bench *b, const work *w, int n)
{
    lks_linear_dense(&b->compute, w->layer, b->y, b->x, n, shapes[w->i].activation,
                     shapes[w->i].residual ? b->y : NULL);
}

static void queue_attention(bench *b, const work *w, int n)
{
    int n_heads = n < N_HEADS ? n : N_HEADS;
    lks_attention a = lks_attention_of_qkv(n / n_heads, w->n_tokens, n_heads, D_HEAD, WIDTH);
    a.query = b->x;
    a.key = b->x + WIDTH;
    a.value = b->x + 2 * WIDTH;
    a.out = b->y;
    b->compute.rounds = w->rounds;
    b->compute.ops->attention(&b->compute, &a);
}

static void queue_block(bench *b, const work *w, int n)
{
    b->compute.ops->block(&b->compute, &b->block, b->y, n, w->n_tokens, w->parts);
}

/* Seconds of a run on n rows, heads or photos, in the fastest of n_turns; n_queued runs are queued before they are waited for. */
static lks_status time_runs(double *seconds, bench *b, const work *w, int n, int n_turns, int n_queued, lks_error *err)
{
    void (*const queue[])(bench *, const work *, int) = {queue_linear, queue_attention, queue_block};
    lks_status st = LKS_OK;
    for (int turn = 0; turn < n_turns && st == LKS_OK; turn++) {
        double began = now();
        for (int run = 0; run < n_queued; run++)
            queue[w->kind](b, w, n);
        st = b->compute.ops->sync(&b->compute, err);
        double taken = (now() - began) / n_queued;
        *seconds = turn == 0 || taken < *seconds ? taken : *seconds;
    }
    return st;
}

/* 10^9 operations per second on `most` rows, heads or photos, or on the fewest of an eighth, an eighth of that ... which take long. *n is how
 * many. */
static lks_status measure_work(double *rate, int *n, bench *b, const work *w, int most, lks_error *err)
{
    for (int shift = 12;; shift -= 3) {
        *n = most >> shift;
        if (w->kind == ATTENTION && *n > N_HEADS)
            *n -= *n % N_HEADS;
        if (*n == 0)
            continue;
        fill_to(b, floats_needed(w, *n));
        double seconds;
        lks_status st = time_runs(&seconds, b, w, *n, 2, 1, err); /* the first one loads what it needs */
        bool last = st == LKS_OK && (shift == 0 || seconds > LONG_ENOUGH);
        if (last && shift == 0)
            st = time_runs(&seconds, b, w, *n, N_TURNS, (int)(LONG_ENOUGH / seconds) + 1, err);
        if (last)
            *rate = floating_operations(w, *n) / seconds * 1e-9;
        if (last || st != LKS_OK)
            return st;
    }
}

static lks_status measure_block(lks_block_speed *out, int *n_rows, bench *b, const lks_linear *layers, int most,
                                lks_error *err)
{
    double *const rates[N_LAYERS] = {&out->qkv, &out->proj, &out->fc1, &out->fc2};
    double multiplied = 0.0, seconds = 0.0; /* of a row */
    for (int i = 0; i < N_LAYERS; i++) {
        const work w = {.kind = LINEAR, .layer = &layers[i], .i = i};
        lks_status st = measure_work(rates[i], n_rows, b, &w, most, err);
        if (st != LKS_OK)
            return st;
        multiplied += floating_operations(&w, 1);
        seconds += floating_operations(&w, 1) / *rates[i];
    }
    out->all = multiplied / seconds;
    return LKS_OK;
}

static lks_status measure_whole(lks_whole_speed *out, int *n_photos, bench *b, int n_tokens, int most, lks_error *err)
{
    const struct {
        double *rate;
        unsigned parts;
    } parts[] = {{&out->all, LKS_BLOCK_ALL}, {&out->linear, LKS_BLOCK_LINEAR}, {&out->attention, LKS_BLOCK_ATTENTION}};
    lks_status st = LKS_OK;
    for (size_t i = 0; i < sizeof parts / sizeof *parts && st == LKS_OK; i++) {
        const work w = {.kind = BLOCK, .n_tokens = n_tokens, .parts = parts[i].parts};
        st = measure_work(parts[i].rate, n_photos, b, &w, most, err);
    }
    return st;
}

static lks_status measure_length(lks_gpu_speed *speed, int k, bench *b, lks_error *err)
{
    int n_tokens = lengths[k], fit = (int)(b->n_floats / ((size_t)n_tokens * D_MLP));
    int most = fit < MAX_PHOTOS ? fit : MAX_PHOTOS, rows = most * n_tokens, heads = most * N_HEADS;
    const work exact = {.kind = ATTENTION, .n_tokens = n_tokens};
    const work rounded = {.kind = ATTENTION, .n_tokens = n_tokens, .rounds = true};
    speed->layers[k].n_tokens = n_tokens;
    lks_status st = measure_block(&speed->layers[k].f32, &speed->layers[k].n_rows, b, b->layers[F32], rows, err);
    if (st == LKS_OK)
        st = measure_block(&speed->layers[k].int8, &speed->layers[k].n_rows, b, b->layers[INT8], rows, err);
    if (st == LKS_OK && b->bf16)
        st = measure_block(&speed->layers[k].bf16, &speed->layers[k].n_rows, b, b->layers[BF16], rows, err);
    if (st == LKS_OK)
        st = measure_work(&speed->layers[k].f32_attention_gflops, &speed->layers[k].n_heads, b, &exact, heads, err);
    if (st == LKS_OK && b->bf16)
        st = measure_work(&speed->layers[k].bf16_attention_gflops, &speed->layers[k].n_heads, b, &rounded, heads, err);
    if (st == LKS_OK && b->bf16 && b->compute.ops->block_fits(&b->block, n_tokens))
        st = measure_whole(&speed->layers[k].block, &speed->layers[k].n_photos, b, n_tokens, most, err);
    return st;
}

lks_status lks_gpu_measure(lks_gpu_speed *speed, lks_error *err)
{
    lks_device_info info;
    lks_status st = lks_device_describe(&info, err);
    if (st != LKS_OK)
        return st;
    bench b;
    lks_gpu_speed result = {.f32_gflops = 0.0};
    lks_roofline roof;
    st = open_bench(&b, &info, err);
    if (st == LKS_OK)
        st = lks_device_measure(&roof, &b.compute, err);
    if (st == LKS_OK)
        result = (lks_gpu_speed){.f32_gflops = roof.f32_gflops,
                                 .bf16_gflops = roof.bf16_gflops,
                                 .int8_gops = roof.int8_gops,
                                 .dram_gbps = roof.dram_gbps};
    for (int k = 0; k < N_LENGTHS && st == LKS_OK; k++)
        st = measure_length(&result, k, &b, err);
    close_bench(&b);
    if (st == LKS_OK)
        *speed = result;
    return st;
}
