/* Resize, centre crop, rescale, normalise: pixels as transformers' image processors compute them, [height, width, 3].
 *
 * A resized pixel is one of 256 values per channel, so rescaling and normalising are a table:
 *   value = (f32(u8 * rescale_factor in f64) - mean) / std in f32. */
#include "vision/preprocess.h"

#include <limits.h>
#include <math.h>
#include <string.h>

#include "vision/resize.h"
#include "vision/taps.h"

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
        return lks_error_set(err, LKS_ERR_ARGUMENT, "image: it has no pixels");
    if (!resized_size(width, height, p, image_width, image_height))
        return lks_error_set(err, LKS_ERR_IMAGE, "image: %d x %d is too elongated to resize: crop it first",
                             image_width, image_height);
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

/* Where the crop's `n_crop` pixels meet an axis of `n` pixels: `skip` pixels of the image are cut off, `pad` pixels of the
 * crop stay empty before it, `shared` are copied. */
typedef struct overlap {
    int skip, pad, shared;
} overlap;

static overlap center(int n, int n_crop)
{
    if (n >= n_crop)
        return (overlap){.skip = (n - n_crop) / 2, .pad = 0, .shared = n_crop};
    return (overlap){.skip = 0, .pad = (n_crop - n + 1) / 2, .shared = n};
}

lks_view lks_preprocess_view(const lks_preprocess *preprocess, int width, int height)
{
    int resized_width, resized_height, tensor_width, tensor_height;
    if (!resized_size(&resized_width, &resized_height, preprocess, width, height))
        return (lks_view){.width = width, .height = height};
    cropped_size(&tensor_width, &tensor_height, preprocess, resized_width, resized_height);
    const overlap across = center(resized_width, tensor_width), down = center(resized_height, tensor_height);
    const double x_scale = (double)width / resized_width, y_scale = (double)height / resized_height;
    return (lks_view){.x = (across.skip - across.pad) * x_scale,
                      .y = (down.skip - down.pad) * y_scale,
                      .width = tensor_width * x_scale,
                      .height = tensor_height * y_scale};
}

/* How an image becomes a tensor. */
typedef struct layout {
    int resized_width, resized_height, width, height; /* of the resized image, of the tensor */
    overlap across, down;
    lks_window window; /* of the resized image: what the tensor shows */
} layout;

static lks_status find_layout(layout *l, const lks_preprocess *p, const lks_image *image, lks_error *err)
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
    layout layout;
    float table[3][256];
} fill;

static void fill_table(float table[3][256], const lks_preprocess *p)
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
    const overlap across = f->layout.across, down = f->layout.down;
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
    const layout *l = &f.layout;
    lks_status st = find_layout(&f.layout, preprocess, image, err);
    if (st != LKS_OK)
        return st;
    fill_table(f.table, preprocess);

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

/* ---- on a device ---- */

/* The most bytes that an image may have, with all that goes up beside it, and those between the passes. One that is a few times as
 * large as its tensor of floats goes up nearly as fast, and spares the threads, which have files to decode, the resizing; one that is
 * much larger would be on its way for longer than a thread needs to make it small. */
static size_t most_bytes(int width, int height)
{
    return 4 * (size_t)width * (size_t)height * 3 * sizeof(float);
}

size_t lks_resampling_scratch(int width, int height)
{
    return 2 * lks_arena_cost(most_bytes(width, height), 1);
}

static size_t taps_cost(const lks_taps *taps)
{
    return lks_arena_cost((size_t)taps->n, sizeof *taps->tap) +
           lks_arena_cost((size_t)taps->n * (size_t)taps->n_most, sizeof *taps->weights);
}

/* The taps in the block, for inputs that begin at `origin`. */
static lks_taps put_taps(lks_arena *block, const lks_taps *taps, int origin)
{
    const size_t n = (size_t)taps->n, n_weights = n * (size_t)taps->n_most;
    lks_tap *tap = lks_arena_take(block, n, sizeof *tap);
    int32_t *weights = lks_arena_take(block, n_weights, sizeof *weights);
    for (size_t i = 0; i < n; i++)
        tap[i] = (lks_tap){taps->tap[i].first - origin, taps->tap[i].n};
    memcpy(weights, taps->weights, n_weights * sizeof *weights);
    return (lks_taps){.n = taps->n, .n_most = taps->n_most, .tap = tap, .weights = weights};
}

