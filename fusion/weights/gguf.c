/* GGUF v3 reader (little-endian; github.com/ggml-org/ggml, docs/gguf.md).
 *
 *   "GGUF" | u32 version | u64 n_tensors | u64 n_values
 *   n_values  x { string key | u32 type | value }         string = u64 n | n bytes
 *   n_tensors x { string name | u32 n_dims | u64 dims[n_dims], innermost first | u32 type | u64 offset }
 *   padding to general.alignment | data, every tensor padded to the alignment
 *
 * Offsets count from the start of the data; each must be exactly where the tensors before it end. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "fusion/weights/reader.h"

#define MAX_VALUES 65536
#define MAX_KEY 65535
#define MAX_TENSOR_NAME 64
#define MAX_ITEMS ((uint64_t)1 << 30) /* elements of an array, bytes of a string */
#define DEFAULT_ALIGNMENT 32
#define MAX_ALIGNMENT 65536

enum { TYPE_U32 = 4, TYPE_BOOL = 7, TYPE_STRING = 8, TYPE_ARRAY = 9, N_TYPES = 13 };

/* Bytes of a value of each type; 0 where it varies. */
static const size_t value_sizes[N_TYPES] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};

static const struct {
    uint32_t type;
    lks_dtype dtype;
} tensor_types[] = {
    {0, LKS_F32},  {1, LKS_F16},  {24, LKS_I8},  {25, LKS_I16},
    {26, LKS_I32}, {27, LKS_I64}, {28, LKS_F64}, {30, LKS_BF16},
};

typedef struct text {
    const char *data;
    size_t n;
} text;

typedef struct reader {
    const lks_weight_source *in;
    size_t at;
    uint64_t alignment;
    lks_error *err;
} reader;

static lks_status damaged(reader *r, const char *reason)
{
    return lks_error_set(r->err, LKS_ERR_MODEL, "%s: %s at byte %zu" LKS_DAMAGED, r->in->path, reason, r->at);
}

static size_t remaining(const reader *r)
{
    return r->in->size - r->at;
}

static bool read_u32(reader *r, uint32_t *value)
{
    if (remaining(r) < 4)
        return false;
    *value = lks_le32(r->in->data + r->at);
    r->at += 4;
    return true;
}

static bool read_u64(reader *r, uint64_t *value)
{
    if (remaining(r) < 8)
        return false;
    *value = lks_le64(r->in->data + r->at);
    r->at += 8;
    return true;
}

static bool read_text(reader *r, text *out, uint64_t limit)
{
    uint64_t n;
    if (!read_u64(r, &n) || n > limit || n > remaining(r))
        return false;
    out->data = (const char *)r->in->data + r->at;
    out->n = (size_t)n;
    r->at += out->n;
    return true;
}

static lks_status skip_scalars(reader *r, uint32_t type, uint64_t n)
{
    size_t size = value_sizes[type];
    if (n > MAX_ITEMS || n > remaining(r) / size)
        return damaged(r, "an array is longer than the file");
    if (type == TYPE_BOOL)
        for (uint64_t i = 0; i < n; i++)
            if (r->in->data[r->at + i] > 1)
                return damaged(r, "a truth value is neither 0 nor 1");
    r->at += (size_t)n * size;
    return LKS_OK;
}

static lks_status skip_array(reader *r)
{
    uint32_t type;
    uint64_t n;
    if (!read_u32(r, &type) || !read_u64(r, &n))
        return damaged(r, "the file ends inside an array");
    if (type >= N_TYPES || type == TYPE_ARRAY)
        return damaged(r, "an array has an unknown element type");
    if (type != TYPE_STRING)
        return skip_scalars(r, type, n);
    if (n > MAX_ITEMS || n > remaining(r) / 8)
        return damaged(r, "an array is longer than the file");
    for (uint64_t i = 0; i < n; i++) {
        text item;
        if (!read_text(r, &item, MAX_ITEMS))
            return damaged(r, "a string is longer than the file");
    }
    return LKS_OK;
}

static bool text_equals(const text *a, const char *b)
{
    return a->n == strlen(b) && memcmp(a->data, b, a->n) == 0;
}

