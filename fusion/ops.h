/* The ops table: every computation of the engine, one function pointer per op.
 *
 * `ref` fills the whole table with scalar code that defines the meaning; BLAS and the instruction sets override single
 * entries. Everything above this table (vision, text) knows no instruction set. Activations are f32, row-major; images are
 * NHWC. Inputs and outputs may not overlap unless a comment says so. Ops neither allocate nor fail; the caller provides
 * valid shapes. Work is split over compute->threads; results do not depend on the number of threads.
 *
 * The same table may be a GPU's (fusion/device.h). Pointers to activations are then the device's, taken from an arena that
 * `arena_open` made; weights are named by where they are in the model's arenas, which the device has copies of. Ops only queue
 * work, in order; what goes wrong with it is told by the next sync. */
#ifndef LKS_OPS_H
#define LKS_OPS_H

#include <stddef.h>
#include <stdint.h>

#include "fusion/arena.h"
#include "fusion/attention.h"
#include "fusion/bf16.h"
#include "fusion/cpuinfo.h"
#include "fusion/int4.h"
#include "fusion/int8.h"
#include "fusion/tensor.h"
#include "fusion/threads.h"

typedef enum lks_activation {
    LKS_ACT_NONE,
    LKS_ACT_GELU,       /* x Phi(x), erf form (Hendrycks & Gimpel 2016) */
    LKS_ACT_GELU_TANH,  /* 0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))): "gelu_new", "gelu_pytorch_tanh" */
    LKS_ACT_QUICK_GELU, /* x sigmoid(1.702 x) */
    LKS_ACT_RELU,
    LKS_ACT_RELU6,
    LKS_ACT_SILU, /* x sigmoid(x), "swish" */
    LKS_ACT_TANH
} lks_activation;

/* Precision of linear layers; everything else is f32 always. */
typedef enum lks_precision {
    LKS_PRECISION_AS_STORED, /* of a file to be opened: that of the packed layers it holds, else f32 */
    LKS_PRECISION_F32,
    LKS_PRECISION_BF16, /* fusion/bf16.h */
    LKS_PRECISION_INT8, /* fusion/int8.h */
    LKS_PRECISION_INT4  /* fusion/int4.h */
} lks_precision;

/* A linear layer's weights as a backend wants them, in one precision. `packed` is made by ops->linear_pack and belongs to the
 * model. */
typedef struct lks_linear {
    int d_in, d_out;
    const float *packed;   /* ops->linear_packed_count(d_in, d_out) floats, aligned to LKS_ALIGNMENT; NULL: not f32 */
    const float *bias;     /* [d_out] or NULL */
    lks_int8_weights int8; /* panels NULL: not int8 */
    lks_bf16_weights bf16; /* panels NULL: not bf16 */
    lks_int4_weights int4; /* panels NULL: not int4 */
} lks_linear;

/* Rows of numbers that are looked up, where they are stored: f32, f16 or bf16, at any address. On a device f32. */
typedef struct lks_table {
    const void *rows;
    lks_dtype dtype;
} lks_table;

/* Weight and bias of a LayerNorm, each [d]. */
typedef struct lks_norm {
    const float *weight, *bias;
} lks_norm;

/* y = activation(x w^T + bias) + residual.  x [n, d_in]  y [n, d_out]  residual [n, d_out] or NULL (may be y itself). */
typedef struct lks_linear_args {
    int n;
    const float *x;
    int64_t x_stride; /* floats between rows, >= d_in */
    float *y;
    int64_t y_stride;
    lks_activation activation;
    const float *residual;
    int64_t residual_stride;
    /* Of layers that lks_ops.linear_fuses. The rows of x are normalised first, as by layer_norm with norm_eps; NULL: they are not. */
    const lks_norm *norm;
    float norm_eps;
    uint16_t *y_bf16; /* outputs go here, rounded, and not to y; without activation and residual. NULL: they go to y */
} lks_linear_args;

enum { LKS_MAX_FILTER = 15 }; /* the widest kernel of a depthwise convolution */

/* y[h', w', o] = activation( bias[o] + sum x[h' * stride - pad_top + i, w' * stride - pad_left + j, c] weight ),
 * zero padding. x [n, height, width, c_in]  y [n, out_height, out_width, c_out].
 * Dense: weight [c_out, kernel, kernel, c_in]. Depthwise (c_out == c_in): weight [kernel, kernel, c_in]. */
