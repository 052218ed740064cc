/* The shipped AVX-512 BF16 layers, on emulated instructions. */
#include "tests/ops/avx512_emulated.h"

#include "fusion/cpu/bf16_avx512_bf16.c"
