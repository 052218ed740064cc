/* Files made by safetensors, torch and gguf hold what their makers put in: names, types, shapes, every value. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "fusion/weights/weights.h"
#include "tests/weights/weights_test.h"

static lks_weights *open_good(const char *path)
{
    lks_weights *w = NULL;
    lks_error err = {0};
    if (lks_weights_open(&w, path, &err) != LKS_OK)
        fail_msg("%s", err.message);
    assert_string_equal(lks_weights_path(w), path);
    return w;
}

static const lks_tensor *get(const lks_weights *w, const char *name)
{
    const lks_tensor *tensor = lks_weights_find(w, name);
    if (!tensor)
        fail_msg("%s lacks %s", lks_weights_path(w), name);
    return tensor;
}

/* The tensor has this shape ("[2, 3]"), type, and these values in row-major order. */
static void assert_tensor(const lks_weights *w, const char *name, const char *dtype, const char *shape,
                          const float *values)
{
    const lks_tensor *tensor = get(w, name);
    char text[96];
    assert_string_equal(lks_tensor_shape_text(text, tensor), shape);
    assert_string_equal(lks_dtype_name(tensor->dtype), dtype);
    float got[64];
    size_t n = (size_t)lks_tensor_count(tensor);
    assert_in_range(n, 0, 64);
    lks_tensor_to_f32(got, tensor);
    for (size_t i = 0; i < n; i++)
        if (!(got[i] == values[i]))
            fail_msg("%s[%zu] is %g, not %g", name, i, (double)got[i], (double)values[i]);
}

#define VALUES(...) ((const float[]){__VA_ARGS__})

static void assert_sorted(const lks_weights *w)
{
    for (size_t i = 0; i < lks_weights_count(w); i++) {
        assert_ptr_equal(lks_weights_find(w, lks_weights_at(w, i)->name), lks_weights_at(w, i));
        if (i > 0)
            assert_true(strcmp(lks_weights_at(w, i - 1)->name, lks_weights_at(w, i)->name) < 0);
    }
    assert_null(lks_weights_find(w, "absent"));
    assert_null(lks_weights_find(w, ""));
}

static const float six[] = {1, 2, 3, 4, 5, 6};
static const float twelve[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11};

static void test_safetensors(void **state)
{
    (void)state;
    lks_weights *w = open_good(DATA "types.safetensors");
    assert_string_equal(lks_weights_format(w), "safetensors");
    assert_int_equal(lks_weights_count(w), 13);
    assert_int_equal(lks_weights_bytes(w), 1127);
    assert_sorted(w);
    static const char *const types[] = {"f32", "f16", "bf16", "f64", "i8", "u8", "i16", "i32", "i64"};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        char name[16] = "type.";
        strcat(name, types[i]);
        assert_tensor(w, name, types[i], "[2, 3]", six);
    }
    assert_tensor(w, "type.bool", "bool", "[3]", VALUES(0, 1, 1));
    assert_tensor(w, "scalar", "f32", "[]", VALUES(7.5f));
    assert_tensor(w, "empty", "f32", "[0, 3]", NULL);
    assert_tensor(w, "four", "f32", "[2, 1, 3, 2]", twelve);
    size_t n;
    assert_null(lks_weights_string(w, "format", &n));
    lks_weights_close(w);
}

static void test_shards(void **state)
{
    (void)state;
    static const struct {
        const char *path, *format;
        size_t n;
    } models[] = {{DATA "shards", "safetensors", 3}, {DATA "bin-shards", "torch", 2}};
    for (size_t i = 0; i < 2; i++) {
        lks_weights *w = open_good(models[i].path);
        assert_string_equal(lks_weights_format(w), models[i].format);
        assert_int_equal(lks_weights_count(w), models[i].n);
        assert_sorted(w);
        assert_tensor(w, "a.weight", "f32", "[2, 2]", VALUES(10, 11, 12, 13));
        assert_tensor(w, "b.weight", "f32", "[4]", VALUES(20, 21, 22, 23));
        lks_weights_close(w);
    }
}

