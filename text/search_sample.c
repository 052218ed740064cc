/* One token at a time: the best (greedy), or one drawn at random after temperature, top-k and top-p (Holtzman et al. 2020).
 * Several samples run as rows of one batch and leave it as they end. */
#include <assert.h>
#include <math.h>
#include <stdlib.h>

#include "text/search_private.h"

/* splitmix64 (Steele et al. 2014): one stream per sample, equal on every machine. */
static uint64_t next_random(uint64_t *state)
{
    uint64_t z = *state += 0x9E3779B97F4A7C15u;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return z ^ z >> 31;
}

static int best_token(const float *scores, int n)
{
    int best = 0;
    for (int i = 1; i < n; i++)
        if (scores[i] > scores[best])
            best = i;
    return best;
}

typedef struct choice {
    float score;
    int token;
} choice;

/* Descending score, then ascending token. */
static int compare_choices(const void *a, const void *b)
{
    const choice *x = a, *y = b;
    if (x->score != y->score)
        return x->score < y->score ? 1 : -1;
    return x->token - y->token;
}

/* Draws from softmax(scores / temperature) cut to the top-k choices and then to the smallest set whose probability reaches
 * top-p. choices [n] is scratch. */
static int draw_token(const lks_search_options *o, const float *scores, int n, choice *choices, uint64_t *random)
{
    int count = 0;
    assert(choices);
    for (int i = 0; i < n; i++)
        if (scores[i] > -INFINITY)
            choices[count++] = (choice){scores[i] / o->temperature, i};
    if (count == 0)
        return 0;
    qsort(choices, (size_t)count, sizeof *choices, compare_choices);
    if (o->top_k > 0 && count > o->top_k)
        count = o->top_k;
    double total = 0.0, kept = 0.0;
    for (int i = 0; i < count; i++)
        total += exp((double)(choices[i].score - choices[0].score));
    int n_kept = 0;
    while (n_kept < count && (n_kept == 0 || kept < (double)o->top_p * total))
        kept += exp((double)(choices[n_kept++].score - choices[0].score));
    double at = (double)(next_random(random) >> 11) * 0x1p-53 * kept;
    int i = 0;
    for (; i < n_kept - 1; i++) {
        at -= exp((double)(choices[i].score - choices[0].score));
        if (at < 0.0)
            break;
    }
    return choices[i].token;
}

/* The token that follows path, and its raw log-probability; -1 when every token is forbidden. */
static int next_token(lks_search *s, float *logprob, int row, const lks_path *path, choice *choices, uint64_t *random)
{
    const lks_search_options *o = s->options;
    int vocab = s->model->vocab_size;
    for (int i = 0; i < s->top.k; i++) { /* k > 0: greedy */
        size_t at = (size_t)row * (size_t)s->top.k + (size_t)i;
        *logprob = s->top.values[at] - s->log_sum_exp[row];
        if (s->top.values[at] > -INFINITY && lks_search_allows(s, path, s->top.indices[at]))
            return s->top.indices[at];
    }
    if (s->top.k > 0)
        return -1;
    lks_search_process(s, row, path, false);
    const float *scores = s->scores + (size_t)row * (size_t)vocab;
    int token = o->sample ? draw_token(o, scores, vocab, choices, random) : best_token(scores, vocab);
    *logprob = s->logits[(size_t)row * (size_t)vocab + (size_t)token] - s->log_sum_exp[row];
    return scores[token] == -INFINITY ? -1 : token;
}

/* The mean log-probability of the generated tokens, the score of paths that were not compared with others. */
static float mean_logprob(const lks_search *s, const lks_path *path)
{
    double sum = 0.0;
    for (int i = s->n_prefix; i < path->n; i++)
        sum += (double)path->logprobs[i];
    return (float)(sum / (path->n - s->n_prefix));
}

static int compare_paths(const void *a, const void *b)
{
    const lks_path *x = a, *y = b;
    return (x->score < y->score) - (x->score > y->score);
}

typedef struct sampler {
    choice *choices;   /* [vocab] scratch; NULL when nothing is drawn */
    uint64_t *streams; /* [n_rows] of the running rows */
    bool begun;
    int n_done;
} sampler;

static void sample_close(lks_search *s)
{
    sampler *own = s->own;
    if (!own)
        return;
    free(own->choices);
    free(own->streams);
    free(own);
    s->own = NULL;
}

static lks_status sample_open(lks_search *s)
{
    const lks_search_options *o = s->options;
    sampler *own = s->own = calloc(1, sizeof *own);
    if (own)
        own->streams = malloc((size_t)s->n_rows * sizeof *own->streams);
    if (own && o->sample)
        own->choices = malloc((size_t)s->model->vocab_size * sizeof *own->choices);
    if (!own || !own->streams || (o->sample && !own->choices))
        return lks_error_set(s->err, LKS_ERR_NOMEM, "out of memory");
    for (int i = 0; i < s->n_rows; i++)
        own->streams[i] = o->seed + (uint64_t)i * 0xD1B54A32D192ED03u;
    return LKS_OK;
}

static lks_status sample_advance(lks_search *s)
{
    sampler *own = s->own;
    int n_active = own->begun ? s->n_running : s->n_rows, n_next = 0;
    for (int i = 0; i < n_active; i++) {
        int row = own->begun ? i : 0; /* all samples begin with the one row of the first step */
        const lks_path *path = &s->running[row];
        float logprob;
        int token = next_token(s, &logprob, row, path, own->choices, &own->streams[i]);
        if (token < 0)
            return lks_error_set(s->err, LKS_ERR_ARGUMENT, "every token is banned at position %d",
                                 path->n - s->n_prefix);
        bool ends = lks_search_is_end(s->options, token) || path->n + 1 == s->limit;
        lks_path *to = ends ? &s->finished[own->n_done++] : &s->next[n_next];
        lks_path_extend(to, path, token, logprob, s->first_row + row);
        if (!ends) {
            s->parents[n_next] = row;
            s->tokens[n_next] = token;
            own->streams[n_next++] = own->streams[i];
        }
    }
    lks_path *swap = s->running;
    s->running = s->next;
    s->next = swap;
    s->n_running = n_next;
    own->begun = true;
    return LKS_OK;
}

static lks_status sample_finish(lks_hypothesis **out, int *n_out, lks_search *s)
{
    int n = ((const sampler *)s->own)->n_done;
    for (int i = 0; i < n; i++)
        s->finished[i].score = mean_logprob(s, &s->finished[i]);
    qsort(s->finished, (size_t)n, sizeof *s->finished, compare_paths);
    *n_out = n < s->options->n_best ? n : s->options->n_best;
    return lks_search_pack(out, s, s->finished, *n_out, s->err);
}

const lks_strategy lks_strategy_sample = {sample_open, sample_advance, sample_finish, sample_close};
