/* See packed_layer.h. */
#include "tests/ops/packed_layer.h"

#include <math.h>

packed_layer layer_pack(const float *w, int d_in, int d_out, bool with_bias)
{
    packed_layer p = {.bias = random_floats((size_t)d_out, 3)};
    p.layer = (lks_linear){.d_in = d_in, .d_out = d_out, .bias = with_bias ? p.bias : NULL};
    tested_format.pack(&p.layer, w, d_out / 128 * 64);
    return p;
}

void layer_release(packed_layer *p)
{
    tested_format.release(&p->layer);
    free(p->bias);
}

linear_function *layer_bench_open(bench *b, lks_isa isa, int n_threads)
{
    if (isa != EMULATED) {
        bench_open(b, isa, n_threads);
        return lks_linear_run;
    }
    if (!tested_format.emulated || !*tested_format.emulated)
        skip();
    bench_open(b, LKS_ISA_AVX2, n_threads);
    return *tested_format.emulated;
}

/* The output rows with their gaps, which must stay as they were. */
static float *run(const bench *b, linear_function *function, const layer_case *c, const float *w)
{
    size_t x_stride = (size_t)c->d_in + (size_t)c->extra_stride, y_stride = (size_t)c->d_out + (size_t)c->extra_stride;
    float *x = random_floats((size_t)c->n * x_stride, 1), *y = random_floats((size_t)c->n * y_stride, 4);
    float *residual = random_floats((size_t)c->n * y_stride, 5);
    for (size_t i = 0; i < (size_t)c->n * x_stride; i++)
        x[i] = x[i] * c->scale + c->offset;
    packed_layer p = layer_pack(w, c->d_in, c->d_out, c->bias);
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
    layer_release(&p);
    free(x);
    free(residual);
    return y;
}

static void check(void **state, const layer_case *c)
{
    bench ref, two, one;
    linear_function *function = layer_bench_open(&two, test_isa(state), 2);
    layer_bench_open(&one, test_isa(state), 1);
    bench_open(&ref, LKS_ISA_REF, 1);
    float *w = random_floats((size_t)c->d_in * (size_t)c->d_out, 2);
    size_t count = (size_t)c->n * (size_t)(c->d_out + c->extra_stride);
    float *expected = run(&ref, lks_linear_run, c, w);
    float *actual = run(&two, function, c, w), *single = run(&one, function, c, w);
    char what[128];
    snprintf(what, sizeof what, "n %d, %d -> %d, activation %d", c->n, c->d_in, c->d_out, (int)c->activation);
    assert_close(actual, expected, count, tested_format.tolerance(c), what);
    assert_same(actual, single, count, what);
    free(w);
    free(expected);
    free(actual);
    free(single);
    bench_close(&ref);
    bench_close(&two);
    bench_close(&one);
}

void layer_assert_exact(const bench *b, linear_function *function, const float *w, const float *x, int n, int d_in,
                        int d_out)
{
    float *y = constant_floats((size_t)n * (size_t)d_out, 0);
    packed_layer p = layer_pack(w, d_in, d_out, false);
    lks_linear_args args = {.n = n, .x = x, .x_stride = d_in, .y = y, .y_stride = d_out};
    function(&b->compute, &p.layer, &args);
    for (int i = 0; i < n; i++)
        for (int o = 0; o < d_out; o++) {
            double sum = 0;
            for (int k = 0; k < d_in; k++)
                sum += (double)x[i * d_in + k] * (double)w[o * d_in + k];
            assert_true((double)y[i * d_out + o] == sum);
        }
    layer_release(&p);
    free(y);
}

void layer_assert_strange(void **state, int n, void (*spoil)(float *x), void (*look)(const float *y))
{
    enum { D_IN = STRANGE_INPUTS, D_OUT = STRANGE_OUTPUTS };
    bench b;
    bench_open(&b, test_isa(state), 1);
    float *w = random_floats(D_OUT * D_IN, 2), *x = random_floats((size_t)n * D_IN, 1);
    float *y = constant_floats((size_t)n * D_OUT, 0);
    packed_layer p = layer_pack(w, D_IN, D_OUT, true);
    memset(x, 0, D_IN * sizeof *x);
    spoil(x);
    lks_linear_args args = {.n = n, .x = x, .x_stride = D_IN, .y = y, .y_stride = D_OUT};
    lks_linear_run(&b.compute, &p.layer, &args);
    assert_same(y, p.bias, D_OUT, "a row of zeros");
    look(y);
    layer_release(&p);
    free(w);
    free(x);
    free(y);
    bench_close(&b);
}

void layer_shapes(void **state)
{
    static const int rows[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 65, 197}, widths[] = {1, 3, 7, 63, 64, 65, 130, 321};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        for (size_t j = 0; j < sizeof widths / sizeof *widths; j++)
            for (size_t k = 0; k < sizeof widths / sizeof *widths; k += 2)
                check(state,
                      &(layer_case){.n = rows[i], .d_in = widths[j], .d_out = widths[k], .bias = true, .scale = 1});
}

void layer_large(void **state)
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

void layer_options(void **state)
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

/* Beside f32: the error of a sum of d_in products whose factors are rounded. */
void layer_close_to_f32(void **state)
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
    float *actual = run(&b, lks_linear_run, &c, w);
    double squares = 0, size = 0;
    for (int i = 0; i < c.n * c.d_out; i++) {
        squares += ((double)actual[i] - (double)expected[i]) * ((double)actual[i] - (double)expected[i]);
        size += (double)expected[i] * (double)expected[i];
    }
    double share = sqrt(squares / size);
    assert_true(share > tested_format.least_share && share < tested_format.most_share);
    free(w);
    free(x);
    free(bias);
    free(expected);
    free(actual);
    bench_close(&b);
    bench_close(&ref);
}

void layer_batch_independence(void **state)
{
    bench b;
    bench_open(&b, test_isa(state), 3);
    layer_case c = {.n = 300, .d_in = 500, .d_out = 300, .bias = true, .activation = LKS_ACT_GELU, .scale = 0.3f};
    float *w = random_floats((size_t)c.d_in * (size_t)c.d_out, 2);
    float *all = run(&b, lks_linear_run, &c, w);
    static const int counts[] = {1, 2, 3, 5, 8, 9, 40, 193};
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        c.n = counts[i];
        float *some = run(&b, lks_linear_run, &c, w);
        assert_same(some, all, (size_t)c.n * (size_t)c.d_out, "rows of a smaller batch");
        free(some);
    }
    free(w);
    free(all);
    bench_close(&b);
}
