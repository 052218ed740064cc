/* lks_decoder_credit, which goes back from the logit, against the same sum made forwards, patch by patch; and against what really
 * happens to the shipped model without a patch. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "apps/captioner/model.h"
#include "text/decoder_state.h"

#define MODELS "tests/parity/models/"
#define PHOTO "tests/parity/photos/wide.jpg"

static lks_error err;

static void ok(lks_status st)
{
    if (st != LKS_OK)
        fail_msg("%s", err.message);
}

typedef struct bench {
    lks_model *model;
    lks_threads *threads;
    lks_arena arena;
    lks_compute compute;
    lks_decoder_state *state;
    float *memory, *logits;
    int n_memory, n_prefix, vocab;
} bench;

static void bench_open(bench *b, const char *path, const char *photo, const char *dtype, int n_tokens)
{
    const lks_model_options options = {.size = sizeof options, .n_threads = 1, .dtype = dtype};
    *b = (bench){0};
    ok(lks_model_open(&b->model, path, &options, &err));
    ok(lks_threads_open(&b->threads, 1, &err));
    const lks_vit_shape *shape = lks_vit_usual_shape(b->model->vit);
    b->n_memory = shape->n_tokens;
    b->n_prefix = lks_vit_n_prefix(b->model->vit);
    b->vocab = lks_decoder_describe(b->model->decoder)->vocab_size;
    size_t encode = lks_vit_scratch(b->model->vit, shape, 1, 1);
    size_t decode = lks_decoder_scratch(b->model->decoder, 1, n_tokens, n_tokens, b->n_memory, 1);
    ok(lks_arena_init(&b->arena, encode > decode ? encode : decode, &err));
    b->compute = (lks_compute){.ops = b->model->ops, .threads = b->threads, .scratch = &b->arena};
    float *pixels = malloc((size_t)(shape->width * shape->height * 3) * sizeof *pixels);
    b->memory = malloc((size_t)(b->n_memory * lks_vit_width(b->model->vit)) * sizeof *b->memory);
    b->logits = malloc((size_t)b->vocab * sizeof *b->logits);
    assert_true(pixels && b->memory && b->logits);
    lks_image image;
    ok(lks_image_read(&image, NULL, photo, &(lks_decode_options){0}, &err));
    ok(lks_preprocess_run(&b->model->preprocess, pixels, &image, &b->compute, &err));
    ok(lks_vit_encode(b->model->vit, &b->compute, b->memory, pixels, shape, 1, &err));
    lks_image_release(&image);
    free(pixels);
    ok(lks_decoder_state_open(&b->state, b->model->decoder, &b->compute, 1, n_tokens, b->n_memory,
                              LKS_DECODER_KEEP_MAPS, &err));
}

static void bench_close(bench *b)
{
    lks_decoder_state_close(b->state);
    lks_threads_close(b->threads);
    lks_arena_release(&b->arena);
    lks_model_close(b->model);
    free(b->memory);
    free(b->logits);
}

/* The value [d] of patch j in a layer. */
static float *value_of(const bench *b, int layer, int j)
{
    size_t d = (size_t)b->state->decoder->config.width;
    size_t at = (size_t)layer * (size_t)b->n_memory + (size_t)(b->n_prefix + j);
    return b->state->cross_kv + at * 2 * d + d;
}

/* Reads the tokens with patch `without` (-1: none) replaced by the mean; logits are those of what follows. */
static void read_tokens(bench *b, const int32_t *tokens, int n, int without)
{
    int patches = b->n_memory - b->n_prefix, d = b->state->decoder->config.width;
    lks_decoder_begin(b->state, NULL, 1);
    ok(lks_decoder_look(&b->compute, b->state, 0, 1, b->memory, &err));
    for (int layer = 0; without >= 0 && layer < b->state->decoder->config.n_layers; layer++)
        for (int k = 0; k < d; k++) {
            double sum = 0.0;
            for (int j = 0; j < patches; j++)
                sum += (double)value_of(b, layer, j)[k];
            value_of(b, layer, without)[k] = (float)(sum / patches);
        }
    ok(lks_decoder_step(b->state, b->logits, tokens, 1, n, &err));
}

