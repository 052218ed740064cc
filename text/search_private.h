/* What the search's parts share: histories, processed scores, constraints. Private to text/search*.c. */
#ifndef LKS_SEARCH_PRIVATE_H
#define LKS_SEARCH_PRIVATE_H

#include "text/search.h"

/* One growing sequence: start token and prompt, then generated tokens. */
typedef struct lks_path {
    int n;           /* tokens so far, start token and prompt included */
    int32_t *tokens; /* [capacity] */
    float *logprobs; /* [capacity], zero before the first generated token */
    int32_t *rows;   /* [capacity] decoder row that scored each token */
    float score;     /* sum of processed log-probabilities */
} lks_path;

typedef struct lks_search lks_search;

/* How the next tokens are chosen: by likelihood or at random (search_sample.c), by beams (search_beam.c). */
typedef struct lks_strategy {
    lks_status (*open)(lks_search *search); /* sets search->own */
    /* From what the last step said of the running rows to the next ones: search->n_running, parents and tokens. No running rows: the
     * search is over. */
    lks_status (*advance)(lks_search *search);
    lks_status (*finish)(lks_hypothesis **out, int *n_out, lks_search *search);
    void (*close)(lks_search *search); /* own may be NULL */
} lks_strategy;

extern const lks_strategy lks_strategy_sample, lks_strategy_beam;

/* The search of one image: its paths in one block, and its rows of what all searches of a run share. */
struct lks_search {
    const lks_step_model *model;
    const lks_search_options *options;
    const lks_strategy *strategy;
    void *own; /* of the strategy */
    lks_error *err;
    int n_rows;                /* rows that may run at a time */
    int n_running;             /* rows of the last step, or of the next */
    int first_row;             /* of the last step among the rows of all searches */
    int n_prefix;              /* start token and prompt */
    int limit;                 /* n_prefix and the tokens that may be generated */
    const float *logits;       /* [n_running, vocab] raw, of the last step */
    const float *log_sum_exp;  /* [n_running] of the raw logits */
    lks_top top;               /* k > 0: the likeliest tokens, and no logits and scores */
    float *scores;             /* [n_rows, vocab] processed; shared: no search reads what another wrote */
    unsigned char *seen;       /* [vocab] marks for the repetition penalty; shared */
    lks_path *running;         /* [n_rows] */
    lks_path *next;            /* [n_rows] */
    lks_path *finished;        /* [n_rows] */
    int32_t *parents, *tokens; /* [n_rows] of the next step; parents count from first_row */
    void *block;
};

/* scores[row] = the row's raw logits (normalised: log-probabilities) after all processors, given the path's history. */
void lks_search_process(lks_search *search, int row, const lks_path *path, bool normalised);

/* Of logits [n], in two passes: maximum, then sum in double. A decoder that yields NaN is refused. */
lks_status lks_search_log_sum_exp(float *out, const float *logits, int n, lks_error *err);

/* Whether a token of s->top may follow: what lks_search_process forbids there. */
bool lks_search_allows(const lks_search *search, const lks_path *path, int32_t token);

void lks_path_extend(lks_path *out, const lks_path *path, int32_t token, float logprob, int row);

/* Packs the best `n` of paths (already sorted) into hypotheses. */
lks_status lks_search_pack(lks_hypothesis **out, const lks_search *search, const lks_path *paths, int n,
                           lks_error *err);

enum { LKS_MAX_REQUIRED = 16 };

/* How far a path is with the required phrases, wherever they stand in it: they may overlap. */
typedef struct lks_progress {
    uint32_t met;             /* one bit per fulfilled phrase */
    int at[LKS_MAX_REQUIRED]; /* tokens of each that the path ends in, fewer than all; 0 of fulfilled ones */
} lks_progress;

lks_progress lks_progress_start(const lks_search_options *options);
lks_progress lks_progress_next(const lks_search_options *options, lks_progress progress, int32_t token);
bool lks_progress_done(const lks_search_options *options, lks_progress progress);
int lks_progress_count(const lks_search_options *options,
                       lks_progress progress);              /* tokens fulfilled, of open phrases the longest */
int lks_required_tokens(const lks_search_options *options); /* tokens of all phrases */

#endif
