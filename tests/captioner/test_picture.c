/* Pictures that are no photos are told from photos by their pixels. */
#include <glob.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "apps/captioner/looksay.h"

#define MODEL "tests/parity/models/vit-gpt2-bin"

enum { WIDTH = 320, HEIGHT = 240 };

static lks_model *model;
static lks_session *session;
static lks_caption_options options;
static uint8_t pixels[HEIGHT][WIDTH][3];
static uint32_t dice;

static unsigned roll(unsigned sides)
{
    dice = dice * 1664525u + 1013904223u;
    return (dice >> 8) % sides;
}

static int set_up(void **state)
{
    (void)state;
    lks_error err;
    if (lks_model_open(&model, MODEL, NULL, &err) != LKS_OK || lks_session_open(&session, model, NULL, &err) != LKS_OK)
        return -1;
    lks_caption_options_init(&options, model);
    options.max_tokens = 1;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    lks_session_close(session);
    lks_model_close(model);
    return 0;
}

static lks_picture_kind kind_of(int width, int height)
{
    lks_caption *caption;
    lks_error err = {.message = ""};
    if (lks_caption_rgb(session, &caption, &pixels[0][0][0], width, height, sizeof pixels[0], &options, &err) != LKS_OK)
        fail_msg("%s", err.message);
    lks_picture_kind kind = caption->kind;
    lks_caption_free(caption);
    return kind;
}

static void box(int x, int y, int w, int h, unsigned r, unsigned g, unsigned b)
{
    for (int j = y; j < y + h && j < HEIGHT; j++)
        for (int i = x; i < x + w && i < WIDTH; i++) {
            pixels[j][i][0] = (uint8_t)r;
            pixels[j][i][1] = (uint8_t)g;
            pixels[j][i][2] = (uint8_t)b;
        }
}

/* Lines of words: small dark strokes. */
static void write_lines(int x, int y, int w, int h)
{
    for (int line = y; line + 9 < y + h; line += 14)
        for (int at = x; at + 6 < x + w; at += 6)
            if (roll(6) > 0)
                for (int k = 0; k < 3; k++)
                    box(at + (int)roll(4), line + (int)roll(5), roll(2) ? 1 : 4, roll(2) ? 1 : 6, 20, 20, 30);
}

static void grain(unsigned most)
{
    for (int y = 0; y < HEIGHT; y++)
        for (int x = 0; x < WIDTH; x++)
            for (int c = 0; c < 3; c++) {
                int v = pixels[y][x][c] + (int)roll(most + 1) - (int)(most / 2);
                pixels[y][x][c] = (uint8_t)(v < 0 ? 0 : v > 255 ? 255 : v);
            }
}

static void test_blank(void **state)
{
    (void)state;
    for (unsigned colour = 0; colour < 256; colour += 51) {
        box(0, 0, WIDTH, HEIGHT, colour, 255 - colour, colour / 2);
        assert_int_equal(kind_of(WIDTH, HEIGHT), LKS_PICTURE_BLANK);
        grain(8); /* the lid is on the lens */
        assert_int_equal(kind_of(WIDTH, HEIGHT), LKS_PICTURE_BLANK);
        box(100, 100, 2, 2, 255 - colour, 0, 0); /* dust */
        assert_int_equal(kind_of(WIDTH, HEIGHT), LKS_PICTURE_BLANK);
    }
}

static void test_noise(void **state)
{
    (void)state;
    for (int k = 0; k < 5; k++) {
        for (int y = 0; y < HEIGHT; y++)
            for (int x = 0; x < WIDTH; x++)
                for (int c = 0; c < 3; c++)
                    pixels[y][x][c] =
                        k < 2 || c == 0 ? (uint8_t)(40 + roll(216)) : pixels[y][x][0]; /* coloured; grey */
        assert_int_equal(kind_of(WIDTH, HEIGHT), LKS_PICTURE_NOISE);
        assert_int_equal(kind_of(64, 48), LKS_PICTURE_NOISE);
    }
}

static void test_screens_and_drawings(void **state)
{
    (void)state;
    for (int k = 0; k < 5; k++) {
        box(0, 0, WIDTH, HEIGHT, 255, 255, 255); /* a page */
        write_lines(10, 10, WIDTH - 20, HEIGHT - 20);
        assert_int_equal(kind_of(WIDTH, HEIGHT), LKS_PICTURE_DRAWING);

        box(0, 0, WIDTH, HEIGHT, roll(256), roll(256), roll(256)); /* windows */
        for (int w = 0; w < 3; w++) {
            int x = (int)roll(120), y = (int)roll(90);
            box(x, y, 190, 140, 245, 245, 240);
            box(x, y, 190, 16, 60, 90, roll(200));
            write_lines(x + 6, y + 22, 178, 110);
        }
        assert_int_equal(kind_of(WIDTH, HEIGHT), LKS_PICTURE_DRAWING);

        box(0, 0, WIDTH, HEIGHT, 250, 250, 250); /* a chart */
        for (int bar = 0; bar < 8; bar++) {
            int h = 20 + (int)roll(180);
            box(20 + bar * 36, HEIGHT - h, 24, h, roll(230), roll(230), roll(230));
        }
        assert_int_equal(kind_of(WIDTH, HEIGHT), LKS_PICTURE_DRAWING);
    }
}