static void test_torch_views(void **state)
{
    (void)state;
    lks_weights *w = open_good(DATA "views.bin");
    assert_string_equal(lks_weights_format(w), "torch");
    assert_int_equal(lks_weights_count(w), 18);
    assert_sorted(w);
    assert_tensor(w, "whole", "f32", "[3, 4]", twelve);
    assert_tensor(w, "tied", "f32", "[3, 4]", twelve);
    assert_ptr_equal(get(w, "tied")->data, get(w, "whole")->data);
    assert_tensor(w, "transposed", "f32", "[4, 3]", VALUES(0, 4, 8, 1, 5, 9, 2, 6, 10, 3, 7, 11));
    assert_false(lks_tensor_is_contiguous(get(w, "transposed")));
    assert_tensor(w, "column", "f32", "[3]", VALUES(1, 5, 9));
    assert_tensor(w, "corner", "f32", "[2, 2]", VALUES(6, 7, 10, 11));
    assert_tensor(w, "half", "f16", "[5]", six);
    assert_tensor(w, "brain", "bf16", "[5]", six + 1);
    assert_tensor(w, "double", "f64", "[2]", six + 2);
    assert_tensor(w, "long", "i64", "[3]", six + 3);
    assert_tensor(w, "int", "i32", "[3]", VALUES(5, 6, 7));
    assert_tensor(w, "short", "i16", "[3]", VALUES(5, 6, 7));
    assert_tensor(w, "char", "i8", "[3]", VALUES(-1, 0, 1));
    assert_tensor(w, "byte", "u8", "[3]", VALUES(250, 251, 252));
    assert_tensor(w, "flags", "bool", "[2]", VALUES(1, 0));
    assert_tensor(w, "scalar", "f32", "[]", VALUES(7.5f));
    assert_tensor(w, "empty", "f32", "[0, 3]", NULL);
    assert_tensor(w, "ids", "i64", "[1, 4]", twelve);
    assert_tensor(w, "parameter", "f32", "[2]", VALUES(6, 7));
    lks_weights_close(w);
}

/* Protocols 3 to 5, and a state dict within a checkpoint. */
static void test_torch_wrappings(void **state)
{
    (void)state;
    static const char *const paths[] = {DATA "protocol3.bin", DATA "protocol4.bin", DATA "protocol5.bin",
                                        DATA "checkpoint.bin", DATA "model-key.bin"};
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        lks_weights *w = open_good(paths[i]);
        assert_int_equal(lks_weights_count(w), 7);
        assert_tensor(w, "0.weight", "f32", "[2, 2]", six);
        assert_tensor(w, "1.running_var", "f32", "[2]", VALUES(1, 1));
        assert_tensor(w, "1.num_batches_tracked", "i64", "[]", VALUES(0));
        lks_weights_close(w);
    }
}

static void assert_string_value(const lks_weights *w, const char *key, const char *value)
{
    size_t n = 99;
    const char *got = lks_weights_string(w, key, &n);
    assert_non_null(got);
    assert_int_equal(n, strlen(value));
    assert_memory_equal(got, value, n);
}

static void test_gguf(void **state)
{
    (void)state;
    lks_weights *w = open_good(DATA "values.gguf");
    assert_string_equal(lks_weights_format(w), "gguf");
    assert_int_equal(lks_weights_count(w), 9);
    assert_sorted(w);
    static const char *const types[] = {"f32", "f16", "f64", "i8", "i16", "i32", "i64"};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        char name[16] = "type.";
        strcat(name, types[i]);
        assert_tensor(w, name, types[i], "[2, 3]", six);
    }
    assert_tensor(w, "type.bf16", "bf16", "[2, 4]", VALUES(1, 2, 3, 4, 5, 6, 7, 8));
    assert_tensor(w, "four", "f32", "[2, 1, 3, 2]", twelve);
    assert_string_value(w, "general.architecture", "looksay");
    assert_string_value(w, "looksay.note", "zwei Hunde \xF0\x9F\x90\xB6");
    size_t n;
    assert_null(lks_weights_string(w, "looksay.count", &n));
    assert_null(lks_weights_string(w, "looksay", &n));
    lks_weights_close(w);

    w = open_good(DATA "aligned.gguf");
    assert_tensor(w, "a", "f32", "[3]", twelve);
    assert_tensor(w, "b", "f32", "[3]", twelve + 3);
    lks_weights_close(w);
}

