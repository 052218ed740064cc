/* Unicode as tokenizers see it: UTF-8, character classes, lower case and the four normalisation forms. */
#ifndef LKS_UNICODE_H
#define LKS_UNICODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LKS_CHAR_BAD 0xFFFDu

/* The code point at s [n > 0] and its length in bytes; every maximal ill-formed part reads as one U+FFFD. */
uint32_t lks_utf8_next(const char *s, size_t n, size_t *length);
bool lks_utf8_valid(const char *s, size_t n);
/* Writes `c` (a scalar value) as UTF-8 into out [4]; returns the length. */
size_t lks_utf8_put(char *out, uint32_t c);
/* Start of the last character of s [n > 0], which is valid UTF-8. */
size_t lks_utf8_last(const char *s, size_t n);

/* Character classes as tokenizers has them, which follow several versions of Unicode (see unicode_tables.h). */
bool lks_char_is_space(uint32_t c);       /* White_Space */
bool lks_char_is_letter(uint32_t c);      /* L, for the byte-level splitter */
bool lks_char_is_number(uint32_t c);      /* N, for the same */
bool lks_char_is_digit(uint32_t c);       /* N, for the Digits splitter */
bool lks_char_is_mark(uint32_t c);        /* M, for StripAccents */
bool lks_char_is_nonspacing(uint32_t c);  /* Mn, for BERT */
bool lks_char_is_word(uint32_t c);        /* \w of UTS 18: alphabetic, marks, decimal digits, connectors, joiners */
bool lks_char_is_control(uint32_t c);     /* what BERT's cleaning removes: Cc, Cf, Co, U+FFFD */
bool lks_char_is_punctuation(uint32_t c); /* P, or any ASCII symbol */
bool lks_char_is_han(uint32_t c);         /* the CJK blocks that BERT puts spaces around */

/* The lower case of `c` without context: out [2], returns how many. */
size_t lks_char_lower(uint32_t *out, uint32_t c);

/* Is there a grapheme cluster boundary before `c`? *state starts at 0 for the first character of a text, which has none
 * before it; *previous is the character before, and both are kept up to date here. */
bool lks_grapheme_breaks(uint32_t *previous, int32_t *state, uint32_t c);

typedef enum lks_form { LKS_NFC, LKS_NFD, LKS_NFKC, LKS_NFKD } lks_form;

/* A malloc'ed copy of s [n], valid UTF-8, in `form`, with its length in *n_out; NULL when out of memory. n log n. */
char *lks_utf8_normalize(size_t *n_out, const char *s, size_t n, lks_form form);

#endif
