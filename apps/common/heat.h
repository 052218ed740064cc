/* Maps and pictures at the size they are shown. The caption has its picture (keep_picture). */
#ifndef LOOKSAY_COMMON_HEAT_H
#define LOOKSAY_COMMON_HEAT_H

#include "apps/captioner/looksay.h"

/* heat [height, width] in 0..1: a word's map [grid_rows, grid_columns] laid over the caption's picture, which is shown with
 * width x height pixels. Quadratic B-splines smooth the patches; the strongest point is 1, what the model did not see 0. */
void heat_fill(float *heat, int width, int height, const lks_caption *caption, const float *map);

/* Where heat is 0, a dark grey picture; where it is 1, the picture with a warm glow. */
void heat_glow(uint8_t out[3], const uint8_t rgb[3], float heat);

/* The largest size of the picture's shape that fits into max_width x max_height, never more than the picture's own. */
void picture_fit(int *width, int *height, const lks_caption *caption, int max_width, int max_height);

/* rgb [height, width, 3]: the picture at a size of picture_fit, each pixel the mean of those it covers. */
void picture_scale(uint8_t *rgb, int width, int height, const lks_caption *caption);

#endif
