/* Unit test of fusion/cpuinfo. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "fusion/cpuinfo.h"
#include "fusion/ops.h"

static void detection(void **state)
{
    (void)state;
    lks_cpu cpu;
    lks_cpu_detect(&cpu);
    assert_true(cpu.n_cpus >= 1);
    assert_true(strlen(cpu.brand) > 0 && strlen(cpu.brand) < sizeof cpu.brand);
#if defined(__x86_64__)
    __builtin_cpu_init();
    assert_int_equal(cpu.avx2_fma, __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"));
    assert_int_equal(cpu.avx512, __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                                     __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"));
#endif
}

static void names(void **state)
{
    (void)state;
    for (int i = LKS_ISA_AUTO; i < LKS_ISA_COUNT; i++) {
        lks_isa isa = LKS_ISA_COUNT;
        assert_true(lks_isa_parse(&isa, lks_isa_name((lks_isa)i)));
        assert_int_equal(isa, i);
    }
    lks_isa isa = LKS_ISA_AVX2;
    assert_false(lks_isa_parse(&isa, "sse9"));
    assert_false(lks_isa_parse(&isa, ""));
    assert_int_equal(isa, LKS_ISA_AVX2);
}

/* Entries that a table may lack, as ops.h says. */
static bool optional(size_t offset)
{
    return offset == offsetof(lks_ops, linear_widen) || offset == offsetof(lks_ops, depthwise_scratch) ||
           offset == offsetof(lks_ops, inverted_residual) || offset == offsetof(lks_ops, residual_fits) ||
           offset == offsetof(lks_ops, expander) || offset == offsetof(lks_ops, residual_scratch) ||
           offset == offsetof(lks_ops, block_fits) || offset == offsetof(lks_ops, block) ||
           offset == offsetof(lks_ops, linear_rounded) || offset == offsetof(lks_ops, resample) ||
           offset == offsetof(lks_ops, stage) || offset == offsetof(lks_ops, linear_fuses) ||
           offset == offsetof(lks_ops, attention_int8);
}

static void tables(void **state)
{
    (void)state;
    assert_true(lks_isa_available(LKS_ISA_REF));
    assert_non_null(lks_ops_get(LKS_ISA_AUTO));
    for (int i = 0; i < LKS_ISA_COUNT; i++) {
        const lks_ops *ops = lks_ops_get((lks_isa)i);
        assert_int_equal(ops != NULL, lks_isa_available((lks_isa)i));
        if (!ops)
            continue;
        assert_int_equal(ops->isa, i);
        assert_string_equal(ops->name, lks_isa_name((lks_isa)i));
        const void *const *entries = (const void *const *)(const void *)&ops->arena_open;
        size_t n = (sizeof *ops - offsetof(lks_ops, arena_open)) / sizeof *entries;
        for (size_t entry = 0; entry < n; entry++)
            assert_true(entries[entry] || optional(offsetof(lks_ops, arena_open) + entry * sizeof *entries));
    }
    assert_null(lks_ops_get(LKS_ISA_COUNT));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(detection), cmocka_unit_test(names), cmocka_unit_test(tables)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
