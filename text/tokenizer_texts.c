/* A tokenizer as texts, to be written into one file: see lks_tokenizer_texts. */
#include "text/tokenizer.h"
#include "text/tokenizer_parts.h"

#include <stdlib.h>
#include <string.h>

#include "fusion/json.h"

bool lks_next_line(const char **text, size_t *n, const char **line, size_t *n_line)
{
    if (*n == 0)
        return false;
    const char *end = memchr(*text, '\n', *n);
    *line = *text;
    *n_line = end ? (size_t)(end - *text) : *n;
    size_t used = *n_line + (end != NULL);
    *text += used;
    *n -= used;
    return true;
}

size_t lks_count_lines(const char *text, size_t n)
{
    const char *line;
    size_t n_line, n_lines = 0;
    while (lks_next_line(&text, &n, &line, &n_line))
        n_lines++;
    return n_lines;
}

/* A line for each id; nothing (*lines stays empty) when an id has not just one token, or a token would break its line. */
static void put_tokens(lks_str *lines, const lks_vocab *vocab)
{
    size_t n_texts = 0;
    for (size_t i = 0; i < vocab->n_slots; i++)
        n_texts += vocab->slots[i] != 0;
    if (n_texts != (size_t)vocab->n_ids)
        return;
    for (int32_t id = 0; id < vocab->n_ids; id++) {
        const lks_token *token = &vocab->tokens[id];
        if (!token->present || memchr(token->at, '\n', token->n)) {
            lks_str_release(lines);
            return;
        }
        lks_str_put(lines, token->at, token->n);
        lks_str_put(lines, "\n", 1);
    }
}

static int by_rank(const void *left, const void *right)
{
    const lks_merge *a = left, *b = right;
    return (a->rank > b->rank) - (a->rank < b->rank);
}

/* A line for each merge; nothing when a token has a space or a newline in it. */
static void put_merges(lks_str *lines, const lks_token_model *model)
{
    lks_merge *merges = malloc(model->n_merge_slots * sizeof *merges);
    size_t n = 0;
    lines->failed |= !merges;
    for (size_t i = 0; merges && i < model->n_merge_slots; i++)
        if (model->merges[i].rank >= 0)
            merges[n++] = model->merges[i];
    if (n)
        qsort(merges, n, sizeof *merges, by_rank);
    for (size_t i = 0; i < n; i++) {
        const lks_token *pair[] = {&model->vocab.tokens[merges[i].pair >> 32],
                                   &model->vocab.tokens[(uint32_t)merges[i].pair]};
        for (int k = 0; k < 2; k++) {
            if (memchr(pair[k]->at, ' ', pair[k]->n) || memchr(pair[k]->at, '\n', pair[k]->n)) {
                lks_str_release(lines);
                free(merges);
                return;
            }
            lks_str_put(lines, pair[k]->at, pair[k]->n);
            lks_str_put(lines, k == 0 ? " " : "\n", 1);
        }
    }
    free(merges);
}

/* Moves what `model`, of the JSON, can leave to lines. */
static int move_to_lines(lks_str *tokens, lks_str *merges, json_t *model, const lks_token_model *opened)
{
    if (opened->kind == LKS_MODEL_UNIGRAM || !*lks_token_json_type(model)) /* scores; a kind that its members tell */
        return 0;
    put_tokens(tokens, &opened->vocab);
    if (opened->kind == LKS_MODEL_BPE)
        put_merges(merges, opened);
    if (tokens->n)
        json_object_del(model, "vocab");
    if (merges->n)
        json_object_del(model, "merges");
    return tokens->failed || merges->failed;
}

static json_t *added_as_json(const lks_added_tokens *added)
{
    json_t *array = json_array();
    int failed = 0;
    for (size_t i = 0; i < added->n; i++) {
        const lks_added *token = &added->at[i];
        failed |= json_array_append_new(
            array, json_pack("{s:i, s:s%, s:b, s:b, s:b, s:b, s:b}", "id", token->id, "content", token->content,
                             token->n, "single_word", token->single_word, "lstrip", token->lstrip, "rstrip",
                             token->rstrip, "normalized", token->normalized, "special", token->special));
    }
    if (failed)
        json_decref(array);
    return failed ? NULL : array;
}

/* The whole JSON; the caller's. NULL: out of memory. */
static json_t *whole_json(const lks_tokenizer *t, json_t *root)
{
    int failed = 0;
    if (t->source && t->root) { /* the kept options beside the source's vocabulary and merges */
        json_t *options = json_object();
        failed |= json_object_update(options, json_object_get(t->root, "model"));
        failed |= json_object_update_missing(options, json_object_get(root, "model"));
        failed |= json_object_update(root, t->root);
        failed |= json_object_set_new(root, "model", options);
    } else if (t->root) {
        failed |= json_object_update(root, t->root);
    }
    failed |= json_object_set_new(root, "added_tokens", added_as_json(&t->added));
    failed |= json_object_set_new(root, LKS_CLEAN_UP_KEY, json_boolean(t->clean_up));
    if (failed)
        json_decref(root);
    return failed ? NULL : root;
}

lks_status lks_tokenizer_to_texts(const lks_tokenizer *t, lks_tokenizer_texts *texts, lks_error *err)
{
    json_t *root = NULL;
    lks_status st = LKS_OK;
    if (t->source)
        st = lks_token_json_parse(&root, t->source, t->n_source, "tokenizer", err);
    else
        root = json_object();
    if (st != LKS_OK)
        return st;
    root = whole_json(t, root);
    /* the tokenizer may hold this very object */
    json_t *model = json_copy(json_object_get(root, "model"));
    lks_str tokens = {0}, merges = {0};
    char *json = NULL;
    if (model && move_to_lines(&tokens, &merges, model, &t->model) == 0 && json_object_set(root, "model", model) == 0)
        json = lks_json_print(root, JSON_COMPACT);
    json_decref(model);
    json_decref(root);
    if (!json) {
        lks_str_release(&tokens);
        lks_str_release(&merges);
        return lks_text_nomem("tokenizer", err);
    }
    *texts = (lks_tokenizer_texts){
        json, strlen(json), tokens.n ? tokens.at : NULL, tokens.n, merges.n ? merges.at : NULL, merges.n};
    return LKS_OK;
}

void lks_tokenizer_texts_free(lks_tokenizer_texts *texts)
{
    free((char *)(uintptr_t)texts->json);
    free((char *)(uintptr_t)texts->tokens);
    free((char *)(uintptr_t)texts->merges);
    *texts = (lks_tokenizer_texts){0};
}
