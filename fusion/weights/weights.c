/* Weights: finds a model's files, reads them by what they contain, and merges them into one table sorted by name. */
#include "fusion/weights/weights.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "fusion/weights/file.h"
#include "fusion/weights/gguf.h"
#include "fusion/weights/json_text.h"
#include "fusion/weights/reader.h"

#define MAX_INDEX 67108864 /* bytes of an index of shards */
#define MAX_SHARDS 4096

struct lks_weights {
    char *path;
    const char *format;
    lks_map *maps;
    size_t n_maps, map_capacity, bytes;
    lks_weight_list list;
};

static const char *const file_names[] = {"model.safetensors", "model.safetensors.index.json", "pytorch_model.bin",
                                         "pytorch_model.bin.index.json"};

/* What can be told from the first bytes; NULL with *why filled when it is no weight file. */
static const char *detect_format(const lks_map *map, const char **why)
{
    static const unsigned char legacy[] = {0x8A, 0x0A, 0x6C, 0xFC, 0x9C, 0x46, 0xF9, 0x20, 0x6A, 0xA8, 0x50, 0x19};
    const unsigned char *p = map->data;
    size_t n = map->size;
    *why = "is no safetensors, torch or GGUF file";
    if (n == 0)
        *why = "is empty; fetch it again";
    else if (n >= 4 && memcmp(p, "GGUF", 4) == 0)
        return "gguf";
    else if (n >= 4 && (memcmp(p, "PK\3\4", 4) == 0 || memcmp(p, "PK\5\6", 4) == 0))
        return "torch";
    else if (n > 8 && p[8] == '{' && lks_le64(p) <= n - 8) /* whatever bytes the length of its header has */
        return "safetensors";
    else if (n >= 2 + sizeof legacy && p[0] == 0x80 && memcmp(p + 2, legacy, sizeof legacy) == 0)
        *why = "is in the torch format of before 2020; convert it in Python: torch.save(torch.load(FILE), FILE)";
    else if (n >= 2 && p[0] == 0x80 && p[1] >= 2 && p[1] <= 5)
        *why = "is a bare pickle; save the weights with torch.save or as safetensors";
    else if (n >= 12 && memcmp(p, "version http", 12) == 0)
        *why = "is a Git LFS pointer, not the weights themselves; run `git lfs pull`";
    else if (n > 8 && p[8] == '{')
        return "safetensors";
    else if (n < 16)
        *why = "is too short for a weight file; fetch it again";
    return NULL;
}

static lks_status read_format(lks_weight_list *out, const char *format, const lks_weight_source *in, lks_error *err)
{
    if (strcmp(format, "gguf") == 0)
        return lks_gguf_read(out, in, err);
    if (strcmp(format, "safetensors") == 0)
        return lks_safetensors_read(out, in, err);
    return lks_torch_read(out, in, err);
}

/* Maps one file and appends its tensors. */
static lks_status add_file(lks_weights *w, const char *path, lks_error *err)
{
    lks_map *maps = lks_weight_grow(w->maps, &w->map_capacity, w->n_maps, sizeof *maps);
    if (!maps)
        return lks_error_set(err, LKS_ERR_NOMEM, "%s: out of memory", path);
    w->maps = maps;
    lks_map *map = &maps[w->n_maps];
    lks_status st = lks_map_open(map, path, err);
    if (st != LKS_OK)
        return st;
    w->n_maps++;
    w->bytes += map->size;

    const char *why, *format = detect_format(map, &why);
    if (!format)
        return lks_error_set(err, LKS_ERR_MODEL, "%s: %s", path, why);
    if (w->format && strcmp(w->format, format) != 0)
        return lks_error_set(err, LKS_ERR_MODEL, "%s: is a %s file among %s files", path, format, w->format);
    w->format = format;
    lks_weight_source in = {map->data, map->size, path};
    return read_format(&w->list, format, &in, err);
}

static int by_name(const void *left, const void *right)
{
    return strcmp(((const lks_tensor *)left)->name, ((const lks_tensor *)right)->name);
}

static lks_status sort_tensors(lks_weights *w, lks_error *err)
{
    const lks_weight_list *list = &w->list;
    if (list->n_tensors == 0)
        return lks_error_set(err, LKS_ERR_MODEL, "%s: holds no tensors", w->path);
    qsort(list->tensors, list->n_tensors, sizeof *list->tensors, by_name);
    for (size_t i = 1; i < list->n_tensors; i++)
        if (strcmp(list->tensors[i - 1].name, list->tensors[i].name) == 0)
            return lks_error_set(err, LKS_ERR_MODEL, "%s: tensor '%.80s' appears twice" LKS_DAMAGED, w->path,
                                 list->tensors[i].name);
    return LKS_OK;
}

