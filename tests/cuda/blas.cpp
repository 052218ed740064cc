/* cuBLASLt's matrix products on the host, by plain loops, as its documentation describes them: D = epilogue(alpha op(A) B + beta C),
 * columns side by side. Also refuses what the documentation says it refuses, and algorithms whose alignment is not kept. */
#include <stdlib.h>

#include "tests/cuda/accesses.h"
#include "tests/cuda/shim/cublasLt.h"

cublasStatus_t cublasLtCreate(cublasLtHandle_t *out)
{
    *out = new int(0);
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtDestroy(cublasLtHandle_t handle)
{
    delete handle;
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t *out, cublasComputeType_t compute, cudaDataType_t scale)
{
    *out = new emulated_product{compute, scale, CUBLAS_OP_N, CUBLASLT_EPILOGUE_DEFAULT, NULL, (cudaDataType_t)-1};
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t product)
{
    delete product;
    return CUBLAS_STATUS_SUCCESS;
}

template <class T> static cublasStatus_t take(T *to, const void *value, size_t size)
{
    if (size != sizeof *to)
        return CUBLAS_STATUS_INVALID_VALUE;
    memcpy(to, value, size);
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t product, cublasLtMatmulDescAttributes_t name,
                                              const void *value, size_t size)
{
    switch (name) {
    case CUBLASLT_MATMUL_DESC_TRANSA:
        return take(&product->transposed, value, size);
    case CUBLASLT_MATMUL_DESC_EPILOGUE:
        return take(&product->epilogue, value, size);
    case CUBLASLT_MATMUL_DESC_BIAS_POINTER:
        return take(&product->bias, value, size);
    case CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE:
        return take(&product->bias_type, value, size);
    }
    return CUBLAS_STATUS_INVALID_VALUE;
}

cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t *out, cudaDataType_t type, uint64_t rows,
                                          uint64_t columns, int64_t stride)
{
    if (stride < (int64_t)rows)
        return CUBLAS_STATUS_INVALID_VALUE;
    *out = new emulated_layout{type, rows, columns, stride};
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t layout)
{
    delete layout;
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t *out)
{
    *out = new emulated_preference{0, {256, 256, 256, 256}};
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t preference)
{
    delete preference;
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t preference,
                                                    cublasLtMatmulPreferenceAttributes_t name, const void *value,
                                                    size_t size)
{
    if (name == CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES)
        return take(&preference->room, value, size);
    return take(&preference->alignment[name - CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES], value, size);
}

static bool same_shape(const emulated_layout *a, const emulated_layout *b)
{
    return a->rows == b->rows && a->columns == b->columns && a->type == b->type;
}

cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t, cublasLtMatmulDesc_t product, cublasLtMatrixLayout_t a,
                                              cublasLtMatrixLayout_t b, cublasLtMatrixLayout_t c,
                                              cublasLtMatrixLayout_t d, cublasLtMatmulPreference_t preference,
                                              int n_wanted, cublasLtMatmulHeuristicResult_t *found, int *n_found)
{
    bool turned = product->transposed == CUBLAS_OP_T, whole = a->type == CUDA_R_8I;
    uint64_t m = turned ? a->columns : a->rows, k = turned ? a->rows : a->columns;
    *n_found = 0;
    if (n_wanted < 1 || a->type != b->type || k != b->rows || m != d->rows || b->columns != d->columns ||
        !same_shape(c, d))
        return CUBLAS_STATUS_INVALID_VALUE;
    if (whole &&
        (!turned || m % 4 || k % 4 || a->stride % 4 || b->stride % 4 || d->stride % 4 || d->type != CUDA_R_32I ||
         product->compute != CUBLAS_COMPUTE_32I || product->epilogue != CUBLASLT_EPILOGUE_DEFAULT))
        return CUBLAS_STATUS_NOT_SUPPORTED;
    bool half = d->type == CUDA_R_16BF && a->type == CUDA_R_16BF;
    if (!whole && ((d->type != CUDA_R_32F && !half) || product->compute != CUBLAS_COMPUTE_32F))
        return CUBLAS_STATUS_NOT_SUPPORTED;
    if ((product->epilogue & CUBLASLT_EPILOGUE_BIAS) && product->bias_type != d->type)
        return CUBLAS_STATUS_NOT_SUPPORTED;
    const char *plain = getenv("LOOKSAY_EMULATED_EPILOGUES");
    if (plain && strcmp(plain, "none") == 0 && product->epilogue != CUBLASLT_EPILOGUE_DEFAULT)
        return CUBLAS_STATUS_NOT_SUPPORTED;
    memcpy(found->algo.alignment, preference->alignment, sizeof found->algo.alignment);
    found->algo.room = preference->room;
    *n_found = 1;
    return CUBLAS_STATUS_SUCCESS;
}

static double element(const void *data, cudaDataType_t type, int64_t at)
{
    if (type == CUDA_R_8I)
        return ((const int8_t *)data)[at];
    if (type == CUDA_R_16BF)
        return (double)__uint_as_float((unsigned)((const uint16_t *)data)[at] << 16);
    return (double)((const float *)data)[at];
}

