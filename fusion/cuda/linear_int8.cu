/* int8 layers. Rows are quantised as the CPU does it, and sums of integers are equal to its, bit for bit: fusion/int8.h. Few rows are
 * quantised by every block that multiplies them, more by a kernel before cuBLASLt multiplies.
 *
 * Inputs are kept as u = U - 128, -128..127, so that  sum (U - z) W = sum u W - (z - 128) sum W. */
#include "fusion/cuda/linear.cuh"

constexpr int WARPS = 8, THREADS = WARPS * LKS_WARP;

/* How a row is quantised; zero is z - 128. */
struct row_scale {
    float scale;
    int32_t zero;
};

/* x[k .. k + 3], zeros from d_in on. */
template <bool FOURS> __device__ __forceinline__ lks_vector<float, 4> four_at(const float *x, int k, int d_in)
{
    if (FOURS)
        return *(const lks_vector<float, 4> *)(x + k);
    lks_vector<float, 4> four = {};
    for (int c = 0; c < 4; c++)
        if (k + c < d_in)
            four.at[c] = x[k + c];
    return four;
}

/* A warp quantises a row to `words` of four, padded with zeros. FOURS: its floats can be read so. */
template <bool FOURS>
__device__ __forceinline__ row_scale quantise(int *words, int n_words, const float *x, int d_in, int lane)
{
    float low = 0.0f, high = 0.0f, odd = 0.0f;
#pragma unroll 4
    for (int at = lane; at < n_words; at += LKS_WARP) {
        const lks_vector<float, 4> four = four_at<FOURS>(x, 4 * at, d_in);
        for (int c = 0; c < 4; c++) {
            low = four.at[c] < low ? four.at[c] : low;
            high = four.at[c] > high ? four.at[c] : high;
            odd = fabsf(four.at[c]) <= LKS_LARGEST ? odd : 1.0f;
        }
    }
    low = -lks_warp_max(-low);
    high = lks_warp_max(high);
    odd = lks_warp_max(odd);
    float range = high - low, inverse = 0.0f;
    row_scale row = {0.0f, 0};
    if (odd > 0.0f || !(range <= LKS_LARGEST)) {
        row.scale = CUDART_NAN_F;
    } else if (range >= LKS_SMALLEST_RANGE) {
        inverse = 255.0f / range;
        row.scale = range / 255.0f;
        row.zero = __float2int_rn(-low * inverse);
    }
#pragma unroll 4
    for (int at = lane; at < n_words; at += LKS_WARP) {
        const lks_vector<float, 4> four = four_at<FOURS>(x, 4 * at, d_in);
        unsigned word = 0;
        for (int c = 0; c < 4; c++) {
            int32_t value = inverse != 0.0f ? __float2int_rn(four.at[c] * inverse) + row.zero : row.zero;
            value = value < 0 ? 0 : value > 255 ? 255 : value;
            word |= 4 * at + c < d_in ? (unsigned)(uint8_t)(value - 128) << 8 * c : 0u;
        }
        words[at] = (int)word;
    }
    row.zero -= 128;
    return row;
}

/* The weights of a layer. */
struct int8_weights {
    const int8_t *w; /* [d_out, width], rows up to a multiple of LKS_INT8_COLUMNS */
    const float *scales;
    const int32_t *sums;
    int width; /* a multiple of 4 */
};

/* Integers wrap around on the way, their end does not: see fusion/int8.h. */
__device__ __forceinline__ float scaled_sum(row_scale row, float w_scale, int32_t w_sum, unsigned sum)
{
    int32_t whole = (int32_t)(sum - (unsigned)row.zero * (unsigned)w_sum);
    return row.scale * w_scale * (float)whole;
}

/* ---- few rows ---- */

constexpr int OUTPUTS = 2, MOST_BLOCKS = 528; /* of a warp at a time, whose weights are on their way together */
constexpr size_t MOST_ROWS_BYTES = 40 << 10;  /* of quantised rows in shared memory */