/* folder/name, to be freed; NULL when out of memory. */
static char *join_path(const char *folder, const char *name)
{
    size_t n_folder = strlen(folder), n = n_folder + strlen(name) + 2;
    bool slash = n_folder > 0 && folder[n_folder - 1] != '/';
    char *path = malloc(n);
    if (path)
        snprintf(path, n, "%s%s%s", folder, slash ? "/" : "", name);
    return path;
}

static bool is_bare_name(const char *name)
{
    return *name && !strpbrk(name, "/\\") && strcmp(name, ".") != 0 && strcmp(name, "..") != 0;
}

static int by_text(const void *left, const void *right)
{
    return strcmp(*(const char *const *)left, *(const char *const *)right);
}

/* names [*n] = the distinct shard names of a weight_map, sorted; the strings belong to `map`. */
static lks_status list_shards(const char ***names, size_t *n, json_t *map, const char *path, lks_error *err)
{
    char safe[80];
    if (!json_is_object(map) || json_object_size(map) == 0)
        return lks_error_set(err, LKS_ERR_MODEL, "%s: has no weight_map that names shards" LKS_DAMAGED, path);
    const char **list = calloc(json_object_size(map), sizeof *list);
    if (!list)
        return lks_error_set(err, LKS_ERR_NOMEM, "%s: out of memory", path);
    size_t n_list = 0, n_distinct = 0;
    const char *key;
    json_t *value;
    json_object_foreach(map, key, value)
    {
        const char *name = json_string_value(value);
        if (!name || !is_bare_name(name)) {
            free(list);
            return lks_error_set(err, LKS_ERR_MODEL, "%s: the shard of tensor '%s' is no bare file name" LKS_DAMAGED,
                                 path, lks_weight_printable(safe, key, strlen(key)));
        }
        list[n_list++] = name;
    }
    qsort(list, n_list, sizeof *list, by_text);
    for (size_t i = 0; i < n_list; i++)
        if (i == 0 || strcmp(list[i], list[n_distinct - 1]) != 0)
            list[n_distinct++] = list[i];
    if (n_distinct > MAX_SHARDS) {
        free(list);
        return lks_error_set(err, LKS_ERR_MODEL, "%s: names %zu shards, at most %d are supported", path, n_distinct,
                             MAX_SHARDS);
    }
    *names = list;
    *n = n_distinct;
    return LKS_OK;
}

static lks_status add_shards(lks_weights *w, const char *folder, json_t *map, const char *path, lks_error *err)
{
    const char **names = NULL;
    size_t n = 0;
    lks_status st = list_shards(&names, &n, map, path, err);
    if (st != LKS_OK)
        return st;
    for (size_t i = 0; i < n && st == LKS_OK; i++) {
        char *shard = join_path(folder, names[i]);
        st = shard ? add_file(w, shard, err) : lks_error_set(err, LKS_ERR_NOMEM, "%s: out of memory", path);
        free(shard);
    }
    free(names);
    return st;
}

/* Every tensor that the index promises must have come from some shard. */
static lks_status check_promises(const lks_weights *w, json_t *map, const char *path, lks_error *err)
{
    char safe[80];
    const char *key;
    json_t *value;
    json_object_foreach(map, key, value) if (!lks_weights_find(w, key)) return lks_error_set(
        err, LKS_ERR_MODEL, "%s: no shard holds tensor '%s'" LKS_DAMAGED, path,
        lks_weight_printable(safe, key, strlen(key)));
    return LKS_OK;
}

static lks_status read_index(lks_weights *w, const char *folder, const char *path, lks_error *err)
{
    char *text;
    size_t n;
    lks_status st = lks_file_read(&text, &n, path, MAX_INDEX, err);
    if (st != LKS_OK)
        return st;
    const lks_json_limits limits = {16, 16, 3 * LKS_WEIGHTS_MAX_TENSORS};
    json_t *root = NULL;
    st = lks_json_text_parse(&root, text, n, &limits, path, err);
    free(text);
    json_t *map = json_object_get(root, "weight_map");
    if (st == LKS_OK)
        st = add_shards(w, folder, map, path, err);
    if (st == LKS_OK)
        st = sort_tensors(w, err);
    if (st == LKS_OK)
        st = check_promises(w, map, path, err);
    json_decref(root);
    return st;
}

