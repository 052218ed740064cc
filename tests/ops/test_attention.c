/* Attention of every table against the reference: 1 to 2000 keys, lengths, masks, causal and prefix visibility, grouped
 * queries, beams that share keys, the linear kind, maps and log-sum-exp, queries that see nothing, threads. */
#include "tests/ops/attention_case.h"

static void run(attention_data *data, const lks_compute *compute, const attention_case *c, bool extras)
{
    attention_open(data, c);
    if (!extras)
        data->attention.log_sum_exp = data->attention.map = NULL;
    compute->ops->attention(compute, &data->attention);
}

static void check_form(lks_isa isa, const attention_case *c)
{
    bench ref, fast, alone;
    bench_open(&fast, isa, 3);
    bench_open(&ref, LKS_ISA_REF, 1);
    bench_open(&alone, isa, 1);
    attention_data expected, actual, single, plain;
    run(&expected, &ref.compute, c, true);
    run(&actual, &fast.compute, c, true);
    run(&single, &alone.compute, c, true);
    run(&plain, &fast.compute, c, false);
    const double tolerance = attention_tolerance(&actual);
    assert_close(actual.out, expected.out, actual.n_out, tolerance, actual.what);
    assert_close(actual.log_sum_exp, expected.log_sum_exp, actual.n_rows, tolerance, actual.what);
    assert_close(actual.map, expected.map, actual.n_map, tolerance, actual.what);
    assert_same(single.out, actual.out, actual.n_out, actual.what);
    assert_same(single.map, actual.map, actual.n_map, actual.what);
    assert_same(plain.out, actual.out, actual.n_out, actual.what);
    attention_close(&expected);
    attention_close(&actual);
    attention_close(&single);
    attention_close(&plain);
    bench_close(&ref);
    bench_close(&fast);
    bench_close(&alone);
}

/* With keys and values as floats, and as bf16 numbers. */
static void check(lks_isa isa, attention_case c)
{
    check_form(isa, &c);
    c.halves = true;
    check_form(isa, &c);
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
                                                    .query_gap = 2 * 128,
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
        attention_case c = {.n_batch = 4, .n_heads = 3, .d_head = 64, .n_queries = q, .n_keys = 300, .spread = 2};
        attention_data all, one;
        run(&all, &b.compute, &c, false);
        c.n_batch = 1;
        run(&one, &b.compute, &c, false);
        assert_same(one.out, all.out, one.n_out, "first batch row");
        attention_close(&all);
        attention_close(&one);
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
