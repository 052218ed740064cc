/* Captions as callers see them: see result.h. */
#include "apps/captioner/result.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "apps/captioner/maps.h"
#include "apps/captioner/words.h"

/* Cuts [*begin, *end) of the text to what lies between white space. */
static void trim(const char *text, size_t *begin, size_t *end)
{
    while (*end > *begin && isspace((unsigned char)text[*end - 1]))
        (*end)--;
    while (*begin < *end && isspace((unsigned char)text[*begin]))
        (*begin)++;
}

static size_t common_length(const char *a, const char *b)
{
    size_t n = 0;
    while (a[n] && a[n] == b[n])
        n++;
    while (n > 0 && ((unsigned char)b[n] & 0xC0) == 0x80) /* whole characters only */
        n--;
    return n;
}

/* pieces [n_tokens]: which bytes of `text`, the whole sequence's, each token wrote. Token i ends where the text of the tokens up
 * to it stops being the start of the whole text: bytes of a character still incomplete are shown as U+FFFD by then. */
static lks_status find_pieces(lks_piece *pieces, size_t *n_prompt_bytes, const lks_model *model, const char *text,
                              const int32_t *tokens, int n_prompt, int n_tokens, lks_error *err)
{
    size_t at = 0, n_shown = (size_t)n_prompt;
    for (int i = -1; i < n_tokens; i++, n_shown++) {
        char *part;
        lks_status st = lks_tokenizer_decode(model->tokenizer, &part, tokens, n_shown, true, err);
        if (st != LKS_OK)
            return st;
        size_t end = common_length(part, text);
        free(part);
        if (end < at)
            end = at;
        if (i < 0)
            *n_prompt_bytes = end;
        else
            pieces[i] = (lks_piece){at, end, lks_tokenizer_is_special(model->tokenizer, tokens[n_prompt + i])};
        at = end;
    }
    return LKS_OK;
}

static bool fill_token_texts(char **texts, const char *text, const lks_piece *pieces, int n)
{
    for (int i = 0; i < n; i++) {
        texts[i] = strndup(text + pieces[i].begin, pieces[i].end - pieces[i].begin);
        if (!texts[i])
            return false;
    }
    return true;
}

static lks_status fill_maps(lks_sequence *out, const lks_model *model, const lks_decoder_state *state,
                            const lks_hypothesis *h, int n_prompt, int n_patches, lks_error *err)
{
    int n_layers = lks_decoder_describe(model->decoder)->n_layers;
    size_t n = (size_t)h->n_tokens * (size_t)n_patches;
    float *layers = malloc((n * (size_t)n_layers + 1) * sizeof *layers), *maps = malloc((n + 1) * sizeof *maps);
    out->layer_maps = layers;
    out->maps = maps;
    if (!layers || !maps)
        return lks_error_set(err, LKS_ERR_NOMEM, "out of memory for the attention maps");
    lks_status st = lks_maps_layers(layers, model, state, h, n_prompt, n_patches, err);
    return st == LKS_OK ? lks_maps_tokens(maps, model, state, h, n_prompt, n_patches, err) : st;
}

