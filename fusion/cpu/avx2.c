/* The AVX2 + FMA table, and the same with int8 layers on AVX-VNNI. Compiled for those instructions, chosen at run time. */
#include "fusion/cpu/simd_avx2.h"

#include "fusion/cpu/kernels_all.inc"

const lks_ops lks_ops_avx2 = KERNELS_TABLE(LKS_ISA_AVX2, "avx2", lks_avx2_linear_int8, lks_avx2_linear_bf16,
                                           linear_widen, lks_avx2_linear_int4, &lks_avx2_expander, NULL);
const lks_ops lks_ops_avx_vnni =
    KERNELS_TABLE(LKS_ISA_AVX_VNNI, "avx-vnni", lks_avx_vnni_linear_int8, lks_avx2_linear_bf16, linear_widen,
                  lks_avx_vnni_linear_int4, &lks_avx_vnni_expander, lks_avx_vnni_attention_int8);

double lks_avx2_run_fma(long n_rounds, float *sink)
{
    return run_fma(n_rounds, sink);
}
