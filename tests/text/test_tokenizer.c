/* Tokenizers against Hugging Face: ids and decoded texts of 2,000 caption lines, of hostile strings and of Unicode,
 * for every kind of tokenizer (fixtures and expectations: make_fixtures.py); and what the interface promises besides. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "fusion/weights/file.h"
#include "tests/text/open_text.h"
#include "text/unicode.h"

#define FIXTURES "tests/text/fixtures/"

enum { MOST = 16 << 20, CHUNK = 256 };

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

/* The bytes that `hex` stands for, so many times; malloc'ed. */
static char *unhex(const char *hex, size_t times)
{
    size_t n = strlen(hex) / 2;
    char *bytes = malloc(times * n + 1);
    assert_non_null(bytes);
    for (size_t k = 0; k < times * n; k++) {
        const char pair[3] = {hex[k % n * 2], hex[k % n * 2 + 1], 0};
        bytes[k] = (char)strtoul(pair, NULL, 16);
    }
    return bytes;
}

/* "TIMES HEX" */
static void put_hostile(texts *list)
{
    texts lines = {0};
    put_lines(&lines, FIXTURES "hostile.txt");
    for (size_t i = 0; i < lines.n; i++) {
        char *hex;
        size_t times = strtoul(lines.at[i].at, &hex, 10);
        put_text(list, unhex(hex + 1, times), times * strlen(hex + 1) / 2);
    }
    free_texts(&lines);
}

/* All of the blocks whose code points differ from each other, a few of the others. */
static bool swept(uint32_t c)
{
    static const uint32_t whole[][2] = {{0x1, 0x3400},      {0xA000, 0xAC00},   {0xD7A0, 0xD800},  {0xF900, 0x12000},
                                        {0x1D000, 0x20000}, {0x2F800, 0x2FB00}, {0xE0000, 0xE0200}};
    for (size_t i = 0; i < sizeof whole / sizeof *whole; i++) {
        if (c >= whole[i][0] && c < whole[i][1])
            return true;
    }
    return c % (c < 0x40000 ? 61 : 499) == 0 && (c < 0xD800 || c >= 0xE000);
}

/* CHUNK swept code points c at a time, each as "ac1cc ". */
static void put_sweep(texts *list)
{
    char bytes[CHUNK * 16];
    size_t n = 0, n_points = 0;
    for (uint32_t c = 1; c < 0x110000; c++) {
        if (swept(c)) {
            bytes[n++] = 'a';
            n += lks_utf8_put(bytes + n, c);
            bytes[n++] = '1';
            n += lks_utf8_put(bytes + n, c);
            n += lks_utf8_put(bytes + n, c);
            bytes[n++] = ' ';
            n_points++;
        }
        if (n_points == CHUNK || (c == 0x10FFFF && n > 0)) {
            put_text(list, memcpy(malloc(n), bytes, n), n);
            n = n_points = 0;
        }
    }
}

typedef struct line {
    char *at;
    size_t n, cap;
} line;

static void reserve(line *l, size_t n)
{
    if (l->n + n + 1 > l->cap) {
        l->cap = 2 * (l->n + n + 1);
        l->at = realloc(l->at, l->cap);
        assert_non_null(l->at);
    }
}

static void put(line *l, const char *s, size_t n)
{
    reserve(l, n);
    memcpy(l->at + l->n, s, n);
    l->n += n;
    l->at[l->n] = '\0';
}

/* Appends [from, from + n) of the line itself. */
static void put_again(line *l, size_t from, size_t n)
{
    reserve(l, n);
    memcpy(l->at + l->n, l->at + from, n);
    l->n += n;
    l->at[l->n] = '\0';
}

/* Not by printf, which took most of this test's time. */
static void put_ids(line *l, const int32_t *ids, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        char number[12];
        size_t at = sizeof number;
        assert_true(ids[i] >= 0);
        for (int32_t left = ids[i]; at == sizeof number || left; left /= 10)
            number[--at] = (char)('0' + left % 10);
        if (i)
            number[--at] = ' ';
        put(l, number + at, sizeof number - at);
    }
}

static void put_decoded(line *l, const lks_tokenizer *t, const int32_t *ids, size_t n, bool skip_special)
{
    lks_error err;
    char *decoded = NULL;
    if (lks_tokenizer_decode(t, &decoded, ids, n, skip_special, &err) != LKS_OK)
        fail_msg("%s", err.message);
    put(l, "|", 1);
    for (const char *s = decoded; *s; s++) {
        unsigned byte = (unsigned char)*s;
        const char pair[2] = {"0123456789abcdef"[byte >> 4], "0123456789abcdef"[byte & 15]};
        put(l, pair, sizeof pair);
    }
    free(decoded);
}

