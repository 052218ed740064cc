/* What the window is made of. Private to apps/gui/window*.c. */
#ifndef LOOKSAY_GUI_WINDOW_PARTS_H
#define LOOKSAY_GUI_WINDOW_PARTS_H

#include "apps/gui/album.h"
#include "apps/gui/choose.h"
#include "apps/gui/detail.h"
#include "apps/gui/prefs.h"
#include "apps/gui/window.h"

struct window {
    GtkApplication *app;
    GtkWindow *widget; /* NULL once it is closed */
    album *album;
    detail *detail;
    GtkSingleSelection *selection;
    GtkWidget *stack, *list, *status, *progress, *bar, *bar_label, *pause, *model_button, *menu_button, *beams;
    prefs prefs;
    char *model;             /* in use */
    int n_beams;             /* in use */
    GCancellable *gathering; /* of all folders that are being read */
    int n_saving;            /* savings and exports on their way */
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

void window_set_model(window *w, const char *model, int n_beams); /* remembered */

#endif
