/* Which table serves which instruction set, and how much scratch the ops need. */
#include "fusion/ops.h"

#include "fusion/cpu/kernels.h"

const lks_ops *lks_ops_get(lks_isa isa)
{
    switch (isa) {
    case LKS_ISA_AUTO:
        return &lks_ops_ref;
    case LKS_ISA_REF:
        return &lks_ops_ref;
    case LKS_ISA_BLAS:
    case LKS_ISA_AVX2:
    case LKS_ISA_AVX512:
    case LKS_ISA_COUNT:
        break;
    }
    return NULL;
}

/* Attention is the only op that takes scratch. */
size_t lks_ops_scratch(int n_threads, int max_keys, int max_d_head, int max_d)
{
    (void)max_d_head;
    (void)max_d;
    return lks_arena_cost((size_t)n_threads * (size_t)max_keys, sizeof(float));
}