static lks_status read_alignment(reader *r, uint32_t type)
{
    uint32_t alignment;
    if (type != TYPE_U32 || !read_u32(r, &alignment))
        return damaged(r, "general.alignment is no u32");
    if (alignment < 8 || alignment > MAX_ALIGNMENT || (alignment & (alignment - 1)) != 0)
        return lks_error_set(r->err, LKS_ERR_MODEL,
                             "%s: general.alignment is %" PRIu32 ", not a power of two from 8 to %d" LKS_DAMAGED,
                             r->in->path, alignment, MAX_ALIGNMENT);
    r->alignment = alignment;
    return LKS_OK;
}

/* One key with its value; string values go to the list. */
static lks_status read_value(reader *r, text *key, lks_weight_list *out)
{
    uint32_t type;
    if (!read_text(r, key, MAX_KEY) || key->n == 0 || !read_u32(r, &type))
        return damaged(r, "a key is empty, too long or cut off");
    if (type >= N_TYPES)
        return damaged(r, "a value has an unknown type");
    if (text_equals(key, "general.alignment"))
        return read_alignment(r, type);
    if (type == TYPE_ARRAY)
        return skip_array(r);
    if (type != TYPE_STRING)
        return skip_scalars(r, type, 1);
    text value;
    if (!read_text(r, &value, MAX_ITEMS))
        return damaged(r, "a string is longer than the file");
    lks_weight_string string = {key->data, value.data, key->n, value.n};
    return lks_weight_list_add_string(out, &string, r->err);
}

static int by_text(const void *left, const void *right)
{
    const text *a = left, *b = right;
    int order = memcmp(a->data, b->data, a->n < b->n ? a->n : b->n);
    return order ? order : (a->n > b->n) - (a->n < b->n);
}

static lks_status read_values(reader *r, uint64_t n, lks_weight_list *out)
{
    text *keys = calloc((size_t)n + 1, sizeof *keys);
    if (!keys)
        return lks_error_set(r->err, LKS_ERR_NOMEM, "%s: out of memory", r->in->path);
    lks_status st = LKS_OK;
    for (uint64_t i = 0; i < n && st == LKS_OK; i++)
        st = read_value(r, &keys[i], out);
    if (st == LKS_OK) {
        qsort(keys, (size_t)n, sizeof *keys, by_text);
        char safe[80];
        for (uint64_t i = 1; i < n && st == LKS_OK; i++)
            if (by_text(&keys[i - 1], &keys[i]) == 0)
                st = lks_error_set(r->err, LKS_ERR_MODEL, "%s: key '%s' appears twice" LKS_DAMAGED, r->in->path,
                                   lks_weight_printable(safe, keys[i].data, keys[i].n));
    }
    free(keys);
    return st;
}

static bool find_dtype(lks_dtype *dtype, uint32_t type)
{
    for (size_t i = 0; i < sizeof tensor_types / sizeof *tensor_types; i++) {
        if (tensor_types[i].type == type) {
            *dtype = tensor_types[i].dtype;
            return true;
        }
    }
    return false;
}

/* One entry of the tensor directory. Its data offset is kept as if the data began at the start of the file; *end is where
 * the tensors so far end, padded, and becomes where this one ends. */
