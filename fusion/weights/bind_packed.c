/* Packed layers of model files: see bind_packed.h. */
#include "fusion/weights/bind_packed.h"

#include <stdio.h>
#include <string.h>

static int64_t pieces(int n, int size)
{
    return ((int64_t)n + size - 1) / size;
}

void lks_packed_describe(lks_packed_part parts[LKS_PACKED_PARTS], lks_precision precision, int d_in, int d_out)
{
    memset(parts, 0, LKS_PACKED_PARTS * sizeof *parts);
    switch (precision) {
    case LKS_PRECISION_INT8:
        parts[LKS_PACKED_PANELS] = (lks_packed_part){".int8",
                                                     LKS_I8,
                                                     4,
                                                     {pieces(d_out, LKS_INT8_COLUMNS), pieces(d_in, LKS_INT8_GROUP),
                                                      LKS_INT8_COLUMNS, LKS_INT8_GROUP}};
        parts[LKS_PACKED_SCALES] = (lks_packed_part){".int8_scale", LKS_F32, 1, {d_out}};
        parts[LKS_PACKED_SUMS] = (lks_packed_part){".int8_sum", LKS_I32, 1, {d_out}};
        parts[LKS_PACKED_BIAS] = (lks_packed_part){".int8_bias", LKS_F32, 1, {d_out}};
        break;
    case LKS_PRECISION_BF16:
        parts[LKS_PACKED_PANELS] = (lks_packed_part){".bf16",
                                                     LKS_BF16,
                                                     4,
                                                     {pieces(d_out, LKS_BF16_COLUMNS), pieces(d_in, LKS_BF16_GROUP),
                                                      LKS_BF16_COLUMNS, LKS_BF16_GROUP}};
        parts[LKS_PACKED_BIAS] = (lks_packed_part){".bf16_bias", LKS_F32, 1, {d_out}};
        break;
    case LKS_PRECISION_INT4:
        parts[LKS_PACKED_PANELS] = (lks_packed_part){".int4",
                                                     LKS_I8,
                                                     4,
                                                     {pieces(d_out, LKS_INT4_COLUMNS), pieces(d_in, LKS_INT4_GROUP),
                                                      LKS_INT4_GROUP_BYTES / 4, 4}};
        parts[LKS_PACKED_SCALES] =
            (lks_packed_part){".int4_scale",
                              LKS_BF16,
                              3,
                              {pieces(d_out, LKS_INT4_COLUMNS), pieces(d_in, LKS_INT4_GROUP), LKS_INT4_COLUMNS}};
        parts[LKS_PACKED_BIAS] = (lks_packed_part){".int4_bias", LKS_F32, 1, {d_out}};
        break;
    case LKS_PRECISION_AS_STORED:
    case LKS_PRECISION_F32:
        break;
    }
}

lks_precision lks_weights_precision(const lks_weights *weights)
{
    lks_precision found = LKS_PRECISION_F32;
    for (size_t i = 0; i < lks_weights_count(weights); i++) {
        const lks_tensor *t = lks_weights_at(weights, i);
        bool panels = t->n_dims == 4;
        if (panels && t->dtype == LKS_I8 && t->shape[2] == LKS_INT4_GROUP_BYTES / 4)
            return LKS_PRECISION_INT4; /* whose files hold int8 layers too */
        if (panels && t->dtype == LKS_I8)
            found = LKS_PRECISION_INT8;
        if (panels && found == LKS_PRECISION_F32 && t->dtype == LKS_BF16 && t->shape[2] == LKS_BF16_COLUMNS &&
            t->shape[3] == LKS_BF16_GROUP)
            found = LKS_PRECISION_BF16;
    }
    return found;
}

lks_packed lks_packed_of(const lks_linear *layer)
{
    lks_packed packed = {{layer->int8.panels, layer->int8.scales, layer->int8.sums, layer->bias}};
    if (layer->bf16.panels)
        packed = (lks_packed){{layer->bf16.panels, NULL, NULL, layer->bias}};
    if (layer->int4.panels)
        packed = (lks_packed){{layer->int4.panels, layer->int4.scales, NULL, layer->bias}};
    return packed;
}

static void point_at(lks_linear *layer, lks_precision precision, const void *const data[LKS_PACKED_PARTS])
{
    if (precision == LKS_PRECISION_INT8)
        layer->int8 = (lks_int8_weights){data[LKS_PACKED_PANELS], data[LKS_PACKED_SCALES], data[LKS_PACKED_SUMS]};
    else if (precision == LKS_PRECISION_INT4)
        layer->int4 = (lks_int4_weights){data[LKS_PACKED_PANELS], data[LKS_PACKED_SCALES]};
    else
        layer->bf16 = (lks_bf16_weights){data[LKS_PACKED_PANELS]};
}

