/* Every op of a device but attention, against the reference. */
#include <math.h>

#include "tests/cuda/device_test.h"

static const int row_counts[] = {1, 2, 3, 4, 5, 8, 9, 33, 70};
#define COUNT(array) (sizeof(array) / sizeof *(array))

/* ---- linear layers ---- */

typedef struct linear_case {
    lks_precision precision;
    int n, d_in, d_out;
    bool bias, residual, in_place;
    lks_activation activation;
    int extra; /* numbers between rows of x and y */
} linear_case;

/* A layer whose weights are among the bench's. */
static lks_linear make_layer(device_bench *b, const linear_case *c, uint32_t seed)
{
    int d_in = c->d_in, d_out = c->d_out;
    size_t n = (size_t)d_out, groups = lks_int4_panel_groups(d_in, d_out);
    float *w = random_floats((size_t)d_in * n, seed), *bias = random_floats(n, seed + 1);
    lks_linear layer = {.d_in = d_in, .d_out = d_out};
    if (c->bias)
        layer.bias = device_weight(b, bias, n * sizeof *bias);
    void *panels, *scales, *sums;
    switch (c->precision) {
    case LKS_PRECISION_INT8:
        panels = lks_arena_take(&b->weights, lks_int8_panel_bytes(d_in, d_out), 1);
        scales = lks_arena_take(&b->weights, n, sizeof(float));
        sums = lks_arena_take(&b->weights, n, sizeof(int32_t));
        assert_true(panels && scales && sums);
        lks_int8_pack(panels, scales, sums, w, d_in, 0, d_out);
        layer.int8 = (lks_int8_weights){panels, scales, sums};
        break;
    case LKS_PRECISION_INT4:
        panels = lks_arena_take(&b->weights, groups * LKS_INT4_GROUP_BYTES, 1);
        scales = lks_arena_take(&b->weights, groups * LKS_INT4_COLUMNS, sizeof(uint16_t));
        assert_true(panels && scales);
        lks_int4_pack(panels, scales, w, d_in, 0, d_out);
        layer.int4 = (lks_int4_weights){panels, scales};
        break;
    case LKS_PRECISION_BF16:
        panels = lks_arena_take(&b->weights, lks_bf16_panel_count(d_in, d_out), sizeof(uint16_t));
        assert_non_null(panels);
        lks_bf16_pack(panels, w, d_in, 0, d_out);
        layer.bf16.panels = panels;
        break;
    case LKS_PRECISION_F32:
    case LKS_PRECISION_AS_STORED:
        layer.packed = device_weight(b, w, (size_t)d_in * n * sizeof *w);
        break;
    }
    free(w);
    free(bias);
    return layer;
}

static void check_layer(device_bench *b, const lks_linear *layer, const linear_case *c)
{
    int64_t x_stride = c->d_in + c->extra, y_stride = c->d_out + c->extra;
    size_t n_x = (size_t)(c->n * x_stride), n_y = (size_t)(c->n * y_stride);
    float *x = random_floats(n_x, 5), *y = random_floats(n_y, 6), *residual = random_floats(n_y, 7);
    float *device_x = device_put(b, x, n_x * sizeof *x), *device_y = device_put(b, y, n_y * sizeof *y);
    float *device_residual = device_put(b, residual, n_y * sizeof *residual);
    lks_linear_args args = {
        .n = c->n, .x = x, .x_stride = x_stride, .y = y, .y_stride = y_stride, .activation = c->activation};
    if (c->residual) {
        args.residual = c->in_place ? y : residual;
        args.residual_stride = y_stride;
    }
    lks_linear_args device_args = args;
    device_args.x = device_x;
    device_args.y = device_y;
    if (c->residual)
        device_args.residual = c->in_place ? device_y : device_residual;
    lks_linear_run(&b->reference, layer, &args);
    lks_linear_run(&b->compute, layer, &device_args);
    char what[160];
    snprintf(what, sizeof what, "%s, %d rows, %d -> %d, activation %d", lks_precision_name(c->precision), c->n, c->d_in,
             c->d_out, (int)c->activation);
    device_assert_close(b, device_y, y, n_y, 2e-5, what);
    free(x);
    free(y);
    free(residual);
    device_reset(b);
}

static const lks_precision precisions[] = {LKS_PRECISION_F32, LKS_PRECISION_BF16, LKS_PRECISION_INT8,
                                           LKS_PRECISION_INT4};

