/* The window. */
#ifndef LOOKSAY_GUI_WINDOW_H
#define LOOKSAY_GUI_WINDOW_H

#include <gtk/gtk.h>

#include "apps/gui/engine.h"

typedef struct window window;

window *window_new(GtkApplication *app);

/* After the application has ended: what is being saved is saved to its end. */
void window_free(window *w);

void window_present(window *w);

/* Adds photos, clips and what is in folders. paths: ends with NULL. */
void window_open(window *w, char **paths);

/* model, language NULL, n_beams -1: as they are; what is in use already is left alone. Counts for this run of the program; what the
 * reader chooses in the window is remembered. */
void window_use(window *w, const engine_choice *given);

#endif
