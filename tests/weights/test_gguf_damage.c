/* Damaged and malicious GGUF files: every one is refused with a message that says why. */
#include <stdlib.h>
#include <string.h>

#include "tests/weights/weights_test.h"

enum { U8 = 0, U32 = 4, BOOL = 7, STRING = 8, ARRAY = 9, U64 = 10 };

static bytes header(uint32_t version, uint64_t n_tensors, uint64_t n_values)
{
    bytes b = {0};
    put_text(&b, "GGUF");
    put_le(&b, version, 4);
    put_le(&b, n_tensors, 8);
    put_le(&b, n_values, 8);
    return b;
}

static void put_string(bytes *b, const char *text)
{
    put_le(b, strlen(text), 8);
    put_text(b, text);
}

static void put_key(bytes *b, const char *key, uint32_t type)
{
    put_string(b, key);
    put_le(b, type, 4);
}

/* One directory entry of a vector. */
static void put_tensor(bytes *b, const char *name, uint64_t n, uint32_t type, uint64_t offset)
{
    put_string(b, name);
    put_le(b, 1, 4);
    put_le(b, n, 8);
    put_le(b, type, 4);
    put_le(b, offset, 8);
}

static void align(bytes *b, size_t alignment)
{
    put_zeros(b, (alignment - b->n % alignment) % alignment);
}

/* A file with one f32 tensor of four elements; the parts can be changed one by one. */
static bytes one_tensor(const char *name, uint64_t n, uint32_t type, uint64_t offset)
{
    bytes b = header(3, 1, 0);
    put_tensor(&b, name, n, type, offset);
    align(&b, 32);
    put_zeros(&b, 32);
    return b;
}

#define REFUSE(b, needle) assert_refused(lks_gguf_read, b, needle)

static void test_good(void **state)
{
    (void)state;
    bytes b = one_tensor("a", 4, 0, 0);
    assert_accepted(lks_gguf_read, &b);
    b = one_tensor("a", 8, 0, 0);
    assert_accepted(lks_gguf_read, &b);
    b = one_tensor("a", 0, 0, 0);
    b.n -= 32;
    assert_accepted(lks_gguf_read, &b);
    b = header(3, 0, 0);
    assert_accepted(lks_gguf_read, &b);
}

static void test_header(void **state)
{
    (void)state;
    bytes b = header(2, 0, 0);
    REFUSE(&b, "version 3, little-endian");
    b = header(0x03000000, 0, 0);
    REFUSE(&b, "is big-endian GGUF");
    b = header(3, 0, 0);
    b.data[0] = 'g';
    REFUSE(&b, "no GGUF header");
    static const uint64_t counts[] = {1, 65537, (uint64_t)1 << 31, (uint64_t)1 << 63, UINT64_MAX};
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        b = header(3, counts[i], 0);
        REFUSE(&b, "impossible number of tensors");
        b = header(3, 0, counts[i]);
        REFUSE(&b, "impossible number of values");
    }
}

static bytes one_value(uint32_t type)
{
    bytes b = header(3, 0, 1);
    put_key(&b, "looksay.value", type);
    return b;
}

static void test_values(void **state)
{
    (void)state;
    bytes b = one_value(13);
    REFUSE(&b, "unknown type");
    b = one_value(U64);
    put_le(&b, 1, 7);
    REFUSE(&b, "longer than the file");
    b = one_value(BOOL);
    put_le(&b, 2, 1);
    REFUSE(&b, "neither 0 nor 1");
    static const uint64_t lengths[] = {9, (uint64_t)1 << 31, (uint64_t)1 << 61, UINT64_MAX};
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        b = one_value(STRING);
        put_le(&b, lengths[i], 8);
        put_zeros(&b, 8);
        REFUSE(&b, "longer than the file");
        for (uint32_t type = 0; type < 13; type++) {
            b = one_value(ARRAY);
            put_le(&b, type, 4);
            put_le(&b, lengths[i], 8);
            put_zeros(&b, 8);
            REFUSE(&b, type == ARRAY ? "unknown element type" : "longer than the file");
        }
    }
    b = one_value(ARRAY);
    put_le(&b, 13, 4);
    put_le(&b, 0, 8);
    REFUSE(&b, "unknown element type");
    b = one_value(ARRAY);
    put_le(&b, STRING, 4);
    put_le(&b, 2, 8);
    put_string(&b, "vocabulary");
    put_le(&b, 5, 8);
    put_text(&b, "cut");
    REFUSE(&b, "a string is longer");
    b = one_value(ARRAY);
    put_le(&b, U32, 4);
    REFUSE(&b, "ends inside an array");

    b = header(3, 0, 1);
    put_key(&b, "", U8);
    put_zeros(&b, 8);
    REFUSE(&b, "a key is empty");
    b = header(3, 0, 1);
    put_le(&b, 65536, 8);
    put_zeros(&b, 70000);
    REFUSE(&b, "a key is empty, too long");
    b = header(3, 0, 2);
    for (int i = 0; i < 2; i++) {
        put_key(&b, "twice", STRING);
        put_string(&b, i ? "one" : "other");
    }
    REFUSE(&b, "key 'twice' appears twice");
}

