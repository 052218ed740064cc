/* Writing a model as one GGUF file: see convert.h. */
#include "fusion/weights/convert.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "fusion/weights/bind_packed.h"
#include "fusion/weights/reader.h"

#define LARGEST_HALF 65504.0f

typedef struct entry {
    lks_tensor tensor;        /* as it will be stored */
    const lks_tensor *source; /* a tensor of the file that was read, or NULL */
    char name[LKS_GGUF_MAX_NAME + 1];
    void *owned; /* converted data, or NULL: the tensor's data lies in the model */
} entry;

struct lks_converter {
    lks_dtype dtype;
    bool packs;
    entry *entries;
    size_t n, capacity, n_packed_layers;
};

lks_status lks_converter_open(lks_converter **out, lks_dtype dtype, lks_precision precision, lks_error *err)
{
    lks_converter *c = calloc(1, sizeof *c);
    if (!c)
        return lks_error_set(err, LKS_ERR_NOMEM, "out of memory");
    c->dtype = dtype;
    c->packs = precision != LKS_PRECISION_F32;
    *out = c;
    return LKS_OK;
}

void lks_converter_close(lks_converter *c)
{
    if (!c)
        return;
    for (size_t i = 0; i < c->n; i++)
        free(c->entries[i].owned);
    free(c->entries);
    free(c);
}

uint16_t lks_half_from_float(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    uint16_t sign = (uint16_t)(bits >> 16 & 0x8000);
    uint32_t magnitude = bits & 0x7FFFFFFF;
    if (magnitude > 0x7F800000)
        return sign | 0x7E00;
    if (magnitude >= 0x477FF000) /* rounds to 65536 or more */
        return sign | 0x7C00;
    if (magnitude < 0x38800000) { /* below the smallest normal half: adding 1/2 leaves the result in the low bits */
        float small;
        memcpy(&small, &magnitude, sizeof small);
        small += 0.5f;
        memcpy(&bits, &small, sizeof bits);
        return (uint16_t)(sign | (bits & 0x7FF));
    }
    uint32_t rounded = magnitude + 0xFFF + (magnitude >> 13 & 1);
    return (uint16_t)(sign | ((rounded - 0x38000000) >> 13));
}

/* A new entry; its tensor is contiguous with the given shape, its data still missing. */
static lks_status add_entry(lks_converter *c, entry **out, const char *name, const char *suffix, lks_dtype dtype,
                            const int64_t *shape, int n_dims, lks_error *err)
{
    entry *entries = lks_weight_grow(c->entries, &c->capacity, c->n, sizeof *entries);
    if (!entries)
        return lks_error_set(err, LKS_ERR_NOMEM, "out of memory");
    c->entries = entries;
    entry *e = &entries[c->n];
    *e = (entry){.tensor = {.dtype = dtype, .n_dims = n_dims}};
    char full[LKS_WEIGHTS_MAX_NAME + 16];
    size_t n = strlen(name), n_suffix = strlen(suffix);
    if (n + n_suffix + 1 > sizeof full)
        return lks_error_set(err, LKS_ERR_MODEL, "tensor '%.80s': the name is too long", name);
    memcpy(full, name, n);
    memcpy(full + n, suffix, n_suffix + 1);
    lks_gguf_name(e->name, full);
    int64_t stride = 1;
    for (int i = n_dims - 1; i >= 0; i--) {
        e->tensor.shape[i] = shape[i];
        e->tensor.stride[i] = stride;
        stride *= shape[i];
    }
    c->n++;
    *out = e;
    return LKS_OK;
}

static lks_status add_packed(lks_converter *c, const lks_bound *bound, lks_error *err)
{
    const lks_linear *layer = bound->layer;
    lks_packed packed = lks_packed_of(layer);
    lks_packed_part parts[LKS_PACKED_PARTS];
    lks_packed_describe(parts, lks_linear_precision(layer), layer->d_in, layer->d_out);
    for (int i = 0; i < LKS_PACKED_PARTS; i++) {
        if (!packed.data[i])
            continue;
        entry *e;
        lks_status st =
            add_entry(c, &e, bound->name, parts[i].suffix, parts[i].dtype, parts[i].shape, parts[i].n_dims, err);
        if (st != LKS_OK)
            return st;
        e->tensor.data = packed.data[i];
    }
    c->n_packed_layers++;
    return LKS_OK;
}

static bool is_matrix(const lks_tensor *tensor)
{
    int n = 0;
    for (int i = 0; i < tensor->n_dims; i++)
        n += tensor->shape[i] != 1;
    return n >= 2;
}

