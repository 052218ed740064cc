/* EfficientNet-Lite: see efficientnet.h. */
#include "vision/efficientnet.h"

#include <stdlib.h>

#include "fusion/json.h"

enum { MAX_BLOCKS = 128, MAX_CHANNELS = 16384 };

/* One spatial axis of a convolution. */
typedef struct axis {
    int in, out, pad;
} axis;

typedef struct net_block {
    int c_in, c_hidden, c_out, kernel, stride;
    bool expands, shortcut;
    axis rows, columns;
    lks_linear expand, project;
    lks_filter_weights depthwise;
} net_block;

struct lks_efficientnet {
    const lks_ops *ops;
    int c_stem, c_head, n_blocks;
    int image_height, image_width;
    axis stem_rows, stem_columns;
    lks_filter_weights stem;
    lks_linear head;
    net_block blocks[MAX_BLOCKS];
};

/* Plans one axis: the padding comes from `trained`, the size this layer had in training, which is advanced. */
static axis plan_axis(int size, int *trained, int kernel, int stride)
{
    int trained_out = (*trained + stride - 1) / stride;
    int total = (trained_out - 1) * stride + kernel - *trained;
    if (total < 0)
        total = 0;
    *trained = trained_out;
    axis a = {.in = size, .pad = total / 2};
    a.out = (size + total - kernel) / stride + 1;
    return a;
}

static lks_status parse_stage(lks_efficientnet *net, const json_t *stage, int *rows, int *columns, int *trained_rows,
                              int *trained_columns, const char *path, lks_error *err)
{
    int repeats, kernel, stride, expand, c_in, c_out;
    lks_status st;
    if ((st = lks_json_int(&repeats, stage, "repeats", 0, 1, MAX_BLOCKS, path, err)) != LKS_OK ||
        (st = lks_json_int(&kernel, stage, "kernel", 0, 1, LKS_MAX_FILTER, path, err)) != LKS_OK ||
        (st = lks_json_int(&stride, stage, "stride", 0, 1, 2, path, err)) != LKS_OK ||
        (st = lks_json_int(&expand, stage, "expand", 0, 1, 16, path, err)) != LKS_OK ||
        (st = lks_json_int(&c_in, stage, "in", 0, 1, MAX_CHANNELS, path, err)) != LKS_OK ||
        (st = lks_json_int(&c_out, stage, "out", 0, 1, MAX_CHANNELS, path, err)) != LKS_OK)
        return st;
    int previous = net->n_blocks ? net->blocks[net->n_blocks - 1].c_out : net->c_stem;
    if (repeats < 1 || kernel % 2 == 0 || stride < 1 || expand < 1 || c_out < 1 || c_in != previous ||
        net->n_blocks + repeats > MAX_BLOCKS)
        return lks_error_set(err, LKS_ERR_MODEL, "%s: a stage of the convolutional stem is inconsistent", path);
    for (int r = 0; r < repeats; r++) {
        net_block *block = &net->blocks[net->n_blocks++];
        *block = (net_block){.c_in = r ? c_out : c_in, .c_out = c_out, .kernel = kernel, .stride = r ? 1 : stride};
        block->expands = expand != 1;
        block->c_hidden = block->c_in * expand;
        block->rows = plan_axis(*rows, trained_rows, kernel, block->stride);
        block->columns = plan_axis(*columns, trained_columns, kernel, block->stride);
        block->shortcut = block->stride == 1 && block->c_in == block->c_out;
        *rows = block->rows.out;
        *columns = block->columns.out;
        if (*rows < 1 || *columns < 1)
            return lks_error_set(err, LKS_ERR_MODEL, "%s: the image is too small for the convolutional stem", path);
    }
    return LKS_OK;
}

