/* Opening the model of a tokenizer, and the two models that need no more than the vocabulary: WordPiece (Schuster and
 * Nakajima 2012: the longest known prefix, then the longest known continuation) and WordLevel. */
#include "text/tokenizer_parts.h"

#include <stdlib.h>
#include <string.h>

enum { MOST_WORD_CHARS = 1000 }; /* published models have 100; the time a word takes grows with the cube */

/* An id may lie beyond the number of tokens, but not so far that the table by id would be mostly holes. */
static bool id_is_sane(json_int_t id, size_t n_tokens)
{
    return id >= 0 && (uint64_t)id < 8 * (uint64_t)n_tokens + 65536;
}

static lks_status open_vocab(lks_vocab *vocab, const json_t *object, const char *name, lks_error *err)
{
    if (!json_is_object(object))
        return lks_token_json_damaged(name, "the model has no vocabulary", err);
    size_t n_ids = 0, n_bytes = 0, n_tokens = json_object_size(object);
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)object, key, value)
    {
        json_int_t id = json_integer_value(value);
        if (!json_is_integer(value) || !id_is_sane(id, n_tokens))
            return lks_token_json_damaged(name, "the vocabulary holds an id that is not a small whole number", err);
        n_ids = (size_t)id + 1 > n_ids ? (size_t)id + 1 : n_ids;
        n_bytes += strlen(key);
    }
    if (!lks_vocab_init(vocab, n_ids, n_bytes))
        return lks_text_nomem(name, err);
    json_object_foreach((json_t *)object, key, value)
    {
        lks_vocab_put(vocab, (int32_t)json_integer_value(value), key, strlen(key));
    }
    return LKS_OK;
}

static lks_status open_vocab_lines(lks_vocab *vocab, const char *text, size_t n, const char *name, lks_error *err)
{
    const char *line;
    size_t n_line;
    if (!lks_vocab_init(vocab, lks_count_lines(text, n), n))
        return lks_text_nomem(name, err);
    for (int32_t id = 0; lks_next_line(&text, &n, &line, &n_line); id++) {
        if (lks_vocab_find(vocab, line, n_line) >= 0)
            return lks_token_json_damaged(name, "a token has two ids", err);
        lks_vocab_put(vocab, id, line, n_line);
    }
    return LKS_OK;
}

static lks_token_model_kind guess_kind(const json_t *root)
{
    if (json_object_get(root, "merges"))
        return LKS_MODEL_BPE;
    if (json_is_array(json_object_get(root, "vocab")))
        return LKS_MODEL_UNIGRAM;
    return json_object_get(root, "max_input_chars_per_word") ? LKS_MODEL_WORDPIECE : LKS_MODEL_WORDLEVEL;
}

static lks_status open_wordpiece(lks_token_model *model, const json_t *root, const char *name, lks_error *err)
{
    const json_t *most = json_object_get(root, "max_input_chars_per_word");
    json_int_t max_chars = json_is_integer(most) ? json_integer_value(most) : 100;
    if (max_chars < 0 || max_chars > MOST_WORD_CHARS)
        return lks_token_json_damaged(name, "max_input_chars_per_word is out of range", err);
    model->max_chars = (size_t)max_chars;
    return LKS_OK;
}

