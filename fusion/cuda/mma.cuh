/* C [16, 8] += A [16, 16] B [16, 8], bf16 with sums in f32, by a warp. How the lanes hold A, B and C: see attention_mma.cu. Private to
 * fusion/cuda; on the host tests/cuda does the same from all lanes' fragments. */
#ifndef LKS_CUDA_MMA_CUH
#define LKS_CUDA_MMA_CUH

#include "fusion/cuda/kernels.cuh"

__device__ __forceinline__ void lks_mma_bf16(float c[4], const unsigned a[4], const unsigned b[2])
{
#if defined(LKS_CUDA_EMULATED)
    lks_emulated_mma_bf16(c, a, b);
#elif __CUDA_ARCH__ >= 800
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
                 "{%0, %1, %2, %3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#else
    (void)c, (void)a, (void)b;
    __trap(); /* lks_cuda_attention_fits keeps such devices away */
#endif
}

#endif
