/* Attention of a device against the reference: 1 to 600 keys, lengths, masks, causal and prefix visibility, grouped queries, beams
 * that share keys, the linear kind, maps and log-sum-exp, queries that see nothing; in f32, and on tensor cores in bf16. */
#include "tests/cuda/device_test.h"
#include "tests/ops/attention_case.h"

/* The attention on the device, whose outputs are undefined before. */
static lks_attention to_device(device_bench *b, const attention_data *in, bool map)
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

static void check_form(device_bench *b, const attention_case *c)
{
    attention_data in;
    attention_open(&in, c);
    const bool tensor_cores = c->rounded_query;
    lks_attention plain = to_device(b, &in, false);
    b->reference.ops->attention(&b->reference, &in.attention);
    b->compute.rounds = tensor_cores;
    b->compute.ops->attention(&b->compute, &plain);
    b->compute.rounds = false;
    /* On tensor cores weights are rounded to 8 bits, and where keys and values are floats these, too: keys rounded to bf16 give
     * scores of magnitude s an absolute error of some s 2^-9. */
    const double spread = (double)in.c.spread, exact = attention_tolerance(&in);
    double tolerance = tensor_cores ? (c->halves ? 4e-3 : 4e-3 + 4e-3 * spread) : exact;
    double log_tolerance = tensor_cores && !c->halves ? 4e-3 * spread : exact;
    device_assert_close(b, plain.out, in.out, in.n_out, tolerance, in.what);
    device_assert_close(b, plain.log_sum_exp, in.log_sum_exp, in.n_rows, log_tolerance, in.what);
    if (!tensor_cores) {
        lks_attention mapped = to_device(b, &in, true);
        b->compute.ops->attention(&b->compute, &mapped);
        device_assert_close(b, mapped.map, in.map, in.n_map, tolerance, in.what);
        device_assert_close(b, mapped.out, in.out, in.n_out, tolerance, in.what);
    }
    attention_close(&in);
    device_reset(b);
}

/* In f32, and on tensor cores where these are used, whose queries are rounded. */
static void check(device_bench *b, attention_case c)
{
    for (int form = 0; form < 4; form++) {
        c.halves = form % 2 != 0;
        c.aligned = form / 2 != 0;
        c.query_gap = c.aligned ? 8 : 5;
        c.rounded_query = false;
        check_form(b, &c);
        c.rounded_query = true;
        if (c.n_queries > 8 && c.kind == LKS_ATTENTION_SOFTMAX)
            check_form(b, &c);
    }
}

static const int query_counts[] = {1, 3, 9, 25, 70};

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

/* More rows than are few, of many heads, each in several parts of the keys. */
static void many_rows(void **state)
{
    (void)state;
    static const int batches[] = {9, 16}, heads[] = {40, 70};
    device_bench b;
    device_open(&b);
    for (size_t i = 0; i < COUNT(batches); i++)
        check(&b, (attention_case){.n_batch = batches[i],
                                   .n_heads = heads[i],
                                   .d_head = 8,
                                   .n_queries = 1,
                                   .n_keys = 300,
                                   .lengths = true,
                                   .spread = 3});
    device_close(&b);
}

/* A beam does not depend on how many there are: its numbers are the same, bit for bit. */
static void rows_alone(void **state)
{
    (void)state;
    device_bench b;
    device_open(&b);
    attention_case c = {
        .n_batch = 5, .n_heads = 3, .d_head = 48, .n_queries = 1, .n_keys = 577, .shared_keys = true, .spread = 3};
    attention_data in;
    attention_open(&in, &c);
    lks_attention all = to_device(&b, &in, false), some = all;
    some.n_batch = 2;
    some.out = device_put(&b, NULL, in.n_out * sizeof *some.out);
    some.log_sum_exp = device_put(&b, NULL, in.n_rows * sizeof *some.log_sum_exp);
    b.compute.ops->attention(&b.compute, &all);
    b.compute.ops->attention(&b.compute, &some);
    size_t n = 2 * (size_t)c.n_heads * (size_t)c.d_head;
    float *x = device_get(&b, all.out, n * sizeof *x), *y = device_get(&b, some.out, n * sizeof *y);
    assert_same(y, x, n, "two beams of five");
    free(x);
    free(y);
    attention_close(&in);
    device_close(&b);
}

int main(void)
{
    device_need();
    const struct CMUnitTest tests[] = {cmocka_unit_test(key_counts),  cmocka_unit_test(head_widths),
                                       cmocka_unit_test(visibility),  cmocka_unit_test(groups_and_beams),
                                       cmocka_unit_test(linear_kind), cmocka_unit_test(many_rows),
                                       cmocka_unit_test(rows_alone)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
