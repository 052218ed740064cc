/* Photos in batches: see batches.h. */
#include "apps/cli/batches.h"

#include <sys/stat.h>

enum { MIN_BATCH = 8 };
#define MAX_BATCH_BYTES (32LL << 20) /* of files; a batch and the one being read are in memory */

size_t batches_count(const settings *s)
{
    lks_machine machine;
    lks_machine_describe(&machine);
    int n_threads = s->n_threads == OPTION_UNSET ? machine.n_cpus : s->n_threads, n = s->n_batch;
    if (n == OPTION_UNSET)
        n = (MIN_BATCH + n_threads - 1) / n_threads * n_threads;
    return (size_t)(n < LKS_MAX_BATCH ? n : LKS_MAX_BATCH);
}

bool batches_is_full(const batches *b)
{
    return b->ahead.n >= b->n_most || b->ahead.n_bytes >= MAX_BATCH_BYTES;
}

bool batches_add(batches *b, const char *path)
{
    struct stat info;
    if (!photo_init(&b->ahead.photos[b->ahead.n], path)) {
        complain("%s: out of memory", path);
        return false;
    }
    b->ahead.n++;
    b->ahead.n_bytes += stat(path, &info) == 0 && S_ISREG(info.st_mode) ? (long long)info.st_size : 0;
    return true;
}

static void *read_ahead(void *argument)
{
    batch *b = argument;
    for (size_t i = 0; i < b->n; i++)
        photo_read(&b->photos[i]);
    return NULL;
}

static void release(batch *b)
{
    for (size_t i = 0; i < b->n; i++)
        photo_release(&b->photos[i]);
    b->n = 0;
    b->n_bytes = 0;
}

static void stop_reading(batches *b)
{
    if (b->reading)
        pthread_join(b->reader, NULL);
    b->reading = false;
}

bool batches_next(batches *b)
{
    stop_reading(b);
    release(&b->now);
    if (b->ahead.n == 0)
        b->gather(b->context, true);
    b->now = b->ahead;
    b->ahead.n = 0;
    b->ahead.n_bytes = 0;
    return b->now.n > 0;
}

void batches_look_ahead(batches *b)
{
    b->gather(b->context, false);
    b->reading = b->ahead.n > 0 && pthread_create(&b->reader, NULL, read_ahead, &b->ahead) == 0;
}

void batches_end(batches *b)
{
    stop_reading(b);
    release(&b->now);
    release(&b->ahead);
}
