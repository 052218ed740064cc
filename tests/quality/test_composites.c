/* Does a word's map point at the right place? Pairs of the sample photos, side by side and one above the other, each both ways
 * round: a map that does not depend on the picture is right exactly half the time. What the model must say is a word that it says of
 * one photo alone and not of the other, right or wrong: whatever it goes by is in that photo, and most of the word's map must lie
 * on it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "apps/captioner/looksay.h"

#define MODEL "assets/model/looksay.gguf"

enum { SIDE = 256, N_PHOTOS = 7, MIN_LETTERS = 4, MIN_COMPOSITES = 50, MIN_WORDS = 80 };

static const char *const photos[N_PHOTOS] = {
    "assets/photos/astronaut.jpg", "assets/photos/camera.jpg", "assets/photos/chelsea.jpg", "assets/photos/china.jpg",
    "assets/photos/coffee.jpg",    "assets/photos/flower.jpg", "assets/photos/rocket.jpg",
};

typedef struct sample {
    lks_caption *caption;
    uint8_t middle[SIDE][SIDE][3]; /* the photo's middle square */
} sample;

typedef struct tally {
    int n_composites, n_words, n_right;
    double mass;
} tally;

static lks_error err;

static void ok(lks_status st)
{
    if (st != LKS_OK)
        fail_msg("%s", err.message);
}

static void sample_open(sample *s, lks_session *session, const lks_caption_options *options, const char *path)
{
    ok(lks_caption_file(session, &s->caption, path, options, &err));
    const lks_caption *c = s->caption;
    int side = c->width < c->height ? c->width : c->height;
    for (int y = 0; y < SIDE; y++)
        for (int x = 0; x < SIDE; x++) {
            const int from_x = (c->width - side) / 2 + x * side / SIDE,
                      from_y = (c->height - side) / 2 + y * side / SIDE;
            memcpy(s->middle[y][x], c->picture + ((size_t)from_y * (size_t)c->width + (size_t)from_x) * 3, 3);
        }
}

static const lks_word *find_word(const lks_caption *caption, const char *text)
{
    const lks_sequence *s = caption->sequences;
    for (int i = 0; i < s->n_words; i++)
        if (strcmp(s->words[i].text, text) == 0)
            return &s->words[i];
    return NULL;
}

/* The first long word that is said of `a` and not of `b`, or NULL. */
static const char *own_word(const sample *a, const sample *b)
{
    const lks_sequence *s = a->caption->sequences;
    for (int i = 0; i < s->n_words; i++)
        if (strlen(s->words[i].text) >= MIN_LETTERS && !find_word(b->caption, s->words[i].text))
            return s->words[i].text;
    return NULL;
}

/* The mass of a map in the left (upper) half of the grid. */
static double first_half(const lks_caption *c, const float *map, int upright)
{
    double mass = 0.0;
    for (int row = 0; row < c->grid_rows; row++)
        for (int column = 0; column < c->grid_columns; column++)
            if (upright ? 2 * row < c->grid_rows : 2 * column < c->grid_columns)
                mass += (double)map[row * c->grid_columns + column];
    return mass;
}

/* Shows `first` left of (above) `second` and asks for one word of each. */
static void ask(tally *t, lks_session *session, const lks_caption_options *defaults, const sample *first,
                const sample *second, int upright)
{
    static uint8_t rgb[2 * SIDE * SIDE * 3];
    size_t row = SIDE * 3;
    for (size_t y = 0; y < SIDE; y++) {
        memcpy(rgb + (upright ? y * row : 2 * y * row), first->middle[y], row);
        memcpy(rgb + (upright ? (SIDE + y) * row : (2 * y + 1) * row), second->middle[y], row);
    }
    const char *words[2] = {own_word(first, second), own_word(second, first)};
    lks_caption_options options = *defaults;
    options.required = words[0] ? words : words + 1;
    options.n_required = (size_t)(words[0] != NULL) + (size_t)(words[1] != NULL);
    lks_caption *caption;
    int width = upright ? SIDE : 2 * SIDE;
    ok(lks_caption_rgb(session, &caption, rgb, width, 2 * SIDE * SIDE / width, (size_t)width * 3, &options, &err));
    for (int i = 0; i < 2; i++) {
        const lks_word *said = words[i] ? find_word(caption, words[i]) : NULL;
        if (!said)
            continue;
        double mass = first_half(caption, said->map, upright);
        mass = i == 0 ? mass : 1.0 - mass;
        t->n_words++;
        t->n_right += mass > 0.5;
        t->mass += mass;
    }
    lks_caption_free(caption);
    t->n_composites++;
}

static void test_words_point_at_their_photo(void **state)
{
    (void)state;
    lks_model *model;
    lks_session *session;
    lks_caption_options options;
    ok(lks_model_open(&model, MODEL, NULL, &err));
    ok(lks_session_open(&session, model, NULL, &err));
    lks_caption_options_init(&options, model);
    options.keep_maps = options.keep_picture = 1;
    sample *samples = calloc(N_PHOTOS, sizeof *samples);
    assert_non_null(samples);
    for (int i = 0; i < N_PHOTOS; i++)
        sample_open(&samples[i], session, &options, photos[i]);
    options.n_beams = options.n_beams > 1 ? options.n_beams : 3; /* required words need beams */
    options.keep_picture = 0;
    tally t = {0};
    for (int a = 0; a < N_PHOTOS; a++)
        for (int b = 0; b < N_PHOTOS; b++)
            for (int upright = 0; a != b && upright < 2; upright++)
                ask(&t, session, &options, &samples[a], &samples[b], upright);
    print_message(
        "%d words on %d composites: %.3f have most of their map on their photo (chance 0.5), mean mass %.3f\n",
        t.n_words, t.n_composites, (double)t.n_right / t.n_words, t.mass / t.n_words);
    assert_true(t.n_composites >= MIN_COMPOSITES);
    assert_true(t.n_words >= MIN_WORDS);
    assert_true(t.n_right >= 0.62 * t.n_words); /* by chance: once in 60 times of 80 words, in 1000 of 160 */
    assert_true(t.mass >= 0.55 * t.n_words);
    for (int i = 0; i < N_PHOTOS; i++)
        lks_caption_free(samples[i].caption);
    free(samples);
    lks_session_close(session);
    lks_model_close(model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_words_point_at_their_photo)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
