/* int4 linear layers on AVX-512 without VNNI: pairs of products in 16 bits, as on AVX2 and as safe there. */
#include "fusion/cpu/simd_words_512.h"

static inline ivec q_dot(ivec sum, ivec weights, ivec inputs)
{
    return _mm512_add_epi16(sum, _mm512_maddubs_epi16(weights, inputs));
}

static inline ivec q_finish(ivec sum)
{
    return _mm512_madd_epi16(sum, _mm512_set1_epi16(1));
}

#include "fusion/cpu/simd_int4_512.h"

#include "fusion/cpu/kernels_int4_all.inc"

void lks_avx512_linear_int4(const lks_compute *compute, const lks_linear *layer, const lks_linear_args *args)
{
    lks_int4_run(compute, layer, args, linear_part, 2 * I_BYTES);
}
