/* Resizing as vision/resize.c has it, bit for bit, as sums are of integers; one thread to a byte of the first pass and to a float of
 * the second, which looks its byte up and places it. */
#include "fusion/cuda/kernels.cuh"

constexpr int THREADS = 256, BLOCKS = 512; /* of an image: it may have any size */

/* Channel c of pixel (x, y) of an image that a pass makes of `from`, whose rows are `width` pixels. */
template <bool DOWN>
__device__ __forceinline__ int weigh(const uint8_t *__restrict__ from, int width, const lks_taps &taps, int y, int x,
                                     int c)
{
    int i = DOWN ? y : x, stride = DOWN ? 3 * width : 3;
    lks_tap tap = taps.tap[i];
    const int32_t *__restrict__ weights = taps.weights + (int64_t)i * taps.n_most;
    from += ((int64_t)(DOWN ? tap.first : y) * width + (DOWN ? x : tap.first)) * 3 + c;
    int sum = 1 << (LKS_WEIGHT_BITS - 1);
    for (int k = 0; k < tap.n; k++)
        sum += from[(int64_t)k * stride] * weights[k];
    sum >>= LKS_WEIGHT_BITS;
    return sum < 0 ? 0 : sum > 255 ? 255 : sum;
}

/* A row of blocks to an image. */
static __global__ void resample_bytes(const lks_resample *images)
{
    lks_begin();
    const lks_resample r = images[blockIdx.y];
    const int to_width = r.down_first ? r.width : r.across.n,
              n_bytes = 3 * to_width * (r.down_first ? r.down.n : r.n_rows);
    if (!r.pixels)
        return;
    for (int at = (int)(blockIdx.x * THREADS + threadIdx.x); at < n_bytes; at += (int)(gridDim.x * THREADS)) {
        int pixel = at / 3, y = pixel / to_width, x = pixel % to_width, c = at % 3;
        r.between[at] = (uint8_t)(r.down_first ? weigh<true>(r.from, r.width, r.down, y, x, c)
                                               : weigh<false>(r.from, r.width, r.across, y, x, c));
    }
}

static __global__ void resample_pixels(const lks_resample *images)
{
    lks_begin();
    const lks_resample r = images[blockIdx.y];
    const int width = r.down_first ? r.width : r.across.n, n_floats = 3 * r.out_width * r.out_height;
    if (!r.pixels)
        return;
    for (int at = (int)(blockIdx.x * THREADS + threadIdx.x); at < n_floats; at += (int)(gridDim.x * THREADS)) {
        int pixel = at / 3, c = at % 3, y = pixel / r.out_width - r.top, x = pixel % r.out_width - r.left, byte = 0;
        if (y >= 0 && y < r.down.n && x >= 0 && x < r.across.n)
            byte = r.down_first ? weigh<false>(r.between, width, r.across, y, x, c)
                                : weigh<true>(r.between, width, r.down, y, x, c);
        r.pixels[at] = r.table[c * 256 + byte];
    }
}

void lks_cuda_resample(const lks_compute *compute, const lks_resample *args, int n)
{
    const dim3 grid(BLOCKS, (unsigned)n);
    lks_launch(compute, "resizing", resample_bytes, grid, dim3(THREADS), 0, args);
    lks_launch(compute, "resizing", resample_pixels, grid, dim3(THREADS), 0, args);
}
