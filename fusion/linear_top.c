/* The best outputs of a wide layer without all of them: see lks_linear_top. Columns are computed in chunks that stay in L1; of a
 * chunk only its best outputs and its log-sum-exp are kept. Chunks are the same whatever the number of threads. */
#include <assert.h>
#include <math.h>
#include <string.h>

#include "fusion/cpu/kernels.h"
#include "fusion/cpu/word_rows.h"

enum { CHUNK = 1024 /* columns: whole panels of every precision */ };

static long count_chunks(int d_out)
{
    return ((long)d_out + CHUNK - 1) / CHUNK;
}

/* The layer's outputs begin..end - 1 as a layer of its own; begin is a multiple of CHUNK. */
static lks_linear part_of(const lks_linear *layer, int begin, int end)
{
    lks_linear part = {.d_in = layer->d_in, .d_out = end - begin, .bias = layer->bias ? layer->bias + begin : NULL};
    size_t groups = lks_int4_panel_groups(layer->d_in, begin);
    switch (lks_linear_precision(layer)) {
    case LKS_PRECISION_INT8:
        part.int8 = (lks_int8_weights){layer->int8.panels + lks_int8_panel_bytes(layer->d_in, begin),
                                       layer->int8.scales + begin, layer->int8.sums + begin};
        break;
    case LKS_PRECISION_INT4:
        part.int4 = (lks_int4_weights){layer->int4.panels + groups * LKS_INT4_GROUP_BYTES,
                                       layer->int4.scales + groups * LKS_INT4_COLUMNS};
        break;
    case LKS_PRECISION_BF16:
        part.bf16.panels = layer->bf16.panels + lks_bf16_panel_count(layer->d_in, begin);
        break;
    case LKS_PRECISION_F32:
    case LKS_PRECISION_AS_STORED:
        part.packed = layer->packed + (size_t)begin * (size_t)layer->d_in;
        break;
    }
    return part;
}

typedef struct top_job {
    const lks_compute *compute;
    const lks_linear *layer;
    const float *x;
    int n, k;
    float *sums;            /* [n_chunks, n] log-sum-exp */
    unsigned char *threads; /* [n_threads, thread_bytes] */
    size_t thread_bytes;
} top_job;

/* Lists of the best so far, one per row; all rows have the same number. */
typedef struct top_lists {
    float *values; /* [n, k] */
    int32_t *indices;
    int count;
} top_lists;

static top_lists take_lists(lks_arena *arena, int n, int k)
{
    size_t cells = (size_t)n * (size_t)k;
    top_lists lists = {.values = lks_arena_take(arena, cells, sizeof(float))};
    lists.indices = lks_arena_take(arena, cells, sizeof(int32_t));
    return lists;
}

/* What lies at the start of a thread's memory, and the whole of it. */
static top_lists lists_of(const top_job *job, int thread, lks_arena *memory)
{
    *memory = (lks_arena){.base = job->threads + (size_t)thread * job->thread_bytes, .size = job->thread_bytes};
    return take_lists(memory, job->n, job->k);
}

static size_t lists_bytes(int n, int k)
{
    return 2 * lks_arena_cost((size_t)n * (size_t)k, sizeof(float));
}

static size_t thread_bytes(int n, int d_in, int k)
{
    size_t rounded = ((size_t)n + 1) * (lks_row_words(d_in, 1, 1) + 16) * sizeof(uint32_t);
    return 2 * lists_bytes(n, k) + lks_arena_cost((size_t)n * CHUNK, sizeof(float)) + lks_arena_cost(rounded, 1) +
           lks_arena_cost((size_t)n, sizeof(lks_int8_row)) + LKS_ALIGNMENT;
}

/* Entries of `from`, whose columns come after those of `to`, compete for places in `to`. */
static int merge(float *values, int32_t *indices, int count, int k, const float *from_values,
                 const int32_t *from_indices, int n_from, int offset)
{
    for (int i = 0; i < n_from; i++)
        lks_top_k_insert(values, indices, &count, k, from_values[i], from_indices[i] + offset);
    return count;
}

