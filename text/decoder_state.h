/* What a decoder holds while a caption is made: private to decoder_state.c (its rows), decoder.c (running) and decoder_credit.c
 * (explaining). */
#ifndef LKS_DECODER_STATE_H
#define LKS_DECODER_STATE_H

#include "text/decoder_weights.h"

enum { LKS_NORM_SELF, LKS_NORM_CROSS, LKS_NORM_MLP, LKS_NORM_COUNT };

/* What every step leaves behind when maps are kept. A row is the row at that step: reordering moves nothing, so that a path which
 * ended early finds its own by the rows it went through. */
typedef struct lks_decoder_kept {
    float *weights; /* [max_positions, n_layers, max_rows, n_heads, n_memory] cross-attention; NULL: nothing is kept */
    float *
        scales; /* [max_positions, max_rows, n_layers, LKS_NORM_COUNT] 1 / deviation of what post-norm layers normalised */
    float *last; /* [max_positions, max_rows, d] what the head's dense layer was given */
} lks_decoder_kept;

/* What explaining reads, where the host can: on a CPU the state's own, on a device a copy made by lks_decoder_fetch. */
typedef struct lks_decoder_seen {
    lks_decoder_kept kept;
    float *cross_kv;
    uint16_t *cross_bf16;
    lks_arena memory; /* of the copy */
} lks_decoder_seen;

/* Of every token of a step: which it is, where it stands; of every row: its place and its image. */
typedef enum lks_step_id {
    LKS_STEP_TOKENS,
    LKS_STEP_POSITIONS,
    LKS_STEP_PLACES,
    LKS_STEP_IMAGES,
    LKS_STEP_IDS
} lks_step_id;

struct lks_decoder_state {
    const lks_decoder *decoder;
    lks_compute compute;
    lks_arena memory;                        /* in the memory of the table: the caches, what is kept, and ids */
    int max_rows, max_positions, max_memory; /* max_memory: tokens of all images together */
    int n_images, n_memory;                  /* images, tokens of each */
    int n_rows, position;                    /* rows in use; tokens each of them has */
    float *self_kv;                          /* [n_layers, max_rows, max_positions, 2 d]: key, then value */
    float *cross_kv;                         /* [n_layers, n_images, n_memory, 2 d], room for max_memory; NULL: */
    uint16_t *cross_bf16;                    /* the same in bf16 */
    lks_decoder_kept kept;
    lks_decoder_seen seen;
    int32_t *ids;    /* [LKS_STEP_IDS, max_rows * max_positions] what ops of a step read */
    int32_t *places; /* [max_rows] where in self_kv each row is */
    int32_t *images; /* [max_rows] the image that each row reads */
    int32_t *spare;  /* [3, max_rows] for lks_decoder_reorder */
};

/* Numbers of the keys and values of one place. */
static inline size_t lks_self_row_floats(const lks_decoder_state *s)
{
    return (size_t)s->max_positions * 2 * (size_t)s->decoder->config.width;
}

/* The keys and values at one of the places that rows have: [max_positions, 2 d]. */
static inline float *lks_self_place(const lks_decoder_state *s, int layer, int place)
{
    return s->self_kv + ((size_t)layer * (size_t)s->max_rows + (size_t)place) * lks_self_row_floats(s);
}

/* Numbers of keys and values of one layer and image. */
static inline size_t lks_cross_count(const lks_decoder_state *s)
{
    return (size_t)s->n_memory * 2 * (size_t)s->decoder->config.width;
}

/* Where the keys and values of an image begin, in numbers: [n_memory, 2 d]. */
static inline size_t lks_cross_at(const lks_decoder_state *s, int layer, int image)
{
    return ((size_t)layer * (size_t)s->n_images + (size_t)image) * lks_cross_count(s);
}

/* The weights [n_heads, n_memory] that `row` gave at `position`. */
static inline float *lks_kept_weights(const lks_decoder_state *s, const lks_decoder_kept *kept, int position, int layer,
                                      int row)
{
    const lks_decoder_config *c = &s->decoder->config;
    size_t at = ((size_t)position * (size_t)c->n_layers + (size_t)layer) * (size_t)s->max_rows + (size_t)row;
    return kept->weights + at * (size_t)c->n_heads * (size_t)s->n_memory;
}

/* value [d] = the value of token j of image 0 in that layer. */
static inline void lks_cross_value(float *value, const lks_decoder_state *s, int layer, int j)
{
    size_t d = (size_t)s->decoder->config.width;
    size_t at = lks_cross_at(s, layer, 0) + (size_t)j * 2 * d + d;
    for (size_t i = 0; i < d; i++)
        value[i] = s->seen.cross_kv ? s->seen.cross_kv[at + i] : lks_bf16_to_float(s->seen.cross_bf16[at + i]);
}

static inline float *lks_kept_scales(const lks_decoder_state *s, const lks_decoder_kept *kept, int position, int row,
                                     int layer)
{
    size_t at = ((size_t)position * (size_t)s->max_rows + (size_t)row) * (size_t)s->decoder->config.n_layers;
    return kept->scales + (at + (size_t)layer) * LKS_NORM_COUNT;
}

static inline float *lks_kept_last(const lks_decoder_state *s, const lks_decoder_kept *kept, int position, int row)
{
    return kept->last + ((size_t)position * (size_t)s->max_rows + (size_t)row) * (size_t)s->decoder->config.width;
}

#endif
