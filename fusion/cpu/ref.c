/* The reference table: every op in scalar code that states its meaning. */
#include "fusion/cpu/kernels.h"
#include "fusion/cpu/word_rows.h"

const lks_ops lks_ops_ref = {
    .isa = LKS_ISA_REF,
    .name = "ref",
    LKS_HOST_OPS,
    .linear_packed_count = lks_ref_linear_packed_count,
    .linear_pack = lks_ref_linear_pack,
    .linear_unpack = lks_ref_linear_unpack,
    .linear = lks_ref_linear,
    .linear_int8 = lks_ref_linear_int8,
    .linear_bf16 = lks_ref_linear_bf16,
    .linear_int4 = lks_ref_linear_int4,
    .attention = lks_ref_attention,
    .attention_int8 = lks_ref_attention_int8,
    .layer_norm = lks_ref_layer_norm,
    .rms_norm = lks_ref_rms_norm,
    .conv2d = lks_ref_conv2d,
    .depthwise_conv2d = lks_ref_depthwise_conv2d,
    .embed = lks_ref_embed,
    .patches = lks_ref_patches,
    .weigh_bytes = lks_ref_weigh_bytes,
    .activate = lks_ref_activate,
    .add_scaled = lks_ref_add_scaled,
    .gated = lks_ref_gated,
    .softmax = lks_ref_softmax,
    .log_softmax = lks_ref_log_softmax,
    .log_sum_exp = lks_ref_log_sum_exp,
    .top_k = lks_ref_top_k,
};
