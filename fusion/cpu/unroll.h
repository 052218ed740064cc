/* Attributes of the kernel templates. Private to fusion/cpu. */
#ifndef LKS_CPU_UNROLL_H
#define LKS_CPU_UNROLL_H

/* Loops over the register tile: trip counts are constants, at most 24. */
#if defined(__clang__)
#define UNROLL_ALL _Pragma("clang loop unroll(full)")
#else
#define UNROLL_ALL _Pragma("GCC unroll 24")
#endif
#define ALWAYS_INLINE inline __attribute__((always_inline))

#endif