static void linear_shapes(void **state)
{
    (void)state;
    static const int widths[][2] = {{1, 1}, {3, 7}, {64, 64}, {50, 130}, {129, 65}, {100, 200}};
    for (size_t p = 0; p < COUNT(precisions); p++) {
        device_bench b;
        device_open(&b);
        linear_case c = {.precision = precisions[p], .bias = true};
        lks_linear layers[COUNT(widths)];
        for (size_t i = 0; i < COUNT(widths); i++) {
            c.d_in = widths[i][0];
            c.d_out = widths[i][1];
            layers[i] = make_layer(&b, &c, (uint32_t)i);
        }
        device_mirror(&b, layers, COUNT(widths));
        for (size_t i = 0; i < COUNT(widths); i++)
            for (size_t r = 0; r < COUNT(row_counts); r++) {
                c.d_in = widths[i][0];
                c.d_out = widths[i][1];
                c.n = row_counts[r];
                check_layer(&b, &layers[i], &c);
            }
        device_close(&b);
    }
}

static void linear_options(void **state)
{
    (void)state;
    for (size_t p = 0; p < COUNT(precisions); p++) {
        device_bench b;
        device_open(&b);
        linear_case c = {.precision = precisions[p], .d_in = 50, .d_out = 77, .extra = 5};
        lks_linear layers[2];
        for (int bias = 0; bias < 2; bias++) {
            c.bias = bias != 0;
            layers[bias] = make_layer(&b, &c, 3);
        }
        device_mirror(&b, layers, 2);
        for (int n = 3; n <= 21; n += 18)
            for (int activation = LKS_ACT_NONE; activation <= LKS_ACT_TANH; activation++)
                for (int flags = 0; flags < 8; flags++) {
                    c.n = n;
                    c.activation = (lks_activation)activation;
                    c.bias = (flags & 1) != 0;
                    c.residual = (flags & 2) != 0;
                    c.in_place = (flags & 4) != 0;
                    check_layer(&b, &layers[flags & 1], &c);
                }
        device_close(&b);
    }
}

/* int8 sums are exact: with scales of powers of two and no bias the outputs are equal, bit for bit. Rows with NaN, infinity and
 * nothing but zeros become what the CPU makes of them. */
static void linear_odd_rows(void **state)
{
    (void)state;
    for (size_t p = 0; p < COUNT(precisions); p++)
        for (int n = 4; n <= 12; n += 8) {
            device_bench b;
            device_open(&b);
            linear_case c = {.precision = precisions[p], .d_in = 40, .d_out = 70};
            lks_linear layer = make_layer(&b, &c, 3);
            device_mirror(&b, &layer, 1);
            float *x = random_floats((size_t)n * 40, 5), *y = constant_floats((size_t)n * 70, 0.0f);
            x[3] = NAN;
            x[40 + 7] = INFINITY;
            for (int k = 0; k < 40; k++)
                x[80 + k] = 0.0f;
            float *device_x = device_put(&b, x, (size_t)n * 40 * sizeof *x),
                  *device_y = device_put(&b, NULL, (size_t)n * 280);
            lks_linear_dense(&b.reference, &layer, y, x, n, LKS_ACT_NONE, NULL);
            lks_linear_dense(&b.compute, &layer, device_y, device_x, n, LKS_ACT_NONE, NULL);
            float *actual = device_get(&b, device_y, (size_t)n * 280);
            for (int i = 0; i < 140; i++)
                assert_true(!isfinite(actual[i]) && !isfinite(y[i]));
            assert_close(actual + 140, y + 140, (size_t)(n - 2) * 70, 2e-5, "rows beside those");
            free(actual);
            free(x);
            free(y);
            device_close(&b);
        }
}

