/* bf16 layers: rounding and packing, every table within the rounding of f32 sums of the reference, near f32. */
#include <float.h>
#include <math.h>

#include "tests/ops/ops_test.h"

/* Sums of n products of size 1 have about sqrt(n) roundings of sqrt(n) 2^-24 at most; the reference has one. */
#define TOLERANCE(n) (3e-6 + 4e-7 * sqrt(n))

typedef struct layer_case {
    int n, d_in, d_out;
    int extra_stride;
    lks_activation activation;
    bool bias, residual, in_place;
    float scale, offset; /* of the inputs */
} layer_case;

typedef struct packed_layer {
    uint16_t *panels;
    float *bias;
    lks_linear layer;
} packed_layer;

static packed_layer pack(const float *w, int d_in, int d_out, bool with_bias)
{
    size_t count = lks_bf16_panel_count(d_in, d_out);
    packed_layer p = {.panels = malloc(count * sizeof *p.panels), .bias = random_floats((size_t)d_out, 3)};
    memset(p.panels, 0x55, count * sizeof *p.panels);
    int half = d_out / 128 * 64; /* two ranges, as threads would pack them */
    lks_bf16_pack(p.panels, w, d_in, 0, half);
    lks_bf16_pack(p.panels, w + (size_t)half * (size_t)d_in, d_in, half, d_out);
    p.layer = (lks_linear){.d_in = d_in, .d_out = d_out, .bias = with_bias ? p.bias : NULL};
    p.layer.bf16 = (lks_bf16_weights){p.panels};
    return p;
}

static void release(packed_layer *p)
{
    free(p->panels);
    free(p->bias);
}

static void rounding(void **state)
{
    (void)state;
    const struct {
        float from, to;
    } cases[] = {{0, 0},
                 {1, 1},
                 {-1.00390625f, -1}, /* halfway: to the even one */
                 {1.01171875f, 1.015625f},
                 {1.00390637f, 1.0078125f},
                 {3.38953139e38f, 3.38953139e38f},
                 {FLT_MAX, INFINITY},
                 {-INFINITY, -INFINITY},
                 {1e-40f, 1.00101e-40f}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        float got = lks_bf16_to_float(lks_bf16_from_float(cases[i].from));
        if (!(got == cases[i].to || fabsf(got - cases[i].to) < 1e-41f))
            fail_msg("%g becomes %g, should be %g", (double)cases[i].from, (double)got, (double)cases[i].to);
    }
    assert_true(isnan(lks_bf16_to_float(lks_bf16_from_float(NAN))));
    uint32_t bits = 0x7F800001; /* a NaN whose upper half alone is infinity */
    float quiet;
    memcpy(&quiet, &bits, sizeof quiet);
    assert_true(isnan(lks_bf16_to_float(lks_bf16_from_float(quiet))));
}

/* Widened weights are those of the layer, packed as f32 ones are. */
static void widening(void **state)
{
    const lks_ops *ops = test_ops(test_isa(state));
    if (!ops)
        skip();
    static const int shapes[][2] = {{1, 1}, {9, 70}, {64, 64}, {67, 129}, {16, 96}};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        const int d_in = shapes[i][0], d_out = shapes[i][1],
                  n_panels = (d_out + LKS_BF16_COLUMNS - 1) / LKS_BF16_COLUMNS;
        const size_t count = ops->linear_packed_count(d_in, d_out);
        float *w = random_floats((size_t)(d_in * d_out), 6), *expected = constant_floats(count, 9.0f);
        float *widened = constant_floats(count, 8.0f);
        packed_layer p = pack(w, d_in, d_out, false);
        for (int o = 0; o < d_out; o++)
            lks_bf16_unpack(w + o * d_in, &p.layer.bf16, d_in, o);
        ops->linear_pack(expected, w, d_in, d_out, 0, d_out);
        ops->linear_widen(widened, p.panels, d_in, 0, n_panels / 2);
        ops->linear_widen(widened, p.panels, d_in, n_panels / 2, n_panels);
        assert_same(widened, expected, count, "widened");
        release(&p);
        free(w);
        free(expected);
        free(widened);
    }
}

