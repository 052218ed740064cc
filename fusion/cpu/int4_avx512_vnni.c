/* int4 linear layers on AVX-512 VNNI: vpdpbusd adds four products of an unsigned and a signed byte exactly in 32 bits. */
#include "fusion/cpu/simd_words_512.h"

static inline ivec q_dot(ivec sum, ivec weights, ivec inputs)
{
    return _mm512_dpbusd_epi32(sum, weights, inputs);
}

static inline ivec q_finish(ivec sum)
{
    return sum;
}

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

#include "fusion/cpu/kernels_int4_all.inc"

void lks_avx512_vnni_linear_int4(const lks_compute *compute, const lks_linear *layer, const lks_linear_args *args)
{
    lks_int4_run(compute, layer, args, linear_part, 4 * I_BYTES);
}
