/* Vectors of 8 floats: AVX2 + FMA. One of the headers that give the kernels_*.inc templates their instruction set. */
#ifndef LKS_SIMD_AVX2_H
#define LKS_SIMD_AVX2_H

#include <immintrin.h>
#include <stdbool.h>
#include <stdint.h>

#include "fusion/cpu/simd_x86.h"

typedef __m256 vec;

enum {
    V_WIDTH = 8,
    TILE_ROWS = 6, /* the register tile: 6 x 16 sums, 2 weights and 1 input fill the 16 registers */
    TILE_VECS = 2
};

static inline vec v_zero(void)
{
    return _mm256_setzero_ps();
}

static inline vec v_set(float x)
{
    return _mm256_set1_ps(x);
}

static inline vec v_load(const float *p)
{
    return _mm256_loadu_ps(p);
}

static inline void v_store(float *p, vec x)
{
    _mm256_storeu_ps(p, x);
}

/* The first n lanes, 0 <= n <= V_WIDTH. */
static inline __m256i v_first(int n)
{
    static const int32_t lanes[16] = {-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0};
    return _mm256_loadu_si256((const __m256i *)(const void *)(lanes + 8 - n));
}

/* Loads the first n lanes, the others are zero; nothing beyond p[n - 1] is touched. */
static inline vec v_load_part(const float *p, int n)
{
    return _mm256_maskload_ps(p, v_first(n));
}

/* V_WIDTH bf16 numbers. */
static inline vec v_load_bf16(const uint16_t *p)
{
    __m128i halves = _mm_loadu_si128((const __m128i *)(const void *)p);
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(halves), 16));
}

/* x rounded to bf16, halves to even; NaN stays one. */
static inline void v_store_bf16(uint16_t *p, vec x)
{
    const __m256i bits = _mm256_castps_si256(x), upper = _mm256_srli_epi32(bits, 16);
    const __m256i odd = _mm256_and_si256(upper, _mm256_set1_epi32(1));
    const __m256i nearest =
        _mm256_srli_epi32(_mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7FFF))), 16);
    const __m256i nan = _mm256_castps_si256(_mm256_cmp_ps(x, x, _CMP_UNORD_Q));
    const __m256i halves = _mm256_blendv_epi8(nearest, _mm256_or_si256(upper, _mm256_set1_epi32(0x40)), nan);
    _mm_storeu_si128((__m128i *)(void *)p,
                     _mm_packus_epi32(_mm256_castsi256_si128(halves), _mm256_extracti128_si256(halves, 1)));
}

static inline void v_store_part(float *p, vec x, int n)
{
    _mm256_maskstore_ps(p, v_first(n), x);
}

static inline vec v_add(vec a, vec b)
{
    return _mm256_add_ps(a, b);
}

static inline vec v_sub(vec a, vec b)
{
    return _mm256_sub_ps(a, b);
}

static inline vec v_mul(vec a, vec b)
{
    return _mm256_mul_ps(a, b);
}

static inline vec v_div(vec a, vec b)
{
    return _mm256_div_ps(a, b);
}

/* a b + c */
static inline vec v_fma(vec a, vec b, vec c)
{
    return _mm256_fmadd_ps(a, b, c);
}

/* The larger, the smaller; a NaN in the second operand stays. */
static inline vec v_max(vec a, vec b)
{
    return _mm256_max_ps(a, b);
}

static inline vec v_min(vec a, vec b)
{
    return _mm256_min_ps(a, b);
}

/* y 2^n, n the integer in the low bits of the representation of `magic`, zero where x < least (not where x is NaN); y and the
 * result must be normal numbers. */
static inline vec v_scale_unless_less(vec x, vec least, vec y, vec magic)
{
    __m256i exponent = _mm256_slli_epi32(_mm256_castps_si256(magic), 23);
    vec scaled = _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(y), exponent));
    return _mm256_and_ps(_mm256_cmp_ps(x, least, _CMP_NLT_UQ), scaled);
}

/* Whether a > b in any lane. */
static inline bool v_any_greater(vec a, vec b)
{
    return _mm256_movemask_ps(_mm256_cmp_ps(a, b, _CMP_GT_OQ)) != 0;
}

static inline float v_sum(vec x)
{
    __m128 s = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    s = _mm_add_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}

static inline float v_largest(vec x)
{
    __m128 s = _mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    s = _mm_max_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_max_ss(s, _mm_movehdup_ps(s)));
}

/* rows [V_WIDTH] become columns: pairs of numbers, then of pairs, then of halves change places. */
static inline void v_transpose(vec *rows)
{
    vec pairs[V_WIDTH], fours[V_WIDTH];
    for (int i = 0; i < V_WIDTH; i += 2) {
        pairs[i] = _mm256_unpacklo_ps(rows[i], rows[i + 1]);
        pairs[i + 1] = _mm256_unpackhi_ps(rows[i], rows[i + 1]);
    }
    for (int i = 0; i < V_WIDTH; i += 4)
        for (int k = 0; k < 2; k++) {
            fours[i + 2 * k] = _mm256_shuffle_ps(pairs[i + k], pairs[i + 2 + k], 0x44);
            fours[i + 2 * k + 1] = _mm256_shuffle_ps(pairs[i + k], pairs[i + 2 + k], 0xEE);
        }
    for (int k = 0; k < 4; k++) {
        rows[k] = _mm256_permute2f128_ps(fours[k], fours[4 + k], 0x20);
        rows[4 + k] = _mm256_permute2f128_ps(fours[k], fours[4 + k], 0x31);
    }
}

#endif