static void unpacking(void **state)
{
    (void)state;
    static const int shapes[][2] = {{1, 1}, {9, 70}, {64, 64}, {67, 129}, {3, 200}, {513, 3}};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        int d_in = shapes[i][0], d_out = shapes[i][1];
        float *w = random_floats((size_t)(d_in * d_out), 6), *row = constant_floats((size_t)d_in, 1e30f);
        packed_layer p = pack(w, d_in, d_out, false);
        assert_int_equal(lks_linear_precision(&p.layer), LKS_PRECISION_BF16);
        for (int o = 0; o < d_out; o++) {
            lks_linear_row(lks_ops_get(LKS_ISA_REF), row, &p.layer, o);
            for (int k = 0; k < d_in; k++)
                assert_true(row[k] == lks_bf16_to_float(lks_bf16_from_float(w[o * d_in + k])));
        }
        int n_pairs = (d_in + 1) / 2;
        for (size_t at = 0; at < lks_bf16_panel_count(d_in, d_out); at++) { /* padding is zero */
            int k = (int)(at / 128) % n_pairs * 2 + (int)(at % 2),
                o = (int)(at / 128) / n_pairs * 64 + (int)(at % 128) / 2;
            assert_true((k < d_in && o < d_out) || p.panels[at] == 0);
        }
        free(w);
        free(row);
        release(&p);
    }
}

/* The output rows with their gaps, which must stay as they were. */
static float *run(const bench *b, const layer_case *c, const float *w)
{
    size_t x_stride = (size_t)(c->d_in + c->extra_stride), y_stride = (size_t)(c->d_out + c->extra_stride);
    float *x = random_floats((size_t)c->n * x_stride, 1), *y = random_floats((size_t)c->n * y_stride, 4);
    float *residual = random_floats((size_t)c->n * y_stride, 5);
    for (size_t i = 0; i < (size_t)c->n * x_stride; i++)
        x[i] = x[i] * c->scale + c->offset;
    packed_layer p = pack(w, c->d_in, c->d_out, c->bias);
    lks_linear_args args = {.n = c->n,
                            .x = x,
                            .x_stride = (int64_t)x_stride,
                            .y = y,
                            .y_stride = (int64_t)y_stride,
                            .activation = c->activation,
                            .residual_stride = (int64_t)y_stride};
    if (c->residual)
        args.residual = c->in_place ? y : residual;
    lks_arena scratch;
    assert_int_equal(lks_arena_init(&scratch, lks_ops_scratch(1, 1, 1, c->d_in), NULL), LKS_OK);
    lks_compute compute = b->compute;
    compute.scratch = &scratch;
    lks_linear_run(&compute, &p.layer, &args);
    assert_int_equal(lks_arena_mark(&scratch), 0);
    lks_arena_release(&scratch);
    release(&p);
    free(x);
    free(residual);
    return y;
}

static void check(void **state, const layer_case *c)
{
    lks_isa isa = test_isa(state);
    bench ref, two, one;
    bench_open(&two, isa, 2);
    bench_open(&one, isa, 1);
    bench_open(&ref, LKS_ISA_REF, 1);
    float *w = random_floats((size_t)c->d_in * (size_t)c->d_out, 2);
    size_t count = (size_t)c->n * (size_t)(c->d_out + c->extra_stride);
    float *expected = run(&ref, c, w), *actual = run(&two, c, w), *single = run(&one, c, w);
    char what[128];
    snprintf(what, sizeof what, "n %d, %d -> %d, activation %d", c->n, c->d_in, c->d_out, (int)c->activation);
    assert_close(actual, expected, count, TOLERANCE(c->d_in) * (1.0 + (double)c->offset * (double)c->offset), what);
    assert_same(actual, single, count, what);
    free(w);
    free(expected);
    free(actual);
    free(single);
    bench_close(&ref);
    bench_close(&two);
    bench_close(&one);
}

