/* What the linear layers share: how many rows are few, and the end of a layer. Private to fusion/cuda. */
#ifndef LKS_CUDA_LINEAR_CUH
#define LKS_CUDA_LINEAR_CUH

#include "fusion/cuda/kernels.cuh"

constexpr int LKS_FEW_ROWS = 8;          /* up to so many, as a decoder has, kernels of our own read the weights once */
constexpr int LKS_ELEMENT_THREADS = 256; /* of kernels that work element by element */

static inline int lks_padded(int n, int unit)
{
    return (n + unit - 1) / unit * unit;
}

/* The end of a layer for the rows from `first` on. */
static inline lks_finish lks_finish_of(const lks_compute *compute, const lks_linear *layer, const lks_linear_args *args,
                                       int first)
{
    lks_finish f;
    f.bias = lks_on_device(compute, layer->bias);
    f.residual = args->residual ? lks_on_device(compute, args->residual) + first * args->residual_stride : NULL;
    f.residual_stride = args->residual_stride;
    f.y = args->y + first * args->y_stride;
    f.y_stride = args->y_stride;
    f.activation = args->activation;
    return f;
}

/* Rows that may be read or written four floats at a time. */
static inline bool lks_in_fours(const float *rows, int64_t stride)
{
    return lks_is_aligned(rows, 4 * sizeof *rows) && stride % 4 == 0;
}

static inline bool lks_finishes_in_fours(const lks_finish &f, int d_out)
{
    return d_out % 4 == 0 && lks_in_fours(f.y, f.y_stride) && lks_in_fours(f.bias, 0) &&
           (!f.residual || lks_in_fours(f.residual, f.residual_stride));
}

/* Outputs o .. o + WIDTH - 1 of row i. */
template <int WIDTH>
__device__ __forceinline__ void lks_finish_some(const lks_finish &f, lks_vector<float, WIDTH> y, int64_t i, int o)
{
    typedef lks_vector<float, WIDTH> vector;
    if (f.bias) {
        vector bias = *(const vector *)(f.bias + o);
#pragma unroll
        for (int k = 0; k < WIDTH; k++)
            y.at[k] += bias.at[k];
    }
#pragma unroll
    for (int k = 0; k < WIDTH; k++)
        y.at[k] = lks_activated(y.at[k], f.activation);
    if (f.residual) {
        vector residual = *(const vector *)(f.residual + i * f.residual_stride + o);
#pragma unroll
        for (int k = 0; k < WIDTH; k++)
            y.at[k] += residual.at[k];
    }
    *(vector *)(f.y + i * f.y_stride + o) = y;
}

#endif
