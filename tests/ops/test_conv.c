/* Convolutions and patches of every table against the reference. */
#include "tests/ops/ops_test.h"

#define TOLERANCE 3e-5 /* sums of up to 1800 products */

static float *run(const lks_compute *compute, lks_conv2d c, bool depthwise, bool with_bias)
{
    size_t n_weights = (size_t)(c.kernel * c.kernel) * (size_t)c.c_in * (depthwise ? 1 : (size_t)c.c_out);
    float *x = random_floats((size_t)(c.n * c.height * c.width) * (size_t)c.c_in, 1),
          *weight = random_floats(n_weights, 2);
    float *bias = random_floats((size_t)c.c_out, 3);
    c.x = x;
    c.weight = weight;
    c.bias = with_bias ? bias : NULL;
    c.y = constant_floats((size_t)(c.n * c.out_height * c.out_width) * (size_t)c.c_out, 99.0f);
    if (depthwise)
        compute->ops->depthwise_conv2d(compute, &c);
    else
        compute->ops->conv2d(compute, &c);
    free(x);
    free(weight);
    free(bias);
    return c.y;
}

static void check(lks_isa isa, lks_conv2d c, bool depthwise, bool with_bias)
{
    bench ref, fast, alone;
    bench_open(&fast, isa, 3);
    bench_open(&ref, LKS_ISA_REF, 1);
    bench_open(&alone, isa, 1);
    /* "same" padding: as many outputs as strides fit, the odd pixel of padding below and right */
    c.out_height = (c.height + c.stride - 1) / c.stride;
    c.out_width = (c.width + c.stride - 1) / c.stride;
    int pad_y = (c.out_height - 1) * c.stride + c.kernel - c.height,
        pad_x = (c.out_width - 1) * c.stride + c.kernel - c.width;
    c.pad_top = pad_y > 0 ? pad_y / 2 : 0;
    c.pad_left = pad_x > 0 ? pad_x / 2 : 0;
    float *expected = run(&ref.compute, c, depthwise, with_bias), *actual = run(&fast.compute, c, depthwise, with_bias);
    float *single = run(&alone.compute, c, depthwise, with_bias);
    size_t count = (size_t)(c.n * c.out_height * c.out_width) * (size_t)c.c_out;
    char what[160];
    snprintf(what, sizeof what, "%s %dx%dx%d -> %d, kernel %d, stride %d", depthwise ? "depthwise" : "dense", c.height,
             c.width, c.c_in, c.c_out, c.kernel, c.stride);
    assert_close(actual, expected, count, TOLERANCE, what);
    assert_same(single, actual, count, what);
    free(expected);
    free(actual);
    free(single);
    bench_close(&ref);
    bench_close(&fast);
    bench_close(&alone);
}

static const int sizes[][2] = {{1, 1}, {2, 3}, {5, 4}, {8, 8}, {13, 17}, {16, 31}};

static void depthwise(void **state)
{
    static const int channels[] = {1, 7, 8, 16, 24, 31, 33, 48, 96};
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++)
        for (size_t c = 0; c < sizeof channels / sizeof *channels; c++)
            for (int kernel = 1; kernel <= 5; kernel += 2)
                for (int stride = 1; stride <= 2; stride++)
                    check(test_isa(state),
                          (lks_conv2d){.n = 1 + (int)c % 2,
                                       .height = sizes[s][0],
                                       .width = sizes[s][1],
                                       .c_in = channels[c],
                                       .c_out = channels[c],
                                       .kernel = kernel,
                                       .stride = stride,
                                       .activation = c % 2 ? LKS_ACT_RELU6 : LKS_ACT_SILU},
                          true, c % 3 != 0);
}

static void dense(void **state)
{
    static const int channels[][2] = {{1, 1}, {3, 32}, {3, 5}, {16, 70}, {40, 64}, {72, 130}};
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++)
        for (size_t c = 0; c < (s < 4 ? sizeof channels / sizeof *channels : 4); c++)
            for (int kernel = 1; kernel <= 5; kernel += 2)
                for (int stride = 1; stride <= 2; stride++)
                    check(test_isa(state),
                          (lks_conv2d){.n = 1 + (int)c % 2,
                                       .height = sizes[s][0],
                                       .width = sizes[s][1],
                                       .c_in = channels[c][0],
                                       .c_out = channels[c][1],
                                       .kernel = kernel,
                                       .stride = stride,
                                       .activation = c % 2 ? LKS_ACT_RELU6 : LKS_ACT_GELU},
                          false, c % 3 != 0);
}

static void patches(void **state)
{
    bench b;
    bench_open(&b, test_isa(state), 2);
    enum { HEIGHT = 12, WIDTH = 20, ROWS = 3, COLUMNS = 4 };
    float *image = random_floats(HEIGHT * WIDTH * 3, 1), *x = constant_floats(HEIGHT * WIDTH * 3, 9.0f);
    b.compute.ops->patches(&b.compute, x, image, HEIGHT, WIDTH, ROWS, COLUMNS);
    for (int i = 0; i < HEIGHT * WIDTH * 3; i++) {
        int patch = i / (ROWS * COLUMNS * 3), row = i / (COLUMNS * 3) % ROWS, column = i / 3 % COLUMNS, channel = i % 3;
        int h = patch / (WIDTH / COLUMNS) * ROWS + row, w = patch % (WIDTH / COLUMNS) * COLUMNS + column;
        assert_true(x[i] == image[(h * WIDTH + w) * 3 + channel]);
    }
    free(image);
    free(x);
    bench_close(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {OPS_TEST(depthwise), OPS_TEST(dense), OPS_TEST(patches)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
