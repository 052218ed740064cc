/* AVX-512 in plain C, lane by lane, so that the AVX-512 kernels are compiled a second time and tested on every x86 machine.
 * Included before such a kernel's source. The tables it makes stand behind those of the program: emulated_ops. */
#ifndef LKS_AVX512_EMULATED_H
#define LKS_AVX512_EMULATED_H

#include <immintrin.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "fusion/bf16.h"

typedef struct emulated_m512 {
    float at[16];
} emulated_m512;

typedef struct emulated_m512i {
    int32_t at[16];
} emulated_m512i;

typedef struct emulated_m512bh {
    uint16_t at[32];
} emulated_m512bh;

typedef struct emulated_m256bh {
    uint16_t at[16];
} emulated_m256bh;

/* NOLINTBEGIN(bugprone-reserved-identifier): the compiler's names, which the kernels use */
#define __m512 emulated_m512
#define __m512i emulated_m512i
#define __m512bh emulated_m512bh
#define __m256bh emulated_m256bh
#define EACH(value)                                                                                                    \
    for (int i = 0; i < 16; i++)                                                                                       \
        r.at[i] = value;                                                                                               \
    return r

#define BINARY(name, type, value)                                                                                      \
    static inline type emulated_##name(type a, type b)                                                                 \
    {                                                                                                                  \
        type r;                                                                                                        \
        EACH(value);                                                                                                   \
    }

/* Sums and products of integers wrap around. */
#define WRAPPED(operator) (int32_t)((uint32_t)a.at[i] operator(uint32_t) b.at[i])

BINARY(add_ps, emulated_m512, a.at[i] + b.at[i])
BINARY(sub_ps, emulated_m512, a.at[i] - b.at[i])
BINARY(mul_ps, emulated_m512, a.at[i] * b.at[i])
BINARY(div_ps, emulated_m512, a.at[i] / b.at[i])
BINARY(max_ps, emulated_m512, a.at[i] > b.at[i] ? a.at[i] : b.at[i])
BINARY(min_ps, emulated_m512, a.at[i] < b.at[i] ? a.at[i] : b.at[i])
BINARY(add_epi32, emulated_m512i, WRAPPED(+))
BINARY(sub_epi32, emulated_m512i, WRAPPED(-))
BINARY(mullo_epi32, emulated_m512i, WRAPPED(*))
/* Of numbers 4 q .. 4 q + 3 of both, by quarters q. */
BINARY(unpacklo_ps, emulated_m512, (i % 2 == 0 ? a : b).at[i / 4 * 4 + i % 4 / 2])
BINARY(unpackhi_ps, emulated_m512, (i % 2 == 0 ? a : b).at[i / 4 * 4 + 2 + i % 4 / 2])
BINARY(and_si512, emulated_m512i, a.at[i] & b.at[i])
BINARY(or_si512, emulated_m512i, a.at[i] | b.at[i])
BINARY(max_epi32, emulated_m512i, a.at[i] > b.at[i] ? a.at[i] : b.at[i])

static inline emulated_m512 emulated_set1_ps(float x)
{
    emulated_m512 r;
    EACH(x);
}

static inline emulated_m512i emulated_set1_epi32(int x)
{
    emulated_m512i r;
    EACH(x);
}

/* Two bits of `choice` to each number of a quarter; to each quarter. */
static inline emulated_m512 emulated_shuffle_ps(emulated_m512 a, emulated_m512 b, int choice)
{
    emulated_m512 r;
    EACH((i % 4 < 2 ? a : b).at[i / 4 * 4 + (choice >> i % 4 * 2 & 3)]);
}

static inline emulated_m512 emulated_shuffle_f32x4(emulated_m512 a, emulated_m512 b, int choice)
{
    emulated_m512 r;
    EACH((i < 8 ? a : b).at[(choice >> i / 4 * 2 & 3) * 4 + i % 4]);
}

static inline emulated_m512 emulated_fmadd_ps(emulated_m512 a, emulated_m512 b, emulated_m512 c)
{
    emulated_m512 r;
    EACH(fmaf(a.at[i], b.at[i], c.at[i]));
}

static inline emulated_m512i emulated_slli_epi32(emulated_m512i a, int n)
{
    emulated_m512i r;
    EACH((int32_t)((uint32_t)a.at[i] << n));
}

