/* Unit test of fusion/threads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <sched.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fusion/shares.h"
#include "fusion/threads.h"

typedef struct counters {
    atomic_int calls[16];
    int n_threads;
} counters;

static void count(void *argument, int thread, int n_threads)
{
    counters *c = argument;
    atomic_fetch_add(&c->calls[thread], 1);
    if (thread == 0)
        c->n_threads = n_threads;
}

static void every_part_once(void **state)
{
    (void)state;
    for (int n = 1; n <= 8; n++) {
        lks_threads *threads;
        assert_int_equal(lks_threads_open(&threads, n, NULL), LKS_OK);
        assert_int_equal(lks_threads_count(threads), n);
        counters c = {0};
        for (int round = 1; round <= 300; round++) {
            lks_threads_run(threads, count, &c);
            assert_int_equal(c.n_threads, n);
            for (int t = 0; t < n; t++)
                assert_int_equal(atomic_load(&c.calls[t]), round);
            if (round % 100 == 0)
                usleep(3000); /* long enough for the workers to fall asleep */
        }
        lks_threads_close(threads);
    }
}

/* Where each part ran; parts take a while, so that no thread can do two. */
typedef struct places {
    int cpu[2];
    atomic_int n_there;
} places;

static void note_place(void *argument, int thread, int n_threads)
{
    places *p = argument;
    p->cpu[thread] = sched_getcpu();
    atomic_fetch_add(&p->n_there, 1);
    for (int i = 0; i < 20000 && atomic_load(&p->n_there) < n_threads; i++)
        sched_yield();
}

/* A worker that slept is not awakened where its caller is. Other programs may have it moved, seldom. */
static void sleepers_wake_apart(void **state)
{
    (void)state;
    enum { ROUNDS = 40 };
    cpu_set_t allowed;
    if (sched_getaffinity(0, sizeof allowed, &allowed) != 0 || CPU_COUNT(&allowed) < 2)
        skip();
    lks_threads *threads;
    assert_int_equal(lks_threads_open(&threads, 2, NULL), LKS_OK);
    int n_apart = 0;
    for (int round = 0; round < ROUNDS; round++) {
        places p = {.n_there = 0};
        usleep(3000); /* long enough to fall asleep */
        lks_threads_run(threads, note_place, &p);
        n_apart += p.cpu[0] != p.cpu[1];
    }
    lks_threads_close(threads);
    assert_in_range(n_apart, ROUNDS / 2, ROUNDS);
}

static void no_pool(void **state)
{
    (void)state;
    counters c = {0};
    lks_threads_run(NULL, count, &c);
    assert_int_equal(atomic_load(&c.calls[0]), 1);
    assert_int_equal(c.n_threads, 1);
    assert_int_equal(lks_threads_count(NULL), 1);
    lks_threads_close(NULL);
}

static void default_count(void **state)
{
    (void)state;
    lks_threads *threads;
    assert_int_equal(lks_threads_open(&threads, 0, NULL), LKS_OK);
    assert_true(lks_threads_count(threads) >= 1);
    lks_threads_close(threads);
}

static void shares_cover(void **state)
{
    (void)state;
    for (long n = 0; n < 200; n += 7) {
        for (long grain = 1; grain <= 64; grain += 21) {
            for (int n_threads = 1; n_threads <= 9; n_threads++) {
                long expected = 0;
                for (int t = 0; t < n_threads; t++) {
                    long begin, end;
                    lks_threads_share(n, grain, t, n_threads, &begin, &end);
                    assert_int_equal(begin, expected);
                    assert_true(end >= begin && (begin % grain == 0 || begin == n));
                    expected = end;
                }
                assert_int_equal(expected, n);
            }
        }
    }
}

#ifndef __has_feature /* which is clang's; gcc has __SANITIZE_THREAD__ */
#define __has_feature(name) 0
#endif