static void linear_top(void **state)
{
    (void)state;
    static const int widths[] = {1, 64, 2048, 2049, 5000};
    for (size_t p = 0; p < COUNT(precisions); p++) {
        device_bench b;
        device_open(&b);
        lks_linear layers[COUNT(widths)];
        for (size_t i = 0; i < COUNT(widths); i++) {
            linear_case c = {.precision = precisions[p], .d_in = 33, .d_out = widths[i], .bias = true};
            layers[i] = make_layer(&b, &c, (uint32_t)i);
        }
        device_mirror(&b, layers, COUNT(widths));
        for (size_t i = 0; i < COUNT(widths); i++)
            for (int n = 1; n <= 10; n += 9) {
                int k = widths[i] < 11 ? widths[i] : 11, d = widths[i];
                size_t cells = (size_t)(n * k);
                float *x = random_floats((size_t)n * 33, 5), *all = constant_floats((size_t)n * (size_t)d, 0.0f);
                float *values = constant_floats(cells, 0.0f), *sums = constant_floats((size_t)n, 0.0f);
                int32_t *indices = malloc(cells * sizeof *indices);
                assert_non_null(indices);
                float *device_x = device_put(&b, x, (size_t)n * 33 * sizeof *x);
                float *device_all = device_put(&b, NULL, (size_t)n * (size_t)d * sizeof *all);
                const lks_top top = {k, device_put(&b, NULL, cells * 4), device_put(&b, NULL, cells * 4),
                                     device_put(&b, NULL, (size_t)n * 4)};
                lks_linear_top(&b.compute, &layers[i], &top, device_x, n);
                lks_linear_dense(&b.compute, &layers[i], device_all, device_x, n, LKS_ACT_NONE, NULL);
                float *outputs = device_get(&b, device_all, (size_t)n * (size_t)d * sizeof *outputs);
                b.reference.ops->top_k(&b.reference, values, indices, outputs, n, d, k);
                b.reference.ops->log_sum_exp(&b.reference, sums, outputs, n, d);
                device_assert_close(&b, top.values, values, cells, 0.0, "values");
                device_assert_close(&b, top.log_sum_exp, sums, (size_t)n, 2e-6, "log-sum-exp");
                int32_t *found = device_get(&b, top.indices, cells * sizeof *found);
                assert_memory_equal(found, indices, cells * sizeof *found);
                free(found);
                free(outputs);
                free(indices);
                free(x);
                free(all);
                free(values);
                free(sums);
                device_reset(&b);
            }
        device_close(&b);
    }
}

