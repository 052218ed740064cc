/* Softmax attention of many queries in f32, without maps: FlashAttention (Dao et al. 2022) on ordinary multiply-adds.
 *
 * A block has 64 queries of a head and goes through the keys, 32 at a time. A thread has the scores of 4 queries and 2 keys, then 4
 * columns of the results of the same queries, so that a number read from shared memory serves 2 to 4 multiply-adds. Queries, keys and
 * weights stand there by columns: what a thread reads at once lies side by side, and so do the threads of a warp. The 16 threads that
 * share queries are half a warp: they exchange maxima and weights without waiting for others. */
#include "fusion/cuda/attention.cuh"

constexpr int QUERIES = 64, KEYS = 32, WIDTH = 64, THREADS = 256, ACROSS = 16; /* threads that share queries */
constexpr int OWN_QUERIES = 4, OWN_KEYS = KEYS / ACROSS, OWN_COLUMNS = WIDTH / ACROSS;
/* Floats from one column to the next: columns in different banks. */
constexpr int QUERY_ROW = QUERIES + 4, KEY_ROW = KEYS + 4;
constexpr int FOURS = WIDTH / 4;

typedef lks_vector<float, 4> four;
typedef lks_vector<float, 2> two;

static_assert(QUERIES == THREADS / ACROSS * OWN_QUERIES && OWN_KEYS == 2 && OWN_COLUMNS == 4, "what a thread has");

/* to [WIDTH, stride] = N rows of d floats, turned; those beyond the first n are zeros. Threads side by side take rows side by side. */
template <int N>
__device__ __forceinline__ void load_turned(float *to, int stride, const float *from, int64_t row_stride, int n, int d)
{
    for (int at = (int)threadIdx.x; at < N * FOURS; at += THREADS) {
        const int row = at % N, c = at / N * 4;
        const four read = row < n && c < d ? *(const four *)(from + row * row_stride + c) : four{};
#pragma unroll
        for (int k = 0; k < 4; k++)
            to[(c + k) * stride + row] = read.at[k];
    }
}

