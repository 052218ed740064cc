/* What a device does to rows and their elements, against the reference. */
#include <math.h>

#include "tests/cuda/device_test.h"

static void top_k_order(void **state)
{
    (void)state;
    device_bench b;
    device_open(&b);
    enum { D = 4500, K = 40 };
    float *x = random_floats(2 * D, 4), values[2 * K];
    int32_t indices[2 * K];
    for (int j = 0; j < 2 * D; j++)
        x[j] = floorf(x[j] * 20.0f) / 4.0f; /* many ties */
    x[5] = x[D + 4000] = NAN;
    x[6] = -0.0f;
    x[7] = INFINITY;
    for (int j = 0; j < 35; j++)
        x[D + 100 * j] = -INFINITY;
    float *device_x = device_put(&b, x, 2 * D * sizeof *x), *device_values = device_put(&b, NULL, sizeof values);
    int32_t *device_indices = device_put(&b, NULL, sizeof indices);
    b.compute.ops->top_k(&b.compute, device_values, device_indices, device_x, 2, D, K);
    b.reference.ops->top_k(&b.reference, values, indices, x, 2, D, K);
    device_assert_close(&b, device_values, values, 2 * K, 0.0, "values");
    int32_t *found = device_get(&b, device_indices, sizeof indices);
    assert_memory_equal(found, indices, sizeof indices);
    free(found);

    /* all of a short row: NaN comes last */
    float few[5] = {NAN, 1.0f, -INFINITY, NAN, 1.0f};
    device_x = device_put(&b, few, sizeof few);
    b.compute.ops->top_k(&b.compute, device_values, device_indices, device_x, 1, 5, 5);
    found = device_get(&b, device_indices, 5 * sizeof *found);
    static const int32_t order[] = {1, 4, 2, 0, 3};
    assert_memory_equal(found, order, sizeof order);
    free(found);
    free(x);
    device_close(&b);
}

static void norms(void **state)
{
    (void)state;
    static const int widths[] = {1, 3, 31, 64, 127, 129, 500, 768, 1025, 1800, 2048, 2052};
    device_bench b;
    device_open(&b);
    float *w = random_floats(2100, 1), *weight = device_weight(&b, w, 2100 * sizeof *w),
          *biases[] = {NULL, weight + 8, weight + 7};
    device_mirror(&b, NULL, 0);
    for (size_t i = 0; i < COUNT(widths); i++)
        for (int n = 1; n <= 6; n += 5) {
            int d = widths[i];
            size_t count = (size_t)n * (size_t)d;
            float *x = random_floats(count, 2), *y = constant_floats(count, 9.0f);
            for (size_t j = 0; j < count; j++)
                x[j] = x[j] * 3.0f + 40.0f; /* a mean that squares would drown in */
            float *device_x = device_put(&b, x, count * 4), *device_y = device_put(&b, NULL, count * 4);
            const lks_ops *ops = b.compute.ops, *ref = b.reference.ops;
            for (size_t k = 0; k < COUNT(biases); k++) {
                ref->layer_norm(&b.reference, y, x, n, d, weight, biases[k], 1e-5f);
                ops->layer_norm(&b.compute, device_y, device_x, n, d, weight, biases[k], 1e-5f);
                device_assert_close(&b, device_y, y, count, 2e-4, "layer norm");
            }
            ref->inverse_deviation(&b.reference, y, x, n, d, 1e-5f);
            ops->inverse_deviation(&b.compute, device_y, device_x, n, d, 1e-5f);
            if (d > 1)
                device_assert_close(&b, device_y, y, (size_t)n, 1e-4, "inverse deviation");
            ref->rms_norm(&b.reference, y, x, n, d, weight, 1e-6f);
            ops->rms_norm(&b.compute, device_x, device_x, n, d, weight, 1e-6f); /* in place */
            device_assert_close(&b, device_x, y, count, 1e-5, "RMS norm");
            free(x);
            free(y);
            device_reset(&b);
        }
    free(w);
    device_close(&b);
}

static void softmaxes(void **state)
{
    (void)state;
    static const int widths[] = {1, 5, 31, 512, 513, 3000};
    device_bench b;
    device_open(&b);
    const lks_ops *ops = b.compute.ops, *ref = b.reference.ops;
    for (size_t i = 0; i < COUNT(widths); i++) {
        int n = 3, d = widths[i];
        size_t count = (size_t)n * (size_t)d;
        float *x = random_floats(count, 2), *y = constant_floats(count, 9.0f);
        for (size_t j = 0; j < count; j++)
            x[j] *= 30.0f;
        if (d > 4)
            x[3] = -INFINITY;
        float *device_x = device_put(&b, x, count * 4), *device_y = device_put(&b, NULL, count * 4);
        ref->softmax(&b.reference, y, x, n, d);
        ops->softmax(&b.compute, device_y, device_x, n, d);
        device_assert_close(&b, device_y, y, count, 1e-5, "softmax");
        ref->log_sum_exp(&b.reference, y, x, n, d);
        ops->log_sum_exp(&b.compute, device_y, device_x, n, d);
        device_assert_close(&b, device_y, y, (size_t)n, 1e-5, "log-sum-exp");
        ref->log_softmax(&b.reference, y, x, n, d);
        ops->log_softmax(&b.compute, device_x, device_x, n, d); /* in place */
        device_assert_close(&b, device_x, y, count, 1e-5, "log softmax");
        free(x);
        free(y);
        device_reset(&b);
    }
    device_close(&b);
}

