/* Loading a decoder: one table per family binds its tensor names to the fields of lks_decoder. */
#include "text/decoder_weights.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { D_ONE, D_WIDTH, D_2WIDTH, D_3WIDTH, D_MLP, D_MEMORY, D_VOCAB, D_POSITIONS, D_TYPES, D_ENCODER, D_COUNT };

#define END(field) offsetof(lks_decoder_ends, field)
#define BLOCK(field) offsetof(lks_decoder_block, field)
#define TABLE(array) (array), sizeof(array) / sizeof *(array)

static const lks_binding gpt2_ends[] = {
    {"transformer.wte.weight", LKS_BIND_TABLE, END(tokens), D_VOCAB, D_WIDTH, 0},
    {"transformer.wpe.weight", LKS_BIND_ARRAY, END(positions), D_POSITIONS, D_WIDTH, 0},
    {"transformer.ln_f", LKS_BIND_NORM, END(final_norm), D_WIDTH, 0, 0},
    {"lm_head.weight|transformer.wte.weight", LKS_BIND_MATRIX, END(head), D_VOCAB, D_WIDTH, 0},
};
static const lks_binding gpt2_block[] = {
    {"transformer.h.#.ln_1", LKS_BIND_NORM, BLOCK(norm_self), D_WIDTH, 0, 0},
    {"transformer.h.#.attn.c_attn", LKS_BIND_CONV1D, BLOCK(self_qkv), D_3WIDTH, D_WIDTH, 0},
    {"transformer.h.#.attn.c_proj", LKS_BIND_CONV1D, BLOCK(self_out), D_WIDTH, D_WIDTH, 0},
    {"transformer.h.#.ln_cross_attn", LKS_BIND_NORM, BLOCK(norm_cross), D_WIDTH, 0, 0},
    {"transformer.h.#.crossattention.q_attn", LKS_BIND_CONV1D, BLOCK(cross_q), D_WIDTH, D_WIDTH, 0},
    {"transformer.h.#.crossattention.c_attn", LKS_BIND_CONV1D, BLOCK(cross_kv), D_2WIDTH, D_MEMORY, 0},
    {"transformer.h.#.crossattention.c_proj", LKS_BIND_CONV1D, BLOCK(cross_out), D_WIDTH, D_WIDTH, 0},
    {"transformer.h.#.ln_2", LKS_BIND_NORM, BLOCK(norm_mlp), D_WIDTH, 0, 0},
    {"transformer.h.#.mlp.c_fc", LKS_BIND_CONV1D, BLOCK(fc1), D_MLP, D_WIDTH, 0},
    {"transformer.h.#.mlp.c_proj", LKS_BIND_CONV1D, BLOCK(fc2), D_WIDTH, D_MLP, 0},
};

/* Rows of tables, one a line where clang-format would give every number its own. */
/* clang-format off */
#define BERT_BLOCK(layer)                                                                                             \
    {layer "attention.self.query+" layer "attention.self.key+" layer "attention.self.value", LKS_BIND_LINEAR,         \
     BLOCK(self_qkv), D_3WIDTH, D_WIDTH, 0},                                                                          \
        {layer "attention.output.dense", LKS_BIND_LINEAR, BLOCK(self_out), D_WIDTH, D_WIDTH, 0},                      \
        {layer "attention.output.LayerNorm", LKS_BIND_NORM, BLOCK(norm_self), D_WIDTH, 0, 0},                         \
        {layer "crossattention.self.query", LKS_BIND_LINEAR, BLOCK(cross_q), D_WIDTH, D_WIDTH, 0},                    \
        {layer "crossattention.self.key+" layer "crossattention.self.value", LKS_BIND_LINEAR, BLOCK(cross_kv),        \
         D_2WIDTH, D_MEMORY, 0},                                                                                      \
        {layer "crossattention.output.dense", LKS_BIND_LINEAR, BLOCK(cross_out), D_WIDTH, D_WIDTH, 0},                \
        {layer "crossattention.output.LayerNorm", LKS_BIND_NORM, BLOCK(norm_cross), D_WIDTH, 0, 0},                   \
        {layer "intermediate.dense", LKS_BIND_LINEAR, BLOCK(fc1), D_MLP, D_WIDTH, 0},                                 \
        {layer "output.dense", LKS_BIND_LINEAR, BLOCK(fc2), D_WIDTH, D_MLP, 0},                                       \
        {layer "output.LayerNorm", LKS_BIND_NORM, BLOCK(norm_mlp), D_WIDTH, 0, 0}

