/* What tokenizers are opened from: damaged and unsupported files are named, lines stand for vocabulary and merges. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/text/open_text.h"

#define BPE(vocab, merges) "{\"model\":{\"type\":\"BPE\",\"vocab\":" vocab ",\"merges\":" merges "}}"
#define STEP(member, step) "{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[]},\"" member "\":" step "}"

static void bad_files_are_named(void **state)
{
    (void)state;
    static const struct {
        const char *json;
        lks_status status;
        const char *says;
    } cases[] = {
        {"", LKS_ERR_MODEL, "JSON"},
        {"{", LKS_ERR_MODEL, "line 1"},
        {"[]", LKS_ERR_MODEL, "not an object"},
        {"{}", LKS_ERR_MODEL, "no model"},
        {"{\"model\":{\"type\":\"Magic\"}}", LKS_ERR_UNSUPPORTED, "Magic"},
        {"{\"model\":{\"type\":\"BPE\"}}", LKS_ERR_MODEL, "vocabulary"},
        {BPE("{\"a\":-1}", "[]"), LKS_ERR_MODEL, "id"},
        {BPE("{\"a\":4000000000}", "[]"), LKS_ERR_MODEL, "id"},
        {BPE("{\"a\":\"x\"}", "[]"), LKS_ERR_MODEL, "id"},
        {BPE("{\"a\":0}", "{}"), LKS_ERR_MODEL, "merges"},
        {BPE("{\"a\":0}", "[\"a\"]"), LKS_ERR_MODEL, "merge 0"},
        {BPE("{\"a\":0}", "[\"a b\"]"), LKS_ERR_MODEL, "vocabulary"},
        {BPE("{\"a\":0}", "[[\"a\"]]"), LKS_ERR_MODEL, "merge 0"},
        {"{\"model\":{\"type\":\"BPE\",\"dropout\":0.1,\"vocab\":{},\"merges\":[]}}", LKS_ERR_UNSUPPORTED, "dropout"},
        {"{\"model\":{\"type\":\"Unigram\",\"vocab\":[[\"a\"]]}}", LKS_ERR_MODEL, "piece"},
        {"{\"model\":{\"type\":\"Unigram\",\"vocab\":[[\"a\",0]],\"unk_id\":7}}", LKS_ERR_MODEL, "unk_id"},
        {"{\"model\":{\"type\":\"WordPiece\",\"vocab\":{\"a\":0}}}", LKS_ERR_MODEL, "unk_token"},
        {STEP("normalizer", "{\"type\":\"Rot13\"}"), LKS_ERR_UNSUPPORTED, "Rot13"},
        {STEP("normalizer", "3"), LKS_ERR_MODEL, "step"},
        {STEP("normalizer", "{\"type\":\"Sequence\"}"), LKS_ERR_MODEL, "Sequence"},
        {STEP("normalizer", "{\"type\":\"Precompiled\",\"precompiled_charsmap\":\"AAAA\"}"), LKS_ERR_MODEL, "charsmap"},
        {STEP("normalizer", "{\"type\":\"Replace\",\"content\":\"\",\"pattern\":{\"Regex\":\"(a|b)*\"}}"),
         LKS_ERR_UNSUPPORTED, "(a|b)*"},
        {STEP("pre_tokenizer", "{\"type\":\"Metaspace\",\"replacement\":\"ab\"}"), LKS_ERR_MODEL, "replacement"},
        {STEP("post_processor", "{\"type\":\"BertProcessing\"}"), LKS_ERR_MODEL, "sep"},
        {STEP("post_processor", "{\"type\":\"TemplateProcessing\",\"single\":[{\"SpecialToken\":{\"id\":\"x\"}}]}"),
         LKS_ERR_MODEL, "special token"},
        {STEP("decoder", "{\"type\":\"CTC\"}"), LKS_ERR_UNSUPPORTED, "CTC"},
        {STEP("added_tokens", "[{}]"), LKS_ERR_MODEL, "added token"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        lks_tokenizer *t = NULL;
        lks_error err = {0};
        lks_tokenizer_texts texts = {.json = cases[i].json, .n_json = strlen(cases[i].json)};
        lks_status st = lks_tokenizer_open_texts(&t, &texts, "some/file.json", &err);
        if (st != cases[i].status || !strstr(err.message, cases[i].says) || !strstr(err.message, "some/file.json"))
            fail_msg("%s gave %d: %s", cases[i].json, (int)st, err.message);
        assert_null(t);
    }
}

static lks_status open_lines(lks_tokenizer **t, const char *tokens, const char *merges, lks_error *err)
{
    static const char json[] = "{\"model\":{\"type\":\"BPE\"}}";
    lks_tokenizer_texts texts = {json, sizeof json - 1, tokens, strlen(tokens), merges, strlen(merges)};
    return lks_tokenizer_open_texts(t, &texts, "some/file", err);
}

static void lines_stand_for_vocabulary_and_merges(void **state)
{
    (void)state;
    lks_tokenizer *t = NULL;
    lks_error err = {0};
    assert_int_equal(open_lines(&t, "a\nb\nc\nbc\nabc\n", "b c\na bc\n", &err), LKS_OK);
    int32_t *ids = NULL;
    size_t n = 0;
    assert_int_equal(lks_tokenizer_encode(t, &ids, &n, "abcbb", 5, false, &err), LKS_OK);
    static const int32_t expected[] = {4, 1, 1};
    assert_int_equal(n, 3);
    assert_memory_equal(ids, expected, sizeof expected);
    free(ids);
    lks_tokenizer_close(t);

    static const char *const bad[][3] = {{"a\nb\n", "a b\n", "vocabulary"}, /* without "ab" */
                                         {"a\nb\nab\nb\n", "a b\n", "two ids"},
                                         {"a\nb\nab\n", "ab\n", "merge 0"},
                                         {"a\nb\nab\n", "a b\n\n", "merge 1"},
                                         {"a\nb\nab\n", "a  b\n", "merge 0"}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        t = NULL;
        assert_int_equal(open_lines(&t, bad[i][0], bad[i][1], &err), LKS_ERR_MODEL);
        assert_non_null(strstr(err.message, bad[i][2]));
        assert_null(t);
    }
}

