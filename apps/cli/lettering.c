/* Words on a picture: see lettering.h. */
#include "apps/cli/lettering.h"

#include <fontconfig/fontconfig.h>
#include <freetype/freetype.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#include "apps/cli/options.h"

struct lettering {
    FT_Library library;
    FT_Face face;
};

bool lettering_is_built(void)
{
    return true;
}

static FT_ULong next_character(const char **text)
{
    utf8proc_int32_t c;
    utf8proc_ssize_t n = utf8proc_iterate((const utf8proc_uint8_t *)*text, -1, &c);
    *text += n > 0 ? n : 1;
    return n > 0 ? (FT_ULong)c : 0xFFFD;
}

/* The file and face number of the font; *file is malloc'ed, NULL when there is none. */
static char *find_font(int *index, const char *sample)
{
    FcConfig *config = FcInitLoadConfigAndFonts();
    FcPattern *wanted = FcPatternCreate(), *found = NULL;
    FcCharSet *letters = FcCharSetCreate();
    char *file = NULL;
    if (config && wanted && letters) {
        while (*sample)
            FcCharSetAddChar(letters, (FcChar32)next_character(&sample));
        FcPatternAddString(wanted, FC_FAMILY, (const FcChar8 *)"sans-serif");
        FcPatternAddCharSet(wanted, FC_CHARSET, letters);
        FcPatternAddBool(wanted, FC_SCALABLE, FcTrue);
        FcConfigSubstitute(config, wanted, FcMatchPattern);
        FcDefaultSubstitute(wanted);
        FcResult result;
        FcChar8 *name = NULL;
        found = FcFontMatch(config, wanted, &result);
        if (found && FcPatternGetString(found, FC_FILE, 0, &name) == FcResultMatch)
            file = strdup((const char *)name);
        if (!found || FcPatternGetInteger(found, FC_INDEX, 0, index) != FcResultMatch)
            *index = 0;
    }
    if (found)
        FcPatternDestroy(found);
    if (wanted)
        FcPatternDestroy(wanted);
    if (letters)
        FcCharSetDestroy(letters);
    if (config)
        FcConfigDestroy(config);
    return file;
}

bool lettering_open(lettering **out, const char *sample, int height)
{
    int index = 0;
    char *file = find_font(&index, sample);
    if (!file) {
        complain("no font is installed, which words in pictures need; install one (Debian: fonts-dejavu-core)");
        return false;
    }
    lettering *l = calloc(1, sizeof *l);
    bool opened = l && FT_Init_FreeType(&l->library) == 0 && FT_New_Face(l->library, file, index, &l->face) == 0 &&
                  FT_Set_Pixel_Sizes(l->face, 0, (FT_UInt)height) == 0;
    if (!opened) {
        complain("%s: the font cannot be opened", file);
        lettering_close(l);
    } else {
        *out = l;
    }
    free(file);
    return opened;
}

void lettering_close(lettering *l)
{
    if (l && l->face)
        FT_Done_Face(l->face);
    if (l && l->library)
        FT_Done_FreeType(l->library);
    free(l);
}

/* Mixes the glyph that FreeType has drawn into the canvas, its origin at (x, baseline). */
static void paint(canvas *to, const FT_GlyphSlot glyph, int x, int baseline, const uint8_t colour[3])
{
    const FT_Bitmap *bitmap = &glyph->bitmap;
    for (int row = 0; row < (int)bitmap->rows; row++) {
        int v = baseline - glyph->bitmap_top + row;
        for (int column = 0; v >= 0 && v < to->height && column < (int)bitmap->width; column++) {
            int u = x + glyph->bitmap_left + column;
            if (u < 0 || u >= to->right)
                continue;
            int cover = bitmap->buffer[row * bitmap->pitch + column];
            uint8_t *pixel = to->rgb + ((size_t)v * (size_t)to->width + (size_t)u) * 3;
            for (int c = 0; c < 3; c++)
                pixel[c] = (uint8_t)((pixel[c] * (255 - cover) + colour[c] * cover + 127) / 255);
        }
    }
}

/* Walks along a line; paints when there is a canvas. */
static int walk(lettering *l, canvas *to, int x, int baseline, const char *text, const uint8_t *colour)
{
    FT_UInt before = 0;
    while (*text) {
        FT_UInt index = FT_Get_Char_Index(l->face, next_character(&text));
        FT_Vector kerning = {0, 0};
        if (before && FT_HAS_KERNING(l->face))
            FT_Get_Kerning(l->face, before, index, FT_KERNING_DEFAULT, &kerning);
        x += (int)(kerning.x / 64);
        before = index;
        if (FT_Load_Glyph(l->face, index, to ? FT_LOAD_RENDER : FT_LOAD_DEFAULT) != 0)
            continue;
        if (to && l->face->glyph->bitmap.pixel_mode == FT_PIXEL_MODE_GRAY)
            paint(to, l->face->glyph, x, baseline, colour);
        x += (int)(l->face->glyph->advance.x / 64);
    }
    return x;
}

int lettering_width(lettering *l, const char *text)
{
    return walk(l, NULL, 0, 0, text, NULL);
}

int lettering_write(lettering *l, canvas *to, int x, int baseline, const char *text, const uint8_t colour[3])
{
    return walk(l, to, x, baseline, text, colour);
}
