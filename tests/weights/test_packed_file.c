/* Layers below f32 in packed files: written by a converter, bound where they lie, refused when anything about them is wrong. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fusion/weights/bind_packed.h"
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

static size_t part_bytes(const lks_packed_part *part)
{
    size_t n = lks_dtype_size(part->dtype);
    for (int i = 0; i < part->n_dims; i++)
        n *= (size_t)part->shape[i];
    return n;
}

/* Returns the number of parts. */
static int assert_same_layers(const lks_linear *a, const lks_linear *b)
{
    assert_int_equal(a->d_in, b->d_in);
    assert_int_equal(a->d_out, b->d_out);
    assert_int_equal(lks_linear_precision(a), lks_linear_precision(b));
    lks_packed one = lks_packed_of(a), other = lks_packed_of(b);
    lks_packed_part parts[LKS_PACKED_PARTS];
    lks_packed_describe(parts, lks_linear_precision(a), D_IN, D_OUT);
    int n = 0;
    for (int i = 0; i < LKS_PACKED_PARTS; i++) {
        assert_int_equal(one.data[i] == NULL, other.data[i] == NULL);
        assert_true(i == LKS_PACKED_BIAS || (one.data[i] == NULL) == (parts[i].suffix == NULL));
        if (!one.data[i])
            continue;
        assert_memory_equal(one.data[i], other.data[i], part_bytes(&parts[i]));
        n++;
    }
    return n;
}

static bool lies_in(const void *p, const bound_layer *b)
{
    return (const unsigned char *)p >= b->arena.base && (const unsigned char *)p < b->arena.base + b->arena.size;
}

static const lks_precision precisions[] = {LKS_PRECISION_INT8, LKS_PRECISION_BF16, LKS_PRECISION_INT4};
enum { N_PRECISIONS = sizeof precisions / sizeof *precisions };

/* Packed while loading, written, loaded again: the same bytes, now in the mapped file and not in the arena. */
static void check_round_trip(const char *path, const char *written, const lks_binding *table, lks_precision precision)
{
    bound_layer first, second;
    lks_converter *converter;
    assert_int_equal(lks_converter_open(&converter, LKS_F32, precision, NULL), LKS_OK);
    assert_int_equal(bind(&first, path, table, precision, converter, NULL), LKS_OK);
    assert_int_equal(lks_weights_precision(first.weights), LKS_PRECISION_F32);
    if (precision == LKS_PRECISION_INT4 && table->kind == LKS_BIND_MATRIX)
        precision = LKS_PRECISION_INT8; /* a vocabulary head */
    assert_int_equal(lks_linear_precision(&first.layer), precision);
    assert_int_equal(lks_converter_n_packed_layers(converter), 1);
    assert_int_equal(lks_converter_write(converter, written, NULL, 0, NULL), LKS_OK);
    assert_int_equal(bind(&second, written, table, LKS_PRECISION_AS_STORED, NULL, NULL), LKS_OK);
    assert_int_equal(lks_weights_precision(second.weights), precision);
    assert_int_equal(lks_converter_n_tensors(converter), assert_same_layers(&first.layer, &second.layer));
    assert_null(second.layer.packed);
    lks_packed packed = lks_packed_of(&second.layer);
    for (int i = 0; i < LKS_PACKED_PARTS; i++)
        assert_false(lies_in(packed.data[i], &second));
    lks_converter_close(converter);
    release(&first);
    release(&second);
}

static void round_trip(void **state)
{
    (void)state;
    enum { N_TABLES = 4 };
    static const lks_binding *const tables[N_TABLES] = {with_bias, maybe_bias, joined, head};
    char path[512], written[512];
    char *folder = make_plain(path);
    path_in(written, folder, "out.gguf");
    for (size_t i = 0; i < N_TABLES; i++)
        for (int k = 0; k < N_PRECISIONS; k++)
            check_round_trip(path, written, tables[i], precisions[k]);
    remove_folder(folder);
}

