/* Linear layers of every table against the reference: shapes, strides, activations, residuals, packing, threads. */
#include "tests/ops/ops_test.h"

#define TOLERANCE 2e-5 /* sums of up to 3072 products in single precision */

typedef struct layer_case {
    int n, d_in, d_out;
    int extra_stride;
    lks_activation activation;
    bool bias, residual, in_place;
    float scale; /* of the inputs: 1 keeps sums in the curved part of the activations */
} layer_case;

static float *pack(const lks_ops *ops, const float *w, int d_in, int d_out)
{
    float *packed = constant_floats(ops->linear_packed_count(d_in, d_out), 1e30f);
    int half = d_out / 128 * 64; /* two ranges, as threads would pack them */
    if (half > 0)
        ops->linear_pack(packed, w, d_in, d_out, 0, half);
    ops->linear_pack(packed, w + (size_t)half * (size_t)d_in, d_in, d_out, half, d_out);
    return packed;
}

/* The output rows with their gaps, which must stay as they were. */
static float *run(const lks_compute *compute, const layer_case *c)
{
    size_t x_stride = (size_t)c->d_in + (size_t)c->extra_stride, y_stride = (size_t)c->d_out + (size_t)c->extra_stride;
    float *x = random_floats((size_t)c->n * x_stride, 1), *w = random_floats((size_t)c->d_in * (size_t)c->d_out, 2);
    float *bias = random_floats((size_t)c->d_out, 3), *y = random_floats((size_t)c->n * y_stride, 4);
    float *residual = random_floats((size_t)c->n * y_stride, 5);
    for (size_t i = 0; i < (size_t)c->n * x_stride; i++)
        x[i] *= c->scale;
    float *packed = pack(compute->ops, w, c->d_in, c->d_out);
    lks_linear layer = {.d_in = c->d_in, .d_out = c->d_out, .packed = packed, .bias = c->bias ? bias : NULL};
    lks_linear_args args = {.n = c->n,
                            .x = x,
                            .x_stride = (int64_t)x_stride,
                            .y = y,
                            .y_stride = (int64_t)y_stride,
                            .activation = c->activation,
                            .residual_stride = (int64_t)y_stride};
    if (c->residual)
        args.residual = c->in_place ? y : residual;
    compute->ops->linear(compute, &layer, &args);
    free(x);
    free(w);
    free(bias);
    free(residual);
    free(packed);
    return y;
}

static void check(lks_isa isa, const layer_case *c)
{
    bench ref, fast, alone;
    bench_open(&fast, isa, 2);
    bench_open(&ref, LKS_ISA_REF, 1);
    bench_open(&alone, isa, 1);
    size_t count = (size_t)c->n * ((size_t)c->d_out + (size_t)c->extra_stride);
    float *expected = run(&ref.compute, c), *actual = run(&fast.compute, c), *single = run(&alone.compute, c);
    char what[128];
    snprintf(what, sizeof what, "n %d, %d -> %d, activation %d", c->n, c->d_in, c->d_out, (int)c->activation);
    assert_close(actual, expected, count, TOLERANCE, what);
    assert_same(actual, single, count, what);
    free(expected);
    free(actual);
    free(single);
    bench_close(&ref);
    bench_close(&fast);
    bench_close(&alone);
}

static void shapes(void **state)
{
    static const int rows[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 63, 65, 197}, widths[] = {1, 7, 63, 64, 65, 130, 321};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        for (size_t j = 0; j < sizeof widths / sizeof *widths; j++)
            for (size_t k = 0; k < sizeof widths / sizeof *widths; k += 2)
                check(test_isa(state),
                      &(layer_case){.n = rows[i], .d_in = widths[j], .d_out = widths[k], .bias = true, .scale = 1});
}

static void large(void **state)
{
    check(test_isa(state), &(layer_case){.n = 577,
                                         .d_in = 384,
                                         .d_out = 200,
                                         .bias = true,
                                         .residual = true,
                                         .in_place = true,
                                         .extra_stride = 3,
                                         .scale = 1});
    check(test_isa(state), &(layer_case){.n = 5, .d_in = 3072, .d_out = 129, .scale = 0.1f});
    check(test_isa(state), &(layer_case){.n = 67, .d_in = 3072, .d_out = 129, .scale = 0.1f, .residual = true});
}

static void options(void **state)
{
    for (int activation = LKS_ACT_NONE; activation <= LKS_ACT_TANH; activation++)
        for (int flags = 0; flags < 8; flags++)
            for (int n = 3; n <= 35; n += 32)
                check(test_isa(state), &(layer_case){.n = n,
                                                     .d_in = 50,
                                                     .d_out = 77,
                                                     .activation = (lks_activation)activation,
                                                     .bias = (flags & 1) != 0,
                                                     .residual = (flags & 2) != 0,
                                                     .in_place = (flags & 4) != 0,
                                                     .extra_stride = 5,
                                                     .scale = 2});
}

/* A row's result must not depend on the rows beside it: captions do not change with the batch. OpenBLAS promises that to
 * rounding only. */
static void batch_independence(void **state)
{
    bench b;
    bench_open(&b, test_isa(state), 3);
    layer_case c = {.n = 300, .d_in = 500, .d_out = 300, .bias = true, .activation = LKS_ACT_GELU, .scale = 0.3f};
    float *all = run(&b.compute, &c);
    static const int counts[] = {1, 2, 3, 5, 8, 9, 40, 193};
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        c.n = counts[i];
        float *some = run(&b.compute, &c);
        size_t count = (size_t)c.n * (size_t)c.d_out;
        if (test_isa(state) == LKS_ISA_BLAS)
            assert_close(some, all, count, TOLERANCE, "rows of a smaller batch");
        else
            assert_same(some, all, count, "rows of a smaller batch");
        free(some);
    }
    free(all);
    bench_close(&b);
}

static void packing_fills(void **state)
{
    bench b;
    bench_open(&b, test_isa(state), 1);
    float *w = constant_floats(70 * 9, 2.0f), *packed = pack(b.compute.ops, w, 9, 70);
    for (size_t i = 0; i < b.compute.ops->linear_packed_count(9, 70); i++)
        assert_true(packed[i] == 2.0f || packed[i] == 0.0f);
    free(w);
    free(packed);
    bench_close(&b);
}

static void unpacking(void **state)
{
    bench b;
    bench_open(&b, test_isa(state), 1);
    static const int shapes[][2] = {{1, 1}, {9, 70}, {64, 64}, {65, 129}, {3, 200}};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        int d_in = shapes[i][0], d_out = shapes[i][1];
        float *w = random_floats((size_t)d_in * (size_t)d_out, 6), *packed = pack(b.compute.ops, w, d_in, d_out);
        float *row = constant_floats((size_t)d_in, 1e30f);
        const lks_linear layer = {.d_in = d_in, .d_out = d_out, .packed = packed};
        for (int o = 0; o < d_out; o++) {
            lks_linear_row(b.compute.ops, row, &layer, o);
            assert_same(row, w + o * d_in, (size_t)d_in, "an unpacked row");
        }
        free(w);
        free(packed);
        free(row);
    }
    bench_close(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        OPS_TEST(shapes),        OPS_TEST(large),     OPS_TEST(options), OPS_TEST(batch_independence),
        OPS_TEST(packing_fills), OPS_TEST(unpacking),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
