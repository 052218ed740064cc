/* bf16 linear layers on AArch64 without its BF16 instructions: words are widened to two f32, as on AVX2. */
#include "fusion/cpu/simd_words_neon.h"
#include "fusion/cpu/word_rows.h"

enum { I_WORDS = 2 };

static inline vec i_as_floats(ivec x)
{
    return vreinterpretq_f32_s32(x);
}

static inline ivec i_dot(ivec sum, ivec input, ivec weights)
{
    return vreinterpretq_s32_f32(v_fma(i_as_floats(input), i_as_floats(weights), i_as_floats(sum)));
}

/* The even weights, the odd ones. */
static inline void i_unpack(ivec *words, ivec pairs)
{
    words[0] = vshlq_n_s32(pairs, 16);
    words[1] = vbicq_s32(pairs, vdupq_n_s32(0xFFFF));
}

/* x rounded to the upper half of its bits; NaN as it is, whose upper half may be all there is of infinity. */
static inline void i_round(uint32_t *words, const vec *x)
{
    for (int j = 0; j < LKS_ROW_CHUNK / V_WIDTH; j++) {
        uint32x4_t bits = vreinterpretq_u32_f32(x[j]);
        uint32x4_t odd = vandq_u32(vshrq_n_u32(bits, 16), vdupq_n_u32(1));
        uint32x4_t sum = vaddq_u32(bits, vaddq_u32(odd, vdupq_n_u32(0x7FFF)));
        uint32x4_t rounded = vbicq_u32(sum, vdupq_n_u32(0xFFFF));
        vst1q_u32(words + j * V_WIDTH, vbslq_u32(vceqq_f32(x[j], x[j]), rounded, bits));
    }
}

#include "fusion/cpu/kernels_bf16_all.inc"

void lks_neon_linear_bf16(const lks_compute *compute, const lks_linear *layer, const lks_linear_args *args)
{
    linear_bf16(compute, layer, args);
}
