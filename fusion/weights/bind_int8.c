/* int8 layers of packed files: see bind_int8.h. */
#include "fusion/weights/bind_int8.h"

#include <stdio.h>
#include <string.h>

/* *out = tensor NAME + suffix after its type and shape are checked; NULL when it is absent and may be. */
static lks_status find_part(const lks_binder *binder, const lks_tensor **out, const char *name, const char *suffix,
                            lks_dtype dtype, const int64_t *shape, int n_dims, bool optional, lks_error *err)
{
    const char *path = lks_weights_path(binder->weights);
    char full[256], have[96], want[96];
    snprintf(full, sizeof full, "%s%s", name, suffix);
    const lks_tensor *tensor = lks_weights_find(binder->weights, full);
    *out = NULL;
    if (!tensor && optional)
        return LKS_OK;
    if (!tensor)
        return lks_error_set(err, LKS_ERR_MODEL, "%s: tensor '%s' is missing; quantise the model again", path, full);
    lks_tensor wanted = {.n_dims = n_dims};
    bool same = tensor->n_dims == n_dims && lks_tensor_is_contiguous(tensor);
    for (int i = 0; i < n_dims; i++) {
        wanted.shape[i] = shape[i];
        same = same && tensor->shape[i] == shape[i];
    }
    if (tensor->dtype != dtype)
        return lks_error_set(err, LKS_ERR_MODEL, "%s: tensor '%s' is of type %s, an int8 layer needs %s", path, full,
                             lks_dtype_name(tensor->dtype), lks_dtype_name(dtype));
    if (!same)
        return lks_error_set(err, LKS_ERR_MODEL, "%s: tensor '%s' has shape %s, but the configuration asks for %s",
                             path, full, lks_tensor_shape_text(have, tensor), lks_tensor_shape_text(want, &wanted));
    *out = tensor;
    return LKS_OK;
}

/* Where the numbers of a [n] tensor of 4-byte elements are: in the file when they are aligned there, else in the arena. */
static lks_status place(lks_binder *binder, const void **out, const lks_tensor *tensor, lks_error *err)
{
    size_t n = (size_t)lks_tensor_count(tensor);
    *out = tensor->data;
    if ((uintptr_t)tensor->data % 4 == 0)
        return LKS_OK;
    if (!binder->arena) {
        binder->bytes += lks_arena_cost(n, 4);
        return LKS_OK;
    }
    void *copy = lks_arena_take(binder->arena, n, 4);
    if (!copy)
        return lks_error_set(err, LKS_ERR_NOMEM, "out of memory for tensor '%s'", tensor->name);
    memcpy(copy, tensor->data, n * 4);
    *out = copy;
    return LKS_OK;
}

static lks_status place_floats(lks_binder *binder, const float **out, const lks_tensor *tensor, lks_error *err)
{
    const void *data;
    lks_status st = lks_weights_check_finite(tensor, err);
    if (st == LKS_OK)
        st = place(binder, &data, tensor, err);
    if (st == LKS_OK)
        *out = data;
    return st;
}

lks_status lks_bind_stored_int8(lks_binder *binder, lks_linear *out, bool *stored, const char *name, int d_in,
                                int d_out, unsigned flags, lks_error *err)
{
    const int64_t columns = LKS_INT8_COLUMNS, group = LKS_INT8_GROUP, rows = d_out;
    const int64_t shape[4] = {(rows + columns - 1) / columns, (d_in + group - 1) / group, columns, group};
    const lks_tensor *panels, *scales, *sums, *bias = NULL;
    char full[256];
    snprintf(full, sizeof full, "%s" LKS_INT8_SUFFIX, name);
    *stored = lks_weights_find(binder->weights, full) != NULL;
    if (!*stored)
        return LKS_OK;
    if (binder->options->precision == LKS_PRECISION_F32)
        return lks_error_set(err, LKS_ERR_UNSUPPORTED,
                             "%s: holds int8 weights and cannot be run as f32; open the model it was made from",
                             lks_weights_path(binder->weights));
    if (d_in > LKS_INT8_MAX_INPUTS)
        return lks_error_set(err, LKS_ERR_MODEL, "%s: tensor '%s' has more than %d inputs, too many for int8",
                             lks_weights_path(binder->weights), full, LKS_INT8_MAX_INPUTS);
    bool no_bias = (flags & LKS_BIND_NO_BIAS) != 0, bias_optional = (flags & LKS_BIND_BIAS_OPTIONAL) != 0;
    lks_linear layer = {.d_in = d_in, .d_out = d_out};
    lks_status st = find_part(binder, &panels, name, LKS_INT8_SUFFIX, LKS_I8, shape, 4, false, err);
    if (st == LKS_OK)
        st = find_part(binder, &scales, name, LKS_INT8_SCALE, LKS_F32, &rows, 1, false, err);
    if (st == LKS_OK)
        st = find_part(binder, &sums, name, LKS_INT8_SUM, LKS_I32, &rows, 1, false, err);
    if (st == LKS_OK && !no_bias)
        st = find_part(binder, &bias, name, LKS_INT8_BIAS, LKS_F32, &rows, 1, bias_optional, err);
    if (st == LKS_OK)
        st = place_floats(binder, &layer.int8.scales, scales, err);
    if (st == LKS_OK && bias)
        st = place_floats(binder, &layer.bias, bias, err);
    const void *data = NULL;
    if (st == LKS_OK)
        st = place(binder, &data, sums, err);
    if (st != LKS_OK || !binder->arena)
        return st;
    layer.int8.panels = panels->data;
    layer.int8.sums = data;
    *out = layer;
    return LKS_OK;
}

lks_status lks_bind_int8_room(lks_binder *binder, lks_int8_room *out, int d_in, int d_out, lks_error *err)
{
    size_t n_panels = lks_int8_panel_bytes(d_in, d_out), n = (size_t)d_out;
    *out = (lks_int8_room){0};
    if (!binder->arena) {
        binder->bytes +=
            lks_arena_cost(n_panels, 1) + lks_arena_cost(n, sizeof(float)) + lks_arena_cost(n, sizeof(int32_t));
        return LKS_OK;
    }
    lks_int8_room room = {.panels = lks_arena_take(binder->arena, n_panels, 1)};
    room.scales = lks_arena_take(binder->arena, n, sizeof(float));
    room.sums = lks_arena_take(binder->arena, n, sizeof(int32_t));
    if (!room.panels || !room.scales || !room.sums)
        return lks_error_set(err, LKS_ERR_NOMEM, "out of memory for int8 weights");
    *out = room;
    return LKS_OK;
}
