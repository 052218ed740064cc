/* Finds the module that reads clips. */
#ifndef LOOKSAY_VIDEO_LOAD_H
#define LOOKSAY_VIDEO_LOAD_H

#include "apps/video/decode.h"

/* Loads looksay-video.so from ../lib/looksay (as installed) or beside the program; NULL with *err filled when it is not there or
 * does not fit this program. It stays loaded. */
const video_api *video_load(lks_error *err);

#endif
