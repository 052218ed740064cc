/* Linear layers. Up to FEW rows, as a decoder has, read the weights once by kernels of our own, one warp to an output; more rows go
 * to cuBLASLt (matmul.cu), and what it does not do behind the sums a kernel does. int4 layers are in int4.cu.
 *
 * Inputs of layers below f32 are rounded exactly as the CPU rounds them: fusion/bf16.h, int8.h, int4.h. Sums of
 * integers are equal to the CPU's, bit for bit. */
#include "fusion/cuda/kernels.cuh"

constexpr int FEW = 8, THREADS = 128, ELEMENT_THREADS = 256;
constexpr float SMALLEST_RANGE = 1e-30f, LARGEST = 3.402823466e38f;

static int padded(int n, int unit)
{
    return (n + unit - 1) / unit * unit;
}

static lks_finish finish_of(const lks_compute *compute, const lks_linear *layer, const lks_linear_args *args)
{
    lks_finish f;
    f.bias = lks_on_device(compute, layer->bias);
    f.residual = lks_on_device(compute, args->residual);
    f.residual_stride = args->residual_stride;
    f.y = args->y;
    f.y_stride = args->y_stride;
    f.activation = args->activation;
    return f;
}

static lks_finish finish_from(lks_finish f, int row)
{
    f.y += row * f.y_stride;
    if (f.residual)
        f.residual += row * f.residual_stride;
    return f;
}

/* The end of a layer whose sums [n, d_out] are elsewhere; y may be its own residual. */
static __global__ void finish_sums(lks_finish f, const float *sums, int64_t n, int d_out)
{
    for (int64_t at = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; at < n * d_out;
         at += (int64_t)gridDim.x * blockDim.x)
        lks_finish_one(f, sums[at], at / d_out, (int)(at % d_out));
}

/* What a kernel for few rows multiplies. */
struct float_inputs {
    const float *x, *w;
    int64_t x_stride, w_stride;
};

struct bf16_inputs {
    const float *x;    /* rounded as it is read */
    const uint16_t *w; /* rows of pairs */
    int64_t x_stride, w_stride;
};

__device__ __forceinline__ float weight_at(const float_inputs &in, int o, int k)
{
    return in.w[o * in.w_stride + k];
}

__device__ __forceinline__ float input_at(const float_inputs &in, int i, int k)
{
    return in.x[i * in.x_stride + k];
}

__device__ __forceinline__ float weight_at(const bf16_inputs &in, int o, int k)
{
    return lks_bf16_widen(in.w[o * in.w_stride + k]);
}

__device__ __forceinline__ float input_at(const bf16_inputs &in, int i, int k)
{
    return lks_bf16_widen(lks_bf16_narrow(in.x[i * in.x_stride + k]));
}

template <class INPUTS, int ROWS> static __global__ void few_rows(lks_finish f, INPUTS in, int n, int d_in, int d_out)
{
    int o = (int)(blockIdx.x * (THREADS / LKS_WARP) + threadIdx.x / LKS_WARP), lane = (int)threadIdx.x % LKS_WARP;
    if (o >= d_out)
        return;
    float sums[ROWS] = {};
    for (int k = lane; k < d_in; k += LKS_WARP) {
        float w = weight_at(in, o, k);
#pragma unroll
        for (int i = 0; i < ROWS; i++)
            if (i < n)
                sums[i] += w * input_at(in, i, k);
    }
#pragma unroll
    for (int i = 0; i < ROWS; i++) {
        float sum = lks_warp_sum(sums[i]);
        if (lane == 0 && i < n)
            lks_finish_one(f, sum, i, o);
    }
}

template <class INPUTS>
static void run_few(const lks_compute *compute, const lks_finish &f, const INPUTS &in, int n, int d_in, int d_out)
{
    dim3 grid((unsigned)((d_out + THREADS / LKS_WARP - 1) / (THREADS / LKS_WARP)));
    auto kernel = n == 1 ? few_rows<INPUTS, 1> : n <= 4 ? few_rows<INPUTS, 4> : few_rows<INPUTS, FEW>;
    lks_launch(compute, "layer of few rows", kernel, grid, dim3(THREADS), 0, f, in, n, d_in, d_out);
}

