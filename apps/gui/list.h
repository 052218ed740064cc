/* The list of photos: a small picture, the caption, the name, and how far it is. */
#ifndef LOOKSAY_GUI_LIST_H
#define LOOKSAY_GUI_LIST_H

#include <gtk/gtk.h>

/* A list view of Photo *. */
GtkWidget *list_new(GtkSelectionModel *photos);

#endif
