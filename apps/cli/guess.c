/* The optimal string alignment distance: see guess.h.
 *
 *     d[i][j] = min(d[i-1][j] + 1, d[i][j-1] + 1, d[i-1][j-1] + (a[i] != b[j]),
 *                   d[i-2][j-2] + 1 where a[i-1] a[i] = b[j] b[j-1])
 *
 * d[i][j] being that of the first i letters of a and the first j of b. */
#include "apps/cli/guess.h"

#include <limits.h>
#include <string.h>

enum { MAX_LETTERS = 32, LETTERS_PER_SLIP = 3 };

static int least(int a, int b)
{
    return a < b ? a : b;
}

static int count_slips(const char *a, int n_a, const char *b, int n_b)
{
    int d[MAX_LETTERS + 1][MAX_LETTERS + 1];
    for (int i = 0; i <= n_a; i++)
        for (int j = 0; j <= n_b; j++) {
            if (i == 0 || j == 0) {
                d[i][j] = i + j;
                continue;
            }
            d[i][j] = least(least(d[i - 1][j], d[i][j - 1]) + 1, d[i - 1][j - 1] + (a[i - 1] != b[j - 1]));
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                d[i][j] = least(d[i][j], d[i - 2][j - 2] + 1);
        }
    return d[n_a][n_b];
}

void guess_consider(guess *g, const char *typed, const char *word)
{
    size_t n = strlen(typed), n_word = strlen(word);
    if (n > MAX_LETTERS || n_word > MAX_LETTERS)
        return;
    int distance = count_slips(typed, (int)n, word, (int)n_word);
    if (n >= LETTERS_PER_SLIP && strncmp(typed, word, n) == 0)
        distance = 1;
    if (distance * LETTERS_PER_SLIP <= (int)n && (!g->word || distance < g->distance))
        *g = (guess){word, distance};
}