typedef struct lks_conv2d {
    int n, height, width, c_in;
    int out_height, out_width, c_out;
    int kernel, stride, pad_top, pad_left;
    const float *x, *weight, *bias; /* bias [c_out] or NULL */
    lks_activation activation;
    float *y;
} lks_conv2d;

/* A block of MobileNetV2 (Sandler et al. 2018): y = residual + project(depthwise_conv2d(activation(expand(x)))).
 * x [n, height, width, d_in of expand, or c_in]  y, residual [n, out_height, out_width, d_out of project]. */
typedef struct lks_inverted_residual {
    const lks_linear *expand;  /* NULL: x is filtered as it is */
    lks_activation activation; /* of the expansion */
    lks_conv2d conv;           /* depthwise; its x and y are not looked at */
    const lks_linear *project;
    const float *x, *residual; /* residual NULL: none */
    float *y;
} lks_inverted_residual;

/* A layer of a transformer that normalises first (Xiong et al. 2020), on rows x of d numbers:
 *     x = x + scale1 * proj(attention(qkv(norm1(x))))
 *     x = x + scale2 * fc2(hidden),   hidden = activation(fc1(norm2(x))), or see `gated`
 * Attention (Vaswani et al. 2017) is softmax(q k^T / sqrt(d / n_heads)) v per head, and every token sees every other one of its
 * sequence. */
typedef struct lks_block {
    lks_norm norm1, norm2;
    lks_linear qkv, proj, fc1, fc2; /* qkv: d to 3 d, queries, keys and values side by side */
    const float *scale1, *scale2;   /* [d] or NULL: 1 */
    int n_heads;
    bool gated; /* hidden = activation(left half) * right half of fc1(norm2(x)) (Shazeer 2020) */
    lks_activation activation;
    float eps;
} lks_block;

/* The parts of such a layer: projections and MLP with biases, activation and residuals; attention; both norms. */
enum { LKS_BLOCK_LINEAR = 1, LKS_BLOCK_ATTENTION = 2, LKS_BLOCK_NORMS = 4, LKS_BLOCK_ALL = 7 };

/* to[to_index[i], j, :] = from[i, j, :] for rows of d floats, i < n_outer, j < n_inner; the two do not overlap. to_index [n_outer]
 * in the memory of the table; NULL: i. */
typedef struct lks_copy {
    int n_outer, n_inner, d;
    float *to;
    int64_t to_outer, to_inner; /* floats between neighbours */
    const int32_t *to_index;
    const float *from;
    int64_t from_outer, from_inner;
} lks_copy;

enum { LKS_WEIGHT_BITS = 22 }; /* of lks_taps and lks_ops.weigh_bytes */

/* An axis of an image resized: output i is the sum of the inputs first .. first + n - 1 of its tap by its weights, see
 * lks_ops.weigh_bytes. */
typedef struct lks_tap {
    int32_t first, n;
} lks_tap;

typedef struct lks_taps {
    int n, n_most;
    const lks_tap *tap;     /* [n] */
    const int32_t *weights; /* [n, n_most], the first of each row count */
} lks_taps;

/* An image resized in two passes, with bytes between them, and placed among pixels: pixels[top + y, left + x, c] is
 * table[c, byte y, x, c], and table[c, 0] where the result does not lie. All have fewer than 2^31 elements. pixels NULL: no image,
 * nothing is done. */
typedef struct lks_resample {
    const uint8_t *from; /* [n_rows, width, 3] */
    int n_rows, width;
    lks_taps across, down;
    bool down_first;
    uint8_t *between;   /* [n_rows, across.n, 3], or for down_first [down.n, width, 3] */
    const float *table; /* [3, 256] */
    float *pixels;      /* [out_height, out_width, 3] */
    int out_height, out_width, top, left;
} lks_resample;

/* What an op may use beside its arguments. `scratch` is stack-ordered: an op returns it as it found it. */
typedef struct lks_compute {
    const struct lks_ops *ops;
    lks_threads *threads;    /* NULL: the calling thread alone */
    lks_arena *scratch;      /* at least ops->scratch_bytes(...) free; see lks_ops_scratch */
    struct lks_queue *queue; /* of a device, see fusion/device.h; NULL: the CPU */
    bool rounds; /* the model's layers are below f32: a device may round what attention multiplies to bf16, too */
} lks_compute;

