/* The shipped AVX-512 table, on emulated instructions. */
#include "tests/ops/avx512_emulated.h"

#include "fusion/cpu/avx512.c"
