/* Languages, translation and filling, on a tiny model that knows four sentences by heart (make_languages.py). That every number is
 * torch's is `looksay verify`'s business (cli_Languages); here is what callers may rely on. */
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

#define MODEL "tests/captioner/models/languages.gguf"
#define PHOTOS "tests/parity/photos/"
enum { MODEL_BYTES = 1 << 18 }; /* more than it has */

typedef struct bench {
    lks_model *model;
    lks_session *session;
    lks_error err;
} bench;

static const lks_image_source wide = {.path = PHOTOS "wide.jpg"}, tall = {.path = PHOTOS "tall.png"};

static void bench_open(bench *b, const char *path)
{
    *b = (bench){0};
    if (lks_model_open(&b->model, path, NULL, &b->err) != LKS_OK ||
        lks_session_open(&b->session, b->model, NULL, &b->err) != LKS_OK)
        fail_msg("%s", b->err.message);
}

static void bench_close(bench *b)
{
    lks_session_close(b->session);
    lks_model_close(b->model);
}

static lks_caption *say(bench *b, const char *language)
{
    lks_caption_options options;
    lks_caption *caption = NULL;
    lks_caption_options_init(&options, b->model);
    options.language = language;
    if (lks_caption_file(b->session, &caption, wide.path, &options, &b->err) != LKS_OK)
        fail_msg("%s", b->err.message);
    return caption;
}

static lks_status translate(bench *b, lks_caption **out, const char *from, const char *to, const char *text,
                            const lks_image_source *picture)
{
    lks_translate_options options;
    lks_translate_options_init(&options, b->model);
    options.from = from;
    options.to = to;
    return lks_translate(b->session, out, text, picture, &options, &b->err);
}

static void assert_translation(bench *b, const char *from, const char *to, const char *text, const char *want)
{
    lks_caption *caption = NULL;
    if (translate(b, &caption, from, to, text, NULL) != LKS_OK)
        fail_msg("%s", b->err.message);
    assert_string_equal(caption->sequences[0].text, want);
    assert_int_equal(caption->grid_rows * caption->grid_columns, 0);
    lks_caption_free(caption);
}

static lks_fillings *fill_guided(bench *b, const char *text, const lks_image_source *picture, int n_best,
                                 float guidance)
{
    lks_fill_options options;
    lks_fillings *fillings = NULL;
    lks_fill_options_init(&options, b->model);
    options.n_best = n_best;
    options.n_beams = 2 * n_best;
    options.guidance = guidance;
    if (lks_fill(b->session, &fillings, text, picture, &options, &b->err) != LKS_OK)
        fail_msg("%s", b->err.message);
    return fillings;
}

static lks_fillings *fill(bench *b, const char *text, const lks_image_source *picture, int n_best)
{
    lks_fill_options options;
    lks_fill_options_init(&options, b->model);
    return fill_guided(b, text, picture, n_best, options.guidance);
}

static void test_languages_are_listed_and_the_first_is_the_default(void **state)
{
    (void)state;
    bench b;
    bench_open(&b, MODEL);
    static const char *const codes[] = {"en", "de", "fr", "cs"};
    for (size_t i = 0; i < 4; i++)
        assert_string_equal(lks_model_language(b.model, i), codes[i]);
    assert_null(lks_model_language(b.model, 4));
    lks_caption *plain = say(&b, NULL), *english = say(&b, "en"), *german = say(&b, "de");
    assert_string_equal(plain->sequences[0].text, english->sequences[0].text);
    assert_string_equal(plain->sequences[0].text, "a brown dog runs on the");
    assert_memory_equal(german->sequences[0].text, "Ein brauner Hund", 16);
    lks_caption_free(plain);
    lks_caption_free(english);
    lks_caption_free(german);
    bench_close(&b);
}

