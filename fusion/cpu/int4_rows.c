/* The frame of int4 layers: see int4_rows.h. */
#include "fusion/cpu/int4_rows.h"

#include "fusion/cpu/kernels.h"

static void round_part(void *argument, int thread, int n_threads)
{
    const lks_int4_job *job = argument;
    long begin, end;
    lks_threads_share(job->n, 1, thread, n_threads, &begin, &end);
    for (long i = begin; i < end; i++)
        lks_int4_round(job->inputs + (size_t)i * lks_int4_groups(job->layer->d_in),
                       job->args->x + (job->first + i) * job->args->x_stride, job->layer->d_in);
}

void lks_int4_run(const lks_compute *compute, const lks_linear *layer, const lks_linear_args *args, lks_job part,
                  int n_lanes)
{
    size_t mark = lks_arena_mark(compute->scratch), n_groups = lks_int4_groups(layer->d_in);
    lks_int4_job job = {.layer = layer, .args = args};
    int chunk = lks_chunk_rows(lks_row_words(layer->d_in, 1, 1));
    chunk = args->n < chunk ? args->n : chunk;
    job.inputs = lks_arena_take(compute->scratch, (size_t)chunk * n_groups, sizeof *job.inputs);
    for (; job.first < args->n; job.first += chunk) {
        job.n = args->n - job.first < chunk ? args->n - job.first : chunk;
        lks_parallel(compute, (double)job.n * layer->d_in / n_lanes, round_part, &job);
        lks_parallel(compute, (double)job.n * layer->d_in * layer->d_out / n_lanes, part, &job);
    }
    lks_arena_reset(compute->scratch, mark);
}