/* data = the tensor's numbers as f32 or, where they fit and are asked for, as f16; *dtype is what they became. */
static void *convert(lks_dtype *dtype, const lks_tensor *source)
{
    size_t n = (size_t)lks_tensor_count(source);
    float *floats = malloc(n ? n * sizeof *floats : 1);
    if (!floats)
        return NULL;
    lks_tensor_to_f32(floats, source);
    for (size_t i = 0; i < n && *dtype == LKS_F16; i++)
        if (fabsf(floats[i]) > LARGEST_HALF)
            *dtype = LKS_F32;
    if (*dtype == LKS_F32)
        return floats;
    uint16_t *halves = malloc(n ? n * sizeof *halves : 1);
    for (size_t i = 0; i < n && halves; i++)
        halves[i] = lks_half_from_float(floats[i]);
    free(floats);
    return halves;
}

static lks_status add_tensor(lks_converter *c, const lks_tensor *source, lks_error *err)
{
    for (size_t i = 0; i < c->n; i++)
        if (c->entries[i].source == source)
            return LKS_OK; /* a table that two fields share */
    bool half = source->dtype == LKS_F16 || source->dtype == LKS_BF16;
    lks_dtype dtype = c->packs ? (half ? source->dtype : LKS_F32) : is_matrix(source) ? c->dtype : LKS_F32;
    void *owned = NULL;
    const void *data = source->data;
    if (dtype != source->dtype || !lks_tensor_is_contiguous(source)) {
        if (dtype == LKS_BF16)
            dtype = LKS_F32;
        owned = convert(&dtype, source);
        if (!owned)
            return lks_error_set(err, LKS_ERR_NOMEM, "out of memory for tensor '%.80s'", source->name);
        data = owned;
    }
    entry *e;
    lks_status st = add_entry(c, &e, source->name, "", dtype, source->shape, source->n_dims, err);
    if (st != LKS_OK) {
        free(owned);
        return st;
    }
    e->source = source;
    e->owned = owned;
    e->tensor.data = data;
    return LKS_OK;
}

lks_status lks_converter_add(void *converter, const lks_bound *bound, lks_error *err)
{
    lks_converter *c = converter;
    if (bound->layer)
        return add_packed(c, bound, err);
    lks_status st = LKS_OK;
    for (int i = 0; i < bound->n_tensors && st == LKS_OK; i++)
        st = add_tensor(c, bound->tensors[i], err);
    return st;
}

/* The entry's own numbers, which may be changed; NULL: out of memory. */
static float *own_floats(entry *e)
{
    if (!e->owned) {
        const size_t n = (size_t)lks_tensor_count(&e->tensor) * sizeof(float);
        e->owned = malloc(n ? n : 1);
        if (!e->owned)
            return NULL;
        memcpy(e->owned, e->tensor.data, n);
        e->tensor.data = e->owned;
    }
    return e->owned;
}

lks_status lks_converter_scale(lks_converter *c, const lks_tensor *source, int axis, const float *factors,
                               lks_error *err)
{
    for (size_t i = 0; i < c->n; i++) {
        entry *e = &c->entries[i];
        if (e->source != source)
            continue;
        if (e->tensor.dtype != LKS_F32)
            return lks_error_set(err, LKS_ERR_UNSUPPORTED, "tensor '%.80s': only f32 can be scaled", source->name);
        float *numbers = own_floats(e);
        if (!numbers)
            return lks_error_set(err, LKS_ERR_NOMEM, "out of memory for tensor '%.80s'", source->name);
        const int64_t n = lks_tensor_count(&e->tensor), stride = e->tensor.stride[axis], shape = e->tensor.shape[axis];
        for (int64_t k = 0; k < n; k++)
            numbers[k] *= factors[k / stride % shape];
        return LKS_OK;
    }
    return lks_error_set(err, LKS_ERR_MODEL, "tensor '%.80s' is not part of the new file", source->name);
}

lks_status lks_converter_write(const lks_converter *c, const char *path, const lks_gguf_string *strings,
                               size_t n_strings, lks_error *err)
{
    lks_tensor *tensors = calloc(c->n + 1, sizeof *tensors);
    if (!tensors)
        return lks_error_set(err, LKS_ERR_NOMEM, "%s: out of memory", path);
    for (size_t i = 0; i < c->n; i++) {
        tensors[i] = c->entries[i].tensor;
        tensors[i].name = c->entries[i].name;
    }
    lks_status st = lks_gguf_write(path, strings, n_strings, tensors, c->n, err);
    free(tensors);
    return st;
}

size_t lks_converter_n_tensors(const lks_converter *c)
{
    return c->n;
}

size_t lks_converter_n_packed_layers(const lks_converter *c)
{
    return c->n_packed_layers;
}
