/* Words on a picture: a font that has their letters (Fontconfig), drawn by FreeType. */
#ifndef LOOKSAY_CLI_LETTERING_H
#define LOOKSAY_CLI_LETTERING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct lettering lettering;

/* A picture being painted: rgb [height, width, 3]. */
typedef struct canvas {
    uint8_t *rgb;
    int width, height;
    int right; /* nothing is written from this column on */
} canvas;

/* Whether this program was built with letters; without them nothing opens. */
bool lettering_is_built(void);

/* Opens the sans-serif font that has most letters of `sample`, `height` pixels high. Returns false after a message. */
bool lettering_open(lettering **out, const char *sample, int height);
void lettering_close(lettering *l); /* NULL is safe */

/* Pixels that a text takes in a line; bytes that are no UTF-8 count as U+FFFD. */
int lettering_width(lettering *l, const char *text);

/* Writes a line from (x, baseline) on, cut off at the right; returns where the next letter would stand. */
int lettering_write(lettering *l, canvas *to, int x, int baseline, const char *text, const uint8_t colour[3]);

#endif
