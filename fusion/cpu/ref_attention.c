/* Reference attention: for every query the scores of all keys, their softmax, the weighted sum of the values. */
#include <math.h>

#include "fusion/cpu/kernels.h"

static double feature(float x)
{
    return x > 0.0f ? x + 1.0 : exp(x); /* elu(x) + 1 */
}

/* Element `at` of keys or values, in whichever form they are. */
static float element(const float *floats, const uint16_t *halves, int64_t at)
{
    return floats ? floats[at] : lks_bf16_to_float(halves[at]);
}

/* The weight of the key at `at` before normalisation: a score (softmax) or a product of features (linear). */
static double affinity(const lks_attention *a, const float *q, int64_t at)
{
    double sum = 0.0;
    if (a->kind == LKS_ATTENTION_LINEAR) {
        for (int d = 0; d < a->d_head; d++)
            sum += feature(q[d]) * feature(element(a->key, a->key_bf16, at + d));
        return sum;
    }
    for (int d = 0; d < a->d_head; d++)
        sum += (double)q[d] * element(a->key, a->key_bf16, at + d);
    return a->scale * sum;
}

/* Turns the affinities of the visible keys (the others hold -INFINITY) into weights that sum to 1, in place. */
static double normalise(const lks_attention *a, float *weights)
{
    double max = -INFINITY, sum = 0.0;
    for (int j = 0; j < a->n_keys; j++)
        if (weights[j] > max)
            max = weights[j];
    if (max == -INFINITY) {
        for (int j = 0; j < a->n_keys; j++)
            weights[j] = 0.0f;
        return -INFINITY;
    }
    bool linear = a->kind == LKS_ATTENTION_LINEAR;
    for (int j = 0; j < a->n_keys; j++) {
        if (linear)
            weights[j] = weights[j] == -INFINITY ? 0.0f : weights[j];
        else
            weights[j] = (float)exp(weights[j] - max);
        sum += weights[j];
    }
    for (int j = 0; j < a->n_keys; j++)
        weights[j] = (float)(weights[j] / sum);
    return linear ? log(sum) : max + log(sum);
}

static void attend(const lks_attention *a, int b, int h, int i, float *weights)
{
    const lks_head_offsets at = lks_attention_offsets(a, b, h);
    const float *q = a->query + at.query + i * a->query_row_stride;
    float *out = a->out + at.out + i * a->out_row_stride;

    int end = lks_attention_visible_end(a, b, i);
    for (int j = 0; j < a->n_keys; j++) {
        bool visible = j < end && (!a->key_mask || a->key_mask[(int64_t)b * a->n_keys + j]);
        weights[j] = visible ? (float)affinity(a, q, at.kv + j * a->kv_row_stride) : -INFINITY;
    }
    double log_sum_exp = normalise(a, weights);

    for (int d = 0; d < a->d_head; d++) {
        double sum = 0.0;
        for (int j = 0; j < a->n_keys; j++)
            if (weights[j] != 0.0f) /* hidden values may be anything, NaN too */
                sum += (double)weights[j] * element(a->value, a->value_bf16, at.kv + j * a->kv_row_stride + d);
        out[d] = (float)sum;
    }
    int64_t row = ((int64_t)b * a->n_heads + h) * a->n_queries + i;
    if (a->log_sum_exp)
        a->log_sum_exp[row] = (float)log_sum_exp;
    if (a->map)
        for (int j = 0; j < a->n_keys; j++)
            a->map[row * a->n_keys + j] = weights[j];
}

typedef struct attention_job {
    const lks_attention *attention;
    float *weights; /* [n_threads, n_keys] */
} attention_job;

static void attention_part(void *argument, int thread, int n_threads)
{
    const attention_job *job = argument;
    const lks_attention *a = job->attention;
    long begin, end;
    lks_threads_share((long)a->n_batch * a->n_heads * a->n_queries, 1, thread, n_threads, &begin, &end);
    for (long row = begin; row < end; row++) {
        long head = row / a->n_queries;
        attend(a, (int)(head / a->n_heads), (int)(head % a->n_heads), (int)(row % a->n_queries),
               job->weights + (int64_t)thread * a->n_keys);
    }
}

void lks_ref_attention(const lks_compute *compute, const lks_attention *attention)
{
    size_t mark = lks_arena_mark(compute->scratch);
    size_t n = (size_t)lks_threads_count(compute->threads) * (size_t)attention->n_keys;
    attention_job job = {.attention = attention, .weights = lks_arena_take(compute->scratch, n, sizeof(float))};
    double work = 2.0 * attention->n_batch * attention->n_heads * attention->n_queries;
    lks_parallel(compute, work * attention->n_keys * attention->d_head, attention_part, &job);
    lks_arena_reset(compute->scratch, mark);
}
