/* int4 linear layers: a form to store and decode with, in 4.5 bits a weight. Groups of 32 inputs have scales of their own.
 *
 *     w[o, k] ~ scale[o, g] (Q[o, k] - 8)        Q in 0..15, scale in bf16, g = k / 32
 *     x[i, k] ~ s[i, g] X[i, k]                  X in -127..127, found when the row arrives
 *     y[i, o] = activation(sum_g s[i, g] scale[o, g] (sum_k X[i, k] Q[o, k] - 8 sum_k X[i, k]) + bias[o]) + residual[i, o]
 *
 * The integers of every instruction set are equal, bit for bit; the sum over groups is in f32, in the order of the groups. A group
 * that holds NaN or infinity gives NaN. */
#ifndef LKS_INT4_H
#define LKS_INT4_H

#include <stddef.h>
#include <stdint.h>

#define LKS_INT4_COLUMNS 64 /* output channels of a panel */
#define LKS_INT4_GROUP 32   /* inputs that share a scale */

/* Bytes of the weights of a group, for the channels of a panel: [4][64][4]. Byte [p][c][j] holds Q of input 4 p + j in its lower
 * half and of input 16 + 4 p + j in its upper one. */
#define LKS_INT4_GROUP_BYTES (LKS_INT4_COLUMNS * LKS_INT4_GROUP / 2)

/* The weights of a layer [d_out, d_in]. The same bytes serve every instruction set and model file. Padding is Q = 8, scale 0. */
typedef struct lks_int4_weights {
    const uint8_t
        *panels; /* [ceil(d_out / 64), ceil(d_in / 32), LKS_INT4_GROUP_BYTES], any alignment; NULL: not int4 */
    const uint16_t *scales; /* [ceil(d_out / 64), ceil(d_in / 32), 64] bf16 */
} lks_int4_weights;

/* Groups of a row, groups of all panels. */
size_t lks_int4_groups(int d_in);
size_t lks_int4_panel_groups(int d_in, int d_out);

/* Quantises rows [row_begin, row_end) of w; row_begin is a multiple of 64, row_end a multiple of 64 or d_out, and `w` points
 * to the first of them. Panels and scales are those of the whole layer; padding is written too. Every group gets the scale, among
 * some, with the least squared error. */
void lks_int4_pack(uint8_t *panels, uint16_t *scales, const float *w, int d_in, int row_begin, int row_end);

/* row [d_in] = scale (Q - 8) of output o. */
void lks_int4_unpack(float *row, const lks_int4_weights *weights, int d_in, int o);

/* A group of a row of inputs, ready for the kernels. */
typedef struct lks_int4_inputs {
    int8_t x[LKS_INT4_GROUP];
    float scale;
    int32_t eight_sums; /* 8 sum of x */
} lks_int4_inputs;

/* groups [lks_int4_groups(d_in)] = x [d_in], padded with zeros; rounds halves to even. */
void lks_int4_round(lks_int4_inputs *groups, const float *x, int d_in);

#endif
