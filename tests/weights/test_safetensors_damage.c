/* Damaged and malicious safetensors: every one is refused with a message that says why, quickly, and without large allocations. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tests/weights/weights_test.h"

/* A file of this JSON and n_data bytes. */
static bytes make(const char *json, size_t n_data)
{
    bytes b = {0};
    put_le(&b, strlen(json), 8);
    put_text(&b, json);
    put_zeros(&b, n_data);
    return b;
}

static void refuse(const char *json, size_t n_data, const char *needle)
{
    bytes b = make(json, n_data);
    assert_refused(lks_safetensors_read, &b, needle);
}

static void accept(const char *json, size_t n_data)
{
    bytes b = make(json, n_data);
    assert_accepted(lks_safetensors_read, &b);
}

#define A(shape, offsets) "\"a\":{\"dtype\":\"F32\",\"shape\":" shape ",\"data_offsets\":" offsets "}"
#define B(shape, offsets) "\"b\":{\"dtype\":\"F32\",\"shape\":" shape ",\"data_offsets\":" offsets "}"

static void test_good(void **state)
{
    (void)state;
    accept("{" A("[2]", "[0,8]") "}", 8);
    accept("{" A("[2]", "[0,8]") "}      ", 8);
    accept("{" A("[2]", "[4,12]") "," B("[]", "[0,4]") "}", 12);
    accept("{" A("[0]", "[4,4]") "," B("[1]", "[0,4]") "}", 4);
    accept("{" A("[2000000000000000,0]", "[0,0]") "}", 0); /* and reading it takes no time */
    accept("{\"__metadata__\":{\"format\":\"pt\"}}", 0);
    accept("{}", 0);
}

static void test_header(void **state)
{
    (void)state;
    static const uint64_t lengths[] = {
        0, 1, 9, (uint64_t)1 << 31, 100000001, (uint64_t)1 << 63, UINT64_MAX, UINT64_MAX - 7};
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        bytes b = {0};
        put_le(&b, lengths[i], 8);
        put_text(&b, i == 1 ? " {}" : "{}");
        assert_refused(lks_safetensors_read, &b, "header");
    }
    refuse(" {}", 0, "does not start with '{'");
    refuse("[]", 0, "does not start with '{'");
    refuse("{", 0, "JSON is invalid");
    refuse("{}x", 0, "JSON is invalid");
    refuse("{\"a\":", 0, "JSON is invalid");
    refuse("{\"\xff\":1}", 0, "JSON is invalid");
    refuse("{\"a\\", 0, "JSON is invalid");
    refuse("{\"a\":{\"b\":{\"c\":{\"d\":{\"e\":{\"f\":{\"g\":{\"h\":{}}}}}}}}}", 0, "nested too deeply");
    refuse("{\"__metadata__\":3}", 0, "__metadata__");
    refuse("{\"__metadata__\":{\"a\":3}}", 0, "__metadata__");
}

