/* Bounded JSON: see json_text.h.
 *
 * An empty object costs two bytes of text and about 300 bytes of tree, so a file of 100 MB could ask for 15 GB. Counting the
 * brackets, commas and colons outside strings first keeps the tree within the limits, and its depth small. */
#include "fusion/weights/json_text.h"

#include <string.h>

#include "fusion/json.h"
#include "fusion/weights/reader.h"

#define MAX_DEPTH 8

static const char *limits_reason(const char *text, size_t n, const lks_json_limits *limits)
{
    size_t objects = 0, arrays = 0, values = 0, depth = 0;
    bool in_string = false;
    for (size_t i = 0; i < n; i++) {
        char c = text[i];
        if (in_string) {
            if (c == '\\')
                i++;
            else if (c == '"')
                in_string = false;
            continue;
        }
        switch (c) {
        case '"':
            in_string = true;
            break;
        case '{':
            objects++;
            depth++;
            break;
        case '[':
            arrays++;
            depth++;
            break;
        case '}':
        case ']':
            depth -= depth > 0;
            break;
        case ',':
        case ':':
            values++;
            break;
        default:
            break;
        }
        if (depth > MAX_DEPTH)
            return "is nested too deeply";
    }
    if (objects > limits->objects || arrays > limits->arrays || values > limits->values)
        return "has too many entries";
    return NULL;
}

lks_status lks_json_text_parse(json_t **out, const char *text, size_t n, const lks_json_limits *limits,
                               const char *path, lks_error *err)
{
    const char *reason = limits_reason(text, n, limits);
    if (reason)
        return lks_error_set(err, LKS_ERR_MODEL, "%s: its JSON %s" LKS_DAMAGED, path, reason);
    json_error_t why;
    json_t *root = json_loadb(text, n, JSON_REJECT_DUPLICATES, &why);
    if (!root) {
        char safe[80];
        lks_weight_printable(safe, why.text, strlen(why.text));
        if (lks_json_exhausted(&why))
            return lks_error_set(err, LKS_ERR_NOMEM, "%s: out of memory", path);
        return lks_error_set(err, LKS_ERR_MODEL, "%s: its JSON is invalid (%s, line %d column %d)" LKS_DAMAGED, path,
                             safe, why.line, why.column);
    }
    if (!json_is_object(root)) {
        json_decref(root);
        return lks_error_set(err, LKS_ERR_MODEL, "%s: its JSON is no object" LKS_DAMAGED, path);
    }
    *out = root;
    return LKS_OK;
}
