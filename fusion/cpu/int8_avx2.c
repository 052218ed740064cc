/* int8 linear layers on AVX2. vpmaddubsw, its only multiplication of bytes, adds two products in 16 bits and saturates:
 * 255 x 127 x 2 does not fit. So both sides are widened to 16 bits, where vpmaddwd adds two products exactly in 32 bits; it
 * does as many multiply-adds per instruction as vpmaddubsw followed by the vpmaddwd that widens its sums. */
#include "fusion/cpu/simd_words_256.h"

enum {
    I_ZERO_SHIFT = 0,
    I_CENTRED = 1,
    I_WORDS = 2,
    I_PEAK_ROWS = 3 /* more would spill: products need registers of their own */
};

static inline ivec i_dot(ivec sum, ivec input, ivec weights)
{
    return _mm256_add_epi32(sum, _mm256_madd_epi16(input, weights));
}

/* Weights 0 and 2, then 1 and 3, of every group, sign-extended: no byte has to change its place. */
static inline void i_unpack(ivec *words, ivec bytes)
{
    words[0] = _mm256_srai_epi16(_mm256_slli_epi16(bytes, 8), 8);
    words[1] = _mm256_srai_epi16(bytes, 8);
}

/* 16 inputs less their zero as 8 words: inputs 0 and 2, then 1 and 3, of every group. */
static inline void i_quantise(uint32_t *words, const vec *x, vec inverse, ivec zero)
{
    ivec rounded = i_rounded(x, inverse, zero);
    ivec clamped = _mm256_min_epi16(_mm256_set1_epi16(255), _mm256_max_epi16(i_zero(), rounded));
    ivec centred = _mm256_sub_epi16(clamped, _mm256_packs_epi32(zero, zero));
    i_store(words, _mm256_shufflehi_epi16(_mm256_shufflelo_epi16(centred, 0xD8), 0xD8));
}

#include "fusion/cpu/kernels_int8_all.inc"

#include "fusion/cpu/kernels_words_peak.inc"

const lks_expander lks_avx2_expander = {I_WORDS, quantise_rows, expand_panel};

void lks_avx2_linear_int8(const lks_compute *compute, const lks_linear *layer, const lks_linear_args *args)
{
    run_layer(compute, layer, args, layer->int8.panels);
}

double lks_avx2_run_int8(long n_rounds, int32_t *sink)
{
    return run_words(n_rounds, sink);
}
