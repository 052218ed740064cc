/* Reading a vision configuration (a JSON object): typed fields with the defaults of transformers' classes. */
#ifndef LKS_VISION_CONFIG_H
#define LKS_VISION_CONFIG_H

#include <jansson.h>
#include <stdbool.h>

#include "fusion/ops.h"

typedef enum lks_vit_family {
    LKS_VIT_PLAIN,
    LKS_VIT_DEIT,
    LKS_VIT_DINOV2,
    LKS_VIT_BLIP,
    LKS_VIT_HYBRID /* patches are embedded from a convolutional feature map */
} lks_vit_family;

#define LKS_VIT_MAX_CONCEPT_TOKENS 16

typedef struct lks_vit_config {
    lks_vit_family family;
    int width, n_layers, n_heads, d_mlp;
    int patch_height, patch_width; /* in pixels */
    int table_rows, table_columns; /* patches that the position table covers */
    int n_prefix;                  /* class token, DeiT's distillation token, the hybrid's concept tokens */
    int n_concept_tokens;          /* hybrid, 0: none */
    int n_concepts;                /* classes that one may stand for, 0 without them */
    float eps;
    lks_activation activation;
    bool swiglu;      /* DINOv2: gated MLP, fc1 is [2 d_mlp, width] */
    bool layer_scale; /* DINOv2 */
} lks_vit_config;

/* `family` names the encoder's model_type: vit, deit, dinov2, blip_vision_model, looksay (the hybrid). Absent keys take the class defaults;
 * values out of range are refused. `path` is for messages. */
lks_status lks_vit_config_parse(lks_vit_config *out, const json_t *config, const char *model_type, const char *path,
                                lks_error *err);

#endif
