/* JSON from untrusted files: jansson, after a look at the text that bounds the size of what it will build. */
#ifndef LKS_WEIGHTS_JSON_TEXT_H
#define LKS_WEIGHTS_JSON_TEXT_H

#include <jansson.h>

#include "fusion/status.h"

typedef struct lks_json_limits {
    size_t objects, arrays, values; /* values: members and elements altogether */
} lks_json_limits;

/* *out = a new reference to the JSON object that is the whole of `text` [n]. Duplicate keys are errors. `path` names the
 * file in messages. */
lks_status lks_json_text_parse(json_t **out, const char *text, size_t n, const lks_json_limits *limits,
                               const char *path, lks_error *err);

#endif
