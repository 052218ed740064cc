/* See staging.h. A tensor of floats has four times the bytes of the image that has its size, and more work in it: an image of up to
 * so many bytes goes up as it is, and spares the threads, which have files to decode, the resizing. */
#include "vision/staging.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "vision/layout.h"
#include "vision/taps.h"

#define LEAST_ROOM ((size_t)1 << 20) /* bytes for an image: small tensors are made of photos of usual sizes, too */

static size_t tensor_bytes(int width, int height)
{
    return lks_arena_cost((size_t)width * (size_t)height * 3, sizeof(float));
}

/* For an image, in either memory, and between its passes. */
static size_t room_of_image(int width, int height)
{
    size_t tensor = tensor_bytes(width, height);
    return tensor > LEAST_ROOM ? tensor : LEAST_ROOM;
}

static size_t room_of_all(int width, int height, int n_images)
{
    return lks_arena_cost((size_t)n_images, sizeof(lks_resample)) + (size_t)n_images * room_of_image(width, height);
}

size_t lks_staging_scratch(int width, int height, int n_images)
{
    return room_of_all(width, height, n_images) + (size_t)n_images * room_of_image(width, height);
}

lks_status lks_staging_open(lks_staging *staging, const lks_compute *compute, int width, int height, int n_images,
                            lks_error *err)
{
    lks_staging s = {.width = width, .height = height, .back = room_of_all(width, height, n_images)};
    s.tensors = calloc((size_t)n_images, sizeof *s.tensors);
    s.base = s.tensors ? compute->ops->stage(compute, s.back) : NULL;
    if (!s.base || pthread_mutex_init(&s.taking, NULL) != 0) {
        free(s.tensors);
        return lks_error_set(err, LKS_ERR_NOMEM, "out of memory for %d images of %d x %d pixels", n_images, width,
                             height);
    }
    s.args = (lks_resample *)(void *)s.base;
    s.front = lks_arena_cost((size_t)n_images, sizeof *s.args);
    *staging = s;
    return LKS_OK;
}

void lks_staging_close(lks_staging *staging)
{
    if (!staging->tensors)
        return;
    pthread_mutex_destroy(&staging->taking);
    free(staging->tensors);
    *staging = (lks_staging){.n = 0};
}

/* What an image brings along: its rows that count, taps and values of bytes. */
typedef struct parcel {
    lks_layout layout;
    lks_resize_plan plan;
    int first, n_rows; /* of the image */
    size_t size, n_between;
} parcel;

static size_t taps_cost(const lks_taps *taps)
{
    return lks_arena_cost((size_t)taps->n, sizeof *taps->tap) +
           lks_arena_cost((size_t)taps->n * (size_t)taps->n_most, sizeof *taps->weights);
}

