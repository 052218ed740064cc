/* See ops_test.h. */
#include "tests/ops/ops_test.h"

#include <math.h>

#ifdef EMULATED_AVX512
extern const lks_ops emulated_ops_avx512, emulated_ops_avx512_vnni, emulated_ops_avx512_bf16;
#endif

const lks_ops *test_ops(lks_isa isa)
{
    const lks_ops *ops = lks_ops_get(isa);
#ifdef EMULATED_AVX512
    if (!ops && lks_isa_available(LKS_ISA_AVX2)) {
        if (isa == LKS_ISA_AVX512)
            ops = &emulated_ops_avx512;
        else if (isa == LKS_ISA_AVX512_VNNI)
            ops = &emulated_ops_avx512_vnni;
        else if (isa == LKS_ISA_AVX512_BF16)
            ops = &emulated_ops_avx512_bf16;
    }
#endif
    return ops;
}

void bench_open(bench *b, lks_isa isa, int n_threads)
{
    const lks_ops *ops = test_ops(isa);
    if (!ops) {
        skip();
        return;
    }
    assert_int_equal(ops->isa, isa);
    assert_int_equal(lks_threads_open(&b->threads, n_threads, NULL), LKS_OK);
    assert_int_equal(lks_arena_init(&b->scratch, lks_ops_scratch(n_threads, 2048, 512, 4096), NULL), LKS_OK);
    b->compute = (lks_compute){.ops = ops, .threads = b->threads, .scratch = &b->scratch};
}

void bench_close(bench *b)
{
    assert_int_equal(lks_arena_mark(&b->scratch), 0);
    lks_arena_release(&b->scratch);
    lks_threads_close(b->threads);
}

static uint32_t next_random(uint32_t *seed)
{
    *seed = *seed * 1664525u + 1013904223u;
    return *seed >> 8;
}

int random_int(uint32_t *seed, int begin, int end)
{
    return begin + (int)(next_random(seed) % (uint32_t)(end - begin));
}

static float *take_floats(size_t n)
{
    float *x = aligned_alloc(LKS_ALIGNMENT, lks_arena_cost(n ? n : 1, sizeof(float)));
    assert_non_null(x);
    return x;
}

float *random_floats(size_t n, uint32_t seed)
{
    float *x = take_floats(n);
    for (size_t i = 0; i < n; i++)
        x[i] = (float)next_random(&seed) / 8388608.0f - 1.0f;
    return x;
}

float *constant_floats(size_t n, float value)
{
    float *x = take_floats(n);
    for (size_t i = 0; i < n; i++)
        x[i] = value;
    return x;
}

void assert_close(const float *actual, const float *expected, size_t n, double tolerance, const char *what)
{
    for (size_t i = 0; i < n; i++) {
        double difference = fabs((double)actual[i] - expected[i]);
        if (actual[i] == expected[i] || difference <= tolerance * (1.0 + fabs((double)expected[i])))
            continue;
        fail_msg("%s: element %zu is %.9g, expected %.9g", what, i, (double)actual[i], (double)expected[i]);
    }
}

void assert_same(const float *actual, const float *expected, size_t n, const char *what)
{
    for (size_t i = 0; i < n; i++)
        /* NOLINTNEXTLINE(bugprone-suspicious-memory-comparison): bits are meant */
        if (memcmp(&actual[i], &expected[i], sizeof *actual) != 0)
            fail_msg("%s: element %zu is %.9g, expected the same bits as %.9g", what, i, (double)actual[i],
                     (double)expected[i]);
}

lks_isa test_isa(void **state)
{
    return (lks_isa)(intptr_t)*state;
}