/* Words, their maps and texts in one block. */
static lks_status fill_words(lks_sequence *out, const char *text, size_t begin, size_t end, const lks_piece *pieces,
                             int n_patches, lks_error *err)
{
    lks_word_span *spans = malloc(lks_words_limit(end - begin) * sizeof *spans);
    if (!spans)
        return lks_error_set(err, LKS_ERR_NOMEM, "out of memory");
    size_t n = lks_words_find(spans, text, begin, end, pieces, out->n_tokens), n_text = 0;
    size_t n_map = out->maps ? (size_t)n_patches : 0;
    for (size_t i = 0; i < n; i++)
        n_text += spans[i].end - spans[i].begin + 1;
    lks_word *words = malloc((n + 1) * sizeof *words + n * n_map * sizeof(float) + n_text);
    if (!words) {
        free(spans);
        return lks_error_set(err, LKS_ERR_NOMEM, "out of memory");
    }
    float *map = (float *)(words + n + 1);
    char *write = (char *)(map + n * n_map);
    for (size_t i = 0; i < n; i++) {
        const lks_word_span *span = &spans[i];
        lks_word word = {.text = write, .first_token = span->first_token, .n_tokens = span->n_tokens};
        size_t length = span->end - span->begin;
        memcpy(write, text + span->begin, length);
        write[length] = '\0';
        write += length + 1;
        for (int t = 0; t < word.n_tokens; t++)
            word.logprob += out->logprobs[word.first_token + t];
        if (out->maps) {
            lks_maps_word(map, out->maps + (size_t)word.first_token * n_map, word.n_tokens, n_patches);
            word.map = map;
            map += n_map;
        }
        words[i] = word;
    }
    free(spans);
    out->words = words;
    out->n_words = (int)n;
    return LKS_OK;
}

/* Text, token texts and words of the tokens `all` [n_prompt + n_tokens]. */
static lks_status fill_text(lks_sequence *out, char **texts, const lks_model *model, const int32_t *all, int n_prompt,
                            int n_patches, lks_error *err)
{
    char *text;
    const int n_tokens = out->n_tokens;
    lks_status st = lks_tokenizer_decode(model->tokenizer, &text, all, (size_t)n_prompt + (size_t)n_tokens, true, err);
    if (st != LKS_OK)
        return st;
    size_t begin = 0, end = strlen(text), n_prompt_bytes = 0;
    lks_piece *pieces = malloc(((size_t)n_tokens + 1) * sizeof *pieces);
    if (pieces)
        st = find_pieces(pieces, &n_prompt_bytes, model, text, all, n_prompt, n_tokens, err);
    if (pieces && st == LKS_OK)
        st = fill_words(out, text, n_prompt_bytes, end, pieces, n_patches, err);
    if (st == LKS_OK) {
        bool done = pieces && fill_token_texts(texts, text, pieces, n_tokens);
        trim(text, &begin, &end);
        out->text = done ? strndup(text + begin, end - begin) : NULL;
        if (!out->text)
            st = lks_error_set(err, LKS_ERR_NOMEM, "out of memory");
    }
    free(pieces);
    free(text);
    return st;
}

static lks_status fill_sequence(lks_sequence *out, const lks_model *model, const lks_decoder_state *state,
                                int n_patches, const lks_hypothesis *h, const int32_t *prompt, int n_prompt,
                                lks_error *err)
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
    out->n_layers = lks_decoder_describe(model->decoder)->n_layers;
    out->score = h->score;
    out->confidence = (double)NAN;
    if (!all || !tokens || !logprobs || !texts) {
        free(all);
        return lks_error_set(err, LKS_ERR_NOMEM, "out of memory");
    }
    if (n_prompt > 0)
        memcpy(all, prompt, (size_t)n_prompt * sizeof *all);
    memcpy(all + n_prompt, h->tokens, n_tokens * sizeof *all);
    memcpy(tokens, h->tokens, n_tokens * sizeof *tokens);
    memcpy(logprobs, h->logprobs, n_tokens * sizeof *logprobs);
    lks_status st = state ? fill_maps(out, model, state, h, n_prompt, n_patches, err) : LKS_OK;
    if (st == LKS_OK)
        st = fill_text(out, texts, model, all, n_prompt, n_patches, err);
    free(all);
    return st;
}

lks_status lks_result_make(lks_caption **out, const lks_model *model, const lks_decoder_state *state, int n_patches,
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
        lks_status st = fill_sequence(&sequences[i], model, state, n_patches, &hypotheses[i], prompt, n_prompt, err);
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
        free((void *)(uintptr_t)s->layer_maps);
        free((void *)(uintptr_t)s->words);
    }
    free((void *)(uintptr_t)caption->sequences);
    free((void *)(uintptr_t)caption->picture);
    free((void *)(uintptr_t)caption->features);
    free(caption);
}
