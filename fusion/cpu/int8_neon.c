/* int8 linear layers on AArch64 without dot products: both sides are widened to 16 bits, whose products are added in pairs. */
#include "fusion/cpu/simd_words_neon.h"

enum { I_WORDS = 2, I_ZERO_SHIFT = 0, I_CENTRED = 0 };

static inline ivec i_dot(ivec sum, ivec input, ivec weights)
{
    int16x8_t a = vreinterpretq_s16_s32(input), b = vreinterpretq_s16_s32(weights);
    ivec low = vmull_s16(vget_low_s16(a), vget_low_s16(b)), high = vmull_high_s16(a, b);
    return vaddq_s32(sum, vpaddq_s32(low, high));
}

/* Weights 0 and 2, then 1 and 3, of every group, sign-extended: no byte has to change its place. */
static inline void i_unpack(ivec *words, ivec bytes)
{
    int16x8_t pairs = vreinterpretq_s16_s32(bytes);
    words[0] = vreinterpretq_s32_s16(vshrq_n_s16(vshlq_n_s16(pairs, 8), 8));
    words[1] = vreinterpretq_s32_s16(vshrq_n_s16(pairs, 8));
}

/* 16 inputs as 8 words: inputs 0 and 2, then 1 and 3, of every group. */
static inline void i_quantise(uint32_t *words, const vec *x, vec inverse, ivec zero)
{
    int16x8_t rounded[2];
    int16_t numbers[16], turned[16];
    i_rounded(rounded, x, inverse, zero);
    vst1q_s16(numbers, rounded[0]);
    vst1q_s16(numbers + 8, rounded[1]);
    for (int i = 0; i < 16; i++)
        turned[i] = numbers[i / 4 * 4 + i % 2 * 2 + i / 2 % 2];
    memcpy(words, turned, sizeof turned);
}

#include "fusion/cpu/kernels_int8_all.inc"

#include "fusion/cpu/kernels_words_peak.inc"

const lks_expander lks_neon_expander = {I_WORDS, quantise_rows, expand_panel};

void lks_neon_linear_int8(const lks_compute *compute, const lks_linear *layer, const lks_linear_args *args)
{
    run_layer(compute, layer, args, layer->int8.panels);
}

double lks_neon_run_int8(long n_rounds, int32_t *sink)
{
    return run_words(n_rounds, sink);
}
