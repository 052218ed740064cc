/* Which pixels of an axis make one of the resized axis, and by which weights. Private to vision. */
#ifndef LKS_VISION_TAPS_H
#define LKS_VISION_TAPS_H

#include "vision/image.h"

/* Taps of the pixels begin .. begin + n - 1 of an axis that goes from `in` to `out` pixels. false: out of memory. */
bool lks_taps_init(lks_taps *taps, int in, int out, int begin, int n, lks_filter filter);
void lks_taps_release(lks_taps *taps);

/* The input pixels that they reach. */
void lks_taps_reach(const lks_taps *taps, int *first, int *n_reached);

#endif
