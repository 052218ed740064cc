/* What a model said about one picture: see telling.h. */
#include "apps/gui/telling.h"

#include <math.h>
#include <string.h>

#include "apps/common/confidence.h"
#include "apps/common/heat.h"
#include "apps/common/jpeg.h"

enum { PREVIEW_SIDE = 1024, THUMBNAIL_SIDE = 192, THUMBNAIL_QUALITY = 80 };

static GBytes *make_thumbnail(const lks_caption *caption)
{
    int width, height;
    picture_fit(&width, &height, caption, THUMBNAIL_SIDE, THUMBNAIL_SIDE);
    uint8_t *rgb = g_malloc_n((gsize)width * (gsize)height, 3);
    picture_scale(rgb, width, height, caption);
    size_t n = 0;
    unsigned char *jpeg = jpeg_encode(&n, rgb, width, height, 3, THUMBNAIL_QUALITY);
    g_free(rgb);
    return jpeg ? g_bytes_new_with_free_func(jpeg, n, free, jpeg) : NULL;
}

telling *telling_new(const lks_caption *caption, const char *model, double ms)
{
    const lks_sequence *best = &caption->sequences[0];
    gsize n_cells = (gsize)caption->grid_rows * (gsize)caption->grid_columns;
    telling *t = g_new0(telling, 1);
    g_atomic_ref_count_init(&t->references);
    t->text = g_strdup(best->text);
    t->model = g_strdup(model);
    char doubt[DOUBT_BYTES];
    t->doubt = caption_doubt(doubt, caption, NAN, false) ? g_strdup(doubt) : NULL;
    t->score = (double)best->score;
    t->confidence = caption_confidence(best);
    t->ms = ms;
    t->damaged = caption->damaged;
    t->logprobs = g_memdup2(best->logprobs, (gsize)best->n_tokens * sizeof *best->logprobs);
    t->n_tokens = best->n_tokens;
    t->n_words = best->n_words;
    t->words = g_new0(telling_word, (gsize)best->n_words + 1);
    for (int i = 0; i < best->n_words; i++)
        t->words[i] = (telling_word){.text = g_strdup(best->words[i].text),
                                     .sure = exp((double)best->words[i].logprob),
                                     .map = g_memdup2(best->words[i].map, n_cells * sizeof(float))};
    t->frame = (lks_caption){.grid_rows = caption->grid_rows,
                             .grid_columns = caption->grid_columns,
                             .width = caption->width,
                             .height = caption->height,
                             .grid_box = caption->grid_box};
    t->thumbnail = make_thumbnail(caption);
    return t;
}

telling *telling_ref(telling *t)
{
    g_atomic_ref_count_inc(&t->references);
    return t;
}

void telling_unref(telling *t)
{
    if (!t || !g_atomic_ref_count_dec(&t->references))
        return;
    for (int i = 0; i < t->n_words; i++) {
        g_free(t->words[i].text);
        g_free(t->words[i].map);
    }
    g_free(t->words);
    g_free(t->logprobs);
    g_free(t->text);
    g_free(t->model);
    g_free(t->doubt);
    g_clear_pointer(&t->thumbnail, g_bytes_unref);
    g_free(t);
}

lks_caption telling_as_caption(const telling *t, lks_sequence *sequence, const char *text)
{
    *sequence =
        (lks_sequence){.text = text, .score = (float)t->score, .n_tokens = t->n_tokens, .logprobs = t->logprobs};
    lks_caption caption = t->frame;
    caption.damaged = t->damaged;
    caption.n_sequences = 1;
    caption.sequences = sequence;
    return caption;
}

static GdkTexture *make_texture(GBytes *rgb, int width, int height)
{
    return gdk_memory_texture_new(width, height, GDK_MEMORY_R8G8B8, rgb, (gsize)width * 3);
}

preview *preview_new(const lks_caption *caption)
{
    preview *p = g_new0(preview, 1);
    g_atomic_ref_count_init(&p->references);
    picture_fit(&p->width, &p->height, caption, PREVIEW_SIDE, PREVIEW_SIDE);
    gsize n = (gsize)p->width * (gsize)p->height * 3;
    uint8_t *rgb = g_malloc(n);
    picture_scale(rgb, p->width, p->height, caption);
    p->rgb = g_bytes_new_take(rgb, n);
    p->texture = make_texture(p->rgb, p->width, p->height);
    return p;
}

preview *preview_ref(preview *p)
{
    g_atomic_ref_count_inc(&p->references);
    return p;
}

void preview_unref(preview *p)
{
    if (!p || !g_atomic_ref_count_dec(&p->references))
        return;
    g_object_unref(p->texture);
    g_bytes_unref(p->rgb);
    g_free(p);
}

GdkTexture *preview_glow(const preview *p, const telling *t, int word)
{
    gsize n = (gsize)p->width * (gsize)p->height;
    const uint8_t *rgb = g_bytes_get_data(p->rgb, NULL);
    float *heat = g_new(float, n);
    uint8_t *lit = g_malloc(3 * n);
    heat_fill(heat, p->width, p->height, &t->frame, t->words[word].map);
    for (gsize i = 0; i < n; i++)
        heat_glow(lit + 3 * i, rgb + 3 * i, heat[i]);
    g_free(heat);
    GBytes *bytes = g_bytes_new_take(lit, 3 * n);
    GdkTexture *texture = make_texture(bytes, p->width, p->height);
    g_bytes_unref(bytes);
    return texture;
}
