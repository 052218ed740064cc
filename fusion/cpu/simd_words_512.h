/* Vectors of 16 32-bit words: what the int8 and bf16 kernels on 512 bits share. The same functions as simd_words_256.h. */
#ifndef LKS_SIMD_WORDS_512_H
#define LKS_SIMD_WORDS_512_H

#include "fusion/cpu/simd_avx512.h"

typedef __m512i ivec;

enum {
    I_LANES = 16,
    I_BYTES = 64,
    I_TILE_ROWS = 6, /* the register tile is a whole panel wide: 6 x 64 sums, 4 weights, 1 input */
    I_TILE_VECS = 4
};

static inline ivec i_zero(void)
{
    return _mm512_setzero_si512();
}

static inline ivec i_set(uint32_t x)
{
    return _mm512_set1_epi32((int)x);
}

static inline ivec i_load(const void *p)
{
    return _mm512_loadu_si512(p);
}

/* Loads the first n lanes, the others are zero; nothing beyond p[n - 1] is touched. */
static inline ivec i_load_part(const int32_t *p, int n)
{
    return _mm512_maskz_loadu_epi32((__mmask16)((1u << n) - 1), p);
}

static inline void i_store(void *p, ivec x)
{
    _mm512_storeu_si512(p, x);
}

static inline vec i_to_float(ivec x)
{
    return _mm512_cvtepi32_ps(x);
}

/* a - b c */
static inline ivec i_minus_product(ivec a, ivec b, ivec c)
{
    return _mm512_sub_epi32(a, _mm512_mullo_epi32(b, c));
}

/* The same value, of which the compiler knows nothing. */
static inline ivec i_opaque(ivec x)
{
    __asm__("" : "+v"(x));
    return x;
}

static inline __attribute__((always_inline)) void i_prefetch(const int8_t *p)
{
    _mm_prefetch((const char *)p, _MM_HINT_T0);
}

#endif
