/* A transformer's layer as one op of a device, with bf16 weights, against the reference step by step. */
#include <math.h>

#include "tests/cuda/device_test.h"

/* |device - reference| / |reference|: a step's results are rounded to 8 bits on the device, and are not on the CPU. */
static const double TOLERANCE = 8e-3;

typedef struct block_case {
    int d, n_heads, d_mlp;
    bool bias;
    lks_activation activation;
} block_case;

static lks_linear make_layer(device_bench *b, int d_in, int d_out, bool bias, uint32_t seed)
{
    lks_linear layer = {.d_in = d_in, .d_out = d_out};
    float *w = random_floats((size_t)d_in * (size_t)d_out, seed), *added = random_floats((size_t)d_out, seed + 1);
    for (int i = 0; i < d_in * d_out; i++)
        w[i] *= 1.5f / sqrtf((float)d_in);
    uint16_t *panels = lks_arena_take(&b->weights, lks_bf16_panel_count(d_in, d_out), sizeof *panels);
    assert_non_null(panels);
    lks_bf16_pack(panels, w, d_in, 0, d_out);
    layer.bf16.panels = panels;
    if (bias)
        layer.bias = device_weight(b, added, (size_t)d_out * sizeof *added);
    free(w);
    free(added);
    return layer;
}

static lks_norm make_norm(device_bench *b, int d, uint32_t seed)
{
    float *w = random_floats((size_t)d, seed), *bias = random_floats((size_t)d, seed + 1);
    for (int i = 0; i < d; i++)
        w[i] = 1.0f + 0.5f * w[i];
    lks_norm norm = {device_weight(b, w, (size_t)d * sizeof *w), device_weight(b, bias, (size_t)d * sizeof *bias)};
    free(w);
    free(bias);
    return norm;
}

static lks_block make_block(device_bench *b, const block_case *c)
{
    return (lks_block){.norm1 = make_norm(b, c->d, 1),
                       .norm2 = make_norm(b, c->d, 3),
                       .qkv = make_layer(b, c->d, 3 * c->d, c->bias, 5),
                       .proj = make_layer(b, c->d, c->d, c->bias, 7),
                       .fc1 = make_layer(b, c->d, c->d_mlp, c->bias, 9),
                       .fc2 = make_layer(b, c->d_mlp, c->d, c->bias, 11),
                       .n_heads = c->n_heads,
                       .activation = c->activation,
                       .eps = 1e-6f};
}

static void open_with(device_bench *b, lks_block *block, const block_case *c)
{
    device_open(b);
    *block = make_block(b, c);
    const lks_linear layers[] = {block->qkv, block->proj, block->fc1, block->fc2};
    device_mirror(b, layers, 4);
}

/* x [n_batch, n_tokens, d] by the device and step by step by the reference. */
static void check(device_bench *b, const lks_block *block, int n_batch, int n_tokens)
{
    size_t n = (size_t)n_batch * (size_t)n_tokens * (size_t)block->qkv.d_in;
    lks_arena scratch;
    lks_error err;
    size_t bytes = lks_block_scratch(b->reference.ops, block, n_batch, n_tokens) + lks_ops_scratch(1, 256, 128, 4096);
    assert_int_equal(lks_arena_init(&scratch, bytes, &err), LKS_OK);
    lks_compute reference = b->reference;
    reference.scratch = &scratch;
    float *x = random_floats(n, 21), *device_x = device_put(b, x, n * sizeof *x);
    lks_block_run(&reference, block, x, n_batch, n_tokens);
    lks_block_run(&b->compute, block, device_x, n_batch, n_tokens);
    float *actual = device_get(b, device_x, n * sizeof *actual);
    double off = 0.0, all = 0.0;
    for (size_t i = 0; i < n; i++) {
        off += ((double)actual[i] - x[i]) * ((double)actual[i] - x[i]);
        all += (double)x[i] * x[i];
    }
    if (!(sqrt(off / all) <= TOLERANCE))
        fail_msg("%d x %d tokens of %d, activation %d: off by %g", n_batch, n_tokens, block->qkv.d_in,
                 (int)block->activation, sqrt(off / all));
    free(actual);
    free(x);
    lks_arena_release(&scratch);
    device_reset(b);
}

static void shapes(void **state)
{
    (void)state;
    static const block_case cases[] = {{64, 2, 128, true, LKS_ACT_GELU},
                                       {48, 3, 200, true, LKS_ACT_GELU},
                                       {120, 5, 8, false, LKS_ACT_GELU},
                                       {8, 1, 16, true, LKS_ACT_GELU}};
    static const int n_tokens[] = {1, 2, 9, 17, 65, 70};
    for (size_t i = 0; i < COUNT(cases); i++) {
        device_bench b;
        lks_block block;
        open_with(&b, &block, &cases[i]);
        for (size_t k = 0; k < COUNT(n_tokens); k++)
            for (int n_batch = 1; n_batch <= 5; n_batch += 2) {
                assert_true(b.compute.ops->block_fits(&block, n_tokens[k]));
                check(&b, &block, n_batch, n_tokens[k]);
            }
        device_close(&b);
    }
}

