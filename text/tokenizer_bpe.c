/* Byte-pair encoding (Sennrich et al. 2016): start from characters, join the neighbours whose merge has the lowest rank,
 * leftmost first, until no merge applies. A heap of candidate merges over a linked list of symbols: n log n. */
#include "text/tokenizer_parts.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static size_t merge_slot(const lks_token_model *model, uint64_t pair)
{
    size_t mask = model->n_merge_slots - 1;
    uint64_t h = pair * 0x9E3779B97F4A7C15u;
    size_t i = (size_t)(h ^ (h >> 32)) & mask;
    while (model->merges[i].rank >= 0 && model->merges[i].pair != pair)
        i = (i + 1) & mask;
    return i;
}

static uint64_t pair_of(int32_t left, int32_t right)
{
    return (uint64_t)(uint32_t)left << 32 | (uint32_t)right;
}

typedef struct pair_text {
    const char *left, *right;
    size_t n_left, n_right;
} pair_text;

/* "left right" */
static bool split_merge(pair_text *out, const char *text, size_t n)
{
    const char *space = memchr(text, ' ', n);
    if (!space || memchr(space + 1, ' ', n - (size_t)(space + 1 - text)))
        return false;
    size_t n_left = (size_t)(space - text);
    *out = (pair_text){text, space + 1, n_left, n - n_left - 1};
    return true;
}

/* "left right" or ["left", "right"] */
static bool read_merge(pair_text *out, const json_t *merge)
{
    if (!json_is_array(merge))
        return json_is_string(merge) && split_merge(out, json_string_value(merge), json_string_length(merge));
    const json_t *a = json_array_get(merge, 0), *b = json_array_get(merge, 1);
    if (json_array_size(merge) != 2 || !json_is_string(a) || !json_is_string(b))
        return false;
    *out = (pair_text){json_string_value(a), json_string_value(b), json_string_length(a), json_string_length(b)};
    return true;
}

static lks_status damaged_merge(int32_t rank, const char *name, lks_error *err)
{
    return lks_error_set(err, LKS_ERR_MODEL, "%s: merge %d is not a pair of tokens; the tokenizer file is damaged",
                         name, rank);
}

static lks_status put_merge(lks_token_model *model, const pair_text *merge, int32_t rank, lks_str *joined,
                            const char *name, lks_error *err)
{
    int32_t a = lks_vocab_find(&model->vocab, merge->left, merge->n_left);
    int32_t b = lks_vocab_find(&model->vocab, merge->right, merge->n_right);
    int32_t both = -1;
    if (a >= 0 && b >= 0 && merge->n_right >= model->prefix.n) {
        lks_str_clear(joined);
        lks_str_put(joined, merge->left, merge->n_left);
        lks_str_put(joined, merge->right + model->prefix.n, merge->n_right - model->prefix.n);
        if (joined->failed)
            return lks_text_nomem(name, err);
        both = lks_vocab_find(&model->vocab, joined->at, joined->n);
    }
    if (both < 0)
        return lks_error_set(err, LKS_ERR_MODEL,
                             "%s: merge %d (\"%.*s\" + \"%.*s\") uses a token that is not in the vocabulary; the "
                             "vocabulary and the merges do not belong together",
                             name, rank, (int)(merge->n_left < 40 ? merge->n_left : 40), merge->left,
                             (int)(merge->n_right < 40 ? merge->n_right : 40), merge->right);
    model->merges[merge_slot(model, pair_of(a, b))] = (lks_merge){.pair = pair_of(a, b), .rank = rank, .id = both};
    return LKS_OK;
}

/* Room for n merges. */
static lks_status make_slots(lks_token_model *model, size_t n, const char *name, lks_error *err)
{
    if (n > INT32_MAX / 4)
        return lks_token_json_damaged(name, "the BPE model has too many merges", err);
    model->n_merge_slots = 16;
    while (model->n_merge_slots < 2 * n)
        model->n_merge_slots *= 2;
    model->merges = malloc(model->n_merge_slots * sizeof *model->merges);
    if (!model->merges)
        return lks_text_nomem(name, err);
    for (size_t i = 0; i < model->n_merge_slots; i++)
        model->merges[i] = (lks_merge){.rank = -1};
    return LKS_OK;
}

