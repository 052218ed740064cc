/* Attention in f32, in two kernels, see fusion/attention.h for what is computed.
 *
 * `tile`: for many queries where attention_f32.cu has nothing faster: maps, the linear kind, keys in bf16, wide heads. A block takes
 * 16 queries of a head and goes through the keys, 32 at a time: a lane has the score of one key, then the lanes share out the width of
 * the head. Keys stand in shared memory, a float beside each row so that lanes that read down a column do not meet in a bank.
 * `split`: for few queries, as in decoding, and for wide heads. A block takes one query and a part of the keys; its warps take turns
 * at 32 keys, whose numbers are read once, 16 bytes a lane: what it takes is the time to read them. How many parts there are depends
 * on the number of keys alone, so that a row does not depend on the rows beside it; `join` puts the parts together.
 *
 * Both keep the running softmax of Milakov & Gimelshein (2018). A map takes the scores first and is normalised when the sum is known. */
#include <type_traits>

#include "fusion/cuda/attention.cuh"

constexpr int KEYS = LKS_WARP, THREADS = 128, WARPS = THREADS / LKS_WARP;
constexpr int PER_WARP = 4, QUERIES = WARPS * PER_WARP; /* of `tile` */
constexpr int FEW_QUERIES = 8, MAX_PARTS = 8, KEYS_A_PART = 128, MAX_TILE_WIDTH = 128, MAX_WIDTH = 512;
constexpr int MAX_LOADS = 8; /* under way at once, of a lane of `split` */

template <bool HALF> __device__ __forceinline__ float key_at(const lks_attention &a, int64_t at)
{
    return HALF ? lks_bf16_widen(a.key_bf16[at]) : a.key[at];
}

template <bool HALF> __device__ __forceinline__ float value_at(const lks_attention &a, int64_t at)
{
    return HALF ? lks_bf16_widen(a.value_bf16[at]) : a.value[at];
}

/* Takes the scores of 32 keys, a lane each, into the running softmax: *weight is this lane's, the result what older sums are worth. */
__device__ __forceinline__ float take_scores(const lks_attention &a, lks_running *r, float *weight, float score)
{
    if (a.kind == LKS_ATTENTION_LINEAR) {
        *weight = score;
        r->sum += lks_warp_sum(score);
        return 1.0f;
    }
    float largest = fmaxf(r->largest, lks_warp_max(score));
    if (largest == -CUDART_INF_F) {
        *weight = 0.0f;
        return 1.0f;
    }
    float older = lks_rescale(r->largest, largest);
    *weight = expf(score - largest);
    r->sum = r->sum * older + lks_warp_sum(*weight);
    r->largest = largest;
    return older;
}

__device__ __forceinline__ float hidden_score(const lks_attention &a)
{
    return a.kind == LKS_ATTENTION_LINEAR ? 0.0f : -CUDART_INF_F;
}

/* Normalises the map of a query whose scores of keys 0 .. end - 1 are written, by the threads first, first + step ... */
__device__ __forceinline__ void finish_map(const lks_attention &a, float *map, int end, lks_running r, int first,
                                           int step)
{
    for (int j = first; j < a.n_keys; j += step)
        map[j] = j < end ? lks_final_weight(a, map[j], r) : 0.0f;
}

