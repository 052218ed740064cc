/* What pages are made of: see html.h. */
#include "apps/common/html.h"

#include <stdlib.h>

#include "apps/common/jpeg.h"
#include "apps/common/utf8.h"

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

/* Base64 (RFC 4648). */
static void write_base64(FILE *to, const unsigned char *bytes, size_t n)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < n; i += 3) {
        size_t n_here = n - i < 3 ? n - i : 3;
        unsigned held = 0;
        for (size_t k = 0; k < n_here; k++)
            held |= (unsigned)bytes[i + k] << (16 - 8 * k);
        for (unsigned k = 0; k < 4; k++)
            fputc(k <= n_here ? digits[held >> (18 - 6 * k) & 63] : '=', to);
    }
}

void html_write_jpeg(FILE *to, const uint8_t *pixels, int width, int height, int n_channels, int quality)
{
    size_t n = 0;
    unsigned char *bytes = jpeg_encode(&n, pixels, width, height, n_channels, quality);
    fputs(" src=\"data:image/jpeg;base64,", to);
    if (bytes)
        write_base64(to, bytes, n);
    fputc('"', to);
    free(bytes);
}
