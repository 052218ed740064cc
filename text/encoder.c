/* Loading and running the encoder of source texts: see encoder.h. */
#include "text/encoder.h"

#include <stdlib.h>
#include <string.h>

#include "fusion/json.h"
#include "text/decoder_weights.h"

enum { MAX_LAYERS = 256, MAX_POSITIONS = 1 << 16 };

enum { D_ONE, D_WIDTH, D_3WIDTH, D_MLP, D_POSITIONS, D_COUNT };

typedef struct encoder_ends {
    const float *positions; /* [n_positions, d] */
    lks_norm norm;
} encoder_ends;

struct lks_text_encoder {
    const lks_ops *ops;
    const lks_decoder *decoder; /* its token table and sizes */
    int n_layers, n_positions;
    encoder_ends ends;
    lks_block *blocks;
    lks_arena memory;
};

#define END(field) offsetof(encoder_ends, field)
#define BLOCK(field) offsetof(lks_block, field)
#define TABLE(array) (array), sizeof(array) / sizeof *(array)

static const lks_binding ends_table[] = {
    {"positions", LKS_BIND_ARRAY, END(positions), D_POSITIONS, D_WIDTH, 0},
    {"norm", LKS_BIND_NORM, END(norm), D_WIDTH, 0, 0},
};
static const lks_binding block_table[] = {
    {"blocks.#.ln_self", LKS_BIND_NORM, BLOCK(norm1), D_WIDTH, 0, 0},
    {"blocks.#.self_qkv", LKS_BIND_LINEAR, BLOCK(qkv), D_3WIDTH, D_WIDTH, 0},
    {"blocks.#.self_out", LKS_BIND_LINEAR, BLOCK(proj), D_WIDTH, D_WIDTH, 0},
    {"blocks.#.ln_mlp", LKS_BIND_NORM, BLOCK(norm2), D_WIDTH, 0, 0},
    {"blocks.#.fc1", LKS_BIND_LINEAR, BLOCK(fc1), D_MLP, D_WIDTH, 0},
    {"blocks.#.fc2", LKS_BIND_LINEAR, BLOCK(fc2), D_WIDTH, D_MLP, 0},
};

static lks_status bind_tables(lks_text_encoder *e, lks_binder *binder, lks_error *err)
{
    lks_status st = lks_bind(binder, &e->ends, TABLE(ends_table), 0, err);
    for (int i = 0; st == LKS_OK && i < e->n_layers; i++)
        st = lks_bind(binder, &e->blocks[i], TABLE(block_table), i, err);
    return st;
}

static lks_status bind_all(lks_text_encoder *e, const lks_weights *weights, const lks_bind_options *options,
                           lks_error *err)
{
    const lks_decoder_config *c = &e->decoder->config;
    const int dims[D_COUNT] = {[D_ONE] = 1,
                               [D_WIDTH] = c->width,
                               [D_3WIDTH] = 3 * c->width,
                               [D_MLP] = c->d_mlp,
                               [D_POSITIONS] = e->n_positions};
    lks_binder binder = {.weights = weights, .prefix = "text.encoder.", .dims = dims, .options = options};
    lks_status st = bind_tables(e, &binder, err);
    if (st == LKS_OK)
        st = lks_arena_init(&e->memory, binder.bytes, err);
    if (st != LKS_OK)
        return st;
    binder.arena = &e->memory;
    st = bind_tables(e, &binder, err);
    return st == LKS_OK ? lks_bind_finish(&binder, err) : st;
}

