/* Reference attention in int8: see fusion/attention.h. */
#include <math.h>

#include "fusion/cpu/kernels.h"
#include "fusion/cpu/word_rows.h"

enum { MOST = LKS_MOST_INT8_HEAD };

/* One head: rows of n_queries, n_keys. */
typedef struct head {
    const lks_attention *a;
    const float *query, *key, *value;
    float *out;
    float query_mean[MOST], key_mean[MOST], centre[MOST], reach[MOST];
    double *weights; /* [n_keys] */
} head;

/* mean [d], summed in single precision in the order of the rows. */
static void mean_of_rows(float *mean, const float *rows, int64_t stride, int n, int d)
{
    for (int c = 0; c < d; c++) {
        float sum = 0.0f;
        for (int j = 0; j < n; j++)
            sum += rows[j * stride + c];
        mean[c] = sum * (1.0f / (float)n);
    }
}

static bool is_finite(const float *rows, int64_t stride, int n, int d)
{
    for (int j = 0; j < n; j++)
        for (int c = 0; c < d; c++)
            if (!isfinite(rows[j * stride + c]))
                return false;
    return true;
}

/* bytes [d] ~ (x - mean) / step, which is returned. */
static double quantise_centred(int *bytes, const float *x, const float *mean, int d)
{
    float largest = 0.0f;
    for (int c = 0; c < d; c++)
        largest = fmaxf(largest, fabsf(x[c] - mean[c]));
    const float inverse = lks_int8_inverse(largest);
    for (int c = 0; c < d; c++)
        bytes[c] = (int)lrintf((x[c] - mean[c]) * inverse);
    return inverse == 0.0f ? 0.0 : largest / 127.0f;
}

/* The middle of a column's values, and how far they are from it. */
static void measure_column(head *h, int c)
{
    const lks_attention *a = h->a;
    float low = INFINITY, high = -INFINITY;
    for (int j = 0; j < a->n_keys; j++) {
        const float v = h->value[j * a->kv_row_stride + c];
        low = v < low ? v : low;
        high = v > high ? v : high;
    }
    h->centre[c] = high * 0.5f + low * 0.5f;
    h->reach[c] = high * 0.5f - low * 0.5f;
}

static void attend(const head *h, int i)
{
    const lks_attention *a = h->a;
    const int d = a->d_head;
    int query[MOST], key[MOST];
    double most = -INFINITY, total = 0.0;
    const double query_step = quantise_centred(query, h->query + i * a->query_row_stride, h->query_mean, d);
    for (int j = 0; j < a->n_keys; j++) {
        const float *row = h->key + j * a->kv_row_stride;
        const double key_step = quantise_centred(key, row, h->key_mean, d);
        double sum = 0.0, shift = 0.0;
        for (int c = 0; c < d; c++) {
            sum += query[c] * key[c];
            shift += (double)h->query_mean[c] * (row[c] - h->key_mean[c]);
        }
        h->weights[j] = a->scale * (query_step * key_step * sum + shift);
        most = h->weights[j] > most ? h->weights[j] : most;
    }
    for (int j = 0; j < a->n_keys; j++) {
        h->weights[j] = nearbyint(LKS_INT8_WEIGHT * exp(h->weights[j] - most));
        total += h->weights[j];
    }
    for (int c = 0; c < d; c++) {
        const float inverse = lks_int8_inverse(h->reach[c]), step = inverse == 0.0f ? 0.0f : h->reach[c] / 127.0f;
        double sum = 0.0;
        for (int j = 0; j < a->n_keys; j++)
            sum += h->weights[j] * (double)lrintf((h->value[j * a->kv_row_stride + c] - h->centre[c]) * inverse);
        h->out[i * a->out_row_stride + c] = (float)(h->centre[c] + step * sum / total);
    }
}

static void attend_head(head *h, const lks_attention *a, int b, int which)
{
    const lks_head_offsets at = lks_attention_offsets(a, b, which);
    const int d = a->d_head;
    h->a = a;
    h->query = a->query + at.query;
    h->key = a->key + at.kv;
    h->value = a->value + at.kv;
    h->out = a->out + at.out;
    const bool finite = is_finite(h->query, a->query_row_stride, a->n_queries, d) &&
                        is_finite(h->key, a->kv_row_stride, a->n_keys, d) &&
                        is_finite(h->value, a->kv_row_stride, a->n_keys, d);
    mean_of_rows(h->query_mean, h->query, a->query_row_stride, a->n_queries, d);
    mean_of_rows(h->key_mean, h->key, a->kv_row_stride, a->n_keys, d);
    for (int c = 0; c < d; c++)
        measure_column(h, c);
    for (int i = 0; i < a->n_queries; i++) {
        if (finite)
            attend(h, i);
        for (int c = 0; c < d && !finite; c++)
            h->out[i * a->out_row_stride + c] = NAN;
    }
}

bool lks_ref_attention_int8(const lks_compute *compute, const lks_attention *attention)
{
    if (!lks_attention_int8_takes(attention))
        return false;
    const size_t mark = lks_arena_mark(compute->scratch);
    head h = {.weights = lks_arena_take(compute->scratch, (size_t)attention->n_keys, sizeof *h.weights)};
    for (int b = 0; b < attention->n_batch; b++)
        for (int which = 0; which < attention->n_heads; which++)
            attend_head(&h, attention, b, which);
    lks_arena_reset(compute->scratch, mark);
    return true;
}