/* What is well made and yet not for us: the message says what it is and what to do. */
static void test_refused(void **state)
{
    (void)state;
    static const struct {
        const char *path, *needle;
        lks_status status;
    } cases[] = {
        {DATA "f8.safetensors", "tensor 'f8' has dtype 'F8_E4M3'", LKS_ERR_UNSUPPORTED},
        {DATA "five-dims.safetensors", "tensor 'deep' has 5 dimensions", LKS_ERR_UNSUPPORTED},
        {DATA "five-dims.bin", "tensor 'deep' has 5 dimensions", LKS_ERR_UNSUPPORTED},
        {DATA "quantised.gguf", "tensor 'packed' has ggml type 8", LKS_ERR_UNSUPPORTED},
        {DATA "compressed.bin", "is compressed", LKS_ERR_UNSUPPORTED},
        {DATA "legacy.bin", "torch.save(torch.load(FILE), FILE)", LKS_ERR_MODEL},
        {DATA "module.bin", "'torch.nn.modules.container.Sequential'", LKS_ERR_MODEL},
        {DATA "command.bin", "'posix.system'", LKS_ERR_MODEL},
        {DATA "repeated.bin", "tensor 'wide' is larger than its storage", LKS_ERR_MODEL},
        {DATA "list.bin", "holds no state dict", LKS_ERR_MODEL},
        {DATA "no-tensors.bin", "holds no tensors", LKS_ERR_MODEL},
        {DATA, "holds no model.safetensors", LKS_ERR_MODEL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        lks_weights *const before = (lks_weights *)&cases[i], *w = before; /* must stay as it is */
        lks_error err = {0};
        assert_int_equal(lks_weights_open(&w, cases[i].path, &err), cases[i].status);
        assert_ptr_equal(w, before);
        assert_int_equal(strncmp(err.message, cases[i].path, strlen(cases[i].path)), 0);
        if (!strstr(err.message, cases[i].needle))
            fail_msg("no '%s' in: %s", cases[i].needle, err.message);
        assert_int_equal(lks_weights_open(&w, cases[i].path, NULL), cases[i].status);
    }
}

static void test_finite(void **state)
{
    (void)state;
    lks_weights *w = open_good(DATA "nan.safetensors");
    lks_error err = {0};
    assert_int_equal(lks_weights_check_finite(get(w, "fine"), &err), LKS_OK);
    assert_int_equal(lks_weights_check_finite(get(w, "nan"), &err), LKS_ERR_MODEL);
    assert_non_null(strstr(err.message, "tensor 'nan': element 2 is NaN or infinite"));
    assert_int_equal(lks_weights_check_finite(get(w, "inf"), &err), LKS_ERR_MODEL);
    assert_non_null(strstr(err.message, "tensor 'inf': element 1 "));
    lks_weights_close(w);

    /* A transposed view counts elements in its own order; integers and bf16 have their own rules. */
    float grid[2][3] = {{0, 1, 2}, {3, INFINITY, 5}};
    lks_tensor view = {.name = "view", .data = grid, .dtype = LKS_F32, .n_dims = 2, .shape = {3, 2}, .stride = {1, 3}};
    assert_int_equal(lks_weights_check_finite(&view, &err), LKS_ERR_MODEL);
    assert_non_null(strstr(err.message, "element 3 "));
    uint16_t brains[2] = {0x7F7F, 0xFF80};
    lks_tensor brain = {.name = "brain", .data = brains, .dtype = LKS_BF16, .n_dims = 1, .shape = {1}, .stride = {1}};
    assert_int_equal(lks_weights_check_finite(&brain, &err), LKS_OK);
    brain.shape[0] = 2;
    assert_int_equal(lks_weights_check_finite(&brain, &err), LKS_ERR_MODEL);
    brain.dtype = LKS_I16;
    assert_int_equal(lks_weights_check_finite(&brain, &err), LKS_OK);
    /* Rows shorter than a block are looked at together. */
    uint16_t pairs[300][2] = {{0}};
    lks_tensor panel = {
        .name = "panel", .data = pairs, .dtype = LKS_BF16, .n_dims = 3, .shape = {2, 150, 2}, .stride = {300, 2, 1}};
    assert_int_equal(lks_weights_check_finite(&panel, &err), LKS_OK);
    pairs[290][1] = 0x7F80;
    assert_int_equal(lks_weights_check_finite(&panel, &err), LKS_ERR_MODEL);
    assert_non_null(strstr(err.message, "element 581 "));
    double number = -NAN;
    lks_tensor scalar = {.name = "scalar", .data = &number, .dtype = LKS_F64};
    assert_int_equal(lks_weights_check_finite(&scalar, &err), LKS_ERR_MODEL);
    number = 1e300;
    assert_int_equal(lks_weights_check_finite(&scalar, &err), LKS_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_safetensors), cmocka_unit_test(test_shards),          cmocka_unit_test(test_torch_views),
        cmocka_unit_test(test_gguf),        cmocka_unit_test(test_torch_wrappings), cmocka_unit_test(test_refused),
        cmocka_unit_test(test_finite),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
