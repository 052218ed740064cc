/* bf16 linear layers: weights and inputs rounded to bfloat16 (8 bits of significand, halves to even), products and sums in f32.
 *
 *     y[i, o] = activation(sum_k bf16(x[i, k]) W[o, k] + bias[o]) + residual[i, o]
 *
 * The product of two such numbers is exact in f32; instruction sets add in other orders, and those that multiply bf16 take numbers
 * below 2^-126 for zero. */
#ifndef LKS_BF16_H
#define LKS_BF16_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define LKS_BF16_COLUMNS 64 /* output channels of a panel */
#define LKS_BF16_GROUP 2    /* inputs whose weights lie side by side */

/* The weights of a layer [d_out, d_in]. The same numbers serve every instruction set and model file. */
typedef struct lks_bf16_weights {
    const uint16_t *panels; /* [ceil(d_out / 64), ceil(d_in / 2), 64, 2], padding zero; NULL: the layer is not bf16 */
} lks_bf16_weights;

/* Numbers in the panels of a layer. */
size_t lks_bf16_panel_count(int d_in, int d_out);

/* Rounds rows [row_begin, row_end) of w; row_begin is a multiple of 64, row_end a multiple of 64 or d_out, and `w` points to the
 * first of them. Panels are those of the whole layer; padding is written too. */
void lks_bf16_pack(uint16_t *panels, const float *w, int d_in, int row_begin, int row_end);

/* row [d_in] = W[o, :]. */
void lks_bf16_unpack(float *row, const lks_bf16_weights *weights, int d_in, int o);

/* out [n] = x rounded. */
void lks_bf16_round(uint16_t *out, const float *x, size_t n);

/* Halves to even; too large numbers become infinity, NaN stays NaN. Without branches, so that compilers make vectors of loops over it. */
static inline uint16_t lks_bf16_from_float(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    const uint32_t nearest = (bits + 0x7FFF + (bits >> 16 & 1)) >> 16, quiet = bits >> 16 | 0x40;
    return (uint16_t)((bits & 0x7FFFFFFF) > 0x7F800000 ? quiet : nearest);
}

float lks_bf16_to_float(uint16_t value);

#endif