static void test_alignment(void **state)
{
    (void)state;
    static const uint32_t values[] = {0, 1, 3, 4, 48, 131072, (uint32_t)1 << 31, UINT32_MAX};
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        bytes b = header(3, 0, 1);
        put_key(&b, "general.alignment", U32);
        put_le(&b, values[i], 4);
        REFUSE(&b, "not a power of two");
    }
    bytes b = header(3, 0, 1);
    put_key(&b, "general.alignment", U64);
    put_le(&b, 32, 8);
    REFUSE(&b, "general.alignment is no u32");
    b = header(3, 0, 1);
    put_key(&b, "general.alignment", U32);
    REFUSE(&b, "general.alignment is no u32");
}

static void test_tensors(void **state)
{
    (void)state;
    bytes b = one_tensor("a", 9, 0, 0);
    REFUSE(&b, "tensor 'a' lies outside the file");
    b = one_tensor("a", (uint64_t)1 << 62, 0, 0);
    REFUSE(&b, "tensor 'a' has an impossible shape");
    b = one_tensor("a", (uint64_t)1 << 60, 0, 0);
    REFUSE(&b, "tensor 'a' lies outside the file");
    b = one_tensor("a", 4, 2, 0);
    REFUSE(&b, "tensor 'a' has ggml type 2");
    b = one_tensor("a", 4, UINT32_MAX, 0);
    REFUSE(&b, "tensor 'a' has ggml type");
    static const uint64_t offsets[] = {1, 32, (uint64_t)1 << 63, UINT64_MAX - 31};
    for (size_t i = 0; i < sizeof offsets / sizeof *offsets; i++) {
        b = one_tensor("a", 4, 0, offsets[i]);
        REFUSE(&b, "tensor 'a' has offset");
    }
    b = one_tensor("", 4, 0, 0);
    REFUSE(&b, "cannot be a tensor's name");
    b = one_tensor("a\x1b[2J", 4, 0, 0);
    REFUSE(&b, "'a?[2J' cannot be a tensor's name");
    b = one_tensor("12345678901234567890123456789012345678901234567890123456789012345", 4, 0, 0);
    REFUSE(&b, "name is too long");
    b = one_tensor("a", 4, 0, 0);
    put_zeros(&b, 1);
    REFUSE(&b, "bytes after its last tensor");
    b = header(3, 0, 0);
    put_zeros(&b, 40);
    REFUSE(&b, "data without tensors");

    for (uint32_t n_dims = 5; n_dims < 12; n_dims += 4) {
        b = header(3, 1, 0);
        put_string(&b, "a");
        put_le(&b, n_dims, 4);
        put_zeros(&b, 200);
        REFUSE(&b, n_dims == 5 ? "tensor 'a' has 5 dimensions" : "tensor 'a' has 9 dimensions");
    }
    b = header(3, 2, 0);
    put_tensor(&b, "a", 4, 0, 0);
    put_tensor(&b, "b", 4, 0, 0);
    align(&b, 32);
    put_zeros(&b, 64);
    REFUSE(&b, "tensor 'b' has offset 0, it should be 32");
}

static void test_mutations(void **state)
{
    (void)state;
    static const struct {
        const char *path;
        size_t n_padding; /* after the last tensor: may be missing */
    } cases[] = {{DATA "values.gguf", 16}, {DATA "aligned.gguf", 116}};
    for (size_t i = 0; i < 2; i++) {
        bytes b = load(cases[i].path);
        check_truncations(lks_gguf_read, &b, b.n - cases[i].n_padding);
        check_flips(lks_gguf_read, &b);
        clear(&b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good),      cmocka_unit_test(test_header),  cmocka_unit_test(test_values),
        cmocka_unit_test(test_alignment), cmocka_unit_test(test_tensors), cmocka_unit_test(test_mutations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
