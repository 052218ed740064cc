/* Tokenizers against Hugging Face: ids and decoded texts of 2,000 caption lines, of hostile strings and of every code point,
 * for every kind of tokenizer (fixtures and expectations: make_fixtures.py); and what the interface promises besides. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "fusion/weights/file.h"
#include "text/tokenizer.h"
#include "text/unicode.h"

#define FIXTURES "tests/text/fixtures/"

enum { MOST = 16 << 20, CHUNK = 4096 };

/* --- texts and expectations --- */

typedef struct text {
    char *at;
    size_t n;
} text;

typedef struct texts {
    text *at;
    size_t n;
} texts;

static void put_text(texts *list, char *at, size_t n)
{
    list->at = realloc(list->at, (list->n + 1) * sizeof *list->at);
    assert_non_null(list->at);
    list->at[list->n++] = (text){at, n};
}

static void free_texts(texts *list)
{
    for (size_t i = 0; i < list->n; i++)
        free(list->at[i].at);
    free(list->at);
}

static char *read_all(const char *path, size_t *n)
{
    lks_error err;
    char *data = NULL;
    if (lks_file_read(&data, n, path, MOST, &err) != LKS_OK)
        fail_msg("%s", err.message);
    return data;
}

static void put_lines(texts *list, const char *path)
{
    size_t n;
    char *data = read_all(path, &n);
    for (char *line = data, *end; line < data + n; line = end + 1) {
        end = memchr(line, '\n', (size_t)(data + n - line));
        assert_non_null(end);
        put_text(list, strndup(line, (size_t)(end - line)), (size_t)(end - line));
    }
    free(data);
}

/* "TIMES HEX" */
static void put_hostile(texts *list)
{
    texts lines = {0};
    put_lines(&lines, FIXTURES "hostile.txt");
    for (size_t i = 0; i < lines.n; i++) {
        char *hex;
        size_t times = strtoul(lines.at[i].at, &hex, 10), n = strlen(++hex) / 2;
        char *bytes = malloc(times * n + 1);
        assert_non_null(bytes);
        for (size_t k = 0; k < times * n; k++) {
            const char pair[3] = {hex[k % n * 2], hex[k % n * 2 + 1], 0};
            bytes[k] = (char)strtoul(pair, NULL, 16);
        }
        put_text(list, bytes, times * n);
    }
    free_texts(&lines);
}

/* Each code point c of a chunk as "ac1cc ". */
static void put_sweep(texts *list)
{
    for (uint32_t start = 1; start < 0x110000; start += CHUNK) {
        char *bytes = malloc(CHUNK * 16);
        size_t n = 0;
        assert_non_null(bytes);
        for (uint32_t c = start; c < start + CHUNK && c < 0x110000; c++) {
            if (c >= 0xD800 && c < 0xE000)
                continue;
            bytes[n++] = 'a';
            n += lks_utf8_put(bytes + n, c);
            bytes[n++] = '1';
            n += lks_utf8_put(bytes + n, c);
            n += lks_utf8_put(bytes + n, c);
            bytes[n++] = ' ';
        }
        put_text(list, bytes, n);
    }
}

typedef struct line {
    char *at;
    size_t n, cap;
} line;

static void put(line *l, const char *s, size_t n)
{
    if (l->n + n + 1 > l->cap) {
        l->cap = 2 * (l->n + n + 1);
        l->at = realloc(l->at, l->cap);
        assert_non_null(l->at);
    }
    memcpy(l->at + l->n, s, n);
    l->n += n;
    l->at[l->n] = '\0';
}

static void put_ids(line *l, const int32_t *ids, size_t n)
{
    char number[16];
    for (size_t i = 0; i < n; i++)
        put(l, number, (size_t)snprintf(number, sizeof number, i ? " %d" : "%d", ids[i]));
}

static void put_decoded(line *l, const lks_tokenizer *t, const int32_t *ids, size_t n, bool skip_special)
{
    lks_error err;
    char *decoded = NULL, pair[3];
    if (lks_tokenizer_decode(t, &decoded, ids, n, skip_special, &err) != LKS_OK)
        fail_msg("%s", err.message);
    put(l, "|", 1);
    for (const char *s = decoded; *s; s++)
        put(l, pair, (size_t)snprintf(pair, sizeof pair, "%02x", (unsigned)(unsigned char)*s));
    free(decoded);
}

/* What the tokenizer makes of a text, as an expectation writes it. */
static void describe(line *l, const lks_tokenizer *t, const text *given)
{
    lks_error err;
    int32_t *whole = NULL, *plain = NULL;
    size_t n_whole, n_plain;
    if (lks_tokenizer_encode(t, &whole, &n_whole, given->at, given->n, true, &err) != LKS_OK ||
        lks_tokenizer_encode(t, &plain, &n_plain, given->at, given->n, false, &err) != LKS_OK)
        fail_msg("%s", err.message);
    l->n = 0;
    put_ids(l, whole, n_whole);
    put(l, "|", 1);
    put_ids(l, plain, n_plain);
    put_decoded(l, t, whole, n_whole, true);
    put_decoded(l, t, whole, n_whole, false);
    free(whole);
    free(plain);
}

