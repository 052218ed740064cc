/* Captions beside or inside their photos: see save.h. */
#include "apps/gui/save.h"

#include "apps/common/sidecar.h"
#include "apps/gui/clip.h"
#include "apps/gui/notice.h"

typedef struct item {
    Photo *photo;
    char *text, *message;
    bool edited;
} item;

typedef struct batch {
    item *items;
    guint n;
    char *format;
    bool replace;
    save_done done;
    void *context;
} batch;

static void free_batch(gpointer data)
{
    batch *b = data;
    for (guint i = 0; i < b->n; i++) {
        g_object_unref(b->items[i].photo);
        g_free(b->items[i].text);
        g_free(b->items[i].message);
    }
    g_free(b->items);
    g_free(b->format);
    g_free(b);
}

static void run(GTask *task, gpointer source, gpointer data, GCancellable *cancellable)
{
    (void)source;
    (void)cancellable;
    batch *b = data;
    for (guint i = 0; i < b->n; i++) {
        item *it = &b->items[i];
        bool replaces = it->edited || b->replace;
        sidecar s = sidecar_of(b->format, NULL, replaces ? "overwrite" : "skip");
        g_free(notice_take());
        if (clip_is_camera(it->photo->path))
            it->message = g_strdup("A camera is no file that a caption could be saved with; copy or export it");
        else if (!replaces && sidecar_is_done(&s, it->photo->path))
            it->message = g_strdup("It has a caption already, which stays as it is; edit this one, or choose Replace "
                                   "Captions That Are There");
        else if (sidecar_write(&s, it->photo->path, it->text, NULL) != SIDECAR_WRITTEN)
            it->message = notice_take();
    }
    g_task_return_boolean(task, TRUE);
}

static void on_done(GObject *source, GAsyncResult *result, gpointer data)
{
    (void)source;
    (void)data;
    batch *b = g_task_get_task_data(G_TASK(result));
    guint n_failed = 0;
    for (guint i = 0; i < b->n; i++) {
        item *it = &b->items[i];
        n_failed += it->message != NULL;
        if (g_strcmp0(it->text, it->photo->text) == 0) /* what was typed meanwhile is not saved */
            photo_set_saved(it->photo, b->format, it->message);
    }
    char *message = n_failed == 0 && b->n == 1 ? g_strdup_printf("Saved the caption of %s", b->items[0].photo->name)
                                               : g_strdup_printf("Saved %u of %u captions", b->n - n_failed, b->n);
    b->done(b->context, b->n == 1 && n_failed ? b->items[0].message : message, n_failed > 0);
    g_free(message);
}

void save_photos(GPtrArray *photos, const char *format, bool replace, save_done done, void *context)
{
    batch *b = g_new0(batch, 1);
    *b = (batch){.items = g_new0(item, photos->len + 1),
                 .format = g_strdup(format),
                 .replace = replace,
                 .done = done,
                 .context = context};
    for (guint i = 0; i < photos->len; i++) {
        Photo *photo = g_ptr_array_index(photos, i);
        if (photo->text)
            b->items[b->n++] =
                (item){.photo = g_object_ref(photo), .text = g_strdup(photo->text), .edited = photo->edited};
    }
    GTask *task = g_task_new(NULL, NULL, on_done, NULL);
    g_task_set_task_data(task, b, free_batch);
    g_task_run_in_thread(task, run);
    g_object_unref(task);
}
