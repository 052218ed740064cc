/* int8 layers in packed files: written by a converter, bound where they lie, refused when anything about them is wrong. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "fusion/weights/convert.h"
#include "tests/weights/weights_test.h"

enum { D_IN = 70, D_OUT = 130, D_NONE = 0, D_ROWS = 1, D_COLUMNS = 2, N_DIMS = 3 };

static const int dims[N_DIMS] = {1, D_OUT, D_IN};
static const lks_binding with_bias[] = {{"part", LKS_BIND_LINEAR, 0, D_ROWS, D_COLUMNS, 0}};
static const lks_binding maybe_bias[] = {{"part", LKS_BIND_LINEAR, 0, D_ROWS, D_COLUMNS, LKS_BIND_BIAS_OPTIONAL}};
static const lks_binding joined[] = {{"query+value", LKS_BIND_LINEAR, 0, D_ROWS, D_COLUMNS, LKS_BIND_BIAS_OPTIONAL}};
static const lks_binding head[] = {{"head.weight|table", LKS_BIND_MATRIX, 0, D_ROWS, D_COLUMNS, 0}};

static float numbers[D_OUT * D_IN];

static void fill(void)
{
    for (int i = 0; i < D_OUT * D_IN; i++)
        numbers[i] = sinf((float)i) * (float)(1 + i / D_IN % 5);
}

static lks_tensor tensor(const char *name, const void *data, lks_dtype dtype, int rows, int columns)
{
    lks_tensor t = {.name = name, .data = data, .dtype = dtype, .n_dims = columns ? 2 : 1, .shape = {rows, columns}};
    t.stride[0] = columns ? columns : 1;
    t.stride[1] = 1;
    return t;
}

/* A folder with in.gguf: the plain weights of every table above. */
static char *make_plain(char path[512])
{
    fill();
    const lks_tensor tensors[] = {
        tensor("part.weight", numbers, LKS_F32, D_OUT, D_IN),
        tensor("part.bias", numbers, LKS_F32, D_OUT, 0),
        tensor("query.weight", numbers, LKS_F32, D_OUT / 2, D_IN),
        tensor("value.weight", numbers + 9, LKS_F32, D_OUT / 2, D_IN),
        tensor("value.bias", numbers + 5, LKS_F32, D_OUT / 2, 0),
        tensor("table", numbers, LKS_F32, D_OUT, D_IN),
    };
    char *folder = make_folder();
    path_in(path, folder, "in.gguf");
    assert_int_equal(lks_gguf_write(path, NULL, 0, tensors, sizeof tensors / sizeof *tensors, NULL), LKS_OK);
    return folder;
}

typedef struct bound_layer {
    lks_linear layer;
    lks_arena arena;
    lks_weights *weights;
} bound_layer;

/* Binds one row of a table from the file; the layer lives until release. */
static lks_status bind(bound_layer *out, const char *path, const lks_binding *row, lks_precision precision,
                       lks_converter *converter, lks_error *err)
{
    *out = (bound_layer){.weights = NULL};
    lks_status st = lks_weights_open(&out->weights, path, err);
    if (st != LKS_OK)
        return st;
    lks_bind_options options = {.ops = lks_ops_get(LKS_ISA_REF),
                                .precision = precision,
                                .listener = converter ? lks_converter_add : NULL,
                                .listener_context = converter};
    lks_binder binder = {.weights = out->weights, .prefix = "", .dims = dims, .options = &options};
    st = lks_bind(&binder, &out->layer, row, 1, 0, err);
    if (st == LKS_OK)
        st = lks_arena_init(&out->arena, binder.bytes + LKS_ALIGNMENT, err);
    binder.arena = &out->arena;
    if (st == LKS_OK)
        st = lks_bind(&binder, &out->layer, row, 1, 0, err);
    if (st == LKS_OK)
        assert_true(out->arena.used <= binder.bytes);
    return st;
}

static void release(bound_layer *b)
{
    lks_arena_release(&b->arena);
    lks_weights_close(b->weights);
}

