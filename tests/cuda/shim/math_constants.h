/* CUDA's constants for kernels: see cuda_runtime.h. */
#ifndef SHIM_MATH_CONSTANTS_H
#define SHIM_MATH_CONSTANTS_H

#define CUDART_INF_F __builtin_inff()
#define CUDART_NAN_F __builtin_nanf("")

#endif
