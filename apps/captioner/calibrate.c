/* See calibrate.h. */
#include "apps/captioner/calibrate.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MOST_SCALE 4096.0f /* and least its inverse: numbers stay far from the ends of single precision */

/* A norm or layer of the model, and the tensors that it was made of. */
typedef struct field {
    const void *at;
    lks_bind_kind kind;
    const lks_tensor *tensors[2 * LKS_BIND_MAX_PARTS];
    int n_tensors;
} field;

/* A layer that reads behind a norm: one that no other layer does, as those of lks_block are. */
typedef struct reading {
    const lks_linear *layer;
    const lks_norm *norm;
    float *largest; /* [d_in] magnitudes of its inputs */
} reading;

struct lks_calibrator {
    lks_ops ops; /* first: a compute's table is this */
    const lks_ops *real;
    field *fields;
    reading *readings;
    size_t n_fields, n_readings;
    bool full; /* memory was missing */
};

/* The table's other layers compute as they are. */
static bool takes_norms(const lks_linear *layer)
{
    return lks_linear_precision(layer) == LKS_PRECISION_F32;
}

static reading *find_reading(lks_calibrator *c, const lks_linear *layer, const lks_norm *norm)
{
    for (size_t i = 0; i < c->n_readings; i++)
        if (c->readings[i].layer == layer)
            return &c->readings[i];
    reading *readings = realloc(c->readings, (c->n_readings + 1) * sizeof *readings);
    if (!readings)
        return NULL;
    c->readings = readings;
    reading *r = &readings[c->n_readings];
    *r = (reading){layer, norm, calloc((size_t)layer->d_in, sizeof(float))};
    if (!r->largest)
        return NULL;
    c->n_readings++;
    return r;
}

/* lks_ops.linear: norms the inputs by itself, and looks at them. */
static void watch(const lks_compute *compute, const lks_linear *layer, const lks_linear_args *args)
{
    lks_calibrator *c = (lks_calibrator *)(uintptr_t)compute->ops;
    lks_compute real = *compute;
    real.ops = c->real;
    if (!args->norm) {
        c->real->linear(&real, layer, args);
        return;
    }
    const size_t d = (size_t)layer->d_in;
    reading *r = find_reading(c, layer, args->norm);
    float *normed = calloc((size_t)args->n * d, sizeof *normed);
    c->full |= !r || !normed;
    if (r && normed) {
        for (int i = 0; i < args->n; i++)
            c->real->layer_norm(&real, normed + (size_t)i * d, args->x + i * args->x_stride, 1, layer->d_in,
                                args->norm->weight, args->norm->bias, args->norm_eps);
        for (size_t i = 0; i < (size_t)args->n * d; i++)
            r->largest[i % d] = fmaxf(r->largest[i % d], fabsf(normed[i]));
        lks_linear_args plain = *args;
        plain.x = normed;
        plain.x_stride = layer->d_in;
        plain.norm = NULL;
        c->real->linear(&real, layer, &plain);
    }
    free(normed);
}

lks_status lks_calibrator_open(lks_calibrator **out, const lks_ops *real, lks_error *err)
{
    lks_calibrator *c = calloc(1, sizeof *c);
    if (!c)
        return lks_error_set(err, LKS_ERR_NOMEM, "out of memory");
    c->ops = *real;
    c->ops.linear = watch;
    c->ops.linear_fuses = takes_norms;
    c->real = real;
    *out = c;
    return LKS_OK;
}

void lks_calibrator_close(lks_calibrator *c)
{
    if (!c)
        return;
    for (size_t i = 0; i < c->n_readings; i++)
        free(c->readings[i].largest);
    free(c->readings);
    free(c->fields);
    free(c);
}

const lks_ops *lks_calibrator_ops(const lks_calibrator *calibrator)
{
    return &calibrator->ops;
}

lks_status lks_calibrator_add(lks_calibrator *c, const lks_bound *bound, lks_error *err)
{
    field *fields = realloc(c->fields, (c->n_fields + 1) * sizeof *fields);
    if (!fields)
        return lks_error_set(err, LKS_ERR_NOMEM, "out of memory");
    c->fields = fields;
    field *f = &fields[c->n_fields++];
    *f = (field){.at = bound->field, .kind = bound->kind, .n_tensors = bound->n_tensors};
    memcpy(f->tensors, bound->tensors, sizeof f->tensors);
    return LKS_OK;
}

