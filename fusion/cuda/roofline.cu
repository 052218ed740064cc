/* What the device does at most: products of large matrices by cuBLASLt, and a copy within its memory. Sizes grow until one run takes
 * a few milliseconds, so that queueing and waiting do not count, or memory is short. */
#include <chrono>

#include "fusion/cuda/kernels.cuh"
#include "fusion/cuda/queue.cuh"

constexpr int FILL_THREADS = 256, FIRST_SIDE = 256, LAST_SIDE = 8192, N_TURNS = 3;
constexpr size_t FIRST_COPY = (size_t)1 << 20, LAST_COPY = (size_t)1 << 30;
constexpr double LONG_ENOUGH = 4e-3, TURN = 20e-3; /* seconds of a run, of several in a row */

typedef struct bench {
    const lks_compute *compute;
    unsigned char *memory; /* three parts of part_bytes */
    size_t part_bytes;
} bench;

/* Numbers without a pattern: on zeros a device draws less power, and is faster. */
__device__ __forceinline__ unsigned scrambled(unsigned x)
{
    x = (x ^ x >> 16) * 0x7feb352du;
    x = (x ^ x >> 15) * 0x846ca68bu;
    return x ^ x >> 16;
}

__device__ __forceinline__ void put(float *to, unsigned bits)
{
    *to = (float)(bits >> 8) * 0x1p-23f - 1.0f;
}

__device__ __forceinline__ void put(uint16_t *to, unsigned bits)
{
    *to = lks_bf16_narrow((float)(bits >> 8) * 0x1p-23f - 1.0f);
}

__device__ __forceinline__ void put(int8_t *to, unsigned bits)
{
    *to = (int8_t)(int)(bits >> 24);
}

template <class T> static __global__ void fill(T *x, int64_t n)
{
    lks_begin();
    for (int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; i < n; i += (int64_t)gridDim.x * blockDim.x)
        put(&x[i], scrambled((unsigned)i));
}

template <class T> static void fill_part(const bench *b, int part, size_t n)
{
    lks_launch(b->compute, "numbers to measure with", fill<T>, lks_blocks((int64_t)n, FILL_THREADS), dim3(FILL_THREADS),
               0, (T *)(b->memory + part * b->part_bytes), (int64_t)n);
}

static double now()
{
    return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

/* Seconds of a run: the best mean of several turns, after one run that is not timed. Negative: it failed. */
template <class Run> static double time_runs(const bench *b, Run run)
{
    cudaStream_t stream = b->compute->queue->stream;
    double best = -1.0, once = 0.0;
    for (int turn = -2; turn < N_TURNS; turn++) {
        int n = once > 0.0 ? (int)(TURN / once) + 1 : 1;
        double began = now();
        for (int i = 0; i < n; i++)
            run();
        cudaError_t error = cudaStreamSynchronize(stream);
        double seconds = (now() - began) / n;
        lks_queue_note(b->compute->queue, error, "measuring it");
        if (b->compute->queue->failed != LKS_OK)
            return -1.0;
        if (turn == -1)
            once = seconds;
        if (turn >= -1 && (best < 0.0 || seconds < best))
            best = seconds;
        if (once > TURN) /* too slow to be repeated */
            break;
    }
    return best;
}

/* Three parts of that size at least; keeps what it has where they are as large. */
static bool reserve(bench *b, size_t part_bytes)
{
    if (part_bytes <= b->part_bytes)
        return true;
    cudaFree(b->memory);
    b->memory = NULL;
    b->part_bytes = 0;
    if (cudaMalloc((void **)&b->memory, 3 * part_bytes) != cudaSuccess) {
        cudaGetLastError(); /* that is no failure: the sizes so far will do */
        return false;
    }
    b->part_bytes = part_bytes;
    return true;
}

/* 10^9 operations per second of the best of a few products of square matrices of T. */
template <class T> static double measure_products(bench *b, cudaDataType_t type)
{
    double best = 0.0;
    for (int side = FIRST_SIDE; side <= LAST_SIDE; side *= 2) {
        size_t n = (size_t)side * side;
        if (!reserve(b, n * sizeof(float)))
            break;
        fill_part<T>(b, 0, n);
        fill_part<T>(b, 1, n);
        lks_product p = {};
        p.n = p.m = p.k = side;
        p.x = b->memory;
        p.w = b->memory + b->part_bytes;
        p.y = b->memory + 2 * b->part_bytes;
        p.x_stride = p.w_stride = p.y_stride = side;
        p.type = type;
        p.y_type = type == CUDA_R_8I ? CUDA_R_32I : type;
        double seconds = time_runs(b, [&]() { lks_cuda_sums(b->compute, &p); });
        if (seconds < 0.0)
            break;
        double rate = 2e-9 * side * side * side / seconds;
        best = rate > best ? rate : best;
        if (seconds > LONG_ENOUGH)
            break;
    }
    return best;
}

/* 10^9 bytes per second, those read and those written, of the largest copy. */
static double measure_copy(bench *b)
{
    double rate = 0.0;
    for (size_t n_bytes = FIRST_COPY; n_bytes <= LAST_COPY; n_bytes *= 8) {
        if (!reserve(b, n_bytes))
            break;
        double seconds = time_runs(b, [&]() {
            cudaError_t error = cudaMemcpyAsync(b->memory + b->part_bytes, b->memory, n_bytes, cudaMemcpyDeviceToDevice,
                                                b->compute->queue->stream);
            lks_queue_note(b->compute->queue, error, "copying within its memory");
        });
        if (seconds < 0.0)
            break;
        rate = 2e-9 * (double)n_bytes / seconds;
        if (seconds > LONG_ENOUGH)
            break;
    }
    return rate;
}

lks_status lks_cuda_roofline(lks_roofline *out, const lks_compute *compute, lks_error *err)
{
    bench b = {compute, NULL, 0};
    lks_roofline roof = {};
    roof.isa = LKS_ISA_CUDA;
    roof.dram_gbps = measure_copy(&b);
    roof.f32_gflops = measure_products<float>(&b, CUDA_R_32F);
    if (compute->queue->device->info.major >= 8)
        roof.bf16_gflops = measure_products<uint16_t>(&b, CUDA_R_16BF);
    roof.int8_gops = measure_products<int8_t>(&b, CUDA_R_8I);
    cudaFree(b.memory);
    lks_status st = compute->ops->sync(compute, err);
    if (st == LKS_OK && (roof.f32_gflops == 0.0 || roof.dram_gbps == 0.0))
        st = lks_error_set(err, LKS_ERR_NOMEM, "the GPU is out of memory: matrices to measure with");
    if (st == LKS_OK)
        *out = roof;
    return st;
}
