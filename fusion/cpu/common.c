/* What the tables share: when to use the pool, which keys a query sees, attention's units of work and scratch, insertion into a list of the best. */
#include <assert.h>
#include <math.h>

#include "fusion/cpu/kernels.h"
#include "fusion/cpu/panels.h"

#define LEAST_SHARE 1e3 /* of a thread: handing out a job costs a microsecond, more with more threads */

void lks_parallel(const lks_compute *compute, double work, lks_job job, void *argument)
{
    const bool pays = work >= LEAST_SHARE * lks_threads_count(compute->threads);
    lks_threads_run(pays ? compute->threads : NULL, job, argument);
}

int lks_attention_visible_end(const lks_attention *attention, int b, int i)
{
    int64_t end = attention->n_keys;
    if (attention->key_lengths && attention->key_lengths[b] < end)
        end = attention->key_lengths[b];
    if (attention->causal) {
        int64_t seen = (int64_t)i + attention->causal_offset + 1;
        if (seen < attention->n_prefix)
            seen = attention->n_prefix;
        if (seen < end)
            end = seen;
    }
    return end > 0 ? (int)end : 0;
}

lks_head_offsets lks_attention_offsets(const lks_attention *a, int b, int h)
{
    const int64_t entry = a->kv_index ? a->kv_index[b] : b, group = (int64_t)h * a->n_kv_heads / a->n_heads;
    return (lks_head_offsets){.query = b * a->query_batch_stride + (int64_t)h * a->d_head,
                              .kv = entry * a->kv_batch_stride + group * a->d_head,
                              .out = b * a->out_batch_stride + (int64_t)h * a->d_head};
}

static size_t round_up(size_t n, size_t unit)
{
    return (n + unit - 1) / unit * unit;
}

size_t lks_attention_scratch_floats(int n_keys, int d_head)
{
    size_t keys = round_up((size_t)n_keys, LKS_PANEL), d = round_up((size_t)d_head, LKS_PANEL);
    return 2 * keys * d + LKS_QUERY_BLOCK * (2 * d + LKS_KEY_BLOCK + 32);
}

static int choose_chunk(const lks_attention *a, int n_threads)
{
    const long heads = (long)a->n_batch * a->n_heads;
    for (int n = 1;; n++) {
        const int rows = (a->n_queries + n - 1) / n;
        const int chunk = (rows + LKS_QUERY_BLOCK - 1) / LKS_QUERY_BLOCK * LKS_QUERY_BLOCK;
        const long units = heads * ((a->n_queries + chunk - 1) / chunk), largest = (units + n_threads - 1) / n_threads;
        if (largest * n_threads * 10 <= units * 12 || chunk <= 2 * LKS_QUERY_BLOCK)
            return chunk;
    }
}

static void run_attention(const lks_compute *compute, const lks_attention *a, lks_shares *shares, double work,
                          lks_job part)
{
    const int n_threads = lks_threads_count(compute->threads);
    const size_t mark = lks_arena_mark(compute->scratch);
    lks_attention_job job = {
        .attention = a, .scratch_step = lks_attention_scratch_floats(a->n_keys, a->d_head), .shares = shares};
    job.scratch = lks_arena_take(compute->scratch, (size_t)n_threads * job.scratch_step, sizeof *job.scratch);
    assert(job.scratch);
    if (shares) {
        job.chunk = choose_chunk(a, n_threads);
        job.n_chunks = (a->n_queries + job.chunk - 1) / job.chunk;
        lks_shares_open(shares, (long)a->n_batch * a->n_heads * job.n_chunks, n_threads);
    }
    lks_parallel(compute, work, part, &job);
    lks_arena_reset(compute->scratch, mark);
}

void lks_attention_run(const lks_compute *compute, const lks_attention *attention, double work, lks_job part)
{
    run_attention(compute, attention, NULL, work, part);
}

void lks_attention_share_out(const lks_compute *compute, const lks_attention *attention, double work, lks_job part)
{
    lks_shares shares;
    run_attention(compute, attention, &shares, work, part);
}

bool lks_attention_take(const lks_attention_job *job, lks_attention_unit *unit, int thread)
{
    const lks_attention *a = job->attention;
    long next;
    if (!lks_shares_take(job->shares, &next, thread))
        return false;
    const long which = next / job->n_chunks;
    const int batch = (int)(which / a->n_heads), head = (int)(which % a->n_heads);
    const int first = (int)(next % job->n_chunks) * job->chunk;
    *unit = (lks_attention_unit){.batch = batch,
                                 .head = head,
                                 .first = first,
                                 .last = first + job->chunk < a->n_queries ? first + job->chunk : a->n_queries,
                                 .same_head = batch == unit->batch && head == unit->head};
    return true;
}

bool lks_top_k_precedes(float a, float b)
{
    return a > b || (isnan(b) && !isnan(a));
}

void lks_top_k_insert(float *values, int32_t *indices, int *n, int k, float value, int32_t index)
{
    if (*n == k && !lks_top_k_precedes(value, values[k - 1]))
        return;
    int at = *n < k ? (*n)++ : k - 1;
    for (; at > 0 && lks_top_k_precedes(value, values[at - 1]); at--) {
        values[at] = values[at - 1];
        indices[at] = indices[at - 1];
    }
    values[at] = value;
    indices[at] = index;
}
