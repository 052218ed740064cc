/* Vision transformer: see vit.h. The tables below bind every family's tensor names to one set of fields. */
#include "vision/vit.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "vision/efficientnet.h"
#include "vision/positions.h"

typedef struct vit_block {
    lks_norm norm1, norm2;
    lks_linear qkv, proj, fc1, fc2;
    const float *scale1, *scale2; /* [d] layer scale or NULL */
} vit_block;

typedef struct vit_embedding {
    lks_linear patch;
    lks_linear classifier;                         /* hybrid with concepts, see vit.h */
    lks_table concepts;                            /* [n_concepts, d] */
    const float *certainty;                        /* [d] */
    const float *class_token, *distillation_token; /* [d] or NULL */
    const float *positions;                        /* [n_prefix + table patches, d] */
    lks_norm norm;
} vit_embedding;

struct lks_vit {
    lks_vit_config config;
    int image_width, image_height;
    int grid_rows, grid_columns;
    int n_tokens;
    lks_efficientnet *stem; /* hybrid: the feature map that patches are embedded from; else NULL */
    vit_embedding embedding;
    vit_block *blocks;
    lks_arena memory; /* packed weights */
    float *positions; /* [n_tokens, d], interpolated, in `memory`, or NULL: the table fits */
};

enum { D_ONE, D_WIDTH, D_3WIDTH, D_MLP, D_FC1, D_PATCH, D_PATCH_WIDTH, D_POSITIONS, D_FEATURES, D_CONCEPTS, D_COUNT };

#define EMBEDDING(field) offsetof(vit_embedding, field)
#define BLOCK(field) offsetof(vit_block, field)

