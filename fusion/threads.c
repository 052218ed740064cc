/* Thread pool: see threads.h. A job is published by raising `generation`; workers that still spin see it at once, workers
 * that sleep are woken through the condition variable. */
#include "fusion/threads.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <unistd.h>

#include "fusion/cpuinfo.h"

#define N_SPINS 4000 /* pauses before a worker sleeps: some 50 to 100 microseconds */
#define MAX_THREADS 1024
#define STACK_BYTES (2u << 20) /* kernels keep blocks of up to some 200 KiB on the stack */

typedef struct worker {
    lks_threads *pool;
    pthread_t handle;
    int thread;
    unsigned seen; /* the generation that was current when the worker started */
} worker;

struct lks_threads {
    int n_threads;
    int n_running; /* workers that could be started; the caller does the parts of the others */
    bool started;
    pid_t owner; /* workers live in this process; a forked child has none */
    worker *workers;

    lks_job job;
    void *argument;
    bool stop;

    pthread_mutex_t mutex;
    pthread_cond_t wake;
    atomic_uint generation;
    atomic_int n_sleeping;
    atomic_int n_busy;
};

static void pause_briefly(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#endif
}

static unsigned await_generation(lks_threads *pool, unsigned seen)
{
    unsigned now = seen;
    for (int i = 0; i < N_SPINS; i++) {
        now = atomic_load(&pool->generation);
        if (now != seen)
            return now;
        pause_briefly();
    }
    pthread_mutex_lock(&pool->mutex);
    atomic_fetch_add(&pool->n_sleeping, 1);
    while ((now = atomic_load(&pool->generation)) == seen)
        pthread_cond_wait(&pool->wake, &pool->mutex);
    atomic_fetch_sub(&pool->n_sleeping, 1);
    pthread_mutex_unlock(&pool->mutex);
    return now;
}

static void *work(void *argument)
{
    worker *self = argument;
    lks_threads *pool = self->pool;
    unsigned seen = self->seen;
    for (;;) {
        seen = await_generation(pool, seen);
        if (pool->stop)
            return NULL;
        pool->job(pool->argument, self->thread, pool->n_threads);
        atomic_fetch_sub(&pool->n_busy, 1);
    }
}

/* A sleeper counted itself before it looked at `generation`, so either we see the sleeper or it sees the new value. */
static void publish(lks_threads *pool)
{
    atomic_fetch_add(&pool->generation, 1);
    if (atomic_load(&pool->n_sleeping) > 0) {
        pthread_mutex_lock(&pool->mutex);
        pthread_cond_broadcast(&pool->wake);
        pthread_mutex_unlock(&pool->mutex);
    }
}

/* Also serves after fork(): the child's copies of the mutex and the counters may be in any state, so all begin anew. */
static void start_workers(lks_threads *pool)
{
    pthread_mutex_init(&pool->mutex, NULL);
    pthread_cond_init(&pool->wake, NULL);
    atomic_store(&pool->n_sleeping, 0);
    atomic_store(&pool->n_busy, 0);
    pool->owner = getpid();
    pool->started = true;
    pool->n_running = 0;

    sigset_t all, before; /* signals belong to the caller's threads */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK_BYTES);
    for (int t = 1; t < pool->n_threads; t++) {
        worker *w = &pool->workers[t - 1];
        *w = (worker){.pool = pool, .thread = t, .seen = atomic_load(&pool->generation)};
        if (pthread_create(&w->handle, &attributes, work, w) != 0)
            break;
        pool->n_running++;
    }
    pthread_attr_destroy(&attributes);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

lks_status lks_threads_open(lks_threads **out, int n_threads, lks_error *err)
{
    if (n_threads <= 0) {
        lks_cpu cpu;
        lks_cpu_detect(&cpu);
        n_threads = cpu.n_cpus;
    }
    if (n_threads > MAX_THREADS)
        n_threads = MAX_THREADS;
    lks_threads *pool = calloc(1, sizeof *pool);
    worker *workers = calloc((size_t)n_threads, sizeof *workers);
    if (!pool || !workers) {
        free(pool);
        free(workers);
        return lks_error_set(err, LKS_ERR_NOMEM, "out of memory for a pool of %d threads", n_threads);
    }
    pool->n_threads = n_threads;
    pool->workers = workers;
    *out = pool;
    return LKS_OK;
}

void lks_threads_close(lks_threads *threads)
{
    if (!threads)
        return;
    if (threads->started && threads->owner == getpid()) {
        threads->stop = true;
        publish(threads);
        for (int i = 0; i < threads->n_running; i++)
            pthread_join(threads->workers[i].handle, NULL);
        pthread_cond_destroy(&threads->wake);
        pthread_mutex_destroy(&threads->mutex);
    }
    free(threads->workers);
    free(threads);
}

int lks_threads_count(const lks_threads *threads)
{
    return threads ? threads->n_threads : 1;
}

void lks_threads_run(lks_threads *threads, lks_job job, void *argument)
{
    if (!threads || threads->n_threads == 1) {
        job(argument, 0, 1);
        return;
    }
    if (!threads->started || threads->owner != getpid())
        start_workers(threads);

    threads->job = job;
    threads->argument = argument;
    atomic_store(&threads->n_busy, threads->n_running);
    publish(threads);
    job(argument, 0, threads->n_threads);
    for (int t = 1 + threads->n_running; t < threads->n_threads; t++)
        job(argument, t, threads->n_threads);

    for (int i = 0; atomic_load(&threads->n_busy) > 0; i++) {
        if (i < N_SPINS)
            pause_briefly();
        else
            sched_yield(); /* a worker lost its CPU to somebody else */
    }
}

void lks_threads_share(long n, long grain, int thread, int n_threads, long *begin, long *end)
{
    long n_grains = (n + grain - 1) / grain;
    long first = n_grains * thread / n_threads * grain, last = n_grains * (thread + 1) / n_threads * grain;
    *begin = first < n ? first : n;
    *end = last < n ? last : n;
}
