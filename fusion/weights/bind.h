/* Binding: tables that say, for each architecture, which tensor of a file becomes which field of a model.
 *
 * One row: field, name pattern, kind, symbolic shape. The same rows serve loading, describing and (canonical field names)
 * writing packed files. Binding runs twice over a model's tables: a measuring pass checks every name and shape and adds up the
 * memory, a filling pass converts, checks for NaN and infinity, and packs. Nothing is allocated for a file that does not fit. */
#ifndef LKS_BIND_H
#define LKS_BIND_H

#include "fusion/device.h"
#include "fusion/ops.h"
#include "fusion/weights/weights.h"

#define LKS_BIND_MAX_PARTS 3 /* tensors that one field may join */

typedef enum lks_bind_kind {
    LKS_BIND_ARRAY, /* const float *: the tensor named exactly so; used in place when it is aligned f32 */
    LKS_BIND_TABLE, /* lks_table: the tensor named exactly so; used in place but for a device, or when it is of a rare type */
    LKS_BIND_NORM,   /* lks_norm: NAME.weight, NAME.bias */
    LKS_BIND_LINEAR, /* lks_linear: NAME.weight [rows, columns], NAME.bias [rows] */
    LKS_BIND_CONV1D, /* lks_linear whose NAME.weight is stored [columns, rows] (GPT-2's Conv1D) */
    LKS_BIND_PATCH, /* lks_linear from a convolution NAME.weight [rows, 3, p, q], turned to [rows, p, q, 3]; `columns` is p's
                        index into dims, columns + 1 is q's */
    LKS_BIND_MATRIX, /* lks_linear without bias: the tensor named exactly so, [rows, columns] */
    LKS_BIND_CONV2D /* lks_filter_weights: NAME.weight [rows, 3, k, k] turned to [rows, k, k, 3] or depthwise [rows, k, k]
                        turned to [k, k, rows]; columns k */
} lks_bind_kind;

typedef struct lks_filter_weights {
    const float *weight, *bias;
} lks_filter_weights;

enum {
    LKS_BIND_OPTIONAL = 1,      /* an absent tensor leaves the field zero */
    LKS_BIND_BIAS_OPTIONAL = 2, /* an absent bias means none; absent in some joined parts: zeros there */
    LKS_BIND_NO_BIAS = 4,       /* never looks for a bias */
    LKS_BIND_DEPTHWISE = 8,     /* CONV2D: one filter per channel */
    LKS_BIND_WIDEN =
        16 /* LINEAR: few inputs, many rows: bf16 weights become f32 where products of bf16 would be slower, unless they
                           are for a listener or a device */
};

/* Name patterns: '#' stands for the layer number; "a+b+c" joins equally many rows of several tensors; "a|b" tries b when
 * the file has no a. */
typedef struct lks_binding {
    const char *pattern;
    lks_bind_kind kind;
    size_t offset;     /* of the field in the bound struct */
    int rows, columns; /* indices into lks_binder.dims */
    unsigned flags;
} lks_binding;

/* One bound field, for those who write files. */
typedef struct lks_bound {
    const lks_tensor *tensors[2 * LKS_BIND_MAX_PARTS]; /* what it was made from */
    int n_tensors;
    const void *field; /* which it is */
    lks_bind_kind kind;
    const char *name;        /* under which a packed layer is stored */
    const lks_linear *layer; /* a layer below f32, or NULL */
} lks_bound;

typedef lks_status lks_bind_listener(void *context, const lks_bound *bound, lks_error *err);

typedef struct lks_bind_options {
    const lks_ops *ops;
    lks_device *device;      /* gets a copy of the weights, all of which are then in arenas; or NULL */
    lks_threads *threads;    /* for packing */
    lks_precision precision; /* below f32: other layers are packed as they are loaded */
    const char *const
        *kept; /* n_kept patterns of fnmatch(3): layers of such names are bf16 when int8 or int4 is asked for */
    size_t n_kept;
    lks_bind_listener *listener; /* told of every field once it is filled; or NULL */
    void *listener_context;
} lks_bind_options;

typedef struct lks_binder {
    const lks_weights *weights;
    const char *prefix; /* before every name, "" for none */
    const int *dims;    /* symbol values; an index of 0 means "no such dimension" */
    const lks_bind_options *options;
    lks_arena *arena; /* NULL: measuring pass */
    size_t bytes;     /* measuring pass: arena bytes needed so far */
} lks_binder;

/* The lowest precision in which a file holds packed layers; LKS_PRECISION_F32: it holds none. */
lks_precision lks_weights_precision(const lks_weights *weights);

/* Binds `n` rows of `table` into `object`; `layer` replaces '#'. */
lks_status lks_bind(lks_binder *binder, void *object, const lks_binding *table, size_t n, int layer, lks_error *err);

/* To be called when binder->arena is filled: gives a device its copy. */
lks_status lks_bind_finish(lks_binder *binder, lks_error *err);

#endif
