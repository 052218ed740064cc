/* Attention of many queries on tensor cores: queries, keys, values and weights in bf16, sums in f32 (Dao 2023, FlashAttention-2).
 *
 * A warp has 16 or 32 queries, whose fragments it keeps; a block has four such warps. Keys and values come a tile at a time into
 * shared memory, the next tile while this one is worked on. The scores of two products beside each other are, rounded, the A of the
 * product with the values (see mma.cuh), so that weights never leave their registers.
 *
 * Weights are 2^(c score - c reference), c = |scale| log2 e; the scale's sign is given to the queries. The reference is a row's
 * largest score, but of some tiles ago: as long as no score is above it by more than SLACK, sums need no rescaling. What a row gives
 * does not depend on the rows beside it.
 *
 * Hidden keys and their values are zeros in shared memory, since 0 * NaN would be NaN. Only tiles that some query of a warp does not
 * see whole are tested key by key, and go 16 keys at a time: of 577 keys the last tile has one. */
#include "fusion/cuda/attention.cuh"
#include "fusion/cuda/mma.cuh"

constexpr int WARPS = 4, THREADS = WARPS * LKS_WARP;
constexpr int STEP = 16;      /* of a product's inner dimension */
constexpr int EIGHT = 8;      /* numbers that are moved as one: 16 bytes of bf16 */
constexpr float SLACK = 8.0f; /* binary orders that a weight may be above 1 */

/* STEPS * 16 is the width of a head, rounded up; a warp has ROW_TILES * 16 queries. */
template <int STEPS, int ROW_TILES> struct shape {
    static constexpr int WIDTH = STEPS * STEP, OF_WARP = ROW_TILES * STEP, QUERIES = WARPS * OF_WARP;
    static constexpr int KEYS = STEPS <= 4 ? 64 : 32; /* of a tile; two of them take less than 48 KiB */
    static constexpr int ROW = WIDTH + EIGHT;         /* apart: 8 rows in a column lie in different banks */
    static constexpr int TILE = KEYS * ROW, STAGE = 2 * TILE;
    static_assert(QUERIES <= 2 * KEYS, "queries pass through the place of one stage");
};

/* Numbers in memory: of the two pointers one is NULL. */
typedef struct numbers {
    const float *floats;
    const uint16_t *halves;
    bool aligned; /* eight of them, counted from the start of a head, begin at a multiple of 16 bytes */
} numbers;

typedef struct operands {
    numbers query, key, value;
    float *out;
    uint16_t *out_halves;
    bool out_aligned; /* four of them begin at a multiple of their size */
} operands;

/* Eight numbers as bf16. Beyond the first n there are zeros. */
__device__ __forceinline__ lks_vector<unsigned, 4> load_eight(const numbers &from, int64_t at, int n)
{
    lks_vector<unsigned, 4> eight;
    if (n >= EIGHT && from.aligned && from.halves)
        return *(const lks_vector<unsigned, 4> *)(from.halves + at);
    if (n >= EIGHT && from.aligned) {
        const lks_vector<float, 4> *floats = (const lks_vector<float, 4> *)(from.floats + at);
        const lks_vector<float, 4> left = floats[0], right = floats[1];
        for (int k = 0; k < 2; k++) {
            eight.at[k] = lks_bf16_pair(left.at[2 * k], left.at[2 * k + 1]);
            eight.at[2 + k] = lks_bf16_pair(right.at[2 * k], right.at[2 * k + 1]);
        }
        return eight;
    }
    for (int k = 0; k < 4; k++) {
        float pair[2];
        for (int side = 0; side < 2; side++) {
            int c = 2 * k + side;
            pair[side] = c >= n ? 0.0f : from.halves ? lks_bf16_widen(from.halves[at + c]) : from.floats[at + c];
        }
        eight.at[k] = lks_bf16_pair(pair[0], pair[1]);
    }
    return eight;
}

