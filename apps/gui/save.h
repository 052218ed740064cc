/* Captions to where they belong: beside or inside their photos, or into one file. By a thread; the window goes on. */
#ifndef LOOKSAY_GUI_SAVE_H
#define LOOKSAY_GUI_SAVE_H

#include "apps/gui/photo.h"

/* message: what was done or not, to be shown; failed: it is an error. */
typedef void (*save_done)(void *context, const char *message, bool failed);

/* Saves the captions of those photos that have one. format: "txt", "xmp" or "embed". What a person wrote in this window replaces
 * what is there; what a model said does so only if `replace`. Each photo learns what became of it. */
void save_photos(GPtrArray *photos, const char *format, bool replace, save_done done, void *context);

/* Writes all rows into one file: .jsonl, .csv or .html. */
void save_export(GListModel *photos, const char *path, save_done done, void *context);

#endif
