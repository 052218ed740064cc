/* lks_linear_top: the best outputs and the log-sum-exp of a wide layer, in every precision, against all of its outputs. */
#include <math.h>

#include "tests/ops/ops_test.h"

typedef struct wide_layer {
    lks_linear layer;
    void *blocks[3];
} wide_layer;

static wide_layer make(const lks_ops *ops, lks_precision precision, const float *w, const float *bias, int d_in,
                       int d_out)
{
    wide_layer l = {.layer = {.d_in = d_in, .d_out = d_out, .bias = bias}};
    size_t n = (size_t)d_out, groups = lks_int4_panel_groups(d_in, d_out);
    switch (precision) {
    case LKS_PRECISION_INT8:
        l.blocks[0] = malloc(lks_int8_panel_bytes(d_in, d_out));
        l.blocks[1] = malloc(n * sizeof(float));
        l.blocks[2] = malloc(n * sizeof(int32_t));
        lks_int8_pack(l.blocks[0], l.blocks[1], l.blocks[2], w, d_in, 0, d_out);
        l.layer.int8 = (lks_int8_weights){l.blocks[0], l.blocks[1], l.blocks[2]};
        break;
    case LKS_PRECISION_INT4:
        l.blocks[0] = malloc(groups * LKS_INT4_GROUP_BYTES);
        l.blocks[1] = malloc(groups * LKS_INT4_COLUMNS * sizeof(uint16_t));
        lks_int4_pack(l.blocks[0], l.blocks[1], w, d_in, 0, d_out);
        l.layer.int4 = (lks_int4_weights){l.blocks[0], l.blocks[1]};
        break;
    case LKS_PRECISION_BF16:
        l.blocks[0] = malloc(lks_bf16_panel_count(d_in, d_out) * sizeof(uint16_t));
        lks_bf16_pack(l.blocks[0], w, d_in, 0, d_out);
        l.layer.bf16.panels = l.blocks[0];
        break;
    case LKS_PRECISION_F32:
    case LKS_PRECISION_AS_STORED:
        l.blocks[0] = constant_floats(ops->linear_packed_count(d_in, d_out), 0);
        ops->linear_pack(l.blocks[0], w, d_in, d_out, 0, d_out);
        l.layer.packed = l.blocks[0];
        break;
    }
    assert_int_equal(lks_linear_precision(&l.layer), precision);
    return l;
}

static void release(wide_layer *l)
{
    for (int i = 0; i < 3; i++)
        free(l->blocks[i]);
}

typedef struct answer {
    float *values, *sums;
    int32_t *indices;
} answer;

static answer ask(lks_isa isa, int n_threads, const lks_linear *layer, const float *x, int n, int k)
{
    bench b;
    bench_open(&b, isa, n_threads);
    answer a = {.values = constant_floats((size_t)n * (size_t)k, 0), .sums = constant_floats((size_t)n, 0)};
    a.indices = calloc((size_t)n * (size_t)k, sizeof *a.indices);
    const lks_top top = {.k = k, .values = a.values, .indices = a.indices, .log_sum_exp = a.sums};
    lks_arena scratch;
    assert_int_equal(lks_arena_init(&scratch, lks_linear_top_scratch(n_threads, n, layer->d_in, layer->d_out, k), NULL),
                     LKS_OK);
    lks_compute compute = b.compute;
    compute.scratch = &scratch;
    lks_linear_top(&compute, layer, &top, x, n);
    assert_int_equal(lks_arena_mark(&scratch), 0);
    lks_arena_release(&scratch);
    bench_close(&b);
    return a;
}

static void forget(answer *a)
{
    free(a->values);
    free(a->sums);
    free(a->indices);
}

