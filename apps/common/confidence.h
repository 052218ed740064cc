/* How sure a model was of a caption. */
#ifndef LOOKSAY_COMMON_CONFIDENCE_H
#define LOOKSAY_COMMON_CONFIDENCE_H

#include "apps/captioner/looksay.h"

/* The mean probability of the caption's tokens; 0 where there are none. */
double caption_confidence(const lks_sequence *s);

#endif
