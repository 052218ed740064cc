/* Vectors of 4 floats: AArch64. The same functions as simd_avx2.h. */
#ifndef LKS_SIMD_NEON_H
#define LKS_SIMD_NEON_H

#include <arm_neon.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

typedef float32x4_t vec;

enum {
    V_WIDTH = 4,
    TILE_ROWS = 6, /* the register tile: 6 x 16 sums, 4 weights and 1 input fill 29 of 32 registers */
    TILE_VECS = 4
};

static inline vec v_zero(void)
{
    return vdupq_n_f32(0.0f);
}

static inline vec v_set(float x)
{
    return vdupq_n_f32(x);
}

static inline vec v_load(const float *p)
{
    return vld1q_f32(p);
}

static inline void v_store(float *p, vec x)
{
    vst1q_f32(p, x);
}

/* Loads the first n lanes, the others are zero; nothing beyond p[n - 1] is touched. */
static inline vec v_load_part(const float *p, int n)
{
    float lanes[V_WIDTH] = {0};
    memcpy(lanes, p, (size_t)(n < V_WIDTH ? n : V_WIDTH) * sizeof *p);
    return vld1q_f32(lanes);
}

/* x rounded to bf16, halves to even; NaN stays one. */
static inline void v_store_bf16(uint16_t *p, vec x)
{
    const uint32x4_t bits = vreinterpretq_u32_f32(x), upper = vshrq_n_u32(bits, 16),
                     odd = vandq_u32(upper, vdupq_n_u32(1));
    const uint32x4_t nearest = vshrq_n_u32(vaddq_u32(bits, vaddq_u32(odd, vdupq_n_u32(0x7FFF))), 16);
    vst1_u16(p, vmovn_u32(vbslq_u32(vceqq_f32(x, x), nearest, vorrq_u32(upper, vdupq_n_u32(0x40)))));
}

static inline void v_store_part(float *p, vec x, int n)
{
    float lanes[V_WIDTH];
    vst1q_f32(lanes, x);
    memcpy(p, lanes, (size_t)(n < V_WIDTH ? n : V_WIDTH) * sizeof *p);
}

/* V_WIDTH bf16 numbers. */
static inline vec v_load_bf16(const uint16_t *p)
{
    return vreinterpretq_f32_u32(vshll_n_u16(vld1_u16(p), 16));
}

static inline vec v_add(vec a, vec b)
{
    return vaddq_f32(a, b);
}

static inline vec v_sub(vec a, vec b)
{
    return vsubq_f32(a, b);
}

static inline vec v_mul(vec a, vec b)
{
    return vmulq_f32(a, b);
}

static inline vec v_div(vec a, vec b)
{
    return vdivq_f32(a, b);
}

/* a b + c */
static inline vec v_fma(vec a, vec b, vec c)
{
    return vfmaq_f32(c, a, b);
}

/* The larger, the smaller; a NaN in the second operand stays. */
static inline vec v_max(vec a, vec b)
{
    return vbslq_f32(vcgtq_f32(a, b), a, b);
}

static inline vec v_min(vec a, vec b)
{
    return vbslq_f32(vcltq_f32(a, b), a, b);
}

/* y 2^n, n the integer in the low bits of the representation of `magic`, zero where x < least (not where x is NaN); y and the
 * result must be normal numbers. */
static inline vec v_scale_unless_less(vec x, vec least, vec y, vec magic)
{
    int32x4_t exponent = vshlq_n_s32(vreinterpretq_s32_f32(magic), 23);
    int32x4_t scaled = vaddq_s32(vreinterpretq_s32_f32(y), exponent);
    return vreinterpretq_f32_u32(vbicq_u32(vreinterpretq_u32_s32(scaled), vcltq_f32(x, least)));
}

static inline bool v_any_greater(vec a, vec b)
{
    return vmaxvq_u32(vcgtq_f32(a, b)) != 0;
}

static inline float v_sum(vec x)
{
    return vaddvq_f32(x);
}

static inline float v_largest(vec x)
{
    return vmaxvq_f32(x);
}

/* Asks for a cache line: into L1, into L2. */
static inline __attribute__((always_inline)) void v_prefetch(const void *p)
{
    __builtin_prefetch(p, 0, 3);
}

static inline __attribute__((always_inline)) void v_prefetch_far(const void *p)
{
    __builtin_prefetch(p, 0, 2);
}

/* rows [V_WIDTH] become columns. */
static inline void v_transpose(vec *rows)
{
    const float32x4x2_t ab = vtrnq_f32(rows[0], rows[1]), cd = vtrnq_f32(rows[2], rows[3]);
    rows[0] = vcombine_f32(vget_low_f32(ab.val[0]), vget_low_f32(cd.val[0]));
    rows[1] = vcombine_f32(vget_low_f32(ab.val[1]), vget_low_f32(cd.val[1]));
    rows[2] = vcombine_f32(vget_high_f32(ab.val[0]), vget_high_f32(cd.val[0]));
    rows[3] = vcombine_f32(vget_high_f32(ab.val[1]), vget_high_f32(cd.val[1]));
}

#endif
