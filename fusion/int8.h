/* int8 linear layers: how weights and activations become small integers, and what comes back.
 *
 *     w[o, k] ~ scale[o] W[o, k]                 W in -127..127, one scale per output channel, symmetric
 *     x[i, k] ~ s[i] (U[i, k] - z[i])            U in 0..255, scale and zero point per row, found when the row arrives
 *     y[i, o] = activation(s[i] scale[o] (sum_k U[i, k] W[o, k] - z[i] sums[o]) + bias[o]) + residual[i, o]
 *
 * The integers of every instruction set are equal, bit for bit; only the last line is in floating point. A row's range always
 * takes in 0, so that zero is exact; a row that holds NaN or infinity gives NaN. Sums fit 32 bits up to LKS_INT8_MAX_INPUTS:
 * 255 x 128 x 65536 < 2^31. */
#ifndef LKS_INT8_H
#define LKS_INT8_H

#include <float.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LKS_INT8_COLUMNS 64 /* output channels of a panel */
#define LKS_INT8_GROUP 4    /* inputs whose weights lie side by side */
#define LKS_INT8_MAX_INPUTS 65536
#define LKS_INT8_SMALLEST 1e-30f /* below this a range counts as zero: 255 / range must not overflow */

/* The weights of a layer [d_out, d_in]. The same bytes serve every instruction set and model file. */
typedef struct lks_int8_weights {
    const int8_t
        *panels; /* [ceil(d_out / 64), ceil(d_in / 4), 64, 4], padding zero, any alignment; NULL: the layer is f32 */
    const float *scales; /* [d_out] */
    const int32_t *sums; /* [d_out]: sum over k of W[o, k] */
} lks_int8_weights;

/* Bytes of the panels of a layer with d_in <= LKS_INT8_MAX_INPUTS. */
size_t lks_int8_panel_bytes(int d_in, int d_out);

/* Quantises rows [row_begin, row_end) of w; row_begin is a multiple of 64, row_end a multiple of 64 or d_out, and `w` points
 * to the first of them. Panels, scales and sums are those of the whole layer; padding is written too. */
void lks_int8_pack(int8_t *panels, float *scales, int32_t *sums, const float *w, int d_in, int row_begin, int row_end);

/* row [d_in] = scale[o] W[o, :]. */
void lks_int8_unpack(float *row, const lks_int8_weights *weights, int d_in, int o);

/* How a row with values in low..high (low <= 0 <= high) is quantised: U = clamp(round(x inverse) + zero, 0, 255), rounding
 * halves to even. A range that is not finite gives scale NaN, inverse and zero 0. */
typedef struct lks_int8_row {
    float scale, inverse;
    int32_t zero;
} lks_int8_row;

lks_int8_row lks_int8_row_of_range(float low, float high, bool finite);

/* What numbers up to `largest` in magnitude are multiplied by to become -127..127: 0 where they are too small or not finite. */
static inline float lks_int8_inverse(float largest)
{
    return largest >= LKS_INT8_SMALLEST && largest <= FLT_MAX ? 127.0f / largest : 0.0f;
}

#endif
