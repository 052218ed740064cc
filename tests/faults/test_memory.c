/* Every allocation behind looksay.h fails once: nothing leaks, the caller is told "out of memory", and the session serves the same
 * request a moment later. No thread can be started meanwhile: the work is done all the same, and the allocations come in one
 * order. */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <jansson.h>

#include "apps/captioner/looksay.h"
#include "tests/faults/allocator.h"

#define MODELS "tests/parity/models/"
#define LANGUAGES "tests/captioner/models/languages.gguf"
#define PHOTOS "tests/parity/photos/"

/* NOLINTNEXTLINE(bugprone-reserved-identifier): the linker's name for --wrap */
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *), void *argument);

int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *), void *argument)
{
    (void)thread, (void)attributes, (void)run, (void)argument;
    return EAGAIN;
}

/* jansson's parser asserts, when a text that it reads can grow no more. What is built with jansson is another matter. */
json_t *__real_json_loadb(const char *text, size_t n, size_t flags, json_error_t *why); /* NOLINT */
json_t *__wrap_json_loadb(const char *text, size_t n, size_t flags, json_error_t *why); /* NOLINT */

json_t *__wrap_json_loadb(const char *text, size_t n, size_t flags, json_error_t *why) /* NOLINT */
{
    allocator_pause();
    json_t *root = __real_json_loadb(text, n, flags, why);
    allocator_resume();
    return root;
}

enum { TEXT_BYTES = 4096, N_THREADS = 2, MOST_ALLOCATIONS = 100000 };

typedef struct scene {
    const lks_model *model;
    lks_session *session;
    char said[TEXT_BYTES]; /* what the request came to, of the last time */
    lks_error err;
} scene;

/* Puts what it was answered into `said`. */
typedef lks_status (*request)(scene *s);

static void say(scene *s, const char *text)
{
    size_t n = strlen(s->said);
    assert_in_range(snprintf(s->said + n, TEXT_BYTES - n, "%s\n", text), 0, TEXT_BYTES - n - 1);
}

static void say_caption(scene *s, lks_caption *caption)
{
    for (int i = 0; i < caption->n_sequences; i++)
        say(s, caption->sequences[i].text);
    lks_caption_free(caption);
}

static lks_caption_options options_of(const scene *s, int n_beams, int n_best)
{
    lks_caption_options o;
    lks_caption_options_init(&o, s->model);
    o.max_tokens = 6;
    o.n_beams = n_beams;
    o.n_best = n_best;
    return o;
}

static lks_status caption_file(scene *s, const char *path, const lks_caption_options *o)
{
    lks_caption *caption = NULL;
    lks_status st = lks_caption_file(s->session, &caption, path, o, &s->err);
    if (st == LKS_OK)
        say_caption(s, caption);
    else
        assert_null(caption);
    return st;
}

static lks_status greedy(scene *s)
{
    lks_caption_options o = options_of(s, 1, 1);
    return caption_file(s, PHOTOS "turned.jpg", &o);
}

static lks_status beams_with_everything(scene *s)
{
    static const char *const banned[] = {"the", "man"}, *const required[] = {"a", "dog"};
    lks_caption_options o = options_of(s, 3, 3);
    o.prompt = "a";
    o.banned = banned;
    o.n_banned = 2;
    o.required = required;
    o.n_required = 2;
    o.no_repeat_ngram = 2;
    o.keep_maps = o.keep_picture = o.keep_features = 1;
    return caption_file(s, PHOTOS "alpha.png", &o);
}

static lks_status samples(scene *s)
{
    lks_caption_options o = options_of(s, 1, 3);
    o.sample = 1;
    o.top_k = 20;
    o.top_p = 0.9f;
    return caption_file(s, PHOTOS "palette.png", &o);
}

static lks_status joint(scene *s)
{
    static const uint8_t pixels[2][4 * 4 * 3] = {{1, 200, 30}, {90}};
    const lks_picture pictures[] = {{pixels[0], 4, 4, 12}, {pixels[1], 4, 4, 12}};
    const lks_caption_options o = options_of(s, 1, 1);
    lks_caption *caption = NULL;
    lks_status st = lks_caption_joint(s->session, &caption, pictures, 2, &o, &s->err);
    if (st == LKS_OK)
        say_caption(s, caption);
    else
        assert_null(caption);
    return st;
}

