/* Reference ops that work row by row or element by element. Sums run in double precision. */
#include <math.h>

#include "fusion/cpu/kernels.h"

/* Arguments of any op in this file; each uses what it needs. */
typedef struct rows_job rows_job;
struct rows_job {
    void (*row)(const rows_job *job, long i); /* what is done with a row */
    float *y;
    const float *x, *b, *weight, *bias;
    lks_table table;
    int32_t *indices;
    const int32_t *ids;
    size_t count;
    int n, d, k;
    float eps, scale;
    lks_activation activation;
};

static void rows_part(void *argument, int thread, int n_threads)
{
    const rows_job *job = argument;
    long begin, end;
    lks_threads_share(job->n, 1, thread, n_threads, &begin, &end);
    for (long i = begin; i < end; i++)
        job->row(job, i);
}

static void layer_norm_row(const rows_job *job, long i)
{
    const float *x = job->x + i * job->d;
    float *y = job->y + i * job->d;
    double mean = 0.0, variance = 0.0;
    for (int j = 0; j < job->d; j++)
        mean += x[j];
    mean /= job->d;
    for (int j = 0; j < job->d; j++)
        variance += (x[j] - mean) * (x[j] - mean);
    double scale = 1.0 / sqrt(variance / job->d + (double)job->eps);
    for (int j = 0; j < job->d; j++)
        y[j] = (float)((x[j] - mean) * scale * job->weight[j] + (job->bias ? job->bias[j] : 0.0f));
}

void lks_ref_layer_norm(const lks_compute *compute, float *y, const float *x, int n, int d, const float *weight,
                        const float *bias, float eps)
{
    rows_job job = {.row = layer_norm_row, .y = y, .x = x, .n = n, .d = d, .weight = weight, .bias = bias, .eps = eps};
    lks_parallel(compute, 4.0 * n * d, rows_part, &job);
}

static void rms_norm_row(const rows_job *job, long i)
{
    const float *x = job->x + i * job->d;
    float *y = job->y + i * job->d;
    double squares = 0.0;
    for (int j = 0; j < job->d; j++)
        squares += (double)x[j] * x[j];
    double scale = 1.0 / sqrt(squares / job->d + (double)job->eps);
    for (int j = 0; j < job->d; j++)
        y[j] = (float)(x[j] * scale * job->weight[j]);
}

void lks_ref_rms_norm(const lks_compute *compute, float *y, const float *x, int n, int d, const float *weight,
                      float eps)
{
    rows_job job = {.row = rms_norm_row, .y = y, .x = x, .n = n, .d = d, .weight = weight, .eps = eps};
    lks_parallel(compute, 3.0 * n * d, rows_part, &job);
}

static void embed_row(const rows_job *job, long i)
{
    const size_t row_bytes = (size_t)job->d * lks_dtype_size(job->table.dtype);
    const lks_tensor row = {.data = (const char *)job->table.rows + (size_t)job->ids[i] * row_bytes,
                            .dtype = job->table.dtype,
                            .n_dims = 1,
                            .shape = {job->d},
                            .stride = {1}};
    float *y = job->y + i * job->d;
    lks_tensor_to_f32(y, &row);
    for (int j = 0; j < job->d; j++)
        y[j] *= job->scale;
}

void lks_ref_embed(const lks_compute *compute, float *y, lks_table table, const int32_t *ids, int n, int d, float scale)
{
    rows_job job = {.row = embed_row, .y = y, .table = table, .ids = ids, .n = n, .d = d, .scale = scale};
    lks_parallel(compute, (double)n * d, rows_part, &job);
}

static void activate_part(void *argument, int thread, int n_threads)
{
    const rows_job *job = argument;
    long begin, end;
    lks_threads_share((long)job->count, 64, thread, n_threads, &begin, &end);
    for (long i = begin; i < end; i++)
        job->y[i] = lks_ref_activation(job->x[i], job->activation);
}

void lks_ref_activate(const lks_compute *compute, float *y, const float *x, size_t n, lks_activation activation)
{
    rows_job job = {.y = y, .x = x, .count = n, .activation = activation};
    lks_parallel(compute, 10.0 * (double)n, activate_part, &job);
}

static void add_scaled_row(const rows_job *job, long i)
{
    for (int j = 0; j < job->d; j++)
        job->y[i * job->d + j] =
            job->x[i * job->d + j] + (job->weight ? job->weight[j] : 1.0f) * job->b[i * job->d + j];
}

void lks_ref_add_scaled(const lks_compute *compute, float *y, const float *a, const float *b, const float *scale, int n,
                        int d)
{
    rows_job job = {.row = add_scaled_row, .y = y, .x = a, .b = b, .weight = scale, .n = n, .d = d};
    lks_parallel(compute, (double)n * d, rows_part, &job);
}

static double row_max(const float *x, int d)
{
    double max = x[0];
    for (int j = 1; j < d; j++)
        if (x[j] > max)
            max = x[j];
    return max;
}

