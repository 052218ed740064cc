/* Typed access to JSON configuration objects: see json.h. */
#include "fusion/json.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

lks_status lks_json_parse(json_t **out, const char *text, size_t n, const char *path, lks_error *err)
{
    json_error_t problem;
    json_t *root = json_loadb(text, n, JSON_REJECT_DUPLICATES, &problem);
    if (!root && lks_json_exhausted(&problem))
        return lks_error_set(err, LKS_ERR_NOMEM, "%s: out of memory", path);
    if (!root)
        return lks_error_set(err, LKS_ERR_MODEL, "%s: not valid JSON (line %d: %s)", path, problem.line, problem.text);
    if (!json_is_object(root)) {
        json_decref(root);
        return lks_error_set(err, LKS_ERR_MODEL, "%s: the JSON text is not an object", path);
    }
    *out = root;
    return LKS_OK;
}

bool lks_json_exhausted(const json_error_t *why)
{
    return !why->text[0] || json_error_code(why) == json_error_out_of_memory;
}

char *lks_json_print(const json_t *root, size_t flags)
{
    size_t n = json_dumpb(root, NULL, 0, flags);
    char *text = n > 0 ? malloc(n + 1) : NULL;
    if (text && json_dumpb(root, text, n, flags) != n) {
        free(text);
        return NULL;
    }
    if (text)
        text[n] = '\0';
    return text;
}

static lks_status check_int(int *value, const json_t *item, const char *key, int low, int high, const char *path,
                            lks_error *err)
{
    if (!json_is_integer(item))
        return lks_error_set(err, LKS_ERR_MODEL, "%s: '%s' is not an integer", path, key);
    json_int_t number = json_integer_value(item);
    if (number < low || number > high)
        return lks_error_set(err, LKS_ERR_MODEL, "%s: '%s' is %lld, outside %d..%d", path, key, (long long)number, low,
                             high);
    *value = (int)number;
    return LKS_OK;
}

lks_status lks_json_int(int *value, const json_t *object, const char *key, int fallback, int low, int high,
                        const char *path, lks_error *err)
{
    const json_t *item = json_object_get(object, key);
    if (item && !json_is_null(item))
        return check_int(value, item, key, low, high, path, err);
    *value = fallback;
    return LKS_OK;
}

lks_status lks_json_pair(int pair[2], const json_t *object, const char *key, int fallback, int low, int high,
                         const char *path, lks_error *err)
{
    const json_t *list = json_object_get(object, key);
    int values[2] = {0};
    lks_status st;
    if (!json_is_array(list)) {
        st = lks_json_int(&values[0], object, key, fallback, low, high, path, err);
        values[1] = values[0];
    } else if (json_array_size(list) != 2) {
        return lks_error_set(err, LKS_ERR_MODEL, "%s: '%s' is not a pair of integers", path, key);
    } else {
        st = check_int(&values[0], json_array_get(list, 0), key, low, high, path, err);
        if (st == LKS_OK)
            st = check_int(&values[1], json_array_get(list, 1), key, low, high, path, err);
    }
    if (st == LKS_OK) {
        pair[0] = values[0];
        pair[1] = values[1];
    }
    return st;
}

lks_status lks_json_float(float *value, const json_t *object, const char *key, double fallback, const char *path,
                          lks_error *err)
{
    const json_t *item = json_object_get(object, key);
    if (!item || json_is_null(item)) {
        *value = (float)fallback;
        return LKS_OK;
    }
    if (!json_is_number(item) || !isfinite((float)json_number_value(item)))
        return lks_error_set(err, LKS_ERR_MODEL, "%s: '%s' is not a number", path, key);
    *value = (float)json_number_value(item);
    return LKS_OK;
}

lks_status lks_json_bool(bool *value, const json_t *object, const char *key, bool fallback, const char *path,
                         lks_error *err)
{
    const json_t *item = json_object_get(object, key);
    if (!item || json_is_null(item)) {
        *value = fallback;
        return LKS_OK;
    }
    if (!json_is_boolean(item))
        return lks_error_set(err, LKS_ERR_MODEL, "%s: '%s' is not true or false", path, key);
    *value = json_is_true(item);
    return LKS_OK;
}

const char *lks_json_string(const json_t *object, const char *key, const char *fallback)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text ? text : fallback;
}

lks_status lks_json_activation(lks_activation *value, const json_t *object, const char *key, const char *fallback,
                               const char *path, lks_error *err)
{
    static const struct {
        const char *name;
        lks_activation activation;
    } names[] = {
        {"gelu", LKS_ACT_GELU},
        {"gelu_python", LKS_ACT_GELU},
        {"gelu_new", LKS_ACT_GELU_TANH},
        {"gelu_fast", LKS_ACT_GELU_TANH},
        {"gelu_pytorch_tanh", LKS_ACT_GELU_TANH},
        {"quick_gelu", LKS_ACT_QUICK_GELU},
        {"relu", LKS_ACT_RELU},
        {"relu6", LKS_ACT_RELU6},
        {"silu", LKS_ACT_SILU},
        {"swish", LKS_ACT_SILU},
        {"tanh", LKS_ACT_TANH},
    };
    const char *name = lks_json_string(object, key, fallback);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(name, names[i].name) == 0) {
            *value = names[i].activation;
            return LKS_OK;
        }
    return lks_error_set(err, LKS_ERR_UNSUPPORTED, "%s: '%s' names the activation '%s', which is not known here", path,
                         key, name);
}
