/* A copy of a clip with other pictures and the same sound.
 *
 * Pictures are encoded anew (H.264 in .mp4, .m4v, .mov and .mkv, VP9 in .webm, 8 bits, 4:2:0) at the times that they had; packets of
 * sound are copied as they are. Private to the module; its users find these functions in video_api. */
#ifndef LOOKSAY_VIDEO_COPY_H
#define LOOKSAY_VIDEO_COPY_H

#include "apps/video/decode.h"

/* A copy of the clip called `name`, a file. kind: the end of a file's name, as in "mp4". `to` is written from its present place on,
 * and seeks; it is borrowed. Fails where the copy could not hold the sound. Nothing is written yet. */
lks_status video_copy_open(video_copy **out, FILE *to, const char *kind, const char *name, const video_options *options,
                           lks_error *err);

/* The next picture, which has the frame's place in time; rgb [height, width, 3]. All get the size of the first one. */
lks_status video_copy_add(video_copy *c, const uint8_t *rgb, int width, int height, const video_frame *frame,
                          lks_error *err);

/* Writes what is left; the copy is complete then, but not flushed. */
lks_status video_copy_end(video_copy *c, lks_error *err);

void video_copy_close(video_copy *c); /* NULL is safe */

#endif
