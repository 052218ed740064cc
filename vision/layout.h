/* How an image becomes a tensor, on the host as on a device. Private to vision. */
#ifndef LKS_VISION_LAYOUT_H
#define LKS_VISION_LAYOUT_H

#include "vision/preprocess.h"
#include "vision/resize.h"

/* Where the pixels of a crop meet an axis of the image: `skip` pixels of the image are cut off, `pad` pixels of the crop stay empty
 * before it, `shared` are copied. */
typedef struct lks_overlap {
    int skip, pad, shared;
} lks_overlap;

typedef struct lks_layout {
    int resized_width, resized_height, width, height; /* of the resized image, of the tensor */
    lks_overlap across, down;
    lks_window window; /* of the resized image: what the tensor shows */
} lks_layout;

lks_status lks_layout_find(lks_layout *layout, const lks_preprocess *preprocess, const lks_image *image,
                           lks_error *err);

/* The value of the tensor for each byte of a channel. */
void lks_value_table(float table[3][256], const lks_preprocess *preprocess);

#endif
