/* torch.save files of torch 1.6 and later: a zip archive of
 *
 *   NAME/data.pkl     the state dict, pickled; its tensors refer to storages by key
 *   NAME/data/KEY     one storage each, raw
 *   NAME/byteorder    "little" or "big"; missing in older files, which are little-endian
 *
 * Tensors are strided views of storages; several may share one. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "fusion/weights/pickle.h"
#include "fusion/weights/reader.h"
#include "fusion/weights/zip.h"

#define MAX_KEY 64 /* bytes of a storage's key; torch counts from 0 */

typedef struct archive {
    const lks_weight_source *in;
    lks_zip zip;
    lks_pickle pickle;
    char *path; /* "NAME/", then room for "data/KEY" */
    size_t n_prefix;
    lks_error *err;
} archive;

static const lks_zip_entry *find_record(archive *a, const char *name, size_t n)
{
    memcpy(a->path + a->n_prefix, name, n);
    return lks_zip_find(&a->zip, a->path, a->n_prefix + n);
}

static const lks_zip_entry *find_storage(archive *a, const lks_pickle_object *key)
{
    if (key->n > MAX_KEY)
        return NULL;
    memcpy(a->path + a->n_prefix, "data/", 5);
    memcpy(a->path + a->n_prefix + 5, key->as.text, key->n);
    return lks_zip_find(&a->zip, a->path, a->n_prefix + 5 + key->n);
}

/* The one NAME/data.pkl of the archive; sets the prefix. */
static const lks_zip_entry *find_pickle(archive *a)
{
    static const char suffix[] = "/data.pkl";
    const size_t n_suffix = sizeof suffix - 1;
    for (size_t i = 0; i < a->zip.n_entries; i++) {
        const lks_zip_entry *entry = &a->zip.entries[i];
        if (entry->n_name <= n_suffix || memcmp(entry->name + entry->n_name - n_suffix, suffix, n_suffix) != 0)
            continue;
        a->n_prefix = entry->n_name - n_suffix + 1;
        a->path = malloc(a->n_prefix + 5 + MAX_KEY);
        if (a->path)
            memcpy(a->path, entry->name, a->n_prefix);
        return entry;
    }
    return NULL;
}

static const lks_pickle_object *object(const archive *a, uint32_t index)
{
    return &a->pickle.objects[index];
}

static const lks_pickle_object *item(const archive *a, const lks_pickle_object *tuple, uint32_t i)
{
    return object(a, a->pickle.items[tuple->as.first + i]);
}

static lks_status tensor_error(const archive *a, const lks_pickle_object *name, const char *reason)
{
    char safe[80];
    return lks_error_set(a->err, LKS_ERR_MODEL, "%s: tensor '%s' %s" LKS_DAMAGED, a->in->path,
                         lks_weight_printable(safe, name->as.text, name->n), reason);
}

/* values [n] = the items of a tuple, whole numbers from 0. */
static bool read_numbers(uint64_t *values, const archive *a, const lks_pickle_object *tuple)
{
    for (uint32_t i = 0; i < tuple->n; i++) {
        const lks_pickle_object *value = item(a, tuple, i);
        if (value->kind != LKS_PICKLE_INT || value->as.integer < 0)
            return false;
        values[i] = (uint64_t)value->as.integer;
    }
    return true;
}

/* Puts the strides in place; false when an element lies outside a storage of n elements. Where a dimension has one element
 * or none its stride means nothing, and the row-major one stays. */
static bool set_strides(lks_tensor *tensor, const uint64_t *strides, uint64_t offset, uint64_t n)
{
    if (offset > n)
        return false;
    if (lks_tensor_count(tensor) == 0)
        return true;
    uint64_t room = n - offset;
    for (int i = 0; i < tensor->n_dims; i++) {
        uint64_t steps = (uint64_t)tensor->shape[i] - 1;
        if (steps == 0)
            continue;
        if (strides[i] > room / steps)
            return false;
        room -= steps * strides[i];
        tensor->stride[i] = (int64_t)strides[i];
    }
    return room > 0;
}

