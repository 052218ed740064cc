/* Linear layers in f32 and bf16; int8 and int4 have files of their own. Few rows are multiplied by kernels here; more go to cuBLASLt
 * (matmul.cu), and what it does not do behind the sums a kernel does.
 *
 * Inputs of layers below f32 are rounded exactly as the CPU rounds them: fusion/bf16.h. */
#include "fusion/cuda/linear.cuh"
#include "fusion/cuda/mma.cuh"

constexpr int THREADS = 128;

/* The end of a layer whose sums [n, d_out] are elsewhere; y may be its own residual. */
template <int WIDTH>
static __global__ void finish_sums(lks_finish f, const lks_vector<float, WIDTH> *sums, int n, int d_out)
{
    lks_begin();
    int columns = d_out / WIDTH;
    for (int at = (int)(blockIdx.x * LKS_ELEMENT_THREADS + threadIdx.x); at < n * columns;
         at += (int)(gridDim.x * LKS_ELEMENT_THREADS))
        lks_finish_some<WIDTH>(f, sums[at], at / columns, at % columns * WIDTH);
}

template <int WIDTH>
static void run_finish(const lks_compute *compute, const lks_finish &f, const float *sums, int n, int d_out)
{
    lks_launch(compute, "end of a layer", finish_sums<WIDTH>,
               lks_blocks((int64_t)n * d_out / WIDTH, LKS_ELEMENT_THREADS), dim3(LKS_ELEMENT_THREADS), 0, f,
               (const lks_vector<float, WIDTH> *)sums, n, d_out);
}

/* ---- few rows ---- */

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

template <int WIDTH>
__device__ __forceinline__ lks_vector<float, WIDTH> weights_at(const float_inputs &in, int o, int k)
{
    return *(const lks_vector<float, WIDTH> *)(in.w + o * in.w_stride + k);
}

template <int WIDTH> __device__ __forceinline__ lks_vector<float, WIDTH> inputs_at(const float_inputs &in, int i, int k)
{
    return *(const lks_vector<float, WIDTH> *)(in.x + i * in.x_stride + k);
}

template <int WIDTH> __device__ __forceinline__ lks_vector<float, WIDTH> weights_at(const bf16_inputs &in, int o, int k)
{
    static_assert(WIDTH == 1, "rows of any width");
    return {{lks_bf16_widen(in.w[o * in.w_stride + k])}};
}

template <int WIDTH> __device__ __forceinline__ lks_vector<float, WIDTH> inputs_at(const bf16_inputs &in, int i, int k)
{
    return {{lks_bf16_widen(lks_bf16_narrow(in.x[i * in.x_stride + k]))}};
}

/* A warp to an output; d_in is a multiple of WIDTH. */
template <class INPUTS, int ROWS, int WIDTH>
static __global__ void few_rows(lks_finish f, INPUTS in, int n, int d_in, int d_out)
{
    lks_begin();
    int o = (int)(blockIdx.x * (THREADS / LKS_WARP) + threadIdx.x / LKS_WARP), lane = (int)threadIdx.x % LKS_WARP;
    if (o >= d_out)
        return;
    float sums[ROWS] = {};
    for (int k = lane * WIDTH; k < d_in; k += LKS_WARP * WIDTH) {
        lks_vector<float, WIDTH> w = weights_at<WIDTH>(in, o, k);
#pragma unroll
        for (int i = 0; i < ROWS; i++)
            if (i < n) {
                lks_vector<float, WIDTH> x = inputs_at<WIDTH>(in, i, k);
#pragma unroll
                for (int c = 0; c < WIDTH; c++)
                    sums[i] += w.at[c] * x.at[c];
            }
    }
#pragma unroll
    for (int i = 0; i < ROWS; i++) {
        float sum = lks_warp_sum(sums[i]);
        if (lane == 0 && i < n)
            lks_finish_one(f, sum, i, o);
    }
}

