/* Is it a photo at all? Statistics of the pixels that photos, with their shading and the noise of sensors, keep far away from.
 *
 *     spread  how far the 1st and the 99th hundredth of a channel's values lie apart, in the channel where that is most
 *     like    correlation of the brightness of neighbours, across or down, whichever is more
 *     d       of a pixel: how much the pixels right of it and below differ from it at most, in any channel
 *     even    share of pixels with d = 0;   flat: with d <= 2;   of the others, soft: d <= 24;   hard: d > 48
 *
 *     blank    spread < 24
 *     noise    like < 0.25
 *     drawing  flat > 0.6, less than 0.55 of the others soft and more than 0.3 of them hard: text, lines, windows
 *              or even > 0.6 and more than 0.9 of what is flat: areas of one colour, as compression of a drawing leaves them
 *
 * Of large pictures every n-th row is looked at, with the one below it. Of a damaged picture only the part that was read counts. */
#include "apps/captioner/picture.h"

#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

enum { MIN_SIDE = 16, MAX_ROWS = 512 };

typedef struct part {
    int x, y, width, height;
} part;

typedef struct statistics {
    uint64_t n;
    uint64_t histogram[3][256];
    double sum[2], squares[2], across, down; /* of the brightness: here, below; products with the neighbours */
    uint64_t even, flat, soft, hard;
} statistics;

static int brightness(const uint8_t *p)
{
    return 77 * p[0] + 150 * p[1] + 29 * p[2];
}

static int difference(const uint8_t *a, const uint8_t *b)
{
    int most = 0;
    for (int c = 0; c < 3; c++) {
        int d = abs(a[c] - b[c]);
        most = d > most ? d : most;
    }
    return most;
}

static void count_row(statistics *s, const uint8_t *row, const uint8_t *below, int width)
{
    for (int x = 0; x + 1 < width; x++) {
        const uint8_t *p = row + 3 * (size_t)x, *q = below + 3 * (size_t)x;
        for (int c = 0; c < 3; c++)
            s->histogram[c][p[c]]++;
        double here = brightness(p), right = brightness(p + 3), under = brightness(q);
        s->sum[0] += here;
        s->squares[0] += here * here;
        s->sum[1] += under;
        s->squares[1] += under * under;
        s->across += here * right;
        s->down += here * under;
        int a = difference(p, p + 3), b = difference(p, q), d = a > b ? a : b;
        s->even += d == 0;
        s->flat += d <= 2;
        s->soft += d > 2 && d <= 24;
        s->hard += d > 48;
    }
    s->n += (uint64_t)width - 1;
}

static int spread(const statistics *s)
{
    int most = 0;
    for (int c = 0; c < 3; c++) {
        uint64_t n = 0, hundredth = s->n / 100;
        int low = -1, high = 0;
        for (int v = 0; v < 256; v++) {
            n += s->histogram[c][v];
            if (low < 0 && n > hundredth)
                low = v;
            if (n < s->n - hundredth)
                high = v + 1;
        }
        most = high - low > most ? high - low : most;
    }
    return most;
}

/* The larger of both correlations. Neighbours across have the same mean and deviation, but for the picture's edges. */
static double likeness(const statistics *s)
{
    double n = (double)s->n, mean = s->sum[0] / n, mean_under = s->sum[1] / n;
    double variance = s->squares[0] / n - mean * mean, variance_under = s->squares[1] / n - mean_under * mean_under;
    double across = (s->across / n - mean * mean) / variance;
    double down = (s->down / n - mean * mean_under) / sqrt(variance * variance_under);
    return fmax(across, down);
}

/* How many of n lines, each n_pixels long, have the colour of the first pixel of the first, and no other. next_line, next_pixel: the
 * way on, in bytes. */
static int count_bare(const uint8_t *first, int n, ptrdiff_t next_line, int n_pixels, ptrdiff_t next_pixel)
{
    for (int line = 0; line < n; line++)
        for (int i = 0; i < n_pixels; i++)
            if (memcmp(first + line * next_line + i * next_pixel, first, 3) != 0)
                return line;
    return n;
}

/* A damaged picture without the lines of one colour at its sides: decoders leave such where the data ended, which is at the end of the
 * file's rows, and an orientation turns that to any side. Nothing is left of a picture of one colour. */
static part find_part_read(const lks_image *image)
{
    const int w = image->width, h = image->height;
    const ptrdiff_t down = 3 * (ptrdiff_t)w;
    const uint8_t *first = image->rgb, *last_row = first + (h - 1) * down,
                  *last_column = first + 3 * (ptrdiff_t)(w - 1);
    int top = count_bare(first, h, down, w, 3), bottom = top < h ? count_bare(last_row, h, -down, w, 3) : 0;
    int left = count_bare(first, w, 3, h, down), right = left < w ? count_bare(last_column, w, -3, h, down) : 0;
    return (part){.x = left, .y = top, .width = w - left - right, .height = h - top - bottom};
}

lks_picture_kind lks_picture_judge(const lks_image *image, bool damaged)
{
    if (image->width < MIN_SIDE || image->height < MIN_SIDE)
        return LKS_PICTURE_PHOTO;
    const part p = damaged ? find_part_read(image) : (part){.width = image->width, .height = image->height};
    if (p.width < MIN_SIDE || p.height < MIN_SIDE)
        return LKS_PICTURE_BLANK;
    statistics s = {.n = 0};
    size_t stride = 3 * (size_t)image->width;
    const uint8_t *first = image->rgb + (size_t)p.y * stride + 3 * (size_t)p.x;
    int step = (p.height + MAX_ROWS - 1) / MAX_ROWS;
    for (int y = 0; y + 1 < p.height; y += step)
        count_row(&s, first + (size_t)y * stride, first + (size_t)(y + 1) * stride, p.width);
    if (spread(&s) < 24)
        return LKS_PICTURE_BLANK;
    if (likeness(&s) < 0.25)
        return LKS_PICTURE_NOISE;
    double n = (double)s.n, flat = (double)s.flat / n, even = (double)s.even / n, rest = (double)(s.n - s.flat);
    bool lines = flat > 0.6 && (double)s.soft < 0.55 * rest && (double)s.hard > 0.3 * rest;
    bool areas = even > 0.6 && even > 0.9 * flat;
    return lines || areas ? LKS_PICTURE_DRAWING : LKS_PICTURE_PHOTO;
}
