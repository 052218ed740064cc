/* A session from inside: what captions, translations and fillings share. Private to the captioner. */
#ifndef LKS_SESSION_H
#define LKS_SESSION_H

#include "apps/captioner/look.h"

struct lks_session {
    const lks_model *model;
    lks_threads *threads;
    lks_arena scratch;
    lks_compute compute;
    lks_queue *queue; /* of the model's device, or NULL */
    lks_arena room;   /* in the memory of the table: `memory` and, on a device, `pixels` */
    float *pixels;    /* [n_pixels] of pictures, [height, width, 3] each, where `compute` works */
    float *memory;    /* [n, d]: the tokens that are attended to, of pictures first, then of a source text */
    size_t n_pixels, memory_floats;
    lks_decoder_state *state;
    int state_rows, state_tokens, state_positions; /* tokens: of one step */
    int state_memory, state_total;                 /* tokens to attend to: of one image at most, of all images */
    bool state_maps, state_half;
    struct lks_desk *desks; /* [n_threads] of lks_caption_batch; NULL until it is called */
};

/* NULL is safe. */
void lks_desks_close(struct lks_desk *desks, int n);

/* The session as a looker at n pictures of that shape at once, whose tokens go behind the first n_before tokens of the memory. The
 * decoder state may be lost. */
lks_status lks_session_looker(lks_session *s, lks_looker *out, const lks_vit_shape *shape, int n, int n_before,
                              lks_error *err);

/* Makes room for a memory of n_floats; keeps its first n_before tokens. */
lks_status lks_session_reserve_memory(lks_session *s, int n_before, size_t n_floats, lks_error *err);

/* Encodes a picture that has been read into the memory behind its first n_before tokens. */
lks_status lks_session_encode(lks_session *s, lks_seen *seen, int n_before, const lks_image_source *picture,
                              lks_error *err);

/* Reads a picture and encodes it. seen->image is released by the caller. */
lks_status lks_session_look(lks_session *s, lks_seen *seen, int n_before, const lks_image_source *picture,
                            const lks_caption_options *options, lks_error *err);

/* Encodes source tokens [n] behind the first n_before tokens of the memory. */
lks_status lks_session_read(lks_session *s, int n_before, const int32_t *tokens, int n, lks_error *err);

/* Watches a search and says which tokens may come next. */
typedef struct lks_guide {
    void *context;
    /* logits [n_rows, vocab_size] after tokens [n_rows, n_tokens]: those that may not come become -INFINITY */
    void (*follow)(void *context, float *logits, const int32_t *tokens, int n_rows, int n_tokens);
    void (*reorder)(void *context, const int32_t *parents, int n_rows); /* see lks_step_model.reorder */
} lks_guide;

/* Makes room for a search, and for what it attends to: n_images images of n_memory tokens, which lks_decoder_look then fills in.
 * keep_maps: s->state keeps the attention of every step. */
lks_status lks_session_prepare(lks_session *s, int n_images, int n_memory, const lks_search_options *options,
                               bool keep_maps, lks_error *err);

/* Searches for what follows the start token and the options' prompt, given each of these images (NULL: image 0). hypotheses[i]
 * [n[i]] are freed with lks_hypotheses_free. guide: NULL, or consulted at every step; log-probabilities are then among what it
 * allows. */
lks_status lks_session_find(lks_session *s, lks_hypothesis **hypotheses, int *n, const int32_t *images, int n_images,
                            const lks_search_options *options, const lks_guide *guide, lks_error *err);

/* Both, for the first n_memory tokens of the memory. */
lks_status lks_session_search(lks_session *s, lks_hypothesis **hypotheses, int *n, int n_memory,
                              const lks_search_options *options, const lks_guide *guide, lks_error *err);

/* scores [n] = the log-probabilities of what a search with these options has found when the n_memory tokens of the memory behind the
 * first n_before are attended to instead. */
lks_status lks_session_score(lks_session *s, double *scores, int n_before, int n_memory,
                             const lks_hypothesis *hypotheses, int n, const lks_search_options *options,
                             const lks_guide *guide, lks_error *err);

#endif