typedef struct damage {
    lks_precision precision;
    int part; /* LKS_PACKED_PANELS ... */
    const char *name, *needle;
    lks_dtype dtype;
    int n_dims;
    int64_t shape[4];
    bool poisoned;
} damage;

/* A packed layer of zeros but for `damage`, or as it should be: the tensors that it has, in `out`; returns how many. */
static int make_layer(lks_tensor out[LKS_PACKED_PARTS], char names[LKS_PACKED_PARTS][32], const damage *c, bool good)
{
    static unsigned char zeros[4 * 36 * 64 * 4], poison[sizeof zeros];
    memset(poison, 0xFF, sizeof poison);
    lks_packed_part parts[LKS_PACKED_PARTS];
    lks_packed_describe(parts, c->precision, D_IN, D_OUT);
    int n = 0;
    for (int i = 0; i < LKS_PACKED_PARTS; i++) {
        if (!parts[i].suffix)
            continue;
        bool damaged = !good && i == c->part;
        snprintf(names[n], 32, "part%s", parts[i].suffix);
        lks_tensor *t = &out[n];
        *t = (lks_tensor){.name = damaged && c->name ? c->name : names[n],
                          .data = damaged && c->poisoned ? poison : zeros,
                          .dtype = damaged ? c->dtype : parts[i].dtype,
                          .n_dims = damaged ? c->n_dims : parts[i].n_dims};
        memcpy(t->shape, damaged ? c->shape : parts[i].shape, sizeof c->shape);
        for (int64_t d = t->n_dims - 1, stride = 1; d >= 0; stride *= t->shape[d], d--)
            t->stride[d] = stride;
        n++;
    }
    return n;
}

/* First the damage, then nothing, which must open. */
static void check_damage(const char *path, const damage *c)
{
    for (int good = 0; good < 2; good++) {
        lks_tensor tensors[LKS_PACKED_PARTS];
        char names[LKS_PACKED_PARTS][32];
        lks_error err = {.message = ""};
        bound_layer layer;
        int n = make_layer(tensors, names, c, good != 0);
        assert_int_equal(lks_gguf_write(path, NULL, 0, tensors, (size_t)n, NULL), LKS_OK);
        lks_status st = bind(&layer, path, with_bias, LKS_PRECISION_AS_STORED, NULL, &err);
        assert_int_equal(st, good ? LKS_OK : LKS_ERR_MODEL);
        if (!good && !strstr(err.message, c->needle))
            fail_msg("'%s' does not say '%s'", err.message, c->needle);
        release(&layer);
    }
}

