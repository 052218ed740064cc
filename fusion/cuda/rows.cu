/* Ops that work row by row: norms, softmax and its kin. One block to a row, or one warp where it can hold the row. */
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
    lks_begin();
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

__device__ __forceinline__ void store(float *y, float x)
{
    *y = x;
}

__device__ __forceinline__ void store(uint16_t *y, float x)
{
    *y = lks_bf16_narrow(x);
}

/* A warp to a row of up to VECTORS * 128 numbers, which it keeps in registers. */
template <class T, int VECTORS>
static __global__ void layer_norm_in_warps(T *y, const float *x, int n, int d, lks_norm norm, float eps)
{
    lks_begin();
    const int64_t row = (int64_t)blockIdx.x * (THREADS / LKS_WARP) + threadIdx.x / LKS_WARP;
    const int lane = (int)threadIdx.x % LKS_WARP, n_vectors = d / 4;
    if (row >= n)
        return;
    const lks_vector<float, 4> *from = (const lks_vector<float, 4> *)(x + row * d);
    lks_vector<float, 4> held[VECTORS];
#pragma unroll
    for (int i = 0; i < VECTORS; i++)
        held[i] = i * LKS_WARP + lane < n_vectors ? from[i * LKS_WARP + lane] : lks_vector<float, 4>{};
    float sum = 0.0f, squares = 0.0f;
#pragma unroll
    for (int i = 0; i < VECTORS; i++)
        sum += (held[i].at[0] + held[i].at[1]) + (held[i].at[2] + held[i].at[3]);
    const float mean = lks_warp_sum(sum) / (float)d;
#pragma unroll
    for (int i = 0; i < VECTORS; i++)
#pragma unroll
        for (int k = 0; k < 4; k++) {
            float off = held[i].at[k] - mean;
            squares += i * LKS_WARP + lane < n_vectors ? off * off : 0.0f;
        }
    const float scale = 1.0f / sqrtf(lks_warp_sum(squares) / (float)d + eps);
#pragma unroll
    for (int i = 0; i < VECTORS; i++) {
        const int at = i * LKS_WARP + lane;
        if (at >= n_vectors)
            break;
        const lks_vector<float, 4> weight = ((const lks_vector<float, 4> *)norm.weight)[at];
        const lks_vector<float, 4> bias =
            norm.bias ? ((const lks_vector<float, 4> *)norm.bias)[at] : lks_vector<float, 4>{};
        lks_vector<T, 4> result;
#pragma unroll
        for (int k = 0; k < 4; k++)
            store(&result.at[k], (held[i].at[k] - mean) * scale * weight.at[k] + bias.at[k]);
        ((lks_vector<T, 4> *)(y + row * d))[at] = result;
    }
}

/* A block to a row of d numbers, four a thread, for few rows: everything is read at once. */
constexpr int LONG_THREADS = LKS_MAX_NORM / 4, FEW_ROWS = 64;

template <class T> static __global__ void layer_norm_of_few(T *y, const float *x, int d, lks_norm norm, float eps)
{
    lks_let_next_start();
    typedef lks_vector<float, 4> four;
    LKS_SHARED(float, shared);
    const int at = (int)threadIdx.x;
    const bool there = at < d / 4;
    const four weight = there ? ((const four *)norm.weight)[at] : four{};
    const four bias = there && norm.bias ? ((const four *)norm.bias)[at] : four{};
    lks_wait_for_previous();
    const four own = there ? ((const four *)(x + (int64_t)blockIdx.x * d))[at] : four{};
    const float mean = lks_block_reduce<false>((own.at[0] + own.at[1]) + (own.at[2] + own.at[3]), shared) / (float)d;
    float squares = 0.0f;
#pragma unroll
    for (int k = 0; k < 4; k++)
        squares += there ? (own.at[k] - mean) * (own.at[k] - mean) : 0.0f;
    const float scale = 1.0f / sqrtf(lks_block_reduce<false>(squares, shared) / (float)d + eps);
    lks_vector<T, 4> result;
#pragma unroll
    for (int k = 0; k < 4; k++)
        store(&result.at[k], (own.at[k] - mean) * scale * weight.at[k] + bias.at[k]);
    if (there)
        ((lks_vector<T, 4> *)(y + (int64_t)blockIdx.x * d))[at] = result;
}

template <class T>
static void run_narrow(const lks_compute *compute, T *y, const float *x, int n, int d, const lks_norm &norm, float eps)
{
    int vectors = (d / 4 + LKS_WARP - 1) / LKS_WARP;
    if (n <= FEW_ROWS) {
        lks_launch(compute, "layer norm", layer_norm_of_few<T>, dim3((unsigned)n), dim3((unsigned)(vectors * LKS_WARP)),
                   LONG_THREADS / LKS_WARP * sizeof(float), y, x, d, norm, eps);
        return;
    }
    auto kernel = vectors <= 2    ? layer_norm_in_warps<T, 2>
                  : vectors <= 4  ? layer_norm_in_warps<T, 4>
                  : vectors <= 6  ? layer_norm_in_warps<T, 6>
                  : vectors <= 8  ? layer_norm_in_warps<T, 8>
                  : vectors <= 12 ? layer_norm_in_warps<T, 12>
                                  : layer_norm_in_warps<T, LKS_MAX_NORM / 4 / LKS_WARP>;
    dim3 grid((unsigned)((n + THREADS / LKS_WARP - 1) / (THREADS / LKS_WARP)));
    lks_launch(compute, "layer norm", kernel, grid, dim3(THREADS), 0, y, x, n, d, norm, eps);
}

void lks_cuda_layer_norm(const lks_compute *compute, float *y, const float *x, int n, int d, const float *weight,
                         const float *bias, float eps)
{
    constexpr size_t VECTOR = 4 * sizeof(float);
    const lks_norm norm = {lks_on_device(compute, weight), lks_on_device(compute, bias)};
    if (d % 4 == 0 && d <= LKS_MAX_NORM && lks_is_aligned(x, VECTOR) && lks_is_aligned(y, VECTOR) &&
        lks_is_aligned(norm.weight, VECTOR) && lks_is_aligned(norm.bias, VECTOR))
        run_narrow(compute, y, x, n, d, norm, eps);
    else
        lks_launch(compute, "layer norm", layer_norm, dim3((unsigned)n), dim3(THREADS), SHARED, y, x, d, norm.weight,
                   norm.bias, eps);
}

void lks_cuda_layer_norm_bf16(const lks_compute *compute, uint16_t *y, const float *x, int n, int d,
                              const lks_norm *norm, float eps)
{
    const lks_norm there = {lks_on_device(compute, norm->weight), lks_on_device(compute, norm->bias)};
    run_narrow(compute, y, x, n, d, there, eps);
}

static __global__ void inverse_deviation(float *y, const float *x, int d, float eps)
{
    lks_begin();
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
    lks_begin();
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
    lks_begin();
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