#define BERT_EMBEDDINGS(root)                                                                                         \
    {root "embeddings.word_embeddings.weight", LKS_BIND_TABLE, END(tokens), D_VOCAB, D_WIDTH, 0},                     \
        {root "embeddings.position_embeddings.weight", LKS_BIND_ARRAY, END(positions), D_POSITIONS, D_WIDTH, 0},      \
        {root "embeddings.LayerNorm", LKS_BIND_NORM, END(embedding_norm), D_WIDTH, 0, 0}

#define BERT_HEAD                                                                                                     \
    {"cls.predictions.transform.dense", LKS_BIND_LINEAR, END(head_dense), D_WIDTH, D_WIDTH, 0},                       \
        {"cls.predictions.transform.LayerNorm", LKS_BIND_NORM, END(head_norm), D_WIDTH, 0, 0},                        \
        {"cls.predictions.decoder.weight|bert.embeddings.word_embeddings.weight", LKS_BIND_MATRIX, END(head), D_VOCAB, \
         D_WIDTH, 0},                                                                                                 \
        {"cls.predictions.bias|cls.predictions.decoder.bias", LKS_BIND_ARRAY, END(head_bias), D_VOCAB, 0, 0}
/* clang-format on */

static const lks_binding bert_ends[] = {
    BERT_EMBEDDINGS("bert."),
    {"bert.embeddings.token_type_embeddings.weight", LKS_BIND_ARRAY, END(token_type), D_TYPES, D_WIDTH, 0},
    BERT_HEAD,
};
static const lks_binding bert_block[] = {BERT_BLOCK("bert.encoder.layer.#.")};

static const lks_binding blip_ends[] = {BERT_EMBEDDINGS("bert."), BERT_HEAD};

static const lks_binding roberta_ends[] = {
    BERT_EMBEDDINGS("roberta."),
    {"roberta.embeddings.token_type_embeddings.weight", LKS_BIND_ARRAY, END(token_type), D_TYPES, D_WIDTH, 0},
    {"lm_head.dense", LKS_BIND_LINEAR, END(head_dense), D_WIDTH, D_WIDTH, 0},
    {"lm_head.layer_norm", LKS_BIND_NORM, END(head_norm), D_WIDTH, 0, 0},
    {"lm_head.decoder.weight|roberta.embeddings.word_embeddings.weight", LKS_BIND_MATRIX, END(head), D_VOCAB, D_WIDTH,
     0},
    {"lm_head.bias|lm_head.decoder.bias", LKS_BIND_ARRAY, END(head_bias), D_VOCAB, 0, 0},
};
static const lks_binding roberta_block[] = {BERT_BLOCK("roberta.encoder.layer.#.")};