static void shapes(void **state)
{
    static const int rows[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 65, 197}, widths[] = {1, 3, 7, 63, 64, 65, 130, 321};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        for (size_t j = 0; j < sizeof widths / sizeof *widths; j++)
            for (size_t k = 0; k < sizeof widths / sizeof *widths; k += 2)
                check(state,
                      &(layer_case){.n = rows[i], .d_in = widths[j], .d_out = widths[k], .bias = true, .scale = 1});
}

static void large(void **state)
{
    check(state, &(layer_case){.n = 577,
                               .d_in = 384,
                               .d_out = 200,
                               .bias = true,
                               .residual = true,
                               .in_place = true,
                               .extra_stride = 3,
                               .scale = 1});
    check(state, &(layer_case){.n = 5, .d_in = 3072, .d_out = 129, .scale = 0.1f, .offset = 1});
    check(state, &(layer_case){.n = 67, .d_in = 3072, .d_out = 129, .scale = 0.1f, .offset = -7, .residual = true});
    check(state, &(layer_case){.n = 1600, .d_in = 700, .d_out = 65, .bias = true, .residual = true, .scale = 1});
    check(state, &(layer_case){.n = 67, .d_in = 1030, .d_out = 64, .scale = 1e-20f});
}

static void options(void **state)
{
    for (int activation = LKS_ACT_NONE; activation <= LKS_ACT_TANH; activation++)
        for (int flags = 0; flags < 8; flags++)
            for (int n = 3; n <= 35; n += 32)
                check(state, &(layer_case){.n = n,
                                           .d_in = 50,
                                           .d_out = 77,
                                           .activation = (lks_activation)activation,
                                           .bias = (flags & 1) != 0,
                                           .residual = (flags & 2) != 0,
                                           .in_place = (flags & 4) != 0,
                                           .extra_stride = 5,
                                           .scale = 0.5f});
}

/* Inputs and weights of few bits: every sum is exact in any order, so that all tables give the same numbers. */
static void exact_sums(void **state)
{
    enum { N = 11, D_IN = 261, D_OUT = 70 };
    bench b;
    bench_open(&b, test_isa(state), 2);
    float *w = constant_floats(D_OUT * D_IN, 0), *x = constant_floats(N * D_IN, 0), *y = constant_floats(N * D_OUT, 0);
    uint32_t seed = 9;
    for (int i = 0; i < D_OUT * D_IN; i++)
        w[i] = (float)random_int(&seed, -128, 129);
    for (int i = 0; i < N * D_IN; i++)
        x[i] = (float)random_int(&seed, -128, 129);
    packed_layer p = pack(w, D_IN, D_OUT, false);
    lks_linear_args args = {.n = N, .x = x, .x_stride = D_IN, .y = y, .y_stride = D_OUT};
    lks_linear_run(&b.compute, &p.layer, &args);
    for (int i = 0; i < N; i++)
        for (int o = 0; o < D_OUT; o++) {
            double sum = 0;
            for (int k = 0; k < D_IN; k++)
                sum += (double)x[i * D_IN + k] * (double)w[o * D_IN + k];
            assert_true((double)y[i * D_OUT + o] == sum);
        }
    release(&p);
    free(w);
    free(x);
    free(y);
    bench_close(&b);
}

