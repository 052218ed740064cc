/* Many photos, in batches that are captioned together: the next one is read from the disk, by a thread of its own, while one is
 * captioned. */
#ifndef LOOKSAY_CLI_BATCHES_H
#define LOOKSAY_CLI_BATCHES_H

#include <pthread.h>

#include "apps/cli/photos.h"

typedef struct batch {
    photo photos[LKS_MAX_BATCH];
    size_t n;
    long long n_bytes; /* of their files */
} batch;

typedef struct batches {
    /* Calls batches_add with the photos that come next, until batches_is_full or none is left; of those that have to be waited for
     * only one, if `wait` and there is none in `ahead`. */
    void (*gather)(void *context, bool wait);
    void *context;
    size_t n_most;    /* photos of a batch */
    long long room;   /* bytes of their files; the photo that passes it is the last */
    batch now, ahead; /* in hand; being read */
    bool reading;     /* `reader` runs */
    pthread_t reader;
} batches;

/* Photos to caption together, as --batch says: else whole rounds of all threads, and enough rows for reading the decoder's weights to
 * pay; on a GPU enough to fill it. */
size_t batches_count(const settings *s, const lks_model *model);

/* several: there may be more than one photo. */
void batches_begin(batches *out, const settings *s, const lks_model *model, bool several,
                   void (*gather)(void *context, bool wait), void *context);

bool batches_is_full(const batches *b);
/* Returns false after a message. */
bool batches_add(batches *b, const char *path);

/* The next batch into b->now; false at the end. */
bool batches_next(batches *b);
/* Begins to read the batch after b->now. */
void batches_look_ahead(batches *b);

void batches_end(batches *b);

#endif