static const lks_binding trocr_ends[] = {
    {"model.decoder.embed_tokens.weight", LKS_BIND_TABLE, END(tokens), D_VOCAB, D_WIDTH, 0},
    {"model.decoder.embed_positions.weight", LKS_BIND_ARRAY, END(positions), D_POSITIONS, D_WIDTH, 0},
    {"model.decoder.layernorm_embedding", LKS_BIND_NORM, END(embedding_norm), D_WIDTH, 0, 0},
    {"output_projection.weight|model.decoder.embed_tokens.weight", LKS_BIND_MATRIX, END(head), D_VOCAB, D_WIDTH, 0},
};
#define TROCR(name) "model.decoder.layers.#." name
static const lks_binding trocr_block[] = {
    {TROCR("self_attn.q_proj") "+" TROCR("self_attn.k_proj") "+" TROCR("self_attn.v_proj"), LKS_BIND_LINEAR,
     BLOCK(self_qkv), D_3WIDTH, D_WIDTH, 0},
    {TROCR("self_attn.out_proj"), LKS_BIND_LINEAR, BLOCK(self_out), D_WIDTH, D_WIDTH, 0},
    {TROCR("self_attn_layer_norm"), LKS_BIND_NORM, BLOCK(norm_self), D_WIDTH, 0, 0},
    {TROCR("encoder_attn.q_proj"), LKS_BIND_LINEAR, BLOCK(cross_q), D_WIDTH, D_WIDTH, 0},
    {TROCR("encoder_attn.k_proj") "+" TROCR("encoder_attn.v_proj"), LKS_BIND_LINEAR, BLOCK(cross_kv), D_2WIDTH,
     D_MEMORY, 0},
    {TROCR("encoder_attn.out_proj"), LKS_BIND_LINEAR, BLOCK(cross_out), D_WIDTH, D_WIDTH, 0},
    {TROCR("encoder_attn_layer_norm"), LKS_BIND_NORM, BLOCK(norm_cross), D_WIDTH, 0, 0},
    {TROCR("fc1"), LKS_BIND_LINEAR, BLOCK(fc1), D_MLP, D_WIDTH, 0},
    {TROCR("fc2"), LKS_BIND_LINEAR, BLOCK(fc2), D_WIDTH, D_MLP, 0},
    {TROCR("final_layer_norm"), LKS_BIND_NORM, BLOCK(norm_mlp), D_WIDTH, 0, 0},
};

static const lks_binding looksay_ends[] = {
    {"text.tokens", LKS_BIND_TABLE, END(tokens), D_VOCAB, D_WIDTH, 0},
    {"text.positions", LKS_BIND_ARRAY, END(positions), D_POSITIONS, D_WIDTH, 0},
    {"text.norm", LKS_BIND_NORM, END(final_norm), D_WIDTH, 0, 0},
    {"text.head|text.tokens", LKS_BIND_MATRIX, END(head), D_VOCAB, D_WIDTH, 0},
};
static const lks_binding looksay_block[] = {
    {"text.blocks.#.ln_self", LKS_BIND_NORM, BLOCK(norm_self), D_WIDTH, 0, 0},
    {"text.blocks.#.self_qkv", LKS_BIND_LINEAR, BLOCK(self_qkv), D_3WIDTH, D_WIDTH, 0},
    {"text.blocks.#.self_out", LKS_BIND_LINEAR, BLOCK(self_out), D_WIDTH, D_WIDTH, 0},
    {"text.blocks.#.ln_cross", LKS_BIND_NORM, BLOCK(norm_cross), D_WIDTH, 0, 0},
    {"text.blocks.#.cross_q", LKS_BIND_LINEAR, BLOCK(cross_q), D_WIDTH, D_WIDTH, 0},
    {"text.blocks.#.cross_kv", LKS_BIND_LINEAR, BLOCK(cross_kv), D_2WIDTH, D_MEMORY, 0},
    {"text.blocks.#.cross_out", LKS_BIND_LINEAR, BLOCK(cross_out), D_WIDTH, D_WIDTH, 0},
    {"text.blocks.#.ln_mlp", LKS_BIND_NORM, BLOCK(norm_mlp), D_WIDTH, 0, 0},
    {"text.blocks.#.fc1", LKS_BIND_LINEAR, BLOCK(fc1), D_MLP, D_WIDTH, 0},
    {"text.blocks.#.fc2", LKS_BIND_LINEAR, BLOCK(fc2), D_WIDTH, D_MLP, 0},
};

static const lks_binding projection[] = {
    {"enc_to_dec_proj", LKS_BIND_LINEAR, END(memory_proj), D_MEMORY, D_ENCODER, 0},
};

/* Tables may name tensors that a configuration leaves out (a norm switched off, computed positions). */
static bool wanted(const lks_decoder_config *c, const lks_binding *row)
{
    if (row->offset == END(positions))
        return !c->sinusoidal;
    if (row->offset == END(embedding_norm))
        return c->embedding_norm;
    return true;
}

