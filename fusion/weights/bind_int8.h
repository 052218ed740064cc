/* int8 layers of packed files. Private to fusion/weights.
 *
 * A linear layer NAME is stored as up to four tensors; a layer that joins several tensors of a checkpoint goes by the name of
 * the first:
 *
 *     NAME.int8        i8  [ceil(d_out / 64), ceil(d_in / 4), 64, 4]   panels, see fusion/int8.h
 *     NAME.int8_scale  f32 [d_out]
 *     NAME.int8_sum    i32 [d_out]
 *     NAME.int8_bias   f32 [d_out]                                     when the layer has a bias
 *
 * They are used where they lie; nothing is packed when such a file is opened. */
#ifndef LKS_BIND_INT8_H
#define LKS_BIND_INT8_H

#include "fusion/weights/bind.h"

#define LKS_INT8_SUFFIX ".int8"
#define LKS_INT8_SCALE ".int8_scale"
#define LKS_INT8_SUM ".int8_sum"
#define LKS_INT8_BIAS ".int8_bias"

/* *out = the layer, when the file holds it; otherwise LKS_OK with *stored false. The bias is required, allowed (optional) or
 * not looked for, as `flags` of lks_binding say. */
lks_status lks_bind_stored_int8(lks_binder *binder, lks_linear *out, bool *stored, const char *name, int d_in,
                                int d_out, unsigned flags, lks_error *err);

/* Room for a layer that is quantised as it is loaded: counted in the measuring pass (out->panels stays NULL), taken from the
 * arena in the filling pass. Contents are for lks_int8_pack. */
typedef struct lks_int8_room {
    int8_t *panels;
    float *scales;
    int32_t *sums;
} lks_int8_room;

lks_status lks_bind_int8_room(lks_binder *binder, lks_int8_room *out, int d_in, int d_out, lks_error *err);

#endif
