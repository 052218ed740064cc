/* Photos by their content: files with the same bytes are captioned once, and those in the cache of features are not looked at. */
#ifndef LOOKSAY_CLI_PHOTOS_H
#define LOOKSAY_CLI_PHOTOS_H

#include "apps/cli/engine.h"
#include "apps/common/feature_cache.h"

/* One photo of a batch. */
typedef struct photo {
    char *path; /* "-" is standard input */
    void *bytes;
    size_t n_bytes;
    content_id id;
    lks_error err;              /* status LKS_OK: */
    const lks_caption *caption; /* of the photo, borrowed until its photos are next asked for captions */
    lks_caption *own;           /* the same, when nobody else keeps it */
} photo;

/* Returns false when memory is out. */
bool photo_init(photo *out, const char *path);
void photo_release(photo *item);

/* Reads the bytes of a photo, "-" excepted; what cannot be read is found out later. May run on a thread of its own. */
void photo_read(photo *item);

typedef struct looks looks;

typedef struct photos {
    const engine *engine;
    lks_caption_options options;
    feature_cache *cache; /* NULL: none */
    struct photo_twin
        *twins; /* captions by content, open addressing; NULL: a single one, or with pixels, too large to keep */
    size_t n_twins;
    looks *looks;
    size_t n_most;                     /* photos that memory was seen to hold together */
    size_t n_done, n_same, n_recalled; /* captioned; as one before with the same bytes; with features from the cache */
} photos;

/* Opens the cache that the command line names. `options` are borrowed from. several: there may be more than one photo, and copies
 * among them. Returns false after a message. */
bool photos_open(photos *out, const settings *s, const engine *e, const lks_caption_options *options, bool several);
void photos_close(photos *p);

/* What fits together: false after a message. */
bool photos_check(const settings *s);

/* Captions n photos, at most LKS_MAX_BATCH, together: each gets its caption, or its error. What belongs to no photo alone, such as an
 * interrupt, is the error of the first it kept from a caption, and of those behind it. */
void photos_caption(photos *p, photo *list, size_t n);

/* What came from elsewhere than the photo itself, on standard error. */
void photos_summarize(const photos *p);

#endif
