/* bf16 linear layers on AVX-512 BF16: vdpbf16ps adds the two products of a word to an f32. */
#include <string.h>

#include "fusion/cpu/simd_words_512.h"

enum { I_NEEDS_STRIPS = 0, I_WORDS = 1, I_PEAK_ROWS = I_TILE_ROWS };

static inline vec i_as_floats(ivec x)
{
    return _mm512_castsi512_ps(x);
}

static inline __m512bh as_pairs(ivec x)
{
    __m512bh pairs;
    memcpy(&pairs, &x, sizeof pairs);
    return pairs;
}

static inline ivec i_dot(ivec sum, ivec input, ivec weights)
{
    return _mm512_castps_si512(_mm512_dpbf16_ps(i_as_floats(sum), as_pairs(input), as_pairs(weights)));
}

static inline void i_unpack(ivec *words, ivec pairs)
{
    words[0] = pairs;
}

static inline void i_round(uint32_t *words, const vec *x)
{
    __m256bh rounded = _mm512_cvtneps_pbh(x[0]);
    memcpy(words, &rounded, sizeof rounded);
}

#include "fusion/cpu/kernels_bf16_all.inc"

#include "fusion/cpu/kernels_words_peak.inc"

void lks_avx512_bf16_linear_bf16(const lks_compute *compute, const lks_linear *layer, const lks_linear_args *args)
{
    linear_bf16(compute, layer, args);
}

double lks_avx512_bf16_run_bf16(long n_rounds, int32_t *sink)
{
    return run_words(n_rounds, sink);
}
