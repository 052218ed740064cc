/* The gate, cuts and cues by time on thumbnails that are made up; the choice of frames. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "apps/video/shots.h"

static const shots_options OPTIONS = {.every = 2.0, .scene = 0.1, .gate = 0.02, .settle = 0.2};

/* A frame of one shade. */
static const uint8_t *shade(int value)
{
    static uint8_t cells[SHOTS_CELLS];
    memset(cells, value, sizeof cells);
    return cells;
}

static void test_difference_is_the_mean_over_the_range(void **state)
{
    (void)state;
    uint8_t black[SHOTS_CELLS], half[SHOTS_CELLS];
    memset(black, 0, sizeof black);
    memset(half, 0, sizeof half);
    assert_true(shots_difference(black, half) == 0.0);
    memset(half, 255, sizeof half / 2);
    assert_true(fabs(shots_difference(black, half) - 0.5) < 1e-12);
    assert_true(fabs(shots_difference(half, black) - 0.5) < 1e-12);
    assert_true(fabs(shots_difference(black, shade(255)) - 1.0) < 1e-12);
}

static void test_a_cut_begins_a_cue_at_its_frame(void **state)
{
    (void)state;
    shots s;
    shots_begin(&s, &OPTIONS);
    assert_int_equal(shots_look(&s, 0.0, shade(50)), SHOTS_CUT);
    for (int i = 1; i < 30; i++)
        assert_int_equal(shots_look(&s, i / 30.0, shade(50)), SHOTS_STAY);
    assert_int_equal(shots_look(&s, 1.0, shade(150)), SHOTS_CUT);
    assert_false(shots_repeats(&s));
    assert_int_equal(shots_look(&s, 1.0 + 1 / 30.0, shade(150)), SHOTS_STAY);
}

static void test_small_changes_are_no_cut(void **state)
{
    (void)state;
    shots s;
    shots_begin(&s, &OPTIONS);
    shots_look(&s, 0.0, shade(50));
    assert_int_equal(shots_look(&s, 0.5, shade(50 + 25)), SHOTS_FRESH); /* 25 / 255 < 0.1 */
    assert_int_equal(shots_look(&s, 1.0, shade(50 + 25 + 5)), SHOTS_STAY);
    assert_int_equal(shots_look(&s, 1.5, shade(50 + 25 + 5 + 26)), SHOTS_CUT);
}

static void test_time_asks_and_the_gate_answers(void **state)
{
    (void)state;
    shots s;
    shots_begin(&s, &OPTIONS);
    shots_look(&s, 0.0, shade(50));
    for (int i = 1; i < 300; i++) /* frozen: one cue for ten seconds */
        assert_int_equal(shots_look(&s, i / 30.0, shade(50)), SHOTS_STAY);
    assert_int_equal(shots_look(&s, 10.0 + 1 / 30.0, shade(60)),
                     SHOTS_TIME); /* it was asked at 10.0 - 1/30 and before */
}

static void test_time_begins_cues_of_a_slow_change(void **state)
{
    (void)state;
    shots s;
    shots_begin(&s, &OPTIONS);
    int n_cues = 0;
    for (int i = 0; i < 180; i++) {
        shots_event e = shots_look(&s, i / 30.0, shade(50 + i));
        bool due = i % 60 == 0;
        assert_int_equal(e == SHOTS_TIME || e == SHOTS_CUT, due);
        n_cues += due;
    }
    assert_int_equal(n_cues, 3);
}

static void test_a_quick_pan_is_one_cut_at_most(void **state)
{
    (void)state;
    shots s;
    shots_begin(&s, &OPTIONS);
    shots_look(&s, 0.0, shade(0));
    int n = 0;
    for (int i = 1; i <= 45; i++) { /* a second of stillness, then half a second of 31 / 255 a frame, up and down */
        int moved = i - 30, phase = moved < 0 ? 0 : moved % 14;
        shots_event e = shots_look(&s, i / 30.0, shade(31 * (phase < 7 ? phase : 14 - phase)));
        n += e == SHOTS_CUT;
        assert_true(e != SHOTS_TIME);
    }
    assert_int_equal(n, 1);
}

