/* Captions in the making: what single pictures and batches share. Private to the captioner. */
#ifndef LKS_CAPTION_H
#define LKS_CAPTION_H

#include "apps/captioner/phrases.h"
#include "apps/captioner/session.h"

/* Caption options, checked and in tokens. */
typedef struct lks_plan {
    lks_phrases prompt, banned, required;
    lks_search_options search; /* borrows from the others and from the options */
} lks_plan;

lks_status lks_plan_make(lks_plan *out, const lks_model *model, const lks_caption_options *options, lks_error *err);
void lks_plan_release(lks_plan *plan);

/* The caption of what was seen, without features and decode_ms. The picture's pixels move into it when they are to be kept. */
lks_status lks_caption_make(lks_caption **out, const lks_session *session, const lks_plan *plan,
                            const lks_hypothesis *hypotheses, int n, lks_seen *seen, const lks_caption_options *options,
                            lks_error *err);

/* Finds the words for the first n_memory tokens of the session's memory, as for one image. */
lks_status lks_caption_find(lks_session *session, lks_caption **out, int n_memory, const lks_plan *plan, lks_seen *seen,
                            const lks_caption_options *options, lks_error *err);

#endif
