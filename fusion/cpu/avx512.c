/* The AVX-512 table. Compiled for those instructions, chosen at run time. */
#include "fusion/cpu/simd_avx512.h"

#include "fusion/cpu/kernels_all.inc"

const lks_ops lks_ops_avx512 = KERNELS_TABLE(LKS_ISA_AVX512, "avx512", lks_avx512_linear_int8, lks_avx512_linear_bf16,
                                             linear_widen, lks_avx512_linear_int4, &lks_avx512_expander, NULL);
const lks_ops lks_ops_avx512_vnni =
    KERNELS_TABLE(LKS_ISA_AVX512_VNNI, "avx512-vnni", lks_avx512_vnni_linear_int8, lks_avx512_linear_bf16, linear_widen,
                  lks_avx512_vnni_linear_int4, &lks_avx512_vnni_expander, lks_avx512_vnni_attention_int8);
const lks_ops lks_ops_avx512_bf16 =
    KERNELS_TABLE(LKS_ISA_AVX512_BF16, "avx512-bf16", lks_avx512_vnni_linear_int8, lks_avx512_bf16_linear_bf16, NULL,
                  lks_avx512_vnni_linear_int4, &lks_avx512_vnni_expander, lks_avx512_vnni_attention_int8);

double lks_avx512_run_fma(long n_rounds, float *sink)
{
    return run_fma(n_rounds, sink);
}
