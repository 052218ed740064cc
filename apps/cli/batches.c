/* Photos in batches: see batches.h. */
#include "apps/cli/batches.h"

#include <string.h>
#include <sys/stat.h>

enum { MIN_BATCH = 8, DEVICE_BATCH = 64 };
/* Files of a batch; it and the one being read are in memory. A photo of 12 megapixels is a file of 3 to 6 MiB: every thread gets one,
 * and a GPU its batch. */
#define MIN_ROOM (32LL << 20)
#define DEVICE_ROOM (256LL << 20)
#define ROOM_OF_THREAD (8LL << 20)

static int count_threads(const settings *s)
{
    lks_machine machine;
    lks_machine_describe(&machine);
    return s->n_threads == OPTION_UNSET ? machine.n_cpus : s->n_threads;
}

static bool is_on_device(const lks_model *model)
{
    return strcmp(lks_model_device(model), "cpu") != 0;
}

size_t batches_count(const settings *s, const lks_model *model)
{
    int n_threads = count_threads(s), n = s->n_batch;
    if (n == OPTION_UNSET)
        n = is_on_device(model) ? DEVICE_BATCH : (MIN_BATCH + n_threads - 1) / n_threads * n_threads;
    return (size_t)(n < LKS_MAX_BATCH ? n : LKS_MAX_BATCH);
}

void batches_begin(batches *out, const settings *s, const lks_model *model, bool several,
                   void (*gather)(void *context, bool wait), void *context)
{
    long long room = ROOM_OF_THREAD * count_threads(s), least = is_on_device(model) ? DEVICE_ROOM : MIN_ROOM;
    *out = (batches){.gather = gather,
                     .context = context,
                     .n_most = several ? batches_count(s, model) : 1,
                     .room = room > least ? room : least};
}

bool batches_is_full(const batches *b)
{
    return b->ahead.n >= b->n_most || b->ahead.n_bytes >= b->room;
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
