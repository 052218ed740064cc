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

/* Photos that are looked at together, and what the cache knew of them. */
struct looks {
    size_t n;
    photo *photos[LKS_MAX_BATCH];
    lks_image_source pictures[LKS_MAX_BATCH];
    lks_features *known[LKS_MAX_BATCH];
    lks_caption *captions[LKS_MAX_BATCH];
    lks_error errors[LKS_MAX_BATCH];
};

bool photos_check(const settings *s)
{
    if (s->feature_cache && !feature_cache_is_built()) {
        complain("this program was built without SQLite, which --feature-cache needs");
        return false;
    }
    return true;
}

bool photos_open(photos *out, const settings *s, const engine *e, const lks_caption_options *options, bool several)
{
    photos p = {.engine = e, .options = *options, .n_most = LKS_MAX_BATCH};
    uint64_t mib = s->feature_cache_mib == OPTION_UNSET ? DEFAULT_MIB : (uint64_t)s->feature_cache_mib;
    p.looks = calloc(1, sizeof *p.looks);
    bool keeps = several && !p.options.keep_picture;
    p.twins = keeps ? calloc(N_PLACES, sizeof *p.twins) : NULL;
    if (!p.looks || (keeps && !p.twins)) {
        complain("out of memory");
        free(p.looks);
        free(p.twins);
        return false;
    }
    if (s->feature_cache && !feature_cache_open(&p.cache, s->feature_cache, mib << 20, e->path, e->model, s->lenient)) {
        free(p.looks);
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
    free(p->looks);
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

bool photo_init(photo *out, const char *path)
{
    *out = (photo){.path = strdup(path)};
    return out->path != NULL;
}

void photo_release(photo *item)
{
    lks_caption_free(item->own);
    free(item->bytes);
    free(item->path);
    item->own = NULL;
    item->bytes = NULL;
    item->path = NULL;
}

static bool is_piped(const photo *item)
{
    return strcmp(item->path, "-") == 0;
}

void photo_read(photo *item)
{
    if (!item->bytes && !is_piped(item))
        item->bytes = read_file(item->path, &item->n_bytes);
    item->id = content_identify(item->bytes, item->bytes ? item->n_bytes : 0);
}

static void add_look(photos *p, photo *item)
{
    looks *l = p->looks;
    size_t i = l->n++;
    l->photos[i] = item;
    l->known[i] = p->cache && item->bytes ? feature_cache_get(p->cache, item->id) : NULL;
    l->pictures[i] = (lks_image_source){.path = item->bytes ? NULL : item->path,
                                        .bytes = item->bytes,
                                        .n_bytes = item->n_bytes,
                                        .name = is_piped(item) ? "standard input" : item->path,
                                        .features = l->known[i]};
}

static void run_looks(photos *p, size_t first, size_t n);

/* Captions some of them, as many together as memory was seen to hold. */
static void run_parts(photos *p, size_t first, size_t n)
{
    for (size_t end = first + n, part; first < end; first += part) {
        part = end - first < p->n_most ? end - first : p->n_most;
        run_looks(p, first, part);
    }
}

/* Captions some of them together: fewer where memory does not suffice; what fails for all is tried one by one, so that those before
 * the cause have their captions. */
static void run_looks(photos *p, size_t first, size_t n)
{
    looks *l = p->looks;
    lks_caption_options o = p->options;
    lks_error err;
    o.keep_features = p->cache != NULL;
    if (lks_caption_batch(p->engine->session, l->captions + first, l->errors + first, l->pictures + first, (int)n, &o,
                          &err) == LKS_OK)
        return;
    if (err.status == LKS_ERR_NOMEM && n > 1) {
        p->n_most = (n + 1) / 2;
        complain("memory does not hold %zu photos together; going on with %zu: %s", n, p->n_most, err.message);
        run_parts(p, first, n);
        return;
    }
    bool alone = n == 1 || err.status == LKS_ERR_INTERRUPTED;
    for (size_t i = first; i < first + n; i++) {
        l->captions[i] = NULL;
        l->errors[i] = err;
        if (!alone)
            run_looks(p, i, 1);
    }
}

/* Gives the photo what looking has brought. */
static void take_look(photos *p, size_t i)
{
    looks *l = p->looks;
    photo *item = l->photos[i];
    if (l->known[i] && l->errors[i].status == LKS_ERR_ARGUMENT) { /* features of another kind, perhaps */
        free(l->known[i]);
        l->known[i] = NULL;
        l->pictures[i].features = NULL;
        run_looks(p, i, 1);
    }
    lks_caption *caption = l->captions[i];
    item->err = l->errors[i];
    engine_offer_lenient(&item->err);
    if (caption && p->cache) {
        if (!l->known[i] && item->bytes)
            feature_cache_put(p->cache, item->id, caption->features);
        free((void *)(uintptr_t)caption->features);
        caption->features = NULL;
    }
    p->n_done += caption != NULL;
    p->n_recalled += caption && l->known[i];
    free(l->known[i]);
    item->caption = caption;
    if (caption && item->bytes && p->twins) {
        *find_twin(p, item->id) = (photo_twin){item->id, caption};
        p->n_twins++;
    } else {
        item->own = caption;
    }
}

static bool recall_twin(photos *p, photo *item)
{
    const photo_twin *twin = item->bytes && p->twins ? find_twin(p, item->id) : NULL;
    if (!twin || !twin->caption)
        return false;
    item->caption = twin->caption;
    p->n_done++;
    p->n_same++;
    return true;
}

/* Whether a photo with the same bytes is among those to be looked at. */
static bool is_looked_at(const photos *p, const photo *item)
{
    const looks *l = p->looks;
    bool same = false;
    for (size_t i = 0; i < l->n && item->bytes && p->twins && !same; i++)
        same = l->photos[i]->bytes && l->photos[i]->id.hash == item->id.hash && l->photos[i]->id.size == item->id.size;
    return same;
}

static void look_at_all(photos *p)
{
    run_parts(p, 0, p->looks->n);
    for (size_t i = 0; i < p->looks->n; i++)
        take_look(p, i);
    p->looks->n = 0;
}

void photos_caption(photos *p, photo *list, size_t n)
{
    if (p->n_twins + n > MAX_TWINS)
        forget_twins(p);
    size_t n_later = 0, later[LKS_MAX_BATCH];
    for (size_t i = 0; i < n; i++) {
        photo *item = &list[i];
        if (is_piped(item) && engine_read_stdin(&item->bytes, &item->n_bytes, &item->err) != LKS_OK)
            continue;
        photo_read(item);
        if (recall_twin(p, item))
            continue;
        if (is_looked_at(p, item))
            later[n_later++] = i;
        else
            add_look(p, item);
    }
    look_at_all(p);
    for (size_t i = 0; i < n_later; i++) {
        if (recall_twin(p, &list[later[i]]))
            continue;
        add_look(p, &list[later[i]]);
        look_at_all(p);
    }
}

void photos_summarize(const photos *p)
{
    if (p->n_same > 0)
        complain("%zu of %zu images are copies of others, captioned once", p->n_same, p->n_done);
    if (p->cache)
        complain("%zu of %zu images were in the cache of features", p->n_recalled, p->n_done - p->n_same);
}