lks_status lks_text_encoder_open(lks_text_encoder **out, const lks_weights *weights, const json_t *config,
                                 const lks_decoder *decoder, const lks_bind_options *options, const char *path,
                                 lks_error *err)
{
    const lks_decoder_config *c = &decoder->config;
    int n_layers, n_positions;
    lks_status st = lks_json_int(&n_layers, config, "n_layer", 1, 1, MAX_LAYERS, path, err);
    if (st == LKS_OK)
        st = lks_json_int(&n_positions, config, "n_positions", 1, 1, MAX_POSITIONS, path, err);
    if (st != LKS_OK)
        return st;
    if (c->d_memory != c->width || decoder->encoder_width != c->width)
        return lks_error_set(err, LKS_ERR_MODEL,
                             "%s: a text encoder needs a decoder that attends to tokens of its own width, %d", path,
                             c->width);
    lks_text_encoder *e = calloc(1, sizeof *e);
    if (!e)
        return lks_error_set(err, LKS_ERR_NOMEM, "out of memory for the text encoder");
    e->ops = options->ops;
    e->decoder = decoder;
    e->n_layers = n_layers;
    e->n_positions = n_positions;
    e->blocks = calloc((size_t)n_layers, sizeof *e->blocks);
    for (int i = 0; e->blocks && i < n_layers; i++)
        e->blocks[i] = (lks_block){.n_heads = c->n_heads, .activation = c->activation, .eps = c->eps};
    st = e->blocks ? bind_all(e, weights, options, err)
                   : lks_error_set(err, LKS_ERR_NOMEM, "out of memory for the text encoder");
    if (st != LKS_OK) {
        lks_text_encoder_close(e);
        return st;
    }
    *out = e;
    return LKS_OK;
}

void lks_text_encoder_close(lks_text_encoder *encoder)
{
    if (!encoder)
        return;
    lks_arena_release(&encoder->memory);
    free(encoder->blocks);
    free(encoder);
}

size_t lks_text_encoder_weight_bytes(const lks_text_encoder *encoder)
{
    return encoder->memory.used;
}

size_t lks_text_encoder_scratch(const lks_text_encoder *encoder, int n_threads)
{
    const lks_decoder_config *c = &encoder->decoder->config;
    int n = encoder->n_positions;
    int widest = c->d_mlp > 3 * c->width ? c->d_mlp : 3 * c->width;
    return lks_arena_cost((size_t)n, sizeof(int32_t)) + lks_block_scratch(encoder->ops, &encoder->blocks[0], 1, n) +
           lks_ops_scratch(n_threads, n, c->width / c->n_heads, widest);
}

lks_status lks_text_encoder_run(const lks_text_encoder *encoder, const lks_compute *compute, float *out,
                                const int32_t *tokens, int n, lks_error *err)
{
    const lks_decoder_config *c = &encoder->decoder->config;
    if (n < 1 || n > encoder->n_positions)
        return lks_error_set(err, LKS_ERR_ARGUMENT,
                             "the text has %d tokens and this model reads %d at most; give it sentence by sentence", n,
                             encoder->n_positions);
    for (int i = 0; i < n; i++)
        if (tokens[i] < 0 || tokens[i] >= c->vocab_size)
            return lks_error_set(err, LKS_ERR_MODEL, "token %d is outside the vocabulary of %d", (int)tokens[i],
                                 c->vocab_size);
    size_t mark = lks_arena_mark(compute->scratch);
    int32_t *ids = lks_arena_take(compute->scratch, (size_t)n, sizeof *ids);
    if (!ids) {
        lks_arena_reset(compute->scratch, mark);
        return lks_error_set(err, LKS_ERR_NOMEM, "the activation arena is too small for the text encoder");
    }
    compute->ops->upload(compute, ids, tokens, (size_t)n * sizeof *ids);
    compute->ops->embed(compute, out, encoder->decoder->ends.tokens, ids, n, c->width, c->embedding_scale);
    compute->ops->add_scaled(compute, out, out, encoder->ends.positions, NULL, n, c->width);
    for (int i = 0; i < encoder->n_layers; i++)
        lks_block_run(compute, &encoder->blocks[i], out, 1, n);
    compute->ops->layer_norm(compute, out, out, n, c->width, encoder->ends.norm.weight, encoder->ends.norm.bias,
                             c->eps);
    lks_arena_reset(compute->scratch, mark);
    return LKS_OK;
}
