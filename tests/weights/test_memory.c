/* Every allocation of ours fails once: an error and no leak (under a sanitizer). And no damage makes a reader ask for much more memory
 * than the file has bytes. */
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "fusion/weights/gguf.h"
#include "fusion/weights/weights.h"
#include "tests/faults/allocator.h"
#include "tests/weights/weights_test.h"

static lks_status attempt(size_t *n_calls, size_t nth, const char *path)
{
    lks_weights *w = NULL;
    lks_error err = {0};
    allocator_begin(nth);
    lks_status st = lks_weights_open(&w, path, &err);
    *n_calls = allocator_end();
    if (st != LKS_OK && (st != LKS_ERR_NOMEM || !strstr(err.message, "out of memory") || w))
        fail_msg("%s, allocation %zu: %s", path, nth, err.message);
    lks_weights_close(w);
    return st;
}

static void test_failures(void **state)
{
    (void)state;
    static const char *const paths[] = {DATA "types.safetensors", DATA "shards",      DATA "bin-shards",
                                        DATA "checkpoint.bin",    DATA "values.gguf", DATA "views.bin"};
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        size_t nth = 0, n_calls;
        while (attempt(&n_calls, nth, paths[i]) != LKS_OK)
            nth++;
        assert_int_equal(nth, n_calls); /* it was the last one, none failed unnoticed */
        assert_in_range(nth, 5, 10000);
    }
}

static void test_writer(void **state)
{
    (void)state;
    static const float numbers[2] = {1, 2};
    const lks_tensor tensor = {
        .name = "a", .data = numbers, .dtype = LKS_F32, .n_dims = 1, .shape = {2}, .stride = {1}};
    const lks_gguf_string string = {"key", "value", 5};
    char *folder = make_folder(), path[512];
    lks_status st = LKS_ERR_NOMEM;
    size_t nth;
    for (nth = 0; st != LKS_OK; nth++) {
        lks_error err = {0};
        allocator_begin(nth);
        st = lks_gguf_write(path_in(path, folder, "x.gguf"), &string, 1, &tensor, 1, &err);
        allocator_end();
        assert_true(st == LKS_OK || st == LKS_ERR_NOMEM);
    }
    assert_in_range(nth, 2, 100);
    remove_folder(folder);
}

static void check_appetite(weight_reader reader, const char *path)
{
    bytes b = load(path);
    for (size_t bit = 0; bit < 8 * b.n; bit++) {
        b.data[bit / 8] ^= (unsigned char)(1 << bit % 8);
        const lks_weight_source in = {b.data, b.n, path};
        lks_weight_list list = {0};
        allocator_begin(SIZE_MAX);
        reader(&list, &in, NULL);
        lks_weight_list_release(&list);
        if (allocator_largest() > 16384 + 8 * b.n)
            fail_msg("%s with bit %zu flipped: asked for %zu bytes", path, bit, allocator_largest());
        b.data[bit / 8] ^= (unsigned char)(1 << bit % 8);
    }
    clear(&b);
}

static void test_appetite(void **state)
{
    (void)state;
    json_set_alloc_funcs(malloc, free); /* a shared library, out of the linker's reach */
    check_appetite(lks_safetensors_read, DATA "types.safetensors");
    check_appetite(lks_gguf_read, DATA "values.gguf");
    check_appetite(lks_torch_read, DATA "views.bin");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_failures),
        cmocka_unit_test(test_writer),
        cmocka_unit_test(test_appetite),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
