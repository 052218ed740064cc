/* A session from inside: what captions, translations and fillings share. Private to the captioner. */
#ifndef LKS_SESSION_H
#define LKS_SESSION_H

#include "apps/captioner/model.h"

struct lks_session {
    const lks_model *model;
    lks_threads *threads;
    lks_arena scratch;
    lks_compute compute;
    float *pixels; /* [height, width, 3] */
    float *memory; /* [n, d]: the tokens that are attended to, of pictures first, then of a source text */
    size_t memory_floats;
    lks_decoder_state *state;
    int state_rows, state_positions, state_memory;
    bool state_maps;
    bool state_half;
};

double lks_session_now_ms(void);

/* Encodes a picture into the first tokens of the memory. Adds to the times. */
lks_status lks_session_look(lks_session *s, double *read_ms, double *encode_ms, const lks_image_source *picture,
                            lks_error *err);

/* Encodes source tokens [n] behind the first n_before tokens of the memory. */
lks_status lks_session_read(lks_session *s, int n_before, const int32_t *tokens, int n, lks_error *err);

/* Watches a search and says which tokens may come next. */
typedef struct lks_guide {
    void *context;
    /* logits [n_rows, vocab_size] after tokens [n_rows, n_tokens]: those that may not come become -INFINITY */
    void (*follow)(void *context, float *logits, const int32_t *tokens, int n_rows, int n_tokens);
    void (*reorder)(void *context, const int32_t *parents, int n_rows); /* see lks_step_model.reorder */
} lks_guide;

/* Searches for what follows the start token and the options' prompt, attending to the first n_memory tokens. `hypotheses` is freed
 * with lks_hypotheses_free. guide: NULL, or consulted at every step; log-probabilities are then among what it allows. keep_maps:
 * s->state then holds the attention of every step. */
lks_status lks_session_search(lks_session *s, lks_hypothesis **hypotheses, int *n, int n_memory,
                              const lks_search_options *options, const lks_guide *guide, bool keep_maps,
                              lks_error *err);

#endif
