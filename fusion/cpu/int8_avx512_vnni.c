/* int8 linear layers on AVX-512 VNNI: vpdpbusd adds four products of an unsigned and a signed byte exactly in 32 bits. */
#include "fusion/cpu/simd_avx512.h"

typedef __m512i ivec;

enum {
    I_LANES = 16,
    I_BYTES = 64,
    I_TILE_ROWS = 6, /* the register tile is a whole panel wide: 6 x 64 sums, 4 weights, 1 input */
    I_TILE_VECS = 4,
    I_NEEDS_STRIPS = 0,
    I_WORDS = 1,
    I_PEAK_ROWS = I_TILE_ROWS
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

static inline ivec i_dot(ivec sum, ivec input, ivec weights)
{
    return _mm512_dpbusd_epi32(sum, input, weights);
}

static inline void i_unpack(ivec *words, ivec bytes)
{
    words[0] = bytes;
}

/* 16 inputs as 4 words of bytes. */
static inline void i_quantise(uint32_t *words, const vec *x, vec inverse, ivec zero)
{
    ivec rounded = _mm512_add_epi32(_mm512_cvtps_epi32(v_mul(x[0], inverse)), zero);
    _mm_storeu_si128((__m128i *)(void *)words, _mm512_cvtusepi32_epi8(_mm512_max_epi32(i_zero(), rounded)));
}

#include "fusion/cpu/kernels_int8_all.inc"

void lks_avx512_vnni_linear_int8(const lks_compute *compute, const lks_linear *layer, const lks_linear_args *args)
{
    linear_int8(compute, layer, args);
}

double lks_avx512_vnni_run_int8(long n_rounds, int32_t *sink)
{
    return run_int8(n_rounds, sink);
}
