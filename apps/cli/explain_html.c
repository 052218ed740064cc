/* An explanation as one page that needs nothing else: pointing at a word, or reaching it with the Tab key, darkens the picture
 * where the model did not look for it. The masks are grey pictures that the browser multiplies with the photo. There is no
 * script, and the page's own policy forbids any. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define STB_IMAGE_WRITE_IMPLEMENTATION
#define STB_IMAGE_WRITE_STATIC
#include <stb/stb_image_write.h>

#include "apps/cli/explain.h"
#include "apps/cli/explain_heat.h"
#include "apps/cli/options.h"
#include "apps/cli/report.h"

enum { MAX_SIDE = 1024, MASK_SIDE = 128, MIN_SHOWN = 480, PICTURE_QUALITY = 88, MASK_QUALITY = 80 };

static const char head[] = "<!DOCTYPE html>\n"
                           "<html lang=\"en\">\n"
                           "<head>\n"
                           "<meta charset=\"utf-8\">\n"
                           "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
                           "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; img-src data:; "
                           "style-src 'unsafe-inline'\">\n";

static const char style[] =
    ":root{color-scheme:light dark}\n"
    "body{font:1.25rem/1.6 system-ui,sans-serif;margin:1.5rem auto;max-width:64rem;padding:0 1rem}\n"
    ".word{font:inherit;color:inherit;background:none;border:0;border-bottom:.15rem "
    "solid;border-radius:.2rem;padding:.1rem .15rem;"
    "margin:0;cursor:pointer}\n"
    ".word:hover,.word:focus{background:#fb3;color:#000;outline:none}\n"
    "figure{position:relative;isolation:isolate;margin:1rem 0}\n"
    "figure img{display:block;width:100%;height:auto}\n"
    "figure .map{position:absolute;inset:0;height:100%;mix-blend-mode:multiply;opacity:0;pointer-events:none}\n"
    ".about{font-size:.8rem;opacity:.75}\n";

/* Text with the signs that mean something to HTML taken out of their meaning; bytes that are no UTF-8 become U+FFFD. */
static void write_text(FILE *to, const char *text)
{
    json_t *valid = json_text(text);
    for (const char *p = valid ? json_string_value(valid) : ""; *p; p++)
        if (*p == '&' || *p == '<' || *p == '>' || *p == '"' || *p == '\'')
            fprintf(to, "&#%d;", *p);
        else if ((unsigned char)*p < ' ')
            fputc(' ', to);
        else
            fputc(*p, to);
    json_decref(valid);
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

/* src="..." with a JPEG of pixels [height, width, n_channels]. */
static void write_jpeg(FILE *to, const uint8_t *pixels, int width, int height, int n_channels, int quality)
{
    base64 b = {.to = to};
    fputs(" src=\"data:image/jpeg;base64,", to);
    stbi_write_jpg_to_func(put_bytes, &b, width, height, n_channels, pixels, quality);
    if (b.n_held > 0)
        put_digits(&b, b.n_held + 1);
    fputc('"', to);
}

/* The caption with each of its words as a button; signs between them stay text. Percentages say how sure the model was. */
static void write_words(FILE *to, const lks_sequence *s)
{
    const char *at = s->text;
    for (int i = 0; i < s->n_words; i++) {
        const lks_word *word = &s->words[i];
        const char *begin = strstr(at, word->text);
        if (!begin)
            continue;
        char *between = strndup(at, (size_t)(begin - at));
        write_text(to, between ? between : " ");
        free(between);
        fprintf(to, "<button type=\"button\" class=\"word w%d\" title=\"%.0f %% sure\">", i,
                100.0 * exp((double)word->logprob));
        write_text(to, word->text);
        fputs("</button>", to);
        at = begin + strlen(word->text);
    }
    write_text(to, at);
}

/* The word that the pointer is on goes before the one that has the focus. */
static void write_rules(FILE *to, int n_words)
{
    for (int i = 0; i < n_words; i++)
        fprintf(to, ".w%d:focus~figure .m%d{opacity:1}\n", i, i);
    fputs(".word:hover~figure .map{opacity:0}\n", to);
    for (int i = 0; i < n_words; i++)
        fprintf(to, ".w%d:hover~figure .m%d{opacity:1}\n", i, i);
}

static void write_masks(FILE *to, const explanation *e, float *heat, uint8_t *mask, int width, int height)
{
    for (int i = 0; i < e->sequence->n_words; i++) {
        heat_fill(heat, width, height, e->caption, e->sequence->words[i].map);
        for (int j = 0; j < width * height; j++)
            mask[j] = (uint8_t)(40.0f + 215.0f * heat[j]);
        fprintf(to, "<img class=\"map m%d\" alt=\"\"", i);
        write_jpeg(to, mask, width, height, 1, MASK_QUALITY);
        fputs(">\n", to);
    }
}

bool explain_write_html(FILE *to, const explanation *e)
{
    const lks_sequence *s = e->sequence;
    int width, height, mask_width, mask_height;
    picture_fit(&width, &height, e->caption, MAX_SIDE, MAX_SIDE);
    picture_fit(&mask_width, &mask_height, e->caption, MASK_SIDE, MASK_SIDE);
    uint8_t *rgb = malloc((size_t)width * (size_t)height * 3);
    size_t n_mask = (size_t)mask_width * (size_t)mask_height;
    float *heat = malloc(n_mask * sizeof *heat);
    uint8_t *mask = malloc(n_mask);
    bool ready = rgb && heat && mask;
    if (ready) {
        picture_scale(rgb, width, height, e->caption);
        fprintf(to, "%s<title>", head);
        write_text(to, s->text);
        fprintf(to, "</title>\n<style>\n%s", style);
        write_rules(to, s->n_words);
        fputs("</style>\n</head>\n<body>\n<main>\n", to);
        write_words(to, s);
        fprintf(to, "\n<figure style=\"width:min(100%%,%dpx)\">\n<img width=\"%d\" height=\"%d\" alt=\"",
                width < MIN_SHOWN ? MIN_SHOWN : width, width, height);
        write_text(to, s->text);
        fputc('"', to);
        write_jpeg(to, rgb, width, height, 3, PICTURE_QUALITY);
        fputs(">\n", to);
        write_masks(to, e, heat, mask, mask_width, mask_height);
        fputs("</figure>\n<p class=\"about\">Point at a word, or press Tab, to see where the model looked when it said "
              "it. ",
              to);
        const char *slash = strrchr(e->image, '/');
        write_text(to, slash ? slash + 1 : e->image);
        fputs(", ", to);
        write_text(to, e->model);
        fputs(", Looksay " LKS_VERSION "</p>\n</main>\n</body>\n</html>\n", to);
    } else {
        complain("%s: out of memory for the page", e->image);
    }
    free(rgb);
    free(heat);
    free(mask);
    return ready;
}