static void test_sentences_are_translated_and_end_as_they_did(void **state)
{
    (void)state;
    bench b;
    bench_open(&b, MODEL);
    assert_translation(&b, "en", "de", "A man rides a bike.", "Ein Mann f\xc3\xa4hrt auf einem Fahrrad.");
    assert_translation(&b, "de", "en", "Ein Mann f\xc3\xa4hrt auf einem Fahrrad!", "A man rides a bike!");
    assert_translation(&b, "fr", "cs", "un homme roule \xc3\xa0 v\xc3\xa9lo", "Mu\xc5\xbe jede na kole");
    assert_translation(&b, "cs", "en", "d\xc3\xadvka se d\xc3\xadv\xc3\xa1 na vodu", "a girl looks at the water");
    bench_close(&b);
}

/* A translation leaves nothing behind in the session, and takes the picture into account when it has one. */
static void test_tasks_share_a_session(void **state)
{
    (void)state;
    bench b;
    bench_open(&b, MODEL);
    lks_caption *before = say(&b, "fr"), *alone = NULL, *seen = NULL, *bytes = NULL;
    assert_int_equal(translate(&b, &alone, "en", "de", "a girl", NULL), LKS_OK);
    assert_int_equal(translate(&b, &seen, "en", "de", "a girl", &wide), LKS_OK);
    lks_fillings *fillings = fill(&b, "a [MASK] dog", &tall, 3);
    lks_caption *after = say(&b, "fr");
    const lks_sequence *x = &before->sequences[0], *y = &after->sequences[0];
    assert_int_equal(x->n_tokens, y->n_tokens);
    assert_memory_equal(x->logprobs, y->logprobs, (size_t)x->n_tokens * sizeof *x->logprobs);
    assert_true(fabsf(alone->sequences[0].logprobs[0] - seen->sequences[0].logprobs[0]) > 1e-4f);

    FILE *file = fopen(wide.path, "rb");
    static char photo[1 << 20];
    lks_image_source held = {.bytes = photo, .n_bytes = fread(photo, 1, sizeof photo, file)};
    fclose(file);
    assert_int_equal(translate(&b, &bytes, "en", "de", "a girl", &held), LKS_OK);
    assert_int_equal(bytes->sequences[0].n_tokens, seen->sequences[0].n_tokens);
    assert_memory_equal(bytes->sequences[0].logprobs, seen->sequences[0].logprobs,
                        (size_t)seen->sequences[0].n_tokens * sizeof(float));
    lks_caption_free(before);
    lks_caption_free(after);
    lks_caption_free(alone);
    lks_caption_free(seen);
    lks_caption_free(bytes);
    lks_fillings_free(fillings);
    bench_close(&b);
}

static void test_gaps_are_filled_with_what_the_picture_shows(void **state)
{
    (void)state;
    bench b;
    bench_open(&b, MODEL);
    const struct {
        const lks_image_source *right, *wrong;
        const char *text, *want;
    } cases[] = {{&wide, &tall, "A [MASK] dog runs on the [MASK]!", "A brown dog runs on the beach!"},
                 {&tall, &wide, "two [MASK] men are near a [MASK]", "two young men are near a tree"}};
    for (size_t i = 0; i < 2; i++) {
        lks_fillings *fillings = fill(&b, cases[i].text, cases[i].right, 4);
        assert_in_range(fillings->n, 1, 4);
        assert_int_equal(fillings->n_gaps, 2);
        assert_string_equal(fillings->items[0].text, cases[i].want);
        assert_string_equal(fillings->items[0].words[0], i ? "young" : "brown");
        double sum = 0.0;
        for (int k = 0; k < fillings->n; k++) {
            sum += fillings->items[k].probability;
            assert_true(k == 0 || fillings->items[k].probability <= fillings->items[k - 1].probability);
            for (int other = 0; other < k; other++)
                assert_string_not_equal(fillings->items[k].text, fillings->items[other].text);
        }
        assert_true(sum > 0.3 && sum <= 1.0 + 1e-5);
        lks_fillings_free(fillings);
    }
    lks_fillings *right = fill(&b, "[MASK] [MASK] [MASK] runs on the [MASK]", &wide, 1);
    lks_fillings *wrong = fill(&b, "[MASK] [MASK] [MASK] runs on the [MASK]", &tall, 1);
    assert_true(right->items[0].probability != wrong->items[0].probability);
    lks_fillings_free(right);
    lks_fillings_free(wrong);
    bench_close(&b);
}

