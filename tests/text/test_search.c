/* Search against transformers' `generate`: tokens, scores and log-probabilities of 240 models and settings (search.json, by
 * make_search_golden.py); and for sampling, which draws from another generator, the distribution it draws from. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <jansson.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "text/search_private.h"

enum { VOCAB = 23, START = 1, MAX_ROWS = 16, MAX_PHRASES = 8, MAX_LENGTH = 8 };

/* --- a model whose logits are a function of the place and the last two tokens --- */

typedef struct table {
    uint32_t seed;
    float scale, end_bonus;
    int32_t end_tokens[MAX_LENGTH];
    int n_end_tokens;
    int32_t last[MAX_ROWS][2];
    uint32_t n; /* tokens so far */
    int n_tops; /* steps that were asked for the likeliest tokens only */
} table;

static uint32_t mix(uint32_t h)
{
    h = (h ^ (h >> 16)) * 0x85EBCA6BU;
    h = (h ^ (h >> 13)) * 0xC2B2AE35U;
    return h ^ (h >> 16);
}

static void logits_after(float *logits, const table *t, int32_t a, int32_t b)
{
    for (uint32_t v = 0; v < VOCAB; v++) {
        uint32_t h = mix(t->seed + 31337U * t->n + 131U * (uint32_t)a + 7919U * (uint32_t)b + 104729U * v);
        logits[v] = t->scale * ((float)(h >> 16) / 65536.0f);
    }
    for (int i = 0; i < t->n_end_tokens; i++)
        logits[t->end_tokens[i]] += t->end_bonus;
}

static void restart(table *t)
{
    memset(t->last, 0, sizeof t->last);
    t->n = 0;
}

static lks_status step(void *context, float *logits, const int32_t *tokens, int n_rows, int n_tokens, lks_error *err)
{
    (void)err;
    table *t = context;
    assert_in_range(n_rows, 1, MAX_ROWS);
    t->n += (uint32_t)n_tokens;
    for (int row = 0; row < n_rows; row++) {
        for (int i = 0; i < n_tokens; i++) {
            t->last[row][0] = t->last[row][1];
            t->last[row][1] = tokens[row * n_tokens + i];
        }
        logits_after(logits + (size_t)row * VOCAB, t, t->last[row][0], t->last[row][1]);
    }
    return LKS_OK;
}

/* The same model, asked for the likeliest tokens. */
static lks_status step_top(void *context, const lks_top *top, const int32_t *tokens, int n_rows, int n_tokens,
                           lks_error *err)
{
    table *t = context;
    float logits[MAX_ROWS * VOCAB];
    t->n_tops++;
    assert_in_range(top->k, 1, VOCAB);
    lks_status st = step(context, logits, tokens, n_rows, n_tokens, err);
    const lks_compute alone = {.ops = lks_ops_get(LKS_ISA_REF)};
    alone.ops->top_k(&alone, top->values, top->indices, logits, n_rows, VOCAB, top->k);
    alone.ops->log_sum_exp(&alone, top->log_sum_exp, logits, n_rows, VOCAB);
    return st;
}

static void reorder(void *context, const int32_t *parents, int n_rows)
{
    table *t = context;
    int32_t old[MAX_ROWS][2];
    memcpy(old, t->last, sizeof old);
    for (int row = 0; row < n_rows; row++)
        memcpy(t->last[row], old[parents[row]], sizeof old[0]);
}

static lks_step_model step_model_of(table *t, bool with_top)
{
    return (lks_step_model){.context = t,
                            .vocab_size = VOCAB,
                            .max_positions = 64,
                            .step = step,
                            .step_top = with_top ? step_top : NULL,
                            .max_top = VOCAB,
                            .reorder = reorder};
}

/* --- golden cases --- */

typedef struct golden {
    table model;
    lks_search_options options;
    int32_t prompt[MAX_LENGTH], suppressed[MAX_LENGTH], begin_suppressed[MAX_LENGTH], phrases[MAX_PHRASES][MAX_LENGTH];
    const int32_t *banned[MAX_PHRASES];
    int banned_lengths[MAX_PHRASES];
} golden;

static int32_t whole(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    assert_true(json_is_integer(value));
    return (int32_t)json_integer_value(value);
}

