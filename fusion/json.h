/* Typed access to JSON configuration objects, with defaults, ranges and errors that name file and key. */
#ifndef LKS_JSON_H
#define LKS_JSON_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "fusion/ops.h"
#include "fusion/status.h"

/* Parses a JSON object of at most `n` bytes; *out is owned by the caller (json_decref). */
lks_status lks_json_parse(json_t **out, const char *text, size_t n, const char *path, lks_error *err);

/* Whether parsing failed for want of memory, and not because of the text: jansson then leaves no reason, or says so. */
bool lks_json_exhausted(const json_error_t *why);

/* The JSON text of `root`, to free(); NULL: out of memory. json_dumps ignores that its buffer could not grow for a key. */
char *lks_json_print(const json_t *root, size_t flags);

/* *value = object[key], or `fallback` when absent or null. An error when it has another type or leaves [low, high]. */
lks_status lks_json_int(int *value, const json_t *object, const char *key, int fallback, int low, int high,
                        const char *path, lks_error *err);
/* An integer, or a list of two: pair[0] = rows, pair[1] = columns. */
lks_status lks_json_pair(int pair[2], const json_t *object, const char *key, int fallback, int low, int high,
                         const char *path, lks_error *err);
lks_status lks_json_float(float *value, const json_t *object, const char *key, double fallback, const char *path,
                          lks_error *err);
lks_status lks_json_bool(bool *value, const json_t *object, const char *key, bool fallback, const char *path,
                         lks_error *err);

/* Borrowed string, or `fallback` when absent or no string. */
const char *lks_json_string(const json_t *object, const char *key, const char *fallback);

/* transformers' activation names ("gelu", "gelu_new", "relu", ...). */
lks_status lks_json_activation(lks_activation *value, const json_t *object, const char *key, const char *fallback,
                               const char *path, lks_error *err);

#endif
