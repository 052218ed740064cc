/* Linear layers of a device in every precision, against the reference. */
#include <math.h>

#include "tests/cuda/device_test.h"

static const int row_counts[] = {1, 2, 3, 4, 5, 8, 9, 33, 70};

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
    size_t n_x = (size_t)c->n * (size_t)x_stride, n_y = (size_t)c->n * (size_t)y_stride;
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
    /* A sum is as uncertain as its largest partial sums, which grow as the square root of their number. */
    double tolerance = 2e-5 * fmax(1.0, sqrt(c->d_in / 128.0));
    device_assert_close(b, device_y, y, n_y, tolerance, what);
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
    static const int widths[][2] = {{1, 1},  {3, 7},     {64, 64},   {50, 130}, {129, 65},  {100, 200},
                                    {8, 17}, {1032, 40}, {272, 100}, {48, 3},   {8, 16500}, {5200, 8}};
    for (size_t p = 0; p < COUNT(precisions); p++) {
        if (!device_takes(precisions[p]))
            continue;
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
                if (c.d_out > 1000 && c.n != 8) /* more take long */
                    continue;
                check_layer(&b, &layers[i], &c);
            }
        device_close(&b);
    }
}

static void linear_options(void **state)
{
    (void)state;
    for (size_t i = 0; i < 2 * COUNT(precisions); i++) {
        size_t p = i / 2, k = i % 2;
        if (!device_takes(precisions[p]))
            continue;
        device_bench b;
        device_open(&b);
        linear_case c = {.precision = precisions[p], .d_in = 50, .d_out = 77, .extra = 5};
        if (k > 0) /* rows that can be read four numbers at a time */
            c = (linear_case){.precision = precisions[p], .d_in = 48, .d_out = 80, .extra = 4};
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
            if (!device_takes(precisions[p]))
                continue;
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
    enum { ROW_UNIT = 32 }; /* as far apart as linear_top has them: cuBLASLt adds in an order that depends on it */
    static const int widths[] = {1, 64, 2048, 2049, 5000};
    for (size_t p = 0; p < COUNT(precisions); p++) {
        if (!device_takes(precisions[p]))
            continue;
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
                size_t cells = (size_t)n * (size_t)k;
                float *x = random_floats((size_t)n * 33, 5), *all = constant_floats((size_t)n * (size_t)d, 0.0f);
                float *values = constant_floats(cells, 0.0f), *sums = constant_floats((size_t)n, 0.0f);
                int32_t *indices = malloc(cells * sizeof *indices);
                assert_non_null(indices);
                float *device_x = device_put(&b, x, (size_t)n * 33 * sizeof *x);
                const int stride = (d + ROW_UNIT - 1) / ROW_UNIT * ROW_UNIT;
                float *device_all = device_put(&b, NULL, (size_t)n * (size_t)stride * sizeof *all);
                const lks_top top = {k, device_put(&b, NULL, cells * 4), device_put(&b, NULL, cells * 4),
                                     device_put(&b, NULL, (size_t)n * 4)};
                lks_linear_top(&b.compute, &layers[i], &top, device_x, n);
                const lks_linear_args args = {
                    .n = n, .x = device_x, .x_stride = 33, .y = device_all, .y_stride = stride};
                lks_linear_run(&b.compute, &layers[i], &args);
                float *outputs = device_get(&b, device_all, (size_t)n * (size_t)stride * sizeof *outputs);
                for (size_t row = 1; row < (size_t)n; row++)
                    memmove(outputs + row * (size_t)d, outputs + row * (size_t)stride, (size_t)d * sizeof *outputs);
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

/* Outputs that are no numbers, a whole search's part of them, are not lost in the log-sum-exp. */
static void top_without_numbers(void **state)
{
    (void)state;
    enum { D_OUT = 4100, FIRST = 2048, LAST = 4095 };
    device_bench b;
    device_open(&b);
    float *w = random_floats(D_OUT * 8, 3), *bias = constant_floats(D_OUT, 0.0f), x[8] = {1.0f};
    for (int o = FIRST; o <= LAST; o++)
        bias[o] = NAN;
    const lks_linear layer = {.d_in = 8,
                              .d_out = D_OUT,
                              .packed = device_weight(&b, w, D_OUT * 8 * sizeof *w),
                              .bias = device_weight(&b, bias, D_OUT * sizeof *bias)};
    device_mirror(&b, &layer, 1);
    const lks_top top = {1, device_put(&b, NULL, 4), device_put(&b, NULL, 4), device_put(&b, NULL, 4)};
    lks_linear_top(&b.compute, &layer, &top, device_put(&b, x, sizeof x), 1);
    float *sum = device_get(&b, top.log_sum_exp, sizeof *sum), *best = device_get(&b, top.values, sizeof *best);
    assert_true(isnan(*sum) && !isnan(*best));
    free(best);
    free(sum);
    free(bias);
    free(w);
    device_close(&b);
}

int main(void)
{
    device_need();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(linear_shapes), cmocka_unit_test(linear_options),      cmocka_unit_test(linear_odd_rows),
        cmocka_unit_test(linear_top),    cmocka_unit_test(top_without_numbers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