static float real(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    assert_true(json_is_number(value));
    return (float)json_number_value(value);
}

static int ids(int32_t *out, const json_t *array)
{
    assert_in_range(json_array_size(array), 0, MAX_LENGTH);
    for (size_t i = 0; i < json_array_size(array); i++)
        out[i] = (int32_t)json_integer_value(json_array_get(array, i));
    return (int)json_array_size(array);
}

static void read_case(golden *g, const json_t *c)
{
    *g = (golden){
        .model = {.seed = (uint32_t)whole(c, "seed"), .scale = real(c, "scale"), .end_bonus = real(c, "end_bonus")}};
    g->model.n_end_tokens = ids(g->model.end_tokens, json_object_get(c, "end_tokens"));
    lks_search_options *o = &g->options;
    lks_search_defaults(o);
    o->n_beams = whole(c, "beams");
    o->n_best = whole(c, "n_best");
    o->max_length = whole(c, "max_length");
    o->max_tokens = o->max_length > 0 ? o->max_length : whole(c, "max_tokens");
    o->min_tokens = whole(c, "min_tokens");
    o->min_length = whole(c, "min_length");
    o->length_penalty = real(c, "length_penalty");
    o->early_stopping = whole(c, "early_stopping");
    o->no_repeat_ngram = whole(c, "no_repeat_ngram");
    o->repetition_penalty = real(c, "repetition_penalty");
    o->forced_first_token = whole(c, "forced_first");
    o->forced_last_token = whole(c, "forced_last");
    o->start_token = START;
    o->end_tokens = g->model.end_tokens;
    o->n_end_tokens = g->model.n_end_tokens;
    o->prompt = g->prompt;
    o->n_prompt = ids(g->prompt, json_object_get(c, "prompt"));
    o->suppressed = g->suppressed;
    o->n_suppressed = ids(g->suppressed, json_object_get(c, "suppressed"));
    o->begin_suppressed = g->begin_suppressed;
    o->n_begin_suppressed = ids(g->begin_suppressed, json_object_get(c, "begin_suppressed"));
    const json_t *banned = json_object_get(c, "banned");
    o->banned = g->banned;
    o->banned_lengths = g->banned_lengths;
    o->n_banned = (int)json_array_size(banned);
    assert_in_range(o->n_banned, 0, MAX_PHRASES);
    for (int i = 0; i < o->n_banned; i++) {
        g->banned[i] = g->phrases[i];
        g->banned_lengths[i] = ids(g->phrases[i], json_array_get(banned, (size_t)i));
    }
}

static bool near(double a, double b)
{
    return fabs(a - b) <= 1e-4 * fmax(1.0, fabs(b));
}

/* Prints what differs; returns whether nothing does. */
static bool equal(size_t number, const json_t *expected, const lks_hypothesis *said, int n_said)
{
    if ((int)json_array_size(expected) != n_said) {
        print_error("case %zu: %d hypotheses, transformers has %zu\n", number, n_said, json_array_size(expected));
        return false;
    }
    for (int i = 0; i < n_said; i++) {
        const json_t *e = json_array_get(expected, (size_t)i), *tokens = json_object_get(e, "tokens");
        const json_t *logprobs = json_object_get(e, "logprobs"), *score = json_object_get(e, "score");
        bool same = (int)json_array_size(tokens) == said[i].n_tokens;
        for (int k = 0; same && k < said[i].n_tokens; k++)
            same = json_integer_value(json_array_get(tokens, (size_t)k)) == said[i].tokens[k] &&
                   near(said[i].logprobs[k], json_number_value(json_array_get(logprobs, (size_t)k)));
        if (same && json_is_number(score))
            same = near(said[i].score, json_number_value(score));
        if (!same) {
            print_error("case %zu, hypothesis %d (score %g):", number, i, (double)said[i].score);
            for (int k = 0; k < said[i].n_tokens; k++)
                print_error(" %d", said[i].tokens[k]);
            char *text = json_dumps(e, JSON_COMPACT);
            print_error("\n  transformers: %s\n", text);
            free(text);
            return false;
        }
    }
    return true;
}

