/* Unit test of fusion/status. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "fusion/status.h"

static void formats(void **state)
{
    (void)state;
    lks_error err = {0};
    assert_int_equal(lks_error_set(&err, LKS_ERR_MODEL, "%s: %d", "w.bin", 7), LKS_ERR_MODEL);
    assert_int_equal(err.status, LKS_ERR_MODEL);
    assert_string_equal(err.message, "w.bin: 7");
    assert_int_equal(lks_error_set(NULL, LKS_ERR_IO, "nobody listens"), LKS_ERR_IO);
}

static void prefixes(void **state)
{
    (void)state;
    lks_error err = {0};
    lks_error_set(&err, LKS_ERR_IO, "not found");
    assert_int_equal(lks_error_prefix(&err, LKS_ERR_MODEL, "model"), LKS_ERR_IO);
    assert_string_equal(err.message, "model: not found");
    assert_int_equal(lks_error_prefix(NULL, LKS_ERR_MODEL, "model"), LKS_ERR_MODEL);
}

/* A message that does not fit ends before the character that would be cut in two. */
static void cuts_at_characters(void **state)
{
    (void)state;
    static const char *const characters[] = {"\xC3\xA9", "\xE2\x82\xAC", "\xF0\x9F\x98\x80", "x"};
    for (size_t c = 0; c < 4; c++) {
        for (int shift = 0; shift < 4; shift++) {
            char text[1200] = "";
            for (int i = 0; i < shift; i++)
                strcat(text, "a");
            while (strlen(text) < 1100)
                strcat(text, characters[c]);
            lks_error err;
            lks_error_set(&err, LKS_ERR_IMAGE, "%s", text);
            size_t n = strlen(err.message), width = strlen(characters[c]);
            assert_true(n < sizeof err.message && n + width >= sizeof err.message);
            assert_int_equal((n - (size_t)shift) % width, 0);
            assert_memory_equal(err.message, text, n);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(formats), cmocka_unit_test(prefixes),
                                       cmocka_unit_test(cuts_at_characters)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
