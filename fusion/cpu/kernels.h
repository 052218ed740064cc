/* Private to fusion/cpu: the tables, and the reference functions that other tables fall back on. */
#ifndef LKS_CPU_KERNELS_H
#define LKS_CPU_KERNELS_H

#include "fusion/ops.h"
#include "fusion/shares.h"

extern const lks_ops lks_ops_ref, lks_ops_avx2, lks_ops_avx_vnni, lks_ops_avx512, lks_ops_avx512_vnni,
    lks_ops_avx512_bf16, lks_ops_neon, lks_ops_neon_dotprod;
const lks_ops *lks_ops_blas(void); /* NULL when OpenBLAS is not installed */

/* What every CPU table has alike: the host's memory, moving rows, and small ops that are not worth kernels. */
#define LKS_HOST_OPS                                                                                                   \
    .arena_open = lks_host_arena_open, .arena_close = lks_host_arena_close, .upload = lks_host_transfer,               \
    .download = lks_host_transfer, .sync = lks_host_sync, .record = lks_host_record, .recorded = lks_host_recorded,    \
    .copy = lks_host_copy, .mean = lks_ref_mean, .add_outer = lks_ref_add_outer,                                       \
    .inverse_deviation = lks_ref_inverse_deviation, .round_bf16 = lks_host_round_bf16,                                 \
    .linear_top = lks_host_linear_top

lks_status lks_host_arena_open(const lks_compute *compute, lks_arena *arena, size_t size, lks_error *err);
void lks_host_arena_close(const lks_compute *compute, lks_arena *arena);
void lks_host_transfer(const lks_compute *compute, void *to, const void *from, size_t n_bytes);
lks_status lks_host_sync(const lks_compute *compute, lks_error *err);
bool lks_host_record(const lks_compute *compute, const int64_t key[4]);
void lks_host_recorded(const lks_compute *compute);
void lks_host_copy(const lks_compute *compute, const lks_copy *copy);
void lks_host_linear_top(const lks_compute *compute, const lks_linear *layer, const lks_top *top, const float *x,
                         int n);
void lks_host_round_bf16(const lks_compute *compute, uint16_t *y, const float *x, size_t n);
void lks_ref_gated(const lks_compute *compute, float *y, const float *x, int n, int d, lks_activation activation);
void lks_ref_mean(const lks_compute *compute, float *y, const float *x, int n, int d);
void lks_ref_add_outer(const lks_compute *compute, float *y, const float *a, const float *b, int n, int d);
void lks_ref_inverse_deviation(const lks_compute *compute, float *y, const float *x, int n, int d, float eps);

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
void lks_ref_embed(const lks_compute *compute, float *y, lks_table table, const int32_t *ids, int n, int d,
                   float scale);
void lks_ref_weigh_bytes(uint8_t *y, const uint8_t *x, size_t stride, const int32_t *weights, int n, size_t d);
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

/* Output o of row i of a linear layer: activation(sum) + residual. */
void lks_ref_put_output(const lks_linear_args *args, int i, long o, double sum);

/* The keys that query i of batch row b sees are 0 .. end - 1, without those that key_mask hides. */
int lks_attention_visible_end(const lks_attention *attention, int b, int i);

/* Where head h of batch row b begins among queries, keys and values, and outputs: elements. */
typedef struct lks_head_offsets {
    int64_t query, kv, out;
} lks_head_offsets;
lks_head_offsets lks_attention_offsets(const lks_attention *attention, int b, int h);

/* Query rows and keys that the fused kernels hold at a time. */
#define LKS_QUERY_BLOCK 24
#define LKS_KEY_BLOCK 640
/* Floats of scratch that attention needs per thread; in int8 it needs less. */
size_t lks_attention_scratch_floats(int n_keys, int d_head);

/* Does `a` come before `b` in a descending list? Equal values keep the order of their indices, NaN comes last. */
bool lks_top_k_precedes(float a, float b);
/* Puts a value into the list of the k best so far, which holds *n. Values come in the order of their indices, k > 0. */
void lks_top_k_insert(float *values, int32_t *indices, int *n, int k, float value, int32_t index);

/* Runs the job on the pool when `work` (vector instructions, about) pays for handing it out, else on the caller alone. Jobs
 * split by lks_threads_share and give the same numbers either way. */
void lks_parallel(const lks_compute *compute, double work, lks_job job, void *argument);

/* Attention on the pool. Of many queries the units of work are whole blocks of a head's queries, as many as possible: heads are cut
 * only where whole ones would give the threads unequal work. */
typedef struct lks_attention_job {
    const lks_attention *attention;
    float *scratch;
    size_t scratch_step; /* floats per thread */
    int chunk, n_chunks; /* queries per unit, units per head */
    lks_shares *shares;
} lks_attention_job;

typedef struct lks_attention_unit {
    int batch, head, first, last; /* queries first .. last - 1 */
    bool same_head;               /* as of the unit that this thread took before */
} lks_attention_unit;
#define LKS_NO_UNIT ((lks_attention_unit){.batch = -1})

/* Runs the part for threads, or for the caller alone, as lks_parallel; its argument is the job, without units. */
void lks_attention_run(const lks_compute *compute, const lks_attention *attention, double work, lks_job part);
/* The same with units, which the part takes. */
void lks_attention_share_out(const lks_compute *compute, const lks_attention *attention, double work, lks_job part);
/* The next unit for this thread, which begins with LKS_NO_UNIT; false: none is left. */
bool lks_attention_take(const lks_attention_job *job, lks_attention_unit *unit, int thread);

#endif