lks_status lks_efficientnet_open(lks_efficientnet **out, const json_t *config, int width, int height, const char *path,
                                 lks_error *err)
{
    const json_t *stages = json_object_get(config, "stages");
    if (!json_is_array(stages) || json_array_size(stages) == 0)
        return lks_error_set(err, LKS_ERR_MODEL, "%s: vision.stem.stages is missing", path);
    lks_efficientnet *net = calloc(1, sizeof *net);
    if (!net)
        return lks_error_set(err, LKS_ERR_NOMEM, "out of memory for the vision encoder");
    int input_size, padding_size;
    lks_status st;
    if ((st = lks_json_int(&net->c_stem, config, "stem_channels", 32, 1, MAX_CHANNELS, path, err)) != LKS_OK ||
        (st = lks_json_int(&net->c_head, config, "head_channels", 1280, 1, MAX_CHANNELS, path, err)) != LKS_OK ||
        (st = lks_json_int(&input_size, config, "input_size", 256, 16, 8192, path, err)) != LKS_OK ||
        (st = lks_json_int(&padding_size, config, "padding_size", input_size, 16, 8192, path, err)) != LKS_OK)
        goto fail;
    int trained_rows = padding_size, trained_columns = padding_size;
    net->image_height = height;
    net->image_width = width;
    net->stem_rows = plan_axis(height, &trained_rows, 3, 2);
    net->stem_columns = plan_axis(width, &trained_columns, 3, 2);
    int rows = net->stem_rows.out, columns = net->stem_columns.out;
    for (size_t i = 0; i < json_array_size(stages); i++) {
        st = parse_stage(net, json_array_get(stages, i), &rows, &columns, &trained_rows, &trained_columns, path, err);
        if (st != LKS_OK)
            goto fail;
    }
    *out = net;
    return LKS_OK;
fail:
    lks_efficientnet_close(net);
    return st;
}

void lks_efficientnet_close(lks_efficientnet *net)
{
    free(net);
}

lks_status lks_efficientnet_bind(lks_efficientnet *net, lks_binder *binder, lks_error *err)
{
    enum { D_NONE, D_THREE, D_STEM, D_HEAD, D_LAST, D_IN, D_HIDDEN, D_OUT, D_KERNEL, D_COUNT };
    static const lks_binding outer[] = {
        {"stem.conv", LKS_BIND_CONV2D, offsetof(lks_efficientnet, stem), D_STEM, D_THREE, 0},
        {"stem.head", LKS_BIND_LINEAR, offsetof(lks_efficientnet, head), D_HEAD, D_LAST, LKS_BIND_WIDEN},
    };
    static const lks_binding expand[] = {
        {"stem.blocks.#.expand", LKS_BIND_LINEAR, offsetof(net_block, expand), D_HIDDEN, D_IN, LKS_BIND_WIDEN},
    };
    static const lks_binding rest[] = {
        {"stem.blocks.#.depthwise", LKS_BIND_CONV2D, offsetof(net_block, depthwise), D_HIDDEN, D_KERNEL,
         LKS_BIND_DEPTHWISE},
        {"stem.blocks.#.project", LKS_BIND_LINEAR, offsetof(net_block, project), D_OUT, D_HIDDEN, LKS_BIND_WIDEN},
    };
    const int *outer_dims = binder->dims;
    int dims[D_COUNT] = {[D_NONE] = 1,
                         [D_THREE] = 3,
                         [D_STEM] = net->c_stem,
                         [D_HEAD] = net->c_head,
                         [D_LAST] = net->blocks[net->n_blocks - 1].c_out};
    binder->dims = dims;
    net->ops = binder->options->ops;
    lks_status st = lks_bind(binder, net, outer, sizeof outer / sizeof *outer, 0, err);
    for (int i = 0; st == LKS_OK && i < net->n_blocks; i++) {
        net_block *block = &net->blocks[i];
        dims[D_IN] = block->c_in;
        dims[D_HIDDEN] = block->c_hidden;
        dims[D_OUT] = block->c_out;
        dims[D_KERNEL] = block->kernel;
        if (block->expands)
            st = lks_bind(binder, block, expand, 1, i, err);
        if (st == LKS_OK)
            st = lks_bind(binder, block, rest, sizeof rest / sizeof *rest, i, err);
    }
    binder->dims = outer_dims;
    return st;
}

int lks_efficientnet_channels(const lks_efficientnet *net)
{
    return net->c_head;
}

void lks_efficientnet_grid(const lks_efficientnet *net, int *rows, int *columns)
{
    *rows = net->blocks[net->n_blocks - 1].rows.out;
    *columns = net->blocks[net->n_blocks - 1].columns.out;
}

/* Those of a layer on n pixels; of_int8: none unless it is int8. */
static int64_t layer_products(const lks_linear *layer, int64_t n, bool of_int8)
{
    return of_int8 && !layer->int8.panels ? 0 : n * layer->d_in * layer->d_out;
}

/* All multiply-adds of one image, or those of int8 layers. */
static int64_t count_products(const lks_efficientnet *net, bool of_int8)
{
    int64_t total = of_int8 ? 0 : (int64_t)net->stem_rows.out * net->stem_columns.out * net->c_stem * 27;
    for (int i = 0; i < net->n_blocks; i++) {
        const net_block *b = &net->blocks[i];
        int64_t in = (int64_t)b->rows.in * b->columns.in, out = (int64_t)b->rows.out * b->columns.out;
        total += (b->expands ? layer_products(&b->expand, in, of_int8) : 0) +
                 layer_products(&b->project, out, of_int8) + (of_int8 ? 0 : out * b->c_hidden * b->kernel * b->kernel);
    }
    const net_block *last = &net->blocks[net->n_blocks - 1];
    return total + layer_products(&net->head, (int64_t)last->rows.out * last->columns.out, of_int8);
}

