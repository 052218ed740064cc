/* int4 layers, a few rows at a time: see fusion/int4.h. A block does one panel of 64 outputs; PARTS threads share the groups of an
 * output, so that a panel is read in one go, 256 bytes side by side. */
#include "fusion/cuda/linear.cuh"

constexpr int ROWS = 8, PARTS = 4, GROUP = LKS_INT4_GROUP, COLUMNS = LKS_INT4_COLUMNS;

/* A warp rounds a group: groups [n, n_groups] of 32 numbers. */
static __global__ void round_groups(lks_int4_inputs *groups, int n_groups, const float *x, int64_t x_stride, int d_in)
{
    lks_begin();
    int g = (int)blockIdx.x, lane = (int)threadIdx.x, k = g * GROUP + lane;
    float value = k < d_in ? x[blockIdx.y * x_stride + k] : 0.0f;
    float odd = lks_warp_max(fabsf(value) <= LKS_LARGEST ? 0.0f : 1.0f);
    float largest = odd > 0.0f ? 0.0f : lks_warp_max(fabsf(value));
    float inverse = largest < LKS_SMALLEST_RANGE ? 0.0f : 127.0f / largest;
    int whole = odd > 0.0f ? 0 : __float2int_rn(value * inverse), sum = whole;
    for (int step = LKS_WARP / 2; step > 0; step /= 2)
        sum += __shfl_xor_sync(LKS_WHOLE_WARP, sum, step);
    lks_int4_inputs *out = &groups[(int64_t)blockIdx.y * n_groups + g];
    out->x[lane] = (int8_t)whole;
    if (lane == 0) {
        out->scale = odd > 0.0f ? CUDART_NAN_F : inverse == 0.0f ? 0.0f : largest / 127.0f;
        out->eight_sums = 8 * sum;
    }
}

static __global__ void multiply(lks_finish f, const lks_int4_inputs *groups, const uint8_t *panels,
                                const uint16_t *scales, int n, int n_groups, int d_out)
{
    lks_begin();
    LKS_SHARED(float, shared); /* [PARTS, ROWS, COLUMNS] */
    int column = (int)threadIdx.x % COLUMNS, part = (int)threadIdx.x / COLUMNS, o = (int)blockIdx.x * COLUMNS + column;
    int first = (int)blockIdx.y * ROWS, n_rows = n - first < ROWS ? n - first : ROWS;
    float sums[ROWS] = {};
    for (int g = part; g < n_groups; g += PARTS) {
        int64_t at = (int64_t)blockIdx.x * n_groups + g;
        const unsigned *words = (const unsigned *)(panels + at * LKS_INT4_GROUP_BYTES) + column;
        float scale = lks_bf16_widen(scales[at * COLUMNS + column]);
        unsigned w[4];
        for (int p = 0; p < 4; p++)
            w[p] = words[p * COLUMNS];
#pragma unroll
        for (int i = 0; i < ROWS; i++) {
            if (i >= n_rows)
                continue;
            const lks_int4_inputs *in = &groups[(int64_t)(first + i) * n_groups + g];
            const int *x = (const int *)in->x;
            int sum = -in->eight_sums;
            for (int p = 0; p < 4; p++) {
                sum = __dp4a((int)(w[p] & 0x0F0F0F0Fu), x[p], sum);
                sum = __dp4a((int)(w[p] >> 4 & 0x0F0F0F0Fu), x[4 + p], sum);
            }
            sums[i] += in->scale * scale * (float)sum;
        }
    }
    for (int i = 0; i < n_rows; i++)
        shared[(part * ROWS + i) * COLUMNS + column] = sums[i];
    __syncthreads();
    for (int i = part; i < n_rows; i += PARTS) {
        float sum = 0.0f;
        for (int p = 0; p < PARTS; p++)
            sum += shared[(p * ROWS + i) * COLUMNS + column];
        if (o < d_out)
            lks_finish_one(f, sum, first + i, o);
    }
}

void lks_cuda_linear_int4(const lks_compute *compute, const lks_linear *layer, const lks_linear_args *args)
{
    int n_groups = (layer->d_in + GROUP - 1) / GROUP, n_panels = (layer->d_out + COLUMNS - 1) / COLUMNS;
    lks_int4_inputs *groups = (lks_int4_inputs *)compute->queue->rooms[LKS_ROOM_INPUTS];
    int64_t rows = (int64_t)(LKS_ROOM_BYTES / sizeof *groups) / n_groups;
    for (int i = 0; i < args->n; i += (int)rows) {
        int n = args->n - i < rows ? args->n - i : (int)rows;
        const lks_finish f = lks_finish_of(compute, layer, args, i);
        lks_launch(compute, "rounding to int4's inputs", round_groups, dim3((unsigned)n_groups, (unsigned)n),
                   dim3(LKS_WARP), 0, groups, n_groups, args->x + i * args->x_stride, args->x_stride, layer->d_in);
        lks_launch(compute, "int4 layer", multiply, dim3((unsigned)n_panels, (unsigned)((n + ROWS - 1) / ROWS)),
                   dim3(COLUMNS * PARTS), PARTS * ROWS * COLUMNS * sizeof(float), f, groups,
                   lks_on_device(compute, layer->int4.panels), lks_on_device(compute, layer->int4.scales), n, n_groups,
                   layer->d_out);
    }
}