template <bool HALF, int SLICES> static __global__ void tile(lks_attention a)
{
    lks_begin();
    LKS_SHARED(float, shared);
    const int d = a.d_head, row = d + 1;
    float *keys = shared, *queries = keys + KEYS * row, *weights = queries + QUERIES * d;
    const int warp = (int)threadIdx.x / LKS_WARP, lane = (int)threadIdx.x % LKS_WARP;
    const int h = (int)blockIdx.y, b = (int)blockIdx.z, first = (int)blockIdx.x * QUERIES;
    const int64_t kv = lks_kv_begin(a, b, h);
    const bool linear = a.kind == LKS_ATTENTION_LINEAR;
    for (int at = (int)threadIdx.x; at < QUERIES * d; at += THREADS) {
        int i = first + at / d;
        float q = i < a.n_queries ? a.query[b * a.query_batch_stride + i * a.query_row_stride + (int64_t)h * d + at % d]
                                  : 0.0f;
        queries[at] = linear ? lks_feature(q) : q;
    }
    int last = first + QUERIES <= a.n_queries ? first + QUERIES - 1 : a.n_queries - 1;
    int block_end = lks_visible_end(a, b, last); /* later queries see no less */
    int ends[PER_WARP];
    lks_running running[PER_WARP];
    float sums[PER_WARP][SLICES];
    for (int q = 0; q < PER_WARP; q++) {
        int i = first + warp * PER_WARP + q;
        ends[q] = i < a.n_queries ? lks_visible_end(a, b, i) : 0;
        running[q] = lks_running_start(a);
        for (int s = 0; s < SLICES; s++)
            sums[q][s] = 0.0f;
    }
    for (int begin = 0; begin < block_end; begin += KEYS) {
        __syncthreads();
        for (int at = (int)threadIdx.x; at < KEYS * d; at += THREADS) {
            int j = begin + at / d;
            float k = j < block_end ? key_at<HALF>(a, kv + j * a.kv_row_stride + at % d) : 0.0f;
            keys[at / d * row + at % d] = linear ? lks_feature(k) : k;
        }
        __syncthreads();
        const int j = begin + lane;
        float scores[PER_WARP] = {};
        for (int c = 0; c < d; c++) {
            float k = keys[lane * row + c];
#pragma unroll
            for (int q = 0; q < PER_WARP; q++)
                scores[q] += queries[(warp * PER_WARP + q) * d + c] * k;
        }
        const bool unmasked = j < block_end && lks_unmasked(a, b, j);
#pragma unroll
        for (int q = 0; q < PER_WARP; q++) {
            float score = unmasked && j < ends[q] ? (linear ? scores[q] : a.scale * scores[q]) : hidden_score(a);
            int i = first + warp * PER_WARP + q;
            if (a.map && i < a.n_queries && j < block_end)
                a.map[lks_map_row(a, b, h, i) * a.n_keys + j] = score;
            float weight, older = take_scores(a, &running[q], &weight, score);
            for (int s = 0; s < SLICES; s++)
                sums[q][s] *= older;
            weights[(warp * PER_WARP + q) * KEYS + lane] = weight;
        }
        __syncwarp();
        int n = block_end - begin < KEYS ? block_end - begin : KEYS;
        for (int t = 0; t < n; t++) {
#pragma unroll
            for (int s = 0; s < SLICES; s++) {
                int c = s * LKS_WARP + lane;
                float v = c < d ? value_at<HALF>(a, kv + (begin + t) * a.kv_row_stride + c) : 0.0f;
#pragma unroll
                for (int q = 0; q < PER_WARP; q++) {
                    float weight = weights[(warp * PER_WARP + q) * KEYS + t];
                    sums[q][s] += weight != 0.0f ? weight * v : 0.0f; /* hidden values may be anything, NaN too */
                }
            }
        }
    }
    for (int q = 0; q < PER_WARP; q++) {
        int i = first + warp * PER_WARP + q;
        if (i >= a.n_queries)
            break;
        float *out = a.out + b * a.out_batch_stride + i * a.out_row_stride + (int64_t)h * d;
        float scale = running[q].sum > 0.0f ? 1.0f / running[q].sum : 0.0f;
        for (int s = 0; s < SLICES; s++)
            if (s * LKS_WARP + lane < d)
                out[s * LKS_WARP + lane] = sums[q][s] * scale;
        if (a.log_sum_exp && lane == 0)
            a.log_sum_exp[lks_map_row(a, b, h, i)] = lks_running_log(running[q]);
        if (a.map) {
            __syncwarp();
            finish_map(a, a.map + lks_map_row(a, b, h, i) * a.n_keys, block_end, running[q], lane, LKS_WARP);
        }
    }
}

/* Sums [d] under a running softmax, of a part of the keys: [rows, n_parts, d + 2], the softmax behind the sums. */
__device__ __forceinline__ float *part_of(float *parts, const lks_attention &a, int64_t map_row, int part, int n_parts)
{
    return parts + (map_row * n_parts + part) * (a.d_head + 2);
}

__device__ __forceinline__ void write_result(const lks_attention &a, int b, int h, int i, int c, float sum,
                                             lks_running r)
{
    a.out[b * a.out_batch_stride + i * a.out_row_stride + (int64_t)h * a.d_head + c] =
        r.sum > 0.0f ? sum / r.sum : 0.0f;
    if (a.log_sum_exp && c == 0)
        a.log_sum_exp[lks_map_row(a, b, h, i)] = lks_running_log(r);
}