/* A failure may be one picture's own: the others have their captions. */
static lks_status batch(scene *s)
{
    static const char *const names[] = {"wide.jpg", "tall.png", "grey.jpg", "tiny.png", "turned.jpg"};
    enum { N = sizeof names / sizeof *names };
    char paths[N][64];
    lks_image_source pictures[N] = {{.path = NULL}};
    lks_caption *captions[N] = {NULL};
    lks_error errors[N] = {{.status = LKS_OK}};
    for (int i = 0; i < N; i++) {
        snprintf(paths[i], sizeof paths[i], PHOTOS "%s", names[i]);
        pictures[i].path = paths[i];
    }
    lks_caption_options o = options_of(s, 2, 1);
    o.keep_picture = o.keep_features = 1;
    lks_status st = lks_caption_batch(s->session, captions, errors, pictures, N, &o, &s->err);
    if (st != LKS_OK) {
        for (int i = 0; i < N; i++)
            assert_null(captions[i]);
        return st;
    }
    int n_missing = 0;
    for (int i = 0; i < N; i++) {
        assert_int_equal(captions[i] == NULL, errors[i].status != LKS_OK);
        if (captions[i]) {
            say_caption(s, captions[i]);
            continue;
        }
        s->err = errors[i];
        n_missing++;
    }
    assert_in_range(n_missing, 0, 1);
    return n_missing ? s->err.status : LKS_OK;
}

static lks_status describe(scene *s)
{
    char *json = NULL;
    lks_status st = lks_model_info(s->model, &json, &s->err);
    if (st == LKS_OK)
        say(s, json);
    else
        assert_null(json);
    lks_free(json);
    return st;
}

static lks_status translate(scene *s)
{
    const lks_image_source picture = {.path = PHOTOS "wide.jpg"};
    lks_caption *caption = NULL;
    lks_translate_options o;
    lks_translate_options_init(&o, s->model);
    o.from = "en";
    o.to = "de";
    lks_status st = lks_translate(s->session, &caption, "A man rides a bike.", &picture, &o, &s->err);
    if (st == LKS_OK)
        say_caption(s, caption);
    else
        assert_null(caption);
    return st;
}

static lks_status fill(scene *s)
{
    lks_fillings *fillings = NULL;
    lks_fill_options o;
    lks_fill_options_init(&o, s->model);
    lks_status st = lks_fill(s->session, &fillings, "a [MASK] dog [MASK] on the", NULL, &o, &s->err);
    if (st == LKS_OK)
        for (int i = 0; i < fillings->n; i++)
            say(s, fillings->items[i].text);
    else
        assert_null(fillings);
    lks_fillings_free(fillings);
    return st;
}

static void check_failure(lks_status st, const lks_error *err, const char *what, size_t nth)
{
    if (st != LKS_ERR_NOMEM || err->status != LKS_ERR_NOMEM || !strstr(err->message, "out of memory"))
        fail_msg("%s, allocation %zu: status %d, %s", what, nth, st, err->message);
}

static lks_status open_session(scene *s)
{
    const lks_session_options options = {.size = sizeof options, .n_threads = N_THREADS};
    return lks_session_open(&s->session, s->model, &options, &s->err);
}

static void check_request(const lks_model *model, request ask, const char *name)
{
    scene s = {.model = model};
    assert_int_equal(open_session(&s), LKS_OK);
    if (ask(&s) != LKS_OK)
        fail_msg("%s: %s", name, s.err.message);
    lks_session_close(s.session);
    char want[TEXT_BYTES];
    strcpy(want, s.said);

    size_t nth = 0, n_calls = 0;
    for (lks_status st = LKS_ERR_NOMEM; st != LKS_OK; nth++) {
        long n_live = allocator_live();
        assert_int_equal(open_session(&s), LKS_OK);
        s.said[0] = '\0';
        allocator_begin(nth);
        st = ask(&s);
        n_calls = allocator_end();
        if (st != LKS_OK) {
            check_failure(st, &s.err, name, nth);
            s.said[0] = '\0';
            if (ask(&s) != LKS_OK)
                fail_msg("%s, after allocation %zu had failed: %s", name, nth, s.err.message);
        }
        assert_string_equal(s.said, want);
        lks_session_close(s.session);
        assert_int_equal(allocator_live(), n_live);
    }
    assert_int_equal(nth, n_calls + 1); /* only the last one found nothing left to fail: none failed unnoticed */
    assert_in_range(n_calls, 1, MOST_ALLOCATIONS);
}

static lks_model *open_model(const char *path, const char *dtype)
{
    const lks_model_options options = {.size = sizeof options, .n_threads = N_THREADS, .dtype = dtype};
    lks_model *model = NULL;
    lks_error err;
    if (lks_model_open(&model, path, &options, &err) != LKS_OK)
        fail_msg("%s", err.message);
    return model;
}

