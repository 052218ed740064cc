/* A transformer's layer from the ops of the table, for tables that do not have it as one: see lks_block. */
#include <assert.h>

#include "fusion/ops.h"

static bool is_fused(const lks_ops *ops, const lks_block *block, int n_tokens)
{
    return ops->block && ops->block_fits(block, n_tokens);
}

/* Columns of the widest row beside x: queries, keys, values and what attention makes of them, or the MLP's hidden layer. */
static size_t hidden_columns(const lks_block *block)
{
    size_t d = (size_t)block->qkv.d_in, mlp = (size_t)block->fc1.d_out + (size_t)(block->gated ? block->fc2.d_in : 0);
    return 4 * d > mlp ? 4 * d : mlp;
}

size_t lks_block_scratch(const lks_ops *ops, const lks_block *block, int n_batch, int n_tokens)
{
    size_t n = (size_t)n_batch * (size_t)n_tokens;
    if (is_fused(ops, block, n_tokens))
        return 0;
    return lks_arena_cost(n * (size_t)block->qkv.d_in, sizeof(float)) +
           lks_arena_cost(n * hidden_columns(block), sizeof(float));
}

/* mixed [n_batch, n_tokens, d] = the attention of qkv [n_batch, n_tokens, 3 d]. */
static void attend(const lks_compute *compute, const lks_block *block, float *mixed, const float *qkv, int n_batch,
                   int n_tokens)
{
    int d = block->qkv.d_in;
    lks_attention attention = lks_attention_of_qkv(n_batch, n_tokens, block->n_heads, d / block->n_heads, d);
    attention.query = qkv;
    attention.key = qkv + d;
    attention.value = qkv + 2 * d;
    attention.out = mixed;
    compute->ops->attention(compute, &attention);
}

/* x += scale * layer(input). */
static void add_layer(const lks_compute *compute, const lks_linear *layer, float *x, float *spare, const float *input,
                      int n, const float *scale)
{
    if (!scale) {
        lks_linear_dense(compute, layer, x, input, n, LKS_ACT_NONE, x);
        return;
    }
    lks_linear_dense(compute, layer, spare, input, n, LKS_ACT_NONE, NULL);
    compute->ops->add_scaled(compute, x, x, spare, scale, n, layer->d_out);
}

void lks_block_run(const lks_compute *compute, const lks_block *block, float *x, int n_batch, int n_tokens)
{
    const lks_ops *ops = compute->ops;
    if (is_fused(ops, block, n_tokens)) {
        ops->block(compute, block, x, n_batch, n_tokens, LKS_BLOCK_ALL);
        return;
    }
    const size_t mark = lks_arena_mark(compute->scratch);
    int n = n_batch * n_tokens, d = block->qkv.d_in, d_mlp = block->fc2.d_in;
    float *normed = lks_arena_take(compute->scratch, (size_t)n * (size_t)d, sizeof *normed);
    float *hidden = lks_arena_take(compute->scratch, (size_t)n * hidden_columns(block), sizeof *hidden);
    assert(normed && hidden);

    ops->layer_norm(compute, normed, x, n, d, block->norm1.weight, block->norm1.bias, block->eps);
    lks_linear_dense(compute, &block->qkv, hidden, normed, n, LKS_ACT_NONE, NULL);
    float *mixed = hidden + (size_t)n * 3 * (size_t)d;
    attend(compute, block, mixed, hidden, n_batch, n_tokens);
    add_layer(compute, &block->proj, x, normed, mixed, n, block->scale1);

    ops->layer_norm(compute, normed, x, n, d, block->norm2.weight, block->norm2.bias, block->eps);
    if (block->gated) {
        float *gated = hidden + (size_t)n * 2 * (size_t)d_mlp;
        lks_linear_dense(compute, &block->fc1, hidden, normed, n, LKS_ACT_NONE, NULL);
        ops->gated(compute, gated, hidden, n, d_mlp, block->activation);
        hidden = gated;
    } else {
        lks_linear_dense(compute, &block->fc1, hidden, normed, n, block->activation, NULL);
    }
    add_layer(compute, &block->fc2, x, normed, hidden, n, block->scale2);
    lks_arena_reset(compute->scratch, mark);
}
