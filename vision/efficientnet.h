/* EfficientNet-Lite (Tan & Le 2019, without squeeze-and-excite, ReLU6): the convolutional stem of the hybrid vision
 * transformer. Batch norm is folded into the convolutions; everything is NHWC.
 *
 * Stem 3x3 stride 2; inverted-residual blocks (pointwise expand, depthwise k x k, linear pointwise project, shortcut when
 * shapes agree); pointwise head. Padding is that of the network the weights were trained in ("same" for `padding_size`
 * pixels): total p = max((ceil(s/stride) - 1) * stride + k - s, 0), the smaller half first. */
#ifndef LKS_EFFICIENTNET_H
#define LKS_EFFICIENTNET_H

#include <jansson.h>

#include "fusion/weights/bind.h"

typedef struct lks_efficientnet lks_efficientnet;

/* Reads the "stem" object of a hybrid's configuration and plans every layer for an image of width x height. */
lks_status lks_efficientnet_open(lks_efficientnet **out, const json_t *config, int width, int height, const char *path,
                                 lks_error *err);
void lks_efficientnet_close(lks_efficientnet *net);

/* Binds "stem.*" tensors; called once per pass of the binder. */
lks_status lks_efficientnet_bind(lks_efficientnet *net, lks_binder *binder, lks_error *err);

int lks_efficientnet_channels(const lks_efficientnet *net); /* of the feature map */
void lks_efficientnet_grid(const lks_efficientnet *net, int *rows, int *columns);
int64_t lks_efficientnet_multiply_adds(const lks_efficientnet *net);
int64_t lks_efficientnet_int8_multiply_adds(const lks_efficientnet *net); /* those of them that int8 layers do */
size_t lks_efficientnet_scratch(const lks_efficientnet *net, int n, int n_threads);

/* features [n, rows * columns, channels] = network(pixels [n, height, width, 3]). */
lks_status lks_efficientnet_run(const lks_efficientnet *net, const lks_compute *compute, float *features,
                                const float *pixels, int n, lks_error *err);

#endif
