/* Vision transformer: see vit.h. The tables below bind every family's tensor names to one set of fields. */
#include "vision/vit.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "vision/efficientnet.h"
#include "vision/positions.h"

enum { MAX_GRID = 512, MAX_PATCHES = 1 << 14 }; /* in a row or column, and in all: attention takes the square of it */

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
    const lks_ops *ops;
    lks_vit_config config;
    lks_vit_shape usual;
    lks_efficientnet *stem; /* hybrid: the feature map that patches are embedded from; else NULL */
    vit_embedding embedding;
    lks_block *blocks;
    lks_arena memory; /* packed weights */
    float *positions; /* [n_tokens, d] of the usual shape, interpolated, in `memory`, or NULL: the table fits */
};

enum { D_ONE, D_WIDTH, D_3WIDTH, D_MLP, D_FC1, D_PATCH, D_PATCH_WIDTH, D_POSITIONS, D_FEATURES, D_CONCEPTS, D_COUNT };

#define EMBEDDING(field) offsetof(vit_embedding, field)
#define BLOCK(field) offsetof(lks_block, field)

static const lks_binding vit_embedding_table[] = {
    {"embeddings.patch_embeddings.projection", LKS_BIND_PATCH, EMBEDDING(patch), D_WIDTH, D_PATCH, 0},
    {"embeddings.cls_token", LKS_BIND_ARRAY, EMBEDDING(class_token), D_WIDTH, 0, 0},
    {"embeddings.position_embeddings", LKS_BIND_ARRAY, EMBEDDING(positions), D_POSITIONS, D_WIDTH, 0},
    {"layernorm", LKS_BIND_NORM, EMBEDDING(norm), D_WIDTH, 0, 0},
};
static const lks_binding deit_distillation_table[] = {
    {"embeddings.distillation_token", LKS_BIND_ARRAY, EMBEDDING(distillation_token), D_WIDTH, 0, 0},
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
    if (st == LKS_OK && family == LKS_VIT_DEIT)
        st = lks_bind(binder, &vit->embedding, TABLE(deit_distillation_table), 0, err);
    for (int i = 0; st == LKS_OK && i < vit->config.n_layers; i++)
        st = lks_bind(binder, &vit->blocks[i], tables[family].block, tables[family].n_block, i, err);
    if (st == LKS_OK && vit->config.n_concepts > 0)
        st = lks_bind(binder, &vit->embedding, TABLE(hybrid_concept_table), 0, err);
    if (st == LKS_OK && vit->stem)
        st = lks_efficientnet_bind(vit->stem, binder, err);
    return st;
}

/* Whether the image has another grid than the position table was trained for. */
static bool positions_differ(const lks_vit *vit, const lks_vit_shape *shape)
{
    return shape->rows != vit->config.table_rows || shape->columns != vit->config.table_columns;
}

static size_t token_floats(const lks_vit *vit, const lks_vit_shape *shape)
{
    return (size_t)shape->n_tokens * (size_t)vit->config.width;
}

/* positions [n_tokens, d] of an image of that shape, from the table. */
static void fit_positions(float *positions, const lks_vit *vit, const lks_vit_shape *shape)
{
    const float *table = vit->embedding.positions;
    int d = vit->config.width, n_prefix = vit->config.n_prefix;
    memcpy(positions, table, (size_t)(n_prefix * d) * sizeof *positions);
    lks_positions_interpolate(positions + n_prefix * d, shape->rows, shape->columns, table + n_prefix * d,
                              vit->config.table_rows, vit->config.table_columns, d);
}