static double correlation(const double *a, const double *b, int n)
{
    double ma = 0.0, mb = 0.0, ab = 0.0, aa = 0.0, bb = 0.0;
    for (int i = 0; i < n; i++) {
        ma += a[i] / n;
        mb += b[i] / n;
    }
    for (int i = 0; i < n; i++) {
        ab += (a[i] - ma) * (b[i] - mb);
        aa += (a[i] - ma) * (a[i] - ma);
        bb += (b[i] - mb) * (b[i] - mb);
    }
    return ab / sqrt(aa * bb);
}

/* What a norm makes of a small difference of its input. */
static void norm_difference(double *difference, const lks_norm *norm, double scale, int d)
{
    double mean = 0.0;
    for (int k = 0; k < d; k++)
        mean += difference[k] / d;
    for (int k = 0; k < d; k++)
        difference[k] = scale * (double)norm->weight[k] * (difference[k] - mean);
}

/* What a linear layer makes of a difference: without its bias. */
static void linear_difference(const bench *b, double *out, const lks_linear *layer, const double *in)
{
    float *x = malloc((size_t)layer->d_in * sizeof *x), *y = malloc((size_t)layer->d_out * sizeof *y);
    assert_true(x && y);
    for (int k = 0; k < layer->d_in; k++)
        x[k] = (float)in[k];
    lks_linear_dense(&b->compute, layer, y, x, 1, LKS_ACT_NONE, NULL);
    for (int o = 0; o < layer->d_out; o++)
        out[o] = (double)y[o] - (layer->bias ? (double)layer->bias[o] : 0.0);
    free(x);
    free(y);
}

/* The head's dense layer and activation at the point where the last step stood. */
static void transform_difference(const bench *b, double *difference, int position)
{
    const lks_decoder *decoder = b->state->decoder;
    int d = decoder->config.width;
    const float step = 1e-2f;
    lks_activation activation = lks_decoder_head_activation(&decoder->config);
    float at[64];
    double changed[64];
    assert_true(d <= 64);
    lks_linear_dense(&b->compute, &decoder->ends.head_dense, at, lks_kept_last(b->state, &b->state->kept, position, 0),
                     1, LKS_ACT_NONE, NULL);
    linear_difference(b, changed, &decoder->ends.head_dense, difference);
    for (int k = 0; k < d; k++) {
        float around[2] = {at[k] - step, at[k] + step};
        b->compute.ops->activate(&b->compute, around, around, 2, activation);
        difference[k] = changed[k] * (double)(around[1] - around[0]) / (2.0 * (double)step);
    }
    norm_difference(difference, &decoder->ends.head_norm, 1.0, d);
}

/* How the logits [vocab] change by what layer `layer` read from patch j at `position`, over the mean patch. */
static void push_forward(const bench *b, double *logits, int layer, int j, int position)
{
    const lks_decoder *decoder = b->state->decoder;
    const lks_decoder_config *c = &decoder->config;
    int d = c->width, d_head = d / c->n_heads, patches = b->n_memory - b->n_prefix;
    const float *weights = lks_kept_weights(b->state, &b->state->kept, position, layer, 0);
    double *read = calloc((size_t)d, sizeof *read), *difference = calloc((size_t)d, sizeof *difference);
    assert_true(read && difference);
    for (int k = 0; k < d; k++) {
        double mean = 0.0;
        for (int i = 0; i < patches; i++)
            mean += (double)value_of(b, layer, i)[k] / patches;
        read[k] =
            (double)weights[k / d_head * b->n_memory + b->n_prefix + j] * ((double)value_of(b, layer, j)[k] - mean);
    }
    linear_difference(b, difference, &decoder->blocks[layer].cross_out, read);
    for (int l = layer; l < c->n_layers && !c->pre_norm; l++) {
        const lks_decoder_block *block = &decoder->blocks[l];
        const float *scales = lks_kept_scales(b->state, &b->state->kept, position, 0, l);
        if (l > layer)
            norm_difference(difference, &block->norm_self, (double)scales[LKS_NORM_SELF], d);
        norm_difference(difference, &block->norm_cross, (double)scales[LKS_NORM_CROSS], d);
        norm_difference(difference, &block->norm_mlp, (double)scales[LKS_NORM_MLP], d);
    }
    if (c->final_norm)
        norm_difference(difference, &decoder->ends.final_norm, 1.0, d);
    if (c->head_transform)
        transform_difference(b, difference, position);
    linear_difference(b, logits, &decoder->ends.head, difference);
    free(read);
    free(difference);
}