static void assert_same_layers(const lks_linear *a, const lks_linear *b)
{
    assert_int_equal(a->d_in, b->d_in);
    assert_int_equal(a->d_out, b->d_out);
    assert_memory_equal(a->int8.panels, b->int8.panels, lks_int8_panel_bytes(D_IN, D_OUT));
    assert_memory_equal(a->int8.scales, b->int8.scales, D_OUT * sizeof(float));
    assert_memory_equal(a->int8.sums, b->int8.sums, D_OUT * sizeof(int32_t));
    assert_int_equal(a->bias == NULL, b->bias == NULL);
    if (a->bias)
        assert_memory_equal(a->bias, b->bias, D_OUT * sizeof(float));
}

static bool lies_in(const void *p, const bound_layer *b)
{
    return (const unsigned char *)p >= b->arena.base && (const unsigned char *)p < b->arena.base + b->arena.size;
}

/* Quantised while loading, written, loaded again: the same bytes, now in the mapped file and not in the arena. */
static void round_trip(void **state)
{
    (void)state;
    static const lks_binding *const tables[] = {with_bias, maybe_bias, joined, head};
    char path[512], packed[512];
    char *folder = make_plain(path);
    path_in(packed, folder, "out.gguf");
    for (size_t i = 0; i < sizeof tables / sizeof *tables; i++) {
        bound_layer first, second;
        lks_converter *converter;
        assert_int_equal(lks_converter_open(&converter, LKS_I8, NULL), LKS_OK);
        assert_int_equal(bind(&first, path, tables[i], LKS_PRECISION_INT8, converter, NULL), LKS_OK);
        assert_int_equal(lks_converter_n_int8_layers(converter), 1);
        assert_int_equal(lks_converter_n_tensors(converter), first.layer.bias ? 4 : 3);
        assert_int_equal(lks_converter_write(converter, packed, NULL, 0, NULL), LKS_OK);
        lks_converter_close(converter);
        assert_int_equal(bind(&second, packed, tables[i], LKS_PRECISION_AS_STORED, NULL, NULL), LKS_OK);
        assert_same_layers(&first.layer, &second.layer);
        assert_null(second.layer.packed);
        assert_false(lies_in(second.layer.int8.panels, &second) || lies_in(second.layer.int8.scales, &second));
        lks_error err;
        bound_layer refused;
        assert_int_equal(bind(&refused, packed, tables[i], LKS_PRECISION_F32, NULL, &err), LKS_ERR_UNSUPPORTED);
        assert_non_null(strstr(err.message, "int8"));
        release(&refused);
        release(&first);
        release(&second);
    }
    remove_folder(folder);
}

typedef struct damage {
    int part; /* of the four tensors */
    const char *name, *needle;
    lks_dtype dtype;
    int n_dims;
    int64_t shape[4];
    bool poisoned;
} damage;