static lks_status add_tensor(archive *a, lks_weight_list *out, const lks_pickle_object *name,
                             const lks_pickle_object *value)
{
    const lks_pickle_object *storage = item(a, value, 0), *offset = item(a, value, 1);
    const lks_pickle_object *size = item(a, value, 2), *stride = item(a, value, 3);
    char safe[80];
    if (size->n > LKS_MAX_DIMS)
        return lks_error_set(a->err, LKS_ERR_UNSUPPORTED,
                             "%s: tensor '%s' has %" PRIu32 " dimensions, at most %d are supported", a->in->path,
                             lks_weight_printable(safe, name->as.text, name->n), size->n, LKS_MAX_DIMS);
    lks_tensor tensor = {.dtype = storage->dtype};
    uint64_t dims[LKS_MAX_DIMS], strides[LKS_MAX_DIMS] = {0};
    size_t n_bytes;
    if (stride->n != size->n || !read_numbers(dims, a, size) || !read_numbers(strides, a, stride) ||
        !lks_weight_shape(&tensor, &n_bytes, dims, (int)size->n))
        return tensor_error(a, name, "has an impossible shape");

    const lks_zip_entry *record = find_storage(a, item(a, storage, 2));
    uint64_t n = (uint64_t)item(a, storage, 4)->as.integer, element = lks_dtype_size(tensor.dtype);
    if (!record || n != record->size / element)
        return tensor_error(a, name, "has no storage of the length it says");
    if (offset->as.integer < 0 || !set_strides(&tensor, strides, (uint64_t)offset->as.integer, n))
        return tensor_error(a, name, "reaches outside its storage");
    if (n_bytes > n * element)
        return tensor_error(a, name, "is larger than its storage");
    tensor.data = record->data + (uint64_t)offset->as.integer * element;
    return lks_weight_list_add(out, &tensor, name->as.text, name->n, a->in, a->err);
}

static bool is_text(const lks_pickle_object *value, const char *text)
{
    return value->kind == LKS_PICKLE_TEXT && value->n == strlen(text) && memcmp(value->as.text, text, value->n) == 0;
}

/* The dict that holds the tensors: the root, or what a training checkpoint calls "state_dict" or "model". */
static uint32_t find_state_dict(const archive *a)
{
    for (size_t i = 0; i < a->pickle.n_assignments; i++) {
        const lks_pickle_assignment *at = &a->pickle.assignments[i];
        const lks_pickle_object *key = object(a, at->key);
        if (at->dict == a->pickle.root && object(a, at->value)->kind == LKS_PICKLE_DICT &&
            (is_text(key, "state_dict") || is_text(key, "model")))
            return at->value;
    }
    return a->pickle.root;
}

/* Entries that are no tensors (epochs, versions) are passed over. */
static lks_status add_tensors(archive *a, lks_weight_list *out)
{
    if (object(a, a->pickle.root)->kind != LKS_PICKLE_DICT)
        return lks_error_set(a->err, LKS_ERR_MODEL, "%s: holds no state dict; save model.state_dict()", a->in->path);
    uint32_t dict = find_state_dict(a);
    for (size_t i = 0; i < a->pickle.n_assignments; i++) {
        const lks_pickle_assignment *at = &a->pickle.assignments[i];
        if (at->dict != dict || object(a, at->value)->kind != LKS_PICKLE_TENSOR)
            continue;
        if (object(a, at->key)->kind != LKS_PICKLE_TEXT)
            return lks_error_set(a->err, LKS_ERR_MODEL, "%s: a tensor's name is no text" LKS_DAMAGED, a->in->path);
        lks_status st = add_tensor(a, out, object(a, at->key), object(a, at->value));
        if (st != LKS_OK)
            return st;
    }
    return LKS_OK;
}

static lks_status read_archive(archive *a, lks_weight_list *out)
{
    lks_status st = lks_zip_open(&a->zip, a->in, a->err);
    if (st != LKS_OK)
        return st;
    const lks_zip_entry *pickle = find_pickle(a);
    if (!pickle)
        return lks_error_set(a->err, LKS_ERR_MODEL,
                             "%s: is a zip archive without data.pkl, so torch.save did not write it", a->in->path);
    if (!a->path)
        return lks_error_set(a->err, LKS_ERR_NOMEM, "%s: out of memory", a->in->path);
    const lks_zip_entry *order = find_record(a, "byteorder", 9);
    if (order && (order->size != 6 || memcmp(order->data, "little", 6) != 0))
        return lks_error_set(a->err, LKS_ERR_UNSUPPORTED,
                             "%s: is not little-endian; save it again on a little-endian machine", a->in->path);
    st = lks_pickle_read(&a->pickle, pickle->data, pickle->size, a->in->path, a->err);
    return st == LKS_OK ? add_tensors(a, out) : st;
}

lks_status lks_torch_read(lks_weight_list *out, const lks_weight_source *in, lks_error *err)
{
    archive a = {.in = in, .err = err};
    lks_status st = read_archive(&a, out);
    free(a.path);
    lks_pickle_release(&a.pickle);
    lks_zip_release(&a.zip);
    return st;
}
