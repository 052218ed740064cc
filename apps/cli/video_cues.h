/* Cues of a clip: their frames, their captions, and their way into a file. Private to apps/cli/video*.c. */
#ifndef LOOKSAY_CLI_VIDEO_CUES_H
#define LOOKSAY_CLI_VIDEO_CUES_H

#include "apps/captioner/looksay.h"
#include "apps/video/decode.h"
#include "apps/video/shots.h"
#include "apps/video/subtitles.h"

enum { CUES_MAX_JOINT = 16 };

typedef struct cue {
    subtitles_cue row; /* text and error are the cue's own */
    shots_sample sample;
    video_held *held[2 * CUES_MAX_JOINT]; /* [sample.n] */
    double times[2 * CUES_MAX_JOINT];     /* [sample.n] theirs */
    double seen[CUES_MAX_JOINT];
    bool resolved, repeats; /* repeats: shows what the cue before it shows */
} cue;

typedef struct cues {
    const video_api *api;
    video *clip;
    lks_session *session;
    const lks_caption_options *options;
    int n_joint;
    bool (*take)(void *context,
                 const subtitles_cue *row); /* gets each cue when it is complete; false: output was lost */
    void *context;
    cue current, former; /* former: complete, but its end may yet move */
    bool has_current, has_former, lost;
    size_t n_captioned, n_failed;
} cues;

/* All return what stopped them; a caption that failed alone is a failed row and no reason to stop. Frames are the clip's present
 * one. */
lks_status cues_begin(cues *c, const video_frame *frame, bool cut,
                      lks_error *err);                                     /* a cue begins, the one before it ends */
lks_status cues_add(cues *c, const video_frame *frame, lks_error *err);    /* more of the same shot */
lks_status cues_retake(cues *c, const video_frame *frame, lks_error *err); /* the cue is about this frame instead */

/* Whether the cue is still to be resolved: told if it repeats the one before it, when it has settled. */
bool cues_is_open(const cues *c);
lks_status cues_resolve(cues *c, bool repeats, lks_error *err);

/* Ends the last cue and writes what is left. */
lks_status cues_finish(cues *c, double end, lks_error *err);

/* Releases what is held; cues that were not written are lost. */
void cues_release(cues *c);

#endif