/* Appends what the tokenizer makes of a text, as an expectation writes it. */
static void describe(line *l, const lks_tokenizer *t, const text *given)
{
    lks_error err;
    int32_t *whole = NULL, *plain = NULL;
    size_t n_whole = 0, n_plain = 0;
    if (lks_tokenizer_encode(t, &whole, &n_whole, given->at, given->n, true, &err) != LKS_OK ||
        lks_tokenizer_encode(t, &plain, &n_plain, given->at, given->n, false, &err) != LKS_OK)
        fail_msg("%s", err.message);
    put_ids(l, whole, n_whole);
    put(l, "|", 1);
    put_ids(l, plain, n_plain);
    size_t decoded = l->n;
    put_decoded(l, t, whole, n_whole, true);
    size_t n_decoded = l->n - decoded, n_special = 0;
    for (size_t i = 0; i < n_whole; i++)
        n_special += lks_tokenizer_is_special(t, whole[i]);
    if (n_special)
        put_decoded(l, t, whole, n_whole, false);
    else /* nothing to skip: the same again, at half the time */
        put_again(l, decoded, n_decoded);
    put(l, "\n", 1);
    free(whole);
    free(plain);
}

static uint32_t crc32(const line *l)
{
    uint32_t table[256], value = 0xFFFFFFFFu;
    for (uint32_t byte = 0; byte < 256; byte++) {
        table[byte] = byte;
        for (int bit = 0; bit < 8; bit++)
            table[byte] = table[byte] >> 1 ^ (table[byte] & 1 ? 0xEDB88320u : 0);
    }
    for (size_t i = 0; i < l->n; i++)
        value = value >> 8 ^ table[(value ^ (unsigned char)l->at[i]) & 255];
    return ~value;
}

/* How many expectations of fixtures/NAME.expected fail. */
static int compare(const char *name, const lks_tokenizer *t, const texts *given)
{
    char path[256], hash[40];
    texts expected = {0};
    line l = {0};
    size_t from = 0;
    int bad = 0;
    snprintf(path, sizeof path, FIXTURES "%s.expected", name);
    put_lines(&expected, path);
    assert_non_null(expected.at);
    for (size_t e = 0; e < expected.n; e++) {
        const char *want = expected.at[e].at;
        bool hashed = want[0] == 'h';
        size_t count = hashed ? strtoul(want + 1, NULL, 10) : 1;
        assert_in_range(count, 1, given->n - from);
        l.n = 0;
        for (size_t i = 0; i < count; i++)
            describe(&l, t, &given->at[from + i]);
        snprintf(hash, sizeof hash, "h %zu %08x", count, crc32(&l));
        if (!l.at) { /* count is 1 at least */
            fail_msg("%s: text %zu gave nothing", name, from + 1);
            return -1;
        }
        l.at[l.n - 1] = '\0';
        if (strcmp(want, hashed ? hash : l.at) != 0 && ++bad <= 5)
            print_error("%s: texts %zu to %zu: expected %s, found %s: %.300s\n", name, from + 1, from + count, want,
                        hash, l.at);
        from += count;
    }
    assert_int_equal(from, given->n);
    free(l.at);
    free_texts(&expected);
    return bad;
}

/* --- opening --- */

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

/* The tokenizer that its own texts describe, and then the texts of that; closes the one given. */
static lks_tokenizer *reopen(lks_tokenizer *t)
{
    for (int i = 0; i < 2; i++) {
        lks_error err;
        lks_tokenizer_texts written;
        if (lks_tokenizer_to_texts(t, &written, &err) != LKS_OK)
            fail_msg("%s", err.message);
        lks_tokenizer_close(t);
        t = NULL;
        if (lks_tokenizer_open_texts(&t, &written, "to_texts", &err) != LKS_OK)
            fail_msg("%s", err.message);
        lks_tokenizer_texts_free(&written);
    }
    return t;
}

static const char *const KINDS[] = {
    "gpt2",         "roberta",     "bert-uncased", "bert-cased",    "xlm-roberta-spm", "xlm-roberta", "spm-bpe",
    "spm-bpe-bare", "spm-unigram", "llama",        "unigram-steps", "wordpiece-steps", "bpe-suffix",  "bpe-regex"};

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

