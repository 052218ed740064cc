/* Resizing as vision/resize.c has it, bit for bit, as sums are of integers; one thread to a byte of the first pass and to a float of
 * the second, which looks its byte up and places it. */
#include "fusion/cuda/kernels.cuh"

constexpr int THREADS = 256;

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

template <bool DOWN>
static __global__ void resample_bytes(uint8_t *to, int to_width, int n_bytes, const uint8_t *from, int width,
                                      lks_taps taps)
{
    for (int64_t at = (int64_t)blockIdx.x * THREADS + threadIdx.x; at < n_bytes; at += (int64_t)gridDim.x * THREADS) {
        unsigned pixel = (unsigned)at / 3;
        to[at] = (uint8_t)weigh<DOWN>(from, width, taps, (int)(pixel / (unsigned)to_width),
                                      (int)(pixel % (unsigned)to_width), (int)((unsigned)at % 3));
    }
}

/* `from` is what is between, rows of `width` pixels. */
template <bool DOWN>
static __global__ void resample_pixels(lks_resample r, const uint8_t *from, int width, int n_floats)
{
    for (int64_t at = (int64_t)blockIdx.x * THREADS + threadIdx.x; at < n_floats; at += (int64_t)gridDim.x * THREADS) {
        unsigned pixel = (unsigned)at / 3, c = (unsigned)at % 3;
        int y = (int)(pixel / (unsigned)r.out_width) - r.top, x = (int)(pixel % (unsigned)r.out_width) - r.left;
        bool inside = y >= 0 && y < r.down.n && x >= 0 && x < r.across.n;
        int byte = inside ? weigh<DOWN>(from, width, DOWN ? r.down : r.across, y, x, (int)c) : 0;
        r.pixels[at] = r.table[c * 256 + (unsigned)byte];
    }
}

template <bool DOWN_FIRST> static void run(const lks_compute *compute, const lks_resample *r)
{
    int width = DOWN_FIRST ? r->width : r->across.n, n_rows = DOWN_FIRST ? r->down.n : r->n_rows;
    int n_bytes = 3 * width * n_rows, n_floats = 3 * r->out_width * r->out_height;
    lks_launch(compute, "resizing", resample_bytes<DOWN_FIRST>, lks_blocks(n_bytes, THREADS), dim3(THREADS), 0,
               r->between, width, n_bytes, r->from, r->width, DOWN_FIRST ? r->down : r->across);
    lks_launch(compute, "resizing", resample_pixels<!DOWN_FIRST>, lks_blocks(n_floats, THREADS), dim3(THREADS), 0, *r,
               r->between, width, n_floats);
}

void lks_cuda_resample(const lks_compute *compute, const lks_resample *args)
{
    if (args->down_first)
        run<true>(compute, args);
    else
        run<false>(compute, args);
}