/* What a lane of `split` reads at once. */
template <bool HALF> struct sixteen_bytes {
    using number = typename std::conditional<HALF, uint16_t, float>::type;
    static constexpr int COUNT = 16 / sizeof(number);
    lks_vector<number, COUNT> numbers;
};

__device__ __forceinline__ float widen(float x)
{
    return x;
}

__device__ __forceinline__ float widen(uint16_t x)
{
    return lks_bf16_widen(x);
}

/* Those at `from`, of which the first n numbers are there; the others are 0. ALIGNED: all or none are. */
template <bool HALF, bool ALIGNED>
__device__ __forceinline__ sixteen_bytes<HALF> load_sixteen(const typename sixteen_bytes<HALF>::number *from, int n)
{
    sixteen_bytes<HALF> read = {};
    if (!ALIGNED)
        for (int k = 0; k < sixteen_bytes<HALF>::COUNT; k++)
            read.numbers.at[k] = k < n ? from[k] : (typename sixteen_bytes<HALF>::number)0;
    else if (n > 0)
        read.numbers = *(const decltype(read.numbers) *)from;
    return read;
}

template <bool HALF>
__device__ __forceinline__ const typename sixteen_bytes<HALF>::number *number_at(const float *floats,
                                                                                 const uint16_t *halves, int64_t at)
{
    if constexpr (HALF)
        return halves + at;
    else
        return floats + at;
}

template <bool LINEAR, bool HALF>
__device__ __forceinline__ float product(const float *query, const sixteen_bytes<HALF> &key)
{
    float sum = 0.0f;
    for (int k = 0; k < sixteen_bytes<HALF>::COUNT; k++) {
        const float x = widen(key.numbers.at[k]);
        sum += query[k] * (LINEAR ? lks_feature(x) : x);
    }
    return sum;
}

/* LANES lanes share a key, 16 bytes of it each, or CHUNKS times that; a warp has 32 / LANES keys abreast, and their loads under way
 * together. */
