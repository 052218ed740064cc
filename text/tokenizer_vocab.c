/* A vocabulary: one block of text, a table from id to text, a hash table from text to id. */
#include "text/tokenizer_parts.h"

#include <stdlib.h>
#include <string.h>

static uint64_t mix(uint64_t h)
{
    h ^= h >> 32;
    h *= 0xD6E8FEB86659FD93u;
    h ^= h >> 32;
    return h;
}

static uint64_t hash(const char *s, size_t n)
{
    uint64_t h = 0x9E3779B97F4A7C15u ^ n, word;
    for (; n >= 8; s += 8, n -= 8) {
        memcpy(&word, s, 8);
        h = mix(h ^ word);
    }
    word = 0;
    memcpy(&word, s, n);
    return mix(h ^ word);
}

bool lks_vocab_init(lks_vocab *vocab, size_t n_ids, size_t n_bytes)
{
    *vocab = (lks_vocab){0};
    if (n_ids > INT32_MAX / 4)
        return false;
    vocab->n_slots = 16;
    while (vocab->n_slots < 2 * n_ids)
        vocab->n_slots *= 2;
    vocab->n_ids = (int32_t)n_ids;
    vocab->bytes = malloc(n_bytes + 1);
    vocab->tokens = calloc(n_ids + 1, sizeof *vocab->tokens);
    vocab->slots = calloc(vocab->n_slots, sizeof *vocab->slots);
    if (!vocab->bytes || !vocab->tokens || !vocab->slots) {
        lks_vocab_release(vocab);
        return false;
    }
    return true;
}

static size_t find_slot(const lks_vocab *vocab, const char *s, size_t n)
{
    size_t mask = vocab->n_slots - 1, i = (size_t)hash(s, n) & mask;
    while (vocab->slots[i]) {
        const lks_token *token = &vocab->tokens[vocab->slots[i] - 1];
        if (token->n == n && memcmp(token->at, s, n) == 0)
            break;
        i = (i + 1) & mask;
    }
    return i;
}

void lks_vocab_put(lks_vocab *vocab, int32_t id, const char *s, size_t n)
{
    lks_token *token = &vocab->tokens[id];
    char *at = vocab->bytes + vocab->used;
    memcpy(at, s, n);
    vocab->used += n;
    vocab->n_tokens += !token->present;
    *token = (lks_token){.at = at, .n = (uint32_t)n, .present = true};
    vocab->slots[find_slot(vocab, at, n)] = id + 1;
}

int32_t lks_vocab_find(const lks_vocab *vocab, const char *s, size_t n)
{
    return vocab->slots[find_slot(vocab, s, n)] - 1;
}

void lks_vocab_release(lks_vocab *vocab)
{
    free(vocab->bytes);
    free(vocab->tokens);
    free(vocab->slots);
    *vocab = (lks_vocab){0};
}
