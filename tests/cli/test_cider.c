/* CIDEr against pycocoevalcap: cider.jsonl holds captions, references and its score (make_cider.py). */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>
#include <jansson.h>

#include "apps/cli/cider.h"

static void add(cider *c, const char *caption, const json_t *references)
{
    const char *texts[8];
    size_t n = json_array_size(references);
    assert_in_range(n, 1, 8);
    for (size_t i = 0; i < n; i++)
        texts[i] = json_string_value(json_array_get(references, i));
    assert_true(cider_add(c, caption, texts, n));
}

static void as_pycocoevalcap(void **state)
{
    (void)state;
    FILE *file = fopen("tests/cli/cider.jsonl", "r");
    assert_non_null(file);
    cider *c = cider_open();
    assert_non_null(c);
    json_t *row;
    double want = NAN;
    while ((row = json_loadf(file, JSON_DISABLE_EOF_CHECK, NULL))) {
        const char *caption = json_string_value(json_object_get(row, "caption"));
        if (caption)
            add(c, caption, json_object_get(row, "references"));
        else
            want = json_number_value(json_object_get(row, "cider"));
        json_decref(row);
    }
    double got = cider_score(c);
    if (!(fabs(got - want) < 1e-4))
        fail_msg("CIDEr is %.6f, should be %.6f", got, want);
    cider_close(c);
    fclose(file);
}

/* Nobody's words score nothing, one's own the most that there is; no photos, or none that people described, score 0. */
static void extremes(void **state)
{
    (void)state;
    cider *c = cider_open();
    assert_non_null(c);
    assert_true(cider_score(c) == 0.0);
    const char *dog = "a small dog on a red chair", *sea = "waves break over grey rocks";
    assert_true(cider_add(c, dog, &dog, 1));
    assert_true(cider_add(c, sea, &sea, 1));
    assert_true(fabs(cider_score(c) - 10.0) < 1e-9);
    assert_true(cider_add(c, "...!", &sea, 1));
    assert_true(cider_add(c, "", NULL, 0));
    double score = cider_score(c);
    assert_true(score > 4.9 && score < 5.1);
    cider_close(c);
    cider_close(NULL);
}

/* More words than fit their numbers: still a score. */
static void many_words(void **state)
{
    (void)state;
    cider *c = cider_open();
    assert_non_null(c);
    char text[64];
    const char *reference = text;
    for (int i = 0; i < 70000; i += 3) {
        snprintf(text, sizeof text, "w%d w%d w%d", i, i + 1, i + 2);
        assert_true(cider_add(c, text, &reference, 1));
    }
    double score = cider_score(c);
    assert_true(score > 5.0 && score < 10.0); /* captions of three words have no runs of four */
    cider_close(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(as_pycocoevalcap),
        cmocka_unit_test(extremes),
        cmocka_unit_test(many_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
