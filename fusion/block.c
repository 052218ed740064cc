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

bool lks_block_attends_int8(const lks_ops *ops, const lks_block *block, int n_tokens)
{
    enum { LEAST = 64 };
    return ops->attention_int8 && n_tokens >= LEAST && lks_linear_precision(&block->qkv) == LKS_PRECISION_INT8;
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
    if (!lks_block_attends_int8(compute->ops, block, n_tokens) || !compute->ops->attention_int8(compute, &attention))
        compute->ops->attention(compute, &attention);
}

/* y = activation(layer(norm(x))); `normed` has room for what lies between. */
static void run_normed(const lks_compute *compute, const lks_linear *layer, float *y, float *normed, const float *x,
                       int n, const lks_norm *norm, float eps, lks_activation activation)
{
    const lks_ops *ops = compute->ops;
    lks_linear_args args = {
        .n = n, .x = x, .x_stride = layer->d_in, .y = y, .y_stride = layer->d_out, .activation = activation};
    if (ops->linear_fuses && ops->linear_fuses(layer)) {
        args.norm = norm;
        args.norm_eps = eps;
    } else {
        ops->layer_norm(compute, normed, x, n, layer->d_in, norm->weight, norm->bias, eps);
        args.x = normed;
    }
    lks_linear_run(compute, layer, &args);
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

    run_normed(compute, &block->qkv, hidden, normed, x, n, &block->norm1, block->eps, LKS_ACT_NONE);
    float *mixed = hidden + (size_t)n * 3 * (size_t)d;
    attend(compute, block, mixed, hidden, n_batch, n_tokens);
    add_layer(compute, &block->proj, x, normed, mixed, n, block->scale1);

    run_normed(compute, &block->fc1, hidden, normed, x, n, &block->norm2, block->eps,
               block->gated ? LKS_ACT_NONE : block->activation);
    if (block->gated) {
        float *gated = hidden + (size_t)n * 2 * (size_t)d_mlp;
        ops->gated(compute, gated, hidden, n, d_mlp, block->activation);
        hidden = gated;
    }
    add_layer(compute, &block->fc2, x, normed, hidden, n, block->scale2);
    lks_arena_reset(compute->scratch, mark);
}
