/* Words from tokens: see words.h. */
#include "apps/captioner/words.h"

#include <utf8proc.h>

typedef enum sign { SIGN_SPACE, SIGN_LETTER, SIGN_OTHER } sign;

/* Reads the character at text[at]; marks count as letters, since they complete one. */
static sign read_sign(size_t *length, const char *text, size_t at, size_t end)
{
    utf8proc_int32_t c;
    utf8proc_ssize_t n = utf8proc_iterate((const utf8proc_uint8_t *)text + at, (utf8proc_ssize_t)(end - at), &c);
    *length = n > 0 ? (size_t)n : 1;
    if (n <= 0)
        return SIGN_OTHER;
    switch (utf8proc_category(c)) {
    case UTF8PROC_CATEGORY_ZS:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP:
    case UTF8PROC_CATEGORY_CC:
        return SIGN_SPACE;
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_NO:
        return SIGN_LETTER;
    default:
        return SIGN_OTHER;
    }
}

static bool writes(const lks_piece *piece, const lks_word_span *word)
{
    if (piece->special)
        return false;
    if (piece->begin == piece->end) /* the first bytes of a character that a later piece completes */
        return piece->begin >= word->begin && piece->begin < word->end;
    return piece->begin < word->end && piece->end > word->begin;
}

/* Returns false when no token wrote the word. */
static bool find_tokens(lks_word_span *word, const lks_piece *pieces, int n_pieces)
{
    int first = 0;
    while (first < n_pieces && !writes(&pieces[first], word))
        first++;
    int last = n_pieces - 1;
    while (last > first && !writes(&pieces[last], word))
        last--;
    word->first_token = first;
    word->n_tokens = last - first + 1;
    return first < n_pieces;
}

size_t lks_words_limit(size_t n)
{
    return n / 2 + 1;
}

size_t lks_words_find(lks_word_span *spans, const char *text, size_t begin, size_t end, const lks_piece *pieces,
                      int n_pieces)
{
    size_t n_words = 0, at = begin;
    while (at < end) {
        size_t length;
        lks_word_span word = {0};
        for (; at < end; at += length) {
            sign s = read_sign(&length, text, at, end);
            if (s == SIGN_SPACE)
                break;
            if (s == SIGN_LETTER && word.end == 0)
                word.begin = at;
            if (s == SIGN_LETTER)
                word.end = at + length;
        }
        if (word.end > 0 && find_tokens(&word, pieces, n_pieces))
            spans[n_words++] = word;
        if (at < end)
            at += length;
    }
    return n_words;
}
