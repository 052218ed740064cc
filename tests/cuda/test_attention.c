/* Attention of a device against the reference: 1 to 600 keys, lengths, masks, causal and prefix visibility, grouped queries, beams
 * that share keys, the linear kind, maps and log-sum-exp, queries that see nothing; in f32, and on tensor cores in bf16. */
#include <math.h>

#include "tests/cuda/device_test.h"

typedef struct attention_case {
    lks_attention_kind kind;
    int n_batch, n_heads, n_kv_heads, d_head, n_queries, n_keys;
    bool lengths, mask, causal, shared_keys;
    int causal_offset, n_prefix;
    float spread; /* of the queries: large values make sharp softmaxes */
} attention_case;

enum { MAX_BATCH = 8 };

/* Inputs as the reference takes them; the outputs are owned by it, too. */
typedef struct inputs {
    float *query, *key, *value, *out, *log_sum_exp, *map;
    uint16_t *key_halves, *value_halves;
    uint8_t *mask;
    int32_t index[MAX_BATCH], lengths[MAX_BATCH];
    size_t n_query, n_kv, n_mask, n_out, n_rows;
    lks_attention attention;
} inputs;

static void make(inputs *in, const attention_case *c, bool halves, bool round_query)
{
    int64_t query_stride = c->n_heads * c->d_head + 5, kv_stride = c->n_kv_heads * c->d_head + 3;
    int n_entries = c->shared_keys ? 2 : c->n_batch;
    size_t n_queries = (size_t)c->n_batch * (size_t)c->n_queries;
    *in = (inputs){.n_query = n_queries * (size_t)query_stride,
                   .n_kv = (size_t)n_entries * (size_t)c->n_keys * (size_t)kv_stride,
                   .n_mask = (size_t)c->n_batch * (size_t)c->n_keys,
                   .n_out = n_queries * (size_t)(c->n_heads * c->d_head),
                   .n_rows = n_queries * (size_t)c->n_heads};
    in->query = random_floats(in->n_query, 1);
    in->key = random_floats(in->n_kv, 2);
    in->value = random_floats(in->n_kv, 3);
    in->mask = malloc(in->n_mask);
    in->key_halves = malloc(in->n_kv * sizeof *in->key_halves);
    in->value_halves = malloc(in->n_kv * sizeof *in->value_halves);
    assert_true(in->mask && in->key_halves && in->value_halves);
    for (size_t i = 0; i < in->n_query; i++) {
        in->query[i] *= c->spread;
        if (round_query)
            in->query[i] = lks_bf16_to_float(lks_bf16_from_float(in->query[i]));
    }
    uint32_t seed = 7;
    for (int b = 0; b < c->n_batch; b++) {
        in->index[b] = (b + 1) % 2;
        in->lengths[b] = b == 0 ? 0 : random_int(&seed, 1, c->n_keys + 1);
        for (int j = 0; j < c->n_keys; j++)
            in->mask[b * c->n_keys + j] = b != 1 && random_int(&seed, 0, 3) > 0;
    }
    if (c->mask && !c->shared_keys) /* what a mask hides may hold anything */
        for (int at = 0; at < (int)in->n_mask; at++)
            if (!in->mask[at])
                in->key[at * kv_stride] = in->value[at * kv_stride] = NAN;
    lks_bf16_round(in->key_halves, in->key, in->n_kv);
    lks_bf16_round(in->value_halves, in->value, in->n_kv);
    in->out = constant_floats(in->n_out, 9.0f);
    in->log_sum_exp = constant_floats(in->n_rows, 9.0f);
    in->map = constant_floats(in->n_rows * (size_t)c->n_keys, 9.0f);
    in->attention = (lks_attention){.kind = c->kind,
                                    .n_batch = c->n_batch,
                                    .n_heads = c->n_heads,
                                    .n_kv_heads = c->n_kv_heads,
                                    .d_head = c->d_head,
                                    .n_queries = c->n_queries,
                                    .n_keys = c->n_keys,
                                    .scale = 1.0f / sqrtf((float)c->d_head),
                                    .query = in->query,
                                    .query_row_stride = query_stride,
                                    .query_batch_stride = query_stride * c->n_queries,
                                    .key = halves ? NULL : in->key,
                                    .value = halves ? NULL : in->value,
                                    .key_bf16 = halves ? in->key_halves : NULL,
                                    .value_bf16 = halves ? in->value_halves : NULL,
                                    .kv_row_stride = kv_stride,
                                    .kv_batch_stride = kv_stride * c->n_keys,
                                    .kv_index = c->shared_keys ? in->index : NULL,
                                    .key_lengths = c->lengths ? in->lengths : NULL,
                                    .key_mask = c->mask ? in->mask : NULL,
                                    .causal = c->causal,
                                    .causal_offset = c->causal_offset,
                                    .n_prefix = c->n_prefix,
                                    .out = in->out,
                                    .out_row_stride = c->n_heads * c->d_head,
                                    .out_batch_stride = (int64_t)c->n_heads * c->d_head * c->n_queries,
                                    .log_sum_exp = in->log_sum_exp,
                                    .map = in->map};
}

