/* safetensors reader.
 *
 *   u64 n | n bytes of JSON {"name": {"dtype": "F32", "shape": [2, 3], "data_offsets": [begin, end]}, ...} | data
 *
 * Offsets count from the end of the header and must cover the data without overlap or hole, as the format demands
 * (github.com/huggingface/safetensors, "Format"). */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "fusion/weights/json_text.h"
#include "fusion/weights/reader.h"

#define MAX_HEADER 100000000

static const struct {
    const char *name;
    lks_dtype dtype;
} dtypes[] = {
    {"F32", LKS_F32}, {"F16", LKS_F16}, {"BF16", LKS_BF16}, {"F64", LKS_F64}, {"I8", LKS_I8},
    {"U8", LKS_U8},   {"I16", LKS_I16}, {"I32", LKS_I32},   {"I64", LKS_I64}, {"BOOL", LKS_BOOL},
};

typedef struct span {
    uint64_t begin, end;
    size_t tensor; /* index into the list */
} span;

static bool find_dtype(lks_dtype *dtype, const char *name)
{
    for (size_t i = 0; i < sizeof dtypes / sizeof *dtypes; i++) {
        if (strcmp(dtypes[i].name, name) == 0) {
            *dtype = dtypes[i].dtype;
            return true;
        }
    }
    return false;
}

/* values [n] = the whole numbers of a JSON array; false when it holds anything else or more than n of them. */
static bool read_numbers(uint64_t *values, size_t n, const json_t *array)
{
    if (!json_is_array(array) || json_array_size(array) > n)
        return false;
    for (size_t i = 0; i < json_array_size(array); i++) {
        const json_t *value = json_array_get(array, i);
        if (!json_is_integer(value) || json_integer_value(value) < 0)
            return false;
        values[i] = (uint64_t)json_integer_value(value);
    }
    return true;
}

/* One entry of the header -> tensor and span; `payload` is the data section. */
static lks_status read_entry(lks_tensor *tensor, span *where, const char *name, const json_t *entry,
                             const lks_weight_source *payload, lks_error *err)
{
    const char *dtype = json_string_value(json_object_get(entry, "dtype"));
    const json_t *shape = json_object_get(entry, "shape");
    char safe[80], safe_dtype[80];
    lks_weight_printable(safe, name, strlen(name));
    if (!dtype || !json_is_array(shape))
        return lks_error_set(err, LKS_ERR_MODEL, "%s: tensor '%s' lacks a dtype or shape" LKS_DAMAGED, payload->path,
                             safe);
    if (!find_dtype(&tensor->dtype, dtype))
        return lks_error_set(err, LKS_ERR_UNSUPPORTED,
                             "%s: tensor '%s' has dtype '%s', which is not supported; save it as F32", payload->path,
                             safe, lks_weight_printable(safe_dtype, dtype, strlen(dtype)));
    if (json_array_size(shape) > LKS_MAX_DIMS)
        return lks_error_set(err, LKS_ERR_UNSUPPORTED, "%s: tensor '%s' has %zu dimensions, at most %d are supported",
                             payload->path, safe, json_array_size(shape), LKS_MAX_DIMS);

    uint64_t dims[LKS_MAX_DIMS], offsets[2] = {0};
    size_t n_bytes;
    if (!read_numbers(dims, LKS_MAX_DIMS, shape) ||
        !lks_weight_shape(tensor, &n_bytes, dims, (int)json_array_size(shape)))
        return lks_error_set(err, LKS_ERR_MODEL, "%s: tensor '%s' has an impossible shape" LKS_DAMAGED, payload->path,
                             safe);
    const json_t *range = json_object_get(entry, "data_offsets");
    if (!read_numbers(offsets, 2, range) || json_array_size(range) != 2 || offsets[0] > offsets[1] ||
        offsets[1] > payload->size)
        return lks_error_set(err, LKS_ERR_MODEL, "%s: tensor '%s' lies outside the file" LKS_DAMAGED, payload->path,
                             safe);
    if (offsets[1] - offsets[0] != n_bytes)
        return lks_error_set(err, LKS_ERR_MODEL,
                             "%s: tensor '%s' needs %zu bytes, its offsets give %" PRIu64 LKS_DAMAGED, payload->path,
                             safe, n_bytes, offsets[1] - offsets[0]);
    tensor->data = payload->data + offsets[0];
    where->begin = offsets[0];
    where->end = offsets[1];
    return LKS_OK;
}

