/* Running a decoder: see decoder.h. Rows are beams or samples of one image or several; each step appends one or more tokens to
 * every row. */
#include "text/decoder.h"

#include <math.h>

#include "text/decoder_state.h"

static int max_of(int a, int b)
{
    return a > b ? a : b;
}

/* Floats that one row of a step needs: x, normed, the widest hidden layer, the maps of one layer. */
static size_t step_floats_per_token(const lks_decoder_config *c)
{
    return (size_t)c->width * 3 + (size_t)max_of(4 * c->width, c->d_mlp) + 1;
}

static int widest_input(const lks_decoder *decoder)
{
    const lks_decoder_config *c = &decoder->config;
    return max_of(max_of(c->d_mlp, 3 * c->width), max_of(c->d_memory, decoder->encoder_width));
}

size_t lks_decoder_look_scratch(const lks_decoder *decoder, int n_images, int n_memory, int n_threads)
{
    const lks_decoder_config *c = &decoder->config;
    size_t n = (size_t)n_images * (size_t)n_memory;
    return lks_arena_cost(n * (size_t)c->d_memory, sizeof(float)) +
           lks_arena_cost(n * 2 * (size_t)c->width, sizeof(float)) +
           lks_ops_scratch(n_threads, 1, 1, widest_input(decoder));
}

size_t lks_decoder_scratch(const lks_decoder *decoder, int max_rows, int max_tokens, int max_positions, int n_memory,
                           int n_threads)
{
    const lks_decoder_config *c = &decoder->config;
    int d_head = c->width / c->n_heads;
    size_t tokens = (size_t)max_of(max_of(max_rows, max_positions), max_tokens);
    size_t step = lks_arena_cost(tokens * step_floats_per_token(c), sizeof(float)) +
                  lks_arena_cost(tokens * (size_t)c->n_heads * (size_t)n_memory, sizeof(float)) + 12 * LKS_ALIGNMENT;
    size_t ops = lks_ops_scratch(n_threads, max_of(n_memory, max_positions), d_head, widest_input(decoder));
    size_t top = lks_linear_top_scratch(n_threads, max_rows, c->width, c->vocab_size, LKS_DECODER_MAX_TOP);
    size_t look = lks_decoder_look_scratch(decoder, 1, n_memory, n_threads);
    step += ops > top ? ops : top;
    return step > look ? step : look;
}

/* Where a look puts what lies between tokens and the memory; NULL where it needs none. */
typedef struct look_room {
    float *projected; /* [n_images, n_memory, d_memory] */
    float *exact;     /* [n_images, n_memory, 2 d] of one layer, to be rounded */
} look_room;

static void look(const lks_compute *compute, lks_decoder_state *s, int image, int n_images, const float *tokens,
                 const look_room *room)
{
    enum { AT_ONCE = 32 }; /* layers */
    const lks_decoder *decoder = s->decoder;
    const int n = n_images * s->n_memory;
    const float *memory = tokens;
    if (room->projected) {
        lks_linear_dense(compute, &decoder->ends.memory_proj, room->projected, tokens, n, LKS_ACT_NONE, NULL);
        memory = room->projected;
    }
    const int n_layers = decoder->config.n_layers;
    for (int layer = 0; s->cross_kv && layer < n_layers; layer++)
        lks_linear_dense(compute, &decoder->blocks[layer].cross_kv, s->cross_kv + lks_cross_at(s, layer, image), memory,
                         n, LKS_ACT_NONE, NULL);
    for (int begin = 0, some; !s->cross_kv && begin < n_layers; begin += some) {
        const lks_linear *layers[AT_ONCE];
        uint16_t *to[AT_ONCE];
        some = n_layers - begin < AT_ONCE ? n_layers - begin : AT_ONCE;
        for (int i = 0; i < some; i++) {
            layers[i] = &decoder->blocks[begin + i].cross_kv;
            to[i] = s->cross_bf16 + lks_cross_at(s, begin + i, image);
        }
        lks_linear_rounded(compute, to, room->exact, layers, some, memory, n);
    }
}

