/* Added tokens: found in the text before the model sees it, leftmost first and the longest there, and never cut.
 *
 * A token without an id in the vocabulary gets the next free one, in the order of the list: the ids that the file names
 * are not obeyed, as in tokenizers. */
#include "text/tokenizer_parts.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_ADDED = 1 << 20 };

const lks_added *lks_added_by_id(const lks_added_tokens *added, int32_t id)
{
    size_t low = 0, high = added->n;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (added->at[middle].id < id)
            low = middle + 1;
        else
            high = middle;
    }
    return low < added->n && added->at[low].id == id ? &added->at[low] : NULL;
}

const lks_added *lks_added_by_text(const lks_added_tokens *added, const char *text, size_t n)
{
    if (!added->by_text.edges)
        return NULL;
    uint32_t node = 0;
    for (size_t i = 0; i < n; i++) {
        node = lks_trie_step(&added->by_text, node, (unsigned char)text[i]);
        if (!node)
            return NULL;
    }
    int32_t index = added->by_text.value[node];
    return index < 0 ? NULL : &added->at[index];
}

static int by_id(const void *a, const void *b)
{
    int32_t x = ((const lks_added *)a)->id, y = ((const lks_added *)b)->id;
    return (x > y) - (x < y);
}

static lks_status read_token(lks_added *token, const json_t *item, const char *name, lks_error *err)
{
    const json_t *content = json_object_get(item, "content");
    if (!json_is_string(content))
        return lks_token_json_damaged(name, "an added token has no content", err);
    size_t n = json_string_length(content);
    token->content = malloc(n + 1);
    if (!token->content)
        return lks_text_nomem(name, err);
    memcpy(token->content, json_string_value(content), n + 1);
    token->n = n;
    token->special = lks_token_json_bool(item, "special", false);
    token->single_word = lks_token_json_bool(item, "single_word", false);
    token->lstrip = lks_token_json_bool(item, "lstrip", false);
    token->rstrip = lks_token_json_bool(item, "rstrip", false);
    token->normalized = lks_token_json_bool(item, "normalized", !token->special);
    return LKS_OK;
}

/* The tokens of `array` with their ids, in its order; a token that comes twice keeps its place and takes the later flags. */
static lks_status read_tokens(lks_added_tokens *added, const json_t *array, const lks_vocab *vocab, const char *name,
                              lks_error *err)
{
    size_t n = json_array_size(array);
    if (n > MOST_ADDED)
        return lks_token_json_damaged(name, "there are too many added tokens", err);
    added->at = calloc(n + 1, sizeof *added->at);
    if (!added->at || !lks_trie_init(&added->by_text, 0))
        return lks_text_nomem(name, err);
    int32_t largest = -1;
    for (size_t i = 0; i < n; i++) {
        lks_added token = {0};
        lks_status st = read_token(&token, json_array_get(array, i), name, err);
        if (st != LKS_OK)
            return st;
        const lks_added *same = lks_added_by_text(added, token.content, token.n);
        if (token.n == 0 || same) {
            if (same) {
                token.id = same->id;
                free(same->content);
                added->at[same - added->at] = token;
            } else {
                free(token.content);
            }
            continue;
        }
        token.id = lks_vocab_find(vocab, token.content, token.n);
        if (token.id < 0)
            token.id = largest >= vocab->n_tokens ? largest + 1 : vocab->n_tokens;
        largest = token.id > largest ? token.id : largest;
        assert(added->at);
        added->at[added->n] = token;
        if (!lks_trie_add(&added->by_text, token.content, token.n, (int32_t)added->n++))
            return lks_text_nomem(name, err);
    }
    return LKS_OK;
}

/* Two contents may normalise to one; special tokens come before others and, as in `tokenizers` until 0.22, earlier ones before later:
 * added last, they win. Contents that normalise to nothing are never found (`tokenizers` finds them between all characters). Sets what each token is shown as. */
