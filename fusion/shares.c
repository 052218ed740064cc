/* See shares.h. More threads than shares have several to a share. */
#include "fusion/shares.h"

#include "fusion/threads.h"

static long end_of(const lks_shares *shares, int share)
{
    long begin, end;
    lks_threads_share(shares->n, 1, share, shares->n_shares, &begin, &end);
    return end;
}

void lks_shares_open(lks_shares *shares, long n, int n_threads)
{
    shares->n = n;
    shares->n_shares = n_threads < LKS_MAX_SHARES ? n_threads : LKS_MAX_SHARES;
    for (int i = 0; i < shares->n_shares; i++)
        atomic_init(&shares->share[i].next, i == 0 ? 0 : end_of(shares, i - 1));
}

bool lks_shares_take(lks_shares *shares, long *unit, int thread)
{
    for (int i = 0; i < shares->n_shares; i++) {
        const int at = (thread + i) % shares->n_shares;
        atomic_long *next = &shares->share[at].next;
        const long end = end_of(shares, at);
        if (atomic_load_explicit(next, memory_order_relaxed) >= end)
            continue;
        *unit = atomic_fetch_add_explicit(next, 1, memory_order_relaxed);
        if (*unit < end)
            return true;
    }
    return false;
}