lks_status lks_decoder_look(const lks_compute *compute, lks_decoder_state *s, int image, int n_images,
                            const float *tokens, lks_error *err)
{
    const size_t n = (size_t)n_images * (size_t)s->n_memory, d_memory = (size_t)s->decoder->config.d_memory;
    const bool projects = s->decoder->ends.memory_proj.d_out > 0, rounds = !s->cross_kv;
    size_t mark = lks_arena_mark(compute->scratch);
    lks_status st = LKS_OK;
    look_room room = {NULL, NULL};
    if ((projects && !(room.projected = lks_arena_take(compute->scratch, n * d_memory, sizeof(float)))) ||
        (rounds &&
         !(room.exact = lks_arena_take(compute->scratch, (size_t)n_images * lks_cross_count(s), sizeof(float)))))
        st = lks_error_set(err, LKS_ERR_NOMEM, "the activation arena is too small for the decoder");
    /* steps have positive keys, encoders an address in the third place */
    const int64_t key[4] = {-n_images, (intptr_t)tokens, image, (int64_t)s->n_images << 32 | s->n_memory};
    if (st == LKS_OK && !compute->ops->record(compute, key)) {
        look(compute, s, image, n_images, tokens, &room);
        compute->ops->recorded(compute);
    }
    lks_arena_reset(compute->scratch, mark);
    return st;
}

/* What ops of a step read of its rows, in the memory of the table. */
static int32_t *step_ids(const lks_decoder_state *s, lks_step_id which)
{
    return s->ids + (size_t)which * (size_t)s->max_rows * (size_t)s->max_positions;
}

