/* What the files of the CUDA module share: devices, queues, and the launching of kernels. Private to fusion/cuda.
 *
 * A device holds copies of a model's arenas; `lks_on_device` turns an address in one of those into that of the copy and leaves
 * others, which are the device's own, as they are. A queue is a stream, with room to work in of a fixed size: ops that need more
 * work on fewer rows at a time. */
#ifndef LKS_CUDA_QUEUE_CUH
#define LKS_CUDA_QUEUE_CUH

#include <cublasLt.h>
#include <cuda_runtime.h>

extern "C" {
#include "fusion/device.h"
}

constexpr int LKS_MAX_MIRRORS = 8, LKS_MAX_PLANS = 256, LKS_MAX_RECORDINGS = 512, LKS_MAX_DOWNLOADS = 16;
constexpr size_t LKS_BLAS_BYTES = (size_t)32 << 20; /* cuBLASLt's */
#ifdef LKS_CUDA_EMULATED
constexpr size_t LKS_ROOM_BYTES = (size_t)2 << 20, LKS_MOST_BLOCK = LKS_ROOM_BYTES; /* small enough for tests to fill */
#else
constexpr size_t LKS_ROOM_BYTES = (size_t)64 << 20; /* of each room that ops work in */
/* Blocks of transformers have larger ones: products of more rows use a large GPU better, on an H100 by a tenth. */
constexpr size_t LKS_MOST_BLOCK = (size_t)256 << 20;
#endif
constexpr size_t LKS_BLOCK_SHARE = 256; /* what part of the GPU's memory a room for blocks takes, within these limits */
constexpr size_t LKS_STAGE_BYTES = (size_t)8 << 20; /* pinned memory of the host, in each direction */

typedef struct lks_mirror {
    const unsigned char *host;
    size_t size;
    unsigned char *device;
} lks_mirror;

/* The bias of a bf16 layer, exact and rounded, both on the device: cuBLASLt adds one of the type of its results. */
typedef struct lks_rounded_bias {
    const float *exact;
    uint16_t *rounded;
} lks_rounded_bias;

struct lks_device {
    lks_device_info info;
    bool chains; /* kernels wait for the one before them: see lks_launch_on */
    lks_mirror mirrors[LKS_MAX_MIRRORS];
    int n_mirrors;
    lks_linear *expected; /* [n_expected], room for max_expected */
    int n_expected, max_expected;
    lks_rounded_bias *biases; /* [n_biases] */
    int n_biases;
};

/* The rooms of a queue, and what linear layers use them for; other ops take any. */
enum { LKS_ROOM_INPUTS, LKS_ROOM_SUMS, LKS_ROOM_OUTPUTS, LKS_ROOM_COUNT };

typedef struct lks_product_plan lks_product_plan; /* of a matrix product, see matmul.cu */

typedef struct lks_recording {
    int64_t key[5];
    int n_seen;
    cudaGraphExec_t graph; /* NULL: not yet */
} lks_recording;

struct lks_queue {
    lks_device *device;
    cudaStream_t stream;
    cublasLtHandle_t blas;
    unsigned char *memory; /* one block of the device: */
    unsigned char *blas_room, *rooms[LKS_ROOM_COUNT];
    size_t block_bytes;      /* of the rooms for inputs and outputs, LKS_ROOM_BYTES at least */
    lks_product_plan *plans; /* [LKS_MAX_PLANS] */
    int n_plans;

    unsigned char *up; /* pinned: two halves that take turns */
    cudaEvent_t up_free[2];
    int up_turn;
    unsigned char *stages[2]; /* pinned, [stage_bytes] each: see lks_ops.stage */
    cudaEvent_t stage_free[2];
    size_t stage_bytes;
    int stage_turn; /* the one that was given last */
    unsigned char *down;
    size_t down_used;
    struct {
        void *to;
        const unsigned char *from;
        size_t n_bytes;
    } downloads[LKS_MAX_DOWNLOADS];
    int n_downloads;

    lks_recording *recordings;   /* [LKS_MAX_RECORDINGS] */
    int n_recordings, recording; /* the one being captured, or -1 */

    char failure[240]; /* the first one since the last sync, "" for none */
    lks_status failed;
};

/* Notes that `what` failed, once. */
void lks_queue_note(lks_queue *queue, cudaError_t error, const char *what);
void lks_queue_note_text(lks_queue *queue, const char *text);
lks_status lks_cuda_error(lks_error *err, cudaError_t error, const char *what);

