/* What this CPU can run. */
#ifndef LKS_CPUINFO_H
#define LKS_CPUINFO_H

#include <stdbool.h>

typedef enum lks_isa {
    LKS_ISA_AUTO = -1,    /* the best that CPU and build offer */
    LKS_ISA_REF,          /* scalar reference */
    LKS_ISA_BLAS,         /* reference with OpenBLAS linear layers */
    LKS_ISA_AVX2,         /* AVX2 + FMA */
    LKS_ISA_AVX_VNNI,     /* the same with AVX-VNNI for int8 layers */
    LKS_ISA_AVX512,       /* AVX-512 F, BW, DQ, VL */
    LKS_ISA_AVX512_VNNI,  /* the same with VNNI for int8 layers */
    LKS_ISA_AVX512_BF16,  /* and with BF16 for bf16 layers */
    LKS_ISA_NEON,         /* AArch64 */
    LKS_ISA_NEON_DOTPROD, /* the same with dot products for int8 and int4 layers */
    LKS_ISA_CUDA,         /* not a CPU's: the table of a GPU, see fusion/device.h */
    LKS_ISA_COUNT
} lks_isa;

typedef struct lks_cpu {
    bool avx2_fma, avx512, avx512_vnni, avx512_bf16, avx_vnni, f16c, neon, neon_dotprod;
    bool bf16_outruns_f32; /* avx512_bf16, and it adds more products in a cycle than f32 instructions do */
    int n_cpus;            /* CPUs this process may run on (affinity) */
    char brand[64];
} lks_cpu;

void lks_cpu_detect(lks_cpu *cpu);

const char *lks_isa_name(lks_isa isa);              /* "ref", "avx512-vnni", "neon", ...; "auto" */
bool lks_isa_parse(lks_isa *isa, const char *name); /* false: unknown name, *isa untouched */
bool lks_isa_available(lks_isa isa);                /* in this build and on this CPU */

#endif
