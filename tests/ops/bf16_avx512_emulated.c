/* The shipped bf16 layers of AVX-512 without BF16 instructions, on emulated instructions. */
#include "tests/ops/avx512_emulated.h"

#include "fusion/cpu/bf16_avx512.c"
