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

static inline ivec i_add(ivec a, ivec b)
{
    return _mm512_add_epi32(a, b);
}

/* To the nearest, halves to even. */
static inline ivec i_nearest(vec x)
{
    return _mm512_cvtps_epi32(x);
}

/* The same of y 2^n; n is what adding to 1.5 2^23 left in the low bits of `magic`. */
static inline ivec i_nearest_scaled(vec y, vec magic)
{
    return _mm512_cvtps_epi32(_mm512_castsi512_ps(
        _mm512_add_epi32(_mm512_castps_si512(y), _mm512_slli_epi32(_mm512_castps_si512(magic), 23))));
}

/* Words of bytes: n[0 .. 3] hold numbers of a byte, n[0] becomes the lowest. */
static inline ivec i_join(const ivec *n)
{
    const ivec byte = _mm512_set1_epi32(0xFF);
    const ivec low = _mm512_or_si512(_mm512_and_si512(n[0], byte), _mm512_slli_epi32(_mm512_and_si512(n[1], byte), 8));
    return _mm512_or_si512(low, _mm512_or_si512(_mm512_slli_epi32(_mm512_and_si512(n[2], byte), 16),
                                                _mm512_slli_epi32(n[3], 24)));
}

/* The two bytes of the 4 I_LANES numbers n, below 2^16, in their order. */
static inline void i_split(ivec *high, ivec *low, const ivec *n)
{
    static const int32_t natural[I_LANES] = {0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15};
    const ivec byte = _mm512_set1_epi32(0x00FF00FF), order = _mm512_loadu_si512(natural);
    const ivec a = _mm512_packus_epi32(n[0], n[1]), b = _mm512_packus_epi32(n[2], n[3]); /* by quarters */
    *high = _mm512_permutexvar_epi32(order, _mm512_packus_epi16(_mm512_srli_epi16(a, 8), _mm512_srli_epi16(b, 8)));
    *low = _mm512_permutexvar_epi32(order, _mm512_packus_epi16(_mm512_and_si512(a, byte), _mm512_and_si512(b, byte)));
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