static inline emulated_m512i emulated_srli_epi32(emulated_m512i a, int n)
{
    emulated_m512i r;
    EACH((int32_t)((uint32_t)a.at[i] >> n));
}

static inline emulated_m512 emulated_cvtepi32_ps(emulated_m512i a)
{
    emulated_m512 r;
    EACH((float)a.at[i]);
}

static inline emulated_m512i emulated_cvtps_epi32(emulated_m512 a)
{
    emulated_m512i r;
    EACH((int32_t)lrintf(a.at[i]));
}

static inline emulated_m512i emulated_castps_si512(emulated_m512 a)
{
    emulated_m512i r;
    memcpy(&r, &a, sizeof r);
    return r;
}

static inline emulated_m512 emulated_castsi512_ps(emulated_m512i a)
{
    emulated_m512 r;
    memcpy(&r, &a, sizeof r);
    return r;
}

static inline emulated_m512 emulated_loadu_ps(const void *p)
{
    emulated_m512 r;
    memcpy(&r, p, sizeof r);
    return r;
}

static inline emulated_m512i emulated_loadu_si512(const void *p)
{
    emulated_m512i r;
    memcpy(&r, p, sizeof r);
    return r;
}

static inline emulated_m512i emulated_cvtepu16_epi32(__m256i a)
{
    uint16_t halves[16];
    memcpy(halves, &a, sizeof halves);
    emulated_m512i r;
    EACH(halves[i]);
}

static inline void emulated_storeu_ps(void *p, emulated_m512 a)
{
    memcpy(p, &a, sizeof a);
}

static inline void emulated_storeu_si512(void *p, emulated_m512i a)
{
    memcpy(p, &a, sizeof a);
}

static inline emulated_m512i emulated_maskz_add_epi32(__mmask16 mask, emulated_m512i a, emulated_m512i b)
{
    emulated_m512i r;
    EACH(mask >> i & 1 ? WRAPPED(+) : 0);
}

static inline emulated_m512 emulated_maskz_loadu_ps(__mmask16 mask, const float *p)
{
    emulated_m512 r;
    EACH(mask >> i & 1 ? p[i] : 0.0f);
}

static inline emulated_m512i emulated_maskz_loadu_epi32(__mmask16 mask, const int32_t *p)
{
    emulated_m512i r;
    EACH(mask >> i & 1 ? p[i] : 0);
}

static inline void emulated_mask_storeu_ps(void *p, __mmask16 mask, emulated_m512 a)
{
    for (int i = 0; i < 16; i++)
        if (mask >> i & 1)
            memcpy((float *)p + i, &a.at[i], sizeof(float));
}

/* _CMP_GT_OQ, and its contrary that NaN passes; _CMP_UNORD_Q. */
static inline __mmask16 emulated_cmp_ps_mask(emulated_m512 a, emulated_m512 b, int how)
{
    unsigned mask = 0;
    for (int i = 0; i < 16; i++) {
        bool above = a.at[i] > b.at[i], unordered = isnan(a.at[i]) || isnan(b.at[i]);
        mask |= (unsigned)(how == _CMP_UNORD_Q ? unordered : above == (how == _CMP_GT_OQ)) << i;
    }
    return (__mmask16)mask;
}

