/* What pages are made of: see html.h. */
#include "apps/cli/html.h"

#include <stdlib.h>

#define STB_IMAGE_WRITE_IMPLEMENTATION
#define STB_IMAGE_WRITE_STATIC
#include <stb/stb_image_write.h>

#include "apps/cli/utf8.h"

void html_write_text(FILE *to, const char *text)
{
    char *valid = utf8_repair(text);
    for (const char *p = valid ? valid : ""; *p; p++)
        if (*p == '&' || *p == '<' || *p == '>' || *p == '"' || *p == '\'')
            fprintf(to, "&#%d;", *p);
        else if ((unsigned char)*p < ' ')
            fputc(' ', to);
        else
            fputc(*p, to);
    free(valid);
}

/* Base64 (RFC 4648) of a stream of bytes. */
typedef struct base64 {
    FILE *to;
    unsigned held; /* bytes that wait for their third */
    unsigned n_held;
} base64;

static void put_digits(base64 *b, unsigned n)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (unsigned i = 0; i < 4; i++)
        fputc(i < n ? digits[b->held >> (18 - 6 * i) & 63] : '=', b->to);
    b->held = b->n_held = 0;
}

static void put_bytes(void *context, void *data, int size)
{
    base64 *b = context;
    const unsigned char *bytes = data;
    for (int i = 0; i < size; i++) {
        b->held |= (unsigned)bytes[i] << (16 - 8 * b->n_held);
        if (++b->n_held == 3)
            put_digits(b, 4);
    }
}

void html_write_jpeg(FILE *to, const uint8_t *pixels, int width, int height, int n_channels, int quality)
{
    base64 b = {.to = to};
    fputs(" src=\"data:image/jpeg;base64,", to);
    stbi_write_jpg_to_func(put_bytes, &b, width, height, n_channels, pixels, quality);
    if (b.n_held > 0)
        put_digits(&b, b.n_held + 1);
    fputc('"', to);
}
