/* Binding: see bind.h. Names are resolved first, then shapes are checked, then rows are converted and packed. */
#include "fusion/weights/bind.h"

#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>

#include "fusion/weights/bind_packed.h"

enum { MAX_PARTS = LKS_BIND_MAX_PARTS, NAME_BYTES = 192, PANEL = 64 };

/* The tensors that make up one field: weight parts (joined rows) and bias parts. */
typedef struct parts {
    int n;
    const lks_tensor *weight[MAX_PARTS], *bias[MAX_PARTS];
    int rows, columns; /* of the joined matrix; of a convolution: the kernel's height and width in columns, width */
    int width;
} parts;

static lks_status missing(const lks_binder *binder, const char *name, lks_error *err)
{
    return lks_error_set(err, LKS_ERR_MODEL, "%s: tensor '%s' is missing; the file does not fit its config.json",
                         lks_weights_path(binder->weights), name);
}

/* name = prefix + pattern[0..n) with '#' replaced by `layer` + suffix */
static void expand(char name[NAME_BYTES], const lks_binder *binder, const char *pattern, size_t n, int layer,
                   const char *suffix)
{
    size_t at = 0;
    const char *pieces[3] = {binder->prefix, pattern, suffix};
    size_t lengths[3] = {strlen(binder->prefix), n, strlen(suffix)};
    for (int p = 0; p < 3; p++)
        for (size_t i = 0; i < lengths[p] && at + 12 < NAME_BYTES; i++) {
            if (p == 1 && pieces[p][i] == '#') {
                char digits[12];
                int n_digits = 0;
                int value = layer;
                do
                    digits[n_digits++] = (char)('0' + value % 10);
                while ((value /= 10) > 0);
                while (n_digits > 0)
                    name[at++] = digits[--n_digits];
            } else {
                name[at++] = pieces[p][i];
            }
        }
    name[at] = '\0';
}

static bool has_suffix_kind(lks_bind_kind kind)
{
    return kind != LKS_BIND_ARRAY && kind != LKS_BIND_TABLE && kind != LKS_BIND_MATRIX;
}

/* One alternative "a+b+c" of the pattern; *absent is set when its first weight is not in the file. */
static lks_status resolve_alternative(const lks_binder *binder, parts *out, const lks_binding *row, const char *pattern,
                                      size_t n, int layer, bool *absent, lks_error *err)
{
    const char *suffix = has_suffix_kind(row->kind) ? ".weight" : "";
    parts found = {0};
    for (size_t at = 0; at < n && found.n < MAX_PARTS;) {
        size_t end = at;
        while (end < n && pattern[end] != '+')
            end++;
        char name[NAME_BYTES];
        expand(name, binder, pattern + at, end - at, layer, suffix);
        found.weight[found.n] = lks_weights_find(binder->weights, name);
        if (!found.weight[found.n]) {
            *absent = found.n == 0;
            return missing(binder, name, err);
        }
        if (has_suffix_kind(row->kind) && !(row->flags & LKS_BIND_NO_BIAS)) {
            expand(name, binder, pattern + at, end - at, layer, ".bias");
            found.bias[found.n] = lks_weights_find(binder->weights, name);
            if (!found.bias[found.n] && !(row->flags & LKS_BIND_BIAS_OPTIONAL))
                return missing(binder, name, err);
        }
        found.n++;
        at = end + 1;
    }
    *out = found;
    return LKS_OK;
}

static lks_status resolve(const lks_binder *binder, parts *out, const lks_binding *row, int layer, lks_error *err)
{
    const char *pattern = row->pattern;
    lks_error first = {0};
    for (;;) {
        size_t n = strcspn(pattern, "|");
        bool absent = false;
        lks_error attempt = {0};
        lks_status st = resolve_alternative(binder, out, row, pattern, n, layer, &absent, &attempt);
        if (st == LKS_OK)
            return st;
        if (first.status == LKS_OK)
            first = attempt;
        if (!absent || !pattern[n]) {
            if (absent && (row->flags & LKS_BIND_OPTIONAL)) {
                *out = (parts){0};
                return LKS_OK;
            }
            if (err)
                *err = absent ? first : attempt;
            return st;
        }
        pattern += n + 1;
    }
}

