/* What the int4 kernels on AArch64 need beside the words. Stands after simd_words_neon.h. */
#ifndef LKS_SIMD_INT4_NEON_H
#define LKS_SIMD_INT4_NEON_H

#include "fusion/cpu/simd_words_neon.h"

static inline ivec i_and(ivec a, ivec b)
{
    return vandq_s32(a, b);
}

static inline ivec i_sub(ivec a, ivec b)
{
    return vsubq_s32(a, b);
}

static inline ivec i_shift_right_4(ivec x)
{
    return vreinterpretq_s32_u32(vshrq_n_u32(vreinterpretq_u32_s32(x), 4));
}

#endif
