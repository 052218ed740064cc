/* The filters of Pillow, and the weights that come of them, bit for bit.
 *
 * For an output pixel i, centre c = (i + 0.5) s with s = in/out, the taps are the input pixels within support * max(s, 1) of c,
 * weighted by the filter at their distance over max(s, 1) and normalised to sum 1. Weights become integers of LKS_WEIGHT_BITS
 * fractional bits. Nearest takes the input pixel under the output pixel's centre, found by repeated addition of s as Pillow does. */
#include "vision/taps.h"

#include <math.h>
#include <stdlib.h>

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

/* Room for n outputs of n_most weights each. */
static bool reserve(lks_taps *taps, lks_tap **tap, int32_t **weights, int n, size_t n_most)
{
    *tap = calloc((size_t)n, sizeof **tap);
    *weights = calloc((size_t)n * n_most, sizeof **weights);
    *taps = (lks_taps){.n = n, .n_most = (int)n_most, .tap = *tap, .weights = *weights};
    if (*tap && *weights)
        return true;
    lks_taps_release(taps);
    return false;
}

/* Where rounding leads past the end there is no tap: Pillow leaves black. */
static bool init_nearest(lks_taps *taps, int in, int out, int begin, int n)
{
    lks_tap *tap;
    int32_t *weights;
    if (!reserve(taps, &tap, &weights, n, 1))
        return false;
    const double scale = (double)in / out;
    double at = scale * 0.5;
    for (int i = 0; i < begin; i++)
        at += scale;
    for (int i = 0; i < n; i++) {
        const bool inside = (int)at < in;
        tap[i] = (lks_tap){inside ? (int)at : in, inside ? 1 : 0};
        weights[i] = 1 << LKS_WEIGHT_BITS;
        at += scale; /* as Pillow does, rounding included */
    }
    return true;
}

static bool init_smooth(lks_taps *taps, int in, int out, int begin, int n, lks_filter filter)
{
    const kernel k = kernel_of(filter);
    const double scale = (double)in / out;
    const double stretch = scale < 1.0 ? 1.0 : scale;
    const double support = k.support * stretch;
    const size_t n_most = (size_t)ceil(support) * 2 + 1;
    lks_tap *tap;
    int32_t *weights;
    double *exact = malloc(n_most * sizeof *exact);
    if (!exact || !reserve(taps, &tap, &weights, n, n_most)) {
        free(exact);
        return false;
    }
    for (int i = 0; i < n; i++, weights += n_most) {
        const double center = (begin + i + 0.5) * scale;
        int first = (int)(center - support + 0.5), end = (int)(center + support + 0.5);
        first = first < 0 ? 0 : first;
        end = end > in ? in : end;
        tap[i] = (lks_tap){first, end - first};
        double sum = 0.0;
        for (int x = 0; x < tap[i].n; x++) {
            exact[x] = k.weight((x + first - center + 0.5) * (1.0 / stretch));
            sum += exact[x];
        }
        for (int x = 0; x < tap[i].n; x++) {
            const double w = sum != 0.0 ? exact[x] / sum : exact[x];
            weights[x] = (int32_t)(w * (1 << LKS_WEIGHT_BITS) + (w < 0.0 ? -0.5 : 0.5));
        }
    }
    free(exact);
    return true;
}

bool lks_taps_init(lks_taps *taps, int in, int out, int begin, int n, lks_filter filter)
{
    return filter == LKS_FILTER_NEAREST ? init_nearest(taps, in, out, begin, n)
                                        : init_smooth(taps, in, out, begin, n, filter);
}

void lks_taps_release(lks_taps *taps)
{
    free((void *)(uintptr_t)taps->tap);
    free((void *)(uintptr_t)taps->weights);
    *taps = (lks_taps){0};
}

/* They move monotonically. */
void lks_taps_reach(const lks_taps *taps, int *first, int *n_reached)
{
    const lks_tap *last = &taps->tap[taps->n - 1];
    *first = taps->tap[0].first;
    *n_reached = last->first + last->n - *first;
}