/* The block, with the rows of the image that count. */
static lks_status fill_block(lks_resampling *out, const lks_preprocess *preprocess, const lks_image *image,
                             const layout *l, const lks_resize_plan *plan, lks_error *err)
{
    int first, n_rows;
    lks_taps_reach(&plan->down, &first, &n_rows);
    const size_t row = (size_t)image->width * 3, n_bytes = row * (size_t)n_rows;
    const size_t n_between =
        plan->down_first ? row * (size_t)plan->down.n : 3 * (size_t)plan->across.n * (size_t)n_rows;
    const size_t size = lks_arena_cost(3 * 256, sizeof(float)) + taps_cost(&plan->across) + taps_cost(&plan->down) +
                        lks_arena_cost(n_bytes, 1);
    const size_t most = most_bytes(l->width, l->height);
    if (size > most || n_between > most || most > INT32_MAX)
        return LKS_OK;
    lks_resampling r = {.n_between = n_between};
    lks_status st = lks_arena_init(&r.block, size, err);
    if (st != LKS_OK)
        return st;
    float(*table)[256] = lks_arena_take(&r.block, 3, sizeof *table);
    fill_table(table, preprocess);
    r.args = (lks_resample){.n_rows = n_rows,
                            .width = image->width,
                            .across = put_taps(&r.block, &plan->across, 0),
                            .down = put_taps(&r.block, &plan->down, first),
                            .down_first = plan->down_first,
                            .table = table[0],
                            .out_height = l->height,
                            .out_width = l->width,
                            .top = l->down.pad,
                            .left = l->across.pad};
    uint8_t *from = lks_arena_take(&r.block, n_bytes, 1);
    memcpy(from, image->rgb + row * (size_t)first, n_bytes);
    r.args.from = from;
    *out = r;
    return LKS_OK;
}

lks_status lks_resampling_plan(lks_resampling *out, const lks_preprocess *preprocess, const lks_image *image,
                               lks_error *err)
{
    layout l;
    lks_resize_plan plan;
    lks_status st = find_layout(&l, preprocess, image, err);
    if (st == LKS_OK)
        st =
            lks_resize_plan_init(&plan, image, l.resized_width, l.resized_height, &l.window, preprocess->resample, err);
    if (st != LKS_OK)
        return st;
    *out = (lks_resampling){.n_between = 0};
    st = fill_block(out, preprocess, image, &l, &plan, err);
    lks_resize_plan_release(&plan);
    return st;
}

/* Where a part of the block lies in a copy of it. */
static const void *moved(const void *part, const lks_arena *block, const unsigned char *copy)
{
    return copy + ((const unsigned char *)part - block->base);
}

static lks_taps moved_taps(const lks_taps *taps, const lks_arena *block, const unsigned char *copy)
{
    lks_taps t = *taps;
    t.tap = moved(taps->tap, block, copy);
    t.weights = moved(taps->weights, block, copy);
    return t;
}

void lks_resampling_queue(const lks_resampling *resampling, float *pixels, const lks_compute *compute)
{
    const lks_arena *block = &resampling->block;
    lks_resample args = resampling->args;
    size_t mark = lks_arena_mark(compute->scratch);
    unsigned char *copy = lks_arena_take(compute->scratch, block->used, 1);
    args.between = lks_arena_take(compute->scratch, resampling->n_between, 1);
    compute->ops->upload(compute, copy, block->base, block->used);
    args.from = moved(args.from, block, copy);
    args.table = moved(args.table, block, copy);
    args.across = moved_taps(&args.across, block, copy);
    args.down = moved_taps(&args.down, block, copy);
    args.pixels = pixels;
    compute->ops->resample(compute, &args);
    lks_arena_reset(compute->scratch, mark);
}

void lks_resampling_release(lks_resampling *resampling)
{
    lks_arena_release(&resampling->block);
}
