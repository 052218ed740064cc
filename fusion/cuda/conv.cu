/* Convolutions, NHWC with zero padding, one thread to an output, and the cutting of an image into patches. */
#include "fusion/cuda/kernels.cuh"

constexpr int THREADS = 256;

template <bool DEPTHWISE> static __global__ void convolve(lks_conv2d c)
{
    lks_begin();
    int64_t n_outputs = (int64_t)c.n * c.out_height * c.out_width * c.c_out;
    for (int64_t at = (int64_t)blockIdx.x * THREADS + threadIdx.x; at < n_outputs; at += (int64_t)gridDim.x * THREADS) {
        int o = (int)(at % c.c_out);
        int64_t pixel = at / c.c_out;
        int left = (int)(pixel % c.out_width) * c.stride - c.pad_left;
        int top = (int)(pixel / c.out_width % c.out_height) * c.stride - c.pad_top;
        const float *image = c.x + pixel / c.out_width / c.out_height * c.height * c.width * c.c_in;
        float sum = c.bias ? c.bias[o] : 0.0f;
        for (int i = 0; i < c.kernel; i++) {
            for (int j = 0; j < c.kernel; j++) {
                int h = top + i, w = left + j;
                if (h < 0 || h >= c.height || w < 0 || w >= c.width)
                    continue;
                const float *x = image + ((int64_t)h * c.width + w) * c.c_in;
                if (DEPTHWISE) {
                    sum += x[o] * c.weight[(int64_t)(i * c.kernel + j) * c.c_in + o];
                } else {
                    const float *weight = c.weight + ((int64_t)(o * c.kernel + i) * c.kernel + j) * c.c_in;
                    for (int k = 0; k < c.c_in; k++)
                        sum += x[k] * weight[k];
                }
            }
        }
        c.y[at] = lks_activated(sum, c.activation);
    }
}

template <bool DEPTHWISE> static void run(const lks_compute *compute, const lks_conv2d *conv)
{
    lks_conv2d c = *conv;
    c.weight = lks_on_device(compute, c.weight);
    c.bias = lks_on_device(compute, c.bias);
    lks_launch(compute, "convolution", convolve<DEPTHWISE>,
               lks_blocks((int64_t)c.n * c.out_height * c.out_width * c.c_out, THREADS), dim3(THREADS), 0, c);
}

void lks_cuda_conv2d(const lks_compute *compute, const lks_conv2d *conv)
{
    run<false>(compute, conv);
}

void lks_cuda_depthwise_conv2d(const lks_compute *compute, const lks_conv2d *conv)
{
    run<true>(compute, conv);
}

static __global__ void cut_patches(float *x, const float *image, int width, int n_x, int64_t n_numbers,
                                   int patch_height, int patch_width)
{
    lks_begin();
    int run = 3 * patch_width;
    for (int64_t at = (int64_t)blockIdx.x * THREADS + threadIdx.x; at < n_numbers; at += (int64_t)gridDim.x * THREADS) {
        int64_t row = at / run, patch = row / patch_height;
        int64_t y = patch / n_x * patch_height + row % patch_height;
        x[at] = image[y * 3 * width + patch % n_x * run + at % run];
    }
}

void lks_cuda_patches(const lks_compute *compute, float *x, const float *image, int height, int width, int patch_height,
                      int patch_width)
{
    int n_y = height / patch_height, n_x = width / patch_width;
    int64_t n_numbers = (int64_t)n_y * n_x * patch_height * patch_width * 3;
    lks_launch(compute, "patches", cut_patches, lks_blocks(n_numbers, THREADS), dim3(THREADS), 0, x, image, width, n_x,
               n_numbers, patch_height, patch_width);
}
