/* From a picture to what the decoder attends to. Private to the captioner. */
#ifndef LKS_LOOK_H
#define LKS_LOOK_H

#include "apps/captioner/model.h"
#include "vision/image.h"

/* What encoding takes, with room for some pictures of some shape: threads that look at pictures of their own have one each. */
typedef struct lks_looker {
    lks_compute compute;
    float *image;  /* [height, width, 3] of each, where `compute` works */
    float *tokens; /* [n_tokens, d] of each: where their tokens go, also there */
} lks_looker;

/* What was seen in a picture. */
typedef struct lks_seen {
    lks_vit_shape shape;   /* what the encoder makes of it */
    lks_features features; /* tokens: the looker's, or those that were given */
    lks_image image;       /* released by the caller; empty where given features made reading it needless */
    double read_ms, encode_ms;
} lks_seen;

/* Reads a picture, unless what was kept of it will do: all but the tokens of *out. Of the options count those about reading, and
 * keep_picture. */
lks_status lks_look_read(lks_seen *out, const lks_model *model, const lks_image_source *picture,
                         const lks_caption_options *options, lks_error *err);

/* Encodes a picture that was read, or recalls what was kept of it; `with` has room for its shape. */
lks_status lks_look_encode(lks_seen *seen, const lks_model *model, const lks_looker *with,
                           const lks_image_source *picture, lks_error *err);

/* Numbers in the tokens of a picture of that shape, and in its pixels. */
size_t lks_look_tokens(const lks_model *model, const lks_vit_shape *shape);
size_t lks_look_pixels(const lks_vit_shape *shape);

double lks_now_ms(void);

#endif
