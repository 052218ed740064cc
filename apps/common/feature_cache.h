/* What the encoder made of photos, kept in a file, so that a run with another prompt, language or search need not look again.
 *
 * One SQLite file (application_id 0x4c6b7366), used by any number of processes at a time:
 *
 *     features: key = hash of what looks | size of the photo's file | hash of it, each 8 bytes
 *               used = when it was last of use, to the hour
 *               value = features, and a hash over them
 *
 * A cache is never the reason that a caption is lost: what is damaged is made anew, and when the file can no longer be used, there
 * is one message and the work goes on without it. */
#ifndef LOOKSAY_COMMON_FEATURE_CACHE_H
#define LOOKSAY_COMMON_FEATURE_CACHE_H

#include <stdbool.h>
#include <stdint.h>

#include "apps/captioner/looksay.h"
#include "apps/common/content.h"

typedef struct feature_cache feature_cache;

/* Whether this program can keep features at all. */
bool feature_cache_is_built(void);

/* Opens or makes the cache at `path`, which takes no more than max_bytes on the disk, as near as may be: what was of no use for
 * longest goes. `model_path` is the model's file or directory, which is read through; `model` says how it computes. lenient: as in
 * lks_caption_options. Returns false after a message: the file is no such cache, or none can be made there. */
bool feature_cache_open(feature_cache **out, const char *path, uint64_t max_bytes, const char *model_path,
                        const lks_model *model, bool lenient);

/* NULL is safe. */
void feature_cache_close(feature_cache *cache);

/* The features of that photo, freed with free; NULL when there are none. */
lks_features *feature_cache_get(feature_cache *cache, content_id photo);

/* Keeps them. */
void feature_cache_put(feature_cache *cache, content_id photo, const lks_features *features);

#endif
