/* Bidirectional encoder of a source text: what a sentence becomes so that a decoder can cross-attend to it, alone or beside an
 * image's tokens (translation, filling of gaps).
 *
 *     x = token + position,  x = x + self(norm1 x),  x = x + mlp(norm2 x)  for each layer,  y = norm x
 *
 * (Vaswani et al. 2017, pre-norm; every token sees every other one.) The token table is the decoder's. Weights only: an encoder
 * may be shared by threads. */
#ifndef LKS_TEXT_ENCODER_H
#define LKS_TEXT_ENCODER_H

#include <jansson.h>

#include "text/decoder.h"

typedef struct lks_text_encoder lks_text_encoder;

/* Binds the tensors under text.encoder. `config` holds n_layer and n_positions; width, heads, MLP, activation and epsilon are the
 * decoder's, which must outlive the encoder and attend to tokens of its own width. */
lks_status lks_text_encoder_open(lks_text_encoder **out, const lks_weights *weights, const json_t *config,
                                 const lks_decoder *decoder, const lks_bind_options *options, const char *path,
                                 lks_error *err);
void lks_text_encoder_close(lks_text_encoder *encoder); /* NULL is safe */

size_t lks_text_encoder_weight_bytes(const lks_text_encoder *encoder);

/* out [n, width] = the encoded tokens [n], 1 <= n <= max_tokens. */
lks_status lks_text_encoder_run(const lks_text_encoder *encoder, const lks_compute *compute, float *out,
                                const int32_t *tokens, int n, lks_error *err);

/* Scratch bytes that run takes from compute->scratch. */
size_t lks_text_encoder_scratch(const lks_text_encoder *encoder, int n_threads);

#endif
