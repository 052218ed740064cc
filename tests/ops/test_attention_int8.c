/* Attention in int8 of every table that has it against the reference, and that against attention in f32; on emulated instructions, too. */
#include <math.h>

#include "tests/ops/attention_case.h"
#include "tests/ops/int8_emulated.h"

typedef bool attention_function(const lks_compute *compute, const lks_attention *attention);

/* LKS_ISA_AVX2 stands for the kernels of AVX-VNNI with their one special instruction written out: every CPU with AVX2 runs them. */
static attention_function *function_of(lks_isa isa, const bench *b)
{
    return isa == LKS_ISA_AVX2 ? emulated_attention_int8 : b->compute.ops->attention_int8;
}

static void open_case(attention_data *data, const attention_case *c)
{
    attention_open(data, c);
    data->attention.log_sum_exp = data->attention.map = NULL;
}

/* The largest; values are in -1..1. */
static double difference(const attention_data *a, const attention_data *b)
{
    double worst = 0.0;
    for (size_t i = 0; i < a->n_out; i++) {
        assert_true(isfinite(a->out[i]) && isfinite(b->out[i]));
        const double d = fabs((double)a->out[i] - b->out[i]);
        worst = d > worst ? d : worst;
    }
    return worst;
}

static void check(lks_isa isa, attention_case c)
{
    bench ref, fast, alone;
    bench_open(&fast, isa, 3);
    bench_open(&ref, LKS_ISA_REF, 1);
    bench_open(&alone, isa, 1);
    attention_data exact, expected, actual, single;
    open_case(&exact, &c);
    open_case(&expected, &c);
    open_case(&actual, &c);
    open_case(&single, &c);
    ref.compute.ops->attention(&ref.compute, &exact.attention);
    assert_true(ref.compute.ops->attention_int8(&ref.compute, &expected.attention));
    assert_true(function_of(isa, &fast)(&fast.compute, &actual.attention));
    assert_true(function_of(isa, &alone)(&alone.compute, &single.attention));
    /* Weights that exp leaves beside the middle between two integers may become the other one. */
    const double near = 1e-4 + 1e-6 * (double)actual.c.spread;
    if (difference(&actual, &expected) > near)
        fail_msg("%s: %g from the reference", actual.what, difference(&actual, &expected));
    /* Scores of magnitude s are off by some s / 127 / sqrt(d_head), values by 1 / 127. */
    if (difference(&expected, &exact) > 0.012 + 0.005 * (double)actual.c.spread)
        fail_msg("%s: %g from f32", actual.what, difference(&expected, &exact));
    assert_same(single.out, actual.out, actual.n_out, actual.what);
    attention_close(&exact);
    attention_close(&expected);
    attention_close(&actual);
    attention_close(&single);
    bench_close(&ref);
    bench_close(&fast);
    bench_close(&alone);
}

static void key_counts(void **state)
{
    static const int counts[] = {1,  3,  4,  5,  8,  15,  16,  17,  31,  33,  63,
                                 64, 65, 79, 80, 81, 127, 129, 197, 257, 577, 2000};
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++)
        for (int q = 9; q <= 25; q += 16)
            check(test_isa(state), (attention_case){.n_batch = 1,
                                                    .n_heads = 2,
                                                    .d_head = 64,
                                                    .n_queries = q,
                                                    .n_keys = counts[i],
                                                    .query_gap = 2 * 128,
                                                    .spread = 2});
}

static void head_widths(void **state)
{
    static const int widths[] = {1, 3, 4, 8, 15, 16, 17, 24, 32, 33, 48, 63, 64, 65, 72, 80, 96, 112, 127, 128};
    for (size_t i = 0; i < sizeof widths / sizeof *widths; i++)
        for (int q = 10; q <= 55; q += 45)
            check(test_isa(state),
                  (attention_case){
                      .n_batch = 2, .n_heads = 3, .d_head = widths[i], .n_queries = q, .n_keys = 37, .query_gap = 5});
}

