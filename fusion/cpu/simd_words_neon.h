/* Vectors of 4 32-bit words: what the int8 kernels on AArch64 share. The same functions as simd_words_256.h. */
#ifndef LKS_SIMD_WORDS_NEON_H
#define LKS_SIMD_WORDS_NEON_H

#include "fusion/cpu/simd_neon.h"

typedef int32x4_t ivec;

enum {
    I_LANES = 4,
    I_BYTES = 16,
    I_TILE_ROWS = 6, /* the register tile: 6 x 16 sums, 4 weights, 1 input */
    I_TILE_VECS = 4,
    I_NEEDS_STRIPS = 1,
    I_PEAK_ROWS = 5 /* more would spill: inputs stay in registers too */
};

static inline ivec i_zero(void)
{
    return vdupq_n_s32(0);
}

static inline ivec i_set(uint32_t x)
{
    return vdupq_n_s32((int32_t)x);
}

static inline ivec i_load(const void *p)
{
    return vreinterpretq_s32_u8(vld1q_u8(p));
}

/* Loads the first n lanes, the others are zero; nothing beyond p[n - 1] is touched. */
static inline ivec i_load_part(const int32_t *p, int n)
{
    int32_t lanes[I_LANES] = {0};
    memcpy(lanes, p, (size_t)n * sizeof *p);
    return vld1q_s32(lanes);
}

static inline void i_store(void *p, ivec x)
{
    vst1q_u8(p, vreinterpretq_u8_s32(x));
}

static inline vec i_to_float(ivec x)
{
    return vcvtq_f32_s32(x);
}

/* a - b c */
static inline ivec i_minus_product(ivec a, ivec b, ivec c)
{
    return vmlsq_s32(a, b, c);
}

static inline ivec i_add(ivec a, ivec b)
{
    return vaddq_s32(a, b);
}

/* To the nearest, halves to even. */
static inline ivec i_nearest(vec x)
{
    return vcvtnq_s32_f32(x);
}

/* The same of y 2^n; n is what adding to 1.5 2^23 left in the low bits of `magic`. */
static inline ivec i_nearest_scaled(vec y, vec magic)
{
    return vcvtnq_s32_f32(
        vreinterpretq_f32_s32(vaddq_s32(vreinterpretq_s32_f32(y), vshlq_n_s32(vreinterpretq_s32_f32(magic), 23))));
}

/* Words of bytes: n[0 .. 3] hold numbers of a byte, n[0] becomes the lowest. */
static inline ivec i_join(const ivec *n)
{
    return vsliq_n_s32(vsliq_n_s32(vsliq_n_s32(n[0], n[1], 8), n[2], 16), n[3], 24);
}

/* The two bytes of the 4 I_LANES numbers n, below 2^16, in their order; stored less 128, as inputs are for i_dot. */
static inline void i_split(ivec *high, ivec *low, const ivec *n)
{
    const uint8x16_t shift = vdupq_n_u8(128);
    const uint16x8_t a = vcombine_u16(vmovn_u32(vreinterpretq_u32_s32(n[0])), vmovn_u32(vreinterpretq_u32_s32(n[1])));
    const uint16x8_t b = vcombine_u16(vmovn_u32(vreinterpretq_u32_s32(n[2])), vmovn_u32(vreinterpretq_u32_s32(n[3])));
    *high = vreinterpretq_s32_u8(veorq_u8(vcombine_u8(vshrn_n_u16(a, 8), vshrn_n_u16(b, 8)), shift));
    *low = vreinterpretq_s32_u8(veorq_u8(vcombine_u8(vmovn_u16(a), vmovn_u16(b)), shift));
}

/* The same value, of which the compiler knows nothing. */
static inline ivec i_opaque(ivec x)
{
    __asm__("" : "+w"(x));
    return x;
}

static inline __attribute__((always_inline)) void i_prefetch(const int8_t *p)
{
    __builtin_prefetch(p, 0, 3);
}

/* Two vectors of 8: round(x inverse) + zero of 16 inputs, clamped to 0..255, in order. */
static inline void i_rounded(int16x8_t out[2], const vec *x, vec inverse, ivec zero)
{
    for (int i = 0; i < 2; i++) {
        ivec low = vaddq_s32(vcvtnq_s32_f32(v_mul(x[2 * i], inverse)), zero);
        ivec high = vaddq_s32(vcvtnq_s32_f32(v_mul(x[2 * i + 1], inverse)), zero);
        int16x8_t both = vcombine_s16(vqmovn_s32(low), vqmovn_s32(high));
        out[i] = vminq_s16(vdupq_n_s16(255), vmaxq_s16(vdupq_n_s16(0), both));
    }
}

#endif
