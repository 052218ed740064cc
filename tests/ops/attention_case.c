/* See attention_case.h. */
#include "tests/ops/attention_case.h"

#include <math.h>

static void name_case(attention_data *data)
{
    const attention_case *c = &data->c;
    snprintf(data->what, sizeof data->what, "batch %d, heads %d/%d, d_head %d, %d queries, %d keys%s%s%s", c->n_batch,
             c->n_heads, c->n_kv_heads, c->d_head, c->n_queries, c->n_keys, c->halves ? ", bf16" : "",
             c->rounded_query ? ", rounded queries" : "", c->aligned ? ", aligned" : "");
}

/* Which keys are seen: none in the first row of the batch by its length, none in the second by the mask. */
static void hide_keys(attention_data *data, int64_t kv_stride)
{
    const attention_case *c = &data->c;
    uint32_t seed = 7;
    for (int b = 0; b < c->n_batch; b++) {
        data->index[b] = (b + 1) % 2;
        data->lengths[b] = b == 0 ? 0 : random_int(&seed, 1, c->n_keys + 1);
        for (int j = 0; j < c->n_keys; j++)
            data->mask[b * c->n_keys + j] = b != 1 && random_int(&seed, 0, 3) > 0;
    }
    if (c->mask && !c->shared_keys) /* what a mask hides may hold anything */
        for (int at = 0; at < (int)data->n_mask; at++)
            if (!data->mask[at])
                data->key[at * kv_stride] = data->value[at * kv_stride] = NAN;
}

void attention_open(attention_data *data, const attention_case *of)
{
    *data = (attention_data){.c = *of};
    attention_case *c = &data->c;
    if (c->n_kv_heads == 0)
        c->n_kv_heads = c->n_heads;
    if (c->spread == 0.0f)
        c->spread = 1.0f;
    name_case(data);
    assert_true(c->n_batch <= ATTENTION_MAX_BATCH);
    const int d_query = c->n_heads * c->d_head, n_entries = c->shared_keys ? 2 : c->n_batch;
    const int64_t query_stride = d_query + c->query_gap, kv_stride = c->n_kv_heads * c->d_head + (c->aligned ? 8 : 3);
    const size_t n_queries = (size_t)c->n_batch * (size_t)c->n_queries;
    data->n_query = n_queries * (size_t)query_stride;
    data->n_kv = (size_t)n_entries * (size_t)c->n_keys * (size_t)kv_stride;
    data->n_mask = (size_t)c->n_batch * (size_t)c->n_keys;
    data->n_out = n_queries * (size_t)d_query;
    data->n_rows = n_queries * (size_t)c->n_heads;
    data->n_map = data->n_rows * (size_t)c->n_keys;

    data->query = random_floats(data->n_query, 1);
    data->key = random_floats(data->n_kv, 2);
    data->value = random_floats(data->n_kv, 3);
    data->mask = malloc(data->n_mask);
    data->key_halves = malloc(data->n_kv * sizeof *data->key_halves);
    data->value_halves = malloc(data->n_kv * sizeof *data->value_halves);
    assert_true(data->mask && data->key_halves && data->value_halves);
    for (size_t i = 0; i < data->n_query; i++) {
        data->query[i] *= c->spread;
        if (c->rounded_query)
            data->query[i] = lks_bf16_to_float(lks_bf16_from_float(data->query[i]));
    }
    hide_keys(data, kv_stride);
    lks_bf16_round(data->key_halves, data->key, data->n_kv);
    lks_bf16_round(data->value_halves, data->value, data->n_kv);
    data->out = constant_floats(data->n_out, 9.0f);
    data->log_sum_exp = constant_floats(data->n_rows, 9.0f);
    data->map = constant_floats(data->n_map, 9.0f);
    data->attention = (lks_attention){.kind = c->kind,
                                      .n_batch = c->n_batch,
                                      .n_heads = c->n_heads,
                                      .n_kv_heads = c->n_kv_heads,
                                      .d_head = c->d_head,
                                      .n_queries = c->n_queries,
                                      .n_keys = c->n_keys,
                                      .scale = 1.0f / sqrtf((float)c->d_head),
                                      .query = data->query,
                                      .query_row_stride = query_stride,
                                      .query_batch_stride = query_stride * c->n_queries,
                                      .key = c->halves ? NULL : data->key,
                                      .value = c->halves ? NULL : data->value,
                                      .key_bf16 = c->halves ? data->key_halves : NULL,
                                      .value_bf16 = c->halves ? data->value_halves : NULL,
                                      .kv_row_stride = kv_stride,
                                      .kv_batch_stride = kv_stride * c->n_keys,
                                      .kv_index = c->shared_keys ? data->index : NULL,
                                      .key_lengths = c->lengths ? data->lengths : NULL,
                                      .key_mask = c->mask ? data->mask : NULL,
                                      .causal = c->causal,
                                      .causal_offset = c->causal_offset,
                                      .n_prefix = c->n_prefix,
                                      .out = data->out,
                                      .out_row_stride = d_query,
                                      .out_batch_stride = (int64_t)d_query * c->n_queries,
                                      .log_sum_exp = data->log_sum_exp,
                                      .map = data->map};
}

void attention_close(attention_data *data)
{
    free(data->query);
    free(data->key);
    free(data->value);
    free(data->key_halves);
    free(data->value_halves);
    free(data->mask);
    free(data->out);
    free(data->log_sum_exp);
    free(data->map);
}

double attention_tolerance(const attention_data *data)
{
    return 2e-5 + 1e-6 * (double)data->c.spread;
}
