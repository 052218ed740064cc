/* Resizing equal to Pillow's, bit for bit.
 *
 * For an output pixel i, centre c = (i + 0.5) s with s = in/out, the taps are the input pixels within support * max(s, 1) of c,
 * weighted by the filter at their distance over max(s, 1) and normalised to sum 1. Weights become integers of 22 fractional
 * bits; a sum starts at one half and is shifted and clamped to 8 bits. Two passes with an 8-bit image between them; a pass
 * whose size does not change is left out. The horizontal pass comes first, except, since Pillow 13, where the height shrinks
 * by more pixels than twice what the width does. Nearest takes the input pixel under the output pixel's centre, found by
 * repeated addition of s as Pillow does. */
#include "vision/resize.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define PI 3.14159265358979323846

static double box(double x)
{
    return x > -0.5 && x <= 0.5 ? 1.0 : 0.0;
}

static double bilinear(double x)
{
    x = fabs(x);
    return x < 1.0 ? 1.0 - x : 0.0;
}

static double hamming(double x)
{
    x = fabs(x);
    if (x == 0.0)
        return 1.0;
    if (x >= 1.0)
        return 0.0;
    x *= PI;
    return sin(x) / x * (0.54f + 0.46f * cos(x)); /* single-precision constants: Pillow's */
}

static double bicubic(double x)
{
    const double a = -0.5;
    x = fabs(x);
    if (x < 1.0)
        return ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0;
    if (x < 2.0)
        return (((x - 5.0) * x + 8.0) * x - 4.0) * a;
    return 0.0;
}

static double sinc(double x)
{
    if (x == 0.0)
        return 1.0;
    x *= PI;
    return sin(x) / x;
}

static double lanczos(double x)
{
    return x >= -3.0 && x < 3.0 ? sinc(x) * sinc(x / 3.0) : 0.0;
}

typedef struct kernel {
    double (*weight)(double x);
    double support;
} kernel;

static kernel kernel_of(lks_filter filter)
{
    switch (filter) {
    case LKS_FILTER_BOX:
        return (kernel){box, 0.5};
    case LKS_FILTER_HAMMING:
        return (kernel){hamming, 1.0};
    case LKS_FILTER_BICUBIC:
        return (kernel){bicubic, 2.0};
    case LKS_FILTER_LANCZOS:
        return (kernel){lanczos, 3.0};
    default:
        return (kernel){bilinear, 1.0};
    }
}

/* The input pixels first .. first + n - 1 weigh weights[0 .. n-1] in one output pixel. */
typedef struct lks_tap {
    int first, n;
    const int32_t *weights;
} lks_tap;

typedef struct taps {
    lks_tap *tap; /* [n_out] */
    int32_t *weights;
} taps;

static void taps_release(taps *t)
{
    free(t->tap);
    free(t->weights);
    *t = (taps){0};
}

/* Taps of the output pixels begin .. begin + n_out - 1 of an axis that goes from `in` to `out` pixels. */
static bool taps_init(taps *t, int in, int out, int begin, int n_out, lks_filter filter)
{
    const kernel k = kernel_of(filter);
    const double scale = (double)in / out;
    const double stretch = scale < 1.0 ? 1.0 : scale;
    const double support = k.support * stretch;
    const size_t n_most = (size_t)ceil(support) * 2 + 1;
    double *exact = malloc(n_most * sizeof *exact);
    t->tap = calloc((size_t)n_out, sizeof *t->tap);
    t->weights = calloc(n_most * (size_t)n_out, sizeof *t->weights);
    if (!exact || !t->tap || !t->weights) {
        free(exact);
        taps_release(t);
        return false;
    }
    for (int i = 0; i < n_out; i++) {
        const double center = (begin + i + 0.5) * scale;
        int first = (int)(center - support + 0.5), end = (int)(center + support + 0.5);
        first = first < 0 ? 0 : first;
        end = end > in ? in : end;
        const int n = end - first;
        double sum = 0.0;
        for (int x = 0; x < n; x++) {
            exact[x] = k.weight((x + first - center + 0.5) * (1.0 / stretch));
            sum += exact[x];
        }
        int32_t *weights = t->weights + n_most * (size_t)i;
        for (int x = 0; x < n; x++) {
            double w = sum != 0.0 ? exact[x] / sum : exact[x];
            weights[x] = (int32_t)(w * (1 << LKS_WEIGHT_BITS) + (w < 0.0 ? -0.5 : 0.5));
        }
        t->tap[i] = (lks_tap){first, n, weights};
    }
    free(exact);
    return true;
}