static void elements(void **state)
{
    (void)state;
    static const int shapes[][2] = {{1, 1}, {3, 7}, {5, 64}, {70, 33}, {33, 20}};
    device_bench b;
    device_open(&b);
    const lks_ops *ops = b.compute.ops, *ref = b.reference.ops;
    float *w = random_floats(64, 8), *scale = device_weight(&b, w, 64 * sizeof *w);
    device_mirror(&b, NULL, 0);
    for (size_t s = 0; s < COUNT(shapes); s++) {
        int n = shapes[s][0], d = shapes[s][1];
        size_t count = (size_t)n * (size_t)d, bytes = count * sizeof(float);
        float *x = random_floats(2 * count, 1), *more = random_floats(count, 2), *y = constant_floats(count, 9.0f);
        for (size_t j = 0; j < 2 * count; j++)
            x[j] *= 6.0f;
        float *device_x = device_put(&b, x, 2 * bytes), *device_more = device_put(&b, more, bytes);
        float *device_y = device_put(&b, NULL, bytes);
        for (int a = LKS_ACT_NONE; a <= LKS_ACT_TANH; a++) {
            ref->activate(&b.reference, y, x, count, (lks_activation)a);
            ops->activate(&b.compute, device_y, device_x, count, (lks_activation)a);
            device_assert_close(&b, device_y, y, count, 1e-5, "activation");
            ref->gated(&b.reference, y, x, n, d, (lks_activation)a);
            ops->gated(&b.compute, device_y, device_x, n, d, (lks_activation)a);
            device_assert_close(&b, device_y, y, count, 1e-5, "gated");
        }
        for (int scaled = 0; scaled < 2; scaled++) {
            ref->add_scaled(&b.reference, y, x, more, scaled ? scale : NULL, n, d);
            ops->add_scaled(&b.compute, device_y, device_x, device_more, scaled ? scale : NULL, n, d);
            device_assert_close(&b, device_y, y, count, 1e-6, "addition");
        }
        ref->add_outer(&b.reference, y, x, scale, n, d);
        ops->add_outer(&b.compute, device_y, device_x, scale, n, d);
        device_assert_close(&b, device_y, y, count, 1e-6, "outer product");
        ref->mean(&b.reference, y, x, n, d);
        ops->mean(&b.compute, device_y, device_x, n, d);
        device_assert_close(&b, device_y, y, (size_t)d, 1e-5, "mean");
        uint16_t *halves = malloc(count * sizeof *halves);
        assert_non_null(halves);
        x[0] = NAN;
        ops->upload(&b.compute, device_x, x, bytes);
        lks_bf16_round(halves, x, count);
        ops->round_bf16(&b.compute, (uint16_t *)(void *)device_y, device_x, count);
        uint16_t *rounded = device_get(&b, device_y, count * sizeof *rounded);
        assert_true(isnan(lks_bf16_to_float(rounded[0]))); /* which NaN a GPU does not promise */
        assert_memory_equal(rounded + 1, halves + 1, (count - 1) * sizeof *rounded);
        free(rounded);
        free(halves);
        free(x);
        free(more);
        free(y);
        device_reset(&b);
    }
    free(w);
    device_close(&b);
}

static void embedding(void **state)
{
    (void)state;
    device_bench b;
    device_open(&b);
    enum { ROWS = 9, D = 37, N = 12 };
    float *t = random_floats(ROWS * D, 1), *table = device_weight(&b, t, ROWS * D * sizeof *t), y[N * D];
    device_mirror(&b, NULL, 0);
    int32_t ids[N];
    for (int i = 0; i < N; i++)
        ids[i] = (i * 5 + 8) % ROWS;
    int32_t *device_ids = device_put(&b, ids, sizeof ids);
    float *device_y = device_put(&b, NULL, sizeof y);
    const lks_table rows = {.rows = table, .dtype = LKS_F32};
    b.reference.ops->embed(&b.reference, y, rows, ids, N, D, 1.5f);
    b.compute.ops->embed(&b.compute, device_y, rows, device_ids, N, D, 1.5f);
    device_assert_close(&b, device_y, y, N * D, 0.0, "embedding");
    free(t);
    device_close(&b);
}

static void moving_rows(void **state)
{
    (void)state;
    device_bench b;
    device_open(&b);
    const lks_ops *ops = b.compute.ops, *ref = b.reference.ops;
    enum { SIZE = 6000 };
    float *x = random_floats(SIZE, 1), *y = random_floats(SIZE, 2);
    float *device_x = device_put(&b, x, SIZE * 4), *device_y = device_put(&b, y, SIZE * 4);
    lks_copy copy = {.n_outer = 5,
                     .n_inner = 7,
                     .d = 33,
                     .to = y + 3,
                     .to_outer = 1000,
                     .to_inner = 40,
                     .from = x + 1,
                     .from_outer = 34,
                     .from_inner = 200};
    ref->copy(&b.reference, &copy);
    copy.to = device_y + 3;
    copy.from = device_x + 1;
    ops->copy(&b.compute, &copy);
    device_assert_close(&b, device_y, y, SIZE, 0.0, "copied rows");

    static const int32_t places[5] = {3, 0, 4, 1, 2};
    copy.to_index = places;
    copy.to = y + 3;
    copy.from = x + 1;
    ref->copy(&b.reference, &copy);
    copy.to_index = device_put(&b, places, sizeof places);
    copy.to = device_y + 3;
    copy.from = device_x + 1;
    ops->copy(&b.compute, &copy);
    device_assert_close(&b, device_y, y, SIZE, 0.0, "rows copied to places");
    free(x);
    free(y);
    device_close(&b);
}

int main(void)
{
    device_need();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(top_k_order), cmocka_unit_test(norms),     cmocka_unit_test(softmaxes),
        cmocka_unit_test(elements),    cmocka_unit_test(embedding), cmocka_unit_test(moving_rows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
