/* Reading the JSON of a tokenizer: typed members with defaults, stages that may be Sequences, and error sentences. */
#include "text/tokenizer_parts.h"

#include <stdlib.h>
#include <string.h>

enum { MOST_STAGES = 64, DEEPEST = 16 };

bool lks_token_json_text(const json_t *object, const char *key, lks_str *out)
{
    const json_t *value = json_object_get(object, key);
    if (!json_is_string(value))
        return false;
    lks_str_clear(out);
    lks_str_put(out, json_string_value(value), json_string_length(value));
    return true;
}

bool lks_token_json_bool(const json_t *object, const char *key, bool otherwise)
{
    const json_t *value = json_object_get(object, key);
    return json_is_boolean(value) ? json_is_true(value) : otherwise;
}

const char *lks_token_json_type(const json_t *object)
{
    const char *type = json_string_value(json_object_get(object, "type"));
    return type ? type : "";
}

lks_status lks_token_json_unsupported(const char *name, const char *part, const char *type, lks_error *err)
{
    return lks_error_set(err, LKS_ERR_UNSUPPORTED, "%s: the %s \"%.60s\" is not supported", name, part, type);
}

lks_status lks_token_json_damaged(const char *name, const char *what, lks_error *err)
{
    return lks_error_set(err, LKS_ERR_MODEL, "%s: %s; the tokenizer file is damaged, fetch it again", name, what);
}

lks_status lks_text_nomem(const char *name, lks_error *err)
{
    return lks_error_set(err, LKS_ERR_NOMEM, "%s: out of memory", name);
}

lks_status lks_stage_new(void *stage_pointer, void *array_pointer, size_t *n, size_t size, const char *what,
                         const char *name, lks_error *err)
{
    if (*n >= MOST_STAGES)
        return lks_token_json_damaged(name, what, err);
    void *array = NULL;
    memcpy(&array, array_pointer, sizeof array);
    char *larger = realloc(array, (*n + 1) * size);
    if (!larger)
        return lks_text_nomem(name, err);
    memcpy(array_pointer, &larger, sizeof larger);
    char *stage = memset(larger + *n * size, 0, size);
    memcpy(stage_pointer, &stage, sizeof stage);
    (*n)++;
    return LKS_OK;
}

static lks_status open_stages(void *list, const json_t *root, const char *items, lks_stage_open *open, int depth,
                              const char *name, lks_error *err)
{
    if (!root || json_is_null(root))
        return LKS_OK;
    if (!json_is_object(root))
        return lks_token_json_damaged(name, "a processing step is not an object", err);
    if (strcmp(lks_token_json_type(root), "Sequence") != 0)
        return open(list, root, name, err);
    const json_t *array = json_object_get(root, items);
    if (!json_is_array(array))
        return lks_token_json_damaged(name, "a Sequence has no list of steps", err);
    if (depth >= DEEPEST || json_array_size(array) > MOST_STAGES)
        return lks_token_json_damaged(name, "a Sequence is too long or too deep", err);
    for (size_t i = 0; i < json_array_size(array); i++) {
        lks_status st = open_stages(list, json_array_get(array, i), items, open, depth + 1, name, err);
        if (st != LKS_OK)
            return st;
    }
    return LKS_OK;
}

lks_status lks_stages_open(void *list, const json_t *root, const char *items, lks_stage_open *open, const char *name,
                           lks_error *err)
{
    return open_stages(list, root, items, open, 0, name, err);
}