static const lks_binding vit_embedding_table[] = {
    {"embeddings.patch_embeddings.projection", LKS_BIND_PATCH, EMBEDDING(patch), D_WIDTH, D_PATCH, 0},
    {"embeddings.cls_token", LKS_BIND_ARRAY, EMBEDDING(class_token), D_WIDTH, 0, 0},
    {"embeddings.distillation_token", LKS_BIND_ARRAY, EMBEDDING(distillation_token), D_WIDTH, 0, LKS_BIND_OPTIONAL},
    {"embeddings.position_embeddings", LKS_BIND_ARRAY, EMBEDDING(positions), D_POSITIONS, D_WIDTH, 0},
    {"layernorm", LKS_BIND_NORM, EMBEDDING(norm), D_WIDTH, 0, 0},
};
static const lks_binding vit_block_table[] = {
    {"encoder.layer.#.layernorm_before", LKS_BIND_NORM, BLOCK(norm1), D_WIDTH, 0, 0},
    {"encoder.layer.#.attention.attention.query+encoder.layer.#.attention.attention.key+"
     "encoder.layer.#.attention.attention.value",
     LKS_BIND_LINEAR, BLOCK(qkv), D_3WIDTH, D_WIDTH, LKS_BIND_BIAS_OPTIONAL},
    {"encoder.layer.#.attention.output.dense", LKS_BIND_LINEAR, BLOCK(proj), D_WIDTH, D_WIDTH, 0},
    {"encoder.layer.#.layernorm_after", LKS_BIND_NORM, BLOCK(norm2), D_WIDTH, 0, 0},
    {"encoder.layer.#.intermediate.dense", LKS_BIND_LINEAR, BLOCK(fc1), D_FC1, D_WIDTH, 0},
    {"encoder.layer.#.output.dense", LKS_BIND_LINEAR, BLOCK(fc2), D_WIDTH, D_MLP, 0},
};
static const lks_binding dinov2_block_table[] = {
    {"encoder.layer.#.norm1", LKS_BIND_NORM, BLOCK(norm1), D_WIDTH, 0, 0},
    {"encoder.layer.#.attention.attention.query+encoder.layer.#.attention.attention.key+"
     "encoder.layer.#.attention.attention.value",
     LKS_BIND_LINEAR, BLOCK(qkv), D_3WIDTH, D_WIDTH, LKS_BIND_BIAS_OPTIONAL},
    {"encoder.layer.#.attention.output.dense", LKS_BIND_LINEAR, BLOCK(proj), D_WIDTH, D_WIDTH, 0},
    {"encoder.layer.#.layer_scale1.lambda1", LKS_BIND_ARRAY, BLOCK(scale1), D_WIDTH, 0, 0},
    {"encoder.layer.#.norm2", LKS_BIND_NORM, BLOCK(norm2), D_WIDTH, 0, 0},
    {"encoder.layer.#.mlp.fc1|encoder.layer.#.mlp.weights_in", LKS_BIND_LINEAR, BLOCK(fc1), D_FC1, D_WIDTH, 0},
    {"encoder.layer.#.mlp.fc2|encoder.layer.#.mlp.weights_out", LKS_BIND_LINEAR, BLOCK(fc2), D_WIDTH, D_MLP, 0},
    {"encoder.layer.#.layer_scale2.lambda1", LKS_BIND_ARRAY, BLOCK(scale2), D_WIDTH, 0, 0},
};
static const lks_binding blip_embedding_table[] = {
    {"embeddings.patch_embedding", LKS_BIND_PATCH, EMBEDDING(patch), D_WIDTH, D_PATCH, 0},
    {"embeddings.class_embedding", LKS_BIND_ARRAY, EMBEDDING(class_token), D_WIDTH, 0, 0},
    {"embeddings.position_embedding", LKS_BIND_ARRAY, EMBEDDING(positions), D_POSITIONS, D_WIDTH, 0},
    {"post_layernorm", LKS_BIND_NORM, EMBEDDING(norm), D_WIDTH, 0, 0},
};
static const lks_binding blip_block_table[] = {
    {"encoder.layers.#.layer_norm1", LKS_BIND_NORM, BLOCK(norm1), D_WIDTH, 0, 0},
    {"encoder.layers.#.self_attn.qkv", LKS_BIND_LINEAR, BLOCK(qkv), D_3WIDTH, D_WIDTH, LKS_BIND_BIAS_OPTIONAL},
    {"encoder.layers.#.self_attn.projection", LKS_BIND_LINEAR, BLOCK(proj), D_WIDTH, D_WIDTH, 0},
    {"encoder.layers.#.layer_norm2", LKS_BIND_NORM, BLOCK(norm2), D_WIDTH, 0, 0},
    {"encoder.layers.#.mlp.fc1", LKS_BIND_LINEAR, BLOCK(fc1), D_FC1, D_WIDTH, 0},
    {"encoder.layers.#.mlp.fc2", LKS_BIND_LINEAR, BLOCK(fc2), D_WIDTH, D_MLP, 0},
};
static const lks_binding hybrid_embedding_table[] = {
    {"vision.proj", LKS_BIND_LINEAR, EMBEDDING(patch), D_WIDTH, D_FEATURES, 0},
    {"vision.class_token", LKS_BIND_ARRAY, EMBEDDING(class_token), D_WIDTH, 0, 0},
    {"vision.positions", LKS_BIND_ARRAY, EMBEDDING(positions), D_POSITIONS, D_WIDTH, 0},
    {"vision.norm", LKS_BIND_NORM, EMBEDDING(norm), D_WIDTH, 0, 0},
};
static const lks_binding hybrid_concept_table[] = {
    {"vision.concepts.classifier", LKS_BIND_LINEAR, EMBEDDING(classifier), D_CONCEPTS, D_FEATURES, 0},
    {"vision.concepts.embeddings", LKS_BIND_TABLE, EMBEDDING(concepts), D_CONCEPTS, D_WIDTH, 0},
    {"vision.concepts.certainty", LKS_BIND_ARRAY, EMBEDDING(certainty), D_WIDTH, 0, 0},
};
static const lks_binding hybrid_block_table[] = {
    {"vision.blocks.#.ln1", LKS_BIND_NORM, BLOCK(norm1), D_WIDTH, 0, 0},
    {"vision.blocks.#.qkv", LKS_BIND_LINEAR, BLOCK(qkv), D_3WIDTH, D_WIDTH, 0},
    {"vision.blocks.#.proj", LKS_BIND_LINEAR, BLOCK(proj), D_WIDTH, D_WIDTH, 0},
    {"vision.blocks.#.ln2", LKS_BIND_NORM, BLOCK(norm2), D_WIDTH, 0, 0},
    {"vision.blocks.#.fc1", LKS_BIND_LINEAR, BLOCK(fc1), D_FC1, D_WIDTH, 0},
    {"vision.blocks.#.fc2", LKS_BIND_LINEAR, BLOCK(fc2), D_WIDTH, D_MLP, 0},
};