static void test_photos(void **state)
{
    (void)state;
    glob_t photos;
    assert_int_equal(glob("assets/photos/*.jpg", 0, NULL, &photos), 0);
    assert_true(photos.gl_pathc >= 6);
    for (size_t i = 0; i < photos.gl_pathc; i++) {
        lks_caption *caption;
        lks_error err = {.message = ""};
        if (lks_caption_file(session, &caption, photos.gl_pathv[i], &options, &err) != LKS_OK)
            fail_msg("%s", err.message);
        assert_int_equal(caption->kind, LKS_PICTURE_PHOTO);
        lks_caption_free(caption);
    }
    globfree(&photos);
    for (int y = 0; y < HEIGHT; y++) /* a sky over a sea: smooth, but shaded and grained */
        for (int x = 0; x < WIDTH; x++) {
            pixels[y][x][0] = (uint8_t)(y < 120 ? 90 + y / 2 : 20);
            pixels[y][x][1] = (uint8_t)(y < 120 ? 140 + y / 2 : 60 + x / 16);
            pixels[y][x][2] = (uint8_t)(y < 120 ? 200 + y / 3 : 120);
        }
    grain(6);
    assert_int_equal(kind_of(WIDTH, HEIGHT), LKS_PICTURE_PHOTO);
    box(0, 0, 8, 8, 0, 0, 0); /* too small to say anything of */
    assert_int_equal(kind_of(8, 8), LKS_PICTURE_PHOTO);
}

static uint8_t *read_file(size_t *n_bytes, const char *path)
{
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    assert_int_equal(fseek(file, 0, SEEK_END), 0);
    *n_bytes = (size_t)ftell(file);
    rewind(file);
    uint8_t *bytes = malloc(*n_bytes);
    assert_non_null(bytes);
    assert_int_equal(fread(bytes, 1, *n_bytes, file), *n_bytes);
    fclose(file);
    return bytes;
}

/* Of a file only the first hundredths are there: what can be read of it is of this kind. */
static void assert_cut(const uint8_t *bytes, size_t n, const char *name, size_t hundredths, lks_picture_kind kind)
{
    lks_caption *caption;
    lks_error err = {.message = ""};
    lks_caption_options lenient = options;
    lenient.lenient = 1;
    if (lks_caption_bytes(session, &caption, bytes, n * hundredths / 100, name, &lenient, &err) != LKS_OK)
        fail_msg("%zu %% of %s: %s", hundredths, name, err.message);
    if (!caption->damaged || caption->kind != kind)
        fail_msg("%zu %% of %s: damaged %d, kind %d", hundredths, name, caption->damaged, (int)caption->kind);
    lks_caption_free(caption);
}

static void assert_file_cut(const char *path, size_t hundredths, lks_picture_kind kind)
{
    size_t n;
    uint8_t *bytes = read_file(&n, path);
    assert_cut(bytes, n, path, hundredths, kind);
    free(bytes);
}

/* What was never read is of one colour: that says nothing of the part that was. */
static void test_damaged_pictures(void **state)
{
    (void)state;
    for (int y = 0; y < HEIGHT; y++)
        for (int x = 0; x < WIDTH; x++)
            for (int c = 0; c < 3; c++)
                pixels[y][x][c] = (uint8_t)(60 + x / 3 + y / 4);
    grain(8);
    static uint8_t file[sizeof pixels + 32];
    const size_t head = (size_t)sprintf((char *)file, "P6 %d %d 255\n", WIDTH, HEIGHT), n = head + sizeof pixels;
    memcpy(file + head, pixels, sizeof pixels);
    for (size_t hundredths = 10; hundredths < 100; hundredths += 10)
        assert_cut(file, n, "shades.ppm", hundredths, LKS_PICTURE_PHOTO);
    assert_cut(file, n, "shades.ppm", 4, LKS_PICTURE_BLANK); /* too little to say anything of */
#ifndef LKS_PORTABLE
    /* stb_image, of a portable build, gives these files up */
    static const char *const photos[] = {"astronaut", "chelsea", "china", "coffee", "flower"};
    for (size_t i = 0; i < sizeof photos / sizeof *photos; i++)
        for (size_t hundredths = 20; hundredths < 100; hundredths += 15) {
            char path[64];
            snprintf(path, sizeof path, "assets/photos/%s.jpg", photos[i]);
            assert_file_cut(path, hundredths, LKS_PICTURE_PHOTO);
        }
    for (size_t hundredths = 10; hundredths < 100; hundredths += 15)
        assert_file_cut("assets/screenshots/window.png", hundredths, LKS_PICTURE_DRAWING);
#endif
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_blank), cmocka_unit_test(test_noise),
                                       cmocka_unit_test(test_screens_and_drawings), cmocka_unit_test(test_photos),
                                       cmocka_unit_test(test_damaged_pictures)};
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