lks_status lks_token_model_open(lks_token_model *model, const json_t *root, const lks_tokenizer_texts *lines,
                                const char *name, lks_error *err)
{
    if (!json_is_object(root))
        return lks_token_json_damaged(name, "there is no model", err);
    const char *type = lks_token_json_type(root);
    if (strcmp(type, "BPE") == 0)
        model->kind = LKS_MODEL_BPE;
    else if (strcmp(type, "WordPiece") == 0)
        model->kind = LKS_MODEL_WORDPIECE;
    else if (strcmp(type, "Unigram") == 0)
        model->kind = LKS_MODEL_UNIGRAM;
    else if (strcmp(type, "WordLevel") == 0)
        model->kind = LKS_MODEL_WORDLEVEL;
    else if (*type == '\0')
        model->kind = guess_kind(root);
    else
        return lks_token_json_unsupported(name, "model", type, err);

    model->unk = -1;
    if (model->kind == LKS_MODEL_UNIGRAM)
        return lks_unigram_open(model, root, name, err);

    lks_status st = lines && lines->tokens ? open_vocab_lines(&model->vocab, lines->tokens, lines->n_tokens, name, err)
                                           : open_vocab(&model->vocab, json_object_get(root, "vocab"), name, err);
    if (st != LKS_OK)
        return st;
    bool has_unk = lks_token_json_text(root, "unk_token", &model->unk_text);
    if (!has_unk && model->kind == LKS_MODEL_WORDPIECE)
        return lks_token_json_damaged(name, "the WordPiece model names no unk_token", err);
    lks_token_json_text(root, "continuing_subword_prefix", &model->prefix);
    lks_token_json_text(root, "end_of_word_suffix", &model->suffix);
    if (model->unk_text.failed || model->prefix.failed || model->suffix.failed)
        return lks_text_nomem(name, err);
    if (has_unk)
        model->unk = lks_vocab_find(&model->vocab, model->unk_text.at, model->unk_text.n);
    if (model->kind == LKS_MODEL_BPE)
        return lks_bpe_open(model, root, lines, name, err);
    return model->kind == LKS_MODEL_WORDPIECE ? open_wordpiece(model, root, name, err) : LKS_OK;
}

void lks_token_model_release(lks_token_model *model)
{
    lks_vocab_release(&model->vocab);
    lks_str_release(&model->unk_text);
    lks_str_release(&model->prefix);
    lks_str_release(&model->suffix);
    free(model->merges);
    free(model->scores);
    if (model->lazy) {
        lks_trie_release(&model->lazy->trie);
        pthread_mutex_destroy(&model->lazy->lock);
        free(model->lazy);
    }
    *model = (lks_token_model){0};
}

static lks_status put_unknown(const lks_token_model *model, lks_ids *ids, lks_error *err)
{
    if (model->unk < 0)
        return lks_error_set(err, LKS_ERR_MODEL,
                             "tokenizer: a word is unknown and the unknown token \"%.*s\" is not in the vocabulary",
                             (int)(model->unk_text.n < 60 ? model->unk_text.n : 60),
                             model->unk_text.at ? model->unk_text.at : "");
    lks_ids_put(ids, model->unk);
    return LKS_OK;
}

static lks_status encode_wordpiece(const lks_token_model *model, lks_ids *ids, const char *text, size_t n,
                                   lks_error *err)
{
    size_t n_chars = 0;
    for (size_t i = 0; i < n; i++)
        n_chars += ((unsigned char)text[i] & 0xC0) != 0x80;
    if (n_chars > model->max_chars)
        return put_unknown(model, ids, err);

    size_t before = ids->n;
    lks_str word = {0}; /* the prefix of continuations, then the rest of the word */
    lks_str_put(&word, model->prefix.at, model->prefix.n);
    lks_str_put(&word, text, n);
    if (word.failed) {
        lks_str_release(&word);
        return lks_text_nomem("tokenizer", err);
    }
    lks_status st = LKS_OK;
    for (size_t start = 0; start < n;) {
        const char *from = text + start;
        size_t extra = 0;
        if (start > 0) {
            extra = model->prefix.n;
            memmove(word.at + start, model->prefix.at ? model->prefix.at : "", extra);
            from = word.at + start; /* what stood there is used up */
        }
        int32_t id = -1;
        size_t end = n;
        while (end > start && (id = lks_vocab_find(&model->vocab, from, extra + end - start)) < 0)
            end = start + lks_utf8_last(text + start, end - start);
        if (id < 0) {
            ids->n = before;
            st = put_unknown(model, ids, err);
            break;
        }
        lks_ids_put(ids, id);
        start = end;
    }
    lks_str_release(&word);
    return st;
}

lks_status lks_token_model_encode(const lks_token_model *model, lks_ids *ids, const char *text, size_t n,
                                  lks_error *err)
{
    int32_t id;
    switch (model->kind) {
    case LKS_MODEL_BPE:
        return lks_bpe_encode(model, ids, text, n, err);
    case LKS_MODEL_UNIGRAM:
        return lks_unigram_encode(model, ids, text, n, err);
    case LKS_MODEL_WORDPIECE:
        return encode_wordpiece(model, ids, text, n, err);
    default:
        id = lks_vocab_find(&model->vocab, text, n);
        if (id < 0)
            return put_unknown(model, ids, err);
        lks_ids_put(ids, id);
        return LKS_OK;
    }
}