#define TABLE(array) (array), sizeof(array) / sizeof *(array)

static lks_status bind_tables(lks_vit *vit, lks_binder *binder, lks_error *err)
{
    const struct {
        const lks_binding *embedding;
        size_t n_embedding;
        const lks_binding *block;
        size_t n_block;
    } tables[] = {
        [LKS_VIT_PLAIN] = {TABLE(vit_embedding_table), TABLE(vit_block_table)},
        [LKS_VIT_DEIT] = {TABLE(vit_embedding_table), TABLE(vit_block_table)},
        [LKS_VIT_DINOV2] = {TABLE(vit_embedding_table), TABLE(dinov2_block_table)},
        [LKS_VIT_BLIP] = {TABLE(blip_embedding_table), TABLE(blip_block_table)},
        [LKS_VIT_HYBRID] = {TABLE(hybrid_embedding_table), TABLE(hybrid_block_table)},
    };
    lks_vit_family family = vit->config.family;
    lks_status st = lks_bind(binder, &vit->embedding, tables[family].embedding, tables[family].n_embedding, 0, err);
    for (int i = 0; st == LKS_OK && i < vit->config.n_layers; i++)
        st = lks_bind(binder, &vit->blocks[i], tables[family].block, tables[family].n_block, i, err);
    if (st == LKS_OK && vit->config.n_concepts > 0)
        st = lks_bind(binder, &vit->embedding, TABLE(hybrid_concept_table), 0, err);
    if (st == LKS_OK && vit->stem)
        st = lks_efficientnet_bind(vit->stem, binder, err);
    return st;
}

/* Whether the image has another grid than the position table was trained for. */
static bool positions_differ(const lks_vit *vit)
{
    return vit->grid_rows != vit->config.table_rows || vit->grid_columns != vit->config.table_columns;
}

static size_t positions_cost(const lks_vit *vit)
{
    size_t count = (size_t)vit->n_tokens * (size_t)vit->config.width;
    return positions_differ(vit) ? lks_arena_cost(count, sizeof(float)) : 0;
}

/* Interpolates the position table where it must. */
static void fit_positions(lks_vit *vit)
{
    if (!positions_differ(vit))
        return;
    int table_rows = vit->config.table_rows, table_columns = vit->config.table_columns;
    int d = vit->config.width, n_prefix = vit->config.n_prefix;
    vit->positions = lks_arena_take(&vit->memory, (size_t)vit->n_tokens * (size_t)d, sizeof *vit->positions);
    assert(vit->positions); /* positions_cost */
    memcpy(vit->positions, vit->embedding.positions, (size_t)(n_prefix * d) * sizeof *vit->positions);
    lks_positions_interpolate(vit->positions + n_prefix * d, vit->grid_rows, vit->grid_columns,
                              vit->embedding.positions + n_prefix * d, table_rows, table_columns, d);
}