static lks_status read_tensor(reader *r, uint64_t *end, lks_weight_list *out)
{
    text name;
    uint32_t n_dims, type;
    uint64_t dims[LKS_MAX_DIMS], offset;
    char safe[80];
    if (!read_text(r, &name, MAX_TENSOR_NAME) || !read_u32(r, &n_dims))
        return damaged(r, "a tensor's name is too long or cut off");
    lks_weight_printable(safe, name.data, name.n);
    if (n_dims > LKS_MAX_DIMS)
        return lks_error_set(r->err, LKS_ERR_MODEL,
                             "%s: tensor '%s' has %" PRIu32 " dimensions, the format allows %d" LKS_DAMAGED,
                             r->in->path, safe, n_dims, LKS_MAX_DIMS);
    for (uint32_t i = 0; i < n_dims; i++)
        if (!read_u64(r, &dims[n_dims - 1 - i]))
            return damaged(r, "the file ends inside the tensor directory");
    if (!read_u32(r, &type) || !read_u64(r, &offset))
        return damaged(r, "the file ends inside the tensor directory");

    lks_tensor tensor = {0};
    size_t n_bytes;
    if (!find_dtype(&tensor.dtype, type))
        return lks_error_set(r->err, LKS_ERR_UNSUPPORTED,
                             "%s: tensor '%s' has ggml type %" PRIu32 ", which is not supported; use F32, F16 or BF16",
                             r->in->path, safe, type);
    if (!lks_weight_shape(&tensor, &n_bytes, dims, (int)n_dims))
        return lks_error_set(r->err, LKS_ERR_MODEL, "%s: tensor '%s' has an impossible shape" LKS_DAMAGED, r->in->path,
                             safe);
    if (offset != *end)
        return lks_error_set(r->err, LKS_ERR_MODEL,
                             "%s: tensor '%s' has offset %" PRIu64 ", it should be %" PRIu64 LKS_DAMAGED, r->in->path,
                             safe, offset, *end);
    if (offset > r->in->size || n_bytes > r->in->size - offset)
        return lks_error_set(r->err, LKS_ERR_MODEL, "%s: tensor '%s' lies outside the file" LKS_DAMAGED, r->in->path,
                             safe);
    tensor.data = r->in->data + offset;
    *end = (offset + n_bytes + r->alignment - 1) & ~(r->alignment - 1);
    return lks_weight_list_add(out, &tensor, name.data, name.n, r->in, r->err);
}

/* Moves the tensors listed since `first` to where the data begins, now that the directory's length is known. */
static lks_status place_tensors(reader *r, uint64_t end, size_t first, lks_weight_list *out)
{
    uint64_t start = ((uint64_t)r->at + r->alignment - 1) & ~(r->alignment - 1);
    if (out->n_tensors == first)
        return r->in->size > start ? damaged(r, "data without tensors") : LKS_OK;
    for (size_t i = first; i < out->n_tensors; i++) {
        lks_tensor *tensor = &out->tensors[i];
        uint64_t offset = (uint64_t)((const unsigned char *)tensor->data - r->in->data);
        uint64_t n_bytes = (uint64_t)lks_tensor_count(tensor) * lks_dtype_size(tensor->dtype);
        if (start > r->in->size || offset > r->in->size - start || n_bytes > r->in->size - start - offset)
            return lks_error_set(r->err, LKS_ERR_MODEL, "%s: tensor '%s' lies outside the file" LKS_DAMAGED,
                                 r->in->path, tensor->name);
        tensor->data = r->in->data + start + offset;
    }
    if (r->in->size - start > end)
        return lks_error_set(r->err, LKS_ERR_MODEL, "%s: has bytes after its last tensor" LKS_DAMAGED, r->in->path);
    return LKS_OK;
}

lks_status lks_gguf_read(lks_weight_list *out, const lks_weight_source *in, lks_error *err)
{
    reader r = {in, 4, DEFAULT_ALIGNMENT, err};
    uint32_t version;
    uint64_t n_tensors, n_values;
    if (in->size < 24 || memcmp(in->data, "GGUF", 4) != 0 || !read_u32(&r, &version) || !read_u64(&r, &n_tensors) ||
        !read_u64(&r, &n_values))
        return lks_error_set(err, LKS_ERR_MODEL, "%s: has no GGUF header" LKS_DAMAGED, in->path);
    if (version != 3)
        return lks_error_set(err, LKS_ERR_UNSUPPORTED, "%s: is %s GGUF; version 3, little-endian, is needed", in->path,
                             version > 0xFFFF ? "big-endian" : "another version of");
    /* The smallest value takes 14 bytes, the smallest entry of the directory 25. */
    if (n_values > MAX_VALUES || n_values > remaining(&r) / 14)
        return damaged(&r, "an impossible number of values");
    if (n_tensors > LKS_WEIGHTS_MAX_TENSORS || n_tensors > remaining(&r) / 25)
        return damaged(&r, "an impossible number of tensors");

    lks_status st = read_values(&r, n_values, out);
    size_t first = out->n_tensors;
    uint64_t end = 0;
    for (uint64_t i = 0; i < n_tensors && st == LKS_OK; i++)
        st = read_tensor(&r, &end, out);
    return st == LKS_OK ? place_tensors(&r, end, first, out) : st;
}