static void release(inputs *in)
{
    free(in->query);
    free(in->key);
    free(in->value);
    free(in->key_halves);
    free(in->value_halves);
    free(in->mask);
    free(in->out);
    free(in->log_sum_exp);
    free(in->map);
}

/* The same on the device, whose outputs are undefined before. */
static lks_attention to_device(device_bench *b, const inputs *in, bool map)
{
    lks_attention a = in->attention;
    a.query = device_put(b, in->query, in->n_query * sizeof *in->query);
    if (a.key) {
        a.key = device_put(b, in->key, in->n_kv * sizeof *in->key);
        a.value = device_put(b, in->value, in->n_kv * sizeof *in->value);
    } else {
        a.key_bf16 = device_put(b, in->key_halves, in->n_kv * sizeof *in->key_halves);
        a.value_bf16 = device_put(b, in->value_halves, in->n_kv * sizeof *in->value_halves);
    }
    if (a.kv_index)
        a.kv_index = device_put(b, in->index, sizeof in->index);
    if (a.key_lengths)
        a.key_lengths = device_put(b, in->lengths, sizeof in->lengths);
    if (a.key_mask)
        a.key_mask = device_put(b, in->mask, in->n_mask);
    a.out = device_put(b, NULL, in->n_out * sizeof *a.out);
    a.log_sum_exp = device_put(b, NULL, in->n_rows * sizeof *a.log_sum_exp);
    a.map = map ? device_put(b, NULL, in->n_rows * (size_t)a.n_keys * sizeof *a.map) : NULL;
    return a;
}

static void check_form(device_bench *b, const attention_case *c, bool halves, bool tensor_cores)
{
    inputs in;
    make(&in, c, halves, tensor_cores);
    char what[160];
    snprintf(what, sizeof what, "batch %d, heads %d/%d, d_head %d, %d queries, %d keys%s%s", c->n_batch, c->n_heads,
             c->n_kv_heads, c->d_head, c->n_queries, c->n_keys, halves ? ", bf16" : "",
             tensor_cores ? ", tensor cores" : "");
    lks_attention plain = to_device(b, &in, false);
    b->reference.ops->attention(&b->reference, &in.attention);
    b->compute.rounds = tensor_cores;
    b->compute.ops->attention(&b->compute, &plain);
    b->compute.rounds = false;
    /* On tensor cores weights are rounded to 8 bits, and where keys and values are floats these, too. Scores of magnitude s carry an
     * absolute error of some s 2^-22 in f32; keys rounded to bf16 one of s 2^-9. */
    double spread = (double)c->spread;
    double tolerance = tensor_cores ? (halves ? 4e-3 : 4e-3 + 4e-3 * spread) : 2e-5 + 1e-6 * spread;
    double log_tolerance = tensor_cores && !halves ? 4e-3 * spread : 2e-5 + 1e-6 * spread;
    device_assert_close(b, plain.out, in.out, in.n_out, tolerance, what);
    device_assert_close(b, plain.log_sum_exp, in.log_sum_exp, in.n_rows, log_tolerance, what);
    if (!tensor_cores) {
        lks_attention mapped = to_device(b, &in, true);
        b->compute.ops->attention(&b->compute, &mapped);
        device_assert_close(b, mapped.map, in.map, in.n_rows * (size_t)c->n_keys, tolerance, what);
        device_assert_close(b, mapped.out, in.out, in.n_out, tolerance, what);
    }
    release(&in);
    device_reset(b);
}

static void check(device_bench *b, attention_case c)
{
    if (c.n_kv_heads == 0)
        c.n_kv_heads = c.n_heads;
    if (c.spread == 0.0f)
        c.spread = 1.0f;
    for (int halves = 0; halves < 2; halves++) {
        check_form(b, &c, halves != 0, false);
        if (c.n_queries > 8 && c.kind == LKS_ATTENTION_SOFTMAX)
            check_form(b, &c, halves != 0, true);
    }
}

static const int query_counts[] = {1, 3, 9, 25, 70};
#define COUNT(array) (sizeof(array) / sizeof *(array))