lks_status lks_vit_open(lks_vit **out, const lks_weights *weights, const char *prefix, const json_t *config,
                        const char *model_type, int width, int height, const lks_bind_options *options, lks_error *err)
{
    const char *path = lks_weights_path(weights);
    lks_vit *vit = calloc(1, sizeof *vit);
    if (!vit)
        return lks_error_set(err, LKS_ERR_NOMEM, "out of memory for the vision encoder");
    lks_status st = lks_vit_config_parse(&vit->config, config, model_type, path, err);
    if (st != LKS_OK)
        goto fail;
    const lks_vit_config *c = &vit->config;
    vit->image_width = width;
    vit->image_height = height;
    vit->grid_rows = height / c->patch_height;
    vit->grid_columns = width / c->patch_width;
    if (vit->grid_rows < 1 || vit->grid_columns < 1 || vit->grid_rows > 512 || vit->grid_columns > 512) {
        st = lks_error_set(err, LKS_ERR_MODEL, "%s: an image of %d x %d pixels does not fit patches of %d x %d", path,
                           width, height, c->patch_width, c->patch_height);
        goto fail;
    }
    vit->n_tokens = c->n_prefix + vit->grid_rows * vit->grid_columns;
    vit->blocks = calloc((size_t)(c->n_layers > 0 ? c->n_layers : 1), sizeof *vit->blocks);
    if (!vit->blocks) {
        st = lks_error_set(err, LKS_ERR_NOMEM, "out of memory for the vision encoder");
        goto fail;
    }
    int d_features = 0;
    if (c->family == LKS_VIT_HYBRID) {
        st = lks_efficientnet_open(&vit->stem, json_object_get(config, "stem"), width, height, path, err);
        if (st != LKS_OK)
            goto fail;
        d_features = lks_efficientnet_channels(vit->stem);
        lks_efficientnet_grid(vit->stem, &vit->grid_rows, &vit->grid_columns);
        vit->n_tokens = c->n_prefix + vit->grid_rows * vit->grid_columns;
    }

    const int dims[D_COUNT] = {
        [D_ONE] = 1,
        [D_WIDTH] = c->width,
        [D_3WIDTH] = 3 * c->width,
        [D_MLP] = c->d_mlp,
        [D_FC1] = c->swiglu ? 2 * c->d_mlp : c->d_mlp,
        [D_PATCH] = c->patch_height,
        [D_PATCH_WIDTH] = c->patch_width,
        [D_POSITIONS] = c->n_prefix + c->table_rows * c->table_columns,
        [D_FEATURES] = d_features,
        [D_CONCEPTS] = c->n_concepts,
    };
    lks_binder binder = {.weights = weights, .prefix = prefix, .dims = dims, .options = options};
    st = bind_tables(vit, &binder, err);
    if (st == LKS_OK)
        st = lks_arena_init(&vit->memory, binder.bytes + positions_cost(vit), err);
    if (st != LKS_OK)
        goto fail;
    binder.arena = &vit->memory;
    st = bind_tables(vit, &binder, err);
    if (st != LKS_OK)
        goto fail;
    fit_positions(vit);
    st = lks_bind_finish(&binder, err);
    if (st != LKS_OK)
        goto fail;
    *out = vit;
    return LKS_OK;
fail:
    lks_vit_close(vit);
    return st;
}

void lks_vit_close(lks_vit *vit)
{
    if (!vit)
        return;
    lks_efficientnet_close(vit->stem);
    lks_arena_release(&vit->memory);
    free(vit->blocks);
    free(vit);
}

int lks_vit_width(const lks_vit *vit)
{
    return vit->config.width;
}

int lks_vit_n_tokens(const lks_vit *vit)
{
    return vit->n_tokens;
}

int lks_vit_n_prefix(const lks_vit *vit)
{
    return vit->config.n_prefix;
}

void lks_vit_grid(const lks_vit *vit, int *rows, int *columns)
{
    *rows = vit->grid_rows;
    *columns = vit->grid_columns;
}

void lks_vit_image_size(const lks_vit *vit, int *width, int *height)
{
    *width = vit->image_width;
    *height = vit->image_height;
}

void lks_vit_covered_size(const lks_vit *vit, int *width, int *height)
{
    *width = vit->stem ? vit->image_width : vit->grid_columns * vit->config.patch_width;
    *height = vit->stem ? vit->image_height : vit->grid_rows * vit->config.patch_height;
}

size_t lks_vit_weight_bytes(const lks_vit *vit)
{
    return vit->memory.used;
}

int64_t lks_vit_multiply_adds(const lks_vit *vit)
{
    const lks_vit_config *c = &vit->config;
    int64_t n = vit->n_tokens, d = c->width, fc1 = c->swiglu ? 2 * c->d_mlp : c->d_mlp;
    int64_t block = n * d * (4 * d + fc1 + c->d_mlp) + 2 * n * n * d;
    int64_t d_features = vit->embedding.patch.d_in;
    int64_t embedding = (n - c->n_prefix) * d_features * d + c->n_concepts * d_features;
    return c->n_layers * block + embedding + (vit->stem ? lks_efficientnet_multiply_adds(vit->stem) : 0);
}

static int64_t int8_products(const lks_linear *layer)
{
    return layer->int8.panels ? (int64_t)layer->d_in * layer->d_out : 0;
}

