/* Shared parts of the weight readers: see reader.h. */
#include "fusion/weights/reader.h"

#include <stdlib.h>
#include <string.h>

static bool is_printable(char c)
{
    return c >= 0x20 && c < 0x7F;
}

static bool is_name(const char *name, size_t n)
{
    if (n == 0 || n > LKS_WEIGHTS_MAX_NAME)
        return false;
    for (size_t i = 0; i < n; i++)
        if (!is_printable(name[i]))
            return false;
    return true;
}

const char *lks_weight_printable(char safe[80], const char *text, size_t n)
{
    if (n > 79)
        n = 79;
    for (size_t i = 0; i < n; i++)
        safe[i] = text[i];
    for (size_t i = 0; i < n; i++)
        if (!is_printable(safe[i]))
            safe[i] = '?';
    safe[n] = '\0';
    return safe;
}

void *lks_weight_grow(void *items, size_t *capacity, size_t n, size_t element_size)
{
    if (n < *capacity)
        return items;
    size_t wanted = *capacity ? *capacity * 2 : 64;
    if (wanted <= n || wanted > SIZE_MAX / element_size)
        return NULL;
    void *moved = realloc(items, wanted * element_size);
    if (moved)
        *capacity = wanted;
    return moved;
}

lks_status lks_weight_list_add(lks_weight_list *list, const lks_tensor *tensor, const char *name, size_t n_name,
                               const lks_weight_source *in, lks_error *err)
{
    char safe[80];
    if (!is_name(name, n_name))
        return lks_error_set(err, LKS_ERR_MODEL,
                             "%s: '%s' cannot be a tensor's name (1 to %d printable characters)" LKS_DAMAGED, in->path,
                             lks_weight_printable(safe, name, n_name), LKS_WEIGHTS_MAX_NAME);
    if (list->n_tensors >= LKS_WEIGHTS_MAX_TENSORS)
        return lks_error_set(err, LKS_ERR_MODEL, "%s: more than %d tensors, which no supported model has", in->path,
                             LKS_WEIGHTS_MAX_TENSORS);
    lks_tensor *tensors = lks_weight_grow(list->tensors, &list->tensor_capacity, list->n_tensors, sizeof *tensors);
    if (!tensors)
        return lks_error_set(err, LKS_ERR_NOMEM, "%s: out of memory", in->path);
    list->tensors = tensors;
    char *copy = malloc(n_name + 1);
    if (!copy)
        return lks_error_set(err, LKS_ERR_NOMEM, "%s: out of memory", in->path);
    memcpy(copy, name, n_name);
    copy[n_name] = '\0';
    tensors[list->n_tensors] = *tensor;
    tensors[list->n_tensors++].name = copy;
    return LKS_OK;
}

lks_status lks_weight_list_add_string(lks_weight_list *list, const lks_weight_string *string, lks_error *err)
{
    lks_weight_string *strings =
        lks_weight_grow(list->strings, &list->string_capacity, list->n_strings, sizeof *strings);
    if (!strings)
        return lks_error_set(err, LKS_ERR_NOMEM, "weights: out of memory");
    list->strings = strings;
    strings[list->n_strings++] = *string;
    return LKS_OK;
}

void lks_weight_list_release(lks_weight_list *list)
{
    for (size_t i = 0; i < list->n_tensors; i++)
        free((char *)list->tensors[i].name);
    free(list->tensors);
    free(list->strings);
    *list = (lks_weight_list){0};
}

bool lks_weight_shape(lks_tensor *tensor, size_t *n_bytes, const uint64_t *dims, int n_dims)
{
    uint64_t stride = 1;
    bool empty = false;
    size_t element = lks_dtype_size(tensor->dtype);
    tensor->n_dims = n_dims;
    for (int i = n_dims - 1; i >= 0; i--) {
        uint64_t dim = dims[i] ? dims[i] : 1;
        empty = empty || dims[i] == 0;
        if (dim > INT64_MAX / stride)
            return false;
        tensor->shape[i] = (int64_t)dims[i];
        tensor->stride[i] = (int64_t)stride;
        stride *= dim;
    }
    if (stride > INT64_MAX / element)
        return false;
    *n_bytes = empty ? 0 : (size_t)stride * element;
    return true;
}

uint16_t lks_le16(const unsigned char *p)
{
    return (uint16_t)(p[0] | p[1] << 8);
}

uint32_t lks_le32(const unsigned char *p)
{
    return (uint32_t)lks_le16(p) | (uint32_t)lks_le16(p + 2) << 16;
}

uint64_t lks_le64(const unsigned char *p)
{
    return (uint64_t)lks_le32(p) | (uint64_t)lks_le32(p + 4) << 32;
}
