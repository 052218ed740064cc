/* Reference convolutions, NHWC with zero padding, and the cutting of an image into patches. */
#include <string.h>

#include "fusion/cpu/kernels.h"

static const float *input_pixel(const lks_conv2d *conv, int n, int h, int w)
{
    if (h < 0 || h >= conv->height || w < 0 || w >= conv->width)
        return NULL;
    return conv->x +
           (((size_t)n * (size_t)conv->height + (size_t)h) * (size_t)conv->width + (size_t)w) * (size_t)conv->c_in;
}

static double dense_sum(const lks_conv2d *conv, int n, int top, int left, int o)
{
    const float *weight = conv->weight + (size_t)o * (size_t)(conv->kernel * conv->kernel) * (size_t)conv->c_in;
    double sum = 0.0;
    for (int i = 0; i < conv->kernel; i++) {
        for (int j = 0; j < conv->kernel; j++, weight += conv->c_in) {
            const float *x = input_pixel(conv, n, top + i, left + j);
            for (int c = 0; x && c < conv->c_in; c++)
                sum += (double)x[c] * weight[c];
        }
    }
    return sum;
}

static double depthwise_sum(const lks_conv2d *conv, int n, int top, int left, int o)
{
    const float *weight = conv->weight + o;
    double sum = 0.0;
    for (int i = 0; i < conv->kernel; i++) {
        for (int j = 0; j < conv->kernel; j++, weight += conv->c_in) {
            const float *x = input_pixel(conv, n, top + i, left + j);
            if (x)
                sum += (double)x[o] * *weight;
        }
    }
    return sum;
}

/* A job computes the output rows of its share; rows are counted through all images. */
static void conv_rows(const lks_conv2d *conv, double (*sum)(const lks_conv2d *, int, int, int, int), int thread,
                      int n_threads)
{
    long begin, end;
    lks_threads_share((long)conv->n * conv->out_height, 1, thread, n_threads, &begin, &end);
    for (long row = begin; row < end; row++) {
        int n = (int)(row / conv->out_height), top = (int)(row % conv->out_height) * conv->stride - conv->pad_top;
        for (int w = 0; w < conv->out_width; w++) {
            float *y = conv->y + ((size_t)row * (size_t)conv->out_width + (size_t)w) * (size_t)conv->c_out;
            for (int o = 0; o < conv->c_out; o++) {
                double total = sum(conv, n, top, w * conv->stride - conv->pad_left, o);
                y[o] = lks_ref_activation((float)(total + (conv->bias ? conv->bias[o] : 0.0f)), conv->activation);
            }
        }
    }
}

static void dense_part(void *conv, int thread, int n_threads)
{
    conv_rows(conv, dense_sum, thread, n_threads);
}

static void depthwise_part(void *conv, int thread, int n_threads)
{
    conv_rows(conv, depthwise_sum, thread, n_threads);
}

static double conv_work(const lks_conv2d *conv)
{
    return (double)conv->n * conv->out_height * conv->out_width * conv->c_out * conv->kernel * conv->kernel;
}

void lks_ref_conv2d(const lks_compute *compute, const lks_conv2d *conv)
{
    lks_conv2d job = *conv;
    lks_parallel(compute, conv_work(conv) * conv->c_in, dense_part, &job);
}

void lks_ref_depthwise_conv2d(const lks_compute *compute, const lks_conv2d *conv)
{
    lks_conv2d job = *conv;
    lks_parallel(compute, conv_work(conv), depthwise_part, &job);
}

typedef struct patches_job {
    float *x;
    const float *image;
    int height, width, patch_height, patch_width;
} patches_job;

/* A patch row is one run of 3 * patch_width floats of an image row. */
static void patches_part(void *argument, int thread, int n_threads)
{
    const patches_job *job = argument;
    int n_y = job->height / job->patch_height, n_x = job->width / job->patch_width;
    size_t run = 3 * (size_t)job->patch_width, rows = (size_t)job->patch_height;
    long begin, end;
    lks_threads_share((long)n_y * n_x, 1, thread, n_threads, &begin, &end);
    for (long p = begin; p < end; p++) {
        size_t top = (size_t)(p / n_x) * rows, left = (size_t)(p % n_x) * run;
        for (size_t i = 0; i < rows; i++)
            memcpy(job->x + ((size_t)p * rows + i) * run, job->image + (top + i) * 3 * (size_t)job->width + left,
                   run * sizeof *job->x);
    }
}

void lks_ref_patches(const lks_compute *compute, float *x, const float *image, int height, int width, int patch_height,
                     int patch_width)
{
    patches_job job = {.x = x,
                       .image = image,
                       .height = height,
                       .width = width,
                       .patch_height = patch_height,
                       .patch_width = patch_width};
    lks_parallel(compute, 3.0 * height * width, patches_part, &job);
}
