/* The maps of a caption against a decoder that is fed the caption's tokens in one go, for greedy search, beam search and samples;
 * and where the grid lies on the picture. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "apps/captioner/model.h"

#define MODELS "tests/parity/models/"
#define PHOTO "tests/parity/photos/wide.jpg"

static lks_error err;

static void ok(lks_status st)
{
    if (st != LKS_OK)
        fail_msg("%s", err.message);
}

/* The patch weights [n_tokens, n_layers, n_patches] of a decoder that reads start token, prompt and caption at once. */
static float *forced_maps(const lks_model *model, const char *photo, const int32_t *prompt, int n_prompt,
                          const lks_sequence *s)
{
    const lks_vit_shape *shape = lks_vit_usual_shape(model->vit);
    int n_memory = shape->n_tokens, n_prefix = lks_vit_n_prefix(model->vit), n = n_memory - n_prefix;
    int n_all = 1 + n_prompt + s->n_tokens;
    lks_image image;
    lks_threads *threads;
    ok(lks_image_read(&image, NULL, photo, &(lks_decode_options){0}, &err));
    ok(lks_threads_open(&threads, 1, &err));
    size_t bytes = lks_vit_scratch(model->vit, shape, 1, 1);
    size_t decode = lks_decoder_scratch(model->decoder, 1, n_all, n_all, n_memory, 1);
    lks_arena arena = {0};
    ok(lks_arena_init(&arena, bytes > decode ? bytes : decode, &err));
    lks_compute compute = {.ops = model->ops, .threads = threads, .scratch = &arena};
    float *pixels = malloc((size_t)(shape->width * shape->height * 3) * sizeof *pixels);
    float *memory = malloc((size_t)(n_memory * lks_vit_width(model->vit)) * sizeof *memory);
    float *logits = malloc((size_t)lks_decoder_describe(model->decoder)->vocab_size * sizeof *logits);
    int32_t *all = malloc((size_t)n_all * sizeof *all);
    assert_true(pixels && memory && logits && all);
    ok(lks_preprocess_run(&model->preprocess, pixels, &image, &compute, &err));
    ok(lks_vit_encode(model->vit, &compute, memory, pixels, shape, 1, &err));
    all[0] = model->generation.search.start_token;
    if (n_prompt > 0)
        memcpy(all + 1, prompt, (size_t)n_prompt * sizeof *all);
    memcpy(all + 1 + n_prompt, s->tokens, (size_t)s->n_tokens * sizeof *all);
    lks_decoder_state *state;
    ok(lks_decoder_state_open(&state, model->decoder, &compute, 1, n_all, n_memory, LKS_DECODER_KEEP_MAPS, &err));
    ok(lks_decoder_look(&compute, state, 0, 1, memory, &err));
    ok(lks_decoder_step(state, logits, all, 1, n_all, &err));
    int n_layers = lks_decoder_describe(model->decoder)->n_layers;
    float *maps = calloc((size_t)s->n_tokens * (size_t)n_layers * (size_t)n, sizeof *maps), *to = maps;
    float *one = malloc((size_t)(n_layers * n_memory) * sizeof *one);
    assert_true(maps && one);
    for (int i = 0; i < s->n_tokens; i++) {
        assert_true(lks_decoder_map(state, one, 0, n_prompt + i));
        for (int layer = 0; layer < n_layers; layer++, to += n)
            memcpy(to, one + layer * n_memory + n_prefix, (size_t)n * sizeof *to);
    }
    free(one);
    lks_decoder_state_close(state);
    lks_threads_close(threads);
    lks_arena_release(&arena);
    lks_image_release(&image);
    free(pixels);
    free(memory);
    free(logits);
    free(all);
    return maps;
}

static void assert_sum_is_one(const float *map, int n)
{
    double sum = 0.0;
    for (int i = 0; i < n; i++) {
        assert_true(map[i] >= 0.0f);
        sum += (double)map[i];
    }
    assert_true(fabs(sum - 1.0) < 1e-5);
}

/* Every sequence of the caption: its layer maps are those of the forced decoder, its token and word maps sum to 1. */
static void check_maps(const lks_model *model, const lks_caption *caption, const int32_t *prompt, int n_prompt)
{
    int n = caption->grid_rows * caption->grid_columns;
    for (int k = 0; k < caption->n_sequences; k++) {
        const lks_sequence *s = &caption->sequences[k];
        assert_non_null(s->layer_maps);
        float *forced = forced_maps(model, PHOTO, prompt, n_prompt, s);
        for (int i = 0; i < s->n_tokens * s->n_layers * n; i++)
            if (!(fabsf(s->layer_maps[i] - forced[i]) < 1e-4f))
                fail_msg("sequence %d: token %d, layer %d, patch %d: %g, forced %g", k, i / n / s->n_layers,
                         i / n % s->n_layers, i % n, (double)s->layer_maps[i], (double)forced[i]);
        free(forced);
        for (int i = 0; i < s->n_tokens; i++)
            assert_sum_is_one(s->maps + i * n, n);
        for (int i = 0; i < s->n_words; i++) {
            assert_sum_is_one(s->words[i].map, n);
            assert_non_null(strstr(s->text, s->words[i].text));
        }
    }
}

