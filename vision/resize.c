/* Resizing equal to Pillow's, bit for bit.
 *
 * The pixels of an axis are weighted sums as taps.c has them; a sum starts at one half and is shifted and clamped to 8 bits. Two
 * passes with an 8-bit image between them; a pass whose size does not change is left out. The horizontal pass comes first, except,
 * since Pillow 13, where the height shrinks by more pixels than twice what the width does. */
#include "vision/resize.h"

#include <stdlib.h>
#include <string.h>

#include "vision/taps.h"

/* One pass. `from` and `to` point at the first pixel used; tap positions count from `origin` of the input axis. */
typedef struct pass {
    const lks_ops *ops;
    const uint8_t *from;
    uint8_t *to;
    size_t from_stride, to_stride;
    const lks_taps *taps;
    int origin;
    int n_rows, width; /* of `to` */
} pass;

static const int32_t *weights_of(const lks_taps *taps, int i)
{
    return taps->weights + (size_t)taps->n_most * (size_t)i;
}

/* Across, the bytes of LINES rows lie beside each other, so that one weight meets many of them: as many pixels as fit the first-level
 * cache at a time. */
enum { LINES = 16, PIXEL = 3 * LINES, MOST_IN = 384, MOST_OUT = 64 };

typedef uint8_t bytes_of_lines __attribute__((vector_size(LINES)));

