/* The AVX-VNNI int8 and int4 layers, and attention in int8, with vpdpbusd written out in AVX2 instructions; NULL where the build has no AVX2. */
#ifndef LKS_INT8_EMULATED_H
#define LKS_INT8_EMULATED_H

#include "fusion/ops.h"

extern void (*const emulated_linear_int8)(const lks_compute *compute, const lks_linear *layer,
                                          const lks_linear_args *args);
extern void (*const emulated_linear_int4)(const lks_compute *compute, const lks_linear *layer,
                                          const lks_linear_args *args);
extern bool (*const emulated_attention_int8)(const lks_compute *compute, const lks_attention *attention);

#endif