static void code_points_equal_hugging_face(void **state)
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
    assert_int_equal(lks_tokenizer_id(t, "[CLS]"), 2);
    assert_int_equal(lks_tokenizer_id(t, "word"), 600);
    assert_int_equal(lks_tokenizer_id(t, "[ENC]"), 602);
    assert_int_equal(lks_tokenizer_id(t, "no such token"), -1);
    assert_true(lks_tokenizer_is_special(t, 2));
    assert_true(lks_tokenizer_is_special(t, 602));
    assert_false(lks_tokenizer_is_special(t, 600));
    assert_false(lks_tokenizer_is_special(t, 10));
    assert_false(lks_tokenizer_is_special(t, -1));
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

/* The processor time this thread takes to encode n bytes, in seconds: other programs do not count. */
static double encoding_time(const lks_tokenizer *t, const char *bytes, size_t n)
{
    struct timespec start, end;
    int32_t *ids = NULL;
    size_t n_ids = 0;
    lks_error err;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &start);
    if (lks_tokenizer_encode(t, &ids, &n_ids, bytes, n, false, &err) != LKS_OK)
        fail_msg("%s", err.message);
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &end);
    assert_true(n_ids <= 2 * n);
    free(ids);
    return (double)(end.tv_sec - start.tv_sec) + 1e-9 * (double)(end.tv_nsec - start.tv_nsec);
}

/* A long text without a place to cut, for each model. 32 times the text may take at most 200 times as long: linear steps
 * take 32 times, quadratic ones 1024 times. */
static void long_words_take_linear_time(void **state)
{
    (void)state;
    static const char *const names[] = {"gpt2", "bert-uncased", "xlm-roberta", "llama", "probe-nfc", "probe-bert"};
    static const char *const units[] = {"ab", "\xCC\x81\xCC\xA7", " ", "\xE2\x96\x81", "."};
    enum { SHORT = 6 << 10, LONG = 32 * SHORT };
    static char bytes[LONG];
    for (size_t k = 0; k < sizeof units / sizeof *units; k++) {
        for (size_t i = 0; i < LONG; i++)
            bytes[i] = units[k][i % strlen(units[k])];
        for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
            lks_tokenizer *t = open_fixture(names[i]);
            double few = encoding_time(t, bytes, SHORT); /* also builds what the first text builds */
            for (int again = 0; again < 4; again++)
                few = fmin(few, encoding_time(t, bytes, SHORT));
            double many = encoding_time(t, bytes, LONG);
            if (many > 200 * few)
                fail_msg("%s: %d bytes of \"%s\" take %g s, %d bytes %g s", names[i], SHORT, units[k], few, LONG, many);
            lks_tokenizer_close(t);
        }
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

/* Prints what a fixture makes of each line of a file: "t HEX", a text, as an expectation has it; "i ID ID...", decoded without and
 * with special tokens. For explore.py. */
static int answer(const char *name, const char *path)
{
    texts given = {0};
    line l = {0};
    lks_tokenizer *t = open_fixture(name);
    put_lines(&given, path);
    for (size_t i = 0; i < given.n; i++) {
        char *rest = given.at[i].at + 1;
        l.n = 0;
        if (given.at[i].at[0] == 't') {
            char *bytes = unhex(rest + 1, 1);
            describe(&l, t, &(text){bytes, strlen(rest + 1) / 2});
            free(bytes);
        } else {
            int32_t *ids = malloc((given.at[i].n + 1) * sizeof *ids);
            size_t n = 0;
            assert_non_null(ids);
            while (*rest)
                ids[n++] = (int32_t)strtol(rest, &rest, 10);
            put_decoded(&l, t, ids, n, true);
            put_decoded(&l, t, ids, n, false);
            put(&l, "\n", 1);
            free(ids);
        }
        fwrite(l.at, 1, l.n, stdout);
    }
    lks_tokenizer_close(t);
    free(l.at);
    free_texts(&given);
    return EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
    if (argc == 3)
        return answer(argv[1], argv[2]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kinds_equal_hugging_face),
        cmocka_unit_test(code_points_equal_hugging_face),
        cmocka_unit_test(tokens_have_ids),
        cmocka_unit_test(decoding_skips_what_is_unknown),
        cmocka_unit_test(long_words_take_linear_time),
        cmocka_unit_test(threads_share_a_tokenizer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