static void groups_and_beams(void **state)
{
    check(test_isa(state), (attention_case){.n_batch = 5,
                                            .n_heads = 6,
                                            .n_kv_heads = 2,
                                            .d_head = 32,
                                            .n_queries = 30,
                                            .n_keys = 300,
                                            .shared_keys = true});
}

/* Keys and queries far from zero, as biases make them: what they have in common is not rounded. One key that all see and many that few
 * do: their weights together count. */
static void far_from_zero(void **state)
{
    bench b;
    bench_open(&b, test_isa(state), 2);
    bench ref;
    bench_open(&ref, LKS_ISA_REF, 1);
    attention_data exact, actual;
    const attention_case c = {.n_batch = 1, .n_heads = 2, .d_head = 64, .n_queries = 40, .n_keys = 500};
    open_case(&exact, &c);
    open_case(&actual, &c);
    for (size_t i = 0; i < exact.n_kv; i++) {
        const size_t row = i / (size_t)exact.attention.kv_row_stride;
        exact.key[i] += 20.0f + (row == 0 ? 1.0f : 0.0f);
        exact.value[i] += 3.0f + (row == 0 ? 5.0f : 0.0f);
    }
    for (size_t i = 0; i < exact.n_query; i++)
        exact.query[i] += 1.0f;
    memcpy(actual.key, exact.key, exact.n_kv * sizeof *exact.key);
    memcpy(actual.value, exact.value, exact.n_kv * sizeof *exact.value);
    memcpy(actual.query, exact.query, exact.n_query * sizeof *exact.query);
    ref.compute.ops->attention(&ref.compute, &exact.attention);
    assert_true(function_of(test_isa(state), &b)(&b.compute, &actual.attention));
    const double off = difference(&actual, &exact);
    if (off > 0.03)
        fail_msg("%g from f32", off);
    attention_close(&exact);
    attention_close(&actual);
    bench_close(&ref);
    bench_close(&b);
}

static void not_finite(void **state)
{
    bench b;
    bench_open(&b, test_isa(state), 1);
    const attention_case c = {.n_batch = 1, .n_heads = 3, .d_head = 16, .n_queries = 30, .n_keys = 20};
    for (int which = 0; which < 3; which++) {
        attention_data data;
        open_case(&data, &c);
        float *rows = which == 0 ? data.query : which == 1 ? data.key : data.value;
        rows[5 * (which == 0 ? data.attention.query_row_stride : data.attention.kv_row_stride) + 16] =
            which == 1 ? INFINITY : NAN;
        assert_true(function_of(test_isa(state), &b)(&b.compute, &data.attention));
        for (size_t i = 0; i < data.n_out; i++)
            assert_int_equal(isnan(data.out[i]) != 0, i / 16 % 3 == 1); /* the head that holds it, no other */
        attention_close(&data);
    }
    /* All alike: nothing to round. */
    attention_data data;
    open_case(&data, &c);
    for (size_t i = 0; i < data.n_kv; i++)
        data.key[i] = data.value[i] = 0.25f;
    assert_true(function_of(test_isa(state), &b)(&b.compute, &data.attention));
    for (size_t i = 0; i < data.n_out; i++)
        assert_true(data.out[i] == 0.25f);
    attention_close(&data);
    bench_close(&b);
}

/* What it does not take it leaves alone. */
static void refused(void **state)
{
    bench b;
    bench_open(&b, test_isa(state), 1);
    const attention_case c = {.n_batch = 1, .n_heads = 1, .d_head = 8, .n_queries = 12, .n_keys = 12};
    for (int which = 0; which < 8; which++) {
        attention_data data;
        open_case(&data, &c);
        lks_attention *a = &data.attention;
        if (which == 0)
            a->key_lengths = data.lengths;
        else if (which == 1)
            a->key_mask = data.mask;
        else if (which == 2)
            a->causal = true;
        else if (which == 3)
            a->map = data.map;
        else if (which == 4)
            a->log_sum_exp = data.log_sum_exp;
        else if (which == 5)
            a->n_queries = 8;
        else if (which == 6)
            a->kind = LKS_ATTENTION_LINEAR;
        else
            a->key = a->value = NULL;
        assert_false(function_of(test_isa(state), &b)(&b.compute, a));
        for (size_t i = 0; i < data.n_out; i++)
            assert_true(data.out[i] == 9.0f);
        attention_close(&data);
    }
    bench_close(&b);
}

