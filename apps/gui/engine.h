/* The thread that captions. It opens the model, takes one picture at a time from its queue, and hands what it finds to the main
 * thread; nothing here waits for it but engine_close. All functions are the main thread's, and so are the calls to `events`. */
#ifndef LOOKSAY_GUI_ENGINE_H
#define LOOKSAY_GUI_ENGINE_H

#include "apps/gui/photo.h"

typedef struct engine engine;

/* What to caption with. */
typedef struct engine_choice {
    const char *model;    /* path */
    const char *language; /* code; NULL, or one that the model does not have: the model's own */
    int n_beams;          /* 0: the model's own */
} engine_choice;

typedef struct engine_events {
    /* error NULL: the model is open. languages: codes, the model's own first, ended by NULL; empty for a model of one language */
    void (*opened)(void *context, const char *model, char **languages, const char *error);
    void (*begun)(void *context, Photo *photo);
    void (*told)(void *context, Photo *photo, telling *told, preview *shown); /* takes over neither */
    void (*shown)(void *context, Photo *photo, preview *shown); /* the picture again, asked by engine_show */
    void (*failed)(void *context, Photo *photo, const char *message);
} engine_events;

engine *engine_new(const engine_events *events, void *context);

/* Ends the thread, after the step that it is in. No event comes any more. */
void engine_close(engine *e);

/* What to caption with from now on; copied. The queue is emptied, the work in hand is dropped. */
void engine_use(engine *e, const engine_choice *choice);

/* Adds to the end of the queue, or moves to its head. */
void engine_add(engine *e, Photo *photo);
void engine_raise(engine *e, Photo *photo);

/* Takes it out of the queue; if it is in work, that ends without an event. */
void engine_forget(engine *e, Photo *photo);
void engine_forget_all(engine *e);

/* Reads the picture of a photo again, before anything else; one at a time, the last one asked for. */
void engine_show(engine *e, Photo *photo);

/* Captions a frame of a clip, before anything else; one at a time, the last one given. rgb [height, width, 3]. */
void engine_look(engine *e, Photo *clip, GBytes *rgb, int width, int height);

/* While paused nothing is taken from the queue; the photo in work goes back to its head. */
void engine_pause(engine *e, bool paused);

#endif
