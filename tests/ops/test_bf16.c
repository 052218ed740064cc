/* bf16 layers: rounding and packing, every table within the rounding of f32 sums of the reference, near f32. */
#include <float.h>
#include <math.h>

#include "tests/ops/packed_layer.h"

static void pack(lks_linear *layer, const float *w, int half)
{
    const int d_in = layer->d_in, d_out = layer->d_out;
    size_t count = lks_bf16_panel_count(d_in, d_out);
    uint16_t *panels = malloc(count * sizeof *panels);
    assert_non_null(panels);
    memset(panels, 0x55, count * sizeof *panels);
    lks_bf16_pack(panels, w, d_in, 0, half);
    lks_bf16_pack(panels, w + (size_t)half * (size_t)d_in, d_in, half, d_out);
    layer->bf16 = (lks_bf16_weights){panels};
}

static void release(lks_linear *layer)
{
    free((void *)layer->bf16.panels);
}

/* Sums of n products of size 1 have about sqrt(n) roundings of sqrt(n) 2^-24 at most; the reference has one. */
static double tolerance(const layer_case *c)
{
    return (3e-6 + 4e-7 * sqrt(c->d_in)) * (1.0 + (double)c->offset * (double)c->offset);
}

/* Factors are off by 2^-9 at most. */
const packed_format tested_format = {
    .pack = pack, .release = release, .tolerance = tolerance, .least_share = 1e-4, .most_share = 0.004};

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
    if (!ops) {
        skip();
        return;
    }
    static const int shapes[][2] = {{1, 1}, {9, 70}, {64, 64}, {67, 129}, {16, 96}};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        const int d_in = shapes[i][0], d_out = shapes[i][1],
                  n_panels = (d_out + LKS_BF16_COLUMNS - 1) / LKS_BF16_COLUMNS;
        const size_t count = ops->linear_packed_count(d_in, d_out);
        float *w = random_floats((size_t)d_in * (size_t)d_out, 6), *expected = constant_floats(count, 9.0f);
        float *widened = constant_floats(count, 8.0f);
        packed_layer p = layer_pack(w, d_in, d_out, false);
        for (int o = 0; o < d_out; o++)
            lks_bf16_unpack(w + o * d_in, &p.layer.bf16, d_in, o);
        ops->linear_pack(expected, w, d_in, d_out, 0, d_out);
        ops->linear_widen(widened, p.layer.bf16.panels, d_in, 0, n_panels / 2);
        ops->linear_widen(widened, p.layer.bf16.panels, d_in, n_panels / 2, n_panels);
        assert_same(widened, expected, count, "widened");
        layer_release(&p);
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
        float *w = random_floats((size_t)d_in * (size_t)d_out, 6), *row = constant_floats((size_t)d_in, 1e30f);
        packed_layer p = layer_pack(w, d_in, d_out, false);
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
            assert_true((k < d_in && o < d_out) || p.layer.bf16.panels[at] == 0);
        }
        free(w);
        free(row);
        layer_release(&p);
    }
}

/* Inputs and weights of few bits: every sum is exact in any order, so that all tables give the same numbers. */
static void exact_sums(void **state)
{
    enum { N = 11, D_IN = 261, D_OUT = 70 };
    bench b;
    bench_open(&b, test_isa(state), 2);
    float *w = constant_floats(D_OUT * D_IN, 0), *x = constant_floats(N * D_IN, 0);
    uint32_t seed = 9;
    for (int i = 0; i < D_OUT * D_IN; i++)
        w[i] = (float)random_int(&seed, -128, 129);
    for (int i = 0; i < N * D_IN; i++)
        x[i] = (float)random_int(&seed, -128, 129);
    layer_assert_exact(&b, lks_linear_run, w, x, N, D_IN, D_OUT);
    free(w);
    free(x);
    bench_close(&b);
}

static void spoil_three(float *x)
{
    const uint32_t bits = 0x7F800001;
    x[1 * STRANGE_INPUTS + 36] = NAN;
    memcpy(&x[2 * STRANGE_INPUTS + 5], &bits, sizeof bits);
    x[3 * STRANGE_INPUTS + 8] = -INFINITY;
}

static void check_three(const float *y)
{
    for (int o = 0; o < STRANGE_OUTPUTS; o++) {
        assert_true(isnan(y[1 * STRANGE_OUTPUTS + o]) && isnan(y[2 * STRANGE_OUTPUTS + o]));
        assert_true(isinf(y[3 * STRANGE_OUTPUTS + o]) && isfinite(y[4 * STRANGE_OUTPUTS + o]));
    }
}

/* NaN and infinity stay in their row. */
static void strange_rows(void **state)
{
    layer_assert_strange(state, 5, spoil_three, check_three);
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
        BF16_TEST(layer_shapes),
        BF16_TEST(layer_large),
        BF16_TEST(layer_options),
        BF16_TEST(exact_sums),
        BF16_TEST(layer_close_to_f32),
        BF16_TEST(layer_batch_independence),
        BF16_TEST(strange_rows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