template <bool HALF, bool ALIGNED, int LANES, int CHUNKS>
static __global__ void split(lks_attention a, float *parts, int n_parts)
{
    lks_begin();
    using some = sixteen_bytes<HALF>;
    constexpr int EACH = some::COUNT, ABREAST = LKS_WARP / LANES, BATCH = MAX_LOADS / CHUNKS;
    LKS_SHARED(float, shared); /* [WARPS, d + 2] */
    const int d = a.d_head, warp = (int)threadIdx.x / LKS_WARP, lane = (int)threadIdx.x % LKS_WARP;
    const int i = (int)blockIdx.x / n_parts, part = (int)blockIdx.x % n_parts, h = (int)blockIdx.y, b = (int)blockIdx.z;
    const int place = lane % LANES, group = lane / LANES;
    const int64_t map_row = lks_map_row(a, b, h, i);
    const float *query = a.query + b * a.query_batch_stride + i * a.query_row_stride + (int64_t)h * d;
    const bool linear = a.kind == LKS_ATTENTION_LINEAR;
    const int end = lks_visible_end(a, b, i);
    float q[CHUNKS][EACH], sums[CHUNKS][EACH] = {};
    for (int s = 0; s < CHUNKS; s++)
        for (int k = 0; k < EACH; k++) {
            int c = (s * LANES + place) * EACH + k;
            q[s][k] = c >= d ? 0.0f : linear ? lks_feature(query[c]) : query[c];
        }
    const int64_t kv = lks_kv_begin(a, b, h) + place * EACH;
    const auto *key = number_at<HALF>(a.key, a.key_bf16, kv), *value = number_at<HALF>(a.value, a.value_bf16, kv);
    /* The loads of a batch go out together: this lane's numbers of the keys first + group, first + group + ABREAST, ... */
    const auto load_batch = [&](some(&to)[BATCH][CHUNKS], const typename some::number *from, int first, int stop) {
#pragma unroll
        for (int step = 0; step < BATCH; step++)
#pragma unroll
            for (int s = 0; s < CHUNKS; s++) {
                const int j = first + step * ABREAST + group, c = s * LANES * EACH;
                to[step][s] =
                    load_sixteen<HALF, ALIGNED>(from + j * a.kv_row_stride + c, j < stop ? d - place * EACH - c : 0);
            }
    };
    lks_running running = lks_running_start(a);
    for (int begin = (part * WARPS + warp) * KEYS; begin < end; begin += n_parts * WARPS * KEYS) {
        const int n = end - begin < KEYS ? end - begin : KEYS;
        float score = 0.0f;
#pragma unroll 1
        for (int batch = 0; batch < LANES && batch * ABREAST < n; batch += BATCH) {
            some keys[BATCH][CHUNKS];
            load_batch(keys, key, begin + batch * ABREAST, end);
#pragma unroll
            for (int step = 0; step < BATCH; step++) {
                float sum = 0.0f;
#pragma unroll
                for (int s = 0; s < CHUNKS; s++)
                    sum += linear ? product<true>(q[s], keys[step][s]) : product<false>(q[s], keys[step][s]);
                for (int other = LANES / 2; other > 0; other /= 2)
                    sum += __shfl_xor_sync(LKS_WHOLE_WARP, sum, other);
                if (place == batch + step)
                    score = sum;
            }
        }
        const int own = place * ABREAST + group; /* the key whose score this lane has kept */
        if (own >= n || !lks_unmasked(a, b, begin + own))
            score = hidden_score(a);
        else if (!linear)
            score *= a.scale;
        if (a.map && own < n)
            a.map[map_row * a.n_keys + begin + own] = score;
        float weight, older = take_scores(a, &running, &weight, score);
        for (int s = 0; s < CHUNKS; s++)
            for (int k = 0; k < EACH; k++)
                sums[s][k] *= older;
#pragma unroll 1
        for (int batch = 0; batch < LANES && batch * ABREAST < n; batch += BATCH) {
            some values[BATCH][CHUNKS];
            load_batch(values, value, begin + batch * ABREAST, end);
#pragma unroll
            for (int step = 0; step < BATCH; step++) {
                const float its = __shfl_sync(LKS_WHOLE_WARP, weight, group * LANES + batch + step);
                if (its != 0.0f) /* hidden values may be anything, NaN too */
#pragma unroll
                    for (int s = 0; s < CHUNKS; s++)
                        for (int k = 0; k < EACH; k++)
                            sums[s][k] += its * widen(values[step][s].numbers.at[k]);
            }
        }
    }
    float *own = shared + warp * (d + 2);
    for (int s = 0; s < CHUNKS; s++)
        for (int k = 0; k < EACH; k++) {
            const int c = (s * LANES + place) * EACH + k;
            for (int other = LANES; other < LKS_WARP; other *= 2)
                sums[s][k] += __shfl_xor_sync(LKS_WHOLE_WARP, sums[s][k], other);
            if (group == 0 && c < d)
                own[c] = sums[s][k];
        }
    if (lane == 0) {
        own[d] = running.largest;
        own[d + 1] = running.sum;
    }
    __syncthreads();
    lks_running all = lks_running_start(a);
    for (int w = 0; w < WARPS; w++)
        all.largest = fmaxf(all.largest, shared[w * (d + 2) + d]);
    for (int w = 0; w < WARPS; w++)
        all.sum += shared[w * (d + 2) + d + 1] * lks_rescale(shared[w * (d + 2) + d], all.largest);
    for (int c = (int)threadIdx.x; c < d; c += THREADS) {
        float sum = 0.0f;
        for (int w = 0; w < WARPS; w++)
            sum += shared[w * (d + 2) + c] * lks_rescale(shared[w * (d + 2) + d], all.largest);
        if (n_parts == 1)
            write_result(a, b, h, i, c, sum, all);
        else
            part_of(parts, a, map_row, part, n_parts)[c] = sum;
    }
    if (n_parts > 1 && threadIdx.x == 0) {
        part_of(parts, a, map_row, part, n_parts)[d] = all.largest;
        part_of(parts, a, map_row, part, n_parts)[d + 1] = all.sum;
    }
    if (a.map) /* then there is one part */
        finish_map(a, a.map + map_row * a.n_keys, end, all, (int)threadIdx.x, THREADS);
}

static __global__ void join(lks_attention a, float *parts, int n_parts)
{
    lks_begin();
    const int d = a.d_head, i = (int)blockIdx.x, h = (int)blockIdx.y, b = (int)blockIdx.z;
    const float *first = part_of(parts, a, lks_map_row(a, b, h, i), 0, n_parts);
    lks_running all = lks_running_start(a);
    for (int p = 0; p < n_parts; p++)
        all.largest = fmaxf(all.largest, first[p * (d + 2) + d]);
    for (int p = 0; p < n_parts; p++)
        all.sum += first[p * (d + 2) + d + 1] * lks_rescale(first[p * (d + 2) + d], all.largest);
    for (int c = (int)threadIdx.x; c < d; c += THREADS) {
        float sum = 0.0f;
        for (int p = 0; p < n_parts; p++)
            sum += first[p * (d + 2) + c] * lks_rescale(first[p * (d + 2) + d], all.largest);
        write_result(a, b, h, i, c, sum, all);
    }
}