static void test_requests(void **state)
{
    (void)state;
    static const struct {
        request ask;
        const char *name;
    } requests[] = {{greedy, "greedy"},   {beams_with_everything, "beams"},
                    {samples, "samples"}, {joint, "joint"},
                    {batch, "batch"},     {describe, "info"}};
    static const struct {
        const char *path, *dtype;
    } models[] = {{MODELS "vit-gpt2-bin", "f32"}, {MODELS "blip-full", "int8"}, {MODELS "deit-trocr-sinusoid", "bf16"}};
    for (size_t m = 0; m < sizeof models / sizeof *models; m++) {
        lks_model *model = open_model(models[m].path, models[m].dtype);
        for (size_t i = 0; i < sizeof requests / sizeof *requests; i++)
            check_request(model, requests[i].ask, requests[i].name);
        lks_model_close(model);
    }
}

static void test_languages(void **state)
{
    (void)state;
    lks_model *model = open_model(LANGUAGES, NULL);
    check_request(model, translate, "translate");
    check_request(model, fill, "fill");
    lks_model_close(model);
}

static void test_session(void **state)
{
    (void)state;
    lks_model *model = open_model(MODELS "vit-gpt2-bin", NULL);
    size_t nth = 0, n_calls = 0;
    for (lks_status st = LKS_ERR_NOMEM; st != LKS_OK; nth++) {
        scene s = {.model = model};
        long n_live = allocator_live();
        allocator_begin(nth);
        st = open_session(&s);
        n_calls = allocator_end();
        if (st != LKS_OK) {
            check_failure(st, &s.err, "session", nth);
            assert_null(s.session);
        }
        lks_session_close(s.session);
        assert_int_equal(allocator_live(), n_live);
    }
    assert_int_equal(nth, n_calls + 1);
    lks_model_close(model);
}

static void check_model(const char *path, const char *dtype)
{
    const lks_model_options options = {.size = sizeof options, .n_threads = N_THREADS, .dtype = dtype};
    size_t nth = 0, n_calls;
    do {
        lks_model *model = NULL;
        lks_error err = {.status = LKS_OK};
        long n_live = allocator_live();
        allocator_begin(nth);
        lks_status st = lks_model_open(&model, path, &options, &err);
        n_calls = allocator_end();
        if (nth < n_calls)
            check_failure(st, &err, path, nth);
        assert_int_equal(model != NULL, st == LKS_OK);
        lks_model_close(model);
        assert_int_equal(allocator_live(), n_live);
    } while (nth++ < n_calls);
    assert_in_range(n_calls, 100, MOST_ALLOCATIONS);
}

/* Every kind of tokenizer, weight file and precision; files of our own. */
static void check_models(void)
{
    check_model(MODELS "vit-gpt2-bin", NULL);
    check_model(MODELS "blip-full", "int8");
    check_model(MODELS "deit-bert-untied", "bf16");
    check_model(MODELS "deit-trocr-sinusoid", "int4");
    check_model(MODELS "dinov2-roberta-sharded", NULL);
    check_model(MODELS "vit-trocr", "int8");
    check_model(LANGUAGES, NULL);
}

static void check_conversion(void)
{
    char folder[] = "/tmp/looksay-faults-XXXXXX", path[64];
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/model.gguf", folder);
    const lks_convert_options options = {.size = sizeof options, .dtype = "int8", .n_threads = N_THREADS};
    size_t nth = 0;
    for (lks_status st = LKS_ERR_NOMEM; st != LKS_OK; nth++) {
        lks_error err = {.status = LKS_OK};
        long n_live = allocator_live();
        allocator_begin(nth);
        st = lks_model_convert(NULL, MODELS "vit-gpt2-bin", path, &options, &err);
        allocator_end();
        assert_int_equal(allocator_live(), n_live);
        if (st == LKS_OK)
            break;
        check_failure(st, &err, "convert", nth);
        assert_int_equal(access(path, F_OK), -1); /* a file appears when it is complete */
    }
    assert_in_range(nth, 100, MOST_ALLOCATIONS);
    check_model(path, NULL);
    unlink(path);
    assert_int_equal(rmdir(folder), 0); /* nor was anything else left */
}

static void test_files(void **state)
{
    (void)state;
    check_models();
    check_conversion();
}

static void test_files_and_jansson(void **state)
{
    (void)state;
    json_set_alloc_funcs(malloc, free);
    check_models();
    check_conversion();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_session), cmocka_unit_test(test_requests),          cmocka_unit_test(test_languages),
        cmocka_unit_test(test_files),   cmocka_unit_test(test_files_and_jansson),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