/* A layer by cuBLASLt; where it cannot do all of it, the sums of some rows at a time, then their end. */
static void multiply(const lks_compute *compute, const lks_finish &f, int n, int d_in, int d_out, const void *x,
                     int64_t x_stride, const void *w, int64_t w_stride, cudaDataType_t type)
{
    lks_product p = {};
    p.n = n;
    p.m = d_out;
    p.k = d_in;
    p.x = x;
    p.x_stride = x_stride;
    p.w = w;
    p.w_stride = w_stride;
    p.y = f.y;
    p.y_stride = f.y_stride;
    p.type = type;
    p.y_type = CUDA_R_32F;
    p.bias = f.bias;
    p.residual = f.residual;
    p.residual_stride = f.residual_stride;
    p.activation = f.activation;
    if (lks_cuda_product(compute, &p))
        return;
    float *sums = (float *)compute->queue->rooms[LKS_ROOM_SUMS];
    int64_t rows = (int64_t)(LKS_ROOM_BYTES / sizeof *sums) / d_out;
    p.y = sums;
    p.y_stride = d_out;
    for (int i = 0; i < n; i += (int)rows) {
        p.n = n - i < rows ? n - i : (int)rows;
        p.x =
            (const unsigned char *)x + i * x_stride * (int64_t)(type == CUDA_R_32F ? sizeof(float) : sizeof(uint16_t));
        lks_cuda_sums(compute, &p);
        lks_launch(compute, "end of a layer", finish_sums, lks_blocks((int64_t)p.n * d_out, ELEMENT_THREADS),
                   dim3(ELEMENT_THREADS), 0, finish_from(f, i), sums, p.n, d_out);
    }
}

void lks_cuda_linear(const lks_compute *compute, const lks_linear *layer, const lks_linear_args *args)
{
    const lks_finish f = finish_of(compute, layer, args);
    const float *w = lks_on_device(compute, layer->packed);
    if (args->n > FEW) {
        multiply(compute, f, args->n, layer->d_in, layer->d_out, args->x, args->x_stride, w, layer->d_in, CUDA_R_32F);
        return;
    }
    const float_inputs in = {args->x, w, args->x_stride, layer->d_in};
    run_few(compute, f, in, args->n, layer->d_in, layer->d_out);
}

/* out [n, stride] = x rounded, padded with zeros. */
static __global__ void round_rows(uint16_t *out, int64_t stride, const float *x, int64_t x_stride, int64_t n, int d_in)
{
    for (int64_t at = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; at < n * stride;
         at += (int64_t)gridDim.x * blockDim.x) {
        int64_t k = at % stride;
        out[at] = k < d_in ? lks_bf16_narrow(x[at / stride * x_stride + k]) : (uint16_t)0;
    }
}

void lks_cuda_linear_bf16(const lks_compute *compute, const lks_linear *layer, const lks_linear_args *args)
{
    const lks_finish f = finish_of(compute, layer, args);
    const uint16_t *w = lks_on_device(compute, layer->bf16.panels);
    int width = padded(layer->d_in, LKS_BF16_GROUP);
    if (args->n <= FEW) {
        const bf16_inputs in = {args->x, w, args->x_stride, width};
        run_few(compute, f, in, args->n, layer->d_in, layer->d_out);
        return;
    }
    uint16_t *rounded = (uint16_t *)compute->queue->rooms[LKS_ROOM_INPUTS];
    int64_t rows = (int64_t)(LKS_ROOM_BYTES / sizeof *rounded) / width;
    for (int i = 0; i < args->n; i += (int)rows) {
        int n = args->n - i < rows ? args->n - i : (int)rows;
        lks_launch(compute, "rounding of a layer's inputs", round_rows, lks_blocks((int64_t)n * width, ELEMENT_THREADS),
                   dim3(ELEMENT_THREADS), 0, rounded, width, args->x + i * args->x_stride, args->x_stride, n,
                   layer->d_in);
        multiply(compute, finish_from(f, i), n, width, layer->d_out, rounded, width, w, width, CUDA_R_16BF);
    }
}

