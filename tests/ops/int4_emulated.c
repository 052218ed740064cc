/* See int8_emulated.h: the shipped source, compiled a second time. */
#include "tests/ops/int8_emulated.h"

#ifdef __AVX2__
#include "tests/ops/dpbusd_emulated.h"

#define lks_avx_vnni_linear_int4 linear_int4_with_avx2
#include "fusion/cpu/int4_avx_vnni.c"

void (*const emulated_linear_int4)(const lks_compute *, const lks_linear *,
                                   const lks_linear_args *) = linear_int4_with_avx2;
#else
void (*const emulated_linear_int4)(const lks_compute *, const lks_linear *, const lks_linear_args *) = NULL;
#endif
