/* Photos and clips in files and folders, found by a thread. */
#ifndef LOOKSAY_GUI_GATHER_H
#define LOOKSAY_GUI_GATHER_H

#include <gtk/gtk.h>
#include <stdbool.h>

/* Calls `found` with each path, in the order of the paths given and, within a folder, of names; folders in folders too, links to
 * folders not. A file that is named comes whatever its name is. path NULL ends the search: message says what could not be read,
 * or is NULL. Nothing comes once it is cancelled. */
typedef void (*gather_found)(void *context, const char *path, bool is_clip, const char *message);

void gather(char **paths, GCancellable *cancellable, gather_found found, void *context);

#endif
