/* What the op tests share: random inputs, the table of an instruction set with its threads and scratch, comparison. */
#ifndef LKS_OPS_TEST_H
#define LKS_OPS_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "fusion/ops.h"

typedef struct bench {
    lks_threads *threads;
    lks_arena scratch;
    lks_compute compute;
} bench;

/* The table of `isa`; where the CPU lacks AVX-512, the same kernels on emulated instructions (avx512_emulated.h). NULL: skip. */
const lks_ops *test_ops(lks_isa isa);

/* Opens that table; skips the running test where there is none. */
void bench_open(bench *b, lks_isa isa, int n_threads);
void bench_close(bench *b);

/* n floats between -1 and 1, the same for the same seed, aligned; free() them. */
float *random_floats(size_t n, uint32_t seed);
/* n floats all of `value`. */
float *constant_floats(size_t n, float value);
/* A number in begin..end - 1 that depends on *seed, which advances. */
int random_int(uint32_t *seed, int begin, int end);

/* Fails unless |a - b| <= tolerance (1 + |b|) everywhere, infinities equal; a NaN fails. */
void assert_close(const float *actual, const float *expected, size_t n, double tolerance, const char *what);
void assert_same(const float *actual, const float *expected, size_t n, const char *what);

/* Test functions receive the instruction set as their state: (lks_isa)(intptr_t)*state. */
lks_isa test_isa(void **state);

#define OPS_TEST_ISA(function, isa)                                                                                    \
    {                                                                                                                  \
#function " " #isa, function, NULL, NULL, (void *)(intptr_t)(isa)                                              \
    }
/* The test once for every table that has kernels of its own. */
#define OPS_TEST(function)                                                                                             \
    OPS_TEST_ISA(function, LKS_ISA_REF), OPS_TEST_ISA(function, LKS_ISA_BLAS), OPS_TEST_ISA(function, LKS_ISA_AVX2),   \
        OPS_TEST_ISA(function, LKS_ISA_AVX512), OPS_TEST_ISA(function, LKS_ISA_NEON)

#endif
