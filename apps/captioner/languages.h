/* The languages of a model: the token that names each, and the form its sentences have. Private to the captioner.
 *
 *     "languages": [{"code": "en", "token": "<|en|>", "form": "words"}, {"code": "de", "token": "<|de|>", "form": "plain"}],
 *     "fill": {"token": "<|fill|>", "mask": "[MASK]"}                                          in the model's configuration
 *
 * A text of language l starts with l's token: what is written follows it, what is read begins with it and ends with the end token.
 * Filling gaps: the source has mask tokens; the start token and the fill token are followed by what was masked, the gaps' words
 * divided by mask tokens. */
#ifndef LKS_LANGUAGES_H
#define LKS_LANGUAGES_H

#include <jansson.h>

#include "apps/captioner/looksay.h"
#include "text/sentence.h"
#include "text/tokenizer.h"

enum { LKS_MAX_LANGUAGES = 16 };

typedef struct lks_language {
    char code[8];
    int32_t token;
    lks_sentence_form form;
} lks_language;

typedef struct lks_languages {
    int n;                                 /* 0: a model that captions in the one language it was trained on */
    lks_language items[LKS_MAX_LANGUAGES]; /* the first is the default */
    int32_t fill_token, mask_token;        /* -1: the model does not fill gaps */
    char mask[16];                         /* how the mask token is written */
} lks_languages;

/* From config.json; absent keys leave none. */
lks_status lks_languages_parse(lks_languages *out, const json_t *config, const lks_tokenizer *tokenizer,
                               const char *path, lks_error *err);

/* The language called `code`, NULL for the default. An error names what there is instead. */
lks_status lks_languages_find(const lks_language **out, const lks_languages *languages, const char *code,
                              lks_error *err);

#endif