struct lks_top;

typedef struct lks_ops {
    lks_isa isa;
    const char *name;
    const struct lks_ops
        *host; /* of a device: the table that computes on the host with weights packed by this one; else NULL */

    /* Memory to compute in: an arena, contents undefined. On a CPU it is the host's memory and transfers are plain copies. The host
     * may change what it uploaded at once, and reads what it downloads after the next sync. */
    lks_status (*arena_open)(const lks_compute *compute, lks_arena *arena, size_t size, lks_error *err);
    void (*arena_close)(const lks_compute *compute, lks_arena *arena);
    void (*upload)(const lks_compute *compute, void *to, const void *host, size_t n_bytes);
    /* n_bytes of the host's memory that a device reads by itself: uploads from there are not copied first, and what was uploaded stays
     * as it is until the call after the next, which gives the same memory again. NULL: there is none left; as an entry: none at all. */
    void *(*stage)(const lks_compute *compute, size_t n_bytes);
    void (*download)(const lks_compute *compute, void *host, const void *from, size_t n_bytes);
    /* Waits for all that was queued; the first failure since the last sync. */
    lks_status (*sync)(const lks_compute *compute, lks_error *err);
    /* Work that comes again with equal arguments: between record and recorded only ops are called. record returns true where the work
     * that was recorded under the same key [4] has been queued again, and the calls are left out. */
    bool (*record)(const lks_compute *compute, const int64_t key[4]);
    void (*recorded)(const lks_compute *compute);

    void (*copy)(const lks_compute *compute, const lks_copy *copy);

    /* Packed weights. w [d_out, d_in] with row stride d_in. Packing writes every float of the packed block (padding zero).
     * linear_pack packs output columns [column_begin, column_end) only, so that threads can share the work; begin is a
     * multiple of 64 and end is a multiple of 64 or d_out. `w` points to the first row of that range. */
    size_t (*linear_packed_count)(int d_in, int d_out);
    void (*linear_pack)(float *packed, const float *w, int d_in, int d_out, int column_begin, int column_end);
    /* row [d_in] = row o of w, as it was before packing. */
    void (*linear_unpack)(float *row, const float *packed, int d_in, int o);
    void (*linear)(const lks_compute *compute, const lks_linear *layer, const lks_linear_args *args);
    /* The same for a layer with int8 weights, with bf16, with int4. */
    void (*linear_int8)(const lks_compute *compute, const lks_linear *layer, const lks_linear_args *args);
    void (*linear_bf16)(const lks_compute *compute, const lks_linear *layer, const lks_linear_args *args);
    void (*linear_int4)(const lks_compute *compute, const lks_linear *layer, const lks_linear_args *args);
    /* Does the layer take args->norm and args->y_bf16? Those do that go through their inputs once more anyway. NULL: none do. */
    bool (*linear_fuses)(const lks_linear *layer);
    /* packed = panels [begin, end) of a layer's bf16 weights, as linear_pack would have it. NULL where products of bf16 are as fast as
     * those of f32. */
    void (*linear_widen)(float *packed, const uint16_t *panels, int d_in, int begin, int end);
    /* lks_linear_rounded without room for exact results; false: these layers are not taken, and nothing is done. NULL: none are. */
    bool (*linear_rounded)(const lks_compute *compute, uint16_t *const *y, const lks_linear *const *layers,
                           int n_layers, const float *x, int n);
    /* See lks_linear_top. */
    void (*linear_top)(const lks_compute *compute, const lks_linear *layer, const struct lks_top *top, const float *x,
                       int n);

    void (*attention)(const lks_compute *compute, const lks_attention *attention);
    /* The same with products of bytes, see lks_attention_int8_takes; false: these are not taken, and nothing is done. NULL: none
     * are. */
    bool (*attention_int8)(const lks_compute *compute, const lks_attention *attention);

    /* y = (x - mean) / sqrt(variance + eps) * weight + bias, per row.  x, y [n, d]; y may be x. bias may be NULL. */
    void (*layer_norm)(const lks_compute *compute, float *y, const float *x, int n, int d, const float *weight,
                       const float *bias, float eps);
    /* y = x / sqrt(mean(x^2) + eps) * weight.  y may be x. */
    void (*rms_norm)(const lks_compute *compute, float *y, const float *x, int n, int d, const float *weight,
                     float eps);

    void (*conv2d)(const lks_compute *compute, const lks_conv2d *conv);
    void (*depthwise_conv2d)(const lks_compute *compute, const lks_conv2d *conv);
    size_t (*depthwise_scratch)(int n_threads, const lks_conv2d *conv); /* that it takes; NULL: none */
    /* lks_inverted_residual_run of those that residual_fits, without room for whole expanded maps, and the scratch that it takes. NULL:
     * step by step only. */
    bool (*residual_fits)(const lks_inverted_residual *args);
    void (*inverted_residual)(const lks_compute *compute, const lks_inverted_residual *args);
    size_t (*residual_scratch)(int n_threads, const lks_inverted_residual *args);

    const struct lks_expander *expander; /* of int8 layers inside them; private to fusion/cpu. NULL: none */

    /* lks_block_run of blocks that block_fits, without room for what lies between the steps, which is rounded as the layers' inputs
     * are. Fewer parts than LKS_BLOCK_ALL are for measuring them: x is then of no use. NULL: step by step only. */
    bool (*block_fits)(const lks_block *block, int n_tokens);
    void (*block)(const lks_compute *compute, const lks_block *block, float *x, int n_batch, int n_tokens,
                  unsigned parts);

    /* y [n, d] = table[ids[i], :] * scale.  ids must be valid rows. */
    void (*embed)(const lks_compute *compute, float *y, lks_table table, const int32_t *ids, int n, int d, float scale);

    /* x [n_patches_y * n_patches_x, patch_height * patch_width * 3] = the patches of image [height, width, 3] in raster
     * order, each row-major NHWC: a convolution with kernel = stride = patch is then one linear layer. */
    void (*patches)(const lks_compute *compute, float *x, const float *image, int height, int width, int patch_height,
                    int patch_width);

    /* y [d] = the weighted sum of n rows of bytes, x [n] `stride` bytes apart; weights have LKS_WEIGHT_BITS fractional bits. Rounded
     * and clamped to 0..255; sums must fit 32 bits. Of a host only. */
    void (*weigh_bytes)(uint8_t *y, const uint8_t *x, size_t stride, const int32_t *weights, int n, size_t d);
    /* n images; args [n] and all that they name are in the memory of the table. NULL: images are resized on the host. */
    void (*resample)(const lks_compute *compute, const lks_resample *args, int n);

    /* y = activation(x), n floats; y may be x. */
    void (*activate)(const lks_compute *compute, float *y, const float *x, size_t n, lks_activation activation);
    /* y = a + scale * b, rows of d floats, scale [d] or NULL (1); y may be a. */
    void (*add_scaled)(const lks_compute *compute, float *y, const float *a, const float *b, const float *scale, int n,
                       int d);

    /* y [n, d] = activation(x[:, 0:d]) * x[:, d:2d]. */
    void (*gated)(const lks_compute *compute, float *y, const float *x, int n, int d, lks_activation activation);
    /* y [d] = the mean of the rows of x [n, d]. */
    void (*mean)(const lks_compute *compute, float *y, const float *x, int n, int d);
    /* y [n, d] += a [n] b [d]^T. */
    void (*add_outer)(const lks_compute *compute, float *y, const float *a, const float *b, int n, int d);
    /* y [n] = 1 / sqrt(variance of row + eps), what layer_norm multiplies x [n, d] by. */
    void (*inverse_deviation)(const lks_compute *compute, float *y, const float *x, int n, int d, float eps);
    /* y [n] = x rounded to bf16, see lks_bf16_round. */
    void (*round_bf16)(const lks_compute *compute, uint16_t *y, const float *x, size_t n);

    /* y = exp(x - max) / sum and y = x - max - log(sum), per row; y may be x. */
    void (*softmax)(const lks_compute *compute, float *y, const float *x, int n, int d);
    void (*log_softmax)(const lks_compute *compute, float *y, const float *x, int n, int d);
    /* sums [n] = log of the sum of exp over each row of x [n, d]. */
    void (*log_sum_exp)(const lks_compute *compute, float *sums, const float *x, int n, int d);
    /* The k largest of each row in descending order, ties by lower index. values, indices [n, k], k <= d; NaN sorts last. */
    void (*top_k)(const lks_compute *compute, float *values, int32_t *indices, const float *x, int n, int d, int k);
} lks_ops;