int64_t lks_vit_int8_multiply_adds(const lks_vit *vit)
{
    int64_t per_token = 0;
    for (int i = 0; i < vit->config.n_layers; i++) {
        const vit_block *b = &vit->blocks[i];
        per_token += int8_products(&b->qkv) + int8_products(&b->proj) + int8_products(&b->fc1) + int8_products(&b->fc2);
    }
    const vit_embedding *embedding = &vit->embedding;
    return vit->n_tokens * per_token + (vit->n_tokens - vit->config.n_prefix) * int8_products(&embedding->patch) +
           int8_products(&embedding->classifier);
}

/* Floats of the widest intermediate row set beside x: qkv and attention output, the MLP's hidden layer, or the embedded
 * patches with their mean, the probabilities of concepts and the likeliest of them. */
static size_t hidden_floats(const lks_vit *vit)
{
    const lks_vit_config *c = &vit->config;
    size_t d = (size_t)c->width, mlp = (size_t)c->d_mlp * (c->swiglu ? 3 : 1);
    size_t columns = 4 * d > mlp ? 4 * d : mlp;
    size_t rows = (size_t)vit->n_tokens * columns;
    size_t patches = (size_t)(vit->n_tokens - c->n_prefix + 1) * (size_t)vit->embedding.patch.d_in +
                     (size_t)c->n_concepts + 2 * LKS_VIT_MAX_CONCEPT_TOKENS;
    return rows > patches ? rows : patches;
}

size_t lks_vit_scratch(const lks_vit *vit, int n_threads)
{
    const lks_vit_config *c = &vit->config;
    size_t d = (size_t)c->width, n = (size_t)vit->n_tokens;
    int widest = c->d_mlp > 3 * c->width ? c->d_mlp : 3 * c->width;
    if (vit->embedding.patch.d_in > widest)
        widest = vit->embedding.patch.d_in;
    if (c->n_concepts > widest)
        widest = c->n_concepts;
    size_t bytes = 2 * lks_arena_cost(n * d, sizeof(float)) +
                   lks_ops_scratch(n_threads, vit->n_tokens, c->width / c->n_heads, widest);
    size_t stem = vit->stem ? lks_efficientnet_scratch(vit->stem, n_threads) : 0;
    return lks_arena_cost(hidden_floats(vit), sizeof(float)) + (bytes > stem ? bytes : stem);
}

static void linear_residual(const lks_compute *compute, const lks_linear *layer, float *x, float *spare,
                            const float *input, int n, const float *scale)
{
    if (!scale) {
        lks_linear_dense(compute, layer, x, input, n, LKS_ACT_NONE, x);
        return;
    }
    lks_linear_dense(compute, layer, spare, input, n, LKS_ACT_NONE, NULL);
    compute->ops->add_scaled(compute, x, x, spare, scale, n, layer->d_out);
}

static void run_block(const lks_vit *vit, const vit_block *block, const lks_compute *compute, float *x, float *normed,
                      float *hidden)
{
    const lks_ops *ops = compute->ops;
    int n = vit->n_tokens, d = vit->config.width;
    float eps = vit->config.eps;

    ops->layer_norm(compute, normed, x, n, d, block->norm1.weight, block->norm1.bias, eps);
    lks_linear_dense(compute, &block->qkv, hidden, normed, n, LKS_ACT_NONE, NULL);
    float *mixed = hidden + (size_t)n * 3 * (size_t)d;
    lks_self_attention(compute, mixed, hidden, n, vit->config.n_heads, d);
    linear_residual(compute, &block->proj, x, normed, mixed, n, block->scale1);

    ops->layer_norm(compute, normed, x, n, d, block->norm2.weight, block->norm2.bias, eps);
    if (vit->config.swiglu) {
        float *gated = hidden + (size_t)n * 2 * (size_t)vit->config.d_mlp;
        lks_linear_dense(compute, &block->fc1, hidden, normed, n, LKS_ACT_NONE, NULL);
        ops->gated(compute, gated, hidden, n, vit->config.d_mlp, LKS_ACT_SILU); /* Shazeer 2020 */
        hidden = gated;
    } else {
        lks_linear_dense(compute, &block->fc1, hidden, normed, n, vit->config.activation, NULL);
    }
    linear_residual(compute, &block->fc2, x, normed, hidden, n, block->scale2);
}