static lks_status check_metadata(const json_t *metadata, const char *path, lks_error *err)
{
    bool good = json_is_object(metadata);
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)metadata, key, value) good = good && json_is_string(value);
    if (!good)
        return lks_error_set(err, LKS_ERR_MODEL, "%s: its __metadata__ is no map of strings" LKS_DAMAGED, path);
    return LKS_OK;
}

static int by_offset(const void *left, const void *right)
{
    const span *a = left, *b = right;
    if (a->begin != b->begin)
        return a->begin < b->begin ? -1 : 1;
    return (a->end > b->end) - (a->end < b->end);
}

static lks_status check_cover(span *spans, size_t n, const lks_weight_list *list, const lks_weight_source *payload,
                              lks_error *err)
{
    qsort(spans, n, sizeof *spans, by_offset);
    uint64_t end = 0;
    for (size_t i = 0; i < n; i++) {
        if (spans[i].begin != end)
            return lks_error_set(err, LKS_ERR_MODEL, "%s: tensor '%.80s' %s" LKS_DAMAGED, payload->path,
                                 list->tensors[spans[i].tensor].name,
                                 spans[i].begin < end ? "overlaps another" : "follows a hole in the data");
        end = spans[i].end;
    }
    if (end != payload->size)
        return lks_error_set(err, LKS_ERR_MODEL, "%s: has %zu bytes of data, its tensors fill %" PRIu64 LKS_DAMAGED,
                             payload->path, payload->size, end);
    return LKS_OK;
}

static lks_status read_entries(lks_weight_list *out, json_t *header, span *spans, const lks_weight_source *payload,
                               lks_error *err)
{
    size_t n = 0;
    const char *name;
    json_t *entry;
    json_object_foreach(header, name, entry)
    {
        if (strcmp(name, "__metadata__") == 0) {
            lks_status st = check_metadata(entry, payload->path, err);
            if (st != LKS_OK)
                return st;
            continue;
        }
        lks_tensor tensor = {0};
        lks_status st = read_entry(&tensor, &spans[n], name, entry, payload, err);
        if (st == LKS_OK)
            st = lks_weight_list_add(out, &tensor, name, strlen(name), payload, err);
        if (st != LKS_OK)
            return st;
        spans[n++].tensor = out->n_tensors - 1;
    }
    return check_cover(spans, n, out, payload, err);
}

lks_status lks_safetensors_read(lks_weight_list *out, const lks_weight_source *in, lks_error *err)
{
    if (in->size < 8)
        return lks_error_set(err, LKS_ERR_MODEL, "%s: %zu bytes are too few for safetensors" LKS_DAMAGED, in->path,
                             in->size);
    uint64_t n = lks_le64(in->data);
    if (n > MAX_HEADER || n > in->size - 8)
        return lks_error_set(err, LKS_ERR_MODEL, "%s: its header of %" PRIu64 " bytes is longer than %s" LKS_DAMAGED,
                             in->path, n, n > MAX_HEADER ? "the format allows" : "the file");
    if (n == 0 || in->data[8] != '{')
        return lks_error_set(err, LKS_ERR_MODEL, "%s: its header does not start with '{'" LKS_DAMAGED, in->path);

    /* Per tensor: an object, two arrays, and at most 3 members of 16 numbers. */
    const lks_json_limits limits = {LKS_WEIGHTS_MAX_TENSORS + 2, 2 * LKS_WEIGHTS_MAX_TENSORS,
                                    32 * LKS_WEIGHTS_MAX_TENSORS};
    json_t *header;
    lks_status st = lks_json_text_parse(&header, (const char *)in->data + 8, (size_t)n, &limits, in->path, err);
    if (st != LKS_OK)
        return st;
    span *spans = calloc(json_object_size(header) + 1, sizeof *spans);
    lks_weight_source payload = {in->data + 8 + n, in->size - 8 - (size_t)n, in->path};
    if (!spans)
        st = lks_error_set(err, LKS_ERR_NOMEM, "%s: out of memory", in->path);
    else
        st = read_entries(out, header, spans, &payload, err);
    free(spans);
    json_decref(header);
    return st;
}