static uint32_t fnv(const line *l)
{
    uint32_t value = 0x811C9DC5u;
    for (size_t i = 0; i < l->n; i++)
        value = (value ^ (unsigned char)l->at[i]) * 0x01000193u;
    return value;
}

static int compare(const char *name, const lks_tokenizer *t, const texts *given)
{
    char path[256];
    texts expected = {0};
    line l = {0};
    int bad = 0;
    snprintf(path, sizeof path, FIXTURES "%s.expected", name);
    put_lines(&expected, path);
    assert_int_equal(expected.n, given->n);
    for (size_t i = 0; i < given->n; i++) {
        const char *want = expected.at[i].at;
        char hash[16];
        describe(&l, t, &given->at[i]);
        snprintf(hash, sizeof hash, "h %08x", fnv(&l));
        if (strcmp(want, want[0] == 'h' ? hash : l.at) != 0 && ++bad <= 5)
            print_error("%s: text %zu: expected %.300s, found %s %.300s\n", name, i + 1, want, hash, l.at);
    }
    free(l.at);
    free_texts(&expected);
    return bad;
}

/* --- opening --- */

static lks_tokenizer *open_text(const char *json, size_t n, const char *name)
{
    lks_error err;
    lks_tokenizer *t = NULL;
    if (lks_tokenizer_open_json(&t, json, n, name, &err) != LKS_OK)
        fail_msg("%s", err.message);
    return t;
}

static lks_tokenizer *open_fixture(const char *name)
{
    char path[256];
    struct stat info;
    lks_error err;
    lks_tokenizer *t = NULL;
    snprintf(path, sizeof path, FIXTURES "%s", name);
    if (stat(path, &info) == 0) {
        if (lks_tokenizer_open_dir(&t, path, &err) != LKS_OK)
            fail_msg("%s", err.message);
        return t;
    }
    size_t n;
    snprintf(path, sizeof path, FIXTURES "%s.json", name);
    char *json = read_all(path, &n);
    t = open_text(json, n, path);
    free(json);
    return t;
}

/* The tokenizer that to_json describes; closes the one given. */
static lks_tokenizer *reopen(lks_tokenizer *t)
{
    lks_error err;
    char *json = NULL;
    size_t n;
    if (lks_tokenizer_to_json(t, &json, &n, &err) != LKS_OK)
        fail_msg("%s", err.message);
    lks_tokenizer_close(t);
    t = open_text(json, n, "to_json");
    free(json);
    return t;
}

static const char *const KINDS[] = {"gpt2",        "roberta",  "bert-uncased", "bert-cased",    "xlm-roberta-spm",
                                    "xlm-roberta", "spm-bpe",  "llama",        "unigram-steps", "wordpiece-steps",
                                    "bpe-suffix",  "bpe-regex"};

static void kinds_equal_hugging_face(void **state)
{
    (void)state;
    texts given = {0};
    int bad = 0;
    put_lines(&given, "tests/text/lines.txt");
    put_hostile(&given);
    for (size_t i = 0; i < sizeof KINDS / sizeof *KINDS; i++) {
        lks_tokenizer *t = open_fixture(KINDS[i]);
        bad += compare(KINDS[i], t, &given);
        t = reopen(t);
        bad += compare(KINDS[i], t, &given);
        lks_tokenizer_close(t);
    }
    free_texts(&given);
    assert_int_equal(bad, 0);
}

static void every_code_point_equals_hugging_face(void **state)
{
    (void)state;
    static const char *const probes[] = {"nfc",         "nfd",           "nfkc",         "nfkd",
                                         "lowercase",   "strip-accents", "nmt",          "bert",
                                         "bert-clean",  "charsmap",      "split-bytes",  "split-bert",
                                         "split-words", "split-white",   "split-digits", "split-punctuation"};
    texts given = {0};
    int bad = 0;
    put_hostile(&given);
    put_sweep(&given);
    for (size_t i = 0; i < sizeof probes / sizeof *probes; i++) {
        char name[64];
        snprintf(name, sizeof name, "probe-%s", probes[i]);
        lks_tokenizer *t = open_fixture(name);
        bad += compare(name, t, &given);
        lks_tokenizer_close(t);
    }
    free_texts(&given);
    assert_int_equal(bad, 0);
}

/* --- the interface --- */

