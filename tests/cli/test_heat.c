/* Maps laid over pictures: where a patch's heat appears for squashed, cropped and padded pictures, and how pictures are scaled. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "apps/common/heat.h"

enum { ROWS = 4, COLUMNS = 6 };

/* The centre of the heat that one patch makes on a picture shown with width x height pixels, in parts of the picture. */
static void center_of_heat(double *x, double *y, const lks_caption *caption, int row, int column, int width, int height)
{
    float map[ROWS * COLUMNS] = {0};
    map[row * COLUMNS + column] = 1.0f;
    float *heat = malloc((size_t)(width * height) * sizeof *heat);
    assert_non_null(heat);
    heat_fill(heat, width, height, caption, map);
    double sum = 0.0, highest = 0.0;
    *x = *y = 0.0;
    for (int v = 0; v < height; v++)
        for (int u = 0; u < width; u++) {
            double h = (double)heat[v * width + u];
            assert_true(h >= 0.0 && h <= 1.0);
            highest = fmax(highest, h);
            sum += h;
            *x += h * (u + 0.5) / width;
            *y += h * (v + 0.5) / height;
        }
    assert_true(highest == 1.0);
    *x /= sum;
    *y /= sum;
    free(heat);
}

static lks_caption picture_of(int width, int height, lks_box box)
{
    return (lks_caption){.width = width, .height = height, .grid_rows = ROWS, .grid_columns = COLUMNS, .grid_box = box};
}

/* A patch away from the border: its heat is symmetric around its middle. */
static void check_patch(const lks_caption *caption, int row, int column)
{
    const lks_box *box = &caption->grid_box;
    double x, y;
    center_of_heat(&x, &y, caption, row, column, 240, 160);
    assert_true(fabs(x - (box->x + (column + 0.5) * box->width / COLUMNS) / caption->width) < 0.005);
    assert_true(fabs(y - (box->y + (row + 0.5) * box->height / ROWS) / caption->height) < 0.005);
}

static void test_squashed(void **state)
{
    (void)state;
    lks_caption caption = picture_of(600, 400, (lks_box){0, 0, 600, 400});
    for (int row = 1; row < ROWS - 1; row++)
        for (int column = 1; column < COLUMNS - 1; column++)
            check_patch(&caption, row, column);
}

static void test_cropped(void **state)
{
    (void)state;
    lks_caption caption = picture_of(900, 400, (lks_box){150, 0, 600, 400});
    check_patch(&caption, 1, 1);
    check_patch(&caption, 2, 4);
    /* nothing left and right of what the model saw */
    float map[ROWS * COLUMNS], heat[90 * 40];
    for (int i = 0; i < ROWS * COLUMNS; i++)
        map[i] = 1.0f / (ROWS * COLUMNS);
    heat_fill(heat, 90, 40, &caption, map);
    for (int y = 0; y < 40; y++)
        for (int x = 0; x < 90; x++)
            assert_true(x < 15 || x >= 75 ? heat[y * 90 + x] == 0.0f : fabsf(heat[y * 90 + x] - 1.0f) < 1e-5f);
}

static void test_padded(void **state)
{
    (void)state;
    /* The grid reaches 100 pixels beyond the picture on the left and 50 above: patch (1, 2) begins at (100, 50). */
    lks_caption caption = picture_of(400, 300, (lks_box){-100, -50, 600, 400});
    float map[ROWS * COLUMNS] = {0}, heat[40 * 30];
    map[1 * COLUMNS + 2] = 1.0f;
    heat_fill(heat, 40, 30, &caption, map);
    for (int y = 0; y < 30; y++)
        for (int x = 0; x < 40; x++) {
            bool inside = x >= 10 && x < 20 && y >= 5 && y < 15;
            assert_true(inside || heat[y * 40 + x] < heat[9 * 40 + 14]);
        }
    assert_true(heat[9 * 40 + 14] > 0.98f);
}

static void test_a_map_of_zeros(void **state)
{
    (void)state;
    lks_caption caption = picture_of(10, 10, (lks_box){0, 0, 10, 10});
    float map[ROWS * COLUMNS] = {0}, heat[100];
    heat_fill(heat, 10, 10, &caption, map);
    for (int i = 0; i < 100; i++)
        assert_true(heat[i] == 0.0f);
}

static void test_fit(void **state)
{
    (void)state;
    static const int cases[][6] = {/* picture, room, result */
                                   {640, 480, 320, 320, 320, 240},
                                   {480, 640, 320, 320, 240, 320},
                                   {100, 50, 320, 320, 100, 50},
                                   {10000, 1, 320, 320, 320, 1},
                                   {1, 10000, 320, 320, 1, 320}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        lks_caption caption = {.width = cases[i][0], .height = cases[i][1]};
        int width, height;
        picture_fit(&width, &height, &caption, cases[i][2], cases[i][3]);
        assert_int_equal(width, cases[i][4]);
        assert_int_equal(height, cases[i][5]);
    }
}

static void test_scale(void **state)
{
    (void)state;
    uint8_t picture[5 * 3 * 3], small[2 * 2 * 3], same[sizeof picture];
    for (size_t i = 0; i < sizeof picture; i++)
        picture[i] = (uint8_t)(i * 5);
    lks_caption caption = {.width = 5, .height = 3, .picture = picture};
    picture_scale(same, 5, 3, &caption);
    assert_memory_equal(same, picture, sizeof picture);
    picture_scale(small, 2, 2, &caption);
    for (int c = 0; c < 3; c++) {
        assert_int_equal(small[c], (picture[c] + picture[3 + c] + 1) / 2); /* columns 0, 1 of row 0 */
        int last = 0;                                                      /* columns 2..4 of rows 1, 2 */
        for (int y = 1; y < 3; y++)
            for (int x = 2; x < 5; x++)
                last += picture[(y * 5 + x) * 3 + c];
        assert_int_equal(small[9 + c], (last + 3) / 6);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_squashed),       cmocka_unit_test(test_cropped), cmocka_unit_test(test_padded),
        cmocka_unit_test(test_a_map_of_zeros), cmocka_unit_test(test_fit),     cmocka_unit_test(test_scale),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