static void caption_with(const lks_model *model, lks_session *session, int n_beams, int n_samples, const char *prompt)
{
    lks_caption_options options;
    lks_caption_options_init(&options, model);
    options.keep_maps = 1;
    options.n_beams = n_beams;
    options.n_best = n_samples > 0 ? n_samples : n_beams;
    options.sample = n_samples > 0;
    options.seed = 7;
    options.max_tokens = 12;
    options.prompt = prompt;
    lks_caption *caption;
    ok(lks_caption_file(session, &caption, PHOTO, &options, &err));
    int32_t *tokens = NULL;
    size_t n_tokens = 0;
    if (prompt)
        ok(lks_tokenizer_encode(model->tokenizer, &tokens, &n_tokens, prompt, strlen(prompt), false, &err));
    check_maps(model, caption, tokens, (int)n_tokens);
    free(tokens);
    lks_caption_free(caption);
}

static void test_maps_are_those_of_the_caption(void **state)
{
    (void)state;
    static const char *const models[] = {
        MODELS "vit-gpt2-bin",           MODELS "blip-full",       MODELS "vit-trocr", MODELS "vit-bert-bin",
        MODELS "dinov2-roberta-sharded", MODELS "deit-bert-untied"};
    for (size_t i = 0; i < sizeof models / sizeof *models; i++) {
        lks_model *model;
        lks_session *session;
        ok(lks_model_open(&model, models[i], NULL, &err));
        ok(lks_session_open(&session, model, NULL, &err));
        caption_with(model, session, 1, 0, NULL);
        caption_with(model, session, 5, 0, NULL);
        caption_with(model, session, 1, 4, NULL);
        lks_session_close(session);
        lks_model_close(model);
    }
}

static void test_prompt(void **state)
{
    (void)state;
    lks_model *model;
    lks_session *session;
    ok(lks_model_open(&model, MODELS "vit-gpt2-bin", NULL, &err));
    ok(lks_session_open(&session, model, NULL, &err));
    caption_with(model, session, 1, 0, "a photo");
    caption_with(model, session, 4, 0, "a photo");
    lks_session_close(session);
    lks_model_close(model);
}

/* Without keep_maps and keep_picture nothing is kept, words are found all the same. */
static void test_nothing_unasked(void **state)
{
    (void)state;
    lks_model *model;
    lks_session *session;
    lks_caption *plain, *kept;
    lks_caption_options options;
    ok(lks_model_open(&model, MODELS "vit-gpt2-bin", NULL, &err));
    ok(lks_session_open(&session, model, NULL, &err));
    lks_caption_options_init(&options, model);
    ok(lks_caption_file(session, &plain, PHOTO, &options, &err));
    options.keep_maps = options.keep_picture = 1;
    ok(lks_caption_file(session, &kept, PHOTO, &options, &err));
    const lks_sequence *a = plain->sequences, *b = kept->sequences;
    assert_null(a->maps);
    assert_null(a->layer_maps);
    assert_null(plain->picture);
    assert_string_equal(a->text, b->text);
    assert_true(a->n_words > 0 && a->n_words == b->n_words);
    for (int i = 0; i < a->n_words; i++) {
        assert_string_equal(a->words[i].text, b->words[i].text);
        assert_null(a->words[i].map);
    }
    lks_image image;
    ok(lks_image_read(&image, NULL, PHOTO, &(lks_decode_options){0}, &err));
    assert_int_equal(kept->width, image.width);
    assert_memory_equal(kept->picture, image.rgb, (size_t)image.width * (size_t)image.height * 3);
    lks_image_release(&image);
    lks_caption_free(plain);
    lks_caption_free(kept);
    lks_session_close(session);
    lks_model_close(model);
}

static void assert_view(const lks_preprocess *p, int width, int height, double x, double y, double w, double h)
{
    lks_view view = lks_preprocess_view(p, width, height);
    assert_true(fabs(view.x - x) < 1e-9 && fabs(view.y - y) < 1e-9);
    assert_true(fabs(view.width - w) < 1e-9 && fabs(view.height - h) < 1e-9);
}

static void test_where_the_tensor_lies(void **state)
{
    (void)state;
    const lks_preprocess squash = {.do_resize = true, .resize_width = 224, .resize_height = 224};
    assert_view(&squash, 640, 480, 0, 0, 640, 480);
    const lks_preprocess middle = {
        .do_resize = true, .shortest_edge = 256, .do_center_crop = true, .crop_width = 224, .crop_height = 224};
    /* 640 x 480 becomes 341 x 256; 58 of 341 columns and 16 of 256 rows are cut off before the crop */
    assert_view(&middle, 640, 480, 58 * 640 / 341.0, 16 * 480 / 256.0, 224 * 640 / 341.0, 224 * 480 / 256.0);
    assert_view(&middle, 480, 640, 16 * 480 / 256.0, 58 * 640 / 341.0, 224 * 480 / 256.0, 224 * 640 / 341.0);
    /* 30 x 100 is not resized: 194 columns and 124 rows around it are empty */
    const lks_preprocess pads = {.do_center_crop = true, .crop_width = 224, .crop_height = 224};
    assert_view(&pads, 30, 100, -97, -62, 224, 224);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_maps_are_those_of_the_caption),
        cmocka_unit_test(test_prompt),
        cmocka_unit_test(test_nothing_unasked),
        cmocka_unit_test(test_where_the_tensor_lies),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