/* Runs a case on a model that has step_top or has not; returns whether the result is transformers'. */
static bool run_case(size_t i, const json_t *c, bool with_top, int *n_tops)
{
    golden g;
    read_case(&g, c);
    const lks_step_model model = {.context = &g.model,
                                  .vocab_size = VOCAB,
                                  .max_positions = 64,
                                  .step = step,
                                  .step_top = with_top ? step_top : NULL,
                                  .max_top = 16,
                                  .reorder = reorder};
    lks_hypothesis *said = NULL;
    int n_said = 0;
    lks_error err = {0};
    bool well = lks_search_run(&said, &n_said, &model, &g.options, 1, &err) == LKS_OK;
    if (!well)
        print_error("case %zu: %s\n", i, err.message);
    well = well && equal(i, json_object_get(c, "hypotheses"), said, n_said);
    lks_hypotheses_free(said);
    *n_tops += g.model.n_tops > 0;
    return well;
}

static void searches_equal_transformers(void **state)
{
    (void)state;
    json_error_t error;
    json_t *cases = json_load_file("tests/text/fixtures/search.json", 0, &error);
    assert_non_null(cases);
    const size_t n = json_array_size(cases);
    size_t n_different = 0;
    int n_tops = 0;
    assert_true(n >= 200);
    for (size_t i = 0; i < n; i++) {
        n_different += !run_case(i, json_array_get(cases, i), false, &n_tops);
        assert_int_equal(n_tops, 0);
    }
    for (size_t i = 0; i < n; i++)
        n_different += !run_case(i, json_array_get(cases, i), true, &n_tops);
    json_decref(cases);
    if (n_different > 0)
        fail_msg("%zu of %zu cases differ", n_different, 2 * n);
    assert_in_range(n_tops, 10, n - 10); /* options that need all logits get them */
}

static int say(lks_hypothesis **said, golden *g, bool with_top)
{
    const lks_step_model model = step_model_of(&g->model, with_top);
    int n = 0;
    lks_error err = {0};
    if (lks_search_run(said, &n, &model, &g->options, 1, &err) != LKS_OK)
        fail_msg("%s", err.message);
    assert_int_equal(g->model.n_tops > 0, with_top);
    return n;
}

/* A case without the options that need all logits. */
static void read_plain_case(golden *g, const json_t *c)
{
    read_case(g, c);
    lks_search_options *o = &g->options;
    o->no_repeat_ngram = o->n_banned = o->n_begin_suppressed = 0;
    o->repetition_penalty = 1.0f;
    o->forced_first_token = o->forced_last_token = -1;
}

/* Those cases again: what the likeliest tokens lead to is what all of them do. */
static void the_likeliest_are_enough(void **state)
{
    (void)state;
    json_t *cases = json_load_file("tests/text/fixtures/search.json", 0, NULL);
    size_t n_compared = 0;
    for (size_t i = 0; i < json_array_size(cases); i++) {
        golden all, top;
        lks_hypothesis *one = NULL, *other = NULL;
        read_plain_case(&all, json_array_get(cases, i));
        const lks_search_options *o = &all.options;
        int per_beam = o->n_end_tokens > 1 ? 1 + o->n_end_tokens : 2;
        if (o->n_beams * per_beam + o->n_end_tokens + o->n_suppressed > VOCAB)
            continue;
        read_plain_case(&top, json_array_get(cases, i)); /* pointers into its own struct */
        int n = say(&one, &all, false);
        assert_int_equal(say(&other, &top, true), n);
        for (int k = 0; k < n; k++) {
            assert_int_equal(one[k].n_tokens, other[k].n_tokens);
            assert_memory_equal(one[k].tokens, other[k].tokens, (size_t)one[k].n_tokens * sizeof *one[k].tokens);
            assert_memory_equal(one[k].rows, other[k].rows, (size_t)one[k].n_tokens * sizeof *one[k].rows);
            for (int j = 0; j < one[k].n_tokens; j++)
                assert_true(near(other[k].logprobs[j], one[k].logprobs[j]));
            assert_true(near(other[k].score, one[k].score));
        }
        lks_hypotheses_free(one);
        lks_hypotheses_free(other);
        n_compared++;
    }
    json_decref(cases);
    assert_true(n_compared > 150);
}

/* The cases again, as three images side by side: each gets what one alone gets. The table's images are all the same, so this is
 * about rows that come, go and belong to somebody. */
