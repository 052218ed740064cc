/* Logits processors, in transformers' order: repetition penalty (Keskar et al. 2019), no-repeat n-gram (Paulus et al. 2018),
 * banned phrases, minimum length, forced first and last token, suppressed tokens, anywhere and at the beginning. Also the bookkeeping of required phrases. */
#include <math.h>
#include <string.h>

#include "text/search_private.h"

static void penalise_repetition(const lks_search *s, float *scores, const lks_path *path)
{
    float penalty = s->options->repetition_penalty;
    for (int i = 0; i < path->n; i++) {
        int32_t token = path->tokens[i];
        if (s->seen[token])
            continue;
        s->seen[token] = 1;
        scores[token] = scores[token] < 0.0f ? scores[token] * penalty : scores[token] / penalty;
    }
    for (int i = 0; i < path->n; i++)
        s->seen[path->tokens[i]] = 0;
}

/* Forbids every token that would complete an n-gram the path already has. */
static void forbid_ngrams(float *scores, const lks_path *path, int n)
{
    const int32_t *tail = path->tokens + path->n - (n - 1);
    for (int i = 0; i + n <= path->n; i++)
        if (memcmp(path->tokens + i, tail, (size_t)(n - 1) * sizeof *tail) == 0)
            scores[path->tokens[i + n - 1]] = -INFINITY;
}

static void forbid_phrases(const lks_search_options *o, float *scores, const lks_path *path, int vocab)
{
    for (int i = 0; i < o->n_banned; i++) {
        int n = o->banned_lengths[i] - 1;
        int32_t last = o->banned[i][n];
        if (last < 0 || last >= vocab || n > path->n)
            continue;
        if (memcmp(path->tokens + path->n - n, o->banned[i], (size_t)n * sizeof *path->tokens) == 0)
            scores[last] = -INFINITY;
    }
}

static void force(float *scores, int vocab, int32_t token)
{
    for (int i = 0; i < vocab; i++)
        scores[i] = -INFINITY;
    scores[token] = 0.0f;
}

static bool too_short_to_end(const lks_search *s, const lks_path *path)
{
    return path->n - s->n_prefix < s->options->min_tokens || path->n < s->options->min_length;
}

static void suppress(float *scores, int vocab, const int32_t *tokens, int n)
{
    for (int i = 0; i < n; i++)
        if (tokens[i] >= 0 && tokens[i] < vocab)
            scores[tokens[i]] = -INFINITY;
}

void lks_search_process(lks_search *s, int row, const lks_path *path, bool normalised)
{
    const lks_search_options *o = s->options;
    int vocab = s->model->vocab_size;
    const float *logits = s->logits + (size_t)row * (size_t)vocab;
    float *scores = s->scores + (size_t)row * (size_t)vocab, shift = normalised ? s->log_sum_exp[row] : 0.0f;
    for (int i = 0; i < vocab; i++)
        scores[i] = logits[i] - shift;

    if (o->repetition_penalty != 1.0f)
        penalise_repetition(s, scores, path);
    if (o->no_repeat_ngram > 0 && path->n >= o->no_repeat_ngram)
        forbid_ngrams(scores, path, o->no_repeat_ngram);
    forbid_phrases(o, scores, path, vocab);
    if (too_short_to_end(s, path))
        suppress(scores, vocab, o->end_tokens, o->n_end_tokens);
    if (o->forced_first_token >= 0 && path->n == 1)
        force(scores, vocab, o->forced_first_token);
    if (o->forced_last_token >= 0 && path->n == s->limit - 1)
        force(scores, vocab, o->forced_last_token);
    suppress(scores, vocab, o->suppressed, o->n_suppressed);
    if (path->n == (s->n_prefix == 1 && o->forced_first_token >= 0 ? 2 : s->n_prefix))
        suppress(scores, vocab, o->begin_suppressed, o->n_begin_suppressed);
}

bool lks_search_allows(const lks_search *s, const lks_path *path, int32_t token)
{
    const lks_search_options *o = s->options;
    if (too_short_to_end(s, path) && lks_search_is_end(o, token))
        return false;
    for (int i = 0; i < o->n_suppressed; i++)
        if (o->suppressed[i] == token)
            return false;
    return true;
}

int lks_required_tokens(const lks_search_options *options)
{
    int total = 0;
    for (int i = 0; i < options->n_required; i++)
        total += options->required_lengths[i];
    return total;
}

lks_progress lks_progress_start(const lks_search_options *options)
{
    lks_progress progress = {0};
    for (int i = 0; i < options->n_prompt; i++)
        progress = lks_progress_next(options, progress, options->prompt[i]);
    return progress;
}

/* The longest beginning of a phrase, of fewer than n tokens, that its first n tokens end in. */
static int shorter_beginning(const int32_t *phrase, int n)
{
    int length = n - 1;
    while (length > 0 && memcmp(phrase, phrase + n - length, (size_t)length * sizeof *phrase) != 0)
        length--;
    return length;
}

lks_progress lks_progress_next(const lks_search_options *o, lks_progress p, int32_t token)
{
    for (int i = 0; i < o->n_required; i++) {
        const int32_t *phrase = o->required[i];
        if (p.met >> i & 1u)
            continue;
        int *at = &p.at[i];
        while (*at > 0 && phrase[*at] != token)
            *at = shorter_beginning(phrase, *at);
        *at += phrase[*at] == token;
        if (*at == o->required_lengths[i]) {
            p.met |= 1u << i;
            *at = 0;
        }
    }
    return p;
}

bool lks_progress_done(const lks_search_options *options, lks_progress progress)
{
    return progress.met == (1u << options->n_required) - 1u;
}

int lks_progress_count(const lks_search_options *options, lks_progress progress)
{
    int met = 0, open = 0;
    for (int i = 0; i < options->n_required; i++) {
        met += progress.met >> i & 1u ? options->required_lengths[i] : 0;
        open = progress.at[i] > open ? progress.at[i] : open;
    }
    return met + open;
}
