/* Search: options, work space, the steps that the searches of several images take together, and the results; the strategies stand
 * in search_sample.c and search_beam.c. */
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

static size_t carve_search(lks_search *s, unsigned char *base)
{
    size_t at = 0, rows = (size_t)s->n_rows, capacity = (size_t)s->limit;
    s->parents = carve(base, &at, rows, sizeof *s->parents);
    s->tokens = carve(base, &at, rows, sizeof *s->tokens);
    carve_paths(&s->running, base, &at, rows, capacity);
    carve_paths(&s->next, base, &at, rows, capacity);
    carve_paths(&s->finished, base, &at, rows, capacity);
    return at;
}

/* The searches of a run, and what its steps take and give: rows of all searches, one search after the other. */
typedef struct team {
    const lks_step_model *model;
    const lks_search_options *options;
    int n_images, max_rows;
    int n_prefix, limit; /* see lks_search */
    lks_search *searches;
    float *logits, *scores, *log_sum_exp;
    lks_top top;
    int32_t *parents, *tokens; /* [max_rows], [max(max_rows, n_images * n_prefix)] */
    unsigned char *seen;
    void *block;
} team;

static size_t carve_team(team *t, unsigned char *base)
{
    size_t at = 0, rows = (size_t)t->max_rows, vocab = (size_t)t->model->vocab_size;
    size_t all = t->top.k > 0 ? 0 : vocab, top = (size_t)t->top.k, first = (size_t)t->n_images * (size_t)t->n_prefix;
    t->searches = carve(base, &at, (size_t)t->n_images, sizeof *t->searches);
    t->logits = carve(base, &at, rows * all, sizeof *t->logits);
    t->scores = carve(base, &at, rows / (size_t)t->n_images * all, sizeof *t->scores);
    t->top.values = carve(base, &at, rows * top, sizeof *t->top.values);
    t->top.indices = carve(base, &at, rows * top, sizeof *t->top.indices);
    t->log_sum_exp = carve(base, &at, rows, sizeof *t->log_sum_exp);
    t->parents = carve(base, &at, rows, sizeof *t->parents);
    t->tokens = carve(base, &at, rows > first ? rows : first, sizeof *t->tokens);
    t->seen = carve(base, &at, all, 1);
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

static void team_close(team *t)
{
    for (int i = 0; t->block && i < t->n_images; i++) {
        lks_search *s = &t->searches[i];
        if (s->strategy)
            s->strategy->close(s);
        free(s->block);
    }
    free(t->block);
}

static lks_status search_open(lks_search *s, const team *t, lks_error *err)
{
    const lks_search_options *o = t->options;
    int n_rows = lks_search_rows(o);
    *s = (lks_search){.model = t->model,
                      .options = o,
                      .strategy = o->sample || n_rows == 1 ? &lks_strategy_sample : &lks_strategy_beam,
                      .err = err,
                      .n_rows = n_rows,
                      .n_running = 1,
                      .n_prefix = t->n_prefix,
                      .limit = t->limit,
                      .top.k = t->top.k,
                      .scores = t->scores,
                      .seen = t->seen};
    s->block = calloc(carve_search(s, NULL), 1);
    if (!s->block)
        return lks_error_set(err, LKS_ERR_NOMEM, "out of memory for a search of %d rows", n_rows);
    carve_search(s, s->block);
    lks_path *first = &s->running[0];
    first->tokens[0] = o->start_token;
    if (o->n_prompt > 0)
        memcpy(first->tokens + 1, o->prompt, (size_t)o->n_prompt * sizeof *first->tokens);
    first->n = s->n_prefix;
    return s->strategy->open(s);
}

/* Takes all the memory that the run needs; what is there when that fails is released by team_close. */
static lks_status team_open(team *t, lks_error *err)
{
    const lks_search_options *o = t->options;
    t->n_prefix = o->n_prompt + 1;
    int positions = t->model->max_positions, n_rows = lks_search_rows(o);
    if (o->max_length > 0 && o->max_length < positions)
        positions = o->max_length;
    int room = positions - t->n_prefix;
    if (room < 1)
        return lks_error_set(err, LKS_ERR_ARGUMENT,
                             "the prompt of %d tokens leaves no room: the model's captions have at most %d with it",
                             o->n_prompt, positions - 1);
    t->limit = t->n_prefix + (o->max_tokens < room ? o->max_tokens : room);
    t->max_rows = t->n_images * n_rows;
    t->top.k = plan_top(t->model, o, n_rows);
    t->block = calloc(carve_team(t, NULL), 1);
    if (!t->block)
        return lks_error_set(err, LKS_ERR_NOMEM, "out of memory for a search of %d rows", t->max_rows);
    carve_team(t, t->block);
    t->top.log_sum_exp = t->log_sum_exp;
    lks_status st = LKS_OK;
    for (int i = 0; i < t->n_images && st == LKS_OK; i++)
        st = search_open(&t->searches[i], t, err);
    return st;
}

static lks_status check_finite(float log_sum_exp, lks_error *err)
{
    return isfinite(log_sum_exp)
               ? LKS_OK
               : lks_error_set(err, LKS_ERR_MODEL,
                               "the decoder's scores are not finite; the model file is damaged or not "
                               "a captioner");
}

lks_status lks_search_log_sum_exp(float *out, const float *logits, int n, lks_error *err)
{
    float max = logits[0];
    for (int i = 1; i < n; i++)
        max = logits[i] > max ? logits[i] : max;
    double sum = 0.0;
    for (int i = 0; i < n; i++)
        sum += (double)expf(logits[i] - max);
    *out = max + (float)log(sum);
    return check_finite(*out, err);
}

/* The rows' log-sum-exp, if it is not there already. */
static lks_status normalise(team *t, int n_rows, lks_error *err)
{
    int vocab = t->model->vocab_size;
    lks_status st = LKS_OK;
    for (int row = 0; row < n_rows && st == LKS_OK; row++)
        st = t->top.k > 0
                 ? check_finite(t->log_sum_exp[row], err)
                 : lks_search_log_sum_exp(&t->log_sum_exp[row], t->logits + (size_t)row * (size_t)vocab, vocab, err);
    return st;
}

/* Feeds t->tokens [n_rows, n_tokens], and shows each search its rows of the outcome. */
static lks_status step(team *t, int n_rows, int n_tokens, lks_error *err)
{
    const lks_step_model *m = t->model;
    const lks_search_options *o = t->options;
    if (o->stop && o->stop(o->stop_context))
        return lks_error_set(err, LKS_ERR_INTERRUPTED, "interrupted");
    lks_status st = t->top.k > 0 ? m->step_top(m->context, &t->top, t->tokens, n_rows, n_tokens, err)
                                 : m->step(m->context, t->logits, t->tokens, n_rows, n_tokens, err);
    if (st == LKS_OK)
        st = normalise(t, n_rows, err);
    int row = 0;
    for (int i = 0; i < t->n_images && st == LKS_OK; i++) {
        lks_search *s = &t->searches[i];
        size_t first = (size_t)row, top = first * (size_t)t->top.k;
        s->first_row = row;
        s->logits = t->top.k > 0 ? NULL : t->logits + first * (size_t)m->vocab_size;
        s->log_sum_exp = t->log_sum_exp + first;
        s->top.values = t->top.values + top;
        s->top.indices = t->top.indices + top;
        row += s->n_running;
    }
    return st;
}

static lks_status first_step(team *t, lks_error *err)
{
    for (int i = 0; i < t->n_images; i++)
        memcpy(t->tokens + (size_t)i * (size_t)t->n_prefix, t->searches[i].running[0].tokens,
               (size_t)t->n_prefix * sizeof *t->tokens);
    return step(t, t->n_images, t->n_prefix, err);
}

/* Every search that runs chooses its next tokens; *n_rows are left to feed. */
static lks_status advance(team *t, int *n_rows)
{
    int n_before = *n_rows, n = 0;
    bool moved = false;
    for (int i = 0; i < t->n_images; i++) {
        lks_search *s = &t->searches[i];
        lks_status st = s->n_running > 0 ? s->strategy->advance(s) : LKS_OK;
        if (st != LKS_OK)
            return st;
        for (int j = 0; j < s->n_running; j++, n++) {
            t->tokens[n] = s->tokens[j];
            t->parents[n] = s->first_row + s->parents[j];
            moved |= t->parents[n] != n;
        }
    }
    if (n > 0 && (moved || n != n_before))
        t->model->reorder(t->model->context, t->parents, n);
    *n_rows = n;
    return LKS_OK;
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
    if (o->n_beams < 1 || o->n_best < 1 || o->max_tokens < 1 || (!o->sample && o->n_best > o->n_beams))
        return lks_error_set(err, LKS_ERR_ARGUMENT, "beams, n-best and max-tokens must be positive, n-best <= beams");
    if (o->n_required > LKS_MAX_REQUIRED)
        return lks_error_set(err, LKS_ERR_ARGUMENT, "at most %d words and phrases can be required, not %d",
                             LKS_MAX_REQUIRED, o->n_required);
    if (o->n_required > 0 && o->sample)
        return lks_error_set(err, LKS_ERR_ARGUMENT,
                             "words can be required of a search only, not where tokens are drawn at random");
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

static lks_status finish(lks_hypothesis **hypotheses, int *n_hypotheses, const team *t)
{
    lks_status st = LKS_OK;
    int n_done = 0;
    while (n_done < t->n_images && st == LKS_OK) {
        lks_search *s = &t->searches[n_done];
        st = s->strategy->finish(&hypotheses[n_done], &n_hypotheses[n_done], s);
        n_done += st == LKS_OK;
    }
    while (st != LKS_OK && n_done > 0) {
        lks_hypotheses_free(hypotheses[--n_done]);
        hypotheses[n_done] = NULL;
    }
    return st;
}

lks_status lks_search_run(lks_hypothesis **hypotheses, int *n_hypotheses, const lks_step_model *model,
                          const lks_search_options *options, int n_images, lks_error *err)
{
    team t = {.model = model, .options = options, .n_images = n_images};
    lks_status st = check_options(model, options, err);
    if (st == LKS_OK)
        st = team_open(&t, err);
    if (st == LKS_OK)
        st = first_step(&t, err);
    int n_rows = n_images;
    while (st == LKS_OK && n_rows > 0) {
        st = advance(&t, &n_rows);
        if (st == LKS_OK && n_rows > 0)
            st = step(&t, n_rows, 1, err);
    }
    if (st == LKS_OK)
        st = finish(hypotheses, n_hypotheses, &t);
    team_close(&t);
    return st;
}
