/* Unit test of fusion/arena. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "fusion/arena.h"

static void stack_order(void **state)
{
    (void)state;
    lks_arena arena;
    assert_int_equal(lks_arena_init(&arena, 1000, NULL), LKS_OK);
    float *a = lks_arena_take(&arena, 5, sizeof *a);
    size_t mark = lks_arena_mark(&arena);
    float *b = lks_arena_take(&arena, 100, sizeof *b);
    assert_non_null(a);
    assert_non_null(b);
    assert_int_equal((uintptr_t)a % LKS_ALIGNMENT, 0);
    assert_int_equal((uintptr_t)b % LKS_ALIGNMENT, 0);
    assert_true((char *)b >= (char *)(a + 5));
    b[99] = 1.0f;
    lks_arena_reset(&arena, mark);
    assert_ptr_equal(lks_arena_take(&arena, 1, 1), b);
    assert_true(arena.peak >= 5 * sizeof *a + 100 * sizeof *b);
    lks_arena_release(&arena);
    assert_null(arena.base);
}

static void full(void **state)
{
    (void)state;
    lks_arena arena;
    assert_int_equal(lks_arena_init(&arena, lks_arena_cost(10, 4) + lks_arena_cost(3, 8), NULL), LKS_OK);
    assert_non_null(lks_arena_take(&arena, 10, 4));
    assert_null(lks_arena_take(&arena, 1000, 4));
    assert_null(lks_arena_take(&arena, SIZE_MAX / 2, 4));
    assert_non_null(lks_arena_take(&arena, 3, 8));
    assert_null(lks_arena_take(&arena, 1, 1));
    lks_arena_release(&arena);
}

static void impossible(void **state)
{
    (void)state;
    lks_arena arena;
    lks_error err = {0};
    assert_int_equal(lks_arena_init(&arena, SIZE_MAX, &err), LKS_ERR_NOMEM);
    assert_true(strlen(err.message) > 0);
}

static void sizes(void **state)
{
    (void)state;
    size_t n;
    assert_true(lks_size_mul(&n, 6, 7) && n == 42);
    assert_true(lks_size_mul(&n, SIZE_MAX, 0) && n == 0);
    assert_true(lks_size_mul(&n, SIZE_MAX, 1) && n == SIZE_MAX);
    assert_false(lks_size_mul(&n, SIZE_MAX / 2 + 1, 2));
    assert_true(lks_size_add(&n, SIZE_MAX - 1, 1) && n == SIZE_MAX);
    assert_false(lks_size_add(&n, SIZE_MAX, 1));
    assert_int_equal(lks_arena_cost(1, 1), LKS_ALIGNMENT);
    assert_int_equal(lks_arena_cost(SIZE_MAX, 2), SIZE_MAX);
    assert_int_equal(lks_arena_cost(SIZE_MAX - 1, 1), SIZE_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(stack_order), cmocka_unit_test(full),
                                       cmocka_unit_test(impossible), cmocka_unit_test(sizes)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