/* Each damage replaces one tensor of a good file: renamed away, of another type or shape, or with NaN in it. */
static void damaged_layers(void **state)
{
    (void)state;
    static const damage cases[] = {
        {.part = 1, .name = "elsewhere", .needle = "part.int8_scale' is missing", LKS_F32, 1, {D_OUT}},
        {.part = 2, .name = "elsewhere", .needle = "part.int8_sum' is missing", LKS_I32, 1, {D_OUT}},
        {.part = 3, .name = "elsewhere", .needle = "part.int8_bias' is missing", LKS_F32, 1, {D_OUT}},
        {.part = 0, .needle = "part.int8' is of type f32", .dtype = LKS_F32, .n_dims = 4, .shape = {3, 18, 16, 4}},
        {.part = 0, .needle = "part.int8' has shape", .dtype = LKS_I8, .n_dims = 4, .shape = {3, 64, 18, 4}},
        {.part = 0, .needle = "part.int8' has shape", .dtype = LKS_I8, .n_dims = 4, .shape = {3, 17, 64, 4}},
        {.part = 0, .needle = "part.int8' has shape", .dtype = LKS_I8, .n_dims = 3, .shape = {3, 18, 256}},
        {.part = 1, .needle = "part.int8_scale' is of type f16", .dtype = LKS_F16, .n_dims = 1, .shape = {D_OUT}},
        {.part = 1, .needle = "part.int8_scale' has shape", .dtype = LKS_F32, .n_dims = 1, .shape = {D_OUT - 1}},
        {.part = 1, .needle = "NaN", .dtype = LKS_F32, .n_dims = 1, .shape = {D_OUT}, .poisoned = true},
        {.part = 2, .needle = "part.int8_sum' is of type f32", .dtype = LKS_F32, .n_dims = 1, .shape = {D_OUT}},
        {.part = 2, .needle = "part.int8_sum' has shape", .dtype = LKS_I32, .n_dims = 2, .shape = {2, D_OUT / 2}},
        {.part = 3, .needle = "part.int8_bias' has shape", .dtype = LKS_F32, .n_dims = 1, .shape = {1}},
        {.part = 3, .needle = "NaN", .dtype = LKS_F32, .n_dims = 1, .shape = {D_OUT}, .poisoned = true},
    };
    static int8_t zeros[3 * 18 * 64 * 4];
    float values[D_OUT];
    char *folder = make_folder(), path[512];
    path_in(path, folder, "damaged.gguf");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        for (int k = 0; k < D_OUT; k++)
            values[k] = cases[i].poisoned && k == 77 ? NAN : 1.0f;
        lks_tensor tensors[4] = {
            {.name = "part.int8", .data = zeros, .dtype = LKS_I8, .n_dims = 4, .shape = {3, 18, 64, 4}},
            {.name = "part.int8_scale", .data = numbers, .dtype = LKS_F32, .n_dims = 1, .shape = {D_OUT}},
            {.name = "part.int8_sum", .data = zeros, .dtype = LKS_I32, .n_dims = 1, .shape = {D_OUT}},
            {.name = "part.int8_bias", .data = numbers, .dtype = LKS_F32, .n_dims = 1, .shape = {D_OUT}},
        };
        for (int good = 0; good < 2; good++) { /* first the damage, then nothing, which must open */
            lks_tensor written[4];
            memcpy(written, tensors, sizeof written);
            if (!good) {
                lks_tensor *t = &written[cases[i].part];
                t->name = cases[i].name ? cases[i].name : t->name;
                t->data = cases[i].poisoned ? (const void *)values : zeros;
                t->dtype = cases[i].dtype;
                t->n_dims = cases[i].n_dims;
                memcpy(t->shape, cases[i].shape, sizeof t->shape);
            }
            for (int t = 0; t < 4; t++)
                for (int64_t d = written[t].n_dims - 1, stride = 1; d >= 0; stride *= written[t].shape[d], d--)
                    written[t].stride[d] = stride;
            lks_error err = {.message = ""};
            bound_layer layer;
            assert_int_equal(lks_gguf_write(path, NULL, 0, written, 4, NULL), LKS_OK);
            lks_status st = bind(&layer, path, with_bias, LKS_PRECISION_AS_STORED, NULL, &err);
            assert_int_equal(st, good ? LKS_OK : LKS_ERR_MODEL);
            if (!good && !strstr(err.message, cases[i].needle))
                fail_msg("'%s' does not say '%s'", err.message, cases[i].needle);
            release(&layer);
        }
    }
    remove_folder(folder);
}

/* Every half survives the way through f32, numbers between two halves go to the nearer, ties to the even one. */
static void halves(void **state)
{
    (void)state;
    for (unsigned bits = 0; bits < 0x7C00; bits++) {
        uint16_t pair[2] = {(uint16_t)bits, (uint16_t)(bits + 1)};
        lks_tensor both = {.data = pair, .dtype = LKS_F16, .n_dims = 1, .shape = {2}, .stride = {1}};
        float values[2];
        lks_tensor_to_f32(values, &both);
        float upper = bits == 0x7BFF ? 65536.0f : values[1], middle = 0.5f * (values[0] + upper);
        uint16_t even = (uint16_t)(bits & 1 ? bits + 1 : bits);
        assert_int_equal(lks_half_from_float(values[0]), bits);
        assert_int_equal(lks_half_from_float(-values[0]), bits | 0x8000);
        assert_int_equal(lks_half_from_float(middle), even);
        assert_int_equal(lks_half_from_float(nextafterf(middle, 0)), bits);
        assert_int_equal(lks_half_from_float(nextafterf(middle, INFINITY)), bits + 1);
    }
    assert_int_equal(lks_half_from_float(INFINITY), 0x7C00);
    assert_int_equal(lks_half_from_float(-1e30f), 0xFC00);
    assert_int_equal(lks_half_from_float(NAN) & 0x7E00, 0x7E00);
}