/* Weights below f32 as matrix products want them: [d_out, d_in] row-major, rows padded, see rearrange.cu. */
lks_status lks_cuda_rearrange(const lks_device *device, unsigned char *room, size_t room_bytes, const lks_linear *layer,
                              cudaStream_t stream, lks_error *err);

lks_status lks_cuda_round_bias(const lks_rounded_bias *bias, int n, cudaStream_t stream, lks_error *err);

static inline const void *lks_on_device_bytes(const lks_device *device, const void *address)
{
    const unsigned char *at = (const unsigned char *)address;
    for (int i = 0; i < device->n_mirrors; i++) {
        const lks_mirror *m = &device->mirrors[i];
        if (at >= m->host && at < m->host + m->size)
            return m->device + (at - m->host);
    }
    return address;
}

template <class T> static inline const T *lks_on_device(const lks_compute *compute, const T *address)
{
    return (const T *)lks_on_device_bytes(compute->queue->device, address);
}

/* kernel<<<grid, block, shared bytes, stream>>>(arguments). `chained`: its blocks may start before the kernel that was queued before
 * it has ended, which hides the time a start takes (programmatic dependent launch); a kernel waits for that end itself. */
#ifdef LKS_CUDA_EMULATED
template <class... P, class... A>
static void lks_launch_on(cudaStream_t stream, bool chained, void (*kernel)(P...), dim3 grid, dim3 block, size_t shared,
                          A... arguments)
{
    lks_emulate(stream, chained, grid, block, shared, [=]() { kernel(static_cast<P>(arguments)...); });
}
#else
template <class... P, class... A>
static void lks_launch_on(cudaStream_t stream, bool chained, void (*kernel)(P...), dim3 grid, dim3 block, size_t shared,
                          A... arguments)
{
    cudaLaunchAttribute attribute;
    attribute.id = cudaLaunchAttributeProgrammaticStreamSerialization;
    attribute.val.programmaticStreamSerializationAllowed = 1;
    cudaLaunchConfig_t config = {};
    config.gridDim = grid;
    config.blockDim = block;
    config.dynamicSmemBytes = shared;
    config.stream = stream;
    config.attrs = &attribute;
    config.numAttrs = chained ? 1 : 0;
    cudaLaunchKernelEx(&config, kernel, static_cast<P>(arguments)...);
}
#endif

template <class... P, class... A>
static void lks_launch(const lks_compute *compute, const char *what, void (*kernel)(P...), dim3 grid, dim3 block,
                       size_t shared, A... arguments)
{
    lks_queue *queue = compute->queue;
    lks_launch_on(queue->stream, queue->device->chains, kernel, grid, block, shared, arguments...);
    lks_queue_note(queue, cudaGetLastError(), what);
}

/* Blocks of `threads` for n elements of a loop that strides by the grid. */
static inline dim3 lks_blocks(int64_t n, int threads)
{
    int64_t blocks = (n + threads - 1) / threads;
    return dim3((unsigned)(blocks < 1 ? 1 : blocks > 8192 ? 8192 : blocks));
}

lks_status lks_cuda_roofline(lks_roofline *out, const lks_compute *compute, lks_error *err);

/* Whether kernels, as this GPU runs them, were compiled to wait. */
bool lks_cuda_kernels_wait(void);

/* The parts of the table. */
void lks_cuda_linear(const lks_compute *compute, const lks_linear *layer, const lks_linear_args *args);
void lks_cuda_linear_int8(const lks_compute *compute, const lks_linear *layer, const lks_linear_args *args);
void lks_cuda_linear_bf16(const lks_compute *compute, const lks_linear *layer, const lks_linear_args *args);
/* The same of inputs x that are rounded: rows without gaps, as wide as those of the weights. args->x is not looked at. */
void lks_cuda_linear_of_rounded(const lks_compute *compute, const lks_linear *layer, const lks_linear_args *args,
                                const uint16_t *x);
bool lks_cuda_linear_rounded(const lks_compute *compute, uint16_t *const *y, const lks_linear *const *layers,
                             int n_layers, const float *x, int n);
void lks_cuda_linear_int4(const lks_compute *compute, const lks_linear *layer, const lks_linear_args *args);
void lks_cuda_linear_top(const lks_compute *compute, const lks_linear *layer, const lks_top *top, const float *x,
                         int n);