/* An int8 layer with weights of its own, such that outputs are about as large as inputs. */
static lks_linear int8_layer(lks_arena *arena, int d_in, int d_out, uint32_t seed)
{
    float *w = random_floats((size_t)d_in * (size_t)d_out, seed);
    for (int i = 0; i < d_in * d_out; i++)
        w[i] *= sqrtf(3.0f / (float)d_in);
    int8_t *panels = lks_arena_take(arena, lks_int8_panel_bytes(d_in, d_out), 1);
    float *scales = lks_arena_take(arena, (size_t)d_out, sizeof *scales);
    int32_t *sums = lks_arena_take(arena, (size_t)d_out, sizeof *sums);
    assert_non_null(sums);
    lks_int8_pack(panels, scales, sums, w, d_in, 0, d_out);
    free(w);
    return (lks_linear){.d_in = d_in, .d_out = d_out, .int8 = {panels, scales, sums}};
}

/* A block of int8 layers attends in int8 where its sequences are long, and else as without that. */
static void blocks(void **state)
{
    enum { D = 64, D_MLP = 96, MOST = 80 };
    bench b;
    bench_open(&b, test_isa(state), 2);
    if (!b.compute.ops->attention_int8) {
        bench_close(&b);
        skip();
        return;
    }
    lks_ops without = *b.compute.ops;
    without.attention_int8 = NULL;
    lks_arena arena;
    assert_int_equal(lks_arena_init(&arena, 1 << 20, NULL), LKS_OK);
    float *ones = constant_floats(D, 1.0f), *x = random_floats(MOST * D, 5);
    const lks_block block = {.norm1 = {ones, NULL},
                             .norm2 = {ones, NULL},
                             .qkv = int8_layer(&arena, D, 3 * D, 1),
                             .proj = int8_layer(&arena, D, D, 2),
                             .fc1 = int8_layer(&arena, D, D_MLP, 3),
                             .fc2 = int8_layer(&arena, D_MLP, D, 4),
                             .n_heads = 2,
                             .activation = LKS_ACT_GELU,
                             .eps = 1e-6f};
    for (int n_tokens = 40; n_tokens <= MOST; n_tokens += MOST - 40) {
        float *bytes = random_floats(MOST * D, 5), *floats = random_floats(MOST * D, 5);
        lks_compute exact = b.compute;
        exact.ops = &without;
        lks_block_run(&b.compute, &block, bytes, 1, n_tokens);
        lks_block_run(&exact, &block, floats, 1, n_tokens);
        const size_t n = (size_t)n_tokens * D;
        if (lks_block_attends_int8(b.compute.ops, &block, n_tokens)) {
            double off = 0.0, size = 0.0;
            for (size_t i = 0; i < n; i++) {
                off += pow((double)bytes[i] - floats[i], 2.0);
                size += pow((double)floats[i] - x[i], 2.0);
            }
            assert_true(off > 0.0 && off < size * 1e-3);
        } else {
            assert_true(n_tokens == 40);
            assert_same(bytes, floats, n, "a short sequence");
        }
        free(bytes);
        free(floats);
    }
    free(ones);
    free(x);
    lks_arena_release(&arena);
    bench_close(&b);
}

#define INT8_TEST(function)                                                                                            \
    OPS_TEST_ISA(function, LKS_ISA_REF), OPS_TEST_ISA(function, LKS_ISA_AVX2),                                         \
        OPS_TEST_ISA(function, LKS_ISA_AVX_VNNI), OPS_TEST_ISA(function, LKS_ISA_AVX512_VNNI),                         \
        OPS_TEST_ISA(function, LKS_ISA_NEON_DOTPROD)

int main(void)
{
    const struct CMUnitTest tests[] = {
        INT8_TEST(key_counts), INT8_TEST(head_widths), INT8_TEST(groups_and_beams), INT8_TEST(far_from_zero),
        INT8_TEST(not_finite), INT8_TEST(refused),     INT8_TEST(blocks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
