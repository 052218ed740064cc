/* int4 linear layers on AVX2: vpmaddubsw adds two products of an unsigned and a signed byte in 16 bits; weights are 15 at most,
 * so that the 16 products of a group that meet there stay below 2^15: 15 x 127 x 16 = 30480. */
#include "fusion/cpu/simd_words_256.h"

static inline ivec q_dot(ivec sum, ivec weights, ivec inputs)
{
    return _mm256_add_epi16(sum, _mm256_maddubs_epi16(weights, inputs));
}

static inline ivec q_finish(ivec sum)
{
    return _mm256_madd_epi16(sum, _mm256_set1_epi16(1));
}

#include "fusion/cpu/simd_int4_256.h"

#include "fusion/cpu/kernels_int4_all.inc"

void lks_avx2_linear_int4(const lks_compute *compute, const lks_linear *layer, const lks_linear_args *args)
{
    lks_int4_run(compute, layer, args, linear_part, 2 * I_BYTES);
}
