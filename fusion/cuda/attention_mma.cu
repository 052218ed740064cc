/* Attention of many queries on tensor cores: queries, keys, values and weights in bf16, sums in f32 (Dao 2023, FlashAttention-2).
 *
 * A warp has 16 queries, a block 64; keys come 64 at a time. Both products are  mma m16n8k16  (PTX ISA, "Matrix Fragments for
 * mma.m16n8k16"): of a fragment, lane 4 g + t holds
 *     A [16, 16]   rows g, g + 8;  columns 2t, 2t + 1 and 2t + 8, 2t + 9       4 registers of two
 *     B [16, 8]    column g;       rows    2t, 2t + 1 and 2t + 8, 2t + 9       2 registers of two
 *     C [16, 8]    rows g, g + 8;  columns 2t, 2t + 1                          4 floats
 * so that the scores of two products beside each other are, rounded, the A of the product with the values. Values are turned as they
 * are read: keys that are neighbours must be neighbours in memory. */
#include "fusion/cuda/attention.cuh"
#include "fusion/cuda/mma.cuh"

constexpr int WARPS = 4, THREADS = WARPS * LKS_WARP, OF_WARP = 16, QUERIES = WARPS * OF_WARP, KEYS = 64;
constexpr int PADDING = 8; /* numbers beside a row: fragments of neighbouring rows fall into different banks */
constexpr int STEP = 16;   /* of a product's inner dimension */

template <bool HALF> __device__ __forceinline__ uint16_t key_half(const lks_attention &a, int64_t at)
{
    return HALF ? a.key_bf16[at] : lks_bf16_narrow(a.key[at]);
}

template <bool HALF> __device__ __forceinline__ uint16_t value_half(const lks_attention &a, int64_t at)
{
    return HALF ? a.value_bf16[at] : lks_bf16_narrow(a.value[at]);
}

__device__ __forceinline__ unsigned two(uint16_t low, uint16_t high)
{
    return (unsigned)low | (unsigned)high << 16;
}

__device__ __forceinline__ unsigned two_floats(float low, float high)
{
    return two(lks_bf16_narrow(low), lks_bf16_narrow(high));
}

/* Two neighbours at an even place of shared memory. */
__device__ __forceinline__ unsigned pair_at(const uint16_t *at)
{
    return *(const unsigned *)at;
}

/* Queries and results of another type than lks_attention's: they take its strides. */
typedef struct halves {
    const uint16_t *query;
    uint16_t *out;
} halves;

/* Queries [16, STEPS * 16] as A fragments; zeros beyond the queries and the width. */
template <bool HALF, int STEPS>
__device__ __forceinline__ void load_queries(unsigned (*fragments)[4], const lks_attention &a, const uint16_t *halves,
                                             int b, int h, int first)
{
    const int lane = (int)threadIdx.x % LKS_WARP, g = lane / 4, t = lane % 4;
    for (int step = 0; step < STEPS; step++)
        for (int r = 0; r < 4; r++) {
            int i = first + g + r % 2 * 8, c = step * STEP + 2 * t + r / 2 * 8;
            int64_t at = b * a.query_batch_stride + i * a.query_row_stride + (int64_t)h * a.d_head + c;
            uint16_t pair[2];
            for (int k = 0; k < 2; k++) {
                bool inside = i < a.n_queries && c + k < a.d_head;
                pair[k] = !inside ? (uint16_t)0 : HALF ? halves[at + k] : lks_bf16_narrow(a.query[at + k]);
            }
            fragments[step][r] = two(pair[0], pair[1]);
        }
}

/* Over the 4 lanes that share a row of C. */
template <bool MAX> __device__ __forceinline__ float row_reduce(float x)
{
    for (int step = 1; step <= 2; step *= 2) {
        float other = __shfl_xor_sync(LKS_WHOLE_WARP, x, step);
        x = MAX ? fmaxf(x, other) : x + other;
    }
    return x;
}

