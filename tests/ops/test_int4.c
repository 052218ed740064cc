/* int4 layers: packing, rounding of inputs, every table within the rounding of f32 sums of the reference, near f32. */
#include <math.h>

#include "tests/ops/int8_emulated.h"
#include "tests/ops/packed_layer.h"

static void pack(lks_linear *layer, const float *w, int half)
{
    const int d_in = layer->d_in, d_out = layer->d_out;
    size_t n = lks_int4_panel_groups(d_in, d_out), n_scales = n * LKS_INT4_COLUMNS;
    uint8_t *panels = malloc(n * LKS_INT4_GROUP_BYTES);
    uint16_t *scales = malloc(n_scales * sizeof *scales);
    assert_true(panels && scales);
    memset(panels, 0x55, n * LKS_INT4_GROUP_BYTES);
    memset(scales, 0x55, n_scales * sizeof *scales);
    lks_int4_pack(panels, scales, w, d_in, 0, half);
    lks_int4_pack(panels, scales, w + (size_t)half * (size_t)d_in, d_in, half, d_out);
    layer->int4 = (lks_int4_weights){panels, scales};
}

static void release(lks_linear *layer)
{
    free((void *)layer->int4.panels);
    free((void *)layer->int4.scales);
}

/* The integers are equal; the sum over groups has three roundings for each, the reference one in all. */
static double tolerance(const layer_case *c)
{
    return 4e-6 * (1.0 + fabs((double)c->offset));
}

/* Weights are rounded to a fifteenth of their range. */
const packed_format tested_format = {.pack = pack,
                                     .release = release,
                                     .tolerance = tolerance,
                                     .least_share = 0.01,
                                     .most_share = 0.12,
                                     .emulated = &emulated_linear_int4};

/* Weights come back within half a step of their group, the largest, which may be cut, within two; padding is neutral. */
static void packing(void **state)
{
    (void)state;
    static const int shapes[][2] = {{1, 1}, {9, 70}, {64, 64}, {67, 129}, {3, 200}, {96, 5}};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        int d_in = shapes[i][0], d_out = shapes[i][1];
        float *w = random_floats((size_t)d_in * (size_t)d_out, 6), *row = constant_floats((size_t)d_in, 1e30f);
        for (int k = 0; k < d_in; k++)
            w[k] = k % 3 == 0 ? 0.0f : w[k] * 1e-3f;
        packed_layer p = layer_pack(w, d_in, d_out, false);
        assert_int_equal(lks_linear_precision(&p.layer), LKS_PRECISION_INT4);
        for (int o = 0; o < d_out; o++) {
            lks_linear_row(lks_ops_get(LKS_ISA_REF), row, &p.layer, o);
            for (int k = 0; k < d_in; k++) {
                size_t group = (size_t)(o / 64) * lks_int4_groups(d_in) + (size_t)(k / 32);
                float scale = fabsf(lks_bf16_to_float(p.layer.int4.scales[group * 64 + (size_t)(o % 64)]));
                assert_true(fabsf(row[k] - w[o * d_in + k]) <= 2.01f * scale);
            }
        }
        for (size_t o = (size_t)d_out; o < ((size_t)d_out + 63) / 64 * 64; o++)
            for (size_t g = 0; g < lks_int4_groups(d_in); g++)
                assert_int_equal(p.layer.int4.scales[(o / 64 * lks_int4_groups(d_in) + g) * 64 + o % 64], 0);
        free(w);
        free(row);
        layer_release(&p);
    }
}

/* Sixteen steps of a power of two are kept exactly, at the place that the layout says. */
static void layout(void **state)
{
    (void)state;
    float w[2][40] = {{0}};
    for (int k = 0; k < 40; k++)
        w[1][k] = (float)((k * 5) % 16 - 8) * 0.25f;
    packed_layer p = layer_pack(&w[0][0], 40, 2, false);
    for (int k = 0; k < 32; k++) {
        int byte = p.layer.int4.panels[(k % 16 / 4 * 64 + 1) * 4 + k % 4];
        assert_int_equal(k < 16 ? byte & 15 : byte >> 4, (k * 5) % 16);
    }
    assert_true(lks_bf16_to_float(p.layer.int4.scales[1]) == 0.25f);
    float row[40];
    lks_int4_unpack(row, &p.layer.int4, 40, 1);
    for (int k = 0; k < 32; k++)
        assert_true(row[k] == w[1][k]);
    lks_int4_unpack(row, &p.layer.int4, 40, 0);
    for (int k = 0; k < 40; k++)
        assert_true(row[k] == 0.0f);
    layer_release(&p);
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

static void spoil_two(float *x)
{
    x[1 * STRANGE_INPUTS + 36] = NAN;
    x[2 * STRANGE_INPUTS + 5] = -INFINITY;
}

static void check_two(const float *y)
{
    for (int i = 1; i < 4; i++)
        for (int o = 0; o < STRANGE_OUTPUTS; o++)
            assert_int_equal(isnan(y[i * STRANGE_OUTPUTS + o]) != 0, i < 3);
}

/* NaN and infinity give NaN in their row and in no other. */
static void strange_rows(void **state)
{
    layer_assert_strange(state, 4, spoil_two, check_two);
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
        INT4_TEST(layer_shapes),
        INT4_TEST(layer_large),
        INT4_TEST(layer_options),
        INT4_TEST(layer_close_to_f32),
        INT4_TEST(layer_batch_independence),
        INT4_TEST(strange_rows),
        OPS_TEST_ISA(layer_shapes, EMULATED),
        OPS_TEST_ISA(layer_large, EMULATED),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
