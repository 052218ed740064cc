/* The machine: what it can run and how fast it is. */
#include "apps/captioner/looksay.h"
#include "fusion/cpuinfo.h"
#include "fusion/ops.h"
#include "fusion/roofline.h"

void lks_machine_describe(lks_machine *machine)
{
    lks_cpu cpu;
    lks_cpu_detect(&cpu);
    *machine = (lks_machine){
        .n_cpus = cpu.n_cpus,
        .isa = lks_ops_get(LKS_ISA_AUTO)->name,
        .avx2 = lks_isa_available(LKS_ISA_AVX2),
        .avx512 = lks_isa_available(LKS_ISA_AVX512),
        .avx512_vnni = cpu.avx512_vnni,
        .avx512_bf16 = cpu.avx512_bf16,
        .openblas = lks_isa_available(LKS_ISA_BLAS),
    };
    for (size_t i = 0; i < sizeof machine->cpu; i++)
        machine->cpu[i] = cpu.brand[i];
}

lks_status lks_machine_measure(double *f32_gflops, double *dram_gbps, int n_threads, double seconds, lks_error *err)
{
    lks_threads *threads;
    lks_status st = lks_threads_open(&threads, n_threads, err);
    if (st != LKS_OK)
        return st;
    lks_roofline roofline;
    st = lks_roofline_measure(&roofline, LKS_ISA_AUTO, threads, seconds, err);
    lks_threads_close(threads);
    if (st == LKS_OK) {
        *f32_gflops = roofline.f32_gflops;
        *dram_gbps = roofline.dram_gbps;
    }
    return st;
}
