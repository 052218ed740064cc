/* Packed layers of model files: those in a precision below f32. Private to fusion/weights.
 *
 * A linear layer NAME is stored as up to four tensors; a layer that joins several tensors of a checkpoint goes by the name of
 * the first:
 *
 *     NAME.int8        i8   [ceil(d_out / 64), ceil(d_in / 4), 64, 4]   panels, see fusion/int8.h
 *     NAME.int8_scale  f32  [d_out]
 *     NAME.int8_sum    i32  [d_out]
 *     NAME.int8_bias   f32  [d_out]                                     when the layer has a bias
 *
 *     NAME.bf16        bf16 [ceil(d_out / 64), ceil(d_in / 2), 64, 2]   panels, see fusion/bf16.h
 *     NAME.bf16_bias   f32  [d_out]
 *
 *     NAME.int4        i8   [ceil(d_out / 64), ceil(d_in / 32), 256, 4] panels, see fusion/int4.h
 *     NAME.int4_scale  bf16 [ceil(d_out / 64), ceil(d_in / 32), 64]
 *     NAME.int4_bias   f32  [d_out]
 *
 * They are used where they lie; nothing is packed when such a file is opened. */
#ifndef LKS_BIND_PACKED_H
#define LKS_BIND_PACKED_H

#include "fusion/weights/bind.h"

enum { LKS_PACKED_PANELS, LKS_PACKED_SCALES, LKS_PACKED_SUMS, LKS_PACKED_BIAS, LKS_PACKED_PARTS };

/* One of those tensors, contiguous; suffix NULL: this precision has no such part. */
typedef struct lks_packed_part {
    const char *suffix;
    lks_dtype dtype;
    int n_dims;
    int64_t shape[4];
} lks_packed_part;

void lks_packed_describe(lks_packed_part parts[LKS_PACKED_PARTS], lks_precision precision, int d_in, int d_out);

/* Where the parts of a layer are; NULL: it has no such part. */
typedef struct lks_packed {
    const void *data[LKS_PACKED_PARTS];
} lks_packed;

lks_packed lks_packed_of(const lks_linear *layer);

/* Whether layers with so many inputs can be packed in that precision. */
bool lks_packed_serves(lks_precision precision, int d_in);

/* *out = the layer, when the file holds it packed; otherwise LKS_OK with *stored false. The bias is required, allowed (optional)
 * or not looked for, as `flags` of lks_binding say. */
lks_status lks_bind_stored(lks_binder *binder, lks_linear *out, bool *stored, const char *name, int d_in, int d_out,
                           unsigned flags, lks_error *err);

/* Whether a layer of such flags that would be bf16 is to be f32. */
bool lks_bind_widens(const lks_bind_options *options, unsigned flags);

/* Room for a layer that is packed as it is loaded: counted in the measuring pass, taken from the arena in the filling pass.
 * The layer's weights point to it afterwards; pack_rows fills it. */
typedef struct lks_packed_room {
    void *data[LKS_PACKED_PARTS];
} lks_packed_room;

lks_status lks_bind_room(lks_binder *binder, lks_packed_room *out, lks_linear *layer, lks_precision precision,
                         lks_error *err);

/* Packs rows [row_begin, row_end) of w, as lks_int8_pack and its kin do. */
void lks_packed_rows(const lks_packed_room *room, lks_precision precision, const float *w, int d_in, int row_begin,
                     int row_end);

#endif