static void check_forward(const char *path, const char *dtype, double tolerance)
{
    enum { N_TOKENS = 5 };
    bench b;
    bench_open(&b, path, PHOTO, dtype, N_TOKENS);
    int32_t tokens[N_TOKENS] = {b.model->generation.search.start_token, 3, 9, 4, 1}, row = 0;
    int patches = b.n_memory - b.n_prefix, position = N_TOKENS - 1;
    float *credit = malloc((size_t)patches * sizeof *credit);
    double *logits = calloc((size_t)b.vocab, sizeof *logits);
    assert_true(credit && logits);
    read_tokens(&b, tokens, N_TOKENS, -1);
    const int32_t said = 7;
    ok(lks_decoder_credit(b.state, credit, &said, &row, position, 1, b.n_prefix, &err));
    double largest = 0.0;
    for (int j = 0; j < patches; j++)
        largest = fmax(largest, fabs((double)credit[j]));
    assert_true(largest > 0.0);
    for (int j = 0; j < patches; j++) {
        double sum = 0.0;
        for (int layer = 0; layer < b.state->decoder->config.n_layers; layer++) {
            push_forward(&b, logits, layer, j, position);
            sum += logits[said];
        }
        if (!(fabs(sum - (double)credit[j]) <= tolerance * largest))
            fail_msg("%s: patch %d has credit %g, forwards %g (largest %g)", path, j, (double)credit[j], sum, largest);
    }
    free(credit);
    free(logits);
    bench_close(&b);
}

static void test_back_and_forth(void **state)
{
    (void)state;
    static const char *const models[] = {
        "vit-gpt2-bin", "dinov2-swiglu-gpt2", "vit-bert-bin",     "deit-bert-untied",    "blip-full",
        "blip-sparse",  "vit-trocr",          "vit-trocr-oblong", "deit-trocr-sinusoid", "dinov2-roberta-sharded"};
    for (size_t i = 0; i < sizeof models / sizeof *models; i++) {
        char path[128];
        snprintf(path, sizeof path, MODELS "%s", models[i]);
        check_forward(path, "f32", 2e-3);
    }
    check_forward(MODELS "vit-gpt2-bin", "int8", 0.1); /* going forwards, int8 layers round their inputs */
}

/* Says the most likely words about a photo with the shipped model, begun as captions are; returns their number, the end token
 * included. To *sum is added, for every token, how the credit of patches correlates with what its logit loses when a patch's value is
 * replaced, in all layers, by the mean over patches. */
static int compare_with_loss(double *sum, const char *photo)
{
    enum { N_TOKENS = 16 };
    bench b;
    bench_open(&b, "assets/model/looksay.gguf", photo, "auto", N_TOKENS);
    int patches = b.n_memory - b.n_prefix, n = 1;
    double *credits = malloc((size_t)patches * sizeof *credits), *effects = malloc((size_t)patches * sizeof *effects);
    float *credit = malloc((size_t)patches * sizeof *credit);
    assert_true(credits && effects && credit);
    const lks_search_options *search = &b.model->generation.search;
    assert_int_equal(search->n_end_tokens, 1);
    int32_t tokens[N_TOKENS + 1] = {search->start_token, b.model->languages.items[0].token};
    do {
        read_tokens(&b, tokens, ++n, -1);
        int32_t best = 0, row = 0;
        for (int32_t i = 1; i < b.vocab; i++)
            best = b.logits[i] > b.logits[best] ? i : best;
        double whole = (double)b.logits[best];
        ok(lks_decoder_credit(b.state, credit, &best, &row, n - 1, 1, b.n_prefix, &err));
        for (int j = 0; j < patches; j++) {
            read_tokens(&b, tokens, n, j);
            credits[j] = (double)credit[j];
            effects[j] = whole - (double)b.logits[best];
        }
        *sum += correlation(credits, effects, patches);
        tokens[n] = best;
    } while (n < N_TOKENS && tokens[n] != search->end_tokens[0]);
    free(credits);
    free(effects);
    free(credit);
    bench_close(&b);
    return n - 1;
}

static void test_what_is_lost_without_a_patch(void **state)
{
    (void)state;
    static const char *const photos[] = {"astronaut", "china", "coffee", "rocket"};
    double sum = 0.0;
    int n = 0;
    for (size_t i = 0; i < sizeof photos / sizeof *photos; i++) {
        char path[64];
        snprintf(path, sizeof path, "assets/photos/%s.jpg", photos[i]);
        n += compare_with_loss(&sum, path);
    }
    print_message("credit and effect correlate by %.2f over %d tokens\n", sum / n, n);
    if (!(sum / n > 0.3))
        fail_msg("credit and effect correlate by %g only", sum / n);
}

