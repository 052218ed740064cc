/* The shipped int4 layers of AVX-512 VNNI, on emulated instructions. */
#include "tests/ops/avx512_emulated.h"

#include "fusion/cpu/int4_avx512_vnni.c"
