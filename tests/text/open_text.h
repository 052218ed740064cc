/* What the tests of tokenizers open. Stands after cmocka.h. */
#ifndef LKS_TESTS_OPEN_TEXT_H
#define LKS_TESTS_OPEN_TEXT_H

#include "text/tokenizer.h"

/* The tokenizer of a tokenizer.json with this text. */
static inline lks_tokenizer *open_text(const char *json, size_t n, const char *name)
{
    lks_error err;
    lks_tokenizer *t = NULL;
    if (lks_tokenizer_open_texts(&t, &(lks_tokenizer_texts){.json = json, .n_json = n}, name, &err) != LKS_OK)
        fail_msg("%s", err.message);
    return t;
}

#endif
