/* CIDEr (Vedantam et al. 2015), as pycocoevalcap computes it: how much captions are like the human ones, by words that matter.
 *
 * For n = 1..4, g_n(s) holds tf * log(n_photos / df) of every n-gram of s; df counts the photos whose human captions have it.
 *     score(c, S) = 10 / 4 sum_n mean_j  min(g_n(c), g_n(s_j)) . g_n(s_j) / (|g_n(c)| |g_n(s_j)|)  exp(-(l_c - l_j)^2 / (2 6^2))
 * l counts bigrams. Words: lower case, without punctuation; "dog's" is two words and "t-shirt" one, as in the Penn Treebank. */
#ifndef LOOKSAY_CLI_CIDER_H
#define LOOKSAY_CLI_CIDER_H

#include <stdbool.h>
#include <stddef.h>

typedef struct cider cider;

cider *cider_open(void); /* NULL: out of memory */
void cider_close(cider *c);

/* One photo: what a model says of it, and what people say. Returns false when out of memory. */
bool cider_add(cider *c, const char *caption, const char *const *references, size_t n_references);

/* The mean score of all photos added, 0 of none; NAN when out of memory. */
double cider_score(const cider *c);

#endif
