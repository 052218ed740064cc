/* An open model: encoder, decoder, tokenizer, preprocessing and generation defaults. Private to the captioner. */
#ifndef LKS_MODEL_H
#define LKS_MODEL_H

#include <jansson.h>

#include "apps/captioner/confidence.h"
#include "apps/captioner/languages.h"
#include "apps/captioner/looksay.h"
#include "apps/captioner/phrases.h"
#include "fusion/weights/weights.h"
#include "text/decoder.h"
#include "text/encoder.h"
#include "text/search.h"
#include "text/tokenizer.h"
#include "vision/preprocess.h"
#include "vision/vit.h"

typedef struct lks_generation {
    lks_search_options search; /* defaults; start, end, pad, forced, suppressed and banned tokens included */
    int32_t *end_tokens, *suppressed, *begin_suppressed; /* what `search` points to */
    lks_phrases banned;
    lks_calibration calibration;
    const char *notes[2]; /* see lks_model_note */
    size_t n_notes;
} lks_generation;

struct lks_model {
    char *path;
    char family[32]; /* model_type of config.json */
    const lks_ops *ops;
    lks_device *device; /* that `ops` belongs to, or NULL */
    lks_weights *weights;
    lks_vit *vit;
    lks_decoder *decoder;
    lks_text_encoder *reader; /* of source texts; NULL: none */
    lks_languages languages;
    lks_tokenizer *tokenizer;
    lks_preprocess preprocess;
    lks_generation generation;
    char encoder_type[32], decoder_type[32];
};

/* The JSON texts and weights of a model, wherever they are stored. Objects may be NULL when a file is absent. */
typedef struct lks_model_files {
    json_t *config, *generation;
    char *preprocessor; /* JSON text, or NULL */
    size_t n_preprocessor;
    lks_weights *weights;
    struct lks_tokenizer_reader *tokenizer; /* being read, beside what the weights need; NULL: moved out */
} lks_model_files;

lks_status lks_model_files_open(lks_model_files *files, const char *path, lks_error *err);
/* Waits for the tokenizer, and moves it out. Once, before the weights are closed, which its text may lie in. */
lks_status lks_model_files_tokenizer(lks_model_files *files, lks_tokenizer **out, lks_error *err);
/* Closes what has not been moved out (set to NULL). */
void lks_model_files_close(lks_model_files *files);

/* Whether keys and values of n_memory tokens are kept in bf16: those of models below f32, once they are too large for a cache
 * nearby. It depends on nothing else, so that a caption does not depend on those before it. */
bool lks_model_halves_memory(const lks_model *model, int n_memory);

/* Opens the model of `files`, whose weights and tokenizer move into it. `path` is for messages. */
lks_status lks_model_open_files(lks_model **out, lks_model_files *files, const char *path, const lks_bind_options *bind,
                                lks_error *err);

/* Generation defaults as transformers finds them in generation_config.json (NULL: there is none) and the model's configuration. */
lks_status lks_generation_parse(lks_generation *out, const json_t *generation, const json_t *config,
                                const json_t *text_config, bool blip, const char *path, lks_error *err);
void lks_generation_release(lks_generation *generation);

#endif