void lks_cuda_attention(const lks_compute *compute, const lks_attention *attention);
/* Of any number of queries, in f32, for what lks_cuda_attention_f32_fits says. */
bool lks_cuda_attention_f32_fits(const lks_attention *attention);
void lks_cuda_attention_f32(const lks_compute *compute, const lks_attention *attention);
/* On tensor cores, for what lks_cuda_attention_fits says. */
bool lks_cuda_attention_fits(const lks_compute *compute, const lks_attention *attention);
void lks_cuda_attention_mma(const lks_compute *compute, const lks_attention *attention);
/* The same of queries and results in bf16, by the struct's strides counted in their elements; its query and out are not looked at,
 * its keys and values are in bf16. */
void lks_cuda_attention_bf16(const lks_compute *compute, const lks_attention *attention, const uint16_t *query,
                             uint16_t *out);
bool lks_cuda_block_fits(const lks_block *block, int n_tokens);
void lks_cuda_block(const lks_compute *compute, const lks_block *block, float *x, int n_batch, int n_tokens,
                    unsigned parts);
void lks_cuda_layer_norm(const lks_compute *compute, float *y, const float *x, int n, int d, const float *weight,
                         const float *bias, float eps);
/* The same into bf16, for d <= LKS_MAX_NORM that are multiples of 4 and rows at multiples of 16 bytes. */
constexpr int LKS_MAX_NORM = 2048;
void lks_cuda_layer_norm_bf16(const lks_compute *compute, uint16_t *y, const float *x, int n, int d,
                              const lks_norm *norm, float eps);
void lks_cuda_rms_norm(const lks_compute *compute, float *y, const float *x, int n, int d, const float *weight,
                       float eps);
void lks_cuda_inverse_deviation(const lks_compute *compute, float *y, const float *x, int n, int d, float eps);
void lks_cuda_conv2d(const lks_compute *compute, const lks_conv2d *conv);
void lks_cuda_depthwise_conv2d(const lks_compute *compute, const lks_conv2d *conv);
void lks_cuda_patches(const lks_compute *compute, float *x, const float *image, int height, int width, int patch_height,
                      int patch_width);
void lks_cuda_resample(const lks_compute *compute, const lks_resample *args, int n);
void lks_cuda_embed(const lks_compute *compute, float *y, lks_table table, const int32_t *ids, int n, int d,
                    float scale);
void lks_cuda_activate(const lks_compute *compute, float *y, const float *x, size_t n, lks_activation activation);
void lks_cuda_gated(const lks_compute *compute, float *y, const float *x, int n, int d, lks_activation activation);
void lks_cuda_add_scaled(const lks_compute *compute, float *y, const float *a, const float *b, const float *scale,
                         int n, int d);
void lks_cuda_mean(const lks_compute *compute, float *y, const float *x, int n, int d);
void lks_cuda_add_outer(const lks_compute *compute, float *y, const float *a, const float *b, int n, int d);
void lks_cuda_round_bf16(const lks_compute *compute, uint16_t *y, const float *x, size_t n);
void lks_cuda_copy(const lks_compute *compute, const lks_copy *copy);
void lks_cuda_softmax(const lks_compute *compute, float *y, const float *x, int n, int d);
void lks_cuda_log_softmax(const lks_compute *compute, float *y, const float *x, int n, int d);
void lks_cuda_log_sum_exp(const lks_compute *compute, float *sums, const float *x, int n, int d);
void lks_cuda_top_k(const lks_compute *compute, float *values, int32_t *indices, const float *x, int n, int d, int k);

size_t lks_cuda_plan_bytes(void); /* of one of queue->plans */
/* Frees what matmul.cu keeps in queue->plans. */
void lks_cuda_forget_plans(lks_queue *queue);

/* How y [n, m] comes from sums [n, k] [m, k]^T: D = A B (+ bias, activation, residual) as far as cuBLASLt does it. */
typedef struct lks_product {
    int n, m, k;
    const void *x, *w; /* [n, k] rows x_stride apart; [m, k] rows w_stride apart; both float, bf16 or int8 */
    int64_t x_stride, w_stride;
    void *y;
    int64_t y_stride;
    cudaDataType_t type, y_type; /* of x and w; of y: CUDA_R_32F or 16BF, of int8 32I */
    const void *bias;            /* of y_type */
    const float *residual;       /* of a y in floats */
    int64_t residual_stride;
    lks_activation activation;
} lks_product;

/* Queues it if cuBLASLt does it all, with bias, activation and residual; otherwise false, and nothing is done. */
bool lks_cuda_product(const lks_compute *compute, const lks_product *product);
/* Queues the sums alone. */
void lks_cuda_sums(const lks_compute *compute, const lks_product *product);

#endif
