/* Vision transformer (Dosovitskiy et al. 2021): image -> tokens. One implementation for ViT, DeiT (Touvron et al. 2021),
 * DINOv2 (Oquab et al. 2023), BLIP's encoder and the hybrid whose patches are embedded from a convolutional feature map.
 *
 *     x = [class; (distillation; concepts;) patches w + b] + positions
 *     x = x + s1 * attention(norm1(x)),  x = x + s2 * mlp(norm2(x))      per layer; s1, s2 are DINOv2's layer scales
 *     tokens = norm(x)
 *
 * The hybrid may have concept tokens: the likeliest classes, and how likely, by the image classifier that the convolutional features
 * come from.   p = softmax(classifier(mean of the features)),  concept_i = embeddings[k_i] + p[k_i] certainty,  p[k_0] >= p[k_1] .. */
#ifndef LKS_VIT_H
#define LKS_VIT_H

#include "fusion/weights/bind.h"
#include "vision/config.h"

typedef struct lks_vit lks_vit;

/* What the encoder makes of an image of one size. */
typedef struct lks_vit_shape {
    int width, height; /* of the image, in pixels */
    int rows, columns; /* of the grid of patches */
    int n_tokens;      /* prefix tokens and patches */
} lks_vit_shape;

/* Binds the encoder's tensors under `prefix` ("encoder.", "vision_model.", "") and packs them. `config` is the encoder's JSON
 * object; model_type "looksay" opens the hybrid. Most images have width x height pixels; a position table of another size is
 * interpolated (bicubic). Weights stay borrowed from `weights`. */
lks_status lks_vit_open(lks_vit **out, const lks_weights *weights, const char *prefix, const json_t *config,
                        const char *model_type, int width, int height, const lks_bind_options *options, lks_error *err);
void lks_vit_close(lks_vit *vit);

int lks_vit_width(const lks_vit *vit);                        /* d: numbers per token */
int lks_vit_n_prefix(const lks_vit *vit);                     /* tokens before the patches */
const lks_vit_shape *lks_vit_usual_shape(const lks_vit *vit); /* of images of the size that it was opened for */
/* Of images of another size, which the hybrid does not take. */
lks_status lks_vit_find_shape(const lks_vit *vit, lks_vit_shape *shape, int width, int height, lks_error *err);
/* The part of the image that the grid covers, from its upper left corner: all of it, unless patches leave a rest. */
void lks_vit_covered_size(const lks_vit *vit, int *width, int *height, const lks_vit_shape *shape);
size_t lks_vit_weight_bytes(const lks_vit *vit); /* packed memory */

int64_t lks_vit_multiply_adds(const lks_vit *vit);      /* of one encode of the usual shape, for roofline figures */
int64_t lks_vit_int8_multiply_adds(const lks_vit *vit); /* those of them that are done in int8 */

/* Arena bytes that lks_vit_encode takes from compute->scratch for n images, ops scratch included. */
size_t lks_vit_scratch(const lks_vit *vit, const lks_vit_shape *shape, int n, int n_threads);

/* tokens [n, n_tokens, d] = encode(pixels [n, height, width, 3]), n images of one shape. An image's tokens are those of it alone but
 * on a device, whose products of more rows may sum in another order. Several at once pay on a device; a CPU is as fast with one. */
lks_status lks_vit_encode(const lks_vit *vit, const lks_compute *compute, float *tokens, const float *pixels,
                          const lks_vit_shape *shape, int n, lks_error *err);

#endif