/* The tensor's shape without leading ones must be `expected` [n], likewise stripped. */
static lks_status check_shape(const lks_binder *binder, const lks_tensor *tensor, const int64_t *expected, int n,
                              lks_error *err)
{
    int skip_have = 0, skip_want = 0;
    while (skip_have < tensor->n_dims && tensor->shape[skip_have] == 1)
        skip_have++;
    while (skip_want < n && expected[skip_want] == 1)
        skip_want++;
    if (tensor->dtype != LKS_F32 && tensor->dtype != LKS_F16 && tensor->dtype != LKS_BF16 && tensor->dtype != LKS_F64)
        return lks_error_set(
            err, LKS_ERR_MODEL,
            "%s: tensor '%s' is of type %s, as in checkpoints that are quantised in ways not read here: save "
            "it in float32 or bfloat16",
            lks_weights_path(binder->weights), tensor->name, lks_dtype_name(tensor->dtype));
    bool same = tensor->n_dims - skip_have == n - skip_want && (n == 1 || tensor->n_dims >= n);
    for (int i = 0; same && i < n - skip_want; i++)
        same = tensor->shape[skip_have + i] == expected[skip_want + i];
    if (same)
        return LKS_OK;

    lks_tensor wanted = {.n_dims = n};
    for (int i = 0; i < n; i++)
        wanted.shape[i] = expected[i];
    char have_text[96], want_text[96];
    return lks_error_set(err, LKS_ERR_MODEL, "%s: tensor '%s' has shape %s, but the configuration asks for %s",
                         lks_weights_path(binder->weights), tensor->name, lks_tensor_shape_text(have_text, tensor),
                         lks_tensor_shape_text(want_text, &wanted));
}

static lks_status check_shapes(const lks_binder *binder, parts *found, const lks_binding *row, lks_error *err)
{
    int rows = binder->dims[row->rows], columns = binder->dims[row->columns];
    found->rows = rows;
    found->columns = columns;
    found->width = row->kind == LKS_BIND_PATCH ? binder->dims[row->columns + 1] : columns;
    for (int i = 0; i < found->n; i++) {
        int64_t part_rows = rows / found->n;
        int64_t expected[4] = {part_rows, columns, columns, found->width};
        int n = 2;
        if (row->kind == LKS_BIND_NORM || (row->kind == LKS_BIND_ARRAY && row->columns == 0)) {
            n = 1;
        } else if (row->kind == LKS_BIND_CONV1D) {
            expected[0] = columns;
            expected[1] = part_rows;
        } else if (row->kind == LKS_BIND_PATCH ||
                   (row->kind == LKS_BIND_CONV2D && !(row->flags & LKS_BIND_DEPTHWISE))) {
            expected[1] = 3;
            n = 4;
        } else if (row->kind == LKS_BIND_CONV2D) {
            n = 3;
        }
        lks_status st = check_shape(binder, found->weight[i], expected, n, err);
        if (st == LKS_OK && found->bias[i])
            st = check_shape(binder, found->bias[i], &part_rows, 1, err);
        if (st != LKS_OK)
            return st;
    }
    return LKS_OK;
}

/* All of n floats finite: an exponent of all ones is infinity or NaN. */
static bool all_finite(const float *x, size_t n)
{
    uint32_t bad = 0;
    for (size_t i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, &x[i], sizeof bits);
        bad |= (bits & 0x7F800000u) == 0x7F800000u;
    }
    return !bad;
}