/* One pass. `from` and `to` point at the first pixel used; tap positions count from `origin` of the input axis. */
typedef struct pass {
    const lks_ops *ops;
    const uint8_t *from;
    uint8_t *to;
    size_t from_stride, to_stride;
    const lks_tap *tap;
    int origin;
    int n_rows, width; /* of `to` */
} pass;

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
    const int first = p->tap[begin].first;
    turn_in(in, from + 3 * (size_t)(first - p->origin), p->from_stride, 3 * n_in);
    for (int x = begin; x < end; x++) {
        const lks_tap *tap = &p->tap[x];
        p->ops->weigh_bytes(out + (x - begin) * PIXEL, in + (tap->first - first) * PIXEL, PIXEL, tap->weights, tap->n,
                            PIXEL);
    }
    turn_out(to + 3 * (size_t)begin, p->to_stride, out, 3 * (end - begin));
}

/* One output pixel of one row. */
static void resize_pixel(const pass *p, const uint8_t *from, uint8_t *to, int x)
{
    const lks_tap *tap = &p->tap[x];
    p->ops->weigh_bytes(to + 3 * (size_t)x, from + 3 * (size_t)(tap->first - p->origin), 3, tap->weights, tap->n, 3);
}

/* LINES rows. */
static void resize_band(const pass *p, const uint8_t *from, uint8_t *to)
{
    for (int begin = 0, end; begin < p->width; begin = end) {
        int n_in = 0;
        for (end = begin; end < p->width && end - begin < MOST_OUT; end++) {
            const int reached = p->tap[end].first + p->tap[end].n - p->tap[begin].first;
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
    for (long y = begin; y < end; y++)
        p->ops->weigh_bytes(p->to + p->to_stride * (size_t)y,
                            p->from + p->from_stride * (size_t)(p->tap[y].first - p->origin), p->from_stride,
                            p->tap[y].weights, p->tap[y].n, (size_t)p->width * 3);
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

static void resize_across(const area *to, const area *from, const taps *horizontal, const lks_compute *compute)
{
    pass p = {.ops = host_ops(compute),
              .from = from->rgb,
              .to = to->rgb,
              .from_stride = from->stride,
              .to_stride = to->stride,
              .tap = horizontal->tap,
              .origin = from->x,
              .n_rows = to->height,
              .width = to->width};
    lks_threads_run(compute->threads, run_rows, &p);
}

static void resize_down(const area *to, const area *from, const taps *vertical, const lks_compute *compute)
{
    pass p = {.ops = host_ops(compute),
              .from = from->rgb,
              .to = to->rgb,
              .from_stride = from->stride,
              .to_stride = to->stride,
              .tap = vertical->tap,
              .origin = from->y,
              .n_rows = to->height,
              .width = to->width};
    lks_threads_run(compute->threads, run_columns, &p);
}

/* Input pixels that the taps of n outputs reach: the taps move monotonically. */
static void reach(int *first, int *n_reached, const taps *t, int n)
{
    *first = t->tap[0].first;
    *n_reached = t->tap[n - 1].first + t->tap[n - 1].n - *first;
}

/* Both passes, through an 8-bit image that holds what the second pass reaches. `from` begins where the taps' reach does. */
static lks_status resize_both(const area *to, const area *from, const taps *horizontal, const taps *vertical,
                              bool vertical_first, const lks_compute *compute, lks_error *err)
{
    area between = vertical_first ? (area){.x = from->x, .y = to->y, .width = from->width, .height = to->height}
                                  : (area){.x = to->x, .y = from->y, .width = to->width, .height = from->height};
    between.stride = (size_t)between.width * 3;
    between.rgb = malloc(between.stride * (size_t)between.height);
    if (!between.rgb)
        return no_memory(err);
    if (vertical_first) {
        resize_down(&between, from, vertical, compute);
        resize_across(to, &between, horizontal, compute);
    } else {
        resize_across(&between, from, horizontal, compute);
        resize_down(to, &between, vertical, compute);
    }
    free(between.rgb);
    return LKS_OK;
}

/* All filters but nearest; out has room for the window. */
static lks_status resize_smoothly(uint8_t *out, const lks_image *image, int width, int height, const lks_window *window,
                                  lks_filter filter, const lks_compute *compute, lks_error *err)
{
    const bool across = width != image->width, down = height != image->height;
    taps horizontal = {0}, vertical = {0};
    if ((across && !taps_init(&horizontal, image->width, width, window->x, window->width, filter)) ||
        (down && !taps_init(&vertical, image->height, height, window->y, window->height, filter))) {
        taps_release(&horizontal);
        return no_memory(err);
    }
    const area to = {out, (size_t)window->width * 3, window->x, window->y, window->width, window->height};
    area from = {.stride = (size_t)image->width * 3,
                 .x = window->x,
                 .y = window->y,
                 .width = window->width,
                 .height = window->height};
    if (across)
        reach(&from.x, &from.width, &horizontal, window->width);
    if (down)
        reach(&from.y, &from.height, &vertical, window->height);
    from.rgb = image->rgb + from.stride * (size_t)from.y + 3 * (size_t)from.x;

    lks_status st = LKS_OK;
    if (across && down)
        st = resize_both(&to, &from, &horizontal, &vertical,
                         height < image->height && image->height - height > 2 * ((int64_t)image->width - width),
                         compute, err);
    else if (across)
        resize_across(&to, &from, &horizontal, compute);
    else
        resize_down(&to, &from, &vertical, compute);
    taps_release(&horizontal);
    taps_release(&vertical);
    return st;
}

static void copy_window(uint8_t *out, const lks_image *image, const lks_window *window)
{
    const size_t stride = (size_t)image->width * 3, n = (size_t)window->width * 3;
    for (int y = 0; y < window->height; y++)
        memcpy(out + n * (size_t)y, image->rgb + stride * (size_t)(window->y + y) + 3 * (size_t)window->x, n);
}

/* The input pixel under each output pixel of an axis; -1 where rounding leads past the end (Pillow leaves black). */
static void nearest_positions(int *position, int in, int out, int begin, int n)
{
    const double scale = (double)in / out;
    double at = scale * 0.5;
    for (int i = 0; i < begin; i++)
        at += scale;
    for (int i = 0; i < n; i++) {
        position[i] = (int)at < in ? (int)at : -1;
        at += scale;
    }
}

static lks_status resize_nearest(uint8_t *out, const lks_image *image, int width, int height, const lks_window *window,
                                 lks_error *err)
{
    int *columns = malloc(((size_t)window->width + (size_t)window->height) * sizeof *columns);
    if (!columns)
        return no_memory(err);
    int *rows = columns + window->width;
    nearest_positions(columns, image->width, width, window->x, window->width);
    nearest_positions(rows, image->height, height, window->y, window->height);
    for (int y = 0; y < window->height; y++) {
        uint8_t *to = out + (size_t)window->width * 3 * (size_t)y;
        for (int x = 0; x < window->width; x++, to += 3) {
            if (rows[y] < 0 || columns[x] < 0)
                memset(to, 0, 3);
            else
                memcpy(to, image->rgb + 3 * ((size_t)rows[y] * (size_t)image->width + (size_t)columns[x]), 3);
        }
    }
    free(columns);
    return LKS_OK;
}

lks_status lks_image_resize_window(lks_image *out, const lks_image *image, int width, int height,
                                   const lks_window *window, lks_filter filter, const lks_compute *compute,
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
    uint8_t *rgb = malloc((size_t)window->width * (size_t)window->height * 3);
    if (!rgb)
        return no_memory(err);

    lks_status st = LKS_OK;
    if (width == image->width && height == image->height)
        copy_window(rgb, image, window);
    else if (filter == LKS_FILTER_NEAREST)
        st = resize_nearest(rgb, image, width, height, window, err);
    else
        st = resize_smoothly(rgb, image, width, height, window, filter, compute, err);
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
