/* Words from pieces: byte-level BPE, WordPiece, characters in several pieces, punctuation, hostile text. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "apps/captioner/words.h"

enum { MAX = 64 };

typedef struct expected {
    const char *word;
    int first_token, n_tokens;
} expected;

/* The pieces are written one after the other; a piece "<>" is a special token, "" one that adds nothing yet. */
static void check(const char *const *texts, const expected *words)
{
    char text[512] = "";
    lks_piece pieces[MAX];
    int n_pieces = 0;
    for (; texts[n_pieces]; n_pieces++) {
        bool special = strcmp(texts[n_pieces], "<>") == 0;
        size_t begin = strlen(text);
        strcat(text, special ? "" : texts[n_pieces]);
        pieces[n_pieces] = (lks_piece){begin, strlen(text), special};
    }
    size_t n = strlen(text);
    lks_word_span spans[MAX];
    assert_true(lks_words_limit(n) <= MAX);
    size_t n_words = lks_words_find(spans, text, 0, n, pieces, n_pieces);
    size_t i = 0;
    for (; words[i].word; i++) {
        assert_true(i < n_words);
        assert_int_equal(spans[i].end - spans[i].begin, strlen(words[i].word));
        assert_memory_equal(text + spans[i].begin, words[i].word, strlen(words[i].word));
        assert_int_equal(spans[i].first_token, words[i].first_token);
        assert_int_equal(spans[i].n_tokens, words[i].n_tokens);
    }
    assert_int_equal(n_words, i);
}

static void test_byte_level_pieces(void **state)
{
    (void)state;
    check((const char *const[]){" a", " snow", "board", "er", " jumps", "<>", NULL},
          (const expected[]){{"a", 0, 1}, {"snowboarder", 1, 3}, {"jumps", 4, 1}, {NULL, 0, 0}});
}

static void test_word_pieces(void **state)
{
    (void)state;
    /* A WordPiece decoder writes the space with the next piece and none before "##ing". */
    check((const char *const[]){"<>", "two", " skate", "board", "ing", " men", "<>", NULL},
          (const expected[]){{"two", 1, 1}, {"skateboarding", 2, 3}, {"men", 5, 1}, {NULL, 0, 0}});
}

static void test_a_space_of_its_own(void **state)
{
    (void)state;
    check((const char *const[]){"dog", " ", "run", "s ", "fast", NULL},
          (const expected[]){{"dog", 0, 1}, {"runs", 2, 2}, {"fast", 4, 1}, {NULL, 0, 0}});
}

static void test_characters_in_several_pieces(void **state)
{
    (void)state;
    /* The first bytes of a character add nothing until the last one comes. */
    check((const char *const[]){" caf", "", "\xC3\xA9", " ", "", "", "\xF0\x9D\x94\xB8", "<>", NULL},
          (const expected[]){{"caf\xC3\xA9", 0, 3}, {"\xF0\x9D\x94\xB8", 4, 3}, {NULL, 0, 0}});
}

static void test_punctuation_is_left_off(void **state)
{
    (void)state;
    check((const char *const[]){"\"", "A", " dog", "'s", " ball", ",", " red", "-", "white", ".", "<>", NULL},
          (const expected[]){{"A", 1, 1}, {"dog's", 2, 2}, {"ball", 4, 1}, {"red-white", 6, 3}, {NULL, 0, 0}});
    check((const char *const[]){"...", " -", " !", NULL}, (const expected[]){{NULL, 0, 0}});
    check((const char *const[]){"dog.", " (cat)", NULL},
          (const expected[]){{"dog", 0, 1}, {"cat", 1, 1}, {NULL, 0, 0}});
}

static void test_one_token_for_two_words(void **state)
{
    (void)state;
    check((const char *const[]){" new york", " city", NULL},
          (const expected[]){{"new", 0, 1}, {"york", 0, 1}, {"city", 1, 1}, {NULL, 0, 0}});
}

static void test_all_kinds_of_space(void **state)
{
    (void)state;
    check((const char *const[]){"a\tb", "\xC2\xA0", "c\n", "\xE3\x80\x80", "d", NULL},
          (const expected[]){{"a", 0, 1}, {"b", 0, 1}, {"c", 2, 1}, {"d", 4, 1}, {NULL, 0, 0}});
}

static void test_empty(void **state)
{
    (void)state;
    check((const char *const[]){NULL}, (const expected[]){{NULL, 0, 0}});
    check((const char *const[]){"<>", "", "<>", NULL}, (const expected[]){{NULL, 0, 0}});
}

/* What stands before `begin` is a prompt: a word that goes on from it is cut there, and words without a token are none. */
static void test_prompt(void **state)
{
    (void)state;
    const lks_piece pieces[] = {{5, 8, false}, {8, 12, false}};
    lks_word_span spans[8];
    assert_int_equal(lks_words_find(spans, "a snowman here yes", 5, 18, pieces, 2), 2);
    assert_int_equal(spans[0].begin, 5);
    assert_int_equal(spans[0].n_tokens, 2);
    assert_int_equal(spans[1].begin, 10);
    assert_int_equal(spans[1].first_token, 1);
}

/* Any bytes: spans lie within the text, in order, and never exceed the limit. */
static void test_any_bytes(void **state)
{
    (void)state;
    uint32_t random = 1;
    for (int round = 0; round < 2000; round++) {
        char text[40];
        size_t n = random % 40;
        for (size_t i = 0; i < n; i++) {
            random = random * 1664525u + 1013904223u;
            text[i] = (char)(random >> 24);
        }
        lks_word_span *spans = malloc(lks_words_limit(n) * sizeof *spans);
        assert_non_null(spans);
        const lks_piece pieces[] = {{0, n / 2, false}, {n / 2, n, false}};
        size_t n_words = lks_words_find(spans, text, 0, n, pieces, 2), at = 0;
        assert_true(n_words <= lks_words_limit(n));
        for (size_t i = 0; i < n_words; i++) {
            assert_true(spans[i].begin >= at && spans[i].begin < spans[i].end && spans[i].end <= n);
            assert_true(spans[i].n_tokens >= 1 && spans[i].first_token + spans[i].n_tokens <= 2);
            at = spans[i].end;
        }
        free(spans);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_byte_level_pieces),
        cmocka_unit_test(test_word_pieces),
        cmocka_unit_test(test_a_space_of_its_own),
        cmocka_unit_test(test_characters_in_several_pieces),
        cmocka_unit_test(test_punctuation_is_left_off),
        cmocka_unit_test(test_one_token_for_two_words),
        cmocka_unit_test(test_all_kinds_of_space),
        cmocka_unit_test(test_empty),
        cmocka_unit_test(test_prompt),
        cmocka_unit_test(test_any_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