bool lks_packed_serves(lks_precision precision, int d_in)
{
    return precision == LKS_PRECISION_BF16 || precision == LKS_PRECISION_INT4 ||
           (precision == LKS_PRECISION_INT8 && d_in <= LKS_INT8_MAX_INPUTS);
}

/* *out = tensor NAME + the part's suffix after its type and shape are checked; NULL when it is absent and may be. */
static lks_status find_part(const lks_binder *binder, const lks_tensor **out, const char *name,
                            const lks_packed_part *part, lks_precision precision, bool optional, lks_error *err)
{
    const char *path = lks_weights_path(binder->weights);
    char full[256], have[96], want[96];
    snprintf(full, sizeof full, "%s%s", name, part->suffix);
    const lks_tensor *tensor = lks_weights_find(binder->weights, full);
    *out = NULL;
    if (!tensor && optional)
        return LKS_OK;
    if (!tensor)
        return lks_error_set(err, LKS_ERR_MODEL, "%s: tensor '%s' is missing; quantise the model again", path, full);
    lks_tensor wanted = {.n_dims = part->n_dims};
    bool same = tensor->n_dims == part->n_dims && lks_tensor_is_contiguous(tensor);
    for (int i = 0; i < part->n_dims; i++) {
        wanted.shape[i] = part->shape[i];
        same = same && tensor->shape[i] == part->shape[i];
    }
    if (tensor->dtype != part->dtype)
        return lks_error_set(err, LKS_ERR_MODEL, "%s: tensor '%s' is of type %s, an %s layer needs %s", path, full,
                             lks_dtype_name(tensor->dtype), lks_precision_name(precision), lks_dtype_name(part->dtype));
    if (!same)
        return lks_error_set(err, LKS_ERR_MODEL, "%s: tensor '%s' has shape %s, but the configuration asks for %s",
                             path, full, lks_tensor_shape_text(have, tensor), lks_tensor_shape_text(want, &wanted));
    *out = tensor;
    return LKS_OK;
}

/* Where the numbers of a tensor are: in the file when they are aligned there, else in the arena. Panels of words are loaded from
 * any address, numbers of two bytes and more are not. Floats must be finite: looked at once, before memory is spent. */
static lks_status place(lks_binder *binder, const void **out, const lks_tensor *tensor, lks_error *err)
{
    size_t n = (size_t)lks_tensor_count(tensor), size = lks_dtype_size(tensor->dtype);
    if (!binder->arena && (tensor->dtype == LKS_F32 || tensor->dtype == LKS_BF16)) {
        lks_status st = lks_weights_check_finite(tensor, err);
        if (st != LKS_OK)
            return lks_error_prefix(err, st, lks_weights_path(binder->weights));
    }
    *out = tensor->data;
    if ((uintptr_t)tensor->data % size == 0 && !binder->options->device)
        return LKS_OK;
    if (!binder->arena) {
        binder->bytes += lks_arena_cost(n, size);
        return LKS_OK;
    }
    void *copy = lks_arena_take(binder->arena, n, size);
    if (!copy)
        return lks_error_set(err, LKS_ERR_NOMEM, "out of memory for tensor '%s'", tensor->name);
    memcpy(copy, tensor->data, n * size);
    *out = copy;
    return LKS_OK;
}

/* The precision in which the file holds layer `name`, or LKS_PRECISION_F32: not packed. */
static lks_precision stored_precision(const lks_binder *binder, const char *name)
{
    static const lks_precision precisions[] = {LKS_PRECISION_INT8, LKS_PRECISION_BF16, LKS_PRECISION_INT4};
    for (size_t i = 0; i < sizeof precisions / sizeof *precisions; i++) {
        lks_packed_part parts[LKS_PACKED_PARTS];
        char full[256];
        lks_packed_describe(parts, precisions[i], 1, 1);
        snprintf(full, sizeof full, "%s%s", name, parts[LKS_PACKED_PANELS].suffix);
        if (lks_weights_find(binder->weights, full))
            return precisions[i];
    }
    return LKS_PRECISION_F32;
}

typedef struct widen_job {
    const lks_ops *ops;
    const lks_linear *layer;
    float *packed;
} widen_job;

static void widen_panels(void *argument, int thread, int n_threads)
{
    const widen_job *job = argument;
    long begin, end;
    lks_threads_share(pieces(job->layer->d_out, LKS_BF16_COLUMNS), 1, thread, n_threads, &begin, &end);
    job->ops->linear_widen(job->packed, job->layer->bf16.panels, job->layer->d_in, (int)begin, (int)end);
}

bool lks_bind_widens(const lks_bind_options *options, unsigned flags)
{
    return (flags & LKS_BIND_WIDEN) && options->ops->linear_widen && !options->listener && !options->device;
}