static lks_status put_json_merges(lks_token_model *model, const json_t *merges, lks_str *joined, const char *name,
                                  lks_error *err)
{
    if (!json_is_array(merges))
        return lks_token_json_damaged(name, "the BPE model has no list of merges", err);
    size_t n = json_array_size(merges);
    lks_status st = make_slots(model, n, name, err);
    for (size_t i = 0; i < n && st == LKS_OK; i++) {
        pair_text merge;
        st = read_merge(&merge, json_array_get(merges, i)) ? put_merge(model, &merge, (int32_t)i, joined, name, err)
                                                           : damaged_merge((int32_t)i, name, err);
    }
    return st;
}

static lks_status put_merge_lines(lks_token_model *model, const char *text, size_t n, lks_str *joined, const char *name,
                                  lks_error *err)
{
    const char *line;
    size_t n_line;
    lks_status st = make_slots(model, lks_count_lines(text, n), name, err);
    for (int32_t rank = 0; st == LKS_OK && lks_next_line(&text, &n, &line, &n_line); rank++) {
        pair_text merge;
        st = split_merge(&merge, line, n_line) ? put_merge(model, &merge, rank, joined, name, err)
                                               : damaged_merge(rank, name, err);
    }
    return st;
}

lks_status lks_bpe_open(lks_token_model *model, const json_t *root, const lks_tokenizer_texts *lines, const char *name,
                        lks_error *err)
{
    const json_t *dropout = json_object_get(root, "dropout");
    if (json_is_number(dropout) && json_number_value(dropout) != 0.0)
        return lks_token_json_unsupported(name, "option of the BPE model", "dropout", err);
    model->fuse_unk = lks_token_json_bool(root, "fuse_unk", false);
    model->byte_fallback = lks_token_json_bool(root, "byte_fallback", false);
    model->ignore_merges = lks_token_json_bool(root, "ignore_merges", false);
    for (int byte = 0; byte < 256; byte++) {
        char code[8];
        int n = snprintf(code, sizeof code, "<0x%02X>", (unsigned)byte);
        model->byte_ids[byte] = lks_vocab_find(&model->vocab, code, (size_t)n);
    }
    lks_str joined = {0};
    lks_status st = lines && lines->merges
                        ? put_merge_lines(model, lines->merges, lines->n_merges, &joined, name, err)
                        : put_json_merges(model, json_object_get(root, "merges"), &joined, name, err);
    lks_str_release(&joined);
    return st;
}

/* A word being merged: symbols as a doubly linked list, and the heap of merges that may apply. */
typedef struct symbol {
    int32_t id;
    int32_t prev, next; /* -1: none */
    bool gone;
} symbol;

typedef struct candidate {
    int32_t rank, at, id;
} candidate;

typedef struct word {
    symbol *symbols;
    candidate *heap;
    size_t n, n_heap, cap_heap;
} word;

static bool comes_before(const candidate *a, const candidate *b)
{
    return a->rank != b->rank ? a->rank < b->rank : a->at < b->at;
}

