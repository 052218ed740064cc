/* Attention of every table against the reference: 1 to 2000 keys, lengths, masks, causal and prefix visibility, grouped
 * queries, beams that share keys, the linear kind, maps and log-sum-exp, queries that see nothing, threads. */
#include <math.h>

#include "tests/ops/ops_test.h"

/* Scores of magnitude s carry an absolute error of some s 2^-22, weights that error as a relative one. */
#define TOLERANCE(spread) (2e-5 + 1e-6 * (double)(spread))

typedef struct attention_case {
    lks_attention_kind kind;
    int n_batch, n_heads, n_kv_heads, d_head, n_queries, n_keys;
    bool lengths, mask, causal, shared_keys, fused_projection, halves;
    int causal_offset, n_prefix;
    float spread; /* of the queries: large values make sharp softmaxes */
} attention_case;

typedef struct attention_result {
    float *out, *log_sum_exp, *map;
    size_t n_out, n_log_sum_exp, n_map;
} attention_result;

static void release(attention_result *r)
{
    free(r->out);
    free(r->log_sum_exp);
    free(r->map);
}

static attention_result run(const lks_compute *compute, const attention_case *c, bool extras)
{
    int d_query = c->n_heads * c->d_head, d_kv = c->n_kv_heads * c->d_head;
    int64_t query_stride = d_query + (c->fused_projection ? 2 * d_kv : 0), kv_stride = d_kv + 3;
    size_t n_rows = (size_t)c->n_batch * (size_t)c->n_queries, n_heads = (size_t)c->n_heads;
    int n_entries = c->shared_keys ? 2 : c->n_batch;

    float *query = random_floats(n_rows * (size_t)query_stride, 1);
    float *key = random_floats((size_t)n_entries * (size_t)c->n_keys * (size_t)kv_stride, 2);
    float *value = random_floats((size_t)n_entries * (size_t)c->n_keys * (size_t)kv_stride, 3);
    for (size_t i = 0; i < n_rows * (size_t)query_stride; i++)
        query[i] *= c->spread;

    int32_t index[8], lengths[8];
    uint8_t *mask = malloc((size_t)c->n_batch * (size_t)c->n_keys);
    assert_non_null(mask);
    uint32_t seed = 7;
    for (int b = 0; b < c->n_batch; b++) {
        index[b] = (b + 1) % 2;
        lengths[b] = b == 0 ? 0 : random_int(&seed, 1, c->n_keys + 1);
        for (int j = 0; j < c->n_keys; j++)
            mask[b * c->n_keys + j] = b != 1 && random_int(&seed, 0, 3) > 0;
    }
    if (c->mask && !c->shared_keys) { /* what a mask hides may hold anything */
        for (int b = 0; b < c->n_batch; b++)
            for (int j = 0; j < c->n_keys; j++)
                if (!mask[b * c->n_keys + j])
                    value[((int64_t)b * c->n_keys + j) * kv_stride] = NAN;
    }

    size_t n_kv = (size_t)n_entries * (size_t)c->n_keys * (size_t)kv_stride;
    uint16_t *key_halves = malloc(n_kv * sizeof *key_halves), *value_halves = malloc(n_kv * sizeof *value_halves);
    assert_true(key_halves && value_halves);
    lks_bf16_round(key_halves, key, n_kv);
    lks_bf16_round(value_halves, value, n_kv);

    attention_result r = {.n_out = n_rows * (size_t)d_query,
                          .n_log_sum_exp = n_rows * n_heads,
                          .n_map = n_rows * n_heads * (size_t)c->n_keys};
    r.out = constant_floats(r.n_out, 9.0f);
    r.log_sum_exp = constant_floats(r.n_log_sum_exp, 9.0f);
    r.map = constant_floats(r.n_map, 9.0f);
    lks_attention attention = {
        .kind = c->kind,
        .n_batch = c->n_batch,
        .n_heads = c->n_heads,
        .n_kv_heads = c->n_kv_heads,
        .d_head = c->d_head,
        .n_queries = c->n_queries,
        .n_keys = c->n_keys,
        .scale = 1.0f / sqrtf((float)c->d_head),
        .query = query,
        .query_row_stride = query_stride,
        .query_batch_stride = query_stride * c->n_queries,
        .key = c->halves ? NULL : key,
        .value = c->halves ? NULL : value,
        .key_bf16 = c->halves ? key_halves : NULL,
        .value_bf16 = c->halves ? value_halves : NULL,
        .kv_row_stride = kv_stride,
        .kv_batch_stride = kv_stride * c->n_keys,
        .kv_index = c->shared_keys ? index : NULL,
        .key_lengths = c->lengths ? lengths : NULL,
        .key_mask = c->mask ? mask : NULL,
        .causal = c->causal,
        .causal_offset = c->causal_offset,
        .n_prefix = c->n_prefix,
        .out = r.out,
        .out_row_stride = d_query,
        .out_batch_stride = (int64_t)d_query * c->n_queries,
        .log_sum_exp = extras ? r.log_sum_exp : NULL,
        .map = extras ? r.map : NULL,
    };
    compute->ops->attention(compute, &attention);
    free(query);
    free(key);
    free(value);
    free(key_halves);
    free(value_halves);
    free(mask);
    return r;
}

