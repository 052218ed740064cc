/* Which image tokens spoke for a word: see lks_decoder_credit in decoder.h.
 *
 * The logit of a token is linear in what the cross-attention layers add to the residual stream, but for the layers in between and the
 * deviations that norms divide by. Along the residual stream alone, with the deviations as they were,
 *
 *     logit = ... + sum over layers l, heads h, image tokens j of   a[l, h, j] v[l, h, j] . t[l, h]
 *     t[l] = W_out[l]^T u[l],    u[l] = the row of the head matrix, taken back through the norms (and the head's dense layer)
 *
 * (a: attention, v: values. Direct attribution of a logit to parts of the residual stream: Elhage et al. 2021, "A mathematical
 * framework for transformer circuits"; attention weighted by what it carries: Kobayashi et al. 2020.) What all values of a head
 * have in common says nothing about places, so that each value counts by what it has over the mean of the image's patches:
 *
 *     credit[j] = sum over l, h of  a[l, h, j] (v[l, h, j] - mean over patches k of v[l, h, k]) . t[l, h] */
#include <stdlib.h>
#include <string.h>

#include "text/decoder_state.h"

enum { TURNED_ROWS = 8 };

typedef struct credit_job {
    const lks_decoder_state *state;
    lks_compute compute; /* on the host */
    const int32_t *rows; /* [n_tokens] */
    int position, n_tokens, n_prefix;
    float *direction;      /* u [n_tokens, d] */
    float *turned;         /* t [n_tokens, d] */
    float *rows_of_layer;  /* some rows of a weight matrix [TURNED_ROWS, d] */
    float *values;         /* of a layer's patches [patches, d] */
    float *scores;         /* [n_heads, patches] */
    float *dense, *nudged; /* [n_tokens, d] of the head's dense layer */
} credit_job;

static float dot(const float *a, const float *b, int n)
{
    enum { LANES = 8 };
    float sums[LANES] = {0}, sum = 0.0f;
    int i = 0;
    for (; i + LANES <= n; i += LANES)
        for (int k = 0; k < LANES; k++)
            sums[k] += a[i + k] * b[i + k];
    for (; i < n; i++)
        sum += a[i] * b[i];
    for (int k = 0; k < LANES; k++)
        sum += sums[k];
    return sum;
}

/* y [n] += sum over o < TURNED_ROWS of x[o] rows[o, :]. */
static void add_rows(float *restrict y, const float *restrict x, const float *restrict rows, int n)
{
    for (int k = 0; k < n; k++) {
        float sum = 0.0f;
        for (int o = 0; o < TURNED_ROWS; o++)
            sum += x[o] * rows[o * n + k];
        y[k] += sum;
    }
}

/* y [n_tokens, d_in] = x [n_tokens, d_out] w: a layer backwards. */
static void turn(const credit_job *job, float *y, const float *x, const lks_linear *layer)
{
    const int d_in = layer->d_in, d_out = layer->d_out;
    memset(y, 0, (size_t)job->n_tokens * (size_t)d_in * sizeof *y);
    for (int o = 0; o < d_out; o += TURNED_ROWS) {
        const int n = d_out - o < TURNED_ROWS ? d_out - o : TURNED_ROWS;
        for (int r = 0; r < n; r++)
            lks_linear_row(job->compute.ops, job->rows_of_layer + r * d_in, layer, o + r);
        for (int i = 0; i < job->n_tokens; i++) {
            float share[TURNED_ROWS] = {0};
            memcpy(share, x + (size_t)i * (size_t)d_out + o, (size_t)n * sizeof *share);
            add_rows(y + (size_t)i * (size_t)d_in, share, job->rows_of_layer, d_in);
        }
    }
}

/* A norm backwards, its mean left out: u = scale (weight u - mean(weight u)). */
static void unnorm(float *u, const lks_norm *norm, float scale, int d)
{
    double sum = 0.0;
    for (int i = 0; i < d; i++) {
        u[i] *= norm->weight[i];
        sum += (double)u[i];
    }
    float mean = (float)(sum / d);
    for (int i = 0; i < d; i++)
        u[i] = scale * (u[i] - mean);
}

static void unnorm_layer(const credit_job *job, int layer, int which, const lks_norm *norm)
{
    int d = job->state->decoder->config.width;
    for (int i = 0; i < job->n_tokens; i++)
        unnorm(job->direction + (size_t)i * (size_t)d, norm,
               lks_kept_scales(job->state, &job->state->seen.kept, job->position + i, job->rows[i], layer)[which], d);
}

/* The head's dense layer and activation backwards, with the slope of the activation where each token stood. */
static void turn_head_transform(const credit_job *job)
{
    const lks_decoder_state *s = job->state;
    const lks_decoder *decoder = s->decoder;
    const lks_compute *compute = &job->compute;
    size_t n = (size_t)job->n_tokens, d = (size_t)decoder->config.width;
    const float step = 1.0f / 256.0f;
    for (size_t i = 0; i < n; i++)
        memcpy(job->turned + i * d, lks_kept_last(s, &s->seen.kept, job->position + (int)i, job->rows[i]),
               d * sizeof(float));
    lks_linear_dense(compute, &decoder->ends.head_dense, job->dense, job->turned, (int)n, LKS_ACT_NONE, NULL);
    for (size_t i = 0; i < n * d; i++) {
        job->nudged[i] = job->dense[i] + step;
        job->dense[i] -= step;
    }
    lks_activation activation = lks_decoder_head_activation(&decoder->config);
    compute->ops->activate(compute, job->nudged, job->nudged, n * d, activation);
    compute->ops->activate(compute, job->dense, job->dense, n * d, activation);
    for (size_t i = 0; i < n; i++) {
        float *u = job->direction + i * d;
        unnorm(u, &decoder->ends.head_norm, 1.0f, (int)d);
        for (size_t k = 0; k < d; k++)
            u[k] *= (job->nudged[i * d + k] - job->dense[i * d + k]) / (2.0f * step);
    }
    turn(job, job->turned, job->direction, &decoder->ends.head_dense);
    memcpy(job->direction, job->turned, n * d * sizeof(float));
}

