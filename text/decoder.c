/* Running a decoder: see decoder.h. Rows are beams or samples of one image or several; each step appends one or more tokens to
 * every row. */
#include "text/decoder.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "text/decoder_state.h"

static size_t self_row_floats(const lks_decoder_state *s)
{
    return (size_t)s->max_positions * 2 * (size_t)s->decoder->config.width;
}

/* The keys and values at one of the places that rows have. */
static float *self_place(const lks_decoder_state *s, int layer, int place)
{
    return s->self_kv + ((size_t)layer * (size_t)s->max_rows + (size_t)place) * self_row_floats(s);
}

/* Numbers of keys and values of one layer and image. */
static size_t cross_count(const lks_decoder_state *s)
{
    return (size_t)s->n_memory * 2 * (size_t)s->decoder->config.width;
}

/* calloc(a * b * c * d, sizeof(float)) that refuses overflow. */
static float *take_floats(size_t a, size_t b, size_t c, size_t d)
{
    size_t n;
    if (!lks_size_mul(&n, a, b) || !lks_size_mul(&n, n, c) || !lks_size_mul(&n, n, d))
        return NULL;
    return calloc(n ? n : 1, sizeof(float));
}

static bool take_kept(lks_decoder_state *s)
{
    const lks_decoder_config *c = &s->decoder->config;
    size_t cells = (size_t)s->max_positions * (size_t)s->max_rows;
    s->kept.weights = take_floats(cells, (size_t)c->n_layers, (size_t)c->n_heads, (size_t)s->n_memory);
    s->kept.scales = take_floats(cells, (size_t)c->n_layers, LKS_NORM_COUNT, 1);
    s->kept.last = take_floats(cells, (size_t)c->width, 1, 1);
    return s->kept.weights && s->kept.scales && s->kept.last;
}

lks_status lks_decoder_state_open(lks_decoder_state **out, const lks_decoder *decoder, const lks_compute *compute,
                                  int max_rows, int max_positions, int n_memory, unsigned flags, lks_error *err)
{
    const lks_decoder_config *c = &decoder->config;
    if (max_positions > lks_decoder_max_positions(decoder))
        max_positions = lks_decoder_max_positions(decoder);
    lks_decoder_state *s = calloc(1, sizeof *s);
    if (!s)
        return lks_error_set(err, LKS_ERR_NOMEM, "out of memory for decoding");
    *s = (lks_decoder_state){.decoder = decoder,
                             .compute = *compute,
                             .max_rows = max_rows,
                             .max_positions = max_positions,
                             .max_memory = n_memory,
                             .n_images = 1,
                             .n_memory = n_memory};
    size_t layers = (size_t)c->n_layers, rows = (size_t)max_rows, d = (size_t)c->width;
    s->self_kv = take_floats(layers, rows, (size_t)max_positions, 2 * d);
    bool half = (flags & LKS_DECODER_BF16_MEMORY) != 0;
    if (half) /* two bf16 numbers in the room of a float */
        s->cross_bf16 = (uint16_t *)take_floats(layers, (size_t)n_memory, 1, d);
    else
        s->cross_kv = take_floats(layers, (size_t)n_memory, 2, d);
    s->places = calloc(rows, sizeof *s->places);
    s->images = calloc(rows, sizeof *s->images);
    s->spare = calloc(rows, 3 * sizeof *s->spare);
    bool kept = !(flags & LKS_DECODER_KEEP_MAPS) || take_kept(s);
    bool cross = half ? s->cross_bf16 != NULL : s->cross_kv != NULL;
    if (!s->self_kv || !cross || !s->places || !s->images || !s->spare || !kept) {
        lks_decoder_state_close(s);
        return lks_error_set(err, LKS_ERR_NOMEM, "out of memory for decoding %d rows of %d tokens", max_rows,
                             max_positions);
    }
    lks_decoder_begin(s, NULL, 1);
    *out = s;
    return LKS_OK;
}

