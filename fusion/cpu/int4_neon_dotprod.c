/* int4 linear layers on AArch64 with dot products: sdot adds four products of signed bytes exactly in 32 bits. */
#include "fusion/cpu/simd_words_neon.h"

static inline ivec q_dot(ivec sum, ivec weights, ivec inputs)
{
    return vdotq_s32(sum, vreinterpretq_s8_s32(weights), vreinterpretq_s8_s32(inputs));
}

static inline ivec q_finish(ivec sum)
{
    return sum;
}

#include "fusion/cpu/simd_int4_neon.h"

#include "fusion/cpu/kernels_int4_all.inc"

void lks_neon_dotprod_linear_int4(const lks_compute *compute, const lks_linear *layer, const lks_linear_args *args)
{
    lks_int4_run(compute, layer, args, linear_part, 4 * I_BYTES);
}