static void merge_lists(top_lists *to, const top_lists *from, int n, int k, int from_k, int offset)
{
    int count = to->count;
    for (int i = 0; i < n; i++)
        count = merge(to->values + (size_t)i * (size_t)k, to->indices + (size_t)i * (size_t)k, to->count, k,
                      from->values + (size_t)i * (size_t)from_k, from->indices + (size_t)i * (size_t)from_k,
                      from->count, offset);
    to->count = count;
}

static void top_part(void *argument, int thread, int n_threads)
{
    const top_job *job = argument;
    const lks_linear *layer = job->layer;
    const lks_ops *ops = job->compute->ops;
    lks_arena memory;
    top_lists best = lists_of(job, thread, &memory), chunk_best = take_lists(&memory, job->n, job->k);
    float *outputs = lks_arena_take(&memory, (size_t)job->n * CHUNK, sizeof *outputs);
    assert(outputs);
    const lks_compute alone = {.ops = ops, .scratch = &memory};
    long begin, end;
    lks_threads_share(count_chunks(layer->d_out), 1, thread, n_threads, &begin, &end);
    for (long chunk = begin; chunk < end; chunk++) {
        int first = (int)chunk * CHUNK, last = layer->d_out - first < CHUNK ? layer->d_out : first + CHUNK;
        lks_linear part = part_of(layer, first, last);
        lks_linear_dense(&alone, &part, outputs, job->x, job->n, LKS_ACT_NONE, NULL);
        chunk_best.count = job->k < part.d_out ? job->k : part.d_out;
        ops->top_k(&alone, chunk_best.values, chunk_best.indices, outputs, job->n, part.d_out, chunk_best.count);
        ops->log_sum_exp(&alone, job->sums + chunk * job->n, outputs, job->n, part.d_out);
        merge_lists(&best, &chunk_best, job->n, job->k, chunk_best.count, first);
    }
}

/* log of the sum of exp over n numbers `stride` apart */
static float join_sums(const float *sums, long n, int stride)
{
    float max = sums[0];
    for (long i = 1; i < n; i++)
        max = sums[i * stride] > max ? sums[i * stride] : max;
    double total = 0.0;
    for (long i = 0; i < n; i++)
        total += exp((double)sums[i * stride] - (double)max);
    return (float)((double)max + log(total));
}

void lks_linear_top(const lks_compute *compute, const lks_linear *layer, const lks_top *top, const float *x, int n)
{
    compute->ops->linear_top(compute, layer, top, x, n);
}

void lks_host_linear_top(const lks_compute *compute, const lks_linear *layer, const lks_top *top, const float *x, int n)
{
    size_t mark = lks_arena_mark(compute->scratch);
    long chunks = count_chunks(layer->d_out);
    int n_threads = lks_threads_count(compute->threads), k = top->k;
    top_job job = {.compute = compute, .layer = layer, .x = x, .n = n, .k = k};
    job.thread_bytes = thread_bytes(n, layer->d_in, k);
    job.sums = lks_arena_take(compute->scratch, (size_t)chunks * (size_t)n, sizeof *job.sums);
    job.threads = lks_arena_take(compute->scratch, (size_t)n_threads, job.thread_bytes);
    assert(job.sums && job.threads);
    lks_threads_run(compute->threads, top_part, &job);

    top_lists all = {.values = top->values, .indices = top->indices};
    for (int t = 0; t < n_threads; t++) { /* in the order of their columns */
        long begin, end;
        lks_arena memory;
        lks_threads_share(chunks, 1, t, n_threads, &begin, &end);
        top_lists lists = lists_of(&job, t, &memory);
        long columns = (end * CHUNK < layer->d_out ? end * CHUNK : layer->d_out) - begin * CHUNK;
        lists.count = columns < 0 ? 0 : columns < k ? (int)columns : k;
        if (begin < end)
            merge_lists(&all, &lists, n, k, k, 0);
    }
    for (int i = 0; i < n; i++)
        top->log_sum_exp[i] = join_sums(job.sums + i, chunks, n);
    lks_arena_reset(compute->scratch, mark);
}

size_t lks_linear_top_scratch(int n_threads, int n, int d_in, int d_out, int k)
{
    return lks_arena_cost((size_t)count_chunks(d_out) * (size_t)n, sizeof(float)) +
           lks_arena_cost((size_t)n_threads, thread_bytes(n, d_in, k));
}
