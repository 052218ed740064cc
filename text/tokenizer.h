/* Tokenizers: words <-> ids, equal to Hugging Face `tokenizers` for byte-level BPE, WordPiece and Unigram models. */
#ifndef LKS_TOKENIZER_H
#define LKS_TOKENIZER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "fusion/status.h"

typedef struct lks_tokenizer lks_tokenizer;

/* A tokenizer as texts that one file can hold. A vocabulary and merges that stand as lines beside the JSON are read many times
 * faster than inside it. */
typedef struct lks_tokenizer_texts {
    const char *json; /* [n_json] of a tokenizer.json, whose model lacks "vocab" and "merges" where they stand below */
    size_t n_json;
    const char *tokens; /* [n_tokens bytes] each ending with a newline, in the order of ids from 0; NULL: in the JSON */
    size_t n_tokens;
    const char *merges; /* [n_merges bytes] "left right" and a newline each, by rank; NULL: in the JSON */
    size_t n_merges;
} lks_tokenizer_texts;

/* Opens what a model directory holds: tokenizer.json | vocab.json + merges.txt | vocab.txt | *.model / *.spm
 * (SentencePiece), in this order, together with tokenizer_config.json, special_tokens_map.json and added_tokens.json. */
lks_status lks_tokenizer_open_dir(lks_tokenizer **out, const char *dir, lks_error *err);
/* From texts, which may go afterwards; `name` is for messages. */
lks_status lks_tokenizer_open_texts(lks_tokenizer **out, const lks_tokenizer_texts *texts, const char *name,
                                    lks_error *err);
void lks_tokenizer_close(lks_tokenizer *tokenizer);

int lks_tokenizer_id(const lks_tokenizer *tokenizer, const char *token); /* -1: not in the vocabulary */
bool lks_tokenizer_is_special(const lks_tokenizer *tokenizer, int id);

/* ids = the tokens of `text` (UTF-8; invalid bytes are read as U+FFFD), with the post-processor's special tokens when
 * `add_special`. *ids is malloc'ed. Linear or n log n in the length. */
lks_status lks_tokenizer_encode(const lks_tokenizer *tokenizer, int32_t **ids, size_t *n_ids, const char *text,
                                size_t n, bool add_special, lks_error *err);

/* text = the ids' words (malloc'ed, terminated, valid UTF-8), as `tokenizers` decode(skip_special_tokens) followed by
 * transformers' clean-up of tokenisation spaces when tokenizer_config.json asks for it. Unknown ids are skipped, U+0000 is left out. */
lks_status lks_tokenizer_decode(const lks_tokenizer *tokenizer, char **text, const int32_t *ids, size_t n_ids,
                                bool skip_special, lks_error *err);

/* The texts that rebuild this tokenizer with lks_tokenizer_open_texts (for packing a directory into one file), with lines where a
 * token a line can say it. To be freed with lks_tokenizer_texts_free. */
lks_status lks_tokenizer_to_texts(const lks_tokenizer *tokenizer, lks_tokenizer_texts *texts, lks_error *err);
void lks_tokenizer_texts_free(lks_tokenizer_texts *texts);

#endif
