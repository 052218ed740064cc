/* Row and element ops of every table against the reference, at widths that leave odd remainders, in place and on threads. */
#include <math.h>

#include "tests/ops/ops_test.h"

#define TOLERANCE 4e-6

static const int widths[] = {1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 33, 64, 100, 768, 1001};
static const int counts[] = {1, 3, 40};

typedef enum row_op { LAYER_NORM, LAYER_NORM_NO_BIAS, RMS_NORM, SOFTMAX, LOG_SOFTMAX, ADD_SCALED, ADD, EMBED } row_op;

static float *run(const lks_compute *compute, row_op op, int n, int d, bool in_place)
{
    size_t count = (size_t)n * (size_t)d;
    float *x = random_floats(count, 1), *b = random_floats(count, 2), *weight = random_floats((size_t)d, 3);
    float *bias = random_floats((size_t)d, 4), *y = in_place ? x : constant_floats(count, 9.0f);
    int32_t *ids = malloc((size_t)n * sizeof *ids);
    assert_non_null(ids);
    for (size_t i = 0; i < count; i++)
        x[i] = 5.0f * x[i] + 3.0f;
    for (int i = 0; i < n; i++)
        ids[i] = (i * 7 + 2) % n;
    const lks_ops *ops = compute->ops;
    switch (op) {
    case LAYER_NORM:
        ops->layer_norm(compute, y, x, n, d, weight, bias, 1e-5f);
        break;
    case LAYER_NORM_NO_BIAS:
        ops->layer_norm(compute, y, x, n, d, weight, NULL, 1e-5f);
        break;
    case RMS_NORM:
        ops->rms_norm(compute, y, x, n, d, weight, 1e-6f);
        break;
    case SOFTMAX:
        ops->softmax(compute, y, x, n, d);
        break;
    case LOG_SOFTMAX:
        ops->log_softmax(compute, y, x, n, d);
        break;
    case ADD_SCALED:
        ops->add_scaled(compute, y, x, b, weight, n, d);
        break;
    case ADD:
        ops->add_scaled(compute, y, x, b, NULL, n, d);
        break;
    case EMBED:
        ops->embed(compute, y, (lks_table){b, LKS_F32}, ids, n, d, 3.0f);
        break;
    }
    if (!in_place)
        free(x);
    free(b);
    free(weight);
    free(bias);
    free(ids);
    return y;
}

/* Tables of two bytes a number, at an odd address. */
static void narrow_tables(void **state)
{
    enum { ROWS = 2, D = 3, N = 3 };
    static const float values[ROWS * D] = {1.0f, -2.0f, 0.5f, 98304.0f, 0x1p-24f, 0.0f};
    static const uint16_t f16[ROWS * D] = {0x3C00, 0xC000, 0x3800, 0x7A00, 0x0001, 0}; /* the fourth is half as large */
    uint16_t bf16[ROWS * D];
    for (int i = 0; i < ROWS * D; i++)
        bf16[i] = lks_bf16_from_float(values[i]);
    const int32_t ids[N] = {1, 0, 1};
    bench b;
    bench_open(&b, test_isa(state), 2);
    for (int kind = 0; kind < 2; kind++) {
        unsigned char bytes[1 + sizeof f16];
        memcpy(bytes + 1, kind ? bf16 : f16, sizeof f16);
        float y[N * D];
        b.compute.ops->embed(&b.compute, y, (lks_table){bytes + 1, kind ? LKS_BF16 : LKS_F16}, ids, N, D, 2.0f);
        for (int i = 0; i < N * D; i++) {
            int at = ids[i / D] * D + i % D;
            assert_true(y[i] == (at == 3 && !kind ? 98304.0f : 2.0f * values[at]));
        }
    }
    bench_close(&b);
}

