/* Pixels as a JPEG file, without system libraries: see jpeg.h. */
#include <stdlib.h>
#include <string.h>

#define STB_IMAGE_WRITE_IMPLEMENTATION
#define STB_IMAGE_WRITE_STATIC
#include <stb/stb_image_write.h>

#include "apps/common/jpeg.h"

typedef struct file {
    unsigned char *bytes;
    size_t n, capacity;
    int failed;
} file;

static void append(void *context, void *data, int n)
{
    file *f = context;
    if (f->n + (size_t)n > f->capacity) {
        size_t capacity = 2 * f->capacity + (size_t)n;
        unsigned char *grown = realloc(f->bytes, capacity);
        if (!grown) {
            f->failed = 1;
            return;
        }
        f->bytes = grown;
        f->capacity = capacity;
    }
    memcpy(f->bytes + f->n, data, (size_t)n);
    f->n += (size_t)n;
}

unsigned char *jpeg_encode(size_t *n, const uint8_t *pixels, int width, int height, int n_channels, int quality)
{
    file f = {.bytes = NULL};
    if (!stbi_write_jpg_to_func(append, &f, width, height, n_channels, pixels, quality) || f.failed) {
        free(f.bytes);
        return NULL;
    }
    *n = f.n;
    return f.bytes;
}
