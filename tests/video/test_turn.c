/* Matrices of clips as quarter turns and mirrors, and pixels under them. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "apps/video/turn.h"

enum { ONE = 65536 };

/* The picture 1 2 3 / 4 5 6 under a matrix, as its rows. */
static void assert_turned(int a, int b, int c, int d, const char *expected)
{
    const int32_t matrix[9] = {a * ONE, b * ONE, 0, c * ONE, d * ONE, 0, 0, 0, 1 << 30};
    uint8_t from[2][12], to[18]; /* rows of `from` have a gap of one pixel */
    memset(from, 0xee, sizeof from);
    for (int i = 0; i < 6; i++)
        memset(&from[i / 3][i % 3 * 3], '1' + i, 3);
    turn t = turn_of_matrix(matrix);
    turn_pixels(to, from[0], 3, 2, sizeof from[0], t);
    assert_int_equal(turn_is_sideways(t), a == 0);
    for (int i = 0; i < 6; i++)
        for (int k = 0; k < 3; k++)
            assert_int_equal(to[i * 3 + k], expected[i]);
}

static void test_all_eight(void **state)
{
    (void)state;
    assert_turned(1, 0, 0, 1, "123456");
    assert_turned(-1, 0, 0, -1, "654321");
    assert_turned(0, 1, -1, 0, "415263");  /* clockwise: the left column, from below, is the first row */
    assert_turned(0, -1, 1, 0, "362514");  /* counterclockwise */
    assert_turned(-1, 0, 0, 1, "321654");  /* mirrored */
    assert_turned(1, 0, 0, -1, "456123");  /* upside down */
    assert_turned(0, 1, 1, 0, "142536");   /* transposed */
    assert_turned(0, -1, -1, 0, "635241"); /* transposed about the other diagonal */
}

static void test_senseless_matrices_turn_nothing(void **state)
{
    (void)state;
    const int32_t zero[9] = {0}, flat[9] = {ONE, ONE, 0, ONE, ONE, 0, 0, 0, 0},
                  extreme[9] = {INT32_MIN, INT32_MIN, 0, INT32_MAX, INT32_MIN, 0, 0, 0, 0};
    turn t = turn_of_matrix(zero);
    assert_true(t.xx == 1 && t.yy == 1 && t.xy == 0 && t.yx == 0);
    t = turn_of_matrix(flat);
    assert_true(t.xx == 1 && t.yy == 1 && t.xy == 0 && t.yx == 0);
    t = turn_of_matrix(extreme);
    assert_int_equal(t.xx * t.xx + t.xy * t.xy, 1);
    assert_int_equal(t.yx * t.yx + t.yy * t.yy, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_all_eight),
                                       cmocka_unit_test(test_senseless_matrices_turn_nothing)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
