/* Attention on tensor cores as the module's own parts call it, queries and results in bf16 or not, against the reference: cases drawn
 * at random from shapes at and beside the sizes of tiles. Hidden keys and values are NaN. */
#include "fusion/cuda/queue.cuh"

extern "C" {
#include "fusion/bf16.h"
#include "tests/cuda/device_test.h"
#include "tests/ops/attention_case.h"
}

static const int query_counts[] = {1, 3, 8, 15, 16, 17, 31, 33, 63, 64, 65, 97, 128, 129, 130};
static const int key_counts[] = {1, 2, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 129, 192, 577};
static const int widths[] = {1, 5, 8, 16, 20, 30, 32, 40, 64, 64, 72, 80, 96, 104, 128};

template <size_t N> static int any_of(uint32_t *seed, const int (&list)[N])
{
    return list[random_int(seed, 0, (int)N)];
}

static bool coin(uint32_t *seed)
{
    return random_int(seed, 0, 2) != 0;
}

static attention_case draw(uint32_t *seed)
{
    attention_case c = {};
    c.n_batch = random_int(seed, 1, 4);
    c.n_kv_heads = random_int(seed, 1, 3);
    c.n_heads = c.n_kv_heads * random_int(seed, 1, 3);
    c.d_head = any_of(seed, widths);
    c.n_queries = any_of(seed, query_counts);
    c.n_keys = any_of(seed, key_counts);
    c.aligned = random_int(seed, 0, 3) > 0;
    c.query_gap = c.aligned ? 16 : random_int(seed, 0, 8);
    c.lengths = coin(seed);
    c.mask = random_int(seed, 0, 4) == 0;
    c.shared_keys = random_int(seed, 0, 4) == 0;
    c.causal = random_int(seed, 0, 3) == 0;
    c.causal_offset = random_int(seed, -20, c.n_keys);
    c.n_prefix = coin(seed) ? random_int(seed, 0, c.n_keys + 1) : 0;
    c.spread = coin(seed) ? 1.0f : 400.0f;
    c.halves = true;
    c.rounded_query = true;
    return c;
}

/* Where no two rows of the batch share them, what no query may see becomes NaN. */
static void spoil_hidden(attention_data *in)
{
    const lks_attention *a = &in->attention;
    if (a->kv_index)
        return;
    for (int b = 0; b < a->n_batch; b++)
        for (int j = 0; j < a->n_keys; j++) {
            int last = a->n_queries - 1 + a->causal_offset;
            bool seen = (!a->key_lengths || j < a->key_lengths[b]) &&
                        (!a->key_mask || a->key_mask[b * a->n_keys + j]) &&
                        (!a->causal || j <= last || j < a->n_prefix);
            const int64_t row = b * a->kv_batch_stride + j * a->kv_row_stride;
            for (int64_t at = row; !seen && at < row + a->kv_row_stride; at++)
                in->key[at] = in->value[at] = NAN;
        }
    lks_bf16_round(in->key_halves, in->key, in->n_kv);
    lks_bf16_round(in->value_halves, in->value, in->n_kv);
}

enum form { ALL_BF16, FLOAT_QUERIES, ALL_FLOATS, FORM_COUNT };

static void check(device_bench *b, attention_data *in, form as)
{
    lks_attention a = in->attention;
    const bool floats = as == ALL_FLOATS;
    a.key = floats ? (const float *)device_put(b, in->key, in->n_kv * sizeof(float)) : NULL;
    a.value = floats ? (const float *)device_put(b, in->value, in->n_kv * sizeof(float)) : NULL;
    a.key_bf16 = floats ? NULL : (const uint16_t *)device_put(b, in->key_halves, in->n_kv * sizeof(uint16_t));
    a.value_bf16 = floats ? NULL : (const uint16_t *)device_put(b, in->value_halves, in->n_kv * sizeof(uint16_t));
    if (a.kv_index)
        a.kv_index = (const int32_t *)device_put(b, in->index, sizeof in->index);
    if (a.key_lengths)
        a.key_lengths = (const int32_t *)device_put(b, in->lengths, sizeof in->lengths);
    if (a.key_mask)
        a.key_mask = (const uint8_t *)device_put(b, in->mask, in->n_mask);
    a.log_sum_exp = (float *)device_put(b, NULL, in->n_rows * sizeof(float));
    a.map = NULL;
    a.query = NULL;
    a.out = NULL;
    float *out = (float *)malloc(in->n_out * sizeof *out);
    assert_non_null(out);
    if (as == ALL_BF16) {
        uint16_t *query = (uint16_t *)malloc(in->n_query * sizeof *query);
        assert_non_null(query);
        lks_bf16_round(query, in->query, in->n_query);
        uint16_t *results = (uint16_t *)device_put(b, NULL, in->n_out * sizeof *results);
        lks_cuda_attention_bf16(&b->compute, &a, (const uint16_t *)device_put(b, query, in->n_query * sizeof *query),
                                results);
        uint16_t *got = (uint16_t *)device_get(b, results, in->n_out * sizeof *got);
        for (size_t i = 0; i < in->n_out; i++)
            out[i] = lks_bf16_to_float(got[i]);
        free(got);
        free(query);
    } else {
        a.query = (const float *)device_put(b, in->query, in->n_query * sizeof *a.query);
        a.out = (float *)device_put(b, NULL, in->n_out * sizeof *a.out);
        lks_cuda_attention_mma(&b->compute, &a);
        float *got = (float *)device_get(b, a.out, in->n_out * sizeof *got);
        memcpy(out, got, in->n_out * sizeof *out);
        free(got);
    }
    /* Weights are rounded to 8 bits, and results where they are bf16. */
    assert_close(out, in->out, in->n_out, as == ALL_BF16 ? 8e-3 : 4e-3, in->what);
    device_assert_close(b, a.log_sum_exp, in->log_sum_exp, in->n_rows, attention_tolerance(in), in->what);
    free(out);
    device_reset(b);
}

static void random_cases(void **)
{
    device_bench b;
    device_open(&b);
    uint32_t seed = 1;
    static const float scales[] = {1.0f, 1.0f, 1.0f, -1.0f, 0.0f};
    for (int n = 0; n < 240; n++) {
        attention_case c = draw(&seed);
        attention_data in;
        attention_open(&in, &c);
        /* Numbers that bf16 holds exactly: then all forms have the same scores. */
        for (size_t i = 0; i < in.n_kv; i++) {
            in.key[i] = lks_bf16_to_float(in.key_halves[i]);
            in.value[i] = lks_bf16_to_float(in.value_halves[i]);
        }
        in.attention.scale *= scales[n % 5];
        in.attention.map = NULL;
        b.reference.ops->attention(&b.reference, &in.attention);
        spoil_hidden(&in);
        check(&b, &in, (form)(n % FORM_COUNT));
        attention_close(&in);
    }
    device_close(&b);
}

int main(void)
{
    device_need();
    const struct CMUnitTest tests[] = {cmocka_unit_test(random_cases)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