void lks_decoder_state_close(lks_decoder_state *state)
{
    if (!state)
        return;
    free(state->self_kv);
    free(state->cross_kv);
    free(state->cross_bf16);
    free(state->kept.weights);
    free(state->kept.scales);
    free(state->kept.last);
    free(state->places);
    free(state->images);
    free(state->spare);
    free(state);
}

static int max_of(int a, int b)
{
    return a > b ? a : b;
}

/* Floats that one row of a step needs: x, normed, the widest hidden layer, the maps of one layer. */
static size_t step_floats_per_token(const lks_decoder_config *c)
{
    return (size_t)c->width * 3 + (size_t)max_of(4 * c->width, c->d_mlp);
}

size_t lks_decoder_scratch(const lks_decoder *decoder, int max_rows, int max_positions, int n_memory, int n_threads)
{
    const lks_decoder_config *c = &decoder->config;
    int d_head = c->width / c->n_heads,
        widest = max_of(max_of(c->d_mlp, 3 * c->width), max_of(c->d_memory, decoder->encoder_width));
    size_t tokens = (size_t)max_of(max_rows, max_positions);
    size_t step = lks_arena_cost(tokens * step_floats_per_token(c), sizeof(float)) +
                  lks_arena_cost(tokens * (size_t)c->n_heads * (size_t)n_memory, sizeof(float)) + 8 * LKS_ALIGNMENT;
    size_t begin = lks_arena_cost((size_t)n_memory * (size_t)c->d_memory, sizeof(float)) +
                   lks_arena_cost((size_t)n_memory * 2 * (size_t)c->width, sizeof(float));
    size_t ops = lks_ops_scratch(n_threads, max_of(n_memory, max_positions), d_head, widest);
    size_t top = lks_linear_top_scratch(n_threads, max_rows, c->width, c->vocab_size, LKS_DECODER_MAX_TOP);
    return (step > begin ? step : begin) + (ops > top ? ops : top);
}

void lks_decoder_attend(lks_decoder_state *s, int n_images, int n_memory)
{
    assert(n_images >= 1 && n_memory >= 1 && n_memory <= s->max_memory / n_images);
    s->n_images = n_images;
    s->n_memory = n_memory;
    lks_decoder_begin(s, NULL, 1);
}

lks_status lks_decoder_look(const lks_compute *compute, lks_decoder_state *s, int image, const float *tokens,
                            lks_error *err)
{
    const lks_decoder *decoder = s->decoder;
    const int d_memory = decoder->config.d_memory;
    size_t mark = lks_arena_mark(compute->scratch);
    lks_status full = LKS_OK;
    const float *memory = tokens;
    if (decoder->ends.memory_proj.d_out) {
        float *projected = lks_arena_take(compute->scratch, (size_t)s->n_memory * (size_t)d_memory, sizeof *projected);
        if (!projected)
            goto full;
        lks_linear_dense(compute, &decoder->ends.memory_proj, projected, tokens, s->n_memory, LKS_ACT_NONE, NULL);
        memory = projected;
    }
    float *rounded = s->cross_kv ? NULL : lks_arena_take(compute->scratch, cross_count(s), sizeof *rounded);
    if (!s->cross_kv && !rounded)
        goto full;
    for (int layer = 0; layer < decoder->config.n_layers; layer++) {
        size_t at = lks_cross_at(s, layer, image);
        float *to = s->cross_kv ? s->cross_kv + at : rounded;
        lks_linear_dense(compute, &decoder->blocks[layer].cross_kv, to, memory, s->n_memory, LKS_ACT_NONE, NULL);
        if (!s->cross_kv)
            lks_bf16_round(s->cross_bf16 + at, rounded, cross_count(s));
    }
    goto done;
full:
    full = lks_error_set(err, LKS_ERR_NOMEM, "the activation arena is too small for the decoder");
done:
    lks_arena_reset(compute->scratch, mark);
    return full;
}

