/* Frames of a clip, a pipe or a camera, through FFmpeg's libraries.
 *
 * FFmpeg pulls in more than a hundred shared libraries, which would cost every start of the program; so decode.c is a module of its
 * own (looksay-video.so) that is loaded when a clip is opened: see load.h. A clip is hostile: it opens no other file and no
 * connection, its pictures are limited in size, and what is damaged is skipped and counted. */
#ifndef LOOKSAY_VIDEO_DECODE_H
#define LOOKSAY_VIDEO_DECODE_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "apps/captioner/looksay.h"

typedef struct video video;
typedef struct video_held video_held; /* a decoded frame that outlives the next one */
typedef struct video_copy video_copy;

typedef struct video_options {
    int n_threads;              /* of the decoder or encoder; 0: as many as are useful */
    bool verbose;               /* FFmpeg's warnings go to standard error */
    int (*stop)(void *context); /* asked while waiting for data; non-zero ends the clip */
    void *stop_context;
} video_options;

typedef struct video_info {
    const char *codec; /* static */
    double seconds;    /* how long the clip says it is; 0: unknown, as of cameras */
    double
        picture_seconds; /* the same of its pictures alone; 0: unknown, as of containers that count no stream by itself */
    double frame_rate;   /* what the clip says; 0: unknown */
    bool is_live;        /* a camera or stream: frames come as they are filmed */
    bool can_seek;       /* a file whose end is known */
} video_info;

typedef struct video_frame {
    long number;     /* from 0, in order of presentation; counts on after a seek */
    double seconds;  /* from the beginning of the clip: never less than the frame's before, but for a seek */
    double duration; /* seconds; what the clip says, else what its rate says */
} video_frame;

enum { VIDEO_API_VERSION = 4, VIDEO_MAX_PIXELS = 50 * 1000 * 1000 };

/* What the module offers. */
typedef struct video_api {
    int version;
    /* Opens a file, "-" for standard input, /dev/videoN or an rtsp:// address. */
    lks_status (*open)(video **out, const char *name, const video_options *options, lks_error *err);
    void (*close)(video *v); /* NULL is safe */
    void (*describe)(video_info *out, const video *v);
    /* The next frame; *end at the end of the clip. After a failure the clip is at its end. */
    lks_status (*next)(video *v, video_frame *out, bool *end, lks_error *err);
    /* The next frame will be one at or before `seconds`, from which on all come. Of a clip that can_seek; also after its end. */
    lks_status (*seek)(video *v, double seconds, lks_error *err);
    /* cells [32, 32]: the frame as it was coded (not turned), in shades of grey */
    lks_status (*thumbnail)(video *v, uint8_t *cells, lks_error *err);
    lks_status (*hold)(const video *v, video_held **out, lks_error *err);
    void (*let_go)(video_held *held); /* NULL is safe */
    /* The frame as it is shown: upright, square pixels, no side longer than max_side (0: as it is); rgb [height, width, 3] without
     * gaps, malloc'ed. */
    lks_status (*picture)(video *v, uint8_t **rgb, int *width, int *height, const video_held *held, int max_side,
                          lks_error *err);
    long (*count_damaged)(const video *v); /* packets and frames that could not be decoded whole */

    /* A copy of a clip with other pictures: see copy.h. */
    lks_status (*copy_open)(video_copy **out, FILE *to, const char *kind, const char *name,
                            const video_options *options, lks_error *err);
    lks_status (*copy_add)(video_copy *c, const uint8_t *rgb, int width, int height, const video_frame *frame,
                           lks_error *err);
    lks_status (*copy_end)(video_copy *c, lks_error *err);
    void (*copy_close)(video_copy *c);
} video_api;

#define VIDEO_API_SYMBOL "lks_video_api" /* a const video_api */

#endif
