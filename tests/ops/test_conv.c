/* Convolutions and patches of every table against the reference. */
#include "tests/ops/ops_test.h"

#define TOLERANCE 3e-5 /* sums of up to 1800 products */

static float *run(const lks_compute *compute, lks_conv2d c, bool depthwise, bool with_bias)
{
    size_t n_weights = (size_t)c.kernel * (size_t)c.kernel * (size_t)c.c_in * (depthwise ? 1 : (size_t)c.c_out);
    float *x = random_floats((size_t)c.n * (size_t)c.height * (size_t)c.width * (size_t)c.c_in, 1),
          *weight = random_floats(n_weights, 2);
    float *bias = random_floats((size_t)c.c_out, 3);
    c.x = x;
    c.weight = weight;
    c.bias = with_bias ? bias : NULL;
    c.y = constant_floats((size_t)c.n * (size_t)c.out_height * (size_t)c.out_width * (size_t)c.c_out, 99.0f);
    if (depthwise)
        compute->ops->depthwise_conv2d(compute, &c);
    else
        compute->ops->conv2d(compute, &c);
    free(x);
    free(weight);
    free(bias);
    return c.y;
}

static lks_linear layer_of(const lks_ops *ops, int d_in, int d_out, const float *bias, uint32_t seed, bool int8)
{
    float *w = random_floats((size_t)d_in * (size_t)d_out, seed);
    lks_linear layer = {.d_in = d_in, .d_out = d_out, .bias = bias};
    if (int8) {
        int8_t *panels = malloc(lks_int8_panel_bytes(d_in, d_out));
        int32_t *sums = malloc((size_t)d_out * sizeof *sums);
        float *scales = constant_floats((size_t)d_out, 99.0f);
        assert_true(panels && sums);
        lks_int8_pack(panels, scales, sums, w, d_in, 0, d_out);
        layer.int8 = (lks_int8_weights){panels, scales, sums};
    } else {
        float *packed = constant_floats(ops->linear_packed_count(d_in, d_out), 99.0f);
        ops->linear_pack(packed, w, d_in, d_out, 0, d_out);
        layer.packed = packed;
    }
    free(w);
    return layer;
}

static void layer_release(const lks_linear *layer)
{
    free((void *)(uintptr_t)layer->packed);
    free((void *)(uintptr_t)layer->int8.panels);
    free((void *)(uintptr_t)layer->int8.scales);
    free((void *)(uintptr_t)layer->int8.sums);
}

/* y of an inverted residual: the same bit for bit in one step as in three. d_in: 0 without expansion. */
static float *run_residual(const lks_compute *compute, lks_conv2d c, int d_in, int d_out, lks_activation activation,
                           bool int8)
{
    const lks_ops *ops = compute->ops;
    const int n_in = c.n * c.height * c.width, n_out = c.n * c.out_height * c.out_width;
    const size_t expanded_floats = (size_t)n_in * (size_t)c.c_in, y_floats = (size_t)n_out * (size_t)d_out;
    float *bias = random_floats((size_t)(c.c_in > d_out ? c.c_in : d_out), 3);
    lks_linear expand = layer_of(ops, d_in ? d_in : 1, c.c_in, bias, 2, int8),
               project = layer_of(ops, c.c_in, d_out, bias, 5, int8);
    float *x = random_floats((size_t)n_in * (size_t)(d_in ? d_in : c.c_in), 1), *residual = random_floats(y_floats, 6);
    float *filter = random_floats((size_t)c.kernel * (size_t)c.kernel * (size_t)c.c_in, 4),
          *filtered = constant_floats((size_t)n_out * (size_t)c.c_in, 99.0f);
    float *expanded = constant_floats(expanded_floats, 99.0f), *y = constant_floats(y_floats, 99.0f),
          *three_steps = constant_floats(y_floats, 99.0f);
    c.weight = filter;
    c.bias = bias;
    lks_inverted_residual args = {.expand = d_in ? &expand : NULL,
                                  .activation = activation,
                                  .conv = c,
                                  .project = &project,
                                  .x = x,
                                  .residual = d_out % 2 ? NULL : residual,
                                  .y = y};
    lks_inverted_residual_run(compute, &args);
    if (d_in)
        lks_linear_dense(compute, &expand, expanded, x, n_in, activation, NULL);
    c.x = d_in ? expanded : x;
    c.y = filtered;
    ops->depthwise_conv2d(compute, &c);
    lks_linear_dense(compute, &project, three_steps, filtered, n_out, LKS_ACT_NONE, args.residual);
    assert_same(y, three_steps, y_floats, "in one step");
    layer_release(&expand);
    layer_release(&project);
    free(bias);
    free(x);
    free(residual);
    free(filter);
    free(filtered);
    free(expanded);
    free(three_steps);
    return y;
}

