/* int8 linear layers on AArch64 with dot products: sdot adds four products of signed bytes exactly in 32 bits. Inputs are 0..255,
 * so they are stored less 128, and so is their zero point. */
#include "fusion/cpu/simd_words_neon.h"

enum { I_WORDS = 1, I_ZERO_SHIFT = 128, I_CENTRED = 0 };

static inline ivec i_dot(ivec sum, ivec input, ivec weights)
{
    return vdotq_s32(sum, vreinterpretq_s8_s32(weights), vreinterpretq_s8_s32(input));
}

static inline void i_unpack(ivec *words, ivec bytes)
{
    words[0] = bytes;
}

/* 16 inputs as 4 words of bytes. */
static inline void i_quantise(uint32_t *words, const vec *x, vec inverse, ivec zero)
{
    int16x8_t rounded[2], shift = vdupq_n_s16(I_ZERO_SHIFT);
    i_rounded(rounded, x, inverse, zero);
    int8x8_t low = vmovn_s16(vsubq_s16(rounded[0], shift)), high = vmovn_s16(vsubq_s16(rounded[1], shift));
    vst1q_u8((uint8_t *)words, vreinterpretq_u8_s8(vcombine_s8(low, high)));
}

#include "fusion/cpu/kernels_int8_all.inc"

#include "fusion/cpu/kernels_attention_int8.inc"

#include "fusion/cpu/kernels_words_peak.inc"

const lks_expander lks_neon_dotprod_expander = {I_WORDS, quantise_rows, expand_panel};

void lks_neon_dotprod_linear_int8(const lks_compute *compute, const lks_linear *layer, const lks_linear_args *args)
{
    run_layer(compute, layer, args, layer->int8.panels);
}

bool lks_neon_dotprod_attention_int8(const lks_compute *compute, const lks_attention *attention)
{
    return run_attention(compute, attention);
}

double lks_neon_dotprod_run_int8(long n_rounds, int32_t *sink)
{
    return run_words(n_rounds, sink);
}
