/* The decoder's bound weights: private to decoder_weights.c (loading) and decoder.c (running). */
#ifndef LKS_DECODER_WEIGHTS_H
#define LKS_DECODER_WEIGHTS_H

#include "text/decoder.h"

typedef struct lks_decoder_block {
    lks_norm norm_self, norm_cross, norm_mlp;
    lks_linear self_qkv, self_out, cross_q, cross_kv, cross_out, fc1, fc2;
} lks_decoder_block;

typedef struct lks_decoder_ends {
    lks_table tokens;        /* [vocab_size, d] */
    const float *positions;  /* [n_positions, d] or NULL when computed */
    const float *token_type; /* [n_types, d]: row 0 is added everywhere; or NULL */
    lks_norm embedding_norm, final_norm, head_norm;
    lks_linear head_dense, head;
    const float *head_bias; /* [vocab_size] or NULL */
    lks_linear memory_proj; /* enc_to_dec_proj, or unset */
} lks_decoder_ends;

struct lks_decoder {
    lks_decoder_config config;
    int encoder_width;
    lks_decoder_ends ends;
    lks_decoder_block *blocks;
    float *positions; /* [n_positions, d] that this decoder computed, in `memory`, or NULL: ends.positions */
    lks_arena memory;
};

/* The activation of the head's dense layer, where there is one. */
lks_activation lks_decoder_head_activation(const lks_decoder_config *config);

#endif