/* A pool that has run works again in a forked child, which has none of its threads, and still in the parent. */
static void survives_fork(void **state)
{
    (void)state;
#if defined(__SANITIZE_THREAD__) || __has_feature(thread_sanitizer)
    skip(); /* the thread sanitizer forbids starting threads in such a child */
#endif
    lks_threads *threads;
    assert_int_equal(lks_threads_open(&threads, 3, NULL), LKS_OK);
    counters c = {0};
    lks_threads_run(threads, count, &c);
    for (int round = 0; round < 5; round++) {
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            alarm(20); /* a child that waits for threads it does not have must not hang the test */
            counters mine = {0};
            lks_threads_run(threads, count, &mine);
            lks_threads_run(threads, count, &mine);
            int sum = mine.calls[0] + mine.calls[1] + mine.calls[2];
            if (round % 2)
                lks_threads_close(threads);
            _exit(sum == 6 ? 0 : 1);
        }
        int status;
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
        lks_threads_run(threads, count, &c);
    }
    for (int t = 0; t < 3; t++)
        assert_int_equal(atomic_load(&c.calls[t]), 6);
    lks_threads_close(threads);
}

/* Units that threads take, each of which notes how often and by whom. */
enum { MOST_UNITS = 300 };
typedef struct taken {
    lks_shares shares;
    atomic_int times[MOST_UNITS], by[MOST_UNITS];
    bool waits; /* thread 0 does nothing while the others do */
    atomic_int n_done, strange;
} taken;

static void take_all(void *argument, int thread, int n_threads)
{
    taken *t = argument;
    (void)n_threads;
    for (int i = 0; t->waits && thread == 0 && i < 10000 && atomic_load(&t->n_done) < t->shares.n; i++)
        usleep(1000);
    for (long unit; lks_shares_take(&t->shares, &unit, thread);) {
        if (unit < 0 || unit >= t->shares.n) {
            atomic_store(&t->strange, 1);
            return;
        }
        atomic_fetch_add(&t->times[unit], 1);
        atomic_store(&t->by[unit], thread);
        atomic_fetch_add(&t->n_done, 1);
    }
}

static void every_unit_once(void **state)
{
    (void)state;
    static const int counts[] = {0, 1, 2, 7, 64, 65, MOST_UNITS}, teams[] = {1, 2, 3, 5, 70};
    for (size_t team = 0; team < sizeof teams / sizeof *teams; team++) {
        lks_threads *threads;
        assert_int_equal(lks_threads_open(&threads, teams[team], NULL), LKS_OK);
        for (size_t c = 0; c < sizeof counts / sizeof *counts; c++)
            for (int pool = 0; pool < 2; pool++) {
                taken t = {.n_done = 0};
                lks_shares_open(&t.shares, counts[c], teams[team]);
                lks_threads_run(pool ? threads : NULL, take_all,
                                &t); /* one thread takes what was meant for many, too */
                assert_int_equal(atomic_load(&t.strange), 0);
                for (int i = 0; i < MOST_UNITS; i++)
                    assert_int_equal(atomic_load(&t.times[i]), i < counts[c]);
            }
        lks_threads_close(threads);
    }
}

/* Nobody waits for a thread that has lost its CPU: what it was to do is done by others. */
static void units_of_the_slow(void **state)
{
    (void)state;
    lks_threads *threads;
    assert_int_equal(lks_threads_open(&threads, 3, NULL), LKS_OK);
    taken t = {.waits = true};
    lks_shares_open(&t.shares, MOST_UNITS, 3);
    lks_threads_run(threads, take_all, &t);
    for (int i = 0; i < MOST_UNITS; i++) {
        assert_int_equal(atomic_load(&t.times[i]), 1);
        assert_int_not_equal(atomic_load(&t.by[i]), 0);
    }
    lks_threads_close(threads);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_part_once), cmocka_unit_test(sleepers_wake_apart), cmocka_unit_test(no_pool),
        cmocka_unit_test(default_count),   cmocka_unit_test(shares_cover),        cmocka_unit_test(survives_fork),
        cmocka_unit_test(every_unit_once), cmocka_unit_test(units_of_the_slow),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
