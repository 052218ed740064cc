/* What kernels share: activations, bf16 by its bits, sums over a warp and a block, shared memory. Private to fusion/cuda.
 *
 * Shared memory is always the launch's own, LKS_SHARED names it. Kernels are also compiled for the host, by tests/cuda, where all of
 * this is emulated: nothing here or in kernels may assume more of a GPU than the functions of this file and CUDA's names for threads
 * and blocks. */
#ifndef LKS_CUDA_KERNELS_CUH
#define LKS_CUDA_KERNELS_CUH

#include <math_constants.h>

#include "fusion/cuda/queue.cuh"

constexpr unsigned LKS_WHOLE_WARP = 0xFFFFFFFFu;
constexpr int LKS_WARP = 32;
/* Of what is quantised: below it is 0, beyond it nothing finite. */
constexpr float LKS_SMALLEST_RANGE = 1e-30f, LKS_LARGEST = 3.402823466e38f;

#ifdef LKS_CUDA_EMULATED
#define LKS_SHARED(type, name) type *name = (type *)lks_emulated_shared()
#else
#define LKS_SHARED(type, name)                                                                                         \
    extern __shared__ __align__(16) unsigned char lks_shared_bytes[];                                                  \
    type *name = (type *)lks_shared_bytes
#endif

/* Kernels queued behind each other, see lks_launch. Blocks of the next one may start, and wait, while this one runs; weights do not
 * come from kernels, and may be read before lks_wait_for_previous. Every kernel does both, lks_begin, or it would not wait. */
__device__ __forceinline__ void lks_let_next_start()
{
#if !defined(LKS_CUDA_EMULATED) && __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.launch_dependents;");
#endif
}

__device__ __forceinline__ void lks_wait_for_previous()
{
#if defined(LKS_CUDA_EMULATED)
    lks_emulated_wait_for_previous();
#elif __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

__device__ __forceinline__ void lks_begin()
{
    lks_let_next_start();
    lks_wait_for_previous();
}

/* Numbers that are read and written as one, at multiples of their size. */
template <class T, int N> struct alignas(N * sizeof(T)) lks_vector {
    T at[N];
};

static inline bool lks_is_aligned(const void *address, size_t bytes)
{
    return (uintptr_t)address % bytes == 0;
}

__device__ __forceinline__ float lks_bf16_widen(uint16_t x)
{
    return __uint_as_float((unsigned)x << 16);
}

/* As lks_bf16_from_float: halves to even, NaN stays NaN, if another one. */
__device__ __forceinline__ uint16_t lks_bf16_narrow(float x)
{
#if !defined(LKS_CUDA_EMULATED) && __CUDA_ARCH__ >= 800
    uint16_t y;
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(y) : "f"(x));
    return y;
#else
    unsigned bits = __float_as_uint(x);
    if ((bits & 0x7FFFFFFFu) > 0x7F800000u)
        return (uint16_t)(bits >> 16 | 0x40u);
    return (uint16_t)((bits + 0x7FFFu + (bits >> 16 & 1u)) >> 16);
#endif
}

__device__ __forceinline__ float lks_activated(float x, lks_activation activation)
{
    switch (activation) {
    case LKS_ACT_NONE:
        break;
    case LKS_ACT_GELU:
        return 0.5f * x * erfcf(-0.70710678118654752440f * x);
    case LKS_ACT_GELU_TANH:
        return 0.5f * x * (1.0f + tanhf(0.79788456080286535588f * (x + 0.044715f * x * x * x)));
    case LKS_ACT_QUICK_GELU:
        return x / (1.0f + expf(-1.702f * x));
    case LKS_ACT_RELU:
        return x < 0.0f ? 0.0f : x;
    case LKS_ACT_RELU6:
        return x < 0.0f ? 0.0f : x > 6.0f ? 6.0f : x;
    case LKS_ACT_SILU:
        return x / (1.0f + expf(-x));
    case LKS_ACT_TANH:
        return tanhf(x);
    }
    return x;
}

/* What comes after the sums of a linear layer: y = activation(sum + bias[o]) + residual[i, o]. */
typedef struct lks_finish {
    const float *bias, *residual;
    int64_t residual_stride;
    float *y;
    int64_t y_stride;
    lks_activation activation;
} lks_finish;

__device__ __forceinline__ void lks_finish_one(const lks_finish &f, float sum, int64_t i, int o)
{
    float y = lks_activated(f.bias ? sum + f.bias[o] : sum, f.activation);
    f.y[i * f.y_stride + o] = f.residual ? y + f.residual[i * f.residual_stride + o] : y;
}

/* Over LANES lanes that lie side by side, for all of them. */
template <int LANES = LKS_WARP> __device__ __forceinline__ float lks_warp_sum(float x)
{
    for (int step = LANES / 2; step > 0; step /= 2)
        x += __shfl_xor_sync(LKS_WHOLE_WARP, x, step);
    return x;
}

template <int LANES = LKS_WARP> __device__ __forceinline__ float lks_warp_max(float x)
{
    for (int step = LANES / 2; step > 0; step /= 2)
        x = fmaxf(x, __shfl_xor_sync(LKS_WHOLE_WARP, x, step));
    return x;
}

/* The weights so far: softmax keeps the largest score and sums exp(score - largest); the linear kind of attention sums affinities,
 * largest 0. */
typedef struct lks_running {
    float largest, sum;
} lks_running;

/* What sums that were kept under `largest` are worth under `now`. */
__device__ __forceinline__ float lks_rescale(float largest, float now)
{
    return largest == now ? 1.0f : expf(largest - now);
}

/* Over the block, for all its threads. `shared` has room for a float per warp and is free again afterwards. */
template <bool MAX> __device__ __forceinline__ float lks_block_reduce(float x, float *shared)
{
    int warp = (int)threadIdx.x / LKS_WARP, lane = (int)threadIdx.x % LKS_WARP, n_warps = (int)blockDim.x / LKS_WARP;
    x = MAX ? lks_warp_max(x) : lks_warp_sum(x);
    if (lane == 0)
        shared[warp] = x;
    __syncthreads();
    x = shared[0];
    for (int i = 1; i < n_warps; i++)
        x = MAX ? fmaxf(x, shared[i]) : x + shared[i];
    __syncthreads();
    return x;
}

#endif
