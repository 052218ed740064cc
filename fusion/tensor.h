/* Tensor view: a named, typed, shaped window on memory somebody else owns (usually a mapped model file). */
#ifndef LKS_TENSOR_H
#define LKS_TENSOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LKS_MAX_DIMS 4

typedef enum lks_dtype {
    LKS_F32,
    LKS_F16,
    LKS_BF16,
    LKS_F64,
    LKS_I8,
    LKS_U8,
    LKS_I16,
    LKS_I32,
    LKS_I64,
    LKS_BOOL,
    LKS_DTYPE_COUNT
} lks_dtype;

typedef struct lks_tensor {
    const char *name;
    const void *data; /* little-endian, row-major, outermost dimension first; may be unaligned */
    lks_dtype dtype;
    int n_dims; /* 0 for a scalar */
    int64_t shape[LKS_MAX_DIMS];
    int64_t stride[LKS_MAX_DIMS]; /* in elements; pickled tensors may be transposed views */
} lks_tensor;

size_t lks_dtype_size(lks_dtype dtype);
const char *lks_dtype_name(lks_dtype dtype); /* "f32", "bf16", ... */

/* Number of elements; shapes of opened files are known not to overflow. */
int64_t lks_tensor_count(const lks_tensor *tensor);
bool lks_tensor_is_contiguous(const lks_tensor *tensor);

/* dst [count] = the tensor's elements in row-major order, converted to f32 (f16, bf16, f64 and integers too). */
void lks_tensor_to_f32(float *dst, const lks_tensor *tensor);

/* "[2, 3, 4]" into `text`; returns `text`. */
const char *lks_tensor_shape_text(char text[96], const lks_tensor *tensor);

#endif
