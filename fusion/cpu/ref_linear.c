/* Reference linear layer and activations. Weights stay row-major [d_out, d_in]; sums run in double precision, so that the
 * reference is the most exact of all tables. */
#include <math.h>
#include <string.h>

#include "fusion/cpu/kernels.h"

float lks_ref_activation(float x, lks_activation activation)
{
    double v = x;
    switch (activation) {
    case LKS_ACT_NONE:
        break;
    case LKS_ACT_GELU:
        return (float)(0.5 * v * erfc(-v * 0.70710678118654752440));
    case LKS_ACT_GELU_TANH:
        return (float)(0.5 * v * (1.0 + tanh(0.79788456080286535588 * (v + 0.044715 * v * v * v))));
    case LKS_ACT_QUICK_GELU:
        return (float)(v / (1.0 + exp(-1.702 * v)));
    case LKS_ACT_RELU:
        return x < 0.0f ? 0.0f : x;
    case LKS_ACT_RELU6:
        return x < 0.0f ? 0.0f : x > 6.0f ? 6.0f : x;
    case LKS_ACT_SILU:
        return (float)(v / (1.0 + exp(-v)));
    case LKS_ACT_TANH:
        return (float)tanh(v);
    }
    return x;
}

void lks_ref_put_output(const lks_linear_args *args, int i, long o, double sum)
{
    float y = lks_ref_activation((float)sum, args->activation);
    if (args->residual)
        y += args->residual[i * args->residual_stride + o];
    args->y[i * args->y_stride + o] = y;
}

size_t lks_ref_linear_packed_count(int d_in, int d_out)
{
    return (size_t)d_in * (size_t)d_out;
}

void lks_ref_linear_pack(float *packed, const float *w, int d_in, int d_out, int column_begin, int column_end)
{
    (void)d_out;
    memcpy(packed + (size_t)column_begin * (size_t)d_in, w,
           (size_t)(column_end - column_begin) * (size_t)d_in * sizeof *w);
}

void lks_ref_linear_unpack(float *row, const float *packed, int d_in, int o)
{
    memcpy(row, packed + (size_t)o * (size_t)d_in, (size_t)d_in * sizeof *row);
}

typedef struct linear_job {
    const lks_linear *layer;
    const lks_linear_args *args;
} linear_job;

static void linear_part(void *argument, int thread, int n_threads)
{
    const linear_job *job = argument;
    const lks_linear *layer = job->layer;
    const lks_linear_args *args = job->args;
    long begin, end;
    lks_threads_share(layer->d_out, 1, thread, n_threads, &begin, &end);
    for (int i = 0; i < args->n; i++) {
        const float *x = args->x + i * args->x_stride;
        for (long o = begin; o < end; o++) {
            const float *w = layer->packed + o * layer->d_in;
            double sum = layer->bias ? layer->bias[o] : 0.0;
            for (int k = 0; k < layer->d_in; k++)
                sum += (double)x[k] * w[k];
            lks_ref_put_output(args, i, o, sum);
        }
    }
}

void lks_ref_linear(const lks_compute *compute, const lks_linear *layer, const lks_linear_args *args)
{
    linear_job job = {.layer = layer, .args = args};
    lks_parallel(compute, (double)args->n * layer->d_in * layer->d_out, linear_part, &job);
}

/* Portable chains of multiply-adds, which compilers turn into whatever vectors the target always has. */
double lks_ref_run_fma(long n_rounds, float *sink)
{
    enum { N_CHAINS = 32 };
    float chain[N_CHAINS], factor = *sink;
    for (int i = 0; i < N_CHAINS; i++)
        chain[i] = (float)i;
    for (long round = 0; round < n_rounds; round++)
        for (int i = 0; i < N_CHAINS; i++)
            chain[i] = chain[i] * factor + 1e-3f;
    float total = 0.0f;
    for (int i = 0; i < N_CHAINS; i++)
        total += chain[i];
    *sink = total;
    return 2.0 * N_CHAINS * (double)n_rounds;
}
