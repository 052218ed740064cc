/* bf16 linear layers on AVX-512 without its BF16 instructions: words are widened to two f32, as on AVX2. */
#include "fusion/cpu/simd_words_512.h"

enum { I_NEEDS_STRIPS = 1, I_WORDS = 2 };

static inline vec i_as_floats(ivec x)
{
    return _mm512_castsi512_ps(x);
}

static inline ivec i_dot(ivec sum, ivec input, ivec weights)
{
    return _mm512_castps_si512(v_fma(i_as_floats(input), i_as_floats(weights), i_as_floats(sum)));
}

/* The even weights, the odd ones. */
static inline void i_unpack(ivec *words, ivec pairs)
{
    words[0] = _mm512_slli_epi32(pairs, 16);
    words[1] = _mm512_and_si512(pairs, _mm512_set1_epi32((int)0xFFFF0000));
}

/* x rounded to the upper half of its bits; NaN as it is. */
static inline void i_round(uint32_t *words, const vec *x)
{
    ivec bits = _mm512_castps_si512(x[0]);
    ivec odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
    ivec sum = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7FFF)));
    i_store(words, _mm512_and_si512(sum, _mm512_set1_epi32((int)0xFFFF0000)));
    _mm512_mask_storeu_ps(words, _mm512_cmp_ps_mask(x[0], x[0], _CMP_UNORD_Q), x[0]);
}

#include "fusion/cpu/kernels_bf16_all.inc"

void lks_avx512_linear_bf16(const lks_compute *compute, const lks_linear *layer, const lks_linear_args *args)
{
    linear_bf16(compute, layer, args);
}
