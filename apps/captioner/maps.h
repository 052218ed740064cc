/* Where the model looked: the cross-attention of a caption's tokens and words over the image's patches. Private to the captioner. */
#ifndef LKS_MAPS_H
#define LKS_MAPS_H

#include "apps/captioner/model.h"

/* layers [n_tokens, n_layers, n_patches]: the weights that each token of the hypothesis was scored with, averaged over heads;
 * prefix tokens (class, registers) left out. The token at position p was scored by the step that fed the token before it. */
void lks_maps_layers(float *layers, const lks_model *model, const lks_decoder_state *state, const lks_hypothesis *h,
                     int n_prompt);

/* tokens [n_tokens, n_patches]: mean over layers, scaled to sum 1. */
void lks_maps_tokens(float *tokens, const float *layers, int n_tokens, int n_layers, int n_patches);

/* map [n_patches] of a word: the mean of its tokens' maps, which are tokens [n_tokens, n_patches]. */
void lks_maps_word(float *map, const float *tokens, int n_tokens, int n_patches);

#endif
