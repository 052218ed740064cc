/* Captions as one page that needs nothing else: thumbnails, captions, how sure they are, a search box. */
#ifndef LOOKSAY_COMMON_GALLERY_H
#define LOOKSAY_COMMON_GALLERY_H

#include <stdio.h>

#include "apps/captioner/looksay.h"

void gallery_begin(FILE *to);
/* The caption has its picture (keep_picture). */
void gallery_add(FILE *to, const char *image, const lks_caption *caption);
/* A picture without a caption, and why. */
void gallery_add_uncertain(FILE *to, const char *image, const lks_caption *caption, const char *reason);
void gallery_add_error(FILE *to, const char *image, const char *message);
void gallery_end(FILE *to);

#endif