void lks_decoder_begin(lks_decoder_state *s, const int32_t *images, int n_rows)
{
    for (int i = 0; i < s->max_rows; i++) {
        s->places[i] = i;
        s->images[i] = images && i < n_rows ? images[i] : 0;
    }
    s->n_rows = n_rows;
    s->position = 0;
}

/* What one step works on: [n_rows * n_tokens] token positions, all activations row-major. */
typedef struct step {
    lks_decoder_state *state;
    int n_rows, n_tokens, n; /* n = n_rows * n_tokens */
    float *x, *normed, *mixed, *hidden, *weights;
} step;

static float attention_scale(const lks_decoder_config *c, int layer)
{
    int d_head = c->width / c->n_heads;
    float scale = c->unscaled ? 1.0f : 1.0f / sqrtf((float)d_head);
    return c->scale_by_layer ? scale / (float)(layer + 1) : scale;
}

static void norm(const step *t, float *y, const float *x, const lks_norm *weights)
{
    const lks_decoder_config *c = &t->state->decoder->config;
    t->state->compute.ops->layer_norm(&t->state->compute, y, x, t->n, c->width, weights->weight, weights->bias, c->eps);
}

/* Keeps 1 / deviation of the rows that layer `index` normalises next. */
static void keep_scales(const step *t, int index, int which)
{
    lks_decoder_state *s = t->state;
    int d = s->decoder->config.width;
    for (int i = 0; i < t->n; i++) {
        const float *x = t->x + (size_t)i * (size_t)d;
        double sum = 0.0, squares = 0.0;
        for (int k = 0; k < d; k++) {
            sum += (double)x[k];
            squares += (double)x[k] * (double)x[k];
        }
        double variance = fmax(squares / d - sum / d * (sum / d), 0.0);
        lks_kept_scales(s, s->position + i % t->n_tokens, i / t->n_tokens, index)[which] =
            (float)(1.0 / sqrt(variance + (double)s->decoder->config.eps));
    }
}

/* x += layer(input), and post-norm models normalise the sum. */
static void residual(const step *t, const lks_linear *layer, const float *input, const lks_norm *weights, int index,
                     int which)
{
    lks_linear_dense(&t->state->compute, layer, t->x, input, t->n, LKS_ACT_NONE, t->x);
    if (t->state->decoder->config.pre_norm)
        return;
    if (t->state->kept.scales)
        keep_scales(t, index, which);
    norm(t, t->x, t->x, weights);
}

/* What a sub-layer reads: the normalised x of a pre-norm model, x itself otherwise. */
static const float *sublayer_input(const step *t, const lks_norm *weights)
{
    if (!t->state->decoder->config.pre_norm)
        return t->x;
    norm(t, t->normed, t->x, weights);
    return t->normed;
}

static void self_attention(const step *t, int layer)
{
    lks_decoder_state *s = t->state;
    const lks_decoder_config *c = &s->decoder->config;
    const lks_decoder_block *block = &s->decoder->blocks[layer];
    int d = c->width;
    lks_linear_dense(&s->compute, &block->self_qkv, t->hidden, sublayer_input(t, &block->norm_self), t->n, LKS_ACT_NONE,
                     NULL);
    for (int row = 0; row < t->n_rows; row++)
        for (int i = 0; i < t->n_tokens; i++)
            memcpy(self_place(s, layer, s->places[row]) + (size_t)(s->position + i) * 2 * (size_t)d,
                   t->hidden + (size_t)(row * t->n_tokens + i) * 3 * (size_t)d + d, 2 * (size_t)d * sizeof(float));
    lks_attention attention = {
        .n_batch = t->n_rows,
        .n_heads = c->n_heads,
        .n_kv_heads = c->n_heads,
        .d_head = d / c->n_heads,
        .n_queries = t->n_tokens,
        .n_keys = s->position + t->n_tokens,
        .scale = attention_scale(c, layer),
        .query = t->hidden,
        .query_row_stride = 3 * d,
        .query_batch_stride = (int64_t)t->n_tokens * 3 * d,
        .key = self_place(s, layer, 0),
        .value = self_place(s, layer, 0) + d,
        .kv_row_stride = 2 * d,
        .kv_batch_stride = (int64_t)self_row_floats(s),
        .kv_index = s->places,
        .causal = true,
        .causal_offset = s->position,
        .out = t->mixed,
        .out_row_stride = d,
        .out_batch_stride = (int64_t)t->n_tokens * d,
    };
    s->compute.ops->attention(&s->compute, &attention);
    residual(t, &block->self_out, t->mixed, &block->norm_self, layer, LKS_NORM_SELF);
}