static void check(lks_isa isa, lks_precision precision, int n, int d_in, int d_out, int k, bool ties)
{
    bench b;
    bench_open(&b, isa, 1);
    float *w = random_floats((size_t)d_in * (size_t)d_out, 2), *x = random_floats((size_t)n * (size_t)d_in, 1);
    float *bias = ties ? constant_floats((size_t)d_out, 0.25f) : random_floats((size_t)d_out, 3);
    for (int i = 0; ties && i < d_in * d_out; i++)
        w[i] = (float)(i / d_in % 3); /* rows of three kinds */
    wide_layer l = make(b.compute.ops, precision, w, bias, d_in, d_out);
    float *all = constant_floats((size_t)n * (size_t)d_out, 0), *values = constant_floats((size_t)n * (size_t)k, 0);
    int32_t *indices = calloc((size_t)n * (size_t)k, sizeof *indices);
    lks_linear_dense(&b.compute, &l.layer, all, x, n, LKS_ACT_NONE, NULL);
    lks_ops_get(LKS_ISA_REF)->top_k(&b.compute, values, indices, all, n, d_out, k);
    answer one = ask(isa, 1, &l.layer, x, n, k), three = ask(isa, 3, &l.layer, x, n, k);
    assert_same(one.values, values, (size_t)n * (size_t)k, "values");
    assert_memory_equal(one.indices, indices, (size_t)n * (size_t)k * sizeof *indices);
    assert_same(three.values, one.values, (size_t)n * (size_t)k, "values on three threads");
    assert_memory_equal(three.indices, one.indices, (size_t)n * (size_t)k * sizeof *indices);
    assert_same(three.sums, one.sums, (size_t)n, "sums on three threads");
    for (int i = 0; i < n; i++) {
        double max = (double)values[i * k], sum = 0.0;
        for (int o = 0; o < d_out; o++)
            sum += exp((double)all[(size_t)i * (size_t)d_out + (size_t)o] - max);
        assert_true(fabs((double)one.sums[i] - (max + log(sum))) <= 2e-6 * (1.0 + fabs(max)));
    }
    forget(&one);
    forget(&three);
    release(&l);
    free(w);
    free(x);
    free(bias);
    free(all);
    free(values);
    free(indices);
    bench_close(&b);
}

static const lks_precision precisions[] = {LKS_PRECISION_F32, LKS_PRECISION_BF16, LKS_PRECISION_INT8,
                                           LKS_PRECISION_INT4};

static void shapes(void **state)
{
    static const int widths[] = {1, 64, 1000, 1024, 1025, 3200};
    for (size_t p = 0; p < sizeof precisions / sizeof *precisions; p++)
        for (size_t i = 0; i < sizeof widths / sizeof *widths; i++)
            for (int n = 1; n <= 9; n += 4)
                for (int k = 1; k <= 9 && k <= widths[i]; k += 8)
                    check(test_isa(state), precisions[p], n, 65, widths[i], k, false);
    check(test_isa(state), LKS_PRECISION_F32, 2, 7, 2100, 64, false);
}

static void equal_outputs(void **state)
{
    for (size_t p = 0; p < sizeof precisions / sizeof *precisions; p++)
        check(test_isa(state), precisions[p], 2, 33, 2500, 5, true);
}

/* A row of NaN has a log-sum-exp that is not finite; the row beside it is as it was. */
static void not_a_number(void **state)
{
    enum { D_IN = 20, D_OUT = 1100 };
    bench b;
    bench_open(&b, test_isa(state), 1);
    float *w = random_floats(D_IN * D_OUT, 2), *x = random_floats(2 * D_IN, 1);
    wide_layer l = make(b.compute.ops, LKS_PRECISION_INT8, w, NULL, D_IN, D_OUT);
    answer good = ask(test_isa(state), 2, &l.layer, x, 2, 3);
    x[D_IN + 4] = NAN;
    answer bad = ask(test_isa(state), 2, &l.layer, x, 2, 3);
    assert_true(isfinite(good.sums[1]) && !isfinite(bad.sums[1]));
    assert_same(bad.sums, good.sums, 1, "the good row");
    assert_same(bad.values, good.values, 3, "the good row");
    forget(&good);
    forget(&bad);
    release(&l);
    free(w);
    free(x);
    bench_close(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        OPS_TEST(shapes),
        OPS_TEST_ISA(shapes, LKS_ISA_AVX512_VNNI),
        OPS_TEST(equal_outputs),
        OPS_TEST(not_a_number),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
