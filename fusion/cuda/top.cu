/* The k largest of each row, and of a layer's outputs.
 *
 * Chunks of a row are searched by blocks of their own, then a block per row searches what they found. A value and its index make one
 * 64-bit key whose order is that of the list: larger values first, then lower indices, NaN last; the next best is the largest key
 * below the one before. */
#include "fusion/cuda/linear.cuh"

constexpr int THREADS = 256, CHUNK = 2048;
constexpr int ROW_UNIT = 32; /* rows of outputs are apart by multiples of so many */

typedef unsigned long long key_type;

__device__ __forceinline__ key_type key_of(float value, int index)
{
    unsigned bits = __float_as_uint(value);
    unsigned order = bits & 0x80000000u ? ~bits : bits | 0x80000000u;
    if (value == 0.0f)
        order = 0x80000000u; /* -0 equals 0 */
    if ((bits & 0x7FFFFFFFu) > 0x7F800000u)
        order = 0;
    return (key_type)order << 32 | (unsigned)~index;
}

__device__ __forceinline__ key_type block_largest(key_type key, key_type *shared)
{
    for (int step = LKS_WARP / 2; step > 0; step /= 2) {
        key_type other = __shfl_xor_sync(LKS_WHOLE_WARP, key, step);
        key = other > key ? other : key;
    }
    if (threadIdx.x % LKS_WARP == 0)
        shared[threadIdx.x / LKS_WARP] = key;
    __syncthreads();
    for (int i = 0; i < THREADS / LKS_WARP; i++)
        key = shared[i] > key ? shared[i] : key;
    __syncthreads();
    return key;
}

/* found [n, n_chunks, k] = the keys of the best of each chunk of x [n, d], 0 where a chunk has fewer; sums [n, n_chunks], or NULL. */
static __global__ void search_chunks(key_type *found, lks_running *sums, const float *x, int64_t x_stride, int d, int k)
{
    lks_begin();
    LKS_SHARED(key_type, shared);
    key_type *keys = shared + THREADS / LKS_WARP;
    int first = (int)blockIdx.x * CHUNK;
    float own[CHUNK / THREADS], largest = -CUDART_INF_F;
    x += blockIdx.y * x_stride;
#pragma unroll
    for (int i = 0; i < CHUNK / THREADS; i++) {
        const int j = i * THREADS + (int)threadIdx.x;
        own[i] = first + j < d ? x[first + j] : -CUDART_INF_F;
        keys[j] = first + j < d ? key_of(own[i], first + j) : 0;
        largest = fmaxf(largest, own[i]);
    }
    __syncthreads();
    if (sums) {
        float sum = 0.0f;
        largest = lks_block_reduce<true>(largest, (float *)shared);
#pragma unroll
        for (int i = 0; i < CHUNK / THREADS; i++)
            sum += own[i] == -CUDART_INF_F ? 0.0f : expf(own[i] - largest); /* NaN stays */
        sum = lks_block_reduce<false>(sum, (float *)shared);
        if (threadIdx.x == 0)
            sums[(int64_t)blockIdx.y * gridDim.x + blockIdx.x] = {largest, sum};
    }
    found += ((int64_t)blockIdx.y * gridDim.x + blockIdx.x) * k;
    key_type last = ~(key_type)0;
    for (int i = 0; i < k; i++) {
        key_type best = 0;
        for (int j = (int)threadIdx.x; j < CHUNK; j += THREADS)
            best = keys[j] < last && keys[j] > best ? keys[j] : best;
        last = block_largest(best, shared);
        if (threadIdx.x == 0)
            found[i] = last;
    }
}

/* The log-sum-exp of all chunks, by one thread. */
__device__ __forceinline__ float join_sums(const lks_running *sums, int n)
{
    lks_running all = {-CUDART_INF_F, 0.0f};
    for (int i = 0; i < n; i++)
        all.largest = fmaxf(all.largest, sums[i].largest);
    for (int i = 0; i < n; i++)
        all.sum += sums[i].sum * lks_rescale(sums[i].largest, all.largest);
    return all.largest + logf(all.sum);
}

