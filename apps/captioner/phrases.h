/* Phrases as token sequences: prompts, banned and required words. Private to the captioner. */
#ifndef LKS_PHRASES_H
#define LKS_PHRASES_H

#include "text/tokenizer.h"

typedef struct lks_phrases {
    int n;
    int32_t **tokens; /* [n] malloc'ed sequences */
    int *lengths;     /* [n] */
} lks_phrases;

typedef enum lks_phrase_forms {
    LKS_PHRASES_INNER_FORM, /* as the phrase reads after another word */
    LKS_PHRASES_ALL_FORMS   /* also as it reads at the beginning, where the tokens differ */
} lks_phrase_forms;

/* One sequence from `prompt`; none for NULL or "". */
lks_status lks_phrases_encode_prompt(lks_phrases *out, const lks_tokenizer *tokenizer, const char *prompt,
                                     lks_error *err);

/* Adds a copy of tokens [n]; nothing for n = 0. */
lks_status lks_phrases_add(lks_phrases *phrases, const int32_t *tokens, int n, lks_error *err);

/* Puts `token` before the first sequence, which is made where there is none. */
lks_status lks_phrases_begin_with(lks_phrases *phrases, int32_t token, lks_error *err);

lks_status lks_phrases_encode(lks_phrases *out, const lks_tokenizer *tokenizer, const char *const *phrases, size_t n,
                              lks_phrase_forms forms, lks_error *err);

void lks_phrases_release(lks_phrases *phrases);

#endif
