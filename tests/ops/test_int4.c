/* int4 layers: packing, rounding of inputs, every table within the rounding of f32 sums of the reference, near f32. */
#include <float.h>
#include <math.h>

#include "tests/ops/int8_emulated.h"
#include "tests/ops/ops_test.h"

/* The integers are equal; the sum over groups has three roundings for each, the reference one in all. */
#define TOLERANCE 4e-6

typedef struct layer_case {
    int n, d_in, d_out;
    int extra_stride;
    lks_activation activation;
    bool bias, residual, in_place;
    float scale, offset; /* of the inputs */
} layer_case;

typedef struct packed_layer {
    uint8_t *panels;
    uint16_t *scales;
    float *bias;
    lks_linear layer;
} packed_layer;

static packed_layer pack(const float *w, int d_in, int d_out, bool with_bias)
{
    size_t n = lks_int4_panel_groups(d_in, d_out), n_scales = n * LKS_INT4_COLUMNS;
    packed_layer p = {.panels = malloc(n * LKS_INT4_GROUP_BYTES),
                      .scales = malloc(n_scales * sizeof *p.scales),
                      .bias = random_floats((size_t)d_out, 3)};
    memset(p.panels, 0x55, n * LKS_INT4_GROUP_BYTES);
    memset(p.scales, 0x55, n_scales * sizeof *p.scales);
    int half = d_out / 128 * 64; /* two ranges, as threads would pack them */
    lks_int4_pack(p.panels, p.scales, w, d_in, 0, half);
    lks_int4_pack(p.panels, p.scales, w + (size_t)half * (size_t)d_in, d_in, half, d_out);
    p.layer = (lks_linear){.d_in = d_in, .d_out = d_out, .bias = with_bias ? p.bias : NULL};
    p.layer.int4 = (lks_int4_weights){p.panels, p.scales};
    return p;
}

static void release(packed_layer *p)
{
    free(p->panels);
    free(p->scales);
    free(p->bias);
}

/* Weights come back within half a step of their group, the largest, which may be cut, within two; padding is neutral. */
static void packing(void **state)
{
    (void)state;
    static const int shapes[][2] = {{1, 1}, {9, 70}, {64, 64}, {67, 129}, {3, 200}, {96, 5}};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        int d_in = shapes[i][0], d_out = shapes[i][1];
        float *w = random_floats((size_t)(d_in * d_out), 6), *row = constant_floats((size_t)d_in, 1e30f);
        for (int k = 0; k < d_in; k++)
            w[k] = k % 3 == 0 ? 0.0f : w[k] * 1e-3f;
        packed_layer p = pack(w, d_in, d_out, false);
        assert_int_equal(lks_linear_precision(&p.layer), LKS_PRECISION_INT4);
        for (int o = 0; o < d_out; o++) {
            lks_linear_row(lks_ops_get(LKS_ISA_REF), row, &p.layer, o);
            for (int k = 0; k < d_in; k++) {
                size_t group = (size_t)(o / 64) * lks_int4_groups(d_in) + (size_t)(k / 32);
                float scale = fabsf(lks_bf16_to_float(p.scales[group * 64 + (size_t)(o % 64)]));
                assert_true(fabsf(row[k] - w[o * d_in + k]) <= 2.01f * scale);
            }
        }
        for (size_t o = (size_t)d_out; o < ((size_t)d_out + 63) / 64 * 64; o++)
            for (size_t g = 0; g < lks_int4_groups(d_in); g++)
                assert_int_equal(p.scales[(o / 64 * lks_int4_groups(d_in) + g) * 64 + o % 64], 0);
        free(w);
        free(row);
        release(&p);
    }
}

/* Sixteen steps of a power of two are kept exactly, at the place that the layout says. */
static void layout(void **state)
{
    (void)state;
    float w[2][40] = {{0}};
    for (int k = 0; k < 40; k++)
        w[1][k] = (float)((k * 5) % 16 - 8) * 0.25f;
    packed_layer p = pack(&w[0][0], 40, 2, false);
    for (int k = 0; k < 32; k++) {
        int byte = p.panels[(k % 16 / 4 * 64 + 1) * 4 + k % 4];
        assert_int_equal(k < 16 ? byte & 15 : byte >> 4, (k * 5) % 16);
    }
    assert_true(lks_bf16_to_float(p.scales[1]) == 0.25f);
    float row[40];
    lks_int4_unpack(row, &p.layer.int4, 40, 1);
    for (int k = 0; k < 32; k++)
        assert_true(row[k] == w[1][k]);
    lks_int4_unpack(row, &p.layer.int4, 40, 0);
    for (int k = 0; k < 40; k++)
        assert_true(row[k] == 0.0f);
    release(&p);
}

static void inputs(void **state)
{
    (void)state;
    float x[70];
    for (int k = 0; k < 70; k++)
        x[k] = k < 32 ? (float)(k - 16) * 127.0f / 16.0f : k < 64 ? 0.0f : -2.0f;
    x[40] = INFINITY;
    lks_int4_inputs groups[3];
    lks_int4_round(groups, x, 70);
    int sum = 0;
    for (int k = 0; k < 32; k++) {
        assert_int_equal(groups[0].x[k], (int)lrintf(x[k]));
        sum += groups[0].x[k];
    }
    assert_true(groups[0].scale == 1.0f && groups[0].eight_sums == 8 * sum);
    assert_true(isnan(groups[1].scale));
    for (int k = 0; k < 32; k++)
        assert_int_equal(groups[2].x[k], k < 6 ? -127 : 0);
    assert_float_equal(groups[2].scale, 2.0 / 127, 1e-9);
}

