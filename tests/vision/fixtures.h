/* What the tests of this folder share: fixture files, their expected values, and a hash. */
#ifndef LKS_TEST_FIXTURES_H
#define LKS_TEST_FIXTURES_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#define FIXTURES "tests/vision/fixtures/"

/* "FIXTURES name"; valid until the next call but three. */
const char *fixture_path(const char *name);

/* The whole file, malloc'ed; fails the test when it cannot be read. */
uint8_t *fixture_bytes(const char *name, size_t *n_bytes);

/* fixtures/expected.json; the caller releases it. */
json_t *fixture_expectations(void);

/* FNV-1a, 64 bits. */
uint64_t fixture_hash(const void *bytes, size_t n_bytes);
/* The hash that an entry of expected.json holds. */
uint64_t fixture_expected_hash(const json_t *entry);

#endif
