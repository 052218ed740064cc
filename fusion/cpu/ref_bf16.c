/* The reference bf16 linear layer: see fusion/bf16.h. Plain loops over the packed panels, sums in double precision. */
#include "fusion/cpu/kernels.h"
#include "fusion/cpu/word_rows.h"

typedef struct bf16_job {
    const lks_linear *layer;
    const lks_linear_args *args;
    int first, n;  /* rows of this chunk */
    float *inputs; /* [n, d_in] rounded */
} bf16_job;

static void round_part(void *argument, int thread, int n_threads)
{
    const bf16_job *job = argument;
    int d_in = job->layer->d_in;
    long begin, end;
    lks_threads_share(job->n, 1, thread, n_threads, &begin, &end);
    for (long i = begin; i < end; i++)
        for (int k = 0; k < d_in; k++)
            job->inputs[i * d_in + k] =
                lks_bf16_to_float(lks_bf16_from_float(job->args->x[(job->first + i) * job->args->x_stride + k]));
}

static double dot(const lks_linear *layer, const float *x, int o)
{
    enum { COLUMNS = LKS_BF16_COLUMNS, GROUP = LKS_BF16_GROUP };
    size_t n_groups = ((size_t)layer->d_in + GROUP - 1) / GROUP;
    const uint16_t *w =
        layer->bf16.panels + ((size_t)(o / COLUMNS) * n_groups * COLUMNS + (size_t)(o % COLUMNS)) * GROUP;
    double sum = layer->bias ? (double)layer->bias[o] : 0.0;
    for (int k = 0; k < layer->d_in; k++)
        sum += (double)x[k] * (double)lks_bf16_to_float(w[(size_t)(k / GROUP) * COLUMNS * GROUP + (size_t)(k % GROUP)]);
    return sum;
}

static void linear_part(void *argument, int thread, int n_threads)
{
    const bf16_job *job = argument;
    const lks_linear *layer = job->layer;
    long begin, end;
    lks_threads_share(layer->d_out, 1, thread, n_threads, &begin, &end);
    for (int i = 0; i < job->n; i++)
        for (long o = begin; o < end; o++)
            lks_ref_put_output(job->args, job->first + i, o,
                               dot(layer, job->inputs + (size_t)i * (size_t)layer->d_in, (int)o));
}

void lks_ref_linear_bf16(const lks_compute *compute, const lks_linear *layer, const lks_linear_args *args)
{
    size_t mark = lks_arena_mark(compute->scratch);
    bf16_job job = {.layer = layer, .args = args};
    int chunk = lks_chunk_rows(lks_row_words(layer->d_in, 1, 1));
    chunk = args->n < chunk ? args->n : chunk;
    job.inputs = lks_arena_take(compute->scratch, (size_t)chunk * (size_t)layer->d_in, sizeof *job.inputs);
    for (; job.first < args->n; job.first += chunk) {
        job.n = args->n - job.first < chunk ? args->n - job.first : chunk;
        lks_parallel(compute, (double)job.n * layer->d_in, round_part, &job);
        lks_parallel(compute, (double)job.n * layer->d_in * layer->d_out, linear_part, &job);
    }
    lks_arena_reset(compute->scratch, mark);
}
