/* Writing a model as one GGUF file. A converter listens while the model is bound, so it holds exactly the tensors that the model
 * uses, under the names they have, and layers below f32 as bind_packed.h lays them out.
 *
 * Names longer than the 64 bytes of the format are shortened by lks_gguf_name; lks_weights_find finds them by either name. */
#ifndef LKS_CONVERT_H
#define LKS_CONVERT_H

#include "fusion/weights/bind.h"
#include "fusion/weights/gguf.h"

typedef struct lks_converter lks_converter;

/* dtype: LKS_F32; or LKS_F16 (matrices only; vectors, and tensors with numbers beyond 65504, stay f32). A model bound in a
 * precision below f32 keeps its layers packed and all else as precise as it is; dtype is not used then. The model whose binding it listens to must be open until the file is written. */
lks_status lks_converter_open(lks_converter **out, lks_dtype dtype, lks_precision precision, lks_error *err);
void lks_converter_close(lks_converter *converter);

/* lks_bind_options.listener with the converter as context. */
lks_status lks_converter_add(void *converter, const lks_bound *bound, lks_error *err);

/* Multiplies a tensor that it was told of, and that becomes f32, along an axis: factors [shape[axis]]. */
lks_status lks_converter_scale(lks_converter *converter, const lks_tensor *source, int axis, const float *factors,
                               lks_error *err);

lks_status lks_converter_write(const lks_converter *converter, const char *path, const lks_gguf_string *strings,
                               size_t n_strings, lks_error *err);

size_t lks_converter_n_tensors(const lks_converter *converter);
size_t lks_converter_n_packed_layers(const lks_converter *converter);

/* One f32 as f16, halves to even; too large numbers become infinity. */
uint16_t lks_half_from_float(float value);

#endif
