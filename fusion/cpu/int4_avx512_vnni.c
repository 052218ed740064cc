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

#include "fusion/cpu/simd_int4_512.h"

#include "fusion/cpu/kernels_int4_all.inc"

void lks_avx512_vnni_linear_int4(const lks_compute *compute, const lks_linear *layer, const lks_linear_args *args)
{
    lks_int4_run(compute, layer, args, linear_part, 4 * I_BYTES);
}