/* Which models say their vocabulary and merges in lines. */
static void only_plain_vocabularies_become_lines(void **state)
{
    (void)state;
    static const struct {
        const char *json;
        bool tokens, merges;
    } cases[] = {
        {BPE("{\"a\":0,\"b\":1,\"ab\":2}", "[\"a b\"]"), true, true},
        {BPE("{\"a\":0,\" \":1,\"a \":2}", "[[\"a\",\" \"]]"), true, false}, /* a space in a merge */
        {BPE("{\"a\":0,\"b\":2}", "[]"), false, false},                      /* no token 1 */
        {BPE("{\"a\":0,\"b\":0}", "[]"), false, false},                      /* two tokens 0 */
        {BPE("{\"a\":0,\"\\n\":1}", "[]"), false, false},                    /* more lines than tokens */
        {"{\"model\":{\"vocab\":{\"a\":0},\"merges\":[]}}", false, false},   /* BPE by its members */
        {"{\"model\":{\"type\":\"Unigram\",\"vocab\":[[\"a\",0]]}}", false, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        lks_error err;
        lks_tokenizer_texts texts;
        lks_tokenizer *t = open_text(cases[i].json, strlen(cases[i].json), "json");
        assert_int_equal(lks_tokenizer_to_texts(t, &texts, &err), LKS_OK);
        if ((texts.tokens != NULL) != cases[i].tokens || (texts.merges != NULL) != cases[i].merges)
            fail_msg("%s became %s, %s, %s", cases[i].json, texts.json, texts.tokens, texts.merges);
        lks_tokenizer_texts_free(&texts);
        lks_tokenizer_close(t);
    }
}

static void an_empty_directory_is_no_tokenizer(void **state)
{
    (void)state;
    lks_tokenizer *t = NULL;
    lks_error err = {0};
    assert_int_equal(lks_tokenizer_open_dir(&t, "tests/text", &err), LKS_ERR_MODEL);
    assert_non_null(strstr(err.message, "tests/text"));
    assert_non_null(strstr(err.message, "tokenizer.json"));
    assert_null(t);
}

static void ids_without_an_unknown_token_are_refused(void **state)
{
    (void)state;
    static const char json[] = "{\"model\":{\"type\":\"WordPiece\",\"unk_token\":\"[UNK]\",\"vocab\":{\"a\":0}}}";
    lks_tokenizer *t = open_text(json, sizeof json - 1, "json");
    int32_t *ids = NULL;
    size_t n = 0;
    lks_error err = {0};
    assert_int_equal(lks_tokenizer_encode(t, &ids, &n, "b", 1, false, &err), LKS_ERR_MODEL);
    assert_non_null(strstr(err.message, "[UNK]"));
    assert_null(ids);
    lks_tokenizer_close(t);
}

/* All tokens of added_tokens.json have ids, however many they are. */
static void many_added_tokens(void **state)
{
    (void)state;
    enum { N = 5000 };
    char dir[] = "/tmp/looksay-added-XXXXXX", vocab[64], added[64], text[32];
    assert_non_null(mkdtemp(dir));
    snprintf(vocab, sizeof vocab, "%s/vocab.txt", dir);
    snprintf(added, sizeof added, "%s/added_tokens.json", dir);
    FILE *f = fopen(vocab, "w");
    assert_non_null(f);
    fputs("[UNK]\na\n", f);
    fclose(f);
    f = fopen(added, "w");
    assert_non_null(f);
    for (int i = 0; i < N; i++)
        fprintf(f, "%s\"<t%d>\": %d", i ? ", " : "{", i, N + 1 - i);
    fputs("}", f);
    fclose(f);
    lks_tokenizer *t = NULL;
    lks_error err = {0};
    lks_status st = lks_tokenizer_open_dir(&t, dir, &err);
    remove(vocab);
    remove(added);
    remove(dir);
    if (st != LKS_OK)
        fail_msg("%s", err.message);
    for (int i = 0; i < N; i++) {
        snprintf(text, sizeof text, "<t%d>", i);
        assert_int_equal(lks_tokenizer_id(t, text), N + 1 - i);
    }
    lks_tokenizer_close(t);
}

/* A text that doubles 60 times is given up while it is small. */
static void no_text_grows_without_end(void **state)
{
    (void)state;
    static const char step[] = "{\"type\":\"Replace\",\"pattern\":{\"String\":\"a\"},\"content\":\"aa\"}";
    char json[8192];
    int n = snprintf(json, sizeof json,
                     "{\"model\":{\"type\":\"WordLevel\",\"vocab\":{\"a\":0},\"unk_token\":\"a\"},"
                     "\"normalizer\":{\"type\":\"Sequence\",\"normalizers\":[%s",
                     step);
    for (int i = 1; i < 60; i++)
        n += snprintf(json + n, sizeof json - (size_t)n, ",%s", step);
    n += snprintf(json + n, sizeof json - (size_t)n, "]}}");
    lks_tokenizer *t = open_text(json, (size_t)n, "json");
    int32_t *ids = NULL;
    size_t n_ids = 0;
    lks_error err = {0};
    assert_int_equal(lks_tokenizer_encode(t, &ids, &n_ids, "a", 1, false, &err), LKS_ERR_NOMEM);
    assert_null(ids);
    lks_tokenizer_close(t);
}

/* As in `tokenizers`: white space that an added token took along is not found again as one that takes white space along. */
static void white_space_is_taken_once(void **state)
{
    (void)state;
    static const char json[] =
        "{\"added_tokens\":[{\"id\":2,\"content\":\"\\t\",\"lstrip\":true,\"rstrip\":true,\"normalized\":false,"
        "\"single_word\":false,\"special\":false}],"
        "\"model\":{\"type\":\"WordLevel\",\"vocab\":{\"u\":0,\"a\":1},\"unk_token\":\"u\"}}";
    static const int32_t expected[] = {1, 2, 1};
    lks_tokenizer *t = open_text(json, sizeof json - 1, "json");
    int32_t *ids = NULL;
    size_t n = 0;
    lks_error err = {0};
    assert_int_equal(lks_tokenizer_encode(t, &ids, &n, "a\t\ta", 4, false, &err), LKS_OK);
    assert_int_equal(n, 3);
    assert_memory_equal(ids, expected, sizeof expected);
    free(ids);
    lks_tokenizer_close(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bad_files_are_named),
        cmocka_unit_test(lines_stand_for_vocabulary_and_merges),
        cmocka_unit_test(only_plain_vocabularies_become_lines),
        cmocka_unit_test(an_empty_directory_is_no_tokenizer),
        cmocka_unit_test(ids_without_an_unknown_token_are_refused),
        cmocka_unit_test(many_added_tokens),
        cmocka_unit_test(no_text_grows_without_end),
        cmocka_unit_test(white_space_is_taken_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