/* Matrices become f16 where their numbers fit; vectors, and numbers that do not fit, stay f32. A tensor used twice is stored
 * once. */
static void plain_types(void **state)
{
    (void)state;
    fill();
    static float large[4] = {1, 2, 65520, 4};
    lks_tensor matrix = tensor("matrix", numbers, LKS_F32, 3, 5), vector = tensor("vector", numbers, LKS_F32, 6, 0);
    lks_tensor wide = tensor("wide", large, LKS_F32, 2, 2), turned = tensor("turned", numbers, LKS_F32, 2, 3);
    turned.stride[0] = 1;
    turned.stride[1] = 2;
    const lks_bound bound = {.tensors = {&matrix, &vector, &wide, &turned, &matrix}, .n_tensors = 5};
    static const lks_dtype expected[2][4] = {{LKS_F32, LKS_F32, LKS_F32, LKS_F32},
                                             {LKS_F16, LKS_F16, LKS_F32, LKS_F32}};
    char *folder = make_folder(), path[512];
    path_in(path, folder, "plain.gguf");
    for (int half = 0; half < 2; half++) {
        lks_converter *converter;
        assert_int_equal(lks_converter_open(&converter, half ? LKS_F16 : LKS_F32, NULL), LKS_OK);
        assert_int_equal(lks_converter_add(converter, &bound, NULL), LKS_OK);
        assert_int_equal(lks_converter_n_tensors(converter), 4);
        assert_int_equal(lks_converter_write(converter, path, NULL, 0, NULL), LKS_OK);
        lks_converter_close(converter);
        lks_weights *weights;
        assert_int_equal(lks_weights_open(&weights, path, NULL), LKS_OK);
        for (size_t i = 0; i < 4; i++) /* matrix, turned, vector, wide */
            assert_int_equal(lks_weights_at(weights, i)->dtype, expected[half][i]);
        float got[6];
        lks_tensor_to_f32(got, lks_weights_find(weights, "turned"));
        for (int i = 0; i < 6; i++)
            assert_float_equal(got[i], numbers[i / 3 + i % 3 * 2], 2e-3);
        lks_weights_close(weights);
    }
    remove_folder(folder);
}

/* Names longer than the format allows are found by what they were; two that differ only far behind stay apart. */
static void long_names(void **state)
{
    (void)state;
    char first[120], second[120], path[512];
    memset(first, 'n', sizeof first);
    first[118] = 'a';
    first[119] = '\0';
    memcpy(second, first, sizeof second);
    second[118] = 'b';
    static float one[1] = {1}, two[1] = {2};
    lks_tensor a = tensor(first, one, LKS_F32, 1, 0), b = tensor(second, two, LKS_F32, 1, 0);
    const lks_bound bound = {.tensors = {&a, &b}, .n_tensors = 2};
    char *folder = make_folder();
    path_in(path, folder, "names.gguf");
    lks_converter *converter;
    assert_int_equal(lks_converter_open(&converter, LKS_F32, NULL), LKS_OK);
    assert_int_equal(lks_converter_add(converter, &bound, NULL), LKS_OK);
    assert_int_equal(lks_converter_write(converter, path, NULL, 0, NULL), LKS_OK);
    lks_converter_close(converter);
    lks_weights *weights;
    assert_int_equal(lks_weights_open(&weights, path, NULL), LKS_OK);
    const lks_tensor *found[2] = {lks_weights_find(weights, first), lks_weights_find(weights, second)};
    for (int i = 0; i < 2; i++) {
        float value;
        assert_non_null(found[i]);
        lks_tensor_to_f32(&value, found[i]);
        assert_float_equal(value, i + 1, 0);
        assert_int_equal(strlen(found[i]->name), 64);
        assert_ptr_equal(lks_weights_find(weights, found[i]->name), found[i]);
    }
    lks_weights_close(weights);
    remove_folder(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(round_trip),  cmocka_unit_test(damaged_layers), cmocka_unit_test(halves),
        cmocka_unit_test(plain_types), cmocka_unit_test(long_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
