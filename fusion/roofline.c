/* Roofline: see roofline.h. All threads run each kernel at the same time; the figure of a round is the work of all over the
 * time of the slowest. */
#include "fusion/roofline.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "fusion/cpu/kernels.h"
#include "fusion/cpu/word_rows.h"

#define CHAIN_ROUNDS 50000             /* of multiply-adds: about a millisecond */
#define READ_BYTES ((size_t)256 << 20) /* far beyond any L3 share */
#define MIN_ROUNDS 3

typedef double fma_function(long n_rounds, float *sink);

typedef struct roof_job {
    fma_function *run_fma;
    lks_peak_function *run_words;
    int32_t seed; /* an operand of run_words */
    const uint64_t *block;
    double work; /* of one thread */
    _Atomic uint64_t sink;
} roof_job;

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void fma_part(void *argument, int thread, int n_threads)
{
    roof_job *job = argument;
    float value = 0.999f;
    double work = job->run_fma(CHAIN_ROUNDS, &value);
    if (thread == 0)
        job->work = work * n_threads;
    job->sink += value > 0.0f;
}

static void words_part(void *argument, int thread, int n_threads)
{
    roof_job *job = argument;
    int32_t value = job->seed;
    double work = job->run_words(CHAIN_ROUNDS, &value);
    if (thread == 0)
        job->work = work * n_threads;
    job->sink += value > 0;
}

/* As fast as memory gives: several streams at once, each asked for well ahead. */
static void read_part(void *argument, int thread, int n_threads)
{
    enum { STREAMS = 4, LINE = 8, AHEAD = 32 * LINE };
    roof_job *job = argument;
    long begin, end;
    lks_threads_share((long)(READ_BYTES / sizeof *job->block), STREAMS * LINE, thread, n_threads, &begin, &end);
    uint64_t bits[LINE] = {0};
    const long length = (end - begin) / STREAMS;
    for (long i = begin; i < begin + length; i += LINE)
        for (int stream = 0; stream < STREAMS; stream++) {
            const uint64_t *line = job->block + i + stream * length;
            __builtin_prefetch(line + AHEAD);
            for (int j = 0; j < LINE; j++)
                bits[j] |= line[j];
        }
    job->sink += bits[0] | bits[1] | bits[2] | bits[3] | bits[4] | bits[5] | bits[6] | bits[7];
}

/* Work per second of the best round. */
static double best_rate(lks_threads *threads, lks_job part, roof_job *job, double seconds)
{
    double best = 0.0, start = now();
    for (int round = 0; round < MIN_ROUNDS || now() - start < seconds; round++) {
        double t = now();
        lks_threads_run(threads, part, job);
        t = now() - t;
        if (job->work / t > best)
            best = job->work / t;
    }
    return best;
}

static fma_function *fma_of(lks_isa isa)
{
#ifdef LKS_HAVE_AVX512
    if (isa == LKS_ISA_AVX512 || isa == LKS_ISA_AVX512_VNNI || isa == LKS_ISA_AVX512_BF16)
        return lks_avx512_run_fma;
#endif
#ifdef LKS_HAVE_AVX2
    if (isa == LKS_ISA_AVX2 || isa == LKS_ISA_AVX_VNNI)
        return lks_avx2_run_fma;
#endif
#ifdef LKS_HAVE_NEON
    if (isa == LKS_ISA_NEON || isa == LKS_ISA_NEON_DOTPROD)
        return lks_neon_run_fma;
#endif
    (void)isa;
    return lks_ref_run_fma;
}

static lks_peak_function *int8_of(lks_isa isa)
{
#ifdef LKS_HAVE_AVX512
    if (isa == LKS_ISA_AVX512_VNNI || isa == LKS_ISA_AVX512_BF16)
        return lks_avx512_vnni_run_int8;
    if (isa == LKS_ISA_AVX512)
        return lks_avx512_run_int8;
#endif
#ifdef LKS_HAVE_AVX2
    if (isa == LKS_ISA_AVX_VNNI)
        return lks_avx_vnni_run_int8;
    if (isa == LKS_ISA_AVX2)
        return lks_avx2_run_int8;
#endif
#ifdef LKS_HAVE_NEON
    if (isa == LKS_ISA_NEON_DOTPROD)
        return lks_neon_dotprod_run_int8;
    if (isa == LKS_ISA_NEON)
        return lks_neon_run_int8;
#endif
    (void)isa;
    return lks_ref_run_int8;
}

/* NULL: bf16 is computed as f32. */
static lks_peak_function *bf16_of(lks_isa isa)
{
#ifdef LKS_HAVE_AVX512
    if (isa == LKS_ISA_AVX512_BF16)
        return lks_avx512_bf16_run_bf16;
#endif
    (void)isa;
    return NULL;
}

lks_status lks_roofline_measure(lks_roofline *out, lks_isa isa, lks_threads *threads, double seconds, lks_error *err)
{
    const lks_ops *ops = lks_ops_get(isa);
    if (!ops)
        return lks_error_set(err, LKS_ERR_UNSUPPORTED, "instruction set %s: not in this build or CPU; use auto",
                             lks_isa_name(isa));
    lks_arena arena;
    lks_status status = lks_arena_init(&arena, READ_BYTES, err);
    if (status != LKS_OK)
        return status;
    memset(arena.base, 1, READ_BYTES);

    roof_job job = {.run_fma = fma_of(ops->isa),
                    .run_words = int8_of(ops->isa),
                    .seed = 3,
                    .block = (const uint64_t *)(const void *)arena.base};
    lks_roofline result = {.isa = ops->isa, .n_threads = lks_threads_count(threads)};
    result.f32_gflops = best_rate(threads, fma_part, &job, seconds / 4) * 1e-9;
    result.int8_gops = best_rate(threads, words_part, &job, seconds / 4) * 1e-9;
    job.run_words = bf16_of(ops->isa);
    job.seed = 0x3F803F80; /* ones: smaller bit patterns are subnormal numbers, which are slow */
    result.bf16_gflops = job.run_words ? best_rate(threads, words_part, &job, seconds / 4) * 1e-9 : result.f32_gflops;
    job.work = (double)READ_BYTES;
    result.dram_gbps = best_rate(threads, read_part, &job, seconds / 4) * 1e-9;
    lks_arena_release(&arena);
    *out = result;
    return LKS_OK;
}

double lks_roofline_floor(const lks_roofline *roofline, double flops, double bytes)
{
    double compute = flops / (roofline->f32_gflops * 1e9), memory = bytes / (roofline->dram_gbps * 1e9);
    return compute > memory ? compute : memory;
}
