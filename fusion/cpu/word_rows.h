/* Rows of inputs in scratch memory as the word kernels (int8, bf16) take them, and the functions for layers below f32 of the tables. Private to
 * fusion/cpu. */
#ifndef LKS_CPU_WORD_ROWS_H
#define LKS_CPU_WORD_ROWS_H

#include "fusion/cpu/planes.h"
#include "fusion/ops.h"

enum { LKS_MOST_NORMED = 2048 }; /* inputs of layers that norm them */

/* See lks_ops.linear_fuses. */
bool lks_words_fuse(const lks_linear *layer);

enum { LKS_ROW_CHUNK = 16 }; /* inputs that are converted at a time; rows are padded to whole chunks */

/* 32-bit words from one row to the next, where a group of n_inputs takes n_words. Never a multiple of 1 KiB, or the rows of a
 * tile would fight for few sets of L1. */
size_t lks_row_words(int d_in, int n_inputs, int n_words);

/* Rows that a layer converts at a time. */
int lks_chunk_rows(size_t row_words);

/* Scratch bytes that such layers with up to max_d inputs take at most, whatever the number of rows. */
size_t lks_rows_scratch(int max_d);

/* Rows of inputs of an int8 layer, quantised. */
typedef struct lks_byte_rows {
    uint32_t *words;    /* [n, stride] */
    lks_int8_row *rows; /* [n] */
    size_t stride;      /* lks_row_words(d_in, LKS_INT8_GROUP, n_words) */
} lks_byte_rows;

enum { LKS_EXPANDER_INPUTS = 512 };

/* An int8 layer of up to LKS_EXPANDER_INPUTS inputs in two steps, the outputs in planes. */
typedef struct lks_expander {
    int n_words; /* of a group of inputs */
    /* The rows of x [n, d_in of the layer], on all threads. */
    void (*quantise)(const lks_compute *compute, const lks_linear *layer, const lks_byte_rows *rows, const float *x,
                     int n);
    /* Rows [begin, end) of a map, one panel of outputs: activation(x w^T + bias), from the inputs of its pixels, the first of them at
     * `rows`. Whole vectors are written; a plane's lanes beyond the last output are zero before the activation. */
    void (*expand)(const lks_linear *layer, lks_activation activation, const lks_byte_rows *rows,
                   const lks_planes *planes, int panel, int begin, int end);
} lks_expander;

extern const lks_expander lks_avx2_expander, lks_avx_vnni_expander, lks_avx512_expander, lks_avx512_vnni_expander,
    lks_neon_expander, lks_neon_dotprod_expander;

typedef void lks_linear_function(const lks_compute *compute, const lks_linear *layer, const lks_linear_args *args);

lks_linear_function lks_ref_linear_int8, lks_avx2_linear_int8, lks_avx_vnni_linear_int8, lks_avx512_linear_int8,
    lks_avx512_vnni_linear_int8, lks_neon_linear_int8, lks_neon_dotprod_linear_int8;
lks_linear_function lks_ref_linear_bf16, lks_avx2_linear_bf16, lks_avx512_linear_bf16, lks_avx512_bf16_linear_bf16,
    lks_neon_linear_bf16;
lks_linear_function lks_ref_linear_int4, lks_avx2_linear_int4, lks_avx_vnni_linear_int4, lks_avx512_linear_int4,
    lks_avx512_vnni_linear_int4, lks_neon_linear_int4, lks_neon_dotprod_linear_int4;

typedef bool lks_attention_function(const lks_compute *compute, const lks_attention *attention);

lks_attention_function lks_ref_attention_int8, lks_avx_vnni_attention_int8, lks_avx512_vnni_attention_int8,
    lks_neon_dotprod_attention_int8;

/* n_rounds rounds of multiply-adds in registers, for measuring the peak; returns the number of operations. *sink receives a
 * result so that the work is not optimised away. */
typedef double lks_peak_function(long n_rounds, int32_t *sink);

lks_peak_function lks_ref_run_int8, lks_avx2_run_int8, lks_avx_vnni_run_int8, lks_avx512_run_int8,
    lks_avx512_vnni_run_int8, lks_neon_run_int8, lks_neon_dotprod_run_int8;
lks_peak_function lks_avx512_bf16_run_bf16;

#endif
