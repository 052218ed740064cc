/* Pixels as a JPEG file. */
#ifndef LOOKSAY_COMMON_JPEG_H
#define LOOKSAY_COMMON_JPEG_H

#include <stddef.h>
#include <stdint.h>

/* pixels [height, width, n_channels], 1 or 3 channels; quality 1..100. malloc'ed; NULL when out of memory. */
unsigned char *jpeg_encode(size_t *n, const uint8_t *pixels, int width, int height, int n_channels, int quality);

#endif
