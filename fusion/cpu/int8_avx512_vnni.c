/* int8 linear layers on AVX-512 VNNI: vpdpbusd adds four products of an unsigned and a signed byte exactly in 32 bits. */
#include "fusion/cpu/simd_words_512.h"

enum { I_NEEDS_STRIPS = 0, I_ZERO_SHIFT = 0, I_CENTRED = 0, I_WORDS = 1, I_PEAK_ROWS = I_TILE_ROWS };

static inline ivec i_dot(ivec sum, ivec input, ivec weights)
{
    return _mm512_dpbusd_epi32(sum, input, weights);
}

static inline void i_unpack(ivec *words, ivec bytes)
{
    words[0] = bytes;
}

/* 16 inputs as 4 words of bytes. */
static inline void i_quantise(uint32_t *words, const vec *x, vec inverse, ivec zero)
{
    ivec rounded = _mm512_add_epi32(_mm512_cvtps_epi32(v_mul(x[0], inverse)), zero);
    _mm_storeu_si128((__m128i *)(void *)words, _mm512_cvtusepi32_epi8(_mm512_max_epi32(i_zero(), rounded)));
}

#include "fusion/cpu/kernels_int8_all.inc"

#include "fusion/cpu/kernels_attention_int8.inc"

#include "fusion/cpu/kernels_words_peak.inc"

const lks_expander lks_avx512_vnni_expander = {I_WORDS, quantise_rows, expand_panel};

void lks_avx512_vnni_linear_int8(const lks_compute *compute, const lks_linear *layer, const lks_linear_args *args)
{
    run_layer(compute, layer, args, layer->int8.panels);
}

bool lks_avx512_vnni_attention_int8(const lks_compute *compute, const lks_attention *attention)
{
    return run_attention(compute, attention);
}

double lks_avx512_vnni_run_int8(long n_rounds, int32_t *sink)
{
    return run_words(n_rounds, sink);
}
