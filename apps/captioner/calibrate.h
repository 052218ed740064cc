/* Activation-aware scaling: what a model makes of photos shows which inputs of its layers are large, and these are made smaller, the
 * weights that meet them larger. Private to the captioner.
 *
 * Where a layer reads what LayerNorm has normalised, (x w + b) W^T = (x w / s + b / s) (W s)^T for any s per channel: the model stays the
 * same. Rounding does not: a row of inputs in int8 has one scale, which its largest number sets. With
 *     s[c] = sqrt(max |input c| / max |W[:, c]|)
 * inputs and weights have channels of like size (Xiao et al. 2023, "SmoothQuant", migration strength 1/2). */
#ifndef LKS_CALIBRATE_H
#define LKS_CALIBRATE_H

#include "apps/captioner/looksay.h"
#include "fusion/weights/convert.h"

typedef struct lks_calibrator lks_calibrator;

/* `real` computes; what binds with lks_calibrator_ops is watched. */
lks_status lks_calibrator_open(lks_calibrator **out, const lks_ops *real, lks_error *err);
void lks_calibrator_close(lks_calibrator *calibrator); /* NULL is safe */

/* A table whose layers behind a norm are watched. */
const lks_ops *lks_calibrator_ops(const lks_calibrator *calibrator);

/* To be told of every field that is bound, as lks_bind_options.listener is. */
lks_status lks_calibrator_add(lks_calibrator *calibrator, const lks_bound *bound, lks_error *err);

/* Captions n photos with `model`, which was bound so; `path` is for messages. Photos that cannot be read are passed over; that none
 * can be is an error, and so is a model of which no layer reads behind a norm. */
lks_status lks_calibrator_look(lks_calibrator *calibrator, const lks_model *model, const char *path,
                               const char *const *photos, size_t n, int n_threads, lks_error *err);

/* Scales the norms and layers of the converter that was told of the same fields. *n_layers: how many layers. */
lks_status lks_calibrator_apply(const lks_calibrator *calibrator, lks_converter *converter, size_t *n_layers,
                                lks_error *err);

#endif