/* WORDS: of four weights, that are read at once. */
template <int ROWS, int WORDS, bool FOURS>
static __global__ void few_rows(lks_finish f, int8_weights in, const float *x, int64_t x_stride, int n, int d_in,
                                int d_out)
{
    lks_begin();
    typedef lks_vector<int, WORDS> vector;
    LKS_SHARED(int, shared); /* [n, width / 4], the rows' scales behind */
    const int warp = (int)threadIdx.x / LKS_WARP, lane = (int)threadIdx.x % LKS_WARP, n_words = in.width / 4;
    row_scale *rows = (row_scale *)(shared + n * n_words);
    if (warp < n) {
        row_scale row = quantise<FOURS>(shared + warp * n_words, n_words, x + warp * x_stride, d_in, lane);
        if (lane == 0)
            rows[warp] = row;
    }
    __syncthreads();
    const int n_vectors = n_words / WORDS;
    for (int first = ((int)blockIdx.x * WARPS + warp) * OUTPUTS; first < d_out;
         first += (int)gridDim.x * THREADS / LKS_WARP * OUTPUTS) {
        const vector *w =
            (const vector *)(in.w + (int64_t)first * in.width); /* weights have padding up to 64 outputs */
        int sums[OUTPUTS][ROWS] = {};
        for (int at = lane; at < n_vectors; at += LKS_WARP) {
            vector own[OUTPUTS];
#pragma unroll
            for (int k = 0; k < OUTPUTS; k++)
                own[k] = w[k * n_vectors + at];
#pragma unroll
            for (int i = 0; i < ROWS; i++)
                if (i < n) {
                    const vector u = ((const vector *)(shared + i * n_words))[at];
#pragma unroll
                    for (int k = 0; k < OUTPUTS; k++)
#pragma unroll
                        for (int c = 0; c < WORDS; c++)
                            sums[k][i] = __dp4a(own[k].at[c], u.at[c], sums[k][i]);
                }
        }
#pragma unroll
        for (int i = 0; i < ROWS; i++)
#pragma unroll
            for (int k = 0; k < OUTPUTS; k++) {
                unsigned sum = (unsigned)sums[k][i];
                for (int step = LKS_WARP / 2; step > 0; step /= 2)
                    sum += __shfl_xor_sync(LKS_WHOLE_WARP, sum, step);
                const int o = first + k;
                if (lane == 0 && i < n && o < d_out)
                    lks_finish_one(f, scaled_sum(rows[i], in.scales[o], in.sums[o], sum), i, o);
            }
    }
}

template <int WORDS, bool FOURS>
static void run_few(const lks_compute *compute, const lks_finish &f, const int8_weights &in,
                    const lks_linear_args *args, int d_in, int d_out)
{
    const int n = args->n, n_blocks = (d_out + WARPS * OUTPUTS - 1) / (WARPS * OUTPUTS);
    auto kernel = n == 1   ? few_rows<1, WORDS, FOURS>
                  : n <= 4 ? few_rows<4, WORDS, FOURS>
                           : few_rows<LKS_FEW_ROWS, WORDS, FOURS>;
    lks_launch(compute, "int8 layer of few rows", kernel,
               dim3((unsigned)(n_blocks < MOST_BLOCKS ? n_blocks : MOST_BLOCKS)), dim3(THREADS),
               (size_t)n * ((size_t)in.width + sizeof(row_scale)), f, in, args->x, args->x_stride, n, d_in, d_out);
}

/* ---- more rows ---- */

/* A warp to a row. */
template <bool FOURS>
static __global__ void quantise_rows(int *u, row_scale *rows, int n_words, const float *x, int64_t x_stride, int n,
                                     int d_in)
{
    lks_begin();
    const int i = (int)(blockIdx.x * WARPS + threadIdx.x / LKS_WARP), lane = (int)threadIdx.x % LKS_WARP;
    if (i >= n)
        return;
    row_scale row = quantise<FOURS>(u + (int64_t)i * n_words, n_words, x + i * x_stride, d_in, lane);
    if (lane == 0)
        rows[i] = row;
}

