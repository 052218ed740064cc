/* Tensor views: see tensor.h. Elements are read bytewise (memcpy), since mapped files promise no alignment. */
#include "fusion/tensor.h"

#include <stdio.h>
#include <string.h>

static const struct {
    size_t size;
    const char *name;
} dtypes[LKS_DTYPE_COUNT] = {
    [LKS_F32] = {4, "f32"}, [LKS_F16] = {2, "f16"},   [LKS_BF16] = {2, "bf16"}, [LKS_F64] = {8, "f64"},
    [LKS_I8] = {1, "i8"},   [LKS_U8] = {1, "u8"},     [LKS_I16] = {2, "i16"},   [LKS_I32] = {4, "i32"},
    [LKS_I64] = {8, "i64"}, [LKS_BOOL] = {1, "bool"},
};

size_t lks_dtype_size(lks_dtype dtype)
{
    return dtypes[dtype].size;
}

const char *lks_dtype_name(lks_dtype dtype)
{
    return dtypes[dtype].name;
}

int64_t lks_tensor_count(const lks_tensor *tensor)
{
    int64_t n = 1;
    for (int i = 0; i < tensor->n_dims; i++)
        n *= tensor->shape[i];
    return n;
}

bool lks_tensor_is_contiguous(const lks_tensor *tensor)
{
    if (lks_tensor_count(tensor) == 0)
        return true; /* nothing to lie apart, whatever the other dimensions say */
    int64_t expected = 1;
    for (int i = tensor->n_dims - 1; i >= 0; i--) {
        if (tensor->shape[i] != 1 && tensor->stride[i] != expected)
            return false;
        expected *= tensor->shape[i];
    }
    return true;
}

/* Half to single without branches, so that compilers vectorise it: the exponent is rebiased by a multiplication, which
 * also normalises subnormals; infinity and NaN get the full exponent back. */
static float half_to_float(uint16_t half)
{
    uint32_t magnitude = (uint32_t)(half & 0x7FFF) << 13;
    float value;
    memcpy(&value, &magnitude, sizeof value);
    value *= 0x1p112f;
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    bits |= magnitude >= 0x0F800000u ? 0x7F800000u : 0;
    bits |= (uint32_t)(half & 0x8000) << 16;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static float bfloat_to_float(uint16_t half)
{
    uint32_t bits = (uint32_t)half << 16;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static void halves_to_floats(float *dst, const unsigned char *source, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        uint16_t element;
        memcpy(&element, source + i * (int64_t)sizeof element, sizeof element);
        dst[i] = half_to_float(element);
    }
}

#define CONVERT_RUN(type, expression)                                                                                  \
    for (int64_t i = 0; i < n; i++) {                                                                                  \
        type element;                                                                                                  \
        memcpy(&element, source + i * stride * (int64_t)sizeof element, sizeof element);                               \
        dst[i] = expression;                                                                                           \
    }                                                                                                                  \
    break

/* dst [n] = n elements that lie `stride` elements apart. */
static void convert_run(float *dst, const unsigned char *source, lks_dtype dtype, int64_t n, int64_t stride)
{
    if (stride == 1 && dtype == LKS_F32) {
        memcpy(dst, source, (size_t)n * sizeof *dst);
        return;
    }
    if (stride == 1 && dtype == LKS_F16) {
        halves_to_floats(dst, source, n);
        return;
    }
    switch (dtype) {
    case LKS_F32:
        CONVERT_RUN(float, element);
    case LKS_F16:
        CONVERT_RUN(uint16_t, half_to_float(element));
    case LKS_BF16:
        CONVERT_RUN(uint16_t, bfloat_to_float(element));
    case LKS_F64:
        CONVERT_RUN(double, (float)element);
    case LKS_I8:
        CONVERT_RUN(int8_t, (float)element);
    case LKS_U8:
        CONVERT_RUN(uint8_t, (float)element);
    case LKS_I16:
        CONVERT_RUN(int16_t, (float)element);
    case LKS_I32:
        CONVERT_RUN(int32_t, (float)element);
    case LKS_I64:
        CONVERT_RUN(int64_t, (float)element);
    case LKS_BOOL:
        CONVERT_RUN(uint8_t, element != 0 ? 1.0f : 0.0f);
    case LKS_DTYPE_COUNT:
        break;
    }
}

void lks_tensor_to_f32(float *dst, const lks_tensor *tensor)
{
    if (lks_tensor_is_contiguous(tensor)) {
        convert_run(dst, tensor->data, tensor->dtype, lks_tensor_count(tensor), 1);
        return;
    }
    /* Not contiguous, so it has dimensions: walk the outer ones like an odometer, convert the innermost at once. */
    int last = tensor->n_dims - 1;
    int64_t n_runs = 1, index[LKS_MAX_DIMS] = {0};
    for (int i = 0; i < last; i++)
        n_runs *= tensor->shape[i];
    int64_t size = (int64_t)lks_dtype_size(tensor->dtype);
    for (int64_t run = 0; run < n_runs; run++) {
        int64_t offset = 0;
        for (int i = 0; i < last; i++)
            offset += index[i] * tensor->stride[i];
        convert_run(dst, (const unsigned char *)tensor->data + offset * size, tensor->dtype, tensor->shape[last],
                    tensor->stride[last]);
        dst += tensor->shape[last];
        for (int i = last - 1; i >= 0 && ++index[i] == tensor->shape[i]; i--)
            index[i] = 0;
    }
}

const char *lks_tensor_shape_text(char text[96], const lks_tensor *tensor)
{
    int used = snprintf(text, 96, "[");
    for (int i = 0; i < tensor->n_dims; i++)
        used += snprintf(text + used, 96 - (size_t)used, "%s%lld", i ? ", " : "", (long long)tensor->shape[i]);
    snprintf(text + used, 96 - (size_t)used, "]");
    return text;
}
