/* GGUF v3 writer: header, typed key/values, tensor directory, aligned data (ggml documentation, "GGUF"). */
#ifndef LKS_GGUF_H
#define LKS_GGUF_H

#include <stddef.h>

#include "fusion/status.h"
#include "fusion/tensor.h"

#define LKS_GGUF_MAX_NAME 64 /* bytes of a tensor's name */

typedef struct lks_gguf_string {
    const char *key;
    const char *value;
    size_t n; /* bytes of value */
} lks_gguf_string;

/* Writes a GGUF v3 file with alignment 64: temporary file beside `path`, fsync, rename, so that a full disk leaves what was
 * there. Tensors must be contiguous; names at most 64 bytes; dtypes f32, f16, bf16, i8, i16, i32, i64. */
lks_status lks_gguf_write(const char *path, const lks_gguf_string *strings, size_t n_strings, const lks_tensor *tensors,
                          size_t n_tensors, lks_error *err);

/* short_name = the name of a tensor in a GGUF file: `name` itself, or when that is too long its first 47 bytes, '~', and the
 * FNV-1a hash of all of it in 16 hexadecimal digits. */
void lks_gguf_name(char short_name[LKS_GGUF_MAX_NAME + 1], const char *name);

#endif
