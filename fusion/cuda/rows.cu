/* Ops that work row by row: norms, softmax and its kin. One block to a row. */
#include "fusion/cuda/kernels.cuh"

constexpr int THREADS = 128;
constexpr size_t SHARED = THREADS / LKS_WARP * sizeof(float);

/* The mean of x [d] and 1 / sqrt(variance + eps); two passes, as squares of large numbers would cancel. */
__device__ __forceinline__ void moments(float *mean, float *scale, const float *x, int d, float eps, float *shared)
{
    float sum = 0.0f, squares = 0.0f;
    for (int j = (int)threadIdx.x; j < d; j += (int)blockDim.x)
        sum += x[j];
    *mean = lks_block_reduce<false>(sum, shared) / (float)d;
    for (int j = (int)threadIdx.x; j < d; j += (int)blockDim.x)
        squares += (x[j] - *mean) * (x[j] - *mean);
    *scale = 1.0f / sqrtf(lks_block_reduce<false>(squares, shared) / (float)d + eps);
}

static __global__ void layer_norm(float *y, const float *x, int d, const float *weight, const float *bias, float eps)
{
    LKS_SHARED(float, shared);
    float mean, scale;
    x += (int64_t)blockIdx.x * d;
    y += (int64_t)blockIdx.x * d;
    moments(&mean, &scale, x, d, eps, shared);
    for (int j = (int)threadIdx.x; j < d; j += (int)blockDim.x) {
        float value = (x[j] - mean) * scale * weight[j];
        y[j] = bias ? value + bias[j] : value;
    }
}

void lks_cuda_layer_norm(const lks_compute *compute, float *y, const float *x, int n, int d, const float *weight,
                         const float *bias, float eps)
{
    lks_launch(compute, "layer norm", layer_norm, dim3((unsigned)n), dim3(THREADS), SHARED, y, x, d,
               lks_on_device(compute, weight), lks_on_device(compute, bias), eps);
}

static __global__ void inverse_deviation(float *y, const float *x, int d, float eps)
{
    LKS_SHARED(float, shared);
    float mean, scale;
    moments(&mean, &scale, x + (int64_t)blockIdx.x * d, d, eps, shared);
    if (threadIdx.x == 0)
        y[blockIdx.x] = scale;
}

void lks_cuda_inverse_deviation(const lks_compute *compute, float *y, const float *x, int n, int d, float eps)
{
    lks_launch(compute, "deviation", inverse_deviation, dim3((unsigned)n), dim3(THREADS), SHARED, y, x, d, eps);
}

static __global__ void rms_norm(float *y, const float *x, int d, const float *weight, float eps)
{
    LKS_SHARED(float, shared);
    float squares = 0.0f;
    x += (int64_t)blockIdx.x * d;
    y += (int64_t)blockIdx.x * d;
    for (int j = (int)threadIdx.x; j < d; j += (int)blockDim.x)
        squares += x[j] * x[j];
    float scale = 1.0f / sqrtf(lks_block_reduce<false>(squares, shared) / (float)d + eps);
    for (int j = (int)threadIdx.x; j < d; j += (int)blockDim.x)
        y[j] = x[j] * scale * weight[j];
}

void lks_cuda_rms_norm(const lks_compute *compute, float *y, const float *x, int n, int d, const float *weight,
                       float eps)
{
    lks_launch(compute, "RMS norm", rms_norm, dim3((unsigned)n), dim3(THREADS), SHARED, y, x, d,
               lks_on_device(compute, weight), eps);
}

enum { SOFTMAX, LOG_SOFTMAX, LOG_SUM_EXP };

template <int KIND> static __global__ void softmax(float *y, const float *x, int d)
{
    LKS_SHARED(float, shared);
    float max = -CUDART_INF_F, sum = 0.0f;
    x += (int64_t)blockIdx.x * d;
    for (int j = (int)threadIdx.x; j < d; j += (int)blockDim.x)
        max = fmaxf(max, x[j]);
    max = lks_block_reduce<true>(max, shared);
    for (int j = (int)threadIdx.x; j < d; j += (int)blockDim.x)
        sum += expf(x[j] - max);
    sum = lks_block_reduce<false>(sum, shared);
    if (KIND == LOG_SUM_EXP) {
        if (threadIdx.x == 0)
            y[blockIdx.x] = max + logf(sum);
        return;
    }
    y += (int64_t)blockIdx.x * d;
    float log_sum = max + logf(sum);
    for (int j = (int)threadIdx.x; j < d; j += (int)blockDim.x)
        y[j] = KIND == SOFTMAX ? expf(x[j] - max) / sum : x[j] - log_sum;
}

constexpr int WIDE_THREADS = 512; /* a row may be a vocabulary */
constexpr size_t WIDE_SHARED = WIDE_THREADS / LKS_WARP * sizeof(float);

void lks_cuda_softmax(const lks_compute *compute, float *y, const float *x, int n, int d)
{
    lks_launch(compute, "softmax", softmax<SOFTMAX>, dim3((unsigned)n), dim3(WIDE_THREADS), WIDE_SHARED, y, x, d);
}

void lks_cuda_log_softmax(const lks_compute *compute, float *y, const float *x, int n, int d)
{
    lks_launch(compute, "log softmax", softmax<LOG_SOFTMAX>, dim3((unsigned)n), dim3(WIDE_THREADS), WIDE_SHARED, y, x,
               d);
}

void lks_cuda_log_sum_exp(const lks_compute *compute, float *sums, const float *x, int n, int d)
{
    lks_launch(compute, "log-sum-exp", softmax<LOG_SUM_EXP>, dim3((unsigned)n), dim3(WIDE_THREADS), WIDE_SHARED, sums,
               x, d);
}