static void test_entries(void **state)
{
    (void)state;
    refuse("{\"a\":3}", 0, "tensor 'a' lacks");
    refuse("{\"a\":{}}", 0, "tensor 'a' lacks");
    refuse("{\"a\":{\"dtype\":5,\"shape\":[]}}", 0, "tensor 'a' lacks");
    refuse("{\"a\":{\"dtype\":\"F32\",\"shape\":3}}", 0, "tensor 'a' lacks");
    refuse("{\"a\":{\"dtype\":\"F33\",\"shape\":[],\"data_offsets\":[0,4]}}", 4, "tensor 'a' has dtype 'F33'");
    refuse("{\"a\":{\"dtype\":\"f32\",\"shape\":[],\"data_offsets\":[0,4]}}", 4, "tensor 'a' has dtype 'f32'");
    refuse("{" A("[1,1,1,1,1,1,1,1,1]", "[0,4]") "}", 4, "tensor 'a' has 9 dimensions");
    refuse("{" A("[-1]", "[0,4]") "}", 4, "impossible shape");
    refuse("{" A("[1.0]", "[0,4]") "}", 4, "impossible shape");
    refuse("{" A("[\"1\"]", "[0,4]") "}", 4, "impossible shape");
    refuse("{" A("[4294967296,4294967296]", "[0,0]") "}", 0, "impossible shape");
    refuse("{" A("[4611686018427387904,4]", "[0,0]") "}", 0, "impossible shape");
    refuse("{" A("[4611686018427387904]", "[0,0]") "}", 0, "impossible shape");
    refuse("{" A("[0,4611686018427387904,4611686018427387904]", "[0,0]") "}", 0, "impossible shape");
    refuse("{" A("[99999999999999999999]", "[0,4]") "}", 4, "JSON is invalid");
    refuse("{\"a\":{\"dtype\":\"F32\",\"shape\":[1]}}", 4, "outside the file");
    refuse("{" A("[1]", "[0]") "}", 4, "outside the file");
    refuse("{" A("[1]", "[0,4,4]") "}", 4, "outside the file");
    refuse("{" A("[1]", "[0,8]") "}", 4, "outside the file");
    refuse("{" A("[1]", "[4,0]") "}", 4, "outside the file");
    refuse("{" A("[1]", "[-4,0]") "}", 4, "outside the file");
    refuse("{" A("[1]", "[9223372036854775804,9223372036854775807]") "}", 4, "outside the file");
    refuse("{" A("[2]", "[0,4]") "}", 4, "tensor 'a' needs 8 bytes");
    refuse("{\"\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4, "cannot be a tensor's name");
    refuse("{\"a\\n\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4, "'a?' cannot be a tensor's name");
    refuse("{\"a\\u0000\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4, "JSON is invalid");
}

static void test_cover(void **state)
{
    (void)state;
    refuse("{" A("[1]", "[0,4]") "," A("[1]", "[0,4]") "}", 4, "duplicate");
    refuse("{" A("[1]", "[0,4]") ",\"\\u0061\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,8]}}", 8,
           "duplicate");
    refuse("{" A("[2]", "[0,8]") "," B("[2]", "[4,12]") "}", 12, "overlaps another");
    refuse("{" A("[2]", "[0,8]") "," B("[2]", "[0,8]") "}", 8, "overlaps another");
    refuse("{" A("[1]", "[0,4]") "," B("[1]", "[8,12]") "}", 12, "tensor 'b' follows a hole");
    refuse("{" A("[1]", "[4,8]") "}", 8, "tensor 'a' follows a hole");
    refuse("{" A("[1]", "[0,4]") "}", 5, "has 5 bytes of data, its tensors fill 4");
    refuse("{}", 4, "its tensors fill 0");
    refuse("{" A("[0]", "[2,2]") "," B("[1]", "[0,4]") "}", 4, "overlaps another");
}

/* 100,000 entries, whatever they are, are refused before a tree of them stands in memory. */
static void test_many(void **state)
{
    (void)state;
    static const struct {
        const char *entry, *last, *needle;
    } cases[] = {
        {"\"%d\":{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[0,0]},", "\"x\":1}", "too many entries"},
        {"\"%d\":{},", "\"x\":1}", "too many entries"},
        {"\"%d\":1,", "\"x\":1}", "tensor '0' lacks"},
        {"\"%d\":[],[],", "\"x\":1}", "too many entries"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        bytes b = {0};
        put_le(&b, 0, 8);
        put_text(&b, "{");
        for (int k = 0; k < 100000; k++) {
            char text[96];
            snprintf(text, sizeof text, cases[i].entry, k);
            put_text(&b, text);
        }
        put_text(&b, cases[i].last);
        const uint64_t n = b.n - 8;
        for (size_t k = 0; k < 8; k++)
            b.data[k] = (unsigned char)(n >> 8 * k);
        clock_t before = clock();
        assert_refused(lks_safetensors_read, &b, cases[i].needle);
        assert_true(clock() - before < 3 * CLOCKS_PER_SEC);
    }
}

static void test_mutations(void **state)
{
    (void)state;
    static const char *const paths[] = {DATA "types.safetensors", DATA "nan.safetensors"};
    for (size_t i = 0; i < 2; i++) {
        bytes b = load(paths[i]);
        check_truncations(lks_safetensors_read, &b, b.n);
        check_flips(lks_safetensors_read, &b);
        put_zeros(&b, 1);
        assert_refused(lks_safetensors_read, &b, "bytes of data");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good),  cmocka_unit_test(test_header), cmocka_unit_test(test_entries),
        cmocka_unit_test(test_cover), cmocka_unit_test(test_many),   cmocka_unit_test(test_mutations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