/* What one step works on: [n_rows * n_tokens] token positions, all activations row-major. */
typedef struct step {
    lks_decoder_state *state;
    int n_rows, n_tokens, n; /* n = n_rows * n_tokens */
    float *x, *normed, *mixed, *hidden;
    float *weights, *scales; /* when maps are kept: of one layer; [n] */
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
    const lks_decoder_config *c = &s->decoder->config;
    s->compute.ops->inverse_deviation(&s->compute, t->scales, t->x, t->n, c->width, c->eps);
    int64_t row_stride = (int64_t)c->n_layers * LKS_NORM_COUNT;
    const lks_copy copy = {.n_outer = t->n_rows,
                           .n_inner = t->n_tokens,
                           .d = 1,
                           .to = lks_kept_scales(s, &s->kept, s->position, 0, index) + which,
                           .to_outer = row_stride,
                           .to_inner = row_stride * s->max_rows,
                           .from = t->scales,
                           .from_outer = t->n_tokens,
                           .from_inner = 1};
    s->compute.ops->copy(&s->compute, &copy);
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
    const lks_copy append = {.n_outer = t->n_rows,
                             .n_inner = t->n_tokens,
                             .d = 2 * d,
                             .to = lks_self_place(s, layer, 0) + (size_t)s->position * 2 * (size_t)d,
                             .to_outer = (int64_t)lks_self_row_floats(s),
                             .to_inner = 2 * d,
                             .to_index = step_ids(s, LKS_STEP_PLACES),
                             .from = t->hidden + d,
                             .from_outer = (int64_t)t->n_tokens * 3 * d,
                             .from_inner = 3 * d};
    s->compute.ops->copy(&s->compute, &append);
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
        .key = lks_self_place(s, layer, 0),
        .value = lks_self_place(s, layer, 0) + d,
        .kv_row_stride = 2 * d,
        .kv_batch_stride = (int64_t)lks_self_row_floats(s),
        .kv_index = step_ids(s, LKS_STEP_PLACES),
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
    const lks_decoder_config *c = &s->decoder->config;
    int64_t n = s->n_memory, of_row = c->n_heads * n;
    for (int row = 0; row < t->n_rows; row++) {
        const lks_copy copy = {.n_outer = t->n_tokens,
                               .n_inner = c->n_heads,
                               .d = s->n_memory,
                               .to = lks_kept_weights(s, &s->kept, s->position, layer, row),
                               .to_outer = of_row * s->max_rows * c->n_layers,
                               .to_inner = n,
                               .from = t->weights + row * of_row * t->n_tokens,
                               .from_outer = n,
                               .from_inner = n * t->n_tokens};
        s->compute.ops->copy(&s->compute, &copy);
    }
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
        .kv_batch_stride = (int64_t)lks_cross_count(s),
        .kv_index = step_ids(s, LKS_STEP_IMAGES),
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
        attention.map = in_place ? lks_kept_weights(s, &s->kept, s->position, layer, 0) : t->weights;
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

/* Sends a step's tokens, and where they and their rows stand, to the memory of the table. */
static void place_tokens(const step *t, const int32_t *tokens)
{
    enum { BLOCK = 64 };
    lks_decoder_state *s = t->state;
    const lks_decoder_config *c = &s->decoder->config;
    const lks_ops *ops = s->compute.ops;
    size_t row_bytes = (size_t)t->n_rows * sizeof *tokens;
    ops->upload(&s->compute, step_ids(s, LKS_STEP_TOKENS), tokens, (size_t)t->n * sizeof *tokens);
    ops->upload(&s->compute, step_ids(s, LKS_STEP_PLACES), s->places, row_bytes);
    ops->upload(&s->compute, step_ids(s, LKS_STEP_IMAGES), s->images, row_bytes);
    for (int begin = 0; begin < t->n; begin += BLOCK) {
        int32_t positions[BLOCK];
        int n = t->n - begin < BLOCK ? t->n - begin : BLOCK;
        for (int i = 0; i < n; i++) {
            int at = begin + i;
            positions[i] =
                tokens[at] == c->padding_id ? c->padding_id : s->position + at % t->n_tokens + c->position_offset;
        }
        ops->upload(&s->compute, step_ids(s, LKS_STEP_POSITIONS) + begin, positions, (size_t)n * sizeof *positions);
    }
}

/* x = scale * token + position (+ token type), normalised where the family does. */
static void embed(const step *t)
{
    lks_decoder_state *s = t->state;
    const lks_ops *ops = s->compute.ops;
    const lks_decoder *decoder = s->decoder;
    const lks_decoder_config *c = &decoder->config;
    const float *positions = decoder->positions ? decoder->positions : decoder->ends.positions;
    ops->embed(&s->compute, t->x, decoder->ends.tokens, step_ids(s, LKS_STEP_TOKENS), t->n, c->width,
               c->embedding_scale);
    ops->embed(&s->compute, t->normed, (lks_table){positions, LKS_F32}, step_ids(s, LKS_STEP_POSITIONS), t->n, c->width,
               1.0f);
    ops->add_scaled(&s->compute, t->x, t->x, t->normed, NULL, t->n, c->width);
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
    const lks_copy gather = {.n_outer = 1,
                             .n_inner = n,
                             .d = d,
                             .to = last,
                             .to_inner = d,
                             .from = t->x + (size_t)(t->n_tokens - 1) * (size_t)d,
                             .from_inner = (int64_t)t->n_tokens * d};
    compute->ops->copy(compute, &gather);
    if (c->final_norm)
        compute->ops->layer_norm(compute, last, last, n, d, decoder->ends.final_norm.weight,
                                 decoder->ends.final_norm.bias, c->eps);
    if (s->kept.last) {
        float *to = lks_kept_last(s, &s->kept, s->position + t->n_tokens - 1, 0);
        const lks_copy keep = {
            .n_outer = 1, .n_inner = n, .d = d, .to = to, .to_inner = d, .from = last, .from_inner = d};
        compute->ops->copy(compute, &keep);
    }
    if (c->head_transform) {
        lks_linear_dense(compute, &decoder->ends.head_dense, t->hidden, last, n, lks_decoder_head_activation(c), NULL);
        compute->ops->layer_norm(compute, t->hidden, t->hidden, n, d, decoder->ends.head_norm.weight,
                                 decoder->ends.head_norm.bias, c->eps);
        last = t->hidden;
    }
    return last;
}

static bool take_step(step *t)
{
    const lks_decoder_config *c = &t->state->decoder->config;
    lks_arena *scratch = t->state->compute.scratch;
    size_t n = (size_t)t->n, d = (size_t)c->width;
    t->x = lks_arena_take(scratch, n * d, sizeof(float));
    t->normed = lks_arena_take(scratch, n * d, sizeof(float));
    t->mixed = lks_arena_take(scratch, n * d, sizeof(float));
    t->hidden = lks_arena_take(scratch, n * (size_t)max_of(4 * c->width, c->d_mlp), sizeof(float));
    bool taken = t->x && t->normed && t->mixed && t->hidden;
    if (t->state->kept.weights) {
        t->weights = lks_arena_take(scratch, n * (size_t)c->n_heads * (size_t)t->state->n_memory, sizeof(float));
        t->scales = lks_arena_take(scratch, n, sizeof(float));
        taken = taken && t->weights && t->scales;
    }
    return taken;
}

/* From the placed tokens to `logits`, or to `top` where that is NULL; both in the memory of the table. */
static void run_layers(const step *t, float *logits, const lks_top *top)
{
    const lks_decoder *decoder = t->state->decoder;
    const lks_compute *compute = &t->state->compute;
    embed(t);
    for (int layer = 0; layer < decoder->config.n_layers; layer++) {
        self_attention(t, layer);
        cross_attention(t, layer);
        mlp(t, layer);
    }
    if (logits)
        lks_linear_dense(compute, &decoder->ends.head, logits, head_input(t), t->n_rows, LKS_ACT_NONE, NULL);
    else
        lks_linear_top(compute, &decoder->ends.head, top, head_input(t), t->n_rows);
}

/* One step, up to logits [n_rows, vocab] or, without them, to the likeliest tokens. */
static lks_status run_step(lks_decoder_state *s, float *logits, const lks_top *top, const int32_t *tokens, int n_rows,
                           int n_tokens, lks_error *err)
{
    const lks_decoder_config *c = &s->decoder->config;
    const lks_compute *compute = &s->compute;
    if (n_rows < 1 || n_rows > s->max_rows || n_tokens < 1 || n_tokens > s->max_positions - s->position)
        return lks_error_set(err, LKS_ERR_ARGUMENT, "the text is longer than the %d tokens this model can hold",
                             s->max_positions);
    for (int i = 0; i < n_rows * n_tokens; i++)
        if (tokens[i] < 0 || tokens[i] >= c->vocab_size)
            return lks_error_set(err, LKS_ERR_MODEL, "token %d is outside the decoder's vocabulary of %d",
                                 (int)tokens[i], c->vocab_size);
    size_t mark = lks_arena_mark(compute->scratch), rows = (size_t)n_rows;
    size_t n_logits = logits ? rows * (size_t)c->vocab_size : 0, n_top = logits ? 0 : rows * (size_t)top->k;
    step t = {.state = s, .n_rows = n_rows, .n_tokens = n_tokens, .n = n_rows * n_tokens};
    bool taken = take_step(&t);
    float *out = logits ? lks_result_room(compute, logits, n_logits) : NULL;
    lks_top best = {0};
    if (!logits)
        best = (lks_top){.k = top->k,
                         .values = lks_result_room(compute, top->values, n_top),
                         .indices = (int32_t *)(void *)lks_result_room(compute, (float *)(void *)top->indices, n_top),
                         .log_sum_exp = lks_result_room(compute, top->log_sum_exp, rows)};
    if (!taken || (logits ? !out : !best.values || !best.indices || !best.log_sum_exp)) {
        lks_arena_reset(compute->scratch, mark);
        return lks_error_set(err, LKS_ERR_NOMEM, "the activation arena is too small for the decoder");
    }
    place_tokens(&t, tokens);
    const int64_t key[4] = {n_rows, n_tokens, s->position,
                            ((int64_t)s->n_images << 32 | s->n_memory) << 8 | best.k}; /* k <= LKS_DECODER_MAX_TOP */
    if (!compute->ops->record(compute, key)) {
        run_layers(&t, out, &best);
        compute->ops->recorded(compute);
    }
    if (logits) {
        lks_result_fetch(compute, logits, out, n_logits);
    } else {
        lks_result_fetch(compute, top->values, best.values, n_top);
        lks_result_fetch(compute, (float *)(void *)top->indices, (float *)(void *)best.indices, n_top);
        lks_result_fetch(compute, top->log_sum_exp, best.log_sum_exp, rows);
    }
    lks_arena_reset(compute->scratch, mark);
    s->n_rows = n_rows;
    s->position += n_tokens;
    return compute->ops->sync(compute, err);
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
