/* Features kept of a picture caption it again, and nothing else does. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "apps/captioner/looksay.h"

#define MODEL "tests/parity/models/vit-gpt2-bin"
#define PHOTO "tests/parity/photos/wide.jpg"
#define OTHER "tests/parity/photos/tall.png"

static lks_model *model;
static lks_session *session;
static lks_caption_options options;

static int set_up(void **state)
{
    (void)state;
    lks_error err;
    if (lks_model_open(&model, MODEL, NULL, &err) != LKS_OK || lks_session_open(&session, model, NULL, &err) != LKS_OK)
        return -1;
    lks_caption_options_init(&options, model);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    lks_session_close(session);
    lks_model_close(model);
    return 0;
}

static lks_caption *caption(const char *path, const lks_caption_options *o)
{
    lks_caption *out = NULL;
    lks_error err = {.message = ""};
    if (lks_caption_file(session, &out, path, o, &err) != LKS_OK)
        fail_msg("%s", err.message);
    return out;
}

static void expect_same(const lks_caption *a, const lks_caption *b)
{
    assert_int_equal(a->n_sequences, b->n_sequences);
    assert_int_equal(a->width, b->width);
    assert_int_equal(a->height, b->height);
    assert_memory_equal(&a->grid_box, &b->grid_box, sizeof a->grid_box);
    for (int i = 0; i < a->n_sequences; i++) {
        const lks_sequence *s = &a->sequences[i], *t = &b->sequences[i];
        assert_int_equal(s->n_tokens, t->n_tokens);
        assert_memory_equal(s->tokens, t->tokens, (size_t)s->n_tokens * sizeof *s->tokens);
        assert_memory_equal(s->logprobs, t->logprobs, (size_t)s->n_tokens * sizeof *s->logprobs);
        assert_string_equal(s->text, t->text);
    }
}

static void test_features_caption_again(void **state)
{
    (void)state;
    lks_caption_options keep = options, recall = options;
    keep.keep_features = 1;
    lks_caption *first = caption(PHOTO, &keep), *other = caption(OTHER, &options);
    assert_non_null(first->features);
    assert_null(other->features);
    recall.features = first->features;
    recall.n_beams = 3;
    lks_caption *again = caption("no/such/file", &recall); /* which is not read */
    recall.features = NULL;
    lks_caption *plain = caption(PHOTO, &recall);
    expect_same(again, plain);
    assert_true(again->encode_ms == 0.0 && plain->encode_ms > 0.0);

    recall.features = first->features;
    recall.keep_features = 1;
    recall.keep_maps = 1;
    lks_caption *mapped = caption("no/such/file", &recall);
    expect_same(mapped, plain);
    assert_non_null(mapped->sequences[0].maps);
    size_t n = (size_t)first->features->n_tokens * (size_t)first->features->d_token;
    assert_memory_equal(mapped->features->tokens, first->features->tokens, n * sizeof(float));
    lks_caption_free(first);
    lks_caption_free(other);
    lks_caption_free(again);
    lks_caption_free(plain);
    lks_caption_free(mapped);
}

static void test_pixels_come_from_the_picture(void **state)
{
    (void)state;
    lks_caption_options keep = options;
    keep.keep_features = 1;
    lks_caption *first = caption(PHOTO, &keep);
    lks_caption_options recall = options;
    recall.features = first->features;
    recall.keep_picture = 1;
    lks_caption *again = caption(PHOTO, &recall);
    expect_same(again, first);
    assert_non_null(again->picture);
    lks_caption_free(again);
    lks_error err;
    again = NULL;
    assert_int_equal(lks_caption_file(session, &again, OTHER, &recall, &err), LKS_ERR_ARGUMENT); /* another picture's */
    assert_int_equal(lks_caption_file(session, &again, "no/such/file", &recall, &err), LKS_ERR_IO);
    assert_null(again);
    lks_caption_free(first);
}

static void test_features_of_another_kind_are_refused(void **state)
{
    (void)state;
    lks_caption_options keep = options, recall = options;
    keep.keep_features = 1;
    lks_caption *first = caption(PHOTO, &keep), *none = NULL;
    size_t n = (size_t)first->features->n_tokens * (size_t)first->features->d_token;
    float *tokens = malloc(n * sizeof *tokens);
    memcpy(tokens, first->features->tokens, n * sizeof *tokens);
    lks_features wrong[5];
    for (int i = 0; i < 5; i++) {
        wrong[i] = *first->features;
        wrong[i].tokens = tokens;
    }
    tokens[n - 1] = NAN;
    wrong[1].n_tokens--;
    wrong[2].d_token *= 2;
    wrong[3].tokens = NULL;
    wrong[4].width = 0;
    for (int i = 0; i < 5; i++) {
        lks_error err = {.message = ""};
        recall.features = &wrong[i];
        assert_int_equal(lks_caption_file(session, &none, PHOTO, &recall, &err), LKS_ERR_ARGUMENT);
        assert_true(strlen(err.message) > 0);
        tokens[n - 1] = i == 3 ? 0.0f : tokens[n - 1];
    }
    assert_null(none);
    const uint8_t pixels[3 * 4] = {0};
    const lks_picture picture = {pixels, 2, 2, 6};
    recall.features = first->features;
    assert_int_equal(lks_caption_joint(session, &none, &picture, 1, &recall, NULL), LKS_ERR_ARGUMENT);
    assert_int_equal(lks_caption_joint(session, &none, &picture, 1, &keep, NULL), LKS_ERR_ARGUMENT);
    free(tokens);
    lks_caption_free(first);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_features_caption_again),
                                       cmocka_unit_test(test_pixels_come_from_the_picture),
                                       cmocka_unit_test(test_features_of_another_kind_are_refused)};
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