static lks_status not_finite(const lks_binder *binder, const lks_tensor *tensor, lks_error *err)
{
    return lks_error_set(err, LKS_ERR_MODEL, "%s: tensor '%s' holds NaN or infinity; the file is damaged",
                         lks_weights_path(binder->weights), tensor->name);
}

static bool usable_in_place(const lks_binder *binder, const lks_tensor *tensor)
{
    return !binder->options->device && tensor->dtype == LKS_F32 && (uintptr_t)tensor->data % sizeof(float) == 0 &&
           lks_tensor_is_contiguous(tensor);
}

/* *out = the tensor as f32: in place when possible, otherwise a converted copy in the arena. */
static lks_status bind_array(lks_binder *binder, const float **out, const lks_tensor *tensor, lks_error *err)
{
    size_t count = (size_t)lks_tensor_count(tensor);
    if (!binder->arena) {
        if (!usable_in_place(binder, tensor))
            binder->bytes += lks_arena_cost(count, sizeof(float));
        return LKS_OK;
    }
    const float *values = tensor->data;
    if (!usable_in_place(binder, tensor)) {
        float *copy = lks_arena_take(binder->arena, count, sizeof(float));
        if (!copy)
            return lks_error_set(err, LKS_ERR_NOMEM, "out of memory for tensor '%s'", tensor->name);
        lks_tensor_to_f32(copy, tensor);
        values = copy;
    }
    if (!all_finite(values, count))
        return not_finite(binder, tensor, err);
    *out = values;
    return LKS_OK;
}

static lks_status bind_table(lks_binder *binder, lks_table *out, const lks_tensor *tensor, lks_error *err)
{
    const bool known = tensor->dtype == LKS_F32 || tensor->dtype == LKS_F16 || tensor->dtype == LKS_BF16;
    if (!known || binder->options->device || !lks_tensor_is_contiguous(tensor)) {
        const float *rows = NULL;
        lks_status st = bind_array(binder, &rows, tensor, err);
        *out = (lks_table){rows, LKS_F32};
        return st;
    }
    *out = (lks_table){tensor->data, tensor->dtype};
    lks_status st = binder->arena ? LKS_OK : lks_weights_check_finite(tensor, err);
    return st == LKS_OK ? st : lks_error_prefix(err, st, lks_weights_path(binder->weights));
}

/* *out = the biases of all parts joined, zeros where a part has none; NULL when no part has one. */
static lks_status bind_bias(lks_binder *binder, const float **out, const parts *found, lks_error *err)
{
    bool any = false;
    for (int i = 0; i < found->n; i++)
        any |= found->bias[i] != NULL;
    if (!any)
        return LKS_OK;
    if (!binder->arena) {
        binder->bytes += lks_arena_cost((size_t)found->rows, sizeof(float));
        return LKS_OK;
    }
    float *bias = lks_arena_take(binder->arena, (size_t)found->rows, sizeof(float));
    if (!bias)
        return lks_error_set(err, LKS_ERR_NOMEM, "out of memory for tensor '%s'", found->weight[0]->name);
    size_t part_rows = (size_t)(found->rows / found->n);
    memset(bias, 0, (size_t)found->rows * sizeof *bias);
    for (int i = 0; i < found->n; i++) {
        if (!found->bias[i])
            continue;
        lks_tensor_to_f32(bias + (size_t)i * part_rows, found->bias[i]);
        if (!all_finite(bias + (size_t)i * part_rows, part_rows))
            return not_finite(binder, found->bias[i], err);
    }
    *out = bias;
    return LKS_OK;
}

typedef struct pack_job {
    const lks_binder *binder;
    const parts *found;
    lks_bind_kind kind;
    float *packed, *blocks; /* blocks [n_threads, PANEL, d_in] */
    lks_precision precision;
    lks_packed_room room; /* below f32 */
    int d_in;
    int bad_part[64]; /* per thread: 1 + the part that is not finite */
} pack_job;

