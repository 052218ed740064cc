/* An explanation as one PNG: the picture, then the picture once for each word with a glow where the model looked, the word and how sure
 * it was written below. */
#include <math.h>
#include <spng.h>
#include <stdlib.h>
#include <string.h>

#include "apps/cli/explain.h"
#include "apps/cli/lettering.h"
#include "apps/cli/options.h"
#include "apps/common/heat.h"

enum { CELL = 320, MAX_CELL = 640, GAP = 16, LETTERS = 22, LABEL = 40, MAX_CELLS = 4096, SHARE_BYTES = 32 };

static const uint8_t background[3] = {18, 18, 20}, ink[3] = {245, 245, 245}, faint[3] = {150, 150, 155};

typedef struct sheet {
    canvas canvas;
    int columns, rows;
    int cell_width;    /* room for the picture and for the longest label, which is cut off when it is too long */
    int width, height; /* of a picture */
    uint8_t *picture;  /* [height, width, 3] */
    float *heat;       /* [height, width] */
    lettering *letters;
} sheet;

static void print_share(char out[SHARE_BYTES], const lks_word *word)
{
    snprintf(out, SHARE_BYTES, "  %.0f %%", 100.0 * exp((double)word->logprob));
}

static int label_width(const sheet *s, const lks_word *word)
{
    char share[SHARE_BYTES];
    print_share(share, word);
    return lettering_width(s->letters, word->text) + lettering_width(s->letters, share);
}

static bool open_sheet(sheet *s, const explanation *e)
{
    int n = e->sequence->n_words + 1;
    picture_fit(&s->width, &s->height, e->caption, CELL, CELL);
    if (!lettering_open(&s->letters, e->sequence->text, LETTERS))
        return false;
    s->cell_width = s->width;
    for (int i = 1; i < n; i++) {
        int taken = label_width(s, &e->sequence->words[i - 1]);
        s->cell_width = taken > s->cell_width ? taken : s->cell_width;
    }
    s->cell_width = s->cell_width > MAX_CELL ? MAX_CELL : s->cell_width;
    s->columns = (int)ceil(sqrt(n * 1.5 * (s->height + LABEL) / (s->cell_width + GAP)));
    s->columns = s->columns < 1 ? 1 : s->columns > n ? n : s->columns;
    s->rows = (n + s->columns - 1) / s->columns;
    s->canvas.width = GAP + s->columns * (s->cell_width + GAP);
    s->canvas.height = GAP + s->rows * (s->height + LABEL);
    size_t n_pixels = (size_t)s->canvas.width * (size_t)s->canvas.height,
           n_picture = (size_t)s->width * (size_t)s->height;
    s->canvas.rgb = malloc(n_pixels * 3);
    s->picture = malloc(n_picture * 3);
    s->heat = malloc(n_picture * sizeof *s->heat);
    if (!s->canvas.rgb || !s->picture || !s->heat) {
        complain("%s: out of memory for the sheet", e->image);
        return false;
    }
    for (size_t i = 0; i < n_pixels; i++)
        memcpy(s->canvas.rgb + 3 * i, background, 3);
    picture_scale(s->picture, s->width, s->height, e->caption);
    return true;
}

static void close_sheet(sheet *s)
{
    lettering_close(s->letters);
    free(s->canvas.rgb);
    free(s->picture);
    free(s->heat);
}

/* The upper left corner of cell i. */
static void find_cell(int *x, int *y, const sheet *s, int i)
{
    *x = GAP + i % s->columns * (s->cell_width + GAP);
    *y = GAP + i / s->columns * (s->height + LABEL);
}

/* In the middle of the cell at (x, y); map NULL: the picture as it is. */
static void paint_picture(sheet *s, int x, int y, const lks_caption *caption, const float *map)
{
    if (map)
        heat_fill(s->heat, s->width, s->height, caption, map);
    x += (s->cell_width - s->width) / 2;
    for (int v = 0; v < s->height; v++) {
        uint8_t *to = s->canvas.rgb + ((size_t)(y + v) * (size_t)s->canvas.width + (size_t)x) * 3;
        const uint8_t *from = s->picture + (size_t)v * (size_t)s->width * 3;
        const float *heat = s->heat + (size_t)v * (size_t)s->width;
        for (int u = 0; u < s->width; u++)
            if (map)
                heat_glow(to + 3 * u, from + 3 * u, heat[u]);
            else
                memcpy(to + 3 * u, from + 3 * u, 3);
    }
}

/* The word in the middle below the picture, and how likely it was. */
static void write_label(sheet *s, int x, int y, const lks_word *word)
{
    char share[SHARE_BYTES];
    print_share(share, word);
    int taken = label_width(s, word), indent = taken < s->cell_width ? (s->cell_width - taken) / 2 : 0;
    int baseline = y + s->height + LETTERS + 4;
    s->canvas.right = x + s->cell_width;
    int end = lettering_write(s->letters, &s->canvas, x + indent, baseline, word->text, ink);
    lettering_write(s->letters, &s->canvas, end, baseline, share, faint);
}

/* PNG of the canvas; an error of the stream is left to whoever closes it. */
static bool encode(FILE *to, const canvas *c)
{
    spng_ctx *png = spng_ctx_new(SPNG_CTX_ENCODER);
    struct spng_ihdr header = {.width = (uint32_t)c->width,
                               .height = (uint32_t)c->height,
                               .bit_depth = 8,
                               .color_type = SPNG_COLOR_TYPE_TRUECOLOR};
    size_t n = (size_t)c->width * (size_t)c->height * 3;
    int failed = png ? spng_set_png_file(png, to) : SPNG_EMEM;
    if (!failed)
        failed = spng_set_ihdr(png, &header);
    if (!failed)
        failed = spng_encode_image(png, c->rgb, n, SPNG_FMT_PNG, SPNG_ENCODE_FINALIZE);
    spng_ctx_free(png);
    if (failed && !ferror(to))
        complain("the sheet cannot be encoded: %s", spng_strerror(failed));
    return !failed || ferror(to);
}

bool explain_write_png(FILE *to, const explanation *e)
{
    const lks_sequence *sequence = e->sequence;
    if (sequence->n_words >= MAX_CELLS) {
        complain("%s: %d words are too many for one sheet; write .html or .json", e->image, sequence->n_words);
        return false;
    }
    sheet s = {0};
    bool done = open_sheet(&s, e);
    for (int i = 0; done && i <= sequence->n_words; i++) {
        const lks_word *word = i > 0 ? &sequence->words[i - 1] : NULL;
        int x, y;
        find_cell(&x, &y, &s, i);
        paint_picture(&s, x, y, e->caption, word ? word->map : NULL);
        if (word)
            write_label(&s, x, y, word);
    }
    done = done && encode(to, &s.canvas);
    close_sheet(&s);
    return done;
}
