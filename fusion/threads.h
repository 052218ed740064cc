/* Thread pool: a fixed team. What its threads share out statically (lks_threads_share), or take in independent units (shares.h), never
 * depends on timing in its results.
 *
 * Workers spin briefly after a job (a decoder step launches one every few microseconds), then sleep. A pool is owned by
 * one caller at a time (one per session). After fork() the child's pool starts its workers anew on first use. */
#ifndef LKS_THREADS_H
#define LKS_THREADS_H

#include "fusion/status.h"

typedef struct lks_threads lks_threads;

/* A job part: `thread` in 0..n_threads-1. */
typedef void (*lks_job)(void *argument, int thread, int n_threads);

/* n_threads <= 0 takes the number of CPUs this process may run on. The caller is thread 0; workers start lazily. */
lks_status lks_threads_open(lks_threads **out, int n_threads, lks_error *err);
void lks_threads_close(lks_threads *threads);
int lks_threads_count(const lks_threads *threads); /* 1 for NULL */

/* Runs job(argument, t, n) for every t and returns when all are done. NULL threads: job(argument, 0, 1). */
void lks_threads_run(lks_threads *threads, lks_job job, void *argument);

/* The share [*begin, *end) of 0..n-1 that belongs to `thread`, in multiples of `grain` (the last may be shorter). */
void lks_threads_share(long n, long grain, int thread, int n_threads, long *begin, long *end);

#endif
