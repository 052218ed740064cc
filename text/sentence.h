/* The form in which a model of several languages has learnt to read and write sentences.
 *
 *     LKS_SENTENCE_WORDS   lower case ASCII words and numbers with one space between, inner ' and - kept: "a dog's ball"
 *     LKS_SENTENCE_PLAIN   as written, but white space as single spaces and none before a mark, no quotes around it, a capital at
 *                          the beginning and no closing mark: "Ein Hund, der rennt" */
#ifndef LKS_SENTENCE_H
#define LKS_SENTENCE_H

#include <stddef.h>

typedef enum lks_sentence_form { LKS_SENTENCE_WORDS, LKS_SENTENCE_PLAIN } lks_sentence_form;

/* A malloc'ed copy of text [n] in `form`, valid UTF-8 and terminated; "" when nothing is left. `kept`, when not NULL, is a word
 * that passes as it is, with a space before it unless it comes first. NULL when out of memory. */
char *lks_sentence_clean(const char *text, size_t n, lks_sentence_form form, const char *kept);

/* What a translation takes over from the source: the closing mark (its last character when that is . ! ? or an ellipsis, else
 * "") and whether it begins with a capital. */
typedef struct lks_sentence_ends {
    char closing[8];
    int capital;
} lks_sentence_ends;
lks_sentence_ends lks_sentence_look(const char *text, size_t n);

/* A malloc'ed copy of `sentence` with those ends: given a capital when `ends` has one, and the closing mark where it has none of
 * its own. NULL when out of memory. */
char *lks_sentence_finish(const char *sentence, const lks_sentence_ends *ends);

#endif
