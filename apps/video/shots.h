/* Which frames of a clip need a caption of their own.
 *
 * A cue is a stretch of time that shares one caption. Frames are compared as thumbnails of 32 x 32 grey cells; the difference of
 * two is the mean of |a - b| over the cells, as a share of the range (0 the same, 1 black against white). A cue begins
 *
 *     at a cut       where a frame differs from the frame before it by more than `scene` over what that frame differed from the
 *                    one before, if that is not long ago: a quick pan differs from frame to frame, but steadily,
 *     by time        `every` seconds after the cue began, and again after each such while, if the frame differs by more than
 *                    `gate` from the frame that the cue's caption was made of; otherwise the cue and its caption go on.
 *
 * A frame less than `settle` seconds after a cue began that differs by more than `scene` from the one before moves the cue to
 * itself, but not its beginning: a flash, a blend or a torn frame gets no caption. Pure logic: no clock, no memory but its own. */
#ifndef LOOKSAY_VIDEO_SHOTS_H
#define LOOKSAY_VIDEO_SHOTS_H

#include <stdbool.h>
#include <stdint.h>

enum { SHOTS_SIDE = 32, SHOTS_CELLS = SHOTS_SIDE * SHOTS_SIDE };

typedef struct shots_options {
    double every;  /* seconds; 0: no cue by time */
    double scene;  /* 0..1; 0: no cuts */
    double gate;   /* 0..1 */
    double settle; /* seconds */
} shots_options;

typedef enum shots_event {
    SHOTS_STAY,   /* shows what the cue has shown */
    SHOTS_FRESH,  /* in the cue, but differs by more than `gate` from the last frame that was fresh */
    SHOTS_RETAKE, /* the young cue is about this frame; those before it do not count */
    SHOTS_CUT,    /* a cue begins: a cut, or the clip */
    SHOTS_TIME    /* a cue begins by time */
} shots_event;

typedef struct shots {
    shots_options options;
    bool begun, follows; /* follows: another cue went before this one */
    double cue_began, due;
    double before_seconds, motion;                /* of the frame before; how much it differed from its own */
    uint8_t before[SHOTS_CELLS];                  /* the frame before */
    uint8_t key[SHOTS_CELLS], fresh[SHOTS_CELLS]; /* the cue's frame; the last fresh one */
    uint8_t former_key[SHOTS_CELLS];              /* of the cue before */
} shots;

void shots_begin(shots *s, const shots_options *options);

/* Whether the frame at that time must be looked at. all: because every frame may be fresh. */
bool shots_wants(const shots *s, double seconds, bool all);

/* Looks at a frame. Times do not decrease. */
shots_event shots_look(shots *s, double seconds, const uint8_t thumbnail[SHOTS_CELLS]);

/* Whether the cue at that time is old enough that no retake can come. */
bool shots_is_settled(const shots *s, double seconds);

/* Whether the cue shows what the cue before it showed: its frame differs by no more than `gate`. */
bool shots_repeats(const shots *s);

/* 0 .. 1 */
double shots_difference(const uint8_t a[SHOTS_CELLS], const uint8_t b[SHOTS_CELLS]);

/* A few of many candidates whose number is not known before, spread evenly: at most `room` are kept; when they are full, every
 * second one goes, and from then on every second candidate comes. */
typedef struct shots_sample {
    int room, n; /* room: even */
    long stride, n_seen;
} shots_sample;

void shots_sample_begin(shots_sample *s, int room);

/* Whether the next candidate is kept, as number s->n - 1. *thin: those with odd numbers must leave first, the others close up. */
bool shots_sample_take(shots_sample *s, bool *thin);

/* Which of n kept ones is the i-th of `wanted` spread over all of them, first and last included; wanted <= n. */
int shots_sample_pick(int i, int n, int wanted);

#endif
