/* What the readers of weight files share: where the bytes come from, where the tensors go, and checks that every format needs.
 *
 * A reader looks at memory only, so that it can be fuzzed without files. The tensors it lists point into that memory. */
#ifndef LKS_WEIGHTS_READER_H
#define LKS_WEIGHTS_READER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "fusion/status.h"
#include "fusion/tensor.h"

#define LKS_WEIGHTS_MAX_TENSORS 65536 /* per model; the largest captioners have about 2,000 */
#define LKS_WEIGHTS_MAX_NAME 1024     /* bytes of a tensor's name */

/* The remedy at the end of a message about bytes that make no sense. */
#define LKS_DAMAGED "; the file is damaged or incomplete, fetch it again"

typedef struct lks_weight_source {
    const unsigned char *data;
    size_t size;
    const char *path; /* for messages */
} lks_weight_source;

typedef struct lks_weight_string { /* a GGUF string value; nothing is terminated */
    const char *key, *value;
    size_t n_key, n_value;
} lks_weight_string;

typedef struct lks_weight_list {
    lks_tensor *tensors; /* names are owned by the list */
    size_t n_tensors, tensor_capacity;
    lks_weight_string *strings;
    size_t n_strings, string_capacity;
} lks_weight_list;

lks_status lks_safetensors_read(lks_weight_list *out, const lks_weight_source *in, lks_error *err);
lks_status lks_torch_read(lks_weight_list *out, const lks_weight_source *in, lks_error *err);
lks_status lks_gguf_read(lks_weight_list *out, const lks_weight_source *in, lks_error *err);

/* Appends a tensor under a copy of `name`. Names are 1 to LKS_WEIGHTS_MAX_NAME printable ASCII characters. */
lks_status lks_weight_list_add(lks_weight_list *list, const lks_tensor *tensor, const char *name, size_t n_name,
                               const lks_weight_source *in, lks_error *err);
lks_status lks_weight_list_add_string(lks_weight_list *list, const lks_weight_string *string, lks_error *err);
void lks_weight_list_release(lks_weight_list *list);

/* Shape `dims` (outermost first) and row-major strides; *n_bytes = size of the data. False when the size overflows, even
 * where a dimension of zero would hide it. */
bool lks_weight_shape(lks_tensor *tensor, size_t *n_bytes, const uint64_t *dims, int n_dims);

/* Room for one more element in a growing array: returns the array, moved if need be, or NULL when out of memory. */
void *lks_weight_grow(void *items, size_t *capacity, size_t n, size_t element_size);

/* At most 79 characters of untrusted text for a message, what is not printable ASCII as '?'; returns `safe`. */
const char *lks_weight_printable(char safe[80], const char *text, size_t n);

uint16_t lks_le16(const unsigned char *p);
uint32_t lks_le32(const unsigned char *p);
uint64_t lks_le64(const unsigned char *p);

#endif
