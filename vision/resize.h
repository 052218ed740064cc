/* Resizing to a window of the result, which is what resize + crop needs. Private to vision. */
#ifndef LKS_RESIZE_H
#define LKS_RESIZE_H

#include "vision/image.h"

/* The part of a width x height result that begins at (x, y). */
typedef struct lks_window {
    int x, y, width, height;
} lks_window;

/* lks_image_resize, but only `window` is computed and returned; its pixels equal those of the whole result. */
lks_status lks_image_resize_window(lks_image *out, const lks_image *image, int width, int height,
                                   const lks_window *window, lks_filter filter, const lks_compute *compute,
                                   lks_error *err);

#endif
