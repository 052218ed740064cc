/* Plays a clip, a camera or a stream: a thread reads it, at the speed at which it was filmed, and hands its frames to the main thread,
 * which gets the last one when it has time for one. All functions are the main thread's, and so are the calls to `events`. */
#ifndef LOOKSAY_GUI_PLAYER_H
#define LOOKSAY_GUI_PLAYER_H

#include <gtk/gtk.h>
#include <stdbool.h>

typedef struct player player;

typedef struct player_frame {
    GBytes *rgb; /* [height, width, 3] */
    int width, height;
    double seconds, n_seconds; /* since the beginning; of all, 0 where nobody knows */
    bool can_seek;             /* there is a way to other times */
    bool is_news;              /* shows something else than the last one that was news: it wants a caption */
} player_frame;

typedef struct player_events {
    void (*shown)(void *context, const player_frame *frame);
    void (*ended)(void *context, const char *message); /* message NULL: there is no more */
} player_events;

player *player_new(const player_events *events, void *context);
void player_close(player *p); /* waits for the read that the thread is in to be broken off */

/* Plays from the beginning; NULL: nothing. Of what played before no event comes any more. */
void player_play(player *p, const char *path);

/* Goes on at another time, or, while paused, shows the frame of that time. A clip that has come to its end is opened again; one that
 * failed is not. */
void player_seek(player *p, double seconds);

/* While paused a clip stands still; a camera goes on, unseen. */
void player_pause(player *p, bool paused);

#endif
