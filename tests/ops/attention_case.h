/* Cases of attention for the tests of every table and device: what they compute, from inputs that the reference can read. */
#ifndef LKS_ATTENTION_CASE_H
#define LKS_ATTENTION_CASE_H

#include "tests/ops/ops_test.h"

typedef struct attention_case {
    lks_attention_kind kind;
    int n_batch, n_heads, n_kv_heads, d_head, n_queries, n_keys; /* n_kv_heads 0: as many as n_heads */
    int query_gap;                                               /* numbers between queries, as in a fused projection */
    bool aligned; /* keys and values as far apart as vector loads want it, where heads are so wide */
    bool lengths, mask, causal, shared_keys;
    bool halves;        /* keys and values in bf16 */
    bool rounded_query; /* queries that bf16 holds exactly */
    int causal_offset, n_prefix;
    float spread; /* of the queries: large values make sharp softmaxes; 0 is 1 */
} attention_case;

enum { ATTENTION_MAX_BATCH = 16 };

/* Inputs, and outputs filled with a number that must not stay. */
typedef struct attention_data {
    attention_case c; /* with its defaults */
    char what[160];
    float *query, *key, *value, *out, *log_sum_exp, *map;
    uint16_t *key_halves, *value_halves;
    uint8_t *mask;
    int32_t index[ATTENTION_MAX_BATCH], lengths[ATTENTION_MAX_BATCH];
    size_t n_query, n_kv, n_mask, n_out, n_rows, n_map; /* n_rows: of log_sum_exp */
    lks_attention attention;
} attention_data;

void attention_open(attention_data *data, const attention_case *of);
void attention_close(attention_data *data);

/* Scores of magnitude s carry an absolute error of some s 2^-22, weights that error as a relative one. */
double attention_tolerance(const attention_data *data);

#endif
