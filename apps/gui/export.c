/* Captions into one file, with the writers of the command line: see save.h. */
#include "apps/common/gallery.h"
#include "apps/common/rows.h"
#include "apps/common/sink.h"
#include "apps/gui/notice.h"
#include "apps/gui/save.h"

typedef struct item {
    char *path, *text, *message; /* text NULL: it failed, and message says why */
    telling *told;
} item;

typedef struct list {
    item *items;
    guint n;
    char *path;
    save_done done;
    void *context;
} list;

static void free_list(gpointer data)
{
    list *l = data;
    for (guint i = 0; i < l->n; i++) {
        g_free(l->items[i].path);
        g_free(l->items[i].text);
        g_free(l->items[i].message);
        telling_unref(l->items[i].told);
    }
    g_free(l->items);
    g_free(l->path);
    g_free(l);
}

/* The thumbnail as pixels of the caption; false when there is none. */
static bool lend_picture(lks_caption *caption, uint8_t **rgb, const telling *t)
{
    GdkTexture *texture = t->thumbnail ? gdk_texture_new_from_bytes(t->thumbnail, NULL) : NULL;
    if (!texture)
        return false;
    int width = gdk_texture_get_width(texture), height = gdk_texture_get_height(texture);
    gsize n = (gsize)width * (gsize)height;
    guint32 *cells = g_new(guint32, n); /* as cairo has them: 0xAARRGGBB */
    gdk_texture_download(texture, (guchar *)cells, (gsize)width * 4);
    *rgb = g_malloc(3 * n);
    for (gsize i = 0; i < n; i++)
        for (int c = 0; c < 3; c++)
            (*rgb)[3 * i + (gsize)c] = (uint8_t)(cells[i] >> (16 - 8 * c));
    g_free(cells);
    g_object_unref(texture);
    caption->width = width;
    caption->height = height;
    caption->picture = *rgb;
    return true;
}

typedef enum export_format { EXPORT_JSONL, EXPORT_CSV, EXPORT_HTML } export_format;

static void write_row(FILE *to, export_format format, const item *it)
{
    if (!it->text) {
        if (format == EXPORT_JSONL)
            rows_add_json_error(to, it->path, it->message, "", 0.0, NULL);
        else if (format == EXPORT_CSV)
            rows_add_csv_error(to, it->path, it->message);
        else
            gallery_add_error(to, it->path, it->message);
        return;
    }
    lks_sequence sequence;
    lks_caption caption = telling_as_caption(it->told, &sequence, it->text);
    uint8_t *rgb = NULL;
    if (format == EXPORT_JSONL)
        rows_add_json(to, it->path, &caption, it->told->model, it->told->ms, false, NULL);
    else if (format == EXPORT_CSV)
        rows_add_csv(to, it->path, &caption);
    else if (lend_picture(&caption, &rgb, it->told))
        gallery_add(to, it->path, &caption);
    else
        gallery_add_error(to, it->path, it->text);
    g_free(rgb);
}

static bool find_format(export_format *out, const char *path)
{
    static const char *const ends[] = {".jsonl", ".csv", ".html"};
    for (gsize i = 0; i < G_N_ELEMENTS(ends); i++)
        if (g_str_has_suffix(path, ends[i])) {
            *out = (export_format)i;
            return true;
        }
    complain("The name does not tell what to write; end it in .jsonl, .csv or .html");
    return false;
}

static bool write_all(const list *l)
{
    export_format format;
    sink out;
    if (!find_format(&format, l->path) || !sink_open(&out, l->path))
        return false;
    if (format == EXPORT_CSV)
        rows_begin_csv(out.stream);
    else if (format == EXPORT_HTML)
        gallery_begin(out.stream);
    bool written = true;
    for (guint i = 0; i < l->n && written; i++) {
        write_row(out.stream, format, &l->items[i]);
        written = sink_end_row(&out);
    }
    if (!written) {
        sink_leave(&out, false);
        return false;
    }
    if (format == EXPORT_HTML)
        gallery_end(out.stream);
    return sink_close(&out);
}

static void run(GTask *task, gpointer source, gpointer data, GCancellable *cancellable)
{
    (void)source;
    (void)cancellable;
    g_free(notice_take());
    g_task_return_pointer(task, write_all(data) ? NULL : notice_take(), g_free);
}

static void on_done(GObject *source, GAsyncResult *result, gpointer data)
{
    (void)source;
    (void)data;
    const list *l = g_task_get_task_data(G_TASK(result));
    char *failure = g_task_propagate_pointer(G_TASK(result), NULL);
    char *name = g_filename_display_basename(l->path);
    char *message = g_strdup_printf("Exported %u rows to %s", l->n, name);
    l->done(l->context, failure ? failure : message, failure != NULL);
    g_free(failure);
    g_free(message);
    g_free(name);
}

void save_export(GListModel *photos, const char *path, save_done done, void *context)
{
    guint n = g_list_model_get_n_items(photos);
    list *l = g_new0(list, 1);
    *l = (list){.items = g_new0(item, n + 1), .path = g_strdup(path), .done = done, .context = context};
    for (guint i = 0; i < n; i++) {
        Photo *photo = g_list_model_get_item(photos, i);
        if (photo->told)
            l->items[l->n++] =
                (item){.path = g_strdup(photo->path), .text = g_strdup(photo->text), .told = telling_ref(photo->told)};
        else if (photo->message)
            l->items[l->n++] = (item){.path = g_strdup(photo->path), .message = g_strdup(photo->message)};
        g_object_unref(photo);
    }
    GTask *task = g_task_new(NULL, NULL, on_done, NULL);
    g_task_set_task_data(task, l, free_list);
    g_task_run_in_thread(task, run);
    g_object_unref(task);
}