/* Rows [begin, end) of one part as f32 [end - begin, d_in], whatever the stored layout. */
static void read_rows(float *dst, const pack_job *job, const lks_tensor *tensor, int64_t begin, int64_t end)
{
    lks_tensor view = *tensor;
    int row_dim =
        job->kind == LKS_BIND_CONV1D ? tensor->n_dims - 1 : tensor->n_dims - (job->kind == LKS_BIND_PATCH ? 4 : 2);
    view.shape[row_dim] = end - begin;
    view.data =
        (const unsigned char *)tensor->data + (size_t)(begin * tensor->stride[row_dim]) * lks_dtype_size(tensor->dtype);
    if (job->kind == LKS_BIND_CONV1D) { /* a view with rows and columns exchanged */
        int column_dim = row_dim - 1;
        view.shape[row_dim] = tensor->shape[column_dim];
        view.stride[row_dim] = tensor->stride[column_dim];
        view.shape[column_dim] = end - begin;
        view.stride[column_dim] = tensor->stride[row_dim];
    } else if (job->kind == LKS_BIND_PATCH) { /* [rows, 3, p, p] read as [rows, p, p, 3] */
        for (int d = 1; d < 4; d++) {
            view.shape[d] = tensor->shape[d == 3 ? 1 : d + 1];
            view.stride[d] = tensor->stride[d == 3 ? 1 : d + 1];
        }
    }
    lks_tensor_to_f32(dst, &view);
}

static void pack_panels(void *argument, int thread, int n_threads)
{
    pack_job *job = argument;
    const parts *found = job->found;
    int part_rows = found->rows / found->n;
    long begin, end;
    lks_threads_share(found->rows, PANEL, thread, n_threads, &begin, &end);
    float *block = job->blocks + (size_t)thread * PANEL * (size_t)job->d_in;
    for (int column = (int)begin; column < end; column += PANEL) {
        int last = column + PANEL < end ? column + PANEL : (int)end;
        for (int at = column; at < last;) {
            int part = at / part_rows, stop = (part + 1) * part_rows;
            if (stop > last)
                stop = last;
            float *rows = block + (size_t)(at - column) * (size_t)job->d_in;
            read_rows(rows, job, found->weight[part], at - part * part_rows, stop - part * part_rows);
            if (!all_finite(rows, (size_t)(stop - at) * (size_t)job->d_in))
                job->bad_part[thread] = part + 1;
            at = stop;
        }
        if (job->precision != LKS_PRECISION_F32)
            lks_packed_rows(&job->room, job->precision, block, job->d_in, column, last);
        else
            job->binder->options->ops->linear_pack(job->packed, block, job->d_in, found->rows, column, last);
    }
}

static int linear_inputs(const lks_binder *binder, const lks_binding *row)
{
    int columns = binder->dims[row->columns];
    return row->kind == LKS_BIND_PATCH ? 3 * columns * binder->dims[row->columns + 1] : columns;
}

/* The precision that is asked of a layer: vocabulary heads, which decide between words, are int8 at least. */
static lks_precision asked_precision(const lks_binder *binder, const lks_binding *row, const char *name)
{
    const lks_bind_options *options = binder->options;
    lks_precision asked = options->precision;
    bool small = asked == LKS_PRECISION_INT8 || asked == LKS_PRECISION_INT4;
    for (size_t i = 0; small && i < options->n_kept; i++)
        if (fnmatch(options->kept[i], name, 0) == 0)
            asked = LKS_PRECISION_BF16;
    if (asked == LKS_PRECISION_BF16 && lks_bind_widens(options, row->flags))
        return LKS_PRECISION_F32;
    return asked == LKS_PRECISION_INT4 && row->kind == LKS_BIND_MATRIX ? LKS_PRECISION_INT8 : asked;
}

