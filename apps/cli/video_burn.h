/* A copy of a clip with its captions written into the pictures. */
#ifndef LOOKSAY_CLI_VIDEO_BURN_H
#define LOOKSAY_CLI_VIDEO_BURN_H

#include "apps/cli/progress.h"
#include "apps/video/decode.h"
#include "apps/video/subtitles.h"

typedef struct burn burn;

/* Opens a copy of the clip, a file that is read twice: once for the captions, once for the copy. kind: the end of the copy's name, as
 * in "mp4"; it goes to `to`. All names are borrowed. */
lks_status burn_open(burn **out, const video_api *api, const char *clip, FILE *to, const char *kind,
                     const video_options *options, lks_error *err);

/* Remembers a cue; they come in order. Returns false after a message. */
bool burn_take(burn *b, const subtitles_cue *row);

/* Writes the copy, all cues being known. Ends early when the options say so. */
lks_status burn_write(burn *b, progress *line, lks_error *err);

void burn_close(burn *b); /* NULL is safe */

#endif
