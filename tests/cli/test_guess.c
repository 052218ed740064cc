/* What a mistyped word may have meant. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "apps/cli/guess.h"

static const char *nearest(const char *typed)
{
    static const char *const words[] = {"beams",           "batch", "max-tokens", "min-tokens",
                                        "no-repeat-ngram", "top-k", "temperature"};
    guess g = {.word = NULL};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        guess_consider(&g, typed, words[i]);
    return g.word;
}

static void slips(void **state)
{
    (void)state;
    assert_string_equal(nearest("beam"), "beams");
    assert_string_equal(nearest("beamss"), "beams");
    assert_string_equal(nearest("beems"), "beams");
    assert_string_equal(nearest("baems"), "beams");
    assert_string_equal(nearest("ebams"), "beams");
    assert_string_equal(nearest("mim-tokens"), "min-tokens");
    assert_string_equal(nearest("maxtokens"), "max-tokens");
    assert_string_equal(nearest("no-repaet-ngarm"), "no-repeat-ngram");
    assert_string_equal(nearest("tpo-k"), "top-k");
}

static void beginnings(void **state)
{
    (void)state;
    assert_string_equal(nearest("temp"), "temperature");
    assert_string_equal(nearest("no-repeat"), "no-repeat-ngram");
    assert_null(nearest("te"));
}

static void nothing_near(void **state)
{
    (void)state;
    assert_null(nearest(""));
    assert_null(nearest("b"));
    assert_null(nearest("bx"));
    assert_null(nearest("boots")); /* two slips in five letters */
    assert_null(nearest("length-penalty"));
    assert_null(nearest("max-tokens-max-tokens-max-tokens-max-tokens"));
}

static void the_first_of_equals(void **state)
{
    (void)state;
    assert_string_equal(nearest("mix-tokens"), "max-tokens");
    assert_string_equal(nearest("min-tokens"), "min-tokens");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(slips), cmocka_unit_test(beginnings),
                                       cmocka_unit_test(nothing_near), cmocka_unit_test(the_first_of_equals)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