/* ---- rows ---- */

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
    static const int widths[] = {1, 3, 31, 64, 127, 129, 768, 1025};
    device_bench b;
    device_open(&b);
    float *w = random_floats(2048, 1), *weight = device_weight(&b, w, 1200 * sizeof *w), *bias = weight + 7;
    device_mirror(&b, NULL, 0);
    for (size_t i = 0; i < COUNT(widths); i++)
        for (int n = 1; n <= 6; n += 5) {
            int d = widths[i];
            size_t count = (size_t)(n * d);
            float *x = random_floats(count, 2), *y = constant_floats(count, 9.0f);
            for (size_t j = 0; j < count; j++)
                x[j] = x[j] * 3.0f + 40.0f; /* a mean that squares would drown in */
            float *device_x = device_put(&b, x, count * 4), *device_y = device_put(&b, NULL, count * 4);
            const lks_ops *ops = b.compute.ops, *ref = b.reference.ops;
            for (int with_bias = 0; with_bias < 2; with_bias++) {
                ref->layer_norm(&b.reference, y, x, n, d, weight, with_bias ? bias : NULL, 1e-5f);
                ops->layer_norm(&b.compute, device_y, device_x, n, d, weight, with_bias ? bias : NULL, 1e-5f);
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
        size_t count = (size_t)(n * d);
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

/* ---- elements ---- */

static void elements(void **state)
{
    (void)state;
    static const int shapes[][2] = {{1, 1}, {3, 7}, {5, 64}, {70, 33}};
    device_bench b;
    device_open(&b);
    const lks_ops *ops = b.compute.ops, *ref = b.reference.ops;
    float *w = random_floats(64, 8), *scale = device_weight(&b, w, 64 * sizeof *w);
    device_mirror(&b, NULL, 0);
    for (size_t s = 0; s < COUNT(shapes); s++) {
        int n = shapes[s][0], d = shapes[s][1];
        size_t count = (size_t)(n * d), bytes = count * sizeof(float);
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
        assert_memory_equal(rounded, halves, count * sizeof *rounded);
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

/* ---- convolutions ---- */

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
                        size_t n_x = (size_t)(2 * c.height * c.width * c.c_in);
                        size_t n_y = (size_t)(2 * c.out_height * c.out_width * c.c_out);
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

/* ---- the queue ---- */

/* More than the pinned memory holds, there and back, and what is overwritten after upload has been taken along. */
static void transfers(void **state)
{
    (void)state;
    device_bench b;
    device_open(&b);
    const lks_ops *ops = b.compute.ops;
    size_t n = (size_t)5 << 20;
    float *x = random_floats(n, 1), *copy = malloc(n * sizeof *copy), small[40] = {0};
    assert_non_null(copy);
    memcpy(copy, x, n * sizeof *x);
    float *memory = device_put(&b, x, n * sizeof *x);
    memset(x, 0, n * sizeof *x);
    float *back = device_get(&b, memory, n * sizeof *back);
    assert_memory_equal(back, copy, n * sizeof *back);
    for (int i = 0; i < 40; i++) /* more than wait at a time */
        ops->download(&b.compute, &small[i], memory + i, sizeof *small);
    assert_int_equal(ops->sync(&b.compute, NULL), LKS_OK);
    assert_memory_equal(small, copy, sizeof small);
    free(back);
    free(copy);
    free(x);
    device_close(&b);
}

/* Recorded work is done the first time, when it is recorded and when it comes again, with what its inputs are then. */
static void recordings(void **state)
{
    (void)state;
    device_bench b;
    device_open(&b);
    const lks_ops *ops = b.compute.ops;
    linear_case c = {.precision = LKS_PRECISION_F32, .d_in = 20, .d_out = 30, .bias = true};
    lks_linear layer = make_layer(&b, &c, 3);
    device_mirror(&b, &layer, 1);
    enum { N = 12 };
    float *device_x = device_put(&b, NULL, N * 80), *device_y = device_put(&b, NULL, N * 120), y[N * 30];
    int n_run = 0;
    for (int turn = 0; turn < 6; turn++) {
        const int64_t key[4] = {turn % 2, 1, 2, 3};
        lks_activation activation = turn % 2 ? LKS_ACT_RELU : LKS_ACT_GELU;
        float *x = random_floats(N * 20, (uint32_t)turn);
        ops->upload(&b.compute, device_x, x, N * 80);
        if (!ops->record(&b.compute, key)) {
            lks_linear_dense(&b.compute, &layer, device_y, device_x, N, activation, NULL);
            ops->add_scaled(&b.compute, device_y, device_y, device_y, NULL, N, 30);
            ops->recorded(&b.compute);
            n_run++;
        }
        lks_linear_dense(&b.reference, &layer, y, x, N, activation, NULL);
        b.reference.ops->add_scaled(&b.reference, y, y, y, NULL, N, 30);
        device_assert_close(&b, device_y, y, N * 30, 2e-5, "recorded work");
        free(x);
    }
    assert_int_equal(n_run, 4); /* each key twice */

    /* memory that comes and goes takes the recordings with it */
    lks_arena other;
    assert_int_equal(ops->arena_open(&b.compute, &other, 1000, NULL), LKS_OK);
    ops->arena_close(&b.compute, &other);
    const int64_t key[4] = {0, 1, 2, 3};
    assert_false(ops->record(&b.compute, key));
    ops->recorded(&b.compute);
    device_close(&b);
}

static void too_much_memory(void **state)
{
    (void)state;
    device_bench b;
    device_open(&b);
    lks_arena arena = {0};
    lks_error err = {.message = ""};
    assert_int_equal(b.compute.ops->arena_open(&b.compute, &arena, (size_t)1 << 50, &err), LKS_ERR_NOMEM);
    assert_non_null(strstr(err.message, "out of memory"));
    assert_null(arena.base);
    assert_int_equal(b.compute.ops->sync(&b.compute, &err), LKS_OK); /* the queue goes on */
    device_close(&b);
}

int main(void)
{
    device_need();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(linear_shapes), cmocka_unit_test(linear_options), cmocka_unit_test(linear_odd_rows),
        cmocka_unit_test(linear_top),    cmocka_unit_test(top_k_order),    cmocka_unit_test(norms),
        cmocka_unit_test(softmaxes),     cmocka_unit_test(elements),       cmocka_unit_test(embedding),
        cmocka_unit_test(moving_rows),   cmocka_unit_test(convolutions),   cmocka_unit_test(patches),
        cmocka_unit_test(transfers),     cmocka_unit_test(recordings),     cmocka_unit_test(too_much_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