static void activations(void **state)
{
    (void)state;
    for (int activation = LKS_ACT_NONE; activation <= LKS_ACT_TANH; activation++)
        for (int bias = 0; bias < 2; bias++) {
            const block_case c = {64, 2, 72, bias != 0, (lks_activation)activation};
            device_bench b;
            lks_block block;
            open_with(&b, &block, &c);
            check(&b, &block, 2, 11);
            device_close(&b);
        }
}

/* More rows than an emulated queue has room for: several sequences at a time. */
static void many_rows(void **state)
{
    (void)state;
    const block_case c = {8, 1, 4096, true, LKS_ACT_RELU};
    device_bench b;
    lks_block block;
    open_with(&b, &block, &c);
    check(&b, &block, 100, 7);
    device_close(&b);
}

/* Layers of the same rows, whose results are rounded; those that are not taken so, too. */
static void rounded_layers(void **state)
{
    (void)state;
    static const int widths[][2] = {{64, 32}, {2048, 8}, {64, 20}, {33, 64}};
    enum { LAYERS = 3 };
    device_bench b;
    device_open(&b);
    lks_linear layers[COUNT(widths)][LAYERS];
    for (size_t i = 0; i < COUNT(widths); i++)
        for (int k = 0; k < LAYERS; k++)
            layers[i][k] = make_layer(&b, widths[i][0], widths[i][1], k != 1, (uint32_t)k);
    device_mirror(&b, layers[0], (int)COUNT(widths) * LAYERS);
    for (size_t i = 0; i < COUNT(widths); i++)
        for (int n = 1; n <= 700; n += 699) { /* more rows of the widest than there is room for */
            size_t count = (size_t)n * (size_t)widths[i][1], n_inputs = (size_t)n * (size_t)widths[i][0];
            float *x = random_floats(n_inputs, 3), *y = constant_floats(count, 0.0f);
            float *device_x = device_put(&b, x, n_inputs * sizeof *x);
            float *exact = device_put(&b, NULL, count * sizeof *exact);
            const lks_linear *some[LAYERS];
            uint16_t *to[LAYERS];
            for (int k = 0; k < LAYERS; k++) {
                some[k] = &layers[i][k];
                to[k] = device_put(&b, NULL, count * sizeof *to[k] + LKS_ALIGNMENT);
            }
            lks_linear_rounded(&b.compute, to, exact, some, LAYERS, device_x, n);
            for (int k = 0; k < LAYERS; k++) {
                lks_linear_dense(&b.reference, some[k], y, x, n, LKS_ACT_NONE, NULL);
                uint16_t *halves = device_get(&b, to[k], count * sizeof *halves);
                float *actual = constant_floats(count, 0.0f);
                for (size_t j = 0; j < count; j++)
                    actual[j] = lks_bf16_to_float(halves[j]);
                assert_close(actual, y, count, 6e-3, "rounded results");
                free(actual);
                free(halves);
            }
            free(x);
            free(y);
            device_reset(&b);
        }
    device_close(&b);
}

/* What the one op does not take goes step by step. */
static void others(void **state)
{
    (void)state;
    const block_case odd = {60, 2, 72, true, LKS_ACT_GELU}, plain = {64, 2, 72, true, LKS_ACT_GELU};
    device_bench b;
    lks_block block;
    open_with(&b, &block, &odd);
    assert_false(b.compute.ops->block_fits(&block, 9));
    check(&b, &block, 2, 9);
    device_close(&b);

    device_open(&b);
    block = make_block(&b, &plain);
    float *scale = random_floats(64, 3);
    block.scale1 = block.scale2 = device_weight(&b, scale, 64 * sizeof *scale);
    block.gated = true;
    block.fc1 = make_layer(&b, 64, 144, true, 9);
    const lks_linear layers[] = {block.qkv, block.proj, block.fc1, block.fc2};
    device_mirror(&b, layers, 4);
    assert_false(b.compute.ops->block_fits(&block, 9));
    check(&b, &block, 2, 9);
    device_close(&b);
    free(scale);
}

int main(void)
{
    device_need_bf16();
    const struct CMUnitTest tests[] = {cmocka_unit_test(shapes), cmocka_unit_test(activations),
                                       cmocka_unit_test(many_rows), cmocka_unit_test(rounded_layers),
                                       cmocka_unit_test(others)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
