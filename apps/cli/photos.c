/* Photos by their content: see photos.h. */
#include "apps/cli/photos.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    MAX_TWINS = 1 << 16, /* captions that are remembered, 2 KiB each; then all are forgotten */
    N_PLACES = 2 * MAX_TWINS,
    DEFAULT_MIB = 1024
};
#define MAX_FILE_BYTES ((off_t)1 << 30) /* what is larger is no photo: the decoder says so */

typedef struct photo_twin {
    content_id id;
    lks_caption *caption; /* NULL: free */
} photo_twin;

bool photos_check(const settings *s)
{
    if (s->feature_cache && !feature_cache_is_built()) {
        complain("this program was built without SQLite, which --feature-cache needs");
        return false;
    }
    if (!s->feature_cache && s->feature_cache_mib != OPTION_UNSET) {
        complain("--feature-cache-size says how large the file of --feature-cache gets; name one");
        return false;
    }
    return true;
}

bool photos_open(photos *out, const settings *s, const engine *e, const lks_caption_options *options)
{
    photos p = {.engine = e, .options = *options};
    uint64_t mib = s->feature_cache_mib == OPTION_UNSET ? DEFAULT_MIB : (uint64_t)s->feature_cache_mib;
    if (!p.options.keep_picture && !(p.twins = calloc(N_PLACES, sizeof *p.twins))) {
        complain("out of memory");
        return false;
    }
    if (s->feature_cache && !feature_cache_open(&p.cache, s->feature_cache, mib << 20, e->path, e->model, s->lenient)) {
        free(p.twins);
        return false;
    }
    *out = p;
    return true;
}

static void forget_twins(photos *p)
{
    for (size_t i = 0; p->twins && i < N_PLACES && p->n_twins > 0; i++) {
        lks_caption_free(p->twins[i].caption);
        p->twins[i].caption = NULL;
    }
    p->n_twins = 0;
}

void photos_close(photos *p)
{
    forget_twins(p);
    free(p->twins);
    lks_caption_free(p->alone);
    feature_cache_close(p->cache);
    *p = (photos){.engine = NULL};
}

/* Where the caption of these bytes is, or a free place for it. */
static photo_twin *find_twin(const photos *p, content_id id)
{
    size_t i = (size_t)hash_spread(id.hash ^ id.size) & (N_PLACES - 1);
    while (p->twins[i].caption && (p->twins[i].id.hash != id.hash || p->twins[i].id.size != id.size))
        i = (i + 1) & (N_PLACES - 1);
    return &p->twins[i];
}

/* The bytes of a regular file, malloc'ed; NULL when it is none, or cannot be read: the library then says why. */
static void *read_file(const char *path, size_t *n_bytes)
{
    struct stat info;
    int file = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
    if (file < 0)
        return NULL;
    char *bytes = NULL;
    size_t n = 0, capacity = 0;
    if (fstat(file, &info) == 0 && S_ISREG(info.st_mode) && info.st_size > 0 && info.st_size <= MAX_FILE_BYTES) {
        capacity = (size_t)info.st_size;
        bytes = malloc(capacity);
    }
    ssize_t some = bytes ? 1 : 0;
    while (some > 0 && n < capacity) {
        some = read(file, bytes + n, capacity - n);
        n += some > 0 ? (size_t)some : 0;
    }
    close(file);
    if (some < 0 || n == 0) {
        free(bytes);
        bytes = NULL;
    }
    *n_bytes = n;
    return bytes;
}

/* Captions the bytes of an image, with what the cache has of it. */
static lks_status caption_bytes(photos *p, lks_caption **out, content_id id, const void *bytes, size_t n_bytes,
                                const char *name, lks_error *err)
{
    lks_session *session = p->engine->session;
    lks_caption_options o = p->options;
    lks_features *known = p->cache ? feature_cache_get(p->cache, id) : NULL;
    o.features = known;
    o.keep_features = p->cache && !known;
    lks_status st = lks_caption_bytes(session, out, bytes, n_bytes, name, &o, err);
    if (known && st == LKS_ERR_ARGUMENT) { /* features of another kind, or options that nothing can serve */
        free(known);
        known = NULL;
        o.features = NULL;
        o.keep_features = 1;
        st = lks_caption_bytes(session, out, bytes, n_bytes, name, &o, err);
    }
    if (st == LKS_OK && o.keep_features)
        feature_cache_put(p->cache, id, (*out)->features);
    p->n_recalled += st == LKS_OK && known;
    free(known);
    return st;
}

lks_status photos_caption(photos *p, const lks_caption **out, const char *path, lks_error *err)
{
    bool piped = strcmp(path, "-") == 0;
    void *bytes = NULL;
    size_t n_bytes = 0;
    lks_caption *caption = NULL;
    lks_status st = LKS_OK;
    lks_caption_free(p->alone);
    p->alone = NULL;
    if (piped)
        st = engine_read_stdin(&bytes, &n_bytes, err);
    else
        bytes = read_file(path, &n_bytes);
    if (st == LKS_OK && !bytes)
        st = lks_caption_file(p->engine->session, &caption, path, &p->options, err);
    content_id id = content_identify(bytes, bytes ? n_bytes : 0);
    if (bytes && p->n_twins == MAX_TWINS)
        forget_twins(p);
    photo_twin *twin = bytes && p->twins ? find_twin(p, id) : NULL;
    bool same = twin && twin->caption;
    if (bytes && !same)
        st = caption_bytes(p, &caption, id, bytes, n_bytes, piped ? "standard input" : path, err);
    free(bytes);
    if (st != LKS_OK)
        return st;
    p->n_done++;
    p->n_same += same;
    if (twin && !same) {
        *twin = (photo_twin){id, caption};
        p->n_twins++;
    } else if (!same) {
        p->alone = caption;
    }
    *out = same ? twin->caption : caption;
    return LKS_OK;
}

void photos_summarize(const photos *p)
{
    if (p->n_same > 0)
        complain("%zu of %zu images are copies of others, captioned once", p->n_same, p->n_done);
    if (p->cache)
        complain("%zu of %zu images were in the cache of features", p->n_recalled, p->n_done - p->n_same);
}