static double sum_of_exp(const float *x, int d, double max)
{
    double sum = 0.0;
    for (int j = 0; j < d; j++)
        sum += exp(x[j] - max);
    return sum;
}

static double log_sum_of_exp(const float *x, int d)
{
    double max = row_max(x, d);
    return max + log(sum_of_exp(x, d, max));
}

static void softmax_row(const rows_job *job, long i)
{
    const float *x = job->x + i * job->d;
    double max = row_max(x, job->d), sum = sum_of_exp(x, job->d, max);
    for (int j = 0; j < job->d; j++)
        job->y[i * job->d + j] = (float)(exp(x[j] - max) / sum);
}

void lks_ref_softmax(const lks_compute *compute, float *y, const float *x, int n, int d)
{
    rows_job job = {.row = softmax_row, .y = y, .x = x, .n = n, .d = d};
    lks_parallel(compute, 20.0 * n * d, rows_part, &job);
}

static void log_softmax_row(const rows_job *job, long i)
{
    const float *x = job->x + i * job->d;
    double log_sum = log_sum_of_exp(x, job->d);
    for (int j = 0; j < job->d; j++)
        job->y[i * job->d + j] = (float)(x[j] - log_sum);
}

void lks_ref_log_softmax(const lks_compute *compute, float *y, const float *x, int n, int d)
{
    rows_job job = {.row = log_softmax_row, .y = y, .x = x, .n = n, .d = d};
    lks_parallel(compute, 20.0 * n * d, rows_part, &job);
}

static void log_sum_exp_row(const rows_job *job, long i)
{
    job->y[i] = (float)log_sum_of_exp(job->x + i * job->d, job->d);
}

void lks_ref_log_sum_exp(const lks_compute *compute, float *sums, const float *x, int n, int d)
{
    rows_job job = {.row = log_sum_exp_row, .y = sums, .x = x, .n = n, .d = d};
    lks_parallel(compute, 20.0 * n * d, rows_part, &job);
}

static void top_k_row(const rows_job *job, long i)
{
    int n = 0;
    for (int j = 0; j < job->d; j++)
        lks_top_k_insert(job->y + i * job->k, job->indices + i * job->k, &n, job->k, job->x[i * job->d + j], j);
}

void lks_ref_top_k(const lks_compute *compute, float *values, int32_t *indices, const float *x, int n, int d, int k)
{
    rows_job job = {.row = top_k_row, .y = values, .indices = indices, .x = x, .n = n, .d = d, .k = k};
    lks_parallel(compute, (double)n * d, rows_part, &job);
}

static void gated_row(const rows_job *job, long i)
{
    const float *x = job->x + i * 2 * job->d;
    for (int j = 0; j < job->d; j++)
        job->y[i * job->d + j] = lks_ref_activation(x[j], job->activation) * x[job->d + j];
}

void lks_ref_gated(const lks_compute *compute, float *y, const float *x, int n, int d, lks_activation activation)
{
    rows_job job = {.row = gated_row, .y = y, .x = x, .n = n, .d = d, .activation = activation};
    lks_parallel(compute, 10.0 * n * d, rows_part, &job);
}

void lks_ref_mean(const lks_compute *compute, float *y, const float *x, int n, int d)
{
    (void)compute;
    for (int j = 0; j < d; j++)
        y[j] = 0.0f;
    for (int i = 0; i < n; i++)
        for (int j = 0; j < d; j++)
            y[j] += x[(size_t)i * (size_t)d + (size_t)j];
    for (int j = 0; j < d; j++)
        y[j] /= (float)n;
}

void lks_ref_add_outer(const lks_compute *compute, float *y, const float *a, const float *b, int n, int d)
{
    (void)compute;
    for (int i = 0; i < n; i++)
        for (int j = 0; j < d; j++)
            y[(size_t)i * (size_t)d + (size_t)j] += a[i] * b[j];
}

void lks_ref_inverse_deviation(const lks_compute *compute, float *y, const float *x, int n, int d, float eps)
{
    (void)compute;
    for (int i = 0; i < n; i++, x += d) {
        double sum = 0.0, squares = 0.0;
        for (int j = 0; j < d; j++) {
            sum += (double)x[j];
            squares += (double)x[j] * (double)x[j];
        }
        double variance = fmax(squares / d - sum / d * (sum / d), 0.0);
        y[i] = (float)(1.0 / sqrt(variance + (double)eps));
    }
}

void lks_ref_weigh_bytes(uint8_t *y, const uint8_t *x, size_t stride, const int32_t *weights, int n, size_t d)
{
    for (size_t i = 0; i < d; i++) {
        int32_t sum = 1 << (LKS_WEIGHT_BITS - 1);
        for (int k = 0; k < n; k++)
            sum += x[(size_t)k * stride + i] * weights[k];
        sum >>= LKS_WEIGHT_BITS;
        y[i] = (uint8_t)(sum < 0 ? 0 : sum > 255 ? 255 : sum);
    }
}
