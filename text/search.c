/* Search: options, work space, stepping, and the results; the strategies stand in search_sample.c and search_beam.c. */
#include "text/search.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "text/search_private.h"

enum { MAX_CONSTRAINED_ROWS = 24 };

void lks_search_defaults(lks_search_options *options)
{
    *options = (lks_search_options){
        .n_beams = 1,
        .n_best = 1,
        .max_tokens = 20,
        .length_penalty = 1.0f,
        .repetition_penalty = 1.0f,
        .temperature = 1.0f,
        .top_p = 1.0f,
        .start_token = -1,
        .pad_token = -1,
        .forced_first_token = -1,
        .forced_last_token = -1,
    };
}

int lks_search_rows(const lks_search_options *options)
{
    if (options->sample)
        return options->n_best;
    if (options->n_required == 0)
        return options->n_beams;
    /* Every count of fulfilled tokens needs beams of its own, or paths on their way to a phrase die early. */
    int rows = 2 * (lks_required_tokens(options) + 1);
    rows = rows > MAX_CONSTRAINED_ROWS ? MAX_CONSTRAINED_ROWS : rows;
    return rows > options->n_beams ? rows : options->n_beams;
}

bool lks_search_is_end(const lks_search_options *options, int32_t token)
{
    for (int i = 0; i < options->n_end_tokens; i++)
        if (options->end_tokens[i] == token)
            return true;
    return false;
}

/* Takes `count` elements from *at, keeping 16-byte alignment; with a NULL base only the size is counted. */
static void *carve(unsigned char *base, size_t *at, size_t count, size_t size)
{
    void *result = base ? base + *at : NULL;
    *at += (count * size + 15) / 16 * 16;
    return result;
}

static void carve_paths(lks_path **paths, unsigned char *base, size_t *at, size_t n, size_t capacity)
{
    *paths = carve(base, at, n, sizeof **paths);
    for (size_t i = 0; i < n; i++) {
        int32_t *tokens = carve(base, at, capacity, sizeof *tokens);
        float *logprobs = carve(base, at, capacity, sizeof *logprobs);
        int32_t *rows = carve(base, at, capacity, sizeof *rows);
        if (base)
            (*paths)[i] = (lks_path){.tokens = tokens, .logprobs = logprobs, .rows = rows};
    }
}

static size_t carve_all(lks_search *s, unsigned char *base)
{
    size_t at = 0, rows = (size_t)s->n_rows, vocab = (size_t)s->model->vocab_size, capacity = (size_t)s->limit;
    size_t all = s->top.k > 0 ? 0 : vocab, top = (size_t)s->top.k;
    s->logits = carve(base, &at, rows * all, sizeof *s->logits);
    s->scores = carve(base, &at, rows * all, sizeof *s->scores);
    s->top.values = carve(base, &at, rows * top, sizeof *s->top.values);
    s->top.indices = carve(base, &at, rows * top, sizeof *s->top.indices);
    s->log_sum_exp = carve(base, &at, rows, sizeof *s->log_sum_exp);
    s->parents = carve(base, &at, rows, sizeof *s->parents);
    s->tokens = carve(base, &at, rows, sizeof *s->tokens);
    s->seen = carve(base, &at, all, 1);
    carve_paths(&s->running, base, &at, rows, capacity);
    carve_paths(&s->next, base, &at, rows, capacity);
    carve_paths(&s->finished, base, &at, rows, capacity);
    return at;
}

/* How many of the likeliest tokens of a row are all that the search can need; 0 where it may need any. Beam search ranks so many
 * of each row, those that are forbidden not counted. */
static int plan_top(const lks_step_model *model, const lks_search_options *o, int n_rows)
{
    bool plain = model->step_top && !o->sample && o->repetition_penalty == 1.0f && o->no_repeat_ngram == 0 &&
                 o->n_begin_suppressed == 0 && o->n_banned == 0 && o->n_required == 0 && o->forced_first_token < 0 &&
                 o->forced_last_token < 0;
    int64_t ranked = n_rows > 1 ? (int64_t)n_rows * (o->n_end_tokens > 1 ? 1 + o->n_end_tokens : 2) : 1;
    int64_t k = ranked + o->n_suppressed + o->n_end_tokens;
    return plain && k <= model->max_top && k <= model->vocab_size ? (int)k : 0;
}

