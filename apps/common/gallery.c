/* Captions as one page: see gallery.h. */
#include "apps/common/gallery.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>

#include "apps/common/confidence.h"
#include "apps/common/heat.h"
#include "apps/common/html.h"

enum { THUMBNAIL_SIDE = 288, THUMBNAIL_QUALITY = 75 };

/* The page's policy lets only this script run: whatever a file name holds, it is no program. */
static const char script[] =
    "addEventListener(\"DOMContentLoaded\", () => {\n"
    "  const box = document.querySelector(\"input\"), count = document.querySelector(\"output\");\n"
    "  const all = [...document.querySelectorAll(\"figure\")].map(f => [f, f.textContent.toLowerCase()]);\n"
    "  const show = () => {\n"
    "    const words = box.value.toLowerCase().split(/\\s+/);\n"
    "    let n = 0;\n"
    "    for (const [figure, text] of all) {\n"
    "      figure.hidden = !words.every(word => text.includes(word));\n"
    "      n += !figure.hidden;\n"
    "    }\n"
    "    count.textContent = n + \" of \" + all.length;\n"
    "  };\n"
    "  box.addEventListener(\"input\", show);\n"
    "  box.form.hidden = false;\n"
    "  show();\n"
    "});\n";
#define SCRIPT_SHA256 "QTCYPdemFJZJXRuuDPSDyYiz3ZTYiVmq7Mu/pxH0+C8="

static const char style[] = "body{font:1rem/1.5 system-ui,sans-serif;margin:1rem}\n"
                            "main{display:grid;grid-template-columns:repeat(auto-fill,minmax(15rem,1fr));gap:1rem}\n"
                            "figure{margin:0;padding:.5rem;border:1px solid "
                            "#8886;border-radius:.4rem;content-visibility:auto;contain-intrinsic-size:15rem 20rem}\n"
                            "figure[hidden]{display:none}\n"
                            "img{display:block;max-width:100%;height:auto;margin:0 auto .4rem}\n"
                            "small{display:block;opacity:.75;overflow-wrap:anywhere}\n"
                            "meter{width:4rem}\n"
                            ".failed{border-style:dashed}\n";

void gallery_begin(FILE *to)
{
    fprintf(to,
            "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
            "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
            "<meta name=\"color-scheme\" content=\"light dark\">\n"
            "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; img-src data:; "
            "style-src 'unsafe-inline'; script-src 'sha256-" SCRIPT_SHA256 "'\">\n"
            "<title>Captions</title>\n<style>\n%s</style>\n<script>%s</script>\n</head>\n<body>\n"
            "<form hidden><p><label>Search <input type=\"search\" autofocus></label> "
            "<output></output></p></form>\n<main>\n",
            style, script);
}

static void write_thumbnail(FILE *to, const lks_caption *caption, const char *text)
{
    int width, height;
    picture_fit(&width, &height, caption, THUMBNAIL_SIDE, THUMBNAIL_SIDE);
    uint8_t *rgb = malloc((size_t)width * (size_t)height * 3);
    if (!rgb)
        return;
    picture_scale(rgb, width, height, caption);
    fprintf(to, "<img width=\"%d\" height=\"%d\" alt=\"", width, height);
    html_write_text(to, text);
    fputc('"', to);
    html_write_jpeg(to, rgb, width, height, 3, THUMBNAIL_QUALITY);
    fputs(">\n", to);
    free(rgb);
}

/* A name cannot turn the direction of what stands after it. */
static void write_name(FILE *to, const char *image)
{
    fputs("<bdi>", to);
    html_write_text(to, image);
    fputs("</bdi>", to);
}

void gallery_add(FILE *to, const char *image, const lks_caption *caption)
{
    fputs("<figure>\n", to);
    write_thumbnail(to, caption, caption->sequences[0].text);
    fputs("<figcaption>", to);
    for (int i = 0; i < caption->n_sequences; i++) {
        const lks_sequence *s = &caption->sequences[i];
        bool calibrated = !isnan(s->confidence);
        double sure = calibrated ? s->confidence : caption_confidence(s);
        html_write_text(to, s->text);
        fprintf(to, "\n<small title=\"%s\"><meter value=\"%.3f\"></meter> %.0f %%</small>\n",
                calibrated ? "probability that the caption is good" : "mean probability of a token", sure,
                100.0 * sure);
    }
    fputs("<small>", to);
    write_name(to, image);
    fputs("</small></figcaption>\n</figure>\n", to);
}

void gallery_add_uncertain(FILE *to, const char *image, const lks_caption *caption, const char *reason)
{
    fputs("<figure class=\"failed\">\n", to);
    write_thumbnail(to, caption, "");
    fputs("<figcaption>uncertain: ", to);
    html_write_text(to, reason);
    fputs("\n<small>", to);
    write_name(to, image);
    fputs("</small></figcaption>\n</figure>\n", to);
}

void gallery_add_error(FILE *to, const char *image, const char *message)
{
    fputs("<figure class=\"failed\">\n<figcaption>", to);
    html_write_text(to, message);
    fputs("\n<small>", to);
    write_name(to, image);
    fputs("</small></figcaption>\n</figure>\n", to);
}

void gallery_end(FILE *to)
{
    fputs("</main>\n</body>\n</html>\n", to);
}
