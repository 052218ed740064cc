/* What GPUs from 8.0 on have for matrix products in bf16: the product of a warp, the reading of its operands from shared memory, and
 * copies into shared memory that go on while the block computes. Private to fusion/cuda; on the host tests/cuda does the same.
 *
 * Of an operand, lane 4 g + t of a warp holds (PTX ISA, "Matrix Fragments for mma.m16n8k16")
 *     A [16, 16]   rows g, g + 8;  columns 2t, 2t + 1 and 2t + 8, 2t + 9       4 registers of two: the rows alternate
 *     B [16, 8]    column g;       rows    2t, 2t + 1 and 2t + 8, 2t + 9       2 registers of two
 *     C [16, 8]    rows g, g + 8;  columns 2t, 2t + 1                          4 floats */
#ifndef LKS_CUDA_MMA_CUH
#define LKS_CUDA_MMA_CUH

#include "fusion/cuda/kernels.cuh"

#if defined(LKS_CUDA_EMULATED) || __CUDA_ARCH__ >= 800
#define LKS_CUDA_HAS_MMA 1
#else
#define LKS_CUDA_HAS_MMA 0 /* lks_cuda_attention_fits keeps such devices away */
#endif

/* C += A B, sums in f32. */
__device__ __forceinline__ void lks_mma_bf16(float c[4], const unsigned a[4], const unsigned b[2])
{
#if defined(LKS_CUDA_EMULATED)
    lks_emulated_mma_bf16(c, a, b);
#elif LKS_CUDA_HAS_MMA
    asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#else
    (void)c, (void)a, (void)b;
    __trap();
#endif
}

/* Four matrices [8, 8] of bf16 in shared memory, a register of two each: lane l says where row l % 8 of matrix l / 8 is, 16 bytes
 * at a multiple of 16, and gets of every matrix row g, columns 2t and 2t + 1; or TURNED column g, rows 2t and 2t + 1. */
template <bool TURNED> __device__ __forceinline__ void lks_load_matrices(unsigned to[4], const uint16_t *row)
{
#if defined(LKS_CUDA_EMULATED)
    lks_emulated_load_matrices(to, row, TURNED);
#elif LKS_CUDA_HAS_MMA
    unsigned at = (unsigned)__cvta_generic_to_shared(row);
    if (TURNED)
        asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                     : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
                     : "r"(at));
    else
        asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                     : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
                     : "r"(at));
#else
    (void)to, (void)row;
    __trap();
#endif
}

/* Begins to copy 16 bytes into shared memory, both at multiples of 16; or zeros, and `from` is not read. */
__device__ __forceinline__ void lks_copy_async(void *to, const void *from, bool zeros)
{
#if defined(LKS_CUDA_EMULATED)
    lks_emulated_copy_async(to, from, zeros ? 0 : 16);
#elif LKS_CUDA_HAS_MMA
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"((unsigned)__cvta_generic_to_shared(to)),
                 "l"(__cvta_generic_to_global(from)), "r"(zeros ? 0 : 16)
                 : "memory");
#else
    (void)to, (void)from, (void)zeros;
    __trap();
#endif
}

/* Waits for the copies that this thread began. A barrier must follow before others read them. */
__device__ __forceinline__ void lks_copies_wait()
{
#if defined(LKS_CUDA_EMULATED)
    lks_emulated_copies_wait();
#elif LKS_CUDA_HAS_MMA
    asm volatile("cp.async.wait_all;" ::: "memory");
#else
    __trap();
#endif
}

/* Two numbers rounded as lks_bf16_narrow does, `low` in the low half. */
__device__ __forceinline__ unsigned lks_bf16_pair(float low, float high)
{
#if LKS_CUDA_HAS_MMA && !defined(LKS_CUDA_EMULATED)
    unsigned pair;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
    return pair;
#else
    return (unsigned)lks_bf16_narrow(low) | (unsigned)lks_bf16_narrow(high) << 16;
#endif
}

/* 2^x to some 2^-22 of it; numbers below 2^-126 are 0. */
__device__ __forceinline__ float lks_exp2(float x)
{
#if defined(LKS_CUDA_EMULATED)
    return exp2f(x);
#else
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
#endif
}

#endif