lks_status lks_search_init(lks_search *s, const lks_step_model *model, const lks_search_options *options, int n_rows,
                           lks_error *err)
{
    *s = (lks_search){.model = model, .options = options, .err = err, .n_rows = n_rows};
    s->n_prefix = options->n_prompt + 1;
    s->top.k = plan_top(model, options, n_rows);
    int positions = model->max_positions;
    if (options->max_length > 0 && options->max_length < positions)
        positions = options->max_length;
    int room = positions - s->n_prefix;
    if (room < 1)
        return lks_error_set(err, LKS_ERR_ARGUMENT,
                             "the prompt of %d tokens leaves no room: the model's captions have at most %d with it",
                             options->n_prompt, positions - 1);
    s->limit = s->n_prefix + (options->max_tokens < room ? options->max_tokens : room);
    s->block = calloc(carve_all(s, NULL), 1);
    if (!s->block)
        return lks_error_set(err, LKS_ERR_NOMEM, "out of memory for a search of %d rows", n_rows);
    carve_all(s, s->block);
    s->top.log_sum_exp = s->log_sum_exp;
    return LKS_OK;
}

void lks_search_release(lks_search *search)
{
    free(search->block);
    search->block = NULL;
}

static lks_status not_finite(const lks_search *s)
{
    return lks_error_set(s->err, LKS_ERR_MODEL,
                         "the decoder's scores are not finite; the model file is damaged or not a captioner");
}

/* The rows' log-sum-exp, found in two passes (maximum, then sum in double), if it is not there already; a decoder that yields NaN
 * is refused. */
static lks_status normalise(lks_search *s, int n_rows)
{
    int vocab = s->top.k > 0 ? 0 : s->model->vocab_size;
    for (int row = 0; row < n_rows; row++) {
        if (vocab == 0 && !isfinite(s->log_sum_exp[row]))
            return not_finite(s);
        if (vocab == 0)
            continue;
        const float *x = s->logits + (size_t)row * (size_t)vocab;
        float max = x[0];
        for (int i = 1; i < vocab; i++)
            max = x[i] > max ? x[i] : max;
        double sum = 0.0;
        for (int i = 0; i < vocab; i++)
            sum += (double)expf(x[i] - max);
        s->log_sum_exp[row] = max + (float)log(sum);
        if (!isfinite(s->log_sum_exp[row]))
            return not_finite(s);
    }
    return LKS_OK;
}

static lks_status check_stop(const lks_search *s)
{
    if (s->options->stop && s->options->stop(s->options->stop_context))
        return lks_error_set(s->err, LKS_ERR_INTERRUPTED, "interrupted");
    return LKS_OK;
}

static lks_status step(lks_search *s, const int32_t *tokens, int n_rows, int n_tokens)
{
    const lks_step_model *m = s->model;
    lks_status st = check_stop(s);
    if (st == LKS_OK && s->top.k > 0)
        st = m->step_top(m->context, &s->top, tokens, n_rows, n_tokens, s->err);
    else if (st == LKS_OK)
        st = m->step(m->context, s->logits, tokens, n_rows, n_tokens, s->err);
    return st == LKS_OK ? normalise(s, n_rows) : st;
}

lks_status lks_search_begin(lks_search *s)
{
    lks_path *first = &s->running[0];
    first->tokens[0] = s->options->start_token;
    if (s->options->n_prompt > 0)
        memcpy(first->tokens + 1, s->options->prompt, (size_t)s->options->n_prompt * sizeof *first->tokens);
    first->n = s->n_prefix;
    return step(s, first->tokens, 1, s->n_prefix);
}

lks_status lks_search_step(lks_search *s, int n_rows, bool reorder)
{
    if (reorder)
        s->model->reorder(s->model->context, s->parents, n_rows);
    return step(s, s->tokens, n_rows, 1);
}

