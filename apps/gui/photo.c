/* One row of the window: see photo.h. */
#include "apps/gui/photo.h"

G_DEFINE_TYPE(Photo, photo, G_TYPE_OBJECT)

static guint changed_signal;

static void photo_finalize(GObject *object)
{
    Photo *p = GUI_PHOTO(object);
    g_free(p->path);
    g_free(p->name);
    g_free(p->text);
    g_free(p->message);
    g_slist_free(p->saved);
    telling_unref(p->told);
    preview_unref(p->shown);
    G_OBJECT_CLASS(photo_parent_class)->finalize(object);
}

static void photo_class_init(PhotoClass *class)
{
    G_OBJECT_CLASS(class)->finalize = photo_finalize;
    changed_signal =
        g_signal_new("changed", G_TYPE_FROM_CLASS(class), G_SIGNAL_RUN_LAST, 0, NULL, NULL, NULL, G_TYPE_NONE, 0);
}

static void photo_init(Photo *p)
{
    (void)p;
}

static void tell(Photo *p)
{
    g_signal_emit(p, changed_signal, 0);
}

Photo *photo_new(const char *path, bool is_live)
{
    Photo *p = g_object_new(photo_get_type(), NULL);
    p->path = g_strdup(path);
    p->name = g_filename_display_basename(path);
    p->is_live = is_live;
    return p;
}

bool photo_is_unsaved(const Photo *p)
{
    return p->edited && !p->saved;
}

void photo_set_waiting(Photo *p)
{
    p->state = PHOTO_WAITING;
    g_clear_pointer(&p->message, g_free);
    tell(p);
}

void photo_set_working(Photo *p)
{
    p->state = PHOTO_WORKING;
    tell(p);
}

void photo_set_told(Photo *p, telling *t)
{
    telling_unref(p->told);
    p->told = t;
    p->state = PHOTO_DONE;
    g_clear_pointer(&p->message, g_free);
    if (!p->edited && g_strcmp0(p->text, t->text) != 0) {
        g_free(p->text);
        p->text = g_strdup(t->text);
        g_clear_slist(&p->saved, NULL);
    }
    tell(p);
}

void photo_set_failed(Photo *p, const char *message)
{
    g_free(p->message);
    p->message = g_strdup(message);
    p->state = PHOTO_FAILED;
    tell(p);
}

void photo_set_preview(Photo *p, preview *shown)
{
    preview *before = p->shown;
    p->shown = shown ? preview_ref(shown) : NULL;
    preview_unref(before);
    tell(p);
}

void photo_edit(Photo *p, const char *text)
{
    if (g_strcmp0(p->text, text) == 0)
        return;
    g_free(p->text);
    p->text = g_strdup(text);
    p->edited = !p->told || strcmp(p->told->text, text) != 0;
    g_clear_slist(&p->saved, NULL);
    tell(p);
}

bool photo_is_saved_as(const Photo *p, const char *format)
{
    return g_slist_find(p->saved, g_intern_string(format));
}

void photo_set_saved(Photo *p, const char *format, const char *message)
{
    g_free(p->message);
    p->message = g_strdup(message);
    if (!message && !photo_is_saved_as(p, format))
        p->saved = g_slist_prepend(p->saved, (gpointer)g_intern_string(format));
    tell(p);
}