static void tokens_have_ids(void **state)
{
    (void)state;
    lks_tokenizer *t = open_fixture("bert-cased");
    size_t n = 0;
    assert_int_equal(lks_tokenizer_size(t), 603);
    assert_int_equal(lks_tokenizer_id(t, "[CLS]"), 2);
    assert_int_equal(lks_tokenizer_id(t, "word"), 600);
    assert_int_equal(lks_tokenizer_id(t, "[ENC]"), 602);
    assert_int_equal(lks_tokenizer_id(t, "no such token"), -1);
    assert_true(lks_tokenizer_is_special(t, 2));
    assert_true(lks_tokenizer_is_special(t, 602));
    assert_false(lks_tokenizer_is_special(t, 600));
    assert_false(lks_tokenizer_is_special(t, 10));
    assert_false(lks_tokenizer_is_special(t, -1));
    assert_memory_equal(lks_tokenizer_token(t, 601, &n), "[DEC]", 5);
    assert_int_equal(n, 5);
    assert_null(lks_tokenizer_token(t, 603, &n));
    assert_null(lks_tokenizer_token(t, -1, &n));
    lks_tokenizer_close(t);
    lks_tokenizer_close(NULL);
}

static void decoding_skips_what_is_unknown(void **state)
{
    (void)state;
    lks_tokenizer *t = open_fixture("gpt2");
    const int32_t ids[] = {-5, lks_tokenizer_id(t, "a"), 1 << 30, lks_tokenizer_id(t, "b"), INT32_MIN, INT32_MAX};
    char *words = NULL;
    lks_error err;
    assert_int_equal(lks_tokenizer_decode(t, &words, ids, 6, true, &err), LKS_OK);
    assert_string_equal(words, "ab");
    free(words);
    assert_int_equal(lks_tokenizer_decode(t, &words, NULL, 0, true, &err), LKS_OK);
    assert_string_equal(words, "");
    free(words);
    lks_tokenizer_close(t);
}

/* A megabyte without a place to cut, for each model: this ends in seconds only if no step is quadratic. */
static void long_words_take_little_time(void **state)
{
    (void)state;
    static const char *const names[] = {"gpt2", "bert-uncased", "xlm-roberta", "llama", "probe-nfc", "probe-bert"};
    static const char *const units[] = {"ab", "\xCC\x81\xCC\xA7", " ", "\xE2\x96\x81", "."};
    for (size_t k = 0; k < sizeof units / sizeof *units; k++) {
        size_t width = strlen(units[k]), n = (1 << 20) / width * width;
        char *bytes = malloc(n);
        assert_non_null(bytes);
        for (size_t i = 0; i < n; i++)
            bytes[i] = units[k][i % width];
        for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
            lks_tokenizer *t = open_fixture(names[i]);
            int32_t *ids = NULL;
            size_t n_ids = 0;
            lks_error err;
            if (lks_tokenizer_encode(t, &ids, &n_ids, bytes, n, false, &err) != LKS_OK)
                fail_msg("%s: %s", names[i], err.message);
            assert_true(n_ids <= 2 * n);
            free(ids);
            lks_tokenizer_close(t);
        }
        free(bytes);
    }
}

static void *encode_many(void *pointer)
{
    const lks_tokenizer *t = pointer;
    intptr_t total = 0;
    for (int i = 0; i < 50; i++) {
        int32_t *ids = NULL;
        size_t n = 0;
        lks_error err;
        if (lks_tokenizer_encode(t, &ids, &n, "Ein Mann sitzt auf einer Bank.", 30, true, &err) != LKS_OK)
            return NULL;
        total += (intptr_t)n;
        free(ids);
    }
    return (void *)total; // NOLINT(performance-no-int-to-ptr)
}

static void threads_share_a_tokenizer(void **state)
{
    (void)state;
    static const char *const names[] = {"xlm-roberta", "gpt2", "bert-uncased"};
    for (size_t k = 0; k < sizeof names / sizeof *names; k++) {
        lks_tokenizer *t = open_fixture(names[k]);
        pthread_t threads[4];
        void *totals[4];
        for (size_t i = 0; i < 4; i++)
            assert_int_equal(pthread_create(&threads[i], NULL, encode_many, t), 0);
        for (size_t i = 0; i < 4; i++)
            pthread_join(threads[i], &totals[i]);
        assert_non_null(totals[0]);
        for (size_t i = 1; i < 4; i++)
            assert_ptr_equal(totals[i], totals[0]);
        lks_tokenizer_close(t);
    }
}

/* --- damaged and unsupported files --- */

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
        lks_status st = lks_tokenizer_open_json(&t, cases[i].json, strlen(cases[i].json), "some/file.json", &err);
        if (st != cases[i].status || !strstr(err.message, cases[i].says) || !strstr(err.message, "some/file.json"))
            fail_msg("%s gave %d: %s", cases[i].json, (int)st, err.message);
        assert_null(t);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kinds_equal_hugging_face),
        cmocka_unit_test(every_code_point_equals_hugging_face),
        cmocka_unit_test(tokens_have_ids),
        cmocka_unit_test(decoding_skips_what_is_unknown),
        cmocka_unit_test(long_words_take_little_time),
        cmocka_unit_test(threads_share_a_tokenizer),
        cmocka_unit_test(bad_files_are_named),
        cmocka_unit_test(an_empty_directory_is_no_tokenizer),
        cmocka_unit_test(ids_without_an_unknown_token_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