template <int WIDTH, class INPUTS>
static void run_few(const lks_compute *compute, const lks_finish &f, const INPUTS &in, int n, int d_in, int d_out)
{
    dim3 grid((unsigned)((d_out + THREADS / LKS_WARP - 1) / (THREADS / LKS_WARP)));
    auto kernel = n == 1   ? few_rows<INPUTS, 1, WIDTH>
                  : n <= 4 ? few_rows<INPUTS, 4, WIDTH>
                           : few_rows<INPUTS, LKS_FEW_ROWS, WIDTH>;
    lks_launch(compute, "layer of few rows", kernel, grid, dim3(THREADS), 0, f, in, n, d_in, d_out);
}

/* bf16 on tensor cores, for d_in that are multiples of 8: a block has 16 outputs, its warps share the inputs. The weights are A, the
 * rows of x the columns of B. A product sums over 16 k in any order, the same for both: a lane takes 8 that lie side by side, which are
 * its part of two products. Reading the weights is all that takes time, so every lane has several of its 16 bytes on their way, the
 * first of them before the kernel that makes x has ended; a long row has more warps for that. */
constexpr int MMA_OUTPUTS = 16, MMA_K = 8, MMA_AT_ONCE = 4, MMA_MOST_BLOCKS = 1024;
constexpr int MMA_OF_WARP = MMA_K * 4 * MMA_AT_ONCE; /* inputs that a warp has on their way */

typedef lks_vector<unsigned, MMA_K / 2> eight_weights;

/* Of the vectors begin, begin + stride, ... of two rows. */
__device__ __forceinline__ void load_weights(eight_weights (&a)[MMA_AT_ONCE][2], const eight_weights *upper,
                                             const eight_weights *lower, int begin, int stride, int n_vectors)
{
#pragma unroll
    for (int u = 0; u < MMA_AT_ONCE; u++) {
        const int at = begin + u * stride;
        a[u][0] = at < n_vectors ? upper[at] : eight_weights{};
        a[u][1] = at < n_vectors ? lower[at] : eight_weights{};
    }
}

template <int WARPS>
static __global__ void __launch_bounds__(WARPS *LKS_WARP)
    few_rows_mma(lks_finish f, const float *x, int64_t x_stride, const uint16_t *w, int n, int d_in, int d_out)
{
    lks_let_next_start();
    typedef lks_vector<float, MMA_K / 2> floats;
    LKS_SHARED(float, shared); /* [WARPS, MMA_OUTPUTS, LKS_FEW_ROWS] */
    const int warp = (int)threadIdx.x / LKS_WARP, lane = (int)threadIdx.x % LKS_WARP, g = lane / 4, t = lane % 4;
    const int n_vectors = d_in / MMA_K, stride = WARPS * 4, mine = warp * 4 + t;
    const floats *row = (const floats *)(x + (g < n ? g : 0) * x_stride);
    for (int first = (int)blockIdx.x * MMA_OUTPUTS; first < d_out; first += (int)gridDim.x * MMA_OUTPUTS) {
        const eight_weights *upper =
            (const eight_weights *)(w + (int64_t)(first + g) * d_in); /* weights have padding up to 64 outputs */
        const eight_weights *lower = upper + 8 * (int64_t)n_vectors;
        eight_weights a[MMA_AT_ONCE][2];
        load_weights(a, upper, lower, mine, stride, n_vectors);
        lks_wait_for_previous();
        float c[4] = {};
        for (int begin = mine; begin < n_vectors + t; begin += stride * MMA_AT_ONCE) {
            floats b[MMA_AT_ONCE][2];
#pragma unroll
            for (int u = 0; u < MMA_AT_ONCE; u++) {
                const int at = begin + u * stride;
                b[u][0] = at < n_vectors && g < n ? row[2 * at] : floats{};
                b[u][1] = at < n_vectors && g < n ? row[2 * at + 1] : floats{};
            }
            if (begin != mine)
                load_weights(a, upper, lower, begin, stride, n_vectors);
#pragma unroll
            for (int u = 0; u < MMA_AT_ONCE; u++)
#pragma unroll
                for (int half = 0; half < 2; half++) {
                    const float *four = b[u][half].at;
                    const unsigned weights[4] = {a[u][0].at[2 * half], a[u][1].at[2 * half], a[u][0].at[2 * half + 1],
                                                 a[u][1].at[2 * half + 1]};
                    const unsigned inputs[2] = {lks_bf16_pair(four[0], four[1]), lks_bf16_pair(four[2], four[3])};
                    lks_mma_bf16(c, weights, inputs);
                }
        }
        float *own = shared + (warp * MMA_OUTPUTS + g) * LKS_FEW_ROWS + 2 * t;
        for (int r = 0; r < 4; r++)
            own[r / 2 * 8 * LKS_FEW_ROWS + r % 2] = c[r];
        __syncthreads();
        const int o = (int)threadIdx.x % MMA_OUTPUTS, i = (int)threadIdx.x / MMA_OUTPUTS;
        if (i < n && first + o < d_out) {
            float sum = 0.0f;
            for (int part = 0; part < WARPS; part++)
                sum += shared[(part * MMA_OUTPUTS + o) * LKS_FEW_ROWS + i];
            lks_finish_one(f, sum, i, first + o);
        }
        __syncthreads();
    }
}

