/* bf16 linear layers on AVX2: two weights in a word are widened to two f32 by a shift and a mask. Weights come from memory in half
 * the bytes of f32, which is what counts for few rows; for many rows they are widened once per block. */
#include "fusion/cpu/simd_words_256.h"
#include "fusion/cpu/word_rows.h"

enum { I_WORDS = 2 };

static inline vec i_as_floats(ivec x)
{
    return _mm256_castsi256_ps(x);
}

static inline ivec i_dot(ivec sum, ivec input, ivec weights)
{
    return _mm256_castps_si256(v_fma(i_as_floats(input), i_as_floats(weights), i_as_floats(sum)));
}

/* The even weights, the odd ones. */
static inline void i_unpack(ivec *words, ivec pairs)
{
    words[0] = _mm256_slli_epi32(pairs, 16);
    words[1] = _mm256_and_si256(pairs, _mm256_set1_epi32((int)0xFFFF0000));
}

/* x rounded to the upper half of its bits; NaN as it is, whose upper half may be all there is of infinity. */
static inline void i_round(uint32_t *words, const vec *x)
{
    for (int j = 0; j < LKS_ROW_CHUNK / V_WIDTH; j++) {
        ivec bits = _mm256_castps_si256(x[j]);
        ivec odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
        ivec sum = _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7FFF)));
        vec rounded = i_as_floats(_mm256_and_si256(sum, _mm256_set1_epi32((int)0xFFFF0000)));
        v_store((float *)(void *)(words + j * V_WIDTH),
                _mm256_blendv_ps(rounded, x[j], _mm256_cmp_ps(x[j], x[j], _CMP_UNORD_Q)));
    }
}

#include "fusion/cpu/kernels_bf16_all.inc"

void lks_avx2_linear_bf16(const lks_compute *compute, const lks_linear *layer, const lks_linear_args *args)
{
    linear_bf16(compute, layer, args);
}