void lks_cuda_linear_rounded(const lks_compute *compute, const lks_linear *layer, const lks_linear_args *args,
                             const uint16_t *x)
{
    const uint16_t *w = lks_on_device(compute, layer->bf16.panels);
    int width = padded(layer->d_in, LKS_BF16_GROUP);
    multiply(compute, finish_of(compute, layer, args), args->n, width, layer->d_out, x, width, w, width, CUDA_R_16BF);
}

/* One block to a row: its range, then u = U - 128 in -128..127, [width] padded with zeros, so that sum (U - z) W =
 * sum u W - (z - 128) sum W. */
static __global__ void quantise_rows(int8_t *u, float *scales, int32_t *zeros, int width, const float *x,
                                     int64_t x_stride, int d_in)
{
    LKS_SHARED(float, shared);
    float low = 0.0f, high = 0.0f, odd = 0.0f;
    x += blockIdx.x * x_stride;
    u += (int64_t)blockIdx.x * width;
    for (int k = (int)threadIdx.x; k < d_in; k += THREADS) {
        low = x[k] < low ? x[k] : low;
        high = x[k] > high ? x[k] : high;
        odd = fabsf(x[k]) <= LARGEST ? odd : 1.0f;
    }
    low = -lks_block_reduce<true>(-low, shared);
    high = lks_block_reduce<true>(high, shared);
    odd = lks_block_reduce<true>(odd, shared);
    float range = high - low, inverse = 0.0f, scale = 0.0f;
    int32_t zero = 0;
    if (odd > 0.0f || !(range <= LARGEST)) {
        scale = CUDART_NAN_F;
    } else if (range >= SMALLEST_RANGE) {
        inverse = 255.0f / range;
        scale = range / 255.0f;
        zero = __float2int_rn(-low * inverse);
    }
    for (int k = (int)threadIdx.x; k < width; k += THREADS) {
        int32_t value = k < d_in && inverse != 0.0f ? __float2int_rn(x[k] * inverse) + zero : zero;
        value = value < 0 ? 0 : value > 255 ? 255 : value;
        u[k] = (int8_t)(k < d_in ? value - 128 : 0);
    }
    if (threadIdx.x == 0) {
        scales[blockIdx.x] = scale;
        zeros[blockIdx.x] = zero - 128;
    }
}

/* The weights of an int8 layer and its rounded inputs, all on the device. */
struct int8_inputs {
    const int8_t *u, *w;
    const float *x_scales, *w_scales;
    const int32_t *x_zeros, *w_sums;
    int width; /* of rows of u and w, a multiple of 4 */
};

/* Integers wrap around on the way, their end does not: see fusion/int8.h. */
__device__ __forceinline__ float int8_sum(const int8_inputs &in, unsigned sum, int64_t i, int o)
{
    int32_t whole = (int32_t)(sum - (unsigned)in.x_zeros[i] * (unsigned)in.w_sums[o]);
    return in.x_scales[i] * in.w_scales[o] * (float)whole;
}

template <int ROWS> static __global__ void few_rows_int8(lks_finish f, int8_inputs in, int n, int d_out)
{
    int o = (int)(blockIdx.x * (THREADS / LKS_WARP) + threadIdx.x / LKS_WARP), lane = (int)threadIdx.x % LKS_WARP;
    if (o >= d_out)
        return;
    const int *w = (const int *)(in.w + (int64_t)o * in.width), *u = (const int *)in.u;
    int sums[ROWS] = {}, words = in.width / 4;
    for (int k = lane; k < words; k += LKS_WARP) {
#pragma unroll
        for (int i = 0; i < ROWS; i++)
            if (i < n)
                sums[i] = __dp4a(w[k], u[i * words + k], sums[i]);
    }
#pragma unroll
    for (int i = 0; i < ROWS; i++) {
        unsigned sum = (unsigned)sums[i];
        for (int step = LKS_WARP / 2; step > 0; step /= 2)
            sum += __shfl_xor_sync(LKS_WHOLE_WARP, sum, step);
        if (lane == 0 && i < n)
            lks_finish_one(f, int8_sum(in, sum, i, o), i, o);
    }
}

