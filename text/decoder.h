/* Text decoder with cross-attention to image tokens: GPT-2 (Radford et al. 2019), BERT (Devlin et al. 2019), RoBERTa (Liu et
 * al. 2019), TrOCR (Li et al. 2021) and BLIP's text decoder (Li et al. 2022), and the default model's GPT-2 layout.
 *
 *     pre-norm (GPT-2)      x = x + self(norm1 x),  x = x + cross(norm2 x, memory),  x = x + mlp(norm3 x)
 *     post-norm (the rest)  x = norm1(x + self x),  x = norm2(x + cross(x, memory)), x = norm3(x + mlp x)
 *     logits = head(norm x);  BERT-like heads transform first: norm(activation(dense x))
 *
 * A decoder holds weights only and may be shared by threads; what changes while a caption is made lives in
 * lks_decoder_state: the self-attention cache of every row, and the cross-attention keys and values of one image or several,
 * computed once and read by all rows of that image. */
#ifndef LKS_DECODER_H
#define LKS_DECODER_H

#include <jansson.h>

#include "fusion/weights/bind.h"

typedef enum lks_decoder_family {
    LKS_DECODER_GPT2,
    LKS_DECODER_BERT,
    LKS_DECODER_ROBERTA,
    LKS_DECODER_TROCR,
    LKS_DECODER_BLIP,
    LKS_DECODER_LOOKSAY
} lks_decoder_family;

typedef struct lks_decoder_config {
    lks_decoder_family family;
    int vocab_size, width, n_layers, n_heads, d_mlp;
    int n_positions; /* rows of the position table, offset included */
    int position_offset;
    int padding_id; /* >= 0: this token sits at position `padding_id` (RoBERTa, TrOCR sinusoidal) */
    int d_memory;   /* width of the image tokens that cross-attention reads */
    bool pre_norm, embedding_norm, final_norm, head_transform, head_bias;
    bool sinusoidal; /* position table computed, not stored */
    bool token_types;
    bool tied;           /* head weight = token table when the file has none */
    bool scale_by_layer; /* GPT-2: attention of layer i divided by i + 1 */
    bool unscaled;       /* GPT-2: scale_attn_weights false */
    float eps, embedding_scale;
    lks_activation activation;
} lks_decoder_config;

/* `config` is the decoder's JSON object; defaults are those of transformers' classes. encoder_width: of the image tokens. */
lks_status lks_decoder_config_parse(lks_decoder_config *out, const json_t *config, const char *model_type,
                                    int encoder_width, const char *path, lks_error *err);

typedef struct lks_decoder lks_decoder;

/* Binds the decoder's tensors under `prefix`. When encoder_width and the decoder's memory width differ, the file's
 * enc_to_dec_proj joins them. */
lks_status lks_decoder_open(lks_decoder **out, const lks_weights *weights, const char *prefix,
                            const lks_decoder_config *config, int encoder_width, const lks_bind_options *options,
                            lks_error *err);
void lks_decoder_close(lks_decoder *decoder);

const lks_decoder_config *lks_decoder_describe(const lks_decoder *decoder);
int lks_decoder_max_positions(const lks_decoder *decoder); /* tokens a sequence may have */
size_t lks_decoder_weight_bytes(const lks_decoder *decoder);
int64_t lks_decoder_multiply_adds(const lks_decoder *decoder, bool head); /* per token, attention scores left out */

lks_precision
lks_decoder_precision(const lks_decoder *decoder); /* of its linear layers; an int4 decoder has an int8 head */

typedef struct lks_decoder_state lks_decoder_state;

enum {
    LKS_DECODER_KEEP_MAPS = 1,  /* the cross-attention weights of every step: see lks_decoder_map */
    LKS_DECODER_BF16_MEMORY = 2 /* keys and values of the memory in bf16: half of what a step reads beside weights */
};

/* Room for `max_rows` rows of `max_positions` tokens and n_memory tokens to attend to, those of all images together. */
lks_status lks_decoder_state_open(lks_decoder_state **out, const lks_decoder *decoder, const lks_compute *compute,
                                  int max_rows, int max_positions, int n_memory, unsigned flags, lks_error *err);
void lks_decoder_state_close(lks_decoder_state *state);

/* From now on there are n_images images of n_memory tokens each, together no more than the state has room for. Forgets what was
 * there. */
void lks_decoder_attend(lks_decoder_state *state, int n_images, int n_memory);

/* Computes cross K/V of n_images images from the first one on, from tokens [n_images, n_memory, encoder width], which may also be
 * those of a text (text/encoder.h) or of both. Threads may each do this for other images, with a `compute` of their own. */
lks_status lks_decoder_look(const lks_compute *compute, lks_decoder_state *state, int image, int n_images,
                            const float *tokens, lks_error *err);

/* Forgets all rows; those of the next step, n_rows, read these images. images NULL: image 0. */
void lks_decoder_begin(lks_decoder_state *state, const int32_t *images, int n_rows);

/* Appends tokens [n_rows, n_tokens] to the rows; logits [n_rows, vocab_size] of each row's last token. The signature of
 * lks_step_model.step with the state as context. */
lks_status lks_decoder_step(void *context, float *logits, const int32_t *tokens, int n_rows, int n_tokens,
                            lks_error *err);
/* The same with the likeliest tokens only: lks_step_model.step_top, k <= LKS_DECODER_MAX_TOP. The logits of all tokens are written
 * nowhere. */
#define LKS_DECODER_MAX_TOP 64
lks_status lks_decoder_step_top(void *context, const lks_top *top, const int32_t *tokens, int n_rows, int n_tokens,
                                lks_error *err);

/* Row i continues what row parents[i] had: lks_step_model.reorder. Only a row that several continue is copied. */
void lks_decoder_reorder(void *context, const int32_t *parents, int n_rows);

/* Makes what was kept readable, when a device holds it; to be called before the next two. */
lks_status lks_decoder_fetch(lks_decoder_state *state, lks_error *err);

/* map [n_layers, n_memory] = the cross-attention weights, averaged over heads, of the step that fed a token to `row` at `position`:
 * where the decoder looked to score the token after it. `row` is the row at that step (lks_hypothesis.rows): reordering moves no
 * maps. Returns false when they were not kept. */
bool lks_decoder_map(const lks_decoder_state *state, float *map, int row, int position);

/* credit [n_tokens, n_memory - n_prefix] = by how much each image token behind the prefix raised the logit of tokens[i] directly,
 * that is through the cross-attention of all layers and the residual stream; negative where it lowered it, in a unit of each
 * token's own. tokens[i] was scored by the step that fed rows[i] at position + i. Needs kept maps. */
lks_status lks_decoder_credit(const lks_decoder_state *state, float *credit, const int32_t *tokens, const int32_t *rows,
                              int position, int n_tokens, int n_prefix, lks_error *err);

/* Scratch bytes that steps of up to max_tokens tokens in all their rows take from compute->scratch, and look for one image. */
size_t lks_decoder_scratch(const lks_decoder *decoder, int max_rows, int max_tokens, int max_positions, int n_memory,
                           int n_threads);
/* That look takes for n_images images of n_memory tokens. */
size_t lks_decoder_look_scratch(const lks_decoder *decoder, int n_images, int n_memory, int n_threads);

#endif