/* A convolution alone, or between an expansion of d_in channels and a projection to d_out. */
typedef struct conv_case {
    lks_conv2d conv;
    bool depthwise, with_bias;
    int d_in, d_out; /* d_in 0: no expansion; d_out 0: alone */
    bool int8;       /* both layers */
    lks_activation expansion;
} conv_case;

static float *run_case(const lks_compute *compute, const conv_case *k)
{
    return k->d_out ? run_residual(compute, k->conv, k->d_in, k->d_out, k->expansion, k->int8)
                    : run(compute, k->conv, k->depthwise, k->with_bias);
}

/* The table close to the reference, and the same on any number of threads. */
static void compare(lks_isa isa, const conv_case *k)
{
    bench ref, fast, alone;
    bench_open(&fast, isa, 3);
    bench_open(&ref, LKS_ISA_REF, 1);
    bench_open(&alone, isa, 1);
    const lks_conv2d *c = &k->conv;
    float *expected = run_case(&ref.compute, k), *actual = run_case(&fast.compute, k),
          *single = run_case(&alone.compute, k);
    size_t count =
        (size_t)c->n * (size_t)c->out_height * (size_t)c->out_width * (size_t)(k->d_out ? k->d_out : c->c_out);
    char what[160];
    snprintf(what, sizeof what, "%s %dx%dx%d -> %d, kernel %d, stride %d",
             k->d_out       ? "inverted residual"
             : k->depthwise ? "depthwise"
                            : "dense",
             c->height, c->width, k->d_in ? k->d_in : c->c_in, k->d_out ? k->d_out : c->c_out, c->kernel, c->stride);
    if (!k->int8) /* where the last bit of a sum may decide how an input is rounded */
        assert_close(actual, expected, count, TOLERANCE, what);
    assert_same(single, actual, count, what);
    free(expected);
    free(actual);
    free(single);
    bench_close(&ref);
    bench_close(&fast);
    bench_close(&alone);
}

static void check(lks_isa isa, lks_conv2d c, bool depthwise, bool with_bias)
{
    /* "same" padding: as many outputs as strides fit, the odd pixel of padding below and right */
    c.out_height = (c.height + c.stride - 1) / c.stride;
    c.out_width = (c.width + c.stride - 1) / c.stride;
    int pad_y = (c.out_height - 1) * c.stride + c.kernel - c.height,
        pad_x = (c.out_width - 1) * c.stride + c.kernel - c.width;
    c.pad_top = pad_y > 0 ? pad_y / 2 : 0;
    c.pad_left = pad_x > 0 ? pad_x / 2 : 0;
    compare(isa, &(conv_case){.conv = c, .depthwise = depthwise, .with_bias = with_bias});
}

static void check_residual(lks_isa isa, lks_conv2d c, int d_in, int d_out, lks_activation activation, bool int8)
{
    c.out_height = (c.height + 2 * c.pad_top - c.kernel) / c.stride + 1;
    c.out_width = (c.width + 2 * c.pad_left - c.kernel) / c.stride + 1;
    compare(isa, &(conv_case){.conv = c, .d_in = d_in, .d_out = d_out, .expansion = activation, .int8 = int8});
}

static const int sizes[][2] = {{1, 1}, {2, 3}, {5, 4}, {8, 8}, {13, 17}, {16, 31}};

/* The convolution of size number s and channels number c. */
static lks_conv2d conv_of(size_t s, size_t c, int c_in, int c_out, int kernel, int stride, lks_activation even)
{
    return (lks_conv2d){.n = 1 + (int)c % 2,
                        .height = sizes[s][0],
                        .width = sizes[s][1],
                        .c_in = c_in,
                        .c_out = c_out,
                        .kernel = kernel,
                        .stride = stride,
                        .activation = c % 2 ? LKS_ACT_RELU6 : even};
}

