/* A device's queue: transfers, recorded work, memory. */
#include "tests/cuda/device_test.h"

/* More than the pinned memory holds, there and back, and what is overwritten after upload has been taken along. */
static void transfers(void **state)
{
    (void)state;
    device_bench b;
    device_open(&b);
    const lks_ops *ops = b.compute.ops;
    size_t n = (size_t)5 << 20;
    float *x = random_floats(n, 1), *copy = malloc(n * sizeof *copy), small[40] = {0};
    assert_non_null(copy);
    memcpy(copy, x, n * sizeof *x);
    float *memory = device_put(&b, x, n * sizeof *x);
    memset(x, 0, n * sizeof *x);
    float *back = device_get(&b, memory, n * sizeof *back);
    assert_memory_equal(back, copy, n * sizeof *back);
    for (int i = 0; i < 40; i++) /* more than wait at a time */
        ops->download(&b.compute, &small[i], memory + i, sizeof *small);
    assert_int_equal(ops->sync(&b.compute, NULL), LKS_OK);
    assert_memory_equal(small, copy, sizeof small);
    free(back);
    free(copy);
    free(x);
    device_close(&b);
}

/* Recorded work is done the first time, when it is recorded and when it comes again, with what its inputs are then. */
static void recordings(void **state)
{
    (void)state;
    device_bench b;
    device_open(&b);
    const lks_ops *ops = b.compute.ops;
    enum { N = 12, D_IN = 20, D_OUT = 30 };
    float *w = random_floats(D_IN * D_OUT, 3), *bias = random_floats(D_OUT, 4);
    const lks_linear layer = {.d_in = D_IN,
                              .d_out = D_OUT,
                              .packed = device_weight(&b, w, D_IN * D_OUT * sizeof *w),
                              .bias = device_weight(&b, bias, D_OUT * sizeof *bias)};
    free(w);
    free(bias);
    device_mirror(&b, &layer, 1);
    float *device_x = device_put(&b, NULL, N * 80), *device_y = device_put(&b, NULL, N * 120), y[N * 30];
    int n_run = 0;
    for (int turn = 0; turn < 6; turn++) {
        const int64_t key[4] = {turn % 2, 1, 2, 3};
        lks_activation activation = turn % 2 ? LKS_ACT_RELU : LKS_ACT_GELU;
        float *x = random_floats(N * 20, (uint32_t)turn);
        ops->upload(&b.compute, device_x, x, N * 80);
        if (!ops->record(&b.compute, key)) {
            lks_linear_dense(&b.compute, &layer, device_y, device_x, N, activation, NULL);
            ops->add_scaled(&b.compute, device_y, device_y, device_y, NULL, N, 30);
            ops->recorded(&b.compute);
            n_run++;
        }
        lks_linear_dense(&b.reference, &layer, y, x, N, activation, NULL);
        b.reference.ops->add_scaled(&b.reference, y, y, y, NULL, N, 30);
        device_assert_close(&b, device_y, y, N * 30, 2e-5, "recorded work");
        free(x);
    }
    assert_int_equal(n_run, 4); /* each key twice */

    /* memory that comes and goes takes the recordings with it */
    lks_arena other;
    assert_int_equal(ops->arena_open(&b.compute, &other, 1000, NULL), LKS_OK);
    ops->arena_close(&b.compute, &other);
    const int64_t key[4] = {0, 1, 2, 3};
    assert_false(ops->record(&b.compute, key));
    ops->recorded(&b.compute);
    device_close(&b);
}

static void too_much_memory(void **state)
{
    (void)state;
    device_bench b;
    device_open(&b);
    lks_arena arena = {0};
    lks_error err = {.message = ""};
    assert_int_equal(b.compute.ops->arena_open(&b.compute, &arena, (size_t)1 << 50, &err), LKS_ERR_NOMEM);
    assert_non_null(strstr(err.message, "out of memory"));
    assert_null(arena.base);
    assert_int_equal(b.compute.ops->sync(&b.compute, &err), LKS_OK); /* the queue goes on */
    device_close(&b);
}

int main(void)
{
    device_need();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(transfers),
        cmocka_unit_test(recordings),
        cmocka_unit_test(too_much_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