static __global__ void __launch_bounds__(THREADS, 2) attend_f32(lks_attention a)
{
    lks_begin();
    LKS_SHARED(float, shared);
    float *queries = shared, *keys = queries + WIDTH * QUERY_ROW, *values = keys + WIDTH * KEY_ROW;
    float *weights = values + KEYS * WIDTH; /* [KEYS, QUERY_ROW] */
    const int h = (int)blockIdx.y, b = (int)blockIdx.z, first = (int)blockIdx.x * QUERIES, d = a.d_head;
    const int tx = (int)threadIdx.x % ACROSS, ty = (int)threadIdx.x / ACROSS, own = first + ty * OWN_QUERIES;
    const int64_t kv = lks_kv_begin(a, b, h);
    const int block_end = lks_visible_end(a, b, min(first + QUERIES, a.n_queries) - 1); /* later queries see no less */
    load_turned<QUERIES>(queries, QUERY_ROW,
                         a.query + b * a.query_batch_stride + first * a.query_row_stride + (int64_t)h * d,
                         a.query_row_stride, a.n_queries - first, d);
    int ends[OWN_QUERIES];
    lks_running running[OWN_QUERIES];
    float sums[OWN_QUERIES][OWN_COLUMNS] = {};
#pragma unroll
    for (int i = 0; i < OWN_QUERIES; i++) {
        ends[i] = own + i < a.n_queries ? lks_visible_end(a, b, own + i) : 0;
        running[i] = {-CUDART_INF_F, 0.0f}; /* the sum of this thread's keys alone */
    }
    for (int begin = 0; begin < block_end; begin += KEYS) {
        const int n = block_end - begin;
        __syncthreads(); /* nobody reads the keys before any more */
        load_turned<KEYS>(keys, KEY_ROW, a.key + kv + begin * a.kv_row_stride, a.kv_row_stride, n, d);
        for (int at = (int)threadIdx.x; at < KEYS * FOURS; at += THREADS) {
            const int j = at / FOURS, c = at % FOURS * 4;
            /* hidden values may be anything, NaN too */
            const bool there = j < n && c < d && lks_unmasked(a, b, begin + j);
            *(four *)(values + j * WIDTH + c) =
                there ? *(const four *)(a.value + kv + (begin + j) * a.kv_row_stride + c) : four{};
        }
        __syncthreads();

        float scores[OWN_QUERIES][OWN_KEYS] = {};
#pragma unroll 8
        for (int c = 0; c < WIDTH; c++) {
            const four q = *(const four *)(queries + c * QUERY_ROW + ty * OWN_QUERIES);
            const two k = *(const two *)(keys + c * KEY_ROW + tx * OWN_KEYS);
#pragma unroll
            for (int i = 0; i < OWN_QUERIES; i++)
#pragma unroll
                for (int j = 0; j < OWN_KEYS; j++)
                    scores[i][j] = fmaf(q.at[i], k.at[j], scores[i][j]);
        }
#pragma unroll
        for (int j = 0; j < OWN_KEYS; j++) {
            const int key = begin + tx * OWN_KEYS + j;
            const bool unmasked = key < block_end && lks_unmasked(a, b, key);
#pragma unroll
            for (int i = 0; i < OWN_QUERIES; i++)
                scores[i][j] = unmasked && key < ends[i] ? a.scale * scores[i][j] : -CUDART_INF_F;
        }
#pragma unroll
        for (int i = 0; i < OWN_QUERIES; i++) {
            const float largest = fmaxf(running[i].largest, lks_warp_max<ACROSS>(fmaxf(scores[i][0], scores[i][1])));
            const float older = lks_rescale(running[i].largest, largest);
            running[i].largest = largest;
            running[i].sum *= older;
#pragma unroll
            for (int c = 0; c < OWN_COLUMNS; c++)
                sums[i][c] *= older;
#pragma unroll
            for (int j = 0; j < OWN_KEYS; j++) {
                scores[i][j] = largest == -CUDART_INF_F ? 0.0f : expf(scores[i][j] - largest);
                running[i].sum += scores[i][j];
            }
        }
        __syncwarp(); /* nobody reads the weights before any more */
#pragma unroll
        for (int j = 0; j < OWN_KEYS; j++)
            *(four *)(weights + (tx * OWN_KEYS + j) * QUERY_ROW + ty * OWN_QUERIES) = {scores[0][j], scores[1][j],
                                                                                       scores[2][j], scores[3][j]};
        __syncwarp();
#pragma unroll 8
        for (int j = 0; j < KEYS; j++) {
            const four p = *(const four *)(weights + j * QUERY_ROW + ty * OWN_QUERIES);
            const four v = *(const four *)(values + j * WIDTH + tx * OWN_COLUMNS);
#pragma unroll
            for (int i = 0; i < OWN_QUERIES; i++)
#pragma unroll
                for (int c = 0; c < OWN_COLUMNS; c++)
                    sums[i][c] = fmaf(p.at[i], v.at[c], sums[i][c]);
        }
    }
#pragma unroll
    for (int i = 0; i < OWN_QUERIES; i++) {
        const lks_running all = {running[i].largest, lks_warp_sum<ACROSS>(running[i].sum)};
        if (own + i >= a.n_queries)
            continue;
        const float scale = all.sum == 0.0f ? 0.0f : 1.0f / all.sum;
        if (tx * OWN_COLUMNS < d)
            *(four *)(a.out + b * a.out_batch_stride + (own + i) * a.out_row_stride + (int64_t)h * d +
                      tx * OWN_COLUMNS) = {sums[i][0] * scale, sums[i][1] * scale, sums[i][2] * scale,
                                           sums[i][3] * scale};
        if (a.log_sum_exp && tx == 0)
            a.log_sum_exp[lks_map_row(a, b, h, own + i)] = lks_running_log(all);
    }
}

bool lks_cuda_attention_f32_fits(const lks_attention *a)
{
    return a->kind == LKS_ATTENTION_SOFTMAX && !a->map && a->key && a->d_head <= WIDTH && a->d_head % 4 == 0 &&
           lks_in_sixteens(a->query, a->query_row_stride, a->query_batch_stride) &&
           lks_in_sixteens(a->key, a->kv_row_stride, a->kv_batch_stride) &&
           lks_in_sixteens(a->value, a->kv_row_stride, a->kv_batch_stride) &&
           lks_in_sixteens(a->out, a->out_row_stride, a->out_batch_stride);
}

void lks_cuda_attention_f32(const lks_compute *compute, const lks_attention *attention)
{
    const size_t n_floats = WIDTH * QUERY_ROW + WIDTH * KEY_ROW + KEYS * WIDTH + KEYS * QUERY_ROW;
    lks_launch(compute, "attention", attend_f32,
               dim3((unsigned)((attention->n_queries + QUERIES - 1) / QUERIES), (unsigned)attention->n_heads,
                    (unsigned)attention->n_batch),
               dim3(THREADS), n_floats * sizeof(float), *attention);
}