/* to [LINES, LINES] = from [LINES, LINES], transposed: four times the first half of the rows is interleaved with the second. */
static void turn_square(uint8_t *to, size_t to_stride, const uint8_t *from, size_t from_stride)
{
    bytes_of_lines rows[LINES], mixed[LINES];
    for (int i = 0; i < LINES; i++)
        memcpy(&rows[i], from + (size_t)i * from_stride, sizeof rows[i]);
    for (int round = 0; round < 4; round++) {
        for (int i = 0; i < LINES / 2; i++) {
            const bytes_of_lines a = rows[i], b = rows[i + LINES / 2];
            mixed[2 * i] = __builtin_shufflevector(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
            mixed[2 * i + 1] =
                __builtin_shufflevector(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
        }
        memcpy(rows, mixed, sizeof rows);
    }
    for (int i = 0; i < LINES; i++)
        memcpy(to + (size_t)i * to_stride, &rows[i], sizeof rows[i]);
}

/* to [n, LINES] = from [LINES, n] */
static void turn_in(uint8_t *to, const uint8_t *from, size_t stride, int n)
{
    int i = 0;
    for (; i + LINES <= n; i += LINES)
        turn_square(to + i * LINES, LINES, from + i, stride);
    for (; i < n; i++)
        for (int k = 0; k < LINES; k++)
            to[i * LINES + k] = from[(size_t)k * stride + (size_t)i];
}

/* to [LINES, n] = from [n, LINES] */
static void turn_out(uint8_t *to, size_t stride, const uint8_t *from, int n)
{
    int i = 0;
    for (; i + LINES <= n; i += LINES)
        turn_square(to + i, stride, from + i * LINES, LINES);
    for (; i < n; i++)
        for (int k = 0; k < LINES; k++)
            to[(size_t)k * stride + (size_t)i] = from[i * LINES + k];
}

/* Output pixels begin .. end - 1 of LINES rows; their taps reach n_in pixels from that of the first on. */
static void resize_lines(const pass *p, const uint8_t *from, uint8_t *to, int begin, int end, int n_in)
{
    uint8_t in[MOST_IN * PIXEL], out[MOST_OUT * PIXEL];
    const int first = p->taps->tap[begin].first;
    turn_in(in, from + 3 * (size_t)(first - p->origin), p->from_stride, 3 * n_in);
    for (int x = begin; x < end; x++) {
        const lks_tap *tap = &p->taps->tap[x];
        p->ops->weigh_bytes(out + (x - begin) * PIXEL, in + (tap->first - first) * PIXEL, PIXEL, weights_of(p->taps, x),
                            tap->n, PIXEL);
    }
    turn_out(to + 3 * (size_t)begin, p->to_stride, out, 3 * (end - begin));
}

/* One output pixel of one row. */
static void resize_pixel(const pass *p, const uint8_t *from, uint8_t *to, int x)
{
    const lks_tap *tap = &p->taps->tap[x];
    p->ops->weigh_bytes(to + 3 * (size_t)x, from + 3 * (size_t)(tap->first - p->origin), 3, weights_of(p->taps, x),
                        tap->n, 3);
}

/* LINES rows. */
static void resize_band(const pass *p, const uint8_t *from, uint8_t *to)
{
    const lks_tap *tap = p->taps->tap;
    for (int begin = 0, end; begin < p->width; begin = end) {
        int n_in = 0;
        for (end = begin; end < p->width && end - begin < MOST_OUT; end++) {
            const int reached = tap[end].first + tap[end].n - tap[begin].first;
            if (reached > MOST_IN)
                break;
            n_in = reached;
        }
        if (end > begin) {
            resize_lines(p, from, to, begin, end, n_in);
            continue;
        }
        for (int line = 0; line < LINES; line++)
            resize_pixel(p, from + (size_t)line * p->from_stride, to + (size_t)line * p->to_stride, begin);
        end = begin + 1;
    }
}

static void run_rows(void *argument, int thread, int n_threads)
{
    const pass *p = argument;
    long y, end;
    lks_threads_share(p->n_rows, LINES, thread, n_threads, &y, &end);
    for (; y + LINES <= end; y += LINES)
        resize_band(p, p->from + p->from_stride * (size_t)y, p->to + p->to_stride * (size_t)y);
    for (; y < end; y++)
        for (int x = 0; x < p->width; x++)
            resize_pixel(p, p->from + p->from_stride * (size_t)y, p->to + p->to_stride * (size_t)y, x);
}

static void run_columns(void *argument, int thread, int n_threads)
{
    const pass *p = argument;
    long begin, end;
    lks_threads_share(p->n_rows, 1, thread, n_threads, &begin, &end);
    for (long y = begin; y < end; y++) {
        const lks_tap *tap = &p->taps->tap[y];
        p->ops->weigh_bytes(p->to + p->to_stride * (size_t)y,
                            p->from + p->from_stride * (size_t)(tap->first - p->origin), p->from_stride,
                            weights_of(p->taps, (int)y), tap->n, (size_t)p->width * 3);
    }
}

static lks_status no_memory(lks_error *err)
{
    return lks_error_set(err, LKS_ERR_NOMEM, "image: out of memory resizing");
}

static const lks_ops *host_ops(const lks_compute *compute)
{
    return compute->ops->host ? compute->ops->host : compute->ops;
}

/* A rectangle of pixels within a larger image. */
typedef struct area {
    uint8_t *rgb;
    size_t stride;
    int x, y, width, height; /* of the axes that the taps count on */
} area;

static void resize_across(const area *to, const area *from, const lks_taps *horizontal, const lks_compute *compute)
{
    pass p = {.ops = host_ops(compute),
              .from = from->rgb,
              .to = to->rgb,
              .from_stride = from->stride,
              .to_stride = to->stride,
              .taps = horizontal,
              .origin = from->x,
              .n_rows = to->height,
              .width = to->width};
    lks_threads_run(compute->threads, run_rows, &p);
}

static void resize_down(const area *to, const area *from, const lks_taps *vertical, const lks_compute *compute)
{
    pass p = {.ops = host_ops(compute),
              .from = from->rgb,
              .to = to->rgb,
              .from_stride = from->stride,
              .to_stride = to->stride,
              .taps = vertical,
              .origin = from->y,
              .n_rows = to->height,
              .width = to->width};
    lks_threads_run(compute->threads, run_columns, &p);
}

/* Both passes, through an 8-bit image that holds what the second pass reaches. `from` begins where the taps' reach does. */
static lks_status resize_both(const area *to, const area *from, const lks_resize_plan *plan, const lks_compute *compute,
                              lks_error *err)
{
    area between = plan->down_first ? (area){.x = from->x, .y = to->y, .width = from->width, .height = to->height}
                                    : (area){.x = to->x, .y = from->y, .width = to->width, .height = from->height};
    between.stride = (size_t)between.width * 3;
    between.rgb = malloc(between.stride * (size_t)between.height);
    if (!between.rgb)
        return no_memory(err);
    if (plan->down_first) {
        resize_down(&between, from, &plan->down, compute);
        resize_across(to, &between, &plan->across, compute);
    } else {
        resize_across(&between, from, &plan->across, compute);
        resize_down(to, &between, &plan->down, compute);
    }
    free(between.rgb);
    return LKS_OK;
}

/* All filters but nearest, for an image that is not as large as the result; out has room for the window. */
static lks_status resize_smoothly(uint8_t *out, const lks_image *image, int width, int height, const lks_window *window,
                                  const lks_resize_plan *plan, const lks_compute *compute, lks_error *err)
{
    const bool across = width != image->width, down = height != image->height;
    const area to = {out, (size_t)window->width * 3, window->x, window->y, window->width, window->height};
    area from = {.stride = (size_t)image->width * 3,
                 .x = window->x,
                 .y = window->y,
                 .width = window->width,
                 .height = window->height};
    if (across)
        lks_taps_reach(&plan->across, &from.x, &from.width);
    if (down)
        lks_taps_reach(&plan->down, &from.y, &from.height);
    from.rgb = image->rgb + from.stride * (size_t)from.y + 3 * (size_t)from.x;

    if (across && down)
        return resize_both(&to, &from, plan, compute, err);
    if (across)
        resize_across(&to, &from, &plan->across, compute);
    else
        resize_down(&to, &from, &plan->down, compute);
    return LKS_OK;
}

static void copy_window(uint8_t *out, const lks_image *image, const lks_window *window)
{
    const size_t stride = (size_t)image->width * 3, n = (size_t)window->width * 3;
    for (int y = 0; y < window->height; y++)
        memcpy(out + n * (size_t)y, image->rgb + stride * (size_t)(window->y + y) + 3 * (size_t)window->x, n);
}

static void resize_nearest(uint8_t *out, const lks_image *image, const lks_resize_plan *plan)
{
    for (int y = 0; y < plan->down.n; y++) {
        const lks_tap *row = &plan->down.tap[y];
        for (int x = 0; x < plan->across.n; x++, out += 3) {
            const lks_tap *column = &plan->across.tap[x];
            if (row->n == 0 || column->n == 0)
                memset(out, 0, 3);
            else
                memcpy(out, image->rgb + 3 * ((size_t)row->first * (size_t)image->width + (size_t)column->first), 3);
        }
    }
}

static lks_status check(const lks_image *image, int width, int height, const lks_window *window, lks_filter filter,
                        lks_error *err)
{
    if ((int)filter < LKS_FILTER_NEAREST || (int)filter > LKS_FILTER_HAMMING)
        return lks_error_set(err, LKS_ERR_ARGUMENT, "image: there is no resampling filter %d: give 0 to 5",
                             (int)filter);
    if (image->width < 1 || image->height < 1 || width < 1 || height < 1 || window->x < 0 || window->y < 0 ||
        window->width < 1 || window->height < 1 || window->width > width - window->x ||
        window->height > height - window->y)
        return lks_error_set(err, LKS_ERR_ARGUMENT, "image: cannot resize %d x %d pixels to %d x %d", image->width,
                             image->height, width, height);
    return LKS_OK;
}

lks_status lks_resize_plan_init(lks_resize_plan *plan, const lks_image *image, int width, int height,
                                const lks_window *window, lks_filter filter, lks_error *err)
{
    lks_status st = check(image, width, height, window, filter, err);
    if (st != LKS_OK)
        return st;
    lks_resize_plan made = {.down_first =
                                height < image->height && image->height - height > 2 * ((int64_t)image->width - width)};
    if (!lks_taps_init(&made.across, image->width, width, window->x, window->width, filter) ||
        !lks_taps_init(&made.down, image->height, height, window->y, window->height, filter)) {
        lks_resize_plan_release(&made);
        return no_memory(err);
    }
    *plan = made;
    return LKS_OK;
}

void lks_resize_plan_release(lks_resize_plan *plan)
{
    lks_taps_release(&plan->across);
    lks_taps_release(&plan->down);
}

lks_status lks_image_resize_window(lks_image *out, const lks_image *image, int width, int height,
                                   const lks_window *window, lks_filter filter, const lks_compute *compute,
                                   lks_error *err)
{
    const bool copied = width == image->width && height == image->height;
    lks_resize_plan plan = {.down_first = false};
    lks_status st = copied ? check(image, width, height, window, filter, err)
                           : lks_resize_plan_init(&plan, image, width, height, window, filter, err);
    if (st != LKS_OK)
        return st;
    uint8_t *rgb = malloc((size_t)window->width * (size_t)window->height * 3);
    if (!rgb)
        st = no_memory(err);
    else if (copied)
        copy_window(rgb, image, window);
    else if (filter == LKS_FILTER_NEAREST)
        resize_nearest(rgb, image, &plan);
    else
        st = resize_smoothly(rgb, image, width, height, window, &plan, compute, err);
    lks_resize_plan_release(&plan);
    if (st != LKS_OK) {
        free(rgb);
        return st;
    }
    *out = (lks_image){.width = window->width, .height = window->height, .rgb = rgb};
    return LKS_OK;
}

lks_status lks_image_resize(lks_image *out, const lks_image *image, int width, int height, lks_filter filter,
                            const lks_compute *compute, lks_error *err)
{
    const lks_window whole = {0, 0, width, height};
    return lks_image_resize_window(out, image, width, height, &whole, filter, compute, err);
}