/* Asked for all tokens at once or one by one, credit is the same; positions that no step reached have none. */
static void test_batches_and_bounds(void **state)
{
    (void)state;
    bench b;
    bench_open(&b, MODELS "blip-full", PHOTO, "f32", 5);
    const int32_t tokens[5] = {b.model->generation.search.start_token, 3, 9, 4, 1}, rows[4] = {0};
    read_tokens(&b, tokens, 1, -1);
    for (int i = 1; i < 4; i++) /* one by one: credit is of what a step scored */
        ok(lks_decoder_step(b.state, b.logits, tokens + i, 1, 1, &err));
    int n = b.n_memory - b.n_prefix;
    float *all = malloc((size_t)(3 * n) * sizeof *all), *one = malloc((size_t)n * sizeof *one);
    if (!all || !one)
        abort();
    ok(lks_decoder_credit(b.state, all, tokens + 2, rows, 1, 3, b.n_prefix, &err));
    for (int i = 0; i < 3; i++) {
        ok(lks_decoder_credit(b.state, one, tokens + 2 + i, rows, 1 + i, 1, b.n_prefix, &err));
        for (int j = 0; j < n; j++)
            assert_true(fabsf(one[j] - all[i * n + j]) <= 1e-5f * (1.0f + fabsf(one[j])));
    }
    assert_int_equal(lks_decoder_credit(b.state, all, tokens, rows, 2, 3, b.n_prefix, &err), LKS_ERR_ARGUMENT);
    free(all);
    free(one);
    bench_close(&b);
}

/* A memory in bf16 gives nearly the same logits and credit, and not the very same. */
static void test_memory_in_bf16(void **state)
{
    (void)state;
    enum { N_TOKENS = 5 };
    static const char *const models[] = {MODELS "blip-full", MODELS "vit-gpt2-bin"};
    for (size_t m = 0; m < sizeof models / sizeof *models; m++) {
        bench b;
        bench_open(&b, models[m], PHOTO, "f32", N_TOKENS);
        const int32_t tokens[N_TOKENS] = {b.model->generation.search.start_token, 3, 9, 4, 1}, said = 7, row = 0;
        int n = b.n_memory - b.n_prefix;
        float *credit[2], *logits = malloc((size_t)b.vocab * sizeof *logits);
        assert_non_null(logits);
        for (int half = 0; half < 2; half++) {
            if (half) {
                lks_decoder_state_close(b.state);
                ok(lks_decoder_state_open(&b.state, b.model->decoder, &b.compute, 1, N_TOKENS, b.n_memory,
                                          LKS_DECODER_KEEP_MAPS | LKS_DECODER_BF16_MEMORY, &err));
                assert_null(b.state->cross_kv);
            }
            credit[half] = malloc((size_t)n * sizeof *credit[half]);
            assert_non_null(credit[half]);
            lks_decoder_begin(b.state, NULL, 1);
            ok(lks_decoder_look(&b.compute, b.state, 0, 1, b.memory, &err));
            ok(lks_decoder_step(b.state, half ? b.logits : logits, tokens, 1, N_TOKENS, &err));
            ok(lks_decoder_credit(b.state, credit[half], &said, &row, N_TOKENS - 1, 1, b.n_prefix, &err));
        }
        double gap = 0.0, size = 0.0, credit_gap = 0.0, credit_size = 0.0;
        for (int i = 0; i < b.vocab; i++) {
            gap = fmax(gap, fabs((double)(logits[i] - b.logits[i])));
            size = fmax(size, fabs((double)logits[i]));
        }
        for (int j = 0; j < n; j++) {
            credit_gap = fmax(credit_gap, fabs((double)(credit[0][j] - credit[1][j])));
            credit_size = fmax(credit_size, fabs((double)credit[0][j]));
        }
        if (!(gap > 0.0 && gap < 0.02 * size && credit_gap < 0.05 * credit_size))
            fail_msg("%s: logits differ by %g of %g, credit by %g of %g", models[m], gap, size, credit_gap,
                     credit_size);
        free(credit[0]);
        free(credit[1]);
        free(logits);
        bench_close(&b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_back_and_forth),
        cmocka_unit_test(test_what_is_lost_without_a_patch),
        cmocka_unit_test(test_batches_and_bounds),
        cmocka_unit_test(test_memory_in_bf16),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
