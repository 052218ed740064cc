/* Quantised rows in scratch memory, and the int8 functions of the tables. Private to fusion/cpu. */
#ifndef LKS_CPU_INT8_ROWS_H
#define LKS_CPU_INT8_ROWS_H

#include "fusion/ops.h"

enum {
    LKS_INT8_CHUNK = 16,   /* inputs that are quantised at a time; rows are padded to whole chunks */
    LKS_INT8_MAX_WORDS = 2 /* 32-bit words that a group of 4 inputs takes: 1 as bytes, 2 as 16-bit numbers */
};

/* 32-bit words from one row to the next. Never a multiple of 1 KiB, or the rows of a tile would fight for few sets of L1. */
size_t lks_int8_row_words(int d_in, int words_per_group);

/* Rows that a layer quantises at a time. */
int lks_int8_chunk_rows(int d_in);

void lks_ref_linear_int8(const lks_compute *compute, const lks_linear *layer, const lks_linear_args *args);
void lks_avx2_linear_int8(const lks_compute *compute, const lks_linear *layer, const lks_linear_args *args);
void lks_avx_vnni_linear_int8(const lks_compute *compute, const lks_linear *layer, const lks_linear_args *args);
void lks_avx512_vnni_linear_int8(const lks_compute *compute, const lks_linear *layer, const lks_linear_args *args);

/* n_rounds rounds of integer multiply-adds in registers, for measuring the peak; returns the number of operations. *sink
 * receives a result so that the work is not optimised away. */
double lks_ref_run_int8(long n_rounds, int32_t *sink);
double lks_avx2_run_int8(long n_rounds, int32_t *sink);
double lks_avx_vnni_run_int8(long n_rounds, int32_t *sink);
double lks_avx512_vnni_run_int8(long n_rounds, int32_t *sink);

#endif
