/* Vectors of 16 floats: AVX-512 F, BW, DQ, VL. The same functions as simd_avx2.h. */
#ifndef LKS_SIMD_AVX512_H
#define LKS_SIMD_AVX512_H

#include <immintrin.h>
#include <stdbool.h>
#include <stdint.h>

#include "fusion/cpu/simd_x86.h"

typedef __m512 vec;

enum {
    V_WIDTH = 16,
    TILE_ROWS = 6, /* the register tile: 6 x 64 sums, 4 weights and 1 input fill 29 of 32 registers */
    TILE_VECS = 4
};

static inline vec v_zero(void)
{
    return _mm512_setzero_ps();
}

static inline vec v_set(float x)
{
    return _mm512_set1_ps(x);
}

static inline vec v_load(const float *p)
{
    return _mm512_loadu_ps(p);
}

static inline void v_store(float *p, vec x)
{
    _mm512_storeu_ps(p, x);
}

static inline __mmask16 v_first(int n)
{
    return (__mmask16)((1u << n) - 1u);
}

static inline vec v_load_part(const float *p, int n)
{
    return _mm512_maskz_loadu_ps(v_first(n), p);
}

/* V_WIDTH bf16 numbers. */
static inline vec v_load_bf16(const uint16_t *p)
{
    __m256i halves = _mm256_loadu_si256((const __m256i *)(const void *)p);
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(halves), 16));
}

/* x rounded to bf16, halves to even; NaN stays one. */
static inline void v_store_bf16(uint16_t *p, vec x)
{
    const __m512i bits = _mm512_castps_si512(x), upper = _mm512_srli_epi32(bits, 16);
    const __m512i odd = _mm512_and_si512(upper, _mm512_set1_epi32(1));
    const __m512i nearest =
        _mm512_srli_epi32(_mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7FFF))), 16);
    const __mmask16 nan = _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q);
    const __m512i halves = _mm512_mask_or_epi32(nearest, nan, upper, _mm512_set1_epi32(0x40));
    _mm256_storeu_si256((__m256i *)(void *)p, _mm512_cvtepi32_epi16(halves));
}

static inline void v_store_part(float *p, vec x, int n)
{
    _mm512_mask_storeu_ps(p, v_first(n), x);
}

static inline vec v_add(vec a, vec b)
{
    return _mm512_add_ps(a, b);
}

static inline vec v_sub(vec a, vec b)
{
    return _mm512_sub_ps(a, b);
}

static inline vec v_mul(vec a, vec b)
{
    return _mm512_mul_ps(a, b);
}

static inline vec v_div(vec a, vec b)
{
    return _mm512_div_ps(a, b);
}

static inline vec v_fma(vec a, vec b, vec c)
{
    return _mm512_fmadd_ps(a, b, c);
}

static inline vec v_max(vec a, vec b)
{
    return _mm512_max_ps(a, b);
}

static inline vec v_min(vec a, vec b)
{
    return _mm512_min_ps(a, b);
}

static inline vec v_scale_unless_less(vec x, vec least, vec y, vec magic)
{
    __m512i exponent = _mm512_slli_epi32(_mm512_castps_si512(magic), 23);
    __mmask16 kept = _mm512_cmp_ps_mask(least, x, _CMP_NGT_UQ);
    return _mm512_castsi512_ps(_mm512_maskz_add_epi32(kept, _mm512_castps_si512(y), exponent));
}

static inline bool v_any_greater(vec a, vec b)
{
    return _mm512_cmp_ps_mask(a, b, _CMP_GT_OQ) != 0;
}

static inline float v_sum(vec x)
{
    return _mm512_reduce_add_ps(x);
}

static inline float v_largest(vec x)
{
    return _mm512_reduce_max_ps(x);
}

/* rows [V_WIDTH] become columns: pairs of numbers, then of pairs, then quarters change places, twice. */
static inline void v_transpose(vec *rows)
{
    vec pairs[V_WIDTH], fours[V_WIDTH];
    for (int i = 0; i < V_WIDTH; i += 2) {
        pairs[i] = _mm512_unpacklo_ps(rows[i], rows[i + 1]);
        pairs[i + 1] = _mm512_unpackhi_ps(rows[i], rows[i + 1]);
    }
    for (int i = 0; i < V_WIDTH; i += 4) /* fours[i + k] has column 4 q + k of rows i .. i + 3 in its quarter q */
        for (int k = 0; k < 2; k++) {
            fours[i + 2 * k] = _mm512_shuffle_ps(pairs[i + k], pairs[i + 2 + k], 0x44);
            fours[i + 2 * k + 1] = _mm512_shuffle_ps(pairs[i + k], pairs[i + 2 + k], 0xEE);
        }
    for (int k = 0; k < 4; k++) {
        const vec low = _mm512_shuffle_f32x4(fours[k], fours[4 + k], 0x88), /* quarters 0 and 2 of both */
            high = _mm512_shuffle_f32x4(fours[k], fours[4 + k], 0xDD);      /* 1 and 3 */
        const vec low_rest = _mm512_shuffle_f32x4(fours[8 + k], fours[12 + k], 0x88),
                  high_rest = _mm512_shuffle_f32x4(fours[8 + k], fours[12 + k], 0xDD);
        rows[k] = _mm512_shuffle_f32x4(low, low_rest, 0x88);
        rows[4 + k] = _mm512_shuffle_f32x4(high, high_rest, 0x88);
        rows[8 + k] = _mm512_shuffle_f32x4(low, low_rest, 0xDD);
        rows[12 + k] = _mm512_shuffle_f32x4(high, high_rest, 0xDD);
    }
}

#endif