static bool exists(const char *path)
{
    struct stat info;
    return lstat(path, &info) == 0; /* a dangling link is there, and opening it says what is wrong */
}

static lks_status read_directory(lks_weights *w, lks_error *err)
{
    for (size_t i = 0; i < sizeof file_names / sizeof *file_names; i++) {
        char *path = join_path(w->path, file_names[i]);
        if (!path)
            return lks_error_set(err, LKS_ERR_NOMEM, "%s: out of memory", w->path);
        lks_status st = LKS_OK;
        bool found = exists(path);
        if (found && strstr(file_names[i], ".index."))
            st = read_index(w, w->path, path, err);
        else if (found && (st = add_file(w, path, err)) == LKS_OK)
            st = sort_tensors(w, err);
        free(path);
        if (found)
            return st;
    }
    return lks_error_set(err, LKS_ERR_MODEL, "%s: holds no %s, %s or index of shards", w->path, file_names[0],
                         file_names[2]);
}

static int by_key(const void *left, const void *right)
{
    const lks_weight_string *a = left, *b = right;
    int order = memcmp(a->key, b->key, a->n_key < b->n_key ? a->n_key : b->n_key);
    return order ? order : (a->n_key > b->n_key) - (a->n_key < b->n_key);
}

lks_status lks_weights_open(lks_weights **out, const char *path, lks_error *err)
{
    struct stat info;
    if (stat(path, &info) != 0) {
        char text[128];
        return lks_error_set(err, LKS_ERR_IO, "%s: cannot be opened: %s", path, strerror_r(errno, text, sizeof text));
    }
    lks_weights *w = calloc(1, sizeof *w);
    if (!w || !(w->path = strdup(path))) {
        free(w);
        return lks_error_set(err, LKS_ERR_NOMEM, "%s: out of memory", path);
    }
    lks_status st;
    if (S_ISDIR(info.st_mode))
        st = read_directory(w, err);
    else if ((st = add_file(w, path, err)) == LKS_OK)
        st = sort_tensors(w, err);
    if (st != LKS_OK) {
        lks_weights_close(w);
        return st;
    }
    if (w->list.n_strings)
        qsort(w->list.strings, w->list.n_strings, sizeof *w->list.strings, by_key);
    *out = w;
    return LKS_OK;
}

void lks_weights_close(lks_weights *w)
{
    if (!w)
        return;
    lks_weight_list_release(&w->list);
    for (size_t i = 0; i < w->n_maps; i++)
        lks_map_close(&w->maps[i]);
    free(w->maps);
    free(w->path);
    free(w);
}

size_t lks_weights_count(const lks_weights *w)
{
    return w->list.n_tensors;
}

const lks_tensor *lks_weights_at(const lks_weights *w, size_t i)
{
    return &w->list.tensors[i];
}

const lks_tensor *lks_weights_find(const lks_weights *w, const char *name)
{
    lks_tensor key = {.name = name};
    char short_name[LKS_GGUF_MAX_NAME + 1];
    if (w->format && strcmp(w->format, "gguf") == 0) {
        lks_gguf_name(short_name, name);
        key.name = short_name;
    }
    return w->list.n_tensors == 0 ? NULL : bsearch(&key, w->list.tensors, w->list.n_tensors, sizeof key, by_name);
}

void lks_weights_forget(const lks_weights *weights, const lks_tensor *tensor)
{
    int64_t last = 0;
    if (lks_tensor_count(tensor) == 0)
        return;
    for (int d = 0; d < tensor->n_dims; d++)
        last += (tensor->shape[d] - 1) * tensor->stride[d];
    for (size_t i = 0; i < weights->n_maps; i++)
        lks_map_forget(&weights->maps[i], tensor->data, (size_t)(last + 1) * lks_dtype_size(tensor->dtype));
}

const char *lks_weights_format(const lks_weights *w)
{
    return w->format;
}

const char *lks_weights_path(const lks_weights *w)
{
    return w->path;
}

size_t lks_weights_bytes(const lks_weights *w)
{
    return w->bytes;
}

const char *lks_weights_string(const lks_weights *w, const char *key, size_t *n)
{
    const lks_weight_string wanted = {.key = key, .n_key = strlen(key)};
    if (w->list.n_strings == 0)
        return NULL;
    const lks_weight_string *found = bsearch(&wanted, w->list.strings, w->list.n_strings, sizeof wanted, by_key);
    if (!found)
        return NULL;
    *n = found->n_value;
    return found->value;
}