/* A stored layer of bf16 weights as one of f32. */
static lks_status widen(lks_binder *binder, lks_linear *layer, const char *name, lks_error *err)
{
    const lks_bind_options *options = binder->options;
    size_t count = options->ops->linear_packed_count(layer->d_in, layer->d_out);
    if (!binder->arena) {
        binder->bytes += lks_arena_cost(count, sizeof(float));
        return LKS_OK;
    }
    widen_job job = {options->ops, layer, lks_arena_take(binder->arena, count, sizeof(float))};
    if (!job.packed)
        return lks_error_set(err, LKS_ERR_NOMEM, "out of memory for layer '%s'", name);
    lks_threads_run(options->threads, widen_panels, &job);
    layer->packed = job.packed;
    layer->bf16 = (lks_bf16_weights){NULL};
    return LKS_OK;
}

lks_status lks_bind_stored(lks_binder *binder, lks_linear *out, bool *stored, const char *name, int d_in, int d_out,
                           unsigned flags, lks_error *err)
{
    lks_precision precision = stored_precision(binder, name);
    *stored = precision != LKS_PRECISION_F32;
    if (!*stored)
        return LKS_OK;
    const char *path = lks_weights_path(binder->weights), *its_name = lks_precision_name(precision);
    if (!lks_packed_serves(precision, d_in))
        return lks_error_set(err, LKS_ERR_MODEL, "%s: layer '%s' has %d inputs, too many for %s", path, name, d_in,
                             its_name);
    lks_packed_part parts[LKS_PACKED_PARTS];
    lks_packed_describe(parts, precision, d_in, d_out);
    const void *data[LKS_PACKED_PARTS] = {NULL};
    lks_status st = LKS_OK;
    for (int i = 0; i < LKS_PACKED_PARTS && st == LKS_OK; i++) {
        bool bias = i == LKS_PACKED_BIAS;
        const lks_tensor *tensor = NULL;
        if (!parts[i].suffix || (bias && (flags & LKS_BIND_NO_BIAS)))
            continue;
        st = find_part(binder, &tensor, name, &parts[i], precision, bias && (flags & LKS_BIND_BIAS_OPTIONAL), err);
        if (st == LKS_OK && tensor)
            st = place(binder, &data[i], tensor, err);
    }
    lks_linear layer = {.d_in = d_in, .d_out = d_out, .bias = data[LKS_PACKED_BIAS]};
    point_at(&layer, precision, data);
    if (st == LKS_OK && precision == LKS_PRECISION_BF16 && lks_bind_widens(binder->options, flags))
        st = widen(binder, &layer, name, err);
    if (st == LKS_OK && binder->arena)
        *out = layer;
    return st;
}

lks_status lks_bind_room(lks_binder *binder, lks_packed_room *out, lks_linear *layer, lks_precision precision,
                         lks_error *err)
{
    lks_packed_part parts[LKS_PACKED_PARTS];
    lks_packed_describe(parts, precision, layer->d_in, layer->d_out);
    lks_packed_room room = {{NULL}};
    for (int i = 0; i < LKS_PACKED_BIAS; i++) {
        size_t n = 1;
        if (!parts[i].suffix)
            continue;
        for (int d = 0; d < parts[i].n_dims; d++)
            n *= (size_t)parts[i].shape[d];
        if (!binder->arena) {
            binder->bytes += lks_arena_cost(n, lks_dtype_size(parts[i].dtype));
            continue;
        }
        room.data[i] = lks_arena_take(binder->arena, n, lks_dtype_size(parts[i].dtype));
        if (!room.data[i])
            return lks_error_set(err, LKS_ERR_NOMEM, "out of memory for %s weights", lks_precision_name(precision));
    }
    if (binder->arena) {
        const void *data[LKS_PACKED_PARTS];
        for (int i = 0; i < LKS_PACKED_PARTS; i++)
            data[i] = room.data[i];
        point_at(layer, precision, data);
    }
    *out = room;
    return LKS_OK;
}

void lks_packed_rows(const lks_packed_room *room, lks_precision precision, const float *w, int d_in, int row_begin,
                     int row_end)
{
    if (precision == LKS_PRECISION_INT8)
        lks_int8_pack(room->data[LKS_PACKED_PANELS], room->data[LKS_PACKED_SCALES], room->data[LKS_PACKED_SUMS], w,
                      d_in, row_begin, row_end);
    else if (precision == LKS_PRECISION_INT4)
        lks_int4_pack(room->data[LKS_PACKED_PANELS], room->data[LKS_PACKED_SCALES], w, d_in, row_begin, row_end);
    else
        lks_bf16_pack(room->data[LKS_PACKED_PANELS], w, d_in, row_begin, row_end);
}
