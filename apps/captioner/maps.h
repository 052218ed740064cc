/* Where the model looked: the cross-attention of a caption's tokens and words over the image's patches. Private to the captioner. */
#ifndef LKS_MAPS_H
#define LKS_MAPS_H

#include "apps/captioner/model.h"

/* layers [n_tokens, n_layers, n_patches]: the weights that each token of the hypothesis was scored with, averaged over heads;
 * prefix tokens (class, registers) left out. The token at position p was scored by the step that fed the token before it. */
lks_status lks_maps_layers(float *layers, const lks_model *model, const lks_decoder_state *state,
                           const lks_hypothesis *h, int n_prompt, int n_patches, lks_error *err);

/* tokens [n_tokens, n_patches]: the patches' credit for each token (lks_decoder_credit), nothing where it is negative, scaled to
 * sum 1. A token that no patch spoke for has an even map. */
lks_status lks_maps_tokens(float *tokens, const lks_model *model, const lks_decoder_state *state,
                           const lks_hypothesis *h, int n_prompt, int n_patches, lks_error *err);

/* map [n_patches] of a word: the mean of its tokens' maps, which are tokens [n_tokens, n_patches]. */
void lks_maps_word(float *map, const float *tokens, int n_tokens, int n_patches);

#endif
