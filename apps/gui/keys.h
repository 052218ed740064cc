/* What can be done from the keyboard: one table, from which accelerators and the help window are made. */
#ifndef LOOKSAY_GUI_KEYS_H
#define LOOKSAY_GUI_KEYS_H

#include <gtk/gtk.h>

void keys_set(GtkApplication *app);

/* Shows the table. */
void keys_show(GtkWindow *parent);

#endif
