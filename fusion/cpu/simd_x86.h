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

#endif
