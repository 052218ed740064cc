/* Vectors of 8 32-bit words: what the int8 and bf16 kernels on 256 bits share. Stands after simd_avx2.h. */
#ifndef LKS_SIMD_WORDS_256_H
#define LKS_SIMD_WORDS_256_H

#include "fusion/cpu/simd_avx2.h"

typedef __m256i ivec;

enum {
    I_LANES = 8,
    I_BYTES = 32,
    I_TILE_ROWS = 6, /* the register tile: 6 x 16 sums, 2 weights, 1 input, 1 product */
    I_TILE_VECS = 2,
    I_NEEDS_STRIPS = 1
};

static inline ivec i_zero(void)
{
    return _mm256_setzero_si256();
}

static inline ivec i_set(uint32_t x)
{
    return _mm256_set1_epi32((int)x);
}

static inline ivec i_load(const void *p)
{
    return _mm256_loadu_si256(p);
}

/* Loads the first n lanes, the others are zero; nothing beyond p[n - 1] is touched. */
static inline ivec i_load_part(const int32_t *p, int n)
{
    return _mm256_maskload_epi32(p, v_first(n));
}

static inline void i_store(void *p, ivec x)
{
    _mm256_storeu_si256(p, x);
}

static inline vec i_to_float(ivec x)
{
    return _mm256_cvtepi32_ps(x);
}

/* a - b c */
static inline ivec i_minus_product(ivec a, ivec b, ivec c)
{
    return _mm256_sub_epi32(a, _mm256_mullo_epi32(b, c));
}

static inline ivec i_add(ivec a, ivec b)
{
    return _mm256_add_epi32(a, b);
}

/* To the nearest, halves to even. */
static inline ivec i_nearest(vec x)
{
    return _mm256_cvtps_epi32(x);
}

/* The same of y 2^n; n is what adding to 1.5 2^23 left in the low bits of `magic`. */
static inline ivec i_nearest_scaled(vec y, vec magic)
{
    return _mm256_cvtps_epi32(_mm256_castsi256_ps(
        _mm256_add_epi32(_mm256_castps_si256(y), _mm256_slli_epi32(_mm256_castps_si256(magic), 23))));
}

/* Words of bytes: n[0 .. 3] hold numbers of a byte, n[0] becomes the lowest. */
static inline ivec i_join(const ivec *n)
{
    const ivec byte = _mm256_set1_epi32(0xFF);
    const ivec low = _mm256_or_si256(_mm256_and_si256(n[0], byte), _mm256_slli_epi32(_mm256_and_si256(n[1], byte), 8));
    return _mm256_or_si256(low, _mm256_or_si256(_mm256_slli_epi32(_mm256_and_si256(n[2], byte), 16),
                                                _mm256_slli_epi32(n[3], 24)));
}

/* The two bytes of the 4 I_LANES numbers n, below 2^16, in their order. */
static inline void i_split(ivec *high, ivec *low, const ivec *n)
{
    const ivec byte = _mm256_set1_epi16(0xFF), order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    const ivec a = _mm256_packus_epi32(n[0], n[1]), b = _mm256_packus_epi32(n[2], n[3]); /* by halves */
    *high = _mm256_permutevar8x32_epi32(_mm256_packus_epi16(_mm256_srli_epi16(a, 8), _mm256_srli_epi16(b, 8)), order);
    *low =
        _mm256_permutevar8x32_epi32(_mm256_packus_epi16(_mm256_and_si256(a, byte), _mm256_and_si256(b, byte)), order);
}

/* The same value, of which the compiler knows nothing. */
static inline ivec i_opaque(ivec x)
{
    __asm__("" : "+x"(x));
    return x;
}

static inline __attribute__((always_inline)) void i_prefetch(const int8_t *p)
{
    _mm_prefetch((const char *)p, _MM_HINT_T0);
}

/* round(x inverse) + zero of 16 inputs as 16-bit numbers, in order. */
static inline ivec i_rounded(const vec *x, vec inverse, ivec zero)
{
    ivec low = _mm256_add_epi32(_mm256_cvtps_epi32(v_mul(x[0], inverse)), zero);
    ivec high = _mm256_add_epi32(_mm256_cvtps_epi32(v_mul(x[1], inverse)), zero);
    return _mm256_permute4x64_epi64(_mm256_packs_epi32(low, high), 0xD8);
}

#endif
