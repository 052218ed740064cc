/* int4 linear layers: packing of weights, rounding of inputs. See fusion/int4.h. Loops over a group have constant lengths, so that
 * compilers make vectors of them. */
#include "fusion/int4.h"

#include <float.h>
#include <math.h>
#include <string.h>

#include "fusion/bf16.h"
#include "fusion/int8.h"

/* 3 2^22: adding it rounds to an integer, halves to even, and leaves that in the low bits. */
#define ROUNDER 12582912.0f
#define ROUNDER_BITS 0x4B400000

enum { GROUP = LKS_INT4_GROUP, COLUMNS = LKS_INT4_COLUMNS, HALF = GROUP / 2, QUAD = 4 };

size_t lks_int4_groups(int d_in)
{
    return ((size_t)d_in + GROUP - 1) / GROUP;
}

size_t lks_int4_panel_groups(int d_in, int d_out)
{
    return ((size_t)d_out + COLUMNS - 1) / COLUMNS * lks_int4_groups(d_in);
}

static int32_t bits_of(float value)
{
    int32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

/* The bits of the largest magnitude: those of positive numbers sort like integers, NaN and infinity above all others. */
static int32_t largest_bits(const float x[GROUP])
{
    int32_t largest = 0;
    for (int k = 0; k < GROUP; k++) {
        int32_t bits = bits_of(x[k]) & 0x7FFFFFFF;
        largest = bits > largest ? bits : largest;
    }
    return largest;
}

/* q = the group in steps of `scale`; returns the squared error. */
static float quantise(uint8_t q[GROUP], const float w[GROUP], float scale)
{
    float inverse = scale == 0.0f ? 0.0f : 1.0f / scale, error[GROUP], sum = 0.0f;
    for (int k = 0; k < GROUP; k++) {
        int32_t value = bits_of(w[k] * inverse + ROUNDER) - ROUNDER_BITS;
        value = value < -8 ? -8 : value > 7 ? 7 : value;
        float off = (float)value * scale - w[k];
        q[k] = (uint8_t)(value + 8);
        error[k] = off * off;
    }
    for (int k = 0; k < GROUP; k++)
        sum += error[k];
    return sum;
}

/* The scale that serves the group best: the number of largest magnitude becomes -8 of it, or a little less or more. */
static uint16_t choose(uint8_t q[GROUP], const float w[GROUP])
{
    static const float steps[] = {-8.0f, -7.5f, -7.0f, -8.5f, -9.0f, 7.5f, 7.0f};
    float extreme = 0.0f, best = INFINITY;
    for (int k = 0; k < GROUP; k++)
        extreme = fabsf(w[k]) > fabsf(extreme) ? w[k] : extreme;
    memset(q, 8, GROUP);
    uint16_t chosen = 0;
    if (fabsf(extreme) < LKS_INT8_SMALLEST)
        return chosen;
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        uint8_t attempt[GROUP];
        uint16_t scale = lks_bf16_from_float(extreme / steps[i]);
        float error = quantise(attempt, w, lks_bf16_to_float(scale));
        if (error < best) {
            best = error;
            chosen = scale;
            memcpy(q, attempt, sizeof attempt);
        }
    }
    return chosen;
}

void lks_int4_pack(uint8_t *panels, uint16_t *scales, const float *w, int d_in, int row_begin, int row_end)
{
    size_t n_groups = lks_int4_groups(d_in);
    for (int row = row_begin; row < row_end; row++) {
        size_t first = (size_t)(row / COLUMNS) * n_groups, column = (size_t)(row % COLUMNS);
        if (column == 0) {
            memset(panels + first * LKS_INT4_GROUP_BYTES, 0x88, n_groups * LKS_INT4_GROUP_BYTES);
            memset(scales + first * COLUMNS, 0, n_groups * COLUMNS * sizeof *scales);
        }
        const float *source = w + (size_t)(row - row_begin) * (size_t)d_in;
        for (size_t g = 0; g < n_groups; g++) {
            float group[GROUP] = {0};
            uint8_t q[GROUP], *to = panels + (first + g) * LKS_INT4_GROUP_BYTES + column * QUAD;
            size_t left = (size_t)d_in - g * GROUP;
            memcpy(group, source + g * GROUP, (left < GROUP ? left : GROUP) * sizeof *group);
            scales[(first + g) * COLUMNS + column] = choose(q, group);
            for (int k = 0; k < HALF; k++)
                to[k / QUAD * COLUMNS * QUAD + k % QUAD] = (uint8_t)(q[k] | q[k + HALF] << 4);
        }
    }
}

void lks_int4_unpack(float *row, const lks_int4_weights *weights, int d_in, int o)
{
    size_t first = (size_t)(o / COLUMNS) * lks_int4_groups(d_in), column = (size_t)(o % COLUMNS);
    for (int k = 0; k < d_in; k++) {
        size_t g = first + (size_t)(k / GROUP);
        int at = k % HALF, upper = k % GROUP / HALF;
        uint8_t byte = weights->panels[g * LKS_INT4_GROUP_BYTES + (size_t)(at / QUAD * COLUMNS + (int)column) * QUAD +
                                       (size_t)(at % QUAD)];
        int q = upper ? byte >> 4 : byte & 15;
        row[k] = lks_bf16_to_float(weights->scales[g * COLUMNS + column]) * (float)(q - 8);
    }
}

static void round_group(lks_int4_inputs *out, const float x[GROUP])
{
    int32_t bits = largest_bits(x), sum = 0;
    float largest;
    memcpy(&largest, &bits, sizeof largest);
    if (!(largest <= FLT_MAX)) {
        *out = (lks_int4_inputs){.scale = NAN};
        return;
    }
    float inverse = lks_int8_inverse(largest);
    for (int k = 0; k < GROUP; k++) {
        int32_t value = bits_of(x[k] * inverse + ROUNDER) - ROUNDER_BITS;
        out->x[k] = (int8_t)value;
        sum += value;
    }
    out->scale = inverse == 0.0f ? 0.0f : largest / 127.0f;
    out->eight_sums = 8 * sum;
}

void lks_int4_round(lks_int4_inputs *groups, const float *x, int d_in)
{
    int k = 0;
    for (; k + GROUP <= d_in; k += GROUP)
        round_group(groups++, x + k);
    if (k < d_in) {
        float last[GROUP] = {0};
        memcpy(last, x + k, (size_t)(d_in - k) * sizeof *last);
        round_group(groups, last);
    }
}
