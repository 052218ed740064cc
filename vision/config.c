/* Vision configurations: see config.h. Defaults are those of ViTConfig, DeiTConfig, Dinov2Config and BlipVisionConfig. */
#include "vision/config.h"

#include <string.h>

#include "fusion/json.h"

lks_status lks_vit_config_parse(lks_vit_config *out, const json_t *config, const char *model_type, const char *path,
                                lks_error *err)
{
    static const struct {
        const char *model_type;
        lks_vit_family family;
        int image_size, patch, n_prefix;
        double eps;
    } families[] = {
        {"vit", LKS_VIT_PLAIN, 224, 16, 1, 1e-12},     {"deit", LKS_VIT_DEIT, 224, 16, 2, 1e-12},
        {"dinov2", LKS_VIT_DINOV2, 224, 14, 1, 1e-6},  {"blip_vision_model", LKS_VIT_BLIP, 384, 16, 1, 1e-5},
        {"looksay", LKS_VIT_HYBRID, 256, 32, 1, 1e-6},
    };
    size_t f = 0;
    while (f < sizeof families / sizeof *families && strcmp(families[f].model_type, model_type) != 0)
        f++;
    if (f == sizeof families / sizeof *families)
        return lks_error_set(err, LKS_ERR_UNSUPPORTED,
                             "%s: the encoder '%s' is not known here (vit, deit, dinov2 and blip are)", path,
                             model_type);

    lks_vit_config c = {.family = families[f].family, .n_prefix = families[f].n_prefix};
    int n_channels, mlp_ratio, image_size[2], patch_size[2];
    bool gated = false;
    lks_status st;
    if ((st = lks_json_int(&c.width, config, "hidden_size", 768, 1, 65536, path, err)) != LKS_OK ||
        (st = lks_json_int(&c.n_layers, config, "num_hidden_layers", 12, 0, 1024, path, err)) != LKS_OK ||
        (st = lks_json_int(&c.n_heads, config, "num_attention_heads", 12, 1, 4096, path, err)) != LKS_OK ||
        (st = lks_json_pair(image_size, config, "image_size", families[f].image_size, 1, 16384, path, err)) != LKS_OK ||
        (st = lks_json_pair(patch_size, config, "patch_size", families[f].patch, 1, 1024, path, err)) != LKS_OK ||
        (st = lks_json_int(&n_channels, config, "num_channels", 3, 1, 64, path, err)) != LKS_OK ||
        (st = lks_json_int(&mlp_ratio, config, "mlp_ratio", 4, 1, 64, path, err)) != LKS_OK ||
        (st = lks_json_int(&c.d_mlp, config, "intermediate_size", 3072, 1, 1 << 20, path, err)) != LKS_OK ||
        (st = lks_json_float(&c.eps, config, "layer_norm_eps", families[f].eps, path, err)) != LKS_OK ||
        (st = lks_json_bool(&gated, config, "use_swiglu_ffn", false, path, err)) != LKS_OK ||
        (st = lks_json_activation(&c.activation, config, "hidden_act", "gelu", path, err)) != LKS_OK)
        return st;
    if (c.family == LKS_VIT_DINOV2) {
        c.layer_scale = true;
        c.swiglu = gated;
        c.d_mlp = c.width * mlp_ratio;
        if (gated) /* Dinov2SwiGLUFFN: two thirds of the plain width, rounded up to a multiple of 8 */
            c.d_mlp = (c.d_mlp * 2 / 3 + 7) / 8 * 8;
    }
    if (c.family == LKS_VIT_HYBRID) {
        st = lks_json_int(&c.n_concept_tokens, config, "num_concept_tokens", 0, 0, LKS_VIT_MAX_CONCEPT_TOKENS, path,
                          err);
        if (st == LKS_OK && c.n_concept_tokens > 0)
            st = lks_json_int(&c.n_concepts, config, "num_concepts", 1000, c.n_concept_tokens, 1 << 16, path, err);
        if (st != LKS_OK)
            return st;
        c.n_prefix += c.n_concept_tokens;
    }
    if (n_channels != 3)
        return lks_error_set(err, LKS_ERR_UNSUPPORTED, "%s: num_channels is %d; only RGB encoders are served", path,
                             n_channels);
    c.patch_height = patch_size[0];
    c.patch_width = patch_size[1];
    c.table_rows = image_size[0] / c.patch_height;
    c.table_columns = image_size[1] / c.patch_width;
    if (c.width % c.n_heads != 0 || c.table_rows < 1 || c.table_columns < 1)
        return lks_error_set(
            err, LKS_ERR_MODEL,
            "%s: hidden_size %d, num_attention_heads %d, image_size %d and patch_size %d do not fit together", path,
            c.width, c.n_heads, image_size[0], c.patch_height);
    *out = c;
    return LKS_OK;
}