static void images_side_by_side(void **state)
{
    (void)state;
    enum { N_IMAGES = 3 };
    json_t *cases = json_load_file("tests/text/fixtures/search.json", 0, NULL);
    size_t n_compared = 0;
    for (size_t i = 0; i < json_array_size(cases); i++) {
        golden g;
        read_case(&g, json_array_get(cases, i));
        if (lks_search_rows(&g.options) * N_IMAGES > MAX_ROWS)
            continue;
        for (int with_top = 0; with_top < 2; with_top++) {
            const lks_step_model model = step_model_of(&g.model, with_top);
            lks_hypothesis *one = NULL, *several[N_IMAGES] = {NULL};
            int n_one = 0, n_several[N_IMAGES] = {0};
            restart(&g.model);
            assert_int_equal(lks_search_run(&one, &n_one, &model, &g.options, 1, NULL), LKS_OK);
            restart(&g.model);
            assert_int_equal(lks_search_run(several, n_several, &model, &g.options, N_IMAGES, NULL), LKS_OK);
            for (int k = 0; k < N_IMAGES; k++) {
                assert_int_equal(n_several[k], n_one);
                for (int h = 0; h < n_one; h++) {
                    size_t n = (size_t)one[h].n_tokens;
                    assert_int_equal(several[k][h].n_tokens, one[h].n_tokens);
                    assert_memory_equal(several[k][h].tokens, one[h].tokens, n * sizeof *one[h].tokens);
                    assert_memory_equal(several[k][h].logprobs, one[h].logprobs, n * sizeof *one[h].logprobs);
                    assert_memory_equal(&several[k][h].score, &one[h].score, sizeof one[h].score);
                }
                lks_hypotheses_free(several[k]);
            }
            lks_hypotheses_free(one);
            n_compared++;
        }
    }
    json_decref(cases);
    assert_true(n_compared > 200);
}

/* --- sampling --- */

/* What transformers' warpers leave of a distribution: softmax(logits / temperature), the k likeliest, then the fewest of
 * those that hold the share p together. */
static void warped(double *p, const float *logits, double temperature, int top_k, double top_p)
{
    int order[VOCAB];
    for (int v = 0; v < VOCAB; v++) {
        int at = v;
        for (; at > 0 && logits[order[at - 1]] < logits[v]; at--)
            order[at] = order[at - 1];
        order[at] = v;
        p[v] = 0.0;
    }
    int n = top_k > 0 && top_k < VOCAB ? top_k : VOCAB;
    double sum = 0.0, kept = 0.0, largest = logits[order[0]];
    for (int i = 0; i < n; i++)
        sum += p[order[i]] = exp((logits[order[i]] - largest) / temperature);
    double before = 0.0;
    for (int i = 0; i < n; i++) {
        p[order[i]] /= sum;
        const double own = p[order[i]];
        if (before >= top_p)
            p[order[i]] = 0.0;
        before += own;
        kept += p[order[i]];
    }
    for (int v = 0; v < VOCAB; v++)
        p[v] /= kept;
}

static int32_t draw(table *t, const lks_search_options *o)
{
    const lks_step_model model = {
        .context = t, .vocab_size = VOCAB, .max_positions = 64, .step = step, .reorder = reorder};
    lks_hypothesis *said = NULL;
    int n_said = 0;
    lks_error err = {0};
    restart(t);
    assert_int_equal(lks_search_run(&said, &n_said, &model, o, 1, &err), LKS_OK);
    assert_int_equal(n_said, 1);
    const int32_t token = said[0].tokens[0];
    lks_hypotheses_free(said);
    return token;
}

