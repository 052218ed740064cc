/* Phrases as token sequences: see phrases.h. */
#include "apps/captioner/phrases.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Takes ownership of tokens [n]; empty sequences are dropped. */
static lks_status append(lks_phrases *out, int32_t *tokens, size_t n, lks_error *err)
{
    if (n == 0 || n > INT_MAX) {
        free(tokens);
        return LKS_OK;
    }
    size_t count = (size_t)out->n + 1;
    int32_t **grown = realloc(out->tokens, count * sizeof *grown);
    if (grown)
        out->tokens = grown;
    int *lengths = grown ? realloc(out->lengths, count * sizeof *lengths) : NULL;
    if (!lengths) {
        free(tokens);
        return lks_error_set(err, LKS_ERR_NOMEM, "out of memory");
    }
    out->lengths = lengths;
    out->tokens[out->n] = tokens;
    out->lengths[out->n++] = (int)n;
    return LKS_OK;
}

lks_status lks_phrases_encode_prompt(lks_phrases *out, const lks_tokenizer *tokenizer, const char *prompt,
                                     lks_error *err)
{
    if (!prompt || !*prompt)
        return LKS_OK;
    int32_t *tokens;
    size_t n;
    lks_status st = lks_tokenizer_encode(tokenizer, &tokens, &n, prompt, strlen(prompt), false, err);
    return st == LKS_OK ? append(out, tokens, n, err) : st;
}

lks_status lks_phrases_add(lks_phrases *phrases, const int32_t *tokens, int n, lks_error *err)
{
    int32_t *copy = malloc((size_t)(n > 0 ? n : 1) * sizeof *copy);
    if (!copy)
        return lks_error_set(err, LKS_ERR_NOMEM, "out of memory");
    memcpy(copy, tokens, (size_t)n * sizeof *copy);
    return append(phrases, copy, (size_t)n, err);
}

lks_status lks_phrases_begin_with(lks_phrases *phrases, int32_t token, lks_error *err)
{
    size_t n = phrases->n > 0 ? (size_t)phrases->lengths[0] : 0;
    int32_t *tokens = malloc((n + 1) * sizeof *tokens);
    if (!tokens)
        return lks_error_set(err, LKS_ERR_NOMEM, "out of memory");
    tokens[0] = token;
    if (n == 0)
        return append(phrases, tokens, 1, err);
    memcpy(tokens + 1, phrases->tokens[0], n * sizeof *tokens);
    free(phrases->tokens[0]);
    phrases->tokens[0] = tokens;
    phrases->lengths[0]++;
    return LKS_OK;
}

static lks_status encode_one(lks_phrases *out, const lks_tokenizer *tokenizer, const char *phrase,
                             lks_phrase_forms forms, lks_error *err)
{
    size_t length = strlen(phrase);
    char *spaced = malloc(length + 2);
    if (!spaced)
        return lks_error_set(err, LKS_ERR_NOMEM, "out of memory");
    snprintf(spaced, length + 2, " %s", phrase);
    int32_t *inner, *initial = NULL;
    size_t n_inner, n_initial = 0;
    lks_status st = lks_tokenizer_encode(tokenizer, &inner, &n_inner, spaced, length + 1, false, err);
    free(spaced);
    if (st != LKS_OK)
        return st;
    if (forms == LKS_PHRASES_ALL_FORMS)
        st = lks_tokenizer_encode(tokenizer, &initial, &n_initial, phrase, length, false, err);
    if (st != LKS_OK) {
        free(inner);
        return st;
    }
    bool same = n_inner == n_initial && n_inner > 0 && memcmp(inner, initial, n_inner * sizeof *inner) == 0;
    st = append(out, inner, n_inner, err);
    if (same || st != LKS_OK) {
        free(initial);
        return st;
    }
    return append(out, initial, n_initial, err);
}

lks_status lks_phrases_encode(lks_phrases *out, const lks_tokenizer *tokenizer, const char *const *phrases, size_t n,
                              lks_phrase_forms forms, lks_error *err)
{
    for (size_t i = 0; i < n; i++) {
        if (!phrases[i][0])
            return lks_error_set(err, LKS_ERR_ARGUMENT, "an empty word cannot be banned or required");
        lks_status st = encode_one(out, tokenizer, phrases[i], forms, err);
        if (st != LKS_OK)
            return st;
    }
    return LKS_OK;
}

void lks_phrases_release(lks_phrases *phrases)
{
    for (int i = 0; i < phrases->n; i++)
        free(phrases->tokens[i]);
    free(phrases->tokens);
    free(phrases->lengths);
    *phrases = (lks_phrases){0};
}
