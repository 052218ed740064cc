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
    static constexpr int BLOCKS = ROW_TILES == 2 || STEPS == 8 ? 2 : 3; /* of a multiprocessor, by their registers */
    static_assert(QUERIES <= 2 * KEYS, "queries have room in one stage, results, which are floats, in both");
};

/* Numbers in memory. Aligned are those of which eight, counted from the start of a head, begin at a multiple of 16 bytes, and whose
 * heads are a multiple of eight wide. */
enum numbers_kind { ALIGNED_HALVES, ALIGNED_FLOATS, ANY_HALVES, ANY_FLOATS };

typedef struct numbers {
    numbers_kind kind;
    const float *floats;
    const uint16_t *halves; /* one of the two is NULL */
} numbers;

typedef struct operands {
    numbers query, key, value;
    numbers_kind out_kind;
    float *out;
    uint16_t *out_halves; /* again, one of the two is NULL */
} operands;

__device__ __forceinline__ lks_vector<unsigned, 4> eight_halves(const float *floats)
{
    lks_vector<unsigned, 4> eight;
    for (int k = 0; k < 4; k++)
        eight.at[k] = lks_bf16_pair(floats[2 * k], floats[2 * k + 1]);
    return eight;
}

/* Rows of a head side by side in memory, `stride` apart, of which the first n are there and seen. */
typedef struct head_rows {
    int64_t at;
    int64_t stride;
    int n, width;
    const uint8_t *mask; /* or NULL */
} head_rows;

/* Brings ROWS rows into shared memory as bf16, zeros for those that are not there; ALIGNED_HALVES only begins to. */
template <class S, int ROWS, numbers_kind KIND>
__device__ __forceinline__ void load_rows_as(uint16_t *to, const numbers &from, const head_rows &rows)
{
    /* Eight numbers a thread: across a row, then down. */
    constexpr int ACROSS = S::WIDTH / EIGHT <= 4 ? 4 : S::WIDTH / EIGHT <= 8 ? 8 : 16, DOWN = THREADS / ACROSS;
    constexpr bool ALIGNED = KIND == ALIGNED_HALVES || KIND == ALIGNED_FLOATS;
    const int own_row = (int)threadIdx.x / ACROSS, c = (int)threadIdx.x % ACROSS * EIGHT;
    if (c >= S::WIDTH)
        return;
    to += own_row * S::ROW + c;
    int64_t at = rows.at + own_row * rows.stride + c;
#pragma unroll(ALIGNED ? ROWS / DOWN : 1)
    for (int row = 0; row < ROWS; row += DOWN, to += DOWN * S::ROW, at += DOWN * rows.stride) {
        const bool there = own_row + row < rows.n && c < rows.width && (!rows.mask || rows.mask[own_row + row] != 0);
        if (KIND == ALIGNED_HALVES) {
            lks_copy_async(to, from.halves + at, !there);
            continue;
        }
        float eight[EIGHT] = {};
        if (there && KIND == ALIGNED_FLOATS) {
            const lks_vector<float, 4> *fours = (const lks_vector<float, 4> *)(from.floats + at);
            const lks_vector<float, 4> left = fours[0], right = fours[1];
            for (int k = 0; k < 4; k++) {
                eight[k] = left.at[k];
                eight[4 + k] = right.at[k];
            }
        }
        if (there && !ALIGNED)
            for (int k = 0; k < EIGHT && c + k < rows.width; k++)
                eight[k] = KIND == ANY_HALVES ? lks_bf16_widen(from.halves[at + k]) : from.floats[at + k];
        *(lks_vector<unsigned, 4> *)to = eight_halves(eight);
    }
}