/* tokens [n_concept_tokens, d] = the concept tokens, plus `positions` of their shape. features [n_patches, d_features], with room
 * behind them for one more row, the probabilities and the likeliest of them. */
static void embed_concepts(const lks_vit *vit, const lks_compute *compute, float *tokens, float *features,
                           int n_patches, const float *positions)
{
    const vit_embedding *embedding = &vit->embedding;
    int d_features = embedding->patch.d_in, d = vit->config.width, n = vit->config.n_concept_tokens;
    const lks_ops *ops = compute->ops;
    float *mean = features + (size_t)n_patches * (size_t)d_features, *probability = mean + d_features;
    float *likeliest = probability + vit->config.n_concepts;
    int32_t *concepts = (int32_t *)(void *)(likeliest + LKS_VIT_MAX_CONCEPT_TOKENS); /* of the same size */
    ops->mean(compute, mean, features, n_patches, d_features);
    lks_linear_dense(compute, &embedding->classifier, probability, mean, 1, LKS_ACT_NONE, NULL);
    ops->softmax(compute, probability, probability, 1, vit->config.n_concepts);
    ops->top_k(compute, likeliest, concepts, probability, 1, vit->config.n_concepts, n);
    ops->embed(compute, tokens, embedding->concepts, concepts, n, d, 1.0f);
    ops->add_outer(compute, tokens, likeliest, embedding->certainty, n, d);
    ops->add_scaled(compute, tokens, tokens, positions, NULL, n, d);
}

/* x [n_tokens, d] = prefix tokens and embedded patches, plus positions. */
static lks_status embed(const lks_vit *vit, const lks_compute *compute, float *x, float *hidden, const float *pixels,
                        lks_error *err)
{
    int d = vit->config.width, n_prefix = vit->config.n_prefix, n_patches = vit->n_tokens - n_prefix;
    const float *positions = vit->positions ? vit->positions : vit->embedding.positions;
    const float *prefix[2] = {vit->embedding.class_token, vit->embedding.distillation_token};
    for (int i = 0; i < n_prefix && prefix[i]; i++)
        compute->ops->add_scaled(compute, x + i * d, prefix[i], positions + i * d, NULL, 1, d);
    if (vit->stem) {
        lks_status st = lks_efficientnet_run(vit->stem, compute, hidden, pixels, err);
        if (st != LKS_OK)
            return st;
        if (vit->config.n_concepts > 0)
            embed_concepts(vit, compute, x + d, hidden, n_patches, positions + d);
    } else {
        compute->ops->patches(compute, hidden, pixels, vit->image_height, vit->image_width, vit->config.patch_height,
                              vit->config.patch_width);
    }
    lks_linear_dense(compute, &vit->embedding.patch, x + n_prefix * d, hidden, n_patches, LKS_ACT_NONE,
                     positions + n_prefix * d);
    return LKS_OK;
}

lks_status lks_vit_encode(const lks_vit *vit, const lks_compute *compute, float *tokens, const float *pixels,
                          lks_error *err)
{
    const lks_vit_config *c = &vit->config;
    size_t mark = lks_arena_mark(compute->scratch), count = (size_t)vit->n_tokens * (size_t)c->width;
    float *hidden = lks_arena_take(compute->scratch, hidden_floats(vit), sizeof *hidden);
    lks_status st = LKS_OK;
    if (!hidden)
        goto full;
    st = embed(vit, compute, tokens, hidden, pixels, err);
    if (st != LKS_OK)
        goto done;
    float *normed = lks_arena_take(compute->scratch, count, sizeof *normed);
    if (!normed)
        goto full;
    for (int i = 0; i < c->n_layers; i++)
        run_block(vit, &vit->blocks[i], compute, tokens, normed, hidden);
    compute->ops->layer_norm(compute, tokens, tokens, vit->n_tokens, c->width, vit->embedding.norm.weight,
                             vit->embedding.norm.bias, c->eps);
    goto done;
full:
    st = lks_error_set(err, LKS_ERR_NOMEM, "the activation arena is too small for the vision encoder");
done:
    lks_arena_reset(compute->scratch, mark);
    return st;
}
