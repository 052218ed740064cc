/* How smoothly a window is drawn, for who asks with G_MESSAGES_DEBUG=looksay-gui: a line for each frame, with the time since the program
 * began, the time that the frame took, how much of it was work of this thread, and all its work so far, in microseconds. */
#ifndef LOOKSAY_GUI_FRAMES_H
#define LOOKSAY_GUI_FRAMES_H

#include <gtk/gtk.h>

/* Does nothing when nobody asks. The window is realized. */
void frames_watch(GtkWidget *window);

#endif
