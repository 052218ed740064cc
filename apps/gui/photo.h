/* One row of the window: a photo or clip, how far it is, and its caption. Belongs to the main thread; others may read its path.
 * Everybody may read the fields; the functions below change them and emit "changed". */
#ifndef LOOKSAY_GUI_PHOTO_H
#define LOOKSAY_GUI_PHOTO_H

#include "apps/gui/telling.h"

typedef enum photo_state {
    PHOTO_WAITING,
    PHOTO_WORKING,
    PHOTO_DONE,  /* it has a telling */
    PHOTO_FAILED /* it has a message */
} photo_state;

G_DECLARE_FINAL_TYPE(Photo, photo, GUI, PHOTO, GObject)

struct _Photo {
    GObject parent;
    char *path;
    char *name;   /* of the file, fit to be shown */
    bool is_live; /* a clip or camera: its caption changes while it plays */
    photo_state state;
    char *text;     /* the caption, which its reader may have edited; NULL until there is one */
    bool edited;    /* text is no longer what the model said */
    GSList *saved;  /* formats in which text is on the disk, interned; see save.h */
    char *message;  /* what failed: reading it, or saving it; NULL: nothing */
    telling *told;  /* NULL until there is one */
    preview *shown; /* the picture, while it is remembered; see album.c */
};

Photo *photo_new(const char *path, bool is_live);

/* Whether words that were typed would be lost with it. */
bool photo_is_unsaved(const Photo *p);

void photo_set_waiting(Photo *p);
void photo_set_working(Photo *p);
/* Takes over t. A text that was edited stays. */
void photo_set_told(Photo *p, telling *t);
void photo_set_failed(Photo *p, const char *message);
void photo_set_preview(Photo *p, preview *shown); /* NULL: forget it */
/* What the reader typed. */
void photo_edit(Photo *p, const char *text);
/* message NULL: the caption was saved in that format; otherwise why not. */
void photo_set_saved(Photo *p, const char *format, const char *message);
bool photo_is_saved_as(const Photo *p, const char *format);

#endif
