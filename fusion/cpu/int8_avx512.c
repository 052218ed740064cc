/* int8 linear layers on AVX-512 without VNNI: both sides are widened to 16 bits, as on AVX2 and for the same reason. */
#include "fusion/cpu/simd_words_512.h"

enum {
    I_NEEDS_STRIPS = 1,
    I_ZERO_SHIFT = 0,
    I_CENTRED = 1,
    I_WORDS = 2,
    I_PEAK_ROWS = 5 /* more would spill: products need registers of their own */
};

static inline ivec i_dot(ivec sum, ivec input, ivec weights)
{
    return _mm512_add_epi32(sum, _mm512_madd_epi16(input, weights));
}

/* Weights 0 and 2, then 1 and 3, of every group, sign-extended: no byte has to change its place. */
static inline void i_unpack(ivec *words, ivec bytes)
{
    words[0] = _mm512_srai_epi16(_mm512_slli_epi16(bytes, 8), 8);
    words[1] = _mm512_srai_epi16(bytes, 8);
}

/* 16 inputs less their zero as 8 words: inputs 0 and 2, then 1 and 3, of every group. */
static inline void i_quantise(uint32_t *words, const vec *x, vec inverse, ivec zero)
{
    ivec rounded = _mm512_add_epi32(_mm512_cvtps_epi32(v_mul(x[0], inverse)), zero);
    ivec clamped = _mm512_min_epi32(i_set(255), _mm512_max_epi32(i_zero(), rounded));
    __m256i numbers = _mm512_cvtepi32_epi16(_mm512_sub_epi32(clamped, zero));
    _mm256_storeu_si256((__m256i *)(void *)words, _mm256_shufflehi_epi16(_mm256_shufflelo_epi16(numbers, 0xD8), 0xD8));
}

#include "fusion/cpu/kernels_int8_all.inc"

#include "fusion/cpu/kernels_words_peak.inc"

const lks_expander lks_avx512_expander = {I_WORDS, quantise_rows, expand_panel};

void lks_avx512_linear_int8(const lks_compute *compute, const lks_linear *layer, const lks_linear_args *args)
{
    run_layer(compute, layer, args, layer->int8.panels);
}

double lks_avx512_run_int8(long n_rounds, int32_t *sink)
{
    return run_words(n_rounds, sink);
}
