/* Weights: a set of named tensors mapped from a model's files, read-only.
 *
 * lks_weights_open takes
 *   a directory   model.safetensors | model.safetensors.index.json | pytorch_model.bin (| .index.json), in this order
 *   a file        by content: GGUF v3, safetensors, or a zip-pickled torch file
 * Files are hostile: headers are bounded, offsets are checked for overlap and holes, a pickle builds tensors and runs
 * nothing. Tensor views point into the mapping and live until lks_weights_close. */
#ifndef LKS_WEIGHTS_H
#define LKS_WEIGHTS_H

#include "fusion/status.h"
#include "fusion/tensor.h"

typedef struct lks_weights lks_weights;

lks_status lks_weights_open(lks_weights **out, const char *path, lks_error *err);
void lks_weights_close(lks_weights *weights);

size_t lks_weights_count(const lks_weights *weights);
const lks_tensor *lks_weights_at(const lks_weights *weights, size_t i); /* in ascending name order */
/* NULL: absent. In a GGUF file also by a name that lks_gguf_name shortened. */
const lks_tensor *lks_weights_find(const lks_weights *weights, const char *name);

const char *lks_weights_format(const lks_weights *weights); /* "safetensors", "torch", "gguf" */
const char *lks_weights_path(const lks_weights *weights);   /* as given to open */
size_t lks_weights_bytes(const lks_weights *weights);       /* total size of the mapped files */

/* Gives back the memory that reading a tensor took, once it has been copied: a file's pages count as this process's as long as they are
 * mapped. It may be read again. */
void lks_weights_forget(const lks_weights *weights, const lks_tensor *tensor);

/* A GGUF string value, not terminated, *n bytes; NULL when absent or no string (always NULL for other formats). */
const char *lks_weights_string(const lks_weights *weights, const char *key, size_t *n);

/* Looks at every element: NaN or infinity is LKS_ERR_MODEL, named. Opening does not do this, since it reads all the data. */
lks_status lks_weights_check_finite(const lks_tensor *tensor, lks_error *err);

#endif
