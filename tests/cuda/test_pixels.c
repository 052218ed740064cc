/* Convolutions and patches of a device, against the reference. */
#include "tests/cuda/device_test.h"

static void convolutions(void **state)
{
    (void)state;
    static const int sizes[][2] = {{1, 1}, {5, 4}, {13, 17}}, channels[][2] = {{1, 1}, {3, 32}, {16, 20}};
    device_bench b;
    device_open(&b);
    float *w = random_floats(16384, 1), *weight = device_weight(&b, w, 16384 * sizeof *w);
    device_mirror(&b, NULL, 0);
    for (size_t s = 0; s < COUNT(sizes); s++)
        for (size_t k = 0; k < COUNT(channels); k++)
            for (int depthwise = 0; depthwise < 2; depthwise++)
                for (int kernel = 1; kernel <= 5; kernel += 2)
                    for (int stride = 1; stride <= 2; stride++) {
                        lks_conv2d c = {.n = 2,
                                        .height = sizes[s][0],
                                        .width = sizes[s][1],
                                        .c_in = channels[k][0],
                                        .c_out = depthwise ? channels[k][0] : channels[k][1],
                                        .kernel = kernel,
                                        .stride = stride,
                                        .pad_top = kernel / 2,
                                        .pad_left = (kernel - 1) / 2,
                                        .weight = weight,
                                        .bias = kernel == 3 ? NULL : weight + 100,
                                        .activation = LKS_ACT_RELU6};
                        c.out_height = (c.height + stride - 1) / stride;
                        c.out_width = (c.width + stride - 1) / stride;
                        size_t n_x = 2 * (size_t)c.height * (size_t)c.width * (size_t)c.c_in;
                        size_t n_y = 2 * (size_t)c.out_height * (size_t)c.out_width * (size_t)c.c_out;
                        float *x = random_floats(n_x, 3), *y = constant_floats(n_y, 9.0f);
                        float *device_y = device_put(&b, NULL, n_y * 4);
                        lks_conv2d device_c = c;
                        device_c.x = device_put(&b, x, n_x * 4);
                        device_c.y = device_y;
                        c.x = x;
                        c.y = y;
                        if (depthwise) {
                            b.reference.ops->depthwise_conv2d(&b.reference, &c);
                            b.compute.ops->depthwise_conv2d(&b.compute, &device_c);
                        } else {
                            b.reference.ops->conv2d(&b.reference, &c);
                            b.compute.ops->conv2d(&b.compute, &device_c);
                        }
                        device_assert_close(&b, device_y, y, n_y, 2e-5, depthwise ? "depthwise" : "dense");
                        free(x);
                        free(y);
                        device_reset(&b);
                    }
    free(w);
    device_close(&b);
}

static void patches(void **state)
{
    (void)state;
    device_bench b;
    device_open(&b);
    enum { HEIGHT = 13, WIDTH = 21, ROWS = 3, COLUMNS = 4 }; /* with a rest on both sides */
    float *image = random_floats(HEIGHT * WIDTH * 3, 1), x[4 * 5 * ROWS * COLUMNS * 3];
    float *device_image = device_put(&b, image, HEIGHT * WIDTH * 12), *device_x = device_put(&b, NULL, sizeof x);
    b.reference.ops->patches(&b.reference, x, image, HEIGHT, WIDTH, ROWS, COLUMNS);
    b.compute.ops->patches(&b.compute, device_x, device_image, HEIGHT, WIDTH, ROWS, COLUMNS);
    device_assert_close(&b, device_x, x, sizeof x / sizeof *x, 0.0, "patches");
    free(image);
    device_close(&b);
}

int main(void)
{
    device_need();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(convolutions),
        cmocka_unit_test(patches),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
