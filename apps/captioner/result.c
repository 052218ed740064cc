/* Captions as callers see them: see result.h. */
#include "apps/captioner/result.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

/* Cuts white space at both ends, in place. */
static void trim(char *text)
{
    size_t n = strlen(text), begin = 0;
    while (n > 0 && isspace((unsigned char)text[n - 1]))
        n--;
    while (begin < n && isspace((unsigned char)text[begin]))
        begin++;
    memmove(text, text + begin, n - begin);
    text[n - begin] = '\0';
}

/* What token i adds: the text of the first i + 1 tokens less the text of the first i. */
static lks_status token_texts(char **texts, const lks_model *model, const int32_t *tokens, int n_prompt, int n_tokens,
                              lks_error *err)
{
    char *before = NULL;
    lks_status st = lks_tokenizer_decode(model->tokenizer, &before, tokens, (size_t)n_prompt, true, err);
    for (int i = 0; st == LKS_OK && i < n_tokens; i++) {
        char *after;
        st = lks_tokenizer_decode(model->tokenizer, &after, tokens, (size_t)n_prompt + (size_t)i + 1, true, err);
        if (st != LKS_OK)
            break;
        size_t common = 0;
        while (before[common] && before[common] == after[common])
            common++;
        texts[i] = strdup(after + common);
        free(before);
        before = after;
        if (!texts[i])
            st = lks_error_set(err, LKS_ERR_NOMEM, "out of memory");
    }
    free(before);
    return st;
}

/* maps [n_tokens, patches]: the map of token i was made by the step that fed token i - 1. Prefix tokens (class) are left out
 * and the rest is normalised to sum 1. */
static float *patch_maps(const lks_model *model, const lks_decoder_state *state, const lks_hypothesis *h, int n_prompt)
{
    int n_memory = lks_vit_n_tokens(model->vit), n_prefix = lks_vit_n_prefix(model->vit), n = n_memory - n_prefix;
    float *maps = calloc((size_t)h->n_tokens * (size_t)n + 1, sizeof *maps);
    for (int i = 0; maps && i < h->n_tokens; i++) {
        const float *from = lks_decoder_map(state, h->rows[i], n_prompt + i);
        float sum = 0.0f, *to = maps + (size_t)i * (size_t)n;
        for (int j = 0; from && j < n; j++)
            sum += from[n_prefix + j];
        for (int j = 0; from && j < n; j++)
            to[j] = sum > 0.0f ? from[n_prefix + j] / sum : 1.0f / (float)n;
    }
    return maps;
}

static lks_status fill_sequence(lks_sequence *out, const lks_model *model, const lks_decoder_state *state,
                                const lks_hypothesis *h, const int32_t *prompt, int n_prompt, lks_error *err)
{
    size_t n = (size_t)n_prompt + (size_t)h->n_tokens, n_tokens = (size_t)h->n_tokens;
    int32_t *all = malloc((n ? n : 1) * sizeof *all);
    int32_t *tokens = malloc((n_tokens ? n_tokens : 1) * sizeof *tokens);
    float *logprobs = malloc((n_tokens ? n_tokens : 1) * sizeof *logprobs);
    char **texts = calloc(n_tokens ? n_tokens : 1, sizeof *texts);
    out->tokens = tokens;
    out->logprobs = logprobs;
    out->token_text = (const char *const *)texts;
    out->n_tokens = texts ? h->n_tokens : 0;
    out->score = h->score;
    if (!all || !tokens || !logprobs || !texts) {
        free(all);
        return lks_error_set(err, LKS_ERR_NOMEM, "out of memory");
    }
    if (n_prompt > 0)
        memcpy(all, prompt, (size_t)n_prompt * sizeof *all);
    memcpy(all + n_prompt, h->tokens, n_tokens * sizeof *all);
    memcpy(tokens, h->tokens, n_tokens * sizeof *tokens);
    memcpy(logprobs, h->logprobs, n_tokens * sizeof *logprobs);
    char *text;
    lks_status st = lks_tokenizer_decode(model->tokenizer, &text, all, n, true, err);
    if (st == LKS_OK) {
        trim(text);
        out->text = text;
        st = token_texts(texts, model, all, n_prompt, h->n_tokens, err);
    }
    if (st == LKS_OK && state) {
        out->maps = patch_maps(model, state, h, n_prompt);
        if (!out->maps)
            st = lks_error_set(err, LKS_ERR_NOMEM, "out of memory");
    }
    free(all);
    return st;
}

lks_status lks_result_make(lks_caption **out, const lks_model *model, const lks_decoder_state *state,
                           const lks_hypothesis *hypotheses, int n, const int32_t *prompt, int n_prompt, lks_error *err)
{
    lks_caption *caption = calloc(1, sizeof *caption);
    lks_sequence *sequences = calloc((size_t)n, sizeof *sequences);
    if (!caption || !sequences) {
        free(caption);
        free(sequences);
        return lks_error_set(err, LKS_ERR_NOMEM, "out of memory");
    }
    caption->sequences = sequences;
    caption->n_sequences = n;
    for (int i = 0; i < n; i++) {
        lks_status st = fill_sequence(&sequences[i], model, state, &hypotheses[i], prompt, n_prompt, err);
        if (st != LKS_OK) {
            lks_caption_free(caption);
            return st;
        }
        if (hypotheses[i].n_tokens > caption->n_steps)
            caption->n_steps = hypotheses[i].n_tokens;
    }
    *out = caption;
    return LKS_OK;
}

void lks_caption_free(lks_caption *caption)
{
    if (!caption)
        return;
    for (int i = 0; i < caption->n_sequences; i++) {
        const lks_sequence *s = &caption->sequences[i];
        for (int t = 0; t < s->n_tokens; t++)
            free((void *)(uintptr_t)s->token_text[t]);
        free((void *)(uintptr_t)s->token_text);
        free((void *)(uintptr_t)s->text);
        free((void *)(uintptr_t)s->tokens);
        free((void *)(uintptr_t)s->logprobs);
        free((void *)(uintptr_t)s->maps);
    }
    free((void *)(uintptr_t)caption->sequences);
    free(caption);
}