lks_status lks_vit_find_shape(const lks_vit *vit, lks_vit_shape *shape, int width, int height, lks_error *err)
{
    const lks_vit_config *c = &vit->config;
    lks_vit_shape found = {width, height, height / c->patch_height, width / c->patch_width, 0};
    if (vit->stem && (width != vit->usual.width || height != vit->usual.height))
        return lks_error_set(err, LKS_ERR_UNSUPPORTED,
                             "images of %d x %d pixels are not served: this model's have %d x %d", width, height,
                             vit->usual.width, vit->usual.height);
    if (vit->stem)
        lks_efficientnet_grid(vit->stem, &found.rows, &found.columns);
    if (found.rows < 1 || found.columns < 1 || found.rows > MAX_GRID || found.columns > MAX_GRID ||
        found.rows * found.columns > MAX_PATCHES)
        return lks_error_set(err, LKS_ERR_IMAGE, "resized to %d x %d pixels it has %s of %d x %d: crop it first", width,
                             height, found.rows < 1 || found.columns < 1 ? "not one patch" : "too many patches",
                             c->patch_width, c->patch_height);
    found.n_tokens = c->n_prefix + found.rows * found.columns;
    *shape = found;
    return LKS_OK;
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
    vit->ops = options->ops;
    vit->usual.width = width;
    vit->usual.height = height;
    vit->blocks = calloc((size_t)(c->n_layers > 0 ? c->n_layers : 1), sizeof *vit->blocks);
    if (!vit->blocks) {
        st = lks_error_set(err, LKS_ERR_NOMEM, "out of memory for the vision encoder");
        goto fail;
    }
    for (int i = 0; i < c->n_layers; i++)
        vit->blocks[i] = (lks_block){.n_heads = c->n_heads,
                                     .gated = c->swiglu,
                                     .activation = c->swiglu ? LKS_ACT_SILU : c->activation,
                                     .eps = c->eps};
    int d_features = 0;
    if (c->family == LKS_VIT_HYBRID) {
        st = lks_efficientnet_open(&vit->stem, json_object_get(config, "stem"), width, height, path, err);
        if (st != LKS_OK)
            goto fail;
        d_features = lks_efficientnet_channels(vit->stem);
    }
    if (lks_vit_find_shape(vit, &vit->usual, width, height, NULL) != LKS_OK) {
        st = lks_error_set(err, LKS_ERR_MODEL, "%s: an image of %d x %d pixels does not fit patches of %d x %d", path,
                           width, height, c->patch_width, c->patch_height);
        goto fail;
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
    size_t n_positions = positions_differ(vit, &vit->usual) ? token_floats(vit, &vit->usual) : 0;
    if (st == LKS_OK)
        st = lks_arena_init(&vit->memory, binder.bytes + lks_arena_cost(n_positions, sizeof(float)), err);
    if (st != LKS_OK)
        goto fail;
    binder.arena = &vit->memory;
    st = bind_tables(vit, &binder, err);
    if (st != LKS_OK)
        goto fail;
    if (n_positions > 0) {
        vit->positions = lks_arena_take(&vit->memory, n_positions, sizeof *vit->positions);
        assert(vit->positions);
        fit_positions(vit->positions, vit, &vit->usual);
    }
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

int lks_vit_n_prefix(const lks_vit *vit)
{
    return vit->config.n_prefix;
}

const lks_vit_shape *lks_vit_usual_shape(const lks_vit *vit)
{
    return &vit->usual;
}

void lks_vit_covered_size(const lks_vit *vit, int *width, int *height, const lks_vit_shape *shape)
{
    *width = vit->stem ? shape->width : shape->columns * vit->config.patch_width;
    *height = vit->stem ? shape->height : shape->rows * vit->config.patch_height;
}

size_t lks_vit_weight_bytes(const lks_vit *vit)
{
    return vit->memory.used;
}

int64_t lks_vit_multiply_adds(const lks_vit *vit)
{
    const lks_vit_config *c = &vit->config;
    int64_t n = vit->usual.n_tokens, d = c->width, fc1 = c->swiglu ? 2 * c->d_mlp : c->d_mlp;
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
    const int64_t n = vit->usual.n_tokens, d = vit->config.width;
    int64_t per_token = 0;
    for (int i = 0; i < vit->config.n_layers; i++) {
        const lks_block *b = &vit->blocks[i];
        per_token += int8_products(&b->qkv) + int8_products(&b->proj) + int8_products(&b->fc1) + int8_products(&b->fc2);
        per_token += lks_block_attends_int8(vit->ops, b, (int)n) ? 2 * n * d : 0;
    }
    const vit_embedding *embedding = &vit->embedding;
    return n * per_token + (n - vit->config.n_prefix) * int8_products(&embedding->patch) +
           int8_products(&embedding->classifier) + (vit->stem ? lks_efficientnet_int8_multiply_adds(vit->stem) : 0);
}

/* Where n images are embedded. */
typedef struct embedding_room {
    float *features; /* [n, n_patches, d_features] what the patches are embedded from */
    float *embedded; /* [n, n_patches, d]; one image's go where they belong */
    float *means;    /* [n, d_features] of the features, where there are concepts */
    float *probabilities;
    float *likeliest;   /* [n, n_concept_tokens] */
    int32_t *concepts;  /* the same */
    float *of_concepts; /* [n, n_concept_tokens, d] */
} embedding_room;

/* Takes them from the arena; without one it only counts the bytes. False: it is full. */
static bool take_embedding_room(embedding_room *room, size_t *bytes, const lks_vit *vit, lks_arena *arena,
                                const lks_vit_shape *shape, int n_images)
{
    const lks_vit_config *c = &vit->config;
    size_t n = (size_t)n_images, d = (size_t)c->width, d_features = (size_t)vit->embedding.patch.d_in;
    size_t n_patches = (size_t)(shape->n_tokens - c->n_prefix), n_concept_tokens = (size_t)c->n_concept_tokens;
    const struct {
        void **to;
        size_t n;
    } parts[] = {
        {(void **)&room->features, n * n_patches * d_features},
        {(void **)&room->embedded, n > 1 ? n * n_patches * d : 0},
        {(void **)&room->means, c->n_concepts > 0 ? n * d_features : 0},
        {(void **)&room->probabilities, n * (size_t)c->n_concepts},
        {(void **)&room->likeliest, n * n_concept_tokens},
        {(void **)&room->concepts, n * n_concept_tokens},
        {(void **)&room->of_concepts, n * n_concept_tokens * d},
    };
    *bytes = 0;
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        *bytes += lks_arena_cost(parts[i].n, sizeof(float));
        if (arena && parts[i].n > 0 && !(*parts[i].to = lks_arena_take(arena, parts[i].n, sizeof(float))))
            return false;
    }
    return true;
}

size_t lks_vit_scratch(const lks_vit *vit, const lks_vit_shape *shape, int n, int n_threads)
{
    const lks_vit_config *c = &vit->config;
    int widest = c->d_mlp > 3 * c->width ? c->d_mlp : 3 * c->width;
    if (vit->embedding.patch.d_in > widest)
        widest = vit->embedding.patch.d_in;
    if (c->n_concepts > widest)
        widest = c->n_concepts;
    embedding_room room;
    size_t embedding, ops = lks_ops_scratch(n_threads, shape->n_tokens, c->width / c->n_heads, widest);
    size_t stem = vit->stem ? lks_efficientnet_scratch(vit->stem, n, n_threads) : 0;
    take_embedding_room(&room, &embedding, vit, NULL, shape, n);
    embedding += lks_arena_cost(token_floats(vit, shape), sizeof(float)) + (stem > ops ? stem : ops);
    size_t blocks = c->n_layers > 0 ? lks_block_scratch(vit->ops, &vit->blocks[0], n, shape->n_tokens) + ops : 0;
    return embedding > blocks ? embedding : blocks;
}

/* tokens [n_concept_tokens, d] of every image = its concept tokens, plus `positions` of their shape. */
static void embed_concepts(const lks_vit *vit, const lks_compute *compute, float *tokens, const embedding_room *room,
                           const float *positions, const lks_vit_shape *shape, int n)
{
    const vit_embedding *embedding = &vit->embedding;
    int d_features = embedding->patch.d_in, d = vit->config.width, n_each = vit->config.n_concept_tokens;
    int n_patches = shape->n_tokens - vit->config.n_prefix, n_concepts = vit->config.n_concepts;
    const lks_ops *ops = compute->ops;
    for (int i = 0; i < n; i++)
        ops->mean(compute, room->means + (size_t)i * (size_t)d_features,
                  room->features + (size_t)i * (size_t)n_patches * (size_t)d_features, n_patches, d_features);
    lks_linear_dense(compute, &embedding->classifier, room->probabilities, room->means, n, LKS_ACT_NONE, NULL);
    ops->softmax(compute, room->probabilities, room->probabilities, n, n_concepts);
    ops->top_k(compute, room->likeliest, room->concepts, room->probabilities, n, n_concepts, n_each);
    ops->embed(compute, room->of_concepts, embedding->concepts, room->concepts, n * n_each, d, 1.0f);
    ops->add_outer(compute, room->of_concepts, room->likeliest, embedding->certainty, n * n_each, d);
    for (int i = 0; i < n; i++)
        ops->add_scaled(compute, tokens + (size_t)i * token_floats(vit, shape),
                        room->of_concepts + (size_t)i * (size_t)(n_each * d), positions, NULL, n_each, d);
}

/* tokens [d] of every image = the class token, and the distillation token behind it, plus positions. */
static void embed_prefix(const lks_vit *vit, const lks_compute *compute, float *tokens, const float *positions,
                         const lks_vit_shape *shape, int n)
{
    int d = vit->config.width, n_learned = 0;
    const float *prefix[2] = {vit->embedding.class_token, vit->embedding.distillation_token};
    for (; n_learned < 2 && n_learned < vit->config.n_prefix && prefix[n_learned]; n_learned++)
        compute->ops->add_scaled(compute, tokens + n_learned * d, prefix[n_learned], positions + n_learned * d, NULL, 1,
                                 d);
    const lks_copy others = {.n_outer = n - 1,
                             .n_inner = 1,
                             .d = n_learned * d,
                             .to = tokens + token_floats(vit, shape),
                             .to_outer = (int64_t)token_floats(vit, shape),
                             .from = tokens};
    if (n > 1)
        compute->ops->copy(compute, &others);
}

/* features = the patches of the images. Images above each other are one tall image, unless the grid leaves a rest of each. */
static void cut_patches(const lks_vit *vit, const lks_compute *compute, float *features, const float *pixels,
                        const lks_vit_shape *shape, int n)
{
    const lks_vit_config *c = &vit->config;
    int at_once = shape->height % c->patch_height == 0 ? n : 1;
    size_t of_patches = (size_t)(shape->rows * shape->columns) * (size_t)vit->embedding.patch.d_in;
    size_t of_pixels = (size_t)shape->width * (size_t)shape->height * 3;
    for (size_t i = 0; i < (size_t)n; i += (size_t)at_once)
        compute->ops->patches(compute, features + i * of_patches, pixels + i * of_pixels, at_once * shape->height,
                              shape->width, c->patch_height, c->patch_width);
}

/* x [n, n_tokens, d] = prefix tokens and embedded patches, plus positions [n_tokens, d]. */
static lks_status embed(const lks_vit *vit, const lks_compute *compute, float *x, const embedding_room *room,
                        const float *pixels, const float *positions, const lks_vit_shape *shape, int n, lks_error *err)
{
    int d = vit->config.width, n_prefix = vit->config.n_prefix, n_patches = shape->n_tokens - n_prefix;
    const lks_linear *patch = &vit->embedding.patch;
    float *of_patches = x + n_prefix * d;
    embed_prefix(vit, compute, x, positions, shape, n);
    if (vit->stem) {
        lks_status st = lks_efficientnet_run(vit->stem, compute, room->features, pixels, n, err);
        if (st != LKS_OK)
            return st;
        if (vit->config.n_concepts > 0)
            embed_concepts(vit, compute, x + d, room, positions + d, shape, n);
    } else {
        cut_patches(vit, compute, room->features, pixels, shape, n);
    }
    positions += n_prefix * d;
    if (n == 1) {
        lks_linear_dense(compute, patch, of_patches, room->features, n_patches, LKS_ACT_NONE, positions);
        return LKS_OK;
    }
    lks_linear_dense(compute, patch, room->embedded, room->features, n * n_patches, LKS_ACT_NONE, NULL);
    for (int i = 0; i < n; i++)
        compute->ops->add_scaled(compute, of_patches + (size_t)i * token_floats(vit, shape),
                                 room->embedded + (size_t)i * (size_t)n_patches * (size_t)d, positions, NULL, n_patches,
                                 d);
    return LKS_OK;
}

/* The positions of that shape: the table or its usual form; else interpolated, in the arena. */
static lks_status find_positions(const lks_vit *vit, const lks_compute *compute, const float **positions,
                                 const lks_vit_shape *shape, lks_error *err)
{
    bool usual = shape->rows == vit->usual.rows && shape->columns == vit->usual.columns;
    *positions = usual && vit->positions ? vit->positions : vit->embedding.positions;
    if (usual || !positions_differ(vit, shape))
        return LKS_OK;
    size_t n = token_floats(vit, shape);
    float *fitted = malloc(n * sizeof *fitted), *room = lks_arena_take(compute->scratch, n, sizeof *room);
    lks_status st = LKS_OK;
    if (fitted && room) {
        fit_positions(fitted, vit, shape);
        compute->ops->upload(compute, room, fitted, n * sizeof *fitted);
        *positions = room;
    } else {
        st = lks_error_set(err, LKS_ERR_NOMEM, "out of memory for the positions of %d image tokens", shape->n_tokens);
    }
    free(fitted);
    return st;
}

/* What lks_vit_encode does when positions and room are there. */
static lks_status run(const lks_vit *vit, const lks_compute *compute, float *tokens, const embedding_room *room,
                      const float *pixels, const float *positions, const lks_vit_shape *shape, int n, size_t mark,
                      lks_error *err)
{
    const lks_vit_config *c = &vit->config;
    lks_status st = embed(vit, compute, tokens, room, pixels, positions, shape, n, err);
    if (st != LKS_OK)
        return st;
    lks_arena_reset(compute->scratch, mark); /* the room is free again */
    for (int i = 0; i < c->n_layers; i++)
        lks_block_run(compute, &vit->blocks[i], tokens, n, shape->n_tokens);
    compute->ops->layer_norm(compute, tokens, tokens, n * shape->n_tokens, c->width, vit->embedding.norm.weight,
                             vit->embedding.norm.bias, c->eps);
    return LKS_OK;
}

lks_status lks_vit_encode(const lks_vit *vit, const lks_compute *compute, float *tokens, const float *pixels,
                          const lks_vit_shape *shape, int n, lks_error *err)
{
    size_t mark = lks_arena_mark(compute->scratch), bytes;
    const float *positions;
    embedding_room room;
    lks_status st = find_positions(vit, compute, &positions, shape, err);
    if (st == LKS_OK && !take_embedding_room(&room, &bytes, vit, compute->scratch, shape, n))
        st = lks_error_set(err, LKS_ERR_NOMEM, "the activation arena is too small for the vision encoder");
    /* steps of a decoder have positive keys, its looks no address in the third place */
    const int64_t key[4] = {-n, (intptr_t)tokens, (intptr_t)pixels, (int64_t)shape->width << 32 | shape->height};
    if (st == LKS_OK && !compute->ops->record(compute, key)) {
        st = run(vit, compute, tokens, &room, pixels, positions, shape, n, mark, err);
        compute->ops->recorded(compute);
    }
    lks_arena_reset(compute->scratch, mark);
    return st;
}
