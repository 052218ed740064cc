/* What the vectors of all x86 instruction sets share. */
#ifndef LKS_SIMD_X86_H
#define LKS_SIMD_X86_H

#include <immintrin.h>
#include <stdint.h>

/* Asks for a cache line: into L1, into L2. Always inlined, or gcc takes calls without effect on memory for idle. */
static inline __attribute__((always_inline)) void v_prefetch(const float *p)
{
    _mm_prefetch((const char *)(const void *)p, _MM_HINT_T0);
}

static inline __attribute__((always_inline)) void v_prefetch_far(const void *p)
{
    _mm_prefetch((const char *)p, _MM_HINT_T1);
}

/* to [4][to_stride]: row k holds number k of each of the four rows. */
static inline void transpose_4x4(float *to, int64_t to_stride, const float *a, const float *b, const float *c,
                                 const float *d)
{
    __m128 rows[4] = {_mm_loadu_ps(a), _mm_loadu_ps(b), _mm_loadu_ps(c), _mm_loadu_ps(d)};
    _MM_TRANSPOSE4_PS(rows[0], rows[1], rows[2], rows[3]);
    for (int k = 0; k < 4; k++)
        _mm_storeu_ps(to + k * to_stride, rows[k]);
}

#endif