static __global__ void finish_int8(lks_finish f, int8_inputs in, const int32_t *sums, int64_t sums_stride, int64_t n,
                                   int d_out)
{
    for (int64_t at = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; at < n * d_out;
         at += (int64_t)gridDim.x * blockDim.x) {
        int64_t i = at / d_out;
        int o = (int)(at % d_out);
        lks_finish_one(f, int8_sum(in, (unsigned)sums[i * sums_stride + o], i, o), i, o);
    }
}

/* n rows whose inputs are rounded. */
static void run_int8(const lks_compute *compute, const lks_finish &f, const int8_inputs &in, int n, int d_out)
{
    if (n <= FEW) {
        dim3 grid((unsigned)((d_out + THREADS / LKS_WARP - 1) / (THREADS / LKS_WARP)));
        auto kernel = n == 1 ? few_rows_int8<1> : n <= 4 ? few_rows_int8<4> : few_rows_int8<FEW>;
        lks_launch(compute, "int8 layer of few rows", kernel, grid, dim3(THREADS), 0, f, in, n, d_out);
        return;
    }
    lks_product p = {};
    p.n = n;
    p.m = padded(d_out, LKS_INT8_COLUMNS); /* as the weights are */
    p.k = in.width;
    p.x = in.u;
    p.x_stride = in.width;
    p.w = in.w;
    p.w_stride = in.width;
    p.y = compute->queue->rooms[LKS_ROOM_SUMS];
    p.y_stride = p.m;
    p.type = CUDA_R_8I;
    p.y_type = CUDA_R_32I;
    lks_cuda_sums(compute, &p);
    lks_launch(compute, "end of an int8 layer", finish_int8, lks_blocks((int64_t)n * d_out, ELEMENT_THREADS),
               dim3(ELEMENT_THREADS), 0, f, in, (const int32_t *)p.y, p.y_stride, n, d_out);
}

void lks_cuda_linear_int8(const lks_compute *compute, const lks_linear *layer, const lks_linear_args *args)
{
    const lks_finish f = finish_of(compute, layer, args);
    int width = padded(layer->d_in, LKS_INT8_GROUP), m = padded(layer->d_out, LKS_INT8_COLUMNS);
    int64_t rows = (int64_t)(LKS_ROOM_BYTES / 2) / (width > 8 ? width : 8);
    int64_t rows_of_sums = (int64_t)(LKS_ROOM_BYTES / sizeof(int32_t)) / m;
    rows = rows < rows_of_sums ? rows : rows_of_sums;
    unsigned char *room = compute->queue->rooms[LKS_ROOM_INPUTS];
    int8_t *u = (int8_t *)room;
    float *scales = (float *)(room + LKS_ROOM_BYTES / 2);
    int32_t *zeros = (int32_t *)(scales + rows);
    const int8_inputs in = {u,      lks_on_device(compute, layer->int8.panels),
                            scales, lks_on_device(compute, layer->int8.scales),
                            zeros,  lks_on_device(compute, layer->int8.sums),
                            width};
    for (int i = 0; i < args->n; i += (int)rows) {
        int n = args->n - i < rows ? args->n - i : (int)rows;
        lks_launch(compute, "rounding to int8", quantise_rows, dim3((unsigned)n), dim3(THREADS),
                   THREADS / LKS_WARP * sizeof(float), u, scales, zeros, width, args->x + i * args->x_stride,
                   args->x_stride, layer->d_in);
        run_int8(compute, finish_from(f, i), in, n, layer->d_out);
    }
}
