/* Roofline: what this machine can do at most, measured, so that speeds can be quoted as a share of it (Williams et al.
 * 2009). A layer with n multiply-adds and m bytes of weights cannot take less than max(2 n / f32_gflops, m / dram_gbps). */
#ifndef LKS_ROOFLINE_H
#define LKS_ROOFLINE_H

#include "fusion/cpuinfo.h"
#include "fusion/threads.h"

typedef struct lks_roofline {
    lks_isa isa;        /* whose multiply-adds were timed */
    int n_threads;      /* all figures are with all of them running */
    double f32_gflops;  /* independent multiply-adds in registers, 10^9 operations per second */
    double int8_gops;   /* the same for the integer multiply-adds of int8 layers */
    double bf16_gflops; /* and for those of bf16 layers */
    double dram_gbps;   /* reads of a block far larger than the caches, 10^9 bytes per second */
} lks_roofline;

/* Best of several rounds, about `seconds` in all (0.5 is plenty) plus the time to fill the block. LKS_ISA_AUTO takes the
 * best that the CPU has; a table without vector code of its own is timed with portable code.
 * LKS_ERR_UNSUPPORTED: no such table here. LKS_ERR_NOMEM. */
lks_status lks_roofline_measure(lks_roofline *out, lks_isa isa, lks_threads *threads, double seconds, lks_error *err);

/* Fastest possible time for work of `flops` operations that must read `bytes` from memory, in seconds. */
double lks_roofline_floor(const lks_roofline *roofline, double flops, double bytes);

#endif