static void check_form(lks_isa isa, attention_case c)
{
    if (c.n_kv_heads == 0)
        c.n_kv_heads = c.n_heads;
    if (c.spread == 0.0f)
        c.spread = 1.0f;
    bench ref, fast, alone;
    bench_open(&fast, isa, 3);
    bench_open(&ref, LKS_ISA_REF, 1);
    bench_open(&alone, isa, 1);
    attention_result expected = run(&ref.compute, &c, true), actual = run(&fast.compute, &c, true);
    attention_result single = run(&alone.compute, &c, true), plain = run(&fast.compute, &c, false);
    char what[160];
    snprintf(what, sizeof what, "batch %d, heads %d/%d, d_head %d, %d queries, %d keys", c.n_batch, c.n_heads,
             c.n_kv_heads, c.d_head, c.n_queries, c.n_keys);
    assert_close(actual.out, expected.out, actual.n_out, TOLERANCE(c.spread), what);
    assert_close(actual.log_sum_exp, expected.log_sum_exp, actual.n_log_sum_exp, TOLERANCE(c.spread), what);
    assert_close(actual.map, expected.map, actual.n_map, TOLERANCE(c.spread), what);
    assert_same(single.out, actual.out, actual.n_out, what);
    assert_same(single.map, actual.map, actual.n_map, what);
    assert_same(plain.out, actual.out, actual.n_out, what);
    release(&expected);
    release(&actual);
    release(&single);
    release(&plain);
    bench_close(&ref);
    bench_close(&fast);
    bench_close(&alone);
}

/* With keys and values as floats, and as bf16 numbers. */
static void check(lks_isa isa, attention_case c)
{
    check_form(isa, c);
    c.halves = true;
    check_form(isa, c);
}

static const int query_counts[] = {1, 3, 8, 9, 25, 70};

static void key_counts(void **state)
{
    static const int counts[] = {1, 2, 7, 8, 15, 16, 17, 63, 64, 65, 255, 256, 257, 577, 2000};
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++)
        for (int q = 1; q <= 13; q += 12)
            check(test_isa(state), (attention_case){.n_batch = 1,
                                                    .n_heads = 2,
                                                    .d_head = 64,
                                                    .n_queries = q,
                                                    .n_keys = counts[i],
                                                    .fused_projection = true,
                                                    .spread = 3});
}

static void head_widths(void **state)
{
    static const int widths[] = {1, 3, 8, 15, 16, 32, 33, 48, 63, 64, 65, 80, 96, 128, 130};
    for (size_t i = 0; i < sizeof widths / sizeof *widths; i++)
        for (int q = 2; q <= 30; q += 28)
            check(test_isa(state),
                  (attention_case){.n_batch = 2, .n_heads = 3, .d_head = widths[i], .n_queries = q, .n_keys = 37});
}

static void visibility(void **state)
{
    for (size_t i = 0; i < sizeof query_counts / sizeof *query_counts; i++) {
        int q = query_counts[i];
        for (int flags = 0; flags < 16; flags++)
            check(test_isa(state), (attention_case){.n_batch = 3,
                                                    .n_heads = 2,
                                                    .d_head = 24,
                                                    .n_queries = q,
                                                    .n_keys = q + 21,
                                                    .lengths = (flags & 1) != 0,
                                                    .mask = (flags & 2) != 0,
                                                    .causal = (flags & 4) != 0,
                                                    .causal_offset = 21,
                                                    .n_prefix = flags & 8 ? 30 : 0});
        check(test_isa(state), (attention_case){.n_batch = 1,
                                                .n_heads = 1,
                                                .d_head = 16,
                                                .n_queries = q,
                                                .n_keys = 40,
                                                .causal = true,
                                                .causal_offset = -5});
    }
}

static void groups_and_beams(void **state)
{
    for (size_t i = 0; i < sizeof query_counts / sizeof *query_counts; i++)
        for (int mask = 0; mask < 2; mask++)
            check(test_isa(state), (attention_case){.n_batch = 5,
                                                    .n_heads = 6,
                                                    .n_kv_heads = 2,
                                                    .d_head = 32,
                                                    .n_queries = query_counts[i],
                                                    .n_keys = 300,
                                                    .shared_keys = true,
                                                    .lengths = true,
                                                    .mask = mask != 0,
                                                    .spread = 8});
}

static void linear_kind(void **state)
{
    for (size_t i = 0; i < sizeof query_counts / sizeof *query_counts; i++)
        check(test_isa(state), (attention_case){.kind = LKS_ATTENTION_LINEAR,
                                                .n_batch = 2,
                                                .n_heads = 2,
                                                .d_head = 20,
                                                .n_queries = query_counts[i],
                                                .n_keys = 33,
                                                .mask = true,
                                                .lengths = true,
                                                .causal = true,
                                                .causal_offset = 3});
}

/* Scores far beyond the range of exp: the running maximum must hold them. */
static void sharp(void **state)
{
    for (int q = 1; q <= 20; q += 19)
        check(test_isa(state),
              (attention_case){.n_batch = 1, .n_heads = 2, .d_head = 64, .n_queries = q, .n_keys = 700, .spread = 400});
}

/* A batch row alone gives the same bits as among others. */
static void batch_independence(void **state)
{
    for (int q = 1; q <= 40; q += 39) {
        bench b;
        bench_open(&b, test_isa(state), 2);
        attention_case c = {
            .n_batch = 4, .n_heads = 3, .n_kv_heads = 3, .d_head = 64, .n_queries = q, .n_keys = 300, .spread = 2};
        attention_result all = run(&b.compute, &c, false);
        c.n_batch = 1;
        attention_result one = run(&b.compute, &c, false);
        assert_same(one.out, all.out, one.n_out, "first batch row");
        release(&all);
        release(&one);
        bench_close(&b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        OPS_TEST(key_counts),  OPS_TEST(head_widths), OPS_TEST(visibility),         OPS_TEST(groups_and_beams),
        OPS_TEST(linear_kind), OPS_TEST(sharp),       OPS_TEST(batch_independence),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
