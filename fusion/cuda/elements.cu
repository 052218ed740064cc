/* Ops that work element by element, and those that move rows. */
#include "fusion/cuda/kernels.cuh"

constexpr int THREADS = 256;

#define EACH(i, n)                                                                                                     \
    for (int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; i < (n); i += (int64_t)gridDim.x * blockDim.x)

static bool in_fours(const float *x)
{
    return lks_is_aligned(x, 4 * sizeof *x);
}

static __global__ void activate(float *y, const float *x, int64_t n, lks_activation activation)
{
    lks_begin();
    EACH(i, n)
    y[i] = lks_activated(x[i], activation);
}

void lks_cuda_activate(const lks_compute *compute, float *y, const float *x, size_t n, lks_activation activation)
{
    lks_launch(compute, "activation", activate, lks_blocks((int64_t)n, THREADS), dim3(THREADS), 0, y, x, (int64_t)n,
               activation);
}

static __global__ void gated(float *y, const float *x, int64_t n, int d, lks_activation activation)
{
    lks_begin();
    EACH(i, n * d)
    {
        const float *gate = x + i / d * 2 * d + i % d;
        y[i] = lks_activated(gate[0], activation) * gate[d];
    }
}

void lks_cuda_gated(const lks_compute *compute, float *y, const float *x, int n, int d, lks_activation activation)
{
    lks_launch(compute, "gated activation", gated, lks_blocks((int64_t)n * d, THREADS), dim3(THREADS), 0, y, x, n, d,
               activation);
}

template <int WIDTH>
static __global__ void add_scaled(float *y, const float *a, const float *b, const float *scale, int64_t n, int d)
{
    lks_begin();
    typedef lks_vector<float, WIDTH> vector;
    EACH(at, n / WIDTH)
    {
        vector sum = ((const vector *)a)[at], added = ((const vector *)b)[at];
        if (scale) {
            const vector factor = *(const vector *)(scale + at * WIDTH % d);
            for (int k = 0; k < WIDTH; k++)
                added.at[k] *= factor.at[k];
        }
        for (int k = 0; k < WIDTH; k++)
            sum.at[k] += added.at[k];
        ((vector *)y)[at] = sum;
    }
}

void lks_cuda_add_scaled(const lks_compute *compute, float *y, const float *a, const float *b, const float *scale,
                         int n, int d)
{
    a = lks_on_device(compute, a);
    b = lks_on_device(compute, b);
    scale = lks_on_device(compute, scale);
    const int64_t count = (int64_t)n * d;
    const bool fours = d % 4 == 0 && in_fours(y) && in_fours(a) && in_fours(b) && in_fours(scale);
    lks_launch(compute, "addition", fours ? add_scaled<4> : add_scaled<1>, lks_blocks(count / (fours ? 4 : 1), THREADS),
               dim3(THREADS), 0, y, a, b, scale, count, d);
}

static __global__ void embed(float *y, const float *table, const int32_t *ids, int64_t n, int d, float scale)
{
    lks_begin();
    EACH(i, n * d)
    y[i] = table[(int64_t)ids[i / d] * d + i % d] * scale;
}

void lks_cuda_embed(const lks_compute *compute, float *y, lks_table table, const int32_t *ids, int n, int d,
                    float scale)
{
    lks_launch(compute, "embedding", embed, lks_blocks((int64_t)n * d, THREADS), dim3(THREADS), 0, y,
               lks_on_device(compute, (const float *)table.rows), ids, n, d, scale);
}

static __global__ void mean(float *y, const float *x, int n, int d)
{
    lks_begin();
    EACH(j, d)
    {
        float sum = 0.0f;
        for (int i = 0; i < n; i++)
            sum += x[(int64_t)i * d + j];
        y[j] = sum / (float)n;
    }
}

void lks_cuda_mean(const lks_compute *compute, float *y, const float *x, int n, int d)
{
    lks_launch(compute, "mean", mean, lks_blocks(d, THREADS), dim3(THREADS), 0, y, x, n, d);
}

static __global__ void add_outer(float *y, const float *a, const float *b, int64_t n, int d)
{
    lks_begin();
    EACH(i, n * d)
    y[i] += a[i / d] * b[i % d];
}

void lks_cuda_add_outer(const lks_compute *compute, float *y, const float *a, const float *b, int n, int d)
{
    lks_launch(compute, "outer product", add_outer, lks_blocks((int64_t)n * d, THREADS), dim3(THREADS), 0, y, a,
               lks_on_device(compute, b), n, d);
}

template <int WIDTH> static __global__ void round_bf16(uint16_t *y, const float *x, int64_t n)
{
    lks_begin();
    EACH(at, n / WIDTH)
    {
        const lks_vector<float, WIDTH> exact = ((const lks_vector<float, WIDTH> *)x)[at];
        lks_vector<uint16_t, WIDTH> rounded;
        for (int k = 0; k < WIDTH; k++)
            rounded.at[k] = lks_bf16_narrow(exact.at[k]);
        ((lks_vector<uint16_t, WIDTH> *)y)[at] = rounded;
    }
}

void lks_cuda_round_bf16(const lks_compute *compute, uint16_t *y, const float *x, size_t n)
{
    const bool fours = n % 4 == 0 && in_fours(x) && lks_is_aligned(y, 4 * sizeof *y);
    lks_launch(compute, "rounding", fours ? round_bf16<4> : round_bf16<1>,
               lks_blocks((int64_t)n / (fours ? 4 : 1), THREADS), dim3(THREADS), 0, y, x, (int64_t)n);
}

static __global__ void copy_rows(lks_copy c)
{
    lks_begin();
    EACH(at, (int64_t)c.n_outer * c.n_inner * c.d)
    {
        int64_t k = at % c.d, j = at / c.d % c.n_inner, i = at / c.d / c.n_inner;
        c.to[(c.to_index ? c.to_index[i] : i) * c.to_outer + j * c.to_inner + k] =
            c.from[i * c.from_outer + j * c.from_inner + k];
    }
}

void lks_cuda_copy(const lks_compute *compute, const lks_copy *copy)
{
    lks_copy c = *copy;
    c.from = lks_on_device(compute, c.from);
    lks_launch(compute, "copy", copy_rows, lks_blocks((int64_t)c.n_outer * c.n_inner * c.d, THREADS), dim3(THREADS), 0,
               c);
}

bool lks_cuda_kernels_wait(void)
{
#ifdef LKS_CUDA_EMULATED
    return true;
#else
    constexpr int WAITS = 90; /* see kernels.cuh: of what the GPU runs, or of what it was compiled from here */
    cudaFuncAttributes attributes;
    if (cudaFuncGetAttributes(&attributes, copy_rows) != cudaSuccess) {
        (void)cudaGetLastError(); /* the first launch tells */
        return false;
    }
    return attributes.ptxVersion >= WAITS;
#endif
}
