/* The photos of a window and the engine that captions them: what is there, what waits, what is shown. */
#ifndef LOOKSAY_GUI_ALBUM_H
#define LOOKSAY_GUI_ALBUM_H

#include "apps/gui/engine.h"

typedef struct album album;

typedef struct album_events {
    void (*opened)(void *context, const char *model, char **languages, const char *error); /* as the engine's */
    void (*moved)(void *context);                                                          /* counts have changed */
} album_events;

typedef struct album_counts {
    guint n, n_done, n_failed;
} album_counts;

album *album_new(const album_events *events, void *context);
void album_close(album *a);

/* Of Photo *, in the order in which they came; borrowed. */
GListModel *album_photos(album *a);
album_counts album_count(const album *a);

/* Adds a file or camera unless it is there. Returns its photo, borrowed. */
Photo *album_add(album *a, const char *path, bool is_live);
void album_remove(album *a, Photo *photo);
void album_clear(album *a);

/* Captions all photos again with another model, language or number of beams; edited texts stay. */
void album_use(album *a, const engine_choice *choice);

void album_pause(album *a, bool paused);

/* The photo that the window shows, or NULL: it goes before others, and its picture is remembered. */
void album_select(album *a, Photo *photo);

/* A clip could not be played. */
void album_fail(album *a, Photo *clip, const char *message);

/* A frame of a clip, to be captioned. */
void album_look(album *a, Photo *clip, GBytes *rgb, int width, int height);

#endif
