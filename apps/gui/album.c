/* The photos of a window: see album.h. */
#include "apps/gui/album.h"

#include "apps/gui/clip.h"

enum { MAX_PREVIEWS = 24 }; /* 2 MB each */

struct album {
    album_events events;
    void *context;
    engine *engine;
    GListStore *photos;
    GHashTable *by_path; /* path -> Photo, both borrowed */
    GQueue remembered;   /* of Photo * with a preview, the last used first */
    Photo *selected;     /* or NULL */
    bool paused;
    album_counts counts;
};

/* Photos change their state between count(-1) and count(1). */
static void count(album *a, const Photo *photo, int by)
{
    guint n = (guint)by;
    a->counts.n += n;
    a->counts.n_done += photo->state == PHOTO_DONE ? n : 0;
    a->counts.n_failed += photo->state == PHOTO_FAILED ? n : 0;
}

/* Remembers the picture, and forgets the one that nobody looked at for the longest time. */
static void remember(album *a, Photo *photo, preview *shown)
{
    if (g_queue_remove(&a->remembered, photo))
        g_object_unref(photo);
    g_queue_push_head(&a->remembered, g_object_ref(photo));
    photo_set_preview(photo, shown);
    if (a->remembered.length > MAX_PREVIEWS) {
        Photo *last = g_queue_pop_tail(&a->remembered);
        photo_set_preview(last, NULL);
        g_object_unref(last);
    }
}

static bool is_there(const album *a, Photo *photo)
{
    return g_hash_table_lookup(a->by_path, photo->path) == photo;
}

static void on_opened(void *context, const char *model, char **languages, const char *error)
{
    album *a = context;
    a->events.opened(a->context, model, languages, error);
}

static void on_begun(void *context, Photo *photo)
{
    album *a = context;
    if (!is_there(a, photo) || a->paused)
        return;
    count(a, photo, -1);
    photo_set_working(photo);
    count(a, photo, 1);
    a->events.moved(a->context);
}

static void on_told(void *context, Photo *photo, telling *told, preview *shown)
{
    album *a = context;
    if (!is_there(a, photo))
        return;
    remember(a, photo, shown);
    if (a->selected && a->selected != photo && a->selected->shown)
        remember(a, a->selected, a->selected->shown);
    count(a, photo, -1);
    photo_set_told(photo, telling_ref(told));
    count(a, photo, 1);
    a->events.moved(a->context);
}

static void on_shown(void *context, Photo *photo, preview *shown)
{
    album *a = context;
    if (is_there(a, photo))
        remember(a, photo, shown);
}

static void on_failed(void *context, Photo *photo, const char *message)
{
    album *a = context;
    if (!is_there(a, photo))
        return;
    count(a, photo, -1);
    photo_set_failed(photo, message);
    count(a, photo, 1);
    a->events.moved(a->context);
}

album *album_new(const album_events *events, void *context)
{
    static const engine_events from_engine = {on_opened, on_begun, on_told, on_shown, on_failed};
    album *a = g_new0(album, 1);
    a->events = *events;
    a->context = context;
    a->photos = g_list_store_new(photo_get_type());
    a->by_path = g_hash_table_new(g_str_hash, g_str_equal);
    g_queue_init(&a->remembered);
    a->engine = engine_new(&from_engine, a);
    return a;
}

void album_close(album *a)
{
    engine_close(a->engine);
    g_queue_clear_full(&a->remembered, g_object_unref);
    g_hash_table_unref(a->by_path);
    g_object_unref(a->photos);
    g_free(a);
}

GListModel *album_photos(album *a)
{
    return G_LIST_MODEL(a->photos);
}

static Photo *photo_at(const album *a, guint i)
{
    Photo *photo = g_list_model_get_item(G_LIST_MODEL(a->photos), i);
    g_object_unref(photo); /* the list has its own reference */
    return photo;
}

album_counts album_count(const album *a)
{
    return a->counts;
}

/* A camera is captioned while it plays, and so is a clip that is chosen; any other clip by its first frame. */
static void add_to_queue(album *a, Photo *photo)
{
    if (!photo->is_live || (photo != a->selected && !clip_is_camera(photo->path)))
        engine_add(a->engine, photo);
}

Photo *album_add(album *a, const char *path, bool is_live)
{
    Photo *photo = g_hash_table_lookup(a->by_path, path);
    if (photo)
        return photo;
    photo = photo_new(path, is_live);
    g_hash_table_insert(a->by_path, photo->path, photo);
    g_list_store_append(a->photos, photo);
    add_to_queue(a, photo);
    g_object_unref(photo);
    count(a, photo, 1);
    a->events.moved(a->context);
    return photo;
}

void album_remove(album *a, Photo *photo)
{
    guint at;
    if (!g_list_store_find(a->photos, photo, &at))
        return;
    if (a->selected == photo)
        a->selected = NULL;
    engine_forget(a->engine, photo);
    count(a, photo, -1);
    if (g_queue_remove(&a->remembered, photo))
        g_object_unref(photo);
    g_hash_table_remove(a->by_path, photo->path);
    g_list_store_remove(a->photos, at);
    a->events.moved(a->context);
}

void album_clear(album *a)
{
    a->selected = NULL;
    g_queue_clear_full(&a->remembered, g_object_unref);
    g_hash_table_remove_all(a->by_path);
    a->counts = (album_counts){0};
    engine_forget_all(a->engine);
    g_list_store_remove_all(a->photos);
    a->events.moved(a->context);
}

void album_use(album *a, const engine_choice *choice)
{
    engine_use(a->engine, choice);
    guint n = g_list_model_get_n_items(G_LIST_MODEL(a->photos));
    for (guint i = 0; i < n; i++) {
        Photo *photo = photo_at(a, i);
        count(a, photo, -1);
        photo_set_waiting(photo);
        count(a, photo, 1);
        add_to_queue(a, photo);
    }
    if (a->selected)
        engine_raise(a->engine, a->selected);
    a->events.moved(a->context);
}

void album_pause(album *a, bool paused)
{
    a->paused = paused;
    engine_pause(a->engine, paused);
    guint n = paused ? g_list_model_get_n_items(G_LIST_MODEL(a->photos)) : 0;
    for (guint i = 0; i < n; i++)
        if (photo_at(a, i)->state == PHOTO_WORKING)
            photo_set_waiting(photo_at(a, i));
    a->events.moved(a->context);
}

void album_select(album *a, Photo *photo)
{
    Photo *before = a->selected;
    a->selected = photo;
    if (before && before != photo && before->is_live && before->state == PHOTO_WAITING)
        add_to_queue(a, before);
    if (!photo)
        return;
    if (photo->is_live)
        engine_forget(a->engine, photo);
    if (photo->is_live && photo->state == PHOTO_WORKING)
        photo_set_waiting(photo);
    if (photo->shown)
        remember(a, photo, photo->shown);
    else if (photo->state == PHOTO_DONE && !photo->is_live)
        engine_show(a->engine, photo);
    else
        engine_raise(a->engine, photo);
}

void album_fail(album *a, Photo *clip, const char *message)
{
    on_failed(a, clip, message);
}

void album_look(album *a, Photo *clip, GBytes *rgb, int width, int height)
{
    engine_look(a->engine, clip, rgb, width, height);
}
