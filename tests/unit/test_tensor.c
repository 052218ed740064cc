/* Unit test of fusion/tensor. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <math.h>

#include "fusion/tensor.h"

/* A tensor at an odd address: mapped files promise no alignment. */
static void convert(float *dst, const void *data, size_t size, lks_dtype dtype, int64_t n)
{
    static unsigned char bytes[1 << 18];
    assert_true(size < sizeof bytes);
    memcpy(bytes + 1, data, size);
    lks_tensor tensor = {.name = "t", .data = bytes + 1, .dtype = dtype, .n_dims = 1, .shape = {n}, .stride = {1}};
    assert_int_equal(size, (size_t)n * lks_dtype_size(dtype));
    lks_tensor_to_f32(dst, &tensor);
}

/* What a half means: sign, 5 bits of exponent, 10 of fraction. */
static double half_value(unsigned half)
{
    int exponent = (int)(half >> 10 & 31), fraction = (int)(half & 1023);
    double magnitude = exponent == 0    ? ldexp(fraction, -24)
                       : exponent == 31 ? (fraction ? NAN : INFINITY)
                                        : ldexp(1024 + fraction, exponent - 25);
    return half >> 15 ? -magnitude : magnitude;
}

static void all_halves(void **state)
{
    (void)state;
    static uint16_t halves[65536];
    static float values[65536];
    for (unsigned i = 0; i < 65536; i++)
        halves[i] = (uint16_t)i;
    convert(values, halves, sizeof halves, LKS_F16, 65536);
    for (unsigned i = 0; i < 65536; i++) {
        double expected = half_value(i);
        if (isnan(expected))
            assert_true(isnan(values[i]));
        else
            assert_true(values[i] == expected && !signbit(values[i]) == !signbit(expected));
    }
    convert(values, halves, sizeof halves, LKS_BF16, 65536);
    for (uint32_t i = 0; i < 65536; i++) {
        uint32_t bits;
        memcpy(&bits, &values[i], sizeof bits);
        assert_int_equal(bits, i << 16);
    }
}

static void integers_and_doubles(void **state)
{
    (void)state;
    float y[4];
    const int8_t i8[] = {-128, 0, 127, -1};
    convert(y, i8, sizeof i8, LKS_I8, 4);
    assert_true(y[0] == -128.0f && y[1] == 0.0f && y[2] == 127.0f && y[3] == -1.0f);
    const uint8_t u8[] = {0, 255, 128, 1};
    convert(y, u8, sizeof u8, LKS_U8, 4);
    assert_true(y[1] == 255.0f && y[2] == 128.0f);
    convert(y, u8, sizeof u8, LKS_BOOL, 4);
    assert_true(y[0] == 0.0f && y[1] == 1.0f && y[2] == 1.0f && y[3] == 1.0f);
    const int16_t i16[] = {-32768, 32767};
    convert(y, i16, sizeof i16, LKS_I16, 2);
    assert_true(y[0] == -32768.0f && y[1] == 32767.0f);
    const int32_t i32[] = {-2147483647, 1 << 24};
    convert(y, i32, sizeof i32, LKS_I32, 2);
    assert_true(y[0] == -2147483648.0f && y[1] == 16777216.0f);
    const int64_t i64[] = {-((int64_t)1 << 40), 5};
    convert(y, i64, sizeof i64, LKS_I64, 2);
    assert_true(y[0] == -1099511627776.0f && y[1] == 5.0f);
    const double f64[] = {0.1, -1e300};
    convert(y, f64, sizeof f64, LKS_F64, 2);
    assert_true(y[0] == 0.1f && isinf(y[1]));
    const float f32[] = {0.25f, -3.0f};
    convert(y, f32, sizeof f32, LKS_F32, 2);
    assert_true(y[0] == 0.25f && y[1] == -3.0f);
}

static void strided(void **state)
{
    (void)state;
    float data[24], y[24];
    for (int i = 0; i < 24; i++)
        data[i] = (float)i;
    lks_tensor t = {.data = data, .dtype = LKS_F32, .n_dims = 3, .shape = {4, 2, 3}, .stride = {1, 12, 4}};
    assert_false(lks_tensor_is_contiguous(&t));
    assert_int_equal(lks_tensor_count(&t), 24);
    lks_tensor_to_f32(y, &t);
    for (int i = 0; i < 4; i++)
        for (int j = 0; j < 2; j++)
            for (int k = 0; k < 3; k++)
                assert_true(y[(i * 2 + j) * 3 + k] == data[i + 12 * j + 4 * k]);

    uint16_t halves[6] = {0x3C00, 0x4000, 0x4200, 0x4400, 0x4500, 0x4600}; /* 1 2 3 4 5 6 */
    lks_tensor h = {.data = halves, .dtype = LKS_F16, .n_dims = 2, .shape = {3, 2}, .stride = {1, 3}};
    lks_tensor_to_f32(y, &h);
    static const float expected[] = {1, 4, 2, 5, 3, 6};
    assert_memory_equal(y, expected, sizeof expected);
}

static void shapes(void **state)
{
    (void)state;
    char text[96];
    float y = 0.0f, one = 1.0f;
    lks_tensor scalar = {.data = &one, .dtype = LKS_F32, .n_dims = 0};
    assert_string_equal(lks_tensor_shape_text(text, &scalar), "[]");
    assert_int_equal(lks_tensor_count(&scalar), 1);
    assert_true(lks_tensor_is_contiguous(&scalar));
    lks_tensor_to_f32(&y, &scalar);
    assert_true(y == 1.0f);
    lks_tensor t = {.data = &one, .dtype = LKS_F32, .n_dims = 3, .shape = {1, 1, 1}, .stride = {9, 7, 5}};
    assert_true(lks_tensor_is_contiguous(&t)); /* strides of single entries do not matter */
    assert_string_equal(lks_tensor_shape_text(text, &t), "[1, 1, 1]");
    int64_t big = INT64_MAX;
    lks_tensor wide = {.data = &one, .dtype = LKS_F32, .n_dims = 4, .shape = {big, big, big, big}};
    assert_true(strlen(lks_tensor_shape_text(text, &wide)) < sizeof text);
    for (lks_dtype d = LKS_F32; d < LKS_DTYPE_COUNT; d++) {
        assert_true(lks_dtype_size(d) >= 1 && lks_dtype_size(d) <= 8);
        assert_true(strlen(lks_dtype_name(d)) > 1);
    }
    assert_string_equal(lks_dtype_name(LKS_BF16), "bf16");
    assert_int_equal(lks_dtype_size(LKS_I64), 8);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(all_halves), cmocka_unit_test(integers_and_doubles),
                                       cmocka_unit_test(strided), cmocka_unit_test(shapes)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
