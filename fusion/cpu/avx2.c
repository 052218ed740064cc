/* The AVX2 + FMA table. Compiled for those instructions, chosen at run time. */
#include "fusion/cpu/simd_avx2.h"

#include "fusion/cpu/kernels_all.inc"

const lks_ops lks_ops_avx2 = KERNELS_TABLE(LKS_ISA_AVX2, "avx2");

double lks_avx2_run_fma(long n_rounds, float *sink)
{
    return run_fma(n_rounds, sink);
}
