/* int8 linear layers: packing of weights, and what all kernels share. See fusion/int8.h. */
#include "fusion/int8.h"

#include <math.h>
#include <string.h>

static size_t n_groups(int d_in)
{
    return ((size_t)d_in + LKS_INT8_GROUP - 1) / LKS_INT8_GROUP;
}

size_t lks_int8_panel_bytes(int d_in, int d_out)
{
    size_t n_panels = ((size_t)d_out + LKS_INT8_COLUMNS - 1) / LKS_INT8_COLUMNS;
    return n_panels * n_groups(d_in) * LKS_INT8_COLUMNS * LKS_INT8_GROUP;
}

/* The largest magnitude of w [n], by its bits: those of positive numbers sort like integers. w holds no NaN. */
static float largest_magnitude(const float *w, int n)
{
    int32_t largest = 0;
    for (int k = 0; k < n; k++) {
        int32_t bits;
        memcpy(&bits, &w[k], sizeof bits);
        bits &= 0x7FFFFFFF;
        largest = bits > largest ? bits : largest;
    }
    float value;
    memcpy(&value, &largest, sizeof value);
    return value;
}

/* values [n] = round(w inverse), halves to even; returns their sum. Adding 3 2^22 leaves the integer in the low bits. */
static int32_t round_row(int8_t *values, const float *w, int n, float inverse)
{
    int32_t sum = 0;
    for (int k = 0; k < n; k++) {
        float shifted = w[k] * inverse + 12582912.0f;
        int32_t bits;
        memcpy(&bits, &shifted, sizeof bits);
        bits -= 0x4B400000;
        values[k] = (int8_t)bits;
        sum += bits;
    }
    return sum;
}

/* One output channel: its weights go `LKS_INT8_COLUMNS` groups apart. */
static void pack_row(int8_t *column, float *scale, int32_t *sum, const float *w, int d_in)
{
    enum { BLOCK = 256, GROUP = LKS_INT8_GROUP, STEP = LKS_INT8_COLUMNS * LKS_INT8_GROUP };
    float largest = largest_magnitude(w, d_in), inverse = lks_int8_inverse(largest);
    *scale = inverse == 0.0f ? 0.0f : largest / 127.0f;
    *sum = 0;
    for (int k = 0; k < d_in; k += BLOCK) {
        int8_t values[BLOCK];
        int n = d_in - k < BLOCK ? d_in - k : BLOCK;
        *sum += round_row(values, w + k, n, inverse);
        for (int i = n; i % GROUP != 0; i++)
            values[i] = 0;
        for (int i = 0; i < n; i += GROUP, column += STEP)
            memcpy(column, values + i, GROUP);
    }
}

void lks_int8_pack(int8_t *panels, float *scales, int32_t *sums, const float *w, int d_in, int row_begin, int row_end)
{
    size_t panel_bytes = n_groups(d_in) * LKS_INT8_COLUMNS * LKS_INT8_GROUP;
    for (int row = row_begin; row < row_end; row++) {
        int8_t *panel = panels + (size_t)(row / LKS_INT8_COLUMNS) * panel_bytes;
        if (row % LKS_INT8_COLUMNS == 0)
            memset(panel, 0, panel_bytes);
        pack_row(panel + (size_t)(row % LKS_INT8_COLUMNS) * LKS_INT8_GROUP, &scales[row], &sums[row],
                 w + (size_t)(row - row_begin) * (size_t)d_in, d_in);
    }
}

void lks_int8_unpack(float *row, const lks_int8_weights *weights, int d_in, int o)
{
    enum { COLUMNS = LKS_INT8_COLUMNS, GROUP = LKS_INT8_GROUP };
    size_t n_groups = ((size_t)d_in + GROUP - 1) / GROUP;
    const int8_t *panel = weights->panels + (size_t)(o / COLUMNS) * n_groups * COLUMNS * GROUP;
    for (int k = 0; k < d_in; k++) {
        int group = k / GROUP * COLUMNS + o % COLUMNS;
        row[k] = weights->scales[o] * (float)panel[group * GROUP + k % GROUP];
    }
}

lks_int8_row lks_int8_row_of_range(float low, float high, bool finite)
{
    float range = high - low;
    if (!finite || !(range <= FLT_MAX))
        return (lks_int8_row){.scale = NAN};
    if (range < LKS_INT8_SMALLEST)
        return (lks_int8_row){.scale = 0.0f};
    float inverse = 255.0f / range;
    return (lks_int8_row){.scale = range / 255.0f, .inverse = inverse, .zero = (int32_t)lrintf(-low * inverse)};
}
