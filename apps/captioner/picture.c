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
 * Of large pictures every n-th row is looked at, with the one below it, and of these the colours (spread, like) of every m-th only, which
 * are the costly part. Of a damaged picture only the part that was read counts. */
#include "apps/captioner/picture.h"

#include <math.h>
#include <stddef.h>
#include <string.h>

enum {
    MIN_SIDE = 16,
    MAX_ROWS = 256,   /* that are looked at */
    COLOUR_ROWS = 64, /* of these, for their colours: so many or up to twice as many */
    BLOCK = 256,      /* pixels that are counted at a time */
    TURNS = 4         /* tables that count differences */
};

typedef struct part {
    int x, y, width, height;
} part;

typedef struct statistics {
    uint64_t n, n_colours;
    uint64_t histogram[3][256];
    uint64_t sum[2], squares[2], across, down; /* of the brightness: here, below; products with the neighbours */
    uint64_t differences[TURNS][256];          /* pixels by their d */
} statistics;

/* Of 12 bits, of which the products of two are added up in 32 bits. */
static uint16_t brightness(const uint8_t *p)
{
    return (uint16_t)((77u * p[0] + 150u * p[1] + 29u * p[2]) >> 4);
}

static uint8_t larger(uint8_t a, uint8_t b)
{
    return a > b ? a : b;
}

static uint8_t apart(uint8_t a, uint8_t b)
{
    return (uint8_t)(larger(a, b) - (a < b ? a : b));
}

/* The differences of n <= BLOCK pixels of a row, which goes on for at least one more, and the n below. Short loops over plain arrays,
 * for compilers to make vectors of; tables take turns, as pixels beside each other are alike. */
static void count_contrast(statistics *s, const uint8_t *row, const uint8_t *below, int n)
{
    uint8_t most[3 * BLOCK] = {0};
    for (int i = 0; i < 3 * n; i++)
        most[i] = larger(apart(row[i], row[i + 3]), apart(row[i], below[i]));
    for (int x = 0; x < n; x++)
        s->differences[x % TURNS][larger(larger(most[3 * x], most[3 * x + 1]), most[3 * x + 2])]++;
    s->n += (uint64_t)n;
}

/* The colours of such pixels. */
static void count_colours(statistics *s, const uint8_t *row, const uint8_t *below, int n)
{
    uint16_t here[BLOCK + 1], under[BLOCK];
    uint32_t sum = 0, sum_under = 0, squares = 0, squares_under = 0, across = 0, down = 0;
    for (int x = 0; x <= n; x++)
        here[x] = brightness(row + 3 * x);
    for (int x = 0; x < n; x++)
        under[x] = brightness(below + 3 * x);
    for (int x = 0; x < n; x++) {
        sum += here[x];
        sum_under += under[x];
        squares += (uint32_t)(here[x] * here[x]);
        squares_under += (uint32_t)(under[x] * under[x]);
        across += (uint32_t)(here[x] * here[x + 1]);
        down += (uint32_t)(here[x] * under[x]);
    }
    for (int x = 0; x < n; x++)
        for (int c = 0; c < 3; c++)
            s->histogram[c][row[3 * x + c]]++;
    s->n_colours += (uint64_t)n;
    s->sum[0] += sum;
    s->sum[1] += sum_under;
    s->squares[0] += squares;
    s->squares[1] += squares_under;
    s->across += across;
    s->down += down;
}

/* Pixels with a d of first..last. */
static double count_differences(const statistics *s, int first, int last)
{
    uint64_t n = 0;
    for (int d = first; d <= last; d++)
        for (int t = 0; t < TURNS; t++)
            n += s->differences[t][d];
    return (double)n;
}

static int spread(const statistics *s)
{
    int most = 0;
    for (int c = 0; c < 3; c++) {
        uint64_t n = 0, hundredth = s->n_colours / 100;
        int low = -1, high = 0;
        for (int v = 0; v < 256; v++) {
            n += s->histogram[c][v];
            if (low < 0 && n > hundredth)
                low = v;
            if (n < s->n_colours - hundredth)
                high = v + 1;
        }
        most = high - low > most ? high - low : most;
    }
    return most;
}

/* The larger of both correlations. Neighbours across have the same mean and deviation, but for the picture's edges. */
static double likeness(const statistics *s)
{
    double n = (double)s->n_colours, mean = (double)s->sum[0] / n, mean_under = (double)s->sum[1] / n;
    double variance = (double)s->squares[0] / n - mean * mean;
    double variance_under = (double)s->squares[1] / n - mean_under * mean_under;
    double across = ((double)s->across / n - mean * mean) / variance;
    double down = ((double)s->down / n - mean * mean_under) / sqrt(variance * variance_under);
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
    const int colour_step = p.height > step * COLOUR_ROWS ? p.height / (step * COLOUR_ROWS) : 1;
    for (int y = 0; y + 1 < p.height; y += step) {
        const uint8_t *row = first + (size_t)y * stride;
        for (int x = 0; x + 1 < p.width; x += BLOCK) {
            const uint8_t *at = row + 3 * (size_t)x;
            const int n = p.width - 1 - x < BLOCK ? p.width - 1 - x : BLOCK;
            count_contrast(&s, at, at + stride, n);
            if (y / step % colour_step == 0)
                count_colours(&s, at, at + stride, n);
        }
    }
    if (spread(&s) < 24)
        return LKS_PICTURE_BLANK;
    if (likeness(&s) < 0.25)
        return LKS_PICTURE_NOISE;
    const double n = (double)s.n, rest = count_differences(&s, 3, 255);
    const double even = count_differences(&s, 0, 0) / n, flat = 1.0 - rest / n;
    bool lines =
        flat > 0.6 && count_differences(&s, 3, 24) < 0.55 * rest && count_differences(&s, 49, 255) > 0.3 * rest;
    bool areas = even > 0.6 && even > 0.9 * flat;
    return lines || areas ? LKS_PICTURE_DRAWING : LKS_PICTURE_PHOTO;
}
