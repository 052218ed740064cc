/* int8 linear layers: packing, row ranges, integers equal in every table, results within rounding of the reference and within
 * quantisation of f32. */
#include <float.h>
#include <math.h>

#include "tests/ops/int8_emulated.h"
#include "tests/ops/packed_layer.h"

static void pack(lks_linear *layer, const float *w, int half)
{
    const int d_in = layer->d_in, d_out = layer->d_out;
    int8_t *panels = malloc(lks_int8_panel_bytes(d_in, d_out));
    float *scales = malloc((size_t)d_out * sizeof *scales);
    int32_t *sums = malloc((size_t)d_out * sizeof *sums);
    assert_true(panels && scales && sums);
    memset(panels, 0x55, lks_int8_panel_bytes(d_in, d_out));
    lks_int8_pack(panels, scales, sums, w, d_in, 0, half);
    lks_int8_pack(panels, scales, sums, w + (size_t)half * (size_t)d_in, d_in, half, d_out);
    layer->int8 = (lks_int8_weights){panels, scales, sums};
}

static void release(lks_linear *layer)
{
    free((void *)layer->int8.panels);
    free((void *)layer->int8.scales);
    free((void *)layer->int8.sums);
}

/* The integers are equal: three roundings of scale, product and bias, and the activations' own bound. */
static double tolerance(const layer_case *c)
{
    (void)c;
    return 3e-6;
}

/* Weights and inputs are off by half a step of their range. */
const packed_format tested_format = {.pack = pack,
                                     .release = release,
                                     .tolerance = tolerance,
                                     .least_share = 1e-4,
                                     .most_share = 0.01,
                                     .emulated = &emulated_linear_int8};

static void unpacking(void **state)
{
    (void)state;
    static const int shapes[][2] = {{1, 1}, {9, 70}, {64, 64}, {67, 129}, {3, 200}};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        int d_in = shapes[i][0], d_out = shapes[i][1];
        float *w = random_floats((size_t)d_in * (size_t)d_out, 6), *row = constant_floats((size_t)d_in, 1e30f);
        packed_layer p = layer_pack(w, d_in, d_out, false);
        for (int o = 0; o < d_out; o++) {
            lks_linear_row(lks_ops_get(LKS_ISA_REF), row, &p.layer, o);
            for (int k = 0; k < d_in; k++)
                assert_true(fabsf(row[k] - w[o * d_in + k]) <= 0.5001f * p.layer.int8.scales[o]);
        }
        free(w);
        free(row);
        layer_release(&p);
    }
}

/* Rows of extremes: with scales of one the outputs are the integer sums themselves, which must agree exactly, and with what a
 * plain sum over the same numbers gives. Saturating arithmetic would not. */
static void exact_integers(void **state)
{
    enum { N = 11, D_IN = 261, D_OUT = 70 };
    bench b;
    linear_function *function = layer_bench_open(&b, test_isa(state), 2);
    float *w = random_floats(D_OUT * D_IN, 7), *x = random_floats(N * D_IN, 8);
    uint32_t seed = 9;
    for (int o = 0; o < D_OUT; o++)
        for (int k = 0; k < D_IN; k++) /* every channel reaches 127, so that its scale is one */
            w[o * D_IN + k] = k == 0 || o % 3 == 0 ? 127.0f
                              : o % 3 == 1         ? -127.0f
                                                   : (float)random_int(&seed, -127, 128);
    for (int i = 0; i < N; i++)
        for (int k = 0; k < D_IN; k++) /* 0..255 after the zero point is added, both ends in every row */
            x[i * D_IN + k] = (float)((k == 0   ? 0
                                       : k == 1 ? 255
                                       : i % 2  ? 255
                                                : random_int(&seed, 0, 256)) -
                                      (i % 4) * 40);
    layer_assert_exact(&b, function, w, x, N, D_IN, D_OUT);
    free(w);
    free(x);
    bench_close(&b);
}

static void spoil_three(float *x)
{
    x[1 * STRANGE_INPUTS + 36] = NAN;
    x[2 * STRANGE_INPUTS + 5] = -INFINITY;
    x[3 * STRANGE_INPUTS + 8] = FLT_MAX;
    x[3 * STRANGE_INPUTS + 9] = -FLT_MAX;
}

static void check_three(const float *y)
{
    for (int i = 1; i < 5; i++)
        for (int o = 0; o < STRANGE_OUTPUTS; o++)
            assert_int_equal(isnan(y[i * STRANGE_OUTPUTS + o]) != 0, i < 4);
}

/* NaN, infinity or a range beyond single precision gives NaN in this row and in no other. */
static void strange_rows(void **state)
{
    layer_assert_strange(state, 5, spoil_three, check_three);
}