/* An untied head is a layer of its own with its own bias; the bias beside it is then dead weight in transformers. */
static const char *untied_head_bias(lks_decoder_family family)
{
    return family == LKS_DECODER_ROBERTA ? "lm_head.decoder.bias|lm_head.bias"
                                         : "cls.predictions.decoder.bias|cls.predictions.bias";
}

static lks_status bind_tables(lks_decoder *decoder, lks_binder *binder, lks_error *err)
{
    const struct {
        const lks_binding *ends;
        size_t n_ends;
        const lks_binding *block;
        size_t n_block;
    } tables[] = {
        [LKS_DECODER_GPT2] = {TABLE(gpt2_ends), TABLE(gpt2_block)},
        [LKS_DECODER_BERT] = {TABLE(bert_ends), TABLE(bert_block)},
        [LKS_DECODER_ROBERTA] = {TABLE(roberta_ends), TABLE(roberta_block)},
        [LKS_DECODER_TROCR] = {TABLE(trocr_ends), TABLE(trocr_block)},
        [LKS_DECODER_BLIP] = {TABLE(blip_ends), TABLE(bert_block)},
        [LKS_DECODER_LOOKSAY] = {TABLE(looksay_ends), TABLE(looksay_block)},
    };
    const lks_decoder_config *c = &decoder->config;
    lks_status st = LKS_OK;
    for (size_t i = 0; st == LKS_OK && i < tables[c->family].n_ends; i++) {
        lks_binding row = tables[c->family].ends[i];
        char own_head[128];
        if (!wanted(c, &row))
            continue;
        if (row.offset == END(head) && !c->tied) { /* no falling back to the token table */
            snprintf(own_head, sizeof own_head, "%.*s", (int)strcspn(row.pattern, "|"), row.pattern);
            row.pattern = own_head;
        } else if (row.offset == END(head_bias) && !c->tied) {
            row.pattern = untied_head_bias(c->family);
        }
        st = lks_bind(binder, &decoder->ends, &row, 1, 0, err);
    }
    for (int i = 0; st == LKS_OK && i < c->n_layers; i++)
        st = lks_bind(binder, &decoder->blocks[i], tables[c->family].block, tables[c->family].n_block, i, err);
    if (st == LKS_OK && decoder->encoder_width != c->d_memory) {
        const char *prefix = binder->prefix;
        binder->prefix = "";
        st = lks_bind(binder, &decoder->ends, TABLE(projection), 0, err);
        binder->prefix = prefix;
    }
    return st;
}

static size_t positions_cost(const lks_decoder_config *c)
{
    size_t count = (size_t)c->n_positions * (size_t)c->width;
    return c->sinusoidal || c->token_types ? lks_arena_cost(count, sizeof(float)) : 0;
}

/* The position table as the forward pass wants it: sinusoids computed (Vaswani et al. 2017, sines first, then cosines; the
 * padding row zero), token type 0 added. */
static void prepare_positions(lks_decoder *decoder)
{
    const lks_decoder_config *c = &decoder->config;
    if (!c->sinusoidal && !c->token_types)
        return;
    int d = c->width, half = d / 2;
    size_t count = (size_t)c->n_positions * (size_t)d;
    float *table = lks_arena_take(&decoder->memory, count, sizeof *table);
    assert(table); /* positions_cost */
    memset(table, 0, count * sizeof *table);
    for (int i = 0; i < c->n_positions; i++) {
        float *row = table + (size_t)i * (size_t)d;
        if (!c->sinusoidal) {
            memcpy(row, decoder->ends.positions + (size_t)i * (size_t)d, (size_t)d * sizeof *row);
        } else if (i != c->padding_id) {
            double step = half > 1 ? log(10000.0) / (half - 1) : 0.0;
            for (int j = 0; j < half; j++) {
                float angle = (float)i * expf((float)-(step * j));
                row[j] = sinf(angle);
                row[half + j] = cosf(angle);
            }
        }
        for (int j = 0; decoder->ends.token_type && j < d; j++)
            row[j] += decoder->ends.token_type[j];
    }
    decoder->positions = table;
}

