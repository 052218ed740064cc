/* Captions as callers see them: text, scores and maps in one allocation list. Private to the captioner. */
#ifndef LKS_RESULT_H
#define LKS_RESULT_H

#include "apps/captioner/model.h"

/* Builds a caption from `n` hypotheses. The prompt is part of each text. state: where attention maps over n_patches are kept, or
 * NULL. */
lks_status lks_result_make(lks_caption **out, const lks_model *model, const lks_decoder_state *state, int n_patches,
                           const lks_hypothesis *hypotheses, int n, const int32_t *prompt, int n_prompt,
                           lks_error *err);

#endif
