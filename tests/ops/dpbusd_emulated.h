/* The one special instruction of AVX-VNNI, written out in AVX2. */
#ifndef LKS_DPBUSD_EMULATED_H
#define LKS_DPBUSD_EMULATED_H

#include <immintrin.h>

/* vpdpbusd: sum += the four products of an unsigned byte of a and a signed byte of b, exactly. */
static inline __m256i emulated_dpbusd(__m256i sum, __m256i a, __m256i b)
{
    __m256i even =
        _mm256_madd_epi16(_mm256_and_si256(a, _mm256_set1_epi16(0xFF)), _mm256_srai_epi16(_mm256_slli_epi16(b, 8), 8));
    __m256i odd = _mm256_madd_epi16(_mm256_srli_epi16(a, 8), _mm256_srai_epi16(b, 8));
    return _mm256_add_epi32(sum, _mm256_add_epi32(even, odd));
}

/* NOLINTNEXTLINE(bugprone-reserved-identifier): the compiler's name, which the kernels use */
#define _mm256_dpbusd_avx_epi32 emulated_dpbusd

#endif