static void key_counts(void **state)
{
    (void)state;
    static const int counts[] = {1, 2, 31, 32, 33, 63, 64, 65, 127, 128, 129, 255, 577, 600};
    device_bench b;
    device_open(&b);
    for (size_t i = 0; i < COUNT(counts); i++)
        for (int q = 1; q <= 18; q += 17)
            check(&b, (attention_case){
                          .n_batch = 1, .n_heads = 2, .d_head = 64, .n_queries = q, .n_keys = counts[i], .spread = 3});
    device_close(&b);
}

static void head_widths(void **state)
{
    (void)state;
    static const int widths[] = {1, 3, 15, 16, 17, 32, 33, 48, 64, 65, 80, 96, 97, 128, 130, 300};
    device_bench b;
    device_open(&b);
    for (size_t i = 0; i < COUNT(widths); i++)
        for (int q = 2; q <= 19; q += 17)
            check(&b, (attention_case){.n_batch = 2, .n_heads = 3, .d_head = widths[i], .n_queries = q, .n_keys = 37});
    device_close(&b);
}

static void visibility(void **state)
{
    (void)state;
    device_bench b;
    device_open(&b);
    for (size_t i = 0; i < COUNT(query_counts); i++) {
        int q = query_counts[i];
        for (int flags = 0; flags < 16; flags++)
            check(&b, (attention_case){.n_batch = 3,
                                       .n_heads = 2,
                                       .d_head = 24,
                                       .n_queries = q,
                                       .n_keys = q + 21,
                                       .lengths = (flags & 1) != 0,
                                       .mask = (flags & 2) != 0,
                                       .causal = (flags & 4) != 0,
                                       .causal_offset = 21,
                                       .n_prefix = flags & 8 ? 30 : 0});
        check(&b, (attention_case){.n_batch = 1,
                                   .n_heads = 1,
                                   .d_head = 16,
                                   .n_queries = q,
                                   .n_keys = 40,
                                   .causal = true,
                                   .causal_offset = -5});
    }
    device_close(&b);
}

static void groups_and_beams(void **state)
{
    (void)state;
    device_bench b;
    device_open(&b);
    for (size_t i = 0; i < COUNT(query_counts); i++)
        check(&b, (attention_case){.n_batch = 5,
                                   .n_heads = 6,
                                   .n_kv_heads = 2,
                                   .d_head = 32,
                                   .n_queries = query_counts[i],
                                   .n_keys = 150,
                                   .shared_keys = true,
                                   .lengths = true,
                                   .mask = i % 2 == 0,
                                   .spread = 4});
    device_close(&b);
}

static void linear_kind(void **state)
{
    (void)state;
    device_bench b;
    device_open(&b);
    for (size_t i = 0; i < COUNT(query_counts); i++)
        check(&b, (attention_case){.kind = LKS_ATTENTION_LINEAR,
                                   .n_batch = 3,
                                   .n_heads = 2,
                                   .d_head = 40,
                                   .n_queries = query_counts[i],
                                   .n_keys = 140,
                                   .lengths = true,
                                   .causal = i % 2 != 0,
                                   .causal_offset = 20});
    device_close(&b);
}

/* A beam does not depend on how many there are: its numbers are the same, bit for bit. */
static void rows_alone(void **state)
{
    (void)state;
    device_bench b;
    device_open(&b);
    attention_case c = {.n_batch = 5,
                        .n_heads = 3,
                        .n_kv_heads = 3,
                        .d_head = 48,
                        .n_queries = 1,
                        .n_keys = 577,
                        .shared_keys = true,
                        .spread = 3};
    inputs in;
    make(&in, &c, false, false);
    lks_attention all = to_device(&b, &in, false), some = all;
    some.n_batch = 2;
    some.out = device_put(&b, NULL, in.n_out * sizeof *some.out);
    some.log_sum_exp = device_put(&b, NULL, in.n_rows * sizeof *some.log_sum_exp);
    b.compute.ops->attention(&b.compute, &all);
    b.compute.ops->attention(&b.compute, &some);
    size_t n = (size_t)(2 * c.n_heads * c.d_head);
    float *x = device_get(&b, all.out, n * sizeof *x), *y = device_get(&b, some.out, n * sizeof *y);
    assert_same(y, x, n, "two beams of five");
    free(x);
    free(y);
    release(&in);
    device_close(&b);
}

int main(void)
{
    device_need();
    const struct CMUnitTest tests[] = {cmocka_unit_test(key_counts),  cmocka_unit_test(head_widths),
                                       cmocka_unit_test(visibility),  cmocka_unit_test(groups_and_beams),
                                       cmocka_unit_test(linear_kind), cmocka_unit_test(rows_alone)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
