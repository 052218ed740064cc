/* A widget that puts its children in lines, as text is set. */
#ifndef LOOKSAY_GUI_WRAP_H
#define LOOKSAY_GUI_WRAP_H

#include <gtk/gtk.h>

G_DECLARE_FINAL_TYPE(Wrap, wrap, GUI, WRAP, GtkWidget)

/* A group for assistive technology. Children come by gtk_widget_set_parent; what is left of them goes with the widget. */
GtkWidget *wrap_new(void);

#endif
