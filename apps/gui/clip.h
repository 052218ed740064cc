/* Clips and cameras: which names are theirs, and one picture out of a clip. */
#ifndef LOOKSAY_GUI_CLIP_H
#define LOOKSAY_GUI_CLIP_H

#include <glib.h>
#include <stdbool.h>

#include "apps/captioner/looksay.h"
#include "apps/video/decode.h"

enum { CLIP_SIDE = 1024 }; /* pictures are no larger */

/* A clip, by its name, or a camera. */
bool clip_is_known(const char *path);

/* /dev/videoN or an address, as rtsp://...: it has no file, and no beginning that could be seen again. */
bool clip_is_camera(const char *path);

/* The frame that `held` is, as rgb [height, width, 3]; NULL with `err` filled. Lets it go. */
GBytes *clip_picture(const video_api *api, video *from, video_held *held, int *width, int *height, lks_error *err);

/* The first frame of a clip; NULL with `err` filled. For threads. */
GBytes *clip_first_picture(const char *path, int *width, int *height, const video_options *options, lks_error *err);

#endif
