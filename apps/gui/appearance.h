/* How the window looks: a few rules of its own on top of GTK's theme, dark where the desktop is. */
#ifndef LOOKSAY_GUI_APPEARANCE_H
#define LOOKSAY_GUI_APPEARANCE_H

#include <gtk/gtk.h>

void appearance_set(GdkDisplay *display);

#endif
