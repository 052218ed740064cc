/* What the window remembers from one day to the next, in looksay/window.ini of the user's configuration folder. */
#ifndef LOOKSAY_GUI_PREFS_H
#define LOOKSAY_GUI_PREFS_H

#include <stdbool.h>

typedef struct prefs {
    char *model;    /* path; NULL: the default model */
    char *language; /* NULL: the model's own */
    int n_beams;    /* 0: the model's own */
    char *format;   /* of saved captions: "txt", "xmp" or "embed" */
    bool replace;   /* saving replaces captions that somebody else wrote */
    int width, height;
    bool maximized;
} prefs;

/* What is not there, or makes no sense, has its default. */
void prefs_load(prefs *out);
void prefs_save(const prefs *p);
void prefs_release(prefs *p);

#endif