static double probability_of(const lks_fillings *fillings, const char *text)
{
    for (int i = 0; i < fillings->n; i++)
        if (strcmp(fillings->items[i].text, text) == 0)
            return fillings->items[i].probability;
    return 0.0;
}

static double all_of(const lks_fillings *fillings)
{
    double sum = 0.0;
    for (int i = 0; i < fillings->n; i++)
        sum += fillings->items[i].probability;
    return sum;
}

/* p (p / q)^g, up to a factor, from p with the picture and q without, which are asked for by themselves. */
static void test_guidance_counts_what_the_picture_changes(void **state)
{
    (void)state;
    enum { N_BEST = 40 };
    const char *text = "two young [MASK] are near a tree";
    const float guidance = 0.7f;
    bench b;
    bench_open(&b, MODEL);
    lks_fillings *seen = fill_guided(&b, text, &wide, N_BEST, 0.0f), *blind = fill_guided(&b, text, NULL, N_BEST, 0.0f);
    lks_fillings *guided = fill_guided(&b, text, &wide, N_BEST, guidance),
                 *again = fill_guided(&b, text, NULL, N_BEST, guidance);
    double factor = 0.0;
    int n_compared = 0, n_moved = 0;
    for (int i = 0; i < guided->n; i++) {
        const char *filling = guided->items[i].text;
        double p = probability_of(seen, filling), q = probability_of(blind, filling);
        n_moved += strcmp(filling, seen->items[i].text) != 0;
        if (p == 0.0 || q == 0.0) /* not among the likeliest of one */
            continue;
        double found = guided->items[i].probability / (p * pow(p / q, (double)guidance));
        factor = n_compared++ == 0 ? found : factor;
        if (fabs(found / factor - 1.0) > 2e-3)
            fail_msg("'%s' has %g times what it should have, others %g", filling, found, factor);
    }
    assert_true(n_compared >= 5);
    assert_true(n_moved > 0);
    assert_true(fabs(all_of(guided) - all_of(seen)) < 0.02);
    assert_int_equal(again->n, blind->n); /* without a picture there is nothing to count */
    for (int i = 0; i < again->n; i++)
        assert_true(again->items[i].probability == blind->items[i].probability);
    lks_fillings_free(seen);
    lks_fillings_free(blind);
    lks_fillings_free(guided);
    lks_fillings_free(again);
    bench_close(&b);
}

static void test_mistakes_are_named(void **state)
{
    (void)state;
    bench b;
    bench_open(&b, MODEL);
    lks_caption *caption = NULL;
    assert_int_equal(translate(&b, &caption, "en", "it", "a dog", NULL), LKS_ERR_ARGUMENT);
    assert_non_null(strstr(b.err.message, "en, de, fr and cs"));
    assert_int_equal(translate(&b, &caption, "en", NULL, "a dog", NULL), LKS_ERR_ARGUMENT);
    assert_int_equal(translate(&b, &caption, "en", "de", " ... ", NULL), LKS_ERR_ARGUMENT);
    char text[400];
    for (size_t i = 0; i < sizeof text; i++)
        text[i] = i % 4 == 3 ? ' ' : 'x';
    text[sizeof text - 1] = '\0';
    assert_int_equal(translate(&b, &caption, "en", "de", text, NULL), LKS_ERR_ARGUMENT);
    assert_non_null(strstr(b.err.message, "sentence by sentence"));
    const lks_image_source missing = {.path = PHOTOS "none.jpg"}, empty = {.path = NULL};
    assert_int_equal(translate(&b, &caption, "en", "de", "a dog", &missing), LKS_ERR_IO);
    assert_int_equal(translate(&b, &caption, "en", "de", "a dog", &empty), LKS_ERR_ARGUMENT);
    assert_null(caption);

    lks_fill_options options;
    lks_fillings *fillings = NULL;
    lks_fill_options_init(&options, b.model);
    assert_int_equal(lks_fill(b.session, &fillings, "a dog", NULL, &options, &b.err), LKS_ERR_ARGUMENT);
    assert_non_null(strstr(b.err.message, "[MASK]"));
    options.n_beams = 1;
    assert_int_equal(lks_fill(b.session, &fillings, "a [MASK]", NULL, &options, &b.err), LKS_ERR_ARGUMENT);
    lks_fill_options_init(&options, b.model);
    options.guidance = -1.0f;
    assert_int_equal(lks_fill(b.session, &fillings, "a [MASK]", NULL, &options, &b.err), LKS_ERR_ARGUMENT);
    assert_non_null(strstr(b.err.message, "guidance"));
    assert_null(fillings);
    bench_close(&b);
}