static lks_status plan_parcel(parcel *p, const lks_preprocess *preprocess, const lks_image *image, lks_error *err)
{
    lks_status st = lks_layout_find(&p->layout, preprocess, image, err);
    if (st == LKS_OK)
        st = lks_resize_plan_init(&p->plan, image, p->layout.resized_width, p->layout.resized_height, &p->layout.window,
                                  preprocess->resample, err);
    if (st != LKS_OK)
        return st;
    lks_taps_reach(&p->plan.down, &p->first, &p->n_rows);
    const size_t row = (size_t)image->width * 3;
    p->size = lks_arena_cost(3 * 256, sizeof(float)) + taps_cost(&p->plan.across) + taps_cost(&p->plan.down) +
              lks_arena_cost(row * (size_t)p->n_rows, 1);
    p->n_between = p->plan.down_first ? row * (size_t)p->plan.down.n : 3 * (size_t)p->plan.across.n * (size_t)p->n_rows;
    return LKS_OK;
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

/* The parcel at `at`; all but `between` and `pixels` of what is said of it. */
static lks_resample put_parcel(unsigned char *at, const parcel *p, const lks_preprocess *preprocess,
                               const lks_image *image)
{
    lks_arena block = {.base = at, .size = p->size};
    const size_t row = (size_t)image->width * 3, n_bytes = row * (size_t)p->n_rows;
    float(*table)[256] = lks_arena_take(&block, 3, sizeof *table);
    lks_value_table(table, preprocess);
    lks_resample args = {.n_rows = p->n_rows,
                         .width = image->width,
                         .across = put_taps(&block, &p->plan.across, 0),
                         .down = put_taps(&block, &p->plan.down, p->first),
                         .down_first = p->plan.down_first,
                         .table = table[0],
                         .out_height = p->layout.height,
                         .out_width = p->layout.width,
                         .top = p->layout.down.pad,
                         .left = p->layout.across.pad};
    uint8_t *from = lks_arena_take(&block, n_bytes, 1);
    memcpy(from, image->rgb + row * (size_t)p->first, n_bytes);
    args.from = from;
    return args;
}

/* Takes the next index, and room at the front for a parcel or at the back for a tensor: *at. Every image to come has room for the
 * larger of both that it may need. */
static void take(lks_staging *s, int *index, size_t *at, size_t *between, const parcel *p)
{
    pthread_mutex_lock(&s->taking);
    *index = s->n++;
    *between = s->n_between;
    if (p) {
        *at = s->front;
        s->front += p->size;
        s->n_between += lks_arena_cost(p->n_between, 1);
    } else {
        s->back -= tensor_bytes(s->width, s->height);
        *at = s->tensors[*index] = s->back;
    }
    pthread_mutex_unlock(&s->taking);
}

lks_status lks_staging_put(lks_staging *staging, int *index, const lks_preprocess *preprocess, const lks_image *image,
                           const lks_compute *compute, lks_error *err)
{
    parcel p;
    lks_status st = plan_parcel(&p, preprocess, image, err);
    if (st != LKS_OK)
        return st;
    const size_t most = room_of_image(staging->width, staging->height);
    const bool resampled = p.size <= most && p.n_between <= most && most <= INT32_MAX / 2; /* strides are added */
    size_t at, between;
    take(staging, index, &at, &between, resampled ? &p : NULL);
    if (resampled) {
        staging->args[*index] = put_parcel(staging->base + at, &p, preprocess, image);
        staging->args[*index].between = (uint8_t *)(uintptr_t)between; /* for now an offset: see lks_staging_queue */
    } else {
        st = lks_preprocess_run(preprocess, (float *)(void *)(staging->base + at), image, compute, err);
    }
    lks_resize_plan_release(&p.plan);
    return st;
}

/* Where a part of the staged memory lies in a copy of it. */
static const void *moved(const void *part, const lks_staging *s, const unsigned char *copy)
{
    return copy + ((const unsigned char *)part - s->base);
}

static lks_taps moved_taps(const lks_taps *taps, const lks_staging *s, const unsigned char *copy)
{
    lks_taps t = *taps;
    t.tap = moved(taps->tap, s, copy);
    t.weights = moved(taps->weights, s, copy);
    return t;
}

void lks_staging_queue(const lks_staging *staging, float *pixels, const lks_compute *compute)
{
    const size_t n_pixels = (size_t)staging->width * (size_t)staging->height * 3;
    size_t mark = lks_arena_mark(compute->scratch);
    unsigned char *copy = lks_arena_take(compute->scratch, staging->front, 1);
    uint8_t *between = lks_arena_take(compute->scratch, staging->n_between, 1);
    bool resamples = false;
    for (int i = 0; i < staging->n; i++) {
        lks_resample *args = &staging->args[i];
        float *own = pixels + (size_t)i * n_pixels;
        if (staging->tensors[i]) {
            compute->ops->upload(compute, own, staging->base + staging->tensors[i], n_pixels * sizeof *own);
            args->pixels = NULL;
            continue;
        }
        args->from = moved(args->from, staging, copy);
        args->table = moved(args->table, staging, copy);
        args->across = moved_taps(&args->across, staging, copy);
        args->down = moved_taps(&args->down, staging, copy);
        args->between = between + (uintptr_t)args->between;
        args->pixels = own;
        resamples = true;
    }
    if (resamples) {
        compute->ops->upload(compute, copy, staging->base, staging->front);
        compute->ops->resample(compute, (const lks_resample *)(const void *)copy, staging->n);
    }
    lks_arena_reset(compute->scratch, mark);
}
