/* What pages are made of that need no other file. */
#ifndef LOOKSAY_COMMON_HTML_H
#define LOOKSAY_COMMON_HTML_H

#include <stdint.h>
#include <stdio.h>

/* Text, also within quotes: the signs that mean something to HTML are taken out of their meaning, control characters become
 * spaces, bytes that are no UTF-8 U+FFFD. */
void html_write_text(FILE *to, const char *text);

/* Attribute src="..." with a JPEG of pixels [height, width, n_channels]. */
void html_write_jpeg(FILE *to, const uint8_t *pixels, int width, int height, int n_channels, int quality);

#endif