static void depthwise(void **state)
{
    static const int channels[] = {1, 7, 8, 16, 24, 31, 33, 48, 96};
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++)
        for (size_t c = 0; c < sizeof channels / sizeof *channels; c++)
            for (int kernel = 1; kernel <= 5; kernel += 2)
                for (int stride = 1; stride <= 2; stride++)
                    check(test_isa(state), conv_of(s, c, channels[c], channels[c], kernel, stride, LKS_ACT_SILU), true,
                          c % 3 != 0);
}

/* Maps that are less than a block and more, low and tall ones, on every side of the channels of a panel. */
static void check_residuals(lks_isa isa, bool int8)
{
    static const int shapes[][2] = {{1, 1}, {5, 4}, {8, 8}, {13, 17}, {70, 40}},
                     channels[][3] = {{3, 24, 7}, {16, 96, 24}, {20, 130, 70}, {0, 64, 16}, {65, 60, 66}};
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++)
        for (size_t c = 0; c < sizeof channels / sizeof *channels; c++)
            for (int kernel = 3; kernel <= 7; kernel += 2)
                for (int stride = 1; stride <= 2; stride++)
                    check_residual(isa,
                                   (lks_conv2d){.n = 1 + (int)s % 2,
                                                .height = shapes[s][0],
                                                .width = shapes[s][1],
                                                .c_in = channels[c][1],
                                                .c_out = channels[c][1],
                                                .kernel = kernel,
                                                .stride = stride,
                                                .pad_top = kernel / 2,
                                                .pad_left = kernel / 2,
                                                .activation = c % 2 ? LKS_ACT_RELU6 : LKS_ACT_SILU},
                                   channels[c][0], channels[c][2], c == 1 ? LKS_ACT_NONE : LKS_ACT_RELU6, int8);
}

static void residual(void **state)
{
    check_residuals(test_isa(state), false);
}

static void residual_of_int8(void **state)
{
    const lks_isa isa = test_isa(state);
    if (!lks_isa_available(isa) && isa != LKS_ISA_AVX512_VNNI) /* of the emulated tables, the one with int8 layers */
        skip();
    check_residuals(isa, true);
}

static void low_maps_of_int8_are_expanded_in_place(void **state)
{
    const lks_ops *ops = test_ops(test_isa(state));
    const int8_t panel = 0;
    const lks_linear bytes = {.d_in = 512, .d_out = 64, .int8 = {.panels = &panel}},
                     wide = {.d_in = 513, .d_out = 64, .int8 = {.panels = &panel}};
    const lks_linear floats = {.d_in = 16, .d_out = 64};
    if (!ops || !ops->residual_fits) {
        skip();
        return;
    }
    for (int height = 9; height < 100; height += 60) {
        const lks_conv2d conv = {.n = 1, .height = height, .width = 9, .out_height = height, .out_width = 9};
        assert_true(ops->residual_fits(&(lks_inverted_residual){.expand = &bytes, .conv = conv, .project = &bytes}) ==
                    (height == 9));
        assert_false(ops->residual_fits(&(lks_inverted_residual){.expand = &wide, .conv = conv, .project = &bytes}));
        assert_true(ops->residual_fits(&(lks_inverted_residual){.expand = &floats, .conv = conv, .project = &floats}));
    }
}

static void dense(void **state)
{
    static const int channels[][2] = {{1, 1}, {3, 32}, {3, 5}, {16, 70}, {40, 64}, {72, 130}};
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++)
        for (size_t c = 0; c < (s < 4 ? sizeof channels / sizeof *channels : 4); c++)
            for (int kernel = 1; kernel <= 5; kernel += 2)
                for (int stride = 1; stride <= 2; stride++)
                    check(test_isa(state), conv_of(s, c, channels[c][0], channels[c][1], kernel, stride, LKS_ACT_GELU),
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
    const struct CMUnitTest tests[] = {OPS_TEST(depthwise),
                                       OPS_TEST(residual),
                                       OPS_TEST(residual_of_int8),
                                       OPS_TEST_ISA(residual_of_int8, LKS_ISA_AVX_VNNI),
                                       OPS_TEST_ISA(residual_of_int8, LKS_ISA_AVX512_VNNI),
                                       OPS_TEST_ISA(residual_of_int8, LKS_ISA_NEON_DOTPROD),
                                       OPS_TEST(low_maps_of_int8_are_expanded_in_place),
                                       OPS_TEST(dense),
                                       OPS_TEST(patches)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
