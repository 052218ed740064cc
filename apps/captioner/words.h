/* Words from tokens: byte-level pieces, "##" pieces and "▁" pieces of one word belong together. Private to the captioner. */
#ifndef LKS_WORDS_H
#define LKS_WORDS_H

#include <stdbool.h>
#include <stddef.h>

/* What a token added to the text: its bytes [begin, end). Of the pieces that make one character together, only the last adds
 * something. `special` tokens (start, end) belong to no word. */
typedef struct lks_piece {
    size_t begin, end;
    bool special;
} lks_piece;

typedef struct lks_word_span {
    size_t begin, end; /* bytes of the text */
    int first_token, n_tokens;
} lks_word_span;

/* Words that n bytes of text can hold at most. */
size_t lks_words_limit(size_t n);

/* Finds the words of the text's bytes [begin, end), UTF-8, which n_pieces pieces wrote in this order; spans
 * [lks_words_limit(end - begin)]. A word is a run without white space, cut to its first and last letter or digit; runs without
 * one make no word. Returns how many there are. */
size_t lks_words_find(lks_word_span *spans, const char *text, size_t begin, size_t end, const lks_piece *pieces,
                      int n_pieces);

#endif