/* Pearson's chi-square of 20,000 draws stays below its 99.99 % point; what is filtered out is never drawn. */
static void samples_follow_the_warped_distribution(void **state)
{
    (void)state;
    static const struct {
        float temperature, top_p;
        int top_k;
    } settings[] = {{1.0f, 1.0f, 0}, {0.5f, 1.0f, 0}, {1.0f, 1.0f, 5}, {1.0f, 0.7f, 0}, {1.7f, 0.9f, 9}};
    enum { N_DRAWS = 20000 };
    for (size_t i = 0; i < sizeof settings / sizeof *settings; i++) {
        table t = {.seed = 77, .scale = 4.0f};
        lks_search_options o;
        lks_search_defaults(&o);
        o.sample = true;
        o.max_tokens = 1;
        o.start_token = START;
        o.temperature = settings[i].temperature;
        o.top_p = settings[i].top_p;
        o.top_k = settings[i].top_k;
        float logits[VOCAB];
        double p[VOCAB], chi_square = 0.0;
        int count[VOCAB] = {0}, n_possible = 0;
        t.n = 1;
        logits_after(logits, &t, 0, START);
        warped(p, logits, o.temperature, o.top_k, o.top_p);
        for (o.seed = 0; o.seed < N_DRAWS; o.seed++)
            count[draw(&t, &o)]++;
        for (int v = 0; v < VOCAB; v++) {
            if (p[v] == 0.0) {
                assert_int_equal(count[v], 0);
                continue;
            }
            n_possible++;
            chi_square += (count[v] - N_DRAWS * p[v]) * (count[v] - N_DRAWS * p[v]) / (N_DRAWS * p[v]);
        }
        assert_true(n_possible > 1);
        /* Wilson and Hilferty's approximation of the 99.99 % point. */
        const double d = n_possible - 1, limit = d * pow(1.0 - 2.0 / (9.0 * d) + 3.719 * sqrt(2.0 / (9.0 * d)), 3.0);
        if (chi_square > limit)
            fail_msg("setting %zu: chi-square %g of %d words, limit %g", i, chi_square, n_possible, limit);
    }
}

static void a_seed_draws_the_same_caption(void **state)
{
    (void)state;
    table t = {.seed = 5, .scale = 2.0f};
    lks_search_options o;
    lks_search_defaults(&o);
    o.sample = true;
    o.start_token = START;
    const lks_step_model model = {
        .context = &t, .vocab_size = VOCAB, .max_positions = 64, .step = step, .reorder = reorder};
    lks_hypothesis *said[3] = {0};
    for (int i = 0; i < 3; i++) {
        int n_said = 0;
        o.seed = i < 2 ? 42 : 43;
        restart(&t);
        assert_int_equal(lks_search_run(&said[i], &n_said, &model, &o, 1, NULL), LKS_OK);
    }
    assert_int_equal(said[0]->n_tokens, said[1]->n_tokens);
    assert_memory_equal(said[0]->tokens, said[1]->tokens, (size_t)said[0]->n_tokens * sizeof *said[0]->tokens);
    assert_true(said[2]->n_tokens != said[0]->n_tokens ||
                memcmp(said[2]->tokens, said[0]->tokens, (size_t)said[0]->n_tokens * sizeof *said[0]->tokens) != 0);
    for (int i = 0; i < 3; i++)
        lks_hypotheses_free(said[i]);
}

/* Phrases that share a beginning, stand in each other or begin anew in their middle count where they are said. */
static void required_phrases_are_found(void **state)
{
    (void)state;
    static const int32_t in_front[] = {5, 6}, in_the[] = {5, 7}, ball[] = {8}, red_ball[] = {9, 8}, again[] = {5, 5, 6};
    static const int32_t *const phrases[] = {in_the, in_front, ball, red_ball, again};
    static const int lengths[] = {2, 2, 1, 2, 3};
    static const int32_t said[] = {5, 5, 5, 6, 9, 8, 4, 5, 7};
    static const uint32_t met[] = {0, 0, 0, 18, 18, 30, 30, 30, 31};
    static const int count[] = {1, 2, 2, 5, 6, 8, 8, 9, 10};
    lks_search_options o;
    lks_search_defaults(&o);
    o.required = phrases;
    o.required_lengths = lengths;
    o.n_required = 5;
    lks_progress p = lks_progress_start(&o);
    for (size_t i = 0; i < sizeof said / sizeof *said; i++) {
        p = lks_progress_next(&o, p, said[i]);
        assert_int_equal(p.met, met[i]);
        assert_int_equal(lks_progress_count(&o, p), count[i]);
    }
    assert_true(lks_progress_done(&o, p));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(searches_equal_transformers),   cmocka_unit_test(the_likeliest_are_enough),
        cmocka_unit_test(images_side_by_side),           cmocka_unit_test(samples_follow_the_warped_distribution),
        cmocka_unit_test(a_seed_draws_the_same_caption), cmocka_unit_test(required_phrases_are_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
