/* Photos by their content: files with the same bytes are captioned once, and those in the cache of features are not looked at. */
#ifndef LOOKSAY_CLI_PHOTOS_H
#define LOOKSAY_CLI_PHOTOS_H

#include "apps/cli/engine.h"
#include "apps/common/feature_cache.h"

typedef struct photos {
    const engine *engine;
    lks_caption_options options;
    feature_cache *cache; /* NULL: none */
    struct photo_twin
        *twins; /* captions by content, open addressing; NULL: with their pixels they are too large to keep */
    size_t n_twins;
    lks_caption *alone;                /* the last caption, when it is not among the twins */
    size_t n_done, n_same, n_recalled; /* captioned; as one before with the same bytes; with features from the cache */
} photos;

/* Opens the cache that the command line names. `options` are borrowed from. Returns false after a message. */
bool photos_open(photos *out, const settings *s, const engine *e, const lks_caption_options *options);
void photos_close(photos *p);

/* What fits together: false after a message. */
bool photos_check(const settings *s);

/* Captions the image at `path`; "-" is standard input. *out is borrowed, until the next call. */
lks_status photos_caption(photos *p, const lks_caption **out, const char *path, lks_error *err);

/* What came from elsewhere than the photo itself, on standard error. */
void photos_summarize(const photos *p);

#endif
