/* Resize, centre crop, rescale, normalise: pixels as transformers' image processors compute them, [height, width, 3].
 *
 * A resized pixel is one of 256 values per channel, so rescaling and normalising are a table:
 *   value = (f32(u8 * rescale_factor in f64) - mean) / std in f32. */
#include "vision/preprocess.h"

#include <limits.h>
#include <math.h>
#include <string.h>

#include "vision/layout.h"

/* Size after resizing an image of image_width x image_height, by transformers' rules for the shorter side. */
static bool resized_size(int *width, int *height, const lks_preprocess *p, int image_width, int image_height)
{
    *width = p->resize_width;
    *height = p->resize_height;
    if (!p->do_resize) {
        *width = image_width;
        *height = image_height;
        return true;
    }
    if (p->shortest_edge == 0)
        return true;
    const bool wide = image_width > image_height;
    const int shorter = wide ? image_height : image_width, longer = wide ? image_width : image_height;
    int to_shorter = p->shortest_edge;
    double to_longer = floor((double)to_shorter * longer / shorter);
    if (p->longest_edge > 0 && (double)longer / shorter * to_shorter > p->longest_edge) {
        const double exact = (double)p->longest_edge * shorter / longer;
        to_shorter = (int)rint(exact);
        to_longer = to_shorter == shorter ? longer : floor(exact * longer / shorter);
    }
    if (to_shorter < 1 || to_longer > INT_MAX / 2)
        return false;
    *width = wide ? (int)to_longer : to_shorter;
    *height = wide ? to_shorter : (int)to_longer;
    return true;
}

bool lks_preprocess_is_fixed(const lks_preprocess *preprocess)
{
    return preprocess->do_center_crop || preprocess->shortest_edge == 0;
}

/* The size of the tensor that is cut out of an image resized to width x height. */
static void cropped_size(int *tensor_width, int *tensor_height, const lks_preprocess *p, int width, int height)
{
    *tensor_width = p->do_center_crop ? p->crop_width : width;
    *tensor_height = p->do_center_crop ? p->crop_height : height;
}

static lks_status check_resized_size(int *width, int *height, const lks_preprocess *p, int image_width,
                                     int image_height, lks_error *err)
{
    if (image_width < 1 || image_height < 1)
        return lks_error_set(err, LKS_ERR_ARGUMENT, "it has no pixels");
    if (!resized_size(width, height, p, image_width, image_height))
        return lks_error_set(err, LKS_ERR_IMAGE, "%d x %d is too elongated to resize: crop it first", image_width,
                             image_height);
    return LKS_OK;
}

lks_status lks_preprocess_size(const lks_preprocess *preprocess, int *width, int *height, int image_width,
                               int image_height, lks_error *err)
{
    int resized_width = 0, resized_height = 0;
    lks_status st = check_resized_size(&resized_width, &resized_height, preprocess, image_width, image_height, err);
    if (st == LKS_OK)
        cropped_size(width, height, preprocess, resized_width, resized_height);
    return st;
}

static lks_overlap center(int n, int n_crop)
{
    if (n >= n_crop)
        return (lks_overlap){.skip = (n - n_crop) / 2, .pad = 0, .shared = n_crop};
    return (lks_overlap){.skip = 0, .pad = (n_crop - n + 1) / 2, .shared = n};
}

lks_view lks_preprocess_view(const lks_preprocess *preprocess, int width, int height)
{
    int resized_width, resized_height, tensor_width, tensor_height;
    if (!resized_size(&resized_width, &resized_height, preprocess, width, height))
        return (lks_view){.width = width, .height = height};
    cropped_size(&tensor_width, &tensor_height, preprocess, resized_width, resized_height);
    const lks_overlap across = center(resized_width, tensor_width), down = center(resized_height, tensor_height);
    const double x_scale = (double)width / resized_width, y_scale = (double)height / resized_height;
    return (lks_view){.x = (across.skip - across.pad) * x_scale,
                      .y = (down.skip - down.pad) * y_scale,
                      .width = tensor_width * x_scale,
                      .height = tensor_height * y_scale};
}

lks_status lks_layout_find(lks_layout *l, const lks_preprocess *p, const lks_image *image, lks_error *err)
{
    lks_status st = check_resized_size(&l->resized_width, &l->resized_height, p, image->width, image->height, err);
    if (st != LKS_OK)
        return st;
    cropped_size(&l->width, &l->height, p, l->resized_width, l->resized_height);
    l->across = center(l->resized_width, l->width);
    l->down = center(l->resized_height, l->height);
    l->window = (lks_window){l->across.skip, l->down.skip, l->across.shared, l->down.shared};
    return LKS_OK;
}

typedef struct fill {
    const lks_image *image;
    float *pixels;
    lks_layout layout;
    float table[3][256];
} fill;

void lks_value_table(float table[3][256], const lks_preprocess *p)
{
    for (int c = 0; c < 3; c++) {
        for (int i = 0; i < 256; i++) {
            float value = p->do_rescale ? (float)(i * p->rescale_factor) : (float)i;
            table[c][i] = p->do_normalize ? (value - p->mean[c]) / p->std[c] : value;
        }
    }
}

static float *fill_empty(const fill *f, float *to, int n)
{
    for (int x = 0; x < n; x++)
        for (int c = 0; c < 3; c++)
            *to++ = f->table[c][0];
    return to;
}

static void fill_rows(void *argument, int thread, int n_threads)
{
    const fill *f = argument;
    const int width = f->layout.width;
    const lks_overlap across = f->layout.across, down = f->layout.down;
    long begin, end;
    lks_threads_share(f->layout.height, 1, thread, n_threads, &begin, &end);
    for (long y = begin; y < end; y++) {
        float *to = f->pixels + (size_t)y * (size_t)width * 3;
        long from_y = y - down.pad;
        if (from_y < 0 || from_y >= down.shared) {
            fill_empty(f, to, width);
            continue;
        }
        to = fill_empty(f, to, across.pad);
        const uint8_t *rgb = f->image->rgb + (size_t)from_y * (size_t)f->image->width * 3;
        for (int x = 0; x < across.shared; x++, to += 3, rgb += 3) {
            to[0] = f->table[0][rgb[0]];
            to[1] = f->table[1][rgb[1]];
            to[2] = f->table[2][rgb[2]];
        }
        fill_empty(f, to, width - across.pad - across.shared);
    }
}

lks_status lks_preprocess_run(const lks_preprocess *preprocess, float *pixels, const lks_image *image,
                              const lks_compute *compute, lks_error *err)
{
    fill f = {.pixels = pixels};
    const lks_layout *l = &f.layout;
    lks_status st = lks_layout_find(&f.layout, preprocess, image, err);
    if (st != LKS_OK)
        return st;
    lks_value_table(f.table, preprocess);

    lks_image part = {0};
    st = lks_image_resize_window(&part, image, l->resized_width, l->resized_height, &l->window, preprocess->resample,
                                 compute, err);
    if (st != LKS_OK)
        return st;
    f.image = &part;
    lks_threads_run(compute->threads, fill_rows, &f);
    lks_image_release(&part);
    return LKS_OK;
}
