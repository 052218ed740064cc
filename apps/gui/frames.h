/* How smoothly a window is drawn, for who asks with G_MESSAGES_DEBUG=looksay-gui: a line for each frame, with the time since the program
 * began and the time that the frame took, in microseconds. */
#ifndef LOOKSAY_GUI_FRAMES_H
#define LOOKSAY_GUI_FRAMES_H

#include <gtk/gtk.h>

/* Does nothing when nobody asks. The window is realized. */
void frames_watch(GtkWidget *window);

#endif