lks_status lks_calibrator_look(lks_calibrator *c, const lks_model *model, const char *path, const char *const *photos,
                               size_t n, int n_threads, lks_error *err)
{
    const lks_session_options of_session = {.size = sizeof of_session, .n_threads = n_threads};
    lks_session *session;
    lks_status st = lks_session_open(&session, model, &of_session, err);
    if (st != LKS_OK)
        return st;
    lks_caption_options options;
    lks_caption_options_init(&options, model);
    options.n_beams = options.n_best = 1;
    options.max_tokens = 1;
    options.min_tokens = 0;
    size_t n_read = 0;
    lks_error why = {.message = "there are none"};
    for (size_t i = 0; i < n; i++) {
        lks_caption *caption = NULL;
        n_read += lks_caption_file(session, &caption, photos[i], &options, &why) == LKS_OK;
        lks_caption_free(caption);
    }
    lks_session_close(session);
    if (n_read == 0)
        return lks_error_set(err, LKS_ERR_ARGUMENT, "no photo to calibrate with could be read: %s", why.message);
    if (c->full)
        return lks_error_set(err, LKS_ERR_NOMEM, "out of memory");
    if (c->n_readings == 0)
        return lks_error_set(
            err, LKS_ERR_UNSUPPORTED,
            "%s: its encoder has no layers behind norms, which calibration scales; quantise it without", path);
    return LKS_OK;
}

static const field *find_field(const lks_calibrator *c, const void *at)
{
    for (size_t i = 0; i < c->n_fields; i++)
        if (c->fields[i].at == at)
            return &c->fields[i];
    return NULL;
}

/* scales [d_in]; their geometric mean is 1, and that of channels without inputs or weights. */
static void find_scales(float *scales, const lks_ops *ops, const reading *r, float *row)
{
    const int d = r->layer->d_in;
    double sum = 0.0;
    int n = 0;
    for (int c = 0; c < d; c++)
        scales[c] = 0.0f;
    for (int o = 0; o < r->layer->d_out; o++) {
        lks_linear_row(ops, row, r->layer, o);
        for (int c = 0; c < d; c++)
            scales[c] = fmaxf(scales[c], fabsf(row[c]));
    }
    for (int c = 0; c < d; c++) {
        const bool used = scales[c] > 0.0f && r->largest[c] > 0.0f;
        scales[c] = used ? sqrtf(r->largest[c] / scales[c]) : 0.0f;
        sum += used ? log(scales[c]) : 0.0;
        n += used;
    }
    const float mean = n > 0 ? (float)exp(sum / n) : 1.0f;
    for (int c = 0; c < d; c++)
        scales[c] = scales[c] == 0.0f ? 1.0f : fminf(fmaxf(scales[c] / mean, 1.0f / MOST_SCALE), MOST_SCALE);
}

/* Multiplies every tensor of the field along its axis of inputs, where it has one. */
static lks_status scale_field(lks_converter *converter, const field *f, const float *factors, int d, lks_error *err)
{
    lks_status st = LKS_OK;
    for (int i = 0; i < f->n_tensors && st == LKS_OK; i++) {
        const lks_tensor *t = f->tensors[i];
        const int axis = f->kind == LKS_BIND_NORM || f->kind == LKS_BIND_CONV1D ? 0 : 1;
        if (f->kind != LKS_BIND_NORM && t->n_dims != 2)
            continue; /* biases are of outputs */
        if (t->n_dims <= axis || t->shape[axis] != d)
            return lks_error_set(err, LKS_ERR_MODEL, "tensor '%.80s': its shape is not that of a layer behind a norm",
                                 t->name);
        st = lks_converter_scale(converter, t, axis, factors, err);
    }
    return st;
}

lks_status lks_calibrator_apply(const lks_calibrator *c, lks_converter *converter, size_t *n_layers, lks_error *err)
{
    lks_status st = LKS_OK;
    *n_layers = 0;
    for (size_t i = 0; i < c->n_readings && st == LKS_OK; i++) {
        const reading *r = &c->readings[i];
        const field *norm = find_field(c, r->norm), *layer = find_field(c, r->layer);
        const int d = r->layer->d_in;
        float *scales = malloc(3 * (size_t)d * sizeof *scales), *inverses = scales + d;
        if (!scales)
            return lks_error_set(err, LKS_ERR_NOMEM, "out of memory");
        find_scales(scales, c->real, r, scales + 2 * d);
        for (int k = 0; k < d; k++)
            inverses[k] = 1.0f / scales[k];
        if (norm && layer) {
            st = scale_field(converter, norm, inverses, d, err);
            if (st == LKS_OK)
                st = scale_field(converter, layer, scales, d, err);
            ++*n_layers;
        }
        free(scales);
    }
    return st;
}
