/* The photo that is chosen: its picture, the words of its caption, how sure the model was, and the caption to edit. */
#ifndef LOOKSAY_GUI_DETAIL_H
#define LOOKSAY_GUI_DETAIL_H

#include "apps/gui/photo.h"

typedef struct detail detail;

typedef struct detail_events {
    void (*no_word)(void *context);                /* no word is chosen any more */
    void (*sought)(void *context, double seconds); /* the clip had better be at that time */
} detail_events;

detail *detail_new(const detail_events *events, void *context);
void detail_free(detail *d); /* the widget is its parent's */

GtkWidget *detail_widget(detail *d);

/* NULL: nothing is chosen. What was typed about the photo before stays with it. */
void detail_show(detail *d, Photo *photo);

/* The next frame of the clip that is shown, and its time; kept from sight while a word is chosen. n_seconds: of all, or 0. */
void detail_show_frame(detail *d, GdkTexture *frame, double seconds, double n_seconds, bool can_seek);

/* Whether a word is chosen: then the picture and the caption it belongs to had better stay. */
bool detail_has_word(const detail *d);

/* Chooses the word after (1) or before (-1) the chosen one; 0: none. */
void detail_step_word(detail *d, int step);

/* Lets the reader type. */
void detail_edit(detail *d);

/* Back to what the model said, as if it had been typed: it can be undone. */
void detail_revert(detail *d);

#endif