typedef void linear_function(const lks_compute *compute, const lks_linear *layer, const lks_linear_args *args);

/* The output rows with their gaps, which must stay as they were. */
static float *run(const bench *b, linear_function *function, const layer_case *c, const float *w)
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
    function(&compute, &p.layer, &args);
    assert_int_equal(lks_arena_mark(&scratch), 0);
    lks_arena_release(&scratch);
    release(&p);
    free(x);
    free(residual);
    return y;
}

static void check_function(linear_function *function, lks_isa isa, const layer_case *c)
{
    bench ref, two, one;
    bench_open(&two, isa, 2);
    bench_open(&one, isa, 1);
    bench_open(&ref, LKS_ISA_REF, 1);
    float *w = random_floats((size_t)c->d_in * (size_t)c->d_out, 2);
    size_t count = (size_t)c->n * (size_t)(c->d_out + c->extra_stride);
    float *expected = run(&ref, ref.compute.ops->linear_int4, c, w);
    float *actual = run(&two, function, c, w), *single = run(&one, function, c, w);
    char what[128];
    snprintf(what, sizeof what, "n %d, %d -> %d, activation %d", c->n, c->d_in, c->d_out, (int)c->activation);
    assert_close(actual, expected, count, TOLERANCE * (1.0 + fabs((double)c->offset)), what);
    assert_same(actual, single, count, what);
    free(w);
    free(expected);
    free(actual);
    free(single);
    bench_close(&ref);
    bench_close(&two);
    bench_close(&one);
}

/* The state of a test is an instruction set, or EMULATED: the AVX-VNNI kernels with their one special instruction written out,
 * so that they are tested on every machine with AVX2. */
#define EMULATED LKS_ISA_COUNT

static void check(void **state, const layer_case *c)
{
    lks_isa isa = test_isa(state);
    if (isa == EMULATED) {
        if (!emulated_linear_int4 || !lks_isa_available(LKS_ISA_AVX2))
            skip();
        check_function(emulated_linear_int4, LKS_ISA_AVX2, c);
        return;
    }
    const lks_ops *ops = test_ops(isa);
    if (!ops)
        skip();
    check_function(ops->linear_int4, isa, c);
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

/* Beside f32: the error of a sum of d_in products whose weights are rounded to a fifteenth of their range. */
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
    float *actual = run(&b, b.compute.ops->linear_int4, &c, w);
    double squares = 0, size = 0;
    for (int i = 0; i < c.n * c.d_out; i++) {
        squares += ((double)actual[i] - (double)expected[i]) * ((double)actual[i] - (double)expected[i]);
        size += (double)expected[i] * (double)expected[i];
    }
    double share = sqrt(squares / size);
    assert_true(share > 0.01 && share < 0.12);
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
    float *all = run(&b, b.compute.ops->linear_int4, &c, w);
    static const int counts[] = {1, 2, 3, 5, 8, 9, 40, 193};
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        c.n = counts[i];
        float *some = run(&b, b.compute.ops->linear_int4, &c, w);
        assert_same(some, all, (size_t)c.n * (size_t)c.d_out, "rows of a smaller batch");
        free(some);
    }
    free(w);
    free(all);
    bench_close(&b);
}

/* A row of zeros gives the bias; NaN, infinity give NaN in their row and in no other. */
static void strange_rows(void **state)
{
    enum { D_IN = 37, D_OUT = 66 };
    bench b;
    bench_open(&b, test_isa(state), 1);
    float *w = random_floats(D_OUT * D_IN, 2), *y = constant_floats(4 * D_OUT, 0), *x = random_floats(4 * D_IN, 1);
    packed_layer p = pack(w, D_IN, D_OUT, true);
    memset(x, 0, D_IN * sizeof *x);
    x[1 * D_IN + 36] = NAN;
    x[2 * D_IN + 5] = -INFINITY;
    lks_linear_args args = {.n = 4, .x = x, .x_stride = D_IN, .y = y, .y_stride = D_OUT};
    lks_linear_run(&b.compute, &p.layer, &args);
    assert_same(y, p.bias, D_OUT, "a row of zeros");
    for (int i = 1; i < 4; i++)
        for (int o = 0; o < D_OUT; o++)
            assert_int_equal(isnan(y[i * D_OUT + o]) != 0, i < 3);
    release(&p);
    free(w);
    free(x);
    free(y);
    bench_close(&b);
}

#define INT4_TEST(function)                                                                                            \
    OPS_TEST_ISA(function, LKS_ISA_REF), OPS_TEST_ISA(function, LKS_ISA_AVX2),                                         \
        OPS_TEST_ISA(function, LKS_ISA_AVX_VNNI), OPS_TEST_ISA(function, LKS_ISA_AVX512_VNNI),                         \
        OPS_TEST_ISA(function, LKS_ISA_NEON), OPS_TEST_ISA(function, LKS_ISA_NEON_DOTPROD)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(packing),
        cmocka_unit_test(layout),
        cmocka_unit_test(inputs),
        INT4_TEST(shapes),
        INT4_TEST(large),
        INT4_TEST(options),
        INT4_TEST(close_to_f32),
        INT4_TEST(batch_independence),
        INT4_TEST(strange_rows),
        OPS_TEST_ISA(shapes, EMULATED),
        OPS_TEST_ISA(large, EMULATED),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