static void row_ops(void **state)
{
    bench ref, fast, alone;
    bench_open(&fast, test_isa(state), 3);
    bench_open(&ref, LKS_ISA_REF, 1);
    bench_open(&alone, test_isa(state), 1);
    for (row_op op = LAYER_NORM; op <= EMBED; op++) {
        for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
            for (size_t j = 0; j < sizeof widths / sizeof *widths; j++) {
                int n = counts[i], d = widths[j];
                size_t count = (size_t)n * (size_t)d;
                char what[96];
                snprintf(what, sizeof what, "op %d, %d rows of %d", (int)op, n, d);
                float *expected = run(&ref.compute, op, n, d, false), *actual = run(&fast.compute, op, n, d, false);
                float *in_place = run(&fast.compute, op, n, d, op != EMBED),
                      *single = run(&alone.compute, op, n, d, false);
                /* A norm of two nearly equal numbers divides by a small difference. */
                assert_close(actual, expected, count, d < 4 ? 1e-3 : TOLERANCE, what);
                assert_same(in_place, actual, count, what);
                assert_same(single, actual, count, what);
                free(expected);
                free(actual);
                free(in_place);
                free(single);
            }
        }
    }
    bench_close(&ref);
    bench_close(&fast);
    bench_close(&alone);
}

/* The whole range of every activation; errors relative to max(1, |y|). */
static void activations(void **state)
{
    bench ref, fast;
    bench_open(&fast, test_isa(state), 2);
    bench_open(&ref, LKS_ISA_REF, 1);
    size_t n = 400003;
    float *x = constant_floats(n, 0.0f), *expected = constant_floats(n, 9.0f), *actual = constant_floats(n, 9.0f);
    for (size_t i = 0; i < n; i++)
        x[i] = ((float)i - 200000.0f) * 2e-4f; /* -40 .. 40 */
    x[0] = -1000.0f;
    x[1] = 1000.0f;
    x[2] = -88.0f;
    x[3] = 88.0f;
    for (int activation = LKS_ACT_NONE; activation <= LKS_ACT_TANH; activation++) {
        char what[32];
        snprintf(what, sizeof what, "activation %d", activation);
        ref.compute.ops->activate(&ref.compute, expected, x, n, (lks_activation)activation);
        fast.compute.ops->activate(&fast.compute, actual, x, n, (lks_activation)activation);
        assert_close(actual, expected, n, 1e-6, what);
        for (size_t count = 0; count < 40; count++) { /* nothing beyond the end is written */
            float *y = constant_floats(64, 9.0f);
            fast.compute.ops->activate(&fast.compute, y, x + 5, count, (lks_activation)activation);
            assert_same(y, actual + 5, count, what);
            assert_true(y[count] == 9.0f);
            free(y);
        }
    }
    float nan = NAN, y = 0.0f;
    for (int activation = LKS_ACT_NONE; activation <= LKS_ACT_TANH; activation++) {
        fast.compute.ops->activate(&fast.compute, &y, &nan, 1, (lks_activation)activation);
        assert_true(isnan(y));
    }
    free(x);
    free(expected);
    free(actual);
    bench_close(&ref);
    bench_close(&fast);
}

/* softmax([x, 0]) = 1 / (1 + e^-x) shows e^x for negative x: y / (1 - y). The stated bound of the kernels' exp is 2^-22. */
static void exp_error(void **state)
{
    bench b;
    bench_open(&b, test_isa(state), 1);
    double worst = 0.0;
    enum { N = 20000, D = 32 };
    float *x = constant_floats(D, 0.0f), *y = constant_floats(D, 0.0f);
    for (int i = 0; i < N; i++) {
        x[0] = -80.0f * (float)i / N; /* the first entry's weight over the second's is e^x[0] */
        b.compute.ops->softmax(&b.compute, y, x, 1, D);
        double error = fabs((double)y[0] / y[1] / exp(x[0]) - 1.0);
        worst = error > worst ? error : worst;
    }
    assert_true(worst < 0x1p-21); /* two roundings beside the one of exp */
    x[0] = -INFINITY;
    x[1] = -1000.0f;
    b.compute.ops->softmax(&b.compute, y, x, 1, D);
    assert_true(y[0] == 0.0f && y[1] == 0.0f && y[2] > 0.0f);
    x[2] = NAN;
    b.compute.ops->softmax(&b.compute, y, x, 1, D);
    assert_true(isnan(y[3]));
    free(x);
    free(y);
    bench_close(&b);
}