/* STEPS * 16 is the width of a head, rounded up. */
template <bool HALF, bool HALF_QUERY, int STEPS> static __global__ void attend(lks_attention a, halves io)
{
    constexpr int WIDTH = STEPS * STEP, KEY_ROW = WIDTH + PADDING, VALUE_ROW = KEYS + PADDING, TILES = KEYS / 8;
    LKS_SHARED(uint16_t, shared);
    uint16_t *keys = shared, *values = keys + KEYS * KEY_ROW; /* [KEYS, WIDTH], [WIDTH, KEYS] */
    const int warp = (int)threadIdx.x / LKS_WARP, lane = (int)threadIdx.x % LKS_WARP, g = lane / 4, t = lane % 4;
    const int h = (int)blockIdx.y, b = (int)blockIdx.z, d = a.d_head;
    const int block_first = (int)blockIdx.x * QUERIES, first = block_first + warp * OF_WARP;
    const int64_t kv = lks_kv_begin(a, b, h);
    unsigned q[STEPS][4];
    load_queries<HALF_QUERY, STEPS>(q, a, io.query, b, h, first);

    int last = block_first + QUERIES <= a.n_queries ? block_first + QUERIES - 1 : a.n_queries - 1;
    int block_end = lks_visible_end(a, b, last); /* later queries see no less */
    int ends[2];
    lks_running running[2];
    float sums[2 * STEPS][4] = {};
    for (int r = 0; r < 2; r++) {
        int i = first + g + 8 * r;
        ends[r] = i < a.n_queries ? lks_visible_end(a, b, i) : 0;
        running[r] = lks_running_start(a);
    }
    for (int begin = 0; begin < block_end; begin += KEYS) {
        __syncthreads();
        for (int at = (int)threadIdx.x; at < KEYS * WIDTH; at += THREADS) {
            int j = begin + at / WIDTH, c = at % WIDTH;
            bool seen = j < block_end && c < d && lks_unmasked(a, b, j);
            int64_t from = kv + j * a.kv_row_stride + c;
            keys[at / WIDTH * KEY_ROW + c] = seen ? key_half<HALF>(a, from) : (uint16_t)0;
            values[c * VALUE_ROW + at / WIDTH] = seen ? value_half<HALF>(a, from) : (uint16_t)0;
        }
        __syncthreads();
        float scores[TILES][4] = {};
#pragma unroll
        for (int tile = 0; tile < TILES; tile++) {
#pragma unroll
            for (int step = 0; step < STEPS; step++) {
                const uint16_t *k = keys + (tile * 8 + g) * KEY_ROW + step * STEP + 2 * t;
                const unsigned fragment[2] = {pair_at(k), pair_at(k + 8)};
                lks_mma_bf16(scores[tile], q[step], fragment);
            }
        }
        float largest[2] = {running[0].largest, running[1].largest};
#pragma unroll
        for (int tile = 0; tile < TILES; tile++)
#pragma unroll
            for (int r = 0; r < 4; r++) {
                int j = begin + tile * 8 + 2 * t + r % 2;
                bool seen = j < ends[r / 2] && lks_unmasked(a, b, j);
                scores[tile][r] = seen ? a.scale * scores[tile][r] : -CUDART_INF_F;
                largest[r / 2] = fmaxf(largest[r / 2], scores[tile][r]);
            }
        float added[2] = {};
        for (int r = 0; r < 2; r++) {
            largest[r] = row_reduce<true>(largest[r]);
            float older = largest[r] == -CUDART_INF_F ? 1.0f : lks_rescale(running[r].largest, largest[r]);
            running[r].largest = largest[r];
            running[r].sum *= older;
            for (int n = 0; n < 2 * STEPS; n++) {
                sums[n][2 * r] *= older;
                sums[n][2 * r + 1] *= older;
            }
        }
#pragma unroll
        for (int tile = 0; tile < TILES; tile++)
#pragma unroll
            for (int r = 0; r < 4; r++) {
                float score = scores[tile][r];
                scores[tile][r] = score == -CUDART_INF_F ? 0.0f : expf(score - largest[r / 2]);
                added[r / 2] += scores[tile][r];
            }
        for (int r = 0; r < 2; r++)
            running[r].sum += row_reduce<false>(added[r]);
#pragma unroll
        for (int step = 0; step < KEYS / STEP; step++) {
            const float *left = scores[2 * step], *right = scores[2 * step + 1];
            const unsigned weights[4] = {two_floats(left[0], left[1]), two_floats(left[2], left[3]),
                                         two_floats(right[0], right[1]), two_floats(right[2], right[3])};
#pragma unroll
            for (int n = 0; n < 2 * STEPS; n++) {
                const uint16_t *v = values + (n * 8 + g) * VALUE_ROW + step * STEP + 2 * t;
                const unsigned fragment[2] = {pair_at(v), pair_at(v + 8)};
                lks_mma_bf16(sums[n], weights, fragment);
            }
        }
    }
    for (int r = 0; r < 2; r++) {
        int i = first + g + 8 * r;
        if (i >= a.n_queries)
            continue;
        const int64_t out = b * a.out_batch_stride + i * a.out_row_stride + (int64_t)h * d;
        float scale = running[r].sum > 0.0f ? 1.0f / running[r].sum : 0.0f;
        for (int n = 0; n < 2 * STEPS; n++)
            for (int k = 0; k < 2; k++) {
                int c = n * 8 + 2 * t + k;
                float y = sums[n][2 * r + k] * scale;
                if (c < d && HALF_QUERY)
                    io.out[out + c] = lks_bf16_narrow(y);
                else if (c < d)
                    a.out[out + c] = y;
            }
        if (a.log_sum_exp && t == 0)
            a.log_sum_exp[lks_map_row(a, b, h, i)] = lks_running_log(running[r]);
    }
}

/* Models below f32 only; maps are for explaining, and exact. */
bool lks_cuda_attention_fits(const lks_compute *compute, const lks_attention *a)
{
    return compute->rounds && compute->queue->device->info.major >= 8 && a->kind == LKS_ATTENTION_SOFTMAX && !a->map &&
           a->d_head <= 8 * STEP && a->n_queries > 8;
}

template <bool HALF, bool HALF_QUERY> static void run(const lks_compute *compute, const lks_attention *a, halves io)
{
    int steps = (a->d_head + STEP - 1) / STEP;
    steps = steps <= 2 ? 2 : steps <= 4 ? 4 : steps <= 6 ? 6 : 8;
    auto kernel = steps == 2   ? attend<HALF, HALF_QUERY, 2>
                  : steps == 4 ? attend<HALF, HALF_QUERY, 4>
                  : steps == 6 ? attend<HALF, HALF_QUERY, 6>
                               : attend<HALF, HALF_QUERY, 8>;
    int width = steps * STEP;
    size_t shared = (size_t)(KEYS * (width + PADDING) + width * (KEYS + PADDING)) * sizeof(uint16_t);
    dim3 grid((unsigned)((a->n_queries + QUERIES - 1) / QUERIES), (unsigned)a->n_heads, (unsigned)a->n_batch);
    lks_launch(compute, "attention on tensor cores", kernel, grid, dim3(THREADS), shared, *a, io);
}

void lks_cuda_attention_mma(const lks_compute *compute, const lks_attention *attention)
{
    if (attention->key)
        run<false, false>(compute, attention, {});
    else
        run<true, false>(compute, attention, {});
}

void lks_cuda_attention_bf16(const lks_compute *compute, const lks_attention *attention, const uint16_t *query,
                             uint16_t *out)
{
    run<true, true>(compute, attention, {query, out});
}
