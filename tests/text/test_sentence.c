/* Forms of sentences, against what apps/train/languages.py makes of the same texts, and against bytes of any kind. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "text/sentence.h"
#include "text/unicode.h"

static void assert_clean(const char *text, lks_sentence_form form, const char *kept, const char *want)
{
    char *got = lks_sentence_clean(text, strlen(text), form, kept);
    assert_string_equal(got, want);
    free(got);
}

static void test_words(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"A Dog, running.", "a dog running"},
        {"  two   young men-women's  ball! ", "two young men-women's ball"},
        {"t-shirt 'quoted' -x- a--b it's'", "t-shirt quoted x a b it's"},
        {"caf\xc3\xa9 2 dogs", "caf 2 dogs"},
        {"\xe2\x80\x9cHello\xe2\x80\x9d", "hello"},
        {" ... ", ""},
        {"", ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_clean(cases[i][0], LKS_SENTENCE_WORDS, NULL, cases[i][1]);
}

static void test_plain(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"ein  Hund , der rennt .", "Ein Hund, der rennt"},
        {"\xc3\xa4hnlich wie Schnee!?", "\xc3\x84hnlich wie Schnee"},
        {"\xe2\x80\x9eZwei M\xc3\xa4nner.\xe2\x80\x9c ", "Zwei M\xc3\xa4nner"},
        {"'L'homme' regarde l'eau\xe2\x80\xa6", "L'homme' regarde l'eau"},
        {"\tP\xc5\x99\xc3\xad\n dom\xc4\x9b ; tam", "P\xc5\x99\xc3\xad dom\xc4\x9b; tam"},
        {"...", ""},
        {"", ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_clean(cases[i][0], LKS_SENTENCE_PLAIN, NULL, cases[i][1]);
}

static void test_kept_words_pass(void **state)
{
    (void)state;
    assert_clean("A [MASK] dog on the [MASK].", LKS_SENTENCE_WORDS, "[MASK]", "a [MASK] dog on the [MASK]");
    assert_clean("[MASK] dogs", LKS_SENTENCE_WORDS, "[MASK]", "[MASK] dogs");
    assert_clean("ein [MASK], der [MASK] .", LKS_SENTENCE_PLAIN, "[MASK]", "Ein [MASK], der [MASK]");
    assert_clean("[MASK]", LKS_SENTENCE_PLAIN, "[MASK]", "[MASK]");
    assert_clean("[MASK] [MASK]", LKS_SENTENCE_WORDS, NULL, "mask mask");
}

static void assert_finished(const char *source, const char *sentence, const char *want)
{
    lks_sentence_ends ends = lks_sentence_look(source, strlen(source));
    char *got = lks_sentence_finish(sentence, &ends);
    assert_string_equal(got, want);
    free(got);
}

static void test_a_translation_ends_as_its_source(void **state)
{
    (void)state;
    assert_finished("Ein Hund rennt.", "a dog runs", "A dog runs.");
    assert_finished("ein Hund rennt", "a dog runs", "a dog runs");
    assert_finished("\xe2\x80\x9eWas ist das?\xe2\x80\x9c ", "what is this", "What is this?");
    assert_finished("und dann\xe2\x80\xa6", "and then", "and then\xe2\x80\xa6");
    assert_finished("\xc3\x84hnlich!", "\xc3\xa9gal", "\xc3\x89gal!");
    assert_finished("Done.", "Fertig!", "Fertig!");
    assert_finished("...", "", "");
    assert_finished("", "a", "a");
}

/* Texts of any bytes, and of many marks: the result is valid UTF-8 and cleaning it again changes nothing. */
static void test_any_bytes(void **state)
{
    (void)state;
    static const char marks[] = " .,!?\"'-[MASK]aB\xc3\x84\xe2\x80\xa6\xe2\x80\x9c";
    uint32_t random = 1;
    for (int round = 0; round < 20000; round++) {
        char text[24];
        size_t n = 0;
        for (uint32_t length = (random >> 9) % sizeof text; n < length; n++) {
            random = random * 1664525u + 1013904223u;
            uint32_t pick = random >> 8;
            text[n] = round % 2 ? marks[pick % (sizeof marks - 1)] : (char)(pick & 0xFF);
        }
        random = random * 1664525u + 1013904223u;
        const char *kept = round % 3 ? "[MASK]" : NULL;
        for (int form = LKS_SENTENCE_WORDS; form <= LKS_SENTENCE_PLAIN; form++) {
            char *once = lks_sentence_clean(text, n, (lks_sentence_form)form, kept);
            assert_non_null(once);
            size_t length = strlen(once), step;
            for (size_t i = 0; i < length; i += step) {
                uint32_t c = lks_utf8_next(once + i, length - i, &step);
                char again[4];
                assert_int_equal(lks_utf8_put(again, c), step);
                assert_memory_equal(again, once + i, step);
            }
            if (!memchr(text, '\0', n)) {
                char *twice = lks_sentence_clean(once, length, (lks_sentence_form)form, kept);
                assert_string_equal(twice, once);
                free(twice);
            }
            lks_sentence_ends ends = lks_sentence_look(text, n);
            char *finished = lks_sentence_finish(once, &ends);
            assert_true(strlen(finished) >= length && strlen(finished) <= length + 3);
            free(finished);
            free(once);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_words),           cmocka_unit_test(test_plain),
        cmocka_unit_test(test_kept_words_pass), cmocka_unit_test(test_a_translation_ends_as_its_source),
        cmocka_unit_test(test_any_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
