/* What lks_gguf_write writes lks_weights_open reads; a write that fails leaves what was there. */
#include <dirent.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "fusion/weights/gguf.h"
#include "fusion/weights/weights.h"
#include "tests/weights/weights_test.h"

static const unsigned char data[4096] = {1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11, 12,
                                         13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24};

static size_t n_files(const char *folder)
{
    size_t n = 0;
    DIR *listing = opendir(folder);
    assert_non_null(listing);
    for (struct dirent *entry; (entry = readdir(listing));)
        n += strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
    closedir(listing);
    return n;
}

static void test_round_trip(void **state)
{
    (void)state;
    static const lks_dtype dtypes[] = {LKS_F32, LKS_F16, LKS_BF16, LKS_F64, LKS_I8, LKS_I16, LKS_I32, LKS_I64};
    lks_tensor tensors[11] = {0};
    size_t n = 0;
    for (; n < 8; n++)
        tensors[n] = (lks_tensor){.name = lks_dtype_name(dtypes[n]),
                                  .data = data,
                                  .dtype = dtypes[n],
                                  .n_dims = 2,
                                  .shape = {2, 3},
                                  .stride = {3, 1}};
    tensors[n++] = (lks_tensor){.name = "scalar", .data = data, .dtype = LKS_F32};
    tensors[n++] =
        (lks_tensor){.name = "empty", .data = data, .dtype = LKS_F32, .n_dims = 1, .shape = {0}, .stride = {1}};
    tensors[n++] = (lks_tensor){.name = "a name of just as many as sixty-four bytes, the format's maximum",
                                .data = data + 1, /* not aligned */
                                .dtype = LKS_F32,
                                .n_dims = 4,
                                .shape = {2, 1, 3, 4},
                                .stride = {12, 99, 4, 1}};
    assert_int_equal(strlen(tensors[10].name), 64);
    const lks_gguf_string strings[] = {{"z.text", "a\0b", 3}, {"general.architecture", "looksay", 7}, {"empty", "", 0}};

    char *folder = make_folder(), path[512];
    path_in(path, folder, "model.gguf");
    lks_error err = {0};
    for (int twice = 0; twice < 2; twice++) /* the second time over the first */
        assert_int_equal(lks_gguf_write(path, strings, 3, tensors, n, &err), LKS_OK);
    assert_int_equal(n_files(folder), 1);

    lks_weights *w = NULL;
    assert_int_equal(lks_weights_open(&w, path, &err), LKS_OK);
    assert_int_equal(lks_weights_count(w), n);
    for (size_t i = 0; i < n; i++) {
        const lks_tensor *got = lks_weights_find(w, tensors[i].name);
        assert_non_null(got);
        assert_int_equal(got->dtype, tensors[i].dtype);
        assert_int_equal(got->n_dims, tensors[i].n_dims);
        assert_memory_equal(got->shape, tensors[i].shape, (size_t)got->n_dims * sizeof *got->shape);
        assert_true(lks_tensor_is_contiguous(got));
        assert_int_equal((uintptr_t)got->data % 64, 0);
        assert_memory_equal(got->data, tensors[i].data, (size_t)lks_tensor_count(got) * lks_dtype_size(got->dtype));
    }
    for (size_t i = 0; i < 3; i++) {
        size_t n_value = 99;
        const char *value = lks_weights_string(w, strings[i].key, &n_value);
        assert_non_null(value);
        assert_int_equal(n_value, strings[i].n);
        assert_memory_equal(value, strings[i].value, n_value);
    }
    lks_weights_close(w);
    remove_folder(folder);
}

static void refuse(const lks_gguf_string *strings, size_t n_strings, const lks_tensor *tensors, size_t n_tensors,
                   const char *needle)
{
    char *folder = make_folder(), path[512];
    lks_error err = {0};
    assert_int_equal(lks_gguf_write(path_in(path, folder, "x.gguf"), strings, n_strings, tensors, n_tensors, &err),
                     LKS_ERR_ARGUMENT);
    assert_non_null(strstr(err.message, needle));
    assert_non_null(strstr(err.message, "x.gguf: "));
    assert_int_equal(n_files(folder), 0);
    remove_folder(folder);
}

static void test_refused(void **state)
{
    (void)state;
    const lks_tensor good = {
        .name = "a", .data = data, .dtype = LKS_F32, .n_dims = 2, .shape = {2, 3}, .stride = {3, 1}};
    const lks_tensor twins[] = {good, good};
    refuse(NULL, 0, twins, 2, "appear twice");
    const lks_gguf_string keys[] = {{"k", "1", 1}, {"k", "2", 1}};
    refuse(keys, 2, &good, 1, "appear twice");
    const lks_gguf_string alignment = {"general.alignment", "8", 1}, nameless = {"", "8", 1};
    refuse(&alignment, 1, &good, 1, "appear twice");
    refuse(&nameless, 1, &good, 1, "a key is empty");
    lks_tensor bad = good;
    bad.stride[0] = 1;
    bad.stride[1] = 2;
    refuse(NULL, 0, &bad, 1, "tensor 'a' is not contiguous");
    bad = good;
    bad.dtype = LKS_U8;
    refuse(NULL, 0, &bad, 1, "tensor 'a' has a type that GGUF cannot hold");
    bad = good;
    bad.name = "12345678901234567890123456789012345678901234567890123456789012345";
    refuse(NULL, 0, &bad, 1, "needs a name of 1 to 64 bytes");
    bad.name = "";
    refuse(NULL, 0, &bad, 1, "needs a name of 1 to 64 bytes");
}

static void test_failures(void **state)
{
    (void)state;
    const lks_tensor good = {.name = "a", .data = data, .dtype = LKS_I8, .n_dims = 1, .shape = {4096}, .stride = {1}};
    char *folder = make_folder(), path[512], absent[512];
    lks_error err = {0};
    assert_int_equal(lks_gguf_write(path_in(absent, folder, "no/x.gguf"), NULL, 0, &good, 1, &err), LKS_ERR_IO);
    assert_non_null(strstr(err.message, "x.gguf: cannot be written: No such file"));
    assert_int_equal(lks_gguf_write(folder, NULL, 0, &good, 1, &err), LKS_ERR_IO);

    /* No room: the old file stays, and no other. */
    store(path_in(path, folder, "x.gguf"), "old", 3);
    struct rlimit before, limit;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    limit = before;
    limit.rlim_cur = 1000;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    lks_status st = lks_gguf_write(path, NULL, 0, &good, 1, &err);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_int_equal(st, LKS_ERR_IO);
    assert_non_null(strstr(err.message, "x.gguf: cannot be written: File too large"));
    bytes kept = load(path);
    assert_int_equal(kept.n, 3);
    assert_memory_equal(kept.data, "old", 3);
    clear(&kept);
    assert_int_equal(n_files(folder), 1);
    remove_folder(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_failures),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