/* Keeps this layer's weights of a step that fed several tokens; those of a single token are written where they are kept. */
static void keep_weights(const step *t, int layer)
{
    lks_decoder_state *s = t->state;
    size_t n_heads = (size_t)s->decoder->config.n_heads, n = (size_t)s->n_memory;
    for (int row = 0; row < t->n_rows; row++)
        for (int i = 0; i < t->n_tokens; i++)
            for (size_t h = 0; h < n_heads; h++)
                memcpy(lks_kept_weights(s, s->position + i, layer, row) + h * n,
                       t->weights + (((size_t)row * n_heads + h) * (size_t)t->n_tokens + (size_t)i) * n,
                       n * sizeof(float));
}

static void cross_attention(const step *t, int layer)
{
    lks_decoder_state *s = t->state;
    const lks_decoder_config *c = &s->decoder->config;
    const lks_decoder_block *block = &s->decoder->blocks[layer];
    int d = c->width;
    lks_linear_dense(&s->compute, &block->cross_q, t->hidden, sublayer_input(t, &block->norm_cross), t->n, LKS_ACT_NONE,
                     NULL);
    lks_attention attention = {
        .n_batch = t->n_rows,
        .n_heads = c->n_heads,
        .n_kv_heads = c->n_heads,
        .d_head = d / c->n_heads,
        .n_queries = t->n_tokens,
        .n_keys = s->n_memory,
        .scale = attention_scale(c, layer),
        .query = t->hidden,
        .query_row_stride = d,
        .query_batch_stride = (int64_t)t->n_tokens * d,
        .kv_row_stride = 2 * d,
        .kv_batch_stride = (int64_t)cross_count(s),
        .kv_index = s->images,
        .out = t->mixed,
        .out_row_stride = d,
        .out_batch_stride = (int64_t)t->n_tokens * d,
    };
    size_t at = lks_cross_at(s, layer, 0);
    if (s->cross_kv) {
        attention.key = s->cross_kv + at;
        attention.value = attention.key + d;
    } else {
        attention.key_bf16 = s->cross_bf16 + at;
        attention.value_bf16 = attention.key_bf16 + d;
    }
    bool keep = s->kept.weights != NULL, in_place = keep && t->n_tokens == 1;
    if (keep)
        attention.map = in_place ? lks_kept_weights(s, s->position, layer, 0) : t->weights;
    s->compute.ops->attention(&s->compute, &attention);
    if (keep && !in_place)
        keep_weights(t, layer);
    residual(t, &block->cross_out, t->mixed, &block->norm_cross, layer, LKS_NORM_CROSS);
}

static void mlp(const step *t, int layer)
{
    lks_decoder_state *s = t->state;
    const lks_decoder_config *c = &s->decoder->config;
    const lks_decoder_block *block = &s->decoder->blocks[layer];
    lks_linear_dense(&s->compute, &block->fc1, t->hidden, sublayer_input(t, &block->norm_mlp), t->n, c->activation,
                     NULL);
    residual(t, &block->fc2, t->hidden, &block->norm_mlp, layer, LKS_NORM_MLP);
}