static lks_status bind_linear(lks_binder *binder, lks_linear *out, const parts *found, const lks_binding *row,
                              lks_precision asked, lks_error *err)
{
    int d_in = linear_inputs(binder, row);
    bool low = lks_packed_serves(asked, d_in);
    size_t count = low ? 0 : binder->options->ops->linear_packed_count(d_in, found->rows);
    lks_linear layer = {.d_in = d_in, .d_out = found->rows};
    pack_job job = {.binder = binder,
                    .found = found,
                    .kind = row->kind,
                    .d_in = d_in,
                    .precision = low ? asked : LKS_PRECISION_F32};
    lks_status st = bind_bias(binder, &layer.bias, found, err);
    if (st == LKS_OK && low)
        st = lks_bind_room(binder, &job.room, &layer, job.precision, err);
    if (st != LKS_OK)
        return st;
    if (!binder->arena) {
        binder->bytes += lks_arena_cost(count, sizeof(float));
        return LKS_OK;
    }
    lks_threads *threads = binder->options->threads;
    int n_threads = lks_threads_count(threads);
    if (n_threads > 64)
        n_threads = 64;
    job.packed = low ? NULL : lks_arena_take(binder->arena, count, sizeof(float));
    job.blocks = malloc((size_t)n_threads * PANEL * (size_t)d_in * sizeof(float));
    if ((!job.packed && !low) || !job.blocks) {
        free(job.blocks);
        return lks_error_set(err, LKS_ERR_NOMEM, "out of memory for tensor '%s'", found->weight[0]->name);
    }
    lks_threads_run(n_threads == lks_threads_count(threads) ? threads : NULL, pack_panels, &job);
    free(job.blocks);
    for (int t = 0; t < n_threads; t++)
        if (job.bad_part[t])
            return not_finite(binder, found->weight[job.bad_part[t] - 1], err);
    for (int i = 0; i < found->n; i++)
        lks_weights_forget(binder->weights, found->weight[i]);
    layer.packed = job.packed;
    *out = layer;
    return LKS_OK;
}

/* Convolution weights in the layout that lks_conv2d documents. */
static lks_status bind_filter(lks_binder *binder, lks_filter_weights *out, const parts *found, unsigned flags,
                              lks_error *err)
{
    const lks_tensor *tensor = found->weight[0];
    size_t count = (size_t)lks_tensor_count(tensor);
    lks_filter_weights filter = {0};
    lks_status st = bind_bias(binder, &filter.bias, found, err);
    if (st != LKS_OK)
        return st;
    if (!binder->arena) {
        binder->bytes += lks_arena_cost(count, sizeof(float));
        return LKS_OK;
    }
    float *weight = lks_arena_take(binder->arena, count, sizeof(float));
    if (!weight)
        return lks_error_set(err, LKS_ERR_NOMEM, "out of memory for tensor '%s'", tensor->name);
    lks_tensor view = *tensor;
    int first = flags & LKS_BIND_DEPTHWISE ? tensor->n_dims - 3 : 1, n = 3;
    for (int d = 0; d < n; d++) { /* the channel dimension moves behind the two of the kernel */
        int from = d == n - 1 ? first : first + d + 1;
        view.shape[first + d] = tensor->shape[from];
        view.stride[first + d] = tensor->stride[from];
    }
    lks_tensor_to_f32(weight, &view);
    if (!all_finite(weight, count))
        return not_finite(binder, tensor, err);
    filter.weight = weight;
    *out = filter;
    return LKS_OK;
}

/* `asked` is for linear layers. */
static lks_status bind_field(lks_binder *binder, void *field, const parts *found, const lks_binding *row,
                             lks_precision asked, lks_error *err)
{
    switch (row->kind) {
    case LKS_BIND_ARRAY:
        return bind_array(binder, field, found->weight[0], err);
    case LKS_BIND_TABLE:
        return bind_table(binder, field, found->weight[0], err);
    case LKS_BIND_NORM: {
        lks_norm *norm = field;
        lks_status st = bind_array(binder, &norm->weight, found->weight[0], err);
        return st == LKS_OK && found->bias[0] ? bind_array(binder, &norm->bias, found->bias[0], err) : st;
    }
    case LKS_BIND_CONV2D:
        return bind_filter(binder, field, found, row->flags, err);
    case LKS_BIND_LINEAR:
    case LKS_BIND_CONV1D:
    case LKS_BIND_PATCH:
    case LKS_BIND_MATRIX:
        break;
    }
    return bind_linear(binder, field, found, row, asked, err);
}