static void top_k(void **state)
{
    bench ref, fast;
    bench_open(&fast, test_isa(state), 2);
    bench_open(&ref, LKS_ISA_REF, 1);
    uint32_t seed = 5;
    for (int round = 0; round < 300; round++) {
        int n = random_int(&seed, 1, 4), d = random_int(&seed, 1, round % 10 ? 90 : 30000),
            k = random_int(&seed, 1, 12);
        k = k > d ? d : k;
        float *x = random_floats((size_t)n * (size_t)d, seed);
        for (int i = 0; i < n * d; i++) {
            if (round % 3 == 0)
                x[i] = floorf(4.0f * x[i]); /* ties */
            if (round % 4 == 0 && random_int(&seed, 0, 3) == 0)
                x[i] = random_int(&seed, 0, 2) ? NAN : -INFINITY;
        }
        float *expected = constant_floats((size_t)n * (size_t)k, 9.0f),
              *actual = constant_floats((size_t)n * (size_t)k, 9.0f);
        int32_t indices[2][64];
        ref.compute.ops->top_k(&ref.compute, expected, indices[0], x, n, d, k);
        fast.compute.ops->top_k(&fast.compute, actual, indices[1], x, n, d, k);
        assert_memory_equal(indices[0], indices[1], (size_t)n * (size_t)k * sizeof(int32_t));
        for (int i = 0; i < n * k; i++) {
            assert_true(actual[i] == x[i / k * d + indices[0][i]] || isnan(actual[i]));
            if (i % k > 0 && !isnan(actual[i]))
                assert_true(actual[i - 1] >= actual[i]);
        }
        free(x);
        free(expected);
        free(actual);
    }
    bench_close(&ref);
    bench_close(&fast);
}

/* Every length around those of the kernels' loops, weights that make sums pass 0 and 255. */
static void weighed_bytes(void **state)
{
    bench b;
    bench_open(&b, test_isa(state), 1);
    uint8_t x[9 * 211], y[200], expected[200];
    int32_t weights[9];
    uint32_t seed = 5;
    for (int d = 0; d <= 200; d += d < 20 ? 1 : 13) {
        for (size_t i = 0; i < sizeof x; i++)
            x[i] = (uint8_t)random_int(&seed, 0, 256);
        for (int n = 0; n <= 9; n += 3) {
            for (int k = 0; k < n; k++)
                weights[k] = random_int(&seed, -(1 << 18), 1 << 19);
            memset(y, 77, sizeof y);
            memset(expected, 77, sizeof expected);
            b.compute.ops->weigh_bytes(y, x, 211, weights, n, (size_t)d);
            lks_ops_get(LKS_ISA_REF)->weigh_bytes(expected, x, 211, weights, n, (size_t)d);
            assert_memory_equal(y, expected, sizeof y); /* and nothing behind is touched */
        }
    }
    bench_close(&b);
}

/* Rows of any width, with gaps and out of order, on more threads than there are columns too; what lies between stays as it was. */
static void copies(void **state)
{
    enum { OUTER = 3, INNER = 2, MOST = 5000, GAP = 3 };
    static const int moved[] = {1, 5, 16, 17, 768, MOST};
    static const int32_t index[OUTER] = {4, 0, 2};
    for (size_t w = 0; w < sizeof moved / sizeof *moved; w++)
        for (int n_threads = 1; n_threads <= 4; n_threads += 3) {
            bench b;
            bench_open(&b, test_isa(state), n_threads);
            const int d = moved[w];
            const int64_t inner = d + GAP, outer = INNER * inner + GAP;
            const size_t count = (size_t)(5 * outer);
            float *from = random_floats(count, 1), *to = random_floats(count, 2), *expected = random_floats(count, 2);
            for (int i = 0; i < OUTER; i++)
                for (int j = 0; j < INNER; j++)
                    for (int k = 0; k < d; k++)
                        expected[index[i] * outer + j * inner + k] = from[i * outer + j * inner + k];
            const lks_copy copy = {.n_outer = OUTER,
                                   .n_inner = INNER,
                                   .d = d,
                                   .to = to,
                                   .to_outer = outer,
                                   .to_inner = inner,
                                   .to_index = index,
                                   .from = from,
                                   .from_outer = outer,
                                   .from_inner = inner};
            b.compute.ops->copy(&b.compute, &copy);
            assert_same(to, expected, count, "a copy");
            free(from);
            free(to);
            free(expected);
            bench_close(&b);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {OPS_TEST(row_ops),   OPS_TEST(narrow_tables), OPS_TEST(activations),
                                       OPS_TEST(exp_error), OPS_TEST(top_k),         OPS_TEST(weighed_bytes),
                                       OPS_TEST(copies)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
