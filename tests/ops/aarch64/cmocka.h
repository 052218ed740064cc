/* As much of cmocka as the op tests use, for a cross build where cmocka is not installed. The reference is not tested against
 * itself; OPS_CASES in the environment names the cases that run, "all" or as in "shapes,options". */
#ifndef LKS_SMALL_CMOCKA_H
#define LKS_SMALL_CMOCKA_H

#include <math.h>
#include <setjmp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct CMUnitTest {
    const char *name;
    void (*test)(void **state);
    int (*setup)(void **state);
    int (*teardown)(void **state);
    void *initial_state;
};

jmp_buf small_cmocka_end __attribute__((weak)); /* one for all files */

#define SMALL_END(outcome) longjmp(small_cmocka_end, outcome)
#define skip() SMALL_END(2)
#define fail_msg(...) (printf(__VA_ARGS__), printf("\n"), SMALL_END(1))
#define assert_true(x) ((x) ? (void)0 : fail_msg("%s:%d: %s", __FILE__, __LINE__, #x))
#define assert_false(x) assert_true(!(x))
#define assert_null(x) assert_true(!(x))
#define assert_non_null(x) assert_true(x)
#define assert_int_equal(a, b) assert_true((long long)(a) == (long long)(b))
#define assert_in_range(a, low, high) assert_true((a) >= (low) && (a) <= (high))
#define assert_float_equal(a, b, e) assert_true(fabs((double)(a) - (double)(b)) <= (double)(e))
#define assert_memory_equal(a, b, n) assert_true(memcmp(a, b, n) == 0)
/* clang-format off */
#define cmocka_unit_test(function) {#function, function, NULL, NULL, NULL}
/* clang-format on */
#define cmocka_run_group_tests(tests, setup, teardown) small_cmocka_run(tests, sizeof(tests) / sizeof *(tests))

/* Whether `cases` names the test, whose instruction set may follow the name of its case. */
static inline bool small_cmocka_wanted(const char *test, const char *cases)
{
    if (strstr(test, "LKS_ISA_REF"))
        return false;
    if (!cases || strcmp(cases, "all") == 0)
        return true;
    size_t n = strcspn(test, " ");
    for (; *cases; cases += strcspn(cases, ","), cases += *cases == ',')
        if (strcspn(cases, ",") == n && strncmp(cases, test, n) == 0)
            return true;
    return false;
}

static inline int small_cmocka_run(const struct CMUnitTest *tests, size_t n)
{
    volatile int n_failed = 0, n_passed = 0;
    for (volatile size_t i = 0; i < n; i++) {
        void *state = tests[i].initial_state;
        if (!small_cmocka_wanted(tests[i].name, getenv("OPS_CASES")))
            continue;
        switch (setjmp(small_cmocka_end)) {
        case 0:
            tests[i].test(&state);
            n_passed++;
            break;
        case 1:
            printf("FAILED %s\n", tests[i].name);
            n_failed++;
            break;
        default: /* skipped */
            break;
        }
    }
    printf("%d passed, %d failed, %d skipped\n", n_passed, n_failed, (int)n - n_passed - n_failed);
    return n_failed || n_passed == 0;
}

#endif
