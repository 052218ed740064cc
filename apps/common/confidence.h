/* How sure a model was of a caption. */
#ifndef LOOKSAY_COMMON_CONFIDENCE_H
#define LOOKSAY_COMMON_CONFIDENCE_H

#include <stdbool.h>

#include "apps/captioner/looksay.h"

/* The mean probability of the caption's tokens; 0 where there are none. No probability that the caption is good: that is
 * s->confidence. */
double caption_confidence(const lks_sequence *s);

/* What is wrong with a picture that is no photo, as in "blank picture"; NULL for a photo. */
const char *picture_kind_text(lks_picture_kind kind);

/* One word: "photo", "blank", "noise", "drawing". */
const char *picture_kind_name(lks_picture_kind kind);

enum { DOUBT_BYTES = 96 };

/* Why the caption should not be given, in `reason`; false: it may. min_confidence: NAN for any; any_picture: what is no photo may
 * have a caption too. */
bool caption_doubt(char reason[DOUBT_BYTES], const lks_caption *caption, double min_confidence, bool any_picture);

#endif