static int first_dim(const lks_weights *weights, const char *prefix, const char *name)
{
    char full[128];
    if (snprintf(full, sizeof full, "%s%s", prefix, name) >= (int)sizeof full)
        return 1;
    const lks_tensor *tensor = lks_weights_find(weights, full);
    return tensor && tensor->n_dims == 2 && tensor->shape[0] > 0 && tensor->shape[0] < 65536 ? (int)tensor->shape[0]
                                                                                             : 1;
}

lks_status lks_decoder_open(lks_decoder **out, const lks_weights *weights, const char *prefix,
                            const lks_decoder_config *config, int encoder_width, const lks_bind_options *options,
                            lks_error *err)
{
    lks_decoder *decoder = calloc(1, sizeof *decoder);
    if (!decoder)
        return lks_error_set(err, LKS_ERR_NOMEM, "out of memory for the decoder");
    decoder->config = *config;
    decoder->encoder_width = encoder_width;
    decoder->blocks = calloc((size_t)config->n_layers, sizeof *decoder->blocks);
    lks_status st = LKS_OK;
    if (!decoder->blocks) {
        st = lks_error_set(err, LKS_ERR_NOMEM, "out of memory for the decoder");
        goto fail;
    }
    const char *types = config->family == LKS_DECODER_ROBERTA ? "roberta.embeddings.token_type_embeddings.weight"
                                                              : "bert.embeddings.token_type_embeddings.weight";
    const int dims[D_COUNT] = {
        [D_ONE] = 1,
        [D_WIDTH] = config->width,
        [D_2WIDTH] = 2 * config->width,
        [D_3WIDTH] = 3 * config->width,
        [D_MLP] = config->d_mlp,
        [D_MEMORY] = config->d_memory,
        [D_VOCAB] = config->vocab_size,
        [D_POSITIONS] = config->n_positions,
        [D_TYPES] = config->token_types ? first_dim(weights, prefix, types) : 1,
        [D_ENCODER] = encoder_width,
    };
    lks_binder binder = {.weights = weights, .prefix = prefix, .dims = dims, .options = options};
    st = bind_tables(decoder, &binder, err);
    if (st == LKS_OK)
        st = lks_arena_init(&decoder->memory, binder.bytes + positions_cost(config), err);
    if (st != LKS_OK)
        goto fail;
    binder.arena = &decoder->memory;
    st = bind_tables(decoder, &binder, err);
    if (st != LKS_OK)
        goto fail;
    prepare_positions(decoder);
    st = lks_bind_finish(&binder, err);
    if (st != LKS_OK)
        goto fail;
    decoder->ends.head.bias = decoder->ends.head_bias;
    *out = decoder;
    return LKS_OK;
fail:
    lks_decoder_close(decoder);
    return st;
}

void lks_decoder_close(lks_decoder *decoder)
{
    if (!decoder)
        return;
    lks_arena_release(&decoder->memory);
    free(decoder->blocks);
    free(decoder);
}

const lks_decoder_config *lks_decoder_describe(const lks_decoder *decoder)
{
    return &decoder->config;
}

int lks_decoder_max_positions(const lks_decoder *decoder)
{
    return decoder->config.n_positions - decoder->config.position_offset;
}

size_t lks_decoder_weight_bytes(const lks_decoder *decoder)
{
    return decoder->memory.used;
}

int64_t lks_decoder_multiply_adds(const lks_decoder *decoder, bool head)
{
    const lks_decoder_config *c = &decoder->config;
    int64_t d = c->width;
    int64_t total = c->n_layers * (6 * d * d + 2 * d * c->d_mlp);
    if (head)
        total += d * c->vocab_size + (c->head_transform ? d * d : 0);
    return total;
}

lks_precision lks_decoder_precision(const lks_decoder *decoder)
{
    return lks_linear_precision(&decoder->blocks[0].fc1);
}
