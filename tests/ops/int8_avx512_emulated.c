/* The shipped AVX-512 VNNI layers, on emulated instructions. */
#include "tests/ops/avx512_emulated.h"

#include "fusion/cpu/int8_avx512_vnni.c"
