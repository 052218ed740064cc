/* lks_caption_batch: a caption is the same bit for bit alone and in any batch, for any number of threads, in every precision and
 * with every kind of search, on every instruction set of its own. What is wrong with one picture is nobody else's error. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "apps/captioner/looksay.h"

#define MODELS "tests/parity/models/"

static const char *const photos[] = {
    "tests/parity/photos/wide.jpg",   "tests/parity/photos/tall.png", "tests/parity/photos/tiny.png",
    "tests/parity/photos/turned.jpg", "assets/photos/coffee.jpg",     "assets/photos/rocket.jpg",
    "assets/photos/chelsea.jpg",      "tests/parity/photos/grey.jpg",
};
static const int sizes[] = {1, 2, 3, 8};

enum { N_PHOTOS = sizeof photos / sizeof *photos, N_SIZES = sizeof sizes / sizeof *sizes };

typedef enum search_kind { GREEDY, BEAMS, SAMPLES, NO_REPEATS, REQUIRED, LAST_KIND = REQUIRED } search_kind;

static lks_error err;

static void ok(lks_status st)
{
    if (st != LKS_OK)
        fail_msg("%s", err.message);
}

static lks_caption_options options_of(const lks_model *model, search_kind kind)
{
    static const char *const words[] = {"a"};
    lks_caption_options o;
    lks_caption_options_init(&o, model);
    o.n_beams = kind == GREEDY || kind == SAMPLES ? 1 : 3;
    o.n_best = kind == GREEDY ? 1 : 3;
    o.max_tokens = 12;
    o.sample = kind == SAMPLES;
    o.seed = 7;
    o.no_repeat_ngram = kind == NO_REPEATS ? 2 : 0;
    if (kind == REQUIRED) {
        o.required = words;
        o.n_required = 1;
    }
    return o;
}

static lks_session *session_of(const lks_model *model, int n_threads)
{
    lks_session_options options = {.size = sizeof options, .n_threads = n_threads};
    lks_session *session;
    ok(lks_session_open(&session, model, &options, &err));
    return session;
}

/* `isa` NULL: the best of our own. Where "auto" is OpenBLAS, sums of a batch differ in their rounding. */
static lks_model *model_of(const char *path, const char *dtype, const char *isa)
{
    lks_machine machine;
    lks_machine_describe(&machine);
    if (!isa && strcmp(machine.isa, "blas") == 0)
        isa = "ref";
    lks_model_options options = {.size = sizeof options, .dtype = dtype, .isa = isa};
    lks_model *model;
    ok(lks_model_open(&model, path, &options, &err));
    return model;
}

static void assert_same(const lks_caption *a, const lks_caption *b)
{
    assert_non_null(a);
    assert_non_null(b);
    assert_int_equal(a->n_sequences, b->n_sequences);
    assert_int_equal(a->kind, b->kind);
    assert_int_equal(a->width, b->width);
    for (int i = 0; i < a->n_sequences; i++) {
        const lks_sequence *x = &a->sequences[i], *y = &b->sequences[i];
        size_t n = (size_t)x->n_tokens;
        assert_int_equal(x->n_tokens, y->n_tokens);
        assert_memory_equal(x->tokens, y->tokens, n * sizeof *x->tokens);
        assert_memory_equal(x->logprobs, y->logprobs, n * sizeof *x->logprobs);
        assert_memory_equal(&x->score, &y->score, sizeof x->score);
        assert_string_equal(x->text, y->text);
    }
}

/* Captions all photos in batches of `size`, and compares them with those of the photos alone. */
static void check_batches(lks_session *session, lks_caption *const *alone, const lks_caption_options *o, int size)
{
    lks_caption *captions[N_PHOTOS];
    lks_error errors[N_PHOTOS];
    lks_image_source pictures[N_PHOTOS] = {{.path = NULL}};
    for (int i = 0; i < N_PHOTOS; i++)
        pictures[i].path = photos[i];
    for (int i = 0; i < N_PHOTOS; i += size) {
        int n = N_PHOTOS - i < size ? N_PHOTOS - i : size;
        ok(lks_caption_batch(session, captions + i, errors + i, pictures + i, n, o, &err));
    }
    for (int i = 0; i < N_PHOTOS; i++) {
        assert_int_equal(errors[i].status, LKS_OK);
        assert_same(captions[i], alone[i]);
        lks_caption_free(captions[i]);
    }
}

