/* Resizing to a window of the result, which is what resize + crop needs. Private to vision. */
#ifndef LKS_RESIZE_H
#define LKS_RESIZE_H

#include "vision/image.h"

/* The part of a width x height result that begins at (x, y). */
typedef struct lks_window {
    int x, y, width, height;
} lks_window;

/* How the window of the result comes from an image: see lks_resample. Axes whose size does not change are left as they are by their
 * taps, too. */
typedef struct lks_resize_plan {
    lks_taps across, down;
    bool down_first;
} lks_resize_plan;

lks_status lks_resize_plan_init(lks_resize_plan *plan, const lks_image *image, int width, int height,
                                const lks_window *window, lks_filter filter, lks_error *err);
void lks_resize_plan_release(lks_resize_plan *plan);

/* lks_image_resize, but only `window` is computed and returned; its pixels equal those of the whole result. */
lks_status lks_image_resize_window(lks_image *out, const lks_image *image, int width, int height,
                                   const lks_window *window, lks_filter filter, const lks_compute *compute,
                                   lks_error *err);

#endif
