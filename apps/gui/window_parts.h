/* What the window is made of. Private to apps/gui/window*.c. */
#ifndef LOOKSAY_GUI_WINDOW_PARTS_H
#define LOOKSAY_GUI_WINDOW_PARTS_H

#include "apps/gui/album.h"
#include "apps/gui/choose.h"
#include "apps/gui/detail.h"
#include "apps/gui/player.h"
#include "apps/gui/prefs.h"
#include "apps/gui/window.h"

struct window {
    GtkApplication *app;
    GtkWindow *widget; /* NULL once it is closed */
    album *album;
    detail *detail;
    GtkSingleSelection *selection;
    GtkWidget *stack, *list, *status, *progress, *bar, *bar_label, *pause, *model_label, *menu_button, *beams,
        *languages, *languages_line;
    prefs prefs;
    char *model, *language; /* in use */
    int n_beams;            /* in use */
    char **codes;           /* of the model's languages, as `languages` lists them */
    bool fills;             /* `languages` is being filled, not chosen from */
    player *player;         /* NULL until a clip is chosen */
    Photo *clip;            /* that it plays, or NULL */
    player_frame frame;     /* the last one of that; rgb NULL: there was none */
    bool wants_caption, clip_ended;
    bool no_model;                   /* `model` is missing, or could not be opened */
    GCancellable *gathering;         /* of all folders that are being read */
    int n_saving;                    /* savings and exports on their way */
    void (*after_answer)(window *w); /* what the reader is asked about */
    bool paused, sure_to_close;
};

/* The widgets of an empty window; their actions are not there yet. */
void window_build(window *w);

/* All that the window can do: "win.*". */
void window_add_actions(window *w);

/* The photo that is chosen, borrowed, or NULL. */
Photo *window_selected(const window *w);

/* A message that stays until it is read. */
void window_warn(window *w, const char *message);
/* A message in passing. */
void window_say(window *w, const char *message);

/* How many edited captions are not saved. */
guint window_count_unsaved(const window *w);
/* Does `then`, which loses n edited captions that are not saved. If there are any, the reader is asked first; answer: the button
 * that says so. */
void window_lose(window *w, guint n, const char *answer, void (*then)(window *w));

void window_set_model(window *w, const char *model); /* remembered */

/* Plays the clip or camera, or nothing. */
void window_play(window *w, Photo *photo);
/* Takes the clip to another time; one that has ended plays on from there. */
void window_seek(window *w, double seconds);
/* Goes on, or stands still; at the end of a clip it begins again. */
void window_set_playing(window *w, bool playing);
/* Captions the frame that is shown again: with another model, or because no word is looked at any more. */
void window_look_again(window *w);

#endif