static void check_model(const lks_model *model, search_kind first, search_kind last)
{
    lks_session *sessions[] = {session_of(model, 1), session_of(model, 2), session_of(model, 3)};
    for (int kind = (int)first; kind <= (int)last; kind++) {
        lks_caption_options o = options_of(model, (search_kind)kind);
        lks_caption *alone[N_PHOTOS], *again;
        for (int i = 0; i < N_PHOTOS; i++)
            ok(lks_caption_file(sessions[0], &alone[i], photos[i], &o, &err));
        for (int t = 0; t < 3; t++)
            for (int k = 0; k < N_SIZES; k++)
                check_batches(sessions[t], alone, &o, sizes[k]);
        ok(lks_caption_file(sessions[1], &again, photos[0], &o, &err)); /* after batches, and on two threads */
        assert_same(again, alone[0]);
        lks_caption_free(again);
        for (int i = 0; i < N_PHOTOS; i++)
            lks_caption_free(alone[i]);
    }
    for (int t = 0; t < 3; t++)
        lks_session_close(sessions[t]);
}

static void every_precision(void **state)
{
    (void)state;
    static const char *const families[] = {"vit-gpt2-bin", "blip-full"};
    static const char *const dtypes[] = {"f32", "bf16", "int8", "int4"};
    for (size_t f = 0; f < sizeof families / sizeof *families; f++)
        for (size_t d = 0; d < sizeof dtypes / sizeof *dtypes; d++) {
            char path[256];
            snprintf(path, sizeof path, MODELS "%s", families[f]);
            lks_model *model = model_of(path, dtypes[d], NULL);
            check_model(model, GREEDY, d == 0 ? LAST_KIND : BEAMS);
            lks_model_close(model);
        }
}

static void photos_of_several_shapes(void **state)
{
    (void)state;
    lks_model *model = model_of(MODELS "dinov2-gpt2-aspect", NULL, NULL);
    check_model(model, GREEDY, BEAMS);
    lks_model_close(model);
}

static void every_instruction_set(void **state)
{
    (void)state;
    static const char *const isas[] = {"avx2",        "avx-vnni", "avx512",      "avx512-vnni",
                                       "avx512-bf16", "neon",     "neon-dotprod"};
    static const char *const dtypes[] = {"f32", "bf16", "int8"};
    int n_checked = 0;
    for (size_t i = 0; i < sizeof isas / sizeof *isas; i++)
        for (size_t d = 0; d < sizeof dtypes / sizeof *dtypes; d++) {
            lks_model_options options = {.size = sizeof options, .dtype = dtypes[d], .isa = isas[i]};
            lks_model *model;
            lks_status st = lks_model_open(&model, MODELS "vit-gpt2-bin", &options, &err);
            if (st == LKS_ERR_UNSUPPORTED) /* this CPU lacks it */
                continue;
            ok(st);
            check_model(model, BEAMS, BEAMS);
            lks_model_close(model);
            n_checked++;
        }
    if (n_checked == 0)
        skip();
}

/* Missing, damaged and recalled pictures among others; pictures of all kinds of sources. */
static void check_bad_pictures(const char *path)
{
    enum { N = 5 };
    lks_model *model = model_of(path, NULL, NULL);
    lks_caption_options o = options_of(model, BEAMS);
    for (int n_threads = 1; n_threads <= 3; n_threads++) {
        lks_session *session = session_of(model, n_threads);
        lks_caption *first, *fourth, *captions[N];
        lks_error errors[N];
        o.keep_features = 1;
        ok(lks_caption_file(session, &first, photos[0], &o, &err));
        ok(lks_caption_file(session, &fourth, photos[3], &o, &err));
        const uint8_t grey[4 * 4 * 3] = {0};
        const lks_image_source pictures[N] = {{.path = photos[0]},
                                              {.path = "tests/parity/photos/none.jpg"},
                                              {.bytes = "GIF89a?", .n_bytes = 7, .name = "stub"},
                                              {.features = fourth->features},
                                              {.pixels = {grey, 4, 4, 12}}};
        ok(lks_caption_batch(session, captions, errors, pictures, N, &o, &err));
        assert_same(captions[0], first);
        assert_null(captions[1]);
        assert_int_equal(errors[1].status, LKS_ERR_IO);
        assert_null(captions[2]);
        assert_int_equal(errors[2].status, LKS_ERR_IMAGE);
        assert_non_null(strstr(errors[2].message, "stub"));
        assert_same(captions[3], fourth);
        assert_non_null(captions[3]->features);
        assert_non_null(captions[4]);
        for (int i = 0; i < N; i++)
            lks_caption_free(captions[i]);
        ok(lks_caption_batch(session, captions, errors, pictures + 1, 2, &o, &err)); /* nothing to say */
        assert_true(!captions[0] && !captions[1]);
        lks_caption_free(first);
        lks_caption_free(fourth);
        lks_session_close(session);
        o.keep_features = 0;
    }
    lks_model_close(model);
}

