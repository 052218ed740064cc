/* What the int4 kernels on 256 bits need beside the words. Stands after simd_words_256.h. */
#ifndef LKS_SIMD_INT4_256_H
#define LKS_SIMD_INT4_256_H

#include "fusion/cpu/simd_words_256.h"

static inline ivec i_and(ivec a, ivec b)
{
    return _mm256_and_si256(a, b);
}

static inline ivec i_sub(ivec a, ivec b)
{
    return _mm256_sub_epi32(a, b);
}

static inline ivec i_shift_right_4(ivec x)
{
    return _mm256_srli_epi32(x, 4);
}

#endif