template <int WARPS>
static void run_few_mma(const lks_compute *compute, const lks_finish &f, const bf16_inputs &in, int n, int d_in,
                        int d_out)
{
    int tiles = (d_out + MMA_OUTPUTS - 1) / MMA_OUTPUTS, rounds = (tiles + MMA_MOST_BLOCKS - 1) / MMA_MOST_BLOCKS;
    lks_launch(compute, "layer of few rows", few_rows_mma<WARPS>, dim3((unsigned)((tiles + rounds - 1) / rounds)),
               dim3(WARPS * LKS_WARP), WARPS * MMA_OUTPUTS * LKS_FEW_ROWS * sizeof(float), f, in.x, in.x_stride, in.w,
               n, d_in, d_out);
}

/* ---- the layers ---- */

/* A layer by cuBLASLt; where it cannot do all of it, the sums of some rows at a time, then their end. */
static void multiply(const lks_compute *compute, const lks_linear *layer, const lks_linear_args *args, int first, int n,
                     const void *x, int64_t x_stride, const void *w, int width, cudaDataType_t type)
{
    const int d_out = layer->d_out;
    lks_finish f = lks_finish_of(compute, layer, args, first);
    lks_product p = {};
    p.n = n;
    p.m = d_out;
    p.k = width;
    p.x = x;
    p.x_stride = x_stride;
    p.w = w;
    p.w_stride = width;
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
    const size_t element = type == CUDA_R_32F ? sizeof(float) : sizeof(uint16_t);
    int64_t rows = (int64_t)(LKS_ROOM_BYTES / sizeof *sums) / d_out;
    p.y = sums;
    p.y_stride = d_out;
    for (int i = 0; i < n; i += (int)rows) {
        p.n = n - i < rows ? n - i : (int)rows;
        p.x = (const unsigned char *)x + (size_t)(i * x_stride) * element;
        lks_cuda_sums(compute, &p);
        f = lks_finish_of(compute, layer, args, first + i);
        if (lks_finishes_in_fours(f, d_out))
            run_finish<4>(compute, f, sums, p.n, d_out);
        else
            run_finish<1>(compute, f, sums, p.n, d_out);
    }
}

void lks_cuda_linear(const lks_compute *compute, const lks_linear *layer, const lks_linear_args *args)
{
    const int n = args->n, d_in = layer->d_in;
    const float *w = lks_on_device(compute, layer->packed);
    if (n > LKS_FEW_ROWS) {
        multiply(compute, layer, args, 0, n, args->x, args->x_stride, w, d_in, CUDA_R_32F);
        return;
    }
    const lks_finish f = lks_finish_of(compute, layer, args, 0);
    const float_inputs in = {args->x, w, args->x_stride, d_in};
    if (lks_in_fours(args->x, args->x_stride) && lks_in_fours(w, d_in))
        run_few<4>(compute, f, in, n, d_in, layer->d_out);
    else
        run_few<1>(compute, f, in, n, d_in, layer->d_out);
}