template <class S, int ROWS>
__device__ __forceinline__ void load_rows(uint16_t *to, const numbers &from, const head_rows &rows)
{
    switch (from.kind) {
    case ALIGNED_HALVES:
        load_rows_as<S, ROWS, ALIGNED_HALVES>(to, from, rows);
        break;
    case ALIGNED_FLOATS:
        load_rows_as<S, ROWS, ALIGNED_FLOATS>(to, from, rows);
        break;
    case ANY_HALVES:
        load_rows_as<S, ROWS, ANY_HALVES>(to, from, rows);
        break;
    case ANY_FLOATS:
        load_rows_as<S, ROWS, ANY_FLOATS>(to, from, rows);
        break;
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

__device__ __forceinline__ void store_eight(const operands &io, int64_t at, const float *eight, int n)
{
    switch (io.out_kind) {
    case ALIGNED_HALVES:
        *(lks_vector<unsigned, 4> *)(io.out_halves + at) = eight_halves(eight);
        break;
    case ALIGNED_FLOATS:
        for (int k = 0; k < EIGHT; k += 4)
            *(lks_vector<float, 4> *)(io.out + at + k) = *(const lks_vector<float, 4> *)(eight + k);
        break;
    case ANY_HALVES:
        for (int k = 0; k < EIGHT && k < n; k++)
            io.out_halves[at + k] = lks_bf16_narrow(eight[k]);
        break;
    case ANY_FLOATS:
        for (int k = 0; k < EIGHT && k < n; k++)
            io.out[at + k] = eight[k];
        break;
    }
}

/* Normalises and writes the results of a warp whose first query is `first`, by way of shared memory: there lanes have neighbours. */
template <int STEPS, int ROW_TILES>
__device__ __forceinline__ void store_rows(float *shared, const rows<STEPS, ROW_TILES> &own, const lks_attention &a,
                                           const operands &io, int b, int h, int first)
{
    using S = shape<STEPS, ROW_TILES>;
    const int lane = (int)threadIdx.x % LKS_WARP, g = lane / 4, t = lane % 4;
#pragma unroll
    for (int m = 0; m < ROW_TILES; m++)
#pragma unroll
        for (int r = 0; r < 2; r++) {
            const int row = m * STEP + g + 8 * r;
            const float sum = row_reduce<false>(own.sum[m][r]), scale = sum == 0.0f ? 0.0f : 1.0f / sum;
#pragma unroll
            for (int n = 0; n < 2 * STEPS; n++)
                *(lks_vector<float, 2> *)(shared + row * S::ROW + n * 8 + 2 * t) = {scale * own.out[m][n][2 * r],
                                                                                    scale * own.out[m][n][2 * r + 1]};
            if (a.log_sum_exp && first + row < a.n_queries && t == 0)
                a.log_sum_exp[lks_map_row(a, b, h, first + row)] =
                    sum == 0.0f ? -CUDART_INF_F : own.reference[m][r] * fabsf(a.scale) + logf(sum);
        }
    __syncwarp();
    const int64_t out = b * a.out_batch_stride + (int64_t)h * a.d_head;
    for (int at = lane; at < S::OF_WARP * (S::WIDTH / EIGHT); at += LKS_WARP) {
        const int row = at / (S::WIDTH / EIGHT), c = at % (S::WIDTH / EIGHT) * EIGHT;
        if (first + row < a.n_queries && c < a.d_head)
            store_eight(io, out + (first + row) * a.out_row_stride + c, shared + row * S::ROW + c, a.d_head - c);
    }
}

template <int STEPS, int ROW_TILES, bool COPIED>
static __global__ void __launch_bounds__(THREADS, shape<STEPS, ROW_TILES>::BLOCKS) attend(lks_attention a, operands io)
{
    lks_begin();
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

    const auto load_tile = [&](uint16_t *stage, int begin) {
        const head_rows tile = {kv + begin * a.kv_row_stride, a.kv_row_stride, block_end - begin, a.d_head,
                                a.key_mask ? a.key_mask + (int64_t)b * a.n_keys + begin : NULL};
        if (COPIED) {
            load_rows_as<S, S::KEYS, ALIGNED_HALVES>(stage, io.key, tile);
            load_rows_as<S, S::KEYS, ALIGNED_HALVES>(stage + S::TILE, io.value, tile);
        } else {
            load_rows<S, S::KEYS>(stage, io.key, tile);
            load_rows<S, S::KEYS>(stage + S::TILE, io.value, tile);
        }
    };
    if (block_end > 0)
        load_tile(shared, 0);
    load_rows<S, S::QUERIES>(shared + S::STAGE, io.query,
                             {b * a.query_batch_stride + block_first * a.query_row_stride + (int64_t)h * a.d_head,
                              a.query_row_stride, a.n_queries - block_first, a.d_head, NULL});
    lks_copies_wait();
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
        lks_copies_wait();
        __syncthreads(); /* the tile is there, and nobody reads the other one any more */
        if (begin + S::KEYS < block_end)
            load_tile(shared + (turn ^ 1) * S::STAGE, begin + S::KEYS);
        const uint16_t *keys = shared + turn * S::STAGE + down, *values = shared + turn * S::STAGE + S::TILE + across;
        if (begin + S::KEYS <= whole) {
            take_keys<S::KEYS / STEP, false>(own, keys, values, c, a, b, begin);
            continue;
        }
#pragma unroll 1
        for (int k = 0; k < S::KEYS && begin + k < end; k += STEP)
            take_keys<1, true>(own, keys + k * S::ROW, values + k * S::ROW, c, a, b, begin + k);
    }
    __syncthreads();
    if (first < a.n_queries)
        store_rows((float *)shared + warp * S::OF_WARP * S::ROW, own, a, io, b, h, first);
}

/* Models below f32 only; maps are for explaining, and exact. */
bool lks_cuda_attention_fits(const lks_compute *compute, const lks_attention *a)
{
    return compute->rounds && compute->queue->device->info.major >= 8 && a->kind == LKS_ATTENTION_SOFTMAX && !a->map &&
           a->d_head <= 8 * STEP && a->n_queries > 8;
}

static numbers_kind kind_of(const float *floats, const uint16_t *halves, int64_t row_stride, int64_t batch_stride,
                            int d)
{
    const bool aligned =
        floats ? lks_in_sixteens(floats, row_stride, batch_stride) : lks_in_sixteens(halves, row_stride, batch_stride);
    if (aligned && d % EIGHT == 0)
        return floats ? ALIGNED_FLOATS : ALIGNED_HALVES;
    return floats ? ANY_FLOATS : ANY_HALVES;
}

static numbers numbers_of(const float *floats, const uint16_t *halves, int64_t row_stride, int64_t batch_stride, int d)
{
    return {kind_of(floats, halves, row_stride, batch_stride, d), floats, halves};
}

template <int STEPS, int ROW_TILES>
static void launch(const lks_compute *compute, const lks_attention *a, const operands &io)
{
    using S = shape<STEPS, ROW_TILES>;
    const bool copied = io.key.kind == ALIGNED_HALVES && io.value.kind == ALIGNED_HALVES;
    const dim3 grid((unsigned)((a->n_queries + S::QUERIES - 1) / S::QUERIES), (unsigned)a->n_heads,
                    (unsigned)a->n_batch);
    lks_launch(compute, "attention on tensor cores",
               copied ? attend<STEPS, ROW_TILES, true> : attend<STEPS, ROW_TILES, false>, grid, dim3(THREADS),
               (size_t)(2 * S::STAGE) * sizeof(uint16_t), *a, io);
}

/* How many queries blocks of `of_block` compute, those that are not there too. */
static int computed(int n_queries, int of_block)
{
    return (n_queries + of_block - 1) / of_block * of_block;
}

/* Narrow heads leave registers for 32 queries a warp, which halves what is read from shared memory; but not where an eighth more of
 * them would be computed: of 257, with 16 a warp, an H200 does 138 TFLOP/s instead of 131. */
static void run(const lks_compute *compute, const lks_attention *a, const uint16_t *query, float *out,
                uint16_t *out_halves)
{
    const int d = a->d_head;
    const operands io = {
        numbers_of(query ? NULL : a->query, query, a->query_row_stride, a->query_batch_stride, d),
        numbers_of(a->key, a->key_bf16, a->kv_row_stride, a->kv_batch_stride, d),
        numbers_of(a->value, a->value_bf16, a->kv_row_stride, a->kv_batch_stride, d),
        kind_of(out, out_halves, a->out_row_stride, a->out_batch_stride, d),
        out,
        out_halves,
    };
    const bool many =
        8 * computed(a->n_queries, shape<4, 2>::QUERIES) <= 9 * computed(a->n_queries, shape<4, 1>::QUERIES);
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