/* Numbers below the normal ones count as zero. */
static inline float emulated_widened(uint16_t half)
{
    uint32_t bits = (uint32_t)((half & 0x7F80) == 0 ? half & 0x8000 : half) << 16;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* The odd product is added first. */
static inline emulated_m512 emulated_dpbf16_ps(emulated_m512 sum, emulated_m512bh a, emulated_m512bh b)
{
    emulated_m512 r;
    EACH(fmaf(emulated_widened(a.at[2 * i]), emulated_widened(b.at[2 * i]),
              fmaf(emulated_widened(a.at[2 * i + 1]), emulated_widened(b.at[2 * i + 1]), sum.at[i])));
}

static inline emulated_m256bh emulated_cvtneps_pbh(emulated_m512 a)
{
    emulated_m256bh r;
    EACH(lks_bf16_from_float(a.at[i]));
}

/* The tree that the compiler makes of the instruction's meaning: halves are added until one lane is left. */
static inline float emulated_reduce_add_ps(emulated_m512 a)
{
    for (int half = 8; half > 0; half /= 2)
        for (int i = 0; i < half; i++)
            a.at[i] += a.at[i + half];
    return a.at[0];
}

static inline float emulated_reduce_max_ps(emulated_m512 a)
{
    for (int i = 1; i < 16; i++)
        a.at[0] = a.at[0] > a.at[i] ? a.at[0] : a.at[i];
    return a.at[0];
}

static inline __m128i emulated_cvtusepi32_epi8(emulated_m512i a)
{
    uint8_t bytes[16];
    for (int i = 0; i < 16; i++)
        bytes[i] = (uint8_t)((uint32_t)a.at[i] > 255 ? 255 : a.at[i]);
    __m128i r;
    memcpy(&r, bytes, sizeof r);
    return r;
}

static inline emulated_m512i emulated_mask_or_epi32(emulated_m512i otherwise, __mmask16 mask, emulated_m512i a,
                                                    emulated_m512i b)
{
    emulated_m512i r;
    EACH(mask >> i & 1 ? a.at[i] | b.at[i] : otherwise.at[i]);
}

static inline __m256i emulated_cvtepi32_epi16(emulated_m512i a)
{
    int16_t halves[16];
    for (int i = 0; i < 16; i++)
        halves[i] = (int16_t)a.at[i];
    __m256i r;
    memcpy(&r, halves, sizeof r);
    return r;
}

static inline emulated_m512i emulated_srli_epi16(emulated_m512i a, int n)
{
    uint16_t halves[32];
    memcpy(halves, &a, sizeof halves);
    for (int i = 0; i < 32; i++)
        halves[i] = (uint16_t)(halves[i] >> n);
    memcpy(&a, halves, sizeof a);
    return a;
}

/* By quarters: four numbers of a, then of b. */
static inline emulated_m512i emulated_packus_epi32(emulated_m512i a, emulated_m512i b)
{
    uint16_t halves[32];
    for (int i = 0; i < 32; i++) {
        const int32_t n = (i % 8 < 4 ? a : b).at[i / 8 * 4 + i % 4];
        halves[i] = (uint16_t)(n < 0 ? 0 : n > 65535 ? 65535 : n);
    }
    memcpy(&a, halves, sizeof a);
    return a;
}

/* By quarters: eight numbers of a, then of b. */
static inline emulated_m512i emulated_packus_epi16(emulated_m512i a, emulated_m512i b)
{
    int16_t from[2][32];
    uint8_t bytes[64];
    memcpy(from[0], &a, sizeof a);
    memcpy(from[1], &b, sizeof b);
    for (int i = 0; i < 64; i++) {
        const int16_t n = from[i % 16 / 8][i / 16 * 8 + i % 8];
        bytes[i] = (uint8_t)(n < 0 ? 0 : n > 255 ? 255 : n);
    }
    memcpy(&a, bytes, sizeof a);
    return a;
}

static inline emulated_m512i emulated_permutexvar_epi32(emulated_m512i order, emulated_m512i a)
{
    emulated_m512i r;
    EACH(a.at[order.at[i] & 15]);
}

static inline emulated_m512i emulated_dpbusd_epi32(emulated_m512i sum, emulated_m512i a, emulated_m512i b)
{
    uint8_t unsigned_bytes[64];
    int8_t signed_bytes[64];
    memcpy(unsigned_bytes, &a, sizeof a);
    memcpy(signed_bytes, &b, sizeof b);
    for (int i = 0; i < 64; i++)
        sum.at[i / 4] = (int32_t)((uint32_t)sum.at[i / 4] + (uint32_t)(unsigned_bytes[i] * signed_bytes[i]));
    return sum;
}

#undef EACH
#undef BINARY
#undef WRAPPED

#define _mm512_setzero_ps() emulated_set1_ps(0.0f)
#define _mm512_setzero_si512() emulated_set1_epi32(0)
#define _mm512_set1_ps emulated_set1_ps
#define _mm512_set1_epi32 emulated_set1_epi32
#define _mm512_add_ps emulated_add_ps
#define _mm512_sub_ps emulated_sub_ps
#define _mm512_mul_ps emulated_mul_ps
#define _mm512_div_ps emulated_div_ps
#define _mm512_max_ps emulated_max_ps
#define _mm512_min_ps emulated_min_ps
#define _mm512_fmadd_ps emulated_fmadd_ps
#define _mm512_unpacklo_ps emulated_unpacklo_ps
#define _mm512_unpackhi_ps emulated_unpackhi_ps
#undef _mm512_shuffle_ps
#define _mm512_shuffle_ps emulated_shuffle_ps
#undef _mm512_shuffle_f32x4
#define _mm512_shuffle_f32x4 emulated_shuffle_f32x4
#define _mm512_add_epi32 emulated_add_epi32
#define _mm512_sub_epi32 emulated_sub_epi32
#define _mm512_mullo_epi32 emulated_mullo_epi32
#define _mm512_max_epi32 emulated_max_epi32
#define _mm512_and_si512 emulated_and_si512
#undef _mm512_srli_epi32
#define _mm512_srli_epi32 emulated_srli_epi32
#define _mm512_dpbf16_ps emulated_dpbf16_ps
#define _mm512_cvtepu16_epi32 emulated_cvtepu16_epi32
#define _mm512_cvtneps_pbh emulated_cvtneps_pbh
#undef _mm512_slli_epi32
#define _mm512_slli_epi32 emulated_slli_epi32
#define _mm512_cvtepi32_ps emulated_cvtepi32_ps
#define _mm512_cvtps_epi32 emulated_cvtps_epi32
#define _mm512_cvtusepi32_epi8 emulated_cvtusepi32_epi8
#define _mm512_castps_si512 emulated_castps_si512
#define _mm512_castsi512_ps emulated_castsi512_ps
#define _mm512_loadu_ps emulated_loadu_ps
#define _mm512_loadu_si512 emulated_loadu_si512
#define _mm512_storeu_ps emulated_storeu_ps
#define _mm512_storeu_si512 emulated_storeu_si512
#define _mm512_maskz_add_epi32 emulated_maskz_add_epi32
#define _mm512_maskz_loadu_ps emulated_maskz_loadu_ps
#define _mm512_maskz_loadu_epi32 emulated_maskz_loadu_epi32
#define _mm512_mask_storeu_ps emulated_mask_storeu_ps
#undef _mm512_cmp_ps_mask
#define _mm512_cmp_ps_mask emulated_cmp_ps_mask
#define _mm512_reduce_add_ps emulated_reduce_add_ps
#define _mm512_reduce_max_ps emulated_reduce_max_ps
#define _mm512_dpbusd_epi32 emulated_dpbusd_epi32
#define _mm512_or_si512 emulated_or_si512
#define _mm512_mask_or_epi32 emulated_mask_or_epi32
#define _mm512_cvtepi32_epi16 emulated_cvtepi32_epi16
#undef _mm512_srli_epi16
#define _mm512_srli_epi16 emulated_srli_epi16
#define _mm512_packus_epi32 emulated_packus_epi32
#define _mm512_packus_epi16 emulated_packus_epi16
#define _mm512_permutexvar_epi32 emulated_permutexvar_epi32
#define __asm__(...) /* hides a value from the compiler when the peak is measured */

#define lks_ops_avx512 emulated_ops_avx512
#define lks_ops_avx512_vnni emulated_ops_avx512_vnni
#define lks_ops_avx512_bf16 emulated_ops_avx512_bf16
#define lks_avx512_run_fma emulated_run_fma
#define lks_avx512_vnni_linear_int8 emulated_avx512_linear_int8
#define lks_avx512_vnni_expander emulated_avx512_expander
#define lks_avx512_vnni_run_int8 emulated_avx512_run_int8
#define lks_avx512_vnni_attention_int8 emulated_avx512_attention_int8
#define lks_avx512_vnni_linear_int4 emulated_avx512_linear_int4
#define lks_avx512_linear_bf16 emulated_avx512_linear_bf16
#define lks_avx512_bf16_linear_bf16 emulated_avx512_bf16_linear_bf16
#define lks_avx512_bf16_run_bf16 emulated_avx512_bf16_run_bf16
/* NOLINTEND(bugprone-reserved-identifier) */

#endif
