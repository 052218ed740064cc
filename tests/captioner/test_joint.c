/* lks_caption_joint: a decoder that attends to the tokens of several pictures at once. Softmax over copies of the same keys is
 * softmax over one of them, and a sum does not know its order: copies of a picture must say what it says alone, and pictures
 * in any order must say the same. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "apps/captioner/looksay.h"
#include "fusion/status.h"
#include "vision/image.h"

#define MODELS "tests/parity/models/"
#define PHOTOS "tests/parity/photos/"

static const char *const families[] = {"vit-gpt2-bin", "vit-bert-bin",           "blip-full",
                                       "vit-trocr",    "dinov2-roberta-sharded", "dinov2-gpt2-aspect"};

enum { N_FAMILIES = sizeof families / sizeof *families, N_COPIES = 5 };

static const float TOLERANCE = 1e-4f; /* of a token's log-probability, float sums in another order */

typedef struct bench {
    lks_model *model;
    lks_session *session;
    lks_caption_options options;
    lks_image images[2];
    lks_picture pictures[2];
    lks_error err;
} bench;

static void bench_open(bench *b, const char *family)
{
    char path[256];
    snprintf(path, sizeof path, MODELS "%s", family);
    *b = (bench){0};
    if (lks_model_open(&b->model, path, NULL, &b->err) != LKS_OK ||
        lks_session_open(&b->session, b->model, NULL, &b->err) != LKS_OK)
        fail_msg("%s", b->err.message);
    lks_caption_options_init(&b->options, b->model);
    const char *const photos[] = {PHOTOS "wide.jpg", PHOTOS "tall.png"};
    for (int i = 0; i < 2; i++) {
        assert_int_equal(lks_image_read(&b->images[i], NULL, photos[i], &(lks_decode_options){0}, &b->err), LKS_OK);
        b->pictures[i] = (lks_picture){.rgb = b->images[i].rgb,
                                       .width = b->images[i].width,
                                       .height = b->images[i].height,
                                       .stride = (size_t)b->images[i].width * 3};
    }
}

static void bench_close(bench *b)
{
    for (int i = 0; i < 2; i++)
        lks_image_release(&b->images[i]);
    lks_session_close(b->session);
    lks_model_close(b->model);
}

static lks_caption *joint(bench *b, const lks_picture *pictures, int n)
{
    lks_caption *caption = NULL;
    if (lks_caption_joint(b->session, &caption, pictures, n, &b->options, &b->err) != LKS_OK)
        fail_msg("%s", b->err.message);
    return caption;
}

static lks_caption *alone(bench *b, const lks_picture *p)
{
    lks_caption *caption = NULL;
    if (lks_caption_rgb(b->session, &caption, p->rgb, p->width, p->height, p->stride, &b->options, &b->err) != LKS_OK)
        fail_msg("%s", b->err.message);
    return caption;
}

static void assert_same(const lks_caption *a, const lks_caption *b, float tolerance)
{
    const lks_sequence *x = &a->sequences[0], *y = &b->sequences[0];
    assert_int_equal(x->n_tokens, y->n_tokens);
    assert_memory_equal(x->tokens, y->tokens, (size_t)x->n_tokens * sizeof *x->tokens);
    for (int i = 0; i < x->n_tokens; i++)
        assert_true(fabsf(x->logprobs[i] - y->logprobs[i]) <= tolerance);
}

static bool differ(const lks_caption *a, const lks_caption *b)
{
    const lks_sequence *x = &a->sequences[0], *y = &b->sequences[0];
    return x->n_tokens != y->n_tokens || memcmp(x->tokens, y->tokens, (size_t)x->n_tokens * sizeof *x->tokens) != 0 ||
           fabsf(x->logprobs[0] - y->logprobs[0]) > TOLERANCE;
}

static void test_copies_say_what_one_says(void **state)
{
    (void)state;
    for (int f = 0; f < N_FAMILIES; f++) {
        bench b;
        bench_open(&b, families[f]);
        lks_caption *single = alone(&b, &b.pictures[0]), *one = joint(&b, b.pictures, 1);
        lks_picture copies[N_COPIES];
        for (int i = 0; i < N_COPIES; i++)
            copies[i] = b.pictures[0];
        lks_caption *many = joint(&b, copies, N_COPIES), *again = alone(&b, &b.pictures[0]);
        assert_same(single, one, 0.0f);
        assert_same(single, many, TOLERANCE);
        assert_same(single, again, 0.0f);
        assert_int_equal(many->width, b.pictures[0].width);
        lks_caption_free(single);
        lks_caption_free(one);
        lks_caption_free(many);
        lks_caption_free(again);
        bench_close(&b);
    }
}

static void test_every_picture_counts_in_any_order(void **state)
{
    (void)state;
    for (int f = 0; f < N_FAMILIES; f++) {
        bench b;
        bench_open(&b, families[f]);
        const lks_picture back[] = {b.pictures[1], b.pictures[0]};
        for (int n_beams = 1; n_beams <= 3; n_beams += 2) {
            b.options.n_beams = n_beams;
            lks_caption *first = alone(&b, &b.pictures[0]), *second = alone(&b, &b.pictures[1]);
            lks_caption *both = joint(&b, b.pictures, 2), *swapped = joint(&b, back, 2);
            assert_same(both, swapped, TOLERANCE);
            assert_true(differ(both, first));
            assert_true(differ(both, second));
            lks_caption_free(first);
            lks_caption_free(second);
            lks_caption_free(both);
            lks_caption_free(swapped);
        }
        bench_close(&b);
    }
}

static void test_mistakes_are_named_and_leave_the_session_usable(void **state)
{
    (void)state;
    bench b;
    bench_open(&b, families[0]);
    lks_caption *caption = NULL;
    lks_picture many[LKS_MAX_JOINT + 1];
    for (int i = 0; i <= LKS_MAX_JOINT; i++)
        many[i] = b.pictures[0];
    assert_int_equal(lks_caption_joint(b.session, &caption, many, 0, &b.options, &b.err), LKS_ERR_ARGUMENT);
    assert_int_equal(lks_caption_joint(b.session, &caption, many, LKS_MAX_JOINT + 1, &b.options, &b.err),
                     LKS_ERR_ARGUMENT);
    many[1].stride = 1;
    assert_int_equal(lks_caption_joint(b.session, &caption, many, 2, &b.options, &b.err), LKS_ERR_ARGUMENT);
    many[1] = (lks_picture){.width = 4, .height = 4, .stride = 12};
    assert_int_equal(lks_caption_joint(b.session, &caption, many, 2, &b.options, &b.err), LKS_ERR_ARGUMENT);
    b.options.keep_maps = 1;
    assert_int_equal(lks_caption_joint(b.session, &caption, b.pictures, 2, &b.options, &b.err), LKS_ERR_ARGUMENT);
    b.options.keep_maps = 0;
    assert_null(caption);
    lks_caption_free(joint(&b, b.pictures, 2));
    bench_close(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_copies_say_what_one_says),
        cmocka_unit_test(test_every_picture_counts_in_any_order),
        cmocka_unit_test(test_mistakes_are_named_and_leave_the_session_usable),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
