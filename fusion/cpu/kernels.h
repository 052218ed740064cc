/* Private to fusion/cpu: the tables, and the reference functions that other tables fall back on. */
#ifndef LKS_CPU_KERNELS_H
#define LKS_CPU_KERNELS_H

#include "fusion/ops.h"

extern const lks_ops lks_ops_ref, lks_ops_avx2, lks_ops_avx_vnni, lks_ops_avx512, lks_ops_avx512_vnni,
    lks_ops_avx512_bf16, lks_ops_neon, lks_ops_neon_dotprod;
const lks_ops *lks_ops_blas(void); /* NULL when OpenBLAS is not installed */

size_t lks_ref_linear_packed_count(int d_in, int d_out);
void lks_ref_linear_pack(float *packed, const float *w, int d_in, int d_out, int column_begin, int column_end);
void lks_ref_linear_unpack(float *row, const float *packed, int d_in, int o);
void lks_ref_linear(const lks_compute *compute, const lks_linear *layer, const lks_linear_args *args);
void lks_ref_attention(const lks_compute *compute, const lks_attention *attention);
void lks_ref_layer_norm(const lks_compute *compute, float *y, const float *x, int n, int d, const float *weight,
                        const float *bias, float eps);
void lks_ref_rms_norm(const lks_compute *compute, float *y, const float *x, int n, int d, const float *weight,
                      float eps);
void lks_ref_conv2d(const lks_compute *compute, const lks_conv2d *conv);
void lks_ref_depthwise_conv2d(const lks_compute *compute, const lks_conv2d *conv);
void lks_ref_embed(const lks_compute *compute, float *y, const float *table, const int32_t *ids, int n, int d,
                   float scale);
void lks_ref_patches(const lks_compute *compute, float *x, const float *image, int height, int width, int patch_height,
                     int patch_width);
void lks_ref_activate(const lks_compute *compute, float *y, const float *x, size_t n, lks_activation activation);
void lks_ref_add_scaled(const lks_compute *compute, float *y, const float *a, const float *b, const float *scale, int n,
                        int d);
void lks_ref_softmax(const lks_compute *compute, float *y, const float *x, int n, int d);
void lks_ref_log_softmax(const lks_compute *compute, float *y, const float *x, int n, int d);
void lks_ref_log_sum_exp(const lks_compute *compute, float *sums, const float *x, int n, int d);
void lks_ref_top_k(const lks_compute *compute, float *values, int32_t *indices, const float *x, int n, int d, int k);

/* n_rounds rounds of multiply-adds in registers, for measuring the peak; returns the number of operations. *sink, a factor
 * below 1 on entry, receives a result so that the work is not optimised away. */
double lks_ref_run_fma(long n_rounds, float *sink);
double lks_avx2_run_fma(long n_rounds, float *sink);
double lks_avx512_run_fma(long n_rounds, float *sink);
double lks_neon_run_fma(long n_rounds, float *sink);

/* activation(x) in double precision, rounded once. */
float lks_ref_activation(float x, lks_activation activation);

/* The keys that query i of batch row b sees are 0 .. end - 1, without those that key_mask hides. */
int lks_attention_visible_end(const lks_attention *attention, int b, int i);

/* Query rows and keys that the fused kernels hold at a time. */
#define LKS_QUERY_BLOCK 24
#define LKS_KEY_BLOCK 320
/* Floats of scratch that attention needs per thread. */
size_t lks_attention_scratch_floats(int n_keys, int d_head);

/* Does `a` come before `b` in a descending list? Equal values keep the order of their indices, NaN comes last. */
bool lks_top_k_precedes(float a, float b);
/* Puts a value into the list of the k best so far, which holds *n. Values come in the order of their indices, k > 0. */
void lks_top_k_insert(float *values, int32_t *indices, int *n, int k, float value, int32_t index);

/* Runs the job on the pool when `work` (about one multiply-add each) pays for waking it, else on the caller alone. Jobs
 * split by lks_threads_share and give the same numbers either way. */
void lks_parallel(const lks_compute *compute, double work, lks_job job, void *argument);

#endif
