/* Unit test of fusion/roofline. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "fusion/roofline.h"

static void measures(void **state)
{
    (void)state;
    lks_threads *threads;
    assert_int_equal(lks_threads_open(&threads, 2, NULL), LKS_OK);
    lks_roofline best = {0}, portable = {0};
    assert_int_equal(lks_roofline_measure(&best, LKS_ISA_AUTO, threads, 0.02, NULL), LKS_OK);
    assert_int_equal(lks_roofline_measure(&portable, LKS_ISA_REF, threads, 0.02, NULL), LKS_OK);
    assert_int_equal(best.n_threads, 2);
    assert_int_equal(portable.isa, LKS_ISA_REF);
    assert_true(best.f32_gflops > 0.1 && best.f32_gflops < 1e6);
    assert_true(best.dram_gbps > 0.01 && best.dram_gbps < 1e5);
    lks_threads_close(threads);

    lks_error err = {0};
    assert_int_equal(lks_roofline_measure(&best, LKS_ISA_COUNT, NULL, 0.01, &err), LKS_ERR_UNSUPPORTED);
    assert_true(strlen(err.message) > 0);
}

static void floors(void **state)
{
    (void)state;
    lks_roofline r = {.f32_gflops = 100.0, .dram_gbps = 10.0};
    assert_true(lks_roofline_floor(&r, 2e9, 1e6) == 0.02);
    assert_true(lks_roofline_floor(&r, 1e6, 1e9) == 0.1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(measures), cmocka_unit_test(floors)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
