#include "tests/vision/fixtures.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

const char *fixture_path(const char *name)
{
    static char paths[4][256];
    static unsigned turn;
    char *path = paths[turn++ % 4];
    snprintf(path, sizeof paths[0], FIXTURES "%s", name);
    return path;
}

uint8_t *fixture_bytes(const char *name, size_t *n_bytes)
{
    FILE *file = fopen(fixture_path(name), "rb");
    if (!file)
        fail_msg("%s is missing", fixture_path(name));
    assert_int_equal(fseek(file, 0, SEEK_END), 0);
    long n = ftell(file);
    assert_true(n > 0);
    rewind(file);
    uint8_t *bytes = malloc((size_t)n);
    assert_non_null(bytes);
    assert_int_equal(fread(bytes, 1, (size_t)n, file), (size_t)n);
    fclose(file);
    *n_bytes = (size_t)n;
    return bytes;
}

json_t *fixture_expectations(void)
{
    json_error_t problem;
    json_t *root = json_load_file(FIXTURES "expected.json", 0, &problem);
    if (!root)
        fail_msg("expected.json, line %d: %s", problem.line, problem.text);
    return root;
}

uint64_t fixture_hash(const void *bytes, size_t n_bytes)
{
    uint64_t value = 0xCBF29CE484222325u;
    const uint8_t *p = bytes;
    for (size_t i = 0; i < n_bytes; i++)
        value = (value ^ p[i]) * 0x100000001B3u;
    return value;
}

uint64_t fixture_expected_hash(const json_t *entry)
{
    const char *text = json_string_value(json_object_get(entry, "fnv"));
    assert_non_null(text);
    return strtoull(text, NULL, 16);
}