/* Parts of the keys, as many as have room for their sums. */
static int count_parts(const lks_attention *a)
{
    int n_parts = (a->n_keys + KEYS_A_PART - 1) / KEYS_A_PART;
    size_t each =
        (size_t)a->n_batch * (size_t)a->n_heads * (size_t)a->n_queries * (size_t)(a->d_head + 2) * sizeof(float);
    bool one = a->map || a->n_queries > FEW_QUERIES || MAX_PARTS * each > LKS_ROOM_BYTES;
    return one ? 1 : n_parts > MAX_PARTS ? MAX_PARTS : n_parts;
}

/* Whether every 16 bytes of keys and values, counted from the start of a head, begin at a multiple of 16. */
template <class T> static bool aligned(const lks_attention *a, const T *key, const T *value)
{
    constexpr int EACH = 16 / sizeof(T);
    return lks_in_sixteens(key, a->kv_row_stride, a->kv_batch_stride) &&
           lks_in_sixteens(value, a->kv_row_stride, a->kv_batch_stride) && a->d_head % EACH == 0;
}

template <bool HALF, bool ALIGNED> static void run_split(const lks_compute *compute, const lks_attention *a)
{
    constexpr int SCALE = HALF ? 2 : 1; /* halves take half the lanes */
    const int d = a->d_head, n_parts = count_parts(a);
    float *parts = (float *)compute->queue->rooms[LKS_ROOM_SUMS];
    const dim3 grid((unsigned)(a->n_queries * n_parts), (unsigned)a->n_heads, (unsigned)a->n_batch);
    auto kernel = d <= 64    ? split<HALF, ALIGNED, 16 / SCALE, 1>
                  : d <= 128 ? split<HALF, ALIGNED, 32 / SCALE, 1>
                             : split<HALF, ALIGNED, LKS_WARP, MAX_WIDTH / 128 / SCALE>;
    lks_launch(compute, "attention of few queries", kernel, grid, dim3(THREADS),
               (size_t)(WARPS * (d + 2)) * sizeof(float), *a, parts, n_parts);
    if (n_parts > 1)
        lks_launch(compute, "joining of attention", join,
                   dim3((unsigned)a->n_queries, (unsigned)a->n_heads, (unsigned)a->n_batch), dim3(THREADS), 0, *a,
                   parts, n_parts);
}

template <bool HALF> static void run(const lks_compute *compute, const lks_attention *a)
{
    int d = a->d_head;
    if (d > MAX_WIDTH) {
        lks_queue_note_text(compute->queue, "attention heads are wider than 512");
        return;
    }
    if (a->n_queries > FEW_QUERIES && d <= MAX_TILE_WIDTH) {
        size_t shared = (size_t)(KEYS * (d + 1) + QUERIES * d + QUERIES * KEYS) * sizeof(float);
        dim3 grid((unsigned)((a->n_queries + QUERIES - 1) / QUERIES), (unsigned)a->n_heads, (unsigned)a->n_batch);
        auto kernel = d <= 32 ? tile<HALF, 1> : d <= 64 ? tile<HALF, 2> : tile<HALF, 4>;
        lks_launch(compute, "attention", kernel, grid, dim3(THREADS), shared, *a);
    } else if (HALF ? aligned(a, a->key_bf16, a->value_bf16) : aligned(a, a->key, a->value)) {
        run_split<HALF, true>(compute, a);
    } else {
        run_split<HALF, false>(compute, a);
    }
}

void lks_cuda_attention(const lks_compute *compute, const lks_attention *attention)
{
    if (lks_cuda_attention_fits(compute, attention))
        lks_cuda_attention_mma(compute, attention);
    else if (attention->n_queries > FEW_QUERIES && lks_cuda_attention_f32_fits(attention))
        lks_cuda_attention_f32(compute, attention);
    else if (attention->key)
        run<false>(compute, attention);
    else
        run<true>(compute, attention);
}