/* The table for `isa` (LKS_ISA_AUTO: the best available). NULL when the CPU or the build lacks it. Immutable. */
const lks_ops *lks_ops_get(lks_isa isa);

/* Runs a layer in the precision of its weights. */
void lks_linear_run(const lks_compute *compute, const lks_linear *layer, const lks_linear_args *args);

/* The same over rows without gaps: y = act(x w^T + b) + residual.  x [n, d_in]  y, residual [n, d_out]; residual may be NULL,
 * or y itself. */
void lks_linear_dense(const lks_compute *compute, const lks_linear *layer, float *y, const float *x, int n,
                      lks_activation activation, const float *residual);

/* y[i] [n, d_out of it] = what layer i makes of x [n, d_in], rounded to bf16; all have the same d_in. `exact` has room for the floats
 * of any one y. */
void lks_linear_rounded(const lks_compute *compute, uint16_t *const *y, float *exact, const lks_linear *const *layers,
                        int n_layers, const float *x, int n);

/* See lks_inverted_residual. Takes lks_inverted_residual_scratch bytes beside what its layers take (lks_ops_scratch). */
void lks_inverted_residual_run(const lks_compute *compute, const lks_inverted_residual *args);
size_t lks_inverted_residual_scratch(const lks_ops *ops, int n_threads, const lks_inverted_residual *args);

