/* Unigram (Kudo 2018): of all ways to cut the text into pieces, the one with the largest sum of log-probabilities,
 * by Viterbi over byte positions:  best[j] = max over pieces text[i..j) of best[i] + score(piece).
 * A character that no piece covers alone is the unknown piece, ten below the lowest score; neighbours fuse. */
#include "text/tokenizer_parts.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const double UNKNOWN_PENALTY = 10.0;

static lks_status open_pieces(lks_token_model *model, const json_t *vocab, const char *name, lks_error *err)
{
    size_t n = json_array_size(vocab), n_bytes = 0;
    if (!json_is_array(vocab) || n > INT32_MAX / 4)
        return lks_token_json_damaged(name, "the Unigram model has no list of pieces", err);
    for (size_t i = 0; i < n; i++) {
        const json_t *piece = json_array_get(vocab, i);
        if (json_array_size(piece) != 2 || !json_is_string(json_array_get(piece, 0)) ||
            !json_is_number(json_array_get(piece, 1)))
            return lks_token_json_damaged(name, "a piece of the Unigram model is not [text, score]", err);
        n_bytes += json_string_length(json_array_get(piece, 0));
    }
    model->scores = malloc((n + 1) * sizeof *model->scores);
    if (!model->scores || !lks_vocab_init(&model->vocab, n, n_bytes))
        return lks_text_nomem(name, err);
    double least = INFINITY;
    for (size_t i = 0; i < n; i++) {
        const json_t *text = json_array_get(json_array_get(vocab, i), 0);
        lks_vocab_put(&model->vocab, (int32_t)i, json_string_value(text), json_string_length(text));
        model->scores[i] = json_number_value(json_array_get(json_array_get(vocab, i), 1));
        least = model->scores[i] < least ? model->scores[i] : least;
    }
    model->unk_score = least - UNKNOWN_PENALTY;
    return LKS_OK;
}

lks_status lks_unigram_open(lks_token_model *model, const json_t *root, const char *name, lks_error *err)
{
    lks_status st = open_pieces(model, json_object_get(root, "vocab"), name, err);
    if (st != LKS_OK)
        return st;
    const json_t *unk = json_object_get(root, "unk_id");
    if (json_is_integer(unk)) {
        if (json_integer_value(unk) < 0 || json_integer_value(unk) >= model->vocab.n_ids)
            return lks_token_json_damaged(name, "unk_id lies outside the vocabulary", err);
        model->unk = (int32_t)json_integer_value(unk);
    }
    model->byte_fallback = lks_token_json_bool(root, "byte_fallback", false);
    for (int byte = 0; byte < 256; byte++) {
        char code[8];
        int n = snprintf(code, sizeof code, "<0x%02X>", (unsigned)byte);
        model->byte_ids[byte] = lks_vocab_find(&model->vocab, code, (size_t)n);
    }

    model->lazy = calloc(1, sizeof *model->lazy);
    if (!model->lazy || pthread_mutex_init(&model->lazy->lock, NULL) != 0) {
        free(model->lazy);
        model->lazy = NULL;
        return lks_text_nomem(name, err);
    }
    atomic_init(&model->lazy->ready, false);
    return LKS_OK;
}

static bool build_trie(const lks_token_model *model, lks_trie *trie)
{
    if (!lks_trie_init(trie, model->vocab.used))
        return false;
    for (int32_t id = 0; id < model->vocab.n_ids; id++) {
        const lks_token *token = &model->vocab.tokens[id];
        if (token->n && !lks_trie_add(trie, token->at, token->n, id)) {
            lks_trie_release(trie);
            return false;
        }
    }
    return true;
}

static const lks_trie *trie_of(const lks_token_model *model)
{
    lks_lazy_trie *lazy = model->lazy;
    if (!atomic_load_explicit(&lazy->ready, memory_order_acquire)) {
        pthread_mutex_lock(&lazy->lock);
        if (!atomic_load_explicit(&lazy->ready, memory_order_relaxed) && build_trie(model, &lazy->trie))
            atomic_store_explicit(&lazy->ready, true, memory_order_release);
        pthread_mutex_unlock(&lazy->lock);
        if (!atomic_load_explicit(&lazy->ready, memory_order_acquire))
            return NULL;
    }
    return &lazy->trie;
}

typedef struct ending {
    double score;
    int32_t id;
    uint32_t start; /* of the piece that ends here; the end itself: none does */
} ending;

static void offer(ending *best, size_t start, size_t end, double score, int32_t id)
{
    if (best[end].start == end || score > best[end].score)
        best[end] = (ending){.score = score, .id = id, .start = (uint32_t)start};
}

static lks_status no_unknown(lks_error *err)
{
    return lks_error_set(err, LKS_ERR_MODEL, "tokenizer: a character is unknown and the Unigram model has no unk_id");
}

/* One piece of the best path, or a run of unknown characters, as ids. */
static lks_status put_piece(const lks_token_model *model, lks_ids *ids, const char *s, size_t n, lks_error *err)
{
    int32_t id = lks_vocab_find(&model->vocab, s, n);
    if (id < 0 && model->byte_fallback) {
        size_t known = 0;
        while (known < n && model->byte_ids[(unsigned char)s[known]] >= 0)
            known++;
        if (known == n) {
            for (size_t i = 0; i < n; i++)
                lks_ids_put(ids, model->byte_ids[(unsigned char)s[i]]);
            return LKS_OK;
        }
    }
    if (id < 0 && model->unk < 0)
        return no_unknown(err);
    lks_ids_put(ids, id < 0 ? model->unk : id);
    return LKS_OK;
}

lks_status lks_unigram_encode(const lks_token_model *model, lks_ids *ids, const char *text, size_t n, lks_error *err)
{
    const lks_trie *trie = trie_of(model);
    ending *best = n < UINT32_MAX / 32 ? malloc((n + 1) * sizeof *best) : NULL;
    if (!trie || !best) {
        free(best);
        return lks_text_nomem("tokenizer", err);
    }
    for (size_t i = 0; i <= n; i++)
        best[i] = (ending){.start = (uint32_t)i};

    lks_status st = LKS_OK;
    for (size_t start = 0, length; start < n && st == LKS_OK; start += length) {
        lks_utf8_next(text + start, n - start, &length);
        double here = best[start].score;
        bool single = false;
        uint32_t node = 0;
        for (size_t end = start; end < n && (node = lks_trie_step(trie, node, (unsigned char)text[end])) != 0;) {
            end++;
            int32_t id = trie->value[node];
            if (id < 0)
                continue;
            offer(best, start, end, here + model->scores[id], id);
            single |= end - start == length;
        }
        if (!single) {
            if (model->unk < 0)
                st = no_unknown(err);
            else
                offer(best, start, start + length, here + model->unk_score, model->unk);
        }
    }

    /* Walk the best path from the end, turn it round in place: best[i].id then holds the end of the piece at i. */
    size_t end = n;
    while (st == LKS_OK && end > 0) {
        size_t from = best[end].start;
        bool unknown = best[end].id == model->unk;
        while (unknown && from > 0 && best[from].id == model->unk)
            from = best[from].start;
        best[from].score = (double)end;
        end = from;
    }
    for (size_t start = 0; st == LKS_OK && start < n; start = end) {
        end = (size_t)best[start].score;
        st = put_piece(model, ids, text + start, end - start, err);
    }
    free(best);
    return st;
}
