/* Cues as SubRip (SRT), WebVTT or JSON lines. */
#ifndef LOOKSAY_VIDEO_SUBTITLES_H
#define LOOKSAY_VIDEO_SUBTITLES_H

#include <stdbool.h>
#include <stdio.h>

typedef enum subtitles_format { SUBTITLES_SRT, SUBTITLES_VTT, SUBTITLES_JSONL } subtitles_format;

typedef struct subtitles_cue {
    double start, end;  /* seconds from the beginning of the clip; end > start */
    long frame;         /* number of the first frame, from 0 */
    bool cut;           /* begins at a cut or with the clip, not by time */
    const char *text;   /* UTF-8; NULL: there is no caption, see error */
    const char *error;  /* why; NULL where there is a text */
    double score, ms;   /* as of a photo's caption */
    const double *seen; /* [n_seen] times of the frames that the words attended to */
    int n_seen;
} subtitles_cue;

/* What stands before the first cue. */
void subtitles_begin(FILE *to, subtitles_format format);

/* Writes a cue; number counts from 1. SRT and VTT have no cue without text: nothing is written then, and false returned. clip and
 * model are UTF-8 names for JSON rows. What the stream does not take is found by whoever closes it. */
bool subtitles_write(FILE *to, subtitles_format format, const subtitles_cue *cue, long number, const char *clip,
                     const char *model);

#endif