/* Beside f32: the error of a sum of d_in products whose factors are off by 2^-9 at most. */
static void close_to_f32(void **state)
{
    layer_case c = {.n = 40, .d_in = 512, .d_out = 96, .bias = true, .scale = 1};
    bench b, ref;
    bench_open(&b, test_isa(state), 1);
    bench_open(&ref, LKS_ISA_REF, 1);
    float *w = random_floats((size_t)c.d_in * (size_t)c.d_out, 2), *x = random_floats((size_t)c.n * (size_t)c.d_in, 1);
    float *bias = random_floats((size_t)c.d_out, 3), *expected = constant_floats((size_t)c.n * (size_t)c.d_out, 0);
    lks_linear layer = {.d_in = c.d_in, .d_out = c.d_out, .packed = w, .bias = bias};
    lks_linear_args args = {.n = c.n, .x = x, .x_stride = c.d_in, .y = expected, .y_stride = c.d_out};
    lks_linear_run(&ref.compute, &layer, &args);
    float *actual = run(&b, &c, w);
    double squares = 0, size = 0;
    for (int i = 0; i < c.n * c.d_out; i++) {
        squares += ((double)actual[i] - (double)expected[i]) * ((double)actual[i] - (double)expected[i]);
        size += (double)expected[i] * (double)expected[i];
    }
    double share = sqrt(squares / size);
    assert_true(share > 1e-4 && share < 0.004);
    free(w);
    free(x);
    free(bias);
    free(expected);
    free(actual);
    bench_close(&b);
    bench_close(&ref);
}

static void batch_independence(void **state)
{
    bench b;
    bench_open(&b, test_isa(state), 3);
    layer_case c = {.n = 300, .d_in = 500, .d_out = 300, .bias = true, .activation = LKS_ACT_GELU, .scale = 0.3f};
    float *w = random_floats((size_t)c.d_in * (size_t)c.d_out, 2);
    float *all = run(&b, &c, w);
    static const int counts[] = {1, 2, 3, 5, 8, 9, 40, 193};
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        c.n = counts[i];
        float *some = run(&b, &c, w);
        assert_same(some, all, (size_t)c.n * (size_t)c.d_out, "rows of a smaller batch");
        free(some);
    }
    free(w);
    free(all);
    bench_close(&b);
}

/* A row of zeros gives the bias; NaN and infinity stay in their row. */
static void strange_rows(void **state)
{
    enum { D_IN = 37, D_OUT = 66 };
    bench b;
    bench_open(&b, test_isa(state), 1);
    float *w = random_floats(D_OUT * D_IN, 2), *y = constant_floats(5 * D_OUT, 0), *x = random_floats(5 * D_IN, 1);
    packed_layer p = pack(w, D_IN, D_OUT, true);
    memset(x, 0, D_IN * sizeof *x);
    x[1 * D_IN + 36] = NAN;
    uint32_t bits = 0x7F800001;
    memcpy(&x[2 * D_IN + 5], &bits, sizeof bits);
    x[3 * D_IN + 8] = -INFINITY;
    lks_linear_args args = {.n = 5, .x = x, .x_stride = D_IN, .y = y, .y_stride = D_OUT};
    lks_linear_run(&b.compute, &p.layer, &args);
    assert_same(y, p.bias, D_OUT, "a row of zeros");
    for (int o = 0; o < D_OUT; o++) {
        assert_true(isnan(y[1 * D_OUT + o]) && isnan(y[2 * D_OUT + o]));
        assert_true(isinf(y[3 * D_OUT + o]) && isfinite(y[4 * D_OUT + o]));
    }
    release(&p);
    free(w);
    free(x);
    free(y);
    bench_close(&b);
}

#define BF16_TEST(function)                                                                                            \
    OPS_TEST_ISA(function, LKS_ISA_REF), OPS_TEST_ISA(function, LKS_ISA_AVX2), OPS_TEST_ISA(function, LKS_ISA_AVX512), \
        OPS_TEST_ISA(function, LKS_ISA_AVX512_BF16), OPS_TEST_ISA(function, LKS_ISA_NEON)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rounding),
        cmocka_unit_test(unpacking),
        OPS_TEST_ISA(widening, LKS_ISA_AVX2),
        OPS_TEST_ISA(widening, LKS_ISA_AVX512),
        OPS_TEST_ISA(widening, LKS_ISA_NEON),
        BF16_TEST(shapes),
        BF16_TEST(large),
        BF16_TEST(options),
        BF16_TEST(exact_sums),
        BF16_TEST(close_to_f32),
        BF16_TEST(batch_independence),
        BF16_TEST(strange_rows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