/* Halves to even. */
static uint16_t rounded(float x)
{
    unsigned bits = __float_as_uint(x);
    return x != x ? (uint16_t)(bits >> 16 | 0x40u) : (uint16_t)((bits + 0x7FFFu + (bits >> 16 & 1u)) >> 16);
}

static float finish(const emulated_product &p, float sum, uint64_t row)
{
    if (p.epilogue & CUBLASLT_EPILOGUE_BIAS)
        sum += (float)element(p.bias, p.bias_type, (int64_t)row);
    if (p.epilogue & CUBLASLT_EPILOGUE_RELU)
        sum = sum < 0.0f ? 0.0f : sum;
    if (p.epilogue & CUBLASLT_EPILOGUE_GELU)
        sum = 0.5f * sum * (1.0f + tanhf(0.79788456080286535588f * (sum + 0.044715f * sum * sum * sum)));
    return sum;
}

static void multiply(const emulated_product &p, const emulated_layout &a_layout, const emulated_layout &b_layout,
                     const emulated_layout &c_layout, const emulated_layout &d_layout, double beta, const void *a,
                     const void *b, const void *c, void *d)
{
    bool turned = p.transposed == CUBLAS_OP_T;
    for (uint64_t column = 0; column < d_layout.columns; column++)
        for (uint64_t row = 0; row < d_layout.rows; row++) {
            double sums[4] = {};
            int64_t a_begin = turned ? (int64_t)row * a_layout.stride : (int64_t)row,
                    a_step = turned ? 1 : a_layout.stride;
            int64_t b_begin = (int64_t)column * b_layout.stride;
            for (uint64_t k = 0; k < b_layout.rows; k++)
                sums[k % 4] += element(a, a_layout.type, a_begin + (int64_t)k * a_step) *
                               element(b, b_layout.type, b_begin + (int64_t)k);
            double sum = sums[0] + sums[1] + sums[2] + sums[3];
            int64_t to = (int64_t)column * d_layout.stride + (int64_t)row;
            if (d_layout.type == CUDA_R_32I) {
                ((int32_t *)d)[to] = (int32_t)(int64_t)sum;
                continue;
            }
            if (beta != 0.0)
                sum += beta * element(c, c_layout.type, (int64_t)column * c_layout.stride + (int64_t)row);
            float y = finish(p, (float)sum, row);
            if (d_layout.type == CUDA_R_16BF)
                ((uint16_t *)d)[to] = rounded(y);
            else
                ((float *)d)[to] = y;
        }
}

static size_t bytes_of(cudaDataType_t type)
{
    return type == CUDA_R_8I ? 1 : type == CUDA_R_16BF ? 2 : 4;
}

/* Calls `note` with each column of a matrix. */
template <class M, class F> static void each_column(M *matrix, const emulated_layout &layout, F note)
{
    size_t size = bytes_of(layout.type);
    for (uint64_t column = 0; column < layout.columns; column++)
        note((char *)matrix + (int64_t)column * layout.stride * (int64_t)size, layout.rows * size, nullptr);
}

/* Tells accesses.h what a product reads and writes. */
static void note_accesses(const emulated_product &p, const emulated_layout &a_layout, const emulated_layout &b_layout,
                          const emulated_layout &c_layout, const emulated_layout &d_layout, double beta, const void *a,
                          const void *b, const void *c, void *d)
{
    each_column(a, a_layout, lks_accesses_read);
    each_column(b, b_layout, lks_accesses_read);
    if (beta != 0.0)
        each_column(c, c_layout, lks_accesses_read);
    if (p.epilogue & CUBLASLT_EPILOGUE_BIAS)
        lks_accesses_read(p.bias, d_layout.rows * bytes_of(p.bias_type), nullptr);
    each_column(d, d_layout, lks_accesses_write);
}

cublasStatus_t cublasLtMatmul(cublasLtHandle_t, cublasLtMatmulDesc_t product, const void *alpha, const void *a,
                              cublasLtMatrixLayout_t a_layout, const void *b, cublasLtMatrixLayout_t b_layout,
                              const void *beta, const void *c, cublasLtMatrixLayout_t c_layout, void *d,
                              cublasLtMatrixLayout_t d_layout, const cublasLtMatmulAlgo_t *algorithm, void *room,
                              size_t room_bytes, cudaStream_t stream)
{
    const void *pointers[4] = {a, b, c, d};
    for (int i = 0; i < 4; i++)
        if ((uintptr_t)pointers[i] % algorithm->alignment[i])
            return CUBLAS_STATUS_INVALID_VALUE;
    bool whole = product->scale == CUDA_R_32I;
    double alpha_value = whole ? *(const int32_t *)alpha : (double)*(const float *)alpha;
    double beta_value = whole ? *(const int32_t *)beta : (double)*(const float *)beta;
    if (alpha_value != 1.0 || room_bytes < algorithm->room || !room)
        return CUBLAS_STATUS_INVALID_VALUE;
    emulated_product p = *product;
    emulated_layout la = *a_layout, lb = *b_layout, lc = *c_layout, ld = *d_layout;
    lks_emulate_work(stream, [=]() {
        note_accesses(p, la, lb, lc, ld, beta_value, a, b, c, d);
        multiply(p, la, lb, lc, ld, beta_value, a, b, c, d);
    });
    return CUBLAS_STATUS_SUCCESS;
}