/* sums [n, stride], of which d_out are meant. */
template <int WIDTH>
static __global__ void finish_sums(lks_finish f, int8_weights in, const row_scale *rows, const int32_t *sums,
                                   int stride, int n, int d_out)
{
    lks_begin();
    int columns = d_out / WIDTH;
    for (int at = (int)(blockIdx.x * LKS_ELEMENT_THREADS + threadIdx.x); at < n * columns;
         at += (int)(gridDim.x * LKS_ELEMENT_THREADS)) {
        const int i = at / columns, o = at % columns * WIDTH;
        const row_scale row = rows[i];
        const lks_vector<int32_t, WIDTH> sum = *(const lks_vector<int32_t, WIDTH> *)(sums + (int64_t)i * stride + o);
        const lks_vector<float, WIDTH> scale = *(const lks_vector<float, WIDTH> *)(in.scales + o);
        const lks_vector<int32_t, WIDTH> w_sum = *(const lks_vector<int32_t, WIDTH> *)(in.sums + o);
        lks_vector<float, WIDTH> y;
#pragma unroll
        for (int c = 0; c < WIDTH; c++)
            y.at[c] = scaled_sum(row, scale.at[c], w_sum.at[c], (unsigned)sum.at[c]);
        lks_finish_some<WIDTH>(f, y, i, o);
    }
}

static void run_many(const lks_compute *compute, const lks_linear *layer, const lks_linear_args *args,
                     const int8_weights &in, bool in_fours)
{
    const int d_in = layer->d_in, d_out = layer->d_out, width = in.width, m = lks_padded(d_out, LKS_INT8_COLUMNS);
    int64_t rows = (int64_t)(LKS_ROOM_BYTES / 2) / (width > (int)sizeof(row_scale) ? width : (int)sizeof(row_scale));
    int64_t rows_of_sums = (int64_t)(LKS_ROOM_BYTES / sizeof(int32_t)) / m;
    rows = rows < rows_of_sums ? rows : rows_of_sums;
    int *u = (int *)compute->queue->rooms[LKS_ROOM_INPUTS];
    row_scale *scales = (row_scale *)(compute->queue->rooms[LKS_ROOM_INPUTS] + LKS_ROOM_BYTES / 2);
    lks_product p = {};
    p.m = m; /* as the weights are */
    p.k = width;
    p.x = u;
    p.w = in.w;
    p.x_stride = p.w_stride = width;
    p.y = compute->queue->rooms[LKS_ROOM_SUMS];
    p.y_stride = m;
    p.type = CUDA_R_8I;
    p.y_type = CUDA_R_32I;
    for (int i = 0; i < args->n; i += (int)rows) {
        const lks_finish f = lks_finish_of(compute, layer, args, i);
        p.n = args->n - i < rows ? args->n - i : (int)rows;
        lks_launch(compute, "rounding to int8", in_fours ? quantise_rows<true> : quantise_rows<false>,
                   dim3((unsigned)((p.n + WARPS - 1) / WARPS)), dim3(THREADS), 0, u, scales, width / 4,
                   args->x + i * args->x_stride, args->x_stride, p.n, d_in);
        lks_cuda_sums(compute, &p);
        bool out_fours =
            lks_finishes_in_fours(f, d_out) && lks_in_fours(in.scales, 0) && lks_is_aligned(in.sums, 4 * sizeof(int));
        lks_launch(compute, "end of an int8 layer", out_fours ? finish_sums<4> : finish_sums<1>,
                   lks_blocks((int64_t)p.n * d_out / (out_fours ? 4 : 1), LKS_ELEMENT_THREADS),
                   dim3(LKS_ELEMENT_THREADS), 0, f, in, scales, (const int32_t *)p.y, m, p.n, d_out);
    }
}

void lks_cuda_linear_int8(const lks_compute *compute, const lks_linear *layer, const lks_linear_args *args)
{
    const int d_in = layer->d_in, width = lks_padded(d_in, LKS_INT8_GROUP);
    const int8_weights in = {lks_on_device(compute, layer->int8.panels), lks_on_device(compute, layer->int8.scales),
                             lks_on_device(compute, layer->int8.sums), width};
    const bool in_fours = d_in % 4 == 0 && lks_in_fours(args->x, args->x_stride);
    if (args->n > LKS_FEW_ROWS || (size_t)args->n * (size_t)width > MOST_ROWS_BYTES) {
        run_many(compute, layer, args, in, in_fours);
        return;
    }
    const lks_finish f = lks_finish_of(compute, layer, args, 0);
    if (in_fours && width % 16 == 0 && lks_is_aligned(in.w, 16))
        run_few<4, true>(compute, f, in, args, d_in, layer->d_out);
    else
        run_few<1, false>(compute, f, in, args, d_in, layer->d_out);
}