static void one_bad_picture(void **state)
{
    (void)state;
    check_bad_pictures(MODELS "vit-gpt2-bin");
    check_bad_pictures(MODELS "dinov2-gpt2-aspect"); /* whose pictures have as many tokens as their aspect asks for */
}

/* All prompts of a batch are fed in one step. */
static void many_with_a_prompt(void **state)
{
    (void)state;
    enum { SIDE = 8 };
    lks_model *model = model_of(MODELS "blip-full", NULL, NULL);
    lks_session *session = session_of(model, 1);
    static uint8_t noise[SIDE * SIDE * 3 + LKS_MAX_BATCH];
    for (size_t i = 0; i < sizeof noise; i++)
        noise[i] = (uint8_t)(i * i * 31 >> 3);
    static lks_caption *captions[LKS_MAX_BATCH];
    static lks_error errors[LKS_MAX_BATCH];
    static lks_image_source pictures[LKS_MAX_BATCH];
    for (int i = 0; i < LKS_MAX_BATCH; i++)
        pictures[i].pixels = (lks_picture){.rgb = noise + i, .width = SIDE, .height = SIDE, .stride = 3 * SIDE};
    lks_caption_options o = options_of(model, GREEDY);
    o.max_tokens = 1;
    o.prompt = "a dog in the a dog in the a do";
    ok(lks_caption_batch(session, captions, errors, pictures, LKS_MAX_BATCH, &o, &err));
    for (int i = 0; i < LKS_MAX_BATCH; i++) {
        if (!captions[i])
            fail_msg("%s", errors[i].message);
        lks_caption_free(captions[i]);
    }
    lks_session_close(session);
    lks_model_close(model);
}

static int stop_at_once(void *context)
{
    (void)context;
    return 1;
}

static void what_no_batch_can_serve(void **state)
{
    (void)state;
    lks_model *model = model_of(MODELS "vit-gpt2-bin", NULL, NULL);
    lks_session *session = session_of(model, 2);
    lks_caption untouched, *captions[2] = {&untouched, &untouched};
    lks_error errors[2];
    const lks_image_source pictures[2] = {{.path = photos[0]}, {.path = photos[1]}};
    lks_caption_options o = options_of(model, GREEDY);
    assert_int_equal(lks_caption_batch(session, captions, errors, pictures, 0, &o, &err), LKS_ERR_ARGUMENT);
    assert_int_equal(lks_caption_batch(session, captions, errors, pictures, LKS_MAX_BATCH + 1, &o, &err),
                     LKS_ERR_ARGUMENT);
    assert_true(captions[0] == &untouched && captions[1] == &untouched);
    o.keep_maps = 1;
    assert_int_equal(lks_caption_batch(session, captions, errors, pictures, 2, &o, &err), LKS_ERR_ARGUMENT);
    assert_true(!captions[0] && !captions[1]);
    o.keep_maps = 0;
    captions[0] = captions[1] = &untouched;
    o.n_beams = 0;
    assert_int_equal(lks_caption_batch(session, captions, errors, pictures, 2, &o, &err), LKS_ERR_ARGUMENT);
    assert_true(!captions[0] && !captions[1]);
    o.n_beams = 1;
    o.stop = stop_at_once;
    assert_int_equal(lks_caption_batch(session, captions, errors, pictures, 2, &o, &err), LKS_ERR_INTERRUPTED);
    assert_true(!captions[0] && !captions[1]);
    lks_session_close(session);
    lks_model_close(model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_precision),         cmocka_unit_test(photos_of_several_shapes),
        cmocka_unit_test(every_instruction_set),   cmocka_unit_test(one_bad_picture),
        cmocka_unit_test(what_no_batch_can_serve), cmocka_unit_test(many_with_a_prompt),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
