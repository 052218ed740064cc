/* The reference int8 linear layer: see fusion/int8.h. Plain loops over the packed panels. */
#include <math.h>

#include "fusion/cpu/kernels.h"
#include "fusion/cpu/word_rows.h"

typedef struct int8_job {
    const lks_linear *layer;
    const lks_linear_args *args;
    int first, n;    /* rows of this chunk */
    uint8_t *inputs; /* [n, stride] */
    size_t stride;
    lks_int8_row *rows; /* [n] */
} int8_job;

static void quantise_row(uint8_t *u, lks_int8_row *row, const float *x, int d_in)
{
    float low = 0.0f, high = 0.0f;
    bool finite = true;
    for (int k = 0; k < d_in; k++) {
        finite &= isfinite(x[k]) != 0;
        low = x[k] < low ? x[k] : low;
        high = x[k] > high ? x[k] : high;
    }
    *row = lks_int8_row_of_range(low, high, finite);
    for (int k = 0; k < d_in; k++) {
        long value = finite ? lrintf(x[k] * row->inverse) + row->zero : 0;
        u[k] = (uint8_t)(value < 0 ? 0 : value > 255 ? 255 : value);
    }
}

static void quantise_part(void *argument, int thread, int n_threads)
{
    const int8_job *job = argument;
    long begin, end;
    lks_threads_share(job->n, 1, thread, n_threads, &begin, &end);
    for (long i = begin; i < end; i++)
        quantise_row(job->inputs + (size_t)i * job->stride, &job->rows[i],
                     job->args->x + (job->first + i) * job->args->x_stride, job->layer->d_in);
}

/* sum over k of U[k] W[o, k] */
static int32_t dot(const lks_linear *layer, const uint8_t *u, int o)
{
    int n_groups = (layer->d_in + LKS_INT8_GROUP - 1) / LKS_INT8_GROUP;
    const int8_t *w = layer->int8.panels + ((size_t)(o / LKS_INT8_COLUMNS) * (size_t)n_groups * LKS_INT8_COLUMNS +
                                            (size_t)(o % LKS_INT8_COLUMNS)) *
                                               LKS_INT8_GROUP;
    int32_t sum = 0;
    for (int k = 0; k < layer->d_in; k++)
        sum +=
            u[k] * w[(size_t)(k / LKS_INT8_GROUP) * LKS_INT8_COLUMNS * LKS_INT8_GROUP + (size_t)(k % LKS_INT8_GROUP)];
    return sum;
}

static void linear_part(void *argument, int thread, int n_threads)
{
    const int8_job *job = argument;
    const lks_linear *layer = job->layer;
    long begin, end;
    lks_threads_share(layer->d_out, 1, thread, n_threads, &begin, &end);
    for (int i = 0; i < job->n; i++) {
        const lks_int8_row *row = &job->rows[i];
        for (long o = begin; o < end; o++) {
            int64_t sum =
                dot(layer, job->inputs + (size_t)i * job->stride, (int)o) - (int64_t)row->zero * layer->int8.sums[o];
            double y = (double)row->scale * (double)layer->int8.scales[o] * (double)sum;
            if (layer->bias)
                y += (double)layer->bias[o];
            lks_ref_put_output(job->args, job->first + i, o, y);
        }
    }
}

void lks_ref_linear_int8(const lks_compute *compute, const lks_linear *layer, const lks_linear_args *args)
{
    size_t mark = lks_arena_mark(compute->scratch);
    int8_job job = {.layer = layer, .args = args};
    job.stride = lks_row_words(layer->d_in, LKS_INT8_GROUP, 1) * sizeof(uint32_t);
    int chunk = lks_chunk_rows(job.stride / sizeof(uint32_t));
    chunk = args->n < chunk ? args->n : chunk;
    job.inputs = lks_arena_take(compute->scratch, (size_t)chunk, job.stride);
    job.rows = lks_arena_take(compute->scratch, (size_t)chunk, sizeof *job.rows);
    for (; job.first < args->n; job.first += chunk) {
        job.n = args->n - job.first < chunk ? args->n - job.first : chunk;
        lks_parallel(compute, (double)job.n * layer->d_in, quantise_part, &job);
        lks_parallel(compute, (double)job.n * layer->d_in * layer->d_out, linear_part, &job);
    }
    lks_arena_reset(compute->scratch, mark);
}

/* Portable chains of multiply-adds, which compilers turn into whatever vectors the target always has. */
double lks_ref_run_int8(long n_rounds, int32_t *sink)
{
    enum { N_CHAINS = 64 };
    uint32_t chain[N_CHAINS] = {0};
    int16_t weight[N_CHAINS];
    for (int i = 0; i < N_CHAINS; i++)
        weight[i] = (int16_t)(*sink + i);
    for (long round = 0; round < n_rounds; round++)
        for (int i = 0; i < N_CHAINS; i++)
            chain[i] += (uint32_t)((int32_t)weight[i] * (int32_t)(int16_t)round);
    uint32_t total = 0;
    for (int i = 0; i < N_CHAINS; i++)
        total += chain[i];
    *sink = (int32_t)(total & 0x7FFFFFFF);
    return 2.0 * N_CHAINS * (double)n_rounds;
}
