/* The look at every number of a tensor: NaN and infinity have all exponent bits set. */
#include <string.h>

#include "fusion/weights/weights.h"

enum { BLOCK = 256 };

/* Whether any of BLOCK numbers side by side has all bits of `mask` set. Loops of constant length become vectors. */
static bool any_full(const unsigned char *p, size_t size, uint64_t mask)
{
    unsigned any = 0;
    if (size == sizeof(uint16_t)) {
        uint16_t block[BLOCK], wanted = (uint16_t)mask;
        memcpy(block, p, sizeof block);
        for (int i = 0; i < BLOCK; i++)
            any |= (block[i] & wanted) == wanted;
        return any != 0;
    }
    uint32_t block[BLOCK], wanted = (uint32_t)mask;
    memcpy(block, p, sizeof block);
    for (int i = 0; i < BLOCK; i++)
        any |= (block[i] & wanted) == wanted;
    return any != 0;
}

/* The first of n elements `stride` apart whose bits under `mask` are all set; n when there is none. */
static int64_t find_full(const unsigned char *p, size_t size, uint64_t mask, int64_t n, int64_t stride)
{
    int64_t begin = 0;
    while (stride == 1 && size <= sizeof(uint32_t) && begin + BLOCK <= n &&
           !any_full(p + begin * (int64_t)size, size, mask))
        begin += BLOCK;
    for (int64_t i = begin; i < n; i++) {
        uint64_t bits = 0;
        memcpy(&bits, p + i * stride * (int64_t)size, size);
        if ((bits & mask) == mask)
            return i;
    }
    return n;
}

static uint64_t exponent_mask(lks_dtype dtype)
{
    switch (dtype) {
    case LKS_F32:
        return 0x7F800000;
    case LKS_F16:
        return 0x7C00;
    case LKS_BF16:
        return 0x7F80;
    case LKS_F64:
        return 0x7FF0000000000000;
    default:
        return 0;
    }
}

lks_status lks_weights_check_finite(const lks_tensor *tensor, lks_error *err)
{
    uint64_t mask = exponent_mask(tensor->dtype);
    int64_t count = lks_tensor_count(tensor);
    if (mask == 0 || count == 0)
        return LKS_OK;
    size_t size = lks_dtype_size(tensor->dtype);
    int last = tensor->n_dims - 1;
    int64_t index[LKS_MAX_DIMS] = {0}, n_run = last < 0 ? 1 : tensor->shape[last],
            stride = last < 0 ? 1 : tensor->stride[last];
    if (lks_tensor_is_contiguous(tensor)) { /* one run, however short the rows: panels end in pairs */
        n_run = count;
        stride = 1;
        last = 0;
    }
    for (int64_t done = 0; done < count; done += n_run) {
        int64_t offset = 0;
        for (int i = 0; i < last; i++)
            offset += index[i] * tensor->stride[i];
        int64_t at = find_full((const unsigned char *)tensor->data + offset * (int64_t)size, size, mask, n_run, stride);
        if (at < n_run)
            return lks_error_set(
                err, LKS_ERR_MODEL,
                "tensor '%.120s': element %lld is NaN or infinite; the weights are damaged or badly trained",
                tensor->name, (long long)done + at);
        for (int i = last - 1; i >= 0 && ++index[i] == tensor->shape[i]; i--)
            index[i] = 0;
    }
    return LKS_OK;
}
