/* The k largest of each row, and of a layer's outputs.
 *
 * Chunks of a row are searched by blocks of their own, then a block per row searches what they found. A value and its index make one
 * 64-bit key whose order is that of the list: larger values first, then lower indices, NaN last; the next best is the largest key
 * below the one before. */
#include "fusion/cuda/kernels.cuh"

constexpr int THREADS = 256, CHUNK = 2048;

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

/* found [n, n_chunks, k] = the keys of the best of each chunk of x [n, d], 0 where a chunk has fewer. */
static __global__ void search_chunks(key_type *found, const float *x, int d, int k)
{
    LKS_SHARED(key_type, shared);
    key_type *keys = shared + THREADS / LKS_WARP;
    int first = (int)blockIdx.x * CHUNK;
    x += (int64_t)blockIdx.y * d;
    for (int j = (int)threadIdx.x; j < CHUNK; j += THREADS)
        keys[j] = first + j < d ? key_of(x[first + j], first + j) : 0;
    __syncthreads();
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

static __global__ void search_found(float *values, int32_t *indices, const key_type *found, int n_found, const float *x,
                                    int d, int k)
{
    LKS_SHARED(key_type, shared);
    found += (int64_t)blockIdx.x * n_found;
    x += (int64_t)blockIdx.x * d;
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

void lks_cuda_top_k(const lks_compute *compute, float *values, int32_t *indices, const float *x, int n, int d, int k)
{
    key_type *found = (key_type *)compute->queue->rooms[LKS_ROOM_SUMS];
    int n_chunks = (d + CHUNK - 1) / CHUNK;
    size_t shared = THREADS / LKS_WARP * sizeof(key_type);
    int64_t rows = (int64_t)(compute->queue->room_bytes / sizeof(key_type)) / ((int64_t)n_chunks * k);
    for (int i = 0; i < n; i += (int)rows) {
        int some = n - i < rows ? n - i : (int)rows;
        lks_launch(compute, "top k of chunks", search_chunks, dim3((unsigned)n_chunks, (unsigned)some), dim3(THREADS),
                   shared + CHUNK * sizeof(key_type), found, x + (int64_t)i * d, d, k);
        lks_launch(compute, "top k", search_found, dim3((unsigned)some), dim3(THREADS), shared, values + (int64_t)i * k,
                   indices + (int64_t)i * k, found, n_chunks * k, x + (int64_t)i * d, d, k);
    }
}

/* All outputs of a few rows at a time. */
void lks_cuda_linear_top(const lks_compute *compute, const lks_linear *layer, const lks_top *top, const float *x, int n)
{
    float *outputs = (float *)compute->queue->rooms[LKS_ROOM_OUTPUTS];
    int64_t rows = (int64_t)(compute->queue->room_bytes / sizeof *outputs) / layer->d_out;
    for (int i = 0; i < n; i += (int)rows) {
        int some = n - i < rows ? n - i : (int)rows;
        lks_linear_args args = {};
        args.n = some;
        args.x = x + (int64_t)i * layer->d_in;
        args.x_stride = layer->d_in;
        args.y = outputs;
        args.y_stride = layer->d_out;
        if (layer->int8.panels)
            lks_cuda_linear_int8(compute, layer, &args);
        else if (layer->bf16.panels)
            lks_cuda_linear_bf16(compute, layer, &args);
        else if (layer->int4.panels)
            lks_cuda_linear_int4(compute, layer, &args);
        else
            lks_cuda_linear(compute, layer, &args);
        lks_cuda_log_sum_exp(compute, top->log_sum_exp + i, outputs, some, layer->d_out);
        lks_cuda_top_k(compute, top->values + (int64_t)i * top->k, top->indices + (int64_t)i * top->k, outputs, some,
                       layer->d_out, top->k);
    }
}
