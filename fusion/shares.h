/* Units of work that threads take as they become free: each those of its own share first, in order, so that it stays near what it has in
 * its caches, then what others have left. Where cores differ in speed, or are taken away for a while, the others do what a slow one has
 * not begun. Which thread does a unit depends on timing: results must not depend on it. */
#ifndef LKS_SHARES_H
#define LKS_SHARES_H

#include <stdatomic.h>
#include <stdbool.h>

enum { LKS_MAX_SHARES = 64, LKS_LINE_BYTES = 64 };

typedef struct lks_shares {
    long n; /* units 0 .. n - 1 */
    int n_shares;
    struct {
        _Alignas(LKS_LINE_BYTES) atomic_long next;
    } share[LKS_MAX_SHARES];
} lks_shares;

/* Before the job, in shares that lks_threads_share would give. */
void lks_shares_open(lks_shares *shares, long n, int n_threads);

/* The next unit for this thread of a job; false: none is left. */
bool lks_shares_take(lks_shares *shares, long *unit, int thread);

#endif
