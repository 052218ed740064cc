/* Search: which words to say, given a model that scores the next token. Semantics of transformers' `generate`:
 * greedy, beam search, multinomial sampling, and the logits processors in transformers' order. */
#ifndef LKS_SEARCH_H
#define LKS_SEARCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "fusion/ops.h"
#include "fusion/status.h"

/* What the search asks of a decoder. Rows are beams (or samples) of one image, or of several. */
typedef struct lks_step_model {
    void *context;
    int vocab_size;
    int max_positions; /* start token, prompt and generated tokens together */
    /* Feeds tokens [n_rows, n_tokens] at the next positions; logits [n_rows, vocab_size] of the last one. The first call
     * has one row for each image (start token and prompt); the search calls reorder before rows become more, fewer or others. */
    lks_status (*step)(void *context, float *logits, const int32_t *tokens, int n_rows, int n_tokens, lks_error *err);
    /* As step, but only the top->k likeliest tokens of every row, k <= max_top. Or NULL: the search then asks for all logits,
     * which it also does where its options change what is likely. */
    lks_status (*step_top)(void *context, const lks_top *top, const int32_t *tokens, int n_rows, int n_tokens,
                           lks_error *err);
    int max_top;
    /* Row i continues what row parents[i] had. n_rows may differ from the previous step's. */
    void (*reorder)(void *context, const int32_t *parents, int n_rows);
} lks_step_model;

typedef struct lks_search_options {
    int n_beams;              /* 1: greedy or sampling */
    int n_best;               /* hypotheses returned, <= n_beams (or the number of samples) */
    int max_tokens;           /* generated tokens at most, end token included */
    int min_tokens;           /* no end token among the first min_tokens generated tokens */
    int max_length;           /* start token, prompt and generated tokens at most; 0: off */
    int min_length;           /* no end token while start token, prompt and generated tokens are fewer; 0: off */
    float length_penalty;     /* score = sum of log-probabilities / length^penalty; transformers' default 1 */
    int early_stopping;       /* 0: heuristic bound (false), 1: as soon as n_beams are finished (true), 2: "never" */
    int no_repeat_ngram;      /* 0: off */
    float repetition_penalty; /* 1: off */
    bool sample;
    float temperature; /* 1: off */
    int top_k;         /* 0: off */
    float top_p;       /* 1: off */
    uint64_t seed;
    int32_t start_token;
    const int32_t *prompt; /* follows the start token; counts as history for the penalties */
    int n_prompt;
    const int32_t *end_tokens;
    int n_end_tokens;
    int32_t forced_first_token; /* forced_bos_token_id, -1: none */
    int32_t forced_last_token;  /* forced_eos_token_id at max length, -1: none */
    const int32_t *suppressed;  /* never said */
    int n_suppressed;
    const int32_t *begin_suppressed; /* not said first; where the first token is forced, not second */
    int n_begin_suppressed;
    /* Word constraints: each is a token sequence; lengths [n]. A banned sequence never appears (its last token is
     * forbidden after the others); required sequences must all appear (beam search with one bank per number of fulfilled
     * constraints, Post & Vilar 2018). */
    const int32_t *const *banned;
    const int *banned_lengths;
    int n_banned;
    const int32_t *const *required;
    const int *required_lengths;
    int n_required;
    bool (*stop)(void *context); /* asked once a step; true ends with LKS_ERR_INTERRUPTED. May be NULL */
    void *stop_context;
} lks_search_options;

/* transformers' defaults: greedy, 20 new tokens, no penalties, no special tokens (-1); but samples are drawn of all tokens, not of the 50
 * likeliest. */
void lks_search_defaults(lks_search_options *options);

bool lks_search_is_end(const lks_search_options *options, int32_t token);

/* Decoder rows that a search with these options steps at most for one image: the batch size a decoder must make room for. */
int lks_search_rows(const lks_search_options *options);

typedef struct lks_hypothesis {
    int n_tokens;
    int32_t *tokens; /* generated ids after start token and prompt; the end token included when produced */
    float *logprobs; /* [n_tokens] log-softmax of the raw logits at each token */
    float score;     /* beam: length-penalised sum of processed log-probabilities; else the mean log-probability */
    int32_t *rows;   /* [n_tokens] the decoder row that produced each token: finds its attention maps */
} lks_hypothesis;

/* Searches for n_images texts side by side: the rows of all take every step together, and leave as they end. What one image gets
 * does not depend on the others. Results of image i, best first: hypotheses[i] [n_hypotheses[i]], one malloc'ed block freed by
 * lks_hypotheses_free. When one search fails, all do. */
lks_status lks_search_run(lks_hypothesis **hypotheses, int *n_hypotheses, const lks_step_model *model,
                          const lks_search_options *options, int n_images, lks_error *err);

/* scores [n] = the log-probabilities, raw logits' at all tokens together, that `model` gives to hypotheses of one image. It need not be what
 * they were found by: it may attend to something else. Of the options the start token, the prompt and `stop` count. Hypotheses have
 * tokens, n > 0, and the model takes n rows. */
lks_status lks_search_score(double *scores, const lks_step_model *model, const lks_search_options *options,
                            const lks_hypothesis *hypotheses, int n, lks_error *err);

void lks_hypotheses_free(lks_hypothesis *hypotheses);

#endif