/* x = scale * token + position (+ token type), normalised where the family does. */
static void embed(const step *t, const int32_t *tokens)
{
    lks_decoder_state *s = t->state;
    const lks_decoder *decoder = s->decoder;
    const lks_decoder_config *c = &decoder->config;
    const float *positions = decoder->positions ? decoder->positions : decoder->ends.positions;
    int d = c->width;
    s->compute.ops->embed(&s->compute, t->x, decoder->ends.tokens, tokens, t->n, d, c->embedding_scale);
    for (int i = 0; i < t->n; i++) {
        int at = s->position + i % t->n_tokens + c->position_offset;
        if (tokens[i] == c->padding_id)
            at = c->padding_id;
        const float *position = positions + (size_t)at * (size_t)d;
        float *row = t->x + (size_t)i * (size_t)d;
        for (int j = 0; j < d; j++)
            row[j] += position[j];
    }
    if (c->embedding_norm)
        norm(t, t->x, t->x, &decoder->ends.embedding_norm);
}

lks_activation lks_decoder_head_activation(const lks_decoder_config *c)
{
    return c->family == LKS_DECODER_ROBERTA ? LKS_ACT_GELU : c->activation;
}

/* What the head reads of the last token of every row: [n_rows, d]. */
static const float *head_input(const step *t)
{
    lks_decoder_state *s = t->state;
    const lks_decoder *decoder = s->decoder;
    const lks_decoder_config *c = &decoder->config;
    const lks_compute *compute = &s->compute;
    int d = c->width, n = t->n_rows;
    float *last = t->mixed;
    for (int row = 0; row < n; row++)
        memcpy(last + (size_t)row * (size_t)d, t->x + (size_t)(row * t->n_tokens + t->n_tokens - 1) * (size_t)d,
               (size_t)d * sizeof *last);
    if (c->final_norm)
        compute->ops->layer_norm(compute, last, last, n, d, decoder->ends.final_norm.weight,
                                 decoder->ends.final_norm.bias, c->eps);
    for (int row = 0; s->kept.last && row < n; row++)
        memcpy(lks_kept_last(s, s->position + t->n_tokens - 1, row), last + (size_t)row * (size_t)d,
               (size_t)d * sizeof *last);
    if (c->head_transform) {
        lks_linear_dense(compute, &decoder->ends.head_dense, t->hidden, last, n, lks_decoder_head_activation(c), NULL);
        compute->ops->layer_norm(compute, t->hidden, t->hidden, n, d, decoder->ends.head_norm.weight,
                                 decoder->ends.head_norm.bias, c->eps);
        last = t->hidden;
    }
    return last;
}

/* One step, up to logits [n_rows, vocab] or, without them, to the likeliest tokens. */
static lks_status run_step(lks_decoder_state *s, float *logits, const lks_top *top, const int32_t *tokens, int n_rows,
                           int n_tokens, lks_error *err)
{
    const lks_decoder_config *c = &s->decoder->config;
    if (n_rows < 1 || n_rows > s->max_rows || n_tokens < 1 || n_tokens > s->max_positions - s->position)
        return lks_error_set(err, LKS_ERR_ARGUMENT, "the text is longer than the %d tokens this model can hold",
                             s->max_positions);
    for (int i = 0; i < n_rows * n_tokens; i++)
        if (tokens[i] < 0 || tokens[i] >= c->vocab_size)
            return lks_error_set(err, LKS_ERR_MODEL, "token %d is outside the decoder's vocabulary of %d",
                                 (int)tokens[i], c->vocab_size);
    size_t mark = lks_arena_mark(s->compute.scratch);
    size_t n = (size_t)n_rows * (size_t)n_tokens, d = (size_t)c->width;
    step t = {.state = s, .n_rows = n_rows, .n_tokens = n_tokens, .n = (int)n};
    t.x = lks_arena_take(s->compute.scratch, n * d, sizeof(float));
    t.normed = lks_arena_take(s->compute.scratch, n * d, sizeof(float));
    t.mixed = lks_arena_take(s->compute.scratch, n * d, sizeof(float));
    t.hidden = lks_arena_take(s->compute.scratch, n * (size_t)max_of(4 * c->width, c->d_mlp), sizeof(float));
    bool full = !t.x || !t.normed || !t.mixed || !t.hidden;
    if (s->kept.weights) {
        t.weights = lks_arena_take(s->compute.scratch, n * (size_t)c->n_heads * (size_t)s->n_memory, sizeof(float));
        full |= !t.weights;
    }
    if (full) {
        lks_arena_reset(s->compute.scratch, mark);
        return lks_error_set(err, LKS_ERR_NOMEM, "the activation arena is too small for the decoder");
    }
    embed(&t, tokens);
    for (int layer = 0; layer < c->n_layers; layer++) {
        self_attention(&t, layer);
        cross_attention(&t, layer);
        mlp(&t, layer);
    }
    const lks_linear *head = &s->decoder->ends.head;
    if (logits)
        lks_linear_dense(&s->compute, head, logits, head_input(&t), n_rows, LKS_ACT_NONE, NULL);
    else
        lks_linear_top(&s->compute, head, top, head_input(&t), n_rows);
    lks_arena_reset(s->compute.scratch, mark);
    s->n_rows = n_rows;
    s->position += n_tokens;
    return LKS_OK;
}