/* The heap has room: a word of n symbols meets at most n - 1 candidates at first and 2 more with each of n - 1 merges. */
static void push_candidate(const lks_token_model *model, word *w, int32_t at)
{
    int32_t next = at < 0 ? -1 : w->symbols[at].next;
    if (next < 0)
        return;
    const lks_merge *merge = &model->merges[merge_slot(model, pair_of(w->symbols[at].id, w->symbols[next].id))];
    if (merge->rank < 0)
        return;
    candidate c = {.rank = merge->rank, .at = at, .id = merge->id};
    size_t i = w->n_heap++;
    while (i > 0 && comes_before(&c, &w->heap[(i - 1) / 2])) {
        w->heap[i] = w->heap[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    w->heap[i] = c;
}

static candidate pop_candidate(word *w)
{
    candidate top = w->heap[0], last = w->heap[--w->n_heap];
    size_t i = 0;
    for (size_t child; (child = 2 * i + 1) < w->n_heap; i = child) {
        if (child + 1 < w->n_heap && comes_before(&w->heap[child + 1], &w->heap[child]))
            child++;
        if (!comes_before(&w->heap[child], &last))
            break;
        w->heap[i] = w->heap[child];
    }
    w->heap[i] = last;
    return top;
}

static void merge_all(const lks_token_model *model, word *w)
{
    for (size_t i = 0; i + 1 < w->n; i++)
        push_candidate(model, w, (int32_t)i);
    while (w->n_heap) {
        candidate top = pop_candidate(w);
        symbol *left = &w->symbols[top.at];
        if (left->gone || left->next < 0)
            continue;
        symbol *right = &w->symbols[left->next];
        const lks_merge *merge = &model->merges[merge_slot(model, pair_of(left->id, right->id))];
        if (merge->rank < 0 || merge->id != top.id)
            continue; /* one of the two has changed since */
        left->id = top.id;
        left->next = right->next;
        right->gone = true;
        if (left->next >= 0)
            w->symbols[left->next].prev = top.at;
        push_candidate(model, w, left->prev);
        push_candidate(model, w, top.at);
    }
}

static void put_symbol(word *w, int32_t id)
{
    int32_t at = (int32_t)w->n++;
    assert(w->symbols);
    w->symbols[at] = (symbol){.id = id, .prev = at - 1, .next = -1};
    if (at > 0)
        w->symbols[at - 1].next = at;
}

/* Can every byte of s [n] be written as its <0x..> token? */
static bool has_bytes(const lks_token_model *model, const char *s, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (model->byte_ids[(unsigned char)s[i]] < 0)
            return false;
    }
    return true;
}

/* The symbols of text [n]: characters, with the model's prefix and suffix, bytes or the unknown token for strange ones. */
static lks_status put_characters(const lks_token_model *model, word *w, const char *text, size_t n, lks_error *err)
{
    bool decorated = model->prefix.n || model->suffix.n, unknown = false;
    lks_str one = {0};
    lks_status st = LKS_OK;
    for (size_t i = 0, length; i < n; i += length) {
        lks_utf8_next(text + i, n - i, &length);
        const char *s = text + i;
        size_t n_s = length;
        if (decorated) {
            lks_str_clear(&one);
            if (i > 0)
                lks_str_put(&one, model->prefix.at, model->prefix.n);
            lks_str_put(&one, text + i, length);
            if (i + length == n)
                lks_str_put(&one, model->suffix.at, model->suffix.n);
            if (one.failed) {
                st = lks_text_nomem("tokenizer", err);
                break;
            }
            s = one.at;
            n_s = one.n;
        }
        int32_t id = lks_vocab_find(&model->vocab, s, n_s);
        if (id < 0 && model->byte_fallback && has_bytes(model, s, n_s)) {
            for (size_t k = 0; k < n_s; k++)
                put_symbol(w, model->byte_ids[(unsigned char)s[k]]);
            continue;
        }
        if (id < 0 && !model->unk_text.at)
            continue; /* no unknown token: the character is dropped */
        if (id < 0 && model->unk < 0) {
            st = lks_error_set(err, LKS_ERR_MODEL, "tokenizer: the unknown token \"%.*s\" is not in the vocabulary",
                               (int)(model->unk_text.n < 60 ? model->unk_text.n : 60), model->unk_text.at);
            break;
        }
        if (id >= 0 || !unknown || !model->fuse_unk)
            put_symbol(w, id >= 0 ? id : model->unk);
        unknown = id < 0;
    }
    lks_str_release(&one);
    return st;
}

lks_status lks_bpe_encode(const lks_token_model *model, lks_ids *ids, const char *text, size_t n, lks_error *err)
{
    if (model->ignore_merges) {
        int32_t id = lks_vocab_find(&model->vocab, text, n);
        if (id >= 0) {
            lks_ids_put(ids, id);
            return LKS_OK;
        }
    }
    if (n > INT32_MAX / 8)
        return lks_error_set(err, LKS_ERR_ARGUMENT, "tokenizer: a text of %zu bytes is too long", n);

    /* Symbols: at most one per byte, and one per byte of the suffix and prefixes when bytes stand in for them. */
    symbol few_symbols[128];
    candidate few_candidates[3 * 128];
    word w = {.symbols = few_symbols, .heap = few_candidates};
    size_t most = n + model->suffix.n + (model->byte_fallback ? n * model->prefix.n : 0);
    bool small = most <= 128;
    if (!small) {
        bool fits = most <= INT32_MAX / 8;
        w.symbols = fits ? malloc(most * sizeof *w.symbols) : NULL;
        w.heap = fits ? malloc(3 * most * sizeof *w.heap) : NULL;
    }
    lks_status st = w.symbols && w.heap ? LKS_OK : lks_text_nomem("tokenizer", err);
    if (st == LKS_OK)
        st = put_characters(model, &w, text, n, err);
    if (st == LKS_OK) {
        merge_all(model, &w);
        for (int32_t i = w.n ? 0 : -1; i >= 0; i = w.symbols[i].next)
            lks_ids_put(ids, w.symbols[i].id);
    }
    if (!small) {
        free(w.symbols);
        free(w.heap);
    }
    return st;
}