/* A layer that norms its inputs gives what LayerNorm and the layer give one after the other, to the last bit. */
static void normed_inputs(void **state)
{
    static const int widths[] = {1, 37, 768, 2048};
    bench b;
    linear_function *function = layer_bench_open(&b, test_isa(state), 2);
    for (size_t s = 0; s < sizeof widths / sizeof *widths; s++) {
        enum { N = 13, D_OUT = 70, GAP = 5 };
        const int d_in = widths[s], stride = d_in + GAP;
        float *w = random_floats(D_OUT * (size_t)d_in, 2), *x = random_floats(N * (size_t)stride, 3);
        float *weight = random_floats((size_t)d_in, 4), *bias = random_floats((size_t)d_in, 5);
        float *normed = constant_floats(N * (size_t)d_in, 0.0f), *expected = constant_floats(N * D_OUT, 0.0f);
        float *y = constant_floats(N * D_OUT, 1e30f);
        packed_layer p = layer_pack(w, d_in, D_OUT, true);
        const lks_norm norm = {weight, s % 2 ? bias : NULL};
        lks_linear_args args = {.n = N, .x = normed, .x_stride = d_in, .y = expected, .y_stride = D_OUT};
        for (int i = 0; i < N; i++)
            b.compute.ops->layer_norm(&b.compute, normed + i * d_in, x + i * stride, 1, d_in, norm.weight, norm.bias,
                                      1e-6f);
        function(&b.compute, &p.layer, &args);
        assert_true(b.compute.ops->linear_fuses(&p.layer));
        args.x = x;
        args.x_stride = stride;
        args.y = y;
        args.norm = &norm;
        args.norm_eps = 1e-6f;
        function(&b.compute, &p.layer, &args);
        assert_same(y, expected, N * D_OUT, "outputs");
        layer_release(&p);
        float *all[] = {w, x, weight, bias, normed, expected, y};
        for (size_t i = 0; i < sizeof all / sizeof *all; i++)
            free(all[i]);
    }
    bench_close(&b);
}

/* Outputs that are rounded are those that are not, rounded. */
static void rounded_outputs(void **state)
{
    static const int widths[] = {1, 37, 768, 2048};
    bench b;
    linear_function *function = layer_bench_open(&b, test_isa(state), 2);
    for (size_t s = 0; s < sizeof widths / sizeof *widths; s++)
        for (int n = 1; n <= 31; n += 15) {
            enum { MOST = 31, D_OUT = 70 };
            const int d_in = widths[s];
            float *w = random_floats(D_OUT * (size_t)d_in, 2), *x = random_floats(MOST * (size_t)d_in, 3);
            float *y = constant_floats(MOST * D_OUT, 0.0f);
            uint16_t rounded[MOST * D_OUT + 1] = {0};
            packed_layer p = layer_pack(w, d_in, D_OUT, true);
            if (n > 2)
                x[2 * d_in] = NAN; /* as the third row of outputs will be */
            lks_linear_args args = {.n = n, .x = x, .x_stride = d_in, .y = y, .y_stride = D_OUT};
            function(&b.compute, &p.layer, &args);
            args.y = NULL;
            args.y_bf16 = rounded;
            function(&b.compute, &p.layer, &args);
            for (int i = 0; i < n * D_OUT; i++)
                assert_int_equal(rounded[i], lks_bf16_from_float(y[i]));
            assert_int_equal(rounded[n * D_OUT], 0);
            layer_release(&p);
            free(w);
            free(x);
            free(y);
        }
    bench_close(&b);
}

static void packing(void **state)
{
    (void)state;
    const float w[3][5] = {{1, -2, 0.5f, 0, 2}, {0, 0, 0, 0, 0}, {-1e-3f, 1e-3f, 0, 2.5e-4f, 0}};
    packed_layer p = layer_pack(&w[0][0], 5, 3, false);
    assert_int_equal(lks_int8_panel_bytes(5, 3), 2 * 64 * 4);
    assert_float_equal(p.layer.int8.scales[0], 2.0f / 127.0f, 1e-9);
    assert_float_equal(p.layer.int8.scales[1], 0.0f, 0);
    static const int expected[3][5] = {{64, -127, 32, 0, 127}, {0, 0, 0, 0, 0}, {-127, 127, 0, 32, 0}};
    for (int o = 0; o < 3; o++) {
        int sum = 0;
        for (int k = 0; k < 5; k++) {
            sum += expected[o][k];
            assert_int_equal(p.layer.int8.panels[(k / 4 * 64 + o) * 4 + k % 4], expected[o][k]);
        }
        assert_int_equal(p.layer.int8.sums[o], sum);
    }
    for (int i = 3 * 4; i < 64 * 4; i++)
        assert_int_equal(p.layer.int8.panels[i], 0);
    layer_release(&p);
}

#define VECTOR_TEST(function)                                                                                          \
    OPS_TEST_ISA(function, LKS_ISA_AVX2), OPS_TEST_ISA(function, LKS_ISA_AVX_VNNI),                                    \
        OPS_TEST_ISA(function, LKS_ISA_AVX512), OPS_TEST_ISA(function, LKS_ISA_AVX512_VNNI),                           \
        OPS_TEST_ISA(function, LKS_ISA_NEON), OPS_TEST_ISA(function, LKS_ISA_NEON_DOTPROD)
#define INT8_TEST(function)                                                                                            \
    OPS_TEST_ISA(function, LKS_ISA_REF), OPS_TEST_ISA(function, LKS_ISA_AVX2),                                         \
        OPS_TEST_ISA(function, LKS_ISA_AVX_VNNI), OPS_TEST_ISA(function, LKS_ISA_AVX512_VNNI),                         \
        OPS_TEST_ISA(function, LKS_ISA_NEON), OPS_TEST_ISA(function, LKS_ISA_NEON_DOTPROD)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(packing),
        cmocka_unit_test(unpacking),
        INT8_TEST(layer_shapes),
        INT8_TEST(layer_large),
        INT8_TEST(layer_options),
        INT8_TEST(exact_integers),
        INT8_TEST(layer_close_to_f32),
        INT8_TEST(layer_batch_independence),
        INT8_TEST(strange_rows),
        VECTOR_TEST(normed_inputs),
        VECTOR_TEST(rounded_outputs),
        OPS_TEST_ISA(layer_shapes, EMULATED),
        OPS_TEST_ISA(layer_large, EMULATED),
        OPS_TEST_ISA(exact_integers, EMULATED),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