static __global__ void search_found(float *values, int32_t *indices, float *log_sum_exp, const key_type *found,
                                    const lks_running *sums, int n_chunks, const float *x, int64_t x_stride, int k)
{
    lks_begin();
    LKS_SHARED(key_type, shared);
    const int n_found = n_chunks * k;
    found += (int64_t)blockIdx.x * n_found;
    x += blockIdx.x * x_stride;
    if (sums && threadIdx.x == THREADS - 1)
        log_sum_exp[blockIdx.x] = join_sums(sums + (int64_t)blockIdx.x * n_chunks, n_chunks);
    key_type last = ~(key_type)0;
    for (int i = 0; i < k; i++) {
        key_type best = 0;
        for (int j = (int)threadIdx.x; j < n_found; j += THREADS)
            best = found[j] < last && found[j] > best ? found[j] : best;
        last = block_largest(best, shared);
        if (threadIdx.x == 0) {
            int index = (int)~(unsigned)last;
            values[(int64_t)blockIdx.x * k + i] = x[index];
            indices[(int64_t)blockIdx.x * k + i] = index;
        }
    }
}

/* top->log_sum_exp may be NULL. */
static void run_top(const lks_compute *compute, const lks_top &top, const float *x, int64_t x_stride, int n, int d)
{
    const int n_chunks = (d + CHUNK - 1) / CHUNK, k = top.k;
    const size_t shared = THREADS / LKS_WARP * sizeof(key_type), half_room = LKS_ROOM_BYTES / 2;
    key_type *found = (key_type *)compute->queue->rooms[LKS_ROOM_SUMS];
    lks_running *sums = top.log_sum_exp ? (lks_running *)(compute->queue->rooms[LKS_ROOM_SUMS] + half_room)
                                        : NULL; /* k >= 1: room enough */
    int64_t rows = (int64_t)(half_room / sizeof(key_type)) / ((int64_t)n_chunks * k);
    for (int i = 0; i < n; i += (int)rows) {
        int some = n - i < rows ? n - i : (int)rows;
        lks_launch(compute, "top k of chunks", search_chunks, dim3((unsigned)n_chunks, (unsigned)some), dim3(THREADS),
                   shared + CHUNK * sizeof(key_type), found, sums, x + i * x_stride, x_stride, d, k);
        lks_launch(compute, "top k", search_found, dim3((unsigned)some), dim3(THREADS), shared,
                   top.values + (int64_t)i * k, top.indices + (int64_t)i * k,
                   top.log_sum_exp ? top.log_sum_exp + i : NULL, found, sums, n_chunks, x + i * x_stride, x_stride, k);
    }
}

void lks_cuda_top_k(const lks_compute *compute, float *values, int32_t *indices, const float *x, int n, int d, int k)
{
    run_top(compute, {k, values, indices, NULL}, x, d, n, d);
}

/* All outputs of a few rows at a time. cuBLASLt is slow where rows of an odd number of outputs, as GPT-2 has, lie without gaps. */
void lks_cuda_linear_top(const lks_compute *compute, const lks_linear *layer, const lks_top *top, const float *x, int n)
{
    float *outputs = (float *)compute->queue->rooms[LKS_ROOM_OUTPUTS];
    const int stride = lks_padded(layer->d_out, ROW_UNIT);
    int64_t rows = (int64_t)(LKS_ROOM_BYTES / sizeof *outputs) / stride;
    for (int i = 0; i < n; i += (int)rows) {
        int some = n - i < rows ? n - i : (int)rows;
        lks_linear_args args = {};
        args.n = some;
        args.x = x + (int64_t)i * layer->d_in;
        args.x_stride = layer->d_in;
        args.y = outputs;
        args.y_stride = stride;
        if (layer->int8.panels)
            lks_cuda_linear_int8(compute, layer, &args);
        else if (layer->bf16.panels)
            lks_cuda_linear_bf16(compute, layer, &args);
        else if (layer->int4.panels)
            lks_cuda_linear_int4(compute, layer, &args);
        else
            lks_cuda_linear(compute, layer, &args);
        const lks_top best = {top->k, top->values + (int64_t)i * top->k, top->indices + (int64_t)i * top->k,
                              top->log_sum_exp + i};
        run_top(compute, best, outputs, stride, some, layer->d_out);
    }
}
