/* The machine: what it can run. */
#include "apps/captioner/looksay.h"
#include "fusion/cpuinfo.h"
#include "fusion/device.h"
#include "fusion/ops.h"

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

lks_status lks_gpu_describe(lks_gpu *gpu, lks_error *err)
{
    lks_device_info info;
    lks_status st = lks_device_describe(&info, err);
    if (st != LKS_OK)
        return st;
    *gpu = (lks_gpu){.major = info.major, .minor = info.minor, .memory_bytes = info.memory_bytes};
    for (size_t i = 0; i < sizeof gpu->name; i++)
        gpu->name[i] = info.name[i];
    return LKS_OK;
}
