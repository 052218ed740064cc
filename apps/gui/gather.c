/* Photos and clips in files and folders: see gather.h. What is found comes in batches, one between two frames, so that a folder of a
 * hundred thousand photos fills the list without stopping the window. The first ones are small: until the window is full, each photo
 * makes a row of widgets. */
#include "apps/gui/gather.h"

#include <string.h>

#include "apps/common/image_name.h"
#include "apps/gui/clip.h"

enum { BATCH = 64, FIRST_BATCH = 6, N_FIRST = 256 };

typedef struct search {
    gatomicrefcount references;
    char **paths;
    GCancellable *cancellable;
    gather_found found;
    void *context;
    char *message; /* of the thread: the first thing that could not be read */
    GPtrArray *batch;
    guint n_found;
    GMutex mutex;
    GQueue waiting; /* of delivery *, under the mutex */
    bool delivers;  /* they are on their way, under the mutex */
} search;

typedef struct delivery {
    GPtrArray *paths;
    bool last;
} delivery;

static void unref(search *s)
{
    if (!g_atomic_ref_count_dec(&s->references))
        return;
    g_strfreev(s->paths);
    g_object_unref(s->cancellable);
    g_free(s->message);
    g_clear_pointer(&s->batch, g_ptr_array_unref);
    g_mutex_clear(&s->mutex);
    g_free(s);
}

static delivery *take(search *s)
{
    g_mutex_lock(&s->mutex);
    delivery *d = g_queue_pop_head(&s->waiting);
    s->delivers = d != NULL;
    g_mutex_unlock(&s->mutex);
    return d;
}

/* One batch; the next one comes when the window has been drawn. */
static gboolean deliver(gpointer data)
{
    search *s = data;
    delivery *d = take(s);
    if (!d)
        return G_SOURCE_REMOVE;
    for (guint i = 0; i < d->paths->len && !g_cancellable_is_cancelled(s->cancellable); i++) {
        const char *path = g_ptr_array_index(d->paths, i);
        s->found(s->context, path, clip_is_known(path), NULL);
    }
    if (d->last && !g_cancellable_is_cancelled(s->cancellable))
        s->found(s->context, NULL, false, s->message);
    g_ptr_array_unref(d->paths);
    g_free(d);
    return G_SOURCE_CONTINUE;
}

static void release(gpointer data)
{
    unref(data);
}

static void send(search *s, bool last)
{
    delivery *d = g_new(delivery, 1);
    *d = (delivery){s->batch, last};
    s->batch = g_ptr_array_new_with_free_func(g_free);
    g_mutex_lock(&s->mutex);
    g_queue_push_tail(&s->waiting, d);
    bool starts = !s->delivers;
    s->delivers = true;
    g_mutex_unlock(&s->mutex);
    if (!starts)
        return;
    g_atomic_ref_count_inc(&s->references);
    g_idle_add_full(G_PRIORITY_DEFAULT_IDLE, deliver, s, release);
}

static void add(search *s, char *path)
{
    g_ptr_array_add(s->batch, path);
    s->n_found++;
    if (s->batch->len >= (s->n_found < N_FIRST ? FIRST_BATCH : BATCH))
        send(s, false);
}

static int by_name(gconstpointer a, gconstpointer b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void walk(search *s, const char *folder)
{
    GError *error = NULL;
    GDir *dir = g_dir_open(folder, 0, &error);
    if (!dir) {
        if (!s->message)
            s->message = g_utf8_make_valid(error->message, -1);
        g_error_free(error);
        return;
    }
    GPtrArray *names = g_ptr_array_new_with_free_func(g_free);
    for (const char *name; (name = g_dir_read_name(dir));)
        if (name[0] != '.')
            g_ptr_array_add(names, g_build_filename(folder, name, NULL));
    g_dir_close(dir);
    g_ptr_array_sort(names, by_name);
    for (guint i = 0; i < names->len && !g_cancellable_is_cancelled(s->cancellable); i++) {
        const char *path = g_ptr_array_index(names, i);
        if (!g_file_test(path, G_FILE_TEST_IS_DIR)) {
            if (image_name_is_known(path) || clip_is_known(path))
                add(s, g_strdup(path));
        } else if (!g_file_test(path, G_FILE_TEST_IS_SYMLINK)) {
            walk(s, path);
        }
    }
    g_ptr_array_unref(names);
}

static gpointer run(gpointer data)
{
    search *s = data;
    for (char **path = s->paths; *path && !g_cancellable_is_cancelled(s->cancellable); path++)
        if (g_file_test(*path, G_FILE_TEST_IS_DIR))
            walk(s, *path);
        else
            add(s, g_strdup(*path));
    send(s, true);
    unref(s);
    return NULL;
}

void gather(char **paths, GCancellable *cancellable, gather_found found, void *context)
{
    search *s = g_new0(search, 1);
    g_atomic_ref_count_init(&s->references);
    g_mutex_init(&s->mutex);
    g_queue_init(&s->waiting);
    s->paths = g_strdupv(paths);
    s->cancellable = g_object_ref(cancellable);
    s->found = found;
    s->context = context;
    s->batch = g_ptr_array_new_with_free_func(g_free);
    g_thread_unref(g_thread_new("folders", run, s));
}