/* Each damage replaces one tensor of a good file: renamed away, of another type or shape, or with NaN in it. */
static void damaged_layers(void **state)
{
    (void)state;
    enum { PANELS = LKS_PACKED_PANELS, SCALES = LKS_PACKED_SCALES, SUMS = LKS_PACKED_SUMS, BIAS = LKS_PACKED_BIAS };
    static const damage cases[] = {
        {LKS_PRECISION_INT8, SCALES, .name = "elsewhere", .needle = "part.int8_scale' is missing", LKS_F32, 1, {D_OUT}},
        {LKS_PRECISION_INT8, SUMS, .name = "elsewhere", .needle = "part.int8_sum' is missing", LKS_I32, 1, {D_OUT}},
        {LKS_PRECISION_INT8, BIAS, .name = "elsewhere", .needle = "part.int8_bias' is missing", LKS_F32, 1, {D_OUT}},
        {LKS_PRECISION_INT8, PANELS, .needle = "part.int8' is of type f32", .dtype = LKS_F32, .n_dims = 4,
         .shape = {3, 18, 16, 4}},
        {LKS_PRECISION_INT8, PANELS, .needle = "part.int8' has shape", .dtype = LKS_I8, .n_dims = 4,
         .shape = {3, 64, 18, 4}},
        {LKS_PRECISION_INT8, PANELS, .needle = "part.int8' has shape", .dtype = LKS_I8, .n_dims = 4,
         .shape = {3, 17, 64, 4}},
        {LKS_PRECISION_INT8, PANELS, .needle = "part.int8' has shape", .dtype = LKS_I8, .n_dims = 3,
         .shape = {3, 18, 256}},
        {LKS_PRECISION_INT8, SCALES, .needle = "part.int8_scale' is of type f16", .dtype = LKS_F16, .n_dims = 1,
         .shape = {D_OUT}},
        {LKS_PRECISION_INT8, SCALES, .needle = "part.int8_scale' has shape", .dtype = LKS_F32, .n_dims = 1,
         .shape = {D_OUT - 1}},
        {LKS_PRECISION_INT8, SCALES, .needle = "NaN", .dtype = LKS_F32, .n_dims = 1, .shape = {D_OUT},
         .poisoned = true},
        {LKS_PRECISION_INT8, SUMS, .needle = "part.int8_sum' is of type f32", .dtype = LKS_F32, .n_dims = 1,
         .shape = {D_OUT}},
        {LKS_PRECISION_INT8, SUMS, .needle = "part.int8_sum' has shape", .dtype = LKS_I32, .n_dims = 2,
         .shape = {2, D_OUT / 2}},
        {LKS_PRECISION_INT8, BIAS, .needle = "part.int8_bias' has shape", .dtype = LKS_F32, .n_dims = 1, .shape = {1}},
        {LKS_PRECISION_INT8, BIAS, .needle = "NaN", .dtype = LKS_F32, .n_dims = 1, .shape = {D_OUT}, .poisoned = true},
        {LKS_PRECISION_BF16, PANELS, .needle = "part.bf16' is of type i16", .dtype = LKS_I16, .n_dims = 4,
         .shape = {3, 35, 64, 2}},
        {LKS_PRECISION_BF16, PANELS, .needle = "part.bf16' has shape", .dtype = LKS_BF16, .n_dims = 4,
         .shape = {3, 36, 64, 2}},
        {LKS_PRECISION_BF16, PANELS, .needle = "NaN", .dtype = LKS_BF16, .n_dims = 4, .shape = {3, 35, 64, 2},
         .poisoned = true},
        {LKS_PRECISION_BF16, BIAS, .name = "elsewhere", .needle = "part.bf16_bias' is missing", LKS_F32, 1, {D_OUT}},
        {LKS_PRECISION_BF16, BIAS, .needle = "NaN", .dtype = LKS_F32, .n_dims = 1, .shape = {D_OUT}, .poisoned = true},
        {LKS_PRECISION_INT4, PANELS, .needle = "part.int4' has shape", .dtype = LKS_I8, .n_dims = 4,
         .shape = {3, 2, 256, 4}},
        {LKS_PRECISION_INT4, SCALES, .name = "elsewhere", .needle = "part.int4_scale' is missing", LKS_BF16, 1, {3}},
        {LKS_PRECISION_INT4, SCALES, .needle = "part.int4_scale' is of type f16", .dtype = LKS_F16, .n_dims = 3,
         .shape = {3, 3, 64}},
        {LKS_PRECISION_INT4, SCALES, .needle = "NaN", .dtype = LKS_BF16, .n_dims = 3, .shape = {3, 3, 64},
         .poisoned = true},
        {LKS_PRECISION_INT4, BIAS, .needle = "NaN", .dtype = LKS_F32, .n_dims = 1, .shape = {D_OUT}, .poisoned = true},
    };
    char *folder = make_folder(), path[512];
    path_in(path, folder, "damaged.gguf");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        check_damage(path, &cases[i]);
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
        assert_int_equal(lks_converter_open(&converter, half ? LKS_F16 : LKS_F32, LKS_PRECISION_F32, NULL), LKS_OK);
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
    assert_int_equal(lks_converter_open(&converter, LKS_F32, LKS_PRECISION_F32, NULL), LKS_OK);
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
