/* int4 linear layers on AArch64 without dot products: products of bytes are added in pairs in 16 bits. Weights are 15 at most, so
 * that the 16 products of a group that meet there stay below 2^15: 15 x 127 x 16 = 30480. */
#include "fusion/cpu/simd_words_neon.h"

static inline ivec q_dot(ivec sum, ivec weights, ivec inputs)
{
    int8x16_t a = vreinterpretq_s8_s32(weights), b = vreinterpretq_s8_s32(inputs);
    int16x8_t low = vmull_s8(vget_low_s8(a), vget_low_s8(b)), high = vmull_high_s8(a, b);
    return vreinterpretq_s32_s16(vaddq_s16(vreinterpretq_s16_s32(sum), vpaddq_s16(low, high)));
}

static inline ivec q_finish(ivec sum)
{
    return vpaddlq_s16(vreinterpretq_s16_s32(sum));
}

#include "fusion/cpu/simd_int4_neon.h"

#include "fusion/cpu/kernels_int4_all.inc"

void lks_neon_linear_int4(const lks_compute *compute, const lks_linear *layer, const lks_linear_args *args)
{
    lks_int4_run(compute, layer, args, linear_part, 2 * I_BYTES);
}