void lks_path_extend(lks_path *out, const lks_path *path, int32_t token, float logprob, int row)
{
    if (out != path) {
        size_t n = (size_t)path->n;
        memcpy(out->tokens, path->tokens, n * sizeof *out->tokens);
        memcpy(out->logprobs, path->logprobs, n * sizeof *out->logprobs);
        memcpy(out->rows, path->rows, n * sizeof *out->rows);
        out->n = path->n;
    }
    out->tokens[out->n] = token;
    out->logprobs[out->n] = logprob;
    out->rows[out->n++] = row;
}

lks_status lks_search_pack(lks_hypothesis **out, const lks_search *s, const lks_path *paths, int n, lks_error *err)
{
    size_t cells = 0;
    for (int i = 0; i < n; i++)
        cells += (size_t)(paths[i].n - s->n_prefix);
    lks_hypothesis *result = malloc((size_t)n * sizeof *result + cells * (2 * sizeof(int32_t) + sizeof(float)) + 1);
    if (!result)
        return lks_error_set(err, LKS_ERR_NOMEM, "out of memory");
    int32_t *tokens = (int32_t *)(result + n), *rows = tokens + cells;
    float *logprobs = (float *)(rows + cells);
    for (int i = 0; i < n; i++) {
        size_t count = (size_t)(paths[i].n - s->n_prefix);
        result[i] = (lks_hypothesis){
            .n_tokens = (int)count, .tokens = tokens, .logprobs = logprobs, .score = paths[i].score, .rows = rows};
        memcpy(tokens, paths[i].tokens + s->n_prefix, count * sizeof *tokens);
        memcpy(logprobs, paths[i].logprobs + s->n_prefix, count * sizeof *logprobs);
        memcpy(rows, paths[i].rows + s->n_prefix, count * sizeof *rows);
        tokens += count;
        rows += count;
        logprobs += count;
    }
    *out = result;
    return LKS_OK;
}

void lks_hypotheses_free(lks_hypothesis *hypotheses)
{
    free(hypotheses);
}

static lks_status check_options(const lks_step_model *model, const lks_search_options *o, lks_error *err)
{
    if (o->n_beams < 1 || o->n_best < 1 || o->max_tokens < 1 || (!o->sample && o->n_best > lks_search_rows(o)))
        return lks_error_set(err, LKS_ERR_ARGUMENT, "beams, n-best and max-tokens must be positive, n-best <= beams");
    if (o->n_required > LKS_MAX_REQUIRED || (o->n_required > 0 && o->sample))
        return lks_error_set(err, LKS_ERR_ARGUMENT, "at most %d required words, and not together with sampling",
                             LKS_MAX_REQUIRED);
    bool valid = o->start_token >= 0 && o->start_token < model->vocab_size;
    for (int i = 0; i < o->n_prompt; i++)
        valid &= o->prompt[i] >= 0 && o->prompt[i] < model->vocab_size;
    for (int i = 0; i < o->n_required; i++)
        for (int j = 0; j < o->required_lengths[i]; j++)
            valid &= o->required[i][j] >= 0 && o->required[i][j] < model->vocab_size;
    if (!valid)
        return lks_error_set(err, LKS_ERR_ARGUMENT, "a start, prompt or required token is outside the vocabulary of %d",
                             model->vocab_size);
    return LKS_OK;
}

lks_status lks_search_run(lks_hypothesis **hypotheses, int *n_hypotheses, const lks_step_model *model,
                          const lks_search_options *options, lks_error *err)
{
    lks_status st = check_options(model, options, err);
    if (st != LKS_OK)
        return st;
    lks_search search;
    st = lks_search_init(&search, model, options, lks_search_rows(options), err);
    if (st == LKS_OK)
        st = lks_search_begin(&search);
    if (st == LKS_OK)
        st = options->sample || search.n_rows == 1 ? lks_search_sample(hypotheses, n_hypotheses, &search)
                                                   : lks_search_beam(hypotheses, n_hypotheses, &search);
    lks_search_release(&search);
    return st;
}