/* Begins to bring keys and values begin .. begin + KEYS - 1 into a stage; zeros for those that no query of the block sees. */
template <class S, bool COPIED>
__device__ __forceinline__ void load_tile(uint16_t *stage, const lks_attention &a, const operands &io, int64_t kv,
                                          int b, int begin, int end)
{
    constexpr int EIGHTS = S::WIDTH / EIGHT;
#pragma unroll
    for (int at = 0; at < S::KEYS * EIGHTS; at += THREADS) {
        const int row = (at + (int)threadIdx.x) / EIGHTS, c = (at + (int)threadIdx.x) % EIGHTS * EIGHT, j = begin + row;
        const bool seen = j < end && c < a.d_head && lks_unmasked(a, b, j);
        const int64_t from = seen ? kv + j * a.kv_row_stride + c : kv;
        uint16_t *key = stage + row * S::ROW + c, *value = key + S::TILE;
        if (COPIED) {
            lks_copy_async(key, io.key.halves + from, !seen);
            lks_copy_async(value, io.value.halves + from, !seen);
        } else {
            const int n = seen ? a.d_head - c : 0;
            *(lks_vector<unsigned, 4> *)key = load_eight(io.key, from, n);
            *(lks_vector<unsigned, 4> *)value = load_eight(io.value, from, n);
        }
    }
}

