/* int8 linear layers on AVX-VNNI: vpdpbusd adds four products of an unsigned and a signed byte exactly in 32 bits. */
#include "fusion/cpu/simd_words_256.h"

enum { I_ZERO_SHIFT = 0, I_CENTRED = 0, I_WORDS = 1, I_PEAK_ROWS = I_TILE_ROWS };

static inline ivec i_dot(ivec sum, ivec input, ivec weights)
{
    return _mm256_dpbusd_avx_epi32(sum, input, weights);
}

static inline void i_unpack(ivec *words, ivec bytes)
{
    words[0] = bytes;
}

/* 16 inputs as 4 words of bytes; the packing instruction clamps. */
static inline void i_quantise(uint32_t *words, const vec *x, vec inverse, ivec zero)
{
    ivec rounded = i_rounded(x, inverse, zero), bytes = _mm256_packus_epi16(rounded, rounded);
    _mm_storeu_si128((__m128i *)(void *)words, _mm256_castsi256_si128(_mm256_permute4x64_epi64(bytes, 0x08)));
}

#include "fusion/cpu/kernels_int8_all.inc"

#include "fusion/cpu/kernels_attention_int8.inc"

#include "fusion/cpu/kernels_words_peak.inc"

const lks_expander lks_avx_vnni_expander = {I_WORDS, quantise_rows, expand_panel};

void lks_avx_vnni_linear_int8(const lks_compute *compute, const lks_linear *layer, const lks_linear_args *args)
{
    run_layer(compute, layer, args, layer->int8.panels);
}

bool lks_avx_vnni_attention_int8(const lks_compute *compute, const lks_attention *attention)
{
    return run_attention(compute, attention);
}

double lks_avx_vnni_run_int8(long n_rounds, int32_t *sink)
{
    return run_words(n_rounds, sink);
}
