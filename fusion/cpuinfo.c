/* CPU detection: CPUID feature bits, counted only when the system saves the registers they need (XCR0). */
#include "fusion/cpuinfo.h"

#include <sched.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include "fusion/ops.h"

#if defined(__aarch64__)
#include <sys/auxv.h>
#endif

#if defined(__x86_64__)
#include <cpuid.h>

static bool bit(unsigned word, int index)
{
    return (word >> index & 1) != 0;
}

/* The register sets that the system saves: bits 1, 2 = SSE, AVX; bits 5..7 = AVX-512. */
static uint64_t saved_states(void)
{
    uint32_t low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (uint64_t)high << 32 | low;
}

/* vdpbf16ps is twice as fast as multiply-adds of f32 on AMD's cores (Zen 4), and half as fast on Intel's (Sapphire and Emerald Rapids). */
static bool is_amd(void)
{
    unsigned a, words[3];
    return __get_cpuid(0, &a, &words[0], &words[2], &words[1]) && memcmp(words, "AuthenticAMD", sizeof words) == 0;
}

static void detect_features(lks_cpu *cpu)
{
    unsigned a, b, c, d;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !bit(c, 27))
        return;
    bool fma = bit(c, 12), f16c = bit(c, 29);
    uint64_t saved = saved_states();
    if ((saved & 0x6) != 0x6)
        return;
    cpu->f16c = f16c;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d))
        return;
    unsigned n_subleaves = a;
    cpu->avx2_fma = bit(b, 5) && fma;
    cpu->avx512 = (saved & 0xE6) == 0xE6 && cpu->avx2_fma && bit(b, 16) && bit(b, 17) && bit(b, 30) && bit(b, 31);
    cpu->avx512_vnni = cpu->avx512 && bit(c, 11);
    if (n_subleaves >= 1 && __get_cpuid_count(7, 1, &a, &b, &c, &d)) {
        cpu->avx_vnni = cpu->avx2_fma && bit(a, 4);
        cpu->avx512_bf16 = cpu->avx512 && bit(a, 5);
        cpu->bf16_outruns_f32 = cpu->avx512_bf16 && is_amd();
    }
}

static void detect_brand(lks_cpu *cpu)
{
    char text[49] = "";
    for (unsigned i = 0; i < 3; i++) {
        unsigned words[4];
        if (!__get_cpuid(0x80000002u + i, &words[0], &words[1], &words[2], &words[3]))
            return;
        memcpy(text + 16 * i, words, sizeof words);
    }
    const char *start = text + strspn(text, " ");
    size_t n = strlen(start);
    while (n > 0 && start[n - 1] == ' ')
        n--;
    memcpy(cpu->brand, start, n);
    cpu->brand[n] = '\0';
}
#else
static void detect_features(lks_cpu *cpu)
{
#if defined(__aarch64__)
    cpu->neon = true;
    cpu->neon_dotprod = (getauxval(AT_HWCAP) & HWCAP_ASIMDDP) != 0;
#else
    (void)cpu;
#endif
}

static void detect_brand(lks_cpu *cpu)
{
    strcpy(cpu->brand, "unknown");
}
#endif

static int count_cpus(void)
{
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0 && CPU_COUNT(&set) > 0)
        return CPU_COUNT(&set);
    long n = sysconf(_SC_NPROCESSORS_ONLN);
    return n > 0 ? (int)n : 1;
}

void lks_cpu_detect(lks_cpu *cpu)
{
    *cpu = (lks_cpu){.n_cpus = count_cpus()};
    detect_features(cpu);
    detect_brand(cpu);
}

static const char *const isa_names[LKS_ISA_COUNT] = {"ref",         "blas",        "avx2", "avx-vnni",     "avx512",
                                                     "avx512-vnni", "avx512-bf16", "neon", "neon-dotprod", "cuda"};

const char *lks_isa_name(lks_isa isa)
{
    return isa >= LKS_ISA_REF && isa < LKS_ISA_COUNT ? isa_names[isa] : "auto";
}

bool lks_isa_parse(lks_isa *isa, const char *name)
{
    if (strcmp(name, "auto") == 0) {
        *isa = LKS_ISA_AUTO;
        return true;
    }
    for (int i = 0; i < LKS_ISA_COUNT; i++) {
        if (strcmp(name, isa_names[i]) == 0) {
            *isa = (lks_isa)i;
            return true;
        }
    }
    return false;
}

bool lks_isa_available(lks_isa isa)
{
    return lks_ops_get(isa) != NULL;
}
