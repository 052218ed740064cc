/* An explanation as one page that needs nothing else: pointing at a word, or reaching it with the Tab key, darkens the picture
 * where the model did not look for it. The masks are grey pictures that the browser multiplies with the photo. There is no
 * script, and the page's own policy forbids any. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "apps/cli/explain.h"
#include "apps/cli/options.h"
#include "apps/common/heat.h"
#include "apps/common/html.h"

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
        html_write_text(to, between ? between : " ");
        free(between);
        fprintf(to, "<button type=\"button\" class=\"word w%d\" title=\"%.0f %% sure\">", i,
                100.0 * exp((double)word->logprob));
        html_write_text(to, word->text);
        fputs("</button>", to);
        at = begin + strlen(word->text);
    }
    html_write_text(to, at);
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
        html_write_jpeg(to, mask, width, height, 1, MASK_QUALITY);
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
        html_write_text(to, s->text);
        fprintf(to, "</title>\n<style>\n%s", style);
        write_rules(to, s->n_words);
        fputs("</style>\n</head>\n<body>\n<main>\n", to);
        write_words(to, s);
        fprintf(to, "\n<figure style=\"width:min(100%%,%dpx)\">\n<img width=\"%d\" height=\"%d\" alt=\"",
                width < MIN_SHOWN ? MIN_SHOWN : width, width, height);
        html_write_text(to, s->text);
        fputc('"', to);
        html_write_jpeg(to, rgb, width, height, 3, PICTURE_QUALITY);
        fputs(">\n", to);
        write_masks(to, e, heat, mask, mask_width, mask_height);
        fputs("</figure>\n<p class=\"about\">Point at a word, or press Tab, to see where the model looked when it said "
              "it. ",
              to);
        const char *slash = strrchr(e->image, '/');
        html_write_text(to, slash ? slash + 1 : e->image);
        fputs(", ", to);
        html_write_text(to, e->model);
        fputs(", Looksay " LKS_VERSION "</p>\n</main>\n</body>\n</html>\n", to);
    } else {
        complain("%s: out of memory for the page", e->image);
    }
    free(rgb);
    free(heat);
    free(mask);
    return ready;
}