int64_t lks_efficientnet_multiply_adds(const lks_efficientnet *net)
{
    return count_products(net, false);
}

int64_t lks_efficientnet_int8_multiply_adds(const lks_efficientnet *net)
{
    return count_products(net, true);
}

/* Floats of the largest map between blocks. */
static size_t widest_map(const lks_efficientnet *net)
{
    size_t widest = (size_t)net->stem_rows.out * (size_t)net->stem_columns.out * (size_t)net->c_stem;
    for (int i = 0; i < net->n_blocks; i++) {
        const net_block *b = &net->blocks[i];
        size_t out = (size_t)b->rows.out * (size_t)b->columns.out * (size_t)b->c_out;
        widest = out > widest ? out : widest;
    }
    return widest;
}

/* Of n images; x and y are the caller's. */
static lks_inverted_residual residual_of(const net_block *block, float *y, const float *x, int n)
{
    return (lks_inverted_residual){.expand = block->expands ? &block->expand : NULL,
                                   .activation = LKS_ACT_RELU6,
                                   .conv = {.n = n,
                                            .height = block->rows.in,
                                            .width = block->columns.in,
                                            .c_in = block->c_hidden,
                                            .out_height = block->rows.out,
                                            .out_width = block->columns.out,
                                            .c_out = block->c_hidden,
                                            .kernel = block->kernel,
                                            .stride = block->stride,
                                            .pad_top = block->rows.pad,
                                            .pad_left = block->columns.pad,
                                            .weight = block->depthwise.weight,
                                            .bias = block->depthwise.bias,
                                            .activation = LKS_ACT_RELU6},
                                   .project = &block->project,
                                   .x = x,
                                   .residual = block->shortcut ? x : NULL,
                                   .y = y};
}

size_t lks_efficientnet_scratch(const lks_efficientnet *net, int n, int n_threads)
{
    int widest = net->c_head;
    size_t blocks = 0;
    for (int i = 0; i < net->n_blocks; i++) {
        const net_block *block = &net->blocks[i];
        const lks_inverted_residual residual = residual_of(block, NULL, NULL, n);
        const size_t scratch = lks_inverted_residual_scratch(net->ops, n_threads, &residual);
        widest = block->c_hidden > widest ? block->c_hidden : widest;
        blocks = scratch > blocks ? scratch : blocks;
    }
    return 2 * lks_arena_cost((size_t)n * widest_map(net), sizeof(float)) + blocks +
           lks_ops_scratch(n_threads, 1, 1, widest);
}

lks_status lks_efficientnet_run(const lks_efficientnet *net, const lks_compute *compute, float *features,
                                const float *pixels, int n, lks_error *err)
{
    const size_t mark = lks_arena_mark(compute->scratch);
    const size_t widest = (size_t)n * widest_map(net);
    float *x = lks_arena_take(compute->scratch, widest, sizeof *x);
    float *y = lks_arena_take(compute->scratch, widest, sizeof *y);
    if (!x || !y) {
        lks_arena_reset(compute->scratch, mark);
        return lks_error_set(err, LKS_ERR_NOMEM, "the activation arena is too small for the vision encoder");
    }
    lks_conv2d stem = {.n = n,
                       .height = net->image_height,
                       .width = net->image_width,
                       .c_in = 3,
                       .out_height = net->stem_rows.out,
                       .out_width = net->stem_columns.out,
                       .c_out = net->c_stem,
                       .kernel = 3,
                       .stride = 2,
                       .pad_top = net->stem_rows.pad,
                       .pad_left = net->stem_columns.pad,
                       .x = pixels,
                       .weight = net->stem.weight,
                       .bias = net->stem.bias,
                       .activation = LKS_ACT_RELU6,
                       .y = x};
    compute->ops->conv2d(compute, &stem);
    for (int i = 0; i < net->n_blocks; i++) {
        const lks_inverted_residual residual = residual_of(&net->blocks[i], y, x, n);
        lks_inverted_residual_run(compute, &residual);
        float *swap = x;
        x = y;
        y = swap;
    }
    const net_block *last = &net->blocks[net->n_blocks - 1];
    lks_linear_dense(compute, &net->head, features, x, n * last->rows.out * last->columns.out, LKS_ACT_RELU6, NULL);
    lks_arena_reset(compute->scratch, mark);
    return LKS_OK;
}
