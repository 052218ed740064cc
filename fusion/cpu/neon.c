/* The AArch64 table, and the same with int8 and int4 layers on dot products, chosen at run time. */
#include "fusion/cpu/simd_neon.h"

#include "fusion/cpu/kernels_all.inc"

const lks_ops lks_ops_neon = KERNELS_TABLE(LKS_ISA_NEON, "neon", lks_neon_linear_int8, lks_neon_linear_bf16,
                                           linear_widen, lks_neon_linear_int4, &lks_neon_expander, NULL);
const lks_ops lks_ops_neon_dotprod = KERNELS_TABLE(LKS_ISA_NEON_DOTPROD, "neon-dotprod", lks_neon_dotprod_linear_int8,
                                                   lks_neon_linear_bf16, linear_widen, lks_neon_dotprod_linear_int4,
                                                   &lks_neon_dotprod_expander, lks_neon_dotprod_attention_int8);

double lks_neon_run_fma(long n_rounds, float *sink)
{
    return run_fma(n_rounds, sink);
}
