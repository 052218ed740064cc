/* Images on their way to a device: many threads put them where the device reads by itself, one then queues all of them. */
#ifndef LKS_VISION_STAGING_H
#define LKS_VISION_STAGING_H

#include <pthread.h>

#include "vision/preprocess.h"

typedef struct lks_staging {
    unsigned char *base; /* of lks_ops.stage: what is to be resampled is taken from the front, tensors from the back */
    size_t front, back;
    lks_resample *args; /* of each, at the front, as the device will read them but for addresses */
    size_t *tensors;    /* of each: where its tensor lies in base; 0: it is resampled */
    size_t n_between;   /* bytes between the passes, of all */
    int n, width, height;
    pthread_mutex_t taking;
} lks_staging;

/* For up to n_images whose tensors are width x height. */
lks_status lks_staging_open(lks_staging *staging, const lks_compute *compute, int width, int height, int n_images,
                            lks_error *err);

/* Adds an image, of which nothing is needed afterwards, by any thread; it is the *index-th. Its pixels are to equal those of
 * lks_preprocess_run: the device resamples it if it is not much larger than its tensor, otherwise it is preprocessed here. When that
 * fails the index is used up. */
lks_status lks_staging_put(lks_staging *staging, int *index, const lks_preprocess *preprocess, const lks_image *image,
                           const lks_compute *compute, lks_error *err);

/* Queues what makes pixels [n, height, width, 3], in the memory of the table. Takes lks_staging_scratch bytes. */
void lks_staging_queue(const lks_staging *staging, float *pixels, const lks_compute *compute);
size_t lks_staging_scratch(int width, int height, int n_images);

/* One of zeros, or closed already, is safe. */
void lks_staging_close(lks_staging *staging);

#endif
