/* See int8_emulated.h: the shipped source, compiled a second time. */
#include "tests/ops/int8_emulated.h"

#ifdef __AVX2__
#include "tests/ops/dpbusd_emulated.h"

#define lks_avx_vnni_linear_int8 linear_int8_with_avx2
#define lks_avx_vnni_expander expander_with_avx2
#define lks_avx_vnni_run_int8 run_int8_with_avx2
#define lks_avx_vnni_attention_int8 attention_int8_with_avx2
#include "fusion/cpu/int8_avx_vnni.c"

void (*const emulated_linear_int8)(const lks_compute *, const lks_linear *,
                                   const lks_linear_args *) = linear_int8_with_avx2;
bool (*const emulated_attention_int8)(const lks_compute *, const lks_attention *) = attention_int8_with_avx2;
#else
void (*const emulated_linear_int8)(const lks_compute *, const lks_linear *, const lks_linear_args *) = NULL;
bool (*const emulated_attention_int8)(const lks_compute *, const lks_attention *) = NULL;
#endif
