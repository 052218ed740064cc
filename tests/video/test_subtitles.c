/* What stands in SubRip, WebVTT and JSON files, byte for byte, hostile texts and times included. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "apps/video/subtitles.h"

/* What is written, malloc'ed. */
static char *write_cue(subtitles_format format, const subtitles_cue *cue, long number, bool expected)
{
    char *text = NULL;
    size_t n;
    FILE *to = open_memstream(&text, &n);
    assert_non_null(to);
    assert_int_equal(subtitles_write(to, format, cue, number, "a \"clip\".mp4", "model"), expected);
    fclose(to);
    return text;
}

static void assert_written(subtitles_format format, const subtitles_cue *cue, const char *expected)
{
    char *text = write_cue(format, cue, 7, true);
    assert_string_equal(text, expected);
    free(text);
}

static void test_times(void **state)
{
    (void)state;
    const subtitles_cue cue = {.start = 3661.0005, .end = 360000.9996, .text = "x"};
    assert_written(SUBTITLES_SRT, &cue, "7\n01:01:01,001 --> 100:00:01,000\nx\n\n");
    assert_written(SUBTITLES_VTT, &cue, "01:01:01.001 --> 100:00:01.000\nx\n\n");
    const subtitles_cue instant = {.start = 0.0, .end = 0.0, .text = "x"};
    assert_written(SUBTITLES_VTT, &instant, "00:00:00.000 --> 00:00:00.001\nx\n\n");
    const subtitles_cue wild = {.start = -1e300, .end = 1e300, .text = "x"};
    free(write_cue(SUBTITLES_SRT, &wild, 1, true));
}

static void test_long_lines_break_in_the_middle(void **state)
{
    (void)state;
    const subtitles_cue cue = {.end = 1.0, .text = "aaaa bbbb cccc dddd eeee ffff gggg hhhh iiii jjjj"};
    assert_written(SUBTITLES_SRT, &cue,
                   "7\n00:00:00,000 --> 00:00:01,000\naaaa bbbb cccc dddd eeee\nffff gggg hhhh iiii jjjj\n\n");
    char word[100];
    memset(word, 'w', sizeof word - 1);
    word[99] = '\0';
    const subtitles_cue unbroken = {.end = 1.0, .text = word};
    char *text = write_cue(SUBTITLES_VTT, &unbroken, 1, true);
    assert_non_null(strstr(text, word));
    free(text);
}

static void test_texts_that_would_break_the_format(void **state)
{
    (void)state;
    const subtitles_cue cue = {.end = 1.0, .text = "\n a <b>\r\n\n & --> c\x01 "};
    assert_written(SUBTITLES_SRT, &cue, "7\n00:00:00,000 --> 00:00:01,000\na <b> & \u2013-> c\n\n");
    assert_written(SUBTITLES_VTT, &cue, "00:00:00.000 --> 00:00:01.000\na &lt;b&gt; &amp; --&gt; c\n\n");
}

static void test_no_text_is_no_subtitle(void **state)
{
    (void)state;
    const subtitles_cue failed = {.end = 1.0, .error = "why"}, empty = {.end = 1.0, .text = " \n"};
    for (int format = SUBTITLES_SRT; format <= SUBTITLES_VTT; format++) {
        char *text = write_cue((subtitles_format)format, &failed, 1, false);
        assert_string_equal(text, "");
        free(text);
        text = write_cue((subtitles_format)format, &empty, 1, false);
        assert_string_equal(text, "");
        free(text);
    }
}

static void test_rows(void **state)
{
    (void)state;
    const double seen[] = {0.5, 0.75};
    const subtitles_cue cue = {.start = 0.5,
                               .end = 2.0 / 3,
                               .frame = 15,
                               .cut = true,
                               .text = "a \"dog\"\n",
                               .score = -0.25,
                               .ms = 12.5,
                               .seen = seen,
                               .n_seen = 2};
    assert_written(
        SUBTITLES_JSONL, &cue,
        "{\"image\":\"a \\\"clip\\\".mp4\",\"start\":0.5,\"end\":0.666667,\"frame\":15,\"begins\":\"cut\",\"seen\":["
        "0.5,0.75],\"caption\":\"a "
        "\\\"dog\\\"\\n\",\"score\":-0.25,\"model\":\"model\",\"status\":\"ok\",\"ms\":12.5}\n");
    const subtitles_cue failed = {.start = 1.0, .end = 2.0, .error = "why"};
    char *text = write_cue(SUBTITLES_JSONL, &failed, 1, true);
    json_t *row = json_loads(text, 0, NULL);
    assert_non_null(row);
    assert_string_equal(json_string_value(json_object_get(row, "status")), "error");
    assert_string_equal(json_string_value(json_object_get(row, "error")), "why");
    assert_string_equal(json_string_value(json_object_get(row, "begins")), "time");
    assert_null(json_object_get(row, "caption"));
    json_decref(row);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_times),
        cmocka_unit_test(test_long_lines_break_in_the_middle),
        cmocka_unit_test(test_texts_that_would_break_the_format),
        cmocka_unit_test(test_no_text_is_no_subtitle),
        cmocka_unit_test(test_rows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