static void test_a_model_of_one_language_says_so(void **state)
{
    (void)state;
    bench b;
    bench_open(&b, "tests/parity/models/vit-gpt2-bin");
    assert_null(lks_model_language(b.model, 0));
    lks_caption_options options;
    lks_caption *caption = NULL;
    lks_caption_options_init(&options, b.model);
    options.language = "de";
    assert_int_equal(lks_caption_file(b.session, &caption, wide.path, &options, &b.err), LKS_ERR_UNSUPPORTED);
    assert_int_equal(translate(&b, &caption, "en", "de", "a dog", NULL), LKS_ERR_UNSUPPORTED);
    lks_fill_options fill_options;
    lks_fillings *fillings = NULL;
    lks_fill_options_init(&fill_options, b.model);
    assert_int_equal(lks_fill(b.session, &fillings, "a [MASK]", NULL, &fill_options, &b.err), LKS_ERR_UNSUPPORTED);
    assert_null(caption);
    assert_null(fillings);
    bench_close(&b);
}

/* A copy of MODEL that ends its texts with `token`, of three digits, in a file of its own. */
static void model_ending_with(char path[64], const char *token)
{
    static const char was[] = "\"eos_token_id\": 0, ";
    char is[sizeof was];
    snprintf(is, sizeof is, "\"eos_token_id\":%s,", token);
    FILE *file = fopen(MODEL, "rb");
    assert_non_null(file);
    char *bytes = malloc(MODEL_BYTES);
    assert_non_null(bytes);
    size_t n = fread(bytes, 1, MODEL_BYTES, file);
    fclose(file);
    char *at = memmem(bytes, n, was, sizeof was - 1);
    assert_non_null(at);
    memcpy(at, is, sizeof is - 1);
    strcpy(path, P_tmpdir "/looksay-languages-XXXXXX");
    file = fdopen(mkstemp(path), "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, n, file), n);
    fclose(file);
    free(bytes);
}

/* A model whose end token can stand where a gap goes on leaves gaps open. */
static void test_an_end_token_inside_a_gap_is_the_models_fault(void **state)
{
    (void)state;
    static const char *const tokens[] = {"420", "258"}; /* the mask; a piece of words */
    for (size_t i = 0; i < sizeof tokens / sizeof *tokens; i++) {
        bench b;
        char path[64];
        model_ending_with(path, tokens[i]);
        bench_open(&b, path);
        lks_fill_options options;
        lks_fillings *fillings = NULL;
        lks_fill_options_init(&options, b.model);
        assert_int_equal(lks_fill(b.session, &fillings, "a [MASK] dog [MASK]", &tall, &options, &b.err), LKS_ERR_MODEL);
        assert_non_null(strstr(b.err.message, "end token"));
        assert_null(fillings);
        bench_close(&b);
        remove(path);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_languages_are_listed_and_the_first_is_the_default),
        cmocka_unit_test(test_sentences_are_translated_and_end_as_they_did),
        cmocka_unit_test(test_tasks_share_a_session),
        cmocka_unit_test(test_gaps_are_filled_with_what_the_picture_shows),
        cmocka_unit_test(test_guidance_counts_what_the_picture_changes),
        cmocka_unit_test(test_mistakes_are_named),
        cmocka_unit_test(test_a_model_of_one_language_says_so),
        cmocka_unit_test(test_an_end_token_inside_a_gap_is_the_models_fault),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
