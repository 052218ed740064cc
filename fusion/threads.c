/* Thread pool: see threads.h. A job is published by raising `generation`; workers that still spin see it at once, workers
 * that sleep are woken through the condition variable. */
#include "fusion/threads.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>

#include "fusion/cpuinfo.h"

#define N_SPINS 4000 /* pauses before a worker sleeps: some 50 to 100 microseconds */
#define FEW_SPINS 20 /* where threads wait for each other's CPUs */
#define MAX_THREADS 1024
#define STACK_BYTES (2u << 20) /* kernels keep blocks of up to some 200 KiB on the stack */

typedef struct worker {
    lks_threads *pool;
    pthread_t handle;
    int thread;
    unsigned seen; /* the generation that was current when the worker started */
    bool asleep;   /* under the mutex */
#ifdef __linux__
    bool placed;       /* awakened on a CPU of its own */
    cpu_set_t allowed; /* where it may run otherwise */
#endif
} worker;

struct lks_threads {
    int n_threads;
    int n_running; /* workers that could be started; the caller does the parts of the others */
    int n_spins;
    bool started;
    unsigned n_forks; /* that made the process in which the workers live; a child of it has none */
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

/* Counted in every child: asking for the process's number would be a system call for each job. */
static atomic_uint forks_so_far;

static void count_fork(void)
{
    atomic_fetch_add(&forks_so_far, 1);
}

static void watch_forks(void)
{
    pthread_atfork(NULL, NULL, count_fork);
}

static void pause_briefly(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#endif
}

/* Sleepers are awakened on CPUs of their own, and may be moved from there as ever. Left to itself the kernel of a virtual machine may wake
 * them on their caller's CPU though others are idle, for those that the host has halted pass for taken: all would then take turns. */
#ifdef __linux__
static void note_allowed(worker *self)
{
    self->placed = false;
    if (sched_getaffinity(0, sizeof self->allowed, &self->allowed) != 0)
        CPU_ZERO(&self->allowed);
}

/* The CPU for a worker whose caller is the calling thread; false: the kernel may choose. */
static bool choose_cpu(cpu_set_t *own, const worker *w)
{
    const int caller = sched_getcpu();
    if (caller < 0 || CPU_COUNT(&w->allowed) < w->pool->n_threads)
        return false;
    size_t cpu = (size_t)caller;
    for (int steps = w->thread; steps > 0; steps -= CPU_ISSET(cpu, &w->allowed) ? 1 : 0)
        cpu = (cpu + 1) % CPU_SETSIZE;
    CPU_ZERO(own);
    CPU_SET(cpu, own);
    return true;
}

/* Under the mutex. */
static void place_sleepers(lks_threads *pool)
{
    cpu_set_t own;
    for (int i = 0; i < pool->n_running; i++) {
        worker *w = &pool->workers[i];
        if (w->asleep)
            w->placed = choose_cpu(&own, w) && pthread_setaffinity_np(w->handle, sizeof own, &own) == 0;
    }
}

static void leave_place(const worker *self)
{
    if (self->placed)
        sched_setaffinity(0, sizeof self->allowed, &self->allowed);
}
#else
static void place_sleepers(lks_threads *pool)
{
    (void)pool;
}

static void note_allowed(worker *self)
{
    (void)self;
}

static void leave_place(const worker *self)
{
    (void)self;
}
#endif

static unsigned await_generation(worker *self, unsigned seen)
{
    lks_threads *pool = self->pool;
    unsigned now = seen;
    for (int i = 0; i < pool->n_spins; i++) {
        now = atomic_load(&pool->generation);
        if (now != seen)
            return now;
        pause_briefly();
    }
    note_allowed(self);
    pthread_mutex_lock(&pool->mutex);
    self->asleep = true;
    atomic_fetch_add(&pool->n_sleeping, 1);
    while ((now = atomic_load(&pool->generation)) == seen)
        pthread_cond_wait(&pool->wake, &pool->mutex);
    atomic_fetch_sub(&pool->n_sleeping, 1);
    self->asleep = false;
    pthread_mutex_unlock(&pool->mutex);
    leave_place(self);
    return now;
}

static void *work(void *argument)
{
    worker *self = argument;
    lks_threads *pool = self->pool;
    unsigned seen = self->seen;
    for (;;) {
        seen = await_generation(self, seen);
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
        place_sleepers(pool);
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
    pool->n_forks = atomic_load(&forks_so_far);
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
    lks_cpu cpu;
    lks_cpu_detect(&cpu);
    if (n_threads <= 0)
        n_threads = cpu.n_cpus;
    if (n_threads > MAX_THREADS)
        n_threads = MAX_THREADS;
    lks_threads *pool = calloc(1, sizeof *pool);
    worker *workers = calloc((size_t)n_threads, sizeof *workers);
    if (!pool || !workers) {
        free(pool);
        free(workers);
        return lks_error_set(err, LKS_ERR_NOMEM, "out of memory for a pool of %d threads", n_threads);
    }
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, watch_forks);
    pool->n_threads = n_threads;
    pool->n_spins = n_threads <= cpu.n_cpus ? N_SPINS : FEW_SPINS;
    pool->workers = workers;
    *out = pool;
    return LKS_OK;
}

/* In this process: a forked child must start its own. */
static bool has_workers(const lks_threads *pool)
{
    return pool->started && pool->n_forks == atomic_load(&forks_so_far);
}

void lks_threads_close(lks_threads *threads)
{
    if (!threads)
        return;
    if (has_workers(threads)) {
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
    if (!has_workers(threads))
        start_workers(threads);

    threads->job = job;
    threads->argument = argument;
    atomic_store(&threads->n_busy, threads->n_running);
    publish(threads);
    job(argument, 0, threads->n_threads);
    for (int t = 1 + threads->n_running; t < threads->n_threads; t++)
        job(argument, t, threads->n_threads);

    for (int i = 0; atomic_load(&threads->n_busy) > 0; i++) {
        if (i < threads->n_spins)
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
