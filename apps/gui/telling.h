/* What a model said about one picture, and the picture at the size of a screen. Both are immutable once made, so that threads may
 * share them. */
#ifndef LOOKSAY_GUI_TELLING_H
#define LOOKSAY_GUI_TELLING_H

#include <gtk/gtk.h>

#include "apps/captioner/looksay.h"

typedef struct telling_word {
    char *text;
    double sure; /* 0..1 */
    float *map;  /* [grid_rows, grid_columns] */
} telling_word;

typedef struct telling {
    gatomicrefcount references;
    char *text, *model;
    char *doubt; /* why this is no photo, or NULL */
    double score, confidence, ms;
    bool damaged; /* told of what could be read of a damaged file */
    float *logprobs;
    int n_tokens, n_words;
    telling_word *words;
    lks_caption frame; /* sizes, grid and grid_box only: what heat_fill asks for */
    GBytes *thumbnail; /* a JPEG file, or NULL */
} telling;

/* A copy of what the window shows of the caption, which has its maps and its picture. */
telling *telling_new(const lks_caption *caption, const char *model, double ms);
telling *telling_ref(telling *t);
void telling_unref(telling *t); /* NULL is safe */

/* The caption with another text, as rows and pages want it: `sequence` and the result borrow from t and text. */
lks_caption telling_as_caption(const telling *t, lks_sequence *sequence, const char *text);

typedef struct preview {
    gatomicrefcount references;
    int width, height;
    GBytes *rgb; /* [height, width, 3] */
    GdkTexture *texture;
} preview;

/* The caption's picture, at most 1024 pixels wide and high. */
preview *preview_new(const lks_caption *caption);
preview *preview_ref(preview *p);
void preview_unref(preview *p); /* NULL is safe */

/* The preview where the model looked for a word: the rest is dark. */
GdkTexture *preview_glow(const preview *p, const telling *t, int word);

#endif
