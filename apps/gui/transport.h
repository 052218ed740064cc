/* What a clip is played with: a button, a slider for its time, and the time as text. */
#ifndef LOOKSAY_GUI_TRANSPORT_H
#define LOOKSAY_GUI_TRANSPORT_H

#include <gtk/gtk.h>
#include <stdbool.h>

typedef struct transport transport;

/* `sought` is called when somebody wants the clip to be at another time. */
transport *transport_new(void (*sought)(void *context, double seconds), void *context);
void transport_free(transport *t); /* the widget is its parent's */

GtkWidget *transport_widget(transport *t);

/* The time of what is shown; n_seconds: of all, or 0. The slider is there where there is a way to other times. */
void transport_show(transport *t, double seconds, double n_seconds, bool can_seek);
/* Nothing is shown yet. */
void transport_clear(transport *t);

#endif
