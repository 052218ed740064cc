/* A caption as a line of words that can be chosen, one at a time. */
#ifndef LOOKSAY_GUI_WORDS_H
#define LOOKSAY_GUI_WORDS_H

#include "apps/gui/telling.h"

typedef struct words words;

/* `chosen` is called with the number of a word, or -1 when none is chosen any more. */
words *words_new(void (*chosen)(void *context, int word), void *context);
void words_free(words *w); /* the widget is its parent's */

GtkWidget *words_widget(words *w);

/* Shows the words of t, none of them chosen; t NULL: no words. Calls nobody. */
void words_show(words *w, const telling *t);

/* Chooses the word `step` after the chosen one, which goes round; does nothing without words. */
void words_step(words *w, int step);
void words_clear(words *w);

#endif
