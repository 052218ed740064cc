/* What fusion/cuda uses of CUDA, emulated on the host: see emulator.cpp. Stands in for the toolkit's header of the same name. */
#ifndef SHIM_CUDA_RUNTIME_H
#define SHIM_CUDA_RUNTIME_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <functional>

#define CUDART_VERSION 13000
#define __global__
#define __device__ static
#define __forceinline__ inline
#define __launch_bounds__(...)

struct dim3 {
    unsigned x, y, z;
    constexpr dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_)
    {
    }
};

/* Of the thread that runs now. */
extern dim3 threadIdx, blockIdx, blockDim, gridDim;

/* ---- inside kernels ---- */

void __syncthreads();
void __syncwarp();
void *lks_emulated_shared();
void lks_emulated_wait_for_previous();

/* Every lane gives `size` bytes and gets those of all 32 lanes, `stride` bytes apart. All lanes must come to the same call. */
const unsigned char *lks_emulated_exchange(const void *value, size_t size, size_t *stride);

template <class T> T __shfl_sync(unsigned mask, T value, int lane)
{
    (void)mask;
    size_t stride;
    const unsigned char *all = lks_emulated_exchange(&value, sizeof value, &stride);
    memcpy(&value, all + (size_t)(lane & 31) * stride, sizeof value);
    return value;
}

template <class T> T __shfl_xor_sync(unsigned mask, T value, int step)
{
    return __shfl_sync(mask, value, ((int)threadIdx.x & 31) ^ step);
}

static inline int __any_sync(unsigned mask, int predicate)
{
    (void)mask;
    size_t stride;
    const unsigned char *all = lks_emulated_exchange(&predicate, sizeof predicate, &stride);
    int any = 0;
    for (int lane = 0; lane < 32; lane++) {
        int its;
        memcpy(&its, all + (size_t)lane * stride, sizeof its);
        any |= its;
    }
    return any != 0;
}

/* mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32, by the fragment layout of the PTX ISA. */
void lks_emulated_mma_bf16(float c[4], const unsigned a[4], const unsigned b[2]);

/* ldmatrix.sync.aligned.m8n8.x4.shared.b16, or .trans of it. */
void lks_emulated_load_matrices(unsigned to[4], const void *row, bool turned);

/* cp.async.cg.shared.global of 16 bytes, of which n_bytes are read and the others zero, and cp.async.wait_all. Copies land when they
 * are waited for; until then NaN is there. */
void lks_emulated_copy_async(void *to, const void *from, size_t n_bytes);
void lks_emulated_copies_wait();

static inline int min(int a, int b)
{
    return a < b ? a : b;
}

static inline float __uint_as_float(unsigned bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static inline unsigned __float_as_uint(float x)
{
    unsigned bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

/* Halves to even; what does not fit is the nearest integer that does, NaN is 0. */
static inline int __float2int_rn(float x)
{
    return x != x ? 0 : x >= 2147483648.0f ? INT32_MAX : x <= -2147483648.0f ? INT32_MIN : (int)rintf(x);
}

static inline float __fdividef(float a, float b)
{
    return a / b;
}

static inline int __dp4a(int a, int b, int c)
{
    unsigned sum = (unsigned)c;
    for (int i = 0; i < 4; i++)
        sum += (unsigned)((int)(int8_t)(a >> 8 * i) * (int)(int8_t)(b >> 8 * i));
    return (int)sum;
}

/* ---- the runtime ---- */

typedef enum cudaError_t {
    cudaSuccess = 0,
    cudaErrorInvalidValue = 1,
    cudaErrorMemoryAllocation = 2,
    cudaErrorInsufficientDriver = 35,
    cudaErrorNoDevice = 100,
    cudaErrorIllegalAddress = 700,
    cudaErrorStreamCaptureUnsupported = 900
} cudaError_t;

typedef struct emulated_stream *cudaStream_t;
typedef struct emulated_graph *cudaGraph_t, *cudaGraphExec_t;
typedef int *cudaEvent_t;

enum cudaMemcpyKind { cudaMemcpyHostToDevice = 1, cudaMemcpyDeviceToHost = 2, cudaMemcpyDeviceToDevice = 3 };
enum cudaStreamCaptureMode { cudaStreamCaptureModeThreadLocal = 1 };
enum { cudaStreamNonBlocking = 1, cudaEventDisableTiming = 2 };

typedef struct cudaDeviceProp {
    char name[256];
    size_t totalGlobalMem;
    int major, minor;
} cudaDeviceProp;

typedef enum cudaDataType_t { CUDA_R_32F = 0, CUDA_R_8I = 3, CUDA_R_32I = 10, CUDA_R_16BF = 14 } cudaDataType_t;

const char *cudaGetErrorString(cudaError_t error);
cudaError_t cudaGetLastError();
cudaError_t cudaGetDeviceCount(int *n);
cudaError_t cudaGetDeviceProperties(cudaDeviceProp *properties, int device);
cudaError_t cudaSetDevice(int device);
cudaError_t cudaMalloc(void **out, size_t n_bytes);
cudaError_t cudaFree(void *memory);
cudaError_t cudaMallocHost(void **out, size_t n_bytes);
cudaError_t cudaFreeHost(void *memory);
cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t n_bytes, cudaMemcpyKind kind, cudaStream_t stream);
cudaError_t cudaStreamCreateWithFlags(cudaStream_t *out, unsigned flags);
cudaError_t cudaStreamDestroy(cudaStream_t stream);
cudaError_t cudaStreamSynchronize(cudaStream_t stream);
cudaError_t cudaEventCreateWithFlags(cudaEvent_t *out, unsigned flags);
cudaError_t cudaEventDestroy(cudaEvent_t event);
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream);
cudaError_t cudaEventSynchronize(cudaEvent_t event);
cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode mode);
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t *out);
cudaError_t cudaGraphInstantiate(cudaGraphExec_t *out, cudaGraph_t graph, unsigned long long flags);
cudaError_t cudaGraphLaunch(cudaGraphExec_t graph, cudaStream_t stream);
cudaError_t cudaGraphDestroy(cudaGraph_t graph);
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t graph);

/* kernel<<<grid, block, shared, stream>>>(...), its arguments in `thread`. `chained`: it may start before the kernel before it has
 * ended, and calls lks_emulated_wait_for_previous when it needs that end. */
void lks_emulate(cudaStream_t stream, bool chained, dim3 grid, dim3 block, size_t shared, std::function<void()> thread);

/* Work of another kind on a stream, which may touch device memory. */
void lks_emulate_work(cudaStream_t stream, std::function<void()> work);

#endif
