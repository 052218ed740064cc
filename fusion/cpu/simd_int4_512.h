/* What the int4 kernels on 512 bits need beside the words. Stands after simd_words_512.h. */
#ifndef LKS_SIMD_INT4_512_H
#define LKS_SIMD_INT4_512_H

#include "fusion/cpu/simd_words_512.h"

static inline ivec i_and(ivec a, ivec b)
{
    return _mm512_and_si512(a, b);
}

static inline ivec i_sub(ivec a, ivec b)
{
    return _mm512_sub_epi32(a, b);
}

static inline ivec i_shift_right_4(ivec x)
{
    return _mm512_srli_epi32(x, 4);
}

#endif
