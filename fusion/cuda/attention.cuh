/* What the attention kernels share: which keys a query sees, and the running softmax. Private to fusion/cuda. */
#ifndef LKS_CUDA_ATTENTION_CUH
#define LKS_CUDA_ATTENTION_CUH

#include "fusion/cuda/kernels.cuh"

/* Keys 0 .. end - 1 are visible to query i of batch row b, without those that key_mask hides. */
__device__ __forceinline__ int lks_visible_end(const lks_attention &a, int b, int i)
{
    int end = a.n_keys;
    if (a.key_lengths && a.key_lengths[b] < end)
        end = a.key_lengths[b];
    if (a.causal) {
        int seen = i + a.causal_offset + 1;
        if (seen < a.n_prefix)
            seen = a.n_prefix;
        if (seen < end)
            end = seen;
    }
    return end > 0 ? end : 0;
}

__device__ __forceinline__ bool lks_unmasked(const lks_attention &a, int b, int j)
{
    return !a.key_mask || a.key_mask[(int64_t)b * a.n_keys + j] != 0;
}

/* Where the keys and values of head h of batch row b begin. */
__device__ __forceinline__ int64_t lks_kv_begin(const lks_attention &a, int b, int h)
{
    int entry = a.kv_index ? a.kv_index[b] : b;
    return entry * a.kv_batch_stride + (int64_t)((int64_t)h * a.n_kv_heads / a.n_heads) * a.d_head;
}

__device__ __forceinline__ float lks_feature(float x)
{
    return x > 0.0f ? x + 1.0f : expf(x); /* elu(x) + 1 */
}

__device__ __forceinline__ lks_running lks_running_start(const lks_attention &a)
{
    lks_running r;
    r.largest = a.kind == LKS_ATTENTION_LINEAR ? 0.0f : -CUDART_INF_F;
    r.sum = 0.0f;
    return r;
}

/* The log-sum-exp; -INFINITY where no key was seen. */
__device__ __forceinline__ float lks_running_log(lks_running r)
{
    return r.largest == -CUDART_INF_F ? r.largest : r.largest + logf(r.sum);
}

/* The final weight of a key with that score; hidden ones have score -INFINITY, or affinity 0. */
__device__ __forceinline__ float lks_final_weight(const lks_attention &a, float score, lks_running r)
{
    if (r.sum == 0.0f)
        return 0.0f;
    return (a.kind == LKS_ATTENTION_LINEAR ? score : expf(score - r.largest)) / r.sum;
}

__device__ __forceinline__ int64_t lks_map_row(const lks_attention &a, int b, int h, int i)
{
    return ((int64_t)b * a.n_heads + h) * a.n_queries + i;
}

/* Whether rows of heads, which are a multiple of 16 bytes wide, can be read 16 bytes at a time. */
template <class T> static inline bool lks_in_sixteens(const T *rows, int64_t row_stride, int64_t batch_stride)
{
    constexpr int EACH = 16 / sizeof(T);
    return lks_is_aligned(rows, 16) && row_stride % EACH == 0 && batch_stride % EACH == 0;
}

#endif