/* out [n, stride] = x rounded, padded with zeros; WIDTH 4: there is no padding. */
template <int WIDTH>
static __global__ void round_rows(lks_vector<uint16_t, WIDTH> *out, int stride, const float *x, int64_t x_stride, int n,
                                  int d_in)
{
    lks_begin();
    int columns = stride / WIDTH;
    for (int at = (int)(blockIdx.x * LKS_ELEMENT_THREADS + threadIdx.x); at < n * columns;
         at += (int)(gridDim.x * LKS_ELEMENT_THREADS)) {
        int k = at % columns * WIDTH;
        const float *from = x + at / columns * x_stride + k;
        lks_vector<uint16_t, WIDTH> rounded = {};
        if (k < d_in) {
            const lks_vector<float, WIDTH> exact = *(const lks_vector<float, WIDTH> *)from;
#pragma unroll
            for (int c = 0; c < WIDTH; c++)
                rounded.at[c] = lks_bf16_narrow(exact.at[c]);
        }
        out[at] = rounded;
    }
}

template <int WIDTH>
static void run_round(const lks_compute *compute, uint16_t *out, int stride, const float *x, int64_t x_stride, int n,
                      int d_in)
{
    lks_launch(compute, "rounding of a layer's inputs", round_rows<WIDTH>,
               lks_blocks((int64_t)n * stride / WIDTH, LKS_ELEMENT_THREADS), dim3(LKS_ELEMENT_THREADS), 0,
               (lks_vector<uint16_t, WIDTH> *)out, stride, x, x_stride, n, d_in);
}

void lks_cuda_linear_bf16(const lks_compute *compute, const lks_linear *layer, const lks_linear_args *args)
{
    const uint16_t *w = lks_on_device(compute, layer->bf16.panels);
    const int d_in = layer->d_in, width = lks_padded(d_in, LKS_BF16_GROUP);
    const bool in_fours = d_in % 4 == 0 && lks_in_fours(args->x, args->x_stride);
    if (args->n <= LKS_FEW_ROWS) {
        const lks_finish f = lks_finish_of(compute, layer, args, 0);
        const bf16_inputs in = {args->x, w, args->x_stride, width};
        if (in_fours && d_in % MMA_K == 0 && lks_is_aligned(w, MMA_K * sizeof *w))
            (d_in <= MMA_OF_WARP * 8    ? run_few_mma<8>
             : d_in <= MMA_OF_WARP * 16 ? run_few_mma<16>
                                        : run_few_mma<24>)(compute, f, in, args->n, d_in, layer->d_out);
        else
            run_few<1>(compute, f, in, args->n, d_in, layer->d_out);
        return;
    }
    uint16_t *rounded = (uint16_t *)compute->queue->rooms[LKS_ROOM_INPUTS];
    int64_t rows = (int64_t)(LKS_ROOM_BYTES / sizeof *rounded) / width;
    for (int i = 0; i < args->n; i += (int)rows) {
        int n = args->n - i < rows ? args->n - i : (int)rows;
        const float *x = args->x + i * args->x_stride;
        if (in_fours)
            run_round<4>(compute, rounded, width, x, args->x_stride, n, d_in);
        else
            run_round<1>(compute, rounded, width, x, args->x_stride, n, d_in);
        multiply(compute, layer, args, i, n, rounded, width, w, width, CUDA_R_16BF);
    }
}

void lks_cuda_linear_of_rounded(const lks_compute *compute, const lks_linear *layer, const lks_linear_args *args,
                                const uint16_t *x)
{
    int width = lks_padded(layer->d_in, LKS_BF16_GROUP);
    multiply(compute, layer, args, 0, args->n, x, width, lks_on_device(compute, layer->bf16.panels), width,
             CUDA_R_16BF);
}