lks_status lks_decoder_step(void *context, float *logits, const int32_t *tokens, int n_rows, int n_tokens,
                            lks_error *err)
{
    return run_step(context, logits, NULL, tokens, n_rows, n_tokens, err);
}

lks_status lks_decoder_step_top(void *context, const lks_top *top, const int32_t *tokens, int n_rows, int n_tokens,
                                lks_error *err)
{
    return run_step(context, NULL, top, tokens, n_rows, n_tokens, err);
}

/* The first row that continues a parent takes its place; the others get copies, in places that nobody needs any more. */
void lks_decoder_reorder(void *context, const int32_t *parents, int n_rows)
{
    enum { NOWHERE = -1 };
    lks_decoder_state *s = context;
    size_t used = (size_t)s->position * 2 * (size_t)s->decoder->config.width;
    int32_t *places = s->spare, *images = places + s->max_rows, *taken = images + s->max_rows;
    assert(n_rows <= s->max_rows);
    memset(taken, 0, (size_t)s->max_rows * sizeof *taken);
    for (int i = 0; i < n_rows; i++) {
        int32_t place = s->places[parents[i]];
        places[i] = taken[place] ? NOWHERE : place;
        images[i] = s->images[parents[i]];
        taken[place] = 1;
    }
    for (int i = 0, place = 0; i < n_rows; i++) {
        if (places[i] != NOWHERE)
            continue;
        while (taken[place])
            place++;
        taken[place] = 1;
        places[i] = place;
        for (int layer = 0; layer < s->decoder->config.n_layers; layer++)
            memcpy(self_place(s, layer, place), self_place(s, layer, s->places[parents[i]]), used * sizeof *s->self_kv);
    }
    memcpy(s->places, places, (size_t)n_rows * sizeof *places);
    memcpy(s->images, images, (size_t)n_rows * sizeof *images);
    s->n_rows = n_rows;
}

bool lks_decoder_map(const lks_decoder_state *s, float *map, int row, int position)
{
    if (!s->kept.weights || row < 0 || row >= s->max_rows || position < 0 || position >= s->position)
        return false;
    int n_heads = s->decoder->config.n_heads, n = s->n_memory;
    for (int layer = 0; layer < s->decoder->config.n_layers; layer++, map += n) {
        const float *from = lks_kept_weights(s, position, layer, row);
        memset(map, 0, (size_t)n * sizeof *map);
        for (int h = 0; h < n_heads; h++, from += n)
            for (int j = 0; j < n; j++)
                map[j] += from[j] / (float)n_heads;
    }
    return true;
}