/* x [n_batch, n_tokens, d] = the block of it, each sequence by itself. Takes lks_block_scratch bytes beside what its layers and
 * attention take (lks_ops_scratch). */
void lks_block_run(const lks_compute *compute, const lks_block *block, float *x, int n_batch, int n_tokens);
/* Does that attend in int8 (lks_attention_int8_takes)? Blocks whose layers are do, where the table has it and the sequence is so long
 * that it saves time. */
bool lks_block_attends_int8(const lks_ops *ops, const lks_block *block, int n_tokens);
size_t lks_block_scratch(const lks_ops *ops, const lks_block *block, int n_batch, int n_tokens);

lks_precision lks_linear_precision(const lks_linear *layer);

/* "f32", "bf16", "int8" or "int4"; "auto" for LKS_PRECISION_AS_STORED. */
const char *lks_precision_name(lks_precision precision);
bool lks_precision_parse(lks_precision *precision, const char *name); /* false: unknown name, *precision untouched */

/* Bytes of a layer's weights: what a pass over it reads, without bias. */
double lks_linear_bytes(lks_precision precision, double n_weights);

/* row [d_in] = the weights of output o, in the precision of the layer. */
void lks_linear_row(const lks_ops *ops, float *row, const lks_linear *layer, int o);

/* The k largest outputs of every row, in descending order, ties by lower index, and the log-sum-exp of all: what a search asks of
 * a vocabulary. Outputs are not written anywhere; k <= d_out. */
typedef struct lks_top {
    int k;
    float *values;      /* [n, k] */
    int32_t *indices;   /* [n, k] */
    float *log_sum_exp; /* [n] */
} lks_top;

/* x [n, d_in]. `top` is in the memory of the table. Takes lks_linear_top_scratch bytes. */
void lks_linear_top(const lks_compute *compute, const lks_linear *layer, const lks_top *top, const float *x, int n);
size_t lks_linear_top_scratch(int n_threads, int n, int d_in, int d_out, int k);

/* Room [n] floats for a result that the host wants in `host`: `host` itself on a CPU, else from scratch (NULL when it is full);
 * lks_result_fetch then queues the way to `host`. */
float *lks_result_room(const lks_compute *compute, float *host, size_t n);
void lks_result_fetch(const lks_compute *compute, float *host, const float *room, size_t n);

/* Scratch bytes that any op of any table needs for layers up to these sizes on n_threads threads. max_d: the most
 * inputs of a linear layer. */
size_t lks_ops_scratch(int n_threads, int max_keys, int max_d_head, int max_d);

#endif
