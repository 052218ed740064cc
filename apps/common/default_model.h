/* The model that comes with the program. */
#ifndef LOOKSAY_COMMON_DEFAULT_MODEL_H
#define LOOKSAY_COMMON_DEFAULT_MODEL_H

#include <stdbool.h>
#include <stddef.h>

/* looksay.gguf in ../share/looksay or ../assets/model seen from the program. Returns false when neither exists; `out` then
 * holds the first place that was tried. */
bool default_model_find(char *out, size_t n_out);

#endif
