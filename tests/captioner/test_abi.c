/* The public header repeats two types of fusion/status.h so that it can stand alone: both must agree. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "fusion/status.h"

extern const long abi_public[];
extern const unsigned long n_abi_public;
#define LKS_ABI_NAME abi_private_values
#define LKS_ABI_COUNT n_abi_private
extern const long abi_private_values[];
extern const unsigned long n_abi_private;
#include "tests/captioner/abi.inc"

static void test_headers_agree(void **state)
{
    (void)state;
    assert_int_equal(n_abi_public, n_abi_private);
    for (unsigned long i = 0; i < n_abi_private; i++)
        assert_int_equal(abi_public[i], abi_private_values[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_headers_agree)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
