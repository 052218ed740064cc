/* What the encoder made of a picture, kept for later. Private to the captioner. */
#ifndef LKS_FEATURES_H
#define LKS_FEATURES_H

#include "apps/captioner/model.h"

/* A copy on the host that owns its tokens, in one block freed with free. The tokens are in the memory of `compute`. */
lks_status lks_features_copy(const lks_features **out, const lks_features *features, const lks_compute *compute,
                             lks_error *err);

/* Whether this model can have made them of a picture of that shape: their number is right, every one is finite. */
lks_status lks_features_check(const lks_features *features, const lks_model *model, const lks_vit_shape *shape,
                              lks_error *err);

#endif
