/* Asks for files, folders and cameras. */
#ifndef LOOKSAY_GUI_CHOOSE_H
#define LOOKSAY_GUI_CHOOSE_H

#include <gtk/gtk.h>

typedef enum choose_what {
    CHOOSE_PICTURES, /* photos and clips, several */
    CHOOSE_FOLDER,
    CHOOSE_MODEL_FILE,
    CHOOSE_MODEL_FOLDER,
    CHOOSE_EXPORT /* a name to write to */
} choose_what;

/* Calls `chosen` unless the reader changes their mind; paths ends with NULL, has one path at least, and is borrowed. */
void choose(GtkWindow *parent, choose_what what, void (*chosen)(void *context, choose_what what, char **paths),
            void *context);

/* Asks for a camera or an address. */
void choose_camera(GtkWindow *parent, void (*chosen)(void *context, const char *name), void *context);

#endif