static void test_slides_far_apart_are_cuts_each(void **state)
{
    (void)state;
    shots s;
    shots_begin(&s, &OPTIONS);
    for (int i = 0; i < 10; i++)
        assert_int_equal(shots_look(&s, i * 1.0, shade(i % 2 ? 200 : 50)), SHOTS_CUT);
}

static void test_a_flash_is_taken_back(void **state)
{
    (void)state;
    shots s;
    shots_begin(&s, &OPTIONS);
    for (int i = 0; i < 30; i++)
        shots_look(&s, i / 30.0, shade(50));
    assert_int_equal(shots_look(&s, 1.0, shade(255)), SHOTS_CUT);
    assert_false(shots_is_settled(&s, 1.0 + 1 / 30.0));
    assert_int_equal(shots_look(&s, 1.0 + 1 / 30.0, shade(50)), SHOTS_RETAKE);
    assert_true(shots_is_settled(&s, 1.2));
    assert_true(shots_repeats(&s));
}

static void test_without_cuts_only_due_frames_are_wanted(void **state)
{
    (void)state;
    shots_options o = OPTIONS;
    o.scene = 0.0;
    shots s;
    shots_begin(&s, &o);
    assert_true(shots_wants(&s, 0.0, false));
    shots_look(&s, 0.0, shade(50));
    assert_false(shots_wants(&s, 1.9, false));
    assert_true(shots_wants(&s, 1.9, true));
    assert_true(shots_wants(&s, 2.0, false));
    assert_int_equal(shots_look(&s, 2.0, shade(250)), SHOTS_TIME);
    o = OPTIONS;
    o.every = 0.0;
    shots_begin(&s, &o);
    shots_look(&s, 0.0, shade(50));
    for (int i = 1; i < 100; i++)
        assert_int_not_equal(shots_look(&s, i, shade(50 + i)), SHOTS_TIME);
}

static void test_a_sample_is_spread_over_all(void **state)
{
    (void)state;
    for (int room = 2; room <= 32; room += 2)
        for (int total = 1; total <= 500; total++) {
            shots_sample s;
            shots_sample_begin(&s, room);
            int kept[32] = {0};
            for (int i = 0; i < total; i++) {
                bool thin;
                if (!shots_sample_take(&s, &thin))
                    continue;
                if (thin)
                    for (int k = 0; 2 * k < room; k++)
                        kept[k] = kept[2 * k];
                kept[s.n - 1] = i;
            }
            assert_in_range(s.n, total < room ? total : room / 2, room);
            for (int k = 0; k < s.n; k++)
                assert_int_equal(kept[k], k * s.stride);
            assert_true(total - 1 - kept[s.n - 1] < s.stride);
        }
}

static void test_picks_hold_both_ends_and_no_frame_twice(void **state)
{
    (void)state;
    for (int n = 1; n <= 32; n++)
        for (int wanted = 1; wanted <= n; wanted++) {
            assert_int_equal(shots_sample_pick(0, n, wanted), 0);
            if (wanted > 1)
                assert_int_equal(shots_sample_pick(wanted - 1, n, wanted), n - 1);
            for (int i = 1; i < wanted; i++)
                assert_true(shots_sample_pick(i, n, wanted) > shots_sample_pick(i - 1, n, wanted));
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_difference_is_the_mean_over_the_range),
        cmocka_unit_test(test_a_cut_begins_a_cue_at_its_frame),
        cmocka_unit_test(test_small_changes_are_no_cut),
        cmocka_unit_test(test_time_asks_and_the_gate_answers),
        cmocka_unit_test(test_time_begins_cues_of_a_slow_change),
        cmocka_unit_test(test_a_quick_pan_is_one_cut_at_most),
        cmocka_unit_test(test_slides_far_apart_are_cuts_each),
        cmocka_unit_test(test_a_flash_is_taken_back),
        cmocka_unit_test(test_without_cuts_only_due_frames_are_wanted),
        cmocka_unit_test(test_a_sample_is_spread_over_all),
        cmocka_unit_test(test_picks_hold_both_ends_and_no_frame_twice),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