static bool is_linear(lks_bind_kind kind)
{
    return kind == LKS_BIND_LINEAR || kind == LKS_BIND_CONV1D || kind == LKS_BIND_PATCH || kind == LKS_BIND_MATRIX;
}

/* The name of a layer in packed files: that of its first tensor in the first alternative, without ".weight". */
static void packed_name(char name[NAME_BYTES], const lks_binder *binder, const lks_binding *row, int layer)
{
    static const char weight[] = ".weight";
    size_t n = strcspn(row->pattern, "+|"), n_weight = sizeof weight - 1;
    if (row->kind == LKS_BIND_MATRIX && n > n_weight && memcmp(row->pattern + n - n_weight, weight, n_weight) == 0)
        n -= n_weight;
    expand(name, binder, row->pattern, n, layer, "");
}

static lks_status tell(const lks_binder *binder, const parts *found, const char *name, const void *field,
                       lks_bind_kind kind, lks_error *err)
{
    const lks_bind_options *options = binder->options;
    if (!options->listener || !binder->arena)
        return LKS_OK;
    lks_bound bound = {.name = name, .field = field, .kind = kind};
    for (int i = 0; i < found->n; i++) {
        bound.tensors[bound.n_tensors++] = found->weight[i];
        if (found->bias[i])
            bound.tensors[bound.n_tensors++] = found->bias[i];
    }
    const lks_linear *layer = is_linear(kind) ? field : NULL;
    bound.layer = layer && lks_linear_precision(layer) != LKS_PRECISION_F32 ? layer : NULL;
    return options->listener(options->listener_context, &bound, err);
}

static lks_status bind_row(lks_binder *binder, void *field, const lks_binding *row, int layer, lks_error *err)
{
    bool linear = is_linear(row->kind), stored = false;
    parts found = {0};
    char name[NAME_BYTES] = "";
    lks_precision asked = LKS_PRECISION_F32;
    lks_status st = LKS_OK;
    if (linear) {
        packed_name(name, binder, row, layer);
        asked = asked_precision(binder, row, name);
        unsigned flags = row->kind == LKS_BIND_MATRIX ? row->flags | LKS_BIND_NO_BIAS : row->flags;
        st = lks_bind_stored(binder, field, &stored, name, linear_inputs(binder, row), binder->dims[row->rows], flags,
                             err);
    }
    if (st == LKS_OK && !stored)
        st = resolve(binder, &found, row, layer, err);
    if (st == LKS_OK && found.n > 0)
        st = check_shapes(binder, &found, row, err);
    if (st == LKS_OK && found.n > 0)
        st = bind_field(binder, field, &found, row, asked, err);
    if (st == LKS_OK && (stored || found.n > 0))
        st = tell(binder, &found, name, field, row->kind, err);
    if (st == LKS_OK && linear && binder->arena && binder->options->device && (stored || found.n > 0))
        st = lks_device_expect(binder->options->device, field, err);
    return st;
}

lks_status lks_bind(lks_binder *binder, void *object, const lks_binding *table, size_t n, int layer, lks_error *err)
{
    lks_status st = LKS_OK;
    for (size_t i = 0; i < n && st == LKS_OK; i++)
        st = bind_row(binder, (unsigned char *)object + table[i].offset, &table[i], layer, err);
    return st;
}

lks_status lks_bind_finish(lks_binder *binder, lks_error *err)
{
    lks_device *device = binder->options->device;
    return device ? lks_device_mirror(device, binder->arena, err) : LKS_OK;
}