/* u at the end of the last layer. Norms that every layer's share goes through are not scaled: nobody compares tokens. */
static void start(const credit_job *job, const int32_t *tokens)
{
    const lks_decoder *decoder = job->state->decoder;
    int d = decoder->config.width;
    for (int i = 0; i < job->n_tokens; i++)
        lks_linear_row(job->compute.ops, job->direction + (size_t)i * (size_t)d, &decoder->ends.head, tokens[i]);
    if (decoder->config.head_transform)
        turn_head_transform(job);
    for (int i = 0; decoder->config.final_norm && i < job->n_tokens; i++)
        unnorm(job->direction + (size_t)i * (size_t)d, &decoder->ends.final_norm, 1.0f, d);
}

/* Adds what one layer's heads did for token i to credit [patches]. */
static void add_layer(const credit_job *job, float *credit, int layer, int i)
{
    const lks_decoder_state *s = job->state;
    const lks_decoder_config *c = &s->decoder->config;
    int d = c->width, d_head = d / c->n_heads, n = s->n_memory - job->n_prefix;
    const float *t = job->turned + (size_t)i * (size_t)d;
    for (int j = 0; j < n; j++)
        for (int h = 0; h < c->n_heads; h++)
            job->scores[h * n + j] = dot(job->values + (size_t)j * (size_t)d + h * d_head, t + h * d_head, d_head);
    const float *weights = lks_kept_weights(s, &s->seen.kept, job->position + i, layer, job->rows[i]) + job->n_prefix;
    for (int h = 0; h < c->n_heads; h++, weights += s->n_memory) {
        const float *scores = job->scores + h * n;
        double sum = 0.0;
        for (int j = 0; j < n; j++)
            sum += (double)scores[j];
        float mean = (float)(sum / n);
        for (int j = 0; j < n; j++)
            credit[j] += weights[j] * (scores[j] - mean);
    }
}

lks_status lks_decoder_credit(const lks_decoder_state *s, float *credit, const int32_t *tokens, const int32_t *rows,
                              int position, int n_tokens, int n_prefix, lks_error *err)
{
    const lks_decoder *decoder = s->decoder;
    const lks_decoder_config *c = &decoder->config;
    if (!s->kept.weights || position < 0 || n_tokens < 0 || n_tokens > s->position - position ||
        n_prefix >= s->n_memory)
        return lks_error_set(err, LKS_ERR_ARGUMENT, "the decoder kept no maps of these tokens");
    size_t n = (size_t)n_tokens, d = (size_t)c->width, patches = (size_t)(s->n_memory - n_prefix);
    memset(credit, 0, n * patches * sizeof *credit);
    float *block = calloc((4 * n + TURNED_ROWS + patches) * d + (size_t)c->n_heads * patches, sizeof *block);
    if (!block)
        return lks_error_set(err, LKS_ERR_NOMEM, "out of memory for the maps of %d tokens", n_tokens);
    lks_arena scratch = {0};
    lks_compute compute = s->compute;
    if (compute.queue) { /* the weights are on the host as well, and what was kept has been fetched */
        compute = (lks_compute){.ops = compute.ops->host, .threads = compute.threads, .scratch = &scratch};
        int n_threads = lks_threads_count(compute.threads);
        lks_status st = lks_arena_init(&scratch, lks_ops_scratch(n_threads, 1, 1, c->width), err);
        if (st != LKS_OK) {
            free(block);
            return st;
        }
    }
    const credit_job job = {.state = s,
                            .compute = compute,
                            .rows = rows,
                            .position = position,
                            .n_tokens = n_tokens,
                            .n_prefix = n_prefix,
                            .direction = block,
                            .turned = block + n * d,
                            .dense = block + 2 * n * d,
                            .nudged = block + 3 * n * d,
                            .rows_of_layer = block + 4 * n * d,
                            .values = block + (4 * n + TURNED_ROWS) * d,
                            .scores = block + (4 * n + TURNED_ROWS + patches) * d};
    start(&job, tokens);
    for (int layer = c->n_layers - 1; layer >= 0; layer--) {
        const lks_decoder_block *weights = &decoder->blocks[layer];
        if (!c->pre_norm) {
            unnorm_layer(&job, layer, LKS_NORM_MLP, &weights->norm_mlp);
            unnorm_layer(&job, layer, LKS_NORM_CROSS, &weights->norm_cross);
        }
        turn(&job, job.turned, job.direction, &weights->cross_out);
        for (size_t j = 0; j < patches; j++)
            lks_cross_value(job.values + j * d, s, layer, n_prefix + (int)j);
        for (int i = 0; i < n_tokens; i++)
            add_layer(&job, credit + (size_t)i * patches, layer, i);
        if (!c->pre_norm)
            unnorm_layer(&job, layer, LKS_NORM_SELF, &weights->norm_self);
    }
    lks_arena_release(&scratch);
    free(block);
    return LKS_OK;
}