/* The queries of a block, zeros beyond them. */
template <class S>
__device__ __forceinline__ void load_queries(uint16_t *to, const lks_attention &a, const operands &io, int b, int h,
                                             int first)
{
    constexpr int EIGHTS = S::WIDTH / EIGHT;
    const int64_t begin = b * a.query_batch_stride + (int64_t)h * a.d_head;
#pragma unroll
    for (int at = 0; at < S::QUERIES * EIGHTS; at += THREADS) {
        const int row = (at + (int)threadIdx.x) / EIGHTS, c = (at + (int)threadIdx.x) % EIGHTS * EIGHT, i = first + row;
        const int n = i < a.n_queries ? a.d_head - c : 0;
        *(lks_vector<unsigned, 4> *)(to + row * S::ROW + c) =
            load_eight(io.query, begin + i * a.query_row_stride + c, n);
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

/* What a lane has of its warp's queries: rows g and g + 8 of each tile of 16. */
template <int STEPS, int ROW_TILES> struct rows {
    unsigned query[ROW_TILES][STEPS][4];
    int ends[ROW_TILES][2];        /* visible keys */
    float reference[ROW_TILES][2]; /* -INFINITY before a key is seen */
    float sum[ROW_TILES][2];       /* of the weights of this lane's keys alone */
    float out[ROW_TILES][2 * STEPS][4];
};

/* A new reference for rows whose scores have risen too far above theirs. */
template <int STEPS, int ROW_TILES>
__device__ __forceinline__ void raise_reference(rows<STEPS, ROW_TILES> &own, const float (&largest)[ROW_TILES][2],
                                                float c)
{
    bool raised = false;
#pragma unroll
    for (int m = 0; m < ROW_TILES; m++)
        for (int r = 0; r < 2; r++)
            raised |= (largest[m][r] - own.reference[m][r]) * c > SLACK;
    if (!__any_sync(LKS_WHOLE_WARP, raised))
        return;
#pragma unroll
    for (int m = 0; m < ROW_TILES; m++)
#pragma unroll
        for (int r = 0; r < 2; r++) {
            const float above = (largest[m][r] - own.reference[m][r]) * c,
                        older = above > SLACK ? lks_exp2(-above) : 1.0f;
            if (above > SLACK)
                own.reference[m][r] = largest[m][r];
            own.sum[m][r] *= older;
#pragma unroll
            for (int n = 0; n < 2 * STEPS; n++) {
                own.out[m][n][2 * r] *= older;
                own.out[m][n][2 * r + 1] *= older;
            }
        }
}

/* Takes in GROUPS * 16 keys, of which this lane reads rows at `keys` and `values`. CHECKED: `first` is the first one, and keys are
 * hidden from queries that do not see them. */
template <int GROUPS, bool CHECKED, int STEPS, int ROW_TILES>
__device__ __forceinline__ void take_keys(rows<STEPS, ROW_TILES> &own, const uint16_t *keys, const uint16_t *values,
                                          float c, const lks_attention &a, int b, int first)
{
    constexpr int ROW = shape<STEPS, ROW_TILES>::ROW;
    float scores[ROW_TILES][2 * GROUPS][4] = {};
#pragma unroll
    for (int step = 0; step < STEPS; step++)
#pragma unroll
        for (int group = 0; group < GROUPS; group++) {
            unsigned key[4]; /* of 8 keys, and of the next 8 */
            lks_load_matrices<false>(key, keys + group * STEP * ROW + step * STEP);
#pragma unroll
            for (int m = 0; m < ROW_TILES; m++) {
                lks_mma_bf16(scores[m][2 * group], own.query[m][step], key);
                lks_mma_bf16(scores[m][2 * group + 1], own.query[m][step], key + 2);
            }
        }
    if (CHECKED) {
        const int t = (int)threadIdx.x % 4;
#pragma unroll
        for (int at = 0; at < 4 * GROUPS; at++) {
            const int j = first + at / 2 * 8 + 2 * t + at % 2;
            const bool unmasked = j < a.n_keys && lks_unmasked(a, b, j);
#pragma unroll
            for (int m = 0; m < ROW_TILES; m++)
                for (int r = 0; r < 2; r++)
                    if (!unmasked || j >= own.ends[m][r])
                        scores[m][at / 2][2 * r + at % 2] = -CUDART_INF_F;
        }
    }
    float largest[ROW_TILES][2], shift[ROW_TILES][2];
#pragma unroll
    for (int m = 0; m < ROW_TILES; m++)
#pragma unroll
        for (int r = 0; r < 2; r++) {
            float x = scores[m][0][2 * r];
#pragma unroll
            for (int n = 0; n < 2 * GROUPS; n++)
                x = fmaxf(x, fmaxf(scores[m][n][2 * r], scores[m][n][2 * r + 1]));
            largest[m][r] = row_reduce<true>(x);
        }
    raise_reference(own, largest, c);
#pragma unroll
    for (int m = 0; m < ROW_TILES; m++)
        for (int r = 0; r < 2; r++)
            shift[m][r] = own.reference[m][r] == -CUDART_INF_F ? 0.0f : own.reference[m][r] * c;
#pragma unroll
    for (int group = 0; group < GROUPS; group++) {
        unsigned weights[ROW_TILES][4];
#pragma unroll
        for (int m = 0; m < ROW_TILES; m++)
#pragma unroll
            for (int at = 0; at < 4; at++) { /* rows alternate, as in A */
                const int r = at % 2;
                const float *pair = scores[m][2 * group + at / 2] + 2 * r;
                const float left = lks_exp2(fmaf(pair[0], c, -shift[m][r]));
                const float right = lks_exp2(fmaf(pair[1], c, -shift[m][r]));
                own.sum[m][r] += left + right;
                weights[m][at] = lks_bf16_pair(left, right);
            }
#pragma unroll
        for (int step = 0; step < STEPS; step++) {
            unsigned value[4]; /* of 8 columns, and of the next 8 */
            lks_load_matrices<true>(value, values + group * STEP * ROW + step * STEP);
#pragma unroll
            for (int m = 0; m < ROW_TILES; m++) {
                lks_mma_bf16(own.out[m][2 * step], weights[m], value);
                lks_mma_bf16(own.out[m][2 * step + 1], weights[m], value + 2);
            }
        }
    }
}

__device__ __forceinline__ void store_four(const operands &io, int64_t at, const float *four, int n)
{
    if (n >= 4 && io.out_aligned && io.out_halves) {
        *(lks_vector<unsigned, 2> *)(io.out_halves + at) = {lks_bf16_pair(four[0], four[1]),
                                                            lks_bf16_pair(four[2], four[3])};
    } else if (n >= 4 && io.out_aligned) {
        *(lks_vector<float, 4> *)(io.out + at) = {four[0], four[1], four[2], four[3]};
    } else {
        for (int k = 0; k < 4 && k < n; k++)
            if (io.out_halves)
                io.out_halves[at + k] = lks_bf16_narrow(four[k]);
            else
                io.out[at + k] = four[k];
    }
}

/* Normalises and writes the results of a warp whose first query is `first`. */
template <int STEPS, int ROW_TILES>
__device__ __forceinline__ void store_rows(const rows<STEPS, ROW_TILES> &own, const lks_attention &a,
                                           const operands &io, int b, int h, int first)
{
    const int lane = (int)threadIdx.x % LKS_WARP, g = lane / 4, t = lane % 4;
    const bool odd = t % 2 != 0;
#pragma unroll
    for (int m = 0; m < ROW_TILES; m++)
#pragma unroll
        for (int r = 0; r < 2; r++) {
            const int i = first + m * STEP + g + 8 * r;
            const int64_t out = b * a.out_batch_stride + i * a.out_row_stride + (int64_t)h * a.d_head;
            const float sum = row_reduce<false>(own.sum[m][r]), scale = sum == 0.0f ? 0.0f : 1.0f / sum;
            /* Of two products beside each other an even lane takes its neighbour's half of the left one, and gives of the right. */
#pragma unroll
            for (int step = 0; step < STEPS; step++) {
                const float *left = own.out[m][2 * step] + 2 * r, *right = own.out[m][2 * step + 1] + 2 * r;
                const float other[2] = {__shfl_xor_sync(LKS_WHOLE_WARP, odd ? left[0] : right[0], 1),
                                        __shfl_xor_sync(LKS_WHOLE_WARP, odd ? left[1] : right[1], 1)};
                const float four[4] = {scale * (odd ? other[0] : left[0]), scale * (odd ? other[1] : left[1]),
                                       scale * (odd ? right[0] : other[0]), scale * (odd ? right[1] : other[1])};
                const int c = step * STEP + (odd ? 8 + 2 * (t - 1) : 2 * t);
                if (i < a.n_queries)
                    store_four(io, out + c, four, a.d_head - c);
            }
            if (a.log_sum_exp && i < a.n_queries && t == 0)
                a.log_sum_exp[lks_map_row(a, b, h, i)] =
                    sum == 0.0f ? -CUDART_INF_F : own.reference[m][r] * fabsf(a.scale) + logf(sum);
        }
}

template <int STEPS, int ROW_TILES, bool COPIED>
static __global__ void __launch_bounds__(THREADS) attend(lks_attention a, operands io)
{
    using S = shape<STEPS, ROW_TILES>;
    LKS_SHARED(uint16_t, shared); /* two stages */
    const int warp = (int)threadIdx.x / LKS_WARP, lane = (int)threadIdx.x % LKS_WARP;
    const int h = (int)blockIdx.y, b = (int)blockIdx.z;
    const int block_first = (int)blockIdx.x * S::QUERIES, first = block_first + warp * S::OF_WARP;
    const int64_t kv = lks_kv_begin(a, b, h);
    /* Later queries see no less. */
    const int block_end = lks_visible_end(a, b, min(block_first + S::QUERIES, a.n_queries) - 1);
    const int end = first < a.n_queries ? lks_visible_end(a, b, min(first + S::OF_WARP, a.n_queries) - 1) : 0;
    const int whole = end == 0 || a.key_mask ? 0 : lks_visible_end(a, b, first);

    if (block_end > 0)
        load_tile<S, COPIED>(shared, a, io, kv, b, 0, block_end);
    load_queries<S>(shared + S::STAGE, a, io, b, h, block_first);
    __syncthreads();

    /* Where this lane reads matrices: of A and turned ones by rows first, of keys by columns first. */
    const int across = lane % STEP * S::ROW + lane / STEP * 8,
              down = (lane % 8 + lane / STEP * 8) * S::ROW + lane / 8 % 2 * 8;
    const float c = a.scale == 0.0f ? 1.0f : fabsf(a.scale) * 1.44269504088896340736f;
    rows<STEPS, ROW_TILES> own;
#pragma unroll
    for (int m = 0; m < ROW_TILES; m++) {
#pragma unroll
        for (int step = 0; step < STEPS; step++) {
            lks_load_matrices<false>(own.query[m][step], shared + S::STAGE + (warp * S::OF_WARP + m * STEP) * S::ROW +
                                                             step * STEP + across);
            for (int k = 0; k < 4; k++)
                own.query[m][step][k] = a.scale == 0.0f  ? 0u
                                        : a.scale < 0.0f ? own.query[m][step][k] ^ 0x80008000u
                                                         : own.query[m][step][k];
        }
        for (int r = 0; r < 2; r++) {
            int i = first + m * STEP + lane / 4 + 8 * r;
            own.ends[m][r] = i < a.n_queries ? lks_visible_end(a, b, i) : 0;
            own.reference[m][r] = -CUDART_INF_F;
            own.sum[m][r] = 0.0f;
        }
#pragma unroll
        for (int n = 0; n < 2 * STEPS; n++)
            for (int k = 0; k < 4; k++)
                own.out[m][n][k] = 0.0f;
    }
    for (int begin = 0, turn = 0; begin < block_end; begin += S::KEYS, turn ^= 1) {
        if (COPIED)
            lks_copies_wait();
        __syncthreads(); /* the tile is there, and nobody reads the other one any more */
        if (begin + S::KEYS < block_end)
            load_tile<S, COPIED>(shared + (turn ^ 1) * S::STAGE, a, io, kv, b, begin + S::KEYS, block_end);
        const uint16_t *keys = shared + turn * S::STAGE + down, *values = shared + turn * S::STAGE + S::TILE + across;
        if (begin + S::KEYS <= whole) {
            take_keys<S::KEYS / STEP, false>(own, keys, values, c, a, b, begin);
            continue;
        }
#pragma unroll 1
        for (int k = 0; k < S::KEYS && begin + k < end; k += STEP)
            take_keys<1, true>(own, keys + k * S::ROW, values + k * S::ROW, c, a, b, begin + k);
    }
    if (first < a.n_queries)
        store_rows(own, a, io, b, h, first);
}

/* Models below f32 only; maps are for explaining, and exact. */
bool lks_cuda_attention_fits(const lks_compute *compute, const lks_attention *a)
{
    return compute->rounds && compute->queue->device->info.major >= 8 && a->kind == LKS_ATTENTION_SOFTMAX && !a->map &&
           a->d_head <= 8 * STEP && a->n_queries > 8;
}

/* Numbers of which each `together` begin at a multiple of their size, in every head of every row. */
template <class T> static bool aligned(const T *at, int64_t row_stride, int64_t batch_stride, int d_head, int together)
{
    return lks_is_aligned(at, (size_t)together * sizeof(T)) && row_stride % together == 0 &&
           batch_stride % together == 0 && d_head % together == 0;
}

static numbers numbers_of(const float *floats, const uint16_t *halves, int64_t row_stride, int64_t batch_stride, int d)
{
    return {floats, halves,
            halves ? aligned(halves, row_stride, batch_stride, d, 8) : aligned(floats, row_stride, batch_stride, d, 4)};
}

template <int STEPS, int ROW_TILES>
static void launch(const lks_compute *compute, const lks_attention *a, const operands &io)
{
    using S = shape<STEPS, ROW_TILES>;
    const bool copied = io.key.halves && io.key.aligned && io.value.aligned;
    const dim3 grid((unsigned)((a->n_queries + S::QUERIES - 1) / S::QUERIES), (unsigned)a->n_heads,
                    (unsigned)a->n_batch);
    lks_launch(compute, "attention on tensor cores",
               copied ? attend<STEPS, ROW_TILES, true> : attend<STEPS, ROW_TILES, false>, grid, dim3(THREADS),
               (size_t)(2 * S::STAGE) * sizeof(uint16_t), *a, io);
}

/* Narrow heads leave registers for 32 queries a warp, which halves what is read from shared memory. */
static void run(const lks_compute *compute, const lks_attention *a, const uint16_t *query, float *out,
                uint16_t *out_halves)
{
    const int d = a->d_head;
    const operands io = {
        numbers_of(query ? NULL : a->query, query, a->query_row_stride, a->query_batch_stride, d),
        numbers_of(a->key, a->key_bf16, a->kv_row_stride, a->kv_batch_stride, d),
        numbers_of(a->value, a->value_bf16, a->kv_row_stride, a->kv_batch_stride, d),
        out,
        out_halves,
        out ? aligned(out, a->out_row_stride, a->out_batch_stride, d, 4)
            : aligned(out_halves, a->out_row_stride, a->out_batch_stride, d, 4),
    };
    const bool many = a->n_queries > shape<4, 1>::QUERIES;
    auto start = d <= 2 * STEP   ? many ? launch<2, 2> : launch<2, 1>
                   : d <= 4 * STEP ? many ? launch<4, 2> : launch<4, 1>
                   : d <= 6 * STEP ? launch<6, 1>
                                 : launch<8, 1>;
    start(compute, a, io);
}

void lks_cuda_attention_mma(const lks_compute *compute, const lks_attention *attention)
{
    run(compute, attention, NULL, attention->out, NULL);
}

void lks_cuda_attention_bf16(const lks_compute *compute, const lks_attention *attention, const uint16_t *query,
                             uint16_t *out)
{
    run(compute, attention, query, NULL, out);
}