static bool fill_tries(lks_added_tokens *added, const lks_normalizers *normalizers)
{
    lks_str spare = {0};
    bool fine =
        lks_trie_init(&added->raw, 0) && lks_trie_init(&added->normalized, 0) && lks_trie_init(&added->by_text, 0);
    for (int special = 0; fine && special < 2; special++) {
        for (size_t i = added->n; fine && i-- > 0;) {
            lks_added *token = &added->at[i];
            lks_str *shown = &token->shown;
            bool first = true;
            if (token->special != (special == 1))
                continue;
            lks_str_put(shown, token->content, token->n);
            if (token->normalized)
                lks_normalizers_apply(normalizers, shown, &spare, &first);
            fine = !shown->failed && !spare.failed &&
                   lks_trie_add(&added->by_text, token->content, token->n, (int32_t)i) &&
                   (shown->n == 0 || lks_trie_add(token->normalized ? &added->normalized : &added->raw, shown->at,
                                                  shown->n, (int32_t)i));
        }
    }
    lks_str_release(&spare);
    return fine;
}

lks_status lks_added_open(lks_added_tokens *added, const json_t *array, const lks_vocab *vocab,
                          const lks_normalizers *normalizers, const char *name, lks_error *err)
{
    lks_status st = read_tokens(added, array, vocab, name, err);
    if (st != LKS_OK)
        return st;
    /* From here on the order is by id; the file's order was only for giving ids. */
    qsort(added->at, added->n, sizeof *added->at, by_id);
    lks_trie_release(&added->by_text);
    if (!fill_tries(added, normalizers))
        return lks_text_nomem(name, err);
    added->n_ids = vocab->n_ids;
    if (added->n && added->at[added->n - 1].id >= added->n_ids)
        added->n_ids = added->at[added->n - 1].id + 1;
    return LKS_OK;
}

void lks_added_release(lks_added_tokens *added)
{
    for (size_t i = 0; i < added->n; i++) {
        free(added->at[i].content);
        lks_str_release(&added->at[i].shown);
    }
    free(added->at);
    lks_trie_release(&added->by_text);
    lks_trie_release(&added->raw);
    lks_trie_release(&added->normalized);
    *added = (lks_added_tokens){0};
}

/* The longest string of the trie that begins at text[at]: its index and *end, or -1. */
static int32_t longest_at(const lks_trie *trie, const char *text, size_t n, size_t at, size_t *end)
{
    int32_t found = -1;
    uint32_t node = 0;
    while (at < n && (node = lks_trie_step(trie, node, (unsigned char)text[at])) != 0) {
        at++;
        if (trie->value[node] >= 0) {
            found = trie->value[node];
            *end = at;
        }
    }
    return found;
}

static bool stands_alone(const char *text, size_t n, size_t start, size_t end)
{
    size_t length, last;
    if (start > 0) {
        last = lks_utf8_last(text, start);
        if (lks_char_is_word(lks_utf8_next(text + last, start - last, &length)))
            return false;
    }
    return end == n || !lks_char_is_word(lks_utf8_next(text + end, n - end, &length));
}

void lks_added_split(const lks_added_tokens *added, bool normalized, lks_pieces *out, const char *text, size_t n,
                     bool first)
{
    const lks_trie *trie = normalized ? &added->normalized : &added->raw;
    bool any = trie->n_edges > 0;
    size_t gap = 0, end = 0, length;
    for (size_t at = 0; any && at < n; at = end) {
        end = at + 1;
        int32_t index = longest_at(trie, text, n, at, &end);
        if (index < 0)
            continue;
        const lks_added *token = &added->at[index];
        if (token->single_word && !stands_alone(text, n, at, end))
            continue;
        size_t start = at > gap ? at : gap, stop = end > gap ? end : gap;
        while (token->lstrip && start > gap) {
            size_t last = gap + lks_utf8_last(text + gap, start - gap);
            if (!lks_char_is_space(lks_utf8_next(text + last, start - last, &length)))
                break;
            start = last;
        }
        while (token->rstrip && stop < n && lks_char_is_space(lks_utf8_next(text + stop, n - stop, &length)))
            stop += length;
        if (token->lstrip && stop == start) /* the token before took it along */
            continue;
        if (start > gap)
            lks_pieces_put(out, text + gap, start - gap, -1, first && gap == 0);
        lks_pieces_put(out, text + start, stop - start, token->id, first && start == 0);
        gap = stop;
    }
    if (gap < n)
        lks_pieces_put(out, text + gap, n - gap, -1, first && gap == 0);
}
